//! The few system calls of the built-in init, made directly: the program has no libc, so that it runs in a root that
//! has none, and stays small. All `unsafe` of the init is in this file; its functions are safe to call.

#![allow(unsafe_code)]

use core::ffi::{CStr, c_char};
use core::ptr;

/// An errno.
pub type Errno = i32;
/// Interrupted call.
pub const EINTR: Errno = 4;
/// No such process.
pub const ESRCH: Errno = 3;
/// Exec format error: a script without `#!`.
pub const ENOEXEC: Errno = 8;

/// `open` flags that are the same on all machines served here.
pub const O_RDWR: usize = 0o2;
/// Open for writing.
pub const O_WRONLY: usize = 0o1;
/// Never becomes the controlling terminal.
pub const O_NOCTTY: usize = 0o400;
/// Calls do not wait.
pub const O_NONBLOCK: usize = 0o4000;
/// Closed by `execve`.
pub const O_CLOEXEC: usize = 0o2_000_000;

/// Hang-up.
pub const SIGHUP: i32 = 1;
/// Interrupt.
pub const SIGINT: i32 = 2;
/// Kill.
pub const SIGKILL: i32 = 9;
/// User signal 1.
pub const SIGUSR1: i32 = 10;
/// User signal 2.
pub const SIGUSR2: i32 = 12;
/// Terminate.
pub const SIGTERM: i32 = 15;
/// A child has ended.
pub const SIGCHLD: i32 = 17;
/// Continue.
pub const SIGCONT: i32 = 18;
/// Power failure.
pub const SIGPWR: i32 = 30;
/// First real-time signal as C libraries count (the kernel's 32 and 33 are theirs).
pub const SIGRTMIN: i32 = 34;

/// Readable.
pub const POLLIN: i16 = 1;
/// Error.
pub const POLLERR: i16 = 8;
/// Hung up.
pub const POLLHUP: i16 = 16;

/// One entry of `poll`; a negative descriptor is skipped by the kernel.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PollFd {
    /// Descriptor.
    pub fd: i32,
    /// Events asked for.
    pub events: i16,
    /// Events seen.
    pub revents: i16,
}

#[cfg(target_arch = "x86_64")]
mod nr {
    pub const READ: usize = 0;
    pub const WRITE: usize = 1;
    pub const CLOSE: usize = 3;
    pub const RT_SIGPROCMASK: usize = 14;
    pub const IOCTL: usize = 16;
    pub const CLONE: usize = 56;
    pub const EXECVE: usize = 59;
    pub const FCNTL: usize = 72;
    pub const EXIT_GROUP: usize = 231;
    pub const WAIT4: usize = 61;
    pub const KILL: usize = 62;
    pub const UNAME: usize = 63;
    pub const CHDIR: usize = 80;
    pub const SETSID: usize = 112;
    pub const PRCTL: usize = 157;
    pub const REBOOT: usize = 169;
    pub const CLOCK_GETTIME: usize = 228;
    pub const OPENAT: usize = 257;
    pub const MKNODAT: usize = 259;
    pub const UNLINKAT: usize = 263;
    pub const FACCESSAT: usize = 269;
    pub const PPOLL: usize = 271;
    pub const SIGNALFD4: usize = 289;
    pub const DUP3: usize = 292;
}

#[cfg(any(target_arch = "aarch64", target_arch = "riscv64"))]
mod nr {
    pub const DUP3: usize = 24;
    pub const FCNTL: usize = 25;
    pub const IOCTL: usize = 29;
    pub const MKNODAT: usize = 33;
    pub const UNLINKAT: usize = 35;
    pub const FACCESSAT: usize = 48;
    pub const CHDIR: usize = 49;
    pub const OPENAT: usize = 56;
    pub const CLOSE: usize = 57;
    pub const READ: usize = 63;
    pub const WRITE: usize = 64;
    pub const PPOLL: usize = 73;
    pub const SIGNALFD4: usize = 74;
    pub const EXIT_GROUP: usize = 94;
    pub const CLOCK_GETTIME: usize = 113;
    pub const KILL: usize = 129;
    pub const RT_SIGPROCMASK: usize = 135;
    pub const REBOOT: usize = 142;
    pub const SETSID: usize = 157;
    pub const UNAME: usize = 160;
    pub const PRCTL: usize = 167;
    pub const CLONE: usize = 220;
    pub const EXECVE: usize = 221;
    pub const WAIT4: usize = 260;
}

const AT_FDCWD: usize = -100_isize as usize;
const TCSETS: usize = 0x5402;
const TIOCSCTTY: usize = 0x540e;
const FIONREAD: usize = 0x541b;

#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "xor %ebp, %ebp",
    "mov %rsp, %rdi",
    "and $-16, %rsp",
    "call zone_init_start",
    "ud2",
    options(att_syntax)
);

#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "mov x29, xzr",
    "mov x30, xzr",
    "mov x0, sp",
    "and sp, x0, #-16",
    "b zone_init_start",
);

#[cfg(target_arch = "riscv64")]
core::arch::global_asm!(".globl _start", "_start:", "mv a0, sp", "andi sp, sp, -16", "tail zone_init_start",);

/// Makes a system call and returns the kernel's result (a negated errno on failure).
///
/// # Safety
/// The arguments must be what the call expects; pointers must be good for as long as it runs.
unsafe fn call(nr: usize, a: [usize; 5]) -> isize {
    let ret: isize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the Linux convention of this machine; the caller answers for the arguments.
    unsafe {
        core::arch::asm!("syscall", inlateout("rax") nr as isize => ret,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2], in("r10") a[3], in("r8") a[4],
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the Linux convention of this machine; the caller answers for the arguments.
    unsafe {
        core::arch::asm!("svc 0", in("x8") nr, inlateout("x0") a[0] as isize => ret,
            in("x1") a[1], in("x2") a[2], in("x3") a[3], in("x4") a[4], options(nostack));
    }
    #[cfg(target_arch = "riscv64")]
    // SAFETY: the Linux convention of this machine; the caller answers for the arguments.
    unsafe {
        core::arch::asm!("ecall", in("a7") nr, inlateout("a0") a[0] as isize => ret,
            in("a1") a[1], in("a2") a[2], in("a3") a[3], in("a4") a[4], options(nostack));
    }
    ret
}

fn check(ret: isize) -> Result<usize, Errno> {
    if ret < 0 { Err(-ret as Errno) } else { Ok(ret as usize) }
}

/// The words on the stack at the start: arguments, then the environment.
#[derive(Clone, Copy)]
pub struct Words {
    first: *const *const c_char,
    count: usize,
}

impl Words {
    /// Returns word `i`.
    pub fn get(&self, i: usize) -> Option<&'static CStr> {
        if i >= self.count {
            return None;
        }
        // SAFETY: the kernel put `count` pointers to terminated strings there, for the life of the process.
        unsafe { Some(CStr::from_ptr(*self.first.add(i))) }
    }

    /// Returns all words.
    pub fn iter(self) -> impl Iterator<Item = &'static CStr> {
        (0..self.count).filter_map(move |i| self.get(i))
    }
}

#[unsafe(no_mangle)]
extern "C" fn zone_init_start(stack: *const usize) -> ! {
    // SAFETY: `_start` passes the stack pointer of the start: argc, argv, null, environment, null.
    let (args, env) = unsafe {
        let argc = *stack;
        let argv = stack.add(1).cast::<*const c_char>();
        let envp = argv.add(argc + 1);
        let mut count = 0;
        while !(*envp.add(count)).is_null() {
            count += 1;
        }
        (Words { first: argv, count: argc }, Words { first: envp, count })
    };
    crate::run(args, env)
}

/// Ends the process.
pub fn exit(code: i32) -> ! {
    loop {
        // SAFETY: takes a number.
        unsafe { call(nr::EXIT_GROUP, [code as usize, 0, 0, 0, 0]) };
    }
}

/// Sets the name that `ps` and `/proc/1/comm` show. Executed by descriptor, the program has none of its own.
pub fn set_name(name: &CStr) {
    const PR_SET_NAME: usize = 15;
    // SAFETY: the name is a terminated string.
    unsafe { call(nr::PRCTL, [PR_SET_NAME, name.as_ptr() as usize, 0, 0, 0]) };
}

/// Opens a file.
pub fn open(path: &CStr, flags: usize) -> Result<i32, Errno> {
    // SAFETY: the path is a terminated string.
    check(unsafe { call(nr::OPENAT, [AT_FDCWD, path.as_ptr() as usize, flags, 0, 0]) }).map(|fd| fd as i32)
}

/// Closes a descriptor.
pub fn close(fd: i32) {
    // SAFETY: takes a number; the callers forget it afterwards.
    unsafe { call(nr::CLOSE, [fd as usize, 0, 0, 0, 0]) };
}

/// Reads the available bytes.
pub fn read(fd: i32, buf: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the buffer is writable for its length.
    check(unsafe { call(nr::READ, [fd as usize, buf.as_mut_ptr() as usize, buf.len(), 0, 0]) })
}

/// Writes all, or gives up at the first error: a message is not worth more.
pub fn write(fd: i32, mut text: &[u8]) {
    while !text.is_empty() {
        // SAFETY: the buffer is readable for its length.
        let ret = check(unsafe { call(nr::WRITE, [fd as usize, text.as_ptr() as usize, text.len(), 0, 0]) });
        match ret {
            Ok(n) => text = text.get(n..).unwrap_or(&[]),
            Err(EINTR) => {}
            Err(_) => return,
        }
    }
}

/// Waits for events, at most so many milliseconds (negative: for ever).
pub fn poll(fds: &mut [PollFd], timeout: i64) {
    let time: [i64; 2] = [timeout / 1000, timeout % 1000 * 1_000_000];
    let time = if timeout < 0 { ptr::null() } else { time.as_ptr() };
    // SAFETY: the entries are laid out as the kernel wants them; the time is null or lives in this function.
    let ret = unsafe { call(nr::PPOLL, [fds.as_mut_ptr() as usize, fds.len(), time as usize, 0, 8]) };
    if ret <= 0 {
        fds.iter_mut().for_each(|f| f.revents = 0);
    }
}

fn set_mask(mask: u64) {
    const SIG_SETMASK: usize = 2;
    // SAFETY: the mask is 8 bytes, as announced.
    unsafe { call(nr::RT_SIGPROCMASK, [SIG_SETMASK, ptr::from_ref(&mask) as usize, 0, 8, 0]) };
}

/// Blocks every signal and returns a descriptor from which they are read.
pub fn signals() -> Result<i32, Errno> {
    let all = !0_u64;
    set_mask(all);
    let flags = O_CLOEXEC | O_NONBLOCK;
    // SAFETY: the mask is 8 bytes, as announced.
    let ret = unsafe { call(nr::SIGNALFD4, [usize::MAX, ptr::from_ref(&all) as usize, 8, flags, 0]) };
    check(ret).map(|fd| fd as i32)
}

/// Takes the next signal that has arrived.
pub fn next_signal(fd: i32) -> Option<i32> {
    let mut info = [0_u8; 128];
    let n = read(fd, &mut info).ok()?;
    (n == info.len()).then(|| i32::from_ne_bytes([info[0], info[1], info[2], info[3]]))
}

/// Forks. Returns none in the child, in which no signal is blocked any more.
pub fn fork() -> Result<Option<i32>, Errno> {
    // SAFETY: no new stack and no shared memory: a plain fork. Unused arguments are zero in every order.
    match check(unsafe { call(nr::CLONE, [SIGCHLD as usize, 0, 0, 0, 0]) })? {
        0 => {
            set_mask(0);
            Ok(None)
        }
        pid => Ok(Some(pid as i32)),
    }
}

/// Executes a program; returns only on failure. Words past the 63rd are dropped.
pub fn exec<'a>(
    path: &CStr,
    args: impl Iterator<Item = &'a CStr>,
    env: impl Iterator<Item = &'a CStr>,
) -> Errno {
    let mut argv = [ptr::null(); 64];
    let mut envp = [ptr::null(); 64];
    argv[..63].iter_mut().zip(args).for_each(|(slot, word)| *slot = word.as_ptr());
    envp[..63].iter_mut().zip(env).for_each(|(slot, word)| *slot = word.as_ptr());
    let words = [path.as_ptr() as usize, argv.as_ptr() as usize, envp.as_ptr() as usize, 0, 0];
    // SAFETY: terminated strings in terminated lists, which outlive the call.
    let ret = unsafe { call(nr::EXECVE, words) };
    -ret as Errno
}

/// Takes the next child that has ended: its pid and wait status.
pub fn reap() -> Option<(i32, i32)> {
    const WNOHANG: usize = 1;
    let mut status = 0_i32;
    // SAFETY: the status is writable.
    let ret = unsafe { call(nr::WAIT4, [usize::MAX, ptr::from_mut(&mut status) as usize, WNOHANG, 0, 0]) };
    check(ret).ok().filter(|pid| *pid > 0).map(|pid| (pid as i32, status))
}

/// Sends a signal; to every process that we see but ourselves when `pid` is -1.
pub fn kill(pid: i32, signal: i32) -> Result<(), Errno> {
    // SAFETY: takes numbers.
    check(unsafe { call(nr::KILL, [pid as usize, signal as usize, 0, 0, 0]) }).map(|_| ())
}

/// Becomes the leader of a new session, without a controlling terminal.
pub fn setsid() {
    // SAFETY: takes nothing.
    unsafe { call(nr::SETSID, [0; 5]) };
}

/// Makes an open terminal the controlling terminal of our session.
pub fn take_terminal(fd: i32) {
    // SAFETY: takes numbers.
    unsafe { call(nr::IOCTL, [fd as usize, TIOCSCTTY, 0, 0, 0]) };
}

/// Returns how many bytes can be read, for a terminal in line mode those of complete lines.
pub fn pending(fd: i32) -> usize {
    let mut n = 0_i32;
    // SAFETY: the number is writable.
    unsafe { call(nr::IOCTL, [fd as usize, FIONREAD, ptr::from_mut(&mut n) as usize, 0, 0]) };
    n.max(0) as usize
}

/// Puts a terminal into the state that a login expects: line mode, echo, signals, CR to NL. Says whether
/// it could; anything but a terminal cannot.
pub fn make_sane(fd: i32) -> bool {
    #[repr(C)]
    struct Termios {
        flags: [u32; 4],
        line: u8,
        cc: [u8; 19],
    }
    // The numbers of asm-generic: ICRNL IXON IUTF8 · OPOST ONLCR · B38400 CS8 CREAD HUPCL ·
    // ISIG ICANON ECHO ECHOE ECHOK ECHOCTL ECHOKE IEXTEN; ^C ^\ ^? ^U ^D … as usual.
    let sane = Termios {
        flags: [0o42_400, 0o5, 0o2277, 0o105_073],
        line: 0,
        cc: [3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0, 0, 0],
    };
    // SAFETY: the struct is the kernel's `termios`.
    check(unsafe { call(nr::IOCTL, [fd as usize, TCSETS, ptr::from_ref(&sane) as usize, 0, 0]) }).is_ok()
}

/// Makes `new` a copy of `old` that survives `execve`.
pub fn dup_to(old: i32, new: i32) {
    const F_SETFD: usize = 2;
    if old == new {
        // SAFETY: takes numbers. `dup3` refuses this case; what remains is to drop close-on-exec.
        unsafe { call(nr::FCNTL, [old as usize, F_SETFD, 0, 0, 0]) };
    } else {
        // SAFETY: takes numbers.
        unsafe { call(nr::DUP3, [old as usize, new as usize, 0, 0, 0]) };
    }
}

/// Says whether a file can be executed.
pub fn executable(path: &CStr) -> bool {
    access(path, 1)
}

/// Says whether a file exists.
pub fn exists(path: &CStr) -> bool {
    access(path, 0)
}

fn access(path: &CStr, mode: usize) -> bool {
    // SAFETY: the path is a terminated string.
    check(unsafe { call(nr::FACCESSAT, [AT_FDCWD, path.as_ptr() as usize, mode, 0, 0]) }).is_ok()
}

/// Changes the working directory and says whether it could.
pub fn chdir(path: &CStr) -> bool {
    // SAFETY: the path is a terminated string.
    check(unsafe { call(nr::CHDIR, [path.as_ptr() as usize, 0, 0, 0, 0]) }).is_ok()
}

/// Makes a pipe with a name, for its owner only, in place of what had the name.
pub fn make_fifo(path: &CStr) {
    const S_IFIFO: usize = 0o010_000;
    unlink(path);
    // SAFETY: the path is a terminated string.
    unsafe { call(nr::MKNODAT, [AT_FDCWD, path.as_ptr() as usize, S_IFIFO | 0o600, 0, 0]) };
}

/// Removes a name.
pub fn unlink(path: &CStr) {
    // SAFETY: the path is a terminated string.
    unsafe { call(nr::UNLINKAT, [AT_FDCWD, path.as_ptr() as usize, 0, 0, 0]) };
}

/// Returns the host name, cut at 64 bytes, as the kernel stores it.
pub fn host_name(buf: &mut [u8; 390]) -> &[u8] {
    // SAFETY: the buffer holds the six fields of 65 bytes of `new_utsname`.
    unsafe { call(nr::UNAME, [buf.as_mut_ptr() as usize, 0, 0, 0, 0]) };
    let node = &buf[65..130];
    node.split(|b| *b == 0).next().unwrap_or(node)
}

/// Returns milliseconds that only ever grow.
pub fn now() -> i64 {
    const CLOCK_MONOTONIC: usize = 1;
    let mut time = [0_i64; 2];
    // SAFETY: the time is writable.
    unsafe { call(nr::CLOCK_GETTIME, [CLOCK_MONOTONIC, time.as_mut_ptr() as usize, 0, 0, 0]) };
    time[0] * 1000 + time[1] / 1_000_000
}

/// Ends the zone: in a pid namespace the kernel kills its first process, and its parent sees it end by SIGINT (power
/// off) or SIGHUP (restart).
pub fn reboot(again: bool) {
    const AUTOBOOT: usize = 0x0123_4567;
    const POWER_OFF: usize = 0x4321_fedc;
    let command = if again { AUTOBOOT } else { POWER_OFF };
    // SAFETY: takes the two magic numbers and the command.
    unsafe { call(nr::REBOOT, [0xfee1_dead, 672_274_793, command, 0, 0]) };
}

// The compiler may call these for copies and comparisons. The volatile accesses keep it from turning
// the loops into calls of the functions that they are the bodies of.

/// C's `memcpy`.
///
/// # Safety
/// The arguments must be valid as for C's function.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    for i in 0..n {
        // SAFETY: the caller gives `n` bytes on both sides.
        unsafe { ptr::write_volatile(to.add(i), *from.add(i)) };
    }
    to
}

/// C's `memmove`.
///
/// # Safety
/// The arguments must be valid as for C's function.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    for k in 0..n {
        let i = if (to as usize) < (from as usize) { k } else { n - 1 - k };
        // SAFETY: the caller gives `n` bytes on both sides; the order keeps bytes that are still to be read.
        unsafe { ptr::write_volatile(to.add(i), ptr::read_volatile(from.add(i))) };
    }
    to
}

/// C's `memset`.
///
/// # Safety
/// The arguments must be valid as for C's function.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, n: usize) -> *mut u8 {
    for i in 0..n {
        // SAFETY: the caller gives `n` bytes.
        unsafe { ptr::write_volatile(to.add(i), byte as u8) };
    }
    to
}

/// C's `memcmp`.
///
/// # Safety
/// The arguments must be valid as for C's function.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    for i in 0..n {
        // SAFETY: the caller gives `n` bytes on both sides.
        let (x, y) = unsafe { (ptr::read_volatile(a.add(i)), ptr::read_volatile(b.add(i))) };
        if x != y {
            return i32::from(x) - i32::from(y);
        }
    }
    0
}

/// C's `bcmp`.
///
/// # Safety
/// The arguments must be valid as for C's function.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    // SAFETY: the same contract.
    unsafe { memcmp(a, b, n) }
}

/// C's `strlen`.
///
/// # Safety
/// The arguments must be valid as for C's function.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(s: *const c_char) -> usize {
    let mut n = 0;
    // SAFETY: the caller gives a terminated string.
    while unsafe { ptr::read_volatile(s.add(n)) } != 0 {
        n += 1;
    }
    n
}
