//! `fs` resources: bind mounts, memory, and file systems on devices, in image files and in datasets.

use std::fs::File;
use std::path::Path;

use rustix::fs::OFlags;

use super::super::error::{Cause, StepError, fail};
use super::super::{fsck, shared, source};
use super::{MountToAttach, Site};
use crate::apply::dataset::withdraw::NOWHERE;
use crate::plan::step::{Mount, MountSource};
use crate::sys::loopdev;
use crate::sys::mount::{Attrs, NewFs};

/// Says whether a file system can only be read.
fn is_image(fstype: &str) -> bool {
    matches!(fstype, "iso9660" | "udf" | "squashfs" | "cramfs")
}

impl Site<'_> {
    /// Mounts the resource.
    ///
    /// # Errors
    /// [`StepError`] that names it.
    pub fn fs(&mut self, mount: &Mount) -> Result<(), StepError> {
        let what = format!("fs {}", mount.dir);
        if let Some(raw) = &mount.raw {
            fsck::check(&mount.fstype, Path::new(raw)).map_err(|e| StepError::new(&what, e))?;
        }
        let o = &mount.options;
        let mut attrs = Attrs::empty();
        for (on, attr) in [
            (o.read_only, Attrs::RDONLY),
            (o.no_suid, Attrs::NOSUID),
            (!o.devices, Attrs::NODEV),
            (o.no_exec, Attrs::NOEXEC),
            (o.no_atime, Attrs::NOATIME),
            (o.no_dir_atime, Attrs::NODIRATIME),
            (o.strict_atime, Attrs::STRICTATIME),
        ] {
            attrs.set(attr, on);
        }
        match mount.source {
            MountSource::Bind => self.share(&what, mount, attrs),
            MountSource::Tmpfs => {
                let options = o.of_memory(&self.map).map_err(|e| StepError::new(&what, e))?;
                let options: Vec<_> = options.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
                let tree = self.tmpfs(&what, attrs, &options)?;
                self.attach_fs(&MountToAttach {
                    tree: &tree,
                    what: &what,
                    dir: &mount.dir,
                    is_directory: true,
                })
            }
            MountSource::Device | MountSource::Zfs => self.disk(&what, mount, attrs, &mount.special),
            MountSource::Image => {
                let flags = if o.read_only { OFlags::RDONLY } else { OFlags::RDWR };
                let image = source::open(&mount.special, mount.within.as_deref(), flags | OFlags::NONBLOCK);
                let image: File =
                    image.map_err(|e| fail(&what, format!("cannot open {}", mount.special), e))?.into();
                if !image.metadata().is_ok_and(|m| m.is_file()) {
                    let image = mount.special.clone();
                    return Err(StepError::new(what, Cause::NotAnImage { image }));
                }
                let device = loopdev::attach(&image, o.read_only).map_err(|e| {
                    fail(&what, format!("cannot make a loop device for {}", mount.special), e)
                })?;
                self.disk(&what, mount, attrs, &device.path.to_string_lossy())
            }
        }
    }

    fn disk(&self, what: &str, mount: &Mount, attrs: Attrs, source: &str) -> Result<(), StepError> {
        let made = NewFs::open(&mount.fstype).and_then(|fs| {
            fs.set("source", source)?;
            if mount.source == MountSource::Zfs {
                fs.set("mntpoint", NOWHERE)?;
            }
            if mount.options.read_only {
                fs.flag("ro")?;
            }
            for (key, value) in &mount.options.data {
                match value {
                    Some(value) => fs.set(key, value)?,
                    None => fs.flag(key)?,
                }
            }
            fs.mount(attrs)
        });
        let tree = made.map_err(|source| {
            let cause = match source.source.raw_os_error() {
                Some(libc::ENODEV) if mount.source == MountSource::Zfs => Cause::NoZfs(source),
                Some(libc::ENODEV) => Cause::NoFileSystem { fstype: mount.fstype.clone(), source },
                _ => {
                    let action = format!("cannot mount {} as {}", mount.special, mount.fstype).into();
                    Cause::Mount { action, source }
                }
            };
            StepError::new(what, cause)
        })?;
        let read_only = mount.options.read_only || is_image(&mount.fstype);
        match self.shift(&tree, what, attrs, false) {
            // Without mapped ids a read-only mount shows its owners as unknown ids, and is readable as its modes say.
            Err(_)
                if read_only && mount.source != MountSource::Zfs && !shared::is_of_kernel(&mount.fstype) => {}
            Err(e) if mount.source == MountSource::Zfs => {
                return Err(StepError::new(what, Cause::NoIdMapping(e.cause)));
            }
            Err(e) => {
                return Err(e.with_note("'add options ro' mounts it read-only, its files as those of nobody"));
            }
            Ok(()) => {}
        }
        self.attach_fs(&MountToAttach { tree: &tree, what, dir: &mount.dir, is_directory: true })
    }
}
