//! Handing a dataset over, with a failure at each call.

use super::*;
use crate::apply::zfs::fake::{FakeZfs, with_each_fault};

const VOLUMES: &str = "tank/z/vol";

fn make() -> FakeZfs {
    let zfs = FakeZfs::new(&["tank"]);
    zfs.filesystem("tank/z", &[("quota", 1u64 << 30)].into());
    zfs.filesystem("tank/z/a", &[("mountpoint", "/a")].into());
    zfs.volume(VOLUMES);
    zfs.set_props(VOLUMES, &[(VOLMODE, index_number(VOLMODE, "dev").expect("a word"))].into()).expect("set");
    zfs.forget_calls();
    zfs
}

fn ids() -> ZoneIds {
    let range = || vec![IdRange { inside: 0, outside: 100_000, count: 65_536 }];
    ZoneIds { zone: "zion".to_owned(), root: (100_000, 100_000), maps: (range(), range()) }
}

fn hand_over(zfs: &FakeZfs) -> Result<HandoverReport, WithdrawError> {
    let temp = tempfile::tempdir().expect("a folder");
    let (hide, volumes) = (["tank/z".to_owned()], [VOLUMES.to_owned()]);
    let wanted = DelegationRequest {
        dataset: "tank/z",
        zoned: zfs.dataset("tank/z").is_ok_and(|d| d.zoned()),
        hide: &hide,
        volmode: Some("none"),
        volumes: &volumes,
        members: &[],
    };
    withdraw(&Root::new(Some(temp.path())), zfs, &wanted, &ids())
}

const GIVEN: &str = "tank\ntank/z quota=1073741824 snapdir=2 volmode=3 zoned=1\ntank/z/a mountpoint=/a\n\
                     tank/z/vol volume volsize=1\n";

#[test]
fn a_failure_before_zoned_changes_nothing_and_a_later_one_is_mended_by_the_next_boot() {
    let calls = with_each_fault(make, hand_over, |failed, before, zfs, done| {
        let Some(failed) = failed else {
            assert_eq!(done.expect("handed over"), HandoverReport::default());
            assert_eq!(zfs.state(), GIVEN);
            return;
        };
        let why = done.expect_err(failed).to_string();
        let (property, dataset) = failed.split_once(' ').expect("a verb").1.split_once(" of ").expect("of");
        assert!(
            why.contains(&format!("'{property}' property for ZFS dataset '{dataset}'")),
            "{failed}: {why}"
        );
        if property == "zoned" {
            assert_eq!(zfs.state(), before, "{failed}");
        }
        assert_eq!(zfs.dataset("tank/z").expect("there").zoned(), property != "zoned", "{failed}");
        hand_over(zfs).expect("the next boot");
        assert_eq!(zfs.state(), GIVEN, "after {failed}");
    });
    let expected = [
        "set zoned of tank/z",
        "set snapdir of tank/z",
        "set volmode of tank/z",
        "set volmode of tank/z/vol",
        "inherit volmode of tank/z/vol",
    ];
    assert_eq!(calls, expected);
}

#[test]
fn what_is_zoned_is_not_written_again() {
    let zfs = make();
    hand_over(&zfs).expect("handed over");
    // A write would fail.
    zfs.imported("/mnt", true);
    zfs.forget_calls();
    let temp = tempfile::tempdir().expect("a folder");
    let wanted = DelegationRequest {
        dataset: "tank/z",
        zoned: true,
        hide: &[],
        volmode: None,
        volumes: &[],
        members: &[],
    };
    withdraw(&Root::new(Some(temp.path())), &zfs, &wanted, &ids()).expect("handed over");
    assert_eq!(zfs.calls(), [] as [&str; 0]);
}

#[test]
fn a_release_that_cannot_hide_snapshots_gives_none() {
    let zfs = make();
    zfs.refuse(SNAPDIR);
    let why = hand_over(&zfs).expect_err("refused").to_string();
    assert!(why.contains("'snapdir' property for ZFS dataset 'tank/z'"), "{why}");
    assert_eq!(zfs.calls(), ["set zoned of tank/z", "set snapdir of tank/z"]);
}

#[test]
fn a_mount_that_ends_is_waited_for_and_one_that_stays_is_told() {
    let zfs = make();
    zfs.mounted_for("tank/z/a", 3);
    hand_over(&zfs).expect("it ended");
    assert_eq!(zfs.state(), GIVEN);
    let zfs = make();
    let before = zfs.state();
    zfs.mounted_for("tank/z/a", u32::MAX);
    let why = hand_over(&zfs).expect_err("it stays");
    assert!(matches!(&why, WithdrawError::Mounted(m) if m.dataset == "tank/z/a"), "{why}");
    assert_eq!((zfs.state(), zfs.calls().len()), (before, 0));
}
