use super::*;
use crate::spec::{Value, ZoneName};

fn zone(lines: &[(ResourceKind, &[(&str, &str)])], exclusive: bool) -> ZoneSpec {
    let mut spec = ZoneSpec::new(ZoneName::new("zion").expect("a good name"));
    if exclusive {
        let def = crate::spec::schema::global("ip-type").expect("in the table");
        spec.props.set(def, Value::simple("exclusive"));
    }
    for (kind, pairs) in lines {
        let mut props = Props::default();
        for (name, text) in *pairs {
            props.set(kind.def().prop(name).expect("the table has it"), Value::simple(*text));
        }
        spec.stored_mut(*kind).push(props);
    }
    spec
}

fn nets(lines: &[&[(&str, &str)]]) -> ZoneSpec {
    zone(&lines.iter().map(|l| (ResourceKind::Net, *l)).collect::<Vec<_>>(), false)
}

fn exclusive(lines: &[&[(&str, &str)]]) -> ZoneSpec {
    zone(&lines.iter().map(|l| (ResourceKind::Net, *l)).collect::<Vec<_>>(), true)
}

fn anet(pairs: &[(&str, &str)]) -> ZoneSpec {
    zone(&[(ResourceKind::Anet, pairs)], true)
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn facts() -> NetFacts {
    let eth = |index, last| HostLink {
        index,
        ethernet: true,
        device: Some("0000:00:03.0".into()),
        mac: Some(Mac([2, 0, 0, 0, 0, last])),
        mtu: 1500,
        ..HostLink::default()
    };
    let mut eth0 = eth(2, 2);
    eth0.addresses = vec!["192.0.2.1/24".parse().expect("a net"), "2001:db8::1/64".parse().expect("a net")];
    eth0.gateways = vec![ip("192.0.2.254"), ip("fe80::1"), ip("10.0.0.1")];
    let bridge = HostLink { kind: Some("bridge".into()), device: None, ..eth(4, 4) };
    let veth = HostLink { kind: Some("veth".into()), device: None, ..eth(6, 6) };
    let port = HostLink { master: Some(("br0".into(), "bridge".into())), ..eth(5, 5) };
    let tunnel = HostLink { ethernet: false, mac: None, ..eth(7, 7) };
    NetFacts {
        links: [
            ("eth0", eth0),
            ("eth1", eth(3, 3)),
            ("br0", bridge),
            ("eth2", port),
            ("veth9", veth),
            ("tun0", tunnel),
        ]
        .into_iter()
        .map(|(n, l)| (n.to_owned(), l))
        .collect(),
        default_link: Some("eth0".into()),
        host_addresses: vec![(ip("192.0.2.1"), "eth0".into()), (ip("198.51.100.1"), "eth9".into())],
        taken: [(("eth0".to_owned(), 0, ip("192.0.2.9")), "web".to_owned())].into(),
        owned: [("eth8".to_owned(), "db".to_owned())].into(),
        port: "zabc".into(),
        seed: "an id".into(),
        ..NetFacts::default()
    }
}

fn good(spec: &ZoneSpec) -> NetworkPlan {
    plan(spec, &facts()).expect("it can be had")
}

fn bad(spec: &ZoneSpec) -> String {
    plan(spec, &facts()).expect_err("it must be refused").to_string()
}

#[test]
fn addresses_of_one_link_share_one_interface() {
    let spec = nets(&[
        &[("physical", "eth0"), ("address", "192.0.2.7/24")],
        &[("physical", "eth1"), ("address", "203.0.113.7/25"), ("defrouter", "203.0.113.1")],
        &[("physical", "eth0"), ("address", "2001:db8::7/64")],
    ]);
    let network = good(&spec);
    let names: Vec<_> = network.links.iter().map(|l| (l.name.as_str(), l.port.as_str())).collect();
    assert_eq!(names, [("eth0", "zabc-0"), ("eth1", "zabc-1")]);
    let eth0 = &network.links[0];
    assert_eq!(eth0.addresses.len(), 2);
    assert_eq!((eth0.way, eth0.mac), (LinkMode::Shared, Mac([2, 0, 0, 0, 0, 2])));
    // A router was given, so the host's are not taken over.
    assert!(eth0.routers.is_empty());
    assert_eq!(network.links[1].routers, [ip("203.0.113.1")]);
    let held = eth0.guard.addresses.as_ref().expect("held to its addresses");
    let own = IpAddr::from(eth0.link_local.expect("IPv6 needs one"));
    assert_eq!(held, &[ip("192.0.2.7"), ip("2001:db8::7"), own]);
    assert!(eth0.guard.mac && eth0.guard.restricted && eth0.guard.dhcp && eth0.guard.router);
    assert_eq!(network.links[1].link_local, None);
    assert!(eth0.describe().starts_with(
        "net physical=eth0: share eth0 as eth0 (zabc-0 on the host), link-layer address 02:00:00:00:00:02, \
         address 192.0.2.7/24, address 2001:db8::7/64; held to 192.0.2.7 2001:db8::7 fe80::"
    ));
}

#[test]
fn without_a_router_the_hosts_are_used_as_far_as_they_are_near() {
    let network = good(&nets(&[
        &[("physical", "eth0"), ("address", "192.0.2.7/24")],
        &[("physical", "eth0"), ("address", "2001:db8::7/64")],
    ]));
    assert_eq!(network.links[0].routers, [ip("192.0.2.254"), ip("fe80::1")]);
    let network = good(&nets(&[&[("physical", "eth0"), ("address", "198.18.0.7/24")]]));
    assert!(network.links[0].routers.is_empty());
    // Host and zone reach each other all the same.
    assert_eq!(network.links[0].beside, [ip("192.0.2.1")]);
    assert_eq!(network.links[0].beside_host, [(ip("198.18.0.7"), ip("192.0.2.1"))]);
}

#[test]
fn prefixes_that_are_not_given() {
    let network = good(&nets(&[
        &[("physical", "eth0"), ("address", "192.0.2.7")],
        &[("physical", "eth0"), ("address", "10.1.2.3")],
    ]));
    let texts: Vec<_> = network.links[0].addresses.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["192.0.2.7/24", "10.1.2.3/8"]);
    assert_eq!(
        network.warnings,
        ["net physical=eth0: 10.1.2.3: no matching subnet found in netmasks(4); using default /8"]
    );
}

#[test]
fn host_names() {
    let spec = nets(&[&[("physical", "eth0"), ("address", "zone1/24"), ("defrouter", "gate")]]);
    assert_eq!(super::host_names(&spec).into_iter().collect::<Vec<_>>(), ["gate", "zone1"]);
    let mut f = facts();
    f.names.insert("zone1".into(), Ok(vec![ip("192.0.2.50")]));
    f.names.insert("gate".into(), Ok(vec![ip("192.0.2.254"), ip("2001:db8::ff")]));
    let network = plan(&spec, &f).expect("both are known");
    assert_eq!(network.links[0].addresses[0].to_string(), "192.0.2.50/24");
    assert_eq!(network.links[0].routers, [ip("192.0.2.254")]);
    let why = HostNameError::NameService { reason: "Name or service not known".into() };
    f.names.insert("zone1".into(), Err(why));
    let e = plan(&spec, &f).expect_err("not known").to_string();
    assert_eq!(
        e,
        "could not verify net physical=eth0 address=zone1/24: host name 'zone1' cannot be resolved: Name or service \
         not known"
    );
}

#[test]
fn what_cannot_be_had_is_named() {
    let shared =
        |physical: &str, address: &str| bad(&nets(&[&[("physical", physical), ("address", address)]]));
    let cases = [
        (shared("eth7", "192.0.2.7/24"), "link 'eth7' does not exist on this host"),
        (shared("eth8", "192.0.2.7/24"), "link 'eth8' is used by the non-global zone 'db'"),
        (shared("eth2", "192.0.2.7/24"), "link 'eth2' is part of the bridge 'br0'; name that one"),
        (shared("tun0", "192.0.2.7/24"), "carries no ethernet frames"),
        (shared("eth0", "192.0.2.1/24"), "address in use by the global zone, on 'eth0': 192.0.2.1"),
        (shared("eth0", "198.51.100.1/24"), "address in use by the global zone, on 'eth9'"),
        (
            shared("eth0", "192.0.2.9/24"),
            "could not bring network interface up: address in use by zone 'web': 192.0.2.9",
        ),
        (shared("eth0", "192.0.2.0/24"), "is the subnet's own address"),
        (shared("eth0", "224.0.0.1/24"), "cannot be the address of a zone"),
        (shared("eth0", "127.0.0.5/8"), "cannot be the address of a zone"),
        (
            bad(&nets(&[
                &[("physical", "eth0"), ("address", "192.0.2.7/24")],
                &[("physical", "eth0"), ("address", "192.0.2.7/25")],
            ])),
            "address in use by another net of this zone: 192.0.2.7",
        ),
        (
            bad(&nets(&[&[("physical", "eth0"), ("address", "192.0.2.7/24"), ("defrouter", "2001:db8::9")]])),
            "could not verify net physical=eth0 defrouter=2001:db8::9: the link has no IPv6 address",
        ),
        (
            bad(&nets(&[&[("physical", "eth0"), ("address", "192.0.2.7/24"), ("vlan-id", "5")]])),
            "vlan-id is for a link of the zone's own",
        ),
        (bad(&zone(&[(ResourceKind::Anet, &[])], false)), "a shared zone uses the host's links"),
        (
            bad(&exclusive(&[&[("physical", "eth0")]])),
            "is used in the global zone, where it has the address 192.0.2.1",
        ),
        (
            bad(&exclusive(&[&[("physical", "net0"), ("global-nic", "eth1")], &[("physical", "eth1")]])),
            "link 'eth1' is used by net physical=net0 as well",
        ),
        (bad(&exclusive(&[&[("physical", "lo"), ("global-nic", "eth0")]])), "'lo' cannot be a link's name"),
        (bad(&anet(&[("link-protection", "ip-nospoof")])), "ip-nospoof needs allowed-address"),
        (bad(&anet(&[("link-protection", "wild")])), "link-protection 'wild' is not known"),
        (bad(&anet(&[("maxbw", "fast")])), "maxbw 'fast' is not a number of bits per second"),
        (bad(&anet(&[("maxbw", "1K")])), "maxbw '1K' is not"),
        (bad(&anet(&[("mtu", "9000")])), "mtu 9000 is more than the 1500 of 'eth0'"),
        (bad(&anet(&[("mac-address", "03:0:0:0:0:1")])), "'03:0:0:0:0:1' is no link-layer address"),
        (bad(&anet(&[("mac-prefix", "1:2")])), "mac-prefix '1:2'"),
        (bad(&anet(&[("defrouter", "192.0.2.1")])), "defrouter needs allowed-address"),
    ];
    for (found, wanted) in cases {
        assert!(found.contains(wanted), "{found} has not: {wanted}");
    }
}

#[test]
fn a_link_of_ones_own() {
    let moved = good(&exclusive(&[&[("physical", "eth1")]]));
    assert_eq!(moved.links[0].way, LinkMode::Moved);
    assert_eq!(moved.links[0].describe(), "net physical=eth1: move eth1 into the zone");
    // Held to an address it stays outside, where the rule is out of the zone's reach.
    let held = good(&exclusive(&[&[
        ("physical", "eth1"),
        ("allowed-address", "203.0.113.7/24"),
        ("defrouter", "203.0.113.1"),
    ]]));
    let link = &held.links[0];
    assert_eq!((link.way, link.mac), (LinkMode::Wire, Mac([2, 0, 0, 0, 0, 3])));
    assert_eq!(link.addresses[0].to_string(), "203.0.113.7/24");
    assert_eq!(link.guard.addresses, Some(vec![ip("203.0.113.7"), ip("fe80::ff:fe00:3")]));
    // The kernel would destroy it with the zone.
    let kept = good(&exclusive(&[&[("physical", "veth9")]]));
    assert_eq!(kept.links[0].way, LinkMode::Wire);
    assert_eq!(kept.links[0].guard, LinkGuard::default());
    let made = good(&exclusive(&[
        &[("physical", "net0"), ("global-nic", "eth0"), ("vlan-id", "42"), ("mac-addr", "2:8:20:0:0:1")],
        &[("physical", "net1"), ("global-nic", "br0")],
    ]));
    assert_eq!((made.links[0].way, made.links[0].vlan), (LinkMode::Own, 42));
    assert_eq!(made.links[0].mac.to_string(), "02:08:20:00:00:01");
    assert_eq!(made.links[1].way, LinkMode::Bridge);
    assert!(made.links[1].guard.mac && made.links[1].guard.addresses.is_none());
}

#[test]
fn a_made_link_has_the_same_address_at_every_boot() {
    let first = good(&anet(&[])).links[0].clone();
    assert_eq!((first.name.as_str(), first.lower.as_str(), first.way), ("net0", "eth0", LinkMode::Own));
    assert_eq!(good(&anet(&[])).links[0].mac, first.mac);
    assert_eq!(first.mac.0[0] & 3, 2, "for one link, of nobody's hardware");
    let named = good(&anet(&[("linkname", "net1")])).links[0].clone();
    assert_ne!(named.mac, first.mac);
    let random = |chance| {
        let f = NetFacts { chance, ..facts() };
        plan(&anet(&[("mac-address", "random"), ("mac-prefix", "2:8:20")]), &f).expect("good").links[0].mac
    };
    assert_ne!(random([1; 16]), random([2; 16]));
    assert_eq!(random([1; 16]).0[..3], [2, 8, 0x20]);
}

#[test]
fn protection_and_bandwidth() {
    let link = good(&anet(&[
        ("link-protection", "mac-nospoof,ip-nospoof,dhcp-nospoof,restricted"),
        ("allowed-address", "192.0.2.7/24,2001:db8::7/64"),
        ("configure-allowed-address", "false"),
        ("maxbw", "1.5G"),
    ]))
    .links[0]
        .clone();
    assert!(link.guard.mac && link.guard.dhcp && link.guard.restricted && link.guard.may_ask);
    assert!(link.addresses.is_empty());
    assert_eq!(link.claimed(), [ip("192.0.2.7"), ip("2001:db8::7")]);
    assert_eq!(link.maxbw, Some(1_500_000_000));
    assert_eq!(super::bandwidth("100"), Some(100_000_000));
    for bad in ["", "M", "-1M", "1e3", "0", "1T5"] {
        assert_eq!(super::bandwidth(bad), None, "{bad}");
    }
}

#[test]
fn a_zone_with_addresses_gives_none_unless_that_is_said() {
    let guard = |spec: &ZoneSpec| good(spec).links[0].guard.clone();
    let own = ("allowed-address", "192.0.2.7/24");
    assert!(!guard(&anet(&[])).dhcp, "what asks for an address may answer too");
    assert!(guard(&anet(&[own])).dhcp && guard(&anet(&[own])).router);
    let server = guard(&anet(&[own, ("link-protection", "mac-nospoof,ip-nospoof")]));
    assert!(server.addresses.is_some() && !server.dhcp && server.router);
    assert!(guard(&exclusive(&[&[("physical", "net0"), ("global-nic", "eth0"), own]])).dhcp);
    assert!(!guard(&exclusive(&[&[("physical", "net0"), ("global-nic", "eth0")]])).dhcp);
}

#[test]
fn link_local_addresses() {
    assert_eq!(Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56]).link_local().to_string(), "fe80::5054:ff:fe12:3456");
    let own = super::mac::link_local("seed", "eth0");
    assert!(own.is_unicast_link_local());
    assert_ne!(own, super::mac::link_local("seed", "eth1"));
}
