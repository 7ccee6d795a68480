//! The meaning of the facts about ZFS for zones.

use super::Diagnosis;
use super::facts::{HostFacts, ZfsOnHost};
use crate::apply::release::Release;
use crate::plan::spl::Spl;

use crate::spec::shown::Show;

const INSTALL: &str = "install OpenZFS 2.2.11, 2.3.9, 2.4.4 or later (Debian: zfs-dkms and zfsutils-linux, from the backports of the release), then modprobe zfs";

pub fn judge(facts: &HostFacts, out: &mut Diagnosis) {
    let zfs = &facts.zfs;
    let Some(module) = &zfs.module else {
        out.missing(
            "ZFS",
            if zfs.program.is_some() { "the module is not loaded" } else { "not installed" },
            "zonepaths are directories; fs resources of type zfs, dataset resources and volumes are refused",
            INSTALL,
        );
        return;
    };
    out.ok("ZFS", format!("module {module}"), "file systems, volumes and zonepaths on ZFS");
    let release = Release::parse(module);
    delegation(module, release, out);
    open_hole(module, release, out);
    device(zfs, release, out);
    names(zfs.spl, out);
    programs(zfs, release, out);
    mount_units(zfs, out);
    zoned(zfs, out);
    private_users(facts, out);
}

fn delegation(module: &str, release: Option<Release>, out: &mut Diagnosis) {
    let topic = "ZFS delegation";
    match release {
        Some(release) if release.hides_snapshots() => {
            out.ok(topic, "there", "dataset resources can be used");
        }
        Some(release) if release.delegates() => out.warning(
            topic,
            format!("OpenZFS {module} cannot hide snapshots"),
            "root of a zone with a dataset could have the host mount a snapshot of it over any directory: such \
             zones are refused, unless an attr says that their root is trusted like the host's",
            "install OpenZFS 2.3.9, 2.4.4 or later",
        ),
        Some(_) => out.missing(
            topic,
            format!("OpenZFS {module} cannot give datasets to user namespaces"),
            "zones with a dataset resource are refused",
            INSTALL,
        ),
        None => out.warning(
            topic,
            format!("the release '{module}' is not understood"),
            "it is not known whether dataset resources can be used: boot tries",
            "look at 'zfs version'; delegation begins with 2.2",
        ),
    }
}

fn open_hole(module: &str, release: Option<Release>, out: &mut Diagnosis) {
    let topic = "CVE-2026-79619";
    match release {
        Some(release) if release.is_open() => out.warning(
            topic,
            format!("open in upstream's {release}"),
            "whoever is root in a user namespace and can open /dev/zfs passes the pool's permission checks. \
             Zones of ours are held back by their guard; other containers and users of this host are not",
            "update to 2.2.11, 2.3.9, 2.4.4 or later. Your distribution may have mended it without changing \
             the number: its security tracker says",
        ),
        Some(release) if release < Release(2, 2, 0) => {
            out.ok(topic, "does not apply: no delegation", "");
        }
        Some(release) => out.ok(topic, format!("mended in {release}"), ""),
        None => out.warning(
            topic,
            format!("not known for '{module}'"),
            "open in 2.2.0 to 2.2.10, 2.3.0 to 2.3.8 and 2.4.0 to 2.4.3",
            "look at 'zfs version'",
        ),
    }
}

fn device(zfs: &ZfsOnHost, release: Option<Release>, out: &mut Diagnosis) {
    let topic = "/dev/zfs";
    if let Some(why) = &zfs.device_trouble {
        out.missing(
            topic,
            why.clone(),
            "zones on ZFS cannot be used from here",
            "run zoneadm doctor as root of the host; without the node, 'udevadm trigger /dev/zfs' makes it",
        );
        return;
    }
    let Some(mode) = zfs.device_mode else { return };
    let found = format!("mode {mode:04o}");
    if mode & 0o006 != 0 && release.is_some_and(Release::is_open) {
        out.warning(
            topic,
            found,
            "every user of this host can open it and, with a user namespace, use the hole above",
            "until ZFS is updated: chmod 0600 /dev/zfs, and the same in a udev rule; 'zfs' then works for root only",
        );
    } else {
        out.ok(topic, found, "zones get a node of their own");
    }
}

/// Reports how far zones can see the datasets of others, and the consequences.
fn names(spl: Spl, out: &mut Diagnosis) {
    match spl {
        Spl::Absent => {}
        Spl::Closed => {
            out.ok("/proc/spl", "closed to all users but root", "not covered in zones: containers work there");
        }
        Spl::Open => out.ok(
            "/proc/spl",
            "open to all users of this host",
            "covered in zones, where containers get no /proc of their own then; for zones with containers see attr \
             proc-spl in zones(7)",
        ),
    }
}

fn programs(zfs: &ZfsOnHost, release: Option<Release>, out: &mut Diagnosis) {
    let topic = "ZFS library";
    if let Some(why) = &zfs.library_trouble {
        out.missing(
            topic,
            why.clone(),
            "zonepaths cannot be made as file systems, nor cloned; the rest goes to the kernel directly",
            "install libzfs_core.so.3 (Debian: libzfs4linux or later, with zfsutils-linux)",
        );
    } else {
        out.ok(topic, "libzfs_core.so.3", "");
    }
    let topic = "zfs command";
    match (&zfs.program, zfs.program.as_deref().and_then(Release::parse), release) {
        (None, ..) => out.warning(
            topic,
            "not found",
            "zones need none from the host, but a sparse zone with a dataset has no other",
            "install zfsutils-linux",
        ),
        (Some(program), Some(own), Some(module)) if (own.0, own.1) != (module.0, module.1) => out.warning(
            topic,
            format!("{program}, with a module of {module}"),
            "commands and module of different releases may misunderstand each other",
            "install both from the same place, and reboot or load the new module",
        ),
        (Some(program), ..) => out.ok(topic, program.clone(), ""),
    }
}

/// Shortens a list for a line.
fn list_some<'a>(names: impl ExactSizeIterator<Item = &'a String>) -> String {
    let more = names.len().saturating_sub(4);
    let shown = names.take(4).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

fn mount_units(zfs: &ZfsOnHost, out: &mut Diagnosis) {
    let topic = "ZFS mount units";
    let below = |name: &str, top: &str| {
        name == top || name.strip_prefix(top).is_some_and(|rest| rest.starts_with('/'))
    };
    let listed: Vec<&String> =
        zfs.mount_units.keys().filter(|name| zfs.zoned.iter().any(|top| below(name, top))).collect();
    if listed.is_empty() {
        out.ok(topic, "no dataset of a zone is in /etc/zfs/zfs-list.cache", "");
        return;
    }
    let first = listed[0];
    out.warning(
        topic,
        format!("zfs-mount-generator knows {}", list_some(listed.iter().copied())),
        "the host makes mount and key units out of properties that a zone sets",
        format!("zfs set org.openzfs.systemd:ignore=on {first}, and so on; then systemctl daemon-reload"),
    );
}

fn zoned(zfs: &ZfsOnHost, out: &mut Diagnosis) {
    let topic = "zoned datasets";
    if let Some(why) = &zfs.list_trouble {
        out.warning(
            topic,
            format!("cannot be listed: {why}"),
            "whether one is left over is not known",
            "run zoneadm doctor as root of the host",
        );
        return;
    }
    let covers = |top: &str, name: &str| {
        name == top || name.strip_prefix(top).is_some_and(|rest| rest.starts_with('/'))
    };
    let stray: Vec<&String> =
        zfs.zoned.iter().filter(|name| !zfs.delegated.keys().any(|top| covers(top, name))).collect();
    if let Some(first) = stray.first() {
        out.warning(
            topic,
            format!("no zone has {}", list_some(stray.iter().copied())),
            "the host never mounts them, so that nothing a zone left in them can do harm, and refuses zfs rename of \
             them and of what is above them",
            format!("give each to a zone again, or have it looked at: zoneadm reclaim {first}"),
        );
    } else {
        let found = match zfs.zoned.len() {
            0 => "none".to_owned(),
            n => format!("{n}, each of a configured zone"),
        };
        let meaning = match zfs.zoned.len() {
            0 => "",
            _ => {
                "zfs rename of them and of what is above them is refused until they are reclaimed (zoneadm reclaim)"
            }
        };
        out.ok(topic, found, meaning);
    }
}

fn private_users(facts: &HostFacts, out: &mut Diagnosis) {
    let topic = "PrivateUsers";
    let files = &facts.zfs.private_users;
    if files.is_empty() {
        if !facts.users.inside {
            out.ok(topic, "not set for the units of zones", "");
        }
        return;
    }
    let files = files.iter().map(|f| f.shown().to_string()).collect::<Vec<_>>();
    out.warning(
        topic,
        format!("set in {}", files.join(", ")),
        "a service in a user namespace of its own sees no pool: zones on ZFS would not boot from it",
        "take PrivateUsers= out, then systemctl daemon-reload",
    );
}
