//! `zoneadm shift-ids`.

use std::ffi::OsString;

use lexopt::{Arg, Parser};

use super::{End, Program};
use crate::apply::dataset::shift::shift;
use crate::apply::{NOTHING_SEEN, Op, running};
use crate::spec::store::{StoreError, ZoneStore};

impl Program {
    /// Gives files of a zone's datasets the zone's ids.
    pub(super) fn shift_ids(&mut self, args: Vec<OsString>) -> End {
        let (mut first, mut dataset) = (None, None);
        let mut parser = Parser::from_args(args);
        loop {
            let arg = match parser.next() {
                Ok(Some(arg)) => arg,
                Ok(None) => break,
                Err(_) => return self.sub_usage("shift-ids", false),
            };
            match arg {
                Arg::Short('f') => {
                    let id = parser.value().ok().and_then(|v| v.to_string_lossy().parse::<u32>().ok());
                    let Some(id) = id else { return self.sub_usage("shift-ids", false) };
                    first = Some(id);
                }
                Arg::Value(name) if dataset.is_none() => dataset = Some(name.to_string_lossy().into_owned()),
                Arg::Short('?') | Arg::Long("help") => return self.sub_usage("shift-ids", true),
                _ => return self.sub_usage("shift-ids", false),
            }
        }
        let done = self.try_shift(dataset.as_deref(), first);
        self.report.finish();
        done.map_or_else(|end| end, |()| End::Good)
    }

    fn try_shift(&mut self, dataset: Option<&str>, first: Option<u32>) -> Result<(), End> {
        let name = self.subject("shift-ids")?;
        let lock = self.store.lock(&name, "zoneadm shift-ids").map_err(|e| self.fail(e))?;
        if let Some(running) = running::find(self.store.root(), &name) {
            return Err(self.fail(format!("shift-ids operation is invalid for {} zones.", running.state)));
        }
        let stored = self.store.load(&name).and_then(|stored| stored.ok_or(StoreError::NoZone));
        let spec = stored.map_err(|e| self.fail(e))?.spec;
        let mut op = Op::under(&lock, &self.store, &spec, &NOTHING_SEEN, &mut self.report);
        shift(&mut op, dataset, first).map_err(|e| self.fail(e))
    }
}
