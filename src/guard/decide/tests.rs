use proptest::prelude::*;

use super::*;
use crate::guard::DelegatedDataset;

fn locks() -> Locks {
    let list = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
    let tree = DelegatedDataset {
        name: "tank/z/a".to_owned(),
        root: list(&["quota", "reservation", "sharenfs"]),
        below: list(&["sharenfs"]),
    };
    Locks { trees: vec![tree.clone(), DelegatedDataset { name: "tank/z/b".to_owned(), ..tree }] }
}

fn request(call: Checked, name: &str) -> CheckedRequest {
    let (value, origin) = (String::new(), String::new());
    CheckedRequest { call, name: name.to_owned(), value, origin, cookie: 0, arguments: None, local: None }
}

fn list(names: &[&str]) -> List {
    names.iter().map(|n| ((*n).to_owned(), NvValue::U64(1))).collect()
}

/// Returns "ok" with the properties left out, or error number and reason.
fn told(request: CheckedRequest, target: &[&str]) -> String {
    let target = ReceiveTarget { set: target.iter().map(|n| (*n).to_owned()).collect() };
    match decide(request, &locks(), &target) {
        Verdict::Perform { left_out, .. } if left_out.is_empty() => "ok".to_owned(),
        Verdict::Perform { left_out, .. } => format!("ok without {}", left_out.join(" ")),
        Verdict::Refuse { error: Error::NotPermitted, reason } => format!("EPERM {reason}"),
        Verdict::Refuse { error: Error::NotFound, reason } => format!("ENOENT {reason}"),
        Verdict::Refuse { error: Error::Invalid, reason } => format!("EINVAL {reason}"),
    }
}

#[test]
fn set() {
    let set = |name: &str, props: &[&str]| {
        told(CheckedRequest { arguments: Some(list(props)), ..request(Checked::SetProp, name) }, &[])
    };
    assert_eq!(set("tank/z/a", &["compression"]), "ok");
    assert_eq!(set("tank/z/a", &["compression", "reservation"]), "EPERM property reservation is locked");
    assert_eq!(set("tank/z/a", &["RESERV"]), "EPERM property RESERV is locked");
    assert_eq!(set("tank/z/a/x", &["reservation"]), "ok");
    assert_eq!(set("tank/z/a/x", &["sharenfs"]), "EPERM property sharenfs is locked");
    assert_eq!(set("tank/z/a/x@s", &["org:x"]), "ok");
    assert_eq!(set("tank/z", &["compression"]), "EPERM tank/z is above what is delegated to the zone");
    assert_eq!(set("tank/y", &["compression"]), "ENOENT tank/y is not delegated to the zone");
    let received = CheckedRequest { cookie: 1, ..request(Checked::SetProp, "tank/z/a") };
    assert_eq!(told(received, &[]), "EPERM properties cannot be set as received ones");
    assert_eq!(told(request(Checked::SetProp, "tank/z/a"), &[]), "ok");
}

#[test]
fn rename_into_a_tree_with_further_locks() {
    let mut locks = locks();
    locks.trees[1].below.push("compression".to_owned());
    locks.trees[1].root.push("compression".to_owned());
    let rename = |name: &str, to: &str| {
        let request = CheckedRequest { value: to.to_owned(), ..request(Checked::Rename, name) };
        match decide(request, &locks, &ReceiveTarget::default()) {
            Verdict::Perform { .. } => "ok".to_owned(),
            Verdict::Refuse { reason, .. } => reason.to_string(),
        }
    };
    assert_eq!(rename("tank/z/a/x", "tank/z/b/x"), "property compression is locked");
    for (from, to) in [
        ("tank/z/b/x", "tank/z/a/x"),
        ("tank/z/b/x", "tank/z/b/y"),
        ("tank/z/b@1", "tank/z/b@2"),
        ("tank/z/a/x", "tank/z/a/y"),
    ] {
        assert_eq!(rename(from, to), "ok", "{from} {to}");
    }
}

#[test]
fn inherit() {
    let inherit = |name: &str, property: &str, cookie: u64| {
        let value = property.to_owned();
        told(CheckedRequest { value, cookie, ..request(Checked::Inherit, name) }, &[])
    };
    for received in [0, 1] {
        assert_eq!(inherit("tank/z/a", "quota", received), "EPERM property quota is locked");
        assert_eq!(inherit("tank/z/a", "atime", received), "ok");
        assert_eq!(inherit("tank/z/a/x", "quota", received), "ok");
    }
}

#[test]
fn birth() {
    let with = |call, name: &str, key: &str, value: NvValue| {
        let arguments: List = [(key, value), ("origin", "tank/z/b/x@s".into())].into();
        told(CheckedRequest { arguments: Some(arguments), ..request(call, name) }, &[])
    };
    for call in [Checked::Create, Checked::Clone, Checked::ChangeKey] {
        assert_eq!(with(call, "tank/z/a/x", "props", NvValue::List(list(&["quota"]))), "ok");
        let shared = with(call, "tank/z/a/x", "props", NvValue::List(list(&["SHARENFS"])));
        assert_eq!(shared, "EPERM property SHARENFS is locked");
        assert!(with(call, "tank/z/a/x", "props", NvValue::U64(1)).starts_with("EINVAL"));
        assert!(with(call, "tank/y", "props", NvValue::List(List::new())).starts_with("ENOENT"));
    }
    assert!(with(Checked::Clone, "tank/z/a/x", "origin2", NvValue::U64(1)) == "ok");
    let origin = |name: &str| {
        let arguments: List = [("origin", name)].into();
        told(CheckedRequest { arguments: Some(arguments), ..request(Checked::Clone, "tank/z/a/x") }, &[])
    };
    assert_eq!(origin("tank/z/a/y@s"), "ok");
    assert!(origin("tank/y@s").starts_with("ENOENT"));
    assert!(origin("tank/z@s").starts_with("EPERM"));
    assert!(told(request(Checked::Clone, "tank/z/a/x"), &[]).starts_with("EINVAL"));
}

#[test]
fn the_delegated_dataset_stays() {
    let destroy = |name: &str| told(request(Checked::Destroy, name), &[]);
    let rename = |name: &str, to: &str| {
        told(CheckedRequest { value: to.to_owned(), ..request(Checked::Rename, name) }, &[])
    };
    let root = "EPERM it is delegated to the zone, or holds a dataset that is";
    assert_eq!(destroy("tank/z/a"), root);
    assert_eq!(destroy("tank/z/a@s"), "ok");
    assert_eq!(destroy("tank/z/a/x"), "ok");
    assert!(destroy("tank/z").starts_with("EPERM") && destroy("tank/y").starts_with("ENOENT"));
    assert_eq!(rename("tank/z/a", "tank/z/b/a"), root);
    assert_eq!(rename("tank/z/a@s", "tank/z/a@t"), "ok");
    assert_eq!(rename("tank/z/a/x", "tank/z/b/x"), "ok");
    assert!(rename("tank/z/a/x", "tank/z/x").starts_with("ENOENT"));
    assert!(rename("tank/z/a/x", "tank/z").starts_with("EPERM"));
    let outer = DelegatedDataset { name: "tank".to_owned(), ..DelegatedDataset::default() };
    let mut nested = locks();
    nested.trees.push(outer);
    let over = decide(request(Checked::Destroy, "tank/z"), &nested, &ReceiveTarget::default());
    assert!(matches!(over, Verdict::Refuse { reason: DenialReason::Root, .. }));
}

#[test]
fn streams() {
    let new = |snapshot: &str, props: Option<&[&str]>, by_hand: &[(&str, NvValue)], set: &[&str]| {
        let mut arguments: List = [("snapname", snapshot)].into();
        if let Some(props) = props {
            arguments.insert("props", NvValue::List(list(props)));
        }
        if !by_hand.is_empty() {
            let local = by_hand.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect();
            arguments.insert("localprops", NvValue::List(local));
        }
        let one = CheckedRequest { arguments: Some(arguments), ..request(Checked::ReceiveNew, "tank/z/a") };
        told(one, set)
    };
    let old = |snapshot: &str, props: Option<&[&str]>, by_hand: &[(&str, NvValue)], set: &[&str]| {
        let local = (!by_hand.is_empty())
            .then(|| by_hand.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect());
        let value = snapshot.to_owned();
        let arguments = props.map(list);
        told(CheckedRequest { value, arguments, local, ..request(Checked::Receive, "tank/z/a") }, set)
    };
    type Way<'a> = &'a dyn Fn(&str, Option<&[&str]>, &[(&str, NvValue)], &[&str]) -> String;
    for way in [&new as Way<'_>, &old] {
        assert_eq!(way("tank/z/a/x@s", None, &[], &[]), "ok");
        assert_eq!(way("tank/z/a/x@s", Some(&["atime", "quota"]), &[], &["atime"]), "ok");
        let shared = way("tank/z/a/x@s", Some(&["atime", "sharenfs", "zoned"]), &[], &[]);
        assert_eq!(shared, "ok without sharenfs zoned");
        // The receive would remove a locked property that is set there.
        let kept = way("tank/z/a@s", Some(&["atime"]), &[], &["quota", "atime"]);
        assert_eq!(kept, "ok without atime");
        assert_eq!(way("tank/z/a/x@s", None, &[("atime", NvValue::U64(0))], &[]), "ok");
        let given = way("tank/z/a/x@s", None, &[("sharenfs", "on".into())], &[]);
        assert_eq!(given, "EPERM property sharenfs is locked");
        assert_eq!(way("tank/z/a/x@s", None, &[("sharenfs", NvValue::Present)], &[]), "ok");
        // The first name is the zone's own, the second is not.
        assert!(way("tank/y@s", None, &[], &[]).starts_with("ENOENT"));
        assert!(way("tank/z@s", None, &[], &[]).starts_with("EPERM"));
    }
    let legacy = |origin: &str| {
        let (value, origin) = ("tank/z/a/x@s".to_owned(), origin.to_owned());
        told(CheckedRequest { value, origin, ..request(Checked::Receive, "tank/z/a") }, &[])
    };
    assert_eq!(legacy("tank/z/b@s"), "ok");
    assert!(legacy("tank/y@s").starts_with("ENOENT"));
}

#[test]
fn nothing_is_left_of_what_would_take_away() {
    let set = ReceiveTarget { set: ["quota".to_owned()].into() };
    let arguments = Some(list(&["atime"]));
    let value = "tank/z/a@s".to_owned();
    let one = CheckedRequest { value, arguments, ..request(Checked::Receive, "tank/z/a") };
    assert_eq!(one.received_into(), Some("tank/z/a"));
    let Verdict::Perform { request, .. } = decide(one, &locks(), &set) else { panic!("it is performed") };
    assert_eq!(request.arguments, None);
    let arguments: List =
        [("snapname", NvValue::from("tank/z/a@s")), ("props", NvValue::List(list(&["atime"])))].into();
    let one = CheckedRequest { arguments: Some(arguments), ..self::request(Checked::ReceiveNew, "tank/z/a") };
    assert_eq!(one.received_into(), Some("tank/z/a"));
    let Verdict::Perform { request, .. } = decide(one, &locks(), &set) else { panic!("it is performed") };
    assert!(!request.arguments.is_some_and(|a| a.contains("props")));
}

#[test]
fn waiting_is_reading() {
    for (name, wanted) in [("tank/z/a/x", "ok"), ("tank/z", "ok"), ("tank/y", "ENOENT")] {
        assert!(told(request(Checked::WaitFs, name), &[]).starts_with(wanted), "{name}");
    }
}

const CALLS: [Checked; 10] = [
    Checked::SetProp,
    Checked::Inherit,
    Checked::Create,
    Checked::Clone,
    Checked::Receive,
    Checked::ReceiveNew,
    Checked::Destroy,
    Checked::Rename,
    Checked::WaitFs,
    Checked::ChangeKey,
];

fn name() -> impl Strategy<Value = String> {
    const NAMES: &[&str] =
        &["tank", "tank/z", "tank/z/a", "tank/z/a/x", "tank/z/b", "tank/z/b/y/z", "tank/y", "x", ""];
    const ENDS: &[&str] = &["", "", "@s", "#b", "/"];
    (prop::sample::select(NAMES), prop::sample::select(ENDS)).prop_map(|(n, e)| format!("{n}{e}"))
}

fn property() -> impl Strategy<Value = String> {
    const NAMES: &[&str] = &[
        "quota",
        "QUOTA",
        "reserv",
        "reservation",
        "sharenfs",
        "ShareNFS",
        "zoned",
        "zoned_uid",
        "atime",
        "a:b",
    ];
    prop::sample::select(NAMES).prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = NvValue> {
    prop_oneof![Just(NvValue::Present), Just(NvValue::U64(1)), Just(NvValue::from("on"))]
}

fn properties() -> impl Strategy<Value = List> {
    prop::collection::vec((property(), value()), 0..4).prop_map(|v| v.into_iter().collect())
}

prop_compose! {
    fn requests()(
        call in prop::sample::select(&CALLS[..]),
        name in name(), second in name(), origin in name(), property in property(), as_property in any::<bool>(),
        cookie in 0u64..2, bare in prop::option::of(properties()), props in prop::option::of(properties()),
        local in prop::option::of(properties()), wrong in 0u8..8,
    ) -> CheckedRequest {
        let mut arguments = bare.unwrap_or_default();
        if call != Checked::SetProp && call != Checked::Receive {
            arguments = List::new();
            arguments.insert("snapname", second.as_str());
            if wrong != 1 {
                arguments.insert("origin", origin.as_str());
            }
            if let Some(props) = props {
                arguments.insert("props", if wrong == 2 { NvValue::U64(0) } else { NvValue::List(props) });
            }
            if let Some(local) = &local {
                arguments.insert("localprops", NvValue::List(local.clone()));
            }
        }
        let value = if as_property { property } else { second };
        let arguments = (wrong != 3).then_some(arguments);
        CheckedRequest { call, name, value, origin, cookie, arguments, local }
    }
}

proptest! {
    #[test]
    fn what_is_locked_is_never_performed(request in requests(), set in prop::collection::btree_set(property(), 0..3)) {
        let locks = locks();
        let before = request.clone();
        let Verdict::Perform { request: done, .. } = decide(request, &locks, &ReceiveTarget { set: set.clone() }) else {
            return Ok(());
        };
        // All but lists is as it was.
        let same = CheckedRequest { arguments: before.arguments.clone(), local: before.local.clone(), ..done.clone() };
        prop_assert_eq!(&same, &before);
        let place = locks.place(&done.name);
        let writable = |p: &DatasetPosition<'_>| matches!(p, DatasetPosition::Root(_) | DatasetPosition::Below(_));
        prop_assert!(writable(&place) || done.call == Checked::WaitFs);
        let arguments = done.arguments.clone().unwrap_or_default();
        let none = |list: Option<&List>, place: DatasetPosition<'_>| {
            list.is_none_or(|l| l.names().all(|n| !place.locks(n)))
        };
        match done.call {
            Checked::SetProp => prop_assert!(none(Some(&arguments), place) && done.cookie == 0),
            Checked::Inherit => prop_assert!(!place.locks(&done.value)),
            Checked::Create | Checked::Clone | Checked::ChangeKey => {
                prop_assert!(none(arguments.list("props"), place));
            }
            Checked::Receive | Checked::ReceiveNew => {
                let legacy = done.call == Checked::Receive;
                let snapshot = if legacy { done.value.as_str() } else { arguments.str("snapname").unwrap_or_default() };
                let place = locks.place(snapshot);
                prop_assert!(writable(&place));
                let (props, local) = if legacy {
                    (done.arguments.as_ref(), done.local.as_ref())
                } else {
                    (arguments.list("props"), arguments.list("localprops"))
                };
                prop_assert!(none(props, place) && none(local, place));
                prop_assert!(props.is_none() || set.iter().all(|p| !place.locks(p)));
            }
            Checked::Destroy | Checked::Rename => {
                prop_assert!(done.name.contains(['@', '#']) || !locks.holds_root(&done.name));
                prop_assert!(done.call == Checked::Destroy || writable(&locks.place(&done.value)));
            }
            Checked::WaitFs => prop_assert!(place != DatasetPosition::Outside),
        }
    }
}
