//! The users of a dataset: why it cannot be unmounted, renamed or destroyed, and the command that frees it. Reads
//! only.
//!
//! The kernel says no more than "busy". So all places are looked at from which a dataset can be held:
//! datasets below it, clones and holds of its snapshots, mounts in every mount namespace, and files that
//! processes have open. Nothing here runs unless something was refused.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags};

use super::system::ZfsSystem;
use super::{is_of, program, zone_of, zones_now};
use crate::apply::paths::Root;
use crate::plan::zfs::{CurrentMount as Mounted, MountOwner};
use crate::spec::shown::{Show, is_obeyed};
use crate::sys::made;
use crate::sys::mountinfo::{self, MountEntry};
use crate::zfs::{Dataset, Zfs, nvlist::NvValue};

/// How a process uses a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Its working directory.
    Cwd,
    /// Its root directory.
    Root,
    /// The program that it runs.
    Program,
    /// An open file.
    File,
    /// A file mapped into its memory, such as a library.
    Mapped,
}

/// Something that holds a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatasetUser {
    /// A dataset below it.
    Child(String),
    /// A clone of one of its snapshots.
    Clone {
        /// The snapshot.
        snapshot: String,
        /// The clone.
        clone: String,
    },
    /// A hold on one of its snapshots.
    Hold {
        /// The snapshot.
        snapshot: String,
        /// Name of the hold.
        tag: String,
    },
    /// A mount of it.
    Mount(Mounted),
    /// Another file system mounted on a directory of it, in our own mount namespace.
    Below(PathBuf),
    /// A process that uses files of it.
    Process {
        /// Its number.
        pid: i32,
        /// Its name.
        program: String,
        /// Its zone.
        zone: Option<String>,
        /// How.
        uses: Use,
        /// The file.
        path: PathBuf,
    },
}

impl DatasetUser {
    /// Returns the command that frees the dataset from this holder.
    pub fn way_out(&self) -> String {
        match self {
            Self::Child(name) => format!("zfs destroy -r {name}"),
            Self::Clone { snapshot: _, clone } => format!("zfs promote {clone}"),
            Self::Hold { snapshot, tag } => format!("zfs release {} {snapshot}", quoted(tag)),
            Self::Mount(Mounted { who: MountOwner::Zone(zone), .. }) => format!("zoneadm -z {zone} halt"),
            Self::Mount(Mounted { point, who: MountOwner::Process { pid, .. } }) => {
                format!("nsenter -t {pid} -m umount {}", quoted(point))
            }
            // A file keeps it alive; this lists those files.
            Self::Mount(Mounted { who: MountOwner::Nobody, .. }) => "findmnt -t nsfs".to_owned(),
            Self::Mount(Mounted { point, who: MountOwner::Host | MountOwner::Same }) => {
                format!("umount {}", quoted(point))
            }
            Self::Below(path) => format!("umount {}", quoted(&path.to_string_lossy())),
            Self::Process { zone: Some(zone), .. } => format!("zoneadm -z {zone} halt"),
            Self::Process { pid, .. } => format!("kill {pid}"),
        }
    }
}

/// Puts a text into quotes where a shell would not take it as one word.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:@%+=,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    if !text.contains(is_obeyed) {
        return format!("'{}'", text.replace('\'', r"'\''"));
    }
    // As bash(1) reads it: a line end would end the suggestion, and a terminal would obey the rest.
    let byte = |b: u8| if plain(char::from(b)) { char::from(b).to_string() } else { format!("\\x{b:02x}") };
    format!("$'{}'", text.bytes().map(byte).collect::<String>())
}

impl fmt::Display for DatasetUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Child(name) => write!(f, "{name} lies below it")?,
            Self::Clone { snapshot, clone } => write!(f, "{clone} is a clone of {snapshot}")?,
            Self::Hold { snapshot, tag } => write!(f, "{snapshot} is held as '{}'", tag.shown())?,
            Self::Mount(mounted) => write!(f, "mounted {mounted}")?,
            Self::Below(path) => write!(f, "something is mounted on {}", path.shown())?,
            Self::Process { pid, program, zone, uses, path } => {
                write!(f, "process {pid} ({})", program.shown())?;
                if let Some(zone) = zone {
                    write!(f, " of zone '{zone}'")?;
                }
                let what = match uses {
                    Use::Cwd => "has the working directory",
                    Use::Root => "has the root directory",
                    Use::Program => "runs",
                    Use::File => "has open",
                    Use::Mapped => "has mapped",
                };
                write!(f, " {what} {}", path.shown())?;
            }
        }
        write!(f, "; use {}", self.way_out())
    }
}

/// Returns the holders as lines that follow a text, each indented; empty without any.
pub fn lines(list: &[DatasetUser]) -> String {
    list.iter().map(|holder| format!("\n  {holder}")).collect()
}

/// Finds what holds a dataset, or the dataset of a snapshot. An empty answer means that nothing is found
/// any more, or that the kernel itself uses it, as it does for a send or receive.
pub fn holders(root: &Root, dataset: &str) -> Vec<DatasetUser> {
    let name = dataset.split('@').next().unwrap_or(dataset);
    let mut found = Zfs::open().map(|zfs| of_datasets(&zfs, name)).unwrap_or_default();
    let (mounts, devices) = of_mounts(root, name);
    found.extend(mounts);
    found.extend(of_processes(root, &devices));
    found
}

/// Finds what keeps a file system from being unmounted from a path of our own mount namespace.
pub fn of_mount(root: &Root, dataset: &str, path: &Path) -> Vec<DatasetUser> {
    let table = mountinfo::mounts().unwrap_or_default();
    let below = mountinfo::mounts_below(&table, path).into_iter().filter(|p| p != path);
    let mut found: Vec<_> = below.map(DatasetUser::Below).collect();
    let devices = of_mounts(root, dataset).1;
    found.extend(of_processes(root, &devices));
    found
}

/// Returns the clones of a snapshot.
pub fn clones(snapshot: &Dataset) -> Vec<String> {
    match snapshot.props.get("clones").map(|p| &p.value) {
        Some(NvValue::List(list)) => list.names().map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// Finds datasets below, clones and holds.
pub fn of_datasets(zfs: &dyn ZfsSystem, name: &str) -> Vec<DatasetUser> {
    let children = zfs.children(name).filter_map(Result::ok).map(|child| DatasetUser::Child(child.name));
    let mut found: Vec<_> = children.collect();
    for snapshot in zfs.snapshots(name, true).filter_map(Result::ok) {
        let of = |clone| DatasetUser::Clone { snapshot: snapshot.name.clone(), clone };
        found.extend(clones(&snapshot).into_iter().map(of));
        if snapshot.number("userrefs").is_some_and(|n| n > 0) {
            let tags = zfs.get_holds(&snapshot.name).unwrap_or_default().into_keys();
            found.extend(tags.map(|tag| DatasetUser::Hold { snapshot: snapshot.name.clone(), tag }));
        }
    }
    found
}

/// Finds mounts of a dataset and of its snapshots in all mount namespaces, and the numbers of their
/// devices.
fn of_mounts(root: &Root, name: &str) -> (Vec<DatasetUser>, BTreeSet<(u32, u32)>) {
    let devices = RefCell::new(BTreeSet::new());
    let wanted = |entry: &MountEntry| {
        let rest = entry.source.to_str().and_then(|s| s.strip_prefix(name)).unwrap_or_default();
        let ours = is_of(entry, name) || (entry.kind == "zfs" && rest.starts_with('@'));
        if ours {
            devices.borrow_mut().insert(entry.device);
        }
        ours
    };
    let found = super::holders(root, &wanted).into_iter().map(|(_, mounted)| DatasetUser::Mount(mounted));
    let found = found.collect();
    (found, devices.into_inner())
}

/// Finds processes that use files of file systems, each of them once. Our own is left out.
fn of_processes(root: &Root, devices: &BTreeSet<(u32, u32)>) -> Vec<DatasetUser> {
    if devices.is_empty() {
        return Vec::new();
    }
    let zones = zones_now(root);
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok()).filter(|p| *p != own);
    let mut found = Vec::new();
    for pid in pids {
        let Some((uses, path)) = use_of(pid, devices) else { continue };
        let zone = zone_of(pid, &zones);
        found.push(DatasetUser::Process { pid, program: program(pid), zone, uses, path });
    }
    found
}

fn use_of(pid: i32, devices: &BTreeSet<(u32, u32)>) -> Option<(Use, PathBuf)> {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    for (name, uses) in [("cwd", Use::Cwd), ("root", Use::Root), ("exe", Use::Program)] {
        let link = folder.join(name);
        if is_on(&link, devices) {
            return Some((uses, target(&link)));
        }
    }
    let files = std::fs::read_dir(folder.join("fd")).into_iter().flatten().flatten();
    if let Some(link) = files.map(|e| e.path()).find(|link| is_on(link, devices)) {
        return Some((Use::File, target(&link)));
    }
    let maps = made::read(folder.join("maps")).unwrap_or_default();
    maps.lines().find_map(|line| mapped(line, devices)).map(|path| (Use::Mapped, path))
}

fn target(link: &Path) -> PathBuf {
    std::fs::read_link(link).unwrap_or_default()
}

fn is_on(link: &Path, devices: &BTreeSet<(u32, u32)>) -> bool {
    // Only data that the kernel has already: a file on a dead server must not hold us up.
    let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
    rustix::fs::statx(CWD, link, flags, StatxFlags::TYPE)
        .is_ok_and(|s| devices.contains(&(s.stx_dev_major, s.stx_dev_minor)))
}

/// Reads one line of `/proc/PID/maps`.
fn mapped(line: &str, devices: &BTreeSet<(u32, u32)>) -> Option<PathBuf> {
    let mut fields = line.splitn(6, ' ');
    let (major, minor) = fields.nth(3)?.split_once(':')?;
    let device = (u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?);
    let path = fields.nth(1)?.trim_start();
    devices.contains(&device).then(|| PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_holder_says_what_frees_it() {
        let mounted = |who| DatasetUser::Mount(Mounted { point: "/a b".into(), who });
        let process = |zone: Option<&str>, uses| DatasetUser::Process {
            pid: 7,
            program: "sh".into(),
            zone: zone.map(str::to_owned),
            uses,
            path: "/z/root".into(),
        };
        let in_namespace = MountOwner::Process { pid: 7, program: "sh".into(), namespace: 42 };
        for (holder, text) in [
            (DatasetUser::Child("t/z/c".into()), "t/z/c lies below it; use zfs destroy -r t/z/c"),
            (
                DatasetUser::Clone { snapshot: "t/z@s".into(), clone: "t/c".into() },
                "t/c is a clone of t/z@s; use zfs promote t/c",
            ),
            (
                DatasetUser::Hold { snapshot: "t/z@s".into(), tag: "it's".into() },
                r"t/z@s is held as 'it's'; use zfs release 'it'\''s' t/z@s",
            ),
            (mounted(MountOwner::Host), "mounted on /a b; use umount '/a b'"),
            (
                mounted(MountOwner::Zone("neo".into())),
                "mounted on /a b of zone 'neo'; use zoneadm -z neo halt",
            ),
            (
                mounted(in_namespace),
                "mounted on /a b by process 7 (sh) in mount namespace 42; use nsenter -t 7 -m umount '/a b'",
            ),
            (process(None, Use::Cwd), "process 7 (sh) has the working directory /z/root; use kill 7"),
            (
                process(Some("neo"), Use::File),
                "process 7 (sh) of zone 'neo' has open /z/root; use zoneadm -z neo halt",
            ),
        ] {
            assert_eq!(holder.to_string(), text);
        }
        let below = [DatasetUser::Below("/z/mnt".into())];
        assert_eq!(lines(&below), "\n  something is mounted on /z/mnt; use umount /z/mnt");
    }

    #[test]
    fn names_of_a_zone_are_one_line_also_for_a_shell() {
        let name = "it's\n\x1b[2J\u{e4}";
        let who = MountOwner::Process { pid: 7, program: name.into(), namespace: 42 };
        let holders = [
            DatasetUser::Hold { snapshot: "t/z@s".into(), tag: name.into() },
            DatasetUser::Mount(Mounted { point: format!("/{name}"), who }),
            DatasetUser::Mount(Mounted { point: format!("/{name}"), who: MountOwner::Host }),
            DatasetUser::Below(format!("/{name}").into()),
            DatasetUser::Process {
                pid: 7,
                program: name.into(),
                zone: None,
                uses: Use::Cwd,
                path: name.into(),
            },
        ];
        for holder in &holders {
            let text = holder.to_string();
            assert!(text.contains("it's") && !text.contains(char::is_control), "{text:?}");
        }
        assert!(
            holders[2].way_out() == r"umount $'/it\x27s\x0a\x1b\x5b2J\xc3\xa4'",
            "{}",
            holders[2].way_out()
        );
    }

    #[test]
    fn processes_are_found_by_what_they_use() {
        use std::os::unix::fs::MetadataExt;
        let device = |path: &Path| {
            let dev = std::fs::metadata(path).expect("stat").dev();
            BTreeSet::from([(rustix::fs::major(dev), rustix::fs::minor(dev))])
        };
        let me = i32::try_from(std::process::id()).expect("process ids fit");
        let cwd = std::env::current_dir().expect("a working directory");
        assert_eq!(use_of(me, &device(&cwd)), Some((Use::Cwd, cwd)));
        let file = std::fs::File::open("/proc/self/stat").expect("open");
        let open = use_of(me, &device(Path::new("/proc")));
        drop(file);
        assert!(open.is_some_and(|(uses, path)| uses == Use::File && path.starts_with("/proc")));
        assert_eq!(use_of(me, &BTreeSet::from([(4000, 1)])), None);
        let line = "7f00-7f01 r-xp 00000000 fe:01 1234                       /usr/lib/libc.so.6";
        assert_eq!(mapped(line, &BTreeSet::from([(0xfe, 1)])), Some("/usr/lib/libc.so.6".into()));
        assert_eq!(mapped(line, &BTreeSet::from([(8, 1)])), None);
        assert_eq!(mapped("7f00-7f01 rw-p 00000000 00:00 0 ", &BTreeSet::from([(8, 1)])), None);
    }
}
