//! Datasets become the zone's.

use super::{Build, Cause, StepError};
use crate::apply::dataset::withdraw::DelegationRequest;
use crate::apply::paths::Root;
use crate::apply::zfs;
use crate::plan::image::{OrderedMount, ZoneImage};
use crate::plan::step::{DatasetStep, MountSource};
use crate::zfs::Zfs;

impl Build<'_> {
    /// Carries out a step that makes a dataset the zone's.
    pub(super) fn dataset(&mut self, root: &Root, step: &DatasetStep) -> Result<(), StepError> {
        match step {
            DatasetStep::Withdraw { dataset, members, zoned, hide, volmode, volumes, .. } => {
                let volmode = volmode.as_deref();
                let wanted = DelegationRequest { dataset, zoned: *zoned, hide, volmode, volumes, members };
                self.withdraw(root, &wanted)
            }
            DatasetStep::Pin { .. } => self.site.pin(&self.run),
            DatasetStep::Delegate { dataset, .. } => {
                self.site.delegate(root, &open(dataset)?, dataset, self.zone)
            }
        }
    }

    fn withdraw(&mut self, root: &Root, wanted: &DelegationRequest<'_>) -> Result<(), StepError> {
        let zfs = open(wanted.dataset)?;
        let report = self.site.withdraw(root, &zfs, wanted, self.zone.as_str())?;
        self.report.warnings.extend(report.warnings);
        self.report.not_given.extend(report.not_given);
        Ok(())
    }
}

fn open(dataset: &str) -> Result<Zfs, StepError> {
    Zfs::open().map_err(|e| StepError::new(format!("dataset {dataset}"), e))
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
