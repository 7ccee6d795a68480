//! Errors of the rooms that have types for them are no texts.

use std::collections::BTreeSet;

use super::{Source, before_tests, blank, module, sources};

/// Rooms of `apply` whose errors are types: they name what failed, and keep the system's reason.
const TYPED: &[&str] = &["net", "dataset", "boot", "supervisor"];

#[test]
fn no_error_of_these_rooms_is_a_text() {
    let files = sources();
    let rooms: BTreeSet<String> = files.iter().filter_map(|s| module(&s.path).get(1).cloned()).collect();
    assert!(TYPED.iter().all(|room| rooms.contains(*room)), "{TYPED:?}");
    let wrong = errors_that_are_texts(&files);
    assert!(wrong.is_empty(), "make it an enum with thiserror:\n{}", wrong.join("\n"));
}

/// Returns where the rooms of [`TYPED`] have a `Result` whose error is a text, be it by another name.
fn errors_that_are_texts(files: &[Source]) -> Vec<String> {
    // Other names: `type Text = String`, and what other rooms lend, such as `pub type Done<T> = Result<T, String>`.
    let named = |s: &Source| {
        let aliases = s.code.match_indices("type ").filter_map(|(at, word)| {
            let (name, meant) = s.code[at + word.len()..].split_once(';')?.0.split_once('=')?;
            let is_result =
                !error_types(meant).is_empty() && error_types(meant).iter().all(|(_, e)| is_text(e));
            let name = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
            let is_lent = s.code[..at].ends_with("pub ") || s.code[..at].ends_with(") ");
            Some((name, is_result, is_text(meant))).filter(|(_, result, text)| *text || *result && is_lent)
        });
        aliases.collect::<Vec<_>>()
    };
    let named: Vec<_> = files.iter().flat_map(named).collect();
    let mut wrong = Vec::new();
    for source in files {
        let path = module(&source.path);
        let is_typed = path[0] == "apply" && path.get(1).is_some_and(|room| TYPED.contains(&room.as_str()));
        if !is_typed || path.last().is_some_and(|name| name.ends_with("tests")) {
            continue;
        }
        let place = |at: usize| {
            format!("src/{}:{}", source.path.display(), source.code[..at].matches('\n').count() + 1)
        };
        let is_by_name = |error: &str| named.iter().any(|(name, result, _)| !result && *name == error);
        for (at, error) in error_types(&source.code) {
            if is_text(&error) || is_by_name(&error) {
                wrong.push(format!("{}: an error is a {error}", place(at)));
            }
        }
        for (name, ..) in named.iter().filter(|(_, is_result, _)| *is_result) {
            for (at, _) in source.code.match_indices(&format!("{name}<")) {
                if !source.code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
                    wrong.push(format!("{}: an error of {name} is a text", place(at)));
                }
            }
        }
    }
    wrong
}

/// Says whether a type holds a text and nothing else.
fn is_text(name: &str) -> bool {
    let name = name.trim().trim_start_matches("std::string::").trim_start_matches("std::borrow::");
    let name = name.trim_start_matches("Box<").trim_end_matches('>');
    name == "String"
        || name == "str"
        || name.starts_with('&') && name.ends_with("str")
        || name.starts_with("Cow<")
}

/// Returns the second type of each `Result<_, _>`, `Ok::<_, _>` and `Err::<_, _>`, with its place.
fn error_types(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for head in ["Result<", "Ok::<", "Err::<"] {
        for (at, _) in code.match_indices(head) {
            let (mut depth, mut last, mut before) = (0, at + head.len(), ' ');
            for (offset, c) in code[last..].char_indices().map(|(n, c)| (at + head.len() + n, c)) {
                match c {
                    '<' | '(' | '[' => depth += 1,
                    '>' if before == '-' => {}
                    '>' | ')' | ']' if depth > 0 => depth -= 1,
                    '>' => {
                        let is_second = last > at + head.len();
                        found.extend(
                            is_second
                                .then(|| (at, code[last..offset].trim().trim_end_matches(',').to_owned())),
                        );
                        break;
                    }
                    ',' if depth == 0 && !code[offset + 1..].trim_start().starts_with('>') => {
                        last = offset + 1;
                    }
                    _ => {}
                }
                before = c;
            }
        }
    }
    found.sort();
    found
}

#[test]
fn an_error_that_is_a_text_is_seen_whatever_its_form() {
    let file = |path: &str, text: &str| Source {
        path: path.into(),
        text: text.to_owned(),
        code: before_tests(&blank(text)),
    };
    let room = format!("apply/{}/file.rs", TYPED[0]);
    let lent = file("apply/op.rs", "pub type Told<T> = Result<T, String>;\ntype Own<T> = Result<T, String>;");
    let found =
        |text: &str| errors_that_are_texts(&[file(&room, text), file("apply/op.rs", &lent.text)]).len();
    for text in [
        "fn f() -> Result<(), String> {}",
        "fn f() -> Result<(Vec<u8>, Option<Ids>), String> {}",
        "fn f(g: impl Fn(u8) -> Result<\n    Vec<u8>,\n    String,\n>) {}",
        "fn f() -> Result<Result<u8, io::Error>, &'static str> {}",
        "type Done<T> = Result<T, String>;",
        "type Text = String;\nfn f() -> Result<(), Text> {}",
        "fn f() -> Told<u8> {}",
        "fn f() { Ok::<_, String>(1); }",
        "fn f() -> Result<u8, Cow<'static, str>> {}",
    ] {
        assert_eq!(found(text), 1, "{text}");
    }
    for text in [
        "fn f() -> Result<String, Error> {}",
        "fn f() -> io::Result<Vec<String>> {}",
        "// Result<(), String>",
        "type Own<T> = Result<T, Error>;\nfn f() -> Own<String> {}",
        "#[cfg(test)]\nmod tests { fn f() -> Result<(), String> {} }",
    ] {
        assert_eq!(found(text), 0, "{text}");
    }
    assert_eq!(errors_that_are_texts(&[lent]), Vec::<String>::new(), "the room is not one of TYPED");
}
