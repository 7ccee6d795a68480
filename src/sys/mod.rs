//! sys

pub mod path;
pub mod tree;
