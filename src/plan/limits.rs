//! The zone's share of the machine: controls of the spec become settings of cgroup v2, of process 1 and
//! of the zone's ipc namespace. The same decision serves `verify` and the boot.
//!
//! A control that cannot be kept is an error, unless the spec marks it: an `attr` resource
//! `best-effort` names it (or its resource, or `all`), and a warning is left of it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use super::image::known;
use crate::spec::schema::{self, ResourceKind};
use crate::spec::shown::Show;
use crate::spec::{Props, ZoneSpec, words};

/// The mechanisms that the host has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Where cgroup v2 is mounted.
    pub mount: Option<PathBuf>,
    /// Its controllers.
    pub controllers: Vec<String>,
    /// Numbers of the cpus that are online.
    pub online: Vec<u32>,
    /// Those of them that other zones have for themselves.
    pub taken: Vec<u32>,
    /// Size of a page, bytes.
    pub page: u64,
    /// The group that `pool` names is there.
    pub has_pool: bool,
}

/// The name of a file of [`FILES`].
type File = &'static str;

/// The files that limits are written to, and the knobs.
const FILES: &[File] = &[
    "cpu.max",
    "cpu.weight",
    "cpuset.cpus",
    "cpuset.cpus.partition",
    "memory.max",
    "memory.swap.max",
    "msgmni",
    "pids.max",
    "sem",
    "shmall",
    "shmmni",
];

/// Reads the name of a file that a limit can be written to.
fn known_file<'de, D: Deserializer<'de>>(from: D) -> Result<File, D::Error> {
    known::one(from, FILES)
}

/// A value for a file of the zone's cgroup, or for a knob of its ipc namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// Name of the file.
    #[serde(deserialize_with = "known_file")]
    pub file: File,
    /// The value that is written.
    pub value: String,
    /// The control, as the person has set it.
    pub subject: String,
}

/// How the zone's processes are scheduled (sched(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SchedPolicy {
    /// `SCHED_OTHER`.
    #[default]
    Normal,
    /// `SCHED_BATCH`: as if always busy.
    Batch,
    /// `SCHED_IDLE`: runs only when no other process wants the processor.
    Idle,
}

/// The limits of one zone, decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// For the zone's cgroup, in order.
    pub group: Vec<Setting>,
    /// For its ipc namespace, below `/proc/sys/kernel`.
    pub ipc: Vec<Setting>,
    /// Bytes that one process may lock into memory.
    pub locked: Option<u64>,
    /// How its processes are scheduled.
    pub policy: SchedPolicy,
    /// The limits that cannot be enforced, and that the spec allows to be left out.
    pub warnings: Vec<String>,
}

/// A control that cannot be kept.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum LimitError {
    /// The kernel's part is missing.
    #[error(
        "could not verify {subject}: this host has no cgroup v2 controller '{controller}'; boot it with \
         'systemd.unified_cgroup_hierarchy=1 cgroup_no_v1=all', remove the limit, or mark it: \
         {}", mark(.subject)
    )]
    NoController {
        /// The control.
        subject: String,
        /// The mechanism that enforces it.
        controller: &'static str,
    },
    /// Linux has nothing like it.
    #[error("could not verify {subject}: {why}; remove it, or mark it: {}", mark(.subject))]
    NoSuchThing {
        /// The control.
        subject: String,
        /// Why not.
        why: &'static str,
    },
    /// More cpus than there are.
    #[error(
        "could not verify dedicated-cpu: it asks for {wanted}, and of this host's {online} cpus {free} can be \
         given away now (one stays with the host)"
    )]
    TooFewCpus {
        /// The value in the spec.
        wanted: String,
        /// How many the host has.
        online: usize,
        /// How many are free.
        free: usize,
    },
    /// Cpu numbers that cannot be read, or are not there, or are taken.
    #[error("could not verify dedicated-cpu: cpu {cpu} {why}")]
    BadCpu {
        /// The number as written.
        cpu: String,
        /// Its fault.
        why: &'static str,
    },
    /// The pool is not there.
    #[error(
        "could not verify pool '{pool}': there is no cgroup {}; make it and give it cpus (cpuset.cpus), or clear pool",
        path.shown()
    )]
    NoPool {
        /// Its name.
        pool: String,
        /// Where it was looked for.
        path: PathBuf,
    },
}

fn mark(subject: &str) -> String {
    let name = subject.split_whitespace().next().unwrap_or(subject);
    format!("add attr; set name=best-effort; set type=string; set value={name}; end")
}

/// Name of the `attr` that marks controls as best effort.
pub const BEST_EFFORT: &str = "best-effort";

/// The mechanism for a resource control.
enum Control {
    /// A file of the cgroup; the value is computed.
    Group(&'static str, &'static str, fn(u64) -> String),
    /// A knob of the ipc namespace.
    Ipc(&'static str),
    /// Limit of each process.
    Locked,
    /// Enforced by the construction of a zone.
    Held,
    /// Not there on Linux; why.
    Nothing(&'static str),
}

/// Length of the period over which cpu time is capped, in microseconds: the kernel's default.
const PERIOD: u64 = 100_000;

fn plain(limit: u64) -> String {
    limit.to_string()
}

/// The cap is in hundredths of a cpu.
fn quota(limit: u64) -> String {
    format!("{} {PERIOD}", limit.saturating_mul(PERIOD / 100).max(1000))
}

/// Shares are weights as they are, as far as the kernel's range goes (1 to 10,000).
fn weight(shares: u64) -> String {
    shares.clamp(1, 10_000).to_string()
}

fn control(rctl: &str) -> Control {
    match rctl {
        "zone.cpu-cap" => Control::Group("cpu", "cpu.max", quota),
        "zone.cpu-shares" => Control::Group("cpu", "cpu.weight", weight),
        "zone.max-lwps" | "zone.max-processes" => Control::Group("pids", "pids.max", plain),
        "zone.max-physical-memory" => Control::Group("memory", "memory.max", plain),
        "zone.max-swap" => Control::Group("memory", "memory.swap.max", plain),
        "zone.max-locked-memory" => Control::Locked,
        "zone.max-shm-memory" => Control::Ipc("shmall"),
        "zone.max-shm-ids" => Control::Ipc("shmmni"),
        "zone.max-msg-ids" => Control::Ipc("msgmni"),
        "zone.max-sem-ids" => Control::Ipc("sem"),
        // A zone cannot make loop devices at all.
        "zone.max-lofi" => Control::Held,
        "zone.zfs-io-priority" => Control::Nothing("ZFS on Linux knows no priorities among those who use it"),
        _ => Control::Nothing("Linux has no such control"),
    }
}

/// Returns the folder of a zone's cgroup. `name` is the zone's name as it stands there.
///
/// A zone with cpus of its own has its folder at the top: only there can the kernel take cpus away from
/// everybody else. A zone with a pool has it in that pool.
pub fn folder(spec: &ZoneSpec, mount: &Path, name: &str) -> PathBuf {
    if !spec.stored(ResourceKind::DedicatedCpu).is_empty() {
        return mount.join(format!("zones.{name}"));
    }
    match pool(spec) {
        Some(pool) => mount.join(pool).join(name),
        None => mount.join(SHARED).join(name),
    }
}

/// Name of the folder that zones without cpus of their own and without a pool share.
const SHARED: &str = "zones";

/// Returns the folder that a zone's cgroup shares with those of other zones alone.
pub fn shared_folder(path: &Path) -> Option<&Path> {
    path.parent().filter(|folder| folder.file_name().is_some_and(|name| name == SHARED))
}

/// Returns the pool that a zone is bound to.
pub fn pool(spec: &ZoneSpec) -> Option<&str> {
    spec.props.text("pool").filter(|p| !p.is_empty())
}

/// Decides the limits of a zone.
///
/// # Errors
/// All that cannot be kept, in the order of the spec.
pub fn limits(spec: &ZoneSpec, host: &Host) -> Result<Limits, Vec<LimitError>> {
    let mut found = Limits::default();
    let mut errors = Vec::new();
    let effort = best_effort(spec);
    let mut refuse = |subject: &str, error: LimitError, found: &mut Limits| {
        let first = subject.split_whitespace().next().unwrap_or(subject);
        if effort.iter().any(|e| e == "all" || e == subject || e == first) {
            found.warnings.push(format!("{subject} is not kept: {}", because(&error)));
        } else {
            errors.push(error);
        }
    };
    for rctl in spec.stored(ResourceKind::Rctl) {
        let Some(name) = rctl.text("name").filter(|n| words::RCTLS.contains(n)) else { continue };
        let Some(limit) = limit_of(rctl) else { continue };
        let subject = subject(name);
        match control(name) {
            Control::Group(controller, file, value) => {
                if host.controllers.iter().any(|c| c == controller) {
                    put(&mut found.group, Setting { file, value: value(limit), subject }, limit);
                } else {
                    let error = LimitError::NoController { subject: subject.clone(), controller };
                    refuse(&subject, error, &mut found);
                }
            }
            Control::Ipc(file) => {
                let value = match file {
                    "shmall" => limit.div_ceil(host.page.max(1)).to_string(),
                    // The first three are the kernel's own values, which stay.
                    "sem" => format!("32000 1024000000 500 {limit}"),
                    _ => limit.to_string(),
                };
                found.ipc.push(Setting { file, value, subject });
            }
            Control::Locked => found.locked = Some(limit),
            Control::Held => {}
            Control::Nothing(why) => {
                let error = LimitError::NoSuchThing { subject: subject.clone(), why };
                // The priority is a wish, not a limit: without it no limit is lost.
                if name == "zone.zfs-io-priority" {
                    found.warnings.push(format!("{subject} is not kept: {why}"));
                } else {
                    refuse(&subject, error, &mut found);
                }
            }
        }
    }
    let physical = spec.stored(ResourceKind::CappedMemory).first().and_then(|m| m.text("physical"));
    if let Some(bytes) = physical.and_then(|p| crate::spec::value::ByteSize::parse(p).ok()) {
        let subject = "capped-memory physical".to_owned();
        if host.controllers.iter().any(|c| c == "memory") {
            put(&mut found.group, Setting { file: "memory.max", value: plain(bytes.0), subject }, bytes.0);
        } else {
            let error = LimitError::NoController { subject: subject.clone(), controller: "memory" };
            refuse(&subject, error, &mut found);
        }
    }
    // A cap that only makes the host swap is none. With `swap` the spec says how much it may.
    let has = |file: &str| found.group.iter().any(|s| s.file == file);
    if has("memory.max") && !has("memory.swap.max") {
        let subject = "capped-memory physical, without swap".to_owned();
        found.group.push(Setting { file: "memory.swap.max", value: "0".into(), subject });
    }
    match scheduling(spec) {
        Ok(policy) => found.policy = policy,
        Err(error) => refuse("scheduling-class", error, &mut found),
    }
    match cpus(spec, host) {
        Ok(settings) => found.group.extend(settings),
        Err(error) => refuse("dedicated-cpu", error, &mut found),
    }
    if let Some(error) = missing_pool(spec, host) {
        // A zone outside its pool has no place at all: nothing to be lenient about.
        errors.push(error);
    }
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

fn because(error: &LimitError) -> String {
    match error {
        LimitError::NoController { controller, .. } => {
            format!("this host has no cgroup v2 controller '{controller}'")
        }
        LimitError::NoSuchThing { why, .. } => (*why).to_owned(),
        other => other.to_string().rsplit_once(": ").map_or(String::new(), |(_, why)| why.to_owned()),
    }
}

/// Of two controls on one file the smaller holds.
fn put(list: &mut Vec<Setting>, setting: Setting, limit: u64) {
    match list.iter_mut().find(|s| s.file == setting.file) {
        Some(old) if old.value.parse().is_ok_and(|v: u64| v <= limit) => {}
        Some(old) => *old = setting,
        None => list.push(setting),
    }
}

/// Returns the limit that holds: the smallest of those that deny; else the smallest.
fn limit_of(rctl: &Props) -> Option<u64> {
    let values = || {
        let items = rctl.get("value").map_or(&[][..], |v| v.items());
        items.iter().filter_map(|i| Some((i.member("action")?, i.member("limit")?.parse::<u64>().ok()?)))
    };
    let denied = values().filter(|(action, _)| *action == "deny").map(|(_, limit)| limit).min();
    denied.or_else(|| values().map(|(_, limit)| limit).min())
}

/// Names a control as the person has set it.
pub fn subject(rctl: &str) -> String {
    match schema::alias_of(rctl) {
        Some((Some(kind), def)) => format!("{kind} {}", def.name),
        Some((None, def)) => def.name.to_owned(),
        None => rctl.to_owned(),
    }
}

fn best_effort(spec: &ZoneSpec) -> Vec<String> {
    spec.attrs(BEST_EFFORT)
        .flat_map(|v| v.split([',', ' ']))
        .map(|w| w.trim().to_owned())
        .filter(|w| !w.is_empty())
        .collect()
}

fn scheduling(spec: &ZoneSpec) -> Result<SchedPolicy, LimitError> {
    let class = spec.props.text("scheduling-class").unwrap_or_default();
    match class.to_ascii_uppercase().as_str() {
        "" | "FSS" | "TS" | "IA" => Ok(SchedPolicy::Normal),
        "FX" | "BATCH" => Ok(SchedPolicy::Batch),
        "IDLE" => Ok(SchedPolicy::Idle),
        _ => Err(LimitError::NoSuchThing {
            subject: "scheduling-class".into(),
            why: "a zone is given no real-time class: it could stop the host; FSS, TS, IA, FX, BATCH and IDLE can be had",
        }),
    }
}

fn missing_pool(spec: &ZoneSpec, host: &Host) -> Option<LimitError> {
    let pool = pool(spec)?;
    match &host.mount {
        Some(_) if host.has_pool => None,
        Some(mount) => Some(LimitError::NoPool { pool: pool.to_owned(), path: mount.join(pool) }),
        None => Some(LimitError::NoController { subject: format!("pool '{pool}'"), controller: "cpuset" }),
    }
}

/// Chooses the cpus of a zone that has its own: those asked for by number, or the last ones that are free.
fn cpus(spec: &ZoneSpec, host: &Host) -> Result<Vec<Setting>, LimitError> {
    let Some(wanted) = spec.stored(ResourceKind::DedicatedCpu).first() else { return Ok(Vec::new()) };
    let subject = "dedicated-cpu".to_owned();
    if !host.controllers.iter().any(|c| c == "cpuset") {
        return Err(LimitError::NoController { subject, controller: "cpuset" });
    }
    for unknown in ["cores", "sockets"] {
        if wanted.text(unknown).is_some_and(|v| !v.is_empty()) {
            return Err(LimitError::NoSuchThing {
                subject: format!("dedicated-cpu {unknown}"),
                why: "cpus can be named by number only; use 'set cpus='",
            });
        }
    }
    let free: Vec<u32> = host.online.iter().copied().filter(|c| !host.taken.contains(c)).collect();
    let text;
    let chosen: Vec<u32> = if let Some(list) = wanted.text("cpus").filter(|l| !l.is_empty()) {
        text = list.to_owned();
        let bad = |cpu: &str, why| LimitError::BadCpu { cpu: cpu.to_owned(), why };
        let chosen = numbers(list).ok_or_else(|| bad(list, "is not a number or range such as 0,2-3"))?;
        for cpu in &chosen {
            if !host.online.contains(cpu) {
                return Err(bad(&cpu.to_string(), "is not online on this host"));
            }
            if host.taken.contains(cpu) {
                return Err(bad(&cpu.to_string(), "belongs to another zone that runs"));
            }
        }
        chosen
    } else {
        text = wanted.text("ncpus").unwrap_or("1").to_owned();
        let (least, most) = text.split_once('-').unwrap_or((&text, &text));
        let (least, most) = (least.parse::<usize>().unwrap_or(1), most.parse::<usize>().unwrap_or(1));
        let can = free.len().saturating_sub(1);
        if can < least.max(1) {
            return Err(LimitError::TooFewCpus { wanted: text, online: host.online.len(), free: can });
        }
        free.iter().rev().take(most.min(can)).rev().copied().collect()
    };
    if chosen.len() >= free.len() {
        let left = free.len().saturating_sub(1);
        return Err(LimitError::TooFewCpus { wanted: text, online: host.online.len(), free: left });
    }
    let list: Vec<String> = chosen.iter().map(u32::to_string).collect();
    Ok(vec![
        Setting { file: "cpuset.cpus", value: list.join(","), subject: subject.clone() },
        Setting { file: "cpuset.cpus.partition", value: "root".into(), subject },
    ])
}

/// Reads a list of numbers and ranges, `0,2-3`, as the kernel writes it.
pub fn numbers(list: &str) -> Option<Vec<u32>> {
    let mut all = Vec::new();
    for part in list.trim().split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if last < first || last > 65_535 {
            return None;
        }
        all.extend(first..=last);
    }
    all.sort_unstable();
    all.dedup();
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::value::ByteSize;
    use crate::spec::{Item, Value, ZoneName};

    fn spec() -> ZoneSpec {
        ZoneSpec::new(ZoneName::new("zion").expect("a good name"))
    }

    #[test]
    fn an_image_knows_every_file_that_a_limit_is_written_to() {
        let files = words::RCTLS.iter().filter_map(|rctl| match control(rctl) {
            Control::Group(_, file, _) | Control::Ipc(file) => Some(file),
            Control::Locked | Control::Held | Control::Nothing(_) => None,
        });
        for file in files.chain(["cpuset.cpus", "cpuset.cpus.partition"]) {
            assert!(FILES.contains(&file), "{file}");
        }
    }

    fn host() -> Host {
        Host {
            mount: Some("/sys/fs/cgroup".into()),
            controllers: ["cpu", "cpuset", "memory", "pids"].map(str::to_owned).into(),
            online: vec![0, 1, 2, 3],
            taken: Vec::new(),
            page: 4096,
            has_pool: true,
        }
    }

    fn alias(spec: &mut ZoneSpec, name: &str, text: &str) {
        let def = schema::global(name).expect("in the table");
        spec.set_alias(def, text).expect("fits");
    }

    fn add(spec: &mut ZoneSpec, kind: ResourceKind, pairs: &[(&str, &str)]) {
        let mut props = Props::default();
        for (name, text) in pairs {
            props.set(kind.def().prop(name).expect("in the table"), Value::simple(*text));
        }
        spec.stored_mut(kind).push(props);
    }

    fn files(limits: &Limits) -> Vec<(&str, &str)> {
        limits.group.iter().map(|s| (s.file, s.value.as_str())).collect()
    }

    #[test]
    fn aliases_and_controls_do_the_same() {
        let mut a = spec();
        alias(&mut a, "max-lwps", "1000");
        alias(&mut a, "cpu-shares", "300");
        let mut b = spec();
        for (name, limit, action) in [("zone.max-lwps", "1000", "deny"), ("zone.cpu-shares", "300", "none")] {
            add(&mut b, ResourceKind::Rctl, &[("name", name)]);
            let value = Value::List(vec![Item::Complex(vec![
                ("priv".into(), "privileged".into()),
                ("limit".into(), limit.into()),
                ("action".into(), action.into()),
            ])]);
            let list = b.stored_mut(ResourceKind::Rctl);
            list.last_mut().expect("just added").set(ResourceKind::Rctl.def().prop("value").unwrap(), value);
        }
        let of = |s: &ZoneSpec| limits(s, &host()).expect("can be kept");
        assert_eq!(files(&of(&a)), [("pids.max", "1000"), ("cpu.weight", "300")]);
        assert_eq!(of(&a), of(&b));
    }

    #[test]
    fn the_smaller_of_two_on_one_file_holds() {
        let mut s = spec();
        alias(&mut s, "max-lwps", "1000");
        alias(&mut s, "max-processes", "500");
        assert_eq!(files(&limits(&s, &host()).unwrap()), [("pids.max", "500")]);
        let mut s = spec();
        alias(&mut s, "max-processes", "500");
        alias(&mut s, "max-lwps", "1000");
        assert_eq!(files(&limits(&s, &host()).unwrap()), [("pids.max", "500")]);
    }

    #[test]
    fn memory_without_swap_does_not_swap() {
        let mut s = spec();
        add(&mut s, ResourceKind::CappedMemory, &[("physical", "64M")]);
        let bytes = ByteSize::parse("64M").unwrap().0.to_string();
        let found = limits(&s, &host()).unwrap();
        assert_eq!(files(&found), [("memory.max", bytes.as_str()), ("memory.swap.max", "0")]);
    }

    #[test]
    fn what_the_host_cannot_keep_is_refused_or_marked() {
        let mut s = spec();
        add(&mut s, ResourceKind::CappedMemory, &[("physical", "64M")]);
        alias(&mut s, "max-lwps", "1000");
        let bare = Host { controllers: vec!["hugetlb".into()], ..host() };
        let errors = limits(&s, &bare).expect_err("cannot be kept");
        assert_eq!(errors.len(), 2);
        assert!(errors[0].to_string().contains("max-lwps: this host has no cgroup v2 controller 'pids'"));
        assert!(errors[1].to_string().contains("set value=capped-memory;"));
        add(&mut s, ResourceKind::Attr, &[("name", "best-effort"), ("value", "capped-memory")]);
        assert_eq!(limits(&s, &bare).expect_err("one is left").len(), 1);
        add(&mut s, ResourceKind::Attr, &[("name", "best-effort"), ("value", "max-lwps")]);
        let found = limits(&s, &bare).expect("both are marked");
        assert_eq!((found.warnings.len(), found.group.len()), (2, 0));
    }

    #[test]
    fn cpus_are_the_last_that_are_free_and_one_stays() {
        let mut s = spec();
        add(&mut s, ResourceKind::DedicatedCpu, &[("ncpus", "1-2")]);
        let of =
            |host: &Host| limits(&s, host).map(|l| files(&l)[0].1.to_owned()).map_err(|e| e[0].to_string());
        assert_eq!(of(&host()), Ok("2,3".into()));
        assert_eq!(of(&Host { taken: vec![2, 3], ..host() }), Ok("1".into()));
        assert!(of(&Host { taken: vec![1, 2, 3], ..host() }).unwrap_err().contains("asks for 1-2"));
        let mut s = spec();
        add(&mut s, ResourceKind::DedicatedCpu, &[("cpus", "1,3")]);
        assert_eq!(files(&limits(&s, &host()).unwrap())[0], ("cpuset.cpus", "1,3"));
        let taken = limits(&s, &Host { taken: vec![3], ..host() }).unwrap_err();
        assert!(taken[0].to_string().ends_with("cpu 3 belongs to another zone that runs"));
        let mut s = spec();
        add(&mut s, ResourceKind::DedicatedCpu, &[("cpus", "0-3")]);
        assert!(limits(&s, &host()).is_err(), "nothing is left for the host");
    }

    #[test]
    fn caps_weights_and_pages() {
        assert_eq!((quota(150), quota(0)), ("150000 100000".into(), "1000 100000".into()));
        assert_eq!((weight(0), weight(300), weight(99_999)), ("1".into(), "300".into(), "10000".into()));
        let mut s = spec();
        alias(&mut s, "max-shm-memory", "5000");
        alias(&mut s, "max-sem-ids", "128");
        let found = limits(&s, &host()).unwrap();
        let ipc: Vec<_> = found.ipc.iter().map(|s| (s.file, s.value.as_str())).collect();
        assert_eq!(ipc, [("shmall", "2"), ("sem", "32000 1024000000 500 128")]);
    }

    #[test]
    fn lists_of_numbers() {
        assert_eq!(numbers("0,2-3\n"), Some(vec![0, 2, 3]));
        assert_eq!(numbers(""), Some(vec![]));
        assert_eq!((numbers("3-1"), numbers("x"), numbers("0-99999999")), (None, None, None));
    }
}
