//! Attaching and detaching, with a failure at each call.

use super::*;
use crate::apply::zfs::fake::{FakeZfs, with_each_fault};

const NAMES: [&str; 2] = ["tank/z", "tank/y"];

fn make() -> FakeZfs {
    let zfs = FakeZfs::new(&["tank"]);
    NAMES.iter().for_each(|name| zfs.filesystem(name, &[("zoned", 1u64)].into()));
    zfs
}

/// Any descriptor: the fake does not look at it.
fn users() -> File {
    File::open("/dev/null").expect("a descriptor")
}

#[test]
fn each_dataset_is_detached_whatever_becomes_of_the_others() {
    let given = || {
        let zfs = make();
        NAMES.iter().for_each(|name| attach(&zfs, name, users().as_fd()).expect("attached"));
        zfs.forget_calls();
        zfs
    };
    let names = NAMES.map(str::to_owned);
    let calls = with_each_fault(
        given,
        |zfs| detach_all(zfs, &names, users().as_fd()),
        |failed, _, zfs, errors| {
            let left: Vec<&str> =
                NAMES.into_iter().filter(|n| failed.is_some_and(|f| f.ends_with(n))).collect();
            let lines = zfs.state().lines().filter(|l| l.ends_with(" attached")).count();
            assert_eq!((lines, errors.len()), (left.len(), left.len()), "{errors:?}");
            assert!(left.iter().zip(&errors).all(|(name, e)| e.contains(name)), "{errors:?}");
            // The next command tries all again, and those that are detached are no failure.
            assert_eq!(detach_all(zfs, &names, users().as_fd()), [] as [&str; 0]);
            assert_eq!(zfs.state(), make().state());
        },
    );
    assert_eq!(calls, ["detach tank/z", "detach tank/y"]);
}

#[test]
fn an_attachment_that_is_there_is_as_good() {
    let zfs = make();
    for _ in 0..2 {
        attach(&zfs, "tank/z", users().as_fd()).expect("attached");
    }
    assert!(attach(&zfs, "tank/!", users().as_fd()).is_err());
}

#[test]
fn the_list_says_what_is_attached() {
    let temp = tempfile::tempdir().expect("a folder");
    let run = temp.path();
    strike(run, "tank/z").expect("nothing to strike off");
    NAMES.iter().for_each(|name| note(run, name).expect("noted"));
    strike(run, "tank/z").expect("struck off");
    assert_eq!(recorded(run), ["tank/y"]);
    note(run, "tank/z").expect("noted");
    assert_eq!(recorded(run), ["tank/y", "tank/z"]);
    // A folder lies in the place of the draft, so the list stays as it was.
    fs::create_dir(run.join(DATASETS_DRAFT)).expect("a folder");
    strike(run, "tank/y").expect_err("it cannot be written");
    assert_eq!(recorded(run), ["tank/y", "tank/z"]);
}

#[test]
fn without_a_namespace_the_list_goes_once_nothing_is_mounted() {
    let temp = tempfile::tempdir().expect("a folder");
    let run = temp.path();
    for zfs in [Some(make()), None] {
        NAMES.iter().for_each(|name| note(run, name).expect("noted"));
        assert_eq!(recorded(run), NAMES);
        if let Some(zfs) = &zfs {
            zfs.mounted_for("tank/y", 3);
        }
        assert_eq!(release_of(zfs.as_ref().map(|zfs| zfs as &dyn ZfsSystem), run), [] as [&str; 0]);
        assert!(!is_left(run) && zfs.is_none_or(|zfs| zfs.calls().is_empty()));
    }
}

#[test]
fn a_mount_that_stays_is_told() {
    let zfs = make();
    zfs.filesystem("tank/z/a", &crate::zfs::nvlist::List::new());
    zfs.mounted_for("tank/z/a", u32::MAX);
    let told = still_mounted(&zfs, "tank/z");
    assert!(told.is_some_and(|text| text.starts_with("dataset tank/z/a is still in use: ")));
}
