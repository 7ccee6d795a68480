//! The last part of a login, in the new process inside the zone: the user that it becomes, and the program that it
//! executes.
//!
//! It begins as root of the zone, in the zone's own root directory, with nothing of the host's left. The files that
//! it reads here are the zone's and may be hostile; the worst that can come of it is a login that fails.

use std::ffi::{CString, NulError, OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use super::direct::{candidates, plain_words};
use super::environment::{Style, ZoneEnvironment, environment};
use super::identity::{User, find_user, groups_of};
use crate::spec::shown::Show;
use crate::sys::channel::Channel;
use crate::sys::naive::without;
use crate::sys::path::reason;
use crate::sys::tty::TerminalState;
use crate::sys::{enter, pty};

/// The work inside the zone.
#[derive(Clone, Debug)]
pub struct LoginJob {
    /// Login name.
    pub user: String,
    /// `-S`: trust nothing in the zone but a shell.
    pub safe: bool,
    /// The zone's login(1) is executed instead of a shell.
    pub authenticate: bool,
    /// Words for the shell; none for a login shell.
    pub command: Option<OsString>,
    /// `TERM` of the caller.
    pub term: Option<OsString>,
    /// A terminal is wanted, and it is to look like this.
    pub terminal: Option<TerminalState>,
}

/// Why a login fails inside the zone.
#[derive(Debug, thiserror::Error)]
pub enum LoginInsideError {
    /// No such user.
    #[error("unknown user '{0}'")]
    UnknownUser(String),
    /// A file of the zone cannot be read.
    #[error("cannot read '{file}': {}", reason(source))]
    Read {
        /// Its path in the zone.
        file: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// No terminal.
    #[error("cannot make a terminal in the zone's /dev/pts: {}", reason(.0))]
    Terminal(#[source] io::Error),
    /// An id is not one of the zone's.
    #[error("user '{0}' has an id that the zone does not have")]
    ForeignId(String),
    /// The ids cannot be taken on.
    #[error("cannot become user '{user}': {}", reason(source))]
    Become {
        /// Login name.
        user: String,
        /// The system's error.
        source: io::Error,
    },
    /// The shell cannot be executed.
    #[error("cannot execute '{}': {}", shell.shown(), reason(source))]
    Execute {
        /// Its path in the zone.
        shell: String,
        /// The system's error.
        source: io::Error,
    },
    /// A word that cannot be passed on.
    #[error("a word of the command has a zero byte in it")]
    ZeroByte(#[from] NulError),
}

impl LoginJob {
    /// Does it. Returns only why it could not.
    pub fn run(&self, channel: &Channel) -> LoginInsideError {
        match self.try_run(channel) {
            Ok(never) => match never {},
            Err(failure) => failure,
        }
    }

    fn try_run(&self, channel: &Channel) -> Result<std::convert::Infallible, LoginInsideError> {
        if self.authenticate {
            return self.ask(channel);
        }
        let user = if self.safe { safe_user() } else { find(&self.user)? };
        let groups = if self.safe { Vec::new() } else { further_groups(&user)? };
        if let Some(look) = &self.terminal {
            take_terminal(look, user.uid, channel).map_err(LoginInsideError::Terminal)?;
        }
        enter::become_user(user.uid, user.gid, &groups).map_err(|source| {
            let user = user.name.clone();
            if source.raw_os_error() == Some(libc::EINVAL) {
                LoginInsideError::ForeignId(user)
            } else {
                LoginInsideError::Become { user, source }
            }
        })?;
        // As the user, who may have no right to enter the folder: then the login starts in `/`, where this process is.
        let _ = enter::change_folder(&user.home);
        let failure = self.execute(&user)?;
        // Root must be able to repair a zone without its favourite shell.
        if user.uid == 0 && !self.safe && user.shell != "/bin/sh" {
            let _ = writeln!(io::stderr(), "zlogin: {failure}, using /bin/sh");
            let user = User { shell: "/bin/sh".into(), ..user };
            return Err(self.execute(&user)?);
        }
        Err(failure)
    }

    /// Has the zone's login(1) ask, as root of the zone on a terminal of the zone.
    fn ask(&self, channel: &Channel) -> Result<std::convert::Infallible, LoginInsideError> {
        let look = self
            .terminal
            .as_ref()
            .ok_or_else(|| LoginInsideError::Terminal(io::ErrorKind::NotFound.into()))?;
        take_terminal(look, 0, channel).map_err(LoginInsideError::Terminal)?;
        let root = User::root();
        let become_failed = |source| LoginInsideError::Become { user: root.name.clone(), source };
        enter::become_user(0, 0, &[]).map_err(become_failed)?;
        let _ = enter::change_folder("/");
        let place = ZoneEnvironment::look(Style::Safe, &root);
        let env = environment(Style::Safe, &root, self.term.as_deref(), &place);
        let env = env.into_iter().map(CString::new).collect::<Result<Vec<_>, _>>()?;
        let mut args = vec![c"login".to_owned(), c"-p".to_owned()];
        // Never an option: "-f root" would ask for nothing.
        if !self.user.is_empty() {
            args.extend([c"--".to_owned(), CString::new(self.user.as_str())?]);
        }
        let mut source = io::Error::from(io::ErrorKind::NotFound);
        for file in [c"/bin/login", c"/usr/bin/login"] {
            source = enter::exec(file, &args, &env);
        }
        Err(LoginInsideError::Execute { shell: "/bin/login".into(), source })
    }

    /// Executes the user's shell; returns why it could not.
    fn execute(&self, user: &User) -> Result<LoginInsideError, NulError> {
        let base = user.shell.rsplit('/').next().unwrap_or("sh");
        let style = match &self.command {
            _ if self.safe => Style::Safe,
            Some(_) if user.uid == 0 => Style::Command,
            _ => Style::Login,
        };
        let name = if style == Style::Command || (self.safe && self.command.is_some()) {
            base.to_owned()
        } else {
            format!("-{base}")
        };
        let mut args = vec![CString::new(name)?];
        if let Some(command) = &self.command {
            args.push(c"-c".to_owned());
            args.push(CString::new(command.clone().into_vec())?);
        }
        let term: Option<&OsStr> = self.term.as_deref();
        let mut env = environment(style, user, term, &ZoneEnvironment::look(style, user));
        if without("environment") {
            env.extend(std::env::vars().map(|(name, value)| format!("{name}={value}")));
        }
        let env = env.into_iter().map(CString::new).collect::<Result<Vec<_>, _>>()?;
        // A login shell reads its profile first, which may change anything.
        if let Some(command) = self.command.as_ref().filter(|_| style == Style::Command) {
            execute_plain(&user.shell, command, &env)?;
        }
        let program = CString::new(OsStr::new(&user.shell).as_bytes())?;
        let source = enter::exec(&program, &args, &env);
        Ok(LoginInsideError::Execute { shell: user.shell.clone(), source })
    }
}

/// Executes a command that needs no shell. Returns when it does need one, also to let the shell report an error.
fn execute_plain(shell: &str, command: &OsStr, env: &[CString]) -> Result<(), NulError> {
    let Some(words) = plain_words(shell, command) else { return Ok(()) };
    let path = env.iter().find_map(|v| v.to_str().ok()?.strip_prefix("PATH=")).unwrap_or_default();
    let first = words[0].to_str().unwrap_or_default();
    for file in candidates(first, path) {
        // A missing file, a script without an interpreter: the shell knows what to do and to say.
        let _ = enter::exec(&CString::new(file)?, &words, env);
    }
    Ok(())
}

/// Returns root with the shell that Solaris prescribes for a safe login, where there is one.
fn safe_user() -> User {
    let shell = if Path::new("/sbin/sh").exists() { "/sbin/sh" } else { "/bin/sh" };
    User { home: "/".into(), shell: shell.into(), ..User::root() }
}

fn find(name: &str) -> Result<User, LoginInsideError> {
    const FILE: &str = "/etc/passwd";
    if without("lookup") {
        let _ = nix::unistd::User::from_name(name);
    }
    let found = match enter::open_regular(FILE) {
        Ok(file) => find_user(file, name),
        Err(e) => Err(e),
    };
    match found {
        Ok(Some(user)) => Ok(user),
        // A zone whose files are broken or missing is repaired as root.
        Ok(None) | Err(_) if name == "root" => Ok(User::root()),
        Ok(None) => Err(LoginInsideError::UnknownUser(name.to_owned())),
        Err(source) => Err(LoginInsideError::Read { file: FILE, source }),
    }
}

fn further_groups(user: &User) -> Result<Vec<u32>, LoginInsideError> {
    const FILE: &str = "/etc/group";
    let read = |file: File| groups_of(file, &user.name);
    match enter::open_regular(FILE).and_then(read) {
        Ok(groups) => Ok(groups),
        // Fewer groups, never more rights.
        Err(e) if e.kind() == io::ErrorKind::NotFound || user.uid == 0 => Ok(Vec::new()),
        Err(source) => Err(LoginInsideError::Read { file: FILE, source }),
    }
}

/// Makes a terminal, sends its other side to the host, and makes it ours.
fn take_terminal(look: &TerminalState, uid: u32, channel: &Channel) -> io::Result<()> {
    let pty = pty::open_in(Path::new("/dev/pts"))?;
    look.apply(pty.slave.as_fd())?;
    pty::give(pty.slave.as_fd(), uid)?;
    channel.send(&pty.number.to_string(), &[pty.master.as_fd()])?;
    pty::take(pty.slave.as_fd())
}
