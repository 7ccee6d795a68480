//! What `login`, `manage` and `clonefrom` allow, and for how long.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use super::login::session;
use super::{BIN, DAEMON, SYS, World, admins, request, until};
use crate::lab::Run;

#[test]
fn manage_is_for_the_life_of_the_zone() {
    let Some(w) = World::new() else { return };
    w.lab.configure("zion", &admins(&[("bin", "manage"), ("daemon", "login,config")]));
    for (uid, name) in [(DAEMON, "daemon"), (SYS, "sys")] {
        for verb in ["install", "uninstall", "ready", "boot", "halt", "verify", "detach", "attach"] {
            let why = format!(
                "zoneadm: zone 'zion': User {name} is not authorized to {verb} this zone (solaris.zone.manage/zion).\n"
            );
            w.refused(uid, "zoneadm", &["-z", "zion", verb], &why);
        }
    }
    let manage = |args: &[&str]| w.ok(BIN, "zoneadm", &[&["-z", "zion"], args].concat());
    manage(&["verify"]);
    manage(&["install"]);
    assert!(manage(&["plan", "boot"]).contains("init"));
    manage(&["boot"]);
    assert_eq!(w.lab.state("zion"), "running");
    // It is the zone that root would have booted: what the broker ignores for itself is not ignored there.
    let signals = || {
        let status =
            fs::read_to_string(format!("/proc/{}/status", crate::lab::record(&w.lab, "zion", "init")));
        let wanted = ["SigBlk:", "SigIgn:", "Cap", "NoNewPrivs:"];
        let status = status.expect("a status");
        status
            .lines()
            .filter(|l| wanted.iter().any(|w| l.starts_with(w)))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    std::thread::sleep(std::time::Duration::from_millis(200));
    let of_user = signals();
    w.lab.ok("zoneadm", &["-z", "zion", "halt"]);
    w.lab.ok("zoneadm", &["-z", "zion", "boot"]);
    // Init blocks signals for moments.
    let same = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        of_user == signals()
    });
    assert!(same, "{of_user:?}, and of root {:?}", signals());
    assert_eq!(w.ok(BIN, "zlogin", &["zion", "id -u; uname -n"]), "0\nzion\n");
    manage(&["reboot"]);
    manage(&["shutdown"]);
    assert_eq!(w.lab.state("zion"), "installed");
    manage(&["ready"]);
    manage(&["halt"]);
    manage(&["mark", "incomplete"]);
    manage(&["uninstall", "-F"]);
    assert_eq!(w.lab.state("zion"), "configured");
    // List is everybody's, with or without a broker.
    assert!(w.ok(SYS, "zoneadm", &["list", "-cn"]).contains("zion"));
    let log = w.log();
    assert!(log.contains("zone 'zion': plan boot: allowed"), "{log}");
    assert!(log.contains("uid 2 (bin), pid ") && log.contains("zone 'zion': boot: allowed"), "{log}");
    assert!(log.contains("uid 3 (sys), pid ") && log.contains("zone 'zion': boot: refused: "), "{log}");
}

#[test]
fn what_reaches_into_the_host_is_for_root() {
    let Some(w) = World::new() else { return };
    w.lab.installed("zion", &admins(&[("bin", "manage,clonefrom,login,config")]));
    w.lab.configure("whole", &format!("remove -F inherit-pkg-dir\n{}", admins(&[("bin", "manage")])));
    w.lab.configure("new", &admins(&[("bin", "manage")]));
    let secret = w.lab.path().join("secret");
    fs::write(&secret, "the secret of root\n").expect("a file");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("chmod");
    let secret = secret.display().to_string();
    let root = w.lab.path().display().to_string();
    let before = w.lab.ok("zoneadm", &["list", "-cp"]);
    for args in [
        &["-z", "zion", "mark", "-F", "configured"][..],
        &["-z", "zion", "boot", "-w"],
        &["-z", "zion", "attach", "-F"],
        &["-z", "zion", "attach", "-u"],
        &["-z", "new", "install", "-d", "/"],
        &["-z", "new", "install", "-a", &secret],
        &["-z", "new", "install", "-o", "/"],
        &["-z", "new", "install", "-s", "bookworm"],
        &["-z", "whole", "install"],
        &["-z", "new", "clone", "-s", "tank/other@now", "zion"],
        &["-z", "new", "clone", "--with-datasets", "zion"],
    ] {
        w.refused(BIN, "zoneadm", args, "for root only");
    }
    w.refused(
        BIN,
        "zoneadm",
        &["-z", "zion", "move", "/zones/elsewhere"],
        "only a privileged user may move a zone.",
    );
    // What the client does by itself, asked for all the same by one who does not use the client.
    for args in [
        &["-z", "zion", "attach", "-n", &secret][..],
        &["-R", &root, "-z", "zion", "boot"],
        &["-z", "zion", "list"],
        &["doctor"],
        &["reclaim", "tank"],
    ] {
        let answer = w.raw(BIN, |channel| {
            channel.send_bytes(&request("zoneadm", "000", args)).expect("sent");
            assert_eq!(channel.receive().expect("an answer").text, "open");
            channel.send_bytes(b"go").expect("sent");
        });
        assert_eq!(answer.as_deref(), Some("exit 1"), "{args:?}");
    }
    // A file that only root may read is not read for others.
    let run = w.run(BIN, "zonecfg", &["-z", "zion", "-f", &secret]);
    assert!(
        run.status != 0 && run.err.contains("Permission denied") && !run.err.contains("secret of"),
        "{run:?}"
    );
    let link = w.lab.path().join("link");
    std::os::unix::fs::symlink(&secret, &link).expect("a link");
    let run = w.run(BIN, "zonecfg", &["-z", "zion", "-f", &link.display().to_string()]);
    assert!(run.status != 0 && run.err.contains("Permission denied"), "{run:?}");
    let out = w.lab.path().join("usr-written").display().to_string();
    let run = w.run(BIN, "zonecfg", &["-z", "zion", "export", "-f", &out]);
    assert!(run.status != 0 && fs::metadata(&out).is_err(), "{run:?}");
    assert_eq!(w.lab.ok("zoneadm", &["list", "-cp"]), before);
}

#[test]
fn a_right_that_is_taken_away_while_an_operation_waits_is_gone() {
    use zones::apply::{paths::Root, store::FileStore};
    let Some(w) = World::new() else { return };
    let admins = admins(&[("bin", "manage")]);
    let store = FileStore::open(Root::new(Some(w.lab.path())));
    for (verb, zone) in
        [("install", "zion"), ("boot", "neo"), ("ready", "trin"), ("mark incomplete", "cypher")]
    {
        w.lab.configure(zone, &admins);
        if verb != "install" {
            w.lab.ok("zoneadm", &["-z", zone, "install"]);
        }
        let before = w.lab.state(zone);
        let lock = store.lock(&zones::spec::ZoneName::new(zone).expect("a name"), "test").expect("a lock");
        let args: Vec<_> = ["-z", zone].into_iter().chain(verb.split(' ')).collect();
        let child = w.command(BIN, "zoneadm", &args).stderr(Stdio::piped()).spawn().expect("zoneadm");
        let verb = args[2];
        until("the first look", || w.log().contains(&format!("zone '{zone}': {verb}: allowed")));
        // By an editor: zonecfg would wait for the lock as well.
        let file = w.lab.path().join(format!("etc/zones.d/{zone}.toml"));
        let text = fs::read_to_string(&file).expect("a spec");
        assert!(text.contains("\"bin\""), "{text}");
        fs::write(&file, text.replace("\"bin\"", "\"daemon\"")).expect("written");
        drop(lock);
        let run = Run::from(child.wait_with_output().expect("it ends"));
        let refusal = format!("User bin is not authorized to {verb} this zone");
        assert!(run.status == 1 && run.err.contains(&refusal), "{run:?}");
        assert_eq!(w.lab.state(zone), before);
    }
}

#[test]
fn an_operation_goes_on_without_its_user_unless_interrupted() {
    use zones::apply::{paths::Root, store::FileStore};
    let Some(w) = World::new() else { return };
    w.lab.configure("zion", &admins(&[("bin", "manage")]));
    let store = FileStore::open(Root::new(Some(w.lab.path())));
    let name = zones::spec::ZoneName::new("zion").expect("a name");
    let connections = || {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", w.broker.id()));
        children.expect("a broker").split_whitespace().count()
    };
    let waits = || {
        until("the end of what was before", || connections() == 0);
        let lock = store.lock(&name, "test").expect("a lock");
        let before = w.log().matches("install: allowed").count();
        let s = session(&w, BIN, "zoneadm -z zion install");
        until("the first look", || w.log().matches("install: allowed").count() > before);
        (lock, s)
    };
    // Interrupted at the terminal: it ends, and nothing has begun.
    let (lock, mut s) = waits();
    s.send_control('c').expect("sent");
    // The shell is interrupted with it, as the terminal has it.
    s.exp_eof().expect("the end");
    until("the end of the program", || connections() == 0);
    drop(lock);
    assert_eq!(w.lab.state("zion"), "configured");
    // It cannot be suspended, with the lock in its hands.
    let (lock, mut s) = waits();
    s.send_control('z').expect("sent");
    std::thread::sleep(Duration::from_millis(300));
    // The window is closed, and whoever is in it is killed.
    drop(s);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(connections(), 1);
    drop(lock);
    until("the installed zone", || w.lab.state("zion") == "installed");
    until("the end of the program", || connections() == 0);
    w.lab.ok("zoneadm", &["-z", "zion", "boot"]);
}

#[test]
fn a_clone_needs_rights_on_both_zones() {
    let Some(w) = World::new() else { return };
    w.lab.installed("source", &admins(&[("bin", "clonefrom"), ("sys", "manage")]));
    w.lab.configure("one", &admins(&[("bin", "manage"), ("sys", "manage")]));
    w.lab.configure("two", "");
    let clone = |to| ["-z", to, "clone", "source"];
    w.refused(BIN, "zoneadm", &clone("two"), "not authorized to clone this zone (solaris.zone.manage/two).");
    let why = "not authorized to clone zone source (solaris.zone.clonefrom/source).";
    w.refused(SYS, "zoneadm", &clone("one"), why);
    w.refused(BIN, "zoneadm", &["-z", "source", "boot"], "(solaris.zone.manage/source)");
    w.ok(BIN, "zoneadm", &clone("one"));
    assert_eq!(w.lab.state("one"), "installed");
}
