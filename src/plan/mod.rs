//! plan

pub mod host;
pub mod install;
