//! Addresses in use, links that go, and ends at any moment.

use crate::net::{World, exclusive, find, give, make, net, no_tcp, shared, socket, tcp, up};
use zones::sys::netlink::link::{self, LinkChange};

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
    link::change(&mut socket(), index, &LinkChange { clear: link::UP, ..LinkChange::default() })
        .expect("off");
    link::change(&mut socket(), index, &LinkChange { name: Some("eth9"), ..LinkChange::default() })
        .expect("renamed");
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
        link::change(&mut socket(), index, &LinkChange { clear: link::UP, ..LinkChange::default() })
            .expect("off");
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
        let steps = (5..40).map(|n| format!("started-{n}"));
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
            if place.starts_with("started-") {
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
fn killed_while_it_halts_the_next_command_undoes_no_step_a_second_time() {
    let Some(w) = World::new() else { return };
    w.lab.installed("zion", &shared("7"));
    w.lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let journal = std::fs::read_to_string(w.lab.path().join("run/zones/zion/journal")).expect("a journal");
    let head: serde_json::Value =
        serde_json::from_str(journal.lines().next().expect("a plan")).expect("a line of JSON");
    let steps = head["plan"]["steps"].as_array().expect("steps");
    let link = steps.iter().position(|s| s.get("remove_link").is_some()).expect("a link");
    w.lab.kill_supervisor("zion");
    let place = format!("undone-{link}");
    let halt = w.lab.run_with("zoneadm", &["-z", "zion", "halt"], &[("ZONES_TEST_KILL_AT", &place)], "");
    assert_ne!(halt.status, 0, "{place} was not reached: {halt:?}");
    let halt = w.lab.run_with("zoneadm", &["-z", "zion", "halt"], &[("ZONES_LOG", "debug")], "");
    assert!(halt.status == 0 && halt.err.contains("undo: RemoveCgroup"), "{halt:?}");
    assert!(!halt.err.contains("undo: RemoveLink"), "{halt:?}");
    w.assert_clean();
    w.end(&[]);
}

/// Returns a journal as early programs of 0.1.0 wrote it: without a plan in front, and with the way back in the line.
fn early(journal: &str) -> String {
    let mut lines =
        journal.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).expect("a line of JSON"));
    let head = lines.next().expect("a plan");
    let early = |line: serde_json::Value| {
        let step = line["step"].as_u64().expect("a number");
        let inverse = &head["plan"]["steps"][usize::try_from(step).expect("a small one")];
        match line["phase"].as_str() {
            Some("started") => serde_json::json!({ "line": "started", "step": step, "inverse": inverse }),
            _ => serde_json::json!({ "line": "done", "step": step }),
        }
    };
    lines.map(|line| early(line).to_string() + "\n").collect()
}

#[test]
fn what_the_journal_of_an_early_release_tells_is_undone() {
    let Some(w) = World::new() else { return };
    w.lab.installed("zion", &shared("7"));
    let path = w.lab.path().join("run/zones/zion/journal");
    for next in ["halt", "boot"] {
        w.lab.ok("zoneadm", &["-z", "zion", "boot"]);
        let journal = early(&std::fs::read_to_string(&path).expect("a journal"));
        assert!(journal.contains("remove_link") && !journal.contains("format"), "{journal}");
        std::fs::write(&path, journal).expect("written");
        let init = crate::net::lab::record(&w.lab, "zion", "init");
        w.lab.kill_supervisor("zion");
        assert!(std::process::Command::new("kill").args(["-9", &init]).status().is_ok_and(|s| s.success()));
        w.lab.ok("zoneadm", &["-z", "zion", next]);
        if next == "boot" {
            w.halt("zion");
        }
        w.assert_clean();
    }
    w.end(&[]);
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
fn a_port_that_is_not_gone_yet_is_off_and_its_address_is_free() {
    let Some(w) = World::new() else { return };
    // Who holds the network namespace keeps the port, and the process that would remove it is killed.
    let held = w.boot("zion", &shared("7"));
    let env = [("ZONES_TEST_KILL_AT", "port-beside")];
    let halt = w.lab.run_with("zoneadm", &["-z", "zion", "halt"], &env, "");
    assert_eq!(halt.status, 0, "{halt:?}");
    let ports = || {
        let list = link::all(&mut socket()).expect("links").into_iter();
        list.filter(|l| l.alias.as_deref().is_some_and(|a| a.contains("zion"))).collect::<Vec<_>>()
    };
    assert!(ports().len() == 1 && !ports()[0].is_up(), "{:?}", ports());
    let web = w.boot("web", &shared("7"));
    assert!(tcp(&w.outside, &web, "192.0.2.7").is_ok(), "the other zone has the address");
    w.halt("web");
    w.lab.ok("zoneadm", &["-z", "zion", "boot"]);
    assert!(tcp(&w.outside, &w.zone("zion"), "192.0.2.7").is_ok(), "the next port has the name");
    assert!(ports().len() == 1 && ports()[0].is_up(), "{:?}", ports());
    drop(held);
    w.end(&["zion"]);
}

#[test]
fn a_boot_right_after_a_halt_finds_the_name_of_its_port_free() {
    let Some(w) = World::new() else { return };
    w.lab.installed("zion", &shared("7"));
    for round in 0..10 {
        w.lab.ok("zoneadm", &["-z", "zion", "boot"]);
        assert!(tcp(&w.outside, &w.zone("zion"), "192.0.2.7").is_ok(), "round {round}");
        w.halt("zion");
    }
    w.end(&[]);
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
    let init = crate::net::lab::record(&w.lab, "zion", "init");
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
fn a_router_that_answers_for_all_is_no_proof() {
    let Some(mut w) = World::new() else { return };
    // A hoster's private network: the router answers every question, at once.
    w.outside.at(|| {
        for (file, text) in [
            ("conf/out0/forwarding", "1"),
            ("conf/out0/proxy_arp_pvlan", "1"),
            ("neigh/out0/proxy_delay", "0"),
        ] {
            std::fs::write(format!("/proc/sys/net/ipv4/{file}"), text).expect("written");
        }
    });
    let gate = w.outside.at(|| find("out0")).mac.expect("an address");
    let gate = zones::plan::net::Mac(gate).to_string();
    let with = |address: &str, router: &str| {
        net(&[("physical", "eth0"), ("address", address), ("defrouter", router)])
    };
    // Its router is known by the spec.
    w.lab.installed("zion", &with("192.0.2.7/24", "192.0.2.254"));
    let said = w.lab.run("zoneadm", &["-z", "zion", "boot"]);
    assert_eq!(said.status, 0, "{said:?}");
    assert!(said.err.contains("the router 192.0.2.254 answers for 192.0.2.7"), "{said:?}");
    assert!(tcp(&w.outside, &w.zone("zion"), "192.0.2.7").is_ok());
    w.halt("zion");
    // Without a router nothing tells that it is one; the administrator can.
    let said = w.refused("web", &net(&[("physical", "eth0"), ("address", "192.0.2.8/24")]));
    let wanted = format!(
        "address in use by the machine with the link-layer address {gate} on 'eth0': 192.0.2.8; if that one answers for \
         others, name the address in an attr answered-addresses"
    );
    assert!(said.contains(&wanted), "{said}");
    let attr = "add attr\nset name=answered-addresses\nset type=string\nset value=192.0.2.8\nend\nexit\n";
    w.lab.run_with("zonecfg", &["-z", "web"], &[], attr);
    let said = w.lab.run("zoneadm", &["-z", "web", "boot"]);
    assert_eq!(said.status, 0, "{said:?}");
    assert!(
        said.err.contains(&format!("{gate} answers for 192.0.2.8, which is the zone's all the same")),
        "{said:?}"
    );
    w.halt("web");
    // The router is the host's; its own address is in use all the same.
    let index = find("eth0").index;
    zones::sys::netlink::route::add_default(&mut socket(), index, &"192.0.2.254".parse().expect("one"), 0)
        .expect("a route");
    w.settle();
    let said = w.refused("gate", &net(&[("physical", "eth0"), ("address", "192.0.2.254/24")]));
    assert!(said.contains("address in use by"), "{said}");
    w.lab.installed("dns", &net(&[("physical", "eth0"), ("address", "192.0.2.9/24")]));
    let said = w.lab.run("zoneadm", &["-z", "dns", "boot"]);
    assert!(said.err.contains("the router 192.0.2.254 answers for 192.0.2.9"), "{said:?}");
    w.end(&["dns"]);
}
