//! `libzfs_core.so.3`, function by function, and of `libnvpair.so.3` what turns lists into bytes.
//!
//! The library is opened once and stays. Each function that it lacks is [`CoreError::Missing`] when
//! called and does no harm otherwise. Names of datasets are C strings here; lists are packed bytes in
//! the native encoding.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_uint};
use std::io;
use std::ptr;

use thiserror::Error;

use super::dynamic::{Library, functions};

/// A list of the C library; only ever behind a pointer.
#[repr(C)]
pub(super) struct Nv {
    _opaque: [u8; 0],
}

/// Bytes of a dataset name with its end (`ZFS_MAX_DATASET_NAME_LEN`).
const NAME_SIZE: usize = 256;

functions! {
    struct NvFunctions -> c_int {
        unpack = "nvlist_unpack"(*mut c_char, usize, *mut *mut Nv, c_int);
        size = "nvlist_size"(*mut Nv, *mut usize, c_int);
        pack = "nvlist_pack"(*mut Nv, *mut *mut c_char, *mut usize, c_int, c_int);
    }
}

functions! {
    struct NvFree -> () {
        free = "nvlist_free"(*mut Nv);
    }
}

functions! {
    pub(super) struct Functions -> c_int {
        init = "libzfs_core_init"();
        create = "lzc_create"(*const c_char, c_int, *mut Nv, *mut u8, c_uint);
        clone = "lzc_clone"(*const c_char, *const c_char, *mut Nv);
        promote = "lzc_promote"(*const c_char, *mut c_char, c_int);
        rename = "lzc_rename"(*const c_char, *const c_char);
        destroy = "lzc_destroy"(*const c_char);
        snapshot = "lzc_snapshot"(*mut Nv, *mut Nv, *mut *mut Nv);
        destroy_snaps = "lzc_destroy_snaps"(*mut Nv, c_int, *mut *mut Nv);
        rollback = "lzc_rollback"(*const c_char, *mut c_char, c_int);
        rollback_to = "lzc_rollback_to"(*const c_char, *const c_char);
        bookmark = "lzc_bookmark"(*mut Nv, *mut *mut Nv);
        get_bookmarks = "lzc_get_bookmarks"(*const c_char, *mut Nv, *mut *mut Nv);
        get_bookmark_props = "lzc_get_bookmark_props"(*const c_char, *mut *mut Nv);
        destroy_bookmarks = "lzc_destroy_bookmarks"(*mut Nv, *mut *mut Nv);
        hold = "lzc_hold"(*mut Nv, c_int, *mut *mut Nv);
        release = "lzc_release"(*mut Nv, *mut *mut Nv);
        get_holds = "lzc_get_holds"(*const c_char, *mut *mut Nv);
        exists = "lzc_exists"(*const c_char);
        snaprange_space = "lzc_snaprange_space"(*const c_char, *const c_char, *mut u64);
        load_key = "lzc_load_key"(*const c_char, c_int, *mut u8, c_uint);
        unload_key = "lzc_unload_key"(*const c_char);
        change_key = "lzc_change_key"(*const c_char, u64, *mut Nv, *mut u8, c_uint);
        send = "lzc_send"(*const c_char, *const c_char, c_int, c_uint);
        send_resume = "lzc_send_resume"(*const c_char, *const c_char, c_int, c_uint, u64, u64);
        send_redacted = "lzc_send_redacted"(*const c_char, *const c_char, c_int, c_uint, *const c_char);
        send_resume_redacted = "lzc_send_resume_redacted"(
            *const c_char, *const c_char, c_int, c_uint, u64, u64, *const c_char,
        );
        send_space = "lzc_send_space"(*const c_char, *const c_char, c_uint, *mut u64);
        send_space_resume_redacted = "lzc_send_space_resume_redacted"(
            *const c_char, *const c_char, c_uint, u64, u64, u64, *const c_char, c_int, *mut u64,
        );
        receive = "lzc_receive"(*const c_char, *mut Nv, *const c_char, c_int, c_int, c_int);
        receive_resumable = "lzc_receive_resumable"(*const c_char, *mut Nv, *const c_char, c_int, c_int, c_int);
        receive_with_header = "lzc_receive_with_header"(
            *const c_char, *mut Nv, *const c_char, c_int, c_int, c_int, c_int, *const u8,
        );
        receive_one = "lzc_receive_one"(
            *const c_char, *mut Nv, *const c_char, c_int, c_int, c_int, c_int, *const u8, c_int, *mut u64, *mut u64,
            *mut u64, *mut *mut Nv,
        );
        receive_with_cmdprops = "lzc_receive_with_cmdprops"(
            *const c_char, *mut Nv, *mut Nv, *mut u8, c_uint, *const c_char, c_int, c_int, c_int, c_int, *const u8,
            c_int, *mut u64, *mut u64, *mut u64, *mut *mut Nv,
        );
        receive_with_heal = "lzc_receive_with_heal"(
            *const c_char, *mut Nv, *mut Nv, *mut u8, c_uint, *const c_char, c_int, c_int, c_int, c_int, c_int,
            *const u8, c_int, *mut u64, *mut u64, *mut u64, *mut *mut Nv,
        );
        redact = "lzc_redact"(*const c_char, *const c_char, *mut Nv);
        channel_program = "lzc_channel_program"(*const c_char, *const c_char, u64, u64, *mut Nv, *mut *mut Nv);
        channel_program_nosync =
            "lzc_channel_program_nosync"(*const c_char, *const c_char, u64, u64, *mut Nv, *mut *mut Nv);
        sync = "lzc_sync"(*const c_char, *mut Nv, *mut *mut Nv);
        reopen = "lzc_reopen"(*const c_char, c_int);
        wait = "lzc_wait"(*const c_char, c_int, *mut c_int);
        wait_tag = "lzc_wait_tag"(*const c_char, c_int, u64, *mut c_int);
        wait_fs = "lzc_wait_fs"(*const c_char, c_int, *mut c_int);
        checkpoint = "lzc_pool_checkpoint"(*const c_char);
        checkpoint_discard = "lzc_pool_checkpoint_discard"(*const c_char);
        get_props = "lzc_get_props"(*const c_char, *mut *mut Nv);
        get_bootenv = "lzc_get_bootenv"(*const c_char, *mut *mut Nv);
        set_bootenv = "lzc_set_bootenv"(*const c_char, *const Nv);
        get_vdev_prop = "lzc_get_vdev_prop"(*const c_char, *mut Nv, *mut *mut Nv);
        set_vdev_prop = "lzc_set_vdev_prop"(*const c_char, *mut Nv, *mut *mut Nv);
    }
}

/// Why a call did not reach the kernel, or the kernel's answer to it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CoreError {
    /// The library has no such function.
    #[error("this libzfs_core has no function {0}")]
    Missing(&'static str),
    /// The library cannot be used; the text says why.
    #[error("{0}")]
    Library(String),
    /// A name has a zero byte inside.
    #[error("a name has a zero byte inside")]
    Nul,
    /// The C library did not take, or could not write, a list.
    #[error("libnvpair: error {0}")]
    List(i32),
    /// The error number of the call.
    #[error("error {0}")]
    Errno(i32),
}

/// The end of a call that may answer with a list also when it fails.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LzcReply {
    /// 0, or the error number.
    pub errno: i32,
    /// The list, packed; empty when the library returned none.
    pub list: Vec<u8>,
}

impl LzcReply {
    /// Returns the list of a call that succeeded.
    ///
    /// # Errors
    /// [`CoreError::Errno`].
    pub fn list(self) -> Result<Vec<u8>, CoreError> {
        check(self.errno)?;
        Ok(self.list)
    }
}

pub(super) fn check(errno: c_int) -> Result<(), CoreError> {
    if errno == 0 { Ok(()) } else { Err(CoreError::Errno(errno)) }
}

/// The opened libraries.
#[derive(Debug)]
pub struct Core {
    pub(super) f: Functions,
    nv: NvFunctions,
    free: NvFree,
}

/// A list of the C library that is freed with its owner.
pub(super) struct NvOwned<'a> {
    pub(super) raw: *mut Nv,
    owner: &'a NvFree,
}

impl Drop for NvOwned<'_> {
    fn drop(&mut self) {
        if let Some(free) = self.owner.free {
            // SAFETY: the pointer is null or a list that the library allocated and no other code frees.
            unsafe { free(self.raw) };
        }
    }
}

impl Core {
    /// Opens the libraries and the library's own descriptor of the control device.
    ///
    /// # Errors
    /// With the dynamic linker's text when a library is not there; with the system's error when
    /// `/dev/zfs` cannot be opened.
    pub fn open() -> io::Result<Self> {
        let library = Library::open(c"libnvpair.so.3")?;
        let (nv, free) = (NvFunctions::load(library), NvFree::load(library));
        let f = Functions::load(Library::open(c"libzfs_core.so.3")?);
        let (Some(init), Some(_), Some(_), Some(_), Some(_)) =
            (f.init, nv.unpack, nv.size, nv.pack, free.free)
        else {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the libraries of OpenZFS are incomplete"));
        };
        // SAFETY: no arguments. The matching fini is left to the end of the process: the library counts.
        match unsafe { init() } {
            0 => Ok(Self { f, nv, free }),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    /// Makes a list of the C library from bytes; no bytes, no list.
    pub(super) fn list(&self, packed: &[u8]) -> Result<NvOwned<'_>, CoreError> {
        let mut raw = ptr::null_mut();
        if !packed.is_empty() {
            let unpack = self.nv.unpack.ok_or(CoreError::Missing("nvlist_unpack"))?;
            // The library wants to write to the buffer: it reads through non-const pointers only.
            let mut copy = packed.to_vec();
            // SAFETY: the buffer is as long as said and outlives the call, which copies all it keeps.
            let errno = unsafe { unpack(copy.as_mut_ptr().cast(), copy.len(), &raw mut raw, 0) };
            if errno != 0 {
                return Err(CoreError::List(errno));
            }
        }
        Ok(NvOwned { raw, owner: &self.free })
    }

    /// Turns a list of the C library into bytes; null into none.
    fn bytes(&self, list: &NvOwned<'_>) -> Result<Vec<u8>, CoreError> {
        if list.raw.is_null() {
            return Ok(Vec::new());
        }
        let (Some(size), Some(pack)) = (self.nv.size, self.nv.pack) else {
            return Err(CoreError::Missing("nvlist_pack"));
        };
        let mut length = 0usize;
        // SAFETY: the list is alive; 0 is the native encoding.
        let errno = unsafe { size(list.raw, &raw mut length, 0) };
        if errno != 0 {
            return Err(CoreError::List(errno));
        }
        let mut out = vec![0u8; length];
        let mut start = out.as_mut_ptr().cast::<c_char>();
        // SAFETY: with a buffer given, the library writes at most `length` bytes into it.
        let errno = unsafe { pack(list.raw, &raw mut start, &raw mut length, 0, 0) };
        if errno == 0 { Ok(out) } else { Err(CoreError::List(errno)) }
    }

    /// Runs a call that may leave a list behind.
    pub(super) fn answer(&self, call: impl FnOnce(*mut *mut Nv) -> c_int) -> Result<LzcReply, CoreError> {
        let mut out = NvOwned { raw: ptr::null_mut(), owner: &self.free };
        let errno = call(&raw mut out.raw);
        Ok(LzcReply { errno, list: self.bytes(&out)? })
    }
}

/// Finds a function that the library may lack.
macro_rules! function {
    ($core:expr, $field:ident, $symbol:literal) => {
        $core.f.$field.ok_or($crate::sys::zfs::core::CoreError::Missing($symbol))?
    };
}
pub(super) use function;

pub(super) fn c(text: &str) -> Result<CString, CoreError> {
    CString::new(text).map_err(|_| CoreError::Nul)
}

/// The pointer of an optional name.
pub(super) fn or_null(text: Option<&CString>) -> *const c_char {
    text.map_or(ptr::null(), |t| t.as_ptr())
}

/// A key as the library takes it: it does not write to it, but its pointer is not const.
fn key_parts(key: Option<&[u8]>) -> (*mut u8, c_uint) {
    key.map_or((ptr::null_mut(), 0), |k| (k.as_ptr().cast_mut(), k.len() as c_uint))
}

/// The text in a buffer that a call filled.
fn filled(buffer: &[u8]) -> String {
    CStr::from_bytes_until_nul(buffer).map(|t| t.to_string_lossy().into_owned()).unwrap_or_default()
}

// The functions for datasets. Names as in the library, without `lzc_`.
impl Core {
    /// Makes a filesystem (2) or volume (3).
    pub fn create(&self, name: &str, kind: i32, props: &[u8], key: Option<&[u8]>) -> Result<(), CoreError> {
        let f = function!(self, create, "lzc_create");
        let (name, props, (key, length)) = (c(name)?, self.list(props)?, key_parts(key));
        // SAFETY: all pointers live until the call returns; the key is only read.
        check(unsafe { f(name.as_ptr(), kind, props.raw, key, length) })
    }

    /// Makes a clone of a snapshot.
    pub fn clone(&self, name: &str, origin: &str, props: &[u8]) -> Result<(), CoreError> {
        let f = function!(self, clone, "lzc_clone");
        let (name, origin, props) = (c(name)?, c(origin)?, self.list(props)?);
        // SAFETY: all pointers live until the call returns.
        check(unsafe { f(name.as_ptr(), origin.as_ptr(), props.raw) })
    }

    /// Swaps a clone with its origin; on a conflict of names, returns the snapshot's name, too.
    pub fn promote(&self, name: &str) -> Result<(), (CoreError, String)> {
        let inner = || -> Result<(c_int, String), CoreError> {
            let f = function!(self, promote, "lzc_promote");
            let name = c(name)?;
            let mut conflict = [0u8; NAME_SIZE];
            // SAFETY: the library writes at most the given number of bytes into the buffer.
            let errno = unsafe { f(name.as_ptr(), conflict.as_mut_ptr().cast(), NAME_SIZE as c_int) };
            Ok((errno, filled(&conflict)))
        };
        let (errno, conflict) = inner().map_err(|e| (e, String::new()))?;
        check(errno).map_err(|e| (e, conflict))
    }

    /// Renames a filesystem or volume; remounts nothing.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), CoreError> {
        let f = function!(self, rename, "lzc_rename");
        let (from, to) = (c(from)?, c(to)?);
        // SAFETY: both names live until the call returns.
        check(unsafe { f(from.as_ptr(), to.as_ptr()) })
    }

    /// Destroys a filesystem or volume.
    pub fn destroy(&self, name: &str) -> Result<(), CoreError> {
        let f = function!(self, destroy, "lzc_destroy");
        let name = c(name)?;
        // SAFETY: the name lives until the call returns.
        check(unsafe { f(name.as_ptr()) })
    }

    /// Takes snapshots, all or none.
    pub fn snapshot(&self, snaps: &[u8], props: &[u8]) -> Result<LzcReply, CoreError> {
        let f = function!(self, snapshot, "lzc_snapshot");
        let (snaps, props) = (self.list(snaps)?, self.list(props)?);
        // SAFETY: both lists live until the call returns; the answer is freed by its owner.
        self.answer(|out| unsafe { f(snaps.raw, props.raw, out) })
    }

    /// Destroys snapshots.
    pub fn destroy_snaps(&self, snaps: &[u8], defer: bool) -> Result<LzcReply, CoreError> {
        let f = function!(self, destroy_snaps, "lzc_destroy_snaps");
        let snaps = self.list(snaps)?;
        // SAFETY: the list lives until the call returns; the answer is freed by its owner.
        self.answer(|out| unsafe { f(snaps.raw, c_int::from(defer), out) })
    }

    /// Goes back to the newest snapshot; returns its name.
    pub fn rollback(&self, name: &str) -> Result<String, CoreError> {
        let f = function!(self, rollback, "lzc_rollback");
        let name = c(name)?;
        let mut snapshot = [0u8; NAME_SIZE];
        // SAFETY: the library writes at most the given number of bytes into the buffer.
        check(unsafe { f(name.as_ptr(), snapshot.as_mut_ptr().cast(), NAME_SIZE as c_int) })?;
        Ok(filled(&snapshot))
    }

    /// Goes back to a snapshot if it is the newest.
    pub fn rollback_to(&self, name: &str, snapshot: &str) -> Result<(), CoreError> {
        let f = function!(self, rollback_to, "lzc_rollback_to");
        let (name, snapshot) = (c(name)?, c(snapshot)?);
        // SAFETY: both names live until the call returns.
        check(unsafe { f(name.as_ptr(), snapshot.as_ptr()) })
    }

    /// Makes bookmarks.
    pub fn bookmark(&self, bookmarks: &[u8]) -> Result<LzcReply, CoreError> {
        let f = function!(self, bookmark, "lzc_bookmark");
        let bookmarks = self.list(bookmarks)?;
        // SAFETY: the list lives until the call returns; the answer is freed by its owner.
        self.answer(|out| unsafe { f(bookmarks.raw, out) })
    }

    /// Lists bookmarks with the properties asked for.
    pub fn get_bookmarks(&self, name: &str, props: &[u8]) -> Result<LzcReply, CoreError> {
        let f = function!(self, get_bookmarks, "lzc_get_bookmarks");
        let (name, props) = (c(name)?, self.list(props)?);
        // SAFETY: name and list live until the call returns; the answer is freed by its owner.
        self.answer(|out| unsafe { f(name.as_ptr(), props.raw, out) })
    }

    /// Returns the properties of one bookmark.
    pub fn get_bookmark_props(&self, name: &str) -> Result<LzcReply, CoreError> {
        let f = function!(self, get_bookmark_props, "lzc_get_bookmark_props");
        let name = c(name)?;
        // SAFETY: the name lives until the call returns; the answer is freed by its owner.
        self.answer(|out| unsafe { f(name.as_ptr(), out) })
    }

    /// Destroys bookmarks.
    pub fn destroy_bookmarks(&self, bookmarks: &[u8]) -> Result<LzcReply, CoreError> {
        let f = function!(self, destroy_bookmarks, "lzc_destroy_bookmarks");
        let bookmarks = self.list(bookmarks)?;
        // SAFETY: the list lives until the call returns; the answer is freed by its owner.
        self.answer(|out| unsafe { f(bookmarks.raw, out) })
    }

    /// Holds snapshots; with a descriptor of the control device, until that is closed.
    pub fn hold(&self, holds: &[u8], cleanup: c_int) -> Result<LzcReply, CoreError> {
        let f = function!(self, hold, "lzc_hold");
        let holds = self.list(holds)?;
        // SAFETY: the list lives until the call returns; a bad descriptor is the kernel's to refuse.
        self.answer(|out| unsafe { f(holds.raw, cleanup, out) })
    }

    /// Ends holds.
    pub fn release(&self, holds: &[u8]) -> Result<LzcReply, CoreError> {
        let f = function!(self, release, "lzc_release");
        let holds = self.list(holds)?;
        // SAFETY: the list lives until the call returns; the answer is freed by its owner.
        self.answer(|out| unsafe { f(holds.raw, out) })
    }

    /// Lists the holds of a snapshot.
    pub fn get_holds(&self, name: &str) -> Result<LzcReply, CoreError> {
        let f = function!(self, get_holds, "lzc_get_holds");
        let name = c(name)?;
        // SAFETY: the name lives until the call returns; the answer is freed by its owner.
        self.answer(|out| unsafe { f(name.as_ptr(), out) })
    }

    /// Says whether there is a dataset of this name that the caller may see.
    pub fn exists(&self, name: &str) -> Result<bool, CoreError> {
        let f = function!(self, exists, "lzc_exists");
        let name = c(name)?;
        // SAFETY: the name lives until the call returns. The answer is a truth value, not an error.
        Ok(unsafe { f(name.as_ptr()) } != 0)
    }

    /// Counts the bytes that a range of snapshots holds alone.
    pub fn snaprange_space(&self, first: &str, last: &str) -> Result<u64, CoreError> {
        let f = function!(self, snaprange_space, "lzc_snaprange_space");
        let (first, last) = (c(first)?, c(last)?);
        let mut used = 0;
        // SAFETY: the names live until the call returns, which writes one number.
        check(unsafe { f(first.as_ptr(), last.as_ptr(), &raw mut used) })?;
        Ok(used)
    }

    /// Loads a key, or with `noop` only tries it.
    pub fn load_key(&self, name: &str, noop: bool, key: &[u8]) -> Result<(), CoreError> {
        let f = function!(self, load_key, "lzc_load_key");
        let (name, (key, length)) = (c(name)?, key_parts(Some(key)));
        // SAFETY: name and key live until the call returns; the key is only read.
        check(unsafe { f(name.as_ptr(), c_int::from(noop), key, length) })
    }

    /// Forgets a key.
    pub fn unload_key(&self, name: &str) -> Result<(), CoreError> {
        let f = function!(self, unload_key, "lzc_unload_key");
        let name = c(name)?;
        // SAFETY: the name lives until the call returns.
        check(unsafe { f(name.as_ptr()) })
    }

    /// Changes a key, or from which dataset it is inherited.
    pub fn change_key(
        &self,
        name: &str,
        command: u64,
        props: &[u8],
        key: Option<&[u8]>,
    ) -> Result<(), CoreError> {
        let f = function!(self, change_key, "lzc_change_key");
        let (name, props, (key, length)) = (c(name)?, self.list(props)?, key_parts(key));
        // SAFETY: all pointers live until the call returns; the key is only read.
        check(unsafe { f(name.as_ptr(), command, props.raw, key, length) })
    }
}
