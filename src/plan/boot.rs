//! The steps of a boot, ordered from the image of a zone. This module only computes.

use std::path::PathBuf;

use super::bootargs::BootArgs;
use super::image::{
    BootChanges, DecidedZone, Delegation, InheritedDir, InitCommand, MemoryDir, OrderedMount, ZoneImage,
    decide,
};
use super::profile::{self, Profile};
use super::step::{BootStep, DatasetStep, FileStep, HostStep, InitProgram, InsideStep, LimitStep, MountStep};
use crate::spec::ZoneSpec;

pub use super::image::{BootFacts, IDLE_SYSTEMD, PlanError, Special, foreign_brand, init_words, zfs_fs};

/// A boot, decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootPlan {
    /// The image of the booted zone.
    pub image: ZoneImage,
    /// The steps in order.
    pub steps: Vec<BootStep>,
    /// Settings of the spec that this boot leaves out, harmlessly.
    pub warnings: Vec<String>,
}

/// Decides a boot.
///
/// # Errors
/// [`PlanError`] that names the resource at fault.
pub fn plan(spec: &ZoneSpec, args: &BootArgs, facts: &BootFacts) -> Result<BootPlan, PlanError> {
    let DecidedZone { image, at_boot, warnings } = decide(spec, args, facts)?;
    let steps = order(&image, at_boot);
    Ok(BootPlan { image, steps, warnings })
}

/// Returns the steps of a boot in their order: those of the host, then those that process 1 does inside.
pub fn order(image: &ZoneImage, at_boot: BootChanges) -> Vec<BootStep> {
    let mut steps: Vec<BootStep> = Vec::new();
    steps.extend(at_boot.first.map(BootStep::from));
    steps.extend(limits(image).into_iter().map(BootStep::from));
    steps.extend(at_boot.withdraw.into_iter().map(BootStep::from));
    steps.extend(namespaces(image, at_boot.run));
    steps.extend(files_of_the_host(image).into_iter().map(BootStep::from));
    steps.extend(mounts(image, &at_boot.mounts));
    // The links are the last steps of the host: process 1 goes on beside them, and a host that has one of the
    // addresses has had time to answer.
    steps.extend(image.links.iter().cloned().map(|link| HostStep::Link(Box::new(link)).into()));
    steps.extend(inside(image, at_boot.mounts).into_iter().map(BootStep::from));
    steps
}

/// Returns the steps that give a zone its share of the machine, before anything of it runs.
fn limits(image: &ZoneImage) -> Vec<LimitStep> {
    let limits = &image.limits;
    let mut steps = Vec::new();
    if let Some(cgroup) = &image.cgroup {
        steps.push(LimitStep::Cgroup { path: cgroup.path.clone(), guarded: cgroup.guarded });
        if !limits.group.is_empty() {
            steps.push(LimitStep::Limits { path: cgroup.path.clone(), settings: limits.group.clone() });
        }
    }
    steps.push(LimitStep::Process { locked: limits.locked, policy: limits.policy });
    if !limits.ipc.is_empty() {
        steps.push(LimitStep::Ipc { settings: limits.ipc.clone() });
    }
    steps
}

/// Returns the steps that begin process 1 and give its user namespace the datasets.
fn namespaces(image: &ZoneImage, run: PathBuf) -> Vec<BootStep> {
    let counts = &image.limits.counts;
    let mut steps = Vec::new();
    if !counts.is_empty() {
        steps.push(LimitStep::Counts { limits: counts.clone() }.into());
    }
    steps.push(HostStep::Namespaces(image.ids.clone()).into());
    if !image.datasets.is_empty() {
        steps.push(DatasetStep::Pin { run }.into());
    }
    steps.extend(image.datasets.iter().map(|dataset| {
        let Delegation { name, locks, below } = dataset.clone();
        DatasetStep::Delegate { dataset: name, locks, below }.into()
    }));
    steps
}

/// Returns the steps that write files in the zone's root, as the host sees it.
fn files_of_the_host(image: &ZoneImage) -> Vec<FileStep> {
    let (root, hostname) = (image.mounts.root.clone(), image.names.host.clone());
    let mut steps = Vec::new();
    // The files are the host's to write.
    if image.names.written {
        let addresses = image.links.iter().flat_map(|l| l.addresses.iter().map(ipnet::IpNet::addr)).collect();
        steps.push(FileStep::Names { root: root.clone(), hostname: hostname.clone(), addresses });
    }
    if image.names.follows_host {
        steps.push(FileStep::HostEtc { root, hostname });
    }
    steps
}

/// Returns the steps that make the zone's mounts, but for those of its datasets.
fn mounts(image: &ZoneImage, datasets: &[InsideStep]) -> Vec<BootStep> {
    let mounts = &image.mounts;
    let mut steps: Vec<BootStep> = vec![MountStep::Root { path: mounts.root.clone() }.into()];
    // Before anything is mounted below them.
    steps.extend(mounts.parts.iter().map(|p| MountStep::Part { dir: p.dir, writable: p.writable }.into()));
    steps.extend(mounts.first.iter().map(|dir| inherit(dir).into()));
    steps.push(MountStep::Dev { nodes: image.nodes.clone() }.into());
    let memory = |m: &MemoryDir| MountStep::Memory { dir: m.dir, mode: m.mode, percent: m.percent }.into();
    steps.extend(mounts.memory.iter().map(memory));
    if has_covers(image) {
        let (hidden, fixed) = (image.covers.hidden.clone(), image.covers.fixed.clone());
        steps.push(MountStep::Proc { hidden, fixed }.into());
    }
    steps.push(MountStep::Sys.into());
    steps.push(MountStep::Console.into());
    steps.extend(mounts.then.iter().map(|placed| match placed {
        OrderedMount::Inherit(dir) => inherit(dir).into(),
        OrderedMount::Fs(mount) => MountStep::Fs(mount.clone()).into(),
    }));
    // A /run that a resource gives is not ours to fill.
    if mounts.memory.iter().any(|m| m.dir == "/run") {
        let built_in = image.init.program == InitProgram::BuiltIn;
        steps.push(FileStep::Commands { ending: built_in }.into());
        if built_in {
            steps.push(FileStep::Resolver.into());
        }
    }
    steps.extend(image.names.host_id.map(|id| FileStep::HostId { id }.into()));
    let read_only = |p: Profile| MountStep::ReadOnly { profile: p.name(), made: mount_points(datasets) };
    steps.extend(image.profile.map(|profile| read_only(profile).into()));
    steps
}

/// Says whether parts of `/proc` are covered, which can be done from outside only.
fn has_covers(image: &ZoneImage) -> bool {
    !(image.covers.hidden.is_empty() && image.covers.fixed.is_empty())
}

fn inherit(dir: &InheritedDir) -> MountStep {
    MountStep::Inherit { dir: dir.dir.clone(), programs: dir.programs.clone() }
}

/// Returns the steps of process 1.
fn inside(image: &ZoneImage, datasets: Vec<InsideStep>) -> Vec<InsideStep> {
    let mut steps = vec![
        InsideStep::HostName { name: image.names.host.clone() },
        InsideStep::Loopback,
        InsideStep::KernelFiles { proc: !has_covers(image), cgroup: image.cgroup.is_some() },
        InsideStep::Pivot,
    ];
    steps.extend(datasets);
    // Of two filters that refuse a call, the one that was installed last decides the error.
    steps.push(InsideStep::Confine(image.confinement.clone()));
    if !image.datasets.is_empty() {
        // It takes a capability that the zone may have to give up.
        steps.push(InsideStep::Guard);
    }
    // Also those that only a later kernel will know.
    let drop = (0..u64::BITS).filter(|n| image.capabilities & 1 << n == 0).collect();
    steps.push(InsideStep::Capabilities { drop });
    let InitCommand { program, args } = image.init.clone();
    steps.push(InsideStep::Init { program, args });
    steps
}

/// Returns the directories of the root that are mounted on when nothing can be made there any more: of two
/// datasets one below the other, that of the upper one.
fn mount_points(datasets: &[InsideStep]) -> Vec<String> {
    let dir = |step: &InsideStep| {
        if let InsideStep::MountDataset { dir, .. } = step { Some(dir.clone()) } else { None }
    };
    let dirs: Vec<String> = datasets.iter().filter_map(dir).collect();
    let within =
        |dir: &str| dirs.iter().any(|d| dir.strip_prefix(d.as_str()).is_some_and(|r| r.starts_with('/')));
    let own = profile::MOUNT_POINTS.iter().map(|d| (*d).to_owned());
    own.chain(dirs.iter().filter(|d| d.as_str() != "/" && !within(d)).cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::options;
    use crate::plan::step::Node;
    use crate::plan::zfs;
    use crate::spec::schema::ResourceKind;
    use crate::spec::{Item, Props, Value, ZoneName};

    fn spec() -> ZoneSpec {
        ZoneSpec::new(ZoneName::new("zion").expect("a good name"))
    }

    fn facts() -> BootFacts {
        BootFacts {
            root: "/zones/zion/root".into(),
            uid_map: "0 1000000000 65536\n".into(),
            gid_map: "0 1000000000 65536\n".into(),
            guards_settings: true,
            ..BootFacts::default()
        }
    }

    fn add(spec: &mut ZoneSpec, kind: ResourceKind, pairs: &[(&str, &str)]) {
        let mut props = Props::default();
        for (name, text) in pairs {
            let def = kind.def().prop(name).expect("the table has it");
            let value = if def.is_list() {
                Value::List(text.split(',').map(|t| Item::Simple(t.into())).collect())
            } else {
                Value::simple(*text)
            };
            props.set(def, value);
        }
        spec.stored_mut(kind).push(props);
    }

    fn lines(plan: &BootPlan) -> Vec<String> {
        plan.steps.iter().map(BootStep::describe).collect()
    }

    #[test]
    fn the_order_of_a_boot() {
        let (mut s, mut f) = (spec(), facts());
        add(&mut s, ResourceKind::InheritPkgDir, &[("dir", "/usr")]);
        add(&mut s, ResourceKind::InheritPkgDir, &[("dir", "/bin")]);
        add(
            &mut s,
            ResourceKind::Fs,
            &[("dir", "/b/c"), ("special", "/srv"), ("type", "lofs"), ("options", "ro")],
        );
        add(
            &mut s,
            ResourceKind::Fs,
            &[("dir", "/b"), ("special", "x"), ("type", "tmpfs"), ("options", "size=1m")],
        );
        add(&mut s, ResourceKind::Device, &[("match", "/dev/vd*")]);
        f.linked = vec!["/bin".into()];
        f.specials.insert("/srv".into(), Special::Dir);
        let disk = Node { path: "vdb".into(), block: true, major: 254, minor: 16, mode: 0o660 };
        f.devices.insert("/dev/vd*".into(), vec![disk]);
        f.cgroup = Some("/sys/fs/cgroup/zones/zion".into());
        let plan = plan(&s, &BootArgs::parse("-s"), &f).expect("it can boot");
        assert_eq!(
            lines(&plan),
            [
                "make cgroup /sys/fs/cgroup/zones/zion and refuse it to write /proc/sys/net/netfilter/nf_hooks_lwtunnel",
                "take the resource limits of the host's process 1",
                "begin process 1 in new user, mount, pid, uts, ipc and net namespaces, ids 0:1000000000:65536 (zone:host:count)",
                "take what the host has changed of its programs' files in /etc, and make missing ssh host keys",
                "mount /zones/zion/root on / with mapped ids",
                "inherit-pkg-dir /usr: mount the host's /usr read-only, its files nobody's",
                "make /dev with null zero full random urandom tty vdb",
                "mount tmpfs on /dev/shm, mode 1777, 25% of the memory",
                "mount tmpfs on /run, mode 755, 10% of the memory",
                "mount /sys, read-only for good",
                "put the console on /dev/console",
                "fs /b: mount tmpfs, size=1m",
                "fs /b/c: mount /srv, read-only",
                "make the commands zonename halt init poweroff reboot shutdown telinit in /run/zone/bin",
                "give /etc/resolv.conf a file where it is a link into /run",
                "set the host name zion",
                "switch the loopback interface on",
                "mount /proc /dev/pts /dev/mqueue /sys/fs/cgroup inside",
                "make the zone's root the only root, its mounts shared within the zone",
                "refuse system calls that act on the machine or reach past the zone",
                "give up all capabilities but chown dac_override dac_read_search fowner fsetid kill setgid \
                 setuid setpcap net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_chroot \
                 sys_ptrace sys_admin sys_boot sys_nice setfcap",
                "start the built-in init with -s",
            ]
        );
    }

    #[test]
    fn what_nothing_keeps_from_settings_of_the_host_cannot_write_below_net() {
        let f = BootFacts { guards_settings: false, ..facts() };
        let plan = plan(&spec(), &BootArgs::default(), &f).expect("it can boot");
        assert!(lines(&plan).contains(&"mount /proc, /proc/sys/net read-only for good".to_owned()));
        assert!(plan.warnings[0].contains("cannot change its settings below /proc/sys/net"));
    }

    #[test]
    fn what_is_at_fault_is_named() {
        let case = |pairs: &[(&str, &str)], special: Option<Special>| {
            let (mut s, mut f) = (spec(), facts());
            add(&mut s, ResourceKind::Fs, pairs);
            if let Some(special) = special {
                f.specials.insert("/x".into(), special);
            }
            plan(&s, &BootArgs::default(), &f).expect_err("must be refused").to_string()
        };
        let fs = |dir, fstype| [("dir", dir), ("special", "/x"), ("type", fstype)];
        let missing = Special::Missing("No such file or directory".into());
        assert_eq!(
            case(&fs("/d", "lofs"), Some(missing)),
            "could not verify fs /d: could not access /x: No such file or directory"
        );
        assert_eq!(case(&fs("/d", "proc"), None), "cannot verify fs /d: type proc is not allowed.");
        assert_eq!(
            case(&fs("/d", "ext4"), Some(Special::Dir)),
            "could not verify fs /d: '/x' is a directory, and type ext4 needs a block device or an image file"
        );
        assert!(case(&fs("/proc/x", "lofs"), Some(Special::Dir)).contains("the zone's own proc"));
        assert!(case(&fs("/d", "zfs"), None).contains("could not access zfs dataset '/x'"));
        let bad = [("dir", "/d"), ("special", "/x"), ("type", "zfs"), ("options", "wild")];
        assert!(case(&bad, None).contains("option 'wild' is not known for type zfs"));
        let bad = [("dir", "/d"), ("special", "/x"), ("type", "lofs"), ("options", "wild")];
        assert!(case(&bad, Some(Special::Dir)).contains("option 'wild' is not known for type lofs"));
    }

    #[test]
    fn a_dataset_is_mounted_once_and_within_its_own_limits() {
        let (mut s, mut f) = (spec(), facts());
        add(&mut s, ResourceKind::Fs, &[("dir", "/d"), ("special", "tank/zion"), ("type", "zfs")]);
        let limits =
            options::MountOptions { no_exec: true, devices: true, ..options::MountOptions::default() };
        let dataset = zfs::FilesystemFacts { legacy: true, limits, ..zfs::FilesystemFacts::default() };
        f.datasets.insert("tank/zion".into(), zfs::DatasetFacts::Filesystem(dataset));
        let good = plan(&s, &BootArgs::default(), &f).expect("it can boot");
        assert!(lines(&good).contains(&"fs /d: mount tank/zion as zfs, noexec".to_owned()));
        add(&mut s, ResourceKind::Fs, &[("dir", "/e"), ("special", "tank/zion"), ("type", "zfs")]);
        let twice = plan(&s, &BootArgs::default(), &f).expect_err("twice").to_string();
        assert_eq!(twice, "could not verify fs /e: zfs 'tank/zion' is already mounted on /d of this zone");
    }

    #[test]
    fn a_limit_is_never_left_out_in_silence() {
        let mut s = spec();
        s.set_alias(crate::spec::schema::global("max-lwps").expect("in the table"), "1000").expect("free");
        let e = plan(&s, &BootArgs::default(), &facts()).expect_err("limits need the controller");
        assert!(e.to_string().contains("could not verify max-lwps"));
        let mut s = spec();
        s.props.set(
            crate::spec::schema::global("limitpriv").expect("in the table"),
            Value::simple("default,sys_time"),
        );
        let e = plan(&s, &BootArgs::default(), &facts()).expect_err("nobody has this one");
        assert!(e.to_string().contains("privilege \"sys_time\" is not permitted"), "{e}");
        s.props.set(
            crate::spec::schema::global("limitpriv").expect("in the table"),
            Value::simple("default,!net_raw"),
        );
        let p = plan(&s, &BootArgs::default(), &facts()).expect("it can be taken away");
        let drop = |p: &BootPlan| {
            p.steps.iter().find_map(|s| match s.inside()? {
                InsideStep::Capabilities { drop } => Some(drop.clone()),
                _ => None,
            })
        };
        let drop = drop(&p).expect("every plan has the step");
        assert!(drop.contains(&13) && drop.contains(&16) && drop.contains(&63) && !drop.contains(&21));
    }
}
