//! Mount options: Solaris and Linux spellings, checked before anything is mounted.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::spec::idmap::IdMap;

/// The meaning of the options of one `fs` resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MountOptions {
    /// `ro`.
    pub read_only: bool,
    /// `nosuid`, `nosetuid`.
    pub no_suid: bool,
    /// `devices`, `dev`: device nodes on the file system may be opened. Off unless asked for.
    pub devices: bool,
    /// `noexec`.
    pub no_exec: bool,
    /// `noatime`.
    pub no_atime: bool,
    /// `nodiratime`.
    pub no_dir_atime: bool,
    /// `strictatime`.
    pub strict_atime: bool,
    /// With everything that is mounted below the source; `nosub` switches it off.
    pub recursive: bool,
    /// The options left for the file system itself, in order: name and value.
    pub data: Vec<(String, Option<String>)>,
}

/// An option that is not known.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("option '{option}' is not known for type {fstype}")]
pub struct UnknownOption {
    /// The option as written.
    pub option: String,
    /// The type of the file system.
    pub fstype: String,
}

/// Returns the Linux name of a file system type that Solaris names differently.
pub fn linux_type(fstype: &str) -> &str {
    match fstype {
        "hsfs" => "iso9660",
        "pcfs" => "vfat",
        "udfs" => "udf",
        other => other,
    }
}

/// Says whether a type is never allowed as an `fs` resource, as in Solaris.
pub fn is_forbidden(fstype: &str) -> bool {
    matches!(fstype, "proc" | "mntfs" | "autofs" | "sysfs" | "cgroup" | "cgroup2" | "devpts")
        || fstype.starts_with("nfs")
}

/// Reads the options of an `fs` resource of a type.
///
/// # Errors
/// [`UnknownOption`] for `lofs`, `tmpfs` and `zfs`, whose options are all known; what another type does not
/// know its file system refuses at the mount.
pub fn parse<'a>(
    fstype: &str,
    options: impl Iterator<Item = &'a str>,
) -> Result<MountOptions, UnknownOption> {
    let mut out = MountOptions { recursive: fstype == "lofs", ..MountOptions::default() };
    for option in options.flat_map(|o| o.split(',')).map(str::trim).filter(|o| !o.is_empty()) {
        match option {
            "ro" => out.read_only = true,
            "rw" => out.read_only = false,
            "nosuid" | "nosetuid" => out.no_suid = true,
            "suid" | "setuid" => out.no_suid = false,
            "devices" | "dev" => out.devices = true,
            "nodevices" | "nodev" => out.devices = false,
            "noexec" => out.no_exec = true,
            "exec" => out.no_exec = false,
            "noatime" => out.no_atime = true,
            "nodiratime" => out.no_dir_atime = true,
            "strictatime" => out.strict_atime = true,
            "sub" | "rbind" => out.recursive = true,
            "nosub" | "norbind" | "bind" => out.recursive = false,
            // Options that every mount has, and those that only Solaris' file systems know.
            "atime" | "relatime" | "diratime" | "defaults" | "nbmand" | "nonbmand" | "xattr" | "noxattr"
            | "logging" | "nologging" | "largefiles" | "nolargefiles" | "quota" | "noquota" => {}
            other => {
                let (name, value) = match other.split_once('=') {
                    Some((name, value)) => (name, Some(value)),
                    None => (other, None),
                };
                let known = match fstype {
                    "lofs" => false,
                    "tmpfs" => matches!(
                        name,
                        "size" | "nr_inodes" | "nr_blocks" | "mode" | "uid" | "gid" | "huge" | "inode64"
                    ),
                    // Options that the module ignores.
                    "zfs" => {
                        matches!(name, "context" | "fscontext" | "defcontext" | "rootcontext")
                    }
                    _ => true,
                };
                if !known {
                    return Err(UnknownOption { option: other.to_owned(), fstype: fstype.to_owned() });
                }
                out.data.push((name.to_owned(), value.map(str::to_owned)));
            }
        }
    }
    Ok(out)
}

impl MountOptions {
    /// Returns the mount options of a tmpfs: `uid` and `gid` are ids of the zone, and by default its root's.
    ///
    /// # Errors
    /// [`NoId`] for an id that the zone does not have.
    pub fn of_memory(&self, map: &IdMap) -> Result<Vec<(String, String)>, NoId> {
        let (uid, gid) = map.root();
        let mut out = vec![("uid".to_owned(), uid.to_string()), ("gid".to_owned(), gid.to_string())];
        for (name, value) in &self.data {
            let text = value.as_deref().unwrap_or_default();
            let host = |id: u32| if name == "uid" { map.host_uid(id) } else { map.host_gid(id) };
            let value = if matches!(name.as_str(), "uid" | "gid") {
                let id = text.parse().ok().and_then(host);
                id.ok_or_else(|| NoId { option: format!("{name}={text}") })?.to_string()
            } else {
                text.to_owned()
            };
            out.push((name.clone(), value));
        }
        Ok(out)
    }
}

/// An owner of a tmpfs that the zone does not know.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("option '{option}' names no id of the zone; give a number that its ids have")]
pub struct NoId {
    /// The option as written.
    pub option: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings() {
        let o = parse("lofs", ["ro", "nodevices", "nosetuid,noexec"].into_iter()).expect("all are known");
        assert!(o.read_only && !o.devices && o.no_suid && o.no_exec && o.data.is_empty());
        let o = parse("lofs", ["ro", "rw", "dev"].into_iter()).expect("all are known");
        assert!(!o.read_only && o.devices);
    }

    #[test]
    fn owners_of_memory_are_the_zones() {
        let map = IdMap::private(1_000_000_000);
        let of = |options: &[&str]| {
            parse("tmpfs", options.iter().copied()).expect("all are known").of_memory(&map)
        };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let root = [pair("uid", "1000000000"), pair("gid", "1000000000")];
        assert_eq!(of(&[]).expect("good"), root);
        let expected = [&root[..], &[pair("uid", "1000001000"), pair("size", "1m")]].concat();
        assert_eq!(of(&["uid=1000", "size=1m"]).expect("good"), expected);
        for bad in ["uid=65536", "gid=x", "uid"] {
            assert!(of(&[bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_mounted_below() {
        let recursive = |kind: &str, options: &[&str]| {
            parse(kind, options.iter().copied()).expect("all are known").recursive
        };
        assert!(recursive("lofs", &[]) && recursive("lofs", &["nosub", "rbind"]));
        assert!(!recursive("lofs", &["ro,nosub"]) && !recursive("lofs", &["bind"]));
        assert!(!recursive("tmpfs", &[]));
    }

    #[test]
    fn unknown_ones() {
        let e = parse("lofs", ["subvol=x"].into_iter()).expect_err("lofs has no such option");
        assert_eq!(e.to_string(), "option 'subvol=x' is not known for type lofs");
        assert!(parse("tmpfs", ["bogus"].into_iter()).is_err());
        assert!(parse("zfs", ["bogus"].into_iter()).is_err());
        let o = parse("btrfs", ["subvol=x", "degraded"].into_iter()).expect("left to the file system");
        assert_eq!(o.data, [("subvol".into(), Some("x".into())), ("degraded".into(), None)]);
    }
}
