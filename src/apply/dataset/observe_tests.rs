//! The facts that are found of a dataset that is to be delegated.

use super::*;
use crate::apply::zfs::fake::FakeZfs;
use crate::zfs::nvlist::List;

fn make() -> FakeZfs {
    let zfs = FakeZfs::new(&["tank"]);
    zfs.filesystem("tank/z", &[("zoned", 1u64), ("snapdir", 2), ("readonly", 1), ("quota", 1 << 30)].into());
    zfs.filesystem("tank/z/a", &[("snapdir", 1u64), ("volmode", 2)].into());
    zfs.filesystem("tank/z/b", &[("mountpoint", "/b")].into());
    zfs.volume("tank/z/vol");
    zfs.taken("tank/z@1", &List::new());
    zfs
}

fn found(zfs: &FakeZfs, name: &str) -> FilesystemTree {
    match look_up_in(zfs, name, &["quota".to_owned()]) {
        DatasetLookup::Filesystem(tree) => *tree,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn only_a_filesystem_can_be_delegated() {
    let zfs = make();
    let look = |name: &str| look_up_in(&zfs, name, &[]);
    assert!(matches!(look("tank/z@1"), DatasetLookup::Snapshot));
    assert!(matches!(look("tank/z/vol"), DatasetLookup::Volume));
    assert!(matches!(look("tank/none"), DatasetLookup::Missing));
    assert!(
        matches!(look("away/z"), DatasetLookup::Unknown(why) if why.contains("its pool away is not imported"))
    );
    assert!(matches!(look("tank/!"), DatasetLookup::Unknown(_)));
}

#[test]
fn a_tree_tells_what_the_boot_has_to_set() {
    let zfs = make();
    let tree = found(&zfs, "tank/z");
    let names: Vec<_> = tree.members.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["tank/z", "tank/z/a", "tank/z/b"]);
    assert!(tree.zoned && !tree.read_only && tree.inherits.is_none());
    // The dataset hides its snapshots already; the child shows its own.
    assert_eq!(tree.hide, ["tank/z/a"]);
    assert_eq!(tree.volmodes, [("tank/z/a".to_owned(), "dev".to_owned())]);
    assert!(tree.members.iter().all(|m| m.limits.read_only));
    assert_eq!(tree.members[0].locked_values["quota"], "1G");
    // Below another, zoned and the rest are inherited: nothing of that is its own.
    let below = found(&zfs, "tank/z/b");
    assert!(!below.zoned);
    assert_eq!(below.hide, ["tank/z/b"]);
    assert_eq!(zfs.calls(), [] as [&str; 0]);
}

#[test]
fn a_pool_below_an_alternate_root_or_read_only_is_seen_so() {
    let zfs = make();
    zfs.imported("/mnt", true);
    let tree = found(&zfs, "tank/z/b");
    assert_eq!(
        (tree.members[0].mountpoint.as_str(), tree.members[0].point.as_deref()),
        ("/b", Some("/mnt/b"))
    );
    assert!(tree.read_only);
}
