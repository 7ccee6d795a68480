//! Brings a zone up: carries the plan of its boot out, writes the record, and starts init.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::error::{Process1Error, UpError, fail};
use super::host::{self, ReadyZone};
use super::zone;
use crate::apply::console::Console;
use crate::apply::dataset::{self, record::DatasetRecord, withdraw::HandoverReport};
use crate::apply::journal::boot::BootJournal;
use crate::apply::net::{Probe, ProgramsAhead};
use crate::apply::paths::Root;
use crate::apply::rundir::{JOURNAL, Running, SPEC, copy, init_file, write_record_only};
use crate::apply::running::next_id;
use crate::apply::{claim, engine};
use crate::plan::boot::{BootFacts, BootPlan};
use crate::plan::dataset::DatasetLookup;
use crate::plan::step::{BootStep, HostStep};
use crate::spec::ZoneName;
use crate::spec::state::ZoneState;
use crate::spec::store::StoreError;
use crate::sys::process;

/// How far a start goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Init waits.
    Ready,
    /// Init runs.
    Running,
}

/// A boot that is decided, and has asked on the wire for holders of the zone's addresses: the answers come while the
/// rest is done.
#[derive(Debug)]
pub struct Begun<'a> {
    /// The plan.
    pub plan: &'a BootPlan,
    /// The facts.
    pub facts: &'a BootFacts,
    /// The questions on the wire.
    pub asked: Probe,
    /// The programs of its links that are made ahead.
    pub ahead: ProgramsAhead<'a>,
    /// The text of the spec that it was decided from.
    pub spec: String,
    /// The zone's ids.
    pub ids: claim::ClaimedIds,
}

/// Carries the plan out, writes the record, and starts init when that is the goal.
///
/// # Errors
/// [`UpError`]; everything has been undone then, but for the parts that the error names.
pub fn up(
    root: &Root,
    name: &ZoneName,
    goal: Goal,
    begun: Begun<'_>,
    console: &Console,
) -> Result<(Running, ReadyZone), UpError> {
    let dir = root.zone_run(name);
    claim::claim(root, name, begun.ids)?;
    let init = init_file(root).map_err(UpError::of("cannot store the built-in init"))?;
    let mut journal = BootJournal::begin(&dir.join(JOURNAL), name, &begun.plan.steps)
        .map_err(|e| UpError::of("cannot begin the journal")(e.cause))?;
    let facts = begun.facts;
    let ids = first_host_id(&facts.uid_map).zip(first_host_id(&facts.gid_map));
    let ids = ids.ok_or(UpError::NoRoot)?;
    let (BootPlan { image, steps, .. }, asked, ahead) = (begun.plan, begun.asked, begun.ahead);
    let links = steps.iter().filter(|step| matches!(step, BootStep::Host(HostStep::Link(_)))).count();
    let work = host::BuildInput { image, steps, asked, ahead, console: console.slave(), init: &init };
    let mut id = 0;
    let meanwhile = || {
        keep_spec(&dir, &begun.spec).map_err(|e| fail("zone", "cannot keep the spec as booted", e))?;
        id = next_id(root).map_err(|e| fail("zone", "cannot number it", e))?;
        Ok(())
    };
    let mut ready = host::make_ready(root, name, ids, work, &mut journal, meanwhile)?;
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let mut running = Running {
        id,
        state: ZoneState::Ready,
        init: ready.pid,
        init_start: process::start_time(ready.pid).unwrap_or(0),
        supervisor: own,
        supervisor_start: process::start_time(own).unwrap_or(0),
        stop_reason: None,
        announced: None,
        cgroup: facts.cgroup.as_ref().map(|p| p.to_string_lossy().into_owned()),
        links: Some(links),
    };
    if goal == Goal::Running {
        running.state = ZoneState::Running;
    }
    if let Err(e) = note_datasets(root, name, facts, &ready.report) {
        // Only warnings of the next boot depend on the record, so this boot does not fail for it.
        ready.report.warnings.push(e.to_string());
    }
    // The record comes before init: whatever runs can be found. Were this process to die in
    // between, process 1 would end with its channel and the record would not be believed.
    let done = write_record_only(root, name, &running).map_err(UpError::of("cannot write the record"));
    let done = done.and_then(|()| match goal {
        // The copy is for a loss of the record, which comes first; init starts while the copy is written.
        Goal::Running => Ok(start_init(&ready, zone::BOOT, || copy::keep_if_possible(root, name, &running))?),
        Goal::Ready => {
            copy::keep_if_possible(root, name, &running);
            Ok(())
        }
    });
    if let Err(error) = done {
        let _ = ready.handle.signal(libc::SIGKILL);
        let _ = process::wait(ready.pid);
        let left = engine::undo_all(&mut journal);
        return Err(UpError::NotUndone { cause: Box::new(error), left });
    }
    Ok((running, ready))
}

/// Stores the spec that was planned from: the saved one may be another by now.
fn keep_spec(dir: &Path, text: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(dir.join(SPEC))?.write_all(text.as_bytes())
}

/// Notes the state of the zone's datasets, for its next boot.
fn note_datasets(
    root: &Root,
    name: &ZoneName,
    facts: &BootFacts,
    report: &HandoverReport,
) -> Result<(), StoreError> {
    if facts.delegations.is_empty() {
        return Ok(());
    }
    let trees = facts.delegations.values().filter_map(|found| match found {
        DatasetLookup::Filesystem(tree) => Some(&**tree),
        _ => None,
    });
    let now = DatasetRecord::of(first_host_id(&facts.uid_map).unwrap_or_default(), trees, &report.not_given);
    dataset::record::note_boot(root, name, &now)
}

/// Lets process 1 start init and waits until the exec has happened; `meanwhile` is done before the wait.
///
/// # Errors
/// [`Process1Error`].
pub fn start_init(ready: &ReadyZone, word: &str, meanwhile: impl FnOnce()) -> Result<(), Process1Error> {
    ready.channel.send(word, &[]).map_err(Process1Error::Ended)?;
    meanwhile();
    // The channel closes on exec; a message instead of the end is a failure.
    let answer = ready.channel.receive().map_err(Process1Error::Hear)?;
    if answer.text.is_empty() {
        return Ok(());
    }
    Err(Process1Error::reported(&answer.text))
}

/// Returns the host id of the zone's id 0, from the lines of a map.
pub fn first_host_id(map: &str) -> Option<u32> {
    map.lines().find_map(|l| {
        let mut fields = l.split_whitespace();
        (fields.next() == Some("0")).then(|| fields.next()?.parse().ok()).flatten()
    })
}
