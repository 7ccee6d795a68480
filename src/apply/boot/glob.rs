//! Globs of `device match` (glob(7)): `*`, `?` and `[…]` within one component, never hidden names
//! unless asked for.

use std::path::{Path, PathBuf};

/// Finds the files below `top` whose path matches the pattern, sorted.
pub fn expand(top: &Path, pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![top.to_owned()];
    for part in pattern.split('/').filter(|p| !p.is_empty()) {
        if matches!(part, "." | "..") {
            return Vec::new();
        }
        let plain = !part.contains(['*', '?', '[']);
        let mut next = Vec::new();
        for dir in found {
            if plain {
                let path = dir.join(part);
                if path.exists() {
                    next.push(path);
                }
                continue;
            }
            let Ok(entries) = std::fs::read_dir(&dir) else { continue };
            let names = entries.flatten().filter_map(|e| e.file_name().into_string().ok());
            next.extend(names.filter(|n| matches(part, n)).map(|n| dir.join(n)));
        }
        found = next;
    }
    found.sort();
    found
}

/// Says whether a name matches one component of a pattern.
pub fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    // Linear matching: on failure go back to the last star only.
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
                continue;
            }
            Some(_) => {
                if let Some(width) = one(&pattern[p..], name[n]) {
                    p += width;
                    n += 1;
                    continue;
                }
            }
            None => {}
        }
        let Some((at, from)) = star else { return false };
        star = Some((at, from + 1));
        (p, n) = (at + 1, from + 1);
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// Matches one character; returns how much of the pattern it used.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern[0] {
        '?' => Some(1),
        '[' => {
            let Some(end) = pattern.iter().skip(2).position(|c| *c == ']').map(|i| i + 2) else {
                return (c == '[').then_some(1);
            };
            let inner = &pattern[1..end];
            let negated = matches!(inner.first(), Some('!' | '^'));
            let set = if negated { &inner[1..] } else { inner };
            let mut hit = false;
            let mut i = 0;
            while i < set.len() {
                if i + 2 < set.len() && set[i + 1] == '-' {
                    hit |= set[i] <= c && c <= set[i + 2];
                    i += 3;
                } else {
                    hit |= set[i] == c;
                    i += 1;
                }
            }
            (hit != negated).then_some(end + 1)
        }
        other => (other == c).then_some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, yes) in [
            ("vmm*", "vmm", true),
            ("vmm*", "vmmctl", true),
            ("vd[a-c]?", "vdb1", true),
            ("vd[!a-c]", "vda", false),
            ("*", ".hidden", false),
            ("a*b*c", "aXbXbc", true),
            ("a*b*c", "aXbXb", false),
            ("[", "[", true),
            ("", "", true),
            ("x", "", false),
        ] {
            assert_eq!(matches(pattern, name), yes, "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_are_quick() {
        let pattern = "*a".repeat(40);
        assert!(!matches(&pattern, &"a".repeat(39)));
        assert!(matches(&pattern, &"a".repeat(200)));
    }

    #[test]
    fn the_walk_stays_below() {
        let null = expand(Path::new("/dev"), "nul[l]");
        assert_eq!(null, [PathBuf::from("/dev/null")]);
        assert!(expand(Path::new("/dev"), "../etc/passwd").is_empty());
    }
}
