//! The check before a mount that the `raw` property asks for.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::spec::shown::Show;

/// Runs the type's check in its automatic mode (`fsck.TYPE -p`, fsck(8)).
///
/// # Errors
/// The reason as text: the program is missing, or it found what it does not repair by itself.
#[allow(clippy::disallowed_methods)] // the only program that a boot may run, and only when asked to
pub fn check(fstype: &str, raw: &Path) -> Result<(), String> {
    let program = format!("fsck.{fstype}");
    let found =
        ["/usr/sbin", "/sbin", "/usr/bin"].iter().map(|d| Path::new(d).join(&program)).find(|p| p.exists());
    let Some(found) = found else {
        return Err(format!("raw is set, but there is no {program}; install it or clear raw"));
    };
    let run = Command::new(&found).arg("-p").arg(raw).env_clear().stdin(Stdio::null()).output();
    let output = run.map_err(|e| format!("cannot run {}: {e}", found.shown()))?;
    // fsck(8): 0 no errors, 1 errors corrected; anything else leaves the file system doubtful.
    match output.status.code() {
        Some(0 | 1) => Ok(()),
        Some(code) => Err(format!("\"{program} -p {}\" failed with exit code {code}", raw.shown())),
        None => Err(format!("\"{program} -p {}\" was killed", raw.shown())),
    }
}
