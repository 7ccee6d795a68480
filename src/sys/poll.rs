//! Waiting for several descriptors at once, poll(2), each called by the name that its owner gives it.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Descriptors that are waited for together.
#[derive(Debug)]
pub struct PollSet<'f, K> {
    fds: Vec<PollFd<'f>>,
    names: Vec<K>,
}

/// The events of the descriptors of a [`PollSet`].
#[derive(Debug)]
pub struct PollEvents<K> {
    events: Vec<(K, PollFlags)>,
}

impl<'f, K: Copy + Eq> PollSet<'f, K> {
    /// Begins without descriptors.
    pub fn new() -> Self {
        Self { fds: Vec::new(), names: Vec::new() }
    }

    /// Adds a descriptor and the events that are asked for. The kernel tells of errors and of a closed other end
    /// unasked.
    pub fn add(&mut self, name: K, fd: BorrowedFd<'f>, wanted: PollFlags) {
        self.fds.push(PollFd::from_borrowed_fd(fd, wanted));
        self.names.push(name);
    }

    /// Waits until something happens, or the time is over. A wait that a signal interrupts tells of nothing.
    pub fn wait(mut self, timeout: Option<Duration>) -> PollEvents<K> {
        let timeout = timeout.and_then(|time| Timespec::try_from(time).ok());
        if poll(&mut self.fds, timeout.as_ref()).is_err() {
            return PollEvents { events: Vec::new() };
        }
        PollEvents { events: self.names.into_iter().zip(self.fds.iter().map(PollFd::revents)).collect() }
    }
}

impl<K: Copy + Eq> Default for PollSet<'_, K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Copy + Eq> PollEvents<K> {
    /// Returns what happened to a descriptor; nothing for one that was not added.
    pub fn of(&self, name: K) -> PollFlags {
        self.events
            .iter()
            .filter(|(n, _)| *n == name)
            .fold(PollFlags::empty(), |all, (_, flags)| all | *flags)
    }

    /// Says whether anything happened to a descriptor.
    pub fn any(&self, name: K) -> bool {
        !self.of(name).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Name {
        Near,
        Far,
        Missing,
    }

    #[test]
    fn events_are_told_by_name() {
        let (near, mut other) = UnixStream::pair().expect("sockets");
        let (far, gone) = UnixStream::pair().expect("sockets");
        let wait = || {
            let mut set = PollSet::new();
            set.add(Name::Near, near.as_fd(), PollFlags::IN);
            set.add(Name::Far, far.as_fd(), PollFlags::empty());
            set.wait(Some(Duration::ZERO))
        };
        let nothing = wait();
        assert!([Name::Near, Name::Far, Name::Missing].iter().all(|n| !nothing.any(*n)));
        other.write_all(b"x").expect("written");
        let one = wait();
        assert_eq!((one.of(Name::Near), one.any(Name::Far)), (PollFlags::IN, false));
        drop(gone);
        let both = wait();
        assert!(both.any(Name::Near) && both.of(Name::Far).contains(PollFlags::HUP));
        assert!(!both.any(Name::Missing));
    }
}
