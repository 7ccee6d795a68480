//! Which zones the kernel is running now.
//!
//! The kernel objects are the truth. The record of a zone only says how to find them: it names the
//! zone's first process and when that started, and it is believed only while such a process lives.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Component, Path};

use crate::apply::paths::Root;
use crate::apply::{found, trust};
use crate::spec::ZoneName;
use crate::spec::idmap::IdRange;
use crate::spec::state::ZoneState;
use crate::sys::cgroup;
use crate::sys::made;
use crate::sys::process::start_time;

/// Name of the record below the zone's run-time folder.
pub const RECORD: &str = "running";

/// A zone that the kernel knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Number of the zone, 1 to 9999, fresh at each boot.
    pub id: u32,
    /// `Ready`, `Running`, or `ShuttingDown`.
    pub state: ZoneState,
    /// Process id of the zone's first process, as the host sees it.
    pub init: i32,
    /// When that started, clock ticks since the host's boot (field 22 of `/proc/PID/stat`).
    pub init_start: u64,
    /// Process id of the supervisor. It may have died; ask [`Running::supervisor_alive`].
    pub supervisor: i32,
    /// When the supervisor started.
    pub supervisor_start: u64,
    /// What made the zone leave `Running`: `halt`, `reboot` or `shutdown`.
    pub going: Option<Going>,
    /// The zone's cgroup v2 folder, when the host has that hierarchy.
    pub cgroup: Option<String>,
}

/// Why a zone is going down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Going {
    /// `zoneadm halt` or the zone's own power-off.
    Halt,
    /// `zoneadm reboot`.
    Reboot,
}

impl Running {
    /// Says whether the first process lives.
    pub fn is_alive(&self) -> bool {
        start_time(self.init) == Some(self.init_start)
    }

    /// Says whether the supervisor lives.
    pub fn supervisor_alive(&self) -> bool {
        start_time(self.supervisor) == Some(self.supervisor_start)
    }

    /// Reads a record; none when a field is missing or not understood.
    pub fn parse(line: &str) -> Option<Self> {
        let field = |name: &str| {
            line.split_whitespace().find_map(|w| w.strip_prefix(name).and_then(|r| r.strip_prefix('=')))
        };
        Some(Self {
            id: field("id")?.parse().ok()?,
            state: match field("state")? {
                "ready" => ZoneState::Ready,
                "running" => ZoneState::Running,
                "shutting_down" => ZoneState::ShuttingDown,
                _ => return None,
            },
            init: field("init")?.parse().ok()?,
            init_start: field("start")?.parse().ok()?,
            supervisor: field("supervisor")?.parse().ok()?,
            supervisor_start: field("sstart")?.parse().ok()?,
            going: match field("going") {
                Some("halt") => Some(Going::Halt),
                Some("reboot") => Some(Going::Reboot),
                _ => None,
            },
            cgroup: field("cgroup").map(str::to_owned),
        })
    }
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "id={} state={} init={} start={} supervisor={} sstart={}",
            self.id, self.state, self.init, self.init_start, self.supervisor, self.supervisor_start
        )?;
        match self.going {
            Some(Going::Halt) => write!(f, " going=halt")?,
            Some(Going::Reboot) => write!(f, " going=reboot")?,
            None => {}
        }
        if let Some(cgroup) = &self.cgroup {
            write!(f, " cgroup={cgroup}")?;
        }
        writeln!(f)
    }
}

/// Reads the record of a zone without asking the kernel; none when there is none or it is broken.
pub fn record(root: &Root, zone: &ZoneName) -> Option<Running> {
    read(&root.zone_run(zone).join(RECORD))
}

/// Finds a running zone. A record whose process is gone is not believed, and neither is its absence.
pub fn find(root: &Root, zone: &ZoneName) -> Option<Running> {
    record(root, zone).filter(Running::is_alive).or_else(|| found::find(root, zone))
}

/// Returns the names of all zones that may run.
pub fn candidates(root: &Root) -> BTreeSet<ZoneName> {
    let entries = std::fs::read_dir(root.run_dir()).into_iter().flatten().flatten();
    let mut names: BTreeSet<_> =
        entries.filter_map(|e| ZoneName::new(e.file_name().to_str()?).ok()).collect();
    names.extend(found::names(root, &names));
    names
}

/// Finds all running zones, by id.
pub fn all(root: &Root) -> Vec<(ZoneName, Running)> {
    let names = candidates(root).into_iter();
    let found = names.filter_map(|name| find(root, &name).map(|running| (name, running)));
    let mut zones: Vec<_> = found.collect();
    zones.sort_by_key(|(_, r)| r.id);
    zones
}

/// Returns the ids of the host that a process's user namespace has, users and groups; none when the process
/// is gone.
pub fn ids(pid: i32) -> Vec<IdRange> {
    let maps = ["uid_map", "gid_map"].map(|file| made::read(format!("/proc/{pid}/{file}")));
    let text = maps.into_iter().flatten().collect::<String>();
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace().map(str::parse);
            let mut next = || fields.next()?.ok();
            Some(IdRange { inside: next()?, outside: next()?, count: next()? })
        })
        .collect()
}

fn read(path: &Path) -> Option<Running> {
    Running::parse(&trust::read(path, 4096)?)
}

/// Removes a zone's cgroup and kills what is in it. A path that is not the cgroup of a zone of that name
/// is left alone: a broken record must not end something else.
///
/// # Errors
/// The system's error.
pub fn remove_cgroup(zone: &str, path: &Path) -> std::io::Result<()> {
    let folder = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    // As `plan::limits::folder` names it, with the suffix of an alternate root.
    let name = folder.strip_prefix("zones.").unwrap_or(folder);
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    let below = cgroup::mount_point().is_some_and(|top| path.starts_with(top));
    let plain = path.components().all(|c| !matches!(c, Component::ParentDir));
    // A zone may be called `zones.x`.
    if below && plain && (name == zone || folder.split('@').next() == Some(zone)) {
        cgroup::remove(path)
    } else {
        Err(std::io::Error::other("it is not this zone's"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back() {
        let mut r = Running {
            id: 7,
            state: ZoneState::ShuttingDown,
            init: 12,
            init_start: 34,
            supervisor: 56,
            supervisor_start: 78,
            going: Some(Going::Reboot),
            cgroup: Some("/sys/fs/cgroup/zones/zion".into()),
        };
        assert_eq!(Running::parse(&r.to_string()), Some(r.clone()));
        (r.going, r.cgroup, r.state) = (None, None, ZoneState::Running);
        assert_eq!(Running::parse(&r.to_string()), Some(r));
        assert_eq!(Running::parse("id=1 state=running init=x start=1 supervisor=1 sstart=1"), None);
        assert_eq!(Running::parse(""), None);
    }

    #[test]
    fn a_process_id_that_was_given_again_is_not_the_zone() {
        let me = i32::try_from(std::process::id()).expect("process ids fit");
        let start = start_time(me).expect("the test process lives");
        let line = format!("id=1 state=running init={me} start={start} supervisor={me} sstart={start}");
        let mut r = Running::parse(&line).expect("the line is whole");
        assert!(r.is_alive() && r.supervisor_alive());
        r.init_start += 1;
        assert!(!r.is_alive());
    }
}
