//! Boot arguments: what follows `boot --`, or the `bootargs` property.

/// Boot arguments as read. Bad ones are warned of and never stop a boot, as on Solaris.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootArgs {
    /// The words as given, handed to init.
    pub words: Vec<String>,
    /// `-i PATH`: another first program for this boot.
    pub init: Option<String>,
    /// `-s`: single user.
    pub single_user: bool,
    /// `-m OPTS`: options for the service manager.
    pub milestone: Option<String>,
    /// `boot -w`, no word of the line: the whole root is writable, whatever the profile.
    pub writable: bool,
    /// The word that was not understood.
    pub ignored: Vec<String>,
}

/// The first line of arguments that are kept, with `boot -w`.
const WRITABLE: &str = "writable";

impl BootArgs {
    /// Reads a line of arguments.
    pub fn parse(line: &str) -> Self {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let mut out = Self { words: words.clone(), ..Self::default() };
        let mut rest = words.into_iter().peekable();
        // Solaris ignores a first word that is no option: it used to be the name of a kernel.
        rest.next_if(|w| !w.starts_with('-'));
        while let Some(word) = rest.next() {
            match word.as_str() {
                "-i" => out.init = rest.next(),
                "-m" => out.milestone = rest.next(),
                "-s" => out.single_user = true,
                "-f" => {}
                _ => out.ignored.push(word),
            }
        }
        out
    }

    /// Reads the text that [`Self::to_text`] returns.
    pub fn from_text(text: &str) -> Self {
        let (first, line) = text.split_once('\n').unwrap_or((text, ""));
        Self { writable: first == WRITABLE, ..Self::parse(line) }
    }

    /// Returns the arguments as a text from which they can be read again.
    pub fn to_text(&self) -> String {
        format!("{}\n{}", if self.writable { WRITABLE } else { "" }, self.line())
    }

    /// Returns the arguments as one line.
    pub fn line(&self) -> String {
        self.words.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_solaris_reads() {
        let a = BootArgs::parse("kernel -m verbose -s -i /sbin/other -x");
        assert_eq!(a.milestone.as_deref(), Some("verbose"));
        assert_eq!(a.init.as_deref(), Some("/sbin/other"));
        assert!(a.single_user);
        assert_eq!(a.ignored, ["-x"]);
        assert_eq!(a.line(), "kernel -m verbose -s -i /sbin/other -x");
        assert_eq!(BootArgs::parse("  "), BootArgs::default());
    }

    #[test]
    fn what_is_kept_reads_back() {
        for args in [BootArgs::parse("-s -i /sbin/other"), BootArgs { writable: true, ..BootArgs::default() }]
        {
            assert_eq!(BootArgs::from_text(&args.to_text()), args);
        }
    }
}
