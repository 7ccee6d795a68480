//! The names that ZFS accepts, to distinguish a bad name from another invalid argument.

/// Longest name of a dataset, snapshot or bookmark, in bytes (`ZFS_MAX_DATASET_NAME_LEN` - 1).
pub const NAME_MAX: usize = 255;

fn is_component(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.: ".contains(&b))
}

/// Says whether a text can name a filesystem or volume; its length does not count.
pub fn is_filesystem(name: &str) -> bool {
    name.split('/').all(is_component)
}

fn is_with(mark: char, name: &str) -> bool {
    name.split_once(mark).is_some_and(|(filesystem, rest)| is_filesystem(filesystem) && is_component(rest))
}

/// Says whether a text can name a snapshot.
pub fn is_snapshot(name: &str) -> bool {
    is_with('@', name)
}

/// Says whether a text can name a bookmark.
pub fn is_bookmark(name: &str) -> bool {
    is_with('#', name)
}

/// Returns the pool's part of a name.
pub fn pool(name: &str) -> &str {
    name.split(['/', '@', '#']).next().unwrap_or(name)
}

/// Returns the filesystem's or volume's part of a name.
pub fn filesystem(name: &str) -> &str {
    name.split(['@', '#']).next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_names() {
        for good in ["tank", "tank/a-b_c.d:e f", "t/1/2"] {
            assert!(is_filesystem(good), "{good}");
            assert!(is_snapshot(&format!("{good}@s")) && is_bookmark(&format!("{good}#b")), "{good}");
        }
        for bad in ["", "/", "tank/", "/tank", "a//b", "a@b", "a%b", "ä"] {
            assert!(!is_filesystem(bad), "{bad}");
        }
        for bad in ["tank@", "@s", "tank@a@b", "tank@a/b", "tank#b", "tank"] {
            assert!(!is_snapshot(bad), "{bad}");
        }
        assert_eq!((pool("a/b@c"), pool("a@c"), filesystem("a/b#c")), ("a", "a", "a/b"));
    }
}
