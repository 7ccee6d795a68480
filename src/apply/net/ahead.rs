//! Programs of a zone's links that the kernel checks while the zone is put together.
//!
//! The check takes a millisecond for a link, and it would be the last thing that a boot waits for. The command that
//! has asked for the boot only waits for the supervisor, so it makes the programs and hands them over. The supervisor
//! makes its own where none come, and where the link has another table of zones by then.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::frame::{KEY_BYTES, VALUE_BYTES};
use super::guard::{Bandwidth, LinkRules, Onward, program};
use super::switch::{Switch, SwitchParts, load, until};
use super::uplink::{LIST_BYTES, LIST_KEY_BYTES};
use super::{NetworkResult, sys};
use crate::plan::net::{LinkMode, ZoneLink};
use crate::sys::bpf::{BpfProgram, Map};
use crate::sys::channel::{Channel, Message};
use crate::sys::netlink::Socket;
use crate::sys::process::wait_readable;

/// The links whose programs are made ahead. A channel that nobody reads holds many more messages.
const MAX_LINKS: usize = 8;
/// Milliseconds that the supervisor waits for a message: the command may have been stopped.
const PATIENCE: u64 = 20;
/// A guard is made for a link whose queues keep to its bandwidth. Where there is no such queue it is not used.
pub const SHAPED: bool = true;
/// The last message. No link has a blank in its name.
pub const NO_MORE: &str = "no more";

/// The programs of a zone's link.
#[derive(Debug)]
pub struct LinkPrograms {
    /// The program of the port.
    pub guard: BpfProgram,
    /// The zones on the host's link; none: the guard does not look for them.
    pub neighbours: Option<Neighbours>,
}

/// The zones on a link of the host, among which a guard looks for the receiver of a frame.
#[derive(Debug)]
pub enum Neighbours {
    /// There are some, or there may be by now, in this table.
    There(Map),
    /// There are none: this is what the link gets with its first zone.
    New(SwitchParts),
}

impl Neighbours {
    /// Returns the table of the zones.
    pub fn table(&self) -> &Map {
        match self {
            Self::There(table) => table,
            Self::New(parts) => &parts.table,
        }
    }
}

impl LinkPrograms {
    /// Makes the programs of a link. `table` is that of the zones on the host's link when it was made for another
    /// link of this zone.
    fn make(host: &mut Socket, link: &ZoneLink, table: Option<&Map>) -> NetworkResult<Self> {
        let neighbours = match link.way {
            LinkMode::Shared | LinkMode::Own => Some(match table {
                Some(table) => Neighbours::There(table.try_clone().map_err(sys("cannot share a table"))?),
                None => match Switch::find(host, link.lower_index)? {
                    Some(switch) => Neighbours::There(switch.table),
                    None => Neighbours::New(SwitchParts::make()?),
                },
            }),
            LinkMode::Bridge | LinkMode::Wire | LinkMode::Moved => None,
        };
        let onward = match &neighbours {
            Some(neighbours) => Onward::Switch { table: neighbours.table(), lower: link.lower_index },
            None if link.way == LinkMode::Wire => Onward::Wire(link.lower_index),
            None => Onward::Bridge,
        };
        let until = link.maxbw.map(|_| until()).transpose()?;
        let rate =
            until.as_ref().zip(link.maxbw).map(|(until, bits)| Bandwidth { until, bits, shaped: SHAPED });
        Ok(Self { guard: guard(link, rate, onward)?, neighbours })
    }

    /// Returns what is sent of them; [`LinkPrograms::from_descriptors`] is the other way.
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let mut all = vec![self.guard.as_fd()];
        match &self.neighbours {
            None => {}
            Some(Neighbours::There(table)) => all.push(table.as_fd()),
            Some(Neighbours::New(parts)) => {
                all.extend([parts.table.as_fd(), parts.listeners.as_fd()]);
                all.extend(parts.programs.iter().map(AsFd::as_fd));
            }
        }
        all
    }

    fn from_descriptors(all: Vec<OwnedFd>) -> Option<Self> {
        let table = |fd| Map::from_fd(fd, KEY_BYTES, VALUE_BYTES).ok();
        let mut all = all.into_iter();
        let guard = BpfProgram::from_fd(all.next()?);
        let neighbours = match (all.next(), all.next(), all.next(), all.next()) {
            (None, ..) => None,
            (Some(there), None, ..) => Some(Neighbours::There(table(there)?)),
            (Some(new), Some(list), Some(out), Some(inward)) => Some(Neighbours::New(SwitchParts {
                table: table(new)?,
                listeners: Map::from_fd(list, LIST_KEY_BYTES, LIST_BYTES).ok()?,
                programs: [out, inward].map(BpfProgram::from_fd),
            })),
            _ => return None,
        };
        Some(Self { guard, neighbours })
    }
}

/// Has the kernel check the program of a zone's port.
///
/// # Errors
/// [`super::NetworkError`]
pub fn guard(link: &ZoneLink, rate: Option<Bandwidth<'_>>, onward: Onward<'_>) -> NetworkResult<BpfProgram> {
    load("zones_guard", &program(&LinkRules::of(link, rate, onward)))
}

/// Makes the programs of a zone's links and sends them to its supervisor. An error is left to the supervisor, which
/// meets it when it makes the programs itself.
pub fn hand_over(links: &[ZoneLink], to: &Channel) {
    let mut links = links.iter().filter(|link| link.way != LinkMode::Moved).take(MAX_LINKS).peekable();
    if links.peek().is_none() {
        return;
    }
    let Ok(mut host) = Socket::open() else { return };
    let mut tables: Vec<(u32, Map)> = Vec::new();
    for link in links {
        let table = tables.iter().find(|(lower, _)| *lower == link.lower_index).map(|(_, table)| table);
        let Ok(programs) = LinkPrograms::make(&mut host, link, table) else { break };
        if to.send(&link.name, &programs.descriptors()).is_err() {
            return;
        }
        if let Some(Neighbours::New(parts)) = programs.neighbours {
            tables.push((link.lower_index, parts.table));
        }
    }
    // A supervisor that is gone needs no word.
    let _ = to.send(NO_MORE, &[]);
}

/// Where the supervisor gets programs from: the end of the channel by which it reports.
#[derive(Debug, Default)]
pub struct ProgramsAhead<'a>(Option<&'a Channel>);

impl<'a> ProgramsAhead<'a> {
    /// Takes programs that come by a channel.
    pub fn by(channel: &'a Channel) -> Self {
        Self(Some(channel))
    }

    /// Takes the programs of a link; none when they do not come.
    pub fn take(&mut self, link: &ZoneLink) -> Option<LinkPrograms> {
        while let Some(channel) = self.0 {
            let came = wait_readable(channel.as_fd(), PATIENCE).unwrap_or(false);
            match came.then(|| channel.receive()) {
                Some(Ok(Message { text, fds })) if !text.is_empty() && text != NO_MORE => {
                    if text == link.name {
                        return LinkPrograms::from_descriptors(fds);
                    }
                }
                _ => self.0 = None,
            }
        }
        None
    }
}
