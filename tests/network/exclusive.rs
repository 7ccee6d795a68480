//! Zones with a network stack of their own, and VLANs.

use super::SOON;
use super::bridged;
use super::held::held_to;
use crate::net::raw::{ALL, Raw, arp, packet};
use crate::net::{
    World, all_reach, exclusive, find, give, ip, net, no_tcp, resource, set_mac, shared, socket, tcp,
};
use zones::sys::netlink::link::{self, LinkChange};
use zones::sys::netlink::route;

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
    link::change(&mut socket(), index, &LinkChange { clear: link::UP, ..LinkChange::default() })
        .expect("off");
    w.settle();
    let zion = w.boot("zion", &exclusive(&[("physical", "eth1")]));
    zion.at(|| give("eth1", "192.0.2.66/24"));
    assert_eq!(tcp(&zion, &w.outside, "192.0.2.254"), Ok(ip("192.0.2.66")));
    assert_eq!(tcp(&w.outside, &zion, "192.0.2.66"), Ok(ip("192.0.2.254")));
    // Also with another link-layer address, and frames of any kind.
    zion.at(|| set_mac("eth1", [2, 0xcc, 0, 0, 0, 1]));
    assert_eq!(tcp(&zion, &w.outside, "192.0.2.254"), Ok(ip("192.0.2.66")));
    let (raw, ear) = (zion.at(|| Raw::open("eth1", false)), w.outside.at(|| Raw::open("out0", true)));
    let strange = crate::net::raw::ethernet(ALL, [2, 0xdd, 0, 0, 0, 2], 0x88b5);
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
fn what_is_for_all_reaches_more_links_than_the_first_program_looks_at() {
    let Some(w) = World::new() else { return };
    let names: Vec<String> = (0..35).map(|n| format!("net{n}")).collect();
    let anet = |name: &String| resource("anet", &[("linkname", name), ("lower-link", "eth0")]);
    let lines: String = names.iter().map(anet).collect();
    let one = w.boot("one", &format!("set ip-type=exclusive\n{lines}"));
    let ears: Vec<Raw> = names.iter().map(|name| one.at(|| Raw::open(name, false))).collect();
    let mouth = w.outside.at(|| Raw::open("out0", false));
    let gate = w.outside.at(|| find("out0")).mac.expect("an address");
    let all = packet(ALL, gate, ip("10.0.0.9"), ip("255.255.255.255"), b"from there");
    mouth.send(&all);
    std::thread::sleep(SOON);
    for (name, ear) in names.iter().zip(&ears) {
        let heard = ear.heard(std::time::Duration::ZERO);
        assert_eq!(heard.iter().filter(|h| h.frame.starts_with(&all)).count(), 1, "{name}");
    }
    w.end(&["one"]);
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
