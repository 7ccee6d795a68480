//! Routes and neighbours.

use std::net::IpAddr;

use ipnet::IpNet;

use super::codec::{Builder, attribute, u16_at, u32_at};
use super::{APPEND, CREATE, EXCLUSIVE, NetError, REPLACE, Socket, address, family, octets};

const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;
const RTM_NEWNEIGH: u16 = 28;
const RTM_NEWRULE: u16 = 32;
const RTM_DELRULE: u16 = 33;
const FRA_SRC: u16 = 2;
const FRA_PRIORITY: u16 = 6;
const FRA_TABLE: u16 = 15;
/// The rule leads to a table (`FR_ACT_TO_TBL`).
const TO_TABLE: u8 = 1;
const RTM_DELNEIGH: u16 = 29;
const RTM_GETNEIGH: u16 = 30;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_TABLE: u16 = 15;

const TABLE_MAIN: u8 = 254;
/// The number of the table in `struct rtmsg`; 0 where it needs more than a byte.
const TABLE_AT: usize = 4;
const SCOPE_UNIVERSE: u8 = 0;
const SCOPE_LINK: u8 = 253;
const UNICAST: u8 = 1;
/// Set by an administrator (`RTPROT_STATIC`).
const STATIC: u8 = 4;
/// The gateway is on the link, whatever the addresses say.
const ONLINK: u32 = 4;

/// Number that marks the routes of zones on the host (`/etc/iproute2/rt_protos`).
pub const PROTOCOL: u8 = 122;

const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NTF_USE: u8 = 1;
const NTF_SELF: u8 = 2;
const NUD_REACHABLE: u16 = 0x02;
const NUD_STALE: u16 = 0x04;
const NUD_DELAY: u16 = 0x08;
const NUD_PROBE: u16 = 0x10;
const NUD_PERMANENT: u16 = 0x80;

/// `struct rtmsg`.
fn header(ip: &IpAddr, prefix: u8, protocol: u8, scope: u8, flags: u32) -> [u8; 12] {
    let mut bytes = [family(ip), prefix, 0, 0, TABLE_MAIN, protocol, scope, UNICAST, 0, 0, 0, 0];
    bytes[8..].copy_from_slice(&flags.to_ne_bytes());
    bytes
}

/// Adds a default route over a link. A gateway outside the link's subnets is taken to be on the link.
///
/// `metric` orders several: the least is used first.
///
/// # Errors
/// [`NetError`].
pub fn add_default(socket: &mut Socket, link: u32, gateway: &IpAddr, metric: u32) -> Result<(), NetError> {
    let request = Builder::new(RTM_NEWROUTE, CREATE | APPEND)
        .fixed(&header(gateway, 0, STATIC, SCOPE_UNIVERSE, ONLINK))
        .bytes(RTA_GATEWAY, &octets(gateway))
        .number(RTA_OIF, link)
        .number(RTA_PRIORITY, metric);
    socket.change(request)
}

/// Adds a default route to a table of its own.
///
/// # Errors
/// [`NetError`].
pub fn add_default_to(socket: &mut Socket, table: u32, link: u32, gateway: &IpAddr) -> Result<(), NetError> {
    let mut fixed = header(gateway, 0, STATIC, SCOPE_UNIVERSE, ONLINK);
    fixed[TABLE_AT] = 0;
    let request = Builder::new(RTM_NEWROUTE, CREATE | APPEND)
        .fixed(&fixed)
        .bytes(RTA_GATEWAY, &octets(gateway))
        .number(RTA_OIF, link)
        .number(RTA_TABLE, table);
    socket.change(request)
}

/// Adds a route to the subnet of a link to a table of its own.
///
/// # Errors
/// [`NetError`].
pub fn add_near_to(socket: &mut Socket, table: u32, link: u32, near: &IpNet) -> Result<(), NetError> {
    let network = near.network();
    let mut fixed = header(&network, near.prefix_len(), STATIC, SCOPE_LINK, 0);
    fixed[TABLE_AT] = 0;
    let request = Builder::new(RTM_NEWROUTE, CREATE | REPLACE)
        .fixed(&fixed)
        .bytes(RTA_DST, &octets(&network))
        .number(RTA_OIF, link)
        .number(RTA_TABLE, table);
    socket.change(request)
}

/// Routes packets that are sent from an address by a table.
///
/// # Errors
/// [`NetError`]; `EOPNOTSUPP` or `EAFNOSUPPORT` for a kernel without rules.
pub fn add_rule(socket: &mut Socket, from: &IpAddr, table: u32) -> Result<(), NetError> {
    socket.change(rule(Builder::new(RTM_NEWRULE, CREATE | EXCLUSIVE), from, table))
}

/// Removes what [`add_rule`] has added.
///
/// # Errors
/// [`NetError`]; `ENOENT` when it is gone already, `EOPNOTSUPP` or `EAFNOSUPPORT` for a kernel without rules.
pub fn remove_rule(socket: &mut Socket, from: &IpAddr, table: u32) -> Result<(), NetError> {
    socket.change(rule(Builder::new(RTM_DELRULE, 0), from, table))
}

fn rule(request: Builder, from: &IpAddr, table: u32) -> Builder {
    let whole = if from.is_ipv4() { 32 } else { 128 };
    // `struct fib_rule_hdr`: family, lengths of destination and source, service, table, nothing, action.
    request
        .fixed(&[family(from), 0, whole, 0, 0, 0, 0, TO_TABLE, 0, 0, 0, 0])
        .bytes(FRA_SRC, &octets(from))
        .number(FRA_PRIORITY, table)
        .number(FRA_TABLE, table)
}

/// Adds a route to a host that is on a link. `source` is the address to speak from.
///
/// # Errors
/// [`NetError`].
pub fn add_host(
    socket: &mut Socket,
    link: u32,
    host: &IpAddr,
    source: Option<&IpAddr>,
) -> Result<(), NetError> {
    let whole = if host.is_ipv4() { 32 } else { 128 };
    let mut request = Builder::new(RTM_NEWROUTE, CREATE | REPLACE)
        .fixed(&header(host, whole, PROTOCOL, SCOPE_LINK, 0))
        .bytes(RTA_DST, &octets(host))
        .number(RTA_OIF, link);
    if let Some(source) = source {
        request = request.bytes(RTA_PREFSRC, &octets(source));
    }
    socket.change(request)
}

/// Removes what [`add_host`] has added.
///
/// # Errors
/// [`NetError`]; `ESRCH` when it is gone already.
pub fn remove_host(socket: &mut Socket, link: u32, host: &IpAddr) -> Result<(), NetError> {
    let whole = if host.is_ipv4() { 32 } else { 128 };
    let request = Builder::new(RTM_DELROUTE, 0)
        .fixed(&header(host, whole, PROTOCOL, SCOPE_LINK, 0))
        .bytes(RTA_DST, &octets(host))
        .number(RTA_OIF, link);
    socket.change(request)
}

/// A default route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Default {
    /// Number of the link that it leads over.
    pub link: u32,
    /// The gateway; none where everything is on the link.
    pub gateway: Option<IpAddr>,
    /// The least is used first.
    pub metric: u32,
}

/// Returns the default routes of the main table, first those of IPv4.
///
/// # Errors
/// [`NetError`].
pub fn defaults(socket: &mut Socket) -> Result<Vec<Default>, NetError> {
    let mut found = Vec::new();
    for ip in [IpAddr::from([0; 4]), IpAddr::from([0; 16])] {
        let request = Builder::new(RTM_GETROUTE, 0)
            .fixed(&[family(&ip), 0, 0, 0, TABLE_MAIN, 0, 0, 0, 0, 0, 0, 0])
            .number(RTA_TABLE, u32::from(TABLE_MAIN));
        let list = socket.all(&request, |body| {
            let (fixed, rest) = body.split_at_checked(12)?;
            let usable = fixed[1] == 0 && fixed[4] == TABLE_MAIN && fixed[7] == UNICAST;
            usable.then(|| {
                Some(Default {
                    link: attribute(rest, RTA_OIF).and_then(|v| u32_at(v, 0))?,
                    gateway: attribute(rest, RTA_GATEWAY).and_then(address),
                    metric: attribute(rest, RTA_PRIORITY).and_then(|v| u32_at(v, 0)).unwrap_or(0),
                })
            })?
        });
        let mut list = match list {
            // No IPv6 in this kernel, or no table yet.
            Err(e) if matches!(e.number(), libc::EAFNOSUPPORT | libc::EOPNOTSUPP | libc::ENOENT) => {
                Vec::new()
            }
            other => other?,
        };
        list.sort_by_key(|d| d.metric);
        found.extend(list);
    }
    Ok(found)
}

/// Returns the number of the link over which a host is reached without a gateway, if it is.
///
/// # Errors
/// [`NetError`].
pub fn direct(socket: &mut Socket, host: &IpAddr) -> Result<Option<u32>, NetError> {
    let whole = if host.is_ipv4() { 32 } else { 128 };
    let request = Builder::new(RTM_GETROUTE, 0)
        .fixed(&[family(host), whole, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        .bytes(RTA_DST, &octets(host));
    let body = match socket.one(request) {
        Err(e) if matches!(e.number(), libc::ENETUNREACH | libc::EHOSTUNREACH) => return Ok(None),
        other => other?,
    };
    Ok(body.and_then(|body| {
        let rest = body.get(12..)?;
        let link = attribute(rest, RTA_OIF).and_then(|v| u32_at(v, 0))?;
        (body[7] == UNICAST && attribute(rest, RTA_GATEWAY).is_none()).then_some(link)
    }))
}

/// Returns the subnet's text form of a host, for messages.
pub fn host_net(ip: IpAddr) -> IpNet {
    IpNet::from(ip)
}

/// `struct ndmsg`.
fn neighbour(family: u8, link: u32, state: u16, flags: u8) -> [u8; 12] {
    let mut bytes = [family, 0, 0, 0, 0, 0, 0, 0, 0, 0, flags, 0];
    bytes[4..8].copy_from_slice(&link.to_ne_bytes());
    bytes[8..10].copy_from_slice(&state.to_ne_bytes());
    bytes
}

/// Has the kernel ask on a link which machine has an address: by ARP, or by neighbour solicitation.
///
/// # Errors
/// [`NetError`].
pub fn ask(socket: &mut Socket, link: u32, ip: &IpAddr) -> Result<(), NetError> {
    forget(socket, link, ip)?;
    let request = Builder::new(RTM_NEWNEIGH, CREATE | REPLACE)
        .fixed(&neighbour(family(ip), link, 0, NTF_USE))
        .bytes(NDA_DST, &octets(ip));
    socket.change(request)
}

/// Returns the link-layer address that has answered for an address, if one has.
///
/// # Errors
/// [`NetError`].
pub fn answer(socket: &mut Socket, link: u32, ip: &IpAddr) -> Result<Option<[u8; 6]>, NetError> {
    let request =
        Builder::new(RTM_GETNEIGH, 0).fixed(&neighbour(family(ip), link, 0, 0)).bytes(NDA_DST, &octets(ip));
    let Some(body) = socket.one(request)? else { return Ok(None) };
    let state = u16_at(&body, 8).unwrap_or(0);
    let answered = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT;
    let mac = body.get(12..).and_then(|rest| attribute(rest, NDA_LLADDR));
    Ok(mac.filter(|_| state & answered != 0).and_then(|m| m.try_into().ok()))
}

/// Removes an address of a link from the neighbour cache.
///
/// # Errors
/// [`NetError`]; an address of which nothing is known is no error.
pub fn forget(socket: &mut Socket, link: u32, ip: &IpAddr) -> Result<(), NetError> {
    let request =
        Builder::new(RTM_DELNEIGH, 0).fixed(&neighbour(family(ip), link, 0, 0)).bytes(NDA_DST, &octets(ip));
    absent(socket.change(request))
}

/// Has a link take frames for a further link-layer address.
///
/// # Errors
/// [`NetError`].
pub fn take_frames(socket: &mut Socket, link: u32, mac: [u8; 6]) -> Result<(), NetError> {
    let bridge = u8::try_from(libc::AF_BRIDGE).unwrap_or(7);
    let request = Builder::new(RTM_NEWNEIGH, CREATE)
        .fixed(&neighbour(bridge, link, NUD_PERMANENT, NTF_SELF))
        .bytes(NDA_LLADDR, &mac);
    socket.change(request)
}

/// Undoes [`take_frames`].
///
/// # Errors
/// [`NetError`]; an address that the link does not take is no error.
pub fn leave_frames(socket: &mut Socket, link: u32, mac: [u8; 6]) -> Result<(), NetError> {
    let bridge = u8::try_from(libc::AF_BRIDGE).unwrap_or(7);
    let request = Builder::new(RTM_DELNEIGH, 0)
        .fixed(&neighbour(bridge, link, NUD_PERMANENT, NTF_SELF))
        .bytes(NDA_LLADDR, &mac);
    absent(socket.change(request))
}

fn absent(done: Result<(), NetError>) -> Result<(), NetError> {
    match done {
        Err(e) if matches!(e.number(), libc::ENOENT | libc::ESRCH | libc::ENODEV) => Ok(()),
        other => other,
    }
}
