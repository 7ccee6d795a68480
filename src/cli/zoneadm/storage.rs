//! `clone`, `move`, `detach` and `attach`: their checks, functions and plans.

use std::io::Read;
use std::path::Path;

use super::args::{ArgsError, SubcommandArgs};
use super::operate::{Planned, VerbContext, VerbResult};
use super::{Exit, Zoneadm};
use crate::apply::install::{self, AttachArgs, CloneOptions, InstallError};
use crate::apply::store::Locked;
use crate::apply::verify::Purpose;
use crate::apply::{NO_ZFS_FACTS, Op, list};
use crate::plan::install::{InstallPlan, InstallStep};
use crate::spec::shown::Show;
use crate::spec::state::ZoneState;
use crate::spec::store::{StoreError, ZoneStore};
use crate::spec::verb::Verb;
use crate::spec::{ZoneName, ZoneSpec};

/// Longest manifest that is read from standard input.
const MANIFEST_MAX: u64 = 16 << 20;

/// `attach`: an attach that checks nothing and a check that attaches nothing exclude each other.
pub(super) fn check_attach(args: &SubcommandArgs) -> Result<(), ArgsError> {
    if args.has("-F") && args.has("-n") {
        return Err(ArgsError::Text("-F and -n flags are mutually exclusive"));
    }
    Ok(())
}

fn clone_args(args: &SubcommandArgs) -> CloneOptions {
    CloneOptions { copy: args.has("-m"), snapshot: args.text("-s"), datasets: args.has("--with-datasets") }
}

fn attach_args(args: &SubcommandArgs) -> AttachArgs {
    AttachArgs { force: args.has("-F"), update: args.has("-u") || args.has("-U"), host: "/".into() }
}

/// `clone`.
pub(super) fn clone(program: &mut Zoneadm, task: &VerbContext<'_>) -> VerbResult {
    let args = clone_args(task.args);
    program.verify(task.spec, if args.datasets { Purpose::CloneAll } else { Purpose::Install })?;
    let Some(source) = task.source else { return Err(program.sub_usage(task.verb, false)) };
    let profile = program.profile.take();
    let done = install::clone(&mut program.op(task), source, &args, profile.as_ref());
    done.map_err(|e| program.fail_install(task.verb, &e))
}

/// `move`.
pub(super) fn move_zone(program: &mut Zoneadm, task: &VerbContext<'_>) -> VerbResult {
    program.verify(task.spec, Purpose::Boot)?;
    let path = task.args.operand().unwrap_or_default();
    let moved = install::moved_spec(task.spec, &path).map_err(|e| program.fail(e))?;
    program.verify(&moved, Purpose::Move)?;
    let done = install::move_zone(&mut program.op(task), &moved);
    done.map_err(|e| program.fail_install(task.verb, &e))
}

/// `detach`, or with `-n` its manifest.
pub(super) fn detach(program: &mut Zoneadm, task: &VerbContext<'_>) -> VerbResult {
    if task.args.has("-n") {
        let op = program.op(task);
        return match install::manifest(&op) {
            Ok(text) => {
                op.out.say(text.trim_end());
                Ok(())
            }
            Err(e) => Err(program.fail(e)),
        };
    }
    program.verify(task.spec, Purpose::Boot)?;
    let done = install::detach(&mut program.op(task));
    done.map_err(|e| program.fail_install(task.verb, &e))
}

/// `attach`.
pub(super) fn attach(program: &mut Zoneadm, task: &VerbContext<'_>) -> VerbResult {
    program.verify(task.spec, Purpose::Install)?;
    let done = install::attach(&mut program.op(task), &attach_args(task.args));
    done.map_err(|e| program.fail_install(task.verb, &e))
}

/// `attach -n`: looks at a manifest. No zone is needed. None: it was not asked for.
pub(super) fn check_manifest(program: &mut Zoneadm, args: &SubcommandArgs) -> Option<VerbResult> {
    let file = Path::new(args.value("-n")?);
    // It opens the file that the words name.
    if program.caller.is_some() {
        return Some(Err(program.deny("attach", "-n is nothing for the broker: it needs no rights")));
    }
    let read = |from: &mut dyn Read| {
        let mut bytes = Vec::new();
        from.take(MANIFEST_MAX).read_to_end(&mut bytes).map(|_| bytes)
    };
    let (bytes, shown) = if file == Path::new("-") {
        (read(&mut std::io::stdin().lock()), Path::new("standard input"))
    } else {
        (std::fs::File::open(file).and_then(|mut f| read(&mut f)), file)
    };
    let checked = match bytes {
        Ok(bytes) => install::check_manifest(&bytes, shown).map_err(|e| e.to_string()),
        Err(e) => {
            let reason = crate::apply::files::reason(&e);
            Err(format!("could not open {}: {reason}", shown.shown()))
        }
    };
    Some(checked.map_err(|text| program.fail_unnamed(text)))
}

fn lines(
    program: &mut Zoneadm,
    planned: &Planned<'_>,
    plan: Result<InstallPlan, InstallError>,
) -> Result<Vec<String>, Exit> {
    let plan = plan.map_err(|e| program.fail_install(planned.verb, &e))?;
    Ok(plan.steps.iter().map(InstallStep::describe).collect())
}

/// Plans `clone`.
pub(super) fn plan_clone(program: &mut Zoneadm, planned: &Planned<'_>) -> Result<Vec<String>, Exit> {
    let source = program.source(&planned.args.operand().unwrap_or_default(), planned.name)?;
    let source = program.source_spec(&source)?;
    let profile = program.profile.take();
    let args = clone_args(planned.args);
    let plan = install::clone_plan(&program.op_shown(planned), &source, &args, profile.as_ref());
    lines(program, planned, plan)
}

/// Plans `move`.
pub(super) fn plan_move(program: &mut Zoneadm, planned: &Planned<'_>) -> Result<Vec<String>, Exit> {
    let moved = install::moved_spec(planned.spec, &planned.args.operand().unwrap_or_default());
    let plan = moved.and_then(|moved| install::move_plan(&program.op_shown(planned), &moved));
    lines(program, planned, plan)
}

/// Plans `detach`.
pub(super) fn plan_detach(program: &mut Zoneadm, planned: &Planned<'_>) -> Result<Vec<String>, Exit> {
    // `-n` prints only, and a plan of it is one of detach.
    program.require_state(planned.verb, program.store.state(planned.name), &[])?;
    let plan = install::detach_plan(&program.op_shown(planned));
    lines(program, planned, plan)
}

/// Plans `attach`.
pub(super) fn plan_attach(program: &mut Zoneadm, planned: &Planned<'_>) -> Result<Vec<String>, Exit> {
    let plan = install::attach_plan(&program.op_shown(planned), &attach_args(planned.args));
    lines(program, planned, plan.map(|(plan, _)| plan))
}

impl Zoneadm {
    /// Finds the zone that is cloned.
    pub(super) fn source(&mut self, text: &str, target: &ZoneName) -> Result<ZoneName, Exit> {
        let name = match ZoneName::new(text) {
            Ok(name) if name.is_global() => {
                return Err(self.fail("clone operation is invalid for the global zone."));
            }
            Ok(name) if name.is_reserved() => {
                return Err(self.fail(format!("{text}: templates cannot be cloned")));
            }
            Ok(name) => name,
            Err(e) => return Err(self.fail(e)),
        };
        if name == *target {
            return Err(self.fail("a zone cannot be cloned from itself"));
        }
        match list::find(&self.store, text) {
            Ok(Some(found)) if found == name => Ok(name),
            Ok(_) => Err(self.fail(format!("{text}: {}", StoreError::NoZone))),
            Err(e) => Err(self.fail(format!("{text}: {e}"))),
        }
    }

    /// Takes the locks of two zones in the order of their names, as every program does: two of them never wait for
    /// each other.
    pub(super) fn lock_both(
        &mut self,
        verb: &Verb,
        one: &ZoneName,
        other: &ZoneName,
    ) -> Result<(Locked, Locked), Exit> {
        if one < other {
            return Ok((self.lock(verb, one)?, self.lock(verb, other)?));
        }
        let other = self.lock(verb, other)?;
        Ok((self.lock(verb, one)?, other))
    }

    /// Returns the spec of the zone that is cloned, if it is exactly installed.
    pub(super) fn source_spec(&mut self, source: &ZoneName) -> Result<ZoneSpec, Exit> {
        match self.store.state(source) {
            Ok(Some(ZoneState::Installed)) => {}
            Ok(Some(state)) => {
                let text = format!("{}: zone {source} is {state}; installed is required.", self.name);
                self.report.plain(&text);
                return Err(Exit::Failed);
            }
            Ok(None) => return Err(self.fail(format!("{source}: {}", StoreError::NoZone))),
            Err(e) => return Err(self.fail(format!("{source}: {e}"))),
        }
        match self.store.load(source) {
            Ok(Some(stored)) => Ok(stored.spec),
            Ok(None) => Err(self.fail(format!("{source}: {}", StoreError::NoZone))),
            Err(e) => Err(self.fail(format!("{source}: {e}"))),
        }
    }

    /// Undoes or finishes an interrupted move, detach or attach of a zone, and says whether there was one. The
    /// caller has its lock.
    pub(super) fn recover(&mut self, lock: &Locked) -> Result<bool, Exit> {
        let name = lock.name();
        if !install::is_needed(self.store.root(), name) {
            return Ok(false);
        }
        // Without a spec there is no zone to bring in order.
        let Ok(Some(spec)) = lock.spec() else { return Ok(false) };
        let mut op = Op::under(lock, &self.store, &spec, &NO_ZFS_FACTS, &mut self.report);
        install::recover(&mut op).map(|()| true).map_err(|e| self.fail(e))
    }
}
