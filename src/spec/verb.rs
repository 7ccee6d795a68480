//! The data of a subcommand of `zoneadm`: its name, the states of a zone in which it starts, the locks it takes, and
//! the users to whom the broker lends the rights of root for it.
//!
//! The rows themselves are in the table of the program, each with the functions that carry it out; usage, help,
//! completions and the manual's synopsis are generated from them.

use super::rights::Auth;
use super::state::{Start, StateError, VerbDecision, ZoneState};

/// A subcommand.
#[derive(Debug)]
pub struct Verb {
    /// The word as typed.
    pub name: &'static str,
    /// A few words that say what it does, as shells show them.
    pub brief: &'static str,
    /// A few sentences that say what it does.
    pub help: &'static str,
    /// Its options, in the order of the usage.
    pub options: &'static [Opt],
    /// The operands that may follow the name.
    pub operands: Operands,
    /// The meaning of `-z` and `-u`.
    pub subject: Subject,
    /// The answer in each state of the zone, in the order of [`ZoneState::ALL`]; none where the state does not
    /// decide.
    pub states: Option<[VerbDecision; 9]>,
    /// The locks it takes.
    pub lock: Lock,
    /// Whether it needs the zone's spec.
    pub spec: SpecUse,
    /// The users who may ask the broker for it.
    pub broker: BrokerPolicy,
}

/// The object of a subcommand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// About the program itself.
    Program,
    /// About the host: no zone is named.
    Host,
    /// All zones, or one that is named.
    Zones,
    /// About the one zone that is named.
    Zone,
}

/// Which locks are held while a subcommand runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// None, or those that the subcommand takes itself.
    Own,
    /// The zone's.
    Zone,
    /// The zone's; a zone for whose orderly shutdown another zoneadm waits is killed first.
    Interrupting,
    /// Locks of the zone and of its source, in the order of their names.
    ZoneAndSource,
}

/// The effect of a zone's unreadable spec on a subcommand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecUse {
    /// It fails.
    Needed,
    /// It goes on with an empty one: a running zone can be stopped in any case.
    OrEmpty,
    /// It goes on for root; a user's rights are in the spec.
    ForRights,
}

/// The users who may ask the broker for a subcommand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerPolicy {
    /// Root only.
    Closed,
    /// Everybody: it is judged by the subcommand that it names.
    Open,
    /// A user with these authorizations: for the zone, and for the zone that is its source.
    Needs {
        /// For the zone itself.
        zone: Auth,
        /// For the source.
        source: Option<Auth>,
    },
}

/// The operands that may follow the options of a subcommand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operands {
    /// Nothing.
    None,
    /// The operand is one of these words; any other ends the program without a message, as on Solaris.
    Keyword(&'static str),
    /// One name.
    Name {
        /// Its name in the usage.
        name: &'static str,
        /// Its name in the manual.
        manual: &'static str,
        /// Whether it may be left out.
        is_optional: bool,
        /// The candidates that shells offer.
        offer: Offer,
    },
    /// Arguments of a boot, after `--`; with an option, only after that.
    BootArgs {
        /// The option's letter.
        after: Option<char>,
    },
    /// Words that the subcommand reads itself.
    Words {
        /// Their usage.
        usage: &'static str,
        /// Their synopsis in mdoc(7).
        manual: &'static str,
        /// The candidates that shells offer first.
        offer: Offer,
    },
}

/// The candidates that a shell offers for a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Nothing.
    Nothing,
    /// Names of files.
    Files,
    /// Names of directories.
    Folders,
    /// These words.
    Words(&'static str),
    /// Names of zones.
    Zones,
    /// Names of snapshots.
    Snapshots,
    /// Names of datasets.
    Datasets,
    /// Subcommands.
    Verbs,
    /// Subcommands that have a plan.
    Planned,
}

/// An option of a subcommand.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    /// `-F`.
    pub letter: Option<char>,
    /// `--json`.
    pub long: Option<&'static str>,
    /// Its value.
    pub value: Option<OptionValue>,
    /// A few words that say what it does.
    pub brief: &'static str,
    /// The use of it.
    pub role: Role,
    /// Whether it is an alternative to the one before it.
    pub is_alternative: bool,
    /// Whether it may be given several times.
    pub repeats: bool,
    /// Why the broker does not take it from a user.
    pub root_only: Option<&'static str>,
    /// States in which the subcommand starts with this option although it would not without.
    pub also_in: &'static [ZoneState],
}

/// The use of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// An option that usage, completions and manual show.
    Shown,
    /// An option that is accepted and not shown.
    Hidden,
    /// An option that is not shown and is added to the arguments of the boot as it is.
    BootWord,
    /// The profile of a system: what cannot be taken of it is warned of.
    Profile,
    /// An option of another system, without a meaning here: a warning says why.
    Foreign(&'static str),
}

/// The value of an option.
#[derive(Clone, Copy, Debug)]
pub struct OptionValue {
    /// Its name in the usage.
    pub name: &'static str,
    /// The rule for it.
    pub must: Must,
    /// The candidates that shells offer.
    pub offer: Offer,
}

/// The rule for the value of an option.
#[derive(Clone, Copy, Debug)]
pub enum Must {
    /// Anything.
    Any,
    /// A number up to `most`; else `text` is printed, or the usage.
    Number {
        /// The greatest one.
        most: u64,
        /// The message.
        text: Option<&'static str>,
    },
    /// This word; else the text is printed.
    Be(&'static str, &'static str),
}

impl Opt {
    /// Returns an option without a value.
    pub const fn flag(letter: char, brief: &'static str) -> Self {
        Self {
            letter: Some(letter),
            long: None,
            value: None,
            brief,
            role: Role::Shown,
            is_alternative: false,
            repeats: false,
            root_only: None,
            also_in: &[],
        }
    }

    /// Returns an option without a value that has a long name only.
    pub const fn long(long: &'static str, brief: &'static str) -> Self {
        Self { letter: None, long: Some(long), ..Self::flag('-', brief) }
    }

    /// Returns an option with a value.
    pub const fn value(letter: char, name: &'static str, offer: Offer, brief: &'static str) -> Self {
        Self { value: Some(OptionValue { name, must: Must::Any, offer }), ..Self::flag(letter, brief) }
    }

    /// Returns the same with a demand on its value.
    pub const fn must(self, must: Must) -> Self {
        let Some(value) = self.value else { panic!("an option without a value") };
        Self { value: Some(OptionValue { must, ..value }), ..self }
    }

    /// Returns the same with another role.
    pub const fn role(self, role: Role) -> Self {
        Self { role, ..self }
    }

    /// Returns the same as an alternative to the option before it.
    pub const fn or(self) -> Self {
        Self { is_alternative: true, ..self }
    }

    /// Returns the same, several times.
    pub const fn repeated(self) -> Self {
        Self { repeats: true, ..self }
    }

    /// Returns the same, closed to users for a reason.
    pub const fn root_only(self, why: &'static str) -> Self {
        Self { root_only: Some(why), ..self }
    }

    /// Returns the same, which opens further states.
    pub const fn also_in(self, states: &'static [ZoneState]) -> Self {
        Self { also_in: states, ..self }
    }

    /// Says whether usage, completions and manual show it.
    pub fn is_shown(&self) -> bool {
        matches!(self.role, Role::Shown | Role::Profile)
    }

    /// Returns the option as typed.
    pub fn typed(&self) -> String {
        match (self.letter, self.long) {
            (Some(letter), _) => format!("-{letter}"),
            (None, long) => format!("--{}", long.unwrap_or_default()),
        }
    }
}

/// A piece of a synopsis.
#[derive(Debug)]
enum SynopsisPiece<'a> {
    /// Letters without values, which are written as one word.
    Cluster(String),
    /// Options of which one may be given.
    Group(Vec<&'a Opt>),
}

impl Verb {
    /// Returns the options that usage, completions and manual show.
    pub fn shown(&self) -> impl Iterator<Item = &Opt> {
        self.options.iter().filter(|o| o.is_shown())
    }

    /// Says how the verb starts in a state; none where the state does not decide.
    ///
    /// # Errors
    /// [`StateError`] with the text of Solaris' zoneadm.
    pub fn start(&self, state: ZoneState) -> Result<Start, StateError> {
        match self.states.as_ref().map(|row| row[state as usize]) {
            None | Some(VerbDecision::Go) => Ok(Start::Go),
            Some(VerbDecision::Already(text)) => Ok(Start::Already(text)),
            Some(VerbDecision::Invalid) => Err(StateError::Invalid(self.name, state)),
            Some(VerbDecision::Refuse(why)) => Err(why),
        }
    }

    fn pieces(&self) -> Vec<SynopsisPiece<'_>> {
        let mut groups: Vec<Vec<&Opt>> = Vec::new();
        for opt in self.shown() {
            match groups.last_mut() {
                Some(group) if opt.is_alternative => group.push(opt),
                _ => groups.push(vec![opt]),
            }
        }
        let letter = |group: &[&Opt]| match group {
            [opt] if opt.value.is_none() && self.boot_args_after(opt).is_none() => opt.letter,
            _ => None,
        };
        let mut pieces: Vec<SynopsisPiece<'_>> = Vec::new();
        for group in groups {
            match (letter(&group), pieces.last_mut()) {
                (Some(letter), Some(SynopsisPiece::Cluster(letters))) => letters.push(letter),
                (Some(letter), _) => pieces.push(SynopsisPiece::Cluster(letter.to_string())),
                (None, _) => pieces.push(SynopsisPiece::Group(group)),
            }
        }
        pieces
    }

    /// Says whether arguments of a boot may follow this option only.
    fn boot_args_after(&self, opt: &Opt) -> Option<()> {
        match self.operands {
            Operands::BootArgs { after: Some(letter) } if opt.letter == Some(letter) => Some(()),
            _ => None,
        }
    }

    /// Returns the operands that may follow the name, as the usage has them.
    pub fn usage(&self) -> String {
        let one = |opt: &&Opt| {
            let value = opt.value.map(|v| format!(" {}", v.name)).unwrap_or_default();
            let more = if opt.repeats { "..." } else { "" };
            let boot = self.boot_args_after(opt).map_or("", |()| " [-- boot_arguments]");
            format!("{}{value}{more}{boot}", opt.typed())
        };
        let mut words: Vec<String> = self
            .pieces()
            .iter()
            .map(|piece| match piece {
                SynopsisPiece::Cluster(letters) => format!("[-{letters}]"),
                SynopsisPiece::Group(group) => {
                    format!("[{}]", group.iter().map(one).collect::<Vec<_>>().join(" | "))
                }
            })
            .collect();
        match self.operands {
            Operands::None | Operands::BootArgs { after: Some(_) } => {}
            Operands::Keyword(word) => words.push(word.to_owned()),
            Operands::Name { name, is_optional: true, .. } => words.push(format!("[{name}]")),
            Operands::Name { name, .. } => words.push(name.to_owned()),
            Operands::BootArgs { after: None } => words.push("[-- boot_arguments]".to_owned()),
            Operands::Words { usage: "", .. } => {}
            Operands::Words { usage, .. } => words.push(usage.to_owned()),
        }
        words.join(" ")
    }

    /// Returns the operands that may follow the name, in mdoc(7): each piece, and whether it is optional.
    pub fn manual(&self) -> Vec<(String, bool)> {
        let dashes = r"Cm \-\- Ar boot arguments";
        let one = |opt: &&Opt| {
            let name = match (opt.letter, opt.long) {
                (Some(letter), _) => letter.to_string(),
                (None, long) => format!(r"\-{}", long.unwrap_or_default().replace('-', r"\-")),
            };
            let value = opt.value.map(|v| match v.must {
                Must::Be(word, _) => format!(" Cm {word}"),
                _ => format!(" Ar {}", v.label()),
            });
            let more = if opt.repeats { " ..." } else { "" };
            let boot = self.boot_args_after(opt).map(|()| format!(" Oo {dashes} Oc")).unwrap_or_default();
            format!("Fl {name}{}{more}{boot}", value.unwrap_or_default())
        };
        let mut out: Vec<(String, bool)> = self
            .pieces()
            .iter()
            .map(|piece| match piece {
                SynopsisPiece::Cluster(letters) => (format!("Fl {letters}"), true),
                SynopsisPiece::Group(group) => (group.iter().map(one).collect::<Vec<_>>().join(" | "), true),
            })
            .collect();
        match self.operands {
            Operands::None | Operands::BootArgs { after: Some(_) } => {}
            Operands::Keyword(word) => out.push((word.to_owned(), false)),
            Operands::Name { manual, is_optional, .. } => out.push((format!("Ar {manual}"), is_optional)),
            Operands::BootArgs { after: None } => out.push((dashes.to_owned(), true)),
            Operands::Words { manual: "", .. } => {}
            Operands::Words { manual, .. } => out.push((manual.to_owned(), false)),
        }
        out
    }
}

impl OptionValue {
    /// Returns the first word of its name.
    pub fn label(&self) -> &'static str {
        self.name.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or(self.name)
    }
}
