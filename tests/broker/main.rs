//! `zonesd`: users of the host do with zones what `admin` resources allow, and nothing else.
//!
//! The users are those that every host has: daemon (1), bin (2), sys (3). None of them is root.

#[path = "../lab/mod.rs"]
mod lab;

mod config;
mod ends;
mod hostile;
mod login;
mod plans;
mod rights;
mod room;

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lab::{Lab, Run};
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
