//! The tests with real ZFS, each in a machine of its own ([`machine`]).
//!
//! Among them `zones::zfs` against the Python binding of the same library. The calls and their outcomes
//! are in `cases.jsonl`. In the machine (`tests/vm`) this program makes them all (`--run FILE`) and prints
//! each outcome as a line of JSON; `pyzfs.py` does the same through the Python binding, and `compare.py`
//! holds both against the table.

#![allow(clippy::disallowed_methods)] // tests run programs

mod calls;
mod machine;

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use serde_json::{Map, Value, json};

/// One line of the table.
type Case = Map<String, Value>;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [how @ ("--run" | "--run-without-library"), file] => {
            let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{file}: {e}"));
            let mut machine = calls::Machine::new(how == "--run");
            for case in parse(&text) {
                let outcome = machine.call(&case);
                println!("{}", json!({ "id": case["id"], "outcome": outcome }));
            }
            ExitCode::SUCCESS
        }
        _ => {
            let mut tests = Arguments::from_args();
            // One machine at a time, where the runner does not see to it.
            tests.test_threads = Some(1);
            let mut trials = vec![Trial::test("the_table_of_calls_is_sound", || {
                table();
                Ok(())
            })];
            trials.extend(machine::trials());
            libtest_mimic::run(&tests, trials).exit_code()
        }
    }
}

fn parse(text: &str) -> Vec<Case> {
    let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    lines.map(|l| serde_json::from_str(&long(l)).unwrap_or_else(|e| panic!("{l}: {e}"))).collect()
}

/// A name longer than any dataset's, which would be unreadable in the table.
fn long(line: &str) -> String {
    line.replace("LONG", &"x".repeat(300))
}

/// The table itself: nothing twice, nothing that cannot fail, enough to compare.
fn table() {
    let mut cases = parse(include_str!("cases.jsonl"));
    let bare = parse(include_str!("without-library.jsonl"));
    let of_python = cases.len();
    cases.extend(bare);
    let mut ids = BTreeSet::new();
    let mut compared = 0;
    for (i, case) in cases.iter().enumerate() {
        let id = case["id"].as_str().expect("an id");
        assert!(ids.insert(id), "{id} is there twice");
        assert!(case["expect"].is_string(), "{id} expects nothing");
        let call = case["call"].as_str().expect("a call");
        assert!(calls::NAMES.contains(&call), "{id} makes the unknown call {call}");
        if i < of_python && case.get("pyzfs") != Some(&Value::Null) && call != "sh" {
            compared += 1;
        }
    }
    assert!(compared >= 60, "only {compared} calls are compared");
}
