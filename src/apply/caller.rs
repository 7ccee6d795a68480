//! The user of the host for whom the broker has started this program, and the log of the requests.

use nix::unistd::{Uid, User};

use crate::apply::logfile;
use crate::apply::paths::Root;
use crate::spec::rights::{self, Auth};
use crate::spec::{ZoneName, ZoneSpec};

/// Name of the log in the folder of states. No zone can be called so.
pub const LOG: &str = ".broker.log";

/// Environment variable that names the user for whom a program works. It only ever takes rights away.
const CALLER: &str = "ZONES_CALLER";

/// Returns the name of the user that this process belongs to.
pub fn own_name() -> String {
    name_of(rustix::process::getuid().as_raw()).unwrap_or_default()
}

/// Returns the login name of a user of the host.
pub(super) fn name_of(uid: u32) -> Option<String> {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|u| u.name)
}

/// The user of the host for whom a program works with the rights of root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub(super) uid: u32,
    /// Process that has connected.
    pub(super) pid: i32,
    pub(super) name: String,
}

impl Caller {
    /// Returns the user for whom this program works; none when it works for its own caller. A value that makes no
    /// sense is a user without any right.
    pub fn from_env() -> Option<Self> {
        let text = std::env::var_os(CALLER)?;
        let text = text.to_string_lossy();
        let mut fields = text.splitn(3, ':');
        let uid = fields.next().and_then(|f| f.parse().ok());
        let pid = fields.next().and_then(|f| f.parse().ok());
        Some(match (uid, pid, fields.next()) {
            (Some(uid), Some(pid), Some(name)) => Self { uid, pid, name: name.to_owned() },
            _ => Self { uid: u32::MAX, pid: 0, name: String::new() },
        })
    }

    pub(super) fn to_env(&self) -> String {
        format!("{CALLER}={}:{}:{}", self.uid, self.pid, self.name)
    }

    /// Returns the login name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Says whether the spec of a zone gives an authorization to this user.
    pub fn has(&self, spec: &ZoneSpec, auth: Auth) -> bool {
        rights::has(spec, &self.name, auth)
    }

    /// Notes that the user may do something to a zone, and that it is done now.
    pub fn allowed(&self, root: &Root, zone: &ZoneName, what: &str) {
        self.note(root, &format!("zone '{zone}': {what}: allowed"));
    }

    /// Notes that the user may not do something.
    pub fn refused(&self, root: &Root, what: &str, why: &str) {
        self.note(root, &format!("{what}: refused: {why}"));
    }

    fn note(&self, root: &Root, text: &str) {
        log(root, &format!("uid {} ({}), pid {}: {text}", self.uid, self.name, self.pid));
    }
}

/// Writes a line to the log of the broker and to the system log (facility authpriv, level notice).
pub(super) fn log(root: &Root, line: &str) {
    let line: String = line.chars().map(|c| if c.is_control() { '?' } else { c }).take(1000).collect();
    // An error is ignored: the operation must not fail for its log.
    let _ = append(root, &line);
    if let Ok(socket) = std::os::unix::net::UnixDatagram::unbound() {
        // The broker does not wait for a log daemon that does not read.
        let _ = socket.set_nonblocking(true);
        let _ = socket.send_to(format!("<85>zonesd[{}]: {line}", std::process::id()).as_bytes(), "/dev/log");
    }
}

fn append(root: &Root, line: &str) -> std::io::Result<()> {
    let dir = root.lib_dir();
    // The lock lets one writer in at a time: of two that find the log full, the second would rotate the log that the
    // first has just begun.
    let folder = std::fs::File::open(&dir)?;
    folder.lock()?;
    logfile::append(&dir.join(LOG), line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_who_write_lose_no_more_than_what_is_older() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Root::new(Some(folder.path()));
        std::fs::create_dir_all(root.lib_dir()).expect("a folder");
        // The log is full only once, and then not before its last line: no line may be lost.
        let long = "x".repeat(900);
        for round in 0..20 {
            let lines = |name: &str| {
                let text = std::fs::read_to_string(root.lib_dir().join(name)).unwrap_or_default();
                text.lines().filter(|l| l.contains(&format!("round {round},"))).count()
            };
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    let write = || append(&root, &format!("round {round}, {long}")).expect("a line");
                    scope.spawn(move || (0..65).for_each(|_| write()));
                }
            });
            assert_eq!(lines(LOG) + lines(".broker.log.old"), 520, "round {round}");
            std::fs::remove_file(root.lib_dir().join(LOG)).expect("a log");
        }
    }
}
