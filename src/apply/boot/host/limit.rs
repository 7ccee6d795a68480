//! The zone's share of the machine, before anything of it runs.

use super::super::limits;
use super::{Build, StepError};
use crate::plan::step::LimitStep;
use crate::sys::cgroup::mount_point as top;

impl Build<'_> {
    /// Carries out a step that gives the zone its share.
    pub(super) fn limit(&mut self, step: &LimitStep) -> Result<(), StepError> {
        match step {
            LimitStep::Cgroup { path, guarded } => {
                let owner = (self.site.uid, self.site.gid);
                self.cgroup = Some(limits::make(top().as_deref(), path, owner, *guarded)?);
                Ok(())
            }
            LimitStep::Limits { path, settings } => limits::group(top().as_deref(), path, settings),
            LimitStep::Process { locked, policy } => limits::process(*locked, *policy),
            LimitStep::Ipc { settings } => limits::ipc(settings),
            // They are properties of a user namespace, which is made around the zone's own.
            LimitStep::Counts { limits } => {
                self.bounds = Some(limits.clone());
                Ok(())
            }
        }
    }
}
