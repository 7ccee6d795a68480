//! The journal of a boot: a line before and one after each step that outlives a crash.
//!
//! It lies in the run-time folder and is not synced: what it tells how to undo is gone after a power
//! failure as well. It has to survive the death of our own processes only.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::apply::dataset;
use crate::plan::net::link::Remains;
use crate::plan::step::Inverse;
use crate::spec::shown::Show;

use super::{fault, running, trust};

/// Longest journal that is read.
const LIMIT: u64 = 1 << 20;

/// One line of a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case", deny_unknown_fields)]
pub enum Line {
    /// A step begins; this is how it is undone.
    Started {
        /// Number of the step in its plan.
        step: usize,
        /// The way back.
        inverse: Inverse,
    },
    /// A step is done.
    Done {
        /// Number of the step.
        step: usize,
    },
}

/// Reads the lines of a journal. What a crash has cut off at the end is passed over, and so is a
/// line that cannot be understood: undoing the others is better than undoing nothing.
pub fn read(text: &str) -> Vec<Line> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// A journal that is being written.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    started: Vec<Inverse>,
}

impl Journal {
    /// Begins a journal.
    ///
    /// # Errors
    /// The system's error.
    pub fn begin(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
        Ok(Self { path: path.to_owned(), file, started: Vec::new() })
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        self.file.write_all(text.as_bytes())
    }

    /// Notes that a step begins.
    ///
    /// # Errors
    /// The system's error.
    pub fn started(&mut self, step: usize, inverse: &Inverse) -> io::Result<()> {
        self.started.push(inverse.clone());
        self.line(&Line::Started { step, inverse: inverse.clone() })?;
        fault::at(&step.to_string());
        Ok(())
    }

    /// Notes that a step is done.
    ///
    /// # Errors
    /// The system's error.
    pub fn done(&mut self, step: usize) -> io::Result<()> {
        self.line(&Line::Done { step })
    }

    /// Undoes every step in reverse. The namespaces must have ended already.
    pub fn undo_all(&mut self) -> Vec<String> {
        let errors = undo(&zone_of(&self.path), &std::mem::take(&mut self.started));
        let _ = fs::remove_file(&self.path);
        errors
    }
}

/// Undoes what a journal tells, last step first; goes on after failures and returns them.
pub fn undo(zone: &str, steps: &[Inverse]) -> Vec<String> {
    let mut errors = Vec::new();
    for inverse in steps.iter().rev() {
        match inverse {
            // The first process ends with the channel to its supervisor, and the namespaces with it.
            Inverse::WithNamespaces | Inverse::KillInit | Inverse::Stays => {}
            Inverse::Release(run) => errors.extend(dataset::registry::release(run)),
            Inverse::RemoveLink(remains) => errors.extend(super::net::remove(remains)),
            Inverse::RemoveCgroup(path) => {
                if let Err(e) = running::remove_cgroup(zone, path) {
                    errors.push(format!("cannot remove cgroup {}: {e}", path.shown()));
                }
            }
        }
    }
    errors
}

/// Undoes what a crashed boot has left.
pub fn recover(path: &Path) -> Vec<String> {
    let Some(text) = trust::read(path, LIMIT) else { return Vec::new() };
    let steps: Vec<Inverse> = read(&text)
        .into_iter()
        .filter_map(|line| match line {
            Line::Started { inverse, .. } => Some(inverse),
            Line::Done { .. } => None,
        })
        .collect();
    let errors = undo(&zone_of(path), &steps);
    let _ = fs::remove_file(path);
    errors
}

/// Returns the links that a journal tells of.
pub fn links(path: &Path) -> Vec<Remains> {
    let lines = trust::read(path, LIMIT).map(|text| read(&text)).unwrap_or_default();
    let link = |line| match line {
        Line::Started { inverse: Inverse::RemoveLink(remains), .. } => Some(*remains),
        _ => None,
    };
    lines.into_iter().filter_map(link).collect()
}

/// Returns the zone that a journal is of: its folder has the zone's name.
fn zone_of(path: &Path) -> String {
    let folder = path.parent().and_then(Path::file_name);
    folder.map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_line_is_passed_over() {
        let whole =
            Line::Started { step: 0, inverse: Inverse::RemoveCgroup("/sys/fs/cgroup/zones/z".into()) };
        let text = serde_json::to_string(&whole).expect("lines can be written");
        let both = format!("{text}\n{}", &text[..text.len() / 2]);
        assert_eq!(read(&both), [whole]);
        assert_eq!(read("\0\u{fffd}\n{}\n"), []);
    }
}
