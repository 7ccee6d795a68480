//! A spec and the facts of the machine become a plan: data that can be printed, tested and carried out. No input or
//! output here.

pub mod boot;
pub mod bootargs;
pub mod confine;
pub mod dataset;
pub mod host;
pub mod image;
pub mod inherit;
pub mod install;
pub mod limits;
pub mod net;
pub mod options;
pub mod order;
pub mod profile;
pub mod reclaim;
pub mod spl;
pub mod step;
pub mod storage;
pub mod sysconfig;
pub mod zfs;
