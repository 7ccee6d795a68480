//! One link of a zone, decided.

use std::fmt::Write;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{HostLink, Mac};

/// How a zone's link reaches the host's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkMode {
    /// With the link-layer address of the host's link; the zones are distinguished by their addresses.
    #[default]
    Shared,
    /// With a link-layer address of its own, on a link that carries others as well.
    Own,
    /// As a port of a bridge.
    Bridge,
    /// The host's link is the zone's alone, joined with one inside.
    Wire,
    /// The host's link itself is in the zone.
    Moved,
}

/// The limits on a zone's traffic, enforced from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkGuard {
    /// The zone sends only from its link-layer address.
    pub mac: bool,
    /// The zone sends only from these addresses; none: its addresses are not limited.
    pub addresses: Option<Vec<IpAddr>>,
    /// The zone may ask for an address by DHCP, from no address.
    pub may_ask: bool,
    /// The zone sends IPv4, IPv6 and ARP, and no other protocol.
    pub restricted: bool,
    /// Of DHCP the zone sends what a client sends, and nothing of a server.
    pub dhcp: bool,
    /// The zone sends what a host sends, and nothing that only a router sends.
    pub router: bool,
}

/// The reaction of a link to router advertisements of IPv6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Advertised {
    /// As the zone's own settings say: it takes routers, and makes itself addresses.
    #[default]
    Obeyed,
    /// It takes routers, and makes itself no addresses: its guard would drop packets from them.
    Routers,
    /// It takes no routers, and makes itself no addresses.
    Ignored,
}

/// A link of a zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneLink {
    /// The resource, as messages name it.
    pub what: String,
    /// Its name in the zone.
    pub name: String,
    /// The name of its other end, on the host.
    pub port: String,
    /// The link-layer address of that end.
    pub port_mac: Mac,
    /// The host's link.
    pub lower: String,
    /// The number of the host's link.
    pub lower_index: u32,
    /// The link-layer address of the host's link.
    pub lower_mac: Mac,
    /// The flags of the host's link before the boot.
    pub lower_flags: u32,
    /// Name of the device of the host's link on its bus.
    pub lower_device: Option<String>,
    /// How the zone's link reaches the host's.
    pub way: LinkMode,
    /// The link-layer address of the zone's link.
    pub mac: Mac,
    /// Largest packet of the zone's link in bytes.
    pub mtu: u32,
    /// Largest packet of the host's link in bytes.
    pub lower_mtu: u32,
    /// Its VLAN, 0 for none.
    pub vlan: u16,
    /// The addresses that it is given.
    pub addresses: Vec<IpNet>,
    /// The link-local address that it is given, in place of the one that the kernel would make.
    pub link_local: Option<Ipv6Addr>,
    /// Its default routers, the first one first.
    pub routers: Vec<IpAddr>,
    /// Routers of the host on that link.
    pub gateways: Vec<IpAddr>,
    /// Addresses that the zone has although another machine answers for them.
    pub answered: Vec<IpAddr>,
    /// The table of its own routes, for packets from the link's addresses; none: it needs no table.
    pub table: Option<u32>,
    /// Addresses of the host to which the zone gets a route over the link, because they are in no subnet of the zone.
    pub beside: Vec<IpAddr>,
    /// Addresses of the zone to which the host gets a route, because they are in no subnet of the host's link; each
    /// with the source address that the host uses.
    pub beside_host: Vec<(IpAddr, IpAddr)>,
    /// Its reaction to router advertisements.
    pub advertised: Advertised,
    /// Its limits.
    pub guard: LinkGuard,
    /// Largest bandwidth in bits per second, each way.
    pub maxbw: Option<u64>,
    /// The zone.
    pub zone: String,
    /// Folder where zones note which addresses they have.
    pub claims: PathBuf,
}

/// The remains of a link on the host, and how to find them: enough to remove them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remains {
    /// The zone.
    pub zone: String,
    /// How the zone's link reached the host's.
    pub way: LinkMode,
    /// The name of the other end of the zone's link, on the host.
    pub port: String,
    /// The host's link.
    pub lower: String,
    /// The number of the host's link.
    pub lower_index: u32,
    /// The flags of the host's link before the boot.
    pub lower_flags: u32,
    /// Name of the device of the host's link on its bus.
    pub lower_device: Option<String>,
    /// The link-layer address of the zone's link.
    pub mac: [u8; 6],
    /// The largest packet of the zone's link in bytes where it is not that of the host's link; 0 otherwise.
    #[serde(default)]
    pub mtu: u32,
    /// Its VLAN, 0 for none.
    pub vlan: u16,
    /// Its addresses, the one for the link alone among them.
    pub addresses: Vec<IpAddr>,
    /// Addresses to which the host has a route of its own.
    pub routes: Vec<IpAddr>,
    /// Folder where zones note which addresses they have.
    pub claims: PathBuf,
}

impl ZoneLink {
    /// Returns the addresses that no other may have: those given, else those it is held to.
    pub fn claimed(&self) -> Vec<IpAddr> {
        if self.addresses.is_empty() {
            let own = |ip: &&IpAddr| !matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
            return self.guard.addresses.iter().flatten().filter(own).copied().collect();
        }
        self.addresses.iter().map(IpNet::addr).collect()
    }

    /// Returns the remains on the host when nothing removes them.
    pub fn remains(&self) -> Remains {
        let mut addresses = self.claimed();
        addresses.extend(self.link_local.map(IpAddr::from));
        Remains {
            zone: self.zone.clone(),
            way: self.way,
            port: self.port.clone(),
            lower: self.lower.clone(),
            lower_index: self.lower_index,
            lower_flags: self.lower_flags,
            lower_device: self.lower_device.clone(),
            mac: self.mac.0,
            mtu: if self.mtu == self.lower_mtu { 0 } else { self.mtu },
            vlan: self.vlan,
            addresses,
            routes: self.beside_host.iter().map(|(ip, _)| *ip).collect(),
            claims: self.claims.clone(),
        }
    }

    /// Returns how the link has to react to router advertisements. A link that is limited to some addresses takes only
    /// routers, if the spec names none and one of its addresses can use them.
    pub(super) fn reaction_to_advertisements(&self) -> Advertised {
        let Some(allowed) = &self.guard.addresses else { return Advertised::Obeyed };
        let global = |ip: &IpAddr| matches!(ip, IpAddr::V6(v6) if !v6.is_unicast_link_local());
        let named = self.routers.iter().any(IpAddr::is_ipv6);
        // A shared zone has the host's routers.
        if self.way == LinkMode::Shared || named || !allowed.iter().any(global) {
            Advertised::Ignored
        } else {
            Advertised::Routers
        }
    }

    /// Adds the routes by which host and zone reach each other where one of them is in no subnet of the other: fills
    /// `beside` and `beside_host`.
    pub(super) fn add_routes_to_host(&mut self, addresses: &[IpNet], host: &HostLink) {
        for own in &host.addresses {
            let ip = own.addr();
            if addresses.iter().any(|a| a.addr().is_ipv4() == ip.is_ipv4())
                && !addresses.iter().any(|a| a.contains(&ip))
            {
                self.beside.push(ip);
            }
        }
        for ip in addresses.iter().map(IpNet::addr) {
            if host.addresses.iter().any(|n| n.contains(&ip)) {
                continue;
            }
            let source = host.addresses.iter().map(IpNet::addr).find(|s| s.is_ipv4() == ip.is_ipv4());
            self.beside_host.extend(source.map(|s| (ip, s)));
        }
    }

    /// Returns one line for `zoneadm plan` and for messages.
    pub fn describe(&self) -> String {
        let mut line = match self.way {
            LinkMode::Moved => return format!("{}: move {} into the zone", self.what, self.lower),
            LinkMode::Shared => format!("{}: share {} as {}", self.what, self.lower, self.name),
            LinkMode::Own => format!("{}: make {} on {}", self.what, self.name, self.lower),
            LinkMode::Bridge => format!("{}: make {} on the bridge {}", self.what, self.name, self.lower),
            LinkMode::Wire => format!("{}: join {} with {} in the zone", self.what, self.lower, self.name),
        };
        let words = |list: &[IpAddr]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        // Writing to a string does not fail.
        let _ = write!(line, " ({} on the host), link-layer address {}", self.port, self.mac);
        if self.vlan != 0 {
            let _ = write!(line, ", VLAN {}", self.vlan);
        }
        for net in &self.addresses {
            let _ = write!(line, ", address {net}");
        }
        if !self.routers.is_empty() {
            let _ = write!(line, ", router {}", words(&self.routers));
        }
        if let Some(table) = self.table {
            let _ = write!(line, ", for its own addresses by table {table}");
        }
        if let Some(bits) = self.maxbw {
            let _ = write!(line, ", at most {bits} bit/s each way");
        }
        let guard = &self.guard;
        if let Some(allowed) = &guard.addresses {
            let _ = write!(line, "; held to {}", words(allowed));
        }
        let rules = [
            (guard.mac, "no other link-layer address"),
            (guard.dhcp, "no DHCP but a client's own"),
            (guard.router, "nothing that only a router says"),
        ];
        for (_, rule) in rules.iter().filter(|(on, _)| *on) {
            let _ = write!(line, "; {rule}");
        }
        if guard.restricted {
            line.push_str("; IPv4, IPv6 and ARP only");
        }
        line
    }
}
