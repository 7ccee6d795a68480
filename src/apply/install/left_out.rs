//! The names of an archive's files that are not in the zone.

use std::fmt;
use std::path::Path;

use crate::apply::Notice;
use crate::spec::shown::{Show, escape};

/// Most names of a kind that are reported.
const TOLD: usize = 8;

/// Longest name that is reported whole, in characters.
const LONGEST: usize = 100;

/// Things of a kind: their number, and the names of the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    count: u64,
    first: Vec<String>,
}

impl Named {
    /// Counts one.
    pub(super) fn add(&mut self, name: &[u8]) {
        self.count += 1;
        if self.first.len() < TOLD {
            self.first.push(shorten(name, LONGEST));
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = self.count - self.first.len() as u64;
        write!(f, "{}", self.first.join(", "))?;
        if more > 0 { write!(f, " and {more} more") } else { Ok(()) }
    }
}

/// Returns a name of an archive for a message: one line, not without end.
pub(super) fn shorten(name: &[u8], longest: usize) -> String {
    let text = String::from_utf8_lossy(name);
    let mut out: String = text.chars().take(longest).flat_map(escape).collect();
    if text.chars().nth(longest).is_some() {
        out.push('…');
    }
    out
}

/// The files of an archive that are not in the zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub(super) devices: Named,
    pub(super) unknown: Named,
    /// Attributes, each with its file.
    pub(super) xattrs: Named,
    /// Access lists, each with its file.
    pub(super) acls: Named,
    pub(super) foreign_ids: Named,
}

impl LeftOut {
    /// Reports the files that were left out, by kind.
    pub(super) fn report(&self, out: &mut dyn Notice, path: &Path) {
        let path = path.shown();
        let kinds = [
            (&self.devices, "device nodes left out", "; a zone's /dev is made at boot"),
            (&self.unknown, "members of unknown type left out", ""),
            (&self.xattrs, "extended attributes left out", ""),
            (&self.acls, "access lists left out, with users or groups that the zone does not know", ""),
            (&self.foreign_ids, "members of ids above 65535, which the zone does not have", ""),
        ];
        for (named, what, why) in kinds.iter().filter(|(named, ..)| named.count > 0) {
            out.say(&format!("{path}: {what}: {}{why}: {named}.", named.count));
        }
    }
}
