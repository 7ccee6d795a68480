//! Frames as they are: what root of a zone can send, and what comes out.
#![allow(unsafe_code)]

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::libc;

use super::{find, ip};

/// A packet socket on a link of this namespace: it sees everything that the link does.
pub struct Raw {
    fd: OwnedFd,
}

impl Raw {
    /// Opens it; with `promiscuous` the link takes frames for others as well.
    pub fn open(name: &str, promiscuous: bool) -> Self {
        let index = i32::try_from(find(name).index).expect("a number");
        let all = i32::from(u16::try_from(libc::ETH_P_ALL).expect("a number").to_be());
        // SAFETY: plain calls with numbers and structures that live across them; the descriptor is fresh.
        unsafe {
            let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, all);
            assert!(fd >= 0, "packet socket: {}", io::Error::last_os_error());
            let fd = OwnedFd::from_raw_fd(fd);
            let mut address: libc::sockaddr_ll = std::mem::zeroed();
            address.sll_family = u16::try_from(libc::AF_PACKET).expect("a number");
            address.sll_protocol = u16::try_from(libc::ETH_P_ALL).expect("a number").to_be();
            address.sll_ifindex = index;
            let size = u32::try_from(size_of::<libc::sockaddr_ll>()).expect("small");
            let bound = libc::bind(fd.as_raw_fd(), (&raw const address).cast(), size);
            assert_eq!(bound, 0, "bind: {}", io::Error::last_os_error());
            if promiscuous {
                let request = libc::packet_mreq {
                    mr_ifindex: index,
                    mr_type: u16::try_from(libc::PACKET_MR_PROMISC).expect("a number"),
                    mr_alen: 0,
                    mr_address: [0; 8],
                };
                let size = u32::try_from(size_of::<libc::packet_mreq>()).expect("small");
                let done = libc::setsockopt(
                    fd.as_raw_fd(),
                    libc::SOL_PACKET,
                    libc::PACKET_ADD_MEMBERSHIP,
                    (&raw const request).cast(),
                    size,
                );
                assert_eq!(done, 0, "promiscuous: {}", io::Error::last_os_error());
            }
            Self { fd }
        }
    }

    pub fn send(&self, frame: &[u8]) {
        let mut frame = frame.to_vec();
        frame.resize(frame.len().max(60), 0);
        rustix::net::send(&self.fd, &frame, rustix::net::SendFlags::empty()).expect("a frame is sent");
    }

    /// Returns what has come and what comes within a time, with the VLAN of each.
    pub fn heard(&self, time: Duration) -> Vec<Heard> {
        let end = Instant::now() + time;
        let mut frames = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let timeout = rustix::event::Timespec::try_from(left).expect("a short time");
            let mut fds = [rustix::event::PollFd::new(&self.fd, rustix::event::PollFlags::IN)];
            if rustix::event::poll(&mut fds, Some(&timeout)).expect("poll") == 0 {
                return frames;
            }
            frames.extend(self.one());
        }
    }

    fn one(&self) -> Option<Heard> {
        // The kernel takes a tag off the frame and tells it beside.
        let mut buffer = vec![0_u8; 65_536];
        let mut control = [0_u8; 128];
        // SAFETY: every pointer is to memory that lives across the calls, with its size; the control
        // messages are read as the macros find them.
        unsafe {
            let on: libc::c_int = 1;
            libc::setsockopt(
                self.fd.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_AUXDATA,
                (&raw const on).cast(),
                4,
            );
            let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
            let mut message: libc::msghdr = std::mem::zeroed();
            message.msg_iov = &raw mut part;
            message.msg_iovlen = 1;
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = control.len();
            let got = libc::recvmsg(self.fd.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT);
            buffer.truncate(usize::try_from(got).ok()?);
            let mut vlan = None;
            let first = libc::CMSG_FIRSTHDR(&raw const message);
            if !first.is_null() && (*first).cmsg_type == libc::PACKET_AUXDATA {
                let data = libc::CMSG_DATA(first).cast::<libc::tpacket_auxdata>().read_unaligned();
                vlan = (data.tp_status & libc::TP_STATUS_VLAN_VALID != 0).then_some(data.tp_vlan_tci & 0xfff);
            }
            (buffer.len() >= 14).then_some(Heard { frame: buffer, vlan })
        }
    }
}

/// Joins a group of IPv4 on a link, and sends to groups over it.
pub fn join(socket: &std::net::UdpSocket, request: &libc::ip_mreqn) {
    for option in [libc::IP_ADD_MEMBERSHIP, libc::IP_MULTICAST_IF] {
        // SAFETY: the request lives across the call, and its size is passed along.
        let done = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::IPPROTO_IP,
                option,
                std::ptr::from_ref(request).cast(),
                u32::try_from(size_of::<libc::ip_mreqn>()).expect("small"),
            )
        };
        assert_eq!(done, 0, "option {option}: {}", io::Error::last_os_error());
    }
}

/// A frame that was seen.
#[derive(Debug, Clone)]
pub struct Heard {
    pub frame: Vec<u8>,
    pub vlan: Option<u16>,
}

impl Heard {
    pub fn sender_mac(&self) -> [u8; 6] {
        self.frame[6..12].try_into().expect("six bytes")
    }

    /// Says whether the frame has an address anywhere in its headers.
    pub fn mentions(&self, ip: IpAddr) -> bool {
        let wanted = match ip {
            IpAddr::V4(a) => a.octets().to_vec(),
            IpAddr::V6(a) => a.octets().to_vec(),
        };
        self.frame[12..self.frame.len().min(100)].windows(wanted.len()).any(|w| w == wanted)
    }

    /// Returns where an IP packet comes from.
    pub fn source(&self) -> Option<IpAddr> {
        match (self.frame.get(12..14)?, self.frame.len()) {
            ([8, 0], 34..) => <[u8; 4]>::try_from(&self.frame[26..30]).ok().map(Into::into),
            ([0x86, 0xdd], 54..) => <[u8; 16]>::try_from(&self.frame[22..38]).ok().map(Into::into),
            _ => None,
        }
    }
}

pub const ALL: [u8; 6] = [0xff; 6];

pub fn ethernet(to: [u8; 6], from: [u8; 6], kind: u16) -> Vec<u8> {
    [&to[..], &from[..], &kind.to_be_bytes()[..]].concat()
}

/// A UDP packet to port 9, with a mark that tests look for.
pub fn packet(to_mac: [u8; 6], from_mac: [u8; 6], from: IpAddr, to: IpAddr, mark: &[u8]) -> Vec<u8> {
    let udp_length = u16::try_from(8 + mark.len()).expect("short");
    let mut udp = [9999_u16.to_be_bytes(), 9_u16.to_be_bytes(), udp_length.to_be_bytes(), [0; 2]].concat();
    udp.extend(mark);
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut f = ethernet(to_mac, from_mac, 0x0800);
            let length = (20 + udp_length).to_be_bytes();
            let mut header = vec![0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, 17, 0, 0];
            header.extend(from.octets());
            header.extend(to.octets());
            let sum: u32 = header.chunks(2).map(|c| u32::from(u16::from_be_bytes([c[0], c[1]]))).sum();
            let folded = (sum & 0xffff) + (sum >> 16);
            let sum = !u16::try_from((folded & 0xffff) + (folded >> 16)).expect("folded");
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            f.extend(header);
            f.extend(udp);
            f
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut f = ethernet(to_mac, from_mac, 0x86dd);
            let length = udp_length.to_be_bytes();
            f.extend([0x60, 0, 0, 0, length[0], length[1], 17, 64]);
            f.extend(from.octets());
            f.extend(to.octets());
            f.extend(udp);
            f
        }
        _ => panic!("two kinds of address"),
    }
}

/// What only servers and routers of a link say, from these addresses.
pub fn roles(mac: [u8; 6], v4: &str, v6: &str) -> Vec<Vec<u8>> {
    let many = |next: u8, rest: &[u8]| {
        let mut f = packet([0x33, 0x33, 0, 0, 0, 1], mac, ip(v6), ip("ff02::1"), rest);
        f.splice(54..62, []);
        f[20] = next;
        f[18..20].copy_from_slice(&u16::try_from(rest.len()).expect("short").to_be_bytes());
        f
    };
    let all = |protocol: u8, rest: &[u8]| {
        let mut f = packet(ALL, mac, ip(v4), ip("255.255.255.255"), rest);
        f.splice(34..42, []);
        f[23] = protocol;
        let length = u16::try_from(20 + rest.len()).expect("short").to_be_bytes();
        f[16..18].copy_from_slice(&length);
        f[24..26].copy_from_slice(&[0, 0]);
        let sum: u32 = f[14..34].chunks(2).map(|c| u32::from(u16::from_be_bytes([c[0], c[1]]))).sum();
        let folded = (sum & 0xffff) + (sum >> 16);
        let sum = !u16::try_from((folded & 0xffff) + (folded >> 16)).expect("folded");
        f[24..26].copy_from_slice(&sum.to_be_bytes());
        f
    };
    let udp = |from: u16, to: u16| {
        let ports = [from.to_be_bytes(), to.to_be_bytes(), 248_u16.to_be_bytes(), [0; 2]].concat();
        [&ports[..], &[2, 1, 6, 0], &[0; 236]].concat()
    };
    let behind = |next: u8, rest: &[u8]| [&[next, 0, 1, 4, 0, 0, 0, 0], rest].concat();
    vec![
        all(17, &udp(67, 68)),
        all(17, &udp(520, 520)),
        all(1, &[5, 1, 0, 0, 192, 0, 2, 66, 0, 0, 0, 0]),
        all(1, &[9, 0, 0, 0, 1, 2, 7, 8]),
        all(2, &[0x11, 100, 0, 0, 0, 0, 0, 0]),
        all(89, &[2; 24]),
        all(112, &[0x21; 16]),
        many(17, &udp(547, 546)),
        many(60, &behind(17, &udp(547, 546))),
        many(44, &[&[17, 0, 0, 1, 0, 0, 0, 9], &udp(547, 546)[..]].concat()),
        many(0, &behind(58, &[130, 0, 0, 0, 0, 100, 0, 0])),
    ]
}

/// ARP: 1 asks, 2 answers.
pub fn arp(op: u8, mac: [u8; 6], sender_mac: [u8; 6], sender: &str, target: &str) -> Vec<u8> {
    let octets = |text: &str| text.parse::<std::net::Ipv4Addr>().expect("an address").octets();
    let mut f = ethernet(ALL, mac, 0x0806);
    f.extend([0, 1, 8, 0, 6, 4, 0, op]);
    f.extend(sender_mac);
    f.extend(octets(sender));
    f.extend([0; 6]);
    f.extend(octets(target));
    f
}

/// Neighbour discovery to all on the link: 135 asks, 136 answers, 134 is a router's.
pub fn discovery(kind: u8, mac: [u8; 6], from: &str, target: &str, option: [u8; 6]) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, 0x60, 0, 0, 0];
    if kind == 134 {
        message = vec![134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    } else {
        message.extend(octets6(target));
    }
    message.extend([if kind == 136 { 2 } else { 1 }, 1]);
    message.extend(option);
    icmp6(mac, from, message)
}

/// What a router says to all: that it is one, and which prefix of 64 bits its link has.
pub fn advertisement(mac: [u8; 6], from: &str, prefix: &str) -> Vec<u8> {
    let mut message = vec![134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1];
    message.extend(mac);
    // On the link, and hosts may make themselves addresses of it; valid and preferred for a day.
    message.extend([3, 4, 64, 0xc0, 0, 1, 0x51, 0x80, 0, 1, 0x51, 0x80, 0, 0, 0, 0]);
    message.extend(octets6(prefix));
    icmp6(mac, from, message)
}

fn octets6(text: &str) -> [u8; 16] {
    text.parse::<std::net::Ipv6Addr>().expect("an address").octets()
}

/// A message of ICMPv6 to all on the link, with its checksum.
fn icmp6(mac: [u8; 6], from: &str, mut message: Vec<u8>) -> Vec<u8> {
    let (from, to) = (octets6(from), octets6("ff02::1"));
    let length = u32::try_from(message.len()).expect("short");
    let pseudo = [&from[..], &to[..], &length.to_be_bytes()[..], &[0, 0, 0, 58], &message[..]].concat();
    let sum: u32 = pseudo.chunks(2).map(|c| u32::from(u16::from_be_bytes([c[0], c[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let sum = !u16::try_from((folded & 0xffff) + (folded >> 16)).expect("folded");
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut f = ethernet([0x33, 0x33, 0, 0, 0, 1], mac, 0x86dd);
    let length = u16::try_from(message.len()).expect("short").to_be_bytes();
    f.extend([0x60, 0, 0, 0, length[0], length[1], 58, 255]);
    f.extend(from);
    f.extend(to);
    f.extend(message);
    f
}
