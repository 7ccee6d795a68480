//! Holds up the structure that the crate's documentation draws: which part may use which, where
//! unsafe code and effects may be, how long a file may get.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What each part may use of the others. `spec::name` and `spec::shown` admit only that module.
const ARROWS: &[(&str, &[&str])] = &[
    ("spec", &[]),
    ("parser", &["spec"]),
    ("shell", &["parser", "spec"]),
    ("plan", &["spec"]),
    ("sys", &["spec::name", "spec::shown"]),
    ("init", &["sys"]),
    ("zfs", &["sys", "spec::name", "spec::shown"]),
    ("guard", &["zfs", "spec::shown"]),
    ("apply", &["plan", "spec", "sys", "init", "zfs", "guard"]),
    ("cli", &["apply", "shell", "parser", "plan", "spec", "sys"]),
    // The supervisor has no command line to speak of.
    ("bin", &["cli", "apply", "spec"]),
];

/// Parts that only compute: no files, no processes, no clock, no randomness.
const PURE: &[&str] = &["spec", "parser", "plan", "guard"];
const EFFECTS: &[&str] = &[
    "std::fs",
    "std::process",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "ToSocketAddrs",
    "std::env",
    "std::thread",
    "SystemTime",
    "Instant",
    "nix::",
    "rustix::",
    "libc::",
];

const MAX_LINES: usize = 700;

struct Source {
    /// Path below `src`.
    path: PathBuf,
    text: String,
    /// The text with comments and string contents blanked, and what stands behind `#[cfg(test)]` cut off.
    code: String,
}

impl Source {
    fn part(&self) -> Option<&str> {
        let first = self.path.iter().next()?.to_str()?;
        Some(first.strip_suffix(".rs").unwrap_or(first))
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable source folder") {
            let path = entry.expect("a readable folder entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).expect("a source file in UTF-8");
                let code = before_tests(&blank(&text));
                files.push(Source {
                    path: path.strip_prefix(&root).expect("below src").to_owned(),
                    text,
                    code,
                });
            }
        }
    }
    assert!(files.len() > 10, "only {} source files found", files.len());
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// Replaces comments and the insides of strings by blanks, so that only code is left.
fn blank(text: &str) -> String {
    let b = text.as_bytes();
    let mut out = b.to_vec();
    let hide = |out: &mut Vec<u8>, from: usize, to: usize| {
        for c in &mut out[from..to.min(b.len())] {
            if *c != b'\n' {
                *c = b' ';
            }
        }
    };
    let mut i = 0;
    while i < b.len() {
        let rest = &text.as_bytes()[i..];
        let end = if rest.starts_with(b"//") {
            i + rest.iter().position(|c| *c == b'\n').unwrap_or(rest.len())
        } else if rest.starts_with(b"/*") {
            i + text[i..].find("*/").map_or(rest.len(), |n| n + 2)
        } else if rest[0] == b'"' {
            let mut j = i + 1;
            while j < b.len() && b[j] != b'"' {
                j += if b[j] == b'\\' { 2 } else { 1 };
            }
            j + 1
        } else if rest[0] == b'r' && (i == 0 || !b[i - 1].is_ascii_alphanumeric() && b[i - 1] != b'_') {
            let hashes = rest[1..].iter().take_while(|c| **c == b'#').count();
            if rest.get(1 + hashes) == Some(&b'"') {
                let close = format!("\"{}", "#".repeat(hashes));
                let body = i + 2 + hashes;
                body + text[body..].find(&close).map_or(rest.len(), |n| n + close.len())
            } else {
                i
            }
        } else if rest.starts_with(b"'\"'") || rest.starts_with(b"'\\") {
            i + 2 + rest[2..].iter().position(|c| *c == b'\'').unwrap_or(0) + 1
        } else {
            i
        };
        if end > i {
            hide(&mut out, i, end);
            i = end;
        } else {
            i += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Cuts off the tests at the end of a file: they may use what the module may not.
fn before_tests(code: &str) -> String {
    code.find("#[cfg(test)]\nmod ").map_or(code, |n| &code[..n]).to_owned()
}

/// Returns the modules of this crate that the code names, `spec` or `spec::name`.
fn uses(code: &str, krate: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices(krate) {
        let before = code[..at].chars().next_back().unwrap_or(' ');
        if before.is_alphanumeric() || before == '_' || before == ':' {
            continue;
        }
        let rest = &code[at + krate.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 1;
            let mut item = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                if depth == 0 || (c == ',' && depth == 1) {
                    found.insert(two(&item));
                    item.clear();
                    if depth == 0 {
                        break;
                    }
                } else {
                    item.push(c);
                }
            }
        } else {
            found.insert(two(rest));
        }
    }
    found.remove("");
    found
}

/// Returns the first two steps of a path, where the second is a module (small letters).
fn two(path: &str) -> String {
    let word =
        |s: &str| s.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let first = word(path);
    let second = path.trim()[first.len()..].strip_prefix("::").map(word).unwrap_or_default();
    if second.chars().next().is_some_and(char::is_lowercase) { format!("{first}::{second}") } else { first }
}

#[test]
fn the_parts_use_each_other_only_along_the_arrows() {
    let mut wrong = Vec::new();
    for source in sources() {
        let Some(part) = source.part() else { continue };
        if part == "lib" {
            continue;
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == part) else {
            wrong.push(format!("src/{}: the part {part} has no row in ARROWS", source.path.display()));
            continue;
        };
        let krate = if part == "bin" { "zones::" } else { "crate::" };
        for used in uses(&source.code, krate) {
            let module = used.split("::").next().unwrap_or_default();
            if module == part || !ARROWS.iter().any(|(name, _)| *name == module) {
                continue;
            }
            if !allowed.iter().any(|a| *a == module || *a == used) {
                wrong.push(format!("src/{} uses {used}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "against the arrows of src/lib.rs:\n{}", wrong.join("\n"));
}

/// Names go into texts by `spec::shown`, which escapes what a zone may have put into them.
#[test]
fn no_name_is_shown_as_it_is() {
    let mut wrong = Vec::new();
    for source in sources() {
        let is_test = source.path.to_string_lossy().ends_with("tests.rs");
        // Also within the attributes of error types, which are strings to `code` in part only.
        let text = source.text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        for (number, line) in text.lines().enumerate().filter(|_| !is_test) {
            if line.contains(".display()") || line.contains(".escape_debug()") {
                wrong.push(format!("src/{}:{}: {}", source.path.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "use shown() of spec::shown:\n{}", wrong.join("\n"));
}

#[test]
fn what_decides_has_no_effects() {
    let mut wrong = Vec::new();
    for source in sources() {
        if source.part().is_some_and(|p| PURE.contains(&p)) {
            for effect in EFFECTS.iter().filter(|e| source.code.contains(*e)) {
                wrong.push(format!("src/{} uses {effect}", source.path.display()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "spec, parser, plan and guard must not touch the machine:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn unsafe_code_is_at_the_bottom_and_explained() {
    let mut wrong = Vec::new();
    for source in sources() {
        let part = source.part().unwrap_or_default();
        let lines: Vec<_> = source.text.lines().collect();
        for (i, line) in source.code.lines().enumerate() {
            let opens = line.match_indices("unsafe").any(|(at, _)| {
                let after = line[at + 6..].trim_start();
                !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
                    && ["{", "fn", "impl", "extern", ""].iter().any(|s| match *s {
                        "" => after.is_empty(),
                        s => after.starts_with(s),
                    })
            });
            if !opens {
                continue;
            }
            let at = format!("src/{}:{}", source.path.display(), i + 1);
            if part != "sys" && part != "init" {
                wrong.push(format!("{at}: unsafe outside sys and init"));
            }
            let explained = lines[i.saturating_sub(12)..=i]
                .iter()
                .any(|l| l.contains("SAFETY:") || l.contains("# Safety"));
            if !explained {
                wrong.push(format!("{at}: no SAFETY reason"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_can_be_read_at_one_sitting() {
    // The table of resources is data, one row after the other.
    let data = Path::new("spec/table.rs");
    let long: Vec<_> = sources()
        .into_iter()
        .filter(|s| s.path != data)
        .map(|s| (s.text.lines().count(), s.path))
        .filter(|(n, _)| *n > MAX_LINES)
        .collect();
    assert!(long.is_empty(), "longer than {MAX_LINES} lines: {long:?}");
}

#[test]
fn nothing_is_left_for_later() {
    let mut wrong = Vec::new();
    for source in sources() {
        for word in ["todo!", "unimplemented!", "dbg!"] {
            if source.code.contains(word) {
                wrong.push(format!("src/{}: {word}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_sources_sees_code_and_nothing_else() {
    let text = "use crate::spec::{Name, value};\n// crate::apply\nlet s = \"crate::sys \\\" x\"; crate::{parser::lexer, plan}\nlet c = '\"'; r#\"crate::shell\"#\n";
    let found: Vec<_> = uses(&blank(text), "crate::").into_iter().collect();
    assert_eq!(found, ["parser::lexer", "plan", "spec"]);
}
