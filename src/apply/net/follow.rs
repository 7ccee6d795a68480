//! Follows the host's links while a zone runs on them: their link-layer address, their largest packet, and whether
//! they have a carrier. Other changes, a new name and the end of a link, are only reported.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::lock::NetLock;
use super::switch::Switch;
use super::{NetworkResult, inside, net, sys};
use crate::apply::journal::boot as journal;
use crate::apply::paths::Root;
use crate::apply::rundir::JOURNAL;
use crate::plan::net::LinkMode;
use crate::plan::net::link::Remains;
use crate::spec::ZoneName;
use crate::sys::netlink::events::Events;
use crate::sys::netlink::link::{self, Link, LinkChange};
use crate::sys::netlink::{NetError, Socket};
use crate::sys::ns;

/// The links of a zone, followed.
#[derive(Debug)]
pub struct Follow {
    events: Events,
    host: Socket,
    zone: Socket,
    links: Vec<Remains>,
}

impl Follow {
    /// Begins to follow the links of a zone, and brings them up to date. None for a zone whose links stay as
    /// they are.
    ///
    /// # Errors
    /// [`super::NetworkError`]
    pub fn begin(root: &Root, zone: &ZoneName, init: i32) -> NetworkResult<Option<Self>> {
        let mut links = journal::links(&root.zone_run(zone).join(JOURNAL));
        links.retain(|l| l.way != LinkMode::Moved);
        if links.is_empty() {
            return Ok(None);
        }
        let numbers: Vec<u32> = links.iter().map(|l| l.lower_index).collect();
        // First listen, then look: nothing is missed between.
        let events = Events::of(&numbers).map_err(net("cannot listen to the host's links"))?;
        let host = Socket::open().map_err(net("cannot open netlink"))?;
        let namespace: OwnedFd =
            ns::open(init, "net").map_err(sys("cannot open the zone's network namespace"))?;
        let zone = inside::socket(namespace.as_fd())?;
        Ok(Some(Self { events, host, zone, links }))
    }

    /// Reads the events, and brings the zone's links up to date. Returns the failures.
    pub fn turn(&mut self) -> Vec<String> {
        self.events.take();
        let mut errors = Vec::new();
        for remains in &self.links {
            let done = link::numbered(&mut self.host, remains.lower_index)
                .map_err(net("cannot look at the host's link"))
                .and_then(|lower| bring_up_to_date(&mut self.host, &mut self.zone, remains, lower.as_ref()));
            errors.extend(done.err().map(|e| format!("link '{}' is not followed: {e}", remains.lower)));
        }
        errors
    }
}

impl AsFd for Follow {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }
}

fn bring_up_to_date(
    host: &mut Socket,
    zone: &mut Socket,
    remains: &Remains,
    lower: Option<&Link>,
) -> NetworkResult<()> {
    let port = link::named(host, &remains.port).map_err(net("cannot look at the zone's port"))?;
    // The link below one of a pair is the other one.
    let Some((port, own)) = port.and_then(|p| p.lower.map(|own| (p, own))) else { return Ok(()) };
    // The zone may have removed its end, or be about to end.
    let Some(own) = link::numbered(zone, own).map_err(net("cannot look at the zone's link"))? else {
        return Ok(());
    };
    let carries = lower.is_some_and(|l| l.is_up() && l.has_carrier());
    if let Some(lower) = lower {
        address(host, zone, remains, lower, &own)?;
        size(host, zone, remains, (lower, &port, &own))?;
    }
    if own.is_dormant() == carries {
        let change = LinkChange { dormant: Some(!carries), ..LinkChange::default() };
        ignore_missing(link::change(zone, own.index, &change))
            .map_err(net("cannot tell whether it carries anything"))?;
    }
    Ok(())
}

/// The zone knows the host by its link-layer address, and a shared zone has the same one.
fn address(
    host: &mut Socket,
    zone: &mut Socket,
    remains: &Remains,
    lower: &Link,
    own: &Link,
) -> NetworkResult<()> {
    let Some(mac) = lower.mac else { return Ok(()) };
    match remains.way {
        LinkMode::Shared | LinkMode::Own => {
            let _lock = NetLock::wait().map_err(sys("cannot lock the network"))?;
            if let Some(switch) = Switch::find(host, lower.index)? {
                switch.host_has(mac)?;
            }
        }
        LinkMode::Wire if mac != remains.mac && lower.flags & link::PROMISCUOUS == 0 => {
            let change = LinkChange { set: link::PROMISCUOUS, ..LinkChange::default() };
            link::change(host, lower.index, &change).map_err(net("cannot take the zone's frames"))?;
        }
        _ => {}
    }
    if remains.way == LinkMode::Shared && own.mac != Some(mac) {
        let change = LinkChange { mac: Some(mac), ..LinkChange::default() };
        ignore_missing(link::change(zone, own.index, &change))
            .map_err(net("cannot set the zone's link-layer address"))?;
    }
    Ok(())
}

/// The zone's link takes packets as large as the host's, but no larger ones than the spec says. A smaller limit that
/// the zone has set stays.
fn size(
    host: &mut Socket,
    zone: &mut Socket,
    remains: &Remains,
    links: (&Link, &Link, &Link),
) -> NetworkResult<()> {
    let (lower, port, own) = links;
    let most = |configured: u32| if configured == 0 { lower.mtu } else { lower.mtu.min(configured) };
    let (old, new) = (port.mtu.min(if remains.mtu == 0 { u32::MAX } else { remains.mtu }), most(remains.mtu));
    let set = |socket: &mut Socket, index: u32, mtu: u32| {
        let change = LinkChange { mtu: Some(mtu), ..LinkChange::default() };
        ignore_missing(link::change(socket, index, &change))
            .map_err(net(format!("cannot set its mtu to {mtu}")))
    };
    if own.mtu != new && (own.mtu == old || own.mtu > new) {
        set(zone, own.index, new)?;
    }
    if port.mtu != lower.mtu { set(host, port.index, lower.mtu) } else { Ok(()) }
}

/// A link that goes meanwhile needs no change.
fn ignore_missing(done: Result<(), NetError>) -> Result<(), NetError> {
    match done {
        Err(e) if e.number() == libc::ENODEV => Ok(()),
        other => other,
    }
}

/// Returns warnings about the host's links that a running zone uses.
pub fn link_warnings(root: &Root, zone: &ZoneName) -> Vec<String> {
    let links = journal::links(&root.zone_run(zone).join(JOURNAL));
    let mut host = None;
    let mut warnings = Vec::new();
    for remains in links.iter().filter(|l| l.way != LinkMode::Moved) {
        let host = match &mut host {
            Some(host) => host,
            None => match Socket::open() {
                Ok(socket) => host.insert(socket),
                Err(_) => return warnings,
            },
        };
        warnings.extend(of_link(host, remains));
    }
    warnings
}

fn of_link(host: &mut Socket, remains: &Remains) -> Option<String> {
    let Remains { zone, lower, .. } = remains;
    match link::numbered(host, remains.lower_index).ok()? {
        None => Some(format!(
            "zone '{zone}': link '{lower}' of this host has gone, and with it the zone's way out; once it is there \
             again, reboot the zone"
        )),
        Some(there) if there.name != *lower => Some(format!(
            "zone '{zone}': link '{lower}' of this host is now called '{}'; the zone goes on with it, but its next boot \
             needs the name of then: change it with zonecfg",
            there.name
        )),
        Some(there) if !there.is_up() => Some(format!(
            "zone '{zone}': link '{lower}' of this host is switched off; ip link set {lower} up"
        )),
        Some(there) if !there.has_carrier() => {
            Some(format!("zone '{zone}': link '{lower}' of this host has no carrier"))
        }
        Some(_) => None,
    }
}
