//! The environment of a command in a zone: nothing of the caller's but `TERM`, and the variables that the zone gives
//! every login.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::identity::User;
use crate::plan::step::COMMANDS;
use crate::sys::enter;

/// How much of a login is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `-S`: as little as possible, for repairing a zone.
    Safe,
    /// A command as root: as `su root -c` does.
    Command,
    /// A login shell, or a command as another user: as `su - USER` does.
    Login,
}

/// Where a user's session has its sockets, below it one folder for each user.
const SESSIONS: &str = "/run/user";

/// Files that give every login its environment, as pam_env(8) and systemd read them; a later one counts more.
const FILES: [&str; 3] = ["/etc/locale.conf", "/etc/environment", "/etc/default/locale"];

/// Longest of them that is read.
const FILE_MAX: u64 = 64 * 1024;

/// Most entries that are taken from them.
const ENTRIES_MAX: usize = 256;

/// Variables that name the user: no file of the zone sets them for a login.
const WHO: [&str; 5] = ["HOME", "LOGNAME", "SHELL", "TERM", "USER"];

/// What of the zone makes up an environment.
#[derive(Clone, Debug, Default)]
pub struct ZoneEnvironment {
    /// `/bin` is a directory of its own.
    split_usr: bool,
    /// The zone has [`COMMANDS`].
    commands: bool,
    /// Entries of the zone's files, in order.
    given: Vec<(String, String)>,
    /// The folder of the user's session, and whether its bus is there.
    session: Option<(String, bool)>,
}

impl ZoneEnvironment {
    /// Looks around in the zone, in which this process is. A login that trusts nothing reads nothing.
    pub fn look(style: Style, user: &User) -> Self {
        let split_usr = Path::new("/bin").symlink_metadata().is_ok_and(|m| m.is_dir());
        if style == Style::Safe {
            return Self { split_usr, ..Self::default() };
        }
        Self {
            split_usr,
            commands: Path::new(COMMANDS).is_dir(),
            given: variables(),
            session: session(user.uid),
        }
    }
}

/// Returns the entries of the zone's files. Unreadable ones give none.
fn variables() -> Vec<(String, String)> {
    let mut list = Vec::new();
    for file in FILES {
        let Ok(file) = enter::open_regular(file) else { continue };
        let mut text = Vec::new();
        if file.take(FILE_MAX).read_to_end(&mut text).is_ok() {
            list.extend(String::from_utf8_lossy(&text).lines().filter_map(entry));
        }
    }
    list.truncate(ENTRIES_MAX);
    list
}

/// Reads a line as pam_env(8) does: a comment begins anywhere, quotes are taken off, nothing is expanded.
fn entry(line: &str) -> Option<(String, String)> {
    let line = line.split('#').next().unwrap_or_default().trim();
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    let (name, value) = line.split_once('=')?;
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if name.is_empty() || !name.bytes().all(good) || WHO.contains(&name) || value.contains('\0') {
        return None;
    }
    let value = value.strip_prefix(['"', '\'']).unwrap_or(value);
    Some((name.to_owned(), value.strip_suffix(['"', '\'']).unwrap_or(value).to_owned()))
}

/// Returns the folder of a user's session where that is the user's, and whether its bus is there.
fn session(uid: u32) -> Option<(String, bool)> {
    let folder = format!("{SESSIONS}/{uid}");
    let owned = |path: &str| Path::new(path).symlink_metadata().ok().filter(|m| m.uid() == uid);
    owned(&folder).filter(Metadata::is_dir)?;
    let bus = owned(&format!("{folder}/bus")).is_some_and(|m| m.file_type().is_socket());
    Some((folder, bus))
}

/// Returns the entries of the environment.
pub fn environment(style: Style, user: &User, term: Option<&OsStr>, place: &ZoneEnvironment) -> Vec<String> {
    let mut list: Vec<(&str, String)> = vec![("PATH", search_path(style, place))];
    list.extend(term.and_then(plain_term).map(|term| ("TERM", term.to_owned())));
    if style == Style::Safe {
        list.extend([("HOME", "/".to_owned()), ("SHELL", user.shell.clone())]);
    } else {
        list.push(("LOGNAME", user.name.clone()));
        if style == Style::Login {
            list.push(("USER", user.name.clone()));
        }
        list.push(("HOME", user.home.clone()));
        list.push(("MAIL", format!("/var/mail/{}", user.name)));
        list.push(("SHELL", user.shell.clone()));
    }
    if let Some((folder, bus)) = &place.session {
        list.push(("XDG_RUNTIME_DIR", folder.clone()));
        if *bus {
            list.push(("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={folder}/bus")));
        }
    }
    for (name, value) in &place.given {
        list.retain(|(there, _)| there != name);
        // As there, an empty value takes the name away.
        if !value.is_empty() {
            list.push((name, value.clone()));
        }
    }
    list.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// Returns where commands are looked up: as Linux does it, below `/usr/local` first, but for repairs.
fn search_path(style: Style, place: &ZoneEnvironment) -> String {
    let mut dirs = Vec::with_capacity(7);
    if style != Style::Safe {
        // First, since a command of another init would do nothing.
        dirs.extend(place.commands.then_some(COMMANDS));
        dirs.extend(["/usr/local/sbin", "/usr/local/bin"]);
    }
    dirs.extend(["/usr/sbin", "/usr/bin"]);
    if place.split_usr {
        dirs.extend(["/sbin", "/bin"]);
    }
    dirs.join(":")
}

/// Returns the name of a terminal, none when it could be anything else.
fn plain_term(term: &OsStr) -> Option<&str> {
    let good = |b: &u8| b.is_ascii_alphanumeric() || b"+-._".contains(b);
    let bytes = term.as_bytes();
    if bytes.is_empty() || bytes.len() > 64 || !bytes.iter().all(good) { None } else { term.to_str() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ann() -> User {
        User { name: "ann".into(), uid: 1, gid: 1, home: "/h".into(), shell: "/bin/zsh".into() }
    }

    fn of(style: Style, term: Option<&str>, place: &ZoneEnvironment) -> String {
        environment(style, &ann(), term.map(OsStr::new), place).join(" ")
    }

    #[test]
    fn the_whole_environment() {
        let place = ZoneEnvironment::default();
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin";
        assert_eq!(
            of(Style::Command, Some("xterm-256color"), &place),
            format!("{path} TERM=xterm-256color LOGNAME=ann HOME=/h MAIL=/var/mail/ann SHELL=/bin/zsh")
        );
        assert_eq!(
            of(Style::Login, None, &place),
            format!("{path} LOGNAME=ann USER=ann HOME=/h MAIL=/var/mail/ann SHELL=/bin/zsh")
        );
        assert_eq!(of(Style::Safe, None, &place), "PATH=/usr/sbin:/usr/bin HOME=/ SHELL=/bin/zsh");
        assert_eq!(of(Style::Safe, Some("a;b"), &place), of(Style::Safe, None, &place));
        let split = ZoneEnvironment { split_usr: true, commands: true, ..ZoneEnvironment::default() };
        assert!(of(Style::Safe, None, &split).starts_with("PATH=/usr/sbin:/usr/bin:/sbin:/bin "));
        assert!(of(Style::Command, None, &split).starts_with("PATH=/run/zone/bin:/usr/local/sbin:"));
    }

    #[test]
    fn what_the_zone_gives_every_login() {
        let text = "# a comment\nLANG=C.UTF-8\n  export EDITOR=\"vi -e\" # why\nPATH=/x\nHOME=/trap\nUSER=root\n\
            bad name=1\nMAIL=\n=x\nword\nLANG='de_DE.UTF-8'\n";
        let given: Vec<_> = text.lines().filter_map(entry).collect();
        assert_eq!(given.len(), 5, "{given:?}");
        let session = Some(("/run/user/1".to_owned(), true));
        let place = ZoneEnvironment { given, session, ..ZoneEnvironment::default() };
        assert_eq!(
            of(Style::Command, None, &place),
            "LOGNAME=ann HOME=/h SHELL=/bin/zsh XDG_RUNTIME_DIR=/run/user/1 \
             DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1/bus EDITOR=vi -e PATH=/x LANG=de_DE.UTF-8"
        );
    }
}
