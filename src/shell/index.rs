//! Which keys of resources are taken, so that `end` need not look through all of them.

use std::collections::HashMap;

use crate::spec::verify::unique_key;
use crate::spec::{Props, ResourceKind, ZoneSpec};

/// Keys of the stored resources, per kind; a kind is read when it is first asked for.
#[derive(Debug, Default)]
pub(super) struct KeyIndex(HashMap<ResourceKind, HashMap<String, u32>>);

impl KeyIndex {
    /// Says whether a resource with the key of `props` is stored.
    pub fn taken(&mut self, spec: &ZoneSpec, kind: ResourceKind, props: &Props) -> bool {
        let keys = self.0.entry(kind).or_insert_with(|| {
            let mut keys = HashMap::new();
            for stored in spec.stored(kind) {
                *keys.entry(unique_key(kind, stored)).or_insert(0) += 1;
            }
            keys
        });
        keys.contains_key(&unique_key(kind, props))
    }

    /// Notes a resource that is stored from now on.
    pub fn insert(&mut self, kind: ResourceKind, props: &Props) {
        if let Some(keys) = self.0.get_mut(&kind) {
            *keys.entry(unique_key(kind, props)).or_insert(0) += 1;
        }
    }

    /// Notes a resource that is no longer stored.
    pub fn remove(&mut self, kind: ResourceKind, props: &Props) {
        let Some(keys) = self.0.get_mut(&kind) else { return };
        let key = unique_key(kind, props);
        if let Some(count) = keys.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                keys.remove(&key);
            }
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
