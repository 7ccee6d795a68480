//! `make install` puts everything where it is looked for, and `make uninstall` removes exactly that.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

fn make(target: &str, dest: &Path) {
    let (good, text) = try_make(&[target], dest);
    assert!(good, "make {target}: {text}");
}

/// Runs make; says whether it succeeded, and what it said.
fn try_make(words: &[&str], dest: &Path) -> (bool, String) {
    let programs = Path::new(env!("CARGO_BIN_EXE_zonecfg")).parent().expect("a folder of programs");
    let out = Command::new("make")
        .arg("--no-print-directory")
        .args(words)
        .arg(format!("DESTDIR={}", dest.display()))
        .arg(format!("RELEASE={}", programs.display()))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("MAKEFLAGS")
        .output()
        .expect("make can be started");
    let text = [out.stdout, out.stderr].concat();
    (out.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn tools_for_solaris_find_the_programs_where_they_look() {
    let dest = tempfile::tempdir().expect("a temporary folder");
    make("install", dest.path());
    let links = [
        ("usr/sbin/zonecfg", "/usr/local/sbin/zonecfg"),
        ("usr/sbin/zoneadm", "/usr/local/sbin/zoneadm"),
        ("usr/sbin/zlogin", "/usr/local/bin/zlogin"),
        ("usr/bin/zonename", "/usr/local/bin/zonename"),
    ];
    // Another program is left alone, and then no link is made at all.
    let foreign = dest.path().join("usr/sbin/zlogin");
    fs::create_dir_all(foreign.parent().expect("a folder")).expect("a folder");
    fs::write(&foreign, "").expect("another program");
    let (good, text) = try_make(&["install-compat"], dest.path());
    assert!(
        !good && text.contains("usr/sbin/zlogin is there and is no link to /usr/local/bin/zlogin"),
        "{text}"
    );
    assert!(!dest.path().join("usr/sbin/zonecfg").is_symlink(), "nothing half");
    fs::remove_file(&foreign).expect("removed");
    // Twice is no error.
    for _ in 0..2 {
        make("install-compat", dest.path());
        for (link, program) in links {
            assert_eq!(fs::read_link(dest.path().join(link)).expect("a link"), Path::new(program));
        }
    }
    make("uninstall", dest.path());
    assert_eq!(files(dest.path()), Vec::<PathBuf>::new());
    // With everything below /usr the programs are there already.
    let (good, text) = try_make(&["install", "install-compat", "PREFIX=/usr"], dest.path());
    assert!(good, "{text}");
    assert!(!dest.path().join("usr/sbin/zoneadm").is_symlink());
    // But for zlogin, which is in bin.
    assert_eq!(
        fs::read_link(dest.path().join("usr/sbin/zlogin")).expect("a link"),
        Path::new("/usr/bin/zlogin")
    );
}

#[test]
fn uninstall_removes_exactly_what_install_has_put_there() {
    let dest = tempfile::tempdir().expect("a temporary folder");
    let mine = dest.path().join("usr/share/zones/zones.d/mine.toml");
    fs::create_dir_all(mine.parent().expect("a folder")).expect("a folder");
    fs::write(&mine, "format = 1\n").expect("a file of the administrator");

    make("install", dest.path());
    let installed = files(dest.path());
    for file in [
        "usr/local/sbin/zonecfg",
        "usr/local/sbin/zoneadm",
        "usr/local/sbin/zoneadmd",
        "usr/local/sbin/zonesd",
        "usr/local/bin/zlogin",
        "usr/local/bin/zonename",
        "usr/local/bin/zonestat",
        "usr/local/share/man/man8/zonecfg.8",
        "usr/local/share/man/man8/zonesd.8",
        "usr/local/share/man/man7/zones.7",
        "usr/local/share/bash-completion/completions/zoneadm",
        "usr/local/share/zsh/site-functions/_zlogin",
        "usr/local/share/fish/vendor_completions.d/zonecfg.fish",
        "usr/local/lib/systemd/system/zones.service",
        "usr/local/lib/systemd/system/zones-broker.socket",
        "usr/local/lib/systemd/system/zones-broker.service",
        "usr/local/lib/zones/zones-autoboot",
        "usr/local/lib/tmpfiles.d/zones.conf",
        "usr/share/zones/zones.d/default.toml",
    ] {
        assert!(installed.contains(&dest.path().join(file)), "{file} was not installed");
    }
    for path in &installed {
        let mode = fs::metadata(path).expect("an installed file").permissions().mode() & 0o777;
        let program = path.components().any(|c| matches!(c.as_os_str().to_str(), Some("bin" | "sbin")));
        let right = if program || path.ends_with("zones-autoboot") { 0o755 } else { 0o644 };
        assert!(path == &mine || mode == right, "{}: {mode:o}", path.display());
        if path.components().any(|c| matches!(c.as_os_str().to_str(), Some("system" | "zones"))) {
            let text = fs::read_to_string(path).expect("text");
            assert!(!text.contains('@') || !text.contains("DIR@"), "{} has an open place", path.display());
        }
    }

    make("uninstall", dest.path());
    assert_eq!(files(dest.path()), [mine]);
}

#[test]
fn a_cleaner_is_told_to_leave_the_run_time_files_alone() {
    let lines = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/zones.conf"));
    let lines = lines.expect("the file for tmpfiles.d");
    // x: the folder and all that is in it.
    assert!(lines.lines().any(|l| l == "x /run/zones"), "{lines}");
    if Command::new("systemd-tmpfiles").arg("--version").output().is_err() {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary folder");
    let make = |path: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        fs::write(&path, "").expect("a file");
        let old = std::time::SystemTime::now() - std::time::Duration::from_secs(90 * 24 * 3600);
        let times = fs::FileTimes::new().set_accessed(old).set_modified(old);
        fs::File::open(&path).and_then(|f| f.set_times(times)).expect("an old file");
        path
    };
    let (ours, other) = (make("run/zones/zion/running"), make("run/other/file"));
    make("usr/lib/tmpfiles.d/run.conf");
    let age = "d /run - - - m:10d\n";
    fs::write(root.path().join("usr/lib/tmpfiles.d/run.conf"), age).expect("a cleaner");
    fs::write(root.path().join("usr/lib/tmpfiles.d/zones.conf"), lines).expect("our line");
    let out = Command::new("systemd-tmpfiles").arg("--clean").arg("--root").arg(root.path()).output();
    let out = out.expect("it runs");
    assert!(ours.exists(), "{out:?}");
    assert!(!other.exists(), "the cleaner does clean: {out:?}");
}
