//! Inherited directories: what of them the zone does not get, because other users of the host do not either.

use super::VerifyReport;
use crate::apply::inherit;
use crate::apply::paths::Root;
use crate::plan::inherit::{list_some, runs_set_id};
use crate::spec::Props;

pub fn check(root: &Root, resource: &Props, found: &mut VerifyReport) {
    let dir = resource.text("dir").unwrap_or_default();
    // A directory that is a link in the zone's root as well needs no mount; the boot reports a missing one.
    let runs = runs_set_id(resource);
    // A boot asks for the programs of such a directory alone.
    let Ok(seen) = inherit::closed(root, dir, runs) else { return };
    if runs && !seen.hidden.is_empty() {
        found.warn(format!(
            "WARNING: inherit-pkg-dir {dir}: without their set-user-id and like bits run, since not all users of \
             the host may read them: {}",
            list_some(dir, &seen.hidden)
        ));
    }
    if !seen.closed.is_empty() {
        found.warn(format!(
            "WARNING: inherit-pkg-dir {dir}: closed to the zone, since not all users of the host may read it: {}",
            list_some(dir, &seen.closed)
        ));
    }
}
