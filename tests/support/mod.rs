//! A zone made by hand for tests of what enters one: namespaces, a root on a tmpfs over the machine's own
//! `/usr`, the built-in init, and the record that says it runs. No part of the engine takes part.
#![allow(dead_code)]

#[allow(clippy::duplicate_mod)] // a program may use both worlds
#[path = "../lab/sweep.rs"]
mod sweep;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use zones::apply::init_image::INIT;
use zones::apply::paths::Root;
use zones::apply::running::{RECORD, Running};
use zones::spec::ZoneName;
use zones::spec::state::ZoneState;
use zones::sys::process::start_time;

/// First host id of the zone's range.
pub const FIRST_ID: u32 = 1_900_000_000;

const ROOT_SCRIPT: &str = r#"
set -e
mount -t tmpfs -o mode=755 tmpfs "$ROOT"
cd "$ROOT"
mkdir -p usr proc dev etc root home/ann tmp run var/mail old
chmod 1777 tmp; chmod 700 root
for d in bin sbin lib lib64; do ln -s usr/$d $d; done
mount --rbind /usr usr
mount -t proc proc proc
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts
for d in null zero tty console .init; do : > dev/$d; done
echo "$NAME" > dev/.zonename
mount --bind /dev/null dev/null
mount --bind /dev/zero dev/zero
mount --bind /dev/tty dev/tty
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount --bind "$INIT" dev/.init
cat > etc/passwd <<-END
	root:x:0:0:root:/root:/bin/bash
	ann:x:1000:1000:Ann:/home/ann:/bin/sh
	far:x:70000:1000:outside the range:/:/bin/sh
	shelless:x:1001:1001::/:/no/such/shell
END
cat > etc/group <<-END
	root:x:0:
	tty:x:5:
	audio:x:29:ann,root
	ann:x:1000:
	video:x:44:other,ann
END
chown 1000:1000 home/ann
hostname "$NAME"
if [ -n "$CONSOLE" ]; then mount --bind "$CONSOLE" dev/console; fi
eval "$SETUP"
pivot_root . old
cd /
umount -l old
rmdir old
echo up
exec /dev/.init $INIT_ARGS
"#;

/// A zone that runs until this value is gone.
pub struct Zone {
    pub name: ZoneName,
    /// Where its files, and an alternate root, are.
    pub folder: tempfile::TempDir,
    _alive: std::fs::File,
    pub root: Root,
    /// Its first process.
    pub init: i32,
    parent: Child,
}

impl Zone {
    /// Starts a zone; none, with a word on why, where that is not possible.
    pub fn start(name: &str) -> Option<Self> {
        Self::start_with(name, "", "", "")
    }

    /// Starts a zone whose `/dev/console` is this terminal of the host's (if any) and whose root is made
    /// up further by a script; its first process gets these arguments.
    pub fn start_with(name: &str, console: &str, setup: &str, args: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return None;
        }
        let name = ZoneName::new(name).expect("a zone name");
        let (folder, alive) = sweep::folder(&sweep::place(), "zones-test-", 0o755);
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("tree")).expect("a folder");
        std::fs::write(path("init"), INIT).expect("a file");
        run(Command::new("chmod").arg("755").arg(path("init")));

        // A process without any right keeps the user namespace while its ids are mapped from outside.
        let mut holder =
            Command::new("unshare").args(["-U", "sleep", "60"]).spawn().expect("unshare of util-linux");
        let pid = holder.id();
        until("a new user namespace", || namespace("self", "user") != namespace(&pid.to_string(), "user"));
        let map = format!("0 {FIRST_ID} 65536\n");
        for file in ["uid_map", "gid_map"] {
            std::fs::write(format!("/proc/{pid}/{file}"), &map).expect("root may map ids");
        }
        let mut command = Command::new("nsenter");
        command.args(["-t", &pid.to_string(), "-U", "-S", "0", "-G", "0"]);
        command.args([
            // With this process ends the zone, also when this process is killed.
            "setpriv",
            "--pdeathsig",
            "KILL",
            "unshare",
            "-m",
            "-p",
            "-u",
            "-i",
            "-n",
            "--fork",
            "--kill-child",
            "sh",
            "-c",
            ROOT_SCRIPT,
        ]);
        // The zone's first process keeps this environment, and a test looks for what leaks from the host's.
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("ROOT", path("tree")).env("INIT", path("init")).env("NAME", name.as_str());
        command.env("CONSOLE", console).env("SETUP", setup).env("INIT_ARGS", args);
        command.env("container", "zones").stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(std::fs::File::create(path("log")).expect("a file"));
        let mut parent = command.spawn().expect("nsenter of util-linux");
        let mut line = String::new();
        let out = parent.stdout.as_mut().expect("a piped stream");
        BufReader::new(out).read_line(&mut line).expect("a readable pipe");
        let _ = holder.kill();
        let _ = holder.wait();
        let parent_id = parent.id();
        let children = std::fs::read_to_string(format!("/proc/{parent_id}/task/{parent_id}/children"));
        let init = children.ok().and_then(|c| c.split_whitespace().next()?.parse().ok());
        let root = Root::new(Some(folder.path()));
        let zone = Self { name, init: init.unwrap_or(0), parent, root, folder, _alive: alive };
        let log = std::fs::read_to_string(zone.folder.path().join("log")).unwrap_or_default();
        assert_eq!(line, "up\n", "the zone's root could not be made: {log}");
        until("the built-in init", || comm(zone.init) == "init");
        zone.record(ZoneState::Running, None);
        Some(zone)
    }

    /// Writes the record that says that the zone is in a state.
    pub fn record(&self, state: ZoneState, cgroup: Option<String>) {
        let me = i32::try_from(std::process::id()).expect("a process id");
        let running = Running {
            id: 1,
            state,
            init: self.init,
            init_start: start_time(self.init).expect("the zone's first process lives"),
            supervisor: me,
            supervisor_start: start_time(me).expect("this process lives"),
            stop_reason: None,
            announced: None,
            cgroup,
            links: None,
        };
        let folder = self.root.zone_run(&self.name);
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join(RECORD), running.to_string()).expect("a file");
    }

    /// Returns `zlogin` with these words, not started yet.
    pub fn zlogin(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zlogin"));
        command.env("ZONES_ROOT", self.folder.path()).args(args).stdin(Stdio::null());
        command
    }

    /// Runs a shell command in the zone.
    pub fn sh(&self, command: &str) -> Output {
        self.zlogin(&[self.name.as_str(), command]).output().expect("zlogin runs")
    }

    /// Returns the processes of the host that were started for this zone's alternate root.
    fn processes(&self) -> Vec<rustix::process::Pid> {
        let found = sweep::processes(self.folder.path());
        found.into_iter().filter_map(|(pid, _)| rustix::process::Pid::from_raw(pid)).collect()
    }

    /// Returns a path of the zone as the host can reach it.
    pub fn path(&self, inside: &str) -> PathBuf {
        Path::new(&format!("/proc/{}/root", self.init)).join(inside.trim_start_matches('/'))
    }

    /// Waits until the first process has ended and returns the signal that ended it. The kernel answers
    /// reboot(2) in a pid namespace by SIGINT (power off) or SIGHUP (restart).
    pub fn ended_by(&mut self) -> Option<i32> {
        let mut status = None;
        until("the end of the zone", || {
            status = self.parent.try_wait().expect("a child of ours");
            status.is_some()
        });
        std::os::unix::process::ExitStatusExt::signal(&status?)
    }

    /// Ends the zone from outside, as a halt does.
    pub fn kill(&mut self) {
        let lives = self.parent.try_wait().is_ok_and(|ended| ended.is_none());
        if let Some(pid) = rustix::process::Pid::from_raw(self.init).filter(|_| lives) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        let _ = self.parent.wait();
    }
}

impl Drop for Zone {
    fn drop(&mut self) {
        if self.init > 0 {
            self.kill();
        }
        let _ = self.parent.kill();
        let _ = self.parent.wait();
        // A supervisor ends by itself soon after its zone. What does not carries our root in its environment.
        let limit = Instant::now() + Duration::from_secs(3);
        while Instant::now() < limit && !self.processes().is_empty() {
            std::thread::sleep(Duration::from_millis(5));
        }
        for pid in self.processes() {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

fn namespace(pid: &str, kind: &str) -> PathBuf {
    std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap_or_default()
}

fn comm(pid: i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned()
}

/// Waits for something that is bound to come.
pub fn until(what: &str, mut there: impl FnMut() -> bool) {
    let start = Instant::now();
    while !there() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}: waited for in vain");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Runs a command that must succeed.
pub fn run(command: &mut Command) {
    let status = command.status().expect("the command runs");
    assert!(status.success(), "{command:?}: {status}");
}

/// Returns what a command printed on standard output.
pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Returns what a command printed on standard error.
pub fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Reads all of a stream.
pub fn drain(mut stream: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("a readable stream");
    bytes
}
