//! The run-time folder of a zone, `/run/zones/NAME`: its files, and how it is made and written.
//!
//! | file | content |
//! |---|---|
//! | [`RECORD`] | the record of the running zone (see [`mod@record`]), and [`RECORD_DRAFT`] beside it |
//! | [`SPEC`] | the spec that the zone was booted with |
//! | [`IMAGE`] | what the boot has made of it (see [`mod@image`]), and [`IMAGE_DRAFT`] beside it |
//! | [`JOURNAL`] | the journal of the boot |
//! | [`NEXT_BOOT`] | arguments of the boot that comes after a shutdown |
//! | [`DATASETS`], [`USERS`] | the datasets attached to the zone's user namespace, and that namespace, mounted |
//! | [`CONSOLE`], [`WATCHED`] | the socket of the supervisor, and the process id of the console's client |
//! | [`GUARD`] | the socket of the guard |
//!
//! The record and the other small files are kept a second time (see [`copy`]), for the case that the folder is
//! removed.

pub mod copy;
pub mod image;
pub mod record;

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::apply::init_image::INIT;
use crate::apply::paths::Root;
use crate::apply::trust;
use crate::plan::bootargs::BootArgs;
use crate::spec::ZoneName;
use crate::spec::shown::Show;

pub use record::{
    Running, StopReason, record, record_as_written, replace_record, write_record, write_record_only,
};

/// Name of the record.
pub const RECORD: &str = "running";

/// Name of a record that is being written.
pub const RECORD_DRAFT: &str = "running.new";

/// Name of the spec that the zone was booted with.
pub const SPEC: &str = "spec.toml";

/// Name of the image of the zone.
pub const IMAGE: &str = "image";

/// Name of an image that is being written, of a zone that runs.
pub const IMAGE_DRAFT: &str = "image.new";

/// Name of the journal of the boot.
pub const JOURNAL: &str = "journal";

/// File that holds the arguments of the boot after a shutdown.
pub const NEXT_BOOT: &str = "next-boot";

/// Name of the list of attached datasets.
pub const DATASETS: &str = "datasets";

/// Name of a list of datasets that is being written.
pub const DATASETS_DRAFT: &str = "datasets.new";

/// Name of the pinned user namespace.
pub const USERS: &str = "userns";

/// Name of the supervisor's socket.
pub const CONSOLE: &str = "console.sock";

/// Name of the file that holds the process id of the console's client, while there is one.
pub const WATCHED: &str = "watched";

/// Name of the guard's socket.
pub const GUARD: &str = "guard.sock";

/// Makes the run-time folder of a zone. Everybody may look at the record in it, so that `list` says the
/// same to all; the socket is closed to others.
///
/// # Errors
/// The system's error.
pub fn make_run_dir(root: &Root, dir: &Path) -> io::Result<()> {
    if !root.run_dir().is_dir() {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(root.run_dir())?;
    }
    match fs::DirBuilder::new().mode(0o711).create(dir) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        other => return other,
    }
    // Files here are believed when they are read, and writes follow links.
    for dir in [&root.run_dir(), dir] {
        let meta = fs::symlink_metadata(dir)?;
        if !meta.is_dir() || !trust::is_trusted(&meta, 0o022) {
            let text = format!("{} is not a directory that only root can write to", dir.shown());
            return Err(io::Error::other(text));
        }
    }
    Ok(())
}

/// Stores the built-in init once for all zones and returns its path.
///
/// # Errors
/// The system's error.
pub fn init_file(root: &Root) -> io::Result<PathBuf> {
    let path = root.run_dir().join(".init");
    let whole = fs::symlink_metadata(&path).is_ok_and(|m| m.is_file() && m.len() == INIT.len() as u64);
    // Equal length does not mean equal content, and comparing these few kilobytes is cheap.
    if whole && fs::read(&path).is_ok_and(|bytes| bytes == INIT) {
        return Ok(path);
    }
    let beside = root.run_dir().join(format!(".init.{}", std::process::id()));
    fs::write(&beside, INIT)?;
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o755))?;
    fs::rename(&beside, &path)?;
    Ok(path)
}

/// Keeps the arguments of a boot that the supervisor makes when the zone has ended, where they are given.
///
/// # Errors
/// The system's error.
pub fn keep_args(root: &Root, name: &ZoneName, args: Option<&BootArgs>) -> io::Result<()> {
    let path = root.zone_run(name).join(NEXT_BOOT);
    match args.filter(|args| **args != BootArgs::default()) {
        Some(args) => replace_record(&path, &args.to_text()),
        None => match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        },
    }
}

/// Returns the arguments that were kept, none when there are none.
pub fn kept_args(root: &Root, name: &ZoneName) -> Option<BootArgs> {
    let text = fs::read_to_string(root.zone_run(name).join(NEXT_BOOT)).ok()?;
    Some(BootArgs::from_text(&text))
}
