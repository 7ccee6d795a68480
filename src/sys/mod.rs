//! How the kernel is called; the only module with unsafe code. It knows nothing of zones but names.

pub mod mount;
pub mod ns;
pub mod process;
