//! Values as the command language knows them, and the text forms of sizes and cpu counts.

use std::borrow::Cow;
use std::fmt;

use thiserror::Error;

/// One element of a list: a plain text, or a group like `(priv=privileged,limit=1,action=deny)`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// A plain text.
    Simple(String),
    /// Named members in the order given.
    Complex(Vec<(String, String)>),
}

/// The value of a property: one item, or a list of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// One plain text. Numbers and sizes are held in their canonical text.
    Simple(String),
    /// A list. Properties of list shape always hold this form, also with a single element.
    List(Vec<Item>),
}

impl Value {
    /// Returns a plain value.
    pub fn simple(text: impl Into<String>) -> Self {
        Self::Simple(text.into())
    }

    /// Returns the text of a plain value.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Simple(text) => Some(text),
            Self::List(_) => None,
        }
    }

    /// Returns the elements of a list; none for a plain value.
    pub fn items(&self) -> &[Item] {
        match self {
            Self::Simple(_) => &[],
            Self::List(items) => items,
        }
    }
}

impl Item {
    /// Returns the text of a plain item.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Simple(text) => Some(text),
            Self::Complex(_) => None,
        }
    }

    /// Returns the member of a group.
    pub fn member(&self, name: &str) -> Option<&str> {
        match self {
            Self::Simple(_) => None,
            Self::Complex(members) => members.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str()),
        }
    }
}

/// Puts double quotes round a text when the command language would not read it as one word.
/// `inside` is set for elements of lists and groups, where a comma ends a word as well.
pub fn quoted(text: &str, inside: bool) -> Cow<'_, str> {
    let special = |c: char| {
        matches!(c, ' ' | '\t' | '\r' | ';' | '=' | '[' | ']' | '(' | ')' | '"') || inside && c == ','
    };
    if text.is_empty() || text.contains(special) {
        Cow::Owned(format!("\"{text}\""))
    } else {
        Cow::Borrowed(text)
    }
}

impl fmt::Display for Item {
    /// Prints the element as the command language reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Simple(text) => f.write_str(&quoted(text, true)),
            Self::Complex(members) => {
                for (i, (name, text)) in members.iter().enumerate() {
                    write!(f, "{}{name}={}", if i == 0 { '(' } else { ',' }, quoted(text, true))?;
                }
                f.write_str(")")
            }
        }
    }
}

impl fmt::Display for Value {
    /// Prints the value as the command language reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Simple(text) => f.write_str(&quoted(text, false)),
            Self::List(items) => {
                f.write_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if i == 0 { "" } else { "," })?;
                }
                f.write_str("]")
            }
        }
    }
}

/// A number of bytes. Reads as Solaris does (`512m`, `1.5G`, `4 g`), prints exactly or as `info` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// A text that is not a size.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a size is a number with an optional suffix K, M, G or T")]
pub struct BadSize;

const UNITS: [(char, u32); 4] = [('T', 40), ('G', 30), ('M', 20), ('K', 10)];

impl ByteSize {
    /// Reads a decimal number with optional fraction, blanks and suffix (powers of 1024, any case).
    ///
    /// # Errors
    /// [`BadSize`] for anything else, a negative number or one beyond 64 bits.
    pub fn parse(text: &str) -> Result<Self, BadSize> {
        let text = text.trim();
        let (number, shift) = match text.chars().last() {
            Some(c) if c.is_ascii_alphabetic() => {
                let unit = c.to_ascii_uppercase();
                let (_, shift) = UNITS.iter().find(|(u, _)| *u == unit).ok_or(BadSize)?;
                (text[..text.len() - 1].trim_end(), *shift)
            }
            _ => (text, 0),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
            return Err(BadSize);
        }
        let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| BadSize)? };
        let mut bytes = whole.checked_shl(shift).filter(|b| b >> shift == whole).ok_or(BadSize)?;
        if !fraction.is_empty() && shift > 0 {
            let fraction = &fraction[..fraction.len().min(15)];
            let scale = 10u128.pow(u32::try_from(fraction.len()).map_err(|_| BadSize)?);
            let part: u128 = fraction.parse().map_err(|_| BadSize)?;
            bytes += (part << shift) / scale;
        }
        u64::try_from(bytes).map(Self).map_err(|_| BadSize)
    }

    /// Returns the form that `info` prints: rounded, at most one decimal (Solaris' rule, lossy).
    pub fn rounded(self) -> String {
        if self.0 < 1024 {
            return self.0.to_string();
        }
        let mut value = self.0;
        let mut rest = 0;
        let mut unit = ' ';
        for next in ['K', 'M', 'G', 'T'] {
            if value < 1024 {
                break;
            }
            rest = value % 1024;
            value /= 1024;
            unit = next;
            // Only the last division decides about the decimal; earlier ones round half up.
            if value >= 1024 && rest >= 512 && next != 'T' {
                value += 1;
                rest = 0;
            }
        }
        if rest != 0 && value < 10 {
            let tenths = (rest * 10 + 512) / 1024;
            let (value, tenths) = if tenths == 10 { (value + 1, 0) } else { (value, tenths) };
            return format!("{value}.{tenths}{unit}");
        }
        format!("{}{unit}", if rest >= 512 { value + 1 } else { value })
    }
}

impl fmt::Display for ByteSize {
    /// Prints the shortest exact form, so that nothing is lost in `export` or in the spec file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, shift) in UNITS {
            if self.0 != 0 && self.0.is_multiple_of(1 << shift) {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}

/// A number of cpus in hundredths, as `capped-cpu ncpus` (1.5) and `zone.cpu-cap` (150) hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CpuCap(pub u64);

impl CpuCap {
    /// Reads a decimal number of cpus; digits past the second decimal are dropped.
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
            return None;
        }
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let mut cents = 0;
        for i in 0..2 {
            cents = cents * 10 + u64::from(fraction.as_bytes().get(i).map_or(0, |b| b - b'0'));
        }
        let cap = whole.checked_mul(100)?.checked_add(cents)?;
        (cap >= 1).then_some(Self(cap))
    }
}

impl fmt::Display for CpuCap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_and_print_exactly() {
        let table: [(&str, u64, &str, &str); 9] = [
            ("4g", 4 << 30, "4G", "4G"),
            ("1.5G", 3 << 29, "1536M", "1.5G"),
            (" 512 m ", 512 << 20, "512M", "512M"),
            ("0", 0, "0", "0"),
            ("1023", 1023, "1023", "1023"),
            ("1025", 1025, "1025", "1.0K"),
            ("1T", 1 << 40, "1T", "1T"),
            ("10.6k", 10854, "10854", "11K"),
            (".5k", 512, "512", "512"),
        ];
        for (text, bytes, exact, rounded) in table {
            let size = ByteSize::parse(text).expect(text);
            assert_eq!(
                (size.0, size.to_string(), size.rounded()),
                (bytes, exact.into(), rounded.into()),
                "{text}"
            );
        }
        for bad in ["", "k", "-1", "1.2.3", "1x", "99999999999999999999", "20000000T"] {
            assert!(ByteSize::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn cpu_caps() {
        assert_eq!(CpuCap::parse("1.5").map(|c| c.to_string()).as_deref(), Some("1.50"));
        assert_eq!(CpuCap::parse("0.01"), Some(CpuCap(1)));
        assert_eq!(CpuCap::parse("0.001"), None);
        assert_eq!(CpuCap::parse("a"), None);
    }
}
