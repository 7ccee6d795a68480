//! What a boot does: the spec and what was observed become a list of steps. Nothing is touched here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use thiserror::Error;

use super::bootargs::BootArgs;
use super::confine::{self, ConfineError, Confinement};
use super::limits::{self, LimitError};
use super::options::{self, UnknownOption};
use super::profile::{self, Profile};
use super::spl::{self, Spl};
use super::step::{BootStep, InitProgram, Mount, MountSource, Node};
use super::{dataset, inherit, net, order, zfs};
use crate::spec::privilege::{self, PrivilegeError};
use crate::spec::schema::ResourceKind;
use crate::spec::{Props, ZoneSpec};

/// What the machine looks like, as far as a boot depends on it.
#[derive(Clone, Debug, Default)]
pub struct BootFacts {
    /// The zone's brand, when the host runs no zones of it.
    pub foreign_brand: Option<String>,
    /// The host's folder that becomes the zone's root.
    pub root: PathBuf,
    /// The host name that the zone's root has for it, when it has one.
    pub hostname: Option<String>,
    /// A boot has put addresses into the zone's hosts file.
    pub named: bool,
    /// Lines of the zone's uid map.
    pub uid_map: String,
    /// Lines of the zone's gid map.
    pub gid_map: String,
    /// What the host has for limits.
    pub host: limits::Host,
    /// What the kernel has for the confinement of processes.
    pub kernel: confine::Kernel,
    /// Folder for the zone's cgroup, when the host has cgroup v2.
    pub cgroup: Option<PathBuf>,
    /// Inherited directories that are symbolic links in the zone's root: they need no mount.
    pub linked: Vec<String>,
    /// Programs of inherited directories that run with rights of their own, for those where that is wanted.
    pub programs: BTreeMap<String, Vec<String>>,
    /// Directories of the zone's root that its profile counts only where they are there.
    pub present: BTreeSet<String>,
    /// What each `special` is.
    pub specials: BTreeMap<String, Special>,
    /// The zone's root in which a `special` lies, when it lies in one.
    pub within: BTreeMap<String, PathBuf>,
    /// Other paths of `fs` resources that lead into the root of a zone.
    pub in_zones: BTreeSet<String>,
    /// What each `special` of type `zfs` is.
    pub datasets: BTreeMap<String, zfs::DatasetFacts>,
    /// What each `dataset` is.
    pub delegations: BTreeMap<String, dataset::DatasetLookup>,
    /// The datasets that the zones of this host are configured to have.
    pub claims: Vec<dataset::DatasetClaim>,
    /// What is different from the zone's last boot.
    pub notes: Vec<String>,
    /// Major and minor number of `/dev/zfs`.
    pub control: Option<(u32, u32)>,
    /// The zone's run-time folder.
    pub run: PathBuf,
    /// Nodes that each `device match` has found.
    pub devices: BTreeMap<String, Vec<Node>>,
    /// The zone has a cgroup, and the kernel a program that keeps it from writing settings of the host.
    pub guards_settings: bool,
    /// The host's `/proc/spl`, which shows the names of everybody's datasets.
    pub spl: Spl,
    /// The host has `/dev/fuse`.
    pub fuse: bool,
    /// Links and addresses of the host.
    pub net: net::NetFacts,
    /// The init program of the zone's root that can run here, when there is one.
    pub own_init: Option<String>,
    /// That root has systemd, which cannot run here.
    pub idle_systemd: bool,
}

/// What a `special` is on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Special {
    /// A directory.
    Dir,
    /// A regular file.
    File,
    /// A block device.
    Block,
    /// Something else.
    Other,
    /// It cannot be reached; the system's reason.
    Missing(String),
}

/// A boot, decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootPlan {
    /// The steps in order.
    pub steps: Vec<BootStep>,
    /// What the spec asks for and this boot leaves out, harmlessly.
    pub warnings: Vec<String>,
}

/// Why the zone cannot be booted as its spec says.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PlanError {
    /// A type that is never mounted for a zone.
    #[error("cannot verify fs {dir}: type {fstype} is not allowed.")]
    TypeNotAllowed {
        /// Mount point.
        dir: String,
        /// Type.
        fstype: String,
    },
    /// The source is not there.
    #[error("could not verify fs {dir}: could not access {special}: {reason}")]
    NoSpecial {
        /// Mount point.
        dir: String,
        /// Source.
        special: String,
        /// The system's reason.
        reason: String,
    },
    /// The source is of the wrong kind.
    #[error("could not verify fs {dir}: '{special}' is {found}, and type {fstype} needs {needed}")]
    WrongSpecial {
        /// Mount point.
        dir: String,
        /// Source.
        special: String,
        /// What it is.
        found: &'static str,
        /// Type.
        fstype: String,
        /// What it should be.
        needed: &'static str,
    },
    /// An option that nobody knows.
    #[error("could not verify fs {dir}: {source}")]
    Option {
        /// Mount point.
        dir: String,
        /// Which.
        source: UnknownOption,
    },
    /// A mount point that belongs to the system.
    #[error("could not verify fs {0}: the zone's own {1} is mounted there; choose another dir")]
    ReservedDir(String, &'static str),
    /// An inherited directory that the zone has of its own.
    #[error("{0}")]
    Inherited(#[from] order::Reserved),
    /// A dataset that the zone cannot have.
    #[error("{0}")]
    Zfs(#[from] zfs::ZfsMountError),
    /// A network that the zone cannot have.
    #[error("{0}")]
    Net(#[from] net::NetworkPlanError),
    /// Limits that cannot be kept.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Limits(Vec<LimitError>),
    /// Privileges that cannot be.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Privileges(Vec<PrivilegeError>),
    /// A confinement that cannot be kept.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Confine(Vec<ConfineError>),
    /// A dataset that cannot be delegated to the zone.
    #[error("{0}")]
    Dataset(#[from] dataset::DelegationError),
    /// Something that this release cannot do.
    #[error("{0}")]
    Unsupported(String),
}

/// What a zone is told whose root has systemd on a host where that cannot run.
pub const IDLE_SYSTEMD: &str = "init of the zone's root is systemd, which needs control groups of version 2 as the \
     only ones, and this host has others: the zone boots with the built-in init, without the services of systemd; \
     boot the host with systemd.unified_cgroup_hierarchy=1, or see zoneadm doctor";

const STANDARD_NODES: &[(&str, u32, u32)] =
    &[("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Decides a boot.
///
/// # Errors
/// [`PlanError`] that names the resource at fault.
pub fn plan(spec: &ZoneSpec, args: &BootArgs, facts: &BootFacts) -> Result<BootPlan, PlanError> {
    let mut warnings = facts.notes.clone();
    if let Some(brand) = &facts.foreign_brand {
        return Err(PlanError::Unsupported(foreign_brand(brand)));
    }
    // Also in a boot for maintenance, which is to run what the host's administrator has put there.
    let closed = Profile::of(spec).map_err(PlanError::Unsupported)?;
    let profile = closed.filter(|_| !args.writable);
    let granted = privilege::granted(spec.props.text("limitpriv")).map_err(PlanError::Privileges)?;
    warnings.extend(granted.idle.iter().map(|(name, why)| format!("limitpriv: {name} has no effect: {why}")));
    let limits = limits::limits(spec, &facts.host).map_err(PlanError::Limits)?;
    warnings.extend(limits.warnings);
    let confinement = Confinement::of(spec, facts.kernel).map_err(PlanError::Confine)?;
    let counts = confine::counts(spec).map_err(PlanError::Confine)?;
    let trees = delegated(spec, facts)?;
    let mounts = mounts(spec, facts)?;
    let network = net::plan(spec, &facts.net)?;
    warnings.extend(network.warnings);
    let memory = order::memory(spec, profile);
    let own: Vec<&'static str> = memory.iter().map(|m| m.0).collect();
    let inherit = order::inherited(spec, &facts.linked, &own)?;
    let inherited = |dir: &str| inherited(spec, facts, dir);
    let order = order::order(inherit, mounts, &own, inherited);

    let spl = spl::decide(spec, facts.spl).map_err(PlanError::Unsupported)?;

    let mut steps = Vec::new();
    steps.extend(spl.step);
    if let Some(path) = &facts.cgroup {
        steps.push(BootStep::Cgroup { path: path.clone(), guarded: facts.guards_settings });
        if !limits.group.is_empty() {
            steps.push(BootStep::Limits { path: path.clone(), settings: limits.group });
        }
    }
    steps.push(BootStep::Process { locked: limits.locked, policy: limits.policy });
    if !limits.ipc.is_empty() {
        steps.push(BootStep::Ipc { settings: limits.ipc });
    }
    steps
        .extend(trees.iter().map(|(name, tree)| dataset::withdraw(name, tree, dataset::volmode(spec, name))));
    if !counts.is_empty() {
        steps.push(BootStep::Counts { limits: counts });
    }
    steps.push(BootStep::Namespaces { uid_map: facts.uid_map.clone(), gid_map: facts.gid_map.clone() });
    if !trees.is_empty() {
        steps.push(BootStep::Pin { run: facts.run.clone() });
    }
    for (name, _) in &trees {
        steps.push(BootStep::Delegate {
            dataset: name.clone(),
            locks: dataset::locks(spec, name),
            below: dataset::locks_below(spec, name),
        });
    }
    let hostname = facts.hostname.clone().unwrap_or_else(|| spec.name.to_string());
    // The files are the host's to write. A zone without a link may still have the addresses of one that was removed.
    if !network.links.is_empty() || facts.named {
        let addresses =
            network.links.iter().flat_map(|l| l.addresses.iter().map(ipnet::IpNet::addr)).collect();
        steps.push(BootStep::Names { root: facts.root.clone(), hostname: hostname.clone(), addresses });
    }
    // A root of its own system that inherits something else keeps its files.
    if spec.stored(ResourceKind::InheritPkgDir).iter().any(|r| r.text("dir") == Some("/usr")) {
        steps.push(BootStep::HostEtc { root: facts.root.clone(), hostname: hostname.clone() });
    }
    steps.push(BootStep::Root { path: facts.root.clone() });
    // Before anything is mounted below them.
    let parts = profile.into_iter().flat_map(|p| p.parts(&facts.present));
    steps.extend(parts.map(|p| BootStep::Part { dir: p.dir, writable: p.writable }));
    steps.extend(order.first.into_iter().map(inherited));
    steps.push(BootStep::Dev { nodes: nodes(spec, facts) });
    steps.extend(memory.into_iter().map(|(dir, mode, percent)| BootStep::Memory { dir, mode, percent }));
    let hidden = spl.hidden;
    let fixed = if facts.guards_settings { Vec::new() } else { vec![confine::SETTINGS_FOLDER] };
    warnings.extend(fixed.iter().map(|_| confine::UNGUARDED.to_owned()));
    let from_outside = !(hidden.is_empty() && fixed.is_empty());
    if from_outside {
        steps.push(BootStep::Proc { hidden, fixed });
    }
    steps.push(BootStep::Sys);
    steps.push(BootStep::Console);
    steps.extend(order.then);
    let init = init(args, facts);
    let built_in = matches!(init, BootStep::Init { program: InitProgram::BuiltIn, .. });
    // A /run that a resource gives is not ours to fill.
    if own.contains(&"/run") {
        steps.push(BootStep::Commands { ending: built_in });
        if built_in {
            steps.push(BootStep::Resolver);
        }
    }
    steps.extend(host_id(spec).map(|id| BootStep::HostId { id }));
    if let Some(profile) = profile {
        steps.push(BootStep::ReadOnly { profile: profile.name(), made: mount_points(&trees) });
    }
    // The last of the host's steps: process 1 goes on beside them, and whoever has one of the addresses has
    // had time to say so.
    steps.extend(network.links.into_iter().map(|link| BootStep::Link(Box::new(link))));
    steps.push(BootStep::HostName { name: hostname });
    steps.push(BootStep::Loopback);
    steps.push(BootStep::KernelFiles { proc: !from_outside, cgroup: facts.cgroup.is_some() });
    steps.push(BootStep::Pivot);
    steps.extend(dataset::mounts(trees.iter().map(|(_, tree)| *tree), closed));
    if !facts.kernel.filters {
        warnings.push(format!("system calls of the zone are not filtered: {}", confine::UNFILTERED));
    }
    // Of two filters that refuse a call, the one that was installed last says with which error.
    steps.push(BootStep::Confine(confinement));
    if !trees.is_empty() {
        // It takes a capability that the zone may have to give up.
        steps.push(BootStep::Guard);
    }
    // Also those that only a later kernel will know.
    let drop = (0..u64::BITS).filter(|n| granted.keep & 1 << n == 0).collect();
    steps.push(BootStep::Capabilities { drop });
    if facts.idle_systemd && args.init.is_none() {
        warnings.push(IDLE_SYSTEMD.to_owned());
    }
    steps.push(init);
    for word in &args.ignored {
        warnings.push(format!("Ignoring invalid boot arguments: {word}"));
    }
    Ok(BootPlan { steps, warnings })
}

/// Says that no zone of a brand runs here, and the ways out.
pub fn foreign_brand(brand: &str) -> String {
    format!(
        "brand '{brand}' cannot run on Linux; use 'set brand=linux', or let the host run it as linux: \
         zonecfg -z global 'set brand-aliases={brand}'"
    )
}

/// Returns the directories of the root that are mounted on when nothing can be made there any more: of two
/// datasets one below the other, that of the upper one.
fn mount_points(trees: &[(String, &dataset::FilesystemTree)]) -> Vec<String> {
    let dirs: Vec<String> = dataset::mounts(trees.iter().map(|(_, tree)| *tree), None)
        .into_iter()
        .filter_map(|step| if let BootStep::MountDataset { dir, .. } = step { Some(dir) } else { None })
        .collect();
    let within =
        |dir: &str| dirs.iter().any(|d| dir.strip_prefix(d.as_str()).is_some_and(|r| r.starts_with('/')));
    let own = profile::MOUNT_POINTS.iter().map(|d| (*d).to_owned());
    own.chain(dirs.iter().filter(|d| d.as_str() != "/" && !within(d)).cloned()).collect()
}

/// Returns the host id that the spec gives to the zone.
fn host_id(spec: &ZoneSpec) -> Option<u32> {
    let text = spec.props.text("hostid")?;
    let digits = text.strip_prefix("0x").or(text.strip_prefix("0X")).unwrap_or(text);
    u32::from_str_radix(digits, 16).ok()
}

/// Returns the mount of an inherited directory. Of one that a spec names twice, the word that opens less counts.
fn inherited(spec: &ZoneSpec, facts: &BootFacts, dir: &str) -> BootStep {
    let mut same = spec.stored(ResourceKind::InheritPkgDir).iter().filter(|r| r.text("dir") == Some(dir));
    let programs =
        same.all(inherit::runs_set_id).then(|| facts.programs.get(dir).cloned().unwrap_or_default());
    BootStep::Inherit { dir: dir.to_owned(), programs }
}

/// Returns the datasets that the zone gets, with what they are.
fn delegated<'a>(
    spec: &ZoneSpec,
    facts: &'a BootFacts,
) -> Result<Vec<(String, &'a dataset::FilesystemTree)>, PlanError> {
    let found = |name: &str| facts.delegations.get(name).unwrap_or(&dataset::DatasetLookup::Missing);
    if let Some(refusal) = dataset::check(spec, found, &facts.claims).into_iter().next() {
        return Err(refusal.into());
    }
    let tree = |name: String| match found(&name) {
        dataset::DatasetLookup::Filesystem(tree) => Some((name, &**tree)),
        _ => None,
    };
    Ok(dataset::names(spec).into_iter().filter_map(tree).collect())
}

fn mounts(spec: &ZoneSpec, facts: &BootFacts) -> Result<Vec<Mount>, PlanError> {
    let mut list: Vec<&Props> = spec.stored(ResourceKind::Fs).iter().collect();
    list.sort_by(|a, b| a.text("dir").cmp(&b.text("dir")));
    zfs::check_unique(list.iter().filter_map(|fs| zfs_fs(fs)))?;
    zfs::nobody_elses(spec.name.as_str(), list.iter().filter_map(|fs| zfs_fs(fs)), &facts.claims)?;
    list.into_iter().map(|fs| mount(fs, facts)).collect()
}

/// Returns mount point and dataset of an `fs` resource of type `zfs`.
pub fn zfs_fs(fs: &Props) -> Option<(&str, &str)> {
    (fs.text("type") == Some("zfs"))
        .then(|| (fs.text("dir").unwrap_or_default(), fs.text("special").unwrap_or_default()))
}

fn mount(fs: &Props, facts: &BootFacts) -> Result<Mount, PlanError> {
    let text = |name| fs.text(name).unwrap_or_default().to_owned();
    let (dir, special, typed) = (text("dir"), text("special"), text("type"));
    if let Some(what) = order::reserved_fs(&dir) {
        return Err(PlanError::ReservedDir(dir, what));
    }
    if options::is_forbidden(&typed) {
        return Err(PlanError::TypeNotAllowed { dir, fstype: typed });
    }
    let options = options::parse(&typed, fs.list("options"))
        .map_err(|source| PlanError::Option { dir: dir.clone(), source })?;
    if typed == "zfs" {
        let unasked = || zfs::DatasetFacts::Unknown("not looked at".into());
        let found = facts.datasets.get(&special).cloned().unwrap_or_else(unasked);
        let options = zfs::limited(options, zfs::check(&dir, &special, &found)?);
        return Ok(Mount {
            raw: None,
            dir,
            special,
            within: None,
            fstype: typed,
            source: MountSource::Zfs,
            options,
        });
    }
    let named = options.data.iter().filter_map(|(_, value)| value.as_deref()).flat_map(|v| v.split(':'));
    if let Some(path) = fs.text("raw").into_iter().chain(named).find(|p| facts.in_zones.contains(*p)) {
        return Err(PlanError::Unsupported(format!(
            "could not verify fs {dir}: {path} lies where a zone can write, which could put anything there; \
             choose a path outside"
        )));
    }
    let found = facts.specials.get(&special).cloned().unwrap_or(Special::Missing("not looked at".into()));
    let wrong = |found, needed| PlanError::WrongSpecial {
        dir: dir.clone(),
        special: special.clone(),
        found,
        fstype: typed.clone(),
        needed,
    };
    let source = match (typed.as_str(), found) {
        ("tmpfs", _) => MountSource::Tmpfs,
        // An overlay has no source of its own; its folders are options.
        ("overlay", _) => MountSource::Device,
        (_, Special::Missing(reason)) => return Err(PlanError::NoSpecial { dir, special, reason }),
        ("lofs", Special::Dir | Special::File) => MountSource::Bind,
        ("lofs", Special::Block) => return Err(wrong("a block device", "a directory or file")),
        ("lofs", Special::Other) => return Err(wrong("a special file", "a directory or file")),
        (_, Special::Block) => MountSource::Device,
        (_, Special::File) => MountSource::Image,
        (_, Special::Dir) => return Err(wrong("a directory", "a block device or an image file")),
        (_, Special::Other) => return Err(wrong("neither", "a block device or an image file")),
    };
    let fstype = options::linux_type(&typed).to_owned();
    let within = facts.within.get(&special).cloned();
    Ok(Mount { raw: fs.text("raw").map(str::to_owned), dir, special, within, fstype, source, options })
}

fn nodes(spec: &ZoneSpec, facts: &BootFacts) -> Vec<Node> {
    let standard = STANDARD_NODES.iter().chain(facts.fuse.then_some(&("fuse", 10, 229)));
    let mut nodes: Vec<Node> = standard
        .map(|(path, major, minor)| Node {
            path: (*path).into(),
            block: false,
            major: *major,
            minor: *minor,
            mode: 0o666,
        })
        .collect();
    // It comes with a dataset, whose guard looks at what is asked of it; without, it is left out under any name.
    let guarded = !dataset::names(spec).is_empty();
    let is_control = |node: &Node| !node.block && facts.control == Some((node.major, node.minor));
    if let Some((major, minor)) = facts.control.filter(|_| guarded) {
        nodes.push(Node { path: "zfs".into(), block: false, major, minor, mode: 0o666 });
    }
    for device in spec.stored(ResourceKind::Device) {
        for node in device.text("match").and_then(|m| facts.devices.get(m)).into_iter().flatten() {
            if (guarded || !is_control(node)) && nodes.iter().all(|n| n.path != node.path) {
                nodes.push(node.clone());
            }
        }
    }
    nodes
}

fn init(args: &BootArgs, facts: &BootFacts) -> BootStep {
    let program = match (&args.init, &facts.own_init) {
        (Some(path), _) | (None, Some(path)) => InitProgram::Own(path.clone()),
        (None, None) => InitProgram::BuiltIn,
    };
    let args = init_words(args, &program);
    BootStep::Init { program, args }
}

/// Returns the words that an init is started with.
pub fn init_words(args: &BootArgs, program: &InitProgram) -> Vec<String> {
    let mut words = Vec::new();
    if args.single_user {
        // systemd in a container drops each word that begins with '-'; sysvinit, OpenRC's and BusyBox's init know
        // this one as well.
        words.push(if *program == InitProgram::BuiltIn { "-s" } else { "single" }.to_owned());
    }
    if let Some(options) = &args.milestone {
        words.extend(["-m".to_owned(), options.clone()]);
    }
    words.extend(args.ignored.iter().cloned());
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Item, Value, ZoneName};

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
            p.steps
                .iter()
                .find_map(|s| if let BootStep::Capabilities { drop } = s { Some(drop.clone()) } else { None })
        };
        let drop = drop(&p).expect("every plan has the step");
        assert!(drop.contains(&13) && drop.contains(&16) && drop.contains(&63) && !drop.contains(&21));
    }
}
