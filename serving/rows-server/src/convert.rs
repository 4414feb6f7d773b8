//! From pages to the wire contract. Every item gets its tracking token here, by its place in the response.

use std::collections::HashMap;

use marquee_retrieval::{Degraded, Item, Row, RowKind, SealKey, Served, Tracking};
use marquee_rows_proto::v1;

pub(crate) fn served(served: &Served) -> v1::Served {
    v1::Served {
        request_id: served.request_id.to_string(),
        profile_id: served.profile_id.clone(),
        model_version: served.model_version.clone(),
        as_of_ms: served.as_of_ms,
        degraded: served.degraded.iter().map(|&reason| degraded(reason).into()).collect(),
        experiment_arms: HashMap::new(), // no experiment runs yet
    }
}

/// A row, or a part of it that begins at a position.
pub(crate) fn row(key: &SealKey, by: &Served, row: Row, offset: usize) -> v1::Row {
    let Row { row_id, kind, heading, items } = row;
    let items = (offset..).zip(items).map(|(position, it)| item(key, by, &row_id, position, it)).collect();
    v1::Row { kind: row_kind(kind).into(), heading, items, row_id }
}

fn item(key: &SealKey, by: &Served, row_id: &str, position: usize, item: Item) -> v1::Item {
    let tracking = Tracking {
        request_id: by.request_id,
        row_id: row_id.to_owned(),
        position: position as u32,
        model_version: by.model_version.clone(),
        propensity: item.propensity,
        title_id: item.title_id.clone(),
    };
    v1::Item {
        title_id: item.title_id,
        name: item.name,
        year: item.year.unwrap_or_default(),
        genres: item.genres,
        score: item.score,
        reason: Some(v1::Reason {
            source: item.reason.source.to_owned(),
            because_title_id: item.reason.because_title_id.unwrap_or_default(),
            text: item.reason.text,
        }),
        tracking_token: tracking.seal(key),
        watched_fraction: item.watched_fraction,
    }
}

fn degraded(reason: Degraded) -> v1::DegradedReason {
    match reason {
        Degraded::NoModel => v1::DegradedReason::NoModel,
        Degraded::IndexUnavailable => v1::DegradedReason::IndexUnavailable,
        Degraded::FeaturesUnavailable => v1::DegradedReason::FeaturesUnavailable,
        Degraded::CatalogueUnavailable => v1::DegradedReason::CatalogueUnavailable,
        Degraded::FailedClosed => v1::DegradedReason::FailedClosed,
        Degraded::Deadline => v1::DegradedReason::Deadline,
        Degraded::EventsUnavailable => v1::DegradedReason::EventsUnavailable,
    }
}

fn row_kind(kind: RowKind) -> v1::RowKind {
    match kind {
        RowKind::ContinueWatching => v1::RowKind::ContinueWatching,
        RowKind::TopPicks => v1::RowKind::TopPicks,
        RowKind::BecauseYouWatched => v1::RowKind::BecauseYouWatched,
        RowKind::TrendingNow => v1::RowKind::TrendingNow,
        RowKind::New => v1::RowKind::New,
        RowKind::Exploration => v1::RowKind::Exploration,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every reason and no other has a number on the wire.
    #[test]
    fn the_contract_has_every_reason() {
        let converted: BTreeSet<i32> = Degraded::ALL.into_iter().map(|reason| degraded(reason).into()).collect();
        let numbers = (1..).take_while(|&number| v1::DegradedReason::try_from(number).is_ok());
        assert_eq!(converted, numbers.collect());
    }
}
