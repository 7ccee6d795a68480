//! Pseudo-terminals of a given devpts instance, which may belong to a zone and be faked by it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, fstat, fstatfs};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, ptsname, unlockpt};

/// `f_type` of devpts.
const DEVPTS: u64 = 0x1cd1;
/// Device number of every `ptmx`.
const PTMX: (u32, u32) = (5, 2);

/// Both sides of a new pseudo-terminal.
#[derive(Debug)]
pub struct Pty {
    /// The side of the program that plays the terminal. Reads and writes do not wait.
    pub master: OwnedFd,
    /// The side of the programs.
    pub slave: OwnedFd,
    /// Its number: the slave is `pts/NUMBER` of its instance.
    pub number: u32,
}

/// Makes a pseudo-terminal in the devpts instance that is mounted at `folder`.
///
/// The file is checked after it was opened, not before: another process could exchange it in between.
///
/// # Errors
/// The system's error; `ENOTTY` when the folder is not the root of a devpts instance.
pub fn open_in(folder: &Path) -> io::Result<Pty> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let master = rustix::fs::open(folder.join("ptmx"), flags, Mode::empty())?;
    let device = fstat(&master)?.st_rdev;
    let number = (rustix::fs::major(device), rustix::fs::minor(device));
    if !is_devpts(master.as_fd())? || number != PTMX {
        return Err(io::Error::from_raw_os_error(libc::ENOTTY));
    }
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let number = name.to_str().ok().and_then(|n| n.rsplit('/').next()?.parse().ok());
    let number = number.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOTTY))?;
    // Not by its path: the file of that name may be another one.
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    Ok(Pty { master, slave, number })
}

/// Says whether a file lies in a devpts instance.
///
/// # Errors
/// The system's error.
pub fn is_devpts(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(u64::try_from(fstatfs(fd)?.f_type).is_ok_and(|t| t == DEVPTS))
}

/// Gives a slave to the user who logs in. Group and mode are those that the instance was mounted with.
///
/// # Errors
/// The system's error.
pub fn give(slave: BorrowedFd<'_>, uid: u32) -> io::Result<()> {
    Ok(rustix::fs::fchown(slave, Some(rustix::fs::Uid::from_raw(uid)), None)?)
}

/// Makes a slave the controlling terminal and the standard streams of this process, which must be the
/// leader of a session without one.
///
/// # Errors
/// The system's error.
pub fn take(slave: BorrowedFd<'_>) -> io::Result<()> {
    rustix::process::ioctl_tiocsctty(slave)?;
    rustix::stdio::dup2_stdin(slave)?;
    rustix::stdio::dup2_stdout(slave)?;
    Ok(rustix::stdio::dup2_stderr(slave)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn both_sides_of_a_pseudo_terminal_talk() {
        let pty = open_in(Path::new("/dev/pts")).expect("a devpts instance at its usual place");
        assert!(is_devpts(pty.slave.as_fd()).expect("an open file"));
        let (mut master, mut slave) = (std::fs::File::from(pty.master), std::fs::File::from(pty.slave));
        slave.write_all(b"out").expect("a writable slave");
        let mut text = [0; 8];
        let n = master.read(&mut text).expect("output is there");
        assert_eq!(&text[..n], b"out");
        master.write_all(b"in\n").expect("a writable master");
        let n = slave.read(&mut text).expect("a line is there");
        assert_eq!(&text[..n], b"in\n");
    }

    #[test]
    fn a_faked_ptmx_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("ptmx");
        let refused = |what: &str| {
            let error = open_in(folder.path()).expect_err(what);
            std::fs::remove_file(&path).expect("the fake goes away");
            error.raw_os_error().expect("an error of the system")
        };
        std::fs::write(&path, "").expect("a file");
        assert_eq!(refused("a plain file"), libc::ENOTTY);
        std::os::unix::fs::symlink("/dev/pts/ptmx", &path).expect("a link");
        assert_eq!(refused("a link to a real one"), libc::ELOOP);
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        assert_eq!(refused("a pipe that nobody writes"), libc::ENOTTY);
    }
}
