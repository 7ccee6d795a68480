//! The output of an operation, on a terminal and elsewhere.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::apply::Notice;
use crate::spec::shown::{escape, is_obeyed};

/// Prints for the program that has been started: results to standard output, complaints to standard
/// error, and a progress bar there only when it is a terminal. So nothing but complaints is ever
/// found in a log, and standard error is empty when all goes well.
pub struct Report {
    program: String,
    zone: Option<String>,
    terminal: bool,
    bar: Option<ProgressBar>,
}

impl Report {
    /// Returns a report for a program, before a zone is known.
    pub fn new(program: &str) -> Self {
        let terminal = io::stderr().is_terminal();
        crate::spec::shown::leave_out(crate::sys::naive::without("names"));
        Self { program: program.to_owned(), zone: None, terminal, bar: None }
    }

    /// Puts a zone before the complaints from now on.
    pub fn about(&mut self, zone: &str) {
        self.zone = Some(zone.to_owned());
    }

    /// Says whether a person reads the complaints.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Prints lines to standard error as they are.
    pub fn plain(&mut self, text: &str) {
        let text = harmless(text);
        self.aside(|| {
            // An error is ignored: with standard error closed there is no reader. One write, since other programs
            // may write to the same place now.
            let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
        });
    }

    /// Prints a hint, to a person only.
    pub fn hint(&mut self, text: &str) {
        if self.terminal {
            self.plain(text);
        }
    }

    /// Takes the progress bar away.
    pub fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// Prints while the progress bar is out of the way.
    fn aside(&self, print: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}

/// Returns a text without the control characters that a terminal would obey. Its own line ends and tabs stay: those
/// in names chosen by a zone were escaped when the name was put into the text (see [`crate::spec::shown`]).
fn harmless(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| is_obeyed(c) && !matches!(c, '\n' | '\t');
    if !text.contains(obeyed) {
        return text.into();
    }
    let shown = |c: char| if obeyed(c) { escape(c).collect() } else { String::from(c) };
    text.chars().map(shown).collect::<String>().into()
}

impl Notice for Report {
    fn say(&mut self, text: &str) {
        let text = harmless(text);
        self.aside(|| {
            let _ = writeln!(io::stdout(), "{text}");
        });
    }

    fn warn(&mut self, text: &str) {
        let line = match &self.zone {
            Some(zone) => format!("{}: zone '{zone}': {text}", self.program),
            None => format!("{}: {text}", self.program),
        };
        self.plain(&line);
    }

    fn progress(&mut self, done: u64, total: u64, what: &str) {
        if !self.terminal {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            // The text takes the room that the terminal has left, and is cut there.
            let form = if total == 0 {
                "{wide_msg} {bytes}"
            } else {
                "{wide_msg} [{bar:20}] {bytes}/{total_bytes} {eta}"
            };
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template(form) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar
        });
        if bar.message() != what {
            bar.set_message(what.to_owned());
        }
        if bar.length() != Some(total) {
            bar.set_length(total);
        }
        bar.set_position(done);
        if total != 0 && done >= total {
            self.finish();
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        self.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn a_terminal_is_told_nothing_by_a_zone() {
        assert_eq!(harmless("one\n\ttwo \u{e4}"), "one\n\ttwo \u{e4}");
        assert_eq!(harmless("\x1b]0;x\x07\u{9b}2J\r"), "\\u{1b}]0;x\\u{7}\\u{9b}2J\\r");
    }
}
