//! A throw-away world for tests that boot real zones: its own specs, states and zonepaths below a
//! temporary root. Everything is gone when the value is dropped, also after a failure.

#![allow(dead_code)] // each test program uses a part of it

mod sweep;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A temporary root with the programs that work on it.
pub struct Lab {
    dir: tempfile::TempDir,
    /// Programs run as on a kernel, or below a filter, that knows no openat2.
    without_openat2: bool,
    _alive: fs::File,
}

/// Runs a program with a filter that answers ENOSYS to openat2 (number 437 on every machine).
const NO_OPENAT2: &str = r#"
    my @filter = (pack("SCCL", 0x20, 0, 0, 0), pack("SCCL", 0x15, 0, 1, 437),
        pack("SCCL", 0x06, 0, 0, 0x50000 + 38), pack("SCCL", 0x06, 0, 0, 0x7fff0000));
    my $filter = join("", @filter);
    my $prctl = `uname -m` =~ /x86_64/ ? 157 : 167;
    syscall($prctl, 22, 2, pack("Sx6P", scalar(@filter), $filter)) == 0 or die "no filter: $!";
    exec(@ARGV) or die "no program: $!";
"#;

/// What a program printed and how it ended.
#[derive(Debug, Clone)]
pub struct Run {
    pub out: String,
    pub err: String,
    pub status: i32,
}

impl Lab {
    /// Makes a lab, or says aloud why this machine cannot run zones and returns none. Where
    /// `ZONES_TEST_REQUIRE` names the tier, that is a failure.
    pub fn new() -> Option<Self> {
        Self::make(&sweep::place(), false)
    }

    /// Makes a lab in the temporary directory: for tests that compare what a host with its zones on a disk says,
    /// or that share directories of the lab as those of the host.
    pub fn on_disk() -> Option<Self> {
        Self::make(&std::env::temp_dir(), false)
    }

    /// Makes a lab whose programs find no openat2 and have to walk.
    pub fn without_openat2() -> Option<Self> {
        Self::make(&sweep::place(), true)
    }

    fn make(place: &Path, without_openat2: bool) -> Option<Self> {
        if let Err(why) = probe() {
            let required = std::env::var("ZONES_TEST_REQUIRE").is_ok_and(|v| v.contains("namespaces"));
            assert!(!required, "the namespace tier must run here, but: {why}");
            eprintln!("SKIPPED: {why}");
            return None;
        }
        let (dir, alive) = sweep::folder(place, "zones-lab.", 0o700);
        // The zones' ids must be able to reach their roots only through the mounts made for them.
        fs::create_dir_all(dir.path().join("zones")).expect("a folder for zonepaths");
        Some(Self { dir, without_openat2, _alive: alive })
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Returns the host's view of a file in a zone.
    pub fn in_zone(&self, zone: &str, file: &str) -> PathBuf {
        self.path().join("zones").join(zone).join("root").join(file.trim_start_matches('/'))
    }

    pub fn command(&self, program: &str) -> Command {
        let path = match program {
            "zonecfg" => env!("CARGO_BIN_EXE_zonecfg"),
            "zoneadm" => env!("CARGO_BIN_EXE_zoneadm"),
            "zlogin" => env!("CARGO_BIN_EXE_zlogin"),
            other => panic!("no program {other}"),
        };
        let mut command = if self.without_openat2 {
            let mut perl = Command::new("perl");
            perl.args(["-e", NO_OPENAT2, path]);
            perl
        } else {
            Command::new(path)
        };
        command.env("ZONES_ROOT", self.path());
        command
    }

    /// Runs a program with input and returns all of it.
    pub fn run_with(&self, program: &str, args: &[&str], env: &[(&str, &str)], input: &str) -> Run {
        let mut command = self.command(program);
        command.args(args).envs(env.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        child.stdin.take().expect("a pipe").write_all(input.as_bytes()).ok();
        Run::from(child.wait_with_output().expect("the program ends"))
    }

    pub fn run(&self, program: &str, args: &[&str]) -> Run {
        self.run_with(program, args, &[], "")
    }

    /// Runs a program that must succeed, and returns its standard output.
    pub fn ok(&self, program: &str, args: &[&str]) -> String {
        let run = self.run(program, args);
        assert_eq!(run.status, 0, "{program} {args:?}: {run:?}");
        run.out
    }

    /// Configures a zone with these lines after `create`.
    pub fn configure(&self, zone: &str, lines: &str) {
        let script = format!("create\n{lines}\nexit\n");
        let run = self.run_with("zonecfg", &["-z", zone], &[], &script);
        assert_eq!(run.status, 0, "zonecfg: {run:?}");
    }

    /// Changes the spec of a zone.
    pub fn configure_again(&self, zone: &str, lines: &str) {
        let run = self.run_with("zonecfg", &["-z", zone], &[], &format!("{lines}\nexit\n"));
        assert_eq!(run.status, 0, "zonecfg: {run:?}");
    }

    /// Configures and installs a sparse zone.
    pub fn installed(&self, zone: &str, lines: &str) {
        self.configure(zone, lines);
        self.ok("zoneadm", &["-z", zone, "install"]);
    }

    /// Runs a shell command as the zone's root.
    pub fn sh(&self, zone: &str, script: &str) -> Run {
        self.run("zlogin", &[zone, script])
    }

    /// Returns the state of a zone as `zoneadm list -p` tells it.
    pub fn state(&self, zone: &str) -> String {
        let line = self.ok("zoneadm", &["-z", zone, "list", "-p"]);
        line.split(':').nth(2).unwrap_or_default().to_owned()
    }

    /// Returns what zones of this lab have left on the machine while none should run.
    pub fn leftovers(&self) -> Vec<String> {
        let lab = self.path().to_string_lossy().into_owned();
        let mut found: Vec<String> = Vec::new();
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("proc is there");
        found.extend(mounts.lines().filter(|l| l.contains(&lab)).map(|l| format!("mount: {l}")));
        for (pid, what) in self.processes() {
            found.push(format!("process {pid}: {what}"));
        }
        for entry in fs::read_dir("/sys/block").into_iter().flatten().flatten() {
            let backing = fs::read_to_string(entry.path().join("loop/backing_file")).unwrap_or_default();
            if backing.contains(&lab) {
                found.push(format!("loop device over {}", backing.trim()));
            }
        }
        found.extend(self.groups().iter().map(|group| format!("cgroup {}", group.display())));
        for entry in fs::read_dir(self.path().join("run/zones")).into_iter().flatten().flatten() {
            if !entry.file_name().to_string_lossy().starts_with('.') {
                found.push(format!("run-time files {}", entry.path().display()));
            }
        }
        found.extend(self.claims().iter().map(|file| format!("claim of ids {}", file.display())));
        found
    }

    /// Returns the files by which running zones of this lab tell the machine which ids they have.
    pub fn claims(&self) -> Vec<PathBuf> {
        let folder = Path::new("/run/zones/.ids").join(self.group_suffix());
        fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect()
    }

    /// Waits until nothing is left, for a moment: supervisors end a little after their zone.
    pub fn assert_clean(&self) {
        let mut left = Vec::new();
        for _ in 0..200 {
            left = self.leftovers();
            if left.is_empty() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("left behind: {left:#?}");
    }

    /// Kills the zone's supervisor and waits until it is gone.
    pub fn kill_supervisor(&self, zone: &str) {
        let pid = record(self, zone, "supervisor");
        assert!(Command::new("kill").args(["-9", &pid]).status().is_ok_and(|s| s.success()));
        for _ in 0..500 {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            if stat.is_empty() || stat.contains(") Z ") {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        panic!("the supervisor of {zone} lives on");
    }

    /// Returns the suffix by which cgroups of this root differ from those of others.
    fn group_suffix(&self) -> String {
        zones::apply::paths::group_suffix(&zones::apply::paths::Root::new(Some(self.path())))
    }

    /// Returns the cgroups of this lab's zones.
    fn groups(&self) -> Vec<PathBuf> {
        let bases = ["/sys/fs/cgroup/zones", "/sys/fs/cgroup/unified/zones"];
        let entries = bases.iter().flat_map(|base| fs::read_dir(base).into_iter().flatten().flatten());
        let suffix = self.group_suffix();
        entries.map(|e| e.path()).filter(|path| path.to_string_lossy().ends_with(&suffix)).collect()
    }

    /// Ends what is in a cgroup of a zone that no command has ended, and removes it.
    fn remove_group(group: &Path) {
        let _ = fs::write(group.join("cgroup.kill"), "1");
        for _ in 0..100 {
            let mut find = Command::new("find");
            find.arg(group).args(["-depth", "-type", "d", "-exec", "rmdir", "{}", ";"]);
            let _ = find.stderr(Stdio::null()).status();
            if !group.exists() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// Returns our processes: those that were started with this root in their environment, zombies
    /// and this test aside.
    pub fn processes(&self) -> Vec<(i32, String)> {
        sweep::processes(self.path())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() && std::env::var_os("KEEP").is_some() {
            // Without this file no other test takes it for one whose test has died.
            let _ = fs::remove_file(self.path().join(".alive"));
            self.dir.disable_cleanup(true);
            eprintln!("kept: ZONES_ROOT={}", self.path().display());
            return;
        }
        for entry in fs::read_dir(self.path().join("run/zones")).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') {
                self.run("zoneadm", &["-z", &name, "halt"]);
            }
        }
        for (pid, _) in self.processes() {
            // Only processes that carry this lab's root in their environment.
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
        self.groups().iter().for_each(|group| Self::remove_group(group));
        for file in self.claims() {
            let _ = fs::remove_file(file);
        }
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        use std::os::unix::process::ExitStatusExt;
        Self {
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            status: output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0)),
        }
    }
}

/// Returns the field of the zone's running record.
pub fn record(lab: &Lab, zone: &str, field: &str) -> String {
    let text = fs::read_to_string(lab.path().join("run/zones").join(zone).join("running")).expect("a record");
    let prefix = format!("{field}=");
    text.split_whitespace().find_map(|w| w.strip_prefix(&prefix)).expect(field).to_owned()
}

/// Says why zones cannot run here.
fn probe() -> Result<(), String> {
    if fs::metadata("/proc/self").map_or(1, |m| std::os::unix::fs::MetadataExt::uid(&m)) != 0 {
        return Err("zones need root".into());
    }
    let run = Command::new("unshare").args(["-Urmpfuin", "true"]).output();
    match run {
        Ok(o) if o.status.success() => Ok(()),
        Ok(o) => {
            Err(format!("this kernel makes no namespaces: {}", String::from_utf8_lossy(&o.stderr).trim()))
        }
        Err(e) => Err(format!("unshare(1) is missing: {e}")),
    }
}
