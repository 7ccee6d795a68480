//! The requests (ioctl(2)) of `/dev/zfs`, each with the treatment that it gets when a process of a zone makes it.
//!
//! The numbers are those of OpenZFS 2.2 to 2.4. Requests that are not in the table are refused: a later release may
//! add some that were never examined here.

use super::decide::Checked;

/// The treatment of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoctlRule {
    /// The kernel carries it out or refuses it, as for any user namespace.
    Allow,
    /// The guard copies the arguments, checks the copy, and makes the request with it.
    Check(Checked),
    /// It fails with `EPERM`.
    Refuse,
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct ZfsIoctl {
    /// Number of the ioctl.
    pub number: u32,
    /// Name, without `ZFS_IOC_`.
    pub name: &'static str,
    /// The treatment.
    pub rule: IoctlRule,
    /// The reason for the treatment.
    pub why: &'static str,
}

const fn allow(number: u32, name: &'static str, why: &'static str) -> ZfsIoctl {
    ZfsIoctl { number, name, rule: IoctlRule::Allow, why }
}

const fn check(number: u32, name: &'static str, what: Checked, why: &'static str) -> ZfsIoctl {
    ZfsIoctl { number, name, rule: IoctlRule::Check(what), why }
}

const fn refuse(number: u32, name: &'static str, why: &'static str) -> ZfsIoctl {
    ZfsIoctl { number, name, rule: IoctlRule::Refuse, why }
}

// Reasons that several requests share.
const READS: &str = "reads what the zone can see";
const NO_PROPERTY: &str = "the kernel checks the name; no property is set";
const PROPS: &str = "sets properties";
const POOL: &str = "acts on the pool";
const FAULTS: &str = "injects faults, for tests of ZFS";
const EVENTS: &str = "events of the whole machine";
const OTHER: &str = "of another system; no use on Linux";

/// Every request of the releases 2.2 to 2.4, by number.
pub const CALLS: &[ZfsIoctl] = &[
    refuse(0x5a00, "POOL_CREATE", POOL),
    refuse(0x5a01, "POOL_DESTROY", POOL),
    refuse(0x5a02, "POOL_IMPORT", POOL),
    refuse(0x5a03, "POOL_EXPORT", POOL),
    allow(0x5a04, "POOL_CONFIGS", READS),
    allow(0x5a05, "POOL_STATS", READS),
    refuse(0x5a06, "POOL_TRYIMPORT", "has the kernel read labels that the zone has written"),
    refuse(0x5a07, "POOL_SCAN", POOL),
    refuse(0x5a08, "POOL_FREEZE", POOL),
    refuse(0x5a09, "POOL_UPGRADE", POOL),
    refuse(0x5a0a, "POOL_GET_HISTORY", "tells what was done on the whole pool"),
    refuse(0x5a0b, "VDEV_ADD", POOL),
    refuse(0x5a0c, "VDEV_REMOVE", POOL),
    refuse(0x5a0d, "VDEV_SET_STATE", POOL),
    refuse(0x5a0e, "VDEV_ATTACH", POOL),
    refuse(0x5a0f, "VDEV_DETACH", POOL),
    refuse(0x5a10, "VDEV_SETPATH", POOL),
    refuse(0x5a11, "VDEV_SETFRU", POOL),
    allow(0x5a12, "OBJSET_STATS", READS),
    allow(0x5a13, "OBJSET_ZPLPROPS", READS),
    allow(0x5a14, "DATASET_LIST_NEXT", READS),
    allow(0x5a15, "SNAPSHOT_LIST_NEXT", READS),
    check(0x5a16, "SET_PROP", Checked::SetProp, PROPS),
    check(0x5a17, "CREATE", Checked::Create, PROPS),
    check(0x5a18, "DESTROY", Checked::Destroy, "the delegated dataset's limits would go with it"),
    allow(0x5a19, "ROLLBACK", NO_PROPERTY),
    check(0x5a1a, "RENAME", Checked::Rename, "the delegated dataset's limits would go with it"),
    check(0x5a1b, "RECV", Checked::Receive, PROPS),
    allow(0x5a1c, "SEND", READS),
    refuse(0x5a1d, "INJECT_FAULT", FAULTS),
    refuse(0x5a1e, "CLEAR_FAULT", FAULTS),
    refuse(0x5a1f, "INJECT_LIST_NEXT", FAULTS),
    refuse(0x5a20, "ERROR_LOG", "names objects of the whole pool"),
    refuse(0x5a21, "CLEAR", POOL),
    allow(0x5a22, "PROMOTE", NO_PROPERTY),
    allow(0x5a23, "SNAPSHOT", NO_PROPERTY),
    refuse(0x5a24, "DSOBJ_TO_DSNAME", "names any dataset of the pool"),
    allow(0x5a25, "OBJ_TO_PATH", READS),
    refuse(0x5a26, "POOL_SET_PROPS", POOL),
    allow(0x5a27, "POOL_GET_PROPS", READS),
    allow(0x5a28, "SET_FSACL", NO_PROPERTY),
    allow(0x5a29, "GET_FSACL", READS),
    refuse(0x5a2a, "SHARE", "shares are the host's"),
    check(0x5a2b, "INHERIT_PROP", Checked::Inherit, PROPS),
    refuse(0x5a2c, "SMB_ACL", "shares are the host's"),
    allow(0x5a2d, "USERSPACE_ONE", READS),
    allow(0x5a2e, "USERSPACE_MANY", READS),
    allow(0x5a2f, "USERSPACE_UPGRADE", NO_PROPERTY),
    allow(0x5a30, "HOLD", NO_PROPERTY),
    allow(0x5a31, "RELEASE", NO_PROPERTY),
    allow(0x5a32, "GET_HOLDS", READS),
    allow(0x5a33, "OBJSET_RECVD_PROPS", READS),
    refuse(0x5a34, "VDEV_SPLIT", POOL),
    allow(0x5a35, "NEXT_OBJ", READS),
    allow(0x5a36, "DIFF", READS),
    allow(0x5a37, "TMP_SNAPSHOT", NO_PROPERTY),
    allow(0x5a38, "OBJ_TO_STATS", READS),
    allow(0x5a39, "SPACE_WRITTEN", READS),
    allow(0x5a3a, "SPACE_SNAPS", READS),
    allow(0x5a3b, "DESTROY_SNAPS", NO_PROPERTY),
    refuse(0x5a3c, "POOL_REGUID", POOL),
    refuse(0x5a3d, "POOL_REOPEN", POOL),
    allow(0x5a3e, "SEND_PROGRESS", READS),
    refuse(0x5a3f, "LOG_HISTORY", "writes any text into the pool's history"),
    allow(0x5a40, "SEND_NEW", READS),
    allow(0x5a41, "SEND_SPACE", READS),
    check(0x5a42, "CLONE", Checked::Clone, PROPS),
    allow(0x5a43, "BOOKMARK", NO_PROPERTY),
    allow(0x5a44, "GET_BOOKMARKS", READS),
    allow(0x5a45, "DESTROY_BOOKMARKS", NO_PROPERTY),
    check(0x5a46, "RECV_NEW", Checked::ReceiveNew, PROPS),
    refuse(0x5a47, "POOL_SYNC", POOL),
    refuse(0x5a48, "CHANNEL_PROGRAM", "acts on any dataset of the pool"),
    allow(0x5a49, "LOAD_KEY", NO_PROPERTY),
    allow(0x5a4a, "UNLOAD_KEY", NO_PROPERTY),
    check(0x5a4b, "CHANGE_KEY", Checked::ChangeKey, PROPS),
    refuse(0x5a4c, "REMAP", "no longer there"),
    refuse(0x5a4d, "POOL_CHECKPOINT", POOL),
    refuse(0x5a4e, "POOL_DISCARD_CHECKPOINT", POOL),
    refuse(0x5a4f, "POOL_INITIALIZE", POOL),
    refuse(0x5a50, "POOL_TRIM", POOL),
    refuse(0x5a51, "REDACT", "checked as an act on the pool"),
    allow(0x5a52, "GET_BOOKMARK_PROPS", READS),
    refuse(0x5a53, "WAIT", POOL),
    check(0x5a54, "WAIT_FS", Checked::WaitFs, "tells of any name whether it exists"),
    refuse(0x5a55, "VDEV_GET_PROPS", POOL),
    refuse(0x5a56, "VDEV_SET_PROPS", POOL),
    refuse(0x5a57, "POOL_SCRUB", POOL),
    refuse(0x5a58, "POOL_PREFETCH", POOL),
    refuse(0x5a59, "DDT_PRUNE", POOL),
    refuse(0x5a81, "EVENTS_NEXT", EVENTS),
    refuse(0x5a82, "EVENTS_CLEAR", EVENTS),
    refuse(0x5a83, "EVENTS_SEEK", EVENTS),
    refuse(0x5a84, "NEXTBOOT", OTHER),
    refuse(0x5a85, "USERNS_ATTACH", "gives datasets to zones"),
    refuse(0x5a86, "USERNS_DETACH", "takes datasets from zones"),
    refuse(0x5a87, "SET_BOOTENV", POOL),
    refuse(0x5a88, "GET_BOOTENV", POOL),
];

/// Returns the request of a number; none for an unknown number.
pub fn find(number: u32) -> Option<&'static ZfsIoctl> {
    CALLS.iter().find(|c| c.number == number)
}

/// Returns how many requests are allowed and how many are checked.
pub fn count_allowed_and_checked() -> (usize, usize) {
    let of = |f: fn(&IoctlRule) -> bool| CALLS.iter().filter(|c| f(&c.rule)).count();
    (of(|r| *r == IoctlRule::Allow), of(|r| matches!(r, IoctlRule::Check(_))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_each_number_is_one_of_zfs() {
        assert!(CALLS.windows(2).all(|w| w[0].number < w[1].number));
        assert!(CALLS.iter().all(|c| c.number & 0xff00 == 0x5a00 && !c.why.is_empty()));
        let mut names: Vec<_> = CALLS.iter().map(|c| c.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CALLS.len());
    }

    #[test]
    fn what_reaches_beyond_the_zone_is_refused() {
        // A release with CVE-2026-79619 lets any root of a user namespace make some of these; the others change or
        // reveal more than the zone's datasets.
        for number in (0x5a00..=0x5a03)
            .chain(0x5a06..=0x5a11)
            .chain(0x5a1d..=0x5a21)
            .chain([0x5a24, 0x5a26, 0x5a2a, 0x5a2c, 0x5a34, 0x5a3c, 0x5a3d, 0x5a3f, 0x5a47, 0x5a48])
            .chain(0x5a4c..=0x5a51)
            .chain([0x5a53])
            .chain(0x5a55..=0x5a59)
            .chain(0x5a80..=0x5a88)
        {
            assert!(find(number).is_none_or(|c| c.rule == IoctlRule::Refuse), "{number:#x}");
        }
        for number in [0x5a16, 0x5a17, 0x5a18, 0x5a1a, 0x5a1b, 0x5a2b, 0x5a42, 0x5a46, 0x5a4b, 0x5a54] {
            assert!(matches!(find(number).map(|c| c.rule), Some(IoctlRule::Check(_))), "{number:#x}");
        }
        assert_eq!(count_allowed_and_checked(), (37, 10));
    }
}
