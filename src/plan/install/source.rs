//! Where the content of a zone's root comes from.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::spec::shown::Show;

/// How an archive is packed, told by its first bytes and never by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Packing {
    /// Not at all.
    Plain,
    /// gzip.
    Gzip,
    /// xz.
    Xz,
    /// zstd.
    Zstd,
}

impl fmt::Display for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain tar",
            Self::Gzip => "tar, gzip",
            Self::Xz => "tar, xz",
            Self::Zstd => "tar, zstd",
        })
    }
}

/// One layer of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Sha-256 in hexadecimal; verified before the first step.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// How it is packed.
    pub packing: Packing,
}

/// What is kept of a place that is not copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// Nothing.
    Nothing,
    /// The directory itself.
    Directory,
    /// All directories, no files.
    Directories,
}

/// A place of the host that is not copied into a zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaveOut {
    /// Path; its last part may hold a `*`.
    pub path: PathBuf,
    /// What is kept of it.
    pub keep: Keep,
}

/// Where the content of the zone's root comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The host's software is mounted at boot; only `/etc`, `/var` and the like are made.
    Sparse {
        /// The host's root; `/` but in tests.
        host: PathBuf,
    },
    /// A copy of the host's own system.
    Host {
        /// The host's root; `/` but in tests.
        host: PathBuf,
        /// Mounts that belong to the system: a `/usr` or `/var` of its own.
        enter: Vec<PathBuf>,
        /// What is not copied.
        leave_out: Vec<LeaveOut>,
    },
    /// A copy of a tree.
    Tree {
        /// Its top.
        dir: PathBuf,
    },
    /// A tar archive.
    Archive {
        /// The file.
        file: PathBuf,
        /// How it is packed.
        packing: Packing,
    },
    /// An OCI image layout.
    Image {
        /// The folder.
        layout: PathBuf,
        /// Layers, lowest first.
        layers: Vec<Layer>,
    },
    /// A distribution's own installer.
    Suite {
        /// Name of the suite.
        suite: String,
        /// The installer.
        tool: PathBuf,
    },
}

/// What was asked for on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Nothing: sparse if the spec inherits directories, else a copy of the host.
    Default,
    /// A source.
    Given(Source),
}

impl Source {
    /// Returns the end of a sentence: the root is filled …
    pub fn describe(&self) -> String {
        match self {
            Self::Sparse { host: _ } => "with a minimal private tree (sparse root)".to_owned(),
            Self::Host { host, enter, leave_out } => {
                let more: String = enter.iter().map(|m| format!(" and {}", m.shown())).collect();
                let out = leave_out.len();
                format!("with a copy of {}{more}, leaving out {out} private or passing places", host.shown())
            }
            Self::Tree { dir } => format!("with a copy of {}", dir.shown()),
            Self::Archive { file, packing } => format!("from archive {} ({packing})", file.shown()),
            Self::Image { layout, layers } => {
                format!("from image {} ({} layers)", layout.shown(), layers.len())
            }
            Self::Suite { suite, tool } => format!("with suite {suite} by {}", tool.shown()),
        }
    }
}
