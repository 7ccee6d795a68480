//! Names: the resolver and hosts files of a zone that has none of its own.
//!
//! A zone gets a copy of the host's resolver file. What was put there last is kept beside the zone's
//! state: while the zone's file is still that, a boot brings it up to date; once the zone has changed
//! it, it is the zone's own and stays.

use std::net::IpAddr;
use std::path::Path;

use rustix::fs::FileType;

use crate::sys::path::{Dir, IN_ROOT, Owned, PathError, STRICT};

/// Longest file that is read.
const LIMIT: usize = 64 * 1024;

/// Name of the file in a zone's folder that holds what was put into the zone last.
const RECORD: &str = "resolv.conf";

/// Where programs that put a stub in place of the servers tell who those are.
const BEHIND_STUBS: [&str; 3] =
    ["run/systemd/resolve/resolv.conf", "run/NetworkManager/no-stub-resolv.conf", "run/dnsmasq/resolv.conf"];

/// Returns a resolver file for zones, from the host's. A server on the host's loopback would not answer
/// a zone: then the servers behind it are taken, as far as the host knows them.
///
/// # Errors
/// [`PathError`] when the host's file cannot be read.
pub fn of_host(host: &Path) -> Result<Option<Vec<u8>>, PathError> {
    let dir = match Dir::open_host(host) {
        Err(e) if e.is_not_found() => return Ok(None),
        other => other?,
    };
    let Some(own) = dir.read("etc/resolv.conf", LIMIT, IN_ROOT)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&own).into_owned();
    if !text.lines().any(is_loopback) {
        return Ok(Some(own));
    }
    for behind in BEHIND_STUBS {
        if let Some(found) = dir.read(behind, LIMIT, IN_ROOT)? {
            let usable = |l: &str| server(l).is_some() && !is_loopback(l);
            if String::from_utf8_lossy(&found).lines().any(usable) {
                return Ok(Some(found));
            }
        }
    }
    let rest: Vec<&str> = text.lines().filter(|l| !is_loopback(l)).collect();
    Ok(Some(format!("{}\n", rest.join("\n")).into_bytes()))
}

fn server(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    (words.next() == Some("nameserver")).then(|| words.next())?
}

fn is_loopback(line: &str) -> bool {
    let address = server(line).and_then(|s| s.split('%').next()?.parse::<IpAddr>().ok());
    address.is_some_and(|ip| ip.is_loopback() || ip.is_unspecified())
}

/// Returns a hosts file for a zone with these addresses.
pub fn hosts(name: &str, addresses: &[IpAddr]) -> String {
    let mut text = String::from("127.0.0.1\tlocalhost\n");
    if addresses.is_empty() {
        text.push_str(&format!("127.0.1.1\t{name}\n"));
    }
    for ip in addresses {
        text.push_str(&format!("{ip}\t{name}\n"));
    }
    text.push_str(
        "\n::1\tlocalhost ip6-localhost ip6-loopback\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
    );
    text
}

/// Does for a boot what [`refresh`] does. A zone may have made it impossible: then it has its own way, and
/// the reason is returned as a warning.
pub fn boot(root: &Path, state: &Path, name: &str, addresses: &[IpAddr]) -> Option<String> {
    let done = refresh(Path::new("/"), root, state, name, addresses);
    done.err().map(|e| format!("resolv.conf and hosts are left as they are: {e}"))
}

/// Brings a zone's resolver file up to date, and gives it a hosts file, where they are not its own.
/// `root` is the zone's root on the host, `state` the folder of what outlives a boot.
///
/// # Errors
/// [`PathError`] when a file cannot be written.
pub fn refresh(
    host: &Path,
    root: &Path,
    state: &Path,
    name: &str,
    addresses: &[IpAddr],
) -> Result<(), PathError> {
    let root = Dir::open_host(root)?;
    // Some systems have /etc as a link; it is followed as the zone would. A zone without is left alone.
    let etc = match root.dir("etc", IN_ROOT) {
        Err(e) if e.is_not_found() => return Ok(()),
        other => other?,
    };
    let missing = |name: &str| -> Result<bool, PathError> {
        let empty = |s: &rustix::fs::Stat| {
            s.st_size == 0 && FileType::from_raw_mode(s.st_mode) == FileType::RegularFile
        };
        Ok(etc.stat(name)?.as_ref().is_none_or(empty))
    };
    if missing("hosts")? {
        etc.write("hosts", Owned::root(0o644), hosts(name, addresses).as_bytes())?;
    }
    let Some(wanted) = of_host(host)? else { return Ok(()) };
    let state = match Dir::open_host(state) {
        Err(e) if e.is_not_found() => return Ok(()),
        other => other?,
    };
    let last = state.read(RECORD, LIMIT, STRICT)?;
    let there = if missing("resolv.conf")? { None } else { etc.read("resolv.conf", LIMIT, STRICT)? };
    let present = !missing("resolv.conf")?;
    if there.as_ref() != Some(&wanted) {
        if present && (there.is_none() || there != last) {
            return Ok(());
        }
        etc.write("resolv.conf", Owned::root(0o644), &wanted)?;
    }
    if last.as_ref() != Some(&wanted) {
        state.write(RECORD, Owned::root(0o644), &wanted)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn put(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, text).expect("written");
    }

    fn taken(files: &[(&str, &str)]) -> Option<String> {
        let host = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            put(&host.path().join(name), text);
        }
        of_host(host.path()).expect("readable").map(|b| String::from_utf8(b).expect("text"))
    }

    #[test]
    fn a_server_that_would_not_answer_a_zone_is_not_taken() {
        assert_eq!(taken(&[]), None);
        let plain = "search example.org\nnameserver 192.0.2.53\n";
        assert_eq!(taken(&[("etc/resolv.conf", plain)]).as_deref(), Some(plain));
        let stub = ("etc/resolv.conf", "nameserver 127.0.0.53\noptions edns0\n");
        let behind = ("run/systemd/resolve/resolv.conf", "nameserver 192.0.2.9\n");
        assert_eq!(taken(&[stub, behind]).as_deref(), Some("nameserver 192.0.2.9\n"));
        assert_eq!(taken(&[stub]).as_deref(), Some("options edns0\n"));
        let two = ("etc/resolv.conf", "nameserver ::1\nnameserver 2001:db8::53\n");
        assert_eq!(taken(&[two]).as_deref(), Some("nameserver 2001:db8::53\n"));
        // Another stub behind the stub is of no use.
        let worse = ("run/systemd/resolve/resolv.conf", "nameserver 127.0.0.1\n");
        let next = ("run/NetworkManager/no-stub-resolv.conf", "nameserver 192.0.2.8\n");
        assert_eq!(taken(&[stub, worse, next]).as_deref(), Some("nameserver 192.0.2.8\n"));
    }

    #[test]
    fn a_link_of_the_host_is_followed() {
        let host = tempfile::tempdir().expect("a folder");
        put(&host.path().join("run/NetworkManager/resolv.conf"), "nameserver 192.0.2.1\n");
        fs::create_dir(host.path().join("etc")).expect("a folder");
        symlink("../run/NetworkManager/resolv.conf", host.path().join("etc/resolv.conf")).expect("a link");
        assert_eq!(of_host(host.path()).expect("readable").as_deref(), Some(&b"nameserver 192.0.2.1\n"[..]));
    }

    #[test]
    fn what_the_zone_has_changed_is_its_own() {
        let top = tempfile::tempdir().expect("a folder");
        let (host, root, state) =
            (top.path().join("host"), top.path().join("root"), top.path().join("state"));
        let (theirs, ours) = (host.join("etc/resolv.conf"), root.join("etc/resolv.conf"));
        fs::create_dir(&state).expect("a folder");
        put(&root.join("etc/hosts"), "");
        let ip = "192.0.2.7".parse().expect("an address");
        let boot = || refresh(&host, &root, &state, "zion", &[ip]).expect("written");
        let read = || fs::read_to_string(&ours).expect("there");
        put(&theirs, "nameserver 192.0.2.1\n");
        boot();
        assert_eq!(read(), "nameserver 192.0.2.1\n");
        assert!(fs::read_to_string(root.join("etc/hosts")).expect("there").contains("192.0.2.7\tzion\n"));
        put(&theirs, "nameserver 192.0.2.2\n");
        boot();
        assert_eq!(read(), "nameserver 192.0.2.2\n", "brought up to date");
        put(&ours, "nameserver 203.0.113.1\n");
        put(&theirs, "nameserver 192.0.2.3\n");
        boot();
        assert_eq!(read(), "nameserver 203.0.113.1\n", "the zone's own");
        // A link of the zone's is its own as well, and not followed.
        fs::remove_file(&ours).expect("removed");
        symlink("../../state/trap", &ours).expect("a link");
        boot();
        assert!(!state.join("trap").exists());
        fs::remove_file(&ours).expect("removed");
        boot();
        assert_eq!(read(), "nameserver 192.0.2.3\n", "a missing one is made again");
    }
}
