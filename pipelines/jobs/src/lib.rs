//! The jobs: each a value with a name, a graph and the state of a shard. Adding one: a module here and a line in
//! [`all`].

mod live;
pub mod playback;

use std::sync::Arc;

use marquee_stream::Job;

pub use live::{LiveCell, LiveRecord, LiveView};
pub use playback::{CellDimensions, Cube, Playback, PlaybackMode};

/// Topic of players' events.
pub const PLAYBACK_TOPIC: &str = "playback";

/// Topic of imported sessions.
pub const IMPORT_TOPIC: &str = "playback-import";

/// Topic of uncommitted minute deltas.
pub const LIVE_TOPIC: &str = "qoe-live";

/// Every job with the topic it reads.
pub fn all() -> Vec<(Arc<dyn Job>, String)> {
    vec![
        (Arc::new(Playback::new(PlaybackMode::Live)), PLAYBACK_TOPIC.to_owned()),
        (Arc::new(Playback::new(PlaybackMode::Import)), IMPORT_TOPIC.to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    #[test]
    fn graphs() {
        let graphs: Vec<String> =
            super::all().iter().map(|(job, topic)| format!("{topic} -> {}", job.describe())).collect();
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
        "]]
        .assert_eq(&(graphs.join("\n\n") + "\n"));
    }
}
