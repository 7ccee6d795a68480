//! The journal of an operation that changes what is on disk of a zone.
//!
//! One line of JSON with the plan, then one before and one after each step. Before a step begins,
//! everything up to its own line is on disk. It exists only while an operation is unfinished: whoever finds one knows
//! what was going on and how far it came.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::InstallError;
use crate::apply::fault;
use crate::plan::install::InstallPlan;
use crate::sys::path::{At, PathError};

/// Name of the file below the zone's folder.
pub const JOURNAL: &str = "journal";

/// Version of the format. Old journals must be readable for ever.
const FORMAT: u32 = 1;

/// Longest journal that is read.
const LIMIT: u64 = 4 << 20;

/// What happened to a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It is about to be carried out.
    Started,
    /// It is complete.
    Done,
    /// Its inverse is about to be carried out.
    UndoStarted,
    /// Its inverse is complete.
    Undone,
    /// Its inverse failed.
    UndoFailed,
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    format: u32,
    plan: InstallPlan,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    step: usize,
    phase: Phase,
}

/// An open journal.
///
/// A removal goes on without one where there is no room: it is finished by the next removal, which looks at
/// what is there. What is taken back of another operation is noted where there is room.
#[derive(Debug)]
pub(super) struct Journal {
    /// None once there was no room for the journal of a removal.
    file: Option<File>,
    only_removes: bool,
    path: PathBuf,
    /// Lines that the next sync takes along: that a step is done matters only when another begins.
    pending: String,
}

impl Journal {
    /// Begins a journal in the zone's folder; one left by an earlier operation is replaced, once the new
    /// one has its plan.
    pub(super) fn begin(folder: &Path, plan: &InstallPlan) -> Result<Self, InstallError> {
        let path = folder.join(JOURNAL);
        let head = line(&Head { format: FORMAT, plan: plan.clone() }).at("write", &path)?;
        let only_removes = plan.only_removes();
        let file = match create(folder, &path, &head) {
            Ok(file) => Some(file),
            Err(e) if only_removes && e.is_full() => None,
            Err(e) => return Err(e.into()),
        };
        Ok(Self { file, only_removes, path, pending: String::new() })
    }

    /// Notes a phase of a step.
    pub(super) fn note(&mut self, step: usize, phase: Phase) -> Result<(), InstallError> {
        self.put(&Line { step, phase })?;
        match phase {
            Phase::Started => self.sync()?,
            Phase::UndoStarted => match self.sync() {
                Err(e) if e.is_full() => {}
                other => other?,
            },
            Phase::Done | Phase::Undone | Phase::UndoFailed => {}
        }
        fault::next();
        Ok(())
    }

    fn put(&mut self, line: &impl Serialize) -> Result<(), InstallError> {
        self.pending.push_str(&self::line(line).at("write", &self.path)?);
        Ok(())
    }

    /// Brings everything noted to disk.
    pub(super) fn sync(&mut self) -> Result<(), InstallError> {
        let Some(file) = &mut self.file else {
            self.pending.clear();
            return Ok(());
        };
        let done = file.write_all(self.pending.as_bytes()).at("write", &self.path);
        let done = done.and_then(|()| file.sync_data().at("sync", &self.path));
        self.pending.clear();
        match done {
            Err(e) if self.only_removes && e.is_full() => {
                // Each line of the file is true by itself, so a reader may find it unfinished.
                self.file = None;
                Ok(())
            }
            other => Ok(other?),
        }
    }

    /// Removes the journal: the operation is complete.
    pub(super) fn finish(self) -> Result<(), InstallError> {
        self.path.parent().map_or(Ok(()), discard)
    }
}

/// Returns a line of a journal.
fn line(value: &impl Serialize) -> io::Result<String> {
    Ok(serde_json::to_string(value).map_err(io::Error::other)? + "\n")
}

/// Makes a new journal in a zone's folder, in the place of one that is there.
fn create(folder: &Path, path: &Path, head: &str) -> Result<File, PathError> {
    std::fs::create_dir_all(folder).at("create", folder)?;
    let draft = path.with_extension("new");
    let write = || {
        let mut file = File::create(&draft).at("create", path)?;
        file.write_all(head.as_bytes()).at("write", path)?;
        file.sync_data().at("sync", path)?;
        std::fs::rename(&draft, path).at("create", path)?;
        File::open(folder).and_then(|f| f.sync_all()).at("sync", folder)?;
        Ok(file)
    };
    write().inspect_err(|_| drop(std::fs::remove_file(&draft)))
}

/// Removes the journal of an operation that is settled.
pub(super) fn discard(folder: &Path) -> Result<(), InstallError> {
    let path = folder.join(JOURNAL);
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e).at("remove", &path)?,
        _ => {}
    }
    sync_folder(folder)
}

fn sync_folder(folder: &Path) -> Result<(), InstallError> {
    Ok(File::open(folder).and_then(|f| f.sync_all()).at("sync", folder)?)
}

/// What an unfinished operation has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Its plan.
    pub plan: InstallPlan,
    /// The last step that was begun, counting from 0, and what is known of it.
    pub last: Option<(usize, Phase)>,
}

/// Reads the journal of an unfinished operation; none when there is none, or not even its first line.
///
/// # Errors
/// [`InstallError`] when the file cannot be read.
pub fn unfinished(folder: &Path) -> Result<Option<Unfinished>, InstallError> {
    let path = folder.join(JOURNAL);
    let file = match File::open(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.at("open", &path)?,
    };
    let mut text = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, LIMIT), &mut text).at("read", &path)?;
    Ok(parse(&text))
}

/// Reads what is complete of a journal: the last line may have been cut by a crash.
pub fn parse(text: &[u8]) -> Option<Unfinished> {
    let mut lines = text.split(|b| *b == b'\n');
    let head: Head = serde_json::from_slice(lines.next()?).ok()?;
    let known = head.format == FORMAT;
    let last = lines
        .map_while(|l| serde_json::from_slice::<Line>(l).ok())
        .last()
        .map(|Line { step, phase }| (step, phase));
    known.then_some(Unfinished { plan: head.plan, last })
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
        drop(Journal::begin(&folder, &plan).expect("begin"));
        let mut journal = Journal::begin(&folder, &plan).expect("begin again");
        assert_eq!(unfinished(&folder).expect("read").expect("some").last, None);
        journal.note(0, Phase::Started).expect("note");
        let found = unfinished(&folder).expect("read").expect("some");
        assert_eq!((found.plan, found.last), (plan, Some((0, Phase::Started))));
        journal.finish().expect("finish");
        assert_eq!(unfinished(&folder).expect("none"), None);
    }
}
