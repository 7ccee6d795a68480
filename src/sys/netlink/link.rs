//! Links: network interfaces and their kinds.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use ipnet::IpNet;

use super::codec::{Builder, attribute, text, u32_at};
use super::{CREATE, EXCLUSIVE, NetError, REPLACE, Socket, family, octets};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKMODE: u16 = 17;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFLA_PERM_ADDRESS: u16 = 54;
const IFLA_PARENT_DEV_NAME: u16 = 56;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const VETH_INFO_PEER: u16 = 1;
/// Leave counters out of the answer (`RTEXT_FILTER_SKIP_STATS`).
const SKIP_STATS: u32 = 8;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
/// Mode of a link that is not in order when it has a partner (`IF_LINK_MODE_DORMANT`), and the states
/// (RFC 2863) that belong to that mode and to the other.
const DORMANT_MODE: u8 = 1;
const DORMANT: u8 = 5;
const IN_ORDER: u8 = 6;

/// No duplicate address detection, which would keep the address from use for a second.
const IFA_F_NODAD: u32 = 2;

/// The link is switched on (`IFF_UP`).
pub const UP: u32 = 1;
/// It takes every frame (`IFF_PROMISC`).
pub const PROMISCUOUS: u32 = 0x100;
/// It takes every multicast frame (`IFF_ALLMULTI`).
pub const ALL_MULTICAST: u32 = 0x200;
/// There is a cable or a partner (`IFF_LOWER_UP`).
pub const CARRIER: u32 = 0x1_0000;
/// Addresses are not resolved (`IFF_NOARP`).
pub const NO_ARP: u32 = 0x80;

/// Number of the hardware type of ethernet.
pub const ETHERNET: u16 = 1;

/// A link as the kernel reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its number in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its driver: `veth`, `bridge`, `vlan`, …; none for a device of the machine.
    pub kind: Option<String>,
    /// Hardware type; [`ETHERNET`] for all that zones can use.
    pub hardware: u16,
    /// Link-layer address.
    pub mac: Option<[u8; 6]>,
    /// The permanent address, which the hardware came with.
    pub permanent: Option<[u8; 6]>,
    /// Name of its device on its bus, such as `0000:00:03.0`.
    pub device: Option<String>,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// Flags (netdevice(7)).
    pub flags: u32,
    /// The bridge or bond that it belongs to.
    pub master: Option<u32>,
    /// The link below it.
    pub lower: Option<u32>,
    /// Whether it waits for something besides its partner.
    pub waits: bool,
    /// The alias, a text for people.
    pub alias: Option<String>,
}

impl Link {
    /// Says whether it is switched on.
    pub fn is_up(&self) -> bool {
        self.flags & UP != 0
    }

    /// Says whether it was set dormant: it has a partner, but programs are asked not to use it.
    pub fn is_dormant(&self) -> bool {
        self.waits
    }

    /// Says whether there is a cable or a partner.
    pub fn has_carrier(&self) -> bool {
        self.flags & CARRIER != 0
    }
}

/// `struct ifinfomsg`.
fn header(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..16].copy_from_slice(&change.to_ne_bytes());
    bytes
}

fn parse(body: &[u8]) -> Option<Link> {
    let (fixed, rest) = body.split_at_checked(16)?;
    let get = |kind| attribute(rest, kind);
    let mac = |kind| get(kind).and_then(|v| <[u8; 6]>::try_from(v).ok());
    let number = |kind| get(kind).and_then(|v| u32_at(v, 0));
    let info = get(IFLA_LINKINFO).unwrap_or_default();
    Some(Link {
        index: u32_at(fixed, 4)?,
        name: text(get(IFLA_IFNAME)?),
        kind: attribute(info, IFLA_INFO_KIND).map(text),
        hardware: super::codec::u16_at(fixed, 2)?,
        mac: mac(IFLA_ADDRESS),
        permanent: mac(IFLA_PERM_ADDRESS),
        device: get(IFLA_PARENT_DEV_NAME).map(text),
        mtu: number(IFLA_MTU).unwrap_or(0),
        flags: u32_at(fixed, 8)?,
        master: number(IFLA_MASTER),
        lower: number(IFLA_LINK),
        waits: get(IFLA_LINKMODE).is_some_and(|v| v.first() == Some(&DORMANT_MODE)),
        alias: get(IFLA_IFALIAS).map(text),
    })
}

/// Returns all links of the namespace.
///
/// # Errors
/// [`NetError`].
pub fn all(socket: &mut Socket) -> Result<Vec<Link>, NetError> {
    let request = Builder::new(RTM_GETLINK, 0).fixed(&header(0, 0, 0)).number(IFLA_EXT_MASK, SKIP_STATS);
    socket.all(&request, parse)
}

/// Returns a link by its name.
///
/// # Errors
/// [`NetError`].
pub fn named(socket: &mut Socket, name: &str) -> Result<Option<Link>, NetError> {
    // The kernel refuses longer ones as malformed.
    if name.is_empty() || name.len() > 15 {
        return Ok(None);
    }
    let request = Builder::new(RTM_GETLINK, 0)
        .fixed(&header(0, 0, 0))
        .text(IFLA_IFNAME, name)
        .number(IFLA_EXT_MASK, SKIP_STATS);
    Ok(socket.one(request)?.and_then(|body| parse(&body)))
}

/// Returns a link by its number.
///
/// # Errors
/// [`NetError`].
pub fn numbered(socket: &mut Socket, index: u32) -> Result<Option<Link>, NetError> {
    let request = Builder::new(RTM_GETLINK, 0).fixed(&header(index, 0, 0)).number(IFLA_EXT_MASK, SKIP_STATS);
    Ok(socket.one(request)?.and_then(|body| parse(&body)))
}

/// Says whether a bridge has ports.
///
/// # Errors
/// [`NetError`].
pub fn has_ports(socket: &mut Socket, bridge: u32) -> Result<bool, NetError> {
    // An older kernel does not know the filter.
    let request = Builder::new(RTM_GETLINK, 0)
        .fixed(&header(0, 0, 0))
        .number(IFLA_MASTER, bridge)
        .number(IFLA_EXT_MASK, SKIP_STATS);
    let ports = socket.all(&request, |body| parse(body).filter(|l| l.master == Some(bridge)))?;
    Ok(!ports.is_empty())
}

/// The near end of a pair.
#[derive(Clone, Copy, Debug)]
pub struct Near<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its link-layer address; none: one by chance.
    pub mac: Option<[u8; 6]>,
    /// Its largest packet in bytes.
    pub mtu: u32,
}

/// The far end of a pair that is made for a zone.
#[derive(Clone, Copy, Debug)]
pub struct VethPeer<'a> {
    /// Its name in the zone.
    pub name: &'a str,
    /// The namespace that it is made in.
    pub namespace: BorrowedFd<'a>,
    /// Its link-layer address.
    pub mac: [u8; 6],
    /// Its largest packet in bytes.
    pub mtu: u32,
}

/// Makes a pair of virtual links, one here and one in another namespace. Both are off.
///
/// Each has one queue, not one for each processor as the kernel would make: frames are handed over without
/// a lock, so that more would only be files in sysfs to be made.
///
/// # Errors
/// [`NetError`]; `EEXIST` for a name that is taken, `EOPNOTSUPP` for a kernel without such links.
pub fn add_pair(socket: &mut Socket, near: Near<'_>, peer: VethPeer<'_>) -> Result<(), NetError> {
    let mut request =
        Builder::new(RTM_NEWLINK, CREATE | EXCLUSIVE).fixed(&header(0, 0, 0)).text(IFLA_IFNAME, near.name);
    if let Some(mac) = near.mac {
        request = request.bytes(IFLA_ADDRESS, &mac);
    }
    let request = request
        .number(IFLA_MTU, near.mtu)
        .number(IFLA_NUM_TX_QUEUES, 1)
        .number(IFLA_NUM_RX_QUEUES, 1)
        .nest(IFLA_LINKINFO, |b| {
            b.text(IFLA_INFO_KIND, "veth").nest(IFLA_INFO_DATA, |b| {
                b.nest(VETH_INFO_PEER, |b| {
                    b.fixed(&header(0, 0, 0))
                        .text(IFLA_IFNAME, peer.name)
                        .number(IFLA_MTU, peer.mtu)
                        .number(IFLA_NUM_TX_QUEUES, 1)
                        .number(IFLA_NUM_RX_QUEUES, 1)
                        .bytes(IFLA_ADDRESS, &peer.mac)
                        .number(IFLA_NET_NS_FD, peer.namespace.as_raw_fd().cast_unsigned())
                })
            })
        });
    socket.change(request)
}

/// Whether the kernel gives a link an IPv6 address of its own making (`addr_gen_mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkLocal {
    /// As the host's settings say.
    Default,
    /// None.
    Never,
}

/// Changes of a link.
#[derive(Clone, Debug, Default)]
pub struct LinkChange<'a> {
    /// Flags to set.
    pub set: u32,
    /// Flags to clear.
    pub clear: u32,
    /// A new link-layer address.
    pub mac: Option<[u8; 6]>,
    /// A new largest packet in bytes.
    pub mtu: Option<u32>,
    /// Programs are asked not to use it (no `IFF_RUNNING`), or allowed to again; packets pass all the same.
    pub dormant: Option<bool>,
    /// A text for people.
    pub alias: Option<&'a str>,
    /// A new name; the link must be off on older kernels.
    pub name: Option<&'a str>,
    /// No IPv6 address of the kernel's own making.
    pub no_link_local: bool,
    /// The bridge that it becomes a port of.
    pub master: Option<u32>,
    /// The namespace that it moves to.
    pub namespace: Option<BorrowedFd<'a>>,
}

/// Changes a link.
///
/// # Errors
/// [`NetError`].
pub fn change(socket: &mut Socket, index: u32, what: &LinkChange<'_>) -> Result<(), NetError> {
    let mut request = Builder::new(RTM_SETLINK, 0).fixed(&header(index, what.set, what.set | what.clear));
    if let Some(fd) = what.namespace {
        request = request.number(IFLA_NET_NS_FD, fd.as_raw_fd().cast_unsigned());
    }
    if let Some(name) = what.name {
        request = request.text(IFLA_IFNAME, name);
    }
    if let Some(mac) = what.mac {
        request = request.bytes(IFLA_ADDRESS, &mac);
    }
    if let Some(mtu) = what.mtu {
        request = request.number(IFLA_MTU, mtu);
    }
    if let Some(dormant) = what.dormant {
        let (mode, state) = if dormant { (DORMANT_MODE, DORMANT) } else { (0, IN_ORDER) };
        request = request.byte(IFLA_LINKMODE, mode).byte(IFLA_OPERSTATE, state);
    }
    if let Some(alias) = what.alias {
        request = request.bytes(IFLA_IFALIAS, alias.as_bytes());
    }
    if let Some(master) = what.master {
        request = request.number(IFLA_MASTER, master);
    }
    if what.no_link_local {
        let inet6 = u16::try_from(libc::AF_INET6).unwrap_or(10);
        // 1 is IN6_ADDR_GEN_MODE_NONE.
        request = request.nest(IFLA_AF_SPEC, |b| b.nest(inet6, |b| b.byte(IFLA_INET6_ADDR_GEN_MODE, 1)));
    }
    match socket.change(request) {
        // Without IPv6 in the kernel there is no such address to be kept away.
        Err(e) if e.number() == libc::EAFNOSUPPORT && what.no_link_local => {
            change(socket, index, &LinkChange { no_link_local: false, ..what.clone() })
        }
        other => other,
    }
}

/// Removes a link, and its far end with it.
///
/// # Errors
/// [`NetError`]; `ENODEV` when it is gone already.
pub fn remove(socket: &mut Socket, index: u32) -> Result<(), NetError> {
    socket.change(Builder::new(RTM_DELLINK, 0).fixed(&header(index, 0, 0)))
}

/// Gives a link an address, ready for use at once.
///
/// # Errors
/// [`NetError`]; `EACCES` or `EAFNOSUPPORT` where IPv6 is switched off.
pub fn add_address(socket: &mut Socket, index: u32, net: &IpNet) -> Result<(), NetError> {
    let ip = net.addr();
    let bytes = octets(&ip);
    // `struct ifaddrmsg`: family, prefix, flags, scope, index.
    let mut fixed = [family(&ip), net.prefix_len(), 0, 0, 0, 0, 0, 0];
    fixed[4..].copy_from_slice(&index.to_ne_bytes());
    let mut request = Builder::new(RTM_NEWADDR, CREATE | REPLACE)
        .fixed(&fixed)
        .bytes(IFA_LOCAL, &bytes)
        .bytes(IFA_ADDRESS, &bytes)
        .number(IFA_FLAGS, if ip.is_ipv6() { IFA_F_NODAD } else { 0 });
    if let IpNet::V4(v4) = net
        && v4.prefix_len() < 31
    {
        request = request.bytes(IFA_BROADCAST, &v4.broadcast().octets());
    }
    socket.change(request)
}

/// Returns the addresses of all links of the namespace, with the link's number.
///
/// # Errors
/// [`NetError`].
pub fn addresses(socket: &mut Socket) -> Result<Vec<(u32, IpNet)>, NetError> {
    let request = Builder::new(RTM_GETADDR, 0).fixed(&[0; 8]);
    socket.all(&request, |body| {
        let (fixed, rest) = body.split_at_checked(8)?;
        // On a point-to-point link IFA_ADDRESS is the far end's.
        let bytes = attribute(rest, IFA_LOCAL).or_else(|| attribute(rest, IFA_ADDRESS))?;
        let ip: IpAddr = super::address(bytes)?;
        Some((u32_at(fixed, 4)?, IpNet::new(ip, fixed[1]).ok()?))
    })
}
