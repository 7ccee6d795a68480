//! Delegated datasets: given to a zone at boot, taken back at its end.
//!
//! | part | what |
//! |---|---|
//! | [`observe`] | what a dataset is, who else is configured to have it |
//! | [`withdraw`] | the host lets go of it: unmounted, `zoned=on`, owned by the zone's root |
//! | [`registry`] | attached to the zone's user namespace, and detached again |
//! | [`inside`] | mounted by the zone's first process |
//! | [`reclaim`] | given back to the host, once it is harmless |
//! | [`shift`] | its files get the ids of another zone |
//! | [`record`] | what they were like, for the next boot to compare |
//!
//! The kernel forgets no attachment and lists none: it lives until it is taken back through its user namespace, also
//! when all processes of the zone are dead. So the names are written down and the namespace is pinned *before* the
//! first attachment: whenever we are killed, the next command finds both and undoes it.

pub mod inside;
pub mod observe;
pub mod reclaim;
pub mod record;
pub mod registry;
pub mod shift;
mod walk;
pub mod withdraw;

use crate::apply::paths::Root;
use crate::apply::rundir::{DATASETS, copy};
use crate::spec::ZoneName;

/// Takes everything back that a zone was given, when its processes are gone. The caller holds the
/// zone's lock. Returns what went wrong.
pub fn take_back(root: &Root, zone: &ZoneName) -> Vec<String> {
    let run = root.zone_run(zone);
    if !registry::is_left(&run) {
        return Vec::new();
    }
    record::note_end(root, zone);
    registry::release(&run)
}

/// Returns the datasets that are attached to a zone, or may be, also where its run-time folder is lost.
pub fn attached_datasets(root: &Root, zone: &ZoneName) -> Vec<String> {
    let noted = registry::recorded(&root.zone_run(zone));
    if !noted.is_empty() {
        return noted;
    }
    let kept = copy::file(root, zone, DATASETS).unwrap_or_default();
    String::from_utf8_lossy(&kept).lines().map(str::to_owned).collect()
}
