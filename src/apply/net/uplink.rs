//! The programs on a link of the host that zones use: they find the zone that a frame is for.
//!
//! A link that zones share is looked at in both directions: frames that it receives and frames that the host sends
//! over it. A frame for an address of a zone goes to that zone, and the host's own stack does not see it; every
//! other frame goes on as if no program were there. A link that one zone has for itself is joined with the zone's
//! like two ends of a wire.

use super::frame::{
    ARP, AT_DESTINATION, AT_NUMBER, AT_TYPE, CLONE_REDIRECT, DROP, ETHERNET, FROM_ZONE, FROM_ZONE_BITS, PASS,
    SKB_CB, SKB_HAS_VLAN, SKB_MARK, SKB_PACKET_TYPE, SKB_VLAN, TAGGED, VLAN_POP, VLAN_PUSH, find_by_address,
    find_by_mac, jump_unless_multicast, load, look_up_number, send, send_to,
};
use crate::sys::bpf::Map;
use crate::sys::bpf::asm::{AluOp, Asm, BpfLabel, FP, If, R0, R1, R2, R3, R4, R6, R7, R8, R9, Size};
use crate::sys::netlink::filter::Direction;

/// A frame that is for another machine (`PACKET_OTHERHOST`).
const OTHERS: i32 = 3;

/// Most zones with link-layer addresses of their own on one link: each gets a copy of broadcast frames.
pub const MAX_LISTENERS: u32 = 256;
/// Bytes of a listener: number of the zone's link (4), VLAN (2), and whether it is a shared zone (2).
pub const LISTENER_BYTES: usize = 8;
/// In the second half of a listener: a shared zone. It needs no questions for link-layer addresses: those about
/// itself come to it alone.
pub const SHARED_ZONE: u32 = 0x1_0000;
/// Bits of that half that have to be those of the frame: for a frame of ARP or neighbour solicitation, and for
/// others.
const STRICT_MASK: i32 = 0x1_ffff;
const MASK: i32 = 0xffff;
/// The VLAN of a place that is free.
pub const NO_VLAN: u32 = u32::MAX;
/// Number of slots of the first program. One with twice as many is made when they are needed: the kernel checks the
/// code of each slot, which takes a hundredth of a millisecond, and most links have few zones.
pub const FIRST_LISTENERS: u32 = 4;
/// Bytes of the key of the list, which is the one value of an array.
pub const LIST_KEY_BYTES: usize = 4;
/// Bytes of the list: how many places are in use (4), how many either program looks at (2 each), the listeners.
pub const LIST_BYTES: usize = 8 + LISTENER_BYTES * MAX_LISTENERS as usize;
/// After so many places a program looks whether there are more.
const STRIDE: u32 = 16;

/// The zones that get a copy of broadcast frames.
#[derive(Clone, Copy, Debug)]
pub struct Audience<'a> {
    /// The list.
    pub list: &'a Map,
    /// At how many of its places a program looks.
    pub places: u32,
}

/// Returns the program for a link that zones share. With `listeners`, zones with link-layer addresses of their own
/// get a copy of broadcast frames.
pub fn shared(table: &Map, listeners: Option<Audience<'_>>, way: Direction) -> Vec<u64> {
    let mut asm = Asm::new();
    let a = &mut asm;
    let (pass, mine) = (a.label(), a.label());
    a.copy(R6, R1);
    // The frame comes from a zone, whose own program has looked for other zones already. R9: the link that it came by.
    a.set(R9, 0);
    a.load(Size::Word, R0, R6, SKB_MARK);
    a.copy(R1, R0);
    a.op(AluOp::And, R1, FROM_ZONE_BITS.cast_signed());
    let fresh = a.label();
    a.jump_if(R1, If::Differ, FROM_ZONE.cast_signed(), fresh);
    a.op(AluOp::And, R0, (!FROM_ZONE_BITS).cast_signed());
    a.copy(R9, R0);
    a.set(R1, 0);
    a.store(Size::Word, R6, SKB_MARK, R1);
    match (way, listeners) {
        // On its way in again, for the host: other zones have not had it yet.
        (Direction::In, Some(_)) => {
            load(a, 0, AT_DESTINATION, ETHERNET, pass);
            vlan_into(a);
            a.jump(mine);
        }
        _ => a.jump(pass),
    }
    a.here(fresh);
    load(a, 0, AT_DESTINATION, ETHERNET, pass);
    vlan_into(a);
    let (by_address, found) = (a.label(), a.label());
    find_by_mac(a, table, R8, R7, by_address);
    a.here(found);
    // The tag stays outside.
    let untagged = a.label();
    a.jump_if(R8, If::Equal, 0, untagged);
    a.copy(R1, R6);
    a.call(VLAN_POP);
    a.here(untagged);
    send_to(a, R7, 0);

    a.here(by_address);
    // Shared zones are on the link itself, not on one of its VLANs.
    a.jump_if(R8, If::Differ, 0, mine);
    if way == Direction::In {
        a.load(Size::Word, R0, R6, SKB_PACKET_TYPE);
        a.jump_if(R0, If::Equal, OTHERS, mine);
    }
    find_by_address(a, table, R7, mine);
    a.jump(found);

    a.here(mine);
    if let Some(listeners) = listeners {
        jump_unless_multicast(a, pass);
        copy_to_all(a, listeners, pass);
    }
    a.here(pass);
    a.exit_with(PASS);
    asm.finish()
}

/// Puts the number of the frame's VLAN into R8, 0 for none.
fn vlan_into(a: &mut Asm) {
    let none = a.label();
    a.set(R8, 0);
    a.load(Size::Word, R0, R6, SKB_HAS_VLAN);
    a.jump_if(R0, If::Equal, 0, none);
    a.load(Size::Word, R8, R6, SKB_VLAN);
    a.op(AluOp::And, R8, 0xfff);
    a.here(none);
}

/// Sends a copy to each zone that listens in the frame's VLAN (R8), but not to the one by whose link it
/// came (R9).
///
/// The list is one value, and each of its slots has code of its own: a loop would be checked by the kernel on each
/// path through it. For the same reason the kernel's knowledge of R8 and R9 is reset: all paths that lead here are
/// one then.
fn copy_to_all(a: &mut Asm, listeners: Audience<'_>, end: BpfLabel) {
    let (untagged, over) = (a.label(), a.label());
    for (place, known) in [(SKB_CB, R8), (SKB_CB + 4, R9)] {
        a.store(Size::Word, R6, place, known);
        a.load(Size::Word, known, R6, place);
    }
    a.store_number(Size::Word, FP, AT_NUMBER, 0);
    look_up_number(a, listeners.list, end);
    a.copy(R7, R0);
    let (asks, known) = (a.label(), a.label());
    a.store_number(Size::Double, FP, AT_NUMBER, MASK);
    a.load(Size::Half, R0, FP, AT_TYPE);
    a.jump_if(R0, If::Equal, i32::from(ARP), asks);
    // The solicited-node multicast groups.
    a.jump_unless_bytes(AT_DESTINATION, &[0x33, 0x33, 0xff], R0, known);
    a.here(asks);
    a.store_number(Size::Double, FP, AT_NUMBER, STRICT_MASK);
    a.here(known);
    a.load(Size::Word, R0, R7, 0);
    a.jump_if(R0, If::Equal, 0, end);
    a.jump_if(R8, If::Equal, 0, untagged);
    a.copy(R1, R6);
    a.call(VLAN_POP);
    a.here(untagged);
    // Once more: the ways with and without a tag are one again.
    a.load(Size::Word, R8, R6, SKB_CB);
    let mut at = 8;
    for n in 0..listeners.places {
        if n % STRIDE == 0 {
            let more = a.label();
            a.load(Size::Word, R0, R7, 0);
            a.jump_if(R0, If::Above, n.cast_signed(), more);
            a.jump(over);
            a.here(more);
        }
        copy_to(a, at);
        at += 8;
    }
    a.here(over);
    a.jump_if(R8, If::Equal, 0, end);
    a.copy(R1, R6);
    a.set(R2, i32::from(TAGGED[0]));
    a.copy(R3, R8);
    a.call(VLAN_PUSH);
}

/// Sends a copy to the listener at a place of the list (R7) if it is to have one.
///
/// There is no jump: the kernel would check all that follows for either way, and the last of many places would
/// cost a boot some hundredths of a second. The number of the link becomes 0 instead, which no link has.
fn copy_to(a: &mut Asm, at: i16) {
    // 1 when the VLAN is the frame's: nothing less 1 is negative.
    a.load(Size::Word, R3, R7, at + 4);
    a.load(Size::Double, R4, FP, AT_NUMBER);
    a.op_reg(AluOp::And, R3, R4);
    a.op_reg(AluOp::Xor, R3, R8);
    a.op(AluOp::Sub, R3, 1);
    a.op(AluOp::ShiftRight, R3, 63);
    a.load(Size::Word, R2, R7, at);
    a.op_reg(AluOp::Mul, R3, R2);
    // 0 when the frame came by this link.
    a.op_reg(AluOp::Xor, R2, R9);
    a.op(AluOp::Sub, R2, 1);
    a.op(AluOp::ShiftRight, R2, 63);
    a.op(AluOp::Xor, R2, 1);
    a.op_reg(AluOp::Mul, R2, R3);
    a.copy(R1, R6);
    a.set(R3, 0);
    a.call(CLONE_REDIRECT);
}

/// Returns the program for a link that one zone has for itself: frames received in a VLAN (0: all) go to the zone's
/// link, and the host's own frames go nowhere.
pub fn wire(zone: u32, vlan: u16, way: Direction) -> Vec<u64> {
    let mut asm = Asm::new();
    let a = &mut asm;
    let pass = a.label();
    a.copy(R6, R1);
    match way {
        Direction::Out => {
            let other = a.label();
            a.load(Size::Word, R0, R6, SKB_MARK);
            a.jump_if(R0, If::Differ, FROM_ZONE.cast_signed(), other);
            a.set(R1, 0);
            a.store(Size::Word, R6, SKB_MARK, R1);
            a.jump(pass);
            a.here(other);
            if vlan == 0 {
                a.exit_with(DROP);
            } else {
                vlan_into(a);
                a.jump_if(R8, If::Differ, i32::from(vlan), pass);
                a.exit_with(DROP);
            }
        }
        Direction::In => {
            if vlan != 0 {
                vlan_into(a);
                a.jump_if(R8, If::Differ, i32::from(vlan), pass);
                a.copy(R1, R6);
                a.call(VLAN_POP);
            }
            send(a, zone, 0);
        }
    }
    a.here(pass);
    a.exit_with(PASS);
    asm.finish()
}
