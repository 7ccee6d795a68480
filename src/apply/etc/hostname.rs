//! The host name in a zone's `/etc`, and what follows when the zone gets another name.
//!
//! `/etc/hostname` begins as the zone's name. Once it says anything else, the zone's administrator has chosen that,
//! and a boot takes it. The root is a zone's, so every name in it is hostile.

use std::path::Path;

use crate::spec::ZoneName;
use crate::sys::path::{Dir, IN_ROOT, Owned, PathError, STRICT};

/// Longest name that the kernel takes.
const NAME_MAX: usize = 64;

/// Longest `/etc/hostname` that is read.
const FILE_MAX: usize = 4096;

/// Longest `/etc/hosts` that is edited.
const HOSTS_MAX: usize = 256 * 1024;

/// Returns the host name that the zone's root has for it; none when it has no valid one.
pub fn of(root: &Path) -> Option<String> {
    let root = Dir::open_host(root).ok()?;
    in_etc(&root.dir("etc", IN_ROOT).ok()?)
}

/// The same in an `/etc` that is open already.
pub fn in_etc(etc: &Dir) -> Option<String> {
    let text = String::from_utf8(etc.read("hostname", FILE_MAX, IN_ROOT).ok()??).ok()?;
    let name = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'))?;
    let good = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    (name.len() <= NAME_MAX && name.bytes().all(good)).then(|| name.to_owned())
}

/// Gives a root the name that its zone has got, where it still has the former one.
///
/// # Errors
/// [`PathError`] when a file cannot be written.
pub fn follow(root: &Path, from: &ZoneName, to: &ZoneName) -> Result<(), PathError> {
    let root = match Dir::open_host(root) {
        Err(e) if e.is_not_found() => return Ok(()),
        other => other?,
    };
    let etc = match root.dir("etc", IN_ROOT) {
        Err(e) if e.is_not_found() => return Ok(()),
        other => other?,
    };
    let (from, to) = (from.as_str(), to.as_str());
    if in_etc(&etc).as_deref() == Some(from) {
        etc.write("hostname", Owned::root(0o644), format!("{to}\n").as_bytes())?;
    }
    hosts(&etc, &[from], to)
}

/// Puts a name in place of others in `/etc/hosts`, where they stand alone.
///
/// # Errors
/// [`PathError`] when the file cannot be written.
pub fn hosts(etc: &Dir, from: &[&str], to: &str) -> Result<(), PathError> {
    let Some(stat) = etc.stat("hosts")? else { return Ok(()) };
    let Some(content) = etc.read("hosts", HOSTS_MAX, STRICT)? else { return Ok(()) };
    let Ok(text) = String::from_utf8(content) else { return Ok(()) };
    let changed = from.iter().fold(text.clone(), |text, from| renamed(&text, from, to));
    if changed == text {
        return Ok(());
    }
    let owned = Owned { mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid };
    etc.write("hosts", owned, changed.as_bytes())
}

fn renamed(text: &str, from: &str, to: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (entry, comment) = line.split_at(line.find('#').unwrap_or(line.len()));
        for word in entry.split_inclusive(char::is_whitespace) {
            let bare = word.trim_end();
            // zion.example.org matches as well, but not zion-backup.
            let rest = bare.strip_prefix(from).filter(|r| r.is_empty() || r.starts_with('.'));
            match rest {
                Some(rest) => out.extend([to, rest, &word[bare.len()..]]),
                None => out.push_str(word),
            }
        }
        out.push_str(comment);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_replaced_where_it_is_the_name() {
        let text =
            "127.0.0.1 localhost\n127.0.1.1\tzion.example.org zion\n10.0.0.1 zion-backup azion # zion\n";
        assert_eq!(
            renamed(text, "zion", "neo"),
            "127.0.0.1 localhost\n127.0.1.1\tneo.example.org neo\n10.0.0.1 zion-backup azion # zion\n"
        );
        assert_eq!(renamed("zion", "zion", "neo"), "neo");
        assert_eq!(renamed("", "zion", "neo"), "");
    }
}
