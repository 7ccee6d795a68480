//! The walls of a running zone: roots, devices, owners, control groups, sockets.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;

use super::Lab;
use super::lab::Run;

/// Guards `pivot_root`: nothing of the host's tree is left above a zone's root. A changed root alone
/// (chroot) is left by whoever has a descriptor of a folder outside it.
#[test]
fn an_old_way_out_of_a_changed_root() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("zion", "");
    let marker = lab.path().join("run/zones").display().to_string();
    fs::write(lab.in_zone("zion", "/var/tmp/climb.py"), include_str!("attack/climb.py")).expect("written");
    let init = lab.in_zone("zion", "/var/tmp/init");
    let script = format!(
        "#!/bin/sh\nexec >/var/tmp/.told 2>&1\nwhile ! test -e /var/tmp/go; do sleep 0.1; done\npython3 /var/tmp/climb.py {marker}\n\
         mv /var/tmp/.told /var/tmp/told\nexec sleep 1000\n"
    );
    fs::write(&init, script).expect("written");
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).expect("chmod");
    // By the first process itself: it is there whatever the root is that others enter.
    lab.ok("zoneadm", &["-z", "zion", "boot", "--", "-i", "/var/tmp/init"]);
    // No mode of a folder is in the way.
    lab.open_to_all();
    let zonepath = lab.path().join("zones/zion");
    fs::set_permissions(&zonepath, fs::Permissions::from_mode(0o755)).expect("chmod");
    fs::write(lab.in_zone("zion", "/var/tmp/go"), "").expect("written");
    let told = lab.in_zone("zion", "/var/tmp/told");
    for _ in 0..1000 {
        if told.exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let top = fs::metadata(lab.in_zone("zion", "/")).expect("the zone's root");
    let told = fs::read_to_string(told).expect("the attack comes to an end");
    fs::set_permissions(&zonepath, fs::Permissions::from_mode(0o700)).expect("chmod");
    assert_eq!(told, format!("{} {} False\n", top.dev(), top.ino()));
    lab.halted("zion");
}

/// Guards the same, and the zones' ids of their own: who is given a descriptor of another zone's root sees
/// what that zone shows to all, and no more.
#[test]
fn a_descriptor_from_another_zone() {
    let Some(lab) = Lab::on_disk() else { return };
    let shared = lab.path().join("shared");
    fs::create_dir(&shared).expect("a folder");
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o777)).expect("chmod");
    let lines = format!("add fs\nset type=lofs\nset special={}\nset dir=/shared\nend", shared.display());
    lab.booted("zion", &lines);
    lab.booted("web", &lines);
    let giver = lab.attacker("zion", include_str!("attack/give.py"), &[]);
    let marker = lab.path().join("run/zones").display().to_string();
    let run = lab.script("web", include_str!("attack/take.py"), &[&marker]);
    let top = fs::metadata(lab.in_zone("zion", "/")).expect("the other zone's root");
    assert_eq!(run.out, format!("{} {} False []\n", top.dev(), top.ino()), "{run:?}");
    giver.end();
    lab.ok("zoneadm", &["-z", "web", "halt"]);
    lab.halted("zion");
}

/// Guards the `nodev` of a zone's root: a node there, of an archive or of the host's root, opens nothing.
#[test]
fn device_nodes() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.booted("zion", "");
    let node = lab.in_zone("zion", "/var/tmp/zero");
    let made = Command::new("mknod").args(["-m", "666"]).arg(&node).args(["c", "1", "5"]).status();
    assert!(made.expect("mknod(1)").success());
    assert_ne!(lab.sh("zion", "head -c1 /var/tmp/zero").status, 0, "a device outside /dev was opened");
    assert_ne!(lab.sh("zion", "mknod /var/tmp/mine c 1 5").status, 0, "a node was made");
    assert_eq!(lab.sh("zion", "head -c1 /dev/zero | wc -c").out, "1\n");
    lab.halted("zion");
}

/// Runs a program as a user of the host who is nobody.
fn as_nobody(program: &std::path::Path) -> Option<Run> {
    let mut command = Command::new("setpriv");
    // By a shell: setpriv(1) itself keeps capabilities until it executes something.
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", "\"$0\" -u"]).arg(program);
    command.output().ok().map(Run::from)
}

/// Guards the zonepath's mode, 0700, which a boot corrects: what is root's in the zone is root's on disk,
/// and a set-user-id program there would make any user of the host its root.
#[test]
fn set_user_id_files_seen_from_the_host() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.open_to_all();
    lab.installed("zion", "");
    let zonepath = lab.path().join("zones/zion");
    assert_eq!(fs::metadata(&zonepath).expect("it is there").mode() & 0o7777, 0o700, "install");
    let open = || fs::set_permissions(&zonepath, fs::Permissions::from_mode(0o755)).expect("chmod");
    open();
    let run = lab.run("zoneadm", &["-z", "zion", "verify"]);
    assert!(run.err.contains("must not be world executable"), "{run:?}");
    let run = lab.run("zoneadm", &["-z", "zion", "boot"]);
    assert!(run.status == 0 && run.err.contains("changing permissions to 0700"), "{run:?}");
    assert_eq!(lab.sh("zion", "cp /usr/bin/id /var/tmp/id && chmod 4755 /var/tmp/id").status, 0);
    let file = lab.in_zone("zion", "/var/tmp/id");
    let meta = fs::metadata(&file).expect("it is there");
    assert_eq!((meta.uid(), meta.mode() & 0o7777), (0, 0o4755), "the attack is none");
    let run = as_nobody(&file).expect("setpriv(1)");
    assert!(run.status != 0 && run.out.is_empty(), "a user of the host has become root: {run:?}");
    // That this is the only thing in the way.
    open();
    assert_eq!(as_nobody(&file).expect("setpriv(1)").out, "0\n", "the control");
    fs::set_permissions(&zonepath, fs::Permissions::from_mode(0o700)).expect("chmod");
    lab.halted("zion");
}

/// Guards what lies at the place of a zonepath: whoever can put another directory there, or a link above it,
/// could have that one given to root, or closed.
#[test]
fn nothing_is_changed_below_a_foreign_parent() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("zion", "set zonepath=/zones/deep/er/zion");
    let at = |name: &str| lab.path().join("zones/deep").join(name);
    let state = |path: &Path| {
        let meta = fs::metadata(path).expect("it is there");
        (meta.uid(), meta.gid(), meta.mode() & 0o7777)
    };
    let give = |path: &Path, user, mode| {
        std::os::unix::fs::chown(path, Some(user), Some(user)).expect("chown");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    };
    let verbs: [&[&str]; 3] = [&["boot"], &["ready"], &["verify"]];
    give(&at("er/zion"), 1000, 0o755);
    for parent in [at("er"), at("")] {
        give(&parent, 1000, 0o755);
        for verb in verbs {
            let run = lab.run("zoneadm", &[&["-z", "zion"], verb].concat());
            let text = format!("{} is not owned by root", parent.display().to_string().trim_end_matches('/'));
            assert!(run.status != 0 && run.err.contains(&text), "{run:?}");
            assert_eq!(state(&at("er/zion")), (1000, 1000, 0o755), "{verb:?}: {run:?}");
        }
        give(&parent, 0, 0o755);
    }
    // By a link in the way.
    let victim = lab.path().join("victim");
    fs::create_dir_all(victim.join("zion/root")).expect("folders");
    give(&victim.join("zion"), 1000, 0o755);
    fs::rename(at("er"), at("aside")).expect("moved");
    std::os::unix::fs::symlink(&victim, at("er")).expect("a link");
    for verb in verbs {
        let run = lab.run("zoneadm", &[&["-z", "zion"], verb].concat());
        assert!(run.status != 0 && run.err.contains("Resolved path mismatch"), "{run:?}");
        assert_eq!(state(&victim.join("zion")), (1000, 1000, 0o755), "{verb:?}: {run:?}");
    }
    fs::remove_file(at("er")).expect("the link");
    fs::rename(at("aside"), at("er")).expect("back");
    let run = lab.run("zoneadm", &["-z", "zion", "boot"]);
    assert!(run.status == 0 && run.err.contains("changing owner to root"), "{run:?}");
    assert_eq!(state(&at("er/zion")), (0, 0, 0o700));
    lab.halted("zion");
}

/// Guards the place of a zonepath: whoever can write above it can put another folder in its place.
#[test]
fn a_zonepath_that_a_zone_can_write_to() {
    let Some(lab) = Lab::on_disk() else { return };
    let zones = lab.path().join("zones").display().to_string();
    let share =
        |options: &str| format!("add fs\nset type=lofs\nset special={zones}\nset dir=/shared\n{options}end");
    lab.installed("zion", "");
    lab.configure("web", &share(""));
    let run = lab.run("zoneadm", &["-z", "zion", "verify"]);
    let text = format!("zion zonepath (/zones/zion) lies in {zones}, which zone web can write to.");
    assert!(run.status != 0 && run.err.contains(&text), "{run:?}");
    assert_eq!(lab.run_with("zonecfg", &["-z", "web"], &[], "delete -F\n").status, 0);
    lab.configure("web", &share("add options ro\n"));
    let run = lab.run("zoneadm", &["-z", "zion", "verify"]);
    assert!(!run.err.contains("can write to"), "{run:?}");
}

/// Guards the mapping of ids by mounts: a boot changes no owner on disk, so that no link or rename can lead
/// a change astray.
#[test]
fn a_boot_changes_no_owner() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("zion", "");
    let root = lab.path().join("zones/zion/root");
    let list = || -> String {
        let mut command = Command::new("find");
        command.arg(&root).args(["-xdev", "-printf", "%p %U:%G %m\\n"]);
        let run = Run::from(command.output().expect("find(1)"));
        let mut lines: Vec<&str> = run.out.lines().collect();
        lines.sort_unstable();
        lines.join("\n")
    };
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    let before = list();
    let victim = lab.path().join("victim");
    fs::write(&victim, "").expect("a file");
    fs::hard_link(&victim, root.join("etc/hostile")).expect("a link");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let meta = fs::metadata(&victim).expect("it is there");
    assert_eq!((meta.uid(), meta.gid()), (0, 0));
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    fs::remove_file(root.join("etc/hostile")).expect("the link");
    assert_eq!(list(), before);
    // Ids that the zone has of the host's are larger.
    let owner = |line: &str| line.rsplit(' ').nth(1).and_then(|o| o.split(':').next()?.parse::<u32>().ok());
    assert!(before.lines().count() > 20);
    for line in before.lines() {
        assert!(owner(line).is_some_and(|uid| uid < 65_536), "{line}");
    }
    lab.assert_clean();
}

/// Guards `cgroup::delegate`: the zone's group has limits that belong to the host, and so does all above it, of both
/// versions. Above it there is nothing to be seen: without a namespace the kernel lets no zone mount it.
#[test]
fn control_groups() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.booted("zion", "");
    if zones::sys::cgroup::mount_point().is_some() {
        let run = lab.sh("zion", "grep ^0: /proc/self/cgroup /proc/1/cgroup; ls -d /sys/fs/cgroup/zones");
        assert_eq!(run.out, "/proc/self/cgroup:0::/\n/proc/1/cgroup:0::/\n", "{run:?}");
        // Another mount shows no more, and its top is the host's.
        let script = "mkdir -p /var/tmp/c && mount -t cgroup2 c /var/tmp/c && ls -d /var/tmp/c/zones; \
            for f in cgroup.max.depth cgroup.max.descendants memory.max pids.max cgroup.freeze cgroup.kill; do \
            test -e /var/tmp/c/$f && echo 1 2>/dev/null > /var/tmp/c/$f && echo wrote $f; done; true";
        assert_eq!(lab.sh("zion", script).out, "");
    }
    // Version 1: a zone can mount what the host has mounted, and change nothing.
    let script = "for c in memory devices pids freezer cpu; do mkdir -p /var/tmp/v1 && \
        mount -t cgroup -o $c c /var/tmp/v1 2>/dev/null || continue; \
        for f in release_agent notify_on_release cgroup.procs tasks devices.allow memory.limit_in_bytes; do \
        test -e /var/tmp/v1/$f && echo $$ 2>/dev/null > /var/tmp/v1/$f && echo $c: wrote $f; done; \
        mkdir /var/tmp/v1/mine 2>/dev/null && echo $c: made a group; umount /var/tmp/v1; done; true";
    let run = lab.sh("zion", script);
    assert_eq!((run.out.as_str(), run.status), ("", 0), "{run:?}");
    lab.halted("zion");
}

/// Guards the program on the zone's group: of the settings that the kernel leaves to the root of any network namespace,
/// those of the host are refused, in whatever namespace or group of its own the zone tries it.
#[test]
fn settings_of_the_host() {
    let Some(lab) = Lab::on_disk() else { return };
    if !Path::new("/proc/sys/net/netfilter/nf_hooks_lwtunnel").exists() {
        println!("SKIPPED: this kernel has no net.netfilter.nf_hooks_lwtunnel");
        return;
    }
    lab.booted("zion", "");
    // The kernel refuses what is no number, whoever writes it: when this comes through, nothing has changed.
    fs::write(lab.in_zone("zion", "/var/tmp/knob.py"), include_str!("attack/knob.py")).expect("written");
    let knob = "python3 /var/tmp/knob.py";
    let own = "mkdir -p /sys/fs/cgroup/own/own && echo $$ >/sys/fs/cgroup/own/own/cgroup.procs";
    let mut ways = vec![
        knob.to_owned(),
        format!("unshare -n {knob}"),
        format!("unshare -Urn {knob}"),
        format!("unshare -Urnpfm --mount-proc {knob}"),
    ];
    if zones::sys::cgroup::mount_point().is_some() {
        ways.extend([format!("{own} && {knob}"), format!("{own} && unshare -Cn {knob}")]);
    }
    for way in ways {
        let run = lab.sh("zion", &way);
        assert!(["EPERM\n", "EROFS\n"].contains(&run.out.as_str()), "{way}: {run:?}");
    }
    lab.halted("zion");
}

/// Guards the network namespace: abstract sockets and netlink reach the host without an address.
#[test]
fn sockets_without_addresses() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.booted("zion", "");
    let name = format!("zones-escape-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("an address");
    let _listener = UnixListener::bind_addr(&address).expect("a socket");
    UnixStream::connect_addr(&address).expect("the control: the host reaches it");
    let run = lab.script("zion", include_str!("attack/sockets.py"), &[&name]);
    assert_eq!(run.out, "[]\n", "{run:?}");
    lab.halted("zion");
}
