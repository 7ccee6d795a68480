//! Mounts of a zone that runs: made and taken away by the same code that puts a zone together at its boot.

mod lab;

use std::fs;
use std::path::{Path, PathBuf};

use lab::{Lab, record};
use zones::apply::boot::site::Site;
use zones::plan::options::{self, MountOptions};
use zones::plan::step::{Mount, MountSource};

fn main() {
    let mut args = libtest_mimic::Arguments::from_args();
    // In this thread: only a process of one thread can work among the mounts of another namespace.
    args.test_threads = Some(1);
    let trial = libtest_mimic::Trial::test("mounts_of_a_zone_that_runs", || {
        mounts_of_a_zone_that_runs();
        Ok(())
    });
    libtest_mimic::run(&args, vec![trial]).exit()
}

fn shared(special: &Path, dir: &str, words: &str) -> Mount {
    Mount {
        dir: dir.into(),
        special: special.display().to_string(),
        within: None,
        raw: None,
        fstype: "lofs".into(),
        source: MountSource::Bind,
        options: options::parse("lofs", words.split(' ').filter(|w| !w.is_empty())).expect("known options"),
    }
}

fn memory(dir: &str) -> Mount {
    let data = vec![("size".to_owned(), Some("1m".to_owned())), ("uid".to_owned(), Some("7".to_owned()))];
    let options = MountOptions { data, ..MountOptions::default() };
    let special = PathBuf::from("swap");
    Mount { fstype: "tmpfs".into(), source: MountSource::Tmpfs, options, ..shared(&special, dir, "") }
}

fn mounts_of_a_zone_that_runs() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("zion", "");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let said = |script: &str| lab.sh("zion", script).out;
    let folder = lab.path().join("shared");
    fs::create_dir(&folder).expect("a folder");
    fs::write(folder.join("file"), "of the host\n").expect("written");
    let host = || fs::read_to_string("/proc/self/mountinfo").expect("the mounts of the host");
    let before = host();
    let init = record(&lab, "zion", "init").parse().expect("a number");
    let mut site = Site::running(init).expect("it runs");

    site.memory("/run/more", 0o750, 1).expect("memory");
    site.fs(&memory("/var/memory")).expect("memory");
    site.fs(&shared(&folder, "/var/shared", "ro")).expect("a folder");
    site.fs(&shared(&folder, "/var/both/ways", "")).expect("a folder");
    assert_eq!(host(), before, "the host has none of it");
    let stat = "stat -c '%F %a %u' /run/more /var/memory; stat -f -c %T /run/more /var/memory";
    assert_eq!(said(stat), "directory 750 0\ndirectory 1777 7\ntmpfs\ntmpfs\n");
    assert_eq!(said("stat -c %u /var/shared/file; cat /var/shared/file"), "0\nof the host\n");
    assert_ne!(lab.sh("zion", "echo more > /var/shared/file").status, 0);
    let write = "mount -o remount,bind,rw /var/shared; echo more > /var/shared/file";
    assert_ne!(lab.sh("zion", write).status, 0, "its root cannot make it writable");
    assert_eq!(lab.sh("zion", "echo zone > /var/both/ways/file").status, 0);
    assert_eq!(fs::read_to_string(folder.join("file")).expect("a file"), "zone\n");
    let device = "mknod /var/both/ways/null c 1 3";
    assert_ne!(lab.sh("zion", device).status, 0, "no devices");

    // Undone, and what is not there cannot be undone.
    for dir in ["/run/more", "/var/memory", "/var/shared", "/var/both/ways"] {
        site.unmount(Path::new(dir)).unwrap_or_else(|e| panic!("{dir}: {e}"));
        assert_eq!(said(&format!("grep -c ' {dir} ' /proc/self/mountinfo")), "0\n", "{dir}");
        assert!(site.unmount(Path::new(dir)).is_err(), "{dir}");
    }

    // Its root may put a link in the place of a mount point: it is not followed, neither there nor back.
    lab.sh("zion", "rmdir /var/shared; ln -s /usr /var/shared; ln -s /etc /var/way");
    for dir in ["/var/shared", "/var/way/x"] {
        site.fs(&shared(&folder, dir, "")).expect_err(dir);
        assert!(site.unmount(Path::new(dir)).is_err(), "{dir}");
    }
    assert_eq!(host(), before, "the host has none of it");
    // This process is among the mounts of the host.
    assert!(folder.join("file").exists());
    drop(site);
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    assert!(Site::running(init).is_err(), "it has ended");
    lab.assert_clean();
}
