//! Processes of a zone that do not end although they were killed: which they are, why, and what to do.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::apply::rundir::Running;
use crate::spec::shown::Show;
use crate::sys::made;
use crate::sys::task::{Task, is_ended_but_for_clean_up, tasks_of_namespace};

/// Returns a process by number and name. Its name is the zone's choice, and is shown harmless.
pub fn named(pid: i32) -> String {
    let name = made::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    let name = name.strip_suffix("\n").unwrap_or(&name).shown().to_string();
    if name.is_empty() { pid.to_string() } else { format!("{pid} ({name})") }
}

/// The processes that are left of a zone whose first one was killed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// All its processes have ended: they have no memory and run no code, and only the kernel has not
    /// closed their files yet. Number and name of one of them.
    CleanUp(String),
    /// A process that has not ended.
    Process {
        /// Its number and name.
        what: String,
        /// Why it does not end.
        why: StuckReason,
    },
}

/// Why a killed process does not end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StuckReason {
    /// It waits in the kernel (state D), where no signal reaches it; with the kernel function, if the kernel shows it.
    Waits(String),
    /// A freezer of cgroup v1 holds it; this folder thaws it.
    Frozen(PathBuf),
    /// It has ended, and a process outside of the zone that traces it has not taken note.
    Traced(String),
    /// Nothing is known.
    Unknown(char),
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, why) = match self {
            Self::CleanUp(what) => {
                return write!(
                    f,
                    "all processes of the zone have ended, and the kernel still closes what process {what} had \
                     open; the zone stays in state shutting_down until then"
                );
            }
            Self::Process { what, why } => (what, why),
        };
        write!(f, "process {what} does not end: ")?;
        match why {
            StuckReason::Waits(place) if place.is_empty() => {
                write!(f, "it waits in the kernel (state D), often for a device or a server of files; ")?;
                write!(f, "make that answer, then halt again")
            }
            StuckReason::Waits(place) => {
                write!(
                    f,
                    "it waits in the kernel (state D, in {place}), often for a device or a server of files; "
                )?;
                write!(f, "make that answer, then halt again")
            }
            StuckReason::Frozen(folder) => write!(
                f,
                "it is frozen; thaw it with 'echo THAWED > {}', then halt again",
                folder.join("freezer.state").shown()
            ),
            StuckReason::Traced(tracer) => {
                write!(
                    f,
                    "process {tracer} of the host traces it and does not let go; end that one, then halt again"
                )
            }
            StuckReason::Unknown(state) => write!(f, "it is in state {state}; halt again later"),
        }
    }
}

/// Finds the processes that are left of a zone; none when there are none.
pub fn remains(running: &Running) -> Option<Left> {
    let tasks = tasks_of_namespace(running.init);
    // Process 1 waits for all others: it is named only when it is alone.
    let others: Vec<&Task> = tasks.iter().filter(|t| t.pid != running.init).collect();
    let list: Vec<&Task> = if others.is_empty() { tasks.iter().collect() } else { others };
    let worst = list.iter().find(|t| why_it_stays(t).is_some());
    if let Some(task) = worst {
        let why = why_it_stays(task).unwrap_or(StuckReason::Unknown(task.state));
        return Some(Left::Process { what: named(task.pid), why });
    }
    let first = list.first()?;
    Some(Left::CleanUp(named(first.pid)))
}

/// Says why a task has not ended; none when all that is left to do is the kernel's.
fn why_it_stays(task: &Task) -> Option<StuckReason> {
    if task.state == 'Z' {
        // A zombie without a tracer outside is taken away by process 1.
        return tracer(task.pid).map(StuckReason::Traced);
    }
    if is_ended_but_for_clean_up(task) {
        return None;
    }
    if let Some(folder) = frozen(task.pid) {
        return Some(StuckReason::Frozen(folder));
    }
    if let (Some(tracer), 't') = (tracer(task.pid), task.state) {
        return Some(StuckReason::Traced(tracer));
    }
    Some(match task.state {
        'D' => StuckReason::Waits(place(task.pid)),
        state => StuckReason::Unknown(state),
    })
}

/// Returns the kernel function that a task waits in, when the kernel shows it.
fn place(pid: i32) -> String {
    let text = made::read(format!("/proc/{pid}/wchan")).unwrap_or_default();
    if text == "0" { String::new() } else { text }
}

/// Returns the process that traces a process.
fn tracer(pid: i32) -> Option<String> {
    let status = made::read(format!("/proc/{pid}/status")).ok()?;
    let number = status.lines().find_map(|l| l.strip_prefix("TracerPid:"))?.trim().parse::<i32>().ok()?;
    (number != 0).then(|| named(number))
}

/// Returns the frozen folder of the freezer of cgroup v1 that a process is in.
fn frozen(pid: i32) -> Option<PathBuf> {
    let text = made::read(format!("/proc/{pid}/cgroup")).ok()?;
    let path = text.lines().find_map(|l| l.split_once(":freezer:").map(|(_, path)| path))?;
    let folder = Path::new("/sys/fs/cgroup/freezer").join(path.trim_start_matches('/'));
    // The nearest folder that was frozen itself: those below are frozen with it.
    let own = |f: &&Path| made::read(f.join("freezer.self_freezing")).is_ok_and(|t| t.trim() == "1");
    folder.ancestors().find(own).map(Path::to_owned)
}
