//! A world of its own for tests of networks: a network namespace that plays the host, one that plays
//! what is outside, links between them, and zones. No link of the machine is touched.
#![allow(dead_code)] // each test uses a part of it

#[path = "../lab/mod.rs"]
pub mod lab;
pub mod raw;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use zones::sys::netlink::codec::Builder;
use zones::sys::netlink::filter::{self, Direction};
use zones::sys::netlink::link::{self, Link, LinkChange};
use zones::sys::netlink::{Socket, route};

use lab::{Lab, record};

/// Whoever waits for a connection that must not come waits so long.
const IN_VAIN: Duration = Duration::from_millis(700);

/// A network namespace.
pub struct Space(OwnedFd);

impl Space {
    /// Returns the one that this thread is in.
    fn here() -> Self {
        Self(File::open("/proc/thread-self/ns/net").expect("a network namespace").into())
    }

    /// Makes a new one; the thread stays where it is.
    fn new() -> Self {
        let before = Self::here();
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
        let new = Self::here();
        up(&mut socket(), "lo");
        setns(before.0.as_fd(), CloneFlags::CLONE_NEWNET).expect("back");
        new
    }

    /// Does something there.
    pub fn at<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = Self::here();
        setns(self.0.as_fd(), CloneFlags::CLONE_NEWNET).expect("the namespace");
        let result = work();
        setns(before.0.as_fd(), CloneFlags::CLONE_NEWNET).expect("back");
        result
    }
}

pub fn socket() -> Socket {
    Socket::open().expect("netlink")
}

pub fn find(name: &str) -> Link {
    link::named(&mut socket(), name).expect("an answer").unwrap_or_else(|| panic!("no link {name}"))
}

pub fn up(socket: &mut Socket, name: &str) {
    let index = link::named(socket, name).expect("an answer").expect(name).index;
    link::change(socket, index, &LinkChange { set: link::UP, ..LinkChange::default() }).expect("up");
}

pub fn give(name: &str, address: &str) {
    let index = find(name).index;
    link::add_address(&mut socket(), index, &address.parse().expect("an address")).expect(address);
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Makes a link of a kind by itself; says whether the kernel has such links.
pub fn make(kind: &str, name: &str, data: impl FnOnce(Builder) -> Builder) -> bool {
    let (newlink, create, ifname, linkinfo, info_kind, info_data) = (16, 0x600, 3, 18, 1, 2);
    let request = Builder::new(newlink, create).fixed(&[0; 16]).text(ifname, name);
    let request = data(request).nest(linkinfo, |b| {
        let b = b.text(info_kind, kind);
        // Number 42 for a VLAN, which is the one kind here that needs to be told something.
        if kind == "vlan" { b.nest(info_data, |b| b.bytes(1, &42_u16.to_ne_bytes())) } else { b }
    });
    match socket().change(request) {
        Ok(()) => true,
        Err(e) if e.number() == nix::libc::EOPNOTSUPP => {
            let required = std::env::var("ZONES_TEST_REQUIRE").is_ok_and(|v| v.contains("links"));
            assert!(!required, "links of kind {kind} must be here");
            eprintln!("SKIPPED: this kernel has no links of kind {kind}");
            false
        }
        Err(e) => panic!("{kind}: {e}"),
    }
}

/// Sets the link-layer address of a link.
pub fn set_mac(name: &str, mac: [u8; 6]) {
    let (setlink, address) = (19, 1);
    let mut fixed = [0; 16];
    fixed[4..8].copy_from_slice(&find(name).index.to_ne_bytes());
    socket().change(Builder::new(setlink, 0).fixed(&fixed).bytes(address, &mac)).expect("a new address");
}

/// Takes the queue off a link that holds it to a bandwidth.
pub fn unshape(name: &str) {
    let (delete, root) = (37, 0xffff_ffff_u32);
    let mut fixed = [0; 20];
    fixed[4..8].copy_from_slice(&find(name).index.to_ne_bytes());
    fixed[12..16].copy_from_slice(&root.to_ne_bytes());
    socket().change(Builder::new(delete, 0).fixed(&fixed)).expect("the zone's own queue");
}

/// The host's links, addresses, routes and programs, to compare two moments.
#[derive(Debug, PartialEq, Eq)]
pub struct Trace {
    links: Vec<(String, u32, Option<u32>)>,
    addresses: Vec<(u32, String)>,
    routes: Vec<String>,
    programs: Vec<String>,
}

pub struct World {
    pub lab: Lab,
    pub host: Space,
    pub outside: Space,
    before: Option<Trace>,
}

impl World {
    /// Makes the world, or says why not: a host with `eth0`, 192.0.2.1/24 and 2001:db8::1/64, joined with
    /// an outside that has 192.0.2.254 and 2001:db8::fe on that link and 198.51.100.1 behind it.
    pub fn new() -> Option<Self> {
        let mut world = Self::empty()?;
        world.cable("eth0", "out0");
        give("eth0", "192.0.2.1/24");
        give("eth0", "2001:db8::1/64");
        world.outside.at(|| {
            give("out0", "192.0.2.254/24");
            give("out0", "2001:db8::fe/64");
            give("lo", "198.51.100.1/32");
        });
        world.settle();
        Some(world)
    }

    /// Makes a world without links.
    pub fn empty() -> Option<Self> {
        let lab = Lab::new()?;
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
        up(&mut socket(), "lo");
        // Addresses that the kernel makes itself would be in use a second later only.
        for file in ["default/accept_dad", "all/accept_dad"] {
            let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{file}"), "0");
        }
        Some(Self { lab, host: Space::here(), outside: Space::new(), before: None })
    }

    /// Joins a link of the host with one outside, both on.
    pub fn cable(&self, name: &str, outside: &str) {
        let peer = link::VethPeer {
            name: outside,
            namespace: self.outside.0.as_fd(),
            mac: [2, 0xee, 0, 0, 0, last()],
            mtu: 1500,
        };
        link::add_pair(&mut socket(), link::Near { name, mac: None, mtu: 1500 }, peer).expect("a pair");
        up(&mut socket(), name);
        self.outside.at(|| up(&mut socket(), outside));
    }

    /// Notes what the host is like before zones come.
    pub fn settle(&mut self) {
        // The kernel gives each link an IPv6 address of its own once it knows of the carrier, up to a second later, and
        // each address a route, in its own time. A link that gets none, such as a bridge without ports, is waited for
        // in vain.
        let has_own = || {
            let routes = std::fs::read_to_string("/proc/thread-self/net/ipv6_route").unwrap_or_default();
            let list = link::all(&mut socket()).expect("links");
            let list: Vec<_> = list.iter().filter(|l| l.is_up() && l.name != "lo").collect();
            let mut own: Vec<(u32, String)> = Vec::new();
            for (index, address) in link::addresses(&mut socket()).expect("addresses") {
                if let IpAddr::V6(v6) = address.addr() {
                    own.push((index, v6.octets().iter().map(|byte| format!("{byte:02x}")).collect()));
                }
            }
            let has_route = |name: &str, address: &str| {
                routes.lines().any(|line| {
                    let words: Vec<&str> = line.split_whitespace().collect();
                    (words[0], words[1], words[9]) == (address, "80", name)
                })
            };
            let is_ready = |link: &Link| {
                let mut own =
                    own.iter().filter(|(index, _)| *index == link.index).map(|(_, address)| address);
                let has_own = own.clone().any(|address| address.starts_with("fe8"));
                link.has_carrier() && has_own && own.all(|address| has_route(&link.name, address))
            };
            list.into_iter().all(is_ready)
        };
        let end = Instant::now() + Duration::from_secs(5);
        while !has_own() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.before = Some(trace());
    }

    /// Returns the network namespace of a running zone.
    pub fn zone(&self, name: &str) -> Space {
        let pid = record(&self.lab, name, "init");
        Space(File::open(format!("/proc/{pid}/ns/net")).expect("a running zone").into())
    }

    /// Configures, installs and boots a zone.
    pub fn boot(&self, name: &str, lines: &str) -> Space {
        self.lab.installed(name, lines);
        self.lab.ok("zoneadm", &["-z", name, "boot"]);
        self.zone(name)
    }

    /// Boots a zone that must be refused, and returns what was said.
    pub fn refused(&self, name: &str, lines: &str) -> String {
        self.lab.installed(name, lines);
        self.refused_again(name)
    }

    pub fn refused_again(&self, name: &str) -> String {
        let run = self.lab.run("zoneadm", &["-z", name, "boot"]);
        assert_ne!(run.status, 0, "{name} must not boot");
        assert_eq!(self.lab.state(name), "installed", "{run:?}");
        run.err
    }

    pub fn halt(&self, name: &str) {
        self.lab.ok("zoneadm", &["-z", name, "halt"]);
    }

    /// Halts the zones and makes sure that nothing of them is left on the host.
    pub fn end(self, zones: &[&str]) {
        for zone in zones {
            self.halt(zone);
        }
        self.assert_clean();
    }

    /// Makes sure that the host is as it was.
    pub fn assert_clean(&self) {
        self.lab.assert_clean();
        // The kernel takes a little longer for a port than the command that halts its zone.
        soon(|| Some(&trace()) == self.before.as_ref());
        assert_eq!(Some(&trace()), self.before.as_ref());
        let claims = self.lab.path().join("run/zones/.net");
        assert!(!claims.exists(), "claims are left in {}", claims.display());
    }
}

fn last() -> u8 {
    use std::sync::atomic::{AtomicU8, Ordering};
    static NEXT: AtomicU8 = AtomicU8::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Looks at everything that zones could leave on this host.
fn trace() -> Trace {
    let mut socket = socket();
    let list = link::all(&mut socket).expect("links");
    let mut programs = Vec::new();
    for link in &list {
        for way in [Direction::In, Direction::Out] {
            if filter::count(&mut socket, link.index, way).is_ok_and(|n| n > 0) {
                programs.push(format!("{} {way:?}", link.name));
            }
        }
        // A queue discipline without programs is a trace as well: making one fails where there is one.
        match filter::prepare(&mut socket, link.index) {
            // A port may go at any moment.
            Ok(true) => drop(filter::unprepare(&mut socket, link.index)),
            Ok(false) => programs.push(format!("{} clsact", link.name)),
            Err(_) => {}
        }
    }
    let mut routes: Vec<String> = std::fs::read_to_string("/proc/thread-self/net/route")
        .expect("routes")
        .lines()
        .map(|l| l.split_whitespace().take(3).collect::<Vec<_>>().join(" "))
        .collect();
    let v6 = std::fs::read_to_string("/proc/thread-self/net/ipv6_route").unwrap_or_default();
    // Destination, prefix and link; multicast and what the kernel keeps for each local address aside.
    routes.extend(v6.lines().filter(|l| !l.starts_with("ff")).map(|l| {
        let words: Vec<&str> = l.split_whitespace().collect();
        format!("{} {} {}", words[0], words[1], words[9])
    }));
    routes.sort();
    routes.dedup();
    let mut addresses: Vec<(u32, String)> = link::addresses(&mut socket)
        .expect("addresses")
        .into_iter()
        .map(|(index, net)| (index, net.to_string()))
        .collect();
    addresses.sort();
    let quiet = link::PROMISCUOUS | link::ALL_MULTICAST | link::UP;
    Trace {
        links: list.into_iter().map(|l| (l.name, l.flags & quiet, l.master)).collect(),
        addresses,
        routes,
        programs,
    }
}

/// Returns the IPv6 addresses of a namespace that are good beyond one link.
pub fn global_v6(space: &Space) -> Vec<IpAddr> {
    let list = space.at(|| link::addresses(&mut socket())).expect("addresses").into_iter();
    let global = |ip: &IpAddr| matches!(ip, IpAddr::V6(a) if !a.is_loopback() && !a.is_unicast_link_local());
    list.map(|(_, net)| net.addr()).filter(global).collect()
}

/// Waits until something holds, and says whether it does.
pub fn soon(mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(10);
    while !holds() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

/// Lines of a spec: one `net` with these properties.
pub fn net(pairs: &[(&str, &str)]) -> String {
    resource("net", pairs)
}

pub fn resource(kind: &str, pairs: &[(&str, &str)]) -> String {
    let mut text = format!("add {kind}\n");
    for (name, value) in pairs {
        text.push_str(&format!("set {name}=\"{value}\"\n"));
    }
    text + "end\n"
}

/// Lines of a shared zone on `eth0` with both kinds of address.
pub fn shared(last: &str) -> String {
    net(&[("physical", "eth0"), ("address", &format!("192.0.2.{last}/24")), ("defrouter", "192.0.2.254")])
        + &net(&[("physical", "eth0"), ("address", &format!("2001:db8::{last}/64"))])
}

/// Lines of an exclusive zone with one such `net`.
pub fn exclusive(pairs: &[(&str, &str)]) -> String {
    format!("set ip-type=exclusive\n{}", net(pairs))
}

/// Opens a connection from one namespace to an address in another and sends a word both ways. Returns
/// who the listener saw.
pub fn tcp(from: &Space, to: &Space, address: &str) -> Result<IpAddr, String> {
    let listener = to.at(|| TcpListener::bind((ip(address), 0))).map_err(|e| format!("listen: {e}"))?;
    let port = listener.local_addr().map_err(|e| e.to_string())?.port();
    let limit = Duration::from_secs(4);
    let target = SocketAddr::new(ip(address), port);
    let mut client =
        from.at(|| TcpStream::connect_timeout(&target, limit)).map_err(|e| format!("connect: {e}"))?;
    let (mut server, peer) = listener.accept().map_err(|e| format!("accept: {e}"))?;
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(limit)).map_err(|e| e.to_string())?;
    }
    let mut word = [0; 5];
    client
        .write_all(b"there")
        .and_then(|()| server.read_exact(&mut word))
        .map_err(|e| format!("there: {e}"))?;
    server
        .write_all(b"again")
        .and_then(|()| client.read_exact(&mut word))
        .map_err(|e| format!("again: {e}"))?;
    assert_eq!(&word, b"again");
    Ok(peer.ip())
}

/// The same where nothing must come through.
pub fn no_tcp(from: &Space, to: &Space, address: &str) {
    let listener = to.at(|| TcpListener::bind((ip(address), 0))).expect("listen");
    let port = listener.local_addr().expect("an address").port();
    let target = SocketAddr::new(ip(address), port);
    let reached = from.at(|| TcpStream::connect_timeout(&target, IN_VAIN));
    assert!(reached.is_err(), "{address} must not be reached");
}

/// Sends a datagram and waits for it; with an address to send from.
pub fn udp(from: &Space, source: Option<&str>, to: &Space, address: &str) -> Result<IpAddr, String> {
    let server = to.at(|| UdpSocket::bind((ip(address), 0))).map_err(|e| format!("bind: {e}"))?;
    server.set_read_timeout(Some(IN_VAIN)).map_err(|e| e.to_string())?;
    let any = if address.contains(':') { "::" } else { "0.0.0.0" };
    let client =
        from.at(|| UdpSocket::bind((ip(source.unwrap_or(any)), 0))).map_err(|e| format!("bind: {e}"))?;
    let target = server.local_addr().map_err(|e| e.to_string())?;
    client.send_to(b"word", target).map_err(|e| format!("send: {e}"))?;
    let mut buffer = [0; 8];
    server.recv_from(&mut buffer).map(|(_, from)| from.ip()).map_err(|e| format!("receive: {e}"))
}

/// All of these reach each other, in both directions, over TCP and UDP. Each is a namespace with its
/// address there.
pub fn all_reach(ends: &[(&str, &Space, &str)]) {
    for (from_name, from, source) in ends {
        for (to_name, to, address) in ends {
            if from_name == to_name || source.contains(':') != address.contains(':') {
                continue;
            }
            let way = format!("{from_name} to {to_name} ({address})");
            assert_eq!(tcp(from, to, address), Ok(ip(source)), "tcp {way}");
            assert_eq!(udp(from, Some(source), to, address), Ok(ip(source)), "udp {way}");
        }
    }
}

/// Returns the default routes of a namespace.
pub fn gateways(space: &Space) -> Vec<IpAddr> {
    let list = space.at(|| route::defaults(&mut socket())).expect("routes");
    list.into_iter().filter_map(|d| d.gateway).collect()
}
