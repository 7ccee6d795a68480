//! Looks at the host's links and addresses, as far as a zone's spec names them. Nothing is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, ToSocketAddrs};

use super::{NetworkResult, claims, net, sys};
use crate::apply::paths::Root;
use crate::apply::store::FileStore;
use crate::plan::net::{HostLink, HostNameError, Mac, NetFacts, host_names, needed, needs_default};
use crate::spec::schema::ResourceKind;
use crate::spec::{ZoneName, ZoneSpec};
use crate::sys::netlink::link::{self, Link};
use crate::sys::netlink::{Socket, route};
use crate::sys::path::reason;
use crate::sys::stable_hash::StableHash;

/// Says whether a spec has anything to do with networks.
pub fn has_network(spec: &ZoneSpec) -> bool {
    [ResourceKind::Net, ResourceKind::Anet].into_iter().any(|kind| !spec.stored(kind).is_empty())
}

/// Looks at everything. A spec without networks costs nothing.
///
/// # Errors
/// [`super::NetworkError`]
pub fn facts(store: &FileStore, name: &ZoneName, spec: &ZoneSpec) -> NetworkResult<NetFacts> {
    let mut facts = NetFacts::default();
    if !has_network(spec) {
        return Ok(facts);
    }
    let root = store.root();
    let mut socket = Socket::open().map_err(net("cannot open netlink"))?;
    let addresses = link::addresses(&mut socket).map_err(net("cannot read the host's addresses"))?;
    let routes = route::defaults(&mut socket).map_err(net("cannot read the host's routes"))?;
    let mut seen = LinkCache { socket, found: BTreeMap::new(), by_index: BTreeMap::new() };
    for name in needed(spec) {
        seen.named(name)?;
    }
    if needs_default(spec) {
        for index in routes.iter().map(|r| r.link) {
            if let Some(link) = seen.numbered(index)? {
                facts.default_link = Some(link.name);
                break;
            }
        }
    }
    for (name, link) in seen.found.clone() {
        let master = match link.master {
            Some(index) => seen.numbered_aside(index)?.map(|m| (m.name, m.kind.unwrap_or_default())),
            None => None,
        };
        let own = |ip: &IpAddr| !matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let on = addresses.iter().filter(|(index, net)| *index == link.index && own(&net.addr()));
        let gateways = routes.iter().filter(|r| r.link == link.index).filter_map(|r| r.gateway);
        let mut seen_gateways = BTreeSet::new();
        facts.links.insert(
            name,
            HostLink {
                index: link.index,
                kind: link.kind,
                ethernet: link.hardware == link::ETHERNET,
                device: link.device,
                mac: link.mac.map(Mac),
                mtu: link.mtu,
                flags: link.flags,
                master,
                addresses: on.map(|(_, net)| *net).collect(),
                gateways: gateways.filter(|g| seen_gateways.insert(*g)).collect(),
            },
        );
    }
    for (index, net) in &addresses {
        if !net.addr().is_loopback() {
            let on = seen.numbered_aside(*index)?.map_or_else(|| index.to_string(), |l| l.name);
            facts.host_addresses.push((net.addr(), on));
        }
    }
    for name in host_names(spec) {
        facts.names.insert(name.to_owned(), resolve(name));
    }
    facts.claims = claims::folder(root);
    facts.port = port_name(root, name);
    let uuid = store.uuid(name)?;
    facts.seed = uuid.unwrap_or_else(|| format!("{} {name}", root.prefix().to_string_lossy()));
    rustix::rand::getrandom(&mut facts.chance, rustix::rand::GetRandomFlags::empty())
        .map_err(|e| sys("cannot get a random number")(e.into()))?;
    for lower in needed(spec).into_iter().chain(facts.default_link.as_deref()) {
        if let Some(zone) = claims::of_link(root, lower, name.as_str()) {
            facts.owned.insert(lower.to_owned(), zone);
        }
    }
    // The holder of an address is looked up by address: there may be thousands of claims.
    if let Ok(network) = crate::plan::net::plan(spec, &facts) {
        for link in &network.links {
            for ip in link.claimed() {
                if let Some(zone) = claims::of_address(root, &link.lower, link.vlan, &ip, name.as_str()) {
                    facts.taken.insert((link.lower.clone(), link.vlan, ip), zone);
                }
            }
        }
    }
    Ok(facts)
}

/// Links that have been looked at.
struct LinkCache {
    socket: Socket,
    /// The links of the spec, by name.
    found: BTreeMap<String, Link>,
    /// All of them.
    by_index: BTreeMap<u32, Option<Link>>,
}

impl LinkCache {
    fn named(&mut self, name: &str) -> NetworkResult<()> {
        if let Some(link) = link::named(&mut self.socket, name).map_err(net("cannot look at a link"))? {
            self.by_index.insert(link.index, Some(link.clone()));
            self.found.insert(name.to_owned(), link);
        }
        Ok(())
    }

    fn numbered_aside(&mut self, index: u32) -> NetworkResult<Option<Link>> {
        if let Some(link) = self.by_index.get(&index) {
            return Ok(link.clone());
        }
        let link = link::numbered(&mut self.socket, index).map_err(net("cannot look at a link"))?;
        self.by_index.insert(index, link.clone());
        Ok(link)
    }

    fn numbered(&mut self, index: u32) -> NetworkResult<Option<Link>> {
        let link = self.numbered_aside(index)?;
        if let Some(link) = &link {
            self.found.insert(link.name.clone(), link.clone());
        }
        Ok(link)
    }
}

fn resolve(name: &str) -> Result<Vec<IpAddr>, HostNameError> {
    let found = (name, 0).to_socket_addrs().map_err(|e| HostNameError::NameService { reason: reason(&e) })?;
    let set: BTreeSet<IpAddr> = found.map(|a| a.ip()).collect();
    if set.is_empty() { Err(HostNameError::NoAddress) } else { Ok(set.into_iter().collect()) }
}

/// Returns the beginning of the names of a zone's ports: the same at every boot, so that leftovers of a crash are
/// found, and a different one for each zone of each alternate root.
pub fn port_name(root: &Root, zone: &ZoneName) -> String {
    const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut hash = StableHash::new().path(root.prefix()).text(zone.as_str()).finish();
    let mut name = String::from("z");
    for _ in 0..10 {
        name.push(char::from(DIGITS[usize::try_from(hash & 31).unwrap_or(0)]));
        hash >>= 5;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn ports_have_names_of_their_own() {
        let zone = |name: &str| ZoneName::new(name).expect("a name");
        let (one, two) = (Root::new(Some(Path::new("/"))), Root::new(Some(Path::new("/tmp/x"))));
        let name = port_name(&one, &zone("zion"));
        assert_eq!(name.len(), 11);
        // The name in release 0.1.0: leftovers of its crash are found after an upgrade.
        assert_eq!(name, "zm33einqaz5");
        assert_eq!(port_name(&one, &zone("web")), "zynsr6kxksw");
        assert_eq!(port_name(&two, &zone("zion")), "zz4oeesasut");
        assert_eq!(name, port_name(&one, &zone("zion")));
        assert_ne!(name, port_name(&one, &zone("web")));
        assert_ne!(name, port_name(&two, &zone("zion")));
    }
}
