//! Zones that leave the care of a host and come into that of another.

use super::*;
use std::io::Write;

const SPARSE: &str = "[[inherit-pkg-dir]]\ndir = \"/usr\"\n";

#[test]
fn there_and_back() {
    let p = Place::new();
    p.installed("zion", "# kept\nautoboot = true\n");
    put(&p.path("var/lib/zones/zion/idmap"), b"0 1000131072 65536\n", 0o644);
    let uuid = p.uuid("zion");
    let shown = p.good(&["-z", "zion", "detach", "-n"]);
    assert!(!p.path("zones/zion/SUNWdetached.toml").exists());
    assert_eq!(p.state("zion"), "installed");
    assert_eq!(p.good(&["-z", "zion", "detach"]), "");
    assert_eq!(p.state("zion"), "configured");
    let manifest = p.path("zones/zion/SUNWdetached.toml");
    let text = read(&manifest);
    let stable = |t: &str| t.lines().filter(|l| !l.starts_with("time = ")).collect::<Vec<_>>().join("\n");
    assert_eq!(stable(&text), stable(&shown));
    assert!(text.starts_with(&p.spec("zion")), "with its comments: {text}");
    for line in ["[detached]", "zone = \"zion\"", &format!("uuid = \"{uuid}\""), "first-id = 1000131072"] {
        assert!(text.lines().any(|l| l == line), "{line}: {text}");
    }
    assert_eq!(manifest.metadata().expect("stat").mode() & 0o777, 0o600);
    assert_eq!(p.bad(&["-z", "zion", "boot"]), "zoneadm: zone 'zion': must be installed before boot.\n");
    let detached = format!(
        "zoneadm: zone 'zion': Cannot install detached zone.\nUse attach or remove {} directory.\n",
        p.shown("zones/zion")
    );
    assert_eq!(p.bad(&["-z", "zion", "install"]), detached);
    p.installed("other", "");
    assert_eq!(p.bad(&["-z", "zion", "clone", "other"]), detached);

    assert_eq!(p.good(&["-z", "zion", "attach"]), "");
    assert_eq!((p.state("zion"), p.uuid("zion")), ("installed".into(), uuid));
    assert!(!manifest.exists());
    assert_eq!(read(&p.path("var/lib/zones/zion/idmap")), "0 1000131072 65536\n");
    assert_eq!(p.bad(&["-z", "zion", "attach"]), "zoneadm: zone 'zion': is already installed.\n");
    p.running("zion");
    assert_eq!(
        p.bad(&["-z", "zion", "detach"]),
        "zoneadm: zone 'zion': detach operation is invalid for running zones.\n"
    );
    assert!(p.good(&["-z", "zion", "detach", "-n"]).contains("[detached]"), "a running one can be shown");
}

#[test]
fn what_other_systems_take_is_named_and_the_rest_done() {
    let p = Place::new();
    p.installed("zion", "");
    let says = |args: &[&str], said: &[&str]| {
        let done = p.run(args);
        assert_eq!(done.status, Some(0), "{args:?}: {}", done.err);
        for text in said {
            assert!(done.err.contains(text), "{args:?}: {}", done.err);
        }
    };
    p.zone("neo", "");
    says(
        &["-z", "neo", "clone", "-c", "/sc_profile.xml", "zion"],
        &["WARNING: -c /sc_profile.xml has no effect"],
    );
    assert_eq!(p.state("neo"), "installed");
    says(&["-z", "neo", "mount"], &["the zone's root is always at", "zones/neo/root"]);
    says(&["-z", "neo", "unmount", "-f"], &["unmount does nothing"]);
    says(&["-z", "neo", "uninstall", "-F"], &[]);
    let tree = p.shown("tree");
    says(&["-z", "neo", "install", "-up", "-d", &tree], &["-u has no effect", "-p has no effect"]);
    p.good(&["-z", "neo", "detach"]);
    assert_eq!(
        p.bad(&["-z", "neo", "mount"]),
        "zoneadm: zone 'neo': mount operation is invalid for configured zones.\n"
    );
    says(&["-z", "neo", "attach", "-x", "force-zbe-clone", "-u"], &["-x force-zbe-clone has no effect"]);
    assert_eq!(p.state("neo"), "installed");
    assert_eq!(p.run(&["-z", "neo", "mount", "-x"]).status, Some(2));
}

#[test]
fn on_another_host_it_is_the_same_zone() {
    let (here, there) = (Place::new(), Place::new());
    here.installed("zion", "autoboot = true\n");
    put(&here.path("var/lib/zones/zion/idmap"), b"0 1000131072 65536\n", 0o644);
    let uuid = here.uuid("zion");
    here.good(&["-z", "zion", "detach"]);
    fs::rename(here.path("zones/zion"), there.path("zones/zion")).expect("carried over");
    there.zonecfg("zion", "create -a /zones/zion");
    assert!(there.spec("zion").contains("autoboot = true"));
    assert!(!there.spec("zion").contains("[detached]"));
    assert_eq!(there.good(&["-z", "zion", "attach"]), "");
    assert_eq!((there.state("zion"), there.uuid("zion")), ("installed".into(), uuid));
    assert_eq!(read(&there.path("var/lib/zones/zion/idmap")), "0 1000131072 65536\n");
    // Its ids and uuid are taken where another zone has them.
    there.good(&["-z", "zion", "detach"]);
    let copy = there.path("zones/copy");
    assert!(
        Command::new("cp").arg("-a").args([&there.path("zones/zion"), &copy]).status().expect("cp").success()
    );
    there.good(&["-z", "zion", "attach"]);
    there.zonecfg("copy", "create -a /zones/copy");
    let done = there.run(&["-z", "copy", "attach"]);
    assert_eq!(
        done.err,
        "zoneadm: zone 'copy': WARNING: zone 'zion' has the uuid of the detached zone; it gets a new one\n"
    );
    assert_ne!(there.uuid("copy"), there.uuid("zion"));
    assert!(!there.path("var/lib/zones/copy/idmap").exists(), "allocated at its first boot");
}

/// Changes a line of a manifest.
fn edit(p: &Place, start: &str, line: &str) {
    let path = p.path("zones/zion/SUNWdetached.toml");
    let text = read(&path);
    assert!(text.lines().any(|l| l.starts_with(start)), "{text}");
    let lines: Vec<_> = text.lines().map(|l| if l.starts_with(start) { line } else { l }).collect();
    put(&path, format!("{}\n", lines.join("\n")).as_bytes(), 0o600);
}

#[test]
fn what_does_not_fit_this_host() {
    let p = Place::new();
    p.zone("zion", SPARSE);
    p.good(&["-z", "zion", "install"]);
    p.good(&["-z", "zion", "detach"]);
    let manifest = p.path("zones/zion/SUNWdetached.toml");
    let original = fs::read(&manifest).expect("read");
    let refused = |text: &str| {
        let err = p.bad(&["-z", "zion", "attach"]);
        assert!(err.contains(text), "{err}");
        assert_eq!(p.state("zion"), "configured");
        assert!(manifest.exists());
    };
    edit(&p, "machine = ", "machine = \"pdp11\"");
    refused("the zone is of a host of type pdp11");
    put(&manifest, &original, 0o600);
    edit(&p, "system = ", "system = \"slackware 1\"");
    refused("was detached from slackware 1 where this host is ");
    assert_eq!(p.good(&["-z", "zion", "plan", "attach", "-u"]).lines().count(), 3);
    // Whatever the other host's linker knew.
    put(&p.path("zones/zion/root/etc/ld.so.cache"), b"of slackware", 0o644);
    put(&p.path("zones/zion/root/etc/passwd"), b"mine", 0o644);
    p.good(&["-z", "zion", "attach", "-u"]);
    assert_ne!(fs::read(p.path("zones/zion/root/etc/ld.so.cache")).unwrap_or_default(), b"of slackware");
    assert_eq!(read(&p.path("zones/zion/root/etc/passwd")), "mine", "accounts are the zone's");
    p.good(&["-z", "zion", "detach"]);

    p.zone("zion", "");
    refused(
        "the zone was detached with other inherit-pkg-dir resources (/usr) than it is configured with (none)",
    );
    p.zone("zion", SPARSE);
    put(&manifest, b"format = 1\nrubbish\n", 0o600);
    refused("SUNWdetached.toml:2:");
    fs::remove_file(&manifest).expect("remove");
    let err = p.bad(&["-z", "zion", "attach"]);
    assert!(err.contains("SUNWdetached.toml does not exist: no zone was detached there"), "{err}");
    std::os::unix::fs::symlink("/etc/hostname", &manifest).expect("link");
    refused("a symbolic link is not followed");
    fs::remove_file(&manifest).expect("remove");

    put(&manifest, b"format = 1\nrubbish\n", 0o600);
    p.good(&["-z", "zion", "attach", "-F"]);
    assert_eq!(p.state("zion"), "installed");
    assert!(!manifest.exists() && p.path("zones/zion/SUNWattached.toml").exists(), "renamed");
    p.good(&["-z", "zion", "uninstall", "-F"]);
    assert!(!p.path("zones/zion").exists(), "it is one of ours");
    p.zone("none", "");
    let err = p.bad(&["-z", "none", "attach", "-F"]);
    assert!(err.ends_with("/zones/none does not exist\n"), "{err}");
    fs::create_dir(p.path("zones/none")).expect("dir");
    let err = p.bad(&["-z", "none", "attach", "-F"]);
    assert!(err.contains("has no directory root: no zone is there"), "{err}");
}

#[test]
fn a_manifest_alone_can_be_checked() {
    let p = Place::new();
    p.installed("zion", SPARSE);
    let good = p.good(&["-z", "zion", "detach", "-n"]);
    put(&p.path("m"), good.as_bytes(), 0o644);
    let file = p.shown("m");
    assert_eq!(p.good(&["attach", "-n", &file]), "", "no zone is needed");
    let from_stdin = |text: &str| {
        let mut command = p.command(&["attach", "-n", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("zoneadm");
        child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("write");
        let done = child.wait_with_output().expect("zoneadm ends");
        (done.status.code(), String::from_utf8(done.stderr).expect("UTF-8"))
    };
    assert_eq!(from_stdin(&good), (Some(0), String::new()));
    let machine =
        |l: &str| if l.starts_with("machine") { "machine = \"vax\"".to_owned() } else { l.to_owned() };
    let other: Vec<String> = good.lines().map(machine).collect();
    let (status, err) = from_stdin(&other.join("\n"));
    assert!(status == Some(1) && err.contains("of type vax"), "{err}");
    let (status, err) = from_stdin("format = 1\n");
    assert!(
        status == Some(1) && err.contains("standard input: not the manifest of a detached zone"),
        "{err}"
    );
    assert!(from_stdin("nonsense").1.contains("standard input:1:"));
    assert!(
        p.bad(&["attach", "-n", "/no/such"]).contains("could not open /no/such: No such file or directory")
    );
    assert!(p.bad(&["attach", "-F", "-n", &file]).contains("-F and -n flags are mutually exclusive"));
}
