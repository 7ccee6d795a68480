//! Whole sessions of `zonecfg`, each file of `tests/transcripts` through the real program in a fresh
//! root. A file is a list of steps:
//!
//! ```text
//! # comment
//! $ zonecfg -z zion info        run the program below the root of the test
//! $ write NAME                  make a file (and its folders) in the working folder from the lines "< …"
//! $ state zion installed        set the state of a zone
//! $ cat NAME                    show a file of the working folder or of the root
//! < a line of standard input
//! > a line of standard output
//! ! a line of standard error
//! ? 1                           exit status, when it is not 0
//! ```
//!
//! `BLESS=1` writes what the program does now into the files; look at the difference before you keep it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libtest_mimic::{Arguments, Failed, Trial};
use zones::apply::paths::Root;
use zones::apply::store::FileStore;
use zones::spec::ZoneName;
use zones::spec::state::ZoneState;

/// One step of a transcript, with the comments above it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Step {
    comments: Vec<String>,
    command: String,
    input: Vec<String>,
    out: Vec<String>,
    err: Vec<String>,
    status: i32,
}

fn parse(text: &str) -> Result<(Vec<Step>, Vec<String>), String> {
    let mut steps: Vec<Step> = Vec::new();
    let mut comments = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let (mark, rest) = line.split_at(line.len().min(1));
        let rest = rest.strip_prefix(' ').unwrap_or(rest).to_owned();
        if mark.is_empty() || mark == "#" {
            comments.push(line.to_owned());
            continue;
        }
        if mark == "$" {
            let comments = std::mem::take(&mut comments);
            steps.push(Step { comments, command: rest, ..Step::default() });
            continue;
        }
        let step = steps.last_mut().ok_or_else(|| format!("line {}: no step yet", i + 1))?;
        match mark {
            "<" => step.input.push(rest),
            ">" => step.out.push(rest),
            "!" => step.err.push(rest),
            "?" => step.status = rest.parse().map_err(|e| format!("line {}: {e}", i + 1))?,
            _ => return Err(format!("line {}: unknown mark {mark}", i + 1)),
        }
    }
    Ok((steps, comments))
}

fn print(steps: &[Step], trailing: &[String]) -> String {
    let mut lines = Vec::new();
    for step in steps {
        lines.extend(step.comments.iter().cloned());
        lines.push(format!("$ {}", step.command));
        for (mark, texts) in [("<", &step.input), (">", &step.out), ("!", &step.err)] {
            lines.extend(texts.iter().map(|t| format!("{mark} {t}").trim_end_matches(' ').to_owned()));
        }
        if step.status != 0 {
            lines.push(format!("? {}", step.status));
        }
    }
    lines.extend(trailing.iter().cloned());
    lines.join("\n") + "\n"
}

/// Splits a command line at blanks; single quotes hold words together, as in a shell.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn lines(&self, bytes: &[u8]) -> Vec<String> {
        let text = String::from_utf8_lossy(bytes).replace(&self.root().display().to_string(), "{ROOT}");
        text.lines().map(|l| l.trim_end_matches(' ').to_owned()).collect()
    }

    fn run(&self, step: &Step) -> Result<Step, Failed> {
        let mut done = Step {
            comments: step.comments.clone(),
            command: step.command.clone(),
            input: step.input.clone(),
            ..Step::default()
        };
        let words = words(&step.command);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let input: String = step.input.iter().map(|l| format!("{l}\n")).collect();
        match &words[..] {
            ["write", name] => {
                let path = self.dir.path().join(name);
                std::fs::create_dir_all(path.parent().ok_or("a file has a folder")?)?;
                std::fs::write(path, input)?;
            }
            ["cat", name] => done.out = self.lines(&std::fs::read(self.dir.path().join(name))?),
            ["chmod", mode, name] => {
                use std::os::unix::fs::PermissionsExt as _;
                let mode = std::fs::Permissions::from_mode(u32::from_str_radix(mode, 8)?);
                std::fs::set_permissions(self.dir.path().join(name), mode)?;
            }
            ["state", zone, state] => self.set_state(zone, state)?,
            ["zonecfg", args @ ..] => {
                let mut child = Command::new(env!("CARGO_BIN_EXE_zonecfg"))
                    .args(args.iter().map(|a| a.replace("{ROOT}", &self.root().display().to_string())))
                    .current_dir(self.dir.path())
                    .env("ZONES_ROOT", self.root())
                    .env_remove("PAGER")
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()?;
                if let Some(mut pipe) = child.stdin.take() {
                    // A program that does not read its input closes the pipe.
                    let _ = pipe.write_all(input.as_bytes());
                }
                let output = child.wait_with_output()?;
                done.out = self.lines(&output.stdout);
                // The list of commands follows each syntax error; "zonecfg -?" shows it in full.
                let err = String::from_utf8_lossy(&output.stderr);
                done.err = self.lines(
                    err.replace(zones::shell::help::commands_text().trim_end(), "{COMMANDS}").as_bytes(),
                );
                done.status = output.status.code().ok_or("killed by a signal")?;
            }
            _ => return Err(format!("unknown step: {}", step.command).into()),
        }
        Ok(done)
    }

    fn set_state(&self, zone: &str, state: &str) -> Result<(), Failed> {
        let store = FileStore::open(Root::new(Some(&self.root())));
        let state = match state {
            "installed" => ZoneState::Installed,
            "incomplete" => ZoneState::Incomplete,
            other => return Err(format!("no such state: {other}").into()),
        };
        store.set_installed_state(&ZoneName::new(zone)?, state)?;
        Ok(())
    }
}

fn check(path: &Path) -> Result<(), Failed> {
    let (steps, trailing) = parse(&std::fs::read_to_string(path)?)?;
    if steps.is_empty() {
        return Err("the transcript has no steps".into());
    }
    let world = World { dir: tempfile::tempdir()? };
    std::fs::create_dir(world.root())?;
    let done: Vec<Step> = steps.iter().map(|s| world.run(s)).collect::<Result<_, _>>()?;
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, print(&done, &trailing))?;
        return Ok(());
    }
    for (wanted, found) in steps.iter().zip(&done) {
        if wanted != found {
            let wanted = print(std::slice::from_ref(wanted), &[]);
            let found = print(std::slice::from_ref(found), &[]);
            return Err(format!("wanted:\n{wanted}\nfound:\n{found}").into());
        }
    }
    Ok(())
}

fn main() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut trials = Vec::new();
    for entry in std::fs::read_dir(&dir).expect("tests/transcripts") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|e| e == "zcfg") {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            trials.push(Trial::test(name, move || check(&path)));
        }
    }
    assert!(!trials.is_empty(), "no transcripts in {}", dir.display());
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
