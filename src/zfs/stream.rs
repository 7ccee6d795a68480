//! Streams: send and receive.

use std::io::{self, Read};
use std::os::fd::BorrowedFd;

use bitflags::bitflags;

use super::Zfs;
use super::dataset::is;
use super::error::{CallFailure, Meaning, errors, pack};
use super::name::{NAME_MAX, filesystem, is_bookmark, is_filesystem, is_snapshot, pool};
use super::nvlist::List;
use crate::sys::zfs::{CoreError, RECORD_SIZE, ReceiveCall, Received, SendCall, errno};

bitflags! {
    /// The features that a stream may have.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct SendFlags: u32 {
        /// Blocks so small that they lie in their pointers.
        const EMBEDDED = 1;
        /// Blocks larger than 128 KiB.
        const LARGE_BLOCKS = 2;
        /// Blocks as compressed as on disk.
        const COMPRESSED = 4;
        /// Encrypted blocks as they are.
        const RAW = 8;
        /// The state that an interrupted receive left behind.
        const SAVED = 16;
    }
}

/// The data to send: see [`Zfs::send`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Send<'a> {
    snapshot: &'a str,
    from: Option<&'a str>,
    flags: SendFlags,
    resume: Option<(u64, u64)>,
    redactions: Option<&'a str>,
}

impl<'a> Send<'a> {
    /// Everything in a snapshot.
    pub fn new(snapshot: &'a str) -> Self {
        Self { snapshot, from: None, flags: SendFlags::empty(), resume: None, redactions: None }
    }

    /// Only what changed since a snapshot or bookmark that the receiver has.
    #[must_use]
    pub fn from(mut self, from: &'a str) -> Self {
        self.from = Some(from);
        self
    }

    /// Sets the features that the stream may have.
    #[must_use]
    pub fn flags(mut self, flags: SendFlags) -> Self {
        self.flags = flags;
        self
    }

    /// Goes on at an object and offset (`lzc_send_resume`), as the receiver's resume token says.
    #[must_use]
    pub fn resume(mut self, object: u64, offset: u64) -> Self {
        self.resume = Some((object, offset));
        self
    }

    /// Leaves out the blocks that a bookmark of [`Zfs::redact`] names (`lzc_send_redacted`).
    #[must_use]
    pub fn redacted(mut self, bookmark: &'a str) -> Self {
        self.redactions = Some(bookmark);
        self
    }

    fn call(&self) -> SendCall<'a> {
        let Self { snapshot, from, flags, resume, redactions } = *self;
        SendCall { snapshot, from, flags: flags.bits(), resume, redactions }
    }
}

/// The first record of a stream, read ahead of the receive.
#[derive(Clone, PartialEq, Eq)]
pub struct StreamHeader(Box<[u8; RECORD_SIZE]>);

impl StreamHeader {
    /// Reads the record from the start of a stream.
    ///
    /// # Errors
    /// When the stream ends before; when it does not begin as a stream of this machine's byte order
    /// does, with [`io::ErrorKind::InvalidData`].
    pub fn read(stream: &mut impl Read) -> io::Result<Self> {
        let mut record = Box::new([0; RECORD_SIZE]);
        stream.read_exact(&mut record[..])?;
        // dmu_replay_record_t: type (0 is the beginning), length, then drr_begin with its mark.
        let magic = u64::from_ne_bytes(record[8..16].try_into().expect("eight bytes"));
        if record[..4] != [0; 4] || magic != 0x2_f5ba_cbac {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "this is not the beginning of a ZFS stream",
            ));
        }
        Ok(Self(record))
    }

    /// Returns the name of the snapshot that was sent.
    pub fn name(&self) -> String {
        let name = &self.0[56..];
        let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
        String::from_utf8_lossy(&name[..end]).into_owned()
    }

    /// Returns the guid of the snapshot that was sent.
    pub fn guid(&self) -> u64 {
        u64::from_ne_bytes(self.0[40..48].try_into().expect("eight bytes"))
    }

    /// Returns the guid of the snapshot since which changes were sent; 0 for a full stream.
    pub fn from_guid(&self) -> u64 {
        u64::from_ne_bytes(self.0[48..56].try_into().expect("eight bytes"))
    }
}

impl std::fmt::Debug for StreamHeader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamHeader")
            .field("name", &self.name())
            .field("guid", &self.guid())
            .field("from_guid", &self.from_guid())
            .finish()
    }
}

/// How to receive: see [`Zfs::receive`].
#[derive(Clone, Copy, Debug)]
pub struct Receive<'a> {
    snapshot: &'a str,
    fd: BorrowedFd<'a>,
    origin: Option<&'a str>,
    force: bool,
    raw: bool,
    resumable: bool,
    heal: bool,
    props: Option<&'a List>,
    cmdprops: Option<&'a List>,
    key: Option<&'a [u8]>,
    header: Option<&'a StreamHeader>,
}

impl<'a> Receive<'a> {
    /// Makes a snapshot, and its filesystem or volume if need be, of a stream.
    pub fn new(snapshot: &'a str, fd: BorrowedFd<'a>) -> Self {
        Self {
            snapshot,
            fd,
            origin: None,
            force: false,
            raw: false,
            resumable: false,
            heal: false,
            props: None,
            cmdprops: None,
            key: None,
            header: None,
        }
    }

    /// The stream is of a clone, whose origin is this snapshot here.
    #[must_use]
    pub fn origin(mut self, snapshot: &'a str) -> Self {
        self.origin = Some(snapshot);
        self
    }

    /// Destroys newer snapshots and changes first.
    #[must_use]
    pub fn force(mut self) -> Self {
        self.force = true;
        self
    }

    /// The stream holds encrypted blocks as they are.
    #[must_use]
    pub fn raw(mut self) -> Self {
        self.raw = true;
        self
    }

    /// Keeps what came when the stream breaks off.
    #[must_use]
    pub fn resumable(mut self) -> Self {
        self.resumable = true;
        self
    }

    /// Only repairs damaged blocks of a snapshot that is there ([`Zfs::receive_with_heal`]).
    #[must_use]
    pub fn heal(mut self) -> Self {
        self.heal = true;
        self
    }

    /// Properties that count as received.
    #[must_use]
    pub fn props(mut self, props: &'a List) -> Self {
        self.props = Some(props);
        self
    }

    /// Properties that count as set here; a property that is only present is not taken from the
    /// stream ([`Zfs::receive_with_cmdprops`]).
    #[must_use]
    pub fn cmdprops(mut self, props: &'a List) -> Self {
        self.cmdprops = Some(props);
        self
    }

    /// The wrapping key of the new encryption root ([`Zfs::receive_with_cmdprops`]).
    #[must_use]
    pub fn key(mut self, key: &'a [u8]) -> Self {
        self.key = Some(key);
        self
    }

    /// The first record, which was read from the stream already. Not for [`Zfs::receive`].
    #[must_use]
    pub fn header(mut self, header: &'a StreamHeader) -> Self {
        self.header = Some(header);
        self
    }
}

errors! {
    /// Why [`Zfs::send`] or [`Zfs::redact`] failed.
    SendError {
        EINVAL | ENOENT => NameInvalid "'{0}' is not the name of a snapshot or bookmark", told_apart;
        ENAMETOOLONG => NameTooLong "the name '{0}' is too long", told_apart;
        EINVAL | EXDEV => PoolsDiffer "'{0}' is in another pool than the snapshot to start from", told_apart;
        EXDEV => SnapshotMismatch "'{0}' is not a later snapshot than the one to start from";
        ENOENT => SnapshotNotFound "the snapshot '{0}', or the one to start from, does not exist";
        EIO => StreamIOError "writing the stream failed: {0}", told_apart;
    }

    /// Why [`Zfs::send_space`] failed.
    SendSpaceError {
        EINVAL | ENOENT => NameInvalid "'{0}' is not the name of a snapshot", told_apart;
        EINVAL | EXDEV => SnapshotMismatch "'{0}' is not a later snapshot than the one to start from", told_apart;
        EINVAL | EXDEV => PoolsDiffer "'{0}' is in another pool than the snapshot to start from";
        ENOENT => SnapshotNotFound "the snapshot '{0}', or the one to start from, does not exist";
    }

    /// Why a receive failed.
    ReceiveError {
        EINVAL | ENOENT => NameInvalid "'{0}' is not the name of a snapshot", told_apart;
        EINVAL => StreamFeatureInvalid "the stream for '{0}' cannot be received resumably", told_apart;
        EINVAL => BadStream "the stream for '{0}' is damaged or not a stream", told_apart;
        ENOENT => DatasetNotFound "the filesystem of '{0}', its parent or the origin does not exist";
        EEXIST => DatasetExists "the snapshot '{0}' or its filesystem exists already, or has snapshots";
        ENOTSUP => StreamFeatureNotSupported "the stream for '{0}' needs a feature that this pool or module lacks";
        ENODEV => StreamMismatch "'{0}' has no snapshot from which the stream goes on";
        ETXTBSY => DestinationModified "'{0}' has changed since its newest snapshot";
        EBUSY => DatasetBusy "'{0}' is in use, or a snapshot to be destroyed is held";
        EACCES => EncryptionKeyNotLoaded "the key of the filesystem of '{0}' is not loaded";
        ECKSUM => BadChecksum "the stream for '{0}' is damaged: its checksum is wrong";
        ERANGE => RecordTooLarge "the stream for '{0}' has a record that is too large";
        ZFS_ERR_WRONG_PARENT => WrongParent "the parent of '{0}' is not a filesystem";
        ZFS_ERR_STREAM_TRUNCATED => StreamTruncated "the stream for '{0}' ended early; it can be resumed";
        ZFS_ERR_BADPROP => PropertyInvalid "a property for '{0}' is invalid";
        EIO => StreamIOError "reading the stream failed: {0}", told_apart;
    }
}

/// The result of [`Zfs::receive_one`] and the calls after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceiveReport {
    /// Bytes read from the stream.
    pub bytes: u64,
    /// The properties that could not be set, each with its error number. The snapshot is there all
    /// the same.
    pub properties: Vec<(String, i32)>,
}

fn send_error(error: CoreError, call: &Send<'_>) -> SendError {
    let (snapshot, from) = (call.snapshot, call.from);
    let from_bad = from.filter(|f| !is_snapshot(f) && !is_bookmark(f));
    let bad_name = from_bad.or_else(|| Some(snapshot).filter(|s| !is_snapshot(s) && !is_filesystem(s)));
    let long = from.filter(|f| f.len() > NAME_MAX).or_else(|| Some(snapshot).filter(|s| s.len() > NAME_MAX));
    let other_pool = from.is_some_and(|f| pool(f) != pool(snapshot));
    let number = match CallFailure::errno_of(error, snapshot) {
        Ok(number) => number,
        Err(failure) => return failure.into(),
    };
    match number {
        errno::EXDEV if other_pool => SendError::PoolsDiffer(snapshot.to_owned()),
        errno::EXDEV if from.is_some() => SendError::SnapshotMismatch(snapshot.to_owned()),
        errno::EINVAL => match (bad_name, long) {
            (Some(bad), _) => SendError::NameInvalid(bad.to_owned()),
            (None, Some(long)) => SendError::NameTooLong(long.to_owned()),
            (None, None) if other_pool => SendError::PoolsDiffer(snapshot.to_owned()),
            (None, None) => SendError::StreamIOError(io::Error::from_raw_os_error(number).to_string()),
        },
        errno::ENOENT => match from_bad {
            Some(bad) => SendError::NameInvalid(bad.to_owned()),
            None => SendError::SnapshotNotFound(snapshot.to_owned()),
        },
        errno::ENAMETOOLONG => SendError::NameTooLong(long.unwrap_or(snapshot).to_owned()),
        errno::EPERM | errno::EACCES => CallFailure::PermissionDenied(snapshot.to_owned()).into(),
        1024.. => SendError::from_errno(number, snapshot),
        _ => SendError::StreamIOError(io::Error::from_raw_os_error(number).to_string()),
    }
}

fn send_space_error(error: CoreError, snapshot: &str, from: Option<&str>) -> SendSpaceError {
    let other_pool = from.is_some_and(|f| pool(f) != pool(snapshot));
    let names = [from.unwrap_or(snapshot), snapshot];
    if is(&error, errno::EXDEV) && from.is_some() && !other_pool {
        return SendSpaceError::SnapshotMismatch(snapshot.to_owned());
    }
    if is(&error, errno::EINVAL) {
        if let Some(bad) = names.iter().find(|n| !is_snapshot(n)) {
            return SendSpaceError::NameInvalid((*bad).to_owned());
        }
        if let Some(long) = names.iter().find(|n| n.len() > NAME_MAX) {
            return CallFailure::NameTooLong((*long).to_owned()).into();
        }
        let differ = if other_pool { SendSpaceError::PoolsDiffer } else { SendSpaceError::SnapshotMismatch };
        return differ(snapshot.to_owned());
    }
    if let Some(from) = from.filter(|f| is(&error, errno::ENOENT) && !is_snapshot(f)) {
        return SendSpaceError::NameInvalid(from.to_owned());
    }
    SendSpaceError::from_core(error, snapshot)
}

fn receive_error(number: i32, call: &Receive<'_>) -> ReceiveError {
    let snapshot = call.snapshot;
    let text = || snapshot.to_owned();
    match number {
        errno::EINVAL if !is_snapshot(snapshot) && !is_filesystem(snapshot) => {
            ReceiveError::NameInvalid(text())
        }
        errno::EINVAL if snapshot.len() > NAME_MAX => CallFailure::NameTooLong(text()).into(),
        errno::EINVAL if call.origin.is_some_and(|o| !is_snapshot(o)) => {
            ReceiveError::NameInvalid(call.origin.unwrap_or_default().to_owned())
        }
        errno::EINVAL if call.resumable => ReceiveError::StreamFeatureInvalid(text()),
        errno::EINVAL => ReceiveError::BadStream(text()),
        errno::ENOENT if !is_snapshot(snapshot) => ReceiveError::NameInvalid(text()),
        errno::ENODEV | errno::ETXTBSY | errno::EBUSY => {
            ReceiveError::from_errno(number, filesystem(snapshot))
        }
        errno::EIO | errno::EBADF | libc::EPIPE | errno::EXDEV => {
            ReceiveError::StreamIOError(io::Error::from_raw_os_error(number).to_string())
        }
        _ => ReceiveError::from_errno(number, snapshot),
    }
}

impl Zfs {
    /// Writes a stream of a snapshot to a descriptor, best a pipe (`lzc_send`, `lzc_send_resume`,
    /// `lzc_send_redacted`, `lzc_send_resume_redacted`: by what [`Send`] was given).
    ///
    /// ```no_run
    /// # use std::{fs::File, os::fd::AsFd};
    /// # use zones::zfs::{Send, SendFlags, Zfs};
    /// let file = File::create("/backup/a")?;
    /// let what = Send::new("tank/a@2").from("tank/a@1").flags(SendFlags::COMPRESSED | SendFlags::LARGE_BLOCKS);
    /// Zfs::open()?.send(&what, file.as_fd())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SendError`].
    pub fn send(&self, what: &Send<'_>, to: BorrowedFd<'_>) -> Result<(), SendError> {
        self.core().and_then(|c| c.send(&what.call(), to)).map_err(|e| send_error(e, what))
    }

    /// Estimates the size of a stream in bytes (`lzc_send_space`, and for a resumed or redacted one
    /// `lzc_send_space_resume_redacted`, where `sent` is the number of bytes already sent).
    ///
    /// ```no_run
    /// # use zones::zfs::{Send, Zfs};
    /// println!("{} bytes", Zfs::open()?.send_space(&Send::new("tank/a@2"), 0)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SendSpaceError`].
    pub fn send_space(&self, what: &Send<'_>, sent: u64) -> Result<u64, SendSpaceError> {
        let (snapshot, from) = (what.snapshot, what.from);
        let plain = what.resume.is_none() && what.redactions.is_none();
        let done = self.core().and_then(|c| {
            if plain {
                c.send_space(snapshot, from, what.flags.bits())
            } else {
                c.send_space_resume(&what.call(), sent)
            }
        });
        done.map_err(|e| send_space_error(e, snapshot, from))
    }

    /// Makes a redaction bookmark on a snapshot: blocks that its clones' snapshots have changed will be left out of
    /// streams (`lzc_redact`). `bookmark` is the part of its name after `#`.
    ///
    /// ```no_run
    /// # use zones::zfs::Zfs;
    /// Zfs::open()?.redact("tank/a@1", "public", &["tank/redacted@1"])?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SendError`].
    pub fn redact(&self, snapshot: &str, bookmark: &str, clones: &[&str]) -> Result<(), SendError> {
        let set = List::set(clones).to_native().map_err(CallFailure::from)?;
        self.core()
            .and_then(|c| c.redact(snapshot, bookmark, &set))
            .map_err(|e| send_error(e, &Send::new(snapshot)))
    }

    /// Receives a stream (`lzc_receive`; `lzc_receive_resumable` if so asked). Of `how`, the header,
    /// key and command's properties do not count here.
    ///
    /// ```no_run
    /// # use std::{fs::File, os::fd::AsFd};
    /// # use zones::zfs::{Receive, Zfs};
    /// let file = File::open("/backup/a")?;
    /// Zfs::open()?.receive(&Receive::new("tank/copy@2", file.as_fd()).resumable())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ReceiveError`].
    pub fn receive(&self, how: &Receive<'_>) -> Result<(), ReceiveError> {
        self.receiving(how, |core, call| {
            let call = ReceiveCall { header: None, ..*call };
            core.receive(&call).map(|()| Received::default())
        })
        .map(drop)
    }

    /// As [`Zfs::receive`], after the first record has been read (`lzc_receive_with_header`).
    ///
    /// ```no_run
    /// # use std::{fs::File, os::fd::AsFd};
    /// # use zones::zfs::{Receive, StreamHeader, Zfs};
    /// let mut file = File::open("/backup/a")?;
    /// let header = StreamHeader::read(&mut file)?;
    /// println!("receiving {}", header.name());
    /// Zfs::open()?.receive_with_header(&Receive::new("tank/copy@2", file.as_fd()).header(&header))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ReceiveError`].
    pub fn receive_with_header(&self, how: &Receive<'_>) -> Result<(), ReceiveError> {
        self.receiving(how, |core, call| core.receive_with_header(call).map(|()| Received::default()))
            .map(drop)
    }

    /// As [`Zfs::receive_with_header`]; also returns how much was read and which properties could not be set
    /// (`lzc_receive_one`).
    ///
    /// # Errors
    /// [`ReceiveError`].
    pub fn receive_one(&self, how: &Receive<'_>) -> Result<ReceiveReport, ReceiveError> {
        self.receiving(how, super::super::sys::zfs::core::Core::receive_one)
    }

    /// As [`Zfs::receive_one`], with properties that count as set here and the key of a new encryption
    /// root (`lzc_receive_with_cmdprops`).
    ///
    /// # Errors
    /// [`ReceiveError`].
    pub fn receive_with_cmdprops(&self, how: &Receive<'_>) -> Result<ReceiveReport, ReceiveError> {
        self.receiving(how, super::super::sys::zfs::core::Core::receive_with_cmdprops)
    }

    /// As [`Zfs::receive_with_cmdprops`], and can repair ([`Receive::heal`]; `lzc_receive_with_heal`,
    /// 2.2 and later).
    ///
    /// # Errors
    /// [`ReceiveError`].
    pub fn receive_with_heal(&self, how: &Receive<'_>) -> Result<ReceiveReport, ReceiveError> {
        self.receiving(how, super::super::sys::zfs::core::Core::receive_with_heal)
    }

    fn receiving(
        &self,
        how: &Receive<'_>,
        run: impl FnOnce(&crate::sys::zfs::Core, &ReceiveCall<'_>) -> Result<Received, CoreError>,
    ) -> Result<ReceiveReport, ReceiveError> {
        let empty = List::new();
        let props = pack(how.props.unwrap_or(&empty))?;
        let cmdprops = pack(how.cmdprops.unwrap_or(&empty))?;
        let call = ReceiveCall {
            snapshot: how.snapshot,
            props: &props,
            cmdprops: &cmdprops,
            key: how.key,
            origin: how.origin,
            force: how.force,
            heal: how.heal,
            resumable: how.resumable,
            raw: how.raw,
            fd: how.fd,
            header: how.header.map(|h| &*h.0),
        };
        let done = match self.core().and_then(|core| run(core, &call)) {
            Ok(done) => done,
            Err(e) => {
                let number = CallFailure::errno_of(e, how.snapshot)?;
                return Err(receive_error(number, how));
            }
        };
        if done.errno != 0 {
            return Err(receive_error(done.errno, how));
        }
        let list = if done.errors.is_empty() {
            List::new()
        } else {
            List::decode(&done.errors).map_err(CallFailure::from)?
        };
        let properties =
            list.into_iter().filter_map(|(name, v)| Some((name, i32::try_from(v.as_i64()?).ok()?))).collect();
        Ok(ReceiveReport { bytes: done.bytes, properties })
    }
}
