//! A zone's network: links made, addresses given, rules enforced, and all of it taken away again.
//!
//! ```text
//!  zone                 │ host                      │ outside
//!  eth0 ───────────── port ── guard ──┬── host's stack on eth0
//!  (a veth pair)        │             ├── other zones' ports
//!                       │             └── eth0 ─────┼───── the wire
//! ```
//!
//! Each link of a zone is one end of a pair. The other end, its *port*, stays on the host and carries the `guard`, a
//! small program that looks at every frame before anything else does. From there a frame goes straight to its
//! receiver: to another zone's port, into the host's link as if it had come in by the wire, or out by it. Two
//! programs on the host's link (`uplink`) do the same for frames from outside and from the host. Nothing of the host
//! is changed for that: no forwarding, no bridge, no route, no firewall rule; and where the host reloads its
//! firewall the rules for zones stay.
//!
//! While a zone runs, its supervisor follows what happens to the host's links (`follow`).
//!
//! The table of the zones lies in the kernel, and lives as long as the programs on the host's link. The last zone on
//! a link removes them.

pub mod able;
mod ahead;
mod build;
mod claims;
mod error;
pub mod follow;
mod frame;
mod guard;
mod inside;
mod lock;
pub mod observe;
pub mod ordinary;
mod probe;
pub mod resolver;
mod roles;
mod switch;
mod undo;
mod uplink;

pub use ahead::{ProgramsAhead, hand_over};
pub use build::Network;
pub use error::{AddressHolder, Lack, NetworkError};
pub use probe::Probe;
pub use undo::{PortRemoval, remove, remove_of_running};

use error::{bpf, net, net_unless, sys};

#[cfg(test)]
mod ahead_tests;
#[cfg(test)]
mod guard_tests;

/// The result of a step of a network; the message that is printed names the link.
type NetworkResult<T> = Result<T, NetworkError>;
