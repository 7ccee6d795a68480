//! What `config` allows.

use std::fs;
use std::io::Read;
use std::process::Stdio;

use super::{BIN, DAEMON, SYS, World, admins, become_user, request};
use zones::sys::channel::Channel;

#[test]
fn config_changes_what_is_the_zones_own() {
    let Some(w) = World::new() else { return };
    w.lab.configure("zion", &admins(&[("bin", "config"), ("daemon", "manage,login,clonefrom")]));
    let before = w.spec("zion");
    let set = |uid, text: &str| w.run(uid, "zonecfg", &["-z", "zion", text]);
    let good =
        set(BIN, "set autoboot=true; add attr; set name=comment; set type=string; set value=mine; end");
    assert_eq!((good.status, good.err.as_str()), (0, ""), "{good:?}");
    let spec = w.spec("zion");
    assert!(spec.contains("autoboot = true") && spec.contains("comment"), "{spec}");
    // A script of the user's own, as the user.
    let mut script = w.command(BIN, "zonecfg", &["-z", "zion"]);
    let mut child = script.stdin(Stdio::piped()).spawn().expect("zonecfg starts");
    use std::io::Write;
    child.stdin.take().expect("a pipe").write_all(b"set bootargs=\"-m verbose\"\ncommit\n").expect("sent");
    assert!(child.wait().expect("it ends").success());
    assert!(w.spec("zion").contains("verbose"));
    assert!(w.lab.ok("zonecfg", &["-z", "zion", "log"]).contains("bin"), "who saved it is known");

    let now = w.spec("zion");
    let dangerous = [
        ("fs", "add fs; set dir=/mnt; set special=/; set type=lofs; end"),
        ("device", "add device; set match=/dev/mem; end"),
        ("admin", "add admin; set user=sys; set auths=manage; end"),
        ("admin", "remove admin user=daemon"),
        ("admin", "select admin user=bin; set auths=config,manage; end"),
        ("dataset", "add dataset; set name=tank; end"),
        ("limitpriv", "set limitpriv=default,sys_time"),
        ("idmap", "add idmap; set start=0; set target=0; set count=65536; end"),
        ("inherit-pkg-dir", "add inherit-pkg-dir; set dir=/root; end"),
        ("zonepath", "set zonepath=/root"),
        ("rctl", "set max-lwps=100000"),
        ("ip-type", "set ip-type=exclusive"),
        ("attr best-effort", "add attr; set name=best-effort; set type=string; set value=capped-memory; end"),
        ("attr allow-syscalls", "add attr; set name=allow-syscalls; set type=string; set value=perf; end"),
        ("attr delegate-pool", "add attr; set name=delegate-pool; set type=string; set value=rpool; end"),
    ];
    for (what, text) in dangerous {
        let run = set(BIN, text);
        let why =
            format!("User bin is not authorized to change {what}: it is beyond solaris.zone.config/zion");
        assert!(run.status == 1 && run.err.contains(&why), "{text}: {run:?}");
        assert_eq!(w.spec("zion"), now, "{text}");
    }
    // With what is allowed, in one commit, and with force.
    let run =
        set(BIN, "set autoboot=false; add fs; set dir=/mnt; set special=/; set type=lofs; end; commit -F");
    assert!(run.status == 1 && w.spec("zion") == now, "{run:?}");
    for text in ["delete -F", "create -F", "set zonename=mine"] {
        let run = set(BIN, text);
        assert!(run.status == 1 && w.spec("zion") == now, "{text}: {run:?}");
    }
    assert!(!w.lab.path().join("etc/zones.d/mine.toml").exists());
    assert_eq!(w.run(BIN, "zonecfg", &["-z", "fresh", "create"]).status, 1);
    assert!(!w.lab.path().join("etc/zones.d/fresh.toml").exists());
    // An older spec is no way around it.
    w.lab.ok("zonecfg", &["-z", "zion", "remove admin user=daemon"]);
    let now = w.spec("zion");
    let run = set(BIN, "revert 1");
    assert!(run.status == 1 && w.spec("zion") == now, "{run:?}");

    for uid in [DAEMON, SYS] {
        let run = set(uid, "set autoboot=false");
        assert!(run.status == 1 && run.err.contains("(solaris.zone.config/zion)"), "{run:?}");
        assert!(w.ok(uid, "zonecfg", &["-z", "zion", "info autoboot"]).contains("true"));
    }
    assert!(w.spec("zion") == now && before != now);
    let log = w.log();
    assert!(
        log.contains("(bin)") && log.contains("config: allowed") && log.contains("config: refused: "),
        "{log}"
    );
}

#[test]
fn a_spec_that_changed_meanwhile_is_not_overwritten() {
    let Some(w) = World::new() else { return };
    w.lab.configure("zion", &admins(&[("bin", "config")]));
    let old = w.spec("zion");
    // One who has kept the old text and brings it as what the edit began with.
    w.lab.ok("zonecfg", &["-z", "zion", "add attr; set name=roots; set type=string; set value=x; end"]);
    let now = w.spec("zion");
    let commit = |text: Vec<u8>| {
        let socket = w.socket();
        std::thread::spawn(move || {
            become_user(BIN);
            let channel = Channel::connect(&socket).expect("a broker");
            channel.send_bytes(&request("zonecfg", "001", &["-z", "zion"])).expect("sent");
            let mut fds = channel.receive().expect("an answer").fds.into_iter();
            channel.send_bytes(b"go").expect("sent");
            let mut input = fs::File::from(fds.next().expect("a way in"));
            let _ = std::io::Write::write_all(&mut input, &text);
            drop(input);
            let mut errors = String::new();
            fs::File::from(fds.nth(1).expect("a way out")).read_to_string(&mut errors).expect("text");
            let told = channel.receive_bytes(100, 20_000).expect("an end").expect("an end");
            (String::from_utf8_lossy(&told).into_owned(), errors)
        })
        .join()
        .expect("a talk")
    };
    let joined = |a: &str, b: &str| [a.as_bytes(), &[0], b.as_bytes()].concat();
    assert_eq!(commit(joined(&old, &old)).0, "exit 3");
    // What is saved counts, not what the client says that it was.
    let evil = now.replace("auths = ", "auths = \"manage\" #");
    assert_ne!(evil, now);
    assert_eq!(commit(joined(&evil, &evil)).0, "exit 3");
    let (told, errors) = commit(joined(&now, &evil));
    assert!(told == "exit 1" && errors.contains("not authorized to change admin"), "{told} {errors}");
    for bad in
        [Vec::new(), vec![0], b"no zero".to_vec(), joined(&now, "format = 1\nnonsense"), vec![b'x'; 3 << 20]]
    {
        assert!(matches!(commit(bad).0.as_str(), "exit 1" | "exit 3"));
    }
    assert_eq!(w.spec("zion"), now);
}
