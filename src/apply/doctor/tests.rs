use std::path::PathBuf;

use super::facts::{HostFacts, Layout, ZfsOnHost, ZoneStorage};
use super::judge::judge;
use super::*;
use crate::apply::release::Release;
use crate::apply::zfs::holding::Holding;

fn words(list: &str) -> Vec<String> {
    list.split_whitespace().map(str::to_owned).collect()
}

/// A host that has everything.
fn host_with_everything() -> HostFacts {
    let mut facts = HostFacts {
        root: true,
        kernel: "6.12.43+deb13-amd64".into(),
        seccomp: Some(words("kill_process errno user_notif log allow")),
        loop_control: true,
        fuse: true,
        overlay: true,
        places: vec![ZoneStorage {
            path: "/zones".into(),
            kind: "zfs".into(),
            idmap: Some(Ok(())),
            held: Holding::default(),
            quotas: Some(true),
        }],
        ..HostFacts::default()
    };
    facts.users.supported = true;
    facts.users.max = Some(60_000);
    facts.users.tried = Some(Ok(()));
    facts.cgroup.layout = Layout::V2;
    facts.cgroup.guards_settings = Some(true);
    facts.cgroup.controllers = words("cpuset cpu io memory pids");
    facts.security.modules = words("lockdown landlock yama");
    facts.zfs = ZfsOnHost {
        module: Some("2.4.4-1".into()),
        program: Some("2.4.4-1".into()),
        device_mode: Some(0o666),
        zoned: words("tank/zion"),
        delegated: [("tank/zion".to_owned(), "zion".to_owned())].into(),
        ..ZfsOnHost::default()
    };
    facts
}

/// Judges the host with everything after a change, and returns the complaints.
fn complaints(change: impl FnOnce(&mut HostFacts)) -> (bool, Vec<Check>) {
    let mut facts = host_with_everything();
    change(&mut facts);
    let diagnosis = judge(&facts);
    let good = diagnosis.is_good();
    (good, diagnosis.checks.into_iter().filter(|c| c.state != Health::Ok).collect())
}

/// Returns the one complaint after a change.
fn complaint(change: impl FnOnce(&mut HostFacts)) -> (bool, Check) {
    let (good, mut all) = complaints(change);
    assert_eq!(all.len(), 1, "{all:?}");
    (good, all.remove(0))
}

#[test]
fn a_host_with_everything_has_no_complaint() {
    let (good, all) = complaints(|_| {});
    assert!(good && all.is_empty(), "{all:?}");
    let diagnosis = judge(&host_with_everything());
    assert!(diagnosis.checks.len() > 15);
    assert!(diagnosis.checks.iter().all(|c| !c.found.is_empty() && c.advice.is_none()));
}

#[test]
fn a_complaint_says_what_it_means_and_what_to_do() {
    let changes: [fn(&mut HostFacts); 16] = [
        |f| f.kernel = "5.4.0".into(),
        |f| f.users.supported = false,
        |f| f.places[0].idmap = Some(Err("Invalid argument".into())),
        |f| f.cgroup.controllers.clear(),
        |f| f.seccomp = None,
        |f| f.foreign_ids = words("x"),
        |f| f.fuse = false,
        |f| f.places[0].quotas = Some(false),
        |f| f.zfs = ZfsOnHost::default(),
        |f| f.zfs.program = None,
        |f| f.zfs.library_trouble = Some("x".into()),
        |f| f.zfs.delegated.clear(),
        |f| f.zfs.private_users = vec!["/etc/systemd/system/zone@.service.d/x.conf".into()],
        |f| f.security.apparmor_restricts = true,
        |f| f.security.shows_addresses = true,
        |f| f.cgroup.guards_settings = Some(false),
    ];
    for change in changes {
        let (_, check) = complaint(change);
        assert!(!check.means.is_empty() && check.advice.is_some_and(|a| !a.is_empty()), "{}", check.topic);
    }
}

#[test]
fn a_lack_that_keeps_every_zone_from_running_blocks() {
    let blocking: [fn(&mut HostFacts); 7] = [
        |f| f.kernel = "5.10.0-30-amd64".into(),
        |f| f.users.supported = false,
        |f| f.users.max = Some(0),
        |f| f.seccomp = None,
        |f| f.users.tried = Some(Err("Operation not permitted".into())),
        |f| f.missing_namespaces = words("net"),
        |f| f.forbidden_namespaces = words("pid"),
    ];
    for change in blocking {
        let (good, check) = complaint(change);
        assert!(!good && check.blocks, "{check:?}");
    }
    let (good, check) = complaint(|f| f.forbidden_namespaces = words("pid"));
    assert!(!good && check.advice.is_some_and(|a| a.contains("user.max_pid_namespaces")));
    // Without limits, ZFS or notification, zones that want none of them run.
    let (good, all) = complaints(|f| {
        f.cgroup = facts::Cgroup::default();
        f.seccomp = Some(words("errno log allow"));
        f.zfs = ZfsOnHost::default();
        f.fuse = false;
    });
    assert!(good && all.len() == 5, "{all:?}");
}

#[test]
fn a_file_system_that_cannot_map_ids_is_named_with_the_way_out() {
    let (good, check) = complaint(|f| {
        f.places[0].kind = "tmpfs".into();
        f.places[0].idmap = Some(Err("Invalid argument".into()));
    });
    assert!(!good);
    assert_eq!(check.topic, "ids on /zones");
    assert!(check.advice.is_some_and(|a| a.contains("tmpfs can do it from Linux 6.3 on")));
    let (good, check) = complaint(|f| f.places[0].held.no_suid = true);
    assert!(good && check.found.contains("nosuid"));
    let (good, check) = complaint(|f| {
        f.root = false;
        f.places[0].idmap = None;
    });
    assert!(good && check.advice.as_deref() == Some("run zoneadm doctor as root"));
}

#[test]
fn old_kernels_and_unknown_releases_of_kernels_are_told() {
    let kernel = |release: &str| {
        complaints(|f| f.kernel = release.into()).1.into_iter().find(|c| c.topic == "kernel").map(|c| c.state)
    };
    assert_eq!(kernel("5.11.22"), Some(Health::Missing));
    assert_eq!(kernel("5.12.0-rc1"), Some(Health::Warning), "without cgroup.kill");
    assert_eq!(kernel("5.14"), None);
    assert_eq!(kernel("6.1.0-50-cloud-amd64"), None);
    assert_eq!(kernel("next-20260101"), Some(Health::Warning));
}

#[test]
fn few_namespaces_are_a_warning() {
    assert_eq!(complaint(|f| f.users.max = Some(5)).1.state, Health::Warning);
    let (good, all) = complaints(|f| f.users.inside = true);
    assert!(good && all.len() == 1 && all[0].topic == "host");
}

#[test]
fn each_limitation_of_control_groups_is_told() {
    let (_, check) = complaint(|f| f.cgroup.layout = Layout::Hybrid);
    assert_eq!(check.state, Health::Warning);
    let (good, check) = complaint(|f| f.cgroup.guards_settings = Some(false));
    assert!(good && check.means.contains("/proc/sys/net is read-only"), "{check:?}");
    assert!(complaints(|f| f.cgroup.guards_settings = None).1.is_empty());
    let (_, check) = complaint(|f| f.cgroup.controllers = words("cpu cpuset pids"));
    assert!(check.found.contains("memory: not there") && check.means.contains("capped-memory"), "{check:?}");
    assert!(check.advice.is_some_and(|a| a.contains("cgroup_disable=")));
    let (_, all) = complaints(|f| {
        f.cgroup.layout = Layout::Hybrid;
        f.cgroup.controllers.clear();
        f.cgroup.taken = words("cpuset cpu cpuacct memory pids");
    });
    assert_eq!(all[1].found, "cpu, cpuset, memory, pids: held by version 1");
}

#[test]
fn security_modules_that_restrict_zones_are_told() {
    let (_, check) = complaint(|f| {
        f.security.modules = words("apparmor");
        f.security.apparmor_restricts = true;
    });
    assert!(check.found.contains("apparmor_restrict_unprivileged_userns"));
    assert!(complaint(|f| f.security.selinux = Some(true)).1.found.contains("enforcing"));
    assert!(complaints(|f| f.security.selinux = Some(false)).1.is_empty());
}

#[test]
fn releases_of_zfs_are_parsed_and_their_faults_known() {
    assert_eq!(Release::parse("2.3.2-2~bpo12+2"), Some(Release(2, 3, 2)));
    assert_eq!(Release::parse(" v2.4.0\n"), Some(Release(2, 4, 0)));
    assert_eq!(Release::parse("2.4"), Some(Release(2, 4, 0)));
    assert_eq!(Release::parse("2.4.rc1"), Some(Release(2, 4, 0)));
    for bad in ["", "zfs", "-2.3", "99999999999.1"] {
        assert_eq!(Release::parse(bad), None, "{bad}");
    }
    for faulty in ["2.2.0", "2.2.10", "2.3.0", "2.3.8", "2.4.0", "2.4.3-1"] {
        assert!(Release::parse(faulty).is_some_and(Release::is_open), "{faulty}");
    }
    for mended in ["2.1.11", "2.2.11", "2.3.9", "2.4.4", "2.5.0", "3.0.0"] {
        assert!(Release::parse(mended).is_some_and(|r| !r.is_open()), "{mended}");
    }
    for old in ["2.1.11-1+deb12u1", "0.8.6", "2.1.99"] {
        assert!(Release::parse(old).is_some_and(|r| !r.delegates()), "{old}");
    }
    for new in ["2.2.0-1", "2.3.2-2~bpo12+2", "2.4.99-1", "3.0.0"] {
        assert!(Release::parse(new).is_some_and(Release::delegates), "{new}");
    }
    assert!(!Release(2, 2, 11).hides_snapshots() && Release(2, 3, 0).hides_snapshots());
    assert_eq!(Release::parse("unknown"), None);
}

#[test]
fn a_release_with_the_fault_is_told_and_so_are_the_users_who_can_reach_it() {
    let at = |module: &str, mode: u32| {
        complaints(|f| {
            f.zfs.module = Some(module.into());
            f.zfs.program = Some(module.into());
            f.zfs.device_mode = Some(mode);
        })
        .1
    };
    let all = at("2.3.2-2~bpo12+2", 0o666);
    assert_eq!(all.iter().map(|c| c.topic.as_str()).collect::<Vec<_>>(), ["CVE-2026-79619", "/dev/zfs"]);
    assert!(all[0].advice.as_deref().is_some_and(|a| a.contains("distribution may have mended it")));
    assert_eq!(at("2.3.2", 0o600).len(), 1);
    assert!(at("2.3.9", 0o666).is_empty());
    let old = at("2.1.11-1", 0o666);
    assert_eq!(old.len(), 1);
    assert_eq!((old[0].topic.as_str(), old[0].state), ("ZFS delegation", Health::Missing));
    assert!(old[0].advice.as_deref().is_some_and(|a| a.contains("install OpenZFS 2.2.11")));
    let shows = at("2.2.11", 0o666);
    assert_eq!((shows.len(), shows[0].state), (1, Health::Warning));
    assert!(shows[0].found.contains("cannot hide snapshots"));
    assert_eq!(at("unknown", 0o666).len(), 2);
}

#[test]
fn a_command_of_another_release_than_the_module_is_told() {
    assert!(complaint(|f| f.zfs.program = Some("2.3.2".into())).1.found.contains("with a module of"));
    assert!(complaints(|f| f.zfs.program = Some("2.4.1".into())).1.is_empty(), "the last number may differ");
}

#[test]
fn zoned_datasets_that_no_zone_has_are_told() {
    let (_, check) = complaint(|f| f.zfs.zoned = words("tank/lost tank/zion tank/zion/x tank/zion2"));
    assert!(check.found.ends_with("tank/lost, tank/zion2"), "{}", check.found);
    assert!(check.advice.is_some_and(|a| a.ends_with("zoneadm reclaim tank/lost")));
    let (_, check) = complaint(|f| f.zfs.list_trouble = Some("no".into()));
    assert_eq!(check.state, Health::Warning);
}

#[test]
fn mount_units_of_datasets_of_zones_are_told() {
    let cache = PathBuf::from("/etc/zfs/zfs-list.cache/tank");
    let units = |names: &str| words(names).into_iter().map(|n| (n, cache.clone())).collect();
    let (_, check) = complaint(|f| f.zfs.mount_units = units("tank tank/zion/home tank/zion2"));
    assert!(check.found.ends_with("tank/zion/home"), "{}", check.found);
    assert!(check.advice.is_some_and(|a| a.contains("org.openzfs.systemd:ignore=on tank/zion/home")));
    assert!(complaints(|f| f.zfs.mount_units = units("tank tank/home")).1.is_empty());
}

#[test]
fn a_diagnosis_is_printed_for_people_and_as_json() {
    let mut facts = host_with_everything();
    facts.users.max = Some(0);
    facts.foreign_ids = words("a b c d e");
    let diagnosis = judge(&facts);
    let mut text = Vec::new();
    print(&diagnosis, false, &mut text).expect("memory takes everything");
    let text = String::from_utf8(text).expect("text");
    assert!(text.contains("ok       kernel                Linux 6.12.43+deb13-amd64\n"), "{text}");
    assert!(text.contains("and 2 more\n"), "{text}");
    assert!(text.ends_with("Zones cannot run on this host: user namespaces.\n"), "{text}");
    let mut json = Vec::new();
    print(&diagnosis, true, &mut json).expect("memory takes everything");
    let value: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(value["zones"], false);
    let checks = value["checks"].as_array().expect("an array");
    assert_eq!(checks.len(), diagnosis.checks.len());
    let users = checks.iter().find(|c| c["topic"] == "user namespaces").expect("the check");
    assert_eq!((&users["state"], &users["blocks"]), (&"missing".into(), &true.into()));
    assert!(users["advice"].is_string() && checks[0]["advice"].is_null());
}

#[test]
fn rights_of_users_without_a_broker_are_told() {
    let (good, check) = complaint(|f| f.administered = words("zion"));
    assert!(good && check.means.contains("of zion have no effect"), "{check:?}");
    let with_broker = |f: &mut HostFacts| (f.administered, f.broker) = (words("zion"), true);
    assert!(complaints(with_broker).1.is_empty());
}

#[test]
fn containers_in_zones_are_spoken_of() {
    let said = |spl| {
        let mut facts = host_with_everything();
        facts.zfs.spl = spl;
        let all = judge(&facts).checks;
        all.iter().find(|c| c.topic == "/proc/spl").map(|c| c.means.clone())
    };
    use crate::plan::spl::Spl;
    assert_eq!(said(Spl::Absent), None);
    assert!(said(Spl::Open).is_some_and(|text| text.contains("attr proc-spl")));
    assert!(said(Spl::Closed).is_some_and(|text| text.contains("containers work")));
}
