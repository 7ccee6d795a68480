//! `zonecfg` as a person sees it: prompts, keys, questions, completion, history; through a pty.

use std::path::Path;
use std::process::Command;

use rexpect::session::{PtySession, spawn_command};

const ZONECFG: &str = env!("CARGO_BIN_EXE_zonecfg");
const TIMEOUT: Option<u64> = Some(20_000);

struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(dir.path().join("root")).expect("a root");
        Self { dir }
    }

    fn root(&self) -> std::path::PathBuf {
        self.dir.path().join("root")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(ZONECFG);
        command.args(args).env("ZONES_ROOT", self.root()).env("HOME", self.dir.path());
        command.env("XDG_CONFIG_HOME", self.dir.path().join("config"));
        command.env("TERM", "xterm").env("NO_COLOR", "1").env_remove("PAGER");
        command
    }

    /// Starts the program on a pty.
    fn type_into(&self, args: &[&str]) -> Typed {
        Typed(spawn_command(self.command(args), TIMEOUT).expect("zonecfg on a pty"))
    }

    /// Runs the program without a terminal and returns its standard output.
    fn output(&self, args: &[&str]) -> String {
        let output = self.command(args).output().expect("zonecfg");
        String::from_utf8(output.stdout).expect("text")
    }
}

struct Typed(PtySession);

impl Typed {
    fn see(&mut self, text: &str) -> String {
        self.0.exp_string(text).unwrap_or_else(|e| panic!("waiting for {text:?}: {e}"))
    }

    fn line(&mut self, text: &str) {
        self.0.send_line(text).expect("typing");
    }

    fn keys(&mut self, text: &str) {
        self.0.send(text).expect("typing");
        self.0.flush().expect("typing");
    }

    fn control(&mut self, key: char) {
        self.0.send_control(key).expect("typing");
    }

    fn status(mut self) -> i32 {
        self.0.exp_eof().expect("the end");
        match self.0.process().wait().expect("a status") {
            nix::sys::wait::WaitStatus::Exited(_, status) => status,
            other => panic!("ended with {other:?}"),
        }
    }
}

/// The three examples of the Solaris ZFS guide, as printed there.
#[test]
fn the_guide() {
    let world = World::new();
    let mut t = world.type_into(&["-z", "zion"]);
    t.see("zion: No such zone configured\r\nUse 'create' to begin configuring a new zone.\r\n");
    t.see("zonecfg:zion> ");
    for line in ["create", "add fs"] {
        t.line(line);
    }
    t.see("zonecfg:zion:fs> ");
    for line in ["set type=zfs", "set special=tank/zone/zion", "set dir=/export/shared", "end"] {
        t.line(line);
    }
    t.line("info fs");
    t.see("fs:\r\n\tdir: /export/shared\r\n\tspecial: tank/zone/zion\r\n\traw not specified\r\n\ttype: zfs");
    t.line("add dataset");
    t.see("zonecfg:zion:dataset> ");
    t.line("set name=tank/zone/zion");
    t.line("end");
    t.line("add device");
    t.see("zonecfg:zion:device> ");
    t.line("set match=/dev/zvol/dsk/tank/vol");
    t.line("end");
    t.line("commit");
    t.line("exit");
    assert_eq!(t.status(), 0);
    let saved = world.output(&["-z", "zion", "export"]);
    for line in [
        "set special=\"tank/zone/zion\"",
        "set name=\"tank/zone/zion\"",
        "set match=\"/dev/zvol/dsk/tank/vol\"",
    ] {
        assert!(saved.contains(line), "{saved}");
    }
}

#[test]
fn control_c_abandons_the_line_and_control_d_leaves() {
    let world = World::new();
    let mut t = world.type_into(&["-z", "zion"]);
    t.see("zonecfg:zion> ");
    t.line("create -b; set zonepath=/zones/zion");
    t.keys("delete -F");
    t.see("-F");
    // As in a shell, ^C also drops what was typed ahead.
    t.control('c');
    t.see("zonecfg:zion> ");
    t.line("info zonepath");
    t.see("zonepath: /zones/zion\r\n");
    t.control('d');
    assert_eq!(t.status(), 0);
    assert_eq!(world.output(&["-z", "zion", "info", "zonepath"]), "zonepath: /zones/zion\n");
}

#[test]
fn questions() {
    let world = World::new();
    let mut t = world.type_into(&["-z", "zion"]);
    t.see("zonecfg:zion> ");
    t.line("create -b; set zonepath=/zones/zion; commit; set pool=web");
    t.line("revert");
    t.see("Are you sure you want to revert (y/[n])? ");
    t.line("perhaps");
    t.see("Are you sure you want to revert (y/[n])? ");
    t.line("");
    t.line("info pool");
    t.see("pool: web");
    t.line("revert");
    t.see("(y/[n])? ");
    t.line("Yes");
    t.line("info pool");
    t.see("pool: \r\n");
    // An open resource is not left by accident.
    t.line("add net");
    t.see("zonecfg:zion:net> ");
    t.control('d');
    t.see("Resource incomplete; really quit (y/[n])? ");
    t.line("n");
    t.see("zonecfg:zion:net> ");
    t.line("cancel");
    t.line("delete");
    t.see("Are you sure you want to delete zone zion (y/[n])? ");
    t.line("y");
    t.line("exit");
    assert_eq!(t.status(), 0);
    assert_eq!(world.output(&["-z", "zion", "info"]), "", "there is no such zone");
}

#[test]
fn what_cannot_be_saved_is_asked_about() {
    let world = World::new();
    let mut t = world.type_into(&["-z", "zion"]);
    t.see("zonecfg:zion> ");
    t.line("create -b");
    t.line("exit");
    t.see("zonepath not specified\r\nZone zion failed to verify\r\nzion: Required resource missing\r\n");
    t.see("Configuration not saved; really quit (y/[n])? ");
    t.line("n");
    t.see("zonecfg:zion> ");
    t.control('d');
    t.see("Configuration not saved; really quit (y/[n])? ");
    t.line("y");
    assert_eq!(t.status(), 1);
}

#[test]
fn tab_completes_words_and_names() {
    let world = World::new();
    let mut t = world.type_into(&["-z", "zion"]);
    t.see("zonecfg:zion> ");
    t.keys("crea\t-b\r");
    t.keys("set zonep\t/zones/zion\r");
    t.keys("set autoboot=t\t\r");
    t.keys("add inh\t\r");
    t.see("zonecfg:zion:inherit-pkg-dir> ");
    t.keys("set d\t/pro\t\r");
    t.keys("en\t\r");
    t.line("info");
    t.see("zonepath: /zones/zion");
    t.see("autoboot: true");
    t.see("dir: /proc\r\n");
    t.line("set zonename=neo");
    t.see("zonecfg:neo> ");
    // Several candidates are listed; ^U takes the line away.
    t.keys("e\t");
    t.see("exit");
    t.see("export");
    t.keys("\x15exit\r");
    assert_eq!(t.status(), 0);
}

#[test]
fn errors_show_the_place_and_what_may_be_meant() {
    let world = World::new();
    let mut t = world.type_into(&["-z", "zion"]);
    t.see("zonecfg:zion> ");
    t.line("create -b; set zonepaht=/zones/zion");
    t.see("syntax error at 'zonepaht'\r\n");
    t.see("  create -b; set zonepaht=/zones/zion\r\n");
    t.see("                 ^^^^^^^^\r\n");
    t.see("did you mean zonepath?\r\n");
    t.line("help zonepth");
    t.see("Unknown help subject zonepth.  \r\n");
    t.see("did you mean zonepath?\r\n");
    t.line("exit -F");
    assert_eq!(t.status(), 1);
}

#[test]
fn history_lasts_across_sessions() {
    let world = World::new();
    let mut t = world.type_into(&["-z", "zion"]);
    t.see("zonecfg:zion> ");
    t.line("create -b; set zonepath=/zones/zion");
    t.line("set pool=remembered");
    t.line("exit");
    assert_eq!(t.status(), 0);
    let mut t = world.type_into(&["-z", "zion"]);
    t.see("zonecfg:zion> ");
    t.line("clear pool");
    // ^R searches backwards.
    t.control('r');
    t.keys("remem\r");
    t.line("info pool");
    t.see("pool: remembered\r\n");
    t.line("exit");
    assert_eq!(t.status(), 0);
    // No other mode touches the history.
    let config = world.dir.path().join("config");
    let before = modified(&config.join("zones/history"));
    world.output(&["-z", "zion", "info"]);
    assert_eq!(modified(&config.join("zones/history")), before);
}

fn modified(path: &Path) -> std::time::SystemTime {
    std::fs::metadata(path).and_then(|m| m.modified()).expect("the history")
}

/// `-f -` at a terminal: prompts, and errors placed by line.
#[test]
fn standard_input_as_a_file() {
    let world = World::new();
    let mut t = world.type_into(&["-z", "zion", "-f", "-"]);
    t.see("zonecfg:zion> ");
    t.line("create -b; set zonepath=/zones/zion");
    t.line("set autoboot=maybe");
    t.see("On line 2:\r\nautoboot value must be 'true' or 'false'.\r\n");
    t.line("exit");
    assert_eq!(t.status(), 1);
}

/// A long text goes through the pager, a short one does not.
#[test]
fn pager() {
    let world = World::new();
    let zonecfg = world.command(&["-z", "zion"]);
    let mut command = Command::new("sh");
    command.args(["-c", "stty rows 20 cols 80; exec \"$0\" -z zion", ZONECFG]);
    for (name, value) in zonecfg.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    command.env("PAGER", "sed s/^/paged:/");
    let mut t = Typed(spawn_command(command, TIMEOUT).expect("zonecfg"));
    t.see("zonecfg:zion> ");
    t.line("help properties");
    t.see("paged:Global properties:");
    t.line("help end");
    t.see("\r\nusage:\r\nend\r\n");
    t.line("exit");
    assert_eq!(t.status(), 0);
}

/// Prompt and messages begin with the name that was called.
#[test]
fn another_name() {
    let world = World::new();
    let link = world.dir.path().join("zcfg");
    std::os::unix::fs::symlink(ZONECFG, &link).expect("a link");
    let mut command = Command::new(&link);
    for (name, value) in world.command(&[]).get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    let usage = command.output().expect("zcfg");
    assert_eq!(usage.status.code(), Some(2));
    assert!(usage.stderr.starts_with(b"usage:\tzcfg help\n\tzcfg -z <zone>"));
    command.args(["-z", "zion"]);
    let mut t = Typed(spawn_command(command, TIMEOUT).expect("zcfg on a pty"));
    t.see("zcfg:zion> ");
    t.line("create -b; set zonepath=/zones/zion; add net");
    t.see("zcfg:zion:net> ");
    t.line("cancel");
    t.line("exit");
    assert_eq!(t.status(), 0);
}

/// A session that has changed nothing shows what is saved now.
#[test]
fn what_others_save_is_seen() {
    let world = World::new();
    world.output(&["-z", "zion", "create -b; set zonepath=/zones/zion; set pool=one"]);
    let mut t = world.type_into(&["-z", "zion"]);
    t.see("zonecfg:zion> ");
    t.line("info pool");
    t.see("pool: one\r\n");
    world.output(&["-z", "zion", "set pool=two"]);
    t.line("info pool");
    t.see("pool: two\r\n");
    let file = world.root().join("etc/zones.d/zion.toml");
    let text = std::fs::read_to_string(&file).expect("the spec");
    std::fs::write(&file, text.replace("two", "three")).expect("an edit");
    t.line("set bootargs=-v");
    t.line("info pool");
    t.see("pool: three\r\n");
    // From here on there is something to lose.
    world.output(&["-z", "zion", "set pool=four"]);
    t.line("commit");
    t.see("zion: the configuration was changed by somebody else meanwhile:");
    t.line("merge; commit; exit");
    // The conflict was an error.
    assert_eq!(t.status(), 1);
    let saved = world.output(&["-z", "zion", "info pool; info bootargs"]);
    assert_eq!(saved, "pool: four\nbootargs: -v\n");
}
