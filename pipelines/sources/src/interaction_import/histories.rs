//! Histories as read from files, compact: MovieLens has 33 million lines. Profiles and titles are numbers here, in the
//! order of their first line.

use std::collections::HashMap;

use marquee_events::interactions::MAX_TIME_MS;
use marquee_events::interactions::proto::interaction::Payload;
use marquee_events::interactions::proto::{Context, Interaction, InteractionBatch, Rating, ViewFinished};
use marquee_events::{MAX_EVENTS_PER_BATCH, MAX_ID_BYTES};

use crate::RefusedLine;

/// More refused lines than this are only counted: a file of another kind would be all of them.
const MAX_REFUSED: usize = 1_000;

/// A watched title.
#[derive(Debug, Clone, Copy)]
struct Watch {
    profile: u32,
    title: u32,
    at_ms: i64,
    watched_fraction: f32,
    stars: Option<f32>,
}

/// A line that could be read.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) profile_id: String,
    pub(super) title_id: String,
    pub(super) at_ms: i64,
    pub(super) watched_fraction: f32,
    pub(super) stars: Option<f32>,
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Histories {
    pub(super) import_id: String,
    pub(super) refused_lines: u64,
    pub(super) refused: Vec<RefusedLine>,
    profiles: Names,
    titles: Names,
    watches: Vec<Watch>,
}

/// Names by number and numbers by name.
#[derive(Debug, Default)]
struct Names {
    names: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Names {
    fn number(&mut self, name: String) -> u32 {
        if let Some(number) = self.numbers.get(&name) {
            return *number;
        }
        let number = self.names.len() as u32;
        self.names.push(name.clone());
        self.numbers.insert(name, number);
        number
    }
}

impl Histories {
    /// Nothing yet, of this import.
    pub(super) fn new(import_id: String) -> Self {
        Self { import_id, ..Self::default() }
    }

    /// Takes a line in, or notes why it was refused.
    pub(super) fn push(&mut self, file: &str, line: u64, read: Result<Line, String>) {
        match read {
            Ok(read) => {
                let (profile, title) = (self.profiles.number(read.profile_id), self.titles.number(read.title_id));
                let Line { at_ms, watched_fraction, stars, .. } = read;
                self.watches.push(Watch { profile, title, at_ms, watched_fraction, stars });
            }
            Err(reason) => {
                self.refused_lines += 1;
                if self.refused.len() < MAX_REFUSED {
                    self.refused.push(RefusedLine::new(file, line, reason));
                }
            }
        }
    }

    /// Orders each profile's lines by time; ties keep the order of the file.
    pub(super) fn sort(&mut self) {
        self.watches.sort_by_key(|watch| (watch.profile, watch.at_ms)); // stable
    }

    pub(super) fn profile_count(&self) -> u64 {
        self.profiles.names.len() as u64
    }

    pub(super) fn title_count(&self) -> u64 {
        self.titles.names.len() as u64
    }

    pub(super) fn interactions(&self) -> u64 {
        self.watches.iter().map(|watch| 1 + u64::from(watch.stars.is_some())).sum()
    }

    /// The batches of each chunk, each chunk with about so many interactions.
    pub(super) fn chunks(&self, interactions_per_chunk: usize) -> impl Iterator<Item = Vec<InteractionBatch>> {
        let watches_per_chunk = (interactions_per_chunk / 2).clamp(1, MAX_EVENTS_PER_BATCH / 2);
        self.watches.chunks(watches_per_chunk).map(|watches| {
            let of_profiles = watches.chunk_by(|a, b| a.profile == b.profile);
            of_profiles.map(|watches| self.batch(watches)).collect()
        })
    }

    /// The batch of one profile. Interactions have no ids: the ledger keeps them from coming twice.
    fn batch(&self, watches: &[Watch]) -> InteractionBatch {
        let mut interactions = Vec::with_capacity(2 * watches.len());
        for watch in watches {
            let title_id = &self.titles.names[watch.title as usize];
            let mut push = |payload| {
                interactions.push(Interaction {
                    interaction_id: String::new(),
                    event_time_ms: watch.at_ms,
                    payload: Some(payload),
                });
            };
            push(Payload::ViewFinished(ViewFinished {
                title_id: title_id.clone(),
                session_id: String::new(),
                watched_fraction: f64::from(watch.watched_fraction),
            }));
            if let Some(stars) = watch.stars {
                push(Payload::Rating(Rating { title_id: title_id.clone(), value: f64::from(stars) }));
            }
        }
        let profile_id = watches.first().map(|watch| self.profiles.names[watch.profile as usize].clone());
        let context = Context { profile_id: profile_id.unwrap_or_default(), ..Context::default() };
        InteractionBatch { context: Some(context), sent_at_ms: 0, interactions }
    }
}

/// A profile or title as the wire contract takes it.
pub(super) fn id(column: &str, text: String) -> Result<String, String> {
    match text.len() {
        0 => Err(format!("{column} is empty")),
        1..=MAX_ID_BYTES if text.chars().any(char::is_control) => Err(format!("{column} has a control character")),
        1..=MAX_ID_BYTES => Ok(text),
        length => Err(format!("{column} has {length} bytes, at most {MAX_ID_BYTES} are accepted")),
    }
}

/// An instant in steps of `unit_ms`, as ms since the epoch.
pub(super) fn instant(column: &str, text: &str, unit_ms: i64) -> Result<i64, String> {
    let max = MAX_TIME_MS / unit_ms;
    match text.parse::<i64>() {
        Ok(value) if (0..=max).contains(&value) => Ok(value * unit_ms),
        Ok(_) => Err(format!("{column} `{text}` is not between 0 and {max}")),
        Err(_) => Err(format!("{column} `{text}` is not a whole number")),
    }
}

/// A number within bounds.
pub(super) fn number(column: &str, text: &str, range: std::ops::RangeInclusive<f64>) -> Result<f32, String> {
    match text.parse::<f64>() {
        Ok(value) if range.contains(&value) => Ok(value as f32),
        Ok(_) => Err(format!("{column} `{text}` is not between {} and {}", range.start(), range.end())),
        Err(_) => Err(format!("{column} `{text}` is not a number")),
    }
}
