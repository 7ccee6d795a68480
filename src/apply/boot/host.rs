//! The supervisor's side of a boot: everything that needs the host's rights.
//!
//! All mounts are made in a mount namespace of their own (`place`), which the zone's first process then
//! copies. The host's mount table is never touched, so a crash leaves nothing mounted.

mod commands;
mod dataset;
mod dev;
mod file;
mod hostid;
mod kernel;
mod limit;
mod mount;
mod namespaces;
mod profile;
mod resolver;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::error::{Cause, Process1Error, StepError, fail};
use super::site::Site;
use super::zone;
use crate::apply::dataset::withdraw::{self, HandoverReport, ZoneIds};
use crate::apply::engine;
use crate::apply::guard;
use crate::apply::journal::boot::BootJournal;
use crate::apply::journal::steps::{self, Interruption};
use crate::apply::net;
use crate::apply::paths::Root;
use crate::apply::rundir;
use crate::plan::image::ZoneImage;
use crate::plan::net::ZoneLink;
use crate::plan::step::{BootStep, HostStep, InitProgram};
use crate::spec::ZoneName;
use crate::spec::idmap::{IdMap, IdRange};
use crate::sys::channel::Channel;
use crate::sys::mount::{Attrs, MountFd};
use crate::sys::naive::without;
use crate::sys::ns::{self, Kinds};
use crate::sys::process::{self, Handle};

/// A zone whose first process waits for the word to start init.
#[derive(Debug)]
pub struct ReadyZone {
    /// Process id of the first process.
    pub pid: i32,
    /// The same, safe against reuse.
    pub handle: Handle,
    /// The way to it.
    pub channel: Channel,
    /// Warnings for the administrators of host and zone.
    pub report: HandoverReport,
}

/// The state that the steps share.
struct Build<'a> {
    zone: &'a ZoneName,
    /// The image of the zone.
    image: &'a ZoneImage,
    /// The zone's run-time folder.
    run: PathBuf,
    /// The host's mount namespace.
    host: BorrowedFd<'a>,
    ids: ZoneIds,
    report: HandoverReport,
    /// Where its mounts are.
    site: Site<'a>,
    console: BorrowedFd<'a>,
    channel: Option<Channel>,
    /// Limits of the namespace around the zone's own.
    bounds: Option<Vec<(&'static str, u32)>>,
    cgroup: Option<OwnedFd>,
    process: Option<(i32, Handle)>,
    /// The mount that becomes `/dev/console`, detached.
    terminal: Option<MountFd>,
    /// Where the zone's requests to ZFS arrive.
    listener: Option<OwnedFd>,
    network: Option<net::Network<'a>>,
    /// The zone's network namespace, once process 1 has sent it.
    net: Option<OwnedFd>,
}

/// The steps of a boot, and their input.
#[derive(Debug)]
pub struct BuildInput<'a> {
    /// The image of the zone, which is stored.
    pub image: &'a ZoneImage,
    /// The steps of the plan.
    pub steps: &'a [BootStep],
    /// The probe for the zone's addresses, whose questions were sent already.
    pub asked: net::Probe,
    /// The programs of its links that are made ahead.
    pub ahead: net::ProgramsAhead<'a>,
    /// The terminal that becomes the zone's `/dev/console`.
    pub console: BorrowedFd<'a>,
    /// The image of the built-in init.
    pub init: &'a Path,
}

/// Carries out the host's steps and waits until the zone's first process has done its own.
///
/// `root_ids` are the host ids of the zone's root. `meanwhile` is called while process 1 works, with an empty umask.
/// On failure everything has been undone.
///
/// # Errors
/// [`StepError`] of the first step that failed.
pub fn make_ready(
    root: &Root,
    zone: &ZoneName,
    root_ids: (u32, u32),
    work: BuildInput<'_>,
    journal: &mut BootJournal,
    meanwhile: impl FnOnce() -> Result<(), StepError>,
) -> Result<ReadyZone, StepError> {
    let BuildInput { image, steps, .. } = work;
    let network = net::Network::begin(&image.links, work.asked, work.ahead);
    let network = network.map_err(|e| StepError::new("net", e))?;
    let host = ns::open_own("mnt").map_err(|e| fail("boot", "cannot open the mount namespace", e))?;
    let ipc = (!image.limits.ipc.is_empty()).then(|| ns::open_own("ipc")).transpose();
    let ipc = ipc.map_err(|e| fail("boot", "cannot open the ipc namespace", e))?;
    let map = IdMap { uid: ranges(&image.ids.uid_map), gid: ranges(&image.ids.gid_map) };
    let site = Site::building(root_ids, map);
    let mut build = Build {
        zone,
        image,
        run: root.zone_run(zone),
        host: host.as_fd(),
        ids: site.ids(zone.as_str()),
        report: HandoverReport::default(),
        site,
        console: work.console,
        channel: None,
        bounds: None,
        cgroup: None,
        process: None,
        terminal: None,
        listener: None,
        network,
        net: None,
    };
    // The modes of nodes and directories are exact.
    let umask = rustix::process::umask(Mode::empty());
    let done = build.run(root, steps, work.init, journal, meanwhile);
    rustix::process::umask(umask);
    let back = ipc
        .map_or(Ok(()), |ipc| ns::join(ipc.as_fd(), Kinds::IPC))
        .map_err(|e| fail("boot", "cannot return to the host's ipc namespace", e));
    // Only now: a process that is made in the zone's ipc namespace would keep it.
    let guarded = done.and(back).and_then(|()| build.guard(root));
    let result = guarded.and_then(|()| match (build.process.take(), build.channel.take()) {
        (Some((pid, handle)), Some(channel)) => {
            Ok(ReadyZone { pid, handle, channel, report: std::mem::take(&mut build.report) })
        }
        _ => Err(StepError::new("boot", NO_PROCESS)),
    });
    result.map_err(|mut error| {
        build.kill();
        drop(build);
        // The first error is the cause; what could not be undone comes after it.
        for left in engine::undo_all(journal) {
            error = error.with_note(left);
        }
        error
    })
}

/// Returns the ranges of a map.
pub(super) fn ranges(map: &str) -> Vec<IdRange> {
    let range = |line: &str| {
        let mut n = line.split_whitespace().map(str::parse);
        Some(IdRange { inside: n.next()?.ok()?, outside: n.next()?.ok()?, count: n.next()?.ok()? })
    };
    map.lines().filter_map(range).collect()
}

/// The plan has no step that makes process 1.
const NO_PROCESS: Cause = Cause::Plan("makes no process");

impl Build<'_> {
    fn kill(&mut self) {
        if let Some((pid, handle)) = self.process.take() {
            // Both calls fail only when the process is gone already, and that is the aim.
            let _ = handle.signal(libc::SIGKILL);
            let _ = process::wait(pid);
        }
    }

    /// Stores the image of the zone for processes that need it later: the guard first.
    fn keep(&self) -> Result<(), StepError> {
        let Some((pid, _)) = &self.process else { return Ok(()) };
        rundir::image::keep(&self.run, *pid, self.image).map_err(|e| fail("zone", "cannot keep its image", e))
    }

    /// Starts the guard; nothing of the zone runs yet.
    fn guard(&mut self, root: &Root) -> Result<(), StepError> {
        let (Some(listener), Some((pid, _))) = (self.listener.take(), &self.process) else { return Ok(()) };
        guard::start(root, self.zone, *pid, &[listener.as_fd()])
            .map_err(|e| fail("dataset", "cannot start the guard", e))
    }

    fn run(
        &mut self,
        root: &Root,
        steps: &[BootStep],
        init: &Path,
        journal: &mut BootJournal,
        meanwhile: impl FnOnce() -> Result<(), StepError>,
    ) -> Result<(), StepError> {
        // Links come last, and process 1 goes on with its own part while they are made.
        let at =
            steps.iter().position(|s| matches!(s, BootStep::Host(HostStep::Link(_)))).unwrap_or(steps.len());
        let (first, links) = steps.split_at(at);
        self.steps(root, first, 0, steps, journal)?;
        dataset::no_other_has(root, self.image, self.process.as_ref().map(|(pid, _)| *pid))?;
        self.hand_over(steps, init)?;
        // Files that only others read are written while process 1 works.
        let done =
            self.keep().and_then(|()| meanwhile()).and_then(|()| self.steps(root, links, at, steps, journal));
        done.map_err(|error| self.end_of_process_1().unwrap_or(error))?;
        self.wait_until_ready()
    }

    /// Returns why process 1 has ended, if it has: what fails here since then is a consequence.
    fn end_of_process_1(&self) -> Option<StepError> {
        let ((pid, _), channel) = self.process.as_ref().zip(self.channel.as_ref())?;
        zone::end_of(*pid, channel).map(|why| StepError::new("zone", why))
    }

    /// Carries out the host's among some steps, the first of which has this number in the plan.
    fn steps(
        &mut self,
        root: &Root,
        some: &[BootStep],
        first: usize,
        all: &[BootStep],
        journal: &mut BootJournal,
    ) -> Result<(), StepError> {
        let numbered = (first..).zip(some).filter_map(|(number, step)| Some((number, step.host()?)));
        let done = steps::carry_out(
            journal,
            numbered,
            |step| step.describe(),
            |_, step| {
                self.step(root, step, all)?;
                self.report.warnings.append(&mut self.site.warnings);
                Ok(())
            },
        );
        done.map_err(|interruption| match interruption {
            Interruption::Step { error, .. } => error,
            Interruption::Journal(e) => fail("journal", "cannot write it", e.cause),
        })
    }

    fn step(&mut self, root: &Root, step: &HostStep, all: &[BootStep]) -> Result<(), StepError> {
        match step {
            HostStep::Limit(step) => self.limit(step),
            HostStep::Dataset(step) => self.dataset(root, step),
            HostStep::Namespaces(ids) => self.namespaces(root, ids, all),
            HostStep::Mount(step) => self.mount(step),
            HostStep::File(step) => self.file(root, step),
            HostStep::Link(link) => self.link(root, link),
        }
    }

    fn link(&mut self, root: &Root, link: &ZoneLink) -> Result<(), StepError> {
        self.hear_network(&link.what)?;
        let (Some(network), Some(net)) = (&mut self.network, &self.net) else {
            return Err(StepError::new(&link.what, NO_PROCESS));
        };
        let made = network.make(root, link, || net.try_clone());
        self.report.warnings.append(&mut network.warnings);
        made.map_err(|e| StepError::new(&link.what, e))
    }

    /// Gives the zone's process its mounts.
    fn hand_over(&mut self, steps: &[BootStep], init: &Path) -> Result<(), StepError> {
        let (Some(channel), Some(root)) = (&self.channel, self.site.top()) else {
            return Err(StepError::new("boot", Cause::Plan("has no root")));
        };
        let built_in = self.image.init.program == InitProgram::BuiltIn;
        let image = if built_in { Some(init_image(init)?) } else { None };
        let mut fds = vec![root.as_fd()];
        fds.extend(self.terminal.as_ref().map(AsFd::as_fd));
        fds.extend(image.as_ref().map(AsFd::as_fd));
        let numbered = (1..).zip(steps).filter_map(|(number, step)| Some((number, step.inside()?)));
        for (number, step) in numbered {
            log::debug!("step {number}, for process 1: {}", step.describe());
        }
        // The process that has ended has said why.
        channel.send(zone::GO, &fds).map_err(|e| match zone::last_words(channel) {
            Some(why) => StepError::new("zone", Process1Error::Reported(why)),
            None => fail("zone", "cannot reach process 1", e),
        })
    }

    /// Waits until the zone's process has done its part.
    fn wait_until_ready(&mut self) -> Result<(), StepError> {
        let what = "zone";
        let Some(channel) = &self.channel else {
            return Err(StepError::new(what, NO_PROCESS));
        };
        let answer = loop {
            let answer = channel.receive().map_err(|e| StepError::new(what, Process1Error::Hear(e)))?;
            if let Some(text) = answer.text.strip_prefix(zone::NOTICE) {
                self.report.warnings.push(text.to_owned());
            } else if let Some(name) = answer.text.strip_prefix(zone::NOT_OURS) {
                match withdraw::adopt(name, answer.fds.into_iter().next(), &self.ids) {
                    Ok(warning) => self.report.warnings.extend(warning),
                    Err(warning) => {
                        self.report.warnings.push(warning.to_string());
                        self.report.not_given.push(name.to_owned());
                    }
                }
            } else if answer.text == zone::GUARD {
                self.listener = answer.fds.into_iter().next();
            } else {
                break answer;
            }
        };
        match answer.text.as_str() {
            zone::READY => Ok(()),
            "" => Err(StepError::new(what, Process1Error::Silent("was ready"))),
            text => Err(StepError::new(what, Process1Error::reported(text))),
        }
    }
}

/// Opens the built-in init through a read-only mount of its own: a process that reaches it through `/proc/1/exe`
/// cannot open it for writing. The host's `noexec` on `/run` does not apply.
fn init_image(path: &Path) -> Result<MountFd, StepError> {
    let what = "init";
    let fd = rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| fail(what, "cannot open the built-in init", e))?;
    let tree =
        MountFd::copy(fd.as_fd(), false).map_err(|e| fail(what, "cannot mount the built-in init", e))?;
    let attrs = if without("readonly-init") { Attrs::empty() } else { Attrs::RDONLY };
    tree.set(attrs | Attrs::NOSUID | Attrs::NODEV, Attrs::NOEXEC, None, false)
        .map_err(|e| fail(what, "cannot protect the built-in init", e))?;
    Ok(tree)
}
