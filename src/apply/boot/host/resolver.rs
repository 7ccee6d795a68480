//! The resolver file of a zone whose `/etc/resolv.conf` is a link into `/run`.
//!
//! The service that would make the file there is systemd's or NetworkManager's, and does not run with the built-in
//! init. `/run` is new at each boot, so the link stays as it is and the servers are put where it leads to.

use std::io;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use thiserror::Error;

use super::Build;
use crate::apply::net::resolver;
use crate::spec::shown::Show;
use crate::sys::path::{Dir, IN_ROOT, Owned, PathError, STRICT, open_beneath, reason};

/// Where the link is.
const LINK: &str = "/etc/resolv.conf";

/// Names of `/run` in a zone.
const RUN: [&str; 2] = ["run", "var/run"];

/// Why a zone has no name server.
#[derive(Debug, Error)]
enum ServersError {
    /// The host's file cannot be read, or the zone's not be written.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The zone's `/run` cannot be opened.
    #[error("{}", reason(.0))]
    Run(#[source] io::Error),
    /// The host has no servers.
    #[error("the host has none either")]
    NoneOnHost,
    /// The link names no file.
    #[error("it leads to a directory")]
    Directory,
    /// The file has been written, and the link leads elsewhere.
    #[error("the file is not there")]
    Missing,
}

impl Build<'_> {
    /// Gives the zone servers, where it has a link that leads nowhere. A zone that makes it impossible has its own
    /// way; its administrator hears of it.
    pub(super) fn resolver(&mut self) {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let file = Path::new("etc/resolv.conf");
        let root = self.site.root_fd();
        let is_there = || open_beneath(root, file, flags, Mode::empty(), IN_ROOT).is_ok();
        if is_there() {
            return;
        }
        let link = open_beneath(self.site.root_fd(), file, flags | OFlags::NOFOLLOW, Mode::empty(), IN_ROOT);
        let target = link.ok().and_then(|link| rustix::fs::readlinkat(link, "", Vec::new()).ok());
        // No link: a boot makes the file itself, or the zone wants none.
        let Some(target) = target.as_deref().and_then(|t| t.to_str().ok()) else { return };
        let failed = below_run(target).and_then(|below| self.servers(&below).err());
        // In a root without the usual link /var/run, a name below it is another.
        let failed = failed.or_else(|| (!is_there()).then_some(ServersError::Missing));
        if let Some(why) = failed {
            let text =
                format!("{LINK} is a link to {}, and the zone has no name server: {why}", target.shown());
            self.report.warnings.push(text);
        }
    }

    /// Writes the file into the zone's `/run`.
    fn servers(&self, below: &Path) -> Result<(), ServersError> {
        let content = resolver::of_host(Path::new("/"))?.ok_or(ServersError::NoneOnHost)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let run = open_beneath(self.site.root_fd(), Path::new("run"), flags, Mode::empty(), STRICT);
        let run = run.map_err(ServersError::Run)?;
        // A service that is started in the zone later replaces it.
        let owned = |mode| Owned { mode, uid: self.site.uid, gid: self.site.gid };
        let mut dir = Dir::from_fd(run, PathBuf::from("/run"));
        let mut parts: Vec<_> = below.components().collect();
        let name = parts.pop().ok_or(ServersError::Directory)?;
        for part in parts {
            dir = dir.make_dir(part, owned(0o755))?.0;
        }
        Ok(dir.write(name, owned(0o644), &content)?)
    }
}

/// Returns where below `/run` a link of `/etc` leads to, by names alone.
fn below_run(target: &str) -> Option<PathBuf> {
    let mut whole = PathBuf::new();
    for part in Path::new("/etc").join(target).components() {
        match part {
            Component::ParentDir => drop(whole.pop()),
            Component::Normal(name) => whole.push(name),
            _ => {}
        }
    }
    let below = RUN.iter().find_map(|run| whole.strip_prefix(run).ok())?;
    (below.components().count() > 0).then(|| below.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_links_lead() {
        let below = |target: &str| below_run(target).map(|p| p.display().to_string());
        let stub = Some("systemd/resolve/stub-resolv.conf".to_owned());
        assert_eq!(below("../run/systemd/resolve/stub-resolv.conf"), stub);
        assert_eq!(below("/run/systemd/resolve/stub-resolv.conf"), stub);
        assert_eq!(below("../../../var/run/systemd/./resolve/stub-resolv.conf"), stub);
        assert_eq!(below("/run/../etc/passwd"), None);
        assert_eq!(below("resolv.conf.real"), None);
        assert_eq!(below("/run"), None);
        assert_eq!(below("/runner/x"), None);
    }
}
