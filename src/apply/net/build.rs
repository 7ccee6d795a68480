//! Carries out the steps that make links.
//!
//! Order: claims, the pair of links, the rules, and only then what lets frames flow. A zone's link never
//! carries a frame that its rules have not seen.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};

use super::ahead::{LinkPrograms, Neighbours, ProgramsAhead, SHAPED, guard};
use super::frame::{TableKeyKind, key};
use super::guard::{Bandwidth, Onward, receiving};
use super::inside::{Inside, settle, shape};
use super::lock::NetLock;
use super::probe::{self, Probe};
use super::switch::{ALIAS, Switch, attach, join, load, prepare, until, zone_of};
use super::undo::ignore_missing;
use super::{AddressHolder, Lack, NetworkError, NetworkResult, claims, net, net_unless, sys};
use crate::apply::fault;
use crate::apply::paths::Root;
use crate::plan::net::{ANSWERED, LinkMode, Mac, ZoneLink};
use crate::sys::bpf::{BpfProgram, Map};
use crate::sys::netlink::{Socket, filter, link, route};

/// The network of a zone while it is made.
#[derive(Debug)]
pub struct Network<'a> {
    host: Socket,
    probe: Probe,
    ahead: ProgramsAhead<'a>,
    namespace: Option<OwnedFd>,
    inside: Option<Inside>,
    /// The link that is made now has queues that keep to its bandwidth.
    shaped: bool,
    /// Warnings for the administrator.
    pub warnings: Vec<String>,
}

impl<'a> Network<'a> {
    /// Begins with the questions that were sent on the wire, and with programs that are made ahead. None for a zone
    /// without links.
    ///
    /// # Errors
    /// [`super::NetworkError`]
    pub fn begin(links: &[ZoneLink], asked: Probe, ahead: ProgramsAhead<'a>) -> NetworkResult<Option<Self>> {
        if links.is_empty() {
            return Ok(None);
        }
        let host = Socket::open().map_err(net("cannot open netlink"))?;
        Ok(Some(Self {
            host,
            probe: asked,
            ahead,
            namespace: None,
            inside: None,
            shaped: false,
            warnings: Vec::new(),
        }))
    }

    /// Makes a link. `namespace` gives the zone's network namespace when it is needed first.
    ///
    /// # Errors
    /// [`super::NetworkError`]
    pub fn make(
        &mut self,
        root: &Root,
        wanted: &ZoneLink,
        namespace: impl FnOnce() -> io::Result<OwnedFd>,
    ) -> NetworkResult<()> {
        if self.namespace.is_none() {
            let fd = namespace().map_err(sys("cannot open the network namespace"))?;
            self.inside = Some(Inside::open(fd.as_fd())?);
            self.namespace = Some(fd);
        }
        // Zones first: a running zone answers like a machine.
        self.claim(root, wanted)?;
        fault::point("link-claimed");
        match wanted.way {
            LinkMode::Moved => self.move_in(wanted),
            _ => self.pair(wanted),
        }
    }

    /// Waits until no answer for an address of the link can be expected any more.
    fn is_free(&mut self, wanted: &ZoneLink) -> NetworkResult<()> {
        let answers = self.probe.answers(&mut self.host, wanted)?;
        for (ip, mac) in answers {
            if wanted.answered.contains(&ip) {
                self.warnings.push(format!(
                    "{}: {} answers for {ip}, which is the zone's all the same (attr {ANSWERED})",
                    wanted.what,
                    Mac(mac)
                ));
            } else if let Some(router) = probe::router_with(&mut self.host, wanted, ip, mac)? {
                self.warnings.push(format!(
                    "{}: the router {router} answers for {ip}, as one does that answers for all (proxy ARP); it is taken \
                     to be free",
                    wanted.what
                ));
            } else {
                return Err(self.in_use(wanted, ip, mac)?);
            }
        }
        Ok(())
    }

    /// Returns the machine that has answered for one of the addresses.
    fn in_use(&mut self, wanted: &ZoneLink, ip: IpAddr, mac: [u8; 6]) -> NetworkResult<NetworkError> {
        // A zone below another alternate root: its claim is not ours to see, its port is.
        let mut zone = None;
        if let Some(switch) = Switch::find(&mut self.host, wanted.lower_index)? {
            let keys =
                [keys_of(LinkMode::Shared, 0, mac, &[ip]), keys_of(LinkMode::Own, 0, mac, &[])].concat();
            for (key, _) in keys {
                let port = switch.port(&key)?;
                zone = zone.or(port.map(|p| zone_of(&mut self.host, p)).transpose()?.flatten());
            }
        }
        let machine = || AddressHolder::Machine { mac: Mac(mac), lower: wanted.lower.clone() };
        let holder = zone.map_or_else(machine, AddressHolder::Zone);
        Ok(NetworkError::AddressInUse { holder, address: ip.to_string() })
    }

    fn claim(&mut self, root: &Root, wanted: &ZoneLink) -> NetworkResult<()> {
        let _lock = NetLock::wait().map_err(sys("cannot lock the network"))?;
        let held = claims::make(root, &wanted.remains()).map_err(sys("cannot note the addresses"))?;
        let Some((zone, path)) = held else { return Ok(()) };
        Err(match path.file_name().and_then(|n| n.to_str()).filter(|n| *n != "link") {
            Some(ip) => {
                NetworkError::AddressInUse { holder: AddressHolder::Zone(zone), address: ip.to_owned() }
            }
            None => NetworkError::LinkInUse { lower: wanted.lower.clone(), zone },
        })
    }

    /// Gives the zone a link of the host.
    fn move_in(&mut self, wanted: &ZoneLink) -> NetworkResult<()> {
        let namespace = self.namespace.as_ref().map(AsFd::as_fd);
        let change = link::LinkChange { namespace, ..link::LinkChange::default() };
        link::change(&mut self.host, wanted.lower_index, &change)
            .map_err(net("failed to add network device: cannot move the link into the zone"))?;
        let inside = self.inside()?;
        let index = inside.find(wanted)?;
        inside.prepare(wanted, index)?;
        let lacks = inside.switch_on(wanted, index)?;
        self.warnings.extend(lacks);
        Ok(())
    }

    fn inside(&mut self) -> NetworkResult<&mut Inside> {
        self.inside.as_mut().ok_or(NetworkError::NoNamespace)
    }

    fn pair(&mut self, wanted: &ZoneLink) -> NetworkResult<()> {
        let (port, own) = self.make_pair(wanted)?;
        fault::point("link-paired");
        self.shaped = self.shape(wanted, port, own)?;
        let table = self.rule(wanted, port)?;
        self.inside()?.prepare(wanted, own)?;
        if let Some(namespace) = &self.namespace {
            settle(namespace.as_fd(), wanted)?;
        }
        fault::point("link-ruled");
        // Not under the lock: other zones need not wait for an answer to this one.
        self.is_free(wanted)?;
        self.connect(wanted, port, table)?;
        let lacks = self.inside()?.switch_on(wanted, own)?;
        self.warnings.extend(lacks);
        fault::point("link-up");
        for (ip, source) in &wanted.beside_host {
            // A way that the host has on the link already is used.
            let direct = route::direct(&mut self.host, ip).map_err(net("cannot read the routes"))?;
            if direct != Some(wanted.lower_index) {
                route::add_host(&mut self.host, wanted.lower_index, ip, Some(source))
                    .map_err(net(format!("cannot add the host's route to {ip}")))?;
            }
        }
        Ok(())
    }

    /// Puts queues on both ends of a link with a bandwidth. Traffic to the zone is shaped by the host. Traffic from
    /// it is shaped by its own end: the zone can change that, but then the guard drops the excess.
    fn shape(&mut self, wanted: &ZoneLink, port: u32, own: u32) -> NetworkResult<bool> {
        let Some(bits) = wanted.maxbw else { return Ok(false) };
        let shaped = shape(&mut self.host, port, bits)? && self.inside()?.shape(own, bits)?;
        if !shaped {
            self.warnings.push(format!(
                "{}: this kernel has no token buckets (CONFIG_NET_SCH_TBF): what is over maxbw is dropped, and TCP \
                 stays far below it",
                wanted.what
            ));
        }
        Ok(shaped)
    }

    /// Puts the rules on the zone's port; nothing flows yet. Returns the number of the table that they use.
    fn rule(&mut self, wanted: &ZoneLink, port: u32) -> NetworkResult<Option<u32>> {
        let _lock = NetLock::wait().map_err(sys("cannot lock the network"))?;
        let fresh = prepare(&mut self.host, port)?;
        debug_assert!(fresh, "the port is new");
        match wanted.way {
            LinkMode::Shared | LinkMode::Own => self.beside_others(wanted, port)?.number().map(Some),
            LinkMode::Bridge | LinkMode::Wire => {
                let wire = wanted.way == LinkMode::Wire;
                let onward = if wire { Onward::Wire(wanted.lower_index) } else { Onward::Bridge };
                let ahead = self.ahead.take(wanted).map(|programs| programs.guard);
                self.guarded(wanted, port, onward, ahead).map(|()| None)
            }
            LinkMode::Moved => Ok(None),
        }
    }

    /// Lets frames flow.
    fn connect(&mut self, wanted: &ZoneLink, port: u32, table: Option<u32>) -> NetworkResult<()> {
        let _lock = NetLock::wait().map_err(sys("cannot lock the network"))?;
        if let Some(table) = table {
            let switch = match Switch::find(&mut self.host, wanted.lower_index)? {
                Some(switch) if switch.number()? == table => switch,
                // The last zone on the link has gone meanwhile, and has taken everything off.
                _ => self.beside_others(wanted, port)?,
            };
            self.enter(wanted, port, switch)?;
        }
        if wanted.way == LinkMode::Wire {
            join(&mut self.host, wanted.lower_index, port, wanted.vlan)?;
            fault::point("wire-joined");
            self.open_lower(wanted)?;
        }
        if wanted.way == LinkMode::Bridge {
            self.keep_bridge(wanted)?;
        }
        fault::point("link-connected");
        let alias = format!("{ALIAS}{} {}", wanted.zone, wanted.name);
        let change = link::LinkChange {
            set: link::UP,
            alias: Some(&alias),
            no_link_local: true,
            master: (wanted.way == LinkMode::Bridge).then_some(wanted.lower_index),
            ..link::LinkChange::default()
        };
        link::change(&mut self.host, port, &change).map_err(net("cannot switch the port on"))
    }

    /// Has a bridge keep its address when the zone's port joins it. The kernel gives it the lowest one of its ports,
    /// as long as none was set: that is never ours unless there is no other, or one that begins as high. Then the
    /// present address of the bridge is set.
    fn keep_bridge(&mut self, wanted: &ZoneLink) -> NetworkResult<()> {
        let look = net("cannot look at the bridge");
        let bridge = link::numbered(&mut self.host, wanted.lower_index).map_err(&look)?;
        // All zeros is that of a bridge that has lost its last port.
        let Some(mac) = bridge.and_then(|b| b.mac).filter(|mac| *mac != [0; 6]) else { return Ok(()) };
        if mac < wanted.port_mac.0 && link::has_ports(&mut self.host, wanted.lower_index).map_err(&look)? {
            return Ok(());
        }
        let change = link::LinkChange { mac: Some(mac), ..link::LinkChange::default() };
        link::change(&mut self.host, wanted.lower_index, &change)
            .map_err(net("cannot keep the bridge's address"))
    }

    /// Makes the zone's link and its port, and returns the numbers of the port and, inside, of the link.
    fn make_pair(&mut self, wanted: &ZoneLink) -> NetworkResult<(u32, u32)> {
        let Some(namespace) = &self.namespace else { return Err(NetworkError::NoNamespace) };
        let peer = link::VethPeer {
            name: &wanted.name,
            namespace: namespace.as_fd(),
            mac: wanted.mac.0,
            mtu: wanted.mtu,
        };
        let host = &mut self.host;
        let near = link::Near { name: &wanted.port, mac: Some(wanted.port_mac.0), mtu: wanted.lower_mtu };
        let mut made = link::add_pair(host, near, peer);
        if made.as_ref().is_err_and(|e| e.number() == libc::EEXIST) {
            // Left by a crash, on its way after a halt, or another program's.
            let there = link::named(host, &wanted.port).map_err(net("cannot look at a link"))?;
            if let Some(there) = there {
                let owner = zone_of(host, there.index)?;
                let bare = there.kind.as_deref() == Some("veth") && there.alias.is_none();
                if owner.as_deref() != Some(&wanted.zone) && !bare {
                    return Err(NetworkError::PortTaken { port: wanted.port.clone() });
                }
                ignore_missing(link::remove(host, there.index)).map_err(net("cannot remove the old port"))?;
            }
            made = link::add_pair(host, near, peer);
        }
        made.map_err(net_unless(Lack::Veth, &[libc::EOPNOTSUPP], "cannot make the link"))?;
        let port = link::named(host, &wanted.port).map_err(net("cannot look at a link"))?;
        // The link below one of a pair is the other one.
        port.and_then(|port| Some((port.index, port.lower?))).ok_or(NetworkError::Gone("the port"))
    }

    /// Puts the rules of a link that others use as well on the zone's port.
    fn beside_others(&mut self, wanted: &ZoneLink, port: u32) -> NetworkResult<Switch> {
        let (mut guard, mut parts, mut known) = (None, None, None);
        if let Some(LinkPrograms { guard: made, neighbours: Some(neighbours) }) = self.ahead.take(wanted) {
            known = neighbours.table().id().ok();
            guard = Some(made);
            if let Neighbours::New(new) = neighbours {
                parts = Some(new);
            }
        }
        let switch = Switch::open(&mut self.host, wanted.lower_index, wanted.lower_mac.0, parts)?;
        // The zones on the link may have another table by now.
        let guard = guard.filter(|_| switch.number().ok() == known);
        let onward = Onward::Switch { table: &switch.table, lower: wanted.lower_index };
        fault::point("switch-made");
        self.guarded(wanted, port, onward, guard)?;
        Ok(switch)
    }

    /// Takes the zone's place among those who share the link.
    fn enter(&mut self, wanted: &ZoneLink, port: u32, mut switch: Switch) -> NetworkResult<()> {
        for (key, ip) in keys(wanted) {
            let Some(other) = switch.enter(&mut self.host, &key, port)? else { continue };
            let zone = zone_of(&mut self.host, other)?.unwrap_or_default();
            return Err(NetworkError::AddressInUse { holder: AddressHolder::Zone(zone), address: ip });
        }
        fault::point("switch-entered");
        let shared = wanted.way == LinkMode::Shared;
        if !switch.listen(&mut self.host, port, wanted.vlan, shared)? {
            let full = NetworkError::Full { lower: wanted.lower.clone() };
            if !shared {
                return Err(full);
            }
            self.warnings
                .push(format!("{}: {full}; this one hears no broadcasts and no multicasts", wanted.what));
        }
        if !shared {
            route::take_frames(&mut self.host, wanted.lower_index, wanted.mac.0)
                .map_err(net(format!("link '{}' takes no frames for {}", wanted.lower, wanted.mac)))?;
        }
        Ok(())
    }

    /// Puts the rules on the zone's port. `ahead` is the program of these rules, if it was made ahead.
    fn guarded(
        &mut self,
        wanted: &ZoneLink,
        port: u32,
        onward: Onward<'_>,
        ahead: Option<BpfProgram>,
    ) -> NetworkResult<()> {
        let until: Option<Map> = wanted.maxbw.map(|_| until()).transpose()?;
        let limit = until.as_ref().zip(wanted.maxbw).map(|(until, bits)| Bandwidth {
            until,
            bits,
            shaped: self.shaped,
        });
        let ahead = ahead.filter(|_| limit.is_none() || self.shaped == SHAPED);
        if ahead.is_some() {
            log::debug!("the programs of link {} were made ahead", wanted.name);
        }
        let sending = ahead.map_or_else(|| guard(wanted, limit, onward), Ok)?;
        attach(&mut self.host, port, filter::Direction::In, &sending, "zones-guard")?;
        // The tag of a bridge's VLAN stays outside; the switch and the wire take it off themselves.
        let vlan = if wanted.way == LinkMode::Bridge { wanted.vlan } else { 0 };
        let received = limit.filter(|_| !self.shaped);
        if received.is_some() || vlan != 0 {
            let program = load("zones_receive", &receiving(received.as_ref(), vlan))?;
            attach(&mut self.host, port, filter::Direction::Out, &program, "zones-receive")?;
        }
        Ok(())
    }

    /// Lets a link that the zone has for itself carry any frame that the zone may want.
    fn open_lower(&mut self, wanted: &ZoneLink) -> NetworkResult<()> {
        let mut set = link::UP | link::ALL_MULTICAST;
        if !wanted.guard.mac || wanted.mac != wanted.lower_mac {
            set |= link::PROMISCUOUS;
        }
        let change = link::LinkChange { set, ..link::LinkChange::default() };
        link::change(&mut self.host, wanted.lower_index, &change).map_err(net("cannot switch the link on"))
    }
}

/// Returns the keys of a link in the table, each with the address that it stands for.
pub(super) fn keys(wanted: &ZoneLink) -> Vec<(Vec<u8>, String)> {
    let remains = wanted.remains();
    keys_of(remains.way, remains.vlan, remains.mac, &remains.addresses)
}

/// The same from what remains of a link.
pub(super) fn keys_of(
    way: LinkMode,
    vlan: u16,
    mac: [u8; 6],
    addresses: &[IpAddr],
) -> Vec<(Vec<u8>, String)> {
    match way {
        LinkMode::Own => {
            vec![(key(TableKeyKind::Mac, vlan, &mac).to_vec(), Mac(mac).to_string())]
        }
        LinkMode::Shared => addresses
            .iter()
            .map(|ip| {
                let key = match ip {
                    IpAddr::V4(a) => key(TableKeyKind::V4, 0, &a.octets()),
                    IpAddr::V6(a) => key(TableKeyKind::V6, 0, &a.octets()),
                };
                (key.to_vec(), ip.to_string())
            })
            .collect(),
        LinkMode::Bridge | LinkMode::Wire | LinkMode::Moved => Vec::new(),
    }
}
