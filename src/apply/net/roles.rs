//! Frames that only a server or a router of a link sends: answers of DHCP, redirects, advertisements of routers,
//! questions for members of groups, routing protocols. A zone that is held to its own addresses could
//! send all of it from them.
//!
//! The host and every machine on the link believe a sender in such a role, so a zone may not take one.

use super::frame::{AT_DESTINATION, AT_NETWORK_HEADER, AT_NEXT_HEADER, ETHERNET, ICMPV6, LOAD_BYTES, load};
use crate::sys::bpf::asm::{AluOp, Asm, BpfLabel, FP, If, R0, R1, R2, R3, R4, R6, Size};

/// The number of UDP in a header.
pub const UDP: i32 = 17;
const ICMP: i32 = 1;
const IGMP: i32 = 2;
/// Routing protocols that are carried by IP itself: EIGRP, OSPF, PIM, VRRP.
const ROUTING: [i32; 4] = [88, 89, 103, 112];
/// Ports of those that are carried by UDP, to many at once: RIP, RIPng, HSRP, HSRP for IPv6, GLBP.
const ROUTING_PORTS: [u16; 5] = [520, 521, 1985, 2029, 3222];
/// Messages of ICMP: redirect, router advertisement.
const ICMP_ROUTER: [i32; 2] = [5, 9];
/// Messages of a member of a group in IGMP: reports of three versions, and that it leaves.
const IGMP_MEMBER: [i32; 4] = [0x12, 0x16, 0x17, 0x22];
/// The listener query of ICMPv6, which comes behind a header with options.
const LISTENER_QUERY: i32 = 130;
/// Headers of IPv6 that may stand before UDP: hop-by-hop options, routing, destination options.
const OPTIONS: [i32; 3] = [0, 43, 60];
const FRAGMENT: i32 = 44;
const DHCP_SERVER: u16 = 67;
const DHCPV6_SERVER: u16 = 547;

/// Which roles a zone must not play.
#[derive(Clone, Copy, Debug)]
pub struct Roles {
    /// The role of a DHCP server.
    pub dhcp: bool,
    /// The role of a router.
    pub router: bool,
}

/// Loads what follows the header of IPv4, whose length is in its first byte.
fn load_behind(a: &mut Asm, to: i16, length: i32, short: BpfLabel) {
    a.load(Size::Byte, R2, FP, AT_NETWORK_HEADER);
    a.op(AluOp::And, R2, 0xf);
    a.op(AluOp::Mul, R2, 4);
    a.op(AluOp::Add, R2, ETHERNET);
    a.copy(R1, R6);
    a.stack(R3, to);
    a.set(R4, length);
    a.call(LOAD_BYTES);
    a.jump_if(R0, If::Differ, 0, short);
}

/// Drops an IPv4 packet in a role. Its header is at [`AT_NETWORK_HEADER`].
pub fn check_v4(a: &mut Asm, roles: Roles, drop: BpfLabel) {
    let (fine, udp) = (a.label(), a.label());
    // Later parts of a packet say nothing without the first one.
    a.load(Size::Half, R0, FP, AT_NETWORK_HEADER + 6);
    a.jump_if(R0, If::Bits, i32::from(0x1fff_u16.to_be()), fine);
    a.load(Size::Byte, R0, FP, AT_NETWORK_HEADER + 9);
    a.jump_if(R0, If::Equal, UDP, udp);
    if roles.router {
        let (icmp, igmp) = (a.label(), a.label());
        for protocol in ROUTING {
            a.jump_if(R0, If::Equal, protocol, drop);
        }
        a.jump_if(R0, If::Equal, ICMP, icmp);
        a.jump_if(R0, If::Differ, IGMP, fine);
        a.jump(igmp);

        a.here(icmp);
        load_behind(a, AT_NEXT_HEADER, 1, drop);
        a.load(Size::Byte, R0, FP, AT_NEXT_HEADER);
        for message in ICMP_ROUTER {
            a.jump_if(R0, If::Equal, message, drop);
        }
        a.jump(fine);

        a.here(igmp);
        load_behind(a, AT_NEXT_HEADER, 1, drop);
        a.load(Size::Byte, R0, FP, AT_NEXT_HEADER);
        for message in IGMP_MEMBER {
            a.jump_if(R0, If::Equal, message, fine);
        }
        a.jump(drop);
    } else {
        a.jump(fine);
    }
    a.here(udp);
    load_behind(a, AT_NEXT_HEADER, 4, drop);
    ports(a, roles, DHCP_SERVER, fine, drop);
    a.here(fine);
}

/// Drops an IPv6 packet in a role, also behind extension headers. Its header is at [`AT_NETWORK_HEADER`]. Router
/// messages of neighbour discovery are checked elsewhere: they are valid only without such headers.
pub fn check_v6(a: &mut Asm, roles: Roles, drop: BpfLabel) {
    let (fine, udp, behind, fragment, query) = (a.label(), a.label(), a.label(), a.label(), a.label());
    a.load(Size::Byte, R0, FP, AT_NETWORK_HEADER + 6);
    a.jump_if(R0, If::Equal, UDP, udp);
    a.jump_if(R0, If::Equal, FRAGMENT, fragment);
    for header in OPTIONS {
        a.jump_if(R0, If::Equal, header, behind);
    }
    routing(a, roles, drop);
    a.jump(fine);

    // A single header of this kind is legitimate before other things than UDP, as before a multicast listener report.
    a.here(behind);
    load(a, ETHERNET + 40, AT_NEXT_HEADER, 8, drop);
    a.load(Size::Byte, R0, FP, AT_NEXT_HEADER);
    not_hidden(a, drop);
    a.jump_if(R0, If::Equal, UDP, drop);
    routing(a, roles, drop);
    if roles.router {
        a.jump_if(R0, If::Equal, ICMPV6, query);
    }
    a.jump(fine);

    a.here(query);
    if roles.router {
        let short = a.label();
        // A packet hidden behind a longer header is not looked for.
        a.load(Size::Byte, R0, FP, AT_NEXT_HEADER + 1);
        a.jump_if(R0, If::Equal, 0, short);
        a.jump(drop);
        a.here(short);
        load(a, ETHERNET + 48, AT_NEXT_HEADER, 1, drop);
        a.load(Size::Byte, R0, FP, AT_NEXT_HEADER);
        a.jump_if(R0, If::Equal, LISTENER_QUERY, drop);
        a.jump(fine);
    }

    a.here(fragment);
    load(a, ETHERNET + 40, AT_NEXT_HEADER, 8, drop);
    a.load(Size::Half, R0, FP, AT_NEXT_HEADER + 2);
    a.jump_if(R0, If::Bits, i32::from(0xfff8_u16.to_be()), fine);
    a.load(Size::Byte, R0, FP, AT_NEXT_HEADER);
    not_hidden(a, drop);
    routing(a, roles, drop);
    a.jump_if(R0, If::Differ, UDP, fine);
    load(a, ETHERNET + 48, AT_NEXT_HEADER, 4, drop);
    ports(a, roles, DHCPV6_SERVER, fine, drop);

    a.here(udp);
    load(a, ETHERNET + 40, AT_NEXT_HEADER, 4, drop);
    ports(a, roles, DHCPV6_SERVER, fine, drop);
    a.here(fine);
}

/// `R0` is the kind of the next header: it is not another header that hides the payload.
fn not_hidden(a: &mut Asm, drop: BpfLabel) {
    for header in OPTIONS {
        a.jump_if(R0, If::Equal, header, drop);
    }
    a.jump_if(R0, If::Equal, FRAGMENT, drop);
}

/// `R0` is the kind of the next header: it is no routing protocol.
fn routing(a: &mut Asm, roles: Roles, drop: BpfLabel) {
    if roles.router {
        for protocol in ROUTING {
            a.jump_if(R0, If::Equal, protocol, drop);
        }
    }
}

/// The ports of UDP, at [`AT_NEXT_HEADER`], are not those of a server or a router.
fn ports(a: &mut Asm, roles: Roles, server: u16, fine: BpfLabel, drop: BpfLabel) {
    if roles.dhcp {
        a.load(Size::Half, R0, FP, AT_NEXT_HEADER);
        a.jump_if(R0, If::Equal, i32::from(server.to_be()), drop);
    }
    if roles.router {
        a.load(Size::Byte, R0, FP, AT_DESTINATION);
        a.op(AluOp::And, R0, 1);
        a.jump_if(R0, If::Equal, 0, fine);
        a.load(Size::Half, R0, FP, AT_NEXT_HEADER + 2);
        for port in ROUTING_PORTS {
            a.jump_if(R0, If::Equal, i32::from(port.to_be()), drop);
        }
    }
    a.jump(fine);
}
