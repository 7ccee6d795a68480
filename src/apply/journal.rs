//! The journal of a boot: a line before and one after each step that outlives a crash.
//!
//! It lies in the run-time folder and is not synced: what it tells how to undo is gone after a power
//! failure as well. It has to survive the death of our own processes only.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::plan::net::link::Remains;
use crate::plan::step::Inverse;

use super::{fault, trust};

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

    /// Returns where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the ways back of all steps that have begun, first one first, and forgets them.
    pub fn take_started(&mut self) -> Vec<Inverse> {
        std::mem::take(&mut self.started)
    }
}

/// Returns the ways back of the steps that a journal tells of, first one first; none when there is no journal.
pub fn started(path: &Path) -> Option<Vec<Inverse>> {
    let text = trust::read(path, LIMIT)?;
    let inverse = |line| match line {
        Line::Started { inverse, .. } => Some(inverse),
        Line::Done { .. } => None,
    };
    Some(read(&text).into_iter().filter_map(inverse).collect())
}

/// Returns the links that a journal tells of.
pub fn links(path: &Path) -> Vec<Remains> {
    let link = |inverse| match inverse {
        Inverse::RemoveLink(remains) => Some(*remains),
        _ => None,
    };
    started(path).unwrap_or_default().into_iter().filter_map(link).collect()
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
