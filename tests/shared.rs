//! Directories of the host that zones share: what is mounted below them, and what cannot map ids.

mod lab;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lab::Lab;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Mounts of the host that go with the test, the last one first.
struct Mounts(Vec<PathBuf>);

impl Mounts {
    fn add(&mut self, kind: &str, place: &Path, data: &str) {
        fs::create_dir_all(place).expect("a mount point");
        let flags = MsFlags::empty();
        mount(Some("test"), place, Some(kind), flags, Some(data))
            .unwrap_or_else(|e| panic!("mount {kind}: {e}"));
        self.0.push(place.to_owned());
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        for place in self.0.iter().rev() {
            let _ = umount2(place, MntFlags::MNT_DETACH);
        }
    }
}

/// Mounts an overlay, which maps no ids, with a file in it.
fn overlay(mounts: &mut Mounts, lab: &Lab, place: &Path) {
    let folder = |name: &str| {
        let path = lab.path().join("layers").join(place.file_name().expect("a name")).join(name);
        fs::create_dir_all(&path).expect("a layer");
        path.display().to_string()
    };
    let (lower, upper, work) = (folder("lower"), folder("upper"), folder("work"));
    mounts.add("overlay", place, &format!("lowerdir={lower},upperdir={upper},workdir={work}"));
    fs::write(place.join("file"), "of the overlay\n").expect("written");
}

fn share(special: &Path, dir: &str, options: &str) -> String {
    format!("add fs\nset type=lofs\nset special={}\nset dir={dir}\n{options}\nend\n", special.display())
}

#[test]
fn what_is_mounted_below_is_shared_too() {
    let Some(lab) = Lab::new() else { return };
    let mut mounts = Mounts(Vec::new());
    let tree = lab.path().join("tree");
    mounts.add("tmpfs", &tree.join("sub"), "mode=755");
    mounts.add("tmpfs", &tree.join("sub/deep dir"), "mode=755");
    fs::write(tree.join("sub/f"), "below\n").expect("written");
    let lines = share(&tree, "/all", "") + &share(&tree, "/one", "add options nosub");
    lab.installed("zion", &lines);
    let boot = lab.ok("zoneadm", &["-z", "zion", "boot"]);
    assert!(!boot.contains("WARNING"), "{boot}");
    let seen = lab.ok(
        "zlogin",
        &["zion", "cat /all/sub/f; ls /one/sub; echo x >'/all/sub/deep dir/g'; stat -c %u /all/sub/deep*/g"],
    );
    assert_eq!(seen, "below\n0\n");
    assert_eq!(fs::read_to_string(tree.join("sub/deep dir/g")).expect("written on the host"), "x\n");
    // What comes later is named, and seen when the zone is booted again.
    let verify = || lab.run("zoneadm", &["-z", "zion", "verify"]);
    assert!(!verify().err.contains("since the zone has booted"), "{:?}", verify());
    mounts.add("tmpfs", &tree.join("late"), "mode=755");
    fs::write(tree.join("late/f"), "late\n").expect("written");
    let said = verify();
    assert_eq!(said.status, 0, "{said:?}");
    let text =
        format!("WARNING: fs /all: {}/late is mounted on the host since the zone has booted", tree.display());
    assert!(said.err.contains(&text) && !said.err.contains("fs /one"), "{said:?}");
    assert_eq!(lab.ok("zlogin", &["zion", "ls /all/late"]), "");
    lab.ok("zoneadm", &["-z", "zion", "reboot"]);
    assert_eq!(lab.ok("zlogin", &["zion", "cat /all/late/f"]), "late\n");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    drop(mounts);
    lab.assert_clean();
}

#[test]
fn read_only_and_nodevices_hold_for_what_is_mounted_below() {
    let Some(lab) = Lab::new() else { return };
    let mut mounts = Mounts(Vec::new());
    let tree = lab.path().join("tree");
    mounts.add("tmpfs", &tree.join("sub"), "mode=777");
    let made = Command::new("mknod").arg(tree.join("sub/null")).args(["c", "1", "3"]).status();
    assert!(made.is_ok_and(|s| s.success()));
    lab.installed("zion", &(share(&tree, "/ro", "add options ro") + &share(&tree, "/rw", "")));
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    let run = lab.sh("zion", "echo x > /ro/sub/f");
    assert!(run.status != 0 && run.err.contains("Read-only file system"), "{run:?}");
    let run = lab.sh("zion", "echo x > /rw/sub/f && cat /rw/sub/null");
    assert!(run.status != 0 && run.err.contains("Permission denied"), "{run:?}");
    assert_eq!(fs::read_to_string(tree.join("sub/f")).expect("written"), "x\n");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    drop(mounts);
    lab.assert_clean();
}

#[test]
fn what_cannot_map_ids_is_left_out_aloud_or_shared_read_only() {
    let Some(lab) = Lab::new() else { return };
    let mut mounts = Mounts(Vec::new());
    let tree = lab.path().join("tree");
    overlay(&mut mounts, &lab, &tree.join("over"));
    mounts.add("tmpfs", &tree.join("over/in"), "mode=755");
    mounts.add("tmpfs", &tree.join("good"), "mode=755");
    mounts.add("proc", &tree.join("proc"), "");
    fs::write(tree.join("good/f"), "good\n").expect("written");
    lab.installed("zion", &(share(&tree, "/rw", "") + &share(&tree, "/ro", "add options ro")));
    let at = tree.display();
    let left_out = [
        format!(
            "fs /rw: {at}/over is mounted there and cannot be shared: its file system (overlay) cannot map ids on \
             this kernel; the zone sees an empty directory"
        ),
        format!("fs /rw: {at}/proc is mounted there and cannot be shared: proc shows the kernel's own state"),
        format!("fs /ro: {at}/proc is mounted there and cannot be shared: proc shows the kernel's own state"),
    ];
    for verb in ["verify", "boot"] {
        let run = lab.run("zoneadm", &["-z", "zion", verb]);
        assert_eq!(run.status, 0, "{run:?}");
        for text in &left_out {
            assert!(run.err.contains(text), "{verb}: {text} not in {run:?}");
        }
        assert!(!run.err.contains("over/in") && !run.err.contains("fs /ro: {at}/over"), "{run:?}");
    }
    assert_eq!(lab.ok("zlogin", &["zion", "cat /rw/good/f; ls -A /rw/over /rw/proc /ro/proc"]), {
        "good\n/ro/proc:\n\n/rw/over:\n\n/rw/proc:\n"
    });
    // Nothing is written below the host's mount, and what is shared read-only belongs to nobody.
    let run = lab.sh("zion", "echo hidden > /rw/over/f");
    assert!(run.status != 0 && run.err.contains("Read-only file system"), "{run:?}");
    assert_eq!(
        lab.ok("zlogin", &["zion", "cat /ro/over/file; stat -c %u /ro/over/file"]),
        "of the overlay\n65534\n"
    );
    assert_ne!(lab.sh("zion", "echo x > /ro/over/file").status, 0);
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    drop(mounts);
    lab.assert_clean();
}

#[test]
fn a_source_that_cannot_map_ids_is_found_before_the_boot() {
    let Some(lab) = Lab::new() else { return };
    let mut mounts = Mounts(Vec::new());
    let over = lab.path().join("over");
    overlay(&mut mounts, &lab, &over);
    lab.configure("zion", &share(&over, "/data", ""));
    let text = format!(
        "could not verify fs /data: {} cannot be shared: its file system (overlay) cannot map ids on this kernel; \
         'add options ro' shares it read-only, its files as those of nobody",
        over.display()
    );
    for verb in ["verify", "install"] {
        let run = lab.run("zoneadm", &["-z", "zion", verb]);
        assert!(run.status != 0 && run.err.contains(&text), "{verb}: {run:?}");
    }
    lab.configure_again("zion", "select fs dir=/data\nadd options ro\nend\n");
    lab.ok("zoneadm", &["-z", "zion", "install"]);
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    assert_eq!(lab.ok("zlogin", &["zion", "cat /data/file"]), "of the overlay\n");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    // The kernel's own file systems are not shared at all.
    for options in ["", "add options ro"] {
        lab.configure_again(
            "zion",
            &("remove -F fs\n".to_owned() + &share(Path::new("/proc"), "/p", options)),
        );
        let run = lab.run("zoneadm", &["-z", "zion", "verify"]);
        assert!(
            run.status != 0 && run.err.contains("/proc cannot be shared: proc shows the kernel's own state"),
            "{run:?}"
        );
    }
    // An overlay that the resource makes is no better.
    let layers = lab.path().join("layers");
    let made = format!(
        "remove -F fs\nadd fs\nset type=overlay\nset special=overlay\nset dir=/o\n\
         add options \"lowerdir={0}/over/upper:{0}/over/lower\"\nend\n",
        layers.display()
    );
    lab.configure_again("zion", &made);
    let run = lab.run("zoneadm", &["-z", "zion", "verify"]);
    assert!(run.status != 0 && run.err.contains("file systems of type overlay cannot map ids"), "{run:?}");
    lab.configure_again("zion", "select fs dir=/o\nadd options ro\nend\n");
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    assert_eq!(lab.ok("zlogin", &["zion", "cat /o/file"]), "of the overlay\n");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    drop(mounts);
    lab.assert_clean();
}

#[test]
fn a_zonepath_that_cannot_map_ids_is_found_before_the_boot() {
    let Some(lab) = Lab::new() else { return };
    let mut mounts = Mounts(Vec::new());
    let zones = lab.path().join("zones");
    overlay(&mut mounts, &lab, &zones);
    lab.configure("zion", "");
    for verb in ["verify", "install"] {
        let run = lab.run("zoneadm", &["-z", "zion", verb]);
        assert!(run.status != 0, "{verb}: {run:?}");
        assert!(
            run.err.contains("is on a file system (overlay) that cannot map ids on this kernel"),
            "{run:?}"
        );
    }
    assert_eq!(lab.state("zion"), "configured");
    drop(mounts);
    lab.assert_clean();
}

#[test]
fn owners_of_a_tmpfs_are_ids_of_the_zone() {
    let Some(lab) = Lab::new() else { return };
    let memory = "add fs\nset type=tmpfs\nset special=swap\nset dir=/scratch\n\
                  set options=[\"uid=1000\",\"gid=100\",\"mode=700\"]\nend\n";
    lab.installed("zion", memory);
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    assert_eq!(lab.ok("zlogin", &["zion", "stat -c '%u %g %a' /scratch"]), "1000 100 700\n");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.configure_again("zion", "select fs dir=/scratch\nset options=[\"uid=70000\"]\nend\n");
    let run = lab.run("zoneadm", &["-z", "zion", "verify"]);
    let text = "could not verify fs /scratch: option 'uid=70000' names no id of the zone";
    assert!(run.status != 0 && run.err.contains(text), "{run:?}");
    lab.assert_clean();
}

#[test]
fn mount_points_that_a_boot_refuses_are_found_by_verify() {
    let Some(lab) = Lab::new() else { return };
    let tree = lab.path().join("tree");
    fs::create_dir(&tree).expect("a folder to share");
    fs::write(tree.join("file"), "f").expect("written");
    lab.installed("zion", "");
    std::os::unix::fs::symlink("../run", lab.in_zone("zion", "/var/alias")).expect("a link");
    std::os::unix::fs::symlink("circle", lab.in_zone("zion", "/var/circle")).expect("a link");
    fs::write(lab.in_zone("zion", "/var/plain"), "").expect("written");
    fs::create_dir(lab.in_zone("zion", "/var/folder")).expect("made");
    let file = tree.join("file");
    let refused = |special: &Path, dir: &str, text: &str| {
        lab.configure_again("zion", &("remove -F fs\n".to_owned() + &share(special, dir, "")));
        let verify = lab.run("zoneadm", &["-z", "zion", "verify"]);
        assert!(verify.status != 0 && verify.err.contains(text), "{dir}: {text}: {verify:?}");
        let boot = lab.run("zoneadm", &["-z", "zion", "boot"]);
        assert!(boot.status != 0, "{dir}: {boot:?}");
        assert_eq!(lab.state("zion"), "installed");
        boot.err
    };
    let said = "/var/alias is a symbolic link to ../run in the zone; use dir=/run/secrets";
    let boot =
        refused(&tree, "/var/alias/secrets", &format!("could not verify fs /var/alias/secrets: {said}"));
    assert!(boot.contains(said), "{boot}");
    refused(
        &tree,
        "/var/circle/x",
        "/var/circle is a symbolic link to circle in the zone; choose a dir without links",
    );
    refused(&tree, "/var/../b", "could not verify fs /var/../b: a mount point has no '..'");
    refused(&tree, &format!("/var/{}", "n".repeat(256)), "has 256 bytes, and a name can have 255");
    refused(&file, "/var/folder", "/var/folder is a directory in the zone, and");
    refused(&tree, "/var/plain", "/var/plain is a file in the zone, and");
    refused(&tree, "/var/plain/below", "/var/plain is no directory in the zone");
    refused(
        &tree,
        "/usr/missing",
        "/usr/missing does not exist, and it lies in a directory that is read-only there",
    );
    // The directory that the message names works.
    lab.configure_again("zion", &("remove -F fs\n".to_owned() + &share(&tree, "/run/secrets", "")));
    lab.ok("zoneadm", &["-z", "zion", "verify"]);
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    assert_eq!(lab.ok("zlogin", &["zion", "cat /var/alias/secrets/file"]), "f");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.assert_clean();
}

#[test]
fn one_link_name_given_twice_is_found_by_verify() {
    let Some(lab) = Lab::new() else { return };
    lab.configure(
        "zion",
        "set ip-type=exclusive\nadd net\nset physical=net0\nset global-nic=lo\nend\nadd anet\nend\n",
    );
    let run = lab.run("zoneadm", &["-z", "zion", "verify"]);
    let text = "could not verify anet linkname=net0: net physical=net0 gives a link of that name already; choose \
                another linkname";
    assert!(run.status != 0 && run.err.contains(text), "{run:?}");
    lab.assert_clean();
}
