//! Files in a zone's `/etc`, as an installation, a boot and a change of name write them.
//!
//! The root is a zone's, so every name in it is hostile.

pub mod accounts;
pub mod follow;
pub mod hostname;
pub mod keys;
pub mod sparse;

use thiserror::Error;

use crate::spec::store::StoreError;
use crate::sys::path::PathError;
use crate::sys::tree::{CopyError, RemoveError};

/// Why a file could not be written.
#[derive(Debug, Error)]
pub enum EtcError {
    /// A call of the system.
    #[error("{0}")]
    Path(#[from] PathError),
    /// A copy from the host.
    #[error("{0}")]
    Copy(#[from] CopyError),
    /// A removal.
    #[error("{0}")]
    Remove(#[from] RemoveError),
    /// A file of the host.
    #[error("{0}")]
    Store(#[from] StoreError),
}
