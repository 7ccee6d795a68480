//! The place of a zone's mounts: of a zone that is being put together, or of a running one.
//!
//! The source of a mount is opened in the host's mount namespace and attached in the zone's. A zone that is being
//! put together has no processes yet; in a running one its root can change every directory meanwhile, so in both a
//! mount point is looked up below the zone's root, without following links.

mod dataset;
mod fs;
mod inherit;
mod locked;
mod mounts;
mod node;
mod place;
mod share;

pub(in crate::apply::boot) use mounts::MountToAttach;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use place::ZoneMountNs;
use rustix::fs::{Mode, OFlags};
use rustix::mount::UnmountFlags;

use super::start::first_host_id;
use crate::apply::rundir::Running;
use crate::spec::idmap::IdMap;
use crate::sys::made;
use crate::sys::mount::MountFd;
use crate::sys::ns::{self, Kinds};
use crate::sys::process::{Handle, start_time};

pub(super) use node::ZONE_NAME;

/// A mount namespace with the zone's mounts.
enum SiteMounts<'a> {
    /// The plan has not made it yet.
    None,
    /// Of a zone that is being put together.
    Building(ZoneMountNs<'a>),
    /// Of a zone that runs, and the host's.
    Running { zone: OwnedFd, host: OwnedFd },
}

/// Where the mounts of a zone are made, and with which ids.
pub struct Site<'a> {
    /// Host ids of the zone's root.
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// All ids of the zone.
    map: IdMap,
    /// The user namespace whose ids mounts are mapped to.
    pub(super) users: Option<OwnedFd>,
    mounts: SiteMounts<'a>,
    /// The zone's root.
    root: Option<OwnedFd>,
    /// Warnings for the administrator.
    pub warnings: Vec<String>,
}

impl<'a> Site<'a> {
    /// Begins a zone that has neither namespaces nor a root yet.
    pub fn building((uid, gid): (u32, u32), map: IdMap) -> Self {
        Self { uid, gid, map, users: None, mounts: SiteMounts::None, root: None, warnings: Vec::new() }
    }

    /// Opens a zone that runs, by its record.
    ///
    /// # Errors
    /// The system's error: `NotFound` when it has ended, also when its process id has gone to another process.
    pub fn running(record: &Running) -> io::Result<Self> {
        let init = record.init;
        let handle = Handle::open(init)?;
        let maps = ["uid_map", "gid_map"].map(|file| made::read(format!("/proc/{init}/{file}")));
        let [uids, gids] = maps;
        let (uids, gids) = (uids?, gids?);
        let ids = first_host_id(&uids).zip(first_host_id(&gids)).ok_or(io::ErrorKind::InvalidData)?;
        let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(format!("/proc/{init}/root"), folder, Mode::empty())?;
        let map = IdMap { uid: super::host::ranges(&uids), gid: super::host::ranges(&gids) };
        let site = Self {
            users: Some(ns::open(init, "user")?),
            mounts: SiteMounts::Running { zone: ns::open(init, "mnt")?, host: ns::open_own("mnt")? },
            root: Some(root),
            ..Self::building(ids, map)
        };
        // Everything above was of that process when it lives now and is the one of the record.
        if start_time(init) != Some(record.init_start) || handle.wait_gone(0)? {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(site)
    }

    /// Makes the mount namespace that the zone is put together in, and calls `work` in it: processes started there
    /// stay there. `host` is the mount namespace of this process, and `run` the folder of run-time files.
    ///
    /// # Errors
    /// The system's error.
    pub fn begin<T>(&mut self, host: BorrowedFd<'a>, run: &Path, work: impl FnOnce() -> T) -> io::Result<T> {
        let (place, done) = ZoneMountNs::new(host, run, work)?;
        self.mounts = SiteMounts::Building(place);
        Ok(done)
    }

    /// Says to the ids of which user namespace mounts are mapped from now on.
    pub fn map_to(&mut self, users: OwnedFd) {
        self.users = Some(users);
    }

    /// Returns the zone's root, once it is mounted.
    pub(super) fn top(&self) -> Option<&OwnedFd> {
        self.root.as_ref()
    }

    /// Does something with mounts of the zone, which only a process among them can.
    pub(super) fn within<T>(&self, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match &self.mounts {
            SiteMounts::None => Err(io::Error::other("the plan makes no namespaces before it")),
            SiteMounts::Building(place) => place.within(work),
            SiteMounts::Running { zone, host } => {
                ns::join(zone.as_fd(), Kinds::MOUNT)?;
                let done = work();
                ns::join(host.as_fd(), Kinds::MOUNT)?;
                done
            }
        }
    }

    /// Makes a mount the zone's root.
    pub(super) fn set_root(&mut self, tree: MountFd) -> io::Result<()> {
        let SiteMounts::Building(place) = &self.mounts else {
            return Err(io::Error::other("the plan makes no namespaces before it"));
        };
        place.within(|| tree.attach(place.root()))?;
        self.root = Some(tree.into_fd());
        Ok(())
    }

    /// Attaches a mount where process 1 of a zone that is being put together lets go of it. The caller is
    /// [`Self::within`].
    pub(super) fn set_aside(&self, tree: &MountFd) -> io::Result<()> {
        match &self.mounts {
            SiteMounts::Building(place) => place.set_aside(tree),
            SiteMounts::None | SiteMounts::Running { .. } => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Attaches a mount in the zone.
    pub(super) fn put(&self, tree: &MountFd, at: BorrowedFd<'_>) -> io::Result<()> {
        match &self.mounts {
            SiteMounts::None | SiteMounts::Building(_) => self.within(|| tree.attach(at)),
            SiteMounts::Running { .. } => {
                let locked = locked::locked(tree, self.users.as_ref())?;
                self.within(|| locked.attach(at))
            }
        }
    }

    /// Unmounts a directory or file of the zone. Processes with open files there keep them.
    ///
    /// # Errors
    /// The system's error; `EINVAL` where nothing is mounted.
    pub fn unmount(&self, at: &Path) -> io::Result<()> {
        let (above, name) = at.parent().zip(at.file_name()).ok_or(io::ErrorKind::InvalidInput)?;
        let above = self.open(above)?;
        let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
        self.within(|| {
            rustix::process::fchdir(&above)?;
            Ok(rustix::mount::unmount(name, flags)?)
        })
    }
}
