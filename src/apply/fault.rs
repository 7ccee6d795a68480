//! Places at which a test may kill this process, to see that any moment is survived.

/// In debug builds, ends the process at a place, as `kill -9` would, when a test asks for it.
pub fn at(place: &str) {
    #[cfg(debug_assertions)]
    if std::env::var("ZONES_TEST_KILL_AT").is_ok_and(|n| n == place) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
    #[cfg(not(debug_assertions))]
    let _ = place;
}

/// A place at which a test may kill this process, to see that any moment is survived.
///
/// `ZONES_TEST_KILL_AT=N` kills at the N-th such place; only in builds with debug assertions.
pub fn next() {
    #[cfg(debug_assertions)]
    {
        use std::sync::atomic::{AtomicU64, Ordering};
        static PASSED: AtomicU64 = AtomicU64::new(0);
        let at = std::env::var("ZONES_TEST_KILL_AT").ok().and_then(|n| n.parse::<u64>().ok());
        if at.is_some_and(|at| PASSED.fetch_add(1, Ordering::Relaxed) + 1 == at) {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        }
    }
}
