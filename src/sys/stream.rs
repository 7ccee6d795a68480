//! Standard streams of this process, used so that no read and no write waits.
//!
//! Other processes of the host share a stream: the shell, the rest of a pipeline, a log. So its flags stay as they
//! are (`O_NONBLOCK` would be theirs as well). A pipe or a terminal is opened once more instead, which gives this
//! process flags of its own; a socket gets the flag with each call.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, SeekFrom, fcntl_getfl, fstat, major, minor, open, seek};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use rustix::pipe::{SpliceFlags, tee};
use rustix::stdio;

use super::tty;

/// The number of bytes that a pipe surely takes once it has said that it takes something.
const PIPE_BUF: usize = 4096;

/// Kinds of streams, as far as they need different treatment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StreamKind {
    Pipe,
    Socket,
    Terminal,
    /// A regular file or a disk, which has a position.
    Positioned,
    Other,
}

/// A standard stream of the caller.
#[derive(Debug)]
pub struct Stream {
    shared: BorrowedFd<'static>,
    /// The same pipe or terminal with flags of our own.
    own: Option<OwnedFd>,
    kind: StreamKind,
    name: &'static str,
}

impl Stream {
    /// Takes standard input.
    pub fn input() -> Self {
        Self::new(stdio::stdin(), OFlags::RDONLY, "standard input")
    }

    /// Takes standard output.
    pub fn output() -> Self {
        Self::new(stdio::stdout(), OFlags::WRONLY, "standard output")
    }

    /// Takes standard error.
    pub fn errors() -> Self {
        Self::new(stdio::stderr(), OFlags::WRONLY, "standard error")
    }

    fn new(shared: BorrowedFd<'static>, access: OFlags, name: &'static str) -> Self {
        let kind = kind_of(shared);
        let own = if matches!(kind, StreamKind::Pipe | StreamKind::Terminal) {
            open_anew(shared, access)
        } else {
            None
        };
        Self { shared, own, kind, name }
    }

    /// Returns its name for a message.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Reads the available bytes; `WouldBlock` when there are none yet.
    ///
    /// # Errors
    /// The system's error.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(match self.kind {
            StreamKind::Socket => rustix::net::recv(self.shared, buffer, RecvFlags::DONTWAIT)?.0,
            _ => rustix::io::read(self, buffer)?,
        })
    }

    /// Writes as much as there is room for; `WouldBlock` when there is no room yet. To be called when poll(2) says
    /// that there is room.
    ///
    /// # Errors
    /// The system's error.
    pub fn write(&self, text: &[u8]) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        Ok(match self.kind {
            StreamKind::Socket => rustix::net::send(self.shared, text, flags)?,
            // A stream that could not be opened anew may wait, but not for so little.
            StreamKind::Pipe | StreamKind::Terminal if self.own.is_none() => {
                rustix::io::write(self, &text[..text.len().min(PIPE_BUF)])?
            }
            _ => rustix::io::write(self, text)?,
        })
    }

    /// Says whether poll(2) reports by itself that the reader has gone.
    pub fn tells_its_end(&self) -> bool {
        matches!(self.kind, StreamKind::Pipe | StreamKind::Socket)
    }

    /// Says whether the available bytes can be looked at without taking them.
    pub fn can_show(&self) -> bool {
        matches!(self.kind, StreamKind::Pipe | StreamKind::Positioned)
    }

    /// Reads the available bytes, at most one page of them, and leaves them there.
    ///
    /// # Errors
    /// As [`Stream::read`].
    pub fn show(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(PIPE_BUF);
        if self.kind == StreamKind::Positioned {
            let position = seek(self, SeekFrom::Current(0))?;
            return Ok(rustix::io::pread(self, &mut buffer[..most], position)?);
        }
        let (read, write) = tty::pipe()?;
        match tee(self, &write, most, SpliceFlags::NONBLOCK)? {
            0 => Ok(0),
            _ => tty::read(read.as_fd(), &mut buffer[..most]),
        }
    }

    /// Takes away so many bytes that [`Stream::show`] has shown.
    pub fn take_away(&self, mut bytes: usize) {
        if self.kind == StreamKind::Positioned {
            let _ = i64::try_from(bytes).map(|n| seek(self, SeekFrom::Current(n)));
            return;
        }
        let mut buffer = [0; PIPE_BUF];
        while bytes > 0 {
            // Another process may have read meanwhile, and there must be no waiting.
            let most = bytes.min(buffer.len()).min(tty::readable(self.as_fd()));
            match rustix::io::read(self, &mut buffer[..most]) {
                Err(Errno::INTR) => {}
                Ok(n @ 1..) => bytes -= n,
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Gives back the last bytes that were read, where there is a position to set.
    pub fn give_back(&self, bytes: usize) {
        if self.kind == StreamKind::Positioned && bytes > 0 {
            let _ = i64::try_from(bytes).map(|n| seek(self, SeekFrom::Current(-n)));
        }
    }

    /// Says whether an error of reading means only that there is nothing to read: the stream is for writing only, or
    /// is a terminal that was hung up.
    pub fn has_just_ended(&self, e: &io::Error) -> bool {
        e.raw_os_error() == Some(libc::EBADF) || self.was_hung_up(e)
    }

    /// Says whether an error means that a terminal was hung up.
    pub fn was_hung_up(&self, e: &io::Error) -> bool {
        self.kind == StreamKind::Terminal && e.raw_os_error() == Some(libc::EIO)
    }

    /// Says whether both are the same file, pipe, terminal or socket.
    pub fn is_same_as(&self, other: &Self) -> bool {
        let object = |s: &Self| fstat(s.shared).map(|s| (s.st_dev, s.st_ino, s.st_rdev)).ok();
        let access = |s: &Self| fcntl_getfl(s.shared).map(|flags| flags & OFlags::ACCMODE).ok();
        object(self).is_some() && object(self) == object(other) && access(self) == access(other)
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.own.as_ref().map_or(self.shared, AsFd::as_fd)
    }
}

fn kind_of(fd: BorrowedFd<'_>) -> StreamKind {
    let Ok(stat) = fstat(fd) else { return StreamKind::Other };
    // Opened anew it is another terminal.
    let multiplexer = (major(stat.st_rdev), minor(stat.st_rdev)) == (5, 2);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo => StreamKind::Pipe,
        FileType::Socket => StreamKind::Socket,
        FileType::RegularFile | FileType::BlockDevice => StreamKind::Positioned,
        FileType::CharacterDevice if tty::is_tty(fd) && !multiplexer => StreamKind::Terminal,
        _ => StreamKind::Other,
    }
}

/// Opens it once more with flags of our own, as long as that gives no right that the stream does not have.
fn open_anew(fd: BorrowedFd<'_>, access: OFlags) -> Option<OwnedFd> {
    let had = fcntl_getfl(fd).ok()?;
    if had.contains(OFlags::PATH) || ![access, OFlags::RDWR].contains(&(had & OFlags::ACCMODE)) {
        return None;
    }
    let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    open(format!("/proc/self/fd/{}", fd.as_raw_fd()), flags, Mode::empty()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    /// Makes a stream of a descriptor that stays open as long as the test runs.
    fn stream(fd: impl Into<OwnedFd>, access: OFlags) -> Stream {
        let fd: &'static OwnedFd = Box::leak(Box::new(fd.into()));
        Stream::new(fd.as_fd(), access, "a stream")
    }

    #[test]
    fn no_read_and_no_write_waits_and_no_flag_is_changed() {
        let would_block = |e: io::Error| assert_eq!(e.kind(), io::ErrorKind::WouldBlock);
        let (read, write) = tty::pipe().expect("a pipe");
        let (a, b) = UnixStream::pair().expect("sockets");
        for (input, output) in [(read, write), (a.into(), b.into())] {
            let (input, output) = (stream(input, OFlags::RDONLY), stream(output, OFlags::WRONLY));
            would_block(input.read(&mut [0; 8]).expect_err("nothing is there"));
            let mut written = 0;
            let full = loop {
                match output.write(&[b'x'; 10_000]) {
                    Ok(n) => written += n,
                    Err(e) => break e,
                }
            };
            would_block(full);
            let mut buffer = vec![0; written + 1];
            let mut got = 0;
            while got < written {
                got += input.read(&mut buffer).expect("it is there");
            }
            for stream in [&input, &output] {
                let flags = fcntl_getfl(stream.shared).expect("an open descriptor");
                assert!(!flags.contains(OFlags::NONBLOCK), "{stream:?}");
            }
        }
    }

    #[test]
    fn what_is_shown_stays_until_it_is_taken_away() {
        let (read, write) = tty::pipe().expect("a pipe");
        let input = stream(read, OFlags::RDONLY);
        let mut buffer = [0; 64];
        assert!(input.can_show());
        let nothing = input.show(&mut buffer).expect_err("nothing is there");
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        tty::write_all(write.as_fd(), b"abcdef").expect("a pipe");
        for _ in 0..2 {
            let n = input.show(&mut buffer).expect("it is there");
            assert_eq!(&buffer[..n], b"abcdef");
        }
        input.take_away(4);
        let n = input.read(&mut buffer).expect("it is there");
        assert_eq!(&buffer[..n], b"ef");
        // More than there is: no waiting.
        input.take_away(4);
        drop(write);
        assert_eq!(input.show(&mut buffer).expect("the end"), 0);
    }

    #[test]
    fn what_was_read_of_a_file_is_given_back() {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"abcdef").expect("a file");
        seek(&file, SeekFrom::Start(0)).expect("a file");
        let input = stream(file, OFlags::RDONLY);
        let mut buffer = [0; 5];
        assert_eq!(input.read(&mut buffer).expect("a file"), 5);
        input.give_back(3);
        assert_eq!(input.show(&mut buffer).expect("a file"), 4);
        input.take_away(1);
        assert_eq!(input.read(&mut buffer).expect("a file"), 3);
        assert_eq!(&buffer[..3], b"def");
    }

    #[test]
    fn opened_anew_it_has_no_other_rights_and_is_the_same() {
        let (read, write) = tty::pipe().expect("a pipe");
        let also = write.try_clone().expect("a copy");
        // The wrong side: nothing to read comes of it.
        let wrong = stream(write, OFlags::RDONLY);
        let e = wrong.read(&mut [0; 8]).expect_err("it is for writing only");
        assert!(wrong.has_just_ended(&e), "{e}");
        let (one, two) = (stream(also, OFlags::WRONLY), stream(read, OFlags::RDONLY));
        assert!(one.is_same_as(&one) && !one.is_same_as(&two));
        let pty = crate::sys::pty::open_in(std::path::Path::new("/dev/pts")).expect("a pseudo-terminal");
        let (master, slave) = (stream(pty.master, OFlags::RDONLY), stream(pty.slave, OFlags::WRONLY));
        assert!(master.own.is_none() && slave.own.is_some());
        assert_eq!(slave.write(b"x").expect("a terminal"), 1);
        assert_eq!(master.read(&mut [0; 8]).expect("what was written"), 1);
    }
}
