//! Carries plans out: the store of specs and states, the engine, and the operations of `zoneadm`.

pub mod init_image;
pub mod paths;
pub mod running;
