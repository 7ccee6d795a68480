//! How a command ends that signals ask to end: first it hears of it, then it is killed, then it is left.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::sys::naive::without;

/// How long a command may take to answer a signal.
pub const GRACE: Duration = Duration::from_secs(5);
/// How long the kernel may take to end a process that was killed.
pub const LAST: Duration = Duration::from_secs(1);
/// Signals so close to each other are one: timeout(1) sends its own to the process and to its group.
const SAME: Duration = Duration::from_millis(100);

/// The next thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TerminationStep {
    /// Nothing.
    Wait,
    /// Pass the signal on.
    Pass(Signal),
    /// Kill the processes that can be killed.
    Kill,
    /// End without it.
    Leave,
}

/// The signals that have come, and what came of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Termination {
    asked: Option<(Signal, Instant)>,
    killed: Option<Instant>,
}

impl Termination {
    /// Takes a signal that asks for the end. A process that cannot `answer`, since none of its programs runs yet, is
    /// killed at once.
    pub fn on_signal(&mut self, signal: Signal, can_answer: bool, now: Instant) -> TerminationStep {
        match self.asked {
            None => {
                self.asked = Some((signal, now));
                if can_answer { TerminationStep::Pass(signal) } else { self.kill(now) }
            }
            Some((first, at)) if now.saturating_duration_since(at) < SAME => {
                if first == signal || self.killed.is_some() {
                    TerminationStep::Wait
                } else {
                    TerminationStep::Pass(signal)
                }
            }
            Some(_) if without("end") => TerminationStep::Pass(signal),
            Some(_) if self.killed.is_none() => self.kill(now),
            Some(_) => TerminationStep::Wait,
        }
    }

    /// Returns the step that is due by now.
    pub fn due(&mut self, now: Instant) -> TerminationStep {
        if self.limit(now) != Some(Duration::ZERO) {
            TerminationStep::Wait
        } else if self.killed.is_none() {
            self.kill(now)
        } else {
            TerminationStep::Leave
        }
    }

    /// Returns how long nothing is due; none: for ever.
    pub fn limit(&self, now: Instant) -> Option<Duration> {
        if without("end") {
            return None;
        }
        let (_, asked) = self.asked?;
        let until = self.killed.map_or(asked + GRACE, |killed| killed + LAST);
        Some(until.saturating_duration_since(now))
    }

    /// Returns the first signal that asked for the end.
    pub fn asked_by(&self) -> Option<Signal> {
        self.asked.map(|(signal, _)| signal)
    }

    /// Says whether the time for an answer is over.
    pub fn has_killed(&self) -> bool {
        self.killed.is_some()
    }

    fn kill(&mut self, now: Instant) -> TerminationStep {
        self.killed = Some(now);
        TerminationStep::Kill
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Signal::{SIGINT, SIGTERM};

    #[test]
    fn first_the_signal_then_the_end() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let mut ending = Termination::default();
        assert_eq!((ending.due(start), ending.limit(start)), (TerminationStep::Wait, None));
        assert_eq!(ending.on_signal(SIGTERM, true, start), TerminationStep::Pass(SIGTERM));
        // The same signal once more, to the group, and another one with it.
        assert_eq!(ending.on_signal(SIGTERM, true, after(20)), TerminationStep::Wait);
        assert_eq!(ending.on_signal(SIGINT, true, after(30)), TerminationStep::Pass(SIGINT));
        assert_eq!((ending.due(after(4999)), ending.has_killed()), (TerminationStep::Wait, false));
        assert_eq!(ending.limit(after(4000)), Some(Duration::from_secs(1)));
        assert_eq!((ending.due(after(5000)), ending.asked_by()), (TerminationStep::Kill, Some(SIGTERM)));
        assert_eq!(ending.on_signal(SIGTERM, true, after(5500)), TerminationStep::Wait);
        assert_eq!(
            (ending.due(after(5999)), ending.due(after(6000))),
            (TerminationStep::Wait, TerminationStep::Leave)
        );
    }

    #[test]
    fn a_second_signal_kills() {
        let start = Instant::now();
        let mut ending = Termination::default();
        ending.on_signal(SIGINT, true, start);
        assert_eq!(
            ending.on_signal(SIGTERM, true, start + Duration::from_millis(200)),
            TerminationStep::Kill
        );
        assert_eq!((ending.asked_by(), ending.has_killed()), (Some(SIGINT), true));
        let mut ending = Termination::default();
        assert_eq!(ending.on_signal(SIGINT, false, start), TerminationStep::Kill);
    }
}
