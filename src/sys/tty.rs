//! The terminal of the caller: its size, raw mode that is undone in any case, and signals as input.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, raise, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::termios::{OptionalActions, Termios, Winsize, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

/// What a terminal looks like to programs: its modes, if it has any, and its size.
#[derive(Clone, Debug)]
pub struct Look {
    modes: Option<Termios>,
    size: Winsize,
}

impl Look {
    /// Reads the look of a terminal. Anything else looks like one of 80 by 24 in its initial modes.
    pub fn of(fd: BorrowedFd<'_>) -> Self {
        let usual = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let size = tcgetwinsize(fd).ok().filter(|s| s.ws_row > 0 && s.ws_col > 0);
        Self { modes: tcgetattr(fd).ok(), size: size.unwrap_or(usual) }
    }

    /// Gives a terminal this look.
    ///
    /// # Errors
    /// The system's error.
    pub fn apply(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        tcsetwinsize(fd, self.size)?;
        if let Some(modes) = &self.modes {
            tcsetattr(fd, OptionalActions::Now, modes)?;
        }
        Ok(())
    }

    /// Returns the byte of a special character (`libc::VEOF`, …), none when it is switched off.
    pub fn special(&self, which: usize) -> Option<u8> {
        // The bytes of a terminal that nobody has changed; indices as in termios(3).
        const USUAL: &[(usize, u8)] =
            &[(libc::VINTR, 3), (libc::VKILL, 21), (libc::VEOF, 4), (libc::VSUSP, 26)];
        let usual = || USUAL.iter().find(|(i, _)| *i == which).map_or(0, |(_, byte)| *byte);
        let byte = self.modes.as_ref().map_or_else(usual, |m| special_of(m, which));
        (byte != 0).then_some(byte)
    }
}

fn special_of(modes: &Termios, which: usize) -> u8 {
    use rustix::termios::SpecialCodeIndex as Index;
    let index = match which {
        libc::VINTR => Index::VINTR,
        libc::VKILL => Index::VKILL,
        libc::VEOF => Index::VEOF,
        libc::VSUSP => Index::VSUSP,
        libc::VEOL => Index::VEOL,
        _ => return 0,
    };
    modes.special_codes[index]
}

/// Copies the size of one terminal to another; a size that is unknown is left alone.
pub fn copy_size(from: BorrowedFd<'_>, to: BorrowedFd<'_>) {
    if let Ok(size) = tcgetwinsize(from) {
        let _ = tcsetwinsize(to, size);
    }
}

/// Says whether a descriptor is a terminal.
pub fn is_tty(fd: BorrowedFd<'_>) -> bool {
    rustix::termios::isatty(fd)
}

/// A terminal in raw mode, until this value is gone.
#[derive(Debug)]
pub struct Raw<'a> {
    fd: BorrowedFd<'a>,
    before: Termios,
}

impl<'a> Raw<'a> {
    /// Switches to raw mode; none when the descriptor is not a terminal.
    pub fn enter(fd: BorrowedFd<'a>) -> Option<Self> {
        let before = tcgetattr(fd).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(fd, OptionalActions::Now, &raw).ok()?;
        Some(Self { fd, before })
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        // After what was written has left: the last output was meant for raw mode.
        let _ = tcsetattr(self.fd, OptionalActions::Drain, &self.before);
    }
}

/// Signals as something to be read. They do not interrupt anything meanwhile, so that there is always a
/// chance to restore the terminal.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
    before: SigSet,
}

impl Signals {
    /// Takes over these signals.
    ///
    /// # Errors
    /// The system's error.
    pub fn take(list: &[Signal]) -> io::Result<Self> {
        let set: SigSet = list.iter().copied().collect();
        let mut before = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), Some(&mut before))?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { fd, before })
    }

    /// Returns the next signal that has arrived.
    pub fn next(&self) -> Option<Signal> {
        let info = self.fd.read_signal().ok()??;
        Signal::try_from(info.ssi_signo.cast_signed()).ok()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}

/// Stops this process as the terminal's suspend character would; returns when it is continued.
pub fn stop_self() {
    let _ = raise(Signal::SIGSTOP);
}

/// Ends this process by a signal, so that whoever waits for it sees which.
pub fn die_by(signal: Signal) {
    let _ = raise(signal);
}

/// Makes a pipe: the side to read, the side to write. Neither survives an exec.
///
/// # Errors
/// The system's error.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}
