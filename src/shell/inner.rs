//! Commands that work on resources that stand in an open one: the `mac` and `vlan` of an `anet`.
//!
//! The open resource becomes the outer part of the new draft. "end" puts the inner one into it and opens it again,
//! "cancel" only opens it again; nothing is in the spec before the outermost resource has ended.

use crate::parser::{Pick, Span};
use crate::spec::Props;
use crate::spec::schema::ResourceKind as R;
use crate::spec::verify::{can_clash, duplicate_text, unique_key};

use super::console::{Complaint, UserInterface};
use super::pick::{may_remove, selected};
use super::session::{CommandResult, Draft, EditSession};

impl EditSession<'_> {
    /// Says whether resources of a kind stand in the open resource.
    ///
    /// # Errors
    /// They stand in a resource that is not open.
    pub(super) fn is_inner(&self, kind: R, at: Span) -> Result<bool, Complaint> {
        let Some(outer) = kind.def().within else { return Ok(false) };
        if self.scope() == Some(outer) {
            return Ok(true);
        }
        let text = format!(
            "The {kind} resource only makes sense in the {outer} scope: use 'add {outer}' or 'select {outer}' first."
        );
        Err(Complaint::new(text).at(at))
    }

    /// Opens an empty resource in the open one.
    pub(super) fn add_inner(&mut self, kind: R) {
        let outer = self.draft.take().map(Box::new);
        self.draft = Some(Draft { kind, props: Props::default(), place: None, outer });
    }

    /// Opens a resource that stands in the open one.
    pub(super) fn select_inner(&mut self, kind: R, pick: &Pick, at: Span) -> CommandResult {
        let Some(outer) = &self.draft else { return Ok(()) };
        let list = outer.props.inner(kind);
        let place = match selected(list, kind, pick)[..] {
            [place] => place,
            [] => return Err(Complaint::new(format!("select {kind}: No such resource with that id")).at(at)),
            _ => return Err(Complaint::new(format!("select {kind}: Insufficient specification")).at(at)),
        };
        let props = list[place].clone();
        let outer = self.draft.take().map(Box::new);
        self.draft = Some(Draft { kind, props, place: Some(place), outer });
        Ok(())
    }

    /// Removes resources that stand in the open one.
    pub(super) fn remove_inner(
        &mut self,
        kind: R,
        pick: &Pick,
        force: bool,
        at: Span,
        con: &mut dyn UserInterface,
    ) -> CommandResult {
        let Some(outer) = &mut self.draft else { return Ok(()) };
        let places = selected(outer.props.inner(kind), kind, pick);
        if may_remove(kind, &places, pick, force, at, con)? {
            let list = outer.props.inner_mut(kind);
            places.into_iter().rev().for_each(|place| drop(list.remove(place)));
        }
        Ok(())
    }

    /// Puts the open resource, which has been checked, into the one in which it stands.
    pub(super) fn end_inner(&mut self) -> CommandResult {
        let Some(Draft { kind, props, place, outer: Some(outer) }) = &mut self.draft else { return Ok(()) };
        let list = outer.props.inner_mut(*kind);
        let others = list.iter().enumerate().filter(|(i, _)| Some(*i) != *place).map(|(_, p)| p);
        let key = unique_key(*kind, props);
        if can_clash(*kind, props) && others.into_iter().any(|other| unique_key(*kind, other) == key) {
            return Err(Complaint::new(duplicate_text(*kind, props)));
        }
        let props = std::mem::take(props);
        match place.and_then(|place| list.get_mut(place)) {
            Some(stored) => *stored = props,
            None => list.push(props),
        }
        self.leave();
        Ok(())
    }

    /// Leaves the open resource for the one in which it stands, or for the global scope.
    pub(super) fn leave(&mut self) {
        self.draft = self.draft.take().and_then(|draft| draft.outer).map(|outer| *outer);
    }
}
