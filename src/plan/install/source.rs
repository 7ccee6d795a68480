//! Where the content of a zone's root comes from.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::spec::shown::Show;

/// How an archive is packed: its first bytes decide, never its name.
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

/// How much is kept of a place that is not copied.
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
    /// How much is kept of it.
    pub keep: Keep,
}

/// Where the content of the zone's root comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstallSource {
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
        /// The places that are not copied.
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
    Suite(Suite),
}

/// A release of a distribution, and the packages to install.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suite {
    /// Its name.
    pub suite: String,
    /// Packages beside those that make it a system.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Where the packages come from; none for the installer's own choice.
    #[serde(default)]
    pub mirror: Option<String>,
    /// Components of the archive, comma list.
    #[serde(default)]
    pub components: Option<String>,
    /// The keys that sign it.
    #[serde(default)]
    pub keyring: Option<PathBuf>,
    /// The installer.
    pub tool: PathBuf,
}

/// Packages with an init of their own, which takes the place of systemd's.
const INITS: [&str; 4] = ["sysvinit-core", "runit-init", "finit-sysv", "dinit-init"];

/// A service manager, with sessions.
const MANAGER: [&str; 3] = ["systemd-sysv", "dbus", "libpam-systemd"];

/// Tools that everybody looks for.
const TOOLS: [&str; 5] = ["procps", "iproute2", "iputils-ping", "netbase", "less"];

impl Suite {
    /// Returns the packages that make the suite a system that boots, and those asked for.
    pub fn include(&self) -> Vec<&str> {
        let other = self.packages.iter().any(|p| INITS.contains(&p.as_str()));
        let manager = MANAGER.into_iter().filter(|_| !other);
        let asked = self.packages.iter().map(String::as_str);
        let mut list: Vec<&str> = Vec::new();
        for package in manager.chain(TOOLS).chain(asked) {
            if !list.contains(&package) {
                list.push(package);
            }
        }
        list
    }

    /// Returns the installer's arguments for a root.
    pub fn arguments(&self, root: &str) -> Vec<String> {
        let mut args: Vec<String> = Vec::new();
        if self.tool.file_name().is_some_and(|n| n == "mmdebstrap") {
            args.extend(["--mode=root", "--format=directory"].map(str::to_owned));
        }
        args.extend(["--variant=minbase".to_owned(), format!("--include={}", self.include().join(","))]);
        args.extend(self.components.iter().map(|list| format!("--components={list}")));
        args.extend(self.keyring.iter().map(|file| format!("--keyring={}", file.to_string_lossy())));
        args.extend([self.suite.clone(), root.to_owned()]);
        args.extend(self.mirror.clone());
        args
    }
}

/// The source that the command line asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstallRequest {
    /// Nothing: sparse if the spec inherits directories, else a copy of the host.
    Default,
    /// A source.
    Given(InstallSource),
}

impl InstallSource {
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
            Self::Suite(wanted) => {
                format!(
                    "with suite {} by {}, with {}",
                    wanted.suite,
                    wanted.tool.shown(),
                    wanted.include().join(" ")
                )
            }
        }
    }
}
