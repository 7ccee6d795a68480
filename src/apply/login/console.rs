//! The client side of a zone's console, which its supervisor serves on a socket.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::LoginError;
use super::session::{LoginSession, SIGNALS, SessionEnd};
use crate::apply::console::client::{self, CallError, SupervisorReply};
use crate::apply::paths::Root;
use crate::apply::rundir::CONSOLE;
use crate::spec::ZoneName;
use crate::sys::tty::{self, Signals};

/// A connected console.
pub struct ConsoleConnection {
    socket: UnixStream,
}

impl ConsoleConnection {
    /// Connects to the console of a zone. Starts a supervisor when there is none: the console of a halted
    /// zone can be watched as well.
    ///
    /// With `leave_at_halt` the supervisor ends the connection when the zone halts.
    ///
    /// # Errors
    /// [`LoginError::ConsoleBusy`] when another client has it, or the system's error.
    pub fn open(root: &Root, zone: &ZoneName, leave_at_halt: bool) -> Result<Self, LoginError> {
        let socket = root.zone_run(zone).join(CONSOLE);
        if let Some(console) = Self::connect(&socket, leave_at_halt)? {
            return Ok(console);
        }
        client::start(root, zone)?;
        let missing = || LoginError::Console(io::ErrorKind::ConnectionRefused.into());
        Self::connect(&socket, leave_at_halt)?.ok_or_else(missing)
    }

    /// Connects; none when no supervisor serves the console.
    ///
    /// With `leave_at_halt` the supervisor ends the connection when the zone halts.
    ///
    /// # Errors
    /// [`LoginError::ConsoleBusy`] when another client has it, or the system's error.
    fn connect(socket: &Path, leave_at_halt: bool) -> Result<Option<Self>, LoginError> {
        use io::ErrorKind::{ConnectionRefused, NotFound};
        let locale = ["LC_ALL", "LC_MESSAGES", "LANG"].iter().find_map(|name| std::env::var(name).ok());
        let locale = locale.filter(|l| !l.is_empty() && !l.contains(char::is_whitespace));
        let locale = locale.as_deref().unwrap_or("C");
        let request = format!("CONNECT {} {locale} {}", std::process::id(), u8::from(leave_at_halt));
        match client::ask(socket, &request) {
            Ok((socket, SupervisorReply::Ok)) => Ok(Some(Self { socket })),
            Ok((_, SupervisorReply::Busy(holder) | SupervisorReply::Former(holder))) => {
                Err(LoginError::ConsoleBusy(holder))
            }
            Ok((_, SupervisorReply::Refused(text))) => Err(CallError::Refused(text).into()),
            Err(e) if matches!(e.kind(), NotFound | ConnectionRefused) => Ok(None),
            Err(e) => Err(LoginError::Console(e)),
        }
    }

    /// Talks until the user or the supervisor ends it.
    ///
    /// # Errors
    /// The system's error.
    pub fn talk(&self, escape: Option<u8>) -> Result<SessionEnd, LoginError> {
        let signals = Signals::take(SIGNALS).map_err(LoginError::Relay)?;
        tty::never_wait(self.socket.as_fd()).map_err(LoginError::Relay)?;
        let remote = self.socket.as_fd();
        let session = LoginSession { remote, is_terminal: false, child: None, escape, signals: &signals };
        session.run()
    }
}
