//! Limits of a zone: whether this host has what keeps them. Decided as for a boot.

use super::{Purpose, VerifyReport};
use crate::apply::boot::limits::host;
use crate::plan::limits::limits;
use crate::spec::schema::ResourceKind;
use crate::spec::{ZoneSpec, words};

pub fn check(spec: &ZoneSpec, purpose: Purpose, found: &mut VerifyReport) {
    for name in spec.stored(ResourceKind::Rctl).iter().filter_map(|r| r.text("name")) {
        if !words::RCTLS.contains(&name) {
            found.warn(format!("WARNING: Ignoring unrecognized rctl '{name}'."));
        }
    }
    let mut host = host(spec);
    if purpose != Purpose::Boot {
        // Processors that another zone has now may be free by the time this one boots.
        host.taken.clear();
    }
    match limits(spec, &host) {
        Ok(limits) => limits.warnings.into_iter().for_each(|w| found.warn(format!("WARNING: {w}"))),
        Err(errors) => errors.into_iter().for_each(|e| found.error(e.to_string())),
    }
}
