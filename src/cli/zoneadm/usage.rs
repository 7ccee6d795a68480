//! How zoneadm and its subcommands are called, as the table says it.

use std::io::{self, Write};

use super::table::SUBCOMMANDS;
use crate::spec::verb::{Operands, Subject, Verb};

fn synopsis(verb: &Verb) -> String {
    format!("{} {}", verb.name, verb.usage()).trim_end().to_owned()
}

/// Prints a subcommand's usage, with a description when asked for.
///
/// # Errors
/// The system's error.
pub fn print_verb(verb: &Verb, program: &str, asked: bool, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "usage:\t{program} {}", synopsis(verb))?;
    if asked {
        writeln!(out, "\n\t{}", verb.help.replace('\n', "\n\t"))?;
    }
    Ok(())
}

/// Prints the usage of the program, with descriptions of the subcommands when asked for.
///
/// # Errors
/// The system's error.
pub fn print(program: &str, asked: bool, out: &mut dyn Write) -> io::Result<()> {
    let about = |subject| SUBCOMMANDS.iter().map(|s| &s.verb).filter(move |v| v.subject == subject);
    let is_bare = |verb: &&Verb| verb.operands == Operands::None;
    let names: Vec<_> = about(Subject::Zone).map(|v| v.name).collect();
    let mut before = "usage:";
    for verb in about(Subject::Program) {
        writeln!(out, "{before}\t{program} {}", verb.name)?;
        before = "";
    }
    for verb in about(Subject::Zones) {
        writeln!(out, "\t{program} [-R root] [-z zone] [-u uuid-match] {}", verb.name)?;
    }
    for verb in about(Subject::Host).filter(is_bare) {
        writeln!(out, "\t{program} [-R root] {}", verb.name)?;
    }
    for verb in about(Subject::Host).filter(|verb| !is_bare(verb)) {
        writeln!(out, "\t{program} [-R root] {}", synopsis(verb))?;
    }
    writeln!(out, "\t{program} [-R root] {{-z zone|-u uuid-match}} <{}>", names.join("|"))?;
    writeln!(out, "\nSubcommands:\n")?;
    for verb in SUBCOMMANDS.iter().map(|s| &s.verb) {
        writeln!(out, "{}", synopsis(verb))?;
        if asked {
            writeln!(out, "\t{}\n", verb.help.replace('\n', "\n\t"))?;
        }
    }
    if asked { Ok(()) } else { writeln!(out) }
}
