//! Numbers of running zones.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;

use crate::apply::paths::Root;

/// Gives the next zone id, 1 to 9999, that no running zone has.
///
/// # Errors
/// The system's error.
pub fn next_id(root: &Root) -> io::Result<u32> {
    let path = root.run_dir().join(".next-id");
    // The mode is given, since a boot numbers its zone with an empty umask.
    let mut options = fs::OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true).mode(0o600);
    let file = options.open(&path)?;
    file.lock()?;
    let text = io::read_to_string(&file)?;
    // Until the numbers have come round once, the next one is free. A file that is new, cut short or foreign does
    // not say whether they have.
    let last = text.trim_end().parse::<u32>().ok().filter(|n| *n < MAX_ID);
    let mut used = Vec::new();
    let mut id = last.map_or_else(|| after(first_number(&text)), |n| n + 1);
    if last.is_none() {
        used.extend(super::all(root).into_iter().map(|(_, r)| r.id));
        while used.contains(&id) {
            id = after(id);
        }
    }
    fs::write(&path, if used.is_empty() { format!("{id}\n") } else { format!("{id} {WRAPPED}\n") })?;
    Ok(id)
}

/// Highest number of a zone.
const MAX_ID: u32 = 9999;

/// Stands after the last number once a number may be in use.
const WRAPPED: &str = "wrapped";

fn first_number(text: &str) -> u32 {
    text.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn after(id: u32) -> u32 {
    if id >= MAX_ID { 1 } else { id + 1 }
}
