//! Standard streams of a command: pipes, whose other ends this process keeps, and the data that is carried through
//! them.
//!
//! No open file of the caller gets into the zone but `/dev/null` (`sys::tty::given_for` says why).

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::apply::relay::Relay;
use crate::sys::stream::Stream;
use crate::sys::tty::{self, Given};

/// The streams of a command.
pub struct CommandStreams {
    /// The descriptors for the child; none: the child keeps ours.
    pub inside: [Option<OwnedFd>; 3],
    /// The streams to carry meanwhile.
    pub relay: Relay,
}

impl CommandStreams {
    /// Looks at the caller's streams and makes the pipes that are needed.
    ///
    /// # Errors
    /// The system's error.
    pub fn prepare(no_input: bool) -> io::Result<Self> {
        let mut relay = Relay::default();
        let given = if no_input { Given::Null } else { tty::given_for(io::stdin().as_fd()) };
        let input = place(given, || {
            let (read, write) = tty::pipe_to_open()?;
            relay.take_input(write.into())?;
            Ok(read)
        })?;
        let (output, errors) = (Stream::output(), Stream::errors());
        // Output and errors that go to one terminal, log or pipe share a pipe, so that their order is seen.
        let same = output.is_same_as(&errors);
        let output = place(tty::given_for(io::stdout().as_fd()), || carry(&mut relay, output))?;
        let errors = match &output {
            Some(pipe) if same => Some(pipe.try_clone()?),
            _ => place(tty::given_for(io::stderr().as_fd()), || carry(&mut relay, errors))?,
        };
        Ok(Self { inside: [input, output, errors], relay })
    }
}

/// Returns the descriptor for the command; none: the stream itself.
fn place(given: Given, pipe: impl FnOnce() -> io::Result<OwnedFd>) -> io::Result<Option<OwnedFd>> {
    match given {
        Given::Null => tty::null().map(Some),
        Given::Pipe => pipe().map(Some),
        Given::Itself => Ok(None),
    }
}

fn carry(relay: &mut Relay, to: Stream) -> io::Result<OwnedFd> {
    let (read, write) = tty::pipe_to_open()?;
    relay.take_output(read.into(), to)?;
    Ok(write)
}
