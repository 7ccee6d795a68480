//! Names that only the host knows: for completion, and to check whether a user exists. Without a person at a
//! terminal only that check is made.

use std::fs;
use std::io;

use crate::spec::schema::Candidates;
use crate::spec::{privilege, words};

/// Returns the reason of the system without Rust's trailing error number.
pub fn reason(e: &io::Error) -> String {
    let text = e.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// Says whether the host knows a login name.
pub fn is_user(name: &str) -> bool {
    nix::unistd::User::from_name(name).is_ok_and(|user| user.is_some())
}

/// Returns the names that begin with a prefix, sorted. Zones are the store's business.
pub fn names(candidates: Candidates, prefix: &str) -> Vec<String> {
    let all = match candidates {
        Candidates::None | Candidates::Zones => Vec::new(),
        Candidates::Paths | Candidates::Special => return paths(prefix),
        Candidates::Devices => return devices(prefix),
        Candidates::Links => entries("/sys/class/net"),
        Candidates::Datasets => datasets(),
        Candidates::Users => column("/etc/passwd", ':', 0),
        Candidates::FsTypes => {
            let mut types = column("/proc/filesystems", '\t', 1);
            types.push("lofs".into());
            types
        }
        Candidates::Rctls => words::RCTLS.iter().map(|w| (*w).to_owned()).collect(),
        Candidates::Privileges => privilege::PRIVILEGES.iter().map(|p| p.name.to_owned()).collect(),
    };
    let mut fitting: Vec<_> = all.into_iter().filter(|n| n.starts_with(prefix)).collect();
    fitting.sort_unstable();
    fitting.dedup();
    fitting
}

fn entries(dir: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect()
}

fn column(file: &str, separator: char, number: usize) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|l| l.split(separator).nth(number)).map(str::to_owned).collect()
}

/// Mounted ZFS file systems; there need be no zfs program for that.
fn datasets() -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let fields = mounts.lines().map(|l| l.split(' ').collect::<Vec<_>>());
    fields.filter(|f| f.get(2) == Some(&"zfs")).filter_map(|f| f.first().map(|n| (*n).to_owned())).collect()
}

/// Completes an absolute path; folders end in a slash.
pub fn paths(prefix: &str) -> Vec<String> {
    let Some(slash) = prefix.rfind('/') else {
        return if prefix.is_empty() { vec!["/".into()] } else { Vec::new() };
    };
    let (dir, start) = prefix.split_at(slash + 1);
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut found: Vec<String> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            let hidden = name.starts_with('.') && !start.starts_with('.');
            if !name.starts_with(start) || hidden {
                return None;
            }
            let folder = fs::metadata(entry.path()).is_ok_and(|m| m.is_dir());
            Some(format!("{dir}{name}{}", if folder { "/" } else { "" }))
        })
        .collect();
    found.sort_unstable();
    found
}

/// Completes a device, absolute or relative to `/dev`.
fn devices(prefix: &str) -> Vec<String> {
    if prefix.starts_with('/') {
        return paths(prefix).into_iter().filter(|p| p.starts_with("/dev/")).collect();
    }
    let below = paths(&format!("/dev/{prefix}"));
    below.iter().filter_map(|p| p.strip_prefix("/dev/")).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_linux_has() {
        assert!(is_user("root"));
        assert!(!is_user("nobody-by-this-name"));
        assert!(names(Candidates::Links, "l").contains(&"lo".to_owned()));
        assert!(names(Candidates::Users, "roo").contains(&"root".to_owned()));
        assert_eq!(names(Candidates::Paths, "/pro"), ["/proc/"]);
        assert!(names(Candidates::Devices, "nul").contains(&"null".to_owned()));
        assert!(names(Candidates::Devices, "/dev/nul").contains(&"/dev/null".to_owned()));
        assert!(names(Candidates::FsTypes, "").contains(&"lofs".to_owned()));
        assert!(names(Candidates::Datasets, "no-such-pool/").is_empty());
    }
}
