//! Job `features`: decodes interactions once, drops duplicates, keeps the features of profiles and titles, writes them to
//! the online store as they change and to the lake with their interactions in the same epoch.
//!
//! One instance reads clients (clock correction; known from the collector's clock on), another imports (times as they
//! are; known from the event on). What a feature is lives in `features/definitions`; `shard.rs` has the order of things.

mod arrivals;
mod interaction_rows;
mod profile_rows;
mod rules;
mod shard;
mod title_rows;

use std::sync::Arc;

use marquee_definitions::OnlineStore;
use marquee_lake::{TableSpec, tables};
use marquee_stream::{Job, Kept, ShardId, ShardState, StreamError};

use shard::FeaturesShard;

/// What kind of input an instance reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeaturesMode {
    /// Clients, now.
    Live,
    /// Imported histories of any time.
    Import,
}

/// Knows what genres a title has. Object-safe; asked once an interaction, so it answers from memory.
pub trait TitleGenres: Send + Sync + 'static {
    /// The genres as the catalogue has them now; empty for an unknown title.
    fn genres(&self, title_id: &str) -> Arc<[String]>;
}

/// The job.
pub struct Features {
    mode: FeaturesMode,
    online: Arc<dyn OnlineStore>,
    genres: Arc<dyn TitleGenres>,
}

impl Features {
    /// An instance of the job.
    pub fn new(mode: FeaturesMode, online: Arc<dyn OnlineStore>, genres: Arc<dyn TitleGenres>) -> Self {
        Self { mode, online, genres }
    }
}

impl Job for Features {
    fn name(&self) -> &'static str {
        "features"
    }

    fn describe(&self) -> String {
        let decode = match self.mode {
            FeaturesMode::Live => "decode, correct clocks",
            FeaturesMode::Import => "decode",
        };
        format!(
            "features: {decode}\n  -> interaction_events (bronze, every row)\n  -> dead_letters\n  \
             -> drop duplicates by (profile_id, interaction_id)\n     -> impressions\n     -> interactions\n        \
             -> fold by profile_id and title_id\n           -> online store, before the epoch commits\n           \
             -> profile_features, title_features, co_watch"
        )
    }

    fn snapshot_version(&self) -> u32 {
        1
    }

    /// Nothing is ever read again: a feature does not need its interactions once it has taken them in.
    fn replay_table(&self) -> &'static TableSpec {
        &tables::INTERACTION_EVENTS
    }

    fn start_shard(&self, shard: &ShardId, kept: Option<Kept<'_>>) -> Result<Box<dyn ShardState>, StreamError> {
        if kept.is_some_and(|kept| kept.fork.is_some()) {
            let problem = format!("topic {} cannot grow: what is known of titles cannot be split", shard.topic);
            return Err(StreamError::Job { job: self.name(), problem });
        }
        let snapshot = kept.map(|kept| kept.snapshot);
        Ok(Box::new(FeaturesShard::start(self.mode, shard, snapshot, self.online.clone(), self.genres.clone())?))
    }
}

#[cfg(test)]
pub(crate) mod tests;
