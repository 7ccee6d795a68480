//! Undoes a boot by its journal.

use std::fs;
use std::path::Path;

use crate::apply::journal::boot::{self, BootJournal};
use crate::apply::journal::{Durability, Journal, steps};
use crate::apply::net::{self, PortRemoval};
use crate::apply::{dataset, running};
use crate::plan::step::Inverse;
use crate::spec::shown::Show;

/// Undoes every step of a boot in reverse. The namespaces must have ended already.
pub fn undo_all(journal: &mut BootJournal) -> Vec<String> {
    let (steps, notes) = journal.pending();
    let errors = undo(&zone_of(notes.path()), &steps, PortRemoval::Awaited, Some(notes));
    let _ = fs::remove_file(notes.path());
    errors
}

/// Undoes the steps of a boot that has crashed, or whose zone has ended. Steps that an interrupted command has
/// already undone are not undone a second time.
pub fn recover(path: &Path, ports: PortRemoval) -> Vec<String> {
    let Some(steps) = boot::pending(path) else { return Vec::new() };
    // The steps are undone also when the journal cannot be written to, such as on a full file system.
    let mut notes = Journal::go_on(path, Durability::Unsynced).ok();
    let errors = undo(&zone_of(path), &steps, ports, notes.as_mut());
    let _ = fs::remove_file(path);
    errors
}

/// Undoes steps, last one first, and notes each; goes on after failures and returns them.
fn undo(
    zone: &str,
    steps: &[(usize, Inverse)],
    ports: PortRemoval,
    notes: Option<&mut Journal>,
) -> Vec<String> {
    let mut errors = Vec::new();
    // Most vanish by themselves: the first process ends when the channel to its supervisor closes, and the namespaces
    // end with it.
    let by_itself =
        |way: &Inverse| matches!(way, Inverse::WithNamespaces | Inverse::KillInit | Inverse::Stays);
    let ways: Vec<_> = steps.iter().filter(|(_, way)| !by_itself(way)).cloned().collect();
    let noted = steps::take_back(notes, &ways, |way| {
        log::debug!("undo: {way:?}");
        let failed = way_back(zone, way, ports);
        let succeeded = failed.is_empty();
        errors.extend(failed);
        succeeded
    });
    errors.extend(noted.err().map(|e| e.to_string()));
    errors
}

/// Goes one way back, and returns the failures.
fn way_back(zone: &str, way: &Inverse, ports: PortRemoval) -> Vec<String> {
    match way {
        Inverse::WithNamespaces | Inverse::KillInit | Inverse::Stays => Vec::new(),
        Inverse::Release(run) => dataset::registry::release(run),
        Inverse::RemoveLink(remains) => net::remove(remains, ports),
        Inverse::RemoveCgroup(path) => {
            let done = running::remove_cgroup(zone, path);
            done.err().map(|e| format!("cannot remove cgroup {}: {e}", path.shown())).into_iter().collect()
        }
    }
}

/// Returns the zone that a journal is of: its folder has the zone's name.
fn zone_of(path: &Path) -> String {
    let folder = path.parent().and_then(Path::file_name);
    folder.map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
