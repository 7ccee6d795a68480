//! The states of a zone and which operation may start in which state.

use std::fmt;

use serde::{Deserialize, Serialize};

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
