//! Link-layer addresses.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A link-layer address of 48 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Returns the IPv6 address that a link makes of its own (RFC 4291, appendix A).
    pub fn link_local(self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.0;
        let pair = |x, y| u16::from_be_bytes([x, y]);
        Ipv6Addr::new(0xfe80, 0, 0, 0, pair(a ^ 2, b), pair(c, 0xff), pair(0xfe, d), pair(e, f))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = ();

    /// Reads six bytes in hexadecimal, leading zeros optional. A multicast address and the all-zero address are
    /// refused: no link can have them.
    fn from_str(text: &str) -> Result<Self, ()> {
        let bytes = octets(text).ok_or(())?;
        let bytes: [u8; 6] = bytes.try_into().map_err(|_| ())?;
        if bytes[0] & 1 == 1 || bytes == [0; 6] { Err(()) } else { Ok(Self(bytes)) }
    }
}

fn octets(text: &str) -> Option<Vec<u8>> {
    let octet = |o: &str| match o.len() {
        1 | 2 if o.bytes().all(|b| b.is_ascii_hexdigit()) => u8::from_str_radix(o, 16).ok(),
        _ => None,
    };
    text.split(':').map(octet).collect()
}

/// Reads the first bytes of an address, one to five of them.
pub fn prefix(text: &str) -> Option<Vec<u8>> {
    octets(text).filter(|p| (1..=5).contains(&p.len()) && p[0] & 1 == 0)
}

/// Returns an address that follows from a seed and the name of the link. Without a prefix it is a locally
/// administered one, which no maker of hardware gives out.
pub fn derived(prefix: &[u8], seed: &[u8], link: &str) -> Mac {
    let hash = digest(&[b"mac", seed, link.as_bytes()]);
    let mut bytes: [u8; 6] = hash[..6].try_into().unwrap_or_default();
    bytes[0] = bytes[0] & !3 | 2;
    for (to, from) in bytes.iter_mut().zip(prefix) {
        *to = *from;
    }
    Mac(bytes)
}

/// Returns the link-layer address of a zone's port, which is not that of the zone's own end. A bridge takes
/// the lowest address of its ports: this one begins as high as an address can that is for one link.
pub fn port(name: &str, zone: Mac) -> Mac {
    let mut mac = derived(&[0xfe], &[], name);
    if mac == zone {
        mac.0[5] ^= 1;
    }
    mac
}

/// Returns an IPv6 address for the link alone. A shared zone has the host's link-layer address, and must
/// not have the address that the host makes of it.
pub fn link_local(seed: &str, link: &str) -> Ipv6Addr {
    let hash = digest(&[b"link-local", seed.as_bytes(), link.as_bytes()]);
    let pair = |at: usize| u16::from_be_bytes([hash[at], hash[at + 1]]);
    // Not a universal identifier: the bit that says so is off (RFC 4291, 2.5.1).
    Ipv6Addr::new(0xfe80, 0, 0, 0, pair(0) & !0x0200, pair(2), pair(4), pair(6))
}

fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
        hash.update([0]);
    }
    hash.finalize().into()
}
