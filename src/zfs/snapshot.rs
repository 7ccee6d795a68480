//! Snapshots, bookmarks and holds.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::Zfs;
use super::dataset::{check_filesystem, check_snapshot, is};
use super::error::{Batch, CallFailure, Meaning, errors, pack, read};
use super::name::{NAME_MAX, filesystem, is_bookmark, is_snapshot, pool};
use super::nvlist::{List, NvValue};
use crate::sys::zfs::errno;

errors! {
    /// Why one snapshot could not be taken.
    SnapshotError {
        EINVAL => NameInvalid "'{0}' is not a name for a snapshot", told_apart;
        EXDEV => DuplicateSnapshots "'{0}' is one of several snapshots of one dataset", told_apart;
        EXDEV => PoolsDiffer "'{0}' is one of several snapshots in different pools", told_apart;
        EEXIST => SnapshotExists "the snapshot '{0}' exists already";
        ENOENT => FilesystemNotFound "the dataset of '{0}' does not exist";
        EINVAL => PropertyInvalid "a property for '{0}' is not a user property or is too long";
    }

    /// Why one snapshot could not be destroyed.
    DestroySnapError {
        EEXIST => SnapshotIsCloned "the snapshot '{0}' has clones";
        EBUSY => SnapshotIsHeld "the snapshot '{0}' is held";
        ENOENT => PoolNotFound "the pool of '{0}' does not exist";
    }

    /// Why one bookmark could not be made.
    BookmarkError {
        EINVAL => BookmarkNameInvalid "'{0}' is not a name for a bookmark", told_apart;
        EINVAL => BookmarkSourceInvalid "'{0}' is neither a snapshot nor a bookmark", told_apart;
        EINVAL => PoolsDiffer "'{0}' is one of several bookmarks in different pools", told_apart;
        EEXIST => BookmarkExists "the bookmark '{0}' exists already";
        ENOENT => SnapshotNotFound "the source of '{0}' does not exist";
        ENOTSUP => BookmarkNotSupported "the pool of '{0}' has no bookmarks";
        ZFS_ERR_BOOKMARK_SOURCE_NOT_ANCESTOR => BookmarkMismatch "'{0}' is not of the same dataset as its source";
    }

    /// Why one bookmark could not be destroyed.
    DestroyBookmarkError {
        EINVAL => NameInvalid "'{0}' is not the name of a bookmark";
    }

    /// Why [`Zfs::get_bookmarks`] or [`Zfs::get_bookmark_props`] failed.
    GetBookmarksError {
        EINVAL => NameInvalid "'{0}' is not the name of a dataset or bookmark";
        ENOENT | ESRCH => FilesystemNotFound "there is no dataset or bookmark '{0}'";
    }

    /// Why one hold could not be made.
    HoldError {
        EINVAL => NameInvalid "'{0}' is not the name of a snapshot", told_apart;
        EINVAL | EXDEV => PoolsDiffer "'{0}' is one of several snapshots in different pools";
        EBADF => BadHoldCleanupFD "cannot hold '{0}': the descriptor for cleaning up is not one of /dev/zfs";
        ENOENT => FilesystemNotFound "the dataset '{0}' does not exist";
        EEXIST => HoldExists "the snapshot '{0}' has a hold of that name already";
        E2BIG => NameTooLong "the name of a hold on '{0}' is too long";
        ENOTSUP => FeatureNotSupported "the pool '{0}' has no holds";
    }

    /// Why one hold could not be ended.
    ReleaseError {
        EINVAL => NameInvalid "'{0}' is not the name of a snapshot", told_apart;
        EINVAL | EXDEV => PoolsDiffer "'{0}' is one of several snapshots in different pools";
        ENOENT => HoldNotFound "the snapshot '{0}' does not exist or has no such hold";
        E2BIG => NameTooLong "the name of a hold on '{0}' is too long";
        ENOTSUP => FeatureNotSupported "the pool of '{0}' has no holds";
    }

    /// Why [`Zfs::get_holds`] failed.
    GetHoldsError {
        EINVAL => SnapshotNameInvalid "'{0}' is not the name of a snapshot";
        ENOENT => SnapshotNotFound "the snapshot '{0}' does not exist";
        ENOTSUP => FeatureNotSupported "the pool of '{0}' has no holds";
    }

    /// Why [`Zfs::snaprange_space`] failed.
    SnapRangeError {
        EINVAL => NameInvalid "'{0}' is not the name of a snapshot", told_apart;
        EINVAL | EXDEV => PoolsDiffer "'{0}' is in another pool than the first snapshot", told_apart;
        EINVAL | EXDEV => SnapshotMismatch "'{0}' is not a later snapshot of the same dataset";
        ENOENT => SnapshotNotFound "the snapshot '{0}' or the first one does not exist";
    }

    /// Why [`Zfs::rollback`] failed.
    RollbackError {
        EINVAL => FilesystemNameInvalid "'{0}' is not the name of a filesystem or volume", told_apart;
        ESRCH => SnapshotNotFound "'{0}' has no snapshot, or not that one";
        EINVAL => NameInvalid "'{0}' is not the name of a filesystem or volume";
        ENOENT => FilesystemNotFound "the dataset '{0}' does not exist";
        EEXIST => SnapshotNotLatest "'{0}' is not the newest snapshot";
    }
}

/// The failure of [`Zfs::snapshot`].
pub type SnapshotFailure = Batch<SnapshotError>;
/// The failure of [`Zfs::destroy_snaps`].
pub type SnapshotDestructionFailure = Batch<DestroySnapError>;
/// The failure of [`Zfs::bookmark`].
pub type BookmarkFailure = Batch<BookmarkError>;
/// The failure of [`Zfs::destroy_bookmarks`].
pub type BookmarkDestructionFailure = Batch<DestroyBookmarkError>;
/// The failure of [`Zfs::hold`].
pub type HoldFailure = Batch<HoldError>;
/// The failure of [`Zfs::release`].
pub type HoldReleaseFailure = Batch<ReleaseError>;

/// Says whether names are of more than one pool.
fn pools_differ(names: &[&str]) -> bool {
    names.windows(2).any(|w| pool(w[0]) != pool(w[1]))
}

/// Distinguishes the meanings of `EINVAL` for snapshots that holds and releases share.
fn invalid_snapshot<E: Meaning>(name: Option<&str>, all: &[&str], invalid: fn(String) -> E) -> Option<E> {
    match name {
        Some(name) if !is_snapshot(name) => Some(invalid(name.to_owned())),
        Some(name) if name.len() > NAME_MAX => Some(CallFailure::NameTooLong(name.to_owned()).into()),
        Some(name) if !pools_differ(all) => {
            Some(CallFailure::ZFSGenericError { name: name.to_owned(), errno: errno::EINVAL }.into())
        }
        Some(_) => None,
        None => match all.iter().find(|n| !is_snapshot(n)) {
            Some(bad) => Some(invalid((*bad).to_owned())),
            None => Some(CallFailure::ZFSGenericError { name: String::new(), errno: errno::EINVAL }.into()),
        },
    }
}

impl Zfs {
    /// Takes snapshots, all at one moment or none (`lzc_snapshot`). All must be in one pool, one of each
    /// dataset at most. `props` are user properties.
    ///
    /// ```no_run
    /// # use zones::zfs::{Zfs, nvlist::List};
    /// let zfs = Zfs::open()?;
    /// zfs.snapshot(&["tank/a@now", "tank/a/b@now"], &[("org.example:why", "backup")].into())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SnapshotError`] of each snapshot.
    pub fn snapshot(&self, snaps: &[&str], props: &List) -> Result<(), SnapshotFailure> {
        const WHAT: &str = "take snapshots";
        let (set, props) = pack(&List::set(snaps))
            .and_then(|s| Ok((s, pack(props)?)))
            .map_err(|e| Batch::single(WHAT, e.into()))?;
        let answer = self.core().and_then(|c| c.snapshot(&set, &props));
        Batch::check(WHAT, answer, snaps.iter().copied(), |number, name| {
            let text = name.unwrap_or_default();
            match number {
                errno::EXDEV if pools_differ(snaps) => SnapshotError::PoolsDiffer(text.to_owned()),
                errno::EXDEV => SnapshotError::DuplicateSnapshots(text.to_owned()),
                errno::EINVAL if snaps.iter().any(|s| !is_snapshot(s)) => {
                    SnapshotError::NameInvalid(text.to_owned())
                }
                errno::EINVAL if snaps.iter().any(|s| s.len() > NAME_MAX) => {
                    CallFailure::NameTooLong(text.to_owned()).into()
                }
                _ => SnapshotError::from_errno(number, text),
            }
        })
    }

    /// Destroys snapshots, all or none (`lzc_destroy_snaps`); those that do not exist count as destroyed.
    /// With `defer`, snapshots with clones or holds go when the last of these goes.
    ///
    /// Not an error, and nothing done: in a zone, a snapshot that is invisible there.
    ///
    /// ```no_run
    /// # use zones::zfs::{DestroySnapError, Zfs};
    /// let zfs = Zfs::open()?;
    /// if let Err(e) = zfs.destroy_snaps(&["tank/a@1", "tank/a@2"], false) {
    ///     let held = matches!(e.of("tank/a@1"), Some(DestroySnapError::SnapshotIsHeld(_)));
    ///     println!("{e} (held: {held})");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`DestroySnapError`] of each snapshot.
    pub fn destroy_snaps(&self, snaps: &[&str], defer: bool) -> Result<(), SnapshotDestructionFailure> {
        const WHAT: &str = "destroy snapshots";
        let set = List::set(snaps).to_native();
        let set = set.map_err(|e| Batch::single(WHAT, CallFailure::from(e).into()))?;
        let answer = self.core().and_then(|c| c.destroy_snaps(&set, defer));
        Batch::check(WHAT, answer, snaps.iter().copied(), |number, name| {
            DestroySnapError::from_errno(number, name.unwrap_or_default())
        })
    }

    /// Makes bookmarks of snapshots or other bookmarks (`lzc_bookmark`): pairs of the new name and the
    /// source.
    ///
    /// ```no_run
    /// # use zones::zfs::Zfs;
    /// Zfs::open()?.bookmark(&[("tank/a#sent", "tank/a@1")])?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`BookmarkError`] of each bookmark.
    pub fn bookmark(&self, bookmarks: &[(&str, &str)]) -> Result<(), BookmarkFailure> {
        const WHAT: &str = "make bookmarks";
        let list: List = bookmarks.iter().map(|(b, s)| ((*b).to_owned(), NvValue::from(*s))).collect();
        let list = list.to_native().map_err(|e| Batch::single(WHAT, CallFailure::from(e).into()))?;
        let names: Vec<&str> = bookmarks.iter().map(|(b, _)| *b).collect();
        let answer = self.core().and_then(|c| c.bookmark(&list));
        Batch::check(WHAT, answer, names.iter().copied(), |number, name| {
            if number == errno::EINVAL
                && let Some(error) = invalid_bookmark(name, bookmarks, &names)
            {
                return error;
            }
            BookmarkError::from_errno(number, name.unwrap_or_default())
        })
    }

    /// Lists the bookmarks of a dataset by the part of their names after `#`, with those of the
    /// properties asked for that they have (`lzc_get_bookmarks`): `guid`, `createtxg`, `creation`, ….
    ///
    /// ```no_run
    /// # use zones::zfs::Zfs;
    /// for (name, props) in Zfs::open()?.get_bookmarks("tank/a", &["guid"])? {
    ///     println!("#{name} {:?}", props.u64("guid"));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`GetBookmarksError`].
    pub fn get_bookmarks(
        &self,
        name: &str,
        props: &[&str],
    ) -> Result<BTreeMap<String, List>, GetBookmarksError> {
        let props = pack(&List::set(props))?;
        let list: List =
            read::<GetBookmarksError>(self.core().and_then(|c| c.get_bookmarks(name, &props)), name)?;
        let each = list.into_iter().filter_map(|(bookmark, props)| match props {
            NvValue::List(props) => Some((bookmark, flatten(props))),
            _ => None,
        });
        Ok(each.collect())
    }

    /// Returns all properties of one bookmark (`lzc_get_bookmark_props`).
    ///
    /// ```no_run
    /// # use zones::zfs::Zfs;
    /// println!("{:?}", Zfs::open()?.get_bookmark_props("tank/a#sent")?.u64("createtxg"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`GetBookmarksError`].
    pub fn get_bookmark_props(&self, name: &str) -> Result<List, GetBookmarksError> {
        read::<GetBookmarksError>(self.core().and_then(|c| c.get_bookmark_props(name)), name).map(flatten)
    }

    /// Destroys bookmarks (`lzc_destroy_bookmarks`); those that do not exist count as destroyed.
    ///
    /// ```no_run
    /// # use zones::zfs::Zfs;
    /// Zfs::open()?.destroy_bookmarks(&["tank/a#sent"])?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`DestroyBookmarkError`] of each bookmark.
    pub fn destroy_bookmarks(&self, bookmarks: &[&str]) -> Result<(), BookmarkDestructionFailure> {
        const WHAT: &str = "destroy bookmarks";
        let set = List::set(bookmarks).to_native();
        let set = set.map_err(|e| Batch::single(WHAT, CallFailure::from(e).into()))?;
        let answer = self.core().and_then(|c| c.destroy_bookmarks(&set));
        Batch::check(WHAT, answer, bookmarks.iter().copied(), |number, name| {
            DestroyBookmarkError::from_errno(number, name.unwrap_or_default())
        })
    }

    /// Holds snapshots so that they cannot be destroyed (`lzc_hold`): pairs of snapshot and the hold's
    /// name, one for each snapshot. Returns the snapshots that do not exist; that is no failure.
    ///
    /// With `cleanup`, a descriptor of `/dev/zfs`, the holds end when it is closed.
    ///
    /// ```no_run
    /// # use zones::zfs::Zfs;
    /// let missing = Zfs::open()?.hold(&[("tank/a@1", "clone"), ("tank/b@1", "clone")], None)?;
    /// assert!(missing.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`HoldError`] of each snapshot; then no hold has been made.
    pub fn hold(
        &self,
        holds: &[(&str, &str)],
        cleanup: Option<BorrowedFd<'_>>,
    ) -> Result<Vec<String>, HoldFailure> {
        const WHAT: &str = "hold snapshots";
        let list: List = holds.iter().map(|(s, t)| ((*s).to_owned(), NvValue::from(*t))).collect();
        let list = list.to_native().map_err(|e| Batch::single(WHAT, CallFailure::from(e).into()))?;
        let names: Vec<&str> = holds.iter().map(|(s, _)| *s).collect();
        let fd = cleanup.map_or(-1, |fd| fd.as_raw_fd());
        let answer = self.core().and_then(|c| c.hold(&list, fd));
        if let Ok(good) = &answer
            && good.errno == 0
        {
            // A successful call returns the snapshots that do not exist.
            let list = if good.list.is_empty() { Ok(List::new()) } else { List::decode(&good.list) };
            return Ok(list
                .map_err(|e| Batch::single(WHAT, CallFailure::from(e).into()))?
                .names()
                .map(str::to_owned)
                .collect());
        }
        let failed = Batch::check(WHAT, answer, names.iter().copied(), |number, name| {
            if number == errno::EINVAL
                && let Some(error) = invalid_snapshot(name, &names, HoldError::NameInvalid)
            {
                return error;
            }
            let name = name.unwrap_or_default();
            let about = match number {
                errno::ENOENT => filesystem(name),
                errno::ENOTSUP => pool(name),
                _ => name,
            };
            HoldError::from_errno(number, about)
        });
        failed.map(|()| Vec::new())
    }

    /// Ends holds (`lzc_release`): each snapshot with the names of the holds. Returns the missing snapshots and
    /// holds, as the kernel names them; they are no failure.
    ///
    /// ```no_run
    /// # use zones::zfs::Zfs;
    /// Zfs::open()?.release(&[("tank/a@1", &["clone"])])?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ReleaseError`] of each snapshot.
    pub fn release(&self, holds: &[(&str, &[&str])]) -> Result<Vec<String>, HoldReleaseFailure> {
        const WHAT: &str = "release snapshots";
        let list: List =
            holds.iter().map(|(s, tags)| ((*s).to_owned(), NvValue::List(List::set(*tags)))).collect();
        let list = list.to_native().map_err(|e| Batch::single(WHAT, CallFailure::from(e).into()))?;
        let names: Vec<&str> = holds.iter().map(|(s, _)| *s).collect();
        let answer = self.core().and_then(|c| c.release(&list));
        if let Ok(good) = &answer
            && good.errno == 0
        {
            let list = if good.list.is_empty() { Ok(List::new()) } else { List::decode(&good.list) };
            return Ok(list
                .map_err(|e| Batch::single(WHAT, CallFailure::from(e).into()))?
                .names()
                .map(str::to_owned)
                .collect());
        }
        let failed = Batch::check(WHAT, answer, names.iter().copied(), |number, name| {
            if number == errno::EINVAL
                && let Some(error) = invalid_snapshot(name, &names, ReleaseError::NameInvalid)
            {
                return error;
            }
            ReleaseError::from_errno(number, name.unwrap_or_default())
        });
        failed.map(|()| Vec::new())
    }

    /// Lists the holds of a snapshot with the times at which they were made, in seconds of the epoch
    /// (`lzc_get_holds`).
    ///
    /// ```no_run
    /// # use zones::zfs::Zfs;
    /// for (tag, since) in Zfs::open()?.get_holds("tank/a@1")? {
    ///     println!("{tag} since {since}");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`GetHoldsError`].
    pub fn get_holds(&self, snapshot: &str) -> Result<BTreeMap<String, u64>, GetHoldsError> {
        let answer = self.core().and_then(|c| c.get_holds(snapshot));
        if let Ok(a) = &answer
            && a.errno == errno::EINVAL
        {
            check_snapshot(snapshot, GetHoldsError::SnapshotNameInvalid)?;
        }
        let list = read::<GetHoldsError>(answer, snapshot)?;
        Ok(list.into_iter().filter_map(|(tag, time)| Some((tag, time.as_u64()?))).collect())
    }

    /// Counts the bytes that would be freed if the snapshots from `first` to `last` were destroyed
    /// (`lzc_snaprange_space`).
    ///
    /// ```no_run
    /// # use zones::zfs::Zfs;
    /// println!("{} bytes", Zfs::open()?.snaprange_space("tank/a@1", "tank/a@3")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SnapRangeError`].
    pub fn snaprange_space(&self, first: &str, last: &str) -> Result<u64, SnapRangeError> {
        self.core().and_then(|c| c.snaprange_space(first, last)).or_else(|e| {
            if is(&e, errno::EINVAL) {
                check_snapshot(first, SnapRangeError::NameInvalid)?;
                check_snapshot(last, SnapRangeError::NameInvalid)?;
            }
            if (is(&e, errno::EINVAL) || is(&e, errno::EXDEV)) && pool(first) != pool(last) {
                return Err(SnapRangeError::PoolsDiffer(last.to_owned()));
            }
            Err(SnapRangeError::from_core(e, last))
        })
    }

    /// Goes back to the newest snapshot of a filesystem or volume; returns its name (`lzc_rollback`).
    ///
    /// ```no_run
    /// # use zones::zfs::Zfs;
    /// println!("now as at {}", Zfs::open()?.rollback("tank/a")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`RollbackError`].
    pub fn rollback(&self, name: &str) -> Result<String, RollbackError> {
        self.core().and_then(|c| c.rollback(name)).or_else(|e| Err(rollback_error(e, name, name)?))
    }

    /// Goes back to a snapshot if it is the newest (`lzc_rollback_to`).
    ///
    /// ```no_run
    /// # use zones::zfs::{RollbackError, Zfs};
    /// let zfs = Zfs::open()?;
    /// if let Err(RollbackError::SnapshotNotLatest(name)) = zfs.rollback_to("tank/a", "tank/a@1") {
    ///     println!("destroy what is newer than {name} first");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`RollbackError`].
    pub fn rollback_to(&self, name: &str, snapshot: &str) -> Result<(), RollbackError> {
        self.core()
            .and_then(|c| c.rollback_to(name, snapshot))
            .or_else(|e| Err(rollback_error(e, name, snapshot)?))
    }
}

fn rollback_error(
    error: crate::sys::zfs::CoreError,
    name: &str,
    snapshot: &str,
) -> Result<RollbackError, RollbackError> {
    if is(&error, errno::EINVAL) {
        check_filesystem(name, RollbackError::FilesystemNameInvalid)?;
    }
    if is(&error, errno::ENOENT) && !super::name::is_filesystem(name) {
        return Err(RollbackError::NameInvalid(name.to_owned()));
    }
    let about = if is(&error, errno::EEXIST) { snapshot } else { name };
    Ok(RollbackError::from_core(error, about))
}

/// Distinguishes the meanings of `EINVAL` for bookmarks; none when the meaning cannot be found.
fn invalid_bookmark(name: Option<&str>, bookmarks: &[(&str, &str)], names: &[&str]) -> Option<BookmarkError> {
    let Some(name) = name else {
        let bad = names.iter().find(|n| !is_bookmark(n))?;
        return Some(BookmarkError::BookmarkNameInvalid((*bad).to_owned()));
    };
    if !is_bookmark(name) {
        return Some(BookmarkError::BookmarkNameInvalid(name.to_owned()));
    }
    if name.len() > NAME_MAX {
        return Some(CallFailure::NameTooLong(name.to_owned()).into());
    }
    let (_, source) = bookmarks.iter().find(|(b, _)| *b == name)?;
    let source_good = (is_snapshot(source) || is_bookmark(source)) && source.len() <= NAME_MAX;
    if !source_good {
        return Some(BookmarkError::BookmarkSourceInvalid((*source).to_owned()));
    }
    pools_differ(names).then(|| BookmarkError::PoolsDiffer(name.to_owned()))
}

/// Takes the values out of `{property: {value}}`.
fn flatten(props: List) -> List {
    let value = |(name, inner)| match inner {
        NvValue::List(mut inner) => Some((name, inner.remove("value")?)),
        other => Some((name, other)),
    };
    props.into_iter().filter_map(value).collect()
}
