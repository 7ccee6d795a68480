//! Why a zone cannot be as its spec says.

use thiserror::Error;

use crate::plan::confine::ConfineError;
use crate::plan::limits::LimitError;
use crate::plan::options::UnknownOption;
use crate::plan::{dataset, net, order, zfs};
use crate::spec::privilege::PrivilegeError;

/// Why the zone cannot be booted as its spec says.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PlanError {
    /// A type that is never mounted for a zone.
    #[error("cannot verify fs {dir}: type {fstype} is not allowed.")]
    TypeNotAllowed {
        /// Mount point.
        dir: String,
        /// Type.
        fstype: String,
    },
    /// The source is not there.
    #[error("could not verify fs {dir}: could not access {special}: {reason}")]
    NoSpecial {
        /// Mount point.
        dir: String,
        /// MountSource.
        special: String,
        /// The system's reason.
        reason: String,
    },
    /// The source is of the wrong kind.
    #[error("could not verify fs {dir}: '{special}' is {found}, and type {fstype} needs {needed}")]
    WrongSpecial {
        /// Mount point.
        dir: String,
        /// MountSource.
        special: String,
        /// The actual value.
        found: &'static str,
        /// Type.
        fstype: String,
        /// The expected value.
        needed: &'static str,
    },
    /// An unknown option.
    #[error("could not verify fs {dir}: {source}")]
    Option {
        /// Mount point.
        dir: String,
        /// Which.
        source: UnknownOption,
    },
    /// A mount point that belongs to the system.
    #[error("could not verify fs {0}: the zone's own {1} is mounted there; choose another dir")]
    ReservedDir(String, &'static str),
    /// An inherited directory that the zone has of its own.
    #[error("{0}")]
    Inherited(#[from] order::Reserved),
    /// A dataset that the zone cannot have.
    #[error("{0}")]
    Zfs(#[from] zfs::ZfsMountError),
    /// A network that the zone cannot have.
    #[error("{0}")]
    Net(#[from] net::NetworkPlanError),
    /// Limits that cannot be kept.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Limits(Vec<LimitError>),
    /// Privileges that cannot be.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Privileges(Vec<PrivilegeError>),
    /// A confinement that cannot be kept.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Confine(Vec<ConfineError>),
    /// A dataset that cannot be delegated to the zone.
    #[error("{0}")]
    Dataset(#[from] dataset::DelegationError),
    /// Something that this release cannot do.
    #[error("{0}")]
    Unsupported(String),
}
