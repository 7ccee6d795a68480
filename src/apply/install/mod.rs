//! Operations on a zone's files on disk: `install`, `clone`, `uninstall`, `move`, `detach`, `attach`.
//!
//! ```text
//!            install, clone
//! configured ──────────────▶ incomplete ──▶ installed ──▶ move
//!     ▲ ▲                        │            │   │ ▲
//!     │ └────────────────────────┴─uninstall──┘   │ │   (through incomplete)
//!     └───────────────────────────────detach──────┘ attach
//! ```
//!
//! The zone is `incomplete` from before the first change until after the last one is on disk. So however the
//! operation ends, by a kill as well, the state is true, and `uninstall` brings the zone back to `configured`; an
//! interrupted `uninstall` is finished by the next one. A refusal, or a failure before the root is filled, leaves
//! the zone `configured` and nothing behind. A zone that is moved, detached or attached stays whole: any next
//! command takes an interrupted one back or finishes it.
//!
//! On disk everything belongs to whom it belongs in the source: the zone's root user is id 0 there,
//! and the zone's ids are shifted by the mount at boot, never by a walk over the tree.

mod acl;
pub mod archive;
mod clone;
#[cfg(test)]
mod clone_tests;
mod console;
mod dataset;
#[cfg(test)]
mod dataset_tests;
mod delegated;
mod detach;
mod fresh;
mod identity;
mod image;
pub mod journal;
mod left_out;
mod observe;
mod promote;
mod recover;
mod request;
mod run;
mod snapshots;
mod source;
mod suite;
pub mod sysconfig;
mod tarball;
mod transfer;
mod unpack;

use std::path::{Path, PathBuf};

use thiserror::Error;

pub use clone::{CloneOptions, clone, clone_plan};
pub use detach::{AttachArgs, attach, attach_plan, check_manifest, detach, detach_plan, manifest};
pub use recover::{is_needed, recover};
pub use transfer::{move_plan, move_zone, moved_spec};

use crate::apply::boot::observe::{RootInit, root_init, zone_root};
use crate::apply::console::client;
use crate::apply::etc::EtcError;
use crate::apply::teardown::{recover_after_crash, remove_run_files};
use crate::apply::{Op, running};
use crate::plan::boot::IDLE_SYSTEMD;
use crate::plan::install::{
    InstallPlan, InstallPlanError, InstallRequest, InstallSource, plan_install, plan_uninstall,
};
use crate::plan::sysconfig::SysConfig;
use crate::spec::ResourceKind;
use crate::spec::shown::Show;
use crate::spec::store::StoreError;
use crate::sys::path::PathError;
use crate::sys::tree::{CopyError, RemoveError};

/// Why a zone could not be installed or uninstalled. Printed after `zoneadm: zone 'NAME': `.
#[derive(Debug, Error)]
pub enum InstallError {
    /// The arguments are not understood.
    #[error("{0}")]
    Usage(String),
    /// There is no plan; nothing has been touched.
    #[error(transparent)]
    Refused(#[from] InstallPlanError),
    /// A source is not usable; nothing has been touched.
    #[error("{what} {}: {why}", path.shown())]
    Source {
        /// The expected form.
        what: &'static str,
        /// Path.
        path: PathBuf,
        /// Its fault.
        why: String,
    },
    /// The zone runs.
    #[error("uninstall operation is invalid for {0} zones.")]
    Active(crate::spec::state::ZoneState),
    /// Not enough room.
    #[error(
        "cannot copy {}: it needs {} MiB, and {} has {} MiB free", from.shown(), mib(*need), root.shown(), mib(*free)
    )]
    NoRoom {
        /// Source.
        from: PathBuf,
        /// Target.
        root: PathBuf,
        /// Bytes needed.
        need: u64,
        /// Bytes free.
        free: u64,
    },
    /// A place where boot mounts is not a directory.
    #[error("{} must be a directory: the zone could not boot", .0.shown())]
    NotADirectory(PathBuf),
    /// A ZFS file system cannot be destroyed.
    #[error("cannot destroy the ZFS file system {name}: {why}")]
    Dataset {
        /// Its name.
        name: String,
        /// The reason.
        why: String,
    },
    /// A ZFS file system cannot be moved.
    #[error("cannot move the ZFS file system {name}: {why}")]
    Relocate {
        /// Its name.
        name: String,
        /// The reason.
        why: String,
    },
    /// A snapshot or clone cannot be made; copying may help.
    #[error("cannot {what}: {why}")]
    Clone {
        /// The action that failed.
        what: String,
        /// The reason.
        why: String,
    },
    /// The request cannot be carried out; nothing has been touched.
    #[error("{0}")]
    Impossible(String),
    /// The operation failed on the way; the zone is incomplete.
    #[error("{0}")]
    Unfinished(Box<Self>),
    /// The store.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// An archive.
    #[error("{0}")]
    Archive(#[from] archive::ArchiveError),
    /// A copy.
    #[error("{0}")]
    Copy(#[from] CopyError),
    /// A removal.
    #[error("{0}")]
    Remove(#[from] RemoveError),
    /// The system.
    #[error("{0}")]
    Path(#[from] PathError),
}

impl From<EtcError> for InstallError {
    fn from(error: EtcError) -> Self {
        match error {
            EtcError::Path(e) => Self::Path(e),
            EtcError::Copy(e) => Self::Copy(e),
            EtcError::Remove(e) => Self::Remove(e),
            EtcError::Store(e) => Self::Store(e),
        }
    }
}

fn mib(bytes: u64) -> u64 {
    bytes >> 20
}

impl InstallError {
    /// Says whether the command line was wrong: the caller prints usage and exits with 2.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Usage(_))
    }

    /// Says whether a file system is full or a quota used up.
    fn is_full(&self) -> bool {
        match self {
            Self::Path(e) => e.is_full(),
            Self::Store(StoreError::Full(_)) => true,
            _ => false,
        }
    }

    /// Returns the administrator's next command, for a terminal.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unfinished(_) => {
                Some("the zone is incomplete now; 'zoneadm uninstall' clears it, then try again")
            }
            _ => None,
        }
    }
}

/// Installs a zone. Arguments: none, or one of `-d DIR`, `-a ARCHIVE`, `-o LAYOUT`, `-s SUITE`; and
/// `-x nodataset`, with which the zonepath is a directory also where it could be a ZFS file system. A profile is
/// applied to the new root.
///
/// # Errors
/// [`InstallError`]; [`InstallError::Unfinished`] leaves the zone incomplete, all others as it was.
pub fn install(op: &mut Op<'_>, args: &[String], profile: Option<&SysConfig>) -> Result<(), InstallError> {
    let plan = install_plan(op, args, profile)?;
    run::run(op, &plan)?;
    tell_init(op);
    Ok(())
}

/// Says which init a zone of a root of its own will run.
fn tell_init(op: &mut Op<'_>) {
    let whole = op.spec.stored(ResourceKind::InheritPkgDir).is_empty();
    let Some(root) = zone_root(op.store.root(), op.spec).ok().filter(|_| whole) else { return };
    match root_init(&root) {
        RootInit::Own(name) => {
            op.out.say(&format!("The zone boots with the init of its root, {}.", name.shown()));
        }
        RootInit::None => op
            .out
            .say("This root has no init; the zone boots with the built-in one, which starts no services."),
        RootInit::IdleSystemd => op.out.warn(&format!("WARNING: {IDLE_SYSTEMD}")),
    }
}

/// Returns what [`install`] would do. Touches nothing.
///
/// # Errors
/// [`InstallError`] when it would be refused.
pub fn install_plan(
    op: &Op<'_>,
    args: &[String],
    profile: Option<&SysConfig>,
) -> Result<InstallPlan, InstallError> {
    let (request, own_dataset) = request::parse(args)?;
    Ok(plan_from(op, &request, own_dataset)?.with_profile(profile))
}

/// Installs from a source that is given as data.
///
/// # Errors
/// As [`install`].
pub fn install_from(op: &mut Op<'_>, source: InstallSource) -> Result<(), InstallError> {
    let plan = plan_from(op, &InstallRequest::Given(source), true)?;
    run::run(op, &plan)
}

fn plan_from(op: &Op<'_>, request: &InstallRequest, own_dataset: bool) -> Result<InstallPlan, InstallError> {
    let sparse = !op.spec.stored(ResourceKind::InheritPkgDir).is_empty();
    let host = match request {
        InstallRequest::Given(InstallSource::Sparse { host } | InstallSource::Host { host, .. }) => {
            host.as_path()
        }
        _ => Path::new("/"),
    };
    let mut facts = observe::install_facts(op, host, *request == InstallRequest::Default && !sparse)?;
    facts.dataset = facts.dataset.filter(|_| own_dataset);
    Ok(plan_install(&facts, op.spec, request)?)
}

/// Removes what [`install`] has made, also after an interrupted install or uninstall. The caller has
/// asked before. The only argument is `-F`, which the caller has used for that.
///
/// # Errors
/// [`InstallError`]; [`InstallError::Unfinished`] leaves the zone incomplete, all others as it was.
pub fn uninstall(op: &mut Op<'_>, args: &[String]) -> Result<(), InstallError> {
    let plan = uninstall_plan(op, args)?;
    let (root, name) = (op.store.root(), op.name);
    refuse_read_only(op)?;
    client::dismiss(root, name, "NOTICE: Zone is being uninstalled.  Disconnecting...");
    // Leftovers of the zone's last run after a crash: no later command would look for them.
    recover_after_crash(root, name);
    remove_run_files(root, name, false);
    run::run(op, &plan)
}

/// Refuses to begin what could not be finished: on a read-only file system neither the tree nor the state
/// can be removed.
fn refuse_read_only(op: &Op<'_>) -> Result<(), InstallError> {
    let root = op.store.root();
    let zonepath = op.spec.zonepath().map(|path| root.host_path(Path::new(&path)));
    for path in [root.zone_lib(op.name)].into_iter().chain(zonepath) {
        let read_only = rustix::fs::statvfs(&path)
            .is_ok_and(|s| s.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY));
        if read_only {
            return Err(InstallError::Impossible(format!(
                "the file system of {} is read-only; nothing has been removed: remount it with \
                 'mount -o remount,rw', then try again",
                path.shown()
            )));
        }
    }
    Ok(())
}

/// Returns what [`uninstall`] would do. Touches nothing.
///
/// # Errors
/// [`InstallError`] when it would be refused.
pub fn uninstall_plan(op: &Op<'_>, args: &[String]) -> Result<InstallPlan, InstallError> {
    if let Some(word) = args.iter().find(|a| *a != "-F" && !a.is_empty()) {
        return Err(InstallError::Usage(format!("unknown argument '{word}'")));
    }
    if let Some(running) = running::find(op.store.root(), op.name) {
        return Err(InstallError::Active(running.state));
    }
    if let Some(strays) = running::strays(op.store.root(), op.name) {
        return Err(InstallError::Impossible(strays.to_string()));
    }
    Ok(plan_uninstall(&observe::uninstall_facts(op)?, op.name)?)
}
