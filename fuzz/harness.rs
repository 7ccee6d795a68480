//! What holds for every input, however broken: one function for each reader. The fuzz targets and
//! `tests/fuzz_corpus.rs` run the same functions.

use zones::apply::install::journal as install;
use zones::apply::journal::boot;
use zones::parser::lexer::{Lexer, StatementStart};
use zones::parser::{Parser, Span};
use zones::spec::ZoneName;
use zones::spec::toml;
use zones::zfs::nvlist::{EncodeError, List};

/// A spec file: refused with a place inside the text, or read, written and read again as the same.
pub fn spec(data: &[u8]) {
    let name = ZoneName::new("fuzz").expect("a valid name");
    match toml::parse(&name, data) {
        Err(e) => {
            let lines = 1 + data.iter().filter(|b| **b == b'\n').count();
            assert!(e.line >= 1 && e.line <= lines && e.column >= 1, "{e}");
            assert!(!e.text.is_empty());
        }
        Ok(spec) => {
            let written = toml::render(&spec);
            let again = toml::parse(&name, written.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{written}"));
            assert_eq!(again, spec, "{written}");
            let text = std::str::from_utf8(data).expect("a spec that was read is UTF-8");
            let kept = toml::update(text, &spec).unwrap_or_else(|e| panic!("{e}\n{text}"));
            let again = toml::parse(&name, kept.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{kept}"));
            assert_eq!(again, spec, "{kept}");
        }
    }
}

/// Command text: every byte of it is read, in order, and every place lies inside it.
pub fn lexer(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let lines = 1 + text.matches('\n').count();
    let mut lexer = Lexer::new(&text, 1);
    let mut words = Vec::new();
    let (mut reached, mut statements) = (0, 0);
    while let Some(statement) = lexer.statement(&mut words) {
        let mut see = |span: Span| {
            assert!(
                reached <= span.start && span.start <= span.end && span.end <= text.len(),
                "{span:?} {reached}"
            );
            assert!(text.is_char_boundary(span.start) && text.is_char_boundary(span.end), "{span:?}");
            reached = span.end;
        };
        let (StatementStart::Verb(_, span) | StatementStart::Other(_, span)) = statement.head;
        see(span);
        for word in &words {
            see(word.span);
        }
        see(statement.end);
        assert!(statement.line >= 1 && statement.line <= lines);
        statements += 1;
        assert!(statements <= text.len(), "the lexer does not come to an end");
    }
}

/// Commands: refused with a text and a place, or printed and read again as the same command.
pub fn parser(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for parsed in Parser::new(&text, 1) {
        match parsed.command {
            Err(e) => {
                assert!(!e.to_string().is_empty());
                let span = e.span();
                assert!(span.start <= span.end && span.end <= text.len(), "{span:?}");
            }
            Ok(command) => {
                let printed = command.to_string();
                let mut again = Parser::new(&printed, 1);
                let first = again.next().unwrap_or_else(|| panic!("'{printed}' is no command"));
                assert_eq!(first.command.as_ref(), Ok(&command), "'{printed}'");
                assert!(again.next().is_none(), "'{printed}' is more than one command");
            }
        }
    }
}

/// Journals of a boot and of an install: what is understood is written and read again as the same, and
/// a torn line at the end hides nothing that stands before it.
pub fn journal(data: &[u8]) {
    let pending = boot::read(data);
    assert!(pending.len() <= data.split(|b| *b == b'\n').count());
    if data.contains(&b'\n') {
        let whole = &data[..data.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1)];
        let torn = [whole, b"{\"step\":0,\"pha"].concat();
        assert_eq!(boot::read(&torn), boot::read(whole));
        // Whatever has begun can be noted as undone.
        let undone = |(step, _): &(usize, _)| format!("{{\"step\":{step},\"phase\":\"undone\"}}\n");
        let notes: String = boot::read(whole).iter().map(undone).collect();
        assert_eq!(boot::read(&[whole, notes.as_bytes()].concat()), []);
    }

    let Some(found) = install::parse(data) else { return };
    let head = serde_json::json!({ "format": 1, "plan": found.plan }).to_string();
    let again = install::parse(head.as_bytes()).expect("a plan that was read can be read again");
    assert_eq!((again.plan, again.last), (found.plan.clone(), None));
    if !data.contains(&b'\n') {
        return; // a head alone, which more bytes would change
    }
    let whole = &data[..data.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1)];
    let before = install::parse(whole);
    let torn = [whole, b"{\"step\":0,\"pha"].concat();
    assert_eq!(install::parse(&torn), before);
}

/// Lists of ZFS, in either encoding: refused, or written and read again as the same. A list that came
/// from outside can have names that are too long for the form in memory, and nothing else that it cannot.
pub fn nvlist(data: &[u8]) {
    let Ok(list) = List::decode(data) else { return };
    let (prefix, rest) = List::decode_prefix(data).expect("what is a whole list starts with one");
    assert!(rest.is_empty() && prefix.names().eq(list.names()));
    let mut sorted: Vec<_> = list.names().collect();
    sorted.dedup();
    assert_eq!(sorted.len(), list.len());
    for encode in [List::to_native, List::to_xdr] {
        match encode(&list) {
            // Compared as bytes: a number that is not a number is not even the same as itself.
            Ok(bytes) => {
                let again = List::decode(&bytes).unwrap_or_else(|e| panic!("{e}: {list:?}"));
                assert_eq!(encode(&again).as_ref(), Ok(&bytes), "{list:?}");
            }
            Err(EncodeError::TooLong(_)) => {}
            Err(e) => panic!("{e}: {list:?}"),
        }
    }
}
