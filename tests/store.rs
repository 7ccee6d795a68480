//! The store on a throw-away root.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use zones::apply::paths::Root;
use zones::apply::store::FileStore;
use zones::apply::store::first_choice;
use zones::spec::idmap::IdMap;
use zones::spec::schema::{ResourceKind, global};
use zones::spec::state::ZoneState;
use zones::spec::store::{Commit, ContentToken, StoreError, ZoneStore};
use zones::spec::{Props, Value, ZoneName, ZoneSpec};

struct Place {
    dir: TempDir,
    store: FileStore,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let store = FileStore::open(Root::new(Some(dir.path())));
    Place { dir, store }
}

fn name(text: &str) -> ZoneName {
    ZoneName::new(text).unwrap()
}

fn spec(zone: &str, zonepath: &str) -> ZoneSpec {
    let mut spec = ZoneSpec::new(name(zone));
    spec.props.set(global("zonepath").unwrap(), Value::simple(zonepath));
    spec
}

fn add_fs(spec: &mut ZoneSpec, dir: &str) {
    let def = ResourceKind::Fs.def();
    let mut fs = Props::default();
    for (prop, value) in [("dir", dir), ("special", "/srv/x"), ("type", "lofs")] {
        fs.set(def.prop(prop).unwrap(), Value::simple(value));
    }
    spec.stored_mut(ResourceKind::Fs).push(fs);
}

fn walk(dir: &Path, base: &Path, found: &mut Vec<String>) {
    for e in fs::read_dir(dir).unwrap() {
        let path = e.unwrap().path();
        if path.is_dir() {
            walk(&path, base, found);
        } else {
            found.push(path.strip_prefix(base).unwrap().display().to_string());
        }
    }
}

impl Place {
    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn save(&self, spec: &ZoneSpec, base: Option<&ContentToken>) -> Result<ContentToken, StoreError> {
        self.store.commit(&Commit { spec, base, renamed_from: None, overwrite: false, mends: false })
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn tree(&self) -> Vec<String> {
        let mut found = Vec::new();
        walk(self.dir.path(), self.dir.path(), &mut found);
        found.sort();
        found
    }
}

#[test]
fn what_is_saved_is_read_and_listed() {
    let p = place();
    assert!(p.store.load(&name("zion")).unwrap().is_none());
    assert_eq!(p.store.state(&name("zion")).unwrap(), None);
    assert!(p.store.names().unwrap().is_empty() && p.tree().is_empty(), "looking leaves nothing behind");
    for zone in ["zion", "a.b", "morpheus"] {
        p.save(&spec(zone, "/zones/%{zonename}"), None).unwrap();
    }
    p.write("etc/zones.d/SUNWother.toml", "format = 1\n");
    p.write("etc/zones.d/.zion.toml.swp", "x");
    p.write("etc/zones.d/README", "x");
    let names: Vec<_> = p.store.names().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["a.b", "morpheus", "zion"]);
    let stored = p.store.load(&name("zion")).unwrap().unwrap();
    assert_eq!(stored.spec, spec("zion", "/zones/%{zonename}"));
    assert_eq!(p.store.state(&name("zion")).unwrap(), Some(ZoneState::Configured));
    assert_eq!(p.store.state(&name("global")).unwrap(), Some(ZoneState::Running));
    assert_eq!(fs::metadata(p.path("etc/zones.d/zion.toml")).unwrap().mode() & 0o777, 0o644);
}

#[test]
fn the_second_of_two_editors_is_refused_and_sees_what_is_saved() {
    let p = place();
    p.save(&spec("zion", "/zones/zion"), None).unwrap();
    let mine = p.store.load(&name("zion")).unwrap().unwrap();
    let mut theirs = mine.clone();
    add_fs(&mut theirs.spec, "/theirs");
    p.save(&theirs.spec, Some(&theirs.token)).unwrap();

    let mut spec = mine.spec.clone();
    add_fs(&mut spec, "/mine");
    let Err(StoreError::Conflict(saved)) = p.save(&spec, Some(&mine.token)) else { panic!("no conflict") };
    assert_eq!(saved.spec, theirs.spec);
    assert_eq!(p.store.load(&name("zion")).unwrap().unwrap().spec, theirs.spec);
    // Merged on purpose: the same save, based on what is there now.
    p.save(&spec, Some(&saved.token)).unwrap();
    // Made anew by somebody who saw no zone.
    assert!(matches!(p.save(&spec, None), Err(StoreError::Conflict(_))));
    let overwrite =
        Commit { spec: &spec, base: Some(&mine.token), renamed_from: None, overwrite: true, mends: false };
    p.store.commit(&overwrite).unwrap();
    // Deleted meanwhile.
    let token = p.store.load(&name("zion")).unwrap().unwrap().token;
    p.store.delete(&name("zion"), false).unwrap();
    assert!(matches!(p.save(&spec, Some(&token)), Err(StoreError::NoZone)));
    // An edit by hand counts as well.
    p.save(&spec, None).unwrap();
    let before = p.store.load(&name("zion")).unwrap().unwrap();
    p.write("etc/zones.d/zion.toml", before.token.0.clone() + "# by hand\n");
    assert!(matches!(p.save(&spec, Some(&before.token)), Err(StoreError::Conflict(_))));
}

#[test]
fn comments_mode_and_revisions_outlive_a_save() {
    let p = place();
    let text = "# Ana's zone\nformat = 1\nzonepath = '/zones/zion' # fast disk\n";
    p.write("etc/zones.d/zion.toml", text);
    fs::set_permissions(p.path("etc/zones.d/zion.toml"), fs::Permissions::from_mode(0o640)).unwrap();
    let first = p.store.load(&name("zion")).unwrap().unwrap();
    let mut spec = first.spec.clone();
    let mut token = first.token;
    // Nothing changed: nothing written, no revision.
    token = p.save(&spec, Some(&token)).unwrap();
    assert!(p.store.revisions(&name("zion")).unwrap().is_empty());
    for dir in ["/a", "/b"] {
        add_fs(&mut spec, dir);
        token = p.save(&spec, Some(&token)).unwrap();
    }
    let now = fs::read_to_string(p.path("etc/zones.d/zion.toml")).unwrap();
    assert!(now.starts_with(text), "{now}");
    assert_eq!(now, token.0);
    assert_eq!(fs::metadata(p.path("etc/zones.d/zion.toml")).unwrap().mode() & 0o777, 0o640);
    let revisions = p.store.revisions(&name("zion")).unwrap();
    assert_eq!(revisions.iter().map(|r| r.number).collect::<Vec<_>>(), [1, 2]);
    assert!(revisions.iter().all(|r| r.time > 1_600_000_000 && !r.user.is_empty()));
    assert_eq!(p.store.revision(&name("zion"), 1).unwrap(), first.spec);
    assert_eq!(p.store.revision(&name("zion"), 2).unwrap().stored(ResourceKind::Fs).len(), 1);
    assert!(matches!(p.store.revision(&name("zion"), 3), Err(StoreError::NoRevision(3))));
}

#[test]
fn old_revisions_make_room_and_numbers_go_on() {
    let p = place();
    let mut token = p.save(&spec("zion", "/zones/0"), None).unwrap();
    for i in 1..=103 {
        token = p.save(&spec("zion", &format!("/zones/{i}")), Some(&token)).unwrap();
    }
    let numbers: Vec<_> = p.store.revisions(&name("zion")).unwrap().iter().map(|r| r.number).collect();
    assert_eq!((numbers.len(), numbers[0], numbers[99]), (100, 4, 103));
    assert_eq!(p.store.revision(&name("zion"), 103).unwrap().zonepath().as_deref(), Some("/zones/102"));
}

#[test]
fn a_spec_that_is_mended_keeps_what_was_broken() {
    let p = place();
    let good = spec("zion", "/zones/zion");
    p.save(&good, None).unwrap();
    let broken = b"format = 1\nzonepath = \"/zo\xff";
    p.write("etc/zones.d/zion.toml", broken);
    assert!(matches!(p.save(&good, None), Err(StoreError::Invalid(_))), "not by an ordinary save");
    let mend = Commit { spec: &good, base: None, renamed_from: None, overwrite: true, mends: true };
    p.store.commit(&mend).unwrap();
    assert_eq!(p.store.load(&name("zion")).unwrap().unwrap().spec, good);
    let kept = p.tree().into_iter().find(|file| file.contains("revisions/000001-")).expect("a revision");
    assert_eq!(fs::read(p.path(&kept)).unwrap(), broken);
    // A file that is not root's to begin with is refused as ever.
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(p.path("etc/zones.d/zion.toml"), Some(4711), None).unwrap();
        assert!(matches!(p.store.commit(&mend), Err(StoreError::Invalid(_))));
    }
}

#[test]
fn what_is_not_a_spec_is_refused_with_its_place_and_never_overwritten() {
    let large = format!("format = 1\n{}", "# x\n".repeat(5_000_000));
    let foreign: &[(&[u8], &str)] = &[
        (b"", "zion.toml:1:1: the file is empty"),
        (b"format = 1\nzonepath = \"/zo", "zion.toml:2:"),
        (b"<zone name=\"zion\"/>", "zion.toml:1:1: this is XML"),
        (b"\xff\xfeformat", "zion.toml:1:1: the file is not UTF-8"),
        (b"format = 1\nzonepath = \"\0\"", "zion.toml:2:13: the file holds a NUL"),
        (b"format = 1\nzonpath = '/z'\n", "did you mean 'zonepath'?"),
        (large.as_bytes(), "larger than 16 MiB"),
    ];
    let p = place();
    for (bytes, wanted) in foreign {
        p.write("etc/zones.d/zion.toml", bytes);
        let file = p.path("etc/zones.d/zion.toml");
        let Err(StoreError::Invalid(text)) = p.store.load(&name("zion")) else { panic!("{wanted} was read") };
        assert!(text.starts_with(&file.display().to_string()) && text.contains(wanted), "{text}");
        for overwrite in [false, true] {
            let spec = spec("zion", "/zones/zion");
            let commit = Commit { spec: &spec, base: None, renamed_from: None, overwrite, mends: false };
            assert!(matches!(p.store.commit(&commit), Err(StoreError::Invalid(_))));
        }
        assert!(matches!(p.store.delete(&name("zion"), false), Err(StoreError::Invalid(_))));
        assert_eq!(fs::read(&file).unwrap(), *bytes);
        let entry = &p.store.catalog().unwrap()[0];
        assert!(entry.problem.as_ref().is_some_and(|p| p.damaged && p.text.contains(wanted)));
    }
    p.store.delete(&name("zion"), true).unwrap();
    assert!(p.store.names().unwrap().is_empty());
}

#[test]
fn links_folders_and_pipes_are_not_specs() {
    let p = place();
    p.write("elsewhere.toml", "format = 1\n");
    fs::create_dir_all(p.path("etc/zones.d/dir.toml")).unwrap();
    symlink(p.path("elsewhere.toml"), p.path("etc/zones.d/link.toml")).unwrap();
    nix::unistd::mkfifo(&p.path("etc/zones.d/pipe.toml"), nix::sys::stat::Mode::from_bits_truncate(0o644))
        .unwrap();
    for zone in ["dir", "link", "pipe"] {
        assert!(matches!(p.store.load(&name(zone)), Err(StoreError::Invalid(_))), "{zone}");
    }
    let commit =
        Commit { spec: &spec("link", "/x"), base: None, renamed_from: None, overwrite: true, mends: false };
    assert!(p.store.commit(&commit).is_err());
    assert_eq!(fs::read_to_string(p.path("elsewhere.toml")).unwrap(), "format = 1\n");
}

#[test]
fn left_overs_of_a_crash_are_not_seen_and_go_away() {
    let p = place();
    p.save(&spec("zion", "/zones/zion"), None).unwrap();
    p.write("etc/zones.d/.zion.toml.new", "format = 1\nzonep");
    p.write("var/lib/zones/zion/.state.new", "sta");
    assert_eq!(p.store.names().unwrap().len(), 1);
    let token = p.store.load(&name("zion")).unwrap().unwrap().token;
    p.save(&spec("zion", "/zones/other"), Some(&token)).unwrap();
    p.store.set_installed_state(&name("zion"), ZoneState::Incomplete).unwrap();
    assert!(!p.tree().iter().any(|f| f.ends_with(".new")), "{:?}", p.tree());
    // A delete that stopped half way.
    p.write("var/lib/zones/.gone.neo.77/state", "state=installed\n");
    p.store.delete(&name("zion"), true).unwrap();
    assert_eq!(p.tree(), ["var/lib/zones/.lock", "var/lib/zones/.locks"]);
}

#[test]
fn a_rename_takes_everything_with_it_also_after_a_crash() {
    for crash in [false, true] {
        let p = place();
        let mut spec = spec("zion", "/zones/%{zonename}");
        let token = p.save(&spec, None).unwrap();
        p.store.set_installed_state(&name("zion"), ZoneState::Installed).unwrap();
        let uuid = p.store.uuid(&name("zion")).unwrap().unwrap();
        let ids = p.store.id_map(&name("zion"), &spec).unwrap();
        if crash {
            // Killed after the new spec was saved.
            p.write("etc/zones.d/neo.toml", "format = 1\nzonepath = '/zones/zion'\n");
            p.write("var/lib/zones/.rename", "zion neo\n");
            // Whoever looks next, to read or to write, sees the zone under one name only.
            assert_eq!(p.store.names().unwrap(), [name("neo")]);
        } else {
            p.save(&self::spec("taken", "/zones/taken"), None).unwrap();
            spec.name = name("taken");
            let zion = name("zion");
            let rename = |spec: &ZoneSpec| {
                p.store.commit(&Commit {
                    spec,
                    base: Some(&token),
                    renamed_from: Some(&zion),
                    overwrite: false,
                    mends: false,
                })
            };
            assert!(matches!(rename(&spec), Err(StoreError::NameInUse)));
            spec.name = name("neo");
            rename(&spec).unwrap();
            assert_eq!(p.store.revisions(&name("neo")).unwrap().len(), 1);
        }
        assert!(p.store.load(&name("zion")).unwrap().is_none());
        assert_eq!(p.store.state(&name("neo")).unwrap(), Some(ZoneState::Installed));
        assert_eq!(p.store.uuid(&name("neo")).unwrap(), Some(uuid));
        let neo = p.store.load(&name("neo")).unwrap().unwrap().spec;
        assert_eq!(neo.zonepath().as_deref(), Some("/zones/zion"), "an installed zone stays where it is");
        assert_eq!(p.store.id_map(&name("neo"), &neo).unwrap(), ids);
        assert!(!p.tree().iter().any(|f| f.contains("zion") || f.ends_with(".rename")), "{:?}", p.tree());
    }
    // Killed before: the note is taken away and nothing else happens.
    let p = place();
    p.save(&spec("zion", "/zones/zion"), None).unwrap();
    p.write("var/lib/zones/.rename", "zion neo\n");
    p.save(&spec("other", "/zones/other"), None).unwrap();
    assert!(p.store.load(&name("zion")).unwrap().is_some() && p.store.load(&name("neo")).unwrap().is_none());
}

/// The record of a zone whose first process is this test.
fn running_record(id: u32) -> String {
    let me = std::process::id();
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let start = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().to_owned();
    format!("id={id} state=running init={me} start={start} supervisor={me} sstart={start}\n")
}

#[test]
fn what_state_allows_a_delete() {
    let p = place();
    assert!(matches!(p.store.delete(&name("zion"), false), Err(StoreError::NoZone)));
    assert!(matches!(p.store.delete(&name("zion"), true), Err(StoreError::NoZone)));
    for state in [ZoneState::Incomplete, ZoneState::Installed] {
        p.save(&spec("zion", "/zones/zion"), None).unwrap();
        p.store.set_installed_state(&name("zion"), state).unwrap();
        assert!(matches!(p.store.delete(&name("zion"), false), Err(StoreError::BadState(s)) if s == state));
        p.store.delete(&name("zion"), true).unwrap();
        assert_eq!(p.store.state(&name("zion")).unwrap(), None);
        assert_eq!(p.store.installed_state(&name("zion")).unwrap(), ZoneState::Configured);
    }
    // A running zone, as far as the record and its process say.
    p.save(&spec("zion", "/zones/zion"), None).unwrap();
    p.write("run/zones/zion/running", running_record(3));
    for force in [false, true] {
        assert!(matches!(
            p.store.delete(&name("zion"), force),
            Err(StoreError::BadState(ZoneState::Running))
        ));
    }
    let token = p.store.load(&name("zion")).unwrap().unwrap().token;
    let (new, old) = (spec("neo", "/zones/zion"), name("zion"));
    let rename =
        Commit { spec: &new, base: Some(&token), renamed_from: Some(&old), overwrite: false, mends: false };
    assert!(matches!(p.store.commit(&rename), Err(StoreError::BadState(ZoneState::Running))));
    assert_eq!(p.store.state(&name("zion")).unwrap(), Some(ZoneState::Running));
    // Its process is gone: the record is not believed.
    p.write("run/zones/zion/running", "id=3 state=running init=1 start=1 supervisor=1 sstart=1\n");
    assert_eq!(p.store.state(&name("zion")).unwrap(), Some(ZoneState::Configured));
}

#[test]
fn states_and_ids() {
    let p = place();
    let zion = name("zion");
    p.save(&spec("zion", "/zones/zion"), None).unwrap();
    assert_eq!((p.store.uuid(&zion).unwrap(), p.store.by_uuid("x").unwrap()), (None, None));
    p.store.set_installed_state(&zion, ZoneState::Incomplete).unwrap();
    let uuid = p.store.uuid(&zion).unwrap().unwrap();
    p.store.set_installed_state(&zion, ZoneState::Installed).unwrap();
    assert_eq!(p.store.uuid(&zion).unwrap().as_ref(), Some(&uuid), "made once");
    assert_eq!(p.store.by_uuid(&uuid.to_uppercase()).unwrap(), Some(zion.clone()));
    assert_eq!(p.store.state(&zion).unwrap(), Some(ZoneState::Installed));
    p.store.set_installed_state(&zion, ZoneState::Configured).unwrap();
    assert_eq!(p.store.uuid(&zion).unwrap(), None);

    let own = "64788f65-1b43-47b8-9d4b-17ed5e3a0d2b";
    let mut given = spec("zion", "/zones/zion");
    given.props.set(global("uuid").unwrap(), Value::simple(own));
    let token = p.store.load(&zion).unwrap().unwrap().token;
    p.save(&given, Some(&token)).unwrap();
    p.store.set_installed_state(&zion, ZoneState::Installed).unwrap();
    assert_eq!(p.store.uuid(&zion).unwrap().as_deref(), Some(own));

    p.write("var/lib/zones/zion/state", "nonsense");
    let Err(StoreError::Invalid(text)) = p.store.installed_state(&zion) else { panic!("believed") };
    assert!(text.contains("/zion/state:1:1: not a zone state"), "{text}");
}

#[test]
fn id_ranges_are_private_kept_and_freed() {
    let p = place();
    let start = first_choice(p.store.root());
    let specs = ["a", "b", "c"].map(|z| spec(z, &format!("/zones/{z}")));
    for spec in &specs {
        p.save(spec, None).unwrap();
    }
    // Another zone says which ids it uses: these are not given away.
    let text = format!(
        "format = 1\nzonepath = '/zones/d'\n[[idmap]]\nstart = 0\ntarget = {}\ncount = 70000\n",
        start + 65_536
    );
    p.write("etc/zones.d/d.toml", text);
    let first = |i: usize| p.store.id_map(&specs[i].name, &specs[i]).unwrap().root().0;
    assert_eq!(p.store.known_id_map(&specs[0].name, &specs[0]).unwrap(), None);
    let (a, b) = (first(0), first(1));
    assert_eq!((a, b), (start, start + 3 * 65_536));
    assert_eq!(first(0), a, "kept");
    assert_eq!(p.store.known_id_map(&specs[0].name, &specs[0]).unwrap(), Some(IdMap::private(a)));
    p.store.set_installed_state(&specs[0].name, ZoneState::Installed).unwrap();
    p.store.set_installed_state(&specs[0].name, ZoneState::Configured).unwrap();
    assert_eq!(first(2), a, "freed by uninstall");
    p.store.delete(&specs[2].name, false).unwrap();
    assert_eq!(first(0), a, "freed by delete");
    // A damaged range is not replaced by another: the zone's files may belong to it.
    p.write("var/lib/zones/b/idmap", "0 x\n");
    assert!(matches!(p.store.id_map(&specs[1].name, &specs[1]), Err(StoreError::Invalid(_))));
}

#[test]
fn many_processes_allocate_different_ranges() {
    let p = place();
    let specs: Vec<_> = (0..8).map(|i| spec(&format!("z{i}"), &format!("/zones/z{i}"))).collect();
    for spec in &specs {
        p.save(spec, None).unwrap();
    }
    let mut ranges: Vec<_> = std::thread::scope(|s| {
        let threads: Vec<_> =
            specs.iter().map(|spec| s.spawn(|| p.store.id_map(&spec.name, spec).unwrap().root().0)).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    ranges.sort_unstable();
    ranges.dedup();
    assert_eq!(ranges.len(), 8);
}

#[test]
fn an_operation_waits_for_the_lock() {
    let p = place();
    let lock = p.store.lock(&name("zion"), "test").unwrap();
    assert!(p.store.try_lock(&name("zion"), "test").unwrap().is_none());
    assert!(p.store.try_lock(&name("neo"), "test").unwrap().is_some());
    drop(lock);
    assert!(p.store.try_lock(&name("zion"), "test").unwrap().is_some());
}

#[test]
fn the_catalog_sees_every_edit_and_survives_its_cache() {
    let p = place();
    for zone in ["a", "b"] {
        p.save(&spec(zone, &format!("/zones/{zone}")), None).unwrap();
    }
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    let paths = |p: &Place| p.store.catalog().unwrap().into_iter().map(|e| e.zonepath).collect::<Vec<_>>();
    assert_eq!(paths(&p), ["/zones/a", "/zones/b"]);
    // Same size, same inode, an older modification time: the change time tells.
    std::thread::sleep(std::time::Duration::from_millis(3100));
    assert_eq!(paths(&p), ["/zones/a", "/zones/b"]);
    assert!(p.path("var/lib/zones/.list.cache").exists(), "settled files are cached");
    let file = p.path("etc/zones.d/a.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("/zones/a", "/zones/x")).unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_modified(old).unwrap();
    assert_eq!(paths(&p), ["/zones/x", "/zones/b"]);
    p.store.set_installed_state(&name("b"), ZoneState::Installed).unwrap();
    assert_eq!(p.store.catalog().unwrap()[1].state, ZoneState::Installed);
    p.store.delete(&name("a"), false).unwrap();
    assert_eq!(paths(&p), ["/zones/b"]);
    let good = fs::read(p.path("var/lib/zones/.list.cache")).unwrap();
    for bad in [
        &b""[..],
        b"x",
        b"zones list cache 1\nb\t0\n",
        b"zones list cache 1\n\t\t\t\nb",
        &good[..good.len() / 2],
    ] {
        p.write("var/lib/zones/.list.cache", bad);
        assert_eq!(paths(&p), ["/zones/b"]);
    }
    fs::remove_file(p.path("var/lib/zones/.list.cache")).unwrap();
    fs::create_dir(p.path("var/lib/zones/.list.cache")).unwrap();
    assert_eq!(paths(&p), ["/zones/b"]);
}

#[test]
fn templates_are_of_the_host_or_built_in() {
    let p = place();
    let zion = name("zion");
    let default = p.store.template("default", &zion).unwrap().unwrap();
    assert_eq!(default.zonepath().as_deref(), Some("/zones/zion"));
    let dirs: Vec<_> =
        default.stored(ResourceKind::InheritPkgDir).iter().filter_map(|r| r.text("dir")).collect();
    assert!(dirs.contains(&"/usr"));
    for dir in dirs {
        let meta = fs::symlink_metadata(dir).unwrap();
        assert!(meta.is_dir(), "{dir}: only what this host has, and no link into what is shared anyway");
    }
    assert!(p.store.template("blank", &zion).unwrap().unwrap().props.is_empty());
    p.write("usr/share/zones/zones.d/blank.toml", "format = 1\nbootargs = '-s'\n");
    assert_eq!(p.store.template("blank", &zion).unwrap().unwrap().props.text("bootargs"), Some("-s"));
    for missing in ["nothing", "../../etc/zones.d/zion", "", "a/b"] {
        assert!(p.store.template(missing, &zion).unwrap().is_none());
    }
    assert!(p.store.template_names().unwrap().contains(&"webserver".to_owned()));
}
