//! The guard of a zone with delegated datasets.
//!
//! ```text
//!  process of the zone ── ioctl ──> filter ── allowed ──> kernel
//!                                     │ asks
//!                                     ▼
//!                      guard ── fork ──> worker: copies the request, checks the copy,
//!                        │                       carries it out as the caller would
//!                        ├─ socket <── zlogin: a listener for each process that enters
//!                        └─ keeps  ──> zoneadmd: holds every listener as well
//! ```
//!
//! A process of its own, so that the end of zoneadmd changes nothing for the zone. It never touches the
//! memory of a caller, which may make whoever does wait for ever: a worker for each request does.
//! It ends with the zone.
//!
//! While somebody holds a listener, a dead guard can be replaced, and zoneadmd does so. When all who held
//! one are dead, the kernel answers every request that would have been checked with `ENOSYS`: they fail,
//! and nothing can bring them back for the processes that run. All other requests go on.

mod caller;
mod keep;
mod serve;
mod work;

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use rustix::fs::{Mode, OFlags};

use crate::apply::console::client;
use crate::apply::paths::Root;
use crate::apply::rundir::GUARD;
use crate::guard::{Locks, Tree, calls};
use crate::plan::dataset;
use crate::spec::{ZoneName, ZoneSpec};
use crate::sys::ns::{self, Side};
use crate::sys::process::{self, Handle};
use crate::sys::seccomp::asm::Instruction;
use crate::sys::seccomp::filter::{Action, filter};

pub use keep::{Guarded, Keeper, RefuseReason, enlist, ensure, is_needed};
pub use serve::Guard;

/// Name of the socket below the zone's run-time folder.
pub const SOCKET: &str = GUARD;

/// Environment variable that carries the numbers of the descriptors.
const STATE: &str = "ZONES_GUARD_STATE";

/// Name of the process, as ps(1) shows it.
const TITLE: &str = "zoneadmd-guard";

/// Returns the filter for processes of a zone with delegated datasets.
pub fn program() -> Vec<Instruction> {
    let rule = |call: &calls::Call| match call.rule {
        calls::Rule::Allow => Some((call.number, Action::Allow)),
        calls::Rule::Check(_) => Some((call.number, Action::Ask)),
        calls::Rule::Refuse => None,
    };
    let rules: Vec<_> = calls::CALLS.iter().filter_map(rule).collect();
    filter(&rules)
}

/// Says whether a test asks for a zone without its guard, to show what the guard is good for. Only in
/// builds with debug assertions.
pub fn is_left_out() -> bool {
    cfg!(debug_assertions) && std::env::var_os("ZONES_TEST_UNGUARDED").is_some()
}

/// Returns what a zone cannot change.
pub fn locks(spec: &ZoneSpec) -> Locks {
    let tree = |name: String| Tree {
        root: dataset::locks(spec, &name),
        below: dataset::locks_below(spec, &name),
        name,
    };
    Locks { trees: dataset::names(spec).into_iter().map(tree).collect() }
}

/// Starts the guard of a zone, whose first process is `pid`. It answers when this returns.
///
/// # Errors
/// The system's error.
pub fn start(root: &Root, name: &ZoneName, pid: i32, listeners: &[BorrowedFd<'_>]) -> io::Result<()> {
    let path = root.zone_run(name).join(SOCKET);
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
            // Nobody of ours has to wait for the guard's end.
            match ns::fork() {
                Ok(Side::Child) => {}
                other => process::exit_now(i32::from(other.is_err())),
            }
            become_guard(root, name, pid, &init, &socket, listeners)
        }
    }
}

/// Goes on in a program of its own, which needs less memory, and without a descriptor too many.
fn become_guard(
    root: &Root,
    name: &ZoneName,
    pid: i32,
    init: &Handle,
    socket: &UnixListener,
    listeners: &[BorrowedFd<'_>],
) -> ! {
    let _ = rustix::process::chdir("/");
    let _ = rustix::process::umask(Mode::from(0o022));
    if let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
    let mut keep = vec![("init", init.as_fd()), ("socket", socket.as_fd())];
    keep.extend(listeners.iter().map(|fd| ("listener", *fd)));
    let numbers: Vec<i32> = keep.iter().map(|(_, fd)| fd.as_raw_fd()).collect();
    let _ = process::close_all_but(&numbers);
    let state: Vec<String> = keep.iter().map(|(what, fd)| format!("{what}={}", fd.as_raw_fd())).collect();
    let state = format!("pid={pid} {}", state.join(" "));
    let error = execute(root, name, &state, &keep);
    serve::log_line(name, &format!("the guard goes on without a program of its own: {error}"));
    match from_state(root, name, &state) {
        Ok(guard) => guard.serve(),
        Err(e) => {
            serve::log_line(name, &format!("the guard cannot start: {e}"));
            process::exit_now(1)
        }
    }
}

/// Returns why the program could not be executed.
fn execute(root: &Root, name: &ZoneName, state: &str, keep: &[(&str, BorrowedFd<'_>)]) -> io::Error {
    let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    let attempt = || -> io::Result<std::convert::Infallible> {
        let program = client::program().ok_or(io::ErrorKind::NotFound)?;
        for (_, fd) in keep {
            rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?;
        }
        let mut prefix = b"ZONES_ROOT=".to_vec();
        prefix.extend_from_slice(root.prefix().as_os_str().as_bytes());
        let args = [text(TITLE.as_bytes())?, text(b"-z")?, text(name.as_str().as_bytes())?];
        let mut env = vec![text(format!("{STATE}={state}").as_bytes())?, text(&prefix)?];
        if let Some((name, value)) = crate::sys::trace::handed_on() {
            env.push(text(format!("{name}={value}").as_bytes())?);
        }
        let file = text(program.as_os_str().as_bytes())?;
        Ok(nix::unistd::execve(&file, &args, &env)?)
    };
    match attempt() {
        Err(e) => e,
        Ok(never) => match never {},
    }
}

/// Goes on, after the exec, as the guard of a zone. None: this process was not started that way.
///
/// # Errors
/// The system's error when a descriptor is missing or the zone has ended.
pub fn resume(root: &Root, name: &ZoneName) -> io::Result<Option<Guard>> {
    let Ok(state) = std::env::var(STATE) else { return Ok(None) };
    let _ = rustix::thread::set_name(&CString::new(TITLE)?);
    from_state(root, name, &state).map(Some)
}

fn from_state(root: &Root, name: &ZoneName, state: &str) -> io::Result<Guard> {
    let fields = || state.split_whitespace().filter_map(|w| w.split_once('='));
    let fds = |what: &'static str| fields().filter(move |(name, _)| *name == what).map(|(_, n)| adopt(n));
    let one = |what: &'static str| fds(what).next().unwrap_or(Err(io::ErrorKind::NotFound.into()));
    let pid = fields().find(|(name, _)| *name == "pid").and_then(|(_, n)| n.parse().ok());
    let pid = pid.ok_or(io::ErrorKind::NotFound)?;
    let listeners = fds("listener").collect::<io::Result<Vec<_>>>()?;
    Guard::new(root, name, pid, Handle::from_fd(one("init")?), one("socket")?.into(), listeners)
}

fn adopt(number: &str) -> io::Result<OwnedFd> {
    process::adopt_fd(number.parse().map_err(|_| io::ErrorKind::InvalidInput)?)
}
