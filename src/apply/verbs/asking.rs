//! How an init is asked to end the zone: by the signal that it understands, or by its own program.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::apply::Op;
use crate::apply::boot::BootError;
use crate::apply::login::{Login, LoginZone};
use crate::apply::rundir::Running;
use crate::sys::made;
use crate::sys::ns::{Side, fork};
use crate::sys::process::{self, Handle, realtime};

/// How long an init that takes no signal may go on like that after the request to shut down.
const DEAF_FOR: Duration = Duration::from_secs(2);

/// How long the program may take that passes a request on to its init, in milliseconds.
const PASSED_ON_IN: u64 = 10_000;

/// The way by which an init is asked to end the zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asking {
    /// A signal.
    Signal(i32),
    /// Run level 0 of sysvinit, for which its program asks: to its first process all signals mean something else.
    RunLevel,
}

/// Waits, after a boot, until init has come so far that it can be asked, and returns how.
///
/// # Errors
/// [`BootError::Deaf`].
pub(super) fn find(running: &Running) -> Result<Asking, BootError> {
    let start = Instant::now();
    loop {
        match Looks::of(running.init).as_ref().and_then(Looks::asking) {
            Some(asking) => return Ok(asking),
            // It has just ended by itself.
            None if !running.is_alive() => return Ok(Asking::Signal(libc::SIGTERM)),
            None if start.elapsed() > DEAF_FOR => return Err(BootError::Deaf),
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

impl Asking {
    /// Begins to ask init, whose handle this is. From then on the request goes on, whatever becomes of the caller.
    ///
    /// # Errors
    /// [`BootError`].
    pub(super) fn begin(self, op: &Op<'_>, running: &Running, init: &Handle) -> Result<Asked, BootError> {
        match self {
            Self::Signal(signal) => {
                init.signal(signal).map_err(BootError::system("signal init"))?;
                Ok(Asked(None))
            }
            Self::RunLevel => {
                let program = request(op, running).map_err(BootError::system(REQUEST))?;
                Ok(Asked(Some(program)))
            }
        }
    }
}

const REQUEST: &str = "ask init for run level 0";

/// An init that has been asked, with the program that passes it on.
#[derive(Debug)]
pub(super) struct Asked(Option<(i32, Handle)>);

impl Asked {
    /// Waits until init has it.
    ///
    /// # Errors
    /// [`BootError`]: init does not get it.
    pub(super) fn end(self, running: &Running) -> Result<(), BootError> {
        let Some((pid, handle)) = self.0 else { return Ok(()) };
        passed_on(pid, &handle, running).map_err(BootError::system(REQUEST))
    }
}

/// Runs the program of process 1 a second time in the zone, with the run level that ends it for an argument.
fn request(op: &Op<'_>, running: &Running) -> io::Result<(i32, Handle)> {
    match fork()? {
        Side::Parent(pid, handle) => Ok((pid, Handle::from_fd(handle))),
        Side::Child => {
            // It keeps neither terminal nor lock of the caller.
            let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null");
            let placed = null.and_then(|null| {
                rustix::stdio::dup2_stdin(&null)?;
                rustix::stdio::dup2_stdout(&null)?;
                Ok(rustix::stdio::dup2_stderr(&null)?)
            });
            let closed = placed.and_then(|()| process::close_all_but(&[]));
            let login = Login {
                user: "root".into(),
                safe: true,
                authenticate: false,
                command: Some("exec /proc/1/exe 0".into()),
                no_input: true,
                term: None,
            };
            let done = closed.is_ok()
                && LoginZone::new(op.store.root(), op.name, running)
                    .and_then(|(zone, _)| login.run(&zone))
                    .is_ok_and(|ended| ended == process::Ended::Exit(0));
            process::exit_now(i32::from(!done))
        }
    }
}

fn passed_on(pid: i32, handle: &Handle, running: &Running) -> io::Result<()> {
    if !handle.wait_gone(PASSED_ON_IN)? {
        handle.signal(libc::SIGKILL)?;
    }
    match process::wait(pid)? {
        process::Ended::Exit(0) => Ok(()),
        // The zone may have ended meanwhile, and with it the program.
        _ if !running.is_alive() => Ok(()),
        _ => Err(io::Error::other("its program failed")),
    }
}

/// The signs of an init that the host can see; they decide how to ask it for a shutdown.
#[derive(Clone, Debug, Default)]
struct Looks {
    /// Name of its program.
    program: String,
    /// Bits of the signals that it catches.
    caught: u64,
    /// Bits of those that it blocks.
    blocked: u64,
    /// It waits for signals, which are not shown.
    waits: bool,
}

impl Looks {
    fn of(init: i32) -> Option<Self> {
        let path = |file: &str| format!("/proc/{init}/{file}");
        let exe = std::fs::read_link(path("exe")).unwrap_or_default();
        let status = made::read(path("status")).ok()?;
        let mask = |name: &str| {
            let line = status.lines().find_map(|l| l.strip_prefix(name))?;
            u64::from_str_radix(line.trim(), 16).ok()
        };
        Some(Self {
            program: name_of(&exe),
            caught: mask("SigCgt:")?,
            blocked: mask("SigBlk:")?,
            waits: made::read(path("wchan")).is_ok_and(|w| w.contains("sigtimedwait")),
        })
    }

    /// Returns how this init is asked to power off; none when it takes nothing, and would never end.
    ///
    /// The kernel keeps every signal from a first process that neither handles nor blocks it.
    fn asking(&self) -> Option<Asking> {
        let has = |mask: u64, signal: i32| mask & (1 << (signal - 1)) != 0;
        // It waits in sigtimedwait(2), and the awaited signals are not shown.
        if self.program == "busybox" {
            return Some(Asking::Signal(libc::SIGUSR2));
        }
        // To sysvinit SIGPWR is news of the power only, and most systems have nothing that hears them.
        if self.program == "init" && has(self.caught, libc::SIGPWR) && !has(self.caught, realtime(4)) {
            return Some(Asking::RunLevel);
        }
        let signals = [
            realtime(4),   // systemd(1), and the built-in init
            libc::SIGPWR,  // as other software asks
            libc::SIGTERM, // openrc-init, a script with a trap
        ];
        // systemd and the built-in init block the signals that they read from a descriptor; others block signals
        // that they never read.
        let masks = if has(self.caught, realtime(4)) || self.reads() {
            [self.caught | self.blocked, 0]
        } else {
            [self.caught, self.blocked]
        };
        let by_mask = |mask: u64| signals.into_iter().find(|signal| has(mask, *signal));
        masks.into_iter().find_map(by_mask).or(self.waits.then_some(libc::SIGTERM)).map(Asking::Signal)
    }

    /// Says whether it is known to read the signals that it blocks.
    fn reads(&self) -> bool {
        self.program == "systemd" || self.program == BUILT_IN
    }
}

/// Name of the built-in init's file in a zone.
const BUILT_IN: &str = ".init";

/// Returns the name of a program, also of one whose file was replaced since it began.
fn name_of(exe: &Path) -> String {
    let name = exe.file_name().unwrap_or_default().to_string_lossy();
    name.strip_suffix(" (deleted)").unwrap_or(&name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(signals: &[i32]) -> u64 {
        signals.iter().map(|signal| 1 << (signal - 1)).sum()
    }

    fn asked(program: &str, caught: &[i32], blocked: &[i32]) -> Option<Asking> {
        Looks { program: program.into(), caught: bits(caught), blocked: bits(blocked), waits: false }.asking()
    }

    #[test]
    fn each_init_is_asked_in_its_own_way() {
        let (all, some) = (realtime(4), [libc::SIGHUP, libc::SIGUSR1]);
        assert_eq!(asked("busybox", &[], &[]), Some(Asking::Signal(libc::SIGUSR2)));
        assert_eq!(asked("systemd", &some, &[all, libc::SIGTERM]), Some(Asking::Signal(all)));
        assert_eq!(asked(BUILT_IN, &[], &[all]), Some(Asking::Signal(all)));
        assert_eq!(asked("init", &[libc::SIGPWR, libc::SIGHUP], &[]), Some(Asking::RunLevel));
        assert_eq!(
            asked("openrc-init", &[libc::SIGTERM, libc::SIGINT], &[all, libc::SIGPWR]),
            Some(Asking::Signal(libc::SIGTERM)),
            "what it blocks it never reads"
        );
        assert_eq!(asked("dash", &[libc::SIGPWR], &[]), Some(Asking::Signal(libc::SIGPWR)));
        assert_eq!(
            asked("other", &[], &[all]),
            Some(Asking::Signal(all)),
            "one that reads from a descriptor"
        );
        assert_eq!(asked("cat", &some, &[]), None);
    }

    #[test]
    fn a_program_keeps_its_name_when_its_file_is_replaced() {
        assert_eq!(name_of(Path::new("/usr/lib/systemd/systemd (deleted)")), "systemd");
        assert_eq!(name_of(Path::new("/usr/lib/systemd/systemd")), "systemd");
    }
}
