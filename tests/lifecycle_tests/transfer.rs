//! Moving a zone.

use super::*;

fn whole(p: &Place, zone: &str, path: &str) {
    assert_eq!(p.state(zone), "installed");
    assert!(p.spec(zone).contains(&format!("zonepath = \"{path}\" # where it is\n")), "{}", p.spec(zone));
    assert_eq!(read(&p.path(path).join("root/etc/hostname")), format!("{zone}\n"));
    assert_eq!(p.path(path).metadata().expect("stat").mode() & 0o7777, 0o700);
}

#[test]
fn a_move_renames() {
    let p = Place::new();
    p.installed("zion", "# a comment\nautoboot = true\n");
    let inode = p.path("zones/zion/root").metadata().expect("stat").ino();
    let uuid = p.uuid("zion");
    assert_eq!(p.good(&["-z", "zion", "move", "//elsewhere/deep//zion/"]), "");
    whole(&p, "zion", "/elsewhere/deep/zion");
    assert!(p.spec("zion").ends_with("# a comment\nautoboot = true\n"));
    assert_eq!(p.path("elsewhere/deep/zion/root").metadata().expect("stat").ino(), inode);
    assert_eq!(p.path("elsewhere").metadata().expect("stat").mode() & 0o7777, 0o755);
    assert!(!p.path("zones/zion").exists());
    assert_eq!(p.uuid("zion"), uuid);
    // An empty directory is as good as none.
    fs::create_dir(p.path("zones/zion")).expect("dir");
    assert_eq!(p.good(&["-z", "zion", "move", "/zones/zion"]), "");
    whole(&p, "zion", "/zones/zion");
    assert!(!p.path("var/lib/zones/zion/journal").exists());
}

#[test]
fn what_is_no_place_for_a_zone() {
    let p = Place::new();
    p.installed("zion", "");
    p.zone("other", "");
    put(&p.path("full/file"), b"", 0o644);
    put(&p.path("file"), b"", 0o644);
    let before = picture(&p.path("zones"));
    let refused = |path: &str, text: &str| {
        let err = p.bad(&["-z", "zion", "move", path]);
        assert!(err.contains(text), "{path}: {err}");
        whole(&p, "zion", "/zones/zion");
        assert_eq!(picture(&p.path("zones")), before, "{path}");
    };
    refused("relative", "relative is not an absolute path.");
    refused("/", "/ is not allowed as a zonepath.");
    refused("/full", "could not move zone to /full: directory not empty\n");
    refused("/zones/zion", "could not move zone to /zones/zion: the zone is there already\n");
    refused("/zones/zion/root/in", "could not move zone to /zones/zion/root/in: it lies in the zone\n");
    refused("/zones/other", "zion zonepath (/zones/other) and other zonepath (/zones/other) overlap.\n");
    refused("/file", "/file is not a directory.");
    std::os::unix::fs::symlink("zones", p.path("link")).expect("link");
    refused("/link/zion2", "Resolved path mismatch");
    fs::create_dir(p.path("zones/zion/root/mnt")).expect("dir");
    let before = picture(&p.path("zones"));
    let mounted = Mounted::bind(&p.path("tree"), p.path("zones/zion/root/mnt"));
    let err = p.bad(&["-z", "zion", "move", "/new"]);
    assert!(err.contains("These file systems are mounted on subdirectories of "), "{err}");
    drop(mounted);
    assert_eq!(picture(&p.path("zones")), before);
    p.running("zion");
    let err = p.bad(&["-z", "zion", "move", "/new"]);
    assert_eq!(err, "zoneadm: zone 'zion': move operation is invalid for running zones.\n");
    assert_eq!(
        p.bad(&["-z", "other", "move", "/new"]),
        "zoneadm: zone 'other': move operation is invalid for configured zones.\n"
    );
}

#[test]
fn across_file_systems_it_is_copied_and_removed() {
    let p = Place::new();
    let disk = Mounted::tmpfs(p.path("disk"));
    p.installed("zion", "");
    put(&p.path("zones/zion/root/usr/bin/su"), b"su", 0o4755);
    put(&p.path("zones/zion/notes"), b"mine", 0o600);
    let before = picture(&p.path("zones/zion"));
    let said = p.good(&["-z", "zion", "move", "/disk/zion"]);
    assert_eq!(
        said,
        format!(
            "Moving across file systems; copying zonepath {}...\nCleaning up zonepath {0}...\n",
            p.shown("zones/zion")
        )
    );
    whole(&p, "zion", "/disk/zion");
    assert_eq!(picture(&p.path("disk/zion")), before);
    assert!(!p.path("zones/zion").exists());
    // A file system of its own, which stays.
    p.good(&["-z", "zion", "move", "/zones/zion"]);
    let own = Mounted::tmpfs(p.path("own"));
    fs::set_permissions(p.path("own"), fs::Permissions::from_mode(0o700)).expect("chmod");
    p.good(&["-z", "zion", "move", "/own"]);
    whole(&p, "zion", "/own");
    p.good(&["-z", "zion", "move", "/zones/zion"]);
    whole(&p, "zion", "/zones/zion");
    assert_eq!(picture(&p.path("own")), [] as [&str; 0]);
    assert_eq!(picture(&p.path("zones/zion")), before);
    drop((disk, own));
}

#[test]
fn what_cannot_be_saved_is_moved_back() {
    let p = Place::new();
    let disk = Mounted::tmpfs(p.path("disk"));
    p.installed("zion", "");
    // With a token, the path that comes back must be the token.
    let spec = p.spec("zion").replace("/zones/zion", "/zones/%{zonename}");
    put(&p.path("etc/zones.d/zion.toml"), spec.as_bytes(), 0o644);
    let before = picture(&p.path("zones"));
    // Where the draft of a new spec goes there is something that cannot be replaced.
    fs::create_dir(p.path("etc/zones.d/.zion.toml.new")).expect("dir");
    for place in ["/new/zion", "/disk/zion"] {
        let done = p.run(&["-z", "zion", "move", place]);
        assert_eq!(done.status, Some(1), "{done:?}");
        assert!(done.err.contains(".zion.toml.new"), "{}", done.err);
        assert_eq!((p.spec("zion"), picture(&p.path("zones"))), (spec.clone(), before.clone()));
        assert!(!p.path(place).exists() && !p.path("new").exists());
    }
    fs::remove_dir(p.path("etc/zones.d/.zion.toml.new")).expect("remove");
    p.good(&["-z", "zion", "move", "/disk/zion"]);
    whole(&p, "zion", "/disk/zion");
    drop(disk);
}

#[test]
fn nothing_gets_lost_on_the_way() {
    let p = Place::new();
    let disk = Mounted::tmpfs(p.path("disk"));
    p.installed("zion", "");
    let file = p.path("zones/zion/root/usr/bin/tool");
    let note = |name: &str| rustix::fs::setxattr(&file, name, b"x", rustix::fs::XattrFlags::empty());
    // Kept by the one and not by the other, depending on their options.
    if note("user.note").is_err()
        || rustix::fs::setxattr(p.path("disk"), "user.note", b"x", rustix::fs::XattrFlags::empty()).is_ok()
    {
        eprintln!("SKIPPED: both file systems here keep the same attributes");
        return;
    }
    let before = picture(&p.path("zones"));
    let done = p.run(&["-z", "zion", "move", "/disk/zion"]);
    assert!(done.err.contains("cannot keep these attributes: user.note"), "{done:?}");
    assert_eq!(picture(&p.path("zones")), before);
    whole(&p, "zion", "/zones/zion");
    assert!(!p.path("disk/zion").exists());
    drop(disk);
}
