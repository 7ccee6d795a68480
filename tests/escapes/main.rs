//! A hostile zone, a hostile archive, a hostile caller: what each may try, and that nothing comes of it.
//!
//! Each class of vulnerability that other runtimes had, where it is tried, and the defence without which the
//! test fails (`tests/escapes/naive` leaves it out and looks; the name is that of `sys::naive::without`).
//! Where the kernel itself is the defence, the test has a control instead: the same attack where it succeeds.
//!
//! | class | tests | without |
//! |---|---|---|
//! | overwrite of the runtime's binary by `/proc/self/exe` | `entering::what_runs_is_not_overwritten`, `entering::the_built_in_init_cannot_be_written` | `users`, `readonly-init` |
//! | leaked descriptor | `entering::a_home_that_is_a_descriptor`, `entering::nothing_of_the_caller_gets_in`, `entering::the_first_process_has_nothing_of_the_callers` | `descriptors` |
//! | leaked working folder, environment, keys, groups | `entering::nothing_of_the_caller_gets_in` | `environment`, `groups`, `keyring` |
//! | mount target race | `races::*` | `links` |
//! | `/dev`, `/proc`, `/sys` that are links | `paths::mount_points_that_are_links` | `links` |
//! | console swapped | `races::console`, `attacks::a_zone_that_covers_its_dev_is_still_supervised` | `links` |
//! | write redirected by a false `/proc` | `entering::a_false_proc_is_written_by_nobody` | `host-proc` |
//! | identity parsing | `identity::*`, `zlogin::a_hostile_passwd_cannot_do_harm` | `numbers`, `regular`, `lookup` |
//! | order of entering | `entering::a_process_that_enters_shows_nothing_of_the_host` | `hiding`; commit c6d06aa |
//! | capabilities inherited | `entering::capabilities_are_the_zones` | `capabilities` |
//! | control groups | `walls::control_groups`, `attacks::cgroups_of_a_zone_are_bounded_and_nobody_elses` | `cgroup-files` |
//! | settings of the kernel that are the host's | `walls::settings_of_the_host`, `confine::kernel_files::*`; all of them in tests/zfs-zone/knobs.sh | `host-settings` |
//! | set-user-id helpers | `front::no_program_is_set_user_id` | none is there |
//! | folders of run-time files and locks | `front::folders_that_others_can_write` | `trust` |
//! | permissions of the zonepath; set-user-id files of a zone | `walls::set_user_id_files_seen_from_the_host` | `zonepath` |
//! | shift of owners by chown | `walls::a_boot_changes_no_owner` | no code does: ids are mapped by the mount |
//! | terminal injection | `filter::terminals_of_the_caller` | `session`, `streams` |
//! | files, pipes, sockets, devices of the caller as streams | `streams::*`; tests/login/streams.rs | `relay`, `streams` |
//! | a login that does not let its caller go | `streams::a_caller_is_let_go`; tests/login/ends.rs | `end` |
//! | archive traversal | `install::archive::*` | `links`, `attributes` |
//! | image layout | `install::image::*` | `links`, `digest` |
//! | a mount's source changed by a zone | `races::source`, `races::shared_source` | `links` |
//! | escape by a directory's descriptor | `walls::an_old_way_out_of_a_changed_root`, `walls::a_descriptor_from_another_zone` | `pivot` |
//! | mounts that travel between host and zone | `boot::on_a_host_with_shared_mounts_none_travels` | `propagation` |
//! | a zone's name in a shell | `front::names_that_mean_something_to_a_shell` | refused by type: `spec::ZoneName` |
//! | files that only the host's root may read, in inherited directories | `inherited::what_is_closed_to_others_is_closed_to_the_zones_root`, `inherited::what_is_closed_later_is_closed_at_once`, `inherited::set_user_id_programs_open_nothing_else` | `unmapped` |
//! | the same of set-user-id programs | `inherited::a_program_that_is_closed_after_it_was_found_is_closed_at_the_next_boot` | `readable` |
//! | files of the host that the zone's root owns, changed | `inherited::programs_of_the_host_are_not_changed` | `readonly-programs` |
//! | device nodes | `walls::device_nodes` | `nodev` |
//! | sockets without addresses | `walls::sockets_without_addresses` | control |
//! | sockets past the network namespace | `filter::sockets_of_virtual_machines` | `system-calls` |
//! | calls that act on the machine or have let others through | `confine::calls::*` | `system-calls` |
//! | fixed addresses, executable stacks, the page at 0 | `confine::flags::*` | `personality` |
//! | a user of the host with thousands of ids shuts the broker | `broker::room::*` | `other-namespaces`, `unknown-ids`, `kept-room` |
//! | names with line ends and what a terminal obeys, in our messages | `shown::*` | `names` |
//! | file systems and namespaces without end | `confine::flags::*` | `new-file-systems`, `bounds` |
//! | an owner without write access | `owner::*`, `confine::owner::*` | `leases`, `dnotify`, `write-hints`, `snapshots`, `bounds` |
//! | directories above a zonepath that others own | `walls::nothing_is_changed_below_a_foreign_parent` | `parents` |
//! | a router outside that leads a zone astray | `network::advertised::*` | `advertised` |
//! | a server or router on the host's link | `network::held::a_shared_zone_is_no_server_of_the_link` | `roles` |
//! | restrictions of mounts | `confine::mounts::restrictions_of_mounts_stay` | `sys` |
//! | a mount that the host makes in a running zone, changed | `site::mounts_of_a_zone_that_runs` | `locked-later` |
//! | a device node that the host makes in a running zone, led to a directory of the host | `site::nodes_of_a_zone_that_runs` | `zone-dev` |
//! | a tree that cannot be cloned, moved or removed | `lifecycle::hostile::*` | `depth`, `attribute-lists`, `identity`, `beside`, `subvolumes` |
//! | ids of a zone of another root | `idmap::zones_of_two_roots_never_run_with_the_same_ids`, `idmap::a_range_of_a_running_zone_of_another_root_is_not_given` | `roots` |
//! | exhaustion | `exhaustion::*`; processes in tests/zfs-zone/limits.sh | `owner`, `terminals`, control |
//!
//! What leads along a path is tried twice, the second time with programs that find no `openat2`.

#[path = "../lab/mod.rs"]
mod lab;

mod entering;
mod exhaustion;
mod filter;
mod front;
mod identity;
mod inherited;
mod owner;
mod paths;
mod races;
mod streams;
mod walls;

use lab::{Lab, Run};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Zones that a test tells a script to attack from.
impl Lab {
    /// Starts a Python script as the zone's root and returns once it has said that it is ready.
    fn attacker(&self, zone: &str, script: &str, args: &[&str]) -> Attacker {
        let mut command = self.command("zlogin");
        command.args([zone, "python3", "-c", FROM_INPUT]).args(args);
        Attacker::start(command, script)
    }

    /// Runs a Python script as the zone's root and returns what it has said.
    fn script(&self, zone: &str, script: &str, args: &[&str]) -> Run {
        let file = self.in_zone(zone, "/var/tmp/attack.py");
        std::fs::write(file, script).expect("a file of the zone");
        let mut words = vec![zone, "python3", "/var/tmp/attack.py"];
        words.extend(args);
        let run = self.run("zlogin", &words);
        assert_eq!(run.status, 0, "{run:?}");
        run
    }

    /// Runs a shell script of the host, at most twenty seconds, with the programs' folder in `$B`.
    fn host(&self, script: &str) -> Run {
        let bin = PathBuf::from(env!("CARGO_BIN_EXE_zoneadm"));
        let mut command = Command::new("timeout");
        command
            .args(["20", "bash", "-c", script])
            .env("ZONES_ROOT", self.path())
            .env("B", bin.parent().expect("a folder"));
        Run::from(command.stdin(Stdio::null()).output().expect("timeout(1) and bash(1)"))
    }

    /// Adds a line to a zone's `/etc/passwd`.
    fn user(&self, zone: &str, line: &str) {
        let file = self.in_zone(zone, "/etc/passwd");
        let text = std::fs::read_to_string(&file).expect("the zone has one");
        std::fs::write(file, format!("{line}\n{text}")).expect("written");
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

    /// Lets every user of the host search the lab's folders, as on a real machine.
    fn open_to_all(&self) {
        use std::os::unix::fs::PermissionsExt;
        for dir in [self.path().to_owned(), self.path().join("zones")] {
            std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        }
    }
}

/// Runs the script that the first line of input holds; quoted, for a shell of the zone sees it.
const FROM_INPUT: &str =
    "'import sys; exec(sys.stdin.readline().encode().decode(\"unicode_escape\"), globals())'";

/// A script that attacks until its input ends.
struct Attacker {
    child: Child,
    input: Option<std::process::ChildStdin>,
    output: std::io::BufReader<std::process::ChildStdout>,
}

impl Attacker {
    /// Starts a Python script on the host.
    fn on_host(script: &str, args: &[&str]) -> Self {
        let mut command = Command::new("python3");
        command.args(["-c", FROM_INPUT.trim_matches('\'')]).args(args);
        Self::start(command, script)
    }

    fn start(mut command: Command, script: &str) -> Self {
        use std::io::{BufRead, BufReader, Write};
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().expect("it starts");
        let mut input = child.stdin.take().expect("a pipe");
        let line = script.replace('\\', "\\\\").replace('\n', "\\n");
        writeln!(input, "{line}").expect("it reads");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        output.read_line(&mut line).expect("a readable pipe");
        assert_eq!(line, "ready\n", "the attacker does not start");
        Self { child, input: Some(input), output }
    }

    /// Says whether the script has said something since it was ready, or has ended.
    fn has_said_something(&self) -> bool {
        use std::os::fd::AsFd;
        !self.output.buffer().is_empty()
            || zones::sys::process::wait_readable(self.output.get_ref().as_fd(), 0).expect("a pipe")
    }

    /// Ends attack/flip.py and returns how often it has exchanged the names.
    fn flips(self) -> u32 {
        let told = self.end();
        told.split_whitespace().last().and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{told}"))
    }

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
                    let Some(lab) = Lab::on_disk() else { return };
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
