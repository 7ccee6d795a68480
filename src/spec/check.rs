//! The rules for values: a text either becomes the one canonical value, or an error with the exact
//! text that Solaris users know.

use core::net::{Ipv4Addr, Ipv6Addr};

use thiserror::Error;

use super::name::{PATH_MAX, ZONE_NAME_MAX, collapse_slashes, expand_tokens};
use super::schema::{PropDef, ResourceKind, ValueKind, ValueShape};
use super::value::{ByteSize, CpuCap, Item, Value};
use super::{ZoneName, words};

/// Longest value that is not a path, in bytes. `attr` values of other platforms' tools are long.
const TEXT_MAX: usize = 8192;

/// Why a value cannot be given to a property.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum ValueError {
    /// A list or group where one text belongs, or the reverse.
    #[error("A {0} value was expected here.")]
    Shape(&'static str),
    #[error("{0} cannot be empty.")]
    Empty(&'static str),
    /// The command language has no escapes, so such a text could never be exported.
    #[error("{0}: a value cannot hold a double quote, a line break or another control character.")]
    Unwritable(&'static str),
    #[error("{0}: Argument list too long")]
    TooLong(&'static str),
    #[error("{0} value must be {1}.")]
    Word(&'static str, String),
    #[error("invalid attr type '{0}'")]
    AttrType(String),
    #[error("invalid attr value for type={0}")]
    AttrValue(String),
    #[error("{0} property is out of range.")]
    Range(&'static str),
    #[error("A non-negative number with an optional scale suffix (K, M, G or T) was expected here.")]
    Size,
    #[error("{0} value is too small.  It must be at least {1}.")]
    TooSmall(&'static str, String),
    #[error("{0} is not an absolute path.")]
    ZonePathRelative(String),
    #[error("/ is not allowed as a zonepath.")]
    ZonePathRoot,
    #[error("{0} {1} is not an absolute path.")]
    Relative(&'static str, String),
    #[error("{0}: Bogus zone name")]
    ZoneName(String),
    #[error("hostid string is too large: {0}")]
    HostId(String),
    #[error("pool names starting with SUNW are reserved.")]
    Pool,
    #[error("{0}: Specified property is invalid")]
    Invalid(&'static str),
    #[error("{0}: invalid privilege: {1}")]
    Privilege(String, String),
    #[error("{0}: IPv6 addresses require /prefix-length suffix.")]
    Ipv6Prefix(String),
    #[error("{0}: IPv6 address prefix lengths must be 0 - 128.")]
    Ipv6Range(String),
    #[error("{0}: IPv4 address prefix lengths must be 0 - 32.")]
    Ipv4Range(String),
    #[error("{0}: bogus host name or network address syntax")]
    Address(String),
    #[error("{0}: invalid physical interface name")]
    Link(String),
    #[error("{0}: LUNs not allowed in physical interface names")]
    LinkLun(String),
    #[error("{0}: physical interface name required; logical interface name not allowed")]
    LinkLogical(String),
    #[error("{0}: invalid file system type")]
    FsType(String),
    #[error("match {0} is not below /dev.")]
    NotDev(String),
    #[error("dataset: name invalid")]
    Dataset,
    #[error("'{0}' is not a valid zone rctl name.")]
    RctlName(String),
    #[error("Invalid attr name {0}: must start with an alpha-numeric character.")]
    AttrNameStart(String),
    #[error("Invalid attr name {0}: can only contain alpha-numeric characters, plus '-' and '.'.")]
    AttrNameChars(String),
    #[error("user {0} is not a valid username")]
    User(String),
    #[error("'{0}' is not a valid authorization")]
    Auth(String),
    #[error("{0} security flags '{1}' are invalid")]
    SecFlags(&'static str, String),
    #[error("{0} already specified")]
    Twice(&'static str),
    #[error("Invalid rctl value specification")]
    Rctl,
    #[error("Invalid {0} specification")]
    Group(&'static str),
}

impl PropDef {
    /// Checks a value against the rule of this row and returns its canonical form.
    ///
    /// `owner` is the resource that the property belongs to, none for a global property. An empty
    /// text is an error here; that `set p=""` means "unset" is a matter of the command language.
    ///
    /// # Errors
    /// [`ValueError`] with the text of Solaris' zonecfg.
    pub fn check(&self, value: &Value, owner: Option<ResourceKind>) -> Result<Value, ValueError> {
        match (self.shape, value) {
            (ValueShape::One, Value::Simple(text)) => self.check_text(text, owner).map(Value::Simple),
            (ValueShape::One, Value::List(_)) => Err(ValueError::Shape("simple")),
            // Options of a mount never hold a comma: one word may be many of them.
            (ValueShape::List, Value::Simple(text))
                if self.kind == ValueKind::Option && text.contains(',') =>
            {
                let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
                let checked = words.map(|word| self.check_text(word, owner).map(Item::Simple));
                checked.collect::<Result<_, _>>().map(Value::List)
            }
            (ValueShape::List, Value::Simple(text)) => {
                Ok(Value::List(vec![Item::Simple(self.check_text(text, owner)?)]))
            }
            (ValueShape::List, Value::List(items)) => {
                let checked = items.iter().map(|item| match item {
                    Item::Simple(text) => self.check_text(text, owner).map(Item::Simple),
                    Item::Complex(_) => Err(ValueError::Shape("simple or list")),
                });
                checked.collect::<Result<_, _>>().map(Value::List)
            }
            (ValueShape::Groups(_), Value::Simple(_)) => Err(ValueError::Shape("complex or list")),
            (ValueShape::Groups(names), Value::List(items)) => {
                let checked = items.iter().map(|item| match item {
                    Item::Simple(_) => Err(ValueError::Shape("complex or list")),
                    Item::Complex(members) => self.check_group(names, members, owner),
                });
                checked.collect::<Result<_, _>>().map(Value::List)
            }
        }
    }

    fn check_group(
        &self,
        names: &'static [&'static str],
        members: &[(String, String)],
        owner: Option<ResourceKind>,
    ) -> Result<Item, ValueError> {
        let rctl = owner == Some(ResourceKind::Rctl);
        let bad = if rctl { ValueError::Rctl } else { ValueError::Group(self.name) };
        let mut found: Vec<Option<String>> = vec![None; names.len()];
        for (name, text) in members {
            let i = names.iter().position(|n| n == name).ok_or_else(|| bad.clone())?;
            if found[i].is_some() {
                return Err(ValueError::Twice(names[i]));
            }
            writable(names[i], text)?;
            let canonical = match (rctl, names[i]) {
                (false, _) => Some(text.clone()),
                // Linux: as in illumos, `basic` and `signal` mean nothing for a zone as a whole.
                (true, "priv") => (text == "privileged").then(|| text.clone()),
                (true, "action") => (text == "deny" || text == "none").then(|| text.clone()),
                (true, _) => c_number(text).map(|n| n.to_string()),
            };
            found[i] = Some(canonical.ok_or_else(|| bad.clone())?);
        }
        let members: Option<Vec<_>> =
            names.iter().zip(found).map(|(n, v)| v.map(|v| ((*n).to_owned(), v))).collect();
        members.map(Item::Complex).ok_or(bad)
    }

    /// Checks one text, a whole value or an element of a list.
    fn check_text(&self, text: &str, owner: Option<ResourceKind>) -> Result<String, ValueError> {
        let name = self.name;
        if text.is_empty() {
            return Err(ValueError::Empty(name));
        }
        writable(name, text)?;
        let invalid = || ValueError::Invalid(name);
        let keep = |good: bool, error: ValueError| if good { Ok(text.to_owned()) } else { Err(error) };
        match self.kind {
            ValueKind::Text | ValueKind::Option | ValueKind::AttrValue => Ok(text.to_owned()),
            // The text of an error is made for an error alone: files have values by the thousand.
            ValueKind::Bool if !matches!(text, "true" | "false") => Err(self.word_error(&["true", "false"])),
            ValueKind::Word(_) if owner == Some(ResourceKind::Attr) && !self.knows(text) => {
                Err(ValueError::AttrType(text.to_owned()))
            }
            ValueKind::Word(words) if !self.knows(text) => Err(self.word_error(words)),
            ValueKind::Bool | ValueKind::Word(_) => Ok(text.to_owned()),
            ValueKind::Uint(low, high) => {
                let number = plain_number(text).filter(|n| (low..=high).contains(n));
                number.map(|n| n.to_string()).ok_or(ValueError::Range(name))
            }
            ValueKind::Size(least) => {
                let size = ByteSize::parse(text).map_err(|_| ValueError::Size)?;
                if size.0 < least {
                    return Err(ValueError::TooSmall(name, ByteSize(least).to_string()));
                }
                Ok(size.to_string())
            }
            ValueKind::CpuCap => CpuCap::parse(text).map(|c| c.to_string()).ok_or(ValueError::Range(name)),
            ValueKind::CpuRange => cpu_range(text).ok_or(ValueError::Range(name)),
            ValueKind::AbsPath => {
                keep(text.starts_with('/'), ValueError::Relative(name, text.to_owned()))?;
                Ok(collapse_slashes(text))
            }
            ValueKind::ZonePath => {
                keep(text.starts_with('/'), ValueError::ZonePathRelative(text.to_owned()))?;
                let path = collapse_slashes(text);
                if path == "/" { Err(ValueError::ZonePathRoot) } else { Ok(path) }
            }
            ValueKind::ZoneName => keep(ZoneName::new(text).is_ok(), ValueError::ZoneName(text.to_owned())),
            ValueKind::Brand => keep(is_brand(text), invalid()),
            ValueKind::Brands => keep(text.split(',').all(is_brand), invalid()),
            ValueKind::HostId => {
                let digits = text.strip_prefix("0x").or(text.strip_prefix("0X")).unwrap_or(text);
                let hex = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
                keep(hex, invalid())?;
                let fits = text.len() <= 10 && u32::from_str_radix(digits, 16).is_ok_and(|n| n < u32::MAX);
                keep(fits, ValueError::HostId(text.to_owned()))
            }
            ValueKind::Privileges => check_privileges(text).map(|()| text.to_owned()),
            ValueKind::FsAllowed => {
                let word = |t: &str| {
                    !t.is_empty() && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
                };
                keep(text.split(',').all(word), invalid())
            }
            ValueKind::PoolName => {
                keep(!text.starts_with("SUNW"), ValueError::Pool)?;
                keep(!text.contains('/') && text != "." && text != "..", invalid())
            }
            ValueKind::Address => check_address(text).map(|()| text.to_owned()),
            ValueKind::AddressList => text.split(',').try_for_each(check_address).map(|()| text.to_owned()),
            ValueKind::Router => {
                let host = text.split_once('/').map_or(text, |(host, _)| host);
                let good = host.parse::<Ipv6Addr>().is_ok() || is_host(host);
                if good { Ok(host.to_owned()) } else { Err(ValueError::Address(text.to_owned())) }
            }
            ValueKind::Link => check_link(text).map(|()| text.to_owned()),
            ValueKind::FsType => {
                let good = !text.contains('/') && text != "." && text != "..";
                keep(good, ValueError::FsType(text.to_owned()))
            }
            ValueKind::DeviceMatch => {
                let inside = !text.starts_with('/') || text.starts_with("/dev/");
                let up = text.split('/').any(|part| part == "..");
                keep(inside && !up, ValueError::NotDev(text.to_owned()))
            }
            ValueKind::DatasetName => keep(is_dataset(text), ValueError::Dataset),
            ValueKind::RctlName => {
                let rest = text.strip_prefix("zone.").unwrap_or("");
                let good = !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-');
                keep(good, ValueError::RctlName(text.to_owned()))
            }
            ValueKind::AttrName => check_attr_name(text).map(|()| text.to_owned()),
            ValueKind::User => {
                let good =
                    text.len() <= 256 && !text.starts_with('-') && !text.contains([':', '/', ',', ' ']);
                keep(good, ValueError::User(text.to_owned()))
            }
            ValueKind::Auths => match text.split(',').map(str::trim).find(|a| !words::AUTHS.contains(a)) {
                Some(bad) => Err(ValueError::Auth(bad.to_owned())),
                None => Ok(text.to_owned()),
            },
            ValueKind::SecFlags => {
                keep(words::security_flags(text).is_some(), ValueError::SecFlags(name, text.to_owned()))
            }
            ValueKind::Uuid => keep(is_uuid(text), invalid()).map(|t| t.to_ascii_lowercase()),
            ValueKind::Mac => keep(is_mac(text), invalid()),
            ValueKind::LockList => {
                let word = |t: &str| {
                    !t.is_empty() && t.bytes().all(|b| b.is_ascii_alphanumeric() || b":_.-@".contains(&b))
                };
                keep(text.split(',').all(word), invalid())
            }
        }
        .and_then(|t| if t.len() <= self.longest() { Ok(t) } else { Err(ValueError::TooLong(name)) })
    }

    fn longest(&self) -> usize {
        match self.kind {
            ValueKind::AbsPath | ValueKind::ZonePath => PATH_MAX,
            ValueKind::ZoneName => ZONE_NAME_MAX,
            _ => TEXT_MAX,
        }
    }

    fn knows(&self, text: &str) -> bool {
        matches!(self.kind, ValueKind::Word(words) if words.contains(&text))
    }

    fn word_error(&self, words: &[&str]) -> ValueError {
        let quoted: Vec<_> = words.iter().map(|w| format!("'{w}'")).collect();
        let text = match quoted.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => quoted.concat(),
        };
        ValueError::Word(self.name, text)
    }
}

/// Checks that an attribute's value parses as its type.
///
/// # Errors
/// [`ValueError::AttrValue`] when it does not, [`ValueError::AttrType`] for an unknown type.
pub fn check_attr(kind: &str, value: &str) -> Result<(), ValueError> {
    let good = match kind {
        "string" => true,
        "boolean" => matches!(value, "true" | "false"),
        "int" => c_number(value.strip_prefix(['-', '+']).unwrap_or(value)).is_some(),
        "uint" => c_number(value).is_some(),
        _ => return Err(ValueError::AttrType(kind.to_owned())),
    };
    if good { Ok(()) } else { Err(ValueError::AttrValue(kind.to_owned())) }
}

/// Refuses a value that the command language cannot write.
fn writable(name: &'static str, text: &str) -> Result<(), ValueError> {
    let bad = |c: char| c == '"' || (c.is_control() && c != '\t');
    if text.contains(bad) { Err(ValueError::Unwritable(name)) } else { Ok(()) }
}

fn plain_number(text: &str) -> Option<u64> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// Reads a number as `strtoull` with base 0 does: decimal, `0x…` or `0…`.
fn c_number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    if digits.starts_with('+') { None } else { u64::from_str_radix(digits, radix).ok() }
}

fn cpu_range(text: &str) -> Option<String> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let (low, high) = (plain_number(low.trim())?, plain_number(high.trim())?);
    match () {
        () if low < 1 || high < low => None,
        () if low == high => Some(low.to_string()),
        () => Some(format!("{low}-{high}")),
    }
}

fn is_brand(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

fn check_privileges(list: &str) -> Result<(), ValueError> {
    for word in list.split(',') {
        let name = word.trim().trim_start_matches(['!', '-']);
        let good = !name.is_empty()
            && !name.eq_ignore_ascii_case("zone")
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !good {
            return Err(ValueError::Privilege(list.to_owned(), word.trim().to_owned()));
        }
    }
    Ok(())
}

fn is_host(text: &str) -> bool {
    if text.parse::<Ipv4Addr>().is_ok() {
        return true;
    }
    // All digits and dots is a mistyped address, never a host name (RFC 1123, 2.1).
    text.len() <= 253
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        && !text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

fn check_address(text: &str) -> Result<(), ValueError> {
    let (host, prefix) = match text.split_once('/') {
        Some((host, prefix)) => (host, Some(prefix)),
        None => (text, None),
    };
    let within =
        |most: u64| prefix.is_none_or(|p| plain_number(p).is_some_and(|n| !p.is_empty() && n <= most));
    if host.parse::<Ipv6Addr>().is_ok() {
        return match prefix {
            None => Err(ValueError::Ipv6Prefix(text.to_owned())),
            Some(_) if within(128) => Ok(()),
            Some(_) => Err(ValueError::Ipv6Range(text.to_owned())),
        };
    }
    if !is_host(host) {
        return Err(ValueError::Address(text.to_owned()));
    }
    if within(32) { Ok(()) } else { Err(ValueError::Ipv4Range(text.to_owned())) }
}

fn check_link(text: &str) -> Result<(), ValueError> {
    if let Some((_, after)) = text.split_once(':') {
        let lun = !after.is_empty() && after.bytes().all(|b| b.is_ascii_digit());
        let text = text.to_owned();
        return Err(if lun { ValueError::LinkLun(text) } else { ValueError::LinkLogical(text) });
    }
    let good = text.len() <= 31
        && text != "."
        && text != ".."
        && !text.starts_with('-')
        && !text.contains(|c: char| c == '/' || c.is_whitespace());
    if good { Ok(()) } else { Err(ValueError::Link(text.to_owned())) }
}

fn is_dataset(text: &str) -> bool {
    let Ok(zone) = ZoneName::new("z") else { return false };
    let text = expand_tokens(text, &zone);
    let part = |p: &str| {
        !p.is_empty()
            && p != "."
            && p != ".."
            && p.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.: ".contains(&b))
    };
    text.len() <= 255
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.split('/').all(part)
        && !text.ends_with(' ')
}

fn check_attr_name(text: &str) -> Result<(), ValueError> {
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(ValueError::AttrNameStart(text.to_owned()));
    }
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.') {
        return Err(ValueError::AttrNameChars(text.to_owned()));
    }
    Ok(())
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').collect();
    let lengths = [8, 4, 4, 4, 12];
    parts.len() == lengths.len()
        && parts.iter().zip(lengths).all(|(p, n)| p.len() == n && p.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn is_mac(text: &str) -> bool {
    if matches!(text, "auto" | "random" | "default" | "factory") {
        return true;
    }
    let octet = |o: &str| (1..=2).contains(&o.len()) && o.bytes().all(|b| b.is_ascii_hexdigit());
    text.split(':').count() == 6 && text.split(':').all(octet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::schema;

    fn prop(path: &str) -> (&'static PropDef, Option<ResourceKind>) {
        match path.split_once(' ') {
            None => (schema::global(path).expect(path), None),
            Some((resource, name)) => {
                let kind = ResourceKind::from_name(resource).expect(resource);
                (kind.def().prop(name).expect(name), Some(kind))
            }
        }
    }

    fn check(path: &str, text: &str) -> Result<String, String> {
        let (def, owner) = prop(path);
        let value = def.check(&Value::simple(text), owner).map_err(|e| e.to_string())?;
        Ok(match value {
            Value::Simple(text) => text,
            Value::List(items) => format!("{items:?}"),
        })
    }

    #[test]
    fn accepted() {
        for (path, text, canonical) in [
            ("zonepath", "//zones//zion/", "/zones/zion"),
            ("zonepath", "/zones/%{zonename}", "/zones/%{zonename}"),
            ("hostid", "0x80f0c086", "0x80f0c086"),
            ("max-shm-memory", "1.5g", "1536M"),
            ("max-lwps", "0100", "100"),
            ("fs-allowed", "-,ext4", "-,ext4"),
            ("limitpriv", "default,!proc_fork,-sys_time", "default,!proc_fork,-sys_time"),
            ("net address", "ZONE1", "ZONE1"),
            ("net address", "2001:db8::1/64", "2001:db8::1/64"),
            ("net defrouter", "192.0.2.1/24", "192.0.2.1"),
            ("net physical", "eth0.100", "eth0.100"),
            ("dedicated-cpu ncpus", "4-4", "4"),
            ("dedicated-cpu ncpus", "2-4", "2-4"),
            ("capped-cpu ncpus", "1.5", "1.50"),
            ("capped-memory physical", "50m", "50M"),
            ("dataset name", "tank/%{zonename}", "tank/%{zonename}"),
            ("device match", "vmm*", "vmm*"),
            ("uuid", "64788F65-1b43-47b8-9d4b-17ed5e3a0d2b", "64788f65-1b43-47b8-9d4b-17ed5e3a0d2b"),
            ("net mac-addr", "2:8:20:0:0:1", "2:8:20:0:0:1"),
            ("security-flags lower", "none", "none"),
            ("attr value", "-S -s 8:0,passthru", "-S -s 8:0,passthru"),
        ] {
            assert_eq!(check(path, text).as_deref(), Ok(canonical), "{path} {text}");
        }
    }

    #[test]
    fn refused_with_the_known_texts() {
        for (path, text, error) in [
            ("zonepath", "zones/zion", "zones/zion is not an absolute path."),
            ("zonepath", "///", "/ is not allowed as a zonepath."),
            ("autoboot", "yes", "autoboot value must be 'true' or 'false'."),
            ("ip-type", "both", "ip-type value must be 'shared' or 'exclusive'."),
            ("pool", "SUNWx", "pool names starting with SUNW are reserved."),
            ("hostid", "ffffffff", "hostid string is too large: ffffffff"),
            ("hostid", "0x123456789", "hostid string is too large: 0x123456789"),
            ("max-lwps", "99", "max-lwps property is out of range."),
            ("limitpriv", "default,zone", "default,zone: invalid privilege: zone"),
            ("fs dir", "export", "dir export is not an absolute path."),
            ("net address", "2001:db8::1", "2001:db8::1: IPv6 addresses require /prefix-length suffix."),
            (
                "net address",
                "2001:db8::1/129",
                "2001:db8::1/129: IPv6 address prefix lengths must be 0 - 128.",
            ),
            ("net address", "192.0.2.1/33", "192.0.2.1/33: IPv4 address prefix lengths must be 0 - 32."),
            ("net address", "192.0.2.300", "192.0.2.300: bogus host name or network address syntax"),
            ("net physical", "e1000g0:1", "e1000g0:1: LUNs not allowed in physical interface names"),
            (
                "net physical",
                "e1000g0:x",
                "e1000g0:x: physical interface name required; logical interface name not allowed",
            ),
            ("attr name", "-x", "Invalid attr name -x: must start with an alpha-numeric character."),
            (
                "attr name",
                "a_b",
                "Invalid attr name a_b: can only contain alpha-numeric characters, plus '-' and '.'.",
            ),
            ("attr type", "text", "invalid attr type 'text'"),
            ("capped-memory physical", "1k", "physical value is too small.  It must be at least 1M."),
            ("dedicated-cpu ncpus", "4-2", "ncpus property is out of range."),
            ("rctl name", "cpu-cap", "'cpu-cap' is not a valid zone rctl name."),
            ("dataset name", "tank/", "dataset: name invalid"),
            ("dataset name", "tank/a@b", "dataset: name invalid"),
            ("admin auths", "login,fly", "'fly' is not a valid authorization"),
            ("security-flags lower", "fail", "lower security flags 'fail' are invalid"),
            ("rctl value", "5", "A complex or list value was expected here."),
            ("attr value", "", "value cannot be empty."),
        ] {
            assert_eq!(check(path, text).err().as_deref(), Some(error), "{path} {text}");
        }
        assert!(check("attr value", "a\"b").is_err());
        assert!(check("attr value", "a\nb").is_err());
        assert!(check("device match", "/dev/../etc/shadow").is_err());
        assert!(check("device match", "/etc/passwd").is_err());
    }

    #[test]
    fn every_example_of_the_table_is_valid() {
        let rows = schema::globals().iter().map(|p| (p, None));
        let rows =
            rows.chain(ResourceKind::every().flat_map(|k| k.def().props.iter().map(move |p| (p, Some(k)))));
        for (def, owner) in rows {
            if matches!(def.shape, ValueShape::One) {
                let value = Value::simple(def.example);
                let once = def.check(&value, owner).unwrap_or_else(|e| panic!("{} {e}", def.name));
                assert_eq!(def.check(&once, owner), Ok(once.clone()), "{} is not canonical", def.name);
            }
        }
    }

    #[test]
    fn control_values() {
        let (def, owner) = prop("rctl value");
        let group = |m: &[(&str, &str)]| {
            let members = m.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
            def.check(&Value::List(vec![Item::Complex(members)]), owner).map_err(|e| e.to_string())
        };
        let value = group(&[("limit", "0x10"), ("action", "deny"), ("priv", "privileged")]).expect("good");
        assert_eq!(value.items()[0].member("limit"), Some("16"));
        let Item::Complex(members) = &value.items()[0] else { panic!("a group") };
        assert_eq!(members[0].0, "priv");
        let bad = "Invalid rctl value specification".to_owned();
        assert_eq!(group(&[("limit", "1")]), Err(bad.clone()));
        assert_eq!(group(&[("priv", "basic"), ("limit", "1"), ("action", "deny")]), Err(bad.clone()));
        assert_eq!(group(&[("priv", "privileged"), ("limit", "1"), ("action", "signal")]), Err(bad));
        assert_eq!(group(&[("limit", "1"), ("limit", "2")]), Err("limit already specified".into()));
    }

    #[test]
    fn attribute_values() {
        assert_eq!(check_attr("int", "-5"), Ok(()));
        assert_eq!(check_attr("uint", "0x1f"), Ok(()));
        assert_eq!(
            check_attr("uint", "-5").map_err(|e| e.to_string()),
            Err("invalid attr value for type=uint".into())
        );
        assert!(check_attr("boolean", "yes").is_err());
    }
}
