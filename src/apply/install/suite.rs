//! `install -s`: a distribution's own installer fills the root.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::InstallError;
use crate::apply::Op;
use crate::apply::etc::keys::in_path;
use crate::plan::install::Suite;
use crate::spec::shown::Show;
use crate::sys::path::{At, Dir, IN_ROOT, reason};
use crate::sys::tree::{CopyFilter, measure};

/// Installers in the order of preference.
const TOOLS: [&str; 2] = ["mmdebstrap", "debootstrap"];

/// Output of the installer, in the zone's folder.
const LOG: &str = "install.log";

/// Lines of the output that an error shows.
const TAIL: usize = 8;

/// The interval between checks on the installer.
const LOOK: Duration = Duration::from_millis(250);

/// How many of these looks lie between two at the size of the tree, which all its files are counted for.
const LOOKS: u32 = 8;

/// Longest line of the output that the bar shows, in bytes.
const LINE: u64 = 400;

/// Reads `SUITE[+PACKAGE...]` and the values of `-x`, and finds an installer.
///
/// # Errors
/// The message of an error, or the package to install.
pub(super) fn read(text: &str, options: &[String]) -> Result<Suite, String> {
    let (suite, packages) = text.split_once('+').unwrap_or((text, ""));
    let good = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    if !suite.starts_with(|c: char| c.is_ascii_alphanumeric()) || !suite.bytes().all(good) {
        return Err("a suite has a name like 'bookworm'".to_owned());
    }
    let packages = packages_of(packages)?;
    let (mut mirror, mut components, mut keyring) = (None, None, None);
    for option in options {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let plain = !value.is_empty() && !value.starts_with('-') && !value.contains(char::is_control);
        if !plain {
            return Err(format!("-x {name}: '{}' is no value for it", value.shown()));
        }
        match name {
            "mirror" => mirror = Some(value.to_owned()),
            "components" => components = Some(value.replace(' ', ",")),
            _ => {
                let wrong = |e: std::io::Error| format!("-x {}: {}", option.shown(), reason(&e));
                keyring = Some(std::fs::canonicalize(value).map_err(wrong)?);
            }
        }
    }
    let tool = TOOLS.iter().find_map(|t| in_path(t)).ok_or_else(|| {
        "neither mmdebstrap nor debootstrap is installed; install the package mmdebstrap".to_owned()
    })?;
    Ok(Suite { suite: suite.to_owned(), packages, mirror, components, keyring, tool })
}

/// Reads a list of packages: after '+', or after ',' where the name of one holds a '+' before a letter or digit.
fn packages_of(text: &str) -> Result<Vec<String>, String> {
    let mut list: Vec<String> = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        if text.contains(',') {
            list.push(part.to_owned());
            continue;
        }
        for word in part.split('+') {
            match list.last_mut() {
                // The end of a name such as g++.
                Some(last) if word.is_empty() => last.push('+'),
                _ => list.push(word.to_owned()),
            }
        }
    }
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
    match list.iter().find(|p| !p.starts_with(|c: char| c.is_ascii_alphanumeric()) || !p.bytes().all(good)) {
        Some(wrong) => Err(format!("'{}' is not the name of a package", wrong.shown())),
        None => Ok(list),
    }
}

/// Runs the installer on a root.
#[allow(clippy::disallowed_methods)] // the installer of another system is a program
pub(super) fn populate(op: &mut Op<'_>, root: &Dir, wanted: &Suite) -> Result<(), InstallError> {
    let (suite, tool) = (&wanted.suite, &wanted.tool);
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
    // Its mounts in the root stay in a mount namespace of its own, and vanish with it when it is killed.
    let mut command = match in_path("unshare") {
        Some(unshare) => {
            let mut command = Command::new(unshare);
            command.args(["--mount", "--propagation", "private", "--"]).arg(tool);
            command
        }
        None => Command::new(tool),
    };
    command.args(wanted.arguments(&root.path().to_string_lossy())).stdin(Stdio::null());
    command.stdout(output.try_clone().at("open", &log)?).stderr(output.try_clone().at("open", &log)?);
    let mut child = command.spawn().at("run", tool)?;
    let status = watch(op, root, suite, &mut child, &log).at("wait for", tool)?;
    // The end of the bar.
    op.out.progress(1, 1, &format!("installing {suite}"));
    if status.success() {
        return Ok(());
    }
    let why = format!("{status}; the end of {}:{}", log.shown(), tail(&mut output));
    Err(InstallError::Source { what: "installer", path: tool.to_owned(), why })
}

/// Waits for the installer and shows its progress: the last line of its output, and the size of the tree.
fn watch(
    op: &mut Op<'_>,
    root: &Dir,
    suite: &str,
    child: &mut Child,
    log: &Path,
) -> std::io::Result<ExitStatus> {
    let mut bytes = 0;
    for look in 0u32.. {
        // Files come and go meanwhile: the next check may read one that this check cannot.
        if look % LOOKS == LOOKS - 1
            && let Ok(sum) = measure(root, &CopyFilter::new())
        {
            bytes = sum.bytes;
        }
        let line = last_line(log).map(|line| format!(": {line}")).unwrap_or_default();
        op.out.progress(bytes, 0, &format!("installing {suite}{line}"));
        std::thread::sleep(if look == 0 { LOOK / 10 } else { LOOK });
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
    }
    child.wait()
}

/// Returns the last line of a log, without control characters.
fn last_line(log: &Path) -> Option<String> {
    let mut file = File::open(log).ok()?;
    let start = file.metadata().ok()?.len().saturating_sub(LINE);
    file.seek(SeekFrom::Start(start)).ok()?;
    let mut text = Vec::new();
    file.take(LINE).read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text);
    let line = text.split(['\n', '\r']).map(str::trim).rfind(|line| !line.is_empty())?;
    Some(line.shown().to_string())
}

/// Says whether nothing of a system is in a root yet: the installer has failed before it unpacked a program.
pub(super) fn is_bare(root: &Dir) -> bool {
    ["usr/bin", "bin", "sbin", "usr/sbin"].iter().all(|name| match root.dir(name, IN_ROOT) {
        Ok(dir) => dir.entries().is_ok_and(|entries| entries.is_empty()),
        Err(e) => e.is_not_found(),
    })
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

#[cfg(test)]
mod tests {
    use super::packages_of;

    #[test]
    fn packages_are_a_list() {
        let list = |text: &str| packages_of(text).map(|list| list.join(" "));
        assert_eq!(list("").as_deref(), Ok(""));
        assert_eq!(list("openssh-server+rsync").as_deref(), Ok("openssh-server rsync"));
        assert_eq!(list("g+++make").as_deref(), Ok("g++ make"));
        assert_eq!(list("libstdc++6,gcc").as_deref(), Ok("libstdc++6 gcc"));
        assert!(list("-o,x").is_err() && list("a b").is_err() && list("a;b").is_err());
    }
}
