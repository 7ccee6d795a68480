//! What a zone can put into its tree, so that it cannot be copied, moved or removed any more.

use super::*;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use rustix::fs::{CWD, FileType, Mode, OFlags, XattrFlags};

/// Deeper than the programs could go, and than files can be open and a path can be long.
const DEEP: usize = 2500;

/// Runs a command that must succeed, with fewer open files than a process may have anywhere.
fn good(p: &Place, args: &[&str]) {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 256; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_zoneadm"), "-R"]);
    let done = run(command.arg(p.path("")).args(args).stdin(Stdio::null()).env_remove("ZONES_ROOT"));
    let said: String = done.err.chars().take(500).collect();
    assert_eq!(done.status, Some(0), "{args:?}: {said}");
}

fn open(at: impl AsFd, name: &str) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(at, name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
}

/// Makes directories, each in the one before it, with a file in the last one.
fn descend(top: &Path, name: &str, depth: usize) {
    let mut at = open(CWD, top.to_str().expect("UTF-8")).expect("open");
    for _ in 0..depth {
        rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(0o755)).expect("mkdir");
        at = open(&at, name).expect("open");
    }
    rustix::fs::mknodat(&at, "last", FileType::RegularFile, Mode::from_raw_mode(0o640), 0).expect("file");
}

/// Returns how many directories of a name are in each other, with the file in the last one.
fn depth(top: &Path, name: &str) -> usize {
    let mut at = open(CWD, top.to_str().expect("UTF-8")).expect("open");
    let mut depth = 0;
    while let Ok(next) = open(&at, name) {
        (at, depth) = (next, depth + 1);
    }
    rustix::fs::statat(&at, "last", rustix::fs::AtFlags::empty()).expect("the file in the last one");
    depth
}

#[test]
fn a_tree_of_any_depth_is_cloned_moved_and_removed() {
    let p = Place::new();
    let disk = Mounted::tmpfs(p.path("disk"));
    p.installed("zion", "");
    let long = "n".repeat(255);
    let inside = |place: &str| p.path(&format!("{place}/root"));
    descend(&inside("zones/zion"), "d", DEEP);
    descend(&inside("zones/zion"), &long, 500);
    let whole = |place: &str| (depth(&inside(place), "d"), depth(&inside(place), &long)) == (DEEP, 500);
    p.zone("neo", "");
    good(&p, &["-z", "neo", "clone", "zion"]);
    assert!(whole("zones/neo") && whole("zones/zion"));
    good(&p, &["-z", "neo", "move", "/disk/neo"]);
    assert!(whole("disk/neo") && !p.path("zones/neo").exists());
    good(&p, &["-z", "neo", "detach"]);
    good(&p, &["-z", "neo", "attach"]);
    good(&p, &["-z", "neo", "uninstall", "-F"]);
    good(&p, &["-z", "zion", "uninstall", "-F"]);
    assert!(!p.path("disk/neo").exists() && !p.path("zones/zion").exists());
    drop(disk);
}

/// Makes in a directory what a zone can make: strange names, kinds of files, sizes, times, attributes.
fn strange(top: &Path) {
    let name = |bytes: &[u8]| top.join(OsStr::from_bytes(bytes));
    for bytes in
        [&b"\xff\xfe"[..], b"line\nend", b"\x1b[31m", b"-rf", b"*", b" ", &[b'x'; 255], b".new.hostname.x"]
    {
        fs::write(name(bytes), "x").expect("file");
    }
    drop(UnixListener::bind(top.join("socket")).expect("socket"));
    rustix::fs::mknodat(CWD, top.join("pipe"), FileType::Fifo, Mode::from_raw_mode(0o666), 0).expect("pipe");
    rustix::fs::mknodat(CWD, top.join("gone"), FileType::CharacterDevice, Mode::empty(), 0)
        .expect("whiteout");
    symlink("y/".repeat(2000), top.join("long-link")).expect("link");
    symlink("loop", top.join("loop")).expect("link");
    let largest = fs::File::create(top.join("largest")).expect("file");
    let size = (0..63).rev().map(|bit| (1 << bit) - 1).find(|size| largest.set_len(*size).is_ok());
    std::os::unix::fs::FileExt::write_at(&largest, b"end", size.expect("a size") - 3).expect("write");
    fs::write(top.join("linked"), "x").expect("file");
    for i in 0..3000 {
        fs::hard_link(top.join("linked"), top.join(format!("link{i}"))).expect("link");
    }
    put(&top.join("closed/file"), b"x", 0o000);
    fs::set_permissions(top.join("closed"), fs::Permissions::from_mode(0o000)).expect("chmod");
    for (file, seconds) in [("past", i64::MIN / 2), ("future", i64::MAX / 2)] {
        let path = top.join(file);
        fs::write(&path, "x").expect("file");
        let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: 999_999_999 };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, &path, &times, rustix::fs::AtFlags::empty()).expect("times");
    }
    fs::create_dir(top.join("many")).expect("dir");
    for i in 0..20_000 {
        fs::File::create(top.join(format!("many/{i}"))).expect("file");
    }
}

#[test]
fn whatever_a_zone_makes_is_cloned_and_removed() {
    let p = Place::new();
    p.installed("zion", "");
    strange(&p.path("zones/zion/root"));
    p.zone("neo", "");
    let before = picture(&p.path("zones/zion/root"));
    good(&p, &["-z", "neo", "clone", "zion"]);
    let mut after = picture(&p.path("zones/neo/root"));
    after.retain(|line| !line.starts_with("etc/"));
    let kept = |line: &String| !line.starts_with("etc/") && !line.starts_with("socket ");
    assert!(after == before.into_iter().filter(kept).collect::<Vec<_>>());
    good(&p, &["-z", "neo", "detach"]);
    good(&p, &["-z", "neo", "attach"]);
    for zone in ["neo", "zion"] {
        good(&p, &["-z", zone, "uninstall", "-F"]);
        assert!(!p.path(&format!("zones/{zone}")).exists());
    }
}

#[test]
fn attributes_that_the_kernel_does_not_list_stop_no_clone() {
    let p = Place::new();
    let disk = Mounted::tmpfs(p.path("zones"));
    p.installed("zion", "");
    let file = p.path("zones/zion/root/usr/bin/tool");
    // tar and cp cannot read these names either: 64 KiB are the most that the kernel tells.
    let many = (0..300).all(|i| {
        let name = format!("user.{i:0240}");
        rustix::fs::setxattr(&file, &name, b"x", XattrFlags::empty()).is_ok()
    });
    if !many {
        eprintln!("SKIPPED: file systems in memory keep no attributes here");
        return;
    }
    // cap_net_raw=ep, as setcap writes it.
    let cap: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    rustix::fs::setxattr(&file, "security.capability", &cap, XattrFlags::empty()).expect("a capability");
    p.zone("neo", "");
    let said = p.run(&["-z", "neo", "clone", "zion"]);
    assert_eq!(said.status, Some(0), "{said:?}");
    assert!(
        said.out.contains("64 KiB together")
            && said.out.contains("zones/zion/root/usr/bin/tool and 0 others"),
        "{said:?}"
    );
    let copy = p.path("zones/neo/root/usr/bin/tool");
    let mut value = [0; 64];
    let size =
        rustix::fs::getxattr(&copy, "security.capability", &mut value[..]).expect("it can still do that");
    assert_eq!(value[..size], cap);
    // A move removes the original, so it leaves nothing out; a rename needs no list.
    let other = Mounted::tmpfs(p.path("other"));
    let done = p.run(&["-z", "zion", "move", "/other/zion"]);
    assert!(done.status == Some(1) && done.err.contains("usr/bin/tool has more attributes than"), "{done:?}");
    p.good(&["-z", "zion", "move", "/zones/elsewhere"]);
    p.good(&["-z", "zion", "uninstall", "-F"]);
    drop((other, disk));
}

#[test]
fn directories_in_place_of_an_identity_stop_no_clone() {
    for (number, strange) in [
        "rm -r etc; touch etc",
        "rm -r etc; ln -s etc etc",
        "mv etc config; ln -s config etc",
        "rm -r etc; ln -s $(printf %0300d 1) etc",
        "rm -r etc; ln -s nowhere etc",
        "rm -f etc/hostname; mkdir -p etc/hostname/x",
        "mkdir -p etc/.new.hostname/x etc/.new.machine-id etc/.new.hosts; echo zion > etc/hosts",
        "mkdir -p etc/machine-id/x",
        "rm -f etc/hosts; mkfifo etc/hosts",
        "rm -f etc/hosts; python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('etc/hosts')\"",
        "rm -f etc/hosts; truncate -s 1T etc/hosts",
        "echo 1 > etc/hostid; mkdir -p etc/.new.hostid/x",
        "mkdir etc/ssh; echo S > etc/ssh/ssh_host_ed25519_key; mkdir -p etc/ssh/.new.ssh_host_ed25519_key/x",
        "touch etc/ssh",
        "ln -s ssh etc/ssh",
        "mkdir -p etc/ssh/ssh_host_ed25519_key/x",
        "mkdir -p var/lib/dbus/.new.machine-id/x; echo 1 > var/lib/dbus/machine-id; mkdir etc/machine-id",
        "mkdir -p var/lib; ln -s /etc/passwd var/lib/dbus",
        "mkdir -p var/lib/dhcp/x.leases; touch var/lib/systemd",
    ]
    .iter()
    .enumerate()
    {
        let p = Place::new();
        p.installed("zion", "");
        let shell = Command::new("sh").args(["-ec", strange]).current_dir(p.path("zones/zion/root")).status();
        assert!(shell.expect("a shell").success(), "{number}: {strange}");
        p.zone("neo", "");
        let done = p.run(&["-z", "neo", "clone", "zion"]);
        assert_eq!(done.status, Some(0), "{strange}: {done:?}");
        // What is there in place of the file is told.
        let kept = ["etc/hostname/x", "mkdir -p etc/machine-id", "mkdir etc/machine-id"];
        let kept = kept.iter().any(|made| strange.contains(made));
        assert_eq!(done.err.contains("is a directory and stays as it is"), kept, "{strange}: {done:?}");
        let dbus = p.path("zones/neo/root/var/lib/dbus/machine-id");
        assert!(!dbus.is_file() || read(&dbus).len() == 33, "{strange}");
        good(&p, &["-z", "neo", "uninstall", "-F"]);
    }
}

/// A zone makes subvolumes of btrfs where it can make directories, and can make them read-only.
#[test]
fn subvolumes_are_cloned_and_removed() {
    let p = Place::new();
    let image = p.path("btrfs.img");
    fs::File::create(&image).and_then(|f| f.set_len(256 << 20)).expect("an image");
    let made = Command::new("mkfs.btrfs").arg("-q").arg(&image).stderr(Stdio::null()).status();
    if !made.is_ok_and(|s| s.success()) {
        eprintln!("SKIPPED: mkfs.btrfs is not on this host");
        return;
    }
    // The mount is the script's alone, and ends with it.
    let script = r#"
        set -e; cd $TOP; mount -o loop btrfs.img zones
        zoneadm() { $ZONEADM -R $TOP "$@"; }
        zoneadm -z zion install -d $TOP/tree >/dev/null
        python3 - <<'END'
import fcntl, os, struct
def make(at, name): fcntl.ioctl(os.open(at, os.O_RDONLY), 0x5000940e, bytearray(struct.pack('<q4088s', 0, name)))
def close(at): fcntl.ioctl(os.open(at, os.O_RDONLY), 0x4008941a, struct.pack('<Q', 2))
os.chdir('zones/zion/root')
make('.', b'outer')
# Directories of one subvolume are not renamed into another one.
for i in range(150): os.mkdir("d"); os.chdir("d")
make('.', b'inner'); os.chdir('inner')
for i in range(150): os.mkdir('e'); os.chdir('e')
open('deep', 'w').write('deep')
os.chdir(os.environ['TOP'] + '/zones/zion/root/outer')
make('.', b'closed'); os.makedirs('closed/a/b'); open('closed/a/b/file', 'w').write('kept'); close('closed')
close('.')
END
        zoneadm -z neo clone zion >/dev/null
        cat zones/neo/root/outer/closed/a/b/file; echo
        find zones/neo -name deep | wc -l
        zoneadm -z neo uninstall -F; zoneadm -z zion uninstall -F
        ls -A zones; cd /; umount $TOP/zones"#;
    p.zone("zion", "");
    p.zone("neo", "");
    p.tree("tree");
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "private", "sh", "-c", script]);
    let done = run(command.env("TOP", p.path("")).env("ZONEADM", env!("CARGO_BIN_EXE_zoneadm")));
    assert_eq!((done.out.as_str(), done.err.as_str(), done.status), ("kept\n1\n", "", Some(0)));
}
