//! `zonesd`: the broker that does for users of the host what `admin` resources allow.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::apply::broker::serve::Broker;
use crate::apply::paths::Root;
use crate::spec::shown::Show;
use crate::sys::trace;

const HELP: &str = "\
usage: zonesd [-R root]

Listens for users of this host and does for them what the admin resources of
zones allow. Started by systemd (zones-broker.socket), or by root.

  -R root    zones below this root";

/// Runs the program.
pub fn main() -> ExitCode {
    trace::begin("zonesd");
    let mut parser = lexopt::Parser::from_env();
    let mut root = None;
    loop {
        match parser.next() {
            Ok(None) => break,
            Ok(Some(lexopt::Arg::Short('R'))) => match parser.value() {
                Ok(path) => root = Some(PathBuf::from(path)),
                Err(_) => return usage(),
            },
            Ok(Some(lexopt::Arg::Long("help") | lexopt::Arg::Short('?'))) => return print(HELP),
            Ok(Some(lexopt::Arg::Long("version"))) => {
                return print(&format!("zonesd (zones) {}", env!("CARGO_PKG_VERSION")));
            }
            Ok(Some(_)) | Err(_) => return usage(),
        }
    }
    if let Some(root) = root.as_ref().filter(|r| !r.is_absolute() || !r.is_dir()) {
        return failed(&format!("root path must be an absolute directory: {}", root.shown()));
    }
    if !rustix::process::geteuid().is_root() {
        return failed("it works with the rights of root, and must be started by root");
    }
    rustix::process::umask(rustix::fs::Mode::from_bits_truncate(0o022));
    let served = Broker::open(&Root::new(root.as_deref())).and_then(|broker| {
        let told = |e: io::Error| crate::sys::path::reason(&e);
        broker.serve().map_err(told)
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => failed(&text),
    }
}

fn print(text: &str) -> ExitCode {
    match writeln!(io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn usage() -> ExitCode {
    let _ = writeln!(io::stderr(), "usage: zonesd [-R root]");
    ExitCode::from(2)
}

fn failed(text: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "zonesd: {text}");
    ExitCode::FAILURE
}
