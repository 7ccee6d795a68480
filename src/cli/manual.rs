//! The parts of the manual that are tables: written from [`schema`], so that they cannot drift.
//!
//! The pages in `man/` hold each part between two comment lines; `tests/manual.rs` compares and, with
//! `UPDATE=1`, rewrites them.

use std::fmt::Write as _;

use super::zoneadm::table;
use crate::shell::help::{self, CommandScope};
use crate::spec::privilege::{CAPABILITIES, Grant, Means, PRIVILEGES};
use crate::spec::schema::{
    self, Honour, PropDef, PropertyOrigin, ResourceKind, TakesEffect, ValueKind, ValueShape,
};

/// Names of the parts, as the pages mark them.
pub const SECTIONS: &[&str] = &["commands", "globals", "resources", "foreign", "keys", "privileges"];

/// Returns a part of the manual in mdoc(7), none when there is no such part.
pub fn section(name: &str) -> Option<String> {
    Some(match name {
        "commands" => commands(),
        "globals" => globals(),
        "resources" => resources(),
        "foreign" => foreign(),
        "keys" => keys(),
        "privileges" => privileges(),
        _ => return None,
    })
}

/// Returns how a subcommand of zoneadm is called, in mdoc(7), none when there is no such subcommand: the line in
/// the list of subcommands, and the lines of the page's synopsis.
pub fn zoneadm_synopsis(name: &str) -> Option<(String, Vec<String>)> {
    let pieces = table::find(name)?.verb.manual();
    let last = pieces.len().saturating_sub(1);
    let one = |(at, (text, is_optional)): (usize, &(String, bool))| match is_optional {
        false => text.clone(),
        // Op encloses the rest of the line, and a line of its own is enclosed by it.
        true if at == last && !text.contains(" Oc") => format!("Op {text}"),
        true => format!("Oo {text} Oc"),
    };
    let words: Vec<_> = pieces.iter().enumerate().map(one).collect();
    let line = format!(".It Cm {name} {}", words.join(" ")).trim_end().to_owned();
    let lines = pieces.iter().map(
        |(text, is_optional)| {
            if *is_optional { format!(".Op {text}") } else { format!(".{text}") }
        },
    );
    Some((line, lines.collect()))
}

/// The subcommands of zonecfg, from the table that its `help` prints.
fn commands() -> String {
    let mut out = String::from(".Bl -tag -width Ds\n");
    for command in help::COMMANDS {
        for form in command.synopsis {
            let _ = writeln!(out, ".It {}", words(form));
        }
        line(&mut out, &sentence(command.doc));
        out.push_str(match command.scope {
            CommandScope::Global => "Only in the global scope.\n",
            CommandScope::Resource => "Only in a resource.\n",
            CommandScope::Both => "",
        });
        if !command.more.is_empty() {
            line(&mut out, command.more);
        }
        let _ = writeln!(out, "Example:\n.Ql {}", words(command.example));
    }
    out.push_str(".El\n");
    out
}

fn globals() -> String {
    let mut out = String::new();
    line(
        &mut out,
        "A commit saves the configuration. A running zone keeps what it was booted with: where nothing else is \
         said, a change takes effect when the zone boots next, from outside or from inside.",
    );
    out.push_str(".Bl -tag -width Ds\n");
    for def in schema::globals() {
        property(&mut out, None, def, PropertyOrigin::Illumos);
    }
    out.push_str(".El\n");
    out
}

fn resources() -> String {
    let mut out = String::new();
    for kind in ResourceKind::every() {
        let def = kind.def();
        let _ = writeln!(out, ".Ss {}", words(&def.title()));
        line(&mut out, &sentence(def.doc));
        let keys: Vec<_> = def.keys().map(|p| p.name).collect();
        match (def.within, def.singleton) {
            (None, true) => out.push_str("At most one in a zone.\n"),
            (None, false) => {
                out.push_str("Any number in a zone.\n");
                if !keys.is_empty() {
                    line(&mut out, &format!("Two may not agree in {}.", and(&keys)));
                }
            }
            (Some(outer), _) => {
                line(&mut out, &format!("Any number in each {outer}, where it is added and selected."));
                line(
                    &mut out,
                    &format!("Two of one {outer} may not agree in {}, which need not be set.", and(&keys)),
                );
            }
        }
        let inner: Vec<_> = kind.inner().map(ResourceKind::name).collect();
        if !inner.is_empty() {
            line(&mut out, &format!("Resources {} stand in it, as described below.", and(&inner)));
        }
        origin(&mut out, def.origin);
        honour(&mut out, def.honour);
        if def.honour == Honour::Yes {
            effect(&mut out, "Adding or removing one", def.takes_effect());
        }
        out.push_str(".Bl -tag -width Ds\n");
        for p in def.props {
            property(&mut out, Some(kind), p, def.origin);
        }
        out.push_str(".El\n");
    }
    out
}

/// Lists the properties that a Linux host does not carry out, so that a user does not have to find out by trying.
fn foreign() -> String {
    let mut out = String::from(".Bl -tag -width Ds\n");
    let mut row = |name: String, is: Honour| {
        if !matches!(is, Honour::Yes) {
            let _ = writeln!(out, ".It {}", words(&name));
            honour(&mut out, is);
        }
    };
    for p in schema::globals() {
        row(p.name.to_owned(), p.honour);
    }
    for kind in ResourceKind::every() {
        let def = kind.def();
        row(def.title().into_owned(), def.honour);
        for p in def.props.iter().filter(|p| p.honour != def.honour && p.honour != Honour::Yes) {
            row(format!("{} {}", def.title(), p.name), p.honour);
        }
    }
    out.push_str(".El\n");
    out
}

/// The keys of a spec file, with the form that TOML gives to their values.
fn keys() -> String {
    let mut out = String::from(".Bl -tag -width Ds\n.It (zone)\n");
    keys_of(&mut out, schema::globals().iter().filter(|p| p.name != "zonename"));
    for kind in ResourceKind::every() {
        let def = kind.def();
        let _ = match (def.within, def.singleton) {
            (Some(outer), _) => writeln!(out, ".It [[{outer}.{kind}]]"),
            (None, true) => writeln!(out, ".It [{}]", words(def.name)),
            (None, false) => writeln!(out, ".It [[{}]]", words(def.name)),
        };
        keys_of(&mut out, def.props.iter());
    }
    out.push_str(".El\n");
    out
}

fn keys_of<'a>(out: &mut String, props: impl Iterator<Item = &'a PropDef>) {
    let named: Vec<_> = props.map(|p| format!("{} ({})", p.name, form(p))).collect();
    line(out, &format!("{}.", named.join(", ")));
}

/// Lists the meaning of each Solaris privilege on Linux, those of one meaning together; then the capabilities.
fn privileges() -> String {
    let mut out = String::from(".Bl -tag -width Ds\n");
    let mut row = |names: &[&str], text: &str| {
        let _ = writeln!(out, ".It {}", words(&names.join(", ")));
        line(&mut out, text);
    };
    for (i, p) in PRIVILEGES.iter().enumerate() {
        if PRIVILEGES[..i].iter().any(|q| q.means == p.means) {
            continue;
        }
        let names: Vec<_> = PRIVILEGES.iter().filter(|q| q.means == p.means).map(|q| q.name).collect();
        let text = match p.means {
            Means::Capabilities { gives, with: [] } => sentence(&format!("capability {}", and(gives))),
            Means::Capabilities { gives, with } => sentence(&format!(
                "capability {}; when it is taken away, {} goes as well",
                and(gives),
                and(with)
            )),
            Means::Everyone(true) => "Every process on Linux has them; the set basic.".to_owned(),
            Means::Everyone(false) => "Every process on Linux has them.".to_owned(),
            Means::Never(why) => sentence(&format!("cannot be given: {why}")),
            Means::Nothing(why) => sentence(&format!("without effect: {why}")),
        };
        row(&names, &text);
    }
    let of = |wanted: &dyn Fn(Grant) -> bool| -> Vec<_> {
        CAPABILITIES.iter().filter(|c| wanted(c.grant)).map(|c| c.name).collect()
    };
    out.push_str(".El\n.Pp\n");
    line(&mut out, &format!("The set default has the capabilities {}.", and(&of(&|g| g == Grant::Default))));
    line(&mut out, "The set all has these besides, which can also be given by name:");
    out.push_str(".Bl -tag -width Ds\n");
    for c in CAPABILITIES {
        if let Grant::Asked(why) = c.grant {
            let _ = writeln!(out, ".It {}", words(c.name));
            line(&mut out, &sentence(&format!("not there by default: {why}")));
        }
    }
    out.push_str(".El\n");
    line(&mut out, "The other capabilities cannot be given:");
    out.push_str(".Bl -tag -width Ds\n");
    for (i, c) in CAPABILITIES.iter().enumerate() {
        let Grant::Never(why) = c.grant else { continue };
        if CAPABILITIES[..i].iter().all(|d| d.grant != c.grant) {
            let _ = writeln!(out, ".It {}", words(&of(&|g| g == c.grant).join(", ")));
            line(&mut out, &sentence(why));
        }
    }
    out.push_str(".El\n");
    out
}

fn form(def: &PropDef) -> &'static str {
    match (def.shape, def.kind) {
        (ValueShape::Groups(_), _) => "array of tables",
        (ValueShape::List, _) => "array",
        (ValueShape::One, ValueKind::Bool) => "boolean",
        (ValueShape::One, ValueKind::Uint(..)) => "integer",
        (ValueShape::One, ValueKind::Size(_) | ValueKind::CpuCap | ValueKind::CpuRange) => "string or number",
        (ValueShape::One, ValueKind::AttrValue) => "string, integer or boolean",
        (ValueShape::One, _) => "string",
    }
}

/// Writes one property; `known` is the origin that the page has already named.
fn property(out: &mut String, of: Option<ResourceKind>, def: &PropDef, known: PropertyOrigin) {
    let _ = writeln!(out, ".It {}", words(def.name));
    line(out, &sentence(def.doc));
    line(out, &rule(def));
    let mut notes = Vec::new();
    if def.required {
        notes.push("required".to_owned());
    }
    if let Some(value) = def.default {
        notes.push(format!("default {value}"));
    }
    if def.clearable {
        notes.push("can be cleared".to_owned());
    }
    if def.delegable {
        notes.push("open to the authorization config".to_owned());
    }
    if let Some(alias) = def.alias {
        notes.push(format!("kept as the control {}", alias.rctl));
    }
    if !notes.is_empty() {
        line(out, &sentence(&notes.join("; ")));
    }
    if def.origin != known {
        origin(out, def.origin);
    }
    honour(out, def.honour);
    // Statements about the resource as a whole are not repeated.
    let known = of.map(|kind| kind.def().takes_effect());
    if def.honour == Honour::Yes && known != Some(def.takes_effect(of)) {
        effect(out, "A change", def.takes_effect(of));
    }
    let _ = writeln!(out, "Example:\n.Ql {}", words(&example(def)));
}

/// Returns how the value is set at the prompt.
fn example(def: &PropDef) -> String {
    let plain = |c: char| !c.is_whitespace() && !";=[]()\"".contains(c);
    match def.shape {
        ValueShape::Groups(_) => format!("add {} {}", def.name, def.example),
        ValueShape::One if !def.example.chars().all(plain) => format!("set {}=\"{}\"", def.name, def.example),
        ValueShape::One | ValueShape::List => format!("set {}={}", def.name, def.example),
    }
}

fn rule(def: &PropDef) -> String {
    let one = match def.kind {
        ValueKind::Bool => "true or false".to_owned(),
        ValueKind::Word(list) => format!("one of {}", list.join(", ")),
        ValueKind::Uint(0, u64::MAX) => "a number".to_owned(),
        ValueKind::Uint(low, u64::MAX) => format!("a number, at least {low}"),
        ValueKind::Uint(low, high) => format!("a number from {low} to {high}"),
        ValueKind::Size(0) => "a size: a number, with a fraction if need be, and K, M, G or T".to_owned(),
        ValueKind::Size(low) => format!("a size of at least {}M, such as 1.5G", low >> 20),
        ValueKind::CpuCap => "a number of cpus with a fraction, at least 0.01".to_owned(),
        ValueKind::CpuRange => "N or N-M, at least 1".to_owned(),
        ValueKind::Text => "any text".to_owned(),
        ValueKind::Option => "options of a mount; one word with commas in it is a list".to_owned(),
        ValueKind::AbsPath => "an absolute path".to_owned(),
        ValueKind::ZonePath => "an absolute path other than /".to_owned(),
        ValueKind::ZoneName => {
            "letters, digits, '_', '.' and '-', the first a letter or digit; at most 63".to_owned()
        }
        ValueKind::Brand => "the name of a brand".to_owned(),
        ValueKind::Brands => "a comma list of brands".to_owned(),
        ValueKind::HostId => "up to eight hexadecimal digits, with or without 0x; not ffffffff".to_owned(),
        ValueKind::Privileges => {
            "a comma list of privileges, each with ! before it to take it away".to_owned()
        }
        ValueKind::FsAllowed => "a comma list of file system types".to_owned(),
        ValueKind::PoolName => "a name that does not begin with SUNW".to_owned(),
        ValueKind::Address => {
            "an IPv4 address, its prefix optional; an IPv6 address with prefix; or a host name".to_owned()
        }
        ValueKind::AddressList => "an address, or a comma list of them".to_owned(),
        ValueKind::Router => "an address without prefix".to_owned(),
        ValueKind::Link => "the name of a network link".to_owned(),
        ValueKind::FsType => "the name of a file system type".to_owned(),
        ValueKind::DeviceMatch => "a pattern with * and ?, below /dev or relative to it".to_owned(),
        ValueKind::DatasetName => "the name of a ZFS file system".to_owned(),
        ValueKind::RctlName => "zone. and letters or dashes".to_owned(),
        ValueKind::AttrName => "letters, digits, '-' and '.', the first a letter or digit".to_owned(),
        ValueKind::AttrValue => "a value of the type that type names".to_owned(),
        ValueKind::User => "a login name".to_owned(),
        ValueKind::Auths => "a comma list of authorizations".to_owned(),
        ValueKind::SecFlags => "a comma list of security flags".to_owned(),
        ValueKind::Uuid => "a UUID".to_owned(),
        ValueKind::Mac => "six pairs of hexadecimal digits, or auto, random, default or factory".to_owned(),
        ValueKind::LockList => "a comma list of ZFS properties".to_owned(),
    };
    match def.shape {
        ValueShape::One => sentence(&one),
        ValueShape::List => sentence(&format!("a list; each element is {one}")),
        ValueShape::Groups(members) => {
            sentence(&format!("a list; each element is a group of {}", and(members)))
        }
    }
}

fn origin(out: &mut String, origin: PropertyOrigin) {
    out.push_str(match origin {
        PropertyOrigin::Illumos => "",
        PropertyOrigin::Solaris10 => "From Solaris 10.\n",
        PropertyOrigin::Solaris11 => "From Solaris 11.\n",
        PropertyOrigin::SmartOs => "From SmartOS and OmniOS.\n",
        PropertyOrigin::Linux => "Only in Zones for Linux.\n",
    });
}

/// Writes when a change takes effect, unless the beginning of the part says the same of all.
fn effect(out: &mut String, what: &str, effect: TakesEffect) {
    if effect != TakesEffect::NextBoot("") {
        line(out, &sentence(&effect.sentence(what)));
    }
}

fn honour(out: &mut String, honour: Honour) {
    match honour {
        Honour::Yes => {}
        Honour::Ignored(why) => {
            line(out, &format!("Kept and shown, without effect: {why}."));
        }
        Honour::Refused(why) => {
            line(out, &format!("Kept and shown, but the zone does not boot with it: {why}."));
        }
    }
}

/// Writes text, each sentence on a line of its own; what mdoc would take for a request or an escape is
/// protected.
fn line(out: &mut String, text: &str) {
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest
            .match_indices(". ")
            .map(|(at, _)| at + 1)
            .find(|at| rest[at + 1..].starts_with(|c: char| c.is_uppercase() || c == '-' || c == '"'));
        let (sentence, more) = rest.split_at(end.unwrap_or(rest.len()));
        if sentence.starts_with(['.', '\'']) {
            out.push_str("\\&");
        }
        out.push_str(&escape(sentence));
        out.push('\n');
        rest = more.trim_start();
    }
}

/// Returns words for the line of a macro: none of them is taken for a macro of its own.
fn words(text: &str) -> String {
    // mdoc knows its macros by names of two or three letters
    let protect = |w: &str| if w.len() <= 3 { format!("\\&{w}") } else { w.to_owned() };
    escape(text).replace('"', "\\(dq").split(' ').map(protect).collect::<Vec<_>>().join(" ")
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\e")
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}

fn and(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [head @ .., last] => format!("{} and {last}", head.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_that_is_named_can_be_written() {
        for name in SECTIONS {
            let text = section(name).unwrap_or_default();
            assert!(text.ends_with('\n') && text.len() > 200, "{name}");
        }
        assert_eq!(section("nothing"), None);
    }

    #[test]
    fn a_new_row_of_the_table_appears() {
        let (globals, resources) = (globals(), resources());
        for p in schema::globals() {
            assert!(globals.contains(&format!(".It {}\n", words(p.name))), "{}", p.name);
        }
        for kind in ResourceKind::every() {
            assert!(resources.contains(&format!(".Ss {}\n", words(&kind.def().title()))), "{kind}");
        }
    }

    #[test]
    fn a_word_is_never_taken_for_a_macro() {
        assert_eq!(words("fs Ar long"), "\\&fs \\&Ar long");
        let mut out = String::new();
        line(&mut out, ".Sh x\\y");
        assert_eq!(out, "\\&.Sh x\\ey\n");
    }
}
