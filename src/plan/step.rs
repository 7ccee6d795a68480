//! The steps of a boot, as data: each can be printed, noted in the journal and undone.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::confine::{Confinement, HOST_SETTINGS};
use super::limits::{SchedPolicy, Setting};
use super::net::link::{Remains, ZoneLink};
use super::options::MountOptions;
use super::profile::Profile;
use crate::spec::privilege;
use crate::spec::shown::Show;

/// A device node to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Path below the zone's `/dev`, such as `null` or `zvol/tank/vol`.
    pub path: String,
    /// Block device, else character device.
    pub block: bool,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
}

/// What kind of file system an `fs` resource is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountSource {
    /// A directory or file of the host, seen a second time.
    Bind,
    /// Memory.
    Tmpfs,
    /// A file system on a device.
    Device,
    /// A file system in a regular file, through a loop device.
    Image,
    /// A ZFS dataset.
    Zfs,
}

/// One `fs` resource, decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Where, as the zone sees it.
    pub dir: String,
    /// What.
    pub special: String,
    /// The zone's root in which that lies: it is resolved beneath, and links are not followed.
    pub within: Option<PathBuf>,
    /// Device to check first.
    pub raw: Option<String>,
    /// Linux' name of the type.
    pub fstype: String,
    /// How it is made.
    pub source: MountSource,
    /// Options.
    pub options: MountOptions,
}

/// The zone's first program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InitProgram {
    /// A program of the zone's root.
    Own(String),
    /// The one that comes with this software.
    BuiltIn,
}

/// One step of a boot. The order of the list is the order of the work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BootStep {
    /// Make the zone's cgroup.
    Cgroup {
        /// Folder in the host's cgroup v2 tree.
        path: PathBuf,
        /// Whether a program refuses its processes to write [`HOST_SETTINGS`].
        guarded: bool,
    },
    /// Give the cgroup its limits, before anything runs in it.
    Limits {
        /// Folder in the host's cgroup v2 tree.
        path: PathBuf,
        /// Files and values.
        settings: Vec<Setting>,
    },
    /// Forget the caller's resource limits and priority: every zone begins with those of the host's process 1.
    Process {
        /// Bytes that each process may lock into memory.
        locked: Option<u64>,
        /// How processes are scheduled.
        policy: SchedPolicy,
    },
    /// Make the zone's ipc namespace with limits. It belongs to the host: root of the zone could change
    /// those of its own.
    Ipc {
        /// Knobs below `/proc/sys/kernel`, and values.
        settings: Vec<Setting>,
    },
    /// Begin the zone's first process in namespaces of its own.
    Namespaces {
        /// Lines of the uid map.
        uid_map: String,
        /// Lines of the gid map.
        gid_map: String,
    },
    /// Take a dataset that the zone is to have from the host: mounted nowhere, `zoned` on, snapshots
    /// hidden, root directories owned by the zone's root.
    Withdraw {
        /// Its name.
        dataset: String,
        /// Where the host has it or something below it mounted, in the order of mounting.
        mounted: Vec<String>,
        /// `zoned` is on and local already.
        zoned: bool,
        /// The filesystems on which `snapdir` is set to `disabled`.
        hide: Vec<String>,
        /// The value that `volmode` gets on it; none when it has it.
        volmode: Option<String>,
        /// Datasets below it that set another `volmode` themselves: they inherit from now on.
        volumes: Vec<String>,
        /// The filesystems whose root directories are looked at.
        members: Vec<String>,
    },
    /// Close a folder of the host's `/proc` to all users but root.
    Close {
        /// Its name there.
        folder: &'static str,
    },
    /// Keep the user namespace at hand, so that datasets can be taken from it when all its processes
    /// are gone.
    Pin {
        /// The zone's run-time folder.
        run: PathBuf,
    },
    /// Give a dataset and all below it to the zone.
    Delegate {
        /// Its name.
        dataset: String,
        /// The properties that the zone cannot change on the dataset itself.
        locks: Vec<String>,
        /// The properties that it cannot change on everything below it.
        below: Vec<String>,
    },
    /// Mount the zone's root with its ids mapped.
    Root {
        /// The host's folder.
        path: PathBuf,
    },
    /// Keep a directory of the zone's root as it is, or read-only, whatever is around it
    /// (`file-mac-profile`).
    Part {
        /// The directory, as the zone sees it.
        dir: &'static str,
        /// It can be written to.
        writable: bool,
    },
    /// Make the zone's root read-only but for its parts and what else is mounted on it.
    ReadOnly {
        /// The profile that says so.
        profile: &'static str,
        /// Directories to make before, so that something can be mounted on them later.
        made: Vec<String>,
    },
    /// Mount a directory of the host's software, read-only and with ids that are not mapped.
    Inherit {
        /// The directory, the same in host and zone.
        dir: String,
        /// Programs of it that run with rights of their own, by paths below it: each gets a mount with mapped
        /// ids. None: whatever has such bits runs without them.
        programs: Option<Vec<String>>,
    },
    /// Mount memory for run-time files.
    Memory {
        /// Where.
        dir: &'static str,
        /// Permission bits of its top.
        mode: u32,
        /// How much of the machine's memory it may hold, in percent.
        percent: u32,
    },
    /// Make the commands of the zone's own in [`COMMANDS`].
    Commands {
        /// Also those that end the zone, in place of the host's: it has the built-in init.
        ending: bool,
    },
    /// Put the servers of the host where the zone's link `/etc/resolv.conf` leads to in its memory.
    Resolver,
    /// Make the zone's `/dev` with its nodes.
    Dev {
        /// The nodes.
        nodes: Vec<Node>,
    },
    /// Put the console into `/dev`.
    Console,
    /// Mount `/proc` from outside, with folders of it covered for good: what is covered from inside the
    /// zone's root can uncover.
    Proc {
        /// Folders below `/proc` that are empty.
        hidden: Vec<&'static str>,
        /// Folders below `/proc` that are read-only.
        fixed: Vec<&'static str>,
    },
    /// Mount `/sys` from outside, read-only for good: a mount made from inside the zone's root can change.
    Sys,
    /// Mount an `fs` resource.
    Fs(Box<Mount>),
    /// Put the zone's host id where gethostid(3) looks for it.
    HostId {
        /// The number.
        id: u32,
    },
    /// Make a network link.
    Link(Box<ZoneLink>),
    /// Write the resolver and hosts files where they are not the zone's own.
    Names {
        /// The host's folder that is the zone's root.
        root: PathBuf,
        /// The zone's host name.
        hostname: String,
        /// The zone's addresses.
        addresses: Vec<IpAddr>,
    },
    /// Bring what a sparse zone has of the host's `/etc` up to date, and give it the keys of an ssh server.
    HostEtc {
        /// The host's folder that is the zone's root.
        root: PathBuf,
        /// The zone's host name.
        hostname: String,
    },
    /// Set the host name.
    HostName {
        /// The name.
        name: String,
    },
    /// Switch the loopback interface on.
    Loopback,
    /// Mount `/proc` (unless that is done), `/dev/pts`, `/dev/mqueue` (and `/sys/fs/cgroup`) from inside.
    KernelFiles {
        /// Whether `/proc` is to be mounted.
        proc: bool,
        /// Whether the zone has a cgroup to show.
        cgroup: bool,
    },
    /// Make the zone's root the only root, and its mounts shared among the zone's processes.
    Pivot,
    /// Mount a filesystem of a delegated dataset, as the zone's own `zfs mount` would.
    MountDataset {
        /// Its name.
        name: String,
        /// Its mount point, as the zone sees it.
        dir: String,
        /// What its properties say of the mount.
        options: MountOptions,
        /// Not on a directory that has files.
        no_overlay: bool,
        /// Not where this profile closes the root.
        closed: Option<Profile>,
    },
    /// Let only those requests to ZFS through that administer the zone's datasets, and check those that
    /// could change what is locked.
    Guard,
    /// Limit the numbers of namespaces and watches that the zone can have, all its users together.
    Counts {
        /// Files below `/proc/sys/user`, and values.
        limits: Vec<(&'static str, u32)>,
    },
    /// Put all processes of the zone under a filter of system calls.
    Confine(Confinement),
    /// Give up the capabilities that the zone's privileges do not cover.
    Capabilities {
        /// Their numbers (capabilities(7)).
        drop: Vec<u32>,
    },
    /// Start the first program.
    Init {
        /// Which.
        program: InitProgram,
        /// Its arguments.
        args: Vec<String>,
    },
}

/// Where the commands lie that every zone has of its own.
pub const COMMANDS: &str = "/run/zone/bin";

/// Names of the commands that end or restart a zone with the built-in init.
pub const ENDING: [&str; 6] = ["halt", "init", "poweroff", "reboot", "shutdown", "telinit"];

/// How a step is undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Inverse {
    /// It ends with the zone's namespaces.
    WithNamespaces,
    /// It is never undone: a dataset that a zone has had stays its own.
    Stays,
    /// Take all datasets from the user namespace that is kept in this run-time folder, and let it go.
    Release(PathBuf),
    /// Kill what is in the cgroup and remove it.
    RemoveCgroup(PathBuf),
    /// Take away what a network link leaves on the host.
    RemoveLink(Box<Remains>),
    /// Kill the first process; the kernel ends all others and the namespaces with it.
    KillInit,
}

impl BootStep {
    /// Returns one line for `zoneadm plan` and for messages.
    pub fn describe(&self) -> String {
        match self {
            Self::Cgroup { path, guarded: false } => format!("make cgroup {}", path.shown()),
            Self::Cgroup { path, guarded: true } => {
                let settings =
                    HOST_SETTINGS.iter().map(|name| format!("/proc/sys/{name}")).collect::<Vec<_>>();
                format!("make cgroup {} and refuse it to write {}", path.shown(), settings.join(" "))
            }
            Self::Limits { settings, .. } => format!("limit {}", list(settings)),
            Self::Process { locked, policy } => {
                let mut text = "take the resource limits of the host's process 1".to_owned();
                if let Some(bytes) = locked {
                    text.push_str(&format!(", at most {bytes} bytes locked by a process"));
                }
                match policy {
                    SchedPolicy::Normal => {}
                    SchedPolicy::Batch => text.push_str(", SCHED_BATCH"),
                    SchedPolicy::Idle => text.push_str(", SCHED_IDLE"),
                }
                text
            }
            Self::Ipc { settings } => format!("make an ipc namespace and limit {}", list(settings)),
            Self::Namespaces { uid_map, .. } => {
                let ranges: Vec<_> =
                    uid_map.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(":")).collect();
                format!(
                    "begin process 1 in new user, mount, pid, uts, ipc and net namespaces, ids {} (zone:host:count)",
                    ranges.join(" ")
                )
            }
            Self::Withdraw { dataset, mounted, zoned, hide, volmode, volumes, .. } => {
                let unmount = if mounted.is_empty() {
                    String::new()
                } else {
                    format!(
                        "unmount {} on the host, ",
                        mounted.iter().rev().cloned().collect::<Vec<_>>().join(" ")
                    )
                };
                let hidden = match hide.iter().filter(|name| *name != dataset).count() {
                    _ if hide.is_empty() => String::new(),
                    0 => ", snapdir=disabled".to_owned(),
                    more => format!(", snapdir=disabled, also on {more} below it"),
                };
                let mut nodes = volmode.as_ref().map_or_else(String::new, |mode| format!(", volmode={mode}"));
                if !volumes.is_empty() {
                    nodes.push_str(&format!(", inherit volmode on {}", volumes.join(" ").shown()));
                }
                format!(
                    "dataset {dataset}: {unmount}{} zoned=on{hidden}{nodes}",
                    if *zoned { "keep" } else { "set" }
                )
            }
            Self::Close { folder } => format!("close /proc/{folder} of the host to all its users but root"),
            Self::Pin { run } => format!("keep the user namespace at hand in {}", run.shown()),
            Self::Delegate { dataset, locks, below } => {
                format!(
                    "dataset {dataset}: give it to the zone with all below it; {} locked, and {} below it",
                    locks.join(", "),
                    below.join(", ")
                )
            }
            Self::MountDataset { name, dir, options, .. } => {
                // Devices never work on what a zone has mounted, whatever the property says.
                let options = MountOptions { devices: false, ..options.clone() };
                format!("dataset {name}: mount it on {} inside{}", dir.shown(), options.suffix())
            }
            Self::Root { path } => format!("mount {} on / with mapped ids", path.shown()),
            Self::Part { dir, writable } => {
                format!("keep {dir} {}", if *writable { "writable" } else { "read-only" })
            }
            Self::ReadOnly { profile, made } => {
                format!("file-mac-profile={profile}: make / read-only, after {}", made.join(" "))
            }
            Self::Inherit { dir, programs } => {
                let how = match programs {
                    None => ", nosuid".to_owned(),
                    Some(list) if list.is_empty() => String::new(),
                    Some(list) => format!(", and with mapped ids of it {}", list.join(" ")),
                };
                format!("inherit-pkg-dir {dir}: mount the host's {dir} read-only, its files nobody's{how}")
            }
            Self::Memory { dir, mode, percent } => {
                format!("mount tmpfs on {dir}, mode {mode:o}, {percent}% of the memory")
            }
            Self::Dev { nodes } => {
                let names: Vec<_> = nodes.iter().map(|n| n.path.as_str()).collect();
                format!("make /dev with {}", names.join(" "))
            }
            Self::Console => "put the console on /dev/console".into(),
            Self::Commands { ending } => {
                let more = if *ending { format!(" {}", ENDING.join(" ")) } else { String::new() };
                format!("make the commands zonename{more} in {COMMANDS}")
            }
            Self::Resolver => "give /etc/resolv.conf a file where it is a link into /run".into(),
            Self::Fs(m) => {
                let how = match m.source {
                    MountSource::Bind if !m.options.recursive => "mount, without what is mounted below it,",
                    MountSource::Bind | MountSource::Device | MountSource::Zfs => "mount",
                    MountSource::Tmpfs => return format!("fs {}: mount tmpfs{}", m.dir, m.options.suffix()),
                    MountSource::Image => "mount through a loop device",
                };
                let kind = if m.source == MountSource::Bind { String::new() } else { format!(" as {}", m.fstype) };
                let check = m.raw.as_ref().map_or(String::new(), |raw| format!("check {raw}, then "));
                format!("fs {}: {check}{how} {}{kind}{}", m.dir, m.special, m.options.suffix())
            }
            Self::HostId { id } => format!("put the host id {id:08x} on /etc/hostid, read-only"),
            Self::Link(link) => link.describe(),
            Self::Names { .. } => {
                "write /etc/resolv.conf and /etc/hosts, where they are not the zone's own".into()
            }
            Self::HostEtc { .. } => {
                "take what the host has changed of its programs' files in /etc, and make missing ssh host keys"
                    .into()
            }
            Self::HostName { name } => format!("set the host name {name}"),
            Self::Loopback => "switch the loopback interface on".into(),
            Self::Proc { hidden, fixed } => {
                let hidden = hidden.iter().map(|folder| format!(", with nothing in /proc/{folder}"));
                let fixed = fixed.iter().map(|folder| format!(", /proc/{folder} read-only for good"));
                format!("mount /proc{}", hidden.chain(fixed).collect::<String>())
            }
            Self::Sys => "mount /sys, read-only for good".into(),
            Self::KernelFiles { proc, cgroup } => {
                format!(
                    "mount {}/dev/pts /dev/mqueue{} inside",
                    if *proc { "/proc " } else { "" },
                    if *cgroup { " /sys/fs/cgroup" } else { "" }
                )
            }
            Self::Pivot => "make the zone's root the only root, its mounts shared within the zone".into(),
            Self::Guard => {
                "guard /dev/zfs: requests on the zone's datasets only, checked against the locks".into()
            }
            Self::Counts { limits } => {
                let words: Vec<_> = limits.iter().map(|(file, n)| format!("{file}={n}")).collect();
                format!("make a user namespace around the zone's that limits it to {}", words.join(" "))
            }
            Self::Confine(confinement) => confinement.describe(),
            Self::Capabilities { drop } => {
                let keep = drop.iter().filter(|n| **n < u64::BITS).fold(u64::MAX, |keep, n| keep & !(1 << n));
                match privilege::names(keep).join(" ") {
                    none if none.is_empty() => "give up all capabilities".into(),
                    names => format!("give up all capabilities but {names}"),
                }
            }
            Self::Init { program, args } => {
                let name = match program {
                    InitProgram::Own(path) => path.clone(),
                    InitProgram::BuiltIn => "the built-in init".into(),
                };
                format!(
                    "start {name}{}",
                    if args.is_empty() { String::new() } else { format!(" with {}", args.join(" ")) }
                )
            }
        }
    }

    /// Returns how the step is undone.
    pub fn inverse(&self) -> Inverse {
        match self {
            Self::Cgroup { path, .. } => Inverse::RemoveCgroup(path.clone()),
            Self::Link(link) => Inverse::RemoveLink(Box::new(link.remains())),
            Self::Namespaces { .. } | Self::Init { .. } => Inverse::KillInit,
            Self::Withdraw { .. } | Self::Close { .. } => Inverse::Stays,
            // What is given away goes back with the namespace.
            Self::Pin { run } => Inverse::Release(run.clone()),
            Self::Delegate { .. }
            | Self::MountDataset { .. }
            | Self::Root { .. }
            | Self::Part { .. }
            | Self::ReadOnly { .. }
            | Self::Inherit { .. }
            | Self::Memory { .. }
            | Self::Commands { .. }
            | Self::Resolver
            | Self::Dev { .. }
            | Self::Console
            | Self::Proc { .. }
            | Self::Sys
            | Self::Fs(_)
            | Self::HostId { .. }
            | Self::Names { .. }
            | Self::HostEtc { .. }
            | Self::HostName { .. }
            | Self::Loopback
            | Self::KernelFiles { .. }
            | Self::Pivot
            | Self::Limits { .. }
            | Self::Process { .. }
            | Self::Ipc { .. }
            | Self::Guard
            | Self::Counts { .. }
            | Self::Confine(_)
            | Self::Capabilities { .. } => Inverse::WithNamespaces,
        }
    }

    /// Says whether the zone's first process does the step itself.
    pub fn is_inside(&self) -> bool {
        matches!(
            self,
            Self::HostName { .. }
                | Self::Loopback
                | Self::KernelFiles { .. }
                | Self::Pivot
                | Self::MountDataset { .. }
                | Self::Guard
                | Self::Confine(_)
                | Self::Capabilities { .. }
                | Self::Init { .. }
        )
    }
}

/// Returns settings as `file=value` words.
fn list(settings: &[Setting]) -> String {
    let words: Vec<_> =
        settings.iter().map(|s| format!("{}={}", s.file, s.value.replace(' ', ","))).collect();
    words.join(" ")
}

impl MountOptions {
    /// Returns the options as text behind a description.
    fn suffix(&self) -> String {
        let words = [
            (self.read_only, "read-only"),
            (self.no_suid, "nosuid"),
            (self.devices, "with devices"),
            (self.no_exec, "noexec"),
            (self.no_atime, "noatime"),
        ];
        let mut out: Vec<String> = words.iter().filter(|(on, _)| *on).map(|(_, w)| (*w).to_owned()).collect();
        out.extend(self.data.iter().map(|(k, v)| v.as_ref().map_or(k.clone(), |v| format!("{k}={v}"))));
        if out.is_empty() { String::new() } else { format!(", {}", out.join(", ")) }
    }
}
