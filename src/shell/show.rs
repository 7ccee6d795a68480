//! The output of a session: `info`, `export`, and names for completion.

use std::borrow::Cow;

use crate::parser::{Command, ExportFormat, Pick, Span, Word};
use crate::spec::Value;
use crate::spec::schema::{self, ResourceKind};

use super::console::{Complaint, UserInterface};
use super::session::{CommandResult, EditSession, no_property};
use super::{export, info};

impl EditSession<'_> {
    pub(super) fn info(&mut self, command: &Command, con: &mut dyn UserInterface) -> CommandResult {
        let spec = self.loaded()?;
        if let Some(draft) = &self.draft {
            let text = match command {
                Command::InfoResource { kind, pick, .. } if kind.def().within == Some(draft.kind) => {
                    found(info::inner(&draft.props, *kind, pick), *kind, pick)
                }
                _ => info::resource(draft.kind, &draft.props),
            };
            con.page(&text);
            return Ok(());
        }
        if let Command::InfoResource { kind, .. } = command {
            self.is_inner(*kind, Span::default())?;
        }
        let text = match command {
            Command::InfoProperty { prop, format } => {
                let def = schema::global(&prop.text).ok_or_else(|| no_property(prop))?;
                match format {
                    ExportFormat::Classic => info::global(spec, def),
                    ExportFormat::Toml => export::toml_part(spec, def.name),
                    ExportFormat::Json => export::json_part(spec, def.name),
                }
            }
            Command::InfoResource { kind, pick, format: ExportFormat::Classic } => {
                found(info::resources(spec, *kind, pick), *kind, pick)
            }
            Command::InfoResource { kind, format: ExportFormat::Toml, .. } => {
                export::toml_part(spec, kind.name())
            }
            Command::InfoResource { kind, .. } => export::json_part(spec, kind.name()),
            Command::InfoAll { format: ExportFormat::Toml } => crate::spec::toml::render(spec),
            Command::InfoAll { format: ExportFormat::Json } => export::json(spec),
            _ => info::all(spec),
        };
        con.page(&text);
        Ok(())
    }

    pub(super) fn export(
        &mut self,
        file: Option<&Word>,
        format: ExportFormat,
        con: &mut dyn UserInterface,
    ) -> CommandResult {
        let spec = self.loaded()?;
        let text = match format {
            ExportFormat::Classic => export::commands(spec),
            ExportFormat::Toml => crate::spec::toml::render(spec),
            ExportFormat::Json => export::json(spec),
        };
        match file {
            None => con.print(&text),
            Some(file) => con.write_file(&file.text, &text).map_err(|reason| {
                Complaint::new(format!("opening file {}: {reason}", file.text)).at(file.span)
            })?,
        }
        Ok(())
    }

    /// Returns the names of all zones, for completion.
    pub fn zone_names(&self) -> Vec<String> {
        let names = self.store.names().unwrap_or_default();
        names.iter().map(ToString::to_string).collect()
    }

    /// Returns what `create -t` can take, for completion.
    pub fn template_names(&self) -> Vec<String> {
        let mut names = self.store.templates().unwrap_or_default();
        names.extend(self.zone_names());
        names
    }

    /// Returns the numbers of the kept revisions, for completion.
    pub fn revision_numbers(&self) -> Vec<String> {
        let revisions = self.store.revisions(&self.zone).unwrap_or_default();
        revisions.iter().map(|r| r.number.to_string()).collect()
    }

    /// Returns the values that stored resources have for a property, for completion.
    pub fn stored_values(&self, kind: ResourceKind, prop: &str) -> Vec<String> {
        let view = match self.draft() {
            Some(outer) => Cow::Borrowed(outer.inner(kind)),
            None => self.spec.as_ref().map(|s| s.view(kind)).unwrap_or_default(),
        };
        let mut values: Vec<_> = view.iter().filter_map(|p| p.text(prop)).map(str::to_owned).collect();
        values.sort_unstable();
        values.dedup();
        values
    }

    /// Returns the elements of a list of the open resource, for completion.
    pub fn draft_elements(&self, prop: &str) -> Vec<String> {
        let items = self.draft().and_then(|d| d.get(prop)).map_or(&[][..], Value::items);
        items.iter().map(ToString::to_string).collect()
    }
}

/// Says so when the command selected resources by more than their kind and none matches.
fn found(text: String, kind: ResourceKind, pick: &Pick) -> String {
    let filtered = !matches!(pick, Pick::Any);
    if text.is_empty() && filtered { format!("No such {kind} resource.\n") } else { text }
}
