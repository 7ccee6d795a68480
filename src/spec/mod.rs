//! The configuration of a zone: the spec, its table of resources and properties, and its rules. No input or output,
//! no clock, no randomness; everything else of the crate builds on this module.

pub mod check;
pub mod diff;
pub mod idmap;
pub mod mem;
pub mod merge;
pub mod name;
pub mod privilege;
pub mod rights;
pub mod schema;
pub mod shown;
pub mod state;
pub mod store;
pub mod table;
pub mod toml;
pub mod value;
pub mod verb;
pub mod verify;
pub mod words;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

pub use name::ZoneName;
pub use schema::{PropDef, ResourceDef, ResourceKind};
pub use value::{ByteSize, CpuCap, Item, Value};

/// Properties with their values, and the resources that stand in the same one. Keys are names of the table.
///
/// Two sets are equal when they mean the same: a property that is set to its default equals one
/// that is unset. `export` has no way to write the difference.
#[derive(Clone, Default)]
pub struct Props {
    values: BTreeMap<&'static str, PropEntry>,
    inner: BTreeMap<ResourceKind, Vec<Self>>,
}

#[derive(Clone)]
struct PropEntry {
    value: Value,
    def: &'static PropDef,
}

impl PropEntry {
    /// Says whether the entry means the same as none.
    fn is_default(&self) -> bool {
        match &self.value {
            Value::Simple(text) => self.def.default == Some(text),
            Value::List(items) => items.is_empty(),
        }
    }
}

impl PartialEq for Props {
    fn eq(&self, other: &Self) -> bool {
        fn effective(props: &Props) -> impl Iterator<Item = (&'static str, &Value)> {
            props.values.iter().filter(|(_, e)| !e.is_default()).map(|(n, e)| (*n, &e.value))
        }
        fn inner(props: &Props) -> impl Iterator<Item = (&ResourceKind, &Vec<Props>)> {
            props.inner.iter().filter(|(_, list)| !list.is_empty())
        }
        effective(self).eq(effective(other)) && inner(self).eq(inner(other))
    }
}

impl Eq for Props {}

impl fmt::Debug for Props {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).entries(&self.inner).finish()
    }
}

impl Props {
    /// Returns the value, none when unset.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name).map(|e| &e.value)
    }

    /// Returns the text of a plain value, none when unset.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str)
    }

    /// Returns the plain elements of a list, none when unset.
    pub fn list(&self, name: &str) -> impl Iterator<Item = &str> {
        self.get(name).map_or(&[][..], Value::items).iter().filter_map(Item::as_str)
    }

    /// Sets a value. The caller has checked it against the row.
    pub fn set(&mut self, def: &'static PropDef, value: Value) {
        self.values.insert(def.name, PropEntry { value, def });
    }

    /// Removes a value and says whether there was one.
    pub fn clear(&mut self, name: &str) -> bool {
        self.values.remove(name).is_some()
    }

    /// Says whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty() && self.inner.values().all(Vec::is_empty)
    }

    /// Returns the properties that are set, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.values.iter().map(|(n, e)| (*n, &e.value))
    }

    /// Returns the resources of a kind that stand in this one, in their order.
    pub fn inner(&self, kind: ResourceKind) -> &[Self] {
        self.inner.get(&kind).map_or(&[], Vec::as_slice)
    }

    /// Gives access to the resources of a kind that stand in this one.
    pub fn inner_mut(&mut self, kind: ResourceKind) -> &mut Vec<Self> {
        self.inner.entry(kind).or_default()
    }
}

/// The spec of one zone.
///
/// Limits that are aliases (`max-lwps`, `capped-cpu ncpus`, …) are held once, as `rctl` resources;
/// [`ZoneSpec::alias`] and [`ZoneSpec::set_alias`] are the view on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneSpec {
    /// Name of the zone.
    pub name: ZoneName,
    /// Global properties but `zonename` and aliases.
    pub props: Props,
    resources: BTreeMap<ResourceKind, Vec<Props>>,
}

/// A resource control holds more than the alias can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("An incompatible rctl already exists for this property")]
pub struct IncompatibleRctl;

impl ZoneSpec {
    /// Returns a spec in which nothing is set.
    pub fn new(name: ZoneName) -> Self {
        Self { name, props: Props::default(), resources: BTreeMap::new() }
    }

    /// Returns the resources that are stored under a kind, in their order.
    ///
    /// `capped-cpu` is never stored (it is a view on a control) and `capped-memory` only with properties that are
    /// not aliases; [`ZoneSpec::view`] shows both whole.
    pub fn stored(&self, kind: ResourceKind) -> &[Props] {
        self.resources.get(&kind).map_or(&[], Vec::as_slice)
    }

    /// Gives access to the stored resources of a kind.
    pub fn stored_mut(&mut self, kind: ResourceKind) -> &mut Vec<Props> {
        self.resources.entry(kind).or_default()
    }

    /// Drops kinds without resources, so that equal specs compare equal.
    pub fn tidy(&mut self) {
        self.resources.retain(|_, list| !list.is_empty());
    }

    /// Returns the resources of a kind as a user sees them, aliases filled in from their controls.
    pub fn view(&self, kind: ResourceKind) -> Cow<'_, [Props]> {
        let aliases: Vec<_> = kind.def().props.iter().filter(|p| p.alias.is_some()).collect();
        if aliases.is_empty() {
            return Cow::Borrowed(self.stored(kind));
        }
        let mut props = self.stored(kind).first().cloned().unwrap_or_default();
        for def in aliases {
            if let Some(text) = self.alias(def) {
                props.set(def, Value::Simple(text));
            }
        }
        if props.is_empty() { Cow::Borrowed(&[]) } else { Cow::Owned(vec![props]) }
    }

    /// Returns the resources of a kind wherever they stand: in the zone itself, or in other resources.
    pub fn everywhere(&self, kind: ResourceKind) -> Cow<'_, [Props]> {
        match kind.def().within {
            None => self.view(kind),
            Some(outer) => {
                Cow::Owned(self.everywhere(outer).iter().flat_map(|p| p.inner(kind).to_vec()).collect())
            }
        }
    }

    /// Returns the effective text of a global property: set, through its alias, or the default.
    pub fn global(&self, name: &str) -> Option<String> {
        let def = schema::global(name)?;
        if name == "zonename" {
            return Some(self.name.to_string());
        }
        if def.alias.is_some() {
            return self.alias(def);
        }
        self.props.text(name).or(def.default).map(str::to_owned)
    }

    /// Returns the values of the `attr` resources of a name.
    pub fn attrs<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let attrs = self.stored(ResourceKind::Attr).iter().filter(move |a| a.text("name") == Some(name));
        attrs.filter_map(|a| a.text("value"))
    }

    /// Returns the text of an alias, when its control has exactly one value of the alias' form.
    pub fn alias(&self, def: &PropDef) -> Option<String> {
        let alias = def.alias?;
        let rctl = self.stored(ResourceKind::Rctl).iter().find(|r| r.text("name") == Some(alias.rctl))?;
        let [item] = rctl.get("value")?.items() else { return None };
        if item.member("priv") != Some("privileged") || item.member("action") != Some(alias.action) {
            return None;
        }
        let limit: u64 = item.member("limit")?.parse().ok()?;
        Some(match def.kind {
            schema::ValueKind::Size(_) => ByteSize(limit).to_string(),
            schema::ValueKind::CpuCap => CpuCap(limit).to_string(),
            _ => limit.to_string(),
        })
    }

    /// Sets an alias: makes its control, or replaces the one value that it has.
    ///
    /// # Errors
    /// [`IncompatibleRctl`] when the control has another form, which the alias would destroy.
    pub fn set_alias(&mut self, def: &PropDef, text: &str) -> Result<(), IncompatibleRctl> {
        let Some(alias) = def.alias else { return Err(IncompatibleRctl) };
        let limit = match def.kind {
            schema::ValueKind::Size(_) => ByteSize::parse(text).ok().map(|s| s.0),
            schema::ValueKind::CpuCap => CpuCap::parse(text).map(|c| c.0),
            _ => text.parse().ok(),
        };
        let limit = limit.ok_or(IncompatibleRctl)?;
        let exists = self.stored(ResourceKind::Rctl).iter().any(|r| r.text("name") == Some(alias.rctl));
        if exists && self.alias(def).is_none() {
            return Err(IncompatibleRctl);
        }
        let value = Value::List(vec![Item::Complex(vec![
            ("priv".into(), "privileged".into()),
            ("limit".into(), limit.to_string()),
            ("action".into(), alias.action.into()),
        ])]);
        let rctl = ResourceKind::Rctl.def();
        let (name_def, value_def) = (rctl.prop("name"), rctl.prop("value"));
        let (Some(name_def), Some(value_def)) = (name_def, value_def) else { return Err(IncompatibleRctl) };
        let list = self.stored_mut(ResourceKind::Rctl);
        if let Some(r) = list.iter_mut().find(|r| r.text("name") == Some(alias.rctl)) {
            r.set(value_def, value);
        } else {
            let mut r = Props::default();
            r.set(name_def, Value::simple(alias.rctl));
            r.set(value_def, value);
            list.push(r);
        }
        Ok(())
    }

    /// Removes the control behind an alias and says whether there was one.
    pub fn clear_alias(&mut self, def: &PropDef) -> bool {
        let Some(alias) = def.alias else { return false };
        let list = self.stored_mut(ResourceKind::Rctl);
        let before = list.len();
        list.retain(|r| r.text("name") != Some(alias.rctl));
        let gone = list.len() != before;
        self.tidy();
        gone
    }

    /// Returns the zonepath with its tokens expanded, none when unset or empty.
    pub fn zonepath(&self) -> Option<String> {
        let path = self.props.text("zonepath").filter(|p| !p.is_empty())?;
        Some(name::expand_tokens(path, &self.name))
    }
}
