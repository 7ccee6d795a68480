//! Small readings of `/proc`, `/sys` and `/etc`. An unreadable file counts as missing.

use std::fs;
use std::path::Path;

use crate::spec::idmap::PRIVATE_FIRST;

/// Returns the trimmed text of a small file.
pub fn text(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok().map(|t| t.trim().to_owned())
}

/// Returns the number in a file.
pub fn number(path: impl AsRef<Path>) -> Option<u64> {
    text(path)?.parse().ok()
}

/// Returns the words of a file.
pub fn words(path: impl AsRef<Path>) -> Vec<String> {
    text(path).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

/// Returns the names in the kernel's table of controllers that a hierarchy of version 1 holds.
pub fn v1_controllers(table: &str) -> Vec<String> {
    let rows = table.lines().filter(|l| !l.starts_with('#'));
    rows.filter_map(|row| {
        let mut fields = row.split_whitespace();
        let name = fields.next()?;
        (fields.next()? != "0").then(|| name.to_owned())
    })
    .collect()
}

/// Returns the owners of ids in the range of zones, from a file of `/etc`: `subuid` and `subgid` hold ranges
/// (`name:first:count`), `passwd` and `group` single ids in the third field.
pub fn foreign_ids(file: &str, content: &str) -> Vec<String> {
    let first_of_ours = u64::from(PRIVATE_FIRST);
    let ranges = file.starts_with("sub");
    let mut found = Vec::new();
    for line in content.lines() {
        let fields: Vec<&str> = line.split(':').map(str::trim).collect();
        let number = |n: usize| fields.get(n).and_then(|f| f.parse::<u64>().ok());
        let Some(range) = (if ranges { number(1).zip(number(2)) } else { number(2).map(|id| (id, 1)) })
        else {
            continue;
        };
        let (first, count) = range;
        // 65534 is the overflow id and the last two mean "no id"; none of them is in a range of ours.
        let last = first.saturating_add(count.saturating_sub(1));
        if count == 0 || last < first_of_ours || first >= u64::from(u32::MAX) - 1 {
            continue;
        }
        let span = if count == 1 { first.to_string() } else { format!("{first}-{last}") };
        found.push(format!("/etc/{file}: {} has {span}", fields[0]));
    }
    found
}

/// Returns the names of datasets in a cache of zfs-mount-generator: the first column of each line.
pub fn cached_names(content: &str) -> Vec<String> {
    let lines = content.lines().filter_map(|l| l.split('\t').next());
    lines.filter(|n| !n.is_empty()).map(str::to_owned).collect()
}

/// Says whether a unit's settings put its service into a user namespace.
pub fn has_private_users(settings: &str) -> bool {
    let mut last = None;
    for line in settings.lines() {
        if let Some((key, value)) = line.split_once('=')
            && key.trim() == "PrivateUsers"
        {
            last = Some(value.trim().to_ascii_lowercase());
        }
    }
    last.is_some_and(|v| !matches!(v.as_str(), "" | "no" | "false" | "off" | "0" | "n" | "f"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_others() {
        let subuid = "ann:100000:65536\nbob:1000000000:65536\nroot:999999999:1\n# x\nx:y:z\nc:999999990:20\n";
        assert_eq!(
            foreign_ids("subuid", subuid),
            ["/etc/subuid: bob has 1000000000-1000065535", "/etc/subuid: c has 999999990-1000000009"]
        );
        let passwd = "root:x:0:0::/:/bin/sh\nbig:x:1000000005:5::/:\nnobody:x:4294967294:1::/:\n";
        assert_eq!(foreign_ids("passwd", passwd), ["/etc/passwd: big has 1000000005"]);
        assert!(foreign_ids("subgid", "ann:0:0\n\n:").is_empty());
    }

    #[test]
    fn controllers_of_version_1() {
        let table = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t3\t1\t1\nmemory\t0\t90\t1\n";
        assert_eq!(v1_controllers(table), ["cpuset"]);
    }

    #[test]
    fn settings_of_units() {
        assert!(has_private_users("[Service]\nPrivateUsers=yes\n"));
        assert!(has_private_users("PrivateUsers = identity"));
        assert!(!has_private_users("PrivateUsers=yes\nPrivateUsers=no\n"));
        assert!(!has_private_users("# PrivateUsers=yes\n[Service]\n"));
    }

    #[test]
    fn caches_of_the_generator() {
        assert_eq!(cached_names("tank\t/tank\ton\ntank/a b\t/x\ton\n\n"), ["tank", "tank/a b"]);
    }
}
