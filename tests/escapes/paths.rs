//! Attacks on the paths along which a boot reaches into a zone's root.

use std::fs;
use std::os::unix::fs::symlink;

use super::{Lab, both_ways};

both_ways! {
    /// Guards `sys::path::open_beneath` (no link is followed to a mount point), and its walk without
    /// `openat2(2)`.
    mount_points_that_are_links(lab) {
        let outside = lab.path().join("outside");
        fs::create_dir_all(outside.join("pts")).expect("a folder");
        lab.installed("zion", "add fs\nset type=tmpfs\nset special=swap\nset dir=/data/in\nend");
        let root = lab.path().join("zones/zion/root");
        fs::create_dir_all(root.join("data/in")).expect("a folder");
        for name in ["dev", "proc", "sys", "run", "data"] {
            let (place, aside) = (root.join(name), root.join(".aside"));
            fs::rename(&place, &aside).expect("a folder of the root");
            symlink(&outside, &place).expect("a link");
            let run = lab.run("zoneadm", &["-z", "zion", "boot"]);
            assert_ne!(run.status, 0, "{name}: {run:?}");
            assert!(run.err.contains("is a symbolic link"), "{name}: {run:?}");
            assert_eq!(fs::read_dir(&outside).expect("a folder").count(), 1, "{name} was followed");
            assert_eq!(fs::read_dir(outside.join("pts")).expect("a folder").count(), 0, "{name} was followed");
            fs::remove_file(&place).expect("the link");
            fs::rename(&aside, &place).expect("the folder");
        }
        lab.ok("zoneadm", &["-z", "zion", "boot"]);
        assert_eq!(lab.sh("zion", "stat -f -c %T /data/in").out.trim(), "tmpfs");
        lab.halted("zion");
    }
}
