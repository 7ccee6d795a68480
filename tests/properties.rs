//! Properties that hold for every spec and every command, checked on random ones made from the table.

use proptest::prelude::*;
use proptest::test_runner::Config;

use zones::parser::{Argument, Command, ExportFormat, Parser, Pick, Span, Word};
use zones::shell::{
    Complaint, Confirmation, EditSession, Flow, InputEnd, SessionOptions, UserInterface, export, info,
};
use zones::spec::mem::MemStore;
use zones::spec::schema::{self, PropDef, ResourceKind, ValueKind, ValueShape};
use zones::spec::verify::{HostKnows, Severity, can_clash, missing, unique_key, verify};
use zones::spec::{ByteSize, Item, Props, Value, ZoneName, ZoneSpec, diff, merge};

/// A console that keeps what is printed.
#[derive(Default)]
struct Sink {
    out: String,
    err: String,
}

impl UserInterface for Sink {
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
    fn ask(&mut self, _: &str) -> Confirmation {
        Confirmation::Nobody
    }
    fn is_user(&self, _: &str) -> bool {
        true
    }
    fn write_file(&mut self, _: &str, _: &str) -> Result<(), String> {
        Err("no files here".into())
    }
}

fn name(text: &str) -> ZoneName {
    ZoneName::new(text).expect("a zone name")
}

/// Any text that a value may hold: everything but double quotes and control characters.
fn free_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,8}",
        "[ -!#-~\t]{1,20}",
        Just("default".to_owned()),
        Just("net".to_owned()),
        Just("# no comment".to_owned()),
        Just("=;,[]()".to_owned()),
        Just("?".to_owned()),
        Just("\\".to_owned()),
        Just("Grüße, 世界".to_owned()),
        Just("%{zonename}".to_owned()),
    ]
}

fn number(low: u64, high: u64) -> BoxedStrategy<String> {
    let near = high.min(low.saturating_add(1000));
    prop_oneof![Just(low), Just(high), low..=near, low..=high].prop_map(|n| n.to_string()).boxed()
}

fn words(words: &'static [&'static str]) -> BoxedStrategy<String> {
    proptest::sample::select(words).prop_map(str::to_owned).boxed()
}

fn comma_list(element: impl Strategy<Value = String> + 'static) -> BoxedStrategy<String> {
    proptest::collection::vec(element, 1..4).prop_map(|v| v.join(",")).boxed()
}

/// A text that is valid for a property, not always in its canonical form.
fn text_for(def: &'static PropDef) -> BoxedStrategy<String> {
    match def.kind {
        ValueKind::Text | ValueKind::AttrValue => free_text().boxed(),
        ValueKind::Option => free_text().prop_map(|t: String| t.replace(',', "_")).boxed(),
        ValueKind::Bool => words(&["true", "false"]),
        ValueKind::Word(list) => words(list),
        ValueKind::Uint(low, high) => number(low, high),
        ValueKind::Size(low) => prop_oneof![
            (low..=low + (1 << 40)).prop_map(|n| n.to_string()),
            (1024u64..4096).prop_map(|n| format!("{n}m")),
            (1u64..100, 0u64..100).prop_map(|(a, b)| format!("{a}.{b} G")),
            Just(ByteSize(u64::MAX).to_string()),
        ]
        .boxed(),
        ValueKind::CpuCap => (1u64..100_000).prop_map(|n| format!("{}.{:02}", n / 100, n % 100)).boxed(),
        ValueKind::CpuRange => (1u64..64, 0u64..64).prop_map(|(a, b)| format!("{a}-{}", a + b)).boxed(),
        ValueKind::AbsPath | ValueKind::ZonePath => {
            ("/[a-z]{1,6}", "[ -!#-.0-~]{0,12}").prop_map(|(a, b)| format!("{a}{b}")).boxed()
        }
        ValueKind::ZoneName => "[a-z][a-z0-9_.-]{0,9}".boxed(),
        ValueKind::Brand => "[a-z][a-z0-9-]{0,8}".boxed(),
        ValueKind::Brands => comma_list("[a-z][a-z0-9-]{0,8}"),
        ValueKind::HostId => "(0x)?[0-9a-e]{1,8}".boxed(),
        ValueKind::Privileges => comma_list("!?[a-z_]{1,3}x"),
        ValueKind::FsAllowed => comma_list("[a-z0-9]{1,8}"),
        ValueKind::PoolName => "[a-z][a-z0-9:_-]{0,8}".boxed(),
        ValueKind::Address => address(),
        ValueKind::AddressList => comma_list(address()),
        ValueKind::Router => prop_oneof!["10\\.0\\.[0-9]\\.[1-9]", Just("fe80::1".to_owned())].boxed(),
        ValueKind::Link => "[a-z]{2,6}[0-9]{1,2}".boxed(),
        ValueKind::FsType => words(&["lofs", "tmpfs", "zfs", "ext4", "hsfs"]),
        ValueKind::DeviceMatch => prop_oneof!["/dev/[a-z*]{1,8}", "[a-z?*\\[\\]]{1,8}"].boxed(),
        ValueKind::DatasetName => "[a-z]{1,5}(/[a-z0-9_.:-]{1,5}x){0,3}".boxed(),
        ValueKind::RctlName => "zone\\.[a-z-]{1,12}".boxed(),
        ValueKind::AttrName => "[a-z0-9][a-z0-9.-]{0,12}".boxed(),
        ValueKind::User => "[a-z][a-z0-9]{0,8}".boxed(),
        ValueKind::Auths => comma_list(words(zones::spec::words::AUTHS)),
        ValueKind::SecFlags => comma_list(words(zones::spec::words::SECURITY_FLAGS)),
        ValueKind::Uuid => "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}".boxed(),
        ValueKind::Mac => prop_oneof!["[0-9a-f]{1,2}(:[0-9a-f]{1,2}){5}", Just("auto".to_owned())].boxed(),
        ValueKind::LockList => comma_list("[a-z]{1,10}"),
    }
}

fn address() -> BoxedStrategy<String> {
    prop_oneof!["10\\.[0-9]\\.[0-9]\\.[1-9](/2[0-9])?", "fe80::[1-9a-f]/64", "host[a-z]{1,5}"].boxed()
}

fn value_for(kind: Option<ResourceKind>, def: &'static PropDef) -> BoxedStrategy<Value> {
    match def.shape {
        ValueShape::One => text_for(def).prop_map(Value::Simple).boxed(),
        ValueShape::List => proptest::collection::vec(text_for(def).prop_map(Item::Simple), 1..4)
            .prop_map(Value::List)
            .boxed(),
        ValueShape::Groups(_) if kind == Some(ResourceKind::Rctl) => {
            let limit = number(0, u64::MAX);
            let group = (limit, words(&["deny", "none"])).prop_map(|(limit, action)| {
                Item::Complex(vec![
                    ("priv".into(), "privileged".into()),
                    ("limit".into(), limit),
                    ("action".into(), action),
                ])
            });
            proptest::collection::vec(group, 1..3).prop_map(Value::List).boxed()
        }
        ValueShape::Groups(members) => {
            let group = proptest::collection::vec(free_text(), members.len()).prop_map(move |texts| {
                Item::Complex(members.iter().map(|m| (*m).to_owned()).zip(texts).collect())
            });
            proptest::collection::vec(group, 1..3).prop_map(Value::List).boxed()
        }
    }
}

/// Some of the properties, and always the required ones, with canonical values.
fn props_for(kind: Option<ResourceKind>, defs: &'static [PropDef]) -> BoxedStrategy<Props> {
    let each: Vec<_> = defs
        .iter()
        .filter(|d| d.alias.is_none() && d.name != "zonename" && (kind.is_some() || d.is_of(false)))
        .map(|def| {
            let likely = if def.required || def.key { 0.95 } else { 0.3 };
            proptest::option::weighted(likely, value_for(kind, def))
                .prop_map(move |value| value.and_then(|v| def.check(&v, kind).ok()).map(|v| (def, v)))
        })
        .collect();
    // Resources that stand in it, of each kind that there is.
    let inner: Vec<_> = kind
        .into_iter()
        .flat_map(ResourceKind::inner)
        .map(|k| (Just(k), proptest::collection::vec(props_for(Some(k), k.def().props), 0..3)))
        .collect();
    (each, inner)
        .prop_map(|(found, inner)| {
            let mut props = Props::default();
            for (def, value) in found.into_iter().flatten() {
                props.set(def, value);
            }
            for (kind, mut list) in inner {
                let mut seen = std::collections::HashSet::new();
                list.retain(|p| !can_clash(kind, p) || seen.insert(unique_key(kind, p)));
                if !list.is_empty() {
                    *props.inner_mut(kind) = list;
                }
            }
            props
        })
        .boxed()
}

/// Every spec that zonecfg would save, from every row of the table.
fn any_spec() -> impl Strategy<Value = ZoneSpec> {
    let globals = props_for(None, schema::globals());
    let kinds: Vec<_> = ResourceKind::all().filter(|k| *k != ResourceKind::CappedCpu).collect();
    let lists: Vec<_> = kinds
        .iter()
        .map(|kind| {
            let most = if kind.def().singleton { 1 } else { 4 };
            proptest::collection::vec(props_for(Some(*kind), kind.def().props), 0..=most)
        })
        .collect();
    let aliases: Vec<_> = schema::globals()
        .iter()
        .chain(ResourceKind::all().flat_map(|k| k.def().props))
        .filter(|d| d.alias.is_some())
        .map(|def| proptest::option::weighted(0.3, text_for(def)).prop_map(move |t| (def, t)))
        .collect();
    (globals, lists, aliases).prop_map(move |(globals, lists, aliases)| {
        let mut spec = ZoneSpec::new(name("zion"));
        spec.props = globals;
        for (kind, list) in kinds.iter().zip(lists) {
            let mut seen = std::collections::HashSet::new();
            for props in list {
                let attr = *kind != ResourceKind::Attr || props.text("type") == Some("string");
                if missing(kind.def(), &props).next().is_none()
                    && attr
                    && !props.is_empty()
                    && seen.insert(unique_key(*kind, &props))
                {
                    spec.stored_mut(*kind).push(props);
                }
            }
        }
        for (def, text) in aliases {
            if let Some(Ok(Value::Simple(text))) = text.map(|t| def.check(&Value::Simple(t), None)) {
                // A control of another form stays as it is.
                let _ = spec.set_alias(def, &text);
            }
        }
        spec.tidy();
        make_consistent(&mut spec);
        spec
    })
}

/// Takes away what cannot stand together; such a spec could never be saved.
fn make_consistent(spec: &mut ZoneSpec) {
    let is_error = |spec: &ZoneSpec| {
        let knows = HostKnows { is_user: &|_| true, runs_brand: &|_| true };
        verify(spec, &knows).into_iter().find(|f| f.severity == Severity::Error).map(|f| f.text)
    };
    while let Some(text) = is_error(spec) {
        let gone = [
            ("zonepath", None),
            ("idmap", Some(ResourceKind::Idmap)),
            ("net:", Some(ResourceKind::Net)),
            ("secflags", Some(ResourceKind::SecurityFlags)),
            ("locked cap", Some(ResourceKind::CappedMemory)),
            ("dedicated-cpu", Some(ResourceKind::DedicatedCpu)),
            ("cpu-shares", Some(ResourceKind::Rctl)),
            ("rctl", Some(ResourceKind::Rctl)),
        ];
        let (_, kind) = gone.iter().find(|(word, _)| text.contains(word)).unwrap_or_else(|| panic!("{text}"));
        match kind {
            Some(kind) => spec.stored_mut(*kind).clear(),
            None => {
                let def = schema::global("zonepath").expect("zonepath");
                spec.props.set(def, Value::simple("/zones/zion"));
            }
        }
        spec.tidy();
    }
}

/// Runs commands on a new zone in memory and returns what is saved.
fn run(store: &MemStore, zone: &str, text: &str) -> (Option<ZoneSpec>, Sink, Option<u8>) {
    let mut con = Sink::default();
    let mut session = EditSession::new(store, name(zone), SessionOptions::default());
    for parsed in Parser::new(text, 1) {
        match parsed.command {
            Ok(command) => assert_eq!(session.eval(command, &mut con), Flow::Go),
            Err(e) => session.report_syntax(&e, None, &mut con),
        }
    }
    let status = session.finish(InputEnd::Eof, false, &mut con);
    (store.saved(zone), con, status)
}

fn store() -> MemStore {
    let mut store = MemStore::default();
    store.add_template("blank", ZoneSpec::new(name("blank")));
    store
}

proptest! {
    #![proptest_config(Config { cases: 300, failure_persistence: None, ..Config::default() })]

    #[test]
    fn export_makes_the_same_spec_again(spec in any_spec()) {
        let text = export::commands(&spec);
        let (saved, con, status) = run(&store(), "zion", &text);
        prop_assert_eq!(&con.err, "", "{}", text);
        prop_assert_eq!(status, Some(0));
        let saved = saved.expect("a saved zone");
        prop_assert_eq!(diff::diff(&spec, &saved), vec![], "{}", text);
        prop_assert_eq!(&spec, &saved, "{}", text);
        prop_assert_eq!(export::commands(&saved), text);
        prop_assert_eq!(info::all(&saved), info::all(&spec));
    }

    #[test]
    fn the_spec_file_reads_the_same(spec in any_spec()) {
        let text = zones::spec::toml::render(&spec);
        let read = zones::spec::toml::parse(&spec.name, text.as_bytes());
        prop_assert_eq!(read.as_ref(), Ok(&spec), "{}", text);
        let json: serde_json::Value = serde_json::from_str(&export::json(&spec)).expect("JSON");
        prop_assert_eq!(json.get("zonename").and_then(|v| v.as_str()), Some("zion"));
    }

    #[test]
    fn only_equal_specs_have_no_differences(one in any_spec(), other in any_spec()) {
        prop_assert_eq!(diff::diff(&one, &one), vec![]);
        prop_assert_eq!(diff::diff(&one, &other).is_empty(), one == other);
        // Every resource that is new, gone or changed is named by the list that a user sees.
        let changes = diff::diff(&one, &other);
        for change in changes.iter().filter(|c| !matches!(c, diff::Change::Moved { .. })) {
            prop_assert!(diff::listed(&changes).any(|c| c == change), "{}", change);
        }
    }

    #[test]
    fn merging_with_nothing_changes_nothing(base in any_spec(), other in any_spec()) {
        prop_assert_eq!(&merge::merge(&base, &base, &other).spec, &other);
        prop_assert_eq!(&merge::merge(&base, &other, &base).spec, &other);
        let same = merge::merge(&base, &other, &other);
        prop_assert!(same.clashes.is_empty());
        prop_assert_eq!(&same.spec, &other);
    }

    #[test]
    fn cancel_leaves_no_trace(spec in any_spec(), index in 0usize..20, value in free_text()) {
        let store = store();
        let (saved, _, _) = run(&store, "zion", &export::commands(&spec));
        let kind = ResourceKind::all().nth(index).expect("a kind");
        let sets: String = kind.def().props.iter().map(|p| format!("set {}=\"{value}\"; clear {}\n", p.name, p.name)).collect();
        let (after, _, _) = run(&store, "zion", &format!("select {kind} 0\n{sets}cancel\nadd {kind}\n{sets}set physical=1G\ncancel"));
        prop_assert_eq!(saved, after);
    }

    #[test]
    fn commands_print_as_they_are_read(command in any_command()) {
        let text = command.to_string();
        let again: Vec<_> = Parser::new(&text, 1).map(|p| p.command).collect();
        prop_assert_eq!(again, vec![Ok(command)], "{}", text);
    }

    #[test]
    fn no_text_upsets_the_shell(text in "[ -~\n\t\r;\"=\\[\\]()]{0,200}") {
        let _ = run_any(&text);
    }

    #[test]
    fn no_mix_of_words_upsets_the_shell(words in proptest::collection::vec(any_word(), 0..60)) {
        let _ = run_any(&words.concat());
    }
}

/// Like [`run`], for texts that may ask to exit or abort.
fn run_any(text: &str) -> Option<u8> {
    let store = store();
    let mut con = Sink::default();
    let mut session = EditSession::new(&store, name("zion"), SessionOptions::default());
    for parsed in Parser::new(text, 1) {
        match parsed.command {
            Ok(command) => {
                if session.eval(command, &mut con) != Flow::Go {
                    break;
                }
            }
            Err(e) => session.report_syntax(&e, None, &mut con),
        }
    }
    session.finish(InputEnd::Eof, false, &mut con)
}

fn any_word() -> impl Strategy<Value = String> {
    let verbs: Vec<_> = zones::parser::CommandWord::ALL.iter().map(|v| v.name()).collect();
    let kinds: Vec<_> = ResourceKind::every().map(ResourceKind::name).collect();
    prop_oneof![
        Just("create -b;".to_owned()),
        Just("set zonepath=/z;".to_owned()),
        proptest::sample::select(verbs).prop_map(|v| format!("{v} ")),
        proptest::sample::select(kinds).prop_map(|v| format!("{v} ")),
        proptest::sample::select(property_names()).prop_map(|v| format!("{v}=")),
        proptest::sample::select(vec!["x", "1", "/a", "[", "]", "(", ")", ",", "\"", " ", "-F "])
            .prop_map(str::to_owned),
        Just("\n".to_owned()),
        Just(";".to_owned()),
        Just("end\n".to_owned()),
    ]
}

fn property_names() -> Vec<&'static str> {
    schema::globals()
        .iter()
        .chain(ResourceKind::every().flat_map(|k| k.def().props))
        .map(|p| p.name)
        .collect()
}

fn any_argument() -> impl Strategy<Value = Argument> {
    let simple = || free_text().prop_map(|t| Argument::Simple(Word::new(t)));
    let complex = || {
        proptest::collection::vec(("[a-z]{1,6}", free_text()), 1..4).prop_map(|members| {
            Argument::Complex(members.into_iter().map(|(n, t)| (Word::new(n), Word::new(t))).collect())
        })
    };
    prop_oneof![
        simple(),
        complex(),
        proptest::collection::vec(prop_oneof![simple(), complex()], 0..4).prop_map(Argument::List),
    ]
}

fn any_command() -> impl Strategy<Value = Command> {
    let prop = || proptest::sample::select(property_names()).prop_map(Word::new);
    let kind = || proptest::sample::select(ResourceKind::every().collect::<Vec<_>>());
    let pick = |kind: ResourceKind| {
        let names: Vec<_> = kind.def().props.iter().map(|p| p.name).collect();
        let pair = (proptest::sample::select(names), free_text());
        prop_oneof![
            Just(Pick::Any),
            (0usize..99).prop_map(Pick::Number),
            proptest::collection::vec(pair, 1..4).prop_map(|pairs| {
                Pick::Where(pairs.into_iter().map(|(n, t)| (Word::new(n), Word::new(t))).collect())
            }),
        ]
    };
    let picked = move || kind().prop_flat_map(move |k| (Just(k), pick(k)));
    let format =
        || proptest::sample::select(vec![ExportFormat::Classic, ExportFormat::Toml, ExportFormat::Json]);
    let at = Span::default();
    prop_oneof![
        kind().prop_map(move |kind| Command::AddResource { kind, at }),
        (prop(), any_argument()).prop_map(|(prop, value)| Command::AddValue { prop, value }),
        prop().prop_map(|prop| Command::Clear { prop }),
        (prop(), any_argument(), any::<bool>()).prop_map(|(prop, value, force)| Command::Set {
            prop,
            value,
            force
        }),
        (prop(), any_argument(), any::<bool>()).prop_map(|(prop, value, force)| Command::RemoveValue {
            prop,
            value,
            force
        }),
        picked().prop_map(move |(kind, pick)| Command::Select { kind, pick, at }),
        (picked(), any::<bool>())
            .prop_map(move |((kind, pick), force)| { Command::RemoveResource { kind, pick, force, at } }),
        (picked(), format()).prop_map(|((kind, pick), format)| Command::InfoResource { kind, pick, format }),
        (prop(), format()).prop_map(|(prop, format)| Command::InfoProperty { prop, format }),
        (proptest::option::of(any::<u32>()), any::<bool>())
            .prop_map(|(revision, force)| Command::Revert { force, revision }),
        (proptest::option::of(free_text()), format())
            .prop_map(|(file, format)| Command::Export { file: file.map(Word::new), format }),
    ]
}
