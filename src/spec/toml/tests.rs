use proptest::prelude::*;

use super::*;
use crate::spec::schema;

fn zion() -> ZoneName {
    ZoneName::new("zion").unwrap()
}

fn read(text: &str) -> ZoneSpec {
    parse(&zion(), text.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

const SAMPLE: &str = r#"# The zone of the web team.
# Ask Ana before you change it.

format = 1
zonepath = "/zones/zion"   # on the fast disk
autoboot = true
max-lwps = 1_000           # enough

[capped-memory]
# half of the host
physical = 1610612736
swap = '2g'

# --- what it shares ---

# the shared folder
[[fs]]
dir = "/export/shared"
special = "/srv/shared"
type = "lofs"
options = [ "ro",   "nodevices" ] # never writable

[[net]]
physical = "eth0"
address = "192.0.2.10/24"

# logs
[[fs]]
dir = "/logs"
special = "/srv/logs"
type = "lofs"

[[rctl]]
name = "zone.max-sem-ids"
value = [{ priv = "privileged", limit = 10, action = "deny" }]
# the end
"#;

#[test]
fn reads_what_people_write() {
    let spec = read(SAMPLE);
    assert_eq!(spec.props.text("autoboot"), Some("true"));
    let rctls: Vec<_> = spec.stored(ResourceKind::Rctl).iter().filter_map(|r| r.text("name")).collect();
    assert_eq!(rctls, ["zone.max-lwps", "zone.max-swap", "zone.max-sem-ids"]);
    assert_eq!(spec.global("max-lwps").as_deref(), Some("1000"));
    let memory = &spec.view(ResourceKind::CappedMemory)[0];
    assert_eq!((memory.text("physical"), memory.text("swap")), (Some("1536M"), Some("2G")));
    assert_eq!(spec.stored(ResourceKind::Fs)[0].list("options").collect::<Vec<_>>(), ["ro", "nodevices"]);
    let other_forms =
        "format = 1\nfs = [{ dir = '/a', special = '/b', type = 'lofs' }]\ncapped-memory.physical = '1G'\n";
    assert_eq!(read(other_forms).stored(ResourceKind::Fs).len(), 1);
}

#[test]
fn refuses_with_the_place_and_a_hint() {
    let table: &[(&str, &str)] = &[
        ("", "1:1: the file is empty; a zone spec begins with 'format = 1'"),
        ("zonepath = '/z'\n", "1:1: 'format = 1' is missing: it is not a zone spec, or it is damaged"),
        ("format = 2\n", "1:10: format 2 is not known to this version, which reads format 1"),
        (
            "format = 1\nzonpath = '/z'\n",
            "2:1: unknown property or resource 'zonpath'; did you mean 'zonepath'?",
        ),
        ("format = 1\n[[fs]]\n  dirr = '/z'\n", "3:3: unknown property 'dirr' of fs; did you mean 'dir'?"),
        ("format = 1\nautoboot = 'true'\n", "2:12: autoboot must be true or false, without quotes"),
        ("format = 1\nmax-lwps = '500'\n", "2:12: max-lwps must be a number without quotes"),
        ("format = 1\nmax-lwps = 5\n", "2:12: max-lwps property is out of range."),
        ("format = 1\nzonepath = 5\n", "2:12: zonepath must be a text in quotes, not a number"),
        ("format = 1\n[fs]\ndir = '/a'\n", "2:2: a zone may have several fs: write [[fs]], not [fs]"),
        (
            "format = 1\n[[capped-memory]]\nswap = '1G'\n",
            "2:3: a zone has at most one capped-memory: write [capped-memory], not [[capped-memory]]",
        ),
        (
            "format = 1\n[[fs]]\ndir = '/a'\n[[fs]]\ndir = '/a'\n",
            "4:1: A fs resource with the dir '/a' already exists.",
        ),
        (
            "format = 1\nmax-lwps = 200\n[[rctl]]\nname = 'zone.max-lwps'\nvalue = []\n",
            "3:1: A rctl resource with the name 'zone.max-lwps' already exists.",
        ),
        (
            "format = 1\n[[fs]]\noptions = 'ro'\n",
            "3:11: fs options must be a list such as [\"a\", \"b\"], not a text",
        ),
        (
            "format = 1\n[[rctl]]\nvalue = [{ privv = 1 }]\n",
            "3:12: unknown member 'privv' in rctl value; did you mean 'priv'?",
        ),
        ("format = 1\n[[rctl]]\nvalue = [{ priv = 'x' }]\n", "3:10: rctl value: limit not specified"),
        ("<?xml version='1.0'?>\n<zone name='a'/>", "1:1: this is XML, not TOML: "),
        ("format = 1\nzonename = 'x'\n", "2:1: zonename is not kept in the file: "),
        ("format = 1\nzonepath = '/a'\nzonepath = '/b'\n", "3:1: "),
        ("format = 1\n[[fs]]\ndir = \"/exp", "3:12: invalid basic string, expected `\"`"),
    ];
    for (text, wanted) in table {
        let got = parse(&zion(), text.as_bytes()).expect_err(text).to_string();
        assert!(got.starts_with(wanted), "{text:?}\n got {got}\nwant {wanted}");
    }
    let bytes: [(&[u8], &str); 2] = [
        (b"format = 1\nbootargs = \"\xff\"\n", "2:13: the file is not UTF-8 text"),
        (b"format = 1\n\0", "2:1: the file holds a NUL byte"),
    ];
    for (text, wanted) in bytes {
        assert!(parse(&zion(), text).unwrap_err().to_string().starts_with(wanted));
    }
    let large = format!("format = 1\n{}", "#".repeat(SIZE_MAX));
    assert!(parse(&zion(), large.as_bytes()).unwrap_err().text.contains("larger than 16 MiB"));
    let deep = format!("format = 1\nx = {}", "[".repeat(100_000));
    assert!(parse(&zion(), deep.as_bytes()).is_err());
}

#[test]
fn an_edit_changes_only_its_lines() {
    let mut spec = read(SAMPLE);
    assert_eq!(update(SAMPLE, &spec).unwrap(), SAMPLE);

    let lwps = schema::global("max-lwps").unwrap();
    spec.set_alias(lwps, "2000").unwrap();
    let fs = ResourceKind::Fs.def();
    spec.stored_mut(ResourceKind::Fs)[0].set(fs.prop("dir").unwrap(), Value::simple("/export/new"));
    let mut third = Props::default();
    third.set(fs.prop("dir").unwrap(), Value::simple("/third"));
    spec.stored_mut(ResourceKind::Fs).push(third);
    let text = update(SAMPLE, &spec).unwrap();
    assert_eq!(read(&text), spec);
    let wanted = SAMPLE
        .replace("max-lwps = 1_000 ", "max-lwps = 2000 ")
        .replace("dir = \"/export/shared\"", "dir = \"/export/new\"")
        .replace(
            "special = \"/srv/logs\"\ntype = \"lofs\"\n",
            "special = \"/srv/logs\"\ntype = \"lofs\"\n\n[[fs]]\ndir = \"/third\"\n",
        );
    assert_eq!(text, wanted);
}

#[test]
fn comments_that_stand_apart_outlive_what_they_stood_above() {
    let mut spec = read(SAMPLE);
    spec.stored_mut(ResourceKind::Fs).remove(0);
    let text = update(SAMPLE, &spec).unwrap();
    assert_eq!(read(&text), spec);
    assert!(text.contains("# --- what it shares ---") && !text.contains("# the shared folder"), "{text}");
    assert!(
        text.contains("# logs\n[[fs]]")
            && text.contains("# half of the host")
            && text.ends_with("# the end\n")
    );

    spec.stored_mut(ResourceKind::Fs).clear();
    spec.stored_mut(ResourceKind::Net).clear();
    spec.stored_mut(ResourceKind::Rctl).clear();
    spec.tidy();
    let text = update(&text, &spec).unwrap();
    assert_eq!(read(&text), spec);
    assert!(text.contains("# --- what it shares ---") && text.contains("# Ask Ana"), "{text}");
    assert!(text.contains("physical = 1610612736") && !text.contains("swap"), "{text}");
}

#[test]
fn a_control_that_outgrows_its_alias_becomes_a_resource() {
    let mut spec = read("format = 1\nmax-lwps = 200 # few\ncpu-shares = 3\n");
    let value = ResourceKind::Rctl.def().prop("value").unwrap();
    let two = ["100", "200"].map(|limit| {
        Item::Complex(vec![
            ("priv".into(), "privileged".into()),
            ("limit".into(), limit.into()),
            ("action".into(), "deny".into()),
        ])
    });
    spec.stored_mut(ResourceKind::Rctl)[0].set(value, Value::List(two.to_vec()));
    let text = update("format = 1\nmax-lwps = 200 # few\ncpu-shares = 3\n", &spec).unwrap();
    assert_eq!(read(&text), spec);
    assert!(text.contains("[[rctl]]\nname = \"zone.max-lwps\""), "{text}");
}

fn props(def: &'static ResourceDef, number: usize) -> BoxedStrategy<Props> {
    let each: Vec<_> = def.props.iter().filter(|p| p.alias.is_none()).map(|p| value_of(p, number)).collect();
    // Two resources of each kind that stands in it, or none.
    let inner: Vec<_> = def
        .kind
        .inner()
        .map(|k| {
            let two = (props(k.def(), 0), props(k.def(), 1)).prop_map(|(a, b)| vec![a, b]);
            (Just(k), prop_oneof![Just(Vec::new()), two])
        })
        .collect();
    (each, inner)
        .prop_map(|(values, inner)| {
            let mut props = Props::default();
            for (def, value) in values {
                if let Some(value) = value {
                    props.set(def, value);
                }
            }
            for (kind, list) in inner.into_iter().filter(|(_, list)| !list.is_empty()) {
                *props.inner_mut(kind) = list;
            }
            props
        })
        .boxed()
}

/// A value, unique for `number` when the property is a key of free text.
fn value_of(def: &'static PropDef, number: usize) -> BoxedStrategy<(&'static PropDef, Option<Value>)> {
    let text = "[ !#-~éß]{1,12}";
    let one: BoxedStrategy<String> = match def.kind {
        ValueKind::Bool => prop_oneof!["true", "false"].boxed(),
        ValueKind::Word(words) => proptest::sample::select(words).prop_map(str::to_owned).boxed(),
        ValueKind::Uint(low, high) => (low..=high).prop_map(|n| n.to_string()).boxed(),
        ValueKind::Size(low) => {
            (low..u64::MAX >> 8).prop_map(|n| crate::spec::ByteSize(n).to_string()).boxed()
        }
        ValueKind::CpuRange => prop_oneof![Just("2".to_owned()), Just("2-4".to_owned())].boxed(),
        ValueKind::Text | ValueKind::AttrValue => text.boxed(),
        ValueKind::Option => text.prop_map(|t: String| t.replace(',', "_")).boxed(),
        _ => Just(def.example.to_owned()).boxed(),
    };
    let one = if def.key && !matches!(def.kind, ValueKind::Word(_)) {
        match def.kind {
            ValueKind::Uint(..) => Just(number.to_string()).boxed(),
            ValueKind::Address | ValueKind::AddressList => Just(format!("192.0.2.{number}/24")).boxed(),
            ValueKind::Router => Just(format!("192.0.2.{number}")).boxed(),
            ValueKind::RctlName => Just(format!("{}-{}", def.example, "abcd".repeat(number + 1))).boxed(),
            _ => Just(format!("{}{number}", def.example)).boxed(),
        }
    } else {
        one
    };
    let value = match def.shape {
        ValueShape::One => one.prop_map(Value::Simple).boxed(),
        ValueShape::List => {
            proptest::collection::vec(text.prop_map(Item::Simple), 0..3).prop_map(Value::List).boxed()
        }
        ValueShape::Groups(members) => {
            let member = |m: &'static str| -> BoxedStrategy<(String, String)> {
                let value = match m {
                    "priv" => Just("privileged".to_owned()).boxed(),
                    "limit" => any::<u64>().prop_map(|n| n.to_string()).boxed(),
                    "action" => prop_oneof!["deny", "none"].boxed(),
                    _ => prop_oneof![text, "[0-9]{1,20}"].boxed(),
                };
                value.prop_map(move |v| (m.to_owned(), v)).boxed()
            };
            let group = members.iter().map(|m| member(m)).collect::<Vec<_>>().prop_map(Item::Complex);
            proptest::collection::vec(group, 0..3).prop_map(Value::List).boxed()
        }
    };
    if def.key {
        value.prop_map(move |v| (def, Some(v))).boxed()
    } else {
        proptest::option::weighted(0.4, value).prop_map(move |v| (def, v)).boxed()
    }
}

prop_compose! {
    fn specs()(
        globals in schema::globals().iter().filter(|d| d.name != "zonename" && d.alias.is_none())
            .map(|d| value_of(d, 0)).collect::<Vec<_>>(),
        resources in ResourceKind::all().flat_map(|k| {
            let most = if k.def().singleton { 1 } else { 4 };
            (0..most).map(move |n| (Just(k), proptest::option::weighted(0.3, props(k.def(), n))))
        }).collect::<Vec<_>>(),
        aliases in proptest::sample::subsequence(edit_aliases(), 0..4),
        turn in any::<u8>(),
    ) -> ZoneSpec {
        let mut spec = ZoneSpec::new(zion());
        for (def, value) in globals {
            if let Some(value) = value {
                spec.props.set(def, value);
            }
        }
        for (kind, props) in resources {
            if let Some(props) = props {
                let aliased = kind.def().props.iter().any(|p| p.alias.is_some());
                if !(aliased && props.is_empty()) {
                    spec.stored_mut(kind).push(props);
                }
            }
        }
        for def in aliases {
            spec.set_alias(def, def.example).unwrap();
        }
        for kind in ResourceKind::all() {
            let list = spec.stored_mut(kind);
            if !list.is_empty() {
                let by = usize::from(turn) % list.len();
                list.rotate_left(by);
            }
        }
        spec.tidy();
        spec
    }
}

fn edit_aliases() -> Vec<&'static PropDef> {
    super::edit::alias_keys().map(|(_, d)| d).collect()
}

/// Rewrites controls as the alias keys that a person may have written.
fn with_alias_keys(spec: &ZoneSpec, count: usize) -> (String, ZoneSpec) {
    let mut rest = spec.clone();
    let mut text = String::new();
    for (_, def) in super::edit::alias_keys().filter(|(k, _)| k.is_none()).take(count) {
        if let Some(value) = spec.alias(def) {
            rest.clear_alias(def);
            let quoted = if matches!(def.kind, ValueKind::Size(_)) { format!("'{value}'") } else { value };
            text.push_str(&format!("# about {}\n{} = {quoted} # kept\n", def.name, def.name));
        }
    }
    rest.tidy();
    let rendered = render(&rest);
    let text = rendered.replacen("format = 1\n", &format!("# head\n\nformat = 1\n{text}"), 1);
    let spec = read(&text);
    (text, spec)
}

#[test]
fn comments_in_a_list_stay() {
    let list = |text: &str, options: &[&str]| {
        let text = format!(
            "format = 1\n[[fs]]\ndir = \"/a\"\nspecial = \"/b\"\ntype = \"lofs\"\noptions = {text}\n"
        );
        let mut spec = read(&text);
        let items = options.iter().map(|o| Item::Simple((*o).to_owned())).collect();
        let def = ResourceKind::Fs.def().prop("options").unwrap();
        spec.stored_mut(ResourceKind::Fs)[0].set(def, Value::List(items));
        let updated = update(&text, &spec).unwrap();
        assert_eq!(read(&updated), spec, "{updated}");
        updated.split_once("options = ").unwrap().1.trim_end().to_owned()
    };
    let long = "[\n  \"a\", # one\n  \"b\", # two\n  \"c\" # three\n]";
    assert_eq!(list(long, &["a", "c"]), "[\n  \"a\", # one\n  \"c\" # three\n]");
    assert_eq!(list(long, &["b", "c"]), "[\n  \"b\", # two\n  \"c\" # three\n]");
    assert_eq!(list(long, &["a", "b"]), "[\n  \"a\", # one\n  \"b\" # two\n]");
    assert_eq!(
        list(long, &["a", "b", "c", "d"]),
        "[\n  \"a\", # one\n  \"b\", # two\n  \"c\", # three\n  \"d\"\n]"
    );
    assert_eq!(list(long, &["a", "b", "d"]), "[\n  \"a\", # one\n  \"b\", # two\n  \"d\"\n]");
    let comma = "[\n  \"a\", # one\n]";
    assert_eq!(list(comma, &["a", "d"]), "[\n  \"a\", # one\n  \"d\",\n]");
    assert_eq!(list("[ \"a\",  \"b\" ]", &["a", "b", "c"]), "[ \"a\",  \"b\", \"c\" ]");
    assert_eq!(list("[\"a\", \"b\"]", &["b"]), "[\"b\"]");
}

#[test]
fn resources_in_a_resource_are_read_and_kept() {
    let text = "format = 1\n\n[[anet]]\nlinkname = \"net0\"\n\n# the web\n[[anet.mac]]\nmac-address = \"auto\"\n\n[[anet.mac]]\nid = 2\n\n[[anet]]\nlinkname = \"net1\"\nvlan = [\n  { vlan-id = 7, id = 1 }, # seven\n  { vlan-id = 8, id = 2 },\n]\n";
    let spec = read(text);
    let anets = spec.stored(ResourceKind::Anet);
    let ids = |anet: &Props, kind| {
        anet.inner(kind).iter().map(|p| p.text("id").map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!(ids(&anets[0], ResourceKind::Mac), [None, Some("2".to_owned())]);
    assert_eq!(ids(&anets[1], ResourceKind::Vlan), [Some("1".to_owned()), Some("2".to_owned())]);
    // In another order each keeps what stands in it, with the comments.
    let mut turned = spec.clone();
    turned.stored_mut(ResourceKind::Anet).reverse();
    let updated = update(text, &turned).unwrap();
    assert_eq!(read(&updated), turned, "{updated}");
    assert!(updated.contains("# the web\n[[anet.mac]]") && updated.contains("# seven"), "{updated}");
    // An element that is removed from a list leaves the others as they were written.
    let mut fewer = spec.clone();
    fewer.stored_mut(ResourceKind::Anet)[1].inner_mut(ResourceKind::Vlan).remove(1);
    let updated = update(text, &fewer).unwrap();
    assert_eq!(read(&updated), fewer, "{updated}");
    assert!(
        updated.contains("# the web")
            && updated.contains("vlan-id = 7, id = 1 }")
            && updated.contains("# seven"),
        "{updated}"
    );
    for (text, error) in [
        ("[[mac]]\nid = 1\n", "2:3: mac stands in anet: write [[anet.mac]]"),
        ("[[anet]]\nmac = 3\n", "3:7: mac is a resource in anet: write [[anet.mac]]"),
        ("[[anet]]\n[anet.mac]\nid = 1\n", "3:1: mac is a resource in anet: write [[anet.mac]]"),
        ("[[anet]]\n[[anet.mac]]\nidd = 1\n", "4:1: unknown property 'idd' of anet mac; did you mean 'id'?"),
        (
            "[[anet]]\n[[anet.mac]]\nid = 1\n[[anet.mac]]\nid = 1\n",
            "5:1: A mac resource with the id '1' already exists.",
        ),
        ("[[fs]]\nmac = []\n", "3:1: unknown property 'mac' of fs"),
    ] {
        let read = parse(&zion(), format!("format = 1\n{text}").as_bytes());
        assert_eq!(read.map_err(|e| e.to_string()), Err(error.to_owned()), "{text}");
    }
}

#[test]
fn line_ends_stay() {
    let text = "format = 1\r\n# path\r\nzonepath = \"/zones/zion\"\r\n";
    let mut spec = read(text);
    spec.props.set(schema::global("pool").unwrap(), Value::simple("web"));
    assert_eq!(update(text, &spec).unwrap(), format!("{text}pool = \"web\"\r\n"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn text_and_spec_are_inverse(spec in specs()) {
        let text = render(&spec);
        prop_assert_eq!(read(&text), spec, "{}", text);
    }

    #[test]
    fn an_update_reads_as_the_new_spec(old in specs(), new in specs(), aliases in 0usize..12) {
        let (text, _) = with_alias_keys(&old, aliases);
        let updated = update(&text, &new).unwrap();
        prop_assert_eq!(read(&updated), new, "{}\n---\n{}", text, updated);
        prop_assert!(updated.starts_with("# head\n\nformat = 1\n"), "{}\n---\n{}", text, updated);
    }

    #[test]
    fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&zion(), &bytes);
    }
}
