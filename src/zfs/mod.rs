//! OpenZFS, typed.

pub mod nvlist;
