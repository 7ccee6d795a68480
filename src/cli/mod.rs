//! cli
pub mod manual;
