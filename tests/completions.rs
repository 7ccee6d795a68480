//! The completions of the shells: their own shells can read them, they know every subcommand, and
//! their lists of resources and properties are those of the table. Those of zoneadm are made from its
//! table of subcommands.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::{env, fs};

use zones::cli::completion;
use zones::shell::help;
use zones::spec::ResourceKind;
use zones::spec::schema;

const PROGRAMS: &[&str] = &["zonecfg", "zoneadm", "zlogin"];
const SHELLS: &[&str] = &["bash", "zsh", "fish"];

fn file(program: &str, shell: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("completions").join(format!("{program}.{shell}"))
}

fn text(program: &str, shell: &str) -> String {
    // Whichever test reads first writes them anew, so that none looks at old ones.
    static UPDATED: Once = Once::new();
    if env::var_os("UPDATE").is_some() {
        UPDATED.call_once(|| {
            for shell in SHELLS {
                for (program, fresh) in [("zonecfg", zonecfg(shell).0), ("zoneadm", zoneadm(shell))] {
                    fs::write(file(program, shell), fresh).expect("the completion can be written");
                }
            }
        });
    }
    kept(program, shell)
}

fn kept(program: &str, shell: &str) -> String {
    fs::read_to_string(file(program, shell)).expect("a completion in UTF-8")
}

#[test]
fn the_shells_can_read_them() {
    for shell in SHELLS {
        for program in PROGRAMS {
            let path = file(program, shell);
            match Command::new(shell).arg("-n").arg(&path).output() {
                Ok(out) => assert!(
                    out.status.success() && out.stderr.is_empty(),
                    "{}: {}",
                    path.display(),
                    String::from_utf8_lossy(&out.stderr)
                ),
                Err(_) => eprintln!("{shell} is not installed: {} not read", path.display()),
            }
        }
    }
}

/// Returns the subcommands that `zoneadm help` lists.
fn zoneadm_subcommands() -> Vec<String> {
    let out =
        Command::new(env!("CARGO_BIN_EXE_zoneadm")).arg("help").output().expect("zoneadm can be started");
    let text = String::from_utf8(out.stdout).expect("UTF-8");
    let (_, list) = text.split_once("Subcommands:\n").expect("a list of subcommands");
    let names = list.lines().filter(|l| l.starts_with(|c: char| c.is_ascii_lowercase()));
    names.filter_map(|l| l.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn every_subcommand_is_offered_by_every_shell() {
    let zoneadm = zoneadm_subcommands();
    assert!(zoneadm.len() >= 12, "{zoneadm:?}");
    let zonecfg: Vec<_> = help::COMMANDS.iter().map(|c| c.name.to_owned()).collect();
    for shell in SHELLS {
        for (program, names) in [("zoneadm", &zoneadm), ("zonecfg", &zonecfg)] {
            let text = text(program, shell);
            let words: Vec<_> =
                text.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_')).collect();
            for name in names {
                assert!(words.contains(&name.as_str()), "{program} {name} is not known to {shell}");
            }
        }
    }
}

/// Returns what bash offers for a line; the zones are those below `root`.
fn bash_offers(root: &Path, program: &str, words: &[&str]) -> Vec<String> {
    let programs = Path::new(env!("CARGO_BIN_EXE_zoneadm")).parent().expect("a folder of programs");
    let script = format!(
        "source {}; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _{program}; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        file(program, "bash").display()
    );
    let out = Command::new("bash")
        .args(["-c", &script, "bash", program])
        .args(words)
        .env("PATH", format!("{}:{}", programs.display(), env::var("PATH").unwrap_or_default()))
        .env("ZONES_ROOT", root)
        .output()
        .expect("bash can be started");
    String::from_utf8(out.stdout).expect("UTF-8").lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_zones_and_subcommands() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let specs = root.path().join("etc/zones.d");
    fs::create_dir_all(&specs).expect("the folder of specs");
    for zone in ["zion", "zebra", "web"] {
        let spec = format!("format = 1\nzonepath = \"/zones/{zone}\"\n");
        fs::write(specs.join(format!("{zone}.toml")), spec).expect("a spec");
    }
    let offers = |program, words: &[&str]| {
        let mut offers = bash_offers(root.path(), program, words);
        offers.sort();
        offers
    };
    for program in ["zonecfg", "zoneadm"] {
        assert_eq!(offers(program, &["-z", "z"]), ["zebra", "zion"], "{program}");
    }
    assert_eq!(offers("zoneadm", &["-z", "zion", "re"]), ["ready", "reboot", "reclaim"]);
    assert_eq!(offers("zoneadm", &["-z", "zion", "install", "-"]), ["-a", "-c", "-d", "-o", "-s", "-x"]);
    assert_eq!(offers("zonecfg", &["-z", "zion", "select", "capped-"]), ["capped-cpu", "capped-memory"]);
    assert_eq!(offers("zlogin", &["-"]), ["-C", "-E", "-Q", "-R", "-S", "-d", "-e", "-i", "-l", "-n"]);
}

/// Returns the line with the words of the table in it, none when it holds no list of them.
fn renewed(line: &str) -> Option<String> {
    let resources: Vec<_> = ResourceKind::all().map(ResourceKind::name).collect();
    let globals: Vec<_> = schema::globals().iter().map(|p| p.name).collect();
    let indent = &line[..line.len() - line.trim_start().len()];
    for (name, words) in [("resources", resources.join(" ")), ("properties", globals.join(" "))] {
        for (before, after) in
            [(format!("local {name}=\""), "\""), (format!("{name}=("), ")"), (format!("set -l {name} "), "")]
        {
            if line.trim_start().starts_with(&before) {
                return Some(format!("{indent}{before}{words}{after}"));
            }
        }
    }
    None
}

/// Returns the completion of zonecfg with the words of the table in it, and how many lists of them it has.
fn zonecfg(shell: &str) -> (String, usize) {
    let (page, mut lists, mut fresh) = (kept("zonecfg", shell), 0, String::new());
    for line in page.lines() {
        let new = renewed(line);
        lists += usize::from(new.is_some());
        fresh.push_str(new.as_deref().unwrap_or(line));
        fresh.push('\n');
    }
    (fresh, lists)
}

fn zoneadm(shell: &str) -> String {
    completion::zoneadm(shell).expect("a completion for each shell")
}

#[test]
fn they_are_made_from_the_tables() {
    for shell in SHELLS {
        let (fresh, lists) = zonecfg(shell);
        assert_eq!(lists, 2, "{shell}: resources and properties");
        for (program, fresh) in [("zonecfg", fresh), ("zoneadm", zoneadm(shell))] {
            let is_fresh = fresh == text(program, shell);
            assert!(
                is_fresh,
                "{program}.{shell} is stale; refresh with: UPDATE=1 cargo test --test completions"
            );
        }
    }
}
