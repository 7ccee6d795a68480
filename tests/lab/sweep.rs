//! Folders of tests, and what is left of those whose test has died: killed by its time limit, or by hand.
//!
//! A living test holds a lock on a file in its folder; the kernel gives the lock back with the process, so
//! nobody can be mistaken for it. Whoever makes a new folder first takes away those that nobody holds.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;

/// Name of the locked file.
const ALIVE: &str = ".alive";

/// Makes a folder that is known to be in use while the file lives.
pub fn folder(place: &Path, prefix: &str, mode: u32) -> (tempfile::TempDir, File) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| sweep(prefix));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
    let mut new = tempfile::Builder::new();
    let dir = new.prefix(prefix).permissions(mode).tempdir_in(place).expect("a temporary folder");
    // Locked before it has its name: nobody finds it without.
    let new = dir.path().join(".alive.new");
    let alive = File::create(&new).expect("a file");
    alive.lock().expect("a lock on a new file");
    fs::rename(&new, dir.path().join(ALIVE)).expect("a new name");
    (dir, alive)
}

const MEMORY: &str = "/dev/shm";

/// Returns the directory in which tests make their folders: `ZONES_TEST_DIR`, or memory where it can do what a
/// disk can, or else the temporary directory.
///
/// On ext4 a new file takes up to a hundred times as long after many have been removed there, as each test does
/// at its end: the kernel passes over every inode that was freed within the last minutes.
pub fn place() -> PathBuf {
    if let Some(named) = env::var_os("ZONES_TEST_DIR") {
        return named.into();
    }
    if memory_will_do() { MEMORY.into() } else { env::temp_dir() }
}

/// Tells whether zones can have their roots in memory: with room, without restrictions, with mapped ids (Linux 6.3).
fn memory_will_do() -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let fields = mounts.lines().rev().map(|line| line.split(' ').collect::<Vec<_>>());
    let Some(mount) = fields.into_iter().find(|fields| fields.get(4) == Some(&MEMORY)) else { return false };
    let limits = ["ro", "nosuid", "nodev", "noexec"];
    let free = rustix::fs::statvfs(MEMORY).map_or(0, |fs| fs.f_bavail * fs.f_frsize);
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map_while(|n| n.trim().parse::<u32>().ok());
    mount.contains(&"tmpfs")
        && !mount[5].split(',').any(|option| limits.contains(&option))
        && free >= 4 << 30
        && (numbers.next(), numbers.next()) >= (Some(6), Some(3))
}

/// Takes away what dead tests have left in folders of this prefix.
pub fn sweep(prefix: &str) {
    let places = [place(), env::temp_dir()];
    for entry in places.iter().flat_map(|dir| fs::read_dir(dir).into_iter().flatten().flatten()) {
        if !entry.file_name().to_string_lossy().starts_with(prefix) {
            continue;
        }
        let dir = entry.path();
        let Ok(alive) = File::open(dir.join(ALIVE)) else { continue };
        if alive.try_lock().is_ok() {
            eprintln!("sweeping {}: its test has died", dir.display());
            clear(&dir);
        }
    }
}

fn clear(dir: &Path) {
    for entry in fs::read_dir(dir.join("run/zones")).into_iter().flatten().flatten() {
        let zone = entry.file_name().to_string_lossy().into_owned();
        if !zone.starts_with('.') {
            let mut halt = Command::new("timeout");
            halt.args(["20", env!("CARGO_BIN_EXE_zoneadm"), "-z", &zone, "halt"]).env("ZONES_ROOT", dir);
            let _ = halt.stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }
    for (pid, _) in processes(dir) {
        let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // Never through a mount into something else.
    if !mounts.contains(&*dir.to_string_lossy()) {
        let _ = fs::remove_dir_all(dir);
    }
}

/// Returns the processes that were started with this root in their environment, zombies aside.
pub fn processes(root: &Path) -> Vec<(i32, String)> {
    let root = format!("ZONES_ROOT={}", root.display());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let environ = fs::read(entry.path().join("environ")).unwrap_or_default();
        if environ.split(|b| *b == 0).any(|v| v == root.as_bytes()) {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.push((pid, String::from_utf8_lossy(&line).replace('\0', " ")));
        }
    }
    found
}
