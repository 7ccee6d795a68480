//! A session of `zonecfg` on one zone: the spec that is edited, the scope, and the effect of each command on it.
//!
//! ```text
//!            add RES, select RES                  
//!   global ───────────────────────▶ resource (a draft; nothing of it is in the spec)
//!      ▲                                │
//!      └────── end (checked, stored), cancel (dropped)
//! ```
//!
//! The spec is read when a command first needs it, edited in memory, and saved by `commit` or by
//! the end of the session. Commands of the global scope are in `lifecycle`, those that
//! work on resources and properties in `resources`, on resources that stand in an open one in `inner`.

use std::collections::BTreeSet;

use crate::parser::{Command, CommandWord, ParseError, Word};
use crate::spec::schema::ResourceKind;
use crate::spec::state::ZoneState;
use crate::spec::store::{ContentToken, StoreError, ZoneStore};
use crate::spec::{Props, ZoneName, ZoneSpec, diff};

use super::console::{Complaint, UserInterface};
use super::help;
use super::index::KeyIndex;

/// Result of a command: done, or the error to report.
pub(super) type CommandResult = Result<(), Complaint>;

/// How a session is set up.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// `-R` was given: `set -F zonepath` is allowed.
    pub alternate_root: bool,
    /// The name by which the program was called, for prompts and messages.
    pub program: String,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self { alternate_root: false, program: "zonecfg".to_owned() }
    }
}

/// The loop's action after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Goes on.
    Go,
    /// Ends the session properly.
    Exit {
        /// Without any question.
        force: bool,
    },
    /// Ends at once with status 1; nothing is saved.
    Abort,
}

/// How the input ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputEnd {
    /// No more input.
    Eof,
    /// The command `exit`.
    Exit {
        /// Without any question.
        force: bool,
    },
    /// An error in a command file.
    Stopped,
}

/// A resource that is being edited.
#[derive(Debug)]
pub(super) struct Draft {
    pub kind: ResourceKind,
    pub props: Props,
    /// Its place among the stored ones; none for a new one.
    pub place: Option<usize>,
    /// The open resource in which it stands.
    pub outer: Option<Box<Self>>,
}

impl Draft {
    /// Returns the names of the open resources as the prompt has them, the outermost first.
    fn path(&self) -> String {
        match &self.outer {
            Some(outer) => format!("{}:{}", outer.path(), self.kind),
            None => self.kind.to_string(),
        }
    }
}

/// The saved spec that the edit started from.
#[derive(Debug)]
pub(super) struct Base {
    pub name: ZoneName,
    pub token: ContentToken,
    /// Copy for comparing and merging; none as long as nothing was changed since.
    pub spec: Option<ZoneSpec>,
}

/// An editing session.
pub struct EditSession<'s> {
    pub(super) store: &'s dyn ZoneStore,
    pub(super) options: SessionOptions,
    /// The zone's name, as the prompt shows it.
    pub(super) zone: ZoneName,
    pub(super) base: Option<Base>,
    pub(super) spec: Option<ZoneSpec>,
    pub(super) draft: Option<Draft>,
    pub(super) index: KeyIndex,
    pub(super) dirty: bool,
    /// The next commit overwrites the saved spec (`create -F`).
    pub(super) overwrite: bool,
    /// The saved spec cannot be understood, and the next commit replaces it.
    pub(super) mends: bool,
    /// The zone was begun by `create` alone, which in Solaris 11 brings an `anet`.
    pub(super) plain: bool,
    /// The directories of Solaris 10's sparse root that were to be inherited no more since `create`.
    pub(super) whole: BTreeSet<&'static str>,
    /// Whether a zone that is missing is to be begun with `create` is said: to a person, and in a session that is
    /// piped in.
    pub(super) invites: bool,
    writable: Option<bool>,
    saw_error: bool,
}

impl<'s> EditSession<'s> {
    /// Starts a session. Nothing is read yet.
    pub fn new(store: &'s dyn ZoneStore, zone: ZoneName, options: SessionOptions) -> Self {
        Self {
            store,
            options,
            zone,
            base: None,
            spec: None,
            draft: None,
            index: KeyIndex::default(),
            dirty: false,
            overwrite: false,
            mends: false,
            plain: false,
            whole: BTreeSet::new(),
            invites: true,
            writable: None,
            saw_error: false,
        }
    }

    /// Returns the prompt.
    pub fn prompt(&self) -> String {
        let program = &self.options.program;
        match &self.draft {
            None => format!("{program}:{}> ", self.zone),
            Some(draft) => format!("{program}:{}:{}> ", self.zone, draft.path()),
        }
    }

    /// Returns the kind of the open resource, none in the global scope.
    pub fn scope(&self) -> Option<ResourceKind> {
        self.draft.as_ref().map(|d| d.kind)
    }

    /// Returns the properties of the open resource.
    pub fn draft(&self) -> Option<&Props> {
        self.draft.as_ref().map(|d| &d.props)
    }

    /// Returns the spec as edited so far.
    pub fn spec(&self) -> Option<&ZoneSpec> {
        self.spec.as_ref()
    }

    /// Does not explain how to begin a missing zone: no user is there to read it.
    pub fn without_invitation(&mut self) {
        self.invites = false;
    }

    /// Returns the name of the zone.
    pub fn zone(&self) -> &ZoneName {
        &self.zone
    }

    /// Says whether something is not saved.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Says whether any error was seen.
    pub fn saw_error(&self) -> bool {
        self.saw_error
    }

    /// Says whether the user may save this zone. Asked once.
    pub fn may_save(&mut self) -> bool {
        *self.writable.get_or_insert_with(|| self.store.writable(&self.zone))
    }

    /// Reads the zone at the start of an interactive session; that there is none is no error here.
    pub fn greet(&mut self, con: &mut dyn UserInterface) {
        let seen = self.saw_error;
        if let Err(complaint) = self.need_zone() {
            self.report(&complaint, con);
            // Only a damaged spec counts; a missing one is normal, since "create" begins a new zone.
            self.saw_error = seen || complaint.after.is_none();
        }
    }

    /// Reports an error and remembers that there was one.
    pub fn report(&mut self, complaint: &Complaint, con: &mut dyn UserInterface) {
        self.saw_error = true;
        con.complain(complaint);
        if let Some(line) = complaint.after.filter(|_| self.invites) {
            con.print(line);
        }
    }

    /// Reports that a statement is no command. `place` is the line, and the name of the command file unless that is
    /// standard input.
    pub fn report_syntax(
        &mut self,
        error: &ParseError,
        place: Option<(usize, Option<&str>)>,
        con: &mut dyn UserInterface,
    ) {
        let (mut text, meant) = match (error, place) {
            (ParseError::Usage { verb, .. }, place) => {
                let line = match place {
                    None => String::new(),
                    Some((line, None)) => format!("syntax error on line {line}\n"),
                    Some((line, Some(file))) => format!("syntax error on line {line} of {file}\n"),
                };
                (line + &help::usage_text(*verb), Vec::new())
            }
            (ParseError::Unexpected { token, meant, .. }, Some((line, _))) => {
                (format!("syntax error on line {line} at '{token}'\n"), meant.clone())
            }
            (ParseError::Ended { .. }, Some((line, _))) => {
                (format!("syntax error on line {line} at '\\n'\n"), Vec::new())
            }
            (ParseError::Unexpected { meant, .. }, None) => (format!("{error}\n"), meant.clone()),
            (ParseError::Ended { .. }, None) => (format!("{error}\n"), Vec::new()),
        };
        if !matches!(error, ParseError::Usage { .. }) {
            text.push_str(&help::commands_text());
        }
        let text = text.trim_end().to_owned();
        self.report(&Complaint { text, placed: true, span: Some(error.span()), meant, after: None }, con);
    }

    /// Carries out one command.
    pub fn eval(&mut self, command: Command, con: &mut dyn UserInterface) -> Flow {
        match self.run(command, con) {
            Ok(flow) => flow,
            Err(complaint) => {
                self.report(&complaint, con);
                Flow::Go
            }
        }
    }

    fn run(&mut self, command: Command, con: &mut dyn UserInterface) -> Result<Flow, Complaint> {
        match command {
            Command::AddResource { kind, at } => {
                self.prepare(CommandWord::Add)?;
                if self.is_inner(kind, at)? {
                    self.add_inner(kind);
                    return Ok(Flow::Go);
                }
                // In a resource the word must be one of its lists.
                if self.draft.is_some() {
                    return Err(Complaint::new(help::usage_text(CommandWord::Add).trim_end()).at(at));
                }
                self.add_resource(kind, at)?;
            }
            Command::AddValue { prop, value } => {
                self.prepare(CommandWord::Add)?;
                self.add_value(&prop, &value)?;
            }
            Command::Cancel => {
                self.resource_scope(CommandWord::Cancel)?;
                self.leave();
            }
            Command::Clear { prop } => {
                self.prepare(CommandWord::Clear)?;
                self.clear(&prop)?;
            }
            Command::Commit { force } => {
                self.prepare(CommandWord::Commit)?;
                self.global_scope(CommandWord::Commit)?;
                self.commit(force, con)?;
            }
            Command::Create { source, force } => return self.create(&source, force, con),
            Command::Delete { force } => {
                self.may_change(CommandWord::Delete)?;
                self.global_scope(CommandWord::Delete)?;
                return self.delete(force, con);
            }
            Command::Diff { revision } => {
                if revision.is_none() {
                    self.need_zone()?;
                }
                self.show_diff(revision, con)?;
            }
            Command::End => {
                self.prepare(CommandWord::End)?;
                self.resource_scope(CommandWord::End)?;
                self.end(con)?;
            }
            Command::Exit { force } => return self.exit(force, con),
            Command::Export { file, format } => {
                self.need_zone()?;
                self.global_scope(CommandWord::Export)?;
                self.export(file.as_ref(), format, con)?;
            }
            Command::Help { topic } => self.help(topic.as_ref(), con)?,
            Command::InfoAll { .. } | Command::InfoProperty { .. } | Command::InfoResource { .. } => {
                self.need_zone()?;
                self.info(&command, con)?;
            }
            Command::Log => {
                self.need_zone_or_revisions()?;
                self.show_log(con)?;
            }
            Command::Merge => {
                self.prepare(CommandWord::Merge)?;
                self.global_scope(CommandWord::Merge)?;
                self.merge(con)?;
            }
            Command::RemoveResource { kind, pick, force, at } => {
                self.prepare(CommandWord::Remove)?;
                if self.is_inner(kind, at)? {
                    self.remove_inner(kind, &pick, force, at, con)?;
                    return Ok(Flow::Go);
                }
                self.global_scope(CommandWord::Remove)?;
                self.remove_resource(kind, &pick, force, at, con)?;
            }
            Command::RemoveValue { prop, value, force } => {
                self.prepare(CommandWord::Remove)?;
                self.remove_value(&prop, &value, force)?;
            }
            Command::Revert { force, revision } => {
                self.may_change(CommandWord::Revert)?;
                return self.revert(force, revision, con);
            }
            Command::Select { kind, pick, at } => {
                self.prepare(CommandWord::Select)?;
                if self.is_inner(kind, at)? {
                    self.select_inner(kind, &pick, at)?;
                    return Ok(Flow::Go);
                }
                self.global_scope(CommandWord::Select)?;
                self.select(kind, &pick, at)?;
            }
            Command::Set { prop, value, force } => {
                // The target may be renamed before there is a zone.
                self.may_change(CommandWord::Set)?;
                if prop.text != "zonename" {
                    self.need_zone()?;
                }
                self.set(&prop, &value, force, con)?;
            }
            Command::Verify => {
                self.need_zone()?;
                self.verify(true, con)?;
            }
        }
        Ok(Flow::Go)
    }

    /// Makes sure that the zone may be changed and is loaded.
    fn prepare(&mut self, verb: CommandWord) -> CommandResult {
        self.may_change(verb)?;
        self.need_zone()
    }

    pub(super) fn may_change(&mut self, verb: CommandWord) -> CommandResult {
        if self.zone.is_reserved() {
            let prefix = if self.zone.as_str().starts_with("SUNW") { "SUNW" } else { "SYS" };
            let text = format!("{}: zones beginning with {prefix} are read-only.", self.zone);
            return Err(Complaint::new(text));
        }
        if !self.may_save() {
            return Err(Complaint::new(format!("{}: cannot {} in read-only mode.", self.zone, verb.name())));
        }
        Ok(())
    }

    /// Reads the zone unless there is a spec already. A spec without unsaved changes is read again when another user
    /// has saved it since.
    pub(super) fn need_zone(&mut self) -> CommandResult {
        let edited = self.dirty || self.draft.is_some();
        let stale = match &self.base {
            Some(base) if !edited => !self.store.is_saved(&base.name, &base.token),
            _ => false,
        };
        if stale {
            self.base = None;
            self.spec = None;
        }
        if self.spec.is_none() {
            self.load()?;
        }
        if self.spec.is_some() {
            return Ok(());
        }
        let mut complaint = Complaint::new(format!("{}: {}", self.zone, StoreError::NoZone));
        complaint.after = Some("Use 'create' to begin configuring a new zone.\n");
        Err(complaint)
    }

    /// Reads the zone for a command that needs its former specs only. Says whether the present one is saved and
    /// cannot be understood.
    pub(super) fn need_zone_or_revisions(&mut self) -> Result<bool, Complaint> {
        let Err(complaint) = self.need_zone() else { return Ok(false) };
        let damaged = matches!(self.store.load(&self.zone), Err(StoreError::Invalid(_)));
        if damaged && self.has_revisions() { Ok(true) } else { Err(complaint) }
    }

    fn has_revisions(&self) -> bool {
        self.store.revisions(&self.zone).is_ok_and(|list| !list.is_empty())
    }

    /// Reads the saved spec, if there is one.
    pub(super) fn load(&mut self) -> CommandResult {
        let stored = self.store.load(&self.zone).map_err(|e| match e {
            StoreError::Io(reason) => {
                let program = &self.options.program;
                Complaint::new(format!("{program}: Could not access zone configuration store: {reason}"))
            }
            e @ StoreError::Invalid(_) if self.has_revisions() => Complaint::new(format!(
                "{}\nFormer specs of the zone are there: see 'log', 'diff N' and 'revert N'.",
                self.failed(&e).text
            )),
            e => self.failed(&e),
        })?;
        self.index.clear();
        self.draft = None;
        self.plain = false;
        self.whole.clear();
        match stored {
            Some(stored) => {
                let (name, token) = (self.zone.clone(), stored.token);
                self.base = Some(Base { name, token, spec: None });
                self.spec = Some(stored.spec);
            }
            None if self.zone.is_global() => self.spec = Some(ZoneSpec::new(self.zone.clone())),
            None if self.zone.is_reserved() => {
                self.spec = self.find_template(self.zone.as_str()).map_err(|e| self.failed(&e))?.map(|t| t.0);
            }
            None => (),
        }
        Ok(())
    }

    /// Puts the zone's name before the reason of the store.
    pub(super) fn failed(&self, error: &StoreError) -> Complaint {
        Complaint::new(format!("{}: {error}", self.zone))
    }

    /// Must be called before the spec is changed.
    pub(super) fn touch(&mut self) {
        if let (false, Some(base)) = (self.dirty, &mut self.base)
            && base.spec.is_none()
        {
            base.spec = self.spec.clone();
        }
        self.dirty = true;
    }

    /// Returns the spec; the caller has made sure that it is loaded.
    pub(super) fn loaded(&self) -> Result<&ZoneSpec, Complaint> {
        self.spec.as_ref().ok_or_else(|| self.failed(&StoreError::NoZone))
    }

    /// Returns the spec for a change.
    pub(super) fn loaded_mut(&mut self) -> Result<&mut ZoneSpec, Complaint> {
        self.touch();
        let missing = self.failed(&StoreError::NoZone);
        self.spec.as_mut().ok_or(missing)
    }

    /// Returns the state of the saved zone; none when it was never saved.
    pub(super) fn state(&self) -> Result<Option<ZoneState>, Complaint> {
        let name = self.base.as_ref().map_or(&self.zone, |b| &b.name);
        self.store.state(name).map_err(|e| self.failed(&e))
    }

    pub(super) fn global_scope(&self, verb: CommandWord) -> CommandResult {
        if self.draft.is_none() { Ok(()) } else { Err(Self::wrong_scope(verb, "global")) }
    }

    pub(super) fn resource_scope(&self, verb: CommandWord) -> CommandResult {
        if self.draft.is_some() { Ok(()) } else { Err(Self::wrong_scope(verb, "resource")) }
    }

    pub(super) fn wrong_scope(verb: CommandWord, scope: &str) -> Complaint {
        Complaint::new(format!("The {} command only makes sense in the {scope} scope.", verb.name()))
    }

    fn help(&mut self, topic: Option<&Word>, con: &mut dyn UserInterface) -> CommandResult {
        match help::topic_text(topic.map(|t| t.text.as_str()), self.scope()) {
            Ok(text) => con.page(&text),
            Err(meant) => {
                let word = topic.map_or("", |t| &t.text);
                let mut complaint = Complaint::new(format!("Unknown help subject {word}.  ")).suggest(meant);
                complaint.span = topic.map(|t| t.span);
                return Err(complaint);
            }
        }
        Ok(())
    }

    fn show_diff(&mut self, revision: Option<u32>, con: &mut dyn UserInterface) -> CommandResult {
        let newest;
        let spec = if self.need_zone_or_revisions()? {
            // The last revision was saved before the damage.
            let list = self.store.revisions(&self.zone).map_err(|e| self.failed(&e))?;
            let number = list.last().map_or(0, |last| last.number);
            con.warn(&format!(
                "WARNING: the present spec cannot be understood; this compares with revision {number}"
            ));
            newest = self.store.revision(&self.zone, number).map_err(|e| self.failed(&e))?;
            &newest
        } else {
            self.loaded()?
        };
        let name = self.base.as_ref().map_or(&self.zone, |b| &b.name);
        let old = match revision {
            Some(number) => self.store.revision(name, number).map_err(|e| self.failed(&e))?,
            None => match self.store.load(name).map_err(|e| self.failed(&e))? {
                Some(stored) => stored.spec,
                None => ZoneSpec::new(self.zone.clone()),
            },
        };
        let changes = diff::diff(&old, spec);
        let text: String = diff::listed(&changes).map(|c| format!("{c}\n")).collect();
        con.page(&text);
        Ok(())
    }

    fn show_log(&mut self, con: &mut dyn UserInterface) -> CommandResult {
        let name = self.base.as_ref().map_or(&self.zone, |b| &b.name);
        let revisions = self.store.revisions(name).map_err(|e| self.failed(&e))?;
        let text: String =
            revisions.iter().map(|r| format!("{:>4}  {}  {}\n", r.number, utc(r.time), r.user)).collect();
        con.page(&text);
        Ok(())
    }

    pub(super) fn ended_with_error(&mut self) {
        self.saw_error = true;
    }
}

/// Complains about a property that the scope does not have.
pub(super) fn no_property(prop: &Word) -> Complaint {
    Complaint::new(format!("{}: No such property type", prop.text)).at(prop.span)
}

/// Formats seconds since the epoch as universal time (days to date after Howard Hinnant).
fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn dates() {
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(951_827_696), "2000-02-29 12:34:56 UTC");
        assert_eq!(utc(1_795_302_000), "2026-11-21 23:00:00 UTC");
    }
}
