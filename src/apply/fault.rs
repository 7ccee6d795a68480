//! Fault points: the places at which a test ends this process, as `kill -9` would, to show that a crash at any
//! moment is recovered from.
//!
//! In builds with debug assertions, `ZONES_TEST_KILL_AT` chooses the point:
//!
//! | value | ends the process at |
//! |---|---|
//! | a name, such as `link-up` | the first point of that name |
//! | a name with the number of a step, such as `started-3` | the line of the journal that says so |
//! | a number | the point that it passes as the n-th, whatever its name |

/// A fault point. Names are in small letters and name the action that has just ended.
pub fn point(name: &str) {
    #[cfg(debug_assertions)]
    {
        use std::sync::atomic::{AtomicU64, Ordering};
        static PASSED: AtomicU64 = AtomicU64::new(0);
        let Ok(at) = std::env::var("ZONES_TEST_KILL_AT") else { return };
        let passed = PASSED.fetch_add(1, Ordering::Relaxed) + 1;
        if at == name || at.parse() == Ok(passed) {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        }
    }
    #[cfg(not(debug_assertions))]
    let _ = name;
}

/// A fault point at a step of a plan.
pub fn numbered(name: &str, step: usize) {
    if cfg!(debug_assertions) {
        point(&format!("{name}-{step}"));
    }
}
