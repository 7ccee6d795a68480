//! Commands that work on resources and properties: add, select, set, clear, remove, end.

use crate::parser::{Argument, CommandWord, Pick, Span, Word};
use crate::spec::check::{ValueError, check_attr};
use crate::spec::schema::{self, PropDef, ResourceKind as R, ValueKind};
use crate::spec::state::ZoneState;
use crate::spec::verify::{duplicate_text, locks_too_much, missing, security_flag_errors, unique_key};
use crate::spec::words::POOL_ATTR;
use crate::spec::{Props, Value, ZoneName, ZoneSpec};

use super::console::{Complaint, Confirmation, UserInterface};
use super::pick::{OWN_SPARSE_ROOT, SPARSE_ROOT, is_view, may_remove, standard};
use super::session::{CommandResult, Draft, EditSession, no_property};

/// Resources that make sense for the host itself.
const GLOBAL_RESOURCES: [R; 5] = [R::Rctl, R::DedicatedCpu, R::CappedCpu, R::CappedMemory, R::SecurityFlags];

const DEDICATED_CLASH: &str = "The dedicated-cpu resource already exists.  A persistent pool is incompatible\nwith the dedicated-cpu resource.";
const POOL_CLASH: &str =
    "The pool property is already set.  A persistent pool is incompatible with\nthe dedicated-cpu resource.";

const LOW_LIMIT: &str = "WARNING: Setting a global zone resource control too low could deny\nservice to even the root user; this could render the system impossible\nto administer.  Please use caution.";

fn has_rctl(spec: &ZoneSpec, name: &str) -> bool {
    spec.stored(R::Rctl).iter().any(|r| r.text("name") == Some(name))
}

/// Says whether the text of the value is empty, which means "unset".
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Simple(text) => text.is_empty(),
        Value::List(items) => items.is_empty(),
    }
}

impl EditSession<'_> {
    fn check_global_resource(&self, kind: R, verb: CommandWord) -> CommandResult {
        if !self.zone.is_global() || GLOBAL_RESOURCES.contains(&kind) {
            return Ok(());
        }
        Err(Complaint::new(if verb == CommandWord::Add {
            format!("Cannot add a {kind} resource to the global zone.")
        } else {
            format!("{kind} is not a valid resource for the global zone.")
        }))
    }

    /// Opens an empty resource.
    pub(super) fn add_resource(&mut self, kind: R, at: Span) -> CommandResult {
        self.check_global_resource(kind, CommandWord::Add)?;
        let spec = self.loaded()?;
        let exists = |kind| Complaint::new(format!("The {kind} resource already exists.")).at(at);
        match kind {
            R::DedicatedCpu => {
                if !spec.stored(kind).is_empty() {
                    return Err(exists(kind));
                }
                if has_rctl(spec, "zone.cpu-cap") {
                    return Err(exists(R::CappedCpu));
                }
                if spec.props.text("pool").is_some() {
                    return Err(Complaint::new(POOL_CLASH).at(at));
                }
            }
            R::CappedCpu => {
                if !spec.stored(R::DedicatedCpu).is_empty() {
                    return Err(exists(R::DedicatedCpu));
                }
                if has_rctl(spec, "zone.cpu-cap") {
                    return Err(exists(kind));
                }
            }
            R::CappedMemory => {
                let controls = ["zone.max-swap", "zone.max-locked-memory"];
                if !spec.stored(kind).is_empty() || controls.iter().any(|c| has_rctl(spec, c)) {
                    let text = "The capped-memory resource or a related resource control already exists.";
                    return Err(Complaint::new(text).at(at));
                }
            }
            // Linux: a second security-flags does not open the scope, as it does in illumos.
            _ if kind.def().singleton && !spec.stored(kind).is_empty() => return Err(exists(kind)),
            _ => (),
        }
        self.draft = Some(Draft { kind, props: Props::default(), place: None, outer: None });
        Ok(())
    }

    /// Opens an existing resource.
    pub(super) fn select(&mut self, kind: R, pick: &Pick, at: Span) -> CommandResult {
        self.check_global_resource(kind, CommandWord::Select)?;
        let place = match self.picked(kind, pick)?[..] {
            [place] => place,
            [] if self.is_plain_anet(kind, pick) => return self.add_resource(kind, at),
            [] => return Err(Complaint::new(format!("select {kind}: No such resource with that id")).at(at)),
            _ => return Err(Complaint::new(format!("select {kind}: Insufficient specification")).at(at)),
        };
        let spec = self.loaded()?;
        let props = if is_view(kind) { spec.view(kind)[0].clone() } else { spec.stored(kind)[place].clone() };
        self.draft = Some(Draft { kind, props, place: Some(place), outer: None });
        Ok(())
    }

    /// Checks the open resource and stores it. When something is wrong the scope stays open.
    pub(super) fn end(&mut self, con: &mut dyn UserInterface) -> CommandResult {
        let Some(draft) = &self.draft else { return Ok(()) };
        let Some(spec) = &self.spec else { return Ok(()) };
        let (kind, props) = (draft.kind, &draft.props);
        let mut wrong: Vec<String> = missing(kind.def(), props)
            .map(|def| match (kind, def.name) {
                (R::Rctl, "value") => "no value specified".to_owned(),
                (_, name) => format!("{name} not specified"),
            })
            .collect();
        match kind {
            R::CappedMemory if props.is_empty() => {
                wrong.push("No property was specified.  One of physical, swap or locked is required.".into());
            }
            R::CappedMemory if locks_too_much(props) => {
                wrong.push("The locked cap must be less than or equal to the physical cap.".into());
            }
            R::Attr => {
                if let (Some(kind), Some(value)) = (props.text("type"), props.text("value")) {
                    wrong.extend(check_attr(kind, value).err().map(|e| e.to_string()));
                }
            }
            R::SecurityFlags => {
                wrong.extend(security_flag_errors(props).into_iter().map(str::to_owned));
            }
            _ => (),
        }
        if let Some((last, others)) = wrong.split_last() {
            for text in others {
                con.complain(&Complaint::new(text.as_str()));
            }
            return Err(Complaint::new(last.as_str()));
        }
        if draft.outer.is_some() {
            return self.end_inner();
        }
        let keyed = !kind.def().singleton;
        let kept = draft.place.is_some_and(|place| {
            let stored = spec.stored(kind).get(place);
            stored.is_some_and(|s| unique_key(kind, s) == unique_key(kind, props))
        });
        if keyed && !kept && self.index.is_stored(spec, kind, props) {
            // The default template shares what Solaris 10 did; adding the same again is no clash.
            let same = || spec.stored(kind).iter().any(|stored| stored == props);
            if kind == R::InheritPkgDir && draft.place.is_none() && same() {
                self.draft = None;
                return Ok(());
            }
            return Err(Complaint::new(duplicate_text(kind, props)));
        }
        self.store_draft(con)
    }

    fn store_draft(&mut self, con: &mut dyn UserInterface) -> CommandResult {
        self.touch();
        let Some(Draft { kind, props, place, outer: None }) = self.draft.take() else { return Ok(()) };
        if self.zone.is_global() && (kind == R::Rctl || is_view(kind)) {
            con.warn(LOW_LIMIT);
        }
        if matches!(kind, R::Net | R::Anet) {
            self.imply_exclusive(kind, &props, con);
        }
        if is_view(kind) {
            return self.store_view(kind, &props);
        }
        let pool = if kind == R::Dataset { self.whole_pool(&props, con) } else { None };
        let Some(spec) = &mut self.spec else { return Ok(()) };
        if let Some(said) = pool {
            let list = spec.stored_mut(R::Attr);
            self.index.insert(R::Attr, list.len(), &said);
            list.push(said);
        }
        let list = spec.stored_mut(kind);
        let place = place.filter(|place| *place < list.len());
        match place {
            // Linux: a modified resource keeps its place; illumos moves it to the end.
            Some(place) => {
                self.index.remove(kind, &list[place]);
                self.index.insert(kind, place, &props);
                list[place] = props;
            }
            None => {
                self.index.insert(kind, list.len(), &props);
                list.push(props);
            }
        }
        Ok(())
    }

    /// Asks twice when a dataset is the root of a pool, and returns the attribute that says so; without it
    /// the zone does not boot.
    fn whole_pool(&self, props: &Props, con: &mut dyn UserInterface) -> Option<Props> {
        let pool = props.text("name").filter(|name| !name.contains('/'))?;
        if self.spec.as_ref()?.attrs(POOL_ATTR).next().is_some() {
            return None;
        }
        for question in [
            format!("{pool} is a whole pool; delegate everything that is and ever will be in it"),
            format!("The zone could then destroy all of {pool}; really delegate it"),
        ] {
            if con.ask(&question) != Confirmation::Yes {
                return None;
            }
        }
        let mut said = Props::default();
        for (name, value) in [("name", POOL_ATTR), ("type", "string"), ("value", pool)] {
            said.set(R::Attr.def().prop(name)?, Value::simple(value));
        }
        Some(said)
    }

    /// Stores a resource of which properties are resource controls.
    fn store_view(&mut self, kind: R, props: &Props) -> CommandResult {
        self.index.forget(R::Rctl);
        let Some(spec) = &mut self.spec else { return Ok(()) };
        let mut rest = Props::default();
        for def in kind.def().props {
            match (def.alias, props.get(def.name)) {
                (None, Some(value)) => rest.set(def, value.clone()),
                (None, None) => (),
                (Some(_), Some(value)) => {
                    let text = value.as_str().unwrap_or_default();
                    spec.set_alias(def, text).map_err(|e| Complaint::new(format!("{}: {e}", def.name)))?;
                }
                // An alias that cannot be shown belongs to another control and stays.
                (Some(_), None) if spec.alias(def).is_some() => {
                    spec.clear_alias(def);
                }
                (Some(_), None) => (),
            }
        }
        let list = spec.stored_mut(kind);
        list.clear();
        if !rest.is_empty() {
            list.push(rest);
        }
        spec.tidy();
        Ok(())
    }

    /// A link without an address of the host's exists only where zones have a stack of their own by default; a
    /// command file from there does not say so. A value that was set stays.
    fn imply_exclusive(&mut self, kind: R, props: &Props, con: &mut dyn UserInterface) {
        let Some(spec) = &mut self.spec else { return };
        let reason = match kind {
            R::Anet => "a link that is made for the zone",
            R::Net if props.text("global-nic").is_some() => "global-nic",
            R::Net if props.text("allowed-address").is_some() => "allowed-address",
            _ => "a link without an address",
        };
        let alone = kind == R::Anet || props.text("address").is_none();
        let others = spec.stored(R::Net).iter().any(|n| n.text("address").is_some());
        let is_set = spec.props.text("ip-type").is_some();
        if let (true, false, false, Some(def)) = (alone, others, is_set, schema::global("ip-type")) {
            spec.props.set(def, Value::simple("exclusive"));
            con.print(&format!(
                "{kind}: {reason} needs an IP stack of the zone's own; ip-type is now exclusive\n"
            ));
        }
    }

    /// Appends to a list of the open resource.
    pub(super) fn add_value(&mut self, prop: &Word, value: &Argument) -> CommandResult {
        let Some(draft) = &mut self.draft else {
            return Err(Self::wrong_scope(CommandWord::Add, "resource"));
        };
        let def = draft.kind.def().prop(&prop.text).ok_or_else(|| no_property(prop))?;
        if !def.is_list() {
            return Err(no_property(prop));
        }
        let span = value.span();
        let checked = def.check(&value.to_value(), Some(draft.kind)).map_err(|e| refused(&e, span))?;
        let mut items = draft.props.get(def.name).map_or_else(Vec::new, |v| v.items().to_vec());
        items.extend(checked.items().iter().cloned());
        draft.props.set(def, Value::List(items));
        Ok(())
    }

    /// Takes a value out of the open resource.
    pub(super) fn remove_value(&mut self, prop: &Word, value: &Argument, force: bool) -> CommandResult {
        let Some(draft) = &mut self.draft else {
            return Err(Self::wrong_scope(CommandWord::Remove, "resource"));
        };
        let def = draft.kind.def().prop(&prop.text).ok_or_else(|| no_property(prop))?;
        let none =
            || Complaint::new(format!("{}: No such property with that id", prop.text)).at(value.span());
        let wanted = def.check(&value.to_value(), Some(draft.kind)).map_err(|e| refused(&e, value.span()))?;
        match (draft.props.get(def.name), &wanted) {
            (Some(Value::List(have)), Value::List(gone)) => {
                let mut left = have.clone();
                for item in gone {
                    match left.iter().position(|h| h == item) {
                        Some(i) => drop(left.remove(i)),
                        None if force => {}
                        None => return Err(none()),
                    }
                }
                if left.is_empty() {
                    draft.props.clear(def.name);
                } else {
                    draft.props.set(def, Value::List(left));
                }
            }
            (Some(have), wanted) if have == wanted && def.clearable => {
                draft.props.clear(def.name);
            }
            (Some(have), wanted) if have == wanted => return Err(not_clearable(prop)),
            _ if force => {}
            _ => return Err(none()),
        }
        Ok(())
    }

    /// Removes resources.
    pub(super) fn remove_resource(
        &mut self,
        kind: R,
        pick: &Pick,
        force: bool,
        at: Span,
        con: &mut dyn UserInterface,
    ) -> CommandResult {
        self.check_global_resource(kind, CommandWord::Remove)?;
        let standard = standard(kind, pick);
        self.whole.extend(standard);
        let places = self.picked(kind, pick)?;
        match places[..] {
            // Solaris 10's sparse root has it.
            [] if !force && standard.is_some() => {
                self.leave_sparse_root(con);
                return Ok(());
            }
            // Solaris 11's new zone has one.
            [] if !force && self.is_plain_anet(kind, pick) => {
                con.print("remove anet: the zone has none\n");
                return Ok(());
            }
            _ => (),
        }
        if !may_remove(kind, &places, pick, force, at, con)? {
            return Ok(());
        }
        self.touch();
        let Some(spec) = &mut self.spec else { return Ok(()) };
        if is_view(kind) {
            self.index.forget(R::Rctl);
            for def in kind.def().props {
                spec.clear_alias(def);
            }
            spec.stored_mut(kind).clear();
        } else if let [place] = places[..] {
            let gone = spec.stored_mut(kind).remove(place);
            self.index.taken_out(kind, &gone);
        } else {
            spec.stored_mut(kind).clear();
            self.index.forget(kind);
        }
        spec.tidy();
        if standard.is_some() {
            self.leave_sparse_root(con);
        }
        Ok(())
    }

    /// Takes our own directories out as well, once all those of Solaris 10's sparse root are to be inherited no
    /// more: that is how a zone with a root of its own is configured there.
    fn leave_sparse_root(&mut self, con: &mut dyn UserInterface) {
        if self.whole.len() < SPARSE_ROOT.len() {
            return;
        }
        let Some(spec) = &mut self.spec else { return };
        let list = spec.stored_mut(R::InheritPkgDir);
        let ours = |props: &Props| props.text("dir").is_some_and(|dir| OWN_SPARSE_ROOT.contains(&dir));
        let gone: Vec<String> =
            list.iter().filter(|p| ours(p)).filter_map(|p| p.text("dir").map(str::to_owned)).collect();
        if !gone.is_empty() {
            list.retain(|props| !ours(props));
            self.index.forget(R::InheritPkgDir);
            con.print(&format!(
                "remove inherit-pkg-dir: {} too; the zone has a whole root now\n",
                gone.join(", ")
            ));
        }
    }

    /// Sets a property of the scope.
    pub(super) fn set(
        &mut self,
        prop: &Word,
        value: &Argument,
        force: bool,
        con: &mut dyn UserInterface,
    ) -> CommandResult {
        if force && prop.text != "zonepath" {
            return Err(Complaint::new("Only zonepath setting can be forced.").at(prop.span));
        }
        if force && !self.options.alternate_root {
            return Err(Complaint::new("Zonepath is changeable only in an alternate root.").at(prop.span));
        }
        if self.draft.is_some() {
            return self.set_in_draft(prop, value, con);
        }
        self.set_global(prop, value, force)?;
        if self.zone.is_global() && schema::global(&prop.text).is_some_and(|d| d.alias.is_some()) {
            con.warn(LOW_LIMIT);
        }
        Ok(())
    }

    fn set_in_draft(&mut self, prop: &Word, value: &Argument, con: &mut dyn UserInterface) -> CommandResult {
        let Some(draft) = &mut self.draft else { return Ok(()) };
        let def = draft.kind.def().prop(&prop.text).ok_or_else(|| no_property(prop))?;
        let typed = value.to_value();
        if is_empty(&typed) && (def.is_list() || !def.required) {
            draft.props.clear(def.name);
            return Ok(());
        }
        let checked = def.check(&typed, Some(draft.kind)).map_err(|e| refused(&e, value.span()))?;
        if def.kind == ValueKind::Router && typed.as_str().is_some_and(|t| t.contains('/')) {
            con.warn(&format!("WARNING: the prefix length of {} is ignored", def.name));
        }
        if let (Some(alias), Some(spec)) = (def.alias, &self.spec)
            && has_rctl(spec, alias.rctl)
            && spec.alias(def).is_none()
        {
            return Err(incompatible(def, value.span()));
        }
        draft.props.set(def, checked);
        Ok(())
    }

    /// Refuses a global property that the zone does not have.
    fn has(&self, def: &PropDef, prop: &Word) -> CommandResult {
        let text = match (def.is_of(self.zone.is_global()), self.zone.is_global()) {
            (true, _) => return Ok(()),
            (false, true) => format!("{} is not a valid property for the global zone.", def.name),
            (false, false) => {
                format!("{0} is a property of the global zone: zonecfg -z global 'set {0}=...'", def.name)
            }
        };
        Err(Complaint::new(text).at(prop.span))
    }

    fn set_global(&mut self, prop: &Word, value: &Argument, force: bool) -> CommandResult {
        let Some(def) = schema::global(&prop.text) else {
            let text = "Cannot set a resource-specific property from the global scope.";
            return Err(Complaint::new(text).at(prop.span));
        };
        self.has(def, prop)?;
        let typed = value.to_value();
        if is_empty(&typed) && def.clearable {
            self.clear_global(def);
            return Ok(());
        }
        let span = value.span();
        if def.name == "zonename" {
            return self.rename(typed.as_str().unwrap_or_default(), span);
        }
        let checked = def.check(&typed, None).map_err(|e| refused(&e, span))?;
        let spec = self.loaded()?;
        match def.name {
            // A damaged spec (`mends`) does not say what they were, so any value is accepted.
            "zonepath" | "brand" if !force && !self.mends && self.is_installed()? => {
                let text = format!("Zone {} already installed; set {} not allowed.", self.zone, def.name);
                return Err(Complaint::new(text).at(prop.span));
            }
            "pool" if !spec.stored(R::DedicatedCpu).is_empty() => {
                return Err(Complaint::new(DEDICATED_CLASH).at(prop.span));
            }
            _ => (),
        }
        if def.alias.is_none() {
            self.loaded_mut()?.props.set(def, checked);
            return Ok(());
        }
        let text = checked.as_str().unwrap_or_default().to_owned();
        let spec = self.loaded_mut()?;
        let before = spec.stored(R::Rctl).len();
        spec.set_alias(def, &text).map_err(|_| incompatible(def, span))?;
        if let Some(new) = spec.stored(R::Rctl).get(before).cloned() {
            self.index.insert(R::Rctl, before, &new);
        }
        Ok(())
    }

    pub(super) fn is_installed(&self) -> Result<bool, Complaint> {
        Ok(self.state()?.is_some_and(|s| s != ZoneState::Configured && s != ZoneState::Incomplete))
    }

    /// Gives the zone another name; the store learns of it at commit.
    fn rename(&mut self, text: &str, span: Span) -> CommandResult {
        let refuse = |reason: &str| Err(Complaint::new(format!("{text}: {reason}")).at(span));
        let Ok(name) = ZoneName::new(text) else { return refuse("Bogus zone name") };
        if name.is_global() || name.is_reserved() {
            return refuse("Bogus zone name");
        }
        if name == self.zone {
            return Ok(());
        }
        let former = self.base.as_ref().map(|b| b.name.clone());
        let taken = self.store.state(&name).map_err(|e| self.failed(&e))?.is_some();
        if taken && former.as_ref() != Some(&name) {
            return refuse("Zone name already in use");
        }
        if self.need_zone().is_ok() {
            if self.state()?.is_some_and(|s| s.is_active() || s == ZoneState::Unavailable) {
                return refuse("Zone state is invalid for the requested operation");
            }
            self.loaded_mut()?.name = name.clone();
        }
        self.zone = name;
        Ok(())
    }

    /// Takes a property back to its default.
    pub(super) fn clear(&mut self, prop: &Word) -> CommandResult {
        let Some(draft) = &mut self.draft else {
            let def = schema::global(&prop.text).ok_or_else(|| no_property(prop))?;
            self.has(def, prop)?;
            if !def.clearable {
                return Err(not_clearable(prop));
            }
            if !self.clear_global(def) && def.alias.is_some() {
                return Err(Complaint::new(format!("clear {}: No such entry", def.name)).at(prop.span));
            }
            return Ok(());
        };
        let def = draft.kind.def().prop(&prop.text).ok_or_else(|| no_property(prop))?;
        if !def.clearable {
            return Err(not_clearable(prop));
        }
        draft.props.clear(def.name);
        Ok(())
    }

    fn clear_global(&mut self, def: &'static PropDef) -> bool {
        self.touch();
        let Some(spec) = &mut self.spec else { return false };
        if def.alias.is_none() {
            return spec.props.clear(def.name);
        }
        self.index.forget(R::Rctl);
        spec.clear_alias(def)
    }
}

fn refused(error: &ValueError, span: Span) -> Complaint {
    Complaint::new(error.to_string()).at(span)
}

fn incompatible(def: &PropDef, span: Span) -> Complaint {
    let text = format!("{}: An incompatible rctl already exists for this property", def.name);
    Complaint::new(text).at(span)
}

fn not_clearable(prop: &Word) -> Complaint {
    Complaint::new(format!("{}: Clearing this property is not allowed", prop.text)).at(prop.span)
}
