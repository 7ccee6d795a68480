//! A process that stands by a running zone and can be replaced while the zone runs: a kept helper.
//!
//! ```text
//!  boot ── start ──> helper (zoneadmd, executed anew)
//!                      │ socket
//!          zlogin ─────┤ LISTEN: here is one more descriptor to serve
//!        zoneadmd ─────┘ KEEP:   give me every descriptor, now and later
//! ```
//!
//! It serves descriptors, which zoneadmd holds as well: a helper that dies is started again with all that it had.
//! It is a process of its own so that the end of zoneadmd changes nothing for the zone. The guard of the zone's
//! datasets is the first of its kind; another one implements [`Serve`].
//!
//! The environment variable of the exec, and the names in it, are read by the zoneadmd that is installed then, which
//! may be of a later release than the one that starts the helper: their format does not change.

pub mod exec;
mod keep;
mod watch;

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use rustix::fs::Mode;

pub use keep::{Arrived, HelperSocket, Keeper, REPLACED_WITHIN, connect, enlist};
pub use watch::Watch;

use crate::apply::paths::Root;
use crate::apply::protocol::Protocol;
use crate::spec::ZoneName;
use crate::sys::ns::{self, Side};
use crate::sys::process::{self, Handle};
use exec::ExecState;

/// A kind of helper.
#[derive(Clone, Copy, Debug)]
pub struct Helper {
    /// Name of the process, as ps(1) shows it.
    pub title: &'static str,
    /// Environment variable that carries the numbers of its descriptors.
    pub state: &'static str,
    /// Name of its socket below the zone's run-time folder.
    pub socket: &'static str,
    /// The protocol of the socket.
    pub protocol: Protocol,
    /// Its name in its own log.
    pub own_name: &'static str,
    /// Its name in the supervisor's log.
    pub name: &'static str,
    /// The consequence of its end, as a part of a message: `requests fail`.
    pub consequence: &'static str,
}

/// The descriptors and data that a helper works with.
#[derive(Debug)]
pub struct HelperState {
    /// The zone's first process.
    pub pid: i32,
    /// The same; the helper ends with it.
    pub init: Handle,
    /// Where requests arrive.
    pub socket: HelperSocket,
    /// The descriptors that it serves.
    pub held: Vec<OwnedFd>,
}

/// The properties of a kind of helper.
pub trait Serve: Sized {
    /// The kind.
    const HELPER: Helper;

    /// Puts the helper of a zone together.
    ///
    /// # Errors
    /// The system's error when the zone has ended.
    fn new(root: &Root, name: &ZoneName, state: HelperState) -> io::Result<Self>;

    /// Serves until the zone has ended. Never returns.
    fn serve(self) -> !;

    /// Writes a line to the log.
    fn log(name: &ZoneName, text: &str);
}

/// Starts a helper for a zone, whose first process is `pid`, with descriptors to serve. It answers when this returns.
///
/// # Errors
/// The system's error.
pub fn start<S: Serve>(root: &Root, name: &ZoneName, pid: i32, held: &[BorrowedFd<'_>]) -> io::Result<()> {
    let path = root.zone_run(name).join(S::HELPER.socket);
    match fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let socket = UnixListener::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    let init = Handle::open(pid)?;
    process::default_sigchld();
    match ns::fork()? {
        Side::Parent(middle, _) => match process::wait(middle)? {
            process::Ended::Exit(0) => Ok(()),
            _ => Err(io::ErrorKind::Other.into()),
        },
        Side::Child => {
            let _ = rustix::process::setsid();
            // No process of ours has to wait for the helper's end.
            match ns::fork() {
                Ok(Side::Child) => {}
                other => process::exit_now(i32::from(other.is_err())),
            }
            become_helper::<S>(root, name, pid, &init, &socket, held)
        }
    }
}

/// Goes on in a program of its own, which needs less memory, and without a descriptor too many.
fn become_helper<S: Serve>(
    root: &Root,
    name: &ZoneName,
    pid: i32,
    init: &Handle,
    socket: &UnixListener,
    held: &[BorrowedFd<'_>],
) -> ! {
    let kind = S::HELPER;
    let _ = rustix::process::chdir("/");
    let _ = rustix::process::umask(Mode::from(0o022));
    exec::stdio_to_null();
    let mut keep = vec![("init", init.as_fd()), ("socket", socket.as_fd())];
    keep.extend(held.iter().map(|fd| ("listener", *fd)));
    let numbers: Vec<i32> = keep.iter().map(|(_, fd)| fd.as_raw_fd()).collect();
    let _ = process::close_all_but(&numbers);
    let state = format!("pid={pid} {}", exec::fds_to_text(&keep));
    let opened =
        keep.iter().try_for_each(|(_, fd)| rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty()));
    let error = match opened {
        Ok(()) => exec::zoneadmd(root, name, kind.title, &[format!("{}={state}", kind.state)]),
        Err(e) => e.into(),
    };
    S::log(name, &format!("{} goes on without a program of its own: {error}", kind.own_name));
    match from_state::<S>(root, name, &state) {
        Ok(helper) => helper.serve(),
        Err(e) => {
            S::log(name, &format!("{} cannot start: {e}", kind.own_name));
            process::exit_now(1)
        }
    }
}

/// Goes on, after the exec, as the helper of a zone. None: this process was not started that way.
///
/// # Errors
/// The system's error when a descriptor is missing or the zone has ended.
pub fn resume<S: Serve>(root: &Root, name: &ZoneName) -> io::Result<Option<S>> {
    let Ok(state) = std::env::var(S::HELPER.state) else { return Ok(None) };
    let _ = rustix::thread::set_name(&CString::new(S::HELPER.title)?);
    from_state(root, name, &state).map(Some)
}

fn from_state<S: Serve>(root: &Root, name: &ZoneName, state: &str) -> io::Result<S> {
    let state = ExecState::new(state);
    let pid = state.text("pid").and_then(|n| n.parse().ok()).ok_or(io::ErrorKind::NotFound)?;
    let held = state.fds("listener").collect::<io::Result<Vec<_>>>()?;
    let init = Handle::from_fd(state.fd("init")?);
    let socket = HelperSocket::new(state.fd("socket")?.into(), S::HELPER.protocol);
    S::new(root, name, HelperState { pid, init, socket, held })
}
