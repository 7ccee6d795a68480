//! Where resources are by their key, so that neither `end` nor `select` need look through all of them:
//! command files with tens of thousands of resources exist.

use std::collections::HashMap;

use crate::spec::verify::unique_key;
use crate::spec::{Props, ResourceKind, ZoneSpec};

/// After so many steps a search gives up on old places and the kind is read again.
const PATIENCE: usize = 256;

/// Keys of the stored resources, per kind; a kind is read when it is first asked for.
#[derive(Debug, Default)]
pub(super) struct KeyIndex(HashMap<ResourceKind, Keys>);

/// Places of one kind. A removal moves what is behind it, so a place is only an upper bound: the
/// resource is at most `removed` before it.
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
        self.0.entry(kind).or_insert_with(|| Keys::read(spec.stored(kind), kind))
    }

    /// Says whether a resource with the key of `props` is stored.
    pub fn taken(&mut self, spec: &ZoneSpec, kind: ResourceKind, props: &Props) -> bool {
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
        if let Some(keys) = self.0.get_mut(&kind) {
            keys.places.insert(unique_key(kind, props), place + keys.removed);
        }
    }

    /// Notes that the key of a resource is free.
    pub fn remove(&mut self, kind: ResourceKind, props: &Props) {
        if let Some(keys) = self.0.get_mut(&kind) {
            keys.places.remove(&unique_key(kind, props));
        }
    }

    /// Notes that a resource was taken out of the list.
    pub fn taken_out(&mut self, kind: ResourceKind, props: &Props) {
        self.remove(kind, props);
        if let Some(keys) = self.0.get_mut(&kind) {
            keys.removed += 1;
        }
    }

    /// Forgets a kind that was changed behind the index' back.
    pub fn forget(&mut self, kind: ResourceKind) {
        self.0.remove(&kind);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
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
            assert!(!index.taken(&spec, kind, &attr(n)));
            if i % 3 == 0 {
                index.insert(kind, spec.stored(kind).len(), &attr(n));
                spec.stored_mut(kind).push(attr(n));
            }
        }
        for (place, props) in spec.stored(kind).to_vec().iter().enumerate() {
            assert_eq!(index.find(&spec, kind, &unique_key(kind, props)), Some(place));
        }
    }
}
