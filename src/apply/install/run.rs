//! Carries the plans of install and uninstall out, one step after the other, each in the journal.

use std::path::Path;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::{
    InstallError, clone, console, dataset, delegated, detach, fresh, identity, journal, observe, snapshots,
    source, suite, sysconfig, transfer,
};
use crate::apply::Op;
use crate::apply::etc::{follow, sparse};
use crate::apply::fault;
use crate::apply::journal::Journal;
use crate::apply::journal::steps::{self, Interruption};
use crate::plan::install::{InstallPlan, InstallSource, InstallStep};
use crate::spec::shown::Show;
use crate::spec::state::ZoneState;
use crate::sys::path::{At, Owned};
use crate::sys::tree::remove_tree;

/// Carries a plan out. A failure before the point of no return undoes everything; a later one leaves the zone
/// incomplete, and the journal beside it. A zone that moves, is detached or attached is never incomplete: a failure
/// after the deciding step is reported as a warning.
///
/// # Errors
/// The first failure. Failures while undoing are reported as warnings.
pub(super) fn run(op: &mut Op<'_>, plan: &InstallPlan) -> Result<(), InstallError> {
    op.lock()?;
    let folder = op.store.root().zone_lib(op.name);
    let mut journal = journal::begin(&folder, plan)?;
    let mut changed = Vec::new();
    let numbered = plan.steps.iter().enumerate();
    let done = steps::carry_out(
        &mut journal,
        numbered,
        |step| step.describe(),
        |i, step| {
            match carry_out(op, step) {
                Ok(true) => changed.push(i),
                Ok(false) => {}
                Err(error) if plan.only_removes() && notes_removal(step) && error.is_full() => {
                    op.out.warn(&format!("WARNING: {error}; removing the zone makes room, and goes on"));
                }
                Err(error) if plan.is_past_return(i) && plan.is_transfer() => {
                    // The zone is in its new place; leftovers in the old one must not fail the operation.
                    op.out.warn(&format!("WARNING: could not {}: {error}", step.describe()));
                }
                Err(error) => return Err(error),
            }
            Ok(())
        },
    );
    let (number, error) = match done {
        Ok(()) => return journal::discard(&folder),
        Err(Interruption::Journal(e)) => return Err(e.into()),
        Err(Interruption::Step { number, error }) => (number, error),
    };
    if plan.is_past_return(number) && !is_untouched(op, &plan.steps[number]) {
        return Err(InstallError::Unfinished(Box::new(error)));
    }
    if plan.is_transfer() {
        // Its steps have parts, and their inverses find out which were done.
        changed.push(number);
    }
    if take_back(op, plan, &changed, &mut journal)? {
        journal::discard(&folder)?;
    } else {
        journal.sync()?;
    }
    Err(error)
}

/// Says whether a root is as empty as before, although the step was to fill it: nothing is lost with it.
fn is_untouched(op: &Op<'_>, step: &InstallStep) -> bool {
    let InstallStep::Populate { root, source } = step else { return false };
    let Ok(dir) = observe::open(op.store.root(), root) else { return false };
    match source {
        InstallSource::Suite(_) => suite::is_bare(&dir),
        _ => dir.entries().is_ok_and(|entries| entries.is_empty()),
    }
}

/// Says whether a step only notes that the zone is being removed.
fn notes_removal(step: &InstallStep) -> bool {
    matches!(step, InstallStep::SetState { from: _, to: ZoneState::Incomplete })
}

/// Carries out the inverses of the steps that have changed something, last one first, and says
/// whether all went well.
fn take_back(
    op: &mut Op<'_>,
    plan: &InstallPlan,
    changed: &[usize],
    journal: &mut Journal,
) -> Result<bool, InstallError> {
    let ways: Vec<_> = changed.iter().filter_map(|&i| Some((i, plan.steps[i].inverse()?))).collect();
    let done = steps::take_back(Some(journal), &ways, |way| match carry_out(op, way) {
        Ok(_) => true,
        Err(error) => {
            op.out.warn(&format!("could not {}: {error}", way.describe()));
            false
        }
    });
    Ok(done?)
}

/// Carries out one step and says whether it has changed anything that its inverse takes back.
pub(super) fn carry_out(op: &mut Op<'_>, step: &InstallStep) -> Result<bool, InstallError> {
    let root = op.store.root();
    match step {
        InstallStep::SetState { from: _, to } => op.store.set_installed_state(op.name, *to)?,
        InstallStep::MakeDir { path, mode } => {
            let (parent, name) = observe::open_parent(root, path)?;
            return Ok(parent.make_dir(Path::new(&name), Owned::root(*mode))?.1);
        }
        InstallStep::MakeDataset { name, path, mode } => return dataset::make(op, name, path, *mode),
        InstallStep::DestroyDataset { name, path, fresh } => {
            return dataset::destroy(op, name, path, *fresh);
        }
        InstallStep::OwnDir { path, mode } => {
            op.out.say(&format!("{}: changing permissions to {mode:04o}.", path.shown()));
            observe::open(root, path)?.set_owned(Owned::root(*mode))?;
        }
        InstallStep::MakeRoot { path, storage: _ } => {
            let (parent, name) = observe::open_parent(root, path)?;
            rustix::fs::mkdirat(&parent, &name, rustix::fs::Mode::from_raw_mode(0o700)).at("create", path)?;
            observe::open(root, path)?.set_owned(Owned::root(0o755))?;
        }
        InstallStep::Populate { root: path, source } => {
            let dir = observe::open(root, path)?;
            source::populate(op, &dir, source)?;
        }
        InstallStep::MountPoints { root: path, dirs, links } => {
            identity::mount_points(&observe::open(root, path)?, dirs, links)?;
        }
        InstallStep::Identity { root: path, hostname, host, lock_passwords } => {
            let dir = observe::open(root, path)?;
            identity::identity(&dir, hostname, host, *lock_passwords)?;
            // A root that was made on this host from its own software has no secrets, nor another host's terminals.
            if !lock_passwords {
                let keys = fresh::renew(op, &dir, hostname)?;
                if !keys.is_empty() {
                    let keys = keys.join(", ");
                    op.out.say(&format!("The ssh host keys were made anew: {keys}."));
                }
                console::login(op, &dir)?;
            }
        }
        InstallStep::Configure { root: path, profile } => {
            let dir = observe::open(root, path)?;
            // A profile that does not fit costs no zone.
            if let Err(e) = sysconfig::configure(op, &dir, profile) {
                op.out.warn(&format!("WARNING: the zone is installed, without all of its profile: {e}"));
            }
        }
        InstallStep::Sync { root: path } => {
            rustix::fs::syncfs(observe::open(root, path)?).at("sync", path)?;
        }
        InstallStep::RemoveTree { path } => {
            let (parent, name) = match observe::open_parent(root, path) {
                Err(InstallError::Path(e)) if e.is_not_found() => return Ok(false),
                other => other?,
            };
            let what = format!("removing {}", path.shown());
            let mut report = |done| {
                fault::point("tree-removing");
                op.out.progress(done, 0, &what);
            };
            remove_tree(&parent, &name, &mut report)?;
        }
        InstallStep::RemoveDir { path } => return remove_dir(op, path),
        InstallStep::KeepUserData { path } => warn_user_data(op, path),
        InstallStep::TakeSnapshots { names, zone } => return snapshots::take(names, zone.as_str()),
        InstallStep::DestroySnapshots { names, zone } => return snapshots::destroy(names, zone.as_str()),
        InstallStep::ReleaseSnapshots { names } => return snapshots::release(op, names),
        InstallStep::CloneDataset { snapshot, name, path } => {
            return snapshots::clone(op, snapshot, name, path);
        }
        InstallStep::CloneTree { from, snapshot, to, source } => {
            let done = delegated::clone_tree(op, from, snapshot, to, source);
            return done.or_else(|e| {
                // A partial file is removed at once: the step counts as not done.
                delegated::destroy_tree(from, snapshot, to)?;
                Err(e)
            });
        }
        InstallStep::DestroyTree { from, snapshot, to } => {
            return delegated::destroy_tree(from, snapshot, to);
        }
        InstallStep::CopyZone { from, to, moving } => return clone::copy_zone(op, from, to, *moving),
        InstallStep::Empty { path } => return transfer::empty(op, path),
        InstallStep::Reidentify { root: path, source, hostname } => {
            let dir = observe::open(root, path)?;
            follow::inherit(&root.zone_lib(source), &root.zone_lib(op.name))?;
            fresh::reidentify(op, &dir, source.as_str(), hostname)?;
        }
        InstallStep::RenameDir { from, to } => return transfer::rename_dir(op, from, to),
        InstallStep::MoveDataset { from, to } => return transfer::move_dataset(op, from, to),
        InstallStep::SetZonepath { from: _, to } => return Ok(op.store.set_zonepath(op.name, to)?),
        InstallStep::CleanUp { path, mounted } => return transfer::clean_up(op, path, *mounted),
        InstallStep::NoteState { from: _, to } => op.store.note_state(op.name, *to)?,
        InstallStep::WriteManifest { path } => return detach::write_manifest(op, path),
        InstallStep::RemoveFile { path } => return detach::remove_file(op, path),
        InstallStep::RenameFile { from, to } => return detach::rename_file(op, from, to),
        InstallStep::Adopt { uuid, first } => op.store.adopt(op.name, uuid.as_deref(), *first)?,
        InstallStep::Refresh { root: path, host } => {
            sparse::refresh(host, &observe::open(root, path)?)?;
            follow::note(host, &root.zone_lib(op.name))?;
        }
        InstallStep::MarkDataset { name, from: _, to } => return detach::set_owner_mark(name, to),
    }
    Ok(true)
}

/// Removes a directory if it is empty; else names an entry of it.
pub(super) fn remove_dir(op: &mut Op<'_>, path: &Path) -> Result<bool, InstallError> {
    let (parent, name) = match observe::open_parent(op.store.root(), path) {
        Err(InstallError::Path(e)) if e.is_not_found() => return Ok(false),
        other => other?,
    };
    match rustix::fs::unlinkat(&parent, &name, AtFlags::REMOVEDIR) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(Errno::NOTEMPTY | Errno::EXIST) => {
            warn_user_data(op, path);
            Ok(false)
        }
        Err(e) => Err(e).at("remove", path)?,
    }
}

fn warn_user_data(op: &mut Op<'_>, path: &Path) {
    op.out.warn(&format!(
        "WARNING: Unable to completely remove {}\nbecause it contains additional user data.  Only the \
         standard directory\nentries have been removed.",
        path.shown()
    ));
}
