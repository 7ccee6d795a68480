//! What holds for every input, however broken: one function for each reader. The fuzz targets and
//! `tests/fuzz_corpus.rs` run the same functions.

use zones::spec::ZoneName;
use zones::spec::toml;

/// A spec file: refused with a place inside the text, or read, written and read again as the same.
pub fn spec(data: &[u8]) {
    let name = ZoneName::new("fuzz").expect("a valid name");
    match toml::parse(&name, data) {
        Err(e) => {
            let lines = 1 + data.iter().filter(|b| **b == b'\n').count();
            assert!(e.line >= 1 && e.line <= lines && e.column >= 1, "{e}");
            assert!(!e.text.is_empty());
        }
        Ok(spec) => {
            let written = toml::render(&spec);
            let again = toml::parse(&name, written.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{written}"));
            assert_eq!(again, spec, "{written}");
            let text = std::str::from_utf8(data).expect("a spec that was read is UTF-8");
            let kept = toml::update(text, &spec).unwrap_or_else(|e| panic!("{e}\n{text}"));
            let again = toml::parse(&name, kept.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{kept}"));
            assert_eq!(again, spec, "{kept}");
        }
    }
}
