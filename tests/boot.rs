//! Real zones: boot, isolation, halt, failure and recovery.

mod lab;

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use lab::{Lab, record};
use rustix::fs::{AtFlags, StatxFlags, getxattr, statx};
use rustix::mount::{MountPropagationFlags, mount_change};
use zones::plan::step::ENDING;
use zones::sys::mount::{Attrs, MountFd, NewFs};
use zones::sys::ns::{self, Kinds};

#[test]
fn a_zone_boots_is_entered_and_halts_without_a_trace() {
    let Some(lab) = Lab::on_disk() else { return };
    let shared = lab.path().join("shared");
    fs::create_dir(&shared).expect("a folder to share");
    lab.installed(
        "zion",
        &format!("add fs\nset type=lofs\nset special={}\nset dir=/export/shared\nend", shared.display()),
    );
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    assert_eq!(lab.state("zion"), "running");
    let seen =
        lab.sh("zion", "id -u; hostname; ls /proc | grep -c '^[0-9]'; cat /proc/1/comm; stat -f -c %T /proc");
    let lines: Vec<&str> = seen.out.lines().collect();
    assert_eq!((lines[0], lines[1], lines[4]), ("0", "zion", "proc"), "{seen:?}");
    assert!(lines[2].parse::<u32>().is_ok_and(|n| n < 10), "sees other processes: {seen:?}");
    let r = lab.sh("zion", "echo from the zone > /export/shared/file && touch /usr/no");
    assert!(r.status != 0 && r.err.contains("Read-only file system"), "{r:?}");
    assert_eq!(fs::read_to_string(shared.join("file")).expect("written through"), "from the zone\n");
    assert_eq!(fs::metadata(shared.join("file")).expect("there").uid(), 0, "root on disk");
    // Also while the zone runs, the host's mount table knows nothing of it.
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("proc");
    assert!(!mounts.contains(&*lab.path().to_string_lossy()), "{mounts}");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    assert_eq!(lab.state("zion"), "installed");
    lab.assert_clean();
}

#[test]
fn root_of_a_zone_is_not_root_of_the_host() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("zion", "");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let secret = lab.path().join("secret");
    fs::write(&secret, "the host's").expect("written");
    // A file of its own belongs to root there, and on disk.
    lab.ok("zlogin", &["zion", "touch /root/mine; chmod 4755 /root/mine"]);
    assert_eq!(fs::metadata(lab.in_zone("zion", "/root/mine")).expect("on disk").uid(), 0);
    assert_eq!(lab.ok("zlogin", &["zion", "stat -c %u /root/mine"]).trim(), "0");
    // Its processes run under an unprivileged id of the host.
    let init = record(&lab, "zion", "init");
    let status = fs::read_to_string(format!("/proc/{init}/status")).expect("init runs");
    let uid: u32 = status
        .lines()
        .find_map(|l| l.strip_prefix("Uid:"))
        .and_then(|l| l.split_whitespace().next()?.parse().ok())
        .expect("a uid");
    assert!(uid >= 100_000, "init runs as {uid}");
    for attack in [
        format!("cat {}", secret.display()),
        format!("cat /proc/1/root{}", secret.display()),
        "mknod /root/n b 7 0".into(),
        "mknod /dev/n c 1 1".into(),
        "date -s 2001-01-01".into(),
        "mount -o remount,rw /usr".into(),
        "mount -o remount,bind,rw /usr".into(),
        "umount /usr".into(),
        "umount -l /dev".into(),
        "echo 1 > /proc/sys/kernel/panic".into(),
        "echo c > /proc/sysrq-trigger".into(),
        "echo x > /proc/1/exe".into(),
        "head -c1 /dev/mem".into(),
        "hostname -F /proc/nothing".into(),
        "mount /dev/loop0 /mnt".into(),
        "kill -0 -- -1000000".into(),
        "unshare -m true && nsenter -t 1 -m -- cat /etc/zones.d".into(),
        "insmod /dev/null || modprobe loop".into(),
    ] {
        let r = lab.sh("zion", &attack);
        assert_ne!(r.status, 0, "must fail: {attack}: {r:?}");
    }
    // Nothing of ours comes along.
    let r = lab.sh("zion", "tr '\\0' '\\n' < /proc/1/environ; ls -l /proc/1/fd; readlink /proc/1/cwd");
    assert!(!r.out.contains("ZONES") && !r.out.contains(&*lab.path().to_string_lossy()), "{r:?}");
    // Of the host's tree nothing is left but what the zone inherits, and in it the programs with rights of their
    // own, each of which is mounted over itself.
    let visible = lab.ok("zlogin", &["zion", "cut -d' ' -f5 /proc/self/mountinfo | sort -u"]);
    let expected = ["/", "/opt", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/dev", "/run", "/proc", "/sys"];
    for point in visible.lines() {
        let below = ["/dev/", "/sys/"].iter().any(|d| point.starts_with(d));
        let ours = ENDING
            .iter()
            .any(|name| point.strip_prefix("/usr/sbin/").or(point.strip_prefix("/sbin/")) == Some(name));
        assert!(
            below || ours || expected.contains(&point) || has_rights(point),
            "{point} is mounted in the zone"
        );
    }
    drop(lab);
}

/// Returns whether a program of the host runs with rights of its own.
fn has_rights(program: &str) -> bool {
    let set_id = |m: fs::Metadata| m.is_file() && m.mode() & 0o6000 != 0;
    let capable = || getxattr(program, "security.capability", &mut [0u8; 64]).is_ok();
    fs::metadata(program).is_ok_and(set_id) || capable()
}

/// Makes a mount that is gone at once and returns its number. The kernel never gives one twice (Linux 6.8).
fn number_of_a_new_mount() -> Option<u64> {
    const UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);
    let tree = NewFs::open("tmpfs").and_then(|fs| fs.mount(Attrs::empty())).expect("a mount");
    let seen = statx(tree.as_fd(), "", AtFlags::EMPTY_PATH, UNIQUE).expect("it can be looked at");
    (seen.stx_mask & UNIQUE.bits() != 0).then_some(seen.stx_mnt_id)
}

/// Gives the test, and what it starts, mounts of its own, which go with its process.
fn own_mounts() {
    ns::unshare(Kinds::MOUNT).expect("a mount namespace");
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).expect("private mounts");
}

#[test]
fn a_boot_takes_no_copy_of_the_hosts_mounts() {
    const MANY: u64 = 2000;
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("zion", "");
    let mut processes = fs::read_dir("/proc").expect("proc").flatten().map(|e| e.path());
    let is_kernels = |p: &PathBuf| fs::read_to_string(p.join("comm")).is_ok_and(|name| name == "kdevtmpfs\n");
    let Some(kernels) = processes.find(is_kernels) else {
        eprintln!("SKIPPED: this machine shows no kdevtmpfs, whose mounts a boot begins with");
        return;
    };
    own_mounts();
    let at = fs::File::open("/mnt").expect("a folder");
    for _ in 0..MANY {
        tmpfs().attach(at.as_fd()).expect("it is attached");
    }
    let made = || {
        let before = number_of_a_new_mount()?;
        lab.ok("zoneadm", &["-z", "zion", "boot"]);
        let made = number_of_a_new_mount()? - before;
        assert_eq!(lab.ok("zlogin", &["zion", "cut -d' ' -f1 /proc/1/stat"]), "1\n");
        lab.ok("zoneadm", &["-z", "zion", "halt"]);
        Some(made)
    };
    // Other tests make mounts as well, and one of them as many as it can, but not all the time.
    let Some(number) = (0..5).map_while(|_| made()).min() else {
        eprintln!("SKIPPED: this kernel tells no unique number of a mount (Linux 6.8)");
        return;
    };
    assert!(number < MANY, "the boot made {number} mounts");
    // Where the kernel's small namespace cannot be had it is a copy, and the zone is the same.
    tmpfs().attach(fs::File::open(kernels).expect("its folder").as_fd()).expect("it is covered");
    assert!(made().expect("told before") > MANY, "there is nothing else to begin with");
    // Of a copy the zone keeps nothing, not even hidden below its root: what the host unmounts is gone.
    let (image, disk) = (lab.path().join("disk.img"), lab.path().join("disk"));
    fs::File::create(&image).and_then(|f| f.set_len(16 << 20)).expect("an image");
    fs::create_dir(&disk).expect("a folder");
    let tool = |words: &[&str]| {
        let mut command = std::process::Command::new(words[0]);
        let out = command.args(&words[1..]).arg(&image).output().expect("it starts");
        assert!(out.status.success(), "{words:?}: {out:?}");
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    tool(&["mkfs.ext4", "-q"]);
    tool(&["mount", "-o", "loop", "--target", &disk.display().to_string()]);
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    assert!(std::process::Command::new("umount").arg(&disk).status().expect("umount").success());
    // The kernel gives the device back with the last mount.
    let gone = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        tool(&["losetup", "-j"]).is_empty()
    });
    assert!(gone, "a zone that runs holds what the host has unmounted");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.assert_clean();
}

fn tmpfs() -> MountFd {
    NewFs::open("tmpfs").and_then(|fs| fs.mount(Attrs::empty())).expect("a mount")
}

/// Returns the groups of a mount table whose members see each other's mounts, and those that only listen.
fn groups(table: &str) -> (Vec<String>, Vec<String>) {
    let words: Vec<&str> = table.split_whitespace().collect();
    let with =
        |prefix: &str| words.iter().filter_map(|w| w.strip_prefix(prefix)).map(str::to_owned).collect();
    let (shared, mut heard): (Vec<String>, Vec<String>) = (with("shared:"), with("master:"));
    heard.extend(with("propagate_from:"));
    (shared, heard)
}

/// systemd makes all mounts of a host shared: what is mounted below one appears below its copies. The mounts of a
/// zone are shared among its own processes, in groups that no mount of the host belongs to.
#[test]
fn on_a_host_with_shared_mounts_none_travels() {
    let Some(lab) = Lab::on_disk() else { return };
    let shared = lab.path().join("shared");
    for folder in ["below", "host"] {
        fs::create_dir_all(shared.join(folder)).expect("a folder to share");
    }
    let lines = format!("add fs\nset type=lofs\nset special={}\nset dir=/shared\nend", shared.display());
    lab.installed("zion", &lines);
    own_mounts();
    mount_change("/", MountPropagationFlags::SHARED | MountPropagationFlags::REC).expect("shared mounts");
    let table = || fs::read_to_string("/proc/thread-self/mountinfo").expect("proc");
    let before = table();
    assert!(before.contains(" shared:"), "{before}");
    let look = || {
        let inside = || lab.ok("zlogin", &["zion", "cat /proc/1/mountinfo"]);
        let (own, heard) = groups(&inside());
        assert_eq!(heard, [""; 0], "mounts of the zone follow others");
        let (hosts, _) = groups(&before);
        let common: Vec<&String> = own.iter().filter(|group| hosts.contains(group)).collect();
        assert_eq!(common, [""; 0], "host and zone see each other's mounts");
        // From the zone to the host.
        let mounts = "mount -t tmpfs t /shared/below && mount -t tmpfs t /dev/shm && mount --bind /dev/null /dev/console && umount /dev/console";
        lab.ok("zlogin", &["zion", mounts]);
        assert_eq!(table(), before);
        // From the host to the zone.
        let seen = inside();
        tmpfs()
            .attach(fs::File::open(shared.join("host")).expect("a folder").as_fd())
            .expect("it is covered");
        assert_ne!(table(), before);
        assert_eq!(inside(), seen);
        rustix::mount::unmount(shared.join("host"), rustix::mount::UnmountFlags::empty()).expect("unmounted");
    };
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    look();
    // The console of a new supervisor comes from the host into mounts that are the zone's already.
    lab.kill_supervisor("zion");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    look();
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    assert_eq!(table(), before);
    lab.assert_clean();
}

/// Services with mounts of their own, such as those with PrivateTmp=yes, follow what the zone mounts later, as
/// they do on a host.
#[test]
fn mounts_of_a_zone_reach_its_running_services() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("zion", "");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let script = "mkdir -p /mnt/later && mkfifo /tmp/go && \
        { unshare --mount --propagation slave sh -c 'echo >/tmp/go; exec sleep 1000' & } && read x </tmp/go && \
        mount -t tmpfs t /mnt/later && touch /mnt/later/file && ls /proc/$!/root/mnt/later; kill $!";
    let run = lab.sh("zion", script);
    assert_eq!(run.out, "file\n", "{run:?}");
    // A namespace with a user namespace of its own hears of them, and is not heard.
    let script = "rm /tmp/go; mkdir -p /mnt/mine; mkfifo /tmp/go; { unshare -Urm --propagation unchanged sh -c \
        'mount -t tmpfs t /mnt/mine && echo >/tmp/go; exec sleep 1000' & }; read x </tmp/go; \
        grep -c /mnt/mine /proc/self/mountinfo /proc/$!/mountinfo | cut -d: -f2; kill $!";
    assert_eq!(lab.sh("zion", script).out, "0\n1\n");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.assert_clean();
}

#[test]
fn every_kind_of_file_system() {
    let Some(lab) = Lab::on_disk() else { return };
    let image = lab.path().join("disk.img");
    fs::File::create(&image).and_then(|f| f.set_len(16 << 20)).expect("an image");
    let made = std::process::Command::new("mkfs.ext4").arg("-q").arg(&image).status();
    assert!(made.is_ok_and(|s| s.success()), "mkfs.ext4 is needed");
    fs::write(lab.path().join("note"), "read me\n").expect("written");
    let lines = format!(
        "add fs; set type=ext4; set special={0}/disk.img; set dir=/data; add options noatime; end\n\
         add fs; set type=tmpfs; set special=swap; set dir=/scratch/deep; set options=[\"size=1m\",\"mode=1777\"]; end\n\
         add fs; set type=lofs; set special={0}/note; set dir=/etc/note; add options ro; end\n\
         add device; set match=\"/dev/loop-contro[l]\"; end",
        lab.path().display()
    );
    lab.installed("zion", &lines);
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let seen = lab.ok(
        "zlogin",
        &["zion", "cat /etc/note; echo x > /data/f && stat -c %u /data/f; stat -f -c %T /data /scratch/deep; stat -c '%A %u %t:%T' /dev/null /dev/loop-control; stat -c %a /scratch/deep"],
    );
    assert_eq!(seen, "read me\n0\next2/ext3\ntmpfs\ncrw-rw-rw- 0 1:3\ncrw-rw---- 0 a:ed\n1777\n");
    assert_ne!(lab.sh("zion", "echo no > /etc/note").status, 0);
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.assert_clean();
    // What was written is on the image.
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    assert_eq!(lab.ok("zlogin", &["zion", "cat /data/f"]), "x\n");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.assert_clean();
}

#[test]
fn a_failing_boot_names_the_resource_and_leaves_nothing() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("zion", "");
    let bad = |lines: &str, expected: &str| {
        let run = lab.run_with("zonecfg", &["-z", "zion"], &[], lines);
        assert_eq!(run.status, 0, "{run:?}");
        let boot = lab.run("zoneadm", &["-z", "zion", "boot"]);
        assert_eq!(boot.status, 1, "{boot:?}");
        assert!(boot.err.contains(expected), "{boot:?} lacks {expected}");
        assert_eq!(lab.state("zion"), "installed");
        lab.assert_clean();
    };
    let fs = |special: &str, kind: &str, options: &str| {
        format!("add fs; set dir=/x; set special={special}; set type={kind}; {options} end")
    };
    bad(&fs("/no/such", "lofs", ""), "fs /x: could not access /no/such: No such file or directory");
    bad(
        &format!("remove fs; {}", fs("/tmp", "lofs", "add options wild;")),
        "option 'wild' is not known for type lofs",
    );
    let image = lab.path().join("junk.img");
    std::fs::write(&image, vec![0u8; 1 << 20]).expect("written");
    bad(&format!("remove fs; {}", fs(&image.to_string_lossy(), "ext4", "")), "fs /x");
    bad("remove fs; add fs; set dir=/proc/x; set special=/tmp; set type=lofs; end", "fs /proc/x");
    let r = lab.run_with("zonecfg", &["-z", "zion"], &[], "remove fs");
    assert_eq!(r.status, 0, "{r:?}");
    let boot = lab.run("zoneadm", &["-z", "zion", "boot", "--", "-i", "/no/init"]);
    assert!(boot.status == 1 && boot.err.contains("could not stat /no/init"), "{boot:?}");
    lab.assert_clean();
    // A mount point that the zone has made a link out of itself.
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    lab.ok("zlogin", &["zion", "ln -s /tmp /trap"]);
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    bad("add fs; set dir=/trap; set special=/srv; set type=lofs; end", "symbolic link");
    // The root is gone.
    let root = lab.path().join("zones/zion/root");
    fs::rename(&root, lab.path().join("zones/zion/away")).expect("moved");
    let boot = lab.run("zoneadm", &["-z", "zion", "boot"]);
    assert!(boot.status == 1 && boot.err.contains("its files are not there"), "{boot:?}");
    fs::rename(lab.path().join("zones/zion/away"), &root).expect("moved back");
    lab.assert_clean();
}

#[test]
fn ready_boot_reboot_shutdown() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("zion", "");
    lab.ok("zoneadm", &["-z", "zion", "ready"]);
    assert_eq!(lab.state("zion"), "ready");
    let first = record(&lab, "zion", "init");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    assert_eq!((lab.state("zion").as_str(), record(&lab, "zion", "init")), ("running", first.clone()));
    let again = lab.run("zoneadm", &["-z", "zion", "boot"]);
    assert!(again.status == 0 && again.err.contains("zone is already booted"), "{again:?}");
    lab.ok("zoneadm", &["-z", "zion", "reboot"]);
    assert_eq!(lab.state("zion"), "running");
    assert_ne!(record(&lab, "zion", "init"), first);
    lab.ok("zoneadm", &["-z", "zion", "shutdown"]);
    assert_eq!(lab.state("zion"), "installed");
    let halted = lab.run("zoneadm", &["-z", "zion", "halt"]);
    assert!(halted.status == 0 && halted.err.contains("zone is already halted"), "{halted:?}");
    lab.assert_clean();
}

#[test]
fn a_zone_that_reboots_or_halts_itself() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("zion", "");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let (first, id) = (record(&lab, "zion", "init"), record(&lab, "zion", "id"));
    // The built-in init takes SIGRTMIN+5 as reboot and SIGRTMIN+4 as power-off, as systemd does.
    lab.run("zlogin", &["zion", "kill -39 1"]);
    let other = |field: &str, old: &str| {
        (0..500).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            let path = lab.path().join("run/zones/zion/running");
            fs::read_to_string(path)
                .is_ok_and(|t| t.contains("state=running") && !t.contains(&format!("{field}={old} ")))
        })
    };
    assert!(other("init", &first), "no new init");
    assert_ne!(record(&lab, "zion", "id"), id);
    assert_eq!(lab.ok("zlogin", &["zion", "hostname"]), "zion\n");
    lab.run("zlogin", &["zion", "kill -38 1"]);
    lab.assert_clean();
    assert_eq!(lab.state("zion"), "installed");
}

#[test]
fn killed_at_any_step_the_next_command_recovers() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("zion", "add fs; set dir=/scratch; set special=swap; set type=tmpfs; end");
    let mut reached = 0;
    for step in 0..40 {
        let place = format!("started-{step}");
        let boot = lab.run_with("zoneadm", &["-z", "zion", "boot"], &[("ZONES_TEST_KILL_AT", &place)], "");
        if boot.status == 0 {
            lab.ok("zoneadm", &["-z", "zion", "halt"]);
            break;
        }
        reached = step;
        assert_eq!(lab.state("zion"), "installed", "after step {step}");
        lab.ok("zoneadm", &["-z", "zion", "boot"]);
        assert_eq!(lab.ok("zlogin", &["zion", "hostname"]), "zion\n");
        lab.ok("zoneadm", &["-z", "zion", "halt"]);
        lab.assert_clean();
    }
    assert!(reached >= 7, "only {reached} steps were reached");
}

/// Kills a process and waits until it has ended: on a busy machine that takes a moment.
fn kill(pid: &str) {
    assert!(std::process::Command::new("kill").args(["-9", pid]).status().is_ok_and(|s| s.success()));
    let stat = format!("/proc/{pid}/stat");
    let ended = || {
        fs::read_to_string(&stat).map_or(true, |s| s.rsplit(") ").next().is_some_and(|s| s.starts_with('Z')))
    };
    for _ in 0..1000 {
        if ended() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("process {pid} does not end");
}

#[test]
fn a_zone_outlives_its_supervisor() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("zion", "");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let supervisor = record(&lab, "zion", "supervisor");
    kill(&supervisor);
    assert_eq!(lab.ok("zlogin", &["zion", "hostname"]), "zion\n");
    let again = lab.run("zoneadm", &["-z", "zion", "boot"]);
    assert!(again.status == 0 && again.err.contains("restarted zoneadmd to recover"), "{again:?}");
    assert_ne!(record(&lab, "zion", "supervisor"), supervisor);
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.assert_clean();
    // Killed again, and halted without any.
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let supervisor = record(&lab, "zion", "supervisor");
    kill(&supervisor);
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.assert_clean();
}

#[test]
fn a_plan_touches_nothing() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("zion", "");
    let listing = || {
        let out = std::process::Command::new("find")
            .arg(lab.path())
            .args(["-printf", "%p %s %T@ %C@\n"])
            .output()
            .expect("find");
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let before = listing();
    let plan = lab.ok("zoneadm", &["-z", "zion", "plan", "boot"]);
    assert!(plan.contains("begin process 1") && plan.contains("start the built-in init"), "{plan}");
    assert_eq!(listing(), before);
}

#[test]
fn an_explicit_id_map() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("zion", "add idmap; set start=0; set target=700000; set count=1000; end");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let map = lab.ok("zlogin", &["zion", "cat /proc/self/uid_map /proc/self/gid_map"]);
    let words: Vec<&str> = map.split_whitespace().collect();
    assert_eq!(words, ["0", "700000", "1000", "0", "700000", "1000"]);
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.assert_clean();
}

#[test]
fn a_brand_of_another_system_runs_when_the_host_says_so() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.configure("zion", "set brand=ipkg\n");
    let run = lab.run("zoneadm", &["-z", "zion", "install"]);
    assert!(run.status != 0 && run.err.contains("zonecfg -z global 'set brand-aliases=ipkg'"), "{run:?}");
    lab.ok("zonecfg", &["-z", "global", "set brand-aliases=lipkg,ipkg"]);
    lab.ok("zoneadm", &["-z", "zion", "install"]);
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    assert!(lab.ok("zoneadm", &["list", "-p"]).contains(":ipkg:"), "the name stays for who has written it");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.ok("zonecfg", &["-z", "global", "clear brand-aliases"]);
    assert_ne!(lab.run("zoneadm", &["-z", "zion", "boot"]).status, 0);
    lab.ok("zoneadm", &["-z", "zion", "uninstall", "-F"]);
    lab.assert_clean();
}

/// Where systemd cannot run, a system that was made for it boots with the built-in init, and everybody is told.
#[test]
fn a_system_with_systemd_is_told_where_that_cannot_run() {
    let Some(lab) = Lab::on_disk() else { return };
    if fs::metadata("/sys/fs/cgroup/cgroup.controllers").is_ok() {
        eprintln!("SKIPPED: systemd can run in a zone of this host");
        return;
    }
    let tree = lab.path().join("tree");
    for folder in ["sbin", "lib/systemd", "etc"] {
        fs::create_dir_all(tree.join(folder)).expect("a folder");
    }
    fs::write(tree.join("lib/systemd/systemd"), "#!/bin/sh\n").expect("written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(tree.join("lib/systemd/systemd"), mode).expect("chmod");
    std::os::unix::fs::symlink("../lib/systemd/systemd", tree.join("sbin/init")).expect("a link");
    lab.configure("zion", "create -b\nset zonepath=/zones/zion");
    let tree = tree.display().to_string();
    for words in [&["install", "-d", &tree][..], &["verify"], &["plan", "boot"], &["boot"]] {
        let run = lab.run("zoneadm", &[&["-z", "zion"], words].concat());
        assert!(run.status == 0 && run.err.contains("boots with the built-in init"), "{words:?}: {run:?}");
    }
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    // Whoever names another init has chosen.
    lab.configure_again("zion", "set bootargs=\"-i /bin/x\"");
    assert_eq!(lab.run("zoneadm", &["-z", "zion", "plan", "boot"]).err, "");
    lab.ok("zoneadm", &["-z", "zion", "uninstall", "-F"]);
    lab.assert_clean();
}

/// `ZONES_LOG` names each step, lock and request. Process 1 of a ready zone waits without the stream: who reads the
/// lines to their end is not kept waiting.
#[test]
fn what_a_command_does_is_told_on_demand() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.configure("zion", "");
    let told = |program: &str, words: &[&str]| {
        let run = lab.run_with(program, words, &[("ZONES_LOG", "1")], "");
        assert_eq!(run.status, 0, "{program} {words:?}: {run:?}");
        run.err
    };
    let numbered = |plan: &str| {
        let steps = plan.lines().filter_map(|line| line.trim_start().split_once("  "));
        steps.map(|(number, text)| (number.to_owned(), text.to_owned())).collect::<Vec<_>>()
    };
    for verb in ["install", "ready"] {
        let plan = numbered(
            &lab.ok("zoneadm", &["-z", "zion", "plan", if verb == "ready" { "boot" } else { verb }]),
        );
        assert!(plan.len() > 5, "{plan:?}");
        let lines = told("zoneadm", &["-z", "zion", verb]);
        assert!(lines.contains("zone 'zion' is locked (zoneadm"), "{lines}");
        for (number, text) in &plan {
            let ways =
                [format!("step {number}: {text}\n"), format!("step {number}, for process 1: {text}\n")];
            assert!(ways.iter().any(|way| lines.contains(way)), "{number} {text} is missing: {lines}");
        }
    }
    assert!(told("zoneadm", &["-z", "zion", "boot"]).contains("ask zoneadmd to start init"));
    assert!(told("zlogin", &["zion", "true"]).contains("enter the zone of process"));
    let halt = told("zoneadm", &["-z", "zion", "halt"]);
    assert!(halt.contains("kill process 1") && halt.contains("undo: RemoveCgroup"), "{halt}");
    let spec = lab.run_with(
        "zonecfg",
        &["-z", "zion"],
        &[("ZONES_LOG", "1")],
        "set autoboot=false\nset limitpriv=default\nexit\n",
    );
    assert!(spec.err.contains("zion.toml is written"), "{spec:?}");
    for quiet in [None, Some(""), Some("0")] {
        let env: Vec<_> = quiet.map(|value| ("ZONES_LOG", value)).into_iter().collect();
        let run = lab.run_with("zoneadm", &["-z", "zion", "boot"], &env, "");
        assert_eq!((run.status, run.err.as_str()), (0, ""), "{quiet:?}");
        lab.ok("zoneadm", &["-z", "zion", "halt"]);
    }
    lab.assert_clean();
}
