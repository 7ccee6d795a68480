//! The states of a zone, and the answer to an operation that is to start in one.
//!
//! ```text
//!             install            boot (through ready)
//! configured ─────────▶ installed ─────────▶ running ──┐
//!     ▲  │                 ▲  │ ready          ▲       │ halt, shutdown, reboot
//!     │  ▼                 │  └────▶ ready ────┘ boot  ▼
//!     incomplete           └────────────────── shutting_down, down
//!     uninstall
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// State of a zone, numbered as Solaris does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ZoneState {
    /// A spec exists, no root.
    Configured = 0,
    /// Install, uninstall or clone is going on or has failed.
    Incomplete = 1,
    /// The root exists, nothing runs.
    Installed = 2,
    /// Namespaces, mounts and devices are set up; init waits.
    Ready = 3,
    /// Init runs.
    Running = 4,
    /// Processes are being killed.
    ShuttingDown = 5,
    /// Processes are gone, not everything is torn down.
    Down = 6,
    /// Set up for administrative access to the root.
    Mounted = 7,
    /// Solaris 11: installed, but its storage is missing.
    Unavailable = 8,
}

impl ZoneState {
    /// Every state, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Configured,
        Self::Incomplete,
        Self::Installed,
        Self::Ready,
        Self::Running,
        Self::ShuttingDown,
        Self::Down,
        Self::Mounted,
        Self::Unavailable,
    ];

    /// Returns the word that `zoneadm list` prints.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Configured => "configured",
            Self::Incomplete => "incomplete",
            Self::Installed => "installed",
            Self::Ready => "ready",
            Self::Running => "running",
            Self::ShuttingDown => "shutting_down",
            Self::Down => "down",
            Self::Mounted => "mounted",
            Self::Unavailable => "unavailable",
        }
    }

    /// Says whether the kernel knows the zone in this state.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Ready | Self::Running | Self::ShuttingDown | Self::Down | Self::Mounted)
    }
}

impl fmt::Display for ZoneState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The effect of a verb in a state that allows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// It starts.
    Go,
    /// There is nothing to do; this is said and counts as success.
    Already(&'static str),
}

/// Why a verb does not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum StateError {
    /// No other text fits.
    #[error("{0} operation is invalid for {1} zones.")]
    Invalid(&'static str, ZoneState),
    /// There is a root already.
    #[error("is already installed.")]
    AlreadyInstalled,
    /// There is no root.
    #[error("is already in state 'configured'.")]
    AlreadyConfigured,
    /// There is half a root.
    #[error("zone is incomplete; uninstall required.")]
    Incomplete,
    /// There is no root to boot.
    #[error("must be installed before boot.")]
    NotInstalled,
    /// Nothing runs that could end.
    #[error("not running")]
    NotRunning,
}

/// The answer of a verb in a state: one cell of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerbDecision {
    /// It starts.
    Go,
    /// There is nothing to do.
    Already(&'static str),
    /// The general refusal.
    Invalid,
    /// Another refusal.
    Refuse(StateError),
}
