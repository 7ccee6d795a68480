//! Replays what the fuzz targets start from and have found, so that every run of the tests covers it.

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

#[path = "../fuzz/harness.rs"]
mod harness;

fn corpus(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> =
        fs::read_dir(&folder).expect("a corpus").map(|e| e.expect("a readable entry").path()).collect();
    files.sort();
    assert!(files.len() >= 10, "{}: only {} inputs", folder.display(), files.len());
    files
}

/// Runs each input whole, cut off at every place, and with each byte changed in turn.
fn replay(target: &str, run: fn(&[u8])) {
    let mut failed = Vec::new();
    for path in corpus(target) {
        let data = fs::read(&path).expect("a readable input");
        let whole = [data.clone()];
        let step = (data.len() / 64).max(1);
        let cut = (0..data.len()).step_by(step).map(|n| data[..n].to_vec());
        let changed = (0..data.len()).step_by(step).flat_map(|n| {
            [b'"', b'\n', b'[', 0, 0xff].map(|byte| {
                let mut data = data.clone();
                data[n] = byte;
                data
            })
        });
        for input in whole.into_iter().chain(cut).chain(changed) {
            if catch_unwind(|| run(&input)).is_err() {
                failed.push(format!("{}: {:?}", path.display(), String::from_utf8_lossy(&input)));
            }
        }
    }
    assert!(failed.is_empty(), "{} inputs fail, the first: {}", failed.len(), failed[0]);
}

#[test]
fn spec() {
    replay("spec", harness::spec);
}

#[test]
fn lexer() {
    replay("lexer", harness::lexer);
}

#[test]
fn parser() {
    replay("parser", harness::parser);
}

#[test]
fn journal() {
    replay("journal", harness::journal);
}

#[test]
fn nvlist() {
    replay("nvlist", harness::nvlist);
}

#[test]
fn the_corpus_has_inputs_that_are_accepted() {
    // Else all of the above could be about refusals only.
    let name = zones::spec::ZoneName::new("fuzz").expect("a valid name");
    for file in ["whole", "smallest", "inline", "crlf"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/spec").join(file);
        let data = fs::read(&path).expect("a readable input");
        assert!(zones::spec::toml::parse(&name, &data).is_ok(), "{file}");
    }
}
