//! Names: the resolver and hosts files of a zone that has none of its own.
//!
//! A zone gets a copy of the host's resolver file, and a hosts file with its addresses. The last copy is kept beside
//! the zone's state: while the zone's file equals it, a boot brings it up to date; once the zone has changed its
//! file, the file is the zone's own and stays.

use std::net::IpAddr;
use std::path::Path;

use rustix::fs::FileType;

use crate::plan::net::ZoneLink;
use crate::sys::path::{Dir, IN_ROOT, Owned, PathError, STRICT};

/// Longest file that is read.
const LIMIT: usize = 64 * 1024;

/// Name of the file in a zone's folder that holds the last copy.
const RECORD: &str = "resolv.conf";

/// The same of the hosts file.
const HOSTS_RECORD: &str = "hosts";

/// The first and last line of our hosts file.
const HOSTS_HEAD: &str = "127.0.0.1\tlocalhost\n";
const HOSTS_TAIL: &str =
    "\n::1\tlocalhost ip6-localhost ip6-loopback\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

/// Files in which programs that put a stub in place of the servers name the servers.
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
    let mut text = String::from(HOSTS_HEAD);
    if addresses.is_empty() {
        text.push_str(&format!("127.0.1.1\t{name}\n"));
    }
    for ip in addresses {
        text.push_str(&format!("{ip}\t{name}\n"));
    }
    text.push_str(HOSTS_TAIL);
    text
}

/// Says whether a hosts file is as [`hosts`] makes it, for whatever name and addresses: that of a zone which
/// was just installed or cloned.
fn is_ours(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let between = text.strip_prefix(HOSTS_HEAD).and_then(|t| t.strip_suffix(HOSTS_TAIL));
    let Some(lines) = between else { return false };
    let mut names = lines.lines().map(|line| line.split_once('\t'));
    let first = names.clone().next().flatten().map(|(_, name)| name);
    names.all(|line| {
        line.is_some_and(|(ip, name)| {
            ip.parse::<IpAddr>().is_ok() && Some(name) == first && !name.contains(char::is_whitespace)
        })
    })
}

/// Leaves the servers out that a resolver file names by a link of the host, but for links that the zone uses as
/// well: they have the zone's name for them then. Returns those that are left out, too.
pub fn scoped(text: &[u8], links: &[&ZoneLink]) -> (Vec<u8>, Vec<String>) {
    let text = String::from_utf8_lossy(text).into_owned();
    let (mut kept, mut left_out) = (String::new(), Vec::new());
    for line in text.split_inclusive('\n') {
        let scope = server(line).and_then(|s| s.split_once('%'));
        let Some((address, scope)) = scope else {
            kept.push_str(line);
            continue;
        };
        // A tag would keep the zone from the machines on the link itself.
        let same = |l: &&&ZoneLink| l.vlan == 0 && (l.lower == scope || scope.parse() == Ok(l.lower_index));
        match links.iter().find(same) {
            Some(link) => kept
                .push_str(&line.replace(&format!("{address}%{scope}"), &format!("{address}%{}", link.name))),
            None => left_out.push(format!("{address}%{scope}")),
        }
    }
    (kept.into_bytes(), left_out)
}

/// The name and the addresses of a zone.
#[derive(Clone, Copy, Debug)]
pub struct ZoneNames<'a> {
    /// Its host name.
    pub name: &'a str,
    /// Its addresses.
    pub addresses: &'a [IpAddr],
    /// Its links.
    pub links: &'a [&'a ZoneLink],
}

/// Says whether a boot has put a hosts file into a zone. `state` is the folder of what outlives a boot.
pub fn has_named(state: &Path) -> bool {
    std::fs::symlink_metadata(state.join(HOSTS_RECORD)).is_ok()
}

/// Does for a boot what [`refresh`] does, and returns warnings. A zone may have made it impossible: then it
/// has its own way.
pub fn boot(root: &Path, state: &Path, names: ZoneNames<'_>) -> Vec<String> {
    let done = refresh(Path::new("/"), root, state, names);
    done.unwrap_or_else(|e| vec![format!("resolv.conf and hosts are left as they are: {e}")])
}

/// Brings a zone's resolver and hosts files up to date, where they are not its own. `root` is the zone's root
/// on the host, `state` the folder of what outlives a boot. Returns warnings.
///
/// # Errors
/// [`PathError`] when a file cannot be written.
pub fn refresh(
    host: &Path,
    root: &Path,
    state: &Path,
    names: ZoneNames<'_>,
) -> Result<Vec<String>, PathError> {
    let root = Dir::open_host(root)?;
    // Some systems have /etc as a link; it is followed as the zone would. A zone without is left alone.
    let etc = match root.dir("etc", IN_ROOT) {
        Err(e) if e.is_not_found() => return Ok(Vec::new()),
        other => other?,
    };
    let state = match Dir::open_host(state) {
        Err(e) if e.is_not_found() => None,
        other => Some(other?),
    };
    let files = Files { etc, state };
    let hosts = hosts(names.name, names.addresses).into_bytes();
    files.put("hosts", HOSTS_RECORD, &hosts, is_ours)?;
    let Some(found) = of_host(host)? else { return Ok(Vec::new()) };
    let (wanted, left_out) = scoped(&found, names.links);
    // The file of an installation knows of no links.
    let (plain, _) = scoped(&found, &[]);
    if !files.put(RECORD, RECORD, &wanted, |there| there == plain)? {
        return Ok(Vec::new());
    }
    let list = left_out.join(", ");
    let none = !String::from_utf8_lossy(&wanted).lines().any(|l| server(l).is_some());
    Ok(match (left_out.is_empty(), none) {
        (true, _) => Vec::new(),
        (false, false) => vec![format!("/etc/resolv.conf: {list} is on no link of the zone and is left out")],
        (false, true) => vec![format!(
            "/etc/resolv.conf: {list} is on no link of the zone and is left out; the zone has no resolver: write one \
             into its /etc/resolv.conf"
        )],
    })
}

/// The files of a zone, and their last copies.
struct Files {
    etc: Dir,
    /// None: the zone has no state yet.
    state: Option<Dir>,
}

impl Files {
    /// Puts a file into the zone, unless the zone has one of its own. A file without a last copy is not its own when
    /// `fresh` says so. Says whether the file is the wanted one afterwards.
    fn put(
        &self,
        name: &str,
        record: &str,
        wanted: &[u8],
        fresh: impl FnOnce(&[u8]) -> bool,
    ) -> Result<bool, PathError> {
        let empty = |s: &rustix::fs::Stat| {
            s.st_size == 0 && FileType::from_raw_mode(s.st_mode) == FileType::RegularFile
        };
        let missing = self.etc.stat(name)?.as_ref().is_none_or(empty);
        let there = if missing { None } else { self.etc.read(name, LIMIT, STRICT)? };
        let last = match &self.state {
            Some(state) => state.read(record, LIMIT, STRICT)?,
            None => None,
        };
        if there.as_deref() != Some(wanted) {
            let ours = match (&there, &last) {
                (None, _) => missing,
                (Some(there), Some(last)) => there == last,
                (Some(there), None) => fresh(there),
            };
            if !ours {
                return Ok(false);
            }
            self.etc.write(name, Owned::root(0o644), wanted)?;
        }
        if let Some(state) = self.state.as_ref().filter(|_| last.as_deref() != Some(wanted)) {
            state.write(record, Owned::root(0o644), wanted)?;
        }
        Ok(true)
    }
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
        let names = ZoneNames { name: "zion", addresses: &[ip], links: &[] };
        let boot = || drop(refresh(&host, &root, &state, names).expect("written"));
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

    #[test]
    fn a_server_on_a_link_is_named_by_the_zones_link_or_left_out() {
        let link = |name: &str, lower: &str, index, vlan| ZoneLink {
            name: name.into(),
            lower: lower.into(),
            lower_index: index,
            vlan,
            ..ZoneLink::default()
        };
        let (net0, tagged) = (link("net0", "eth0", 2, 0), link("net1", "eth1", 3, 42));
        let host = b"search x\nnameserver fe80::1%eth0\nnameserver fe80::2%2\nnameserver fe80::3%eth1\nnameserver fe80::4%eth9\n";
        let (kept, left_out) = scoped(host, &[&net0, &tagged]);
        let kept = String::from_utf8(kept).expect("text");
        assert_eq!(kept, "search x\nnameserver fe80::1%net0\nnameserver fe80::2%net0\n");
        assert_eq!(left_out, ["fe80::3%eth1", "fe80::4%eth9"]);
        let plain = b"nameserver 192.0.2.1\nnameserver fe80::1";
        assert_eq!(scoped(plain, &[]), (plain.to_vec(), vec![]));
    }

    #[test]
    fn a_resolver_on_a_link_is_told_when_it_is_left_out() {
        let top = tempfile::tempdir().expect("a folder");
        let (host, root, state) =
            (top.path().join("host"), top.path().join("root"), top.path().join("state"));
        fs::create_dir(&state).expect("a folder");
        put(&host.join("etc/resolv.conf"), "nameserver fe80::1%eth0\nnameserver 127.0.0.53\n");
        put(&root.join("etc/hosts"), "");
        let link = ZoneLink { name: "net0".into(), lower: "eth0".into(), ..ZoneLink::default() };
        let boot = |links: &[&ZoneLink]| {
            refresh(&host, &root, &state, ZoneNames { name: "zion", addresses: &[], links }).expect("written")
        };
        let said = boot(&[]);
        assert!(said.len() == 1 && said[0].contains("fe80::1%eth0 is on no link of the zone"), "{said:?}");
        assert!(said[0].contains("the zone has no resolver"), "{said:?}");
        assert_eq!(boot(&[&link]), [] as [&str; 0]);
        let there = fs::read_to_string(root.join("etc/resolv.conf")).expect("there");
        assert_eq!(there, "nameserver fe80::1%net0\n");
    }

    #[test]
    fn a_hosts_file_follows_the_addresses_until_the_zone_changes_it() {
        let top = tempfile::tempdir().expect("a folder");
        let (host, root, state) =
            (top.path().join("host"), top.path().join("root"), top.path().join("state"));
        fs::create_dir(&host).expect("a folder");
        fs::create_dir(&state).expect("a folder");
        let file = root.join("etc/hosts");
        let boot = |ips: &[&str]| {
            let ips: Vec<IpAddr> = ips.iter().map(|ip| ip.parse().expect("an address")).collect();
            refresh(&host, &root, &state, ZoneNames { name: "zion", addresses: &ips, links: &[] })
                .expect("written");
            fs::read_to_string(&file).expect("there")
        };
        // The state after an installation.
        put(&file, &hosts("zion", &[]));
        assert!(boot(&["192.0.2.7"]).contains("192.0.2.7\tzion\n"));
        let both = boot(&["192.0.2.8", "2001:db8::8"]);
        assert!(
            both.contains("192.0.2.8\tzion\n2001:db8::8\tzion\n") && !both.contains("192.0.2.7"),
            "{both}"
        );
        assert!(boot(&[]).contains("127.0.1.1\tzion\n"));
        for own in [format!("{}192.0.2.99\tother\n", hosts("zion", &[])), hosts("web.example", &[])] {
            put(&file, &own);
            assert_eq!(boot(&["192.0.2.7"]), own, "the zone's own");
        }
        // A clone brings the file of its origin along, and no note of it.
        fs::remove_file(state.join("hosts")).expect("a note");
        put(&file, &hosts("origin", &["192.0.2.1".parse().expect("one")]));
        assert!(boot(&["192.0.2.7"]).contains("192.0.2.7\tzion\n"));
        fs::remove_file(state.join("hosts")).expect("a note");
        put(&file, "127.0.0.1 localhost\n192.0.2.1 zion\n");
        assert_eq!(boot(&["192.0.2.7"]), "127.0.0.1 localhost\n192.0.2.1 zion\n", "of an image");
    }
}
