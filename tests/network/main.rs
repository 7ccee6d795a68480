//! Networks of zones with real traffic: a host, zones on it, and something outside, each in a network
//! namespace of the test's own.

#[path = "../net/mod.rs"]
mod net;

mod advertised;
mod bridge;
mod ends;
mod exclusive;
mod follow;
mod held;
mod running;
mod shared;

use std::time::Duration;

use net::{World, find, give, make, socket, up};
use zones::sys::netlink::link::{self, LinkChange};

/// Long enough for a frame to come through, also on a busy machine.
const SOON: Duration = Duration::from_millis(400);

/// A bridge `br0` that has the host's addresses and `out0` behind one of its ports.
fn bridged() -> Option<World> {
    let mut w = World::empty()?;
    if !make("bridge", "br0", |b| b) {
        return None;
    }
    w.cable("port0", "out0");
    let (bridge, port) = (find("br0").index, find("port0").index);
    link::change(&mut socket(), port, &LinkChange { master: Some(bridge), ..LinkChange::default() })
        .expect("a port");
    up(&mut socket(), "br0");
    give("br0", "192.0.2.1/24");
    give("br0", "2001:db8::1/64");
    w.outside.at(|| {
        give("out0", "192.0.2.254/24");
        give("out0", "2001:db8::fe/64");
    });
    w.settle();
    Some(w)
}

/// Lines of an exclusive zone with a link of its own on one of the host's, and both kinds of address.
fn own_on(lower: &str, last: &str) -> String {
    let allowed = format!("192.0.2.{last}/24,2001:db8::{last}/64");
    net::exclusive(&[("physical", "net0"), ("global-nic", lower), ("allowed-address", &allowed)])
}
