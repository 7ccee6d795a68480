//! Datasets mounted by the zone's first process, in the zone's own user and mount namespaces: the
//! mounts are the zone's, as if its own `zfs mount -a` had made them, and that finds them made.

use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};

use super::withdraw::mount;
use crate::plan::options::MountOptions;
use crate::plan::profile::Profile;
use crate::spec::shown::Show;
use crate::sys::path::reason;

/// Places that are not the zone's to cover at boot.
const FORBIDDEN: [&str; 3] = ["/proc", "/sys", "/dev"];

/// The id that stands for all that the zone does not have.
const OVERFLOW: u32 = 65_534;

/// Mounts a filesystem. Its mount point is what the zone's administrator has set, so whatever is wrong
/// with it is told and keeps no zone from booting.
///
/// Says whether the root directory belongs to somebody of the zone.
///
/// # Errors
/// The reason as text.
pub fn mount_at(
    name: &str,
    dir: &str,
    options: &MountOptions,
    closed: Option<Profile>,
) -> Result<bool, String> {
    let failed = |why: String| format!("cannot mount {name} on {}: {why}", dir.shown());
    let path = Path::new(dir);
    let may_be = |path: &Path| {
        if path == Path::new("/") || FORBIDDEN.iter().any(|f| path.starts_with(f)) {
            return Err(failed("the zone's own files are there; use zfs set mountpoint".into()));
        }
        if let Some(profile) = closed.filter(|profile| profile.is_closed(path)) {
            let name = profile.name();
            return Err(failed(format!(
                "nothing is mounted there under file-mac-profile={name}; use zfs set mountpoint"
            )));
        }
        Ok(())
    };
    may_be(path)?;
    make_dirs(path).map_err(|e| failed(reason(&e.into())))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let target = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| failed(reason(&e.into())))?;
    // The way there may lead through links.
    let real = format!("/proc/self/fd/{}", target.as_raw_fd());
    may_be(&std::fs::read_link(real).map_err(|e| failed(reason(&e)))?)?;
    let tree = mount(name, options, None).map_err(|e| failed(e.to_string()))?;
    tree.attach(target.as_fd()).map_err(|e| failed(reason(&e)))?;
    let top = rustix::fs::fstat(&tree).map_err(|e| failed(reason(&e.into())))?;
    Ok(top.st_uid != OVERFLOW && top.st_gid != OVERFLOW)
}

/// Makes a directory with those above it, as `zfs mount` does.
fn make_dirs(path: &Path) -> rustix::io::Result<()> {
    let above: Vec<&Path> = path.ancestors().collect();
    for dir in above.into_iter().rev().skip(1) {
        match rustix::fs::mkdirat(CWD, dir, Mode::from(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            // It may be there all the same, on something that is read-only.
            Err(_) if dir.is_dir() => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
