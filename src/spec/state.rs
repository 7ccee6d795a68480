//! The states of a zone and which operation may start in which state.
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

/// A subcommand of `zoneadm` whose start depends on the state of the zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Verb {
    Verify,
    Install,
    Clone,
    Attach,
    Uninstall,
    Detach,
    Move,
    Ready,
    Boot,
    Halt,
    Shutdown,
    Reboot,
    Mark,
}

impl Verb {
    /// Every verb, in the order of the interface's table.
    pub const ALL: [Self; 13] = [
        Self::Verify,
        Self::Install,
        Self::Clone,
        Self::Attach,
        Self::Uninstall,
        Self::Detach,
        Self::Move,
        Self::Ready,
        Self::Boot,
        Self::Halt,
        Self::Shutdown,
        Self::Reboot,
        Self::Mark,
    ];

    /// Returns the word as typed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Install => "install",
            Self::Clone => "clone",
            Self::Attach => "attach",
            Self::Uninstall => "uninstall",
            Self::Detach => "detach",
            Self::Move => "move",
            Self::Ready => "ready",
            Self::Boot => "boot",
            Self::Halt => "halt",
            Self::Shutdown => "shutdown",
            Self::Reboot => "reboot",
            Self::Mark => "mark",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a verb does in a state that allows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// It starts.
    Go,
    /// There is nothing to do; this is said and counts as success.
    Already(&'static str),
}

/// Why a verb does not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// No other text fits.
    #[error("{0} operation is invalid for {1} zones.")]
    Invalid(Verb, ZoneState),
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

/// Decides whether a verb may start on a zone in this state.
///
/// # Errors
/// [`Refusal`] with the text of the interface.
pub fn allowed(verb: Verb, state: ZoneState) -> Result<Start, Refusal> {
    use {Verb as V, ZoneState as S};
    let go = Ok(Start::Go);
    let invalid = Err(Refusal::Invalid(verb, state));
    match (verb, state) {
        (V::Verify | V::Ready | V::Boot, S::Incomplete) => Err(Refusal::Incomplete),
        (V::Verify, _) => go,

        (V::Install | V::Clone | V::Attach | V::Detach | V::Move, S::Incomplete) => Err(Refusal::Incomplete),
        (V::Install | V::Clone | V::Attach, S::Configured) | (V::Attach, S::Unavailable) => go,
        (V::Install | V::Clone | V::Attach, S::Installed) => Err(Refusal::AlreadyInstalled),
        (V::Uninstall, S::Configured) => Err(Refusal::AlreadyConfigured),
        (V::Uninstall, S::Incomplete | S::Installed | S::Unavailable) => go,
        (V::Detach | V::Move, S::Installed) => go,

        (V::Ready | V::Boot, S::Configured) => Err(Refusal::NotInstalled),
        (V::Ready, S::Ready) => Ok(Start::Already("zone is already ready")),
        (V::Boot, S::Running | S::ShuttingDown | S::Down) => Ok(Start::Already("zone is already booted")),
        (V::Ready, S::Installed | S::Running | S::ShuttingDown | S::Down) => go,
        (V::Boot, S::Installed | S::Ready) => go,

        (V::Halt, S::Installed) => Ok(Start::Already("zone is already halted")),
        (V::Halt, S::Ready | S::Running | S::ShuttingDown | S::Down) => go,
        (V::Shutdown | V::Reboot, S::Configured | S::Incomplete | S::Installed | S::Unavailable) => {
            Err(Refusal::NotRunning)
        }
        (V::Shutdown | V::Reboot, S::Running | S::ShuttingDown | S::Down) => go,

        (V::Mark, S::Configured | S::Incomplete | S::Installed | S::Unavailable) => go,

        (
            V::Install | V::Clone | V::Attach | V::Uninstall | V::Mark,
            S::Ready | S::Running | S::ShuttingDown | S::Down | S::Mounted,
        )
        | (V::Install | V::Clone, S::Unavailable)
        | (
            V::Detach | V::Move,
            S::Configured | S::Ready | S::Running | S::ShuttingDown | S::Down | S::Mounted | S::Unavailable,
        )
        | (V::Ready | V::Boot, S::Mounted | S::Unavailable)
        | (V::Halt, S::Configured | S::Incomplete | S::Mounted | S::Unavailable)
        | (V::Shutdown | V::Reboot, S::Ready | S::Mounted) => invalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_table() {
        use ZoneState as S;
        let states = [
            S::Configured,
            S::Incomplete,
            S::Installed,
            S::Ready,
            S::Running,
            S::ShuttingDown,
            S::Down,
            S::Mounted,
            S::Unavailable,
        ];
        // y: starts, m: done already, n: the general refusal, letters: the special ones.
        let cell = |verb, state| match allowed(verb, state) {
            Ok(Start::Go) => 'y',
            Ok(Start::Already(_)) => 'm',
            Err(Refusal::Invalid(v, s)) => {
                assert_eq!((v, s), (verb, state));
                'n'
            }
            Err(Refusal::AlreadyInstalled) => 'I',
            Err(Refusal::AlreadyConfigured) => 'C',
            Err(Refusal::Incomplete) => 'U',
            Err(Refusal::NotInstalled) => 'B',
            Err(Refusal::NotRunning) => 'R',
        };
        let mut table = String::from("          conf inco inst read runn shut down moun unav\n");
        for verb in Verb::ALL {
            table += &format!("{:9}", verb.as_str());
            for state in states {
                table += &format!("    {}", cell(verb, state));
            }
            table += "\n";
        }
        let wanted = "\x20         conf inco inst read runn shut down moun unav
verify       y    U    y    y    y    y    y    y    y
install      y    U    I    n    n    n    n    n    n
clone        y    U    I    n    n    n    n    n    n
attach       y    U    I    n    n    n    n    n    y
uninstall    C    y    y    n    n    n    n    n    y
detach       n    U    y    n    n    n    n    n    n
move         n    U    y    n    n    n    n    n    n
ready        B    U    y    m    y    y    y    n    n
boot         B    U    y    y    m    m    m    n    n
halt         n    n    m    y    y    y    y    n    n
shutdown     R    R    R    n    y    y    y    n    R
reboot       R    R    R    n    y    y    y    n    R
mark         y    y    y    n    n    n    n    n    y
";
        assert_eq!(table, wanted);
        let text = |verb, state| match allowed(verb, state) {
            Ok(Start::Go) => String::new(),
            Ok(Start::Already(text)) => text.to_owned(),
            Err(e) => e.to_string(),
        };
        assert_eq!(text(Verb::Install, S::Running), "install operation is invalid for running zones.");
        assert_eq!(text(Verb::Halt, S::Installed), "zone is already halted");
        assert_eq!(text(Verb::Boot, S::Configured), "must be installed before boot.");
    }
}
