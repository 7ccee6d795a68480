//! Routers that advertise themselves: a link that is held to addresses gives itself no others.

use std::net::UdpSocket;

use crate::net::raw::{Raw, advertisement};
use crate::net::{Space, World, find, gateways, give, global_v6, ip, resource, shared, soon, tcp, udp};

/// The link-local address of what is outside.
const ROUTER: &str = "fe80::fe";

/// Lines of a zone with one `anet`.
fn anet(pairs: &[(&str, &str)]) -> String {
    let pairs = [&[("lower-link", "eth0")], pairs].concat();
    format!("set ip-type=exclusive\n{}", resource("anet", &pairs))
}

/// Advertises a prefix until a zone that is free to obey has an address of it.
fn advertise(w: &World, free: &Space, prefix: &str) {
    let mac = w.outside.at(|| find("out0")).mac.expect("an address");
    let raw = w.outside.at(|| Raw::open("out0", false));
    let of_prefix = |a: &std::net::IpAddr| a.to_string().starts_with(prefix.trim_end_matches(':'));
    let obeyed = soon(|| {
        raw.send(&advertisement(mac, ROUTER, prefix));
        global_v6(free).iter().any(of_prefix)
    });
    assert!(obeyed, "the advertisement of {prefix} reaches zones");
    // The others have had it as well by then.
    std::thread::sleep(std::time::Duration::from_millis(100));
}

/// Which address a namespace speaks to another from.
fn source(space: &Space, to: &str) -> Result<std::net::IpAddr, std::io::Error> {
    let client = space.at(|| UdpSocket::bind("[::]:0")).expect("a socket");
    client.connect((ip(to), 9)).and_then(|()| client.local_addr()).map(|a| a.ip())
}

#[test]
fn a_link_that_is_held_to_addresses_gives_itself_no_others() {
    let Some(w) = World::new() else { return };
    // The host of this test is not asked about.
    std::fs::write("/proc/sys/net/ipv6/conf/eth0/accept_ra", "0").expect("written");
    w.outside.at(|| {
        give("out0", &format!("{ROUTER}/64"));
        give("lo", "2001:db8:99::1/128");
    });
    let free = w.boot("free", &anet(&[]));
    let both = w.boot("both", &anet(&[("allowed-address", "192.0.2.7/24,2001:db8::7/64")]));
    let fixed = [("allowed-address", "2001:db8::8/64"), ("defrouter", "2001:db8::fe")];
    let fixed = w.boot("fixed", &anet(&fixed));
    let own = [("allowed-address", "2001:db8::9/64"), ("configure-allowed-address", "false")];
    let own = w.boot("own", &anet(&own));
    let shares = w.boot("shares", &shared("10"));
    // One of the zone's own subnet, and another one.
    for prefix in ["2001:db8::", "2001:db8:5::"] {
        advertise(&w, &free, prefix);
        for (name, zone, wanted) in [
            ("both", &both, vec![ip("2001:db8::7")]),
            ("fixed", &fixed, vec![ip("2001:db8::8")]),
            ("own", &own, vec![]),
            ("shares", &shares, vec![ip("2001:db8::10")]),
        ] {
            assert_eq!(global_v6(zone), wanted, "addresses of {name} after {prefix}");
        }
    }
    for (zone, address) in [(&both, "2001:db8::7"), (&fixed, "2001:db8::8")] {
        for there in ["2001:db8::fe", "2001:db8:99::1"] {
            assert_eq!(source(zone, there).expect("a way"), ip(address), "to {there}");
            assert_eq!(udp(zone, None, &w.outside, there), Ok(ip(address)), "to {there}");
            assert_eq!(tcp(zone, &w.outside, there), Ok(ip(address)), "to {there}");
        }
        assert!(tcp(&w.outside, zone, address).is_ok(), "from outside to {address}");
    }
    // The router that the spec does not name is learned; where it names one, no other is taken.
    assert_eq!(gateways(&both), [ip(ROUTER)]);
    assert_eq!(gateways(&fixed), [ip("2001:db8::fe")]);
    w.end(&["free", "both", "fixed", "own", "shares"]);
}

#[test]
fn a_zone_with_ipv4_alone_does_not_wait_for_ipv6() {
    let Some(w) = World::new() else { return };
    // The host of this test is not asked about.
    std::fs::write("/proc/sys/net/ipv6/conf/eth0/accept_ra", "0").expect("written");
    w.outside.at(|| give("out0", &format!("{ROUTER}/64")));
    let free = w.boot("free", &anet(&[]));
    let four = w.boot("four", &anet(&[("allowed-address", "192.0.2.7/24"), ("defrouter", "192.0.2.254")]));
    advertise(&w, &free, "2001:db8:5::");
    assert_eq!(global_v6(&four), [] as [std::net::IpAddr; 0]);
    assert_eq!(gateways(&four), [ip("192.0.2.254")], "no router of IPv6");
    // A program that tries the IPv6 address of a name first is told at once that there is no way.
    let refused = source(&four, "2001:db8:99::1").expect_err("no way by IPv6");
    assert_eq!(refused.kind(), std::io::ErrorKind::NetworkUnreachable, "{refused}");
    assert_eq!(tcp(&four, &w.outside, "198.51.100.1"), Ok(ip("192.0.2.7")));
    w.end(&["free", "four"]);
}
