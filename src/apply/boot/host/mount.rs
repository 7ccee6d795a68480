//! Mounts in the zone that need the host's rights.

use super::{Build, StepError};
use crate::plan::step::MountStep;

impl Build<'_> {
    /// Carries out a step that mounts something.
    pub(super) fn mount(&mut self, step: &MountStep) -> Result<(), StepError> {
        match step {
            MountStep::Root { path } => self.site.mount_root(path),
            MountStep::Part { dir, writable } => self.part(dir, *writable),
            MountStep::ReadOnly { made, .. } => self.read_only(made),
            MountStep::Inherit { dir, programs } => self.site.inherit(dir, programs.as_deref()),
            MountStep::Memory { dir, mode, percent } => self.site.memory(dir, *mode, *percent),
            MountStep::Dev { nodes } => {
                self.dev(nodes)?;
                if self.image.limits.ipc.is_empty() { Ok(()) } else { self.queues() }
            }
            MountStep::Console => self.make_console(),
            MountStep::Proc { hidden, fixed } => self.proc(hidden, fixed),
            MountStep::Sys => self.sys(),
            MountStep::Fs(mount) => self.site.fs(mount),
        }
    }
}
