//! The requests to ZFS that a zone may make, beyond the checks of the kernel itself. This module only computes.
//!
//! [`calls`] says of each request that `/dev/zfs` knows whether a zone gets it, gets it checked, or does
//! not get it. [`decide`] checks one: a copy of the request against the locked properties.

pub mod calls;
mod decide;
mod locks;

pub use decide::{Checked, CheckedRequest, DenialReason, Error, ReceiveTarget, Verdict, decide};
pub use locks::{DatasetPosition, DelegatedDataset, Locks, canonical};
