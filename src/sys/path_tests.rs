//! Both ways of resolution must give the same answers, also where a name leads out.

use super::*;
use std::os::unix::fs::{MetadataExt, symlink};

type Open = fn(BorrowedFd<'_>, &Path, OFlags, Mode, Resolve) -> rustix::io::Result<OwnedFd>;

const READ: OFlags = OFlags::RDONLY;

fn tree() -> (tempfile::TempDir, Dir) {
    let temp = tempfile::tempdir().expect("temp");
    let root = temp.path().join("root");
    std::fs::create_dir_all(root.join("etc/deep")).expect("dir");
    std::fs::write(root.join("etc/file"), "inside").expect("file");
    std::fs::write(temp.path().join("secret"), "outside").expect("file");
    symlink("etc", root.join("rel")).expect("link");
    symlink("/etc", root.join("abs")).expect("link");
    symlink("../../../../secret", root.join("etc/up")).expect("link");
    symlink("loop", root.join("loop")).expect("link");
    symlink("/proc/self/root", root.join("magic")).expect("link");
    let dir = Dir::open_host(&root).expect("open");
    (temp, dir)
}

fn try_open(open: Open, dir: &Dir, name: &str, flags: OFlags, how: Resolve) -> Result<String, Errno> {
    let fd = open(dir.as_fd(), Path::new(name), flags, Mode::empty(), how)?;
    Ok(std::fs::read_to_string(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd)))
        .unwrap_or_else(|_| "dir".into()))
}

#[test]
fn kernel_and_walk_agree() {
    let (_temp, dir) = tree();
    let table: [(&str, Resolve, Result<&str, Errno>); 13] = [
        ("etc/file", STRICT, Ok("inside")),
        ("etc", STRICT, Ok("dir")),
        (".", STRICT, Ok("dir")),
        ("rel/file", STRICT, Err(Errno::LOOP)),
        ("abs/file", STRICT, Err(Errno::LOOP)),
        ("etc/up", STRICT, Err(Errno::LOOP)),
        ("missing/x", STRICT, Err(Errno::NOENT)),
        ("etc/file/x", STRICT, Err(Errno::NOTDIR)),
        ("rel/file", IN_ROOT, Ok("inside")),
        ("abs/file", IN_ROOT, Ok("inside")),
        ("etc/up", IN_ROOT, Err(Errno::NOENT)),
        ("loop", IN_ROOT, Err(Errno::LOOP)),
        ("magic/etc/passwd", IN_ROOT, Err(Errno::NOENT)),
    ];
    for (name, how, expect) in table {
        for (way, open) in [("kernel", kernel_open as Open), ("walk", walk_open as Open)] {
            let found = try_open(open, &dir, name, READ, how);
            assert_eq!(found.as_deref().map_err(|e| *e), expect, "{name} {how:?} by {way}");
        }
    }
}

#[test]
fn the_walk_makes_files_and_sees_links() {
    let (temp, dir) = tree();
    let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    assert!(try_open(walk_open, &dir, "etc/new", create, STRICT).is_ok());
    assert!(temp.path().join("root/etc/new").exists());
    assert_eq!(try_open(walk_open, &dir, "etc/up", create, STRICT), Err(Errno::EXIST));
    let link = OFlags::PATH | OFlags::NOFOLLOW;
    assert!(try_open(walk_open, &dir, "etc/up", link, STRICT).is_ok());
    assert!(try_open(kernel_open, &dir, "etc/up", link, STRICT).is_ok());
    assert_eq!(try_open(walk_open, &dir, "etc/file", READ | OFlags::DIRECTORY, STRICT), Err(Errno::NOTDIR));
}

#[test]
fn other_mounts_are_another_place() {
    let root = Dir::open_host(Path::new("/")).expect("open");
    for open in [kernel_open as Open, walk_open as Open] {
        assert_eq!(try_open(open, &root, "proc/self/status", READ, SAME_MOUNT), Err(Errno::XDEV));
        assert!(try_open(open, &root, "proc/version", READ, STRICT).is_ok());
    }
}

#[test]
fn names_never_lead_up() {
    let (_temp, dir) = tree();
    for name in ["..", "../secret", "etc/../../secret", "/../secret"] {
        let error = dir.open(name, READ, 0, STRICT).expect_err(name);
        assert!(error.to_string().starts_with("cannot open "), "{error}");
        assert!(dir.write(name, Owned::root(0o644), b"x").is_err(), "{name}");
    }
    assert!(dir.open("/etc/file", READ, 0, STRICT).is_ok(), "absolute means: below the directory");
}

#[test]
fn writing_replaces_links_and_keeps_their_targets() {
    let (temp, dir) = tree();
    let secret = temp.path().join("secret");
    symlink(&secret, temp.path().join("root/etc/planted")).expect("link");
    // The temporary name, which the file has before it is renamed, is planted as well.
    symlink(&secret, temp.path().join("root/etc/.new.planted")).expect("link");
    dir.write("etc/planted", Owned { mode: 0o640, uid: 0, gid: 0 }, b"ours").expect("write");
    assert_eq!(std::fs::read_to_string(&secret).expect("read"), "outside");
    let file = temp.path().join("root/etc/planted");
    let meta = std::fs::symlink_metadata(&file).expect("stat");
    assert!(meta.is_file() && meta.mode() & 0o7777 == 0o640);
    assert_eq!(std::fs::read_to_string(file).expect("read"), "ours");
    let error = dir.write("rel/x", Owned::root(0o644), b"x").expect_err("through a link");
    assert_eq!(Errno::from_io_error(&error.cause), Some(Errno::LOOP));
    assert_eq!(std::fs::read_dir(temp.path().join("root/etc")).expect("list").count(), 4);
}

#[test]
fn directories_and_links_are_made_once() {
    let (temp, dir) = tree();
    dir.make_dirs("var/lib/x", Owned::root(0o1777)).expect("make");
    let mode = |p: &str| std::fs::metadata(temp.path().join("root").join(p)).expect("stat").mode() & 0o7777;
    assert_eq!((mode("var"), mode("var/lib"), mode("var/lib/x")), (0o755, 0o755, 0o1777));
    let (_, made) = dir.make_dir("var/lib/x", Owned::root(0o700)).expect("again");
    assert!(!made && mode("var/lib/x") == 0o1777, "what is there stays as it is");
    assert!(dir.make_dirs("rel/x", Owned::root(0o755)).is_err());
    assert!(dir.make_dirs("etc/file/x", Owned::root(0o755)).is_err());
    dir.symlink("usr/bin", "bin").expect("link");
    dir.symlink("usr/bin", "bin").expect("the same link again");
    assert!(dir.symlink("other", "bin").is_err());
    assert_eq!(dir.read_link("bin").expect("read").as_deref(), Some(OsStr::new("usr/bin")));
    assert_eq!(dir.read_link("etc").expect("read"), None);
}

#[test]
fn reading_takes_files_only() {
    let (temp, dir) = tree();
    rustix::fs::mkfifoat(rustix::fs::CWD, temp.path().join("root/pipe"), Mode::from_raw_mode(0o644))
        .expect("pipe");
    let read = |name: &str, limit| dir.read(name, limit, STRICT).expect(name);
    assert_eq!(read("etc/file", 100).as_deref(), Some(&b"inside"[..]));
    for (name, limit) in [("etc/file", 3), ("pipe", 100), ("etc", 100), ("etc/up", 100), ("none", 100)] {
        assert_eq!(read(name, limit), None, "{name}");
    }
}
