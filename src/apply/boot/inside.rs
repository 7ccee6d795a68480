//! The steps that process 1 does itself, each in a process that is inside of the zone's namespaces.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::MountPropagationFlags;

use super::error::InsideError;
use super::exec;
use super::zone::{BOOT, GUARD, NOT_OURS, NOTICE, READY};
use crate::apply::dataset::inside::MountRequest;
use crate::apply::{confine, dataset, guard};
use crate::plan::boot::init_words;
use crate::plan::bootargs::BootArgs;
use crate::plan::image::ZoneImage;
use crate::plan::step::{InitProgram, InsideStep};
use crate::sys::channel::Channel;
use crate::sys::mount::{Attrs, MountFd, NewFs};
use crate::sys::naive::without;
use crate::sys::ns;
use crate::sys::path::{STRICT, open_beneath};
use crate::sys::{process, seccomp};

/// A process inside of the zone, and the descriptors that it was given.
pub struct Process1<'a> {
    channel: &'a Channel,
    image: &'a ZoneImage,
    /// The mount that becomes `/dev/console`.
    terminal: Option<MountFd>,
    /// The built-in init.
    init: Option<OwnedFd>,
    /// Directories on which the boot has mounted something. The host's table of mounts may be long: the zone's is
    /// read once, when the host's root is gone.
    mounted: Option<Vec<PathBuf>>,
}

impl<'a> Process1<'a> {
    /// Begins with the mounts that the supervisor has handed over; the working folder is the zone's root.
    pub fn new(
        channel: &'a Channel,
        image: &'a ZoneImage,
        terminal: Option<MountFd>,
        init: Option<OwnedFd>,
    ) -> Self {
        Self { channel, image, terminal, init, mounted: None }
    }

    /// Carries out a step. That of the first program does not return when it succeeds.
    ///
    /// # Errors
    /// [`InsideError`]
    pub fn carry_out(&mut self, step: &InsideStep) -> Result<(), InsideError> {
        match step {
            InsideStep::HostName { name } => rustix::system::sethostname(name.as_bytes())
                .map_err(InsideError::of(format!("cannot set the host name '{name}'"))),
            InsideStep::Loopback => {
                ns::loopback_up().map_err(InsideError::of("cannot switch the loopback interface on"))
            }
            InsideStep::KernelFiles { proc, cgroup } => self.kernel_files(*proc, *cgroup),
            InsideStep::Pivot => pivot(),
            InsideStep::MountDataset { name, dir, options, no_overlay, closed } => {
                self.dataset(&MountRequest { name, dir, options, no_overlay: *no_overlay, closed: *closed })
            }
            InsideStep::Guard => self.guard(),
            InsideStep::Confine(confinement) => confine::put(confinement).map_err(InsideError::Confine),
            InsideStep::Capabilities { drop } => {
                process::drop_capabilities(drop).map_err(InsideError::of("cannot give capabilities up"))
            }
            InsideStep::Init { program, args } => self.first_program(program, args),
        }
    }

    fn tell(&self, text: &str, fds: &[BorrowedFd<'_>]) -> Result<(), InsideError> {
        self.channel.send(text, fds).map_err(InsideError::of("cannot tell the supervisor"))
    }

    fn kernel_files(&self, proc: bool, cgroup: bool) -> Result<(), InsideError> {
        kernel_files(proc, cgroup, self.image.limits.ipc.is_empty())?;
        self.terminal.as_ref().map_or(Ok(()), console)
    }

    fn dataset(&mut self, wanted: &MountRequest<'_>) -> Result<(), InsideError> {
        let own = self.mounted.get_or_insert_with(dataset::inside::mounted_by_boot);
        let outcome = dataset::inside::mount_at(wanted, own);
        if let Some(text) = outcome.problem {
            self.tell(&format!("{NOTICE}{text}"), &[])?;
        }
        if let Some(tree) = outcome.foreign {
            self.tell(&format!("{NOT_OURS}{}", wanted.name), &[tree.as_fd()])?;
        }
        Ok(())
    }

    fn guard(&self) -> Result<(), InsideError> {
        if guard::is_left_out() {
            return Ok(());
        }
        let listener =
            seccomp::install(&guard::program()).map_err(InsideError::of("cannot guard /dev/zfs"))?;
        self.tell(GUARD, &[listener.as_fd()])
    }

    /// Says that the zone is ready, and becomes its first program when the supervisor says so.
    fn first_program(&self, program: &InitProgram, args: &[String]) -> Result<(), InsideError> {
        self.tell(READY, &[])?;
        let boot = self.channel.receive().map_err(InsideError::of("cannot hear the supervisor"))?;
        let Some(given) = boot.text.strip_prefix(BOOT) else { process::exit_now(0) };
        if given.is_empty() {
            return Err(exec::start(program, args, self.init.as_ref()));
        }
        let given = BootArgs::parse(given);
        let program = given.init.clone().map_or_else(|| program.clone(), InitProgram::Own);
        Err(exec::start(&program, &init_words(&given, &program), self.init.as_ref()))
    }
}

/// Makes the working folder the root, the only one.
fn pivot() -> Result<(), InsideError> {
    if without("pivot") {
        return rustix::process::chroot(".").map_err(InsideError::of("cannot change the root"));
    }
    rustix::process::pivot_root(".", ".").map_err(InsideError::of("cannot make the zone's root the root"))?;
    rustix::mount::unmount(".", rustix::mount::UnmountFlags::DETACH)
        .map_err(InsideError::of("cannot let go of the host's root"))?;
    rustix::process::chdir("/").map_err(InsideError::of("cannot enter /"))?;
    // In groups of their own: until here all of them were private.
    let shared = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", shared)
        .map_err(InsideError::of("cannot share the mounts within the zone"))
}

/// A file system of the kernel: type, directory, attributes, options.
type KernelFs<'a> = (&'static str, &'static str, Attrs, &'a [(&'a str, &'a str)]);

/// Most terminals on a zone's `/dev/pts`: a third of the kernel's default for all zones together (it keeps 1,024 of
/// 4,096 for the host). Root of the zone can mount another `/dev/pts`; its users cannot.
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
