//! The configuration shell. See `zones::cli::zonecfg`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(zones::cli::zonecfg::main(std::env::args_os()))
}
