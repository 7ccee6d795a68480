//! Fixed vocabularies: sets of privileges, security flags, authorizations, resource controls. They serve
//! validation and completion.

use super::privilege;

/// The `attr` resource, of type string, by which a spec says a second time that a zone gets whole pools;
/// its value is a comma list of their names.
pub const POOL_ATTR: &str = "delegate-pool";

/// The `attr` resource by which a spec says that a zone may have datasets although the host's ZFS cannot keep
/// its root from having snapshots mounted over the host's directories; its value is `true`.
pub const SNAPSHOTS_ATTR: &str = "accept-snapshot-mounts";

/// The `attr` resource by which a spec says that `/proc/spl` need not be covered in a zone: it is `closed` on the host,
/// or `shown`.
pub const SPL_ATTR: &str = "proc-spl";

/// Names of sets that `limitpriv` accepts in place of a privilege.
pub const PRIVILEGE_SETS: &[&str] = &["default", "basic", "all", "none"];

/// Says whether the text names a privilege, a capability (with or without `cap_`) or a set.
pub fn is_privilege(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let name = lower.as_str();
    PRIVILEGE_SETS.contains(&name)
        || privilege::privilege(name).is_some()
        || privilege::capability(name).is_some()
}

/// Process security flags.
pub const SECURITY_FLAGS: &[&str] = &["aslr", "forbidnullmap", "noexecstack"];

/// Reads a list of security flags into bits; none when a word is no flag or not absolute.
pub fn security_flags(list: &str) -> Option<u8> {
    let all = (1 << SECURITY_FLAGS.len()) - 1;
    list.split(',').map(str::trim).try_fold(0, |bits, word| match word.to_ascii_lowercase().as_str() {
        "none" => Some(bits),
        "all" => Some(all),
        // The meaning of "default" and "current" is known only to a running system; both keep the flags that a Linux
        // process has.
        "default" | "current" => Some(bits | 1),
        word => SECURITY_FLAGS.iter().position(|f| *f == word).map(|i| bits | 1 << i),
    })
}

/// Says whether the host will never look at an attribute of this name: `comment`, and what begins with
/// `user-`. Any other may say, now or in a later release, how the host treats the zone.
pub fn is_free_attr(name: &str) -> bool {
    name == "comment" || name.starts_with("user-")
}

/// Authorizations of an `admin` resource.
pub const AUTHS: &[&str] = &["login", "manage", "clonefrom", "copyfrom", "config", "liveconfig", "migrate"];

/// Resource controls of zones.
pub const RCTLS: &[&str] = &[
    "zone.cpu-baseline",
    "zone.cpu-burst-time",
    "zone.cpu-cap",
    "zone.cpu-shares",
    "zone.max-locked-memory",
    "zone.max-lofi",
    "zone.max-lwps",
    "zone.max-msg-ids",
    "zone.max-physical-memory",
    "zone.max-processes",
    "zone.max-sem-ids",
    "zone.max-shm-ids",
    "zone.max-shm-memory",
    "zone.max-swap",
    "zone.zfs-io-priority",
];

/// Scheduling classes of Solaris and the policies of Linux.
pub const SCHEDULING_CLASSES: &[&str] = &["FSS", "TS", "IA", "FX", "RT", "SDC", "BATCH", "IDLE"];

/// Brands that this program runs.
pub const BRANDS: &[&str] = &["linux"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags() {
        assert_eq!(security_flags("none"), Some(0));
        assert_eq!(security_flags("aslr,noexecstack"), Some(5));
        assert_eq!(security_flags("all"), Some(7));
        assert_eq!(security_flags("fail"), None);
        assert_eq!(security_flags("-aslr"), None);
    }

    #[test]
    fn privileges() {
        for good in ["default", "sys_time", "PRIV_SYS_TIME", "cap_net_raw", "net_raw", "proc_fork"] {
            assert!(is_privilege(good), "{good}");
        }
        assert!(!is_privilege("zone"));
    }
}
