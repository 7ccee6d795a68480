//! The name of a type has one meaning in the whole crate.

use std::collections::BTreeMap;

use super::{Source, module, sources};

/// A reader who meets `Source` or `Refusal` must not have to ask which of several is meant, and finds the definition
/// by its name. A private type may share its name with private types of other files only.
#[test]
fn the_name_of_a_public_type_is_defined_once() {
    let files = sources();
    let defined = definitions(&files);
    assert!(defined.len() > 500, "only {} types were found", defined.len());
    let mut wrong = Vec::new();
    for (name, places) in &defined {
        if places.len() > 1 && places.iter().any(|place| place.is_public) {
            let places: Vec<_> = places.iter().map(|p| p.place.as_str()).collect();
            wrong.push(format!("{name}: {}", places.join(", ")));
        }
    }
    assert!(wrong.is_empty(), "give each meaning a name of its own:\n{}", wrong.join("\n"));
}

/// Where a type is defined.
struct Definition {
    place: String,
    is_public: bool,
}

/// Returns where each type is defined, tests left out.
fn definitions(files: &[Source]) -> BTreeMap<String, Vec<Definition>> {
    let mut found: BTreeMap<String, Vec<Definition>> = BTreeMap::new();
    for source in files {
        if module(&source.path).last().is_some_and(|name| name.ends_with("tests")) {
            continue;
        }
        for (i, line) in source.code.lines().enumerate() {
            if let Some((name, is_public)) = definition(line) {
                let place = format!("src/{}:{}", source.path.display(), i + 1);
                found.entry(name.to_owned()).or_default().push(Definition { place, is_public });
            }
        }
    }
    found
}

/// Returns the name of the type that a line defines, and whether other modules can see it.
fn definition(line: &str) -> Option<(&str, bool)> {
    let rest = line.trim_start();
    let (is_public, rest) = match rest.strip_prefix("pub") {
        Some(rest) => {
            let scope = rest.starts_with('(').then(|| rest.find(')')).flatten();
            (true, rest[scope.map_or(0, |at| at + 1)..].trim_start())
        }
        None => (false, rest),
    };
    let rest = rest.strip_prefix("unsafe ").unwrap_or(rest);
    let (word, rest) = rest.split_once(' ')?;
    // A `type` that is neither public nor at the margin belongs to a trait.
    let is_type = match word {
        "struct" | "enum" | "union" | "trait" => true,
        "type" => is_public || !line.starts_with(' '),
        _ => false,
    };
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    (is_type && rest[..end].starts_with(char::is_uppercase)).then_some((&rest[..end], is_public))
}

#[test]
fn definitions_are_told_from_what_looks_like_them() {
    assert_eq!(definition("pub(super) struct Place<'a> {"), Some(("Place", true)));
    assert_eq!(definition("    pub enum Kind {"), Some(("Kind", true)));
    assert_eq!(definition("pub unsafe trait Zeroed {"), Some(("Zeroed", true)));
    assert_eq!(definition("type Done = Result<(), Exit>;"), Some(("Done", false)));
    assert_eq!(definition("    type Item = u8;"), None);
    assert_eq!(definition("let type_of = 1;"), None);
    assert_eq!(definition("enum $name {"), None);
}
