//! The loops that feed a session: the words of the command line, a command file, standard input.
//!
//! | mode | stops at an error | asks | errors begin with |
//! |---|---|---|---|
//! | command line | no | if stdin is a terminal | – |
//! | `-f FILE` | yes | never | `On line N of FILE:` |
//! | `-f -` | no | if stdin is a terminal | `On line N:` |
//! | stdin, no `-f` | no | if stdin is a terminal | – |

use std::fs::File;
use std::io::{BufRead, IsTerminal, Read, Write};
use std::process::{Command as Process, Stdio};

use crate::parser::{Parser, Span};

use super::console::{Complaint, Confirmation, UserInterface};
use super::host;
use super::session::{EditSession, Flow, InputEnd};

/// How errors are placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorLocation {
    /// Not at all.
    None,
    /// By line of standard input (`-f -`).
    Stdin,
    /// By line of a file.
    File(String),
}

/// The console of a process: its standard streams.
#[derive(Debug)]
pub struct StandardStreams {
    place: ErrorLocation,
    line: usize,
    told_line: usize,
    may_ask: bool,
    paged: bool,
    /// The line as typed, on a terminal, for carets.
    typed: Option<String>,
    colour: bool,
}

impl StandardStreams {
    /// Returns the console of a mode. `may_ask` allows questions, if standard input is a terminal;
    /// `paged` sends long texts through a pager.
    pub fn new(place: ErrorLocation, may_ask: bool, paged: bool) -> Self {
        let terminal = std::io::stdin().is_terminal();
        let colour = std::io::stderr().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
            && std::env::var_os("TERM").is_some_and(|t| t != "dumb");
        Self {
            place,
            line: 0,
            told_line: 0,
            may_ask: may_ask && terminal,
            paged: paged && std::io::stdout().is_terminal(),
            typed: None,
            colour,
        }
    }

    /// Says whether colours are wanted.
    pub fn colour(&self) -> bool {
        self.colour
    }

    /// Notes the line that was typed.
    pub fn typed(&mut self, line: &str) {
        self.typed = Some(line.to_owned());
    }

    /// Below the exact text, for people only: the place of the error, and suggestions.
    fn explain(&self, span: Option<Span>, meant: &[&str]) {
        if !std::io::stderr().is_terminal() {
            return;
        }
        let (dim, off) = if self.colour { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
        let (bold, mark) = if self.colour { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
        let mut err = std::io::stderr().lock();
        if let (Some(typed), Some(span)) = (&self.typed, span)
            && let Some(before) = typed.get(..span.start)
            && let Some(at) = typed.get(span.start..span.end)
            && !typed.contains('\n')
        {
            let carets = "^".repeat(at.chars().count().max(1));
            let _ = writeln!(err, "{dim}  {typed}{off}");
            let gap: String = before.chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            let _ = writeln!(err, "  {gap}{bold}{carets}{mark}");
        }
        if self.typed.is_some() && !meant.is_empty() {
            let _ = writeln!(err, "did you mean {}?", meant.join(" or "));
        }
    }
}

/// Writes to standard output. When its reader has gone the program ends quietly.
#[allow(clippy::exit)] // from deep inside of a session whose output nobody can see
fn to_stdout(text: &str) {
    let mut out = std::io::stdout().lock();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
}

impl UserInterface for StandardStreams {
    fn print(&mut self, text: &str) {
        to_stdout(text);
    }

    fn page(&mut self, text: &str) {
        // A pager for what fits the screen would only be in the way.
        let rows = || rustix::termios::tcgetwinsize(std::io::stdout()).map_or(0, |size| size.ws_row);
        let long = self.paged && matches!(rows(), rows if rows > 0 && text.lines().count() >= rows.into());
        if !(long && show_in_pager(text)) {
            to_stdout(text);
        }
    }

    fn complain(&mut self, complaint: &Complaint) {
        let mut text = String::new();
        if !complaint.placed && self.line > self.told_line {
            match &self.place {
                ErrorLocation::None => (),
                ErrorLocation::Stdin => text = format!("On line {}:\n", self.line),
                ErrorLocation::File(file) => text = format!("On line {} of {file}:\n", self.line),
            }
            self.told_line = self.line;
        }
        text.push_str(&complaint.text);
        text.push('\n');
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
        self.explain(complaint.span, &complaint.meant);
    }

    fn warn(&mut self, text: &str) {
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }

    fn ask(&mut self, question: &str) -> Confirmation {
        if !self.may_ask {
            return Confirmation::Nobody;
        }
        loop {
            to_stdout(&format!("{question} (y/[n])? "));
            let mut line = String::new();
            match std::io::stdin().lock().read_line(&mut line) {
                Ok(n) if n > 0 => (),
                _ => return Confirmation::Nobody,
            }
            match line.trim().chars().next() {
                None | Some('n' | 'N') => return Confirmation::No,
                Some('y' | 'Y') => return Confirmation::Yes,
                Some(_) => (),
            }
        }
    }

    fn is_user(&self, name: &str) -> bool {
        host::is_user(name)
    }

    fn write_file(&mut self, path: &str, text: &str) -> Result<(), String> {
        let reason = |e: std::io::Error| host::reason(&e);
        File::create(path).and_then(|mut f| f.write_all(text.as_bytes())).map_err(reason)
    }
}

/// Sends a text through `$PAGER`, else `more`; false when neither can be started.
#[allow(clippy::disallowed_methods)] // a pager is a program
fn show_in_pager(text: &str) -> bool {
    let chosen = std::env::var("PAGER").ok().filter(|p| !p.trim().is_empty());
    let pager = chosen.as_deref().unwrap_or("more");
    let mut words = pager.split_whitespace();
    let Some(program) = words.next() else { return false };
    let Ok(mut child) = Process::new(program).args(words).stdin(Stdio::piped()).spawn() else { return false };
    if let Some(mut pipe) = child.stdin.take() {
        // A pager that is left early closes the pipe; that is no error.
        let _ = pipe.write_all(text.as_bytes());
    }
    let _ = child.wait();
    true
}

/// A console that knows at which line it is.
pub(super) trait Placed: UserInterface {
    /// Notes the line that is carried out.
    fn at_line(&mut self, line: usize);
    /// Returns how errors are placed.
    fn place(&self) -> ErrorLocation;
}

impl Placed for StandardStreams {
    fn at_line(&mut self, line: usize) {
        self.line = line;
    }

    fn place(&self) -> ErrorLocation {
        self.place.clone()
    }
}

/// Carries out every statement of a text. `stop` ends at the first error, and says so.
pub(super) fn feed(
    session: &mut EditSession<'_>,
    con: &mut impl Placed,
    text: &str,
    first_line: usize,
    stop: bool,
) -> (Flow, bool) {
    for parsed in Parser::new(text, first_line) {
        con.at_line(parsed.line);
        let flow = match parsed.command {
            Ok(command) => session.eval(command, con),
            Err(error) => {
                let place = match con.place() {
                    ErrorLocation::None => None,
                    ErrorLocation::Stdin => Some((parsed.line, None)),
                    ErrorLocation::File(file) => Some((parsed.line, Some(file))),
                };
                let place = place.as_ref().map(|(line, file)| (*line, file.as_deref()));
                session.report_syntax(&error, place, con);
                Flow::Go
            }
        };
        if flow != Flow::Go {
            return (flow, false);
        }
        if stop && session.saw_error() {
            return (Flow::Go, true);
        }
    }
    (Flow::Go, false)
}

/// Runs the words of the command line.
pub fn run_words(session: &mut EditSession<'_>, text: &str) -> u8 {
    let mut con = StandardStreams::new(ErrorLocation::None, true, false);
    session.without_invitation();
    let mut ending = InputEnd::Eof;
    // Linux and illumos alike: "exit" does not keep the commands after it from being run.
    for parsed in Parser::new(text, 1) {
        let flow = match parsed.command {
            Ok(command) => session.eval(command, &mut con),
            Err(error) => {
                session.report_syntax(&error, None, &mut con);
                Flow::Go
            }
        };
        match flow {
            Flow::Go => (),
            Flow::Exit { force } => ending = InputEnd::Exit { force },
            Flow::Abort => return 1,
        }
    }
    session.finish(ending, false, &mut con).unwrap_or(1)
}

/// Runs a command file.
pub fn run_file(session: &mut EditSession<'_>, path: &str) -> u8 {
    let text = match read_file(path) {
        Ok(text) => text,
        Err(reason) => {
            let _ = writeln!(std::io::stderr().lock(), "{reason}");
            return 1;
        }
    };
    let mut con = StandardStreams::new(ErrorLocation::File(path.to_owned()), false, false);
    session.without_invitation();
    warn_read_only(session, &mut con);
    let ending = match feed(session, &mut con, &text, 1, true) {
        (Flow::Abort, _) => return 1,
        (Flow::Exit { force }, _) => InputEnd::Exit { force },
        (Flow::Go, true) => InputEnd::Stopped,
        (Flow::Go, false) => InputEnd::Eof,
    };
    let unsaved = session.is_dirty();
    let status = session.finish(ending, false, &mut con).unwrap_or(1);
    if ending == InputEnd::Stopped && unsaved && !session.is_dirty() {
        let (zone, line) = (session.zone(), con.line);
        con.warn(&format!(
            "{zone}: what stands before line {line} of {path} has been saved; the rest has not been done"
        ));
    }
    status
}

fn read_file(path: &str) -> Result<String, String> {
    let open = |e: std::io::Error| format!("could not open file {path}: {}", host::reason(&e));
    // A fifo without a writer must not keep us waiting, so look before opening.
    let meta = std::fs::metadata(path).map_err(open)?;
    if !meta.is_file() {
        return Err(format!("{path} is not a regular file."));
    }
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(open)?
        .read_to_end(&mut bytes)
        .map_err(|e| format!("could not read file {path}: {}", host::reason(&e)))?;
    without_mark(&mut bytes);
    String::from_utf8(bytes).map_err(|e| {
        let before = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|b| **b == b'\n').count();
        format!("{path}: line {line} is not UTF-8 text")
    })
}

/// Takes away the byte-order mark that editors of other systems put at the head of a text.
fn without_mark(bytes: &mut Vec<u8>) {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
}

/// Warns once that nothing can be saved.
pub fn warn_read_only(session: &mut EditSession<'_>, con: &mut dyn UserInterface) {
    if !session.may_save() {
        con.warn(
            "WARNING: you do not have write access to this zone's configuration file;\n\
             going into read-only mode.",
        );
    }
}

/// Runs standard input that is no terminal, line by line as it arrives. `placed` is `-f -`; otherwise
/// the mode is interactive and the zone is read first.
pub fn run_stdin(session: &mut EditSession<'_>, placed: bool) -> u8 {
    let place = if placed { ErrorLocation::Stdin } else { ErrorLocation::None };
    let mut con = StandardStreams::new(place, true, false);
    warn_read_only(session, &mut con);
    if !placed {
        session.greet(&mut con);
    }
    let mut ending = InputEnd::Eof;
    let mut number = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        match std::io::stdin().lock().read_until(b'\n', &mut line) {
            Ok(0) => break,
            Ok(_) => number += 1,
            Err(e) => {
                session.report(&Complaint::new(format!("standard input: {}", host::reason(&e))), &mut con);
                break;
            }
        }
        if number == 1 {
            without_mark(&mut line);
        }
        let Ok(text) = std::str::from_utf8(&line) else {
            con.line = number;
            session.report(&Complaint::new(format!("line {number} is not UTF-8 text")), &mut con);
            continue;
        };
        match feed(session, &mut con, text, number, false).0 {
            Flow::Go => (),
            Flow::Abort => return 1,
            Flow::Exit { force } => {
                ending = InputEnd::Exit { force };
                break;
            }
        }
    }
    session.finish(ending, true, &mut con).unwrap_or(1)
}
