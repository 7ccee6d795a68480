//! The front door: names, folders, programs, and the builds that have no door at all.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use super::Lab;
use super::lab::Run;

/// A name that a shell, a path or a unit of systemd could take for something else is none, whoever gets it.
#[test]
fn names_that_mean_something_to_a_shell() {
    let Some(lab) = Lab::on_disk() else { return };
    let victim = lab.path().join("victim");
    let bad = [
        "a;touch victim",
        "$(touch victim)",
        "`touch victim`",
        "a b",
        "a\nb",
        "../zion",
        "a/b",
        ".",
        "..",
        ".zion",
        "-rf",
        "a|b",
        "a&b",
        "a>victim",
        "a*",
        "a'b",
        "a\"b",
        "a\\b",
        "%n",
        "",
        "\u{1b}[2J",
        "zïon",
    ];
    for name in bad {
        let run = lab.run_with("zonecfg", &["-z", name], &[], "create\nset zonepath=/zones/x\ncommit\n");
        assert_ne!(run.status, 0, "zonecfg {name:?}: {run:?}");
        for args in [&["-z", name, "list"][..], &["-z", name, "boot"], &["-z", name, "install"]] {
            assert_ne!(lab.run("zoneadm", args).status, 0, "zoneadm {args:?}");
        }
        assert_ne!(lab.run("zlogin", &["--", name, "true"]).status, 0, "zlogin {name:?}");
        assert!(!victim.exists() && !Path::new("victim").exists(), "{name:?}");
    }
    let specs = lab.path().join("etc/zones.d");
    assert_eq!(fs::read_dir(&specs).map_or(0, Iterator::count), 0, "a spec of such a name was made");
}

/// Guards `apply::trust`: what is read from run-time files and states is done with root's rights, so nobody
/// else may have put them there.
#[test]
fn folders_that_others_can_write() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("zion", "");
    for folder in ["run/zones", "var/lib/zones", "etc/zones.d", "var/lib/zones/zion"] {
        let path = lab.path().join(folder);
        fs::create_dir_all(&path).expect("a folder");
        let before = fs::metadata(&path).expect("it is there").mode();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("chmod");
        let run = lab.run("zoneadm", &["-z", "zion", "boot"]);
        assert!(run.status != 0 && run.err.contains("write"), "{folder}: {run:?}");
        fs::set_permissions(&path, fs::Permissions::from_mode(before)).expect("chmod");
        std::os::unix::fs::chown(&path, Some(65534), None).expect("chown");
        let run = lab.run("zoneadm", &["-z", "zion", "boot"]);
        assert_ne!(run.status, 0, "{folder}: {run:?}");
        std::os::unix::fs::chown(&path, Some(0), None).expect("chown");
        lab.assert_clean();
    }
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    lab.halted("zion");
}

/// Files that are made while the umask is empty, as during the steps of a boot, have the modes that they are given:
/// others than root write to none that root reads, and open none of a zone.
#[test]
fn files_that_others_can_write() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.booted("zion", "");
    let mut found = 0;
    let mut folders = ["run/zones", "var/lib/zones", "etc/zones.d"].map(|f| lab.path().join(f)).to_vec();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let meta = fs::symlink_metadata(&path).expect("it is there");
            found += 1;
            assert!(meta.is_symlink() || meta.mode() & 0o022 == 0, "{}: {:o}", path.display(), meta.mode());
            if meta.is_dir() {
                folders.push(path);
            }
        }
    }
    assert!(found > 5, "only {found} files");
    lab.halted("zion");
}

/// There is no set-user-id helper to be attacked: programs are installed without, and refuse who is not root.
#[test]
fn no_program_is_set_user_id() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.open_to_all();
    let makefile = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Makefile")).expect("it is there");
    for line in makefile.lines().filter(|l| l.contains("install -m") || l.contains("chmod")) {
        let modes = line.split_whitespace().filter(|w| w.starts_with('0') && w.len() == 4);
        assert_eq!(modes.clone().filter(|m| ["0755", "0644"].contains(m)).count(), modes.count(), "{line}");
    }
    lab.booted("zion", "");
    for program in ["zlogin", "zoneadm"] {
        let copy = lab.path().join(program);
        fs::copy(lab.command(program).get_program(), &copy).expect("copied");
        let args: &[&str] = if program == "zlogin" { &["zion", "id"] } else { &["-z", "zion", "reboot"] };
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&copy).args(args);
        let run = Run::from(command.env("ZONES_ROOT", lab.path()).output().expect("setpriv(1)"));
        assert!(run.status != 0 && run.out.is_empty(), "{program}: {run:?}");
    }
    lab.halted("zion");
}

/// Returns the names of the defences that the sources can leave out.
fn defences() -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).expect("text");
            let calls = text.match_indices("without(\"").map(|(at, call)| &text[at + call.len()..]);
            found.extend(calls.filter_map(|rest| rest.split('"').next()).map(str::to_owned));
        }
    }
    found.sort();
    found.dedup();
    found
}

/// Whatever can be left out is tried, and nothing is tried that cannot.
#[test]
fn every_defence_is_tried_without() {
    let script = include_str!("naive");
    let list = script.split("<<'END'\n").nth(1).and_then(|t| t.split("\nEND").next()).expect("the list");
    let mut tried: Vec<String> =
        list.lines().filter_map(|l| l.split_whitespace().next()).map(str::to_owned).collect();
    tried.sort();
    tried.dedup();
    assert_eq!(tried, defences());
    let table = include_str!("main.rs");
    for name in tried {
        assert!(table.contains(&format!("`{name}`")), "{name} is not in the table");
    }
}

/// A build without debug assertions that could leave a defence out does not come about, and one without the
/// feature answers with a constant.
#[test]
fn no_release_leaves_a_defence_out() {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/sys/naive.rs");
    let out = tempfile::tempdir().expect("a temporary folder");
    let compile = |args: &[&str]| {
        let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()));
        rustc.args(["--edition", "2024", "--crate-type", "lib", "--emit", "metadata", "--out-dir"]);
        Run::from(rustc.arg(out.path()).args(args).arg(source).output().expect("the compiler"))
    };
    let feature = ["--cfg", "feature=\"naive\""];
    let run = compile(&[feature[0], feature[1], "-C", "debug-assertions=off"]);
    assert!(run.status != 0 && run.err.contains("no release has it"), "{run:?}");
    assert_eq!(compile(&[feature[0], feature[1], "-C", "debug-assertions=on"]).status, 0);
    assert_eq!(compile(&["-C", "debug-assertions=off"]).status, 0);
}
