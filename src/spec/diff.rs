//! The differences between two specs: typed changes, and the lines that `zonecfg diff` prints of them.

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::schema::{self, PropDef, ResourceKind as R, TakesEffect};
use super::value::{Value, quoted};
use super::verify::unique_key;
use super::{Props, ZoneSpec};

/// Names a resource by the properties that make it unique.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ResourceKey {
    /// The kind of resource.
    pub kind: R,
    /// The key properties that are set, in the order of the table. Empty for a resource of which a zone has
    /// at most one.
    pub values: Vec<(&'static str, String)>,
}

impl ResourceKey {
    /// Returns the key of a resource.
    pub fn of(kind: R, props: &Props) -> Self {
        let value = |def: &PropDef| props.text(def.name).map(|text| (def.name, text.to_owned()));
        Self { kind, values: kind.def().keys().filter_map(value).collect() }
    }

    /// Returns the text of a key property, none when it is unset.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(n, _)| *n == name).map(|(_, text)| text.as_str())
    }
}

/// Prints `attr name=comment`.
impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        self.values.iter().try_for_each(|(name, text)| write!(f, " {name}={}", quoted(text, false)))
    }
}

/// One difference, from the older to the newer spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A property has another value.
    Set {
        /// The resource that has the property, none for a global property.
        resource: Option<ResourceKey>,
        /// The property.
        property: &'static PropDef,
        /// Former effective value: the default when it was not set, none when there is no default.
        old: Option<Value>,
        /// Present effective value.
        new: Option<Value>,
    },
    /// A resource is new.
    Added {
        /// Its kind.
        kind: R,
        /// All of it.
        props: Props,
    },
    /// A resource is gone.
    Removed {
        /// Its kind.
        kind: R,
        /// All that it was.
        props: Props,
    },
    /// The resources of a kind that both specs have stand in another order.
    Moved {
        /// The kind.
        kind: R,
        /// Their former order.
        old: Vec<ResourceKey>,
        /// Their present order.
        new: Vec<ResourceKey>,
    },
    /// A change of the resources that stand in one.
    Within {
        /// The one.
        outer: ResourceKey,
        /// The changes in it.
        change: Box<Self>,
    },
}

impl Change {
    /// Returns the kind of resource that is concerned, none for a global property.
    pub fn kind(&self) -> Option<R> {
        match self {
            Self::Set { resource, .. } => resource.as_ref().map(|key| key.kind),
            Self::Within { outer, .. } => Some(outer.kind),
            Self::Added { kind, .. } | Self::Removed { kind, .. } | Self::Moved { kind, .. } => Some(*kind),
        }
    }

    /// Returns when the change takes effect on a zone that is installed.
    pub fn takes_effect(&self) -> TakesEffect {
        match self {
            Self::Set { resource, property, .. } => {
                property.takes_effect(resource.as_ref().map(|key| key.kind))
            }
            Self::Added { kind, .. } | Self::Removed { kind, .. } | Self::Moved { kind, .. } => {
                kind.def().takes_effect()
            }
            Self::Within { change, .. } => change.takes_effect(),
        }
    }

    /// Returns the one resource that is concerned, none for a global property and for an order.
    pub fn resource(&self) -> Option<ResourceKey> {
        match self {
            Self::Set { resource, .. } => resource.clone(),
            Self::Within { outer, .. } => Some(outer.clone()),
            Self::Added { kind, props } | Self::Removed { kind, props } => {
                Some(ResourceKey::of(*kind, props))
            }
            Self::Moved { .. } => None,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set { resource, property, old, new } => {
                let name = qualified(resource.as_ref(), property);
                write!(f, "~ {name}: {} -> {}", or_unset(old.as_ref()), or_unset(new.as_ref()))
            }
            Self::Added { kind, props } => write!(f, "+ {}", whole(*kind, props)),
            Self::Removed { kind, props } => write!(f, "- {}", whole(*kind, props)),
            Self::Moved { kind, .. } => write!(f, "~ order of {kind} resources"),
            Self::Within { outer, change } => {
                // The sign (`+`, `-`) stands first.
                let text = change.to_string();
                let (sign, rest) = text.split_at_checked(2).unwrap_or(("", &text));
                write!(f, "{sign}{outer} {rest}")
            }
        }
    }
}

/// Names a property together with its resource: `autoboot`, `attr name=comment value`.
pub(super) fn qualified(resource: Option<&ResourceKey>, property: &PropDef) -> String {
    resource.map_or_else(|| property.name.to_owned(), |key| format!("{key} {}", property.name))
}

pub(super) fn or_unset(value: Option<&Value>) -> String {
    value.map_or_else(|| "(unset)".to_owned(), ToString::to_string)
}

/// Returns the changes that are listed to a user: another order of a kind only when nothing else of that
/// kind has changed, because adding and removing moves resources as well.
pub fn listed(changes: &[Change]) -> impl Iterator<Item = &Change> {
    changes.iter().filter(|change| match change {
        Change::Moved { kind, .. } => !changes.iter().any(|c| c != *change && c.kind() == Some(*kind)),
        _ => true,
    })
}

/// Returns what must change to get from `old` to `new`, in the order of `info`; nothing exactly when both
/// are equal.
pub fn diff(old: &ZoneSpec, new: &ZoneSpec) -> Vec<Change> {
    let mut changes = Vec::new();
    if old.name != new.name
        && let Some(property) = schema::global("zonename")
    {
        let name = |spec: &ZoneSpec| Some(Value::simple(spec.name.as_str()));
        changes.push(Change::Set { resource: None, property, old: name(old), new: name(new) });
    }
    diff_props(schema::globals(), &|| None, &old.props, &new.props, &mut changes);
    for kind in R::all() {
        diff_resources(kind, old.stored(kind), new.stored(kind), &mut changes);
    }
    changes
}

/// Returns a value unless it means the same as none.
fn non_default<'a>(def: &PropDef, props: &'a Props) -> Option<&'a Value> {
    props.get(def.name).filter(|value| match value {
        Value::Simple(text) => def.default != Some(text),
        Value::List(items) => !items.is_empty(),
    })
}

fn diff_props(
    defs: &'static [PropDef],
    resource: &dyn Fn() -> Option<ResourceKey>,
    old: &Props,
    new: &Props,
    changes: &mut Vec<Change>,
) {
    for property in defs {
        let (a, b) = (non_default(property, old), non_default(property, new));
        if a != b {
            let effective = |v: Option<&Value>| v.cloned().or_else(|| property.default.map(Value::simple));
            let (old, new) = (effective(a), effective(b));
            changes.push(Change::Set { resource: resource(), property, old, new });
        }
    }
}

/// Pairs the resources of two lists: by the unique key, and by how many resources of the list have had it before. A
/// spec that was not checked may hold several resources of one key.
pub(super) type Pairing = (String, usize);

/// Returns the pairing of each resource of a list.
pub(super) fn pairings(kind: R, list: &[Props]) -> Vec<Pairing> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    let mut number = |key: String| {
        let count = counts.entry(key.clone()).or_default();
        *count += 1;
        (key, *count)
    };
    list.iter().map(|props| number(unique_key(kind, props))).collect()
}

fn diff_resources(kind: R, old: &[Props], new: &[Props], changes: &mut Vec<Change>) {
    if old == new {
        return;
    }
    let (before, after) = (pairings(kind, old), pairings(kind, new));
    let present: HashMap<&Pairing, &Props> = after.iter().zip(new).collect();
    let former: HashSet<&Pairing> = before.iter().collect();
    for (pairing, props) in before.iter().zip(old) {
        match present.get(pairing) {
            None => changes.push(Change::Removed { kind, props: props.clone() }),
            Some(now) => {
                let key = || Some(ResourceKey::of(kind, props));
                diff_props(kind.def().props, &key, props, now, changes);
                diff_inner(kind, props, now, changes);
            }
        }
    }
    for (pairing, props) in after.iter().zip(new) {
        if !former.contains(pairing) {
            changes.push(Change::Added { kind, props: props.clone() });
        }
    }
    let stay = before.iter().filter(|p| present.contains_key(p));
    if !stay.eq(after.iter().filter(|p| former.contains(p))) {
        let keys = |list: &[Props], pairings: &[Pairing]| {
            let both = list.iter().zip(pairings);
            let both = both.filter(|(_, p)| former.contains(p) && present.contains_key(p));
            both.map(|(props, _)| ResourceKey::of(kind, props)).collect()
        };
        changes.push(Change::Moved { kind, old: keys(old, &before), new: keys(new, &after) });
    }
}

/// Compares the resources that stand in one.
fn diff_inner(kind: R, old: &Props, new: &Props, changes: &mut Vec<Change>) {
    for inner in kind.inner() {
        let mut within = Vec::new();
        diff_resources(inner, old.inner(inner), new.inner(inner), &mut within);
        let outer = |change| Change::Within { outer: ResourceKey::of(kind, old), change: Box::new(change) };
        changes.extend(within.into_iter().map(outer));
    }
}

fn whole(kind: R, props: &Props) -> String {
    let mut text = kind.name().to_owned();
    for def in kind.def().props {
        if let Some(value) = props.get(def.name) {
            text.push_str(&format!(" {}={value}", def.name));
        }
    }
    for inner in kind.inner() {
        for props in props.inner(inner) {
            text.push_str(&format!(" ({})", whole(inner, props)));
        }
    }
    text
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

    fn lines(old: &ZoneSpec, new: &ZoneSpec) -> Vec<String> {
        listed(&diff(old, new)).map(ToString::to_string).collect()
    }

    #[test]
    fn differences_are_named() {
        let old = spec();
        let mut new = spec();
        assert!(diff(&old, &new).is_empty());
        set(&mut new, "autoboot", "true");
        set(&mut new, "ip-type", "shared"); // The default: no change.
        attr(&mut new, "c", "3");
        new.stored_mut(R::Attr).remove(0);
        new.stored_mut(R::Attr)[0].set(R::Attr.def().prop("value").expect("value"), Value::simple("x y"));
        assert_eq!(
            lines(&old, &new),
            [
                "~ autoboot: false -> true",
                "- attr name=a type=int value=1",
                "~ attr name=b value: 2 -> \"x y\"",
                "+ attr name=c type=int value=3"
            ]
        );
        let mut turned = spec();
        turned.stored_mut(R::Attr).reverse();
        assert_eq!(lines(&old, &turned), ["~ order of attr resources"]);
    }

    fn key(name: &str) -> ResourceKey {
        ResourceKey { kind: R::Attr, values: vec![("name", name.to_owned())] }
    }

    #[test]
    fn a_property_that_is_set_has_its_row_and_both_values() {
        let old = spec();
        let mut new = spec();
        set(&mut new, "autoboot", "true");
        attr(&mut new, "b", "3");
        new.name = ZoneName::new("web").expect("a name");
        let simple = |text| Some(Value::simple(text));
        let row = |name| schema::global(name).expect(name);
        let value = R::Attr.def().prop("value").expect("value");
        let set = |resource, property, old, new| Change::Set { resource, property, old, new };
        assert_eq!(
            diff(&old, &new),
            [
                set(None, row("zonename"), simple("zion"), simple("web")),
                // The default was not written into the spec; it held all the same.
                set(None, row("autoboot"), simple("false"), simple("true")),
                set(Some(key("b")), value, simple("2"), simple("3")),
            ]
        );
        let mut pool = spec();
        pool.props.set(row("pool"), Value::simple("web"));
        assert_eq!(diff(&pool, &old), [set(None, row("pool"), simple("web"), None)]);
        let change = &diff(&old, &new)[2];
        assert_eq!((change.kind(), change.resource()), (Some(R::Attr), Some(key("b"))));
        assert_eq!(change.takes_effect(), value.takes_effect(Some(R::Attr)));
        assert_eq!(diff(&old, &new)[1].takes_effect(), row("autoboot").takes_effect(None));
        assert_eq!((diff(&pool, &old)[0].kind(), diff(&pool, &old)[0].resource()), (None, None));
    }

    #[test]
    fn a_resource_that_comes_or_goes_is_there_whole() {
        let old = spec();
        let mut new = spec();
        let props = new.stored_mut(R::Attr).pop().expect("the last attr");
        assert_eq!(props.text("value"), Some("2"));
        let (gone, back) = (diff(&old, &new), diff(&new, &old));
        assert_eq!(gone, [Change::Removed { kind: R::Attr, props: props.clone() }]);
        assert_eq!(back, [Change::Added { kind: R::Attr, props }]);
        for change in gone.iter().chain(&back) {
            assert_eq!((change.kind(), change.resource()), (Some(R::Attr), Some(key("b"))));
            assert_eq!(change.takes_effect(), R::Attr.def().takes_effect());
        }
        // A resource of which there is one has no key, and its properties change.
        let mut memory = spec();
        memory.stored_mut(R::DedicatedCpu).push(Props::default());
        assert_eq!(
            diff(&old, &memory)[0].resource().map(|key| key.to_string()),
            Some("dedicated-cpu".into())
        );
    }

    #[test]
    fn another_order_has_both_orders_and_is_listed_when_it_is_all() {
        let mut old = spec();
        attr(&mut old, "c", "3");
        let mut new = old.clone();
        new.stored_mut(R::Attr).swap(0, 2);
        let keys = |names: [&str; 3]| names.map(key).to_vec();
        let moved = Change::Moved { kind: R::Attr, old: keys(["a", "b", "c"]), new: keys(["c", "b", "a"]) };
        assert_eq!(diff(&old, &new), std::slice::from_ref(&moved));
        assert_eq!((moved.kind(), moved.resource()), (Some(R::Attr), None));
        attr(&mut new, "d", "4");
        let changes = diff(&old, &new);
        assert_eq!((changes.len(), &changes[1]), (2, &moved));
        assert_eq!(lines(&old, &new), ["+ attr name=d type=int value=4"]);
        // A removal moves the later resources up, which is no other order.
        let mut fewer = old.clone();
        fewer.stored_mut(R::Attr).remove(0);
        assert_eq!(diff(&old, &fewer).len(), 1);
    }

    #[test]
    fn resources_of_one_key_are_paired_one_by_one() {
        let anet = |lower: &str| {
            let mut props = Props::default();
            props.set(R::Anet.def().prop("lower-link").expect("a row"), Value::simple(lower));
            props
        };
        let with = |lowers: &[&str]| {
            let mut spec = spec();
            spec.stored_mut(R::Anet).extend(lowers.iter().map(|lower| anet(lower)));
            spec
        };
        let both = with(&["eth0", "eth1"]);
        assert_eq!(diff(&both, &both), []);
        assert_eq!(lines(&both, &with(&["eth0", "eth2"])), ["~ anet lower-link: eth1 -> eth2"]);
        // A map by key alone has only the last one, and takes this for no change.
        assert_eq!(
            lines(&with(&["eth1", "eth1"]), &with(&["eth0", "eth1"])),
            ["~ anet lower-link: eth1 -> eth0"]
        );
        assert_eq!(lines(&both, &with(&["eth0"])), ["- anet lower-link=eth1"]);
    }

    #[test]
    fn resources_in_a_resource_are_compared_as_well() {
        let with = |macs: &[(&str, &str)]| {
            let mut spec = spec();
            let mut anet = Props::default();
            for (id, address) in macs {
                let mut mac = Props::default();
                for (name, text) in [("id", id), ("mac-address", address)] {
                    mac.set(R::Mac.def().prop(name).expect(name), Value::simple(*text));
                }
                anet.inner_mut(R::Mac).push(mac);
            }
            spec.stored_mut(R::Anet).push(anet);
            spec
        };
        let (one, two) = (("1", "auto"), ("2", "auto"));
        assert_eq!(
            lines(&with(&[one, two]), &with(&[("2", "random"), ("3", "auto")])),
            [
                "- anet mac mac-address=auto id=1",
                "~ anet mac id=2 mac-address: auto -> random",
                "+ anet mac mac-address=auto id=3"
            ]
        );
        assert_eq!(lines(&with(&[one, two]), &with(&[two, one])), ["~ anet order of mac resources"]);
        assert_eq!(lines(&spec(), &with(&[one])), ["+ anet (mac mac-address=auto id=1)"]);
        let change = &diff(&with(&[one]), &with(&[two]))[0];
        assert_eq!((change.kind(), change.takes_effect()), (Some(R::Anet), R::Mac.def().takes_effect()));
    }

    #[test]
    fn a_default_is_printed_as_the_table_has_it() {
        let rows = schema::globals().iter().chain(R::all().flat_map(|kind| kind.def().props));
        for def in rows {
            if let Some(default) = def.default {
                assert_eq!(Value::simple(default).to_string(), default, "{}", def.name);
            }
        }
    }
}
