//! The host ids behind the ids of a zone.

use thiserror::Error;

use super::schema::ResourceKind;
use super::{Props, ZoneSpec};

/// Number of ids in a private range, enough for every account that distributions make.
pub const PRIVATE_COUNT: u32 = 65_536;

/// First host id of the private ranges.
pub const PRIVATE_FIRST: u32 = 1_000_000_000;

/// The largest number of ranges of one kind that the kernel takes.
pub const RANGES_MAX: usize = 340;

/// Consecutive ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IdRange {
    /// First id in the zone.
    pub inside: u32,
    /// First id on the host.
    pub outside: u32,
    /// Number of ids.
    pub count: u32,
}

/// The ids of a zone: both kinds, sorted by the zone's ids, without overlap, 0 mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMap {
    /// User ids.
    pub uid: Vec<IdRange>,
    /// Group ids.
    pub gid: Vec<IdRange>,
}

/// Why ranges are not a map.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum IdMapError {
    /// Only the other kind is mapped.
    #[error("idmap: no {0} range; both user and group ids must be mapped")]
    Missing(&'static str),
    /// Id 0 of the zone is not mapped, so the zone would have no root.
    #[error("idmap: {0} 0 of the zone is not mapped")]
    NoRoot(&'static str),
    /// The host's root would be in the zone, and with it everything that only root may do there.
    #[error("idmap: the {0} range of {1} ids from 0 holds the host's root; choose another target")]
    HostRoot(&'static str, u32),
    /// A range goes past the last id, 4294967294.
    #[error("idmap: the {0} range of {1} ids from {2} goes past the last id")]
    TooFar(&'static str, u32, u32),
    /// Two ranges share ids.
    #[error("idmap: {kind} ranges overlap {place}, at {at}")]
    Overlap {
        /// `uid` or `gid`.
        kind: &'static str,
        /// `in the zone` or `on the host`.
        place: &'static str,
        /// The first id that both have.
        at: u32,
    },
    /// More ranges than the kernel takes.
    #[error("idmap: more than 340 {0} ranges, which the kernel does not take")]
    TooMany(&'static str),
    /// A property is missing.
    #[error("idmap: {0} not specified")]
    Unset(&'static str),
}

impl IdRange {
    /// Returns the host id for an id of the zone.
    pub fn host(&self, id: u32) -> Option<u32> {
        let offset = id.checked_sub(self.inside).filter(|o| *o < self.count)?;
        self.outside.checked_add(offset)
    }

    /// Returns the zone's id for an id of the host.
    pub fn zone(&self, id: u32) -> Option<u32> {
        let offset = id.checked_sub(self.outside).filter(|o| *o < self.count)?;
        self.inside.checked_add(offset)
    }

    /// Says whether two ranges share host ids.
    pub fn overlaps_outside(&self, other: &Self) -> bool {
        let end = |r: &Self| u64::from(r.outside) + u64::from(r.count);
        u64::from(self.outside) < end(other) && u64::from(other.outside) < end(self)
    }
}

impl IdMap {
    /// Returns the map of a zone with one private range from `first`.
    pub fn private(first: u32) -> Self {
        let range = vec![IdRange { inside: 0, outside: first, count: PRIVATE_COUNT }];
        Self { uid: range.clone(), gid: range }
    }

    /// Returns the map of the spec's `idmap` resources, none when there are none.
    ///
    /// # Errors
    /// [`IdMapError`] when they break a rule.
    pub fn from_spec(spec: &ZoneSpec) -> Result<Option<Self>, IdMapError> {
        if spec.stored(ResourceKind::Idmap).is_empty() {
            return Ok(None);
        }
        let Self { uid, gid } = Self::ranges(spec, |_| true)?;
        Ok(Some(Self { uid: checked("uid", uid)?, gid: checked("gid", gid)? }))
    }

    /// Returns the ranges that no other zone may touch: those that are not `shared`. They are no map by
    /// themselves.
    ///
    /// # Errors
    /// [`IdMapError`] when a property is missing.
    pub fn exclusive(spec: &ZoneSpec) -> Result<Self, IdMapError> {
        Self::ranges(spec, |r| r.text("shared") != Some("true"))
    }

    fn ranges(spec: &ZoneSpec, wanted: impl Fn(&Props) -> bool) -> Result<Self, IdMapError> {
        let (mut uid, mut gid) = (Vec::new(), Vec::new());
        for r in spec.stored(ResourceKind::Idmap).iter().filter(|r| wanted(r)) {
            let number = |name: &'static str| -> Result<u32, IdMapError> {
                r.text(name).and_then(|t| t.parse().ok()).ok_or(IdMapError::Unset(name))
            };
            let range =
                IdRange { inside: number("start")?, outside: number("target")?, count: number("count")? };
            match kind_of(r) {
                "uid" => uid.push(range),
                "gid" => gid.push(range),
                _ => {
                    uid.push(range);
                    gid.push(range);
                }
            }
        }
        Ok(Self { uid, gid })
    }

    /// Returns the host's user id for one of the zone.
    pub fn host_uid(&self, id: u32) -> Option<u32> {
        self.uid.iter().find_map(|r| r.host(id))
    }

    /// Returns the host's group id for one of the zone.
    pub fn host_gid(&self, id: u32) -> Option<u32> {
        self.gid.iter().find_map(|r| r.host(id))
    }

    /// Returns the host's user and group id of the zone's root.
    pub fn root(&self) -> (u32, u32) {
        // The constructors let no map pass that lacks id 0; the overflow id is harmless.
        (self.host_uid(0).unwrap_or(65_534), self.host_gid(0).unwrap_or(65_534))
    }

    /// Returns the first host id that both maps use for the same kind of id.
    pub fn overlap(&self, other: &Self) -> Option<(&'static str, u32)> {
        let shared = |mine: &[IdRange], others: &[IdRange]| {
            mine.iter()
                .flat_map(|m| others.iter().map(move |o| (m, o)))
                .filter(|(m, o)| m.overlaps_outside(o))
                .map(|(m, o)| m.outside.max(o.outside))
                .min()
        };
        let uid = shared(&self.uid, &other.uid).map(|at| ("uid", at));
        uid.or_else(|| shared(&self.gid, &other.gid).map(|at| ("gid", at)))
    }
}

fn kind_of(resource: &Props) -> &str {
    resource.text("type").unwrap_or("both")
}

fn checked(kind: &'static str, mut ranges: Vec<IdRange>) -> Result<Vec<IdRange>, IdMapError> {
    if ranges.is_empty() {
        return Err(IdMapError::Missing(kind));
    }
    if ranges.len() > RANGES_MAX {
        return Err(IdMapError::TooMany(kind));
    }
    for r in &ranges {
        if r.outside == 0 {
            return Err(IdMapError::HostRoot(kind, r.count));
        }
        for first in [r.inside, r.outside] {
            // The last id, 4294967295, means "no id" to the kernel.
            if u64::from(first) + u64::from(r.count) > u64::from(u32::MAX) {
                return Err(IdMapError::TooFar(kind, r.count, first));
            }
        }
    }
    for (place, first) in
        [("in the zone", (|r| r.inside) as fn(&IdRange) -> u32), ("on the host", |r: &IdRange| r.outside)]
    {
        ranges.sort_by_key(first);
        for pair in ranges.windows(2) {
            if first(&pair[0]) + pair[0].count > first(&pair[1]) {
                return Err(IdMapError::Overlap { kind, place, at: first(&pair[1]) });
            }
        }
    }
    ranges.sort_unstable();
    if ranges[0].inside != 0 {
        return Err(IdMapError::NoRoot(kind));
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::ZoneName;
    use crate::spec::toml::parse;

    type Range = (&'static str, u32, u32, u32);

    fn map(ranges: &[Range]) -> Result<Option<IdMap>, IdMapError> {
        let mut text = "format = 1\n".to_owned();
        for (kind, start, target, count) in ranges {
            text +=
                &format!("[[idmap]]\ntype = '{kind}'\nstart = {start}\ntarget = {target}\ncount = {count}\n");
        }
        IdMap::from_spec(&parse(&ZoneName::new("z").unwrap(), text.as_bytes()).unwrap())
    }

    #[test]
    fn ranges_become_a_map() {
        assert_eq!(map(&[]), Ok(None));
        let m = map(&[("both", 1000, 5000, 10), ("uid", 0, 100_000, 1000), ("gid", 0, 300_000, 1000)]);
        let m = m.unwrap().unwrap();
        assert_eq!(m.root(), (100_000, 300_000));
        assert_eq!((m.host_uid(1009), m.host_uid(1010), m.host_gid(999)), (Some(5009), None, Some(300_999)));
        assert_eq!(m.uid[0].inside, 0);
        assert_eq!(IdMap::private(PRIVATE_FIRST).overlap(&m), None);
        let other = map(&[("both", 0, 300_500, 10)]).unwrap().unwrap();
        assert_eq!(m.overlap(&other), Some(("gid", 300_500)));
    }

    #[test]
    fn ranges_that_break_a_rule() {
        let table: &[(&[Range], &str)] = &[
            (&[("uid", 0, 1, 1)], "idmap: no gid range; both user and group ids must be mapped"),
            (&[("both", 1, 1, 1)], "idmap: uid 0 of the zone is not mapped"),
            (
                &[("both", 0, 0, 1000)],
                "idmap: the uid range of 1000 ids from 0 holds the host's root; choose another target",
            ),
            (
                &[("uid", 0, 5, 1), ("gid", 0, 5, 1), ("gid", 5, 0, 2)],
                "idmap: the gid range of 2 ids from 0 holds the host's root; choose another target",
            ),
            (&[("both", 0, 10, 5), ("both", 4, 100, 5)], "idmap: uid ranges overlap in the zone, at 4"),
            (&[("both", 0, 10, 5), ("both", 5, 12, 5)], "idmap: uid ranges overlap on the host, at 12"),
            (
                &[("both", 0, 4_294_967_290, 6)],
                "idmap: the uid range of 6 ids from 4294967290 goes past the last id",
            ),
        ];
        for (ranges, wanted) in table {
            assert_eq!(map(ranges).unwrap_err().to_string(), *wanted);
        }
    }
}
