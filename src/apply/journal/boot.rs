//! The journal of a boot, in the run-time folder. The steps of its plan are the ways back.
//!
//! Journals of an early 0.1.0, which had no plan in front, are read as well:
//!
//! ```text
//! {"line":"started","step":0,"inverse":{"remove_cgroup":"/sys/fs/cgroup/zones/zion"}}
//! {"line":"done","step":0}
//! ```

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::steps::Notes;
use super::{Durability, Journal, Line, Phase, lines, plan};
use crate::apply::trust;
use crate::plan::net::link::Remains;
use crate::plan::step::{BootStep, Inverse};
use crate::spec::ZoneName;
use crate::sys::path::PathError;

/// Longest journal that is read.
const LIMIT: u64 = 1 << 20;

/// The part of a boot's plan that is in the journal.
#[derive(Serialize)]
struct Noted<'a> {
    zone: &'a ZoneName,
    operation: &'static str,
    steps: &'a [Inverse],
}

/// The same when it is read: a way back that is not understood hides none of the others.
#[derive(Deserialize)]
struct LoadedJournal {
    steps: Vec<Value>,
}

/// A line of an early 0.1.0.
#[derive(Deserialize)]
#[serde(tag = "line", rename_all = "snake_case", deny_unknown_fields)]
enum Early {
    Started { step: usize, inverse: Inverse },
    Done {},
}

/// The journal of a boot that is being carried out.
#[derive(Debug)]
pub struct BootJournal {
    journal: Journal,
    steps: Vec<Inverse>,
    started: Vec<usize>,
}

impl BootJournal {
    /// Begins a journal.
    ///
    /// # Errors
    /// [`PathError`]: it cannot be written.
    pub fn begin(path: &Path, zone: &ZoneName, steps: &[BootStep]) -> Result<Self, PathError> {
        let steps: Vec<Inverse> = steps.iter().map(BootStep::inverse).collect();
        let noted = Noted { zone, operation: "boot", steps: &steps };
        let journal = Journal::begin(path, Durability::Unsynced, &noted)?;
        Ok(Self { journal, steps, started: Vec::new() })
    }

    /// Returns the inverses of all steps that have begun, first one first, and the journal in which the undone ones
    /// are noted.
    pub fn pending(&mut self) -> (Vec<(usize, Inverse)>, &mut Journal) {
        let started = std::mem::take(&mut self.started);
        let pending = started.into_iter().filter_map(|n| Some((n, self.steps.get(n)?.clone())));
        (pending.collect(), &mut self.journal)
    }
}

impl Notes for BootJournal {
    fn note(&mut self, step: usize, phase: Phase) -> Result<(), PathError> {
        // A step counts as begun also when its line cannot be written: then it is taken back without need.
        if phase == Phase::Started {
            self.started.push(step);
        }
        self.journal.note(step, phase)
    }
}

/// Reads which steps have begun and are not undone, first one first, and their inverses. A line that a crash has cut
/// off at the end is passed over, and so is one that cannot be parsed: undoing the others is better than undoing
/// nothing.
pub fn read(text: &[u8]) -> Vec<(usize, Inverse)> {
    let Some((LoadedJournal { steps }, rest)) = plan::<LoadedJournal>(text) else { return read_early(text) };
    let mut pending = Vec::new();
    for line in lines(rest).flatten() {
        let inverse = || Inverse::deserialize(steps.get(line.step)?).ok();
        match line.phase {
            Phase::Started => pending.extend(inverse().map(|inverse| (line.step, inverse))),
            phase => forget_undone(&mut pending, line.step, phase),
        }
    }
    pending
}

fn read_early(text: &[u8]) -> Vec<(usize, Inverse)> {
    let mut pending = Vec::new();
    for line in text.split(|b| *b == b'\n') {
        if let Ok(Early::Started { step, inverse }) = serde_json::from_slice(line) {
            pending.push((step, inverse));
        } else if let Ok(Line { step, phase }) = serde_json::from_slice(line) {
            // A later release wrote this line, and was interrupted while it took the zone down.
            forget_undone(&mut pending, step, phase);
        }
    }
    pending
}

fn forget_undone(pending: &mut Vec<(usize, Inverse)>, step: usize, phase: Phase) {
    if phase == Phase::Undone {
        pending.retain(|(number, _)| *number != step);
    }
}

/// Returns what [`read`] does of the journal of a zone; none when there is no journal.
pub fn pending(path: &Path) -> Option<Vec<(usize, Inverse)>> {
    Some(read(&trust::read_bytes(path, LIMIT)?))
}

/// Returns the links in a journal.
pub fn links(path: &Path) -> Vec<Remains> {
    let link = |(_, inverse)| match inverse {
        Inverse::RemoveLink(remains) => Some(*remains),
        _ => None,
    };
    pending(path).unwrap_or_default().into_iter().filter_map(link).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::step::{DatasetStep, LimitStep, MountStep};

    const CGROUP: &str = "/sys/fs/cgroup/zones/zion";

    /// A journal of the programs of 0.1.0 before it had a plan: of a zone with an address of the host's network.
    const EARLY: &str = include_str!("early-boot.jsonl");

    fn steps() -> Vec<BootStep> {
        vec![
            LimitStep::Cgroup { path: CGROUP.into(), guarded: false }.into(),
            MountStep::Sys.into(),
            DatasetStep::Pin { run: "/run/zones/zion".into() }.into(),
        ]
    }

    fn begun(folder: &Path) -> BootJournal {
        let zone = ZoneName::new("zion").expect("a name");
        let mut journal = BootJournal::begin(&folder.join("journal"), &zone, &steps()).expect("begun");
        for step in 0..3 {
            journal.note(step, Phase::Started).expect("noted");
        }
        journal.note(0, Phase::Done).expect("noted");
        journal
    }

    fn numbers(text: &[u8]) -> Vec<usize> {
        read(text).into_iter().map(|(step, _)| step).collect()
    }

    #[test]
    fn what_has_begun_and_is_not_undone_is_read_back() {
        let temp = tempfile::tempdir().expect("a folder");
        let path = temp.path().join("journal");
        let mut journal = begun(temp.path());
        let all: Vec<_> = steps().iter().map(BootStep::inverse).enumerate().collect();
        assert_eq!(pending(&path), Some(all.clone()));
        let (list, notes) = journal.pending();
        assert_eq!(list, all);
        notes.note(2, Phase::Undone).expect("noted");
        notes.note(0, Phase::UndoFailed).expect("noted");
        drop(journal);
        assert_eq!(numbers(&std::fs::read(&path).expect("a journal")), [0, 1]);
        let mut again = Journal::go_on(&path, Durability::Unsynced).expect("open");
        again.note(1, Phase::Undone).expect("noted");
        assert_eq!(numbers(&std::fs::read(&path).expect("a journal")), [0]);
    }

    #[test]
    fn what_is_cut_or_not_understood_hides_nothing_else() {
        let temp = tempfile::tempdir().expect("a folder");
        drop(begun(temp.path()));
        let text = std::fs::read_to_string(temp.path().join("journal")).expect("a journal");
        let cut = text.rfind("{\"step\":2").expect("the last step") + 12;
        assert_eq!(numbers(&text.as_bytes()[..cut]), [0, 1]);
        // A way back that only a later release knows, and a line of it.
        let later = text.replace("\"with_namespaces\"", "{\"unmount\":\"/data\"}")
            + "{\"step\":1,\"phase\":\"moved\"}\n";
        assert_ne!(later, text);
        assert_eq!(numbers(later.as_bytes()), [0, 2]);
        for bad in [&b""[..], b"\0\xff\n{}\n", b"{\"format\":2,\"plan\":{\"steps\":[]}}\n"] {
            assert_eq!(read(bad), []);
        }
    }

    #[test]
    fn a_journal_of_an_early_release_is_read() {
        let found = read(EARLY.as_bytes());
        assert_eq!(found.len(), 12);
        assert!(
            matches!(&found[0], (0, Inverse::RemoveCgroup(path)) if path.ends_with("zones/zion@6b9116a2"))
        );
        let Some((11, Inverse::RemoveLink(link))) = found.last() else { panic!("{found:?}") };
        assert_eq!((link.port.as_str(), link.lower.as_str()), ("zl4qef2vitj-0", "eth0"));
        // This release goes on with it, and is ended.
        let more = EARLY.to_owned() + "{\"step\":11,\"phase\":\"undone\"}\n{\"step\":0,\"pha";
        assert_eq!(numbers(more.as_bytes()), (0..11).collect::<Vec<_>>());
    }
}
