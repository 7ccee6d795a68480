//! The shell of `zonecfg`: a session that turns commands into an edited spec, the texts it prints,
//! and the loops that feed it from a terminal, a file or the command line.
//!
//! ```text
//!  editor (terminal) ─┐                  ┌─ info, export, help: text from the table
//!  script (-f, stdin,  ├─ parser ─ Session┤
//!          argv)     ─┘                  └─ ZoneStore: specs, states, templates
//! ```
//!
//! [`EditSession`] reads no file and no clock; whatever it wants from the outside it asks of a
//! [`UserInterface`] or the store.

pub mod console;
pub mod editor;
pub mod export;
pub mod help;
pub mod host;
mod index;
pub mod info;
mod inner;
mod lifecycle;
mod pick;
mod resources;
pub mod script;
pub mod session;
mod show;
mod templates;
#[cfg(test)]
mod tests;

pub use console::{Complaint, Confirmation, UserInterface};
pub use session::{EditSession, Flow, InputEnd, SessionOptions};
