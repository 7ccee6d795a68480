//! The check before a mount that the `raw` property asks for.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use thiserror::Error;

use crate::spec::shown::Show;

/// Why a file system is not mounted before it has been checked.
#[derive(Debug, Error)]
pub enum FsckError {
    /// There is no such program.
    #[error("raw is set, but there is no {program}; install it or clear raw")]
    NoProgram {
        /// Its name.
        program: String,
    },
    /// It cannot be started.
    #[error("cannot run {}: {source}", program.shown())]
    Run {
        /// Its path.
        program: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It found damage that it does not repair by itself.
    #[error("\"{program} -p {}\" failed with exit code {code}", raw.shown())]
    Failed {
        /// Its name.
        program: String,
        /// The device that was checked.
        raw: PathBuf,
        /// Its exit code, as fsck(8) explains it.
        code: i32,
    },
    /// It did not come to an end.
    #[error("\"{program} -p {}\" was killed", raw.shown())]
    Killed {
        /// Its name.
        program: String,
        /// The device that was checked.
        raw: PathBuf,
    },
}

/// Runs the type's check in its automatic mode (`fsck.TYPE -p`, fsck(8)).
///
/// # Errors
/// [`FsckError`]: the program is missing, or it found damage that it does not repair by itself.
#[allow(clippy::disallowed_methods)] // the only program that a boot may run, and only when asked to
pub fn check(fstype: &str, raw: &Path) -> Result<(), FsckError> {
    let program = format!("fsck.{fstype}");
    let found =
        ["/usr/sbin", "/sbin", "/usr/bin"].iter().map(|d| Path::new(d).join(&program)).find(|p| p.exists());
    let Some(found) = found else {
        return Err(FsckError::NoProgram { program });
    };
    let run = Command::new(&found).arg("-p").arg(raw).env_clear().stdin(Stdio::null()).output();
    let output = run.map_err(|source| FsckError::Run { program: found, source })?;
    // fsck(8): 0 no errors, 1 errors corrected; anything else leaves the file system doubtful.
    match output.status.code() {
        Some(0 | 1) => Ok(()),
        Some(code) => Err(FsckError::Failed { program, raw: raw.to_owned(), code }),
        None => Err(FsckError::Killed { program, raw: raw.to_owned() }),
    }
}
