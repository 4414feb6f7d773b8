//! The jobs: each a value with a name, a graph and the state of a shard. Adding one: a module here and a line in
//! [`all`].

mod dead_letters;
pub mod features;
mod live;
pub mod playback;

use std::sync::Arc;

use marquee_definitions::OnlineStore;
use marquee_stream::Job;

pub use features::{Features, FeaturesMode, TitleGenres};
pub use live::{LiveCell, LiveRecord, LiveView};
pub use playback::{CellDimensions, Cube, OTHER, Playback, PlaybackMode, dimension_bounds, dimension_names};

/// Topic of players' events.
pub const PLAYBACK_TOPIC: &str = "playback";

/// Topic of imported sessions.
pub const IMPORT_TOPIC: &str = "playback-import";

/// Topic of uncommitted minute deltas.
pub const LIVE_TOPIC: &str = "qoe-live";

/// Topic of viewers' interactions.
pub const INTERACTIONS_TOPIC: &str = "interactions";

/// Topic of imported interactions.
pub const INTERACTIONS_IMPORT_TOPIC: &str = "interactions-import";

/// Every job with the topic it reads. The features jobs write to `online` and ask `genres`.
pub fn all(online: &Arc<dyn OnlineStore>, genres: &Arc<dyn TitleGenres>) -> Vec<(Arc<dyn Job>, String)> {
    let features = |mode| Arc::new(Features::new(mode, online.clone(), genres.clone()));
    let mut jobs = shareable();
    jobs.push((features(FeaturesMode::Live), INTERACTIONS_TOPIC.to_owned()));
    jobs.push((features(FeaturesMode::Import), INTERACTIONS_IMPORT_TOPIC.to_owned()));
    jobs
}

/// Those of them that several processes can share: they keep nothing but what is in their manifests.
pub fn shareable() -> Vec<(Arc<dyn Job>, String)> {
    vec![
        (Arc::new(Playback::new(PlaybackMode::Live)), PLAYBACK_TOPIC.to_owned()),
        (Arc::new(Playback::new(PlaybackMode::Import)), IMPORT_TOPIC.to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use expect_test::expect;
    use marquee_definitions::OnlineStore;

    use crate::TitleGenres;
    use crate::features::tests::{FixedGenres, MemoryStore};

    #[test]
    fn graphs() {
        let online: Arc<dyn OnlineStore> = Arc::new(MemoryStore::default());
        let genres: Arc<dyn TitleGenres> = Arc::new(FixedGenres);
        let graphs: Vec<String> =
            super::all(&online, &genres).iter().map(|(job, topic)| format!("{topic} -> {}", job.describe())).collect();
        expect![[r"
            playback -> playback: decode, correct clocks
              -> events (bronze, every row)
              -> dead_letters
              -> fold by (session_id, player_instance): reorder, holes, timers
                 -> session_revisions
                 -> qoe_minutes, qoe-live
                 -> late_events (24 h horizon)

            playback-import -> playback: decode
              -> events (bronze, every row)
              -> dead_letters
              -> fold by (session_id, player_instance): reorder, holes, until end of input
                 -> session_revisions
                 -> qoe_minutes, qoe-live

            interactions -> features: decode, correct clocks
              -> interaction_events (bronze, every row)
              -> dead_letters
              -> drop duplicates by (profile_id, interaction_id)
                 -> impressions
                 -> interactions
                    -> fold by profile_id and title_id
                       -> online store, before the epoch commits
                       -> profile_features, title_features, co_watch

            interactions-import -> features: decode
              -> interaction_events (bronze, every row)
              -> dead_letters
              -> drop duplicates by (profile_id, interaction_id)
                 -> impressions
                 -> interactions
                    -> fold by profile_id and title_id
                       -> online store, before the epoch commits
                       -> profile_features, title_features, co_watch
        "]]
        .assert_eq(&(graphs.join("\n\n") + "\n"));
    }
}
