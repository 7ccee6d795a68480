//! The built-in init: process 1 of a zone whose root has none of its own.
//!
//! It reaps, runs `/etc/rc.local` when that is executable, gives a shell on the console when Enter is pressed there,
//! and ends the zone in order when asked to:
//!
//! | asked by | effect |
//! |---|---|
//! | SIGTERM, SIGPWR, SIGUSR1, SIGUSR2, SIGRTMIN+3, SIGRTMIN+4, runlevel 0 on `/run/initctl` | power off |
//! | SIGINT, SIGRTMIN+5, runlevel 6 on `/run/initctl` | restart |
//!
//! `SIGRTMIN+n` are the numbers of systemd, so that one signal does for both; `/run/initctl` is the pipe that
//! `poweroff`, `reboot` and `shutdown` of systemd and sysvinit write to when systemd does not run. With `-s` (or `-m
//! milestone=single-user`) a shell starts at once, and `/etc/rc.local` and the rest wait until it ends.
//!
//! Thousands of idle zones may run on a host, so it holds no more than it needs: no shell before a key is pressed,
//! no heap, no library. The program is a static one without libc and works in any root.

#![no_std]
#![no_main]
#![deny(unsafe_code)]
#![warn(missing_docs)]

mod sys;

use core::ffi::CStr;

use sys::{PollFd, Words};

const CONSOLE: &CStr = c"/dev/console";
const INITCTL: &CStr = c"/run/initctl";
const RC_LOCAL: &CStr = c"/etc/rc.local";
const RC_SHUTDOWN: &CStr = c"/etc/rc.shutdown";
const SHELL: &CStr = c"/bin/sh";
const LOGINS: [&CStr; 2] = [c"/bin/login", c"/usr/bin/login"];
/// Without it `login` prints an error and ends: not even tried then.
const LOGIN_RULES: &CStr = c"/etc/pam.d/login";

/// How long `/etc/rc.shutdown` may take.
const SCRIPT_MS: i64 = 60_000;
/// How long processes have after SIGTERM until SIGHUP reminds them: a shell at a terminal heeds only that.
const REMIND_MS: i64 = 500;
/// How long they have from then on until SIGKILL.
const TERM_MS: i64 = 4_500;
/// How long to wait for the last of them after SIGKILL.
const KILL_MS: i64 = 2_000;
/// A session that ends within this time has failed.
const SHORT_MS: i64 = 1_000;
/// The longest pause after sessions that fail.
const PAUSE_MAX_MS: i64 = 30_000;
/// The longest pause between attempts to open a console that has hung up.
const REOPEN_MAX_MS: i64 = 1_000;
/// While ending, how often to look whether processes are left: those entered from outside are not our children.
const LOOK_MS: i64 = 10;

#[derive(Clone, Copy, PartialEq)]
enum Shutdown {
    No,
    Script { again: bool, until: i64 },
    Term { again: bool, until: i64 },
    Remind { again: bool, until: i64 },
    Kill { again: bool, until: i64 },
}

struct Init {
    env: Words,
    signals: i32,
    initctl: i32,
    /// Open console, or -1.
    console: i32,
    /// The console is left alone until then, and by how much longer the next time.
    pause_until: i64,
    pause: i64,
    /// The shell or login on the console, or 0, and since when.
    session: i32,
    session_start: i64,
    session_is_login: bool,
    /// `login` has failed here: use the shell.
    login_broken: bool,
    single_user: bool,
    /// `/etc/rc.shutdown`, or 0.
    script: i32,
    ending: Shutdown,
}

/// The program.
fn run(args: Words, env: Words) -> ! {
    sys::set_name(c"init");
    sys::setsid();
    let Ok(signals) = sys::signals() else { fail(b"init: no signal descriptor\r\n") };
    sys::chdir(c"/");
    let mut init = Init {
        env,
        signals,
        initctl: -1,
        console: -1,
        pause_until: 0,
        pause: 0,
        session: 0,
        session_start: 0,
        session_is_login: false,
        login_broken: false,
        single_user: wants_single_user(args),
        script: 0,
        ending: Shutdown::No,
    };
    sys::make_fifo(INITCTL);
    // Held open for writing as well, so that it never reports a hang-up.
    init.initctl = sys::open(INITCTL, sys::O_RDWR | sys::O_NONBLOCK | sys::O_CLOEXEC).unwrap_or(-1);
    init.open_console();
    if init.single_user {
        init.start_session();
    } else {
        init.go_multi_user();
    }
    loop {
        init.turn();
    }
}

fn wants_single_user(args: Words) -> bool {
    let mut words = args.iter().skip(1).map(CStr::to_bytes);
    words.any(|w| matches!(w, b"-s" | b"single" | b"milestone=single-user" | b"-mmilestone=single-user"))
}

fn fail(text: &[u8]) -> ! {
    sys::write(2, text);
    sys::exit(1)
}

impl Init {
    /// Waits for something to happen and deals with it.
    fn turn(&mut self) {
        let now = sys::now();
        let listening = self.session == 0 && self.ending == Shutdown::No && now >= self.pause_until;
        if listening && self.console < 0 {
            self.open_console();
            self.greet();
        }
        let console = if listening { self.console } else { -1 };
        let entry = |fd| PollFd { fd, events: sys::POLLIN, revents: 0 };
        let mut fds = [entry(self.signals), entry(self.initctl), entry(console)];
        sys::poll(&mut fds, self.patience(now));
        if fds[0].revents != 0 {
            while let Some(signal) = sys::next_signal(self.signals) {
                self.on_signal(signal);
            }
        }
        // Checked without a SIGCHLD as well: signals of one number do not queue.
        while let Some((pid, status)) = sys::reap() {
            self.on_exit(pid, status);
        }
        if fds[1].revents != 0 {
            self.on_initctl();
        }
        if console >= 0 && self.ending == Shutdown::No {
            if fds[2].revents & (sys::POLLHUP | sys::POLLERR) != 0 {
                self.drop_console();
            } else if fds[2].revents & sys::POLLIN != 0 {
                self.on_console();
            }
        }
        self.advance();
    }

    /// Returns how long the next wait may last, in milliseconds; for ever when nothing is due.
    fn patience(&self, now: i64) -> i64 {
        match self.ending {
            Shutdown::No if self.pause_until == i64::MAX => -1,
            Shutdown::Script { until, .. } => (until - now).max(0),
            Shutdown::Term { .. } | Shutdown::Remind { .. } | Shutdown::Kill { .. } => LOOK_MS,
            Shutdown::No if self.session != 0 => -1,
            Shutdown::No if now < self.pause_until => self.pause_until - now,
            Shutdown::No => -1,
        }
    }

    fn on_signal(&mut self, signal: i32) {
        const HALT: i32 = sys::SIGRTMIN + 3;
        const POWER_OFF: i32 = sys::SIGRTMIN + 4;
        const RESTART: i32 = sys::SIGRTMIN + 5;
        match signal {
            sys::SIGTERM | sys::SIGPWR | sys::SIGUSR1 | sys::SIGUSR2 | HALT | POWER_OFF => self.end(false),
            sys::SIGINT | RESTART => self.end(true),
            sys::SIGHUP if self.session == 0 => {
                self.pause = 0;
                self.drop_console();
            }
            _ => {}
        }
    }

    fn on_initctl(&mut self) {
        const MAGIC: u32 = 0x0309_1969;
        const RUN_LEVEL: u32 = 1;
        let mut request = [0_u8; 384];
        while sys::read(self.initctl, &mut request) == Ok(request.len()) {
            let word =
                |i: usize| u32::from_ne_bytes([request[i], request[i + 1], request[i + 2], request[i + 3]]);
            if word(0) == MAGIC && word(4) == RUN_LEVEL {
                match word(8) {
                    0x30 => self.end(false),
                    0x36 => self.end(true),
                    _ => {}
                }
            }
        }
    }

    fn on_exit(&mut self, pid: i32, status: i32) {
        if pid == self.script {
            self.script = 0;
        }
        if pid != self.session {
            return;
        }
        self.session = 0;
        let now = sys::now();
        if now - self.session_start >= SHORT_MS {
            self.pause = 0;
        } else if self.session_is_login && status != 0 {
            // No PAM files, no passwd entry, …: the shell needs none of them.
            self.login_broken = true;
        } else {
            self.pause = (self.pause * 2).clamp(SHORT_MS, PAUSE_MAX_MS);
            self.pause_until = now + self.pause;
        }
        if self.ending != Shutdown::No {
            return;
        }
        if self.login_broken && self.session_is_login && status != 0 {
            self.start_session();
        } else if self.single_user {
            self.single_user = false;
            self.go_multi_user();
        } else {
            self.greet();
        }
    }

    /// A line was typed on the console.
    fn on_console(&mut self) {
        let mut byte = [0_u8; 1];
        // An empty line only asks for a shell; a line with text is for the shell, and stays for it.
        match sys::pending(self.console) {
            // End of file: nothing was asked for.
            0 => match sys::read(self.console, &mut byte) {
                Ok(_) => self.greet(),
                Err(_) => self.drop_console(),
            },
            1 if sys::read(self.console, &mut byte).is_err() => self.drop_console(),
            _ => self.start_session(),
        }
    }

    fn open_console(&mut self) {
        // Opened without waiting, and never as our own controlling terminal: the session takes it.
        let flags = sys::O_RDWR | sys::O_NOCTTY | sys::O_NONBLOCK | sys::O_CLOEXEC;
        match sys::open(CONSOLE, flags) {
            Ok(fd) if sys::make_sane(fd) => self.console = fd,
            Ok(fd) => {
                // Not a terminal, and it will not become one by waiting; SIGHUP asks to look again.
                sys::close(fd);
                self.pause_until = i64::MAX;
            }
            Err(_) => self.pause_console(),
        }
    }

    /// The other side is gone (its keeper was replaced, perhaps): try again, ever more slowly.
    fn drop_console(&mut self) {
        if self.console >= 0 {
            sys::close(self.console);
            self.console = -1;
        }
        self.pause_console();
    }

    fn pause_console(&mut self) {
        self.pause = (self.pause * 2).clamp(50, REOPEN_MAX_MS);
        self.pause_until = sys::now() + self.pause;
    }

    fn say(&self, text: &[u8]) {
        if self.console >= 0 {
            sys::write(self.console, text);
        }
    }

    fn greet(&self) {
        if self.console < 0 {
            return;
        }
        sys::make_sane(self.console);
        let mut buf = [0_u8; 390];
        self.say(b"\n");
        self.say(sys::host_name(&mut buf));
        self.say(b" console: press Enter to log in\n");
    }

    fn go_multi_user(&mut self) {
        if sys::executable(RC_LOCAL) {
            self.spawn_script(RC_LOCAL);
        }
        self.greet();
    }

    /// Starts a script with the console for its output and nothing for its input.
    fn spawn_script(&self, path: &'static CStr) -> i32 {
        match sys::fork() {
            Ok(Some(pid)) => pid,
            Err(_) => 0,
            Ok(None) => {
                sys::setsid();
                let null = sys::open(c"/dev/null", sys::O_RDWR | sys::O_CLOEXEC);
                // Opened anew: our own description does not wait, and a script's output must.
                let out = sys::open(CONSOLE, sys::O_WRONLY | sys::O_NOCTTY | sys::O_CLOEXEC);
                let input = null.unwrap_or(-1);
                let output = out.unwrap_or(input);
                sys::dup_to(input, 0);
                sys::dup_to(output, 1);
                sys::dup_to(output, 2);
                if sys::exec(path, [path].into_iter(), self.child_env()) == sys::ENOEXEC {
                    sys::exec(SHELL, [SHELL, path].into_iter(), self.child_env());
                }
                sys::exit(127)
            }
        }
    }

    /// Starts a login, or a shell, on the console.
    fn start_session(&mut self) {
        let login = if self.login_broken || self.single_user || !sys::exists(LOGIN_RULES) {
            None
        } else {
            LOGINS.into_iter().find(|path| sys::executable(path))
        };
        self.session_is_login = login.is_some();
        self.session_start = sys::now();
        match sys::fork() {
            Ok(Some(pid)) => self.session = pid,
            Ok(None) => self.be_session(login),
            Err(_) => self.pause_console(),
        }
    }

    fn be_session(&self, login: Option<&CStr>) -> ! {
        sys::setsid();
        let Ok(tty) = sys::open(CONSOLE, sys::O_RDWR | sys::O_CLOEXEC) else { sys::exit(126) };
        sys::take_terminal(tty);
        sys::make_sane(tty);
        (0..3).for_each(|fd| sys::dup_to(tty, fd));
        if let Some(path) = login {
            sys::exec(path, [c"login", c"-f", c"root"].into_iter(), self.child_env());
            sys::exit(126);
        }
        if !sys::chdir(c"/root") {
            sys::chdir(c"/");
        }
        sys::exec(SHELL, [c"-sh"].into_iter(), self.child_env());
        sys::write(2, b"init: cannot execute /bin/sh\n");
        sys::exit(127)
    }

    /// Returns our own environment, and below it the variables that a login usually has.
    fn child_env(&self) -> impl Iterator<Item = &'static CStr> {
        const DEFAULTS: [&CStr; 6] = [
            c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            c"HOME=/root",
            c"USER=root",
            c"LOGNAME=root",
            c"SHELL=/bin/sh",
            c"TERM=vt220",
        ];
        let env = self.env;
        let missing = move |entry: &&CStr| {
            let name = |e: &'static CStr| e.to_bytes().split(|b| *b == b'=').next();
            let wanted = entry.to_bytes().split(|b| *b == b'=').next();
            !env.iter().any(|e| name(e) == wanted)
        };
        DEFAULTS.into_iter().filter(missing).chain(env.iter())
    }

    /// Begins to end the zone, unless that has begun already.
    fn end(&mut self, again: bool) {
        if self.ending != Shutdown::No {
            return;
        }
        self.say(if again { b"\nrestarting\n" } else { b"\nshutting down\n" });
        if sys::executable(RC_SHUTDOWN) {
            self.script = self.spawn_script(RC_SHUTDOWN);
        }
        self.ending = Shutdown::Script { again, until: sys::now() + SCRIPT_MS };
    }

    /// Goes on with the ending as far as it can go now.
    fn advance(&mut self) {
        let now = sys::now();
        match self.ending {
            Shutdown::Script { again, until } if self.script == 0 || now >= until => {
                let _ = sys::kill(-1, sys::SIGTERM);
                // Stopped processes see it only when they go on.
                let _ = sys::kill(-1, sys::SIGCONT);
                self.ending = Shutdown::Term { again, until: now + REMIND_MS };
            }
            Shutdown::Term { again, .. } | Shutdown::Remind { again, .. } | Shutdown::Kill { again, .. }
                if alone() =>
            {
                finish(again)
            }
            Shutdown::Term { again, until } if now >= until => {
                let _ = sys::kill(-1, sys::SIGHUP);
                self.ending = Shutdown::Remind { again, until: now + TERM_MS };
            }
            Shutdown::Remind { again, until } if now >= until => {
                let _ = sys::kill(-1, sys::SIGKILL);
                self.ending = Shutdown::Kill { again, until: now + KILL_MS };
            }
            Shutdown::Kill { again, until } if now >= until => finish(again),
            _ => {}
        }
    }
}

/// Says whether no other process is left in the zone.
fn alone() -> bool {
    while sys::reap().is_some() {}
    sys::kill(-1, 0) == Err(sys::ESRCH)
}

fn finish(again: bool) -> ! {
    sys::unlink(INITCTL);
    sys::reboot(again);
    // Without the right to do so: the end of the first process ends the zone as well. The status says which end it
    // was.
    sys::exit(if again { 6 } else { 0 })
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    fail(b"init: internal error\r\n")
}
