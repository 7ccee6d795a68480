//! Clones of a ZFS file system survive it: they are promoted, and snapshots of `zoneadm clone` are destroyed once
//! nothing needs them any more.

use super::dataset::MARK;
use crate::apply::Op;
use crate::apply::fault;
use crate::apply::zfs::holders::clones;
use crate::apply::zfs::system::ZfsSystem;
use crate::zfs::{Dataset, PromoteError, PropertySource};

/// How the names of snapshots begin that `clone` takes; a number follows.
pub(super) const LABEL: &str = "SUNWzone";

/// Promotions and renames of one removal: each takes at least one snapshot or name off the list.
const TRIES: usize = 10_000;

/// Returns the name of a snapshot that `clone` takes.
pub(super) fn label(dataset: &str, number: u64) -> String {
    format!("{dataset}@{LABEL}{number}")
}

/// Returns the number of a snapshot that is named as `clone` names them.
pub(super) fn number(snapshot: &str) -> Option<u64> {
    let digits = snapshot.split_once('@')?.1.strip_prefix(LABEL)?;
    let plain = !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    // A zone may have named snapshots of its own so, with numbers that have no next one.
    digits.parse::<u32>().ok().filter(|_| plain).map(u64::from)
}

/// Returns the highest such number among the snapshots of a dataset, 0 without any.
///
/// # Errors
/// The snapshots cannot be listed.
pub(super) fn highest(zfs: &dyn ZfsSystem, dataset: &str) -> Result<u64, String> {
    let mut highest = 0;
    for snapshot in zfs.snapshots(dataset, false) {
        let snapshot = snapshot.map_err(|e| e.to_string())?;
        highest = highest.max(number(&snapshot.name).unwrap_or(0));
    }
    Ok(highest)
}

/// Promotes clones until the file system has none. The snapshots up to the youngest cloned one go over to its clone;
/// those whose names are taken there get others before.
///
/// # Errors
/// Why a clone cannot be promoted, with its name.
pub(super) fn dependants(op: &mut Op<'_>, zfs: &dyn ZfsSystem, name: &str) -> Result<(), String> {
    for _ in 0..TRIES {
        let snapshots =
            zfs.snapshots(name, true).collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())?;
        let cloned = snapshots.iter().filter(|s| s.clones > 0);
        let Some(youngest) = cloned.max_by_key(|s| s.creation_txg) else { return Ok(()) };
        let found = clones(youngest).into_iter().filter_map(|clone| zfs.dataset(&clone).ok());
        let Some(clone) = found.max_by_key(|d| d.creation_txg) else {
            return Err(format!("{} has clones", youngest.name));
        };
        match zfs.promote(&clone.name) {
            Ok(()) => {
                let clone = &clone.name;
                op.out.say(&format!("{clone} has been promoted: it does not depend on {name} any more."));
            }
            Err(PromoteError::SnapshotExists(taken)) => {
                let label = taken.rsplit('@').next().unwrap_or(&taken);
                set_aside(zfs, name, &clone.name, label, op.name.as_str())?;
            }
            Err(e) => return Err(format!("{} cannot be promoted: {e}", clone.name)),
        }
        fault::point("clone-promoted");
    }
    Err(format!("{name} still has clones"))
}

/// Gives a snapshot a name that neither of two datasets has.
fn set_aside(zfs: &dyn ZfsSystem, name: &str, clone: &str, label: &str, zone: &str) -> Result<(), String> {
    let old = format!("{name}@{label}");
    if zfs.dataset(&old).is_err() {
        return Err(format!("{clone} cannot be promoted: the name of {clone}@{label} is taken twice"));
    }
    let candidates: Box<dyn Iterator<Item = String>> = if number(&old).is_some() {
        let first = highest(zfs, name)?.max(highest(zfs, clone)?) + 1;
        Box::new((first..).map(|n| format!("{LABEL}{n}")))
    } else {
        Box::new(
            (1..)
                .map(move |n| if n == 1 { format!("{label}-{zone}") } else { format!("{label}-{zone}-{n}") }),
        )
    };
    let free = |l: &String| [name, clone].iter().all(|d| zfs.dataset(&format!("{d}@{l}")).is_err());
    let Some(fresh) = candidates.take(TRIES).find(free) else {
        return Err(format!("{clone} cannot be promoted: no name is free for {old}"));
    };
    zfs.rename(&old, &format!("{name}@{fresh}")).map_err(|e| format!("{old} cannot be renamed: {e}"))
}

/// Lets the snapshot that a clone was made from go with the last clone of it, when `zoneadm clone` has
/// taken it. The kernel sees to that: nothing is left to do, and nothing to forget, afterwards.
pub(super) fn release_origin(zfs: &dyn ZfsSystem, name: &str) {
    let Some(origin) = zfs.dataset(name).ok().and_then(|d| d.origin) else { return };
    let ours = |s: &Dataset| s.text(MARK).is_some() && *s.source(MARK) == PropertySource::Local;
    if number(&origin).is_some() && zfs.dataset(&origin).is_ok_and(|s| ours(&s)) {
        // Where that is not possible, the snapshot stays with the space that it holds; nothing else fails.
        let _ = zfs.destroy_snaps(&[&origin], true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_snapshots() {
        for (name, n) in [
            ("t/z@SUNWzone1", Some(1)),
            ("t/z@SUNWzone42", Some(42)),
            ("t/z@SUNWzone", None),
            ("t/z@SUNWzone0", None),
            ("t/z@SUNWzone01", None),
            ("t/z@SUNWzone+1", None),
            ("t/z@SUNWzone1x", None),
            ("t/SUNWzone1", None),
            ("t/z@SUNWzone4294967295", Some(4_294_967_295)),
            ("t/z@SUNWzone18446744073709551615", None),
        ] {
            assert_eq!(number(name), n, "{name}");
        }
    }
}
