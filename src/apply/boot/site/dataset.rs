//! Datasets that become the zone's.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use super::super::error::{Cause, StepError, fail};
use super::Site;
use crate::apply::dataset::registry;
use crate::apply::dataset::withdraw::{DelegationRequest, HandoverReport, ZoneIds, withdraw};
use crate::apply::paths::Root;
use crate::apply::rundir::copy;
use crate::apply::zfs::chain;
use crate::apply::zfs::system::ZfsSystem;
use crate::spec::ZoneName;
use crate::spec::shown::Show;

fn what(dataset: &str) -> String {
    format!("dataset {}", dataset.shown())
}

impl Site<'_> {
    /// Returns the zone's ids, of a zone of this name.
    pub fn ids(&self, zone: &str) -> ZoneIds {
        let maps = (self.map.uid.clone(), self.map.gid.clone());
        ZoneIds { zone: zone.to_owned(), root: (self.uid, self.gid), maps }
    }

    fn namespace(&self, what: &str) -> Result<BorrowedFd<'_>, StepError> {
        let users = self.users.as_ref().map(AsFd::as_fd);
        users.ok_or_else(|| StepError::new(what, Cause::Plan("makes no user namespace before it")))
    }

    /// Has the host let go of a dataset that the zone of this name is to have.
    ///
    /// # Errors
    /// [`StepError`]
    pub fn withdraw(
        &self,
        root: &Root,
        zfs: &dyn ZfsSystem,
        wanted: &DelegationRequest<'_>,
        zone: &str,
    ) -> Result<HandoverReport, StepError> {
        withdraw(root, zfs, wanted, &self.ids(zone)).map_err(|e| StepError::new(what(wanted.dataset), e))
    }

    /// Pins the zone's user namespace in the host's mounts, where it outlives every process of ours. `run` is the zone's
    /// run-time folder.
    ///
    /// # Errors
    /// [`StepError`]
    pub fn pin(&self, run: &Path) -> Result<(), StepError> {
        let what = "user namespace";
        let users = self.namespace(what)?;
        registry::pin(run, users).map_err(|e| fail(what, "cannot pin it", e))
    }

    /// Gives a dataset and all below it to the zone of this name. The namespace is pinned already.
    ///
    /// # Errors
    /// [`StepError`]
    pub fn delegate(
        &self,
        root: &Root,
        zfs: &dyn ZfsSystem,
        dataset: &str,
        zone: &ZoneName,
    ) -> Result<(), StepError> {
        let what = what(dataset);
        let users = self.namespace(&what)?;
        let noted = registry::note(&root.zone_run(zone), dataset).and_then(|()| copy::renew(root, zone));
        noted.map_err(|e| fail(&what, "cannot note it", e))?;
        registry::attach(zfs, dataset, users).map_err(|e| StepError::new(what, e))
    }

    /// Takes a dataset back from a zone that has not mounted it, and may run on. The property `zoned` stays: what the zone
    /// has written is not the host's to mount.
    ///
    /// # Errors
    /// [`StepError`]; the zone has the dataset still.
    pub fn take_back(
        &self,
        root: &Root,
        zfs: &dyn ZfsSystem,
        dataset: &str,
        zone: &ZoneName,
    ) -> Result<(), StepError> {
        let what = what(dataset);
        let users = self.namespace(&what)?;
        registry::detach(zfs, dataset, users).map_err(|e| StepError::new(&what, e))?;
        // The look for mounts comes after the detachment: a zone that still has the dataset could mount it after the look.
        if let Some(busy) = registry::mounted(zfs, dataset) {
            let error = StepError::new(&what, Cause::InUse { dataset: busy });
            return Err(match registry::attach(zfs, dataset, users) {
                Ok(()) => error,
                Err(e) => error.with_note(format!("{what}: the zone has lost it: {}", chain(&e))),
            });
        }
        let struck = registry::strike(&root.zone_run(zone), dataset).and_then(|()| copy::renew(root, zone));
        struck.map_err(|e| fail(what, "cannot note that the host has it again", e))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;
    use crate::apply::rundir::{DATASETS, Running};
    use crate::apply::zfs::fake::{FakeZfs, with_each_fault};
    use crate::spec::idmap::{IdMap, IdRange};

    fn site() -> Site<'static> {
        let range = || vec![IdRange { inside: 0, outside: 100_000, count: 65_536 }];
        let mut site = Site::building((100_000, 100_000), IdMap { uid: range(), gid: range() });
        // The fake does not look at the descriptor, so any will do.
        site.map_to(File::open("/dev/null").expect("a descriptor").into());
        site
    }

    /// A root with the run-time folder of a zone.
    fn world() -> (tempfile::TempDir, Root, ZoneName) {
        let temp = tempfile::tempdir().expect("a folder");
        let (root, zone) = (Root::new(Some(temp.path())), ZoneName::new("zion").expect("a name"));
        fs::create_dir_all(root.zone_run(&zone)).expect("the run-time folder");
        let record = "id=1 state=running init=1 start=1 supervisor=1 sstart=1";
        copy::keep(&root, &zone, &Running::parse(record).expect("a record")).expect("a copy");
        (temp, root, zone)
    }

    /// Returns the list of datasets in the copy of the zone's files.
    fn copied(root: &Root, zone: &ZoneName) -> String {
        String::from_utf8(copy::file(root, zone, DATASETS).unwrap_or_default()).expect("names")
    }

    fn make() -> FakeZfs {
        let zfs = FakeZfs::new(&["tank"]);
        zfs.filesystem("tank/z", &[("zoned", 1u64)].into());
        zfs
    }

    fn given() -> FakeZfs {
        let zfs = make();
        let (_temp, root, zone) = world();
        site().delegate(&root, &zfs, "tank/z", &zone).expect("given");
        zfs.forget_calls();
        zfs
    }

    fn is_attached(zfs: &FakeZfs) -> bool {
        zfs.state().lines().any(|line| line.starts_with("tank/z ") && line.ends_with(" attached"))
    }

    #[test]
    fn a_dataset_is_noted_before_it_is_given() {
        let calls = with_each_fault(
            make,
            |zfs| {
                let (_temp, root, zone) = world();
                let done = site().delegate(&root, zfs, "tank/z", &zone);
                assert_eq!(copied(&root, &zone), "tank/z\n");
                (registry::recorded(&root.zone_run(&zone)), done)
            },
            |failed, _, zfs, (recorded, done)| {
                assert_eq!(recorded, ["tank/z"], "it may be attached, whatever was said");
                assert_eq!((done.is_err(), is_attached(zfs)), (failed.is_some(), failed.is_none()));
                let why = done.err().map(|e| e.to_string()).unwrap_or_default();
                assert!(failed.is_none() || why.starts_with("dataset tank/z: "), "{why}");
            },
        );
        assert_eq!(calls, ["attach tank/z"]);
        // The dataset is not attached when its note cannot be written: nobody would know to take it back.
        let (zfs, none) = (make(), ZoneName::new("none").expect("a name"));
        let (_temp, root, _) = world();
        let why = site().delegate(&root, &zfs, "tank/z", &none).expect_err("no folder").to_string();
        assert!(why.starts_with("dataset tank/z: cannot note it: "), "{why}");
        assert!(!is_attached(&zfs));
    }

    #[test]
    fn a_zone_has_a_dataset_until_it_is_taken_back_whole() {
        let take_back = |zfs: &FakeZfs| {
            let (_temp, root, zone) = world();
            let run = root.zone_run(&zone);
            ["tank/z", "tank/y"].iter().for_each(|name| registry::note(&run, name).expect("noted"));
            let done = site().take_back(&root, zfs, "tank/z", &zone);
            assert!(done.is_err() || copied(&root, &zone) == "tank/y\n");
            (registry::recorded(&run), done.map_err(|e| e.to_string()))
        };
        let calls = with_each_fault(given, take_back, |failed, _, zfs, (recorded, done)| {
            assert_eq!((done.is_err(), is_attached(zfs)), (failed.is_some(), failed.is_some()), "{done:?}");
            assert_eq!(recorded, if failed.is_some() { vec!["tank/z", "tank/y"] } else { vec!["tank/y"] });
        });
        assert_eq!(calls, ["detach tank/z"]);
        // The zone has it mounted.
        let busy = || {
            let zfs = given();
            zfs.mounted_for("tank/z", u32::MAX);
            zfs
        };
        let lost = "; dataset tank/z: the zone has lost it: ";
        let calls = with_each_fault(busy, take_back, |failed, _, zfs, (recorded, done)| {
            let why = done.expect_err("refused");
            assert_eq!(recorded, ["tank/z", "tank/y"]);
            assert_eq!(is_attached(zfs), failed != Some("attach tank/z"), "{why}");
            let mounted = "dataset tank/z: tank/z is mounted in the zone; unmount it there first";
            assert_eq!(why.starts_with(mounted), failed != Some("detach tank/z"), "{why}");
            assert_eq!(why.contains(lost), failed == Some("attach tank/z"), "{why}");
        });
        assert_eq!(calls, ["detach tank/z", "attach tank/z"]);
    }

    #[test]
    fn without_a_namespace_nothing_is_given() {
        let ((_temp, root, zone), zfs) = (world(), make());
        let run = root.zone_run(&zone);
        let early = Site { users: None, ..site() };
        for done in [
            early.pin(&run),
            early.delegate(&root, &zfs, "tank/z", &zone),
            early.take_back(&root, &zfs, "tank/z", &zone),
        ] {
            let why = done.expect_err("no namespace").to_string();
            assert!(why.ends_with(": the plan makes no user namespace before it"), "{why}");
        }
        assert!(zfs.calls().is_empty() && !registry::is_left(&run));
    }
}
