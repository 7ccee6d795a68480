//! The one loop by which steps are carried out, and the one by which they are taken back: of a boot, of an install and of
//! every other operation that has a journal.
//!
//! The caller says how a step is done. Which lines are noted of it, and in which order, is decided here.

use super::{Journal, Phase};
use crate::sys::path::PathError;

/// Where the phases of steps are noted.
pub trait Notes {
    /// Notes the phase of a step.
    ///
    /// # Errors
    /// [`PathError`]: there is no room, or it cannot be written.
    fn note(&mut self, step: usize, phase: Phase) -> Result<(), PathError>;
}

impl Notes for Journal {
    fn note(&mut self, step: usize, phase: Phase) -> Result<(), PathError> {
        Self::note(self, step, phase)
    }
}

/// Why steps are not carried out to the end.
#[derive(Debug)]
pub enum Interruption<E> {
    /// The journal cannot be written. The step that was to begin has not begun; one that was to be noted as done is.
    Journal(PathError),
    /// A step has failed.
    Step {
        /// Its number in the plan, counting from 0.
        number: usize,
        /// The reason.
        error: E,
    },
}

/// Carries steps out in their order, each between two lines of the journal, up to the first that fails. Each step comes
/// with its number in the plan; `describe` gives its text for the log.
///
/// # Errors
/// [`Interruption`]. Steps that were carried out before are not taken back.
pub fn carry_out<S, E>(
    notes: &mut impl Notes,
    steps: impl IntoIterator<Item = (usize, S)>,
    describe: impl Fn(&S) -> String,
    mut deed: impl FnMut(usize, S) -> Result<(), E>,
) -> Result<(), Interruption<E>> {
    for (number, step) in steps {
        log::debug!("step {}: {}", number + 1, describe(&step));
        notes.note(number, Phase::Started).map_err(Interruption::Journal)?;
        deed(number, step).map_err(|error| Interruption::Step { number, error })?;
        notes.note(number, Phase::Done).map_err(Interruption::Journal)?;
    }
    Ok(())
}

/// Takes steps back, the last one first, by their ways back; goes on after one that fails. `deed` says whether it has
/// succeeded, and reports a failure itself.
///
/// A journal that has to survive a power failure must have the line that a way back begins; the ways back of another
/// can be gone twice, and so they are gone also where nothing can be noted, as on a full file system.
///
/// # Errors
/// [`PathError`]: such a line cannot be written. The steps before it are not taken back.
pub fn take_back<W>(
    mut journal: Option<&mut Journal>,
    ways: &[(usize, W)],
    mut deed: impl FnMut(&W) -> bool,
) -> Result<bool, PathError> {
    let mut all = true;
    for (number, way) in ways.iter().rev() {
        log::debug!("step {} is taken back", number + 1);
        let mut note = |phase| match &mut journal {
            Some(journal) if journal.is_synced() => journal.note(*number, phase),
            Some(journal) if phase != Phase::UndoStarted => {
                let _ = journal.note(*number, phase);
                Ok(())
            }
            _ => Ok(()),
        };
        note(Phase::UndoStarted)?;
        let succeeded = deed(way);
        all &= succeeded;
        note(if succeeded { Phase::Undone } else { Phase::UndoFailed })?;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::journal::{Durability, Line, lines, plan};
    use std::io;
    use std::path::Path;

    /// Notes in memory, of which the n-th cannot be written.
    struct Memory {
        written: Vec<(usize, Phase)>,
        full_at: Option<usize>,
    }

    impl Notes for Memory {
        fn note(&mut self, step: usize, phase: Phase) -> Result<(), PathError> {
            if self.full_at == Some(self.written.len()) {
                return Err(no_room());
            }
            self.written.push((step, phase));
            Ok(())
        }
    }

    fn no_room() -> PathError {
        PathError { action: "write", path: "/journal".into(), cause: io::ErrorKind::StorageFull.into() }
    }

    /// Carries out three steps, the numbers 4 to 6 of a plan, of which one may fail, and returns the deeds done, the
    /// lines, and the end.
    type Outcome = (Vec<usize>, Vec<(usize, Phase)>, Result<(), String>);
    fn three(fails: Option<usize>, full_at: Option<usize>) -> Outcome {
        let mut notes = Memory { written: Vec::new(), full_at };
        let mut done = Vec::new();
        let end = carry_out(
            &mut notes,
            (4..).zip(["a", "b", "c"]),
            |s| (*s).to_owned(),
            |number, step| {
                assert_eq!(step, ["a", "b", "c"][number - 4]);
                if fails == Some(number) {
                    return Err(format!("no {step}"));
                }
                done.push(number);
                Ok(())
            },
        );
        let end = end.map_err(|e| match e {
            Interruption::Journal(_) => "journal".to_owned(),
            Interruption::Step { number, error } => format!("{number}: {error}"),
        });
        (done, notes.written, end)
    }

    #[test]
    fn each_step_lies_between_two_lines() {
        let (done, written, end) = three(None, None);
        assert_eq!((done, end), (vec![4, 5, 6], Ok(())));
        let phases = [Phase::Started, Phase::Done];
        let all: Vec<_> = (4..7).flat_map(|n| phases.map(|phase| (n, phase))).collect();
        assert_eq!(written, all);
    }

    #[test]
    fn a_step_that_fails_is_the_last_and_has_begun() {
        for (fails, name) in (4..7).zip(["a", "b", "c"]) {
            let (done, written, end) = three(Some(fails), None);
            assert_eq!(done, (4..fails).collect::<Vec<_>>());
            assert_eq!(written.last(), Some(&(fails, Phase::Started)));
            assert_eq!(end, Err(format!("{fails}: no {name}")));
        }
    }

    #[test]
    fn no_step_begins_whose_line_is_not_written() {
        for full_at in 0..6 {
            let (done, written, end) = three(None, Some(full_at));
            assert_eq!((written.len(), end), (full_at, Err("journal".to_owned())));
            // The deed is between the lines 2n and 2n+1.
            assert_eq!(done.len(), full_at.div_ceil(2));
        }
    }

    fn journal(folder: &Path, kept: Durability) -> Journal {
        let mut journal = Journal::begin(&folder.join("journal"), kept, &"a plan").expect("begun");
        for step in 0..3 {
            journal.note(step, Phase::Started).expect("noted");
        }
        journal
    }

    fn read_back(folder: &Path) -> Vec<(usize, Phase)> {
        let text = std::fs::read(folder.join("journal")).expect("a journal");
        let (_, rest) = plan::<String>(&text).expect("a plan");
        let found = lines(rest).flatten().map(|Line { step, phase }| (step, phase));
        found.filter(|(_, phase)| *phase != Phase::Started).collect()
    }

    #[test]
    fn the_last_step_is_taken_back_first_and_a_failure_stops_none() {
        let ways = [(0, "a"), (1, "b"), (2, "c")];
        for fails in [None, Some("a"), Some("b"), Some("c")] {
            for kept in [Durability::Unsynced, Durability::Synced] {
                let temp = tempfile::tempdir().expect("a folder");
                let mut journal = journal(temp.path(), kept);
                let mut gone = Vec::new();
                let all = take_back(Some(&mut journal), &ways, |way| {
                    gone.push(*way);
                    fails != Some(*way)
                });
                assert_eq!((gone, all.expect("noted")), (vec!["c", "b", "a"], fails.is_none()));
                journal.sync().expect("written");
                let mut expected = Vec::new();
                for (number, way) in ways.iter().rev() {
                    if kept == Durability::Synced {
                        expected.push((*number, Phase::UndoStarted));
                    }
                    let end = if fails == Some(*way) { Phase::UndoFailed } else { Phase::Undone };
                    expected.push((*number, end));
                }
                assert_eq!(read_back(temp.path()), expected);
            }
        }
        // Without a journal the ways are gone all the same.
        let mut gone = 0;
        assert!(
            take_back(None, &ways, |_| {
                gone += 1;
                true
            })
            .expect("nothing to write")
        );
        assert_eq!(gone, 3);
    }
}
