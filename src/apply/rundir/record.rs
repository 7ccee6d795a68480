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

/// Most bytes of a record that are read.
const MAX_BYTES: usize = 4096;

/// A zone that the kernel knows, as its record describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Number of the zone, 1 to 9999, fresh at each boot.
    pub id: u32,
    /// A state of a zone with processes: ready, running or shutting down.
    pub state: ZoneState,
    /// Process id of the zone's first process, as the host sees it.
    pub init: i32,
    /// When the first process started, clock ticks since the host's boot (field 22 of `/proc/PID/stat`).
    pub init_start: u64,
    /// Process id of the supervisor. It may have died; ask [`Running::supervisor_alive`].
    pub supervisor: i32,
    /// When the supervisor started.
    pub supervisor_start: u64,
    /// Why the zone goes down; none while it does not.
    pub stop_reason: Option<StopReason>,
    /// The command that has announced the end of the zone and not yet asked for it; none as soon as it has.
    pub announced: Option<Announced>,
    /// The zone's cgroup v2 folder, when the host has that hierarchy.
    pub cgroup: Option<String>,
    /// Number of links that the boot gave to the zone; none in the record of a release that did not count them.
    pub links: Option<usize>,
}

/// Why a zone is going down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// `zoneadm halt` or the zone's own power-off.
    Halt,
    /// `zoneadm reboot`.
    Reboot,
}

/// The end of a zone, announced by a command that has not yet asked the zone for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    /// Process id of the command.
    pub command: i32,
    /// When the command started, as [`Running::init_start`].
    pub command_start: u64,
    /// The state of the zone before the announcement.
    pub state_before: ZoneState,
}

impl Running {
    /// Returns the record with which this process announces the end of the zone. Other commands have to know of it
    /// before the zone does: a halt does not wait for a shutdown.
    #[must_use]
    pub fn announce(self, stop_reason: StopReason) -> Self {
        let command = i32::try_from(std::process::id()).unwrap_or(0);
        let announced = start_time(command).map(|command_start| Announced {
            command,
            command_start,
            state_before: self.state,
        });
        // The end of a zone that is shutting down was announced before.
        let announced = announced.filter(|a| a.state_before != ZoneState::ShuttingDown);
        Self { state: ZoneState::ShuttingDown, stop_reason: Some(stop_reason), announced, ..self }
    }

    /// Returns the record without an announcement that came to nothing: when the command that announced the end has
    /// died before it asked the zone for it, the zone is in its former state, and is not to be booted again.
    #[must_use]
    pub fn believed(self) -> Self {
        match self.announced {
            Some(a) if start_time(a.command) != Some(a.command_start) => {
                Self { state: a.state_before, stop_reason: None, announced: None, ..self }
            }
            _ => self,
        }
    }

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
        let state = |name: &str| match field(name)? {
            "ready" => Some(ZoneState::Ready),
            "running" => Some(ZoneState::Running),
            "shutting_down" => Some(ZoneState::ShuttingDown),
            _ => None,
        };
        let announced = || {
            Some(Announced {
                command: field("by")?.parse().ok()?,
                command_start: field("bstart")?.parse().ok()?,
                state_before: state("before")?,
            })
        };
        Some(Self {
            id: field("id")?.parse().ok()?,
            state: state("state")?,
            init: field("init")?.parse().ok()?,
            init_start: field("start")?.parse().ok()?,
            supervisor: field("supervisor")?.parse().ok()?,
            supervisor_start: field("sstart")?.parse().ok()?,
            stop_reason: match field("going") {
                Some("halt") => Some(StopReason::Halt),
                Some("reboot") => Some(StopReason::Reboot),
                _ => None,
            },
            announced: announced(),
            cgroup: field("cgroup").map(str::to_owned),
            links: field("links").and_then(|n| n.parse().ok()),
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
        match self.stop_reason {
            Some(StopReason::Halt) => write!(f, " going=halt")?,
            Some(StopReason::Reboot) => write!(f, " going=reboot")?,
            None => {}
        }
        if let Some(a) = self.announced {
            write!(f, " by={} bstart={} before={}", a.command, a.command_start, a.state_before)?;
        }
        if let Some(cgroup) = &self.cgroup {
            write!(f, " cgroup={cgroup}")?;
        }
        if let Some(links) = self.links {
            write!(f, " links={links}")?;
        }
        writeln!(f)
    }
}

/// Reads the record of a zone, as [`Running::believed`]; none when there is none or it cannot be parsed. Whether the
/// zone lives is not looked at.
pub fn record(root: &Root, zone: &ZoneName) -> Option<Running> {
    record_as_written(root, zone).map(Running::believed)
}

/// Reads the record of a zone as it was written, also where it announces an end that never came.
pub fn record_as_written(root: &Root, zone: &ZoneName) -> Option<Running> {
    Running::parse(&trust::read(&root.zone_run(zone).join(RECORD), MAX_BYTES as u64)?)
}

/// Writes the record of a zone, as [`write_record_only`] does, and its copy ([`copy`]).
///
/// # Errors
/// The system's error.
pub fn write_record(root: &Root, name: &ZoneName, running: &Running) -> io::Result<()> {
    let done = write_record_only(root, name, running);
    copy::keep_if_possible(root, name, running);
    done
}

/// Writes the record of a zone whole or not at all; where there is no room for another file, over the existing one.
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
        // The text is written by one call, so that a reader finds no record or all of it.
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
    let old = usize::try_from(file.metadata()?.len()).unwrap_or(0).min(MAX_BYTES);
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
            stop_reason: Some(StopReason::Reboot),
            announced: Some(Announced { command: 9, command_start: 10, state_before: ZoneState::Ready }),
            cgroup: Some("/sys/fs/cgroup/zones/zion".into()),
            links: Some(2),
        };
        assert_eq!(Running::parse(&r.to_string()), Some(r.clone()));
        (r.stop_reason, r.announced, r.cgroup, r.links, r.state) =
            (None, None, None, None, ZoneState::Running);
        assert_eq!(Running::parse(&r.to_string()), Some(r));
        assert_eq!(Running::parse("id=1 state=running init=x start=1 supervisor=1 sstart=1"), None);
        assert_eq!(Running::parse(""), None);
    }

    #[test]
    fn an_end_is_believed_as_long_as_the_one_lives_who_has_announced_it() {
        let line = "id=1 state=running init=2 start=3 supervisor=4 sstart=5 cgroup=/c";
        let r = Running::parse(line).expect("the line is whole");
        let announced = r.clone().announce(StopReason::Reboot);
        assert_eq!(
            (announced.state, announced.stop_reason),
            (ZoneState::ShuttingDown, Some(StopReason::Reboot))
        );
        assert_eq!(announced.clone().believed(), announced, "this process lives");
        let mut dead = announced.clone();
        dead.announced = dead.announced.map(|a| Announced { command_start: a.command_start + 1, ..a });
        assert_eq!(dead.clone().believed(), r, "another process has its number");
        dead.announced = None;
        assert_eq!(dead.clone().believed(), dead, "the zone has been asked");
        assert_eq!(dead.clone().announce(StopReason::Halt).announced, None, "and goes down whoever dies");
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
