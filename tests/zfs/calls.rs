//! Makes the calls of the table and puts each outcome into words.

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};

use serde_json::Value as Json;
use zones::zfs::error::{Batch, Meaning};
use zones::zfs::nvlist::{List, NvValue};
use zones::zfs::*;

use super::Case;

/// Every call that the table may name.
pub const NAMES: &[&str] = &[
    "sh",
    "create",
    "clone",
    "promote",
    "rename",
    "destroy",
    "exists",
    "snapshot",
    "destroy_snaps",
    "bookmark",
    "get_bookmarks",
    "get_bookmark_props",
    "destroy_bookmarks",
    "hold",
    "release",
    "get_holds",
    "snaprange_space",
    "rollback",
    "rollback_to",
    "send",
    "send_space",
    "receive",
    "load_key",
    "unload_key",
    "change_key",
    "channel_program",
    "sync",
    "reopen",
    "checkpoint",
    "checkpoint_discard",
    "dataset",
    "set_props",
    "inherit",
    "children",
    "snapshots",
    "received_props",
    "pools",
    "pool_props",
    "pool_stats",
    "wait",
    "bootenv",
    "vdev_props",
    "attach",
    "detach",
    "inside",
    "redact",
    "send_rest",
    "send_space_resume",
    "wait_fs",
];

/// The opened ZFS, and a process in a user namespace of its own.
pub struct Machine {
    zfs: Zfs,
    zone: Child,
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.zone.kill();
        let _ = self.zone.wait();
    }
}

/// The words for an outcome.
trait Outcome {
    fn words(self) -> String;
}

impl<E: Meaning> Outcome for Result<String, E> {
    fn words(self) -> String {
        match self {
            Ok(value) => format!("ok:{value}"),
            Err(e) => {
                assert!(!e.to_string().is_empty());
                e.name().to_owned()
            }
        }
    }
}

impl<E: Meaning> Outcome for Result<(), E> {
    fn words(self) -> String {
        self.map_or_else(|e| e.name().to_owned(), |()| "ok".to_owned())
    }
}

fn batch<E: Meaning>(kind: &str, done: Result<String, Batch<E>>) -> String {
    match done {
        Ok(value) if value.is_empty() => "ok".to_owned(),
        Ok(value) => value,
        Err(batch) => {
            assert!(batch.to_string().starts_with("cannot "));
            let mut names: Vec<&str> = batch.errors.iter().map(|(_, e)| e.name()).collect();
            names.sort_unstable();
            format!("{kind}[{}]", names.join(","))
        }
    }
}

fn join<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.into_iter().collect();
    names.sort_unstable();
    names.join(" ")
}

fn text<'a>(case: &'a Case, field: &str) -> &'a str {
    case.get(field).and_then(Json::as_str).unwrap_or_else(|| panic!("{}: no {field}", case["id"]))
}

fn flag(case: &Case, field: &str) -> bool {
    case.get(field).and_then(Json::as_bool).unwrap_or(false)
}

fn strings<'a>(case: &'a Case, field: &str) -> Vec<&'a str> {
    case.get(field).and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).collect()
}

fn pairs<'a>(case: &'a Case, field: &str) -> Vec<(&'a str, &'a Json)> {
    case.get(field).and_then(Json::as_object).into_iter().flatten().map(|(k, v)| (k.as_str(), v)).collect()
}

/// Properties; a text that begins with `=` is a word for which the kernel keeps a number.
fn props(case: &Case, field: &str) -> List {
    let value = |name: &str, v: &Json| match v {
        Json::String(word) if word.starts_with('=') => {
            NvValue::U64(index_number(name, &word[1..]).unwrap_or_else(|| panic!("{name}{word}")))
        }
        Json::String(text) => NvValue::from(text.as_str()),
        Json::Number(n) => NvValue::U64(n.as_u64().expect("an unsigned number")),
        other => panic!("{name}: {other}"),
    };
    pairs(case, field).into_iter().map(|(name, v)| (name.to_owned(), value(name, v))).collect()
}

fn key(case: &Case) -> Option<Vec<u8>> {
    let hex = case.get("key")?.as_str()?;
    Some((0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hex")).collect())
}

fn send_flags(case: &Case) -> SendFlags {
    strings(case, "flags").into_iter().fold(SendFlags::empty(), |all, name| {
        all | match name {
            "embedded_data" => SendFlags::EMBEDDED,
            "large_blocks" => SendFlags::LARGE_BLOCKS,
            "compress" => SendFlags::COMPRESSED,
            "raw" => SendFlags::RAW,
            other => panic!("{other}"),
        }
    })
}

fn open(path: &str) -> File {
    File::open(path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Numbers that depend on the machine.
fn number(_: u64) -> String {
    "number".to_owned()
}

impl Machine {
    pub fn new(library: bool) -> Self {
        let zfs = Zfs::open().unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(zfs.library_trouble().is_none(), library, "{:?}", zfs.library_trouble());
        let mut zone = Command::new("unshare");
        zone.args(["--user", "--map-root-user", "sh", "-c", "echo; exec sleep 3600"]).stdout(Stdio::piped());
        let mut zone = zone.spawn().expect("unshare");
        // A line says that the namespace is there.
        let mut ready = [0u8];
        std::io::Read::read_exact(zone.stdout.as_mut().expect("a pipe"), &mut ready).expect("a line");
        Self { zfs, zone }
    }

    fn namespace(&self, case: &Case) -> File {
        let own = format!("/proc/{}/ns/user", self.zone.id());
        open(case.get("namespace").and_then(Json::as_str).unwrap_or(&own))
    }

    pub fn call(&mut self, case: &Case) -> String {
        let call = text(case, "call");
        self.datasets(call, case)
            .or_else(|| self.snapshots(call, case))
            .or_else(|| self.streams(call, case))
            .or_else(|| self.pools(call, case))
            .or_else(|| self.requests(call, case))
            .unwrap_or_else(|| panic!("unknown call {call}"))
    }

    fn datasets(&self, call: &str, case: &Case) -> Option<String> {
        let zfs = &self.zfs;
        let key = key(case);
        let name = || text(case, "name");
        Some(match call {
            "sh" => {
                let status = Command::new("sh").args(["-c", text(case, "command")]).status().expect("sh");
                if status.success() { "ok".to_owned() } else { status.to_string() }
            }
            "create" => {
                let volume = case.get("kind").and_then(Json::as_str) == Some("zvol");
                let kind = if volume { DatasetKind::Volume } else { DatasetKind::Filesystem };
                zfs.create(name(), kind, &props(case, "props"), key.as_deref()).words()
            }
            "clone" => zfs.clone(name(), text(case, "origin"), &props(case, "props")).words(),
            "promote" => zfs.promote(name()).words(),
            "rename" => zfs.rename(name(), text(case, "to")).words(),
            "destroy" => zfs.destroy(name()).words(),
            "exists" => zfs.exists(name()).map(|b| b.to_string()).words(),
            "load_key" => zfs.load_key(name(), flag(case, "noop"), &key.expect("a key")).words(),
            "unload_key" => zfs.unload_key(name()).words(),
            "change_key" => {
                let change = match text(case, "change") {
                    "new_key" => KeyChange::NewKey,
                    "inherit" => KeyChange::Inherit,
                    other => panic!("{other}"),
                };
                zfs.change_key(name(), change, &props(case, "props"), key.as_deref()).words()
            }
            _ => return None,
        })
    }

    fn snapshots(&self, call: &str, case: &Case) -> Option<String> {
        let zfs = &self.zfs;
        let name = || text(case, "name");
        let snaps = strings(case, "snaps");
        let done = |()| String::new();
        Some(match call {
            "snapshot" => batch("SnapshotFailure", zfs.snapshot(&snaps, &props(case, "props")).map(done)),
            "destroy_snaps" => {
                batch("SnapshotDestructionFailure", zfs.destroy_snaps(&snaps, flag(case, "defer")).map(done))
            }
            "bookmark" => {
                let list = pairs(case, "bookmarks");
                let list: Vec<_> = list.iter().map(|(b, s)| (*b, s.as_str().expect("a source"))).collect();
                batch("BookmarkFailure", zfs.bookmark(&list).map(done))
            }
            "get_bookmarks" => {
                let done = zfs.get_bookmarks(name(), &strings(case, "props"));
                let word =
                    |(b, p): (&String, &List)| format!("{b}({})", p.names().collect::<Vec<_>>().join(","));
                done.map(|all| all.iter().map(word).collect::<Vec<_>>().join(" ")).words()
            }
            "get_bookmark_props" => {
                let done = zfs.get_bookmark_props(name());
                done.map(|p| p.u64(text(case, "prop")).map(number).unwrap_or_default()).words()
            }
            "destroy_bookmarks" => batch(
                "BookmarkDestructionFailure",
                zfs.destroy_bookmarks(&strings(case, "bookmarks")).map(done),
            ),
            "hold" => {
                let holds = pairs(case, "holds");
                let holds: Vec<_> = holds.iter().map(|(s, t)| (*s, t.as_str().expect("a tag"))).collect();
                let cleanup = case.get("cleanup").and_then(Json::as_str);
                let cleanup =
                    cleanup.map(|p| OpenOptions::new().read(true).write(true).open(p).expect("a device"));
                let done = zfs.hold(&holds, cleanup.as_ref().map(AsFd::as_fd));
                batch("HoldFailure", done.map(|none| format!("ok:{}", join(none.iter().map(String::as_str)))))
            }
            "release" => {
                let holds = pairs(case, "holds");
                let tags = |t: &'_ Json| -> Vec<String> {
                    t.as_array().into_iter().flatten().filter_map(|t| Some(t.as_str()?.to_owned())).collect()
                };
                let owned: Vec<_> = holds.iter().map(|(s, t)| (*s, tags(t))).collect();
                let lists: Vec<(&str, Vec<&str>)> =
                    owned.iter().map(|(s, t)| (*s, t.iter().map(String::as_str).collect())).collect();
                let holds: Vec<(&str, &[&str])> = lists.iter().map(|(s, t)| (*s, &t[..])).collect();
                let done = zfs.release(&holds);
                batch(
                    "HoldReleaseFailure",
                    done.map(|none| format!("ok:{}", join(none.iter().map(String::as_str)))),
                )
            }
            "get_holds" => zfs.get_holds(name()).map(|all| join(all.keys().map(String::as_str))).words(),
            "snaprange_space" => {
                zfs.snaprange_space(text(case, "first"), text(case, "last")).map(number).words()
            }
            "rollback" => zfs.rollback(name()).words(),
            "rollback_to" => zfs.rollback_to(name(), text(case, "snapshot")).words(),
            _ => return None,
        })
    }

    fn streams(&self, call: &str, case: &Case) -> Option<String> {
        let zfs = &self.zfs;
        let mut what = Send::new(case.get("snapshot").and_then(Json::as_str).unwrap_or_default());
        if let Some(from) = case.get("from").and_then(Json::as_str) {
            what = what.from(from);
        }
        what = what.flags(send_flags(case));
        if let Some([object, offset]) = case.get("resume").and_then(Json::as_array).map(Vec::as_slice) {
            what = what.resume(object.as_u64().expect("an object"), offset.as_u64().expect("an offset"));
        }
        if let Some(bookmark) = case.get("redactions").and_then(Json::as_str) {
            what = what.redacted(bookmark);
        }
        Some(match call {
            "redact" => {
                zfs.redact(text(case, "snapshot"), text(case, "bookmark"), &strings(case, "clones")).words()
            }
            "send_space_resume" => {
                let token = self.token(case);
                zfs.send_space(&token.send(), token.bytes).map(number).words()
            }
            "send_rest" => {
                let file = File::create(text(case, "file")).expect("a file");
                zfs.send(&self.token(case).send(), file.as_fd()).words()
            }
            "send" => {
                let file =
                    OpenOptions::new().write(true).create(true).truncate(true).open(text(case, "file"));
                zfs.send(&what, file.expect("a file").as_fd()).words()
            }
            "send_space" => zfs.send_space(&what, 0).map(number).words(),
            "receive" => self.receive(case),
            _ => return None,
        })
    }

    /// What an interrupted receive left behind.
    fn token(&self, case: &Case) -> ResumeToken {
        let dataset = self.zfs.dataset(text(case, "name")).expect("a dataset");
        dataset.text("receive_resume_token").expect("a token").parse().expect("a token that can be read")
    }

    fn receive(&self, case: &Case) -> String {
        let zfs = &self.zfs;
        let mut file = open(text(case, "file"));
        let how = case.get("how").and_then(Json::as_str).unwrap_or("receive");
        let header = matches!(how, "header" | "one" | "cmdprops" | "heal")
            .then(|| StreamHeader::read(&mut file).expect("a header"));
        let (props, cmdprops) = (props(case, "props"), props(case, "cmdprops"));
        let mut receive =
            Receive::new(text(case, "snapshot"), file.as_fd()).props(&props).cmdprops(&cmdprops);
        if let Some(header) = &header {
            assert!(header.name().contains('@') && header.guid() != 0);
            receive = receive.header(header);
        }
        if flag(case, "force") {
            receive = receive.force();
        }
        if how == "resumable" {
            receive = receive.resumable();
        }
        let report = |r: ReceiveReport| assert!(r.bytes > 0 && r.properties.is_empty(), "{r:?}");
        match how {
            "receive" | "resumable" => zfs.receive(&receive).words(),
            "header" => zfs.receive_with_header(&receive).words(),
            "one" => zfs.receive_one(&receive).map(report).words(),
            "cmdprops" => zfs.receive_with_cmdprops(&receive).map(report).words(),
            "heal" => zfs.receive_with_heal(&receive.heal()).map(report).words(),
            other => panic!("{other}"),
        }
    }

    fn pools(&self, call: &str, case: &Case) -> Option<String> {
        let zfs = &self.zfs;
        let pool = || text(case, "pool");
        let limit = |field: &str, usual: u64| case.get(field).and_then(Json::as_u64).unwrap_or(usual);
        let one = |list: List| {
            let prop = list.get(text(case, "prop")).cloned();
            let value = prop.and_then(|p| p.as_u64().or_else(|| p.as_list()?.u64("value")));
            value.map(number).unwrap_or_default()
        };
        Some(match call {
            "channel_program" => {
                let argv = if case.contains_key("argv") { strings(case, "argv") } else { vec!["-"] };
                let argv = argv.iter().map(|a| a.as_bytes().to_vec()).collect();
                let args: List = [("argv", NvValue::Texts(argv))].into();
                let (instructions, memory) =
                    (limit("instructions", ZCP_INSTRUCTIONS), limit("memory", ZCP_MEMORY));
                let program = text(case, "program");
                let done = if flag(case, "nosync") {
                    zfs.channel_program_nosync(pool(), program, instructions, memory, &args)
                } else {
                    zfs.channel_program(pool(), program, instructions, memory, &args)
                };
                let word = |v: NvValue| match v {
                    NvValue::I64(n) => n.to_string(),
                    NvValue::Bool(b) => b.to_string(),
                    NvValue::Text(t) => String::from_utf8_lossy(&t).into_owned(),
                    other => format!("{other:?}"),
                };
                done.map(|v| v.map(word).unwrap_or_default()).words()
            }
            "sync" => zfs.sync(pool(), flag(case, "force")).words(),
            "reopen" => zfs.reopen(pool(), true).words(),
            "checkpoint" => zfs.pool_checkpoint(pool()).words(),
            "checkpoint_discard" => zfs.pool_checkpoint_discard(pool()).words(),
            "pools" => zfs.pools().map(|all| join(all.keys().map(String::as_str))).words(),
            "pool_props" => zfs.pool_props(pool()).map(one).words(),
            "pool_stats" => zfs.pool_stats(pool()).map(one).words(),
            "wait" => zfs.wait(pool(), PoolActivity::Scrub, None).map(|b| b.to_string()).words(),
            "wait_fs" => {
                let done = zfs.wait_fs(text(case, "name"), FilesystemActivity::DeleteQueue);
                done.map(|b| b.to_string()).words()
            }
            "bootenv" => {
                let env: List = [("version", NvValue::from(1u64)), ("org.example:x", "y".into())].into();
                zfs.set_bootenv(pool(), &env).expect("bootenv is set");
                let back = zfs.get_bootenv(pool());
                back.map(|b| if b == env { "round trip".to_owned() } else { format!("{b:?}") }).words()
            }
            "vdev_props" => {
                let stats = zfs.pool_stats(pool()).expect("statistics");
                let Some(NvValue::Lists(devices)) = stats.list("vdev_tree").and_then(|t| t.get("children"))
                else {
                    panic!("no devices: {stats:?}");
                };
                let guid = devices[0].u64("guid").expect("a guid");
                let props: List = [("org.example:slot", "7")].into();
                zfs.set_vdev_props(pool(), guid, &props).expect("set");
                let back = zfs.get_vdev_props(pool(), guid, &["org.example:slot"]);
                let word = |b: List| match b.list("org.example:slot").and_then(|p| p.str("value")) {
                    Some("7") => "round trip".to_owned(),
                    _ => format!("{b:?}"),
                };
                back.map(word).words()
            }
            _ => return None,
        })
    }

    fn requests(&self, call: &str, case: &Case) -> Option<String> {
        let zfs = &self.zfs;
        let name = || text(case, "name");
        let names = |all: Result<Vec<Dataset>, ListError>| {
            all.map(|all| join(all.iter().map(|d| d.name.as_str()))).words()
        };
        Some(match call {
            "dataset" if text(case, "prop") == "receive_resume_token" => {
                format!("ok:{}", self.token(case).name)
            }
            "dataset" => zfs.dataset(name()).map(|d| property(&d, text(case, "prop"))).words(),
            "set_props" => {
                batch("SetPropFailure", zfs.set_props(name(), &props(case, "props")).map(|()| String::new()))
            }
            "inherit" => zfs.inherit(name(), text(case, "prop"), flag(case, "received")).words(),
            "children" => names(zfs.children(name()).collect()),
            "snapshots" => {
                let (full, bare): (Vec<_>, Vec<_>) =
                    (zfs.snapshots(name(), true).collect(), zfs.snapshots(name(), false).collect());
                for (full, bare) in full.iter().zip(&bare) {
                    let (Ok(full), Ok(bare)) = (full, bare) else { continue };
                    assert_eq!((&full.name, full.guid), (&bare.name, bare.guid));
                    assert!(!full.props.is_empty() && bare.props.is_empty());
                }
                names(full.into_iter().collect())
            }
            "received_props" => {
                zfs.received_props(name()).map(|all| join(all.keys().map(String::as_str))).words()
            }
            "attach" => zfs.userns_attach(name(), self.namespace(case).as_fd()).words(),
            "detach" => zfs.userns_detach(name(), self.namespace(case).as_fd()).words(),
            "inside" => {
                let pid = self.zone.id().to_string();
                let list = ["--user", "--preserve-credentials", "-t", &pid, "zfs", "list", "-Ho", "name"];
                let out = Command::new("nsenter").args(list).output().expect("nsenter");
                format!("ok:{}", join(String::from_utf8_lossy(&out.stdout).lines()))
            }
            _ => return None,
        })
    }
}

/// A property as a person would read it, and where it comes from.
fn property(dataset: &Dataset, prop: &str) -> String {
    let source = match dataset.source(prop) {
        PropertySource::Inherited(from) => format!("Inherited({from})"),
        other => format!("{other:?}"),
    };
    let value = match prop {
        "mountpoint" => match dataset.mountpoint() {
            Mountpoint::Path(path) => path,
            other => format!("{other:?}"),
        },
        "origin" => dataset.origin.clone().unwrap_or_default(),
        _ => {
            let number = || dataset.number(prop).map(|n| n.to_string());
            let text = || dataset.text(prop).map(str::to_owned);
            dataset.word(prop).or_else(number).or_else(text).unwrap_or_default()
        }
    };
    format!("{value} {source}")
}
