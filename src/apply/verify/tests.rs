//! Findings about a spec on this host, with their texts, below a temporary root.

use std::fs as files;
use std::os::unix::fs::symlink;

use super::*;
use crate::apply::paths::Root;
use crate::spec::toml;

fn zion() -> ZoneName {
    ZoneName::new("zion").expect("a name")
}

fn spec(text: &str) -> ZoneSpec {
    toml::parse(&zion(), format!("format = 1\n{text}").as_bytes()).expect("a spec")
}

fn store() -> (tempfile::TempDir, FileStore) {
    let temp = tempfile::tempdir().expect("a folder");
    let store = FileStore::open(Root::new(Some(temp.path())));
    (temp, store)
}

/// Returns the lines of a check, with the letter of their severity.
fn lines(check: impl FnOnce(&mut VerifyReport)) -> Vec<String> {
    let mut found = VerifyReport::default();
    check(&mut found);
    let errors = found.lines.iter().filter(|l| l.severity == Severity::Error).count();
    assert_eq!(found.is_ok(), errors == 0);
    let letter = |l: &VerifyLine| if l.severity == Severity::Error { 'E' } else { 'W' };
    found.lines.iter().map(|l| format!("{} {}", letter(l), l.text)).collect()
}

fn of_fs(text: &str) -> Vec<String> {
    let (_temp, store) = store();
    let (name, spec) = (zion(), spec(&format!("[[fs]]\n{text}")));
    let asker = Asker::new(store.root(), &name);
    lines(|found| spec.stored(ResourceKind::Fs).iter().for_each(|r| fs::check(r, &asker, found)))
}

#[test]
fn sources_and_options_of_file_systems() {
    let temp = tempfile::tempdir().expect("a folder");
    let there = temp.path().display();
    let none = "No such file or directory";
    for (text, wanted) in [
        (format!("dir = \"/data\"\nspecial = \"{there}\"\ntype = \"lofs\""), vec![]),
        (
            format!("dir = \"/data\"\nspecial = \"{there}/x\"\ntype = \"lofs\""),
            vec![format!("E could not verify fs /data: could not access {there}/x: {none}")],
        ),
        (
            "dir = \"/dev\"\nspecial = \"swap\"\ntype = \"tmpfs\"".into(),
            vec![
                "E could not verify fs /dev: the zone's own root or device tree is mounted there; choose another dir".into(),
            ],
        ),
        (
            "dir = \"/data\"\nspecial = \"/x\"\ntype = \"proc\"".into(),
            vec!["E cannot verify fs /data: type proc is not allowed.".into()],
        ),
        (
            format!("dir = \"/data\"\nspecial = \"{there}\"\ntype = \"lofs\"\noptions = [\"odd\"]"),
            vec!["E could not verify fs /data: option 'odd' is not known for type lofs".into()],
        ),
        ("dir = \"/data\"\nspecial = \"swap\"\ntype = \"tmpfs\"".into(), vec![]),
        (
            format!("dir = \"/data\"\nspecial = \"{there}\"\nraw = \"{there}/raw\"\ntype = \"nosuchfs\""),
            vec![
                "E could not verify fs /data: type nosuchfs is not known to this kernel".into(),
                format!("E could not verify fs /data: could not access /sbin/fsck.nosuchfs: {none}"),
                format!("E could not verify fs /data: could not access {there}/raw: {none}"),
            ],
        ),
    ] {
        assert_eq!(of_fs(&text), wanted, "{text}");
    }
}

#[test]
fn a_mount_point_that_a_boot_would_refuse() {
    let (temp, store) = store();
    let root = temp.path().join("zones/zion/root");
    for dir in ["dir", "srv"] {
        files::create_dir_all(root.join(dir)).expect("a folder");
    }
    files::write(root.join("file"), "").expect("written");
    files::write(temp.path().join("one"), "").expect("written");
    symlink("/srv", root.join("link")).expect("a link");
    symlink("circle", root.join("circle")).expect("a link");
    let spec = spec("zonepath = \"/zones/zion\"\n[[inherit-pkg-dir]]\ndir = \"/usr\"\n");
    let bases = mountpoint::Bases::of(&store, &spec, "/zones/zion");
    let one = temp.path().join("one").display().to_string();
    for (dir, is_file, wanted) in [
        ("/dir", false, None),
        ("/new/way", false, None),
        ("/link/x", false, Some("/link is a symbolic link to /srv in the zone; use dir=/srv/x".to_owned())),
        (
            "/circle",
            false,
            Some("/circle is a symbolic link to circle in the zone; choose a dir without links on its way".into()),
        ),
        ("/file/x", false, Some("/file is no directory in the zone".into())),
        ("/dir", true, Some(format!("/dir is a directory in the zone, and {one} is a file; choose another dir"))),
        ("/file", false, Some(format!("/file is a file in the zone, and {one} is none; choose another dir"))),
        ("/file", true, None),
        (
            "/usr/nosuch/dir",
            false,
            Some(
                "/usr/nosuch does not exist, and it lies in a directory that is read-only there; make it on the host, \
                 or choose another dir"
                    .into(),
            ),
        ),
    ] {
        assert_eq!(mountpoint::refusal(&bases, dir, &one, is_file), wanted, "{dir}");
    }
}

#[test]
fn ids_that_another_zone_has() {
    let (_temp, store) = store();
    files::create_dir_all(store.root().spec_dir()).expect("a folder");
    let map = |outside: u32| {
        let range = |kind: &str| {
            format!("[[idmap]]\ntype = \"{kind}\"\nstart = 0\ntarget = {outside}\ncount = 1000\n")
        };
        format!("{}{}", range("uid"), range("gid"))
    };
    let other = store.root().spec_file(&ZoneName::new("web").expect("a name"));
    files::write(other, format!("format = 1\n{}", map(500_500))).expect("written");
    let found =
        |outside| lines(|found| check_ids(&store, &zion(), &spec(&map(outside)), found).expect("read"));
    assert_eq!(found(600_000), Vec::<String>::new());
    let wanted = "E zion idmap (ids 500000 to 500999 of the host) and web idmap overlap. Choose another target, or set \
                  shared=true in both.";
    assert_eq!(found(500_000), [wanted]);
}

#[test]
fn privileges_and_devices_without_effect() {
    let found = lines(|found| check_privileges(&spec("limitpriv = \"default,nosuch\"\n"), found));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("E ") && found[0].contains("nosuch"), "{found:?}");
    let text = "[[dataset]]\nname = \"tank/zion\"\nvolmode = \"none\"\n[[device]]\nmatch = \"/dev/zvol/dsk/tank/zion/v\"\n";
    let wanted = "W WARNING: device /dev/zvol/dsk/tank/zion/v: volumes of the dataset tank/zion have no devices while a \
                  zone has it; to have them, select that dataset resource and set volmode=dev";
    assert_eq!(lines(|found| check_volumes(&spec(text), found)), [wanted]);
    let other = text.replace("none", "dev");
    assert_eq!(lines(|found| check_volumes(&spec(&other), found)), Vec::<String>::new());
    let text = "[[rctl]]\nname = \"zone.odd\"\n";
    let found = lines(|found| limits::check(&spec(text), Purpose::Verify, found));
    assert_eq!(found[0], "W WARNING: Ignoring unrecognized rctl 'zone.odd'.");
}
