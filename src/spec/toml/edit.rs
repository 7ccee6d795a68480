//! Writing a spec as TOML: into an existing text, so that whatever did not change stays as a person
//! wrote it, or as a new text.

use std::collections::HashMap;

use ::toml_edit::{
    Array, ArrayOfTables, DocumentMut, InlineTable, Item as Node, RawString, Table, TableLike,
};
use ::toml_edit::{Value as Scalar, value};

use super::{TextError, parse};
use crate::spec::schema::{PropDef, ResourceDef, ResourceKind, ValueKind, globals};
use crate::spec::{Item, Props, Value, ZoneSpec};

const EMPTY: &str = "format = 1\n";

/// Returns a spec as a new text.
pub fn render(spec: &ZoneSpec) -> String {
    let mut document = EMPTY.parse::<DocumentMut>().unwrap_or_default();
    Editor { document: &mut document }.apply(&ZoneSpec::new(spec.name.clone()), spec);
    document.to_string()
}

/// Returns the text changed so that it reads as `spec`. Unchanged values keep their comments, order and form.
///
/// # Errors
/// The existing text cannot be read; it is not for us to replace it.
pub fn update(existing: &str, spec: &ZoneSpec) -> Result<String, TextError> {
    let old = parse(&spec.name, existing.as_bytes())?;
    if old == *spec {
        return Ok(existing.to_owned());
    }
    let mut document = existing.parse::<DocumentMut>().map_err(|e| {
        let offset = e.span().map_or(0, |s| s.start);
        TextError::at(existing.as_bytes(), offset, e.message().replace('\n', ", "))
    })?;
    Editor { document: &mut document }.apply(&old, spec);
    let mut text = document.to_string();
    // The library ends lines with LF alone.
    if existing.contains('\n') && existing.lines().count() == existing.matches("\r\n").count() {
        text = text.replace("\r\n", "\n").replace('\n', "\r\n");
    }
    // The saved text must read as the spec that was asked for. Should an unforeseen layout defeat the editing above,
    // correct values matter more than the comments.
    match parse(&spec.name, text.as_bytes()) {
        Ok(read) if read == *spec => Ok(text),
        _ => Ok(render(spec)),
    }
}

struct Editor<'d> {
    document: &'d mut DocumentMut,
}

/// A property that is a view on a control, with its resource when it has one.
type AliasKey = (Option<ResourceKind>, &'static PropDef);

impl Editor<'_> {
    fn apply(&mut self, old: &ZoneSpec, new: &ZoneSpec) {
        for def in globals().iter().filter(|d| d.alias.is_none()) {
            let (before, after) = (old.props.get(def.name), new.props.get(def.name));
            if before != after {
                self.global(def, after);
            }
        }
        let kept = self.aliases(new);
        for kind in ResourceKind::all() {
            let (before, after) = (old.stored(kind), new.stored(kind));
            match (kind, kind.def().singleton) {
                (ResourceKind::Rctl, _) => {
                    // The reader puts the controls of aliases first.
                    let inline = before.len() - self.tables(kind);
                    self.list(kind.def(), &before[inline..], &after[kept..]);
                }
                (_, true) => self.single(kind.def(), before.first(), after.first()),
                (_, false) => self.list(kind.def(), before, after),
            }
        }
    }

    fn root(&mut self) -> &mut Table {
        self.document.as_table_mut()
    }

    fn global(&mut self, def: &'static PropDef, after: Option<&Value>) {
        match after {
            Some(after) => put(self.root(), def.name, scalar(def, after)),
            None => self.remove_key(def.name),
        }
    }

    /// Removes a top-level key or table. Comments above it go with it, but not those that stand
    /// apart, by an empty line: these belong to the file.
    fn remove_key(&mut self, name: &str) {
        let position = self.document.get(name).and_then(position_of);
        let keys: Vec<_> = self.root().iter().map(|(k, _)| k.to_owned()).collect();
        let index = keys.iter().position(|k| k == name);
        let Some((key, node)) = self.root().remove_entry(name) else { return };
        let prefix = match &node {
            Node::Table(t) => t.decor().prefix(),
            Node::ArrayOfTables(a) => a.get(0).and_then(|t| t.decor().prefix()),
            _ => key.leaf_decor().prefix(),
        };
        let apart = standing_apart(prefix);
        if apart.is_empty() {
            return;
        }
        let next = index.and_then(|i| keys.get(i + 1..)).and_then(|later| {
            later.iter().find(|k| self.document.get(k.as_str()).is_some_and(Node::is_value)).cloned()
        });
        match next.filter(|_| position.is_none()) {
            Some(next) => {
                if let Some(mut key) = self.root().key_mut(&next) {
                    let decor = key.leaf_decor_mut();
                    let own = text_of(decor.prefix());
                    decor.set_prefix(join(&apart, &own));
                }
            }
            None => self.hand_down(&apart, position.unwrap_or(0)),
        }
    }

    /// Gives comments to the first table past a position, or to the end of the text.
    fn hand_down(&mut self, comments: &str, after: isize) {
        let mut best: Option<&mut Table> = None;
        for (_, node) in self.document.as_table_mut().iter_mut() {
            let tables: Vec<&mut Table> = match node {
                Node::Table(t) => vec![t],
                Node::ArrayOfTables(a) => a.iter_mut().collect(),
                _ => Vec::new(),
            };
            for table in tables {
                let Some(p) = table.position().filter(|p| *p > after) else { continue };
                if best.as_ref().and_then(|b| b.position()).is_none_or(|b| p < b) {
                    best = Some(table);
                }
            }
        }
        if let Some(table) = best {
            let own = text_of(table.decor().prefix());
            table.decor_mut().set_prefix(join(comments, &own));
        } else {
            let own = text_of(Some(self.document.trailing()));
            self.document.set_trailing(join(comments, &own));
        }
    }

    /// Brings the alias keys that the text has up to date and returns how many it keeps.
    ///
    /// A key can stay as long as reading it puts its control where the spec has it; what cannot is
    /// written as `[[rctl]]`.
    fn aliases(&mut self, new: &ZoneSpec) -> usize {
        let controls = new.stored(ResourceKind::Rctl);
        let mut kept = 0;
        for (kind, def) in alias_keys() {
            let holder = match kind {
                None => Some(self.document.as_table_mut() as &mut dyn TableLike),
                Some(kind) => self.document.get_mut(kind.name()).and_then(Node::as_table_like_mut),
            };
            let Some(holder) = holder.filter(|h| h.contains_key(def.name)) else { continue };
            let in_place = controls
                .get(kept)
                .filter(|r| r.text("name") == def.alias.map(|a| a.rctl) && r.iter().count() == 2)
                .and_then(|_| new.alias(def));
            match (in_place, kind) {
                (Some(text), _) => {
                    let was = holder.get(def.name).and_then(alias_text(def));
                    if was.as_deref() != Some(text.as_str()) {
                        put(holder, def.name, scalar(def, &Value::Simple(text)));
                    }
                    kept += 1;
                }
                (None, None) => self.remove_key(def.name),
                (None, Some(kind)) => {
                    holder.remove(def.name);
                    if holder.is_empty() {
                        self.remove_key(kind.name());
                    }
                }
            }
        }
        kept
    }

    /// Counts the tables that the text has of a kind.
    fn tables(&self, kind: ResourceKind) -> usize {
        match self.document.get(kind.name()) {
            Some(Node::ArrayOfTables(a)) => a.len(),
            Some(Node::Value(Scalar::Array(a))) => a.len(),
            _ => 0,
        }
    }

    fn single(&mut self, def: &'static ResourceDef, before: Option<&Props>, after: Option<&Props>) {
        if before == after {
            return;
        }
        let none = Props::default();
        let Some(after) = after else {
            // Aliases of the same table may stay.
            let Some(table) = self.document.get_mut(def.name).and_then(Node::as_table_like_mut) else {
                return;
            };
            fill(table, def, before.unwrap_or(&none), &none);
            if table.is_empty() {
                self.remove_key(def.name);
            }
            return;
        };
        let root = self.root();
        if !root.contains_key(def.name) {
            root.insert(def.name, Node::Table(Table::new()));
        }
        if let Some(table) = root.get_mut(def.name).and_then(Node::as_table_like_mut) {
            fill(table, def, before.unwrap_or(&none), after);
        }
    }

    fn list(&mut self, def: &'static ResourceDef, before: &[Props], after: &[Props]) {
        if before == after {
            return;
        }
        if after.is_empty() {
            // Comments that stand apart above a later one of the list are of the file as well.
            let later = match self.document.get(def.name) {
                Some(Node::ArrayOfTables(a)) => a.iter().skip(1).map(apart_of_table).collect(),
                _ => Vec::new(),
            };
            self.remove_key(def.name);
            self.hand_down_all(later);
            return;
        }
        let root = self.root();
        let node = root.remove(def.name);
        let place = node.as_ref().and_then(position_of);
        let array = match node.map(Node::into_array_of_tables) {
            Some(Ok(array)) => array,
            _ => ArrayOfTables::new(),
        };
        let mut tables: Vec<Option<Table>> = array.into_iter().map(Some).collect();
        let mut result = ArrayOfTables::new();
        for (props, from) in after.iter().zip(pair(def, before, after)) {
            let taken = from.and_then(|i| tables.get_mut(i).and_then(Option::take).map(|t| (i, t)));
            let (mut table, old) = match taken {
                Some((i, table)) => (table, before[i].clone()),
                None => (Table::new(), Props::default()),
            };
            fill(&mut table, def, &old, props);
            result.push(table);
        }
        order(&mut result, place);
        self.root().insert(def.name, Node::ArrayOfTables(result));
        self.hand_down_all(tables.iter().flatten().map(apart_of_table).collect());
    }

    fn hand_down_all(&mut self, comments: Vec<(isize, String)>) {
        for (position, text) in comments.into_iter().filter(|(_, t)| !t.is_empty()) {
            self.hand_down(&text, position);
        }
    }
}

pub(super) fn alias_keys() -> impl Iterator<Item = AliasKey> {
    let global = globals().iter().filter(|d| d.alias.is_some()).map(|d| (None, d));
    let rest = ResourceKind::all()
        .flat_map(|k| k.def().props.iter().filter(|d| d.alias.is_some()).map(move |d| (Some(k), d)));
    global.chain(rest)
}

/// Returns the canonical text of an alias as a person wrote it, to leave equal values alone.
fn alias_text(def: &'static PropDef) -> impl Fn(&Node) -> Option<String> {
    move |node| {
        let written = match node.as_value()? {
            Scalar::String(s) => s.value().clone(),
            Scalar::Integer(i) => i.value().to_string(),
            Scalar::Float(f) => f.value().to_string(),
            _ => return None,
        };
        def.check(&Value::Simple(written), None).ok()?.as_str().map(str::to_owned)
    }
}

/// Pairs each new resource with the old one that it continues: the old resource of the same key, else the old one in
/// the same place whose key has no successor.
fn pair(def: &ResourceDef, before: &[Props], after: &[Props]) -> Vec<Option<usize>> {
    if before.is_empty() {
        return vec![None; after.len()];
    }
    let key = |p: &Props| -> Vec<Option<String>> {
        def.keys().map(|k| p.text(k.name).map(str::to_owned)).collect()
    };
    let mut by_key: HashMap<_, _> = before.iter().enumerate().map(|(i, p)| (key(p), i)).collect();
    let mut pairs: Vec<_> = after.iter().map(|p| by_key.remove(&key(p))).collect();
    let mut free: Vec<_> = by_key.into_values().collect();
    free.sort_unstable();
    let mut free = free.into_iter().peekable();
    // Walks both lists side by side: an old resource without successor between two kept ones belongs to the new
    // resource in its place.
    let mut following = vec![None; pairs.len()];
    for i in (1..pairs.len()).rev() {
        following[i - 1] = pairs[i].or(following[i]);
    }
    let mut last = None;
    for (pair, next) in pairs.iter_mut().zip(following) {
        if pair.is_some() {
            last = *pair;
            continue;
        }
        while free.peek().is_some_and(|f| last.is_some_and(|l| *f < l)) {
            free.next();
        }
        if let Some(f) = free.peek().copied().filter(|f| next.is_none_or(|n| *f < n)) {
            *pair = Some(f);
            last = Some(f);
            free.next();
        }
    }
    pairs
}

/// Makes the places of the tables in the text follow their order in the list.
fn order(tables: &mut ArrayOfTables, place: Option<isize>) {
    let mut places: Vec<_> = tables.iter().filter_map(Table::position).collect();
    places.sort_unstable();
    let mut places = places.into_iter().peekable();
    let mut last = places.peek().copied().or(place);
    for table in tables.iter_mut() {
        if table.position().is_some() {
            last = places.next();
        }
        table.set_position(last);
        // Nested resources follow the resource that holds them.
        for (_, node) in table.iter_mut() {
            let Node::ArrayOfTables(inner) = node else { continue };
            inner.iter_mut().for_each(|table| table.set_position(None));
        }
    }
}

fn position_of(node: &Node) -> Option<isize> {
    match node {
        Node::Table(t) => t.position(),
        Node::ArrayOfTables(a) => a.get(0).and_then(Table::position),
        _ => None,
    }
}

fn apart_of_table(table: &Table) -> (isize, String) {
    (table.position().unwrap_or(0), standing_apart(table.decor().prefix()))
}

fn text_of(raw: Option<&RawString>) -> String {
    raw.and_then(RawString::as_str).unwrap_or_default().to_owned()
}

/// Returns the part of a prefix that holds comments and ends with an empty line.
fn standing_apart(prefix: Option<&RawString>) -> String {
    let text = text_of(prefix);
    let Some(end) = text.rfind("\n\n").or_else(|| text.rfind("\n\r\n")) else { return String::new() };
    let apart = &text[..=end];
    if apart.contains('#') { apart.to_owned() } else { String::new() }
}

fn join(apart: &str, own: &str) -> String {
    let gap = if own.starts_with('\n') || own.starts_with("\r\n") { "" } else { "\n" };
    format!("{apart}{gap}{own}")
}

/// Brings the properties of one table up to date.
fn fill(table: &mut dyn TableLike, def: &'static ResourceDef, before: &Props, after: &Props) {
    for prop in def.props.iter().filter(|p| p.alias.is_none()) {
        match (before.get(prop.name), after.get(prop.name)) {
            (old, new) if old == new => {}
            (_, Some(new)) => put(table, prop.name, scalar(prop, new)),
            (_, None) => {
                table.remove(prop.name);
            }
        }
    }
    for kind in def.kind.inner() {
        match (before.inner(kind), after.inner(kind)) {
            (old, new) if old == new => {}
            (_, []) => {
                table.remove(kind.name());
            }
            (_, new) => put(table, kind.name(), Scalar::Array(new.iter().map(|p| inline(kind, p)).collect())),
        }
    }
}

/// Returns a resource that stands in another one, on one line.
fn inline(kind: ResourceKind, props: &Props) -> Scalar {
    let mut table = InlineTable::new();
    fill(&mut table, kind.def(), &Props::default(), props);
    Scalar::InlineTable(table)
}

/// Sets a key; the comment behind the old value stays.
fn put(table: &mut dyn TableLike, name: &str, mut new: Scalar) {
    match table.get_mut(name) {
        Some(node) => {
            if let (Some(Scalar::Array(old)), Scalar::Array(new)) = (node.as_value_mut(), &new)
                && edit_array(old, new)
            {
                return;
            }
            if let Some(old) = node.as_value() {
                *new.decor_mut() = old.decor().clone();
            }
            *node = Node::Value(new);
        }
        None => {
            table.insert(name, value(new));
        }
    }
}

/// Takes elements out of a list and puts new ones behind the rest, so that comments in it stay. False
/// when that does not make the new list, which is then to be written anew.
fn edit_array(old: &mut Array, new: &Array) -> bool {
    let text = |v: &Scalar| v.clone().decorated("", "").to_string();
    let wanted: Vec<_> = new.iter().map(text).collect();
    let mut kept = 0;
    let mut gone = Vec::new();
    for (i, have) in old.iter().map(text).enumerate() {
        if wanted.get(kept) == Some(&have) {
            kept += 1;
        } else {
            gone.push(i);
        }
    }
    if kept == 0 {
        return false;
    }
    // Returns the text after the last element, as if there were a comma behind it.
    let mut tail = old.trailing().as_str().unwrap_or_default().to_owned();
    if let Some(last) = old.len().checked_sub(1).and_then(|i| old.get_mut(i)) {
        tail.insert_str(0, &text_of(last.decor().suffix()));
        last.decor_mut().set_suffix("");
    }
    for i in gone.into_iter().rev() {
        // The comment on its line goes with it; the one before it is of the element above.
        let removed = old.remove(i);
        let (above, _) = first_line(&text_of(removed.decor().prefix()));
        match old.get_mut(i) {
            Some(next) => {
                let own = text_of(next.decor().prefix());
                let prefix = match own.contains('\n') {
                    true => above + &first_line(&own).1,
                    false => text_of(removed.decor().prefix()),
                };
                next.decor_mut().set_prefix(prefix);
            }
            None => tail = above + &first_line(&tail).1,
        }
    }
    let indent = old.get(kept - 1).map(|v| text_of(v.decor().prefix())).unwrap_or_default();
    let indent = indent.rsplit_once('\n').map_or_else(String::new, |(_, i)| format!("\n{i}"));
    for value in new.iter().skip(kept) {
        let mut before = " ".to_owned();
        if tail.contains('\n') {
            let (above, rest) = first_line(&tail);
            before = above + &indent;
            tail = rest;
        }
        old.push(value.clone().decorated(before, ""));
    }
    old.set_trailing(tail);
    true
}

/// Splits what stands between two elements: the end of the line of the first, and the rest from its
/// line break on.
fn first_line(between: &str) -> (String, String) {
    let (first, rest) = between.split_at(between.find('\n').unwrap_or(between.len()));
    match rest {
        "" if !first.contains('#') => (String::new(), first.to_owned()),
        _ => (first.to_owned(), rest.to_owned()),
    }
}

/// Returns the TOML form of a value.
fn scalar(def: &PropDef, value: &Value) -> Scalar {
    match value {
        Value::Simple(text) => simple(def.kind, text),
        Value::List(items) => Scalar::Array(items.iter().map(element).collect::<Array>()),
    }
}

fn simple(kind: ValueKind, text: &str) -> Scalar {
    let number = || text.parse::<i64>().ok().filter(|n| n.to_string() == text && *n >= 0);
    match kind {
        ValueKind::Bool if text == "true" => true.into(),
        ValueKind::Bool if text == "false" => false.into(),
        ValueKind::Uint(..) | ValueKind::CpuRange => number().map_or_else(|| text.into(), Scalar::from),
        ValueKind::CpuCap => text.parse::<f64>().map_or_else(|_| text.into(), Scalar::from),
        _ => text.into(),
    }
}

fn element(item: &Item) -> Scalar {
    match item {
        Item::Simple(text) => text.into(),
        Item::Complex(members) => {
            let mut table = InlineTable::new();
            for (name, text) in members {
                let kind = if name == "limit" { ValueKind::Uint(0, u64::MAX) } else { ValueKind::Text };
                table.insert(name, simple(kind, text));
            }
            Scalar::InlineTable(table)
        }
    }
}
