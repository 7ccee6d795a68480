//! Links of a zone: made, and removed again, in network namespaces that a process makes for itself. An ordinary user can
//! do all but load the rules of a link, which takes a right of the host: up to there the tests run as one, and on from
//! there as root.

#![allow(clippy::disallowed_methods)]

mod ordinary;

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use ordinary::{Sleeper, become_ordinary, stay_root};
use zones::apply::net::{Network, PortRemoval, Probe, ProgramsAhead, hand_over, remove};
use zones::apply::paths::Root;
use zones::plan::net::{LinkMode, Mac, ZoneLink};
use zones::sys::bpf::BpfProgram;
use zones::sys::channel::{Channel, Message};
use zones::sys::netlink::Socket;
use zones::sys::netlink::codec::Builder;
use zones::sys::netlink::filter::{self, Direction};
use zones::sys::netlink::link::{self, Link, LinkChange, Near, VethPeer};
use zones::sys::ns::{self, Kinds};
use zones::sys::process::start_time;

fn main() {
    ordinary::run_as(&[
        ("a_link_that_is_moved_has_addresses_and_routes", become_ordinary, moved),
        ("a_link_that_cannot_be_moved_is_told", become_ordinary, not_moved),
        ("a_pair_that_cannot_be_made_leaves_nothing", become_ordinary, not_paired),
        ("a_port_of_others_is_left_alone", become_ordinary, port_of_others),
        ("a_link_is_made_and_removed_in_each_way", stay_root, made_and_removed),
        ("a_link_that_cannot_be_connected_leaves_nothing", stay_root, not_connected),
        ("a_program_that_was_made_ahead_is_used_while_it_fits", stay_root, made_ahead),
    ]);
}

const CLAIMS: &str = "/run/zones/.net";
const WAYS: [LinkMode; 4] = [LinkMode::Shared, LinkMode::Own, LinkMode::Bridge, LinkMode::Wire];

fn socket() -> Socket {
    Socket::open().expect("netlink")
}

fn look(name: &str) -> Option<Link> {
    link::named(&mut socket(), name).expect("an answer")
}

fn find(name: &str) -> Link {
    look(name).unwrap_or_else(|| panic!("no link {name}"))
}

/// Makes a link whose other end is in a network namespace of a machine outside, and switches it on.
fn cable(name: &str, outside: &OwnedFd) -> Link {
    let last = u8::try_from(name.len()).expect("short");
    let near = Near { name, mac: Some([2, 0, 0, 0, 1, last]), mtu: 1500 };
    let far = VethPeer { name, namespace: outside.as_fd(), mac: [2, 0, 0, 0, 2, last], mtu: 1500 };
    link::add_pair(&mut socket(), near, far).expect("a pair");
    up(name)
}

fn up(name: &str) -> Link {
    let up = LinkChange { set: link::UP, no_link_local: true, ..LinkChange::default() };
    link::change(&mut socket(), find(name).index, &up).expect("up");
    find(name)
}

/// Makes a bridge; none, and told aloud, where the kernel has no bridges.
fn bridge(name: &str) -> Option<Link> {
    let (newlink, create, ifname, linkinfo, info_kind) = (16, 0x600, 3, 18, 1);
    let request = Builder::new(newlink, create).fixed(&[0; 16]).text(ifname, name);
    match socket().change(request.nest(linkinfo, |b| b.text(info_kind, "bridge"))) {
        Ok(()) => Some(up(name)),
        Err(e) => {
            eprintln!("SKIPPED: no bridge can be made: {e}");
            None
        }
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A link of the host, and the network namespaces of a zone and of a machine outside.
struct World {
    lower: Link,
    zone: Sleeper,
    outside: Sleeper,
}

impl World {
    fn new() -> Self {
        Self::with(|outside| Some(cable("eth0", outside))).expect("a link")
    }

    /// A world for a way to the host's link; none where that link cannot be made.
    fn for_way(way: LinkMode) -> Option<Self> {
        if way == LinkMode::Bridge { Self::with(|_| bridge("eth0")) } else { Some(Self::new()) }
    }

    fn with(make: impl FnOnce(&OwnedFd) -> Option<Link>) -> Option<Self> {
        fs::create_dir_all("/run/zones").expect("a folder");
        let space = || Sleeper::start(Kinds::NET, || ns::loopback_up().expect("up"));
        let (zone, outside) = (space(), space());
        let lower = make(&outside.namespace("net"))?;
        let host = "192.0.2.1/24".parse().expect("an address");
        link::add_address(&mut socket(), lower.index, &host).expect("an address");
        Some(Self { lower, zone, outside })
    }

    fn more(&self, name: &str) -> Link {
        cable(name, &self.outside.namespace("net"))
    }

    /// Does something in the network namespace of the zone.
    fn inside<T>(&self, work: impl FnOnce() -> T) -> T {
        let here = ns::own_network().expect("a namespace");
        ns::join(self.zone.namespace("net").as_fd(), Kinds::NET).expect("the zone's");
        let done = work();
        ns::join(here.as_fd(), Kinds::NET).expect("back");
        done
    }

    fn link(&self, way: LinkMode) -> ZoneLink {
        let own = Mac([2, 0, 0, 0, 0, 9]);
        let lower_mac = Mac(self.lower.mac.expect("an address"));
        ZoneLink {
            what: "anet linkname=net0".into(),
            name: "net0".into(),
            port: "zport".into(),
            port_mac: Mac([0xfe, 0, 0, 0, 0, 9]),
            lower: "eth0".into(),
            lower_index: self.lower.index,
            lower_mac,
            // No one is asked for the addresses.
            lower_flags: self.lower.flags | link::NO_ARP,
            way,
            mac: if way == LinkMode::Shared { lower_mac } else { own },
            mtu: 1400,
            lower_mtu: 1500,
            addresses: ["192.0.2.9/24", "2001:db8::9/64"].map(|a| a.parse().expect("an address")).to_vec(),
            routers: vec![ip("192.0.2.254")],
            zone: "zion".into(),
            claims: PathBuf::from(CLAIMS),
            ..ZoneLink::default()
        }
    }

    /// Makes the link of a zone; the text of the error when it cannot be.
    fn make(&self, wanted: &ZoneLink) -> Result<Vec<String>, String> {
        self.make_in(wanted, || Ok(self.zone.namespace("net")))
    }

    fn make_in(
        &self,
        wanted: &ZoneLink,
        namespace: impl FnOnce() -> io::Result<OwnedFd>,
    ) -> Result<Vec<String>, String> {
        self.make_with(wanted, ProgramsAhead::default(), namespace)
    }

    fn make_with(
        &self,
        wanted: &ZoneLink,
        ahead: ProgramsAhead<'_>,
        namespace: impl FnOnce() -> io::Result<OwnedFd>,
    ) -> Result<Vec<String>, String> {
        let links = std::slice::from_ref(wanted);
        let network = Probe::begin(links).and_then(|asked| Network::begin(links, asked, ahead));
        let mut network = network.expect("netlink").expect("a link");
        let made = network.make(&Root::new(Some(Path::new("/tmp"))), wanted, namespace);
        made.map(|()| network.warnings.clone()).map_err(|e| e.to_string())
    }

    /// Makes a link, which must fail, and removes what there is of it: nothing of it is left then.
    fn fails(&self, wanted: &ZoneLink) -> String {
        let before = State::now();
        let text = self.make(wanted).expect_err("it must fail");
        assert_eq!(remove(&wanted.remains(), PortRemoval::Awaited), Vec::<String>::new(), "{text}");
        assert_eq!(State::now(), before, "{text}");
        assert_eq!(self.inside(|| look(&wanted.name)), None, "{text}");
        text
    }
}

/// The host's links, addresses, routes and programs, to compare two moments.
#[derive(Debug, PartialEq, Eq)]
struct State {
    links: Vec<String>,
    addresses: Vec<String>,
    routes: Vec<String>,
    programs: Vec<usize>,
    claims: Vec<PathBuf>,
}

impl State {
    fn now() -> Self {
        let links = link::all(&mut socket()).expect("links");
        let of_link = |l: &Link| {
            let flags = l.flags & (link::UP | link::PROMISCUOUS | link::ALL_MULTICAST);
            format!("{} {flags:x} {:?} {:?} {:?}", l.name, l.mac, l.master, l.alias)
        };
        let mut claims = Vec::new();
        files(Path::new(CLAIMS), &mut claims);
        let mut addresses = link::addresses(&mut socket()).expect("addresses");
        addresses.retain(|(_, net)| !net.addr().is_loopback() && is_given(&net.addr()));
        let index = look("eth0").map(|l| l.index);
        let ways = index.into_iter().flat_map(|i| [(i, Direction::In), (i, Direction::Out)]);
        Self {
            links: links.iter().map(of_link).collect(),
            addresses: addresses.iter().map(|(index, net)| format!("{index} {net}")).collect(),
            routes: routes(),
            programs: ways.map(|(i, way)| filter::count(&mut socket(), i, way).unwrap_or(0)).collect(),
            claims,
        }
    }
}

/// Returns the routes to addresses of the tests: link and destination.
fn routes() -> Vec<String> {
    let read = |file: &str| fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default();
    let four = read("route");
    let four = four.lines().skip(1).map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| u32::from_str_radix(words[at], 16).expect("a number").swap_bytes();
        let dotted = |at: usize| std::net::Ipv4Addr::from_bits(number(at));
        format!("{} {}/{} via {}", words[0], dotted(1), number(7).count_ones(), dotted(2))
    });
    four.collect()
}

/// Lists a folder and all in it.
fn files(folder: &Path, list: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        list.push(entry.path());
        files(&entry.path(), list);
    }
    list.sort();
}

/// Returns the claims of this process for a zone.
fn claim_of(zone: &str) -> String {
    let pid = i32::try_from(std::process::id()).expect("a number");
    format!("{zone} {pid} {}", start_time(pid).expect("it lives"))
}

fn claims(names: &[&str]) {
    for name in names {
        let target = fs::read_link(format!("{CLAIMS}/eth0/{name}")).expect(name);
        assert_eq!(target, Path::new(&claim_of("zion")), "{name}");
    }
    let mut all = Vec::new();
    files(Path::new(CLAIMS), &mut all);
    assert_eq!(all.len(), 1 + names.len(), "{all:?}");
}

/// A link that is moved keeps its name.
fn to_move(w: &World) -> ZoneLink {
    ZoneLink {
        name: "eth0".into(),
        mtu: 1500,
        mac: Mac(w.lower.mac.expect("one")),
        ..w.link(LinkMode::Moved)
    }
}

fn moved() {
    let w = World::new();
    let wanted = ZoneLink { table: Some(12_200), beside: vec![ip("198.51.100.1")], ..to_move(&w) };
    assert_eq!(w.make(&wanted), Ok(Vec::new()));
    assert_eq!(look("eth0"), None, "the host has it no more");
    claims(&["192.0.2.9", "2001:db8::9", "link"]);
    w.inside(|| {
        let own = find("eth0");
        assert!(own.is_up());
        assert_eq!(own.mac, w.lower.mac);
        assert_eq!(addresses_of(&own), ["192.0.2.9/24", "2001:db8::9/64"]);
        let all = [
            "eth0 0.0.0.0/0 via 192.0.2.254",
            "eth0 192.0.2.0/24 via 0.0.0.0",
            "eth0 198.51.100.1/32 via 0.0.0.0",
        ];
        assert_eq!(routes(), all);
    });
    // Only a device of the machine comes back. Its claims are free also when it does not.
    let left = remove(&wanted.remains(), PortRemoval::Awaited);
    let why = "the kernel has not given the link back; it may be in another namespace, or unplugged";
    assert_eq!(left, [format!("link eth0 of zone zion: {why}")]);
    assert!(!Path::new(CLAIMS).exists());
}

/// Says whether the kernel has not made an address itself, which takes it a while.
fn is_given(ip: &IpAddr) -> bool {
    !matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// Returns the addresses of a link but for those that the kernel makes.
fn addresses_of(of: &Link) -> Vec<String> {
    let list = link::addresses(&mut socket()).expect("addresses");
    let mut list: Vec<_> = list
        .iter()
        .filter(|(index, net)| *index == of.index && is_given(&net.addr()))
        .map(|(_, net)| net.to_string())
        .collect();
    list.sort();
    list
}

fn not_moved() {
    let w = World::new();
    let wanted = to_move(&w);
    let before = State::now();
    // Another zone has it, or one of its addresses.
    for (name, why) in [
        ("link", "link 'eth0' is used by the non-global zone 'web'".to_owned()),
        ("2001:db8::9", "could not bring network interface up: address in use by".to_owned()),
    ] {
        fs::create_dir_all(format!("{CLAIMS}/eth0")).expect("a folder");
        let claim = PathBuf::from(format!("{CLAIMS}/eth0/{name}"));
        symlink(claim_of("web"), &claim).expect("a claim");
        let text = w.make(&wanted).expect_err(name);
        assert!(text.starts_with(&why), "{text}");
        assert_eq!(fs::read_link(&claim).expect("it stays"), Path::new(&claim_of("web")));
        fs::remove_dir_all(CLAIMS).expect("removed");
        assert_eq!(State::now(), before, "{text}");
        // A claim of a zone that runs no more is worth nothing.
        fs::create_dir_all(format!("{CLAIMS}/eth0")).expect("a folder");
        symlink("web 1 1", &claim).expect("a claim");
        let gone = ZoneLink { lower_index: 4711, ..wanted.clone() };
        let text = w.make(&gone).expect_err(name);
        let why = "failed to add network device: cannot move the link into the zone: ";
        assert!(text.starts_with(why), "{text}");
        claims(&["192.0.2.9", "2001:db8::9", "link"]);
        fs::remove_dir_all(CLAIMS).expect("removed");
        assert_eq!(State::now(), before, "{text}");
    }
    fs::write(CLAIMS, "").expect("written");
    let text = w.make(&wanted).expect_err("no folder");
    assert!(text.starts_with("cannot note the addresses: "), "{text}");
    fs::remove_file(CLAIMS).expect("removed");
    let no = || Err(io::ErrorKind::NotFound.into());
    let text = w.make_in(&wanted, no).expect_err("no namespace");
    assert!(text.starts_with("cannot open the network namespace: "), "{text}");
    let file = || fs::File::open("/proc/self/stat").map(Into::into);
    let text = w.make_in(&wanted, file).expect_err("no namespace");
    assert!(text.starts_with("cannot enter the zone's network namespace: "), "{text}");
    assert_eq!(State::now(), before, "nothing was claimed yet");
    // In the zone by then: nothing brings such a link back.
    for (number, spoil, why) in [
        (1, ZoneLink { name: "other".into(), ..wanted.clone() }, "the zone's link is gone"),
        (
            2,
            ZoneLink { addresses: vec!["ff02::9/64".parse().expect("one")], ..wanted.clone() },
            "cannot give it ff02::9/64: ",
        ),
        (
            3,
            ZoneLink { routers: vec![ip("192.0.2.9")], ..wanted.clone() },
            "cannot add the router 192.0.2.9: ",
        ),
    ] {
        let name = format!("eth{number}{}", "x".repeat(number));
        let lower = w.more(&name);
        let spoilt = ZoneLink {
            name: if spoil.name == "other" { spoil.name.clone() } else { name.clone() },
            lower: name.clone(),
            lower_index: lower.index,
            ..spoil
        };
        let text = w.make(&spoilt).expect_err(why);
        assert!(text.starts_with(why), "{text}");
        w.inside(|| assert!(look(&name).is_some()));
    }
}

/// Says whether an error is that of a user who loads rules.
fn is_of_rules(text: &str) -> bool {
    text == "bpf(2) is forbidden here, and without it addresses cannot be enforced"
        || text.starts_with("the kernel refuses the rules: ")
}

fn not_paired() {
    for way in WAYS {
        let Some(w) = World::for_way(way) else { continue };
        let wanted = w.link(way);
        // The rules are refused to a user, when both ends are there.
        let text = w.fails(&wanted);
        assert!(is_of_rules(&text), "{way:?}: {text}");
        w.inside(|| cable("net0", &w.outside.namespace("net")));
        let before = State::now();
        let text = w.make(&wanted).expect_err("its name is taken in the zone");
        assert!(text.starts_with("cannot make the link: "), "{way:?}: {text}");
        assert_eq!(look("zport"), None);
        assert_eq!(remove(&wanted.remains(), PortRemoval::Awaited), Vec::<String>::new());
        assert_eq!(State::now(), before);
        link::remove(&mut socket(), w.lower.index).expect("removed");
    }
}

fn port_of_others() {
    let w = World::new();
    let wanted = w.link(LinkMode::Own);
    // Of another program: neither replaced nor removed.
    for alias in ["zone web net0", "of another program"] {
        let port = w.more("zport");
        let change = LinkChange { alias: Some(alias), ..LinkChange::default() };
        link::change(&mut socket(), port.index, &change).expect("an alias");
        let before = State::now();
        let text = w.make(&wanted).expect_err("taken");
        assert_eq!(text, "the host has a link 'zport' that is not this zone's");
        assert_eq!(remove(&wanted.remains(), PortRemoval::Awaited), Vec::<String>::new());
        assert_eq!(State::now(), before, "it is left alone");
        link::remove(&mut socket(), port.index).expect("removed");
    }
    // Left by a crash of the same zone, with its name and without: replaced, and removed.
    for alias in [Some("zone zion net0"), None] {
        let port = w.more("zport");
        let change = LinkChange { alias, ..LinkChange::default() };
        link::change(&mut socket(), port.index, &change).expect("an alias");
        let text = w.make(&wanted).expect_err("no rules for a user");
        assert!(is_of_rules(&text), "{text}");
        assert_ne!(find("zport").index, port.index, "another one");
        assert_eq!(remove(&wanted.remains(), PortRemoval::Awaited), Vec::<String>::new());
        assert_eq!(look("zport"), None);
        // The same without a boot between.
        let port = w.more("zport");
        link::change(&mut socket(), port.index, &change).expect("an alias");
        assert_eq!(remove(&wanted.remains(), PortRemoval::Awaited), Vec::<String>::new());
        assert_eq!(look("zport"), None);
    }
}

fn made_and_removed() {
    for way in WAYS {
        let Some(w) = World::for_way(way) else { continue };
        let beside = vec![(ip("198.51.100.9"), ip("192.0.2.1"))];
        let wanted = ZoneLink { beside_host: beside, maxbw: Some(8_000_000), ..w.link(way) };
        let before = State::now();
        let warnings = w.make(&wanted).unwrap_or_else(|e| panic!("{way:?}: {e}"));
        // A kernel without token buckets says so.
        assert!(warnings.iter().all(|w| w.contains("CONFIG_NET_SCH_TBF")), "{way:?}: {warnings:?}");
        let port = find("zport");
        assert!(port.is_up(), "{way:?}");
        assert_eq!(port.mac, Some([0xfe, 0, 0, 0, 0, 9]), "{way:?}");
        assert_eq!(port.alias.as_deref(), Some("zone zion net0"), "{way:?}");
        assert_eq!(port.master, (way == LinkMode::Bridge).then_some(w.lower.index), "{way:?}");
        assert_eq!(filter::count(&mut socket(), port.index, Direction::In).expect("an answer"), 1, "{way:?}");
        let new: Vec<_> = routes().into_iter().filter(|r| !before.routes.contains(r)).collect();
        assert_eq!(new, ["eth0 198.51.100.9/32 via 0.0.0.0"], "{way:?}");
        let names: &[&str] = if way == LinkMode::Wire {
            &["192.0.2.9", "2001:db8::9", "link"]
        } else {
            &["192.0.2.9", "2001:db8::9"]
        };
        claims(names);
        w.inside(|| {
            let own = find("net0");
            assert!(own.is_up(), "{way:?}");
            assert_eq!(own.mac, Some(wanted.mac.0), "{way:?}");
            assert_eq!(own.mtu, 1400, "{way:?}");
            assert_eq!(addresses_of(&own), ["192.0.2.9/24", "2001:db8::9/64"], "{way:?}");
            let all = ["net0 0.0.0.0/0 via 192.0.2.254", "net0 192.0.2.0/24 via 0.0.0.0"];
            assert_eq!(routes(), all, "{way:?}");
        });
        assert_eq!(remove(&wanted.remains(), PortRemoval::Awaited), Vec::<String>::new(), "{way:?}");
        assert_eq!(State::now(), before, "{way:?}");
        assert_eq!(w.inside(|| look("net0")), None, "{way:?}");
        // A thing that is gone is no error, and no program is possible on the host's link any more.
        assert_eq!(remove(&wanted.remains(), PortRemoval::Awaited), Vec::<String>::new(), "{way:?}");
        assert!(filter::prepare(&mut socket(), w.lower.index).expect("an answer"), "{way:?}");
        link::remove(&mut socket(), w.lower.index).expect("removed");
        assert_eq!(remove(&wanted.remains(), PortRemoval::Awaited), Vec::<String>::new(), "{way:?}");
    }
}

/// Has the programs of a link made ahead. Returns the channel by which they come, and the number of the port's.
fn ahead_of(wanted: &ZoneLink) -> (Channel, u32) {
    let ((theirs, sent), (ours, on)) = (channel(), channel());
    hand_over(std::slice::from_ref(wanted), &theirs);
    let Message { text, fds } = sent.receive().expect("the programs");
    let guard = fs::read_to_string(format!("/proc/self/fdinfo/{}", fds[0].as_raw_fd())).expect("what it is");
    let id = guard.lines().find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok());
    on.send(&text, &fds.iter().map(AsFd::as_fd).collect::<Vec<_>>()).expect("passed on");
    (ours, id.expect("a number"))
}

fn channel() -> (Channel, Channel) {
    Channel::pair().expect("a channel")
}

/// Returns the number of the program on a link.
fn program_on(link: &str, way: Direction) -> u32 {
    let found = filter::find(&mut socket(), find(link).index, way).expect("an answer");
    found.unwrap_or_else(|| panic!("no program on {link}")).id
}

fn made_ahead() {
    let maps = |id| BpfProgram::by_id(id).and_then(|program| program.maps()).expect("its maps");
    for way in WAYS {
        let Some(w) = World::for_way(way) else { continue };
        let before = State::now();
        let inside = || Ok(w.zone.namespace("net"));
        let wanted = w.link(way);
        let (channel, guard) = ahead_of(&wanted);
        assert_eq!(State::now(), before, "{way:?}: nothing is on a link yet");
        let made = w.make_with(&wanted, ProgramsAhead::by(&channel), inside);
        assert_eq!(made, Ok(Vec::new()), "{way:?}");
        assert_eq!(program_on("zport", Direction::In), guard, "{way:?}");
        assert_eq!(remove(&wanted.remains(), PortRemoval::Awaited), Vec::<String>::new(), "{way:?}");
        assert_eq!(State::now(), before, "{way:?}");
        // The last zone on the link has gone meanwhile, and the first one of another turn has come.
        let other = |n: u8| ZoneLink {
            zone: "web".into(),
            port: format!("zother{n}"),
            name: format!("net{n}"),
            port_mac: Mac([0xfe, 0, 0, 0, 1, n]),
            mac: if way == LinkMode::Shared { wanted.mac } else { Mac([2, 0, 0, 0, 1, n]) },
            addresses: vec!["192.0.2.10/24".parse().expect("an address")],
            ..wanted.clone()
        };
        let looked_for = matches!(way, LinkMode::Shared | LinkMode::Own);
        for comes in [false, true].into_iter().filter(|_| looked_for) {
            assert_eq!(w.make(&other(1)), Ok(Vec::new()), "{way:?}");
            let (channel, guard) = ahead_of(&wanted);
            assert_eq!(remove(&other(1).remains(), PortRemoval::Awaited), Vec::<String>::new(), "{way:?}");
            if comes {
                assert_eq!(w.make(&other(2)), Ok(Vec::new()), "{way:?}");
            }
            let made = w.make_with(&wanted, ProgramsAhead::by(&channel), inside);
            assert_eq!(made, Ok(Vec::new()), "{way:?}");
            let own = program_on("zport", Direction::In);
            assert_ne!(own, guard, "{way:?}");
            // It looks for its neighbours where they are.
            assert_eq!(maps(own)[0], maps(program_on("eth0", Direction::In))[0], "{way:?}");
            for gone in [&wanted, &other(2)] {
                assert_eq!(remove(&gone.remains(), PortRemoval::Awaited), Vec::<String>::new(), "{way:?}");
            }
            assert_eq!(State::now(), before, "{way:?}");
        }
        link::remove(&mut socket(), w.lower.index).expect("removed");
    }
}

fn not_connected() {
    for way in WAYS {
        let Some(w) = World::for_way(way) else { continue };
        let good = w.link(way);
        let gone = match way {
            LinkMode::Bridge => "cannot switch the port on: ",
            _ => "cannot prepare the link for rules: ",
        };
        for (spoilt, why) in [
            (
                ZoneLink { routers: vec![ip("192.0.2.9")], ..good.clone() },
                "cannot add the router 192.0.2.9: ",
            ),
            (
                ZoneLink { beside_host: vec![(ip("203.0.113.9"), ip("203.0.113.2"))], ..good.clone() },
                "cannot add the host's route to 203.0.113.9: ",
            ),
            (
                ZoneLink { addresses: vec!["ff02::9/64".parse().expect("one")], ..good.clone() },
                "cannot give it ff02::9/64: ",
            ),
            (ZoneLink { lower_index: 4711, ..good.clone() }, gone),
        ] {
            let text = w.fails(&spoilt);
            assert!(text.starts_with(why), "{way:?}: {text}");
        }
        // Another zone has it meanwhile: its port is left alone.
        if way == LinkMode::Shared || way == LinkMode::Own {
            assert_eq!(w.make(&good), Ok(Vec::new()), "{way:?}");
            let other = ZoneLink {
                zone: "web".into(),
                name: "net1".into(),
                port: "zother".into(),
                claims: "/run/zones/.other".into(),
                ..good.clone()
            };
            let text = w.fails(&other);
            let why = "could not bring network interface up: address in use by zone 'zion': ";
            assert!(text.starts_with(why), "{way:?}: {text}");
            assert!(find("zport").is_up());
            assert_eq!(remove(&good.remains(), PortRemoval::Awaited), Vec::<String>::new(), "{way:?}");
        }
        link::remove(&mut socket(), w.lower.index).expect("removed");
    }
}
