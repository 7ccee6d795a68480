//! Completion of an unfinished line: the same lexer, read up to the cursor, says what may come next. Names that only
//! the host knows are filled in by `shell::host`.

use crate::spec::schema::{self, Candidates, PropDef, ResourceKind, ValueKind, ValueShape};
use crate::spec::{privilege, words};

use super::command::{Command, CommandWord};
use super::grammar::Parser;
use super::lexer::{Lexer, StatementStart, Tok, Token};

/// Where further candidates come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CandidateSource {
    /// There are none.
    None,
    /// Names of the host.
    Candidates(Candidates),
    /// Templates and zones.
    Templates,
    /// Files of the host.
    Files,
    /// Values that the stored resources of a kind have for this property.
    Stored(ResourceKind, &'static str),
    /// Elements of this list of the open resource.
    Elements(&'static str),
    /// Numbers of kept revisions.
    Revisions,
}

/// The words that may stand at the cursor.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Where the unfinished word begins.
    pub start: usize,
    /// Where the unfinished element begins: behind the last comma of a comma list.
    pub prefix: String,
    /// The word is inside quotes.
    pub quoted: bool,
    /// The known words that fit here, whether or not they begin with the prefix.
    pub words: Vec<&'static str>,
    /// The text to put behind a word.
    pub suffix: &'static str,
    /// Where more comes from.
    pub source: CandidateSource,
    /// The property whose value is expected.
    pub value_of: Option<&'static PropDef>,
}

impl Expected {
    fn nothing(start: usize) -> Self {
        Self {
            start,
            prefix: String::new(),
            quoted: false,
            words: Vec::new(),
            suffix: "",
            source: CandidateSource::None,
            value_of: None,
        }
    }

    /// Returns the words that begin with the prefix.
    pub fn fitting(&self) -> impl Iterator<Item = &'static str> {
        self.words.iter().copied().filter(|w| w.starts_with(&self.prefix))
    }
}

/// Commands that make sense in a scope.
fn verbs(scope: Option<ResourceKind>) -> Vec<&'static str> {
    let in_resource = scope.is_some();
    let fits = |verb: &CommandWord| match verb {
        CommandWord::Cancel | CommandWord::End => in_resource,
        CommandWord::Add
        | CommandWord::Clear
        | CommandWord::Exit
        | CommandWord::Help
        | CommandWord::Info
        | CommandWord::Remove
        | CommandWord::Set => true,
        CommandWord::Verify => true,
        CommandWord::Select => scope.is_none_or(|kind| kind.inner().next().is_some()),
        _ => !in_resource,
    };
    CommandWord::ALL.into_iter().filter(fits).map(CommandWord::name).collect()
}

/// Returns the words that may stand at the end of `text`, which is the line up to the cursor.
pub fn expected(text: &str, scope: Option<ResourceKind>) -> Expected {
    let mut lexer = Lexer::new(text, 1);
    let mut words = Vec::new();
    let mut scope = scope;
    let mut begin = 0;
    loop {
        let Some(statement) = lexer.statement(&mut words) else {
            let mut first = Expected::nothing(text.len());
            // A comment has no continuation.
            if !text[begin..].trim_start().starts_with('#') {
                first.words = verbs(scope);
            }
            return first;
        };
        let ended = statement.by_semicolon || statement.end.start < text.len();
        if !ended {
            return match statement.head {
                StatementStart::Verb(verb, span) if words.is_empty() && span.end == text.len() => {
                    verb_at(text, span.start, verb.name(), scope)
                }
                StatementStart::Other(Tok::Word(word), span) if span.end == text.len() => {
                    verb_at(text, span.start, word, scope)
                }
                StatementStart::Other(..) => Expected::nothing(text.len()),
                StatementStart::Verb(verb, _) => Arguments::split(text, &words).expected(verb, scope),
            };
        }
        for parsed in Parser::new(&text[begin..statement.end.end], 1) {
            match parsed.command {
                Ok(Command::AddResource { kind, .. } | Command::Select { kind, .. }) => scope = Some(kind),
                Ok(Command::End | Command::Cancel) => scope = scope.and_then(|kind| kind.def().within),
                _ => (),
            }
        }
        begin = statement.end.end;
    }
}

fn verb_at(text: &str, start: usize, typed: &str, scope: Option<ResourceKind>) -> Expected {
    let mut expected = Expected::nothing(start);
    expected.prefix = text.get(start..).unwrap_or(typed).to_owned();
    expected.words = verbs(scope);
    expected.suffix = " ";
    expected
}

/// The words behind the command: the finished ones, and the one at the cursor.
struct Arguments<'t, 'a> {
    done: &'t [Token<'a>],
    blank: Expected,
}

impl<'t, 'a> Arguments<'t, 'a> {
    fn split(text: &str, words: &'t [Token<'a>]) -> Self {
        let mut blank = Expected::nothing(text.len());
        let Some((last, before)) = words.split_last() else { return Self { done: words, blank } };
        let open = match last.tok {
            Tok::Word(_) => last.span.end == text.len(),
            // Without its end quote the text is not finished.
            Tok::Quoted(inner) => {
                last.span.end == text.len() && last.span.end - last.span.start == inner.len() + 1
            }
            Tok::Sign(_) => false,
        };
        if !open {
            return Self { done: words, blank };
        }
        let (Tok::Word(word) | Tok::Quoted(word)) = last.tok else { return Self { done: words, blank } };
        blank.quoted = matches!(last.tok, Tok::Quoted(_));
        blank.start = last.span.start + usize::from(blank.quoted);
        blank.prefix = word.to_owned();
        Self { done: before, blank }
    }

    fn word(&self, i: usize) -> Option<&'a str> {
        match self.done.get(i)?.tok {
            Tok::Word(text) | Tok::Quoted(text) => Some(text),
            Tok::Sign(_) => None,
        }
    }

    fn last_is(&self, signs: &str) -> bool {
        matches!(self.done.last(), Some(Token { tok: Tok::Sign(s), .. }) if signs.contains(*s))
    }

    fn expected(self, verb: CommandWord, scope: Option<ResourceKind>) -> Expected {
        let flags =
            self.done.iter().take_while(|t| matches!(t.tok, Tok::Word(w) if w.starts_with('-'))).count();
        let first = self.done.len() == flags;
        match (verb, scope) {
            (CommandWord::Add, None) if first => self.resources(" "),
            (CommandWord::Add | CommandWord::Remove, Some(kind)) => {
                let lists = kind.def().props.iter().filter(|p| p.is_list()).map(|p| p.name);
                if first {
                    return self.names(lists.chain(kind.inner().map(ResourceKind::name)).collect(), " ");
                }
                if verb == CommandWord::Remove && self.word(flags).and_then(ResourceKind::from_name).is_some()
                {
                    return self.qualifiers(flags);
                }
                let def = self.word(flags).and_then(|name| kind.def().prop(name));
                match def {
                    Some(def) if verb == CommandWord::Remove => {
                        let mut value = self.blank;
                        value.source = CandidateSource::Elements(def.name);
                        value
                    }
                    Some(def) => self.value(def),
                    None => self.blank,
                }
            }
            (CommandWord::Clear, scope) if first => {
                let props = scope.map_or(schema::globals(), |k| k.def().props);
                self.names(props.iter().filter(|p| p.clearable).map(|p| p.name).collect(), "")
            }
            (CommandWord::Set, scope) => {
                let props = scope.map_or(schema::globals(), |k| k.def().props);
                if first {
                    return self.names(props.iter().map(|p| p.name).collect(), "=");
                }
                let def = self.word(flags).and_then(|name| props.iter().find(|p| p.name == name));
                match def {
                    Some(def) if self.last_is("=[,(") => self.value(def),
                    _ => self.blank,
                }
            }
            (CommandWord::Select, Some(kind)) if first => {
                self.names(kind.inner().map(ResourceKind::name).collect(), " ")
            }
            (CommandWord::Select, _) | (CommandWord::Remove, None) => {
                if first {
                    self.resources(" ")
                } else {
                    self.qualifiers(flags)
                }
            }
            (CommandWord::Info, _) => {
                if self.word(self.done.len().wrapping_sub(1)) == Some("-o") {
                    return self.names(vec!["toml", "json"], " ");
                }
                if let (true, Some(kind)) = (first, scope) {
                    return self.names(kind.inner().map(ResourceKind::name).collect(), " ");
                }
                if first {
                    let kinds = ResourceKind::all().map(ResourceKind::name);
                    let props = schema::globals().iter().map(|p| p.name);
                    return self.names(kinds.chain(props).collect(), " ");
                }
                self.qualifiers(flags)
            }
            (CommandWord::Help, _) => {
                let kinds = ResourceKind::every().map(ResourceKind::name);
                let props = ResourceKind::every().flat_map(|k| k.def().props).chain(schema::globals());
                let fixed = ["commands", "syntax", "usage", "resources", "properties"];
                let verbs = CommandWord::ALL.into_iter().map(CommandWord::name);
                let mut all: Vec<_> =
                    fixed.into_iter().chain(verbs).chain(kinds).chain(props.map(|p| p.name)).collect();
                all.sort_unstable();
                all.dedup();
                self.names(all, "")
            }
            (CommandWord::Create, _) => match self.word(self.done.len().wrapping_sub(1)) {
                Some("-t") => self.source(CandidateSource::Templates),
                Some("-a") => self.source(CandidateSource::Files),
                _ => self.names(vec!["-F", "-a", "-b", "-t", "-X"], " "),
            },
            (CommandWord::Export, _) => match self.word(self.done.len().wrapping_sub(1)) {
                Some("-f") => self.source(CandidateSource::Files),
                Some("-o") => self.names(vec!["toml", "json"], " "),
                _ => self.names(vec!["-f", "-o"], " "),
            },
            (CommandWord::Diff | CommandWord::Revert, _) => self.source(CandidateSource::Revisions),
            _ => self.blank,
        }
    }

    fn names(self, words: Vec<&'static str>, suffix: &'static str) -> Expected {
        Expected { words, suffix, ..self.blank }
    }

    fn resources(self, suffix: &'static str) -> Expected {
        self.names(ResourceKind::all().map(ResourceKind::name).collect(), suffix)
    }

    fn source(self, source: CandidateSource) -> Expected {
        Expected { source, ..self.blank }
    }

    fn qualifiers(self, flags: usize) -> Expected {
        let Some(kind) = self.word(flags).and_then(ResourceKind::from_name) else { return self.blank };
        if self.last_is("=") {
            let name = self.done.len().checked_sub(2).and_then(|i| self.word(i));
            let def = name.and_then(|name| kind.def().prop(name));
            return match def {
                Some(def) => self.source(CandidateSource::Stored(kind, def.name)),
                None => self.blank,
            };
        }
        self.names(kind.def().props.iter().filter(|p| p.qualifier).map(|p| p.name).collect(), "=")
    }

    fn value(self, def: &'static PropDef) -> Expected {
        let mut value = self.blank;
        value.value_of = Some(def);
        if let (ValueShape::Groups(members), "") = (def.shape, value.prefix.as_str()) {
            value.words = members.to_vec();
            value.suffix = "=";
            return value;
        }
        let comma_list = matches!(
            def.kind,
            ValueKind::Privileges
                | ValueKind::Auths
                | ValueKind::SecFlags
                | ValueKind::FsAllowed
                | ValueKind::AddressList
                | ValueKind::LockList
        );
        if comma_list && let Some(comma) = value.prefix.rfind(',') {
            value.start += comma + 1;
            value.prefix.drain(..=comma);
        }
        if def.kind == ValueKind::Privileges {
            let mark = value.prefix.len() - value.prefix.trim_start_matches(['!', '-']).len();
            value.start += mark;
            value.prefix.drain(..mark);
        }
        value.words = match def.kind {
            ValueKind::Bool => vec!["true", "false"],
            ValueKind::Word(list) => list.to_vec(),
            ValueKind::Privileges => {
                let names = privilege::PRIVILEGES.iter().map(|p| p.name);
                let alone = |c: &&privilege::Capability| privilege::privilege(c.name).is_none();
                let names = names.chain(privilege::CAPABILITIES.iter().filter(alone).map(|c| c.name));
                words::PRIVILEGE_SETS.iter().copied().chain(names).collect()
            }
            ValueKind::Auths => words::AUTHS.to_vec(),
            ValueKind::SecFlags => {
                let mut flags = words::SECURITY_FLAGS.to_vec();
                flags.extend(["none", "all"]);
                flags
            }
            ValueKind::RctlName => words::RCTLS.to_vec(),
            ValueKind::Brand => words::BRANDS.to_vec(),
            ValueKind::Mac => vec!["auto", "random", "default", "factory"],
            _ if def.name == "scheduling-class" => words::SCHEDULING_CLASSES.to_vec(),
            _ => Vec::new(),
        };
        value.words.sort_unstable();
        value.words.dedup();
        if def.candidates != Candidates::None && value.words.is_empty() {
            value.source = CandidateSource::Candidates(def.candidates);
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(text: &str, scope: Option<ResourceKind>) -> (usize, Vec<&'static str>) {
        let expected = expected(text, scope);
        (expected.start, expected.fitting().collect())
    }

    #[test]
    fn words_of_the_language() {
        assert_eq!(fits("com", None), (0, vec!["commit"]));
        assert_eq!(fits("  set zonep", None), (6, vec!["zonepath"]));
        assert_eq!(fits("set auto", None).1, ["autoboot", "autoshutdown"]);
        assert_eq!(fits("set autoboot=t", None), (13, vec!["true"]));
        assert_eq!(fits("set autoboot = ", None).1, ["false", "true"]);
        assert_eq!(fits("add dev", None), (4, vec!["device"]));
        assert_eq!(fits("set ", Some(ResourceKind::Device)).1[0], "match");
        assert_eq!(fits("add net; set phy", None), (13, vec!["physical"]));
        assert_eq!(fits("add net;end;e", None).1, ["exit", "export"]);
        assert_eq!(fits("e", Some(ResourceKind::Net)).1, ["end", "exit"]);
        assert_eq!(fits("select fs d", None), (10, vec!["dir"]));
        assert_eq!(fits("set limitpriv=default,!sys_ti", None), (23, vec!["sys_time"]));
        // A nested resource is known only inside its parent, and so is the resource that is open after "end".
        let anet = Some(ResourceKind::Anet);
        assert_eq!(fits("add ma", None).1, Vec::<&str>::new());
        assert_eq!(fits("add ma", anet), (4, vec!["mac"]));
        assert_eq!(fits("select ", anet).1, ["mac", "vlan"]);
        assert_eq!(fits("info v", anet).1, ["vlan"]);
        assert_eq!(fits("remove mac i", anet), (11, vec!["id"]));
        assert_eq!(fits("sel", anet).1, ["select"]);
        assert_eq!(fits("sel", Some(ResourceKind::Fs)).1, Vec::<&str>::new());
        assert_eq!(fits("add anet; add mac; set mac-p", None).1, ["mac-prefix"]);
        assert_eq!(
            fits("add anet; add mac; end; set lin", None).1,
            ["linkname", "link-protection", "linkmode"]
        );
        assert_eq!(fits("add anet; add mac; end; cancel; set auto", None).1, ["autoboot", "autoshutdown"]);
        assert_eq!(fits("info -o t", None).1, ["toml"]);
        assert_eq!(fits("clear zone", None).1, Vec::<&str>::new());
        assert_eq!(fits("# set", None).1, Vec::<&str>::new());
        assert!(fits("", None).1.contains(&"create"));
        assert!(fits("create; ", None).1.contains(&"commit"));
    }

    #[test]
    fn names_of_the_system() {
        let source = |text: &str, scope| expected(text, scope).source;
        assert_eq!(
            source("set physical=", Some(ResourceKind::Net)),
            CandidateSource::Candidates(Candidates::Links)
        );
        assert_eq!(
            source("set dir=/us", Some(ResourceKind::InheritPkgDir)),
            CandidateSource::Candidates(Candidates::Paths)
        );
        assert_eq!(source("select fs dir=", None), CandidateSource::Stored(ResourceKind::Fs, "dir"));
        let mac = CandidateSource::Stored(ResourceKind::Mac, "id");
        assert_eq!(source("select mac id=", Some(ResourceKind::Anet)), mac);
        assert_eq!(source("remove options n", Some(ResourceKind::Fs)), CandidateSource::Elements("options"));
        assert_eq!(source("create -t ", None), CandidateSource::Templates);
        assert_eq!(source("export -f /t", None), CandidateSource::Files);
        assert_eq!(source("diff ", None), CandidateSource::Revisions);
        let open = expected("set special=\"/my da", Some(ResourceKind::Fs));
        assert_eq!((open.start, open.quoted, open.prefix.as_str()), (13, true, "/my da"));
    }
}
