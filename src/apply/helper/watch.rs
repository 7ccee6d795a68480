//! The supervisor's watch over a helper: it holds the descriptors that the helper serves, and starts another one
//! when it dies.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::{Keeper, Serve, start};
use crate::apply::paths::Root;
use crate::spec::ZoneName;

/// A helper that dies so often, within so much time, is not started again: something is wrong with it.
const DEATHS: usize = 20;
const WITHIN: Duration = Duration::from_secs(60);

/// Writes a line about a zone to a log.
pub type LogLine = fn(&ZoneName, &str);

/// A helper that is watched.
#[derive(Debug)]
pub struct Watch {
    keeper: Keeper,
    deaths: Vec<Instant>,
    log: LogLine,
}

impl Watch {
    /// Begins to watch the helper of a running zone; starts one when there is none. None: it cannot be started.
    pub fn begin<S: Serve>(root: &Root, name: &ZoneName, init: i32, log: LogLine) -> Option<Self> {
        let keeper = Keeper::connect(&S::HELPER, root, name).or_else(|| {
            // Its descriptors for the running processes of the zone are lost; it serves those of new ones.
            started::<S>(root, name, init, &[], log)
        });
        Some(Self { keeper: keeper?, deaths: Vec::new(), log })
    }

    /// Takes the descriptors that the helper has sent. Says whether it lives.
    pub fn take(&mut self) -> bool {
        self.keeper.take()
    }

    /// Starts another helper in the place of a dead one.
    pub fn replace<S: Serve>(mut self, root: &Root, name: &ZoneName, init: i32) -> Option<Self> {
        let (called, consequence) = (S::HELPER.name, S::HELPER.consequence);
        self.deaths.retain(|at| at.elapsed() < WITHIN);
        self.deaths.push(Instant::now());
        if self.deaths.len() > DEATHS {
            (self.log)(name, &format!("{called} dies again and again; {consequence}"));
            return None;
        }
        (self.log)(name, &format!("{called} has died; starting another one"));
        let keeper = started::<S>(root, name, init, &self.keeper.held(), self.log)?;
        Some(Self { keeper, ..self })
    }
}

fn started<S: Serve>(
    root: &Root,
    name: &ZoneName,
    init: i32,
    held: &[BorrowedFd<'_>],
    log: LogLine,
) -> Option<Keeper> {
    if let Err(e) = start::<S>(root, name, init, held) {
        log(name, &format!("cannot start {}: {e}", S::HELPER.name));
        return None;
    }
    Keeper::connect(&S::HELPER, root, name)
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.keeper.as_fd()
    }
}
