//! The command line of `zonecfg`: which zone, which store, and where the commands come from.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use lexopt::prelude::*;

use crate::apply::broker::{BrokeredStore, Caller, take_commit};
use crate::apply::login::current_zone;
use crate::apply::paths::Root;
use crate::apply::store::FileStore;
use crate::shell::{EditSession, SessionOptions, editor, help, script};
use crate::spec::ZoneName;
use crate::spec::shown::Show;
use crate::spec::store::ZoneStore;
use crate::sys::trace;

/// The rules that are printed after a bad name.
const NAME_RULES: &str = "A zone name begins with a letter or digit, followed by letters, digits, '_', '-' and '.'.\n\
     The name 'global' and names that start with 'SUNW' are reserved.\n\
     Name must be less than 64 characters.";

/// The options and operands of the command line.
#[derive(Debug, Default, PartialEq, Eq)]
struct Arguments {
    zone: Option<String>,
    uuid: Option<String>,
    file: Option<String>,
    root: Option<PathBuf>,
    /// `-r`: the configuration of the running zone instead of the saved one.
    running: bool,
    words: Vec<String>,
}

/// The actions in place of editing a zone.
#[derive(Debug, PartialEq, Eq)]
enum Instead {
    /// `-?`: usage on standard output, status 2.
    Usage,
    /// Usage on standard error, status 2, after a reason if there is one.
    Mistake(Option<String>),
    /// `help`, `--help`.
    Help(Vec<String>),
    /// `--version`.
    Version,
}

fn text(value: OsString) -> Result<String, Instead> {
    value.into_string().map_err(|v| Instead::Mistake(Some(format!("{} is not UTF-8 text", v.shown()))))
}

/// Reads options up to the first word that is none, as getopt does.
fn parse(argv: impl IntoIterator<Item = OsString>, program: &str) -> Result<Arguments, Instead> {
    let mut argv: Vec<OsString> = argv.into_iter().collect();
    match argv.first().and_then(|a| a.to_str()) {
        None => return Err(Instead::Mistake(None)),
        Some("help" | "--help") => {
            argv.remove(0);
            let words: Result<_, _> = argv.into_iter().map(text).collect();
            return Err(Instead::Help(words?));
        }
        Some(_) => (),
    }
    let mut found = Arguments::default();
    let mut parser = lexopt::Parser::from_args(argv);
    let mistake = |e: lexopt::Error| Instead::Mistake(Some(format!("{program}: {e}")));
    loop {
        match parser.next().map_err(mistake)? {
            None => break,
            Some(Short('?')) => return Err(Instead::Usage),
            Some(Short('z')) => found.zone = Some(text(parser.value().map_err(mistake)?)?),
            Some(Short('u')) => found.uuid = Some(text(parser.value().map_err(mistake)?)?),
            Some(Short('f')) => found.file = Some(text(parser.value().map_err(mistake)?)?),
            Some(Short('R')) => found.root = Some(parser.value().map_err(mistake)?.into()),
            Some(Short('r')) => found.running = true,
            Some(Long("help")) => return Err(Instead::Help(Vec::new())),
            Some(Long("version")) => return Err(Instead::Version),
            Some(Value(word)) => {
                found.words.push(text(word)?);
                let rest = parser.raw_args().map_err(mistake)?;
                for word in rest {
                    found.words.push(text(word)?);
                }
                break;
            }
            Some(other) => return Err(mistake(other.unexpected())),
        }
    }
    if found.zone.is_some() == found.uuid.is_some() {
        return Err(Instead::Mistake(None));
    }
    Ok(found)
}

fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

fn usage(program: &str) -> String {
    format!("{}\n{}", help::program_text(program), help::commands_text())
}

/// Returns the name that the program was called by, which messages and prompts begin with.
fn called_as(first: Option<OsString>) -> String {
    let first = first.unwrap_or_default();
    let name = Path::new(&first).file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let good = !name.is_empty() && !name.contains(char::is_control);
    if good { name.to_owned() } else { "zonecfg".to_owned() }
}

/// Runs the program and returns its exit status: 0, 1 for an error, 2 for a mistake in the usage.
/// The first argument is the name of the program.
pub fn main(argv: impl IntoIterator<Item = OsString>) -> u8 {
    trace::begin("zonecfg");
    let mut argv = argv.into_iter();
    let program = called_as(argv.next());
    if current_zone().is_some() {
        complain(&format!("{program} can only be run from the global zone."));
        return 1;
    }
    match parse(argv, &program) {
        Ok(arguments) => edit(arguments, program).unwrap_or_else(|status| status),
        Err(instead) => say_instead(&instead, &program),
    }
}

fn say_instead(instead: &Instead, program: &str) -> u8 {
    let print = |text: &str| {
        let _ = std::io::stdout().lock().write_all(text.as_bytes());
    };
    match instead {
        Instead::Usage => {
            print(&usage(program));
            2
        }
        Instead::Mistake(reason) => {
            if let Some(reason) = reason {
                complain(reason);
            }
            complain(usage(program).trim_end());
            2
        }
        Instead::Help(words) => {
            let topic = words.join(" ");
            match help::topic_text(Some(topic.as_str()), None) {
                Ok(text) if topic.is_empty() => print(&format!("{}\n{text}", help::program_text(program))),
                Ok(text) => print(&text),
                Err(_) => complain(&format!("Unknown help subject {topic}.  ")),
            }
            0
        }
        Instead::Version => {
            print(concat!("zonecfg (zones) ", env!("CARGO_PKG_VERSION"), "\n"));
            0
        }
    }
}

fn check_root(root: &Path) -> Result<(), u8> {
    if !root.is_absolute() {
        complain(&format!("root path must be absolute: {}", root.shown()));
        return Err(2);
    }
    if !root.is_dir() {
        complain(&format!("root path must be a directory: {}", root.shown()));
        return Err(2);
    }
    Ok(())
}

fn edit(arguments: Arguments, program: String) -> Result<u8, u8> {
    let caller = Caller::from_env();
    // A path that a user names is not looked at.
    if caller.is_some() && arguments.root.is_some() {
        complain(&format!("{program}: -R is for root only"));
        return Err(1);
    }
    if let Some(root) = &arguments.root {
        check_root(root)?;
    }
    let files = FileStore::open(Root::new(arguments.root.as_deref()));
    // Changes that `admin` allows a user are saved by the broker. Everything else is done with the user's own rights.
    let brokered = match (&arguments.root, rustix::process::geteuid().is_root()) {
        (None, false) => BrokeredStore::open(&files),
        _ => None,
    };
    let store: &dyn ZoneStore = brokered.as_ref().map_or(&files, |b| b as &dyn ZoneStore);
    let zone = match (&arguments.zone, &arguments.uuid) {
        (Some(name), _) => ZoneName::new(name).map_err(|e| {
            complain(&format!("{e}\n{NAME_RULES}"));
            2
        })?,
        (None, uuid) => {
            let uuid = uuid.as_deref().unwrap_or_default();
            let found = store.by_uuid(&uuid.to_ascii_lowercase()).map_err(|e| {
                complain(&format!("{program}: Could not access zone configuration store: {e}"));
                1
            })?;
            found.ok_or_else(|| {
                complain(&format!("{uuid}: Bogus zone name"));
                2
            })?
        }
    };
    if let Some(caller) = caller {
        return Ok(take(&arguments, &files, &zone, &caller));
    }
    if arguments.running {
        complain(&format!(
            "{program}: -r is not supported: the configuration of a running zone cannot be edited; \
             edit the saved one, then run 'zoneadm -z {zone} reboot'."
        ));
        return Err(1);
    }
    let options = SessionOptions { alternate_root: arguments.root.is_some(), program };
    let mut session = EditSession::new(store, zone.clone(), options);
    let terminal = std::io::stdin().is_terminal();
    let status = match arguments.file.as_deref() {
        _ if !arguments.words.is_empty() => script::run_words(&mut session, &arguments.words.join(" ")),
        Some("-") if terminal => editor::run(&mut session, false),
        None if terminal => editor::run(&mut session, true),
        Some("-") => script::run_stdin(&mut session, true),
        None => script::run_stdin(&mut session, false),
        Some(path) => script::run_file(&mut session, path),
    };
    if status != 0
        && let Some(text) = brokered.and_then(|b| b.lacks(&zone))
    {
        complain(&text);
    }
    Ok(status)
}

/// Saves a configuration that a user hands over through the broker, on standard input. Nothing else is done for a
/// user with the rights of root.
fn take(arguments: &Arguments, files: &FileStore, zone: &ZoneName, caller: &Caller) -> u8 {
    let only_zone = Arguments { zone: arguments.zone.clone(), ..Arguments::default() };
    if *arguments != only_zone || zone.is_reserved() || zone.is_global() {
        complain("the broker takes a finished configuration and nothing else");
        return 2;
    }
    let (status, text) = take_commit(files, zone, caller, std::io::stdin().lock());
    if !text.is_empty() {
        complain(&text);
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(words: &[&str]) -> Result<Arguments, Instead> {
        parse(words.iter().map(OsString::from), "zonecfg")
    }

    #[test]
    fn the_name_is_the_one_that_was_called() {
        let called = |text: &str| called_as(Some(text.into()));
        assert_eq!(called("/usr/sbin/zonecfg"), "zonecfg");
        assert_eq!(called("./zcfg"), "zcfg");
        for odd in ["", "/", "a\nb"] {
            assert_eq!(called(odd), "zonecfg");
        }
        assert_eq!(called_as(None), "zonecfg");
    }

    #[test]
    fn options_come_first() {
        let found = argv(&["-z", "zion", "-R/alt", "create", "-b", ";", "", "-x"]).expect("good");
        assert_eq!(found.zone.as_deref(), Some("zion"));
        assert_eq!(found.root.as_deref(), Some(Path::new("/alt")));
        assert_eq!(found.words, ["create", "-b", ";", "", "-x"]);
        let found = argv(&["-rz", "zion", "-f", "-"]).expect("good");
        assert!(found.running && found.file.as_deref() == Some("-"));
    }

    #[test]
    fn mistakes() {
        assert_eq!(argv(&[]), Err(Instead::Mistake(None)));
        assert_eq!(argv(&["info"]), Err(Instead::Mistake(None)));
        assert_eq!(argv(&["-z", "a", "-u", "b"]), Err(Instead::Mistake(None)));
        assert!(matches!(argv(&["-z", "a", "-q"]), Err(Instead::Mistake(Some(_)))));
        assert!(matches!(argv(&["-z"]), Err(Instead::Mistake(Some(_)))));
        assert_eq!(argv(&["-?"]), Err(Instead::Usage));
        assert_eq!(argv(&["help", "set"]), Err(Instead::Help(vec!["set".into()])));
        assert_eq!(argv(&["--version"]), Err(Instead::Version));
    }
}
