//! A user namespace around the zone's own that bounds how many namespaces and watches the zone can have.
//!
//! The kernel counts each of them for the user who makes it in his user namespace, and for the owner of that one in
//! the next one outside, each against the numbers that the namespace has (`ucounts`, Linux 4.9). In the zone's own
//! namespace they would limit each of its 65,536 users separately, and a zone with `sys_resource` could change them.
//! Outside of it they limit the zone as a whole, and no process in it can reach them.
//!
//! ```text
//! supervisor ── clone ──> helper, in the bounding namespace: sets the numbers
//!     └──────── parent ──────── clone ──> the zone's first process, in the zone's own
//! ```

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use super::proc::in_child;
use crate::sys::channel::Channel;
use crate::sys::naive::without;
use crate::sys::ns::{self, Kinds, Side};
use crate::sys::process::{self, Handle};

/// The helper's message when it has its ids.
const GO: &str = "go";

/// A helper that waits for its ids.
pub(super) struct IdMapHelper {
    pid: i32,
    channel: Channel,
}

/// Starts the helper, as the owner of the namespaces to come. In the end `zone` runs in the zone's first process.
///
/// # Errors
/// The system's error.
pub(super) fn start(
    limits: &[(&str, u32)],
    owner: (u32, u32),
    kinds: Kinds,
    cgroup: Option<BorrowedFd<'_>>,
    zone: impl FnOnce(),
) -> io::Result<IdMapHelper> {
    let (ours, theirs) = Channel::pair()?;
    match ns::spawn(Kinds::USER, cgroup)? {
        Side::Parent(pid, _) => Ok(IdMapHelper { pid, channel: ours }),
        Side::Child => {
            drop(ours);
            match help(limits, owner, kinds, &theirs) {
                Ok(Side::Child) => {
                    drop(theirs);
                    zone();
                }
                Ok(Side::Parent(pid, _)) => drop(theirs.send(&pid.to_string(), &[])),
                Err(e) => drop(theirs.send(&format!("-{}", e.raw_os_error().unwrap_or(libc::EIO)), &[])),
            }
            process::exit_now(0)
        }
    }
}

/// The helper's work.
fn help(limits: &[(&str, u32)], owner: (u32, u32), kinds: Kinds, parent: &Channel) -> io::Result<Side> {
    process::hide();
    if parent.receive()?.text != GO {
        process::exit_now(0);
    }
    // A process that makes a user namespace must have ids in the one that it is in.
    process::become_user(owner.0, owner.1)?;
    for (file, number) in limits.iter().filter(|_| !without("bounds")) {
        // The zone's own one counts as well.
        let own = u32::from(file.ends_with("_namespaces"));
        let number = number.saturating_add(own).min(i32::MAX.unsigned_abs());
        fs::write(Path::new("/proc/sys/user").join(file), number.to_string())?;
    }
    ns::spawn_sibling_in(kinds)
}

impl IdMapHelper {
    /// Gives the helper its ids, those of the zone as the host has them, and returns the zone's first process,
    /// which has its own.
    ///
    /// # Errors
    /// The system's error.
    pub(super) fn finish(self, uid_map: &str, gid_map: &str) -> io::Result<(i32, Handle)> {
        let bounding = ns::open(self.pid, "user")?;
        let done = ns::write_id_maps(self.pid, &outside(uid_map), &outside(gid_map))
            .and_then(|()| self.channel.send(GO, &[]))
            .and_then(|()| self.channel.receive());
        let text = done.map(|message| message.text);
        drop(self.channel);
        process::wait(self.pid)?;
        let number: i32 = text?.parse().map_err(|_| io::ErrorKind::BrokenPipe)?;
        if number < 0 {
            return Err(io::Error::from_raw_os_error(-number));
        }
        // Only a process of the namespace around it may say what ids the zone's own has.
        let mapped = in_child(|| {
            ns::join(bounding.as_fd(), Kinds::USER)?;
            ns::write_id_maps(number, uid_map, gid_map)
        });
        if let Err(e) = mapped {
            Handle::open(number)?.signal(libc::SIGKILL)?;
            process::wait(number)?;
            return Err(e);
        }
        // A child of this process, so the number stays its own until it is waited for.
        Ok((number, Handle::open(number)?))
    }
}

/// Returns a map of the same ids to themselves.
fn outside(map: &str) -> String {
    let line = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        Some((fields.next()?.parse::<u32>().ok()?, fields.next()?.to_owned()))
    };
    let mut ranges: Vec<_> = map.lines().filter_map(line).collect();
    ranges.sort_unstable();
    ranges.iter().map(|(first, count)| format!("{first} {first} {count}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_of_the_host_stay() {
        assert_eq!(outside("0 1000000 65536\n65536 70 1\n"), "70 70 1\n1000000 1000000 65536\n");
    }
}
