//! What viewers did before there were recommendations: some weeks of browsing by popularity and choosing by taste, to
//! train the first model with and to hold choices out of. No players, no pages: only what a profile watched and rated.

use std::io::Write;

use marquee_events::interactions::proto::interaction::Payload;
use marquee_events::interactions::proto::{Interaction, Rating, ViewFinished};
use rand::Rng;
use rand::rngs::StdRng;

use super::taste::Shelf;
use super::viewer::{Memory, Viewer};
use super::world::{DAY_MS, World};
use crate::SourceError;
use crate::simulator::random::{chance, generator, weighted};

/// Views of a profile, provided that the history is long enough for the viewer to watch them.
pub(crate) const VIEWS: std::ops::RangeInclusive<i64> = 5..=80;

/// Views of one sitting, with their weights.
const SITTING: [(i64, u32); 4] = [(1, 45), (2, 30), (3, 17), (4, 8)];

/// Viewings that begin in each hour of the day (UTC), relative to the others: evenings.
const HOURS: [(i64, u32); 24] = [
    (0, 4),
    (1, 2),
    (2, 1),
    (3, 1),
    (4, 1),
    (5, 1),
    (6, 2),
    (7, 3),
    (8, 3),
    (9, 3),
    (10, 4),
    (11, 4),
    (12, 6),
    (13, 6),
    (14, 5),
    (15, 6),
    (16, 8),
    (17, 10),
    (18, 13),
    (19, 16),
    (20, 17),
    (21, 14),
    (22, 10),
    (23, 7),
];

/// On a network below this (bit/s) the lack of it, as a share, is how often a view ends early.
const ENOUGH_BPS: f64 = 2_000_000.0;

/// The share of viewers who begin by rating titles that they know, all in one moment.
const ONBOARDED: f64 = 0.3;
const ONBOARDING_RATINGS: std::ops::RangeInclusive<usize> = 3..=8;

/// No sitting begins later than this before the present (ms): four films in a row still end in the past.
const LAST_SITTING_MS: i64 = 16 * 3_600_000;

/// The past of one profile.
#[derive(Debug, Clone, PartialEq)]
pub struct ProfileHistory {
    /// Who.
    pub profile_id: String,
    /// `view_finished` (without session ids, so that each tells a whole view) and some `rating`s; in the order of time,
    /// ties in the order in which they happened.
    pub interactions: Vec<Interaction>,
    /// What the viewer remembers of it.
    pub memory: Memory,
}

/// The past of a world.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// In the order of the profiles' ids.
    pub profiles: Vec<ProfileHistory>,
}

/// One finished view of a history.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PastView<'a> {
    /// Who.
    pub profile_id: &'a str,
    /// What.
    pub title_id: &'a str,
    /// When it ended (ms since the epoch).
    pub finished_at_ms: i64,
    /// The playhead at the end, as a share of the running time.
    pub watched_fraction: f64,
}

impl World {
    /// The last `days` (at least 2) before the world's present, from a midnight (UTC) on. Two seeds give two pasts of the
    /// same world. In less than 14 days heavy viewers have fewer views than they would like.
    pub fn history(&self, days: u32, seed: u64) -> History {
        let days = i64::from(days.max(2));
        let begins_ms = (self.settings.as_of_ms / DAY_MS - days) * DAY_MS;
        let shelves: Vec<Shelf> = (0..=days).map(|day| self.shelf(begins_ms + day * DAY_MS)).collect();
        let era = Era { begins_ms, shelves, seed };
        let profiles = self.viewers().map(|viewer| past(self, viewer, &era)).collect();
        History { profiles }
    }
}

impl History {
    /// Every finished view, in the order of time; ties in the order of the profiles' ids.
    pub fn views(&self) -> Vec<PastView<'_>> {
        let mut views: Vec<PastView<'_>> = Vec::new();
        for profile in &self.profiles {
            for interaction in &profile.interactions {
                if let Some(Payload::ViewFinished(ViewFinished { title_id, watched_fraction, .. })) =
                    &interaction.payload
                {
                    views.push(PastView {
                        profile_id: &profile.profile_id,
                        title_id,
                        finished_at_ms: interaction.event_time_ms,
                        watched_fraction: *watched_fraction,
                    });
                }
            }
        }
        views.sort_by_key(|view| view.finished_at_ms);
        views
    }

    /// What every viewer remembers, in the order of the profiles' ids.
    pub fn into_memories(self) -> Vec<Memory> {
        self.profiles.into_iter().map(|profile| profile.memory).collect()
    }

    /// Writes [`views`](Self::views) as `marquee import interactions` and `marquee evaluate` read them: CSV with the
    /// columns `profile_id,title_id,timestamp_ms,watched_fraction`.
    ///
    /// # Errors
    /// [`SourceError::WriteCsv`].
    pub fn write_csv(&self, to: impl Write) -> Result<(), SourceError> {
        let mut csv = csv::Writer::from_writer(to);
        csv.write_record(["profile_id", "title_id", "timestamp_ms", "watched_fraction"])
            .map_err(SourceError::WriteCsv)?;
        for view in self.views() {
            let (time, fraction) = (view.finished_at_ms.to_string(), format!("{:.4}", view.watched_fraction));
            csv.write_record([view.profile_id, view.title_id, &time, &fraction]).map_err(SourceError::WriteCsv)?;
        }
        csv.flush().map_err(|error| SourceError::WriteCsv(error.into()))
    }
}

/// The time that a history is about.
struct Era {
    /// A midnight (ms since the epoch).
    begins_ms: i64,
    /// One a day.
    shelves: Vec<Shelf>,
    seed: u64,
}

fn past(world: &World, viewer: Viewer<'_>, era: &Era) -> ProfileHistory {
    let Era { begins_ms, shelves, seed } = era;
    let profile_id = viewer.profile().profile_id.clone();
    let number = world.profile_number(&profile_id).expect("a viewer of this world");
    let mut rng = generator(world.seed ^ seed.rotate_left(32), number as u64, "history");
    let mut memory = Memory::default();
    let mut interactions = Vec::new();
    let as_of_ms = world.settings.as_of_ms;
    let until_ms = as_of_ms - LAST_SITTING_MS;
    let sittings = draw_sittings(&mut rng, world.characters[number].views, *begins_ms, until_ms);
    let mut at_ms = *begins_ms;
    if chance(&mut rng, ONBOARDED)
        && let (Some((first_ms, _)), Some(shelf)) = (sittings.first(), shelves.first())
    {
        let count = rng.random_range(ONBOARDING_RATINGS);
        for title in shelf.meet(&mut rng, count, |title| viewer.may_see(title)) {
            let title_id = world.titles()[title].title_id.clone();
            let value = viewer.stars(title, &mut rng);
            interactions.push(memory.interaction(*first_ms, Payload::Rating(Rating { title_id, value })));
        }
        at_ms = *first_ms;
    }
    for (starts_ms, views) in sittings {
        at_ms = at_ms.max(starts_ms);
        for _ in 0..views {
            let day = ((at_ms - begins_ms) / DAY_MS).clamp(0, shelves.len() as i64 - 1) as usize;
            let taste = viewer.begin_sitting(&mut memory, &mut rng, at_ms);
            let Some(title) = viewer.find(&memory, &shelves[day], taste, &mut rng) else { break };
            let title_id = world.titles()[title].title_id.clone();
            let mut fraction = viewer.wanted_fraction(taste, title, &mut rng);
            if chance(&mut rng, 1.0 - world.characters[number].network_bps / ENOUGH_BPS) {
                fraction *= rng.random::<f64>();
            }
            let ends_ms = at_ms + whole_seconds_ms(fraction * world.titles()[title].duration_ms as f64);
            if ends_ms >= as_of_ms {
                break;
            }
            let finished =
                ViewFinished { title_id: title_id.clone(), session_id: String::new(), watched_fraction: fraction };
            interactions.push(memory.interaction(ends_ms, Payload::ViewFinished(finished)));
            memory.remember(title, fraction, ends_ms);
            if Viewer::rates(&mut rng, fraction) {
                let value = viewer.stars(title, &mut rng);
                interactions.push(memory.interaction(ends_ms, Payload::Rating(Rating { title_id, value })));
            }
            at_ms = ends_ms + 1_000 * rng.random_range(5..240);
        }
    }
    ProfileHistory { profile_id, interactions, memory }
}

/// (beginning, views) of each sitting, in the order of time, between two instants at least a day apart.
fn draw_sittings(rng: &mut StdRng, views: f64, begins_ms: i64, until_ms: i64) -> Vec<(i64, i64)> {
    let days = (until_ms - begins_ms) / DAY_MS + 1;
    let mut left = (views.round() as i64).clamp(*VIEWS.start(), *VIEWS.end());
    let mut sittings = Vec::new();
    while left > 0 {
        let second_of_day = weighted(rng, &HOURS) * 3_600 + rng.random_range(0..3_600);
        let at_ms = begins_ms + rng.random_range(0..days) * DAY_MS + second_of_day * 1_000;
        if at_ms < until_ms {
            let count = weighted(rng, &SITTING).min(left);
            sittings.push((at_ms, count));
            left -= count;
        }
    }
    sittings.sort_unstable();
    sittings
}

/// At least one second.
fn whole_seconds_ms(ms: f64) -> i64 {
    ((ms / 1_000.0) as i64).max(1) * 1_000
}
