//! The guard on a machine without ZFS: how requests reach it, what it answers before ZFS is asked, and
//! what its death changes. What it decides about ZFS is tried in the machine with real ZFS
//! (tests/zfs-zone/guard-*.sh).

#![allow(unsafe_code, clippy::disallowed_methods, clippy::undocumented_unsafe_blocks)]

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use zones::apply::guard;
use zones::apply::helper::Keeper;
use zones::apply::logfile;
use zones::apply::paths::Root;
use zones::apply::rundir::image;
use zones::plan::boot::{BootFacts, plan};
use zones::plan::bootargs::BootArgs;
use zones::spec::ZoneName;
use zones::sys::channel::Channel;
use zones::sys::ns::{self, Kinds, Side};
use zones::sys::{process, seccomp};

const SET_PROP: u64 = 0x5a16;
const READ: u64 = 0x5a12;
const PROGRAM: u64 = 0x5a48;

fn main() {
    let mut args = libtest_mimic::Arguments::from_args();
    // In this thread: it forks, which a program of several threads must not.
    args.test_threads = Some(1);
    let trial = libtest_mimic::Trial::test("the_guard_of_a_zone", || {
        the_guard_of_a_zone();
        Ok(())
    });
    libtest_mimic::run(&args, vec![trial]).exit()
}

fn the_guard_of_a_zone() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can begin a zone");
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let (root, name) = (Root::new(Some(dir.path())), ZoneName::new("zion").expect("a good name"));
    let run = root.zone_run(&name);
    fs::create_dir_all(&run).expect("a folder");
    fs::create_dir_all(root.zone_lib(&name)).expect("a folder");
    let spec = "format = 1\n[[dataset]]\nname = \"tank/zion\"\n";
    fs::write(run.join("spec.toml"), spec).expect("written");
    fs::write(run.join("datasets"), "tank/zion\n").expect("written");

    let (ours, theirs) = Channel::pair().expect("a channel");
    let side = match ns::spawn(Kinds::USER, None) {
        Ok(side) => side,
        Err(e) => {
            eprintln!("SKIPPED: no user namespaces: {e}");
            return;
        }
    };
    let Side::Parent(pid, _) = side else {
        // It ends when the other end is closed, whatever becomes of this test.
        drop(ours);
        zone(&theirs)
    };
    drop(theirs);
    let map = "0 1000000 65536\n";
    ns::write_id_maps(pid, map, map).expect("the maps are written");
    ours.send("go", &[]).expect("sent");
    let listener = ours.receive().expect("a listener").fds.pop().expect("a listener");
    guard::start(&root, &name, pid, &[listener.as_fd()]).expect("the guard starts");
    drop(listener);
    let ask = |what: &str| {
        ours.send(what, &[]).expect("sent");
        ours.receive().expect("an answer").text
    };

    assert_eq!(ask("no device"), "ENOTTY", "a request on /dev/null");
    assert_eq!(ask("no descriptor"), "EBADF");
    assert_eq!(ask("nested"), "EPERM", "a nested user namespace");
    assert_eq!(ask("program"), "EPERM", "refused without being asked about");
    assert_eq!(ask("read"), "ENOTTY", "the kernel's own answer");
    assert_eq!(ask("other ioctl"), "ENOTTY");
    assert_eq!(ask("listener"), "EBUSY");
    assert_eq!(ask("inner filter"), "ENOSYS", "a filter that asks nobody");
    eprintln!("{}", ask("time"));
    let log = root.zone_lib(&name).join(logfile::LOG);
    let text = fs::read_to_string(&log).expect("the nested one is logged");
    assert!(text.contains("refused SET_PROP: the caller is in another user namespace; pid"), "{text}");

    // It dies while somebody holds what it heard.
    let keeper = Keeper::connect(&guard::HELPER, &root, &name).expect("the guard answers");
    kill_guard(&run);
    guard::start(&root, &name, pid, &keeper.held()).expect("another one starts");
    assert_eq!(ask("no device"), "ENOTTY", "the new guard has all that the old one had");
    drop(keeper);
    kill_guard(&run);
    assert_eq!(ask("no device"), "ENOSYS", "nobody can ever answer again");
    assert_eq!(ask("read"), "ENOTTY", "all else goes on");
    assert_eq!(ask("listener"), "EBUSY", "and nobody in the zone can take the guard's place");
    guard::start(&root, &name, pid, &[]).expect("a guard for those to come");
    assert!(Keeper::connect(&guard::HELPER, &root, &name).is_some_and(|k| k.held().is_empty()));
    goes_by_the_image(&root, &name, pid, &log);

    // It ends with the zone.
    assert!(guard_pid(&run).is_some());
    ask("end");
    let _ = process::wait(pid);
    let start = Instant::now();
    while guard_pid(&run).is_some() {
        assert!(start.elapsed() < Duration::from_secs(10), "the guard outlives the zone");
        std::thread::sleep(Duration::from_millis(10));
    }
    eprintln!("guard: good");
}

/// What is locked is read from the image of the zone, which locks everything when it cannot be read.
fn goes_by_the_image(root: &Root, name: &ZoneName, pid: i32, log: &Path) {
    let run = root.zone_run(name);
    let begins = || {
        kill_guard(&run);
        let _ = fs::remove_file(log);
        guard::start(root, name, pid, &[]).expect("another one starts");
        // This request is answered by its program, which has read the image by then.
        assert!(Keeper::connect(&guard::HELPER, root, name).is_some());
        fs::read_to_string(log).unwrap_or_default()
    };
    let spec = zones::spec::ZoneSpec::new(name.clone());
    let plan = plan(&spec, &BootArgs::default(), &BootFacts::default()).expect("it can boot");
    image::keep(&run, pid, &plan.image).expect("kept");
    fs::write(run.join("spec.toml"), "no spec").expect("written");
    assert_eq!(begins(), "", "the spec is not read");
    fs::write(run.join("image"), "{").expect("written");
    let text = begins();
    assert!(text.contains("every request is refused: the image of the zone is not understood"), "{text}");
    fs::remove_file(run.join("image")).expect("removed");
    let text = begins();
    assert!(text.contains("every request is refused: ") && text.contains("key with no value"), "{text}");
    fs::write(run.join("spec.toml"), "format = 1\n").expect("written");
    assert_eq!(begins(), "", "a zone of a release without images");
}

/// Finds the guard by whom its socket belongs to.
fn guard_pid(run: &Path) -> Option<i32> {
    let stream = std::os::unix::net::UnixStream::connect(run.join(guard::HELPER.socket)).ok()?;
    Some(rustix::net::sockopt::socket_peercred(&stream).ok()?.pid.as_raw_pid())
}

fn kill_guard(run: &Path) {
    // The socket was made by this process; the one that answers is found by its name.
    let is_guard = |pid: i32| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|c| c.starts_with(b"zoneadmd-guard\0-z\0zion\0"))
            && fs::read_to_string(format!("/proc/{pid}/environ"))
                .is_ok_and(|e| e.contains(&*run.ancestors().nth(3).expect("a root").to_string_lossy()))
    };
    let guards = || -> Vec<i32> {
        let all = fs::read_dir("/proc").expect("a folder").flatten();
        let numbers = all.filter_map(|e| e.file_name().to_str()?.parse().ok());
        numbers.filter(|pid| is_guard(*pid)).collect()
    };
    // It answers before it executes its program, by whose title it is found.
    let start = Instant::now();
    let mut found = guards();
    while found.is_empty() && start.elapsed() < Duration::from_secs(10) {
        found = guards();
    }
    // Its workers are copies of it.
    let all = found.clone();
    found.retain(|pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let parent = status.lines().find_map(|l| l.strip_prefix("PPid:")?.trim().parse().ok());
        parent.is_none_or(|parent: i32| !all.contains(&parent))
    });
    let [pid] = found[..] else { panic!("guards: {found:?}") };
    let handle = process::Handle::open(pid).expect("it lives");
    handle.signal(libc::SIGKILL).expect("killed");
    assert!(handle.wait_gone(5000).expect("it ends"));
}

/// The zone's only process.
fn zone(channel: &Channel) -> ! {
    channel.receive().expect("the maps are written");
    process::become_root().expect("root of the zone");
    let listener = seccomp::install(&guard::program()).expect("the filter is installed");
    channel.send("listener", &[listener.as_fd()]).expect("sent");
    drop(listener);
    let null = fs::File::open("/dev/null").expect("there is one");
    loop {
        let message = channel.receive().unwrap_or_default();
        let answer = match message.text.as_str() {
            "no device" => ioctl(null.as_fd(), SET_PROP),
            "no descriptor" => raw_ioctl(999, SET_PROP),
            "program" => ioctl(null.as_fd(), PROGRAM),
            "read" => ioctl(null.as_fd(), READ),
            "other ioctl" => ioctl(null.as_fd(), 0x5401),
            "nested" => in_child(|| {
                ns::unshare(Kinds::USER).expect("a nested user namespace");
                ioctl(null.as_fd(), SET_PROP)
            }),
            "listener" => in_child(|| word(inner_filter(8))),
            "inner filter" => in_child(|| {
                assert_eq!(inner_filter(0), 0);
                ioctl(null.as_fd(), SET_PROP)
            }),
            "time" => {
                let time = |number| {
                    let start = Instant::now();
                    (0..1000).for_each(|_| drop(ioctl(null.as_fd(), number)));
                    start.elapsed().as_micros() / 1000
                };
                format!("checked {} µs, not checked {} µs", time(SET_PROP), time(READ))
            }
            _ => {
                let _ = channel.send("ended", &[]);
                process::exit_now(0)
            }
        };
        let _ = channel.send(&answer, &[]);
    }
}

fn ioctl(fd: BorrowedFd<'_>, number: u64) -> String {
    raw_ioctl(fd.as_raw_fd(), number)
}

fn raw_ioctl(fd: i32, number: u64) -> String {
    let mut request = [0u8; 13_744];
    let done = unsafe { libc::ioctl(fd, number as libc::Ioctl, request.as_mut_ptr()) };
    if done == 0 { "OK".to_owned() } else { word(errno()) }
}

fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

fn word(errno: i32) -> String {
    match errno {
        0 => "OK",
        libc::EPERM => "EPERM",
        libc::ENOTTY => "ENOTTY",
        libc::EBADF => "EBADF",
        libc::EBUSY => "EBUSY",
        libc::ENOSYS => "ENOSYS",
        other => return other.to_string(),
    }
    .to_owned()
}

/// Runs something in a child and returns what it says.
fn in_child(work: impl FnOnce() -> String) -> String {
    let (ours, theirs) = Channel::pair().expect("a channel");
    match ns::fork().expect("a child") {
        Side::Child => {
            let _ = theirs.send(&work(), &[]);
            process::exit_now(0)
        }
        Side::Parent(pid, _) => {
            drop(theirs);
            let text = ours.receive().unwrap_or_default().text;
            let _ = process::wait(pid);
            text
        }
    }
}

/// Installs a filter that asks a listener about every request to set properties.
fn inner_filter(flags: u32) -> i32 {
    let line = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut lines = [
        line(0x20, 0, 0, 24),
        line(0x15, 0, 1, 0x5a16),
        line(0x06, 0, 0, 0x7fc0_0000),
        line(0x06, 0, 0, 0x7fff_0000),
    ];
    let program = libc::sock_fprog { len: 4, filter: lines.as_mut_ptr() };
    let done = unsafe { libc::syscall(libc::SYS_seccomp, 1, flags, &raw const program) };
    if done < 0 { errno() } else { 0 }
}
