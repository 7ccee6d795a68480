//! What runs in the machine with real ZFS, one boot for each test: the calls of `cases.jsonl`, and
//! the scripts of `tests/zfs-zone` with real zones.
//!
//! A script says in comments on which images it runs (`# images: bookworm`, else on all but the old one) and what it
//! needs beside it: `# files: NAME…`, paths from its own folder; `# tests: NAME…`, test programs of this crate;
//! `# root: yes`, a system for a zone, as `root.tar`, or `# root: sysvinit`, one with that init. `# machine: NAME` puts
//! it into one machine with others of that word, one after the other, since a boot takes as long as a short script.
//! Its checks are lines `ok    NAME` and `FAIL  NAME`; a count stands at its end.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libtest_mimic::{Failed, Trial};

/// The machines, the one with the open vulnerability first.
const IMAGES: [&str; 2] = ["bookworm", "trixie"];
/// A machine with ZFS 2.1.11, which cannot delegate. It takes as long to build as the others and has one short
/// script: it is built on demand (`make vm-image VM_IMAGE=bookworm-old`), and nobody is required to have it.
const OLD: &str = "bookworm-old";
/// Longest time of a script, in seconds. Emulated machines are slow, and may share the processor.
const LIMIT: &str = "1500";

/// The programs that the scripts run. Debug builds: tests stop them at given moments.
const PROGRAMS: [&str; 6] = [
    env!("CARGO_BIN_EXE_zonecfg"),
    env!("CARGO_BIN_EXE_zoneadm"),
    env!("CARGO_BIN_EXE_zoneadmd"),
    env!("CARGO_BIN_EXE_zlogin"),
    env!("CARGO_BIN_EXE_zonename"),
    env!("CARGO_BIN_EXE_zonestat"),
];

/// A script with real zones, or several that share a machine.
#[derive(Clone, Debug)]
struct Script {
    /// The script; several with blanks between them.
    name: String,
    machine: Option<String>,
    images: Vec<&'static str>,
    files: Vec<PathBuf>,
    tests: Vec<String>,
    /// It wants a system for a zone: the section of the image's recipe.
    root: Option<String>,
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Returns a test for each script and image.
pub fn trials() -> Vec<Trial> {
    let scripts = scripts();
    assert!(scripts.len() >= 3, "only {} scripts in tests/zfs-zone", scripts.len());
    let mut trials = Vec::new();
    for image in IMAGES.into_iter().chain([OLD]) {
        if image != OLD {
            trials.push(Trial::test(format!("{image}::calls"), move || in_machine(image, || calls(image))));
        }
        for mut script in shared(scripts.iter().filter(|s| s.images.contains(&image))) {
            trials.push(Trial::test(format!("{image}::{}", script.name.replace(' ', "+")), move || {
                in_machine(image, || {
                    if let Some(section) = script.root.take() {
                        match zone_root(image, &section) {
                            Ok(tar) => script.files.push(tar),
                            Err(why) => {
                                println!("SKIPPED: no system for a zone on {image}: {why}");
                                return Ok(());
                            }
                        }
                    }
                    zones(image, &script)
                })
            }));
        }
    }
    trials
}

/// Joins the scripts that share a machine.
fn shared<'s>(scripts: impl Iterator<Item = &'s Script>) -> Vec<Script> {
    let mut joined: Vec<Script> = Vec::new();
    for script in scripts {
        let with = joined.iter_mut().find(|j| j.machine.is_some() && j.machine == script.machine);
        let Some(with) = with else {
            joined.push(script.clone());
            continue;
        };
        assert!(
            with.root.is_none() && script.root.is_none(),
            "{}: a system for a zone is not shared",
            script.name
        );
        with.name = format!("{} {}", with.name, script.name);
        with.files
            .extend(script.files.iter().filter(|f| !with.files.contains(f)).cloned().collect::<Vec<_>>());
        with.tests.extend(script.tests.clone());
    }
    joined
}

/// Finds the scripts and reads what they say of themselves.
fn scripts() -> Vec<Script> {
    let folder = here("tests/zfs-zone");
    let mut scripts = Vec::new();
    for entry in fs::read_dir(&folder).expect("tests/zfs-zone") {
        let path = entry.expect("a readable folder").path();
        let stem = path.file_stem().and_then(|s| s.to_str()).expect("a name").to_owned();
        if path.extension().is_none_or(|e| e != "sh")
            || ["run", "lib"].contains(&stem.as_str())
            || stem.starts_with("bench")
        {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a readable script");
        let said = |key: &str| -> Option<Vec<&str>> {
            let line = text.lines().find_map(|l| l.strip_prefix("# ")?.strip_prefix(key));
            line.map(|l| l.split_whitespace().collect())
        };
        let images = match said("images:") {
            None => IMAGES.to_vec(),
            Some(named) => {
                for name in &named {
                    assert!(*name == OLD || IMAGES.contains(name), "{stem}.sh: no image {name}");
                }
                IMAGES.into_iter().chain([OLD]).filter(|i| named.contains(i)).collect()
            }
        };
        assert!(!images.is_empty(), "{stem}.sh runs nowhere");
        let files = said("files:").unwrap_or_default().into_iter().map(|f| folder.join(f)).collect();
        let tests = said("tests:").unwrap_or_default().into_iter().map(str::to_owned).collect();
        let root = said("root:").map(|words| match words.first() {
            Some(&"yes") | None => "zone".to_owned(),
            Some(section) => (*section).to_owned(),
        });
        let machine = said("machine:").and_then(|words| words.first().map(|word| (*word).to_owned()));
        scripts.push(Script { name: stem, machine, images, files, tests, root });
    }
    scripts.sort_by(|a, b| a.name.cmp(&b.name));
    scripts
}

fn vm() -> Command {
    let mut command = Command::new(here("tests/vm/vm"));
    // It ends with this test, whatever ends the test.
    command.arg("--tied").stdin(Stdio::null());
    command
}

/// Runs a test if there is a machine for it; else says aloud why not. Where `ZONES_TEST_REQUIRE` names
/// `zfs`, that is a failure.
fn in_machine(image: &str, test: impl FnOnce() -> Result<(), Failed>) -> Result<(), Failed> {
    let asked = env::var("ZONES_TEST_REQUIRE").is_ok_and(|v| v.split(',').any(|w| w == "zfs"));
    let required = asked && image != OLD;
    // `make test` has it built at this moment.
    let wait = image != OLD && (required || env::var_os("ZONES_VM_BUILD").is_some());
    let why = match vm().args([if wait { "build" } else { "built" }, image]).output() {
        Err(e) => format!("tests/vm/vm cannot be started: {e}"),
        Ok(done) if done.status.success() => return test(),
        Ok(done) if wait => String::from_utf8_lossy(&done.stderr).trim().to_owned(),
        Ok(_) => format!("its image is not built: make vm-image VM_IMAGE={image}"),
    };
    if required {
        return Err(format!("the tests with real ZFS must run here, but not on {image}: {why}").into());
    }
    println!("SKIPPED: no machine {image} with real ZFS: {why}");
    Ok(())
}

/// Makes a copy of a program without what only a debugger wants: it goes through an emulated disk.
fn stripped(program: &Path, name: &str, folder: &Path) -> Result<PathBuf, Failed> {
    let out = folder.join(name);
    let done = Command::new("strip").arg("-o").arg(&out).arg(program).output();
    if !done.is_ok_and(|d| d.status.success()) {
        fs::copy(program, &out)?;
    }
    Ok(out)
}

/// Finds another test program of this crate: the newest of that name. All are built before one runs.
fn test_program(name: &str) -> Result<PathBuf, Failed> {
    let this = env::current_exe()?;
    let mut found = None;
    for entry in fs::read_dir(this.parent().ok_or("a program lies in a folder")?)? {
        let path = entry?.path();
        let of = |p: &Path| p.file_name()?.to_str()?.rsplit_once('-').map(|(n, _)| n == name);
        if path.extension().is_none() && of(&path) == Some(true) {
            found = found.max(Some((fs::metadata(&path)?.modified()?, path)));
        }
    }
    found.map(|(_, path)| path).ok_or_else(|| format!("the test program {name} is not built").into())
}

/// Runs a command, prints its lines as they come, and returns them and its status.
fn watch(command: &mut Command) -> Result<(Vec<String>, Option<i32>), Failed> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut lines = Vec::new();
    for line in BufReader::new(child.stdout.take().ok_or("a pipe")?).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        println!("{line}");
        lines.push(line);
    }
    Ok((lines, child.wait()?.code()))
}

/// Returns a system for a zone, as a file for the machine; it takes a mirror to make one.
fn zone_root(image: &str, section: &str) -> Result<PathBuf, String> {
    let done = vm().args(["root", image, section]).output().map_err(|e| e.to_string())?;
    if !done.status.success() {
        return Err(String::from_utf8_lossy(&done.stderr).trim().to_owned());
    }
    Ok(format!("{}=root.tar", String::from_utf8_lossy(&done.stdout).trim()).into())
}

/// A script with real zones.
fn zones(image: &str, script: &Script) -> Result<(), Failed> {
    let name = script.name.as_str();
    let folder = tempfile::tempdir()?;
    let mut command = vm();
    command.args(["run", "--timeout", LIMIT, "--arg", name, image]);
    command.arg(here("tests/zfs-zone/run.sh")).arg(here("tests/zfs-zone/lib.sh"));
    command.args(name.split(' ').map(|part| here(&format!("tests/zfs-zone/{part}.sh")))).args(&script.files);
    for test in &script.tests {
        command.arg(stripped(&test_program(test)?, test, folder.path())?);
    }
    if !script.tests.is_empty() {
        // Where test programs look for the others.
        let programs = Path::new(PROGRAMS[0]).parent().ok_or("programs lie in a folder")?;
        let note = folder.path().join("programs");
        fs::write(&note, programs.as_os_str().as_encoded_bytes())?;
        command.arg(note);
    }
    for program in PROGRAMS.map(Path::new) {
        let name = program.file_name().and_then(|n| n.to_str()).ok_or("a program has a name")?;
        command.arg(stripped(program, name, folder.path())?);
    }
    let (lines, status) = watch(&mut command)?;
    let failed: Vec<&str> = lines.iter().filter_map(|l| l.strip_prefix("FAIL  ")).collect();
    if !failed.is_empty() {
        return Err(format!("{} checks failed on {image}: {}", failed.len(), failed.join("; ")).into());
    }
    let told = lines.iter().filter(|l| l.starts_with("ok    ")).count();
    // Checks whose lines a script keeps to itself are counted as well.
    let count = |l: &String| l.strip_suffix(" passed, 0 failed").and_then(|n| n.parse::<usize>().ok());
    match status {
        // A script that ends early has not checked anything.
        Some(0) if told > 0 && lines.iter().filter_map(count).any(|n| n >= told) => Ok(()),
        Some(0) => Err(format!("{name} ended without the count of checks").into()),
        status => Err(format!("{name} on {image}: exit status {status:?}").into()),
    }
}

/// The calls of the table, beside the Python binding.
fn calls(image: &str) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let results = folder.path().join("results");
    let mut command = vm();
    command.args(["run", "--timeout", LIMIT, "--results"]).arg(&results).arg(image);
    command.arg(here("tests/zfs/run.sh"));
    command.arg(stripped(&env::current_exe()?, "zfs", folder.path())?);
    for file in ["cases.jsonl", "without-library.jsonl", "pyzfs.py"] {
        command.arg(here("tests/zfs").join(file));
    }
    let (_, status) = watch(&mut command)?;
    if status != Some(0) {
        return Err(format!("the calls on {image}: exit status {status:?}").into());
    }
    let mut compare = Command::new("python3");
    compare.arg(here("tests/zfs/compare.py")).arg(here("tests/zfs/cases.jsonl")).arg(&results);
    match watch(&mut compare)? {
        (_, Some(0)) => Ok(()),
        (lines, _) => Err(lines.last().cloned().unwrap_or_default().into()),
    }
}
