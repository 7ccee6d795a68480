//! Root of a zone owns the files of the host that the zone sees read-only with mapped ids: what he can hold up
//! there, and what he learns. `confine::owner` tries each call by itself.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Attacker, Lab};

/// What the manual says of files that a zone shares with the host.
fn manual() -> &'static str {
    let (_, section) = include_str!("../../man/zones.7")
        .split_once("\n.Ss Files that a zone shares with the host\n")
        .expect("the manual has the section");
    section.split("\n.Ss ").next().expect("its text")
}

/// Makes a folder of the host with files of these names.
fn folder(lab: &Lab, name: &str, files: &[&str]) -> PathBuf {
    let folder = lab.path().join(name);
    fs::create_dir(&folder).expect("a folder");
    for file in files {
        fs::write(folder.join(file), [0; 4096]).expect("a file");
    }
    folder
}

/// Returns the lines of a spec that show the zone a folder of the host, read-only.
fn read_only(folder: &Path) -> String {
    format!("add fs\nset type=lofs\nset special={}\nset dir=/shared\nadd options ro\nend\n", folder.display())
}

/// Copies a program of the host.
fn program(folder: &Path, name: &str, of: &str) -> PathBuf {
    let to = folder.join(name);
    fs::copy(of, &to).expect("a program");
    fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).expect("chmod");
    to
}

/// Opens a file for writing without waiting for the holder of a lease.
fn open_now(file: &Path) -> Option<i32> {
    let mut options = fs::OpenOptions::new();
    let opened = options.write(true).custom_flags(libc::O_NONBLOCK).open(file);
    opened.err().map(|e| e.raw_os_error().expect("an error of the system"))
}

/// Guards the refusal of F_SETLEASE: a lease makes whoever executes or opens the file wait.
#[test]
fn leases_on_files_of_the_host() {
    let Some(lab) = Lab::on_disk() else { return };
    let shared = folder(&lab, "shared", &["kept", "read"]);
    let inherited = folder(&lab, "inherited", &["kept", "read"]);
    let runs = program(&inherited, "program", "/usr/bin/true");
    let lines = format!("{}add inherit-pkg-dir\nset dir={}\nend", read_only(&shared), inherited.display());
    lab.booted("zion", &lines);
    let below = inherited.display();
    let words = [
        "write:/shared/kept".to_owned(),
        "read:/shared/read".to_owned(),
        format!("write:{below}/kept"),
        format!("read:{below}/read"),
        format!("write:{below}/program"),
    ];
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let holder = lab.attacker("zion", include_str!("attack/lease.py"), &words);
    for file in [&shared, &inherited].iter().flat_map(|dir| [dir.join("kept"), dir.join("read")]) {
        assert_eq!(open_now(&file), None, "the host has to wait for {}", file.display());
    }
    // It would wait until the holder is told to end, by far longer than this.
    let run = Command::new("timeout").arg("10").arg(&runs).status().expect("timeout(1)");
    assert_eq!(run.code(), Some(0), "the host has to wait for a program");
    assert_eq!(holder.end(), "22 22 22 22 22\n");
    lab.halted("zion");
}

/// Reads a file while a zone watches its folder, and returns what the zone has seen of it, by each way.
fn spied_on(lab: &Lab, shared: &Path) -> String {
    let spy = lab.attacker("zion", include_str!("attack/spy.py"), &["/shared"]);
    fs::read(shared.join("file")).expect("the host reads it");
    spy.end()
}

/// Guards the refusal of F_NOTIFY, and the limits of what watches: without a limit a zone sees what the host opens,
/// as the manual says.
#[test]
fn watches_on_folders_of_the_host() {
    let Some(lab) = Lab::on_disk() else { return };
    let shared = folder(&lab, "shared", &["file"]);
    lab.booted("zion", &read_only(&shared));
    assert_eq!(spied_on(&lab, &shared), "seen seen EINVAL\n");
    for word in ["inotify", "fanotify", "names and times"] {
        assert!(manual().contains(word), "the manual does not speak of {word}");
    }
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    let limit = |name: &str, number: u32| {
        let lines = format!("add attr; set name={name}; set type=uint; set value={number}; end");
        assert_eq!(lab.run_with("zonecfg", &["-z", "zion"], &[], &lines).status, 0);
    };
    limit("max-inotify-watches", 0);
    limit("max-fanotify-marks", 0);
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    assert_eq!(spied_on(&lab, &shared), "ENOSPC ENOSPC EINVAL\n");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    limit("max-fanotify-groups", 0);
    let plan = lab.ok("zoneadm", &["-z", "zion", "plan", "boot"]);
    let text = "limits it to max_inotify_watches=0 max_fanotify_groups=0 max_fanotify_marks=0";
    assert!(plan.contains(text), "{plan}");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    assert_eq!(spied_on(&lab, &shared), "ENOSPC EMFILE EINVAL\n");
    lab.halted("zion");
}

/// What no filter can refuse, for it does not see which file a descriptor is of: each is a fact of the kernel that the
/// manual has to name.
#[test]
fn what_a_shared_file_lets_a_zone_do_is_in_the_manual() {
    let Some(lab) = Lab::on_disk() else { return };
    let shared = folder(&lab, "shared", &["flock", "record", "futex"]);
    let runs = program(&shared, "program", "/usr/bin/sleep");
    let private = |name: &str| {
        fs::set_permissions(shared.join(name), fs::Permissions::from_mode(0o600)).expect("chmod");
    };
    let _listener = UnixListener::bind(shared.join("socket")).expect("a socket");
    assert!(Command::new("mkfifo").arg(shared.join("fifo")).status().expect("mkfifo(1)").success());
    private("socket");
    private("fifo");
    let _reader = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(shared.join("fifo"));
    lab.booted("zion", &read_only(&shared));
    let sleeper = shared.join("futex").display().to_string();
    let sleeper = Attacker::on_host(include_str!("attack/sleeper.py"), &[&sleeper]);
    let holder = lab.attacker("zion", include_str!("attack/share.py"), &["/shared"]);
    let top = shared.display();
    let lock = |call: &str, file: &str| {
        let line =
            format!("import fcntl; fcntl.{call}(open('{top}/{file}', 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)");
        let status = Command::new("python3").args(["-c", &line]).stderr(Stdio::null()).status();
        status.expect("python3").success()
    };
    assert!(!lock("flock", "flock"), "flock(2) of a zone keeps the host out");
    assert!(!lock("lockf", "record"), "a lock for reading keeps out whoever writes");
    assert_eq!(open_now(&runs), Some(libc::ETXTBSY), "a program that runs in a zone");
    assert_eq!(sleeper.end(), "woken\n");
    assert_eq!(holder.end(), "connected written woken\n");
    assert!(lock("flock", "flock") && lock("lockf", "record"), "they end with the process");
    for word in ["Xr flock 2", "F_RDLCK", "ETXTBSY", "Xr futex 2", "socket", "FIFO"] {
        assert!(manual().contains(word), "the manual does not speak of {word}");
    }
    lab.halted("zion");
}

/// Guards the refusal of snapshots: btrfs asks whether the caller owns the subvolume, never whether he may write
/// there, nor read what is in it.
#[test]
fn snapshots_of_a_subvolume_of_the_host() {
    let Some(lab) = Lab::on_disk() else { return };
    let image = lab.path().join("btrfs.img");
    fs::File::create(&image).and_then(|f| f.set_len(256 << 20)).expect("an image");
    let made = Command::new("mkfs.btrfs").arg("-q").arg(&image).stderr(Stdio::null()).status();
    if !made.is_ok_and(|s| s.success()) {
        eprintln!("SKIPPED: mkfs.btrfs is not on this host");
        return;
    }
    fs::write(lab.path().join("attack.py"), include_str!("attack/snapshot.py")).expect("written");
    // The mount is the script's alone, and ends with it.
    let script = r#"
        set -e; top=$ZONES_ROOT; cd $top; mkdir disk; mount -o loop btrfs.img disk
        export ZONES_ROOT=$top/disk/root; mkdir -p $ZONES_ROOT/zones; chmod 700 $ZONES_ROOT
        python3 -c "import fcntl, os, struct
fcntl.ioctl(os.open('disk', os.O_RDONLY), 0x5000940e, bytearray(struct.pack('<q4088s', 0, b'shared')))"
        echo secret > disk/shared/secret; chmod 600 disk/shared/secret
        printf 'create\nadd fs\nset type=lofs\nset special=%s\nset dir=/shared\nadd options ro\nend\nexit\n' \
            $top/disk/shared | $B/zonecfg -z zion >/dev/null 2>&1
        $B/zoneadm -z zion install >/dev/null; $B/zoneadm -z zion boot
        cp attack.py $ZONES_ROOT/zones/zion/root/root/attack.py
        $B/zlogin zion python3 /root/attack.py /shared || echo failed
        $B/zoneadm -z zion halt; cat disk/shared/secret; cd /; umount $top/disk"#;
    let run = lab
        .host(&format!("exec unshare -m --propagation private bash -c '{}'", script.replace('\'', "'\\''")));
    assert_eq!(run.out, "1\n1\nsecret\n", "{run:?}");
}
