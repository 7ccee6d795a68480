//! Files that are written for the zone, or covered.

use std::path::Path;

use super::{Build, StepError, kernel};
use crate::apply::etc::{EtcError, follow, keys};
use crate::apply::net;
use crate::apply::paths::Root;
use crate::plan::net::ZoneLink;
use crate::plan::step::FileStep;
use crate::sys::path::Dir;

impl Build<'_> {
    /// Carries out a step that writes or covers a file.
    pub(super) fn file(&mut self, root: &Root, step: &FileStep) -> Result<(), StepError> {
        match step {
            FileStep::Close { folder } => kernel::close(folder)?,
            FileStep::Commands { ending } => self.commands(*ending)?,
            FileStep::Resolver => self.resolver(),
            FileStep::HostId { id } => self.host_id(*id)?,
            FileStep::Names { root: inside, hostname, addresses } => {
                let state = root.zone_lib(self.zone);
                let links: Vec<&ZoneLink> = self.image.links.iter().collect();
                let names = net::resolver::ZoneNames { name: hostname, addresses, links: &links };
                self.report.warnings.extend(net::resolver::boot(inside, &state, names));
            }
            FileStep::HostEtc { root: inside, hostname } => {
                self.host_etc(inside, &root.zone_lib(self.zone), hostname);
            }
        }
        Ok(())
    }

    /// Brings `/etc` of a sparse zone up to date. A zone may have made it impossible: then it has its own way.
    fn host_etc(&mut self, inside: &Path, state: &Path, hostname: &str) {
        if let Err(e) = follow::boot(Path::new("/"), inside, state) {
            self.report.warnings.push(format!("/etc does not follow the host's programs: {e}"));
        }
        let opened = Dir::open_host(inside).map_err(EtcError::from);
        match opened.and_then(|root| keys::first_keys(&root, state, hostname)) {
            Ok(failed) => self.report.warnings.extend(failed),
            Err(e) => self.report.warnings.push(format!("the zone has no ssh host keys: {e}")),
        }
    }
}
