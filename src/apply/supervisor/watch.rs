//! The supervisor's eye on the guard of the zone's datasets: it holds what the guard hears, and starts
//! another one when the guard dies.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use crate::apply::guard::{self, Keeper};
use crate::apply::paths::Root;
use crate::spec::ZoneName;

/// A guard that dies so often, within so much time, is not started again: something is wrong with it.
const DEATHS: usize = 20;
const WITHIN: Duration = Duration::from_secs(60);

/// A guard that is watched.
#[derive(Debug)]
pub(super) struct Watch {
    keeper: Keeper,
    deaths: Vec<Instant>,
}

impl Watch {
    /// Begins to watch the guard of a running zone; starts one when there is none. None: the zone has no
    /// datasets.
    pub(super) fn begin(root: &Root, name: &ZoneName, init: i32) -> Option<Self> {
        if !guard::is_needed(root, name) || guard::is_left_out() {
            return None;
        }
        let keeper = Keeper::connect(root, name).or_else(|| {
            // Nobody holds what the processes of the zone ask; new ones are guarded all the same.
            started(root, name, init, &[])
        });
        Some(Self { keeper: keeper?, deaths: Vec::new() })
    }

    /// Takes what the guard has sent. Says whether it lives.
    pub(super) fn take(&mut self) -> bool {
        self.keeper.take()
    }

    /// Starts another guard in the place of one that has died.
    pub(super) fn replace(mut self, root: &Root, name: &ZoneName, init: i32) -> Option<Self> {
        self.deaths.retain(|at| at.elapsed() < WITHIN);
        self.deaths.push(Instant::now());
        if self.deaths.len() > DEATHS {
            super::log(
                name,
                "the guard of its datasets dies again and again; ZFS requests that are checked fail",
            );
            return None;
        }
        super::log(name, "the guard of its datasets has died; starting another one");
        let keeper = started(root, name, init, &self.keeper.listeners())?;
        Some(Self { keeper, deaths: self.deaths })
    }
}

fn started(root: &Root, name: &ZoneName, init: i32, listeners: &[BorrowedFd<'_>]) -> Option<Keeper> {
    if let Err(e) = guard::start(root, name, init, listeners) {
        super::log(name, &format!("cannot start the guard of its datasets: {e}"));
        return None;
    }
    Keeper::connect(root, name)
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.keeper.as_fd()
    }
}
