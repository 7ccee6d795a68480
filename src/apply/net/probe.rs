//! Finds the machines on the wire that have an address already. The kernel asks, by ARP or neighbour solicitation,
//! and the holder answers at once. The questions go out when the boot begins, and the answers are read when a link
//! is complete and only has to be switched on, so that waiting costs next to nothing.

use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{NetworkResult, net};
use crate::plan::net::{LinkMode, ZoneLink};
use crate::sys::netlink::{NetError, Socket, link, route};

/// How long an answer may take. On a wire it takes some tenths of a millisecond; the rest of a boot takes
/// about as long as this, so that it costs nothing.
const PATIENCE: Duration = Duration::from_millis(4);

/// The same for a router that is not known yet; it is asked only when an address was answered for.
const ROUTER_PATIENCE: Duration = Duration::from_millis(300);

/// Questions that have been asked.
#[derive(Debug)]
pub struct Probe {
    begun: Instant,
    asked: Vec<(u32, IpAddr)>,
}

impl Probe {
    /// Asks for the addresses of these links, where a machine could answer.
    ///
    /// # Errors
    /// [`super::NetworkError`]
    pub fn begin(links: &[ZoneLink]) -> NetworkResult<Self> {
        let mut host = None;
        let mut asked = Vec::new();
        for link in links.iter().filter(|l| may_be_answered(l)) {
            for ip in link.claimed() {
                let host = match &mut host {
                    Some(host) => host,
                    None => host.insert(Socket::open().map_err(net("cannot open netlink"))?),
                };
                if ask(host, link.lower_index, &ip).map_err(net("cannot ask who has the addresses"))? {
                    asked.push((link.lower_index, ip));
                }
            }
        }
        Ok(Self { begun: Instant::now(), asked })
    }

    /// Waits for answers about the addresses of one link, as long as they may still come. Returns the
    /// addresses that were answered for, each with the link-layer address of who did.
    ///
    /// # Errors
    /// [`super::NetworkError`]
    pub fn answers(&mut self, host: &mut Socket, wanted: &ZoneLink) -> NetworkResult<Vec<(IpAddr, [u8; 6])>> {
        let claimed = wanted.claimed();
        let ours = |(index, ip): &(u32, IpAddr)| *index == wanted.lower_index && claimed.contains(ip);
        let open: Vec<(u32, IpAddr)> = self.asked.extract_if(.., |a| ours(a)).collect();
        if open.is_empty() {
            return Ok(Vec::new());
        }
        sleep(PATIENCE.saturating_sub(self.begun.elapsed()));
        let mut answers = Vec::new();
        for (index, ip) in open {
            let answer = route::answer(host, index, &ip).map_err(net("cannot read the neighbours"))?;
            answers.extend(answer.map(|mac| (ip, mac)));
            // Left as it is, an unanswered question would keep the first packets for the zone waiting.
            let _ = route::forget(host, index, &ip);
        }
        Ok(answers)
    }
}

/// Returns the router of a link that has a link-layer address, other than one whose own address is asked for. A
/// router that answers for others does so for unused addresses as well.
///
/// # Errors
/// [`super::NetworkError`]
pub fn router_with(
    host: &mut Socket,
    wanted: &ZoneLink,
    asked: IpAddr,
    mac: [u8; 6],
) -> NetworkResult<Option<IpAddr>> {
    let index = wanted.lower_index;
    let same_kind = |r: &&IpAddr| r.is_ipv4() == asked.is_ipv4() && **r != asked;
    for router in wanted.routers.iter().chain(&wanted.gateways).filter(same_kind) {
        let look = net("cannot read the neighbours");
        let mut found = route::answer(host, index, router).map_err(&look)?;
        if found.is_none() && ask(host, index, router).map_err(&look)? {
            let begun = Instant::now();
            while found.is_none() && begun.elapsed() < ROUTER_PATIENCE {
                sleep(PATIENCE);
                found = route::answer(host, index, router).map_err(&look)?;
            }
            // Restores the former value.
            let _ = route::forget(host, index, router);
        }
        if found == Some(mac) {
            return Ok(Some(*router));
        }
    }
    Ok(None)
}

/// The host does not speak on a VLAN of a link, nor on a link that the zone has for itself.
fn may_be_answered(link: &ZoneLink) -> bool {
    let carries = link::UP | link::CARRIER;
    link.vlan == 0 && link.way != LinkMode::Moved && link.lower_flags & (carries | link::NO_ARP) == carries
}

/// Has the kernel ask; says whether it did.
fn ask(host: &mut Socket, index: u32, ip: &IpAddr) -> Result<bool, NetError> {
    match route::ask(host, index, ip) {
        Ok(()) => Ok(true),
        // IPv6 is switched off there: no question is sent, and the kernel will refuse the address. The step that
        // needs a missing link reports it.
        Err(e)
            if matches!(
                e.number(),
                libc::EINVAL | libc::EAFNOSUPPORT | libc::EOPNOTSUPP | libc::ENODEV | libc::ENXIO
            ) =>
        {
            Ok(false)
        }
        Err(e) => Err(e),
    }
}
