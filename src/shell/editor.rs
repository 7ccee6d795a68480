//! The session of a person at a terminal: line editing, history, completion, hints and colours.
//! Nothing of this is touched in any other mode.

use std::borrow::Cow;
use std::cell::RefCell;
use std::path::{Path, PathBuf};

use nix::sys::signal::{SigSet, Signal};
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::{Hint, Hinter};
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{ColorMode, CompletionType, Config, Context, Editor, Helper};

use crate::parser::complete::{CandidateSource, Expected, expected};
use crate::parser::lexer::{Lexer, StatementStart, Tok};
use crate::spec::schema::Candidates;
use crate::spec::value::quoted;

use super::console::{Complaint, Confirmation, UserInterface};
use super::help::rule_text;
use super::host;
use super::script::{ErrorLocation, Placed, StandardStreams, feed, warn_read_only};
use super::session::{EditSession, Flow, InputEnd};

/// Longest line, as in illumos.
const LINE_MAX: usize = 1024;

/// Lines of history that are kept.
const HISTORY_MAX: usize = 2000;

/// Runs a session at the terminal until the user leaves. `greet` reads the zone first; without it
/// (`-f -`) errors are placed by line.
pub fn run(session: &mut EditSession<'_>, greet: bool) -> u8 {
    let place = if greet { ErrorLocation::None } else { ErrorLocation::Stdin };
    let mut con = StandardStreams::new(place, true, true);
    con.typed("");
    warn_read_only(session, &mut con);
    if greet {
        session.greet(&mut con);
    }
    // Outside of the editor ^C would end the program and lose unsaved changes. The pager that we start gets it all
    // the same, since starting a program empties the mask.
    let mut interrupt = SigSet::empty();
    interrupt.add(Signal::SIGINT);
    let _ = interrupt.thread_block();
    let session = RefCell::new(session);
    let mut editor = match new_editor(Typist { session: &session }, con.colour()) {
        Ok(editor) => editor,
        Err(e) => {
            let complaint = Complaint::new(format!("cannot use the terminal: {e}"));
            session.borrow_mut().report(&complaint, &mut con);
            return 1;
        }
    };
    let history = history_file();
    if let Some(path) = &history {
        // The first session has none yet.
        let _ = editor.load_history(path);
    }
    let mut terminal = Terminal { streams: con, editor };
    let status = read_lines(&session, &mut terminal);
    if let Some(path) = &history {
        save_history(&mut terminal.editor, path);
    }
    status
}

type Lines<'a, 's> = Editor<Typist<'a, 's>, DefaultHistory>;

fn new_editor<'a, 's>(typist: Typist<'a, 's>, colour: bool) -> rustyline::Result<Lines<'a, 's>> {
    let config = Config::builder()
        .max_history_size(HISTORY_MAX)?
        .history_ignore_dups(true)?
        .history_ignore_space(true)
        .completion_type(CompletionType::List)
        .completion_show_all_if_ambiguous(true)
        .color_mode(if colour { ColorMode::Enabled } else { ColorMode::Disabled })
        .build();
    let mut editor = Editor::with_config(config)?;
    editor.set_helper(Some(typist));
    Ok(editor)
}

/// The console of a person: questions go through the editor, which may already hold the answer when
/// several lines were pasted.
struct Terminal<'a, 's> {
    streams: StandardStreams,
    editor: Lines<'a, 's>,
}

impl UserInterface for Terminal<'_, '_> {
    fn print(&mut self, text: &str) {
        self.streams.print(text);
    }

    fn page(&mut self, text: &str) {
        self.streams.page(text);
    }

    fn complain(&mut self, complaint: &Complaint) {
        self.streams.complain(complaint);
    }

    fn warn(&mut self, text: &str) {
        self.streams.warn(text);
    }

    /// ^C means no, ^D that no user answers.
    fn ask(&mut self, question: &str) -> Confirmation {
        let prompt = format!("{question} (y/[n])? ");
        loop {
            match self.editor.readline(&prompt) {
                Ok(line) => match line.trim().chars().next() {
                    None | Some('n' | 'N') => return Confirmation::No,
                    Some('y' | 'Y') => return Confirmation::Yes,
                    Some(_) => (),
                },
                Err(ReadlineError::Interrupted) => return Confirmation::No,
                Err(_) => return Confirmation::Nobody,
            }
        }
    }

    fn is_user(&self, name: &str) -> bool {
        self.streams.is_user(name)
    }

    fn write_file(&mut self, path: &str, text: &str) -> Result<(), String> {
        self.streams.write_file(path, text)
    }
}

impl Placed for Terminal<'_, '_> {
    fn at_line(&mut self, line: usize) {
        self.streams.at_line(line);
    }

    fn place(&self) -> ErrorLocation {
        self.streams.place()
    }
}

fn read_lines<'a, 's>(session: &'a RefCell<&'a mut EditSession<'s>>, terminal: &mut Terminal<'a, 's>) -> u8 {
    let mut number = 0;
    loop {
        let prompt = session.borrow().prompt();
        let line = terminal.editor.readline(&prompt);
        // While it is borrowed here, a question gets neither completion nor hints nor colours.
        let mut session = session.borrow_mut();
        let ending = match line {
            Ok(line) if line.len() > LINE_MAX => {
                let text = format!("the line is longer than {LINE_MAX} characters and was not read");
                session.report(&Complaint::new(text), terminal);
                continue;
            }
            Ok(line) => {
                number += 1;
                let _ = terminal.editor.add_history_entry(line.as_str());
                terminal.streams.typed(&line);
                match feed(&mut session, terminal, &line, number, false).0 {
                    Flow::Go => continue,
                    Flow::Abort => return 1,
                    Flow::Exit { force } => InputEnd::Exit { force },
                }
            }
            // ^C abandons the line, nothing else.
            Err(ReadlineError::Interrupted) => continue,
            Err(_) => InputEnd::Eof,
        };
        if let Some(status) = session.finish(ending, true, terminal) {
            return status;
        }
    }
}

fn history_file() -> Option<PathBuf> {
    let dirs = directories::ProjectDirs::from("", "", "zones")?;
    Some(dirs.config_dir().join("history"))
}

fn save_history(editor: &mut Lines<'_, '_>, path: &Path) {
    // Losing the history must not look like losing the configuration, so nothing is said.
    if path.parent().is_some_and(|dir| std::fs::create_dir_all(dir).is_ok()) {
        let _ = editor.append_history(path);
    }
}

/// Completes, hints at and colours the typed line; looks into the session for names.
struct Typist<'a, 's> {
    session: &'a RefCell<&'a mut EditSession<'s>>,
}

impl Helper for Typist<'_, '_> {}
impl Validator for Typist<'_, '_> {}

impl Typist<'_, '_> {
    fn expected(&self, text: &str) -> Option<Expected> {
        let session = self.session.try_borrow().ok()?;
        Some(expected(text, session.scope()))
    }

    fn live_names(&self, expected: &Expected) -> Vec<String> {
        let prefix = expected.prefix.as_str();
        let Ok(session) = self.session.try_borrow() else { return Vec::new() };
        let begins = |list: Vec<String>| list.into_iter().filter(|n| n.starts_with(prefix)).collect();
        match expected.source {
            CandidateSource::None => Vec::new(),
            CandidateSource::Files => host::paths(prefix),
            CandidateSource::Candidates(Candidates::Special) => {
                let zfs = session.draft().and_then(|d| d.text("type")) == Some("zfs");
                host::names(if zfs { Candidates::Datasets } else { Candidates::Paths }, prefix)
            }
            CandidateSource::Candidates(Candidates::Zones) => begins(session.zone_names()),
            CandidateSource::Candidates(kind) => host::names(kind, prefix),
            CandidateSource::Templates => begins(session.template_names()),
            CandidateSource::Revisions => begins(session.revision_numbers()),
            CandidateSource::Stored(kind, prop) => begins(session.stored_values(kind, prop)),
            CandidateSource::Elements(prop) => begins(session.draft_elements(prop)),
        }
    }
}

impl Completer for Typist<'_, '_> {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let Some(expected) = line.get(..pos).and_then(|text| self.expected(text)) else {
            return Ok((pos, Vec::new()));
        };
        let word = |w: &str| Pair { display: w.to_owned(), replacement: format!("{w}{}", expected.suffix) };
        let mut found: Vec<Pair> = expected.fitting().map(word).collect();
        for name in self.live_names(&expected) {
            let text = if expected.quoted { name.clone() } else { quoted(&name, false).into_owned() };
            found.push(Pair { display: name, replacement: text });
        }
        Ok((expected.start, found))
    }
}

/// The hint behind the cursor.
struct Suggestion {
    shown: String,
    /// How much of it the right arrow takes over.
    taken: Option<String>,
}

impl Hint for Suggestion {
    fn display(&self) -> &str {
        &self.shown
    }

    fn completion(&self) -> Option<&str> {
        self.taken.as_deref()
    }
}

impl Hinter for Typist<'_, '_> {
    type Hint = Suggestion;

    fn hint(&self, line: &str, pos: usize, _: &Context<'_>) -> Option<Suggestion> {
        if pos < line.len() || line.trim().is_empty() {
            return None;
        }
        let expected = self.expected(line)?;
        if expected.prefix.is_empty() {
            // The rule that the value must follow.
            let rule = rule_text(expected.value_of?);
            return (!rule.is_empty()).then(|| Suggestion { shown: format!("  ({rule})"), taken: None });
        }
        let mut fitting = expected.fitting();
        let (only, None) = (fitting.next()?, fitting.next()) else { return None };
        let rest = only.strip_prefix(expected.prefix.as_str()).filter(|r| !r.is_empty())?;
        Some(Suggestion { shown: rest.to_owned(), taken: Some(rest.to_owned()) })
    }
}

impl Highlighter for Typist<'_, '_> {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if self.session.try_borrow().is_err() {
            return Cow::Borrowed(line);
        }
        Cow::Owned(coloured(line))
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(format!("\x1b[2m{hint}\x1b[0m"))
    }

    fn highlight_char(&self, line: &str, _: usize, kind: CmdKind) -> bool {
        kind != CmdKind::MoveCursor && !line.is_empty()
    }
}

/// Colours commands, unknown words, quoted texts and signs; the text itself stays as it is.
fn coloured(line: &str) -> String {
    let mut pieces: Vec<(usize, usize, &str)> = Vec::new();
    let mut lexer = Lexer::new(line, 1);
    let mut words = Vec::new();
    while let Some(statement) = lexer.statement(&mut words) {
        match statement.head {
            StatementStart::Verb(_, span) => pieces.push((span.start, span.end, "\x1b[1;34m")),
            // While it is typed any command looks unknown.
            StatementStart::Other(_, span) if span.end < line.len() => {
                pieces.push((span.start, span.end, "\x1b[31m"));
            }
            StatementStart::Other(..) => (),
        }
        for word in &words {
            let colour = match word.tok {
                Tok::Word(_) => continue,
                Tok::Quoted(_) => "\x1b[32m",
                Tok::Sign(_) => "\x1b[2m",
            };
            pieces.push((word.span.start, word.span.end, colour));
        }
    }
    let mut out = String::with_capacity(line.len() + pieces.len() * 10);
    let mut at = 0;
    for (start, end, colour) in pieces {
        out.push_str(line.get(at..start).unwrap_or_default());
        out.push_str(colour);
        out.push_str(line.get(start..end).unwrap_or_default());
        out.push_str("\x1b[0m");
        at = end;
    }
    out.push_str(line.get(at..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_keep_the_text() {
        for line in ["set pool=\"a b\"; frob x", "add options [a,b]", "# note", "", "grüße \"offen"] {
            assert_eq!(plain(&coloured(line)), line);
        }
        assert!(coloured("set a=b").starts_with("\x1b[1;34mset\x1b[0m "));
    }

    fn plain(coloured: &str) -> String {
        let mut out = String::new();
        let mut escape = false;
        for c in coloured.chars() {
            match (escape, c) {
                (false, '\x1b') => escape = true,
                (true, 'm') => escape = false,
                (true, _) => (),
                (false, c) => out.push(c),
            }
        }
        out
    }
}
