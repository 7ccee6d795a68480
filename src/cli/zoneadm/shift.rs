//! `zoneadm shift-ids`.

use std::ffi::OsString;

use super::table::Subcommand;
use super::{Exit, Zoneadm};
use crate::apply::dataset::shift::shift;
use crate::apply::{NO_ZFS_FACTS, Op, running};
use crate::spec::store::{StoreError, ZoneStore};

impl Zoneadm {
    /// Gives files of a zone's datasets the zone's ids.
    pub(super) fn shift_ids(&mut self, sub: &'static Subcommand, args: &[OsString]) -> Exit {
        let args = match self.read_args(sub, args) {
            Ok(args) => args,
            Err(end) => return end,
        };
        let first = args.number("-f").and_then(|id| u32::try_from(id).ok());
        let dataset = args.operand();
        let done = self.try_shift(dataset.as_deref(), first);
        self.report.finish();
        done.map_or_else(|end| end, |()| Exit::Good)
    }

    fn try_shift(&mut self, dataset: Option<&str>, first: Option<u32>) -> Result<(), Exit> {
        let name = self.subject("shift-ids")?;
        let lock = self.store.lock(&name, "zoneadm shift-ids").map_err(|e| self.fail(e))?;
        if let Some(running) = running::find(self.store.root(), &name) {
            return Err(self.fail(format!("shift-ids operation is invalid for {} zones.", running.state)));
        }
        let stored = self.store.load(&name).and_then(|stored| stored.ok_or(StoreError::NoZone));
        let spec = stored.map_err(|e| self.fail(e))?.spec;
        let mut op = Op::under(&lock, &self.store, &spec, &NO_ZFS_FACTS, &mut self.report);
        shift(&mut op, dataset, first).map_err(|e| self.fail(e))
    }
}
