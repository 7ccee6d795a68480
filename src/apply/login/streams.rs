//! Standard streams of a command: which of the caller's may be handed to the zone as they are, and pipes
//! for the others.
//!
//! Handed over: regular files and pipes, on purpose of the caller, at no cost. A process of the zone can open
//! such a file anew (`/proc/self/fd`), as far as its permission bits allow everybody.
//!
//! Never handed over: a terminal of the host (input could be pushed into it, its settings changed), a folder
//! (it leads out of the zone), a socket (descriptors can be passed through it), a device.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::sys::tty;

/// The streams of a command.
pub struct Streams {
    /// What to place in the child; none: the child keeps ours.
    pub inside: [Option<OwnedFd>; 3],
    /// What is to be carried across meanwhile.
    pub relay: Relay,
}

/// Carries bytes between streams of the caller and pipes into the zone.
#[derive(Default)]
pub struct Relay {
    input: Option<Input>,
    outputs: Vec<Output>,
}

/// Our standard input, into a pipe.
struct Input {
    to: File,
    pending: Vec<u8>,
    ended: bool,
}

/// A pipe, to our standard output or error.
struct Output {
    from: File,
    errors: bool,
}

impl Streams {
    /// Looks at the caller's streams and makes the pipes that are needed.
    ///
    /// # Errors
    /// The system's error.
    pub fn prepare(no_input: bool) -> io::Result<Self> {
        let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
        let mut relay = Relay::default();
        let input = if no_input {
            Some(tty::null()?)
        } else if tty::may_be_handed_over(stdin.as_fd()) {
            None
        } else {
            let (read, write) = tty::pipe()?;
            tty::never_wait(write.as_fd())?;
            relay.input = Some(Input { to: write.into(), pending: Vec::new(), ended: false });
            Some(read)
        };
        let mut carry = |fd: BorrowedFd<'_>, errors: bool| -> io::Result<Option<OwnedFd>> {
            if tty::may_be_handed_over(fd) {
                return Ok(None);
            }
            let (read, write) = tty::pipe()?;
            tty::never_wait(read.as_fd())?;
            relay.outputs.push(Output { from: read.into(), errors });
            Ok(Some(write))
        };
        let output = carry(stdout.as_fd(), false)?;
        // One pipe for one terminal, so that what is written in turns is seen in turns.
        let errors = match &output {
            Some(pipe) if tty::same_terminal(stdout.as_fd(), stderr.as_fd()) => Some(pipe.try_clone()?),
            _ => carry(stderr.as_fd(), true)?,
        };
        Ok(Self { inside: [input, output, errors], relay })
    }
}

/// How much is read at once.
const CHUNK: usize = 64 << 10;

impl Relay {
    /// Waits until something can be carried, or one of the other descriptors has something; carries, and
    /// says which of the others had.
    ///
    /// # Errors
    /// The system's error.
    pub fn turn(&mut self, others: [Option<BorrowedFd<'_>>; 3]) -> io::Result<[bool; 3]> {
        let stdin = io::stdin();
        let entry = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let mut fds = Vec::with_capacity(7);
        fds.extend(others.into_iter().flatten().map(entry));
        if let Some(input) = &self.input {
            // The pipe reports an error without being asked when nobody reads it any more.
            let full = !input.pending.is_empty();
            fds.push(PollFd::new(&input.to, if full { PollFlags::OUT } else { PollFlags::empty() }));
            if !full {
                fds.push(entry(stdin.as_fd()));
            }
        }
        fds.extend(self.outputs.iter().map(|o| entry(o.from.as_fd())));
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        let seen: Vec<_> = fds.iter().map(PollFd::revents).collect();
        drop(fds);
        let mut seen = seen.into_iter();
        let others = others.map(|fd| fd.is_some() && seen.next().is_some_and(|e| !e.is_empty()));
        if let Some(input) = &mut self.input {
            let full = !input.pending.is_empty();
            let pipe = seen.next().unwrap_or(PollFlags::empty());
            let readable = !full && seen.next().is_some_and(|e| !e.is_empty());
            if !input.carry(pipe, readable) {
                self.input = None;
            }
        }
        self.outputs.retain_mut(|o| seen.next().is_none_or(|e| e.is_empty()) || o.carry());
        Ok(others)
    }

    /// Carries the output that is there already, and ends. What others write on and on is not waited for.
    pub fn finish(mut self) {
        self.input = None;
        for output in &mut self.outputs {
            let mut left = tty::readable(output.from.as_fd());
            while left > 0
                && let Some(carried @ 1..) = output.carry_some()
            {
                left = left.saturating_sub(carried);
            }
        }
    }
}

impl Input {
    /// Says whether to go on.
    fn carry(&mut self, pipe: PollFlags, readable: bool) -> bool {
        if pipe.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL) {
            return false;
        }
        if readable && !self.ended {
            let mut buffer = [0; CHUNK];
            match tty::read(io::stdin().as_fd(), &mut buffer) {
                Ok(0) => self.ended = true,
                Ok(n) => self.pending.extend_from_slice(&buffer[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.ended = true,
            }
        }
        while !self.pending.is_empty() {
            match self.to.write(&self.pending) {
                Ok(n) => drop(self.pending.drain(..n)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
        !self.ended
    }
}

impl Output {
    /// Carries one chunk. Says whether to go on; the end of the pipe, or of the caller's stream, is the end.
    fn carry(&mut self) -> bool {
        self.carry_some().is_some()
    }

    /// Carries one chunk. Says how long it was, 0 when there was none just now; none at the end.
    fn carry_some(&mut self) -> Option<usize> {
        let mut buffer = [0; CHUNK];
        match self.from.read(&mut buffer) {
            Ok(0) => None,
            Ok(n) => {
                let text = &buffer[..n];
                let (stdout, stderr) = (io::stdout(), io::stderr());
                let to = if self.errors { stderr.as_fd() } else { stdout.as_fd() };
                tty::write_all(to, text).ok().map(|()| n)
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Some(0),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Some(0),
            Err(_) => None,
        }
    }
}
