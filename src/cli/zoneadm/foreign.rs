//! Options and subcommands of other systems that have no meaning here: a warning names them and the rest is done, so
//! that automation for these systems works.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{Exit, Zoneadm};
use crate::apply::Notice;
use crate::apply::install::sysconfig;
use crate::plan::sysconfig::SysConfig;
use crate::spec::shown::Show;
use crate::spec::state::ZoneState;
use crate::spec::store::{StoreError, ZoneStore};
use crate::spec::verb::{Opt, Role, Verb};

/// Subcommands of Solaris for its own tools, which no usage there names either.
pub(super) const MOUNTS: [&str; 2] = ["mount", "unmount"];

/// Says whether a value follows a letter that means something here.
fn takes_value(verb: &Verb, letter: char) -> bool {
    let is_it = |o: &&Opt| o.letter == Some(letter) && !matches!(o.role, Role::Foreign(_));
    verb.options.iter().find(is_it).is_some_and(|o| o.value.is_some())
}

/// Returns the option without a meaning that a letter is, and why it has none.
fn without_meaning(verb: &Verb, letter: char) -> Option<(&'static Opt, &'static str)> {
    verb.options.iter().filter(|o| o.letter == Some(letter)).find_map(|o| match o.role {
        Role::Foreign(why) => Some((o, why)),
        _ => None,
    })
}

/// Takes options without a meaning here out of the words after a subcommand; returns the rest, and the warnings.
pub(super) fn take_out(verb: &Verb, args: &[OsString]) -> (Vec<OsString>, Vec<String>) {
    let (mut kept, mut said) = (Vec::new(), Vec::new());
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let text = word.to_str().and_then(|text| text.strip_prefix('-'));
        let Some(letters) = text.filter(|letters| !letters.is_empty() && !letters.starts_with('-')) else {
            kept.push(word.clone());
            continue;
        };
        let mut left = String::from("-");
        // Its value is the next word, whatever that looks like.
        let mut open = false;
        for (at, letter) in letters.char_indices() {
            let rest = &letters[at + letter.len_utf8()..];
            let Some((opt, why)) = without_meaning(verb, letter) else {
                left.push(letter);
                if takes_value(verb, letter) {
                    left.push_str(rest);
                    open = rest.is_empty();
                    break;
                }
                continue;
            };
            let takes = opt.value.is_some();
            let value = match (takes, rest.is_empty()) {
                (false, _) => None,
                (true, false) => Some(rest.shown().to_string()),
                (true, true) => words.next().map(|value| value.shown().to_string()),
            };
            let value = value.map(|value| format!(" {value}")).unwrap_or_default();
            said.push(format!("-{letter}{value} has no effect: {why}"));
            if takes {
                break;
            }
        }
        if left.len() > 1 {
            kept.push(left.into());
        }
        if open {
            kept.extend(words.next().cloned());
        }
    }
    (kept, said)
}

/// Takes the profiles of `install -c` and `clone -c` out of words that are left; returns the rest, and the last of
/// them.
pub(super) fn profile(verb: &Verb, args: Vec<OsString>) -> (Vec<OsString>, Option<PathBuf>) {
    if !verb.options.iter().any(|o| o.role == Role::Profile) {
        return (args, None);
    }
    let (mut kept, mut profile) = (Vec::new(), None);
    let mut words = args.into_iter();
    while let Some(word) = words.next() {
        let bytes = word.as_bytes();
        if let Some(value) = bytes.strip_prefix(b"-c") {
            let value =
                if value.is_empty() { words.next() } else { Some(OsStr::from_bytes(value).to_owned()) };
            profile = value.map(PathBuf::from).or(profile);
            continue;
        }
        // Its value is the next word, whatever that looks like.
        let open = bytes.len() == 2 && bytes[0] == b'-' && takes_value(verb, char::from(bytes[1]));
        kept.push(word);
        if open {
            kept.extend(words.next());
        }
    }
    (kept, profile)
}

impl Zoneadm {
    /// Reads the profile that words name. An unreadable profile is no error: the automation that names it goes on.
    pub(super) fn read_profile(&mut self, path: Option<&Path>) -> Option<SysConfig> {
        let path = path?;
        match sysconfig::read(path) {
            Ok(config) => Some(config),
            Err(why) => {
                self.report.warn(&format!("WARNING: -c {} has no effect: {why}", path.shown()));
                None
            }
        }
    }

    /// `mount` and `unmount`, by which tools for Solaris have a zone's root in a place where they can change it: here it
    /// is always there.
    pub(super) fn mount(&mut self, command: &str, args: &[OsString]) -> Exit {
        if !args.iter().all(|word| word == "-f") {
            return super::usage_error(&self.name);
        }
        let name = match self.subject(command) {
            Ok(name) => name,
            Err(end) => return end,
        };
        match self.store.state(&name) {
            Ok(Some(ZoneState::Installed)) => {}
            Ok(Some(state)) => {
                return self.fail(format!("{command} operation is invalid for {state} zones."));
            }
            Ok(None) => return self.fail(StoreError::NoZone),
            Err(e) => return self.fail(e),
        }
        let path = match self.store.load(&name) {
            Ok(stored) => stored.and_then(|stored| stored.spec.zonepath()).unwrap_or_default(),
            Err(e) => return self.fail(e),
        };
        let root = self.store.root().host_path(Path::new(&path)).join("root");
        self.report
            .warn(&format!("WARNING: {command} does nothing: the zone's root is always at {}", root.shown()));
        Exit::Good
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::zoneadm::table;

    fn of(name: &str) -> &'static Verb {
        &table::find(name).expect("a subcommand").verb
    }

    fn take(verb: &str, text: &str) -> (String, usize) {
        let args: Vec<OsString> = text.split_whitespace().map(Into::into).collect();
        let (kept, said) = take_out(of(verb), &args);
        let kept: Vec<_> = kept.iter().map(|w| w.to_string_lossy().into_owned()).collect();
        (kept.join(" "), said.len())
    }

    #[test]
    fn the_rest_stays_as_it_is() {
        let left = |text: &str, count| (text.to_owned(), count);
        assert_eq!(take("install", "-a x.tar -u"), left("-a x.tar", 1));
        assert_eq!(take("install", "-up -a -p"), left("-a -p", 2));
        assert_eq!(take("install", "-pax.tar -c /p.xml"), left("-ax.tar -c /p.xml", 1));
        assert_eq!(take("install", "-ax -u"), left("-ax", 1));
        assert_eq!(take("attach", "-c p.xml -F"), left("-F", 1));
        assert_eq!(take("attach", "-Fu -x force-zbe-clone"), left("-Fu", 1));
        assert_eq!(take("boot", "-w -- -x y"), left("-w -- -x y", 0));
        assert_eq!(take("attach", "-n -x"), left("-n -x", 0));
    }

    #[test]
    fn a_profile_is_told_from_the_rest() {
        let read = |verb: &str, text: &str| {
            let (kept, file) = profile(of(verb), text.split_whitespace().map(Into::into).collect());
            let kept: Vec<_> = kept.iter().map(|w| w.to_string_lossy().into_owned()).collect();
            (kept.join(" "), file.map(|f| f.display().to_string()).unwrap_or_default())
        };
        let is = |kept: &str, file: &str| (kept.to_owned(), file.to_owned());
        assert_eq!(read("install", "-cp.xml -x nodataset"), is("-x nodataset", "p.xml"));
        assert_eq!(read("clone", "-c p.xml -m copy old"), is("-m copy old", "p.xml"));
        assert_eq!(read("clone", "-s -c old"), is("-s -c old", ""));
        assert_eq!(read("clone", "-c"), is("", ""));
        assert_eq!(read("boot", "-c x"), is("-c x", ""));
    }
}
