//! The things outside of a session that it needs.

use std::fmt;

use crate::parser::Span;

/// An error as it is reported to the user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Complaint {
    /// The exact text, for standard error.
    pub text: String,
    /// A line for standard output right behind it.
    pub after: Option<&'static str>,
    /// Where in the typed line the trouble is; shown on a terminal.
    pub span: Option<Span>,
    /// The text names the line of the command file itself.
    pub placed: bool,
    /// Suggestions; shown on a terminal.
    pub meant: Vec<&'static str>,
}

impl Complaint {
    /// Returns a complaint without a place.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// Adds the place.
    pub fn at(mut self, span: Span) -> Self {
        self.span = Some(span);
        self
    }

    /// Adds near names.
    pub fn suggest(mut self, names: Vec<&'static str>) -> Self {
        self.meant = names;
        self
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Answer to a yes/no question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// Yes.
    Yes,
    /// No.
    No,
    /// No user is there to answer.
    Nobody,
}

/// The user, and the few things of the host that a session touches.
pub trait UserInterface {
    /// Prints to standard output; the text ends its lines itself.
    fn print(&mut self, text: &str);
    /// Prints a longer text, through a pager where one is used.
    fn page(&mut self, text: &str);
    /// Prints an error.
    fn complain(&mut self, complaint: &Complaint);
    /// Prints a warning to standard error. A warning does not change the exit status.
    fn warn(&mut self, text: &str);
    /// Asks a question whose default is no.
    fn ask(&mut self, question: &str) -> Confirmation;
    /// Says whether the host knows a login name.
    fn is_user(&self, name: &str) -> bool;
    /// Creates or truncates a file. The error is the reason of the system.
    fn write_file(&mut self, path: &str, text: &str) -> Result<(), String>;
}
