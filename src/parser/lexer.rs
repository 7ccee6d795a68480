//! Words and signs of the command language, with their places.
//!
//! | rule | whose |
//! |---|---|
//! | newline or `;` ends a statement; blanks separate words; `#` is a comment only where a statement may start | all |
//! | `"` to the next `"` of the line is one word, quotes dropped; a missing end quote ends at the newline; no escapes | all |
//! | inside `[ ]` and `( )` a comma ends a word; inside `( )` brackets are ordinary | all |
//! | a keyword needs no blank behind it: `setzonepath=/x` | all |
//! | quotes inside `( )` | SmartOS, OmniOS |
//! | CR before the newline is a blank | generated files |

use nom::IResult;
use nom::Parser as _;
use nom::branch::alt;
use nom::bytes::complete::{take_till, take_while, take_while1};
use nom::character::complete::{char, one_of};
use nom::combinator::map;
use nom::sequence::preceded;

use super::command::{CommandWord, Span};

/// A word or sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tok<'a> {
    /// A bare word.
    Word(&'a str),
    /// A quoted text, without its quotes.
    Quoted(&'a str),
    /// One of `= , [ ] ( )`.
    Sign(char),
}

/// A word or sign with its place in the text.
#[derive(Clone, Copy, Debug)]
pub struct Token<'a> {
    /// The kind of token.
    pub tok: Tok<'a>,
    /// Where it is, quotes included.
    pub span: Span,
}

/// Inside which brackets the lexer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nest {
    Plain,
    List,
    Group,
    GroupInList,
}

impl Nest {
    fn after(self, sign: char) -> Self {
        match (self, sign) {
            (Self::Plain, '[') => Self::List,
            (Self::Plain, '(') => Self::Group,
            (Self::List, '(') => Self::GroupInList,
            (Self::List, ']') | (Self::Group, ')') => Self::Plain,
            (Self::GroupInList, ')') => Self::List,
            (same, _) => same,
        }
    }

    fn in_group(self) -> bool {
        matches!(self, Self::Group | Self::GroupInList)
    }

    fn is_word(self, c: char) -> bool {
        match c {
            ' ' | '\t' | '\r' | '\n' | '"' | ';' | '=' | '(' | ')' => false,
            '[' | ']' => self.in_group(),
            ',' => self == Self::Plain,
            _ => true,
        }
    }
}

fn quoted(input: &str) -> IResult<&str, &str> {
    let (rest, text) = preceded(char('"'), take_till(|c| c == '"' || c == '\n')).parse(input)?;
    match rest.strip_prefix('"') {
        Some(rest) => Ok((rest, text)),
        // It ends with its line, and CR LF is an end of line.
        None => Ok((rest, text.strip_suffix('\r').unwrap_or(text))),
    }
}

fn token(nest: Nest, input: &str) -> IResult<&str, Tok<'_>> {
    // The last branch takes whatever is left (a comma outside of brackets cannot get here).
    alt((
        map(take_while1(|c| nest.is_word(c)), Tok::Word),
        map(quoted, Tok::Quoted),
        map(one_of("=,[]()"), Tok::Sign),
    ))
    .parse(input)
}

fn blanks(input: &str) -> IResult<&str, &str> {
    take_while(|c| c == ' ' || c == '\t' || c == '\r').parse(input)
}

fn skip(input: &str) -> &str {
    blanks(input).map_or(input, |(rest, _)| rest)
}

/// How a statement starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatementStart<'a> {
    /// With a command.
    Verb(CommandWord, Span),
    /// With something else.
    Other(Tok<'a>, Span),
}

/// Splits a text into statements.
#[derive(Clone, Debug)]
pub struct Lexer<'a> {
    text: &'a str,
    rest: &'a str,
    line: usize,
}

/// One statement; its words are in the vector that the caller gave.
#[derive(Clone, Copy, Debug)]
pub struct Statement<'a> {
    /// How it starts.
    pub head: StatementStart<'a>,
    /// Where it ends: the place of the newline, semicolon or end of the text.
    pub end: Span,
    /// Whether it ended with a semicolon.
    pub by_semicolon: bool,
    /// Line in which it stands, counting from 1.
    pub line: usize,
}

impl<'a> Lexer<'a> {
    /// Starts at the beginning of the text, whose first line has the given number.
    pub fn new(text: &'a str, line: usize) -> Self {
        Self { text, rest: text, line }
    }

    fn at(&self, rest: &str) -> usize {
        self.text.len() - rest.len()
    }

    /// Returns the next statement and fills in its words behind the command; none at the end.
    pub fn statement(&mut self, words: &mut Vec<Token<'a>>) -> Option<Statement<'a>> {
        words.clear();
        loop {
            self.rest = skip(self.rest);
            match self.rest.as_bytes().first()? {
                b'\n' => {
                    self.line += 1;
                    self.rest = &self.rest[1..];
                }
                b';' => self.rest = &self.rest[1..],
                b'#' => self.rest = &self.rest[self.rest.find('\n').unwrap_or(self.rest.len())..],
                _ => break,
            }
        }
        let line = self.line;
        let head = self.head();
        let mut nest = Nest::Plain;
        loop {
            self.rest = skip(self.rest);
            let start = self.at(self.rest);
            let first = self.rest.as_bytes().first().copied();
            if matches!(first, None | Some(b'\n' | b';')) {
                let end = Span { start, end: start + usize::from(first == Some(b';')) };
                return Some(Statement { head, end, by_semicolon: first == Some(b';'), line });
            }
            let Ok((rest, tok)) = token(nest, self.rest) else {
                // Every character is a word, a quote, a sign, a blank or an end of statement.
                self.rest = &self.rest[self.rest.chars().next().map_or(0, char::len_utf8)..];
                continue;
            };
            if let Tok::Sign(sign) = tok {
                nest = nest.after(sign);
            }
            self.rest = rest;
            words.push(Token { tok, span: Span { start, end: self.at(rest) } });
        }
    }

    /// Reads the command word; what follows it without a blank stays for the next words.
    fn head(&mut self) -> StatementStart<'a> {
        let start = self.at(self.rest);
        let Ok((rest, tok)) = token(Nest::Plain, self.rest) else {
            let len = self.rest.chars().next().map_or(0, char::len_utf8);
            let (bad, rest) = self.rest.split_at(len);
            self.rest = rest;
            return StatementStart::Other(Tok::Word(bad), Span { start, end: start + len });
        };
        if let Tok::Word(word) = tok
            && let Some(verb) = CommandWord::at_start_of(word)
        {
            let len = if word.starts_with('?') { 1 } else { verb.name().len() };
            self.rest = &self.rest[len..];
            return StatementStart::Verb(verb, Span { start, end: start + len });
        }
        self.rest = rest;
        StatementStart::Other(tok, Span { start, end: self.at(rest) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> Vec<String> {
        let mut lexer = Lexer::new(text, 1);
        let mut words = Vec::new();
        let mut out = Vec::new();
        while let Some(s) = lexer.statement(&mut words) {
            let mut line = match s.head {
                StatementStart::Verb(verb, _) => format!("{} {}", s.line, verb.name()),
                StatementStart::Other(tok, _) => format!("{} {tok:?}", s.line),
            };
            for w in &words {
                assert!(w.span.end <= text.len());
                match w.tok {
                    Tok::Word(t) => line.push_str(&format!(" <{t}>")),
                    Tok::Quoted(t) => line.push_str(&format!(" \"{t}\"")),
                    Tok::Sign(c) => line.push_str(&format!(" {c}")),
                }
            }
            out.push(line);
        }
        out
    }

    #[test]
    fn statements() {
        assert_eq!(show("create -b \r\nset a=b;end"), ["1 create <-b>", "2 set <a> = <b>", "2 end"]);
        assert_eq!(show(" ; ;\n\n# x; y\n\tend;;"), ["4 end"]);
        assert_eq!(show("setzonepath=/x"), ["1 set <zonepath> = </x>"]);
        assert_eq!(show("additional"), ["1 add <itional>"]);
        assert_eq!(show("set a = #1"), ["1 set <a> = <#1>"]);
        assert_eq!(show("?net"), ["1 help <net>"]);
        assert_eq!(show("hello world"), ["1 Word(\"hello\") <world>"]);
    }

    #[test]
    fn commas_and_brackets() {
        assert_eq!(show("set p=a,b"), ["1 set <p> = <a,b>"]);
        assert_eq!(show("set p=[a, b]"), ["1 set <p> = [ <a> , <b> ]"]);
        assert_eq!(show("add v (a=b[c],d=\"x,y\")"), ["1 add <v> ( <a> = <b[c]> , <d> = \"x,y\" )"]);
        assert_eq!(show("set v=[(a=b),c]"), ["1 set <v> = [ ( <a> = <b> ) , <c> ]"]);
    }

    #[test]
    fn quotes() {
        assert_eq!(show("set a=\"x;y # z\" ; end"), ["1 set <a> = \"x;y # z\"", "1 end"]);
        assert_eq!(show("set a=\"x\nend"), ["1 set <a> = \"x", "2 end"].map(|s| s.replace("\"x", "\"x\"")));
        assert_eq!(show("set a=b\"c\""), ["1 set <a> = <b> \"c\""]);
        assert_eq!(show("set a=\"\""), ["1 set <a> = \"\""]);
    }
}
