//! The console of a zone: a terminal whose one end is the zone's `/dev/console` and whose other end
//! goes to the one client that `zlogin -C` connects.

pub mod client;

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};

use crate::apply::paths::Root;
use crate::apply::rundir::{CONSOLE, WATCHED, make_run_dir};
use crate::spec::ZoneName;
use crate::spec::shown::Show;

/// The signal at which a supervisor restores its run-time folder after it was removed.
pub const RESTORE: i32 = libc::SIGHUP;

/// Most bytes that are kept for a reader that does not keep up.
const PENDING_MAX: usize = 4096;

/// How much of the zone's output is read in one [`PERIOD`]. A zone that writes more waits, as at any slow terminal:
/// the supervisor's work for it costs the host, not the zone.
const OUTPUT_MAX: usize = 256 << 10;
const PERIOD: Duration = Duration::from_millis(100);

/// A client that watches the console.
#[derive(Debug)]
pub struct ConsoleClient {
    /// The connection.
    pub stream: UnixStream,
    /// Process id, by the client's own word.
    pub pid: i32,
    /// Leave when the zone halts (`zlogin -C -d`).
    pub leaves: bool,
    /// Output that the client has not taken yet.
    pub pending: Vec<u8>,
}

/// The console with its socket.
#[derive(Debug)]
pub struct Console {
    /// Where clients and requests arrive.
    pub listener: UnixListener,
    /// The supervisor's end of the terminal.
    pub master: OwnedFd,
    /// The zone's end, kept open so that the terminal outlives every process of the zone.
    pub slave: OwnedFd,
    /// The client.
    pub client: Option<ConsoleClient>,
    /// Input that the zone has not taken yet.
    pub typed: Vec<u8>,
    /// Where the watcher's process id is noted.
    watched: std::path::PathBuf,
    /// When the present period began, and how many bytes were read in it.
    read: (Instant, usize),
}

impl Console {
    /// Makes the console of a zone that is starting. A supervisor that still serves the console of
    /// the halted zone hands its socket and its client over and ends.
    ///
    /// # Errors
    /// The system's error.
    pub fn take_over_or_open(root: &Root, name: &ZoneName) -> io::Result<Self> {
        let path = root.zone_run(name).join(CONSOLE);
        if let Some(message) = client::take_over(&path)? {
            let mut fds = message.fds.into_iter();
            if let Some(listener) = fds.next() {
                let client = fds.next().map(|fd| client_from(&message.text, fd.into()));
                return Self::new(root, name, listener.into(), client);
            }
        }
        Self::new(root, name, listen(&path)?, None)
    }

    /// Makes the socket anew when its file has gone; the client stays.
    ///
    /// # Errors
    /// The system's error.
    pub fn listen_again(&mut self, root: &Root, name: &ZoneName) -> io::Result<()> {
        let dir = root.zone_run(name);
        make_run_dir(root, &dir)?;
        if !dir.join(CONSOLE).exists() {
            self.listener = listen(&dir.join(CONSOLE))?;
        }
        if let Some(client) = &self.client {
            fs::write(&self.watched, client.pid.to_string())?;
        }
        Ok(())
    }

    fn new(
        root: &Root,
        name: &ZoneName,
        listener: UnixListener,
        client: Option<ConsoleClient>,
    ) -> io::Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let slave =
            ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        let watched = root.zone_run(name).join(WATCHED);
        let read = (Instant::now(), 0);
        let console = Self { listener, master, slave, client, typed: Vec::new(), watched, read };
        console.prepare()?;
        Ok(console)
    }

    /// Puts a console together from descriptors that came through an exec.
    ///
    /// # Errors
    /// The system's error.
    pub fn from_parts(
        root: &Root,
        name: &ZoneName,
        listener: UnixListener,
        master: OwnedFd,
        slave: OwnedFd,
        client: Option<ConsoleClient>,
    ) -> io::Result<Self> {
        let watched = root.zone_run(name).join(WATCHED);
        let read = (Instant::now(), 0);
        let console = Self { listener, master, slave, client, typed: Vec::new(), watched, read };
        console.prepare()?;
        Ok(console)
    }

    fn prepare(&self) -> io::Result<()> {
        rustix::io::ioctl_fionbio(&self.master, true)?;
        if let Some(client) = &self.client {
            client.stream.set_nonblocking(true)?;
        }
        Ok(())
    }

    /// Returns the zone's end.
    pub fn slave(&self) -> BorrowedFd<'_> {
        self.slave.as_fd()
    }

    /// Says whether a client watches.
    pub fn has_client(&self) -> bool {
        self.client.is_some()
    }

    /// Writes a notice for the client, on one line of its own: control characters in names that a user of the host
    /// or the zone has chosen are escaped.
    pub fn notice(&mut self, text: &str) {
        crate::spec::shown::leave_out(crate::sys::naive::without("names"));
        self.show(format!("\r\n[{}]\r\n", text.shown()).as_bytes());
    }

    /// Reports that the boot failed, and lets a client go that wants to.
    pub fn boot_failed(&mut self) {
        self.last_notice("NOTICE: Zone boot failed");
    }

    /// Writes the last notice of a zone; a client that asked to leave then is let go.
    pub fn last_notice(&mut self, text: &str) {
        if self.client.as_ref().is_some_and(|c| c.leaves) {
            self.notice(&format!("{text}.  Disconnecting..."));
            self.drop_client();
        } else {
            self.notice(text);
        }
    }

    /// Accepts the client if there is none yet, and answers it, as its release understands it.
    pub fn connect(&mut self, mut stream: UnixStream, pid: i32, leaves: bool, is_former: bool) {
        if let Some(holder) = &self.client {
            let word = if is_former { "" } else { client::BUSY };
            let _ = stream.write_all(format!("{word}{}\n", holder.pid).as_bytes());
            return;
        }
        if stream.write_all(b"OK\n").is_err() || stream.set_nonblocking(true).is_err() {
            return;
        }
        // Only a hint for `halt`, which waits for a supervisor without a client.
        let _ = fs::write(&self.watched, pid.to_string());
        self.client = Some(ConsoleClient { stream, pid, leaves, pending: Vec::new() });
    }

    /// Lets the client go.
    pub fn drop_client(&mut self) {
        self.client = None;
        let _ = fs::remove_file(&self.watched);
    }

    /// Passes the zone's output on to the client; without one it is lost, as on any console.
    pub fn pump_out(&mut self) {
        let mut buffer = [0u8; 4096];
        if let Ok(n) = rustix::io::read(&self.master, &mut buffer) {
            if self.read.0.elapsed() >= PERIOD {
                self.read = (Instant::now(), 0);
            }
            self.read.1 += n;
            self.show(&buffer[..n]);
        }
    }

    /// Returns how long the zone's output is not read, because the zone has written as much as it may in this period;
    /// none when it may be read now.
    pub fn throttled_for(&self) -> Option<Duration> {
        (self.read.1 >= OUTPUT_MAX).then(|| PERIOD.checked_sub(self.read.0.elapsed())).flatten()
    }

    /// Passes the client's input on to the zone. Says whether the client is still there.
    pub fn pump_in(&mut self) -> bool {
        let Some(client) = &mut self.client else { return false };
        let mut buffer = [0u8; 1024];
        match client.stream.read(&mut buffer) {
            Ok(0) => return false,
            Ok(n) => self.typed.extend_from_slice(&buffer[..n]),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => return false,
        }
        self.flush_in();
        true
    }

    /// Gives the zone the rest of the input.
    pub fn flush_in(&mut self) {
        while !self.typed.is_empty() {
            match rustix::io::write(&self.master, &self.typed) {
                Ok(n) => drop(self.typed.drain(..n)),
                Err(_) => break,
            }
        }
    }

    /// Gives the client the rest of the output. Says whether the client is still there.
    pub fn flush_out(&mut self) -> bool {
        let Some(client) = &mut self.client else { return false };
        while !client.pending.is_empty() {
            match client.stream.write(&client.pending) {
                Ok(0) => return false,
                Ok(n) => drop(client.pending.drain(..n)),
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => break,
                Err(_) => return false,
            }
        }
        true
    }

    fn show(&mut self, bytes: &[u8]) {
        if let Some(client) = &mut self.client {
            client.pending.extend_from_slice(bytes);
        }
        if self.client.is_some() && !self.flush_out() {
            self.drop_client();
        }
    }

    /// Says whether the zone's output may be read: the client has taken enough of the former output, and the zone is
    /// not throttled.
    pub fn may_read_output(&self) -> bool {
        self.throttled_for().is_none() && self.client.as_ref().is_none_or(|c| c.pending.len() < PENDING_MAX)
    }

    /// Says whether the client's input may be read: the zone has taken enough of the former input.
    pub fn may_read_input(&self) -> bool {
        self.typed.len() < PENDING_MAX
    }

    /// Describes the client for another process, as [`client_from`] reads it.
    pub fn client_text(&self) -> String {
        self.client.as_ref().map_or_else(|| "none".into(), |c| format!("{} {}", c.pid, u8::from(c.leaves)))
    }
}

/// Makes the socket.
fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Reads what [`Console::client_text`] wrote.
pub fn client_from(text: &str, stream: UnixStream) -> ConsoleClient {
    let mut words = text.split_whitespace();
    let pid = words.next().and_then(|w| w.parse().ok()).unwrap_or(0);
    ConsoleClient { stream, pid, leaves: words.next() == Some("1"), pending: Vec::new() }
}
