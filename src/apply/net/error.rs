//! Why something of a zone's network could not be done.

use std::borrow::Cow;
use std::fmt;
use std::io;

use ipnet::IpNet;
use thiserror::Error;

use crate::plan::net::{ANSWERED, Mac};
use crate::spec::store::StoreError;
use crate::sys::netlink::NetError;
use crate::sys::path::reason;

/// Why an action on a zone's network failed. The caller that prints it names the link before it.
#[derive(Debug, Error)]
pub enum NetworkError {
    /// The kernel refused a request of netlink.
    #[error("{action}: {source}")]
    Netlink {
        /// The failed action, with its object where the link alone does not say it.
        action: Cow<'static, str>,
        /// The kernel's reason.
        source: NetError,
    },
    /// A call of the system failed.
    #[error("{action}: {}", reason(.source))]
    System {
        /// The action that failed.
        action: Cow<'static, str>,
        /// The reason.
        source: io::Error,
    },
    /// The kernel was built or set up without something that networks of zones need.
    #[error("{lack}")]
    Lacks {
        /// The missing feature.
        lack: Lack,
        /// The error by which it was noticed.
        source: io::Error,
    },
    /// An IPv6 address is wanted, and the host has switched IPv6 off.
    #[error("cannot give it {address}: IPv6 is switched off on this host")]
    Ipv6Off {
        /// The address.
        address: IpNet,
        /// The kernel's reason.
        source: NetError,
    },
    /// An address of the zone is in use.
    #[error("could not bring network interface up: address in use by {holder}: {address}{}", holder.way_out())]
    AddressInUse {
        /// Its holder.
        holder: AddressHolder,
        /// An IP address, or the link-layer address of a link with a stack of its own.
        address: String,
    },
    /// Another zone has the link for itself.
    #[error("link '{lower}' is used by the non-global zone '{zone}'")]
    LinkInUse {
        /// The link of the host.
        lower: String,
        /// The zone.
        zone: String,
    },
    /// The programs on the link are those of a zone that has it for itself.
    #[error("the link is used by another zone alone")]
    NotShared,
    /// The programs on the link are those of zones that share it.
    #[error("the link is used by other zones, which share it")]
    Shared,
    /// No more zones can be listed on the link for broadcasts and multicasts.
    #[error("'{lower}' carries the most links of zones that hear what is for all")]
    Full {
        /// The link of the host.
        lower: String,
    },
    /// A link of the host has the name of the zone's port.
    #[error("the host has a link '{port}' that is not this zone's")]
    PortTaken {
        /// The name.
        port: String,
    },
    /// A link that was there a moment ago is not there any more.
    #[error("{0} is gone")]
    Gone(&'static str),
    /// The zone's process has handed over no network namespace.
    #[error("the zone has no network namespace")]
    NoNamespace,
    /// A link that was the zone's has not come back to the host.
    #[error("the kernel has not given the link back; it may be in another namespace, or unplugged")]
    NotReturned,
    /// A process that tried something out has said why it failed; only its text comes over the channel.
    #[error("{0}")]
    Reported(String),
    /// The store of zones failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Features that networks of zones need and a kernel may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Lack {
    /// Pairs of links.
    #[error("this kernel has no veth links (CONFIG_VETH)")]
    Veth,
    /// Programs in the kernel.
    #[error("this kernel has no bpf(2) (CONFIG_BPF_SYSCALL), without which addresses cannot be enforced")]
    Bpf,
    /// Permission for programs in the kernel.
    #[error("bpf(2) is forbidden here, and without it addresses cannot be enforced")]
    BpfPermission,
    /// The place on a link for programs.
    #[error(
        "this kernel lacks the queue discipline clsact (CONFIG_NET_SCH_INGRESS), without which addresses cannot be \
         enforced"
    )]
    Clsact,
    /// The classifier that runs programs.
    #[error(
        "this kernel lacks the classifier bpf (CONFIG_NET_CLS_BPF), without which addresses cannot be enforced"
    )]
    Classifier,
}

/// The holder of an address that a zone is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressHolder {
    /// Another zone of this host.
    Zone(String),
    /// A machine on the wire.
    Machine {
        /// Its link-layer address.
        mac: Mac,
        /// The link of the host on which it has answered.
        lower: String,
    },
}

impl AddressHolder {
    /// Returns the remedy for a machine that only answers for others.
    fn way_out(&self) -> String {
        match self {
            Self::Zone(_) => String::new(),
            Self::Machine { .. } => format!(
                "; if that one answers for others, name the address in an attr {ANSWERED}: zonecfg(8)"
            ),
        }
    }
}

impl fmt::Display for AddressHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zone(zone) => write!(f, "zone '{zone}'"),
            Self::Machine { mac, lower } => {
                write!(f, "the machine with the link-layer address {mac} on '{lower}'")
            }
        }
    }
}

/// Returns a function that adds the action to a failure of netlink.
pub(super) fn net(action: impl Into<Cow<'static, str>>) -> impl Fn(NetError) -> NetworkError {
    let action = action.into();
    move |source| NetworkError::Netlink { action: action.clone(), source }
}

/// Returns a function that adds the action to a failure of the system.
pub(super) fn sys(action: impl Into<Cow<'static, str>>) -> impl Fn(io::Error) -> NetworkError {
    let action = action.into();
    move |source| NetworkError::System { action: action.clone(), source }
}

/// The same for bpf(2), which a kernel may lack.
pub(super) fn bpf(action: &'static str) -> impl Fn(io::Error) -> NetworkError {
    move |source| match source.raw_os_error() {
        Some(libc::ENOSYS) => NetworkError::Lacks { lack: Lack::Bpf, source },
        Some(libc::EPERM) => NetworkError::Lacks { lack: Lack::BpfPermission, source },
        _ => sys(action)(source),
    }
}

/// The same for a request of netlink that is refused with one of some numbers by a kernel that lacks something.
pub(super) fn net_unless(
    lack: Lack,
    numbers: &'static [i32],
    action: &'static str,
) -> impl Fn(NetError) -> NetworkError {
    move |source| {
        if numbers.contains(&source.number()) {
            NetworkError::Lacks { lack, source: source.cause }
        } else {
            net(action)(source)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn errors_say_what_failed_and_keep_the_number() {
        let refused = |number: i32| NetError::from(io::Error::from_raw_os_error(number));
        let error = net("cannot open netlink")(refused(libc::EPERM));
        assert_eq!(error.to_string(), "cannot open netlink: Operation not permitted");
        let number = error.source().and_then(|s| s.downcast_ref::<NetError>()).map(NetError::number);
        assert_eq!(number, Some(libc::EPERM));
        let lack = net_unless(Lack::Veth, &[libc::EOPNOTSUPP], "cannot make the link");
        assert_eq!(
            lack(refused(libc::EOPNOTSUPP)).to_string(),
            "this kernel has no veth links (CONFIG_VETH)"
        );
        assert_eq!(lack(refused(libc::EBUSY)).to_string(), "cannot make the link: Device or resource busy");
        let error = bpf("cannot make a table")(io::Error::from_raw_os_error(libc::EPERM));
        assert!(matches!(error, NetworkError::Lacks { lack: Lack::BpfPermission, .. }), "{error:?}");
    }

    #[test]
    fn who_has_an_address_is_told_with_the_way_out() {
        let of = |holder| NetworkError::AddressInUse { holder, address: "192.0.2.1".into() }.to_string();
        assert_eq!(
            of(AddressHolder::Zone("web".into())),
            "could not bring network interface up: address in use by zone 'web': 192.0.2.1"
        );
        assert_eq!(
            of(AddressHolder::Machine { mac: Mac([2, 0, 0, 0, 0, 1]), lower: "eth0".into() }),
            format!(
                "could not bring network interface up: address in use by the machine with the link-layer address \
                 02:00:00:00:00:01 on 'eth0': 192.0.2.1; if that one answers for others, name the address in an attr \
                 {ANSWERED}: zonecfg(8)"
            )
        );
    }
}
