//! Which of our templates stands in for one of another platform.

/// A template of another platform and the template that takes its place here.
#[derive(Debug)]
pub(super) struct ForeignTemplate {
    /// Its name on that platform.
    pub name: &'static str,
    /// The template of this program.
    pub ours: &'static str,
    /// Its zones have a network stack of their own by default.
    pub exclusive: bool,
    /// Its zones inherit nothing.
    pub whole: bool,
    /// The names are synonyms, so there is nothing to say.
    pub silent: bool,
    /// A sentence that its users should know as well.
    pub note: Option<&'static str>,
}

const fn same(name: &'static str, ours: &'static str) -> ForeignTemplate {
    ForeignTemplate { name, ours, exclusive: false, whole: false, silent: true, note: None }
}

const fn near(name: &'static str, ours: &'static str, exclusive: bool) -> ForeignTemplate {
    ForeignTemplate { name, ours, exclusive, whole: false, silent: false, note: None }
}

/// Sparse roots become our sparse root, whole roots the blank template; Solaris 11's templates bring
/// an `anet`, which its command files remove or select, so they have a counterpart of their own.
const FOREIGN: &[ForeignTemplate] = &[
    same("SUNWdefault", "default"),
    same("SYSdefault", "default"),
    same("SUNWblank", "blank"),
    same("SYSblank", "blank"),
    same("SYSdefault-shared-ip", "default"),
    near("SYSsolaris", "solaris", true),
    near("SYSsolaris-shared-ip", "default", false),
    ForeignTemplate { whole: true, ..near("SYSsolaris10", "solaris", true) },
    ForeignTemplate {
        note: Some("this is no kernel zone: settings of one are kept and have no effect"),
        ..near("SYSsolaris-kz", "solaris", true)
    },
    near("SYSlx", "blank", true),
    near("SYSbhyve", "blank", true),
    near("SYSlabeled", "default", false),
    near("SUNWlabeled", "default", false),
    near("SUNWtsoldef", "default", false),
    near("SUNWsn1", "default", false),
    near("SUNWlx", "blank", false),
    near("SUNWlx26", "blank", false),
    near("SUNWsolaris8", "blank", false),
    near("SUNWsolaris9", "blank", false),
    near("SUNWsolaris10", "blank", false),
    near("SUNWipkg", "blank", false),
    near("ipkg", "blank", false),
    near("nlipkg", "blank", false),
    near("native", "default", false),
    near("sparse", "default", true),
    near("lipkg", "blank", true),
    near("pkgsrc", "blank", true),
    near("lx", "blank", true),
    near("bhyve", "blank", true),
    near("kvm", "blank", true),
    near("emu", "blank", true),
    near("illumos", "blank", true),
    near("joyent", "default", true),
    near("joyent-minimal", "default", true),
    near("TRIBdefault", "default", false),
    near("TRIBsparse", "default", false),
    near("TRIBwhole", "blank", false),
    near("TRIBblank", "blank", false),
    near("TRIBlx", "blank", false),
    near("OMNIdefault", "default", true),
];

/// Before the name of a brand, a template of OmniOS.
const OMNI: &str = "OMNI";

/// OmniOS, for a brand that is not named above.
const OF_OMNI: ForeignTemplate = near(OMNI, "blank", true);

/// Finds the stand-in for a template that the store does not have.
pub(super) fn foreign(name: &str) -> Option<&'static ForeignTemplate> {
    let find = |name: &str| FOREIGN.iter().find(|f| f.name == name);
    find(name).or_else(|| name.strip_prefix(OMNI).map(|brand| find(brand).unwrap_or(&OF_OMNI)))
}
