//! The store of specs and states: `/etc/zones.d` and `/var/lib/zones`, below the root.

use crate::apply::paths::Root;

/// The keeper of specs, templates and states on disk.
#[derive(Clone, Debug)]
pub struct FileStore {
    root: Root,
}

impl FileStore {
    /// Returns the store below a root. Touches nothing.
    pub fn open(root: Root) -> Self {
        Self { root }
    }

    /// Returns the root.
    pub fn root(&self) -> &Root {
        &self.root
    }
}
