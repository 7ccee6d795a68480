//! Limits of a zone: whether this host has what enforces them.

use super::Findings;
use crate::spec::schema::ResourceKind;
use crate::spec::{ZoneSpec, schema, words};
use crate::sys::cgroup;

/// The cgroup v2 controller that each control needs; those that are not here need none.
const CONTROLLERS: [(&str, &str); 8] = [
    ("zone.max-lwps", "pids"),
    ("zone.max-processes", "pids"),
    ("zone.cpu-cap", "cpu"),
    ("zone.cpu-shares", "cpu"),
    ("zone.cpu-baseline", "cpu"),
    ("zone.cpu-burst-time", "cpu"),
    ("zone.max-swap", "memory"),
    ("zone.max-physical-memory", "memory"),
];

pub fn check(spec: &ZoneSpec, found: &mut Findings) {
    let mut wanted: Vec<(String, &str)> = Vec::new();
    for name in spec.stored(ResourceKind::Rctl).iter().filter_map(|r| r.text("name")) {
        if !words::RCTLS.contains(&name) {
            found.warn(format!("WARNING: Ignoring unrecognized rctl '{name}'."));
            continue;
        }
        if let Some((_, controller)) = CONTROLLERS.iter().find(|(n, _)| *n == name) {
            wanted.push((subject(name), controller));
        }
    }
    if spec.stored(ResourceKind::CappedMemory).iter().any(|m| m.text("physical").is_some()) {
        wanted.push(("capped-memory physical".to_owned(), "memory"));
    }
    for cpu in spec.stored(ResourceKind::DedicatedCpu) {
        wanted.push(("dedicated-cpu".to_owned(), "cpuset"));
        let least = cpu.text("ncpus").and_then(|n| n.split('-').next()).and_then(|n| n.parse::<usize>().ok());
        let here = std::thread::available_parallelism().map_or(1, usize::from);
        if let Some(least) = least.filter(|n| *n > here) {
            found
                .error(format!("could not verify dedicated-cpu: ncpus is {least}, and this host has {here}"));
        }
    }
    if let Some(pool) = spec.props.text("pool") {
        wanted.push((format!("pool '{pool}'"), "cpuset"));
    }
    if wanted.is_empty() {
        return;
    }
    let available = cgroup::mount_point()
        .and_then(|m| std::fs::read_to_string(m.join("cgroup.controllers")).ok())
        .unwrap_or_default();
    for (subject, controller) in wanted {
        if !available.split_whitespace().any(|c| c == controller) {
            found.error(format!(
                "could not verify {subject}: this host has no cgroup v2 controller '{controller}'; boot it with \
                 'systemd.unified_cgroup_hierarchy=1 cgroup_no_v1=all', or remove the limit"
            ));
        }
    }
}

/// Names a control as the person has set it.
fn subject(rctl: &str) -> String {
    match schema::alias_of(rctl) {
        Some((Some(kind), def)) => format!("{kind} {}", def.name),
        Some((None, def)) => def.name.to_owned(),
        None => format!("rctl {rctl}"),
    }
}
