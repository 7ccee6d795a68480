//! OpenZFS as the machine offers it: the C library, opened at run time, and the control device.
//!
//! Lists go in and out as packed bytes; their meaning is the business of `crate::zfs`. A host without ZFS has
//! neither library nor device, and this module is not used there.

pub mod core;
mod core_pool;
mod core_stream;
pub mod device;
mod dynamic;
pub mod errno;
pub mod foreign;
pub mod volume;

pub use core::{Core, CoreError, LzcReply};
pub use core_stream::{RECORD_SIZE, ReceiveCall, Received, SendCall};
pub use device::{Device, Ioctl, Stats, ZfsRequest};
