//! `zoneadmd -z ZONE`: the supervisor of one zone. Started by zoneadm and zlogin, never by hand.

use std::process::ExitCode;

use crate::apply::helper::Serve;
use crate::apply::paths::Root;
use crate::apply::{guard, supervisor};
use crate::spec::ZoneName;
use crate::sys::trace;

/// Runs the program.
pub fn main() -> ExitCode {
    trace::begin_in_background("zoneadmd");
    let args: Vec<String> = std::env::args().collect();
    let [_, flag, name] = args.as_slice() else { return usage() };
    let Ok(name) = ZoneName::new(name) else { return usage() };
    if flag != "-z" {
        return usage();
    }
    let root = Root::new(None);
    match guard::resume(&root, &name) {
        Ok(Some(guard)) => guard.serve(),
        Ok(None) => {}
        Err(e) => {
            eprintln!("zoneadmd: zone '{name}': guard: {e}");
            return ExitCode::FAILURE;
        }
    }
    let found = match supervisor::resume(&root, &name) {
        Ok(None) => supervisor::start_alone(&root, &name),
        other => other,
    };
    match found {
        Ok(Some(supervisor)) => supervisor.serve(),
        Ok(None) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("zoneadmd: zone '{name}': {e}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: zoneadmd -z zonename\nzoneadmd is started by zoneadm(8) and zlogin(1), not by hand.");
    ExitCode::from(2)
}
