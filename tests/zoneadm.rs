//! `zoneadm` as a program, on a throw-away root: command line, list, verify, states. What needs
//! namespaces is in `boot.rs`.

#![allow(clippy::disallowed_methods)] // programs are what is tested here

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

struct Place {
    dir: TempDir,
}

#[derive(Debug, PartialEq, Eq)]
struct Run {
    out: String,
    err: String,
    status: i32,
}

fn zoneadm() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zoneadm"));
    command.stdin(Stdio::null()).env_remove("ZONES_ROOT");
    command
}

fn run(command: &mut Command) -> Run {
    let done = command.output().unwrap();
    let text = |b: Vec<u8>| String::from_utf8(b).unwrap();
    Run { out: text(done.stdout), err: text(done.stderr), status: done.status.code().unwrap_or(-1) }
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    Place { dir }
}

impl Place {
    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn zone(&self, name: &str, rest: &str) {
        let text = format!("format = 1\nzonepath = \"/zones/%{{zonename}}\"\n{rest}");
        self.write(&format!("etc/zones.d/{name}.toml"), &text);
    }

    fn state(&self, name: &str, state: &str) {
        let line = format!("state={state} uuid=64788f65-1b43-47b8-9d4b-17ed5e3a0d2b\n");
        self.write(&format!("var/lib/zones/{name}/state"), &line);
    }

    /// Makes the root of a zone: an installed one without is unavailable.
    fn root(&self, name: &str) {
        self.zonepath(name, 0o700);
        fs::create_dir_all(self.path("zones").join(name).join("root")).unwrap();
    }

    /// Makes a zone active as far as the record says, with this test as its first process.
    fn running(&self, name: &str, id: u32, state: &str) {
        let me = std::process::id();
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let start = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().to_owned();
        let line = format!("id={id} state={state} init={me} start={start} supervisor={me} sstart={start}\n");
        self.write(&format!("run/zones/{name}/running"), &line);
    }

    fn zonepath(&self, name: &str, mode: u32) -> PathBuf {
        let path = self.path("zones").join(name);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn run(&self, line: &str) -> Run {
        run(zoneadm().arg("-R").arg(self.dir.path()).args(line.split_whitespace()))
    }

    /// Runs a command that must succeed in silence but for its output.
    fn good(&self, line: &str) -> String {
        let done = self.run(line);
        assert_eq!((done.err.as_str(), done.status), ("", 0), "{line}");
        done.out
    }

    /// Runs a command that must fail and returns its complaint.
    fn bad(&self, line: &str) -> String {
        let done = self.run(line);
        assert_eq!((done.out.as_str(), done.status), ("", 1), "{line}: {}", done.err);
        done.err
    }
}

#[test]
fn the_command_line() {
    let p = place();
    for line in ["", "frob", "-x", "-z", "lis", "--frob", "list -z", "list x", "list -x", "plan", "plan list"]
    {
        let done = p.run(line);
        assert_eq!((done.out.as_str(), done.status), ("", 2), "{line}");
        assert!(done.err.starts_with("usage:\tzoneadm "), "{line}: {}", done.err);
    }
    let asked = p.run("-?");
    assert_eq!((asked.status, asked.err.as_str()), (2, ""));
    assert_eq!(p.good("help"), asked.out);
    for sub in [
        "boot [-w] [-- boot_arguments]",
        "halt",
        "list [-cinpv] [--json]",
        "mark incomplete",
        "plan subcommand",
    ] {
        assert!(asked.out.contains(&format!("\n{sub}")), "{sub}");
    }
    assert!(!asked.out.contains("rename"), "what is not there is not listed");
    assert!(p.good("help boot").starts_with("usage:\tzoneadm boot [-w] [-- boot_arguments]\n"));
    assert!(p.good("--version").starts_with("zoneadm (zones) "));
    assert_eq!(p.bad("-z zion rename neo"), "zoneadm: rename is not available yet in this version\n");

    let relative = run(zoneadm().args(["-R", "relative", "list"]));
    assert_eq!((relative.err.as_str(), relative.status), ("root path must be absolute: relative\n", 2));
    let missing = run(zoneadm().args(["-R", "/nowhere/at/all", "list"]));
    assert_eq!(
        (missing.err.as_str(), missing.status),
        ("root path must be a directory: /nowhere/at/all\n", 2)
    );
}

#[test]
fn which_zone() {
    let p = place();
    p.zone("zion", "");
    p.zone("7", "");
    assert_eq!(p.bad("boot"), "zoneadm: no zone specified\n");
    assert_eq!(p.bad("-z nope boot"), "zoneadm: nope: No such zone configured\n");
    assert_eq!(p.bad("-z ../etc boot"), "zoneadm: ../etc: No such zone configured\n");
    assert_eq!(p.bad("-z nope list"), "zoneadm: nope: No such zone configured\n");
    assert_eq!(
        p.bad("-z global halt"),
        "zoneadm: zone 'global': halt operation is invalid for the global zone.\n"
    );
    assert_eq!(
        p.bad("-z SUNWx install"),
        "zoneadm: zone 'SUNWx': install operation is invalid for zones starting with SUNW.\n"
    );
    p.running("zion", 12, "running");
    assert_eq!(p.good("-z 12 list"), "zion\n");
    assert_eq!(p.good("-z 7 list"), "7\n", "a name goes before a number");
    assert_eq!(p.good("-z 0 list -p"), "0:global:running:/::linux:shared\n");
    p.state("zion", "installed");
    let uuid = "64788f65-1b43-47b8-9d4b-17ed5e3a0d2b";
    assert_eq!(p.good(&format!("-u {uuid} list")), "zion\n");
    assert_eq!(p.good(&format!("-z 7 -u {uuid} list")), "zion\n", "the uuid wins");
    assert_eq!(p.good("-z 7 -u 00000000-0000-0000-0000-000000000000 list"), "7\n");
    assert_eq!(p.bad("-u nonsense list"), "zoneadm: illegal UUID value specified\n");
}

#[test]
fn list_shows_what_is_there_in_order() {
    let p = place();
    assert_eq!(p.good("list -c"), "global\n");
    p.zone("zion", "");
    p.zone("apoc", "ip-type = \"exclusive\"\n");
    p.zone("morpheus", "brand = \"linux\"\n");
    p.zone("tank", "");
    p.zone("mouse", "");
    for (name, state) in
        [("zion", "installed"), ("apoc", "installed"), ("tank", "incomplete"), ("morpheus", "installed")]
    {
        p.state(name, state);
    }
    assert!(p.good("-z apoc list -p").starts_with("-:apoc:unavailable:"), "its files are not there");
    p.root("apoc");
    p.running("zion", 3, "running");
    p.running("morpheus", 2, "ready");
    assert_eq!(p.good("list"), "global\nmorpheus\nzion\n");
    assert_eq!(p.good("list -n"), "morpheus\nzion\n");
    assert_eq!(p.good("list -i"), "global\nmorpheus\nzion\napoc\n");
    assert_eq!(p.good("list -ic"), "global\nmorpheus\nzion\napoc\nmouse\ntank\n");
    assert_eq!(p.good("list -cn"), "morpheus\nzion\napoc\nmouse\ntank\n");
    let uuid = "64788f65-1b43-47b8-9d4b-17ed5e3a0d2b";
    assert_eq!(
        p.good("list -cp"),
        format!(
            "0:global:running:/::linux:shared\n\
             2:morpheus:ready:/zones/morpheus:{uuid}:linux:shared\n\
             3:zion:running:/zones/zion:{uuid}:linux:shared\n\
             -:apoc:installed:/zones/apoc:{uuid}:linux:excl\n\
             -:mouse:configured:/zones/mouse::linux:shared\n\
             -:tank:incomplete:/zones/tank:{uuid}:linux:shared\n"
        )
    );
    assert_eq!(
        p.good("-z apoc list -v"),
        "  ID NAME             STATUS     PATH                           BRAND    IP    \n   \
         - apoc             installed  /zones/apoc                    linux    excl  \n"
    );
    let json: serde_json::Value = serde_json::from_str(&p.good("list -c --json")).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 6);
    assert_eq!(json[1]["id"], 2);
    assert_eq!(json[3]["ip-type"], "exclusive");
    assert_eq!(p.bad("list -pv"), "zoneadm: list -p and -v are mutually exclusive.\n");
    for flags in ["-c", "-i", "-n", "-cp"] {
        assert_eq!(p.run(&format!("-z zion list {flags}")).status, 2);
    }
}

#[test]
fn list_sees_an_edit_and_names_a_broken_file() {
    let p = place();
    p.zone("a", "");
    p.zone("b", "");
    assert!(p.good("list -cp").contains("-:a:configured:/zones/a:"));
    p.write("etc/zones.d/a.toml", "format = 1\nzonepath = \"/else:where\"\nbrand = \"other\"\n");
    assert!(p.good("list -cp").contains("-:a:configured:/else\\:where::other:shared\n"));
    p.write("etc/zones.d/a.toml", "format = 1\nzonepth = \"/z\"\n");
    let done = p.run("list -cp");
    assert_eq!(done.status, 0, "the other zones can be watched");
    assert!(
        done.out.contains("-:b:configured:/zones/b::linux:shared\n"),
        "the others are shown: {}",
        done.out
    );
    assert!(done.err.contains(
        "/etc/zones.d/a.toml:2:1: unknown property or resource 'zonepth'; did you mean 'zonepath'?"
    ));
    assert!(p.bad("-z a boot").contains("a.toml:2:1: ") || p.bad("-z a boot").contains("must be installed"));
    fs::remove_file(p.path("etc/zones.d/a.toml")).unwrap();
    assert_eq!(p.good("list -cn"), "b\n");
}

#[test]
fn ten_thousand_zones() {
    let p = place();
    for i in 0..10_000 {
        p.zone(&format!("z{i:05}"), "");
    }
    fs::create_dir_all(p.path("var/lib/zones")).unwrap();
    let first = p.good("list -cp");
    assert_eq!(first.lines().count(), 10_001);
    assert!(first.lines().skip(1).is_sorted());
    // Past the time in which a file does not count as settled: now the cache answers.
    std::thread::sleep(std::time::Duration::from_millis(3_100));
    assert_eq!(p.good("list -cp"), first);
    let size = fs::metadata(p.path("var/lib/zones/.list.cache")).map_or(0, |m| m.len());
    p.zone("z05000", "ip-type = \"exclusive\"\n");
    fs::remove_file(p.path("etc/zones.d/z00000.toml")).unwrap();
    let changed = p.good("list -cp");
    assert_eq!(changed.lines().count(), 10_000);
    assert!(changed.contains("-:z05000:configured:/zones/z05000::linux:excl\n"));
    assert!(size > 500_000, "the cache holds all of them: {size}");
}

#[test]
fn anybody_may_list_and_only_root_may_act() {
    let p = place();
    p.zone("zion", "");
    let program = p.path("zoneadm");
    fs::copy(env!("CARGO_BIN_EXE_zoneadm"), &program).unwrap();
    let nobody = |line: &str| {
        let mut command = Command::new(&program);
        command.stdin(Stdio::null()).uid(65_534).gid(65_534).env_remove("ZONES_ROOT");
        run(command.arg("-R").arg(p.dir.path()).args(line.split_whitespace()))
    };
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can become somebody else");
        return;
    }
    for _ in 0..2 {
        let done = nobody("list -cp");
        assert_eq!(
            done.out,
            "0:global:running:/::linux:shared\n-:zion:configured:/zones/zion::linux:shared\n"
        );
        assert_eq!((done.err.as_str(), done.status), ("", 0));
    }
    for (line, verb) in
        [("-z zion install", "install"), ("-z zion halt", "halt"), ("-z zion mark incomplete", "mark")]
    {
        let done = nobody(line);
        assert_eq!(done.err, format!("zoneadm: zone 'zion': only a privileged user may {verb} a zone.\n"));
        assert_eq!(done.status, 1);
    }
}

#[test]
fn what_each_state_refuses() {
    let p = place();
    p.zone("zion", "");
    let refused = |line: &str, text: &str| {
        assert_eq!(p.bad(&format!("-z zion {line}")), format!("zoneadm: zone 'zion': {text}\n"), "{line}");
    };
    refused("boot", "must be installed before boot.");
    refused("uninstall -F", "is already in state 'configured'.");
    refused("halt", "halt operation is invalid for configured zones.");
    refused("reboot", "not running");
    assert_eq!(p.good("-z zion mark incomplete"), "");
    refused("verify", "zone is incomplete; uninstall required.");
    refused("install", "zone is incomplete; uninstall required.");
    refused("boot", "zone is incomplete; uninstall required.");
    refused("shutdown", "not running");
    p.state("zion", "installed");
    refused("install", "is already installed.");
    refused("uninstall", "Input not from terminal and -F not specified: uninstall not done.");
    p.running("zion", 1, "running");
    refused("install", "install operation is invalid for running zones.");
    refused("uninstall -F", "uninstall operation is invalid for running zones.");
    refused("mark incomplete", "mark operation is invalid for running zones.");
    p.running("zion", 1, "ready");
    refused("reboot", "reboot operation is invalid for ready zones.");
    refused(&format!("boot -- {}", "x".repeat(300)), "Boot argument list too long");
}

#[test]
fn mark_sets_the_state_and_complains_in_silence() {
    let p = place();
    p.zone("zion", "");
    for line in ["mark", "mark ready", "mark installed", "mark incomplete x"] {
        assert_eq!(
            p.run(&format!("-z zion {line}")),
            Run { out: String::new(), err: String::new(), status: 2 }
        );
    }
    assert!(p.good("-z zion list -p").ends_with(":/zones/zion::linux:shared\n"));
    p.good("-z zion mark incomplete");
    assert!(p.good("-z zion list -p").starts_with("-:zion:incomplete:/zones/zion:"));
    p.good("-z zion mark -F installed");
    p.root("zion");
    assert!(p.good("-z zion list -p").starts_with("-:zion:installed:/zones/zion:"));
    p.good("-z zion mark -F configured");
    assert_eq!(p.good("-z zion list -p"), "-:zion:configured:/zones/zion::linux:shared\n");
}

#[test]
fn verify_looks_at_the_zonepath() {
    let p = place();
    p.zone("zion", "");
    let missing = p.run("-z zion verify");
    assert!(missing.err.starts_with("WARNING: /zones/zion does not exist, so it could not be verified."));
    assert_eq!(missing.status, 0);

    p.zonepath("zion", 0o700);
    let quiet = |done: Run| {
        (done.status, done.err.replace("WARNING: /zones/zion is on a temporary file system.\n", ""))
    };
    assert_eq!(quiet(p.run("-z zion verify")), (0, String::new()));
    p.zonepath("zion", 0o750);
    assert_eq!(
        quiet(p.run("-z zion verify")),
        (
            1,
            "/zones/zion must not be group readable.\n/zones/zion must not be group executable.\n\
             could not verify zonepath /zones/zion because of the above errors.\n\
             zoneadm: zone zion failed to verify\n"
                .to_owned()
        )
    );
    // Another zone on the same path, inside it, and beside it with the same beginning.
    p.zonepath("zion", 0o700);
    p.write("etc/zones.d/in.toml", "format = 1\nzonepath = \"/zones/zion/in\"\n");
    p.write("etc/zones.d/beside.toml", "format = 1\nzonepath = \"/zones/zion2\"\n");
    let (status, err) = quiet(p.run("-z zion verify"));
    assert_eq!(status, 1);
    assert!(
        err.starts_with("zion zonepath (/zones/zion) and in zonepath (/zones/zion/in) overlap.\ncould not"),
        "{err}"
    );
    fs::remove_file(p.path("etc/zones.d/in.toml")).unwrap();

    fs::remove_dir(p.path("zones/zion")).unwrap();
    fs::write(p.path("zones/zion"), "").unwrap();
    assert!(p.run("-z zion verify").err.starts_with("/zones/zion is not a directory.\n"));
    fs::remove_file(p.path("zones/zion")).unwrap();
    p.zonepath("real", 0o700);
    std::os::unix::fs::symlink(p.path("zones/real"), p.path("zones/zion")).unwrap();
    assert!(p.run("-z zion verify").err.starts_with("/zones/zion: Resolved path mismatch"));
}

#[test]
fn verify_looks_at_file_systems() {
    let p = place();
    p.zonepath("zion", 0o700);
    fs::create_dir(p.path("data")).unwrap();
    let fs = |rest: &str| {
        p.zone("zion", &format!("[[fs]]\ndir = \"/d\"\n{rest}"));
        let done = p.run("-z zion verify");
        (done.status, done.err.replace("WARNING: /zones/zion is on a temporary file system.\n", ""))
    };
    let failed = |text: &str| (1, format!("{text}\nzoneadm: zone zion failed to verify\n"));
    let data = p.path("data").display().to_string();
    assert_eq!(fs(&format!("special = \"{data}\"\ntype = \"lofs\"\n")), (0, String::new()));
    assert_eq!(
        fs("special = \"/no/such\"\ntype = \"lofs\"\n"),
        failed("could not verify fs /d: could not access /no/such: No such file or directory")
    );
    assert_eq!(
        fs(&format!("special = \"{data}\"\ntype = \"proc\"\n")),
        failed("cannot verify fs /d: type proc is not allowed.")
    );
    assert_eq!(
        fs(&format!("special = \"{data}\"\ntype = \"nosuchfs\"\n")),
        failed("could not verify fs /d: type nosuchfs is not known to this kernel")
    );
    assert_eq!(
        fs(&format!("special = \"{data}\"\ntype = \"lofs\"\noptions = [\"wild\"]\n")),
        failed("could not verify fs /d: option 'wild' is not known for type lofs")
    );
    assert_eq!(
        fs(&format!("special = \"{data}\"\nraw = \"/dev/null\"\ntype = \"sysv\"\n"))
            .1
            .lines()
            .filter(|l| l.contains("/sbin/fsck.sysv"))
            .count(),
        1
    );
    assert_eq!(fs("special = \"{data}\"\n").1.lines().next(), Some("fs: type not specified"));
}

#[test]
fn verify_names_what_this_host_cannot_do() {
    let p = place();
    p.zonepath("zion", 0o700);
    let verify = |rest: &str| {
        p.zone("zion", rest);
        let done = p.run("-z zion verify");
        (done.status, done.err.replace("WARNING: /zones/zion is on a temporary file system.\n", ""))
    };
    let failed = |text: &str| (1, format!("{text}\nzoneadm: zone zion failed to verify\n"));
    assert_eq!(
        verify("brand = \"lx\"\n"),
        failed(
            "brand 'lx' cannot run on Linux; use 'set brand=linux', or let the host run it as linux: zonecfg -z \
             global 'set brand-aliases=lx'"
        )
    );
    assert_eq!(
        verify("global-time = true\n"),
        failed("could not verify global-time: a zone cannot set the host's clock")
    );
    assert_eq!(verify("global-time = false\n").0, 0);
    assert_eq!(
        verify("tenant = \"blue\"\n"),
        (0, "WARNING: tenant has no effect: there are no elastic virtual switches on Linux\n".to_owned())
    );
    assert_eq!(
        verify("limitpriv = \"default,sys_time\"\n"),
        failed(
            "privilege \"sys_time\" is not permitted within the zone's privilege set: the clock is the whole \
             machine's"
        )
    );
    assert_eq!(
        verify("limitpriv = \"default,net_rwaccess\"\n"),
        failed("unknown privilege \"net_rwaccess\" specified in the zone's privilege set")
    );
    assert_eq!(
        verify("limitpriv = \"default,!proc_fork\"\n"),
        failed("required privilege \"proc_fork\" is missing from the zone's privilege set")
    );
    assert_eq!(verify("limitpriv = \"default,!net_rawaccess\"\n"), (0, String::new()));
    assert_eq!(
        verify("[[net]]\nphysical = \"nolink7\"\naddress = \"192.0.2.1/24\"\n"),
        (
            0,
            "WARNING: skipping network interface 'nolink7' which may not be present/plumbed in the global zone.\n"
                .to_owned()
        )
    );
    assert_eq!(
        verify(
            "[[rctl]]\nname = \"zone.max-unicorns\"\nvalue = [{ priv = \"privileged\", limit = 1, action = \"deny\" }]\n"
        ),
        (0, "WARNING: Ignoring unrecognized rctl 'zone.max-unicorns'.\n".to_owned())
    );
    let (status, err) = verify("[dedicated-cpu]\nncpus = \"4000\"\n");
    assert_eq!(status, 1);
    // The controllers of this host decide; both answers are right somewhere.
    let answers = ["could not verify dedicated-cpu: it asks for 4000,", "no cgroup v2 controller 'cpuset'"];
    assert!(answers.iter().any(|a| err.contains(a)), "{err}");
    let controllers = ["/sys/fs/cgroup/cgroup.controllers", "/sys/fs/cgroup/unified/cgroup.controllers"]
        .iter()
        .find_map(|f| fs::read_to_string(f).ok())
        .unwrap_or_default();
    let (status, err) = verify("max-processes = 500\n");
    if controllers.split_whitespace().any(|c| c == "pids") {
        assert_eq!((status, err.as_str()), (0, ""));
    } else {
        assert_eq!(status, 1);
        assert!(
            err.starts_with("could not verify max-processes: this host has no cgroup v2 controller 'pids';"),
            "{err}"
        );
    }
}

#[test]
fn verify_compares_ids_with_other_zones() {
    let p = place();
    p.zonepath("zion", 0o700);
    let map = |target: u32| format!("[[idmap]]\nstart = 0\ntarget = {target}\ncount = 65536\n");
    p.zone("neo", &map(2_000_000));
    p.write("var/lib/zones/tank/idmap", "0 1000000000 65536\n");
    p.zone("tank", "");
    p.zone("zion", &map(2_065_000));
    let done = p.run("-z zion verify");
    assert!(
        done.err.contains(
            "zion idmap (ids 2065000 to 2130535 of the host) and neo idmap overlap. Choose another"
        ),
        "{}",
        done.err
    );
    p.zone("zion", &map(1_000_065_000));
    assert!(p.run("-z zion verify").err.contains(" and tank idmap overlap. "));
    p.zone("zion", &map(3_000_000));
    assert_eq!(p.run("-z zion verify").status, 0);
    // Users of one and groups of the other have nothing in common.
    let parted = |uid: u32, gid: u32| {
        let range = |kind: &str, target: u32| {
            format!("[[idmap]]\ntype = '{kind}'\nstart = 0\ntarget = {target}\ncount = 65536\n")
        };
        range("uid", uid) + &range("gid", gid)
    };
    p.zone("neo", &parted(2_000_000, 4_000_000));
    p.zone("zion", &parted(4_000_000, 2_000_000));
    assert_eq!(p.run("-z zion verify").status, 0);
    // What is asked for in both may overlap; in one of them it is an accident.
    let shared = |target: u32| map(target) + "shared = true\n";
    p.zone("neo", &shared(2_000_000));
    p.zone("zion", &map(2_000_000));
    assert!(p.run("-z zion verify").err.contains("or set shared=true in both.\n"));
    p.zone("zion", &shared(2_000_000));
    assert_eq!(p.run("-z zion verify").status, 0);
    assert!(!p.run("-z neo verify").err.contains("overlap"));
    p.zone("neo", &map(2_000_000));
    assert_eq!(p.run("-z zion verify").status, 1);
}

#[test]
fn a_plan_touches_nothing() {
    let p = place();
    p.zone("zion", "[[inherit-pkg-dir]]\ndir = \"/usr\"\n");
    let before = tree(&p);
    let plan = p.good("-z zion plan install");
    assert!(plan.starts_with("  1  mark the zone incomplete\n"), "{plan}");
    assert!(plan.trim_end().ends_with("mark the zone installed"), "{plan}");
    assert_eq!(tree(&p), before);
    assert_eq!(p.bad("-z zion plan boot"), "zoneadm: zone 'zion': must be installed before boot.\n");
    p.state("zion", "installed");
    p.running("zion", 4, "running");
    let halt = p.good("-z zion plan halt");
    assert!(halt.starts_with("  1  kill process 1 (process "), "{halt}");
    assert!(p.good("-z zion plan shutdown").starts_with("  1  ask init "));
}

fn tree(p: &Place) -> Vec<PathBuf> {
    let mut found = vec![p.dir.path().to_owned()];
    let mut next = 0;
    while next < found.len() {
        if found[next].is_dir() {
            found.extend(fs::read_dir(&found[next]).unwrap().map(|e| e.unwrap().path()));
        }
        next += 1;
    }
    found.sort();
    found
}

#[test]
fn uninstall_asks_a_person() {
    let p = place();
    p.zone("zion", "");
    p.state("zion", "installed");
    p.root("zion");
    let line = format!("{} -R {} -z zion uninstall", env!("CARGO_BIN_EXE_zoneadm"), p.dir.path().display());
    for (answers, gone) in [(&["maybe", "no"][..], false), (&[""], false), (&["Yes"], true)] {
        let mut terminal = rexpect::spawn(&line, Some(10_000)).unwrap();
        for answer in answers {
            terminal.exp_string("Are you sure you want to uninstall zone zion (y/[n])? ").unwrap();
            terminal.send_line(answer).unwrap();
        }
        terminal.exp_eof().unwrap();
        let status = format!("{:?}", terminal.process().wait().unwrap());
        assert!(status.starts_with("Exited(") && status.ends_with(", 0)"), "{status}");
        let state = if gone { "configured" } else { "installed" };
        assert!(p.good("-z zion list -p").starts_with(&format!("-:zion:{state}:")), "{answers:?}");
    }
}
