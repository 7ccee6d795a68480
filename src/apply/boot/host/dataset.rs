//! Datasets become the zone's.

use std::os::fd::AsFd;

use super::{Build, Cause, StepError, fail};
use crate::apply::dataset::withdraw::DelegationRequest;
use crate::apply::paths::Root;
use crate::apply::{dataset, zfs};
use crate::plan::image::{OrderedMount, ZoneImage};
use crate::plan::step::{DatasetStep, MountSource};
use crate::zfs::Zfs;

fn no_namespace(what: &str) -> StepError {
    StepError::new(what, Cause::Plan("makes no user namespace before it"))
}

impl Build<'_> {
    /// Carries out a step that makes a dataset the zone's.
    pub(super) fn dataset(&mut self, root: &Root, step: &DatasetStep) -> Result<(), StepError> {
        match step {
            DatasetStep::Withdraw { dataset, members, zoned, hide, volmode, volumes, .. } => {
                let volmode = volmode.as_deref();
                let wanted = DelegationRequest { dataset, zoned: *zoned, hide, volmode, volumes, members };
                self.withdraw(root, &wanted)
            }
            DatasetStep::Pin { .. } => self.pin(),
            DatasetStep::Delegate { dataset, .. } => self.delegate(dataset),
        }
    }

    fn withdraw(&mut self, root: &Root, wanted: &DelegationRequest<'_>) -> Result<(), StepError> {
        let what = || format!("dataset {}", wanted.dataset);
        let zfs = Zfs::open().map_err(|e| StepError::new(what(), e))?;
        let report = dataset::withdraw::withdraw(root, &zfs, wanted, &self.ids)
            .map_err(|e| StepError::new(what(), e))?;
        self.report.warnings.extend(report.warnings);
        self.report.not_given.extend(report.not_given);
        Ok(())
    }

    /// Pins the user namespace in the host's mounts: there it outlives every process of ours.
    fn pin(&self) -> Result<(), StepError> {
        let what = "user namespace";
        let users = self.site.users.as_ref().ok_or_else(|| no_namespace(what))?;
        let pinned = dataset::registry::pin(&self.run, users.as_fd());
        pinned.map_err(|e| fail(what, "cannot pin it", e))
    }

    fn delegate(&self, dataset: &str) -> Result<(), StepError> {
        let what = format!("dataset {dataset}");
        let users = self.site.users.as_ref().ok_or_else(|| no_namespace(&what))?;
        dataset::registry::note(&self.run, dataset).map_err(|e| fail(&what, "cannot note it", e))?;
        let zfs = Zfs::open().map_err(|e| StepError::new(&what, e))?;
        dataset::registry::attach(&zfs, dataset, users.as_fd()).map_err(|e| StepError::new(what, e))
    }
}

/// Makes sure that no other zone has mounted a dataset since the plan was made: ZFS itself mounts it any
/// number of times.
pub(super) fn no_other_has(root: &Root, image: &ZoneImage, booting: Option<i32>) -> Result<(), StepError> {
    let mounts = || {
        image.mounts.then.iter().filter_map(|placed| match placed {
            OrderedMount::Fs(m) if m.source == MountSource::Zfs => Some(m),
            _ => None,
        })
    };
    let names: Vec<&str> = mounts().map(|m| m.special.as_str()).collect();
    if names.is_empty() {
        return Ok(());
    }
    match zfs::mounted_by_others(root, &names, booting) {
        None => Ok(()),
        Some((name, holder)) => {
            let dir = mounts().find(|m| m.special == name).map_or("", |m| m.dir.as_str());
            Err(StepError::new(format!("fs {dir}"), Cause::Mounted { dataset: name.to_owned(), holder }))
        }
    }
}
