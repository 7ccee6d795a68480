//! Undoes what a boot has done, by what its journal tells.

use std::fs;
use std::path::Path;

use crate::apply::journal::{self, Journal};
use crate::apply::{dataset, net, running};
use crate::plan::step::Inverse;
use crate::spec::shown::Show;

/// Undoes every step of a boot in reverse. The namespaces must have ended already.
pub fn undo_all(journal: &mut Journal) -> Vec<String> {
    let errors = undo(&zone_of(journal.path()), &journal.take_started());
    let _ = fs::remove_file(journal.path());
    errors
}

/// Undoes what a crashed boot has left.
pub fn recover(path: &Path) -> Vec<String> {
    let Some(steps) = journal::started(path) else { return Vec::new() };
    let errors = undo(&zone_of(path), &steps);
    let _ = fs::remove_file(path);
    errors
}

/// Undoes what a journal tells, last step first; goes on after failures and returns them.
fn undo(zone: &str, steps: &[Inverse]) -> Vec<String> {
    let mut errors = Vec::new();
    for inverse in steps.iter().rev() {
        log::debug!("undo: {inverse:?}");
        match inverse {
            // The first process ends with the channel to its supervisor, and the namespaces with it.
            Inverse::WithNamespaces | Inverse::KillInit | Inverse::Stays => {}
            Inverse::Release(run) => errors.extend(dataset::registry::release(run)),
            Inverse::RemoveLink(remains) => errors.extend(net::remove(remains)),
            Inverse::RemoveCgroup(path) => {
                if let Err(e) = running::remove_cgroup(zone, path) {
                    errors.push(format!("cannot remove cgroup {}: {e}", path.shown()));
                }
            }
        }
    }
    errors
}

/// Returns the zone that a journal is of: its folder has the zone's name.
fn zone_of(path: &Path) -> String {
    let folder = path.parent().and_then(Path::file_name);
    folder.map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
