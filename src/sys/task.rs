//! Processes in other pid namespaces, also those that are just ending, as the kernel reports them.

use super::made;
use super::process::stat;

/// Says whether a process is the first one of a pid namespace directly below ours.
pub fn first_of_namespace(pid: i32) -> bool {
    let status = made::read(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("NSpid:")).unwrap_or_default();
    let mut numbers = line.split_whitespace().skip(1);
    numbers.next() == Some("1") && numbers.next().is_none()
}

/// Returns the parent of a process.
pub fn parent(pid: i32) -> Option<i32> {
    stat(pid)?.1.split_whitespace().nth(1)?.parse().ok()
}

/// A task of a process, as in proc_pid_stat(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Process id, as we see it.
    pub pid: i32,
    /// Its state, one letter.
    pub state: char,
    /// Flags of the kernel (field 9).
    pub flags: u64,
    /// Bytes of memory that it has (field 23).
    pub memory: u64,
}

/// Returns the processes of the pid namespace that a process is the first of, and of those inside it.
pub fn tasks_of_namespace(init: i32) -> Vec<Task> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    let all: std::collections::HashMap<i32, i32> = pids.filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let depth = |pid: i32| {
        let status = made::read(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix("NSpid:")).unwrap_or_default();
        line.split_whitespace().count()
    };
    let is_below = |mut pid: i32| {
        // Orphans of a namespace belong to its first process; a loop ends with the table.
        for _ in 0..all.len() {
            match all.get(&pid) {
                _ if pid == init => return true,
                Some(parent) => pid = *parent,
                None => return false,
            }
        }
        false
    };
    let same = |pid: i32| namespace_of(pid).is_some() && namespace_of(pid) == namespace_of(init);
    let mut list: Vec<i32> =
        all.keys().copied().filter(|p| same(*p) || is_below(*p) && depth(*p) > 1).collect();
    list.sort_unstable();
    list.into_iter().chain((!all.contains_key(&init)).then_some(init)).filter_map(task).collect()
}

fn namespace_of(pid: i32) -> Option<std::path::PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok()
}

/// Reads a task.
fn task(pid: i32) -> Option<Task> {
    let (_, rest) = stat(pid)?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    Some(Task {
        pid,
        state: fields.first()?.chars().next()?,
        flags: fields.get(6)?.parse().ok()?,
        memory: fields.get(20)?.parse().ok()?,
    })
}

/// Says whether a task can do nothing any more: the kernel has taken its memory away and lets go of the rest,
/// and so it is with each of its threads.
pub fn is_ended_but_for_clean_up(task: &Task) -> bool {
    const EXITING: u64 = 0x4;
    let threads = std::fs::read_dir(format!("/proc/{}/task", task.pid)).into_iter().flatten().flatten();
    let mut states = threads.filter_map(|t| {
        let text = made::read(t.path().join("stat")).ok()?;
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        Some((fields.get(6)?.parse::<u64>().ok()?, fields.get(20)?.parse::<u64>().ok()?))
    });
    task.memory == 0
        && task.flags & EXITING != 0
        && states.all(|(flags, memory)| flags & EXITING != 0 && memory == 0)
}
