//! What root of a zone, who owns files of the host that the zone sees read-only, can do to them: one call after the
//! other, each with what becomes of it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::Lab;

/// What becomes of a call.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// The filter refuses it with this error.
    Filtered(i32),
    /// The mount refuses it, for it is read-only. A file system without the call answers otherwise.
    ReadOnly,
    /// The kernel refuses it for another reason: it takes a right over the host, or a descriptor open for writing.
    Refused,
    /// It works, and does nothing to the host.
    Harmless,
    /// It works, and zones(7) says so with this word.
    Told(&'static str),
}
use Fate::{Filtered, Harmless, ReadOnly, Refused, Told};

const EPERM: i32 = libc::EPERM;
const EINVAL: i32 = libc::EINVAL;

/// The calls of attack/owner.py in their order.
const CALLS: &[(&str, Fate)] = &[
    ("O_WRONLY", ReadOnly),
    ("O_TRUNC", ReadOnly),
    ("O_WRONLY by /proc/self/fd", ReadOnly),
    ("O_RDWR by an O_PATH descriptor", ReadOnly),
    ("O_TMPFILE", ReadOnly),
    ("O_CREAT", ReadOnly),
    ("O_NOATIME", Harmless),
    ("F_SETFL O_NOATIME", Harmless),
    ("write", Refused),
    ("ftruncate", Refused),
    ("truncate", ReadOnly),
    ("fallocate", Refused),
    ("fallocate, punch a hole", Refused),
    ("copy_file_range into it", Refused),
    ("mmap shared, to write", Refused),
    ("mprotect, to write", Refused),
    ("utimensat", ReadOnly),
    ("utimensat, a time", ReadOnly),
    ("futimens", ReadOnly),
    ("utimensat by an O_PATH descriptor", ReadOnly),
    ("utimensat by /proc/self/fd", ReadOnly),
    ("chmod", ReadOnly),
    ("fchmod", ReadOnly),
    ("fchmodat2 by an O_PATH descriptor", ReadOnly),
    ("chown", ReadOnly),
    ("fchownat by an O_PATH descriptor", ReadOnly),
    ("setxattr user.zion", ReadOnly),
    ("removexattr user.zion", ReadOnly),
    ("setxattr trusted.zion", ReadOnly),
    ("removexattr trusted.zion", ReadOnly),
    ("setxattr security.zion", ReadOnly),
    ("removexattr security.zion", ReadOnly),
    ("setxattr security.capability", ReadOnly),
    ("removexattr security.capability", ReadOnly),
    ("setxattr system.posix_acl_access", ReadOnly),
    ("removexattr system.posix_acl_access", ReadOnly),
    ("link into the zone", Refused),
    ("link by a descriptor", Refused),
    ("link beside it", ReadOnly),
    ("rename", ReadOnly),
    ("rename into the zone", Refused),
    ("unlink", ReadOnly),
    ("mkdir", ReadOnly),
    ("rmdir", ReadOnly),
    ("FS_IOC_GETFLAGS", Told("FS_IOC_GETFLAGS")),
    ("FS_IOC_SETFLAGS", ReadOnly),
    ("FS_IOC_SETFLAGS, immutable", ReadOnly),
    ("FS_IOC_FSGETXATTR", Told("FS_IOC_FSGETXATTR")),
    ("FS_IOC_FSSETXATTR, project", ReadOnly),
    ("FS_IOC_SETVERSION", ReadOnly),
    ("file_setattr", ReadOnly),
    ("FS_IOC_ENABLE_VERITY", ReadOnly),
    ("FS_IOC_MEASURE_VERITY", Refused),
    ("FS_IOC_SET_ENCRYPTION_POLICY", ReadOnly),
    ("FS_IOC_FIEMAP", Told("FS_IOC_FIEMAP")),
    ("FIBMAP", Refused),
    ("FIFREEZE", Refused),
    ("FITHAW", Refused),
    ("FITRIM", Refused),
    ("FS_IOC_SETFSLABEL", Refused),
    ("EXT4_IOC_RESIZE_FS", Refused),
    ("EXT4_IOC_MOVE_EXT", Refused),
    ("EXT4_IOC_MIGRATE", ReadOnly),
    ("EXT4_IOC_ALLOC_DA_BLKS", ReadOnly),
    ("EXT4_IOC_SWAP_BOOT", Refused),
    ("EXT4_IOC_SHUTDOWN", Refused),
    ("BTRFS_IOC_SNAP_CREATE_V2", Filtered(EPERM)),
    ("BTRFS_IOC_DEFRAG", ReadOnly),
    ("BTRFS_IOC_SUBVOL_SETFLAGS", ReadOnly),
    ("FICLONE into it", Refused),
    ("FIDEDUPERANGE into it", ReadOnly),
    ("quotactl", Filtered(EPERM)),
    ("quotactl_fd", Filtered(EPERM)),
    ("F_SETLEASE, write", Filtered(EINVAL)),
    ("F_SETLEASE, read", Filtered(EINVAL)),
    ("F_SETDELEG", Filtered(EINVAL)),
    ("F_GETLEASE", Harmless),
    ("F_NOTIFY", Filtered(EINVAL)),
    ("F_SETSIG", Harmless),
    ("F_SETOWN", Harmless),
    ("F_SETOWN, nobody of the zone", Refused),
    ("F_ADD_SEALS", Refused),
    ("F_SET_RW_HINT", Filtered(EINVAL)),
    ("F_SET_FILE_RW_HINT", Filtered(EINVAL)),
    ("F_SETLK, write", Refused),
    ("F_OFD_SETLK, write", Refused),
    ("F_SETLK, read", Told("F_RDLCK")),
    ("F_OFD_SETLK, read", Told("F_RDLCK")),
    ("flock", Told("Xr flock 2")),
    ("LOCK_MAND", Harmless),
    ("mincore", Told("Xr mincore 2")),
    ("cachestat", Told("cachestat")),
    ("preadv2 RWF_NOWAIT", Told("RWF_NOWAIT")),
    ("posix_fadvise, drop", Told("Xr posix_fadvise 2")),
    ("readahead", Told("Xr readahead 2")),
    ("sync_file_range", Told("Xr sync_file_range 2")),
    ("syncfs", Told("Xr syncfs 2")),
    ("MADV_COLD", Told("Xr madvise 2")),
    ("MADV_PAGEOUT", Told("Xr madvise 2")),
    ("MADV_POPULATE_READ", Told("Xr madvise 2")),
    ("MADV_DONTNEED", Harmless),
    ("MADV_REMOVE", Refused),
    ("MADV_POPULATE_WRITE", Refused),
    ("MADV_HWPOISON", Refused),
    ("MADV_SOFT_OFFLINE", Refused),
    ("mlock", Harmless),
    ("remap_file_pages", Refused),
    ("name_to_handle_at", Harmless),
    ("open_by_handle_at", Filtered(EPERM)),
    ("inotify", Told("Xr inotify 7")),
    ("fanotify, permission events", Refused),
    ("fanotify, descriptors", Refused),
    ("fanotify, file ids", Told("Xr fanotify 7")),
    ("fanotify, the mount", Refused),
    ("fanotify, the file system", Refused),
    ("kcmp", Harmless),
    ("remount, to write", Refused),
    ("remount of the file system", Refused),
    ("mount_setattr, to write", Refused),
    ("mount_setattr, other ids", Refused),
    ("mount_setattr of a copy, to write", Refused),
    ("open_tree_attr, other ids", Refused),
    ("umount", Refused),
    ("bind elsewhere", Harmless),
    ("write there", ReadOnly),
    ("bind over it", Harmless),
];

/// Says why a call's answer is not what becomes of it, if so. To whoever owns nothing there the kernel refuses more.
fn wrong(fate: Fate, errno: i32, owner: bool, manual: &str) -> Option<String> {
    if !owner && !matches!(fate, Filtered(_)) && [EPERM, libc::EACCES].contains(&errno) {
        return None;
    }
    // An older kernel, or another file system, has no such call.
    let missing = [libc::ENOSYS, libc::EOPNOTSUPP, libc::ENOTTY, libc::EINVAL];
    let fits = match fate {
        Filtered(wanted) => errno == wanted,
        ReadOnly => errno == libc::EROFS || missing.contains(&errno),
        Refused => errno != 0,
        Harmless => errno == 0 || missing.contains(&errno),
        // The kernel has not read it yet.
        Told(_) => errno == 0 || errno == libc::EAGAIN || missing.contains(&errno),
    };
    if !fits {
        return Some(format!("the answer is {errno}, and not {fate:?}"));
    }
    let Told(word) = fate else { return None };
    (!manual.contains(word)).then(|| format!("the manual does not speak of {word}"))
}

/// Returns what the host knows of a file: its contents, and all that is said of it.
fn state(file: &Path) -> String {
    let script = r#"
import fcntl, hashlib, os, struct, sys
path = sys.argv[1]
s = os.stat(path)
print(oct(s.st_mode), s.st_uid, s.st_gid, s.st_nlink, s.st_size, s.st_blocks, s.st_atime_ns, s.st_mtime_ns, s.st_ctime_ns)
fd = os.open(path, os.O_RDONLY | os.O_NOATIME)
print(hashlib.sha256(os.read(fd, 1 << 20)).hexdigest(), os.listxattr(path), sorted(os.listdir(os.path.dirname(path))))
for name, request, size in (("flags", 0x80086601, 8), ("project", 0x801c581f, 28), ("version", 0x80087601, 8)):
    try: print(name, bytes(fcntl.ioctl(fd, request, bytes(size))).hex())
    except OSError as e: print(name, e.errno)
print("hint", struct.unpack("<Q", fcntl.fcntl(fd, 1035, bytes(8)))[0], "lease", fcntl.fcntl(fd, 1025) == fcntl.F_UNLCK)
"#;
    let out = Command::new("python3").args(["-c", script]).arg(file).output().expect("python3 starts");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Guards the requests of fcntl(2) and ioctl(2) that the filter refuses, and the read-only mount: an owner changes
/// nothing by any call, and what he can do all the same is in the manual.
#[test]
fn each_call_is_refused_or_leaves_the_file_as_it_is() {
    let Some(lab) = Lab::on_disk() else { return };
    let folders = ["shared", "inherited", "programs"].map(|name| lab.path().join(name));
    for folder in &folders {
        fs::create_dir_all(folder.join("folder")).expect("a folder");
        fs::write(folder.join("data"), [7; 16384]).expect("a file");
    }
    let [shared, inherited, programs] = &folders;
    let mode =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    mode(programs, 0o755);
    // The zone's root owns a set-user-id program, and not the folder that it is in.
    mode(&programs.join("data"), 0o4755);
    let lines = format!(
        "add fs\nset type=lofs\nset special={}\nset dir=/shared\nadd options ro\nend\n\
         add inherit-pkg-dir\nset dir={}\nend\nadd inherit-pkg-dir\nset dir={}\nset setuid=true\nend",
        shared.display(),
        inherited.display(),
        programs.display()
    );
    lab.booted("zion", &lines);
    let manual = include_str!("../../man/zones.7");
    let manual =
        manual.split_once("\n.Ss Files that a zone shares with the host\n").map_or("", |(_, text)| text);
    let manual = manual.split("\n.Ss ").next().unwrap_or_default();
    let wanted: BTreeMap<&str, Fate> = CALLS.iter().copied().collect();
    let mut faults = Vec::new();
    let same = |folder: &Path| folder.display().to_string();
    for (top, folder) in
        [("/shared".to_owned(), shared), (same(inherited), inherited), (same(programs), programs)]
    {
        let before = state(&folder.join("data"));
        let script = format!("TOP = {top:?}\n{}", include_str!("attack/owner.py"));
        let found = lab.answers("zion", &script, &[]);
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, CALLS.iter().map(|(name, _)| *name).collect::<Vec<_>>(), "each call is tried");
        for (name, errno) in &found {
            let why = wrong(wanted[name.as_str()], *errno, folder == shared, manual);
            faults.extend(why.map(|why| format!("{top}: {name}: {why}")));
        }
        if state(&folder.join("data")) != before {
            faults.push(format!("{top} has changed: {before} {}", state(&folder.join("data"))));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    // A mount of the zone's over a file keeps the host from nothing.
    fs::rename(shared.join("data"), shared.join("other")).expect("the host renames it");
    fs::remove_file(shared.join("other")).expect("the host removes it");
    lab.halted("zion");
}
