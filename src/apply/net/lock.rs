//! Serializes changes of the things that zones share on a link of the host.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use crate::apply::paths::Root;

/// Held while it lives; the kernel lets go of it with the process.
#[derive(Debug)]
pub struct NetLock {
    _file: File,
}

impl NetLock {
    /// Waits for the lock. It is the machine's, not that of an alternate root: links are.
    ///
    /// # Errors
    /// The system's error.
    pub fn wait() -> io::Result<Self> {
        let dir = Root::new(Some(Path::new("/"))).run_dir();
        if !dir.is_dir() {
            DirBuilder::new().recursive(true).mode(0o755).create(&dir)?;
        }
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let file = options.open(dir.join(".net-lock"))?;
        file.lock()?;
        Ok(Self { _file: file })
    }
}
