//! The record of a running zone: how its kernel objects are found.
//!
//! It names the zone's first process and when that started, and it is believed only while such a process lives.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use super::{RECORD, copy};
use crate::apply::paths::Root;
use crate::apply::trust;
use crate::spec::ZoneName;
use crate::spec::state::ZoneState;
use crate::sys::process::start_time;

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

fn read(path: &Path) -> Option<Running> {
    Running::parse(&trust::read(path, 4096)?)
}

/// Writes the record of a zone whole or not at all; where there is no room for another file, over the
/// one that is there. What is kept of it elsewhere follows.
///
/// # Errors
/// The system's error.
pub fn write_record(root: &Root, name: &ZoneName, running: &Running) -> io::Result<()> {
    let done = write_record_only(root, name, running);
    // Without the copy the zone is found by its cgroup only, which is enough in all but rare cases.
    let _ = copy::keep(root, name, running);
    done
}

/// The same without what is kept of it elsewhere.
///
/// # Errors
/// The system's error.
pub fn write_record_only(root: &Root, name: &ZoneName, running: &Running) -> io::Result<()> {
    replace_record(&root.zone_run(name).join(RECORD), &running.to_string())
}

/// Makes a record, replaces it, or writes over it on a full file system.
///
/// # Errors
/// The system's error.
pub fn replace_record(path: &Path, text: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    match options.write(true).create_new(true).open(path) {
        // By one call: whoever reads meanwhile finds no record, or all of it.
        Ok(mut file) => {
            return file.write_all(text.as_bytes()).inspect_err(|_| drop(fs::remove_file(path)));
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(e),
    }
    let beside = path.with_extension("new");
    let done = fs::write(&beside, text).and_then(|()| fs::rename(&beside, path));
    let Err(error) = done else { return Ok(()) };
    let _ = fs::remove_file(&beside);
    if !matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        return Err(error);
    }
    let mut file = fs::OpenOptions::new().write(true).open(path)?;
    // The record is written by one call, so that a reader sees the old words or the new ones, and blanks after them.
    let old = usize::try_from(file.metadata()?.len()).unwrap_or(0).min(4096);
    file.write_all(format!("{text:old$}").as_bytes())
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
