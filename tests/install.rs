//! `install` and `uninstall` on plain directories, below a throw-away root.

#![allow(clippy::disallowed_methods)]

mod install_tests;
