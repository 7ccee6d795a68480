//! The three-way merge of two edits of one spec.

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::diff::{Pairing, ResourceKey, or_unset, pairings, qualified};
use super::schema::{self, PropDef, ResourceKind as R};
use super::value::Value;
use super::{Props, ZoneSpec};

/// A property or resource that both edits changed in different ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clash {
    /// Both have given a property a value of their own.
    Set {
        /// The resource that has the property, none for a global property.
        resource: Option<ResourceKey>,
        /// The property.
        property: &'static PropDef,
        /// My value, none when I have cleared it.
        mine: Option<Value>,
        /// Their value, none when they have cleared it.
        theirs: Option<Value>,
    },
    /// I have changed a resource that they have removed.
    RemovedThere(ResourceKey),
    /// They have changed a resource that I have removed.
    RemovedHere(ResourceKey),
    /// Both have changed the resources of a kind that stand in one.
    Within(ResourceKey, R),
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set { resource, property, mine, theirs } => {
                let name = qualified(resource.as_ref(), property);
                write!(f, "{name}: {} here, {} there", or_unset(mine.as_ref()), or_unset(theirs.as_ref()))
            }
            Self::RemovedThere(key) => write!(f, "{key}: changed here, removed there"),
            Self::RemovedHere(key) => write!(f, "{key}: removed here, changed there"),
            Self::Within(key, kind) => write!(f, "{key} {kind}: changed here, changed there"),
        }
    }
}

/// The outcome of a merge.
#[derive(Clone, Debug)]
pub struct Merged {
    /// Both edits together; where they clash, mine.
    pub spec: ZoneSpec,
    /// The properties and resources that both edits changed in different ways.
    pub clashes: Vec<Clash>,
}

/// Joins two edits of `base`: what only one side changed is taken from that side.
pub fn merge(base: &ZoneSpec, mine: &ZoneSpec, theirs: &ZoneSpec) -> Merged {
    let mut clashes = Vec::new();
    let mut spec = ZoneSpec::new(mine.name.clone());
    spec.props =
        merge_props(schema::globals(), &|| None, &base.props, &mine.props, &theirs.props, &mut clashes);
    for kind in R::all() {
        let list = merge_resources(kind, base, mine, theirs, &mut clashes);
        if !list.is_empty() {
            *spec.stored_mut(kind) = list;
        }
    }
    Merged { spec, clashes }
}

fn merge_props(
    defs: &'static [PropDef],
    resource: &dyn Fn() -> Option<ResourceKey>,
    base: &Props,
    mine: &Props,
    theirs: &Props,
    clashes: &mut Vec<Clash>,
) -> Props {
    let mut out = Props::default();
    for property in defs {
        let (b, m, t) = (base.get(property.name), mine.get(property.name), theirs.get(property.name));
        let pick = if m == b { t } else { m };
        if m != b && t != b && m != t {
            let (mine, theirs) = (m.cloned(), t.cloned());
            clashes.push(Clash::Set { resource: resource(), property, mine, theirs });
        }
        if let Some(value) = pick {
            out.set(property, value.clone());
        }
    }
    out
}

/// Joins the resources that stand in one: as a list property, those of a kind are one value.
fn merge_inner(kind: R, [base, mine, theirs]: [&Props; 3], merged: &mut Props, clashes: &mut Vec<Clash>) {
    for inner in kind.inner() {
        let (b, m, t) = (base.inner(inner), mine.inner(inner), theirs.inner(inner));
        if m != b && t != b && m != t {
            clashes.push(Clash::Within(ResourceKey::of(kind, mine), inner));
        }
        let pick = if m == b { t } else { m };
        if !pick.is_empty() {
            *merged.inner_mut(inner) = pick.to_vec();
        }
    }
}

fn merge_resources(
    kind: R,
    base: &ZoneSpec,
    mine: &ZoneSpec,
    theirs: &ZoneSpec,
    clashes: &mut Vec<Clash>,
) -> Vec<Props> {
    // A side that left the kind alone has nothing to say, not even about the order.
    if mine.stored(kind) == base.stored(kind) {
        return theirs.stored(kind).to_vec();
    }
    if theirs.stored(kind) == base.stored(kind) {
        return mine.stored(kind).to_vec();
    }
    let (old, mine, theirs) = (base.stored(kind), mine.stored(kind), theirs.stored(kind));
    let (old_keys, my_keys, their_keys) = (pairings(kind, old), pairings(kind, mine), pairings(kind, theirs));
    let b: HashMap<&Pairing, &Props> = old_keys.iter().zip(old).collect();
    let t: HashMap<&Pairing, &Props> = their_keys.iter().zip(theirs).collect();
    let empty = Props::default();
    let mut seen = HashSet::new();
    let mut out = Vec::new();
    for (key, props) in my_keys.iter().zip(mine) {
        match (b.get(key), t.get(key)) {
            (Some(old), None) if *old == props => (), // Gone there, untouched here.
            (Some(_), None) => {
                clashes.push(Clash::RemovedThere(ResourceKey::of(kind, props)));
                out.push(props.clone());
            }
            (None, None) => out.push(props.clone()),
            (old, Some(now)) => {
                let old = old.copied().unwrap_or(&empty);
                let resource = || Some(ResourceKey::of(kind, props));
                let mut merged = merge_props(kind.def().props, &resource, old, props, now, clashes);
                merge_inner(kind, [old, props, now], &mut merged, clashes);
                out.push(merged);
            }
        }
        seen.insert(key);
    }
    for (key, props) in their_keys.iter().zip(theirs) {
        match b.get(key) {
            _ if seen.contains(key) => (),
            None => out.push(props.clone()),
            Some(old) if *old == props => (), // Removed here, untouched there.
            Some(_) => clashes.push(Clash::RemovedHere(ResourceKey::of(kind, props))),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::ZoneName;

    fn spec() -> ZoneSpec {
        let mut spec = ZoneSpec::new(ZoneName::new("zion").expect("a name"));
        set(&mut spec, "zonepath", "/zones/zion");
        attr(&mut spec, "a", "1");
        attr(&mut spec, "b", "2");
        spec
    }

    fn set(spec: &mut ZoneSpec, name: &str, text: &str) {
        spec.props.set(schema::global(name).expect(name), Value::simple(text));
    }

    fn attr(spec: &mut ZoneSpec, name: &str, value: &str) {
        let def = R::Attr.def();
        let list = spec.stored_mut(R::Attr);
        list.retain(|p| p.text("name") != Some(name));
        let mut props = Props::default();
        for (prop, text) in [("name", name), ("type", "int"), ("value", value)] {
            props.set(def.prop(prop).expect(prop), Value::simple(text));
        }
        list.push(props);
    }

    #[test]
    fn edits_of_different_things_merge() {
        let base = spec();
        let (mut mine, mut theirs) = (spec(), spec());
        set(&mut mine, "autoboot", "true");
        attr(&mut mine, "c", "3");
        set(&mut theirs, "pool", "web");
        attr(&mut theirs, "d", "4");
        theirs.stored_mut(R::Attr).remove(0);
        let merged = merge(&base, &mine, &theirs);
        assert_eq!(merged.clashes, []);
        assert_eq!(merged.spec.props.text("pool"), Some("web"));
        assert_eq!(merged.spec.props.text("autoboot"), Some("true"));
        let names: Vec<_> = merged.spec.stored(R::Attr).iter().filter_map(|a| a.text("name")).collect();
        assert_eq!(names, ["b", "c", "d"]);
    }

    #[test]
    fn clashes_keep_mine_and_are_named() {
        let base = spec();
        let (mut mine, mut theirs) = (spec(), spec());
        set(&mut mine, "pool", "web");
        set(&mut theirs, "pool", "db");
        attr(&mut mine, "a", "10");
        theirs.stored_mut(R::Attr).remove(0);
        attr(&mut theirs, "b", "20");
        mine.stored_mut(R::Attr).retain(|p| p.text("name") != Some("b"));
        let merged = merge(&base, &mine, &theirs);
        assert_eq!(merged.spec.props.text("pool"), Some("web"));
        assert_eq!(
            merged.clashes.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "pool: web here, db there",
                "attr name=a: changed here, removed there",
                "attr name=b: removed here, changed there"
            ]
        );
        let key = |name: &str| ResourceKey { kind: R::Attr, values: vec![("name", name.to_owned())] };
        let (mine, theirs) = (Some(Value::simple("web")), Some(Value::simple("db")));
        let property = schema::global("pool").expect("a row");
        assert_eq!(
            merged.clashes,
            [
                Clash::Set { resource: None, property, mine, theirs },
                Clash::RemovedThere(key("a")),
                Clash::RemovedHere(key("b")),
            ]
        );
    }

    #[test]
    fn resources_in_a_resource_are_one_value() {
        let with = |ids: &[&str]| {
            let mut spec = spec();
            let mut anet = Props::default();
            for id in ids {
                let mut mac = Props::default();
                mac.set(R::Mac.def().prop("id").expect("id"), Value::simple(*id));
                anet.inner_mut(R::Mac).push(mac);
            }
            spec.stored_mut(R::Anet).push(anet);
            spec
        };
        let mut theirs = with(&["1"]);
        let link = R::Anet.def().prop("lower-link").expect("lower-link");
        theirs.stored_mut(R::Anet)[0].set(link, Value::simple("eth0"));
        let merged = merge(&with(&["1"]), &with(&["1", "2"]), &theirs);
        assert_eq!(merged.clashes, []);
        assert_eq!(merged.spec.stored(R::Anet)[0].inner(R::Mac).len(), 2);
        assert_eq!(merged.spec.stored(R::Anet)[0].text("lower-link"), Some("eth0"));
        let merged = merge(&with(&[]), &with(&["1"]), &with(&["2"]));
        let texts: Vec<_> = merged.clashes.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["anet mac: changed here, changed there"]);
        assert_eq!(merged.spec, with(&["1"]));
    }

    #[test]
    fn a_change_to_one_of_two_resources_of_one_key_is_not_lost() {
        let lower = R::Anet.def().prop("lower-link").expect("a row");
        let with = |lowers: &[&str]| {
            let mut spec = spec();
            for text in lowers {
                let mut props = Props::default();
                props.set(lower, Value::simple(*text));
                spec.stored_mut(R::Anet).push(props);
            }
            spec
        };
        let (base, theirs) = (with(&["eth0", "eth1"]), with(&["eth9", "eth1"]));
        let mut mine = base.clone();
        let mut third = Props::default();
        third.set(R::Anet.def().prop("linkname").expect("a row"), Value::simple("net7"));
        mine.stored_mut(R::Anet).push(third);
        let merged = merge(&base, &mine, &theirs);
        assert_eq!(merged.clashes, []);
        let lowers: Vec<_> = merged.spec.stored(R::Anet).iter().map(|a| a.text("lower-link")).collect();
        assert_eq!(lowers, [Some("eth9"), Some("eth1"), None]);
    }
}
