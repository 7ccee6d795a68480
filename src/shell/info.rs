//! The output of `info`: the format of illumos, byte for byte, from the table.

use std::fmt::Write as _;

use crate::parser::Pick;
use crate::spec::schema::{self, PropDef, ResourceKind, ShowInInfo, ValueKind};
use crate::spec::value::quoted;
use crate::spec::{ByteSize, Item, Props, Value, ZoneSpec};

use super::pick::{picked, selected};

/// Returns the whole configuration.
pub fn all(spec: &ZoneSpec) -> String {
    let mut out = String::new();
    for def in schema::globals().iter().filter(|d| d.is_of(spec.name.is_global())) {
        out.push_str(&global(spec, def));
    }
    for kind in ResourceKind::all() {
        out.push_str(&resources(spec, kind, &Pick::Any));
    }
    out
}

/// Returns the line of a global property; nothing for an unset property that is only shown when set.
pub fn global(spec: &ZoneSpec, def: &PropDef) -> String {
    // Where the zone lies; "export" keeps the tokens.
    let value = if def.name == "zonepath" { spec.zonepath() } else { spec.global(def.name) };
    match (value, def.alias) {
        (Some(text), Some(_)) => format!("[{}: {}]\n", def.name, rounded(def, &text)),
        (None, Some(_)) => String::new(),
        (Some(text), None) => format!("{}: {text}\n", def.name),
        (None, None) if def.show == ShowInInfo::IfSet => String::new(),
        (None, None) => format!("{}: \n", def.name),
    }
}

/// Returns the blocks of the resources that are meant.
pub fn resources(spec: &ZoneSpec, kind: ResourceKind, pick: &Pick) -> String {
    let places = picked(spec, kind, pick);
    let view = spec.view(kind);
    let mut out = String::new();
    for place in places {
        // Solaris 11.4 numbers the resources that the user can select by number.
        let number = (kind == ResourceKind::Anet).then_some(place);
        block(kind, &view[place], number, "", &mut out);
    }
    out
}

/// Returns the block of an open resource.
pub fn resource(kind: ResourceKind, props: &Props) -> String {
    let mut out = String::new();
    block(kind, props, None, "", &mut out);
    out
}

/// Returns the blocks of the resources that are meant among those that stand in an open one.
pub fn inner(outer: &Props, kind: ResourceKind, pick: &Pick) -> String {
    let list = outer.inner(kind);
    let mut out = String::new();
    for place in selected(list, kind, pick) {
        block(kind, &list[place], Some(place), "", &mut out);
    }
    out
}

fn block(kind: ResourceKind, props: &Props, number: Option<usize>, indent: &str, out: &mut String) {
    let number = number.map_or_else(String::new, |number| format!(" {number}"));
    let _ = writeln!(out, "{indent}{kind}{number}:");
    let mut defs: Vec<_> = kind.def().props.iter().collect();
    if kind == ResourceKind::SecurityFlags {
        defs.sort_by_key(|d| d.name);
    }
    let deeper = format!("{indent}\t");
    for def in defs {
        property(def, props, &deeper, out);
    }
    for inner in kind.inner() {
        for (number, props) in props.inner(inner).iter().enumerate() {
            block(inner, props, Some(number), &deeper, out);
        }
    }
}

fn property(def: &PropDef, props: &Props, indent: &str, out: &mut String) {
    let name = def.name;
    let fallback = def.default.map(Value::simple);
    let _ = match (props.get(name).or(fallback.as_ref()), def.show) {
        (Some(Value::Simple(text)), _) => {
            let text = rounded(def, text);
            let text = if text.contains(' ') { format!("\"{text}\"") } else { text };
            match def.alias {
                Some(_) => writeln!(out, "{indent}[{name}: {text}]"),
                None => writeln!(out, "{indent}{name}: {text}"),
            }
        }
        (Some(Value::List(items)), _) if matches!(items.first(), Some(Item::Complex(_))) => {
            items.iter().try_for_each(|item| writeln!(out, "{indent}{name}: {}", group(item)))
        }
        (Some(Value::List(items)), _) => {
            let items: Vec<_> = items.iter().filter_map(Item::as_str).map(|t| quoted(t, true)).collect();
            writeln!(out, "{indent}{name}: [{}]", items.join(","))
        }
        (None, ShowInInfo::Always) => writeln!(out, "{indent}{name}: []"),
        (None, ShowInInfo::OrNotSpecified) => writeln!(out, "{indent}{name} not specified"),
        (None, ShowInInfo::IfSet) => Ok(()),
    };
}

/// Formats a group; the free texts of `property` are always quoted, the words of `rctl` never.
pub(super) fn group(item: &Item) -> String {
    let Item::Complex(members) = item else { return item.to_string() };
    if members.iter().any(|(name, _)| name == "priv") {
        return item.to_string();
    }
    let members: Vec<_> = members
        .iter()
        .map(|(name, text)| match name.as_str() {
            "value" => format!("{name}=\"{text}\""),
            _ => format!("{name}={}", quoted(text, true)),
        })
        .collect();
    format!("({})", members.join(","))
}

/// Sizes are shown as Solaris rounds them; `export` has them exact.
fn rounded(def: &PropDef, text: &str) -> String {
    match (def.kind, ByteSize::parse(text)) {
        (ValueKind::Size(_), Ok(size)) => size.rounded(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::ZoneName;

    #[test]
    fn an_empty_zone() {
        let spec = ZoneSpec::new(ZoneName::new("zion").expect("a name"));
        assert_eq!(
            all(&spec),
            "zonename: zion\nzonepath: \nbrand: linux\nautoboot: false\nbootargs: \npool: \nlimitpriv: \n\
             scheduling-class: \nip-type: shared\nhostid: \nfs-allowed: \n"
        );
        let host = ZoneSpec::new(ZoneName::new("global").expect("a name"));
        assert_eq!(all(&host), "zonename: global\npool: \n");
    }
}
