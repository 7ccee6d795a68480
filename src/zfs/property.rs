//! The functions that libzfs_core lacks: read, set and inherit the properties of datasets, list children and
//! snapshots. They use the control device.

use std::collections::BTreeMap;

use super::Zfs;
use super::dataset::DatasetKind;
use super::error::{CallFailure, Meaning, errors};
use super::name::{filesystem, is_filesystem, is_snapshot};
use super::nvlist::{List, NvValue};
use super::words;
use crate::sys::zfs::device::Reply;
use crate::sys::zfs::{Ioctl, Stats, ZfsRequest, errno};

pub use words::{default_number, index_number, index_word};

/// Bytes first offered for the answer about one dataset; more is given when it is not enough.
const ROOM: usize = 16 << 10;

errors! {
    /// Why [`Zfs::dataset`] or [`Zfs::received_props`] failed.
    DatasetError {
        EINVAL => NameInvalid "'{0}' is not the name of a dataset or snapshot";
        ENOENT => DatasetNotFound "the dataset '{0}' does not exist";
        ENOTSUP => NothingReceived "'{0}' has no received properties", told_apart;
    }

    /// Why [`Zfs::inherit`] failed.
    InheritError {
        EINVAL => NameInvalid "'{0}' is not the name of a dataset", told_apart;
        EINVAL => PropertyInvalid "the property '{0}' is unknown or cannot be inherited";
        ENOENT => DatasetNotFound "the dataset '{0}' does not exist";
    }

    /// Why [`Zfs::children`] or [`Zfs::snapshots`] failed.
    ListError {
        EINVAL => NameInvalid "'{0}' is not the name of a filesystem or volume";
        ENOENT => DatasetNotFound "the dataset '{0}' does not exist";
    }

    /// Why one property could not be set.
    SetPropError {
        EINVAL => NameInvalid "'{0}' is not the name of a dataset", told_apart;
        ENOENT => DatasetNotFound "the dataset of '{0}' does not exist";
        EINVAL | ZFS_ERR_BADPROP => PropertyInvalid "the property '{0}' is unknown, cannot be set, or not to this value";
        ENOSPC => NoSpace "the value of '{0}' is more than there is, or less than is used";
        EBUSY => Busy "the property '{0}' cannot be changed while the dataset is in use";
        E2BIG => ValueTooLong "the value of '{0}' is too long";
        ERANGE => RangeTooLarge "the value of '{0}' is larger than this pool or module takes";
        EINVAL => Domain "the value of '{0}' cannot be used on this pool", told_apart;
        ENOTSUP => NotSupported "this pool is too old for the value of '{0}'";
    }
}

/// The failure of [`Zfs::set_props`]: the error of each property.
pub type SetPropFailure = super::error::Batch<SetPropError>;

/// Where the value of a property comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PropertySource {
    /// Nothing is set: it is computed, or is what holds by default.
    Default,
    /// Set on the dataset itself.
    Local,
    /// Set on the dataset by a receive.
    Received,
    /// Set on an ancestor.
    Inherited(String),
}

/// One property of a dataset.
#[derive(Clone, Debug, PartialEq)]
pub struct Property {
    /// The value as the kernel keeps it: numbers for choices ([`index_word`]).
    pub value: NvValue,
    /// Where it comes from.
    pub source: PropertySource,
}

/// A dataset with its kind and its properties.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Its name.
    pub name: String,
    /// Its kind; none for a kind that this release does not know.
    pub kind: Option<DatasetKind>,
    /// Is a snapshot.
    pub is_snapshot: bool,
    /// The guid, which never changes.
    pub guid: u64,
    /// The transaction in which it was made.
    pub creation_txg: u64,
    /// Clones of this snapshot.
    pub clones: u64,
    /// Is being received or destroyed.
    pub inconsistent: bool,
    /// The snapshot from which it was cloned.
    pub origin: Option<String>,
    /// Its properties: those that are set here or above, and what the kernel computes. Properties with their default
    /// are not among them: [`Dataset::number`] and [`Dataset::mountpoint`] know the defaults.
    pub props: BTreeMap<String, Property>,
}

/// Where a filesystem is to be mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mountpoint {
    /// Not by ZFS: by mount(2), fstab or a zone's configuration.
    Legacy,
    /// Nowhere.
    None,
    /// At this path, alternate root not counted.
    Path(String),
}

impl Mountpoint {
    /// Returns the place below the alternate root of the pool ([`Zfs::altroot`]), as `zfs mount` has it.
    #[must_use]
    pub fn below(self, altroot: Option<&str>) -> Self {
        match (self, altroot) {
            (Self::Path(path), Some(root)) => {
                let whole = format!("{}{}", root.trim_end_matches('/'), path.trim_end_matches('/'));
                Self::Path(if whole.is_empty() { "/".to_owned() } else { whole })
            }
            (other, _) => other,
        }
    }
}

impl Dataset {
    fn new(name: String, stats: Stats, packed: &[u8]) -> Result<Self, CallFailure> {
        let Stats { guid, creation_txg, clones, kind, is_snapshot, inconsistent, origin } = stats;
        let list = if packed.is_empty() { List::new() } else { List::decode(packed)? };
        let props = list.into_iter().filter_map(|(prop, pair)| {
            let NvValue::List(mut pair) = pair else { return None };
            let source = source(pair.str("source"), &name);
            Some((prop, Property { value: pair.remove("value")?, source }))
        });
        Ok(Self {
            props: props.collect(),
            name,
            kind: DatasetKind::from_number(kind),
            is_snapshot,
            guid,
            creation_txg,
            clones,
            inconsistent,
            origin: Some(origin).filter(|o| !o.is_empty()),
        })
    }

    /// Returns the value of a property that is kept as a number, or its default.
    pub fn number(&self, property: &str) -> Option<u64> {
        let set = self.props.get(property).and_then(|p| p.value.as_u64());
        set.or_else(|| default_number(property))
    }

    /// Returns the value of a choice among words, or its default, as the word.
    pub fn word(&self, property: &str) -> Option<String> {
        index_word(property, self.number(property)?)
    }

    /// Returns the value of a property that is a text; none when nothing is set.
    pub fn text(&self, property: &str) -> Option<&str> {
        self.props.get(property)?.value.as_str()
    }

    /// Returns where the value of a property comes from.
    pub fn source(&self, property: &str) -> &PropertySource {
        self.props.get(property).map_or(&PropertySource::Default, |p| &p.source)
    }

    /// Says whether the dataset belongs to zones: here or by an ancestor.
    pub fn zoned(&self) -> bool {
        self.number("zoned") == Some(1)
    }

    /// Returns where a filesystem is to be mounted: the value as set, or what follows from an
    /// ancestor's; by default below `/` under its own name.
    pub fn mountpoint(&self) -> Mountpoint {
        let Some(property) = self.props.get("mountpoint") else {
            return Mountpoint::Path(format!("/{}", self.name));
        };
        match property.value.as_str() {
            Some("legacy") => Mountpoint::Legacy,
            Some("none") | None => Mountpoint::None,
            Some(path) => {
                let below = match &property.source {
                    PropertySource::Inherited(from) => {
                        self.name.strip_prefix(from.as_str()).unwrap_or_default()
                    }
                    _ => "",
                };
                let path = path.strip_suffix('/').unwrap_or(path);
                let whole = format!("{path}{below}");
                Mountpoint::Path(if whole.is_empty() { "/".to_owned() } else { whole })
            }
        }
    }
}

fn source(from: Option<&str>, name: &str) -> PropertySource {
    match from {
        None | Some("") => PropertySource::Default,
        Some("$recvd") => PropertySource::Received,
        Some(at) if at == name => PropertySource::Local,
        Some(above) => PropertySource::Inherited(above.to_owned()),
    }
}

impl Zfs {
    /// Returns a filesystem, volume or snapshot with its properties.
    ///
    /// ```no_run
    /// # use zones::zfs::{PropertySource, Zfs};
    /// let zion = Zfs::open()?.dataset("tank/zion")?;
    /// println!("quota {:?}, compression {:?}", zion.number("quota"), zion.word("compression"));
    /// assert!(!zion.zoned() || *zion.source("zoned") == PropertySource::Local);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`DatasetError`].
    pub fn dataset(&self, name: &str) -> Result<Dataset, DatasetError> {
        let request = ZfsRequest::new(name).map_err(|n| DatasetError::from_errno(n, name))?;
        let reply = self.device.call(Ioctl::ObjsetStats, &request, ROOM);
        let reply = reply.map_err(|(number, _)| DatasetError::from_errno(number, name))?;
        Ok(Dataset::new(name.to_owned(), reply.stats, &reply.list)?)
    }

    /// Returns the properties as a stream brought them, also those that are overridden here.
    ///
    /// # Errors
    /// [`DatasetError`]; [`DatasetError::NothingReceived`] when the dataset was never received.
    pub fn received_props(&self, name: &str) -> Result<BTreeMap<String, NvValue>, DatasetError> {
        let request = ZfsRequest::new(name).map_err(|n| DatasetError::from_errno(n, name))?;
        let reply =
            self.device.call(Ioctl::ObjsetRecvdProps, &request, ROOM).map_err(
                |(number, _)| match number {
                    errno::ENOTSUP => DatasetError::NothingReceived(name.to_owned()),
                    _ => DatasetError::from_errno(number, name),
                },
            )?;
        let list = List::decode(&reply.list).map_err(CallFailure::from)?;
        let value = |(prop, pair)| match pair {
            NvValue::List(mut pair) => Some((prop, pair.remove("value")?)),
            other => Some((prop, other)),
        };
        Ok(list.into_iter().filter_map(value).collect())
    }

    /// Sets properties of a dataset: native ones as the kernel keeps them ([`index_number`] for
    /// choices, unsigned numbers, texts), user properties as texts. Mounts and shares are not touched.
    ///
    /// Not all or none: each property for itself.
    ///
    /// ```no_run
    /// # use zones::zfs::{Zfs, nvlist::NvValue};
    /// let zfs = Zfs::open()?;
    /// zfs.set_props("tank/zion", &[("zoned", NvValue::from(1u64)), ("mountpoint", "/export".into())].into())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SetPropError`] of each property that was not set.
    pub fn set_props(&self, name: &str, props: &List) -> Result<(), SetPropFailure> {
        const WHAT: &str = "set properties";
        let single = |e: SetPropError| SetPropFailure::single(WHAT, e);
        let packed = props.to_native().map_err(|e| single(CallFailure::from(e).into()))?;
        let request =
            ZfsRequest::new(name).map_err(|n| single(SetPropError::from_errno(n, name)))?.list(packed);
        let Err((number, list)) = self.device.call(Ioctl::SetProp, &request, ROOM) else { return Ok(()) };
        let answer = crate::sys::zfs::LzcReply { errno: number, list };
        let names: Vec<&str> = props.names().collect();
        SetPropFailure::check(WHAT, Ok(answer), names.iter().copied(), |number, property| {
            if number == errno::EINVAL && !is_filesystem(name) && !is_snapshot(name) {
                return SetPropError::NameInvalid(name.to_owned());
            }
            if number == libc::EDOM {
                return SetPropError::Domain(property.unwrap_or(name).to_owned());
            }
            let about = if number == errno::ENOENT { name } else { property.unwrap_or(name) };
            SetPropError::from_errno(number, about)
        })
    }

    /// Removes the local value of a property so that the dataset inherits it; with `received`, so that the value
    /// that a stream brought counts again.
    ///
    /// ```no_run
    /// # use zones::zfs::Zfs;
    /// Zfs::open()?.inherit("tank/zion", "compression", false)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`InheritError`].
    pub fn inherit(&self, name: &str, property: &str, received: bool) -> Result<(), InheritError> {
        let request = ZfsRequest::new(name).and_then(|r| r.value(property));
        let request = request.map_err(|n| InheritError::from_errno(n, name))?.cookie(u64::from(received));
        self.device.call(Ioctl::InheritProp, &request, 0).map(drop).map_err(|(number, _)| match number {
            errno::EINVAL if !is_filesystem(name) && !is_snapshot(name) => {
                InheritError::NameInvalid(name.to_owned())
            }
            errno::EINVAL => InheritError::PropertyInvalid(property.to_owned()),
            _ => InheritError::from_errno(number, name),
        })
    }

    /// Walks through the children of a filesystem, with their properties; children that are hidden from the caller's
    /// zone are left out. Not recursive.
    ///
    /// ```no_run
    /// # use zones::zfs::Zfs;
    /// for child in Zfs::open()?.children("tank") {
    ///     println!("{}", child?.name);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn children<'a>(&'a self, name: &str) -> Children<'a> {
        Children(Walk::new(self, Ioctl::DatasetListNext, name, true))
    }

    /// Walks through the snapshots of a filesystem or volume, in the order of the directory on disk.
    /// With `props`, each with its properties; without, much faster, with none.
    ///
    /// ```no_run
    /// # use zones::zfs::Zfs;
    /// let zfs = Zfs::open()?;
    /// let newest = zfs.snapshots("tank/zion", false).filter_map(Result::ok).max_by_key(|s| s.creation_txg);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn snapshots<'a>(&'a self, name: &str, props: bool) -> Snapshots<'a> {
        Snapshots(Walk::new(self, Ioctl::SnapshotListNext, name, props))
    }
}

/// The children of a filesystem: see [`Zfs::children`].
#[derive(Debug)]
pub struct Children<'a>(Walk<'a>);

/// The snapshots of a filesystem or volume: see [`Zfs::snapshots`].
#[derive(Debug)]
pub struct Snapshots<'a>(Walk<'a>);

impl Iterator for Children<'_> {
    type Item = Result<Dataset, ListError>;
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let next = self.0.next()?;
            // Datasets of ZFS' own (`$MOS`, `%recv`) have such marks before their names.
            let own =
                |d: &Dataset| d.name.rsplit('/').next().is_some_and(|last| last.starts_with(['$', '%']));
            if !next.as_ref().is_ok_and(own) {
                return Some(next);
            }
        }
    }
}

impl Iterator for Snapshots<'_> {
    type Item = Result<Dataset, ListError>;
    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

/// A walk through names that the kernel gives one at a time, with a mark of the place.
struct Walk<'a> {
    zfs: &'a Zfs,
    number: Ioctl,
    parent: String,
    cookie: u64,
    props: bool,
    /// Bytes that the last answer took: properties of siblings are alike.
    room: usize,
    over: bool,
}

impl std::fmt::Debug for Walk<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Walk")
            .field("parent", &self.parent)
            .field("cookie", &self.cookie)
            .finish_non_exhaustive()
    }
}

impl<'a> Walk<'a> {
    fn new(zfs: &'a Zfs, number: Ioctl, parent: &str, props: bool) -> Self {
        Self { zfs, number, parent: parent.to_owned(), cookie: 0, props, room: ROOM, over: false }
    }

    fn step(&mut self) -> Result<Reply, i32> {
        let mut request = ZfsRequest::new(&self.parent)?.cookie(self.cookie);
        if !self.props {
            request = request.simple();
        }
        let room = if self.props { self.room } else { 0 };
        let reply = self.zfs.device.call(self.number, &request, room).map_err(|(number, _)| number)?;
        self.room = self.room.max(reply.list.len());
        Ok(reply)
    }

    fn next(&mut self) -> Option<Result<Dataset, ListError>> {
        if self.over {
            return None;
        }
        let first = self.cookie == 0;
        match self.step() {
            Ok(reply) => {
                self.cookie = reply.cookie;
                Some(Dataset::new(reply.name, reply.stats, &reply.list).map_err(ListError::from))
            }
            Err(number) => {
                self.over = true;
                match number {
                    // The end, or there is no such parent: the kernel says the same.
                    errno::ESRCH if first && self.zfs.dataset(filesystem(&self.parent)).is_err() => {
                        Some(Err(ListError::DatasetNotFound(self.parent.clone())))
                    }
                    errno::ESRCH => None,
                    _ => Some(Err(ListError::from_errno(number, &self.parent))),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_mountpoint(name: &str, value: &str, source: PropertySource) -> Dataset {
        let stats = Stats {
            guid: 1,
            creation_txg: 2,
            clones: 0,
            kind: 2,
            is_snapshot: false,
            inconsistent: false,
            origin: String::new(),
        };
        let mut dataset = Dataset::new(name.to_owned(), stats, &[]).unwrap();
        if !value.is_empty() {
            dataset.props.insert("mountpoint".to_owned(), Property { value: value.into(), source });
        }
        dataset
    }

    #[test]
    fn mountpoints() {
        let path = |p: &str| Mountpoint::Path(p.to_owned());
        let inherited = |from: &str| PropertySource::Inherited(from.to_owned());
        for (name, value, source, expected) in [
            ("tank/a", "", PropertySource::Default, path("/tank/a")),
            ("tank/a", "/export", PropertySource::Local, path("/export")),
            ("tank/a/b/c", "/export", inherited("tank/a"), path("/export/b/c")),
            ("tank/a", "/", inherited("tank"), path("/a")),
            ("tank", "/", PropertySource::Local, path("/")),
            ("tank/a", "legacy", inherited("tank"), Mountpoint::Legacy),
            ("tank/a", "none", PropertySource::Local, Mountpoint::None),
        ] {
            assert_eq!(with_mountpoint(name, value, source).mountpoint(), expected, "{name} {value}");
        }
    }

    #[test]
    fn what_the_kernel_tells() {
        let zoned: List = [("value", NvValue::from(1u64)), ("source", "tank".into())].into();
        let used: List = [("value", 4096u64)].into();
        let user: List = [("value", NvValue::Text(vec![0xff])), ("source", "$recvd".into())].into();
        let list: List = [("zoned", zoned), ("used", used), ("a:b", user)].into();
        let stats = Stats {
            guid: 1,
            creation_txg: 2,
            clones: 0,
            kind: 3,
            is_snapshot: false,
            inconsistent: false,
            origin: "tank/o@s".to_owned(),
        };
        let dataset = Dataset::new("tank/v".to_owned(), stats, &list.to_native().unwrap()).unwrap();
        assert_eq!((dataset.kind, dataset.origin.as_deref()), (Some(DatasetKind::Volume), Some("tank/o@s")));
        assert!(dataset.zoned());
        assert_eq!(*dataset.source("zoned"), PropertySource::Inherited("tank".to_owned()));
        assert_eq!(*dataset.source("a:b"), PropertySource::Received);
        assert_eq!((dataset.number("used"), dataset.number("quota")), (Some(4096), Some(0)));
        assert_eq!(dataset.word("compression").as_deref(), Some("on"));
        assert_eq!(dataset.text("a:b"), None);
    }
}
