//! The meaning of the facts for zones. Pure: everything comes from [`HostFacts`].

use super::facts::{Cgroup, HostFacts, Layout, ZoneStorage};
use super::{Diagnosis, judge_zfs};
use crate::apply::release::Release;
use crate::plan::inherit::list_some;
use crate::spec::idmap::PRIVATE_FIRST;
use crate::spec::shown::Show;

/// First release of the kernel with mounts that map ids.
const KERNEL: Release = Release(5, 12, 0);
/// With `cgroup.kill`.
const KERNEL_KILL: Release = Release(5, 14, 0);
/// Fewer user namespaces than this are soon used up: each zone takes one, and programs in it take more.
const FEW_NAMESPACES: u64 = 100;

/// The use of each controller of cgroup v2, in the words of the spec.
const CONTROLLERS: [(&str, &str); 4] = [
    ("cpu", "capped-cpu, cpu-shares"),
    ("cpuset", "dedicated-cpu, pool"),
    ("memory", "capped-memory"),
    ("pids", "max-lwps, max-processes"),
];

const NO_GROUP: &str =
    "zones run without a group: no limits, no systemd in a zone, and /proc/sys/net is read-only there";
const UNIFIED: &str = "boot the host with 'systemd.unified_cgroup_hierarchy=1 cgroup_no_v1=all'";

/// Judges.
pub fn judge(facts: &HostFacts) -> Diagnosis {
    let mut out = Diagnosis::default();
    kernel(facts, &mut out);
    namespaces(facts, &mut out);
    for place in &facts.places {
        idmap(place, facts.root, &mut out);
    }
    security(facts, &mut out);
    cgroup(&facts.cgroup, &mut out);
    settings(&facts.cgroup, &mut out);
    seccomp(facts, &mut out);
    ids(facts, &mut out);
    extras(facts, &mut out);
    rights(facts, &mut out);
    inherited(facts, &mut out);
    for place in &facts.places {
        quotas(place, &mut out);
    }
    judge_zfs::judge(facts, &mut out);
    out
}

fn kernel(facts: &HostFacts, out: &mut Diagnosis) {
    let topic = "kernel";
    let found = format!("Linux {}", facts.kernel);
    match Release::parse(&facts.kernel) {
        Some(release) if release < KERNEL => out.missing_for_every_zone(
            topic,
            found,
            "a zone's root is mounted with mapped ids, which begins with Linux 5.12",
            "install a kernel of release 5.12 or later",
        ),
        Some(release) if release < KERNEL_KILL => out.warning(
            topic,
            found,
            "without cgroup.kill (Linux 5.14) the end of a zone takes longer",
            "a later kernel ends zones at once",
        ),
        Some(_) => out.ok(topic, found, "has all that zones need"),
        None => out.warning(
            topic,
            found,
            "its release is not understood, so nothing is known of what it can do",
            "look at the checks below",
        ),
    }
}

fn namespaces(facts: &HostFacts, out: &mut Diagnosis) {
    let topic = "user namespaces";
    let users = &facts.users;
    let why = "root of a zone is root of a user namespace, and of nothing else";
    match (&users.tried, users.supported, users.max) {
        (_, false, _) => {
            out.missing_for_every_zone(topic, "the kernel has none", why, "use a kernel with CONFIG_USER_NS");
        }
        (_, true, Some(0)) => out.missing_for_every_zone(
            topic,
            "switched off: user.max_user_namespaces is 0",
            why,
            "sysctl -w user.max_user_namespaces=15000, and the same in /etc/sysctl.d",
        ),
        (Some(Err(e)), true, _) => out.missing_for_every_zone(
            topic,
            format!("one could not be made: {e}"),
            why,
            "look for what forbids it: a container around this host, a security module, a limit of the service",
        ),
        (_, true, Some(max)) if max < FEW_NAMESPACES => out.warning(
            topic,
            format!("user.max_user_namespaces is {max}"),
            "each zone takes one, and programs in it may take more",
            "sysctl -w user.max_user_namespaces=15000, and the same in /etc/sysctl.d",
        ),
        (tried, true, max) => {
            let max = max.map_or_else(String::new, |max| format!(", at most {max}"));
            let tried = if tried.is_some() { "one was made" } else { "there" };
            out.ok(topic, format!("{tried}{max}"), "zones have their own users");
        }
    }
    if users.inside {
        out.warning(
            "host",
            "this program runs in a user namespace: in a container, or in a service with PrivateUsers=",
            "device nodes, most mounts and all of ZFS are out of its reach",
            "run zoneadm where /proc/self/ns/user is that of process 1 of the machine",
        );
    }
    let topic = "other namespaces";
    if !facts.missing_namespaces.is_empty() {
        let kinds = facts.missing_namespaces.join(", ");
        let means = "a zone has one of each kind";
        out.missing_for_every_zone(
            topic,
            format!("the kernel lacks {kinds}"),
            means,
            "use a kernel with CONFIG_NAMESPACES and all below it",
        );
    } else if let Some(first) = facts.forbidden_namespaces.first() {
        out.missing_for_every_zone(
            topic,
            format!("switched off: user.max_{first}_namespaces is 0"),
            "a zone has one of each kind",
            format!("sysctl -w user.max_{first}_namespaces=15000, and the same in /etc/sysctl.d"),
        );
    } else {
        out.ok(topic, "mount, pid, uts, ipc, net, cgroup", "zones see only their own");
    }
}

fn idmap(place: &ZoneStorage, root: bool, out: &mut Diagnosis) {
    let path = place.path.shown();
    let topic = format!("ids on {path}");
    match &place.idmap {
        Some(Ok(())) => {
            out.ok(&topic, format!("{} can be mounted with mapped ids", place.kind), "nothing is chowned");
        }
        Some(Err(e)) => {
            let since = match place.kind.as_str() {
                "btrfs" => "Linux 5.15",
                "tmpfs" => "Linux 6.3",
                "zfs" => "OpenZFS 2.2",
                _ => "some later kernel, or never",
            };
            out.missing_for_every_zone(
                &topic,
                format!("{} cannot be mounted with mapped ids: {e}", place.kind),
                format!("no zone below {path} can boot"),
                format!("put zones on ext4, xfs, btrfs or ZFS; {} can do it from {since} on", place.kind),
            );
        }
        None if root => {
            out.warning(
                &topic,
                "could not be tried: there is no user namespace to map with",
                "",
                "see above",
            );
        }
        None => out.warning(&topic, "not tried: only root can", "", "run zoneadm doctor as root"),
    }
    held(place, &topic, out);
}

/// Reports the file system's effect on files on it.
fn held(place: &ZoneStorage, topic: &str, out: &mut Diagnosis) {
    let (path, held) = (place.path.shown(), &place.held);
    let advice = |setting: &str, other: &str| match held.command(setting).strip_prefix("; ") {
        Some(command) => command.to_owned(),
        None => other.to_owned(),
    };
    if held.read_only {
        out.warning(
            topic,
            format!("the file system of {path} is read-only"),
            "a zone below it can write nothing",
            advice("readonly=off", "mount it writable"),
        );
    }
    if held.no_exec {
        out.warning(
            topic,
            format!("the file system of {path} is mounted noexec"),
            "programs below it cannot be run in a zone",
            advice("exec=on", "mount it without noexec"),
        );
    }
    if held.loses_acls {
        out.warning(
            topic,
            format!("the kernel does not map access lists on the ZFS file system of {path}"),
            "entries of access lists for single users and groups are stored with numbers of the host and do not count \
             in a zone",
            "use Linux 6.2 or later, or delegated datasets for files with access lists",
        );
    }
    if held.no_suid {
        out.warning(
            topic,
            format!("the file system of {path} is mounted nosuid"),
            "nobody could change user in a zone below it: verify refuses it",
            "mount it without nosuid; the zonepath's mode 0700 keeps its programs from the host's users",
        );
    }
}

fn security(facts: &HostFacts, out: &mut Diagnosis) {
    let topic = "security modules";
    let security = &facts.security;
    let modules = if security.modules.is_empty() { "none".to_owned() } else { security.modules.join(", ") };
    if security.apparmor_restricts {
        out.warning(
            topic,
            format!("{modules}; kernel.apparmor_restrict_unprivileged_userns is 1"),
            "zones boot, but programs in them that make user namespaces (podman, bubblewrap, browsers) get no rights there",
            "give those programs an AppArmor profile with 'userns,', or set the sysctl to 0",
        );
    }
    match security.selinux {
        Some(true) => out.warning(
            topic,
            format!("{modules}; SELinux is enforcing"),
            "zones have no label of their own: they run in the context of zoneadm, and are not kept apart by SELinux",
            "if a zone cannot read its files, look for 'avc: denied' in the audit log",
        ),
        _ if security.apparmor_restricts => {}
        Some(false) => out.ok(topic, format!("{modules}; SELinux is permissive"), "nothing is refused"),
        None => out.ok(topic, modules, "none of them restricts zones"),
    }
    let topic = "kernel addresses";
    if security.shows_addresses {
        out.warning(
            topic,
            "shown: kernel.kptr_restrict is 0 and kernel.perf_event_paranoid is below 2",
            "zones read in /proc/kallsyms where the kernel lies, which helps whoever attacks it",
            "sysctl -w kernel.kptr_restrict=1, and the same in /etc/sysctl.d",
        );
    } else {
        out.ok(topic, "not shown", "zones do not learn where the kernel lies");
    }
}

/// Reports the protection of the host's settings from zones; where they have no group at all, [`NO_GROUP`] does.
fn settings(cgroup: &Cgroup, out: &mut Diagnosis) {
    let topic = "settings of the host";
    match cgroup.guards_settings {
        _ if matches!(cgroup.layout, Layout::V1 | Layout::None) => {}
        None => {}
        Some(true) => out.ok(topic, "the kernel guards them by control group", "zones cannot write them"),
        Some(false) => out.warning(
            topic,
            "the kernel takes no program that guards them (bpf(2))",
            "/proc/sys/net is read-only in zones instead, and containers in them get no /proc of their own",
            "install a kernel with CONFIG_CGROUP_BPF",
        ),
    }
}

fn cgroup(cgroup: &Cgroup, out: &mut Diagnosis) {
    let topic = "control groups";
    match cgroup.layout {
        Layout::V2 => out.ok(topic, "version 2", "each zone has its own"),
        Layout::Hybrid => out.warning(
            topic,
            "version 1, with version 2 beside it",
            "each zone has a group of version 2; systemd does not run in a zone",
            UNIFIED,
        ),
        Layout::V1 => out.missing(topic, "version 1 only", NO_GROUP, UNIFIED),
        Layout::None => {
            out.missing(topic, "not mounted", NO_GROUP, "mount -t cgroup2 cgroup2 /sys/fs/cgroup");
        }
    }
    let has = |name: &str| cgroup.controllers.iter().any(|c| c == name);
    let (there, lacking): (Vec<_>, Vec<_>) = CONTROLLERS.into_iter().partition(|(name, _)| has(name));
    let names = |list: &[(&str, &str)]| list.iter().map(|(n, _)| *n).collect::<Vec<_>>().join(", ");
    let needs = |list: &[(&str, &str)]| list.iter().map(|(_, n)| *n).collect::<Vec<_>>().join(", ");
    let topic = "controllers";
    if !there.is_empty() {
        out.ok(topic, names(&there), format!("for {}", needs(&there)));
    }
    if lacking.is_empty() {
        return;
    }
    let taken = lacking.iter().all(|(name, _)| cgroup.taken.iter().any(|c| c == name));
    let (why, advice) = match cgroup.layout {
        _ if taken => ("held by version 1", UNIFIED),
        Layout::None | Layout::V1 => ("there is no version 2", UNIFIED),
        _ => ("not there", "look for cgroup_disable= on the kernel's command line, and at its configuration"),
    };
    let found = format!("{}: {why}", names(&lacking));
    out.missing(
        topic,
        found,
        format!("zones with {} are refused, unless the limit is marked as best effort", needs(&lacking)),
        advice,
    );
}

fn seccomp(facts: &HostFacts, out: &mut Diagnosis) {
    let topic = "seccomp notification";
    match &facts.seccomp {
        Some(actions) if actions.iter().any(|a| a == "user_notif") => {
            out.ok(topic, "there", "the guard of delegated datasets works");
        }
        Some(_) => out.missing(
            topic,
            "the kernel's filters cannot notify",
            "zones with a dataset resource are refused: nothing could hold their property locks",
            "use a kernel of release 5.0 or later",
        ),
        None => out.missing_for_every_zone(
            topic,
            "the kernel has no filters",
            "every zone is under a filter of system calls, and is not booted without",
            "use a kernel with CONFIG_SECCOMP_FILTER",
        ),
    }
}

fn ids(facts: &HostFacts, out: &mut Diagnosis) {
    let topic = "user ids for zones";
    let range = format!("{PRIVATE_FIRST} and above");
    if facts.foreign_ids.is_empty() {
        out.ok(topic, format!("{range}: nobody else has any"), "zones get 65536 each");
        return;
    }
    let mut who = facts.foreign_ids.iter().take(3).cloned().collect::<Vec<_>>().join("; ");
    if let Some(more) = facts.foreign_ids.len().checked_sub(3).filter(|n| *n > 0) {
        who = format!("{who}; and {more} more");
    }
    out.warning(
        topic,
        format!("{range}: {who}"),
        "zones made from now on keep clear of them; one made before shares ids with whoever got them later",
        "compare with the files idmap in /var/lib/zones/*, and move the others' ranges",
    );
}

fn extras(facts: &HostFacts, out: &mut Diagnosis) {
    let mut one = |there: bool, topic: &str, what: &str, needs: &str, advice: &str| {
        if there {
            out.ok(topic, format!("{what} is there"), format!("for {needs}"));
        } else {
            out.missing(topic, format!("{what} is not there"), format!("no {needs}"), advice);
        }
    };
    let image = "fs resources whose special is an image file";
    one(facts.loop_control, "loop devices", "/dev/loop-control", image, "modprobe loop");
    one(facts.fuse, "fuse", "/dev/fuse", "fuse file systems in zones", "modprobe fuse");
    let overlay = "fs resources of type overlay";
    one(facts.overlay, "overlay", "the overlay file system", overlay, "use a kernel with CONFIG_OVERLAY_FS");
}

fn rights(facts: &HostFacts, out: &mut Diagnosis) {
    let topic = "rights of users on zones";
    if facts.broker {
        out.ok(topic, "a broker listens", "admin resources have effect");
    } else if !facts.administered.is_empty() {
        out.missing(
            topic,
            "no broker listens",
            format!("the admin resources of {} have no effect", facts.administered.join(", ")),
            "systemctl enable --now zones-broker.socket; without systemd, run zonesd",
        );
    }
}

fn inherited(facts: &HostFacts, out: &mut Diagnosis) {
    for (dir, seen) in &facts.inherited {
        let topic = format!("inherited {dir}");
        let closed = match seen.closed.len() {
            0 => "all of it can be read by every user".to_owned(),
            _ => format!("closed to zones, as it is to other users: {}", list_some(dir, &seen.closed)),
        };
        if seen.hidden.is_empty() {
            out.ok(&topic, closed, "sparse zones read what every user of this host can");
            continue;
        }
        out.warning(
            &topic,
            closed,
            format!(
                "programs that not every user may read run in zones without their set-user-id and like bits: {}",
                list_some(dir, &seen.hidden)
            ),
            "nothing, where zones need none of them; else let every user read them: chmod o+r",
        );
    }
}

fn quotas(place: &ZoneStorage, out: &mut Diagnosis) {
    let path = place.path.shown();
    let topic = format!("quotas on {path}");
    match place.quotas {
        Some(true) => out.ok(&topic, place.kind.clone(), "what a zone takes can be limited"),
        Some(false) => out.missing(
            &topic,
            format!("{} without quotas", place.kind),
            format!("a zone can fill the file system of {path}"),
            "give zones a file system of their own, put them on ZFS, or mount with prjquota",
        ),
        None => {}
    }
}
