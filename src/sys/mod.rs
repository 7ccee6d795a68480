//! How the kernel is called; the only module with unsafe code. It knows nothing of zones but names.

pub mod mountinfo;
pub mod path;
pub mod process;
pub mod tree;
