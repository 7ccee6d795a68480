//! The built-in init as the first process of a zone made by hand (`support`).

mod support;

use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use support::{FIRST_ID, Zone, run, text, until};
use zones::sys::pty;

/// The host's side of a console.
struct Console {
    master: fs::File,
    /// Keeps the terminal open, as a supervisor does.
    _slave: std::os::fd::OwnedFd,
    path: String,
    seen: String,
}

impl Console {
    fn open() -> Self {
        let pty = pty::open_in(Path::new("/dev/pts")).expect("a terminal");
        pty::give(pty.slave.as_fd(), FIRST_ID).expect("root may give it away");
        let path = format!("/dev/pts/{}", pty.number);
        Self { master: pty.master.into(), _slave: pty.slave, path, seen: String::new() }
    }

    /// Reads on until the text has come, and forgets what came before its end.
    fn expect(&mut self, what: &str) -> String {
        let limit = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(at) = self.seen.find(what) {
                let rest = self.seen.split_off(at + what.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            assert!(Instant::now() < limit, "waited in vain for {what:?}, got {:?}", self.seen);
            self.read();
        }
    }

    fn read(&mut self) {
        let mut buffer = [0; 4096];
        match self.master.read(&mut buffer) {
            Ok(n) => self.seen.push_str(&String::from_utf8_lossy(&buffer[..n])),
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    }

    fn keys(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("an open terminal");
    }
}

/// Starts a zone with a console.
fn start(name: &str, setup: &str, args: &str) -> Option<(Zone, Console)> {
    let console = Console::open();
    let zone = Zone::start_with(name, &console.path, setup, args)?;
    Some((zone, console))
}

fn children(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("the first process lives")
}

const GREETING: &str = "console: press Enter to log in\r\n";

#[test]
fn a_shell_comes_when_somebody_asks() {
    let Some((zone, mut console)) = start("lazy", "", "") else { return };
    console.expect("\r\nlazy console: press Enter to log in\r\n");
    assert_eq!(children(zone.init), "", "an idle zone holds no shell");
    let memory = fs::read_to_string(format!("/proc/{}/smaps_rollup", zone.init)).expect("it lives");
    let dirty = memory.lines().find_map(|l| l.strip_prefix("Private_Dirty:")).expect("a field");
    let kilobytes: u32 = dirty.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(kilobytes <= 32, "{kilobytes} kB");
    // The end of input asks for nothing.
    console.keys("\x04");
    console.expect(GREETING);
    assert_eq!(children(zone.init), "");
    // What was typed is for the shell.
    console.keys("echo hel''lo $0 $HOME $(tty) $container; exit\r");
    console.expect("hello -sh /root /dev/console zones\r\n");
    console.expect(GREETING);
    console.keys("\r");
    console.expect("# ");
    // From within the job, which has the terminal by then.
    console.keys("sh -c 'echo pa\"\"used; exec sleep 100'\r");
    console.expect("paused");
    // The terminal controls: ^C reaches what runs there.
    console.keys("\x03");
    console.expect("# ");
    console.keys("\x04");
    console.expect(GREETING);
    until("no child", || children(zone.init).is_empty());
}

#[test]
fn orphans_are_reaped() {
    let Some(zone) = Zone::start("orphans") else { return };
    assert!(zone.sh("for i in $(seq 50); do (sleep 0.01 &); done").status.success());
    until("all gone", || children(zone.init).is_empty());
}

#[test]
fn rc_local_runs_and_single_user_mode_comes_first() {
    let setup = "printf 'echo local $container; echo >&2 errors; read x || echo no input\\n' > etc/rc.local; chmod +x etc/rc.local";
    let Some((_zone, mut console)) = start("multi", setup, "") else { return };
    console.expect("local zones\r\nerrors\r\nno input\r\n");
    let Some((zone, mut console)) = start("single", setup, "-s") else { return };
    console.expect("# ");
    assert!(!console.seen.contains("local") && !children(zone.init).is_empty());
    console.keys("exit\r");
    console.expect("local zones\r\n");
    // Not executable: not run.
    let Some((_zone, mut console)) = start("plain", "echo 'echo local' > etc/rc.local", "") else { return };
    console.expect(GREETING);
    console.keys("echo sh''ell\r");
    assert!(!console.expect("shell").contains("local"));
}

#[test]
fn signals_end_the_zone_in_order() {
    const POWER_OFF: Option<i32> = Some(2);
    const RESTART: Option<i32> = Some(1);
    let setup = "printf '#!/bin/sh\\necho shutdown runs\\n' > etc/rc.shutdown; chmod +x etc/rc.shutdown";
    for (signal, end) in [
        ("TERM", POWER_OFF),
        ("PWR", POWER_OFF),
        ("USR2", POWER_OFF),
        ("38", POWER_OFF),
        ("INT", RESTART),
        ("39", RESTART),
    ] {
        let Some((mut zone, mut console)) = start("ending", setup, "") else { return };
        console.expect(GREETING);
        // Processes get a chance; those that entered from outside as well.
        let mut child = zone.zlogin(&["ending", "trap 'echo asked; exit 4' TERM; echo; sleep 60 & wait"]);
        let mut child = child.stdout(std::process::Stdio::piped()).spawn().expect("zlogin runs");
        let mut out = child.stdout.take().expect("a pipe");
        out.read_exact(&mut [0]).expect("it began");
        run(std::process::Command::new("kill").args([&format!("-{signal}"), &zone.init.to_string()]));
        console.expect(if end == RESTART { "restarting\r\n" } else { "shutting down\r\n" });
        console.expect("shutdown runs\r\n");
        assert_eq!(zone.ended_by(), end, "{signal}");
        assert_eq!(support::drain(out), b"asked\n");
        assert_eq!(child.wait().expect("it ends").code(), Some(4));
    }
}

#[test]
fn requests_from_inside_end_the_zone() {
    // What reboot(8) and poweroff(8) of sysvinit and systemd write: magic, command 1, run level.
    for (level, end) in [("0", 2), ("6", 1)] {
        let Some(mut zone) = Zone::start("asked") else { return };
        let out = zone.sh(&format!(
            "until [ -p /run/initctl ]; do sleep 0.01; done; stat -c '%F %a' /run/initctl; (printf '\\151\\031\\011\\003\\001\\000\\000\\000{level}\\000\\000\\000'; head -c 372 /dev/zero) | dd bs=384 iflag=fullblock status=none > /run/initctl"
        ));
        assert_eq!(text(&out), "fifo 600\n");
        assert_eq!(zone.ended_by(), Some(end), "run level {level}");
    }
    // Anything else is no request.
    let Some(zone) = Zone::start("noise") else { return };
    assert!(
        zone.sh("head -c 4000 /dev/zero > /run/initctl; yes | head -c 9999 > /run/initctl").status.success()
    );
    assert!(zone.sh("true").status.success());
}

#[test]
fn what_does_not_listen_is_killed() {
    let Some(mut zone) = Zone::start("stubborn") else { return };
    let mut child = zone.zlogin(&["stubborn", "trap '' TERM HUP; echo; while :; do sleep 1; done"]);
    let mut child = child.stdout(std::process::Stdio::piped()).spawn().expect("zlogin runs");
    child.stdout.as_mut().expect("a pipe").read_exact(&mut [0]).expect("it began");
    let start = Instant::now();
    run(std::process::Command::new("kill").args(["-TERM", &zone.init.to_string()]));
    assert_eq!(zone.ended_by(), Some(2));
    assert!((4..15).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    assert_eq!(child.wait().expect("it ends").code(), Some(137));
}

#[test]
fn a_console_that_hangs_up_costs_nothing_and_is_opened_again() {
    let Some((zone, mut console)) = start("hangup", "", "") else { return };
    console.expect(GREETING);
    let mut second = Console::open();
    drop(console);
    let ticks = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", zone.init)).expect("it lives");
        let fields: Vec<u64> = stat
            .rsplit_once(") ")
            .expect("a name")
            .1
            .split(' ')
            .skip(11)
            .take(2)
            .flat_map(str::parse)
            .collect();
        fields.iter().sum::<u64>()
    };
    let before = ticks();
    std::thread::sleep(Duration::from_millis(1500));
    assert!(ticks() - before <= 5, "{} ticks of the processor", ticks() - before);
    // A new keeper puts a new terminal there.
    put_console(&zone, &second.path);
    second.expect(GREETING);
    second.keys("\r");
    second.expect("# ");
}

/// Mounts a terminal of the host over the zone's console, from outside.
fn put_console(zone: &Zone, path: &str) {
    use zones::sys::mount::MountFd;
    use zones::sys::ns::{self, Kinds, Side};
    let fd = rustix::fs::open(path, rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).expect("a terminal");
    let mounts = ns::open(zone.init, "mnt").expect("a mount namespace");
    let tree = MountFd::copy(fd.as_fd(), false).expect("a copy");
    match ns::fork().expect("a process") {
        Side::Child => {
            let done = ns::join(mounts.as_fd(), Kinds::MOUNT).and_then(|()| {
                // Nothing can be mounted over a terminal that is gone: its name is gone as well.
                rustix::mount::unmount("/dev/console", rustix::mount::UnmountFlags::DETACH)?;
                let target =
                    rustix::fs::open("/dev/console", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty())?;
                tree.attach(target.as_fd())
            });
            zones::sys::process::exit_now(done.map_or_else(|e| e.raw_os_error().unwrap_or(1), |()| 0));
        }
        Side::Parent(pid, _) => {
            let ended = zones::sys::process::wait(pid).expect("a child of ours");
            assert_eq!(ended, zones::sys::process::Ended::Exit(0));
        }
    }
}

#[test]
fn without_a_shell_it_says_so() {
    let Some((zone, mut console)) = start("bare", "rm bin", "") else { return };
    console.expect(GREETING);
    console.keys("\r");
    console.expect("init: cannot execute /bin/sh\r\n");
    console.expect(GREETING);
    until("no child", || children(zone.init).is_empty());
}
