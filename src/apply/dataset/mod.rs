//! Delegated datasets: given to a zone at boot, taken back at its end.
//!
//! | part | what |
//! |---|---|
//! | [`observe`] | what a dataset is, who else is configured to have it |
//! | [`withdraw`] | the host lets go of it: unmounted, `zoned=on`, owned by the zone's root |
//! | [`registry`] | attached to the zone's user namespace, and detached again |
//! | [`inside`] | mounted by the zone's first process |
//!
//! The kernel forgets nothing and tells nothing: an attachment lives until it is taken back through its
//! user namespace, also when all processes of the zone are dead, and nothing lists it. So the names are
//! written down and the namespace is pinned *before* the first attachment: whenever we are killed, the
//! next command finds both and undoes it.

pub mod inside;
pub mod observe;
pub mod registry;
pub mod withdraw;
