//! Snapshots, clones and promotions: done and taken back, with a failure at each call.

use std::path::Path;

use super::dataset::MARK;
use super::{InstallError, delegated, promote, snapshots};
use crate::apply::op::HeardMessages;
use crate::apply::paths::Root;
use crate::apply::store::FileStore;
use crate::apply::zfs::fake::{FakeZfs, with_each_fault};
use crate::apply::zfs::system::ZfsSystem;
use crate::apply::{NO_ZFS_FACTS, Op};
use crate::spec::{ZoneName, ZoneSpec};
use crate::zfs::nvlist::List;

/// Runs an operation on zone `zion` below a root of its own; returns what it returned and said.
pub(super) fn with_op<T>(deed: impl FnOnce(&mut Op<'_>) -> T) -> (T, Vec<String>) {
    let temp = tempfile::tempdir().expect("a folder");
    let store = FileStore::open(Root::new(Some(temp.path())));
    let name = ZoneName::new("zion").expect("a name");
    let spec = ZoneSpec::new(name.clone());
    let mut out = HeardMessages::default();
    let done = deed(&mut Op::shown(&store, &name, &spec, &NO_ZFS_FACTS, &mut out));
    (done, out.0)
}

pub(super) fn mark(zone: &str) -> List {
    [(MARK, zone)].into()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Clones of two snapshots; the second has a snapshot of its own by the name of one that has to move to it.
fn cloned() -> FakeZfs {
    let zfs = FakeZfs::new(&["tank"]);
    zfs.filesystem("tank/z", &mark("zion"));
    zfs.taken("tank/z@SUNWzone1", &mark("neo"));
    zfs.taken("tank/z@a", &List::new());
    zfs.cloned("tank/c", "tank/z@SUNWzone1", &List::new());
    zfs.cloned("tank/d", "tank/z@a", &List::new());
    zfs.taken("tank/d@SUNWzone1", &List::new());
    zfs
}

#[test]
fn clones_survive_and_a_failed_promotion_can_be_repeated() {
    let free = format!(
        "tank\ntank/c origin=tank/d@SUNWzone2\ntank/d\ntank/d@SUNWzone1\n\
         tank/d@SUNWzone2 {MARK}=neo\ntank/d@a\ntank/z origin=tank/d@a {MARK}=zion\n"
    );
    let promote = |zfs: &FakeZfs| with_op(|op| promote::dependants(op, zfs, "tank/z"));
    let calls = with_each_fault(cloned, promote, |failed, before, zfs, (done, heard)| {
        match failed {
            None => {
                done.expect("promoted");
                assert_eq!(heard, ["tank/d has been promoted: it does not depend on tank/z any more."]);
            }
            Some(call) => {
                let why = done.expect_err(call);
                let cannot =
                    if call.starts_with("rename") { "cannot be renamed" } else { "cannot be promoted" };
                assert!(why.contains(cannot) && why.contains("input/output error"), "{call}: {why}");
                // At most one snapshot has another name; none is lost, and all clones have their origins.
                let renamed = before.replace("tank/z@SUNWzone1", "tank/z@SUNWzone2");
                let state = zfs.state();
                assert!(state == before || state == renamed, "{call}: {state}");
                promote(zfs).0.expect("the second time");
            }
        }
        assert_eq!(zfs.state(), free, "{failed:?}");
    });
    assert_eq!(
        calls,
        ["promote tank/d", "rename tank/z@SUNWzone1 to tank/z@SUNWzone2", "promote tank/d"]
            .map(str::to_owned)
    );
}

#[test]
fn only_our_own_origin_goes_and_a_failure_keeps_it() {
    let make = || {
        let zfs = FakeZfs::new(&["tank"]);
        zfs.filesystem("tank/o", &mark("neo"));
        zfs.taken("tank/o@SUNWzone1", &mark("zion"));
        zfs.taken("tank/o@SUNWzone2", &List::new());
        zfs.cloned("tank/z", "tank/o@SUNWzone1", &List::new());
        zfs.cloned("tank/y", "tank/o@SUNWzone2", &List::new());
        zfs
    };
    let release =
        |zfs: &FakeZfs| ["tank/z", "tank/y", "tank/o"].map(|name| promote::release_origin(zfs, name));
    let calls = with_each_fault(make, release, |failed, before, zfs, _| {
        assert_eq!(zfs.state() == before, failed.is_some(), "{failed:?}");
        ["tank/z", "tank/y"].iter().for_each(|name| zfs.destroy(name).expect("destroyed"));
        assert!(zfs.dataset("tank/o@SUNWzone2").is_ok());
        assert_eq!(zfs.dataset("tank/o@SUNWzone1").is_ok(), failed.is_some());
    });
    assert_eq!(calls, ["destroy tank/o@SUNWzone1, deferred"]);
}

#[test]
fn snapshots_are_taken_back_and_those_of_others_stay() {
    let make = || {
        let zfs = FakeZfs::new(&["tank"]);
        // Its mark is inherited by every snapshot of it, which proves nothing.
        zfs.filesystem("tank/z", &mark("zion"));
        zfs.filesystem("tank/z/a", &List::new());
        zfs.taken("tank/z@old", &List::new());
        zfs.taken("tank/z/a@old", &mark("neo"));
        zfs
    };
    let new = names(&["tank/z@new", "tank/z/a@new"]);
    let all = names(&["tank/z@new", "tank/z/a@new", "tank/z@old", "tank/z/a@old", "tank/z@none"]);
    let calls = with_each_fault(
        make,
        |zfs| {
            let taken = snapshots::take_all(zfs, &new, "zion");
            (
                taken.map_err(|e| e.to_string()),
                snapshots::destroy_ours(zfs, &all, "zion").map_err(|e| e.to_string()),
            )
        },
        |failed, before, zfs, (taken, gone)| match failed {
            None => assert_eq!((taken, gone, zfs.state()), (Ok(true), Ok(true), before.to_owned())),
            Some("snapshot tank/z@new tank/z/a@new") => {
                assert!(taken.is_err_and(|e| e.contains("tank/z@new, tank/z/a@new")));
                assert_eq!((gone, zfs.state()), (Ok(false), before.to_owned()));
            }
            Some(_) => {
                assert!(taken.is_ok() && gone.is_err_and(|e| e.contains("destroy snapshots")));
                assert_eq!(snapshots::destroy_ours(zfs, &all, "zion").map_err(|e| e.to_string()), Ok(true));
                assert_eq!(zfs.state(), before);
            }
        },
    );
    assert_eq!(calls.len(), 2, "{calls:?}");
}

#[test]
fn a_snapshot_with_a_clone_goes_with_it() {
    let zfs = FakeZfs::new(&["tank"]);
    zfs.filesystem("tank/z", &List::new());
    zfs.taken("tank/z@1", &mark("zion"));
    zfs.cloned("tank/c", "tank/z@1", &List::new());
    with_op(|op| snapshots::let_go(&zfs, op, &names(&["tank/z@1"]))).0.expect("released");
    assert!(zfs.dataset("tank/z@1").is_ok());
    zfs.destroy("tank/c").expect("destroyed");
    assert!(zfs.dataset("tank/z@1").is_err());
    // A failure is no failure of the zone, which is there.
    let (done, heard) = with_op(|op| snapshots::let_go(&zfs, op, &names(&["nopool/z@1"])));
    assert!(done.is_ok_and(|done| done));
    assert!(
        heard[0].starts_with("warning: WARNING: snapshots will have to be destroyed by hand: "),
        "{heard:?}"
    );
}

#[test]
fn a_clone_that_cannot_be_mounted_is_destroyed() {
    let make = || {
        let zfs = FakeZfs::new(&["nowhere"]);
        zfs.filesystem("nowhere/z", &[("compression", 2u64), ("quota", 1 << 30)].into());
        zfs.taken("nowhere/z@1", &List::new());
        zfs
    };
    let clone = |zfs: &FakeZfs| {
        let path = Path::new("/zones/new");
        with_op(|op| snapshots::make_clone(zfs, op, "nowhere/z@1", "nowhere/new", path)).0
    };
    let calls = with_each_fault(make, clone, |failed, before, zfs, done| {
        let why = done.expect_err("no kernel has it").to_string();
        let destroyed = failed.is_none_or(|call| call.starts_with("clone"));
        assert_eq!(zfs.state() == before, destroyed, "{failed:?}");
        assert_eq!(why.contains("cannot destroy nowhere/new"), !destroyed, "{failed:?}: {why}");
        let d = zfs.dataset("nowhere/new");
        assert!(d.map_or(destroyed, |d| d.number("quota") == Some(1 << 30) && d.text(MARK) == Some("zion")));
    });
    assert_eq!(calls, ["clone nowhere/new of nowhere/z@1", "destroy nowhere/new"]);
}

fn delegation() -> FakeZfs {
    let zfs = FakeZfs::new(&["tank"]);
    zfs.filesystem("tank/z", &[("zoned", 1u64), ("snapdir", 2)].into());
    zfs.filesystem("tank/z/a", &[("mountpoint", "/a"), ("sharenfs", "on")].into());
    zfs.volume("tank/z/vol");
    ["tank/z@1", "tank/z/a@1", "tank/z/vol@1"].iter().for_each(|s| zfs.taken(s, &List::new()));
    // Made after the snapshot.
    zfs.filesystem("tank/z/new", &List::new());
    zfs
}

fn text(done: Result<bool, InstallError>) -> Result<bool, String> {
    done.map_err(|e| e.to_string())
}

#[test]
fn a_tree_is_cloned_whole_or_taken_back() {
    let clone = |zfs: &FakeZfs| {
        text(with_op(|op| delegated::clone_members(zfs, op, "tank/z", "1", "tank/y", None)).0)
    };
    let calls = with_each_fault(delegation, clone, |failed, before, zfs, done| {
        if let Some(failed) = failed {
            let member = failed.split(' ').nth(1).expect("a name").replace("tank/y", "tank/z");
            assert!(done.is_err_and(|e| e.starts_with(&format!("cannot clone {member}: "))), "{failed}");
        } else {
            assert_eq!(done, Ok(true));
            let made = "tank/y origin=tank/z@1 sharenfs=off sharesmb=off snapdir=2 zoned=1\n\
                        tank/y/a origin=tank/z/a@1 mountpoint=/a sharenfs=off sharesmb=off\n\
                        tank/y/vol volume origin=tank/z/vol@1\n";
            assert_eq!(zfs.state(), before.replace("tank/z snapdir", &format!("{made}tank/z snapdir")));
        }
        assert!(delegated::destroy_clones(zfs, "tank/z", "1", "tank/y").is_ok());
        assert_eq!(zfs.state(), before, "{failed:?}");
    });
    assert_eq!(
        calls,
        ["clone tank/y of tank/z@1", "clone tank/y/a of tank/z/a@1", "clone tank/y/vol of tank/z/vol@1"]
            .map(str::to_owned)
    );
}

#[test]
fn a_tree_that_is_destroyed_in_part_is_destroyed_by_the_next_try() {
    let make = || {
        let zfs = delegation();
        with_op(|op| delegated::clone_members(&zfs, op, "tank/z", "1", "tank/y", None)).0.expect("cloned");
        zfs.busy_for("tank/y/a", 2);
        zfs.forget_calls();
        zfs
    };
    let destroy = |zfs: &FakeZfs| text(delegated::destroy_clones(zfs, "tank/z", "1", "tank/y"));
    let calls = with_each_fault(make, destroy, |failed, _, zfs, done| {
        if let Some(failed) = failed {
            let clone = failed.strip_prefix("destroy ").expect("a name");
            assert!(done.is_err_and(|e| e.starts_with(&format!("cannot clone {clone}: "))), "{failed}");
            assert_eq!(destroy(zfs), Ok(true), "{failed}");
        }
        assert_eq!(zfs.state(), delegation().state(), "{failed:?}");
        assert_eq!(destroy(zfs), Ok(false));
    });
    let busy = "destroy tank/y/a";
    assert_eq!(calls, ["destroy tank/y/vol", busy, busy, busy, "destroy tank/y"]);
}

#[test]
fn a_dataset_of_somebody_else_is_not_destroyed() {
    let zfs = delegation();
    with_op(|op| delegated::clone_members(&zfs, op, "tank/z", "1", "tank/y", None)).0.expect("cloned");
    zfs.filesystem("tank/y/own", &List::new());
    let why = text(delegated::destroy_clones(&zfs, "tank/z", "1", "tank/y"));
    assert_eq!(why, Err("cannot clone tank/y: the dataset 'tank/y' has children".to_owned()));
    assert!(zfs.dataset("tank/y/own").is_ok() && zfs.dataset("tank/y/a").is_err());
}

#[test]
fn pairs_are_refused_before_anything_is_cloned() {
    let zfs = delegation();
    zfs.filesystem("tank/there", &List::new());
    zfs.filesystem("tank/locked", &List::new());
    zfs.computed("tank/locked", "keystatus", 1);
    let pair = |from: &str, to: &str| {
        let pairs = [(from.to_owned(), to.to_owned())];
        delegated::pairs(&zfs, pairs.into_iter()).map_err(|e| e.to_string())
    };
    for (from, to, why) in [
        ("tank/z/vol", "tank/y", "tank/z/vol is not a file system"),
        ("tank/none", "tank/y", "the dataset 'tank/none' does not exist"),
        ("tank/z", "tank/!", "'tank/!' is not a name for a dataset"),
        ("tank/z", "other/y", "other/y is in another pool than tank/z, and a clone cannot be"),
        ("tank/z", "tank/z/y", "tank/z/y and tank/z overlap"),
        (
            "tank/z",
            "tank/there",
            "tank/there exists already; name a dataset that does not, or leave the option out",
        ),
        (
            "tank/z",
            "tank/no/y",
            "tank/no, below which tank/no/y would be made, is no file system; use zfs create -p tank/no",
        ),
        ("tank/locked", "tank/y", "the key of tank/locked is not loaded; use zfs load-key tank/locked"),
    ] {
        assert_eq!(pair(from, to), Err(format!("--with-datasets: {why}")), "{from} {to}");
    }
    let found = pair("tank/z", "tank/y").expect("a pair");
    assert_eq!(found[0].members, ["tank/z", "tank/z/a", "tank/z/new", "tank/z/vol"]);
    assert_eq!(zfs.calls(), [] as [&str; 0]);
}
