//! `zoneadm doctor`: reports which of the things that zones need this host has and lacks.
//!
//! [`observe`] looks and tries, [`judge`] decides the meaning: the judgement is a function of [`facts::HostFacts`]
//! alone. Trials leave nothing behind; the host is left as it was, but for the cache of the catalog that every
//! listing refreshes.

pub mod facts;
pub mod judge;
mod judge_zfs;
mod look;
pub mod observe;
mod observe_zfs;
#[cfg(test)]
mod tests;

use std::io::{self, Write};

use serde::Serialize;

use super::store::FileStore;

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Zones work with it as it is.
    Ok,
    /// Zones work, with a limitation or a fault that should be corrected.
    Warning,
    /// Features that need it cannot be used.
    Missing,
}

impl Health {
    /// Returns the word that is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Missing => "missing",
        }
    }
}

/// A check of the host and its result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The part of the host that was looked at, in a few words.
    pub topic: String,
    /// Whether zones can work with what was found.
    pub state: Health,
    /// The observation, in words.
    pub found: String,
    /// The meaning of the observation for zones; printed unless all is well.
    pub means: String,
    /// A way to mend it; none when all is well.
    pub advice: Option<String>,
    /// No zone can run as long as this is missing.
    pub blocks: bool,
}

/// All checks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// The checks, in the order in which a zone needs their topics.
    pub checks: Vec<Check>,
}

impl Diagnosis {
    /// Says whether zones can run.
    pub fn is_good(&self) -> bool {
        !self.checks.iter().any(|c| c.blocks && c.state == Health::Missing)
    }

    fn add(&mut self, topic: &str, state: Health, found: impl Into<String>, means: impl Into<String>) {
        self.checks.push(Check {
            topic: topic.to_owned(),
            state,
            found: found.into(),
            means: means.into(),
            advice: None,
            blocks: false,
        });
    }

    fn ok(&mut self, topic: &str, found: impl Into<String>, means: impl Into<String>) {
        self.add(topic, Health::Ok, found, means);
    }

    fn warning(
        &mut self,
        topic: &str,
        found: impl Into<String>,
        means: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.add(topic, Health::Warning, found, means);
        self.advise(advice);
    }

    fn missing(
        &mut self,
        topic: &str,
        found: impl Into<String>,
        means: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.add(topic, Health::Missing, found, means);
        self.advise(advice);
    }

    /// Adds a check of a feature that is missing and that every zone needs.
    fn missing_for_every_zone(
        &mut self,
        topic: &str,
        found: impl Into<String>,
        means: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.missing(topic, found, means, advice);
        if let Some(last) = self.checks.last_mut() {
            last.blocks = true;
        }
    }

    /// Adds an advice to the last check.
    fn advise(&mut self, advice: impl Into<String>) {
        if let Some(last) = self.checks.last_mut() {
            last.advice = Some(advice.into());
        }
    }
}

/// Looks at this host and judges it.
pub fn examine(store: &FileStore) -> Diagnosis {
    judge::judge(&observe::facts(store))
}

/// Prints a diagnosis for people, or as JSON for programs.
///
/// # Errors
/// The stream cannot be written.
pub fn print(diagnosis: &Diagnosis, json: bool, out: &mut dyn Write) -> io::Result<()> {
    if json {
        let value = serde_json::json!({ "zones": diagnosis.is_good(), "checks": diagnosis.checks });
        return writeln!(out, "{value:#}");
    }
    let width = diagnosis.checks.iter().map(|c| c.topic.len()).max().unwrap_or(0);
    for check in &diagnosis.checks {
        writeln!(out, "{:8} {:width$}  {}", check.state.as_str(), check.topic, check.found)?;
        let indent = " ".repeat(8 + 1 + width + 2);
        if check.state != Health::Ok && !check.means.is_empty() {
            writeln!(out, "{indent}{}", check.means)?;
        }
        if let Some(advice) = &check.advice {
            writeln!(out, "{indent}-> {advice}")?;
        }
    }
    let blocking: Vec<&str> = diagnosis
        .checks
        .iter()
        .filter(|c| c.blocks && c.state == Health::Missing)
        .map(|c| c.topic.as_str())
        .collect();
    if blocking.is_empty() {
        writeln!(out, "Zones can run on this host.")
    } else {
        writeln!(out, "Zones cannot run on this host: {}.", blocking.join(", "))
    }
}
