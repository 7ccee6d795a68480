//! The rights of a user of the host who is not root: by the zone's `admin` resources, through the broker.
//!
//! With `manage`, as on Solaris: everything that works on the zone as its spec has it. Requests are refused that
//! would reach into the host with the rights of root: paths of the host, and sources that the user names. A plan
//! needs the right of the subcommand that it plans: it prints the same paths.

use super::args::SubcommandArgs;
use super::table::Subcommand;
use super::{Exit, Zoneadm};
use crate::apply::broker::{self, client};
use crate::spec::rights::{self, Auth};
use crate::spec::store::ZoneStore;
use crate::spec::verb::{BrokerPolicy, Role, Verb};
use crate::spec::{ZoneName, ZoneSpec};

impl Zoneadm {
    /// Has the broker do it; goes on where there is none.
    pub(super) fn hand_over(&mut self, sub: &Subcommand) -> Result<(), Exit> {
        if self.options.root.is_some() {
            return Ok(());
        }
        let args = std::env::args_os().skip(1).collect();
        // Nothing that is typed or piped is meant for a subcommand that asks no question.
        let reads = sub.confirm.is_some();
        let done = client::run(self.store.root(), broker::BrokeredProgram::Zoneadm, args, reads);
        match done {
            None => {
                self.hint_at_broker();
                Ok(())
            }
            Some(Ok(status)) => Err(Exit::As(status)),
            Some(Err(why)) => Err(self.fail_unnamed(why)),
        }
    }

    /// Reports to a user who would have the right that a broker is needed.
    fn hint_at_broker(&mut self) {
        let name = self.options.zone.as_deref().and_then(|zone| ZoneName::new(zone).ok());
        let spec = name.map(|name| self.stored_spec(&name));
        if spec.is_some_and(|spec| rights::has(&spec, &broker::own_name(), Auth::Manage)) {
            self.report.hint(&broker::missing(&broker::socket(self.store.root())));
        }
    }

    /// Refuses a user an action that is not allowed for any zone.
    pub(super) fn authorize_verb(&mut self, command: &str, broker: BrokerPolicy) -> Result<(), Exit> {
        if self.caller.is_none() {
            return Ok(());
        }
        if self.options.root.is_some() {
            return Err(self.deny(command, "-R is for root only"));
        }
        self.deny_closed(command, command, broker)
    }

    /// Denies a subcommand that the broker is not for; the log has it as `asked`.
    fn deny_closed(&mut self, command: &str, asked: &str, broker: BrokerPolicy) -> Result<(), Exit> {
        if broker != BrokerPolicy::Closed {
            return Ok(());
        }
        Err(self.deny(asked, &format!("only a privileged user may {command} a zone.")))
    }

    /// Refuses a subcommand, or, when it is only `planned`, its plan, that this user has no right to for this zone.
    pub(super) fn authorize(
        &mut self,
        sub: &Subcommand,
        args: &SubcommandArgs,
        name: &ZoneName,
        planned: bool,
    ) -> Result<(), Exit> {
        if self.caller.is_none() {
            return Ok(());
        }
        let command = sub.verb.name;
        let asked = if planned { format!("plan {command}") } else { command.to_owned() };
        // Checked before anything is printed about the zone. A plan reveals as much as the subcommand itself.
        self.deny_closed(command, &asked, sub.verb.broker)?;
        let BrokerPolicy::Needs { zone, source } = sub.verb.broker else { return Ok(()) };
        let spec = self.stored_spec(name);
        self.require_auth(command, &spec, zone)?;
        let profile = args.profile.is_some().then_some(Role::Profile);
        let closed_profile = sub.verb.options.iter().find(|o| Some(o.role) == profile);
        let closed_option = closed_profile.into_iter().chain(args.options()).find_map(|o| o.root_only);
        let closed = closed_option.or_else(|| sub.closed.and_then(|closed| closed(args, &spec)));
        if let Some(why) = closed {
            return Err(self.deny(&asked, &format!("for root only: {why}.")));
        }
        let of = source.and_then(|auth| Some((auth, args.operand()?)));
        if let Some((auth, of)) = &of
            && let Ok(of) = ZoneName::new(of)
        {
            let of = self.stored_spec(&of);
            self.require_auth(command, &of, *auth)?;
        }
        if let Some(caller) = &self.caller {
            let of = of.map(|(_, of)| format!(" {of}")).unwrap_or_default();
            caller.allowed(self.store.root(), name, &format!("{asked}{of}"));
        }
        Ok(())
    }

    /// Asks again, for the specs that were read under the lock.
    pub(super) fn authorize_again(
        &mut self,
        verb: &Verb,
        spec: &ZoneSpec,
        source: Option<&ZoneSpec>,
    ) -> Result<(), Exit> {
        if self.caller.is_none() {
            return Ok(());
        }
        let BrokerPolicy::Needs { zone, source: auth } = verb.broker else {
            return self.deny_closed(verb.name, verb.name, verb.broker);
        };
        self.require_auth(verb.name, spec, zone)?;
        match (source, auth) {
            (Some(source), Some(auth)) => self.require_auth(verb.name, source, auth),
            _ => Ok(()),
        }
    }

    /// Reads a spec; an unreadable one gives no rights.
    fn stored_spec(&self, name: &ZoneName) -> ZoneSpec {
        let stored = self.store.load(name).ok().flatten();
        stored.map_or_else(|| ZoneSpec::new(name.clone()), |s| s.spec)
    }

    /// Denies what takes an authorization that the user has not.
    fn require_auth(&mut self, command: &str, spec: &ZoneSpec, auth: Auth) -> Result<(), Exit> {
        let Some(caller) = self.caller.as_ref().filter(|c| !c.has(spec, auth)) else { return Ok(()) };
        let what = if auth == Auth::CloneFrom {
            format!("clone zone {}", spec.name)
        } else {
            format!("{command} this zone")
        };
        let text = format!("User {} is not authorized to {what} ({}).", caller.name(), auth.on(&spec.name));
        Err(self.deny(command, &text))
    }

    /// Refuses a request of a user: in a message, and in the log.
    pub(super) fn deny(&mut self, command: &str, why: &str) -> Exit {
        if let Some(caller) = &self.caller {
            let zone = self.options.zone.as_deref().or(self.options.uuid.as_deref()).unwrap_or_default();
            caller.refused(self.store.root(), &format!("zone '{zone}': {command}"), why);
        }
        self.fail_unnamed(why)
    }
}
