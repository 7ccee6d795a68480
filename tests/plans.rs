//! The steps of a boot of each template, of the spec of the manual and of specs with everything, on one machine,
//! against texts that are kept. `BLESS=1` writes them anew: read the difference then.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::{env, fs};

use zones::plan::boot::{BootFacts, Special, order, plan};
use zones::plan::bootargs::BootArgs;
use zones::plan::dataset::{DatasetLookup, FilesystemMember, FilesystemTree};
use zones::plan::image::{self, ZoneImage, ZoneRules};
use zones::plan::limits::Host;
use zones::plan::net::{HostLink, Mac, NetFacts};
use zones::plan::options::MountOptions;
use zones::plan::spl::Spl;
use zones::plan::step::{Inverse, Node};
use zones::plan::zfs;
use zones::spec::{ZoneName, ZoneSpec, toml};

fn tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn spec(name: &str, text: &str) -> ZoneSpec {
    let zone = ZoneName::new(name).expect("a name");
    toml::parse(&zone, text.as_bytes()).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Returns the specs by their names.
fn specs() -> BTreeMap<String, ZoneSpec> {
    let mut specs = BTreeMap::new();
    for folder in ["zones.d", "tests/plans"] {
        for entry in fs::read_dir(tree(folder)).expect("a folder of specs") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|e| e == "toml") {
                let name = path.file_stem().and_then(|s| s.to_str()).expect("a name").to_owned();
                let text = fs::read_to_string(&path).expect("a spec");
                specs.insert(name.clone(), spec(&name, &text));
            }
        }
    }
    let page = fs::read_to_string(tree("man/zones.d.5")).expect("the page");
    let (_, rest) = page.split_once("\nformat = 1\n").expect("a spec in the manual");
    let text = rest.split_once("\n.Ed").expect("the end of the spec").0;
    specs.insert("manual".into(), spec("manual", &format!("format = 1\n{text}\n")));
    specs
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn network() -> NetFacts {
    let link = |index: u32, kind: Option<&str>, addresses: &[&str], gateways: &[&str]| HostLink {
        index,
        kind: kind.map(str::to_owned),
        ethernet: true,
        device: kind.is_none().then(|| "0000:00:03.0".into()),
        mac: Some(Mac([2, 0, 0, 0, 0, u8::try_from(index).expect("small")])),
        mtu: 1500,
        addresses: addresses.iter().map(|a| a.parse().expect("a net")).collect(),
        gateways: gateways.iter().map(|g| ip(g)).collect(),
        ..HostLink::default()
    };
    let eth0 = link(2, None, &["192.0.2.1/24", "2001:db8::1/64"], &["192.0.2.254", "fe80::1"]);
    let links = [
        ("eth0", eth0),
        ("eth1", link(3, None, &[], &[])),
        ("br0", link(4, Some("bridge"), &["198.51.100.1/24"], &[])),
    ];
    NetFacts {
        links: links.into_iter().map(|(name, link)| (name.to_owned(), link)).collect(),
        default_link: Some("eth0".into()),
        host_addresses: vec![(ip("192.0.2.1"), "eth0".into()), (ip("198.51.100.1"), "br0".into())],
        port: "zabc".into(),
        claims: "/run/zones/.net".into(),
        seed: "an id".into(),
        ..NetFacts::default()
    }
}

/// Returns a dataset with two filesystems that are mounted, one below it with options of its own.
fn dataset(name: &str) -> DatasetLookup {
    let member = |name: String, point: String, limits| FilesystemMember {
        name,
        point: Some(point),
        limits,
        ..FilesystemMember::default()
    };
    let strict = MountOptions { read_only: true, no_exec: true, devices: true, ..MountOptions::default() };
    DatasetLookup::Filesystem(Box::new(FilesystemTree {
        mounted: vec![format!("/{name}")],
        hide: vec![name.to_owned()],
        volmodes: vec![(format!("{name}/vol"), "full".into())],
        members: vec![
            member(name.to_owned(), format!("/{name}"), MountOptions::default()),
            member(format!("{name}/below"), format!("/{name}/below"), strict),
        ],
        ..FilesystemTree::default()
    }))
}

/// A machine that has everything that some spec asks for.
fn machine(spec: &ZoneSpec) -> BootFacts {
    let name = &spec.name;
    let special = |path: &str, what: Special| (path.to_owned(), what);
    let node = |path: &str, minor| Node { path: path.into(), block: true, major: 254, minor, mode: 0o660 };
    let legacy = zfs::FilesystemFacts { legacy: true, ..zfs::FilesystemFacts::default() };
    let datasets = ["tank/full".to_owned(), format!("tank/{name}-more"), "tank/delegated".into()];
    BootFacts {
        root: format!("/zones/{name}/root").into(),
        uid_map: "0 1000000000 65536\n".into(),
        gid_map: "0 1000000000 65536\n".into(),
        host: Host {
            mount: Some("/sys/fs/cgroup".into()),
            controllers: ["cpu", "cpuset", "io", "memory", "pids"].map(str::to_owned).into(),
            online: vec![0, 1, 2, 3],
            page: 4096,
            ..Host::default()
        },
        cgroup: Some(format!("/sys/fs/cgroup/zones/{name}").into()),
        linked: vec!["/bin".into(), "/sbin".into(), "/lib".into(), "/lib64".into()],
        programs: [("/usr".to_owned(), vec!["bin/su".to_owned(), "bin/passwd".into()])].into(),
        present: ["/var/lib/dpkg".to_owned(), "/root".into(), "/srv".into()].into(),
        specials: [
            special("/srv/www", Special::Dir),
            special("/srv/app", Special::Dir),
            special("/srv/shared", Special::Dir),
            special("/srv/cd.iso", Special::File),
            special("/dev/vdb", Special::Block),
        ]
        .into(),
        within: [("/srv/app".to_owned(), "/srv".into())].into(),
        datasets: [("tank/home".to_owned(), zfs::DatasetFacts::Filesystem(legacy))].into(),
        delegations: datasets.into_iter().map(|name| (name.clone(), dataset(&name))).collect(),
        notes: vec!["something is different from the last boot".into()],
        control: Some((10, 249)),
        run: format!("/run/zones/{name}").into(),
        devices: [
            ("/dev/vd*".to_owned(), vec![node("vda", 0), node("vdb", 16)]),
            ("/dev/zvol/dsk/tank/vol".into(), vec![node("zvol/dsk/tank/vol", 32)]),
        ]
        .into(),
        guards_settings: true,
        spl: Spl::Open,
        fuse: true,
        net: network(),
        own_init: None,
        ..BootFacts::default()
    }
}

/// Returns what a boot prints and how it is undone.
fn text(spec: &ZoneSpec, args: &str, facts: &BootFacts) -> String {
    let mut text = format!("# {} {args}\n", spec.name);
    let plan = match plan(spec, &BootArgs::parse(args), facts) {
        Ok(plan) => plan,
        Err(e) => return text + &format!("refused: {e}\n"),
    };
    for step in &plan.steps {
        let inside = if step.inside().is_some() { "inside" } else { "host" };
        let _ = writeln!(text, "{inside}: {}", step.describe());
        let inverse = step.inverse();
        if inverse != Inverse::WithNamespaces {
            let _ = writeln!(text, "  undo {}", serde_json::to_string(&inverse).expect("data"));
        }
    }
    for warning in &plan.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    text
}

#[test]
fn a_boot_takes_the_steps_that_it_took() {
    for (name, spec) in specs() {
        let all = machine(&spec);
        let bare = BootFacts {
            cgroup: None,
            guards_settings: false,
            spl: Spl::Closed,
            own_init: Some("/sbin/init".into()),
            named: true,
            hostname: Some("called".into()),
            fuse: false,
            ..all.clone()
        };
        let found =
            [text(&spec, "", &all), text(&spec, "-s -w --other", &all), text(&spec, "-i /bin/own", &bare)]
                .join("\n");
        let path = tree(&format!("tests/plans/{name}.plan"));
        if env::var_os("BLESS").is_some() {
            fs::write(&path, &found).expect("written");
        }
        let kept = fs::read_to_string(&path).expect("BLESS=1 writes what is missing");
        assert_eq!(found, kept, "{name}: BLESS=1 writes it anew");
    }
}

#[test]
fn an_image_that_was_kept_is_the_one_that_was_decided() {
    for (name, spec) in specs() {
        for args in ["", "-w -i /bin/own"] {
            let decided = image::decide(&spec, &BootArgs::parse(args), &machine(&spec));
            let decided = decided.unwrap_or_else(|e| panic!("{name}: {e}"));
            let text = serde_json::to_string(&decided.image).expect("data");
            let read: ZoneImage = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(read, decided.image, "{name} {args}");
            let at_boot = || decided.at_boot.clone();
            assert_eq!(order(&read, at_boot()), order(&decided.image, at_boot()), "{name} {args}");
            // Of what holds for those who come to the zone nothing depends on what the host was like.
            let sorted = |mut enforced: ZoneRules| {
                enforced.shared.sort();
                enforced
            };
            assert_eq!(sorted(read.into()), sorted(ZoneRules::of_spec(&spec)), "{name} {args}");
        }
    }
}

/// A zone outlives an upgrade. The image that the first release with images has kept of one is read: no field may have
/// come that has to be there, none may have gone, and each says what it said. This file is never written anew.
#[test]
fn the_image_of_a_former_release_is_read() {
    let text = fs::read_to_string(tree("tests/plans/image-1.json")).expect("the image");
    let image: ZoneImage = serde_json::from_str(&text).expect("an image of format 1");
    let now = serde_json::to_value(&image).expect("data");
    let then: serde_json::Value = serde_json::from_str(&text).expect("data");
    for (field, value) in then.as_object().expect("fields") {
        assert_eq!(now.get(field), Some(value), "{field}");
    }
}

/// Guards: what a reader does not know of an image may be something that closes.
#[test]
fn an_image_with_what_this_release_does_not_know_is_not_understood() {
    let specs = specs();
    let spec = &specs["full"];
    let decided = image::decide(spec, &BootArgs::default(), &machine(spec)).expect("it can boot");
    let text = serde_json::to_string(&decided.image).expect("data");
    let read = |text: &str| serde_json::from_str::<ZoneImage>(text).map_err(|e| e.to_string());
    assert_eq!(read(&text).as_ref(), Ok(&decided.image));
    for (known, other, why) in [
        ("\"mounts\":true", "\"mounts\":true,\"closed\":true", "unknown field `closed`"),
        ("\"forbidden\":", "\"forbade\":", "unknown field `forbade`"),
        ("\"io-uring\"", "\"no-such-group\"", "'no-such-group' is not known"),
        ("\"pids.max\"", "\"../pids.max\"", "'../pids.max' is not known"),
        ("\"max_user_namespaces\"", "\"max_users\"", "'max_users' is not known"),
        ("\"/var/spool/cron\"", "\"/var/spool/at\"", "'/var/spool/at' is not known"),
        ("\"/dev/shm\"", "\"/etc\"", "'/etc' is not known"),
        ("\"hidden\":[\"spl\"]", "\"hidden\":[\"1\"]", "'1' is not known"),
        ("\"fixed-configuration\"", "\"loose\"", "unknown variant `loose`"),
        ("\"datasets\":", "\"dataset\":", "unknown field `dataset`"),
    ] {
        let changed = text.replace(known, other);
        assert_ne!(changed, text, "{known}");
        let error = read(&changed).expect_err(other);
        assert!(error.contains(why), "{other}: {error}");
    }
}
