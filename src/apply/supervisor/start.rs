//! The start of a zone: fork the supervisor, carry the plan out, report back.

use std::os::fd::{AsFd, AsRawFd};

use super::{Supervisor, stay_for_client};
use crate::apply::boot::error::UpError;
use crate::apply::boot::start::{Begun, Goal, up};
use crate::apply::boot::{BootArgs, BootError, observe, with_default};
use crate::apply::console::Console;
use crate::apply::helper::exec;
use crate::apply::net::{self, ProgramsAhead};
use crate::apply::paths::Root;
use crate::apply::rundir::{StopReason, make_run_dir};
use crate::apply::store::Locked;
use crate::apply::teardown::{recover_after_crash, recover_and_remove_files, remove_run_files, take_down};
use crate::apply::{Op, claim, fault, running};
use crate::plan::boot::plan;
use crate::spec::ZoneName;
use crate::spec::shown::Show;
use crate::spec::toml;
use crate::sys::channel::Channel;
use crate::sys::ns::{Side, fork};
use crate::sys::process;
use crate::sys::trace;

/// The mark before warnings of the supervisor, which are neither success nor failure.
const WARNING: &str = "WARNING: ";
/// The supervisor's word that it wants the programs of the zone's links.
const PROGRAMS: &str = "PROGRAMS";

/// Starts a zone that the kernel does not know. The supervisor holds the lock as well, until the start has
/// succeeded or failed, whatever happens to this process.
///
/// # Errors
/// [`BootError`]; everything has been undone then.
pub fn start(op: &mut Op<'_>, args: &BootArgs, goal: Goal, lock: &Locked) -> Result<(), BootError> {
    let args = with_default(op, args);
    recover_after_crash(op.store.root(), op.name);
    if let Some(strays) = running::strays(op.store.root(), op.name) {
        return Err(BootError::Strays(strays));
    }
    let (facts, asked) = observe::facts_and_answers(op)?;
    let plan = plan(op.spec, &args, &facts)?;
    let ids = claim::ClaimedIds::of(op.store.id_map(op.name, op.spec)?, op.spec);
    for text in &plan.warnings {
        op.out.warn(&format!("WARNING: {text}"));
    }
    let (ours, theirs) = Channel::pair().map_err(BootError::system("make a channel"))?;
    let ahead = ProgramsAhead::by(&theirs);
    let begun = Begun { plan: &plan, facts: &facts, asked, ahead, spec: toml::render(op.spec), ids };
    match fork().map_err(BootError::system("start the supervisor"))? {
        Side::Child => {
            drop(ours);
            supervise(op, &args, goal, begun, &theirs, lock)
        }
        Side::Parent(pid, _) => {
            drop(theirs);
            let answer = loop {
                let answer = ours.receive().map_err(BootError::system("hear the supervisor"))?;
                match answer.text.as_str() {
                    PROGRAMS => {
                        fault::point("programs-asked");
                        net::hand_over(&plan.image.links, &ours);
                    }
                    text if text.starts_with(WARNING) => op.out.warn(text),
                    _ => break answer,
                }
            };
            match answer.text.as_str() {
                "ok" => Ok(()),
                "" => {
                    // The supervisor was killed in the middle. Its things end with it, unless init runs already;
                    // leftovers are removed now.
                    let _ = process::wait(pid);
                    match running::find(op.store.root(), op.name) {
                        Some(left) => take_down(op, &left, StopReason::Halt)?,
                        None => recover_and_remove_files(op.store.root(), op.name),
                    }
                    op.out.warn("zoneadmd ended before the zone was up; what it made has been undone");
                    Err(BootError::Call)
                }
                text => {
                    op.out.warn(text);
                    Err(BootError::Call)
                }
            }
        }
    }
}

/// The supervisor's life from the fork on.
fn supervise(
    op: &Op<'_>,
    args: &BootArgs,
    goal: Goal,
    begun: Begun<'_>,
    report: &Channel,
    lock: &Locked,
) -> ! {
    // A process of its own: no terminal, no folder, no session of the caller is kept.
    let _ = rustix::process::setsid();
    let _ = rustix::process::chdir("/");
    process::default_sigchld();
    // Process 1 of a ready zone waits with these open: a caller that reads until the end would wait too.
    exec::stdio_to_null();
    // A pipe of the caller's among them would not end for its reader as long as process 1 waits.
    let kept = lock.descriptors().chain([report.as_fd().as_raw_fd()]).chain(trace::descriptor());
    let kept: Vec<_> = kept.collect();
    let _ = process::close_all_but(&kept);
    if !begun.plan.image.links.is_empty() {
        // Where nobody is there to make them the supervisor does.
        let _ = report.send(PROGRAMS, &[]);
    }
    let (root, name) = (op.store.root(), op.name);
    let tell = |text: &str| {
        // The command that asked may be gone; the console gets it, too.
        let _ = report.send(&format!("{WARNING}{text}"), &[]);
    };
    match bring_up(root, name, args, goal, begun, &tell) {
        Ok(supervisor) => {
            lock.release();
            trace::to_system();
            let sent = report.send("ok", &[]);
            drop(sent);
            supervisor.become_daemon()
        }
        Err(e) => {
            let _ = report.send(&e.to_string(), &[]);
            lock.release();
            process::exit_now(1)
        }
    }
}

/// Brings a zone up in this process, which becomes its supervisor. `tell` receives warnings for the administrator.
///
/// # Errors
/// [`UpError`]; everything has been undone then, but for the parts that the error names.
pub fn bring_up(
    root: &Root,
    name: &ZoneName,
    args: &BootArgs,
    goal: Goal,
    begun: Begun<'_>,
    tell: &dyn Fn(&str),
) -> Result<Supervisor, UpError> {
    let dir = root.zone_run(name);
    make_run_dir(root, &dir).map_err(UpError::of(format!("cannot make {}", dir.shown())))?;
    let mut console = Console::take_over_or_open(root, name).map_err(UpError::of("console"))?;
    let line = args.line();
    if goal == Goal::Running {
        let with = if line.is_empty() { String::new() } else { format!(" with arguments: {line}") };
        let root = if args.writable { " with a writable root" } else { "" };
        console.notice(&format!("NOTICE: Zone booting up{root}{with}"));
    }
    for word in &args.ignored {
        console.notice(&format!("WARNING: Ignoring invalid boot arguments: {word}"));
    }
    let result = up(root, name, goal, begun, &console);
    match result {
        Ok((running, ready)) => {
            for text in &ready.report.warnings {
                console.notice(&format!("{WARNING}{text}"));
                tell(text);
            }
            if goal == Goal::Ready {
                console.notice("NOTICE: Zone readied");
            }
            Ok(Supervisor::new(root.clone(), name.clone(), console, running, ready))
        }
        Err(error) => {
            console.boot_failed();
            remove_run_files(root, name, console.has_client());
            if console.has_client() {
                // A client watches: the console stays, served by a process that does nothing else.
                stay_for_client(root, name, console);
            }
            Err(error)
        }
    }
}
