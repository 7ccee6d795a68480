//! The password files of a new zone: accounts of the host's software, no people, no passwords.

/// Ids below are the system's, on every distribution that we know (`SYS_UID_MAX` is 999).
const PEOPLE: u32 = 1000;

/// `nobody` and `nogroup`.
const NOBODY: u32 = 65534;

/// Longest file that is read.
pub const LIMIT: usize = 1 << 20;

fn is_system(id: &str) -> bool {
    id.parse().is_ok_and(|id: u32| id < PEOPLE || id == NOBODY)
}

fn fields(line: &str, count: usize) -> Option<Vec<&str>> {
    let fields: Vec<_> = line.split(':').collect();
    let name = fields.first()?;
    // `+` and `-` are lines for NIS.
    let good = fields.len() == count && !name.is_empty() && !name.starts_with(['+', '-', '#']);
    good.then_some(fields)
}

/// Returns the zone's `passwd`: the host's system accounts and `root`.
///
/// Programs of the host run as these users and own files in its directories.
pub fn passwd(host: &str) -> String {
    let mut out = String::new();
    let mut root = "root:x:0:0:root:/root:/bin/sh\n".to_owned();
    for line in host.lines() {
        let Some(f) = fields(line, 7) else { continue };
        if f[0] == "root" {
            root = format!("root:x:0:0:root:/root:{}\n", if f[6].is_empty() { "/bin/sh" } else { f[6] });
        } else if is_system(f[2]) && f[2] != "0" {
            // A home below /home is of a person, whatever the number.
            let home = if f[5].starts_with("/home/") { "/nonexistent" } else { f[5] };
            out.push_str(&format!("{}:x:{}:{}:{}:{home}:{}\n", f[0], f[2], f[3], f[4], f[6]));
        }
    }
    if !host.lines().any(|l| l.starts_with("nobody:")) {
        out.push_str("nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n");
    }
    root + &out
}

/// Returns the zone's `group`: the host's system groups, with members only from the zone's accounts.
pub fn group(host: &str, passwd: &str) -> String {
    let known = |user: &&str| names(passwd).any(|n| n == *user);
    let mut out = String::new();
    let mut root = false;
    for line in host.lines() {
        let Some(f) = fields(line, 4) else { continue };
        if is_system(f[2]) {
            root |= f[0] == "root";
            let members: Vec<_> = f[3].split(',').filter(known).collect();
            out.push_str(&format!("{}:x:{}:{}\n", f[0], f[2], members.join(",")));
        }
    }
    if !root {
        out.insert_str(0, "root:x:0:\n");
    }
    if !names(&out).any(|n| n == "nogroup" || n == "nobody") {
        out.push_str("nogroup:x:65534:\n");
    }
    out
}

/// Returns a `shadow` in which no account has a valid password.
pub fn shadow(passwd: &str) -> String {
    names(passwd).map(|name| format!("{name}:*:::::::\n")).collect()
}

/// Returns a `gshadow` in which no group has a password.
pub fn gshadow(group: &str) -> String {
    let line = |line: &str| {
        let f = fields(line, 4)?;
        Some(format!("{}:*::{}\n", f[0], f[3]))
    };
    group.lines().filter_map(line).collect()
}

/// Returns the number of a group.
pub fn gid(group: &str, name: &str) -> Option<u32> {
    group.lines().filter_map(|l| fields(l, 4)).find(|f| f[0] == name)?[2].parse().ok()
}

fn names(file: &str) -> impl Iterator<Item = &str> {
    let valid = |n: &&str| !n.is_empty() && !n.starts_with(['+', '-', '#']);
    file.lines().filter_map(|l| l.split_once(':').map(|(name, _)| name)).filter(valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:HASH:0:0:The Admin:/root:/bin/bash\n\
        toor:HASH:0:0::/root:/bin/sh\n\
        daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\
        svc:x:999:999::/home/svc:/bin/sh\n\
        alice:x:1000:1000:Alice:/home/alice:/bin/bash\n\
        broken:line\n+nis::::::\n\
        nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
    const GROUP: &str =
        "root:x:0:\nshadow:x:42:alice,daemon\nsudo:HASH:27:alice\npeople:x:1000:\nnogroup:x:65534:\n";

    #[test]
    fn system_accounts_without_people_and_passwords() {
        let passwd = passwd(PASSWD);
        assert_eq!(
            passwd,
            "root:x:0:0:root:/root:/bin/bash\n\
             daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\
             svc:x:999:999::/nonexistent:/bin/sh\n\
             nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
        );
        let group = group(GROUP, &passwd);
        assert_eq!(group, "root:x:0:\nshadow:x:42:daemon\nsudo:x:27:\nnogroup:x:65534:\n");
        assert_eq!(shadow(&passwd).lines().next(), Some("root:*:::::::"));
        assert_eq!(shadow(&passwd).lines().count(), 4);
        assert!(shadow(&passwd).lines().all(|l| l.split(':').count() == 9));
        assert_eq!(gshadow(&group).lines().nth(1), Some("shadow:*::daemon"));
        assert_eq!((gid(&group, "shadow"), gid(&group, "none")), (Some(42), None));
    }

    #[test]
    fn a_host_without_files_still_gives_root() {
        assert_eq!(passwd("").lines().count(), 2);
        assert!(passwd("").starts_with("root:x:0:0:root:/root:/bin/sh\n"));
        assert_eq!(group("", &passwd("")), "root:x:0:\nnogroup:x:65534:\n");
    }
}
