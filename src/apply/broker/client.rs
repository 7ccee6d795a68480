//! The side of the user: hands a request over, keeps the terminal, and relays bytes.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::{MESSAGE_MAX, Program, Request, answer, order, socket};
use crate::apply::paths::Root;
use crate::sys::channel::Channel;
use crate::sys::path::reason;
use crate::sys::peer::Peer;
use crate::sys::tty::{self, Look, Raw, Signals};

/// Signals that are passed on to the program.
pub(super) const PASSED: &[Signal] =
    &[Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGTSTP];

/// How long the broker may take to answer, in milliseconds: a host that is busy is slow, too.
const PATIENCE: u64 = 60_000;
const CHUNK: usize = 16 << 10;
/// What is carried at most after the end of the program: more than a terminal and two pipes hold.
const MAX_REST: usize = 512 << 10;

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
pub fn run(root: &Root, program: Program, args: Vec<OsString>, input: bool) -> Option<Result<u8, String>> {
    let channel = connect(&socket(root))?;
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    // A terminal is taken over whole or not at all: one that another program of a pipeline reads as well is
    // that one's.
    let terminal = tty::is_tty(stdout.as_fd()) && tty::is_tty(stdin.as_fd());
    let errors = terminal && tty::is_tty(stderr.as_fd());
    let var = |name: &str| std::env::var_os(name).unwrap_or_default();
    let lang = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().map(var).find(|v| !v.is_empty());
    let (term, lang) = (var("TERM"), lang.unwrap_or_default());
    let request = Request { program, terminal, errors, input, term, lang, args };
    Some(talk(&channel, &request))
}

/// What a program has answered that was given a text.
pub(super) struct Answered {
    pub status: u8,
    pub out: String,
    pub errors: String,
}

/// Has the broker run a program that reads a text; none when there is no broker.
pub(super) fn exchange(
    root: &Root,
    program: Program,
    args: Vec<OsString>,
    text: &[u8],
) -> Option<Result<Answered, String>> {
    let channel = connect(&socket(root))?;
    let (term, lang) = (OsString::new(), OsString::new());
    let request = Request { program, terminal: false, errors: false, input: true, term, lang, args };
    let attempt = || {
        let mut fds = open(&channel, &request)?.into_iter().map(File::from);
        let (Some(mut input), Some(mut out), Some(mut errors)) = (fds.next(), fds.next(), fds.next()) else {
            return Err("the broker has not answered as agreed".to_owned());
        };
        channel.send_bytes(order::GO.as_bytes()).map_err(|e| lost(&e))?;
        // One that does not want to read more has said why.
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
fn open(channel: &Channel, request: &Request) -> Result<Vec<OwnedFd>, String> {
    channel.send_bytes(&request.to_bytes()).map_err(|e| match e.raw_os_error() {
        Some(libc::EMSGSIZE) => "the command line is too long for the broker".to_owned(),
        // It has said why before it has gone.
        _ => match channel.receive_bytes(MESSAGE_MAX, 0) {
            Ok(Some(bytes)) => String::from_utf8_lossy(&bytes).trim_start_matches(answer::REFUSED).to_owned(),
            _ => lost(&e),
        },
    })?;
    let ready = crate::sys::process::wait_readable(channel.as_fd(), PATIENCE).map_err(|e| lost(&e))?;
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

fn talk(channel: &Channel, request: &Request) -> Result<u8, String> {
    let mut fds = open(channel, request)?.into_iter();
    let mut next = || fds.next().ok_or_else(|| "the broker has not answered as agreed".to_owned());
    let mut relay = Relay { to_program: None, from_program: Vec::new(), pending: Vec::new(), ended: false };
    let mut terminal = None;
    if request.terminal {
        let master = File::from(next()?);
        Look::of(io::stdin().as_fd()).apply(master.as_fd()).map_err(|e| lost(&e))?;
        let copy = || master.try_clone().map_err(|e| lost(&e));
        if request.input {
            relay.to_program = Some(copy()?);
        }
        relay.from_program.push((copy()?, false));
        terminal = Some(master);
    } else if request.input {
        relay.to_program = Some(File::from(next()?));
    }
    if !request.terminal {
        relay.from_program.push((File::from(next()?), false));
    }
    if !request.errors {
        relay.from_program.push((File::from(next()?), true));
    }
    relay.never_wait().map_err(|e| lost(&e))?;
    let signals: Vec<Signal> = PASSED.iter().copied().chain([Signal::SIGWINCH]).collect();
    let signals = Signals::take(&signals).map_err(|e| lost(&e))?;
    channel.send_bytes(order::GO.as_bytes()).map_err(|e| lost(&e))?;
    let client = Client { channel, signals, terminal, raw: request.terminal && request.input };
    client.run(relay).map_err(|e| lost(&e))
}

struct Client<'a> {
    channel: &'a Channel,
    signals: Signals,
    /// The program's terminal, as who plays it has it.
    terminal: Option<File>,
    raw: bool,
}

impl Client<'_> {
    fn run(&self, mut relay: Relay) -> io::Result<u8> {
        let stdin = io::stdin();
        let enter = || if self.raw { Raw::enter(stdin.as_fd()) } else { None };
        let mut raw = enter();
        loop {
            let [signalled, told] =
                relay.turn([self.signals.as_fd(), self.channel.as_fd()], raw.is_some())?;
            if told {
                let bytes = self.channel.receive_bytes(MESSAGE_MAX, 0)?;
                let bytes = bytes.ok_or(io::ErrorKind::UnexpectedEof)?;
                let text = String::from_utf8_lossy(&bytes);
                if let Some(status) = status(&text) {
                    relay.finish();
                    return Ok(status);
                }
                if text == answer::STOPPED {
                    drop(raw.take());
                    stop();
                    raw = enter();
                    self.pass_size_on(stdin.as_fd());
                    self.pass_on(Signal::SIGCONT);
                }
            }
            while signalled && let Some(signal) = self.signals.next() {
                match signal {
                    Signal::SIGWINCH => self.pass_size_on(stdin.as_fd()),
                    other => self.pass_on(other),
                }
            }
        }
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

/// Stops this process and what else the shell has started with it, as the suspend character does.
fn stop() {
    // This process has blocked it, and takes it as read.
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(0), Signal::SIGTSTP);
    tty::stop_self();
}

/// Reads how the program has ended, as a shell would tell it; none when it has not.
fn status(text: &str) -> Option<u8> {
    let number = |text: &str| text.parse::<u8>().ok();
    match (text.strip_prefix(answer::EXIT), text.strip_prefix(answer::KILLED)) {
        (Some(status), _) => number(status),
        (_, Some(signal)) => number(signal).map(|s| s.saturating_add(128)),
        _ => None,
    }
}

/// Carries bytes between the streams of this process and the program's.
struct Relay {
    to_program: Option<File>,
    /// And whether it is what the program complains on.
    from_program: Vec<(File, bool)>,
    pending: Vec<u8>,
    /// Nothing more comes from standard input.
    ended: bool,
}

impl Relay {
    fn never_wait(&self) -> io::Result<()> {
        let all = self.to_program.iter().chain(self.from_program.iter().map(|(file, _)| file));
        for file in all {
            tty::never_wait(file.as_fd())?;
        }
        Ok(())
    }

    /// Waits until something can be carried, or one of the others has something; carries, and says which of
    /// the others had. At the end of what is typed a terminal is told so, a pipe is closed.
    fn turn(&mut self, others: [BorrowedFd<'_>; 2], typed: bool) -> io::Result<[bool; 2]> {
        let stdin = io::stdin();
        let listening = self.to_program.is_some() && self.pending.is_empty() && !self.ended;
        let mut fds: Vec<PollFd<'_>> =
            others.into_iter().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        fds.extend(self.from_program.iter().map(|(file, _)| PollFd::new(file, PollFlags::IN)));
        if let Some(file) = self.to_program.as_ref().filter(|_| !self.pending.is_empty()) {
            fds.push(PollFd::new(file, PollFlags::OUT));
        }
        if listening {
            fds.push(PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN));
        }
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok([false; 2]),
            Err(e) => return Err(e.into()),
        }
        let seen: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        let mut seen = seen.into_iter();
        let others = [seen.next().unwrap_or(false), seen.next().unwrap_or(false)];
        self.from_program.retain(|way| !seen.next().unwrap_or(false) || carry(way).is_some());
        if !self.pending.is_empty() && seen.next().unwrap_or(false) && !self.send() {
            self.to_program = None;
            self.pending.clear();
        }
        if listening && seen.next().unwrap_or(false) {
            let mut buffer = [0; CHUNK];
            match tty::read(stdin.as_fd(), &mut buffer) {
                Ok(n @ 1..) => self.pending.extend_from_slice(&buffer[..n]),
                Err(e) if matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
                // In raw mode only a terminal that is gone says that.
                Ok(0) | Err(_) if typed => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(_) => self.ended = true,
            }
        }
        if self.ended && self.pending.is_empty() {
            self.to_program = None;
        }
        Ok(others)
    }

    /// Sends what is waiting; says whether the other side is still there.
    fn send(&mut self) -> bool {
        let Some(file) = &mut self.to_program else { return false };
        while !self.pending.is_empty() {
            match file.write(&self.pending) {
                Ok(n) => drop(self.pending.drain(..n)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return true,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }

    /// Carries what is there already. What others write on and on is not waited for.
    fn finish(mut self) {
        for way in &mut self.from_program {
            let mut carried = 0;
            while carried < MAX_REST
                && let Some(more @ 1..) = carry(way)
            {
                carried += more;
            }
        }
    }
}

/// Carries one chunk; says how long it was, 0 when there was none just now; none at the end.
fn carry((from, complaints): &(File, bool)) -> Option<usize> {
    let mut buffer = [0; CHUNK];
    match tty::read(from.as_fd(), &mut buffer) {
        Ok(0) => None,
        Ok(n) => {
            let (stdout, stderr) = (io::stdout(), io::stderr());
            let to = if *complaints { stderr.as_fd() } else { stdout.as_fd() };
            tty::write_all(to, &buffer[..n]).ok().map(|()| n)
        }
        Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Some(0),
        // The programs have closed a terminal.
        Err(_) => None,
    }
}
