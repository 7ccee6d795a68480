//! Words of a statement to a [`Command`]: the command word is looked up first, then its arguments
//! are read. Which words are names of resources and properties is asked from the table.

use std::sync::LazyLock;

use crate::spec::ResourceKind;
use crate::spec::schema;

use super::command::{Argument, Command, CommandWord, CreateFrom, ExportFormat, Pick, Span, Word};
use super::error::{ParseError, close_names};
use super::lexer::{Lexer, Statement, StatementStart, Tok, Token};

type Result<T> = std::result::Result<T, ParseError>;

/// Reads a text statement by statement. A faulty statement does not hide those behind it.
#[derive(Clone, Debug)]
pub struct Parser<'a> {
    lexer: Lexer<'a>,
    words: Vec<Token<'a>>,
}

/// The result of parsing one statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The command, or the error.
    pub command: Result<Command>,
    /// Line in which the statement stands, counting from 1.
    pub line: usize,
}

impl<'a> Parser<'a> {
    /// Starts at the beginning of the text, whose first line has the given number.
    pub fn new(text: &'a str, line: usize) -> Self {
        Self { lexer: Lexer::new(text, line), words: Vec::new() }
    }
}

impl Iterator for Parser<'_> {
    type Item = Parsed;

    fn next(&mut self) -> Option<Parsed> {
        let statement = self.lexer.statement(&mut self.words)?;
        let command = command(&statement, &self.words);
        Some(Parsed { command, line: statement.line })
    }
}

/// Says whether a property of this name exists anywhere.
fn is_property(name: &str) -> bool {
    static NAMES: LazyLock<Vec<&str>> = LazyLock::new(|| {
        let mut names: Vec<_> = property_names().collect();
        names.sort_unstable();
        names
    });
    NAMES.binary_search(&name).is_ok()
}

fn property_names() -> impl Iterator<Item = &'static str> {
    let of_resources = ResourceKind::every().flat_map(|k| k.def().props.iter().map(|p| p.name));
    schema::globals().iter().map(|p| p.name).chain(of_resources)
}

fn resource_names() -> impl Iterator<Item = &'static str> {
    ResourceKind::every().map(ResourceKind::name)
}

fn command(statement: &Statement<'_>, words: &[Token<'_>]) -> Result<Command> {
    let (verb, at) = match statement.head {
        StatementStart::Verb(verb, at) => (verb, at),
        StatementStart::Other(tok, span) => {
            let token = text_of(tok);
            let meant = close_names(&token, CommandWord::ALL.into_iter().map(CommandWord::name));
            return Err(ParseError::Unexpected { token, span, meant });
        }
    };
    let mut args =
        ArgReader { verb, words, next: 0, end: statement.end, by_semicolon: statement.by_semicolon };
    let command = match args.command(at) {
        Err(Stop::Help) => return Ok(Command::Help { topic: Some(Word::new(verb.name())) }),
        Err(Stop::Error(e)) => return Err(e),
        Ok(command) => command,
    };
    match args.peek() {
        None => Ok(command),
        Some(_) => Err(args.unexpected([].into_iter())),
    }
}

fn text_of(tok: Tok<'_>) -> String {
    match tok {
        Tok::Word(text) | Tok::Quoted(text) => text.to_owned(),
        Tok::Sign(sign) => sign.to_string(),
    }
}

/// Why the arguments were not read to the end.
enum Stop {
    /// `-?` asks for help instead.
    Help,
    Error(ParseError),
}

impl From<ParseError> for Stop {
    fn from(e: ParseError) -> Self {
        Self::Error(e)
    }
}

/// Flags of a command: letters, with their arguments.
#[derive(Default)]
struct Flags(Vec<(char, Option<Word>)>);

impl Flags {
    fn has(&self, letter: char) -> bool {
        self.0.iter().any(|(l, _)| *l == letter)
    }

    fn argument(&mut self, letter: char) -> Option<Word> {
        self.0.iter_mut().rev().find(|(l, _)| *l == letter).and_then(|(_, a)| a.take())
    }
}

struct ArgReader<'t, 'a> {
    verb: CommandWord,
    words: &'t [Token<'a>],
    next: usize,
    end: Span,
    by_semicolon: bool,
}

impl<'a> ArgReader<'_, 'a> {
    fn peek(&self) -> Option<Token<'a>> {
        self.words.get(self.next).copied()
    }

    /// Complains about the word that is next, or about the end.
    fn unexpected(&self, known: impl Iterator<Item = &'static str>) -> ParseError {
        match self.peek() {
            Some(t) => {
                let token = text_of(t.tok);
                let meant = close_names(&token, known);
                ParseError::Unexpected { token, span: t.span, meant }
            }
            None if self.by_semicolon => {
                ParseError::Unexpected { token: ";".into(), span: self.end, meant: Vec::new() }
            }
            None => ParseError::Ended { span: self.end },
        }
    }

    fn usage(&self) -> ParseError {
        let span = self.peek().map_or(self.end, |t| t.span);
        ParseError::Usage { verb: self.verb, span }
    }

    fn word(&mut self) -> Option<Word> {
        let t = self.peek()?;
        let (Tok::Word(text) | Tok::Quoted(text)) = t.tok else { return None };
        self.next += 1;
        Some(Word { text: text.to_owned(), span: t.span })
    }

    /// Reads the text of a value. An `=` in it needs no quotes: base64 ends with it, and a value may be a pair itself.
    fn text(&mut self) -> Option<Word> {
        let bare = matches!(self.peek(), Some(Token { tok: Tok::Word(_), .. }));
        let mut word = self.word()?;
        while bare
            && let Some(t) = self.peek()
            && t.span.start == word.span.end
        {
            match t.tok {
                Tok::Sign('=') => word.text.push('='),
                Tok::Word(text) => word.text.push_str(text),
                Tok::Sign(_) | Tok::Quoted(_) => break,
            }
            word.span.end = t.span.end;
            self.next += 1;
        }
        Some(word)
    }

    fn sign(&mut self, wanted: char) -> bool {
        let found = matches!(self.peek(), Some(t) if t.tok == Tok::Sign(wanted));
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, wanted: char) -> Result<()> {
        if self.sign(wanted) { Ok(()) } else { Err(self.unexpected([].into_iter())) }
    }

    /// Reads flags as getopt does. Letters in `with` take an argument.
    fn flags(&mut self, plain: &str, with: &str) -> std::result::Result<Flags, Stop> {
        let mut flags = Flags::default();
        while let Some(Tok::Word(text)) = self.peek().map(|t| t.tok) {
            let Some(letters) = text.strip_prefix('-').filter(|l| !l.is_empty()) else { break };
            let span = self.peek().map_or(self.end, |t| t.span);
            for (i, letter) in letters.char_indices() {
                if letter == '?' {
                    return Err(Stop::Help);
                }
                if plain.contains(letter) {
                    flags.0.push((letter, None));
                    continue;
                }
                if !with.contains(letter) {
                    return Err(self.usage().into());
                }
                let rest = &letters[i + letter.len_utf8()..];
                let argument = if rest.is_empty() {
                    self.next += 1;
                    let found = self.word();
                    self.next = self.next.saturating_sub(1);
                    found.ok_or_else(|| self.usage())?
                } else {
                    Word { text: rest.to_owned(), span }
                };
                flags.0.push((letter, Some(argument)));
                break;
            }
            self.next += 1;
        }
        Ok(flags)
    }

    /// Fails with the short usage when words are left.
    fn no_more(&self) -> Result<()> {
        if self.peek().is_some() { Err(self.usage()) } else { Ok(()) }
    }

    fn at_least_one(&self) -> Result<()> {
        if self.peek().is_none() { Err(self.usage()) } else { Ok(()) }
    }

    fn format(flags: &mut Flags) -> Option<ExportFormat> {
        match flags.argument('o') {
            None => Some(ExportFormat::Classic),
            Some(word) if word.text == "toml" => Some(ExportFormat::Toml),
            Some(word) if word.text == "json" => Some(ExportFormat::Json),
            Some(_) => None,
        }
    }

    fn command(&mut self, at: Span) -> std::result::Result<Command, Stop> {
        match self.verb {
            CommandWord::Add => Ok(self.add(at)?),
            CommandWord::Cancel => self.bare(Command::Cancel),
            CommandWord::End => self.bare(Command::End),
            CommandWord::Log => self.bare(Command::Log),
            CommandWord::Merge => self.bare(Command::Merge),
            CommandWord::Verify => self.bare(Command::Verify),
            CommandWord::Commit => self.forced(|force| Command::Commit { force }),
            CommandWord::Delete => self.forced(|force| Command::Delete { force }),
            CommandWord::Exit => self.forced(|force| Command::Exit { force }),
            CommandWord::Clear => {
                self.at_least_one()?;
                Ok(Command::Clear { prop: self.property()? })
            }
            CommandWord::Create => self.create(),
            CommandWord::Diff => {
                self.flags("", "")?;
                Ok(Command::Diff { revision: self.revision()? })
            }
            CommandWord::Revert => {
                let force = self.flags("F", "")?.has('F');
                Ok(Command::Revert { force, revision: self.revision()? })
            }
            CommandWord::Export => {
                let mut flags = self.flags("", "fo")?;
                let format = Self::format(&mut flags).ok_or_else(|| self.usage())?;
                self.no_more()?;
                Ok(Command::Export { file: flags.argument('f'), format })
            }
            CommandWord::Help => self.help(),
            CommandWord::Info => self.info(),
            CommandWord::Remove => self.remove(at),
            CommandWord::Select => {
                self.flags("", "")?;
                self.at_least_one()?;
                let kind = self.resource()?;
                Ok(Command::Select { kind, pick: self.pick(kind)?, at })
            }
            CommandWord::Set => {
                let force = self.flags("F", "")?.has('F');
                self.at_least_one()?;
                let prop = self.property()?;
                self.expect('=')?;
                Ok(Command::Set { prop, value: self.value()?, force })
            }
        }
    }

    fn bare(&mut self, command: Command) -> std::result::Result<Command, Stop> {
        self.flags("", "")?;
        self.no_more()?;
        Ok(command)
    }

    fn forced(&mut self, make: impl Fn(bool) -> Command) -> std::result::Result<Command, Stop> {
        let force = self.flags("F", "")?.has('F');
        self.no_more()?;
        Ok(make(force))
    }

    fn add(&mut self, at: Span) -> std::result::Result<Command, Stop> {
        self.flags("", "")?;
        self.at_least_one()?;
        if let Some(kind) = self.peek_resource() {
            self.next += 1;
            return Ok(Command::AddResource { kind, at });
        }
        let prop = self.property_or_resource()?;
        Ok(Command::AddValue { prop, value: self.value()? })
    }

    fn create(&mut self) -> std::result::Result<Command, Stop> {
        let mut flags = self.flags("FbX", "ta")?;
        self.no_more()?;
        let force = flags.has('F');
        // The last of -b and -t wins, as getopt loops do.
        let last = flags.0.iter().rev().map(|(l, _)| *l).find(|l| *l != 'F');
        let source = match last {
            None => CreateFrom::Default,
            Some('X') => CreateFrom::Present,
            Some(letter) => match (letter, flags.argument(letter)) {
                ('t', Some(name)) => CreateFrom::Template(name),
                ('a', Some(path)) => CreateFrom::Detached(path),
                _ => CreateFrom::Blank,
            },
        };
        Ok(Command::Create { source, force })
    }

    fn help(&mut self) -> std::result::Result<Command, Stop> {
        let mut topic: Option<Word> = None;
        while let Some(t) = self.peek() {
            self.next += 1;
            let text = text_of(t.tok);
            let text = if matches!(text.as_str(), "-?" | "?") { "help".to_owned() } else { text };
            topic = Some(match topic {
                None => Word { text, span: t.span },
                Some(former) => Word {
                    text: format!("{} {text}", former.text),
                    span: Span { start: former.span.start, end: t.span.end },
                },
            });
        }
        Ok(Command::Help { topic })
    }

    fn info(&mut self) -> std::result::Result<Command, Stop> {
        let mut flags = self.flags("a", "o")?;
        let format = Self::format(&mut flags).ok_or_else(|| self.usage())?;
        if self.peek().is_none() {
            return Ok(Command::InfoAll { format });
        }
        if let Some(kind) = self.peek_resource() {
            self.next += 1;
            return Ok(Command::InfoResource { kind, pick: self.pick(kind)?, format });
        }
        let prop = self.property_or_resource()?;
        Ok(Command::InfoProperty { prop, format })
    }

    fn remove(&mut self, at: Span) -> std::result::Result<Command, Stop> {
        let force = self.flags("F", "")?.has('F');
        self.at_least_one()?;
        if let Some(kind) = self.peek_resource() {
            self.next += 1;
            return Ok(Command::RemoveResource { kind, pick: self.pick(kind)?, force, at });
        }
        let prop = self.property_or_resource()?;
        Ok(Command::RemoveValue { prop, value: self.value()?, force })
    }

    fn revision(&mut self) -> Result<Option<u32>> {
        if self.peek().is_none() {
            return Ok(None);
        }
        let usage = self.usage();
        let number = self.word().and_then(|w| w.text.parse().ok()).ok_or(usage)?;
        self.no_more()?;
        Ok(Some(number))
    }

    fn peek_resource(&self) -> Option<ResourceKind> {
        match self.peek()?.tok {
            Tok::Word(text) => ResourceKind::from_name(text),
            _ => None,
        }
    }

    fn resource(&mut self) -> Result<ResourceKind> {
        let kind = self.peek_resource().ok_or_else(|| self.unexpected(resource_names()))?;
        self.next += 1;
        Ok(kind)
    }

    fn property(&mut self) -> Result<Word> {
        match self.peek().map(|t| t.tok) {
            Some(Tok::Word(text)) if is_property(text) => self.word().ok_or_else(|| self.usage()),
            _ => Err(self.unexpected(property_names())),
        }
    }

    fn property_or_resource(&mut self) -> Result<Word> {
        match self.peek().map(|t| t.tok) {
            Some(Tok::Word(text)) if is_property(text) => self.word().ok_or_else(|| self.usage()),
            _ => Err(self.unexpected(resource_names().chain(property_names()))),
        }
    }

    /// Reads what narrows a resource down: a number, or pairs of property and value.
    fn pick(&mut self, kind: ResourceKind) -> Result<Pick> {
        if let Some(Tok::Word(text)) = self.peek().map(|t| t.tok)
            && let Ok(number) = text.parse()
        {
            self.next += 1;
            return Ok(Pick::Number(number));
        }
        let mut pairs = Vec::new();
        while let Some(t) = self.peek() {
            let known = matches!(t.tok, Tok::Word(text) if kind.def().prop(text).is_some());
            let names = kind.def().props.iter().map(|p| p.name);
            let name = if known { self.word() } else { None }.ok_or_else(|| self.unexpected(names))?;
            self.expect('=')?;
            let text = self.text().ok_or_else(|| self.unexpected([].into_iter()))?;
            pairs.push((name, text));
        }
        Ok(if pairs.is_empty() { Pick::Any } else { Pick::Where(pairs) })
    }

    fn value(&mut self) -> Result<Argument> {
        if !self.sign('[') {
            return self.item();
        }
        let mut items = Vec::new();
        while !self.sign(']') {
            if !items.is_empty() {
                self.expect(',')?;
            }
            items.push(self.item()?);
        }
        Ok(Argument::List(items))
    }

    fn item(&mut self) -> Result<Argument> {
        if !self.sign('(') {
            return self.text().map(Argument::Simple).ok_or_else(|| self.unexpected([].into_iter()));
        }
        let mut members = Vec::new();
        loop {
            let name = self.word().ok_or_else(|| self.unexpected([].into_iter()))?;
            self.expect('=')?;
            let text = self.text().ok_or_else(|| self.unexpected([].into_iter()))?;
            members.push((name, text));
            if self.sign(')') {
                return Ok(Argument::Complex(members));
            }
            self.expect(',')?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Vec<String> {
        Parser::new(text, 1)
            .map(|p| match p.command {
                Ok(command) => {
                    let printed = command.to_string();
                    let again: Vec<_> = Parser::new(&printed, 1).map(|p| p.command).collect();
                    assert_eq!(again, [Ok(command)], "{printed}");
                    printed
                }
                Err(e) => format!("{}: {e}", p.line),
            })
            .collect()
    }

    #[test]
    fn every_form() {
        for text in [
            "add net",
            "add options ro",
            "add options [ro,nodevices]",
            "add value (priv=privileged,limit=20,action=none)",
            "add property (name=ips,value=192.168.0.69/24)",
            "cancel",
            "clear pool",
            "commit",
            "commit -F",
            "create",
            "create -b",
            "create -F -t SUNWlx",
            "create -a /zones/old",
            "create -X",
            "delete -F",
            "diff",
            "diff 3",
            "end",
            "exit -F",
            "export -f /tmp/x",
            "export -o json",
            "help",
            "help set",
            "info",
            "info -o toml",
            "info zonepath",
            "info net physical=eth0 address=192.0.2.1",
            "log",
            "merge",
            "remove -F net",
            "remove -F net physical=x",
            "remove -F options ro",
            "remove anet 0",
            "remove attr name=cdrom",
            "remove options ro",
            "revert -F",
            "revert 2",
            "select anet 0",
            "select fs dir=/a",
            "set options=[]",
            "set options=[a,\"b=c\"]",
            "set bootargs=\"-m verbose\"",
            "set -F zonepath=/x",
            "set value=default",
            "set value=[(priv=privileged,limit=1,action=deny),(priv=privileged,limit=2,action=none)]",
            "verify",
        ] {
            assert_eq!(parse(text), [text]);
        }
    }

    #[test]
    fn dialects() {
        assert_eq!(parse("set linkname = net1"), ["set linkname=net1"]);
        assert_eq!(parse("add options [logging, nosuid]"), ["add options [logging,nosuid]"]);
        assert_eq!(
            parse("add property (name=gateway,value=\"192.168.0.1\")"),
            ["add property (name=gateway,value=192.168.0.1)"]
        );
        assert_eq!(parse("add options a=b"), ["add options \"a=b\""]);
        assert_eq!(parse("set options=[a=b,c]"), ["set options=[\"a=b\",c]"]);
        assert_eq!(parse("set value=a,b=c"), ["set value=\"a,b=c\""]);
        assert_eq!(parse("set value = c3Bpbg=="), ["set value=\"c3Bpbg==\""]);
        assert_eq!(parse("add value (priv=a=b,limit=1)"), ["add value (priv=\"a=b\",limit=1)"]);
        assert_eq!(parse("select attr name=a value=b=c"), ["select attr name=a value=\"b=c\""]);
        assert_eq!(parse("create -b \r\nadd fs \r\n"), ["create -b", "add fs"]);
        assert_eq!(parse("create -F  ; set pool=x ; ;"), ["create -F", "set pool=x"]);
        assert_eq!(parse("setpool=x;?;? fs"), ["set pool=x", "help", "help fs"]);
        assert_eq!(parse("set -? ; create -?"), ["help set", "help create"]);
        assert_eq!(parse("create -b -t web;create -t web -b"), ["create -t web", "create -b"]);
    }

    #[test]
    fn faults() {
        for (text, error) in [
            ("frobnicate", "1: syntax error at 'frobnicate'"),
            ("additional", "1: syntax error at 'itional'"),
            ("set zonepath", "1: syntax error, token expected"),
            ("set zonepath=;", "1: syntax error at ';'"),
            ("set pool=a b", "1: syntax error at 'b'"),
            ("set pool=a\"b\"", "1: syntax error at 'b'"),
            ("set nopool=a", "1: syntax error at 'nopool'"),
            ("add value (limit=1", "1: syntax error, token expected"),
            ("select net 0 1", "1: syntax error at '1'"),
            ("set value=\"a\"=b", "1: syntax error at '='"),
            ("set value= =b", "1: syntax error at '='"),
            ("info nothing", "1: syntax error at 'nothing'"),
            ("set", "1: usage: set"),
            ("\ncommit now", "2: usage: commit"),
            ("create -t", "1: usage: create"),
            ("create -z", "1: usage: create"),
            ("diff x", "1: usage: diff"),
        ] {
            assert_eq!(parse(text), [error], "{text}");
        }
        assert_eq!(parse("foo; end"), ["1: syntax error at 'foo'", "end"]);
    }

    #[test]
    fn near_names_are_offered() {
        let meant = |text: &str| match Parser::new(text, 1).next().map(|p| p.command) {
            Some(Err(ParseError::Unexpected { meant, .. })) => meant,
            other => panic!("{other:?}"),
        };
        assert_eq!(meant("set zonepaht=/x"), ["zonepath"]);
        assert_eq!(meant("comit"), ["commit"]);
        assert_eq!(meant("add nett")[0], "net");
        assert_eq!(meant("select fs dri=/x"), ["dir"]);
    }
}
