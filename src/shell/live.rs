//! Names of the live system: for completion, and to tell whether a user exists. Never read when no
//! person is typing, but for the one question about a user.

use std::io;

/// Returns the reason of the system without Rust's trailing error number.
pub fn reason(e: &io::Error) -> String {
    let text = e.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// Says whether the host knows a login name.
pub fn is_user(name: &str) -> bool {
    nix::unistd::User::from_name(name).is_ok_and(|user| user.is_some())
}
