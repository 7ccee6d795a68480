//! The check of one request.

use std::collections::BTreeSet;
use std::fmt;

use super::locks::{DatasetPosition, Locks, canonical};
use crate::zfs::nvlist::{List, NvValue};

/// The requests that are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// Set properties.
    SetProp,
    /// Inherit a property, or take its received value.
    Inherit,
    /// Make a filesystem or volume.
    Create,
    /// Make a clone.
    Clone,
    /// Receive a stream, by the older request.
    Receive,
    /// Receive a stream.
    ReceiveNew,
    /// Destroy a filesystem, volume or snapshot.
    Destroy,
    /// Rename one.
    Rename,
    /// Wait until something on a filesystem is done.
    WaitFs,
    /// Change an encryption key.
    ChangeKey,
}

impl Checked {
    /// Returns the action as a user would call it.
    pub fn verb(self) -> &'static str {
        match self {
            Self::SetProp => "set",
            Self::Inherit => "inherit",
            Self::Create => "create",
            Self::Clone => "clone",
            Self::Receive | Self::ReceiveNew => "receive",
            Self::Destroy => "destroy",
            Self::Rename => "rename",
            Self::WaitFs => "wait",
            Self::ChangeKey => "change-key",
        }
    }
}

/// The part of a request that is checked, copied from its caller.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedRequest {
    /// Which.
    pub call: Checked,
    /// `zc_name`: the dataset.
    pub name: String,
    /// `zc_value`: new name, property to inherit, snapshot to receive.
    pub value: String,
    /// `zc_string`: the origin of a clone that is received.
    pub origin: String,
    /// `zc_cookie`: "received" for properties.
    pub cookie: u64,
    /// `zc_nvlist_src`.
    pub arguments: Option<List>,
    /// `zc_nvlist_conf`: properties given to the older receive by hand.
    pub local: Option<List>,
}

/// The properties of the dataset that a stream goes into; empty when there is none yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceiveTarget {
    /// Names of the properties that are set on it, locally or by a receive.
    pub set: BTreeSet<String>,
}

/// The end of a check.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Carry this out, in the caller's name.
    Perform {
        /// The request, without the properties that were left out.
        request: CheckedRequest,
        /// Properties of a stream that the zone does not get.
        left_out: Vec<String>,
    },
    /// Return this error to the caller.
    Refuse {
        /// Which.
        error: Error,
        /// Why, for the log.
        reason: DenialReason,
    },
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DenialReason {
    /// The property is locked on that dataset.
    Locked(String),
    /// Properties are marked as received, which would take away those that are not mentioned.
    AsReceived,
    /// The delegated dataset carries the zone's limits.
    Root,
    /// The zone sees it, and no more.
    ReadOnly(String),
    /// The zone does not see it.
    Invisible(String),
    /// It cannot be understood.
    Malformed(String),
}

impl fmt::Display for DenialReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked(property) => write!(f, "property {property} is locked"),
            Self::AsReceived => write!(f, "properties cannot be set as received ones"),
            Self::Root => write!(f, "it is delegated to the zone, or holds a dataset that is"),
            Self::ReadOnly(name) => write!(f, "{name} is above what is delegated to the zone"),
            Self::Invisible(name) => write!(f, "{name} is not delegated to the zone"),
            Self::Malformed(what) => write!(f, "the request cannot be understood: {what}"),
        }
    }
}

/// The error that the caller gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// `EPERM`.
    NotPermitted,
    /// `ENOENT`.
    NotFound,
    /// `EINVAL`.
    Invalid,
}

/// An early end of a check.
type Denial = (Error, DenialReason);

fn locked(property: &str) -> Denial {
    (Error::NotPermitted, DenialReason::Locked(property.to_owned()))
}

impl CheckedRequest {
    /// Returns the snapshot that a stream is received as.
    ///
    /// # Errors
    /// The refusal of a request that does not say it.
    fn snapshot(&self) -> Result<&str, Denial> {
        if self.call == Checked::Receive {
            return Ok(&self.value);
        }
        let name = self.arguments.as_ref().and_then(|a| a.str("snapname"));
        name.ok_or_else(|| malformed("no snapshot name"))
    }

    /// Returns the dataset whose properties decide about a receive that brings properties along.
    pub fn received_into(&self) -> Option<&str> {
        let brings = match self.call {
            Checked::Receive => self.arguments.is_some(),
            Checked::ReceiveNew => self.arguments.as_ref().is_some_and(|a| a.contains("props")),
            _ => false,
        };
        let name = self.snapshot().ok().filter(|_| brings)?;
        name.split('@').next()
    }
}

fn malformed(what: &str) -> Denial {
    (Error::Invalid, DenialReason::Malformed(what.to_owned()))
}

/// Checks a request. Only [`CheckedRequest::received_into`] needs a `target`.
pub fn decide(request: CheckedRequest, locks: &Locks, target: &ReceiveTarget) -> Verdict {
    match check(request, locks, target) {
        Ok((request, left_out)) => Verdict::Perform { request, left_out },
        Err((error, reason)) => Verdict::Refuse { error, reason },
    }
}

fn check(
    mut request: CheckedRequest,
    locks: &Locks,
    target: &ReceiveTarget,
) -> Result<(CheckedRequest, Vec<String>), Denial> {
    let mut left_out = Vec::new();
    if request.call == Checked::WaitFs {
        // To wait is to read: ancestors may be looked at.
        return match locks.place(&request.name) {
            DatasetPosition::Outside => Err(invisible(&request.name)),
            _ => Ok((request, left_out)),
        };
    }
    let place = inside(locks, &request.name)?;
    match request.call {
        Checked::SetProp => {
            if request.cookie != 0 {
                return Err((Error::NotPermitted, DenialReason::AsReceived));
            }
            request.arguments.as_ref().map_or(Ok(()), |list| free(list, place))?;
        }
        Checked::Inherit if place.locks(&request.value) => return Err(locked(&request.value)),
        Checked::Inherit | Checked::WaitFs => {}
        Checked::Create | Checked::ChangeKey => props(&request, place)?,
        Checked::Clone => {
            let origin = request.arguments.as_ref().and_then(|a| a.str("origin"));
            inside(locks, origin.ok_or_else(|| malformed("no origin"))?)?;
            props(&request, place)?;
        }
        Checked::Destroy => movable(locks, &request.name)?,
        Checked::Rename => {
            movable(locks, &request.name)?;
            let to = inside(locks, &request.value)?;
            // Properties set where they were not locked would come along.
            if let Some(property) = to.locked_beyond(place) {
                return Err(locked(property));
            }
        }
        Checked::Receive | Checked::ReceiveNew => {
            // The request names two datasets, and the kernel asks about the first only.
            let place = inside(locks, request.snapshot()?)?;
            receive(&mut request, locks, place, target, &mut left_out)?;
        }
    }
    Ok((request, left_out))
}

fn invisible(name: &str) -> Denial {
    (Error::NotFound, DenialReason::Invisible(name.to_owned()))
}

/// Makes sure that the zone may write to a dataset at all.
fn inside<'a>(locks: &'a Locks, name: &str) -> Result<DatasetPosition<'a>, Denial> {
    match locks.place(name) {
        DatasetPosition::Outside => Err(invisible(name)),
        DatasetPosition::Ancestor => Err((Error::NotPermitted, DenialReason::ReadOnly(name.to_owned()))),
        place => Ok(place),
    }
}

/// Makes sure that no delegated dataset goes away under this name. Its snapshots may.
fn movable(locks: &Locks, name: &str) -> Result<(), Denial> {
    if !name.contains(['@', '#']) && locks.holds_root(name) {
        return Err((Error::NotPermitted, DenialReason::Root));
    }
    Ok(())
}

/// Makes sure that none of these properties is locked.
fn free(list: &List, place: DatasetPosition<'_>) -> Result<(), Denial> {
    list.names().find(|n| place.locks(n)).map_or(Ok(()), |n| Err(locked(n)))
}

/// The same for the `props` among the arguments.
fn props(request: &CheckedRequest, place: DatasetPosition<'_>) -> Result<(), Denial> {
    match request.arguments.as_ref().and_then(|a| a.get("props")) {
        None => Ok(()),
        Some(NvValue::List(list)) => free(list, place),
        Some(_) => Err(malformed("props are no list")),
    }
}

/// Takes locked properties out of a stream; refuses those given by hand.
///
/// A receive into a dataset that exists first removes every property that is set there and missing in the stream;
/// the first receive even locally set ones. Where that would remove a locked property, none of the stream's
/// properties is taken over.
fn receive(
    request: &mut CheckedRequest,
    locks: &Locks,
    place: DatasetPosition<'_>,
    target: &ReceiveTarget,
    left_out: &mut Vec<String>,
) -> Result<(), Denial> {
    let legacy = request.call == Checked::Receive;
    let origin = if legacy {
        Some(request.origin.as_str()).filter(|o| !o.is_empty())
    } else {
        match request.arguments.as_ref().and_then(|a| a.get("origin")) {
            None => None,
            Some(value) => Some(value.as_str().ok_or_else(|| malformed("the origin is no name"))?),
        }
    };
    if let Some(origin) = origin {
        inside(locks, origin)?;
    }
    let keeps = target.set.iter().any(|p| place.locks(p));
    let mut sift = |list: &mut List| {
        let names: Vec<String> =
            list.names().filter(|n| keeps || place.locks(n)).map(str::to_owned).collect();
        for name in names {
            list.remove(&name);
            left_out.push(name);
        }
    };
    if legacy {
        if let Some(list) = &mut request.arguments {
            sift(list);
        }
        // Even an empty list would remove the properties that are set.
        if keeps {
            request.arguments = None;
        }
        if let Some(list) = &mut request.local {
            by_hand(list, place)?;
        }
        return Ok(());
    }
    let Some(arguments) = &mut request.arguments else { return Err(malformed("no arguments")) };
    if let Some(value) = arguments.remove("props") {
        let NvValue::List(mut list) = value else { return Err(malformed("props are no list")) };
        sift(&mut list);
        if !keeps {
            arguments.insert("props", NvValue::List(list));
        }
    }
    if let Some(value) = arguments.remove("localprops") {
        let NvValue::List(mut list) = value else { return Err(malformed("localprops are no list")) };
        by_hand(&mut list, place)?;
        arguments.insert("localprops", NvValue::List(list));
    }
    Ok(())
}

/// Checks `receive -o`. Properties of `-x` are kept away by the lock as well, so they are taken out.
fn by_hand(list: &mut List, place: DatasetPosition<'_>) -> Result<(), Denial> {
    let names: Vec<String> = list.names().filter(|n| place.locks(n)).map(str::to_owned).collect();
    for name in names {
        if list.get(&name) != Some(&NvValue::Present) {
            return Err(locked(&canonical(&name)));
        }
        list.remove(&name);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
