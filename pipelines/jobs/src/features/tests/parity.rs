//! What is served equals a replay of the log through the definitions alone, whatever the epochs and wherever the job
//! was killed; and the lake has every interaction once.

use std::collections::BTreeMap;
use std::sync::Arc;

use marquee_events::interactions::proto::interaction::Payload;
use marquee_events::interactions::proto::{
    Click, Impression, InteractionBatch, ListAdd, ListRemove, NotInterested, Rating, ViewFinished, ViewProgress,
    ViewStarted,
};
use marquee_lake::tables;
use marquee_stream::{Frozen, Record, ShardState as _};
use proptest::prelude::*;

use super::{FeaturesMode, MemoryStore, NOW_MS, batch, interaction, record, replay, shard_id, start};

/// What happens after a record was taken in.
#[derive(Debug, Clone, Copy, PartialEq)]
enum After {
    Nothing,
    Epoch,
    /// The process dies; the next starts from the last epoch's snapshot.
    Kill,
    /// The store does not answer from here on, or does again.
    CloseStore(bool),
}

pub(super) fn payload() -> impl Strategy<Value = Payload> {
    let title = || (1_usize..8).prop_map(|length| "t".repeat(length));
    let session = || prop_oneof![Just(String::new()), Just("s".to_owned())];
    prop_oneof![
        title().prop_map(|title_id| Payload::Impression(Impression {
            tracking_token: "k".into(),
            title_id,
            row_id: "r".into(),
            position: 0
        })),
        title().prop_map(|title_id| Payload::Click(Click { tracking_token: "k".into(), title_id })),
        (title(), session()).prop_map(|(title_id, session_id)| Payload::ViewStarted(ViewStarted {
            title_id,
            session_id,
            tracking_token: String::new()
        })),
        (title(), session(), 0.0_f64..=1.0).prop_map(|(title_id, session_id, watched_fraction)| {
            Payload::ViewProgress(ViewProgress { title_id, session_id, watched_fraction })
        }),
        (title(), session(), 0.0_f64..=1.0).prop_map(|(title_id, session_id, watched_fraction)| {
            Payload::ViewFinished(ViewFinished { title_id, session_id, watched_fraction })
        }),
        title().prop_map(|title_id| Payload::ListAdd(ListAdd { title_id })),
        title().prop_map(|title_id| Payload::ListRemove(ListRemove { title_id })),
        title().prop_map(|title_id| Payload::NotInterested(NotInterested { title_id })),
        (title(), 1_u8..=10)
            .prop_map(|(title_id, halves)| Payload::Rating(Rating { title_id, value: f64::from(halves) / 2.0 })),
    ]
}

/// Batches of three profiles with right clocks; ids repeat now and then, as a client's retries do.
pub(super) fn batches() -> impl Strategy<Value = Vec<InteractionBatch>> {
    let id = prop_oneof![1 => Just(String::new()), 3 => (0_u8..20).prop_map(|id| id.to_string())];
    let one = (id, 0_i64..3 * 24 * 3_600_000, payload());
    let of_profile = (0_u8..3, prop::collection::vec(one, 1..4));
    prop::collection::vec(of_profile, 1..25).prop_map(|batches| {
        let build = |(profile, interactions): (u8, Vec<(String, i64, Payload)>)| {
            let interactions =
                interactions.into_iter().map(|(id, age_ms, payload)| interaction(&id, NOW_MS - age_ms, payload));
            batch(&format!("p{profile}"), NOW_MS, interactions.collect())
        };
        batches.into_iter().map(build).collect()
    })
}

fn after() -> impl Strategy<Value = After> {
    prop_oneof![
        6 => Just(After::Nothing),
        3 => Just(After::Epoch),
        2 => Just(After::Kill),
        1 => any::<bool>().prop_map(After::CloseStore),
    ]
}

/// The committed rows by table, as text, without what depends on the epochs.
type Rows = BTreeMap<&'static str, Vec<String>>;

fn collect(frozen: &Frozen, rows: &mut Rows) {
    let by_epoch = [tables::TITLE_FEATURES.name, tables::CO_WATCH.name];
    for (table, batch) in frozen.tables.iter().filter(|(table, _)| !by_epoch.contains(&table.name)) {
        for row in 0..batch.num_rows() {
            let values = batch.columns().iter().map(|a| arrow::util::display::array_value_to_string(a, row));
            let text: Vec<String> = values.map(|value| value.expect("a value")).collect();
            rows.entry(table.name).or_default().push(text.join(" "));
        }
    }
}

/// Runs the records to the end; the committed rows.
fn run(mode: FeaturesMode, store: &Arc<MemoryStore>, records: &[Record], after: &[After]) -> Rows {
    let mut shard = start(mode, store, None);
    let mut rows = Rows::new();
    let (mut snapshot, mut committed, mut epoch, mut at) = (None::<Vec<u8>>, 0, 0, 0);
    let mut steps = after.iter();
    while at < records.len() {
        shard.process(&records[at..=at]).expect("records are taken in");
        at += 1;
        match steps.next().unwrap_or(&After::Nothing) {
            After::Nothing => {}
            After::CloseStore(closed) => store.close(*closed),
            After::Epoch => {
                epoch += 1;
                let frozen = shard.end_epoch(epoch);
                collect(&frozen, &mut rows);
                (snapshot, committed) = (Some(frozen.snapshot), at);
            }
            After::Kill => {
                shard = start(mode, store, snapshot.as_deref());
                at = committed;
            }
        }
    }
    store.close(false);
    collect(&shard.end_epoch(epoch + 1), &mut rows);
    for rows in rows.values_mut() {
        rows.sort();
    }
    rows
}

proptest! {
    #[test]
    fn served_equals_replayed_and_rows_are_written_once(
        batches in batches(),
        after in prop::collection::vec(after(), 60),
        is_import in any::<bool>(),
    ) {
        let mode = if is_import { FeaturesMode::Import } else { FeaturesMode::Live };
        let records: Vec<Record> =
            batches.iter().enumerate().map(|(offset, batch)| record(offset as u64, NOW_MS, batch)).collect();
        let store = Arc::new(MemoryStore::default());
        let rows = run(mode, &store, &records, &after);
        let served = store.part(&shard_id(mode).to_string());
        prop_assert_eq!(&served, &replay(mode, &records));

        let calm_store = Arc::new(MemoryStore::default());
        let calm = run(mode, &calm_store, &records, &[]);
        prop_assert_eq!(rows, calm);
        prop_assert_eq!(calm_store.part(&shard_id(mode).to_string()), served);
    }
}
