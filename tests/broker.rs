//! `zonesd`: users of the host do with zones what `admin` resources allow, and nothing else.
//!
//! The users are those that every host has: daemon (1), bin (2), sys (3). None of them is root.

mod lab;

use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lab::{Lab, Run};
use rexpect::session::{PtySession, spawn_command};
use zones::sys::channel::Channel;

const DAEMON: u32 = 1;
const BIN: u32 = 2;
const SYS: u32 = 3;

/// A lab that users can reach, with a broker.
struct World {
    /// Goes first.
    broker: Child,
    lab: Lab,
}

impl World {
    fn new() -> Option<Self> {
        let lab = Lab::new()?;
        fs::set_permissions(lab.path(), fs::Permissions::from_mode(0o711)).expect("chmod");
        let programs = lab.path().join("programs");
        fs::create_dir(&programs).expect("a folder");
        for built in
            [env!("CARGO_BIN_EXE_zoneadm"), env!("CARGO_BIN_EXE_zlogin"), env!("CARGO_BIN_EXE_zonecfg")]
        {
            let name = programs.join(PathBuf::from(built).file_name().expect("a name"));
            // Users cannot reach where they were built.
            if fs::hard_link(built, &name).is_err() {
                fs::copy(built, &name).expect("a copy");
            }
        }
        let broker = start(&lab);
        Some(Self { broker, lab })
    }

    fn socket(&self) -> PathBuf {
        self.lab.path().join("run/zones/.broker")
    }

    fn program(&self, name: &str) -> String {
        self.lab.path().join("programs").join(name).display().to_string()
    }

    /// Returns a program that is to run as a user.
    fn command(&self, uid: u32, program: &str, args: &[&str]) -> Command {
        let id = uid.to_string();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups", &self.program(program)]).args(args);
        command.env("ZONES_ROOT", self.lab.path()).env("TERM", "dumb").stdin(Stdio::null());
        command
    }

    fn run(&self, uid: u32, program: &str, args: &[&str]) -> Run {
        self.command(uid, program, args).output().expect("setpriv of util-linux").into()
    }

    fn ok(&self, uid: u32, program: &str, args: &[&str]) -> String {
        let run = self.run(uid, program, args);
        assert_eq!(run.status, 0, "{program} {args:?} of {uid}: {run:?}");
        run.out
    }

    /// Runs what must be refused with this text, and nothing on standard output.
    fn refused(&self, uid: u32, program: &str, args: &[&str], why: &str) {
        let run = self.run(uid, program, args);
        assert!(
            run.status == 1 && run.err.contains(why) && run.out.is_empty(),
            "{program} {args:?}: {run:?}"
        );
    }

    fn spec(&self, zone: &str) -> String {
        fs::read_to_string(self.lab.path().join(format!("etc/zones.d/{zone}.toml"))).expect("a spec")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.lab.path().join("var/lib/zones/.broker.log")).unwrap_or_default()
    }

    /// Sends a request as a user and returns what the broker answers to it, none when it hangs up.
    fn raw(&self, uid: u32, speak: impl FnOnce(&Channel) + Send) -> Option<String> {
        let socket = self.socket();
        std::thread::scope(|scope| {
            let talk = scope.spawn(move || {
                become_user(uid);
                let channel = Channel::connect(&socket).expect("a broker");
                speak(&channel);
                channel.receive_bytes(4096, 20_000).expect("an answer")
            });
            talk.join().expect("a talk").map(|b| String::from_utf8_lossy(&b).into_owned())
        })
    }
}

/// This thread alone: that is how the kernel sees who connects.
fn become_user(uid: u32) {
    let gid = rustix::fs::Gid::from_raw(uid);
    let uid = rustix::fs::Uid::from_raw(uid);
    rustix::thread::set_thread_res_gid(gid, gid, gid).expect("root may");
    rustix::thread::set_thread_res_uid(uid, uid, uid).expect("root may");
}

fn start(lab: &Lab) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zonesd"));
    command.env("ZONES_ROOT", lab.path()).stdin(Stdio::null());
    let broker = command.spawn().expect("zonesd starts");
    let socket = lab.path().join("run/zones/.broker");
    until("the broker", || fs::metadata(&socket).is_ok_and(|m| m.file_type().is_socket()));
    broker
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.broker.id().to_string()).status();
        let _ = self.broker.wait();
    }
}

fn until(what: &str, mut there: impl FnMut() -> bool) {
    let start = Instant::now();
    while !there() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}: waited for in vain");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Lines of a spec that give authorizations.
fn admins(list: &[(&str, &str)]) -> String {
    list.iter().map(|(user, auths)| format!("add admin\nset user={user}\nset auths={auths}\nend\n")).collect()
}

/// What the client of this release sends.
fn request(program: &str, flags: &str, args: &[&str]) -> Vec<u8> {
    let mut words = vec!["zones-broker 1", program, flags, "", ""];
    words.extend(args);
    words.join("\0").into_bytes()
}

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
        let status = fs::read_to_string(format!("/proc/{}/status", lab::record(&w.lab, "zion", "init")));
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
    w.lab.configure("zion", &admins(&[("bin", "manage")]));
    let store = FileStore::open(Root::new(Some(w.lab.path())));
    let lock = store.lock(&zones::spec::ZoneName::new("zion").expect("a name")).expect("a lock");
    let child = w
        .command(BIN, "zoneadm", &["-z", "zion", "install"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("zoneadm");
    until("the first look", || w.log().contains("install: allowed"));
    w.lab.ok("zonecfg", &["-z", "zion", "remove admin user=bin"]);
    drop(lock);
    let run = Run::from(child.wait_with_output().expect("it ends"));
    assert!(
        run.status == 1 && run.err.contains("User bin is not authorized to install this zone"),
        "{run:?}"
    );
    assert_eq!(w.lab.state("zion"), "configured");
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
        let lock = store.lock(&name).expect("a lock");
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

#[test]
fn login_needs_a_password_of_the_zone() {
    let Some(w) = World::new() else { return };
    w.lab.installed("zion", &admins(&[("daemon", "login")]));
    w.lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let command = "daemon is not authorized for failsafe or non-interactive login to zion zone (solaris.zone.manage/zion).";
    w.refused(DAEMON, "zlogin", &["zion", "id"], command);
    w.refused(DAEMON, "zlogin", &["-S", "zion", "id"], command);
    w.refused(DAEMON, "zlogin", &["zion"], command);
    let console = "daemon is not authorized for console access to zion zone (solaris.zone.manage/zion).";
    w.refused(DAEMON, "zlogin", &["-C", "zion"], console);
    w.refused(SYS, "zlogin", &["zion", "id"], "sys is not authorized for failsafe or non-interactive login");
    // At a terminal: with a password, made here for a user of the zone.
    let made = w.lab.sh(
        "zion",
        "useradd -m -s /bin/sh ann && echo ann:open-sesame | chpasswd && test -x /bin/login && echo made",
    );
    let mut s = session(&w, SYS, "zlogin zion");
    expect(&mut s, "sys is not authorized to login to zion zone (solaris.zone.login/zion).");
    let mut s = session(&w, DAEMON, "zlogin -l -froot zion");
    expect(&mut s, "no user name begins with '-'");
    let mut s = session(&w, DAEMON, "zlogin -i zion id");
    expect(&mut s, "not authorized for failsafe or non-interactive login");
    if made.out != "made\n" {
        eprintln!("SKIPPED: no user with a password can be made here: {made:?}");
        return;
    }
    let mut s = session(&w, DAEMON, "zlogin -l ann zion");
    expect(&mut s, "assword:");
    s.send_line("wrong").expect("sent");
    expect(&mut s, "ncorrect");
    drop(s);
    let mut s = session(&w, DAEMON, "zlogin -l ann zion");
    expect(&mut s, "assword:");
    s.send_line("open-sesame").expect("sent");
    // login(1) throws away what was typed before it was asked for.
    expect(&mut s, "$ ");
    s.send_line("id -un; uname -n").expect("sent");
    expect(&mut s, "ann\r\nzion\r\n");
}

fn session(w: &World, uid: u32, words: &str) -> PtySession {
    let mut words = words.split(' ');
    let program = w.program(words.next().expect("a program"));
    let args: Vec<&str> = words.collect();
    let script = format!("{program} {}; echo status=$?", args.join(" "));
    shell(w, uid, &script)
}

/// Runs a script of a user at a terminal.
fn shell(w: &World, uid: u32, script: &str) -> PtySession {
    let id = uid.to_string();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "bash", "-c", script]);
    command.env("ZONES_ROOT", w.lab.path()).env("TERM", "dumb");
    spawn_command(command, Some(20_000)).expect("a terminal")
}

fn expect(session: &mut PtySession, what: &str) -> String {
    session.exp_string(what).unwrap_or_else(|e| panic!("waiting for {what:?}: {e}"))
}

#[test]
fn a_terminal_through_the_broker() {
    let Some(w) = World::new() else { return };
    w.lab.installed("zion", &admins(&[("bin", "manage")]));
    w.lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let zlogin = w.program("zlogin");
    // A session: a terminal of the zone with the size and modes of the caller's, which come back.
    let script = format!(
        "stty rows 50 cols 132; before=$(stty -g); tty; {zlogin} zion; echo status=$?; \
         test \"$before\" = \"$(stty -g)\" && echo same"
    );
    let mut s = shell(&w, BIN, &script);
    let tty = s.read_line().expect("a line");
    expect(&mut s, "[Connected to zone 'zion' pts/");
    s.send_line("PS1=; echo READY").expect("sent");
    expect(&mut s, "READY\r\n");
    s.send_line("stty size; echo $TERM; echo E''ND").expect("sent");
    assert!(expect(&mut s, "END\r\n").contains("50 132\r\ndumb\r\n"));
    assert!(
        Command::new("stty").args(["-F", &tty, "rows", "33", "cols", "99"]).status().expect("stty").success()
    );
    until("the new size", || {
        s.send_line("stty size; echo E''ND").expect("sent");
        expect(&mut s, "END\r\n").contains("33 99")
    });
    // The interrupt character is for the program in the zone.
    s.send_line("sleep 100; echo int=$?").expect("sent");
    std::thread::sleep(Duration::from_millis(500));
    s.send_control('c').expect("sent");
    s.send_line("echo int=$?").expect("sent");
    expect(&mut s, "int=130");
    s.send_line("exit 3").expect("sent");
    expect(&mut s, "closed]");
    expect(&mut s, "status=0");
    expect(&mut s, "same");

    // Escapes are for the zlogin that works for the user; the console is one of them.
    let mut s = session(&w, BIN, "zlogin -C zion");
    expect(&mut s, "[Connected to zone 'zion' console]");
    s.send("\r~.").expect("sent");
    s.flush().expect("sent");
    expect(&mut s, "console closed]");
    expect(&mut s, "status=0");

    // A command: its status, also that of a signal; its streams apart; interrupted by the terminal.
    let mut s = session(&w, BIN, "zlogin zion exit 7");
    expect(&mut s, "status=7");
    let mut s = session(&w, BIN, "zlogin zion sleep 100");
    std::thread::sleep(Duration::from_secs(1));
    s.send_control('c').expect("sent");
    expect(&mut s, "status=130");
    let run = w.run(BIN, "zlogin", &["zion", "echo out; echo err >&2; kill -9 $$"]);
    assert_eq!((run.out.as_str(), run.err.as_str(), run.status), ("out\n", "err\n", 137));
    // Suspended and continued by the shell of the user.
    let mut s = shell(
        &w,
        BIN,
        &format!("set -m; {zlogin} zion 'sleep 3; echo slept'; echo stopped=$?; fg; echo end=$?"),
    );
    std::thread::sleep(Duration::from_secs(1));
    s.send_control('z').expect("sent");
    expect(&mut s, "stopped=14");
    expect(&mut s, "slept");
    expect(&mut s, "end=0");
    // The question of uninstall, answered at the terminal of the user.
    w.lab.installed("gone", &admins(&[("bin", "manage")]));
    w.refused(BIN, "zoneadm", &["-z", "gone", "uninstall"], "Input not from terminal and -F not specified");
    let mut s = session(&w, BIN, "zoneadm -z gone uninstall");
    expect(&mut s, "Are you sure you want to uninstall zone gone (y/[n])? ");
    s.send_line("y").expect("sent");
    expect(&mut s, "status=0");
    assert_eq!(w.lab.state("gone"), "configured");
    // What is piped in and out is carried whole.
    let mut command = w.command(BIN, "zlogin", &["zion", "md5sum; head -c 3000000 /dev/zero"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("zlogin starts");
    let mut input = child.stdin.take().expect("a pipe");
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut input, &vec![b'x'; 1 << 20]));
    let out = child.wait_with_output().expect("it ends");
    writer.join().expect("a thread").expect("all is read");
    let digest = "b561f87202d04959e37588ee05cf5b10";
    assert!(String::from_utf8_lossy(&out.stdout[..40]).starts_with(digest), "{:?}", &out.stdout[..40]);
    assert_eq!(out.stdout.iter().filter(|b| **b == 0).count(), 3_000_000);
}

#[test]
fn a_client_that_is_killed_leaves_nothing_half_done() {
    let Some(w) = World::new() else { return };
    w.lab.installed("zion", &admins(&[("bin", "manage")]));
    // The operation is finished.
    for wait in [0, 20, 60, 150] {
        let mut child = w.command(BIN, "zoneadm", &["-z", "zion", "boot"]).spawn().expect("zoneadm starts");
        std::thread::sleep(Duration::from_millis(wait));
        child.kill().expect("killed");
        child.wait().expect("it ends");
        std::thread::sleep(Duration::from_millis(300));
        // It waits for an operation that goes on.
        let run = w.lab.run("zoneadm", &["-z", "zion", "boot"]);
        assert!(run.status == 0 || run.err.contains("already"), "{run:?}");
        assert_eq!(w.lab.state("zion"), "running", "after {wait} ms");
        assert_eq!(w.lab.sh("zion", "echo up").out, "up\n");
        w.lab.ok("zoneadm", &["-z", "zion", "halt"]);
    }
    w.lab.ok("zoneadm", &["-z", "zion", "boot"]);
    // A session ends with its client, and the connection with it.
    let mut child = w.command(BIN, "zlogin", &["zion", "sleep 1234"]).spawn().expect("zlogin starts");
    until("the command", || w.lab.sh("zion", "pgrep -f 'sleep 1234'").status == 0);
    child.kill().expect("killed");
    child.wait().expect("it ends");
    until("the end of the command", || w.lab.sh("zion", "pgrep -x sleep").status != 0);
    until("the end of the connection", || {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", w.broker.id()));
        children.expect("a broker").is_empty()
    });
    // The broker may go: what it has begun does not.
    let mut s = session(&w, BIN, "zlogin -Q zion");
    s.send_line("PS1=; echo REA''DY").expect("sent");
    expect(&mut s, "READY");
    let World { broker, lab } = &w;
    let zoneadm = w.program("zoneadm");
    assert!(Command::new("kill").arg(broker.id().to_string()).status().expect("kill").success());
    until("the end of the broker", || !lab.path().join("run/zones/.broker").exists());
    s.send_line("echo still''here").expect("sent");
    expect(&mut s, "stillhere");
    s.send_line("exit").expect("sent");
    expect(&mut s, "status=0");
    assert_eq!(lab.state("zion"), "running");
    let run = w.run(BIN, "zoneadm", &["-z", "zion", "halt"]);
    assert!(run.status == 1 && run.err.contains("only a privileged user may halt a zone."), "{run:?}");
    let mut s = shell(&w, BIN, &format!("{zoneadm} -z zion halt"));
    expect(&mut s, "admin has no effect: no broker listens at ");
    let run = w.lab.run("zoneadm", &["-z", "zion", "verify"]);
    assert!(run.err.contains("no broker listens"), "{run:?}");
    // The file of one that was killed is in nobody's way, nor are sessions that go on.
    fs::remove_file(lab.path().join("run/zones/.broker")).ok();
    let mut second = start(lab);
    let mut s = session(&w, BIN, "zlogin -Q zion");
    s.send_line("PS1=; echo REA''DY").expect("sent");
    expect(&mut s, "READY");
    second.kill().expect("killed");
    second.wait().expect("it ends");
    s.send_line("echo still''here").expect("sent");
    expect(&mut s, "stillhere");
    assert!(w.run(BIN, "zoneadm", &["-z", "zion", "halt"]).err.contains("only a privileged user"));
    let mut third = start(lab);
    until("the third broker", || w.run(BIN, "zoneadm", &["-z", "zion", "verify"]).status == 0);
    w.ok(BIN, "zoneadm", &["-z", "zion", "halt"]);
    third.kill().expect("killed");
    third.wait().expect("it ends");
}

#[test]
fn nobody_is_believed_about_who_he_is() {
    let Some(w) = World::new() else { return };
    w.lab.installed("zion", &admins(&[("bin", "manage")]));
    let boot = request("zoneadm", "000", &["-z", "zion", "boot"]);
    // What a client says about itself, in the request and in its own environment.
    let run = w
        .command(SYS, "zoneadm", &["-z", "zion", "boot"])
        .env("ZONES_CALLER", "2:1:bin")
        .env("USER", "bin")
        .env("LOGNAME", "bin")
        .output();
    let run = Run::from(run.expect("it runs"));
    assert!(run.err.contains("User sys is not authorized"), "{run:?}");
    // Descriptors and credentials that come with it.
    let null = fs::File::open("/dev/null").expect("a file");
    let answer = w.raw(BIN, |channel| {
        let text = String::from_utf8(boot.clone()).expect("text");
        channel.send(&text, &[std::os::fd::AsFd::as_fd(&null)]).expect("sent");
    });
    assert_eq!(answer.as_deref(), Some("refused descriptors with a request"));
    // Perl sends the credentials of process 1, which root may do and others may not; neither counts.
    let forged = r#"
        use Socket;
        my ($uid, $path) = @ARGV;
        socket(my $s, AF_UNIX, 5, 0) or die; connect($s, sockaddr_un($path)) or die "connect: $!";
        my $text = "zones-broker 1\0zoneadm\x00000\0\0\0-z\0zion\0boot";
        my $iov = pack("PQ", $text, length $text);
        my $ids = pack("iii", $$, 2, 2);
        my $control = pack("Qii", 16 + 12, 1, 2) . $ids . "\0" x 4;
        my $msg = pack("QLx4PQPQi", 0, 0, $iov, 1, $control, 28, 0);
        my $sent = syscall(46, fileno($s), $msg, 0x4000);
        print "not sent: $!\n" if $sent < 0;
        if ($sent < 0) { send($s, $text, 0) }
        recv($s, my $answer, 4096, 0); print "$answer\n";
        send($s, "go", 0); recv($s, $answer, 4096, 0); print "$answer\n";
    "#;
    for (uid, as_root) in [(SYS, false), (0, true)] {
        let mut perl = Command::new("setpriv");
        let id = uid.to_string();
        perl.args(["--reuid", &id, "--regid", &id, "--clear-groups", "perl", "-e", forged, &id])
            .arg(w.socket());
        let out = perl.output().expect("perl runs");
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let good =
            if as_root { text.contains("refused root needs no broker") } else { text.contains("exit 1") };
        assert!(good, "{text} {}", String::from_utf8_lossy(&out.stderr));
    }
    // A user of the host who has no name there, whatever a zone calls that number.
    w.lab.ok("zoneadm", &["-z", "zion", "boot"]);
    w.lab.sh("zion", "echo 'bin:x:54321:54321::/:/bin/sh' >> /etc/passwd");
    w.refused(54321, "zoneadm", &["-z", "zion", "halt"], "user id 54321 has no name on this host");
    w.refused(SYS, "zoneadm", &["-z", "zion", "halt"], "User sys is not authorized");
    // Of another user namespace, where bin of the host may be called root.
    let ask = r#"
        use Socket; socket(my $s, AF_UNIX, 5, 0) or die; connect($s, sockaddr_un($ARGV[0])) or die "connect: $!";
        send($s, "zones-broker 1\0zoneadm\x00000\0\0\0-z\0zion\0halt", 0); recv($s, my $b, 4096, 0); print "$b\n";
    "#;
    let mut perl = Command::new("setpriv");
    perl.args(["--reuid", "2", "--regid", "2", "--clear-groups", "unshare", "-U", "-r", "perl", "-e", ask]);
    let out = perl.arg(w.socket()).output().expect("perl runs");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!(text, "refused the caller is in another user namespace than this host\n", "{out:?}");
    // A process of the zone that is given the socket in spite of all. The zone itself has none.
    let seen = w.lab.sh("zion", "ls -a /run/zones 2>&1; grep -c broker /proc/net/unix");
    assert!(!seen.out.contains(".broker"), "{seen:?}");
    let pid = lab::record(&w.lab, "zion", "init");
    let mut perl = Command::new("nsenter");
    // Its user, process and network namespace, with the files of the host.
    perl.args(["-t", &pid, "-U", "-p", "-n", "-S", "0", "-G", "0", "perl", "-e", ask]);
    let folder = w.lab.path();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("chmod");
    let out = perl.arg(w.socket()).output().expect("perl runs");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!(text, "refused the caller is in another user namespace than this host\n", "{out:?}");
    assert_eq!(w.lab.state("zion"), "running");
    assert!(w.log().contains("another user namespace"));
}

#[test]
fn nobody_waits_for_somebody_else() {
    let Some(w) = World::new() else { return };
    w.lab.installed("zion", &admins(&[("bin", "manage")]));
    // Some who say nothing at all.
    let socket = w.socket();
    let silent = std::thread::spawn(move || {
        become_user(SYS);
        (0..32).map(|_| Channel::connect(&socket).expect("a broker")).collect::<Vec<_>>()
    });
    let silent = silent.join().expect("a thread");
    let start = Instant::now();
    w.ok(BIN, "zoneadm", &["-z", "zion", "verify"]);
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    // They have used up what one user may have, and nobody else's.
    w.refused(SYS, "zoneadm", &["-z", "zion", "verify"], "too many connections of user id 3");
    let told = silent[0].receive_bytes(4096, 20_000).expect("an answer").expect("an answer");
    assert_eq!(String::from_utf8_lossy(&told), "refused no request in time");
    drop(silent);
    until("the end of their connections", || {
        w.run(SYS, "zoneadm", &["-z", "zion", "verify"]).err.contains("User sys is not authorized")
    });
    // Too long, and noise.
    let long = vec![b'x'; 100_000];
    let answer = w.raw(BIN, |c| c.send_bytes(&long).expect("sent"));
    assert_eq!(answer.as_deref(), Some("refused a request of more than 65536 bytes"));
    for noise in [&b"\0"[..], b"zones-broker 1", b"zones-broker 1\0sh\x00000\0\0\0-c\0id", &[0xff; 64]] {
        let answer = w.raw(BIN, |c| c.send_bytes(noise).expect("sent"));
        assert!(
            answer.is_some_and(|a| a.starts_with("refused a request that is not understood")),
            "{noise:?}"
        );
    }
    // Words are words: no shell, no option of another program, no second line in the log.
    let evil = request("zlogin", "000", &["zion\nuid 0 (root), pid 1: all allowed", "$(touch /x)"]);
    let answer = w.raw(SYS, |c| {
        c.send_bytes(&evil).expect("sent");
        assert_eq!(c.receive().expect("an answer").text, "open");
        c.send_bytes(b"go").expect("sent");
    });
    assert_eq!(answer.as_deref(), Some("exit 1"));
    assert!(w.log().lines().all(|l| !l.starts_with("uid 0")), "{}", w.log());
    // Nothing of this has ended the broker.
    w.ok(BIN, "zoneadm", &["-z", "zion", "verify"]);
}

#[test]
fn the_worker_has_nothing_of_the_client() {
    let Some(w) = World::new() else { return };
    w.lab.installed("zion", &admins(&[("bin", "manage")]));
    w.lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let mut command = w.command(BIN, "zlogin", &["zion", "sleep 77"]);
    command
        .env("LD_PRELOAD", "/x.so")
        .env("PAGER", "x")
        .env("HOME", "/x")
        .env("LANG", "de_DE.UTF-8")
        .env("TERM", "a;b");
    let mut child = command.current_dir("/tmp").spawn().expect("zlogin starts");
    let worker = || {
        let broker = w.broker.id();
        let children =
            |pid: &str| fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let monitor = children(&broker.to_string());
        let monitor = monitor.split_whitespace().next()?.to_owned();
        let worker = children(&monitor).split_whitespace().next()?.to_owned();
        let comm = fs::read_to_string(format!("/proc/{worker}/comm")).ok()?;
        (comm.trim() == "zlogin").then_some(worker)
    };
    until("the worker", || worker().is_some());
    until("the command", || w.lab.sh("zion", "pgrep -f 'sleep 77'").status == 0);
    let pid = worker().expect("a worker");
    let env = fs::read(format!("/proc/{pid}/environ")).expect("an environment");
    let mut names: Vec<_> = env
        .split(|b| *b == 0)
        .filter(|v| !v.is_empty())
        .map(|v| String::from_utf8_lossy(v).split('=').next().unwrap_or_default().to_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["LANG", "PATH", "ZONES_CALLER", "ZONES_ROOT"]);
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).expect("a folder"), PathBuf::from("/"));
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a status");
    assert!(status.contains("Umask:\t0022") && status.contains("Uid:\t0\t0\t0\t0"), "{status}");
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("limits");
    let core = limits.lines().find(|l| l.starts_with("Max core")).expect("a limit");
    assert!(core.split_whitespace().nth(4) == Some("0"), "{core}");
    // Its streams are pipes of the broker's; nothing is open that the client has.
    for (stream, kind) in [(0, "pipe:"), (1, "pipe:"), (2, "pipe:")] {
        let link = fs::read_link(format!("/proc/{pid}/fd/{stream}")).expect("a stream");
        assert!(link.display().to_string().starts_with(kind), "{link:?}");
    }
    child.kill().expect("killed");
    child.wait().expect("it ends");
}

#[test]
fn a_socket_of_the_service_manager() {
    let Some(lab) = Lab::new() else { return };
    fs::set_permissions(lab.path(), fs::Permissions::from_mode(0o711)).expect("chmod");
    lab.configure("zion", &admins(&[("bin", "manage")]));
    fs::create_dir_all(lab.path().join("run/zones")).expect("a folder");
    let socket = lab.path().join("run/zones/.broker");
    // As systemd does it: a listening socket as descriptor 3.
    let perl = r#"
        use Socket; use POSIX; $^F = 9;
        socket(my $s, AF_UNIX, $ARGV[1], 0) or die; bind($s, sockaddr_un($ARGV[0])) or die "bind: $!"; listen($s, 5);
        chmod 0666, $ARGV[0];
        POSIX::dup2(fileno($s), 3); $ENV{LISTEN_PID} = $$; $ENV{LISTEN_FDS} = 1; exec($ARGV[2]) or die;
    "#;
    let begin = |kind: &str| {
        let _ = fs::remove_file(&socket);
        let mut command = Command::new("perl");
        command.args(["-e", perl]).arg(&socket).arg(kind).arg(env!("CARGO_BIN_EXE_zonesd"));
        command.env("ZONES_ROOT", lab.path()).stderr(Stdio::piped()).spawn().expect("perl starts")
    };
    let wrong = begin("1").wait_with_output().expect("it ends");
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("ListenSequentialPacket="), "{wrong:?}");
    let mut broker = begin("5");
    until("the broker", || Channel::connect(&socket).is_ok());
    let told = {
        let socket = socket.clone();
        std::thread::spawn(move || {
            become_user(BIN);
            let channel = Channel::connect(&socket).expect("a broker");
            channel.send_bytes(&request("zoneadm", "000", &["-z", "zion", "verify"])).expect("sent");
            assert_eq!(channel.receive().expect("an answer").text, "open");
            channel.send_bytes(b"go").expect("sent");
            channel.receive_bytes(100, 20_000).expect("an end")
        })
    };
    assert_eq!(told.join().expect("a talk").as_deref(), Some(&b"exit 0"[..]));
    // A second broker does not take the socket away.
    let second =
        Command::new(env!("CARGO_BIN_EXE_zonesd")).env("ZONES_ROOT", lab.path()).output().expect("it ends");
    assert!(String::from_utf8_lossy(&second.stderr).contains("another broker listens at"), "{second:?}");
    assert!(Command::new("kill").arg(broker.id().to_string()).status().expect("kill").success());
    assert!(broker.wait().expect("it ends").success());
    // The socket is the service manager's: it stays.
    assert!(socket.exists());
}
