//! Putting a model in service and taking it back. What was decided is first appended to `published.log`, then
//! `CURRENT` follows; whoever writes next finishes what a killed process began, so the log decides.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

use crate::gate::{self, Comparison};
use crate::{Registry, TrainerError};

/// One JSON document a line: see [`Publication`].
const LOG: &str = "published.log";

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publication {
    /// When (ms since the epoch).
    pub at_ms: i64,
    /// What happened.
    pub action: Action,
    /// The version that was put in service by it.
    pub version: String,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A version that had shown that it is good enough.
    Publish,
    /// A version that was published although it had not.
    Force,
    /// The version before.
    Rollback,
}

/// Whether a version has to show that it is good enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// A refresh of the live family must be non-inferior on the newest split, a new family superior.
    GoodEnough,
    /// A person has decided.
    Forced,
}

/// What a publication rested on.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// The version that was in service before.
    pub replaced: Option<String>,
    /// The numbers; `None` when nothing was in service.
    pub comparison: Option<Comparison>,
}

impl Registry {
    /// Puts a version in service. Publishing what is in service changes nothing.
    ///
    /// # Errors
    /// [`TrainerError::UnknownVersion`]; [`TrainerError::Damaged`] when it is not whole, even if forced;
    /// [`TrainerError::NotGoodEnough`] and [`TrainerError::NotCompared`] saying the numbers, unless forced;
    /// [`TrainerError::Busy`].
    pub fn publish(&self, version: &str, demand: Demand, at_ms: i64) -> Result<Published, TrainerError> {
        let _lock = self.lock()?;
        let mut log = self.recovered_log()?;
        let entry = self.entry(version)?;
        entry.verify(&self.folder().join(version))?;
        let replaced = in_service(&log);
        if replaced.as_deref() == Some(version) {
            return Ok(Published { replaced, comparison: None });
        }
        // A live entry that cannot be read cannot be compared with; force is the way out.
        let verdict = match &replaced {
            Some(live) => self.entry(live).and_then(|live| gate::judge(&entry, &live)).map(Some),
            None => Ok(None),
        };
        let (action, comparison) = match (demand, verdict) {
            (_, Ok(comparison)) => (Action::Publish, comparison),
            (Demand::Forced, Err(TrainerError::NotGoodEnough { comparison, .. })) => (Action::Force, Some(comparison)),
            (Demand::Forced, Err(_)) => (Action::Force, None),
            (Demand::GoodEnough, Err(error)) => return Err(error),
        };
        log.push(Publication { at_ms, action, version: version.to_owned() });
        self.decide(&log)?;
        Ok(Published { replaced, comparison })
    }

    /// Puts the version before the one in service back, and says which. Repeated, it goes further back.
    ///
    /// # Errors
    /// [`TrainerError::NothingBefore`]; [`TrainerError::Damaged`] when that version is not whole;
    /// [`TrainerError::Busy`].
    pub fn rollback(&self, at_ms: i64) -> Result<String, TrainerError> {
        let _lock = self.lock()?;
        let mut log = self.recovered_log()?;
        let stack = stack(&log);
        let [.., before, _] = stack[..] else {
            return Err(TrainerError::NothingBefore { current: in_service(&log) });
        };
        let before = before.to_owned();
        self.entry(&before)?.verify(&self.folder().join(&before))?;
        log.push(Publication { at_ms, action: Action::Rollback, version: before.clone() });
        self.decide(&log)?;
        Ok(before)
    }

    /// Every publication and rollback, the oldest first.
    ///
    /// # Errors
    /// [`TrainerError::Damaged`] naming the log; [`TrainerError::Read`].
    pub fn publications(&self) -> Result<Vec<Publication>, TrainerError> {
        let path = self.folder().join(LOG);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|source| TrainerError::Read { path: path.clone(), source })?,
        };
        let lines = (1..).zip(text.lines()).map(|(number, line)| {
            serde_json::from_str(line).map_err(|error| TrainerError::Damaged {
                path: path.clone(),
                problem: format!("line {number}: {error}"),
            })
        });
        lines.collect()
    }

    /// The log, with `CURRENT` brought up to it.
    fn recovered_log(&self) -> Result<Vec<Publication>, TrainerError> {
        let log = self.publications()?;
        match in_service(&log) {
            Some(version) if self.current_version()?.as_ref() != Some(&version) => self.set_current(&version)?,
            _ => {}
        }
        Ok(log)
    }

    fn decide(&self, log: &[Publication]) -> Result<(), TrainerError> {
        let mut text = String::new();
        for publication in log {
            text.push_str(&serde_json::to_string(publication).expect("a publication is plain JSON"));
            text.push('\n');
        }
        self.replace(LOG, &text)?;
        self.set_current(&in_service(log).expect("something was just decided"))
    }
}

/// What is in service after a log.
fn in_service(log: &[Publication]) -> Option<String> {
    log.last().map(|last| last.version.clone())
}

/// What was in service and can be returned to, the oldest first and the one in service last.
fn stack(log: &[Publication]) -> Vec<&str> {
    let mut stack: Vec<&str> = Vec::new();
    for publication in log {
        match publication.action {
            Action::Publish | Action::Force => stack.push(&publication.version),
            Action::Rollback => {
                stack.pop();
            }
        }
    }
    stack
}
