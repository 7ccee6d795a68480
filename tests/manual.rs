//! The manual says what the table says: the marked parts of the pages in `man/` are generated.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use zones::cli::manual;
use zones::cli::zoneadm::table::SUBCOMMANDS;

fn pages() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    let mut pages: Vec<_> =
        fs::read_dir(folder).expect("the folder man").map(|e| e.expect("a readable entry").path()).collect();
    pages.sort();
    assert!(pages.len() >= 6, "pages are missing: {pages:?}");
    pages
}

/// Returns the page with its generated parts made anew, and the names of the parts.
fn renewed(page: &str) -> (String, Vec<String>) {
    let (mut out, mut names) = (String::new(), Vec::new());
    let mut skip = false;
    for line in page.lines() {
        if line.starts_with(r#".\" END GENERATED"#) {
            skip = false;
        }
        if !skip {
            out.push_str(line);
            out.push('\n');
        }
        if let Some(name) = line.strip_prefix(r#".\" BEGIN GENERATED "#) {
            let name = name.split(' ').next().unwrap_or_default();
            let text =
                manual::section(name).unwrap_or_else(|| panic!("no part of the manual is called {name}"));
            out.push_str(&text);
            names.push(name.to_owned());
            skip = true;
        }
    }
    assert!(!skip, "a generated part has no end");
    (out, names)
}

#[test]
fn the_generated_parts_are_fresh() {
    let (mut stale, mut seen) = (Vec::new(), Vec::new());
    for path in pages() {
        let page = fs::read_to_string(&path).expect("a page in UTF-8");
        let (fresh, names) = renewed(&page);
        seen.extend(names);
        if fresh != page {
            if env::var_os("UPDATE").is_some() {
                fs::write(&path, fresh).expect("the page can be written");
            } else {
                stale.push(path);
            }
        }
    }
    for name in manual::SECTIONS {
        assert!(seen.iter().any(|s| s == name), "no page has the part {name}");
    }
    assert!(stale.is_empty(), "stale: {stale:?}\nrefresh with: UPDATE=1 cargo test --test manual");
}

/// Returns the page of zoneadm with its synopses made anew, and the subcommands that it lists.
fn with_synopses(page: &str) -> (String, Vec<String>) {
    let synopsis = |name: &str| {
        manual::zoneadm_synopsis(name).unwrap_or_else(|| panic!("zoneadm has no subcommand {name}"))
    };
    let (mut out, mut names, mut section, mut skip) = (String::new(), Vec::new(), "", false);
    for line in page.lines() {
        section = line.strip_prefix(".Sh ").unwrap_or(section);
        skip = skip && (line.starts_with(".Op ") || line.starts_with(".Ar "));
        if skip {
            continue;
        }
        let name = |before: &str| line.strip_prefix(before).and_then(|rest| rest.split(' ').next());
        if let Some(name) = name(".It Cm ").filter(|_| section == "SUBCOMMANDS") {
            out.push_str(&synopsis(name).0);
            names.push(name.to_owned());
        } else {
            out.push_str(line);
        }
        out.push('\n');
        if let Some(name) = name(".Cm ").filter(|_| section == "SYNOPSIS") {
            for line in synopsis(name).1 {
                out.push_str(&line);
                out.push('\n');
            }
            skip = true;
        }
    }
    (out, names)
}

#[test]
fn the_synopses_of_zoneadm_are_those_of_its_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("man/zoneadm.8");
    let page = fs::read_to_string(&path).expect("a page in UTF-8");
    let (fresh, names) = with_synopses(&page);
    let mut wanted: Vec<_> = SUBCOMMANDS.iter().map(|s| s.verb.name).collect();
    wanted.sort_unstable();
    assert_eq!(names, wanted, "the subcommands that the page lists, in the order of the alphabet");
    if fresh != page && env::var_os("UPDATE").is_some() {
        fs::write(&path, fresh).expect("the page can be written");
    } else {
        assert!(fresh == page, "stale; refresh with: UPDATE=1 cargo test --test manual");
    }
}

#[test]
fn the_pages_are_well_formed() {
    let lint = |program: &str, args: &[&str], page: &Path| {
        let out = Command::new(program).args(args).arg(page).env("MANWIDTH", "80").output().ok()?;
        let text = [out.stdout.as_slice(), out.stderr.as_slice()].concat();
        Some(String::from_utf8_lossy(&text).into_owned())
    };
    for page in pages() {
        match lint("mandoc", &["-T", "lint", "-W", "warning"], &page) {
            Some(text) => assert_eq!(text, "", "mandoc on {}", page.display()),
            None => eprintln!("mandoc is not installed: {} not linted", page.display()),
        }
        match lint("groff", &["-mdoc", "-z", "-ww", "-Tutf8"], &page) {
            Some(text) => assert_eq!(text, "", "groff on {}", page.display()),
            None => eprintln!("groff is not installed: {} not linted", page.display()),
        }
    }
}

#[test]
fn the_pages_name_each_other_and_only_pages_that_exist() {
    let pages = pages();
    let names: Vec<_> = pages.iter().filter_map(|p| p.file_name()?.to_str()).collect();
    for (path, name) in pages.iter().zip(&names) {
        let text = fs::read_to_string(path).expect("a page in UTF-8");
        let refs: Vec<_> = text
            .lines()
            .filter_map(|l| l.strip_prefix(".Xr "))
            .filter_map(|l| {
                let mut words = l.split(' ');
                Some(format!("{}.{}", words.next()?, words.next()?))
            })
            .collect();
        assert!(!refs.is_empty(), "{name} names no other page");
        for page in refs.iter().filter(|r| r.starts_with("zone") || r.starts_with("zlogin")) {
            assert!(names.contains(&page.as_str()), "{name} names {page}, which does not exist");
        }
    }
}
