//! The spec as TOML text, read by the table of [`super::schema`].
//!
//! ```toml
//! format = 1
//! zonepath = "/zones/zion"
//! autoboot = true
//!
//! [capped-memory]          # at most one of its kind: a table
//! physical = "1536M"
//!
//! [[fs]]                   # any number: an array of tables
//! dir = "/export/shared"
//! special = "/srv/shared"
//! type = "lofs"
//! options = ["ro", "nodevices"]
//!
//! [[anet]]
//! linkname = "net0"
//! mac = [{ mac-address = "auto", id = 1 }]  # or [[anet.mac]]: resources that stand in this one
//!
//! [[rctl]]
//! name = "zone.max-lwps"
//! value = [{ priv = "privileged", limit = 1000, action = "deny" }]
//! ```
//!
//! The text belongs to people: [`edit::update`] changes only the values that differ. An unknown key is refused with
//! line and column, because a key that is silently skipped is a limit that is silently missing.

pub mod edit;

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use ::toml::Spanned;
use ::toml::de::{DeArray, DeInteger, DeTable, DeValue};
use thiserror::Error;

use super::schema::{PropDef, ResourceDef, ResourceKind, ValueKind, ValueShape, globals};
use super::verify::{can_clash, duplicate_text, unique_key};
use super::{Item, Props, Value, ZoneName, ZoneSpec};

pub use edit::{render, update};

/// The version of the format that this program reads and writes.
pub const FORMAT: u64 = 1;

/// Largest spec that is read. A command file of 100,000 lines makes one of about 2 MiB.
pub const SIZE_MAX: usize = 16 << 20;

/// Why a text is not a spec.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{line}:{column}: {text}")]
pub struct TextError {
    /// Line, counting from 1.
    pub line: usize,
    /// Column in characters, counting from 1.
    pub column: usize,
    /// The error.
    pub text: String,
}

impl TextError {
    fn at(source: &[u8], offset: usize, text: impl Into<String>) -> Self {
        let before = &source[..offset.min(source.len())];
        let line_start = before.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
        let line = 1 + before.iter().filter(|b| **b == b'\n').count();
        let column = 1 + String::from_utf8_lossy(&before[line_start..]).chars().count();
        Self { line, column, text: text.into() }
    }
}

/// Reads a spec from the bytes of a file.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn parse(name: &ZoneName, bytes: &[u8]) -> Result<ZoneSpec, TextError> {
    let text = decode(bytes)?;
    let document = DeTable::parse(text).map_err(|e| {
        let offset = e.span().map_or(text.len(), |s| s.start);
        TextError::at(bytes, offset, e.message().replace('\n', ", "))
    })?;
    Reader { text, spec: ZoneSpec::new(name.clone()), controls: HashSet::new() }.read(document.get_ref())
}

/// Checks the bytes for errors that can be named before they are parsed as TOML.
fn decode(bytes: &[u8]) -> Result<&str, TextError> {
    if bytes.len() > SIZE_MAX {
        return Err(TextError::at(bytes, SIZE_MAX, "the file is larger than 16 MiB, which no zone spec is"));
    }
    if let Some(at) = bytes.iter().position(|b| *b == 0) {
        return Err(TextError::at(
            bytes,
            at,
            "the file holds a NUL byte: it is not a zone spec, or it is damaged",
        ));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|e| TextError::at(bytes, e.valid_up_to(), "the file is not UTF-8 text"))?;
    match text.trim_start().as_bytes().first() {
        None => Err(TextError::at(bytes, 0, "the file is empty; a zone spec begins with 'format = 1'")),
        Some(b'<') => Err(TextError::at(
            bytes,
            0,
            "this is XML, not TOML: the file of a Solaris zone cannot be read here; use the output of 'zonecfg export' there",
        )),
        Some(b'{') => {
            Err(TextError::at(bytes, 0, "this is JSON, not TOML; a zone spec begins with 'format = 1'"))
        }
        Some(_) => Ok(text),
    }
}

type ByteRange = Range<usize>;
type Read<T> = Result<T, TextError>;

struct Reader<'t> {
    text: &'t str,
    spec: ZoneSpec,
    /// Names of the controls seen, also through aliases.
    controls: HashSet<String>,
}

impl<'t> Reader<'t> {
    fn fail<T>(&self, place: &ByteRange, text: impl Into<String>) -> Read<T> {
        Err(TextError::at(self.text.as_bytes(), place.start, text))
    }

    fn read(mut self, table: &DeTable<'t>) -> Read<ZoneSpec> {
        self.format(table)?;
        // The order of the table, not of the text: aliases become controls in one known order.
        for def in globals() {
            let Some((key, value)) = table.get_key_value(def.name) else { continue };
            if def.name == "zonename" {
                return self
                    .fail(&key.span(), "zonename is not kept in the file: the file's name is the zone's");
            }
            self.property(None, def, &key.span(), value)?;
        }
        for kind in ResourceKind::all() {
            let Some((key, value)) = table.get_key_value(kind.name()) else { continue };
            self.resources(kind.def(), &key.span(), value)?;
        }
        for key in table.keys() {
            let name = key.get_ref().as_ref();
            let kind = ResourceKind::from_name(name);
            if let Some((kind, outer)) = kind.and_then(|kind| Some((kind, kind.def().within?))) {
                let text = format!("{kind} stands in {outer}: write [[{outer}.{kind}]]");
                return self.fail(&key.span(), text);
            }
            let known = globals().iter().any(|p| p.name == name) || kind.is_some();
            if !known && name != "format" {
                let names =
                    globals().iter().map(|p| p.name).chain(ResourceKind::all().map(ResourceKind::name));
                let text = format!("unknown property or resource '{name}'{}", hint(name, names));
                return self.fail(&key.span(), text);
            }
        }
        self.spec.tidy();
        Ok(self.spec)
    }

    fn format(&self, table: &DeTable<'t>) -> Read<()> {
        let Some(value) = table.get("format") else {
            return self.fail(&(0..0), "'format = 1' is missing: it is not a zone spec, or it is damaged");
        };
        match value.get_ref() {
            DeValue::Integer(n) if integer(n) == Some(FORMAT.into()) => Ok(()),
            DeValue::Integer(n) => {
                let text = format!("format {n} is not known to this version, which reads format {FORMAT}");
                self.fail(&value.span(), text)
            }
            _ => self.fail(&value.span(), "format must be a number: format = 1"),
        }
    }

    /// Reads one property of the spec or, with `into`, of a resource.
    fn property(
        &mut self,
        into: Option<(&'static ResourceDef, &mut Props)>,
        def: &'static PropDef,
        key: &ByteRange,
        value: &Spanned<DeValue<'t>>,
    ) -> Read<()> {
        let shown = match &into {
            Some((resource, _)) => format!("{} {}", resource.name, def.name),
            None => def.name.to_owned(),
        };
        let read = match def.shape {
            ValueShape::One => Value::Simple(self.single(def, &shown, value)?),
            ValueShape::List => Value::List(self.list(def, &shown, value)?),
            ValueShape::Groups(members) => Value::List(self.groups(members, &shown, value)?),
        };
        if matches!(&read, Value::Simple(text) if text.is_empty()) {
            // As in the command language, an empty text is an unset property.
            return Ok(());
        }
        let owner = into.as_ref().map(|(resource, _)| resource.kind);
        let read = match def.check(&read, owner) {
            Ok(canonical) => canonical,
            Err(e) => return self.fail(&value.span(), e.to_string()),
        };
        let Some(alias) = def.alias else {
            match into {
                Some((_, props)) => props.set(def, read),
                None => self.spec.props.set(def, read),
            }
            return Ok(());
        };
        if !self.controls.insert(alias.rctl.to_owned()) {
            return self.fail(key, format!("the resource control {} is given twice", alias.rctl));
        }
        let text = read.as_str().unwrap_or_default();
        match self.spec.set_alias(def, text) {
            Ok(()) => Ok(()),
            Err(e) => self.fail(&value.span(), format!("{shown}: {e}")),
        }
    }

    fn single(&self, def: &PropDef, shown: &str, value: &Spanned<DeValue<'t>>) -> Read<String> {
        let place = value.span();
        let text: Cow<'_, str> = match (def.kind, value.get_ref()) {
            (ValueKind::Bool, DeValue::Boolean(b)) => Cow::Borrowed(if *b { "true" } else { "false" }),
            (ValueKind::Bool, _) => {
                return self.fail(&place, format!("{shown} must be true or false, without quotes"));
            }
            (ValueKind::Uint(..), DeValue::String(s)) if s.parse::<i64>().is_ok() => {
                return self.fail(&place, format!("{shown} must be a number without quotes"));
            }
            (_, DeValue::String(s)) => Cow::Borrowed(s.as_ref()),
            (
                ValueKind::Uint(..)
                | ValueKind::Size(_)
                | ValueKind::CpuCap
                | ValueKind::CpuRange
                | ValueKind::AttrValue,
                DeValue::Integer(n),
            ) => match integer(n) {
                Some(n) => Cow::Owned(n.to_string()),
                None => return self.fail(&place, format!("{shown}: the number is out of range")),
            },
            (ValueKind::CpuCap, DeValue::Float(f)) => Cow::Borrowed(f.as_str()),
            (ValueKind::AttrValue, DeValue::Boolean(b)) => Cow::Borrowed(if *b { "true" } else { "false" }),
            (ValueKind::Uint(..), _) => return self.fail(&place, format!("{shown} must be a number")),
            (_, other) => {
                let text = format!("{shown} must be a text in quotes, not {}", kind_of(other));
                return self.fail(&place, text);
            }
        };
        Ok(text.into_owned())
    }

    fn array<'a>(&self, shown: &str, sample: &str, value: &'a Spanned<DeValue<'t>>) -> Read<&'a DeArray<'t>> {
        match value.get_ref() {
            DeValue::Array(array) => Ok(array),
            other => {
                let text = format!("{shown} must be a list such as {sample}, not {}", kind_of(other));
                self.fail(&value.span(), text)
            }
        }
    }

    fn list(&self, def: &PropDef, shown: &str, value: &Spanned<DeValue<'t>>) -> Read<Vec<Item>> {
        let array = self.array(shown, "[\"a\", \"b\"]", value)?;
        array.iter().map(|v| self.single(def, shown, v).map(Item::Simple)).collect()
    }

    fn groups(&self, members: &[&str], shown: &str, value: &Spanned<DeValue<'t>>) -> Read<Vec<Item>> {
        let sample =
            format!("[{{ {} }}]", members.iter().map(|m| format!("{m} = …")).collect::<Vec<_>>().join(", "));
        let mut items = Vec::new();
        for element in self.array(shown, &sample, value)? {
            let DeValue::Table(table) = element.get_ref() else {
                let text = format!("an element of {shown} must look like {sample}");
                return self.fail(&element.span(), text);
            };
            for key in table.keys() {
                let name = key.get_ref().as_ref();
                if !members.contains(&name) {
                    let hint = hint(name, members.iter().copied());
                    return self.fail(&key.span(), format!("unknown member '{name}' in {shown}{hint}"));
                }
            }
            let mut group = Vec::new();
            for member in members {
                let Some(value) = table.get(*member) else {
                    return self.fail(&element.span(), format!("{shown}: {member} not specified"));
                };
                let text = match value.get_ref() {
                    DeValue::String(s) => s.to_string(),
                    DeValue::Integer(n) if integer(n).is_some() => integer(n).unwrap_or_default().to_string(),
                    DeValue::Boolean(b) => b.to_string(),
                    other => {
                        let text =
                            format!("{shown}: {member} must be a text or a number, not {}", kind_of(other));
                        return self.fail(&value.span(), text);
                    }
                };
                group.push(((*member).to_owned(), text));
            }
            items.push(Item::Complex(group));
        }
        Ok(items)
    }

    fn resources(
        &mut self,
        def: &'static ResourceDef,
        key: &ByteRange,
        value: &Spanned<DeValue<'t>>,
    ) -> Read<()> {
        let name = def.name;
        match (def.singleton, value.get_ref()) {
            (true, DeValue::Table(table)) => self.resource(def, &value.span(), table, &mut HashSet::new()),
            (true, DeValue::Array(_)) => {
                self.fail(key, format!("a zone has at most one {name}: write [{name}], not [[{name}]]"))
            }
            (true, other) => self
                .fail(&value.span(), format!("{name} is a resource: write [{name}], not {}", kind_of(other))),
            (false, DeValue::Array(array)) => {
                let mut seen = HashSet::new();
                for element in array {
                    let DeValue::Table(table) = element.get_ref() else {
                        return self.fail(&element.span(), format!("{name} is a resource: write [[{name}]]"));
                    };
                    self.resource(def, &element.span(), table, &mut seen)?;
                }
                Ok(())
            }
            (false, DeValue::Table(_)) => {
                self.fail(key, format!("a zone may have several {name}: write [[{name}]], not [{name}]"))
            }
            (false, other) => self.fail(
                &value.span(),
                format!("{name} is a resource: write [[{name}]], not {}", kind_of(other)),
            ),
        }
    }

    fn resource(
        &mut self,
        def: &'static ResourceDef,
        place: &ByteRange,
        table: &DeTable<'t>,
        seen: &mut HashSet<String>,
    ) -> Read<()> {
        let props = self.props(def, table)?;
        // A resource of which only aliases were given lives in its controls alone.
        if props.is_empty() && def.props.iter().any(|p| p.alias.is_some()) {
            return Ok(());
        }
        // A directory that is inherited twice is inherited once; anything else would contradict itself.
        if !def.singleton && def.kind != ResourceKind::InheritPkgDir {
            let twice = match (def.kind, props.text("name")) {
                (ResourceKind::Rctl, Some(name)) => !self.controls.insert(name.to_owned()),
                _ => {
                    def.keys().any(|k| props.get(k.name).is_some())
                        && !seen.insert(unique_key(def.kind, &props))
                }
            };
            if twice {
                return self.fail(place, duplicate_text(def.kind, &props));
            }
        }
        self.spec.stored_mut(def.kind).push(props);
        Ok(())
    }

    /// Reads what stands in a resource.
    fn props(&mut self, def: &'static ResourceDef, table: &DeTable<'t>) -> Read<Props> {
        for key in table.keys() {
            let name = key.get_ref().as_ref();
            let names = || def.props.iter().map(|p| p.name).chain(def.kind.inner().map(ResourceKind::name));
            if !names().any(|n| n == name) {
                let hint = hint(name, names());
                return self.fail(&key.span(), format!("unknown property '{name}' of {}{hint}", def.title()));
            }
        }
        let mut props = Props::default();
        for prop in def.props {
            if let Some((key, value)) = table.get_key_value(prop.name) {
                self.property(Some((def, &mut props)), prop, &key.span(), value)?;
            }
        }
        for kind in def.kind.inner() {
            if let Some(value) = table.get(kind.name()) {
                let list = self.inner(def, kind, value)?;
                if !list.is_empty() {
                    *props.inner_mut(kind) = list;
                }
            }
        }
        Ok(props)
    }

    /// Reads the resources of a kind that stand in one.
    fn inner(
        &mut self,
        outer: &'static ResourceDef,
        kind: ResourceKind,
        value: &Spanned<DeValue<'t>>,
    ) -> Read<Vec<Props>> {
        let write = format!("{kind} is a resource in {0}: write [[{0}.{kind}]]", outer.name);
        let DeValue::Array(array) = value.get_ref() else { return self.fail(&value.span(), write) };
        let mut seen = HashSet::new();
        let mut list = Vec::new();
        for element in array {
            let DeValue::Table(table) = element.get_ref() else { return self.fail(&element.span(), write) };
            let props = self.props(kind.def(), table)?;
            if can_clash(kind, &props) && !seen.insert(unique_key(kind, &props)) {
                return self.fail(&element.span(), duplicate_text(kind, &props));
            }
            list.push(props);
        }
        Ok(list)
    }
}

fn integer(n: &DeInteger<'_>) -> Option<u128> {
    u128::from_str_radix(n.as_str(), n.radix()).ok()
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Returns `; did you mean 'X'?` when a name is close enough.
fn hint<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> String {
    let best = names.map(|n| (strsim::damerau_levenshtein(name, n), n)).min();
    match best {
        Some((distance, near)) if distance <= 1 + near.len() / 4 => format!("; did you mean '{near}'?"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
