//! Steps that write files for a zone, or cover them.

use std::net::IpAddr;
use std::path::PathBuf;

use super::{COMMANDS, ENDING, Inverse};

/// A step that writes a file for the zone, or covers one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileStep {
    /// Close a folder of the host's `/proc` to all users but root.
    Close {
        /// Its name there.
        folder: &'static str,
    },
    /// Make the commands of the zone's own in [`COMMANDS`].
    Commands {
        /// Also those that end the zone, in place of the host's: it has the built-in init.
        ending: bool,
    },
    /// Put the servers of the host where the zone's link `/etc/resolv.conf` leads to in its memory.
    Resolver,
    /// Put the zone's host id where gethostid(3) looks for it.
    HostId {
        /// The number.
        id: u32,
    },
    /// Write the resolver and hosts files where they are not the zone's own.
    Names {
        /// The host's folder that is the zone's root.
        root: PathBuf,
        /// The zone's host name.
        hostname: String,
        /// The zone's addresses.
        addresses: Vec<IpAddr>,
    },
    /// Update a sparse zone's copies of the host's `/etc`, and give it the keys of an ssh server.
    HostEtc {
        /// The host's folder that is the zone's root.
        root: PathBuf,
        /// The zone's host name.
        hostname: String,
    },
}

impl FileStep {
    /// Returns one line for `zoneadm plan` and for messages.
    pub fn describe(&self) -> String {
        match self {
            Self::Close { folder } => format!("close /proc/{folder} of the host to all its users but root"),
            Self::Commands { ending } => {
                let more = if *ending { format!(" {}", ENDING.join(" ")) } else { String::new() };
                format!("make the commands zonename{more} in {COMMANDS}")
            }
            Self::Resolver => "give /etc/resolv.conf a file where it is a link into /run".into(),
            Self::HostId { id } => format!("put the host id {id:08x} on /etc/hostid, read-only"),
            Self::Names { .. } => {
                "write /etc/resolv.conf and /etc/hosts, where they are not the zone's own".into()
            }
            Self::HostEtc { .. } => {
                "take what the host has changed of its programs' files in /etc, and make missing ssh host keys"
                    .into()
            }
        }
    }

    /// Returns how the step is undone.
    pub fn inverse(&self) -> Inverse {
        match self {
            Self::Close { .. } => Inverse::Stays,
            Self::Commands { .. }
            | Self::Resolver
            | Self::HostId { .. }
            | Self::Names { .. }
            | Self::HostEtc { .. } => Inverse::WithNamespaces,
        }
    }
}
