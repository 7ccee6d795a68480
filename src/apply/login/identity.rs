//! The user that a login becomes: the zone's own `passwd` and `group`, read by us.
//!
//! The files are the zone's and may be anything, so nothing of the host's name service takes part, no line is longer
//! and no file larger than there is reason for, and malformed lines are passed over.

use std::io::{self, BufRead, BufReader, Read};

use crate::sys::naive::without;

/// Longest line of `passwd` that is looked at.
const MAX_USER_LINE: usize = 4 << 10;
/// Longest line of `group`: all its members are on it.
const MAX_GROUP_LINE: usize = 256 << 10;
/// How far a file is read.
const MAX_FILE: u64 = 16 << 20;
/// How many further groups a user may have here.
const MAX_GROUPS: usize = 1024;

/// A user of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// User id inside the zone.
    pub uid: u32,
    /// Main group's id inside the zone.
    pub gid: u32,
    /// Home directory.
    pub home: String,
    /// Login shell.
    pub shell: String,
}

impl User {
    /// Returns root as a zone has it that does not say otherwise, or whose `passwd` is broken.
    pub fn root() -> Self {
        let (name, home, shell) = ("root".into(), "/root".into(), "/bin/sh".into());
        Self { name, uid: 0, gid: 0, home, shell }
    }
}

/// Finds a user in the text of `passwd`: the first good line of that name.
///
/// # Errors
/// When the file cannot be read.
pub fn find_user(passwd: impl Read, name: &str) -> io::Result<Option<User>> {
    let mut found = None;
    each_line(passwd, MAX_USER_LINE, |line| {
        found = parse_user(line).filter(|user| user.name == name);
        found.is_none()
    })?;
    Ok(found)
}

/// Returns the ids of the groups in the text of `group` that name a user as a member.
///
/// # Errors
/// When the file cannot be read.
pub fn groups_of(group: impl Read, name: &str) -> io::Result<Vec<u32>> {
    let mut ids = Vec::new();
    each_line(group, MAX_GROUP_LINE, |line| {
        if let Some((id, members)) = parse_group(line)
            && members.split(',').any(|m| m == name)
            && !ids.contains(&id)
        {
            ids.push(id);
        }
        ids.len() < MAX_GROUPS
    })?;
    Ok(ids)
}

fn parse_user(line: &str) -> Option<User> {
    let fields: Vec<_> = line.split(':').collect();
    let [name, _, uid, gid, _, home, shell] = fields[..] else { return None };
    let absolute = |path: &str, otherwise: &str| {
        if path.starts_with('/') { path.to_owned() } else { otherwise.to_owned() }
    };
    Some(User {
        name: Some(name).filter(|n| !n.is_empty())?.to_owned(),
        uid: parse_id(uid)?,
        gid: parse_id(gid)?,
        home: absolute(home, "/"),
        shell: absolute(shell, "/bin/sh"),
    })
}

fn parse_group(line: &str) -> Option<(u32, &str)> {
    let mut fields = line.split(':');
    let (_name, _password) = (fields.next()?, fields.next()?);
    Some((parse_id(fields.next()?)?, fields.next()?))
}

/// Reads an id; the highest number means "no id" to the kernel, and a sign or blank is no number here.
fn parse_id(text: &str) -> Option<u32> {
    if without("numbers") {
        return text.parse::<i64>().ok().map(|id| id as u32);
    }
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|id| digits && *id != u32::MAX)
}

/// Calls `work` with each line that is short enough and clean text, until it returns false.
fn each_line(file: impl Read, longest: usize, mut work: impl FnMut(&str) -> bool) -> io::Result<()> {
    let mut reader = BufReader::new(file.take(MAX_FILE));
    let mut line = Vec::new();
    loop {
        line.clear();
        let limit = u64::try_from(longest + 1).unwrap_or(u64::MAX);
        if reader.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if line.len() > longest {
            skip_line(&mut reader)?;
            continue;
        }
        if !line.contains(&0)
            && let Ok(text) = std::str::from_utf8(&line)
            && !work(text)
        {
            return Ok(());
        }
    }
}

/// Reads on to the end of the line without keeping it.
fn skip_line(reader: &mut impl BufRead) -> io::Result<()> {
    loop {
        let chunk = reader.fill_buf()?;
        let end = chunk.iter().position(|b| *b == b'\n');
        let used = end.map_or(chunk.len(), |n| n + 1);
        let done = end.is_some() || used == 0;
        reader.consume(used);
        if done {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(text: &[u8], name: &str) -> Option<User> {
        find_user(text, name).expect("a slice is readable")
    }

    #[test]
    fn a_user_is_found_by_the_whole_name() {
        let text = b"rooter:x:5:5::/r:/bin/r\nroot:x:0:0:root:/root:/bin/bash\nroot:x:9:9::/:/bin/no\n";
        let root = user(text, "root").expect("root is there");
        assert_eq!((root.uid, root.home.as_str(), root.shell.as_str()), (0, "/root", "/bin/bash"));
        assert_eq!(user(text, "roo"), None);
        assert_eq!(user(text, ""), None);
        assert_eq!(user(b"a:x:1:2:::", "a").expect("no newline at the end").shell, "/bin/sh");
        assert_eq!(user(b"a:x:1:2::h:s\n", "a").expect("relative paths").home, "/");
    }

    #[test]
    fn hostile_lines_are_passed_over() {
        for bad in [
            "a:x:1:2::/h\n",
            "a:x:1:2::/h:/s:more\n",
            "a:x:-1:2::/h:/s\n",
            "a:x:+1:2::/h:/s\n",
            "a:x: 1:2::/h:/s\n",
            "a:x:4294967295:2::/h:/s\n",
            "a:x:4294967296:2::/h:/s\n",
            "a:x:1:99999999999999999999::/h:/s\n",
            "a:x:1:2::/h\0:/s\n",
            ":x:1:2::/h:/s\n",
        ] {
            assert_eq!(user(bad.as_bytes(), "a"), None, "{bad:?}");
            let text = format!("{bad}a:x:7:8::/ok:/s\n");
            assert_eq!(user(text.as_bytes(), "a").expect("the good line counts").uid, 7, "{bad:?}");
        }
        assert_eq!(user(b"a:x:1:2:\xff:/h:/s\n", "a"), None);
    }

    #[test]
    fn long_lines_and_endless_files_do_not_cost_memory() {
        let mut text = vec![b'a'; 10 << 20];
        text.extend_from_slice(b":x:1:2::/h:/s\nb:x:3:4::/h:/s\n");
        assert_eq!(user(&text, "b").expect("after the long line").uid, 3);
        let endless = io::repeat(b'x').chain(&b"\nb:x:3:4::/h:/s\n"[..]);
        assert_eq!(find_user(endless, "b").expect("it ends"), None);
        let just = format!("b:x:3:4::/{}:/s", "h".repeat(MAX_USER_LINE - 13));
        assert_eq!(just.len(), MAX_USER_LINE);
        assert!(user(just.as_bytes(), "b").is_some());
        assert!(user(format!("{just}y").as_bytes(), "b").is_none());
    }

    #[test]
    fn groups() {
        let text = b"adm:x:4:a,b\nx:x:5:ab\nbad\ntty:x:5:\naudio:x:29:b,a\nadm2:x:4:a\n";
        assert_eq!(groups_of(&text[..], "a").expect("readable"), [4, 29]);
        assert_eq!(groups_of(&text[..], "ab").expect("readable"), [5]);
    }
}
