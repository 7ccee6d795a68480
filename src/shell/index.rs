//! Where resources are by their key, so that neither `end` nor `select` need look through all of them:
//! command files with tens of thousands of resources exist.

use std::collections::{HashMap, HashSet};

use crate::spec::schema::{PropDef, ValueKind};
use crate::spec::verify::unique_key;
use crate::spec::{Props, ResourceKind, ZoneSpec};

/// After so many steps a search gives up on old places and the kind is read again.
const PATIENCE: usize = 256;

/// Keys of the stored resources, per kind; a kind is read when it is first asked for.
#[derive(Debug, Default)]
pub(super) struct KeyIndex {
    keys: HashMap<ResourceKind, Keys>,
    /// Per property that was asked for: the keys of the resources that have a value.
    values: HashMap<(ResourceKind, &'static str), (&'static PropDef, Values)>,
}

type Values = HashMap<String, HashSet<String>>;

/// Returns the text under which a value is found: an address also without its prefix.
fn found_as(def: &PropDef, text: &str) -> String {
    match text.split_once('/') {
        Some((host, _)) if def.kind == ValueKind::Address => host.to_owned(),
        _ => text.to_owned(),
    }
}

fn value_of<'p>(def: &'static PropDef, props: &'p Props) -> Option<&'p str> {
    props.text(def.name).or(def.default)
}

/// Places of one kind. A removal moves the later resources, so a place is only an upper bound: the resource is at
/// most `removed` before it.
#[derive(Debug, Default)]
struct Keys {
    places: HashMap<String, usize>,
    removed: usize,
}

impl Keys {
    fn read(list: &[Props], kind: ResourceKind) -> Self {
        let places = list.iter().enumerate().map(|(i, p)| (unique_key(kind, p), i)).collect();
        Self { places, removed: 0 }
    }
}

impl KeyIndex {
    fn keys(&mut self, spec: &ZoneSpec, kind: ResourceKind) -> &mut Keys {
        self.keys.entry(kind).or_insert_with(|| Keys::read(spec.stored(kind), kind))
    }

    /// Returns the places of all resources that may have these values, in their order: those that
    /// have the rarest of them.
    pub fn having(
        &mut self,
        spec: &ZoneSpec,
        kind: ResourceKind,
        wanted: &[(&'static PropDef, String)],
    ) -> Vec<usize> {
        for (def, _) in wanted {
            self.values.entry((kind, def.name)).or_insert_with(|| {
                let mut values = Values::new();
                for props in spec.stored(kind) {
                    if let Some(text) = value_of(def, props) {
                        let keys = values.entry(found_as(def, text)).or_default();
                        keys.insert(unique_key(kind, props));
                    }
                }
                (def, values)
            });
        }
        let keys = |(def, text): &(&'static PropDef, String)| {
            let (_, values) = self.values.get(&(kind, def.name))?;
            values.get(&found_as(def, text))
        };
        let Some(Some(rarest)) = wanted.iter().map(keys).min_by_key(|k| k.map_or(0, HashSet::len)) else {
            return Vec::new();
        };
        let rarest: Vec<_> = rarest.iter().cloned().collect();
        let mut places: Vec<_> = rarest.iter().filter_map(|key| self.find(spec, kind, key)).collect();
        places.sort_unstable();
        places
    }

    /// Says whether a resource with the key of `props` is stored.
    pub fn is_stored(&mut self, spec: &ZoneSpec, kind: ResourceKind, props: &Props) -> bool {
        self.keys(spec, kind).places.contains_key(&unique_key(kind, props))
    }

    /// Returns the place of the resource with this key.
    pub fn find(&mut self, spec: &ZoneSpec, kind: ResourceKind, key: &str) -> Option<usize> {
        let list = spec.stored(kind);
        let keys = self.keys(spec, kind);
        let last = *keys.places.get(key)?;
        let first = last.saturating_sub(keys.removed);
        // First come, first removed, or the other way round: the ends are the likely places.
        for step in 0..=(last - first).min(PATIENCE) {
            for place in [first + step, last - step] {
                if list.get(place).is_some_and(|p| unique_key(kind, p) == key) {
                    return Some(place);
                }
            }
        }
        *keys = Keys::read(list, kind);
        keys.places.get(key).copied()
    }

    /// Notes a resource that is stored at a place from now on.
    pub fn insert(&mut self, kind: ResourceKind, place: usize, props: &Props) {
        if let Some(keys) = self.keys.get_mut(&kind) {
            keys.places.insert(unique_key(kind, props), place + keys.removed);
        }
        for (_, (def, values)) in self.values.iter_mut().filter(|((k, _), _)| *k == kind) {
            if let Some(text) = value_of(def, props) {
                values.entry(found_as(def, text)).or_default().insert(unique_key(kind, props));
            }
        }
    }

    /// Notes that the key of a resource is free.
    pub fn remove(&mut self, kind: ResourceKind, props: &Props) {
        if let Some(keys) = self.keys.get_mut(&kind) {
            keys.places.remove(&unique_key(kind, props));
        }
        for (_, (def, values)) in self.values.iter_mut().filter(|((k, _), _)| *k == kind) {
            if let Some(text) = value_of(def, props)
                && let Some(keys) = values.get_mut(&found_as(def, text))
            {
                keys.remove(&unique_key(kind, props));
            }
        }
    }

    /// Notes that a resource was taken out of the list.
    pub fn taken_out(&mut self, kind: ResourceKind, props: &Props) {
        self.remove(kind, props);
        if let Some(keys) = self.keys.get_mut(&kind) {
            keys.removed += 1;
        }
    }

    /// Forgets a kind that was changed behind the index' back.
    pub fn forget(&mut self, kind: ResourceKind) {
        self.keys.remove(&kind);
        self.values.retain(|(k, _), _| *k != kind);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.keys.clear();
        self.values.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Value, ZoneName};

    fn attr(name: usize) -> Props {
        let mut props = Props::default();
        let def = ResourceKind::Attr.def().prop("name").expect("name");
        props.set(def, Value::simple(format!("a{name}")));
        props
    }

    #[test]
    fn places_stay_right_whatever_is_removed() {
        let kind = ResourceKind::Attr;
        let mut spec = ZoneSpec::new(ZoneName::new("zion").expect("a name"));
        *spec.stored_mut(kind) = (0..2000).map(attr).collect();
        let mut index = KeyIndex::default();
        // A fixed but scattered order; 7 and 2003 have no common factor.
        for i in 0..1500 {
            let n = i * 7 % 2003 % 2000;
            let key = unique_key(kind, &attr(n));
            let Some(place) = index.find(&spec, kind, &key) else { continue };
            assert_eq!(spec.stored(kind)[place].text("name"), Some(format!("a{n}").as_str()));
            let gone = spec.stored_mut(kind).remove(place);
            index.taken_out(kind, &gone);
            assert!(!index.is_stored(&spec, kind, &attr(n)));
            if i % 3 == 0 {
                index.insert(kind, spec.stored(kind).len(), &attr(n));
                spec.stored_mut(kind).push(attr(n));
            }
        }
        for (place, props) in spec.stored(kind).to_vec().iter().enumerate() {
            assert_eq!(index.find(&spec, kind, &unique_key(kind, props)), Some(place));
        }
    }

    #[test]
    fn resources_are_found_by_any_value() {
        let kind = ResourceKind::Net;
        let net = |n: usize, link: &str| {
            let mut props = Props::default();
            for (name, text) in [("address", format!("192.0.2.{n}/24")), ("physical", link.to_owned())] {
                props.set(kind.def().prop(name).expect(name), Value::simple(text));
            }
            props
        };
        let mut spec = ZoneSpec::new(ZoneName::new("zion").expect("a name"));
        *spec.stored_mut(kind) = (0..50).map(|n| net(n, if n % 2 == 0 { "eth0" } else { "eth1" })).collect();
        let mut index = KeyIndex::default();
        let by = |name: &str, text: &str| (kind.def().prop(name).expect(name), text.to_owned());
        assert_eq!(index.having(&spec, kind, &[by("physical", "eth1")]).len(), 25);
        // With and without its prefix; the rarer of two values decides.
        assert_eq!(index.having(&spec, kind, &[by("address", "192.0.2.7")]), [7]);
        let both = [by("physical", "eth1"), by("address", "192.0.2.7/24")];
        assert_eq!(index.having(&spec, kind, &both), [7]);
        assert!(index.having(&spec, kind, &[by("physical", "eth2")]).is_empty());
        // The index follows changes, removals and additions.
        index.remove(kind, &net(7, "eth1"));
        index.insert(kind, 7, &net(7, "eth2"));
        spec.stored_mut(kind)[7] = net(7, "eth2");
        let gone = spec.stored_mut(kind).remove(3);
        index.taken_out(kind, &gone);
        index.insert(kind, 49, &net(60, "eth2"));
        spec.stored_mut(kind).push(net(60, "eth2"));
        assert_eq!(index.having(&spec, kind, &[by("physical", "eth2")]), [6, 49]);
        assert_eq!(index.having(&spec, kind, &[by("physical", "eth1")]).len(), 23);
    }
}
