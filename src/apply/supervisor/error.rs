//! Why a supervisor could not start or boot its zone.

use std::io;

use thiserror::Error;

use crate::apply::boot::BootError;
use crate::apply::boot::error::{Process1Error, UpError};
use crate::plan::boot::PlanError;
use crate::spec::store::StoreError;

/// Why init of a ready zone was not started, in the words that the command which asked for it gets.
#[derive(Debug, Error)]
pub(super) enum StartInitError {
    /// The supervisor has no zone.
    #[error("the zone is not ready")]
    NotReady,
    /// Init runs.
    #[error("zone is already booted")]
    Booted,
    /// Process 1 cannot be opened, or the record cannot be written.
    #[error(transparent)]
    System(#[from] io::Error),
    /// Process 1 could not execute init.
    #[error(transparent)]
    Process1(#[from] Process1Error),
}

/// Why a zone that ended was not booted again.
#[derive(Debug, Error)]
pub(super) enum RebootError {
    /// The spec or the ids of the zone cannot be read, or there is no spec any more.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The host could not be looked at.
    #[error(transparent)]
    Observe(#[from] BootError),
    /// The zone cannot boot on this host as it is now.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A step of the boot failed.
    #[error(transparent)]
    Up(#[from] UpError),
}
