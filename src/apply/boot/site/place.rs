//! The mount namespace that a zone is put together in.
//!
//! A new mount namespace is a copy of the one that its maker is in, mount by mount, and the zone's own one
//! is a copy of that again: on a host with thousands of mounts (datasets, containers, other zones) that
//! would be most of a boot. So the one to begin with is that of the kernel's own process for `/dev`,
//! kdevtmpfs, which has had a namespace with two mounts since Linux 2.6.32. Where there is none, or it
//! cannot be joined (in a container), it is the host's.
//!
//! Things that a zone gets from the host are opened and copied in the host's namespace; here they are put together,
//! and the zone's first process, which begins here, lets go of all the rest (pivot_root):
//!
//! ```text
//! /       memory
//! ├ proc  the host's, for the first process, and for the kernel to see: where it is not there, or covered in
//! ├ sys   parts, no process of the zone can mount one (mount_too_revealing)
//! ├ old   whatever the namespace has begun with
//! ├ aside mounts of which only parts go into the root
//! └ root  the zone's root
//! ```

use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags, mkdirat, openat};
use rustix::mount::{MountPropagationFlags, mount_change};

use crate::sys::made;
use crate::sys::mount::{Attrs, MountFd, NewFs};
use crate::sys::ns::{self, Kinds};
use crate::sys::process::is_kernel_thread;

/// The kernel's process whose namespace is used.
const KERNEL: &str = "kdevtmpfs";
/// Name of the file that keeps its process id, in the folder of run-time files: finding it anew takes a look at
/// every process before it.
const NOTE: &str = ".kdevtmpfs";
/// It is among the first processes: before it the kernel starts some for each processor.
const FIRST: i32 = 64;
const FOR_EACH: i32 = 32;

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A mount namespace of one zone, seen from the host's.
#[derive(Debug)]
pub struct ZoneMountNs<'h> {
    namespace: OwnedFd,
    host: BorrowedFd<'h>,
    root: OwnedFd,
}

impl<'h> ZoneMountNs<'h> {
    /// Makes it, and calls `work` in it: processes started there stay there. `run` is the folder of run-time files.
    ///
    /// # Errors
    /// The system's error.
    pub fn new<T>(host: BorrowedFd<'h>, run: &Path, work: impl FnOnce() -> T) -> io::Result<(Self, T)> {
        let made = make(run).map(|(namespace, root)| (namespace, root, work()));
        ns::join(host, Kinds::MOUNT)?;
        let (namespace, root, done) = made?;
        Ok((Self { namespace, host, root }, done))
    }

    /// Returns where the zone's root goes.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Attaches a mount beside the zone's root, where its first process lets go of it. The caller is
    /// [`Self::within`].
    ///
    /// # Errors
    /// The system's error.
    pub fn set_aside(&self, tree: &MountFd) -> io::Result<()> {
        tree.attach(rustix::fs::open("/aside", DIRECTORY, Mode::empty())?.as_fd())
    }

    /// Calls `work` within the zone's mount namespace: only a process in it can attach mounts there.
    ///
    /// # Errors
    /// The system's error.
    pub fn within<T>(&self, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        ns::join(self.namespace.as_fd(), Kinds::MOUNT)?;
        let done = work();
        ns::join(self.host, Kinds::MOUNT)?;
        done
    }
}

fn make(run: &Path) -> io::Result<(OwnedFd, OwnedFd)> {
    let copy = |dir: &str| MountFd::copy(rustix::fs::open(dir, DIRECTORY, Mode::empty())?.as_fd(), false);
    let shown = [("proc", copy("/proc")?), ("sys", copy("/sys")?)];
    let small = kernels(run).and_then(|pid| ns::open(pid, "mnt").ok());
    // Joining is refused in a container, or by a security module: then the host's namespace is the base.
    let _ = small.map(|fd| ns::join(fd.as_fd(), Kinds::MOUNT));
    ns::unshare(Kinds::MOUNT)?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let memory = NewFs::open("tmpfs").and_then(|fs| {
        for (key, value) in [("mode", "755"), ("size", "16k"), ("nr_inodes", "8")] {
            fs.set(key, value)?;
        }
        fs.mount(Attrs::NOSUID | Attrs::NODEV | Attrs::NOEXEC)
    });
    let memory = memory.map_err(|e| e.source)?;
    let inside = |name: &str| -> io::Result<OwnedFd> {
        mkdirat(&memory, name, Mode::from(0o755))?;
        Ok(openat(&memory, name, DIRECTORY, Mode::empty())?)
    };
    let below = rustix::fs::open("/", DIRECTORY, Mode::empty())?;
    memory.attach(below.as_fd())?;
    for (name, tree) in shown {
        tree.attach(inside(name)?.as_fd())?;
    }
    let root = inside("root")?;
    drop(inside("old")?);
    mkdirat(&memory, "aside", Mode::from(0o755))?;
    // pivot_root, not chroot: otherwise the old tree stays mounted, hidden, in the zone.
    rustix::process::fchdir(&memory)?;
    rustix::process::pivot_root(".", "old")?;
    rustix::process::chdir("/")?;
    Ok((ns::open_own("mnt")?, root))
}

/// Finds kdevtmpfs.
fn kernels(run: &Path) -> Option<i32> {
    let note = run.join(NOTE);
    let noted = fs::read_to_string(&note).ok().and_then(|text| text.trim().parse().ok());
    if let Some(pid) = noted.filter(|pid| is_kernel_thread(*pid, KERNEL)) {
        return Some(pid);
    }
    let last = FIRST + processors().saturating_mul(FOR_EACH);
    let found = (2..=last).find(|pid| is_kernel_thread(*pid, KERNEL))?;
    // An error is ignored: without the file the next boot searches again.
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o644);
    let _ = options.open(&note).and_then(|mut file| writeln!(file, "{found}"));
    Some(found)
}

/// Returns how many processors the kernel has prepared for, whatever this process' own affinity is.
fn processors() -> i32 {
    let list = made::read("/sys/devices/system/cpu/possible").unwrap_or_default();
    list.trim().rsplit(['-', ',']).next().and_then(|last| last.parse().ok()).map_or(1, |last: i32| last + 1)
}
