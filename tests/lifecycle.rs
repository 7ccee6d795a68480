//! `clone`, `move`, `detach` and `attach` on plain directories, as programs, below a throw-away root.
//! What needs real ZFS is in `zfs-zone/lifecycle.sh`.

#![allow(clippy::disallowed_methods)] // programs are what is tested here

mod lifecycle_tests;
