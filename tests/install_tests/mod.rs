//! A zone below a throw-away root, and a listener that remembers.

mod archive;
mod copy;
mod image;
mod interrupted;
mod sparse;
mod uninstall;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use zones::apply::install::{self, InstallError};
use zones::apply::paths::Root;
use zones::apply::store::FileStore;
use zones::apply::{NO_ZFS_FACTS, Notice, Op};
use zones::plan::install::InstallSource;
use zones::spec::state::ZoneState;
use zones::spec::store::{Commit, ZoneStore};
use zones::spec::{Props, ResourceKind, Value, ZoneName, ZoneSpec};

/// What an operation has told.
#[derive(Default)]
struct Heard {
    said: Vec<String>,
    warned: Vec<String>,
    progress: Vec<(u64, u64)>,
    /// What it was doing meanwhile.
    doing: Vec<String>,
}

impl Notice for Heard {
    fn say(&mut self, text: &str) {
        self.said.push(text.to_owned());
    }
    fn warn(&mut self, text: &str) {
        self.warned.push(text.to_owned());
    }
    fn progress(&mut self, done: u64, total: u64, what: &str) {
        self.doing.push(what.to_owned());
        self.progress.push((done, total));
    }
}

/// A configured zone `zion` below a root of its own. All of it goes with the value.
struct Zone {
    temp: tempfile::TempDir,
    store: FileStore,
    spec: ZoneSpec,
    heard: Heard,
}

/// A mount that goes with the value, also when a test fails.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

const SPARSE: &[&str] = &["/usr", "/opt"];

impl Zone {
    fn new(inherit: &[&str]) -> Self {
        let temp = tempfile::tempdir().expect("temp");
        Self::at(temp, inherit)
    }

    fn at(temp: tempfile::TempDir, inherit: &[&str]) -> Self {
        let store = FileStore::open(Root::new(Some(&temp.path().join("root"))));
        fs::create_dir_all(temp.path().join("root")).expect("root");
        let spec = spec("/zones/zion", inherit);
        let zone = Self { temp, store, spec, heard: Heard::default() };
        zone.store
            .commit(&Commit {
                spec: &zone.spec,
                base: None,
                renamed_from: None,
                overwrite: true,
                mends: false,
            })
            .expect("commit");
        zone
    }

    /// An operation that is only shown.
    fn op(&mut self) -> Op<'_> {
        Op::shown(&self.store, &self.spec.name, &self.spec, &NO_ZFS_FACTS, &mut self.heard)
    }

    /// Locks the zone and has it changed.
    fn change<T>(&mut self, change: impl FnOnce(&mut Op<'_>) -> T) -> T {
        let lock = self.store.lock(&self.spec.name, "test").expect("the lock");
        change(&mut Op::under(&lock, &self.store, &self.spec, &NO_ZFS_FACTS, &mut self.heard))
    }

    fn install(&mut self, args: &[&str]) -> Result<(), InstallError> {
        let args: Vec<_> = args.iter().map(|a| (*a).to_owned()).collect();
        self.change(|op| install::install(op, &args, None))
    }

    fn install_from(&mut self, source: InstallSource) -> Result<(), InstallError> {
        self.change(|op| install::install_from(op, source))
    }

    fn uninstall(&mut self) -> Result<(), InstallError> {
        self.change(|op| install::uninstall(op, &[]))
    }

    fn state(&self) -> ZoneState {
        self.store.installed_state(&self.spec.name).expect("state")
    }

    /// A path beside the alternate root.
    fn beside(&self, path: &str) -> PathBuf {
        self.temp.path().join(path)
    }

    /// A path of the machine, below the alternate root.
    fn path(&self, path: &str) -> PathBuf {
        self.temp.path().join("root").join(path.trim_start_matches('/'))
    }

    /// A path in the zone's root.
    fn inside(&self, path: &str) -> PathBuf {
        self.path("zones/zion/root").join(path.trim_start_matches('/'))
    }

    fn journal(&self) -> Option<install::journal::Unfinished> {
        install::journal::unfinished(&self.path("var/lib/zones/zion")).expect("journal")
    }
}

fn spec(zonepath: &str, inherit: &[&str]) -> ZoneSpec {
    let mut spec = ZoneSpec::new(ZoneName::new("zion").expect("name"));
    spec.props.set(zones::spec::schema::global("zonepath").expect("row"), Value::simple(zonepath));
    for dir in inherit {
        let mut props = Props::default();
        props.set(ResourceKind::InheritPkgDir.def().prop("dir").expect("row"), Value::simple(*dir));
        spec.stored_mut(ResourceKind::InheritPkgDir).push(props);
    }
    spec
}

fn put(path: &Path, content: &str, mode: u32) {
    fs::create_dir_all(path.parent().expect("parent")).expect("dirs");
    fs::write(path, content).expect("write");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path.as_ref()).unwrap_or_else(|e| panic!("{}: {e}", path.as_ref().display()))
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::symlink_metadata(path.as_ref()).expect("stat").mode() & 0o7777
}

/// All paths below a directory, without following links.
fn walk(top: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![top.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).expect("list") {
            let entry = entry.expect("entry");
            if entry.file_type().expect("type").is_dir() {
                todo.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

/// A host with secrets in the usual places, each holding the word `SECRET`.
fn fake_host(top: &Path) {
    for dir in ["usr/bin", "opt", "root", "proc"] {
        fs::create_dir_all(top.join(dir)).expect("dir");
    }
    symlink("usr/bin", top.join("bin")).expect("link");
    symlink("/usr/sbin", top.join("sbin")).expect("link");
    symlink("elsewhere", top.join("initrd.img")).expect("link");
    let passwd = "root:x:0:0:root:/root:/bin/bash\nmail:x:8:8::/:\nalice:x:1000:1000::/home/alice:/bin/sh\n";
    put(&top.join("etc/passwd"), passwd, 0o644);
    put(&top.join("etc/group"), "root:x:0:\nmail:x:8:alice\nshadow:x:42:\nalice:x:1000:\n", 0o644);
    put(&top.join("etc/resolv.conf"), "nameserver 192.0.2.1\n", 0o644);
    put(&top.join("etc/ld.so.cache"), "cache", 0o644);
    put(&top.join("etc/ssl/certs/ca.pem"), "certificate", 0o644);
    put(&top.join("etc/profile"), "PATH=/bin", 0o644);
    put(&top.join("etc/ssh/sshd_config"), "Port 22\n", 0o644);
    symlink("/usr/bin/vim", top.join("etc/alternatives-target")).expect("link");
    fs::create_dir(top.join("etc/alternatives")).expect("dir");
    symlink("/usr/bin/vim.basic", top.join("etc/alternatives/vi")).expect("link");
    symlink("../usr/lib/os-release", top.join("etc/os-release")).expect("link");
    for (path, mode) in [
        ("etc/shadow", 0o640),
        ("etc/shadow-", 0o600),
        ("etc/gshadow", 0o640),
        ("etc/ssh/ssh_host_rsa_key", 0o600),
        ("etc/ssh/ssh_host_rsa_key.pub", 0o644),
        ("etc/ssl/private/site.key", 0o644),
        ("etc/ssl/certs/site.key", 0o644),
        ("etc/security/opasswd", 0o600),
        ("etc/default/secret", 0o640),
        ("etc/machine-id", 0o444),
        ("etc/fstab", 0o644),
        ("etc/hosts", 0o644),
        ("etc/hostname", 0o644),
        ("root/.ssh/id_rsa", 0o600),
        ("root/.bash_history", 0o644),
        ("home/alice/file", 0o644),
        ("var/spool/cron/crontabs/root", 0o600),
        ("var/log/auth.log", 0o644),
        ("var/lib/zones/other/state", 0o644),
        ("etc/zones.d/other.toml", 0o644),
        ("tmp/file", 0o644),
    ] {
        put(&top.join(path), "SECRET", mode);
    }
}

/// Paths below a directory whose content has the word `SECRET`.
fn leaks(top: &Path) -> Vec<PathBuf> {
    let secret = |p: &PathBuf| {
        fs::symlink_metadata(p).expect("stat").is_file()
            && fs::read(p).expect("read").windows(6).any(|w| w == b"SECRET")
    };
    walk(top).into_iter().filter(secret).collect()
}
