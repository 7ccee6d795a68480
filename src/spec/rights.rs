//! The rights that the `admin` resources of a spec give to users of the host.
//!
//! As on Solaris: `manage` is for all of `zoneadm` and for logins that ask for no password, `login` for
//! interactive logins that the zone's own login(1) checks, `clonefrom` for being the source of a clone,
//! `config` for the configuration. Linux: with `config` only that can be changed by which nothing of
//! the host comes into the zone ([`super::schema::PropDef::delegable`]); on Solaris it amounts to being
//! root of the host.

use std::fmt;

use super::diff::{Change, ResourceKey, diff};
use super::schema::ResourceKind as R;
use super::{Props, ZoneName, ZoneSpec, words};

/// An authorization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// To log in as a user of the zone, with that user's password in the zone.
    Login,
    /// To start and stop, install and uninstall, and to log in as anybody.
    Manage,
    /// To clone the zone.
    CloneFrom,
    /// To change the configuration.
    Config,
}

impl Auth {
    /// Returns the word in `auths`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Manage => "manage",
            Self::CloneFrom => "clonefrom",
            Self::Config => "config",
        }
    }

    /// Returns the name of the authorization for one zone, as Solaris has it in its user database.
    pub fn on(self, zone: &ZoneName) -> String {
        format!("solaris.zone.{}/{zone}", self.word())
    }
}

impl fmt::Display for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Says whether a spec gives an authorization to a user.
pub fn has(spec: &ZoneSpec, user: &str, auth: Auth) -> bool {
    let means = |word: &str| match auth {
        // The name that later releases of Solaris 11 have for it.
        Auth::CloneFrom => matches!(word, "clonefrom" | "copyfrom"),
        _ => word == auth.word(),
    };
    let gives =
        |admin: &&Props| admin.text("auths").is_some_and(|list| list.split(',').any(|w| means(w.trim())));
    spec.stored(R::Admin)
        .iter()
        .filter(|a| !user.is_empty() && a.text("user") == Some(user))
        .any(|a| gives(&a))
}

/// Returns the part of a change that the authorization `config` does not allow, as reported to the user; none when
/// all of it is allowed.
pub fn forbidden(old: &ZoneSpec, new: &ZoneSpec) -> Option<String> {
    let changes = diff(old, new);
    let closed = changes.iter().filter(|change| !is_open(change));
    // Of several attributes the first of the new spec is named; a removed one only when there is no other.
    let place = |change: &&Change| match change.resource() {
        _ if change.kind() != Some(R::Attr) => None,
        Some(key) => {
            let mut attrs = new.stored(R::Attr).iter();
            Some(attrs.position(|a| ResourceKey::of(R::Attr, a) == key).unwrap_or(usize::MAX - 1))
        }
        None => Some(usize::MAX),
    };
    // Changes come in the order of the table, so that those of one kind stand together.
    let first = closed.min_by_key(|change| (change.kind(), place(change)))?;
    Some(match (first, first.kind()) {
        (Change::Set { resource: None, property, .. }, _) => property.name.to_owned(),
        (_, Some(R::Attr)) => first.resource().map_or_else(|| R::Attr.name().to_owned(), |key| named(&key)),
        (_, kind) => kind.map_or("", R::name).to_owned(),
    })
}

fn named(attr: &ResourceKey) -> String {
    attr.text("name").map_or_else(|| attr.kind.name().to_owned(), |name| format!("{} {name}", attr.kind))
}

/// Says whether a holder of the authorization `config` may make a change.
fn is_open(change: &Change) -> bool {
    let delegable = |kind: R| kind == R::Attr && kind.def().props.iter().all(|p| p.delegable);
    let is_free = |key: &ResourceKey| key.text("name").is_some_and(words::is_free_attr);
    match change {
        Change::Set { resource: None, property, .. } => property.delegable,
        _ if !change.kind().is_some_and(delegable) => false,
        Change::Moved { old, new, .. } => {
            old.iter().filter(|k| !is_free(k)).eq(new.iter().filter(|k| !is_free(k)))
        }
        _ => change.resource().as_ref().is_some_and(is_free),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Value, schema};

    fn add(spec: &mut ZoneSpec, kind: R, pairs: &[(&str, &str)]) {
        let mut props = Props::default();
        for (name, text) in pairs {
            props.set(kind.def().prop(name).expect(name), Value::simple(*text));
        }
        spec.stored_mut(kind).push(props);
    }

    fn spec() -> ZoneSpec {
        let mut spec = ZoneSpec::new(ZoneName::new("zion").expect("a name"));
        spec.props.set(schema::global("zonepath").expect("a row"), Value::simple("/zones/zion"));
        add(&mut spec, R::Admin, &[("user", "ann"), ("auths", "login, manage")]);
        add(&mut spec, R::Admin, &[("user", "bob"), ("auths", "copyfrom,config")]);
        spec
    }

    #[test]
    fn each_user_has_what_the_spec_says() {
        use Auth::{CloneFrom, Config, Login, Manage};
        let spec = spec();
        let of = |user: &str| [Login, Manage, CloneFrom, Config].map(|a| has(&spec, user, a));
        assert_eq!(of("ann"), [true, true, false, false]);
        assert_eq!(of("bob"), [false, false, true, true]);
        for nobody in ["", "an", "ann ", "Ann", "root"] {
            assert_eq!(of(nobody), [false; 4], "{nobody:?}");
        }
        assert_eq!(Manage.on(&spec.name), "solaris.zone.manage/zion");
    }

    #[test]
    fn nothing_of_the_host_comes_in_by_config() {
        let old = spec();
        let with = |change: &dyn Fn(&mut ZoneSpec)| {
            let mut new = old.clone();
            change(&mut new);
            forbidden(&old, &new)
        };
        let set = |name: &'static str, value: &'static str| {
            move |s: &mut ZoneSpec| s.props.set(schema::global(name).expect(name), Value::simple(value))
        };
        assert_eq!(with(&|_| ()), None);
        for (name, value) in
            [("autoboot", "true"), ("bootargs", "-v"), ("hostid", "1"), ("autoshutdown", "halt")]
        {
            assert_eq!(with(&set(name, value)), None, "{name}");
        }
        for (name, value) in [("zonepath", "/"), ("limitpriv", "all"), ("brand", "x"), ("pool", "p")] {
            assert_eq!(with(&set(name, value)).as_deref(), Some(name));
        }
        // A value that says what holds anyway is no change.
        assert_eq!(with(&set("ip-type", "shared")), None);
        // Lists every kind of resource but one, so that a new kind is closed until it is opened on purpose.
        for kind in R::all().filter(|k| *k != R::Attr) {
            let first = kind.def().props.first().expect("a property");
            assert_eq!(with(&|s| add(s, kind, &[(first.name, "1")])).as_deref(), Some(kind.name()));
        }
        // A nested resource is as closed as the resource that holds it.
        let mut old_link = old.clone();
        add(&mut old_link, R::Anet, &[("linkname", "net0")]);
        let mut new_link = old_link.clone();
        new_link.stored_mut(R::Anet)[0].inner_mut(R::Mac).push(Props::default());
        assert_eq!(forbidden(&old_link, &new_link).as_deref(), Some("anet"));
        assert_eq!(with(&|s| s.stored_mut(R::Admin).clear()).as_deref(), Some("admin"));
        assert_eq!(with(&|s| s.stored_mut(R::Admin).reverse()).as_deref(), Some("admin"));
        assert_eq!(with(&|s| s.name = ZoneName::new("other").expect("a name")).as_deref(), Some("zonename"));
    }

    #[test]
    fn attributes_that_may_steer_the_host_are_closed() {
        let old = spec();
        let attr = |name: &str| {
            let mut new = old.clone();
            add(&mut new, R::Attr, &[("name", name), ("type", "string"), ("value", "x")]);
            (forbidden(&old, &new), forbidden(&new, &old))
        };
        for free in ["comment", "user-contact", "user-"] {
            assert_eq!(attr(free), (None, None), "{free}");
        }
        for name in [
            crate::plan::limits::BEST_EFFORT,
            words::POOL_ATTR,
            words::SPL_ATTR,
            crate::plan::confine::ALLOW,
            "Comment",
            "user",
        ] {
            let text = Some(format!("attr {name}"));
            assert_eq!(attr(name), (text.clone(), text));
        }
        // The message names the resource that is changed, not another one.
        let mut old = old.clone();
        add(&mut old, R::Attr, &[("name", "a"), ("type", "string"), ("value", "x")]);
        let mut new = old.clone();
        add(&mut new, R::Attr, &[("name", "b"), ("type", "string"), ("value", "x")]);
        assert_eq!(forbidden(&old, &new).as_deref(), Some("attr b"));
        let mut turned = new.clone();
        turned.stored_mut(R::Attr).reverse();
        assert_eq!(forbidden(&new, &turned).as_deref(), Some("attr"));
    }
}
