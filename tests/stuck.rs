//! The end of zones whose processes do not end: the one that hangs is named, and why, and what to do; and a
//! zone that only keeps the kernel busy closing files has ended for everybody else.

mod lab;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lab::{Lab, Run, record};

fn wait_until(what: &str, seconds: u64, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(seconds), "{what} does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn state(pid: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Boots a zone with a process of its own, and returns the process as the host sees it.
fn booted(lab: &Lab, lines: &str, script: &str) -> i32 {
    lab.installed("slow", &format!("set zonepath=/zones/slow\n{lines}"));
    lab.ok("zoneadm", &["-z", "slow", "boot"]);
    started(lab, script)
}

/// Starts a script in the zone, which says "up" in a file when it is ready.
fn started(lab: &Lab, script: &str) -> i32 {
    let line = format!("setsid sh -c '{script}' >/dev/null 2>&1 </dev/null & echo $!");
    let run = lab.sh("slow", &line);
    assert_eq!(run.status, 0, "{run:?}");
    let inside: i32 = run.out.trim().parse().expect("a number");
    let init: i32 = record(lab, "slow", "init").parse().expect("a number");
    let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let own = namespace(init);
    let mut found = None;
    wait_until("the process", 20, || lab.in_zone("slow", "/root/up").exists());
    for entry in fs::read_dir("/proc").expect("proc").flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let numbers = status.lines().find_map(|l| l.strip_prefix("NSpid:")).unwrap_or_default();
        let mine = numbers.split_whitespace().last() == Some(inside.to_string().as_str());
        if mine && namespace(pid) == own {
            found = Some(pid);
        }
    }
    found.expect("the process of the zone")
}

fn halt(lab: &Lab) -> Run {
    lab.run("zoneadm", &["-z", "slow", "halt"])
}

/// A process of the host that is ended with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder of a cgroup that is thawed and removed with the test.
struct Freezer(PathBuf);

impl Freezer {
    fn set(&self, word: &str) {
        fs::write(self.0.join("freezer.state"), word).expect("a state");
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("freezer.state"), "THAWED");
        for _ in 0..500 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn a_process_that_a_tracer_of_the_host_holds_is_named_with_its_tracer() {
    let Some(lab) = Lab::new() else { return };
    let pid = booted(&lab, "", "touch /root/up; exec sleep 9999");
    wait_until("sleep", 20, || fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|c| c == "sleep\n"));
    // PTRACE_SEIZE, and never a wait(2).
    let script = "my $n = `uname -m` =~ /x86_64/ ? 101 : 117; \
        syscall($n, 0x4206, $ARGV[0] + 0, 0, 0) == 0 or die; $| = 1; print qq(up\\n); sleep 9999";
    let mut tracer = Command::new("perl");
    tracer.args(["-e", script, &pid.to_string()]).stdout(Stdio::piped());
    let mut tracer = Ended(tracer.spawn().expect("perl"));
    let mut line = [0; 3];
    std::io::Read::read_exact(&mut tracer.0.stdout.take().expect("a pipe"), &mut line).expect("it traces");
    let run = halt(&lab);
    assert_eq!(run.status, 1, "{run:?}");
    assert!(run.err.contains(&format!("process {pid} (sleep)")), "it is named: {run:?}");
    assert!(run.err.contains(&format!("{} (perl)", tracer.0.id())), "and its tracer: {run:?}");
    assert_eq!(lab.state("slow"), "shutting_down");
    drop(tracer);
    wait_until("the end", 30, || lab.state("slow") == "installed");
    lab.assert_clean();
}

#[test]
fn what_is_asked_of_the_built_in_init_before_it_has_run_a_line_is_not_lost() {
    let Some(lab) = Lab::new() else { return };
    lab.installed("slow", "set zonepath=/zones/slow");
    lab.ok("zoneadm", &["-z", "slow", "ready"]);
    let init = record(&lab, "slow", "init");
    // PTRACE_SEIZE, to hold it where the exec is done.
    let script = "my $n = `uname -m` =~ /x86_64/ ? 101 : 117; \
        syscall($n, 0x4206, $ARGV[0] + 0, 0, 0x10) == 0 or die; $| = 1; print qq(up\n); \
        waitpid($ARGV[0], 0); print qq(at\n); sleep 9999";
    let mut tracer = Command::new("perl");
    tracer.args(["-e", script, &init]).stdout(Stdio::piped());
    let mut tracer = Ended(tracer.spawn().expect("perl"));
    let mut said = tracer.0.stdout.take().expect("a pipe");
    let mut line = [0; 3];
    std::io::Read::read_exact(&mut said, &mut line).expect("it traces");
    lab.ok("zoneadm", &["-z", "slow", "boot"]);
    std::io::Read::read_exact(&mut said, &mut line).expect("the exec");
    assert_eq!(&line, b"at\n");
    assert!(Command::new("kill").args(["-INT", &init]).status().is_ok_and(|s| s.success()));
    drop(tracer);
    let text = || fs::read_to_string(lab.path().join("run/zones/slow/running")).unwrap_or_default();
    wait_until("the new system", 20, || {
        text().contains("state=running") && !text().contains(&format!("init={init} "))
    });
    lab.ok("zoneadm", &["-z", "slow", "halt"]);
    lab.assert_clean();
}

#[test]
fn a_frozen_process_is_named_with_what_thaws_it() {
    let top = Path::new("/sys/fs/cgroup/freezer");
    if !top.join("cgroup.procs").exists() {
        eprintln!("SKIPPED: this host has no freezer of cgroup v1");
        return;
    }
    let Some(lab) = Lab::new() else { return };
    // A name that would write on the terminal and begin a line of its own.
    let name = "\\033[2Jx\\nzoneadm:";
    let script =
        format!("cp /bin/sleep \"/root/$(printf \"{name}\")\"; touch /root/up; exec /root/*zoneadm: 9999");
    let pid = booted(&lab, "", &script);
    wait_until("the copy", 20, || {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|c| c.contains('x'))
    });
    let freezer = Freezer(top.join(format!("zones-test-{}", std::process::id())));
    fs::create_dir(&freezer.0).expect("a cgroup");
    fs::write(freezer.0.join("cgroup.procs"), pid.to_string()).expect("moved");
    freezer.set("FROZEN");
    let run = halt(&lab);
    assert_eq!(run.status, 1, "{run:?}");
    assert!(run.err.contains(&format!("process {pid} (")), "it is named: {run:?}");
    assert!(run.err.contains("frozen") && run.err.contains("THAWED"), "{run:?}");
    assert!(run.err.contains(&*freezer.0.to_string_lossy()), "where it is thawed: {run:?}");
    assert!(!run.err.contains('\u{1b}') && run.err.trim_end().lines().count() == 1, "{run:?}");
    freezer.set("THAWED");
    wait_until("the end", 30, || lab.state("slow") == "installed");
    lab.assert_clean();
}

#[test]
fn a_killed_process_that_takes_a_moment_to_end_is_waited_for() {
    let top = Path::new("/sys/fs/cgroup/freezer");
    if !top.join("cgroup.procs").exists() {
        eprintln!("SKIPPED: this host has no freezer of cgroup v1");
        return;
    }
    let Some(lab) = Lab::new() else { return };
    booted(&lab, "", "touch /root/up; exec sleep 9999");
    let text = fs::read_to_string(lab.path().join("run/zones/slow/running")).expect("a record");
    let group = text.split_whitespace().find_map(|w| w.strip_prefix("cgroup=")).map(PathBuf::from);
    lab.ok("zoneadm", &["-z", "slow", "halt"]);
    let Some(group) = group else { return };
    fs::create_dir_all(&group).expect("a cgroup");
    let stray = Ended(Command::new("sleep").arg("43217").spawn().expect("a process"));
    fs::write(group.join("cgroup.procs"), stray.0.id().to_string()).expect("moved");
    let freezer = Freezer(top.join(format!("zones-test-stray-{}", std::process::id())));
    fs::create_dir(&freezer.0).expect("a cgroup");
    fs::write(freezer.0.join("cgroup.procs"), stray.0.id().to_string()).expect("moved");
    freezer.set("FROZEN");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_secs(1));
            freezer.set("THAWED");
        });
        let run = halt(&lab);
        assert_eq!((run.status, run.err.as_str()), (0, ""), "{run:?}");
    });
    drop(stray);
    assert!(!group.exists());
    lab.assert_clean();
}

#[test]
fn a_cgroup_that_the_zone_has_frozen_does_not_keep_it() {
    let Some(lab) = Lab::new() else { return };
    let pid = booted(&lab, "", "touch /root/up; exec sleep 9999");
    let text = fs::read_to_string(lab.path().join("run/zones/slow/running")).expect("a record");
    let Some(group) = text.split_whitespace().find_map(|w| w.strip_prefix("cgroup=")) else { return };
    let inner = Path::new(group).join("frozen");
    fs::create_dir(&inner).expect("a cgroup");
    fs::write(inner.join("cgroup.procs"), pid.to_string()).expect("moved");
    fs::write(inner.join("cgroup.freeze"), "1").expect("frozen");
    let run = halt(&lab);
    assert_eq!((run.status, run.err.as_str()), (0, ""), "{run:?}");
    lab.assert_clean();
}

/// A small file system that can be frozen, on a loop device of the test's own.
struct Disk {
    dir: PathBuf,
}

impl Disk {
    fn new(lab: &Lab) -> Option<Self> {
        let (file, dir) = (lab.path().join("disk.img"), lab.path().join("disk"));
        fs::create_dir(&dir).expect("a folder");
        fs::File::create(&file).and_then(|f| f.set_len(16 << 20)).expect("a file");
        let ok = |program: &str, args: &[&str]| {
            let out = Command::new(program).args(args).output();
            out.is_ok_and(|o| o.status.success())
        };
        let (file, place) = (file.to_string_lossy().into_owned(), dir.to_string_lossy().into_owned());
        let made = ok("mkfs.ext4", &["-q", "-F", &file]) && ok("mount", &["-o", "loop", &file, &place]);
        if !made {
            eprintln!("SKIPPED: this machine mounts no ext4 from a file");
        }
        made.then_some(Self { dir })
    }

    fn freeze(&self, flag: &str) {
        let _ = Command::new("fsfreeze").arg(flag).arg(&self.dir).status();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.freeze("-u");
        let umounted = || Command::new("umount").arg(&self.dir).status().is_ok_and(|s| s.success());
        for _ in 0..500 {
            if umounted() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_process_that_waits_in_the_kernel_is_named_and_not_init() {
    let Some(lab) = Lab::new() else { return };
    let Some(disk) = Disk::new(&lab) else { return };
    fs::write(disk.dir.join("file"), "").expect("a file");
    std::os::unix::fs::chown(disk.dir.join("file"), Some(0), Some(0)).expect("chown");
    let share = format!("add fs\nset type=lofs\nset special={}\nset dir=/mnt\nend", disk.dir.display());
    let pid = booted(&lab, &share, "touch /root/up; while :; do echo x >> /mnt/file; done");
    let init = record(&lab, "slow", "init");
    disk.freeze("-f");
    wait_until("a wait in the kernel", 20, || state(pid) == Some('D'));
    let run = halt(&lab);
    assert_eq!(run.status, 1, "{run:?}");
    assert!(run.err.contains(&format!("process {pid} (sh)")), "it is named: {run:?}");
    assert!(run.err.contains("state D"), "{run:?}");
    assert!(!run.err.contains(&format!("process {init} ")), "and not init: {run:?}");
    assert_eq!(lab.state("slow"), "shutting_down");
    let run = lab.run("zoneadm", &["-z", "slow", "uninstall", "-F"]);
    assert!(run.status != 0 && run.err.contains("shutting_down"), "{run:?}");
    disk.freeze("-u");
    wait_until("the end", 30, || lab.state("slow") == "installed");
    drop(disk);
    // Zones of other tests that are just booting have copies of its mount for a moment.
    wait_until("the end of the disk", 30, || lab.leftovers().is_empty());
}

#[test]
fn a_zone_that_keeps_the_kernel_busy_with_its_files_has_ended_for_everybody_else() {
    let Some(lab) = Lab::new() else { return };
    if fs::metadata("/proc/pressure/memory").is_err() {
        eprintln!("SKIPPED: this kernel tells of no pressure");
        return;
    }
    let script = "ulimit -n 4096; perl -e \"for (1..2500) { sysopen(my \\$f, q(/proc/pressure/memory), 2) or last; \
        syswrite(\\$f, qq(some 100000 2000000\\\\0)) or last; push @f, \\$f } \
        open(my \\$n, q(>), q(/root/count)); print \\$n scalar(@f); close(\\$n); \
        open(my \\$u, q(>), q(/root/up)); sleep 9999\"";
    let pid = booted(&lab, "", script);
    let count = fs::read_to_string(lab.in_zone("slow", "/root/count")).unwrap_or_default();
    if count.parse::<u32>().unwrap_or(0) < 2500 {
        eprintln!("SKIPPED: the zone could make {count:?} triggers only");
        return;
    }
    let init: i32 = record(&lab, "slow", "init").parse().expect("a number");
    let run = halt(&lab);
    eprintln!("{run:?}");
    assert_eq!(run.status, 0, "{run:?}");
    if state(init).is_some_and(|s| s != 'Z') {
        assert!(run.err.contains("have ended"), "{run:?}");
        assert!(run.err.contains("perl") && run.err.contains("shutting_down"), "what it waits for: {run:?}");
        assert_eq!(lab.state("slow"), "shutting_down");
        let uninstall = lab.run("zoneadm", &["-z", "slow", "uninstall", "-F"]);
        assert!(uninstall.err.contains("shutting_down"), "{uninstall:?}");
        // Nothing of it can do anything any more.
        let memory = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
        assert!(memory.is_empty() || memory.starts_with("0 "), "{memory}");
        let again = halt(&lab);
        assert_eq!(again.status, 0, "{again:?}");
    }
    wait_until("the end, seen by the supervisor", 150, || lab.state("slow") == "installed");
    lab.assert_clean();
}
