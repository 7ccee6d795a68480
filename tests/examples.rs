//! What the README and the manual show is what happens.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::{env, fs};

use tempfile::TempDir;
use zones::spec::schema::{self, PropDef, ResourceDef, ValueShape};
use zones::spec::{ResourceKind, ZoneName, toml};

fn tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn page(name: &str) -> String {
    fs::read_to_string(tree(name)).expect("a page in UTF-8")
}

/// Returns the literal blocks of a page, as a reader sees them.
fn literal_blocks(page: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<String> = None;
    for line in page.lines() {
        if line.starts_with(".Bd -literal") {
            open = Some(String::new());
        } else if line == ".Ed" {
            blocks.extend(open.take());
        } else if let Some(line) = line.strip_prefix(".Dl ") {
            blocks.push(format!("{line}\n"));
        } else if let Some(block) = &mut open {
            block.push_str(&line.replace("\\e", "\\"));
            block.push('\n');
        }
    }
    blocks
}

/// Returns what is typed at the prompts of zonecfg in a transcript.
fn typed(transcript: &str) -> String {
    let mut lines = String::new();
    for line in transcript.lines() {
        if let Some((prompt, command)) = line.trim().split_once("> ")
            && prompt.starts_with("zonecfg:")
        {
            lines.push_str(command);
            lines.push('\n');
        }
    }
    lines
}

fn new_root() -> TempDir {
    let root = tempfile::Builder::new().prefix("zones-examples.").tempdir().expect("a temporary folder");
    fs::create_dir_all(root.path().join("etc/zones.d")).expect("the folder of specs");
    root
}

fn zonecfg(root: &Path, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_zonecfg"))
        .args(args)
        .env("ZONES_ROOT", root)
        .env("HOME", root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("zonecfg can be started");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("zonecfg reads its input");
    child.wait_with_output().expect("zonecfg ends")
}

fn good(out: &Output, what: &str) -> String {
    let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{what}: {}\n{stdout}{stderr}", out.status);
    stdout.into_owned()
}

#[test]
fn the_spec_file_of_the_manual_can_be_read() {
    let blocks = literal_blocks(&page("man/zones.d.5"));
    let specs: Vec<_> = blocks.iter().filter(|b| b.starts_with("format = 1")).collect();
    assert_eq!(specs.len(), 1);
    let name = ZoneName::new("zion").expect("a valid name");
    let spec = toml::parse(&name, specs[0].as_bytes()).unwrap_or_else(|e| panic!("zones.d(5): {e}"));
    assert_eq!(spec.stored(ResourceKind::Fs).len(), 1);
}

#[test]
fn the_sessions_of_the_readme_and_the_manual_run_as_printed() {
    let blocks = literal_blocks(&page("man/zonecfg.8"));
    let manual = blocks.iter().find(|b| b.contains("zonecfg:zion> create")).expect("a session in zonecfg(8)");
    for (name, transcript) in [("zonecfg(8)", manual.as_str()), ("README.md", &page("README.md"))] {
        let commands = typed(transcript);
        assert!(commands.contains("add fs\n") && commands.ends_with("exit\n"), "{name}: {commands}");
        let root = new_root();
        let out = zonecfg(root.path(), &["-z", "zion"], &commands);
        let printed = good(&out, name);
        assert_eq!(printed, "Use 'create' to begin configuring a new zone.\n", "{name}");
        assert_eq!(String::from_utf8_lossy(&out.stderr), "zion: No such zone configured\n", "{name}");
        let info = good(&zonecfg(root.path(), &["-z", "zion", "info", "fs"], ""), name);
        assert!(info.contains("\tspecial: /srv/shared\n"), "{name}: {info}");
    }
}

#[test]
fn the_commands_of_zonecfg_8_run() {
    let blocks = literal_blocks(&page("man/zonecfg.8"));
    let root = new_root();
    let programs = Path::new(env!("CARGO_BIN_EXE_zonecfg")).parent().expect("a folder of programs");
    let path = format!("{}:{}", programs.display(), env::var("PATH").unwrap_or_default());
    good(&zonecfg(root.path(), &["-z", "a", "create"], ""), "a zone to copy");
    let mut ran = 0;
    for block in blocks.iter().filter(|b| b.starts_with("zonecfg ")) {
        let out = Command::new("bash")
            .args(["-e", "-o", "pipefail", "-c", block])
            .env("ZONES_ROOT", root.path())
            .env("PATH", &path)
            .output()
            .expect("bash can be started");
        good(&out, block);
        ran += 1;
    }
    assert!(ran >= 3, "only {ran} examples found");
    let autoboot = good(&zonecfg(root.path(), &["-z", "zion", "info", "autoboot"], ""), "info");
    assert_eq!(autoboot, "autoboot: true\n");
    let copy = |zone| good(&zonecfg(root.path(), &["-z", zone, "export"], ""), zone);
    assert_eq!(copy("a"), copy("b"));
}

/// Returns the line that sets a property to the example of its row.
fn set(def: &PropDef) -> String {
    match def.shape {
        ValueShape::Groups(_) => format!("add {} {}\n", def.name, def.example),
        ValueShape::List => format!("set {}={}\n", def.name, def.example),
        ValueShape::One => format!("set {}=\"{}\"\n", def.name, def.example),
    }
}

#[test]
fn the_example_of_every_global_property_is_accepted() {
    for def in schema::globals().iter().filter(|p| p.name != "zonename") {
        let root = new_root();
        // What zones have not the global zone has, which is there already.
        let (zone, begin) =
            if def.is_of(false) { ("ex", "create -b\nset zonepath=/zones/ex\n") } else { ("global", "") };
        let commands = format!("{begin}{}", set(def));
        good(&zonecfg(root.path(), &["-z", zone, "-f", "-"], &commands), def.name);
        let info = good(&zonecfg(root.path(), &["-z", zone, "info", def.name], ""), def.name);
        assert!(info.contains(def.name) && info.contains(def.example), "{}: {info}", def.name);
    }
}

/// Returns a session that adds a resource with the examples of its required properties and of one more.
fn resource(def: &ResourceDef, one: &PropDef) -> String {
    let mut text = "create -b\nset zonepath=/zones/ex\n".to_owned();
    if let Some(outer) = def.within {
        text.push_str(&format!("add {outer}\n"));
    }
    text.push_str(&format!("add {}\n", def.name));
    for p in def.props.iter().filter(|p| p.required && p.name != one.name) {
        text.push_str(&set(p));
    }
    // A cap on locked memory is held against the one on physical memory.
    if one.name == "locked" {
        text.push_str("set physical=1G\n");
    }
    text.push_str(&set(one));
    text.push_str(if def.within.is_some() { "end\nend\n" } else { "end\n" });
    text
}

#[test]
fn the_example_of_every_resource_property_is_accepted() {
    for kind in ResourceKind::every() {
        let def = kind.def();
        for p in def.props {
            let what = format!("{} {}", def.name, p.name);
            let root = new_root();
            // Whether the zone as a whole makes sense is not the question: nothing is committed.
            let commands = format!(
                "{}info {}\nexit -F\n",
                resource(def, p),
                def.within.map_or(def.name, ResourceKind::name)
            );
            let out = zonecfg(root.path(), &["-z", "ex"], &commands);
            let (stdout, stderr) =
                (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
            let shown = stdout.lines().find(|l| l.trim_start_matches(['\t', '[']).starts_with(p.name));
            assert!(shown.is_some_and(|l| !l.ends_with("not specified")), "{what}\n{stdout}{stderr}");
        }
    }
}

#[test]
fn the_readme_names_what_there_is() {
    let readme = page("README.md");
    for target in ["make demo", "make test", "make bench", "make install", "make uninstall"] {
        assert!(readme.contains(target), "{target}");
    }
    let makefile = page("Makefile");
    for target in ["all", "demo", "test", "bench", "install", "uninstall"] {
        assert!(makefile.lines().any(|l| l.starts_with(&format!("{target}:"))), "no target {target}");
    }
    for folder in
        ["src/spec", "src/parser", "src/shell", "src/plan", "src/apply", "src/sys", "src/init", "zones.d"]
    {
        assert!(readme.contains(&format!("`{folder}`")) && tree(folder).is_dir(), "{folder}");
    }
}
