//! The environment of what runs in a zone: nothing of the caller's but `TERM`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::identity::User;

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

/// Returns the entries of the environment.
pub fn environment(style: Style, user: &User, term: Option<&OsStr>, split_usr: bool) -> Vec<String> {
    let mut list = Vec::with_capacity(8);
    let mut set = |name: &str, value: &str| list.push(format!("{name}={value}"));
    // Linux: where /bin is a folder of its own, a shell could not find `ls` with Solaris' PATH.
    set("PATH", if split_usr { "/usr/sbin:/usr/bin:/sbin:/bin" } else { "/usr/sbin:/usr/bin" });
    if let Some(term) = term.and_then(plain_term) {
        set("TERM", term);
    }
    match style {
        Style::Safe => {
            set("HOME", "/");
            set("SHELL", &user.shell);
        }
        Style::Command | Style::Login => {
            set("LOGNAME", &user.name);
            if style == Style::Login {
                set("USER", &user.name);
            }
            set("HOME", &user.home);
            set("MAIL", &format!("/var/mail/{}", user.name));
            set("SHELL", &user.shell);
        }
    }
    list
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

    #[test]
    fn the_whole_environment() {
        let user = User { name: "ann".into(), uid: 1, gid: 1, home: "/h".into(), shell: "/bin/zsh".into() };
        let term = Some(OsStr::new("xterm-256color"));
        let of = |style, term| environment(style, &user, term, false).join(" ");
        assert_eq!(
            of(Style::Command, term),
            "PATH=/usr/sbin:/usr/bin TERM=xterm-256color LOGNAME=ann HOME=/h MAIL=/var/mail/ann SHELL=/bin/zsh"
        );
        assert_eq!(
            of(Style::Login, None),
            "PATH=/usr/sbin:/usr/bin LOGNAME=ann USER=ann HOME=/h MAIL=/var/mail/ann SHELL=/bin/zsh"
        );
        assert_eq!(of(Style::Safe, None), "PATH=/usr/sbin:/usr/bin HOME=/ SHELL=/bin/zsh");
        assert_eq!(of(Style::Safe, Some(OsStr::new("a;b"))), of(Style::Safe, None));
        assert!(environment(Style::Safe, &user, None, true)[0].ends_with(":/sbin:/bin"));
    }
}
