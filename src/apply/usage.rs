//! The use that running zones make of the machine, and their limits. Reads only.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::paths::Root;
use super::running::{self, Running};
use crate::sys::cgroup;
use crate::sys::made;

/// The counters of one zone, or of the host, at one moment. None: this host does not count it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Cpu time, microseconds.
    pub cpu: Option<u64>,
    /// Most cpu time that it may use, in hundredths of a cpu.
    pub cpu_cap: Option<u64>,
    /// Memory in use, bytes.
    pub memory: Option<u64>,
    /// Most memory that it may use, bytes.
    pub memory_cap: Option<u64>,
    /// Swap in use, bytes.
    pub swap: Option<u64>,
    /// Most swap that it may use, bytes.
    pub swap_cap: Option<u64>,
    /// Processes and threads.
    pub tasks: Option<u64>,
    /// Most of them.
    pub tasks_cap: Option<u64>,
    /// Bytes received by all interfaces but the loopback.
    pub received: Option<u64>,
    /// Bytes sent.
    pub sent: Option<u64>,
    /// Bytes read from block devices.
    pub read: Option<u64>,
    /// Bytes written.
    pub written: Option<u64>,
}

/// The counters of all zones at one moment.
#[derive(Clone, Debug)]
pub struct Sample {
    when: Instant,
    /// By name; the host first, as `global`.
    zones: Vec<(String, u64, Counters)>,
}

/// The use of a zone between two moments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Name of the zone.
    pub zone: String,
    /// Cpu time used, in hundredths of a cpu.
    pub cpu: Option<u64>,
    /// Bytes a second received, sent, read and written.
    pub received: Option<u64>,
    /// See above.
    pub sent: Option<u64>,
    /// See above.
    pub read: Option<u64>,
    /// See above.
    pub written: Option<u64>,
    /// The counters at the second look.
    pub now: Counters,
}

impl Sample {
    /// Looks at the host and its running zones.
    pub fn take(root: &Root) -> Self {
        let mut zones = vec![("global".to_owned(), 0, host())];
        let running = running::all(root);
        zones.extend(running.iter().map(|(name, r)| (name.to_string(), r.init_start, counters(r))));
        Self { when: Instant::now(), zones }
    }

    /// Returns the use since an earlier moment. A zone that was booted since counts from its boot.
    pub fn since(&self, before: &Self) -> Vec<Usage> {
        let took = self.when.duration_since(before.when).max(Duration::from_micros(1));
        let old: BTreeMap<_, _> = before.zones.iter().map(|(n, id, c)| ((n, *id), c)).collect();
        let none = Counters { cpu: Some(0), ..Counters::default() };
        self.zones
            .iter()
            .map(|(name, id, now)| {
                let old = old.get(&(name, *id)).copied().unwrap_or(&none);
                let rate = |new: Option<u64>, old: Option<u64>| {
                    let bytes = new?.saturating_sub(old.unwrap_or(0));
                    u64::try_from(u128::from(bytes) * 1_000_000 / took.as_micros()).ok()
                };
                Usage {
                    zone: name.clone(),
                    // Microseconds a second are millionths of a cpu.
                    cpu: rate(now.cpu, old.cpu).map(|c| (c + 5_000) / 10_000),
                    received: rate(now.received, old.received),
                    sent: rate(now.sent, old.sent),
                    read: rate(now.read, old.read),
                    written: rate(now.written, old.written),
                    now: now.clone(),
                }
            })
            .collect()
    }
}

/// Reads a file that holds one number; `max` is none.
fn number(path: &Path) -> Option<u64> {
    made::read(path).ok()?.trim().parse().ok()
}

/// Returns the value behind a key of a file with lines of key and value.
fn keyed(path: &Path, key: &str) -> Option<u64> {
    let text = made::read(path).ok()?;
    text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

fn counters(running: &Running) -> Counters {
    let mut found =
        running.cgroup.as_ref().map_or_else(Counters::default, |group| of_group(Path::new(group)));
    let net = made::read(format!("/proc/{}/net/dev", running.init)).unwrap_or_default();
    (found.received, found.sent) = traffic(&net);
    found
}

fn of_group(group: &Path) -> Counters {
    let (read, written) = disk(&made::read(group.join("io.stat")).unwrap_or_default());
    let has_io = group.join("io.stat").exists();
    Counters {
        cpu: keyed(&group.join("cpu.stat"), "usage_usec"),
        cpu_cap: made::read(group.join("cpu.max")).ok().and_then(|t| quota(&t)),
        memory: number(&group.join("memory.current")).or_else(|| resident(group)),
        memory_cap: number(&group.join("memory.max")),
        swap: number(&group.join("memory.swap.current")),
        swap_cap: number(&group.join("memory.swap.max")),
        tasks: number(&group.join("pids.current")).or_else(|| tasks(group)),
        tasks_cap: number(&group.join("pids.max")),
        read: has_io.then_some(read),
        written: has_io.then_some(written),
        ..Counters::default()
    }
}

/// Reads `cpu.max`: quota and period, in microseconds; `max` is no quota.
fn quota(text: &str) -> Option<u64> {
    let mut words = text.split_whitespace();
    let (quota, period): (u64, u64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    quota.checked_mul(100)?.checked_div(period)
}

/// Visits a group and those below it. A zone may make thousands.
fn groups(group: &Path, visit: &mut dyn FnMut(&Path)) {
    visit(group);
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            groups(&entry.path(), visit);
        }
    }
}

/// Counts threads, where the kernel keeps no such number.
fn tasks(group: &Path) -> Option<u64> {
    let mut count = None;
    groups(group, &mut |g| {
        if let Ok(text) = made::read(g.join("cgroup.threads")) {
            count = Some(count.unwrap_or(0) + text.lines().count() as u64);
        }
    });
    count
}

/// Adds the resident memory of all processes up, where the kernel keeps no such number; shared memory counts more
/// than once.
fn resident(group: &Path) -> Option<u64> {
    let page = rustix::param::page_size() as u64;
    let mut sum = None;
    groups(group, &mut |g| {
        for pid in made::read(g.join("cgroup.procs")).unwrap_or_default().lines() {
            let statm = made::read(format!("/proc/{pid}/statm")).unwrap_or_default();
            if let Some(pages) = statm.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()) {
                sum = Some(sum.unwrap_or(0) + pages * page);
            }
        }
    });
    sum
}

/// Adds up the interfaces of `/proc/PID/net/dev` but the loopback.
fn traffic(text: &str) -> (Option<u64>, Option<u64>) {
    let (mut received, mut sent) = (None, None);
    for (name, rest) in text.lines().filter_map(|l| l.split_once(':')) {
        if name.trim() == "lo" {
            continue;
        }
        let fields: Vec<u64> = rest.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        if let (Some(r), Some(s)) = (fields.first(), fields.get(8)) {
            received = Some(received.unwrap_or(0) + r);
            sent = Some(sent.unwrap_or(0) + s);
        }
    }
    (received, sent)
}

/// Adds up the devices of `io.stat`.
fn disk(text: &str) -> (u64, u64) {
    let sum = |key: &str| {
        text.split_whitespace().filter_map(|w| w.strip_prefix(key)?.parse::<u64>().ok()).sum::<u64>()
    };
    (sum("rbytes="), sum("wbytes="))
}

/// The use of the whole machine.
fn host() -> Counters {
    let stat = made::read("/proc/stat").unwrap_or_default();
    let cpu = stat.lines().next().map(|line| {
        let fields: Vec<u64> = line.split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
        // user nice system - - irq softirq, in ticks of 10 ms (proc(5)).
        [0, 1, 2, 5, 6].iter().filter_map(|i| fields.get(*i)).sum::<u64>() * 10_000
    });
    let info = made::read("/proc/meminfo").unwrap_or_default();
    let kib = |key: &str| -> Option<u64> {
        let rest = info.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':'))?;
        Some(rest.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
    };
    let cpus = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let (received, sent) = traffic(&made::read("/proc/self/net/dev").unwrap_or_default());
    let load = made::read("/proc/loadavg").unwrap_or_default();
    let io = cgroup::mount_point().and_then(|m| made::read(m.join("io.stat")).ok());
    Counters {
        cpu,
        cpu_cap: Some(cpus * 100),
        memory: kib("MemTotal").zip(kib("MemAvailable")).map(|(all, free)| all.saturating_sub(free)),
        memory_cap: kib("MemTotal"),
        swap: kib("SwapTotal").zip(kib("SwapFree")).map(|(all, free)| all.saturating_sub(free)),
        swap_cap: kib("SwapTotal"),
        // "running/all" is the fourth word.
        tasks: load.split_whitespace().nth(3).and_then(|w| w.split_once('/')?.1.parse().ok()),
        tasks_cap: number(Path::new("/proc/sys/kernel/threads-max")),
        received,
        sent,
        read: io.as_deref().map(|t| disk(t).0),
        written: io.as_deref().map(|t| disk(t).1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_kernel() {
        assert_eq!(quota("50000 100000\n"), Some(50));
        assert_eq!(quota("max 100000\n"), None);
        let net = "Inter-|   Receive\n face |bytes\n    lo: 5 0 0 0 0 0 0 0 5 0\n  eth0: 100 1 0 0 0 0 0 0 200 2\n eth1:1 0 0 0 0 0 0 0 2 0\n";
        assert_eq!(traffic(net), (Some(101), Some(202)));
        assert_eq!(traffic(" lo: 5 0 0 0 0 0 0 0 5 0\n"), (None, None));
        assert_eq!(disk("254:0 rbytes=10 wbytes=20 rios=1\n7:0 rbytes=1 wbytes=2\n"), (11, 22));
    }

    #[test]
    fn rates_between_two_looks() {
        let at = Instant::now();
        let of = |cpu, received| Counters { cpu: Some(cpu), received, ..Counters::default() };
        let before = Sample { when: at, zones: vec![("a".into(), 1, of(1_000_000, Some(10)))] };
        let after = Sample {
            when: at + Duration::from_secs(2),
            zones: vec![("a".into(), 1, of(2_000_000, Some(2010))), ("b".into(), 2, of(3_000_000, None))],
        };
        let usage = after.since(&before);
        assert_eq!((usage[0].cpu, usage[0].received), (Some(50), Some(1000)));
        assert_eq!((usage[1].cpu, usage[1].received), (Some(150), None));
        // Booted anew between the looks: its counters have begun again.
        let again =
            Sample { when: at + Duration::from_secs(1), zones: vec![("a".into(), 9, of(100_000, None))] };
        assert_eq!(again.since(&before)[0].cpu, Some(10));
    }
}
