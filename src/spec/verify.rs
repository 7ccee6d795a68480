//! Checks of a spec as such, without a look at the machine: those of `zonecfg verify` and of every commit. Whether
//! paths, links and datasets exist is checked by `zoneadm verify`.

use std::collections::HashSet;

use super::check::check_attr;
use super::schema::{self, Honour, PropDef, ResourceDef, ResourceKind as R};
use super::value::ByteSize;
use super::{Props, ZoneSpec, words};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The spec can be saved; something in it will not work as written.
    Warning,
    /// The spec cannot be saved.
    Error,
}

/// The class of a finding, with the text of the Solaris library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FindingReason {
    /// A property that the zone must have.
    #[error("Required resource missing")]
    Resource,
    /// A property that a resource must have.
    #[error("Required property missing")]
    Property,
    /// Settings that exclude each other.
    #[error("Incompatible settings")]
    Incompatible,
    /// A value that cannot be.
    #[error("Specified property is invalid")]
    Invalid,
    /// An open resource scope.
    #[error("Insufficient specification")]
    Insufficient,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecFinding {
    /// How bad it is.
    pub severity: Severity,
    /// The text, without prefix.
    pub text: String,
    /// Its class.
    pub reason: FindingReason,
    /// The spec can be saved, but `zoneadm` neither installs nor boots the zone: a warning of `zonecfg verify`
    /// that `zoneadm verify` reports as an error in words of its own.
    pub keeps_from_booting: bool,
}

struct SpecFindings(Vec<SpecFinding>);

impl SpecFindings {
    fn error(&mut self, reason: FindingReason, text: impl Into<String>) {
        self.push(Severity::Error, reason, text.into(), true);
    }

    /// Warns of settings that will not work as written.
    fn warn(&mut self, text: impl Into<String>) {
        self.push(Severity::Warning, FindingReason::Invalid, text.into(), false);
    }

    /// Warns of settings that can be saved, but with which no zone boots here.
    fn warn_of_obstacle(&mut self, text: impl Into<String>) {
        self.push(Severity::Warning, FindingReason::Invalid, text.into(), true);
    }

    fn push(&mut self, severity: Severity, reason: FindingReason, text: String, keeps_from_booting: bool) {
        self.0.push(SpecFinding { severity, text, reason, keeps_from_booting });
    }
}

/// Checks a spec and returns everything that is wrong with it, not only the first.
///
/// The facts of the host that the checks need.
pub struct HostKnows<'a> {
    /// Says whether it knows a login name.
    pub is_user: &'a dyn Fn(&str) -> bool,
    /// Says whether it runs zones of a brand.
    pub runs_brand: &'a dyn Fn(&str) -> bool,
}

/// Checks a spec and returns everything that is wrong with it, not only the first.
pub fn verify(spec: &ZoneSpec, host: &HostKnows<'_>) -> Vec<SpecFinding> {
    let mut found = SpecFindings(Vec::new());
    // A kernel zone is on disks of its own.
    let needs_path = !spec.name.is_global() && spec.global("brand").as_deref() != Some("solaris-kz");
    if needs_path && spec.zonepath().is_none() {
        found.error(FindingReason::Resource, "zonepath not specified");
    }
    verify_globals(spec, host, &mut found);
    for kind in R::all() {
        let list = spec.view(kind);
        verify_list(kind, &list, &mut found);
        verify_honour(kind.def(), &list, &mut found);
        for inner in kind.inner() {
            verify_honour(inner.def(), &spec.everywhere(inner), &mut found);
        }
    }
    verify_net(spec, &mut found);
    for (subject, why) in obstacles(spec) {
        found.warn_of_obstacle(format!("{subject} keeps the zone from booting: {why}"));
    }
    verify_cpu(spec, &mut found);
    verify_memory(spec, &mut found);
    for attr in spec.stored(R::Attr) {
        if let (Some(kind), Some(value)) = (attr.text("type"), attr.text("value"))
            && let Err(e) = check_attr(kind, value)
        {
            found.error(FindingReason::Invalid, e.to_string());
        }
    }
    for flags in spec.stored(R::SecurityFlags) {
        for text in security_flag_errors(flags) {
            found.error(FindingReason::Invalid, text);
        }
    }
    for user in spec.stored(R::Admin).iter().filter_map(|a| a.text("user")) {
        if !(host.is_user)(user) {
            found.warn(format!("user {user} is not a valid username"));
        }
    }
    verify_idmap(spec, &mut found);
    found.0
}

fn verify_globals(spec: &ZoneSpec, host: &HostKnows<'_>, found: &mut SpecFindings) {
    if let Some(brand) = spec.props.text("brand").filter(|b| !(host.runs_brand)(b)) {
        found.warn_of_obstacle(format!(
            "brand '{brand}' cannot run on this host; the zone can be kept but not booted"
        ));
    }
    if let Some(list) = spec.props.text("limitpriv") {
        for word in list.split(',') {
            if !words::is_privilege(word.trim().trim_start_matches(['!', '-'])) {
                found.warn_of_obstacle(format!("{list}: invalid privilege: {}", word.trim()));
            }
        }
    }
    for def in schema::globals().iter().filter(|d| d.name != "zonename") {
        let set =
            if def.alias.is_some() { spec.alias(def).is_some() } else { spec.props.get(def.name).is_some() };
        if set {
            warn_honour(def.name, def.honour, found);
        }
    }
}

fn warn_honour(subject: &str, honour: Honour, found: &mut SpecFindings) {
    match honour {
        Honour::Yes => (),
        Honour::Ignored(why) => found.warn(format!("{subject} has no effect: {why}")),
        Honour::Refused(why) => {
            found.warn_of_obstacle(format!("{subject} keeps the zone from booting: {why}"));
        }
    }
}

fn verify_honour(def: &ResourceDef, list: &[Props], found: &mut SpecFindings) {
    if list.is_empty() {
        return;
    }
    warn_honour(&def.title(), def.honour, found);
    for prop in def.props.iter().filter(|p| p.honour != def.honour) {
        if list.iter().any(|props| props.get(prop.name).is_some()) {
            warn_honour(&format!("{} {}", def.title(), prop.name), prop.honour, found);
        }
    }
}

/// Returns the required properties that a resource lacks.
pub fn missing<'a>(
    def: &'static ResourceDef,
    props: &'a Props,
) -> impl Iterator<Item = &'static PropDef> + use<'a> {
    let cpus = ["cpus", "cores", "sockets"].iter().any(|p| props.get(p).is_some());
    // A disk of a kernel zone has no node in /dev.
    let disk = def.kind == R::Device && props.get("storage").is_some();
    def.props.iter().filter(move |p| {
        if disk && p.name == "match" {
            return false;
        }
        let required = p.required || (def.kind == R::DedicatedCpu && p.name == "ncpus" && !cpus);
        required && props.get(p.name).is_none()
    })
}

/// Checks the resources of a kind that stand in one place, with those that stand in them.
fn verify_list(kind: R, list: &[Props], found: &mut SpecFindings) {
    verify_required(kind.def(), list, found);
    verify_unique(kind, list, found);
    for inner in kind.inner() {
        for props in list {
            verify_list(inner, props.inner(inner), found);
        }
    }
}

fn verify_required(def: &'static ResourceDef, list: &[Props], found: &mut SpecFindings) {
    for props in list {
        for prop in missing(def, props) {
            found.error(FindingReason::Property, format!("{}: {} not specified", def.title(), prop.name));
        }
    }
}

/// Returns what makes a resource unique, as one text that is equal for clashing resources only.
pub fn unique_key(kind: R, props: &Props) -> String {
    let mut key = String::new();
    for def in kind.def().keys() {
        key.push_str(props.text(def.name).or(def.default).unwrap_or(""));
        key.push('\n');
    }
    key
}

/// Says whether a resource can clash with another one. A nested resource needs no key.
pub fn can_clash(kind: R, props: &Props) -> bool {
    kind.def().within.is_none() || kind.def().keys().any(|def| props.get(def.name).is_some())
}

/// Returns the complaint about a resource whose key is taken.
pub fn duplicate_text(kind: R, props: &Props) -> String {
    let name = kind.name();
    let article = if name.starts_with(['a', 'i']) { "An" } else { "A" };
    let mut keys: Vec<_> = kind
        .def()
        .keys()
        .filter(|d| kind != R::Net || d.name != "defrouter")
        .filter_map(|d| props.text(d.name).or(d.default).map(|t| (d.name, t)))
        .collect();
    if kind == R::Net {
        keys.sort_by_key(|(n, _)| *n != "physical");
    }
    let keys: Vec<_> = keys.iter().map(|(n, t)| format!("{n} '{t}'")).collect();
    format!("{article} {name} resource with the {} already exists.", keys.join(", and "))
}

fn verify_unique(kind: R, list: &[Props], found: &mut SpecFindings) {
    // A directory that is inherited twice is inherited once.
    if list.len() < 2 || kind == R::InheritPkgDir {
        return;
    }
    if kind.def().singleton {
        found.error(FindingReason::Invalid, format!("The {kind} resource already exists."));
        return;
    }
    let mut seen = HashSet::with_capacity(list.len());
    for props in list {
        if can_clash(kind, props) && !seen.insert(unique_key(kind, props)) {
            found.error(FindingReason::Invalid, duplicate_text(kind, props));
        }
    }
}

fn verify_net(spec: &ZoneSpec, found: &mut SpecFindings) {
    let exclusive = spec.global("ip-type").as_deref() == Some("exclusive");
    let nets = spec.stored(R::Net);
    let guarded: HashSet<_> = nets
        .iter()
        .filter(|n| n.text("allowed-address").is_some())
        .filter_map(|n| n.text("physical"))
        .collect();
    for net in nets {
        let (address, allowed) = (net.text("address"), net.text("allowed-address"));
        if !exclusive {
            if address.is_none() {
                found.error(FindingReason::Property, "net: address not specified");
            }
            if allowed.is_some() {
                let text = "net: allowed-address cannot be specified for a shared IP type";
                found.error(FindingReason::Incompatible, text);
            }
            continue;
        }
        if address.is_some() {
            found.error(
                FindingReason::Incompatible,
                "net: address cannot be specified for an exclusive IP type",
            );
        }
        let physical = net.text("physical").unwrap_or("");
        if net.text("defrouter").is_some() && !guarded.contains(physical) {
            found.error(
                FindingReason::Incompatible,
                format!(
                    "net: defrouter for {physical} cannot be specified without allowed-address for an \
                     exclusive IP type"
                ),
            );
        }
    }
}

/// Longest name of a file in bytes (`NAME_MAX`), and longest path with its end (`PATH_MAX`), of limits.h(0p).
const NAME_MAX: usize = 255;
const PATH_MAX: usize = 4096;

/// Returns the settings of a spec that no boot can carry out, each with the reason.
pub fn obstacles(spec: &ZoneSpec) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for kind in [R::Fs, R::InheritPkgDir] {
        for dir in spec.stored(kind).iter().filter_map(|r| r.text("dir")) {
            if let Some(why) = bad_mount_point(dir) {
                out.push((format!("{} {dir}", kind.name()), why));
            }
        }
    }
    let physical: HashSet<_> = spec.stored(R::Net).iter().filter_map(|n| n.text("physical")).collect();
    for anet in spec.stored(R::Anet) {
        let name = anet.text("linkname").unwrap_or("net0");
        if physical.contains(name) {
            let why =
                format!("net physical={name} gives a link of that name already; choose another linkname");
            out.push((format!("anet linkname={name}"), why));
        }
    }
    out
}

/// Says why nothing can be mounted at a path, whatever there is.
fn bad_mount_point(dir: &str) -> Option<String> {
    let names = || dir.split('/').filter(|name| !name.is_empty());
    if names().any(|name| name == "..") {
        return Some("a mount point has no '..'; write the directory that is meant".to_owned());
    }
    if let Some(name) = names().find(|name| name.len() > NAME_MAX) {
        let start: String = name.chars().take(16).collect();
        let (bytes, most) = (name.len(), NAME_MAX);
        return Some(format!("the name '{start}…' has {bytes} bytes, and a name can have {most}"));
    }
    let (bytes, most) = (dir.len(), PATH_MAX - 1);
    (bytes > most).then(|| format!("the path has {bytes} bytes, and a path can have {most}"))
}

fn verify_cpu(spec: &ZoneSpec, found: &mut SpecFindings) {
    let has = |name: &str| spec.stored(R::Rctl).iter().any(|r| r.text("name") == Some(name));
    let dedicated = !spec.stored(R::DedicatedCpu).is_empty();
    if has("zone.cpu-shares") {
        if dedicated {
            let text = "rctl zone.cpu-shares and dedicated-cpu are incompatible.";
            found.error(FindingReason::Incompatible, text);
        }
        if let Some(class) = spec.props.text("scheduling-class").filter(|c| *c != "FSS") {
            let text = format!("WARNING: rctl zone.cpu-shares and scheduling-class={class} are incompatible");
            found.error(FindingReason::Incompatible, text);
        }
    }
    if has("zone.cpu-cap") && dedicated {
        found.error(FindingReason::Incompatible, "rctl zone.cpu-cap and the dedicated-cpu are incompatible.");
    }
    if dedicated && spec.props.text("pool").is_some() {
        let text = "The pool property is already set.  A persistent pool is incompatible with\nthe \
                    dedicated-cpu resource.";
        found.error(FindingReason::Incompatible, text);
    }
}

/// Says whether more memory may be locked than there may be.
pub fn locks_too_much(memory: &Props) -> bool {
    let size = |name| memory.text(name).and_then(|t| ByteSize::parse(t).ok());
    matches!((size("locked"), size("physical")), (Some(locked), Some(physical)) if locked > physical)
}

fn verify_memory(spec: &ZoneSpec, found: &mut SpecFindings) {
    if spec.view(R::CappedMemory).iter().any(locks_too_much) {
        let text = "The locked cap must be less than or equal to the physical cap.";
        found.error(FindingReason::Incompatible, text);
    }
}

/// Returns the contradictions between the three lists of security flags; unset ones set no bound.
pub fn security_flag_errors(flags: &Props) -> Vec<&'static str> {
    let bits = |name| flags.text(name).and_then(words::security_flags);
    let (lower, default, upper) = (bits("lower"), bits("default"), bits("upper"));
    let within = |inner: Option<u8>, outer: Option<u8>| match (inner, outer) {
        (Some(inner), Some(outer)) => inner & !outer == 0,
        _ => true,
    };
    let mut errors = Vec::new();
    if !within(default, upper) {
        errors.push("default secflags must be within the upper limit");
    }
    if !within(lower, default) {
        errors.push("default secflags must be above the lower limit");
    }
    if !within(lower, upper) {
        errors.push("lower secflags must be within the upper limit");
    }
    errors
}

fn verify_idmap(spec: &ZoneSpec, found: &mut SpecFindings) {
    let ranges = spec.stored(R::Idmap);
    if ranges.is_empty() {
        return;
    }
    for sort in ["uid", "gid"] {
        let mine = |p: &&Props| p.text("type").is_none_or(|t| t == "both" || t == sort);
        let number = |p: &Props, name| p.text(name).and_then(|t| t.parse::<u64>().ok()).unwrap_or(0);
        let list: Vec<_> = ranges
            .iter()
            .filter(mine)
            .map(|p| (number(p, "start"), number(p, "target"), number(p, "count")))
            .collect();
        if !list.iter().any(|(start, _, count)| *start == 0 && *count > 0) {
            found.error(FindingReason::Incompatible, format!("idmap: {sort} 0 is not mapped"));
        }
        for (start, target, count) in &list {
            // The last id, 4294967295, means "no id" to the kernel.
            if start.max(target) + count > u64::from(u32::MAX) {
                let text = format!("idmap: {count} {sort}s from {start} to {target} go beyond the last id");
                found.error(FindingReason::Invalid, text);
            }
        }
        for (side, pick) in [("in the zone", 0), ("on the host", 1)] {
            let mut sorted: Vec<_> =
                list.iter().map(|(start, target, count)| ([*start, *target][pick], *count)).collect();
            sorted.sort_unstable();
            for pair in sorted.windows(2) {
                if pair[0].0 + pair[0].1 > pair[1].0 {
                    let text = format!("idmap: ranges of {sort}s overlap {side} at {}", pair[1].0);
                    found.error(FindingReason::Incompatible, text);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::ZoneName;
    use crate::spec::value::Value;

    fn spec() -> ZoneSpec {
        let mut spec = ZoneSpec::new(ZoneName::new("zion").expect("a name"));
        set(&mut spec, "zonepath", "/zones/zion");
        spec
    }

    fn set(spec: &mut ZoneSpec, name: &str, text: &str) {
        let def = schema::global(name).expect(name);
        if def.alias.is_some() {
            spec.set_alias(def, text).expect(text);
        } else {
            spec.props.set(def, Value::simple(text));
        }
    }

    fn add(spec: &mut ZoneSpec, kind: R, props: &[(&str, &str)]) {
        let mut resource = Props::default();
        for (name, text) in props {
            let def = kind.def().prop(name).expect(name);
            let value = def.check(&Value::simple(*text), Some(kind)).expect(text);
            resource.set(def, value);
        }
        spec.stored_mut(kind).push(resource);
    }

    fn texts(spec: &ZoneSpec) -> Vec<String> {
        let prefix = |s| if s == Severity::Error { "E" } else { "W" };
        let knows = HostKnows { is_user: &|u| u == "root", runs_brand: &|b| b == "linux" };
        verify(spec, &knows).iter().map(|f| format!("{} {}", prefix(f.severity), f.text)).collect()
    }

    #[test]
    fn a_good_spec_has_no_findings() {
        let mut spec = spec();
        add(&mut spec, R::Net, &[("address", "192.0.2.1/24"), ("physical", "eth0")]);
        add(&mut spec, R::Admin, &[("user", "root"), ("auths", "login")]);
        assert_eq!(texts(&spec), Vec::<String>::new());
    }

    #[test]
    fn network_rules_follow_the_ip_type() {
        let mut spec = spec();
        add(&mut spec, R::Net, &[("physical", "eth0"), ("allowed-address", "192.0.2.1/24")]);
        assert_eq!(
            texts(&spec),
            [
                "E net: address not specified",
                "E net: allowed-address cannot be specified for a shared IP type"
            ]
        );
        set(&mut spec, "ip-type", "exclusive");
        assert!(texts(&spec).is_empty());
        add(&mut spec, R::Net, &[("physical", "eth1"), ("address", "192.0.2.2"), ("defrouter", "192.0.2.9")]);
        assert_eq!(
            texts(&spec),
            [
                "E net: address cannot be specified for an exclusive IP type",
                "E net: defrouter for eth1 cannot be specified without allowed-address for an exclusive IP type"
            ]
        );
    }

    #[test]
    fn cpu_and_memory_clashes() {
        let mut spec = spec();
        set(&mut spec, "cpu-shares", "10");
        set(&mut spec, "scheduling-class", "TS");
        set(&mut spec, "pool", "web");
        add(&mut spec, R::DedicatedCpu, &[("importance", "1")]);
        spec.set_alias(R::CappedCpu.def().prop("ncpus").expect("ncpus"), "1").expect("cap");
        spec.set_alias(R::CappedMemory.def().prop("locked").expect("locked"), "2G").expect("cap");
        add(&mut spec, R::CappedMemory, &[("physical", "1G")]);
        let texts = texts(&spec);
        for text in [
            "E dedicated-cpu: ncpus not specified",
            "E rctl zone.cpu-shares and dedicated-cpu are incompatible.",
            "E WARNING: rctl zone.cpu-shares and scheduling-class=TS are incompatible",
            "E rctl zone.cpu-cap and the dedicated-cpu are incompatible.",
            "E The locked cap must be less than or equal to the physical cap.",
        ] {
            assert!(texts.iter().any(|t| t == text), "{text} is not in {texts:?}");
        }
    }

    #[test]
    fn what_linux_cannot_do_is_named() {
        let mut spec = spec();
        set(&mut spec, "brand", "lx");
        set(&mut spec, "tenant", "blue");
        set(&mut spec, "limitpriv", "default,sys_tiem");
        add(&mut spec, R::Admin, &[("user", "nobody-here"), ("auths", "login")]);
        add(&mut spec, R::Dataset, &[("name", "tank/a"), ("alias", "a")]);
        let texts = texts(&spec);
        assert_eq!(texts.len(), 5, "{texts:?}");
        spec.props.set(schema::global("global-time").expect("a row"), Value::simple("true"));
        add(&mut spec, R::Fs, &[("dir", "/a/../b"), ("special", "/srv"), ("type", "lofs")]);
        let knows = HostKnows { is_user: &|_| false, runs_brand: &|_| false };
        let found = verify(&spec, &knows);
        let kept: Vec<_> = found.iter().filter(|f| f.keeps_from_booting).map(|f| f.text.as_str()).collect();
        assert_eq!(
            kept,
            [
                "brand 'lx' cannot run on this host; the zone can be kept but not booted",
                "default,sys_tiem: invalid privilege: sys_tiem",
                "global-time keeps the zone from booting: a zone cannot set the host's clock",
                "fs /a/../b keeps the zone from booting: a mount point has no '..'; write the directory that is \
                 meant",
            ]
        );
        assert_eq!(found.len(), 7, "the other three do not: {found:?}");
        assert!(texts.iter().all(|t| t.starts_with("W ")), "{texts:?}");
    }

    #[test]
    fn idmap_rules() {
        let mut half = spec();
        add(&mut half, R::Idmap, &[("type", "uid"), ("start", "0"), ("target", "1000"), ("count", "10")]);
        assert_eq!(texts(&half), ["E idmap: gid 0 is not mapped"]);
        let mut overlap = spec();
        add(&mut overlap, R::Idmap, &[("start", "0"), ("target", "1000"), ("count", "10")]);
        add(&mut overlap, R::Idmap, &[("start", "20"), ("target", "1009"), ("count", "10")]);
        assert_eq!(
            texts(&overlap),
            [
                "E idmap: ranges of uids overlap on the host at 1009",
                "E idmap: ranges of gids overlap on the host at 1009"
            ]
        );
        let mut far = spec();
        add(&mut far, R::Idmap, &[("start", "0"), ("target", "4294967290"), ("count", "10")]);
        assert_eq!(texts(&far).len(), 2);
    }

    #[test]
    fn twice_the_same_key() {
        let mut spec = spec();
        for _ in 0..2 {
            add(&mut spec, R::Attr, &[("name", "a"), ("type", "int"), ("value", "1")]);
            add(&mut spec, R::Net, &[("address", "192.0.2.1"), ("physical", "eth0")]);
        }
        add(&mut spec, R::Attr, &[("name", "b"), ("type", "int"), ("value", "x")]);
        assert_eq!(
            texts(&spec),
            [
                "E A net resource with the physical 'eth0', and address '192.0.2.1' already exists.",
                "E An attr resource with the name 'a' already exists.",
                "E invalid attr value for type=int"
            ]
        );
    }

    #[test]
    fn flags_and_controls() {
        let mut spec = spec();
        add(&mut spec, R::SecurityFlags, &[("lower", "aslr"), ("default", "none"), ("upper", "none")]);
        add(&mut spec, R::Rctl, &[("name", "zone.max-swap")]);
        assert_eq!(
            texts(&spec),
            [
                "E rctl: value not specified",
                "E default secflags must be above the lower limit",
                "E lower secflags must be within the upper limit"
            ]
        );
    }
}
