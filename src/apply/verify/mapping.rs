//! Checks by trying whether the file systems of a zone can be mounted with its ids: the mounts are attached nowhere
//! and gone at once.

use std::cell::OnceCell;
use std::convert::Infallible;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::{Purpose, VerifyReport};
use crate::apply::boot::shared::{self, Below, Fate, SharedMount};
use crate::apply::running;
use crate::apply::store::FileStore;
use crate::apply::zfs::holding::ZFS_MAGIC;
use crate::apply::zfs::too_old;
use crate::plan::options::{self, MountOptions};
use crate::spec::idmap::{IdMap, PRIVATE_FIRST};
use crate::spec::schema::ResourceKind;
use crate::spec::shown::Show;
use crate::spec::{ZoneName, ZoneSpec};
use crate::sys::mount::{Attrs, NewFs};
use crate::sys::mountinfo;

/// The statfs(2) types of file systems that map ids since the kernel does, Linux 5.12.
const EXT4_MAGIC: i64 = 0xEF53;
const XFS_MAGIC: i64 = 0x5846_5342;

/// The user namespace to try with, made when it is first needed. A boot tries nothing: it makes the mounts.
#[derive(Debug)]
pub struct Trial {
    wanted: bool,
    users: OnceCell<Option<OwnedFd>>,
}

impl Trial {
    /// Makes one for a purpose.
    pub fn new(purpose: Purpose) -> Self {
        Self { wanted: purpose != Purpose::Boot && nix::unistd::geteuid().is_root(), users: OnceCell::new() }
    }

    /// Returns the namespace; none when nothing is to be tried. Why there can be none the doctor says.
    fn users(&self) -> Option<&OwnedFd> {
        if !self.wanted {
            return None;
        }
        self.users.get_or_init(|| shared::users().ok()).as_ref()
    }

    /// Says whether an overlay can map ids; none when that could not be tried.
    fn overlay(&self) -> Option<bool> {
        let users = self.users()?;
        let overlay = NewFs::open("overlay").ok()?;
        overlay.set("lowerdir", "/usr:/etc").ok()?;
        let tree = overlay.mount(Attrs::RDONLY).ok()?;
        let tried = tree.set(Attrs::empty(), Attrs::empty(), Some(users.as_fd()), false);
        Some(!tried.is_err_and(|e| shared::cannot_map(&e)))
    }

    /// Tries a directory that holds, or is to hold, a zone's root.
    pub fn zonepath(&self, shown: &str, path: &Path, found: &mut VerifyReport) {
        // These could map ids before any other, and ZFS says whether it can: a trial would find out nothing.
        let maps = |kind| [EXT4_MAGIC, XFS_MAGIC].contains(&kind) || kind == ZFS_MAGIC && too_old().is_none();
        if rustix::fs::statfs(path).is_ok_and(|s| maps(s.f_type)) {
            return;
        }
        let Some(users) = self.users() else { return };
        let Ok(fd) = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) else { return };
        let tried = shared::try_mapping(fd.as_fd(), users.as_fd());
        if tried.is_err_and(|e| shared::cannot_map(&e)) {
            let kind = shared::pieces(fd.as_fd(), false).ok().and_then(|p| Some(p.into_iter().next()?.kind));
            found.error(format!(
                "{shown} is on a file system ({}) that cannot map ids on this kernel, so no zone can boot there; \
                 put zones on ext4, xfs, btrfs or ZFS.",
                kind.as_deref().unwrap_or("unknown")
            ));
        }
    }
}

/// Looks at the `fs` resources that need mapped ids.
pub fn check(
    store: &FileStore,
    name: &ZoneName,
    spec: &ZoneSpec,
    purpose: Purpose,
    trial: &Trial,
    found: &mut VerifyReport,
) {
    // A zone without ids of its own yet gets a range as long as any.
    let map = || {
        let known = store.known_id_map(name, spec);
        known.ok().flatten().unwrap_or_else(|| IdMap::private(PRIVATE_FIRST))
    };
    for resource in spec.stored(ResourceKind::Fs) {
        let text = |name| resource.text(name).unwrap_or_default();
        let (dir, special, kind) = (text("dir"), text("special"), text("type"));
        let Ok(options) = options::parse(kind, resource.list("options")) else { continue };
        match kind {
            "tmpfs" => {
                if let Err(e) = options.of_memory(&map()) {
                    found.error(format!("could not verify fs {dir}: {e}"));
                }
            }
            "lofs" => {
                let pieces = pieces(special, &options, trial);
                shares(dir, &pieces, options.read_only, trial, found);
                if purpose == Purpose::Verify {
                    later(store, name, dir, &pieces, found);
                }
            }
            "overlay" if !options.read_only && trial.overlay() == Some(false) => found.error(format!(
                "could not verify fs {dir}: file systems of type overlay cannot map ids on this kernel; \
                 'add options ro' mounts it read-only, its files as those of nobody"
            )),
            _ => {}
        }
    }
}

/// Returns the mounts at a source; none when it is missing, which another check reports.
fn pieces(special: &str, options: &MountOptions, trial: &Trial) -> Vec<SharedMount> {
    if !trial.wanted {
        return Vec::new();
    }
    let fd = rustix::fs::open(special, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    fd.ok().and_then(|fd| shared::pieces(fd.as_fd(), options.recursive).ok()).unwrap_or_default()
}

/// Says what of a shared directory a zone does not get.
fn shares(dir: &str, pieces: &[SharedMount], read_only: bool, trial: &Trial, found: &mut VerifyReport) {
    let Some(users) = trial.users() else { return };
    visit(pieces, |piece| {
        if !matches!(shared::fate(piece, read_only, users.as_fd()), Ok(Fate::LeftOut)) {
            return Below::Open;
        }
        // All others are below the directory itself.
        if piece.is_whole() {
            found.error(format!("could not verify fs {dir}: {}", piece.refused()));
        } else {
            found.warn(format!("WARNING: fs {dir}: {}", piece.left_out()));
        }
        Below::Closed
    });
}

/// Walks over mounts where nothing can fail.
fn visit<'p>(
    pieces: impl IntoIterator<Item = &'p SharedMount>,
    mut visit: impl FnMut(&'p SharedMount) -> Below,
) {
    let Ok(()) = shared::walk(pieces, |piece| Ok::<_, Infallible>(visit(piece)));
}

/// Names the mounts made in a shared directory after the zone had booted.
fn later(store: &FileStore, name: &ZoneName, dir: &str, pieces: &[SharedMount], found: &mut VerifyReport) {
    let mut below = pieces.iter().filter(|piece| !piece.is_whole()).peekable();
    if below.peek().is_none() {
        return;
    }
    let Some(running) = running::find(store.root(), name) else { return };
    let Ok(table) = mountinfo::mounts_of(running.init) else { return };
    visit(below, |piece| {
        let place = Path::new(dir).join(&piece.inner);
        if table.iter().any(|m| m.point == place) {
            return Below::Open;
        }
        found.warn(format!(
            "WARNING: fs {dir}: {} is mounted on the host since the zone has booted; the zone sees it when it is \
             booted again",
            piece.point.shown()
        ));
        Below::Closed
    });
}
