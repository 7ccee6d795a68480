//! Writes the settings of a profile into a zone's root: host name, accounts, keys, time zone, locale.
//!
//! The root may come from anywhere, so every name in it is hostile: files are read in `/etc` alone and replaced,
//! never followed.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::InstallError;
use crate::apply::Op;
use crate::apply::etc::{accounts, hostname};
use crate::apply::{fault, files};
use crate::plan::sysconfig::{Account, LIMIT, SysConfig};
use crate::spec::shown::Show;
use crate::sys::path::{Dir, IN_ROOT, Owned, STRICT, reason};

/// First id of a person.
const PEOPLE: u32 = 1000;

/// Ids from there on are not a person's.
const PEOPLE_END: u32 = 60_000;

/// Groups whose members may become root, by distribution.
const ADMINISTRATORS: [&str; 2] = ["sudo", "wheel"];

/// Reads a profile, or all `*.xml` of a directory in the order of their names.
///
/// # Errors
/// The reason why it cannot be read or understood.
pub fn read(path: &Path) -> Result<SysConfig, String> {
    let mut config = SysConfig::default();
    let failed = |e: std::io::Error| reason(&e);
    if path.is_dir() {
        let entries = std::fs::read_dir(path).map_err(failed)?.flatten().map(|entry| entry.path());
        let mut files: Vec<_> = entries.filter(|file| file.extension().is_some_and(|e| e == "xml")).collect();
        files.sort();
        for file in files {
            add(&mut config, &file).map_err(|why| format!("{}: {why}", file.shown()))?;
        }
        return Ok(config);
    }
    add(&mut config, path)?;
    Ok(config)
}

fn add(config: &mut SysConfig, path: &Path) -> Result<(), String> {
    let bytes = files::read(path, LIMIT).map_err(|e| e.to_string())?.ok_or("no such file")?;
    config.add(&String::from_utf8(bytes).map_err(|_| "it is no text")?).map_err(|e| e.to_string())
}

/// Writes the settings of a profile into the root of a zone that is being installed.
///
/// # Errors
/// [`InstallError`] naming the file; the rest of the profile is not there.
pub(super) fn configure(op: &mut Op<'_>, root: &Dir, config: &SysConfig) -> Result<(), InstallError> {
    fault::point("profile");
    let etc = root.dir("etc", IN_ROOT)?;
    if let Some(name) = &config.hostname {
        etc.write("hostname", Owned::root(0o644), format!("{name}\n").as_bytes())?;
        hostname::hosts(&etc, &[op.name.as_str()], name)?;
    }
    if let Some(zone) = &config.timezone {
        let _ = rustix::fs::unlinkat(&etc, "localtime", rustix::fs::AtFlags::empty());
        etc.symlink(format!("/usr/share/zoneinfo/{zone}"), "localtime")?;
        etc.write("timezone", Owned::root(0o644), format!("{zone}\n").as_bytes())?;
    }
    if let Some(locale) = &config.locale {
        let dir = etc.make_dir("default", Owned::root(0o755))?.0;
        dir.write("locale", Owned::root(0o644), format!("LANG={locale}\n").as_bytes())?;
        etc.write("locale.conf", Owned::root(0o644), format!("LANG={locale}\n").as_bytes())?;
    }
    let mut files = Accounts::read(&etc)?;
    files.password("root", &config.root);
    let mut homes = Vec::new();
    if !config.root.keys.is_empty() {
        homes.push(("root".to_owned(), Owned::root(0o700), &config.root));
    }
    if !config.user.login.is_empty() {
        let owned = files.user(&config.user)?;
        homes.push((format!("home/{}", config.user.login), owned, &config.user));
    }
    files.write(&etc)?;
    for (home, owned, account) in homes {
        keys(root, &home, owned, account)?;
    }
    if !config.ignored.is_empty() {
        let names: Vec<String> = config.ignored.iter().map(|n| n.shown().to_string()).collect();
        op.out.warn(&format!("WARNING: the profile's {} have no effect here", names.join(", ")));
    }
    Ok(())
}

/// Makes a home, with the keys for logins by ssh.
fn keys(root: &Dir, home: &str, owned: Owned, account: &Account) -> Result<(), InstallError> {
    let (parent, name) = root.parent(home, IN_ROOT)?;
    let dir = parent.make_dir(&name, owned)?.0;
    if account.keys.is_empty() {
        return Ok(());
    }
    let ssh = dir.make_dir(".ssh", Owned { mode: 0o700, ..owned })?.0;
    let text: String = account.keys.iter().map(|key| format!("{key}\n")).collect();
    Ok(ssh.write("authorized_keys", Owned { mode: 0o600, ..owned }, text.as_bytes())?)
}

/// The files of accounts.
struct Accounts {
    passwd: String,
    group: String,
    shadow: String,
    shells: String,
}

impl Accounts {
    fn read(etc: &Dir) -> Result<Self, InstallError> {
        let read = |name: &str| -> Result<String, InstallError> {
            let content = etc.read(name, accounts::LIMIT, STRICT)?.unwrap_or_default();
            let text = String::from_utf8(content);
            text.map_err(|_| InstallError::Impossible(format!("{} is no text", etc.join(name).shown())))
        };
        let mut files = Self {
            passwd: read("passwd")?,
            group: read("group")?,
            shadow: read("shadow")?,
            shells: read("shells")?,
        };
        for text in [&mut files.passwd, &mut files.group, &mut files.shadow] {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
        }
        Ok(files)
    }

    /// Writes them with the owners and modes that they have.
    fn write(&self, etc: &Dir) -> Result<(), InstallError> {
        for (name, text, mode) in
            [("passwd", &self.passwd, 0o644), ("group", &self.group, 0o644), ("shadow", &self.shadow, 0o600)]
        {
            let owned = etc.stat(name)?.map_or(Owned::root(mode), |stat| Owned {
                mode: stat.st_mode & 0o7777,
                uid: stat.st_uid,
                gid: stat.st_gid,
            });
            etc.write(name, owned, text.as_bytes())?;
        }
        Ok(())
    }

    /// Gives an account its password, if there is one.
    fn password(&mut self, login: &str, account: &Account) {
        let Some(password) = &account.password else { return };
        let changed = if account.expired { 0 } else { today() };
        let line = format!("{login}:{password}:{changed}::::::\n");
        let start = format!("{login}:");
        self.shadow = self.shadow.split_inclusive('\n').filter(|l| !l.starts_with(&start)).collect();
        self.shadow.push_str(&line);
    }

    /// Makes a user, or leaves the one of that name; returns to whom its home belongs.
    fn user(&mut self, account: &Account) -> Result<Owned, InstallError> {
        let login = &account.login;
        if field(&self.passwd, login, 2).is_none() {
            let taken = |id: u32| [&self.passwd, &self.group].iter().any(|text| has_id(text, id));
            let id = match account.uid {
                Some(id) if taken(id) => {
                    return Err(InstallError::Impossible(format!(
                        "the profile's uid {id} is another account's"
                    )));
                }
                Some(id) => Some(id),
                None => (PEOPLE..PEOPLE_END).find(|id| !taken(*id)),
            };
            let id =
                id.ok_or_else(|| InstallError::Impossible("no uid is free for the profile's user".into()))?;
            let shell = account.shell.clone().filter(|shell| self.shells.lines().any(|l| l == shell));
            let shell = shell.or_else(|| field(&self.passwd, "root", 6).map(str::to_owned));
            let shell = shell.unwrap_or_else(|| "/bin/sh".to_owned());
            let name = &account.description;
            self.passwd.push_str(&format!("{login}:x:{id}:{id}:{name}:/home/{login}:{shell}\n"));
            self.group.push_str(&format!("{login}:x:{id}:\n"));
            self.shadow.push_str(&format!("{login}:*:{}:0:99999:7:::\n", today()));
        }
        self.password(login, account);
        if account.administers {
            self.join(login);
        }
        let id = |at| field(&self.passwd, login, at).and_then(|id| id.parse().ok());
        match (id(2), id(3)) {
            (Some(uid), Some(gid)) => Ok(Owned { mode: 0o755, uid, gid }),
            _ => Err(InstallError::Impossible(format!("the zone's account {login} has no id"))),
        }
    }

    /// Adds a user to the first group of administrators that there is.
    fn join(&mut self, login: &str) {
        let Some(group) = ADMINISTRATORS.iter().find(|g| field(&self.group, g, 2).is_some()) else { return };
        let start = format!("{group}:");
        let joined = |line: &str| {
            let line = line.trim_end();
            let members = line.rsplit(':').next().unwrap_or_default();
            match members.split(',').any(|m| m == login) {
                true => format!("{line}\n"),
                false => format!("{line}{}{login}\n", if members.is_empty() { "" } else { "," }),
            }
        };
        let line = |line: &str| if line.starts_with(&start) { joined(line) } else { line.to_owned() };
        self.group = self.group.split_inclusive('\n').map(line).collect();
    }
}

fn today() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() / 86_400)
}

fn field<'a>(text: &'a str, name: &str, at: usize) -> Option<&'a str> {
    text.lines().find(|l| l.split(':').next() == Some(name))?.split(':').nth(at)
}

fn has_id(text: &str, id: u32) -> bool {
    text.lines().any(|l| l.split(':').nth(2).and_then(|n| n.parse().ok()) == Some(id))
}
