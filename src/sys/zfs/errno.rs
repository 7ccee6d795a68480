//! Error numbers of ZFS calls: those of the system, and ZFS' own from 1024 on.

pub use libc::{
    E2BIG, EACCES, EAGAIN, EBADE, EBADF, EBUSY, ECHRNG, EDQUOT, EEXIST, EINTR, EINVAL, EIO, ENAMETOOLONG,
    ENODEV, ENOENT, ENOMEM, ENOSPC, ENOTSOCK, ENOTSUP, ENXIO, EOPNOTSUPP, EPERM, ERANGE, EROFS, ESRCH, ETIME,
    ETXTBSY, EXDEV,
};

/// A stream's checksum is wrong (OpenZFS borrows `EBADE`).
pub const ECKSUM: i32 = EBADE;

macro_rules! own {
    ($($name:ident = $number:literal),* $(,)?) => {
        $(#[doc = concat!("OpenZFS' own error ", stringify!($number), ".")] pub const $name: i32 = $number;)*
    };
}

own! {
    ZFS_ERR_CHECKPOINT_EXISTS = 1024,
    ZFS_ERR_DISCARDING_CHECKPOINT = 1025,
    ZFS_ERR_NO_CHECKPOINT = 1026,
    ZFS_ERR_DEVRM_IN_PROGRESS = 1027,
    ZFS_ERR_VDEV_TOO_BIG = 1028,
    ZFS_ERR_IOC_CMD_UNAVAIL = 1029,
    ZFS_ERR_IOC_ARG_UNAVAIL = 1030,
    ZFS_ERR_IOC_ARG_REQUIRED = 1031,
    ZFS_ERR_IOC_ARG_BADTYPE = 1032,
    ZFS_ERR_WRONG_PARENT = 1033,
    ZFS_ERR_BOOKMARK_SOURCE_NOT_ANCESTOR = 1039,
    ZFS_ERR_STREAM_TRUNCATED = 1040,
    ZFS_ERR_BADPROP = 1044,
    ZFS_ERR_NOT_USER_NAMESPACE = 1046,
    ZFS_ERR_RAIDZ_EXPAND_IN_PROGRESS = 1049,
    ZFS_ERR_NO_USER_NS_SUPPORT = 1053,
}
