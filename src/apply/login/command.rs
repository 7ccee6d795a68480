//! A command that runs in the zone without a terminal: its streams, its end, and signals on the way.

use std::os::fd::AsFd;
use std::time::Instant;

use nix::sys::signal::Signal;

use super::ending::{Termination, TerminationStep};
use super::{LoginError, failure_of, known};
use crate::apply::relay::Relay;
use crate::sys::channel::Channel;
use crate::sys::enter::{Entered, signal_group};
use crate::sys::process::{self, Child, Ended};
use crate::sys::tty::{self, Signals};

/// A command that has entered.
pub struct LoginCommand {
    child: Child,
    /// Until the program is executed, the files that the zone shows the new process may block it for ever.
    channel: Option<Channel>,
    relay: Relay,
    signals: Signals,
    ending: Termination,
    /// It has ended so; its output may still be on its way.
    end: Option<process::ChildEnd>,
}

impl LoginCommand {
    pub fn new(entered: Entered, relay: Relay, signals: Signals) -> Self {
        let Entered { child, channel } = entered;
        Self { child, channel: Some(channel), relay, signals, ending: Termination::default(), end: None }
    }

    /// Carries its streams until it has ended, and returns how. Signals that ask for the end are passed on;
    /// see [`Termination`].
    ///
    /// # Errors
    /// When the login does not come about, or a stream of the caller fails.
    pub fn wait(mut self) -> Result<Ended, LoginError> {
        loop {
            let signalled = self.turn()?;
            if let Some(end) = self.end.filter(|_| self.relay.is_done()) {
                return self.outcome(end);
            }
            if signalled && !self.hear() {
                return Ok(self.ended_by_request());
            }
            match self.ending.due(Instant::now()) {
                // Its number may be another's by now; only the reader of its output is still waited for.
                TerminationStep::Kill | TerminationStep::Leave if self.end.is_some() => {
                    return Ok(self.ended_by_request());
                }
                TerminationStep::Leave => return self.leave(),
                step => self.take(step),
            }
        }
    }

    /// Waits for something, and does it; says whether there are signals.
    fn turn(&mut self) -> Result<bool, LoginError> {
        let told = self.channel.as_ref().map(AsFd::as_fd);
        let child = self.end.is_none().then(|| self.child.as_fd());
        let limit = self.ending.limit(Instant::now());
        let others = [Some(self.signals.as_fd()), child, told];
        let [signalled, ended, told] = self.relay.turn(others, limit).map_err(LoginError::Relay)?;
        if told && let Some(channel) = self.channel.take() {
            failure_of(&channel)?;
        }
        if ended && let Some(end) = self.child.end() {
            // It may have failed and ended between two looks.
            self.channel.take().as_ref().map_or(Ok(()), failure_of)?;
            self.relay.other_side_has_ended();
            self.end = Some(end);
        }
        Ok(signalled)
    }

    /// Handles the signals that have come; says whether to go on.
    fn hear(&mut self) -> bool {
        while let Some(signal) = self.signals.next() {
            match signal {
                Signal::SIGCHLD => {}
                // The group has no parent in its session, so the kernel ignores a plain SIGTSTP there.
                Signal::SIGTSTP if self.end.is_none() => {
                    signal_group(self.child.pid, Signal::SIGSTOP);
                    tty::stop_self();
                    signal_group(self.child.pid, Signal::SIGCONT);
                }
                Signal::SIGTSTP => tty::stop_self(),
                other => {
                    let step = self.ending.on_signal(other, self.channel.is_none(), Instant::now());
                    if self.end.is_none() {
                        self.take(step);
                    } else if step != TerminationStep::Wait {
                        return false;
                    }
                }
            }
        }
        true
    }

    fn take(&self, step: TerminationStep) {
        match step {
            TerminationStep::Pass(signal) => {
                signal_group(self.child.pid, signal);
                // A stopped process hears nothing.
                signal_group(self.child.pid, Signal::SIGCONT);
            }
            TerminationStep::Kill => signal_group(self.child.pid, Signal::SIGKILL),
            TerminationStep::Wait | TerminationStep::Leave => {}
        }
    }

    fn outcome(self, end: process::ChildEnd) -> Result<Ended, LoginError> {
        if self.ending.has_killed() {
            return Ok(self.ended_by_request());
        }
        self.relay.result()?;
        known(end)
    }

    /// Returns the end by the signal that asked for it.
    fn ended_by_request(&self) -> Ended {
        Ended::Signal(self.ending.asked_by().unwrap_or(Signal::SIGKILL) as i32)
    }

    /// Ends without the process.
    fn leave(self) -> Result<Ended, LoginError> {
        let signal = self.ending.asked_by().unwrap_or(Signal::SIGKILL);
        Err(LoginError::Left { pid: self.child.pid, signal })
    }
}
