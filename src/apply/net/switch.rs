//! The things that zones share on a link of the host: the table of the zones, and the programs that use it. All of
//! it is found again through the link itself; nothing is noted elsewhere.

use super::frame::{KEY_BYTES, VALUE_BYTES, host_key, host_value, value};
use super::uplink::{
    Audience, FIRST_LISTENERS, LIST_BYTES, LIST_KEY_BYTES, LISTENER_BYTES, MAX_LISTENERS, NO_VLAN,
    SHARED_ZONE, shared, wire,
};
use super::{Lack, NetworkError, NetworkResult, bpf, net, net_unless, sys};
use crate::apply::fault;
use crate::sys::bpf::{BpfProgram, Map, MapType};
use crate::sys::netlink::filter::{self, Direction};
use crate::sys::netlink::{Socket, link};

/// Names of the programs on a link that zones share, and on one that a zone has for itself.
const SHARED: &str = "zones-shared";
const WIRE: &str = "zones-wire";

/// Entries that a table can have. The kernel makes room for the beginnings of all of them at once.
const ENTRIES: u32 = 8_192;

/// The key under which a table marks, by value 1, that we made the programs possible.
const PREPARED: [u8; KEY_BYTES] = [0; KEY_BYTES];

/// A link that zones share.
#[derive(Debug)]
pub struct Switch {
    lower: u32,
    /// Both programs are there; a single one was left by a crash.
    whole: bool,
    /// The table of the zones.
    pub table: Map,
    listeners: Option<Map>,
    /// At how many listeners the programs look, in the order of [`WAYS`].
    places: [u32; 2],
}

/// The programs of a link in the order in which they are attached. The one on the way in comes last: by it all is
/// found.
const WAYS: [Direction; 2] = [Direction::Out, Direction::In];
/// So many places before its last one is taken a program is replaced by one for more. The kernel checks a program
/// for hundreds of places for some milliseconds: no boot is to wait for two of them.
const AHEAD: [u32; 2] = [1, 0];

fn map(shape: MapType, name: &str, key: usize, value: usize, entries: u32) -> NetworkResult<Map> {
    Map::new(shape, name, key, value, entries).map_err(bpf("cannot make a table"))
}

/// Loads a program.
///
/// # Errors
/// [`super::NetworkError`]
pub fn load(name: &str, code: &[u64]) -> NetworkResult<BpfProgram> {
    BpfProgram::load(name, code).map_err(bpf("the kernel refuses the rules"))
}

/// Makes programs possible on a link; says whether they were not before.
///
/// # Errors
/// [`super::NetworkError`]
pub fn prepare(host: &mut Socket, index: u32) -> NetworkResult<bool> {
    filter::prepare(host, index).map_err(net_unless(
        Lack::Clsact,
        &[libc::ENOENT, libc::EOPNOTSUPP],
        "cannot prepare the link for rules",
    ))
}

/// Puts a program on a link.
///
/// # Errors
/// [`super::NetworkError`]
pub fn attach(
    host: &mut Socket,
    index: u32,
    way: Direction,
    program: &BpfProgram,
    name: &str,
) -> NetworkResult<()> {
    use std::os::fd::AsFd;
    filter::put(host, index, way, program.as_fd(), name).map_err(net_unless(
        Lack::Classifier,
        &[libc::ENOENT, libc::EOPNOTSUPP],
        "cannot put rules on the link",
    ))
}

impl Switch {
    /// Returns what zones have on a link, none when they have nothing there.
    ///
    /// # Errors
    /// [`super::NetworkError`]
    pub fn find(host: &mut Socket, lower: u32) -> NetworkResult<Option<Self>> {
        let mut look = |way| {
            let found = filter::find(host, lower, way).map_err(net("cannot read the link's programs"))?;
            Ok::<_, NetworkError>(found.filter(|f| f.name == SHARED))
        };
        // The way in comes last and goes first: where it is, both are.
        let inward = look(Direction::In)?;
        let whole = inward.is_some();
        let Some(found) = inward.map_or_else(|| look(Direction::Out), |f| Ok(Some(f)))? else {
            return Ok(None);
        };
        let ids = BpfProgram::by_id(found.id)
            .and_then(|p| p.maps())
            .map_err(sys("cannot open the link's program"))?;
        let open = |at: usize, key, value| {
            ids.get(at)
                .map(|id| Map::by_id(*id, key, value).map_err(sys("cannot open the link's table")))
                .transpose()
        };
        let Some(table) = open(0, KEY_BYTES, VALUE_BYTES)? else { return Ok(None) };
        let listeners = open(1, LIST_KEY_BYTES, LIST_BYTES)?;
        let places =
            listeners.as_ref().map_or(Ok(FIRST_PLACES), |l| Listeners::read(l).map(|l| l.looked_at))?;
        Ok(Some(Self { lower, whole, table, listeners, places }))
    }

    /// Returns what zones have on a link, made when they have nothing there. `mac` is the link-layer address
    /// of the host's link, `ahead` what was made for it ahead. The caller has the lock.
    ///
    /// # Errors
    /// [`super::NetworkError`]
    pub fn open(
        host: &mut Socket,
        lower: u32,
        mac: [u8; 6],
        ahead: Option<SwitchParts>,
    ) -> NetworkResult<Self> {
        let fresh = prepare(host, lower)?;
        // Where no programs were possible there are none.
        if !fresh {
            if let Some(mut found) = Self::find(host, lower)? {
                found.host_has(mac)?;
                let lacks = found.listeners.is_none();
                if lacks {
                    found.listeners = Some(list()?);
                }
                if lacks || !found.whole {
                    found.attach(host)?;
                    found.whole = true;
                }
                return Ok(found);
            }
            if is_wire(host, lower)? {
                return Err(NetworkError::NotShared);
            }
        }
        let SwitchParts { table, listeners, programs } = ahead.map_or_else(SwitchParts::make, Ok)?;
        if fresh {
            table.set(&PREPARED, &value(1)).map_err(sys("cannot write the link's table"))?;
        }
        let switch = Self { lower, whole: true, table, listeners: Some(listeners), places: FIRST_PLACES };
        switch.host_has(mac)?;
        for (way, program) in WAYS.into_iter().zip(&programs) {
            switch.put(host, way, program)?;
        }
        Ok(switch)
    }

    /// Puts the programs on the link, in place of those that are there.
    fn attach(&self, host: &mut Socket) -> NetworkResult<()> {
        (0..WAYS.len()).try_for_each(|n| self.attach_one(host, n))
    }

    /// Puts one of them on the link.
    fn attach_one(&self, host: &mut Socket, n: usize) -> NetworkResult<()> {
        let (way, places) = (WAYS[n], self.places[n]);
        let all = self.listeners.as_ref().map(|list| Audience { list, places });
        self.put(host, way, &checked(&self.table, all, way)?)
    }

    fn put(&self, host: &mut Socket, way: Direction, program: &BpfProgram) -> NetworkResult<()> {
        attach(host, self.lower, way, program, SHARED)?;
        fault::point(&format!("switch-{way:?}"));
        Ok(())
    }

    /// Returns the number of the table in the kernel, by which two looks at a link can be compared.
    ///
    /// # Errors
    /// [`super::NetworkError`]
    pub fn number(&self) -> NetworkResult<u32> {
        self.table.id().map_err(sys("cannot read the link's table"))
    }

    /// Returns the port under a key.
    ///
    /// # Errors
    /// [`super::NetworkError`]
    pub fn port(&self, key: &[u8]) -> NetworkResult<Option<u32>> {
        let found = self.table.get(key).map_err(sys("cannot read the link's table"))?;
        Ok(found.map(|v| number(&v)))
    }

    /// Enters a zone's port under a key. Returns an existing port that has the key already; one that is gone makes
    /// room.
    ///
    /// # Errors
    /// [`super::NetworkError`]
    pub fn enter(&self, host: &mut Socket, key: &[u8], port: u32) -> NetworkResult<Option<u32>> {
        let write = sys("cannot write the link's table");
        loop {
            if self.table.add(key, &value(port)).map_err(&write)? {
                return Ok(None);
            }
            let there = self.table.get(key).map_err(&write)?.map(|v| number(&v));
            match there {
                None => {}
                Some(other) if other != port && is_port(host, other)? => return Ok(Some(other)),
                Some(_) => self.table.remove(key).map_err(&write)?,
            }
        }
    }

    /// Removes a key of a port, or of one that is gone.
    ///
    /// # Errors
    /// [`super::NetworkError`]
    pub fn leave(&self, host: &mut Socket, key: &[u8], port: Option<u32>) -> NetworkResult<()> {
        let write = sys("cannot write the link's table");
        let Some(there) = self.table.get(key).map_err(&write)?.map(|v| number(&v)) else { return Ok(()) };
        if Some(there) == port || !is_port(host, there)? {
            self.table.remove(key).map_err(&write)?;
        }
        Ok(())
    }

    /// Notes the link-layer address of the host's link, by which zones know the host, and shared ones
    /// themselves. Says whether it was another one.
    ///
    /// # Errors
    /// [`super::NetworkError`]
    pub fn host_has(&self, mac: [u8; 6]) -> NetworkResult<bool> {
        let there = self.table.get(&host_key()).map_err(sys("cannot read the link's table"))?;
        let wanted = host_value(mac);
        if there.as_deref() == Some(&wanted) {
            return Ok(false);
        }
        self.table.set(&host_key(), &wanted).map_err(sys("cannot write the link's table"))?;
        Ok(true)
    }

    /// Gives a port a copy of broadcast frames of its VLAN; that of a shared zone no questions about others. Says
    /// whether there is room for it.
    ///
    /// # Errors
    /// [`super::NetworkError`]
    pub fn listen(&mut self, host: &mut Socket, port: u32, vlan: u16, shared: bool) -> NetworkResult<bool> {
        let Some(mut list) = self.listeners.as_ref().map(Listeners::read).transpose()? else {
            return Ok(true);
        };
        let entry = (port, u32::from(vlan) | if shared { SHARED_ZONE } else { 0 });
        let mut place = list.ports.iter().position(|(there, _)| *there == 0 || *there == port);
        if place.is_none() && list.ports.len() >= MAX_LISTENERS as usize {
            // Leftovers of a crash are looked for only now: there may be hundreds.
            list.prune(host)?;
            place = list.ports.iter().position(|(there, _)| *there == 0);
        }
        match place {
            Some(n) => list.ports[n] = entry,
            None if list.ports.len() < MAX_LISTENERS as usize => list.ports.push(entry),
            None => return Ok(false),
        }
        let used = u32::try_from(list.ports.len()).unwrap_or(MAX_LISTENERS);
        for (n, ahead) in AHEAD.into_iter().enumerate() {
            let wanted = (used + ahead).min(MAX_LISTENERS);
            if wanted > self.places[n] {
                self.places[n] = wanted.next_power_of_two();
                self.attach_one(host, n)?;
            }
        }
        list.looked_at = self.places;
        self.listeners.as_ref().map_or(Ok(()), |map| list.write(map))?;
        Ok(true)
    }

    /// Takes a port off the list of those that get a copy; without one, those that are gone.
    ///
    /// # Errors
    /// [`super::NetworkError`]
    pub fn unlisten(&self, host: &mut Socket, port: Option<u32>) -> NetworkResult<()> {
        let Some(listeners) = &self.listeners else { return Ok(()) };
        let mut list = Listeners::read(listeners)?;
        match port {
            Some(port) => list.ports.iter_mut().filter(|p| p.0 == port).for_each(|p| *p = FREE),
            None => list.prune(host)?,
        }
        while list.ports.last().is_some_and(|(there, _)| *there == 0) {
            list.ports.pop();
        }
        list.write(listeners)
    }

    /// Takes the programs off the link when no zone is on it any more. The caller has the lock.
    ///
    /// # Errors
    /// [`super::NetworkError`]
    pub fn close(self, host: &mut Socket) -> NetworkResult<()> {
        // Which is the cheapest question: is there a key besides our own notes?
        let keys = self.table.some_keys(3).map_err(sys("cannot read the link's table"))?;
        if keys.iter().any(|k| *k != PREPARED && *k != host_key()) {
            return Ok(());
        }
        let ours = keys.iter().any(|k| *k == PREPARED);
        take_off(host, self.lower, ours)
    }
}

/// The table, the list and the programs that a link gets with its first zone.
#[derive(Debug)]
pub struct SwitchParts {
    /// The table of the zones, which is empty.
    pub table: Map,
    /// The list of those that get a copy of broadcast frames, which is empty.
    pub listeners: Map,
    /// The programs, in the order in which they are attached.
    pub programs: [BpfProgram; 2],
}

impl SwitchParts {
    /// Makes them.
    ///
    /// # Errors
    /// [`super::NetworkError`]
    pub fn make() -> NetworkResult<Self> {
        let table = map(MapType::Hash, "zones_table", KEY_BYTES, VALUE_BYTES, ENTRIES)?;
        let listeners = list()?;
        let program = |n: usize| {
            let all = Audience { list: &listeners, places: FIRST_PLACES[n] };
            checked(&table, Some(all), WAYS[n])
        };
        let programs = [program(0)?, program(1)?];
        Ok(Self { table, listeners, programs })
    }
}

/// Has the kernel check a program of a link.
fn checked(table: &Map, all: Option<Audience<'_>>, way: Direction) -> NetworkResult<BpfProgram> {
    load("zones_shared", &shared(table, all, way))
}

fn list() -> NetworkResult<Map> {
    map(MapType::Array, "zones_all", LIST_KEY_BYTES, LIST_BYTES, 1)
}

/// Makes the array of a [`super::guard::Bandwidth`].
///
/// # Errors
/// [`super::NetworkError`]
pub fn until() -> NetworkResult<Map> {
    map(MapType::Array, "zones_until", 4, 8, 2)
}

/// Joins a link of the host with a zone's port, both ways.
///
/// # Errors
/// [`super::NetworkError`]
pub fn join(host: &mut Socket, lower: u32, port: u32, vlan: u16) -> NetworkResult<()> {
    if Switch::find(host, lower)?.is_some() {
        return Err(NetworkError::Shared);
    }
    prepare(host, lower)?;
    for way in [Direction::Out, Direction::In] {
        let program = load("zones_wire", &wire(port, vlan, way))?;
        attach(host, lower, way, &program, WIRE)?;
    }
    Ok(())
}

/// Undoes [`join`].
///
/// # Errors
/// [`super::NetworkError`]
pub fn part(host: &mut Socket, lower: u32) -> NetworkResult<()> {
    if is_wire(host, lower)? { take_off(host, lower, true) } else { Ok(()) }
}

fn is_wire(host: &mut Socket, lower: u32) -> NetworkResult<bool> {
    let mut wire = false;
    for way in [Direction::In, Direction::Out] {
        let found = filter::find(host, lower, way).map_err(net("cannot read the link's programs"))?;
        wire |= found.is_some_and(|f| f.name == WIRE);
    }
    Ok(wire)
}

/// Removes the programs of a link, and the queue discipline below them if no other program uses that.
fn take_off(host: &mut Socket, lower: u32, prepared: bool) -> NetworkResult<()> {
    for way in [Direction::In, Direction::Out] {
        match filter::remove(host, lower, way) {
            Err(e) if !matches!(e.number(), libc::ENOENT | libc::EINVAL | libc::ENODEV) => {
                return Err(net("cannot take the programs off the link")(e));
            }
            _ => {}
        }
    }
    if prepared { unprepare(host, lower) } else { Ok(()) }
}

/// Removes the queue discipline of a link when there is no program on it, be it ours or not: if it was made a moment
/// before a crash, nothing marks it as ours.
///
/// # Errors
/// [`super::NetworkError`]
pub fn unprepare(host: &mut Socket, lower: u32) -> NetworkResult<()> {
    let others = [Direction::In, Direction::Out].map(|way| filter::count(host, lower, way).unwrap_or(1));
    if others != [0, 0] {
        return Ok(());
    }
    match filter::unprepare(host, lower) {
        Err(e) if !matches!(e.number(), libc::ENOENT | libc::EINVAL | libc::ENODEV) => {
            Err(net("cannot take the queue discipline off the link")(e))
        }
        _ => Ok(()),
    }
}

fn number(value: &[u8]) -> u32 {
    value.get(..4).and_then(|v| v.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

/// The ports that get a copy of broadcast frames, each with its VLAN; port 0 is a free slot.
struct Listeners {
    ports: Vec<(u32, u32)>,
    /// At how many places the programs look, in the order of [`WAYS`].
    looked_at: [u32; 2],
}

/// At how many places the programs look that are made first.
const FIRST_PLACES: [u32; 2] = [FIRST_LISTENERS; 2];

/// A place that is free.
const FREE: (u32, u32) = (0, NO_VLAN);

impl Listeners {
    /// Frees the places of ports that are gone.
    fn prune(&mut self, host: &mut Socket) -> NetworkResult<()> {
        for place in &mut self.ports {
            if place.0 != 0 && !is_port(host, place.0)? {
                *place = FREE;
            }
        }
        Ok(())
    }

    fn read(map: &Map) -> NetworkResult<Self> {
        let bytes = map.get(&[0; 4]).map_err(sys("cannot read the link's listeners"))?.unwrap_or_default();
        let used = usize::try_from(number(&bytes)).unwrap_or(0);
        let places = bytes.get(8..).unwrap_or_default().chunks_exact(LISTENER_BYTES).take(used);
        let ports = places.map(|p| (number(p), number(&p[4..]))).collect();
        let half =
            |at: usize| bytes.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_ne_bytes);
        let looked_at = [half(4), half(6)].map(|n| u32::from(n).max(FIRST_LISTENERS));
        Ok(Self { ports, looked_at })
    }

    fn write(&self, map: &Map) -> NetworkResult<()> {
        let mut bytes = vec![0; LIST_BYTES];
        let used = u32::try_from(self.ports.len()).unwrap_or(0);
        bytes[..4].copy_from_slice(&used.to_ne_bytes());
        for (half, places) in bytes[4..8].chunks_exact_mut(2).zip(self.looked_at) {
            half.copy_from_slice(&u16::try_from(places).unwrap_or(0).to_ne_bytes());
        }
        for (place, (port, vlan)) in bytes[8..].chunks_exact_mut(LISTENER_BYTES).zip(&self.ports) {
            place[..4].copy_from_slice(&port.to_ne_bytes());
            place[4..].copy_from_slice(&vlan.to_ne_bytes());
        }
        map.set(&[0; 4], &bytes).map_err(sys("cannot write the link's listeners"))
    }
}

/// Begins what people read about a port (`ip link`).
pub const ALIAS: &str = "zone ";

/// Returns the zone's name if this is the number of a zone's port.
pub fn zone_of(host: &mut Socket, index: u32) -> NetworkResult<Option<String>> {
    let found = link::numbered(host, index).map_err(net("cannot look at a link"))?;
    let alias = found.filter(|l| l.kind.as_deref() == Some("veth")).and_then(|l| l.alias);
    Ok(alias.and_then(|a| a.strip_prefix(ALIAS)?.split(' ').next().map(str::to_owned)))
}

fn is_port(host: &mut Socket, index: u32) -> NetworkResult<bool> {
    Ok(zone_of(host, index)?.is_some())
}
