//! Rights of ordinary users in a network namespace: sockets of ICMP, and low ports. A new namespace has the kernel's
//! defaults, and many hosts have others.

use std::fs;
use std::os::fd::BorrowedFd;

use super::inside::within;
use super::{NetworkResult, sys};
use crate::spec::idmap::IdRange;

/// Groups whose members may make sockets of ICMP: first and last.
const GROUPS: &str = "/proc/sys/net/ipv4/ping_group_range";
/// The first port that every user may bind.
const PORT: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
/// No group: the value in a new namespace.
const NO_GROUP: (u32, u32) = (1, 0);

/// Gives a zone the host's setting, for the zone's own groups.
///
/// # Errors
/// [`super::NetworkError`]
pub fn hand_on(namespace: BorrowedFd<'_>, groups: &[IdRange]) -> NetworkResult<()> {
    // A kernel without one of them has nothing to hand on.
    let host = |file| fs::read_to_string(file).unwrap_or_default();
    let mut work: Vec<(&str, String)> = Vec::new();
    if let Some((first, last)) = range(&host(GROUPS)).and_then(|range| of_zone(range, groups)) {
        work.push((GROUPS, format!("{first} {last}")));
    }
    if let Some(port) = host(PORT).trim().parse::<u16>().ok().filter(|port| *port != 1024) {
        work.push((PORT, port.to_string()));
    }
    if work.is_empty() {
        return Ok(());
    }
    within(namespace, || {
        work.into_iter()
            .try_for_each(|(file, text)| fs::write(file, text).map_err(sys(format!("cannot set {file}"))))
    })?
}

fn range(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split_whitespace().map(str::parse);
    let range = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    (range != NO_GROUP && range.0 <= range.1).then_some(range)
}

/// Returns the host's numbers of the zone's groups that have these numbers in the zone: as far as they lie
/// together.
fn of_zone(wanted: (u32, u32), groups: &[IdRange]) -> Option<(u32, u32)> {
    groups.iter().find_map(|range| {
        let last = range.inside.checked_add(range.count.checked_sub(1)?)?;
        let (from, to) = (wanted.0.max(range.inside), wanted.1.min(last));
        let there = |id: u32| range.outside + (id - range.inside);
        (from <= to).then(|| (there(from), there(to)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_the_host_are_those_of_the_zone() {
        let zone = [IdRange { inside: 0, outside: 1_000_000, count: 65_536 }];
        assert_eq!(range("1\t0\n"), None);
        assert_eq!(range("0\t2147483647\n"), Some((0, 2_147_483_647)));
        assert_eq!(of_zone((0, 2_147_483_647), &zone), Some((1_000_000, 1_065_535)));
        assert_eq!(of_zone((100, 200), &zone), Some((1_000_100, 1_000_200)));
        assert_eq!(of_zone((70_000, 80_000), &zone), None);
        assert_eq!(of_zone((0, 10), &[]), None);
    }
}
