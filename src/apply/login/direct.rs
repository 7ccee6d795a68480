//! Commands that need no shell.
//!
//! `zlogin ZONE COMMAND` gives the command to the user's shell. Where a POSIX shell would do nothing
//! with it but split it at blanks, look the first word up in `PATH` and execute that, the shell's own
//! start is most of the time that the command takes, so the command is executed without it.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;

use crate::plan::step::{COMMANDS, ENDING};

/// Shells whose treatment of a plain command this module knows.
const SHELLS: &[&str] =
    &["/bin/sh", "/bin/bash", "/bin/dash", "/usr/bin/sh", "/usr/bin/bash", "/usr/bin/dash"];

/// Words that a shell does not look up in `PATH`, or that mean something else there. `true` and
/// `false` are left out: built in or not, they do the same.
const SHELL_WORDS: &[&str] = &[
    ".",
    ":",
    "alias",
    "bg",
    "bind",
    "break",
    "builtin",
    "caller",
    "case",
    "cd",
    "chdir",
    "command",
    "compgen",
    "complete",
    "compopt",
    "continue",
    "coproc",
    "declare",
    "dirs",
    "disown",
    "do",
    "done",
    "echo",
    "elif",
    "else",
    "enable",
    "esac",
    "eval",
    "exec",
    "exit",
    "export",
    "fc",
    "fg",
    "fi",
    "for",
    "function",
    "getopts",
    "hash",
    "help",
    "history",
    "if",
    "in",
    "jobs",
    "kill",
    "let",
    "local",
    "logout",
    "mapfile",
    "newgrp",
    "popd",
    "printf",
    "pushd",
    "pwd",
    "read",
    "readarray",
    "readonly",
    "return",
    "select",
    "set",
    "shift",
    "shopt",
    "source",
    "suspend",
    "test",
    "then",
    "time",
    "times",
    "trap",
    "type",
    "typeset",
    "ulimit",
    "umask",
    "unalias",
    "unset",
    "until",
    "wait",
    "while",
];

/// Splits a command into words when the shell would do no more than that.
pub fn plain_words(shell: &str, command: &OsStr) -> Option<Vec<CString>> {
    let is_plain = |b: &u8| b.is_ascii_alphanumeric() || b" /._-+,:@%".contains(b);
    if !SHELLS.contains(&shell) || !command.as_bytes().iter().all(is_plain) {
        return None;
    }
    let words: Vec<&str> = command.to_str()?.split(' ').filter(|w| !w.is_empty()).collect();
    let first = words.first()?;
    // `%1` is a job, `-x` an option of the shell to some, and a word with a slash is a path.
    if SHELL_WORDS.contains(first) || first.starts_with(['%', '-']) {
        return None;
    }
    words.into_iter().map(|w| CString::new(w).ok()).collect()
}

/// Returns the files that the first word may name, in the order of `path`. A command of `/sbin` that ends a zone is
/// the zone's own where that is there, which is so with the built-in init: that of another init does nothing then.
pub fn candidates(word: &str, path: &str) -> Vec<String> {
    if let Some((dir, name)) = word.rsplit_once('/') {
        let ends = ["/sbin", "/usr/sbin"].contains(&dir) && ENDING.contains(&name);
        let own = ends.then(|| format!("{COMMANDS}/{name}"));
        return own.into_iter().chain([word.to_owned()]).collect();
    }
    path.split(':').filter(|d| d.starts_with('/')).map(|dir| format!("{dir}/{word}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_shell_gets_one() {
        let words = |c: &str| plain_words("/bin/bash", OsStr::new(c)).map(|w| w.len());
        assert_eq!(words("true"), Some(1));
        assert_eq!(words(" ls  -l /etc "), Some(3));
        for shell in [
            "",
            "  ",
            "a|b",
            "a;b",
            "a&&b",
            "echo $HOME",
            "echo a",
            "cd /",
            "A=1 env",
            "ls *",
            "ls ~",
            "'x'",
            "a\nb",
            "a > b",
            "kill 1",
            "! true",
            "{ true",
            "%1",
            "ls [a]",
            "a\\b",
            "a`b`",
            "a(b",
            "#x",
            "a\tb",
            "é",
        ] {
            assert_eq!(words(shell), None, "{shell}");
        }
        assert!(plain_words("/usr/bin/zsh", OsStr::new("true")).is_none());
        assert!(plain_words("/sbin/nologin", OsStr::new("true")).is_none());
    }

    #[test]
    fn lookup() {
        assert_eq!(candidates("a", "/x:/y::rel"), ["/x/a", "/y/a"]);
        assert_eq!(candidates("./a", "/x"), ["./a"]);
        assert_eq!(candidates("/sbin/init", "/x"), ["/run/zone/bin/init", "/sbin/init"]);
        assert_eq!(candidates("/opt/x/sbin/init", "/x"), ["/opt/x/sbin/init"]);
        assert_eq!(candidates("/sbin/fsck", "/x"), ["/sbin/fsck"]);
    }
}
