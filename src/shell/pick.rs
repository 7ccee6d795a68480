//! Which resources `select`, `remove` and `info` mean.

use crate::parser::{Pick, Span, Word};
use crate::spec::schema::{PropDef, ResourceKind as R, ValueKind};
use crate::spec::verify::unique_key;
use crate::spec::{Props, Value, ZoneSpec};

use super::console::{Complaint, Confirmation, UserInterface};
use super::session::EditSession;

/// Says whether a kind has properties that are views on resource controls.
pub(super) fn is_view(kind: R) -> bool {
    kind.def().props.iter().any(|p| p.alias.is_some())
}

/// Solaris 10 inherits these into a zone that is created without further words.
pub(super) const SPARSE_ROOT: [&str; 4] = ["/lib", "/platform", "/sbin", "/usr"];
/// We inherit these as well.
pub(super) const OWN_SPARSE_ROOT: [&str; 3] = ["/bin", "/lib64", "/opt"];

/// Returns the directory of Solaris 10's sparse root that is picked.
pub(super) fn standard(kind: R, pick: &Pick) -> Option<&'static str> {
    let Pick::Where(pairs) = pick else { return None };
    match (kind, &pairs[..]) {
        (R::InheritPkgDir, [(name, text)]) if name.text == "dir" => {
            SPARSE_ROOT.into_iter().find(|dir| *dir == text.text)
        }
        _ => None,
    }
}

/// Says whether two texts are one address, of which only one has a prefix.
fn same_address(one: &str, other: &str) -> bool {
    let bare = |text: &str| text.split_once('/').map_or(text.to_owned(), |(host, _)| host.to_owned());
    one.contains('/') != other.contains('/') && bare(one) == bare(other)
}

/// Says whether two texts are one link-layer address: digits in both cases, and without leading zeros.
fn same_mac(one: &str, other: &str) -> bool {
    let bytes = |text: &str| {
        let list: Option<Vec<u8>> = text.split(':').map(|part| u8::from_str_radix(part, 16).ok()).collect();
        list.filter(|bytes| bytes.len() == 6)
    };
    bytes(one).is_some_and(|bytes_of_one| Some(bytes_of_one) == bytes(other))
}

/// Properties that a resource must have to be meant, with their canonical values.
struct Criteria(Vec<(&'static PropDef, String)>);

impl Criteria {
    /// Brings the typed values into their canonical form; none when a property is none of the kind's.
    fn new(kind: R, pairs: &[(Word, Word)]) -> Option<Self> {
        let canonical = |(name, text): &(Word, Word)| {
            let def = kind.def().prop(&name.text)?;
            let text = match def.check(&Value::simple(text.text.as_str()), Some(kind)) {
                Ok(Value::Simple(text)) => text,
                _ => text.text.clone(),
            };
            Some((def, text))
        };
        pairs.iter().map(canonical).collect::<Option<Vec<_>>>().map(Self)
    }

    /// Says whether a resource has these values. An address matches without its prefix as well, and one of a list.
    fn fits(&self, props: &Props) -> bool {
        self.0.iter().all(|(def, wanted)| {
            let Some(have) = props.text(def.name).or(def.default) else {
                return props.list(def.name).any(|item| item == wanted);
            };
            have == wanted
                || match def.kind {
                    ValueKind::Address => same_address(have, wanted),
                    ValueKind::AddressList => {
                        have.split(',').any(|one| one == wanted || same_address(one, wanted))
                    }
                    ValueKind::Mac => same_mac(have, wanted),
                    _ => false,
                }
        })
    }

    /// Returns the key of the resource that is meant, when the values say it all.
    fn key(&self, kind: R) -> Option<String> {
        let mut keys = kind.def().keys();
        let (Some(only), None) = (keys.next(), keys.next()) else { return None };
        let (def, text) = self.0.iter().find(|(def, _)| def.name == only.name)?;
        let mut props = Props::default();
        props.set(def, Value::simple(text.as_str()));
        Some(unique_key(kind, &props))
    }
}

/// Returns the places of the resources that are meant, among those of [`ZoneSpec::view`].
pub(super) fn picked(spec: &ZoneSpec, kind: R, pick: &Pick) -> Vec<usize> {
    let view;
    let list = if is_view(kind) {
        view = spec.view(kind);
        &view[..]
    } else {
        spec.stored(kind)
    };
    selected(list, kind, pick)
}

/// Returns the places of the resources that are meant in a list.
pub(super) fn selected(list: &[Props], kind: R, pick: &Pick) -> Vec<usize> {
    match pick {
        Pick::Any => (0..list.len()).collect(),
        Pick::Number(n) => (0..list.len()).filter(|i| i == n).collect(),
        Pick::Where(pairs) => match Criteria::new(kind, pairs) {
            Some(wanted) => (0..list.len()).filter(|i| wanted.fits(&list[*i])).collect(),
            None => Vec::new(),
        },
    }
}

/// Says whether the selected resources are to be removed, after a question when there are several and the command
/// does not say which.
pub(super) fn may_remove(
    kind: R,
    places: &[usize],
    pick: &Pick,
    force: bool,
    at: Span,
    con: &mut dyn UserInterface,
) -> Result<bool, Complaint> {
    let say = |text: &str| Err(Complaint::new(format!("remove {kind}: {text}")).at(at));
    match (places, pick) {
        // With -F there is nothing to complain about, as the manual of illumos promises.
        ([], _) if force => Ok(false),
        ([], Pick::Any) => say("No such entry"),
        ([], _) => say("No such resource with that id"),
        ([_], _) => Ok(true),
        (_, Pick::Any) if force => Ok(true),
        (_, Pick::Any) => {
            let question = format!("Are you sure you want to remove ALL '{kind}' resources");
            match con.ask(&question) {
                Confirmation::Yes => Ok(true),
                Confirmation::No => Ok(false),
                Confirmation::Nobody => {
                    let text = "There are multiple instances of this resource.  Either qualify the resource to\nremove a single instance or use the -F option to remove all instances.";
                    Err(Complaint::new(text))
                }
            }
        }
        _ => say("Insufficient specification"),
    }
}

impl EditSession<'_> {
    /// Like the function of this name, but does not look through all resources for a value.
    pub(super) fn picked(&mut self, kind: R, pick: &Pick) -> Result<Vec<usize>, Complaint> {
        if let Pick::Where(pairs) = pick
            && !is_view(kind)
            && let Some(wanted) = Criteria::new(kind, pairs)
            && wanted.0.iter().all(|(def, _)| {
                !def.is_list() && !matches!(def.kind, ValueKind::Mac | ValueKind::AddressList)
            })
            && let Some(spec) = &self.spec
        {
            let places = match wanted.key(kind) {
                Some(key) => self.index.find(spec, kind, &key).into_iter().collect(),
                None => self.index.having(spec, kind, &wanted.0),
            };
            return Ok(places.into_iter().filter(|i| wanted.fits(&spec.stored(kind)[*i])).collect());
        }
        Ok(picked(self.loaded()?, kind, pick))
    }

    /// Says whether the command means the `anet` that a zone of Solaris 11 has after `create`, while this zone began
    /// with `create` and has none.
    pub(super) fn is_plain_anet(&self, kind: R, pick: &Pick) -> bool {
        let first = match pick {
            Pick::Any => true,
            Pick::Number(number) => *number == 0,
            Pick::Where(pairs) => {
                matches!(&pairs[..], [(name, text)] if name.text == "linkname" && text.text == "net0")
            }
        };
        let none = self.spec.as_ref().is_some_and(|spec| spec.stored(R::Anet).is_empty());
        kind == R::Anet && self.plain && none && first
    }
}
