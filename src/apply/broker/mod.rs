//! Rights of users of the host on zones: a broker does for them what `admin` resources allow.
//!
//! ```text
//! user:  zoneadm, zlogin, zonecfg ──► socket ──► zonesd (root) ── fork ──► monitor: who is it? (sys::peer)
//!          keeps the user's terminal and files      ▲                        │ fork, exec
//!          and relays bytes                         └── pipes, a terminal ── zoneadm, zlogin, zonecfg (root):
//!                                                       made by the monitor  is it allowed? (spec::rights)
//! ```
//!
//! | what | why so |
//! |---|---|
//! | the user is who the kernel says has connected, in the host's user namespace | nothing that a client says about itself counts, and no process of a zone is anybody |
//! | no descriptor of the client comes into a process of root | neither a terminal (TIOCSTI), nor a file that asks who writes to it |
//! | one process for each connection, with time limits | nobody waits for somebody else |
//! | peers of other user namespaces are hung up on before they are counted; ids without a name count as one user; a part of the room is for users who have no connection yet | one user with subordinate ids has thousands of user ids, and must not shut the broker for others |
//! | environment, limits, folder, umask and signals are the broker's | `TERM` and `LANG` are taken over when they are plain words |
//! | the program checks the authorization itself, on the spec that it works on | one reader of the command line, and no time between check and use |
//! | subcommands, properties and attributes that are not known to be harmless are refused | a new one is closed until somebody opens it |
//! | `zonecfg` runs as the user; only the result is handed over, and compared with what is saved | no pager, editor, history or file with the rights of root |

pub mod client;
mod room;
pub mod serve;
mod store;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};

use crate::apply::guard::report;
use crate::apply::paths::Root;
use crate::spec::rights::{self, Auth};
use crate::spec::shown::Show;
use crate::spec::{ZoneName, ZoneSpec};

pub use store::{BrokeredStore, CONFLICT, take_commit};

/// Name of the broker's socket in the run-time folder. No zone can be called so.
pub const SOCKET: &str = ".broker";

/// Name of the log in the folder of states. No zone can be called so.
pub const LOG: &str = ".broker.log";

/// Longest request in bytes.
const REQUEST_MAX: usize = 64 << 10;
/// Longest other message.
const MESSAGE_MAX: usize = 4 << 10;
/// What a request begins with: the release of this way of talking.
const MAGIC: &str = "zones-broker 1";

/// Environment variable that tells a program for whom it works. It only ever takes rights away.
const CALLER: &str = "ZONES_CALLER";

/// What the monitor says.
mod answer {
    pub const REFUSED: &str = "refused ";
    pub const OPEN: &str = "open";
    pub const EXIT: &str = "exit ";
    pub const KILLED: &str = "killed ";
    pub const STOPPED: &str = "stopped";
}

/// What the client says after its request.
mod order {
    pub const GO: &str = "go";
    pub const SIGNAL: &str = "signal ";
}

/// Returns the path of the socket.
pub fn socket(root: &Root) -> PathBuf {
    root.run_dir().join(SOCKET)
}

/// Returns the name of the user that this process belongs to.
pub fn own_name() -> String {
    name_of(rustix::process::getuid().as_raw()).unwrap_or_default()
}

/// Returns the login name of a user of the host.
fn name_of(uid: u32) -> Option<String> {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|u| u.name)
}

/// The user of the host for whom a program works with the rights of root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    uid: u32,
    /// Process that has connected.
    pid: i32,
    name: String,
}

impl Caller {
    /// Returns for whom this program works; none when it works for who has started it. A value that makes
    /// no sense is a user without any right.
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

    fn to_env(&self) -> String {
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
fn log(root: &Root, line: &str) {
    let line: String = line.chars().map(|c| if c.is_control() { '?' } else { c }).take(1000).collect();
    // The operation does not depend on a log that cannot be written.
    let _ = append(root, &line);
    if let Ok(socket) = std::os::unix::net::UnixDatagram::unbound() {
        // Who does not read is not waited for.
        let _ = socket.set_nonblocking(true);
        let _ = socket.send_to(format!("<85>zonesd[{}]: {line}", std::process::id()).as_bytes(), "/dev/log");
    }
}

fn append(root: &Root, line: &str) -> std::io::Result<()> {
    let dir = root.lib_dir();
    // One at a time: two that find it full would put a log that has just begun in the older one's place.
    let folder = std::fs::File::open(&dir)?;
    folder.lock()?;
    report::append(&dir.join(LOG), line)
}

/// The programs that the broker starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `zoneadm`.
    Zoneadm,
    /// `zlogin`.
    Zlogin,
    /// `zonecfg`, which takes a finished configuration.
    Zonecfg,
}

impl Program {
    const ALL: [Self; 3] = [Self::Zoneadm, Self::Zlogin, Self::Zonecfg];

    fn name(self) -> &'static str {
        match self {
            Self::Zoneadm => "zoneadm",
            Self::Zlogin => "zlogin",
            Self::Zonecfg => "zonecfg",
        }
    }

    /// Finds the program: beside the running one or in the other folder of programs, as they are
    /// installed and built.
    fn find(self) -> Option<PathBuf> {
        let own = std::env::current_exe().ok()?;
        let folder = own.parent()?;
        let above = folder.parent()?;
        let folders = [folder.to_owned(), above.join("bin"), above.join("sbin")];
        folders.into_iter().map(|f| f.join(self.name())).find(|p| p.is_file())
    }
}

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Request {
    program: Program,
    /// Standard output, and standard input where it is wanted, are a terminal.
    terminal: bool,
    /// Standard error is that terminal.
    errors: bool,
    /// The program reads standard input.
    input: bool,
    term: OsString,
    lang: OsString,
    args: Vec<OsString>,
}

impl Request {
    fn to_bytes(&self) -> Vec<u8> {
        let flags = [self.terminal, self.errors, self.input].map(|f| if f { b'1' } else { b'0' });
        let head = [MAGIC.as_bytes(), self.program.name().as_bytes(), &flags];
        let tail = [&self.term, &self.lang].into_iter().chain(&self.args).map(|w| w.as_bytes());
        head.into_iter().chain(tail).collect::<Vec<_>>().join(&0)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = bytes.split(|b| *b == 0);
        let magic = fields.next()?;
        let name = fields.next()?;
        let flags: [bool; 3] =
            fields.next()?.iter().map(|b| *b == b'1').collect::<Vec<_>>().try_into().ok()?;
        let [terminal, errors, input] = flags;
        let mut word = || fields.next().map(|f| OsString::from_vec(f.to_vec()));
        let (term, lang) = (word()?, word()?);
        let args = std::iter::from_fn(word).collect();
        let program = Program::ALL.into_iter().find(|p| p.name().as_bytes() == name)?;
        (magic == MAGIC.as_bytes()).then_some(Self { program, terminal, errors, input, term, lang, args })
    }
}

/// Returns a word of the caller's environment, none when it could be anything but a name.
fn plain(word: &OsStr) -> Option<&str> {
    let good = |b: &u8| b.is_ascii_alphanumeric() || b"+-._@".contains(b);
    let bytes = word.as_bytes();
    if bytes.is_empty() || bytes.len() > 64 || !bytes.iter().all(good) { None } else { word.to_str() }
}

/// Says whether a broker listens.
pub fn is_listening(root: &Root) -> bool {
    client::connect(&socket(root)).is_some()
}

/// Says where a socket is looked for, and how one comes about.
pub fn missing(path: &Path) -> String {
    format!(
        "admin has no effect: no broker listens at {}; run 'systemctl enable --now zones-broker.socket', or zonesd",
        path.shown()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_it_was_written() {
        let request = Request {
            program: Program::Zlogin,
            terminal: true,
            errors: false,
            input: true,
            term: "xterm".into(),
            lang: OsString::new(),
            args: vec!["zion".into(), OsString::new(), OsString::from_vec(vec![0xff, b'\n'])],
        };
        let bytes = request.to_bytes();
        assert_eq!(Request::parse(&bytes), Some(request));
        let cut = |n: usize| Request::parse(&bytes[..n]);
        assert_eq!(cut(0), None);
        assert_eq!(cut(MAGIC.len()), None);
        for bad in [
            "zones-broker 2\0zlogin\x00000\0\0",
            "zones-broker 1\0sh\x00000\0\0",
            "zones-broker 1\0zlogin\x0000\0\0",
        ] {
            assert_eq!(Request::parse(bad.as_bytes()), None, "{bad:?}");
        }
        // Any bytes at all.
        for seed in 0..2000_u32 {
            let noise: Vec<u8> =
                (0..seed % 97).map(|i| (seed.wrapping_mul(2_654_435_761) >> (i % 25)) as u8).collect();
            let _ = Request::parse(&noise);
            let _ = Request::parse(&[MAGIC.as_bytes(), &[0], &noise].concat());
        }
    }

    #[test]
    fn many_who_write_lose_no_more_than_what_is_older() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Root::new(Some(folder.path()));
        std::fs::create_dir_all(root.lib_dir()).expect("a folder");
        // Full once, and again only after the last line: none may be lost.
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

    #[test]
    fn only_names_come_through_the_environment() {
        assert_eq!(plain(OsStr::new("xterm-256color")), Some("xterm-256color"));
        assert_eq!(plain(OsStr::new("de_DE.UTF-8@euro")), Some("de_DE.UTF-8@euro"));
        for bad in ["", "a b", "/etc/passwd", "a\nb", "é", &"x".repeat(65)] {
            assert_eq!(plain(OsStr::new(bad)), None, "{bad:?}");
        }
    }
}
