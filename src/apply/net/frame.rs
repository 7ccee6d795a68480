//! The common parts of the BPF programs on links: how they keep a frame on their stack, and how they find the zone that
//! it is for.
//!
//! In every program `R6` points to the kernel's description of the frame (`struct __sk_buff`), and `FP` to the upper
//! end of the stack: places on it are negative. The functions here add instructions to a program, so "copies" means
//! that the program will copy.

use crate::sys::bpf::Map;
use crate::sys::bpf::asm::{AluOp, Asm, BpfLabel, FP, If, R0, R1, R2, R3, R4, R6, Reg, Size};

// Fields of `struct __sk_buff` (linux/bpf.h).
pub const SKB_LENGTH: i16 = 0;
pub const SKB_PACKET_TYPE: i16 = 4;
pub const SKB_MARK: i16 = 8;
pub const SKB_HAS_VLAN: i16 = 20;
pub const SKB_VLAN: i16 = 24;
/// The number of the link by which the frame came or goes.
pub const SKB_LINK: i16 = 40;
/// Room for a program's own notes about the frame, 20 bytes.
pub const SKB_CB: i16 = 48;

// Functions of the kernel (bpf-helpers(7)).
const MAP_LOOKUP: i32 = 1;
pub const KTIME_GET_NS: i32 = 5;
pub const CLONE_REDIRECT: i32 = 13;
pub const VLAN_PUSH: i32 = 18;
pub const VLAN_POP: i32 = 19;
const REDIRECT: i32 = 23;
pub const LOAD_BYTES: i32 = 26;

/// Verdict `TC_ACT_UNSPEC`: the frame goes on as if the program were not there.
pub const PASS: i32 = -1;
/// Verdict `TC_ACT_SHOT`: the frame is dropped.
pub const DROP: i32 = 2;
/// The flag `BPF_F_INGRESS` of the redirecting functions: the link receives the frame, where without it the link sends
/// it.
pub const INGRESS: i32 = 1;

/// Bits of a frame's mark (`skb->mark`) that say that it comes from a zone. The others are the number of the zone's
/// link on the host. The programs take the mark off before the host sees the frame.
pub const FROM_ZONE: u32 = 0x5a00_0000;
/// The bits of a mark that are compared with [`FROM_ZONE`].
pub const FROM_ZONE_BITS: u32 = 0xff00_0000;

/// Protocol numbers of ethernet, as a 16-bit load of network bytes gives them.
pub const IPV4: u16 = 0x0800_u16.to_be();
pub const IPV6: u16 = 0x86dd_u16.to_be();
pub const ARP: u16 = 0x0806_u16.to_be();
pub const TAGGED: [u16; 2] = [0x8100_u16.to_be(), 0x88a8_u16.to_be()];

// Places on the stack, from `FP` on.
/// The header of ethernet: destination, source, type.
pub const AT_DESTINATION: i16 = -16;
pub const AT_SOURCE: i16 = -10;
pub const AT_TYPE: i16 = -4;
/// The header of ARP, IPv4 or IPv6, 40 bytes.
pub const AT_NETWORK_HEADER: i16 = -56;
/// The header that follows that of IPv4 or IPv6.
pub const AT_NEXT_HEADER: i16 = -96;
/// A key of the table, as [`key`] makes it.
const AT_KEY: i16 = -120;
/// A key of an array, which is a number.
pub const AT_NUMBER: i16 = -128;

/// The link-layer address of the host's link.
pub const AT_HOST_MAC: i16 = -144;

/// Length of the header of ethernet.
pub const ETHERNET: i32 = 14;

/// The meaning of a key of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableKeyKind {
    /// A link-layer address, of a zone with one of its own.
    Mac = 1,
    /// No address: the value is the link-layer address of the host's link.
    Host = 2,
    /// An IPv4 address of a shared zone.
    V4 = 4,
    /// An IPv6 address of a shared zone.
    V6 = 6,
}

/// Bytes of a key: kind (1), unused (1), VLAN (2), address (16).
pub const KEY_BYTES: usize = 20;
/// Bytes of a value: number of the zone's link on the host (4), unused (4).
pub const VALUE_BYTES: usize = 8;

/// Returns a key of the table.
pub fn key(kind: TableKeyKind, vlan: u16, address: &[u8]) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    key[0] = kind as u8;
    key[2..4].copy_from_slice(&vlan.to_ne_bytes());
    key[4..4 + address.len()].copy_from_slice(address);
    key
}

/// Returns the key under which a table has the link-layer address of the host's link.
pub fn host_key() -> [u8; KEY_BYTES] {
    key(TableKeyKind::Host, 0, &[])
}

/// Returns the value that a table has under [`host_key`].
pub fn host_value(mac: [u8; 6]) -> [u8; VALUE_BYTES] {
    let mut value = [0; VALUE_BYTES];
    value[..6].copy_from_slice(&mac);
    value
}

/// Returns a value of the table.
pub fn value(link: u32) -> [u8; VALUE_BYTES] {
    let mut value = [0; VALUE_BYTES];
    value[..4].copy_from_slice(&link.to_ne_bytes());
    value
}

/// Loads bytes of the frame onto the stack; a frame that is too short leads to `short`.
pub fn load(a: &mut Asm, from: i32, to: i16, length: i32, short: BpfLabel) {
    a.copy(R1, R6);
    a.set(R2, from);
    a.stack(R3, to);
    a.set(R4, length);
    a.call(LOAD_BYTES);
    a.jump_if(R0, If::Differ, 0, short);
}

/// Ends the program: the frame goes to a link whose number is in a register.
pub fn send_to(a: &mut Asm, link: Reg, flags: i32) {
    a.copy(R1, link);
    a.set(R2, flags);
    a.call(REDIRECT);
    a.exit();
}

/// Ends the program: the frame goes to this link.
pub fn send(a: &mut Asm, link: u32, flags: i32) {
    a.set(R1, link.cast_signed());
    a.set(R2, flags);
    a.call(REDIRECT);
    a.exit();
}

/// Sends a copy of the frame to this link.
pub fn send_copy(a: &mut Asm, link: u32, flags: i32) {
    a.copy(R1, R6);
    a.set(R2, link.cast_signed());
    a.set(R3, flags);
    a.call(CLONE_REDIRECT);
}

/// Puts the frame's VLAN tag on.
pub fn push_vlan(a: &mut Asm, vlan: u16) {
    a.copy(R1, R6);
    a.set(R2, i32::from(TAGGED[0]));
    a.set(R3, i32::from(vlan));
    a.call(VLAN_PUSH);
}

/// Jumps unless the destination is for many.
pub fn jump_unless_multicast(a: &mut Asm, to: BpfLabel) {
    a.load(Size::Byte, R0, FP, AT_DESTINATION);
    a.op(AluOp::And, R0, 1);
    a.jump_if(R0, If::Equal, 0, to);
}

/// Begins a key: kind and VLAN, the rest zero.
fn begin_key(a: &mut Asm, kind: TableKeyKind, vlan: Option<Reg>) {
    for word in 0..5 {
        a.store_number(Size::Word, FP, AT_KEY + word * 4, 0);
    }
    a.store_number(Size::Byte, FP, AT_KEY, kind as i32);
    if let Some(vlan) = vlan {
        a.store(Size::Half, FP, AT_KEY + 2, vlan);
    }
}

/// Looks the key up. `R0` points to the value then, or the program goes on at `none`.
fn look_up(a: &mut Asm, table: &Map, at: i16, none: BpfLabel) {
    a.set_map(R1, table.number());
    a.stack(R2, at);
    a.call(MAP_LOOKUP);
    a.jump_if_wide(R0, If::Equal, 0, none);
}

/// Looks a number up in an array. `R0` points to the value then, or the program goes on at `none`.
pub fn look_up_number(a: &mut Asm, array: &Map, none: BpfLabel) {
    look_up(a, array, AT_NUMBER, none);
}

/// Finds the zone with the frame's destination as its link-layer address, in a VLAN whose number is in a
/// register; none is number 0. `found` then holds the number of its link.
pub fn find_by_mac(a: &mut Asm, table: &Map, vlan: Reg, found: Reg, none: BpfLabel) {
    begin_key(a, TableKeyKind::Mac, Some(vlan));
    for at in (0..6).step_by(2) {
        a.load(Size::Half, R0, FP, AT_DESTINATION + at);
        a.store(Size::Half, FP, AT_KEY + 4 + at, R0);
    }
    look_up(a, table, AT_KEY, none);
    a.load(Size::Word, found, R0, 0);
}

/// Finds the shared zone whose address the frame is for, or asks for. `found` then holds the number of
/// its link.
pub fn find_by_address(a: &mut Asm, table: &Map, found: Reg, none: BpfLabel) {
    let (v6, arp, v4, look) = (a.label(), a.label(), a.label(), a.label());
    begin_key(a, TableKeyKind::V4, None);
    a.load(Size::Half, R0, FP, AT_TYPE);
    a.jump_if(R0, If::Equal, i32::from(IPV6), v6);
    a.jump_if(R0, If::Equal, i32::from(ARP), arp);
    a.jump_if(R0, If::Differ, i32::from(IPV4), none);

    load(a, ETHERNET, AT_NETWORK_HEADER, 20, none);
    // struct iphdr: daddr.
    a.load(Size::Word, R0, FP, AT_NETWORK_HEADER + 16);
    a.jump(v4);

    a.here(arp);
    load(a, ETHERNET, AT_NETWORK_HEADER, 28, none);
    // ARP for IPv4: the protocol address of the target.
    a.load(Size::Word, R0, FP, AT_NETWORK_HEADER + 24);
    a.here(v4);
    a.store(Size::Word, FP, AT_KEY + 4, R0);
    a.jump(look);

    a.here(v6);
    load(a, ETHERNET, AT_NETWORK_HEADER, 40, none);
    a.store_number(Size::Byte, FP, AT_KEY, TableKeyKind::V6 as i32);
    // struct ipv6hdr: daddr; nexthdr is byte 6.
    copy_ipv6_address(a, AT_NETWORK_HEADER + 24, AT_KEY + 4);
    a.load(Size::Byte, R0, FP, AT_NETWORK_HEADER + 24);
    a.jump_if(R0, If::Differ, 0xff, look);
    // A multicast frame: a neighbour solicitation is for the machine that it asks for.
    a.load(Size::Byte, R0, FP, AT_NETWORK_HEADER + 6);
    a.jump_if(R0, If::Differ, ICMPV6, none);
    load(a, ETHERNET + 40, AT_NEXT_HEADER, 24, none);
    a.load(Size::Byte, R0, FP, AT_NEXT_HEADER);
    a.jump_if(R0, If::Differ, NEIGHBOUR_SOLICITATION, none);
    copy_ipv6_address(a, AT_NEXT_HEADER + 8, AT_KEY + 4);

    a.here(look);
    look_up(a, table, AT_KEY, none);
    a.load(Size::Word, found, R0, 0);
}

/// Copies the link-layer address of the host's link onto the stack, where it stays.
pub fn learn_host(a: &mut Asm, table: &Map, none: BpfLabel) {
    begin_key(a, TableKeyKind::Host, None);
    look_up(a, table, AT_KEY, none);
    a.load(Size::Double, R1, R0, 0);
    a.store(Size::Double, FP, AT_HOST_MAC, R1);
}

/// Jumps unless the link-layer address at a place of the stack is that of the host's link.
pub fn jump_unless_host(a: &mut Asm, at: i16, to: BpfLabel) {
    for part in (0..6).step_by(2) {
        a.load(Size::Half, R0, FP, at + part);
        a.load(Size::Half, R1, FP, AT_HOST_MAC + part);
        a.jump_if_reg(R0, If::Differ, R1, to);
    }
}

/// Copies an IPv6 address on the stack.
fn copy_ipv6_address(a: &mut Asm, from: i16, to: i16) {
    for at in (0..16).step_by(4) {
        a.load(Size::Word, R0, FP, from + at);
        a.store(Size::Word, FP, to + at, R0);
    }
}

/// Number of ICMPv6 in an IPv6 header.
pub const ICMPV6: i32 = 58;
/// Its message that asks for a link-layer address.
pub const NEIGHBOUR_SOLICITATION: i32 = 135;
