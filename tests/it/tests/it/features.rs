//! The features job under SIGKILL, with an imported history and live interactions that repeat and change places: nothing
//! lost, nothing counted twice, what is served equals a replay of the log, and every row of the feature tables is what
//! Python recomputes from the silver interactions.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use marquee_definitions::{Changed, FeatureFold, OnlineStore as _, Signal, signal_kinds};
use marquee_events::interactions::proto::interaction::Payload;
use marquee_events::interactions::proto::{
    Click, Context, Impression, Interaction, InteractionBatch, ListAdd, ListRemove, NotInterested, Rating, Search,
    ViewFinished, ViewProgress, ViewStarted,
};
use marquee_events::{Clock as _, SystemClock, decode_interactions};
use marquee_jobs::{INTERACTIONS_IMPORT_TOPIC, INTERACTIONS_TOPIC};
use marquee_log_embedded::{EmbeddedLog, EmbeddedLogOptions};
use marquee_online::EmbeddedOnlineStore;
use marquee_stream::{PartitionLog as _, RecordType};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::child::{self, Up};
use crate::disorder::disorder;
use crate::oracle;

/// A kill that does not come within this time never comes.
const KILL_DEADLINE: Duration = Duration::from_secs(40);

const SIGKILL: i32 = 9;
const GENRES: [&str; 5] = ["Comedy", "Crime", "Drama", "Romance", "War"];
const TITLES: u32 = 40;
const IMPORTED_PROFILES: u32 = 8;
const LIVE_PROFILES: u32 = 12;
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// Fail points of the features job, and those of the runtime that part what is online from what is committed.
pub const KILLED: [&str; 2] = ["online-before-write", "online-after-write"];

fn genres_of(title: u32) -> Vec<String> {
    let has = |bit: usize| (title >> bit) & 1 == 1;
    GENRES.iter().enumerate().filter(|(bit, _)| has(*bit)).map(|(_, genre)| (*genre).to_owned()).collect()
}

/// A home with an imported history, and what clients send afterwards.
struct Loop {
    folder: tempfile::TempDir,
    batches: Vec<InteractionBatch>,
    next: usize,
}

impl Loop {
    /// Imports a history in the layout of MovieLens: titles with genres, ratings with ties in time.
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let now_ms = SystemClock::default().now_ms();
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("movielens");
        fs::create_dir(&data).expect("a folder");
        let mut movies = "movieId,title,genres\n".to_owned();
        for title in 1..=TITLES {
            let genres = Some(genres_of(title).join("|")).filter(|genres| !genres.is_empty());
            let genres = genres.unwrap_or_else(|| "(no genres listed)".to_owned());
            writeln!(movies, "{title},Title {title} (2001),{genres}").expect("a text grows");
        }
        let mut ratings = "userId,movieId,rating,timestamp\n".to_owned();
        for profile in 1..=IMPORTED_PROFILES {
            let mut at_s = now_ms / 1000 - 60 * 24 * 3600;
            for _ in 0..30 {
                at_s += rng.random_range(0..3) * rng.random_range(0..24 * 3600);
                let (title, halves) = (rng.random_range(1..=TITLES), rng.random_range(1..=10));
                writeln!(ratings, "{profile},{title},{},{at_s}", f64::from(halves) / 2.0).expect("a text grows");
            }
        }
        fs::write(data.join("movies.csv"), movies).expect("a file");
        fs::write(data.join("ratings.csv"), ratings).expect("a file");
        let batches = batches(&mut rng, now_ms);
        let made = Self { folder, batches, next: 0 };
        child::stdout(&made.home(), &["import", "movielens", data.to_str().expect("text")]);
        made
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    fn start(&self) -> Up {
        Up::start(&self.home(), &[]).unwrap_or_else(|status| panic!("up starts: {status}"))
    }

    /// Posts the next batch; an acknowledged one that comes again is a client's retry.
    fn post_next(&mut self, up: &Up) {
        let batch = &self.batches[self.next % self.batches.len()];
        self.next += usize::from(up.post_interactions(batch));
    }

    fn run_until_killed(&mut self, kill_at: &str) {
        let started = Instant::now();
        let status = match Up::start(&self.home(), &[("KILL_AT", kill_at)]) {
            Err(status) => status,
            Ok(mut up) => loop {
                if let Some(status) = up.ended(Duration::from_millis(8)) {
                    break status;
                }
                self.post_next(&up);
                assert!(started.elapsed() < KILL_DEADLINE, "{kill_at} was never reached");
            },
        };
        assert_eq!(status.signal(), Some(SIGKILL), "{kill_at}: {status}");
    }

    /// Sends what is left, up to a batch.
    fn send(&mut self, up: &mut Up, until: usize) {
        while self.next < until {
            self.post_next(up);
        }
        assert!(up.drained(INTERACTIONS_TOPIC), "the process lives");
    }

    fn finish_and_check(mut self) {
        let mut up = self.start();
        self.send(&mut up, self.batches.len());
        up.stop();
        assert_served_is_replayed(&self.home());
        assert_tables_are_recomputed(&self.home());
    }
}

/// Small batches of the last hours: late by minutes, neighbours swapped, a tenth of them twice.
fn batches(rng: &mut StdRng, now_ms: i64) -> Vec<InteractionBatch> {
    const BATCHES: i64 = 240;
    let mut batches: Vec<InteractionBatch> = (0..BATCHES)
        .map(|number| {
            let profile = rng.random_range(1..=LIVE_PROFILES);
            let context =
                Context { profile_id: format!("ml-{profile}"), device_type: "tv".into(), app_version: "1".into() };
            let at_ms = now_ms - 5 * HOUR_MS + number * 4 * HOUR_MS / BATCHES;
            let interactions = (0..rng.random_range(1..=4)).map(|index| Interaction {
                interaction_id: if rng.random_bool(0.1) { String::new() } else { format!("{number}-{index}") },
                event_time_ms: at_ms - rng.random_range(0..5) * MINUTE_MS,
                payload: Some(payload(rng)),
            });
            InteractionBatch { context: Some(context), sent_at_ms: 0, interactions: interactions.collect() }
        })
        .collect();
    disorder(&mut batches, rng);
    batches
}

fn payload(rng: &mut StdRng) -> Payload {
    let title_id = format!("ml-{}", rng.random_range(1..=TITLES));
    let session_id = if rng.random_bool(0.5) { "s".to_owned() } else { String::new() };
    let (tracking_token, watched_fraction) = ("k".to_owned(), f64::from(rng.random_range(0..=20_u8)) / 20.0);
    match rng.random_range(0..12) {
        0 => Payload::Impression(Impression { tracking_token, title_id, row_id: "new".into(), position: 1 }),
        1 => Payload::Click(Click { tracking_token, title_id }),
        2..5 => Payload::ViewStarted(ViewStarted { title_id, session_id, tracking_token }),
        5 => Payload::ViewProgress(ViewProgress { title_id, session_id, watched_fraction }),
        6..8 => Payload::ViewFinished(ViewFinished { title_id, session_id, watched_fraction }),
        8 => Payload::Rating(Rating { title_id, value: f64::from(rng.random_range(1..=10_u8)) / 2.0 }),
        9 => Payload::ListAdd(ListAdd { title_id }),
        10 => Payload::ListRemove(ListRemove { title_id }),
        _ if rng.random_bool(0.5) => Payload::Search(Search { query: "heist".into() }),
        _ => Payload::NotInterested(NotInterested { title_id }),
    }
}

/// Every profile's and every title's features in the store of a stopped process are those that its log gives by the
/// definitions alone: no shards' states, no epochs, no snapshots.
fn assert_served_is_replayed(home: &Path) {
    let log = EmbeddedLog::open(&home.join("log"), EmbeddedLogOptions::default()).expect("the log opens");
    let (mut profiles, mut titles) = (BTreeMap::new(), BTreeMap::new());
    // Parts add up in the order of the shards' names, in which `interactions-import/` comes before `interactions/`.
    for topic in [INTERACTIONS_IMPORT_TOPIC, INTERACTIONS_TOPIC] {
        for partition in 0..log.partitions(topic).expect("the topic is there") {
            let part = replay(&log, topic, partition);
            for (profile_id, state) in part.profiles {
                profiles.entry(profile_id).or_insert_with(marquee_definitions::ProfileState::default).merge(&state);
            }
            for (title_id, state) in part.titles {
                titles.entry(title_id).or_insert_with(marquee_definitions::TitleState::default).merge(&state);
            }
        }
    }
    let store = EmbeddedOnlineStore::open(&home.join("online")).expect("the store opens");
    assert_eq!(profiles.len(), LIVE_PROFILES as usize, "every profile has done something");
    for (profile_id, expected) in &profiles {
        assert_eq!(store.profile(profile_id).expect("the store answers").as_ref(), Some(expected), "{profile_id}");
    }
    assert_eq!(store.titles().expect("the store answers"), titles.into_iter().collect::<Vec<_>>());
}

fn replay(log: &EmbeddedLog, topic: &str, partition: u32) -> FeatureFold {
    let (mut fold, mut seen, mut at) = (FeatureFold::default(), HashSet::new(), 0);
    loop {
        let records = log.read(topic, partition, at, 1 << 20).expect("the log reads");
        let Some(last) = records.last() else { return fold };
        at = last.offset + 1;
        for record in &records {
            let RecordType::Interactions(content_type) = record.header.record_type else { continue };
            let batch = decode_interactions(content_type, &record.payload).expect("what was sent can be decoded");
            let profile_id = &batch.context.profile_id;
            for interaction in &batch.interactions {
                let (id, event_time_ms) = (&interaction.interaction_id, interaction.event_time_ms);
                let Some(payload) = &interaction.payload else { continue };
                if !id.is_empty() && !seen.insert((profile_id.clone(), id.clone())) {
                    continue;
                }
                let Some(title_id) = payload.title_id() else { continue };
                let number = title_id.strip_prefix("ml-").and_then(|number| number.parse().ok());
                let genres = &genres_of(number.expect("a title of the history"));
                let is_import = topic == INTERACTIONS_IMPORT_TOPIC;
                let available_ms = if is_import { event_time_ms } else { record.header.received_at_ms };
                for kind in signal_kinds(payload).into_iter().flatten() {
                    let signal = Signal { profile_id, title_id, genres, kind, event_time_ms, available_ms };
                    fold.apply(&signal, &mut Changed::default());
                }
            }
        }
    }
}

fn assert_tables_are_recomputed(home: &Path) {
    let log_events: u64 =
        [INTERACTIONS_TOPIC, INTERACTIONS_IMPORT_TOPIC].iter().map(|topic| child::log_events(home, topic)).sum();
    let (lake, catalogue) = (home.join("lake"), home.join("catalogue.sqlite"));
    let [lake, catalogue] = [&lake, &catalogue].map(|path| path.to_str().expect("the path is text"));
    let found = oracle::check("features.py", &[lake, catalogue, "--log-events", &log_events.to_string()]);
    for table in ["profile_features", "title_features", "co_watch"] {
        assert!(found["rows"][table].as_u64() > Some(200), "{found}");
    }
    assert_eq!(found["left_out"], serde_json::json!({}), "everything is compared");
    let again = "SELECT count(*) FROM interaction_events WHERE is_duplicate";
    assert!(child::number(home, again) > 10, "some came again");
}

fn kill_on_passes(name: &str) {
    let mut served = Loop::new(name.len() as u64);
    // The first passes are those of recovery, which writes what was imported; the last comes while clients post.
    for pass in [1, 6, 40] {
        served.run_until_killed(&format!("{name}:{pass}"));
    }
    served.finish_and_check();
}

#[test]
fn online_before_write() {
    kill_on_passes(KILLED[0]);
}

#[test]
fn online_after_write() {
    kill_on_passes(KILLED[1]);
}

/// Between the store and the lake: what is online is ahead of what is committed, and of what is decided.
#[test]
fn killed_between_the_online_store_and_the_lake() {
    let mut served = Loop::new(4);
    for kill_at in
        ["manifest-before-create:3", "manifest-after-create:3", "commit-between-tables:9", "shard-after-poll:20"]
    {
        served.run_until_killed(kill_at);
    }
    served.finish_and_check();
}

/// The store's folder is gone, or from long ago as after a power cut: everything is there when pages are.
#[test]
fn a_lost_or_old_online_store_is_filled_anew() {
    let mut served = Loop::new(5);
    let (home, older) = (served.home(), served.folder.path().join("older"));
    let mut up = served.start();
    served.send(&mut up, served.batches.len() / 2);
    up.stop();
    copy(&home.join("online"), &older);
    let mut up = served.start();
    served.send(&mut up, served.batches.len());
    up.stop();
    assert_served_is_replayed(&home);

    fs::remove_dir_all(home.join("online")).expect("it is there");
    drop(served.start()); // killed as soon as it serves
    assert_served_is_replayed(&home);

    fs::remove_dir_all(home.join("online")).expect("it is there");
    copy(&older, &home.join("online"));
    drop(served.start());
    assert_served_is_replayed(&home);
    assert_tables_are_recomputed(&home);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a file");
        }
    }
}
