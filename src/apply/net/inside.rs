//! The zone's end of its links: addresses and routes, set from outside before init runs.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use ipnet::IpNet;

use super::{NetworkError, NetworkResult, net, sys};
use crate::plan::net::{Advertised, LinkMode, ZoneLink};
use crate::sys::naive::without;
use crate::sys::netlink::{Socket, filter, link, route};
use crate::sys::ns::{self, Kinds};

/// A zone's network namespace, looked at from the host.
#[derive(Debug)]
pub struct Inside {
    socket: Socket,
}

/// Calls `work` in another network namespace.
pub(super) fn within<T>(namespace: BorrowedFd<'_>, work: impl FnOnce() -> T) -> NetworkResult<T> {
    let here = ns::own_network().map_err(sys("cannot open the network namespace"))?;
    ns::join(namespace, Kinds::NET).map_err(sys("cannot enter the zone's network namespace"))?;
    let result = work();
    ns::join(here.as_fd(), Kinds::NET).map_err(sys("cannot return from the zone's network namespace"))?;
    Ok(result)
}

/// Limits a link to a bandwidth: excess packets wait a little, and their sender notices. Says whether this kernel
/// can.
///
/// # Errors
/// [`super::NetworkError`]
pub fn shape(socket: &mut Socket, index: u32, bits: u64) -> NetworkResult<bool> {
    match filter::shape(socket, index, bits) {
        Ok(()) => Ok(true),
        Err(e) if matches!(e.number(), libc::ENOENT | libc::EOPNOTSUPP) => Ok(false),
        Err(e) => Err(net("cannot set its bandwidth")(e)),
    }
}

/// Opens netlink in another network namespace; the socket stays there.
///
/// # Errors
/// [`super::NetworkError`]
pub fn socket(namespace: BorrowedFd<'_>) -> NetworkResult<Socket> {
    within(namespace, Socket::open)?.map_err(net("cannot open netlink in the zone"))
}

impl Inside {
    /// Opens a way into a network namespace.
    ///
    /// # Errors
    /// [`super::NetworkError`]
    pub fn open(namespace: BorrowedFd<'_>) -> NetworkResult<Self> {
        Ok(Self { socket: socket(namespace)? })
    }

    /// Returns the number of a link.
    ///
    /// # Errors
    /// [`super::NetworkError`]
    pub fn find(&mut self, wanted: &ZoneLink) -> NetworkResult<u32> {
        let own = link::named(&mut self.socket, &wanted.name).map_err(net("cannot find the zone's link"))?;
        Ok(own.ok_or(NetworkError::Gone("the zone's link"))?.index)
    }

    /// Gives a link its addresses while it is off.
    ///
    /// # Errors
    /// [`super::NetworkError`]
    pub fn prepare(&mut self, wanted: &ZoneLink, index: u32) -> NetworkResult<()> {
        let socket = &mut self.socket;
        let no_link_local =
            wanted.link_local.is_some() || (wanted.way == LinkMode::Shared && !wanted.addresses.is_empty());
        if no_link_local {
            let change = link::LinkChange { no_link_local, ..link::LinkChange::default() };
            link::change(socket, index, &change).map_err(net("cannot set the zone's link up"))?;
        }
        let own = wanted.link_local.and_then(|ip| IpNet::new(ip.into(), 64).ok());
        for address in own.iter().chain(&wanted.addresses) {
            link::add_address(socket, index, address).map_err(|e| match e.number() {
                libc::EACCES | libc::EAFNOSUPPORT | libc::EOPNOTSUPP if address.addr().is_ipv6() => {
                    NetworkError::Ipv6Off { address: *address, source: e }
                }
                _ => net(format!("cannot give it {address}"))(e),
            })?;
        }
        Ok(())
    }

    /// Switches a link on and gives it its routes. Returns the features that this kernel lacks.
    ///
    /// # Errors
    /// [`super::NetworkError`]
    pub fn switch_on(&mut self, wanted: &ZoneLink, index: u32) -> NetworkResult<Option<String>> {
        let socket = &mut self.socket;
        // No machine answers there, the host included (a dummy link): any zone that shares such a link may have its
        // address.
        let silent = if wanted.way == LinkMode::Shared { wanted.lower_flags & link::NO_ARP } else { 0 };
        let up = link::LinkChange { set: link::UP | silent, ..link::LinkChange::default() };
        link::change(socket, index, &up).map_err(net("cannot switch it on"))?;
        for host in &wanted.beside {
            route::add_host(socket, index, host, None)
                .map_err(net(format!("cannot add a route to {host}")))?;
        }
        for (order, router) in (0..).zip(&wanted.routers) {
            let metric = if router.is_ipv4() { order } else { 1024 + order };
            route::add_default(socket, index, router, metric)
                .map_err(net(format!("cannot add the router {router}")))?;
        }
        wanted.table.map_or(Ok(None), |table| self.own_routes(wanted, index, table))
    }

    /// Fills the table of a link, and routes packets from its addresses by it.
    fn own_routes(&mut self, wanted: &ZoneLink, index: u32, table: u32) -> NetworkResult<Option<String>> {
        let socket = &mut self.socket;
        for address in &wanted.addresses {
            match route::add_rule(socket, &address.addr(), table) {
                Err(e) if matches!(e.number(), libc::EOPNOTSUPP | libc::EAFNOSUPPORT) => {
                    return Ok(Some(format!(
                        "{}: this kernel has no rules for routes (CONFIG_IP_MULTIPLE_TABLES): only hosts on the link \
                         itself reach its addresses, when another link has the first router",
                        wanted.what
                    )));
                }
                done => done.map_err(net(format!("cannot add the rule for {address}")))?,
            }
        }
        let beside = wanted.beside.iter().map(|ip| route::host_net(*ip));
        for near in wanted.addresses.iter().copied().chain(beside) {
            route::add_near_to(socket, table, index, &near)
                .map_err(net(format!("cannot add the route to {near}")))?;
        }
        for router in &wanted.routers {
            route::add_default_to(socket, table, index, router)
                .map_err(net(format!("cannot add the router {router}")))?;
        }
        Ok(None)
    }

    /// Removes the rules for packets from the addresses of a link. Its routes go with the link.
    ///
    /// # Errors
    /// [`super::NetworkError`]
    pub fn forget_routes(&mut self, wanted: &ZoneLink) -> NetworkResult<()> {
        let Some(table) = wanted.table else { return Ok(()) };
        for address in &wanted.addresses {
            match route::remove_rule(&mut self.socket, &address.addr(), table) {
                // The kernel has no rules, or the zone's root has removed this one.
                Err(e) if matches!(e.number(), libc::EOPNOTSUPP | libc::EAFNOSUPPORT | libc::ENOENT) => {}
                done => done.map_err(net(format!("cannot remove the rule for {address}")))?,
            }
        }
        Ok(())
    }

    /// Has a link send no more than a bandwidth. Says whether this kernel can.
    ///
    /// # Errors
    /// [`super::NetworkError`]
    pub fn shape(&mut self, index: u32, bits: u64) -> NetworkResult<bool> {
        shape(&mut self.socket, index, bits)
    }
}

/// Sets the kernel's own behaviour on a link, before it is switched on: it announces changes to neighbours, and a
/// link that is limited to addresses makes itself no others.
///
/// # Errors
/// [`super::NetworkError`]
pub fn settle(namespace: BorrowedFd<'_>, wanted: &ZoneLink) -> NetworkResult<()> {
    within(namespace, || {
        let file = |kind: &str, name: &str| format!("/proc/sys/net/{kind}/conf/{}/{name}", wanted.name);
        // A kernel without one of these does without; neighbours then learn it with the first packet.
        for (kind, name) in [("ipv4", "arp_notify"), ("ipv6", "ndisc_notify")] {
            let _ = fs::write(file(kind, name), "1");
        }
        let routers = match wanted.advertised {
            Advertised::Obeyed => return Ok(()),
            Advertised::Routers => "1",
            Advertised::Ignored => "0",
        };
        if without("advertised") {
            return Ok(());
        }
        for (name, value) in [("accept_ra", routers), ("autoconf", "0")] {
            match fs::write(file("ipv6", name), value) {
                // IPv6 is switched off.
                Err(e) if e.kind() == io::ErrorKind::NotFound => break,
                done => {
                    done.map_err(sys(format!("cannot set {name}, so that it makes itself no addresses")))?;
                }
            }
        }
        Ok(())
    })?
}
