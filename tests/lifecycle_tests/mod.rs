//! A throw-away root with zones in it.

mod attach;
mod clone;
mod hostile;
mod interrupted;
mod locks;
mod transfer;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// What a program printed and how it ended.
#[derive(Debug)]
pub struct Run {
    pub out: String,
    pub err: String,
    pub status: Option<i32>,
}

pub struct Place {
    dir: TempDir,
}

/// A mount that goes with the value, also when a test fails.
pub struct Mounted(PathBuf);

impl Mounted {
    /// Mounts a fresh file system in memory.
    pub fn tmpfs(at: PathBuf) -> Self {
        fs::create_dir_all(&at).expect("mount point");
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", &at, "tmpfs", flags, None).expect("a tmpfs can be mounted");
        fs::set_permissions(&at, fs::Permissions::from_mode(0o755)).expect("chmod");
        Self(at)
    }

    /// Binds a directory.
    pub fn bind(from: &Path, at: PathBuf) -> Self {
        rustix::mount::mount_bind(from, &at).expect("a directory can be bound");
        Self(at)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

impl Place {
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("zones-life.").tempdir().expect("a temporary folder");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        fs::create_dir(dir.path().join("zones")).expect("a folder for zonepaths");
        Self { dir }
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path.trim_start_matches('/'))
    }

    /// A path as messages have it.
    pub fn shown(&self, path: &str) -> String {
        self.path(path).display().to_string()
    }

    /// Configures a zone with this after the zonepath.
    pub fn zone(&self, name: &str, rest: &str) {
        let text = format!("format = 1\nzonepath = \"/zones/{name}\" # where it is\n{rest}");
        put(&self.path(&format!("etc/zones.d/{name}.toml")), text.as_bytes(), 0o644);
    }

    pub fn spec(&self, name: &str) -> String {
        read(&self.path(&format!("etc/zones.d/{name}.toml")))
    }

    /// Configures a zone and fills its root as an install would.
    pub fn installed(&self, name: &str, rest: &str) {
        self.zone(name, rest);
        self.tree("tree");
        let tree = self.shown("tree");
        self.good(&["-z", name, "install", "-d", &tree]);
    }

    /// A small system.
    fn tree(&self, name: &str) {
        for (file, content) in [("etc/passwd", "root:x:0:0::/root:/bin/sh\n"), ("usr/bin/tool", "tool")] {
            put(&self.path(name).join(file), content.as_bytes(), 0o644);
        }
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zoneadm"));
        command.arg("-R").arg(self.dir.path()).args(args).stdin(Stdio::null()).env_remove("ZONES_ROOT");
        command
    }

    pub fn run(&self, args: &[&str]) -> Run {
        run(&mut self.command(args))
    }

    /// Runs a command that must succeed; returns what it printed.
    pub fn good(&self, args: &[&str]) -> String {
        let done = self.run(args);
        assert_eq!(done.status, Some(0), "{args:?}: {done:?}");
        done.out
    }

    /// Runs a command that must fail and returns its complaint.
    pub fn bad(&self, args: &[&str]) -> String {
        let done = self.run(args);
        assert_eq!((done.out.as_str(), done.status), ("", Some(1)), "{args:?}: {}", done.err);
        done.err
    }

    /// Runs a command that kills itself at a place; says whether it was killed.
    pub fn killed(&self, args: &[&str], at: u32) -> bool {
        use std::os::unix::process::ExitStatusExt;
        let done = self.command(args).env("ZONES_TEST_KILL_AT", at.to_string()).output().expect("zoneadm");
        assert!(done.status.success() || done.status.signal() == Some(9), "{args:?} at {at}: {done:?}");
        done.status.signal() == Some(9)
    }

    pub fn zonecfg(&self, zone: &str, line: &str) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zonecfg"));
        let done = run(command.arg("-R").arg(self.dir.path()).args(["-z", zone, line]).stdin(Stdio::null()));
        assert_eq!(done.status, Some(0), "{line}: {done:?}");
    }

    fn field(&self, zone: &str, number: usize) -> String {
        let line = self.good(&["-z", zone, "list", "-p"]);
        line.trim_end().split(':').nth(number).unwrap_or_default().to_owned()
    }

    pub fn state(&self, zone: &str) -> String {
        self.field(zone, 2)
    }

    pub fn uuid(&self, zone: &str) -> String {
        self.field(zone, 4)
    }

    /// Makes a zone active as far as the record says, with this test as its first process.
    pub fn running(&self, name: &str) {
        let me = std::process::id();
        let stat = fs::read_to_string("/proc/self/stat").expect("proc");
        let start =
            stat.rsplit_once(')').expect("a name").1.split_whitespace().nth(19).expect("a time").to_owned();
        let line = format!("id=1 state=running init={me} start={start} supervisor={me} sstart={start}\n");
        put(&self.path(&format!("run/zones/{name}/running")), line.as_bytes(), 0o644);
    }
}

fn run(command: &mut Command) -> Run {
    let done = command.output().expect("the program starts");
    let text = |b: Vec<u8>| String::from_utf8(b).expect("UTF-8");
    Run { out: text(done.stdout), err: text(done.stderr), status: done.status.code() }
}

pub fn put(path: &Path, content: &[u8], mode: u32) {
    fs::create_dir_all(path.parent().expect("parent")).expect("dirs");
    fs::write(path, content).expect("write");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

pub fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
        .into_owned()
}

/// Names, types, modes, owners, targets and contents below a directory.
pub fn picture(top: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![top.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
            let path = entry.expect("entry").path();
            let stat = path.symlink_metadata().expect("stat");
            let content = match stat.file_type() {
                t if t.is_dir() => String::new(),
                t if t.is_symlink() => fs::read_link(&path).expect("link").display().to_string(),
                // Holes are for those that look for them.
                t if t.is_file() && stat.len() > 1 << 24 => format!("{} bytes", stat.len()),
                t if t.is_file() => String::from_utf8_lossy(&fs::read(&path).expect("read")).into_owned(),
                _ => String::new(),
            };
            if stat.is_dir() {
                todo.push(path.clone());
            }
            let shown = path.strip_prefix(top).expect("below").display().to_string();
            found.push(format!("{shown} {:o} {}:{} {content}", stat.mode(), stat.uid(), stat.gid()));
        }
    }
    found.sort();
    found
}
