//! A copy keeps some things, leaves out others, and never touches the source.

use super::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

fn pair() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let temp = tempfile::tempdir().expect("temp");
    let (from, to) = (temp.path().join("from"), temp.path().join("to"));
    std::fs::create_dir_all(&from).expect("dir");
    std::fs::create_dir_all(&to).expect("dir");
    (temp, from, to)
}

fn copy(from: &Path, to: &Path, filter: &CopyFilter) -> Copied {
    let (from, to) = (Dir::open_host(from).expect("open"), Dir::open_host(to).expect("open"));
    copy_tree(&from, &to, filter, &mut |_, _, _| {}).expect("copy")
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 1000];
    let size = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
    value.truncate(size);
    Some(value)
}

#[test]
fn everything_that_makes_a_file_is_kept() {
    let (_temp, from, to) = pair();
    std::fs::create_dir(from.join("d")).expect("dir");
    let file = from.join("d/file");
    std::fs::write(&file, "content").expect("file");
    std::os::unix::fs::chown(&file, Some(1234), Some(70000)).expect("chown");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o4751)).expect("chmod");
    std::fs::hard_link(&file, from.join("zlink")).expect("link");
    symlink("/nowhere", from.join("d/sym")).expect("link");
    std::os::unix::fs::lchown(from.join("d/sym"), Some(5), Some(6)).expect("chown");
    rustix::fs::mkfifoat(rustix::fs::CWD, from.join("pipe"), Mode::from_raw_mode(0o600)).expect("pipe");
    // cap_net_raw=ep, as setcap writes it.
    let cap: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let set =
        |name: &str, value: &[u8]| rustix::fs::setxattr(&file, name, value, rustix::fs::XattrFlags::empty());
    let user = set("user.note", b"hello").is_ok();
    let caps = set("security.capability", &cap).is_ok();
    for path in [&file, &from.join("d")] {
        let fd = std::fs::File::open(path).expect("open");
        super::super::set_times(fd.as_fd(), 1_000_000_000, 5).expect("times");
    }
    let done = copy(&from, &to, &CopyFilter::new());
    assert_eq!((done.entries, done.foreign_ids), (5, 2));
    let (old, new) = (file.metadata().expect("stat"), to.join("d/file").metadata().expect("stat"));
    assert_eq!((new.uid(), new.gid(), new.mode()), (old.uid(), old.gid(), old.mode()));
    assert_eq!((new.mtime(), new.mtime_nsec(), new.nlink()), (1_000_000_000, 5, 2));
    assert_eq!(to.join("d").metadata().expect("stat").mtime(), 1_000_000_000, "after its content was made");
    assert_eq!(new.ino(), to.join("zlink").metadata().expect("stat").ino());
    let sym = to.join("d/sym").symlink_metadata().expect("stat");
    assert!(sym.is_symlink() && sym.uid() == 5 && sym.gid() == 6);
    assert_eq!(std::fs::read_link(to.join("d/sym")).expect("link"), Path::new("/nowhere"));
    assert_eq!(std::fs::read(to.join("zlink")).expect("read"), b"content");
    assert_eq!(xattr(&to.join("d/file"), "user.note"), user.then(|| b"hello".to_vec()));
    assert_eq!(xattr(&to.join("d/file"), "security.capability"), caps.then(|| cap.to_vec()));
}

#[test]
fn holes_stay_holes() {
    let (_temp, from, to) = pair();
    let file = std::fs::File::create(from.join("sparse")).expect("file");
    let data = vec![7u8; 10_000];
    std::os::unix::fs::FileExt::write_at(&file, &data, 5 << 20).expect("write");
    file.set_len(64 << 20).expect("size");
    std::fs::File::create(from.join("hole")).expect("file").set_len(1 << 30).expect("size");
    copy(&from, &to, &CopyFilter::new());
    let stat = |p: &str| to.join(p).metadata().expect("stat");
    assert_eq!((stat("sparse").len(), stat("hole").len(), stat("hole").blocks()), (64 << 20, 1 << 30, 0));
    assert!(stat("sparse").blocks() * 512 < 1 << 20, "{}", stat("sparse").blocks());
    assert!(
        std::fs::read(from.join("sparse")).expect("read") == std::fs::read(to.join("sparse")).expect("read")
    );
}

#[test]
fn zeros_become_holes_on_writing() {
    let temp = tempfile::tempdir().expect("temp");
    for (i, size) in [0usize, 1, 4096, 4097, 262_144, 300_000, 1_000_001].into_iter().enumerate() {
        let mut data = vec![0u8; size];
        for at in (0..size).step_by(70_000) {
            data[at] = 1;
        }
        let path = temp.path().join(i.to_string());
        let file = std::fs::File::create(&path).expect("file");
        let mut writer = super::super::SparseWriter::new(file.as_fd());
        for part in data.chunks(100_000) {
            writer.write(part).expect("write");
        }
        assert_eq!(writer.finish().expect("finish"), size as u64);
        assert!(std::fs::read(&path).expect("read") == data, "{size}");
        assert!(size < 300_000 || file.metadata().expect("stat").blocks() * 512 < size as u64 / 2);
    }
}

#[test]
fn rules_leave_out() {
    let (_temp, from, to) = pair();
    for dir in ["tmp/x", "var/log/app", "etc/private", "zone/root"] {
        std::fs::create_dir_all(from.join(dir)).expect("dir");
    }
    for file in ["tmp/file", "var/log/messages", "var/log/app/log", "etc/shadow", "etc/private/key", "zone/x"]
    {
        std::fs::write(from.join(file), "secret").expect("file");
    }
    std::fs::write(from.join("etc/mode"), "secret").expect("file");
    std::fs::set_permissions(from.join("etc/mode"), std::fs::Permissions::from_mode(0o640)).expect("chmod");
    std::fs::set_permissions(from.join("etc/private"), std::fs::Permissions::from_mode(0o711))
        .expect("chmod");
    std::fs::set_permissions(from.join("tmp"), std::fs::Permissions::from_mode(0o1777)).expect("chmod");
    let mut filter = CopyFilter::new().public_only();
    filter.add("tmp", CopyRule::Empty);
    filter.add("var/log", CopyRule::DirsOnly);
    filter.add("etc/shadow", CopyRule::Skip);
    filter.add("zone", CopyRule::Skip);
    copy(&from, &to, &filter);
    let mut found = Vec::new();
    let mut todo = vec![to.clone()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(dir).expect("list") {
            let path = entry.expect("entry").path();
            found.push(path.strip_prefix(&to).expect("below").display().to_string());
            if path.is_dir() {
                todo.push(path);
            }
        }
    }
    found.sort();
    assert_eq!(found, ["etc", "tmp", "var", "var/log", "var/log/app"]);
    assert_eq!(to.join("tmp").metadata().expect("stat").mode() & 0o7777, 0o1777);
}

#[test]
fn some_names_into_a_filled_target() {
    let (_temp, from, to) = pair();
    std::fs::create_dir(from.join("d")).expect("dir");
    std::fs::write(from.join("d/new"), "n").expect("file");
    std::fs::write(from.join("d/own"), "host's").expect("file");
    std::fs::write(from.join("other"), "o").expect("file");
    symlink("x", from.join("link")).expect("link");
    std::fs::create_dir(to.join("d")).expect("dir");
    std::fs::write(to.join("d/own"), "zone's").expect("file");
    let (src, dst) = (Dir::open_host(&from).expect("open"), Dir::open_host(&to).expect("open"));
    let names: Vec<OsString> = ["d", "link", "missing"].map(OsString::from).into();
    copy_names(&src, &dst, &names, &CopyFilter::new()).expect("copy");
    assert_eq!(std::fs::read_to_string(to.join("d/own")).expect("read"), "zone's");
    assert_eq!(std::fs::read_to_string(to.join("d/new")).expect("read"), "n");
    assert!(to.join("link").is_symlink() && !to.join("other").exists());
}

#[test]
fn sockets_and_devices_are_counted_and_measuring_agrees() {
    let (_temp, from, to) = pair();
    let _socket = std::os::unix::net::UnixListener::bind(from.join("socket")).expect("socket");
    std::fs::write(from.join("file"), vec![1u8; 100_000]).expect("file");
    let dev = rustix::fs::makedev(1, 3);
    let kind = FileType::CharacterDevice;
    let made = rustix::fs::mknodat(rustix::fs::CWD, from.join("null"), kind, Mode::from_raw_mode(0o666), dev);
    let src = Dir::open_host(&from).expect("open");
    let before = measure(&src, &CopyFilter::new()).expect("measure");
    let done = copy(&from, &to, &CopyFilter::new());
    assert_eq!((done.sockets, done.devices), (1, u64::from(made.is_ok())));
    assert_eq!(before.bytes, done.bytes);
    assert_eq!(std::fs::read_dir(&to).expect("list").count(), 1);
}

#[test]
fn a_link_in_the_target_is_not_written_through() {
    let (temp, from, to) = pair();
    let outside = temp.path().join("outside");
    std::fs::create_dir(&outside).expect("dir");
    std::fs::create_dir(from.join("etc")).expect("dir");
    std::fs::write(from.join("etc/file"), "x").expect("file");
    symlink(&outside, to.join("etc")).expect("link");
    let (src, dst) = (Dir::open_host(&from).expect("open"), Dir::open_host(&to).expect("open"));
    assert!(copy_tree(&src, &dst, &CopyFilter::new(), &mut |_, _, _| {}).is_err());
    let names = [OsString::from("etc")];
    assert!(copy_names(&src, &dst, &names, &CopyFilter::new()).is_err());
    assert_eq!(std::fs::read_dir(&outside).expect("list").count(), 0);
}

/// Makes directories, each in the one before it, and returns the innermost one.
fn descend(top: &Path, depth: usize) -> Dir {
    let mut at = Dir::open_host(top).expect("open");
    for _ in 0..depth {
        let (next, _) = at.make_dir("d", crate::sys::path::Owned::root(0o755)).expect("dir");
        at = Dir::from_fd(next.as_fd().try_clone_to_owned().expect("clone"), PathBuf::from("d"));
    }
    at
}

/// Returns the innermost of directories that are called alike, and how many there are.
fn innermost(top: &Path) -> (Dir, usize) {
    let mut at = Dir::open_host(top).expect("open");
    let mut depth = 0;
    while let Ok(next) = at.dir("d", STRICT) {
        at = Dir::from_fd(next.as_fd().try_clone_to_owned().expect("clone"), PathBuf::from("d"));
        depth += 1;
    }
    (at, depth)
}

#[test]
fn a_tree_of_any_depth_is_copied_with_its_links() {
    // Deeper than a path can be long, and than files can be open.
    const DEPTH: usize = 3000;
    let (_temp, from, to) = pair();
    let deep = descend(&from, DEPTH);
    let owned = crate::sys::path::Owned::root(0o640);
    for name in ["one", "single"] {
        deep.write(name, owned, b"deep").expect("file");
    }
    std::fs::write(from.join("shallow"), "top").expect("file");
    let link = |dir: &Dir, name: &str, to: &Dir, new: &str| {
        rustix::fs::linkat(dir, name, to, new, AtFlags::empty()).expect("link");
    };
    let top = Dir::open_host(&from).expect("open");
    link(&deep, "one", &deep, "two");
    link(&deep, "one", &top, "up");
    link(&top, "shallow", &deep, "down");
    let (src, dst) = (Dir::open_host(&from).expect("open"), Dir::open_host(&to).expect("open"));
    let measured = measure(&src, &CopyFilter::new()).expect("measure");
    let done = copy_tree(&src, &dst, &CopyFilter::new(), &mut |_, _, _| {}).expect("copy");
    assert_eq!((done.entries, done.bytes), (measured.entries, measured.bytes));
    let (inner, depth) = innermost(&to);
    assert_eq!((depth, done.entries), (DEPTH, DEPTH as u64 + 6));
    let ino = |dir: &Dir, name: &str| {
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).expect("stat");
        (stat.st_ino, stat.st_nlink, stat.st_mode & 0o7777)
    };
    let one = ino(&inner, "one");
    assert_eq!((one, ino(&dst, "up"), one.1, one.2), (ino(&inner, "two"), one, 3, 0o640));
    assert_eq!(ino(&inner, "down").0, ino(&dst, "shallow").0);
    assert_eq!(ino(&inner, "single").1, 1);
    let mut names: Vec<_> =
        std::fs::read_dir(&to).expect("list").map(|e| e.expect("entry").file_name()).collect();
    names.sort();
    assert_eq!(names, ["d", "shallow", "up"], "what the copy needed for itself has gone");
}

#[test]
fn a_file_of_many_names_is_measured_once() {
    let (_temp, from, to) = pair();
    std::fs::write(from.join("file"), vec![1u8; 1 << 20]).expect("file");
    for i in 0..100 {
        std::fs::hard_link(from.join("file"), from.join(format!("name{i}"))).expect("link");
    }
    let measured = measure(&Dir::open_host(&from).expect("open"), &CopyFilter::new()).expect("measure");
    let done = copy(&from, &to, &CopyFilter::new());
    assert_eq!((measured.entries, measured.bytes), (done.entries, done.bytes));
    assert!(measured.bytes < 2 << 20, "{measured:?}");
    assert_eq!(to.join("file").metadata().expect("stat").nlink(), 101);
}

#[test]
fn whiteouts_are_no_devices() {
    let (_temp, from, to) = pair();
    let device = |name: &str, number| {
        let at = from.join(name);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            at,
            FileType::CharacterDevice,
            Mode::from_raw_mode(0o600),
            number,
        )
    };
    device("gone", 0).expect("everybody can make a whiteout");
    let made = device("null", rustix::fs::makedev(1, 3)).is_ok();
    let done = copy(&from, &to, &CopyFilter::new());
    assert_eq!(done.devices, u64::from(made));
    let gone = to.join("gone").symlink_metadata().expect("stat");
    assert_eq!((gone.mode() & 0o170_000, gone.rdev()), (0o020_000, 0));
}
