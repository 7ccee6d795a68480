//! The zone's share of the machine, before anything of it runs.

use super::super::limits;
use super::{Build, StepError, fail};
use crate::plan::step::LimitStep;
use crate::spec::shown::Show;
use crate::sys::cgroup;

impl Build<'_> {
    /// Carries out a step that gives the zone its share.
    pub(super) fn limit(&mut self, step: &LimitStep) -> Result<(), StepError> {
        match step {
            LimitStep::Cgroup { path, guarded } => {
                let what = || format!("cgroup {}", path.shown());
                let fd = cgroup::make(path).map_err(|e| fail(what(), "cannot make it", e))?;
                cgroup::enable_all(path);
                cgroup::delegate(path, self.site.uid, self.site.gid)
                    .map_err(|e| fail(what(), "cannot delegate it", e))?;
                if *guarded {
                    limits::settings(&what(), path, &fd)?;
                }
                self.cgroup = Some(fd);
                Ok(())
            }
            LimitStep::Limits { path, settings } => limits::group(path, settings),
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
