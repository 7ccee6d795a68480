//! Delegated datasets: attached to a zone at boot, detached at its end.
//!
//! | part | task |
//! |---|---|
//! | [`observe`] | reads a dataset, and finds other zones that claim it |
//! | [`withdraw`] | hands it over from the host: unmounts it, sets `zoned=on`, gives it to the zone's root |
//! | [`registry`] | attaches it to the zone's user namespace, and detaches it again |
//! | [`inside`] | mounts it, in the zone's first process |
//! | [`reclaim`] | gives it back to the host, once it is harmless |
//! | [`shift`] | gives its files the ids of another zone |
//! | [`record`] | notes its state, for the next boot to compare |
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

/// Detaches all datasets of a zone, when its processes are gone. The caller holds the
/// zone's lock. Returns the failures.
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
