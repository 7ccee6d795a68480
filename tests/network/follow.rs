//! The host's links change while zones run on them.

use super::held::held_to;
use super::shared::both_reach;
use super::{bridged, own_on};
use crate::net::{
    Space, World, exclusive, find, give, ip, net, resource, set_mac, shared, socket, soon, tcp, udp, up,
};
use zones::sys::netlink::link::{self, LinkChange};
use zones::sys::netlink::route;

/// The flag by which programs know that a link is in order (`IFF_RUNNING`).
const RUNNING: u32 = 0x40;

/// Has everybody forget who is where, as happens by itself a little later.
fn forget(spaces: &[(&Space, &str)]) {
    let all = [
        "192.0.2.1",
        "192.0.2.7",
        "192.0.2.8",
        "192.0.2.254",
        "2001:db8::1",
        "2001:db8::7",
        "2001:db8::8",
        "2001:db8::fe",
    ];
    for (space, link) in spaces {
        space.at(|| {
            let index = find(link).index;
            for address in all {
                let _ = route::forget(&mut socket(), index, &ip(address));
            }
        });
    }
}

#[test]
fn another_address_of_the_hosts_link_is_followed() {
    let Some(w) = World::new() else { return };
    let zion = w.boot("zion", &shared("7"));
    let web = w.boot("web", &own_on("eth0", "8"));
    both_reach(&w, &zion, &web);
    let before = find("eth0").mac.expect("an address");
    for mac in [[2, 0x11, 0x22, 0x33, 0x44, 0x55], [2, 0x11, 0x22, 0x33, 0x44, 0x66], before] {
        set_mac("eth0", mac);
        assert!(soon(|| zion.at(|| find("eth0")).mac == Some(mac)), "the zone's link has the address too");
        forget(&[(&w.host, "eth0"), (&w.outside, "out0"), (&zion, "eth0"), (&web, "net0")]);
        both_reach(&w, &zion, &web);
    }
    set_mac("eth0", [2, 0x11, 0x22, 0x33, 0x44, 0x77]);
    assert!(soon(|| zion.at(|| find("eth0")).mac == find("eth0").mac));
    forget(&[(&w.outside, "out0"), (&zion, "eth0")]);
    held_to(&w, &zion, "eth0", "eth0");
    w.end(&["zion", "web"]);
}

#[test]
fn another_port_of_a_bridge_does_not_cut_a_shared_zone_off() {
    let Some(w) = bridged() else { return };
    let zion = w.boot("zion", &shared("7").replace("eth0", "br0"));
    let web = w.boot("web", &own_on("br0", "8"));
    both_reach(&w, &zion, &web);
    let before = find("br0").mac.expect("an address");
    // A virtual machine starts: its port has the lowest address.
    w.cable("tap0", "vm0");
    set_mac("tap0", [2, 0, 0, 0, 0, 1]);
    let (bridge, tap) = (find("br0").index, find("tap0").index);
    link::change(&mut socket(), tap, &LinkChange { master: Some(bridge), ..LinkChange::default() })
        .expect("a port");
    assert_eq!(find("br0").mac, Some([2, 0, 0, 0, 0, 1]), "the bridge has another address");
    assert!(soon(|| zion.at(|| find("br0")).mac == find("br0").mac));
    forget(&[(&w.host, "br0"), (&w.outside, "out0"), (&zion, "br0"), (&web, "net0")]);
    both_reach(&w, &zion, &web);
    // It ends.
    link::remove(&mut socket(), tap).expect("removed");
    assert_eq!(find("br0").mac, Some(before));
    assert!(soon(|| zion.at(|| find("br0")).mac == Some(before)));
    forget(&[(&w.host, "br0"), (&w.outside, "out0"), (&zion, "br0"), (&web, "net0")]);
    both_reach(&w, &zion, &web);
    w.end(&["zion", "web"]);
}

fn set_mtu(name: &str, mtu: u32) {
    let index = find(name).index;
    link::change(&mut socket(), index, &LinkChange { mtu: Some(mtu), ..LinkChange::default() })
        .expect("an mtu");
}

/// Sends a datagram of so many bytes; says whether it comes.
fn large(from: &Space, to: &Space, address: &str, bytes: usize) -> bool {
    let server = to.at(|| std::net::UdpSocket::bind((ip(address), 0))).expect("bind");
    server.set_read_timeout(Some(std::time::Duration::from_secs(2))).expect("a limit");
    let client = from.at(|| std::net::UdpSocket::bind("0.0.0.0:0")).expect("bind");
    client.send_to(&vec![7; bytes], server.local_addr().expect("an address")).expect("sent");
    let mut buffer = vec![0; 65_536];
    server.recv(&mut buffer).is_ok_and(|n| n == bytes)
}

#[test]
fn the_size_of_packets_is_followed() {
    let Some(w) = World::new() else { return };
    let zion = w.boot("zion", &shared("7"));
    let small = [("lower-link", "eth0"), ("allowed-address", "192.0.2.8/24"), ("mtu", "1300")];
    let web = w.boot("web", &format!("set ip-type=exclusive\n{}", resource("anet", &small)));
    let mtu = |space: &Space, name: &str| space.at(|| find(name)).mtu;
    assert_eq!((mtu(&zion, "eth0"), mtu(&web, "net0")), (1500, 1300));
    w.outside.at(|| set_mtu("out0", 9000));
    for (host, zone, held) in [(9000, 9000, 1300), (1400, 1400, 1300), (1290, 1290, 1290), (1500, 1500, 1300)]
    {
        set_mtu("eth0", host);
        let followed = soon(|| (mtu(&zion, "eth0"), mtu(&web, "net0")) == (zone, held));
        assert!(followed, "{host}: {} {}", mtu(&zion, "eth0"), mtu(&web, "net0"));
        if host == 9000 {
            for (from, to, address) in [
                (&w.host, &zion, "192.0.2.7"),
                (&zion, &w.host, "192.0.2.1"),
                (&w.outside, &zion, "192.0.2.7"),
                (&zion, &w.outside, "192.0.2.254"),
            ] {
                assert!(large(from, to, address, 8900), "a large packet for {address}");
            }
        }
    }
    // Smaller by the zone's own choice.
    zion.at(|| set_mtu("eth0", 1350));
    set_mtu("eth0", 1450);
    assert!(soon(|| mtu(&web, "net0") == 1300));
    assert_eq!(mtu(&zion, "eth0"), 1350);
    set_mtu("eth0", 1500);
    w.end(&["zion", "web"]);
}

#[test]
fn a_zone_is_told_when_the_hosts_link_carries_nothing() {
    let Some(w) = World::new() else { return };
    let zion = w.boot("zion", &shared("7"));
    let web = w.boot("web", &own_on("eth0", "8"));
    let in_order = |space: &Space, name: &str| space.at(|| find(name)).flags & RUNNING != 0;
    let off = |space: &Space, name: &str| {
        space.at(|| {
            let change = LinkChange { clear: link::UP, ..LinkChange::default() };
            link::change(&mut socket(), find(name).index, &change).expect("off");
        });
    };
    assert!(soon(|| in_order(&zion, "eth0") && in_order(&web, "net0")));
    // The cable is pulled: what is on this machine still reaches each other.
    off(&w.outside, "out0");
    assert!(soon(|| !in_order(&zion, "eth0") && !in_order(&web, "net0")), "no cable");
    let said = w.lab.run("zoneadm", &["list", "-v"]);
    assert!(said.err.contains("zone 'zion': link 'eth0' of this host has no carrier"), "{said:?}");
    assert_eq!(tcp(&w.host, &zion, "192.0.2.7"), Ok(ip("192.0.2.1")));
    assert_eq!(tcp(&zion, &web, "192.0.2.8"), Ok(ip("192.0.2.7")));
    assert_eq!(udp(&web, None, &zion, "2001:db8::7"), Ok(ip("2001:db8::8")));
    // A zone that boots meanwhile is told as well.
    let late = w.boot("late", &net(&[("physical", "eth0"), ("address", "192.0.2.9/24")]));
    assert!(soon(|| !in_order(&late, "eth0")), "no cable at boot");
    w.outside.at(|| up(&mut socket(), "out0"));
    for (zone, name) in [(&zion, "eth0"), (&web, "net0"), (&late, "eth0")] {
        assert!(soon(|| in_order(zone, name)), "plugged in again");
    }
    assert_eq!(tcp(&zion, &w.outside, "192.0.2.254"), Ok(ip("192.0.2.7")));
    assert!(w.lab.run("zoneadm", &["list", "-v"]).err.is_empty());
    w.end(&["zion", "web", "late"]);
}

#[test]
fn another_name_and_the_end_of_the_hosts_link_are_told() {
    let Some(mut w) = World::new() else { return };
    w.cable("eth9", "out9");
    give("eth9", "203.0.113.1/24");
    w.settle();
    let lines = net(&[("physical", "eth9"), ("address", "203.0.113.7/24")]);
    let zion = w.boot("zion", &lines);
    let index = find("eth9").index;
    let rename = |name: &str| {
        let mut fresh = socket();
        // Linux 6.1 renames no link that is switched on.
        for change in [
            LinkChange { clear: link::UP, ..LinkChange::default() },
            LinkChange { name: Some(name), ..LinkChange::default() },
            LinkChange { set: link::UP, ..LinkChange::default() },
        ] {
            link::change(&mut fresh, index, &change).expect("renamed");
        }
    };
    rename("lan9");
    let told = "zone 'zion': link 'eth9' of this host is now called 'lan9'; the zone goes on with it, but its next boot \
                needs the name of then: change it with zonecfg";
    for words in [vec!["list", "-v"], vec!["-z", "zion", "list", "-v"], vec!["-z", "zion", "verify"]] {
        let said = w.lab.run("zoneadm", &words);
        assert!(said.err.contains(told), "{words:?}: {said:?}");
    }
    assert!(w.lab.run("zoneadm", &["list", "-p"]).err.is_empty(), "for programs as ever");
    assert_eq!(tcp(&w.host, &zion, "203.0.113.7"), Ok(ip("203.0.113.1")));
    rename("eth9");
    link::remove(&mut socket(), index).expect("removed");
    let told = "zone 'zion': link 'eth9' of this host has gone, and with it the zone's way out; once it is there \
                again, reboot the zone";
    for words in [vec!["list", "-v"], vec!["-z", "zion", "verify"]] {
        let said = w.lab.run("zoneadm", &words);
        assert!(said.err.contains(told), "{words:?}: {said:?}");
    }
    assert!(soon(|| zion.at(|| find("eth9")).flags & RUNNING == 0), "the zone is told as well");
    w.halt("zion");
    let names = || link::all(&mut socket()).expect("links").into_iter().map(|l| l.name).collect::<Vec<_>>();
    soon(|| names() == ["lo", "eth0"]);
    assert_eq!(names(), ["lo", "eth0"], "nothing of the zone is left");
    // The link itself went with the test.
    w.settle();
    w.assert_clean();
}

#[test]
fn a_bridge_is_as_large_as_its_other_ports_allow() {
    let Some(w) = bridged() else { return };
    let small = [("lower-link", "br0"), ("allowed-address", "192.0.2.7/24"), ("mtu", "1300")];
    let zion = w.boot("zion", &format!("set ip-type=exclusive\n{}", resource("anet", &small)));
    assert_eq!((find("br0").mtu, zion.at(|| find("net0")).mtu), (1500, 1300));
    w.end(&["zion"]);
}

#[test]
fn a_wire_carries_on_with_another_address_of_the_hosts_link() {
    let Some(mut w) = World::empty() else { return };
    w.cable("eth1", "out0");
    w.outside.at(|| give("out0", "192.0.2.254/24"));
    w.settle();
    let lines = exclusive(&[("physical", "eth1"), ("allowed-address", "192.0.2.7/24")]);
    let zion = w.boot("zion", &lines);
    assert_eq!(tcp(&w.outside, &zion, "192.0.2.7"), Ok(ip("192.0.2.254")));
    set_mac("eth1", [2, 0x11, 0x22, 0x33, 0x44, 0x55]);
    assert!(soon(|| find("eth1").flags & link::PROMISCUOUS != 0), "it takes the zone's frames");
    assert_eq!(tcp(&w.outside, &zion, "192.0.2.7"), Ok(ip("192.0.2.254")));
    w.end(&["zion"]);
}
