//! Escapes of an interactive session: `~.` at the start of a line disconnects.
//!
//! | at line start | effect |
//! |---|---|
//! | `~.`, `~^D` | disconnect; shown to the user |
//! | `~~` | sends one `~` |
//! | `~x` | sends both. Linux: illumos loses the `~` |

/// The characters of the caller's terminal that matter here; none: switched off.
#[derive(Clone, Copy, Debug, Default)]
pub struct Specials {
    /// End of file.
    pub eof: Option<u8>,
    /// Additional end of line.
    pub eol: Option<u8>,
    /// Deletes the line.
    pub kill: Option<u8>,
    /// Interrupts.
    pub interrupt: Option<u8>,
    /// Suspends.
    pub suspend: Option<u8>,
}

#[derive(Clone, Copy, PartialEq)]
enum EscapeState {
    LineStart,
    AfterEscape,
    Inside,
}

/// Watches typed input for escapes.
pub struct EscapeFilter {
    escape: Option<u8>,
    specials: Specials,
    at: EscapeState,
}

/// The meaning of typed input.
#[derive(Debug, PartialEq, Eq)]
pub enum Typed {
    /// Bytes to send.
    Send(Vec<u8>),
    /// Send these bytes, show that text to the user, and disconnect.
    Disconnect(Vec<u8>, Vec<u8>),
}

impl EscapeFilter {
    /// Returns a filter; without an escape character everything passes.
    pub fn new(escape: Option<u8>, specials: Specials) -> Self {
        Self { escape, specials, at: EscapeState::LineStart }
    }

    /// Takes typed bytes. An escape character at the end waits for what follows it.
    pub fn take(&mut self, input: &[u8]) -> Typed {
        let Some(escape) = self.escape else { return Typed::Send(input.to_vec()) };
        let mut out = Vec::with_capacity(input.len() + 1);
        for &byte in input {
            match self.at {
                EscapeState::LineStart if byte == escape => {
                    self.at = EscapeState::AfterEscape;
                    continue;
                }
                EscapeState::AfterEscape if byte == b'.' => {
                    return Typed::Disconnect(out, vec![escape, byte]);
                }
                EscapeState::AfterEscape if Some(byte) == self.specials.eof => {
                    return Typed::Disconnect(out, vec![escape, b'^', byte ^ 0x40]);
                }
                EscapeState::AfterEscape if byte == escape => {}
                EscapeState::AfterEscape => out.push(escape),
                EscapeState::LineStart | EscapeState::Inside => {}
            }
            out.push(byte);
            self.at = if self.ends_line(byte) { EscapeState::LineStart } else { EscapeState::Inside };
        }
        Typed::Send(out)
    }

    fn ends_line(&self, byte: u8) -> bool {
        let Specials { eof: _, eol, kill, interrupt, suspend } = self.specials;
        matches!(byte, b'\r' | b'\n') || [eol, kill, interrupt, suspend].contains(&Some(byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Specials =
        Specials { eof: Some(4), eol: None, kill: Some(21), interrupt: Some(3), suspend: Some(26) };

    fn send(bytes: &[u8]) -> Typed {
        Typed::Send(bytes.to_vec())
    }

    #[test]
    fn escapes_count_at_the_start_of_a_line_only() {
        let mut f = EscapeFilter::new(Some(b'~'), USUAL);
        assert_eq!(f.take(b"a~.b\r"), send(b"a~.b\r"));
        assert_eq!(f.take(b"~"), send(b""));
        assert_eq!(f.take(b"~"), send(b"~"));
        assert_eq!(f.take(b"."), send(b"."));
        assert_eq!(f.take(b"\n~x~.\n"), send(b"\n~x~.\n"));
        assert_eq!(f.take(b"ls\r~."), Typed::Disconnect(b"ls\r".to_vec(), b"~.".to_vec()));
        for first in [b'\r', b'\n', 21, 3, 26] {
            let mut f = EscapeFilter::new(Some(b'~'), USUAL);
            let typed = f.take(&[b'a', first, b'~', 4, b'z']);
            assert_eq!(typed, Typed::Disconnect(vec![b'a', first], b"~^D".to_vec()), "{first}");
        }
    }

    #[test]
    fn an_escape_before_the_end_of_a_line_is_sent_and_the_next_line_begins() {
        let mut f = EscapeFilter::new(Some(b'~'), USUAL);
        assert_eq!(f.take(b"~\r"), send(b"~\r"));
        assert!(matches!(f.take(b"~."), Typed::Disconnect(..)));
    }

    #[test]
    fn other_escapes_and_none() {
        let mut f = EscapeFilter::new(Some(b'%'), USUAL);
        assert_eq!(f.take(b"~.\r"), send(b"~.\r"));
        assert!(matches!(f.take(b"%."), Typed::Disconnect(..)));
        let mut f = EscapeFilter::new(None, USUAL);
        assert_eq!(f.take(b"~.\r~."), send(b"~.\r~."));
    }

    #[test]
    fn a_switched_off_character_is_not_the_byte_zero() {
        let mut f = EscapeFilter::new(Some(b'~'), Specials::default());
        assert_eq!(f.take(b"a\0~."), send(b"a\0~."));
    }
}
