//! How much of the broker one user can take, whatever ids he has.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{DAEMON, SYS, World, admins, become_user, until};
use zones::sys::channel::Channel;

/// The first of the subordinate ids of somebody, which no host has names for.
const SUBORDINATE: u32 = 1_879_048_192;
/// As many ids as it took to fill the broker, and some more.
const IDS: u32 = 18;

/// Connects as often as one user may, says nothing and keeps them; connects again what is hung up on.
const FLOOD: &str = r#"
    use Socket; $| = 1;
    my ($path, $count, $again) = @ARGV;
    sub one { socket(my $s, AF_UNIX, 5, 0) or die; connect($s, sockaddr_un($path)) or die "connect: $!"; $s }
    my @held = map { one() } 1 .. $count;
    print "held\n";
    while ($again) {
        for my $s (@held) {
            my $in = ''; vec($in, fileno($s), 1) = 1;
            $s = one() if select($in, undef, undef, 0);
        }
        select(undef, undef, undef, 0.02);
    }
    sleep 600;
"#;

/// Processes that hold connections. They end with it.
struct Flood(Vec<Child>);

impl Flood {
    fn new(socket: &Path, ids: impl Iterator<Item = u32>, before: &[&str], count: usize) -> Self {
        let again = if before.is_empty() { "0" } else { "1" };
        let begin = |uid: u32| {
            let id = uid.to_string();
            let mut command = Command::new("setpriv");
            command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]).args(before);
            command.args(["perl", "-e", FLOOD]).arg(socket).args([&count.to_string(), again]);
            command.stdout(Stdio::piped()).spawn().expect("setpriv of util-linux")
        };
        let mut flood = Self(ids.map(begin).collect());
        for child in &mut flood.0 {
            let out = child.stdout.as_mut().expect("a pipe");
            let mut line = String::new();
            BufReader::new(out).read_line(&mut line).expect("a line");
            assert_eq!(line, "held\n", "perl has connected");
        }
        flood
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn served(w: &World) -> usize {
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", w.broker.id()));
    children.expect("a broker").split_whitespace().count()
}

fn world() -> Option<World> {
    let w = World::new()?;
    w.lab.configure("zion", &admins(&[("daemon", "manage")]));
    Some(w)
}

/// Looks that daemon, who has no connection, is served again and again.
fn daemon_is_served(w: &World) {
    for _ in 0..5 {
        let run = w.run(DAEMON, "zoneadm", &["-z", "zion", "plan", "install"]);
        assert!(run.status == 0, "daemon is shut out: {run:?}");
    }
}

#[test]
fn a_command_ends_when_it_has_given_its_place_back() {
    let Some(w) = world() else { return };
    for round in 0..40 {
        let run = w.run(DAEMON, "zoneadm", &["-z", "zion", "plan", "install"]);
        assert!(run.status == 0, "{run:?}");
        let path = format!("/proc/{0}/task/{0}/children", w.broker.id());
        let children = fs::read_to_string(path).expect("a broker");
        let open = |pid: &&str| !zones::sys::process::is_ending(pid.parse().expect("a number"));
        let open: Vec<&str> = children.split_whitespace().filter(open).collect();
        assert!(open.is_empty(), "round {round}: processes {open:?} serve a command that has ended");
    }
}

#[test]
fn peers_of_other_user_namespaces_take_no_room() {
    let Some(w) = world() else { return };
    let ids = SUBORDINATE..SUBORDINATE + IDS;
    let _flood = Flood::new(&w.socket(), ids, &["unshare", "-U"], 32);
    // No process of root is made for them: what is there is for daemon.
    let most = (0..50)
        .map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            served(&w)
        })
        .max();
    assert_eq!(most, Some(0), "processes of root for peers of other user namespaces");
    daemon_is_served(&w);
    let lines = w.log().lines().filter(|l| l.contains("another user namespace")).count();
    assert_eq!(lines, 1, "they do not push out of the log what others have done:\n{}", w.log());
}

#[test]
fn ids_that_this_host_has_no_name_for_are_one_user() {
    let Some(w) = world() else { return };
    let ids = SUBORDINATE..SUBORDINATE + IDS;
    let flood = Flood::new(&w.socket(), ids, &[], 32);
    daemon_is_served(&w);
    let why = "too many connections of users that this host has no name for";
    w.refused(SUBORDINATE + IDS, "zoneadm", &["-z", "zion", "verify"], why);
    drop(flood);
    until("the end of their connections", || {
        let run = w.run(SUBORDINATE, "zoneadm", &["-z", "zion", "verify"]);
        run.err.contains("has no name on this host")
    });
}

#[test]
fn a_part_of_the_room_is_kept_for_users_who_have_none() {
    let Some(w) = world() else { return };
    let passwd = fs::read_to_string("/etc/passwd").expect("users of the host");
    let ids = passwd.lines().filter_map(|l| l.split(':').nth(2)?.parse::<u32>().ok());
    let mut ids: Vec<u32> = ids.filter(|uid| ![0, DAEMON, SYS].contains(uid)).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.len() < 16 {
        eprintln!("SKIPPED: this host has {} users, and it takes 16 to fill the broker", ids.len());
        return;
    }
    // Sys has one connection already when the others come.
    let socket = w.socket();
    let first = std::thread::spawn(move || {
        become_user(SYS);
        Channel::connect(&socket).expect("a broker")
    });
    let _first = first.join().expect("a thread");
    // Ten seconds is what a silent one has: those that it takes are made anew.
    let _flood = Flood::new(&w.socket(), ids.into_iter().take(16), &["env"], 32);
    daemon_is_served(&w);
    let together = "too many connections of all users together; try again later";
    w.refused(SYS, "zoneadm", &["-z", "zion", "verify"], together);
}
