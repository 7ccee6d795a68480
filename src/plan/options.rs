//! Mount options: Solaris and Linux spellings, checked before anything is mounted.

use thiserror::Error;

/// What the options of one `fs` resource ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// `rbind`: with everything that is mounted below the source.
    pub recursive: bool,
    /// What is left for the file system itself, in order: name and value.
    pub data: Vec<(String, Option<String>)>,
}

/// An option that nobody understands.
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
    let mut out = MountOptions::default();
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
            "rbind" => out.recursive = true,
            // What a bind mount does anyway, and what only Solaris' file systems know.
            "atime" | "relatime" | "diratime" | "bind" | "nosub" | "defaults" | "nbmand" | "nonbmand"
            | "xattr" | "noxattr" | "logging" | "nologging" | "largefiles" | "nolargefiles" | "quota"
            | "noquota" => {}
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
                    // The module passes over what it does not know.
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
    fn unknown_ones() {
        let e = parse("lofs", ["subvol=x"].into_iter()).expect_err("lofs has no such option");
        assert_eq!(e.to_string(), "option 'subvol=x' is not known for type lofs");
        assert!(parse("tmpfs", ["bogus"].into_iter()).is_err());
        assert!(parse("zfs", ["bogus"].into_iter()).is_err());
        let o = parse("btrfs", ["subvol=x", "degraded"].into_iter()).expect("left to the file system");
        assert_eq!(o.data, [("subvol".into(), Some("x".into())), ("degraded".into(), None)]);
    }
}
