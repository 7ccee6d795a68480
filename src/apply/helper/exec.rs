//! Executing zoneadmd with descriptors that go along.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Mode, OFlags};

use crate::apply::console::client;
use crate::apply::paths::Root;
use crate::spec::ZoneName;
use crate::sys::{process, trace};

/// Points standard input, output and error at `/dev/null`.
pub fn stdio_to_null() {
    if let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        // Failure leaves the caller's streams, which is no harm.
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}

/// Executes zoneadmd for a zone, as a process that ps(1) shows by `title`. Its environment holds `ZONES_ROOT` with the
/// alternate root, the given variables, `ZONES_LOG` if this process has it ([`trace`]), and nothing else. It inherits
/// the descriptors that are not close-on-exec. Returns why it could not be executed.
pub fn zoneadmd(root: &Root, name: &ZoneName, title: &str, variables: &[String]) -> io::Error {
    let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    let attempt = || -> io::Result<std::convert::Infallible> {
        let program = client::program().ok_or(io::ErrorKind::NotFound)?;
        let mut prefix = b"ZONES_ROOT=".to_vec();
        prefix.extend_from_slice(root.prefix().as_os_str().as_bytes());
        let args = [text(title.as_bytes())?, text(b"-z")?, text(name.as_str().as_bytes())?];
        let mut env = vec![text(&prefix)?];
        for variable in variables {
            env.push(text(variable.as_bytes())?);
        }
        if let Some((name, value)) = trace::handed_on() {
            env.push(text(format!("{name}={value}").as_bytes())?);
        }
        let file = text(program.as_os_str().as_bytes())?;
        Ok(nix::unistd::execve(&file, &args, &env)?)
    };
    match attempt() {
        Err(e) => e,
        Ok(never) => match never {},
    }
}

/// Returns the names and numbers of descriptors as text for a variable, as [`ExecState`] reads them.
pub fn fds_to_text(fds: &[(&str, BorrowedFd<'_>)]) -> String {
    let numbers: Vec<String> = fds.iter().map(|(what, fd)| format!("{what}={}", fd.as_raw_fd())).collect();
    numbers.join(" ")
}

/// The state of a process that another one has executed, in an environment variable: words `NAME=VALUE`, where the
/// value of a descriptor is its number.
#[derive(Clone, Copy, Debug)]
pub struct ExecState<'a>(&'a str);

impl<'a> ExecState<'a> {
    /// Reads the variable's value.
    pub fn new(text: &'a str) -> Self {
        Self(text)
    }

    fn values(self, what: &str) -> impl Iterator<Item = &'a str> {
        let fields = self.0.split_whitespace().filter_map(|w| w.split_once('='));
        fields.filter(move |(name, _)| *name == what).map(|(_, value)| value)
    }

    /// Returns a value.
    pub fn text(self, what: &str) -> Option<&'a str> {
        self.values(what).next()
    }

    /// Takes all descriptors of a name over.
    pub fn fds(self, what: &str) -> impl Iterator<Item = io::Result<OwnedFd>> {
        self.values(what).map(|n| process::adopt_fd(n.parse().map_err(|_| io::ErrorKind::InvalidInput)?))
    }

    /// Takes the descriptor of a name over.
    ///
    /// # Errors
    /// `NotFound` when there is none of that name; else the system's error.
    pub fn fd(self, what: &str) -> io::Result<OwnedFd> {
        self.fds(what).next().unwrap_or(Err(io::ErrorKind::NotFound.into()))
    }
}
