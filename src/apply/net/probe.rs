//! Who on the wire has an address already? The kernel asks, by ARP or neighbour solicitation; whoever
//! has it answers at once. The questions go out when the boot begins, and the answers are looked at when
//! the zone's links are made, so that waiting costs next to nothing.

use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Done, net};
use crate::plan::net::{Link, Way};
use crate::sys::netlink::{NetError, Socket, link, route};

/// How long an answer may take. On a wire it takes some tenths of a millisecond.
const PATIENCE: Duration = Duration::from_millis(6);

/// How long until the answers are looked at again.
const STEP: Duration = Duration::from_micros(500);

/// Questions that have been asked.
#[derive(Debug)]
pub struct Probe {
    begun: Instant,
    asked: Vec<(u32, IpAddr)>,
}

impl Probe {
    /// Asks for the addresses of all these links, where somebody could answer.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn begin<'a>(host: &mut Socket, links: impl Iterator<Item = &'a Link>) -> Result<Self, NetError> {
        let mut asked = Vec::new();
        for wanted in links {
            let ips = wanted.claimed();
            // The host does not speak on a VLAN of a link, nor on a link that the zone has for itself.
            if ips.is_empty() || wanted.vlan != 0 || wanted.way == Way::Moved {
                continue;
            }
            let Some(lower) = link::numbered(host, wanted.lower_index)? else { continue };
            if !(lower.is_up() && lower.has_carrier() && lower.resolves()) {
                continue;
            }
            for ip in ips {
                match route::ask(host, lower.index, &ip) {
                    Ok(()) => asked.push((lower.index, ip)),
                    // IPv6 is switched off there: nobody is asked, and the kernel will refuse the address.
                    Err(e) if matches!(e.number(), libc::EINVAL | libc::EAFNOSUPPORT | libc::EOPNOTSUPP) => {}
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(Self { begun: Instant::now(), asked })
    }

    /// Waits for answers about the addresses of one link, as long as they may still come. Returns the
    /// address that somebody has, and the link-layer address of who answered.
    ///
    /// # Errors
    /// The reason as text.
    pub fn taken(&mut self, host: &mut Socket, wanted: &Link) -> Done<Option<(IpAddr, [u8; 6])>> {
        let ours =
            |(index, ip): &&(u32, IpAddr)| *index == wanted.lower_index && wanted.claimed().contains(ip);
        let open: Vec<(u32, IpAddr)> = self.asked.iter().filter(ours).copied().collect();
        while !open.is_empty() {
            for (index, ip) in &open {
                let answer = route::answer(host, *index, ip).map_err(net("cannot read the neighbours"))?;
                if let Some(mac) = answer {
                    self.forget(host);
                    return Ok(Some((*ip, mac)));
                }
            }
            if self.begun.elapsed() >= PATIENCE {
                break;
            }
            sleep(STEP);
        }
        for (index, ip) in &open {
            // What is not known is asked again by the first packet; nothing else depends on it.
            let _ = route::forget(host, *index, ip);
        }
        self.asked.retain(|a| !open.contains(a));
        Ok(None)
    }

    /// Forgets what was asked.
    fn forget(&mut self, host: &mut Socket) {
        for (index, ip) in self.asked.drain(..) {
            let _ = route::forget(host, index, &ip);
        }
    }
}
