//! A sparse root: small, private, and complete enough for the host's programs.

use super::*;

#[test]
fn a_sparse_zone_of_this_host() {
    let mut zone = Zone::new(SPARSE);
    let start = std::time::Instant::now();
    zone.install(&[]).expect("install");
    let took = start.elapsed();
    assert_eq!(zone.state(), ZoneState::Installed);
    assert_eq!(zone.journal(), None);
    assert!(zone.heard.said.is_empty() && zone.heard.warned.is_empty(), "silent on success");
    for (path, expect) in [
        ("", 0o755),
        ("etc", 0o755),
        ("root", 0o700),
        ("home", 0o755),
        ("tmp", 0o1777),
        ("var/tmp", 0o1777),
        ("var/log", 0o755),
        ("run", 0o755),
        ("dev", 0o755),
        ("proc", 0o555),
        ("sys", 0o555),
        ("usr", 0o755),
        ("opt", 0o755),
        ("etc/passwd", 0o644),
        ("etc/group", 0o644),
        ("etc/hostname", 0o644),
        ("etc/hosts", 0o644),
        ("etc/machine-id", 0o444),
    ] {
        assert_eq!(mode(zone.inside(path)), expect, "{path}");
    }
    assert_eq!(mode(zone.path("zones/zion")), 0o700);
    assert_eq!(mode(zone.path("zones")), 0o755);
    assert!(fs::read_dir(zone.inside("usr")).expect("list").next().is_none(), "a mount point");
    assert_eq!(read(zone.inside("etc/hostname")), "zion\n");
    assert!(read(zone.inside("etc/hosts")).contains("127.0.1.1\tzion"));
    assert!(read(zone.inside("etc/passwd")).starts_with("root:x:0:0:root:/root:"));
    let shadow = fs::metadata(zone.inside("etc/shadow")).expect("stat");
    assert!(shadow.mode() & 0o7777 == if shadow.gid() == 0 { 0o600 } else { 0o640 });
    assert!(read(zone.inside("etc/shadow")).lines().all(|l| l.split(':').nth(1) == Some("*")));
    let id = read(zone.inside("etc/machine-id"));
    assert!(id.trim().len() == 32 && id != fs::read_to_string("/etc/machine-id").unwrap_or_default());
    assert_eq!(fs::read_link(zone.inside("etc/mtab")).expect("link"), Path::new("../proc/self/mounts"));
    for name in ["bin", "sbin", "lib"] {
        if let Ok(target) = fs::read_link(Path::new("/").join(name)) {
            assert_eq!(fs::read_link(zone.inside(name)).expect("link"), target, "{name}");
        }
    }
    for name in ["etc/ld.so.cache", "etc/nsswitch.conf", "etc/login.defs", "etc/os-release"] {
        let there = fs::symlink_metadata(zone.inside(name)).is_ok();
        assert_eq!(there, fs::symlink_metadata(Path::new("/").join(name)).is_ok(), "{name}");
    }
    let size: u64 =
        walk(&zone.inside("")).iter().map(|p| fs::symlink_metadata(p).expect("stat").blocks()).sum();
    assert!(size * 512 < 10 << 20, "{} KiB", size / 2);
    println!("sparse install: {took:?}, {} KiB, {} entries", size / 2, walk(&zone.inside("")).len());
    assert!(took.as_millis() < 3000, "{took:?}, milliseconds on a quiet machine");

    zone.uninstall().expect("uninstall");
    assert_eq!(zone.state(), ZoneState::Configured);
    assert!(!zone.path("zones/zion").exists() && zone.path("zones").is_dir());
    assert_eq!(zone.journal(), None);
    assert!(zone.heard.warned.is_empty());
}

#[test]
fn no_secret_of_the_host_gets_in() {
    let mut zone = Zone::new(SPARSE);
    let host = zone.beside("host");
    fake_host(&host);
    zone.install_from(InstallSource::Sparse { host: host.clone() }).expect("install");
    assert_eq!(leaks(&zone.inside("")), [] as [PathBuf; 0]);
    assert_eq!(leaks(&host).len(), 21, "the host has them");
    assert_eq!(
        read(zone.inside("etc/passwd")),
        "root:x:0:0:root:/root:/bin/bash\nmail:x:8:8::/:\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    );
    assert_eq!(read(zone.inside("etc/shadow")), "root:*:::::::\nmail:*:::::::\nnobody:*:::::::\n");
    let shadow = fs::metadata(zone.inside("etc/shadow")).expect("stat");
    assert_eq!((shadow.mode() & 0o7777, shadow.gid()), (0o640, 42));
    assert_eq!(read(zone.inside("etc/resolv.conf")), "nameserver 192.0.2.1\n");
    assert_eq!(read(zone.inside("etc/ssl/certs/ca.pem")), "certificate");
    assert_eq!(read(zone.inside("etc/ld.so.cache")), "cache");
    // The settings of the ssh server, and never its keys: a boot makes the zone's own.
    assert_eq!(read(zone.inside("etc/ssh/sshd_config")), "Port 22\n");
    assert_eq!(fs::read_dir(zone.inside("etc/ssh")).expect("list").count(), 1);
    assert_eq!(
        fs::read_link(zone.inside("etc/alternatives/vi")).expect("link"),
        Path::new("/usr/bin/vim.basic")
    );
    assert_eq!(fs::read_link(zone.inside("bin")).expect("link"), Path::new("usr/bin"));
    assert_eq!(fs::read_link(zone.inside("sbin")).expect("link"), Path::new("/usr/sbin"));
    assert!(fs::symlink_metadata(zone.inside("initrd.img")).is_err(), "leads into nothing inherited");
    let mail = fs::metadata(zone.inside("var/mail")).expect("stat");
    assert_eq!((mail.mode() & 0o7777, mail.gid()), (0o2775, 8));
}

#[test]
fn the_plan_is_printed_and_touches_nothing() {
    let mut zone = Zone::new(SPARSE);
    let before = walk(zone.temp.path());
    let plan = install::install_plan(&zone.op(), &[], None).expect("plan").to_string();
    assert_eq!(walk(zone.temp.path()), before);
    let root = zone.path("zones/zion/root").display().to_string();
    for part in ["  1  mark the zone incomplete\n", "make directory", "sparse root", "host name zion", &root]
    {
        assert!(plan.contains(part), "{part}: {plan}");
    }
    assert!(plan.ends_with("  mark the zone installed\n"), "{plan}");
}

#[test]
fn what_is_in_the_way_is_refused_and_left() {
    let mut zone = Zone::new(SPARSE);
    let zonepath = zone.path("zones/zion");
    let text = |r: Result<(), InstallError>| r.expect_err("refused").to_string();

    put(&zonepath.join("file"), "user's", 0o644);
    assert!(text(zone.install(&[])).contains("is not empty: it holds 'file'"));
    put(&zonepath.join("SUNWdetached.xml"), "", 0o644);
    assert_eq!(
        text(zone.install(&[])),
        format!("Cannot install detached zone.\nUse attach or remove {} directory.", zonepath.display())
    );
    fs::remove_dir_all(zone.path("zones")).expect("clean");

    fs::create_dir_all(zone.beside("elsewhere/zion")).expect("dir");
    symlink(zone.beside("elsewhere"), zone.path("zones")).expect("link");
    assert!(text(zone.install(&[])).contains("Resolved path mismatch"));
    assert!(fs::read_dir(zone.beside("elsewhere/zion")).expect("list").next().is_none());
    fs::remove_file(zone.path("zones")).expect("clean");

    put(&zone.path("zones"), "a file", 0o644);
    assert!(text(zone.install(&[])).ends_with("is not a directory"));
    assert_eq!(zone.state(), ZoneState::Configured);
    assert_eq!(zone.journal(), None);
    for args in [&["-q"][..], &["word"], &["-d"], &["-d", "/tmp", "-d", "/tmp"]] {
        let error = zone.install(args).expect_err("usage");
        assert!(error.is_usage() && error.to_string().contains("-d DIR"), "{args:?}: {error}");
    }
}

#[test]
fn an_empty_zonepath_is_taken_and_corrected() {
    let mut zone = Zone::new(SPARSE);
    let zonepath = zone.path("zones/zion");
    fs::create_dir_all(zonepath.join("lost+found")).expect("dir");
    fs::set_permissions(&zonepath, fs::Permissions::from_mode(0o755)).expect("chmod");
    zone.install(&[]).expect("install");
    assert_eq!(mode(&zonepath), 0o700);
    assert_eq!(zone.heard.said, [format!("{}: changing permissions to 0700.", zonepath.display())]);
}

#[test]
fn a_failure_before_the_root_is_filled_takes_everything_back() {
    let mut zone = Zone::new(SPARSE);
    // A file system without room for a second directory.
    let target = zone.path("zones");
    fs::create_dir(&target).expect("dir");
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("none", &target, "tmpfs", flags, c"size=4k,nr_inodes=2,mode=0755").expect("mount");
    let mounted = Mounted(target);
    let result = zone.install(&[]);
    let left = fs::read_dir(zone.path("zones")).expect("list").count();
    drop(mounted);
    let error = result.expect_err("no room for root");
    assert!(error.to_string().contains("No space left on device") && error.hint().is_none(), "{error}");
    assert_eq!((zone.state(), left), (ZoneState::Configured, 0));
    assert_eq!(zone.journal(), None);
}

#[test]
fn the_resolver_behind_a_local_stub_is_taken() {
    let mut zone = Zone::new(SPARSE);
    let host = zone.beside("host");
    fake_host(&host);
    put(&host.join("run/systemd/resolve/stub-resolv.conf"), "nameserver 127.0.0.53\n", 0o644);
    put(&host.join("run/systemd/resolve/resolv.conf"), "nameserver 192.0.2.53\n", 0o644);
    fs::remove_file(host.join("etc/resolv.conf")).expect("remove");
    symlink("../run/systemd/resolve/stub-resolv.conf", host.join("etc/resolv.conf")).expect("link");
    zone.install_from(InstallSource::Sparse { host }).expect("install");
    assert_eq!(read(zone.inside("etc/resolv.conf")), "nameserver 192.0.2.53\n");
    assert!(fs::symlink_metadata(zone.inside("etc/resolv.conf")).expect("stat").is_file());
}
