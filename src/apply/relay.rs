//! Bytes on their way between the streams of the caller and something else: pipes into a zone, a terminal,
//! the pipes of a broker.
//!
//! Nothing here waits but poll(2), so that signals are heard whatever the other side and the reader of the
//! output do. Bytes are copied, not spliced: no page of a file of the host gets into a pipe of a zone, and
//! no page that a zone can still write to into a pipe of the host.
//!
//! Input is not taken from the caller before the command reads it, as far as the kernel shows that: in a loop over
//! lines, unread input is left to the loop. The first page is only shown, through a pipe with room for one page,
//! until the command has read it. From there on input is read ahead; unread input in the end is given back to a
//! file, which has a position, and lost of a pipe.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::sys::path::reason;
use crate::sys::stream::Stream;
use crate::sys::tty;

/// How much is carried at once.
const CHUNK: usize = 64 << 10;
/// The most that is carried after the end of the other side: more than a terminal holds.
const MAX_REST: usize = 256 << 10;
/// The answers of poll(2) for a side that is gone.
const GONE: PollFlags = PollFlags::ERR.union(PollFlags::HUP).union(PollFlags::NVAL);

/// A stream of the caller that fails.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {stream}: {}", reason(source))]
pub struct Failed {
    what: &'static str,
    stream: &'static str,
    #[source]
    source: io::Error,
}

impl Failed {
    fn of(what: &'static str, stream: &Stream) -> impl FnOnce(io::Error) -> Self {
        let stream = stream.name();
        move |source| Self { what, stream, source }
    }
}

/// Bytes that have been read and not yet written.
#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    fn len(&self) -> usize {
        self.end - self.start
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds the bytes of one read; says how many, none when there was nothing just now.
    fn fill(
        &mut self,
        most: usize,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<Option<usize>> {
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
        let whole = self.end + most;
        if self.bytes.len() < whole {
            self.bytes.resize(whole, 0);
        }
        let read = not_now(read(&mut self.bytes[self.end..whole]))?;
        self.end += read.unwrap_or(0);
        Ok(read)
    }

    /// Removes the bytes that one write accepts.
    fn drain(&mut self, write: impl FnOnce(&[u8]) -> io::Result<usize>) -> io::Result<()> {
        self.start += not_now(write(&self.bytes[self.start..self.end]))?.unwrap_or(0);
        Ok(())
    }
}

/// Takes "nothing just now" for no error.
fn not_now(done: io::Result<usize>) -> io::Result<Option<usize>> {
    match done {
        Ok(n) => Ok(Some(n)),
        Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The state of a way after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Went {
    /// There may be more.
    On,
    /// Its beginning is at the end; of input, the other side sees the end of its own.
    Ended,
    /// Its end has no reader any more.
    Unread,
}

/// Output of the other side, on its way to a stream of the caller.
#[derive(Debug)]
pub struct Output<F> {
    from: F,
    to: Stream,
    pending: Buffer,
}

impl<F: AsFd> Output<F> {
    /// Takes both ends, the first of which must not wait.
    pub fn new(from: F, to: Stream) -> Self {
        Self { from, to, pending: Buffer::default() }
    }

    /// Adds the descriptors to wait for. [`Output::turn`] takes as many answers.
    pub fn polls<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        if self.pending.is_empty() {
            fds.push(PollFd::new(&self.from, PollFlags::IN));
            if self.to.tells_its_end() {
                fds.push(PollFd::new(&self.to, PollFlags::empty()));
            }
        } else {
            fds.push(PollFd::new(&self.to, PollFlags::OUT));
        }
    }

    /// Carries the available data.
    ///
    /// # Errors
    /// When the caller's stream cannot be written to, for another reason than that its reader has gone.
    pub fn turn(&mut self, seen: &mut impl Iterator<Item = PollFlags>) -> Result<Went, Failed> {
        let first = seen.next().unwrap_or(PollFlags::empty());
        if !self.pending.is_empty() {
            return if first.is_empty() { Ok(Went::On) } else { self.write() };
        }
        if self.to.tells_its_end() && seen.next().is_some_and(|e| e.intersects(GONE)) {
            return Ok(Went::Unread);
        }
        let ended = !first.is_empty() && self.read(CHUNK) == Some(0);
        Ok(if ended { Went::Ended } else { Went::On })
    }

    /// Reads the output written before the other side's end; nothing more is read from there.
    pub fn last(&mut self) {
        let from = self.from.as_fd();
        let mut left = if tty::is_tty(from) { MAX_REST } else { tty::readable(from) };
        while left > 0
            && let Some(more @ 1..) = self.read(left.min(CHUNK))
        {
            left -= more;
        }
    }

    /// Says whether something that was read waits to be written.
    pub fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Shows a text of our own, as far as there is room for it.
    pub fn say(&self, text: &[u8]) {
        let _ = self.to.write(text);
    }

    /// Reads once; says how much, 0 at the end, none when there was nothing just now.
    fn read(&mut self, most: usize) -> Option<usize> {
        let from = self.from.as_fd();
        // A terminal whose programs have all closed it is at its end with an error.
        self.pending.fill(most, |buffer| tty::read(from, buffer)).unwrap_or(Some(0))
    }

    fn write(&mut self) -> Result<Went, Failed> {
        let to = &self.to;
        let Err(e) = self.pending.drain(|text| to.write(text)) else { return Ok(Went::On) };
        self.pending = Buffer::default();
        if nobody_reads(&e) || to.was_hung_up(&e) {
            Ok(Went::Unread)
        } else {
            Err(Failed::of("write", to)(e))
        }
    }
}

fn nobody_reads(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// Standard input, on its way to the other side.
#[derive(Debug)]
pub struct Input {
    from: Stream,
    to: PipeState,
    pending: Buffer,
    /// How many bytes in the caller's stream were shown to the other side; none: it is read ahead.
    shown: Option<usize>,
}

/// The pipe to the other side.
#[derive(Debug)]
enum PipeState {
    Open(File),
    /// It is at its end. The process that keeps its other end sees how much is left unread.
    Ended(OwnedFd),
    Closed,
}

impl Input {
    /// Takes both ends, the second of which is ours alone.
    ///
    /// # Errors
    /// The system's error.
    pub fn new(from: Stream, to: File) -> io::Result<Self> {
        tty::never_wait(to.as_fd())?;
        // With room for one page, poll(2) says that there is room when that page has been read.
        let shows = from.can_show() && tty::resize_pipe(to.as_fd(), 1);
        let shown = shows.then_some(0);
        Ok(Self { from, to: PipeState::Open(to), pending: Buffer::default(), shown })
    }

    /// Adds the descriptors to wait for. [`Input::turn`] takes as many answers.
    pub fn polls<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        let PipeState::Open(to) = &self.to else { return };
        if self.is_listening() {
            // It reports by itself that its reader has gone.
            fds.push(PollFd::new(to, PollFlags::empty()));
            fds.push(PollFd::new(&self.from, PollFlags::IN));
        } else {
            fds.push(PollFd::new(to, PollFlags::OUT));
        }
    }

    /// Says whether the caller's stream is read from now.
    fn is_listening(&self) -> bool {
        self.pending.is_empty() && !matches!(self.shown, Some(1..))
    }

    /// Carries the available data.
    ///
    /// # Errors
    /// When the caller's stream cannot be read; the other side sees the end of its own.
    pub fn turn(&mut self, seen: &mut impl Iterator<Item = PollFlags>) -> Result<Went, Failed> {
        let PipeState::Open(to) = &self.to else { return Ok(Went::On) };
        let listened = self.is_listening();
        let room = seen.next().unwrap_or(PollFlags::empty());
        let there = listened && seen.next().is_some_and(|e| !e.is_empty());
        if room.intersects(GONE) {
            self.settle();
            return Ok(Went::Unread);
        }
        if there {
            return self.read();
        }
        if room.is_empty() {
            return Ok(Went::On);
        }
        if let (true, Some(shown)) = (self.pending.is_empty(), self.shown) {
            // It was read: the caller's stream need not keep it.
            self.from.take_away(shown);
            self.shown = None;
            tty::resize_pipe(to.as_fd(), CHUNK);
            return Ok(Went::On);
        }
        let mut to = to;
        if self.pending.drain(|text| to.write(text)).is_err() {
            self.settle();
            return Ok(Went::Unread);
        }
        Ok(Went::On)
    }

    fn read(&mut self) -> Result<Went, Failed> {
        let from = &self.from;
        let read = if self.shown.is_some() {
            let shown = self.pending.fill(CHUNK, |buffer| from.show(buffer));
            // A stream that does not let itself be looked at is read.
            self.shown = shown.as_ref().ok().map(|n| n.unwrap_or(0));
            shown.or(Ok(None))
        } else {
            self.pending.fill(CHUNK, |buffer| from.read(buffer))
        };
        let failed = match read {
            Ok(Some(1..) | None) => return Ok(Went::On),
            Ok(Some(0)) => None,
            Err(e) => Some(e).filter(|e| !from.has_just_ended(e)),
        };
        self.close();
        failed.map_or(Ok(Went::Ended), |e| Err(Failed::of("read", &self.from)(e)))
    }

    /// Lets the other side see the end, and keeps an eye on how much it reads.
    fn close(&mut self) {
        let PipeState::Open(to) = &self.to else { return };
        let other = tty::other_end(to.as_fd());
        self.to = other.map_or(PipeState::Closed, PipeState::Ended);
    }

    /// Ends it: unread input stays with the caller, as far as that can be.
    pub fn settle(&mut self) {
        let unread = match &self.to {
            PipeState::Open(to) => tty::readable(to.as_fd()),
            PipeState::Ended(to) => tty::readable(to.as_fd()),
            PipeState::Closed => return,
        };
        let unread = unread + self.pending.len();
        match self.shown {
            Some(shown) => self.from.take_away(shown.saturating_sub(unread)),
            None => self.from.give_back(unread),
        }
        (self.to, self.pending) = (PipeState::Closed, Buffer::default());
    }
}

/// Carries bytes between the streams of this process and their other sides.
#[derive(Debug, Default)]
pub struct Relay {
    input: Option<Input>,
    input_has_ended: bool,
    outputs: Vec<Output<File>>,
    /// The other side has ended: the outputs hold the rest of its data.
    ended: bool,
    failed: Option<Failed>,
}

impl Relay {
    /// Has standard input go to a pipe or terminal of ours.
    ///
    /// # Errors
    /// The system's error.
    pub fn take_input(&mut self, to: File) -> io::Result<()> {
        self.input = Some(Input::new(Stream::input(), to)?);
        Ok(())
    }

    /// Directs the data of a pipe or terminal of ours to a stream of the caller.
    ///
    /// # Errors
    /// The system's error.
    pub fn take_output(&mut self, from: File, to: Stream) -> io::Result<()> {
        tty::never_wait(from.as_fd())?;
        self.outputs.push(Output::new(from, to));
        Ok(())
    }

    /// Waits until something can be carried, or one of the other descriptors has something, at most so long;
    /// carries, and says which of the others had.
    ///
    /// # Errors
    /// The system's error.
    pub fn turn<const N: usize>(
        &mut self,
        others: [Option<BorrowedFd<'_>>; N],
        limit: Option<Duration>,
    ) -> io::Result<[bool; N]> {
        let mut fds = Vec::with_capacity(N + 6);
        fds.extend(others.into_iter().flatten().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        if let Some(input) = &self.input {
            input.polls(&mut fds);
        }
        for output in &self.outputs {
            output.polls(&mut fds);
        }
        let limit = limit.and_then(|l| Timespec::try_from(l).ok());
        match poll(&mut fds, limit.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok([false; N]),
            Err(e) => return Err(e.into()),
        }
        let seen: Vec<_> = fds.iter().map(PollFd::revents).collect();
        drop(fds);
        let mut seen = seen.into_iter();
        let others = others.map(|fd| fd.is_some() && seen.next().is_some_and(|e| !e.is_empty()));
        self.carry(&mut seen);
        Ok(others)
    }

    fn carry(&mut self, seen: &mut impl Iterator<Item = PollFlags>) {
        let failed = &mut self.failed;
        let mut note = |e: Failed| {
            failed.get_or_insert(e);
        };
        match self.input.as_mut().map(|input| input.turn(seen)) {
            None | Some(Ok(Went::On)) => {}
            Some(Ok(Went::Ended)) => self.input_has_ended = true,
            Some(Ok(Went::Unread)) => self.input = None,
            Some(Err(e)) => note(e),
        }
        let ended = self.ended;
        self.outputs.retain_mut(|output| match output.turn(seen) {
            Ok(went) => went == Went::On && (!ended || output.is_waiting()),
            Err(e) => {
                note(e);
                false
            }
        });
    }

    /// Says whether standard input is at its end.
    pub fn input_has_ended(&self) -> bool {
        self.input_has_ended
    }

    /// Takes note that the other side has ended. The output that is there is carried in the turns that
    /// follow; what others write on and on is not waited for.
    pub fn end(&mut self) {
        if let Some(mut input) = self.input.take() {
            input.settle();
        }
        self.outputs.iter_mut().for_each(Output::last);
        self.outputs.retain(Output::is_waiting);
        self.ended = true;
    }

    /// Says whether all output was carried.
    pub fn is_done(&self) -> bool {
        self.outputs.is_empty()
    }

    /// Says whether all streams of the caller have served.
    ///
    /// # Errors
    /// How the first has failed.
    pub fn result(self) -> Result<(), Failed> {
        self.failed.map_or(Ok(()), Err)
    }
}
