//! Netlink: how links, addresses, routes, neighbours and filters are asked for and changed
//! (rtnetlink(7)), by this process itself and not by a program that it starts.
//!
//! Written here and not taken from a crate: what zones need is a few hundred lines, synchronous, and
//! the crates that are kept up come with an executor or with a type for every attribute there is.

pub mod codec;
pub mod events;
pub mod filter;
pub mod link;
pub mod route;
mod socket;

pub use socket::{NetError, Socket};

/// Make it when it is not there (`NLM_F_CREATE`).
const CREATE: u16 = 0x400;
/// Fail when it is there (`NLM_F_EXCL`).
const EXCLUSIVE: u16 = 0x200;
/// Put the new one beside the old (`NLM_F_APPEND`).
const APPEND: u16 = 0x800;
/// Put the new one in place of the old (`NLM_F_REPLACE`).
const REPLACE: u16 = 0x100;

/// Family of IPv4 and IPv6 addresses.
fn family(address: &std::net::IpAddr) -> u8 {
    let number = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    u8::try_from(number).unwrap_or(0)
}

/// Bytes of an address, in network order.
fn octets(address: &std::net::IpAddr) -> Vec<u8> {
    match address {
        std::net::IpAddr::V4(a) => a.octets().to_vec(),
        std::net::IpAddr::V6(a) => a.octets().to_vec(),
    }
}

/// Reads an address from 4 or 16 bytes.
fn address(bytes: &[u8]) -> Option<std::net::IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(four.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(Into::into)
}
