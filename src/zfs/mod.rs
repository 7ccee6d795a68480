//! OpenZFS, typed: every function of `libzfs_core` that administers datasets, and the requests that
//! it lacks.
//!
//! [`Zfs`] is the opened system. Its methods are the functions of the C library one to one, under
//! their names without `lzc_`, with natural types: lists of properties are [`nvlist::List`], flags are
//! sets, optional arguments are `Option`, and each function has an error enum of its own that says
//! what the error number means *for that call* ([`error`]). A call about several objects fails with a
//! [`error::Batch`]: each object's error by its name.
//!
//! Operations that the library lacks (read, set and inherit properties, list children and snapshots, give a dataset
//! to a user namespace, list pools) go to the kernel directly, through one descriptor of the control device.
//!
//! ```no_run
//! use zones::zfs::{DatasetKind, Zfs, nvlist::List};
//!
//! let zfs = Zfs::open()?;
//! let props: List = [("quota", 10u64 << 30), ("zoned", 1)].into();
//! zfs.create("tank/zion", DatasetKind::Filesystem, &props, None)?;
//! zfs.snapshot(&["tank/zion@new"], &List::new())?;
//! assert!(zfs.exists("tank/zion@new")?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The library is opened at run time (`libzfs_core.so.3`, the same name from OpenZFS 2.0 on); nothing
//! of ZFS is needed to build or start a program. A function that the installed library lacks fails
//! with [`error::CallFailure::Missing`]; without the library, the calls that need it fail with
//! [`error::CallFailure::Library`], and those that go to the kernel directly still work.
//!
//! Calls block, some until the pool has written a transaction group. [`Zfs::send`] and the receive
//! functions may start a helper thread inside the C library when the descriptor is not a pipe.

mod dataset;
pub mod error;
mod key;
pub mod name;
pub mod nvlist;
mod permissions;
mod pool;
mod property;
mod snapshot;
mod stream;
mod token;
mod userns;
mod words;

use std::io;

use thiserror::Error;

pub use dataset::*;
pub use key::*;
pub use permissions::*;
pub use pool::*;
pub use property::*;
pub use snapshot::*;
pub use stream::*;
pub use token::*;
pub use userns::*;

use crate::sys::zfs::{Core, CoreError, Device};

/// The ZFS of this machine.
#[derive(Debug)]
pub struct Zfs {
    core: Result<Core, String>,
    device: Device,
}

/// Why ZFS cannot be used on this machine.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The module is not loaded: there is no control device.
    #[error(
        "/dev/zfs is not there: the ZFS module is not loaded (install zfs-dkms or your system's ZFS package, then 'modprobe zfs')"
    )]
    NoModule,
    /// The control device is there but may not be opened.
    #[error("/dev/zfs cannot be opened")]
    Device(#[source] io::Error),
}

impl Zfs {
    /// Opens the control device and the library.
    ///
    /// # Errors
    /// [`OpenError`] when there is no control device. A missing library is no error here: see the
    /// description of the module.
    pub fn open() -> Result<Self, OpenError> {
        let device = Device::open().map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => OpenError::NoModule,
            _ if matches!(e.raw_os_error(), Some(libc::ENXIO | libc::ENODEV)) => OpenError::NoModule,
            _ => OpenError::Device(e),
        })?;
        Ok(Self { core: Core::open().map_err(|e| e.to_string()), device })
    }

    /// Returns why the library is not used, if it is not: one line for the log.
    pub fn library_trouble(&self) -> Option<&str> {
        self.core.as_ref().err().map(String::as_str)
    }

    fn core(&self) -> Result<&Core, CoreError> {
        self.core.as_ref().map_err(|text| CoreError::Library(text.clone()))
    }
}
