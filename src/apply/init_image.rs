//! The built-in init, as bytes: a static program that runs in any root. Its source is `src/init`.

/// ELF image of process 1 for zones whose root has no init of its own.
pub const INIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/zone-init"));
