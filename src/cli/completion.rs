//! The completions of zoneadm for bash, zsh and fish, made from the table of its subcommands.
//!
//! `UPDATE=1 cargo test --test completions` writes the files in `completions/` anew.

use super::zoneadm::table::SUBCOMMANDS;
use crate::spec::verb::{Offer, Operands, Opt, Verb};

/// Returns the completion of zoneadm for a shell, none when the shell is not known.
pub fn zoneadm(shell: &str) -> Option<String> {
    Some(match shell {
        "bash" => bash(),
        "zsh" => zsh(),
        "fish" => fish(),
        _ => return None,
    })
}

/// Returns the subcommands by name.
fn verbs() -> Vec<&'static Verb> {
    let mut verbs: Vec<_> = SUBCOMMANDS.iter().map(|s| &s.verb).collect();
    verbs.sort_by_key(|verb| verb.name);
    verbs
}

fn names() -> String {
    verbs().iter().map(|verb| verb.name).collect::<Vec<_>>().join(" ")
}

fn planned() -> String {
    let mut names: Vec<_> = SUBCOMMANDS.iter().filter(|s| s.has_plan()).map(|s| s.verb.name).collect();
    names.sort_unstable();
    names.join(" ")
}

/// Returns the candidates for a word that is no option.
fn operand(verb: &Verb) -> Offer {
    match verb.operands {
        Operands::None | Operands::BootArgs { .. } => Offer::Nothing,
        Operands::Keyword(word) => Offer::Words(word),
        Operands::Name { offer, .. } | Operands::Words { offer, .. } => offer,
    }
}

const ZONES: &str = "zoneadm list -cn 2>/dev/null";
const DATASETS: &str = "zfs list -Ho name 2>/dev/null";
const SNAPSHOTS: &str = "zfs list -Ho name -t snapshot 2>/dev/null";

/// Puts values in the places of their names.
fn fill(text: &str, values: &[(&str, String)]) -> String {
    values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
}

const BASH: &str = r#"# bash completion for zoneadm(8), made from its table of subcommands

_zoneadm() {
    local cur prev word command= i
    COMPREPLY=()
    cur=${COMP_WORDS[COMP_CWORD]}
    prev=${COMP_WORDS[COMP_CWORD - 1]}
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        case $word in
            -z | -u | -R) ((i++)) ;;
            -*) ;;
            *) command=$word; break ;;
        esac
    done
    local commands="@NAMES@"
    if [[ -z $command ]]; then
        case $prev in
            -z) COMPREPLY=($(compgen -W "$(zoneadm list -cn 2>/dev/null)" -- "$cur")) ;;
            -u) COMPREPLY=($(compgen -W "$(zoneadm list -cpn 2>/dev/null | sed 's/\\://g' | cut -d: -f5)" -- "$cur")) ;;
            -R) COMPREPLY=($(compgen -d -- "$cur")) ;;
            *) COMPREPLY=($(compgen -W "-z -u -R $commands" -- "$cur")) ;;
        esac
        return
    fi
    case $command in
@CASES@    esac
}
complete -o filenames -F _zoneadm zoneadm
"#;

/// Returns what bash makes of an offer: a kind of its own, or words.
fn bash_words(offer: Offer) -> Result<String, &'static str> {
    Ok(match offer {
        Offer::Files => return Err("-f"),
        Offer::Folders => return Err("-d"),
        Offer::Nothing => String::new(),
        Offer::Words(words) => words.to_owned(),
        Offer::Zones => format!("$({ZONES})"),
        Offer::Snapshots => format!("$({SNAPSHOTS})"),
        Offer::Datasets => format!("$({DATASETS})"),
        Offer::Verbs => "$commands".to_owned(),
        Offer::Planned => planned(),
    })
}

fn bash_reply(words: Result<String, &str>) -> String {
    match words {
        Ok(words) => format!(r#"COMPREPLY=($(compgen -W "{words}" -- "$cur")) ;;"#),
        Err(kind) => format!(r#"COMPREPLY=($(compgen {kind} -- "$cur")) ;;"#),
    }
}

fn bash_case(verb: &Verb) -> Option<String> {
    let mut words: Vec<String> = verb.shown().map(Opt::typed).collect();
    if matches!(verb.operands, Operands::BootArgs { .. }) {
        words.push("--".to_owned());
    }
    let reply = match bash_words(operand(verb)) {
        Err(kind) => Err(kind),
        Ok(offered) => {
            words.extend(Some(offered).filter(|offered| !offered.is_empty()));
            Ok(words.join(" "))
        }
    };
    if reply.as_ref().is_ok_and(String::is_empty) {
        return None;
    }
    let values: Vec<String> = verb
        .shown()
        .filter_map(|opt| Some((opt, opt.value?.offer)))
        .filter(|(_, offer)| *offer != Offer::Nothing)
        .map(|(opt, offer)| format!("                {}) {}\n", opt.typed(), bash_reply(bash_words(offer))))
        .collect();
    let reply = bash_reply(reply);
    if values.is_empty() {
        return Some(format!("        {}) {reply}\n", verb.name));
    }
    Some(format!(
        "        {})\n            case $prev in\n{}                *) {reply}\n            esac\n            ;;\n",
        verb.name,
        values.concat()
    ))
}

fn bash() -> String {
    let cases: String = verbs().into_iter().filter_map(bash_case).collect();
    fill(BASH, &[("@NAMES@", names()), ("@CASES@", cases)])
}

const ZSH: &str = r#"#compdef zoneadm
# zsh completion for zoneadm(8), made from its table of subcommands

_zoneadm_zones() {
    local -a zones
    zones=(${(f)"$(zoneadm list -cn 2>/dev/null)"})
    _describe -t zones zone zones
}

_zoneadm() {
    local curcontext=$curcontext state line
    local -a commands
    commands=(
@NAMES@    )
    _arguments -C \
        '-z[zone]:zone:_zoneadm_zones' \
        '-u[uuid of the zone]:uuid: ' \
        '-R[alternate root]:directory:_files -/' \
        '1: :->command' \
        '*:: :->arguments' && return
    case $state in
        command) _describe -t commands subcommand commands ;;
        arguments)
            case $line[1] in
@CASES@            esac
            ;;
    esac
}

_zoneadm "$@"
"#;

fn zsh_action(offer: Offer) -> String {
    match offer {
        Offer::Nothing => " ".to_owned(),
        Offer::Files => "_files".to_owned(),
        Offer::Folders => "_files -/".to_owned(),
        Offer::Words(words) => format!("({words})"),
        Offer::Zones => "_zoneadm_zones".to_owned(),
        Offer::Snapshots => format!(r#"(${{(f)"$({SNAPSHOTS})"}})"#),
        Offer::Datasets => format!(r#"(${{(f)"$({DATASETS})"}})"#),
        Offer::Verbs => format!("({})", names()),
        Offer::Planned => format!("({})", planned()),
    }
}

fn zsh_option(opt: &Opt) -> String {
    let more = if opt.repeats { "*" } else { "" };
    let value = opt.value.map(|v| format!(":{}:{}", v.label(), zsh_action(v.offer))).unwrap_or_default();
    format!("'{more}{}[{}]{value}'", opt.typed(), opt.brief)
}

fn zsh_case(verb: &Verb) -> Option<String> {
    if operand(verb) == Offer::Verbs {
        let name = verb.name;
        return Some(format!("                {name}) _describe -t commands subcommand commands ;;\n"));
    }
    let mut words: Vec<String> = verb.shown().map(zsh_option).collect();
    let label = match verb.operands {
        Operands::Keyword(_) => "state",
        Operands::Name { name, .. } => name,
        _ => "subcommand",
    };
    let offer = operand(verb);
    if offer != Offer::Nothing {
        words.push(format!("'1:{label}:{}'", zsh_action(offer)));
    }
    let words = words.join(" ");
    (!words.is_empty()).then(|| format!("                {}) _arguments {words} ;;\n", verb.name))
}

fn zsh() -> String {
    let names = verbs().iter().map(|v| format!("        '{}:{}'\n", v.name, v.brief)).collect();
    let cases = verbs().into_iter().filter_map(zsh_case).collect();
    fill(ZSH, &[("@NAMES@", names), ("@CASES@", cases)])
}

const FISH: &str = r"# fish completion for zoneadm(8), made from its table of subcommands

function __zoneadm_without
    set -l words (commandline -opc)
    set -e words[1]
    for word in $words
        contains -- $word @NAMES@; and return 1
    end
    return 0
end

complete -c zoneadm -f
complete -c zoneadm -s z -x -a '(zoneadm list -cn 2>/dev/null)' -d Zone
complete -c zoneadm -s u -x -d 'Uuid of the zone'
complete -c zoneadm -s R -x -a '(__fish_complete_directories)' -d 'Alternate root'
";

/// Returns a text as fish reads one word.
fn fish_word(text: &str) -> String {
    let is_word = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if is_word { text.to_owned() } else { format!("'{text}'") }
}

/// Returns a description, which begins with a capital letter.
fn fish_text(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    fish_word(&first.into_iter().chain(letters).collect::<String>())
}

fn fish_offer(offer: Offer) -> String {
    match offer {
        Offer::Nothing | Offer::Files => String::new(),
        Offer::Folders => "(__fish_complete_directories)".to_owned(),
        Offer::Words(words) => words.to_owned(),
        Offer::Zones => format!("({ZONES})"),
        Offer::Snapshots => format!("({SNAPSHOTS})"),
        Offer::Datasets => format!("({DATASETS})"),
        Offer::Verbs => names(),
        Offer::Planned => planned(),
    }
}

fn fish_lines(verb: &Verb) -> String {
    let after = format!("complete -c zoneadm -n '__fish_seen_subcommand_from {}'", verb.name);
    let mut out = String::new();
    for opt in verb.shown() {
        let name = match (opt.letter, opt.long) {
            (Some(letter), _) => format!("-s {letter}"),
            (None, long) => format!("-l {}", long.unwrap_or_default()),
        };
        let value = match opt.value.map(|v| v.offer) {
            None => String::new(),
            Some(Offer::Files) => " -r -F".to_owned(),
            Some(Offer::Nothing) => " -x".to_owned(),
            Some(offer) => format!(" -x -a {}", fish_word(&fish_offer(offer))),
        };
        out += &format!("{after} {name}{value} -d {}\n", fish_text(opt.brief));
    }
    match operand(verb) {
        Offer::Nothing => {}
        Offer::Files => out += &format!("{after} -F\n"),
        offer => out += &format!("{after} -a {}\n", fish_word(&fish_offer(offer))),
    }
    out
}

fn fish() -> String {
    let mut out = fill(FISH, &[("@NAMES@", names())]);
    for verb in verbs() {
        let (name, text) = (verb.name, fish_text(verb.brief));
        out += &format!("complete -c zoneadm -n __zoneadm_without -a {name} -d {text}\n");
    }
    out + &verbs().into_iter().map(fish_lines).collect::<String>()
}
