//! The properties that a zone cannot change, and where.

/// A delegated dataset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DelegatedDataset {
    /// Its name.
    pub name: String,
    /// Properties locked on the dataset itself.
    pub root: Vec<String>,
    /// Properties locked on everything below it.
    pub below: Vec<String>,
}

/// The delegated datasets of a zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locks {
    /// One for each `dataset` resource.
    pub trees: Vec<DelegatedDataset>,
}

/// Where a dataset lies, as seen from a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatasetPosition<'a> {
    /// It is a delegated dataset.
    Root(&'a DelegatedDataset),
    /// It lies below one.
    Below(&'a DelegatedDataset),
    /// A delegated dataset lies below it: the zone can see it, and no more.
    Ancestor,
    /// The zone cannot see it.
    Outside,
}

/// Locked everywhere, whatever the lists say: each gives a dataset to another owner.
const ALWAYS: &[&str] = &["zoned", "zoned_uid"];

impl Locks {
    /// Says where a dataset, or the dataset of a snapshot or bookmark, lies.
    pub fn place(&self, name: &str) -> DatasetPosition<'_> {
        let name = filesystem(name);
        // The longest: the limits of one below another are its own.
        let mut found: Option<&DelegatedDataset> = None;
        for tree in self.trees.iter().filter(|t| is_within(name, &t.name)) {
            if found.is_none_or(|f| f.name.len() < tree.name.len()) {
                found = Some(tree);
            }
        }
        match found {
            Some(tree) if tree.name == name => DatasetPosition::Root(tree),
            Some(tree) => DatasetPosition::Below(tree),
            None if self.holds_root(name) => DatasetPosition::Ancestor,
            None => DatasetPosition::Outside,
        }
    }

    /// Says whether a dataset is a delegated one or has one below it.
    pub fn holds_root(&self, name: &str) -> bool {
        self.trees.iter().any(|t| is_within(&t.name, filesystem(name)))
    }
}

impl<'a> DatasetPosition<'a> {
    /// Returns a property that is locked at the target and was not at the origin of a moved dataset. Both are judged
    /// as datasets below a delegated one, which itself cannot move.
    pub fn locked_beyond(&self, from: DatasetPosition<'_>) -> Option<&'a str> {
        let (Self::Root(tree) | Self::Below(tree)) = self else { return None };
        tree.below.iter().map(String::as_str).find(|property| !from.locks(property))
    }

    /// Says whether a property is locked there.
    pub fn locks(&self, property: &str) -> bool {
        let list = match self {
            Self::Root(tree) => &tree.root,
            Self::Below(tree) => &tree.below,
            Self::Ancestor | Self::Outside => return true,
        };
        let property = canonical(property);
        let part = property.split('@').next().unwrap_or_default();
        ALWAYS.contains(&property.as_str())
            || list.iter().map(|l| canonical(l)).any(|l| l == property || l == part)
    }
}

/// Returns the name by which the kernel knows a property: in small letters, without the short names
/// that `zfs` prints above its columns.
pub fn canonical(property: &str) -> String {
    let name = property.trim().to_ascii_lowercase();
    let long = match name.as_str() {
        "reserv" => "reservation",
        "refreserv" => "refreservation",
        "fslimit" => "filesystem_limit",
        "sslimit" => "snapshot_limit",
        "compress" => "compression",
        "recsize" => "recordsize",
        "volblock" => "volblocksize",
        "rdonly" => "readonly",
        _ => return name,
    };
    long.to_owned()
}

fn filesystem(name: &str) -> &str {
    name.split(['@', '#']).next().unwrap_or_default()
}

fn is_within(name: &str, other: &str) -> bool {
    name.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locks() -> Locks {
        let list = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
        let tree = |name: &str| DelegatedDataset {
            name: name.to_owned(),
            root: list(&["quota", "Reservation", "userquota"]),
            below: list(&["sharenfs", "org:x"]),
        };
        Locks { trees: vec![tree("tank/z/a"), tree("tank/z/a/b/c"), tree("other")] }
    }

    #[test]
    fn places() {
        let l = locks();
        let name = |n: &str| match l.place(n) {
            DatasetPosition::Root(t) => format!("root of {}", t.name),
            DatasetPosition::Below(t) => format!("below {}", t.name),
            DatasetPosition::Ancestor => "ancestor".to_owned(),
            DatasetPosition::Outside => "outside".to_owned(),
        };
        for (dataset, place) in [
            ("tank/z/a", "root of tank/z/a"),
            ("tank/z/a@s", "root of tank/z/a"),
            ("tank/z/a#b", "root of tank/z/a"),
            ("tank/z/a/", "below tank/z/a"),
            ("tank/z/a/b", "below tank/z/a"),
            ("tank/z/a/b/c", "root of tank/z/a/b/c"),
            ("tank/z/a/b/c/d@s", "below tank/z/a/b/c"),
            ("other/x", "below other"),
            ("tank", "ancestor"),
            ("tank/z", "ancestor"),
            ("tank/z@s", "ancestor"),
            ("tank/z/ab", "outside"),
            ("tank/z/b", "outside"),
            ("others", "outside"),
            ("", "outside"),
            ("/tank", "outside"),
        ] {
            assert_eq!(name(dataset), place, "{dataset}");
        }
        assert!(l.holds_root("tank/z/a/b") && l.holds_root("tank") && !l.holds_root("tank/z/a/b/d"));
    }

    #[test]
    fn locked_under_every_name() {
        let l = locks();
        let (root, below) = (l.place("other"), l.place("other/x"));
        for property in
            ["quota", "QUOTA", "reservation", "RESERV", "zoned", "Zoned", "zoned_uid", "userquota@7"]
        {
            assert!(root.locks(property), "{property}");
        }
        for property in ["refquota", "compression", "sharenfs", "groupquota@7"] {
            assert!(!root.locks(property), "{property}");
        }
        for property in ["sharenfs", "zoned", "org:x", "ORG:X"] {
            assert!(below.locks(property), "{property}");
        }
        assert!(!below.locks("quota") && !below.locks("org:y"));
        assert!(l.place("tank").locks("compression"));
    }
}
