//! What differs between two specs, and the three-way merge of two edits of one spec.

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::schema::{self, PropDef, ResourceKind as R};
use super::value::{Value, quoted};
use super::verify::unique_key;
use super::{Props, ZoneSpec};

/// One difference, from the older to the newer spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A property: global, or of the resource that `subject` names.
    Property {
        /// Empty for a global property, else the resource, such as `attr name=comment`.
        subject: String,
        /// Name of the property.
        name: &'static str,
        /// Former value, none when unset.
        old: Option<String>,
        /// Present value, none when unset.
        new: Option<String>,
    },
    /// A resource is new; the text shows all of it.
    Added(String),
    /// A resource is gone; the text shows all of it.
    Removed(String),
    /// The resources of a kind are the same in another order.
    Reordered(R),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Property { subject, name, old, new } => {
                let gap = if subject.is_empty() { "" } else { " " };
                let shown = |v: &Option<String>| v.clone().unwrap_or_else(|| "(unset)".into());
                write!(f, "~ {subject}{gap}{name}: {} -> {}", shown(old), shown(new))
            }
            Self::Added(text) => write!(f, "+ {text}"),
            Self::Removed(text) => write!(f, "- {text}"),
            Self::Reordered(kind) => write!(f, "~ order of {kind} resources"),
        }
    }
}

/// Returns what must change to get from `old` to `new`, in the order of `info`.
pub fn diff(old: &ZoneSpec, new: &ZoneSpec) -> Vec<Change> {
    let mut changes = Vec::new();
    if old.name != new.name {
        let (old, new) = (Some(old.name.to_string()), Some(new.name.to_string()));
        changes.push(Change::Property { subject: String::new(), name: "zonename", old, new });
    }
    diff_props(schema::globals(), "", &old.props, &new.props, &mut changes);
    for kind in R::all() {
        diff_resources(kind, old.stored(kind), new.stored(kind), &mut changes);
    }
    changes
}

fn told<'a>(def: &PropDef, props: &'a Props) -> Option<&'a Value> {
    props.get(def.name).filter(|value| match value {
        Value::Simple(text) => def.default != Some(text),
        Value::List(items) => !items.is_empty(),
    })
}

fn diff_props(defs: &'static [PropDef], subject: &str, old: &Props, new: &Props, changes: &mut Vec<Change>) {
    for def in defs {
        let (a, b) = (told(def, old), told(def, new));
        if a != b {
            let shown = |v: Option<&Value>| v.map(ToString::to_string).or(def.default.map(str::to_owned));
            changes.push(Change::Property {
                subject: subject.to_owned(),
                name: def.name,
                old: shown(a),
                new: shown(b),
            });
        }
    }
}

fn keyed(kind: R, list: &[Props]) -> HashMap<String, &Props> {
    list.iter().map(|p| (unique_key(kind, p), p)).collect()
}

fn diff_resources(kind: R, old: &[Props], new: &[Props], changes: &mut Vec<Change>) {
    let (before, after) = (keyed(kind, old), keyed(kind, new));
    let first = changes.len();
    for props in old {
        match after.get(&unique_key(kind, props)) {
            None => changes.push(Change::Removed(whole(kind, props))),
            Some(now) => diff_props(kind.def().props, &subject(kind, props), props, now, changes),
        }
    }
    for props in new.iter().filter(|p| !before.contains_key(&unique_key(kind, p))) {
        changes.push(Change::Added(whole(kind, props)));
    }
    let order = |list: &[Props]| list.iter().map(|p| unique_key(kind, p)).collect::<Vec<_>>();
    if changes.len() == first && order(old) != order(new) {
        changes.push(Change::Reordered(kind));
    }
}

/// Names a resource by its key: `attr name=comment`.
pub fn subject(kind: R, props: &Props) -> String {
    let mut text = kind.name().to_owned();
    for def in kind.def().keys() {
        if let Some(value) = props.text(def.name) {
            text.push_str(&format!(" {}={}", def.name, quoted(value, false)));
        }
    }
    text
}

fn whole(kind: R, props: &Props) -> String {
    let mut text = kind.name().to_owned();
    for def in kind.def().props {
        if let Some(value) = props.get(def.name) {
            text.push_str(&format!(" {}={value}", def.name));
        }
    }
    text
}

/// The outcome of a merge.
#[derive(Clone, Debug)]
pub struct Merged {
    /// Both edits together; where they clash, mine.
    pub spec: ZoneSpec,
    /// What both edits changed in different ways, as text.
    pub clashes: Vec<String>,
}

/// Joins two edits of `base`: what only one side changed is taken from that side.
pub fn merge(base: &ZoneSpec, mine: &ZoneSpec, theirs: &ZoneSpec) -> Merged {
    let mut clashes = Vec::new();
    let mut spec = ZoneSpec::new(mine.name.clone());
    spec.props = merge_props(schema::globals(), "", &base.props, &mine.props, &theirs.props, &mut clashes);
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
    subject: &str,
    base: &Props,
    mine: &Props,
    theirs: &Props,
    clashes: &mut Vec<String>,
) -> Props {
    let mut out = Props::default();
    for def in defs {
        let (b, m, t) = (base.get(def.name), mine.get(def.name), theirs.get(def.name));
        let pick = if m == b { t } else { m };
        if m != b && t != b && m != t {
            let shown = |v: Option<&Value>| v.map_or_else(|| "(unset)".to_owned(), ToString::to_string);
            let gap = if subject.is_empty() { "" } else { " " };
            clashes.push(format!("{subject}{gap}{}: {} here, {} there", def.name, shown(m), shown(t)));
        }
        if let Some(value) = pick {
            out.set(def, value.clone());
        }
    }
    out
}

fn merge_resources(
    kind: R,
    base: &ZoneSpec,
    mine: &ZoneSpec,
    theirs: &ZoneSpec,
    clashes: &mut Vec<String>,
) -> Vec<Props> {
    // A side that left the kind alone has nothing to say, not even about the order.
    if mine.stored(kind) == base.stored(kind) {
        return theirs.stored(kind).to_vec();
    }
    if theirs.stored(kind) == base.stored(kind) {
        return mine.stored(kind).to_vec();
    }
    let (b, t) = (keyed(kind, base.stored(kind)), keyed(kind, theirs.stored(kind)));
    let empty = Props::default();
    let mut seen = HashSet::new();
    let mut out = Vec::new();
    for props in mine.stored(kind) {
        let key = unique_key(kind, props);
        match (b.get(&key), t.get(&key)) {
            (Some(old), None) if *old == props => (), // Gone there, untouched here.
            (Some(_), None) => {
                clashes.push(format!("{}: changed here, removed there", subject(kind, props)));
                out.push(props.clone());
            }
            (None, None) => out.push(props.clone()),
            (old, Some(now)) => {
                let old = old.copied().unwrap_or(&empty);
                out.push(merge_props(kind.def().props, &subject(kind, props), old, props, now, clashes));
            }
        }
        seen.insert(key);
    }
    for props in theirs.stored(kind) {
        let key = unique_key(kind, props);
        match b.get(&key) {
            _ if seen.contains(&key) => (),
            None => out.push(props.clone()),
            Some(old) if *old == props => (), // Removed here, untouched there.
            Some(_) => clashes.push(format!("{}: removed here, changed there", subject(kind, props))),
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

    fn lines(old: &ZoneSpec, new: &ZoneSpec) -> Vec<String> {
        diff(old, new).iter().map(ToString::to_string).collect()
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
        assert_eq!(merged.clashes, Vec::<String>::new());
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
            merged.clashes,
            [
                "pool: web here, db there",
                "attr name=a: changed here, removed there",
                "attr name=b: removed here, changed there"
            ]
        );
    }
}
