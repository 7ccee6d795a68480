//! The fake is held to the table of outcomes that the real library is held to.

use std::fs::File;
use std::os::fd::AsFd;

use serde_json::Value as Json;

use super::*;
use crate::zfs::{PropertySource, index_number, index_word};

/// Calls of the table that the operations do not make.
const OTHER_CALLS: [&str; 25] = [
    "bookmark",
    "bootenv",
    "change_key",
    "channel_program",
    "checkpoint",
    "checkpoint_discard",
    "destroy_bookmarks",
    "get_bookmark_props",
    "get_bookmarks",
    "inside",
    "load_key",
    "pool_props",
    "pool_stats",
    "receive",
    "received_props",
    "redact",
    "reopen",
    "rollback",
    "rollback_to",
    "send",
    "send_rest",
    "send_space",
    "send_space_resume",
    "snaprange_space",
    "unload_key",
];

/// Rows about keys, streams, space, descriptors and two pools in a hold, of which the fake knows nothing.
const OTHER_ROWS: &[&str] =
    &["key-", "redact-", "receive-", "program-did", "attach-no-n", "set-quota", "hold-bad-fd"];

type Row = serde_json::Map<String, Json>;

fn text<'a>(row: &'a Row, field: &str) -> &'a str {
    row.get(field).and_then(Json::as_str).unwrap_or_else(|| panic!("{}: no {field}", row["id"]))
}

fn props(row: &Row) -> List {
    let all = row.get("props").and_then(Json::as_object).into_iter().flatten();
    let value = |name: &str, v: &Json| match v {
        Json::String(word) if word.starts_with('=') => {
            NvValue::U64(index_number(name, &word[1..]).expect("a word"))
        }
        Json::String(text) => text.as_str().into(),
        other => NvValue::U64(other.as_u64().expect("a number")),
    };
    all.map(|(name, v)| (name.clone(), value(name, v))).collect()
}

fn word<E: Meaning>(done: Result<String, E>) -> String {
    done.map_or_else(
        |e| e.name().to_owned(),
        |value| if value.is_empty() { "ok".to_owned() } else { format!("ok:{value}") },
    )
}

fn one<E: Meaning>(done: Result<(), E>) -> String {
    word(done.map(|()| String::new()))
}

fn each<E: Meaning>(kind: &str, done: Result<(), Batch<E>>) -> String {
    done.map_or_else(
        |batch| {
            let mut names: Vec<_> = batch.errors.iter().map(|(_, e)| e.name()).collect();
            names.sort_unstable();
            format!("{kind}[{}]", names.join(","))
        },
        |()| "ok".to_owned(),
    )
}

fn list(walk: DatasetWalk<'_>) -> String {
    let names = walk.map(|d| d.map(|d| d.name)).collect::<Result<Vec<_>, _>>();
    word(names.map(|names| names.join(" ")))
}

fn property(zfs: &FakeZfs, name: &str, property: &str) -> Result<String, DatasetError> {
    let d = zfs.dataset(name)?;
    let value = match property {
        "mountpoint" => match d.mountpoint() {
            crate::zfs::Mountpoint::Path(path) => path,
            other => format!("{other:?}"),
        },
        "origin" => d.origin.clone().unwrap_or_default(),
        _ => match d.text(property) {
            Some(text) => text.to_owned(),
            None => {
                let number = d.number(property).expect("a number");
                index_word(property, number).unwrap_or_else(|| number.to_string())
            }
        },
    };
    let source = match d.source(property) {
        PropertySource::Inherited(from) => format!("Inherited({from})"),
        other => format!("{other:?}"),
    };
    Ok(format!("{value} {source}"))
}

/// Makes the call of a row; none where the fake has no such call.
fn call(zfs: &FakeZfs, row: &Row) -> Option<String> {
    let name = || text(row, "name");
    let snaps =
        || -> Vec<&str> { row["snaps"].as_array().into_iter().flatten().filter_map(Json::as_str).collect() };
    let namespace = File::open("/dev/null").expect("a descriptor");
    let namespace = namespace.as_fd();
    let kind = match row.get("kind").and_then(Json::as_str) {
        Some("zvol") => DatasetKind::Volume,
        _ => DatasetKind::Filesystem,
    };
    let defer = row.get("defer").and_then(Json::as_bool).unwrap_or(false);
    Some(match text(row, "call") {
        "create" => one(zfs.create(name(), kind, &props(row), None)),
        "clone" => one(zfs.clone(name(), text(row, "origin"), &props(row))),
        "promote" => one(zfs.promote(name())),
        "rename" => one(zfs.rename(name(), text(row, "to"))),
        "destroy" => one(zfs.destroy(name())),
        "exists" => format!("ok:{}", zfs.dataset(name()).is_ok()),
        "snapshot" => each("SnapshotFailure", zfs.snapshot(&snaps(), &props(row))),
        "destroy_snaps" => each("SnapshotDestructionFailure", zfs.destroy_snaps(&snaps(), defer)),
        "get_holds" => word(zfs.get_holds(name()).map(|h| h.into_keys().collect::<Vec<_>>().join(" "))),
        "set_props" => each("SetPropFailure", zfs.set_props(name(), &props(row))),
        "inherit" => {
            let received = row.get("received").and_then(Json::as_bool).unwrap_or(false);
            one(zfs.inherit(name(), text(row, "prop"), received))
        }
        "children" => list(zfs.children(name())),
        "snapshots" => list(zfs.snapshots(name(), false)),
        "dataset" => word(property(zfs, name(), text(row, "prop"))),
        "pools" => word(zfs.pools().map(|pools| pools.into_keys().collect::<Vec<_>>().join(" "))),
        "attach" => one(zfs.userns_attach(name(), namespace)),
        "detach" => one(zfs.userns_detach(name(), namespace)),
        _ => return None,
    })
}

#[test]
fn the_fake_answers_as_the_real_one() {
    let zfs = FakeZfs::new(&["tank", "dozer"]);
    let table = include_str!("../../../tests/zfs/cases.jsonl").replace("LONG", &"x".repeat(300));
    let (mut made, mut wrong) = (0, Vec::new());
    for line in table.lines().filter(|line| line.starts_with('{')) {
        let row: Row = serde_json::from_str(line).expect("a row");
        let id = text(&row, "id");
        // A person makes these calls beside the operation.
        match id {
            "destroy-mount" => zfs.mounted_for("tank/p/q", u32::MAX),
            "destroy-unmount" => zfs.mounted_for("tank/p/q", 0),
            "hold" => zfs.held("tank/u@1", "tag"),
            "hold-missing" => zfs.held("tank/u@1", "tag2"),
            "release" => ["tag", "tag2"].iter().for_each(|tag| zfs.released("tank/u@1", tag)),
            _ => {}
        }
        let other = OTHER_CALLS.contains(&text(&row, "call")) || OTHER_ROWS.iter().any(|r| id.starts_with(r));
        let Some(found) = Some(()).filter(|()| !other).and_then(|()| call(&zfs, &row)) else { continue };
        made += 1;
        let expected = text(&row, "expect");
        if found != expected && !(found == "ok" && expected == "ok:") {
            wrong.push(format!("{id}: {found} and not {expected}"));
        }
    }
    assert!(made > 90, "only {made} rows");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_fault_is_at_each_call_once() {
    let make = || FakeZfs::new(&["tank"]);
    let deed = |zfs: &FakeZfs| {
        let first = zfs.create("tank/a", DatasetKind::Filesystem, &List::new(), None);
        first.is_ok() && zfs.snapshot(&["tank/a@1"], &List::new()).is_ok()
    };
    let calls = with_each_fault(make, deed, |failed, before, zfs, done| {
        let left = match failed {
            None => "tank\ntank/a\ntank/a@1\n",
            Some("create tank/a") => before,
            Some(_) => "tank\ntank/a\n",
        };
        assert_eq!((zfs.state().as_str(), done), (left, failed.is_none()), "{failed:?}");
    });
    assert_eq!(calls, ["create tank/a", "snapshot tank/a@1"]);
}
