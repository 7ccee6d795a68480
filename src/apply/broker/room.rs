//! How much of the broker each user may have at once.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::apply::caller::name_of;
use crate::sys::naive::without;

/// Connections at once for one user, and for all of them: a session is one as long as it lasts.
const OF_USER: usize = 32;
const OF_ALL: usize = 512;
/// The part of [`OF_ALL`] that only users get who have no connection yet.
const KEPT: usize = 128;
/// How long an answer of the user database counts, and how many of them are kept.
const FRESH: Duration = Duration::from_secs(60);
const ANSWERS: usize = 4096;

/// For whom a place is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requester {
    /// A user id that the host has a name for.
    Known(u32),
    /// Any other one. They count as one user: a user of the host may act as each of its many subordinate ids, by
    /// set-user-ID programs made in a user namespace.
    Unknown,
}

/// The places that are taken, each by a process.
#[derive(Debug, Default)]
pub struct Room {
    taken: Vec<(i32, Requester)>,
    names: HashMap<u32, (bool, Instant)>,
}

impl Room {
    /// Says whether no place is taken.
    pub fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }

    /// Finds out as whom a user id counts.
    pub fn user(&mut self, uid: u32) -> Requester {
        if self.is_known(uid) || without("unknown-ids") { Requester::Known(uid) } else { Requester::Unknown }
    }

    /// Asks the user database, which may be slow, once in a while.
    fn is_known(&mut self, uid: u32) -> bool {
        if let Some((known, since)) = self.names.get(&uid)
            && since.elapsed() < FRESH
        {
            return *known;
        }
        if self.names.len() >= ANSWERS {
            self.names.clear();
        }
        let known = name_of(uid).is_some_and(|name| !name.is_empty());
        self.names.insert(uid, (known, Instant::now()));
        known
    }

    /// Returns why there is no place for this user; none when there is one. A connection whose process is ending, as
    /// `is_ending` says, is none any more to the user, who may be at the next command.
    pub fn refuse(&self, user: Requester, is_ending: impl Fn(i32) -> bool) -> Option<String> {
        let own = || self.taken.iter().filter(|(_, u)| *u == user);
        if own().count() >= OF_USER {
            return Some(match user {
                Requester::Known(uid) => format!("too many connections of user id {uid}"),
                Requester::Unknown => "too many connections of users that this host has no name for".into(),
            });
        }
        let has_none = || own().all(|(pid, _)| is_ending(*pid)) || without("kept-room");
        (self.taken.len() >= OF_ALL || self.taken.len() >= OF_ALL - KEPT && !has_none())
            .then(|| "too many connections of all users together; try again later".into())
    }

    /// Notes which process serves a user.
    pub fn take(&mut self, pid: i32, user: Requester) {
        self.taken.push((pid, user));
    }

    /// Gives back the places of processes that have ended.
    pub fn sweep(&mut self, has_ended: impl Fn(i32) -> bool) {
        self.taken.retain(|(pid, _)| !has_ended(*pid));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full_of(users: &[(Requester, usize)]) -> Room {
        let taken = users.iter().flat_map(|(user, n)| vec![(1, *user); *n]).collect();
        Room { taken, names: HashMap::new() }
    }

    /// No process is ending.
    fn none(_: i32) -> bool {
        false
    }

    #[test]
    fn each_refusal_has_its_own_text() {
        let own = full_of(&[(Requester::Known(1), OF_USER), (Requester::Unknown, OF_USER)]);
        let refused = own.refuse(Requester::Known(1), none).expect("a refusal");
        assert_eq!(refused, "too many connections of user id 1");
        let unknown = own.refuse(Requester::Unknown, none).expect("a refusal");
        assert_eq!(unknown, "too many connections of users that this host has no name for");
        assert_eq!(own.refuse(Requester::Known(2), none), None);
    }

    #[test]
    fn a_part_is_kept_for_who_has_none() {
        let users: Vec<_> = (1..=12).map(|uid| (Requester::Known(uid), OF_USER)).collect();
        let mut room = full_of(&users);
        assert_eq!(room.taken.len(), OF_ALL - KEPT);
        for uid in 100..100 + KEPT as u32 {
            assert_eq!(room.refuse(Requester::Known(uid), none), None, "{uid}");
            room.take(1, Requester::Known(uid));
            let second = room.refuse(Requester::Known(uid), none).expect("a refusal");
            assert_eq!(second, "too many connections of all users together; try again later");
        }
        assert!(room.refuse(Requester::Known(1000), none).is_some(), "there is an end of it");
        room.sweep(|_| true);
        assert!(room.is_empty());
    }

    #[test]
    fn a_connection_that_ends_is_none_for_its_user() {
        let users: Vec<_> = (1..=12).map(|uid| (Requester::Known(uid), OF_USER)).collect();
        let mut room = full_of(&users);
        let user = Requester::Known(100);
        room.take(2, user);
        let ending = |pid| pid == 2;
        assert_eq!(room.refuse(user, ending), None, "the next command of the user");
        room.take(3, user);
        assert!(room.refuse(user, ending).is_some(), "one connection is open");
        assert!(room.refuse(Requester::Known(1), ending).is_some(), "a user who has others");
        for uid in 101..101 + KEPT as u32 - 2 {
            room.take(1, Requester::Known(uid));
        }
        assert!(room.refuse(user, |_| true).is_some(), "each process takes room until it has ended");
    }

    #[test]
    fn ids_without_a_name_are_one_user() {
        let mut room = Room::default();
        assert_eq!(room.user(0), Requester::Known(0));
        assert_eq!([room.user(3_999_999_001), room.user(3_999_999_002)], [Requester::Unknown; 2]);
    }
}
