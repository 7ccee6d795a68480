//! What a zone finds inside that is its own: the commands that end it, its name, a resolver.

mod lab;

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use lab::{Lab, record};

/// Waits until something is so.
fn until(what: &str, mut there: impl FnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(30);
    while !there() {
        assert!(Instant::now() < limit, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Makes a whole root that gets these directories of the host as `fs` resources, so that it has a shell, and has
/// the built-in init.
fn whole(lab: &Lab, zone: &str, shared: &[&str], more: &str) {
    let tree = lab.path().join(format!("{zone}.tree"));
    for dir in ["etc", "usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "root", "tmp", "var"] {
        fs::create_dir_all(tree.join(dir)).expect("a folder");
    }
    for dir in ["bin", "sbin", "lib", "lib64"] {
        symlink(format!("usr/{dir}"), tree.join(dir)).expect("a link");
    }
    symlink("/run", tree.join("var/run")).expect("a link");
    for program in ["sh", "env", "rm"] {
        fs::copy(format!("/usr/bin/{program}"), tree.join("usr/bin").join(program)).expect("a copy");
    }
    fs::write(tree.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").expect("written");
    fs::write(tree.join("etc/group"), "root:x:0:\n").expect("written");
    let mut lines = "remove -F inherit-pkg-dir\n".to_owned();
    for dir in shared {
        lines.push_str(&format!("add fs\nset type=lofs\nset special={dir}\nset dir={dir}\nend\n"));
    }
    lab.configure(zone, &format!("{lines}{more}"));
    lab.ok("zoneadm", &["-z", zone, "install", "-d", &tree.display().to_string()]);
}

/// Gives a command to a running zone. A shell around it may be ended before it can tell.
fn give(lab: &Lab, zone: &str, command: &str) {
    let done = lab.run("zlogin", &[zone, command]);
    let shell = command.contains([';', '(', '\'']);
    assert!(done.status == 0 || (shell && done.status == 143), "{command}: {done:?}");
    assert_eq!((done.out.as_str(), done.err.as_str()), ("", ""), "{command}: {done:?}");
}

/// Gives a command that ends a running zone.
fn ends(lab: &Lab, zone: &str, command: &str) {
    give(lab, zone, command);
    until(command, || lab.state(zone) == "installed");
    lab.ok("zoneadm", &["-z", zone, "boot"]);
}

/// Gives a command that restarts a running zone.
fn restarts(lab: &Lab, zone: &str, command: &str) {
    let before = record(lab, zone, "init");
    give(lab, zone, command);
    until(command, || {
        let text =
            fs::read_to_string(lab.path().join("run/zones").join(zone).join("running")).unwrap_or_default();
        text.contains("state=running") && !text.contains(&format!(" init={before} "))
    });
}

#[test]
fn the_commands_of_every_host_end_a_zone_with_the_built_in_init() {
    let Some(lab) = Lab::new() else { return };
    lab.installed("zion", "");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    for command in ["init 0", "/sbin/init 0", "telinit 0", "/usr/sbin/telinit 0"] {
        ends(&lab, "zion", command);
    }
    // As a shell of the zone finds them.
    for command in [
        "sh -c 'halt'",
        "sh -c 'exec /sbin/poweroff'",
        "(init 0)",
        "cd /; PATH=/usr/sbin:/sbin; shutdown -h now",
    ] {
        ends(&lab, "zion", command);
    }
    for command in ["init 6", "/sbin/init 6", "telinit 6", "reboot", "shutdown -r now", "reboot -f"] {
        restarts(&lab, "zion", command);
    }
    // As Solaris has it, which existing tools use.
    ends(&lab, "zion", "shutdown -y -g0 -i0");
    ends(&lab, "zion", "shutdown -i 5 -g 0 -y");
    restarts(&lab, "zion", "/usr/sbin/shutdown -y -g0 -i6");
    ends(&lab, "zion", "poweroff");
    ends(&lab, "zion", "halt -p");
}

#[test]
fn what_ends_nothing_says_why() {
    let Some(lab) = Lab::new() else { return };
    lab.installed("zion", "");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let init = record(&lab, "zion", "init");
    for (command, status, part) in [
        ("init", 2, "usage: init 0|6"),
        ("init 9", 2, "usage: init 0|6"),
        ("init s", 1, "zoneadm -z NAME reboot -- -s"),
        ("init 3", 0, ""),
        ("telinit q", 0, ""),
        ("shutdown later", 2, "usage: shutdown"),
        ("shutdown -i1 -y -g0", 2, "usage: shutdown"),
        ("shutdown -k now", 0, ""),
        ("shutdown -c", 0, "interrupt"),
        ("halt -w", 0, ""),
    ] {
        let done = lab.run("zlogin", &["zion", command]);
        assert_eq!(done.status, status, "{command}: {done:?}");
        assert!(done.err.contains(part) && done.err.is_empty() == part.is_empty(), "{command}: {done:?}");
    }
    // A user of the zone may not.
    let done = lab.run("zlogin", &["-l", "daemon", "zion", "init 0"]);
    assert!(done.status != 0, "{done:?}");
    let done = lab.sh("zion", "setpriv --reuid 1 --clear-groups /sbin/init 0");
    assert!(done.status == 1 && done.err.contains("only root of the zone"), "{done:?}");
    // Who waits can change his mind.
    let done = lab.sh("zion", "timeout -s INT 1 shutdown +5");
    assert!(done.status != 0 && done.out.contains("in 300 seconds"), "{done:?}");
    assert_eq!(record(&lab, "zion", "init"), init, "the zone has gone on all the time");
}

#[test]
fn a_root_without_an_init_or_with_one_that_does_not_run_is_ended() {
    let Some(lab) = Lab::new() else { return };
    // No /sbin/init at all, as debootstrap leaves it.
    whole(&lab, "bare", &["/usr/bin", "/usr/lib", "/usr/lib64"], "");
    lab.ok("zoneadm", &["-z", "bare", "boot"]);
    assert_eq!(lab.sh("bare", "ls /sbin/").out, "");
    for command in ["/sbin/init 0", "init 0", "poweroff", "sh -c 'halt'"] {
        ends(&lab, "bare", command);
    }
    restarts(&lab, "bare", "shutdown -r now");
    // The host's own programs, where the zone can write: they are not covered.
    whole(&lab, "full", &["/usr"], "");
    lab.ok("zoneadm", &["-z", "full", "boot"]);
    assert_eq!(lab.sh("full", "grep -c ' /usr/sbin/' /proc/self/mountinfo").out, "0\n");
    for command in ["/sbin/init 0", "init 0", "telinit 0"] {
        ends(&lab, "full", command);
    }
}

#[test]
fn every_zone_knows_its_name() {
    let Some(lab) = Lab::new() else { return };
    lab.installed("sparse", "");
    whole(&lab, "whole", &["/usr/lib", "/usr/lib64"], "");
    for zone in ["sparse", "whole"] {
        lab.ok("zoneadm", &["-z", zone, "boot"]);
        for command in ["zonename", "sh -c zonename", "sh -c 'PATH=/usr/bin:/run/zone/bin; zonename'"] {
            assert_eq!(lab.run("zlogin", &[zone, command]).out, format!("{zone}\n"), "{command}");
        }
        // In a login shell, which makes a PATH of its own.
        let done = lab.run_with("zlogin", &["-l", "root", zone], &[], "zonename\nexit\n");
        assert!(done.out.lines().any(|l| l == zone), "{done:?}");
        // Root of the zone cannot make it say another name.
        let forge = "echo echo other > /run/zone/bin/zonename; rm -f /run/zone/bin/zonename; zonename";
        let done = lab.sh(zone, forge);
        assert_eq!(done.out, format!("{zone}\n"), "{done:?}");
    }
    // In a root that the zone can write to, with any PATH.
    assert_eq!(lab.run("zlogin", &["whole", "/usr/bin/zonename"]).out, "whole\n");
}

#[test]
fn a_resolver_file_that_is_a_link_into_run_has_the_hosts_servers() {
    let Some(lab) = Lab::on_disk() else { return };
    let host = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    if !host.contains("nameserver") || host.contains("nameserver 127.") {
        eprintln!("SKIPPED: the host's own /etc/resolv.conf names no server that a zone could use");
        return;
    }
    whole(&lab, "zion", &["/usr/bin", "/usr/lib", "/usr/lib64"], "");
    let file = lab.in_zone("zion", "/etc/resolv.conf");
    let boot = |target: &str| {
        fs::remove_file(&file).expect("removed");
        symlink(target, &file).expect("a link");
        let done = lab.run("zoneadm", &["-z", "zion", "boot"]);
        assert_eq!(done.status, 0, "{done:?}");
        let seen = lab.sh("zion", "cat /etc/resolv.conf; stat -Lc %u:%g:%a /etc/resolv.conf").out;
        lab.ok("zoneadm", &["-z", "zion", "halt"]);
        assert_eq!(fs::read_link(&file).expect("still a link").display().to_string(), target);
        (seen, done.err)
    };
    for target in
        ["../run/systemd/resolve/stub-resolv.conf", "/run/NetworkManager/resolv.conf", "/var/run/r/c"]
    {
        assert_eq!(boot(target), (format!("{host}0:0:644\n"), String::new()), "{target}");
    }
    // What leads elsewhere is the zone's own way; where it leads nowhere, the boot says so.
    let (seen, said) = boot("/etc/resolv.conf.real");
    assert_eq!(seen, "");
    assert!(
        said.contains("/etc/resolv.conf is a link to /etc/resolv.conf.real, and the zone has no name server"),
        "{said}"
    );
    let trap = lab.path().join("trap");
    for target in [format!("/run/../{}", trap.display()), "/proc/self/root/trap".into(), "/run".into()] {
        boot(&target);
        assert!(!trap.exists() && !std::path::Path::new("/trap").exists());
    }
    fs::write(lab.in_zone("zion", "/etc/real"), "nameserver 192.0.2.1\n").expect("written");
    assert_eq!(boot("real"), ("nameserver 192.0.2.1\n0:0:644\n".into(), String::new()));
    // The zone's service, once it is started, puts its own in place.
    fs::remove_file(&file).expect("removed");
    symlink("/run/x/resolv.conf", &file).expect("a link");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    assert_eq!(lab.sh("zion", "echo own > /run/x/resolv.conf && cat /etc/resolv.conf").out, "own\n");
}

#[test]
fn the_host_name_is_the_one_that_the_zone_has_been_given_inside() {
    let Some(lab) = Lab::new() else { return };
    lab.installed("zion", "");
    let name = |content: &str| {
        fs::write(lab.in_zone("zion", "/etc/hostname"), content).expect("written");
        lab.ok("zoneadm", &["-z", "zion", "boot"]);
        let name = lab.run("zlogin", &["zion", "uname -n"]).out;
        lab.ok("zoneadm", &["-z", "zion", "halt"]);
        name
    };
    assert_eq!(name("zion\n"), "zion\n");
    assert_eq!(name("# by hand\n\nwww.example.org\n"), "www.example.org\n");
    // What can be no name, or is no file, is none.
    for bad in ["", "two words\n", "a\u{1b}[2Jb\n", &"x".repeat(65)] {
        assert_eq!(name(bad), "zion\n", "{bad:?}");
    }
    let file = lab.in_zone("zion", "/etc/hostname");
    for trap in ["/dev/zero", "/proc/self/environ"] {
        fs::remove_file(&file).expect("removed");
        symlink(trap, &file).expect("a link");
        lab.ok("zoneadm", &["-z", "zion", "boot"]);
        assert_eq!(lab.run("zlogin", &["zion", "uname -n"]).out, "zion\n");
        lab.ok("zoneadm", &["-z", "zion", "halt"]);
    }
}

#[test]
fn rename_clone_and_attach_give_the_root_its_new_name() {
    let Some(lab) = Lab::new() else { return };
    let read = |zone: &str, file: &str| fs::read_to_string(lab.in_zone(zone, file)).expect("readable");
    lab.installed("zion", "");
    lab.configure_again("zion", "set zonename=neo");
    // The zonepath stays where it was.
    assert_eq!(read("zion", "/etc/hostname"), "neo\n");
    assert!(read("zion", "/etc/hosts").contains("127.0.1.1\tneo\n"), "{}", read("zion", "/etc/hosts"));
    lab.ok("zoneadm", &["-z", "neo", "boot"]);
    assert_eq!(lab.sh("neo", "uname -n; getent hosts neo | grep -c neo").out, "neo\n1\n");
    // A name that the zone's administrator has chosen stays, but for a clone.
    lab.sh("neo", "echo www.example.org > /etc/hostname; echo 127.0.1.2 www.example.org neo >> /etc/hosts");
    lab.ok("zoneadm", &["-z", "neo", "halt"]);
    lab.configure_again("neo", "set zonename=trinity");
    assert_eq!(read("zion", "/etc/hostname"), "www.example.org\n");
    assert!(read("zion", "/etc/hosts").contains("127.0.1.1\ttrinity\n"));
    lab.configure("tank", "");
    lab.ok("zoneadm", &["-z", "tank", "clone", "-m", "copy", "trinity"]);
    assert_eq!(read("tank", "/etc/hostname"), "tank\n");
    assert!(read("tank", "/etc/hosts").contains("127.0.1.2 tank tank\n"), "{}", read("tank", "/etc/hosts"));
    // Attached under another name, it is that zone.
    lab.ok("zoneadm", &["-z", "tank", "detach"]);
    let zonepath = lab.path().join("zones");
    lab.ok("zonecfg", &["-z", "tank", "delete", "-F"]);
    fs::rename(zonepath.join("tank"), zonepath.join("dozer")).expect("moved");
    lab.configure("dozer", "");
    lab.ok("zoneadm", &["-z", "dozer", "attach"]);
    assert_eq!(read("dozer", "/etc/hostname"), "dozer\n");
}

#[test]
fn a_sparse_zone_follows_the_hosts_programs_in_etc() {
    let Some(lab) = Lab::new() else { return };
    lab.installed("zion", "");
    let link = lab.in_zone("zion", "/etc/alternatives/awk");
    let there = fs::read_link(&link).expect("the host has one");
    let record = lab.path().join("var/lib/zones/zion/etc");
    // As if the host had changed since: the stamp is another, and the zone has the link of that day.
    let other_day = || {
        let text = fs::read_to_string(&record).expect("a record");
        let mut lines: Vec<&str> = text.lines().collect();
        lines[1] = "0";
        fs::write(&record, lines.join("\n") + "\n").expect("written");
    };
    other_day();
    fs::remove_file(&link).expect("removed");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    assert_eq!(fs::read_link(&link).expect("it is back"), there);
    assert_eq!(lab.sh("zion", "echo | awk '{ print 6 * 7 }'").out, "42\n");
    // The zone itself restarts: the same.
    other_day();
    lab.sh("zion", "rm /etc/alternatives/awk");
    restarts(&lab, "zion", "reboot");
    assert_eq!(fs::read_link(&link).expect("it is back"), there);
    // What the zone has chosen stays.
    other_day();
    std::thread::sleep(Duration::from_millis(1100));
    lab.sh("zion", "ln -sf /bin/true /etc/alternatives/awk");
    restarts(&lab, "zion", "reboot");
    assert_eq!(fs::read_link(&link).expect("a link"), std::path::Path::new("/bin/true"));
}

#[test]
fn an_ssh_server_has_keys_of_its_own_from_the_first_boot_on() {
    let Some(lab) = Lab::new() else { return };
    if !std::path::Path::new("/usr/bin/ssh-keygen").exists() {
        eprintln!("SKIPPED: no ssh-keygen here");
        return;
    }
    let keys = |zone: &str| -> Vec<String> {
        let key = |kind: &str| {
            let file = lab.in_zone(zone, &format!("/etc/ssh/ssh_host_{kind}_key"));
            let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&file).expect("a key")) & 0o777;
            assert_eq!(mode, 0o600, "{kind}");
            fs::read_to_string(file).expect("readable")
        };
        ["ed25519", "ecdsa", "rsa"].map(key).to_vec()
    };
    for zone in ["zion", "neo"] {
        lab.installed(zone, "");
        let folder = lab.in_zone(zone, "/etc/ssh");
        fs::create_dir_all(&folder).expect("a folder");
        assert!(!folder.join("ssh_host_rsa_key").exists(), "never the host's");
        fs::write(folder.join("sshd_config"), "Port 22\n").expect("written");
        lab.ok("zoneadm", &["-z", zone, "boot"]);
        lab.ok("zoneadm", &["-z", zone, "halt"]);
    }
    let first = keys("zion");
    assert!(first.iter().zip(keys("neo")).all(|(ours, theirs)| *ours != theirs));
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    assert_eq!(keys("zion"), first, "made once");
    let public = lab
        .sh("zion", "ssh-keygen -yf /etc/ssh/ssh_host_ed25519_key; cat /etc/ssh/ssh_host_ed25519_key.pub")
        .out;
    let words: Vec<&str> = public.lines().filter_map(|l| l.split(' ').nth(1)).collect();
    assert!(words.len() == 2 && words[0] == words[1] && public.contains("root@zion"), "{public}");
    assert!(!lab.path().join("var/lib/zones/zion/ssh-keys").exists());
}

#[test]
fn useradd_hands_out_only_subordinate_ids_that_the_zone_has() {
    let Some(lab) = Lab::new() else { return };
    let given = |zone: &str, lines: &str| {
        lab.installed(zone, lines);
        lab.ok("zoneadm", &["-z", zone, "boot"]);
        let done = lab.sh(zone, "touch /etc/subuid /etc/subgid; useradd bob; cat /etc/subuid /etc/subgid");
        assert_eq!((done.status, done.err.as_str()), (0, ""), "{done:?}");
        done.out
    };
    assert_eq!(given("usual", ""), "");
    let range = |kind| {
        format!("add idmap\nset type={kind}\nset start=0\nset target=1700000000\nset count=200000\nend\n")
    };
    assert_eq!(given("wide", &(range("uid") + &range("gid"))), "bob:65536:65536\nbob:65536:65536\n");
}

#[test]
fn install_and_clone_take_what_has_a_meaning_of_a_profile() {
    let Some(lab) = Lab::on_disk() else { return };
    let profile = lab.path().join("sc_profile.xml");
    let hash =
        "$6$salt$4cBbn0ZKAu3c4Ilu0ZCIBGzwSZdSvRhOdsPDqNQXTOSFSmhEqoWGvZDUsFKGzEp0FqMlGYKx0ycdqKTDZLSYA.";
    let user = format!(
        "<propval type=\"astring\" name=\"login\" value=\"jack\"/><propval name=\"password\" value=\"{hash}\"/>\
         <propval name=\"description\" value=\"Jack &amp; Co\"/><propval name=\"roles\" value=\"root\"/>\
         <property name=\"ssh_public_keys\"><value_node value=\"ssh-ed25519 AAAA jack@host\"/></property>"
    );
    let group =
        |name: &str, inner: &str| format!("<property_group name=\"{name}\">{inner}</property_group>\n");
    let text = format!(
        "<?xml version='1.0'?>\n<service_bundle>{}{}{}{}{}</service_bundle>\n",
        group("user_account", &user),
        group("root_account", &format!("<propval name=\"password\" value=\"{hash}\"/>")),
        group("config", "<propval name=\"nodename\" value=\"www\"/>"),
        group("timezone", "<propval name=\"localtime\" value=\"Europe/Berlin\"/>"),
        group("environment", "<propval name=\"LANG\" value=\"C.UTF-8\"/><propval name=\"x\" value=\"\"/>"),
    );
    fs::write(&profile, text).expect("written");
    lab.configure("zion", "");
    let file = profile.display().to_string();
    let done = lab.run("zoneadm", &["-z", "zion", "install", "-c", &file]);
    assert_eq!((done.status, done.out.as_str()), (0, ""), "{done:?}");
    assert_eq!(done.err, "zoneadm: zone 'zion': WARNING: the profile's x have no effect here\n");
    lab.configure("neo", "");
    let done = lab.run("zoneadm", &["-z", "neo", "clone", "-m", "copy", "-c", &file, "zion"]);
    assert_eq!(done.status, 0, "{done:?}");
    for zone in ["zion", "neo"] {
        lab.ok("zoneadm", &["-z", zone, "boot"]);
        let see = "uname -n; getent hosts www | grep -c www; readlink /etc/localtime; echo $LANG; id -un 1000; \
            stat -c '%U %a' /home/jack /home/jack/.ssh /home/jack/.ssh/authorized_keys; \
            cat /home/jack/.ssh/authorized_keys; grep -c ':Jack & Co:' /etc/passwd; \
            grep -cE '^(root|jack):[$]6[$]salt[$][^:]*:[0-9]+:' /etc/shadow; grep -c '^jack:' /etc/passwd";
        assert_eq!(
            lab.sh(zone, see).out,
            "www\n1\n/usr/share/zoneinfo/Europe/Berlin\nC.UTF-8\njack\njack 755\njack 700\njack 600\n\
             ssh-ed25519 AAAA jack@host\n1\n2\n1\n",
            "{zone}"
        );
        assert!(
            lab.sh(zone, "getent group sudo wheel").out.is_empty()
                || lab.sh(zone, "id jack").out.contains("(")
        );
    }
    // One that cannot be taken does not stop who names it.
    fs::write(&profile, "hello\n").expect("written");
    for file in [file.as_str(), "/no/such/profile.xml"] {
        lab.configure("other", "");
        let done = lab.run("zoneadm", &["-z", "other", "install", "-c", file]);
        assert!(
            done.status == 0 && done.err.contains(&format!("WARNING: -c {file} has no effect: ")),
            "{done:?}"
        );
        lab.ok("zoneadm", &["-z", "other", "uninstall", "-F"]);
        lab.ok("zonecfg", &["-z", "other", "delete", "-F"]);
    }
}

#[test]
fn a_profile_is_a_step_of_the_installation() {
    let Some(lab) = Lab::new() else { return };
    let profile = lab.path().join("sysidcfg");
    fs::write(&profile, "hostname=www\ntimezone=Europe/Berlin\nroot_password=$6$salt$4cBbn0ZKAu3\n")
        .expect("written");
    let file = profile.display().to_string();
    lab.installed("source", "");
    for (zone, words) in [("zion", &["install"][..]), ("neo", &["clone", "-m", "copy"])] {
        let words: Vec<&str> = match words {
            [first] => vec![first, "-c", &file],
            _ => [words, &["-c", &file, "source"]].concat(),
        };
        lab.configure(zone, "");
        let plan = lab.run("zoneadm", &[&["-z", zone, "plan"], &words[..]].concat());
        let step =
            plan.out.find("  apply the profile: host name www, time zone Europe/Berlin, password of root\n");
        let sync = plan.out.find("  wait until ");
        assert!(plan.status == 0 && step.is_some() && step < sync, "{plan:?}");
        assert!(!plan.out.contains("$6$"), "no password is shown: {plan:?}");
        // Who is killed before it leaves no zone that looks whole.
        let mut killed = lab.command("zoneadm");
        killed.args(["-z", zone]).args(&words).env("ZONES_TEST_KILL_AT", "profile");
        assert_eq!(killed.output().expect("zoneadm").status.signal(), Some(9), "{zone}");
        assert_eq!(lab.state(zone), "incomplete", "{zone}");
        let journal = fs::read_to_string(lab.path().join("var/lib/zones").join(zone).join("journal"));
        let journal = journal.expect("a journal");
        assert!(journal.contains("\"configure\"") && !journal.contains("$6$"), "{journal}");
        lab.ok("zoneadm", &["-z", zone, "uninstall", "-F"]);
        lab.ok("zoneadm", &[&["-z", zone], &words[..]].concat());
        assert_eq!(
            fs::read_to_string(lab.in_zone(zone, "/etc/hostname")).expect("a name"),
            "www\n",
            "{zone}"
        );
    }
    lab.assert_clean();
}
