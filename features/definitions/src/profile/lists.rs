//! What a viewer said outright: the titles on the list, and those never to be shown again.

use serde::{Deserialize, Serialize};

use crate::{Entity, Feature, Signal, SignalKind};

pub(crate) const FEATURE: Feature = Feature {
    name: "lists",
    entity: Entity::Profile,
    doc: "titles on the viewer's list, and titles that the viewer is not interested in",
    unit: "titles",
    limits: "500 of each, the newest; the latest of add and remove counts, at a tie the one that came last",
};

/// Nobody reads a longer list. Titles taken off count, too: they are remembered so that a late addition is known.
const MAX_LISTED: usize = 500;

/// Beyond this the oldest refusals are forgotten.
const MAX_NOT_INTERESTED: usize = 500;

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Lists {
    /// Oldest first, a title once.
    listed: Vec<Said>,
    /// Oldest first, a title once.
    not_interested: Vec<Said>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Said {
    title_id: String,
    at_ms: i64,
    /// Put on, not taken off.
    on: bool,
}

impl Lists {
    pub(crate) fn update(&mut self, signal: &Signal<'_>) {
        let said = |on| Said { title_id: signal.title_id.to_owned(), at_ms: signal.event_time_ms, on };
        match signal.kind {
            SignalKind::ListAdd => put(&mut self.listed, said(true), MAX_LISTED),
            SignalKind::ListRemove => put(&mut self.listed, said(false), MAX_LISTED),
            SignalKind::NotInterested => put(&mut self.not_interested, said(true), MAX_NOT_INTERESTED),
            _ => {}
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for said in &other.listed {
            put(&mut self.listed, said.clone(), MAX_LISTED);
        }
        for said in &other.not_interested {
            put(&mut self.not_interested, said.clone(), MAX_NOT_INTERESTED);
        }
    }

    /// Newest first.
    pub(crate) fn listed(&self) -> impl Iterator<Item = &str> {
        self.listed.iter().rev().filter(|said| said.on).map(|said| said.title_id.as_str())
    }

    /// Newest first.
    pub(crate) fn not_interested(&self) -> impl Iterator<Item = &str> {
        self.not_interested.iter().rev().map(|said| said.title_id.as_str())
    }

    pub(crate) fn refuses(&self, title_id: &str) -> bool {
        self.not_interested.iter().any(|said| said.title_id == title_id)
    }
}

fn put(list: &mut Vec<Said>, said: Said, limit: usize) {
    if let Some(index) = list.iter().position(|known| known.title_id == said.title_id) {
        if list[index].at_ms > said.at_ms {
            return;
        }
        list.remove(index);
    }
    let index = list.partition_point(|known| known.at_ms <= said.at_ms);
    list.insert(index, said);
    if list.len() > limit {
        list.remove(0);
    }
}
