//! An interrupted move, detach or attach is undone, or finished where the deciding step was done. Any next command
//! on the zone does this first.

use super::journal::{self, Phase, Unfinished};
use super::{InstallError, run};
use crate::apply::Op;
use crate::apply::paths::Root;
use crate::plan::install::InstallStep;
use crate::spec::ZoneName;
use crate::spec::store::ZoneStore;

/// Says whether there is something to recover of a zone. Reads only.
pub fn is_needed(root: &Root, zone: &ZoneName) -> bool {
    let left = journal::unfinished(&root.zone_lib(zone));
    matches!(left, Ok(Some(left)) if left.plan.is_transfer())
}

/// Takes back or finishes an interrupted transfer. The caller has the zone's lock.
///
/// # Errors
/// [`InstallError`] when it cannot be taken back; the next command tries again.
pub fn recover(op: &mut Op<'_>) -> Result<(), InstallError> {
    let folder = op.store.root().zone_lib(op.name);
    let Some(Unfinished { plan, last }) = journal::unfinished(&folder)? else { return Ok(()) };
    if !plan.is_transfer() {
        return Ok(());
    }
    let operation = plan.operation.clone();
    let undoing = matches!(last, Some((_, Phase::UndoStarted | Phase::Undone | Phase::UndoFailed)));
    let decided = match plan.decisive() {
        Some(at) => !undoing && has_effect(op, &plan.steps[at])?,
        None => false,
    };
    if let (true, Some(at)) = (decided, plan.decisive()) {
        for step in &plan.steps[at + 1..] {
            if let Err(e) = run::carry_out(op, step) {
                op.out.warn(&format!("WARNING: could not {}: {e}", step.describe()));
            }
        }
        op.out.warn(&format!("WARNING: an interrupted {operation} of the zone has been finished"));
    } else if let Some((last, _)) = last {
        let count = plan.steps.len().min(last + 1);
        for inverse in plan.steps[..count].iter().rev().filter_map(InstallStep::inverse) {
            run::carry_out(op, &inverse)?;
        }
        op.out.warn(&format!("WARNING: an interrupted {operation} of the zone has been taken back"));
    }
    journal::discard(&folder)
}

/// Says whether the deciding step has been done.
fn has_effect(op: &Op<'_>, step: &InstallStep) -> Result<bool, InstallError> {
    Ok(match step {
        InstallStep::SetZonepath { from: _, to } => {
            let stored = op.store.load(op.name)?;
            stored.is_some_and(|s| s.spec.props.text("zonepath") == Some(to))
        }
        InstallStep::NoteState { from: _, to } => op.store.installed_state(op.name)? == *to,
        _ => false,
    })
}
