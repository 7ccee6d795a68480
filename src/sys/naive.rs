//! Leaving a defence out, so that the test of an attack can be seen to fail without it.
//!
//! Only a build with the feature `naive` can, which refuses to be one without debug assertions; anywhere
//! else the answer is a constant. `tests/escapes/naive` makes such a build, in a folder of its own, and tries
//! every defence.

#[cfg(all(feature = "naive", not(debug_assertions)))]
compile_error!("the feature `naive` takes defences away: it is for tests and no release has it");

/// Says whether a defence is left out. `ZONES_TEST_WITHOUT` names those that are, with commas between them.
#[cfg(feature = "naive")]
pub fn without(defence: &str) -> bool {
    std::env::var("ZONES_TEST_WITHOUT").is_ok_and(|list| list.split(',').any(|name| name == defence))
}

/// Says whether a defence is left out: never.
#[cfg(not(feature = "naive"))]
pub const fn without(_defence: &str) -> bool {
    false
}

/// Returns the environment with which a program leaves out the same defences.
#[cfg(feature = "naive")]
pub fn handed_on() -> Option<(&'static str, String)> {
    std::env::var("ZONES_TEST_WITHOUT").ok().map(|list| ("ZONES_TEST_WITHOUT", list))
}

/// Returns the environment with which a program leaves out the same defences: an empty one.
#[cfg(not(feature = "naive"))]
pub const fn handed_on() -> Option<(&'static str, String)> {
    None
}
