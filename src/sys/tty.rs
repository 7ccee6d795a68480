//! The terminal of the caller: its size, raw mode that is undone in any case, and signals as input.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, raise, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, OFlags, fstat, major, minor};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios, Winsize, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

use super::naive::without;

/// A terminal's state as programs see it: its modes, if it has any, and its size.
#[derive(Clone, Debug)]
pub struct TerminalState {
    modes: Option<Termios>,
    size: Winsize,
}

impl TerminalState {
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
        // The control characters of a fresh terminal; indices as in termios(3).
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
        // The modes change after all output has left: the last output was meant for raw mode. Unread input is thrown
        // away: it was meant for the other side, or is the terminal's answer to a question of the other side, and
        // the next reader would take it for a command.
        let _ = tcsetattr(self.fd, OptionalActions::Flush, &self.before);
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

/// Ends this process by a signal, so that its parent sees which.
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

/// Makes a pipe for a zone, whose programs can open it by name as well (`/dev/stdin`, `/dev/stdout`).
///
/// It belongs to root of the host, and only a process that already has it can come by its name, in `/proc/PID/fd`.
///
/// # Errors
/// The system's error.
pub fn pipe_to_open() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe()?;
    rustix::fs::fchmod(&read, rustix::fs::Mode::from_raw_mode(0o666))?;
    Ok((read, write))
}

/// Opens `/dev/null` of the host.
///
/// # Errors
/// The system's error; also when a file has taken its place, which a zone must not get to write to.
pub fn null() -> io::Result<OwnedFd> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, rustix::fs::Mode::empty())?;
    if is_null(&fstat(&null)?) { Ok(null) } else { Err(io::Error::other("/dev/null is not the null device")) }
}

/// Waits until either descriptor has something; says whether the first has.
///
/// # Errors
/// The system's error.
pub fn wait_for(first: BorrowedFd<'_>, second: BorrowedFd<'_>) -> io::Result<bool> {
    let mut fds = [first, second].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    match poll(&mut fds, None) {
        Ok(_) => Ok(!fds[0].revents().is_empty()),
        Err(Errno::INTR) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Makes reads and writes of a descriptor of our own return instead of waiting.
///
/// # Errors
/// The system's error.
pub fn never_wait(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    Ok(rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK)?)
}

/// Returns how many bytes can be read now.
pub fn readable(fd: BorrowedFd<'_>) -> usize {
    rustix::io::ioctl_fionread(fd).ok().and_then(|n| usize::try_from(n).ok()).unwrap_or(0)
}

/// Reads the available bytes, past the buffers of the standard library.
///
/// # Errors
/// The system's error.
pub fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::io::read(fd, buffer)?)
}

/// Writes as much as there is room for, past the buffers of the standard library.
///
/// # Errors
/// The system's error.
pub fn write(fd: BorrowedFd<'_>, text: &[u8]) -> io::Result<usize> {
    Ok(rustix::io::write(fd, text)?)
}

/// Writes all, past the buffers of the standard library; also to a stream that another process has set to not block.
///
/// # Errors
/// The system's error.
pub fn write_all(fd: BorrowedFd<'_>, mut text: &[u8]) -> io::Result<()> {
    while !text.is_empty() {
        match rustix::io::write(fd, text) {
            Ok(n) => text = &text[n..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::OUT)], None);
            }
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// Makes a pipe hold so many bytes, at least one page; says whether it does.
pub fn resize_pipe(fd: BorrowedFd<'_>, bytes: usize) -> bool {
    rustix::pipe::fcntl_setpipe_size(fd, bytes).is_ok()
}

/// Opens the side to read of a pipe that this process has the side to write of; none where that is not allowed.
/// Reads from it do not wait.
pub fn other_end(write: BorrowedFd<'_>) -> Option<OwnedFd> {
    let is_pipe = fstat(write).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Fifo);
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&write));
    is_pipe.then(|| rustix::fs::open(path, flags, rustix::fs::Mode::empty()).ok()).flatten()
}

/// The descriptor that a command of a zone is given for a standard stream of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// `/dev/null`, opened for the command alone.
    Null,
    /// A pipe whose data this process carries.
    Pipe,
    /// The stream itself. Only a build that leaves a defence out does that.
    Itself,
}

/// Decides the descriptor that a command of a zone gets for a stream of the caller: only `/dev/null` is given
/// directly, since no other file is safe in a zone.
///
/// A process that holds a file that is open for writing can truncate it, write over it and let it grow, whether or
/// not it was opened to append. On a file that is open for reading it can move the position, which the caller
/// shares, lock it and read its path; on a pipe change the size, and make it non-blocking for every process that
/// uses it. A socket passes descriptors, a terminal takes input, a directory leads out of the zone, and a name
/// (`O_PATH`) can be opened anew.
pub fn given_for(fd: BorrowedFd<'_>) -> Given {
    let Ok(stat) = fstat(fd) else { return Given::Pipe };
    let kind = FileType::from_raw_mode(stat.st_mode);
    if without("streams") || without("relay") && matches!(kind, FileType::RegularFile | FileType::Fifo) {
        return Given::Itself;
    }
    if is_null(&stat) { Given::Null } else { Given::Pipe }
}

fn is_null(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && (major(stat.st_rdev), minor(stat.st_rdev)) == (1, 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::net::UnixStream;
    use std::path::Path;

    #[test]
    fn only_the_null_device_is_not_relayed() {
        let null = File::open("/dev/null").expect("a null device");
        assert_eq!(given_for(null.as_fd()), Given::Null);
        assert!(is_null(&fstat(super::null().expect("a null device")).expect("an open file")));
        let file = tempfile::tempfile().expect("a temporary file");
        let (read, write) = pipe().expect("a pipe");
        let pty = crate::sys::pty::open_in(Path::new("/dev/pts")).expect("a pseudo-terminal");
        let folder = File::open("/").expect("a root");
        let zero = File::open("/dev/zero").expect("a zero device");
        let (socket, _other) = UnixStream::pair().expect("sockets");
        let name = rustix::fs::open("/etc/passwd", OFlags::PATH, rustix::fs::Mode::empty()).expect("a name");
        let event = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).expect("a counter");
        for one in [
            file.as_fd(),
            read.as_fd(),
            write.as_fd(),
            pty.slave.as_fd(),
            pty.master.as_fd(),
            folder.as_fd(),
            zero.as_fd(),
            socket.as_fd(),
            name.as_fd(),
            event.as_fd(),
        ] {
            assert_eq!(given_for(one), Given::Pipe, "{one:?}");
        }
    }

    #[test]
    fn the_other_end_of_a_pipe() {
        let (read, write) = pipe().expect("a pipe");
        write_all(write.as_fd(), b"abc").expect("a pipe");
        drop(read);
        let other = other_end(write.as_fd()).expect("a pipe of our own");
        assert_eq!(readable(other.as_fd()), 3);
        assert!(other_end(File::open("/dev/null").expect("a null device").as_fd()).is_none());
    }

    #[test]
    fn raw_mode_is_undone() {
        let pty = crate::sys::pty::open_in(Path::new("/dev/pts")).expect("a pseudo-terminal");
        let fd = pty.slave.as_fd();
        let modes = || tcgetattr(fd).expect("a terminal").local_modes;
        let before = modes();
        let raw = Raw::enter(fd).expect("a terminal");
        assert_ne!(modes(), before);
        drop(raw);
        assert_eq!(modes(), before);
        assert!(Raw::enter(File::open("/dev/null").expect("a null device").as_fd()).is_none());
    }

    #[test]
    fn a_look_is_carried_over() {
        let ptys: Vec<_> =
            (0..2).map(|_| crate::sys::pty::open_in(Path::new("/dev/pts")).expect("a terminal")).collect();
        let size = Winsize { ws_row: 50, ws_col: 132, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&ptys[0].master, size).expect("a size");
        TerminalState::of(ptys[0].slave.as_fd()).apply(ptys[1].slave.as_fd()).expect("a look");
        assert_eq!(tcgetwinsize(&ptys[1].master).expect("a size"), size);
        let none = TerminalState::of(File::open("/dev/null").expect("a null device").as_fd());
        assert_eq!((none.size.ws_col, none.size.ws_row), (80, 24));
        assert_eq!((none.special(libc::VEOF), none.special(libc::VEOL)), (Some(4), None));
    }
}
