//! Copies bytes between the standard streams of the caller and the other side: pipes into a zone, a terminal, or the
//! pipes of a broker.
//!
//! No call here waits but poll(2), so that signals are heard whatever the other side and the reader of the
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

/// Most bytes that are read at once.
const CHUNK: usize = 64 << 10;
/// Most bytes that are read from a terminal after the end of the other side: more than a terminal holds.
const MAX_REST: usize = 256 << 10;
/// The events by which poll(2) says that the other end of a descriptor is closed, or that there is none.
const GONE: PollFlags = PollFlags::ERR.union(PollFlags::HUP).union(PollFlags::NVAL);

/// A read or write at a stream of the caller that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {stream}: {}", reason(source))]
pub struct StreamError {
    what: &'static str,
    stream: &'static str,
    #[source]
    source: io::Error,
}

impl StreamError {
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
        let read = none_if_it_would_wait(read(&mut self.bytes[self.end..whole]))?;
        self.end += read.unwrap_or(0);
        Ok(read)
    }

    /// Removes the bytes that one write accepts.
    fn drain(&mut self, write: impl FnOnce(&[u8]) -> io::Result<usize>) -> io::Result<()> {
        self.start += none_if_it_would_wait(write(&self.bytes[self.start..self.end]))?.unwrap_or(0);
        Ok(())
    }
}

/// Returns none where a call would have had to wait, which is no error here.
fn none_if_it_would_wait(done: io::Result<usize>) -> io::Result<Option<usize>> {
    match done {
        Ok(n) => Ok(Some(n)),
        Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The state of the way from a source to its destination, after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowState {
    /// More bytes may come.
    Open,
    /// The source is at its end. In the case of input the pipe to the other side has been closed.
    SourceEnded,
    /// The destination has no reader any more.
    NoReader,
}

/// Output of the other side, on its way to a stream of the caller.
#[derive(Debug)]
pub struct Output<F> {
    from: F,
    to: Stream,
    pending: Buffer,
}

impl<F: AsFd> Output<F> {
    /// Puts a way together. Reads from `from` must not wait.
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

    /// Reads or writes once, where poll(2) has said that it can. `seen` are its answers, in the order of
    /// [`Self::polls`].
    ///
    /// # Errors
    /// When the caller's stream cannot be written to, for another reason than that its reader has gone.
    pub fn turn(&mut self, seen: &mut impl Iterator<Item = PollFlags>) -> Result<FlowState, StreamError> {
        let first = seen.next().unwrap_or(PollFlags::empty());
        if !self.pending.is_empty() {
            return if first.is_empty() { Ok(FlowState::Open) } else { self.write() };
        }
        if self.to.tells_its_end() && seen.next().is_some_and(|e| e.intersects(GONE)) {
            return Ok(FlowState::NoReader);
        }
        let ended = !first.is_empty() && self.read(CHUNK) == Some(0);
        Ok(if ended { FlowState::SourceEnded } else { FlowState::Open })
    }

    /// Reads the output that the other side wrote before its end, for the turns that follow to write. Call it once,
    /// after that end.
    pub fn read_rest(&mut self) {
        let from = self.from.as_fd();
        let mut left = if tty::is_tty(from) { MAX_REST } else { tty::readable(from) };
        while left > 0
            && let Some(more @ 1..) = self.read(left.min(CHUNK))
        {
            left -= more;
        }
    }

    /// Says whether something that was read waits to be written.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Writes a text of this program to the caller's stream, as far as it takes it at once.
    pub fn write_notice(&self, text: &[u8]) {
        let _ = self.to.write(text);
    }

    /// Reads once; says how much, 0 at the end, none when there was nothing just now.
    fn read(&mut self, most: usize) -> Option<usize> {
        let from = self.from.as_fd();
        // A terminal whose programs have all closed it is at its end with an error.
        self.pending.fill(most, |buffer| tty::read(from, buffer)).unwrap_or(Some(0))
    }

    fn write(&mut self) -> Result<FlowState, StreamError> {
        let to = &self.to;
        let Err(e) = self.pending.drain(|text| to.write(text)) else { return Ok(FlowState::Open) };
        self.pending = Buffer::default();
        if is_reader_gone(&e) || to.was_hung_up(&e) {
            Ok(FlowState::NoReader)
        } else {
            Err(StreamError::of("write", to)(e))
        }
    }
}

fn is_reader_gone(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// Standard input, on its way to the other side.
#[derive(Debug)]
pub struct Input {
    from: Stream,
    to: PipeState,
    pending: Buffer,
    /// How many bytes were copied to the other side and are still in the caller's stream as well; none: the stream is
    /// read ahead.
    shown: Option<usize>,
}

/// The pipe to the other side.
#[derive(Debug)]
enum PipeState {
    Open(File),
    /// Closed for writing. The reading end, kept open here, tells how many bytes are left unread.
    Ended(OwnedFd),
    Closed,
}

impl Input {
    /// Puts a way together. Of `to` no other process has a copy, so its flags can be changed.
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
        if self.reads_source() {
            // No event is asked for: poll(2) says of itself that the reader of a pipe has gone.
            fds.push(PollFd::new(to, PollFlags::empty()));
            fds.push(PollFd::new(&self.from, PollFlags::IN));
        } else {
            fds.push(PollFd::new(to, PollFlags::OUT));
        }
    }

    /// Says whether the caller's stream is read from now.
    fn reads_source(&self) -> bool {
        self.pending.is_empty() && !matches!(self.shown, Some(1..))
    }

    /// Reads or writes once, where poll(2) has said that it can. `seen` are its answers, in the order of
    /// [`Self::polls`].
    ///
    /// # Errors
    /// When the caller's stream cannot be read; the other side sees the end of its own.
    pub fn turn(&mut self, seen: &mut impl Iterator<Item = PollFlags>) -> Result<FlowState, StreamError> {
        let PipeState::Open(to) = &self.to else { return Ok(FlowState::Open) };
        let reads_source = self.reads_source();
        let room = seen.next().unwrap_or(PollFlags::empty());
        let is_readable = reads_source && seen.next().is_some_and(|e| !e.is_empty());
        if room.intersects(GONE) {
            self.close_and_give_back();
            return Ok(FlowState::NoReader);
        }
        if is_readable {
            return self.read();
        }
        if room.is_empty() {
            return Ok(FlowState::Open);
        }
        if let (true, Some(shown)) = (self.pending.is_empty(), self.shown) {
            // The other side has read the bytes that were shown, so they are taken out of the caller's stream.
            self.from.take_away(shown);
            self.shown = None;
            tty::resize_pipe(to.as_fd(), CHUNK);
            return Ok(FlowState::Open);
        }
        let mut to = to;
        if self.pending.drain(|text| to.write(text)).is_err() {
            self.close_and_give_back();
            return Ok(FlowState::NoReader);
        }
        Ok(FlowState::Open)
    }

    fn read(&mut self) -> Result<FlowState, StreamError> {
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
            Ok(Some(1..) | None) => return Ok(FlowState::Open),
            Ok(Some(0)) => None,
            Err(e) => Some(e).filter(|e| !from.has_just_ended(e)),
        };
        self.close();
        failed.map_or(Ok(FlowState::SourceEnded), |e| Err(StreamError::of("read", &self.from)(e)))
    }

    /// Closes the pipe for writing, so that the other side sees the end, and keeps its reading end, which tells how
    /// much of it is unread.
    fn close(&mut self) {
        let PipeState::Open(to) = &self.to else { return };
        let other = tty::other_end(to.as_fd());
        self.to = other.map_or(PipeState::Closed, PipeState::Ended);
    }

    /// Ends the way, and gives input that the other side has not read back to the caller's stream, as far as that can
    /// be.
    pub fn close_and_give_back(&mut self) {
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
    other_side_ended: bool,
    failed: Option<StreamError>,
}

impl Relay {
    /// Directs standard input to a pipe or terminal of this process.
    ///
    /// # Errors
    /// The system's error.
    pub fn take_input(&mut self, to: File) -> io::Result<()> {
        self.input = Some(Input::new(Stream::input(), to)?);
        Ok(())
    }

    /// Directs the data of a pipe or terminal of this process to a stream of the caller.
    ///
    /// # Errors
    /// The system's error.
    pub fn take_output(&mut self, from: File, to: Stream) -> io::Result<()> {
        tty::never_wait(from.as_fd())?;
        self.outputs.push(Output::new(from, to));
        Ok(())
    }

    /// Waits until bytes can be copied or one of `others` is readable, at most for `limit`. Copies them, and says which
    /// of `others` are readable.
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
        let mut note = |e: StreamError| {
            failed.get_or_insert(e);
        };
        match self.input.as_mut().map(|input| input.turn(seen)) {
            None | Some(Ok(FlowState::Open)) => {}
            Some(Ok(FlowState::SourceEnded)) => self.input_has_ended = true,
            Some(Ok(FlowState::NoReader)) => self.input = None,
            Some(Err(e)) => note(e),
        }
        let ended = self.other_side_ended;
        self.outputs.retain_mut(|output| match output.turn(seen) {
            Ok(went) => went == FlowState::Open && (!ended || output.has_pending()),
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

    /// Takes note that the other side has ended. The turns that follow write the output that is there now; processes
    /// that hold its pipe and write on are not waited for.
    pub fn other_side_has_ended(&mut self) {
        if let Some(mut input) = self.input.take() {
            input.close_and_give_back();
        }
        self.outputs.iter_mut().for_each(Output::read_rest);
        self.outputs.retain(Output::has_pending);
        self.other_side_ended = true;
    }

    /// Says whether all output was written.
    pub fn is_done(&self) -> bool {
        self.outputs.is_empty()
    }

    /// Ends the relay.
    ///
    /// # Errors
    /// The first error of a stream of the caller.
    pub fn result(self) -> Result<(), StreamError> {
        self.failed.map_or(Ok(()), Err)
    }
}
