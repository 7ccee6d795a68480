//! The program on the host's end of a zone's link: it decides which frames the zone may send, and where they go.
//!
//! The zone has all rights over its own end, so nothing there counts. Here, on the host's side, every frame that
//! leaves the zone is looked at: its link-layer address, its addresses, and what it claims in ARP and neighbour
//! discovery. Frames that do not fit are dropped. The program holds the addresses itself; it dies with the link and
//! cannot be reached from inside.

use std::net::IpAddr;

use super::frame::{
    ARP, AT_DESTINATION, AT_NETWORK_HEADER, AT_NEXT_HEADER, AT_NUMBER, AT_SOURCE, AT_TYPE, DROP, ETHERNET,
    FROM_ZONE, FROM_ZONE_BITS, ICMPV6, INGRESS, IPV4, IPV6, KTIME_GET_NS, NEIGHBOUR_SOLICITATION, PASS,
    SKB_HAS_VLAN, SKB_LENGTH, SKB_LINK, SKB_MARK, SKB_VLAN, TAGGED, VLAN_POP, find_by_address, find_by_mac,
    jump_unless_host, jump_unless_multicast, learn_host, load, look_up_number, push_vlan, send, send_copy,
    send_to,
};
use super::roles::{self, Roles, UDP};
use crate::plan::net::{LinkMode, ZoneLink};
use crate::sys::bpf::Map;
use crate::sys::bpf::asm::{AluOp, Asm, BpfLabel, FP, If, R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, Size};
use crate::sys::naive::without;

/// Where frames of the zone go on.
#[derive(Clone, Copy, Debug)]
pub enum Onward<'a> {
    /// To the zone, the host, or the link that they are for.
    Switch {
        /// The table of the zones on the link.
        table: &'a Map,
        /// Number of the host's link.
        lower: u32,
    },
    /// To this link.
    Wire(u32),
    /// To the bridge that the zone's link is a port of.
    Bridge,
}

/// A link-layer address that a zone is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SenderMac {
    /// This one.
    Own([u8; 6]),
    /// That of the host's link, as the table has it.
    Host,
}

impl SenderMac {
    fn jump_unless(self, a: &mut Asm, at: i16, to: BpfLabel) {
        match self {
            Self::Own(mac) => a.jump_unless_bytes(at, &mac, R0, to),
            Self::Host => jump_unless_host(a, at, to),
        }
    }
}

/// The limits on a zone's frames.
#[derive(Clone, Copy, Debug)]
pub struct LinkRules<'a> {
    /// Its link-layer address; none: any.
    pub mac: Option<SenderMac>,
    /// Its addresses; none: any.
    pub addresses: Option<&'a [IpAddr]>,
    /// It may ask for addresses by DHCP, which is done from the address 0.0.0.0.
    pub may_ask: bool,
    /// Nothing but IPv4, IPv6 and ARP.
    pub restricted: bool,
    /// No answers of a DHCP server, no questions in another's name.
    pub dhcp: bool,
    /// Nothing that only a router says.
    pub router: bool,
    /// The VLAN that it is in, 0 for none.
    pub vlan: u16,
    /// How much it may send.
    pub rate: Option<Bandwidth<'a>>,
    /// Where its frames go.
    pub onward: Onward<'a>,
}

impl<'a> LinkRules<'a> {
    /// Returns the limits of a planned link.
    pub fn of(link: &'a ZoneLink, rate: Option<Bandwidth<'a>>, onward: Onward<'a>) -> Self {
        let held = &link.guard;
        let mac = if link.way == LinkMode::Shared { SenderMac::Host } else { SenderMac::Own(link.mac.0) };
        Self {
            mac: held.mac.then_some(mac),
            addresses: held.addresses.as_deref(),
            may_ask: held.may_ask,
            restricted: held.restricted,
            dhcp: held.dhcp,
            router: held.router,
            vlan: link.vlan,
            rate,
            onward,
        }
    }

    /// Says whether the zone may have an address of IPv6, or of IPv4.
    fn may_have(&self, v6: bool) -> bool {
        self.addresses.is_none_or(|all| all.iter().any(|ip| ip.is_ipv6() == v6))
    }

    /// Says whether there is a role on the link that the zone must not play.
    fn roles(&self) -> bool {
        (self.dhcp || self.router) && !without("roles")
    }
}

/// A largest bandwidth.
#[derive(Clone, Copy, Debug)]
pub struct Bandwidth<'a> {
    /// An array with a slot for each direction: the time at which, at that bandwidth, the last byte so far would
    /// have been sent, in nanoseconds of the kernel's clock.
    pub until: &'a Map,
    /// Bits per second.
    pub bits: u64,
    /// A queue before the program keeps to the bandwidth already, with bursts of its own.
    pub shaped: bool,
}

/// The slot of frames from the zone in the array of a [`Bandwidth`].
pub const SENT: i32 = 0;
/// The slot of frames to the zone.
pub const RECEIVED: i32 = 1;

/// ICMPv6 that only routers send: listener query, advertisement, redirect, renumbering, and multicast
/// router advertisement.
const ROUTERS: [i32; 5] = [130, 134, 137, 138, 151];
const ROUTER_SOLICITATION: i32 = 133;
const NEIGHBOUR_ADVERTISEMENT: i32 = 136;
/// Headers that may stand between IPv6 and its payload. Discovery is valid only with hop limit 255, and no honest
/// packet has both.
const EXTENSIONS: [i32; 10] = [0, 43, 44, 51, 60, 135, 139, 140, 253, 254];

/// Returns the program.
pub fn program(guard: &LinkRules<'_>) -> Vec<u64> {
    let mut asm = Asm::new();
    let a = &mut asm;
    let (drop, on) = (a.label(), a.label());
    a.copy(R6, R1);
    if let Onward::Switch { table, .. } = guard.onward {
        learn_host(a, table, drop);
    }
    load(a, 0, AT_DESTINATION, ETHERNET, drop);
    if !matches!(guard.onward, Onward::Wire(_)) || guard.mac.is_some() {
        link_layer(a, guard, drop);
    }
    if guard.restricted || guard.addresses.is_some() || guard.roles() || guard.mac.is_some() {
        protocols(a, guard, on, drop);
    }
    a.here(on);
    if let Some(limit) = &guard.rate {
        rate(a, limit, SENT, drop);
    }
    onward(a, guard, drop);
    a.here(drop);
    a.exit_with(DROP);
    asm.finish()
}

/// Returns the program for frames to a zone: within a bandwidth, and of one VLAN of a bridge only, whose tag it
/// removes.
pub fn receiving(limit: Option<&Bandwidth<'_>>, vlan: u16) -> Vec<u64> {
    let mut asm = Asm::new();
    let a = &mut asm;
    let drop = a.label();
    a.copy(R6, R1);
    if vlan != 0 {
        a.load(Size::Word, R0, R6, SKB_HAS_VLAN);
        a.jump_if(R0, If::Equal, 0, drop);
        a.load(Size::Word, R0, R6, SKB_VLAN);
        a.op(AluOp::And, R0, 0xfff);
        a.jump_if(R0, If::Differ, i32::from(vlan), drop);
        a.copy(R1, R6);
        a.call(VLAN_POP);
    }
    if let Some(limit) = limit {
        rate(a, limit, RECEIVED, drop);
    }
    a.exit_with(PASS);
    a.here(drop);
    a.exit_with(DROP);
    asm.finish()
}

/// The sender is the zone; no tag; nothing that is for bridges.
fn link_layer(a: &mut Asm, guard: &LinkRules<'_>, drop: BpfLabel) {
    a.load(Size::Word, R0, R6, SKB_HAS_VLAN);
    a.jump_if(R0, If::Differ, 0, drop);
    a.load(Size::Half, R0, FP, AT_TYPE);
    for tagged in TAGGED {
        a.jump_if(R0, If::Equal, i32::from(tagged), drop);
    }
    let ordinary = a.label();
    a.jump_unless_bytes(AT_DESTINATION, &[1, 0x80, 0xc2, 0, 0], R0, ordinary);
    a.load(Size::Byte, R0, FP, AT_DESTINATION + 5);
    a.jump_if(R0, If::AtLeast, 0x10, ordinary);
    a.jump(drop);
    a.here(ordinary);
    if let Some(mac) = guard.mac {
        mac.jump_unless(a, AT_SOURCE, drop);
    }
}

fn protocols(a: &mut Asm, guard: &LinkRules<'_>, on: BpfLabel, drop: BpfLabel) {
    let (v4, v6, arp) = (a.label(), a.label(), a.label());
    a.load(Size::Half, R0, FP, AT_TYPE);
    a.jump_if(R0, If::Equal, i32::from(IPV4), v4);
    a.jump_if(R0, If::Equal, i32::from(IPV6), v6);
    a.jump_if(R0, If::Equal, i32::from(ARP), arp);
    // A length in place of a type is an old way to carry other protocols.
    a.jump(if guard.restricted { drop } else { on });

    // A protocol in which the zone has no address is not looked into.
    a.here(arp);
    if !guard.may_have(false) {
        a.jump(drop);
    } else if guard.mac.is_some() || guard.addresses.is_some() {
        check_arp(a, guard, drop);
    }
    a.jump(on);
    a.here(v4);
    if !guard.may_have(false) && !guard.may_ask {
        a.jump(drop);
    } else if guard.addresses.is_some() || guard.roles() {
        check_v4(a, guard, on, drop);
    }
    a.jump(on);
    a.here(v6);
    if !guard.may_have(true) {
        a.jump(drop);
    } else if guard.addresses.is_some() || guard.roles() {
        check_v6(a, guard, on, drop);
    }
    a.jump(on);
}

/// ARP for ethernet and IPv4, a question or an answer, in the zone's own name.
fn check_arp(a: &mut Asm, guard: &LinkRules<'_>, drop: BpfLabel) {
    load(a, ETHERNET, AT_NETWORK_HEADER, 28, drop);
    a.jump_unless_bytes(AT_NETWORK_HEADER, &[0, 1, 8, 0, 6, 4, 0], R0, drop);
    a.load(Size::Byte, R0, FP, AT_NETWORK_HEADER + 7);
    a.jump_if(R0, If::Equal, 0, drop);
    a.jump_if(R0, If::Above, 2, drop);
    if let Some(mac) = guard.mac {
        mac.jump_unless(a, AT_NETWORK_HEADER + 8, drop);
    }
    let Some(addresses) = guard.addresses else { return };
    let (good, probe) = (a.label(), a.label());
    a.jump_unless_bytes(AT_NETWORK_HEADER + 14, &[0; 4], R0, probe);
    // Without a sender: the question whether an address is free, which is asked of one's own.
    one_of(a, addresses, AT_NETWORK_HEADER + 24, false, good);
    a.jump(drop);
    a.here(probe);
    one_of(a, addresses, AT_NETWORK_HEADER + 14, false, good);
    a.jump(drop);
    a.here(good);
}

/// Jumps to `good` if the address at a place of the stack is one of these.
fn one_of(a: &mut Asm, addresses: &[IpAddr], at: i16, v6: bool, good: BpfLabel) {
    for address in addresses {
        let next = a.label();
        match address {
            IpAddr::V4(ip) if !v6 => a.jump_unless_bytes(at, &ip.octets(), R0, next),
            IpAddr::V6(ip) if v6 => a.jump_unless_bytes(at, &ip.octets(), R0, next),
            _ => {
                a.here(next);
                continue;
            }
        }
        a.jump(good);
        a.here(next);
    }
}

fn check_v4(a: &mut Asm, guard: &LinkRules<'_>, on: BpfLabel, drop: BpfLabel) {
    load(a, ETHERNET, AT_NETWORK_HEADER, 20, drop);
    let good = a.label();
    if let Some(addresses) = guard.addresses {
        one_of(a, addresses, AT_NETWORK_HEADER + 12, false, good);
        if guard.may_ask {
            a.jump_unless_bytes(AT_NETWORK_HEADER + 12, &[0; 4], R0, drop);
            // No options, UDP, from port 68 to port 67.
            a.jump_unless_bytes(AT_NETWORK_HEADER, &[0x45], R0, drop);
            a.jump_unless_bytes(AT_NETWORK_HEADER + 9, &[17], R0, drop);
            load(a, ETHERNET + 20, AT_NEXT_HEADER, 4, drop);
            a.jump_unless_bytes(AT_NEXT_HEADER, &[0, 68, 0, 67], R0, drop);
        } else {
            a.jump(drop);
        }
    }
    a.here(good);
    if guard.roles() {
        roles::check_v4(a, Roles { dhcp: guard.dhcp, router: guard.router }, drop);
    }
    if !guard.dhcp {
        return;
    }
    a.load(Size::Byte, R0, FP, AT_NETWORK_HEADER + 9);
    a.jump_if(R0, If::Differ, UDP, on);
    // Options would move what follows.
    a.jump_unless_bytes(AT_NETWORK_HEADER, &[0x45], R0, drop);
    // Later parts of a packet have no ports.
    a.load(Size::Half, R0, FP, AT_NETWORK_HEADER + 6);
    a.jump_if(R0, If::Bits, i32::from(0x1fff_u16.to_be()), on);
    load(a, ETHERNET + 20, AT_NEXT_HEADER, 4, drop);
    a.load(Size::Half, R0, FP, AT_NEXT_HEADER + 2);
    a.jump_if(R0, If::Differ, i32::from(67_u16.to_be()), on);
    // A question of a client: it names the link-layer address that it is asked for.
    load(a, ETHERNET + 28, AT_NEXT_HEADER, 1, drop);
    a.jump_unless_bytes(AT_NEXT_HEADER, &[1], R0, drop);
    if let Some(mac) = guard.mac {
        load(a, ETHERNET + 28 + 28, AT_NEXT_HEADER, 6, drop);
        mac.jump_unless(a, AT_NEXT_HEADER, drop);
    }
}

fn check_v6(a: &mut Asm, guard: &LinkRules<'_>, on: BpfLabel, drop: BpfLabel) {
    load(a, ETHERNET, AT_NETWORK_HEADER, 40, drop);
    if guard.roles() {
        roles::check_v6(a, Roles { dhcp: guard.dhcp, router: guard.router }, drop);
    }
    let Some(addresses) = guard.addresses else { return };
    let (good, discovery) = (a.label(), a.label());
    one_of(a, addresses, AT_NETWORK_HEADER + 8, true, good);
    // Without a sender: only the question whether an address of its own is free.
    a.jump_unless_bytes(AT_NETWORK_HEADER + 8, &[0; 16], R0, drop);
    a.jump_unless_bytes(AT_NETWORK_HEADER + 6, &[58, 255], R0, drop);
    load(a, ETHERNET + 40, AT_NEXT_HEADER, 24, drop);
    a.load(Size::Byte, R0, FP, AT_NEXT_HEADER);
    a.jump_if(R0, If::Differ, NEIGHBOUR_SOLICITATION, drop);
    a.jump(discovery);

    a.here(good);
    let plain = a.label();
    a.load(Size::Byte, R0, FP, AT_NETWORK_HEADER + 7);
    a.jump_if(R0, If::Differ, 255, plain);
    a.load(Size::Byte, R0, FP, AT_NETWORK_HEADER + 6);
    for extension in EXTENSIONS {
        a.jump_if(R0, If::Equal, extension, drop);
    }
    a.here(plain);
    a.load(Size::Byte, R0, FP, AT_NETWORK_HEADER + 6);
    a.jump_if(R0, If::Differ, ICMPV6, on);
    load(a, ETHERNET + 40, AT_NEXT_HEADER, 8, drop);
    a.load(Size::Byte, R0, FP, AT_NEXT_HEADER);
    for kind in ROUTERS {
        a.jump_if(R0, If::Equal, kind, drop);
    }
    let (solicits, advertises) = (a.label(), a.label());
    a.jump_if(R0, If::Equal, NEIGHBOUR_SOLICITATION, solicits);
    a.jump_if(R0, If::Equal, NEIGHBOUR_ADVERTISEMENT, advertises);
    a.jump_if(R0, If::Differ, ROUTER_SOLICITATION, on);
    // Nothing behind it, or the zone's own link-layer address.
    option(a, guard, 8, 1, on, drop);
    a.here(solicits);
    load(a, ETHERNET + 40, AT_NEXT_HEADER, 24, drop);
    option(a, guard, 24, 1, on, drop);
    a.here(advertises);
    load(a, ETHERNET + 40, AT_NEXT_HEADER, 24, drop);
    let target = a.label();
    one_of(a, addresses, AT_NEXT_HEADER + 8, true, target);
    a.jump(drop);
    a.here(target);
    option(a, guard, 24, 2, on, drop);

    a.here(discovery);
    let target = a.label();
    one_of(a, addresses, AT_NEXT_HEADER + 8, true, target);
    a.jump(drop);
    a.here(target);
    // Its one option is a number that distinguishes it from its own echo (RFC 7527).
    let plain = a.label();
    a.load(Size::Half, R0, FP, AT_NETWORK_HEADER + 4);
    a.jump_if(R0, If::Equal, i32::from(24_u16.to_be()), on);
    a.jump_if(R0, If::Equal, i32::from(32_u16.to_be()), plain);
    a.jump(drop);
    a.here(plain);
    load(a, ETHERNET + 40 + 24, AT_NEXT_HEADER + 24, 8, drop);
    a.jump_unless_bytes(AT_NEXT_HEADER + 24, &[14, 1], R0, drop);
}

/// A discovery message is `length` bytes long, or 8 more that hold the zone's link-layer address as an
/// option of this kind.
fn option(a: &mut Asm, guard: &LinkRules<'_>, length: u16, kind: u8, on: BpfLabel, drop: BpfLabel) {
    let longer = a.label();
    a.load(Size::Half, R0, FP, AT_NETWORK_HEADER + 4);
    a.jump_if(R0, If::Equal, i32::from(length.to_be()), on);
    a.jump_if(R0, If::Equal, i32::from((length + 8).to_be()), longer);
    a.jump(drop);
    a.here(longer);
    load(a, ETHERNET + 40 + i32::from(length), AT_NEXT_HEADER + 24, 8, drop);
    a.jump_unless_bytes(AT_NEXT_HEADER + 24, &[kind, 1], R0, drop);
    if let Some(mac) = guard.mac {
        mac.jump_unless(a, AT_NEXT_HEADER + 26, drop);
    }
    a.jump(on);
}

/// Passes as much as the bandwidth allows. The array holds the time at which, at that bandwidth, everything so far
/// would have been sent; that may lie ahead by the time of a burst, and no more.
fn rate(a: &mut Asm, limit: &Bandwidth<'_>, direction: i32, drop: BpfLabel) {
    let bits = limit.bits.max(1);
    let pass = a.label();
    a.store_number(Size::Word, FP, AT_NUMBER, direction);
    look_up_number(a, limit.until, pass);
    a.copy(R7, R0);
    a.call(KTIME_GET_NS);
    a.copy(R8, R0);
    // The time of this frame: nanoseconds per byte, times 65,536.
    a.load(Size::Word, R9, R6, SKB_LENGTH);
    a.set_wide(R1, (8_000_000_000_u64 << 16) / bits);
    a.op_reg(AluOp::Mul, R9, R1);
    a.op(AluOp::ShiftRight, R9, 16);
    a.set_wide(R5, burst_nanos(bits, limit.shaped));
    // Another processor may be at it: four tries, then the frame is too much.
    for _ in 0..4 {
        let (late, again) = (a.label(), a.label());
        a.load(Size::Double, R0, R7, 0);
        a.copy(R3, R0);
        a.jump_if_reg(R3, If::AtLeast, R8, late);
        a.copy(R3, R8);
        a.here(late);
        a.copy(R4, R3);
        a.op_reg(AluOp::Sub, R4, R8);
        a.jump_if_reg(R4, If::Above, R5, drop);
        a.op_reg(AluOp::Add, R3, R9);
        a.copy(R2, R0);
        a.compare_exchange(R7, 0, R3);
        a.jump_if_reg(R0, If::Differ, R2, again);
        a.jump(pass);
        a.here(again);
    }
    a.jump(drop);
    a.here(pass);
}

/// How far ahead a burst may be: 20 milliseconds, or the time of the largest packet. Behind a queue it is three
/// times that, so that no packet is dropped that the queue lets through.
fn burst_nanos(bits: u64, shaped: bool) -> u64 {
    (8_000_000_000 * 65_536 / bits).max(20_000_000) * if shaped { 3 } else { 1 }
}

fn onward(a: &mut Asm, guard: &LinkRules<'_>, drop: BpfLabel) {
    let tag = |a: &mut Asm| {
        if guard.vlan != 0 {
            push_vlan(a, guard.vlan);
        }
    };
    match guard.onward {
        Onward::Bridge => {
            tag(a);
            a.exit_with(PASS);
        }
        Onward::Wire(lower) => {
            a.set(R1, FROM_ZONE.cast_signed());
            a.store(Size::Word, R6, SKB_MARK, R1);
            tag(a);
            send(a, lower, 0);
        }
        Onward::Switch { table, lower } => {
            // R9: the zone's port, by which the frame came.
            a.load(Size::Word, R9, R6, SKB_LINK);
            let marked = |a: &mut Asm| {
                a.copy(R1, R9);
                a.op(AluOp::And, R1, (!FROM_ZONE_BITS).cast_signed());
                a.op(AluOp::Add, R1, FROM_ZONE.cast_signed());
                a.store(Size::Word, R6, SKB_MARK, R1);
                tag(a);
            };
            let (unicast, by_mac, by_address, own_address) = (a.label(), a.label(), a.label(), a.label());
            let (unknown, host, wire, all) = (a.label(), a.label(), a.label(), a.label());
            jump_unless_multicast(a, unicast);
            a.jump(by_address);

            a.here(unicast);
            a.set(R8, i32::from(guard.vlan));
            find_by_mac(a, table, R8, R7, by_mac);
            a.jump_if_reg(R7, If::Equal, R9, drop);
            send_to(a, R7, 0);
            a.here(by_mac);
            jump_unless_host(a, AT_DESTINATION, wire);

            a.here(by_address);
            if guard.vlan == 0 {
                // A question about a zone is for that zone; one about itself is for everybody.
                find_by_address(a, table, R7, unknown);
                a.jump_if_reg(R7, If::Equal, R9, own_address);
                send_to(a, R7, 0);
                a.here(own_address);
                jump_unless_multicast(a, drop);
                a.jump(all);
            }
            a.here(unknown);
            jump_unless_multicast(a, host);
            a.here(all);
            marked(a);
            send_copy(a, lower, INGRESS);
            send(a, lower, 0);
            a.here(host);
            marked(a);
            send(a, lower, INGRESS);
            a.here(wire);
            marked(a);
            send(a, lower, 0);
        }
    }
}
