//! Rights of users of the host on zones: a broker does for them what `admin` resources allow.
//!
//! ```text
//! user:  zoneadm, zlogin, zonecfg ──► socket ──► zonesd (root) ── fork ──► monitor: which user? (sys::peer)
//!          keeps the user's terminal and files      ▲                        │ fork, exec
//!          and relays bytes                         └── pipes, a terminal ── zoneadm, zlogin, zonecfg (root):
//!                                                       made by the monitor  is it allowed? (spec::rights)
//! ```
//!
//! | rule | reason |
//! |---|---|
//! | the kernel names the user that has connected, in the host's user namespace | a client's own word does not count, and a process of a zone has no rights |
//! | no descriptor of the client comes into a process of root | it could be a terminal that takes input (TIOCSTI), or a file that checks the rights of its writer |
//! | one process for each connection, with time limits | no client waits for another one |
//! | connections from other user namespaces are closed before they are counted; ids without a name count as one user; some places are kept for users who have no connection yet | one user with subordinate ids has thousands of user ids, and must not block the broker for others |
//! | environment, limits, folder, umask and signals are the broker's | `TERM` and `LANG` are taken over when they are plain words |
//! | the program checks the authorization itself, on the spec that it works on | one reader of the command line, and no time between check and use |
//! | subcommands, properties and attributes that are not known to be harmless are refused | a new one is closed until it is opened on purpose |
//! | `zonecfg` runs as the user; only the result is handed over, and compared with the saved spec | no pager, editor, history or file with the rights of root |

pub mod client;
mod room;
pub mod serve;
mod store;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::apply::paths::Root;
use crate::spec::shown::Show;

pub use super::caller::{Caller, own_name};
pub use store::{BrokeredStore, CONFLICT, take_commit};

/// Name of the broker's socket in the run-time folder. No zone can be called so.
pub const SOCKET: &str = ".broker";

/// Longest request in bytes.
const REQUEST_MAX: usize = 64 << 10;
/// Longest other message.
const MESSAGE_MAX: usize = 4 << 10;
/// The beginning of a request: the version of the protocol.
const MAGIC: &str = "zones-broker 1";

/// The messages of the monitor.
mod answer {
    pub const REFUSED: &str = "refused ";
    pub const OPEN: &str = "open";
    pub const EXIT: &str = "exit ";
    pub const KILLED: &str = "killed ";
    pub const STOPPED: &str = "stopped";
}

/// The messages of the client after its request.
mod order {
    pub const GO: &str = "go";
    pub const SIGNAL: &str = "signal ";
}

/// Returns the path of the socket.
pub fn socket(root: &Root) -> PathBuf {
    root.run_dir().join(SOCKET)
}

/// The programs that the broker starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokeredProgram {
    /// `zoneadm`.
    Zoneadm,
    /// `zlogin`.
    Zlogin,
    /// `zonecfg`, which takes a finished configuration.
    Zonecfg,
}

impl BrokeredProgram {
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

/// The request of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
struct BrokerRequest {
    program: BrokeredProgram,
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

impl BrokerRequest {
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
        let program = BrokeredProgram::ALL.into_iter().find(|p| p.name().as_bytes() == name)?;
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
        let request = BrokerRequest {
            program: BrokeredProgram::Zlogin,
            terminal: true,
            errors: false,
            input: true,
            term: "xterm".into(),
            lang: OsString::new(),
            args: vec!["zion".into(), OsString::new(), OsString::from_vec(vec![0xff, b'\n'])],
        };
        let bytes = request.to_bytes();
        assert_eq!(BrokerRequest::parse(&bytes), Some(request));
        let cut = |n: usize| BrokerRequest::parse(&bytes[..n]);
        assert_eq!(cut(0), None);
        assert_eq!(cut(MAGIC.len()), None);
        for bad in [
            "zones-broker 2\0zlogin\x00000\0\0",
            "zones-broker 1\0sh\x00000\0\0",
            "zones-broker 1\0zlogin\x0000\0\0",
        ] {
            assert_eq!(BrokerRequest::parse(bad.as_bytes()), None, "{bad:?}");
        }
        // Any bytes at all.
        for seed in 0..2000_u32 {
            let noise: Vec<u8> =
                (0..seed % 97).map(|i| (seed.wrapping_mul(2_654_435_761) >> (i % 25)) as u8).collect();
            let _ = BrokerRequest::parse(&noise);
            let _ = BrokerRequest::parse(&[MAGIC.as_bytes(), &[0], &noise].concat());
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
