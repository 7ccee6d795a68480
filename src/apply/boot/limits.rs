//! Limits: the host's mechanisms for them, and setting them.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use super::error::{Cause, StepError, fail};
use crate::plan::confine::HOST_SETTINGS;
use crate::plan::limits::{self, Host, SchedPolicy, Setting, numbers};
use crate::spec::ZoneSpec;
use crate::spec::shown::Show;
use crate::sys::bpf::sysctl;
use crate::sys::made;
use crate::sys::naive::without;
use crate::sys::ns::{self, Kinds};
use crate::sys::{cgroup, process, rlimit};

const PARTITION: &str = "cpuset.cpus.partition";

/// Collects this host's mechanisms for the limits of a zone.
pub fn host(spec: &ZoneSpec) -> Host {
    let mount = cgroup::mount_point();
    let read = |path: &Path| made::read(path).unwrap_or_default();
    let controllers = mount.as_ref().map(|m| read(&m.join("cgroup.controllers"))).unwrap_or_default();
    let online = numbers(&read(Path::new("/sys/devices/system/cpu/online"))).unwrap_or_default();
    Host {
        controllers: controllers.split_whitespace().map(str::to_owned).collect(),
        online,
        taken: mount.as_deref().map(taken).unwrap_or_default(),
        page: rustix::param::page_size() as u64,
        has_pool: mount
            .as_ref()
            .zip(limits::pool(spec))
            .is_some_and(|(m, pool)| m.join(pool).join("cgroup.procs").exists()),
        mount,
    }
}

/// Returns the cpus that zones have for themselves.
fn taken(mount: &Path) -> Vec<u32> {
    let groups = fs::read_dir(mount).into_iter().flatten().flatten();
    groups
        .filter(|g| g.file_name().to_str().is_some_and(|n| n.starts_with("zones.")))
        .filter_map(|g| made::read(g.path().join("cpuset.cpus")).ok())
        .filter_map(|list| numbers(&list))
        .flatten()
        .collect()
}

/// Makes the cgroup of a zone, whose root owns it within the limits of the host. `top` is where cgroup v2 is mounted.
pub(super) fn make(
    top: Option<&Path>,
    path: &Path,
    (uid, gid): (u32, u32),
    guarded: bool,
) -> Result<OwnedFd, StepError> {
    let what = || format!("cgroup {}", path.shown());
    let fd = cgroup::make(path).map_err(|e| fail(what(), "cannot make it", e))?;
    cgroup::enable_all(top, path);
    cgroup::delegate(path, uid, gid).map_err(|e| fail(what(), "cannot delegate it", e))?;
    if guarded {
        forbid_settings(&what(), path, &fd)?;
    }
    Ok(fd)
}

/// Writes the limits of a cgroup.
pub(super) fn group(top: Option<&Path>, path: &Path, settings: &[Setting]) -> Result<(), StepError> {
    for setting in settings {
        switch_on(top, path, setting)?;
        let file = path.join(setting.file);
        fs::write(&file, &setting.value).map_err(|e| {
            fail(&setting.subject, format!("cannot write {} to {}", setting.value, file.shown()), e)
        })?;
        // The kernel takes a partition that cannot be, and says so only when asked.
        if setting.file == PARTITION {
            let now = made::read(&file).unwrap_or_default();
            if now.trim() != setting.value {
                let state = now.trim().to_owned();
                return Err(StepError::new(&setting.subject, Cause::Partition { state }));
            }
        }
    }
    Ok(())
}

/// Changes limits of a zone that runs, all or none, and returns those that it had: to set these undoes it.
///
/// # Errors
/// [`StepError`]; the zone has its former limits then, but for those that the error names.
pub fn change(top: Option<&Path>, path: &Path, settings: &[Setting]) -> Result<Vec<Setting>, StepError> {
    let mut former: Vec<Setting> = Vec::new();
    for setting in settings {
        let changed = now(top, path, setting).and_then(|now| {
            former.insert(0, now);
            group(top, path, std::slice::from_ref(setting))
        });
        if let Err(mut error) = changed {
            for back in former.iter().filter_map(|old| group(top, path, std::slice::from_ref(old)).err()) {
                error = error.with_note(format!("{back}; the zone has another limit now"));
            }
            return Err(error);
        }
    }
    Ok(former)
}

/// Reads a limit as it is now.
fn now(top: Option<&Path>, path: &Path, setting: &Setting) -> Result<Setting, StepError> {
    switch_on(top, path, setting)?;
    let file = path.join(setting.file);
    let text =
        made::read(&file).map_err(|e| fail(&setting.subject, format!("cannot read {}", file.shown()), e))?;
    // A partition may be followed by the reason why it is none.
    let word = if setting.file == PARTITION { text.split_whitespace().next() } else { Some(text.trim()) };
    // An empty list of cpus is an empty line: nothing at all is no write.
    let value = word.filter(|word| !word.is_empty()).unwrap_or("\n");
    Ok(Setting { value: value.to_owned(), ..setting.clone() })
}

fn switch_on(top: Option<&Path>, path: &Path, setting: &Setting) -> Result<(), StepError> {
    let controller = setting.file.split('.').next().unwrap_or_default();
    cgroup::enable(top, path, &[controller])
        .map_err(|e| fail(&setting.subject, format!("cannot switch the controller {controller} on"), e))
}

/// Keeps the cgroup of a zone from writing settings of the kernel that are the host's: by the folder of all zones,
/// where it lies in that, so that only the first of them waits for the check of the program.
///
/// # Errors
/// The system's error: the zone must not boot with the settings within its reach.
fn forbid_settings(what: &str, path: &Path, group: &OwnedFd) -> Result<(), StepError> {
    let failed = |e: io::Error| fail(what, "cannot refuse it to write settings of the host", e);
    let of_all = match limits::shared_folder(path) {
        Some(folder) => Some(OwnedFd::from(fs::File::open(folder).map_err(failed)?)),
        None => None,
    };
    let group = of_all.as_ref().unwrap_or(group).as_fd();
    if without("host-settings") {
        return sysctl::stop_forbidding(group, HOST_SETTINGS).map_err(failed);
    }
    sysctl::forbid_writes(group, HOST_SETTINGS).map_err(failed)
}

/// Sets the attributes of this process, and so of the zone, that must not depend on the caller.
pub(super) fn process(locked: Option<u64>, policy: SchedPolicy) -> Result<(), StepError> {
    rlimit::take_from(1).map_err(|e| fail("limits", "cannot take the limits of process 1", e))?;
    // A caller that is never to be killed for want of memory, bound to one processor or without random
    // addresses makes no such zone.
    process::take_oom_score(1).map_err(|e| fail("limits", "cannot set the out-of-memory score", e))?;
    process::plain_personality();
    process::run_anywhere();
    if let Some(bytes) = locked {
        rlimit::lock_at_most(bytes).map_err(|e| fail("capped-memory locked", "cannot limit it", e))?;
    }
    let number = match policy {
        SchedPolicy::Normal => rlimit::NORMAL,
        SchedPolicy::Batch => rlimit::BATCH,
        SchedPolicy::Idle => rlimit::IDLE,
    };
    rlimit::schedule(number).map_err(|e| fail("scheduling-class", "cannot set it", e))
}

/// Limits how many processes the zone can have, all its users together, when the spec does not: to a third of the
/// host's limit. The kernel keeps the limit for the user namespace that is made under it (Linux 5.14), with or
/// without a pids controller.
pub(super) fn processes(group: &[Setting]) -> io::Result<()> {
    if group.iter().any(|l| l.file == "pids.max") {
        return Ok(());
    }
    let number = |name: &str| {
        let text = made::read(Path::new("/proc/sys/kernel").join(name)).ok()?;
        text.trim().parse::<u64>().ok()
    };
    let most = ["pid_max", "threads-max"].into_iter().filter_map(number).min();
    most.map_or(Ok(()), |most| rlimit::processes_at_most(most / PROCESSES_SHARE))
}

/// The part of all processes that a zone without a limit of its own can have: one in so many.
const PROCESSES_SHARE: u64 = 3;

/// Moves this process into an ipc namespace of its own, which the zone's first process shares, and limits it.
///
/// The opener of a knob decides to which namespace it belongs. A namespace that process 1 makes itself would let
/// root of the zone change the knobs (Linux 6.9, and earlier releases with a backport).
pub(super) fn ipc(settings: &[Setting]) -> Result<(), StepError> {
    ns::unshare(Kinds::IPC).map_err(|e| fail("ipc", "cannot make a namespace", e))?;
    for setting in settings {
        fs::write(Path::new("/proc/sys/kernel").join(setting.file), &setting.value)
            .map_err(|e| fail(&setting.subject, "cannot limit it", e))?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
