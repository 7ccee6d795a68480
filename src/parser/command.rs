//! The commands of `zonecfg` as data. Printing a command and reading the text again gives the same
//! command.

use std::fmt;

use crate::spec::value::quoted;
use crate::spec::{Item, ResourceKind, Value};

/// A place in the text, in bytes. All spans compare as equal: two commands are the same wherever they stand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// The byte behind the last one.
    pub end: usize,
}

impl PartialEq for Span {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Span {}

/// A word with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The text, without quotes.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

impl Word {
    /// Returns a word that is in no text, as programs make it.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), span: Span::default() }
    }
}

/// A value as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// One word.
    Simple(Word),
    /// `(name=text,…)`.
    Complex(Vec<(Word, Word)>),
    /// `[…]` of simple and complex values.
    List(Vec<Self>),
}

impl Argument {
    /// Returns the value without places. A complex value by itself becomes a list with that one item.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Simple(word) => Value::Simple(word.text.clone()),
            Self::Complex(_) => Value::List(vec![self.to_item()]),
            Self::List(items) => Value::List(items.iter().map(Self::to_item).collect()),
        }
    }

    fn to_item(&self) -> Item {
        match self {
            Self::Simple(word) => Item::Simple(word.text.clone()),
            Self::Complex(members) => {
                Item::Complex(members.iter().map(|(n, v)| (n.text.clone(), v.text.clone())).collect())
            }
            // The grammar has no list in a list.
            Self::List(_) => Item::Simple(String::new()),
        }
    }

    /// Returns where the value stands, as far as it has words.
    pub fn span(&self) -> Span {
        match self {
            Self::Simple(word) => word.span,
            Self::Complex(members) => match (members.first(), members.last()) {
                (Some((name, _)), Some((_, text))) => Span { start: name.span.start, end: text.span.end },
                _ => Span::default(),
            },
            Self::List(items) => match (items.first(), items.last()) {
                (Some(first), Some(last)) => Span { start: first.span().start, end: last.span().end },
                _ => Span::default(),
            },
        }
    }
}

/// How a command says which resources of a kind it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pick {
    /// By nothing: all of the kind, or the only one.
    Any,
    /// The resource with this number, counting from 0 (Solaris 11).
    Number(usize),
    /// The resources whose properties have these values.
    Where(Vec<(Word, Word)>),
}

/// Form in which `info` and `export` print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExportFormat {
    /// The form of Solaris.
    #[default]
    Classic,
    /// As in the spec file.
    Toml,
    /// As JSON, for programs.
    Json,
}

/// Where `create` takes the new configuration from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CreateFrom {
    /// The default template.
    #[default]
    Default,
    /// `-b`: the blank template.
    Blank,
    /// `-t`: a template or another zone.
    Template(Word),
    /// `-a`: the manifest that a detached zone left in its zonepath.
    Detached(Word),
    /// `-X`: the spec file of the zone, which somebody has put into the folder of specs.
    Present,
}

/// A command. `at` is the place of its first word, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Command {
    AddResource { kind: ResourceKind, at: Span },
    AddValue { prop: Word, value: Argument },
    Cancel,
    Clear { prop: Word },
    Commit { force: bool },
    Create { source: CreateFrom, force: bool },
    Delete { force: bool },
    Diff { revision: Option<u32> },
    End,
    Exit { force: bool },
    Export { file: Option<Word>, format: ExportFormat },
    Help { topic: Option<Word> },
    InfoAll { format: ExportFormat },
    InfoProperty { prop: Word, format: ExportFormat },
    InfoResource { kind: ResourceKind, pick: Pick, format: ExportFormat },
    Log,
    Merge,
    RemoveResource { kind: ResourceKind, pick: Pick, force: bool, at: Span },
    RemoveValue { prop: Word, value: Argument, force: bool },
    Revert { force: bool, revision: Option<u32> },
    Select { kind: ResourceKind, pick: Pick, at: Span },
    Set { prop: Word, value: Argument, force: bool },
    Verify,
}

/// The word that a command starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum CommandWord {
    Add,
    Cancel,
    Clear,
    Commit,
    Create,
    Delete,
    Diff,
    End,
    Exit,
    Export,
    Help,
    Info,
    Log,
    Merge,
    Remove,
    Revert,
    Select,
    Set,
    Verify,
}

impl CommandWord {
    /// Every command word, sorted.
    pub const ALL: [Self; 19] = [
        Self::Add,
        Self::Cancel,
        Self::Clear,
        Self::Commit,
        Self::Create,
        Self::Delete,
        Self::Diff,
        Self::End,
        Self::Exit,
        Self::Export,
        Self::Help,
        Self::Info,
        Self::Log,
        Self::Merge,
        Self::Remove,
        Self::Revert,
        Self::Select,
        Self::Set,
        Self::Verify,
    ];

    /// Returns the word.
    #[inline] // Each statement of a command file is compared with each command.
    pub fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Cancel => "cancel",
            Self::Clear => "clear",
            Self::Commit => "commit",
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Diff => "diff",
            Self::End => "end",
            Self::Exit => "exit",
            Self::Export => "export",
            Self::Help => "help",
            Self::Info => "info",
            Self::Log => "log",
            Self::Merge => "merge",
            Self::Remove => "remove",
            Self::Revert => "revert",
            Self::Select => "select",
            Self::Set => "set",
            Self::Verify => "verify",
        }
    }

    /// Finds the command by its exact word; `?` is `help`.
    pub fn from_name(name: &str) -> Option<Self> {
        if name == "?" {
            return Some(Self::Help);
        }
        Self::ALL.into_iter().find(|v| v.name() == name)
    }

    /// Finds the command whose word the text starts with. No command word is the start of another.
    pub fn at_start_of(text: &str) -> Option<Self> {
        if text.starts_with('?') {
            return Some(Self::Help);
        }
        let first = *text.as_bytes().first()?;
        Self::ALL
            .into_iter()
            .find(|v| v.name().as_bytes().first() == Some(&first) && text.starts_with(v.name()))
    }
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Simple(word) => f.write_str(&quoted(&word.text, false)),
            Self::Complex(_) => write!(f, "{}", self.to_item()),
            Self::List(_) => write!(f, "{}", self.to_value()),
        }
    }
}

impl fmt::Display for Pick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => Ok(()),
            Self::Number(n) => write!(f, " {n}"),
            Self::Where(pairs) => {
                pairs.iter().try_for_each(|(n, v)| write!(f, " {}={}", n.text, quoted(&v.text, false)))
            }
        }
    }
}

impl fmt::Display for ExportFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Classic => Ok(()),
            Self::Toml => f.write_str(" -o toml"),
            Self::Json => f.write_str(" -o json"),
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flag = |force: &bool| if *force { " -F" } else { "" };
        let word = |w: &Word| quoted(&w.text, false).into_owned();
        match self {
            Self::AddResource { kind, at: _ } => write!(f, "add {kind}"),
            Self::AddValue { prop, value } => write!(f, "add {} {value}", prop.text),
            Self::Cancel => f.write_str("cancel"),
            Self::Clear { prop } => write!(f, "clear {}", prop.text),
            Self::Commit { force } => write!(f, "commit{}", flag(force)),
            Self::Create { source, force } => {
                write!(f, "create{}", flag(force))?;
                match source {
                    CreateFrom::Default => Ok(()),
                    CreateFrom::Blank => f.write_str(" -b"),
                    CreateFrom::Template(name) => write!(f, " -t {}", word(name)),
                    CreateFrom::Detached(path) => write!(f, " -a {}", word(path)),
                    CreateFrom::Present => f.write_str(" -X"),
                }
            }
            Self::Delete { force } => write!(f, "delete{}", flag(force)),
            Self::Diff { revision: None } => f.write_str("diff"),
            Self::Diff { revision: Some(n) } => write!(f, "diff {n}"),
            Self::End => f.write_str("end"),
            Self::Exit { force } => write!(f, "exit{}", flag(force)),
            Self::Export { file: None, format } => write!(f, "export{format}"),
            Self::Export { file: Some(file), format } => write!(f, "export -f {}{format}", word(file)),
            Self::Help { topic: None } => f.write_str("help"),
            Self::Help { topic: Some(topic) } => write!(f, "help {}", word(topic)),
            Self::InfoAll { format } => write!(f, "info{format}"),
            Self::InfoProperty { prop, format } => write!(f, "info{format} {}", prop.text),
            Self::InfoResource { kind, pick, format } => write!(f, "info{format} {kind}{pick}"),
            Self::Log => f.write_str("log"),
            Self::Merge => f.write_str("merge"),
            Self::RemoveResource { kind, pick, force, at: _ } => {
                write!(f, "remove{} {kind}{pick}", flag(force))
            }
            Self::RemoveValue { prop, value, force } => {
                write!(f, "remove{} {} {value}", flag(force), prop.text)
            }
            Self::Revert { force, revision: None } => write!(f, "revert{}", flag(force)),
            Self::Revert { force, revision: Some(n) } => write!(f, "revert{} {n}", flag(force)),
            Self::Select { kind, pick, at: _ } => write!(f, "select {kind}{pick}"),
            Self::Set { prop, value, force } => write!(f, "set{} {}={value}", flag(force), prop.text),
            Self::Verify => f.write_str("verify"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_command_word_starts_another() {
        for a in CommandWord::ALL {
            for b in CommandWord::ALL {
                assert!(a == b || !a.name().starts_with(b.name()), "{} {}", a.name(), b.name());
            }
            assert_eq!(CommandWord::from_name(a.name()), Some(a));
        }
    }
}
