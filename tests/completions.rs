//! The completions of the shells: their own shells can read them, they know every subcommand, and
//! their lists of resources and properties are those of the table.
#![allow(clippy::disallowed_methods)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use zones::spec::ResourceKind;
use zones::spec::schema;

const PROGRAMS: &[&str] = &["zonecfg", "zoneadm", "zlogin"];
const SHELLS: &[&str] = &["bash", "zsh", "fish"];

fn file(program: &str, shell: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("completions").join(format!("{program}.{shell}"))
}

fn text(program: &str, shell: &str) -> String {
    fs::read_to_string(file(program, shell)).expect("a completion in UTF-8")
}

#[test]
fn the_shells_can_read_them() {
    for shell in SHELLS {
        for program in PROGRAMS {
            let path = file(program, shell);
            match Command::new(shell).arg("-n").arg(&path).output() {
                Ok(out) => assert!(
                    out.status.success() && out.stderr.is_empty(),
                    "{}: {}",
                    path.display(),
                    String::from_utf8_lossy(&out.stderr)
                ),
                Err(_) => eprintln!("{shell} is not installed: {} not read", path.display()),
            }
        }
    }
}

/// Returns the line with the words of the table in it, none when it holds no list of them.
fn renewed(line: &str) -> Option<String> {
    let resources: Vec<_> = ResourceKind::all().map(ResourceKind::name).collect();
    let globals: Vec<_> = schema::globals().iter().map(|p| p.name).collect();
    let indent = &line[..line.len() - line.trim_start().len()];
    for (name, words) in [("resources", resources.join(" ")), ("properties", globals.join(" "))] {
        for (before, after) in
            [(format!("local {name}=\""), "\""), (format!("{name}=("), ")"), (format!("set -l {name} "), "")]
        {
            if line.trim_start().starts_with(&before) {
                return Some(format!("{indent}{before}{words}{after}"));
            }
        }
    }
    None
}

#[test]
fn the_lists_of_zonecfg_are_those_of_the_table() {
    for shell in SHELLS {
        let (page, mut lists, mut fresh) = (text("zonecfg", shell), 0, String::new());
        for line in page.lines() {
            let new = renewed(line);
            lists += usize::from(new.is_some());
            fresh.push_str(new.as_deref().unwrap_or(line));
            fresh.push('\n');
        }
        assert_eq!(lists, 2, "{shell}: resources and properties");
        if fresh != page && env::var_os("UPDATE").is_some() {
            fs::write(file("zonecfg", shell), fresh).expect("the completion can be written");
        } else {
            assert!(fresh == page, "{shell} is stale; refresh with: UPDATE=1 cargo test --test completions");
        }
    }
}
