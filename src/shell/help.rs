//! Help: the table of commands, and texts for commands, resources and properties. Manual pages are
//! made from the same tables.

use std::fmt::Write as _;

use crate::parser::CommandWord;
use crate::parser::error::close_names;
use crate::spec::schema::{
    self, Alias, Honour, PropDef, PropertyOrigin, ResourceKind, ValueKind, ValueShape,
};

/// Where a command makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandScope {
    /// Only outside of a resource.
    Global,
    /// Only inside a resource.
    Resource,
    /// In both.
    Both,
}

/// One command.
#[derive(Clone, Copy, Debug)]
pub struct CommandHelp {
    /// The command.
    pub verb: CommandWord,
    /// Its name as typed.
    pub name: &'static str,
    /// Its forms.
    pub synopsis: &'static [&'static str],
    /// Where it makes sense.
    pub scope: CommandScope,
    /// One sentence, imperative, no full stop.
    pub doc: &'static str,
    /// Further explanation; empty when the sentence says it all.
    pub more: &'static str,
    /// An example.
    pub example: &'static str,
}

const fn command(
    verb: CommandWord,
    name: &'static str,
    synopsis: &'static [&'static str],
    scope: CommandScope,
    doc: &'static str,
    example: &'static str,
) -> CommandHelp {
    CommandHelp { verb, name, synopsis, scope, doc, more: "", example }
}

/// Every command, sorted by name.
pub const COMMANDS: &[CommandHelp] = &[
    CommandHelp {
        more: "In the global scope it opens an empty resource, which \"end\" checks and stores and \
               \"cancel\" drops. In a resource it appends to a list, or opens a resource that stands in it \
               (mac and vlan in anet).",
        ..command(
            CommandWord::Add,
            "add",
            &["add <resource-type>", "add <property-name> <property-value>"],
            CommandScope::Both,
            "Begin a new resource, or append to a list property of the open one",
            "add net",
        )
    },
    command(
        CommandWord::Cancel,
        "cancel",
        &["cancel"],
        CommandScope::Resource,
        "Drop the open resource with everything that was set in it",
        "cancel",
    ),
    command(
        CommandWord::Clear,
        "clear",
        &["clear <property-name>"],
        CommandScope::Both,
        "Take a property back to its default",
        "clear pool",
    ),
    CommandHelp {
        more: "It happens by itself at the end of the session. When somebody else has saved the zone \
               since it was read, the commit is refused and shows what they changed: \"merge\" takes \
               their changes in, \"commit -F\" overwrites them.",
        ..command(
            CommandWord::Commit,
            "commit",
            &["commit [-F]"],
            CommandScope::Global,
            "Verify the configuration and save it",
            "commit",
        )
    },
    CommandHelp {
        more: "Without a flag it starts from the template \"default\", with -b from \"blank\", with -t \
               from any template or zone, with -a from what a detached zone left in its zonepath, with -X \
               from the spec that is in place. -F overwrites a configured zone without asking. Names of \
               templates of Solaris, illumos, OmniOS and Tribblix are accepted: the nearest of ours is \
               taken. Nothing is saved before the commit.",
        ..command(
            CommandWord::Create,
            "create",
            &["create [-F] [ -a <path> |-b | -t <template> | -X ]"],
            CommandScope::Global,
            "Begin a new configuration",
            "create -t webserver",
        )
    },
    CommandHelp {
        more: "It happens at once, without commit. -F does not ask and also takes the configuration of an \
               incomplete or installed zone away whose root is gone. One whose root is there is uninstalled \
               first, or given up with zoneadm mark -F configured.",
        ..command(
            CommandWord::Delete,
            "delete",
            &["delete [-F]"],
            CommandScope::Global,
            "Delete the configuration of the zone",
            "delete -F",
        )
    },
    command(
        CommandWord::Diff,
        "diff",
        &["diff [<revision>]"],
        CommandScope::Global,
        "Show what differs between the saved or a former spec and the edited one",
        "diff 2",
    ),
    command(
        CommandWord::End,
        "end",
        &["end"],
        CommandScope::Resource,
        "Check the open resource and store it",
        "end",
    ),
    CommandHelp {
        more: "Changes are saved first. -F leaves even when a resource is open or the configuration \
               cannot be saved.",
        ..command(CommandWord::Exit, "exit", &["exit [-F]"], CommandScope::Both, "Leave the shell", "exit")
    },
    CommandHelp {
        more: "The text leaves out the name of the zone, so that it can be read into another one. With -o \
               it has the form of the spec file or JSON.",
        ..command(
            CommandWord::Export,
            "export",
            &["export [-f output-file] [-o toml|json]"],
            CommandScope::Global,
            "Print the commands that make this configuration again",
            "export -f /tmp/zion.cfg",
        )
    },
    command(
        CommandWord::Help,
        "help",
        &["help [commands] [syntax] [usage] [<command-name>] [<resource-type>] [<property-name>]"],
        CommandScope::Both,
        "Explain commands, resources and properties",
        "help set",
    ),
    CommandHelp {
        more: "In a resource it shows the open one, or those of a type that stand in it. With -o it has the form of the spec file or JSON.",
        ..command(
            CommandWord::Info,
            "info",
            &[
                "info [-o toml|json]",
                "info [<property-name>]",
                "info [<resource-type> [<number> | <property-name>=<property-value> ...]]",
            ],
            CommandScope::Both,
            "Show the configuration or a part of it",
            "info net physical=eth0",
        )
    },
    command(
        CommandWord::Log,
        "log",
        &["log"],
        CommandScope::Global,
        "List the former specs of the zone: number, time and who saved it",
        "log",
    ),
    CommandHelp {
        more: "What only one side changed is taken from that side. Where both changed the same in \
               different ways, this session's value is kept and named.",
        ..command(
            CommandWord::Merge,
            "merge",
            &["merge"],
            CommandScope::Global,
            "Take in what somebody else has saved since this edit began",
            "merge",
        )
    },
    CommandHelp {
        more: "Without a number or properties all resources of the type are removed, after a question \
               unless -F is given or there is only one. In a resource it takes a value out of a list, or \
               resources that stand in it. With -F what is absent is no error.",
        ..command(
            CommandWord::Remove,
            "remove",
            &[
                "remove [-F] <resource-type>",
                "remove [-F] <resource-type> { <number> | <property-name>=<property-value> ... }",
                "remove [-F] <property-name> <property-value>",
            ],
            CommandScope::Both,
            "Remove resources, or a value of the open one",
            "remove fs dir=/export/shared",
        )
    },
    CommandHelp {
        more: "With a number it takes the former spec of that number (see \"log\") in place of the edited \
               one; that is saved with the next commit.",
        ..command(
            CommandWord::Revert,
            "revert",
            &["revert [-F] [<revision>]"],
            CommandScope::Global,
            "Drop all changes that are not saved",
            "revert",
        )
    },
    CommandHelp {
        more: "In a resource it opens one that stands in it.",
        ..command(
            CommandWord::Select,
            "select",
            &["select <resource-type> [<number> | <property-name>=<property-value> ...]"],
            CommandScope::Both,
            "Open an existing resource for modification",
            "select net physical=eth0",
        )
    },
    CommandHelp {
        more: "A list is replaced as a whole: set options=[ro,nodevices]. Quote a value with blanks or any \
               of ; = [ ] ( ). An empty value clears the property. -F changes the zonepath of an installed \
               zone in an alternate root.",
        ..command(
            CommandWord::Set,
            "set",
            &["set [-F] <property-name>=<property-value>"],
            CommandScope::Both,
            "Set a property",
            "set zonepath=/zones/zion",
        )
    },
    CommandHelp {
        more: "It does not look at the system; \"zoneadm verify\" does.",
        ..command(
            CommandWord::Verify,
            "verify",
            &["verify"],
            CommandScope::Both,
            "Check the configuration without saving it",
            "verify",
        )
    },
];

/// Returns the row of a command.
pub fn of(verb: CommandWord) -> &'static CommandHelp {
    &COMMANDS[verb as usize]
}

/// Returns the short usage of a command, as printed after a wrong number of words.
pub fn usage_text(verb: CommandWord) -> String {
    let mut out = "usage:\n".to_owned();
    for form in of(verb).synopsis {
        out.push_str(form);
        out.push('\n');
    }
    out
}

/// Returns the list of commands, as printed after a syntax error.
pub fn commands_text() -> String {
    let mut out = "Commands:\n\n".to_owned();
    for form in COMMANDS.iter().flat_map(|c| c.synopsis) {
        out.push_str(form);
        out.push('\n');
    }
    out
}

/// Returns how the program is called.
pub fn program_text(program: &str) -> String {
    format!(
        "usage:\t{program} help\n\
         \t{program} -z <zone>\t\t\t(interactive)\n\
         \t{program} -z <zone> <command>\n\
         \t{program} -z <zone> -f <command-file>\n"
    )
}

const SYNTAX: &str = "\
<property-value> is one of
\ttext\t\t\tset pool=web
\t\"text with blanks\"\tset bootargs=\"-m verbose\"
\t[list,of,values]\tset options=[ro,nodevices]
\t(name=value,...)\tadd value (priv=privileged,limit=100,action=deny)

A statement ends at the end of the line or at a semicolon.  A statement that begins
with # is a comment.  There are no escapes: a value cannot hold a double quote.
";

/// Returns the text about a subject, or near names when there is none.
///
/// # Errors
/// Names that may have been meant.
pub fn topic_text(topic: Option<&str>, scope: Option<ResourceKind>) -> Result<String, Vec<&'static str>> {
    let topic = match (topic.map(str::trim), scope) {
        (None | Some(""), None) => return Ok(overview()),
        (None | Some(""), Some(kind)) => return Ok(resource_text(kind)),
        (Some(topic), _) => topic,
    };
    match topic {
        "commands" => return Ok(overview()),
        "syntax" => return Ok(format!("{}\n{SYNTAX}", commands_text())),
        "usage" => return Ok(format!("{}\n{}", program_text("zonecfg"), commands_text())),
        "properties" => return Ok(properties_text()),
        "resources" => return Ok(resources_text()),
        _ => (),
    }
    if let Some(verb) = CommandWord::from_name(topic) {
        return Ok(command_text(verb));
    }
    if let Some(kind) = ResourceKind::from_name(topic) {
        return Ok(resource_text(kind));
    }
    if let Some((kind, name)) = topic.split_once(' ')
        && let Some(kind) = ResourceKind::from_name(kind)
    {
        if let Some(def) = kind.def().prop(name.trim()) {
            return Ok(property_text(Some(kind), def));
        }
        if let Some(inner) = kind.inner().find(|inner| inner.name() == name.trim()) {
            return Ok(resource_text(inner));
        }
    }
    if let Some(def) = scope.and_then(|kind| kind.def().prop(topic)) {
        return Ok(property_text(scope, def));
    }
    let mut found: Vec<_> = schema::global(topic).map(|def| property_text(None, def)).into_iter().collect();
    for kind in ResourceKind::every() {
        found.extend(kind.def().prop(topic).map(|def| property_text(Some(kind), def)));
    }
    if found.is_empty() { Err(close_names(topic, subjects())) } else { Ok(found.join("\n")) }
}

/// Returns every subject of help.
pub fn subjects() -> impl Iterator<Item = &'static str> {
    let fixed = ["commands", "syntax", "usage", "properties", "resources"];
    let verbs = COMMANDS.iter().map(|c| c.name);
    let kinds = ResourceKind::every().map(ResourceKind::name);
    let props =
        schema::globals().iter().chain(ResourceKind::every().flat_map(|k| k.def().props)).map(|p| p.name);
    fixed.into_iter().chain(verbs).chain(kinds).chain(props)
}

fn overview() -> String {
    let mut out = "Commands:\n\n".to_owned();
    for c in COMMANDS {
        let _ = writeln!(out, "  {:<8} {}", c.name, c.doc);
    }
    out.push_str(
        "\n\"help <command>\", \"help <resource-type>\" and \"help <property-name>\" tell more;\n\
         \"help resources\", \"help properties\" and \"help syntax\" list what there is.\n",
    );
    out
}

fn command_text(verb: CommandWord) -> String {
    let c = of(verb);
    let mut out = usage_text(verb);
    let scope = match c.scope {
        CommandScope::Global => "  Only outside of a resource.",
        CommandScope::Resource => "  Only inside a resource.",
        CommandScope::Both => "",
    };
    let _ = writeln!(out, "\n{}.{scope}", c.doc);
    if !c.more.is_empty() {
        wrap(c.more, &mut out);
    }
    let _ = writeln!(out, "\nExample:\n\t{}", c.example);
    out
}

fn wrap(text: &str, out: &mut String) {
    let mut column = 0;
    for word in text.split_whitespace() {
        if column > 0 && column + 1 + word.len() > 78 {
            out.push('\n');
            column = 0;
        }
        if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += word.len();
    }
    out.push('\n');
}

fn resources_text() -> String {
    let mut out = "Resources:\n\n".to_owned();
    for kind in ResourceKind::every() {
        let _ = writeln!(out, "  {:<16} {}", kind.def().title(), kind.def().doc);
    }
    out
}

fn properties_text() -> String {
    let mut out = "Global properties:\n\n".to_owned();
    for def in schema::globals() {
        let _ = writeln!(out, "  {:<22} {}", def.name, def.doc);
    }
    for kind in ResourceKind::every() {
        let names: Vec<_> = kind.def().props.iter().map(|p| p.name).collect();
        let _ = write!(out, "\n{}: ", kind.def().title());
        wrap(&names.join(" "), &mut out);
    }
    out
}

fn resource_text(kind: ResourceKind) -> String {
    let def = kind.def();
    let one = if def.singleton { "  A zone has at most one." } else { "" };
    let mut out = format!("{}: {}.{one}\n{}", def.title(), def.doc, honour_text(def.honour));
    if def.honour == Honour::Yes {
        let _ = writeln!(out, "{}.", def.takes_effect().sentence("Adding or removing one"));
    }
    out.push('\n');
    out.push_str("Properties:\n\n");
    for prop in def.props {
        let required = if prop.required { " (required)" } else { "" };
        let _ = writeln!(out, "  {:<26} {}{required}", prop.name, prop.doc);
    }
    if kind.inner().next().is_some() {
        out.push_str("\nResources that stand in it:\n\n");
    }
    for inner in kind.inner() {
        let _ = writeln!(out, "  {:<26} {}", inner.name(), inner.def().doc);
    }
    out.push_str("\nExample:\n");
    if let Some(outer) = def.within {
        let _ = writeln!(out, "\tadd {outer}");
    }
    let _ = writeln!(out, "\tadd {kind}");
    let shown = def.props.iter().filter(|p| p.required || p.key);
    let mut shown: Vec<_> = shown.collect();
    if shown.is_empty() || def.within.is_some() {
        shown.splice(..0, def.props.first());
    }
    // One way to give an address is enough.
    shown.retain(|p| p.name != "allowed-address");
    for prop in shown {
        let _ = writeln!(out, "\t{}", set_line(prop));
    }
    out.push_str(if def.within.is_some() { "\tend\n\tend\n" } else { "\tend\n" });
    out
}

fn set_line(def: &PropDef) -> String {
    if matches!(def.shape, ValueShape::Groups(_)) {
        return format!("add {} {}", def.name, def.example);
    }
    let quoted = def.example.contains(' ');
    let quote = if quoted { "\"" } else { "" };
    format!("set {}={quote}{}{quote}", def.name, def.example)
}

fn property_text(kind: Option<ResourceKind>, def: &PropDef) -> String {
    let owner = kind.map_or_else(|| "global property".to_owned(), |k| format!("property of {k}"));
    let mut out = format!("{} ({owner}): {}.\n", def.name, def.doc);
    let rule = rule_text(def);
    if !rule.is_empty() {
        let _ = writeln!(out, "Value: {rule}.");
    }
    if let Some(default) = def.default {
        let _ = writeln!(out, "Default: {default}.");
    }
    if let Some(Alias { rctl, .. }) = def.alias {
        let _ = writeln!(out, "It stands for the resource control {rctl}.");
    }
    let flags = match (def.required, def.clearable) {
        (true, _) => "It is required.\n",
        (false, true) => "It can be cleared.\n",
        (false, false) => "",
    };
    out.push_str(flags);
    out.push_str(&honour_text(def.honour));
    // Where the host carries it out; else the text above says more.
    if [Some(def.honour), kind.map(|kind| kind.def().honour)].into_iter().flatten().all(|h| h == Honour::Yes)
    {
        let _ = writeln!(out, "{}.", def.takes_effect(kind).sentence("A change"));
    }
    let _ = writeln!(out, "Example:\n\t{}", set_line(def));
    out
}

fn honour_text(honour: Honour) -> String {
    match honour {
        Honour::Yes => String::new(),
        Honour::Ignored(why) => format!("It is kept and has no effect on Linux: {why}.\n"),
        Honour::Refused(why) => format!("A zone that has it does not boot on Linux: {why}.\n"),
    }
}

/// Says in words which values are allowed; empty where anything goes.
pub fn rule_text(def: &PropDef) -> String {
    if let ValueShape::Groups(members) = def.shape {
        return format!("a list of groups with {}", members.join(", "));
    }
    let rule = match def.kind {
        ValueKind::Text | ValueKind::Option | ValueKind::AttrValue => "",
        ValueKind::Bool => "true or false",
        ValueKind::Word(words) => return format!("one of {}", words.join(", ")),
        ValueKind::Uint(low, u64::MAX) => return format!("a number from {low} on"),
        ValueKind::Uint(low, high) => return format!("a number from {low} to {high}"),
        ValueKind::Size(_) => "a number with K, M, G or T; bytes without",
        ValueKind::CpuCap => "a decimal number from 0.01 on",
        ValueKind::CpuRange => "a number, or a range such as 2-4",
        ValueKind::AbsPath | ValueKind::ZonePath => "an absolute path",
        ValueKind::ZoneName => "letters, digits, '_', '.', '-', fewer than 64, a letter or digit first",
        ValueKind::Brand => "name of a brand",
        ValueKind::Brands => "a comma list of brands",
        ValueKind::HostId => "hexadecimal, at most fffffffe",
        ValueKind::Privileges => "a comma list; !name or -name takes away",
        ValueKind::FsAllowed => "a comma list of file system types",
        ValueKind::PoolName => "a name that does not start with SUNW",
        ValueKind::Address => "IPv4 with optional prefix, IPv6 with prefix, or a host name",
        ValueKind::AddressList => "a comma list of addresses, IPv6 with prefix",
        ValueKind::Router => "an address without prefix",
        ValueKind::Link => "name of a network link",
        ValueKind::FsType => "a file system type",
        ValueKind::DeviceMatch => "a glob, below /dev",
        ValueKind::DatasetName => "name of a ZFS file system",
        ValueKind::RctlName => "zone. and letters or dashes",
        ValueKind::AttrName => "letters, digits, '-' and '.', a letter or digit first",
        ValueKind::User => "a login name",
        ValueKind::Auths => "a comma list of authorizations",
        ValueKind::SecFlags => "a comma list of aslr, forbidnullmap, noexecstack, or none, or all",
        ValueKind::Uuid => "a UUID",
        ValueKind::Mac => "six octets with colons, or auto, random, default, factory",
        ValueKind::LockList => "a comma list of ZFS properties",
    };
    match (def.shape, rule) {
        (ValueShape::List, "") => "a list".to_owned(),
        (ValueShape::List, rule) => format!("a list, each {rule}"),
        (_, rule) => rule.to_owned(),
    }
}

/// Says where a name comes from, in words for tables.
pub fn origin_text(origin: PropertyOrigin) -> &'static str {
    match origin {
        PropertyOrigin::Illumos => "Solaris, illumos",
        PropertyOrigin::Solaris10 => "Solaris 10",
        PropertyOrigin::Solaris11 => "Solaris 11",
        PropertyOrigin::SmartOs => "SmartOS, OmniOS",
        PropertyOrigin::Linux => "Linux",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::Parser;

    #[test]
    fn the_table_is_complete_and_in_order() {
        assert_eq!(COMMANDS.len(), CommandWord::ALL.len());
        for (row, verb) in COMMANDS.iter().zip(CommandWord::ALL) {
            assert_eq!((row.verb, row.name, row.verb as usize), (verb, verb.name(), verb as usize));
            assert!(!row.doc.ends_with('.') && !row.synopsis.is_empty(), "{}", row.name);
            assert!(row.synopsis.iter().all(|s| s.starts_with(row.name)), "{}", row.name);
        }
    }

    #[test]
    fn examples_parse() {
        for row in COMMANDS {
            let parsed: Vec<_> = Parser::new(row.example, 1).collect();
            assert!(parsed.len() == 1 && parsed[0].command.is_ok(), "{}", row.example);
        }
        for def in schema::globals().iter().chain(ResourceKind::every().flat_map(|k| k.def().props)) {
            let line = set_line(def);
            let parsed: Vec<_> = Parser::new(&line, 1).collect();
            assert!(parsed.len() == 1 && parsed[0].command.is_ok(), "{line}");
        }
    }

    #[test]
    fn every_subject_has_a_text() {
        for subject in subjects() {
            let text = topic_text(Some(subject), None).unwrap_or_else(|_| panic!("{subject}"));
            assert!(text.ends_with('\n') && text.len() > 20, "{subject}");
        }
        assert_eq!(topic_text(Some("zonepaht"), None), Err(vec!["zonepath"]));
        let here = topic_text(Some("name"), Some(ResourceKind::Attr)).expect("a text");
        assert!(here.starts_with("name (property of attr)"), "{here}");
    }
}
