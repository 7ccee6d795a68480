//! Commands on the configuration as a whole: create, commit, revert, delete, merge, exit.

use crate::parser::CommandWord;
use crate::parser::command::CreateFrom;
use crate::spec::diff::{diff, listed};
use crate::spec::merge::merge;
use crate::spec::shown::Show;
use crate::spec::state::ZoneState;
use crate::spec::store::{Commit, StoreError};
use crate::spec::verify::{FindingReason, HostKnows, Severity, verify};
use crate::spec::{ResourceKind, Value, ZoneName, ZoneSpec, schema};

use super::console::{Complaint, Confirmation, UserInterface};
use super::session::{Base, CommandResult, EditSession, Flow, InputEnd};
use super::templates::{ForeignTemplate, foreign};

type TemplateLookup = Option<(ZoneSpec, Option<&'static ForeignTemplate>)>;

impl EditSession<'_> {
    /// Finds a template by its own or a foreign name.
    pub(super) fn find_template(&self, name: &str) -> Result<TemplateLookup, StoreError> {
        if let Some(spec) = self.store.template(name, &self.zone)? {
            return Ok(Some((spec, None)));
        }
        let Some(stand_in) = foreign(name) else { return Ok(None) };
        Ok(self.store.template(stand_in.ours, &self.zone)?.map(|spec| (spec, Some(stand_in))))
    }

    /// Starts a new configuration in memory.
    pub(super) fn create(
        &mut self,
        source: &CreateFrom,
        force: bool,
        con: &mut dyn UserInterface,
    ) -> Result<Flow, Complaint> {
        self.may_change(CommandWord::Create)?;
        // A damaged file is never overwritten, so it must be readable first.
        let stored = self.store.load(&self.zone).map_err(|e| self.failed(&e))?;
        let state = self.store.state(&self.zone).map_err(|e| self.failed(&e))?;
        match state {
            None => (),
            Some(_) if *source == CreateFrom::Present => (),
            Some(ZoneState::Configured | ZoneState::Incomplete) if force => {
                con.print(&format!("Zone {} already exists; overwriting.\n", self.zone));
            }
            Some(ZoneState::Configured | ZoneState::Incomplete) => {
                match con.ask(&format!("Zone {} already exists; create anyway", self.zone)) {
                    Confirmation::Yes => (),
                    Confirmation::No => return Ok(Flow::Go),
                    Confirmation::Nobody => {
                        let text = "Zone exists, input not from terminal and -F not specified:\ncreate command ignored, exiting.";
                        self.report(&Complaint::new(text), con);
                        return Ok(Flow::Abort);
                    }
                }
            }
            Some(_) => {
                let text = format!("Zone {} already installed; create not allowed.", self.zone);
                return Err(Complaint::new(text));
            }
        }
        let spec = self.source(source, con)?;
        // The commit replaces the spec that is saved now.
        self.base = stored.map(|s| Base { name: self.zone.clone(), token: s.token, spec: Some(s.spec) });
        self.plain = *source == CreateFrom::Default;
        self.whole.clear();
        self.spec = Some(spec);
        self.draft = None;
        self.index.clear();
        self.dirty = true;
        Ok(Flow::Go)
    }

    fn source(&self, source: &CreateFrom, con: &mut dyn UserInterface) -> Result<ZoneSpec, Complaint> {
        let missing = |name: &str| Complaint::new(format!("{name}: {}", StoreError::NoZone));
        let name = match source {
            CreateFrom::Default => "default",
            CreateFrom::Blank => "blank",
            CreateFrom::Template(name) => name.text.as_str(),
            CreateFrom::Detached(path) => {
                let found = self.store.detached(&path.text, &self.zone).map_err(|e| self.failed(&e))?;
                let mut spec =
                    found.ok_or_else(|| Complaint::new("invalid path to detached zone").at(path.span))?;
                if let Some(def) = schema::global("zonepath") {
                    let value = def.check(&Value::simple(path.text.as_str()), None);
                    spec.props.set(def, value.map_err(|e| Complaint::new(e.to_string()).at(path.span))?);
                }
                return Ok(spec);
            }
            CreateFrom::Present => {
                let stored = self.store.load(&self.zone).map_err(|e| self.failed(&e))?;
                return stored.map(|s| s.spec).ok_or_else(|| missing(self.zone.as_str()));
            }
        };
        if self.zone.is_global() {
            return Ok(ZoneSpec::new(self.zone.clone()));
        }
        if let Some((mut spec, stand_in)) = self.find_template(name).map_err(|e| self.failed(&e))? {
            if let Some(stand_in) = stand_in {
                if stand_in.whole {
                    spec.stored_mut(ResourceKind::InheritPkgDir).clear();
                }
                let ip_type = schema::global("ip-type").filter(|_| stand_in.exclusive);
                if let Some(def) = ip_type {
                    spec.props.set(def, Value::simple("exclusive"));
                }
                if !stand_in.silent {
                    let with = if stand_in.exclusive { " with ip-type=exclusive" } else { "" };
                    con.print(&format!(
                        "create: template '{name}' is of another platform; using '{}'{with}\n",
                        stand_in.ours
                    ));
                }
                if let Some(note) = stand_in.note {
                    con.print(&format!("create: {note}\n"));
                }
            }
            return Ok(spec);
        }
        // Any configured zone may serve as a template.
        let other = ZoneName::new(name).map_err(|_| missing(name))?;
        let stored = self.store.load(&other).map_err(|e| Complaint::new(format!("{name}: {e}")))?;
        let mut spec = stored.map(|s| s.spec).ok_or_else(|| missing(name))?;
        spec.name = self.zone.clone();
        // A uuid identifies one zone, so a copy has none.
        spec.props.clear("uuid");
        Ok(spec)
    }

    /// Checks the configuration. `explicit` is the command `verify`, which also names doubtful settings; a commit is
    /// silent about those.
    pub(super) fn verify(&mut self, explicit: bool, con: &mut dyn UserInterface) -> CommandResult {
        let spec = self.spec.as_ref().ok_or_else(|| self.failed(&StoreError::NoZone))?;
        let findings = {
            let (is_user, runs_brand) =
                (|name: &str| con.is_user(name), |brand: &str| self.store.runs_brand(brand));
            verify(spec, &HostKnows { is_user: &is_user, runs_brand: &runs_brand })
        };
        let mut reason = None;
        if self.draft.is_some() {
            con.complain(&Complaint::new("resource specification incomplete"));
            reason = Some(FindingReason::Insufficient);
        }
        for finding in findings {
            match finding.severity {
                Severity::Error => {
                    con.complain(&Complaint::new(finding.text));
                    reason = reason.or(Some(finding.reason));
                }
                Severity::Warning if explicit => con.warn(&format!("WARNING: {}", finding.text)),
                Severity::Warning => (),
            }
        }
        let Some(reason) = reason else { return Ok(()) };
        if !explicit {
            con.complain(&Complaint::new(format!("Zone {} failed to verify", self.zone)));
        }
        Err(Complaint::new(format!("{}: {reason}", self.zone)))
    }

    /// Verifies and saves.
    pub(super) fn commit(&mut self, force: bool, con: &mut dyn UserInterface) -> CommandResult {
        self.verify(false, con)?;
        if !self.dirty && self.base.is_some() {
            return Ok(());
        }
        let Some(spec) = &mut self.spec else { return Ok(()) };
        spec.tidy();
        let base = self.base.as_ref();
        let request = Commit {
            spec,
            base: base.map(|b| &b.token),
            renamed_from: base.map(|b| &b.name).filter(|name| **name != spec.name),
            overwrite: force || self.overwrite,
            mends: self.mends,
        };
        match self.store.commit(&request) {
            Ok(token) => {
                self.base = Some(Base { name: spec.name.clone(), token, spec: None });
                self.dirty = false;
                self.overwrite = false;
                self.mends = false;
                Ok(())
            }
            Err(StoreError::Conflict(theirs)) => {
                let old = base.map(|b| b.spec.as_ref().unwrap_or(spec));
                let new = ZoneSpec::new(theirs.spec.name.clone());
                let changes = diff(old.unwrap_or(&new), &theirs.spec);
                let mut text = format!("{}: {}:", self.zone, StoreError::Conflict(theirs));
                for change in listed(&changes) {
                    text.push_str(&format!("\n  {change}"));
                }
                text.push_str(
                    "\nUse 'merge' to take these changes in, 'commit -F' to overwrite them, or 'revert'.",
                );
                Err(Complaint::new(text))
            }
            Err(e) => Err(self.failed(&e)),
        }
    }

    /// Merges the spec that another user has saved since this edit began.
    pub(super) fn merge(&mut self, con: &mut dyn UserInterface) -> CommandResult {
        let name = self.base.as_ref().map_or(&self.zone, |b| &b.name);
        let theirs = self.store.load(name).map_err(|e| self.failed(&e))?;
        let theirs = theirs.ok_or_else(|| self.failed(&StoreError::NoZone))?;
        let mine = self.loaded()?;
        let empty = ZoneSpec::new(self.zone.clone());
        let base = match &self.base {
            None => &empty,
            Some(base) => base.spec.as_ref().unwrap_or(mine),
        };
        let merged = merge(base, mine, &theirs.spec);
        let changes = diff(mine, &merged.spec);
        let mut text: String = listed(&changes).map(|c| format!("{c}\n")).collect();
        for clash in &merged.clashes {
            text.push_str(&format!("! {clash}; kept what is here\n"));
        }
        if text.is_empty() {
            text.push_str("Nothing to merge.\n");
        }
        con.print(&text);
        let name = theirs.spec.name.clone();
        self.dirty = merged.spec != theirs.spec;
        self.base = Some(Base { name, token: theirs.token, spec: Some(theirs.spec) });
        self.spec = Some(merged.spec);
        self.index.clear();
        Ok(())
    }

    /// Deletes the saved configuration at once.
    pub(super) fn delete(&mut self, force: bool, con: &mut dyn UserInterface) -> Result<Flow, Complaint> {
        if self.zone.is_global() {
            let text = format!("{}: {}", self.zone, "Zone state is invalid for the requested operation");
            return Err(Complaint::new(text));
        }
        if !force {
            self.need_zone()?;
        }
        let name = self.base.as_ref().map_or(&self.zone, |b| &b.name).clone();
        let state = self.state()?;
        if !force && state.is_some_and(|s| s != ZoneState::Configured) {
            let text = format!(
                "Zone {} not in configured state; delete not allowed.  Use -F to force delete.",
                self.zone
            );
            return Err(Complaint::new(text));
        }
        if !force {
            match con.ask(&format!("Are you sure you want to delete zone {}", self.zone)) {
                Confirmation::Yes => (),
                Confirmation::No => return Ok(Flow::Go),
                Confirmation::Nobody => {
                    let text =
                        "Input not from terminal and -F not specified:\ndelete command ignored, exiting.";
                    self.report(&Complaint::new(text), con);
                    return Ok(Flow::Abort);
                }
            }
        }
        match self.store.delete(&name, force) {
            // A configuration that was never saved is only forgotten.
            Err(StoreError::NoZone) if self.spec.is_some() => (),
            Err(e) => return Err(self.failed(&e)),
            Ok(()) => (),
        }
        self.forget();
        Ok(Flow::Go)
    }

    fn forget(&mut self) {
        self.spec = None;
        self.base = None;
        self.draft = None;
        self.dirty = false;
        self.overwrite = false;
        self.mends = false;
        self.index.clear();
    }

    /// Drops all changes, or takes a former spec in their place.
    pub(super) fn revert(
        &mut self,
        force: bool,
        revision: Option<u32>,
        con: &mut dyn UserInterface,
    ) -> Result<Flow, Complaint> {
        if self.draft.is_some() {
            let text = "You can only use revert in the global scope.\nUse 'cancel' to cancel changes to a resource specification.";
            return Err(Complaint::new(text));
        }
        if let Some(number) = revision {
            let damaged = self.need_zone_or_revisions()?;
            let name = self.base.as_ref().map_or(&self.zone, |b| &b.name);
            let mut spec = self.store.revision(name, number).map_err(|e| self.failed(&e))?;
            spec.name = self.zone.clone();
            if !damaged {
                self.keep_place(&mut spec, con)?;
            }
            self.touch();
            self.spec = Some(spec);
            self.mends |= damaged;
            self.index.clear();
            return Ok(Flow::Go);
        }
        if !self.dirty {
            return Err(Complaint::new("No changes to revert."));
        }
        let Some(base) = &self.base else {
            return Err(Complaint::new(format!("{}: no such saved zone to revert to.", self.zone)));
        };
        let name = base.name.clone();
        if !force {
            match con.ask("Are you sure you want to revert") {
                Confirmation::Yes => (),
                Confirmation::No => return Ok(Flow::Go),
                Confirmation::Nobody => {
                    let text =
                        "Input not from terminal and -F not specified:\nrevert command ignored, exiting.";
                    self.report(&Complaint::new(text), con);
                    return Ok(Flow::Abort);
                }
            }
        }
        self.forget();
        self.zone = name;
        self.load()?;
        Ok(Flow::Go)
    }

    /// Keeps the zonepath and the brand of an installed zone: another zonepath would lose its root.
    fn keep_place(&self, spec: &mut ZoneSpec, con: &mut dyn UserInterface) -> CommandResult {
        let Some(saved) = self.spec.as_ref().filter(|_| self.is_installed().unwrap_or(true)) else {
            return Ok(());
        };
        for name in ["zonepath", "brand"] {
            let resolved =
                |spec: &ZoneSpec| if name == "zonepath" { spec.zonepath() } else { spec.global(name) };
            let (Some(def), Some(now)) = (schema::global(name), resolved(saved)) else { continue };
            if resolved(spec).as_ref() != Some(&now) {
                con.warn(&format!("revert: {name} stays {}; the zone is installed", now.shown()));
                spec.props.set(def, Value::Simple(now));
            }
        }
        Ok(())
    }

    /// Wants to leave.
    pub(super) fn exit(&mut self, force: bool, con: &mut dyn UserInterface) -> Result<Flow, Complaint> {
        if self.draft.is_some() && !force {
            match con.ask("Resource incomplete; really quit") {
                Confirmation::Yes => (),
                Confirmation::No => return Ok(Flow::Go),
                Confirmation::Nobody => {
                    let text = "Resource incomplete, input not from terminal and -F not specified:\nexit command ignored, but exiting anyway.";
                    self.report(&Complaint::new(text), con);
                    return Ok(Flow::Abort);
                }
            }
        }
        Ok(Flow::Exit { force })
    }

    /// Ends the session: saves unsaved changes. Returns the exit status, or none when the user wants to go on after
    /// all.
    pub fn finish(&mut self, ending: InputEnd, may_ask: bool, con: &mut dyn UserInterface) -> Option<u8> {
        let ask = |question: &str, con: &mut dyn UserInterface| {
            if may_ask { con.ask(question) } else { Confirmation::Nobody }
        };
        if self.draft.is_some() {
            if ending == InputEnd::Eof {
                match ask("Resource incomplete; really quit", con) {
                    Confirmation::Yes => (),
                    Confirmation::No => return None,
                    Confirmation::Nobody => {
                        self.report(&Complaint::new("Resource incomplete."), con);
                        return Some(1);
                    }
                }
            }
            self.ended_with_error();
        }
        if self.dirty && self.spec.is_some() {
            if let Err(complaint) = self.commit(false, con) {
                self.report(&complaint, con);
            }
            if self.dirty {
                let answer = match ending {
                    InputEnd::Exit { force: true } => Confirmation::Nobody,
                    _ => ask("Configuration not saved; really quit", con),
                };
                match answer {
                    Confirmation::Yes => (),
                    Confirmation::No => return None,
                    Confirmation::Nobody => con.complain(&Complaint::new("Configuration not saved.")),
                }
                return Some(1);
            }
        }
        Some(u8::from(self.saw_error()))
    }
}
