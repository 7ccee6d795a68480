//! The zone's first process, from its beginning to the exec of init.
//!
//! Order, and why:
//!
//! | step | why there |
//! |---|---|
//! | own network namespace | while the supervisor writes the id maps: both take time |
//! | wait for the supervisor | it maps the ids and mounts everything that needs the host's rights |
//! | become root of the zone | from here on no host right is left |
//! | own mount namespace | copied across the user namespace, so every mount made so far is locked: the zone can neither take it away nor make it writable (mount_namespaces(7)) |
//! | kernel file systems | they show the namespaces of the process that mounts them; `/sys` is there already, and `/proc` where parts of it are covered |
//! | pivot | the host's tree is gone; a locked mount cannot be the new root, so a copy is |
//! | share | services of the zone with mounts of their own follow what it mounts later, as systemd expects of who makes a container; pivot_root(2) refuses shared mounts |
//! | datasets | mounted by the zone, so not locked, at mount points that lead nowhere else any more |
//! | system calls, guard, capabilities | the last thing that needs them is done; a filter takes one itself |
//! | tell the supervisor, wait | nothing runs in the zone yet; the supervisor makes its links beside all this |
//! | console, exec | stdio from inside, every other descriptor closed |
//!
//! If the supervisor dies, the channel ends and this process with it, and so do all namespaces.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

use super::error::{InsideError, Process1Error};
use super::inside::Process1;
use crate::plan::bootargs::BootArgs;
use crate::plan::image::ZoneImage;
use crate::plan::step::BootStep;
use crate::sys::channel::Channel;
use crate::sys::mount::MountFd;
use crate::sys::ns::{self, Kinds};
use crate::sys::{process, trace};

/// The process hands over its network namespace.
pub const NETWORK: &str = "network";
/// The supervisor lets the process go on with the mounts that it gets.
pub const GO: &str = "go";
/// The process says that the zone is ready.
pub const READY: &str = "ready";
/// The process hands over where its requests to ZFS are to be answered.
pub const GUARD: &str = "guard";
/// The mark before a message of the process for the client of the console.
pub const NOTICE: &str = "notice ";
/// The mark before the name of a filesystem whose root directory seems to belong to no user of the zone; its mount
/// comes along.
pub const NOT_OURS: &str = "foreign ";
/// The supervisor lets the process start init, as the plan says.
pub const BOOT: &str = "boot";

/// Returns the word that starts init of a zone that was made ready earlier, with arguments of its own.
pub fn boot_word(args: &BootArgs) -> String {
    if args.words.is_empty() { BOOT.into() } else { format!("{BOOT} {}", args.line()) }
}

/// Takes the network namespace that a zone's process hands over.
///
/// # Errors
/// [`Process1Error`].
pub fn network_of(channel: &Channel) -> Result<OwnedFd, Process1Error> {
    let sent = channel.receive().map_err(Process1Error::Hear)?;
    let fd = sent.fds.into_iter().next().filter(|_| sent.text == NETWORK);
    fd.ok_or_else(|| match sent.text.strip_prefix("error ") {
        Some(text) => Process1Error::Reported(text.to_owned()),
        None => Process1Error::Silent("had a network namespace"),
    })
}

/// Returns the reason that an ended process has sent.
pub fn last_words(channel: &Channel) -> Option<String> {
    loop {
        let text = channel.receive().ok().filter(|sent| !sent.text.is_empty())?.text;
        if let Some(why) = text.strip_prefix("error ") {
            return Some(why.to_owned());
        }
    }
}

/// Returns why process 1 has ended before it was ready; none while it lives.
pub fn end_of(pid: i32, channel: &Channel) -> Option<Process1Error> {
    // Its channel is closed on its way out, so that this waits for no more than that.
    process::is_ending(pid)
        .then(|| last_words(channel).map_or(Process1Error::Silent("was ready"), Process1Error::Reported))
}

/// Runs the zone's side. Never returns: it becomes init, or ends.
pub fn run(channel: &Channel, image: &ZoneImage, steps: &[BootStep]) -> ! {
    process::hide();
    trace::stop();
    // Of the supervisor's nothing is left that a name of the zone could lead to.
    let closed = process::close_all_but(&[channel.as_fd().as_raw_fd()]);
    let closed = closed.map_err(InsideError::of("cannot close descriptors"));
    if let Err(error) = closed.and_then(|()| begin(channel, image, steps)) {
        // The supervisor may be gone; then there is no receiver.
        let _ = channel.send(&format!("error {error}"), &[]);
    }
    process::exit_now(1);
}

fn begin(channel: &Channel, image: &ZoneImage, steps: &[BootStep]) -> Result<(), InsideError> {
    ns::unshare(Kinds::NET).map_err(InsideError::of("cannot make a network namespace"))?;
    let namespace = ns::own_network().map_err(InsideError::of("cannot open the network namespace"))?;
    channel.send(NETWORK, &[namespace.as_fd()]).map_err(InsideError::of("cannot tell the supervisor"))?;
    drop(namespace);
    let go = channel.receive().map_err(InsideError::of("cannot hear the supervisor"))?;
    let mut fds = go.fds.into_iter();
    let Some(root) = fds.next().filter(|_| go.text == GO) else { process::exit_now(1) };
    let (terminal, init) = (fds.next().map(MountFd::from_fd), fds.next());
    enter(root, image)?;
    let mut inside = Process1::new(channel, image, terminal, init);
    steps.iter().filter_map(BootStep::inside).try_for_each(|step| inside.carry_out(step))
}

/// Becomes root of the zone, in namespaces of its own whose root is still the host's, below which the working folder
/// is the zone's.
fn enter(root: OwnedFd, image: &ZoneImage) -> Result<(), InsideError> {
    process::become_root().map_err(InsideError::of("cannot become root of the zone"))?;
    process::fresh_keyring();
    rustix::process::fchdir(&root).map_err(InsideError::of("cannot enter the zone's root"))?;
    drop(root);
    // The root of the message queues belongs to the user who makes the ipc namespace, so it is made only now.
    let mut kinds = Kinds::MOUNT;
    kinds.set(Kinds::IPC, image.limits.ipc.is_empty());
    kinds.set(Kinds::CGROUP, image.cgroup.is_some());
    ns::unshare(kinds).map_err(InsideError::of("cannot make mount and ipc namespaces"))?;
    // The copy's top is not locked, as pivot_root(2) demands; the mounts below it stay locked.
    let here = rustix::fs::open(".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let here = here.map_err(InsideError::of("cannot open the zone's root"))?;
    let top = MountFd::copy(here.as_fd(), true).map_err(InsideError::of("cannot copy the zone's mounts"))?;
    top.attach(here.as_fd()).map_err(InsideError::of("cannot attach the zone's mounts"))?;
    rustix::process::fchdir(&top).map_err(InsideError::of("cannot enter the zone's root"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    #[test]
    fn process_1_that_has_ended_says_why() {
        let mut child = Command::new("true").spawn().expect("a process");
        let pid = i32::try_from(child.id()).expect("a process id");
        while process::start_time(pid).is_some() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let (ours, theirs) = Channel::pair().expect("a channel");
        for text in [&format!("{NOTICE}a warning"), "error cannot mount proc"] {
            theirs.send(text, &[]).expect("sent");
        }
        drop(theirs);
        let own = i32::try_from(std::process::id()).expect("a process id");
        assert!(end_of(own, &ours).is_none(), "it lives");
        let why = |channel| end_of(pid, channel).map(|e| e.to_string());
        assert_eq!(why(&ours).as_deref(), Some("cannot mount proc"));
        assert_eq!(why(&ours).as_deref(), Some("process 1 ended before it was ready"));
        let _ = child.wait();
    }
}
