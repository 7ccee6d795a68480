//! The one table of resources and properties.
//!
//! Validation, `set`/`clear`/`select`/`remove`, `help`, Tab completion, `info`, `export`, the TOML and
//! JSON forms and the tables of the manual are all read from here. A new property is a new row in
//! [`super::table`].

use std::borrow::Cow;
use std::fmt;

use super::table;

/// The kinds of resource, in the order in which `info` prints them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceKind {
    /// Solaris 10: a directory of the host's software, mounted read-only.
    InheritPkgDir,
    /// A file system.
    Fs,
    /// A network interface.
    Net,
    /// Solaris 11: a network link made for the zone.
    Anet,
    /// Device nodes.
    Device,
    /// Cpus for this zone alone.
    DedicatedCpu,
    /// A cap on cpu time (a view on `zone.cpu-cap`).
    CappedCpu,
    /// Caps on memory.
    CappedMemory,
    /// Solaris 11 kernel zones: number of virtual cpus.
    VirtualCpu,
    /// A free attribute.
    Attr,
    /// A delegated ZFS dataset.
    Dataset,
    /// Rights of a host user on this zone.
    Admin,
    /// A resource control.
    Rctl,
    /// Process security flags.
    SecurityFlags,
    /// Linux: a range of user or group ids.
    Idmap,
    /// Solaris 11: storage of the zone's root pool.
    Rootzpool,
    /// Solaris 11: storage of a further pool.
    Zpool,
    /// Solaris 11: where a suspended image goes.
    Suspend,
    /// Solaris 11 kernel zones: encryption key of the zone's root.
    Keysource,
    /// Solaris 11 kernel zones: verified boot.
    VerifiedBoot,
    /// Solaris 11.4: services that the zone's own waits for.
    SmfDependency,
    /// Solaris 11.4 kernel zones: a virtual port of a Fibre Channel adapter.
    Npiv,
    /// Solaris 11.4 kernel zones: a virtual InfiniBand adapter.
    IbVhca,
    /// Solaris 11.4 kernel zones: a further link-layer address of an `anet`.
    Mac,
    /// Solaris 11.4 kernel zones: a further VLAN of an `anet`.
    Vlan,
}

/// Where a resource or property comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PropertyOrigin {
    /// Solaris 10 and illumos.
    Illumos,
    /// Solaris 10 only.
    Solaris10,
    /// Solaris 11.
    Solaris11,
    /// SmartOS and OmniOS.
    SmartOs,
    /// This project.
    Linux,
}

/// Whether a Linux host supports the property. `verify` names everything but `Yes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Honour {
    /// It is carried out.
    Yes,
    /// It is kept in the spec and has no effect; verify warns with this reason.
    Ignored(&'static str),
    /// To go on without it would do harm; `zoneadm verify` and boot fail with this reason.
    Refused(&'static str),
}

/// When a change takes effect on a zone that is installed, counted from the commit of `zonecfg`.
///
/// It says what this release does, and the code relies on it: the spec that a zone was booted with is kept in its
/// runtime directory, and zlogin, the guard of datasets and halt read that copy. A property that can be changed in a
/// running zone one day is [`TakesEffect::NextBoot`] until the programs do that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakesEffect {
    /// With the commit, whether or not the zone runs: the saved spec is read whenever the value is needed.
    /// The text says what reads it, or which state of the zone it takes.
    Now(&'static str),
    /// When the zone boots next (`ready`, `boot`, `reboot`, or a reboot from inside). Until then a running zone, and
    /// every login to it, has the values that the zone was booted with. The text is empty where that is obvious.
    NextBoot(&'static str),
    /// Not without another install: zonecfg refuses to set it from install to uninstall. The text says why,
    /// and the other way if there is one.
    Reinstall(&'static str),
    /// At no time: the value is kept and shown. The text says why.
    Never(&'static str),
}

impl TakesEffect {
    /// Returns the reason, empty where it is obvious.
    pub fn why(self) -> &'static str {
        match self {
            Self::Now(why) | Self::NextBoot(why) | Self::Reinstall(why) | Self::Never(why) => why,
        }
    }

    /// Returns a sentence without full stop that says it of something: `a change takes effect at once: …`.
    pub fn sentence(self, what: &str) -> String {
        let text = match self {
            Self::Now(_) => format!("{what} takes effect at once"),
            Self::NextBoot(_) => format!("{what} takes effect when the zone boots next"),
            Self::Reinstall(_) => format!("{what} takes effect only with another install"),
            Self::Never(_) => format!("{what} never takes effect"),
        };
        if self.why().is_empty() { text } else { format!("{text}: {}", self.why()) }
    }

    /// Corrects a row for a property that the host does not carry out at all.
    fn as_honoured(self, honour: Honour) -> Self {
        match honour {
            Honour::Yes => self,
            Honour::Ignored(why) => Self::Never(why),
            // Verify and boot are what looks at it.
            Honour::Refused(why) => Self::NextBoot(why),
        }
    }
}

/// The rule for a single text of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// `true` or `false`.
    Bool,
    /// An option of a mount, in which no comma stands.
    Option,
    /// One of these words.
    Word(&'static [&'static str]),
    /// An unsigned number within these bounds.
    Uint(u64, u64),
    /// A [`super::value::ByteSize`] of at least so many bytes.
    Size(u64),
    /// A [`super::value::CpuCap`].
    CpuCap,
    /// `N` or `N-M`, 1 ≤ N ≤ M.
    CpuRange,
    /// Any text.
    Text,
    /// An absolute path; repeated slashes collapse.
    AbsPath,
    /// The zonepath: absolute, not `/`.
    ZonePath,
    /// A zone name (only `zonename`).
    ZoneName,
    /// A brand name.
    Brand,
    /// Comma list of brand names.
    Brands,
    /// Hexadecimal host id.
    HostId,
    /// Comma list of privileges.
    Privileges,
    /// Comma list of file system types.
    FsAllowed,
    /// A pool name, not `SUNW…`.
    PoolName,
    /// IPv4 with optional prefix, IPv6 with prefix, or a host name with optional prefix.
    Address,
    /// Solaris 11 allows a comma list of addresses.
    AddressList,
    /// An address without prefix; a prefix is warned about and dropped.
    Router,
    /// A network link name.
    Link,
    /// File system type.
    FsType,
    /// A glob below `/dev`.
    DeviceMatch,
    /// A ZFS file system name.
    DatasetName,
    /// `zone.` and letters or dashes.
    RctlName,
    /// Attribute name.
    AttrName,
    /// Attribute value: must parse as the attribute's `type`.
    AttrValue,
    /// Login name.
    User,
    /// Comma list of authorizations.
    Auths,
    /// A list of security flags.
    SecFlags,
    /// A UUID.
    Uuid,
    /// A link-layer address, or `auto`, `random`, `default`, `factory`.
    Mac,
    /// Comma list of ZFS property names.
    LockList,
}

/// Whether a property holds one text or a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueShape {
    /// One text.
    One,
    /// A list of plain texts (`[a,b]`).
    List,
    /// A list of groups with exactly these members, in this order (`(name=…,value=…)`).
    Groups(&'static [&'static str]),
}

/// How `info` shows a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShowInInfo {
    /// Always, with an empty value when unset (global properties of illumos).
    Always,
    /// Always; `name not specified` when unset.
    OrNotSpecified,
    /// Only when set.
    IfSet,
}

/// The names of the host that Tab offers for a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Candidates {
    /// Nothing but the fixed words of [`ValueKind`].
    None,
    /// Directories and files of the host.
    Paths,
    /// Network links of the host.
    Links,
    /// Nodes below `/dev`.
    Devices,
    /// ZFS datasets.
    Datasets,
    /// ZFS file systems when the resource's type is `zfs`, else paths.
    Special,
    /// Users of the host.
    Users,
    /// File system types of the kernel.
    FsTypes,
    /// Configured zones.
    Zones,
    /// Names of resource controls.
    Rctls,
    /// Privileges and capabilities.
    Privileges,
}

/// A property that is a view on a resource control with exactly one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The control, such as `zone.max-lwps`.
    pub rctl: &'static str,
    /// Its action, `deny` or `none`; the privilege is always `privileged`.
    pub action: &'static str,
}

/// Which zones have a global property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZoneScope {
    /// All but the global zone.
    Zones,
    /// The global zone, which is the host, alone.
    Host,
    /// All.
    All,
}

impl ZoneScope {
    /// Says whether a zone has the property.
    pub fn has(self, global: bool) -> bool {
        match self {
            Self::Zones => !global,
            Self::Host => global,
            Self::All => true,
        }
    }
}

/// One property.
#[derive(Debug, PartialEq, Eq)]
pub struct PropDef {
    /// Name as typed.
    pub name: &'static str,
    /// Rule for one text.
    pub kind: ValueKind,
    /// One text or a list.
    pub shape: ValueShape,
    /// Must be given before `end` (resources) or `commit` (global).
    pub required: bool,
    /// May be cleared.
    pub clearable: bool,
    /// Value when unset, as `info` shows it.
    pub default: Option<&'static str>,
    /// Set when the value lives in a resource control.
    pub alias: Option<Alias>,
    /// The zones that have it, when it is a global property. All zones have one that is a view on a control.
    pub scope: ZoneScope,
    /// Part of what makes the resource unique.
    pub key: bool,
    /// May be used to pick a resource in `select`, `remove`, `info`.
    pub qualifier: bool,
    /// How `info` shows it.
    pub show: ShowInInfo,
    /// Completion candidates for the value.
    pub candidates: Candidates,
    /// Whether this host family carries it out.
    pub honour: Honour,
    /// When a change of it takes effect, where it is carried out: [`PropDef::takes_effect`] knows both.
    pub effect: TakesEffect,
    /// Where it comes from.
    pub origin: PropertyOrigin,
    /// Changeable with the authorization `config`: it exposes nothing of the host to the zone and grants no rights.
    pub delegable: bool,
    /// One sentence for help and manual, imperative or noun phrase, no full stop.
    pub doc: &'static str,
    /// A value that is valid, used in help and in tests.
    pub example: &'static str,
}

/// One kind of resource.
#[derive(Debug)]
pub struct ResourceDef {
    /// The kind.
    pub kind: ResourceKind,
    /// Name as typed and as in the prompt.
    pub name: &'static str,
    /// The kind whose resources hold those of this one; none for a resource that stands in the zone itself.
    pub within: Option<ResourceKind>,
    /// At most one per zone.
    pub singleton: bool,
    /// Its properties in the order of `info` and `export`.
    pub props: &'static [PropDef],
    /// Where it comes from.
    pub origin: PropertyOrigin,
    /// Whether this host family carries it out.
    pub honour: Honour,
    /// When adding, removing and reordering take effect, where the resource is carried out:
    /// [`ResourceDef::takes_effect`] knows both.
    pub effect: TakesEffect,
    /// One sentence for help and manual.
    pub doc: &'static str,
}

impl PropDef {
    /// Says whether a zone has this global property.
    pub fn is_of(&self, global: bool) -> bool {
        self.alias.is_some() || self.scope.has(global)
    }

    /// Returns when a change takes effect; `of` is the kind of resource that has the property, none for a global
    /// property. A property that the host does not carry out has no moment of its own.
    pub fn takes_effect(&self, of: Option<ResourceKind>) -> TakesEffect {
        let own = self.effect.as_honoured(self.honour);
        of.map_or(own, |kind| own.as_honoured(kind.def().honour))
    }

    /// Says whether the property holds a list.
    pub fn is_list(&self) -> bool {
        !matches!(self.shape, ValueShape::One)
    }
}

impl ResourceDef {
    /// Finds a property by its name.
    pub fn prop(&self, name: &str) -> Option<&'static PropDef> {
        self.props.iter().find(|p| p.name == name)
    }

    /// Returns when adding, removing and reordering resources of the kind take effect.
    pub fn takes_effect(&self) -> TakesEffect {
        self.effect.as_honoured(self.honour)
    }

    /// Returns the name with that of the kind in which it stands, such as `anet mac`.
    pub fn title(&self) -> Cow<'static, str> {
        match self.within {
            Some(outer) => Cow::Owned(format!("{outer} {}", self.name)),
            None => Cow::Borrowed(self.name),
        }
    }

    /// Returns the properties that make a resource unique.
    pub fn keys(&self) -> impl Iterator<Item = &'static PropDef> + use<> {
        self.props.iter().filter(|p| p.key)
    }
}

impl ResourceKind {
    /// Every kind that stands in the zone itself, in the order of `info`.
    pub fn all() -> impl Iterator<Item = Self> {
        table::RESOURCES.iter().filter(|r| r.within.is_none()).map(|r| r.kind)
    }

    /// Every kind, each with those behind it that stand in its resources.
    pub fn every() -> impl Iterator<Item = Self> {
        Self::all().flat_map(|kind| std::iter::once(kind).chain(kind.inner()))
    }

    /// The kinds that stand in resources of this one.
    pub fn inner(self) -> impl Iterator<Item = Self> {
        table::RESOURCES.iter().filter(move |r| r.within == Some(self)).map(|r| r.kind)
    }

    /// Returns the row of the table.
    pub fn def(self) -> &'static ResourceDef {
        &table::RESOURCES[self as usize]
    }

    /// Returns the name as typed.
    pub fn name(self) -> &'static str {
        self.def().name
    }

    /// Finds a kind by its name.
    pub fn from_name(name: &str) -> Option<Self> {
        table::RESOURCES.iter().find(|r| r.name == name).map(|r| r.kind)
    }
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Returns the global properties in the order of `info`.
pub fn globals() -> &'static [PropDef] {
    table::GLOBALS
}

/// Finds a global property by its name.
pub fn global(name: &str) -> Option<&'static PropDef> {
    table::GLOBALS.iter().find(|p| p.name == name)
}

/// Finds the property that is a view on the resource control, with its resource (none: global).
pub fn alias_of(rctl: &str) -> Option<(Option<ResourceKind>, &'static PropDef)> {
    let is = |p: &&PropDef| p.alias.is_some_and(|a| a.rctl == rctl);
    table::GLOBALS
        .iter()
        .find(is)
        .map(|p| (None, p))
        .or_else(|| table::RESOURCES.iter().find_map(|r| r.props.iter().find(is).map(|p| (Some(r.kind), p))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_names_are_unique() {
        for (i, def) in table::RESOURCES.iter().enumerate() {
            assert_eq!(def.kind as usize, i, "{}", def.name);
            assert!(!def.doc.ends_with('.'), "{}", def.name);
            for (j, p) in def.props.iter().enumerate() {
                assert!(def.props[..j].iter().all(|q| q.name != p.name), "{} {}", def.name, p.name);
            }
            // A resource in another one is read and written with it, so it has neither controls nor a count.
            let plain = !def.singleton && def.props.iter().all(|p| p.alias.is_none());
            let outer = def.within.map(ResourceKind::def);
            assert!(
                outer.is_none_or(|o| plain && o.within.is_none() && o.prop(def.name).is_none()),
                "{}",
                def.name
            );
            let keyed = def.singleton || def.keys().next().is_some();
            assert!(keyed, "{} has no key", def.name);
        }
        for (i, p) in table::GLOBALS.iter().enumerate() {
            assert!(table::GLOBALS[..i].iter().all(|q| q.name != p.name), "{}", p.name);
            assert!(ResourceKind::from_name(p.name).is_none(), "{} is both", p.name);
        }
    }

    #[test]
    fn each_row_says_when_a_change_takes_effect() {
        let globals = table::GLOBALS.iter().map(|p| (None, p));
        let of_kinds =
            ResourceKind::all().flat_map(|kind| kind.def().props.iter().map(move |p| (Some(kind), p)));
        let props: Vec<_> = globals.chain(of_kinds).collect();
        for (kind, p) in &props {
            let effect = p.takes_effect(*kind);
            assert!(matches!(effect, TakesEffect::NextBoot(_)) || !effect.why().is_empty(), "{}", p.name);
            assert!(!effect.why().ends_with('.'), "{}", p.name);
            // A property that the host does not carry out has that as its reason.
            let honours = [p.honour, kind.map_or(Honour::Yes, |kind| kind.def().honour)];
            let ignored = honours.iter().any(|h| matches!(h, Honour::Ignored(_)));
            assert!(!ignored || matches!(effect, TakesEffect::Never(_)), "{}", p.name);
        }
        for def in table::RESOURCES {
            let effect = def.takes_effect();
            assert!(matches!(effect, TakesEffect::NextBoot(_)) || !effect.why().is_empty(), "{}", def.name);
        }
        let of = |wanted: fn(&TakesEffect) -> bool| -> Vec<&str> {
            let rows = props.iter().filter(|(kind, p)| {
                p.honour == Honour::Yes && kind.is_none_or(|k| k.def().honour == Honour::Yes)
            });
            rows.filter(|(kind, p)| wanted(&p.takes_effect(*kind))).map(|(_, p)| p.name).collect()
        };
        // A row that does not wait for a boot is meant, and its reader is known.
        assert_eq!(
            of(|e| matches!(e, TakesEffect::Now(_))),
            ["zonename", "autoboot", "brand-aliases", "uuid", "user", "auths"]
        );
        assert_eq!(of(|e| matches!(e, TakesEffect::Reinstall(_))), ["zonepath", "brand"]);
        assert_eq!(
            of(|e| matches!(e, TakesEffect::Never(_))),
            ["autoshutdown", "zfs-io-priority", "property", "property", "importance"]
        );
    }

    #[test]
    fn the_moment_is_said_in_a_sentence() {
        let texts = [
            (TakesEffect::Now("it is read"), "it takes effect at once: it is read"),
            (TakesEffect::NextBoot(""), "it takes effect when the zone boots next"),
            (TakesEffect::Reinstall("it is there"), "it takes effect only with another install: it is there"),
            (TakesEffect::Never("nothing does"), "it never takes effect: nothing does"),
        ];
        texts.iter().for_each(|(effect, text)| assert_eq!(effect.sentence("it"), *text));
    }
}
