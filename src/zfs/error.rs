//! The errors: one enum for each function, and [`CallFailure`] for those that any call can have.
//!
//! The same error number means different things in different calls. Each enum lists the meanings that
//! a call gives them, with the number in the description of the variant; the names are those of the
//! Python binding, so that its documentation applies, and [`CallFailure`] is its fallback.

use std::collections::BTreeMap;
use std::fmt;

use thiserror::Error;

use super::nvlist::{DecodeError, EncodeError, List};
use crate::sys::zfs::{CoreError, LzcReply, errno};

/// An error that any call can have.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CallFailure {
    /// `EIO`: the disk or the pool has a fault.
    #[error("'{0}': input/output error")]
    ZIOError(String),
    /// `ENOSPC`: the pool is full.
    #[error("'{0}': no space left in the pool")]
    NoSpace(String),
    /// `EDQUOT`: a quota or limit is reached.
    #[error("'{0}': a quota or limit is reached")]
    QuotaExceeded(String),
    /// `EBUSY`: mounted, open, held, or with snapshots.
    #[error("'{0}' is busy")]
    DatasetBusy(String),
    /// `ENAMETOOLONG`: longer than [`super::name::NAME_MAX`].
    #[error("the name '{0}' is too long")]
    NameTooLong(String),
    /// `EROFS`: the pool is imported read-only.
    #[error("the pool of '{0}' is read-only")]
    ReadOnlyPool(String),
    /// `EAGAIN`: the pool waits for a device to come back.
    #[error("the pool of '{0}' is suspended")]
    SuspendedPool(String),
    /// `EXDEV`: the arguments are of different pools.
    #[error("'{0}' is in another pool")]
    PoolsDiffer(String),
    /// `ENOTSUP`: not with this pool's version or features.
    #[error("'{0}': not supported by this pool")]
    PropertyNotSupported(String),
    /// `EPERM`, `EACCES`: not allowed here.
    #[error("'{0}': permission denied")]
    PermissionDenied(String),
    /// 1029 to 1032: the kernel module is older than the library, or the other way round.
    #[error(
        "the loaded ZFS module does not know this call (error {0}): module and library are of different releases"
    )]
    ModuleTooOld(i32),
    /// The library has no such function: it is older than the call.
    #[error("the installed libzfs_core has no function '{0}': install a newer OpenZFS")]
    Missing(&'static str),
    /// The library is not installed or does not load.
    #[error("libzfs_core: {0}")]
    Library(String),
    /// A name has a zero byte inside.
    #[error("the name '{0}' has a zero byte inside")]
    BadName(String),
    /// An argument cannot be written as a list.
    #[error("an argument cannot be passed: {0}")]
    Encode(#[from] EncodeError),
    /// The answer is not a list.
    #[error("the answer cannot be read: {0}")]
    Decode(#[from] DecodeError),
    /// Any other number.
    #[error("'{name}': error {errno}, which has no special meaning here")]
    ZFSGenericError {
        /// The object of the call.
        name: String,
        /// The number.
        errno: i32,
    },
}

impl CallFailure {
    /// Returns the meaning of an error number that the call itself does not explain.
    pub(super) fn from_errno(number: i32, name: &str) -> Self {
        let name = name.to_owned();
        match number {
            errno::EIO => Self::ZIOError(name),
            errno::ENOSPC => Self::NoSpace(name),
            errno::EDQUOT => Self::QuotaExceeded(name),
            errno::EBUSY => Self::DatasetBusy(name),
            errno::ENAMETOOLONG => Self::NameTooLong(name),
            errno::EROFS => Self::ReadOnlyPool(name),
            errno::EAGAIN => Self::SuspendedPool(name),
            errno::EXDEV => Self::PoolsDiffer(name),
            errno::ENOTSUP => Self::PropertyNotSupported(name),
            errno::EPERM | errno::EACCES => Self::PermissionDenied(name),
            errno::ZFS_ERR_IOC_CMD_UNAVAIL..=errno::ZFS_ERR_IOC_ARG_BADTYPE => Self::ModuleTooOld(number),
            errno => Self::ZFSGenericError { name, errno },
        }
    }

    /// Splits off failures before the call reached the kernel; the rest is an error number.
    pub(super) fn errno_of(error: CoreError, name: &str) -> Result<i32, Self> {
        match error {
            CoreError::Errno(number) => Ok(number),
            CoreError::Missing(symbol) => Err(Self::Missing(symbol)),
            CoreError::Library(text) => Err(Self::Library(text)),
            CoreError::Nul => Err(Self::BadName(name.to_owned())),
            CoreError::List(errno) => Err(Self::ZFSGenericError { name: name.to_owned(), errno }),
        }
    }

    /// Returns the name of the variant.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ZIOError(_) => "ZIOError",
            Self::NoSpace(_) => "NoSpace",
            Self::QuotaExceeded(_) => "QuotaExceeded",
            Self::DatasetBusy(_) => "DatasetBusy",
            Self::NameTooLong(_) => "NameTooLong",
            Self::ReadOnlyPool(_) => "ReadOnlyPool",
            Self::SuspendedPool(_) => "SuspendedPool",
            Self::PoolsDiffer(_) => "PoolsDiffer",
            Self::PropertyNotSupported(_) => "PropertyNotSupported",
            Self::PermissionDenied(_) => "PermissionDenied",
            Self::ModuleTooOld(_) => "ModuleTooOld",
            Self::Missing(_) => "Missing",
            Self::Library(_) => "Library",
            Self::BadName(_) => "BadName",
            Self::Encode(_) => "Encode",
            Self::Decode(_) => "Decode",
            Self::ZFSGenericError { .. } => "ZFSGenericError",
        }
    }

    /// Says whether trying again later can help: the dataset is in use at the moment.
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::DatasetBusy(_))
    }
}

/// Questions that the enum of every function answers.
pub trait Meaning: std::error::Error + From<CallFailure> + Sized {
    /// Returns the meaning of an error number for this call.
    fn from_errno(number: i32, name: &str) -> Self;

    /// Returns the name of the variant.
    fn name(&self) -> &'static str;

    /// Returns the error that any call can have, if it is one.
    fn failure(&self) -> Option<&CallFailure>;

    /// Says whether trying again later can help: the dataset is in use at the moment.
    fn is_busy(&self) -> bool {
        self.failure().is_some_and(CallFailure::is_busy) || self.name().ends_with("Busy")
    }

    /// Says whether the object that the call was about is not there.
    fn is_not_found(&self) -> bool {
        self.name().ends_with("NotFound")
    }

    /// Translates an error of the library.
    fn from_core(error: CoreError, name: &str) -> Self {
        match CallFailure::errno_of(error, name) {
            Ok(number) => Self::from_errno(number, name),
            Err(failure) => failure.into(),
        }
    }
}

/// Declares the errors of a call: `EXXX => Name "text"`. A meaning that is `told_apart` is found by the call's own
/// code; the others are the meaning of the number if that code found nothing.
macro_rules! errors {
    ($($(#[$meta:meta])* $enum:ident {
        $($($errno:ident)|+ => $variant:ident $text:literal $(, $apart:ident)?;)*
    })*) => {
        $(
            errors!(@enum $(#[$meta])* $enum { $($variant [$(stringify!($errno)),+] $text;)* });
            impl $crate::zfs::error::Meaning for $enum {
                fn from_errno(number: i32, name: &str) -> Self {
                    $(errors!(@map [$($apart)?] number name $variant $($errno)|+);)*
                    $crate::zfs::error::CallFailure::from_errno(number, name).into()
                }
                fn name(&self) -> &'static str {
                    match self {
                        $(Self::$variant(_) => stringify!($variant),)*
                        Self::Any(failure) => failure.name(),
                    }
                }
                fn failure(&self) -> Option<&$crate::zfs::error::CallFailure> {
                    match self {
                        Self::Any(failure) => Some(failure),
                        #[allow(unreachable_patterns)]
                        _ => None,
                    }
                }
            }
        )*
    };
    (@enum $(#[$meta:meta])* $enum:ident { $($variant:ident [$first:expr $(, $rest:expr)*] $text:literal;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
        pub enum $enum {
            $(
                #[doc = concat!("`", $first, $("`, `", $rest,)* "`: ", $text, ".")]
                #[error($text)]
                $variant(String),
            )*
            /// An error that any call can have.
            #[error(transparent)]
            Any(#[from] $crate::zfs::error::CallFailure),
        }
    };
    (@map [] $number:ident $name:ident $variant:ident $($errno:ident)|+) => {
        if matches!($number, $($crate::sys::zfs::errno::$errno)|+) {
            return Self::$variant($name.to_owned());
        }
    };
    (@map [told_apart] $number:ident $name:ident $variant:ident $($errno:ident)|+) => {};
}
pub(super) use errors;

/// The failure of a call about several objects: the error of each.
///
/// When the kernel does not say which object it was, the single error stands under no name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch<E> {
    /// The failed action, in words.
    what: &'static str,
    /// The error of each object, by its name.
    pub errors: Vec<(Option<String>, E)>,
    /// How many more errors there were than were reported.
    pub suppressed: u64,
}

impl<E: fmt::Display> fmt::Display for Batch<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}", self.what)?;
        for (i, (_, error)) in self.errors.iter().enumerate() {
            write!(f, "{} {error}", if i == 0 { ":" } else { ";" })?;
        }
        if self.suppressed > 0 {
            write!(f, "; and {} more", self.suppressed)?;
        }
        Ok(())
    }
}

impl<E: std::error::Error> std::error::Error for Batch<E> {}

impl<E: Meaning> Batch<E> {
    /// A failure before the call reached the kernel.
    pub(super) fn single(what: &'static str, error: E) -> Self {
        Self { what, errors: vec![(None, error)], suppressed: 0 }
    }

    /// A failure of each object, for tests of what follows from it.
    #[cfg(test)]
    pub(crate) fn of_each(what: &'static str, errors: Vec<(Option<String>, E)>) -> Self {
        Self { what, errors, suppressed: 0 }
    }

    /// Checks an answer: nothing, or each object's error by `meaning`.
    pub(super) fn check<'a>(
        what: &'static str,
        answer: Result<LzcReply, CoreError>,
        names: impl Iterator<Item = &'a str>,
        meaning: impl Fn(i32, Option<&str>) -> E,
    ) -> Result<(), Self> {
        let answer = answer.map_err(|e| Self::single(what, E::from_core(e, "")))?;
        if answer.errno == 0 {
            return Ok(());
        }
        let list = if answer.list.is_empty() { Ok(List::new()) } else { List::decode(&answer.list) };
        let mut each: BTreeMap<String, i32> = BTreeMap::new();
        let mut suppressed = 0;
        for (name, value) in list.unwrap_or_default() {
            let Some(number) = value.as_i64() else { continue };
            if name == "N_MORE_ERRORS" {
                suppressed = u64::try_from(number).unwrap_or(0);
            } else {
                each.insert(name, i32::try_from(number).unwrap_or(errno::EIO));
            }
        }
        let errors = if each.is_empty() {
            // One error for all: it has a name only when there is just one object.
            let mut names = names;
            let only = names.next().filter(|_| names.next().is_none());
            vec![(only.map(str::to_owned), meaning(answer.errno, only))]
        } else {
            each.into_iter()
                .map(|(name, number)| (Some(name.clone()), meaning(number, Some(&name))))
                .collect()
        };
        Err(Self { what, errors, suppressed })
    }

    /// Returns the error of one object.
    pub fn of(&self, name: &str) -> Option<&E> {
        self.errors.iter().find(|(n, _)| n.as_deref() == Some(name)).map(|(_, e)| e)
    }
}

/// Reads the list of an answer.
pub(super) fn read<E: Meaning>(answer: Result<LzcReply, CoreError>, name: &str) -> Result<List, E> {
    let packed = answer.and_then(LzcReply::list).map_err(|e| E::from_core(e, name))?;
    if packed.is_empty() {
        return Ok(List::new());
    }
    List::decode(&packed).map_err(|e| CallFailure::from(e).into())
}

/// Packs an argument; an empty list of optional properties is none.
pub(super) fn pack(list: &List) -> Result<Vec<u8>, CallFailure> {
    if list.is_empty() { Ok(Vec::new()) } else { Ok(list.to_native()?) }
}
