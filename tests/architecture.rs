//! Holds up the structure that the crate's documentation draws: which part may use which, where
//! unsafe code and effects may be, how long a file may get.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use zones::cli::zoneadm::table::SUBCOMMANDS;

#[path = "architecture_tests/errors.rs"]
mod errors;
#[path = "architecture_tests/names.rs"]
mod names;

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
    ("bin", &["cli", "apply", "spec", "sys::trace"]),
];

/// The rooms of `apply`, its modules of the first level, by floors from the bottom up. A room uses rooms of lower
/// floors only, and none of its own: so there is no circle, and what lies below is understood without what lies above.
const FLOORS: &[&[&str]] = &[
    // What knows nothing of zones.
    &["fault", "init_image", "logfile", "paths", "protocol", "relay", "release"],
    &["caller", "trust"],
    // Files: small ones, the journal of a boot, the run-time folder of a zone.
    &["files", "journal", "rundir"],
    &["console", "etc", "inherit", "lock", "stuck"],
    // Which zones run, and which ids they have.
    &["helper", "running"],
    &["claim", "usage", "zfs"],
    // Specs and states, and what every operation is given of them.
    &["store"],
    &["broker", "net", "op"],
    &["dataset", "list"],
    // Undoes what a boot has done to the rooms below; watches, and puts back, what a running zone needs.
    &["engine", "guard", "mend"],
    &["confine"],
    // Into a zone: the first process, and those that enter later.
    &["boot", "login"],
    &["teardown"],
    &["install", "supervisor"],
    // The operations.
    &["doctor", "verbs", "verify"],
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

/// Cuts off the tests at the end of a file: they may use what the module may not. Tests in a file of their own are
/// named anywhere.
fn before_tests(code: &str) -> String {
    let mut heads = code.match_indices("#[cfg(test)]\nmod ");
    let tests = heads.find(|(at, head)| {
        code[at + head.len()..]
            .split([';', '{'])
            .next()
            .is_some_and(|name| code[at + head.len() + name.len()..].starts_with('{'))
    });
    tests.map_or(code, |(at, _)| &code[..at]).to_owned()
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

/// Returns the paths in code that begin with a word (`crate`, `super`, `self`), those of groups one by one.
fn paths_from(code: &str, word: &str) -> Vec<Vec<String>> {
    let start = format!("{word}::");
    let mut found = Vec::new();
    for (at, _) in code.match_indices(&start) {
        let before = code[..at].chars().next_back().unwrap_or(' ');
        if !before.is_alphanumeric() && before != '_' && before != ':' {
            leaves(&code[at..], &mut vec![], &mut found);
        }
    }
    found
}

/// Reads a path, or a group of them, and returns the length of what it has read.
fn leaves(text: &str, before: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> usize {
    let blanks = text.len() - text.trim_start().len();
    let rest = &text[blanks..];
    if let Some(mut group) = rest.strip_prefix('{') {
        loop {
            let read = leaves(group, &mut before.clone(), found);
            let end = group[read..].find([',', '}']).map_or(group.len(), |n| read + n);
            let more = group[end..].starts_with(',');
            group = group.get(end + 1..).unwrap_or_default();
            if !more {
                return text.len() - group.len();
            }
        }
    }
    let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    if length > 0 {
        before.push(rest[..length].to_owned());
    }
    match rest[length..].strip_prefix("::") {
        Some(after) => text.len() - after.len() + leaves(after, before, found),
        None => {
            found.push(before.clone());
            blanks + length
        }
    }
}

/// Returns the path of a module by its file: `apply::net::link`.
fn module(path: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        path.with_extension("").iter().map(|n| n.to_string_lossy().into_owned()).collect();
    names.pop_if(|name| name == "mod");
    names
}

/// Returns what a file uses of the crate, each as the whole path.
fn whole_paths(source: &Source) -> Vec<Vec<String>> {
    let own = module(&source.path);
    let mut whole: Vec<Vec<String>> =
        paths_from(&source.code, "crate").into_iter().map(|path| path[1..].to_vec()).collect();
    whole.iter_mut().for_each(|path| path.retain(|name| name != "self"));
    for path in paths_from(&source.code, "super").into_iter().chain(paths_from(&source.code, "self")) {
        let up = path.iter().take_while(|name| *name == "super").count();
        let rest = path.iter().filter(|name| *name != "super" && *name != "self");
        whole.push(own[..own.len().saturating_sub(up)].iter().chain(rest).cloned().collect());
    }
    whole
}

/// Returns the edges between rooms that lead up or along a floor, and what is no room.
fn against_the_floors(files: &[Source]) -> Vec<String> {
    let floor = |room: &str| FLOORS.iter().position(|rooms| rooms.contains(&room));
    let apply = files.iter().find(|s| s.path == Path::new("apply/mod.rs")).expect("the top of apply");
    // What the top shows of its rooms, such as `Op`, counts as the room's.
    let shown: Vec<Vec<String>> = apply
        .code
        .split("pub use ")
        .skip(1)
        .flat_map(|text| {
            let mut found = Vec::new();
            leaves(text, &mut vec![], &mut found);
            found
        })
        .collect();
    let mut wrong = Vec::new();
    for source in files.iter().filter(|s| s.part() == Some("apply") && s.path != apply.path) {
        let room = module(&source.path)[1].clone();
        let Some(own) = floor(&room) else {
            wrong.push(format!("src/{}: the room {room} is on no floor of FLOORS", source.path.display()));
            continue;
        };
        for mut path in whole_paths(source).into_iter().filter(|path| path[0] == "apply") {
            if let Some(of) = path.get(1).and_then(|name| shown.iter().find(|s| s.last() == Some(name))) {
                path.splice(1..2, of.iter().cloned());
            }
            let Some(used) = path.get(1).filter(|used| **used != room) else { continue };
            let is_of = |s: &&Source| path.starts_with(&module(&s.path));
            let file = files.iter().filter(is_of).max_by_key(|s| module(&s.path).len());
            let file = file.map_or_else(|| "no file".to_owned(), |s| format!("src/{}", s.path.display()));
            let (from, name) = (source.path.display(), path.join("::"));
            match floor(used) {
                Some(floor) if floor < own => {}
                Some(floor) => wrong.push(format!(
                    "src/{from} (floor {own}, {room}) uses {name} of {file} (floor {floor}, {used})"
                )),
                None => wrong.push(format!("src/{from} uses {name}, and {used} is on no floor of FLOORS")),
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    wrong
}

#[test]
fn the_rooms_of_apply_use_only_what_lies_below_them() {
    let files = sources();
    let wrong = against_the_floors(&files);
    assert!(wrong.is_empty(), "against FLOORS, which are numbered from the bottom:\n{}", wrong.join("\n"));
    let rooms: BTreeSet<_> = files
        .iter()
        .filter(|s| s.part() == Some("apply"))
        .filter_map(|s| module(&s.path).get(1).cloned())
        .collect();
    let mut listed: Vec<_> = FLOORS.iter().copied().flatten().map(|room| (*room).to_owned()).collect();
    listed.sort_unstable();
    assert_eq!(listed, rooms.into_iter().collect::<Vec<_>>(), "each room once in FLOORS, and nothing else");
}

/// Items there would belong to no room.
#[test]
fn the_top_of_apply_only_names_its_rooms() {
    let files = sources();
    let apply = files.iter().find(|s| s.path == Path::new("apply/mod.rs")).expect("the top of apply");
    let items = apply.code.split(';').map(str::trim).filter(|item| !item.is_empty());
    let other: Vec<_> = items.filter(|i| !i.starts_with("pub mod ") && !i.starts_with("pub use ")).collect();
    assert!(other.is_empty(), "src/apply/mod.rs: move this into a room: {other:?}");
}

#[test]
fn an_edge_upward_is_seen_whatever_its_form() {
    let file = |path: &str, text: &str| Source {
        path: path.into(),
        text: text.to_owned(),
        code: before_tests(&blank(text)),
    };
    let found = |path: &str, text: &str| {
        against_the_floors(&[
            file("apply/mod.rs", "pub mod op;\npub use op::{Notice, Op};\n"),
            file("apply/op.rs", ""),
            file("apply/dataset/mod.rs", ""),
            file("apply/dataset/registry.rs", ""),
            file(path, text),
        ])
    };
    let registry = "src/apply/journal.rs (floor 2, journal) uses apply::dataset::registry of \
                    src/apply/dataset/registry.rs (floor 8, dataset)";
    for text in [
        "use crate::apply::dataset::registry;",
        "use crate::{spec, apply::{paths::Root, dataset::{registry}}};",
        "use super::{trust, dataset::registry};",
        "fn f() { crate::apply::dataset::registry }",
    ] {
        assert_eq!(found("apply/journal.rs", text), [registry], "{text}");
    }
    let inner = found("apply/net/link.rs", "use super::super::dataset::registry::{self, pin};");
    assert_eq!(inner.len(), 2, "{inner:?}");
    assert!(inner[1].contains("apply::dataset::registry::pin of src/apply/dataset/registry.rs"), "{inner:?}");
    let shown = found("apply/store/mod.rs", "use crate::apply::{Op, paths::Root};");
    assert_eq!(
        shown,
        ["src/apply/store/mod.rs (floor 6, store) uses apply::op::Op of src/apply/op.rs (floor 7, op)"]
    );
    let along = found("apply/net/mod.rs", "use crate::apply::op;");
    assert_eq!(along.len(), 1, "rooms of one floor: {along:?}");
    let new = found("apply/cellar.rs", "");
    assert_eq!(new, ["src/apply/cellar.rs: the room cellar is on no floor of FLOORS"]);
    let good = "use crate::apply::paths::Root;\n// crate::apply::dataset\n#[cfg(test)]\nmod tests { use super::super::dataset; }";
    assert_eq!(found("apply/journal.rs", good), Vec::<String>::new());
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

/// The table of zoneadm is the one place that knows all its subcommands: code that tells them apart by name, or by
/// an enum of its own, has to be found for every new one.
#[test]
fn only_the_table_knows_all_verbs_of_zoneadm() {
    let verbs: Vec<_> = SUBCOMMANDS.iter().map(|s| s.verb.name).collect();
    assert!(verbs.len() > 15, "{verbs:?}");
    // Texts that are no code may name many: the table itself, and help.
    let table = Path::new("cli/zoneadm/table.rs");
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|s| s.path != table) {
        let known = known_verbs(&source.text, &verbs);
        if source.part() != Some("shell") && source.part() != Some("parser") && known.len() > MAX_VERBS {
            wrong.push(format!("src/{} knows {}", source.path.display(), known.join(", ")));
        }
    }
    assert!(wrong.is_empty(), "a row of src/{} can say it:\n{}", table.display(), wrong.join("\n"));
}

/// A file about a few verbs may name them, as the journal of storage names its five; more are a second table.
const MAX_VERBS: usize = 5;

/// Returns the verbs that the code before the tests compares with: as whole strings, or as variants of an enum.
fn known_verbs(text: &str, verbs: &[&'static str]) -> Vec<&'static str> {
    let code = before_tests(text);
    let code: String =
        code.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let variant = |verb: &str| {
        let mut letters = verb.chars();
        let first = letters.next().map(|c| c.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    };
    let is_known = |verb: &&&str| {
        let as_text = code.contains(&format!("\"{verb}\""));
        let as_variant = ["Verb::", "V::"].iter().any(|of| code.contains(&format!("{of}{}", variant(verb))));
        as_text || as_variant
    };
    verbs.iter().filter(is_known).copied().collect()
}

#[test]
fn a_match_on_all_verbs_is_seen() {
    let verbs = ["boot", "halt", "ready", "clone", "move"];
    let by_name = "match name {\n \"boot\" => 1,\n \"halt\" | \"ready\" => 2,\n \"clone\" => 3, _ => 4 }";
    assert_eq!(known_verbs(by_name, &verbs), ["boot", "halt", "ready", "clone"]);
    let by_enum = "match verb { Verb::Boot | Verb::Halt => 1, V::Move => 2 }";
    assert_eq!(known_verbs(by_enum, &verbs), ["boot", "halt", "move"]);
    assert!(known_verbs("// \"boot\"\nlet text = \"must boot and halt\";", &verbs).is_empty());
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

/// The hasher of the standard library may give another number in its next version, and a name that is made of it
/// is not found again.
#[test]
fn no_name_depends_on_the_version_of_the_standard_library() {
    let mut wrong = Vec::new();
    for source in sources() {
        for word in ["DefaultHasher", "SipHasher"] {
            if source.code.contains(word) {
                wrong.push(format!("src/{}: {word}; use sys::stable_hash", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a program has to know of a finding is a field of it. Its text is printed whole, so that the wording can
/// change.
#[test]
fn nothing_is_decided_by_the_text_of_a_finding() {
    const LOOKS: [&str; 7] =
        ["contains", "starts_with", "ends_with", "strip_prefix", "strip_suffix", "find", "split"];
    let mut wrong = Vec::new();
    for source in sources() {
        let checks = source.path.iter().any(|part| part == "verify" || part == "verify.rs");
        for (i, line) in source.code.lines().enumerate() {
            let looked_into = LOOKS.iter().any(|look| {
                let of = |text: &str| line.contains(&format!("{text}.{look}("));
                of("finding.text") || checks && (of(".text") || of("warning") || of("to_string()"))
            });
            if looked_into || line.contains("&finding.text") || line.contains("finding.text ==") {
                wrong.push(format!("src/{}:{}: {}", source.path.display(), i + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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

/// The papers for developers name files that are there, and each can be read at one sitting.
#[test]
fn papers_name_what_is_there() {
    const ROOMS: [&str; 12] = [
        "src",
        "tests",
        "man",
        "bench",
        "docs",
        "demo",
        "fuzz",
        "completions",
        "systemd",
        "zones.d",
        ".ci",
        ".config",
    ];
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = 0;
    for paper in ["ARCHITECTURE.md", "CONTRIBUTING.md", "TESTING.md", "docs/glossary.md", "docs/decisions.md"]
    {
        let text = fs::read_to_string(top.join(paper)).expect(paper);
        assert!(text.lines().count() < 300, "{paper} is long");
        for word in text.split('`').skip(1).step_by(2).flat_map(str::split_whitespace) {
            let path = word.trim_end_matches([',', '.', ':', '/']);
            if path.split_once('/').is_some_and(|(room, _)| ROOMS.contains(&room)) {
                let path = path.split_once('*').map_or(path, |(folder, _)| folder);
                assert!(top.join(path).exists(), "{paper} names {path}, which is not there");
                named += 1;
            }
        }
    }
    assert!(named > 50, "only {named} paths are named");
}

/// The table of parts that are taken out names texts of the source: a part that has moved would be left in, unseen,
/// until somebody runs all of them, which takes half an hour.
#[test]
fn what_is_taken_out_is_there() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/zfs-zone/taken-out");
    let done = std::process::Command::new("python3").arg(script).arg("--check").output();
    let Ok(done) = done else { return eprintln!("SKIPPED: python3 is not installed") };
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
