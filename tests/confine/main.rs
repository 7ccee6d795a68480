//! What the processes of a zone cannot ask of the kernel, tried from inside: by init's children and by
//! those that enter, by 64-bit and by 32-bit calls.
//!
//! `tests/escapes/naive` leaves the filter out. In such a build each attack is made without it as well: where the
//! kernel alone answers otherwise, the filter is what holds.

#![allow(clippy::disallowed_methods)]

#[path = "../lab/mod.rs"]
mod lab;

mod calls;
mod flags;
mod hygiene;
mod kernel_files;
mod mounts;
mod owner;

use lab::{Lab, Run};

/// What every script begins with: `say(name, result)` prints the error number, 0 for success; `call` makes a
/// call by its number on x86-64 or 64-bit ARM, `call32` one of 32-bit x86 by `int 0x80`.
const PRELUDE: &str = r#"
import ctypes, mmap, os, platform, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
X86 = platform.machine() == "x86_64"
def call(number, *args):
    number = number[0 if X86 else 1]
    words = [ctypes.c_void_p(a) if isinstance(a, int) else a for a in args]
    ctypes.set_errno(0)
    got = libc.syscall(ctypes.c_long(number), *words)
    return ctypes.get_errno() if got == -1 else 0
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex("5389f889f387cacd805bc3"))
thirty_two = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_int] * 4)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
def call32(number, a=0, b=0, c=0):
    got = thirty_two(number, a, b, c)
    return -got if -4096 < got < 0 else 0
def say(name, errno):
    print(name, errno, flush=True)
"#;

impl Lab {
    /// Starts a zone with these lines in its spec.
    fn booted(&self, zone: &str, lines: &str) {
        self.installed(zone, lines);
        self.ok("zoneadm", &["-z", zone, "boot"]);
    }

    /// Runs a Python script, behind the prelude, as the zone's root.
    fn python(&self, zone: &str, script: &str, env: &[(&str, &str)]) -> Run {
        let file = self.in_zone(zone, "/root/script.py");
        std::fs::write(file, format!("{PRELUDE}\n{script}")).expect("written");
        self.run_with("zlogin", &[zone, "exec /usr/bin/python3 /root/script.py"], env, "")
    }

    /// Returns the answers of a script: names and error numbers.
    fn answers(&self, zone: &str, script: &str, env: &[(&str, &str)]) -> Vec<(String, i32)> {
        let run = self.python(zone, script, env);
        assert_eq!(run.status, 0, "{run:?}");
        answers(&run.out)
    }

    /// Halts a zone and looks that nothing is left of any.
    fn halted(&self, zone: &str) {
        self.ok("zoneadm", &["-z", zone, "halt"]);
        self.assert_clean();
    }
}

fn answers(text: &str) -> Vec<(String, i32)> {
    let one = |line: &str| line.rsplit_once(' ').and_then(|(n, e)| Some((n.to_owned(), e.parse().ok()?)));
    text.lines().map(|l| one(l).unwrap_or_else(|| panic!("an answer: {l}"))).collect()
}
