//! Addresses and routers as a spec gives them.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{HostLink, NetFacts, NetworkPlanError};

/// Returns the addresses that a text means: one with or without prefix, or all of a host name.
pub fn addresses_of(
    what: &str,
    text: &str,
    lower: &HostLink,
    facts: &NetFacts,
    warnings: &mut Vec<String>,
) -> Result<Vec<IpNet>, NetworkPlanError> {
    let refuse = |why: String| NetworkPlanError::new(format!("{what} address={text}"), why);
    let (host, prefix) = match text.split_once('/') {
        Some((host, prefix)) => (host, prefix.parse::<u8>().ok()),
        None => (text, None),
    };
    let mut nets = Vec::new();
    for ip in resolve(host, facts).map_err(&refuse)? {
        let bits = prefix.unwrap_or_else(|| subnet(&ip, lower, what, warnings));
        let net =
            IpNet::new(ip, bits).map_err(|_| refuse(format!("/{bits} is not a prefix length for {ip}")))?;
        if ip.is_unspecified() || ip.is_multicast() || ip.is_loopback() || ip == IpAddr::from([255; 4]) {
            return Err(refuse(format!("{ip} cannot be the address of a zone")));
        }
        let ends = matches!(net, IpNet::V4(n) if bits < 31 && (n.network() == n.addr() || n.broadcast() == n.addr()));
        if ends {
            return Err(refuse(format!("{ip} is the subnet's own address or its broadcast address")));
        }
        nets.push(net);
    }
    Ok(nets)
}

fn resolve(host: &str, facts: &NetFacts) -> Result<Vec<IpAddr>, String> {
    if let Ok(ip) = host.parse() {
        return Ok(vec![ip]);
    }
    match facts.names.get(host) {
        Some(Ok(list)) => Ok(list.clone()),
        Some(Err(why)) => Err(format!("host name '{host}' cannot be resolved: {why}")),
        None => Err(format!("host name '{host}' was not looked up")),
    }
}

/// Returns the prefix length of an address that was given without one: that of the host's subnet on the link that
/// holds it, else that of its class.
fn subnet(ip: &IpAddr, lower: &HostLink, what: &str, warnings: &mut Vec<String>) -> u8 {
    if let Some(own) = lower.addresses.iter().find(|n| n.contains(ip)) {
        return own.prefix_len();
    }
    let bits = match ip {
        IpAddr::V6(_) => 64,
        IpAddr::V4(v4) => match v4.octets()[0] {
            0..=127 => 8,
            128..=191 => 16,
            _ => 24,
        },
    };
    warnings.push(format!("{what}: {ip}: no matching subnet found in netmasks(4); using default /{bits}"));
    bits
}

/// Returns the default routers that texts mean, each once.
pub fn routers<'t>(
    what: &str,
    texts: impl Iterator<Item = &'t str>,
    addresses: &[IpNet],
    facts: &NetFacts,
) -> Result<Vec<IpAddr>, NetworkPlanError> {
    let mut found = Vec::new();
    for text in texts {
        let refuse = |why: String| NetworkPlanError::new(format!("{what} defrouter={text}"), why);
        let mut list = resolve(text, facts).map_err(&refuse)?;
        // A name may have addresses of a kind that this link has not.
        let has = |ip: &IpAddr| addresses.iter().any(|a| a.addr().is_ipv4() == ip.is_ipv4());
        if text.parse::<IpAddr>().is_err() {
            list.retain(has);
        }
        for ip in list {
            if !has(&ip) {
                let kind = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
                return Err(refuse(format!("the link has no {kind} address")));
            }
            if ip.is_unspecified() || ip.is_multicast() || ip.is_loopback() {
                return Err(refuse(format!("{ip} cannot be a router")));
            }
            if addresses.iter().any(|a| a.addr() == ip) {
                return Err(refuse(format!("{ip} is the zone's own address")));
            }
            if !found.contains(&ip) {
                found.push(ip);
            }
        }
    }
    Ok(found)
}

/// Says whether a router can be reached from these addresses without another one.
pub fn reaches(addresses: &[IpNet], router: &IpAddr) -> bool {
    let link_local = matches!(router, IpAddr::V6(ip) if ip.is_unicast_link_local());
    addresses.iter().any(|a| a.contains(router) || (link_local && a.addr().is_ipv6()))
}
