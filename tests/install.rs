//! `install` and `uninstall` on plain directories, below a throw-away root.

mod install_tests;
