//! What a zone is held to: its addresses, and a bandwidth.

use std::time::Duration;

use super::SOON;
use crate::net::raw::{Heard, Raw, arp, discovery, packet, roles};
use crate::net::{Space, World, find, give, ip, no_tcp, resource, set_mac, shared, socket, tcp, udp};
use zones::sys::netlink::route;

/// Root of a zone that is held to 192.0.2.7 and 2001:db8::7 on `name` tries everything else. `lower` is
/// the host's link.
pub fn held_to(w: &World, zone: &Space, name: &str, lower: &str) {
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
    let mut forged = vec![
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
    forged.extend(roles(mine, "192.0.2.7", me6));
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
pub fn neighbours(ips: &[&str]) -> Vec<Option<[u8; 6]>> {
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

/// Which of the frames that only servers and routers send come out of a zone.
fn roles_seen(w: &World, zone: &Space, name: &str) -> Vec<usize> {
    let mine = zone.at(|| find(name)).mac.expect("an address");
    let ears = [w.outside.at(|| Raw::open("out0", true)), Raw::open("eth0", true)];
    let raw = zone.at(|| Raw::open(name, false));
    let frames = roles(mine, "192.0.2.7", "2001:db8::7");
    for frame in &frames {
        raw.send(frame);
    }
    // It comes last, so what has not come by then does not come.
    let gate = w.outside.at(|| find("out0")).mac.expect("an address");
    raw.send(&packet(gate, mine, ip("192.0.2.7"), ip("192.0.2.254"), b"the end"));
    let heard: Vec<Heard> = ears.iter().flat_map(|ear| ear.heard(SOON)).collect();
    assert!(heard.iter().any(|h| h.frame.ends_with(b"the end") || h.mentions(ip("192.0.2.254"))));
    (0..frames.len()).filter(|n| heard.iter().any(|h| h.frame.starts_with(&frames[*n]))).collect()
}

#[test]
fn a_shared_zone_is_no_server_of_the_link() {
    let Some(w) = World::new() else { return };
    let zion = w.boot("zion", &shared("7"));
    let seen = roles_seen(&w, &zion, "eth0");
    assert!(seen.is_empty(), "frames of servers and routers come out of the zone: {seen:?}");
    w.end(&["zion"]);
}

#[test]
fn a_zone_that_is_to_serve_dhcp_does() {
    let Some(w) = World::new() else { return };
    let lines = |more: &[(&str, &str)]| {
        let held = [("lower-link", "eth0"), ("allowed-address", "192.0.2.7/24,2001:db8::7/64")];
        format!("set ip-type=exclusive\n{}", resource("anet", &[&held[..], more].concat()))
    };
    let zion = w.boot("zion", &lines(&[]));
    assert!(roles_seen(&w, &zion, "net0").is_empty(), "by default it does not");
    w.halt("zion");
    let open = "select anet 0\nset link-protection=\"mac-nospoof,ip-nospoof\"\nend\nexit\n";
    w.lab.run_with("zonecfg", &["-z", "zion"], &[], open);
    w.lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let seen = roles_seen(&w, &w.zone("zion"), "net0");
    assert_eq!(seen, [0, 7, 9], "offers of both protocols, and nothing that a router says");
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

/// How many bits per second come through in a second.
fn speed(from: &Space, to: &Space, address: &str) -> f64 {
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

/// Sends datagrams for a second, as fast as it can; returns how many bits per second come.
fn flood(from: &Space, to: &Space, address: &str) -> f64 {
    let server = to.at(|| std::net::UdpSocket::bind((ip(address), 0))).expect("bind");
    server.set_read_timeout(Some(SOON)).expect("a limit");
    let client = from.at(|| std::net::UdpSocket::bind("0.0.0.0:0")).expect("bind");
    let target = server.local_addr().expect("an address");
    let begun = std::time::Instant::now();
    let sender = std::thread::spawn(move || {
        while begun.elapsed() < Duration::from_secs(1) {
            // What finds no room in the queue is lost.
            let _ = client.send_to(&[7; 1400], target);
        }
    });
    let (mut got, mut last) = (0, begun);
    while server.recv(&mut [0; 2048]).is_ok() {
        (got, last) = (got + 1, std::time::Instant::now());
    }
    sender.join().expect("it ends");
    let took = last.duration_since(begun).as_secs_f64().max(1.0);
    f64::from(u32::try_from(got * 1442).expect("not that much")) * 8.0 / took
}

/// What a zone sends is held to its bandwidth also when root of the zone has taken its own end's queue off.
#[test]
fn bandwidth_is_limited_whatever_the_zone_does() {
    let Some(w) = World::new() else { return };
    let anet = [("lower-link", "eth0"), ("allowed-address", "192.0.2.7/24"), ("maxbw", "20M")];
    let zion = w.boot("zion", &format!("set ip-type=exclusive\n{}", resource("anet", &anet)));
    zion.at(|| crate::net::unshape("net0"));
    let bits = flood(&zion, &w.outside, "192.0.2.254");
    assert!(bits < 26e6, "{bits} bit/s of datagrams");
    w.end(&["zion"]);
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
        // What is too much waits. Where it is dropped, TCP comes to a third of the bandwidth at the most, however
        // often it is tried; a busy machine may be slow once.
        let best = (0..4).map(|_| speed(from, to, address)).find(|bits| *bits > 15e6);
        assert!(best.is_some_and(|bits| bits < 24e6), "{best:?} bit/s to {address}");
        let bits = flood(from, to, address);
        assert!(bits < 24e6, "{bits} bit/s of datagrams to {address}");
    }
    w.halt("zion");
    w.lab.run_with("zonecfg", &["-z", "zion"], &[], "select anet 0\nclear maxbw\nend\nexit\n");
    w.lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let free = speed(&w.zone("zion"), &w.outside, "192.0.2.254");
    assert!(free > 50e6, "{free} bit/s without a limit");
    w.end(&["zion"]);
}

/// Sends so many datagrams at once; returns how many of them come.
fn all_at_once(from: &Space, to: &Space, address: &str, count: usize) -> usize {
    let server = to.at(|| std::net::UdpSocket::bind((ip(address), 0))).expect("bind");
    // The first ones wait for nothing, and the last ones for two seconds.
    server.set_read_timeout(Some(Duration::from_secs(5))).expect("a limit");
    let client = from.at(|| std::net::UdpSocket::bind("0.0.0.0:0")).expect("bind");
    let target = server.local_addr().expect("an address");
    let sender = std::thread::spawn(move || {
        for _ in 0..count {
            client.send_to(&[7; 1400], target).expect("room, or a wait for it");
        }
    });
    let got = (0..count).take_while(|_| server.recv(&mut [0; 2048]).is_ok()).count();
    sender.join().expect("it ends");
    got
}

/// A sender hands over what it has before it can know how slow the link is: 64 KiB in one packet, and several of
/// these. When the queue is smaller, TCP begins with losses, and the bandwidth is not used for seconds.
#[test]
fn a_small_bandwidth_has_a_queue_for_what_is_sent_at_once() {
    let Some(w) = World::new() else { return };
    let anet = [("lower-link", "eth0"), ("allowed-address", "192.0.2.7/24"), ("maxbw", "1M")];
    let zion = w.boot("zion", &format!("set ip-type=exclusive\n{}", resource("anet", &anet)));
    for (from, to, address) in [(&zion, &w.outside, "192.0.2.254"), (&w.outside, &zion, "192.0.2.7")] {
        // 231,000 bytes with their headers.
        assert_eq!(all_at_once(from, to, address, 160), 160, "datagrams of one burst to {address}");
    }
    w.end(&["zion"]);
}
