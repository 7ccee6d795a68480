//! The guard's verdict on frames, by the kernel's own interpreter. Nothing is sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::frame::{DROP, KEY_BYTES, PASS, TableKeyKind, VALUE_BYTES, host_key, host_value, key, value};
use super::guard::{Bandwidth, LinkRules, Onward, SenderMac, program, receiving};
use super::uplink::{Audience, FIRST_LISTENERS, LIST_BYTES, MAX_LISTENERS, shared, wire};
use crate::sys::bpf::{BpfProgram, Map, MapType};
use crate::sys::netlink::filter::Direction;

const ZONE: [u8; 6] = [2, 0, 0, 0, 0, 7];
const HOST: [u8; 6] = [2, 0, 0, 0, 0, 1];
const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 9];
const ALL: [u8; 6] = [0xff; 6];
const MINE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
const FOREIGN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 8);
const TO: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// Verdict: goes to another link (`TC_ACT_REDIRECT`).
const SENT: i32 = 7;
/// Numbers that no link has: copies that a program makes go nowhere.
const NOWHERE: u32 = 0x7f_fff0;
/// The link by which frames come: the kernel tries programs on the loopback interface.
const PORT: u32 = 1;

fn mine6() -> Ipv6Addr {
    "2001:db8::7".parse().expect("an address")
}

fn ethernet(to: [u8; 6], from: [u8; 6], kind: u16) -> Vec<u8> {
    [&to[..], &from[..], &kind.to_be_bytes()[..]].concat()
}

fn v4(
    to_mac: [u8; 6],
    from_mac: [u8; 6],
    from: Ipv4Addr,
    to: Ipv4Addr,
    protocol: u8,
    rest: &[u8],
) -> Vec<u8> {
    let mut f = ethernet(to_mac, from_mac, 0x0800);
    let length = u16::try_from(20 + rest.len()).expect("short").to_be_bytes();
    f.extend([0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, protocol, 0, 0]);
    f.extend(from.octets());
    f.extend(to.octets());
    f.extend(rest);
    f
}

fn arp(mac: [u8; 6], op: u8, sender_mac: [u8; 6], sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut f = ethernet(ALL, mac, 0x0806);
    f.extend([0, 1, 8, 0, 6, 4, 0, op]);
    f.extend(sender_mac);
    f.extend(sender.octets());
    f.extend([0; 6]);
    f.extend(target.octets());
    f
}

fn v6(from: Ipv6Addr, to: Ipv6Addr, next: u8, hops: u8, rest: &[u8]) -> Vec<u8> {
    let mut f = ethernet([0x33, 0x33, 0, 0, 0, 1], ZONE, 0x86dd);
    let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
    f.extend([0x60, 0, 0, 0, length[0], length[1], next, hops]);
    f.extend(from.octets());
    f.extend(to.octets());
    f.extend(rest);
    f
}

/// A message of neighbour discovery: type, target, option with a link-layer address.
fn discovery(kind: u8, target: Option<Ipv6Addr>, option: Option<(u8, [u8; 6])>) -> Vec<u8> {
    let mut m = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    m.extend(target.map(|t| t.octets().to_vec()).unwrap_or_default());
    if let Some((kind, mac)) = option {
        m.extend([kind, 1]);
        m.extend(mac);
    }
    m
}

struct Case {
    table: Map,
    addresses: [IpAddr; 2],
    until: Map,
}

impl Case {
    fn new() -> Option<Self> {
        match Map::new(MapType::Hash, "test", KEY_BYTES, VALUE_BYTES, 16) {
            Ok(table) => {
                table.set(&host_key(), &host_value(HOST)).expect("written");
                let until = Map::new(MapType::Array, "test", 4, 8, 2).expect("a map");
                Some(Self { table, addresses: [IpAddr::from(MINE), IpAddr::from(mine6())], until })
            }
            Err(e) if matches!(e.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)) => {
                eprintln!("SKIPPED: no bpf(2) here: {e}");
                None
            }
            Err(e) => panic!("{e}"),
        }
    }

    fn load<'a>(&'a self, change: impl FnOnce(&mut LinkRules<'a>)) -> BpfProgram {
        let onward = Onward::Switch { table: &self.table, lower: NOWHERE + 1 };
        let mut guard = LinkRules {
            mac: Some(SenderMac::Own(ZONE)),
            addresses: Some(&self.addresses),
            may_ask: false,
            restricted: true,
            dhcp: true,
            router: true,
            vlan: 0,
            rate: None,
            onward,
        };
        change(&mut guard);
        BpfProgram::load("test", &program(&guard)).expect("the kernel takes the program")
    }
}

fn check(program: &BpfProgram, cases: &[(&str, Vec<u8>, i32)]) {
    for (what, frame, verdict) in cases {
        // The kernel takes no frame below the smallest one.
        let mut frame = frame.clone();
        frame.resize(frame.len().max(60), 0);
        assert_eq!(program.try_on(&frame).expect("it runs"), *verdict, "{what}");
    }
}

#[test]
fn a_shared_zone_speaks_for_itself_only() {
    let Some(case) = Case::new() else { return };
    let guard = case.load(|_| {});
    let any = Ipv4Addr::UNSPECIFIED;
    let tagged = {
        let mut f = ethernet(HOST, ZONE, 0x8100);
        f.extend([0, 5]);
        f.extend(&v4(HOST, ZONE, MINE, TO, 1, &[8; 8])[12..]);
        f
    };
    check(
        &guard,
        &[
            ("its own address, to the host", v4(HOST, ZONE, MINE, TO, 1, &[8; 8]), SENT),
            ("its own address, to the link", v4(OTHER, ZONE, MINE, TO, 1, &[8; 8]), SENT),
            ("a foreign address", v4(HOST, ZONE, FOREIGN, TO, 1, &[8; 8]), DROP),
            ("no address", v4(ALL, ZONE, any, Ipv4Addr::BROADCAST, 17, &[0, 68, 0, 67]), DROP),
            ("a foreign link-layer address", v4(HOST, OTHER, MINE, TO, 1, &[8; 8]), DROP),
            ("the host's link-layer address", v4(OTHER, HOST, MINE, TO, 1, &[8; 8]), DROP),
            ("to itself", v4(HOST, ZONE, MINE, MINE, 1, &[8; 8]), SENT),
            ("a tagged frame", tagged, DROP),
            ("another protocol", ethernet(HOST, ZONE, 0x88cc), DROP),
            ("a length in place of a protocol", ethernet(HOST, ZONE, 60), DROP),
            ("a frame for bridges", v4([1, 0x80, 0xc2, 0, 0, 0], ZONE, MINE, TO, 1, &[]), DROP),
            ("a question", arp(ZONE, 1, ZONE, MINE, TO), SENT),
            ("an answer", arp(ZONE, 2, ZONE, MINE, TO), SENT),
            ("an announcement", arp(ZONE, 1, ZONE, MINE, MINE), SENT),
            ("is mine free", arp(ZONE, 1, ZONE, any, MINE), SENT),
            ("is another's free", arp(ZONE, 1, ZONE, any, FOREIGN), DROP),
            ("a question in a foreign name", arp(ZONE, 1, ZONE, FOREIGN, TO), DROP),
            ("an answer in a foreign name", arp(ZONE, 2, ZONE, FOREIGN, TO), DROP),
            ("the router's name", arp(ZONE, 2, ZONE, TO, TO), DROP),
            ("a foreign link-layer address within", arp(ZONE, 2, OTHER, MINE, TO), DROP),
            ("from a foreign link-layer address", arp(OTHER, 1, ZONE, MINE, TO), DROP),
            ("the reverse protocol", arp(ZONE, 3, ZONE, MINE, TO), DROP),
            ("half a message", arp(ZONE, 1, ZONE, MINE, TO)[..30].to_vec(), DROP),
        ],
    );
}

#[test]
fn neighbour_discovery_is_for_its_own_addresses() {
    let Some(case) = Case::new() else { return };
    let guard = case.load(|_| {});
    let (me, none) = (mine6(), Ipv6Addr::UNSPECIFIED);
    let all: Ipv6Addr = "ff02::1".parse().expect("an address");
    let foreign: Ipv6Addr = "2001:db8::8".parse().expect("an address");
    let router: Ipv6Addr = "2001:db8::1".parse().expect("an address");
    let nd = |from, hops, message: Vec<u8>| v6(from, all, 58, hops, &message);
    let mut nonce = discovery(135, Some(me), Some((14, [1; 6])));
    let with_nonce = nonce.clone();
    nonce[24] = 13;
    let mut two = discovery(136, Some(me), Some((2, ZONE)));
    two.extend([2, 1]);
    two.extend(OTHER);
    // The message behind a header that says nothing.
    let mut hidden = vec![58, 0, 1, 4, 0, 0, 0, 0];
    hidden.extend(discovery(136, Some(foreign), Some((2, ZONE))));
    check(
        &guard,
        &[
            ("an echo", v6(me, router, 58, 64, &[128, 0, 0, 0, 0, 0, 0, 0]), SENT),
            ("a foreign echo", v6(foreign, router, 58, 64, &[128, 0, 0, 0, 0, 0, 0, 0]), DROP),
            ("who has", nd(me, 255, discovery(135, Some(router), Some((1, ZONE)))), SENT),
            ("who has, unsigned", nd(me, 255, discovery(135, Some(router), None)), SENT),
            ("who has, lying", nd(me, 255, discovery(135, Some(router), Some((1, OTHER)))), DROP),
            ("I have", nd(me, 255, discovery(136, Some(me), Some((2, ZONE)))), SENT),
            ("I have yours", nd(me, 255, discovery(136, Some(foreign), Some((2, ZONE)))), DROP),
            ("I have the router's", nd(me, 255, discovery(136, Some(router), None)), DROP),
            ("I have, at another", nd(me, 255, discovery(136, Some(me), Some((2, OTHER)))), DROP),
            ("I have, twice", nd(me, 255, two), DROP),
            ("is mine free", nd(none, 255, discovery(135, Some(me), None)), SENT),
            ("is mine free, numbered", nd(none, 255, with_nonce), SENT),
            ("is mine free, odd", nd(none, 255, nonce), DROP),
            ("is another's free", nd(none, 255, discovery(135, Some(foreign), None)), DROP),
            ("from nobody", nd(none, 64, vec![128, 0, 0, 0, 0, 0, 0, 0]), DROP),
            ("I am a router", nd(me, 255, vec![134; 16]), DROP),
            ("go there", nd(me, 255, vec![137; 40]), DROP),
            ("who is a router", nd(me, 255, discovery(133, None, Some((1, ZONE)))), SENT),
            ("hidden behind options", v6(me, all, 60, 255, &hidden), DROP),
            ("hidden in a fragment", v6(me, all, 44, 255, &hidden), DROP),
            ("options that hide nothing", v6(me, all, 60, 64, &hidden), SENT),
        ],
    );
}

#[test]
fn an_exclusive_zone_is_held_to_what_is_asked() {
    let Some(case) = Case::new() else { return };
    let any = Ipv4Addr::UNSPECIFIED;
    let ask = |from, chaddr: [u8; 6], ports: [u8; 4]| {
        let mut rest = [&ports[..], &[0, 0, 0, 0], &[1, 1, 6, 0], &[0; 24]].concat();
        rest.extend(chaddr);
        v4(ALL, ZONE, from, Ipv4Addr::BROADCAST, 17, &rest)
    };
    let free = case.load(|g| (g.addresses, g.restricted, g.dhcp, g.router) = (None, false, false, false));
    check(
        &free,
        &[
            ("any address", v4(HOST, ZONE, FOREIGN, TO, 1, &[]), SENT),
            ("any protocol", ethernet(OTHER, ZONE, 0x88cc), SENT),
            ("its own link-layer address", v4(HOST, OTHER, FOREIGN, TO, 1, &[]), DROP),
            ("also within", arp(ZONE, 2, OTHER, FOREIGN, TO), DROP),
            ("any address in a question", arp(ZONE, 2, ZONE, FOREIGN, TO), SENT),
        ],
    );
    let held = case.load(|g| (g.may_ask, g.dhcp) = (true, true));
    let client = [0, 68, 0, 67];
    check(
        &held,
        &[
            ("a question for an address", ask(any, ZONE, client), SENT),
            ("in another's name", ask(any, OTHER, client), DROP),
            ("a question from its address", ask(MINE, ZONE, client), SENT),
            ("an answer", ask(MINE, ZONE, [0, 67, 0, 68]), DROP),
            ("nothing else from nobody", v4(ALL, ZONE, any, TO, 17, &[0, 68, 0, 53, 0, 0, 0, 0]), DROP),
            ("other ports", ask(MINE, OTHER, [0, 99, 0, 98]), SENT),
            ("an IPv6 answer", v6(mine6(), mine6(), 17, 64, &[2, 0x23, 2, 0x22, 0, 0, 0, 0]), DROP),
        ],
    );
    let bridge = case.load(|g| g.onward = Onward::Bridge);
    check(
        &bridge,
        &[
            ("on a bridge", v4(HOST, ZONE, MINE, TO, 1, &[]), PASS),
            ("on a bridge, foreign", v4(HOST, ZONE, FOREIGN, TO, 1, &[]), DROP),
        ],
    );
    let wire = case.load(|g| {
        (g.mac, g.addresses, g.restricted) = (None, None, false);
        (g.dhcp, g.router) = (false, false);
        g.onward = Onward::Wire(NOWHERE);
    });
    check(&wire, &[("whatever", ethernet(OTHER, OTHER, 0x88cc), SENT)]);
}

/// UDP with these ports, and 240 bytes as the shortest DHCP message has.
fn udp(from: u16, to: u16) -> Vec<u8> {
    [&from.to_be_bytes()[..], &to.to_be_bytes(), &248_u16.to_be_bytes(), &[0; 2], &[2, 1, 6, 0], &[0; 236]]
        .concat()
}

#[test]
fn a_held_zone_is_no_server_and_no_router() {
    let Some(case) = Case::new() else { return };
    let guard = case.load(|_| {});
    let own = |protocol, rest: &[u8]| v4(ALL, ZONE, MINE, Ipv4Addr::BROADCAST, protocol, rest);
    let one = |protocol, rest: &[u8]| v4(HOST, ZONE, MINE, TO, protocol, rest);
    let with = |change: &dyn Fn(&mut Vec<u8>), mut frame: Vec<u8>| {
        change(&mut frame);
        frame
    };
    // Four bytes of options that say nothing.
    let longer = |frame: &mut Vec<u8>| {
        frame[14] = 0x46;
        frame.splice(34..34, [1, 1, 1, 0]);
    };
    let later = |frame: &mut Vec<u8>| frame[21] = 9;
    let first = |frame: &mut Vec<u8>| frame[20] = 0x20;
    let six = |next, rest: &[u8]| v6(mine6(), "ff02::1".parse().expect("an address"), next, 64, rest);
    let behind = |next: u8, rest: &[u8]| [&[next, 0, 1, 4, 0, 0, 0, 0], rest].concat();
    let query = [130, 0, 0, 0, 0, 0, 0, 0];
    check(
        &guard,
        &[
            ("an offer to all", own(17, &udp(67, 68)), DROP),
            ("an offer to one", one(17, &udp(67, 68)), DROP),
            ("between servers", one(17, &udp(67, 67)), DROP),
            ("an offer behind options", with(&longer, own(17, &udp(67, 68))), DROP),
            ("the first part of an offer", with(&first, own(17, &udp(67, 68))), DROP),
            ("a later part", with(&later, own(17, &udp(67, 68))), SENT),
            ("an ordinary service", one(17, &udp(53, 40_000)), SENT),
            ("an ordinary port of a client", one(17, &udp(53, 1985)), SENT),
            ("a redirect", one(1, &[5, 1, 0, 0, 0, 0, 0, 0]), DROP),
            ("a redirect behind options", with(&longer, one(1, &[5, 1, 0, 0, 0, 0, 0, 0])), DROP),
            ("a router's advertisement", own(1, &[9, 0, 0, 0, 0, 0, 0, 0]), DROP),
            ("an echo behind options", with(&longer, one(1, &[8, 0, 0, 0, 0, 0, 0, 0])), SENT),
            ("who is in a group", own(2, &[0x11, 0, 0, 0, 0, 0, 0, 0]), DROP),
            ("who is in a group, with options", with(&longer, own(2, &[0x11, 0, 0, 0, 0, 0, 0, 0])), DROP),
            ("I am in a group", with(&longer, own(2, &[0x22, 0, 0, 0, 0, 0, 0, 0])), SENT),
            ("OSPF", own(89, &[2; 24]), DROP),
            ("VRRP", own(112, &[0x21; 16]), DROP),
            ("RIP", own(17, &udp(520, 520)), DROP),
            ("HSRP", own(17, &udp(1985, 1985)), DROP),
            ("TCP", one(6, &[0; 20]), SENT),
            ("an IPv6 offer", six(17, &udp(547, 546)), DROP),
            ("behind options for all", six(0, &behind(17, &udp(547, 546))), DROP),
            ("behind options for one", six(60, &behind(17, &udp(547, 546))), DROP),
            ("behind a route", six(43, &behind(17, &udp(547, 546))), DROP),
            ("behind two headers", six(0, &behind(60, &behind(17, &udp(547, 546)))), DROP),
            ("in a first fragment", six(44, &with_offset(17, 1, &udp(547, 546))), DROP),
            ("options in a fragment", six(44, &with_offset(60, 1, &behind(17, &udp(547, 546)))), DROP),
            ("a later fragment", six(44, &with_offset(17, 0x18, &udp(547, 546))), SENT),
            ("an ordinary fragment", six(44, &with_offset(17, 1, &udp(53, 40_000))), SENT),
            ("an IPv6 service", six(17, &udp(53, 40_000)), SENT),
            ("who listens", six(0, &behind(58, &query)), DROP),
            ("I listen", six(0, &behind(58, &[143, 0, 0, 0, 0, 0, 0, 0])), SENT),
            ("RIPng", six(17, &udp(521, 521)), DROP),
            ("OSPFv3", six(89, &[3; 24]), DROP),
        ],
    );
    let router = case.load(|g| (g.addresses, g.router) = (None, false));
    check(
        &router,
        &[
            ("a redirect of a router", one(1, &[5, 1, 0, 0, 0, 0, 0, 0]), SENT),
            ("an offer of a router", own(17, &udp(67, 68)), DROP),
            ("an IPv6 offer of a router", six(0, &behind(17, &udp(547, 546))), DROP),
        ],
    );
    let server = case.load(|g| g.dhcp = false);
    check(
        &server,
        &[
            ("an offer of a server", own(17, &udp(67, 68)), SENT),
            ("an IPv6 offer of a server", six(17, &udp(547, 546)), SENT),
            ("a redirect of a server", one(1, &[5, 1, 0, 0, 0, 0, 0, 0]), DROP),
        ],
    );
}

/// A fragment's header: next header, and offset and flags.
fn with_offset(next: u8, offset: u8, rest: &[u8]) -> Vec<u8> {
    [&[next, 0, 0, offset, 0, 0, 0, 1], rest].concat()
}

#[test]
fn a_shared_zone_speaks_from_the_address_that_the_hosts_link_has_now() {
    let Some(case) = Case::new() else { return };
    let guard = case.load(|g| g.mac = Some(SenderMac::Host));
    let frames = |mac: [u8; 6]| {
        let option = Some((2, mac));
        let advertises = |mac| {
            let mut f =
                v6(mine6(), "ff02::1".parse().expect("one"), 58, 255, &discovery(136, Some(mine6()), option));
            f[6..12].copy_from_slice(mac);
            f
        };
        [v4(HOST, mac, MINE, TO, 17, &[0; 8]), arp(mac, 2, mac, MINE, TO), advertises(&mac)]
    };
    let verdicts = |mac, verdict| {
        for frame in frames(mac) {
            check(&guard, &[("a frame", frame, verdict)]);
        }
    };
    verdicts(HOST, SENT);
    verdicts(OTHER, DROP);
    // The host's link gets another address.
    case.table.set(&host_key(), &host_value(OTHER)).expect("written");
    verdicts(OTHER, SENT);
    verdicts(HOST, DROP);
    // Without a note nothing is sent.
    case.table.remove(&host_key()).expect("removed");
    verdicts(OTHER, DROP);
}

#[test]
fn every_set_of_rules_is_one_that_the_kernel_takes() {
    let Some(case) = Case::new() else { return };
    let (v4, v6) = ([case.addresses[0]], [case.addresses[1]]);
    for addresses in [None, Some(&[][..]), Some(&v4[..]), Some(&v6[..]), Some(&case.addresses[..])] {
        for bits in 0..128_u8 {
            let on = |bit: u8| bits & 1 << bit != 0;
            let guard = LinkRules {
                mac: on(0).then_some(SenderMac::Own(ZONE)),
                addresses,
                may_ask: on(1),
                restricted: on(2),
                dhcp: on(3),
                router: on(6),
                vlan: if on(4) { 42 } else { 0 },
                rate: on(5).then_some(Bandwidth { until: &case.until, bits: 1 << 30, shaped: true }),
                onward: Onward::Bridge,
            };
            let switch = Onward::Switch { table: &case.table, lower: NOWHERE + 1 };
            let host = on(0).then_some(SenderMac::Host);
            let ways = [Onward::Bridge, Onward::Wire(NOWHERE), switch].map(|onward| (onward, guard.mac));
            for (onward, mac) in ways.into_iter().chain([(switch, host)]) {
                let guard = LinkRules { mac, onward, ..guard };
                if let Err(e) = BpfProgram::load("test", &program(&guard)) {
                    panic!("{guard:?}: {e}");
                }
            }
        }
    }
    for vlan in [0, 42] {
        let limit = Bandwidth { until: &case.until, bits: 8000, shaped: false };
        BpfProgram::load("test", &receiving(Some(&limit), vlan)).expect("taken");
        BpfProgram::load("test", &receiving(None, vlan)).expect("taken");
    }
    let listeners = Map::new(MapType::Array, "test", 4, LIST_BYTES, 1).expect("a map");
    for way in [Direction::In, Direction::Out] {
        let all = |places| Some(Audience { list: &listeners, places });
        for all in [None, all(FIRST_LISTENERS), all(MAX_LISTENERS)] {
            BpfProgram::load("test", &shared(&case.table, all, way)).expect("taken");
        }
        for vlan in [0, 42] {
            BpfProgram::load("test", &wire(NOWHERE, vlan, way)).expect("taken");
        }
    }
}

#[test]
fn a_zone_does_not_send_to_itself_over_the_link() {
    let Some(case) = Case::new() else { return };
    case.table.set(&key(TableKeyKind::V4, 0, &MINE.octets()), &value(PORT)).expect("room");
    case.table.set(&key(TableKeyKind::V4, 0, &FOREIGN.octets()), &value(NOWHERE + 2)).expect("room");
    let guard = case.load(|_| {});
    check(
        &guard,
        &[
            ("to itself", v4(HOST, ZONE, MINE, MINE, 1, &[]), DROP),
            ("to a neighbour", v4(HOST, ZONE, MINE, FOREIGN, 1, &[]), SENT),
            ("an announcement goes to all", arp(ZONE, 1, ZONE, MINE, MINE), SENT),
        ],
    );
}

#[test]
fn more_than_the_bandwidth_is_dropped() {
    let Some(case) = Case::new() else { return };
    // 8 kbit/s: a frame of 1,000 bytes takes a second; a burst of 64 KiB is let through.
    let guard = case.load(|g| g.rate = Some(Bandwidth { until: &case.until, bits: 8000, shaped: false }));
    let frame = v4(HOST, ZONE, MINE, TO, 17, &[0; 966]);
    let passed = (0..200).filter(|_| guard.try_on(&frame).expect("it runs") == SENT).count();
    assert!((60..=80).contains(&passed), "{passed} frames");
}

/// How many instructions the kernel walks before it takes the program of a link with so many listeners.
fn walked(case: &Case, list: &Map, way: Direction, places: u32) -> Option<u32> {
    let code = shared(&case.table, Some(Audience { list, places }), way);
    let program = BpfProgram::load("test", &code).expect("the kernel takes the program");
    program.checked().expect("what the kernel knows of it")
}

#[test]
fn the_kernel_checks_the_place_of_a_listener_once() {
    let Some(case) = Case::new() else { return };
    let list = Map::new(MapType::Array, "test", 4, LIST_BYTES, 1).expect("a map");
    for way in [Direction::In, Direction::Out] {
        let Some(few) = walked(&case, &list, way, FIRST_LISTENERS) else {
            eprintln!("SKIPPED: this kernel does not tell how many instructions it has walked");
            return;
        };
        let most = walked(&case, &list, way, MAX_LISTENERS).expect("as before");
        // A place has 16 instructions of its own.
        let each = (most - few) / (MAX_LISTENERS - FIRST_LISTENERS);
        assert!(each <= 20, "{way:?}: the kernel walks {each} instructions for each listener: {few}, {most}");
    }
}
