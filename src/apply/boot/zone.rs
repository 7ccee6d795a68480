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

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::MountPropagationFlags;

use super::error::{InsideError, Process1Error};
use crate::apply::dataset::inside::MountRequest;
use crate::apply::{confine, dataset, guard};
use crate::plan::boot::init_words;
use crate::plan::bootargs::BootArgs;
use crate::plan::step::{BootStep, InitProgram};
use crate::sys::channel::Channel;
use crate::sys::mount::{Attrs, MountFd, NewFs};
use crate::sys::naive::without;
use crate::sys::ns::{self, Kinds};
use crate::sys::path::{STRICT, open_beneath};
use crate::sys::{process, seccomp, trace};

/// The process hands over its network namespace.
pub const NETWORK: &str = "network";
/// The supervisor tells the process to go on with the mounts it is given.
pub const GO: &str = "go";
/// The process says that the zone is ready.
pub const READY: &str = "ready";
/// The process hands over where its requests to ZFS are to be answered.
pub const GUARD: &str = "guard";
/// Before a text that the process has for whoever watches the console.
pub const NOTICE: &str = "notice ";
/// Before the name of a filesystem whose root directory seems to belong to nobody of the zone; its mount comes along.
pub const NOT_OURS: &str = "foreign ";
/// The supervisor tells the process to start init, as the plan says.
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

/// Returns what a process that has ended has said of it.
pub fn last_words(channel: &Channel) -> Option<String> {
    loop {
        let text = channel.receive().ok().filter(|sent| !sent.text.is_empty())?.text;
        if let Some(why) = text.strip_prefix("error ") {
            return Some(why.to_owned());
        }
    }
}

/// Runs the zone's side. Never returns: it becomes init, or ends.
pub fn run(channel: &Channel, steps: &[BootStep]) -> ! {
    process::hide();
    trace::stop();
    // Of the supervisor's nothing is left that a name of the zone could lead to.
    let closed = process::close_all_but(&[channel.as_fd().as_raw_fd()]);
    let closed = closed.map_err(InsideError::of("cannot close descriptors"));
    if let Err(error) = closed.and_then(|()| begin(channel, steps)) {
        // The supervisor may be gone; then nobody is there to be told.
        let _ = channel.send(&format!("error {error}"), &[]);
    }
    process::exit_now(1);
}

fn begin(channel: &Channel, steps: &[BootStep]) -> Result<(), InsideError> {
    ns::unshare(Kinds::NET).map_err(InsideError::of("cannot make a network namespace"))?;
    let namespace = ns::own_network().map_err(InsideError::of("cannot open the network namespace"))?;
    channel.send(NETWORK, &[namespace.as_fd()]).map_err(InsideError::of("cannot tell the supervisor"))?;
    drop(namespace);
    let go = channel.receive().map_err(InsideError::of("cannot hear the supervisor"))?;
    let mut fds = go.fds.into_iter();
    let Some(root) = fds.next().filter(|_| go.text == GO) else { process::exit_now(1) };
    let terminal = if steps.iter().any(|s| matches!(s, BootStep::Console)) {
        fds.next().map(MountFd::from_fd)
    } else {
        None
    };
    let init = fds.next();

    process::become_root().map_err(InsideError::of("cannot become root of the zone"))?;
    process::fresh_keyring();
    rustix::process::fchdir(&root).map_err(InsideError::of("cannot enter the zone's root"))?;
    drop(root);
    // The root of the message queues belongs to whoever makes the ipc namespace: not before now.
    let mut kinds = Kinds::MOUNT;
    let limited = steps.iter().any(|s| matches!(s, BootStep::Ipc { .. }));
    kinds.set(Kinds::IPC, !limited);
    if steps.iter().any(|s| matches!(s, BootStep::Cgroup { .. })) {
        kinds |= Kinds::CGROUP;
    }
    ns::unshare(kinds).map_err(InsideError::of("cannot make mount and ipc namespaces"))?;
    // The copy's top is not locked, as pivot_root(2) demands; the mounts below it stay locked.
    let here = rustix::fs::open(".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let here = here.map_err(InsideError::of("cannot open the zone's root"))?;
    let top = MountFd::copy(here.as_fd(), true).map_err(InsideError::of("cannot copy the zone's mounts"))?;
    top.attach(here.as_fd()).map_err(InsideError::of("cannot attach the zone's mounts"))?;
    rustix::process::fchdir(&top).map_err(InsideError::of("cannot enter the zone's root"))?;
    drop((here, top));

    // The host's table of mounts may be long: it is read once, when the host's root is gone.
    let mut own = None;
    for step in steps.iter().filter(|s| s.is_inside()) {
        match step {
            BootStep::HostName { name } => rustix::system::sethostname(name.as_bytes())
                .map_err(InsideError::of(format!("cannot set the host name '{name}'")))?,
            BootStep::Loopback => {
                ns::loopback_up().map_err(InsideError::of("cannot switch the loopback interface on"))?;
            }
            BootStep::KernelFiles { proc, cgroup } => {
                kernel_files(*proc, *cgroup, !limited)?;
                if let Some(terminal) = &terminal {
                    console(terminal)?;
                }
            }
            BootStep::Pivot if without("pivot") => {
                rustix::process::chroot(".").map_err(InsideError::of("cannot change the root"))?;
            }
            BootStep::Pivot => {
                rustix::process::pivot_root(".", ".")
                    .map_err(InsideError::of("cannot make the zone's root the root"))?;
                rustix::mount::unmount(".", rustix::mount::UnmountFlags::DETACH)
                    .map_err(InsideError::of("cannot let go of the host's root"))?;
                rustix::process::chdir("/").map_err(InsideError::of("cannot enter /"))?;
                // In groups of their own: until here all of them were private.
                let shared = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
                rustix::mount::mount_change("/", shared)
                    .map_err(InsideError::of("cannot share the mounts within the zone"))?;
            }
            BootStep::MountDataset { name, dir, options, no_overlay, closed } => {
                let own = own.get_or_insert_with(dataset::inside::mounted_by_boot);
                let wanted = MountRequest { name, dir, options, no_overlay: *no_overlay, closed: *closed };
                let outcome = dataset::inside::mount_at(&wanted, own);
                let tell = |text: &str, fds: &[BorrowedFd<'_>]| {
                    channel.send(text, fds).map_err(InsideError::of("cannot tell the supervisor"))
                };
                if let Some(text) = outcome.problem {
                    tell(&format!("{NOTICE}{text}"), &[])?;
                }
                if let Some(tree) = outcome.foreign {
                    tell(&format!("{NOT_OURS}{name}"), &[tree.as_fd()])?;
                }
            }
            BootStep::Guard if guard::is_left_out() => {}
            BootStep::Guard => {
                let listener =
                    seccomp::install(&guard::program()).map_err(InsideError::of("cannot guard /dev/zfs"))?;
                channel
                    .send(GUARD, &[listener.as_fd()])
                    .map_err(InsideError::of("cannot tell the supervisor"))?;
            }
            BootStep::Confine(confinement) => confine::put(confinement).map_err(InsideError::Confine)?,
            BootStep::Capabilities { drop } => {
                process::drop_capabilities(drop).map_err(InsideError::of("cannot give capabilities up"))?;
            }
            BootStep::Init { program, args } => {
                channel.send(READY, &[]).map_err(InsideError::of("cannot tell the supervisor"))?;
                let boot = channel.receive().map_err(InsideError::of("cannot hear the supervisor"))?;
                let Some(given) = boot.text.strip_prefix(BOOT) else { process::exit_now(0) };
                if given.is_empty() {
                    return Err(start(program, args, init.as_ref()));
                }
                let given = BootArgs::parse(given);
                let program = given.init.clone().map_or_else(|| program.clone(), InitProgram::Own);
                return Err(start(&program, &init_words(&given, &program), init.as_ref()));
            }
            BootStep::Counts { .. }
            | BootStep::Cgroup { .. }
            | BootStep::Limits { .. }
            | BootStep::Process { .. }
            | BootStep::Ipc { .. }
            | BootStep::Withdraw { .. }
            | BootStep::Close { .. }
            | BootStep::Namespaces { .. }
            | BootStep::Pin { .. }
            | BootStep::Delegate { .. }
            | BootStep::Root { .. }
            | BootStep::Part { .. }
            | BootStep::ReadOnly { .. }
            | BootStep::Inherit { .. }
            | BootStep::Memory { .. }
            | BootStep::Commands { .. }
            | BootStep::Resolver
            | BootStep::Dev { .. }
            | BootStep::Console
            | BootStep::Proc { .. }
            | BootStep::Sys
            | BootStep::HostId { .. }
            | BootStep::Fs(_)
            | BootStep::Names { .. }
            | BootStep::HostEtc { .. }
            | BootStep::Link(_) => {}
        }
    }
    Ok(())
}

/// A file system of the kernel: type, directory, attributes, options.
type KernelFs<'a> = (&'static str, &'static str, Attrs, &'a [(&'a str, &'a str)]);

/// How many terminals there can be on a zone's `/dev/pts`: a third of what the kernel, as it comes, has for
/// all zones together (it keeps 1,024 of 4,096 for the host). Who can mount in the zone can mount another
/// `/dev/pts`; its users cannot.
const TERMINALS: &str = "1024";

/// Mounts what must be mounted from inside, onto directories of the zone's root (the working folder).
fn kernel_files(proc: bool, cgroup: bool, mqueue: bool) -> Result<(), InsideError> {
    let strict = Attrs::NOSUID | Attrs::NODEV | Attrs::NOEXEC;
    let most = if without("terminals") { "4096" } else { TERMINALS };
    let pts: &[(&str, &str)] = &[("max", most), ("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")];
    let list: &[KernelFs<'_>] = &[
        ("proc", "proc", strict, &[]),
        ("devpts", "dev/pts", Attrs::NOSUID | Attrs::NOEXEC, pts),
        ("mqueue", "dev/mqueue", strict, &[]),
        ("cgroup2", "sys/fs/cgroup", strict, &[]),
    ];
    for (fstype, dir, attrs, options) in list {
        let wanted = match *fstype {
            "proc" => proc,
            "cgroup2" => cgroup,
            "mqueue" => mqueue,
            _ => true,
        };
        if !wanted {
            continue;
        }
        let made = make(fstype, options, *attrs);
        let tree = match made {
            // Group 5 (tty) may lie outside an explicit id map: the terminals then keep their user's group.
            Err(_) if *fstype == "devpts" => make(fstype, &options[..3], *attrs),
            other => other,
        };
        let tree = match tree {
            // A kernel without POSIX message queues.
            Err(e) if *fstype == "mqueue" && e.source.raw_os_error() == Some(libc::ENODEV) => continue,
            other => other.map_err(|source| InsideError::Mount { fstype, dir, source })?,
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = || open_beneath(CWD, Path::new(dir), flags, Mode::empty(), STRICT);
        let target = match open() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let made = rustix::fs::mkdirat(CWD, *dir, Mode::from(0o755));
                made.map_err(InsideError::of(format!("cannot make directory /{dir}")))?;
                open()
            }
            other => other,
        };
        let target = target.map_err(|e| match e.raw_os_error() {
            Some(libc::ELOOP) => InsideError::Link { fstype, dir, source: e },
            _ => InsideError::of(format!("cannot mount {fstype} on /{dir}"))(e),
        })?;
        tree.attach(target.as_fd()).map_err(InsideError::of(format!("cannot mount {fstype} on /{dir}")))?;
    }
    Ok(())
}

/// Attaches the console's terminal to its place below the working folder.
fn console(terminal: &MountFd) -> Result<(), InsideError> {
    let attached =
        open_beneath(CWD, Path::new("dev/console"), OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), STRICT)
            .and_then(|target| terminal.attach(target.as_fd()));
    attached.map_err(InsideError::of("cannot put a terminal on /dev/console"))
}

fn make(fstype: &str, options: &[(&str, &str)], attrs: Attrs) -> Result<MountFd, crate::sys::mount::FsError> {
    let fs = NewFs::open(fstype)?;
    if fstype == "devpts" {
        fs.flag("newinstance")?;
    }
    for (key, value) in options {
        fs.set(key, value)?;
    }
    fs.mount(attrs)
}

/// Becomes the first program. Returns only on failure, with the reason.
fn start(program: &InitProgram, args: &[String], built_in: Option<&OwnedFd>) -> InsideError {
    match to_init(program, args, built_in) {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

fn to_init(
    program: &InitProgram,
    args: &[String],
    built_in: Option<&OwnedFd>,
) -> Result<std::convert::Infallible, InsideError> {
    rustix::process::setsid().map_err(InsideError::of("cannot begin a session"))?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let console = rustix::fs::open("/dev/console", flags, Mode::empty())
        .map_err(InsideError::of("cannot open /dev/console"))?;
    rustix::stdio::dup2_stdin(&console)
        .and_then(|()| rustix::stdio::dup2_stdout(&console))
        .and_then(|()| rustix::stdio::dup2_stderr(&console))
        .map_err(InsideError::of("cannot use /dev/console"))?;
    process::reset_signals();
    process::close_on_exec_from(3).map_err(InsideError::of("cannot close descriptors"))?;

    let text =
        |s: &str| CString::new(s).map_err(|source| InsideError::ZeroByte { word: s.to_owned(), source });
    let name = match program {
        InitProgram::Own(path) => path.rsplit('/').next().unwrap_or(path).to_owned(),
        InitProgram::BuiltIn => "init".to_owned(),
    };
    let mut words = vec![text(&name)?];
    for arg in args {
        words.push(text(arg)?);
    }
    let words: Vec<&CStr> = words.iter().map(CString::as_c_str).collect();
    let path = match program {
        InitProgram::BuiltIn => {
            c"PATH=/run/zone/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        }
        InitProgram::Own(_) => c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    };
    let env = [path, c"container=zones", c"TERM=linux", c"HOME=/"];
    match (program, built_in) {
        (InitProgram::BuiltIn, Some(fd)) => {
            // It reads its signals from a descriptor, and who asks it to end may be faster than it is. Another
            // init may have to find its signals as they are.
            process::hold_signals();
            let error = process::exec_fd(fd.as_fd(), &words, &env);
            Err(InsideError::of("cannot start the built-in init")(error))
        }
        (InitProgram::BuiltIn, None) => Err(InsideError::NoBuiltIn),
        (InitProgram::Own(path), _) => {
            let file = text(path)?;
            let Err(source) = nix::unistd::execve(&file, &words, &env);
            let path = path.clone();
            Err(match source {
                nix::Error::ENOENT | nix::Error::ENOTDIR => InsideError::NoInit { path, source },
                nix::Error::EACCES => InsideError::NotExecutable { path, source },
                _ => InsideError::Start { path, source },
            })
        }
    }
}
