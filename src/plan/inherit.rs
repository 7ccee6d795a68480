//! `inherit-pkg-dir`: the host's directories in a sparse root.
//!
//! Their ids are not mapped: files of the host's users belong to an unmapped id in the zone, and the zone's root has
//! the rights of any other user of the host. So the kernel closes to it every file that is closed to others, from
//! the moment on in which it is closed. Only programs that run with rights of their own (set-user-ID) get a mount
//! with mapped ids, each file by itself; without it they would run with the rights of their caller.

use std::path::{Path, PathBuf};

use crate::spec::Props;
use crate::spec::shown::Show as _;

/// Where the programs of a system lie.
const SYSTEM: [&str; 7] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];
/// The administrator's part of it.
const LOCAL: &str = "/usr/local";

/// Directories of a system that hold data, kernels and files that are no part of the running system.
const DATA: [&str; 6] = ["share", "include", "src", "lib/modules", "lib/firmware", "lib/debug"];

/// Parts of programs that refuse to be anybody's but root's: the end of the directory.
const OWNED: [&str; 2] = ["libexec/sudo", "lib/sudo"];

/// Says whether set-user-id programs of an inherited directory run as such in the zone: as the property says,
/// else those of the system do, and those of `/opt`, `/usr/local` and anything else do not.
pub fn runs_set_id(resource: &Props) -> bool {
    match resource.text("setuid") {
        Some(text) => text == "true",
        None => resource.text("dir").is_some_and(|dir| is_system(Path::new(dir))),
    }
}

/// Says whether the host's packages own a directory.
pub fn is_system(dir: &Path) -> bool {
    SYSTEM.iter().any(|top| dir.starts_with(top)) && !dir.starts_with(LOCAL)
}

/// Says whether no programs are looked for in a directory below an inherited one: because it holds data, or
/// because it is not the system's as the inherited one is.
pub fn is_data(top: &Path, below: &Path) -> bool {
    let whole = top.join(below);
    is_system(top)
        && (!is_system(&whole)
            || SYSTEM
                .iter()
                .any(|root| whole.strip_prefix(root).is_ok_and(|p| DATA.iter().any(|d| p == Path::new(d))))
            || ["/lib/modules", "/lib/firmware"].iter().any(|d| whole == Path::new(d)))
}

/// Says whether a file must belong to root for a set-user-id program to work.
pub fn must_be_roots(top: &Path, below: &Path) -> bool {
    let whole = top.join(below);
    let folder = whole.parent().is_some_and(|dir| OWNED.iter().any(|end| dir.ends_with(end)));
    folder && whole.extension().is_some_and(|e| e == "so")
}

/// As many paths as a reader wants to see at once.
const SOME: usize = 10;

/// Returns paths below a directory as a text; of many, the first.
pub fn list_some(dir: &str, below: &[PathBuf]) -> String {
    let whole = |path: &PathBuf| {
        let path = if path == Path::new(".") { Path::new("") } else { path };
        Path::new(&format!("{}/", dir.trim_end_matches('/'))).join(path).shown().to_string()
    };
    let names: Vec<String> = below.iter().take(SOME).map(whole).collect();
    match below.len().saturating_sub(SOME) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Value;
    use crate::spec::schema::ResourceKind;

    fn resource(dir: &str, setuid: Option<&str>) -> Props {
        let mut props = Props::default();
        let def = |name| ResourceKind::InheritPkgDir.def().prop(name).expect("the table has it");
        props.set(def("dir"), Value::simple(dir));
        if let Some(text) = setuid {
            props.set(def("setuid"), Value::simple(text));
        }
        props
    }

    #[test]
    fn what_runs_set_user_id() {
        for dir in ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/usr/bin", "/usr/lib/x"] {
            assert!(runs_set_id(&resource(dir, None)), "{dir}");
            assert!(!runs_set_id(&resource(dir, Some("false"))), "{dir}");
        }
        for dir in ["/opt", "/usr/local", "/usr/local/bin", "/srv", "/usrlocal", "/library"] {
            assert!(!runs_set_id(&resource(dir, None)), "{dir}");
            assert!(runs_set_id(&resource(dir, Some("true"))), "{dir}");
        }
    }

    #[test]
    fn where_programs_are_looked_for() {
        let data = |top: &str, below: &str| is_data(Path::new(top), Path::new(below));
        for below in ["share", "src", "include", "local", "lib/modules", "local/bin"] {
            assert!(data("/usr", below), "{below}");
        }
        for below in ["bin", "lib", "libexec", "lib/share", "bin/share"] {
            assert!(!data("/usr", below), "{below}");
        }
        assert!(data("/lib", "modules") && !data("/lib", "x86_64-linux-gnu") && !data("/opt", "share"));
        assert!(!data("/usr/local", "share"), "whoever says setuid=true means all of it");
        let owned = |below: &str| must_be_roots(Path::new("/usr"), Path::new(below));
        assert!(owned("libexec/sudo/sudoers.so") && owned("lib/sudo/sudoers.so"));
        assert!(!owned("libexec/sudo/key") && !owned("lib/x/sudoers.so"));
    }

    #[test]
    fn paths_for_a_reader() {
        let list = |n: usize| (0..n).map(|i| PathBuf::from(format!("f{i}"))).collect::<Vec<_>>();
        assert_eq!(list_some("/opt", &list(2)), "/opt/f0, /opt/f1");
        assert!(list_some("/opt", &list(12)).ends_with("/opt/f9 and 2 more"));
        assert_eq!(list_some("/opt", &[PathBuf::from(".")]), "/opt/");
        assert_eq!(list_some("/opt", &[PathBuf::from("a\nb")]), "/opt/a\\nb");
    }
}
