//! Journals: the steps of an operation, and how far it has come.
//!
//! A journal is a file of lines of JSON. The first one has the number of the format and the plan, each other one the
//! number of a step of the plan and its phase. The line that a step begins is there before the step begins, and a
//! journal exists only while there is something to undo: a command that finds one knows which operation was
//! interrupted.
//!
//! ```text
//! {"format":1,"plan":{"zone":"zion","operation":"install","steps":[...]}}
//! {"step":0,"phase":"started"}
//! {"step":0,"phase":"done"}
//! ```
//!
//! | journal | where | kept | its steps are |
//! |---|---|---|---|
//! | of a boot ([`boot`]) | `/run/zones/NAME` | until the zone is taken down | the ways back |
//! | of an operation on disk (`install::journal`) | `/var/lib/zones/NAME` | until the operation is complete | those of the plan, which know their ways back |

pub mod boot;
pub mod steps;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::fault;
use crate::sys::path::{At, PathError};

/// Number of the format. Old journals must be readable for ever.
pub const FORMAT: u32 = 1;

/// The phase of a step.
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

impl Phase {
    /// Returns the first word of the fault point behind the line.
    fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Done => "done",
            Self::UndoStarted => "undo-started",
            Self::Undone => "undone",
            Self::UndoFailed => "undo-failed",
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct JournalHeader<P> {
    format: u32,
    plan: P,
}

/// One line about a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Number of the step in the plan, counting from 0.
    pub step: usize,
    /// Its phase.
    pub phase: Phase,
}

/// The events that a journal has to survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The death of our own processes: after a power failure the things to undo are gone as well.
    Unsynced,
    /// A power failure: the line that a step begins is on disk before the step begins.
    Synced,
    /// The same where there is room. A removal goes on without a journal: the next removal looks at the files that
    /// are left and finishes it.
    SyncedWhereRoom,
}

/// A journal that is being written.
#[derive(Debug)]
pub struct Journal {
    /// None once there was no room for it.
    file: Option<File>,
    kept: Durability,
    path: PathBuf,
    /// Lines that the next sync takes along: that a step is done matters only when another begins.
    pending: String,
}

impl Journal {
    /// Begins a journal in the place of an existing one: a synced one once the new one has its plan. In one that is
    /// not synced the plan is written with the first line: until then there is nothing to undo.
    ///
    /// # Errors
    /// [`PathError`]: it cannot be written.
    pub fn begin(path: &Path, kept: Durability, plan: &impl Serialize) -> Result<Self, PathError> {
        let head = line(&JournalHeader { format: FORMAT, plan }).at("write", path)?;
        let made = match kept {
            Durability::Unsynced => {
                let file = OpenOptions::new().create(true).truncate(true).write(true).open(path);
                let file = Some(file.at("create", path)?);
                return Ok(Self { file, kept, path: path.to_owned(), pending: head });
            }
            Durability::Synced | Durability::SyncedWhereRoom => create_synced(path, &head),
        };
        let file = match made {
            Ok(file) => Some(file),
            Err(e) if kept == Durability::SyncedWhereRoom && e.is_full() => None,
            Err(e) => return Err(e),
        };
        Ok(Self { file, kept, path: path.to_owned(), pending: String::new() })
    }

    /// Opens a journal that is there, to note how it is undone.
    ///
    /// # Errors
    /// [`PathError`]: it cannot be written.
    pub fn go_on(path: &Path, kept: Durability) -> Result<Self, PathError> {
        let file = OpenOptions::new().append(true).custom_flags(libc::O_NOFOLLOW).open(path);
        Ok(Self { file: Some(file.at("open", path)?), kept, path: path.to_owned(), pending: String::new() })
    }

    /// Says whether it has to survive a power failure.
    pub fn is_synced(&self) -> bool {
        self.kept != Durability::Unsynced
    }

    /// Returns where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Notes the phase of a step.
    ///
    /// # Errors
    /// [`PathError`]: there is no room, or it cannot be written.
    pub fn note(&mut self, step: usize, phase: Phase) -> Result<(), PathError> {
        self.pending.push_str(&line(&Line { step, phase }).at("write", &self.path)?);
        match phase {
            _ if self.kept == Durability::Unsynced => self.sync()?,
            Phase::Started => self.sync()?,
            // The undoing of a step is noted where there is room.
            Phase::UndoStarted => match self.sync() {
                Err(e) if e.is_full() => {}
                other => other?,
            },
            Phase::Done | Phase::Undone | Phase::UndoFailed => {}
        }
        fault::numbered(phase.as_str(), step);
        Ok(())
    }

    /// Writes everything noted, and brings it to disk.
    ///
    /// # Errors
    /// [`PathError`]: there is no room, or it cannot be written.
    pub fn sync(&mut self) -> Result<(), PathError> {
        let Some(file) = &mut self.file else {
            self.pending.clear();
            return Ok(());
        };
        let mut done = file.write_all(self.pending.as_bytes()).at("write", &self.path);
        if self.kept != Durability::Unsynced {
            done = done.and_then(|()| file.sync_data().at("sync", &self.path));
        }
        self.pending.clear();
        match done {
            Err(e) if self.kept == Durability::SyncedWhereRoom && e.is_full() => {
                // Each line of the file is true by itself, so a reader may find it unfinished.
                self.file = None;
                Ok(())
            }
            other => other,
        }
    }
}

/// Returns a line of a journal.
fn line(value: &impl Serialize) -> io::Result<String> {
    Ok(serde_json::to_string(value).map_err(io::Error::other)? + "\n")
}

/// Makes a new journal, and its folder where that is missing; an existing one stays until the new one is on disk.
fn create_synced(path: &Path, head: &str) -> Result<File, PathError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).at("create", folder)?;
    let draft = path.with_extension("new");
    let write = || {
        let mut file = File::create(&draft).at("create", path)?;
        file.write_all(head.as_bytes()).at("write", path)?;
        file.sync_data().at("sync", path)?;
        fs::rename(&draft, path).at("create", path)?;
        File::open(folder).and_then(|f| f.sync_all()).at("sync", folder)?;
        Ok(file)
    };
    write().inspect_err(|_| drop(fs::remove_file(&draft)))
}

/// Removes the synced journal of an operation that is settled.
///
/// # Errors
/// [`PathError`]: it cannot be removed.
pub fn discard(path: &Path) -> Result<(), PathError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e).at("remove", path),
        _ => {}
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    File::open(folder).and_then(|f| f.sync_all()).at("sync", folder)
}

/// Reads the plan of a journal, and returns it with the rest of the text; none for a file of no known format.
pub fn plan<P: DeserializeOwned>(text: &[u8]) -> Option<(P, &[u8])> {
    let end = text.iter().position(|b| *b == b'\n').unwrap_or(text.len());
    let head: JournalHeader<P> = serde_json::from_slice(&text[..end]).ok()?;
    (head.format == FORMAT).then_some((head.plan, text.get(end + 1..).unwrap_or_default()))
}

/// Reads the lines behind the plan; none for a line that a crash has cut, or that cannot be parsed.
pub fn lines(text: &[u8]) -> impl Iterator<Item = Option<Line>> {
    text.split(|b| *b == b'\n').map(|line| serde_json::from_slice(line).ok())
}
