//! Links of a zone that runs: made and taken away by the code that makes those of a boot.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use super::SOON;
use crate::net::lab::record;
use crate::net::raw::{Raw, packet};
use crate::net::{World, find, ip, net, shared, socket, tcp};
use zones::apply::net::{Network, NetworkError, Probe, ProgramsAhead, remove_of_running};
use zones::apply::paths::Root;
use zones::plan::net::{LinkGuard, LinkMode, Mac, ZoneLink};
use zones::sys::netlink::{link, route};

/// A second link of the zone zion, with an address and routes of its own.
fn another(w: &World) -> ZoneLink {
    let lower = find("eth0");
    ZoneLink {
        what: "anet linkname=net9".into(),
        name: "net9".into(),
        port: "zmore-9".into(),
        port_mac: Mac([0xfe, 0, 0, 0, 0, 9]),
        lower: "eth0".into(),
        lower_index: lower.index,
        lower_mac: Mac(lower.mac.expect("an address")),
        lower_flags: lower.flags,
        way: LinkMode::Own,
        mac: Mac([2, 0, 0, 0, 0, 9]),
        mtu: 1500,
        lower_mtu: 1500,
        addresses: vec!["192.0.2.77/24".parse().expect("an address")],
        table: Some(12_200),
        guard: LinkGuard {
            mac: true,
            addresses: Some(vec![ip("192.0.2.77")]),
            restricted: true,
            dhcp: true,
            router: true,
            ..LinkGuard::default()
        },
        zone: "zion".into(),
        claims: w.lab.path().join("run/zones/.net"),
        ..ZoneLink::default()
    }
}

fn make(w: &World, wanted: &ZoneLink) -> Result<(), NetworkError> {
    let links = std::slice::from_ref(wanted);
    let asked = Probe::begin(links)?;
    let mut network = Network::begin(links, asked, ProgramsAhead::default())?.expect("a link");
    network.make(&Root::new(Some(w.lab.path())), wanted, || Ok(network_of(w)?.into()))
}

fn network_of(w: &World) -> io::Result<File> {
    File::open(format!("/proc/{}/ns/net", record(&w.lab, "zion", "init")))
}

fn remove(w: &World, link: &ZoneLink) {
    let errors = remove_of_running(link, network_of(w).expect("a namespace").as_fd());
    assert_eq!(errors, Vec::<String>::new(), "{}", link.what);
}

#[test]
fn a_zone_that_runs_gets_a_link_and_loses_it() {
    let Some(w) = World::new() else { return };
    let zion = w.boot("zion", &shared("7"));
    let links = || {
        let all = zion.at(|| link::all(&mut socket()).expect("links"));
        all.into_iter().map(|l| l.name).collect::<Vec<_>>()
    };
    let old_one_works = || {
        assert_eq!(tcp(&zion, &w.outside, "192.0.2.254"), Ok(ip("192.0.2.7")));
        assert_eq!(tcp(&w.outside, &zion, "192.0.2.7"), Ok(ip("192.0.2.254")));
    };
    let before = links();
    let wanted = another(&w);
    make(&w, &wanted).expect("a link");
    assert_eq!(links(), [&before[..], &["net9".to_owned()]].concat());
    assert_eq!(tcp(&w.outside, &zion, "192.0.2.77"), Ok(ip("192.0.2.254")));
    old_one_works();
    // It is held to its address, and no other zone gets that.
    let mouth = zion.at(|| Raw::open("net9", false));
    let ear = w.outside.at(|| Raw::open("out0", true));
    let gate = w.outside.at(|| find("out0")).mac.expect("an address");
    let from = |source: &str| packet(gate, wanted.mac.0, ip(source), ip("192.0.2.254"), b"a frame of a test");
    let (good, forged) = (from("192.0.2.77"), from("192.0.2.7"));
    mouth.send(&forged);
    mouth.send(&good);
    let heard = ear.heard(SOON);
    let comes = |frame: &Vec<u8>| heard.iter().any(|h| h.frame.starts_with(frame));
    assert!(comes(&good) && !comes(&forged));
    let taken = net(&[("physical", "eth0"), ("address", "192.0.2.77/24")]);
    let why = w.refused("web", &taken);
    assert!(why.contains("address in use by zone 'zion'"), "{why}");
    remove(&w, &wanted);
    assert_eq!(links(), before);
    assert!(tcp(&w.outside, &zion, "192.0.2.77").is_err());
    old_one_works();
    // Nothing of it is left inside that would be in the way of another one with its address.
    for mac in [9, 10] {
        let next = ZoneLink { mac: Mac([2, 0, 0, 0, 0, mac]), ..wanted.clone() };
        make(&w, &next).expect("a link");
        assert_eq!(tcp(&w.outside, &zion, "192.0.2.77"), Ok(ip("192.0.2.254")));
        remove(&w, &next);
        assert_eq!(links(), before);
    }
    // The zone's root may have removed the rule before: that is no failure.
    make(&w, &wanted).expect("a link");
    zion.at(|| route::remove_rule(&mut socket(), &ip("192.0.2.77"), 12_200)).expect("removed");
    remove(&w, &wanted);
    assert_eq!(links(), before);
    w.end(&["zion"]);
}

#[test]
fn a_link_that_a_zone_that_runs_cannot_get_leaves_nothing() {
    let Some(w) = World::new() else { return };
    let zion = w.boot("zion", &shared("7"));
    let web = w.boot("web", &shared("8"));
    let ports = || link::all(&mut socket()).expect("links").into_iter().map(|l| l.name).collect::<Vec<_>>();
    let before = ports();
    let wanted = another(&w);
    let own = zion.at(|| find("eth0")).name;
    for (spoilt, why) in [
        (ZoneLink { name: own, ..wanted.clone() }, "cannot make the link: "),
        (
            ZoneLink { addresses: vec!["ff02::9/64".parse().expect("one")], ..wanted.clone() },
            "cannot give it ff02::9/64: ",
        ),
        (
            ZoneLink { routers: vec![ip("192.0.2.77")], ..wanted.clone() },
            "cannot add the router 192.0.2.77: ",
        ),
        (
            ZoneLink { addresses: vec!["192.0.2.8/24".parse().expect("one")], ..wanted.clone() },
            "could not bring network interface up: address in use by zone 'web'",
        ),
    ] {
        let text = make(&w, &spoilt).map_err(|e| e.to_string()).expect_err(why);
        assert!(text.starts_with(why), "{text}");
        remove(&w, &spoilt);
        assert_eq!(ports(), before, "{text}");
        assert_eq!(tcp(&zion, &w.outside, "192.0.2.254"), Ok(ip("192.0.2.7")), "{text}");
        assert_eq!(tcp(&w.outside, &zion, "192.0.2.7"), Ok(ip("192.0.2.254")), "{text}");
        assert_eq!(tcp(&w.outside, &web, "192.0.2.8"), Ok(ip("192.0.2.254")), "{text}");
    }
    w.end(&["zion", "web"]);
}
