//! Fills a zone's root from one of the sources.

use std::path::Path;

use super::{InstallError, archive, image, suite};
use crate::apply::etc::{follow, sparse};
use crate::apply::fault;
use crate::apply::{Notice, Op};
use crate::plan::install::{InstallSource, Keep, LeaveOut};
use crate::spec::idmap::{IdMap, PRIVATE_FIRST};
use crate::spec::shown::Show;
use crate::sys::path::{At, Dir};
use crate::sys::tree::{Copied, CopyFilter, CopyRule, Measured, copy_tree, measure};

/// File systems that can share blocks between files: there, a copy needs hardly any room.
const SHARING: [u32; 4] = [0x9123_683e, 0x5846_5342, 0xca45_1a4e, 0x2fc1_2fc1];

/// Fills an empty root.
pub(super) fn populate(op: &mut Op<'_>, root: &Dir, source: &InstallSource) -> Result<(), InstallError> {
    match source {
        InstallSource::Sparse { host } => {
            // verify and boot report an impossible range.
            let ids =
                IdMap::from_spec(op.spec).ok().flatten().unwrap_or_else(|| IdMap::private(PRIVATE_FIRST));
            sparse::populate(host, root, &ids)?;
            Ok(follow::note(host, &op.store.root().zone_lib(op.name))?)
        }
        InstallSource::Host { host, enter, leave_out } => {
            let filter = host_filter(host, enter, leave_out);
            copy(op, &Dir::open_host(host)?, root, &filter).map(drop)
        }
        InstallSource::Tree { dir } => copy(op, &Dir::open_host(dir)?, root, &CopyFilter::new()).map(drop),
        InstallSource::Archive { file, packing } => archive::populate(op.out, root, file, *packing),
        InstallSource::Image { layout, layers } => image::populate(op.out, root, layout, layers),
        InstallSource::Suite(wanted) => suite::populate(op, root, wanted),
    }
}

fn host_filter(host: &Path, enter: &[std::path::PathBuf], leave_out: &[LeaveOut]) -> CopyFilter {
    let mut filter = CopyFilter::new();
    for LeaveOut { path, keep } in leave_out {
        let rule = match keep {
            Keep::Nothing => CopyRule::Skip,
            Keep::Directory => CopyRule::Empty,
            Keep::Directories => CopyRule::DirsOnly,
        };
        // Zonepaths and our own folders come as paths of the machine.
        filter.add(path.strip_prefix(host).unwrap_or(path), rule);
    }
    for path in enter {
        filter.enter(path);
    }
    filter
}

/// Copies everything that a filter lets through, with progress, and reports the files that the copy lacks.
///
/// # Errors
/// [`InstallError`]; the target is then partly filled, but for [`InstallError::NoRoom`].
pub(super) fn copy(
    op: &mut Op<'_>,
    source: &Dir,
    to: &Dir,
    filter: &CopyFilter,
) -> Result<Copied, InstallError> {
    let from = source.path();
    let total = measure(source, filter)?;
    check_room(to, from, total)?;
    let what = format!("copying {}", from.shown());
    // Every entry costs time also when it holds no data.
    let weight = |entries: u64, bytes: u64| bytes + entries * 4096;
    let whole = weight(total.entries, total.bytes);
    let mut reported = 0;
    let mut report = |entries: u64, bytes: u64, _: &Path| {
        let done = weight(entries, bytes);
        if done >= reported + (1 << 20) {
            reported = done;
            fault::point("copying");
            op.out.progress(done.min(whole), whole, &what);
        }
    };
    let done = copy_tree(source, to, filter, &mut report)?;
    op.out.progress(whole, whole, &what);
    report_left_out(op.out, from, &done);
    Ok(done)
}

/// Refuses to begin what cannot fit.
fn check_room(root: &Dir, from: &Path, total: Measured) -> Result<(), InstallError> {
    let stat = rustix::fs::fstatfs(root).at("read", root.path())?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let kind = stat.f_type as u32;
    let free = stat.f_bavail.saturating_mul(u64::try_from(stat.f_bsize).unwrap_or(0));
    // 512 bytes at least for a name and an inode.
    let need = total.bytes + total.entries * 512;
    if free < need && !SHARING.contains(&kind) {
        let (from, root) = (from.to_owned(), root.path().to_owned());
        return Err(InstallError::NoRoom { from, root, need, free });
    }
    Ok(())
}

/// Says what of a source is not in the zone.
fn report_left_out(out: &mut dyn Notice, from: &Path, done: &Copied) {
    let from = from.shown();
    if done.devices > 0 {
        out.say(&format!(
            "{from}: {} device nodes were left out; a zone's /dev is made at boot.",
            done.devices
        ));
    }
    if !done.lost_xattrs.is_empty() {
        let list: Vec<_> = done.lost_xattrs.iter().map(|name| name.shown().to_string()).collect();
        out.say(&format!(
            "{from}: the file system of the zone cannot keep these attributes: {}.",
            list.join(", ")
        ));
    }
    if let Some((path, count)) = &done.unlisted {
        out.say(&format!(
            "{from}: attributes were left out where their names are longer than 64 KiB together, which is all that \
             the kernel lists: {} and {} others.",
            path.shown(),
            count - 1
        ));
    }
    if done.foreign_ids > 0 {
        out.say(&format!(
            "{from}: entries of ids above 65535, which the zone does not have: {}.",
            done.foreign_ids
        ));
    }
}
