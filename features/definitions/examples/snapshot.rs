//! Measures what the features job writes of its state in every epoch, at 100,000 profiles and 10,000 titles on four
//! shards: `cargo run --release -p marquee-definitions --example snapshot`.

use std::fs::File;
use std::io::Write as _;
use std::time::Instant;

use marquee_definitions::{Changed, FeatureFold, Signal, SignalKind};

const PROFILES: u64 = 100_000;
const TITLES: u64 = 10_000;
const SHARDS: u64 = 4;

/// Views that a profile's state has taken in, each a start, some progress and an end; over four weeks, so that there
/// are several octaves of every genre.
const VIEWS: u64 = 60;
const GENRES: u64 = 19;
const VIEW_INTERVAL_MS: u64 = 11 * 60 * 60 * 1000;

fn main() -> std::io::Result<()> {
    let folder = std::env::temp_dir();
    for shard in 0..SHARDS {
        let fold = fold(shard);
        let start = Instant::now();
        let bytes = postcard::to_stdvec(&fold).expect("a state can be encoded");
        let encoding = start.elapsed();
        let profiles = postcard::to_stdvec(&fold.profiles).expect("a state can be encoded").len();
        let path = folder.join(format!("marquee-snapshot-{}-{shard}", std::process::id()));
        let start = Instant::now();
        let mut file = File::create(&path)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        let writing = start.elapsed();
        std::fs::remove_file(&path)?;
        let start = Instant::now();
        let restored: FeatureFold = postcard::from_bytes(&bytes).expect("our own bytes");
        let decoding = start.elapsed();
        assert_eq!(restored.profiles.len(), fold.profiles.len());
        println!(
            "shard {shard}: {} profiles of {} B, {} titles of {} B; {:.1} MB; encoded in {encoding:.0?} (the freeze), \
             written in {writing:.0?}, decoded in {decoding:.0?}",
            fold.profiles.len(),
            profiles / fold.profiles.len(),
            fold.titles.len(),
            (bytes.len() - profiles) / fold.titles.len(),
            bytes.len() as f64 / 1e6,
        );
    }
    Ok(())
}

/// What a shard keeps: a quarter of the profiles, and every title.
fn fold(shard: u64) -> FeatureFold {
    let (mut fold, mut changed) = (FeatureFold::default(), Changed::default());
    for profile in (shard..PROFILES).step_by(SHARDS as usize) {
        let profile_id = format!("profile-{profile}");
        for view in 0..VIEWS {
            // Half of the views are of a tenth of the titles.
            let choice = (profile * 7919 + view * 104_729 + profile * view * 31) % (2 * TITLES);
            let title = if choice < TITLES { choice / 10 } else { choice - TITLES };
            let title_id = format!("title-{title}");
            let genres = [format!("genre-{}", title % GENRES), format!("genre-{}", title / 7 % GENRES)];
            let event_time_ms = 1_700_000_000_000 + (view * VIEW_INTERVAL_MS + profile) as i64;
            let watched_fraction = (choice % 100) as f32 / 100.0;
            for kind in [
                SignalKind::ViewStarted,
                SignalKind::ViewProgress { watched_fraction: watched_fraction / 2.0 },
                SignalKind::ViewFinished { watched_fraction },
            ] {
                let (profile_id, title_id, genres) = (profile_id.as_str(), title_id.as_str(), genres.as_slice());
                let available_ms = event_time_ms;
                let signal = Signal { profile_id, title_id, genres, kind, event_time_ms, available_ms };
                fold.apply(&signal, &mut changed);
            }
        }
    }
    fold
}
