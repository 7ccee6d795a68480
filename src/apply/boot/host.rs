//! The supervisor's side of a boot: everything that needs the host's rights.
//!
//! All mounts are made in a mount namespace of their own (`place`), which the zone's first process then
//! copies. The host's mount table is never touched, so a crash leaves nothing mounted.

mod commands;
mod dev;
mod fs;
mod hostid;
mod inherit;
mod kernel;
mod mounts;
mod place;
mod profile;
mod resolver;
mod share;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::error::{Cause, Process1Error, StepError, fail};
use super::{bounds, limits, zone};
use crate::apply::dataset;
use crate::apply::dataset::withdraw::{DelegationRequest, HandoverReport, ZoneIds};
use crate::apply::engine;
use crate::apply::etc::{EtcError, follow, keys};
use crate::apply::guard;
use crate::apply::journal::boot::BootJournal;
use crate::apply::net;
use crate::apply::paths::Root;
use crate::apply::rundir;
use crate::apply::zfs;
use crate::plan::image::ZoneImage;
use crate::plan::net::ZoneLink;
use crate::plan::step::{BootStep, InitProgram, MountSource};
use crate::spec::ZoneName;
use crate::spec::idmap::IdRange;
use crate::spec::shown::Show;
use crate::sys::cgroup;
use crate::sys::channel::Channel;
use crate::sys::mount::{Attrs, MountFd};
use crate::sys::naive::without;
use crate::sys::ns::{self, Kinds, Side};
use crate::sys::path::Dir;
use crate::sys::process::{self, Handle};
use crate::zfs::Zfs;
use place::ZoneMountNs;

/// A zone whose first process waits for the word to start init.
#[derive(Debug)]
pub struct ReadyZone {
    /// Process id of the first process.
    pub pid: i32,
    /// The same, safe against reuse.
    pub handle: Handle,
    /// The way to it.
    pub channel: Channel,
    /// What the administrators of host and zone should know of its datasets.
    pub report: HandoverReport,
}

/// What the steps work on.
struct Build<'a> {
    zone: &'a ZoneName,
    /// The zone's run-time folder.
    run: PathBuf,
    /// The host's mount namespace.
    host: BorrowedFd<'a>,
    ids: ZoneIds,
    report: HandoverReport,
    /// Host ids of the zone's root.
    uid: u32,
    gid: u32,
    console: BorrowedFd<'a>,
    channel: Option<Channel>,
    cgroup: Option<OwnedFd>,
    process: Option<(i32, Handle)>,
    users: Option<OwnedFd>,
    /// Where the zone's mounts are.
    place: Option<ZoneMountNs<'a>>,
    root: Option<OwnedFd>,
    /// The mount that becomes `/dev/console`, detached.
    terminal: Option<MountFd>,
    /// Where the zone's requests to ZFS arrive.
    listener: Option<OwnedFd>,
    network: Option<net::Network>,
    /// The zone's network namespace, once process 1 has told of it.
    net: Option<OwnedFd>,
}

/// What is done, and with what.
#[derive(Debug)]
pub struct BuildInput<'a> {
    /// What the zone is to be, which is kept.
    pub image: &'a ZoneImage,
    /// The steps of the plan.
    pub steps: &'a [BootStep],
    /// Who has the zone's addresses? Already asked.
    pub asked: net::Probe,
    /// The terminal that becomes the zone's `/dev/console`.
    pub console: BorrowedFd<'a>,
    /// The image of the built-in init.
    pub init: &'a Path,
}

/// Carries out the host's steps and waits until the zone's first process has done its own.
///
/// `root_ids` are the host ids of the zone's root. On failure everything has been undone.
///
/// # Errors
/// [`StepError`] of the first step that failed.
pub fn make_ready(
    root: &Root,
    zone: &ZoneName,
    root_ids: (u32, u32),
    work: BuildInput<'_>,
    journal: &mut BootJournal,
) -> Result<ReadyZone, StepError> {
    let steps = work.steps;
    let network = net::Network::begin(steps, work.asked);
    let network = network.map_err(|e| StepError::new("net", e))?;
    let host = ns::open_own("mnt").map_err(|e| fail("boot", "cannot open the mount namespace", e))?;
    let ipc =
        steps.iter().any(|s| matches!(s, BootStep::Ipc { .. })).then(|| ns::open_own("ipc")).transpose();
    let ipc = ipc.map_err(|e| fail("boot", "cannot open the ipc namespace", e))?;
    let mut build = Build {
        zone,
        run: root.zone_run(zone),
        host: host.as_fd(),
        ids: ZoneIds { zone: zone.to_string(), root: root_ids, maps: maps(steps) },
        report: HandoverReport::default(),
        uid: root_ids.0,
        gid: root_ids.1,
        console: work.console,
        channel: None,
        cgroup: None,
        process: None,
        users: None,
        place: None,
        root: None,
        terminal: None,
        listener: None,
        network,
        net: None,
    };
    // The modes of nodes and directories are exact.
    let umask = rustix::process::umask(Mode::empty());
    let done = build.run(root, steps, work.init, journal);
    rustix::process::umask(umask);
    let back = ipc
        .map_or(Ok(()), |ipc| ns::join(ipc.as_fd(), Kinds::IPC))
        .map_err(|e| fail("boot", "cannot return to the host's ipc namespace", e));
    // Only now: a process that is made in the zone's ipc namespace would keep it.
    let kept = done.and(back).and_then(|()| build.keep(work.image));
    let guarded = kept.and_then(|()| build.guard(root));
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

/// Returns the ranges of users and groups that the plan maps.
fn maps(steps: &[BootStep]) -> (Vec<IdRange>, Vec<IdRange>) {
    let ranges = |text: &str| {
        let range = |line: &str| {
            let mut n = line.split_whitespace().map(str::parse);
            Some(IdRange { inside: n.next()?.ok()?, outside: n.next()?.ok()?, count: n.next()?.ok()? })
        };
        text.lines().filter_map(range).collect()
    };
    let found = steps.iter().find_map(|s| match s {
        BootStep::Namespaces { uid_map, gid_map } => Some((ranges(uid_map), ranges(gid_map))),
        _ => None,
    });
    found.unwrap_or_default()
}

fn links_of(steps: &[BootStep]) -> impl Iterator<Item = &ZoneLink> {
    steps.iter().filter_map(|step| match step {
        BootStep::Link(link) => Some(&**link),
        _ => None,
    })
}

fn no_namespace(what: &str) -> StepError {
    StepError::new(what, Cause::Plan("makes no user namespace before it"))
}

/// The plan has no step that makes process 1.
const NO_PROCESS: Cause = Cause::Plan("makes no process");

impl Build<'_> {
    fn kill(&mut self) {
        if let Some((pid, handle)) = self.process.take() {
            // Both fail only when the process is gone already, which is what is wanted.
            let _ = handle.signal(libc::SIGKILL);
            let _ = process::wait(pid);
        }
    }

    /// Keeps what the zone is to be for those who come to it: the guard first.
    fn keep(&self, image: &ZoneImage) -> Result<(), StepError> {
        let Some((pid, _)) = &self.process else { return Ok(()) };
        rundir::image::keep(&self.run, *pid, image).map_err(|e| fail("zone", "cannot keep its image", e))
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
    ) -> Result<(), StepError> {
        // Links come last, and process 1 goes on with its own part while they are made.
        let at = steps.iter().position(|s| matches!(s, BootStep::Link(_))).unwrap_or(steps.len());
        let (first, links) = steps.split_at(at);
        self.steps(root, first, 0, steps, journal)?;
        no_other_has(root, steps, self.process.as_ref().map(|(pid, _)| *pid))?;
        self.hand_over(steps, init)?;
        self.steps(root, links, at, steps, journal)?;
        self.wait_until_ready()
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
        for (number, step) in (first..).zip(some).filter(|(_, s)| !s.is_inside()) {
            log::debug!("step {}: {}", number + 1, step.describe());
            journal.started(number).map_err(|e| fail("journal", "cannot write it", e.cause))?;
            self.step(root, step, all)?;
            journal.done(number).map_err(|e| fail("journal", "cannot write it", e.cause))?;
        }
        Ok(())
    }

    fn step(&mut self, root: &Root, step: &BootStep, all: &[BootStep]) -> Result<(), StepError> {
        match step {
            BootStep::Cgroup { path, guarded } => {
                let what = || format!("cgroup {}", path.shown());
                let fd = cgroup::make(path).map_err(|e| fail(what(), "cannot make it", e))?;
                cgroup::enable_all(path);
                cgroup::delegate(path, self.uid, self.gid)
                    .map_err(|e| fail(what(), "cannot delegate it", e))?;
                if *guarded {
                    limits::settings(&what(), path, &fd)?;
                }
                self.cgroup = Some(fd);
                Ok(())
            }
            BootStep::Limits { path, settings } => limits::group(path, settings),
            BootStep::Process { locked, policy } => limits::process(*locked, *policy),
            BootStep::Ipc { settings } => limits::ipc(settings),
            BootStep::Withdraw { dataset, members, zoned, hide, volmode, volumes, .. } => {
                let volmode = volmode.as_deref();
                let wanted = DelegationRequest { dataset, zoned: *zoned, hide, volmode, volumes, members };
                self.withdraw(root, &wanted)
            }
            BootStep::Namespaces { uid_map, gid_map } => self.namespaces(root, uid_map, gid_map, all),
            BootStep::Close { folder } => kernel::close(folder),
            BootStep::Pin { .. } => self.pin(),
            BootStep::Delegate { dataset, .. } => self.delegate(dataset),
            BootStep::Root { path } => self.root(path),
            BootStep::Part { dir, writable } => self.part(dir, *writable),
            BootStep::ReadOnly { made, .. } => self.read_only(made),
            BootStep::Inherit { dir, programs } => self.inherit(dir, programs.as_deref()),
            BootStep::Memory { dir, mode, percent } => self.memory(dir, *mode, *percent),
            BootStep::Commands { ending } => self.commands(*ending),
            BootStep::Resolver => {
                self.resolver();
                Ok(())
            }
            BootStep::Dev { nodes } => {
                self.dev(nodes)?;
                if all.iter().any(|s| matches!(s, BootStep::Ipc { .. })) { self.queues() } else { Ok(()) }
            }
            BootStep::Console => self.make_console(),
            BootStep::Proc { hidden, fixed } => self.proc(hidden, fixed),
            BootStep::Sys => self.sys(),
            BootStep::Fs(mount) => self.fs(mount),
            BootStep::HostId { id } => self.host_id(*id),
            BootStep::Names { root: inside, hostname, addresses } => {
                let state = root.zone_lib(self.zone);
                let links: Vec<&ZoneLink> = links_of(all).collect();
                let names = net::resolver::ZoneNames { name: hostname, addresses, links: &links };
                self.report.warnings.extend(net::resolver::boot(inside, &state, names));
                Ok(())
            }
            BootStep::HostEtc { root: inside, hostname } => {
                self.host_etc(inside, &root.zone_lib(self.zone), hostname);
                Ok(())
            }
            BootStep::Link(link) => self.link(root, link),
            BootStep::HostName { .. }
            | BootStep::Loopback
            | BootStep::KernelFiles { .. }
            | BootStep::Pivot
            | BootStep::MountDataset { .. }
            | BootStep::Guard
            | BootStep::Counts { .. }
            | BootStep::Confine(_)
            | BootStep::Capabilities { .. }
            | BootStep::Init { .. } => Ok(()),
        }
    }

    fn namespaces(
        &mut self,
        root: &Root,
        uid_map: &str,
        gid_map: &str,
        all: &[BootStep],
    ) -> Result<(), StepError> {
        let what = "namespaces";
        let (ours, theirs) = Channel::pair().map_err(|e| fail(what, "cannot make a channel", e))?;
        let kinds = Kinds::USER | Kinds::PID | Kinds::UTS;
        let cgroup = self.cgroup.as_ref().map(AsFd::as_fd);
        limits::processes(all).map_err(|e| fail(what, "cannot limit the number of processes", e))?;
        // The owner pays for what the namespace uses of a user's limits. Were that the host's root, one zone
        // could leave it, and all other zones, without inotify instances, queued signals and the like.
        let mut ours = Some(ours);
        let bounds = all.iter().find_map(|s| match s {
            BootStep::Counts { limits } => Some(limits),
            _ => None,
        });
        let (uid, owner) = (self.uid, (self.uid, self.gid));
        let begin = || {
            if let Some(limits) = bounds {
                let helper = process::as_owner(uid, || {
                    bounds::start(limits, owner, kinds, cgroup, || {
                        ours = None;
                        zone::run(&theirs, all)
                    })
                });
                return helper.and_then(|h| h).and_then(|h| h.finish(uid_map, gid_map));
            }
            let begun = process::as_owner(uid, || match ns::spawn(kinds, cgroup)? {
                Side::Child => {
                    ours = None;
                    zone::run(&theirs, all)
                }
                Side::Parent(pid, fd) => Ok((pid, Handle::from_fd(fd))),
            });
            begun.and_then(|begun| begun)
        };
        let (place, begun) = ZoneMountNs::new(self.host, &root.run_dir(), begin)
            .map_err(|e| fail(what, "cannot make a mount namespace", e))?;
        self.place = Some(place);
        match begun {
            Ok(begun) => self.process = Some(begun),
            Err(e) => {
                let hint = match e.raw_os_error() {
                    Some(libc::ENOSPC | libc::EUSERS) => {
                        "the limit of user namespaces is used up (sysctl user.max_user_namespaces)"
                    }
                    Some(libc::EPERM) => "user namespaces are switched off on this host",
                    Some(libc::EINVAL) => "this kernel lacks a kind of namespace",
                    _ => "cannot make them",
                };
                return Err(fail(what, hint, e));
            }
        }
        drop(theirs);
        self.channel = ours;
        let pid = self.process.as_ref().map_or(0, |(pid, _)| *pid);
        if bounds.is_none() {
            ns::write_id_maps(pid, uid_map, gid_map)
                .map_err(|e| fail("idmap", "the kernel refuses the id map", e))?;
        }
        self.users =
            Some(ns::open(pid, "user").map_err(|e| fail(what, "cannot open the user namespace", e))?);
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

    fn link(&mut self, root: &Root, link: &ZoneLink) -> Result<(), StepError> {
        self.hear_network(&link.what)?;
        let (Some(network), Some(net)) = (&mut self.network, &self.net) else {
            return Err(StepError::new(&link.what, NO_PROCESS));
        };
        let made = network.make(root, link, || net.try_clone());
        self.report.warnings.append(&mut network.warnings);
        made.map_err(|e| StepError::new(&link.what, e))
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
        let users = self.users.as_ref().ok_or_else(|| no_namespace(what))?;
        let pinned = dataset::registry::pin(&self.run, users.as_fd());
        pinned.map_err(|e| fail(what, "cannot pin it", e))
    }

    fn delegate(&self, dataset: &str) -> Result<(), StepError> {
        let what = format!("dataset {dataset}");
        let users = self.users.as_ref().ok_or_else(|| no_namespace(&what))?;
        dataset::registry::note(&self.run, dataset).map_err(|e| fail(&what, "cannot note it", e))?;
        let zfs = Zfs::open().map_err(|e| StepError::new(&what, e))?;
        dataset::registry::attach(&zfs, dataset, users.as_fd()).map_err(|e| StepError::new(what, e))
    }

    /// Gives the zone's process its mounts.
    fn hand_over(&mut self, steps: &[BootStep], init: &Path) -> Result<(), StepError> {
        let (Some(channel), Some(root)) = (&self.channel, &self.root) else {
            return Err(StepError::new("boot", Cause::Plan("has no root")));
        };
        let built_in =
            steps.iter().any(|s| matches!(s, BootStep::Init { program: InitProgram::BuiltIn, .. }));
        let image = if built_in { Some(init_image(init)?) } else { None };
        let mut fds = vec![root.as_fd()];
        fds.extend(self.terminal.as_ref().map(AsFd::as_fd));
        fds.extend(image.as_ref().map(AsFd::as_fd));
        for (number, step) in steps.iter().enumerate().filter(|(_, s)| s.is_inside()) {
            log::debug!("step {}, for process 1: {}", number + 1, step.describe());
        }
        // Whoever has ended has said why.
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
                match dataset::withdraw::adopt(name, answer.fds.into_iter().next(), &self.ids) {
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

/// Makes sure that no other zone has mounted a dataset since the plan was made: ZFS itself mounts it any
/// number of times.
fn no_other_has(root: &Root, steps: &[BootStep], booting: Option<i32>) -> Result<(), StepError> {
    let mounts = || {
        steps.iter().filter_map(|s| match s {
            BootStep::Fs(m) if m.source == MountSource::Zfs => Some(m),
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

/// Opens the built-in init through a read-only mount of its own: whoever reaches it through
/// `/proc/1/exe` cannot open it for writing. The host's `noexec` on `/run` does not apply.
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
