//! What a user of the host may do who is not root: by the zone's `admin` resources, through the broker.
//!
//! With `manage`, as on Solaris: everything that works on the zone as its spec has it. Refused is what
//! would reach into the host with the rights of root: paths of the host, and sources that the user names.
//! A plan takes the right of what it plans: it tells of the same paths.

use super::operate::Words;
use super::{End, Program};
use crate::apply::broker::{self, client};
use crate::spec::rights::{self, Auth};
use crate::spec::schema::ResourceKind;
use crate::spec::state::Verb;
use crate::spec::store::ZoneStore;
use crate::spec::{ZoneName, ZoneSpec};

/// Subcommands that the broker is for. A new one is closed until it stands here.
const OPEN: &[&str] = &[
    "verify",
    "install",
    "uninstall",
    "ready",
    "boot",
    "reboot",
    "shutdown",
    "halt",
    "clone",
    "detach",
    "attach",
    "mark",
    "plan",
];

impl Program {
    /// Has the broker do it; goes on where there is none.
    pub(super) fn hand_over(&mut self, command: &str) -> Result<(), End> {
        if self.options.root.is_some() {
            return Ok(());
        }
        let args = std::env::args_os().skip(1).collect();
        // The one question that zoneadm asks. Nothing else that is typed or piped is meant for it.
        let reads = command == "uninstall";
        let done = client::run(self.store.root(), broker::Program::Zoneadm, args, reads);
        match done {
            None => {
                self.hint_at_broker();
                Ok(())
            }
            Some(Ok(status)) => Err(End::As(status)),
            Some(Err(why)) => Err(self.fail_early(why)),
        }
    }

    /// Tells a person who would have the right that it takes a broker.
    fn hint_at_broker(&mut self) {
        let name = self.options.zone.as_deref().and_then(|zone| ZoneName::new(zone).ok());
        let spec = name.map(|name| self.stored_spec(&name));
        if spec.is_some_and(|spec| rights::has(&spec, &broker::own_name(), Auth::Manage)) {
            self.report.hint(&broker::missing(&broker::socket(self.store.root())));
        }
    }

    /// Refuses what a user may not do in any zone.
    pub(super) fn refuse_for_caller(&mut self, command: &str) -> Result<(), End> {
        if self.caller.is_none() {
            return Ok(());
        }
        if self.options.root.is_some() {
            return Err(self.refuse(command, "-R is for root only"));
        }
        self.refuse_closed(command, command)
    }

    /// Refuses a subcommand that the broker is not for; the log has it as `asked`.
    fn refuse_closed(&mut self, command: &str, asked: &str) -> Result<(), End> {
        if OPEN.contains(&command) {
            return Ok(());
        }
        Err(self.refuse(asked, &format!("only a privileged user may {command} a zone.")))
    }

    /// Refuses what this user may not do to this zone, or, when it is `planned` only, see done.
    pub(super) fn permit(
        &mut self,
        verb: Verb,
        words: &Words,
        name: &ZoneName,
        planned: bool,
    ) -> Result<(), End> {
        if self.caller.is_none() {
            return Ok(());
        }
        let command = verb.as_str();
        let asked = if planned { format!("plan {command}") } else { command.to_owned() };
        // Before anything is said about the zone. A plan tells as much as what it plans.
        self.refuse_closed(command, &asked)?;
        let spec = self.stored_spec(name);
        self.demand(command, &spec, Auth::Manage)?;
        let life = &words.life;
        let closed = match verb {
            Verb::Install | Verb::Clone if words.profile.is_some() => Some("-c names a file of the host"),
            Verb::Install if !words.install.is_empty() => Some("options of install name files of the host"),
            // A sparse root shows of the host only what every user of it can read.
            Verb::Install if spec.stored(ResourceKind::InheritPkgDir).is_empty() => {
                Some("a whole root would be copied from files of the host that only root may read")
            }
            Verb::Clone if life.clone.snapshot.is_some() || life.clone.datasets => {
                Some("-s and --with-datasets name datasets of the host")
            }
            Verb::Attach if life.attach.force || life.attach.update => {
                Some("-F and -u take or change what another host has written")
            }
            Verb::Boot | Verb::Reboot if words.writable => {
                Some("-w opens what file-mac-profile of the configuration closes")
            }
            Verb::Mark if words.force => Some("-F says what is on disk without looking"),
            _ => None,
        };
        if let Some(why) = closed {
            return Err(self.refuse(&asked, &format!("for root only: {why}.")));
        }
        if verb == Verb::Clone
            && let Ok(source) = ZoneName::new(&life.source)
        {
            let source = self.stored_spec(&source);
            self.demand(command, &source, Auth::CloneFrom)?;
        }
        if let Some(caller) = &self.caller {
            let source = if verb == Verb::Clone { format!(" {}", life.source) } else { String::new() };
            caller.allowed(self.store.root(), name, &format!("{asked}{source}"));
        }
        Ok(())
    }

    /// Asks again, for the specs that were read under the lock.
    pub(super) fn permit_still(
        &mut self,
        verb: Verb,
        name: &ZoneName,
        spec: &ZoneSpec,
        source: Option<&ZoneSpec>,
    ) -> Result<(), End> {
        if self.caller.is_none() {
            return Ok(());
        }
        debug_assert_eq!(*name, spec.name);
        self.demand(verb.as_str(), spec, Auth::Manage)?;
        source.map_or(Ok(()), |source| self.demand(verb.as_str(), source, Auth::CloneFrom))
    }

    /// Reads a spec; one that cannot be read gives no rights.
    fn stored_spec(&self, name: &ZoneName) -> ZoneSpec {
        let stored = self.store.load(name).ok().flatten();
        stored.map_or_else(|| ZoneSpec::new(name.clone()), |s| s.spec)
    }

    fn demand(&mut self, command: &str, spec: &ZoneSpec, auth: Auth) -> Result<(), End> {
        let Some(caller) = self.caller.as_ref().filter(|c| !c.has(spec, auth)) else { return Ok(()) };
        let what = if auth == Auth::CloneFrom {
            format!("clone zone {}", spec.name)
        } else {
            format!("{command} this zone")
        };
        let text = format!("User {} is not authorized to {what} ({}).", caller.name(), auth.on(&spec.name));
        Err(self.refuse(command, &text))
    }

    pub(super) fn refuse(&mut self, command: &str, why: &str) -> End {
        if let Some(caller) = &self.caller {
            let zone = self.options.zone.as_deref().or(self.options.uuid.as_deref()).unwrap_or_default();
            caller.refused(self.store.root(), &format!("zone '{zone}': {command}"), why);
        }
        self.fail_early(why)
    }
}
