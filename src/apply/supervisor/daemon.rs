//! From the process that brought a zone up to the long-lived `zoneadmd`.
//!
//! Resources of the boot are freed by executing `zoneadmd`: its descriptors go along, its memory does not. Should
//! that fail, the process goes on as it is.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};

use super::{InitProcess, Supervisor};
use crate::apply::console::{Console, client, client_from};
use crate::apply::guard;
use crate::apply::helper::exec::{self, ExecState};
use crate::apply::paths::Root;
use crate::apply::rundir::{make_run_dir, write_record};
use crate::apply::running;
use crate::spec::ZoneName;
use crate::spec::state::ZoneState;
use crate::sys::channel::Channel;
use crate::sys::made;
use crate::sys::mount::MountFd;
use crate::sys::ns::{self, Kinds, Side};
use crate::sys::path::{STRICT, open_beneath};
use crate::sys::process::{self, Handle};

/// Environment variable that carries the numbers of the descriptors.
const STATE: &str = "ZONEADMD_STATE";

/// Environment variable that carries the record: its file may be gone the moment it was written.
const RECORD: &str = "ZONEADMD_RECORD";

impl Supervisor {
    /// Becomes `zoneadmd`. Never returns.
    pub fn become_daemon(self) -> ! {
        match self.exec() {
            Err(e) => super::log(&self.name, &format!("cannot become zoneadmd, going on as zoneadm: {e}")),
            Ok(never) => match never {},
        }
        exec::stdio_to_null();
        self.serve()
    }

    fn exec(&self) -> io::Result<std::convert::Infallible> {
        // Open descriptors of zoneadm's caller are closed: another process may wait for their end.
        process::close_on_exec_from(3)?;
        let mut keep: Vec<(&str, OwnedFd)> = vec![
            ("listener", rustix::io::dup(&self.console.listener)?),
            ("master", rustix::io::dup(&self.console.master)?),
            ("slave", rustix::io::dup(&self.console.slave)?),
        ];
        if let Some(init) = &self.init {
            keep.push(("init", rustix::io::dup(init.handle.as_fd())?));
            if let Some(channel) = &init.channel {
                keep.push(("channel", rustix::io::dup(channel)?));
            }
        }
        if let Some(client) = &self.console.client {
            keep.push(("client", rustix::io::dup(&client.stream)?));
        }
        exec::stdio_to_null();
        let numbers =
            exec::fds_to_text(&keep.iter().map(|(what, fd)| (*what, fd.as_fd())).collect::<Vec<_>>());
        let watcher = self.console.client_text().replace(' ', ",");
        let record = self.init.as_ref().map(|i| i.running.to_string()).unwrap_or_default();
        let mut variables = vec![
            format!("{STATE}={numbers} watcher={watcher}"),
            format!("{RECORD}={}", record.trim_end()),
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        ];
        variables.extend(crate::sys::naive::handed_on().map(|(name, value)| format!("{name}={value}")));
        Err(exec::zoneadmd(&self.root, &self.name, "zoneadmd", &variables))
    }
}

/// Goes on, after the exec, where [`Supervisor::become_daemon`] left off. None: this process was not
/// started that way.
///
/// # Errors
/// The system's error when a descriptor is missing.
pub fn resume(root: &Root, name: &ZoneName) -> io::Result<Option<Supervisor>> {
    let Ok(text) = std::env::var(STATE) else { return Ok(None) };
    let state = ExecState::new(&text);
    let client = state.fd("client").ok().map(|stream| {
        client_from(&state.text("watcher").unwrap_or_default().replace(',', " "), stream.into())
    });
    let fd = |what| state.fd(what);
    let console =
        Console::from_parts(root, name, fd("listener")?.into(), fd("master")?, fd("slave")?, client)?;
    let record = std::env::var(RECORD).ok().and_then(|line| running::Running::parse(&line));
    let init = match (fd("init"), running::record(root, name).or(record)) {
        (Ok(handle), Some(running)) => {
            let channel = fd("channel").ok().map(Channel::from_fd);
            Some(InitProcess { running, handle: Handle::from_fd(handle), channel, ended: None })
        }
        _ => None,
    };
    let (root, name) = (root.clone(), name.clone());
    Ok(Some(Supervisor { root, name, console, init, idle: None, guard: None, links: None, restores: None }))
}

/// Starts a supervisor where there is none: it takes a running zone over, or serves the console of a halted one.
/// Returns in the background process; the process that was started ends.
///
/// # Errors
/// The system's error. Another supervisor that answers already is no error: none is returned then.
pub fn start_alone(root: &Root, name: &ZoneName) -> io::Result<Option<Supervisor>> {
    // The caller's umask and ignored signals came along.
    rustix::process::umask(Mode::from(0o022));
    process::default_sigchld();
    let dir = root.zone_run(name);
    make_run_dir(root, &dir)?;
    let lock = std::fs::File::create(root.adopt_lock(name))?;
    lock.lock()?;
    if client::is_listening(root, name) {
        return Ok(None);
    }
    let (ours, theirs) = Channel::pair()?;
    match ns::fork()? {
        Side::Parent(..) => {
            drop(theirs);
            // The record names the new supervisor before the command that asked for it goes on.
            let up = ours.receive().is_ok_and(|m| m.text == "up");
            process::exit_now(i32::from(!up))
        }
        Side::Child => drop(ours),
    }
    let _ = rustix::process::setsid();
    let console = Console::take_over_or_open(root, name)?;
    let init = match running::find(root, name) {
        Some(mut running) => {
            // A zone that has put something else over its /dev has no console from now on; its end must be
            // noticed all the same.
            if running.state != ZoneState::Ready
                && let Err(e) = give_console(running.init, &console)
            {
                super::log(name, &format!("cannot put a new console into the zone: {e}"));
            }
            let own = i32::try_from(std::process::id()).unwrap_or(0);
            running.supervisor = own;
            running.supervisor_start = process::start_time(own).unwrap_or(0);
            write_record(root, name, &running)?;
            let handle = Handle::open(running.init)?;
            Some(InitProcess { running, handle, channel: None, ended: None })
        }
        None => None,
    };
    // Before the command that asked for the supervisor asks for the guard.
    let guard = init.as_ref().and_then(|i| guard::watch(root, name, i.running.init, super::log));
    theirs.send("up", &[])?;
    let (root, name) = (root.clone(), name.clone());
    Ok(Some(Supervisor { root, name, console, init, idle: None, guard, links: None, restores: None }))
}

/// Puts a new console in the place of the dead one of a running zone. A process that had the old one open sees it
/// hang up and opens `/dev/console` again.
///
/// The dead terminal's mount is locked, and nothing can be mounted on it, for its node is gone. But
/// removing the file below it from another mount namespace takes the mount away with it.
fn give_console(init: i32, console: &Console) -> io::Result<()> {
    let path = rustix::termios::ttyname(console.slave(), Vec::new())?;
    let fd = rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let dir = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let zone = rustix::fs::open(format!("/proc/{init}/root"), dir, Mode::empty())?;
    let dev = open_beneath(zone.as_fd(), Path::new("dev"), dir, Mode::empty(), STRICT)?;
    // The new terminal belongs to the zone's root, and changes of its /dev are made as that user: the zone may have
    // put any folder that it can see in the place of /dev.
    let (uid, gid) = root_ids(init)?;
    rustix::fs::fchown(console.slave(), Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    rustix::fs::fchmod(console.slave(), Mode::from(0o620))?;
    process::with_fs_ids(uid, gid, || -> io::Result<()> {
        match rustix::fs::unlinkat(&dev, "console", AtFlags::empty()) {
            Err(rustix::io::Errno::NOENT) => {}
            other => other?,
        }
        Ok(rustix::fs::mknodat(&dev, "console", FileType::RegularFile, Mode::from(0o600), 0)?)
    })?;
    let tree = MountFd::copy(fd.as_fd(), false)?;
    let mounts = ns::open(init, "mnt")?;
    match ns::fork()? {
        Side::Child => {
            let attached = ns::join(mounts.as_fd(), Kinds::MOUNT).and_then(|()| {
                let top = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
                let flags = OFlags::PATH | OFlags::CLOEXEC;
                let target =
                    open_beneath(top.as_fd(), Path::new("dev/console"), flags, Mode::empty(), STRICT)?;
                tree.attach(target.as_fd())
            });
            // Error numbers fit into an exit status.
            process::exit_now(attached.map_or_else(|e| e.raw_os_error().unwrap_or(libc::EIO), |()| 0))
        }
        Side::Parent(pid, _) => match process::wait(pid)? {
            process::Ended::Exit(0) => Ok(()),
            process::Ended::Exit(number) => Err(io::Error::from_raw_os_error(number)),
            process::Ended::Signal(_) => Err(io::ErrorKind::Interrupted.into()),
        },
    }
}

/// Returns the host's user and group id of the root of the user namespace that a process is in.
fn root_ids(init: i32) -> io::Result<(u32, u32)> {
    let first = |file: &str| -> io::Result<u32> {
        let map = made::read(format!("/proc/{init}/{file}"))?;
        let id = crate::apply::boot::start::first_host_id(&map);
        id.ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))
    };
    Ok((first("uid_map")?, first("gid_map")?))
}
