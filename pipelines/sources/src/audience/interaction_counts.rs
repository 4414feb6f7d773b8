//! Interactions are counted by what was accepted of them; the wire contract itself is `marquee.interactions.v1`.

use marquee_events::interactions::proto::interaction::Payload;
use serde::Serialize;

/// How many interactions of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the kinds of the wire contract")]
pub struct InteractionCounts {
    pub impressions: u64,
    pub clicks: u64,
    pub views_started: u64,
    pub views_progressed: u64,
    pub views_finished: u64,
    pub list_adds: u64,
    pub ratings: u64,
    pub searches: u64,
    pub not_interested: u64,
}

impl InteractionCounts {
    /// Counts one. Simulated viewers never take anything off their lists.
    pub(crate) fn add(&mut self, payload: &Payload) {
        let count = match payload {
            Payload::Impression(_) => &mut self.impressions,
            Payload::Click(_) => &mut self.clicks,
            Payload::ViewStarted(_) => &mut self.views_started,
            Payload::ViewProgress(_) => &mut self.views_progressed,
            Payload::ViewFinished(_) => &mut self.views_finished,
            Payload::ListAdd(_) => &mut self.list_adds,
            Payload::ListRemove(_) => return,
            Payload::Rating(_) => &mut self.ratings,
            Payload::Search(_) => &mut self.searches,
            Payload::NotInterested(_) => &mut self.not_interested,
        };
        *count += 1;
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.impressions
            + self.clicks
            + self.views_started
            + self.views_progressed
            + self.views_finished
            + self.list_adds
            + self.ratings
            + self.searches
            + self.not_interested
    }
}
