//! The cgroup of a zone and its limits, on plain folders and files that stand for those of the kernel.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::thread;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;
use crate::sys::ns::Side;

/// A zone's cgroup two folders below the top, with the files that the kernel makes.
struct Tree {
    temp: tempfile::TempDir,
    path: PathBuf,
}

const CONTROL: &str = "cgroup.subtree_control";

impl Tree {
    fn new() -> Self {
        let temp = tempfile::tempdir().expect("a folder");
        let path = temp.path().join("pool/zones/zion");
        fs::create_dir_all(&path).expect("a folder");
        for folder in ["", "pool", "pool/zones"] {
            fs::write(temp.path().join(folder).join(CONTROL), "io").expect("written");
        }
        fs::write(temp.path().join("cgroup.controllers"), "cpu memory\n").expect("written");
        Self { temp, path }
    }

    fn top(&self) -> Option<&Path> {
        Some(self.temp.path())
    }

    /// Returns the contents of a file of every folder above the zone's, from the top on.
    fn control(&self) -> [String; 3] {
        ["", "pool", "pool/zones"].map(|folder| read(&self.temp.path().join(folder).join(CONTROL)))
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn settings() -> Vec<Setting> {
    let setting = |file, value: &str, subject: &str| Setting {
        file,
        value: value.to_owned(),
        subject: subject.to_owned(),
    };
    vec![
        setting("cpuset.cpus", "2-3", "dedicated-cpu ncpus"),
        setting("cpuset.cpus.partition", "root", "dedicated-cpu ncpus"),
        setting("cpu.max", "50000 100000", "capped-cpu ncpus"),
        setting("memory.max", "4096", "capped-memory physical"),
        setting("pids.max", "7", "max-processes"),
    ]
}

/// Puts a directory in the place of a file: neither a user nor root can write it.
fn spoil(file: &Path) {
    let _ = fs::remove_file(file);
    fs::create_dir(file).expect("a folder");
}

#[test]
fn limits_are_written_and_their_controllers_switched_on() {
    let tree = Tree::new();
    group(tree.top(), &tree.path, &settings()).expect("written");
    for setting in settings() {
        assert_eq!(read(&tree.path.join(setting.file)), setting.value, "{}", setting.file);
    }
    // A plain file keeps what was written last; the kernel adds it.
    assert_eq!(tree.control(), ["+pids"; 3]);
    assert!(!tree.path.join(CONTROL).exists(), "the folder itself has processes");
    assert!(!tree.temp.path().join("pool/cpu.max").exists(), "the pool keeps its limits");
}

#[test]
fn a_controller_that_is_on_is_not_switched_on_again() {
    let tree = Tree::new();
    fs::write(tree.temp.path().join(CONTROL), "cpu memory\n").expect("written");
    group(tree.top(), &tree.path, &settings()[3..4]).expect("written");
    assert_eq!(tree.control(), ["cpu memory\n", "+memory", "+memory"]);
}

#[test]
fn a_limit_that_cannot_be_written_is_told_and_ends_it() {
    for bad in 0..settings().len() {
        let tree = Tree::new();
        let settings = settings();
        for setting in &settings {
            fs::write(tree.path.join(setting.file), "max").expect("written");
        }
        let file = tree.path.join(settings[bad].file);
        spoil(&file);
        let error = group(tree.top(), &tree.path, &settings).expect_err("a directory");
        let Setting { subject, value, .. } = &settings[bad];
        let wanted = format!("{subject}: cannot write {value} to {}: is a directory", file.display());
        assert_eq!(error.to_string().to_lowercase(), wanted.to_lowercase());
        for (number, setting) in settings.iter().enumerate().filter(|(number, _)| *number != bad) {
            let now = read(&tree.path.join(setting.file));
            assert_eq!(now, if number < bad { &setting.value } else { "max" }, "{bad}: {}", setting.file);
        }
    }
}

/// Returns the values of all files of the settings.
fn values(tree: &Tree) -> Vec<String> {
    settings().iter().map(|setting| read(&tree.path.join(setting.file))).collect()
}

#[test]
fn limits_of_a_zone_that_runs_change_and_change_back() {
    let tree = Tree::new();
    let before = ["\n", "member\n", "max 100000\n", "max\n", "max\n"];
    for (setting, value) in settings().iter().zip(before) {
        fs::write(tree.path.join(setting.file), value).expect("written");
    }
    let former = change(tree.top(), &tree.path, &settings()).expect("changed");
    let new: Vec<String> = settings().into_iter().map(|setting| setting.value).collect();
    assert_eq!(values(&tree), new);
    assert_eq!(tree.control(), ["+pids"; 3]);
    let again = change(tree.top(), &tree.path, &former).expect("changed back");
    assert_eq!(values(&tree), before.map(|value| if value == "\n" { value } else { value.trim() }));
    // The first comes last: a partition ends before its cpus are taken away.
    assert_eq!(former.first().map(|s| s.file), Some("pids.max"));
    assert_eq!(again, settings());
}

#[test]
fn limits_of_a_zone_that_runs_change_all_or_none() {
    for bad in 0..settings().len() {
        for (spoilt, action) in [("/", "cannot read"), ("/proc/version", "cannot write")] {
            let tree = Tree::new();
            let settings = settings();
            let others = || settings.iter().enumerate().filter(|(number, _)| *number != bad);
            for (_, setting) in others() {
                fs::write(tree.path.join(setting.file), "max").expect("written");
            }
            std::os::unix::fs::symlink(spoilt, tree.path.join(settings[bad].file)).expect("a link");
            let text = change(tree.top(), &tree.path, &settings).expect_err("not to be written").to_string();
            assert!(text.starts_with(&format!("{}: {action} ", settings[bad].subject)), "{text}");
            for (_, setting) in others() {
                assert_eq!(read(&tree.path.join(setting.file)), "max", "{bad}: {}", setting.file);
            }
        }
    }
}

#[test]
fn a_controller_that_cannot_be_switched_on_is_told_and_ends_it() {
    for (bad, wanted) in
        [("", ["", "io", "io"]), ("pool", ["+cpu", "", "io"]), ("pool/zones", ["+cpu", "+cpu", ""])]
    {
        let tree = Tree::new();
        let file = tree.temp.path().join(bad).join(CONTROL);
        spoil(&file);
        let error = group(tree.top(), &tree.path, &settings()[2..]).expect_err("a directory");
        let text = error.to_string();
        assert!(text.starts_with("capped-cpu ncpus: cannot switch the controller cpu on: "), "{text}");
        let folders = ["", "pool", "pool/zones"].iter().zip(wanted).filter(|(folder, _)| **folder != bad);
        for (folder, wanted) in folders {
            assert_eq!(read(&tree.temp.path().join(folder).join(CONTROL)), wanted, "{bad}: {folder}");
        }
        for setting in settings() {
            assert!(!tree.path.join(setting.file).exists(), "{bad}: {}", setting.file);
        }
    }
    // Without cgroup v2, and outside it, there is none.
    let tree = Tree::new();
    for top in [None, Some(tree.path.join("deeper"))] {
        let error = group(top.as_deref(), &tree.path, &settings()[..1]).expect_err("no such folder");
        let text = error.to_string();
        assert!(text.starts_with("dedicated-cpu ncpus: cannot switch the controller cpuset on: "), "{text}");
        assert!(!tree.path.join("cpuset.cpus").exists());
    }
}

#[test]
fn a_partition_that_the_kernel_makes_invalid_is_told_and_ends_it() {
    const STATE: &str = "root invalid (Cpu list in cpuset.cpus not exclusive)";
    let tree = Tree::new();
    let file = tree.path.join("cpuset.cpus.partition");
    // A named pipe stands for the kernel: it takes one text and answers with another.
    mknodat(CWD, &file, FileType::Fifo, Mode::from(0o600), 0).expect("a pipe");
    let kernel = {
        let file = file.clone();
        thread::spawn(move || {
            let taken = read(&file);
            fs::write(&file, format!("{STATE}\n")).expect("answered");
            taken
        })
    };
    let error = group(tree.top(), &tree.path, &settings()).expect_err("invalid");
    assert_eq!(kernel.join().expect("it ends"), "root");
    let text = error.to_string();
    assert_eq!(
        text,
        format!("dedicated-cpu ncpus: the kernel gives no cpus of its own to the zone: {STATE}")
    );
    assert_eq!(read(&tree.path.join("cpuset.cpus")), "2-3");
    for setting in &settings()[2..] {
        assert!(!tree.path.join(setting.file).exists(), "{}", setting.file);
    }
}

/// Ids that this process can give a file to: others than its own only for root.
fn owner() -> (u32, u32) {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    if uid.is_root() { (4711, 4712) } else { (uid.as_raw(), gid.as_raw()) }
}

#[test]
fn the_cgroup_belongs_to_the_root_of_the_zone_within_limits() {
    let tree = Tree::new();
    let delegated = ["cgroup.procs", "cgroup.threads", CONTROL];
    for file in delegated {
        fs::write(tree.path.join(file), "").expect("written");
    }
    make(tree.top(), &tree.path, owner(), false).expect("made");
    assert_eq!(tree.control(), ["+cpu +memory"; 3]);
    let owned = |path: &Path| fs::metadata(path).map(|m| (m.uid(), m.gid())).expect("it is there");
    let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    assert_eq!(owned(&tree.path), owner());
    for file in delegated {
        assert_eq!(owned(&tree.path.join(file)), owner(), "{file}");
    }
    for (file, limit) in [("cgroup.max.depth", "32"), ("cgroup.max.descendants", "4096")] {
        assert_eq!(read(&tree.path.join(file)), limit);
        assert_eq!(owned(&tree.path.join(file)), own, "{file}: the host's");
    }
    assert_eq!(owned(&tree.temp.path().join("pool/zones")), own);
}

#[test]
fn a_cgroup_that_cannot_be_made_is_told() {
    let tree = Tree::new();
    let what = format!("cgroup {}", tree.path.display());
    let failed = |action: &str| {
        let error = make(tree.top(), &tree.path, owner(), false).expect_err(action);
        assert!(error.to_string().starts_with(&format!("{what}: {action}: ")), "{error}");
    };
    for file in ["cgroup.max.descendants", "cgroup.max.depth"] {
        spoil(&tree.path.join(file));
        failed("cannot delegate it");
    }
    // A controller that cannot be switched on is left out, and so are the files of another kernel.
    for file in ["cgroup.max.descendants", "cgroup.max.depth"] {
        fs::remove_dir(tree.path.join(file)).expect("removed");
    }
    spoil(&tree.temp.path().join("pool/zones").join(CONTROL));
    make(tree.top(), &tree.path, owner(), false).expect("made");
    if !rustix::process::geteuid().is_root() {
        let error = make(tree.top(), &tree.path, (0, 0), false).expect_err("of root");
        assert!(error.to_string().starts_with(&format!("{what}: cannot delegate it: ")), "{error}");
    }
    fs::remove_dir_all(&tree.path).expect("removed");
    fs::write(&tree.path, "").expect("written");
    failed("cannot make it");
}

/// Does something in a process of its own, which an exit status of 0 says has gone well.
fn apart(work: impl FnOnce() -> bool) -> process::Ended {
    let Side::Parent(pid, _) = ns::fork().expect("a process") else {
        process::exit_now(i32::from(!work()));
    };
    process::wait(pid).expect("it ends")
}

/// Makes this process root of a user namespace in which nobody else is.
fn be_root() -> bool {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    ns::unshare(Kinds::USER).is_ok()
        && [
            ("setgroups", "deny".to_owned()),
            ("uid_map", format!("0 {user} 1")),
            ("gid_map", format!("0 {group} 1")),
        ]
        .iter()
        .all(|(file, text)| fs::write(format!("/proc/self/{file}"), text).is_ok())
}

fn ipc_setting(file: &'static str, value: &str) -> Setting {
    Setting { file, value: value.into(), subject: format!("rctl of {file}") }
}

#[test]
fn limits_of_ipc_are_those_of_a_namespace_of_its_own() {
    let knob = |name: &str| made::read(format!("/proc/sys/kernel/{name}")).ok().map(|t| t.trim().to_owned());
    let before = (knob("msgmni"), knob("shmmni"));
    let ended = apart(|| {
        if !be_root() || ipc(&[ipc_setting("msgmni", "7"), ipc_setting("shmmni", "9")]).is_err() {
            return false;
        }
        (knob("msgmni").as_deref(), knob("shmmni").as_deref()) == (Some("7"), Some("9"))
    });
    assert_eq!(ended, process::Ended::Exit(0));
    assert_eq!((knob("msgmni"), knob("shmmni")), before, "the host has kept its own");
    // A value that the kernel refuses: those before it are set, those behind are not, and it is named.
    let ended = apart(|| {
        let settings =
            [ipc_setting("msgmni", "7"), ipc_setting("shmmni", "many"), ipc_setting("shmall", "1")];
        let refused = be_root().then(|| ipc(&settings).err()).flatten();
        let text = refused.map(|e| e.to_string()).unwrap_or_default();
        text.starts_with("rctl of shmmni: cannot limit it: ")
            && knob("msgmni").as_deref() == Some("7")
            && knob("shmmni") != Some("many".into())
            && knob("shmall").as_deref() != Some("1")
    });
    assert_eq!(ended, process::Ended::Exit(0));
}

/// Returns the soft and hard limit of this process, as `/proc` prints them.
fn limit(name: &str) -> Option<(String, String)> {
    let text = made::read("/proc/self/limits").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let mut words = line.split_whitespace();
    Some((words.next()?.to_owned(), words.next()?.to_owned()))
}

#[test]
fn a_zone_has_its_limits_whatever_its_caller_has() {
    let ended = apart(|| {
        let own = process(Some(65536), SchedPolicy::Batch).is_ok();
        let locked = limit("Max locked memory") == Some(("65536".into(), "65536".into()));
        // Field 41 of proc_pid_stat(5) is the policy; SCHED_BATCH is 3.
        let stat = made::read("/proc/self/stat").unwrap_or_default();
        let policy = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(38));
        own && locked && policy == Some("3")
    });
    assert_eq!(ended, process::Ended::Exit(0));
    // More than the caller may lock: only root raises a limit, and no limit is taken for it silently.
    let ended = apart(|| {
        if rlimit::lock_at_most(4096).is_err() {
            return false;
        }
        let text = process(Some(8192), SchedPolicy::Normal).err().map(|e| e.to_string()).unwrap_or_default();
        rustix::process::geteuid().is_root() || text.starts_with("capped-memory locked: cannot limit it: ")
    });
    assert_eq!(ended, process::Ended::Exit(0));
}

#[test]
fn the_number_of_processes_is_limited_unless_the_spec_does() {
    let ended = apart(|| {
        let before = limit("Max processes");
        let by_spec = Setting { file: "pids.max", value: "9".into(), subject: "rctl zone.max-lwps".into() };
        processes(&[by_spec]).is_ok() && limit("Max processes") == before
    });
    assert_eq!(ended, process::Ended::Exit(0));
    let ended = apart(|| {
        let number = |name: &str| {
            made::read(format!("/proc/sys/kernel/{name}")).ok().and_then(|t| t.trim().parse::<u64>().ok())
        };
        let most = number("pid_max").into_iter().chain(number("threads-max")).min().unwrap_or(0) / 3;
        let before =
            limit("Max processes").and_then(|(_, hard)| hard.parse::<u64>().ok()).unwrap_or(u64::MAX);
        let wanted = most.min(before).to_string();
        processes(&[]).is_ok() && limit("Max processes") == Some((wanted.clone(), wanted))
    });
    assert_eq!(ended, process::Ended::Exit(0));
}
