//! `zonename`: prints the zone one is in.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use crate::apply::login::current_zone;

const USAGE: &str = "usage: zonename";

/// Runs the program.
pub fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let text = match args.first().and_then(|a| a.to_str()) {
        None if args.is_empty() => {
            current_zone().map_or_else(|| "global".to_owned(), |zone| zone.to_string())
        }
        Some("--help" | "help") => {
            format!("{USAGE}\nPrints the name of the zone one is in, `global' on the host.")
        }
        Some("--version") => format!("zonename (zones) {}", env!("CARGO_PKG_VERSION")),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
