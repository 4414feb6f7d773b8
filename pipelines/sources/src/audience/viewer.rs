//! One viewer in front of one page: looks at some of it, chooses or leaves, watches, says what it thought. Pure: the page,
//! the generator and the time are passed in, and all that a viewer keeps is its [`Memory`].
//!
//! **Looking.** The item at (row, position), both from 0, is looked at with probability
//! (1 + row)^−0.7 × (1 + position)^−0.5, a position-based model as in Joachims et al. (WSDM 2017), in two dimensions.
//! **Choosing.** Softmax over the utility of what was looked at (affinity in the mood of the sitting; less for what was
//! finished before, more for what was left in the middle), of searching and of leaving. On a poor page viewers therefore
//! search or leave.
//! **Watching.** How much a viewer wants to watch follows from the match of tastes; how much it does watch is up to the
//! [player](super::player) as well: waits cost views, by the rates of Krishnan & Sitaraman (IMC 2012).

use std::collections::HashMap;

use marquee_events::interactions::proto::interaction::Payload;
use marquee_events::interactions::proto::{
    Click, Impression, Interaction, ListAdd, NotInterested, Rating, Search, ViewFinished, ViewProgress, ViewStarted,
};
use marquee_events::proto::{Context, view_event};
use rand::Rng;
use rand::rngs::StdRng;

use super::bandwidth::BandwidthTrace;
use super::latent::Latent;
use super::page::{Leak, Page};
use super::player::{self, Intent};
use super::settings::Watching;
use super::taste::{Shelf, mood, softmax};
use super::world::{World, WorldProfile};
use crate::simulator::context::{device_context, is_troubled, session_id};
use crate::simulator::random::{chance, exponential, generator, log_normal, normal};
use crate::simulator::recorder::Played;
use crate::simulator::{Outcome, SessionTruth};

const ROW_BIAS: f64 = 0.7;
const POSITION_BIAS: f64 = 0.5;
/// The utility of leaving a page and of searching, in units of affinity: so high that of a page of random titles half of
/// the viewers choose something, and of a page in the order of true affinity nine in ten.
const LEAVING: f64 = 5.5;
const SEARCHING: f64 = 5.0;
/// What was finished is seldom watched again.
const FINISHED: f64 = -5.0;
/// What was left in the middle though it was liked calls.
const UNFINISHED: f64 = 1.0;
/// A title watched this far counts as finished (share of the running time): credits are seldom watched.
pub(crate) const FINISHED_FROM: f64 = 0.9;
/// Below this a view was a glance, not a beginning.
const BEGUN_FROM: f64 = 0.03;

/// Titles that a viewer looks at without a page, and in the answer to a search.
const BROWSED: usize = 50;
const SEARCHED: usize = 15;

/// A mood lasts until the viewer was away for so long (ms): the gap that also ends a session-of-now.
const MOOD_GAP_MS: i64 = 30 * 60_000;

/// Probability of stars after a view that was more than a glance.
const RATES: f64 = 0.12;
/// Per page: the viewer puts something that it looked at and liked on its list, or never wants to see something again.
const LISTS: f64 = 0.06;
const REFUSES: f64 = 0.02;
/// Matches (cosines) from which on a viewer lists, and up to which it refuses.
const LISTS_FROM: f64 = 0.5;
const REFUSES_TO: f64 = -0.2;

/// Krishnan & Sitaraman: viewers begin to leave after 2 s without a picture, 5.8 % of them with every further second.
const STARTUP_PATIENCE_MS: f64 = 2_000.0;
const STARTUP_LEAVE_RATE_PER_S: f64 = 0.058;
/// The same: stalls of 1 % of a video's length cost 5 % of its viewing.
const STALL_COST: f64 = 5.0;
/// Nobody leaves for less than this (ms).
const MIN_STALL_PATIENCE_MS: f64 = 1_000.0;
/// Manifest and licence (ms, median).
const SETUP_MEDIAN_MS: f64 = 250.0;
/// The share of its bandwidth that a player gets from the troubled CDN.
const TROUBLED_SHARE: f64 = 0.4;
/// Fatal errors before and after the first frame, as shares of sessions.
const START_FAILS: f64 = 0.015;
const DECODER_FAILS: f64 = 0.01;
/// Pauses and seeks per view.
const PAUSES: f64 = 0.25;
const SEEKS: f64 = 0.2;

/// One viewer of a world.
#[derive(Debug, Clone, Copy)]
pub struct Viewer<'w> {
    world: &'w World,
    number: usize,
}

/// What a viewer remembers from one visit to the next.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    /// By title: the playhead at the end of the last view, as a share of the running time.
    watched: HashMap<usize, f64>,
    mood: Option<Latent>,
    last_ms: i64,
    /// So far, as what makes ids unique.
    interactions: u64,
    sessions: u64,
}

/// What came of one page.
#[derive(Debug, Clone, PartialEq)]
pub struct Visit {
    /// In the order of time (ms since the epoch).
    pub interactions: Vec<Interaction>,
    /// The view that was chosen, if any.
    pub view: Option<View>,
    /// When it is over (ms since the epoch).
    pub ends_ms: i64,
    /// Whether the viewer wants another page then.
    pub goes_on: bool,
}

/// A title that was asked for, and the playback session of it.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// The title.
    pub title_id: String,
    /// When play was requested (ms since the epoch).
    pub started_ms: i64,
    /// The playhead at the end, as a share of the running time; `None` when it never began to play.
    pub watched_fraction: Option<f64>,
    pub(crate) context: Context,
    pub(crate) played: Played,
}

impl View {
    /// What the player measured, exactly.
    pub fn truth(&self) -> SessionTruth {
        SessionTruth {
            session_id: self.context.session_id.clone(),
            player_instance: self.context.player_instance.clone(),
            counts: self.played.counts(),
        }
    }
}

/// An item that a viewer looks at.
struct Glance<'p> {
    row_id: &'p str,
    position: u32,
    title_id: &'p str,
    tracking_token: &'p str,
    /// `None` for a title that the world does not know: it is seen and never chosen.
    title: Option<usize>,
}

/// What a viewer does with what it looked at.
enum Choice {
    Leave,
    Search,
    /// The index of what was looked at, and its title.
    Item(usize, usize),
}

impl World {
    /// A viewer by its id.
    pub fn viewer(&self, profile_id: &str) -> Option<Viewer<'_>> {
        Some(Viewer { world: self, number: self.profile_number(profile_id)? })
    }

    /// Every viewer, in the order of the ids.
    pub fn viewers(&self) -> impl Iterator<Item = Viewer<'_>> + Clone {
        (0..self.profiles().len()).map(|number| Viewer { world: self, number })
    }
}

impl<'w> Viewer<'w> {
    /// Who it is.
    pub fn profile(&self) -> &'w WorldProfile {
        &self.world.profiles()[self.number]
    }

    /// What the viewer does with a page that it gets at `now_ms` (ms since the epoch).
    ///
    /// # Errors
    /// [`Leak`] when the page holds what the viewer may not see, whether it would have looked at it or not.
    pub fn react(
        &self,
        memory: &mut Memory,
        page: &Page,
        watching: &Watching,
        rng: &mut StdRng,
        now_ms: i64,
    ) -> Result<Visit, Leak> {
        let mut glances = Vec::new();
        for (row, place) in page.rows.iter().zip(0_i32..) {
            for (item, position) in row.items.iter().zip(0_u32..) {
                let title = self.world.title_number(&item.title_id);
                if title.is_some_and(|title| !self.may_see(title)) {
                    let (row_id, title_id) = (row.row_id.clone(), item.title_id.clone());
                    return Err(Leak { profile_id: self.profile().profile_id.clone(), row_id, title_id });
                }
                let looks = f64::from(1 + place).powf(-ROW_BIAS) * f64::from(1 + position).powf(-POSITION_BIAS);
                if chance(rng, looks) {
                    glances.push(Glance {
                        row_id: &row.row_id,
                        position,
                        title_id: &item.title_id,
                        tracking_token: &item.tracking_token,
                        title,
                    });
                }
            }
        }
        let taste = self.begin_sitting(memory, rng, now_ms);
        let mut diary = Diary { memory, at_ms: now_ms, interactions: Vec::new() };
        for glance in &glances {
            diary.pass(watching.glance_ms);
            diary.note(Payload::Impression(Impression {
                tracking_token: glance.tracking_token.to_owned(),
                title_id: glance.title_id.to_owned(),
                row_id: glance.row_id.to_owned(),
                position: glance.position,
            }));
        }
        self.comment(&mut diary, &glances, taste, rng);
        let choice = self.choose(diary.memory, &glances, taste, rng, now_ms);
        Ok(match choice {
            Choice::Leave => diary.close(None, false),
            Choice::Search => self.search(diary, watching, taste, rng),
            Choice::Item(index, title) => {
                let (title_id, token) = (glances[index].title_id, glances[index].tracking_token);
                diary.note(Payload::Click(Click { tracking_token: token.to_owned(), title_id: title_id.to_owned() }));
                self.watch(diary, title, token, watching, taste, rng)
            }
        })
    }

    /// What the viewer does without a page: it meets titles in proportion to their popularity and takes one by taste.
    pub fn browse(&self, memory: &mut Memory, watching: &Watching, rng: &mut StdRng, now_ms: i64) -> Visit {
        let taste = self.begin_sitting(memory, rng, now_ms);
        let found = self.find(memory, &self.world.shelf(now_ms), taste, rng);
        let mut diary = Diary { memory, at_ms: now_ms, interactions: Vec::new() };
        diary.pass(watching.glance_ms * BROWSED as i64);
        match found {
            Some(title) => self.watch(diary, title, "", watching, taste, rng),
            None => diary.close(None, false),
        }
    }

    /// A title that the viewer finds by itself. Popularity decides what is met, taste what is chosen of it.
    pub(crate) fn find(&self, memory: &Memory, shelf: &Shelf, taste: Latent, rng: &mut StdRng) -> Option<usize> {
        let met = shelf.meet(rng, BROWSED, |title| self.may_see(title));
        let utilities: Vec<f64> =
            met.iter().map(|title| self.world.taste(taste, *title) + memory.call_of(*title)).collect();
        softmax(rng, &utilities).map(|index| met[index])
    }

    /// The viewer's vector for this sitting.
    pub(crate) fn begin_sitting(&self, memory: &mut Memory, rng: &mut StdRng, now_ms: i64) -> Latent {
        let was_away = now_ms - memory.last_ms > MOOD_GAP_MS;
        memory.last_ms = now_ms;
        match memory.mood.filter(|_| !was_away) {
            Some(mood) => mood,
            None => *memory.mood.insert(mood(rng, self.world.characters[self.number].latent)),
        }
    }

    /// How much of a title the viewer would watch on a perfect network, as a share of the running time.
    pub(crate) fn wanted_fraction(&self, taste: Latent, title: usize, rng: &mut StdRng) -> f64 {
        // Of perfect matches 85 % are finished, of what means nothing to the viewer 27 %.
        let finishes = 1.0 / (1.0 + (1.0 - 2.7 * self.world.match_of(taste, title)).exp());
        let share: f64 = rng.random();
        if chance(rng, finishes) { FINISHED_FROM + (1.0 - FINISHED_FROM) * share } else { share * share }
    }

    /// Half stars from 0.5 to 5.
    pub(crate) fn stars(&self, title: usize, rng: &mut StdRng) -> f64 {
        let character = &self.world.characters[self.number];
        let felt = 2.9 + 2.2 * self.world.match_of(character.latent, title) + character.generosity + 0.5 * normal(rng);
        (felt * 2.0).round().clamp(1.0, 10.0) / 2.0
    }

    pub(crate) fn may_see(&self, title: usize) -> bool {
        World::may_see(self.profile(), &self.world.titles()[title])
    }

    pub(crate) fn rates(rng: &mut StdRng, watched_fraction: f64) -> bool {
        watched_fraction > BEGUN_FROM && chance(rng, RATES)
    }

    fn choose(&self, memory: &Memory, glances: &[Glance], taste: Latent, rng: &mut StdRng, now_ms: i64) -> Choice {
        let known: Vec<(usize, usize)> =
            glances.iter().enumerate().filter_map(|(index, glance)| Some((index, glance.title?))).collect();
        let mut utilities: Vec<f64> = known
            .iter()
            .map(|(_, title)| self.world.affinity(taste, *title, now_ms) + memory.call_of(*title))
            .collect();
        utilities.extend([SEARCHING, LEAVING]);
        match softmax(rng, &utilities) {
            Some(index) if index < known.len() => Choice::Item(known[index].0, known[index].1),
            Some(index) if index == known.len() => Choice::Search,
            _ => Choice::Leave,
        }
    }

    /// Looks for a genre by name and takes what suits best of what there is.
    fn search(&self, mut diary: Diary<'_>, watching: &Watching, taste: Latent, rng: &mut StdRng) -> Visit {
        let favourites = &self.world.characters[self.number].favourites;
        let genre = favourites[rng.random_range(0..favourites.len())];
        diary.note(Payload::Search(Search { query: genre.to_lowercase() }));
        diary.pass(watching.glance_ms * SEARCHED as i64);
        let shelf = self.world.shelf(diary.at_ms);
        let has_genre = |title: usize| self.world.titles()[title].genres.iter().any(|g| g == genre);
        let found = shelf.meet(rng, SEARCHED, |title| self.may_see(title) && has_genre(title));
        let utilities: Vec<f64> =
            found.iter().map(|title| self.world.taste(taste, *title) + diary.memory.call_of(*title)).collect();
        match softmax(rng, &utilities) {
            Some(index) => self.watch(diary, found[index], "", watching, taste, rng),
            None => diary.close(None, false),
        }
    }

    /// Puts something on the list, or refuses something for ever.
    fn comment(&self, diary: &mut Diary<'_>, glances: &[Glance], taste: Latent, rng: &mut StdRng) {
        let matches: Vec<(usize, f64)> =
            glances.iter().filter_map(|glance| glance.title).map(|t| (t, self.world.match_of(taste, t))).collect();
        let best = matches.iter().max_by(|a, b| a.1.total_cmp(&b.1));
        let worst = matches.iter().min_by(|a, b| a.1.total_cmp(&b.1));
        let title_id = |title: usize| self.world.titles()[title].title_id.clone();
        if let Some((title, _)) = best.filter(|(_, fit)| *fit >= LISTS_FROM)
            && chance(rng, LISTS)
        {
            diary.note(Payload::ListAdd(ListAdd { title_id: title_id(*title) }));
        }
        if let Some((title, _)) = worst.filter(|(_, fit)| *fit <= REFUSES_TO)
            && chance(rng, REFUSES)
        {
            diary.note(Payload::NotInterested(NotInterested { title_id: title_id(*title) }));
        }
    }

    fn watch(
        &self,
        mut diary: Diary<'_>,
        title: usize,
        token: &str,
        watching: &Watching,
        taste: Latent,
        rng: &mut StdRng,
    ) -> Visit {
        let (started_ms, session) = (diary.at_ms, diary.memory.next_session());
        let described = &self.world.titles()[title];
        let mut context = device_context(rng, &self.profile().country);
        context.session_id = session_id(self.world.seed ^ self.number as u64, started_ms, session);
        "0".clone_into(&mut context.player_instance);
        context.profile_id.clone_from(&self.profile().profile_id);
        context.title_id.clone_from(&described.title_id);
        context.asset_id = format!("asset-{}", described.title_id);
        let intent = self.intent(diary.memory, title, watching, taste, rng);
        let mut network_bps = self.world.characters[self.number].network_bps;
        if is_troubled(&context.cdn) {
            network_bps *= TROUBLED_SHARE;
        }
        // The network and the player draw as often as they need to, and move nothing that the viewer draws after them.
        let seed: u64 = rng.random();
        let mut trace = BandwidthTrace::walk(generator(seed, 0, "network"), network_bps);
        let played = player::play(&intent, &mut trace, &context.cdn, generator(seed, 0, "player"));
        let fraction = |media_ms: i64| (media_ms as f64 / described.duration_ms as f64).clamp(0.0, 1.0);
        let (title_id, session_id) = (described.title_id.clone(), context.session_id.clone());
        let mut has_started = false;
        let mut progress_due_ms = i64::MAX;
        for event in &played.events {
            let at_ms = started_ms + event.at_ms;
            match &event.payload {
                Some(view_event::Payload::FirstFrame(_)) => {
                    has_started = true;
                    progress_due_ms = at_ms + watching.progress_interval_ms;
                    let (title_id, session_id) = (title_id.clone(), session_id.clone());
                    let tracking_token = token.to_owned();
                    diary.note_at(at_ms, Payload::ViewStarted(ViewStarted { title_id, session_id, tracking_token }));
                }
                Some(view_event::Payload::Heartbeat(_)) if at_ms >= progress_due_ms => {
                    progress_due_ms = at_ms + watching.progress_interval_ms;
                    let (title_id, session_id) = (title_id.clone(), session_id.clone());
                    let watched_fraction = fraction(event.media_time_ms);
                    diary
                        .note_at(at_ms, Payload::ViewProgress(ViewProgress { title_id, session_id, watched_fraction }));
                }
                _ => {}
            }
        }
        let last = played.events.last();
        diary.at_ms = started_ms + last.map_or(0, |event| event.at_ms);
        let watched_fraction = last.filter(|_| has_started).map(|event| fraction(event.media_time_ms));
        if let Some(watched_fraction) = watched_fraction {
            diary.memory.remember(title, watched_fraction, diary.at_ms);
            diary.note(Payload::ViewFinished(ViewFinished {
                title_id: title_id.clone(),
                session_id,
                watched_fraction,
            }));
            if Self::rates(rng, watched_fraction) {
                diary.note(Payload::Rating(Rating { title_id: title_id.clone(), value: self.stars(title, rng) }));
            }
        }
        // Who was let down by the player, or saw enough for one evening, goes.
        let was_let_down = played.counts().outcome != Outcome::Played;
        let goes_on = chance(rng, if was_let_down { 0.3 } else { 0.6 });
        diary.close(Some(View { title_id, started_ms, watched_fraction, context, played }), goes_on)
    }

    fn intent(&self, memory: &Memory, title: usize, watching: &Watching, taste: Latent, rng: &mut StdRng) -> Intent {
        let duration_ms = self.world.titles()[title].duration_ms;
        let left_at = memory.watched.get(&title).copied().filter(|at| (BEGUN_FROM..FINISHED_FROM).contains(at));
        let begin = left_at.unwrap_or(0.0);
        // Who left it in the middle watches as much of the rest as of a new one.
        let until = begin + (1.0 - begin) * self.wanted_fraction(taste, title, rng);
        let until_ms = ((until * duration_ms as f64) as i64).clamp(1, duration_ms);
        let begin_ms = (begin * duration_ms as f64) as i64;
        let from_ms = begin_ms.max(until_ms - watching.longest_play_ms).min(duration_ms - 1);
        let play_ms = (until_ms - from_ms).max(1);
        let mut actions = Vec::new();
        for (probability, action) in [
            (PAUSES, player::Action::Pause(rng.random_range(1..=watching.longest_pause_ms))),
            (SEEKS, player::Action::Seek(rng.random_range(-30_000..=90_000))),
            (DECODER_FAILS, player::Action::Fail),
        ] {
            let after_ms = rng.random_range(0..=play_ms);
            if chance(rng, probability) {
                actions.push((after_ms, action));
            }
        }
        actions.sort_by_key(|(after_ms, _)| *after_ms);
        let stall_patience_ms = exponential(rng, play_ms as f64 / STALL_COST).max(MIN_STALL_PATIENCE_MS);
        let startup_patience_ms = STARTUP_PATIENCE_MS + exponential(rng, 1_000.0 / STARTUP_LEAVE_RATE_PER_S);
        Intent {
            duration_ms,
            from_ms,
            play_ms,
            actions,
            segment_spread: 0.15,
            setup_ms: log_normal(rng, SETUP_MEDIAN_MS, 0.5).clamp(20.0, 5_000.0) as i64,
            startup_patience_ms: startup_patience_ms as i64,
            stall_patience_ms: stall_patience_ms as i64,
            start_fails: chance(rng, START_FAILS),
            says_goodbye: !chance(rng, watching.vanish),
            heartbeat_interval_ms: watching.heartbeat_interval_ms,
        }
    }
}

impl Memory {
    /// What having watched a title before adds to its utility.
    pub(crate) fn call_of(&self, title: usize) -> f64 {
        match self.watched.get(&title) {
            Some(at) if *at >= FINISHED_FROM => FINISHED,
            Some(at) if *at >= BEGUN_FROM => UNFINISHED,
            _ => 0.0,
        }
    }

    pub(crate) fn remember(&mut self, title: usize, watched_fraction: f64, ended_ms: i64) {
        self.watched.insert(title, watched_fraction);
        self.last_ms = self.last_ms.max(ended_ms);
    }

    /// The next interaction. The time is part of its id: a viewer who has forgotten everything repeats none.
    pub(crate) fn interaction(&mut self, event_time_ms: i64, payload: Payload) -> Interaction {
        self.interactions += 1;
        Interaction {
            interaction_id: format!("{event_time_ms:x}-{}", self.interactions),
            event_time_ms,
            payload: Some(payload),
        }
    }

    fn next_session(&mut self) -> u64 {
        self.sessions += 1;
        self.sessions
    }
}

/// A visit while it happens.
struct Diary<'m> {
    memory: &'m mut Memory,
    at_ms: i64,
    interactions: Vec<Interaction>,
}

impl Diary<'_> {
    fn pass(&mut self, ms: i64) {
        self.at_ms += ms;
    }

    fn note(&mut self, payload: Payload) {
        self.note_at(self.at_ms, payload);
    }

    fn note_at(&mut self, event_time_ms: i64, payload: Payload) {
        self.interactions.push(self.memory.interaction(event_time_ms, payload));
    }

    fn close(self, view: Option<View>, goes_on: bool) -> Visit {
        self.memory.last_ms = self.memory.last_ms.max(self.at_ms);
        Visit { interactions: self.interactions, view, ends_ms: self.at_ms, goes_on }
    }
}

#[cfg(test)]
mod tests;
