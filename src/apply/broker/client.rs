//! The side of the user: hands a request over, keeps the terminal, and relays bytes.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{BrokerRequest, BrokeredProgram, MESSAGE_MAX, answer, order, socket};
use crate::apply::paths::Root;
use crate::apply::relay::Relay;
use crate::sys::channel::Channel;
use crate::sys::path::reason;
use crate::sys::peer::Peer;
use crate::sys::process::wait_readable;
use crate::sys::stream::Stream;
use crate::sys::tty::{self, Raw, Signals, TerminalState};

/// Signals that are passed on to the program.
pub(super) const PASSED: &[Signal] =
    &[Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGTSTP];

/// How long the broker may take to answer, in milliseconds: a host that is busy is slow, too.
const PATIENCE: u64 = 60_000;
/// How long a connection may take to close when all has been said, in milliseconds.
const CLOSES_WITHIN: u64 = 1_000;
/// How long a login may take to end when a signal asks for it: more than `zlogin` takes at most.
const ENDS_WITHIN: Duration = Duration::from_secs(10);
/// The time that the reader of its output may let it wait.
const READ_WITHIN: Duration = Duration::from_secs(6);

/// Connects to a broker; none when there is none. Only root may be one.
pub(super) fn connect(path: &Path) -> Option<Channel> {
    let channel = Channel::connect(path).ok()?;
    let peer = Peer::of(channel.as_fd()).ok()?;
    (peer.uid == 0).then_some(channel)
}

/// Has the broker run a program with these words at the streams of this process, and returns its status;
/// none when there is no broker. `input` says whether the program reads.
///
/// # Errors
/// Why the broker does not do it.
pub fn run(
    root: &Root,
    program: BrokeredProgram,
    args: Vec<OsString>,
    input: bool,
) -> Option<Result<u8, String>> {
    let channel = connect(&socket(root))?;
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    // A terminal is taken over whole or not at all: in a pipeline another program may own the terminal.
    let terminal = tty::is_tty(stdout.as_fd()) && tty::is_tty(stdin.as_fd());
    let errors = terminal && tty::is_tty(stderr.as_fd());
    let var = |name: &str| std::env::var_os(name).unwrap_or_default();
    let lang = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().map(var).find(|v| !v.is_empty());
    let (term, lang) = (var("TERM"), lang.unwrap_or_default());
    let request = BrokerRequest { program, terminal, errors, input, term, lang, args };
    Some(talk(&channel, &request))
}

/// The answer of a program that was given a text.
pub(super) struct Answered {
    pub status: u8,
    pub out: String,
    pub errors: String,
}

/// Has the broker run a program that reads a text; none when there is no broker.
pub(super) fn exchange(
    root: &Root,
    program: BrokeredProgram,
    args: Vec<OsString>,
    text: &[u8],
) -> Option<Result<Answered, String>> {
    let channel = connect(&socket(root))?;
    let (term, lang) = (OsString::new(), OsString::new());
    let request = BrokerRequest { program, terminal: false, errors: false, input: true, term, lang, args };
    let attempt = || {
        let mut fds = open(&channel, &request)?.into_iter().map(File::from);
        let (Some(mut input), Some(mut out), Some(mut errors)) = (fds.next(), fds.next(), fds.next()) else {
            return Err("the broker has not answered as agreed".to_owned());
        };
        channel.send_bytes(order::GO.as_bytes()).map_err(|e| lost(&e))?;
        // EPIPE: the child has already reported why it stopped reading.
        let _ = input.write_all(text);
        drop(input);
        let read = |file: &mut File| {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(|e| lost(&e))?;
            Ok::<_, String>(String::from_utf8_lossy(&bytes).into_owned())
        };
        let (out, errors) = (read(&mut out)?, read(&mut errors)?);
        loop {
            let bytes = channel.receive_bytes(MESSAGE_MAX, PATIENCE).map_err(|e| lost(&e))?;
            let bytes = bytes.ok_or_else(|| lost(&io::ErrorKind::UnexpectedEof.into()))?;
            if let Some(status) = status(&String::from_utf8_lossy(&bytes)) {
                let _ = wait_readable(channel.as_fd(), CLOSES_WITHIN);
                return Ok(Answered { status, out, errors });
            }
        }
    };
    Some(attempt())
}

fn lost(e: &io::Error) -> String {
    format!("the broker cannot be heard any more: {}", reason(e))
}

/// Sends the request and returns the ways to the program.
fn open(channel: &Channel, request: &BrokerRequest) -> Result<Vec<OwnedFd>, String> {
    log::debug!("ask the broker to run {}", request.program.name());
    channel.send_bytes(&request.to_bytes()).map_err(|e| match e.raw_os_error() {
        Some(libc::EMSGSIZE) => "the command line is too long for the broker".to_owned(),
        // It has said why before it has gone.
        _ => match channel.receive_bytes(MESSAGE_MAX, 0) {
            Ok(Some(bytes)) => String::from_utf8_lossy(&bytes).trim_start_matches(answer::REFUSED).to_owned(),
            _ => lost(&e),
        },
    })?;
    let ready = wait_readable(channel.as_fd(), PATIENCE).map_err(|e| lost(&e))?;
    if !ready {
        return Err("the broker does not answer".into());
    }
    let message = channel.receive().map_err(|e| lost(&e))?;
    match message.text.strip_prefix(answer::REFUSED) {
        Some(why) => Err(why.to_owned()),
        None if message.text == answer::OPEN => Ok(message.fds),
        None => Err(lost(&io::ErrorKind::UnexpectedEof.into())),
    }
}

fn talk(channel: &Channel, request: &BrokerRequest) -> Result<u8, String> {
    let mut fds = open(channel, request)?.into_iter();
    let mut next = || fds.next().ok_or_else(|| "the broker has not answered as agreed".to_owned());
    let mut relay = Relay::default();
    let mut terminal = None;
    if request.terminal {
        let master = File::from(next()?);
        TerminalState::of(io::stdin().as_fd()).apply(master.as_fd()).map_err(|e| lost(&e))?;
        let copy = || master.try_clone().map_err(|e| lost(&e));
        if request.input {
            relay.take_input(copy()?).map_err(|e| lost(&e))?;
        }
        relay.take_output(copy()?, Stream::output()).map_err(|e| lost(&e))?;
        terminal = Some(master);
    } else if request.input {
        relay.take_input(File::from(next()?)).map_err(|e| lost(&e))?;
    }
    if !request.terminal {
        relay.take_output(File::from(next()?), Stream::output()).map_err(|e| lost(&e))?;
    }
    if !request.errors {
        relay.take_output(File::from(next()?), Stream::errors()).map_err(|e| lost(&e))?;
    }
    let signals: Vec<Signal> = PASSED.iter().copied().chain([Signal::SIGWINCH]).collect();
    let signals = Signals::take(&signals).map_err(|e| lost(&e))?;
    channel.send_bytes(order::GO.as_bytes()).map_err(|e| lost(&e))?;
    let raw = request.terminal && request.input;
    // A command that changes a zone is waited for until it is done or undone.
    let ends = request.program == BrokeredProgram::Zlogin;
    BrokeredRun { channel, signals, terminal, raw, ends, asked: None, status: None }.run(relay)
}

struct BrokeredRun<'a> {
    channel: &'a Channel,
    signals: Signals,
    /// The program's terminal, on the side that plays it.
    terminal: Option<File>,
    raw: bool,
    /// A signal that asks for the end is obeyed in time, whatever the other side does.
    ends: bool,
    /// The first such signal.
    asked: Option<(Signal, Instant)>,
    /// The program has ended; its output may still be on its way.
    status: Option<u8>,
}

impl BrokeredRun<'_> {
    fn run(mut self, mut relay: Relay) -> Result<u8, String> {
        let stdin = rustix::stdio::stdin();
        let mut raw = if self.raw { Raw::enter(stdin) } else { None };
        loop {
            let channel = self.status.is_none().then(|| self.channel.as_fd());
            let others = [Some(self.signals.as_fd()), channel];
            let [signalled, readable] = relay.turn(others, self.limit()).map_err(|e| lost(&e))?;
            if relay.input_has_ended() && raw.is_some() {
                // In raw mode only a terminal that is gone says that.
                return Err(lost(&io::ErrorKind::UnexpectedEof.into()));
            }
            if readable {
                self.listen(&mut raw, &mut relay).map_err(|e| lost(&e))?;
            }
            if let Some(status) = self.status.filter(|_| relay.is_done()) {
                // The broker counts the connection until its process ends, and the next command may come at once.
                let _ = wait_readable(self.channel.as_fd(), CLOSES_WITHIN);
                return relay.result().map(|()| status).map_err(|e| e.to_string());
            }
            while signalled && let Some(signal) = self.signals.next() {
                match signal {
                    Signal::SIGWINCH => self.pass_size_on(stdin),
                    Signal::SIGTSTP => self.pass_on(signal),
                    other if self.status.is_some() => return Ok(status_of(other)),
                    other => {
                        self.asked.get_or_insert((other, Instant::now()));
                        self.pass_on(other);
                    }
                }
            }
            if self.limit() == Some(Duration::ZERO)
                && let Some((signal, _)) = self.asked
            {
                if self.status.is_none() {
                    let _ = writeln!(io::stderr(), "zlogin: the broker does not end the login in time");
                }
                return Ok(status_of(signal));
            }
        }
    }

    /// Receives the broker's report about the program.
    fn listen<'t>(&mut self, raw: &mut Option<Raw<'t>>, relay: &mut Relay) -> io::Result<()> {
        let bytes = self.channel.receive_bytes(MESSAGE_MAX, 0)?;
        let bytes = bytes.ok_or(io::ErrorKind::UnexpectedEof)?;
        let text = String::from_utf8_lossy(&bytes);
        self.status = status(&text);
        if self.status.is_some() {
            relay.other_side_has_ended();
        } else if text == answer::STOPPED {
            let stdin = rustix::stdio::stdin();
            drop(raw.take());
            stop();
            *raw = if self.raw { Raw::enter(stdin) } else { None };
            self.pass_size_on(stdin);
            self.pass_on(Signal::SIGCONT);
        }
        Ok(())
    }

    /// Returns how long the other side may still take to end; none: for ever.
    fn limit(&self) -> Option<Duration> {
        let (_, asked) = self.asked.filter(|_| self.ends)?;
        let patience = if self.status.is_none() { ENDS_WITHIN } else { READ_WITHIN };
        Some((asked + patience).saturating_duration_since(Instant::now()))
    }

    fn pass_on(&self, signal: Signal) {
        // A broker that is gone is noticed when it is listened to.
        let _ = self.channel.send_bytes(format!("{}{signal}", order::SIGNAL).as_bytes());
    }

    fn pass_size_on(&self, stdin: BorrowedFd<'_>) {
        if let Some(terminal) = &self.terminal {
            tty::copy_size(stdin, terminal.as_fd());
        }
    }
}

/// Returns the exit status for an end by a signal.
fn status_of(signal: Signal) -> u8 {
    u8::try_from(128 + signal as i32).unwrap_or(u8::MAX)
}

/// Stops this process and the others of its job, as the suspend character does.
fn stop() {
    // This process has blocked it, and takes it as read.
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(0), Signal::SIGTSTP);
    tty::stop_self();
}

/// Reads the end of the program as a shell would show it; none when it still runs.
fn status(text: &str) -> Option<u8> {
    let number = |text: &str| text.parse::<u8>().ok();
    match (text.strip_prefix(answer::EXIT), text.strip_prefix(answer::KILLED)) {
        (Some(status), _) => number(status),
        (_, Some(signal)) => number(signal).map(|s| s.saturating_add(128)),
        _ => None,
    }
}
