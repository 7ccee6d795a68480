//! The network of a zone, decided: its links, the links of the host below them, its addresses and its limits. Data
//! in, data out.

mod address;
pub mod link;
mod mac;
mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use thiserror::Error;

use self::address::{addresses_of, routers};
pub use self::link::{Advertised, LinkGuard, LinkMode, ZoneLink};
pub use self::mac::Mac;
use self::read::{answered, bandwidth};
use crate::spec::schema::ResourceKind;
use crate::spec::{Props, ZoneSpec};

/// Name of the `attr` whose value lists addresses that the zone has although another machine answers for them.
pub const ANSWERED: &str = "answered-addresses";

/// The table of a zone's first link, where links have tables of their own.
const FIRST_TABLE: u32 = 12_200;

/// The facts of the machine that a zone's network depends on.
#[derive(Clone, Debug, Default)]
pub struct NetFacts {
    /// The host's links that the spec names, those that `auto` may mean, and those that they are part of.
    pub links: BTreeMap<String, HostLink>,
    /// The link that `auto` stands for: that of the host's default route.
    pub default_link: Option<String>,
    /// Every address of the host, with the name of its link.
    pub host_addresses: Vec<(IpAddr, String)>,
    /// The addresses of host names in the spec, or why they are not known.
    pub names: BTreeMap<String, Result<Vec<IpAddr>, HostNameError>>,
    /// Running zones that have an address on a link: VLAN, address, zone.
    pub taken: BTreeMap<(String, u16, IpAddr), String>,
    /// Running zones that have a link for themselves.
    pub owned: BTreeMap<String, String>,
    /// The name of the zone's first link on the host begins with this, and so do those of the others.
    pub port: String,
    /// Folder where zones note which addresses they have.
    pub claims: PathBuf,
    /// A seed that is the same at every boot of this zone and differs from zone to zone.
    pub seed: String,
    /// A seed that differs from boot to boot.
    pub chance: [u8; 16],
}

/// Why a host name in a spec stands for no address.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum HostNameError {
    /// The name service has failed, or does not know the name.
    #[error("{reason}")]
    NameService {
        /// The system's reason.
        reason: String,
    },
    /// The name is known.
    #[error("it has no address")]
    NoAddress,
}

/// A link of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostLink {
    /// Its number.
    pub index: u32,
    /// Its driver: `veth`, `bridge`, …; none for a device of the machine.
    pub kind: Option<String>,
    /// It carries ethernet frames and is not the loopback.
    pub ethernet: bool,
    /// Name of its device on its bus: such a link the kernel gives back when a zone ends.
    pub device: Option<String>,
    /// Its link-layer address.
    pub mac: Option<Mac>,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// Its flags (netdevice(7)).
    pub flags: u32,
    /// Name and kind of the bridge or bond that it is part of.
    pub master: Option<(String, String)>,
    /// The host's addresses on it, but for those that the kernel makes itself.
    pub addresses: Vec<IpNet>,
    /// The host's default routers on it.
    pub gateways: Vec<IpAddr>,
}

/// Why a zone cannot have the network that its spec says.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("could not verify {what}: {why}")]
pub struct NetworkPlanError {
    /// The resource: `net physical=eth0`, `anet linkname=net0`.
    pub what: String,
    /// The reason, and what to do.
    pub why: String,
    /// The cause may pass without a change of the spec: another machine has an address now.
    pub passing: bool,
}

impl NetworkPlanError {
    fn new(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into(), passing: false }
    }
}

/// A network, decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkPlan {
    /// The zone's links, in the order of the spec.
    pub links: Vec<ZoneLink>,
    /// Harmless deviations from the spec.
    pub warnings: Vec<String>,
}

/// Returns the names of links of the host that a spec needs, without `auto`.
pub fn needed(spec: &ZoneSpec) -> BTreeSet<&str> {
    let nets = spec.stored(ResourceKind::Net).iter().filter_map(lower_of);
    let anets = spec.stored(ResourceKind::Anet).iter().map(|a| a.text("lower-link").unwrap_or("auto"));
    nets.chain(anets).filter(|n| *n != "auto").collect()
}

/// Says whether a spec leaves the choice of a link to the host.
pub fn needs_default(spec: &ZoneSpec) -> bool {
    spec.stored(ResourceKind::Net).iter().any(|n| n.text("global-nic") == Some("auto"))
        || spec.stored(ResourceKind::Anet).iter().any(|a| a.text("lower-link").unwrap_or("auto") == "auto")
}

/// Returns the host names in a spec that stand for addresses.
pub fn host_names(spec: &ZoneSpec) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for net in spec.stored(ResourceKind::Net).iter().chain(spec.stored(ResourceKind::Anet)) {
        for property in ["address", "allowed-address", "defrouter"] {
            for text in net.text(property).into_iter().flat_map(|t| t.split(',')) {
                let host = text.split('/').next().unwrap_or(text);
                if host.parse::<IpAddr>().is_err() {
                    names.insert(host);
                }
            }
        }
    }
    names
}

fn lower_of(net: &Props) -> Option<&str> {
    net.text("global-nic").or_else(|| net.text("physical"))
}

/// Decides the network of a zone.
///
/// # Errors
/// [`NetworkPlanError`] that names the resource at fault.
pub fn plan(spec: &ZoneSpec, facts: &NetFacts) -> Result<NetworkPlan, NetworkPlanError> {
    let mut build = Build { facts, network: NetworkPlan::default() };
    let exclusive = spec.global("ip-type").as_deref() == Some("exclusive");
    if exclusive {
        build.exclusive(spec.stored(ResourceKind::Net))?;
        for anet in spec.stored(ResourceKind::Anet) {
            build.anet(anet)?;
        }
    } else {
        if let Some(anet) = spec.stored(ResourceKind::Anet).first() {
            let what = format!("anet linkname={}", anet.text("linkname").unwrap_or("net0"));
            let why = "a shared zone uses the host's links; use net, or set ip-type=exclusive";
            return Err(NetworkPlanError::new(what, why));
        }
        build.shared(spec.stored(ResourceKind::Net))?;
    }
    let answered = answered(spec)?;
    for link in &mut build.network.links {
        link.zone = spec.name.to_string();
        link.claims.clone_from(&facts.claims);
        link.port_mac = mac::port(&link.port, link.mac);
        link.advertised = link.reaction_to_advertisements();
        link.answered.clone_from(&answered);
        if let Some(host) = facts.links.get(&link.lower) {
            link.gateways.clone_from(&host.gateways);
        }
    }
    build.separate();
    build.check_names()?;
    build.check_addresses()?;
    Ok(build.network)
}

struct Build<'a> {
    facts: &'a NetFacts,
    network: NetworkPlan,
}

/// Properties of a link that is made for the zone.
struct Made<'a> {
    what: String,
    name: &'a str,
    lower: &'a str,
    mac: Option<&'a str>,
    prefix: Option<&'a str>,
    vlan: u16,
    mtu: Option<u32>,
}

impl<'a> Build<'a> {
    fn next_port(&self) -> String {
        format!("{}-{}", self.facts.port, self.network.links.len())
    }

    /// Returns a link of the host that zones can use.
    fn usable(&self, what: &str, name: &str) -> Result<&'a HostLink, NetworkPlanError> {
        let refuse = |why: String| Err(NetworkPlanError::new(what, why));
        let Some(link) = self.facts.links.get(name) else {
            if let Some(zone) = self.facts.owned.get(name) {
                return refuse(format!("link '{name}' is used by the non-global zone '{zone}'"));
            }
            return refuse(format!(
                "link '{name}' does not exist on this host; plug it in, or name another with zonecfg"
            ));
        };
        if !link.ethernet || link.mac.is_none() {
            return refuse(format!(
                "link '{name}' carries no ethernet frames; name an ethernet, bridge, vlan or dummy link"
            ));
        }
        if let Some((master, kind)) = &link.master
            && kind != "vrf"
        {
            return refuse(format!("link '{name}' is part of the {kind} '{master}'; name that one"));
        }
        if let Some(zone) = self.facts.owned.get(name) {
            return refuse(format!("link '{name}' is used by the non-global zone '{zone}'"));
        }
        Ok(link)
    }

    fn shared(&mut self, nets: &[Props]) -> Result<(), NetworkPlanError> {
        let mut by_link: Vec<(&str, Vec<&Props>)> = Vec::new();
        for net in nets {
            let physical = net.text("physical").unwrap_or_default();
            match by_link.iter_mut().find(|(name, _)| *name == physical) {
                Some((_, list)) => list.push(net),
                None => by_link.push((physical, vec![net])),
            }
        }
        let given_routers = nets.iter().any(|n| n.text("defrouter").is_some());
        for (physical, list) in by_link {
            let what = format!("net physical={physical}");
            let lower = self.usable(&what, physical)?;
            for name in ["global-nic", "mac-addr", "vlan-id"] {
                if list.iter().any(|n| n.text(name).is_some()) {
                    let why = format!("{name} is for a link of the zone's own; set ip-type=exclusive");
                    return Err(NetworkPlanError::new(what, why));
                }
            }
            let mut addresses: Vec<IpNet> = Vec::new();
            for net in &list {
                let Some(text) = net.text("address") else { continue };
                addresses.extend(addresses_of(&what, text, lower, self.facts, &mut self.network.warnings)?);
            }
            let mut gateways =
                routers(&what, list.iter().filter_map(|n| n.text("defrouter")), &addresses, self.facts)?;
            if !given_routers {
                // As on Solaris, the host's own routers on that subnet.
                gateways.extend(lower.gateways.iter().filter(|g| address::reaches(&addresses, g)));
            }
            let mac = lower.mac.unwrap_or_default();
            let has_v6 = addresses.iter().any(|a| a.addr().is_ipv6());
            let link_local = has_v6.then(|| mac::link_local(&self.facts.seed, physical));
            let mut allowed: Vec<IpAddr> = addresses.iter().map(IpNet::addr).collect();
            allowed.extend(link_local.map(IpAddr::from));
            let mut link = ZoneLink {
                what,
                name: physical.to_owned(),
                port: self.next_port(),
                lower: physical.to_owned(),
                lower_index: lower.index,
                lower_mac: mac,
                lower_flags: lower.flags,
                lower_device: lower.device.clone(),
                way: LinkMode::Shared,
                mac,
                mtu: lower.mtu,
                lower_mtu: lower.mtu,
                link_local,
                routers: gateways,
                guard: LinkGuard {
                    mac: true,
                    addresses: Some(allowed),
                    may_ask: false,
                    restricted: true,
                    dhcp: true,
                    router: true,
                },
                ..ZoneLink::default()
            };
            link.add_routes_to_host(&addresses, lower);
            link.addresses = addresses;
            self.network.links.push(link);
        }
        Ok(())
    }

    fn exclusive(&mut self, nets: &'a [Props]) -> Result<(), NetworkPlanError> {
        let mut by_link: Vec<(&str, Vec<&Props>)> = Vec::new();
        for net in nets {
            let physical = net.text("physical").unwrap_or_default();
            match by_link.iter_mut().find(|(name, _)| *name == physical) {
                Some((_, list)) => list.push(net),
                None => by_link.push((physical, vec![net])),
            }
        }
        for (physical, list) in by_link {
            let what = format!("net physical={physical}");
            let first = |name: &str| list.iter().find_map(|n| n.text(name));
            let vlan = first("vlan-id").and_then(|v| v.parse().ok()).unwrap_or(0);
            let nic = first("global-nic");
            let lower = match nic {
                Some("auto") => self.default_link(&what)?,
                Some(nic) => nic,
                None => physical,
            };
            let texts: Vec<&str> =
                list.iter().filter_map(|n| n.text("allowed-address")).flat_map(|t| t.split(',')).collect();
            let made =
                Made { what, name: physical, lower, mac: first("mac-addr"), prefix: None, vlan, mtu: None };
            let host = self.usable(&made.what, lower)?;
            let mut link = if nic.is_some() {
                self.made(&made, host)?
            } else {
                if let Some(own) = host.addresses.first() {
                    let (what, ip) = (made.what, own.addr());
                    let why = format!(
                        "link '{physical}' is used in the global zone, where it has the address {ip}; remove that, \
                         or use global-nic or ip-type=shared"
                    );
                    return Err(NetworkPlanError::new(what, why));
                }
                self.given_away(&made, host, !texts.is_empty())?
            };
            if !texts.is_empty() {
                let routers = list.iter().filter_map(|n| n.text("defrouter"));
                let configure = list.iter().all(|n| n.text("configure-allowed-address") != Some("false"));
                self.hold(&mut link, &texts, routers, host, configure)?;
                link.guard.dhcp = true;
            }
            self.network.links.push(link);
        }
        Ok(())
    }

    fn default_link(&self, what: &str) -> Result<&'a str, NetworkPlanError> {
        let why = "this host has no default route, so no link to choose; name one with zonecfg";
        self.facts.default_link.as_deref().ok_or_else(|| NetworkPlanError::new(what, why))
    }

    /// Decides a link that the zone has for itself. A device goes into the zone. A link that the kernel would
    /// destroy with the zone stays on the host and is joined with a link of the zone, and so is a device whose zone
    /// is limited to addresses: the zone could change rules on a link inside.
    fn given_away(&self, made: &Made<'_>, host: &HostLink, held: bool) -> Result<ZoneLink, NetworkPlanError> {
        let mac = match made.mac {
            None => host.mac.unwrap_or_default(),
            Some(_) => self.choose_mac(made)?,
        };
        let moved = host.device.is_some() && !held && made.vlan == 0 && made.mac.is_none();
        Ok(ZoneLink {
            what: made.what.clone(),
            name: made.name.to_owned(),
            port: self.next_port(),
            lower: made.lower.to_owned(),
            lower_index: host.index,
            lower_mac: host.mac.unwrap_or_default(),
            lower_flags: host.flags,
            lower_device: host.device.clone(),
            way: if moved { LinkMode::Moved } else { LinkMode::Wire },
            mac,
            mtu: host.mtu,
            lower_mtu: host.mtu,
            vlan: made.vlan,
            ..ZoneLink::default()
        })
    }

    /// A link that is made for the zone on one of the host's.
    fn made(&self, made: &Made<'_>, host: &HostLink) -> Result<ZoneLink, NetworkPlanError> {
        let bridge = host.kind.as_deref() == Some("bridge");
        let mtu = made.mtu.unwrap_or(host.mtu);
        if mtu > host.mtu {
            let why = format!("mtu {mtu} is more than the {} of '{}'", host.mtu, made.lower);
            return Err(NetworkPlanError::new(&made.what, why));
        }
        Ok(ZoneLink {
            what: made.what.clone(),
            name: made.name.to_owned(),
            port: self.next_port(),
            lower: made.lower.to_owned(),
            lower_index: host.index,
            lower_mac: host.mac.unwrap_or_default(),
            lower_flags: host.flags,
            lower_device: host.device.clone(),
            way: if bridge { LinkMode::Bridge } else { LinkMode::Own },
            mac: self.choose_mac(made)?,
            mtu,
            lower_mtu: host.mtu,
            vlan: made.vlan,
            guard: LinkGuard { mac: true, ..LinkGuard::default() },
            ..ZoneLink::default()
        })
    }

    fn choose_mac(&self, made: &Made<'_>) -> Result<Mac, NetworkPlanError> {
        let refuse = |why: String| NetworkPlanError::new(&made.what, why);
        let prefix = match made.prefix {
            None => Vec::new(),
            Some(text) => mac::prefix(text).ok_or_else(|| {
                refuse(format!(
                    "mac-prefix '{text}' is not one to five bytes of an address for one, as 02:08:20"
                ))
            })?,
        };
        match made.mac {
            None | Some("auto" | "default" | "factory") => {
                Ok(mac::derived(&prefix, self.facts.seed.as_bytes(), made.name))
            }
            Some("random") => Ok(mac::derived(&prefix, &self.facts.chance, made.name)),
            Some(text) => text.parse().map_err(|()| {
                refuse(format!("'{text}' is no link-layer address for one link; as 02:08:20:00:00:01"))
            }),
        }
    }

    /// Holds a link to its addresses, and gives it them.
    fn hold<'t>(
        &mut self,
        link: &mut ZoneLink,
        texts: &[&str],
        defrouters: impl Iterator<Item = &'t str>,
        host: &HostLink,
        configure: bool,
    ) -> Result<(), NetworkPlanError> {
        let mut addresses = Vec::new();
        for text in texts {
            addresses.extend(addresses_of(&link.what, text, host, self.facts, &mut self.network.warnings)?);
        }
        link.routers = routers(&link.what, defrouters, &addresses, self.facts)?;
        let mut allowed: Vec<IpAddr> = addresses.iter().map(IpNet::addr).collect();
        allowed.push(link.mac.link_local().into());
        link.guard.mac = true;
        link.guard.addresses = Some(allowed);
        link.guard.may_ask = true;
        link.guard.router = true;
        if configure {
            link.addresses = addresses;
        } else {
            link.routers.clear();
        }
        Ok(())
    }

    fn anet(&mut self, anet: &'a Props) -> Result<(), NetworkPlanError> {
        let name = anet.text("linkname").unwrap_or("net0");
        let what = format!("anet linkname={name}");
        let refuse = |why: String| NetworkPlanError::new(&what, why);
        let lower = match anet.text("lower-link").unwrap_or("auto") {
            "auto" => self.default_link(&what)?,
            lower => lower,
        };
        let host = self.usable(&what, lower)?;
        let number = |name: &str| anet.text(name).and_then(|v| v.parse().ok());
        let made = Made {
            what: what.clone(),
            name,
            lower,
            mac: anet.text("mac-address"),
            prefix: anet.text("mac-prefix"),
            vlan: number("vlan-id").unwrap_or(0),
            mtu: number("mtu").map(u32::from),
        };
        let mut link = self.made(&made, host)?;
        // A zone whose addresses are given has no need to give any. A zone that is to serve DHCP has a
        // link-protection without dhcp-nospoof.
        let configured = anet.text("allowed-address").is_some();
        let usual = if configured { "mac-nospoof,dhcp-nospoof" } else { "mac-nospoof" };
        let protection = anet.text("link-protection").unwrap_or(usual);
        link.guard.mac = false;
        let mut only_own = false;
        for word in protection.split(',').map(str::trim).filter(|w| !w.is_empty() && *w != "none") {
            match word {
                "mac-nospoof" => link.guard.mac = true,
                "ip-nospoof" => only_own = true,
                "dhcp-nospoof" => link.guard.dhcp = true,
                "restricted" => link.guard.restricted = true,
                word => {
                    return Err(refuse(format!(
                        "link-protection '{word}' is not known; there are mac-nospoof, ip-nospoof, dhcp-nospoof and \
                         restricted"
                    )));
                }
            }
        }
        if let Some(text) = anet.text("maxbw") {
            let why = || {
                refuse(format!(
                    "maxbw '{text}' is not a number of bits per second with suffix K, M or G, of 8K or more"
                ))
            };
            link.maxbw = Some(bandwidth(text).ok_or_else(why)?);
        }
        let texts: Vec<&str> = anet.text("allowed-address").into_iter().flat_map(|t| t.split(',')).collect();
        if texts.is_empty() {
            if only_own {
                return Err(refuse(
                    "ip-nospoof needs allowed-address, to know what is the zone's own".into(),
                ));
            }
            if anet.text("defrouter").is_some() {
                return Err(refuse("defrouter needs allowed-address".into()));
            }
        } else {
            let configure = anet.text("configure-allowed-address").unwrap_or("true") == "true";
            self.hold(&mut link, &texts, anet.text("defrouter").into_iter(), host, configure)?;
        }
        self.network.links.push(link);
        Ok(())
    }

    /// Where several links have routers, packets from an address of one of them leave by that link: the guard of
    /// another would drop them. Such a link has a table of its own.
    fn separate(&mut self) {
        let routed = self.network.links.iter().filter(|l| !l.routers.is_empty()).count();
        if routed < 1 || self.network.links.len() < 2 {
            return;
        }
        for (table, link) in (FIRST_TABLE..).zip(&mut self.network.links) {
            link.table = (!link.routers.is_empty()).then_some(table);
        }
    }

    /// The zone's names of its links are valid, and each is there once.
    fn check_names(&self) -> Result<(), NetworkPlanError> {
        let mut seen = BTreeSet::new();
        for link in &self.network.links {
            let refuse = |why: String| Err(NetworkPlanError::new(&link.what, why));
            let name = link.name.as_str();
            if name.is_empty() || name.len() > 15 || name == "lo" {
                return refuse(format!(
                    "'{name}' cannot be a link's name in the zone; at most 15 characters, not lo"
                ));
            }
            if !seen.insert(name) {
                return refuse(format!("the zone has a link '{name}' already"));
            }
            let again = |other: &&ZoneLink| other.lower == link.lower && other.port != link.port;
            if matches!(link.way, LinkMode::Wire | LinkMode::Moved)
                && let Some(other) = self.network.links.iter().find(again)
            {
                return refuse(format!("link '{}' is used by {} as well", link.lower, other.what));
            }
        }
        Ok(())
    }

    /// No address is given twice, is the host's, or a running zone's.
    fn check_addresses(&self) -> Result<(), NetworkPlanError> {
        let mut seen = BTreeSet::new();
        for link in &self.network.links {
            let refuse = |ip: IpAddr, who: String| {
                let why = format!("could not bring network interface up: address in use by {who}: {ip}");
                Err(NetworkPlanError { passing: true, ..NetworkPlanError::new(&link.what, why) })
            };
            for ip in link.claimed() {
                if !seen.insert((&link.lower, link.vlan, ip)) {
                    return refuse(ip, "another net of this zone".into());
                }
                // An address on another link is in the way only of a zone that shares the host's view.
                let near = |on: &str| link.way == LinkMode::Shared || (on == link.lower && link.vlan == 0);
                if let Some((_, on)) = self.facts.host_addresses.iter().find(|(a, on)| *a == ip && near(on)) {
                    return refuse(ip, format!("the global zone, on '{on}'"));
                }
                if let Some(zone) = self.facts.taken.get(&(link.lower.clone(), link.vlan, ip)) {
                    return refuse(ip, format!("zone '{zone}'"));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
