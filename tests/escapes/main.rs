//! A hostile zone, a hostile archive, a hostile folder: what each may try, and that nothing comes of it.
//!
//! The comment of each test names the defence that it guards. Those of `entering` were seen to work before
//! that defence was there; those of `paths` have not been tried without it. The defences of a release build have no switch. `tests/attacks.rs` and the tests of install,
//! login and networks have more of them.
//!
//! What leads along a path is tried twice, the second time with programs that find no `openat2`.

#[path = "../lab/mod.rs"]
mod lab;

mod entering;
mod paths;

use lab::Lab;
use std::process::{Child, Stdio};

/// Zones that a test tells a script to attack from.
impl Lab {
    /// Starts a Python script as the zone's root and returns once it has said that it is ready.
    fn attacker(&self, zone: &str, script: &str, args: &[&str]) -> Attacker {
        use std::io::{BufRead, BufReader, Write};
        let mut words = vec![
            zone,
            "python3",
            "-c",
            "'import sys; exec(sys.stdin.readline().encode().decode(\"unicode_escape\"))'",
        ];
        words.extend(args);
        let mut command = self.command("zlogin");
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().expect("zlogin starts");
        let mut input = child.stdin.take().expect("a pipe");
        let line = script.replace('\\', "\\\\").replace('\n', "\\n");
        writeln!(input, "{line}").expect("it reads");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        output.read_line(&mut line).expect("a readable pipe");
        assert_eq!(line, "ready\n", "the attacker does not start");
        Attacker { child, input: Some(input), output }
    }

    /// Starts a zone with these lines in its spec.
    fn booted(&self, zone: &str, lines: &str) {
        self.installed(zone, lines);
        self.ok("zoneadm", &["-z", zone, "boot"]);
    }

    /// Halts a zone and looks that nothing is left of any.
    fn halted(&self, zone: &str) {
        self.ok("zoneadm", &["-z", zone, "halt"]);
        self.assert_clean();
    }
}

/// A script that attacks until its input ends.
struct Attacker {
    child: Child,
    input: Option<std::process::ChildStdin>,
    output: std::io::BufReader<std::process::ChildStdout>,
}

impl Attacker {
    /// Ends the attack and returns what the script has to say.
    fn end(mut self) -> String {
        use std::io::Read;
        drop(self.input.take());
        let mut text = String::new();
        self.output.read_to_string(&mut text).expect("text");
        self.child.wait().expect("it ends");
        text
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes a test of each way along a path: with `openat2`, and without.
macro_rules! both_ways {
    ($($(#[$doc:meta])* $name:ident($lab:ident) $body:block)*) => {
        $(
            mod $name {
                use super::*;
                fn attack($lab: &Lab) $body
                $(#[$doc])*
                #[test]
                fn with_openat2() {
                    let Some(lab) = Lab::new() else { return };
                    attack(&lab);
                }
                $(#[$doc])*
                #[test]
                fn without_openat2() {
                    let Some(lab) = Lab::without_openat2() else { return };
                    attack(&lab);
                }
            }
        )*
    };
}
pub(crate) use both_ways;
