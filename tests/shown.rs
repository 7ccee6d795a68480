//! Names that a zone, an archive or another host has chosen are shown on one line, with nothing in them that
//! a terminal obeys: otherwise they could say in our messages' place what they want.

mod lab;

use std::fs;

use std::path::Path;

use lab::{Lab, Run};
use tar::{EntryType, Header};

/// What a name would like to be taken for.
const FORGED: &str = "zoneadm: zone 'bank': was halted by root";
/// The same as a part of a name.
const NAME: &str = "x\nzoneadm: zone 'bank': was halted by root\n\u{1b}[31m\u{202e}y\r";

/// Looks that no line is the forged one and that the name was there and could have made one.
fn no_forged_line(what: &str, run: &Run) {
    let all = format!("{}{}", run.out, run.err);
    assert!(all.contains(FORGED), "{what}: the name is not in it: {run:?}");
    let forged = all.lines().any(|line| line.starts_with(FORGED));
    assert!(!forged, "{what}: a line is forged: {all}");
    let obeyed = all.contains(['\u{1b}', '\r', '\u{202e}']);
    assert!(!obeyed, "{what}: a terminal would obey it: {all:?}");
}

/// Puts a header into an archive with names that other programs would refuse to write.
fn member(name: &str, kind: EntryType, target: &str) -> Vec<u8> {
    let mut header = Header::new_gnu();
    let fields = header.as_gnu_mut().expect("gnu");
    fields.name[..name.len()].copy_from_slice(name.as_bytes());
    fields.linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_mode(0o644);
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn image(folder: &Path) {
    let named = |name: &str| {
        serde_json::json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": format!("sha256:{}", "0".repeat(64)), "size": 2,
            "annotations": { "org.opencontainers.image.ref.name": name }
        })
    };
    fs::create_dir_all(folder.join("blobs/sha256")).expect("a folder");
    fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("a file");
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [named(NAME), named("other")] });
    fs::write(folder.join("index.json"), index.to_string()).expect("a file");
}

#[test]
fn names_in_messages_forge_no_line() {
    let Some(lab) = Lab::new() else { return };
    lab.configure("zion", "");
    lab.configure("bare", "remove -F inherit-pkg-dir");
    let run = |args: &[&str]| {
        let run = lab.run("zoneadm", args);
        assert_ne!(run.status, 0, "{args:?}: {run:?}");
        run
    };
    let path = |name: &str| lab.path().join(name);
    // What lies in a zonepath.
    fs::create_dir_all(path("zones/zion").join(NAME)).expect("a folder");
    fs::set_permissions(path("zones/zion"), std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .expect("chmod");
    no_forged_line("an entry of the zonepath", &run(&["-z", "zion", "install"]));
    fs::remove_dir(path("zones/zion").join(NAME)).expect("a folder");
    // The path of a source.
    let source = path(NAME);
    fs::write(&source, "x").expect("a file");
    let shown = source.display().to_string();
    for option in ["-d", "-a", "-o"] {
        no_forged_line(option, &run(&["-z", "bare", "install", option, &shown]));
    }
    // The members of an archive, and where its links lead.
    let archive = path("x.tar");
    for (name, kind, target) in [(NAME, EntryType::Link, "nothing"), ("a", EntryType::Link, NAME)] {
        fs::write(&archive, [member(name, kind, target), vec![0; 1024]].concat()).expect("an archive");
        let run = run(&["-z", "bare", "install", "-a", &archive.display().to_string()]);
        no_forged_line("a hard link", &run);
        let _ = lab.run("zoneadm", &["-z", "bare", "uninstall", "-F"]);
    }
    // The names of images.
    image(&path("image"));
    no_forged_line("an image", &run(&["-z", "bare", "install", "-o", &path("image").display().to_string()]));
    let _ = lab.run("zoneadm", &["-z", "bare", "uninstall", "-F"]);
    // What a manifest of another host says.
    let manifest = format!(
        "format = 1\nzonepath = \"/zones/zion\"\n[detached]\nmachine = {}\nhost = \"h\"\n",
        serde_json::Value::from(NAME)
    );
    fs::write(path("manifest"), manifest).expect("a manifest");
    let run = lab.run("zoneadm", &["-z", "zion", "attach", "-n", &path("manifest").display().to_string()]);
    if run.err.contains("of type") {
        no_forged_line("a manifest", &run);
    } else {
        assert!(!format!("{}{}", run.out, run.err).lines().any(|l| l.starts_with(FORGED)), "{run:?}");
    }
}

#[test]
fn a_tree_of_the_zone_forges_no_line() {
    let Some(lab) = Lab::new() else { return };
    lab.installed("zion", "");
    lab.configure("copy", "");
    // A zone nests folders as deep as it likes; each name is a line of its own.
    let tree = lab.in_zone("zion", "root/deep");
    fs::create_dir_all(&tree).expect("a folder");
    let perl = "chdir $ARGV[0] or die; for (1 .. 1100) { mkdir $ARGV[1] or die; chdir $ARGV[1] or die }";
    let mut command = std::process::Command::new("perl");
    let done = command.args(["-e", perl]).arg(&tree).arg(NAME).status().expect("perl runs");
    assert!(done.success());
    for args in [&["-z", "copy", "clone", "zion"][..], &["-z", "zion", "uninstall", "-F"]] {
        let run = lab.run("zoneadm", args);
        let all = format!("{}{}", run.out, run.err);
        assert!(!all.lines().any(|l| l.starts_with(FORGED)), "{args:?}: {}", &all[..all.len().min(2000)]);
        assert!(!all.contains(['\u{1b}', '\r', '\u{202e}']), "{args:?}: {}", &all[..all.len().min(2000)]);
    }
    let _ = lab.run("zoneadm", &["-z", "copy", "uninstall", "-F"]);
    let _ = lab.run("zoneadm", &["-z", "zion", "uninstall", "-F"]);
}

#[test]
fn what_is_watched_is_not_obeyed() {
    let Some(lab) = Lab::new() else { return };
    lab.installed("zion", "");
    lab.ok("zoneadm", &["-z", "zion", "ready"]);
    let mut console = rexpect::session::spawn_command(
        {
            let mut command = lab.command("zlogin");
            command.args(["-C", "zion"]);
            command
        },
        Some(20_000),
    )
    .expect("a terminal");
    console.exp_string("[Connected to zone 'zion' console]").expect("the console");
    // Who may boot a zone says with which arguments.
    lab.ok("zoneadm", &["-z", "zion", "boot", "--", "\u{1b}]0;owned\u{7}\u{9b}2J"]);
    let line = console.exp_regex("NOTICE: Zone booting up with arguments: [^\n]*").expect("a notice").1;
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    assert!(line.contains("]0;owned") && !line.contains(['\u{1b}', '\u{7}', '\u{9b}']), "{line:?}");
}
