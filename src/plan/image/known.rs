//! Words that an image may have: those of this release's own tables. Any other word was written by a later release,
//! and its meaning cannot be guessed.

use serde::de::{Deserialize, Deserializer, Error};

use crate::spec::shown::Show;

/// Finds a word in a table.
fn find<E: Error>(word: &str, table: &[&'static str]) -> Result<&'static str, E> {
    let known = table.iter().find(|known| **known == word);
    known.copied().ok_or_else(|| E::custom(format_args!("'{}' is not known", word.shown())))
}

/// Reads a word of a table.
///
/// # Errors
/// The format's error, also for a word that is not in the table.
pub fn one<'de, D: Deserializer<'de>>(from: D, table: &[&'static str]) -> Result<&'static str, D::Error> {
    find(&String::deserialize(from)?, table)
}

/// Reads a list of words of a table.
///
/// # Errors
/// As [`one`].
pub fn many<'de, D: Deserializer<'de>>(
    from: D,
    table: &[&'static str],
) -> Result<Vec<&'static str>, D::Error> {
    Vec::<String>::deserialize(from)?.iter().map(|word| find(word, table)).collect()
}

/// Reads a list of words of a table with a number each.
///
/// # Errors
/// As [`one`].
pub fn numbers<'de, D: Deserializer<'de>>(
    from: D,
    table: &[&'static str],
) -> Result<Vec<(&'static str, u32)>, D::Error> {
    let list = Vec::<(String, u32)>::deserialize(from)?;
    list.iter().map(|(word, number)| Ok((find(word, table)?, *number))).collect()
}
