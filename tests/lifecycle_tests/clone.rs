//! Clones that are copies: what is in them, what is not, and what is refused.

use super::*;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::os::unix::net::UnixListener;

/// Gives a zone an identity in all the places where one is kept.
fn identify(p: &Place, zone: &str) {
    let inside = |file: &str| p.path(&format!("zones/{zone}/root/{file}"));
    put(
        &inside("etc/hosts"),
        b"127.0.0.1 localhost\n127.0.1.1 zion.example.org zion\n10.0.0.9 zionist\n",
        0o644,
    );
    put(&inside("etc/machine-id"), b"0123456789abcdef0123456789abcdef\n", 0o444);
    put(&inside("var/lib/dbus/machine-id"), b"0123456789abcdef0123456789abcdef\n", 0o444);
    put(&inside("etc/hostid"), &[1, 2, 3, 4], 0o644);
    for kind in ["ed25519", "ecdsa"] {
        put(&inside(&format!("etc/ssh/ssh_host_{kind}_key")), b"SECRET", 0o600);
        put(&inside(&format!("etc/ssh/ssh_host_{kind}_key.pub")), b"SECRET", 0o644);
    }
    put(&inside("etc/ssh/ssh_host_ed25519_key-cert.pub"), b"SECRET", 0o644);
    put(&inside("etc/ssh/sshd_config"), b"Port 22\n", 0o644);
    put(&inside("etc/dropbear/dropbear_rsa_host_key"), b"SECRET", 0o600);
    put(&inside("var/lib/systemd/random-seed"), b"SECRET", 0o600);
    put(&inside("var/lib/dhcp/dhclient.eth0.leases"), b"SECRET", 0o644);
}

#[test]
fn a_clone_has_everything_but_the_identity() {
    let p = Place::new();
    p.installed("zion", "");
    identify(&p, "zion");
    let source = p.path("zones/zion/root");
    put(&source.join("usr/bin/su"), b"su", 0o4755);
    fs::hard_link(source.join("usr/bin/su"), source.join("usr/bin/su2")).expect("link");
    std::os::unix::fs::chown(source.join("usr/bin/tool"), Some(1000), Some(1001)).expect("chown");
    fs::File::create(source.join("sparse")).expect("file").set_len(1 << 30).expect("size");
    put(&p.path("zones/zion/notes"), b"of the administrator", 0o600);
    p.zone("neo", "");
    let before = picture(&p.path("zones/zion"));
    let said = p.good(&["-z", "neo", "clone", "zion"]);
    assert!(said.starts_with(&format!("Copying {}...\n", p.shown("zones/zion"))), "{said}");
    assert_eq!(picture(&p.path("zones/zion")), before, "the source is as it was");
    assert_eq!(p.state("neo"), "installed");
    assert_ne!(p.uuid("neo"), p.uuid("zion"));

    let inside = |file: &str| p.path(&format!("zones/neo/root/{file}"));
    let stat = |file: &str| inside(file).metadata().expect("stat");
    assert_eq!((stat("usr/bin/su").mode() & 0o7777, stat("usr/bin/su").nlink()), (0o4755, 2));
    assert_eq!((stat("usr/bin/tool").uid(), stat("usr/bin/tool").gid()), (1000, 1001));
    assert_eq!((stat("sparse").len(), stat("sparse").blocks()), (1 << 30, 0));
    assert_eq!(p.path("zones/neo").metadata().expect("stat").mode() & 0o7777, 0o700);
    assert_eq!(read(&p.path("zones/neo/notes")), "of the administrator", "the whole tree");

    assert_eq!(read(&inside("etc/hostname")), "neo\n");
    let hosts = "127.0.0.1 localhost\n127.0.1.1 neo.example.org neo\n10.0.0.9 zionist\n";
    assert_eq!(read(&inside("etc/hosts")), hosts);
    let id = read(&inside("etc/machine-id"));
    assert!(id.len() == 33 && !id.starts_with("0123456789"), "{id}");
    assert_eq!(read(&inside("var/lib/dbus/machine-id")), id);
    let hostid = fs::read(inside("etc/hostid")).expect("hostid");
    assert!(hostid.len() == 4 && hostid != [1, 2, 3, 4]);
    for gone in [
        "etc/ssh/ssh_host_ed25519_key-cert.pub",
        "etc/dropbear/dropbear_rsa_host_key",
        "var/lib/systemd/random-seed",
        "var/lib/dhcp/dhclient.eth0.leases",
    ] {
        assert!(!inside(gone).exists(), "{gone}");
    }
    assert_eq!(read(&inside("etc/ssh/sshd_config")), "Port 22\n");
    // Where this host has the program, the keys are made anew.
    let made = Command::new("ssh-keygen").arg("-?").output().is_ok();
    for kind in ["ed25519", "ecdsa"] {
        let key = inside(&format!("etc/ssh/ssh_host_{kind}_key"));
        assert_eq!(key.exists(), made, "{kind}");
        if made {
            assert!(
                read(&key).contains("PRIVATE KEY") && key.metadata().expect("stat").mode() & 0o777 == 0o600
            );
            assert!(read(&inside(&format!("etc/ssh/ssh_host_{kind}_key.pub"))).contains("root@neo"));
        }
    }
    assert!(!inside("etc/ssh/ssh_host_rsa_key").exists(), "none that was not there");
    assert_eq!(said.contains("run 'ssh-keygen -A' in the zone"), !made, "{said}");
    assert!(!p.path("var/lib/zones/neo/ssh-keys").exists());
    assert!(!picture(&p.path("zones/neo")).iter().any(|l| l.contains("SECRET")), "no SECRET");
}

#[test]
fn what_is_hostile_in_a_source_stays_in_the_clone() {
    let p = Place::new();
    p.installed("zion", "");
    let (root, outside) = (p.path("zones/zion/root"), p.path("outside"));
    put(&outside.join("ssh/ssh_host_rsa_key"), b"of the host", 0o600);
    put(&outside.join("hosts"), b"127.0.1.1 zion\n", 0o644);
    put(&outside.join("machine-id"), b"0123456789abcdef0123456789abcdef\n", 0o444);
    put(&outside.join("systemd/random-seed"), b"of the host", 0o600);
    for (target, link) in [("ssh", "etc/ssh"), ("hosts", "etc/hosts"), ("machine-id", "etc/machine-id")] {
        let _ = fs::remove_file(root.join(link));
        symlink(outside.join(target), root.join(link)).expect("link");
    }
    fs::create_dir_all(root.join("var/lib")).expect("dir");
    symlink(outside.join("systemd"), root.join("var/lib/systemd")).expect("link");
    symlink("/", root.join("var/lib/dbus")).expect("link");
    let _listener = UnixListener::bind(root.join("socket")).expect("socket");
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, root.join("pipe"), kind, 0o644.into(), 0).expect("pipe");
    let null = rustix::fs::makedev(1, 3);
    let kind = rustix::fs::FileType::CharacterDevice;
    rustix::fs::mknodat(rustix::fs::CWD, root.join("null"), kind, 0o666.into(), null).expect("device");
    put(&root.join("etc/ssh2/ssh_host_x_key/file"), b"", 0o644);
    let before = picture(&outside);
    p.zone("neo", "");
    p.good(&["-z", "neo", "clone", "zion"]);
    assert_eq!(picture(&outside), before, "nothing outside is touched");
    let copy = p.path("zones/neo/root");
    let kind = |file: &str| copy.join(file).symlink_metadata().ok().map(|m| m.file_type());
    assert!(kind("socket").is_none() && kind("null").is_none());
    assert!(kind("pipe").is_some_and(|t| t.is_fifo()));
    assert!(kind("etc/hosts").is_some_and(|t| t.is_symlink()), "a link is a link still");
    assert!(kind("etc/machine-id").is_some_and(|t| t.is_file()), "and is replaced, not followed");
    // Links that lead upwards or round in circles.
    p.zone("loop", "");
    fs::remove_file(root.join("etc/ssh")).expect("remove");
    symlink("ssh", root.join("etc/ssh")).expect("link");
    p.good(&["-z", "loop", "clone", "zion"]);
    fs::rename(root.join("etc"), root.join("etc2")).expect("rename");
    symlink("../../../../outside", root.join("etc")).expect("link");
    p.zone("up", "");
    let done = p.run(&["-z", "up", "clone", "zion"]);
    assert_eq!(picture(&outside), before, "{done:?}");
}

#[test]
fn only_a_whole_installed_zone_is_a_source() {
    let p = Place::new();
    p.installed("zion", "");
    p.zone("neo", "");
    let refused = |args: &[&str], text: &str| {
        let args = [&["-z", "neo", "clone"], args].concat();
        assert_eq!(p.bad(&args), format!("{text}\n"), "{args:?}");
        assert_eq!(p.state("neo"), "configured");
    };
    let about = |text: &str| format!("zoneadm: zone 'neo': {text}");
    refused(&["nobody"], &about("nobody: No such zone configured"));
    refused(&["../etc"], &about("../etc: Bogus zone name"));
    refused(&["neo"], &about("a zone cannot be cloned from itself"));
    refused(&["global"], &about("clone operation is invalid for the global zone."));
    refused(&["SUNWx"], &about("SUNWx: templates cannot be cloned"));
    refused(&["-m", "move", "zion"], &about("the only method of clone -m is copy"));
    let none = format!("cannot use snapshot @x: {} is not a ZFS file system", p.shown("zones/zion"));
    refused(&["-s", "@x", "zion"], &about(&none));
    refused(&["--with-datasets", "zion"], &about("--with-datasets: zone 'zion' has no dataset resource"));
    p.zone("other", "");
    refused(&["other"], "zoneadm: zone other is configured; installed is required.");
    p.running("zion");
    refused(&["zion"], "zoneadm: zone zion is running; installed is required.");
    fs::remove_dir_all(p.path("run/zones/zion")).expect("remove");
    p.good(&["-z", "zion", "mark", "incomplete"]);
    refused(&["zion"], "zoneadm: zone zion is incomplete; installed is required.");
    p.good(&["-z", "zion", "mark", "-F", "installed"]);
    fs::create_dir(p.path("zones/zion/root/mnt")).expect("dir");
    let mounted = Mounted::bind(&p.path("tree"), p.path("zones/zion/root/mnt"));
    refused(
        &["zion"],
        &about(&format!(
            "These file systems are mounted on subdirectories of {}.\n  {}",
            p.shown("zones/zion/root"),
            p.shown("zones/zion/root/mnt")
        )),
    );
    drop(mounted);
    put(&p.path("zones/neo/file"), b"", 0o644);
    fs::set_permissions(p.path("zones/neo"), fs::Permissions::from_mode(0o700)).expect("chmod");
    let taken = format!(
        "zonepath {} is not empty: it holds 'file'; empty it or choose another zonepath",
        p.shown("zones/neo")
    );
    refused(&["zion"], &about(&taken));
    fs::remove_file(p.path("zones/neo/file")).expect("remove");
    p.good(&["-z", "neo", "clone", "zion"]);
    assert_eq!(p.bad(&["-z", "neo", "clone", "zion"]), "zoneadm: zone 'neo': is already installed.\n");
}

#[test]
fn one_uuid_is_not_given_twice() {
    let p = Place::new();
    let uuid = "uuid = \"64788f65-1b43-47b8-9d4b-17ed5e3a0d2b\"\n";
    p.installed("zion", uuid);
    p.zone("neo", uuid);
    assert_eq!(
        p.bad(&["-z", "neo", "clone", "zion"]),
        "zoneadm: zone 'neo': uuid 64788f65-1b43-47b8-9d4b-17ed5e3a0d2b is configured in both zones; \
         use 'zonecfg -z neo clear uuid'\n"
    );
    // Made from the other's configuration, a zone has none to begin with.
    p.zonecfg("trinity", "create -t zion; set zonepath=/zones/trinity");
    p.good(&["-z", "trinity", "clone", "zion"]);
    assert_ne!(p.uuid("trinity"), p.uuid("zion"));
}

#[test]
fn what_both_zones_would_use_is_told() {
    let p = Place::new();
    fs::create_dir(p.path("data")).expect("dir");
    let data = p.shown("data");
    let resources = |lofs: &str| {
        format!(
            "[[fs]]\ndir = \"/rw\"\nspecial = \"{data}\"\ntype = \"lofs\"\n{lofs}\n\
             [[fs]]\ndir = \"/t\"\nspecial = \"swap\"\ntype = \"tmpfs\"\n\
             [[fs]]\ndir = \"/disk\"\nspecial = \"{data}/disk\"\ntype = \"ext4\"\n\
             [[device]]\nmatch = \"/dev/fuse\"\n"
        )
    };
    put(&p.path("data/disk"), b"", 0o644);
    p.installed("zion", &resources(""));
    p.zone("neo", &resources(""));
    let done = p.run(&["-z", "neo", "clone", "zion"]);
    let warned = format!(
        "zoneadm: zone 'neo': WARNING: read-write lofs file system on '/rw' is configured in both zones.\n\
         zoneadm: zone 'neo': WARNING: ext4 file system on '{data}/disk' is configured in both zones.\n\
         zoneadm: zone 'neo': WARNING: device '/dev/fuse' is configured in both zones.\n"
    );
    assert_eq!((done.err, done.status), (warned, Some(0)));
    p.zone("ro", &resources("options = [\"ro\"]"));
    let done = p.run(&["-z", "ro", "clone", "zion"]);
    assert!(!done.err.contains("lofs"), "{}", done.err);
}
