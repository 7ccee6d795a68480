//! The common part of the local sockets: a request begins with the name and the version of the protocol, and an
//! unknown one is refused.
//!
//! Supervisors and guards outlive an upgrade of the programs, so both sides still know the requests without such a
//! beginning that programs up to 0.1.0 sent. A supervisor of these took every word that it did not know for a client
//! of the console; a blank line was the one request that it closed the connection on. So a request to a supervisor
//! begins with a blank line, and a client that gets no answer to it asks again in the former protocol.

use thiserror::Error;

use crate::spec::shown::Show;

/// The protocol of one kind of socket.
#[derive(Clone, Copy, Debug)]
pub struct Protocol {
    name: &'static str,
    version: u32,
}

/// The protocol of supervisors.
pub const SUPERVISOR: Protocol = Protocol { name: "zoneadmd", version: 1 };

/// The protocol of guards.
pub const GUARD: Protocol = Protocol { name: "zoneadmd-guard", version: 1 };

/// A request, without its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionedRequest<'a> {
    /// A request of a program that speaks this version.
    Current(&'a str),
    /// A request of a program from before there were versions.
    Former(&'a str),
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// It is of another version.
    #[error("{name} speaks version {version} of its protocol, not {}: programs of two releases are in use", .asked.shown())]
    Version {
        /// Name of the protocol.
        name: &'static str,
        /// The version that is spoken here.
        version: u32,
        /// The version of the request.
        asked: String,
    },
    /// There is no such request.
    #[error("{name} does not know the request {}", .word.shown())]
    Unknown {
        /// Name of the protocol.
        name: &'static str,
        /// Its first word.
        word: String,
    },
}

impl Protocol {
    /// Returns a request with its beginning.
    pub fn request(&self, words: &str) -> String {
        format!("{} {} {words}", self.name, self.version)
    }

    /// Takes the beginning off a request.
    ///
    /// # Errors
    /// [`ProtocolError::Version`].
    pub fn parse<'a>(&self, text: &'a str) -> Result<VersionedRequest<'a>, ProtocolError> {
        let cut = |text: &'a str| text.split_once(' ').unwrap_or((text, ""));
        let (name, rest) = cut(text);
        if name != self.name {
            return Ok(VersionedRequest::Former(text));
        }
        let (asked, words) = cut(rest);
        if asked != self.version.to_string() {
            let asked = asked.to_owned();
            return Err(ProtocolError::Version { name: self.name, version: self.version, asked });
        }
        Ok(VersionedRequest::Current(words))
    }

    /// Returns the refusal of a request that there is not.
    pub fn unknown(&self, request: &str) -> ProtocolError {
        let word = request.split_whitespace().next().unwrap_or_default().to_owned();
        ProtocolError::Unknown { name: self.name, word }
    }
}

impl<'a> VersionedRequest<'a> {
    /// Returns the words.
    pub fn words(self) -> &'a str {
        match self {
            Self::Current(words) | Self::Former(words) => words,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_begin_with_name_and_version() {
        let request = SUPERVISOR.request("BOOT -s");
        assert_eq!(request, "zoneadmd 1 BOOT -s");
        assert_eq!(SUPERVISOR.parse(&request), Ok(VersionedRequest::Current("BOOT -s")));
        assert_eq!(SUPERVISOR.parse("CONNECT 5 C 0"), Ok(VersionedRequest::Former("CONNECT 5 C 0")));
        assert_eq!(SUPERVISOR.parse("zoneadmd"), SUPERVISOR.parse("zoneadmd  BOOT"));
        let newer = SUPERVISOR.parse("zoneadmd 2 LIVE").expect_err("another version");
        assert_eq!(
            newer.to_string(),
            "zoneadmd speaks version 1 of its protocol, not 2: programs of two releases are in use"
        );
        assert_eq!(
            GUARD.unknown("RELOAD now").to_string(),
            "zoneadmd-guard does not know the request RELOAD"
        );
    }
}
