//! A zone's view of `/proc/spl`, where OpenZFS counts the work on each pool and dataset, by name, readable by every
//! user of the host.
//!
//! No zone is to know the names of another's datasets. A cover over the folder hides them, but then the kernel
//! refuses every further mount of `/proc` in the zone, since that would uncover it (`mount_too_revealing()`): no
//! container with processes of its own starts. A folder that is closed by its mode is closed in every `/proc`, to
//! every id but the host's root, and needs no cover. But that closes it to the host's users as well, so the host's
//! administrator decides it: by chmod(1), or by an `attr`.

use super::step::FileStep;
use crate::spec::ZoneSpec;
use crate::spec::words::SPL_ATTR;

/// The folder, below `/proc`.
pub const FOLDER: &str = "spl";

/// The state of the folder on the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spl {
    /// There is none: ZFS is not loaded.
    #[default]
    Absent,
    /// Only the host's root can look into it.
    Closed,
    /// Every user of the host can.
    Open,
}

/// The treatment of it for a zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// The folders of `/proc` that are covered.
    pub hidden: Vec<&'static str>,
    /// The change on the host.
    pub step: Option<FileStep>,
    /// The warning for the administrator.
    pub note: Option<&'static str>,
}

/// The attr says `closed`.
const CLOSES: &str = "attr proc-spl=closed: a boot of the zone closes /proc/spl to all users of the host but root, \
     whose programs then cannot read what ZFS counts (arcstat, exporters of metrics)";

/// The attr says `shown`.
const SHOWS: &str = "attr proc-spl=shown: everybody in the zone can read /proc/spl, with the names of all pools and \
     datasets of the host and how much is read and written there";

/// Decides a zone's view of it.
///
/// # Errors
/// A text that names the attr and the values that it can have.
pub fn decide(spec: &ZoneSpec, spl: Spl) -> Result<Decision, String> {
    let mut words = spec.attrs(SPL_ATTR);
    let word = words.next();
    if let Some(wrong) = word.into_iter().chain(words).find(|w| !["closed", "shown"].contains(w)) {
        return Err(format!("could not verify attr {SPL_ATTR}: '{wrong}' is neither 'closed' nor 'shown'"));
    }
    let covered = Decision { hidden: vec![FOLDER], ..Decision::default() };
    let note = |text| Decision { note: Some(text), ..Decision::default() };
    Ok(match (word, spl) {
        (None, Spl::Open) => covered,
        (Some("closed"), Spl::Open) => {
            Decision { step: Some(FileStep::Close { folder: FOLDER }), ..note(CLOSES) }
        }
        (Some("shown"), Spl::Open) => note(SHOWS),
        (Some("closed"), Spl::Absent) => note(CLOSES),
        (Some("shown"), Spl::Absent) => note(SHOWS),
        _ => Decision::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::schema::ResourceKind;
    use crate::spec::{Props, Value, ZoneName};

    fn decided(word: Option<&str>, spl: Spl) -> Result<Decision, String> {
        let mut spec = ZoneSpec::new(ZoneName::new("zion").expect("a good name"));
        if let Some(word) = word {
            let mut attr = Props::default();
            for (name, value) in [("name", SPL_ATTR), ("type", "string"), ("value", word)] {
                attr.set(ResourceKind::Attr.def().prop(name).expect("in the table"), Value::simple(value));
            }
            spec.stored_mut(ResourceKind::Attr).push(attr);
        }
        decide(&spec, spl)
    }

    #[test]
    fn names_of_datasets_are_hidden_unless_the_spec_says_that_they_are_shown() {
        for word in [None, Some("closed"), Some("shown")] {
            for spl in [Spl::Absent, Spl::Closed, Spl::Open] {
                let found = decided(word, spl).expect("a word that there is");
                let hides = !found.hidden.is_empty() || found.step.is_some() || spl != Spl::Open;
                assert_eq!(hides, spl != Spl::Open || word != Some("shown"), "{word:?} {spl:?}");
                assert!(found.hidden.is_empty() || found.step.is_none(), "a cover keeps containers out");
            }
        }
        assert!(decided(Some("covered"), Spl::Absent).is_err_and(|e| e.contains("'covered'")));
    }
}
