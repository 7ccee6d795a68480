//! The nodes that a `device match` names.
//!
//! Volumes of ZFS are found by asking the kernel which volume each device belongs to: the links below
//! `/dev/zvol` are made by udev, may be late or stale, and only save asking about every device.

use std::fs::{self, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use super::glob;
use crate::apply::zfs::Asker;
use crate::plan::step::Node;
use crate::sys::made;
use crate::sys::zfs::volume;

/// Where the kernel lists block devices.
const BLOCK: &str = "/sys/block";

/// How often a volume is looked for that ZFS knows and whose device is not there yet.
const LOOKS: u32 = 40;
const BETWEEN: Duration = Duration::from_millis(50);

/// One device: its name below `/dev`, whether it is a block device, its number.
struct DeviceNode {
    name: String,
    block: bool,
    major: u32,
    minor: u32,
}

/// Finds the device nodes that a `match` names: a glob below `/dev`. Solaris' names of ZFS volumes,
/// `/dev/zvol/dsk/P/V` and `/dev/zvol/rdsk/P/V`, mean Linux' `/dev/zvol/P/V`.
pub fn matching(pattern: &str, asker: &Asker<'_>) -> Vec<Node> {
    let below = pattern.strip_prefix("/dev/").unwrap_or(pattern).trim_start_matches('/');
    let alias = ["zvol/dsk/", "zvol/rdsk/"].into_iter().find(|p| below.starts_with(p));
    let volume = below.strip_prefix(alias.unwrap_or("zvol/"));
    let found = match volume {
        Some(volume) if Path::new("/sys/module/zfs").exists() => volumes(volume, asker),
        Some(volume) => nodes(&format!("zvol/{volume}")),
        None => nodes(below),
    };
    let mut out = Vec::new();
    for DeviceNode { name, block, major, minor } in found {
        let mut push = |path: String| out.push(Node { path, block, major, minor, mode: 0o660 });
        // The zone finds the device under the name that its spec uses, and under Linux' name.
        if let (Some(alias), Some(volume)) = (alias, name.strip_prefix("zvol/")) {
            push(format!("{alias}{volume}"));
        }
        push(name);
    }
    out
}

/// Finds the device nodes in the host's `/dev`.
fn nodes(pattern: &str) -> Vec<DeviceNode> {
    let node = |path: &Path| {
        let m = fs::metadata(path).ok()?;
        let block = m.file_type().is_block_device();
        if !block && !m.file_type().is_char_device() {
            return None;
        }
        let name = path.strip_prefix("/dev").ok()?.to_string_lossy().into_owned();
        let (major, minor) = (rustix::fs::major(m.rdev()), rustix::fs::minor(m.rdev()));
        Some(DeviceNode { name, block, major, minor })
    };
    glob::expand(Path::new("/dev"), pattern).iter().filter_map(|path| node(path)).collect()
}

/// Finds the volumes, and their partitions, that a pattern below `/dev/zvol` names.
fn volumes(pattern: &str, asker: &Asker<'_>) -> Vec<DeviceNode> {
    if pattern.contains(['*', '?', '[']) {
        return disks().iter().flat_map(|disk| named(disk)).filter(|f| fits(pattern, &f.name)).collect();
    }
    let wanted = format!("zvol/{pattern}");
    let of = |disk: &str| named(disk).into_iter().find(|f| f.name == wanted);
    // The link is believed only when the kernel confirms it.
    let hint = fs::read_link(Path::new("/dev/zvol").join(pattern)).ok();
    let hint = hint.as_deref().and_then(Path::file_name).and_then(|n| n.to_str());
    let hint =
        hint.and_then(|h| disks().into_iter().find(|disk| h == disk || h.starts_with(&format!("{disk}p"))));
    if let Some(found) = hint.and_then(|disk| of(&disk)) {
        return vec![found];
    }
    // udev writes a blank in a name as a plus sign, which no name has.
    let dataset = pattern.replace('+', " ");
    for look in 0..LOOKS {
        if let Some(found) = disks().iter().find_map(|disk| of(disk)) {
            return vec![found];
        }
        if !asker.is_volume(&dataset) {
            break;
        }
        if look + 1 < LOOKS {
            std::thread::sleep(BETWEEN);
        }
    }
    Vec::new()
}

/// Says whether the name of a volume matches a pattern, component by component.
fn fits(pattern: &str, name: &str) -> bool {
    let name = name.strip_prefix("zvol/").unwrap_or(name);
    let (patterns, names): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), name.split('/').collect());
    patterns.len() == names.len() && patterns.iter().zip(names).all(|(p, n)| glob::matches(p, n))
}

/// Returns the names of the volumes' disks, such as `zd0`.
fn disks() -> Vec<String> {
    let entries = fs::read_dir(BLOCK).into_iter().flatten().flatten();
    let names = entries.filter_map(|e| e.file_name().into_string().ok());
    let number = |n: &String| n.strip_prefix("zd").is_some_and(|d| d.parse::<u32>().is_ok());
    names.filter(number).collect()
}

/// Returns a disk and its partitions under the names that udev gives them; nothing when it is no
/// volume's.
fn named(disk: &str) -> Vec<DeviceNode> {
    let folder = Path::new(BLOCK).join(disk);
    let Some((major, minor)) = number(&folder) else { return Vec::new() };
    let mut open = OpenOptions::new();
    open.read(true).custom_flags(libc::O_CLOEXEC | libc::O_NONBLOCK);
    let Ok(file) = open.open(Path::new("/dev").join(disk)) else { return Vec::new() };
    let real = file.metadata().is_ok_and(|m| {
        m.file_type().is_block_device()
            && (rustix::fs::major(m.rdev()), rustix::fs::minor(m.rdev())) == (major, minor)
    });
    let Some(volume) = volume::name(file.as_fd()).ok().filter(|_| real) else { return Vec::new() };
    let name = format!("zvol/{}", volume.replace(' ', "+"));
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
        let part = made::read(entry.path().join("partition")).ok();
        if let (Some(part), Some((major, minor))) = (part, number(&entry.path())) {
            found.push(DeviceNode { name: format!("{name}-part{}", part.trim()), block: true, major, minor });
        }
    }
    found.insert(0, DeviceNode { name, block: true, major, minor });
    found
}

/// Reads the number of a device from its folder in `/sys`.
fn number(folder: &Path) -> Option<(u32, u32)> {
    let text = made::read(folder.join("dev")).ok()?;
    let (major, minor) = text.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_of_volumes_goes_by_components() {
        assert!(fits("tank/*", "zvol/tank/vol") && fits("*/v?l", "zvol/tank/vol"));
        assert!(!fits("*", "zvol/tank/vol") && !fits("tank/*", "zvol/tank/a/vol"));
    }

    #[test]
    fn nodes_of_the_host_are_found_by_pattern() {
        let found = nodes("nul[l]");
        assert_eq!((found.len(), found[0].block, found[0].major, found[0].minor), (1, false, 1, 3));
        assert!(nodes("no such device").is_empty());
    }
}
