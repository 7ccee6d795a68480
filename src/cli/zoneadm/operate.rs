//! The subcommands that change a zone, and their dry run: what all of them do before and after, as their rows in
//! the table say it, and the functions of those that start, stop, install and remove a zone.

use std::ffi::OsString;
use std::io::{self, BufRead, IsTerminal, Write};

use super::args::{ArgsError, SubcommandArgs};
use super::table::{self, Run, Subcommand};
use super::{Exit, Zoneadm, page};
use crate::apply::boot::{self, BootArgs};
use crate::apply::store::Locked;
use crate::apply::verify::{self, Purpose};
use crate::apply::{NO_ZFS_FACTS, Notice, Op, dataset, install, running, verbs};
use crate::plan::install::InstallStep;
use crate::plan::step::{BootStep, InsideStep};
use crate::spec::schema::ResourceKind;
use crate::spec::shown::Show;
use crate::spec::state::{Start, ZoneState};
use crate::spec::store::{StoreError, ZoneStore};
use crate::spec::verb::{Lock, SpecUse, Verb};
use crate::spec::verify::Severity;
use crate::spec::{ZoneName, ZoneSpec};

/// How a function of a subcommand ends; the error has been said.
pub(super) type VerbResult = Result<(), Exit>;

/// The object of a subcommand's function: a zone that is locked, whose state allows it, and for which the caller has
/// the rights. All of it was read under the lock.
pub(super) struct VerbContext<'a> {
    pub(super) verb: &'static Verb,
    pub(super) args: &'a SubcommandArgs,
    pub(super) lock: &'a Locked,
    pub(super) spec: &'a ZoneSpec,
    /// The spec of the zone that is the source.
    pub(super) source: Option<&'a ZoneSpec>,
    /// Whether the zone has been killed while another zoneadm waited for its shutdown.
    killed: bool,
}

/// The input for the plan of a subcommand.
pub(super) struct Planned<'a> {
    pub(super) verb: &'static Verb,
    pub(super) args: &'a SubcommandArgs,
    pub(super) name: &'a ZoneName,
    pub(super) spec: &'a ZoneSpec,
}

/// `boot`.
pub(super) fn boot_zone(program: &mut Zoneadm, task: &VerbContext<'_>) -> VerbResult {
    program.verify(task.spec, Purpose::Boot)?;
    let done = verbs::boot(&mut program.op_verified(task), &task.args.boot_args());
    done.map_err(|e| program.fail(e))
}

/// `ready`.
pub(super) fn ready(program: &mut Zoneadm, task: &VerbContext<'_>) -> VerbResult {
    program.verify(task.spec, Purpose::Boot)?;
    let done = verbs::ready(&mut program.op_verified(task));
    done.map_err(|e| program.fail(e))
}

/// `reboot`.
pub(super) fn reboot(program: &mut Zoneadm, task: &VerbContext<'_>) -> VerbResult {
    program.verify(task.spec, Purpose::Boot)?;
    // The file systems that verify has looked at change before the zone is booted again.
    let done = verbs::reboot(&mut program.op(task), &task.args.boot_args());
    done.map_err(|e| program.fail(e))
}

/// `halt`.
pub(super) fn halt(program: &mut Zoneadm, task: &VerbContext<'_>) -> VerbResult {
    let done = verbs::halt(&mut program.op(task), task.killed);
    done.map_err(|e| program.fail(e))
}

/// `shutdown`.
pub(super) fn shutdown(program: &mut Zoneadm, task: &VerbContext<'_>) -> VerbResult {
    let seconds = task.args.number("-t").unwrap_or(verbs::SHUTDOWN_SECONDS);
    let args = task.args.boot_args();
    let reboot_with = task.args.has("-r").then_some(&args);
    let done = verbs::shutdown(&mut program.op(task), reboot_with, seconds);
    done.map_err(|e| program.fail(e))
}

/// `verify`.
pub(super) fn verify_zone(program: &mut Zoneadm, task: &VerbContext<'_>) -> VerbResult {
    program.verify(task.spec, Purpose::Verify)
}

/// `install`.
pub(super) fn install_zone(program: &mut Zoneadm, task: &VerbContext<'_>) -> VerbResult {
    program.verify(task.spec, Purpose::Install)?;
    let profile = program.profile.take();
    let done = install::install(&mut program.op(task), &task.args.words, profile.as_ref());
    done.map_err(|e| program.fail_install(task.verb, &e))
}

/// Why a user may not have this zone installed.
pub(super) fn install_is_closed(args: &SubcommandArgs, spec: &ZoneSpec) -> Option<&'static str> {
    if !args.words.is_empty() {
        return Some("options of install name files of the host");
    }
    // A sparse root shows of the host only what every user of it can read.
    let is_whole = spec.stored(ResourceKind::InheritPkgDir).is_empty();
    is_whole.then_some("a whole root would be copied from files of the host that only root may read")
}

/// `uninstall`.
pub(super) fn uninstall(program: &mut Zoneadm, task: &VerbContext<'_>) -> VerbResult {
    let done = install::uninstall(&mut program.op(task), &[]);
    done.map_err(|e| program.fail_install(task.verb, &e))
}

/// Asks whether a zone is to be uninstalled.
pub(super) fn confirm_uninstall(
    program: &mut Zoneadm,
    name: &ZoneName,
    args: &SubcommandArgs,
) -> Result<bool, Exit> {
    if args.has("-F") {
        return Ok(true);
    }
    if !io::stdin().is_terminal() {
        return Err(program.fail("Input not from terminal and -F not specified: uninstall not done."));
    }
    loop {
        let mut out = io::stdout();
        let _ = write!(out, "Are you sure you want to uninstall zone {name} (y/[n])? ");
        let _ = out.flush();
        let mut line = String::new();
        match io::stdin().lock().read_line(&mut line) {
            Ok(0) | Err(_) => return Ok(false),
            Ok(_) => {}
        }
        match line.trim().chars().next().map(|c| c.to_ascii_lowercase()) {
            Some('y') => return Ok(true),
            Some('n') | None => return Ok(false),
            Some(_) => {}
        }
    }
}

/// Returns the state that `mark` is to set; none when root may not set it that way.
fn mark_state(args: &SubcommandArgs) -> Option<ZoneState> {
    match (args.operand().as_deref(), args.has("-F")) {
        (Some("incomplete"), _) => Some(ZoneState::Incomplete),
        (Some("configured"), true) => Some(ZoneState::Configured),
        (Some("installed"), true) => Some(ZoneState::Installed),
        _ => None,
    }
}

/// Checks the state that `mark` is to set.
pub(super) fn check_mark(args: &SubcommandArgs) -> Result<(), ArgsError> {
    mark_state(args).map(drop).ok_or(ArgsError::Silent)
}

/// `mark`.
pub(super) fn mark(program: &mut Zoneadm, task: &VerbContext<'_>) -> VerbResult {
    let state = mark_state(task.args).unwrap_or(ZoneState::Incomplete);
    program.store.set_installed_state(task.lock.name(), state).map_err(|e| program.fail(e))
}

/// Plans `boot`.
pub(super) fn plan_boot(program: &mut Zoneadm, planned: &Planned<'_>) -> Result<Vec<String>, Exit> {
    program.boot_lines(planned, |_| true)
}

/// Plans `ready`: all of a boot but its last step.
pub(super) fn plan_ready(program: &mut Zoneadm, planned: &Planned<'_>) -> Result<Vec<String>, Exit> {
    program.boot_lines(planned, |step| !matches!(step, BootStep::Inside(InsideStep::Init { .. })))
}

/// Plans `halt`.
pub(super) fn plan_stop(program: &mut Zoneadm, planned: &Planned<'_>) -> Result<Vec<String>, Exit> {
    Ok(program.stop_lines(planned.name, false))
}

/// Plans `reboot`.
pub(super) fn plan_reboot(program: &mut Zoneadm, planned: &Planned<'_>) -> Result<Vec<String>, Exit> {
    let mut lines = program.stop_lines(planned.name, false);
    lines.extend(program.boot_lines(planned, |_| true)?);
    Ok(lines)
}

/// Plans `shutdown`.
pub(super) fn plan_shutdown(program: &mut Zoneadm, planned: &Planned<'_>) -> Result<Vec<String>, Exit> {
    let mut lines = program.stop_lines(planned.name, true);
    if planned.args.has("-r") {
        lines.extend(program.boot_lines(planned, |_| true)?);
    }
    Ok(lines)
}

/// Plans `install`.
pub(super) fn plan_install(program: &mut Zoneadm, planned: &Planned<'_>) -> Result<Vec<String>, Exit> {
    let profile = program.profile.take();
    let plan = install::install_plan(&program.op_shown(planned), &planned.args.words, profile.as_ref());
    let plan = plan.map_err(|e| program.fail_install(planned.verb, &e))?;
    Ok(plan.steps.iter().map(InstallStep::describe).collect())
}

/// Plans `uninstall`.
pub(super) fn plan_uninstall(program: &mut Zoneadm, planned: &Planned<'_>) -> Result<Vec<String>, Exit> {
    let plan = install::uninstall_plan(&program.op_shown(planned), &[]);
    let plan = plan.map_err(|e| program.fail_install(planned.verb, &e))?;
    Ok(plan.steps.iter().map(InstallStep::describe).collect())
}

/// Returns the states that options open.
fn also_in(args: &SubcommandArgs) -> Vec<ZoneState> {
    args.options().flat_map(|o| o.also_in).copied().collect()
}

impl Zoneadm {
    /// Returns an operation on the zone of a task.
    pub(super) fn op<'a>(&'a mut self, task: &'a VerbContext<'_>) -> Op<'a> {
        Op::under(task.lock, &self.store, task.spec, &NO_ZFS_FACTS, &mut self.report)
    }

    /// Returns the same, with the file systems that verify has looked at a moment ago.
    fn op_verified<'a>(&'a mut self, task: &'a VerbContext<'_>) -> Op<'a> {
        Op::under(task.lock, &self.store, task.spec, &self.seen, &mut self.report)
    }

    /// Returns an operation that is only shown.
    pub(super) fn op_shown<'a>(&'a mut self, planned: &'a Planned<'_>) -> Op<'a> {
        Op::shown(&self.store, planned.name, planned.spec, &NO_ZFS_FACTS, &mut self.report)
    }

    /// Runs a subcommand that may change a zone.
    pub(super) fn change(&mut self, sub: &'static Subcommand, args: &[OsString]) -> Exit {
        let done = self.read_args(sub, args).and_then(|args| {
            let alone = sub.alone.and_then(|alone| alone(self, &args));
            alone.unwrap_or_else(|| self.try_change(sub, &args))
        });
        self.report.finish();
        done.map_or_else(|end| end, |()| Exit::Good)
    }

    fn try_change(&mut self, sub: &'static Subcommand, args: &SubcommandArgs) -> VerbResult {
        let verb = &sub.verb;
        self.require_root(sub)?;
        let name = self.subject(verb.name)?;
        self.authorize(sub, args, &name, false)?;
        for note in &args.notes {
            self.report.warn(&format!("WARNING: {note}"));
        }
        self.profile = self.read_profile(args.profile.as_deref());
        if let Some(confirm) = sub.confirm {
            // A subcommand that would be refused asks no question.
            self.require_state(verb, self.store.state(&name), &[])?;
            if !confirm(self, &name, args)? {
                return Ok(());
            }
        }
        let (lock, source, killed) = match verb.lock {
            Lock::ZoneAndSource => {
                let source = self.source(&args.operand().unwrap_or_default(), &name)?;
                let (lock, source) = self.lock_both(verb, &name, &source)?;
                (lock, Some(source), false)
            }
            Lock::Interrupting => {
                let (lock, killed) = self.lock_interrupting(verb, &name)?;
                (lock, None, killed)
            }
            Lock::Zone | Lock::Own => (self.lock(verb, &name)?, None, false),
        };
        let state = match lock.state() {
            // Deleted while this program waited for the lock: its lock file is not to be left behind.
            Ok(None) => {
                lock.forget();
                return Err(self.fail(StoreError::NoZone));
            }
            state => state,
        };
        let done = self.under(&lock, state, sub, args, source.as_ref(), killed);
        drop(source);
        done
    }

    /// Carries a subcommand out on a zone that is locked. All that decides about it is read now; its state has
    /// been.
    fn under(
        &mut self,
        lock: &Locked,
        mut state: Result<Option<ZoneState>, StoreError>,
        sub: &'static Subcommand,
        args: &SubcommandArgs,
        source: Option<&Locked>,
        killed: bool,
    ) -> VerbResult {
        let verb = &sub.verb;
        if let Some(source) = source {
            self.recover(source)?;
        }
        if self.recover(lock)? {
            state = lock.state();
        }
        self.require_state(verb, state, &also_in(args))?;
        let source = match source {
            Some(source) => Some(self.source_spec(source.name())?),
            None => None,
        };
        let spec = self.spec(verb.spec, lock.name())?;
        self.authorize_again(verb, &spec, source.as_ref())?;
        let task = VerbContext { verb, args, lock, spec: &spec, source: source.as_ref(), killed };
        match sub.run {
            Run::OnZone(run) => run(self, &task),
            Run::Whole(_) => Err(self.sub_usage(verb, false)),
        }
    }

    /// Fails with the error of an installation, with its hint or the usage.
    pub(super) fn fail_install(&mut self, verb: &Verb, e: &install::InstallError) -> Exit {
        self.fail(e);
        if e.is_usage() {
            return self.sub_usage(verb, false);
        }
        if let Some(hint) = e.hint() {
            self.report.hint(hint);
        }
        Exit::Failed
    }

    /// Locks a zone; on a terminal it names the process that it waits for.
    pub(super) fn lock(&mut self, verb: &Verb, name: &ZoneName) -> Result<Locked, Exit> {
        let what = format!("zoneadm {}", verb.name);
        match self.store.try_lock(name, &what) {
            Ok(Some(lock)) => return Ok(lock),
            Ok(None) => {
                let holder = self.store.holder(name);
                self.report.hint(&format!(
                    "another zoneadm may have an operation in progress; waiting for it: {holder}"
                ));
            }
            Err(e) => return Err(self.fail(e)),
        }
        self.store.lock(name, &what).map_err(|e| self.fail(e))
    }

    /// Locks a zone that is to be halted. A zone for whose orderly shutdown another zoneadm waits is killed
    /// first; says whether it was.
    fn lock_interrupting(&mut self, verb: &Verb, name: &ZoneName) -> Result<(Locked, bool), Exit> {
        match self.store.try_lock(name, &format!("zoneadm {}", verb.name)) {
            Ok(Some(lock)) => return Ok((lock, false)),
            Ok(None) => {}
            Err(e) => return Err(self.fail(e)),
        }
        let killed = verbs::interrupt_shutdown(self.store.root(), name).map_err(|e| self.fail(e))?;
        Ok((self.lock(verb, name)?, killed))
    }

    /// Goes on when the zone's state allows the verb, or is one of those that its options open.
    pub(super) fn require_state(
        &mut self,
        verb: &Verb,
        state: Result<Option<ZoneState>, StoreError>,
        also_in: &[ZoneState],
    ) -> VerbResult {
        let state = match state {
            Ok(Some(state)) => state,
            Ok(None) => return Err(self.fail(StoreError::NoZone)),
            Err(e) => return Err(self.fail(e)),
        };
        if also_in.contains(&state) {
            return Ok(());
        }
        match verb.start(state) {
            // The operation says itself that there is nothing to do: it looks again under the lock, and puts
            // right a supervisor that has died.
            Ok(Start::Go | Start::Already(_)) => Ok(()),
            Err(e) => Err(self.fail(e)),
        }
    }

    /// Reads the spec, if the verb cannot do without.
    fn spec(&mut self, needed: SpecUse, name: &ZoneName) -> Result<ZoneSpec, Exit> {
        if needed == SpecUse::ForRights && self.caller.is_none() {
            return Ok(ZoneSpec::new(name.clone()));
        }
        match self.store.load(name) {
            Ok(Some(stored)) => Ok(stored.spec),
            Ok(None) | Err(StoreError::Invalid(_)) if needed == SpecUse::OrEmpty => {
                Ok(ZoneSpec::new(name.clone()))
            }
            Ok(None) => Err(self.fail(StoreError::NoZone)),
            Err(e) => Err(self.fail(e)),
        }
    }

    /// Checks a spec against the host, and prints the findings.
    pub(super) fn verify(&mut self, spec: &ZoneSpec, purpose: Purpose) -> VerbResult {
        let name = &spec.name;
        let found = verify::check(&self.store, name, spec, purpose).map_err(|e| self.fail(e))?;
        let is_sound = found.is_ok();
        let mut good = is_sound;
        self.seen = found.seen;
        for line in &found.lines {
            self.report.plain(&line.text);
        }
        // verify has to refuse everything that boot would refuse.
        let installed = || self.store.state(name).ok().flatten() == Some(ZoneState::Installed);
        if purpose == Purpose::Verify && good && installed() {
            let op = Op::shown(&self.store, name, spec, &NO_ZFS_FACTS, &mut self.report);
            if let Err(e) = boot::plan_boot(&op, &BootArgs::default()) {
                self.report.plain(&e.to_string());
                good = false;
            }
        }
        if good {
            return Ok(());
        }
        debug_assert!(found.lines.iter().any(|l| l.severity == Severity::Error) || is_sound);
        self.report.plain(&format!("{}: zone {name} failed to verify", self.name));
        Err(Exit::Failed)
    }

    /// Prints the plan of a subcommand.
    pub(super) fn plan(&mut self, plan: &'static Subcommand, args: &[OsString]) -> Exit {
        let Some((command, rest)) = args.split_first() else { return self.sub_usage(&plan.verb, false) };
        let command = command.to_string_lossy();
        if matches!(command.as_ref(), "-?" | "--help") {
            return self.sub_usage(&plan.verb, true);
        }
        let Some(sub) = table::find(&command) else { return self.sub_usage(&plan.verb, false) };
        let Some(lines) = sub.plan else { return self.sub_usage(&plan.verb, false) };
        match self.read_args(sub, rest).and_then(|args| self.plan_lines(sub, lines, &args)) {
            Ok(lines) => page(
                |out| {
                    let mut numbered = lines.iter().zip(1..);
                    numbered.try_for_each(|(line, i)| writeln!(out, "{i:>3}  {line}"))
                },
                Exit::Good,
            ),
            Err(end) => end,
        }
    }

    fn plan_lines(
        &mut self,
        sub: &'static Subcommand,
        lines: table::PlanLines,
        args: &SubcommandArgs,
    ) -> Result<Vec<String>, Exit> {
        let verb = &sub.verb;
        self.require_root(sub)?;
        let name = self.subject(verb.name)?;
        self.authorize(sub, args, &name, true)?;
        self.require_state(verb, self.store.state(&name), &also_in(args))?;
        let spec = self.spec(verb.spec, &name)?;
        self.authorize_again(verb, &spec, None)?;
        self.profile = self.read_profile(args.profile.as_deref());
        lines(self, &Planned { verb, args, name: &name, spec: &spec })
    }

    /// Returns the steps of a boot that are wanted. Its warnings are printed.
    fn boot_lines(
        &mut self,
        planned: &Planned<'_>,
        is_wanted: impl Fn(&BootStep) -> bool,
    ) -> Result<Vec<String>, Exit> {
        let plan = boot::plan_boot(&self.op_shown(planned), &planned.args.boot_args());
        let plan = plan.map_err(|e| self.fail(e))?;
        for text in &plan.warnings {
            self.report.warn(&format!("WARNING: {text}"));
        }
        Ok(plan.steps.iter().filter(|step| is_wanted(step)).map(BootStep::describe).collect())
    }

    /// Says how a running zone is stopped.
    fn stop_lines(&self, name: &ZoneName, in_order: bool) -> Vec<String> {
        let Some(zone) = running::find(self.store.root(), name) else { return Vec::new() };
        let first = if in_order {
            format!("ask init (process {}) to end the zone, and wait for it", zone.init)
        } else {
            format!("kill process 1 (process {}), and with it all others of the zone", zone.init)
        };
        let mut lines = vec![first];
        let given = dataset::registry::recorded(&self.store.root().zone_run(name));
        lines.extend(given.iter().map(|d| format!("dataset {d}: take it from the zone; zoned stays on")));
        lines.extend(zone.cgroup.iter().map(|path| format!("remove cgroup {path}")));
        lines.push(format!("remove {}", self.store.root().zone_run(name).shown()));
        lines
    }
}
