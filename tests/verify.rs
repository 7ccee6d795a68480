//! Findings of `zoneadm verify` about a host, with their texts, on a host that is made for each test in namespaces of an
//! ordinary user, who is root there.

#![allow(clippy::disallowed_methods)]

mod ordinary;

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use ordinary::Sleeper;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use zones::apply::paths::Root;
use zones::apply::store::FileStore;
use zones::apply::verify::{Purpose, VerifyReport, check};
use zones::plan::boot::IDLE_SYSTEMD;
use zones::spec::verify::Severity;
use zones::spec::{ZoneName, toml};
use zones::sys::netlink::Socket;
use zones::sys::netlink::link::{self, LinkChange, Near, VethPeer};
use zones::sys::ns::Kinds;

fn main() {
    ordinary::run(&[
        ("a_zonepath_that_is_not_made_yet", a_zonepath_that_is_not_made_yet),
        ("a_zonepath_that_others_could_change", a_zonepath_that_others_could_change),
        ("a_zonepath_is_put_right_by_what_makes_a_zone", a_zonepath_is_put_right_by_what_makes_a_zone),
        ("a_zonepath_that_is_elsewhere", a_zonepath_that_is_elsewhere),
        ("zonepaths_of_two_zones", zonepaths_of_two_zones),
        ("the_root_of_an_installed_zone", the_root_of_an_installed_zone),
        ("links_that_the_host_has_and_has_not", links_that_the_host_has_and_has_not),
        ("addresses_that_others_have", addresses_that_others_have),
        ("inherited_directories", inherited_directories),
        ("ids_of_memory_and_shared_directories", ids_of_memory_and_shared_directories),
        ("a_brand_that_this_host_does_not_run", a_brand_that_this_host_does_not_run),
        ("rights_that_no_broker_gives", rights_that_no_broker_gives),
        ("the_init_of_a_root", the_init_of_a_root),
        ("datasets_that_cannot_be_given", datasets_that_cannot_be_given),
    ]);
}

const HOST: &str = "/tmp/host";
const VERIFY: Purpose = Purpose::Verify;

fn folder(path: &str, mode: u32) {
    fs::create_dir_all(path).unwrap_or_else(|e| panic!("{path}: {e}"));
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap_or_else(|e| panic!("{path}: {e}"));
}

fn name(text: &str) -> ZoneName {
    ZoneName::new(text).expect("a name")
}

/// A host whose folders belong to root, with nothing in them.
struct Host {
    store: FileStore,
}

impl Host {
    fn new() -> Self {
        for dir in ["", "/etc", "/etc/zones.d", "/var", "/var/lib", "/var/lib/zones", "/zones"] {
            folder(&format!("{HOST}{dir}"), 0o755);
        }
        Self { store: FileStore::open(Root::new(Some(Path::new(HOST)))) }
    }

    fn configured(self, zone: &str, spec: &str) -> Self {
        let file = self.store.root().spec_file(&name(zone));
        fs::write(file, format!("format = 1\n{spec}")).expect("a spec");
        self
    }

    fn installed(self, zone: &str, spec: &str) -> Self {
        let lib = self.store.root().zone_lib(&name(zone));
        folder(lib.to_str().expect("a path"), 0o755);
        fs::write(lib.join("state"), "state=installed\n").expect("a state");
        self.configured(zone, spec)
    }

    fn found(&self, spec: &str, purpose: Purpose) -> VerifyReport {
        let spec = toml::parse(&name("zion"), format!("format = 1\n{spec}").as_bytes()).expect("a spec");
        check(&self.store, &name("zion"), &spec, purpose).expect("a store that can be read")
    }

    /// Returns the lines of a check with the letter of their severity, without those that every zone gets here.
    fn says(&self, spec: &str, purpose: Purpose) -> Vec<String> {
        let letter = |severity| if severity == Severity::Error { 'E' } else { 'W' };
        let lines = |report: VerifyReport| -> Vec<String> {
            report.lines.iter().map(|l| format!("{} {}", letter(l.severity), l.text)).collect()
        };
        let always: BTreeSet<String> = lines(self.found("", purpose)).into_iter().collect();
        let memory = |line: &String| line.ends_with(" is on a temporary file system.");
        lines(self.found(spec, purpose)).into_iter().filter(|l| !always.contains(l) && !memory(l)).collect()
    }
}

const ZION: &str = "zonepath = \"/zones/zion\"\n";
const ABOVE: &str = "E could not verify zonepath /zones/zion because of the above errors.";

fn a_zonepath_that_is_not_made_yet() {
    let host = Host::new();
    let later = "W WARNING: /zones/zion does not exist, so it could not be verified.\nWhen 'zoneadm install' is run, it \
                 will be created and verified again.";
    assert_eq!(host.says(ZION, VERIFY), [later]);
    assert_eq!(host.says(ZION, Purpose::Install), Vec::<String>::new());
    // The place where it will be made is looked at.
    folder(&format!("{HOST}/zones"), 0o775);
    let closed = format!("E {HOST}/zones must not be group writable.");
    assert_eq!(host.says(ZION, VERIFY), [later, &closed, ABOVE]);
    assert_eq!(host.says(ZION, Purpose::Install), [&*closed, ABOVE]);
    folder(&format!("{HOST}/zones"), 0o1777);
    assert_eq!(
        host.says(ZION, Purpose::Install),
        Vec::<String>::new(),
        "nobody replaces what is root's there"
    );
    fs::remove_dir(format!("{HOST}/zones")).expect("empty");
    assert_eq!(host.says(ZION, Purpose::Install), Vec::<String>::new(), "it is made, too");
    folder(HOST, 0o757);
    assert_eq!(host.says(ZION, Purpose::Install), [&*format!("E {HOST} must not be world writable."), ABOVE]);
}

fn a_zonepath_that_others_could_change() {
    let host = Host::new();
    let path = format!("{HOST}/zones/zion");
    folder(&path, 0o700);
    assert_eq!(host.says(ZION, VERIFY), Vec::<String>::new());
    folder(&path, 0o075);
    let must = |what: &str| format!("E /zones/zion must {what}.");
    let wanted = [
        must("be owner readable"),
        must("be owner writable"),
        must("be owner executable"),
        must("not be group readable"),
        must("not be group writable"),
        must("not be group executable"),
        must("not be world readable"),
        must("not be world executable"),
        ABOVE.to_owned(),
    ];
    assert_eq!(host.says(ZION, VERIFY), wanted);
    folder(&path, 0o700);
    for dir in [HOST, "/tmp/host/zones"] {
        folder(dir, 0o777);
        let must_not = |whom: &str| format!("E {dir} must not be {whom} writable.");
        assert_eq!(host.says(ZION, VERIFY), [must_not("group"), must_not("world"), ABOVE.to_owned()]);
        folder(dir, 0o755);
    }
    fs::remove_dir(&path).expect("empty");
    fs::write(&path, "").expect("a file");
    assert_eq!(host.says(ZION, VERIFY), ["E /zones/zion is not a directory.", ABOVE]);
    assert_eq!(host.says(ZION, Purpose::Boot), ["E /zones/zion is not a directory.", ABOVE]);
}

fn a_zonepath_is_put_right_by_what_makes_a_zone() {
    let host = Host::new();
    let path = format!("{HOST}/zones/zion");
    let mode = || fs::metadata(&path).expect("a folder").permissions().mode() & 0o777;
    folder(&path, 0o755);
    for purpose in [Purpose::Install, Purpose::CloneAll, Purpose::Move, Purpose::Boot] {
        folder(&path, 0o755);
        let said = host.says(ZION, purpose);
        assert_eq!(said, ["W /zones/zion: changing permissions to 0700."], "{purpose:?}");
        assert_eq!(mode(), 0o700, "{purpose:?}");
        assert_eq!(host.says(ZION, purpose), Vec::<String>::new(), "{purpose:?}");
    }
    // Where another directory could be put in its place, nothing is changed.
    folder(&path, 0o755);
    folder(&format!("{HOST}/zones"), 0o777);
    assert!(host.says(ZION, Purpose::Install).contains(&ABOVE.to_owned()));
    assert_eq!(mode(), 0o755);
}

fn a_zonepath_that_is_elsewhere() {
    let host = Host::new();
    folder("/tmp/host/other", 0o700);
    symlink("../other", "/tmp/host/zones/zion").expect("a link");
    for purpose in [VERIFY, Purpose::Install, Purpose::Boot] {
        let lines = host.says(ZION, purpose);
        let [why, last] = &lines[..] else { panic!("{lines:?}") };
        let text = "E /zones/zion: Resolved path mismatch: it leads to /tmp/host/other";
        assert_eq!((why.trim_end_matches('/'), &**last), (text, ABOVE), "{purpose:?}");
    }
    let mode = fs::metadata("/tmp/host/other").expect("a folder").permissions().mode() & 0o777;
    assert_eq!(mode, 0o700);
    symlink("/tmp/host/other", "/tmp/host/way").expect("a link");
    let by_way = "zonepath = \"/way/zion\"\n";
    assert_eq!(
        host.says(by_way, Purpose::Install),
        [
            "E /way/zion: Resolved path mismatch: it leads to /tmp/host/other/zion",
            "E could not verify zonepath /way/zion because of the above errors."
        ]
    );
}

fn zonepaths_of_two_zones() {
    let at = |path: &str| format!("zonepath = \"{path}\"\n");
    let host = Host::new().configured("web", &at("/zones/web"));
    let said = |path: &str, purpose| {
        let lines = host.says(&at(path), purpose);
        lines.into_iter().filter(|l| l.contains("overlap") || l.contains("lies in")).collect::<Vec<_>>()
    };
    for path in ["/zones/web", "/zones/web/below", "/zones"] {
        let wanted = format!("E zion zonepath ({path}) and web zonepath (/zones/web) overlap.");
        assert_eq!(said(path, VERIFY), [&*wanted], "{path}");
        assert_eq!(said(path, Purpose::Install), [wanted], "{path}");
        assert_eq!(said(path, Purpose::Boot), Vec::<String>::new(), "a boot looks at no other zone");
    }
    for path in ["/zones/webb", "/zones/we", "/other/web"] {
        assert_eq!(said(path, VERIFY), Vec::<String>::new(), "{path}");
    }
    let shares =
        "zonepath = \"/zones/web\"\n[[fs]]\ndir = \"/data\"\nspecial = \"/tmp/host/srv\"\ntype = \"lofs\"\n";
    let host = host.configured("web", shares);
    let lines = host.says(&at("/srv/zion"), Purpose::Install);
    let wanted = "E zion zonepath (/srv/zion) lies in /tmp/host/srv, which zone web can write to.";
    assert!(lines.contains(&wanted.to_owned()), "{lines:?}");
    let read_only = format!("{shares}options = [\"ro\"]\n");
    let lines = host.configured("web", &read_only).says(&at("/srv/zion"), Purpose::Install);
    assert!(!lines.iter().any(|l| l.contains("lies in")), "{lines:?}");
}

fn the_root_of_an_installed_zone() {
    let host = Host::new().installed("zion", ZION);
    // The storage is not there: neither is the zonepath, or it is empty.
    for made in [false, true] {
        if made {
            folder("/tmp/host/zones/zion", 0o755);
        }
        for purpose in [VERIFY, Purpose::Boot] {
            let lines = host.says(ZION, purpose);
            let [why, last] = &lines[..] else { panic!("{lines:?}") };
            assert!(why.starts_with("E /zones/zion: "), "{why}");
            assert_eq!(last, ABOVE);
        }
    }
    let mode = fs::metadata("/tmp/host/zones/zion").expect("a folder").permissions().mode() & 0o777;
    assert_eq!(mode, 0o755, "the directory below the storage is left alone");
    let root = "/tmp/host/zones/zion/root";
    folder("/tmp/host/zones/zion", 0o700);
    folder(root, 0o755);
    assert_eq!(host.says(ZION, VERIFY), Vec::<String>::new());
    assert_eq!(host.says(ZION, Purpose::Boot), Vec::<String>::new());
    folder(root, 0o700);
    let must = |what: &str| format!("E /zones/zion/root must be {what}.");
    let closed =
        ["group readable", "group executable", "world readable", "world executable"].map(must).to_vec();
    assert_eq!(host.says(ZION, VERIFY), [closed, vec![ABOVE.to_owned()]].concat());
    fs::remove_dir(root).expect("empty");
    fs::write(root, "").expect("a file");
    assert_eq!(host.says(ZION, VERIFY), ["E /zones/zion/root is not a directory.", ABOVE]);
    // A command that makes a zone anew does not ask for its old root.
    assert_eq!(host.says(ZION, Purpose::Install), Vec::<String>::new());
}

/// Makes a link whose other end is outside.
fn cable(label: &str, outside: &Sleeper) -> u32 {
    let mut socket = Socket::open().expect("netlink");
    let near = Near { name: label, mac: None, mtu: 1500 };
    let space = outside.namespace("net");
    let far = VethPeer { name: label, namespace: space.as_fd(), mac: [2, 0, 0, 0, 2, 1], mtu: 1500 };
    link::add_pair(&mut socket, near, far).expect("a pair");
    let made = link::named(&mut socket, label).expect("an answer").expect("a link");
    let up = LinkChange { set: link::UP, no_link_local: true, ..LinkChange::default() };
    link::change(&mut socket, made.index, &up).expect("up");
    made.index
}

/// Returns the lines about links. That a user may not load the rules of a link is a matter of the test.
fn of_links(lines: Vec<String>) -> Vec<String> {
    let of_host = |l: &String| l.starts_with("E could not verify net: bpf(2) is forbidden here");
    lines.into_iter().filter(|l| !of_host(l) && (l.contains("interface") || l.contains("address"))).collect()
}

fn links_that_the_host_has_and_has_not() {
    let outside = Sleeper::start(Kinds::NET, || {});
    let host = Host::new();
    let own = "ip-type = \"exclusive\"\n[[net]]\nphysical = \"eth0\"\n";
    let shared = "ip-type = \"shared\"\n[[net]]\nphysical = \"eth0\"\naddress = \"192.0.2.7/24\"\n";
    let anet = "ip-type = \"exclusive\"\n[[anet]]\nlinkname = \"net0\"\nlower-link = \"auto\"\n";
    let missing = |link: &str| {
        format!(
            "W WARNING: skipping network interface '{link}' which may not be present/plumbed in the global zone."
        )
    };
    for purpose in [VERIFY, Purpose::Install] {
        assert_eq!(of_links(host.says(own, purpose)), [missing("eth0")]);
        assert_eq!(of_links(host.says(shared, purpose)), [missing("eth0")]);
        assert_eq!(of_links(host.says(anet, purpose)), [missing("auto")]);
    }
    assert_eq!(of_links(host.says(own, Purpose::Boot)), Vec::<String>::new(), "the boot looks itself");
    let eth0 = cable("eth0", &outside);
    assert_eq!(of_links(host.says(own, VERIFY)), Vec::<String>::new());
    assert_eq!(of_links(host.says(anet, VERIFY)), [missing("auto")], "no default route");
    let address = "192.0.2.1/24".parse().expect("an address");
    link::add_address(&mut Socket::open().expect("netlink"), eth0, &address).expect("an address");
    let used = "W WARNING: skipping network interface 'eth0' which is used in the global zone.";
    assert_eq!(of_links(host.says(own, VERIFY)), [used]);
    assert_eq!(of_links(host.says(shared, VERIFY)), Vec::<String>::new());
}

fn addresses_that_others_have() {
    let outside = Sleeper::start(Kinds::NET, || {});
    let eth0 = cable("eth0", &outside);
    let address = "192.0.2.1/24".parse().expect("an address");
    link::add_address(&mut Socket::open().expect("netlink"), eth0, &address).expect("an address");
    let with = |address: &str| {
        format!("ip-type = \"shared\"\n[[net]]\nphysical = \"eth0\"\naddress = \"{address}\"\n")
    };
    let host = Host::new().configured("web", &with("192.0.2.7/24"));
    let both = "W WARNING: address 192.0.2.7 on 'eth0' is also that of zone 'web'; only one of them can run at a time.";
    assert_eq!(of_links(host.says(&with("192.0.2.7/24"), VERIFY)), [both]);
    assert_eq!(of_links(host.says(&with("192.0.2.7"), VERIFY)), [both], "the prefix does not count");
    assert_eq!(of_links(host.says(&with("192.0.2.7/24"), Purpose::Install)), Vec::<String>::new());
    assert_eq!(of_links(host.says(&with("192.0.2.8/24"), VERIFY)), Vec::<String>::new());
    // The host's own address can never be the zone's.
    let lines = of_links(host.says(&with("192.0.2.1/24"), VERIFY));
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("192.0.2.1"), "{lines:?}");
}

fn inherited_directories() {
    let host = Host::new();
    for (file, mode) in [("run", 0o4755), ("closed-run", 0o4711), ("secret", 0o600), ("plain", 0o644)] {
        let path = format!("/tmp/pkg/{file}");
        folder("/tmp/pkg", 0o755);
        fs::write(&path, "").expect("a file");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("a mode");
    }
    folder("/tmp/pkg/private", 0o700);
    let inherited = "[[inherit-pkg-dir]]\ndir = \"/tmp/pkg\"\n";
    let closed = "W WARNING: inherit-pkg-dir /tmp/pkg: closed to the zone, since not all users of the host may read it: \
                  /tmp/pkg/closed-run, /tmp/pkg/private, /tmp/pkg/secret";
    assert_eq!(host.says(inherited, VERIFY), [closed]);
    let hidden = "W WARNING: inherit-pkg-dir /tmp/pkg: without their set-user-id and like bits run, since not all users \
                  of the host may read them: /tmp/pkg/closed-run";
    assert_eq!(host.says(&format!("{inherited}setuid = true\n"), VERIFY), [hidden, closed]);
    assert_eq!(host.says(inherited, Purpose::Boot), Vec::<String>::new(), "a boot has no time for it");
    let nowhere = "[[inherit-pkg-dir]]\ndir = \"/tmp/nowhere\"\n";
    assert_eq!(host.says(nowhere, VERIFY), Vec::<String>::new(), "the boot tells");
}

fn ids_of_memory_and_shared_directories() {
    let host = Host::new();
    let memory = |option: &str| {
        format!("[[fs]]\ndir = \"/data\"\nspecial = \"swap\"\ntype = \"tmpfs\"\noptions = [\"{option}\"]\n")
    };
    assert_eq!(host.says(&memory("uid=100"), VERIFY), Vec::<String>::new());
    let odd = "E could not verify fs /data: option 'uid=odd' names no id of the zone; give a number that its ids have";
    assert_eq!(host.says(&memory("uid=odd"), VERIFY), [odd]);
    // Memory can map ids.
    folder("/tmp/shared", 0o755);
    let share = "[[fs]]\ndir = \"/data\"\nspecial = \"/tmp/shared\"\ntype = \"lofs\"\n";
    assert_eq!(host.says(share, VERIFY), Vec::<String>::new());
}

fn a_brand_that_this_host_does_not_run() {
    let host = Host::new();
    let foreign = "brand = \"lx\"\n";
    let why = "E brand 'lx' cannot run on Linux; use 'set brand=linux', or let the host run it as linux: zonecfg -z global \
               'set brand-aliases=lx'";
    for purpose in [VERIFY, Purpose::Install, Purpose::CloneAll, Purpose::Move, Purpose::Boot] {
        assert_eq!(host.says(foreign, purpose), [why], "{purpose:?}");
        assert_eq!(host.says("brand = \"linux\"\n", purpose), Vec::<String>::new(), "{purpose:?}");
    }
    let host = host.configured("global", "brand-aliases = \"ipkg,lx\"\n");
    for purpose in [VERIFY, Purpose::Install, Purpose::Boot] {
        assert_eq!(host.says(foreign, purpose), Vec::<String>::new(), "{purpose:?}");
    }
    assert_eq!(host.says("brand = \"l\"\n", VERIFY).len(), 1, "a part of a name is none");
}

fn rights_that_no_broker_gives() {
    let host = Host::new();
    let admin = "[[admin]]\nuser = \"root\"\nauths = \"login\"\n";
    let path = "/tmp/host/run/zones/.broker";
    let missing = format!(
        "W WARNING: admin has no effect: no broker listens at {path}; run 'systemctl enable --now zones-broker.socket', \
         or zonesd"
    );
    assert_eq!(host.says(admin, VERIFY), [&*missing]);
    for purpose in [Purpose::Install, Purpose::Boot] {
        assert_eq!(host.says(admin, purpose), Vec::<String>::new(), "{purpose:?}");
    }
    folder("/tmp/host/run/zones", 0o755);
    fs::write(path, "").expect("a file");
    assert_eq!(host.says(admin, VERIFY), [&*missing], "a file in its place");
    fs::remove_file(path).expect("removed");
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let socket = socket.expect("a socket");
    bind(&socket, &SocketAddrUnix::new(path).expect("a short path")).expect("bound");
    assert_eq!(host.says(admin, VERIFY), [&*missing], "it does not listen");
    listen(&socket, 8).expect("it listens");
    assert_eq!(host.says(admin, VERIFY), Vec::<String>::new());
    drop(socket);
    assert_eq!(host.says(admin, VERIFY), [missing], "it has ended");
}

fn the_init_of_a_root() {
    let host = Host::new().installed("zion", ZION);
    folder("/tmp/host/zones/zion", 0o700);
    folder("/tmp/host/zones/zion/root", 0o755);
    folder("/tmp/host/zones/zion/root/sbin", 0o755);
    let none = || assert_eq!(host.says(ZION, VERIFY), Vec::<String>::new());
    none();
    let init = |name: &str, mode: u32| {
        let file = format!("/tmp/host/zones/zion/root/sbin/{name}");
        fs::write(&file, "").expect("a file");
        fs::set_permissions(file, Permissions::from_mode(mode)).expect("a mode");
        let link = "/tmp/host/zones/zion/root/sbin/init";
        let _ = fs::remove_file(link);
        symlink(name, link).expect("a link");
    };
    init("sysvinit", 0o755);
    none();
    init("systemd", 0o644);
    none();
    // systemd runs where cgroup v2 is the one hierarchy.
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let unified = mounts.lines().any(|l| l.contains(" /sys/fs/cgroup ") && l.contains(" - cgroup2 "));
    init("systemd", 0o755);
    let lines = host.says(ZION, VERIFY);
    if unified {
        assert_eq!(lines, Vec::<String>::new());
    } else {
        assert_eq!(lines, [format!("W WARNING: {IDLE_SYSTEMD}")]);
    }
    assert_eq!(host.says(ZION, Purpose::Boot), Vec::<String>::new(), "the boot says it itself");
    let sparse = format!("{ZION}[[inherit-pkg-dir]]\ndir = \"/usr\"\n");
    let lines = host.says(&sparse, VERIFY);
    assert!(
        !lines.iter().any(|l| l.contains(IDLE_SYSTEMD)),
        "a sparse zone has the built-in init: {lines:?}"
    );
}

fn datasets_that_cannot_be_given() {
    if Path::new("/dev/zfs").exists() {
        eprintln!("SKIPPED: this host has ZFS, and the test is about one without");
        return;
    }
    let host = Host::new();
    let given = "[[dataset]]\nname = \"tank/zion\"\n";
    let why = "E could not verify zfs dataset tank/zion: /dev/zfs is not there: the ZFS module is not loaded (install \
               zfs-dkms or your system's ZFS package, then 'modprobe zfs')";
    for purpose in [VERIFY, Purpose::Install, Purpose::Boot] {
        assert_eq!(host.says(given, purpose), [why], "{purpose:?}");
    }
    assert_eq!(host.says(given, Purpose::CloneAll), Vec::<String>::new(), "they are made by the clone");
    // A dataset that another zone administers is no file system of this one.
    let mounted = "[[fs]]\ndir = \"/a\"\nspecial = \"tank/a\"\ntype = \"zfs\"\n";
    for (other, overlap) in [("tank", true), ("tank/a", true), ("tank/ab", false)] {
        let host = Host::new().configured("web", &format!("[[dataset]]\nname = \"{other}\"\n"));
        let lines = host.says(mounted, VERIFY);
        let told = lines.iter().any(|l| l.starts_with("E ") && l.contains("'web'") && l.contains("tank/a"));
        assert_eq!(told, overlap, "{other}: {lines:?}");
    }
    let twice = "[[fs]]\ndir = \"/a\"\nspecial = \"tank/a\"\ntype = \"zfs\"\n[[fs]]\ndir = \"/b\"\nspecial = \"tank/a\"\n\
                 type = \"zfs\"\n";
    let lines = host.says(twice, VERIFY);
    assert!(
        lines.iter().any(|l| l.starts_with("E ") && l.contains("tank/a") && l.contains("/b")),
        "{lines:?}"
    );
}
