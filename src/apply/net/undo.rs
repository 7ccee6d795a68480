//! Removes the remains of a zone's link on the host, from whatever state it is in.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use super::build::keys_of;
use super::inside::Inside;
use super::lock::NetLock;
use super::switch::{Switch, part, unprepare, zone_of};
use super::{NetworkError, NetworkResult, claims, net, sys};
use crate::apply::fault;
use crate::apply::helper::exec;
use crate::plan::net::link::Remains;
use crate::plan::net::{LinkMode, ZoneLink};
use crate::sys::netlink::{NetError, Socket, link, route};
use crate::sys::ns::{self, Side};
use crate::sys::process;

/// How long the kernel may take to give a link back whose zone has ended.
const RETURN: Duration = Duration::from_secs(5);

/// The process that waits while the kernel removes a port, which takes it some 30 milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortRemoval {
    /// The caller: the port is gone afterwards.
    Awaited,
    /// A process of its own. The port is switched off before, so that its addresses are free, and it goes with the
    /// network namespace of its zone at the latest.
    Beside,
}

/// Removes all of it; goes on after failures and returns them.
pub fn remove(remains: &Remains, removal: PortRemoval) -> Vec<String> {
    let mut errors = Vec::new();
    let what = format!("link {} of zone {}", remains.lower, remains.zone);
    match Socket::open() {
        Ok(mut host) => {
            let mut note =
                |done: NetworkResult<()>| errors.extend(done.err().map(|e| format!("{what}: {e}")));
            match remains.way {
                LinkMode::Moved => note(take_back(&mut host, remains)),
                _ => note(clear(&mut host, remains, removal)),
            }
        }
        Err(e) => errors.push(format!("{what}: cannot open netlink: {e}")),
    }
    fault::point("undo-removed");
    // Another zone may be about to use a folder that is removed here.
    match NetLock::wait() {
        Ok(_lock) => claims::remove(remains),
        Err(e) => errors.push(format!("{what}: {}", sys("cannot lock the network")(e))),
    }
    errors
}

/// Removes a link of a zone that runs on, whose network namespace this is: also what lies in there and would go with
/// the namespace, the rules by which packets from its addresses found the link's own routes. Goes on after failures
/// and returns them.
pub fn remove_of_running(wanted: &ZoneLink, namespace: BorrowedFd<'_>) -> Vec<String> {
    let rules = Inside::open(namespace).and_then(|mut inside| inside.forget_routes(wanted));
    let mut errors: Vec<String> = rules.err().map(|e| format!("{}: {e}", wanted.what)).into_iter().collect();
    errors.extend(remove(&wanted.remains(), PortRemoval::Awaited));
    errors
}

fn clear(host: &mut Socket, remains: &Remains, removal: PortRemoval) -> NetworkResult<()> {
    let _lock = NetLock::wait().map_err(sys("cannot lock the network"))?;
    let port = link::named(host, &remains.port).map_err(net("cannot look at a link"))?;
    // A port that was made a moment before a crash says nothing of itself yet.
    let port = match port {
        Some(port) if port.kind.as_deref() == Some("veth") => {
            let owner = zone_of(host, port.index)?;
            (port.alias.is_none() || owner.as_deref() == Some(&remains.zone)).then_some(port.index)
        }
        _ => None,
    };
    let mut first = Ok(());
    let mut note = |done: NetworkResult<()>| {
        if first.is_ok() {
            first = done;
        }
    };
    let lower = link::numbered(host, remains.lower_index).map_err(net("cannot look at the host's link"))?;
    if lower.is_some() {
        match remains.way {
            LinkMode::Shared | LinkMode::Own => note(leave_switch(host, remains, port)),
            LinkMode::Wire => note(leave_wire(host, remains)),
            LinkMode::Bridge | LinkMode::Moved => {}
        }
        for ip in &remains.routes {
            note(
                ignore_missing(route::remove_host(host, remains.lower_index, ip))
                    .map_err(net("cannot remove a route")),
            );
        }
    }
    fault::point("undo-left");
    if let Some(port) = port
        && (removal == PortRemoval::Awaited || !remove_beside(host, port))
    {
        note(ignore_missing(link::remove(host, port)).map_err(net("cannot remove the port")));
    }
    first
}

/// Switches a port off and has a process of its own remove it; says whether there is such a process.
fn remove_beside(host: &mut Socket, port: u32) -> bool {
    let down = link::LinkChange { clear: link::UP, ..link::LinkChange::default() };
    if ignore_missing(link::change(host, port, &down)).is_err() {
        return false;
    }
    match ns::fork() {
        Ok(Side::Child) => {
            exec::stdio_to_null();
            // The caller's locks are among the descriptors, and pipes that another process reads to their end.
            let _ = process::close_all_but(&[]);
            fault::point("port-beside");
            if let Ok(mut host) = Socket::open() {
                let _ = link::remove(&mut host, port);
            }
            process::exit_now(0)
        }
        Ok(Side::Parent(..)) => true,
        Err(_) => false,
    }
}

/// Takes it for done when the kernel does not have the thing any more.
pub(super) fn ignore_missing(done: Result<(), NetError>) -> Result<(), NetError> {
    match done {
        Err(e) if matches!(e.number(), libc::ENODEV | libc::ESRCH | libc::ENOENT) => Ok(()),
        other => other,
    }
}

fn leave_switch(host: &mut Socket, remains: &Remains, port: Option<u32>) -> NetworkResult<()> {
    let Some(switch) = Switch::find(host, remains.lower_index)? else {
        return unprepare(host, remains.lower_index);
    };
    for (key, _) in keys_of(remains.way, remains.vlan, remains.mac, &remains.addresses) {
        switch.leave(host, &key, port)?;
    }
    switch.unlisten(host, port)?;
    if remains.way == LinkMode::Own {
        route::leave_frames(host, remains.lower_index, remains.mac)
            .map_err(net("cannot give the frames up"))?;
    }
    switch.close(host)
}

fn leave_wire(host: &mut Socket, remains: &Remains) -> NetworkResult<()> {
    part(host, remains.lower_index)?;
    // Restores the former value.
    let ours = link::UP | link::PROMISCUOUS | link::ALL_MULTICAST;
    let change = link::LinkChange {
        set: remains.lower_flags & ours,
        clear: ours & !remains.lower_flags,
        ..link::LinkChange::default()
    };
    link::change(host, remains.lower_index, &change).map_err(net("cannot put the link back as it was"))
}

/// A device comes back by itself when the zone's namespace ends, a little later, under the name that the
/// zone has given it last.
fn take_back(host: &mut Socket, remains: &Remains) -> NetworkResult<()> {
    let begun = Instant::now();
    let found = loop {
        let list = link::all(host).map_err(net("cannot look at the links"))?;
        let ours = list.into_iter().find(|l| {
            let device = remains.lower_device.is_some() && l.device == remains.lower_device;
            let address = l.kind.is_none() && l.permanent == Some(remains.mac);
            device && (l.permanent.is_none() || address || l.mac == Some(remains.mac))
        });
        if let Some(link) = ours {
            break link;
        }
        if begun.elapsed() > RETURN {
            return Err(NetworkError::NotReturned);
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let down = link::LinkChange { clear: link::UP, ..link::LinkChange::default() };
    link::change(host, found.index, &down).map_err(net("cannot switch the link off"))?;
    if found.name != remains.lower {
        let change = link::LinkChange { name: Some(&remains.lower), ..link::LinkChange::default() };
        link::change(host, found.index, &change)
            .map_err(net(format!("'{}' cannot have its old name again", found.name)))?;
    }
    if remains.lower_flags & link::UP != 0 {
        let change = link::LinkChange { set: link::UP, ..link::LinkChange::default() };
        link::change(host, found.index, &change).map_err(net("cannot switch the link on again"))?;
    }
    Ok(())
}
