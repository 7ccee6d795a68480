//! Process 1 becomes the zone's first program.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

use super::error::InsideError;
use crate::plan::step::InitProgram;
use crate::sys::process;

/// Becomes the first program. Returns only on failure, with the reason.
pub(super) fn start(program: &InitProgram, args: &[String], built_in: Option<&OwnedFd>) -> InsideError {
    match to_init(program, args, built_in) {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

fn to_init(
    program: &InitProgram,
    args: &[String],
    built_in: Option<&OwnedFd>,
) -> Result<std::convert::Infallible, InsideError> {
    rustix::process::setsid().map_err(InsideError::of("cannot begin a session"))?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let console = rustix::fs::open("/dev/console", flags, Mode::empty())
        .map_err(InsideError::of("cannot open /dev/console"))?;
    rustix::stdio::dup2_stdin(&console)
        .and_then(|()| rustix::stdio::dup2_stdout(&console))
        .and_then(|()| rustix::stdio::dup2_stderr(&console))
        .map_err(InsideError::of("cannot use /dev/console"))?;
    process::reset_signals();
    process::close_on_exec_from(3).map_err(InsideError::of("cannot close descriptors"))?;

    let text =
        |s: &str| CString::new(s).map_err(|source| InsideError::ZeroByte { word: s.to_owned(), source });
    let name = match program {
        InitProgram::Own(path) => path.rsplit('/').next().unwrap_or(path).to_owned(),
        InitProgram::BuiltIn => "init".to_owned(),
    };
    let mut words = vec![text(&name)?];
    for arg in args {
        words.push(text(arg)?);
    }
    let words: Vec<&CStr> = words.iter().map(CString::as_c_str).collect();
    let path = match program {
        InitProgram::BuiltIn => {
            c"PATH=/run/zone/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        }
        InitProgram::Own(_) => c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    };
    let env = [path, c"container=zones", c"TERM=linux", c"HOME=/"];
    match (program, built_in) {
        (InitProgram::BuiltIn, Some(fd)) => {
            // The built-in init reads its signals from a descriptor, and a request to end may come before it is
            // ready, so they stay blocked. Another init may need its signals unblocked.
            process::hold_signals();
            let error = process::exec_fd(fd.as_fd(), &words, &env);
            Err(InsideError::of("cannot start the built-in init")(error))
        }
        (InitProgram::BuiltIn, None) => Err(InsideError::NoBuiltIn),
        (InitProgram::Own(path), _) => {
            let file = text(path)?;
            let Err(source) = nix::unistd::execve(&file, &words, &env);
            let path = path.clone();
            Err(match source {
                nix::Error::ENOENT | nix::Error::ENOTDIR => InsideError::NoInit { path, source },
                nix::Error::EACCES => InsideError::NotExecutable { path, source },
                _ => InsideError::Start { path, source },
            })
        }
    }
}
