//! The output of `export`: the commands that make the same spec again, and the forms for programs.

use std::fmt::Write as _;

use serde::ser::{Serialize, SerializeMap as _, Serializer};

use crate::spec::schema::{self, PropDef, ResourceKind as R, ValueKind, ValueShape};
use crate::spec::value::quoted;
use crate::spec::{Item, Props, Value, ZoneSpec, toml as spec_toml};

use super::info::group;

/// The order of illumos; `capped-memory` comes before the controls behind its aliases, so that it can
/// be added when the text is read again.
const ORDER: [R; 23] = [
    R::InheritPkgDir,
    R::Fs,
    R::Net,
    R::Anet,
    R::Device,
    R::CappedMemory,
    R::Rctl,
    R::Attr,
    R::Dataset,
    R::DedicatedCpu,
    R::CappedCpu,
    R::Admin,
    R::SecurityFlags,
    R::Idmap,
    R::VirtualCpu,
    R::Rootzpool,
    R::Zpool,
    R::Suspend,
    R::Keysource,
    R::VerifiedBoot,
    R::SmfDependency,
    R::Npiv,
    R::IbVhca,
];

/// Returns the commands.
pub fn commands(spec: &ZoneSpec) -> String {
    let mut out = String::new();
    if !spec.name.is_global() {
        out.push_str("create -b\n");
    }
    for def in schema::globals().iter().filter(|d| d.name != "zonename" && d.alias.is_none()) {
        let always = matches!(def.name, "autoboot" | "ip-type") && !spec.name.is_global();
        let fallback = def.default.filter(|_| always);
        if let Some(text) = spec.props.text(def.name).or(fallback) {
            let _ = writeln!(out, "set {}={}", def.name, quoted(text, false));
        }
    }
    for kind in ORDER {
        for props in spec.stored(kind) {
            resource(kind, props, &mut out);
        }
    }
    out
}

fn resource(kind: R, props: &Props, out: &mut String) {
    let _ = writeln!(out, "add {kind}");
    for def in kind.def().props {
        property(def, props, out);
    }
    for inner in kind.inner() {
        props.inner(inner).iter().for_each(|props| resource(inner, props, out));
    }
    out.push_str("end\n");
}

fn property(def: &PropDef, props: &Props, out: &mut String) {
    let name = def.name;
    let _ = match props.get(name) {
        None => Ok(()),
        Some(Value::Simple(text)) => match def.kind {
            ValueKind::Uint(..) | ValueKind::Size(_) | ValueKind::CpuRange | ValueKind::CpuCap => {
                writeln!(out, "set {name}={text}")
            }
            _ => writeln!(out, "set {name}=\"{text}\""),
        },
        Some(Value::List(items)) => items.iter().try_for_each(|item| match item {
            Item::Simple(text) => writeln!(out, "add {name} {}", quoted(text, false)),
            Item::Complex(_) => writeln!(out, "add {name} {}", group(item)),
        }),
    };
}

/// A TOML value that serializes in the order of the table of resources and properties.
struct InOrder<'v> {
    name: &'v str,
    value: &'v toml::Value,
}

impl Serialize for InOrder<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.value {
            toml::Value::Table(table) => {
                let mut names: Vec<_> = table.keys().collect();
                names.sort_by_key(|n| place(self.name, n));
                let mut map = serializer.serialize_map(Some(names.len()))?;
                for name in names {
                    map.serialize_entry(name, &InOrder { name, value: &table[name] })?;
                }
                map.end()
            }
            toml::Value::Array(items) => {
                serializer.collect_seq(items.iter().map(|value| InOrder { name: self.name, value }))
            }
            plain => plain.serialize(serializer),
        }
    }
}

/// Returns where a name stands in the table, below a resource, a list of groups or nothing.
fn place(owner: &str, name: &str) -> usize {
    let groups = || {
        R::every().flat_map(|k| k.def().props).find_map(|p| match p.shape {
            ValueShape::Groups(members) if p.name == owner => Some(members),
            _ => None,
        })
    };
    let found = match (R::from_name(owner), groups()) {
        (Some(kind), _) => {
            let names = kind.def().props.iter().map(|p| p.name).chain(kind.inner().map(R::name));
            names.into_iter().position(|n| n == name)
        }
        (None, Some(members)) => members.iter().position(|m| *m == name),
        (None, None) => schema::globals()
            .iter()
            .position(|p| p.name == name)
            .or_else(|| R::from_name(name).map(|k| schema::globals().len() + k as usize)),
    };
    found.unwrap_or(0)
}

fn table(spec: &ZoneSpec) -> toml::Table {
    let mut table: toml::Table = spec_toml::render(spec).parse().unwrap_or_default();
    table.remove("format");
    table
}

fn to_json(name: &str, value: &toml::Value) -> String {
    let mut text = serde_json::to_string_pretty(&InOrder { name, value }).unwrap_or_default();
    text.push('\n');
    text
}

/// Returns the spec as JSON, with the names and types of the spec file.
pub fn json(spec: &ZoneSpec) -> String {
    let mut table = table(spec);
    table.insert("zonename".into(), spec.name.as_str().into());
    to_json("", &toml::Value::Table(table))
}

/// Returns one property or kind of resource as JSON; `null` when there is none.
pub fn json_part(spec: &ZoneSpec, name: &str) -> String {
    if name == "zonename" {
        return to_json(name, &spec.name.as_str().into());
    }
    table(spec).get(name).map_or_else(|| "null\n".to_owned(), |value| to_json(name, value))
}

/// Returns one property or kind of resource as in the spec file; nothing when there is none.
pub fn toml_part(spec: &ZoneSpec, name: &str) -> String {
    let Some(value) = table(spec).remove(name) else { return String::new() };
    toml::to_string(&toml::Table::from_iter([(name.to_owned(), value)])).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_has_every_kind_once() {
        for kind in R::all() {
            assert_eq!(ORDER.iter().filter(|k| **k == kind).count(), 1, "{kind}");
        }
    }
}
