//! Why a zone does not come up: errors of the steps, of process 1, and of the start as a whole.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::fsck::FsckError;
use super::shared::Unmappable;
use super::waypoint::Misled;
use crate::apply::claim::ClaimError;
use crate::apply::confine::because;
use crate::apply::dataset::withdraw::WithdrawError;
use crate::apply::net::NetworkError;
use crate::apply::zfs::chain;
use crate::plan::options::NoId;
use crate::plan::zfs::CurrentMount;
use crate::spec::shown::Show;
use crate::sys::mount::FsError;
use crate::sys::path::reason;
use crate::zfs::{AttachError, DetachError, OpenError};

/// A step that failed: which, and why.
#[derive(Debug, Error)]
#[error("{what}: {cause}")]
pub struct StepError {
    /// The object, as the user knows it: `fs /data`, `inherit-pkg-dir /usr`, `root`.
    pub what: String,
    /// The reason.
    #[source]
    pub cause: Box<Cause>,
}

impl StepError {
    /// Makes the error of an object.
    pub fn new(what: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self { what: what.into(), cause: Box::new(cause.into()) }
    }

    /// Adds the remedy, the consequence, or the part that could not be undone.
    #[must_use]
    pub fn with_note(self, note: impl Into<Cow<'static, str>>) -> Self {
        let cause = Cause::Noted { cause: self.cause, note: note.into() };
        Self::new(self.what, cause)
    }
}

/// Returns the error of a call of the system for an object.
pub(super) fn fail(
    what: impl Into<String>,
    action: impl Into<Cow<'static, str>>,
    error: impl Into<io::Error>,
) -> StepError {
    StepError::new(what, Cause::System { action: action.into(), source: error.into() })
}

/// Why a step of the supervisor's failed.
#[derive(Debug, Error)]
pub enum Cause {
    /// A call of the system failed.
    #[error("{action}: {}", reason(.source))]
    System {
        /// The action that failed.
        action: Cow<'static, str>,
        /// The reason.
        source: io::Error,
    },
    /// The plan lacks a step before this one.
    #[error("the plan {0}")]
    Plan(&'static str),
    /// A file system cannot be made.
    #[error("{action}: {source}")]
    Mount {
        /// The action that failed.
        action: Cow<'static, str>,
        /// The kernel's reason, with its own words.
        source: FsError,
    },
    /// The kernel has no file system of this type.
    #[error("this kernel has no file system '{fstype}'")]
    NoFileSystem {
        /// The type.
        fstype: String,
        /// The kernel's reason.
        source: FsError,
    },
    /// The kernel has no ZFS.
    #[error("the ZFS module is not loaded")]
    NoZfs(#[source] FsError),
    /// The release of ZFS is older than mounts with mapped ids.
    #[error("this ZFS cannot map ids; install OpenZFS 2.2 or newer")]
    NoIdMapping(#[source] Box<Self>),
    /// A directory of the host lies on a file system that cannot map ids.
    #[error(transparent)]
    Unmappable(#[from] Unmappable),
    /// A mount point of the zone cannot be used.
    #[error(transparent)]
    MountPoint(#[from] MountPointError),
    /// The check of a file system says that it is not whole, or cannot run.
    #[error(transparent)]
    Check(#[from] FsckError),
    /// An option names an id that the zone does not have.
    #[error(transparent)]
    NoId(#[from] NoId),
    /// An image file was replaced since the plan was made.
    #[error("{image} is not an image file any more")]
    NotAnImage {
        /// Its path.
        image: String,
    },
    /// A dataset has been mounted since the plan was made.
    #[error("zfs '{dataset}' is already mounted {holder}")]
    Mounted {
        /// The dataset.
        dataset: String,
        /// The place, and the process that has it.
        holder: CurrentMount,
    },
    /// A dataset cannot be handed over.
    #[error(transparent)]
    Withdraw(#[from] WithdrawError),
    /// ZFS cannot be asked.
    #[error(transparent)]
    Zfs(#[from] OpenError),
    /// A dataset cannot be given to the zone's user namespace.
    #[error("{}", chain(.0))]
    Attach(#[from] AttachError),
    /// A dataset cannot be taken from the zone's user namespace.
    #[error("{}", chain(.0))]
    Detach(#[from] DetachError),
    /// A dataset that is to be taken from a zone is mounted.
    #[error("{} is mounted in the zone; unmount it there first", dataset.shown())]
    InUse {
        /// The dataset, or one below it.
        dataset: String,
    },
    /// The network cannot be made.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The kernel has taken a partition of processors and made it invalid.
    #[error("the kernel gives no cpus of its own to the zone: {state}")]
    Partition {
        /// The state that the kernel reports.
        state: String,
    },
    /// A file took only part of the bytes.
    #[error("its file cannot be written whole")]
    Short,
    /// Process 1 has ended, or has reported why it cannot go on.
    #[error(transparent)]
    Process1(#[from] Process1Error),
    /// Another cause, with a note behind it.
    #[error("{cause}; {note}")]
    Noted {
        /// The reason.
        #[source]
        cause: Box<Self>,
        /// The note: a way out, a meaning, or a step that could not be undone.
        note: Cow<'static, str>,
    },
}

/// Why a mount point in the zone cannot be used.
#[derive(Debug, Error)]
pub enum MountPointError {
    /// A link is on the way; where it leads to is known.
    #[error("mount point {0}")]
    Misled(Misled),
    /// A link is on the way.
    #[error("mount point /{} is a symbolic link", at.shown())]
    Link {
        /// The path from the zone's root.
        at: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It cannot be opened.
    #[error("mount point /{}: {}", at.shown(), reason(.source))]
    Open {
        /// The path from the zone's root.
        at: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A directory is to be mounted on something else.
    #[error("mount point {dir} is not a directory")]
    NotADirectory {
        /// The mount point.
        dir: String,
    },
    /// A file is to be mounted on a directory.
    #[error("mount point {dir} is a directory and the source is none")]
    Directory {
        /// The mount point.
        dir: String,
    },
    /// The path has parts that are no names.
    #[error("{dir} is not a valid mount point")]
    Invalid {
        /// The mount point.
        dir: String,
    },
    /// It is missing in a directory where no file can be made.
    #[error(
        "mount point /{} does not exist, and it lies in a directory that is read-only there; make it on the host, or \
         choose another dir",
        at.shown()
    )]
    ReadOnly {
        /// The path from the zone's root.
        at: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It is missing and cannot be made.
    #[error("cannot make mount point /{}: {}", at.shown(), reason(.source))]
    Make {
        /// The path from the zone's root.
        at: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// Errors that the supervisor meets when it speaks with a zone's first process.
#[derive(Debug, Error)]
pub enum Process1Error {
    /// No message reaches it.
    #[error("process 1 has ended: {}", reason(.0))]
    Ended(#[source] io::Error),
    /// It cannot be heard.
    #[error("cannot hear process 1: {}", reason(.0))]
    Hear(#[source] io::Error),
    /// It has ended without a word.
    #[error("process 1 ended before it {0}")]
    Silent(&'static str),
    /// It has said what failed inside; only the text of its [`InsideError`] comes over the channel.
    #[error("{0}")]
    Reported(String),
}

impl Process1Error {
    /// Takes the message of process 1 in place of the expected one.
    pub(super) fn reported(text: &str) -> Self {
        Self::Reported(text.strip_prefix("error ").unwrap_or(text).to_owned())
    }
}

/// Why a zone does not come up.
#[derive(Debug, Error)]
pub enum UpError {
    /// The zone's ids are those of another zone that runs.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// A file of the run-time folder cannot be read or written.
    #[error("{action}: {}", reason(.source))]
    System {
        /// The action that failed.
        action: Cow<'static, str>,
        /// The reason.
        source: io::Error,
    },
    /// The zone's root user has no id on the host.
    #[error("the id map of the zone has no root")]
    NoRoot,
    /// A step of the plan failed.
    #[error(transparent)]
    Step(#[from] StepError),
    /// Init cannot be started.
    #[error(transparent)]
    Process1(#[from] Process1Error),
    /// Another error, after which not everything could be undone.
    #[error("{cause}{}", left.iter().map(|left| format!("; {left}")).collect::<String>())]
    NotUndone {
        /// Why the zone does not come up.
        #[source]
        cause: Box<Self>,
        /// The steps that could not be undone, each with the reason.
        left: Vec<String>,
    },
}

impl UpError {
    /// Returns a function that adds the action to an error of the system.
    pub fn of(action: impl Into<Cow<'static, str>>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { action: action.into(), source }
    }
}

/// Why the zone's first process cannot go on. Its text is sent to the supervisor.
#[derive(Debug, Error)]
pub enum InsideError {
    /// A call of the system failed.
    #[error("{action}: {}", reason(.source))]
    System {
        /// The action that failed.
        action: Cow<'static, str>,
        /// The reason.
        source: io::Error,
    },
    /// A file system of the kernel cannot be made.
    #[error("cannot mount {fstype} on /{dir}: {source}")]
    Mount {
        /// Its type.
        fstype: &'static str,
        /// The path from the zone's root.
        dir: &'static str,
        /// The kernel's reason.
        source: FsError,
    },
    /// The zone has a link where a file system of the kernel belongs.
    #[error("cannot mount {fstype}: mount point /{dir} is a symbolic link")]
    Link {
        /// Its type.
        fstype: &'static str,
        /// The path from the zone's root.
        dir: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// System calls cannot be filtered.
    #[error("cannot filter system calls: {}", because(.0))]
    Confine(#[source] io::Error),
    /// A word of init's cannot be passed on.
    #[error("'{word}' holds a zero byte")]
    ZeroByte {
        /// The word.
        word: String,
        /// The place of the byte.
        source: std::ffi::NulError,
    },
    /// The supervisor has sent no program.
    #[error("the built-in init was not handed over")]
    NoBuiltIn,
    /// Init is missing.
    #[error("could not stat {path}: {}", source.desc())]
    NoInit {
        /// Its path in the zone.
        path: String,
        /// The system's reason.
        source: nix::Error,
    },
    /// Init is no program.
    #[error("{path} is not executable")]
    NotExecutable {
        /// Its path in the zone.
        path: String,
        /// The system's reason.
        source: nix::Error,
    },
    /// Init cannot be started.
    #[error("cannot start {path}: {}", source.desc())]
    Start {
        /// Its path in the zone.
        path: String,
        /// The system's reason.
        source: nix::Error,
    },
}

impl InsideError {
    /// Returns a function that adds the action to an error of the system.
    pub(super) fn of<E: Into<io::Error>>(action: impl Into<Cow<'static, str>>) -> impl FnOnce(E) -> Self {
        move |e| Self::System { action: action.into(), source: e.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    fn refused() -> io::Error {
        io::Error::from_raw_os_error(libc::EPERM)
    }

    #[test]
    fn a_step_names_its_object_and_keeps_the_number() {
        let error = fail("fs /data", "cannot mount it", refused()).with_note("choose another dir");
        assert_eq!(
            error.to_string(),
            "fs /data: cannot mount it: Operation not permitted; choose another dir"
        );
        let mut found = error.source();
        while let Some(source) = found.filter(|s| s.downcast_ref::<io::Error>().is_none()) {
            found = source.source();
        }
        let number = found.and_then(|s| s.downcast_ref::<io::Error>()).and_then(io::Error::raw_os_error);
        assert_eq!(number, Some(libc::EPERM));
    }

    #[test]
    fn what_could_not_be_undone_is_told_after_the_reason() {
        let error = |left| UpError::NotUndone { cause: Box::new(UpError::NoRoot), left };
        assert_eq!(error(vec![]).to_string(), "the id map of the zone has no root");
        let two = error(vec!["one".into(), "two".into()]);
        assert_eq!(two.to_string(), "the id map of the zone has no root; one; two");
    }

    #[test]
    fn process_1_is_heard_without_its_prefix() {
        assert_eq!(Process1Error::reported("error cannot enter /").to_string(), "cannot enter /");
        assert_eq!(Process1Error::reported("odd").to_string(), "odd");
        let ended = Process1Error::Silent("was ready").to_string();
        assert_eq!(ended, "process 1 ended before it was ready");
    }
}
