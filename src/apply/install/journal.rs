//! The journal of an operation that changes a zone's files on disk, in the zone's folder. Before a step begins,
//! everything up to its own line is on disk. It exists only while an operation is unfinished.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::InstallError;
use crate::apply::journal::{self, Durability, Journal, Line};
use crate::plan::install::InstallPlan;
use crate::sys::path::At;

pub use crate::apply::journal::Phase;

/// Name of the file below the zone's folder.
pub const JOURNAL: &str = "journal";

/// Longest journal that is read.
const LIMIT: u64 = 4 << 20;

fn path(folder: &Path) -> PathBuf {
    folder.join(JOURNAL)
}

/// Begins a journal in the zone's folder; one left by an earlier operation is replaced, once the new
/// one has its plan.
pub(super) fn begin(folder: &Path, plan: &InstallPlan) -> Result<Journal, InstallError> {
    let kept = if plan.only_removes() { Durability::SyncedWhereRoom } else { Durability::Synced };
    Ok(Journal::begin(&path(folder), kept, plan)?)
}

/// Removes the journal of an operation that is settled.
pub(super) fn discard(folder: &Path) -> Result<(), InstallError> {
    Ok(journal::discard(&path(folder))?)
}

/// The remains of an unfinished operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Its plan.
    pub plan: InstallPlan,
    /// The last step that was begun, counting from 0, and its outcome if known.
    pub last: Option<(usize, Phase)>,
}

/// Reads the journal of an unfinished operation; none when there is none, or not even its first line.
///
/// # Errors
/// [`InstallError`] when the file cannot be read.
pub fn unfinished(folder: &Path) -> Result<Option<Unfinished>, InstallError> {
    let path = path(folder);
    let file = match File::open(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.at("open", &path)?,
    };
    let mut text = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, LIMIT), &mut text).at("read", &path)?;
    Ok(parse(&text))
}

/// Reads the complete lines of a journal: the last line may have been cut by a crash.
pub fn parse(text: &[u8]) -> Option<Unfinished> {
    let (plan, rest) = journal::plan(text)?;
    let last = journal::lines(rest).map_while(|line| line).last();
    Some(Unfinished { plan, last: last.map(|Line { step, phase }| (step, phase)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::install::InstallStep;
    use crate::spec::ZoneName;
    use crate::spec::state::ZoneState;

    /// As format 1 writes it. This text may never stop being readable.
    const FORMAT_1: &str = concat!(
        r#"{"format":1,"plan":{"zone":"zion","operation":"install","steps":["#,
        r#"{"step":"set-state","from":"configured","to":"incomplete"},"#,
        r#"{"step":"make-dir","path":"/zones/zion","mode":448},"#,
        r#"{"step":"make-root","path":"/zones/zion/root","storage":"directory"},"#,
        r#"{"step":"populate","root":"/zones/zion/root","source":{"sparse":{"host":"/"}}}]}}"#,
        "\n",
        r#"{"step":0,"phase":"started"}"#,
        "\n",
        r#"{"step":0,"phase":"done"}"#,
        "\n",
        r#"{"step":1,"phase":"sta"#,
    );

    #[test]
    fn format_1_is_readable_and_a_cut_line_is_no_harm() {
        let found = parse(FORMAT_1.as_bytes()).expect("journal");
        assert_eq!(found.plan.zone.as_str(), "zion");
        assert_eq!(found.plan.steps.len(), 4);
        assert_eq!(found.last, Some((0, Phase::Done)));
        assert_eq!(parse(b""), None);
        assert_eq!(parse(&FORMAT_1.as_bytes()[..100]), None);
        assert_eq!(parse(FORMAT_1.replace("\"format\":1", "\"format\":2").as_bytes()), None);
    }

    #[test]
    fn written_and_read_back() {
        let temp = tempfile::tempdir().expect("temp");
        let folder = temp.path().join("zion");
        let step = InstallStep::SetState { from: ZoneState::Configured, to: ZoneState::Incomplete };
        let plan = InstallPlan {
            zone: ZoneName::new("zion").expect("name"),
            operation: "install".into(),
            steps: vec![step],
        };
        assert_eq!(unfinished(&folder).expect("none"), None);
        drop(begin(&folder, &plan).expect("begin"));
        let mut journal = begin(&folder, &plan).expect("begin again");
        assert_eq!(unfinished(&folder).expect("read").expect("some").last, None);
        journal.note(0, Phase::Started).expect("note");
        let found = unfinished(&folder).expect("read").expect("some");
        assert_eq!((found.plan, found.last), (plan, Some((0, Phase::Started))));
        discard(&folder).expect("discarded");
        assert_eq!(unfinished(&folder).expect("none"), None);
    }
}
