//! The words after a subcommand, read by its row in the table.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use lexopt::{Arg, Parser};

use super::foreign;
use crate::apply::boot::BootArgs;
use crate::spec::verb::{Must, Operands, Opt, OptionValue, Role, Verb};

/// Longest boot arguments, in bytes (`BOOTARGS_MAX` less the terminator).
const BOOT_ARGS_MAX: usize = 255;

/// The words after a subcommand, parsed.
#[derive(Debug, Default)]
pub(super) struct SubcommandArgs {
    /// The options, in the order in which they were given.
    given: Vec<(&'static Opt, Option<OsString>)>,
    /// The one operand.
    operand: Option<OsString>,
    /// Arguments of a boot, one line.
    pub(super) boot: String,
    /// Words that the subcommand reads itself.
    pub(super) words: Vec<String>,
    /// The profile of `-c`.
    pub(super) profile: Option<PathBuf>,
    /// Warnings about options that have no meaning here.
    pub(super) notes: Vec<String>,
}

/// Why words are not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ArgsError {
    /// Usage is printed.
    Usage,
    /// `-?`: usage and help are printed.
    HelpAsked,
    /// Exit with 2 without a word, as Solaris does for `mark`.
    Silent,
    /// This text is printed.
    Text(&'static str),
}

impl SubcommandArgs {
    /// Says whether an option was given, `-F` or `--json`.
    pub(super) fn has(&self, option: &str) -> bool {
        self.given.iter().any(|(opt, _)| opt.typed() == option)
    }

    /// Returns the value of an option, the last one when it was given several times.
    pub(super) fn value(&self, option: &str) -> Option<&OsStr> {
        self.given.iter().rev().find(|(opt, _)| opt.typed() == option)?.1.as_deref()
    }

    /// Returns the same as text.
    pub(super) fn text(&self, option: &str) -> Option<String> {
        self.value(option).map(|value| value.to_string_lossy().into_owned())
    }

    /// Returns the same as a number.
    pub(super) fn number(&self, option: &str) -> Option<u64> {
        self.value(option)?.to_str()?.parse().ok()
    }

    /// Returns the name or keyword that was given.
    pub(super) fn operand(&self) -> Option<String> {
        self.operand.as_ref().map(|word| word.to_string_lossy().into_owned())
    }

    /// Returns the options that were given.
    pub(super) fn options(&self) -> impl Iterator<Item = &'static Opt> {
        self.given.iter().map(|(opt, _)| *opt)
    }

    /// Returns the arguments of a boot.
    pub(super) fn boot_args(&self) -> BootArgs {
        BootArgs { writable: self.has("-w"), ..BootArgs::parse(&self.boot) }
    }
}

/// Reads the words after a subcommand.
///
/// # Errors
/// [`ArgsError`].
pub(super) fn read(verb: &'static Verb, args: &[OsString]) -> Result<SubcommandArgs, ArgsError> {
    let (args, notes) = foreign::take_out(verb, args);
    let (args, profile) = foreign::profile(verb, args);
    Ok(SubcommandArgs { notes, profile, ..own(verb, &args)? })
}

fn own(verb: &'static Verb, args: &[OsString]) -> Result<SubcommandArgs, ArgsError> {
    let mut out = SubcommandArgs::default();
    if let Operands::Words { .. } = verb.operands {
        if args.first().is_some_and(|word| word == "-?" || word == "--help") {
            return Err(ArgsError::HelpAsked);
        }
        out.words = args.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        return Ok(out);
    }
    // Words after "--" are never options; only a boot takes them as they are.
    let is_parted = matches!(verb.operands, Operands::Keyword(_) | Operands::BootArgs { .. });
    let (own, after) = match args.iter().position(|word| word == "--") {
        Some(at) if is_parted => (&args[..at], &args[at + 1..]),
        _ => (args, &[][..]),
    };
    let refused = match verb.operands {
        Operands::Keyword(_) => ArgsError::Silent,
        _ => ArgsError::Usage,
    };
    let mut boot: Vec<String> = Vec::new();
    let mut parser = Parser::from_args(own.iter().cloned());
    while let Some(arg) = parser.next().map_err(|_| ArgsError::Usage)? {
        let opt = match arg {
            Arg::Short('?') | Arg::Long("help") => return Err(ArgsError::HelpAsked),
            Arg::Short(letter) => verb.options.iter().find(|o| o.letter == Some(letter)),
            Arg::Long(name) => verb.options.iter().find(|o| o.long == Some(name)),
            Arg::Value(word) => {
                match verb.operands {
                    Operands::Keyword(_) | Operands::Name { .. } if out.operand.is_none() => {
                        out.operand = Some(word);
                    }
                    Operands::BootArgs { after } if may_boot(after, &out) => {
                        boot.push(word.to_string_lossy().into_owned());
                    }
                    _ => return Err(refused),
                }
                continue;
            }
        };
        let Some(opt) = opt else { return Err(refused) };
        let value = match &opt.value {
            Some(value) => Some(checked(value, parser.value().map_err(|_| ArgsError::Usage)?)?),
            None => None,
        };
        // The old form, from before there was "--".
        if opt.role == Role::BootWord {
            boot.push(opt.typed());
        }
        out.given.push((opt, value));
    }
    match verb.operands {
        Operands::BootArgs { after } if may_boot(after, &out) => {}
        _ if after.is_empty() => {}
        _ => return Err(refused),
    }
    if matches!(verb.operands, Operands::Name { is_optional: false, .. }) && out.operand.is_none() {
        return Err(refused);
    }
    boot.extend(after.iter().map(|word| word.to_string_lossy().into_owned()));
    out.boot = boot.join(" ");
    if out.boot.len() > BOOT_ARGS_MAX {
        return Err(ArgsError::Text("Boot argument list too long"));
    }
    Ok(out)
}

/// Says whether arguments of a boot may come now.
fn may_boot(after: Option<char>, args: &SubcommandArgs) -> bool {
    after.is_none_or(|letter| args.has(&format!("-{letter}")))
}

fn checked(value: &OptionValue, given: OsString) -> Result<OsString, ArgsError> {
    match value.must {
        Must::Any => Ok(given),
        Must::Be(word, _) if given == word => Ok(given),
        Must::Be(_, text) => Err(ArgsError::Text(text)),
        Must::Number { most, text } => {
            let number = given.to_str().and_then(|text| text.parse::<u64>().ok());
            let is_good = number.is_some_and(|number| number <= most);
            if is_good { Ok(given) } else { Err(text.map_or(ArgsError::Usage, ArgsError::Text)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::zoneadm::table;

    fn parse(name: &str, line: &str) -> Result<SubcommandArgs, ArgsError> {
        let row = table::find(name).expect("a subcommand");
        let args = read(&row.verb, &line.split_whitespace().map(OsString::from).collect::<Vec<_>>())?;
        row.check.map_or(Ok(()), |check| check(&args)).map(|()| args)
    }

    fn error(name: &str, line: &str) -> ArgsError {
        parse(name, line).expect_err(line)
    }

    #[test]
    fn boot_arguments() {
        let boot = |line| parse("boot", line).map(|a| a.boot);
        assert_eq!(boot("-- -m verbose -s").as_deref(), Ok("-m verbose -s"));
        assert_eq!(boot("-s").as_deref(), Ok("-s"));
        assert_eq!(
            boot("x -s -- -v").as_deref(),
            Ok("x -s -v"),
            "Linux: with the blank that illumos forgets"
        );
        assert_eq!(boot("-- --").as_deref(), Ok("--"));
        assert_eq!(boot("-x"), Err(ArgsError::Usage));
        assert_eq!(
            error("boot", &format!("-- {}", "x".repeat(256))),
            ArgsError::Text("Boot argument list too long")
        );
        assert!(parse("boot", "-w -- -s").is_ok_and(|a| a.boot_args().writable && a.boot == "-s"));
        assert!(parse("reboot", "-w").is_ok_and(|a| a.boot_args().writable));
        assert_eq!(error("ready", "-w"), ArgsError::Usage);
        assert!(parse("boot", "-f").is_ok_and(|a| a.has("-f")));
        assert!(parse("shutdown", "-r -- -s").is_ok_and(|a| a.has("-r") && a.boot == "-s"));
        assert_eq!(error("shutdown", "-- -s"), ArgsError::Usage);
        assert_eq!(error("shutdown", "x -r"), ArgsError::Usage);
        assert!(parse("shutdown", "-t 300 -r").is_ok_and(|a| a.has("-r") && a.number("-t") == Some(300)));
        assert_eq!(error("shutdown", "-t soon"), ArgsError::Text("-t: a number of seconds is needed"));
        assert_eq!(error("shutdown", "-t"), ArgsError::Usage);
        assert_eq!(error("halt", "now"), ArgsError::Usage);
        assert_eq!(error("halt", "-- now"), ArgsError::Usage);
        assert!(parse("halt", "--").is_ok());
    }

    #[test]
    fn marks() {
        assert_eq!(parse("mark", "incomplete").map(|a| a.operand()), Ok(Some("incomplete".into())));
        assert!(parse("mark", "-F installed").is_ok_and(|a| a.has("-F")));
        for bad in ["", "installed", "ready", "incomplete x", "-x", "-- incomplete"] {
            assert_eq!(error("mark", bad), ArgsError::Silent, "{bad}");
        }
        assert_eq!(error("mark", "-?"), ArgsError::HelpAsked);
    }

    #[test]
    fn arguments_of_storage_operations() {
        let clone = parse("clone", "-m copy -s @one --with-datasets zion").expect("clone");
        assert!(clone.has("-m") && clone.has("--with-datasets"));
        assert_eq!(clone.operand().as_deref(), Some("zion"));
        assert_eq!(clone.text("-s").as_deref(), Some("@one"));
        assert_eq!(error("clone", "-m move zion"), ArgsError::Text("the only method of clone -m is copy"));
        for (name, bad) in [
            ("clone", ""),
            ("clone", "a b"),
            ("clone", "-x a"),
            ("clone", "-s"),
            ("move", ""),
            ("move", "/a /b"),
            ("detach", "x"),
            ("detach", "-F"),
            ("attach", "x"),
            ("attach", "-n"),
            ("reclaim", ""),
            ("reclaim", "a b"),
            ("shift-ids", "-f x"),
            ("shift-ids", "-f 4294967296"),
            ("list", "x"),
        ] {
            assert_eq!(error(name, bad), ArgsError::Usage, "{name} {bad}");
        }
        assert_eq!(parse("move", "-- /a").map(|a| a.operand()), Ok(Some("/a".into())));
        assert!(parse("detach", "-n").is_ok_and(|a| a.has("-n")));
        assert!(parse("attach", "-F -u").is_ok_and(|a| a.has("-F") && a.has("-u")));
        assert_eq!(parse("attach", "-n -").map(|a| a.text("-n")), Ok(Some("-".into())));
        assert_eq!(error("attach", "-F -n x"), ArgsError::Text("-F and -n flags are mutually exclusive"));
        assert_eq!(error("move", "-?"), ArgsError::HelpAsked);
        assert_eq!(error("install", "--help"), ArgsError::HelpAsked);
    }
}
