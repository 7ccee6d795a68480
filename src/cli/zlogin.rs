//! `zlogin`: enters a zone, or connects to its console.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::apply::broker::{BrokeredProgram, Caller, client};
use crate::apply::login::{self, ConsoleConnection, Login, LoginError, LoginZone, SessionEnd};
use crate::apply::paths::Root;
use crate::apply::store::FileStore;
use crate::apply::{mend, running};
use crate::spec::rights::Auth;
use crate::spec::state::ZoneState;
use crate::spec::store::ZoneStore;
use crate::spec::{ZoneName, ZoneSpec};
use crate::sys::process::Ended;
use crate::sys::{trace, tty};

const USAGE: &str = "usage: zlogin [ -dnQCES ] [ -e cmdchar ] [-l user] zonename [command [args ...] ]";

const HELP: &str = "\
usage: zlogin [-EQi] [-e c] [-l user] zone [command [arg ...]]
       zlogin [-EQSn] [-e c] zone command [arg ...]
       zlogin -C [-dEQ] [-e c] zone

Runs a command or a login shell in a running zone, or connects to its console.

  -C         connect to the console
  -d         leave the console when the zone halts
  -E         no escapes
  -e c       escape character: one character, or octal \\ooo (default ~)
  -i         a terminal although there is a command
  -l user    become this user of the zone (default root)
  -n         the command reads /dev/null
  -Q         no messages on connecting and disconnecting
  -S         safe login: smallest environment, plain shell
  -R root    alternate root

At the start of a line ~. disconnects, and ~~ sends one ~.";

/// The options and operands of the command line.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    console: bool,
    leave_at_halt: bool,
    no_escape: bool,
    escape: Option<u8>,
    user: Option<String>,
    no_input: bool,
    quiet: bool,
    safe: bool,
    interactive: bool,
    root: Option<PathBuf>,
    zone: String,
    command: Vec<OsString>,
}

/// The forms of a command line.
#[derive(Debug, PartialEq, Eq)]
enum Invocation {
    Run(Options),
    Print(String),
    /// A wrong command line; with the reason, if that is not obvious.
    Usage(Option<String>),
}

/// Runs the program.
pub fn main() -> ExitCode {
    trace::begin("zlogin");
    match parse(std::env::args_os().skip(1).collect()) {
        Invocation::Print(text) => match writeln!(io::stdout(), "{text}") {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Invocation::Usage(what) => {
            if let Some(what) = what {
                complain(&format!("zlogin: {what}"));
            }
            complain(USAGE);
            ExitCode::from(2)
        }
        Invocation::Run(options) => match run(&options) {
            Ok(status) => ExitCode::from(status),
            Err(text) => {
                complain(&text);
                ExitCode::FAILURE
            }
        },
    }
}

/// Reads the command line as getopt does: options end at the first other word, the zone's name.
fn parse(args: Vec<OsString>) -> Invocation {
    use lexopt::Arg::{Long, Short, Value};
    let usage = || Invocation::Usage(None);
    let wrong = |text: &str| Invocation::Usage(Some(text.to_owned()));
    let mut options = Options::default();
    let mut parser = lexopt::Parser::from_args(args);
    let zone = loop {
        let Ok(Some(arg)) = parser.next() else { return usage() };
        match arg {
            Short('C') => options.console = true,
            Short('d') => options.leave_at_halt = true,
            Short('E') => options.no_escape = true,
            Short('n') => options.no_input = true,
            Short('Q') => options.quiet = true,
            Short('S') => options.safe = true,
            Short('i') => options.interactive = true,
            Short(c @ ('e' | 'l' | 'R')) => {
                let Ok(value) = parser.value() else { return usage() };
                match c {
                    'e' => match escape_char(&value) {
                        Ok(byte) => options.escape = Some(byte),
                        Err(text) => return Invocation::Usage(Some(text)),
                    },
                    'l' => match value.into_string() {
                        Ok(user) if !user.is_empty() => options.user = Some(user),
                        _ => return usage(),
                    },
                    _ => options.root = Some(value.into()),
                }
            }
            Long("help") => return Invocation::Print(HELP.to_owned()),
            Long("version") => {
                return Invocation::Print(format!("zlogin (zones) {}", env!("CARGO_PKG_VERSION")));
            }
            Value(zone) => break zone,
            Short(_) | Long(_) => return usage(),
        }
    };
    // A name that is not text is no zone's.
    options.zone = zone.to_string_lossy().into_owned();
    options.command = parser.raw_args().map(Iterator::collect).unwrap_or_default();
    let has_command = !options.command.is_empty();
    if options.console {
        if options.user.is_some() {
            return wrong("-l may not be specified for console login");
        }
        if options.no_input {
            return wrong("-n may not be specified for console login");
        }
        if options.safe {
            return wrong("-S may not be specified for console login");
        }
        if has_command {
            return usage();
        }
    } else if options.leave_at_halt {
        return wrong("-d may only be specified with console login");
    }
    if options.safe && options.user.is_some() {
        return wrong("-l may not be specified for failsafe login");
    }
    if options.no_input && (!has_command || options.interactive) {
        return wrong("-n may not be specified for interactive login");
    }
    Invocation::Run(options)
}

/// Reads the value of `-e`: a character, or `\` and its octal number.
fn escape_char(value: &OsStr) -> Result<u8, String> {
    let shown = value.to_string_lossy();
    let unknown = || Err(format!("Unrecognized escape character option {shown}"));
    match value.as_bytes() {
        [b'\\'] | [b'\\', b'\\'] => Ok(b'\\'),
        [byte] => Ok(*byte),
        [b'\\', digits @ ..] if digits.iter().all(|d| (b'0'..=b'7').contains(d)) => {
            let number = digits.iter().try_fold(0_u8, |n, d| n.checked_mul(8)?.checked_add(d - b'0'));
            number.ok_or_else(|| format!("Octal escape character '{shown}' too large"))
        }
        _ => unknown(),
    }
}

/// Joins the words of a command with blanks; the shell in the zone splits and expands them again.
fn join(words: &[OsString]) -> Option<OsString> {
    let bytes = words.iter().map(|w| w.as_bytes()).collect::<Vec<_>>().join(&b' ');
    (!words.is_empty()).then(|| OsString::from_vec(bytes))
}

/// Does it; returns the exit status, or the whole text of an error.
fn run(options: &Options) -> Result<u8, String> {
    if login::current_zone().is_some() {
        return Err("'zlogin' may only be used from the global zone".into());
    }
    if options.zone == "global" {
        return Err("'zlogin' not applicable to the global zone".into());
    }
    let caller = Caller::from_env();
    if !login::is_privileged() {
        if let Some(done) = hand_over(options) {
            return done;
        }
        return Err("You lack sufficient privilege to run this command (all privs required)".into());
    }
    let caller = caller.as_ref();
    if caller.is_some() && options.root.is_some() {
        return Err("zlogin: -R is for root only".into());
    }
    let root = Root::new(options.root.as_deref());
    let unknown = || format!("zlogin: zone '{}' unknown", options.zone);
    let zone = ZoneName::new(&options.zone).map_err(|_| unknown())?;
    // The record of a running zone is one small file; the store is asked about others only.
    let running = running::find(&root, &zone);
    let state = match &running {
        Some(running) => running.state,
        None => FileStore::open(root.clone())
            .state(&zone)
            .map_err(|e| format!("zlogin: zone '{zone}': {e}"))?
            .ok_or_else(unknown)?,
    };
    use ZoneState::{Configured, Incomplete, Mounted, Unavailable};
    if matches!(state, Configured | Incomplete | Mounted | Unavailable) {
        return Err(format!("zlogin: cannot login to a zone which is '{state}'"));
    }
    let authenticate = match caller {
        Some(caller) => permit(options, &root, &zone, caller)?,
        None => false,
    };
    if let Some(running) = &running
        && let Err(why) = mend::mend(&FileStore::open(root.clone()), &zone, running)
    {
        complain(&format!("zlogin: zone '{zone}': its lost run-time folder cannot be put back: {why}"));
    }
    let done = match running {
        _ if options.console => console(options, &root, &zone),
        Some(running) if state == ZoneState::Running => {
            let (entry, warning) = LoginZone::new(&root, &zone, &running).map_err(|e| describe(&zone, &e))?;
            if let Some(warning) = warning {
                complain(&format!("zlogin: zone '{zone}': {warning}"));
            }
            if options.interactive || (options.command.is_empty() && tty::is_tty(io::stdin().as_fd())) {
                session(options, &zone, &entry, authenticate)
            } else {
                login(options, authenticate).run(&entry).map(status)
            }
        }
        _ => {
            return Err(format!("zlogin: login allowed only to running zones ({zone} is '{state}')."));
        }
    };
    match done {
        Err(e) if let Some(signal) = e.signal() => {
            complain(&describe(&zone, &e));
            Ok(ended_by(signal))
        }
        other => other.map_err(|e| describe(&zone, &e)),
    }
}

/// Has the broker do it for an ordinary user; none where there is no broker.
fn hand_over(options: &Options) -> Option<Result<u8, String>> {
    if options.root.is_some() {
        return None;
    }
    let args = std::env::args_os().skip(1).collect();
    let done = client::run(&Root::new(None), BrokeredProgram::Zlogin, args, !options.no_input)?;
    Some(done.map_err(|why| format!("zlogin: zone '{}': {why}", options.zone)))
}

/// Says whether a user whose work this is has to show a password of the zone.
fn permit(options: &Options, root: &Root, zone: &ZoneName, caller: &Caller) -> Result<bool, String> {
    let stored =
        FileStore::open(root.clone()).load(zone).map_err(|e| format!("zlogin: zone '{zone}': {e}"))?;
    let spec = stored.map_or_else(|| ZoneSpec::new(zone.clone()), |s| s.spec);
    let what = match (options.console, options.command.is_empty()) {
        (true, _) => "console access",
        _ if options.safe || options.command.is_empty() && !tty::is_tty(io::stdin().as_fd()) => {
            "failsafe or non-interactive login"
        }
        (false, false) => "failsafe or non-interactive login",
        (false, true) => "login",
    };
    if caller.has(&spec, Auth::Manage) {
        caller.allowed(root, zone, &format!("{what} as {}", user(options)));
        return Ok(false);
    }
    let (lacks, aim) = match what {
        "login" if caller.has(&spec, Auth::Login) => {
            if options.user.as_deref().is_some_and(|user| user.starts_with('-')) {
                return Err(format!("zlogin: zone '{zone}': no user name begins with '-'"));
            }
            caller.allowed(root, zone, "login with a password of the zone");
            return Ok(true);
        }
        "login" => (Auth::Login, "to login"),
        "console access" => (Auth::Manage, "for console access"),
        _ => (Auth::Manage, "for failsafe or non-interactive login"),
    };
    let why = format!("{} is not authorized {aim} to {zone} zone ({}).", caller.name(), lacks.on(zone));
    caller.refused(root, &format!("zone '{zone}': {what}"), &why);
    Err(format!("zlogin: {why}"))
}

/// Returns the user of the zone that is wanted.
fn user(options: &Options) -> &str {
    options.user.as_deref().unwrap_or("root")
}

/// Returns the text of an error, in the words of Solaris' zlogin.
fn describe(zone: &ZoneName, error: &LoginError) -> String {
    match error {
        LoginError::ConsoleBusy(_) => error.to_string(),
        _ => format!("zlogin: zone '{zone}': {error}"),
    }
}

fn login(options: &Options, authenticate: bool) -> Login {
    Login {
        // A user who has to show a password is asked for a name as well.
        user: if authenticate { options.user.clone().unwrap_or_default() } else { user(options).to_owned() },
        authenticate,
        safe: options.safe,
        command: join(&options.command),
        no_input: options.no_input,
        term: std::env::var_os("TERM"),
    }
}

/// Returns the exit status for the end of a command.
///
/// Linux: death by a signal is 128 and the number of the signal, as every shell has it; illumos gives 0.
fn status(ended: Ended) -> u8 {
    let number = match ended {
        Ended::Exit(status) => status,
        Ended::Signal(signal) => 128 + signal,
    };
    u8::try_from(number & 0xff).unwrap_or(u8::MAX)
}

fn escape(options: &Options) -> Option<u8> {
    if options.no_escape { None } else { options.escape.or(Some(b'~')) }
}

fn session(
    options: &Options,
    zone: &ZoneName,
    entry: &LoginZone<'_>,
    authenticate: bool,
) -> Result<u8, LoginError> {
    let attached = login(options, authenticate).attach(entry)?;
    let terminal = format!("pts/{}", attached.number);
    if !options.quiet {
        say(&format!("[Connected to zone '{zone}' {terminal}]\n"));
    }
    let end = attached.talk(escape(options))?;
    if !options.quiet {
        complain(&format!("\n[Connection to zone '{zone}' {terminal} closed]"));
    }
    Ok(match end {
        SessionEnd::Exited(ended) if !options.command.is_empty() => status(login::known(ended)?),
        SessionEnd::Exited(_) | SessionEnd::Disconnected | SessionEnd::Closed => 0,
        SessionEnd::Signal(signal) => ended_by(signal),
    })
}

fn console(options: &Options, root: &Root, zone: &ZoneName) -> Result<u8, LoginError> {
    let console = ConsoleConnection::open(root, zone, options.leave_at_halt)?;
    if !options.quiet {
        say(&format!("[Connected to zone '{zone}' console]\n"));
    }
    let end = console.talk(escape(options))?;
    if !options.quiet {
        say(&format!("\n[Connection to zone '{zone}' console closed]\n"));
    }
    Ok(match end {
        SessionEnd::Signal(signal) => ended_by(signal),
        SessionEnd::Exited(_) | SessionEnd::Disconnected | SessionEnd::Closed => 0,
    })
}

/// Returns the status of a session that a signal ended; the terminal is restored by then.
fn ended_by(signal: nix::sys::signal::Signal) -> u8 {
    status(Ended::Signal(signal as i32))
}

/// Prints on standard output; a reader that has gone is no failure.
fn say(text: &str) {
    let mut out = io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints a line on standard error, which may be gone: the terminal of a session that was hung up.
fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Invocation {
        parse(line.split_whitespace().map(OsString::from).collect())
    }

    fn run_of(line: &str) -> Options {
        match of(line) {
            Invocation::Run(options) => options,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn options_end_at_the_zone() {
        let o = run_of("-QE -l ann -e% zion ls -l -C");
        assert!(o.quiet && o.no_escape && !o.console);
        assert_eq!((o.user.as_deref(), o.escape, o.zone.as_str()), (Some("ann"), Some(b'%'), "zion"));
        assert_eq!(join(&o.command), Some("ls -l -C".into()));
        assert_eq!(join(&run_of("-- zion -- x").command), Some("-- x".into()));
        assert_eq!(join(&run_of("zion").command), None);
    }

    #[test]
    fn combinations_that_make_no_sense() {
        for line in [
            "",
            "-z zion",
            "-C -l x zion",
            "-C -n zion",
            "-C -S zion",
            "-C zion ls",
            "-d zion",
            "-S -l x zion ls",
        ] {
            assert!(matches!(of(line), Invocation::Usage(_)), "{line}");
        }
        for line in
            ["-n zion", "-n -i zion ls", "-l", "-e", "-e ab zion", "-e \\9 zion", "-e \\400 zion", "--what"]
        {
            assert!(matches!(of(line), Invocation::Usage(_)), "{line}");
        }
        for line in ["-C -d -Q -E zion", "-S zion", "-n zion ls", "-i zion ls", "-R /x zion"] {
            run_of(line);
        }
    }

    #[test]
    fn escape_characters() {
        let of = |text: &str| escape_char(OsStr::new(text));
        assert_eq!((of("%"), of("\\"), of("\\\\")), (Ok(b'%'), Ok(b'\\'), Ok(b'\\')));
        assert_eq!((of("\\035"), of("\\377")), (Ok(0o35), Ok(255)));
        assert_eq!(of("\\400"), Err("Octal escape character '\\400' too large".into()));
        assert_eq!(of("\\x"), Err("Unrecognized escape character option \\x".into()));
        assert!(of("ab").is_err() && of("").is_err());
    }

    #[test]
    fn statuses() {
        assert_eq!(
            [status(Ended::Exit(0)), status(Ended::Exit(255)), status(Ended::Signal(9))],
            [0, 255, 137]
        );
    }
}
