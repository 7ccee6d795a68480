//! Programs that are made ahead, on links that are not there. Nothing is attached.

use std::fs::File;
use std::os::fd::AsFd;

use super::ahead::{LinkPrograms, NO_MORE, Neighbours, ProgramsAhead, hand_over};
use crate::plan::net::{LinkGuard, LinkMode, ZoneLink};
use crate::sys::bpf::{Map, MapType};
use crate::sys::channel::Channel;

/// Numbers that no link has.
const LOWER: u32 = 0x7f_fff0;

fn link(name: &str, way: LinkMode, lower_index: u32) -> ZoneLink {
    let addresses = Some(vec!["192.0.2.7".parse().expect("an address")]);
    let guard = LinkGuard { mac: true, addresses, restricted: true, ..LinkGuard::default() };
    ZoneLink { name: name.into(), way, lower_index, guard, ..ZoneLink::default() }
}

/// Says whether programs can be made here.
fn able() -> bool {
    match Map::new(MapType::Array, "test", 4, 8, 1) {
        Ok(_) => true,
        Err(e) if matches!(e.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)) => {
            eprintln!("SKIPPED: no bpf(2) here: {e}");
            false
        }
        Err(e) => panic!("{e}"),
    }
}

/// A channel on which the programs of links have been sent; the sender is gone.
fn sent(links: &[ZoneLink]) -> Channel {
    let (ours, theirs) = Channel::pair().expect("a channel");
    hand_over(links, &theirs);
    ours
}

fn table_of(programs: &LinkPrograms) -> u32 {
    let neighbours = programs.neighbours.as_ref().expect("neighbours");
    neighbours.table().id().expect("its number")
}

#[test]
fn each_link_gets_what_it_needs() {
    if !able() {
        return;
    }
    let links = [
        link("first", LinkMode::Shared, LOWER),
        link("moved", LinkMode::Moved, LOWER),
        link("second", LinkMode::Own, LOWER),
        link("elsewhere", LinkMode::Shared, LOWER + 1),
        link("wire", LinkMode::Wire, LOWER + 2),
        link("bridge", LinkMode::Bridge, LOWER + 3),
    ];
    let channel = sent(&links);
    let mut ahead = ProgramsAhead::by(&channel);
    let first = ahead.take(&links[0]).expect("its programs");
    assert!(matches!(first.neighbours, Some(Neighbours::New(_))), "{first:?}");
    let second = ahead.take(&links[2]).expect("its programs");
    assert!(matches!(second.neighbours, Some(Neighbours::There(_))), "{second:?}");
    assert_eq!(table_of(&second), table_of(&first));
    // The guard looks into the table that comes with it.
    for programs in [&first, &second] {
        assert_eq!(programs.guard.maps().expect("its maps"), [table_of(programs)]);
    }
    if let Some(Neighbours::New(parts)) = &first.neighbours {
        let maps = [&parts.table, &parts.listeners].map(|map| map.id().expect("its number"));
        for program in &parts.programs {
            assert_eq!(program.maps().expect("its maps"), maps);
        }
    }
    let elsewhere = ahead.take(&links[3]).expect("its programs");
    assert!(matches!(elsewhere.neighbours, Some(Neighbours::New(_))), "{elsewhere:?}");
    assert_ne!(table_of(&elsewhere), table_of(&first));
    for alone in &links[4..] {
        let programs = ahead.take(alone).expect("its program");
        assert!(programs.neighbours.is_none(), "{programs:?}");
    }
    assert!(ahead.take(&links[0]).is_none());
}

#[test]
fn programs_of_links_that_are_left_out_are_passed_over() {
    if !able() {
        return;
    }
    let links = [link("first", LinkMode::Shared, LOWER), link("second", LinkMode::Shared, LOWER + 1)];
    let channel = sent(&links);
    let mut ahead = ProgramsAhead::by(&channel);
    let second = ahead.take(&links[1]).expect("its programs");
    assert!(matches!(second.neighbours, Some(Neighbours::New(_))), "{second:?}");
    assert!(ahead.take(&links[0]).is_none());
}

#[test]
fn many_links_do_not_fill_the_channel() {
    if !able() {
        return;
    }
    let links: Vec<_> = (0..300).map(|n| link(&format!("net{n}"), LinkMode::Wire, LOWER)).collect();
    let channel = sent(&links);
    let mut ahead = ProgramsAhead::by(&channel);
    let taken = links.iter().take_while(|link| ahead.take(link).is_some()).count();
    assert!((1..links.len()).contains(&taken), "{taken}");
}

#[test]
fn a_zone_without_such_links_is_sent_nothing() {
    for links in [&[][..], &[link("moved", LinkMode::Moved, LOWER)]] {
        let channel = sent(links);
        assert_eq!(channel.receive().expect("the end").text, "");
    }
}

#[test]
fn no_one_waits_for_programs_that_do_not_come() {
    let wanted = link("net0", LinkMode::Shared, LOWER);
    assert!(ProgramsAhead::default().take(&wanted).is_none(), "from nobody");

    let (ours, theirs) = Channel::pair().expect("a channel");
    assert!(ProgramsAhead::by(&ours).take(&wanted).is_none(), "from one that is silent");
    theirs.send(NO_MORE, &[]).expect("sent");
    assert!(ProgramsAhead::by(&ours).take(&wanted).is_none(), "from one that has said so");
    theirs.send("net0", &[]).expect("sent");
    assert!(ProgramsAhead::by(&ours).take(&wanted).is_none(), "no descriptors");
    let file = File::open("/dev/null").expect("a file");
    theirs.send("net0", &[file.as_fd(), file.as_fd()]).expect("sent");
    assert!(ProgramsAhead::by(&ours).take(&wanted).is_none(), "a table that is none");
    drop(theirs);
    assert!(ProgramsAhead::by(&ours).take(&wanted).is_none(), "from one that is gone");
}
