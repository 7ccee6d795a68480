//! The root of a sparse zone: its own files beside the host's software.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::EtcError;
use super::{accounts, follow};
use crate::apply::fault;
use crate::plan::host::SPARSE_ETC;
use crate::plan::step::COMMANDS;
use crate::spec::idmap::{IdMap, IdRange, PRIVATE_COUNT};
use crate::sys::path::{Dir, Owned, STRICT};
use crate::sys::tree::{CopyFilter, CopyRule, copy_names, remove_tree};

/// Directories of every zone, outer ones first.
const DIRS: &[(&str, u32)] = &[
    ("etc", 0o755),
    ("etc/opt", 0o755),
    ("home", 0o755),
    ("media", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("root", 0o700),
    ("run", 0o755),
    ("srv", 0o755),
    ("tmp", 0o1777),
    ("var", 0o755),
    ("var/backups", 0o755),
    ("var/cache", 0o755),
    ("var/lib", 0o755),
    ("var/lib/misc", 0o755),
    ("var/local", 0o755),
    ("var/log", 0o755),
    ("var/mail", 0o775),
    ("var/opt", 0o755),
    ("var/spool", 0o755),
    ("var/tmp", 0o1777),
];

/// Links of every zone. Relative, so that they lead nowhere else when seen from the host.
const LINKS: &[(&str, &str)] =
    &[("var/run", "../run"), ("var/lock", "../run/lock"), ("var/spool/mail", "../mail")];

/// Fills an empty root.
///
/// # Errors
/// [`EtcError`] naming the file.
pub fn populate(host: &Path, root: &Dir, ids: &IdMap) -> Result<(), EtcError> {
    for (name, mode) in DIRS {
        root.make_dir(name, Owned::root(*mode))?;
    }
    for (name, target) in LINKS {
        root.symlink(target, name)?;
    }
    fault::point("folders-made");
    let etc = Dir::open_host(&host.join("etc"))?;
    copy_etc(&etc, root, SPARSE_ETC)?;
    profile(root)?;
    sub_ids(root, ids)?;
    fault::point("etc-copied");
    let host_file = |name: &str| -> Result<String, EtcError> {
        let content = etc.read(name, accounts::LIMIT, STRICT)?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&content).into_owned())
    };
    let passwd = accounts::passwd(&host_file("passwd")?);
    let group = accounts::group(&host_file("group")?, &passwd);
    root.write("etc/passwd", Owned::root(0o644), passwd.as_bytes())?;
    root.write("etc/group", Owned::root(0o644), group.as_bytes())?;
    if let Some(gid) = accounts::gid(&group, "mail") {
        root.dir("var/mail", STRICT)?.set_owned(Owned { mode: 0o2775, uid: 0, gid })?;
    }
    Ok(())
}

/// Takes the files that go with the host's programs from another host: existing ones are replaced, but accounts
/// stay.
///
/// # Errors
/// [`EtcError`] naming the file.
pub fn refresh(host: &Path, root: &Dir) -> Result<(), EtcError> {
    let etc = Dir::open_host(&host.join("etc"))?;
    let ours = match root.dir("etc", STRICT) {
        Err(e) if e.is_not_found() => root.make_dir("etc", Owned::root(0o755))?.0,
        other => other?,
    };
    for name in follow::OF_PROGRAMS.iter().map(OsStr::new) {
        remove_tree(&ours, name, &mut |_| fault::point("etc-removing"))?;
    }
    copy_etc(&etc, root, SPARSE_ETC)?;
    profile(root)
}

/// Has useradd(8) hand out subordinate ids that the zone has: those past the first 65,536, or none.
fn sub_ids(root: &Dir, ids: &IdMap) -> Result<(), EtcError> {
    let Some(content) = root.read("etc/login.defs", accounts::LIMIT, STRICT)? else { return Ok(()) };
    let mut text = String::new();
    for line in String::from_utf8_lossy(&content).lines() {
        if !line.trim_start().starts_with("SUB_UID_") && !line.trim_start().starts_with("SUB_GID_") {
            text.push_str(&format!("{line}\n"));
        }
    }
    text.push_str("\n# Subordinate ids have to lie in the zone's own range: see idmap in zonecfg(8).\n");
    for (kind, ranges) in [("UID", &ids.uid), ("GID", &ids.gid)] {
        let spare =
            |r: &IdRange| r.inside <= PRIVATE_COUNT && r.inside.saturating_add(r.count) > PRIVATE_COUNT;
        let end =
            ranges.iter().find(|r| spare(r)).map_or(PRIVATE_COUNT, |r| r.inside.saturating_add(r.count));
        let count = if end - PRIVATE_COUNT < PRIVATE_COUNT { 0 } else { PRIVATE_COUNT };
        if count > 0 {
            text.push_str(&format!("SUB_{kind}_MIN {PRIVATE_COUNT}\nSUB_{kind}_MAX {}\n", end - 1));
        }
        text.push_str(&format!("SUB_{kind}_COUNT {count}\n"));
    }
    Ok(root.write("etc/login.defs", Owned::root(0o644), text.as_bytes())?)
}

/// Has login shells find the zone's own commands. `/usr` is the host's, so they cannot be there.
fn profile(root: &Dir) -> Result<(), EtcError> {
    let text = format!(
        "# The commands of the zone's own: zonename, and what ends the zone.\n\
         case :$PATH: in *:{COMMANDS}:*) ;; *) PATH={COMMANDS}:$PATH ;; esac\n"
    );
    let dir = root.make_dirs("etc/profile.d", Owned::root(0o755))?;
    Ok(dir.write("zone.sh", Owned::root(0o644), text.as_bytes())?)
}

/// Takes over the files of the host's `/etc` that its programs look for there.
///
/// # Errors
/// [`EtcError`] naming the file.
pub fn copy_etc(etc: &Dir, root: &Dir, names: &[&str]) -> Result<(), EtcError> {
    // The names to take, by folder.
    let mut folders: BTreeMap<PathBuf, Vec<OsString>> = BTreeMap::new();
    for path in names.iter().map(Path::new) {
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        folders.entry(folder).or_default().extend(path.file_name().map(OsString::from));
    }
    for (folder, wanted) in folders {
        let from = match Dir::open_host(&etc.path().join(&folder)) {
            Err(e) if e.is_not_found() => continue,
            other => other?,
        };
        let fits = |name: &OsString| {
            wanted.iter().any(|w| match w.to_str().and_then(|w| w.strip_suffix('*')) {
                Some(start) => name.to_string_lossy().starts_with(start),
                None => w == name,
            })
        };
        let names: Vec<_> = from.entries()?.into_iter().map(|(n, _)| n).filter(fits).collect();
        let to = root.make_dirs(Path::new("etc").join(&folder), Owned::root(0o755))?;
        let mut filter = CopyFilter::new().public_only();
        for name in &names {
            // A key is a key even if every user may read it.
            filter.add(Path::new(name).join("*.key"), CopyRule::Skip);
            filter.add(Path::new(name).join("ssh_host_*"), CopyRule::Skip);
        }
        copy_names(&from, &to, &names, &filter)?;
    }
    Ok(())
}
