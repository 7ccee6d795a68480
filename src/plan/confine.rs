//! The confinement of a zone's processes: system calls, personalities, file systems. The same decision serves
//! `verify`, the boot and processes that enter with `zlogin`.

use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use super::dataset;
use super::image::known;
use super::options::linux_type;
use crate::spec::schema::ResourceKind;
use crate::spec::{ZoneSpec, words};

/// Name of the `attr` that opens groups of system calls.
pub const ALLOW: &str = "allow-syscalls";

/// Groups of system calls that can be opened, each with a description.
pub const GROUPS: &[(&str, &str)] = &[
    ("bpf", "bpf(2)"),
    ("dnotify", "F_NOTIFY of fcntl(2)"),
    ("families", "sockets of all address families but AF_VSOCK"),
    ("handles", "open_by_handle_at(2)"),
    ("io-uring", "io_uring_setup(2) and its fellows"),
    ("keys", "add_key(2) and request_key(2)"),
    ("leases", "F_SETLEASE and F_SETDELEG of fcntl(2)"),
    ("perf", "perf_event_open(2)"),
    ("snapshots", "BTRFS_IOC_SNAP_CREATE and BTRFS_IOC_SNAP_CREATE_V2 of ioctl(2)"),
    ("socketcall", "socketcall(2), by which most 32-bit programs for x86 make sockets; of every family then"),
    ("userfaultfd", "userfaultfd(2)"),
    ("write-hints", "F_SET_RW_HINT and F_SET_FILE_RW_HINT of fcntl(2)"),
];

/// Names of the numbers that a spec may limit for the zone: the `attr`, and the file below
/// `/proc/sys/user`.
pub const COUNTS: &[(&str, &str)] = &[
    ("max-user-namespaces", "max_user_namespaces"),
    ("max-mnt-namespaces", "max_mnt_namespaces"),
    ("max-pid-namespaces", "max_pid_namespaces"),
    ("max-net-namespaces", "max_net_namespaces"),
    ("max-inotify-watches", "max_inotify_watches"),
    ("max-inotify-instances", "max_inotify_instances"),
    ("max-fanotify-groups", "max_fanotify_groups"),
    ("max-fanotify-marks", "max_fanotify_marks"),
];

/// Settings below `/proc/sys` that the kernel lets the root of any net namespace write and that are the host's.
///
/// `nf_hooks_lwtunnel` switches the hooks of netfilter for light-weight tunnels on for the whole machine; the kernel
/// has no way to switch them off again.
pub const HOST_SETTINGS: &[&str] = &["net/netfilter/nf_hooks_lwtunnel"];

/// The folder of `/proc` that is read-only where no program keeps a zone from [`HOST_SETTINGS`]. One of these files
/// alone cannot be covered: a network namespace that the zone makes shows another in its place.
pub const SETTINGS_FOLDER: &str = "sys/net";

/// The loss of a zone where [`SETTINGS_FOLDER`] is read-only.
pub const UNGUARDED: &str = "the zone cannot change its settings below /proc/sys/net, and containers in it get no /proc of their \
    own: what keeps it from those of the host is a program (bpf(2)) on a cgroup v2, which this host does not have; \
    'zoneadm doctor' says why";

/// Types that the kernel lets the root of a user namespace mount (`FS_USERNS_MOUNT`).
const MOUNTABLE: &[&str] = &[
    "bpf",
    "binfmt_misc",
    "cgroup",
    "cgroup2",
    "devpts",
    "fuse",
    "mqueue",
    "overlay",
    "proc",
    "ramfs",
    "sysfs",
    "tmpfs",
    "zfs",
];

// Flags of personality(2).
const ADDR_NO_RANDOMIZE: u32 = 0x0004_0000;
const MMAP_PAGE_ZERO: u32 = 0x0010_0000;
const READ_IMPLIES_EXEC: u32 = 0x0040_0000;

// Bits of `words::security_flags`.
const ASLR: u8 = 1;
const FORBID_NULL_MAP: u8 = 2;
const NO_EXEC_STACK: u8 = 4;

fn group_names() -> String {
    GROUPS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// Settings of the host's kernel that the flags depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// `kernel.randomize_va_space`.
    pub randomize: u32,
    /// `vm.mmap_min_addr`.
    pub lowest_address: u64,
    /// The numbers of this machine's system calls are known, so that they can be filtered.
    pub filters: bool,
    /// Groups and marks of fanotify are counted by user (Linux 5.13).
    pub counts_fanotify: bool,
}

impl Default for Kernel {
    fn default() -> Self {
        Self { randomize: 2, lowest_address: 65_536, filters: true, counts_fanotify: true }
    }
}

/// The name of a group of [`GROUPS`].
type Group = &'static str;

/// Reads names of groups of system calls.
fn known_groups<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Group>, D::Error> {
    known::many(from, &GROUPS.iter().map(|(name, _)| *name).collect::<Vec<_>>())
}

/// Reads numbers that are limited for a zone, by their files.
pub(super) fn known_counts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(&'static str, u32)>, D::Error> {
    known::numbers(from, &COUNTS.iter().map(|(_, file)| *file).collect::<Vec<_>>())
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confinement {
    /// Groups of calls that are opened.
    #[serde(deserialize_with = "known_groups")]
    pub open: Vec<Group>,
    /// The personality that processes begin with.
    pub personality: u32,
    /// Flags that personality(2) may not set.
    pub forbidden: u32,
    /// File systems can be mounted, as far as the kernel lets a user namespace.
    pub mounts: bool,
    /// There are delegated datasets, and a guard that checks requests to ZFS. Otherwise every request is refused:
    /// the control device may be there all the same, by a `device` resource or with a folder.
    pub zfs: bool,
    /// There is a filter of system calls.
    pub filtered: bool,
}

/// Why a zone's calls are not filtered.
pub const UNFILTERED: &str = "this release does not know the numbers of this machine's system calls";

/// A spec that cannot be kept.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ConfineError {
    /// No such group.
    #[error(
        "could not verify attr {ALLOW}: there is no group of system calls '{}'; there are {}",
        .0,
        group_names()
    )]
    Group(String),
    /// A number that is none.
    #[error("could not verify attr {name}: '{value}' is not a number from 0 to 2147483647")]
    Count {
        /// The `attr`.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// A number that this kernel does not keep.
    #[error(
        "could not verify attr {0}: this kernel does not count what fanotify watches by user (Linux 5.13 does); \
         remove it"
    )]
    NotCounted(&'static str),
    /// A flag that cannot be kept.
    #[error("could not verify security-flags {list}: {why}")]
    Flags {
        /// Which list.
        list: &'static str,
        /// The reason, and the way out.
        why: &'static str,
    },
    /// Protections that need a filter, and are missing on a machine without one.
    #[error("could not verify {0}: it takes a filter of system calls, and {UNFILTERED}; remove it")]
    NoFilter(&'static str),
    /// A type that no zone can mount.
    #[error(
        "could not verify fs-allowed: the kernel lets no zone mount {0}, whose code would read what the zone \
         has written with the rights of the host; remove it, and have the host mount it with an fs resource"
    )]
    Type(String),
    /// A selection of types.
    #[error(
        "could not verify fs-allowed: '-' with types cannot be enforced: a filter does not see the type that \
         a program asks for; use 'set fs-allowed=-', with which the zone mounts nothing but what is there, or \
         leave '-' out"
    )]
    Selection,
}

impl Confinement {
    /// Decides the confinement of a zone's processes.
    ///
    /// # Errors
    /// All that cannot be kept.
    pub fn of(spec: &ZoneSpec, kernel: Kernel) -> Result<Self, Vec<ConfineError>> {
        let mut errors = Vec::new();
        let mut open = Vec::new();
        for word in
            spec.attrs(ALLOW).flat_map(|v| v.split([',', ' '])).map(str::trim).filter(|w| !w.is_empty())
        {
            match GROUPS.iter().find(|(name, _)| *name == word) {
                Some((name, _)) if open.contains(name) => {}
                Some((name, _)) => open.push(*name),
                None => errors.push(ConfineError::Group(word.to_owned())),
            }
        }
        open.sort_unstable();
        let (lower, default) = flags(spec, kernel, &mut errors);
        let mounts = may_mount(spec, &mut errors);
        errors.extend(counts(spec).err().into_iter().flatten());
        errors.extend(not_counted(spec, kernel));
        let mut forbidden = MMAP_PAGE_ZERO | READ_IMPLIES_EXEC;
        if lower & ASLR != 0 {
            forbidden |= ADDR_NO_RANDOMIZE;
        }
        if !kernel.filters && lower & ASLR != 0 {
            errors.push(ConfineError::NoFilter("security-flags lower"));
        }
        if !kernel.filters && !mounts {
            errors.push(ConfineError::NoFilter("fs-allowed"));
        }
        let personality = if default & ASLR == 0 { ADDR_NO_RANDOMIZE } else { 0 };
        if errors.is_empty() {
            let zfs = !dataset::names(spec).is_empty();
            Ok(Self { open, personality, forbidden, mounts, zfs, filtered: kernel.filters })
        } else {
            Err(errors)
        }
    }

    /// Returns the strictest confinement, used when the spec is unreadable: every group stays closed that could be
    /// opened.
    pub fn strictest() -> Self {
        let forbidden = MMAP_PAGE_ZERO | READ_IMPLIES_EXEC | ADDR_NO_RANDOMIZE;
        Self { open: Vec::new(), personality: 0, forbidden, mounts: false, zfs: false, filtered: true }
    }

    /// Returns the step of the plan in words.
    pub fn describe(&self) -> String {
        let mut text = if self.filtered {
            "refuse system calls that act on the machine or reach past the zone".to_owned()
        } else {
            "leave system calls unfiltered".to_owned()
        };
        if !self.open.is_empty() {
            text.push_str(&format!(", but not {}", self.open.join(" ")));
        }
        if !self.mounts {
            text.push_str("; no new file systems");
        }
        if self.forbidden & ADDR_NO_RANDOMIZE != 0 {
            text.push_str("; addresses stay random");
        }
        if self.personality & ADDR_NO_RANDOMIZE != 0 {
            text.push_str("; processes begin without random addresses");
        }
        text
    }
}

/// Returns the numbers that the spec limits: files below `/proc/sys/user`, and values.
///
/// # Errors
/// All that are no numbers.
pub fn counts(spec: &ZoneSpec) -> Result<Vec<(&'static str, u32)>, Vec<ConfineError>> {
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for (name, file) in COUNTS {
        // The last one counts, as with every property that is set twice.
        let Some(value) = spec.attrs(name).last() else { continue };
        match value.trim().parse::<u32>() {
            Ok(number) if i32::try_from(number).is_ok() => found.push((*file, number)),
            _ => errors.push(ConfineError::Count { name, value: value.to_owned() }),
        }
    }
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

/// Returns the limits of fanotify that the spec sets and this kernel does not have.
fn not_counted(spec: &ZoneSpec, kernel: Kernel) -> Vec<ConfineError> {
    let set = |name: &&'static str| name.starts_with("max-fanotify-") && spec.attrs(name).last().is_some();
    let names = COUNTS.iter().map(|(name, _)| *name).filter(|_| !kernel.counts_fanotify);
    names.filter(set).map(ConfineError::NotCounted).collect()
}

/// Returns the flags that are always on and those that processes begin with.
fn flags(spec: &ZoneSpec, kernel: Kernel, errors: &mut Vec<ConfineError>) -> (u8, u8) {
    let Some(flags) = spec.stored(ResourceKind::SecurityFlags).first() else { return (0, ASLR) };
    let bits = |name| flags.text(name).and_then(words::security_flags);
    let lower = bits("lower").unwrap_or(0);
    // An empty `limitpriv` gives the groups that are always on, and those that Linux gives.
    let default = bits("default").unwrap_or(lower | ASLR);
    let mut refuse = |list, why| errors.push(ConfineError::Flags { list, why });
    if bits("upper").is_some_and(|upper| upper & (ASLR | FORBID_NULL_MAP) != ASLR | FORBID_NULL_MAP) {
        refuse(
            "upper",
            "aslr and forbidnullmap cannot be kept off: Linux switches the one on again for set-user-id \
             programs, and the other holds for every process of a zone; add them, or clear upper",
        );
    }
    for (list, bits) in [("lower", lower), ("default", default)] {
        if bits & ASLR != 0 && kernel.randomize == 0 && flags.text(list).is_some() {
            refuse(
                list,
                "aslr cannot be given: this host has kernel.randomize_va_space=0; set it to 2, or remove aslr",
            );
        }
        if bits & FORBID_NULL_MAP != 0 && kernel.lowest_address == 0 {
            refuse(
                list,
                "forbidnullmap cannot be given: this host has vm.mmap_min_addr=0; set it to 65536, or remove \
                 forbidnullmap",
            );
        }
    }
    if lower & NO_EXEC_STACK != 0 {
        refuse(
            "lower",
            "noexecstack cannot be kept on: on Linux a program makes its own stack executable, or has it so \
             when its file asks for it; move noexecstack to default, which is what programs begin with",
        );
    }
    (lower, default)
}

/// Says whether the zone may mount file systems.
fn may_mount(spec: &ZoneSpec, errors: &mut Vec<ConfineError>) -> bool {
    let text = spec.props.text("fs-allowed").unwrap_or_default();
    let mut types: Vec<&str> = text.split(',').map(str::trim).filter(|t| !t.is_empty()).collect();
    let closed = types.first() == Some(&"-");
    types.retain(|t| *t != "-");
    let foreign = types.iter().filter(|t| !MOUNTABLE.contains(&linux_type(t)));
    errors.extend(foreign.map(|t| ConfineError::Type((*t).to_owned())));
    if closed && !types.is_empty() {
        errors.push(ConfineError::Selection);
    }
    !closed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Props, Value, ZoneName, schema};

    fn spec() -> ZoneSpec {
        ZoneSpec::new(ZoneName::new("zion").expect("a good name"))
    }

    fn add(spec: &mut ZoneSpec, kind: ResourceKind, pairs: &[(&str, &str)]) {
        let mut props = Props::default();
        for (name, text) in pairs {
            props.set(kind.def().prop(name).expect("in the table"), Value::simple(*text));
        }
        spec.stored_mut(kind).push(props);
    }

    fn of(spec: &ZoneSpec) -> Result<Confinement, String> {
        Confinement::of(spec, Kernel::default())
            .map_err(|e| e.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    fn with_flags(pairs: &[(&str, &str)]) -> ZoneSpec {
        let mut s = spec();
        add(&mut s, ResourceKind::SecurityFlags, pairs);
        s
    }

    fn with_types(types: &str) -> ZoneSpec {
        let mut s = spec();
        s.props.set(schema::global("fs-allowed").expect("in the table"), Value::simple(types));
        s
    }

    #[test]
    fn nothing_said() {
        let plain = of(&spec()).expect("good");
        assert_eq!((plain.personality, plain.forbidden, plain.mounts), (0, 0x0050_0000, true));
        assert_eq!(plain.describe(), "refuse system calls that act on the machine or reach past the zone");
        assert_eq!(of(&with_flags(&[])), Ok(plain));
    }

    #[test]
    fn security_flags() {
        let forced = of(&with_flags(&[("lower", "aslr,forbidnullmap"), ("default", "all")])).expect("good");
        assert_eq!((forced.personality, forced.forbidden), (0, 0x0054_0000));
        let off = of(&with_flags(&[("default", "none")])).expect("good");
        assert_eq!((off.personality, off.forbidden), (0x0004_0000, 0x0050_0000));
        assert!(of(&with_flags(&[("upper", "all")])).is_ok());
        for (pairs, text) in [
            (&[("lower", "noexecstack"), ("default", "all")][..], "lower: noexecstack cannot be kept on"),
            (&[("lower", "all"), ("default", "all")], "move noexecstack to default"),
            (&[("upper", "none"), ("default", "none")], "upper: aslr and forbidnullmap cannot be kept off"),
            (&[("upper", "noexecstack"), ("default", "none")], "upper: aslr"),
        ] {
            let error = of(&with_flags(pairs)).expect_err("cannot be kept");
            assert!(error.contains(text), "{error}");
        }
        let bare = Kernel { randomize: 0, lowest_address: 0, ..Kernel::default() };
        let errors =
            Confinement::of(&with_flags(&[("lower", "aslr,forbidnullmap")]), bare).expect_err("neither");
        assert!(errors[0].to_string().contains("kernel.randomize_va_space=0"), "{errors:?}");
        assert!(errors[1].to_string().contains("vm.mmap_min_addr=0"), "{errors:?}");
        assert!(Confinement::of(&spec(), bare).is_ok(), "nobody has asked");
    }

    #[test]
    fn file_systems() {
        assert!(of(&with_types("tmpfs,overlay,fuse")).expect("good").mounts);
        assert!(!of(&with_types("-")).expect("good").mounts);
        for (types, text) in [
            ("ext4", "lets no zone mount ext4"),
            ("tmpfs,hsfs", "lets no zone mount hsfs"),
            ("-,tmpfs", "'-' with types cannot be enforced"),
        ] {
            let error = of(&with_types(types)).expect_err("cannot be kept");
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn what_the_plan_knows_is_in_the_manual() {
        let manual = include_str!("../../man/zones.7").replace("\\&", "");
        let part = |from: &str, to: &str| {
            let (_, text) = manual.split_once(from).expect("the manual has the part");
            text.split_once(to).expect("it ends").0.to_owned()
        };
        let types = part("Root of a zone mounts what the kernel", "These may stand in");
        let types: Vec<&str> = types.split([' ', ',', '\n']).map(|w| w.trim_matches('.')).collect();
        for name in MOUNTABLE {
            assert!(types.contains(&name.replace("zfs", "ZFS").as_str()), "{name} is not in {types:?}");
        }
        let groups = part("opens groups of calls to a zone", ".Dl add attr");
        for (name, _) in GROUPS {
            assert!(groups.contains(&format!(".Ql {name}")), "{name} is not in {groups}");
        }
        let counts = part(".Ss Namespaces and watches", ".Ss ");
        for (name, _) in COUNTS {
            assert!(counts.contains(&format!(".Ql {name}")), "{name} is not in {counts}");
        }
    }

    #[test]
    fn groups_and_counts() {
        let mut s = spec();
        add(&mut s, ResourceKind::Attr, &[("name", ALLOW), ("value", "perf, io-uring,perf")]);
        add(&mut s, ResourceKind::Attr, &[("name", "max-user-namespaces"), ("value", "0")]);
        assert_eq!(of(&s).expect("good").open, ["io-uring", "perf"]);
        assert_eq!(counts(&s), Ok(vec![("max_user_namespaces", 0)]));
        add(&mut s, ResourceKind::Attr, &[("name", ALLOW), ("value", "kexec")]);
        add(&mut s, ResourceKind::Attr, &[("name", "max-pid-namespaces"), ("value", "many")]);
        let error = of(&s).expect_err("neither");
        assert!(
            error.contains("no group of system calls 'kexec'; there are bpf, dnotify, families"),
            "{error}"
        );
        assert!(error.contains("max-pid-namespaces: 'many' is not a number"), "{error}");
    }

    #[test]
    fn fanotify_is_limited_where_the_kernel_counts_it() {
        let mut s = spec();
        add(&mut s, ResourceKind::Attr, &[("name", "max-fanotify-groups"), ("value", "0")]);
        add(&mut s, ResourceKind::Attr, &[("name", "max-fanotify-marks"), ("value", "7")]);
        assert!(of(&s).is_ok());
        assert_eq!(counts(&s), Ok(vec![("max_fanotify_groups", 0), ("max_fanotify_marks", 7)]));
        let old = Kernel { counts_fanotify: false, ..Kernel::default() };
        let errors = Confinement::of(&s, old).expect_err("the kernel has no such numbers");
        let names = ["max-fanotify-groups", "max-fanotify-marks"].map(ConfineError::NotCounted);
        assert_eq!(errors, names);
        assert!(Confinement::of(&spec(), old).is_ok(), "the spec limits nothing");
    }
}
