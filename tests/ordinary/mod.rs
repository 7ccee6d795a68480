//! Tests as an ordinary user, who is root in namespaces of its own and nowhere else: each in a process of its own, which
//! makes mounts and links that end with it. A test that runs as root gives its rights away before.
#![allow(dead_code)] // each test program uses a part of it

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use zones::sys::channel::Channel;
use zones::sys::mount::{Attrs, NewFs};
use zones::sys::ns::{self, Kinds, Side};
use zones::sys::process::{self, Ended};

/// The user that a test becomes who has been root.
const NOBODY: u32 = 65534;

/// The status of a process that cannot have the namespaces.
const IMPOSSIBLE: i32 = 77;

/// Runs tests one after the other in this thread, which forks for each.
pub fn run(list: &[(&'static str, fn())]) -> ! {
    run_as(&list.iter().map(|(name, test)| (*name, become_ordinary as Role, *test)).collect::<Vec<_>>())
}

/// Gives the process of a test its namespaces, and its rights.
pub type Role = fn() -> Result<(), String>;

/// Runs tests, each in a role.
pub fn run_as(list: &[(&'static str, Role, fn())]) -> ! {
    let mut args = libtest_mimic::Arguments::from_args();
    args.test_threads = Some(1);
    let trial = |(name, role, test): &(&'static str, Role, fn())| {
        let (role, test) = (*role, *test);
        libtest_mimic::Trial::test(*name, move || apart(role, test).map_err(Into::into))
    };
    libtest_mimic::run(&args, list.iter().map(trial).collect()).exit()
}

/// Runs a test in a process of its own.
fn apart(role: Role, test: fn()) -> Result<(), String> {
    let text = |e: io::Error| e.to_string();
    let Side::Parent(pid, _) = ns::fork().map_err(text)? else {
        if let Err(why) = role() {
            let required = std::env::var("ZONES_TEST_REQUIRE").is_ok_and(|v| v.contains("namespaces"));
            eprintln!("SKIPPED: no namespaces for the test: {why}");
            process::exit_now(if required { 1 } else { IMPOSSIBLE });
        }
        let done = catch_unwind(AssertUnwindSafe(test));
        process::exit_now(i32::from(done.is_err()))
    };
    match process::wait(pid).map_err(text)? {
        Ended::Exit(0 | IMPOSSIBLE) => Ok(()),
        ended => Err(format!("the test has failed: {ended:?}")),
    }
}

fn told(what: &'static str) -> impl Fn(io::Error) -> String {
    move |e| format!("{what}: {e}")
}

/// Gives this process namespaces of mounts and the network, with memory on the folders that tests write to. It is root
/// of the host.
pub fn stay_root() -> Result<(), String> {
    if !Uid::effective().is_root() {
        return Err("only root can load the rules of a link".to_owned());
    }
    ns::unshare(Kinds::MOUNT | Kinds::NET).map_err(told("unshare"))?;
    cover(&["/tmp", "/run"])
}

/// The same with a user namespace: the process is an ordinary user.
pub fn become_ordinary() -> Result<(), String> {
    if Uid::effective().is_root() {
        let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        setgroups(&[]).map_err(|e| told("groups")(e.into()))?;
        setresgid(gid, gid, gid).map_err(|e| told("group")(e.into()))?;
        setresuid(uid, uid, uid).map_err(|e| told("user")(e.into()))?;
        // The files in /proc belong to the user then, and not to root.
        set_dumpable_behavior(DumpableBehavior::Dumpable).map_err(|e| told("dumpable")(e.into()))?;
    }
    let ids = [("uid_map", Uid::effective().as_raw()), ("gid_map", Gid::effective().as_raw())];
    ns::unshare(Kinds::USER | Kinds::MOUNT | Kinds::NET).map_err(told("unshare"))?;
    fs::write("/proc/self/setgroups", "deny").map_err(told("setgroups"))?;
    for (file, id) in ids {
        fs::write(format!("/proc/self/{file}"), format!("0 {id} 1")).map_err(told(file))?;
    }
    // A copy of a mount is refused to a user as long as mounts of the host are below it.
    cover(&["/tmp", "/run", "/sys"])?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(told("mounts"))?;
    if mounts.lines().any(|line| line.split(' ').nth(4).is_some_and(|p| p.starts_with("/proc/"))) {
        own_proc().map_err(told("a /proc without mounts below it"))?;
    }
    Ok(())
}

/// Mounts memory on folders, which only this process sees.
fn cover(folders: &[&str]) -> Result<(), String> {
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", flags).map_err(|e| told("private mounts")(e.into()))?;
    folders.iter().try_for_each(|place| memory(place).map_err(|e| format!("{place}: {e}")))
}

/// Goes on as the first process of a pid namespace, which can have a `/proc` of its own.
fn own_proc() -> io::Result<()> {
    ns::unshare(Kinds::PID)?;
    match ns::fork()? {
        Side::Child => attach(NewFs::open("proc"), "/proc"),
        Side::Parent(pid, _) => match process::wait(pid)? {
            Ended::Exit(status) => process::exit_now(status),
            Ended::Signal(_) => process::exit_now(1),
        },
    }
}

/// Mounts memory on a directory.
pub fn memory(place: &str) -> io::Result<()> {
    attach(NewFs::open("tmpfs"), place)
}

fn attach(made: Result<NewFs, zones::sys::mount::FsError>, place: &str) -> io::Result<()> {
    let tree = made.and_then(|fs| fs.mount(Attrs::empty())).map_err(|e| e.source)?;
    tree.attach(rustix::fs::open(place, OFlags::PATH, Mode::empty())?.as_fd())
}

/// A process in namespaces of its own, in the place of a zone's, which does nothing until this is dropped.
pub struct Sleeper {
    /// Its process id.
    pub pid: i32,
    channel: Option<Channel>,
}

impl Sleeper {
    /// Starts it; `first` is what it does before anything else. Its root is the user that the test is.
    pub fn start(kinds: Kinds, first: impl FnOnce()) -> Self {
        let (ours, theirs) = Channel::pair().expect("a channel");
        match ns::spawn(kinds, None).expect("namespaces in namespaces") {
            Side::Child => {
                drop(ours);
                let _ = theirs.receive();
                let done = catch_unwind(AssertUnwindSafe(first));
                let _ = theirs.send(if done.is_ok() { "done" } else { "failed" }, &[]);
                let _ = theirs.receive();
                process::exit_now(0)
            }
            Side::Parent(pid, _) => {
                drop(theirs);
                if kinds.contains(Kinds::USER) {
                    ns::write_id_maps(pid, "0 0 1\n", "0 0 1\n").expect("one id");
                }
                ours.send("go", &[]).expect("it listens");
                assert_eq!(ours.receive().expect("an answer").text, "done");
                Self { pid, channel: Some(ours) }
            }
        }
    }

    /// Opens one of its namespaces.
    pub fn namespace(&self, name: &str) -> OwnedFd {
        ns::open(self.pid, name).expect("a namespace")
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        // Another one may have a copy of the channel, so that closing it tells nothing.
        let _ = self.channel.take().map(|channel| channel.send("end", &[]));
        let _ = process::wait(self.pid);
    }
}
