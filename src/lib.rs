//! Solaris-style zones for Linux.
//!
//! ```text
//! bin → cli → shell → parser → spec          spec: the leaf, imports nothing of ours
//!        └──→ apply → plan ──→ spec          plan never imports sys: it sees facts, not the machine
//!               ├───→ sys ───→ spec::name, spec::shown; parser, spec, plan: no files, no processes, no clock
//!               ├───→ guard ─→ zfs           guard: which ZFS requests a zone gets; decides, touches nothing
//!               └───→ zfs ───→ sys           zfs: OpenZFS, typed; of use without zones, too
//! ```
//!
//! Data first, effects last: text becomes commands ([`parser`]), commands change a spec ([`shell`]),
//! a spec and observed facts become a plan ([`plan`]), and only [`apply`] carries it out, through
//! [`sys`] and [`zfs`].

// See clippy.toml. Tests make and remove what they need; it does not bind them.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod apply;
pub mod cli;
pub mod guard;
pub mod parser;
pub mod plan;
pub mod shell;
pub mod spec;
pub mod sys;
pub mod zfs;
