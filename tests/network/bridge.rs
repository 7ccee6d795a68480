//! What the host's links are is not changed by zones.

use crate::net::{World, find, give, make, set_mac, shared, socket, tcp, up};

use super::{bridged, own_on};

#[test]
fn a_bridge_keeps_its_address_while_zones_come_and_go() {
    let Some(mut w) = bridged() else { return };
    // An address as makers of hardware give them out: most that are made by chance are lower.
    set_mac("port0", [0xfc, 0xbb, 0xcc, 0, 0, 1]);
    // The kernel gives the bridge an IPv6 address that goes with it.
    w.settle();
    let before = find("br0").mac;
    assert_eq!(before, Some([0xfc, 0xbb, 0xcc, 0, 0, 1]), "the bridge takes the address of its port");
    let web = w.boot("web", &shared("8").replace("eth0", "br0"));
    for round in 0..4 {
        for (name, last) in [("one", "11"), ("two", "12"), ("three", "13")] {
            if round == 0 {
                w.lab.installed(name, &own_on("br0", last));
            }
            w.lab.ok("zoneadm", &["-z", name, "boot"]);
            assert_eq!(find("br0").mac, before, "while '{name}' runs");
        }
        assert!(tcp(&w.host, &web, "192.0.2.8").is_ok() && tcp(&web, &w.host, "192.0.2.1").is_ok());
        for name in ["one", "two", "three"] {
            w.halt(name);
            assert_eq!(find("br0").mac, before, "after the end of '{name}'");
        }
    }
    w.end(&["web"]);
}

#[test]
fn a_bridge_without_other_ports_keeps_its_address() {
    let Some(mut w) = World::empty() else { return };
    if !make("bridge", "br0", |b| b) {
        return;
    }
    up(&mut socket(), "br0");
    give("br0", "192.0.2.1/24");
    w.settle();
    let before = find("br0").mac;
    w.lab.installed("one", &own_on("br0", "7"));
    for _ in 0..2 {
        w.lab.ok("zoneadm", &["-z", "one", "boot"]);
        assert_eq!(find("br0").mac, before, "while the zone runs");
        let one = w.zone("one");
        assert!(tcp(&w.host, &one, "192.0.2.7").is_ok());
        w.halt("one");
        assert_eq!(find("br0").mac, before, "after its end");
    }
    w.end(&[]);
}
