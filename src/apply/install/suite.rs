//! `install -s`: a distribution's own installer fills the root.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::InstallError;
use crate::apply::Op;
use crate::spec::shown::Show;
use crate::sys::path::{At, Dir};

/// Installers in the order of preference.
const TOOLS: [&str; 2] = ["mmdebstrap", "debootstrap"];

/// Output of the installer, in the zone's folder.
const LOG: &str = "install.log";

/// Lines of the output that an error shows.
const TAIL: usize = 8;

/// Finds an installer for a suite.
///
/// # Errors
/// A text that says what is wrong, or what to install.
pub(super) fn find(suite: &str) -> Result<PathBuf, String> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    if !suite.starts_with(|c: char| c.is_ascii_alphanumeric()) || !suite.bytes().all(good) {
        return Err("a suite has a name like 'bookworm'".to_owned());
    }
    let tool = TOOLS.iter().find_map(|t| in_path(t));
    tool.ok_or_else(|| {
        "neither mmdebstrap nor debootstrap is installed; install the package mmdebstrap".to_owned()
    })
}

/// Finds a program of the host.
pub(super) fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
    let runs =
        |p: &PathBuf| std::fs::metadata(p).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    std::env::split_paths(&path).filter(|d| d.is_absolute()).map(|d| d.join(name)).find(runs)
}

/// Runs the installer on a root.
#[allow(clippy::disallowed_methods)] // the installer of another system is a program
pub(super) fn populate(op: &mut Op<'_>, root: &Dir, suite: &str, tool: &Path) -> Result<(), InstallError> {
    let log = op.store.root().zone_lib(op.name).join(LOG);
    let mut output = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&log)
        .at("create", &log)?;
    op.out.say(&format!("Installing {suite} with {}; its output goes to {}.", tool.shown(), log.shown()));
    op.out.progress(0, 0, &format!("installing {suite}"));
    // What it mounts in the root stays in a mount namespace of its own, and goes with it when it is killed.
    let mut command = match in_path("unshare") {
        Some(unshare) => {
            let mut command = Command::new(unshare);
            command.args(["--mount", "--propagation", "private", "--"]).arg(tool);
            command
        }
        None => Command::new(tool),
    };
    if tool.file_name().is_some_and(|n| n == "mmdebstrap") {
        command.args(["--mode=root", "--variant=minbase", "--format=directory"]);
    } else {
        command.arg("--variant=minbase");
    }
    command.arg(suite).arg(root.path()).stdin(Stdio::null());
    command.stdout(output.try_clone().at("open", &log)?).stderr(output.try_clone().at("open", &log)?);
    let status = command.status().at("run", tool)?;
    if status.success() {
        return Ok(());
    }
    let why = format!("{status}; the end of {}:{}", log.shown(), tail(&mut output));
    Err(InstallError::Source { what: "installer", path: tool.to_owned(), why })
}

/// Returns the last lines, each on a line of its own.
fn tail(log: &mut File) -> String {
    let mut text = Vec::new();
    let start = log.metadata().map_or(0, |m| m.len().saturating_sub(4096));
    let _ = log.seek(SeekFrom::Start(start)).and_then(|_| log.read_to_end(&mut text));
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].iter().map(|l| format!("\n  {l}")).collect()
}
