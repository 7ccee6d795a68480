//! The session of a person at a terminal: line editing, history, completion, hints and colours.
//! Nothing of this is touched in any other mode.

use std::path::PathBuf;

use rustyline::error::ReadlineError;
use rustyline::{Config, Editor};

use super::console::Complaint;
use super::script::{Place, Streams, run_line, warn_read_only};
use super::session::{Ending, Flow, Session};

/// Longest line, as in illumos.
const LINE_MAX: usize = 1024;

/// Runs a session at the terminal until the user leaves. `greet` reads the zone first; without it
/// (`-f -`) errors are placed by line.
pub fn run(session: &mut Session<'_>, greet: bool) -> u8 {
    let place = if greet { Place::None } else { Place::Stdin };
    let mut con = Streams::new(place, true, true);
    warn_read_only(session, &mut con);
    if greet {
        session.greet(&mut con);
    }
    let config = Config::builder().history_ignore_space(true).build();
    let mut editor = match Editor::<(), rustyline::history::DefaultHistory>::with_config(config) {
        Ok(editor) => editor,
        Err(e) => {
            session.report(&Complaint::new(format!("cannot use the terminal: {e}")), &mut con);
            return 1;
        }
    };
    let history = history_file();
    if let Some(path) = &history {
        // The first session has none yet.
        let _ = editor.load_history(path);
    }
    let mut number = 0;
    loop {
        let ending = match editor.readline(&session.prompt()) {
            Ok(line) if line.len() > LINE_MAX => {
                let text = format!("the line is longer than {LINE_MAX} characters and was not read");
                session.report(&Complaint::new(text), &mut con);
                continue;
            }
            Ok(line) => {
                number += 1;
                let _ = editor.add_history_entry(line.as_str());
                match run_line(session, &mut con, &line, number) {
                    Flow::Go => continue,
                    Flow::Abort => return 1,
                    Flow::Exit { force } => Ending::Exit { force },
                }
            }
            Err(ReadlineError::Interrupted) => continue,
            Err(_) => Ending::Eof,
        };
        if let Some(status) = session.finish(ending, true, &mut con) {
            if let Some(path) = &history {
                save_history(&mut editor, path);
            }
            return status;
        }
    }
}

fn history_file() -> Option<PathBuf> {
    let dirs = directories::ProjectDirs::from("", "", "zones")?;
    Some(dirs.config_dir().join("history"))
}

fn save_history(editor: &mut Editor<(), rustyline::history::DefaultHistory>, path: &PathBuf) {
    // Losing the history must not look like losing the configuration, so nothing is said.
    let made = path.parent().is_some_and(|dir| std::fs::create_dir_all(dir).is_ok());
    if made {
        let _ = editor.append_history(path);
    }
}
