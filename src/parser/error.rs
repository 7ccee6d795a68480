//! Errors in the text of a command.

use thiserror::Error;

use super::command::{CommandWord, Span};

/// Why a statement is no command. The texts are the interactive ones; in a file the shell adds the line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseError {
    /// A word or sign where it does not belong.
    #[error("syntax error at '{token}'")]
    Unexpected {
        /// The word or sign as typed.
        token: String,
        /// Where it stands.
        span: Span,
        /// Names that may have been meant, best first.
        meant: Vec<&'static str>,
    },
    /// The statement ended too early.
    #[error("syntax error, token expected")]
    Ended {
        /// Where it ended.
        span: Span,
    },
    /// A known command with a wrong number of words or an unknown flag.
    #[error("usage: {}", verb.name())]
    Usage {
        /// The command.
        verb: CommandWord,
        /// Where the first wrong word stands.
        span: Span,
    },
}

impl ParseError {
    /// Returns where the trouble is.
    pub fn span(&self) -> Span {
        match self {
            Self::Unexpected { span, .. } | Self::Ended { span } | Self::Usage { span, .. } => *span,
        }
    }
}

/// Returns the known names that are close to the typed one, best first, at most three.
pub fn close_names(typed: &str, known: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let typed = typed.to_ascii_lowercase();
    let mut scored: Vec<(f64, &'static str)> = known
        .map(|name| {
            let start = if name.starts_with(&typed) && typed.len() > 1 { 0.5 } else { 0.0 };
            (strsim::damerau_levenshtein(&typed, name) as f64 - start * typed.len() as f64, name)
        })
        .filter(|(distance, name)| *distance <= (typed.len().min(name.len()) as f64 / 3.0).max(1.0))
        .collect();
    scored.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(b.1)));
    scored.dedup_by_key(|(_, name)| *name);
    scored.into_iter().take(3).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses() {
        let known = || ["zonepath", "zonename", "autoboot", "net", "fs"].into_iter();
        assert_eq!(close_names("zonepaht", known()), ["zonepath"]);
        assert_eq!(close_names("Autoboot", known()), ["autoboot"]);
        assert_eq!(close_names("autob", known()), ["autoboot"]);
        assert!(close_names("quux", known()).is_empty());
    }
}
