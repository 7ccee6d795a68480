//! Decides the image of a zone from its spec and the facts of the machine.

use super::{
    BootChanges, BootFacts, DecidedZone, IdMaps, InheritedDir, InitCommand, PlanError, ProcCovers, RootPart,
    Special, ZoneCgroup, ZoneIdentity, ZoneImage, ZoneLimits, ZoneMounts, delegated,
};
use crate::plan::bootargs::BootArgs;
use crate::plan::confine::{self, Confinement};
use crate::plan::profile::Profile;
use crate::plan::step::{InitProgram, Mount, MountSource, Node};
use crate::plan::{dataset, inherit, limits, net, options, order, spl, zfs};
use crate::spec::privilege;
use crate::spec::schema::ResourceKind;
use crate::spec::{Props, ZoneSpec};

const STANDARD_NODES: &[(&str, u32, u32)] =
    &[("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// The warning for a zone whose root has systemd, on a host where that cannot run.
pub const IDLE_SYSTEMD: &str = "init of the zone's root is systemd, which needs control groups of version 2 as the \
     only ones, and this host has others: the zone boots with the built-in init, without the services of systemd; \
     boot the host with systemd.unified_cgroup_hierarchy=1, or see zoneadm doctor";

/// Decides the image of a zone.
///
/// # Errors
/// [`PlanError`] that names the resource at fault.
pub fn decide(spec: &ZoneSpec, args: &BootArgs, facts: &BootFacts) -> Result<DecidedZone, PlanError> {
    let mut warnings = facts.notes.clone();
    if let Some(brand) = &facts.foreign_brand {
        return Err(PlanError::Unsupported(foreign_brand(brand)));
    }
    // Checked for `boot -w` too, although its root is writable: an impossible profile is an error in any case.
    let closed = Profile::of(spec).map_err(PlanError::Unsupported)?;
    let profile = closed.filter(|_| !args.writable);
    let granted = privilege::granted(spec.props.text("limitpriv")).map_err(PlanError::Privileges)?;
    warnings.extend(granted.idle.iter().map(|(name, why)| format!("limitpriv: {name} has no effect: {why}")));
    let limits = limits::limits(spec, &facts.host).map_err(PlanError::Limits)?;
    warnings.extend(limits.warnings);
    let confinement = Confinement::of(spec, facts.kernel).map_err(PlanError::Confine)?;
    let counts = confine::counts(spec).map_err(PlanError::Confine)?;
    let trees = trees(spec, facts)?;
    let fs = mounts(spec, facts)?;
    let network = net::plan(spec, &facts.net)?;
    warnings.extend(network.warnings);
    let memory = order::memory(spec, profile);
    let own: Vec<&'static str> = memory.iter().map(|m| m.dir).collect();
    let inherit = order::inherited(spec, &facts.linked, &own)?;
    let order = order::order(inherit, fs, &own, |dir| inherited(spec, facts, dir));
    let spl = spl::decide(spec, facts.spl).map_err(PlanError::Unsupported)?;
    let fixed = if facts.guards_settings { Vec::new() } else { vec![confine::SETTINGS_FOLDER] };
    warnings.extend(fixed.iter().map(|_| confine::UNGUARDED.to_owned()));
    if !facts.kernel.filters {
        warnings.push(format!("system calls of the zone are not filtered: {}", confine::UNFILTERED));
    }
    if facts.idle_systemd && args.init.is_none() {
        warnings.push(IDLE_SYSTEMD.to_owned());
    }
    warnings.extend(args.ignored.iter().map(|word| format!("Ignoring invalid boot arguments: {word}")));
    let cgroup = facts.cgroup.clone();
    let parts = profile.into_iter().flat_map(|p| p.parts(&facts.present));
    let image = ZoneImage {
        ids: IdMaps { uid_map: facts.uid_map.clone(), gid_map: facts.gid_map.clone() },
        cgroup: cgroup.map(|path| ZoneCgroup { path, guarded: facts.guards_settings }),
        limits: ZoneLimits {
            group: limits.group,
            ipc: limits.ipc,
            locked: limits.locked,
            policy: limits.policy,
            counts,
        },
        datasets: delegated(spec),
        names: ZoneIdentity {
            host: facts.hostname.clone().unwrap_or_else(|| spec.name.to_string()),
            // A zone without a link may still have the addresses of a removed link in its hosts file.
            written: !network.links.is_empty() || facts.named,
            // A root of its own system that inherits something else keeps its files.
            follows_host: inherits(spec, "/usr"),
            host_id: host_id(spec),
        },
        mounts: ZoneMounts {
            root: facts.root.clone(),
            parts: parts.map(|p| RootPart { dir: p.dir, writable: p.writable }).collect(),
            first: order.first.into_iter().map(|dir| inherited(spec, facts, dir)).collect(),
            memory,
            then: order.then,
        },
        nodes: nodes(spec, facts),
        covers: ProcCovers { hidden: spl.hidden, fixed },
        links: network.links,
        profile,
        confinement,
        capabilities: granted.keep,
        init: init(args, facts),
    };
    let withdraw = |(name, tree): &(String, &dataset::FilesystemTree)| {
        dataset::withdraw(name, tree, dataset::volmode(spec, name))
    };
    let at_boot = BootChanges {
        run: facts.run.clone(),
        first: spl.step,
        withdraw: trees.iter().map(withdraw).collect(),
        mounts: dataset::mounts(trees.iter().map(|(_, tree)| *tree), closed),
    };
    Ok(DecidedZone { image, at_boot, warnings })
}

/// Says that no zone of a brand runs here, and the ways out.
pub fn foreign_brand(brand: &str) -> String {
    format!(
        "brand '{brand}' cannot run on Linux; use 'set brand=linux', or let the host run it as linux: \
         zonecfg -z global 'set brand-aliases={brand}'"
    )
}

/// Says whether a spec inherits a directory.
fn inherits(spec: &ZoneSpec, dir: &str) -> bool {
    spec.stored(ResourceKind::InheritPkgDir).iter().any(|r| r.text("dir") == Some(dir))
}

/// Returns the host id that the spec gives to the zone.
fn host_id(spec: &ZoneSpec) -> Option<u32> {
    let text = spec.props.text("hostid")?;
    let digits = text.strip_prefix("0x").or(text.strip_prefix("0X")).unwrap_or(text);
    u32::from_str_radix(digits, 16).ok()
}

/// Returns the mount of an inherited directory. When a spec names it twice, the stricter option counts.
fn inherited(spec: &ZoneSpec, facts: &BootFacts, dir: &str) -> InheritedDir {
    let mut same = spec.stored(ResourceKind::InheritPkgDir).iter().filter(|r| r.text("dir") == Some(dir));
    let programs =
        same.all(inherit::runs_set_id).then(|| facts.programs.get(dir).cloned().unwrap_or_default());
    InheritedDir { dir: dir.to_owned(), programs }
}

/// Returns the datasets that the zone gets, with their kinds.
fn trees<'a>(
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
    zfs::check_not_delegated(spec.name.as_str(), list.iter().filter_map(|fs| zfs_fs(fs)), &facts.claims)?;
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
    // The node comes with a dataset, whose guard checks the requests to it; without a dataset, it is left out under
    // any name.
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

fn init(args: &BootArgs, facts: &BootFacts) -> InitCommand {
    let program = match (&args.init, &facts.own_init) {
        (Some(path), _) | (None, Some(path)) => InitProgram::Own(path.clone()),
        (None, None) => InitProgram::BuiltIn,
    };
    let args = init_words(args, &program);
    InitCommand { program, args }
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
