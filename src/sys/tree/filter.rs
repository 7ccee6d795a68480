//! The filter of a copy.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Longest name of a file, in bytes, on any file system of Linux.
const NAME_MAX: usize = 255;

/// The treatment of an entry of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyRule {
    /// It is copied, with all below it.
    Copy,
    /// It is left out, with all below it.
    Skip,
    /// A directory is made, without anything in it; anything else is left out.
    Empty,
    /// Below it only the directories are made.
    DirsOnly,
}

/// The entries of a tree that are copied: everything, but for the rules.
#[derive(Clone, Debug, Default)]
pub struct CopyFilter {
    exact: HashMap<PathBuf, CopyRule>,
    /// By folder: the beginning and end of a name.
    globs: HashMap<PathBuf, Vec<(OsString, OsString, CopyRule)>>,
    enter: HashSet<PathBuf>,
    public_only: bool,
    /// Length of the longest path that a rule can be about. Looking a path up takes time by its length, and
    /// a zone can make a tree where each is of megabytes.
    longest: usize,
}

impl CopyFilter {
    /// Returns a filter that copies everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Leaves out what not every user of the host may read: an entry without that right is private,
    /// whatever its name is.
    #[must_use]
    pub fn public_only(mut self) -> Self {
        self.public_only = true;
        self
    }

    /// Adds a rule for a path of the tree. Its last part may hold one `*`.
    pub fn add(&mut self, pattern: impl AsRef<Path>, rule: CopyRule) {
        let pattern = pattern.as_ref();
        let pattern = pattern.strip_prefix("/").unwrap_or(pattern);
        let name = pattern.file_name().unwrap_or_default().as_bytes();
        self.longest = self.longest.max(pattern.as_os_str().len());
        let Some(star) = name.iter().position(|b| *b == b'*') else {
            self.exact.insert(pattern.to_owned(), rule);
            return;
        };
        let folder = pattern.parent().unwrap_or(Path::new("")).to_owned();
        self.longest = self.longest.max(folder.as_os_str().len() + 1 + NAME_MAX);
        let part = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
        self.globs.entry(folder).or_default().push((part(&name[..star]), part(&name[star + 1..]), rule));
    }

    /// Lets the walk enter the mount at a path of the tree.
    pub fn enter(&mut self, path: impl AsRef<Path>) {
        let path = path.as_ref();
        let path = path.strip_prefix("/").unwrap_or(path);
        self.longest = self.longest.max(path.as_os_str().len());
        self.enter.insert(path.to_owned());
    }

    pub(super) fn rule(&self, path: &Path) -> CopyRule {
        if path.as_os_str().len() > self.longest {
            return CopyRule::Copy;
        }
        if let Some(rule) = self.exact.get(path) {
            return *rule;
        }
        if self.globs.is_empty() {
            return CopyRule::Copy;
        }
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return CopyRule::Copy };
        let name = name.as_bytes();
        let fits = |(start, end, _): &&(OsString, OsString, CopyRule)| {
            name.len() >= start.len() + end.len()
                && name.starts_with(start.as_bytes())
                && name.ends_with(end.as_bytes())
        };
        self.globs
            .get(folder)
            .and_then(|list| list.iter().find(fits))
            .map_or(CopyRule::Copy, |(.., rule)| *rule)
    }

    pub(super) fn may_enter(&self, path: &Path) -> bool {
        path.as_os_str().len() <= self.longest && self.enter.contains(path)
    }

    /// Says whether the permissions of a directory or file let it through.
    pub(super) fn lets(&self, mode: u32, directory: bool) -> bool {
        let need = if directory { 0o005 } else { 0o004 };
        !self.public_only || mode & need == need
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_match_whole_paths_and_one_star() {
        let mut filter = CopyFilter::new();
        filter.add("/etc/shadow", CopyRule::Skip);
        filter.add("etc/ssh/ssh_host_*_key", CopyRule::Skip);
        filter.add("tmp", CopyRule::Empty);
        for (path, rule) in [
            ("etc/shadow", CopyRule::Skip),
            ("etc/shadow-", CopyRule::Copy),
            ("x/etc/shadow", CopyRule::Copy),
            ("etc/ssh/ssh_host_rsa_key", CopyRule::Skip),
            ("etc/ssh/ssh_host_rsa_key.pub", CopyRule::Copy),
            ("etc/ssh/ssh_host_key", CopyRule::Copy),
            ("etc/ssh/sub/ssh_host_rsa_key", CopyRule::Copy),
            ("tmp", CopyRule::Empty),
        ] {
            assert_eq!(filter.rule(Path::new(path)), rule, "{path}");
        }
    }
}
