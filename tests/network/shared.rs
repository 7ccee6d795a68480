//! Zones that share a link of the host.

use super::bridged;
use super::held::held_to;
use crate::net::{
    Space, World, all_reach, find, gateways, give, ip, make, net, shared, socket, soon, tcp, udp, up,
};
use zones::sys::netlink::link;
use zones::sys::netlink::route;

/// Host, two zones and what is outside reach each other, by both protocols.
pub fn both_reach(w: &World, zion: &Space, web: &Space) {
    all_reach(&[
        ("host", &w.host, "192.0.2.1"),
        ("zion", zion, "192.0.2.7"),
        ("web", web, "192.0.2.8"),
        ("outside", &w.outside, "192.0.2.254"),
        ("host", &w.host, "2001:db8::1"),
        ("zion", zion, "2001:db8::7"),
        ("web", web, "2001:db8::8"),
        ("outside", &w.outside, "2001:db8::fe"),
    ]);
}

#[test]
fn a_shared_zone_is_reached_and_reaches() {
    let Some(w) = World::new() else { return };
    let zion = w.boot("zion", &shared("7"));
    let web = w.boot("web", &shared("8"));
    both_reach(&w, &zion, &web);
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

#[test]
fn shared_on_a_bridge() {
    let Some(w) = bridged() else { return };
    let on_bridge = |last: &str| shared(last).replace("eth0", "br0");
    let zion = w.boot("zion", &on_bridge("7"));
    let web = w.boot("web", &on_bridge("8"));
    both_reach(&w, &zion, &web);
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

#[test]
fn the_hosts_file_has_the_addresses_that_the_zone_has_now() {
    let Some(w) = World::new() else { return };
    let zion = w.boot("zion", &shared("7"));
    let found = w.lab.ok("zlogin", &["zion", "getent ahosts zion; getent hosts localhost"]);
    assert!(found.contains("192.0.2.7") && found.contains("2001:db8::7"), "{found}");
    assert!(found.contains("localhost") && !found.contains("127.0.1.1"), "{found}");
    assert_eq!(tcp(&w.outside, &zion, "192.0.2.7"), Ok(ip("192.0.2.254")));
    w.halt("zion");
    let other = "add net\nset physical=eth0\nset address=192.0.2.18/24\nend\nexit\n";
    w.lab.run_with("zonecfg", &["-z", "zion"], &[], &format!("remove -F net\n{other}"));
    w.lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let found = w.lab.ok("zlogin", &["zion", "getent ahosts zion"]);
    assert!(found.contains("192.0.2.18") && !found.contains("192.0.2.7"), "{found}");
    // It is listed by the name that its administrator gives it.
    w.lab.ok("zlogin", &["zion", "echo inner > /etc/hostname"]);
    w.lab.ok("zoneadm", &["-z", "zion", "reboot"]);
    let found = w.lab.ok("zlogin", &["zion", "getent ahosts inner"]);
    assert!(found.contains("192.0.2.18"), "{found}");
    // Without a link it has no address that others know.
    w.lab.run_with("zonecfg", &["-z", "zion"], &[], "remove -F net\nexit\n");
    w.lab.ok("zoneadm", &["-z", "zion", "reboot"]);
    let found = w.lab.ok("zlogin", &["zion", "cat /etc/hosts"]);
    assert!(found.contains("127.0.1.1\tinner\n") && !found.contains("192.0.2"), "{found}");
    w.lab.run_with("zonecfg", &["-z", "zion"], &[], other);
    w.lab.ok("zoneadm", &["-z", "zion", "reboot"]);
    // From now on it is the zone's own.
    w.lab.ok("zlogin", &["zion", "echo '192.0.2.9 db' >> /etc/hosts"]);
    let mine = w.lab.ok("zlogin", &["zion", "cat /etc/hosts"]);
    w.lab.ok("zoneadm", &["-z", "zion", "reboot"]);
    assert_eq!(w.lab.ok("zlogin", &["zion", "cat /etc/hosts"]), mine);
    w.end(&["zion"]);
}

#[test]
fn an_answer_leaves_by_the_link_of_its_own_address() {
    let Some(mut w) = World::new() else { return };
    w.cable("eth1", "out1");
    give("eth1", "203.0.113.1/24");
    give("eth1", "2001:db8:1::1/64");
    w.outside.at(|| {
        give("out1", "203.0.113.254/24");
        give("out1", "2001:db8:1::fe/64");
        give("lo", "2001:db8:99::1/128");
    });
    w.settle();
    let on = |link, address, router| net(&[("physical", link), ("address", address), ("defrouter", router)]);
    let lines = on("eth0", "192.0.2.7/24", "192.0.2.254")
        + &on("eth0", "2001:db8::7/64", "2001:db8::fe")
        + &on("eth1", "203.0.113.7/24", "203.0.113.254")
        + &on("eth1", "2001:db8:1::7/64", "2001:db8:1::fe");
    let zion = w.boot("zion", &lines);
    for (mine, far) in [
        ("192.0.2.7", "198.51.100.1"),
        ("203.0.113.7", "198.51.100.1"),
        ("2001:db8::7", "2001:db8:99::1"),
        ("2001:db8:1::7", "2001:db8:99::1"),
    ] {
        // From beyond the zone's subnets to each of its addresses, and the other way.
        // The first datagram may go while a slow machine still looks for its neighbour.
        assert!(soon(|| udp(&w.outside, Some(far), &zion, mine) == Ok(ip(far))), "to {mine}");
        let there = zion.at(|| std::net::TcpListener::bind((ip(mine), 0))).expect("listen");
        let client = tcp_from(&w.outside, far, there.local_addr().expect("an address"));
        assert!(client.is_ok(), "tcp to {mine}: {client:?}");
        assert!(soon(|| udp(&zion, Some(mine), &w.outside, far) == Ok(ip(mine))), "from {mine}");
    }
    // What is on the links is reached as ever, and without an address to speak from the first router serves.
    assert_eq!(tcp(&zion, &w.host, "203.0.113.1"), Ok(ip("203.0.113.7")));
    assert_eq!(tcp(&w.host, &zion, "2001:db8:1::7"), Ok(ip("2001:db8:1::1")));
    assert_eq!(tcp(&zion, &w.outside, "198.51.100.1"), Ok(ip("192.0.2.7")));
    w.end(&["zion"]);
}

/// Opens a connection from an address of its own.
fn tcp_from(space: &Space, source: &str, to: std::net::SocketAddr) -> std::io::Result<()> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let fd = space.at(|| socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None))?;
    let limit = std::time::Duration::from_secs(4);
    sockopt::set_socket_timeout(&fd, sockopt::Timeout::Send, Some(limit))?;
    bind(&fd, &std::net::SocketAddr::new(ip(source), 0))?;
    Ok(connect(&fd, &to)?)
}

#[test]
fn ordinary_users_ping_and_bind_as_on_the_host() {
    let Some(w) = World::new() else { return };
    let set =
        |file: &str, text: &str| std::fs::write(format!("/proc/sys/net/ipv4/{file}"), text).expect("written");
    set("ping_group_range", "0 2147483647");
    set("ip_unprivileged_port_start", "80");
    w.boot("zion", &shared("7"));
    let user =
        |what: &str| format!("setpriv --reuid 1000 --regid 1000 --clear-groups perl -MSocket -e '{what}'");
    let ping = user("socket(S, PF_INET, SOCK_DGRAM, 1) or die $!; print \"pings\"");
    assert_eq!(w.lab.ok("zlogin", &["zion", &ping]), "pings");
    let port = |n: u32| {
        user(&format!(
            "socket(S, PF_INET, SOCK_STREAM, 0); print bind(S, sockaddr_in({n}, INADDR_ANY)) ? \"bound\" : $!"
        ))
    };
    assert_eq!(w.lab.ok("zlogin", &["zion", &port(80)]), "bound");
    assert_eq!(w.lab.ok("zlogin", &["zion", &port(79)]), "Permission denied");
    w.halt("zion");
    // A host with the kernel's defaults hands none on.
    set("ping_group_range", "1 0");
    set("ip_unprivileged_port_start", "1024");
    w.lab.ok("zoneadm", &["-z", "zion", "boot"]);
    assert_eq!(w.lab.ok("zlogin", &["zion", &port(80)]), "Permission denied");
    assert_ne!(w.lab.run("zlogin", &["zion", &ping]).out, "pings");
    w.end(&["zion"]);
}

#[test]
fn a_shared_zone_hears_what_is_for_all() {
    use crate::net::raw::{ALL, Raw, arp, packet};
    let Some(w) = World::new() else { return };
    let zion = w.boot("zion", &shared("7"));
    let web = w.boot("web", &shared("8"));
    let own = w.boot("own", &super::own_on("eth0", "9"));
    let spaces = [("host", &w.host), ("outside", &w.outside), ("zion", &zion), ("web", &web), ("own", &own)];
    let join = |space: &Space, link: &str| {
        space.at(|| {
            let v4 = std::net::UdpSocket::bind("0.0.0.0:5353").expect("bind");
            v4.set_broadcast(true).expect("broadcast");
            v4.set_multicast_loop_v4(false).expect("no echo");
            let request = nix::libc::ip_mreqn {
                imr_multiaddr: nix::libc::in_addr { s_addr: u32::from_ne_bytes([224, 0, 0, 251]) },
                imr_address: nix::libc::in_addr { s_addr: 0 },
                imr_ifindex: i32::try_from(find(link).index).expect("a number"),
            };
            crate::net::raw::join(&v4, &request);
            v4.set_read_timeout(Some(super::SOON)).expect("a limit");
            v4
        })
    };
    let link = |name: &str| match name {
        "outside" => "out0",
        "own" => "net0",
        _ => "eth0",
    };
    let ears: Vec<_> = spaces.iter().map(|(name, space)| join(space, link(name))).collect();
    for target in ["224.0.0.251:5353", "192.0.2.255:5353"] {
        for (from, (name, _)) in ears.iter().zip(&spaces) {
            let text = format!("{name} to {target}");
            from.send_to(text.as_bytes(), target).expect("sent");
            for (ear, (other, _)) in ears.iter().zip(&spaces).filter(|(_, (other, _))| other != name) {
                let mut buffer = [0; 64];
                let got = ear.recv(&mut buffer).map(|n| String::from_utf8_lossy(&buffer[..n]).into_owned());
                assert_eq!(got.ok().as_ref(), Some(&text), "heard by {other}");
                ear.set_nonblocking(true).expect("a mode");
                assert!(ear.recv(&mut buffer).is_err(), "{other} hears it once");
                ear.set_nonblocking(false).expect("a mode");
            }
            // A broadcast comes back to whoever listens for it himself.
            from.set_nonblocking(true).expect("a mode");
            while from.recv(&mut [0; 64]).is_ok() {}
            from.set_nonblocking(false).expect("a mode");
        }
    }
    // Questions for link-layer addresses of others are no news to it, and nothing of what is for one.
    let ear = zion.at(|| Raw::open("eth0", true));
    let mouth = w.outside.at(|| Raw::open("out0", false));
    let gate = w.outside.at(|| find("out0")).mac.expect("an address");
    let ask = arp(1, gate, gate, "192.0.2.254", "192.0.2.99");
    let all = packet(ALL, gate, ip("192.0.2.254"), ip("255.255.255.255"), b"the end");
    mouth.send(&ask);
    mouth.send(&all);
    let heard = ear.heard(super::SOON);
    assert!(
        heard.iter().any(|h| h.frame.starts_with(&all)) && !heard.iter().any(|h| h.frame.starts_with(&ask))
    );
    w.end(&["zion", "web", "own"]);
}

#[test]
fn every_zone_of_a_crowd_hears_what_is_for_all() {
    use crate::net::raw::{ALL, Raw, packet};
    let Some(w) = World::new() else { return };
    // The programs of a link have few places at first, and get more as zones come.
    let mut crowd = String::from("set ip-type=exclusive\n");
    for n in 0..9 {
        let (name, address) = (format!("net{n}"), format!("192.0.2.{}/24", 20 + n));
        crowd += &net(&[("physical", &name), ("global-nic", "eth0"), ("allowed-address", &address)]);
    }
    let crowd = w.boot("crowd", &crowd);
    let zion = w.boot("zion", &shared("7"));
    let mut ears = crowd.at(|| (0..9).map(|n| Raw::open(&format!("net{n}"), true)).collect::<Vec<_>>());
    ears.push(zion.at(|| Raw::open("eth0", true)));
    let mouths = [(&w.outside, "out0"), (&w.host, "eth0"), (&zion, "eth0")];
    for (number, (space, link)) in mouths.into_iter().enumerate() {
        let (mouth, mac) = space.at(|| (Raw::open(link, false), find(link).mac.expect("an address")));
        let source = ["192.0.2.254", "192.0.2.1", "192.0.2.7"][number];
        let frame = packet(ALL, mac, ip(source), ip("255.255.255.255"), b"to all");
        mouth.send(&frame);
        let own = (number == 2).then_some(ears.len() - 1);
        for (place, ear) in ears.iter().enumerate().filter(|(place, _)| Some(*place) != own) {
            let heard = ear.heard(super::SOON / 4);
            let times = heard.iter().filter(|h| h.frame.starts_with(&frame)).count();
            assert_eq!(times, 1, "mouth {number}, ear {place}");
        }
        if let Some(own) = own {
            // A packet socket sees what its own link sends.
            drop(ears[own].heard(super::SOON / 4));
        }
    }
    w.end(&["crowd", "zion"]);
}

#[test]
fn programs_come_from_the_command_that_waits_or_the_supervisor_makes_them() {
    let Some(w) = World::new() else { return };
    w.lab.installed("zion", &shared("7"));
    let made_ahead = "the programs of link eth0 were made ahead";
    let boot = w.lab.run_with("zoneadm", &["-z", "zion", "boot"], &[("ZONES_LOG", "1")], "");
    assert!(boot.status == 0 && boot.err.contains(made_ahead), "{boot:?}");
    assert_eq!(tcp(&w.zone("zion"), &w.outside, "192.0.2.254"), Ok(ip("192.0.2.7")));
    let reboot = w.lab.run_with("zoneadm", &["-z", "zion", "reboot"], &[("ZONES_LOG", "1")], "");
    assert!(reboot.status == 0 && reboot.err.contains(made_ahead), "{reboot:?}");
    assert_eq!(tcp(&w.zone("zion"), &w.outside, "192.0.2.254"), Ok(ip("192.0.2.7")));
    w.halt("zion");
    // The command ends when it is asked for them: the supervisor goes on without it.
    let env = [("ZONES_LOG", "1"), ("ZONES_TEST_KILL_AT", "programs-asked")];
    let boot = w.lab.run_with("zoneadm", &["-z", "zion", "boot"], &env, "");
    assert!(boot.status != 0 && !boot.err.contains(made_ahead), "{boot:?}");
    assert!(crate::net::soon(|| w.lab.state("zion") == "running"), "{}", w.lab.state("zion"));
    assert_eq!(tcp(&w.zone("zion"), &w.outside, "192.0.2.254"), Ok(ip("192.0.2.7")));
    w.end(&["zion"]);
}
