//! The copy of a zone's small run-time files, for the case that its run-time folder is removed.
//!
//! It is one file, `/var/lib/zones/.running/NAME`: making and removing files costs a boot more than writing their
//! content. When the zone ends, that file moves to `/var/lib/zones/NAME/spare`, from where its next boot takes it
//! again: a file system may look for a free inode for a millisecond. Its first line is the record and the number of
//! the host's boot, filled up with blanks to `HEAD_BYTES`, so that another record can be written over it. Each
//! run-time file follows as a line `NAME LENGTH` and its bytes.
//!
//! It is believed only in the boot of the host in which it was made, and while the process that it names lives. It
//! is written without a sync, and a copy that cannot be written is no harm by itself.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{DATASETS, IMAGE, JOURNAL, Running, SPEC};
use crate::apply::paths::Root;
use crate::apply::trust;
use crate::spec::ZoneName;
use crate::sys::made;

/// Name of the folder of the copies, below `/var/lib/zones`.
const FOLDER: &str = ".running";

/// Name of the file of a former copy, which the next boot writes over, in the zone's folder of files that outlive a
/// boot.
const SPARE: &str = "spare";

/// Files that are copied beside the record: a running zone is ended and entered by them.
const KEPT: [&str; 4] = [SPEC, IMAGE, JOURNAL, DATASETS];

/// Length of the first line in bytes.
const HEAD_BYTES: usize = 512;

/// Most bytes of a copy that are read.
const MAX_BYTES: u64 = 1 << 24;

/// Returns the folder of the copies.
pub fn folder(root: &Root) -> PathBuf {
    root.lib_dir().join(FOLDER)
}

fn path(root: &Root, zone: &ZoneName) -> PathBuf {
    folder(root).join(zone.as_str())
}

fn spare(root: &Root, zone: &ZoneName) -> PathBuf {
    root.zone_lib(zone).join(SPARE)
}

/// Returns the first line for a record.
fn head(running: &Running) -> io::Result<String> {
    let boot = made::read("/proc/sys/kernel/random/boot_id")?;
    let line = format!("{} boot={}", running.to_string().trim_end(), boot.trim());
    if line.len() >= HEAD_BYTES {
        return Err(io::Error::other("the record is too long for a copy"));
    }
    Ok(format!("{line:0$}\n", HEAD_BYTES - 1))
}

/// Reads a first line; none when it was written in another boot of the host.
fn parse_head(line: &str) -> Option<Running> {
    let boot = line.split_whitespace().find_map(|w| w.strip_prefix("boot="))?;
    let now = made::read("/proc/sys/kernel/random/boot_id").ok()?;
    (boot == now.trim()).then(|| Running::parse(line).map(Running::believed))?
}

/// Stores the record of a zone as [`keep`] does. A failure is ignored: without a copy a zone is found by its cgroup
/// only, which is enough in all but rare cases.
pub fn keep_if_possible(root: &Root, zone: &ZoneName, running: &Running) {
    let _ = keep(root, zone, running);
}

/// Stores the record of a zone in the copy: writes it over the stored one, or makes a copy of the record and its
/// files.
///
/// # Errors
/// The system's error.
pub fn keep(root: &Root, zone: &ZoneName, running: &Running) -> io::Result<()> {
    let (path, head) = (path(root, zone), head(running)?);
    if replace_head(&path, running, &head)? {
        return Ok(());
    }
    let bytes = whole(root, zone, head)?;
    // The file of the former boot is used again, see the head of this module.
    let _ = fs::rename(spare(root, zone), &path);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let file = options.open(&path).or_else(|e| match e.kind() {
        io::ErrorKind::NotFound => {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(folder(root))?;
            options.open(&path)
        }
        _ => Err(e),
    })?;
    file.write_all_at(&bytes, 0)?;
    file.set_len(bytes.len() as u64)
}

/// Returns a copy of the zone's files behind a first line.
fn whole(root: &Root, zone: &ZoneName, head: String) -> io::Result<Vec<u8>> {
    let mut bytes = head.into_bytes();
    for name in KEPT {
        if let Ok(content) = fs::read(root.zone_run(zone).join(name)) {
            writeln!(bytes, "{name} {}", content.len())?;
            bytes.extend(content);
        }
    }
    Ok(bytes)
}

/// Copies the files of a zone that runs again, because one of them has changed: whole or not at all. A zone without a
/// copy, which is one whose boot has not made it yet, is left without.
///
/// # Errors
/// The system's error.
pub fn renew(root: &Root, zone: &ZoneName) -> io::Result<()> {
    let Some(running) = record(root, zone) else { return Ok(()) };
    let bytes = whole(root, zone, head(&running)?)?;
    // No zone has a name that begins with a dot.
    let draft = folder(root).join(format!(".{zone}.new"));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let done = options.open(&draft).and_then(|mut file| file.write_all(&bytes));
    let done = done.and_then(|()| fs::rename(&draft, path(root, zone)));
    done.inspect_err(|_| drop(fs::remove_file(&draft)))
}

/// Writes over the first line of a copy of the same zone, as booted now; says whether there was one.
fn replace_head(path: &Path, running: &Running, head: &str) -> io::Result<bool> {
    let mut file = match OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOFOLLOW).open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    let Some(old) = read_head(&mut file).and_then(|line| parse_head(&line)) else { return Ok(false) };
    if (old.init, old.init_start) != (running.init, running.init_start) {
        return Ok(false);
    }
    file.write_all_at(head.as_bytes(), 0)?;
    Ok(true)
}

fn read_head(file: &mut File) -> Option<String> {
    let mut line = [0; HEAD_BYTES];
    file.read_exact(&mut line).ok()?;
    String::from_utf8(line.to_vec()).ok()
}

/// Withdraws the copy, so that it is no longer believed. Its file is kept for the next boot of the zone.
pub fn remove(root: &Root, zone: &ZoneName) {
    let path = path(root, zone);
    if fs::rename(&path, spare(root, zone)).is_err() {
        let _ = fs::remove_file(path);
    }
}

/// Removes the file that was kept for the next boot, of a zone that is no longer installed.
pub fn remove_spare(root: &Root, zone: &ZoneName) {
    let _ = fs::remove_file(spare(root, zone));
}

/// Returns the record that was copied in this boot of the host.
pub fn record(root: &Root, zone: &ZoneName) -> Option<Running> {
    let line = trust::read(&path(root, zone), HEAD_BYTES as u64)?;
    parse_head(&line)
}

/// Returns the content of a run-time file that was copied in this boot of the host.
pub fn file(root: &Root, zone: &ZoneName, name: &str) -> Option<Vec<u8>> {
    files(root, zone).into_iter().find_map(|(kept, content)| (kept == name).then_some(content))
}

/// Writes the copied files that the run-time folder lacks into it.
pub fn put_back(root: &Root, zone: &ZoneName) {
    for (name, content) in files(root, zone) {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let _ = options.open(root.zone_run(zone).join(name)).and_then(|mut file| file.write_all(&content));
    }
}

/// Returns the files that were copied in this boot of the host.
fn files(root: &Root, zone: &ZoneName) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = trust::read_bytes(&path(root, zone), MAX_BYTES).unwrap_or_default();
    let Some((head, rest)) = bytes.split_at_checked(HEAD_BYTES) else { return Vec::new() };
    let is_ours = std::str::from_utf8(head).ok().and_then(parse_head).is_some();
    if is_ours { parse_files(rest) } else { Vec::new() }
}

/// Reads the files behind the first line, as many as are whole.
fn parse_files(mut rest: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut list = Vec::new();
    while let Some(end) = rest.iter().position(|b| *b == b'\n') {
        let line = std::str::from_utf8(&rest[..end]).ok();
        let Some((name, length)) = line.and_then(|l| l.split_once(' ')) else { break };
        let name = KEPT.into_iter().find(|kept| *kept == name);
        let content = length.parse().ok().and_then(|length| rest[end + 1..].split_at_checked(length));
        let (Some(name), Some((content, after))) = (name, content) else { break };
        list.push((name, content.to_vec()));
        rest = after;
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::state::ZoneState;

    fn running(init: i32) -> Running {
        Running {
            id: 3,
            state: ZoneState::Running,
            init,
            init_start: 4,
            supervisor: 5,
            supervisor_start: 6,
            stop_reason: None,
            announced: None,
            cgroup: Some("/sys/fs/cgroup/zones/zion".into()),
            links: Some(0),
        }
    }

    #[test]
    fn a_copy_reads_back() {
        let temp = tempfile::tempdir().expect("a folder");
        let (root, zone) = (Root::new(Some(temp.path())), ZoneName::new("zion").expect("a name"));
        let run = root.zone_run(&zone);
        fs::create_dir_all(&run).expect("the run-time folder");
        fs::create_dir_all(root.lib_dir()).expect("the folder of states");
        assert_eq!(record(&root, &zone), None);
        fs::write(run.join("spec.toml"), "format = 1\n").expect("written");
        fs::write(run.join("journal"), "").expect("written");
        keep(&root, &zone, &running(7)).expect("kept");
        assert_eq!(record(&root, &zone), Some(running(7)));
        let spec = b"format = 1\n".to_vec();
        assert_eq!(files(&root, &zone), [("spec.toml", spec.clone()), ("journal", Vec::new())]);
        // The record changes, and the files stay as they were.
        fs::write(run.join("spec.toml"), "another").expect("written");
        let going = Running { state: ZoneState::ShuttingDown, ..running(7) };
        keep(&root, &zone, &going).expect("kept");
        assert_eq!((record(&root, &zone), file(&root, &zone, "spec.toml")), (Some(going), Some(spec)));
        // Another life of the zone has other files.
        keep(&root, &zone, &running(8)).expect("kept");
        assert_eq!(file(&root, &zone, "spec.toml").as_deref(), Some(&b"another"[..]));
        // A file has changed while the zone runs.
        fs::write(run.join("spec.toml"), "changed").expect("written");
        renew(&root, &zone).expect("renewed");
        assert_eq!(file(&root, &zone, "spec.toml").as_deref(), Some(&b"changed"[..]));
        assert_eq!(record(&root, &zone), Some(running(8)));
        assert_eq!(fs::read_dir(folder(&root)).expect("read").count(), 1, "no draft is left");
        // A file that is there is not written over.
        fs::remove_file(run.join("journal")).expect("removed");
        fs::write(run.join("spec.toml"), "own").expect("written");
        put_back(&root, &zone);
        assert_eq!(fs::read(run.join("spec.toml")).expect("read"), b"own");
        assert_eq!(fs::read(run.join("journal")).expect("put back"), b"");
        remove(&root, &zone);
        assert_eq!((record(&root, &zone), file(&root, &zone, "spec.toml")), (None, None));
        renew(&root, &zone).expect("nothing to do");
        assert_eq!(record(&root, &zone), None, "a zone without a copy gets none");
    }

    #[test]
    fn the_next_boot_writes_over_the_file_of_the_last() {
        use std::os::unix::fs::MetadataExt;
        let temp = tempfile::tempdir().expect("a folder");
        let (root, zone) = (Root::new(Some(temp.path())), ZoneName::new("zion").expect("a name"));
        for folder in [root.zone_run(&zone), root.zone_lib(&zone)] {
            fs::create_dir_all(folder).expect("a folder");
        }
        let inode = || fs::metadata(path(&root, &zone)).map(|meta| meta.ino()).ok();
        fs::write(root.zone_run(&zone).join(SPEC), "a long text\n").expect("written");
        keep(&root, &zone, &running(7)).expect("kept");
        let first = inode().expect("a file");
        remove(&root, &zone);
        assert_eq!((inode(), record(&root, &zone)), (None, None), "no boot is told of");
        // A shorter text leaves nothing of the longer one.
        fs::write(root.zone_run(&zone).join(SPEC), "short").expect("written");
        keep(&root, &zone, &running(8)).expect("kept");
        assert_eq!((inode(), record(&root, &zone)), (Some(first), Some(running(8))));
        assert_eq!(files(&root, &zone), [("spec.toml", b"short".to_vec())]);
        // An uninstalled zone leaves nothing, and one without a folder of its own keeps nothing.
        remove(&root, &zone);
        remove_spare(&root, &zone);
        assert_eq!(fs::read_dir(root.zone_lib(&zone)).expect("read").count(), 0);
        keep(&root, &zone, &running(9)).expect("kept");
        fs::remove_dir(root.zone_lib(&zone)).expect("removed");
        remove(&root, &zone);
        assert_eq!(inode(), None);
    }

    #[test]
    fn half_a_copy_and_one_of_another_boot_tell_nothing() {
        let line = head(&running(7)).expect("a line");
        assert_eq!(line.len(), HEAD_BYTES);
        assert_eq!(parse_head(&line), Some(running(7)));
        assert_eq!(parse_head(&line.replace("boot=", "boot=0")), None);
        assert_eq!(parse_files(b"spec.toml 3\nabcjournal 9\nab"), [("spec.toml", b"abc".to_vec())]);
        for bad in [&b"x 1\na"[..], b"spec.toml\n", b"spec.toml -1\n", b"spec.toml 1", b"\xff 1\na"] {
            assert_eq!(parse_files(bad), [], "{bad:?}");
        }
        let long = Running { cgroup: Some("/x".repeat(HEAD_BYTES)), ..running(7) };
        assert!(head(&long).is_err());
    }
}
