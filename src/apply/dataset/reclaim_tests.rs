//! Giving a dataset back, with a failure at each call. Without a kernel that has it no file of it can be seen, which
//! is a finding.

use super::*;
use crate::apply::op::HeardMessages;
use crate::apply::paths::Root;
use crate::apply::zfs::fake::{FakeZfs, with_each_fault};
use crate::zfs::nvlist::List;

const TOP: &str = "nowhere/z";

fn make() -> FakeZfs {
    let zfs = FakeZfs::new(&["nowhere"]);
    let mut props: List = [("zoned", 1u64), (SNAPDIR, 2), (VOLMODE, 3)].into();
    props.insert("mountpoint", "none");
    zfs.filesystem(TOP, &props);
    let props: List = [("org.openzfs.systemd:requires", "x.service"), ("sharenfs", "on")].into();
    zfs.filesystem("nowhere/z/a", &props);
    zfs.received("nowhere/z/a", "zoned", 1u64);
    zfs.allowed("nowhere/z/a", [("ul$1000", List::set(["mount"]))].into());
    zfs
}

fn run(zfs: &FakeZfs, force: bool) -> (Result<(), ReclaimError>, Vec<String>) {
    let temp = tempfile::tempdir().expect("a folder");
    let store = FileStore::open(Root::new(Some(temp.path())));
    let mut out = HeardMessages::default();
    let done = reclaim_of(zfs, &store, &mut out, TOP, force);
    (done, out.0)
}

#[test]
fn findings_change_nothing_without_force() {
    let zfs = make();
    let before = zfs.state();
    let (done, heard) = run(&zfs, false);
    assert!(matches!(done, Err(ReclaimError::Found { .. })), "{done:?}");
    assert!(heard.iter().any(|text| text.starts_with("warning: nowhere/z/a: cannot be looked through")));
    assert_eq!((zfs.calls().len(), zfs.state()), (0, before));
}

#[test]
fn the_dataset_stays_zoned_until_all_below_it_is_harmless() {
    let returned = "nowhere\n\
                    nowhere/z canmount=2 devices=0 mountpoint=none setuid=0\n\
                    nowhere/z/a canmount=2 devices=0 setuid=0\n";
    let calls = with_each_fault(
        make,
        |zfs| run(zfs, true),
        |failed, _, zfs, (done, heard)| {
            let Some(failed) = failed else {
                done.expect("reclaimed");
                assert_eq!(zfs.state(), returned);
                assert!(heard.last().is_some_and(|text| text.starts_with("nowhere/z is the host's again")));
                return;
            };
            assert!(matches!(done, Err(ReclaimError::Zfs(_))), "{failed}: {done:?}");
            assert_eq!(*zfs.dataset(TOP).expect("there").source("zoned"), PropertySource::Local, "{failed}");
            run(zfs, true).0.expect("the second time");
            assert_eq!(zfs.state(), returned, "after {failed}");
        },
    );
    assert_eq!(
        calls,
        [
            "set canmount of nowhere/z",
            "set devices of nowhere/z",
            "set setuid of nowhere/z",
            "set canmount of nowhere/z/a",
            "set devices of nowhere/z/a",
            "set setuid of nowhere/z/a",
            "inherit snapdir of nowhere/z",
            "revoke permissions of nowhere/z/a",
            "inherit org.openzfs.systemd:requires of nowhere/z/a",
            "inherit sharenfs of nowhere/z/a",
            "inherit volmode of nowhere/z",
            "inherit zoned of nowhere/z/a",
            "inherit zoned of nowhere/z",
        ]
    );
}

#[test]
fn snapshots_that_cannot_be_hidden_are_told_and_volumes_keep_no_devices() {
    let zfs = make();
    zfs.taken("nowhere/z/a@s", &List::new());
    zfs.volume("nowhere/z/vol");
    zfs.refuse(SNAPDIR);
    let (done, heard) = run(&zfs, true);
    done.expect("reclaimed");
    assert!(heard.iter().any(|t| t.starts_with("warning: nowhere/z/a: its snapshots cannot be hidden")));
    assert!(heard.iter().any(|t| t.starts_with("nowhere/z: volmode stays none")));
    assert_eq!(zfs.dataset(TOP).expect("there").word(VOLMODE).as_deref(), Some("none"));
}

#[test]
fn what_is_not_the_zones_own_is_refused() {
    let zfs = make();
    zfs.volume("nowhere/vol");
    zfs.filesystem("nowhere/host", &List::new());
    zfs.filesystem("nowhere/z/b", &List::new());
    for (name, why) in [
        ("nowhere/vol", "is not a file system"),
        ("nowhere/host", "is not zoned: it is the host's already"),
        ("nowhere/z/b", "is zoned because nowhere/z is; reclaim nowhere/z"),
        ("nowhere/z/a", "would stay zoned because nowhere/z is; reclaim nowhere/z"),
    ] {
        let e = subject(&zfs, name).expect_err(name).to_string();
        assert_eq!(e, format!("{name} {why}"));
    }
    let tree = subject(&zfs, TOP).expect("zoned");
    let names: Vec<_> = tree.iter().map(|d| d.name.as_str()).collect();
    assert_eq!(names, [TOP, "nowhere/z/a", "nowhere/z/b"]);
}
