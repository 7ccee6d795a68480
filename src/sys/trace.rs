//! Log lines about the steps of a program, for an administrator who has asked for them with `ZONES_LOG`.
//!
//! | `ZONES_LOG` | where the lines go |
//! |---|---|
//! | unset, empty, `0` | nowhere: each place costs one comparison |
//! | anything else | the standard error of the command; those of a supervisor go to the system log once the boot is over |
//!
//! A line is `HH:MM:SS.micros PROGRAM[PID] WHAT`, in UTC. The places call the macros of the crate `log`.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use log::{LevelFilter, Log, Metadata, Record};

use crate::spec::shown::Show;

/// Name of the environment variable.
pub const VARIABLE: &str = "ZONES_LOG";

/// Where the system takes its messages (syslog(3)).
const SYSTEM: &str = "/dev/log";

enum Sink {
    Stream(File),
    System,
}

struct Trace {
    program: &'static str,
    sink: Mutex<Sink>,
}

static TRACE: OnceLock<Trace> = OnceLock::new();

/// Begins to log, if `ZONES_LOG` asks for it. The stream is a copy of standard error, which others may replace.
pub fn begin(program: &'static str) {
    if !is_asked_for() {
        return;
    }
    let sink = match std::io::stderr().as_fd().try_clone_to_owned() {
        Ok(copy) => Sink::Stream(copy.into()),
        Err(_) => Sink::System,
    };
    let trace = TRACE.get_or_init(|| Trace { program, sink: Mutex::new(sink) });
    if log::set_logger(trace).is_ok() {
        log::set_max_level(LevelFilter::Debug);
    }
}

/// Begins to log to the system log: for a program that runs in the background.
pub fn begin_in_background(program: &'static str) {
    begin(program);
    to_system();
}

fn is_asked_for() -> bool {
    std::env::var_os(VARIABLE).is_some_and(|value| !value.is_empty() && value != "0")
}

/// Closes standard error: a program that reads it to its end must not have to wait for a supervisor.
pub fn to_system() {
    if let Some(trace) = TRACE.get() {
        *trace.sink() = Sink::System;
    }
}

/// Ends the log: for a process that goes into a zone, where the system log is the zone's.
pub fn stop() {
    log::set_max_level(LevelFilter::Off);
}

/// Is called by a process that has closed all descriptors but these.
pub(super) fn closed_but(kept: &[u32]) {
    let Some(trace) = TRACE.get() else { return };
    let mut sink = trace.sink();
    if let Sink::Stream(file) = &*sink
        && !kept.iter().any(|fd| i64::from(*fd) == i64::from(file.as_raw_fd()))
        && let Sink::Stream(gone) = std::mem::replace(&mut *sink, Sink::System)
    {
        // The number may be another file's soon, which is not to be closed with this one.
        let _ = gone.into_raw_fd();
    }
}

/// Returns the descriptor that the lines go to, for a process that closes all others.
pub fn descriptor() -> Option<RawFd> {
    match &*TRACE.get()?.sink() {
        Sink::Stream(file) => Some(file.as_raw_fd()),
        Sink::System => None,
    }
}

/// Returns the environment with which a supervisor logs as well.
pub fn handed_on() -> Option<(&'static str, &'static str)> {
    TRACE.get().map(|_| (VARIABLE, "1"))
}

impl Trace {
    fn sink(&self) -> MutexGuard<'_, Sink> {
        self.sink.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log for Trace {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries have nothing to log about zones.
        metadata.target().starts_with("zones")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let text = record.args().to_string();
        let (program, pid, text) = (self.program, std::process::id(), text.shown());
        // Neither a full disk nor a reader that has gone is a reason to stop.
        match &mut *self.sink() {
            Sink::Stream(file) => {
                let _ = file.write_all(format!("{} {program}[{pid}] {text}\n", clock()).as_bytes());
            }
            Sink::System => {
                // Facility daemon, level debug.
                let line = format!("<31>{program}[{pid}]: {text}");
                let _ = UnixDatagram::unbound().and_then(|s| s.send_to(line.as_bytes(), SYSTEM));
            }
        }
    }

    fn flush(&self) {}
}

/// Returns the time of day in UTC, with microseconds.
fn clock() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (second, micros) = (now.as_secs() % 86_400, now.subsec_micros());
    format!("{:02}:{:02}:{:02}.{micros:06}", second / 3600, second / 60 % 60, second % 60)
}
