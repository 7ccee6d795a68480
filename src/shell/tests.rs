//! Tests that need two sessions at once, or a store that refuses.

use super::console::{Complaint, Confirmation, UserInterface};
use super::session::{EditSession, Flow, InputEnd, SessionOptions};
use crate::parser::Parser;
use crate::spec::mem::MemStore;
use crate::spec::schema::{self, ResourceKind as R, TakesEffect};
use crate::spec::state::ZoneState;
use crate::spec::{ZoneName, ZoneSpec};

/// A user who answers from a list.
#[derive(Default)]
struct User {
    out: String,
    err: String,
    answers: Vec<Confirmation>,
    files: Vec<(String, String)>,
}

impl UserInterface for User {
    fn print(&mut self, text: &str) {
        self.out.push_str(text);
    }
    fn page(&mut self, text: &str) {
        self.out.push_str(text);
    }
    fn complain(&mut self, complaint: &Complaint) {
        self.err.push_str(&format!("{complaint}\n"));
    }
    fn warn(&mut self, text: &str) {
        self.err.push_str(&format!("{text}\n"));
    }
    fn ask(&mut self, question: &str) -> Confirmation {
        self.out.push_str(&format!("{question}?\n"));
        if self.answers.is_empty() { Confirmation::Nobody } else { self.answers.remove(0) }
    }
    fn is_user(&self, _: &str) -> bool {
        true
    }
    fn write_file(&mut self, path: &str, text: &str) -> Result<(), String> {
        if path == "/full" {
            return Err("No space left on device".into());
        }
        self.files.push((path.to_owned(), text.to_owned()));
        Ok(())
    }
}

fn zone(text: &str) -> ZoneName {
    ZoneName::new(text).expect("a name")
}

fn store() -> MemStore {
    let mut store = MemStore::default();
    store.add_template("blank", ZoneSpec::new(zone("blank")));
    store
}

/// Runs commands and returns what they printed to standard error.
fn run(session: &mut EditSession<'_>, user: &mut User, text: &str) -> String {
    user.err.clear();
    for parsed in Parser::new(text, 1) {
        let flow = session.eval(parsed.command.expect(text), user);
        assert_eq!(flow, Flow::Go, "{text}");
    }
    user.err.clone()
}

fn session<'s>(store: &'s MemStore, name: &str) -> EditSession<'s> {
    EditSession::new(store, zone(name), SessionOptions::default())
}

#[test]
fn the_second_of_two_editors_is_told_what_changed() {
    let store = store();
    let mut user = User::default();
    let mut first = session(&store, "zion");
    run(&mut first, &mut user, "create -b; set zonepath=/zones/zion; commit");
    let mut second = session(&store, "zion");
    run(&mut second, &mut user, "set autoboot=true; add attr; set name=a; set type=int; set value=1; end");
    assert_eq!(run(&mut first, &mut user, "set pool=web; set bootargs=first; commit"), "");
    assert_eq!(
        run(&mut second, &mut user, "commit"),
        "zion: the configuration was changed by somebody else meanwhile:\n\
         \x20 ~ bootargs: (unset) -> first\n\
         \x20 ~ pool: (unset) -> web\n\
         Use 'merge' to take these changes in, 'commit -F' to overwrite them, or 'revert'.\n"
    );
    // The implicit commit at the end is no way round it.
    assert_eq!(second.finish(InputEnd::Eof, false, &mut user), Some(1));
    assert_eq!(store.saved("zion").expect("saved").props.text("autoboot"), None);
    user.out.clear();
    run(&mut first, &mut user, "set bootargs=third");
    assert_eq!(run(&mut second, &mut user, "set bootargs=second; merge; commit"), "");
    assert_eq!(user.out, "~ pool: (unset) -> web\n! bootargs: second here, first there; kept what is here\n");
    let saved = store.saved("zion").expect("saved");
    assert_eq!(saved.props.text("pool"), Some("web"));
    assert_eq!(saved.props.text("bootargs"), Some("second"));
    assert_eq!(saved.props.text("autoboot"), Some("true"));
    // Overwriting on purpose.
    run(&mut first, &mut user, "commit -F");
    assert_eq!(store.saved("zion").expect("saved").props.text("bootargs"), Some("third"));
    assert_eq!(store.saved("zion").expect("saved").props.text("autoboot"), None);
    // A user who has changed nothing continues with the spec that is saved now.
    assert_eq!(run(&mut second, &mut user, "set pool=db; commit"), "");
    assert_eq!(store.saved("zion").expect("saved").props.text("bootargs"), Some("third"));
}

#[test]
fn two_who_create_the_same_zone() {
    let store = store();
    let mut user = User::default();
    let (mut first, mut second) = (session(&store, "zion"), session(&store, "zion"));
    run(&mut first, &mut user, "create -b; set zonepath=/a");
    run(&mut second, &mut user, "create -b; set zonepath=/b; commit");
    let err = run(&mut first, &mut user, "commit");
    assert!(err.contains("changed by somebody else") && err.contains("zonepath: (unset) -> /b"), "{err}");
    run(&mut first, &mut user, "revert -F");
}

#[test]
fn read_only() {
    let mut store = store();
    let mut user = User::default();
    run(&mut session(&store, "zion"), &mut user, "create -b; set zonepath=/zones/zion; commit");
    store.read_only = true;
    let mut reader = session(&store, "zion");
    assert_eq!(run(&mut reader, &mut user, "info pool; verify; export"), "");
    for (command, word) in [
        ("add net", "add"),
        ("clear pool", "clear"),
        ("commit", "commit"),
        ("create -F -b", "create"),
        ("delete -F", "delete"),
        ("remove net", "remove"),
        ("revert", "revert"),
        ("select net 0", "select"),
        ("set pool=x", "set"),
    ] {
        let text = format!("zion: cannot {word} in read-only mode.\n");
        assert_eq!(run(&mut reader, &mut user, command), text, "{command}");
    }
    assert_eq!(reader.finish(InputEnd::Eof, false, &mut user), Some(1));
}

#[test]
fn running_zones() {
    let store = store();
    let mut user = User::default();
    run(&mut session(&store, "zion"), &mut user, "create -b; set zonepath=/zones/zion; commit");
    for state in [ZoneState::Ready, ZoneState::Running, ZoneState::ShuttingDown, ZoneState::Down] {
        store.set_state("zion", state);
        let mut editor = session(&store, "zion");
        let refused = "zion: Zone state is invalid for the requested operation\n";
        assert_eq!(run(&mut editor, &mut user, "delete -F"), refused);
        assert_eq!(
            run(&mut editor, &mut user, "create -F"),
            "Zone zion already installed; create not allowed.\n"
        );
        assert_eq!(
            run(&mut editor, &mut user, "set zonename=neo"),
            "neo: Zone state is invalid for the requested operation\n"
        );
        assert_eq!(run(&mut editor, &mut user, "set pool=x; commit"), "");
    }
}

#[test]
fn answers() {
    let store = store();
    let mut user = User::default();
    let mut editor = session(&store, "zion");
    run(&mut editor, &mut user, "create -b; set zonepath=/zones/zion; commit; set pool=a");
    user.answers = vec![Confirmation::No, Confirmation::Yes, Confirmation::No];
    run(&mut editor, &mut user, "revert; info pool; revert; info pool; delete; info zonename");
    assert_eq!(
        user.out,
        "Are you sure you want to revert?\npool: a\nAre you sure you want to revert?\npool: \n\
         Are you sure you want to delete zone zion?\nzonename: zion\n"
    );
    user.answers = vec![Confirmation::No];
    run(&mut editor, &mut user, "create -b; info zonepath");
    assert!(user.out.ends_with("Zone zion already exists; create anyway?\nzonepath: /zones/zion\n"));
    user.answers = vec![Confirmation::Yes];
    run(&mut editor, &mut user, "create -b; info zonepath");
    assert!(user.out.ends_with("Zone zion already exists; create anyway?\nzonepath: \n"));
    // A spec cannot be saved: the session returns to the prompt, then ends.
    user.answers = vec![Confirmation::No, Confirmation::Yes];
    assert_eq!(editor.finish(InputEnd::Eof, true, &mut user), None);
    assert_eq!(editor.finish(InputEnd::Eof, true, &mut user), Some(1));
}

#[test]
fn a_whole_pool_is_asked_about_twice() {
    let store = store();
    let mut user = User::default();
    let mut editor = session(&store, "zion");
    run(&mut editor, &mut user, "create -b; set zonepath=/zones/zion");
    let mut ask = |answers: &[Confirmation]| {
        user.answers = answers.to_vec();
        user.out.clear();
        let add =
            "remove -F attr; remove -F dataset; add dataset; set name=tank; end; info attr; info dataset";
        assert_eq!(run(&mut editor, &mut user, add), "");
        assert!(user.out.contains("name: tank"), "the dataset is kept whatever is answered: {}", user.out);
        (user.out.matches('?').count(), user.out.contains("delegate-pool"))
    };
    assert_eq!(ask(&[Confirmation::Yes, Confirmation::Yes]), (2, true));
    assert_eq!(ask(&[Confirmation::Yes, Confirmation::No]), (2, false));
    assert_eq!(ask(&[Confirmation::No]), (1, false));
    assert_eq!(ask(&[]), (1, false), "nobody is there to answer");
    user.out.clear();
    run(&mut editor, &mut user, "add dataset; set name=tank/zion; end");
    assert_eq!(user.out, "", "any other dataset goes without a word");
}

#[test]
fn export_to_a_file() {
    let store = store();
    let mut user = User::default();
    let mut editor = session(&store, "zion");
    run(&mut editor, &mut user, "create -b; set zonepath=/zones/zion; export -f /tmp/zion.cfg");
    assert_eq!(user.files[0].0, "/tmp/zion.cfg");
    assert!(user.files[0].1.starts_with("create -b\nset zonepath=/zones/zion\n"));
    assert_eq!(
        run(&mut editor, &mut user, "export -f /full"),
        "opening file /full: No space left on device\n"
    );
}

#[test]
fn what_takes_another_install_is_refused_from_install_on_and_nothing_else() {
    let states = [ZoneState::Configured, ZoneState::Installed, ZoneState::Ready, ZoneState::Running];
    for (state, def) in states.iter().flat_map(|s| schema::globals().iter().map(move |def| (*s, def))) {
        if !def.scope.has(false) {
            continue;
        }
        let store = store();
        let mut user = User::default();
        run(&mut session(&store, "zion"), &mut user, "create -b; set zonepath=/zones/zion; commit");
        store.set_state("zion", state);
        let set = format!("set {}=\"{}\"; commit", def.name, def.example.replace("zion", "neo"));
        let refused = match (def.takes_effect(None), state) {
            (TakesEffect::Reinstall(_), state) if state != ZoneState::Configured => {
                format!("Zone zion already installed; set {} not allowed.\n", def.name)
            }
            _ if def.name == "zonename" && state.is_active() => {
                "neo: Zone state is invalid for the requested operation\n".to_owned()
            }
            _ => String::new(),
        };
        assert_eq!(run(&mut session(&store, "zion"), &mut user, &set), refused, "{state}: {}", def.name);
    }
    // No state closes a resource.
    assert!(R::all().all(|kind| !matches!(kind.def().takes_effect(), TakesEffect::Reinstall(_))));
}
