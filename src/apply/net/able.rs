//! Whether this kernel can do what zones' networks need, tried out where it touches nothing.

use std::os::fd::AsFd;

use super::switch::{attach, load, prepare};
use super::{Lack, NetworkError, NetworkResult, frame, net, net_unless, sys};
use crate::sys::bpf::asm::Asm;
use crate::sys::channel::Channel;
use crate::sys::netlink::filter::Direction;
use crate::sys::netlink::{Socket, link};
use crate::sys::ns::{self, Kinds, Side};
use crate::sys::process;

/// Tries it in a network namespace of its own, by a process that ends at once.
///
/// # Errors
/// [`super::NetworkError`]: the missing feature.
pub fn able() -> NetworkResult<()> {
    let (ours, theirs) = Channel::pair().map_err(sys("cannot make a channel"))?;
    match ns::fork().map_err(sys("cannot start a process"))? {
        Side::Child => {
            let text = attempt().err().map_or_else(|| "ok".to_owned(), |e| e.to_string());
            let _ = theirs.send(&text, &[]);
            process::exit_now(0)
        }
        Side::Parent(pid, _) => {
            drop(theirs);
            let answer = ours.receive().map_err(sys("cannot hear a process"))?;
            let _ = process::wait(pid);
            if answer.text == "ok" { Ok(()) } else { Err(NetworkError::Reported(answer.text)) }
        }
    }
}

fn attempt() -> NetworkResult<()> {
    ns::unshare(Kinds::NET).map_err(sys("this kernel makes no network namespaces"))?;
    let here = ns::own_network().map_err(sys("cannot open the network namespace"))?;
    let mut socket = Socket::open().map_err(net("cannot open netlink"))?;
    let peer = link::VethPeer { name: "inside", namespace: here.as_fd(), mac: [2, 0, 0, 0, 0, 1], mtu: 1500 };
    link::add_pair(&mut socket, link::Near { name: "outside", mac: None, mtu: 1500 }, peer)
        .map_err(net_unless(Lack::Veth, &[libc::EOPNOTSUPP], "cannot make a link"))?;
    let made = link::named(&mut socket, "outside").map_err(net("cannot look at a link"))?;
    let index = made.ok_or(NetworkError::Gone("a link that was made"))?.index;
    prepare(&mut socket, index)?;
    let mut asm = Asm::new();
    asm.exit_with(frame::PASS);
    let program = load("zones_try", &asm.finish())?;
    attach(&mut socket, index, Direction::In, &program, "zones-try")
}
