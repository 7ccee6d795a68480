//! The arguments of `zoneadm install`: where the content of the root comes from.

use std::path::{Path, PathBuf};

use lexopt::prelude::*;

use super::{InstallError, archive, image, suite};
use crate::plan::install::{InstallRequest, InstallSource};
use crate::sys::path::{At, reason};

/// Shown after a wrong argument.
const USAGE: &str = "install takes at most one of -d DIR, -a ARCHIVE, -o LAYOUT, -s SUITE[+PACKAGE...], and -x \
    nodataset; with -s also -x mirror=URL, -x components=LIST, -x keyring=FILE";

/// Reads the arguments and looks at the source that they name. Says also whether the zonepath may be a
/// ZFS file system of its own.
///
/// # Errors
/// [`InstallError::Usage`], or [`InstallError::Source`] when the source is not usable.
pub(super) fn parse(args: &[String]) -> Result<(InstallRequest, bool), InstallError> {
    let usage = |e: lexopt::Error| InstallError::Usage(format!("{e}; {USAGE}"));
    let mut given: Option<(char, String)> = None;
    let mut own_dataset = true;
    let mut wanted: Vec<String> = Vec::new();
    let args = args.iter().filter(|a| !a.is_empty());
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(arg) = parser.next().map_err(usage)? {
        let flag = match arg {
            Short(c @ ('a' | 'd' | 'o' | 's' | 'x')) => c,
            other => return Err(usage(other.unexpected())),
        };
        let value = parser.value().and_then(lexopt::ValueExt::string).map_err(usage)?;
        if flag == 'x' {
            match value.split_once('=') {
                None if value == "nodataset" => own_dataset = false,
                Some(("mirror" | "components" | "keyring", _)) => wanted.push(value),
                _ => return Err(InstallError::Usage(format!("-x {value} is not known; {USAGE}"))),
            }
        } else if given.replace((flag, value)).is_some() {
            return Err(InstallError::Usage(USAGE.to_owned()));
        }
    }
    if let Some(value) = wanted.first().filter(|_| given.as_ref().is_none_or(|(flag, _)| *flag != 's')) {
        return Err(InstallError::Usage(format!("-x {value} needs -s; {USAGE}")));
    }
    let Some((flag, value)) = given else { return Ok((InstallRequest::Default, own_dataset)) };
    let source = match flag {
        'a' => archive_source(&value)?,
        'o' => image_source(&value)?,
        's' => {
            let wrong = |why| InstallError::Source { what: "suite", path: value.clone().into(), why };
            InstallSource::Suite(suite::read(&value, &wanted).map_err(wrong)?)
        }
        _ => InstallSource::Tree { dir: directory("source directory", &value)? },
    };
    Ok((InstallRequest::Given(source), own_dataset))
}

fn archive_source(value: &str) -> Result<InstallSource, InstallError> {
    let wrong = |why| InstallError::Source { what: "archive", path: value.into(), why };
    let file = std::fs::canonicalize(value).map_err(|e| wrong(reason(&e)))?;
    let packing = archive::detect(&file).map_err(wrong)?;
    Ok(InstallSource::Archive { file, packing })
}

/// A layout is a folder, or a folder, a colon and the name of one of its images.
fn image_source(value: &str) -> Result<InstallSource, InstallError> {
    let (folder, name) = match value.rsplit_once(':') {
        Some((folder, name)) if !Path::new(value).exists() => (folder, Some(name)),
        _ => (value, None),
    };
    let layout = directory("image layout", folder)?;
    let wrong = |why| InstallError::Source { what: "image layout", path: folder.into(), why };
    let layers = image::inspect(&layout, name).map_err(wrong)?;
    Ok(InstallSource::Image { layout, layers })
}

/// Returns the absolute, resolved path of a directory.
fn directory(what: &'static str, path: &str) -> Result<PathBuf, InstallError> {
    let wrong = |why: String| InstallError::Source { what, path: path.into(), why };
    let dir = std::fs::canonicalize(path).map_err(|e| wrong(reason(&e)))?;
    if !std::fs::metadata(&dir).at("read", Path::new(path))?.is_dir() {
        return Err(wrong("not a directory".to_owned()));
    }
    if dir == Path::new("/") {
        return Err(wrong("to copy the host's own system, give no source at all".to_owned()));
    }
    Ok(dir)
}
