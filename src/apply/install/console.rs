//! A login on the console, for systems that look for virtual terminals, which no zone has.

use std::path::Path;

use super::InstallError;
use crate::apply::Op;
use crate::sys::path::{Dir, IN_ROOT, Owned, STRICT};

/// Longest inittab that is read.
const LIMIT: usize = 256 * 1024;

/// Gives a root of sysvinit, BusyBox or OpenRC a login on its console where it has none, and says so.
///
/// # Errors
/// [`InstallError`] when a file cannot be written.
pub(super) fn login(op: &mut Op<'_>, root: &Dir) -> Result<(), InstallError> {
    let Ok(etc) = root.dir("etc", IN_ROOT) else { return Ok(()) };
    if let Some(stat) = etc.stat("inittab")?
        && let Ok(Some(content)) = etc.read("inittab", LIMIT, STRICT)
        && let Some(text) = std::str::from_utf8(&content).ok().and_then(with_console)
    {
        let owned = Owned { mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid };
        etc.write("inittab", owned, text.as_bytes())?;
        op.out.say(
            "etc/inittab: the logins on tty1 and the like, which no zone has, are now one on the console.",
        );
    }
    openrc(op, &etc)
}

/// Returns an inittab whose logins on virtual terminals are comments, with one on the console; none when there is
/// nothing to change.
fn with_console(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len() + 64);
    let mut first = None;
    for line in text.split_inclusive('\n') {
        match InittabLogin::read(line) {
            Some(login) if login.terminal == "console" => return None,
            Some(login) if login.is_virtual() => {
                first = first.or(Some(login));
                out.extend(["#", line]);
            }
            _ => out.push_str(line),
        }
    }
    let login = first?;
    if !out.ends_with('\n') {
        out.push('\n');
    }
    Some(out + &login.on_console())
}

/// A line of an inittab that starts a login on a terminal: `ID:LEVELS:respawn:PROGRAM WORDS TERMINAL WORDS`.
struct InittabLogin<'a> {
    id: &'a str,
    levels: &'a str,
    program: &'a str,
    terminal: &'a str,
}

impl<'a> InittabLogin<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let mut fields = line.trim().splitn(4, ':');
        let (id, levels, action, command) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let mut words = command.split_whitespace();
        let program = words.next()?;
        let is_login = program.ends_with("getty") || program.ends_with("login");
        if id.starts_with('#') || !is_login || !matches!(action, "respawn" | "askfirst") {
            return None;
        }
        let named = words.find(|w| w.starts_with("tty") || *w == "console");
        // BusyBox names the terminal by the first field.
        Some(Self { id, levels, program, terminal: named.unwrap_or(id) })
    }

    /// Says whether it is a terminal that only a machine with a screen has.
    fn is_virtual(&self) -> bool {
        self.terminal.strip_prefix("tty").is_some_and(|n| n.parse::<u8>().is_ok())
    }

    fn on_console(&self) -> String {
        let (levels, program) = (self.levels, self.program);
        // There, the first field is the terminal itself.
        let id = if self.id == self.terminal { "console" } else { "co" };
        format!("{id}:{levels}:respawn:{program} 38400 console linux\n")
    }
}

/// Switches OpenRC's own login on, where its init runs without an inittab.
fn openrc(op: &mut Op<'_>, etc: &Dir) -> Result<(), InstallError> {
    let (service, link) = ("init.d/agetty", "init.d/agetty.console");
    let levels = Path::new("runlevels/default");
    let is_openrc = etc.stat("inittab")?.is_none() && etc.stat(service).ok().flatten().is_some();
    let Ok(default) = etc.dir(levels, IN_ROOT) else { return Ok(()) };
    if !is_openrc || default.stat("agetty.console")?.is_some() {
        return Ok(());
    }
    if etc.stat(link)?.is_none() {
        etc.symlink("agetty", link)?;
    }
    default.symlink("/etc/init.d/agetty.console", "agetty.console")?;
    op.out.say("etc/runlevels/default: a login on the console was added, agetty.console.");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_on_the_console_takes_the_place_of_those_on_screens() {
        let text = "id:2:initdefault:\n1:2345:respawn:/sbin/getty --noclear 38400 tty1\n2:23:respawn:/sbin/getty 38400 tty2\nT0:23:respawn:/sbin/getty -L ttyS0 9600 vt100";
        let done = with_console(text).expect("changed");
        assert_eq!(
            done,
            "id:2:initdefault:\n#1:2345:respawn:/sbin/getty --noclear 38400 tty1\n#2:23:respawn:/sbin/getty 38400 tty2\nT0:23:respawn:/sbin/getty -L ttyS0 9600 vt100\nco:2345:respawn:/sbin/getty 38400 console linux\n"
        );
        assert_eq!(with_console(&done), None, "once is enough");
        let busybox = "::sysinit:/sbin/openrc sysinit\ntty1::respawn:/sbin/getty 38400 tty1\n#ttyS0::respawn:/sbin/getty -L 0 ttyS0 vt100\n";
        assert_eq!(
            with_console(busybox).expect("changed"),
            "::sysinit:/sbin/openrc sysinit\n#tty1::respawn:/sbin/getty 38400 tty1\n#ttyS0::respawn:/sbin/getty -L 0 ttyS0 vt100\nconsole::respawn:/sbin/getty 38400 console linux\n"
        );
        assert_eq!(with_console("id:2:initdefault:\n"), None, "who has no login wants none");
    }
}
