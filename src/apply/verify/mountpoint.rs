//! Mount points in the root of an installed zone: those that a boot would refuse.

use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::VerifyReport;
use crate::apply::boot::waypoint::{self, OpenDirectory, PathLookup, misled};
use crate::apply::store::FileStore;
use crate::plan::{order, profile::Profile};
use crate::spec::schema::ResourceKind;
use crate::spec::shown::Show;
use crate::spec::state::ZoneState;
use crate::spec::store::StoreError;
use crate::spec::{Props, ZoneName, ZoneSpec};

/// The directory where the way to a mount point begins: the zone's root, or a mount above it.
pub(super) struct Bases {
    root: PathBuf,
    /// Mount points of the zone, and what of the host is seen there, when that is a directory; the last of two.
    mounts: Vec<(PathBuf, Option<PathBuf>)>,
    /// Directories in which no mount point can be made.
    read_only: Vec<PathBuf>,
}

impl Bases {
    pub(super) fn of(store: &FileStore, spec: &ZoneSpec, zonepath: &str) -> Self {
        let text = |props: &Props, name: &str| PathBuf::from(props.text(name).unwrap_or_default());
        let mut mounts = Vec::new();
        let mut read_only = Vec::new();
        for resource in spec.stored(ResourceKind::InheritPkgDir) {
            let dir = text(resource, "dir");
            // A directory that is a link into another one on the host is not inherited.
            if dir.symlink_metadata().is_ok_and(|m| m.is_dir()) {
                mounts.push((dir.clone(), Some(dir.clone())));
                read_only.push(dir);
            }
        }
        let profile = Profile::of(spec).ok().flatten();
        mounts.extend(order::memory(spec, profile).into_iter().map(|m| (m.dir.into(), None)));
        mounts.push(("/dev".into(), None));
        for fs in spec.stored(ResourceKind::Fs) {
            let source = (fs.text("type") == Some("lofs")).then(|| text(fs, "special"));
            mounts.push((text(fs, "dir"), source.filter(|path| path.is_dir())));
        }
        let root = store.root().host_path(Path::new(zonepath)).join("root");
        Self { root, mounts, read_only }
    }

    /// Returns the outermost mount above a path, but not at it.
    fn above(&self, path: &Path) -> Option<&(PathBuf, Option<PathBuf>)> {
        let above = self.mounts.iter().filter(|(dir, _)| path != dir && path.starts_with(dir));
        above.max_by_key(|(dir, _)| dir.as_os_str().len())
    }

    fn base(&self, path: &Path) -> Option<OpenDirectory> {
        let (dir, source) = match self.above(path) {
            Some((dir, source)) => (dir.clone(), source.clone()?),
            None => (PathBuf::from("/"), self.root.clone()),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Some((rustix::fs::open(&source, flags, Mode::empty()).ok()?, dir))
    }

    fn is_read_only(&self, path: &Path) -> bool {
        self.above(path).is_some_and(|(dir, _)| self.read_only.contains(dir))
    }
}

/// Looks at the mount point of each `fs` resource.
pub fn check(
    store: &FileStore,
    name: &ZoneName,
    spec: &ZoneSpec,
    found: &mut VerifyReport,
) -> Result<(), StoreError> {
    let Some(zonepath) = spec.zonepath() else { return Ok(()) };
    if store.installed_state(name)? != ZoneState::Installed || !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let bases = Bases::of(store, spec, &zonepath);
    for fs in spec.stored(ResourceKind::Fs) {
        let text = |name| fs.text(name).unwrap_or_default();
        let (dir, special) = (text("dir"), text("special"));
        let is_file = text("type") == "lofs" && Path::new(special).is_file();
        if let Some(why) = refusal(&bases, dir, special, is_file) {
            found.error(format!("could not verify fs {dir}: {why}"));
        }
    }
    Ok(())
}

pub(super) fn refusal(bases: &Bases, dir: &str, special: &str, is_file: bool) -> Option<String> {
    let path = Path::new(dir);
    let base = |path: &Path| bases.base(path);
    match waypoint::look_up(path, base) {
        PathLookup::Link { .. } => {
            let mut misled = misled(path, base)?;
            let made = |dir: &PathBuf| {
                !bases.is_read_only(dir) || matches!(waypoint::look_up(dir, base), PathLookup::There { .. })
            };
            misled.instead = misled.instead.filter(made);
            Some(format!("{misled}; {}", misled.way_out()))
        }
        PathLookup::NoDirectory(at) => Some(format!("{} is no directory in the zone", at.shown())),
        PathLookup::There { directory: true } if is_file => {
            Some(format!("{dir} is a directory in the zone, and {special} is a file; choose another dir"))
        }
        PathLookup::There { directory: false } if !is_file => {
            Some(format!("{dir} is a file in the zone, and {special} is none; choose another dir"))
        }
        PathLookup::Missing(at) if bases.is_read_only(path) => Some(format!(
            "{} does not exist, and it lies in a directory that is read-only there; make it on the host, or choose \
             another dir",
            at.shown()
        )),
        PathLookup::There { .. } | PathLookup::Missing(_) | PathLookup::Unknown => None,
    }
}
