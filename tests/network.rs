//! Networks of zones with real traffic: a host, zones on it, and something outside, each in a network
//! namespace of the test's own.

mod net;

use std::time::Duration;

use net::raw::{ALL, Heard, Raw, arp, discovery, packet};
use net::{
    World, all_reach, exclusive, find, gateways, give, ip, make, net, no_tcp, resource, set_mac, shared,
    socket, tcp, udp, up,
};
use zones::sys::netlink::link::{self, Change};
use zones::sys::netlink::route;

/// Long enough for a frame to come through, also on a busy machine.
const SOON: Duration = Duration::from_millis(400);

#[test]
fn a_shared_zone_is_reached_and_reaches() {
    let Some(w) = World::new() else { return };
    let zion = w.boot("zion", &shared("7"));
    let web = w.boot("web", &shared("8"));
    all_reach(&[
        ("host", &w.host, "192.0.2.1"),
        ("zion", &zion, "192.0.2.7"),
        ("web", &web, "192.0.2.8"),
        ("outside", &w.outside, "192.0.2.254"),
        ("host", &w.host, "2001:db8::1"),
        ("zion", &zion, "2001:db8::7"),
        ("web", &web, "2001:db8::8"),
        ("outside", &w.outside, "2001:db8::fe"),
    ]);
    // Behind the router.
    assert_eq!(tcp(&zion, &w.outside, "198.51.100.1"), Ok(ip("192.0.2.7")));
    assert_eq!(gateways(&zion), [ip("192.0.2.254")]);
    // As the spec names it, and nothing besides.
    let names: Vec<String> =
        zion.at(|| link::all(&mut socket()).expect("links")).into_iter().map(|l| l.name).collect();
    assert_eq!(names, ["lo", "eth0"]);
    // The host forwards nothing for that.
    for file in ["ipv4/ip_forward", "ipv6/conf/all/forwarding", "ipv4/conf/eth0/proxy_arp"] {
        let value = std::fs::read_to_string(format!("/proc/sys/net/{file}")).expect("a setting");
        assert_eq!(value.trim(), "0", "{file}");
    }
    w.end(&["zion", "web"]);
}

#[test]
fn several_addresses_several_links() {
    let Some(mut w) = World::new() else { return };
    w.cable("eth1", "out1");
    w.outside.at(|| give("out1", "203.0.113.126/25"));
    w.settle();
    let lines = shared("7")
        + &net(&[("physical", "eth0"), ("address", "192.0.2.70/24")])
        + &net(&[("physical", "eth0"), ("address", "2001:db8::70/64")])
        + &net(&[("physical", "eth1"), ("address", "203.0.113.7/25")]);
    let zion = w.boot("zion", &lines);
    for (mine, theirs) in [
        ("192.0.2.7", "192.0.2.254"),
        ("192.0.2.70", "192.0.2.254"),
        ("2001:db8::70", "2001:db8::fe"),
        ("203.0.113.7", "203.0.113.126"),
    ] {
        assert_eq!(udp(&zion, Some(mine), &w.outside, theirs), Ok(ip(mine)));
        assert!(tcp(&w.outside, &zion, mine).is_ok(), "{mine}");
    }
    let mut names: Vec<String> =
        zion.at(|| link::all(&mut socket()).expect("links")).into_iter().map(|l| l.name).collect();
    names.sort();
    assert_eq!(names, ["eth0", "eth1", "lo"]);
    let nets: Vec<String> = zion
        .at(|| link::addresses(&mut socket()).expect("addresses"))
        .into_iter()
        .map(|(_, n)| n.to_string())
        .filter(|n| n.starts_with("203"))
        .collect();
    assert_eq!(nets, ["203.0.113.7/25"]);
    w.end(&["zion"]);
}

#[test]
fn a_zone_and_a_host_of_other_subnets_reach_each_other() {
    let Some(w) = World::new() else { return };
    let zion = w.boot("zion", &net(&[("physical", "eth0"), ("address", "10.7.7.7/24")]));
    assert_eq!(tcp(&w.host, &zion, "10.7.7.7"), Ok(ip("192.0.2.1")));
    assert_eq!(tcp(&zion, &w.host, "192.0.2.1"), Ok(ip("10.7.7.7")));
    w.end(&["zion"]);
}

#[test]
fn without_a_router_the_hosts_router_serves() {
    let Some(mut w) = World::new() else { return };
    let index = find("eth0").index;
    route::add_default(&mut socket(), index, &ip("192.0.2.254"), 0).expect("a route");
    w.settle();
    let zion = w.boot("zion", &net(&[("physical", "eth0"), ("address", "192.0.2.7/24")]));
    assert_eq!(tcp(&zion, &w.outside, "198.51.100.1"), Ok(ip("192.0.2.7")));
    w.end(&["zion"]);
}

/// A bridge `br0` that has the host's addresses and `out0` behind one of its ports.
fn bridged() -> Option<World> {
    let mut w = World::empty()?;
    if !make("bridge", "br0", |b| b) {
        return None;
    }
    w.cable("port0", "out0");
    let (bridge, port) = (find("br0").index, find("port0").index);
    link::change(&mut socket(), port, &Change { master: Some(bridge), ..Change::default() }).expect("a port");
    up(&mut socket(), "br0");
    give("br0", "192.0.2.1/24");
    give("br0", "2001:db8::1/64");
    w.outside.at(|| {
        give("out0", "192.0.2.254/24");
        give("out0", "2001:db8::fe/64");
    });
    w.settle();
    Some(w)
}

#[test]
fn shared_on_a_bridge() {
    let Some(w) = bridged() else { return };
    let on_bridge = |last: &str| shared(last).replace("eth0", "br0");
    let zion = w.boot("zion", &on_bridge("7"));
    let web = w.boot("web", &on_bridge("8"));
    all_reach(&[
        ("host", &w.host, "192.0.2.1"),
        ("zion", &zion, "192.0.2.7"),
        ("web", &web, "192.0.2.8"),
        ("outside", &w.outside, "192.0.2.254"),
        ("host", &w.host, "2001:db8::1"),
        ("zion", &zion, "2001:db8::7"),
        ("web", &web, "2001:db8::8"),
        ("outside", &w.outside, "2001:db8::fe"),
    ]);
    held_to(&w, &zion, "br0", "br0");
    w.end(&["zion", "web"]);
}

#[test]
fn shared_on_a_dummy_link() {
    let Some(mut w) = World::empty() else { return };
    if !make("dummy", "dummy0", |b| b) {
        return;
    }
    up(&mut socket(), "dummy0");
    give("dummy0", "192.0.2.1/24");
    give("dummy0", "2001:db8::1/64");
    w.settle();
    let on = |last: &str| shared(last).replace("eth0", "dummy0");
    let zion = w.boot("zion", &on("7"));
    let web = w.boot("web", &on("8"));
    all_reach(&[
        ("host", &w.host, "192.0.2.1"),
        ("zion", &zion, "192.0.2.7"),
        ("web", &web, "192.0.2.8"),
        ("host", &w.host, "2001:db8::1"),
        ("zion", &zion, "2001:db8::7"),
        ("web", &web, "2001:db8::8"),
    ]);
    w.end(&["zion", "web"]);
}

#[test]
fn shared_on_a_vlan_link() {
    let Some(mut w) = World::new() else { return };
    let made = |lower: u32| make("vlan", "vlan42", |b| b.number(5, lower));
    if !made(find("eth0").index) {
        return;
    }
    w.outside.at(|| made(find("out0").index));
    up(&mut socket(), "vlan42");
    give("vlan42", "10.42.0.1/24");
    w.outside.at(|| {
        up(&mut socket(), "vlan42");
        give("vlan42", "10.42.0.254/24");
    });
    w.settle();
    let zion = w.boot("zion", &net(&[("physical", "vlan42"), ("address", "10.42.0.7/24")]));
    all_reach(&[
        ("host", &w.host, "10.42.0.1"),
        ("zion", &zion, "10.42.0.7"),
        ("outside", &w.outside, "10.42.0.254"),
    ]);
    w.end(&["zion"]);
}

/// Root of a zone that is held to 192.0.2.7 and 2001:db8::7 on `name` tries everything else. `lower` is
/// the host's link.
fn held_to(w: &World, zone: &net::Space, name: &str, lower: &str) {
    let mine = zone.at(|| find(name)).mac.expect("an address");
    let gate = w.outside.at(|| find("out0")).mac.expect("an address");
    let host = find(lower).mac.expect("an address");
    let other = [2, 0xbb, 0, 0, 0, 9];
    let me6 = "2001:db8::7";
    let outside = w.outside.at(|| Raw::open("out0", true));
    let inner = Raw::open(lower, true);
    let raw = zone.at(|| Raw::open(name, false));
    let from = |mac: [u8; 6], to: [u8; 6], source: &str, target: &str| {
        packet(to, mac, ip(source), ip(target), b"a frame of a test")
    };
    let seen = |frames: &[Vec<u8>], heard: &[Heard]| {
        let is = |h: &Heard, f: &Vec<u8>| h.frame.starts_with(f);
        frames.iter().position(|f| heard.iter().any(|h| is(h, f)))
    };
    // What is right comes through: so what does not is kept back by the rules.
    let good = [
        from(mine, gate, "192.0.2.7", "192.0.2.254"),
        from(mine, gate, me6, "2001:db8::fe"),
        arp(2, mine, mine, "192.0.2.7", "192.0.2.254"),
        discovery(136, mine, me6, me6, mine),
    ];
    for (number, frame) in good.iter().enumerate() {
        raw.send(frame);
        let heard = outside.heard(SOON);
        assert!(
            seen(std::slice::from_ref(frame), &heard).is_some(),
            "good frame {number} is not seen outside"
        );
    }
    let to_host = [from(mine, host, "192.0.2.7", "192.0.2.1")];
    raw.send(&to_host[0]);
    assert!(seen(&to_host, &inner.heard(SOON)).is_some(), "the host is not reached");

    let mut tagged = good[0].clone();
    tagged.splice(12..12, [0x81, 0, 0, 42]);
    let mut hidden = discovery(136, mine, me6, "2001:db8::fe", mine);
    // Destination options between IPv6 and the message.
    hidden[20] = 60;
    hidden.splice(54..54, [58, 0, 1, 4, 0, 0, 0, 0]);
    hidden[19] += 8;
    let forged = [
        // Other addresses: a neighbour's, the host's, the router's, anybody's.
        from(mine, gate, "192.0.2.8", "192.0.2.254"),
        from(mine, gate, "192.0.2.1", "192.0.2.254"),
        from(mine, host, "192.0.2.254", "192.0.2.1"),
        from(mine, host, "192.0.2.8", "192.0.2.1"),
        from(mine, gate, "198.18.0.1", "192.0.2.254"),
        from(mine, gate, "2001:db8::8", "2001:db8::fe"),
        from(mine, host, "2001:db8::fe", "2001:db8::1"),
        // Other link-layer addresses.
        from(other, gate, "192.0.2.7", "192.0.2.254"),
        from(gate, host, "192.0.2.7", "192.0.2.1"),
        from(other, gate, me6, "2001:db8::fe"),
        // ARP for others.
        arp(2, mine, mine, "192.0.2.254", "192.0.2.1"),
        arp(2, mine, mine, "192.0.2.8", "192.0.2.254"),
        arp(1, mine, mine, "192.0.2.1", "192.0.2.254"),
        arp(1, mine, mine, "192.0.2.8", "192.0.2.8"),
        arp(2, mine, other, "192.0.2.7", "192.0.2.254"),
        arp(2, other, mine, "192.0.2.7", "192.0.2.254"),
        // Neighbour discovery for others, and a router's.
        discovery(136, mine, me6, "2001:db8::fe", mine),
        discovery(136, mine, "2001:db8::fe", "2001:db8::fe", mine),
        discovery(136, mine, me6, me6, other),
        discovery(135, mine, "2001:db8::8", "2001:db8::fe", mine),
        discovery(135, mine, me6, "2001:db8::fe", other),
        discovery(134, mine, me6, me6, mine),
        hidden,
        tagged,
    ];
    let before = w.outside.at(|| neighbours(&["192.0.2.1", "192.0.2.8"]));
    for frame in &forged {
        raw.send(frame);
    }
    let (out, host_heard) = (outside.heard(SOON), inner.heard(SOON));
    for (where_, heard) in [("outside", &out), ("on the host", &host_heard)] {
        if let Some(number) = seen(&forged, heard) {
            panic!("forged frame {number} is seen {where_}: {:02x?}", forged[number]);
        }
    }
    assert_eq!(w.outside.at(|| neighbours(&["192.0.2.1", "192.0.2.8"])), before, "nobody believes it");

    // The same through the zone's own stack.
    zone.at(|| {
        give(name, "192.0.2.99/24");
        give(name, "2001:db8::99/64");
    });
    for (source, target) in [("192.0.2.99", "192.0.2.254"), ("2001:db8::99", "2001:db8::fe")] {
        assert!(udp(zone, Some(source), &w.outside, target).is_err(), "{source} reaches {target}");
        no_tcp(&w.outside, zone, source);
    }
    assert!(udp(zone, Some("192.0.2.99"), &w.host, "192.0.2.1").is_err());
    zone.at(|| set_mac(name, other));
    assert!(
        udp(zone, Some("192.0.2.7"), &w.outside, "192.0.2.254").is_err(),
        "with another link-layer address"
    );
    // As it was: its own address still serves it.
    zone.at(|| set_mac(name, mine));
    assert_eq!(udp(zone, Some("192.0.2.7"), &w.outside, "192.0.2.254"), Ok(ip("192.0.2.7")));
}

/// What `out0` knows of these addresses.
fn neighbours(ips: &[&str]) -> Vec<Option<[u8; 6]>> {
    let index = find("out0").index;
    ips.iter().map(|i| route::answer(&mut socket(), index, &ip(i)).expect("an answer")).collect()
}

#[test]
fn a_shared_zone_is_held_to_its_addresses() {
    let Some(w) = World::new() else { return };
    let zion = w.boot("zion", &shared("7"));
    held_to(&w, &zion, "eth0", "eth0");
    w.end(&["zion"]);
}

#[test]
fn a_zone_takes_nothing_that_is_for_another() {
    let Some(w) = World::new() else { return };
    let zion = w.boot("zion", &shared("7"));
    let web = w.boot("web", &shared("8"));
    // With the neighbour's address on its own link, and everything that comes taken.
    zion.at(|| {
        give("eth0", "192.0.2.8/24");
        give("eth0", "2001:db8::8/64");
    });
    let ear = zion.at(|| Raw::open("eth0", true));
    for from in [&w.host, &w.outside] {
        assert!(tcp(from, &web, "192.0.2.8").is_ok());
        assert!(tcp(from, &web, "2001:db8::8").is_ok());
    }
    assert!(tcp(&web, &w.outside, "192.0.2.254").is_ok());
    assert!(tcp(&web, &w.host, "2001:db8::1").is_ok());
    let heard = ear.heard(SOON);
    let theirs = |h: &&Heard| h.mentions(ip("192.0.2.8")) || h.mentions(ip("2001:db8::8"));
    // What it says itself, to make sure of its second address, goes nowhere, and does not count.
    let mac = zion.at(|| find("eth0")).mac.expect("an address");
    let foreign: Vec<_> = heard.iter().filter(theirs).filter(|h| h.sender_mac() != mac).collect();
    assert!(foreign.is_empty(), "{foreign:02x?}");
    assert!(tcp(&w.outside, &zion, "192.0.2.7").is_ok());
    let heard = ear.heard(SOON);
    assert!(heard.iter().any(|h| h.source() == Some(ip("192.0.2.254"))), "the ear works");
    w.end(&["zion", "web"]);
}

#[test]
fn an_exclusive_zone_on_an_ethernet_link() {
    let Some(w) = World::new() else { return };
    let own = |last: &str| {
        exclusive(&[
            ("physical", "net0"),
            ("global-nic", "eth0"),
            ("allowed-address", &format!("192.0.2.{last}/24,2001:db8::{last}/64")),
            ("defrouter", "192.0.2.254"),
        ])
    };
    let zion = w.boot("zion", &own("7"));
    let web = w.boot("web", &own("8"));
    let dns = w.boot("dns", &shared("9"));
    all_reach(&[
        ("host", &w.host, "192.0.2.1"),
        ("zion", &zion, "192.0.2.7"),
        ("web", &web, "192.0.2.8"),
        ("dns", &dns, "192.0.2.9"),
        ("outside", &w.outside, "192.0.2.254"),
        ("host", &w.host, "2001:db8::1"),
        ("zion", &zion, "2001:db8::7"),
        ("web", &web, "2001:db8::8"),
        ("dns", &dns, "2001:db8::9"),
        ("outside", &w.outside, "2001:db8::fe"),
    ]);
    assert_eq!(tcp(&zion, &w.outside, "198.51.100.1"), Ok(ip("192.0.2.7")));
    let macs: Vec<_> = [&zion, &web].map(|z| z.at(|| find("net0")).mac).to_vec();
    assert_ne!(macs[0], macs[1]);
    assert_ne!(macs[0], find("eth0").mac);
    held_to(&w, &zion, "net0", "eth0");
    w.end(&["zion", "web", "dns"]);
}

#[test]
fn an_exclusive_zone_on_a_bridge() {
    let Some(w) = bridged() else { return };
    let own = |last: &str| {
        exclusive(&[
            ("physical", "net0"),
            ("global-nic", "br0"),
            ("allowed-address", &format!("192.0.2.{last}/24,2001:db8::{last}/64")),
        ])
    };
    let zion = w.boot("zion", &own("7"));
    let web = w.boot("web", &own("8"));
    all_reach(&[
        ("host", &w.host, "192.0.2.1"),
        ("zion", &zion, "192.0.2.7"),
        ("web", &web, "192.0.2.8"),
        ("outside", &w.outside, "192.0.2.254"),
        ("zion", &zion, "2001:db8::7"),
        ("outside", &w.outside, "2001:db8::fe"),
    ]);
    held_to(&w, &zion, "net0", "br0");
    w.end(&["zion", "web"]);
}

#[test]
fn a_link_that_a_zone_has_for_itself() {
    let Some(mut w) = World::empty() else { return };
    w.cable("eth1", "out0");
    w.outside.at(|| {
        give("out0", "192.0.2.254/24");
        give("out0", "2001:db8::fe/64");
    });
    w.settle();
    let lines = exclusive(&[
        ("physical", "eth1"),
        ("allowed-address", "192.0.2.7/24,2001:db8::7/64"),
        ("defrouter", "192.0.2.254"),
    ]);
    let zion = w.boot("zion", &lines);
    all_reach(&[
        ("zion", &zion, "192.0.2.7"),
        ("outside", &w.outside, "192.0.2.254"),
        ("zion", &zion, "2001:db8::7"),
        ("outside", &w.outside, "2001:db8::fe"),
    ]);
    assert_eq!(zion.at(|| find("eth1")).mac, find("eth1").mac, "the link's own address");
    let foreign = w.refused("web", &net(&[("physical", "eth1"), ("address", "192.0.2.8/24")]));
    assert!(foreign.contains("link 'eth1' is used by the non-global zone 'zion'"), "{foreign}");
    w.end(&["zion"]);
}

#[test]
fn a_link_without_rules_is_the_zones_to_use() {
    let Some(mut w) = World::empty() else { return };
    w.cable("eth1", "out0");
    w.outside.at(|| give("out0", "192.0.2.254/24"));
    // It was off before, and is off again afterwards.
    let index = find("eth1").index;
    link::change(&mut socket(), index, &Change { clear: link::UP, ..Change::default() }).expect("off");
    w.settle();
    let zion = w.boot("zion", &exclusive(&[("physical", "eth1")]));
    zion.at(|| give("eth1", "192.0.2.66/24"));
    assert_eq!(tcp(&zion, &w.outside, "192.0.2.254"), Ok(ip("192.0.2.66")));
    assert_eq!(tcp(&w.outside, &zion, "192.0.2.66"), Ok(ip("192.0.2.254")));
    // Also with another link-layer address, and frames of any kind.
    zion.at(|| set_mac("eth1", [2, 0xcc, 0, 0, 0, 1]));
    assert_eq!(tcp(&zion, &w.outside, "192.0.2.254"), Ok(ip("192.0.2.66")));
    let (raw, ear) = (zion.at(|| Raw::open("eth1", false)), w.outside.at(|| Raw::open("out0", true)));
    let strange = net::raw::ethernet(ALL, [2, 0xdd, 0, 0, 0, 2], 0x88b5);
    raw.send(&strange);
    assert!(ear.heard(SOON).iter().any(|h| h.frame.starts_with(&strange)));
    w.end(&["zion"]);
}

#[test]
fn a_link_that_the_host_uses_is_not_given_away() {
    let Some(w) = World::new() else { return };
    let said = w.refused("zion", &exclusive(&[("physical", "eth0")]));
    assert!(said.contains("link 'eth0' is used in the global zone, where it has the address"), "{said}");
    let said = w.lab.run("zoneadm", &["-z", "zion", "verify"]);
    assert!(
        said.err.contains("WARNING: skipping network interface 'eth0' which is used in the global zone.")
    );
    w.end(&[]);
}

#[test]
fn zones_in_vlans() {
    let Some(w) = World::new() else { return };
    let own = |last: &str, vlan: &str| {
        exclusive(&[
            ("physical", "net0"),
            ("global-nic", "eth0"),
            ("vlan-id", vlan),
            ("mac-addr", &format!("2:8:20:0:0:{last}")),
            ("allowed-address", &format!("10.0.0.{last}/24")),
        ])
    };
    let one = w.boot("one", &own("1", "42"));
    let two = w.boot("two", &own("2", "42"));
    // The same address in another VLAN is another address.
    let three = w.boot("three", &own("1", "43").replace("0:0:1", "0:0:3"));
    assert_eq!(one.at(|| find("net0")).mac, Some([2, 8, 0x20, 0, 0, 1]));
    assert_eq!(tcp(&two, &one, "10.0.0.1"), Ok(ip("10.0.0.2")));
    assert_eq!(tcp(&one, &two, "10.0.0.2"), Ok(ip("10.0.0.1")));
    no_tcp(&three, &two, "10.0.0.2");
    // On the wire with their tags.
    let ear = w.outside.at(|| Raw::open("out0", true));
    let from_one = one.at(|| Raw::open("net0", false));
    let ask = arp(1, [2, 8, 0x20, 0, 0, 1], [2, 8, 0x20, 0, 0, 1], "10.0.0.1", "10.0.0.254");
    from_one.send(&ask);
    let heard = ear.heard(SOON);
    let seen = heard.iter().find(|h| h.frame.starts_with(&ask)).expect("the question is seen outside");
    assert_eq!(seen.vlan, Some(42));
    // And answered when asked in their VLAN, not in another or in none.
    let outside = [2, 0xaa, 0, 0, 0, 1];
    let ask = arp(1, outside, outside, "10.0.0.254", "10.0.0.2");
    let answered = |tag: Option<u8>| {
        let mut frame = ask.clone();
        if let Some(tag) = tag {
            frame.splice(12..12, [0x81, 0, 0, tag]);
        }
        ear.send(&frame);
        let heard = ear.heard(SOON);
        heard.iter().any(|h| h.frame[12..14] == [8, 6] && h.frame[21] == 2 && h.vlan == tag.map(u16::from))
    };
    assert!(answered(Some(42)));
    assert!(!answered(Some(43)));
    assert!(!answered(None));
    w.end(&["one", "two", "three"]);
}

#[test]
fn vlans_on_a_bridge() {
    let Some(w) = bridged() else { return };
    let own = |last: &str, vlan: &str| {
        exclusive(&[
            ("physical", "net0"),
            ("global-nic", "br0"),
            ("vlan-id", vlan),
            ("allowed-address", &format!("10.0.0.{last}/24")),
        ])
    };
    let one = w.boot("one", &own("1", "42"));
    let two = w.boot("two", &own("2", "42"));
    let three = w.boot("three", &own("3", "43"));
    assert_eq!(tcp(&two, &one, "10.0.0.1"), Ok(ip("10.0.0.2")));
    no_tcp(&three, &two, "10.0.0.2");
    w.end(&["one", "two", "three"]);
}

#[test]
fn a_link_made_on_the_hosts_default_link() {
    let Some(mut w) = World::new() else { return };
    w.lab.installed("zion", &format!("set ip-type=exclusive\n{}", resource("anet", &[])));
    let said = w.refused_again("zion");
    assert!(said.contains("could not verify anet linkname=net0: this host has no default route"), "{said}");
    let index = find("eth0").index;
    route::add_default(&mut socket(), index, &ip("192.0.2.254"), 0).expect("a route");
    w.settle();
    w.lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let zion = w.zone("zion");
    let mac = zion.at(|| find("net0")).mac.expect("an address");
    assert_eq!(mac[0] & 3, 2);
    // It asks for its address itself, and may have any.
    zion.at(|| give("net0", "192.0.2.66/24"));
    assert_eq!(tcp(&zion, &w.outside, "192.0.2.254"), Ok(ip("192.0.2.66")));
    // What is for all comes to it: a question of a host outside, an answer of a DHCP server.
    let (ear, mouth) = (zion.at(|| Raw::open("net0", false)), w.outside.at(|| Raw::open("out0", true)));
    let gate = w.outside.at(|| find("out0")).mac.expect("an address");
    let all = packet(ALL, gate, ip("192.0.2.254"), ip("255.255.255.255"), b"for all");
    mouth.send(&all);
    assert!(ear.heard(SOON).iter().any(|h| h.frame.starts_with(&all)));
    // And from it to all: outside and the host.
    let (mouth, ear, host) = (ear, mouth, Raw::open("eth0", false));
    let all = packet(ALL, mac, ip("0.0.0.0"), ip("255.255.255.255"), b"for all");
    mouth.send(&all);
    assert!(ear.heard(SOON).iter().any(|h| h.frame.starts_with(&all)));
    assert!(host.heard(SOON).iter().any(|h| h.frame.starts_with(&all)));
    w.lab.ok("zoneadm", &["-z", "zion", "reboot"]);
    assert_eq!(w.zone("zion").at(|| find("net0")).mac, Some(mac), "the same at every boot");
    w.end(&["zion"]);
}

#[test]
fn what_is_for_all_reaches_every_zone_of_its_own_link_once() {
    let Some(w) = World::new() else { return };
    let own = exclusive(&[("physical", "net0"), ("global-nic", "eth0")]);
    let (one, two) = (w.boot("one", &own), w.boot("two", &own));
    let mac = one.at(|| find("net0")).mac.expect("an address");
    let all = packet(ALL, mac, ip("10.0.0.1"), ip("255.255.255.255"), b"for all");
    let mouth = one.at(|| Raw::open("net0", false));
    let ears = [two.at(|| Raw::open("net0", false)), w.outside.at(|| Raw::open("out0", false))];
    mouth.send(&all);
    for ear in &ears {
        assert_eq!(ear.heard(SOON).iter().filter(|h| h.frame.starts_with(&all)).count(), 1);
    }
    // It does not come back: the socket sees it once, as it leaves.
    assert_eq!(mouth.heard(SOON).iter().filter(|h| h.frame.starts_with(&all)).count(), 0);
    // From outside, from the host.
    let gate = w.outside.at(|| find("out0")).mac.expect("an address");
    for (from, mouth) in [(gate, &ears[1]), (find("eth0").mac.expect("one"), &Raw::open("eth0", false))] {
        let all = packet(ALL, from, ip("10.0.0.9"), ip("255.255.255.255"), b"from there");
        mouth.send(&all);
        let ear = &ears[0];
        assert_eq!(ear.heard(SOON).iter().filter(|h| h.frame.starts_with(&all)).count(), 1);
    }
    w.end(&["one", "two"]);
}

/// How many bits per second come through in a second.
fn speed(from: &net::Space, to: &net::Space, address: &str) -> f64 {
    use std::io::{Read, Write};
    let listener = to.at(|| std::net::TcpListener::bind((ip(address), 0))).expect("listen");
    let target = listener.local_addr().expect("an address");
    let mut client = from.at(|| std::net::TcpStream::connect(target)).expect("connect");
    let (mut server, _) = listener.accept().expect("accept");
    let writer = std::thread::spawn(move || while client.write_all(&[7; 16_384]).is_ok() {});
    let mut buffer = vec![0; 65_536];
    let begun = std::time::Instant::now();
    let mut bytes = 0;
    while begun.elapsed() < Duration::from_millis(1500) {
        bytes += server.read(&mut buffer).expect("bytes");
    }
    let took = begun.elapsed().as_secs_f64();
    drop(server);
    writer.join().expect("it ends");
    f64::from(u32::try_from(bytes).expect("not that much")) * 8.0 / took
}

#[test]
fn bandwidth_is_limited_both_ways() {
    let Some(w) = World::new() else { return };
    let lines = |limit: &str| {
        let anet = [("lower-link", "eth0"), ("allowed-address", "192.0.2.7/24"), ("maxbw", limit)];
        format!("set ip-type=exclusive\n{}", resource("anet", &anet))
    };
    let zion = w.boot("zion", &lines("20M"));
    for (from, to, address) in [(&zion, &w.outside, "192.0.2.254"), (&w.outside, &zion, "192.0.2.7")] {
        let bits = speed(from, to, address);
        assert!((1e6..24e6).contains(&bits), "{bits} bit/s to {address}");
    }
    w.halt("zion");
    w.lab.run_with("zonecfg", &["-z", "zion"], &[], "select anet 0\nclear maxbw\nend\nexit\n");
    w.lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let free = speed(&w.zone("zion"), &w.outside, "192.0.2.254");
    assert!(free > 50e6, "{free} bit/s without a limit");
    w.end(&["zion"]);
}

#[test]
fn an_address_in_use_is_refused_with_who_has_it() {
    let Some(w) = World::new() else { return };
    w.boot("zion", &shared("7"));
    // A zone that runs.
    let said = w.refused("web", &net(&[("physical", "eth0"), ("address", "192.0.2.7/24")]));
    assert!(
        said.contains("could not bring network interface up: address in use by zone 'zion': 192.0.2.7"),
        "{said}"
    );
    let own = [("physical", "net0"), ("global-nic", "eth0"), ("allowed-address", "2001:db8::7/64")];
    let said = w.refused("dns", &exclusive(&own));
    assert!(said.contains("address in use by zone 'zion': 2001:db8::7"), "{said}");
    let said = w.lab.run("zoneadm", &["-z", "web", "verify"]);
    assert!(
        said.status != 0 && said.err.contains("address in use by zone 'zion'"),
        "as a boot would: {said:?}"
    );
    // The host.
    let said = w.refused("mail", &net(&[("physical", "eth0"), ("address", "192.0.2.1/24")]));
    assert!(said.contains("address in use by the global zone, on 'eth0': 192.0.2.1"), "{said}");
    // A machine outside.
    let gate = w.outside.at(|| find("out0")).mac.expect("an address");
    let gate = zones::plan::net::Mac(gate).to_string();
    for (zone, address) in [("ftp", "192.0.2.254/24"), ("irc", "2001:db8::fe/64")] {
        let said = w.refused(zone, &net(&[("physical", "eth0"), ("address", address)]));
        let wanted = format!(
            "could not bring network interface up: address in use by the machine with the link-layer address {gate} \
             on 'eth0': {}",
            address.split('/').next().unwrap_or(address)
        );
        assert!(said.contains(&wanted), "{said}");
    }
    // Once it is free, it can be had.
    w.halt("zion");
    w.lab.ok("zoneadm", &["-z", "web", "boot"]);
    let said = w.lab.run("zoneadm", &["-z", "zion", "verify"]);
    assert!(said.err.contains("address in use by zone 'web'"), "{said:?}");
    w.halt("web");
    let said = w.lab.run("zoneadm", &["-z", "zion", "verify"]);
    assert_eq!(said.status, 0, "{said:?}");
    assert!(
        said.err.contains(
            "WARNING: address 192.0.2.7 on 'eth0' is also that of zone 'web'; only one of them can run at a time."
        ),
        "{said:?}"
    );
    w.end(&[]);
}

#[test]
fn of_two_zones_that_boot_at_once_one_gets_the_address() {
    let Some(w) = World::new() else { return };
    for name in ["one", "two"] {
        w.lab.installed(name, &net(&[("physical", "eth0"), ("address", "192.0.2.7/24")]));
    }
    for _ in 0..5 {
        let boots = ["one", "two"].map(|name| {
            let mut command = w.lab.command("zoneadm");
            command
                .args(["-z", name, "boot"])
                .stderr(std::process::Stdio::piped())
                .spawn()
                .expect("it starts")
        });
        let ended = boots.map(|b| b.wait_with_output().expect("it ends"));
        let good = ended.iter().filter(|o| o.status.success()).count();
        assert_eq!(good, 1, "{ended:?}");
        let said: String = ended.iter().map(|o| String::from_utf8_lossy(&o.stderr).into_owned()).collect();
        assert!(said.contains("address in use by zone '"), "{said}");
        for name in ["one", "two"] {
            w.lab.run("zoneadm", &["-z", name, "halt"]);
        }
        w.assert_clean();
    }
}

#[test]
fn a_zone_that_boots_while_the_last_other_on_its_link_halts_is_reached() {
    let Some(w) = World::new() else { return };
    for (name, last) in [("one", "7"), ("two", "8")] {
        w.lab.installed(name, &shared(last));
    }
    let from_outside = || {
        let zone = w.zone("two");
        assert!(tcp(&w.outside, &zone, "192.0.2.8").is_ok());
        assert!(tcp(&zone, &w.outside, "192.0.2.254").is_ok());
    };
    for wait in 0..20 {
        w.lab.ok("zoneadm", &["-z", "one", "boot"]);
        // What both share goes with the first while the second waits for an answer, or a little sooner or later.
        let mut boot = w.lab.command("zoneadm").args(["-z", "two", "boot"]).spawn().expect("it starts");
        std::thread::sleep(std::time::Duration::from_millis(wait));
        w.lab.ok("zoneadm", &["-z", "one", "halt"]);
        assert!(boot.wait().expect("it ends").success(), "{wait}");
        from_outside();
        w.halt("two");
        w.assert_clean();
    }
}

#[test]
fn a_link_that_is_missing_unplugged_or_renamed() {
    let Some(mut w) = World::new() else { return };
    let lines = net(&[("physical", "eth1"), ("address", "203.0.113.7/24")]);
    let said = w.refused("zion", &lines);
    let wanted = "could not verify net physical=eth1: link 'eth1' does not exist on this host; plug it in, or name \
                  another with zonecfg";
    assert!(said.contains(wanted), "{said}");
    let said = w.lab.run("zoneadm", &["-z", "zion", "verify"]);
    assert!(
        said.err.contains(
            "WARNING: skipping network interface 'eth1' which may not be present/plumbed in the global zone."
        ),
        "{said:?}"
    );
    let plug = |w: &World| {
        w.cable("eth1", "out1");
        give("eth1", "203.0.113.1/24");
        w.outside.at(|| give("out1", "203.0.113.254/24"));
    };
    plug(&w);
    w.lab.ok("zoneadm", &["-z", "zion", "boot"]);
    assert!(tcp(&w.zone("zion"), &w.outside, "203.0.113.254").is_ok());
    // Renamed, it goes on, and is looked for by its name at the next boot.
    let index = find("eth1").index;
    link::change(&mut socket(), index, &Change { clear: link::UP, ..Change::default() }).expect("off");
    link::change(&mut socket(), index, &Change { name: Some("eth9"), ..Change::default() }).expect("renamed");
    up(&mut socket(), "eth9");
    give("eth9", "203.0.113.1/24");
    assert!(tcp(&w.zone("zion"), &w.outside, "203.0.113.254").is_ok());
    assert_eq!(w.lab.state("zion"), "running");
    let said = w.lab.run("zoneadm", &["-z", "zion", "reboot"]);
    assert!(said.status != 0 && said.err.contains("link 'eth1' does not exist"), "{said:?}");
    assert_eq!(w.lab.state("zion"), "running", "what cannot boot is not halted either");
    // Unplugged, the zone runs on without; it ends clean, and says what it lacks.
    link::remove(&mut socket(), index).expect("unplugged");
    assert_eq!(w.lab.state("zion"), "running");
    no_tcp(&w.zone("zion"), &w.outside, "192.0.2.254");
    w.halt("zion");
    w.settle();
    assert!(w.refused_again("zion").contains("link 'eth1' does not exist"));
    plug(&w);
    w.settle();
    w.lab.ok("zoneadm", &["-z", "zion", "boot"]);
    assert!(tcp(&w.zone("zion"), &w.outside, "203.0.113.254").is_ok());
    // A link without a cable is no reason to wait or to refuse.
    w.halt("zion");
    w.outside.at(|| {
        let index = find("out1").index;
        link::change(&mut socket(), index, &Change { clear: link::UP, ..Change::default() }).expect("off");
    });
    w.lab.ok("zoneadm", &["-z", "zion", "boot"]);
    w.outside.at(|| up(&mut socket(), "out1"));
    assert!(tcp(&w.zone("zion"), &w.outside, "203.0.113.254").is_ok());
    w.end(&["zion"]);
}

/// Places in the making and unmaking of links at which everything may end.
const PLACES: &[&str] = &[
    "link-claimed",
    "link-paired",
    "switch-Out",
    "switch-In",
    "switch-made",
    "switch-entered",
    "wire-joined",
    "link-ruled",
    "link-connected",
    "link-up",
];

#[test]
fn killed_at_any_place_nothing_is_left() {
    let Some(mut w) = World::new() else { return };
    w.cable("eth1", "out1");
    w.cable("eth2", "out2");
    assert!(make("bridge", "br0", |b| b));
    up(&mut socket(), "br0");
    w.settle();
    let own = "set ip-type=exclusive\n".to_owned()
        + &net(&[("physical", "net0"), ("global-nic", "eth0"), ("allowed-address", "192.0.2.9/24")])
        + &net(&[("physical", "eth1")])
        + &net(&[("physical", "net2"), ("global-nic", "br0")]);
    let mut reached = std::collections::BTreeSet::new();
    for (zone, lines) in
        [("zion", shared("7") + &net(&[("physical", "eth2"), ("address", "10.1.1.1/24")])), ("web", own)]
    {
        w.lab.installed(zone, &lines);
        let steps = (5..40).map(|n: u32| n.to_string());
        for place in PLACES.iter().map(ToString::to_string).chain(steps) {
            let boot =
                w.lab.run_with("zoneadm", &["-z", zone, "boot"], &[("ZONES_TEST_KILL_AT", &place)], "");
            if boot.status != 0 {
                assert!(boot.err.contains("zoneadmd ended before the zone was up"), "{place}: {boot:?}");
                reached.insert(place.clone());
                assert_eq!(w.lab.state(zone), "installed", "{place}");
                w.assert_clean();
                continue;
            }
            w.halt(zone);
            w.assert_clean();
            if place.parse::<u32>().is_ok() {
                break;
            }
        }
    }
    for place in PLACES {
        assert!(reached.contains(*place), "{place} was not reached, but {reached:?}");
    }
    assert!(reached.len() > PLACES.len() + 5, "{reached:?}");
}

#[test]
fn killed_while_it_halts_the_next_command_goes_on() {
    let Some(w) = World::new() else { return };
    w.lab.installed("zion", &shared("7"));
    for place in ["undo-left", "undo-removed"] {
        for next in ["halt", "boot"] {
            w.lab.ok("zoneadm", &["-z", "zion", "boot"]);
            // The supervisor would do it as well.
            w.lab.kill_supervisor("zion");
            let env = [("ZONES_TEST_KILL_AT", place)];
            let halt = w.lab.run_with("zoneadm", &["-z", "zion", "halt"], &env, "");
            assert_ne!(halt.status, 0, "{place} was not reached");
            w.lab.ok("zoneadm", &["-z", "zion", next]);
            if next == "boot" {
                assert!(tcp(&w.zone("zion"), &w.outside, "192.0.2.254").is_ok(), "{place}");
                w.halt("zion");
            }
            w.assert_clean();
        }
    }
}

#[test]
fn a_zone_ends_from_inside_or_its_supervisor_dies() {
    let Some(w) = World::new() else { return };
    let zion = w.boot("zion", &shared("7"));
    w.lab.kill_supervisor("zion");
    assert!(tcp(&w.outside, &zion, "192.0.2.7").is_ok(), "the network does not need a supervisor");
    w.halt("zion");
    w.assert_clean();
    w.lab.ok("zoneadm", &["-z", "zion", "boot"]);
    w.lab.run("zlogin", &["zion", "kill -38 1"]);
    w.assert_clean();
    // Killed from outside, supervisor first: the next command finds what is left.
    w.lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let init = net::lab::record(&w.lab, "zion", "init");
    w.lab.kill_supervisor("zion");
    assert!(std::process::Command::new("kill").args(["-9", &init]).status().is_ok_and(|s| s.success()));
    w.lab.ok("zoneadm", &["-z", "zion", "boot"]);
    assert!(tcp(&w.outside, &w.zone("zion"), "192.0.2.7").is_ok());
    w.end(&["zion"]);
}

#[test]
fn a_zone_that_breaks_its_link_hurts_itself_only() {
    let Some(w) = World::new() else { return };
    let zion = w.boot("zion", &shared("7"));
    let web = w.boot("web", &shared("8"));
    zion.at(|| {
        let index = find("eth0").index;
        link::remove(&mut socket(), index).expect("its own to remove");
    });
    assert!(tcp(&w.outside, &web, "192.0.2.8").is_ok());
    assert_eq!(w.lab.state("zion"), "running");
    w.lab.ok("zoneadm", &["-z", "zion", "reboot"]);
    assert!(tcp(&w.outside, &w.zone("zion"), "192.0.2.7").is_ok());
    w.end(&["zion", "web"]);
}

#[test]
fn fifty_zones_at_once() {
    let Some(w) = World::new() else { return };
    let names: Vec<String> = (0..50).map(|n| format!("z{n}")).collect();
    for (n, name) in names.iter().enumerate() {
        let last = (100 + n).to_string();
        w.lab.installed(name, &shared(&last));
    }
    let together = |verb: &str| {
        let running: Vec<_> = names
            .iter()
            .map(|name| {
                let mut command = w.lab.command("zoneadm");
                command.args(["-z", name, verb]).stderr(std::process::Stdio::piped());
                command.spawn().expect("it starts")
            })
            .collect();
        for (name, child) in names.iter().zip(running) {
            let ended = child.wait_with_output().expect("it ends");
            let said = String::from_utf8_lossy(&ended.stderr).into_owned();
            assert!(ended.status.success(), "{verb} {name}: {said}");
        }
    };
    together("boot");
    let zones: Vec<_> = names.iter().map(|n| w.zone(n)).collect();
    for (n, zone) in zones.iter().enumerate() {
        assert!(tcp(&w.outside, zone, &format!("192.0.2.{}", 100 + n)).is_ok(), "outside to z{n}");
        let next = (n + 1) % zones.len();
        assert!(tcp(zone, &zones[next], &format!("2001:db8::{}", 100 + next)).is_ok(), "z{n} to z{next}");
    }
    drop(zones);
    together("halt");
    w.assert_clean();
}

#[test]
fn names_are_resolved() {
    let Some(w) = World::new() else { return };
    let lines = net(&[("physical", "eth0"), ("address", "192.0.2.7/24")]);
    w.lab.installed("zion", &lines);
    let (resolver, hosts) = (w.lab.in_zone("zion", "/etc/resolv.conf"), w.lab.in_zone("zion", "/etc/hosts"));
    let _ = std::fs::remove_file(&resolver);
    std::fs::remove_file(&hosts).expect("there");
    w.lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let found = w.lab.ok("zlogin", &["zion", "getent hosts zion; getent hosts localhost"]);
    assert!(found.contains("192.0.2.7") && found.contains("localhost"), "{found}");
    let host = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers = |t: &str| {
        let usable = |l: &&str| l.starts_with("nameserver") && !l.contains("127.0.0.");
        t.lines().filter(usable).map(str::to_owned).collect::<Vec<_>>()
    };
    let got = std::fs::read_to_string(&resolver).unwrap_or_default();
    for server in servers(&host) {
        assert!(got.contains(&server), "{got}");
    }
    w.end(&["zion"]);
}

#[test]
fn a_plan_tells_the_network() {
    let Some(w) = World::new() else { return };
    w.lab.installed("zion", &shared("7"));
    let plan = w.lab.ok("zoneadm", &["-z", "zion", "plan", "boot"]);
    let line = plan.lines().find(|l| l.contains("net physical=eth0")).expect("the link's line");
    for word in
        ["share eth0 as eth0", "address 192.0.2.7/24", "router 192.0.2.254", "held to 192.0.2.7 2001:db8::7"]
    {
        assert!(line.contains(word), "{line} has not: {word}");
    }
    w.assert_clean();
}
