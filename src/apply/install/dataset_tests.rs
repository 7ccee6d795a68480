//! The file system of a zone: made, marked and destroyed, with a failure at each call.

use std::path::Path;

use super::clone_tests::{mark, with_op};
use super::{dataset, detach, transfer};
use crate::apply::zfs::fake::{FakeZfs, with_each_fault};
use crate::apply::zfs::system::ZfsSystem;
use crate::plan::install::DatasetPlace;
use crate::sys::path::Dir;
use crate::zfs::nvlist::List;

const PATH: &str = "/zones/zion";

fn destroy(zfs: &FakeZfs) -> (Result<bool, String>, Vec<String>) {
    with_op(|op| dataset::destroy_in(zfs, op, "nowhere/z", Path::new(PATH), true).map_err(|e| e.to_string()))
}

fn made() -> FakeZfs {
    let zfs = FakeZfs::new(&["nowhere"]);
    zfs.filesystem("nowhere/z", &mark("zion"));
    zfs.taken("nowhere/z@1", &List::new());
    zfs.taken("nowhere/z@2", &List::new());
    zfs
}

#[test]
fn what_cannot_be_mounted_is_not_left_behind() {
    let temp = tempfile::tempdir().expect("a folder");
    let create = |zfs: &FakeZfs| {
        let dir = Dir::open_host(temp.path()).expect("a folder");
        with_op(|op| dataset::create_in(zfs, op, "nowhere/z", Path::new(PATH), &dir)).0
    };
    let calls = with_each_fault(
        || FakeZfs::new(&["nowhere"]),
        create,
        |failed, before, zfs, done| {
            let why = done.expect_err("no kernel has it");
            let left = failed.is_some_and(|call| call.starts_with("destroy"));
            assert_eq!(
                (zfs.state() != before, why.contains("; 'nowhere/z': input/output error")),
                (left, left)
            );
            // The mark is there: the next command knows whose it is.
            assert!(!left || destroy(zfs).0 == Ok(true) && zfs.state() == before);
        },
    );
    assert_eq!(calls, ["create nowhere/z", "destroy nowhere/z"]);
}

#[test]
fn the_file_system_goes_with_its_snapshots_and_a_failure_can_be_repeated() {
    let make = || {
        let zfs = made();
        zfs.busy_for("nowhere/z", 2);
        zfs
    };
    let calls = with_each_fault(make, destroy, |failed, before, zfs, (done, _)| {
        if let Some(failed) = failed {
            assert!(
                done.is_err_and(|e| e.contains("nowhere/z") && e.contains("input/output error")),
                "{failed}"
            );
            assert_eq!(zfs.state() == before, failed.contains('@'), "{failed}");
            assert_eq!(destroy(zfs).0, Ok(true), "{failed}");
        }
        assert_eq!(zfs.state(), "nowhere\n", "{failed:?}");
    });
    let last = "destroy nowhere/z";
    assert_eq!(calls, ["destroy nowhere/z@1 nowhere/z@2", last, last, last]);
}

#[test]
fn a_clone_is_promoted_before_its_origin_goes() {
    let zfs = made();
    zfs.cloned("nowhere/c", "nowhere/z@1", &List::new());
    let (done, heard) = destroy(&zfs);
    assert_eq!((done, zfs.state().as_str()), (Ok(true), "nowhere\nnowhere/c\nnowhere/c@1\n"));
    assert_eq!(heard, ["nowhere/c has been promoted: it does not depend on nowhere/z any more."]);
}

#[test]
fn what_is_not_the_zones_or_is_needed_stays() {
    let zfs = made();
    zfs.held("nowhere/z@1", "backup");
    let (_, heard) = destroy(&zfs);
    assert!(heard[0].contains("something depends on it"), "{heard:?}");
    assert!(heard[0].contains("nowhere/z@1 is held as 'backup'; use zfs release backup nowhere/z@1"));
    for other in [mark("neo"), List::new()] {
        let other_zfs = FakeZfs::new(&["nowhere"]);
        other_zfs.filesystem("nowhere/z", &other);
        assert_eq!((destroy(&other_zfs).0, other_zfs.calls().len()), (Ok(false), 0));
    }
    // A mark that came with a stream, or from above, proves nothing.
    let received = FakeZfs::new(&["nowhere"]);
    received.filesystem("nowhere/z", &List::new());
    received.received("nowhere/z", dataset::MARK, "zion");
    assert_eq!((destroy(&received).0, received.calls().len()), (Ok(false), 0));
    assert_eq!(zfs.calls().len(), 0);
}

#[test]
fn a_mark_is_put_back_as_it_was() {
    let make = || {
        let zfs = FakeZfs::new(&["nowhere"]);
        zfs.filesystem("nowhere/z", &List::new());
        zfs.received("nowhere/z", dataset::MARK, "neo");
        zfs
    };
    let both = |zfs: &FakeZfs| ["zion", ""].map(|zone| detach::mark_in(zfs, "nowhere/z", zone));
    let calls = with_each_fault(make, both, |failed, before, zfs, [there, back]| {
        let at = failed.map(|call| call.starts_with("set"));
        assert_eq!((there.is_err(), back.is_err()), (at == Some(true), at == Some(false)));
        assert_eq!(zfs.state() == before, at != Some(false), "{failed:?}");
        let local = zfs.dataset("nowhere/z").expect("there").text(dataset::MARK) == Some("zion");
        assert_eq!(local, at == Some(false));
    });
    assert_eq!(calls.len(), 2);
}

#[test]
fn a_file_system_that_moves_comes_back_from_any_call() {
    let make = || {
        let zfs = made();
        zfs.set_props("nowhere/z", &[("mountpoint", "/zones/zion")].into()).expect("set");
        zfs.filesystem("nowhere/z/home", &List::new());
        zfs.busy_for("nowhere/z", 1);
        zfs.forget_calls();
        zfs
    };
    let place = |name: &str, mountpoint: Option<&str>| DatasetPlace {
        name: name.to_owned(),
        path: PATH.into(),
        mountpoint: mountpoint.map(str::to_owned),
    };
    // There its mount point follows from its name.
    let (here, there) = (place("nowhere/z", Some("/zones/zion")), place("nowhere/neo", None));
    let to = |zfs: &FakeZfs, place: &DatasetPlace| {
        let now = if zfs.dataset("nowhere/z").is_ok() { "nowhere/z" } else { "nowhere/neo" };
        with_op(|op| transfer::relocate(zfs, op.store.root(), now, place)).0
    };
    let calls = with_each_fault(
        make,
        |zfs| to(zfs, &there),
        |failed, before, zfs, done| {
            match failed {
                None => {
                    assert_eq!(done, Ok(()));
                    let moved =
                        before.replace("nowhere/z", "nowhere/neo").replace(" mountpoint=/zones/zion", "");
                    assert_eq!(zfs.state(), moved);
                }
                Some(call) => {
                    assert!(done.is_err_and(|e| e.contains("input/output error")), "{call}");
                    assert_eq!(zfs.state() == before, call.starts_with("rename"), "{call}");
                }
            }
            to(zfs, &here).expect("back");
            assert_eq!(zfs.state(), before, "{failed:?}");
        },
    );
    let rename = "rename nowhere/z to nowhere/neo";
    assert_eq!(calls, [rename, rename, "inherit mountpoint of nowhere/neo"]);
}
