//! The profiles that `install -c` and `clone -c` take: of sysconfig(8) of Solaris 11, and sysidcfg(5) of Solaris 10.
//!
//! Only settings that have a meaning here are read from both: host name, root's password and keys, a first user,
//! time zone and locale. All others are named, so that they can be reported.

use std::collections::BTreeSet;

use thiserror::Error;

use crate::spec::shown::Show;

/// Longest profile that is read.
pub const LIMIT: usize = 1 << 20;

/// The settings of a profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SysConfig {
    /// Host name.
    pub hostname: Option<String>,
    /// Time zone, as `Europe/Berlin`.
    pub timezone: Option<String>,
    /// `LANG`.
    pub locale: Option<String>,
    /// Password and keys of root; its login is not set.
    pub root: Account,
    /// The first user, when it has a login.
    pub user: Account,
    /// Names of the settings without a meaning here.
    pub ignored: BTreeSet<String>,
}

/// An account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Login name.
    pub login: String,
    /// Password as crypt(3) makes it.
    pub password: Option<String>,
    /// Full name.
    pub description: String,
    /// Login shell.
    pub shell: Option<String>,
    /// Number.
    pub uid: Option<u32>,
    /// It may become root.
    pub administers: bool,
    /// The password has to be changed at the first login.
    pub expired: bool,
    /// Public keys for logins by ssh.
    pub keys: Vec<String>,
}

/// Why a profile is not taken.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SysConfigError {
    /// It is neither of both kinds.
    #[error("neither a profile of sysconfig(8) nor a sysidcfg(5): line {0} is not NAME=VALUE")]
    Neither(usize),
    /// A value that cannot be.
    #[error("{name}: '{}' is no valid value", value.shown())]
    Value {
        /// The property.
        name: String,
        /// Its value.
        value: String,
    },
    /// The XML is broken.
    #[error("the XML is broken: {0}")]
    Xml(&'static str),
}

impl SysConfig {
    /// Names the settings of the profile, for a plan: no password, and of keys only their existence.
    pub fn describe(&self) -> String {
        let account = |account: &Account, who: &str| {
            let password = account.password.as_ref().map(|_| "password");
            let keys = (!account.keys.is_empty()).then_some("keys");
            let what: Vec<_> = password.into_iter().chain(keys).collect();
            (!what.is_empty()).then(|| format!("{} of {who}", what.join(" and ")))
        };
        let mut parts: Vec<String> = Vec::new();
        parts.extend(self.hostname.as_ref().map(|name| format!("host name {name}")));
        parts.extend(self.timezone.as_ref().map(|zone| format!("time zone {zone}")));
        parts.extend(self.locale.as_ref().map(|locale| format!("locale {locale}")));
        parts.extend(account(&self.root, "root"));
        if !self.user.login.is_empty() {
            parts.push(format!("user {}", self.user.login));
            parts.extend(account(&self.user, &self.user.login));
        }
        if parts.is_empty() { "nothing of it has a meaning here".into() } else { parts.join(", ") }
    }

    /// Reads a profile of either kind, in addition to earlier ones.
    ///
    /// # Errors
    /// [`SysConfigError`] with the first fault.
    pub fn add(&mut self, text: &str) -> Result<(), SysConfigError> {
        let text = text.trim_start_matches('\u{feff}');
        if !text.trim_start().starts_with('<') {
            return self.sysidcfg(text);
        }
        for (group, name, value) in properties(text)? {
            self.set(&group, &name, &value)?;
        }
        Ok(())
    }

    /// Reads a sysidcfg(5): lines of names and values, some with further ones in braces.
    fn sysidcfg(&mut self, text: &str) -> Result<(), SysConfigError> {
        for (number, line) in text.lines().enumerate() {
            let line = line.trim().trim_end_matches(['{', '}']).trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            // An entry may have more behind it: network_interface=PRIMARY {hostname=zion
            for word in line.split(['{', '}']).flat_map(str::split_whitespace) {
                match word.split_once('=') {
                    Some((name, value)) => self.set("sysidcfg", name, value.trim_matches('"'))?,
                    None if line.contains('=') => {
                        self.ignored.insert(word.to_owned());
                    }
                    None => return Err(SysConfigError::Neither(number + 1)),
                }
            }
        }
        Ok(())
    }

    fn set(&mut self, group: &str, name: &str, value: &str) -> Result<(), SysConfigError> {
        let wrong = || SysConfigError::Value { name: name.to_owned(), value: value.to_owned() };
        let take = |good: bool| if good { Ok(value.to_owned()) } else { Err(wrong()) };
        match (group, name) {
            ("config", "nodename") | ("sysidcfg", "hostname") => self.hostname = Some(take(is_host(value))?),
            ("timezone", "localtime") | ("sysidcfg", "timezone") => {
                self.timezone = Some(take(is_zone(value))?);
            }
            ("environment", "LANG" | "LC_ALL") | ("sysidcfg", "system_locale") => {
                self.locale = Some(take(is_word(value, "_.@-"))?);
            }
            ("sysidcfg", "root_password") => self.root.password = password(value).ok_or_else(wrong)?,
            ("root_account", "login") => {}
            ("root_account", _) if self.root.set(name, value).ok_or_else(wrong)? => {}
            ("user_account", "login") => self.user.login = take(is_login(value))?,
            ("user_account", _) if self.user.set(name, value).ok_or_else(wrong)? => {}
            _ => {
                self.ignored.insert(name.to_owned());
            }
        }
        Ok(())
    }
}

impl Account {
    /// Sets a property; says whether it has a meaning, none when its value cannot be.
    fn set(&mut self, name: &str, value: &str) -> Option<bool> {
        let plain = |extra: &str| is_word(value, extra).then(|| value.to_owned());
        match name {
            "password" => self.password = password(value)?,
            "description" => {
                self.description = (is_text(value) && !value.contains(':')).then(|| value.to_owned())?;
            }
            "shell" => self.shell = Some(plain("/._-").filter(|s| s.starts_with('/'))?),
            "uid" => self.uid = Some(value.parse().ok().filter(|id| (100..60_000).contains(id))?),
            "roles" => self.administers |= value.split(',').any(|role| role.trim() == "root"),
            "expire" => self.expired = value == "0",
            "ssh_public_keys" if value.is_empty() => {}
            "ssh_public_keys" => self.keys.push(is_text(value).then(|| value.trim().to_owned())?),
            // The same here in any case.
            "type" => {}
            _ => return Some(false),
        }
        Some(true)
    }
}

/// Returns a password for shadow(5): an impossible one for the words that lock an account. The outer none is a value
/// that can be neither.
#[allow(clippy::option_option)]
fn password(value: &str) -> Option<Option<String>> {
    if matches!(value, "" | "NP" | "*" | "!" | "*LK*" | "*NP*") {
        return Some(None);
    }
    let hash = value.starts_with('$') || value.len() == 13;
    (hash && value.len() <= 256 && is_word(value, "./$,=+-*")).then(|| Some(value.to_owned()))
}

fn is_word(text: &str, extra: &str) -> bool {
    !text.is_empty()
        && text.len() <= 256
        && text.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
}

fn is_text(text: &str) -> bool {
    text.len() <= 16_384 && !text.contains(char::is_control)
}

fn is_host(text: &str) -> bool {
    text.len() <= 64 && is_word(text, "-.") && !text.starts_with(['-', '.'])
}

fn is_zone(text: &str) -> bool {
    is_word(text, "/_+-") && !text.starts_with('/') && !text.contains("//")
}

fn is_login(text: &str) -> bool {
    text.len() <= 32 && is_word(text, "_-") && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// Returns group, name and value of each property of an SMF profile.
fn properties(text: &str) -> Result<Vec<(String, String, String)>, SysConfigError> {
    let (mut group, mut name, mut out) = (String::new(), String::new(), Vec::new());
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let end = if let Some(comment) = rest.strip_prefix("!--") {
            3 + comment.find("-->").ok_or(SysConfigError::Xml("a comment has no end"))? + 2
        } else {
            tag_end(rest).ok_or(SysConfigError::Xml("a tag has no end"))?
        };
        let tag = &rest[..end];
        rest = &rest[end + 1..];
        let value = |wanted: &str| attribute(tag, wanted);
        match tag.split([' ', '\t', '\n', '\r', '/']).next().unwrap_or_default() {
            "property_group" => group = value("name").unwrap_or_default(),
            "propval" => {
                out.extend(value("name").map(|n| (group.clone(), n, value("value").unwrap_or_default())));
            }
            "property" => name = value("name").unwrap_or_default(),
            "value_node" => out.extend(value("value").map(|v| (group.clone(), name.clone(), v))),
            _ => {}
        }
    }
    Ok(out)
}

/// Returns where a tag ends: at the first `>` outside of quotes.
fn tag_end(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match quote {
            Some(q) if c == q => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c == '>' => return Some(at),
            None => {}
        }
    }
    None
}

/// Returns the value of an attribute of a tag.
fn attribute(tag: &str, wanted: &str) -> Option<String> {
    let mut rest = &tag[tag.find(char::is_whitespace)?..];
    loop {
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let (value, next) = after[1..].split_once(quote)?;
        if name.trim() == wanted {
            return Some(unescape(value));
        }
        rest = next;
    }
}

/// Resolves the five entities that XML itself has.
fn unescape(text: &str) -> String {
    let pairs = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    pairs.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<SysConfig, SysConfigError> {
        let mut config = SysConfig::default();
        config.add(text).map(|()| config)
    }

    const XML: &str = r#"<?xml version='1.0' encoding='US-ASCII'?>
<!DOCTYPE service_bundle SYSTEM "/usr/share/lib/xml/dtd/service_bundle.dtd.1">
<!-- <propval name="nodename" value="no"/> -->
<service_bundle type="profile" name="system configuration">
  <service version="1" type="service" name="system/config-user">
    <instance enabled="true" name="default">
      <property_group type="application" name="user_account">
        <propval type="astring" name="login" value="jack"/>
        <propval type="astring" name="password" value="$5$salt$hash./AB"/>
        <propval type="astring" name="description" value="Jack &amp; &quot;Jill&quot;"/>
        <propval type="astring" name="shell" value="/usr/bin/bash"/>
        <propval type="astring" name="roles" value="root"/>
        <propval type="count" name="gid" value="10"/>
        <property type="astring" name="ssh_public_keys"><astring_list>
          <value_node value="ssh-ed25519 AAAA jack@host"/><value_node value='ssh-rsa BBBB a:b'/>
        </astring_list></property>
      </property_group>
      <property_group type="application" name="root_account">
        <propval type="astring" name="login" value="root"/>
        <propval type="astring" name="password" value="NP"/>
        <propval type="astring" name="type" value="role"/>
      </property_group>
    </instance>
  </service>
  <service name="system/identity"><instance name="node"><property_group name="config">
    <propval name="nodename" value="www"/></property_group></instance></service>
  <service name="system/timezone"><instance name="default"><property_group name="timezone">
    <propval name="localtime" value="Europe/Berlin"/></property_group></instance></service>
  <service name="system/environment"><instance name="init"><property_group name="environment">
    <propval name="LANG" value="de_DE.UTF-8"/></property_group></instance></service>
  <service name="system/keymap"><property_group name="keymap"><propval name="layout" value="German"/>
  </property_group></service>
</service_bundle>"#;

    #[test]
    fn a_profile_of_solaris_11() {
        let read = parse(XML).expect("a profile");
        let text = |t: &str| Some(t.to_owned());
        assert_eq!((read.hostname, read.timezone), (text("www"), text("Europe/Berlin")));
        assert_eq!((read.locale, read.root), (text("de_DE.UTF-8"), Account::default()));
        assert_eq!(read.user.login, "jack");
        assert_eq!(read.user.password, text("$5$salt$hash./AB"));
        assert_eq!(read.user.description, "Jack & \"Jill\"");
        assert_eq!(read.user.keys, ["ssh-ed25519 AAAA jack@host", "ssh-rsa BBBB a:b"]);
        assert!(read.user.administers && !read.user.expired);
        assert_eq!(read.ignored.into_iter().collect::<Vec<_>>(), ["gid", "layout"]);
    }

    #[test]
    fn a_file_of_solaris_10() {
        let text = "# zone\nname_service=NONE\nnetwork_interface=PRIMARY {hostname=www\n  netmask=255.255.255.0}\n\
            root_password=abCDefGHijKLm\nsystem_locale=C\ntimezone=MET\nterminal=vt100\n";
        let read = parse(text).expect("a file");
        assert_eq!(read.hostname.as_deref(), Some("www"));
        assert_eq!(read.root.password.as_deref(), Some("abCDefGHijKLm"));
        assert_eq!((read.locale.as_deref(), read.timezone.as_deref()), (Some("C"), Some("MET")));
        assert!(read.ignored.contains("name_service") && read.ignored.contains("netmask"));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let user = |name: &str, value: &str| {
            parse(&format!(
                "<property_group name=\"user_account\"><propval name=\"{name}\" value=\"{value}\"/></property_group>"
            ))
        };
        for (name, value) in [
            ("login", "a:b"),
            ("login", "-rf"),
            ("login", "../x"),
            ("password", "plain"),
            ("password", "$5$x:0:0"),
            ("description", "x:0:0"),
            ("description", "x\n"),
            ("shell", "bash"),
            ("shell", "/bin/a b"),
            ("uid", "0"),
            ("ssh_public_keys", "ssh-rsa A\nroot"),
        ] {
            assert!(user(name, value).is_err(), "{name}={value}");
        }
        assert_eq!(parse("hello\n"), Err(SysConfigError::Neither(1)));
        assert!(parse("timezone=../../etc/shadow").is_err());
        assert!(parse("hostname=a;b").is_err());
        assert!(parse("<propval name=\"x").is_err() && parse("<!-- x").is_err());
    }
}
