//! A shard of the features job that gets records good and bad in turn: every event is a row or a dead letter, the good ones
//! are rows, each counts once; and a shard that dies on the way and goes on from its snapshot writes and serves the same.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use arrow::array::AsArray as _;
use arrow::compute::{SortColumn, concat_batches, lexsort_to_indices, take_record_batch};
use arrow::record_batch::RecordBatch;
use marquee_definitions::{OnlineBatch, OnlineError, OnlineStore, ProfileState, TitleState};
use marquee_events::interactions::MAX_TIME_MS;
use marquee_events::interactions::proto::interaction::Payload;
use marquee_events::interactions::proto::{Context, Interaction, InteractionBatch, ViewStarted};
use marquee_events::{ContentType, MAX_EVENTS_PER_BATCH, decode_interactions};
use marquee_jobs::{Features, FeaturesMode, TitleGenres};
use marquee_stream::{Frozen, Job as _, Kept, Record, RecordHeader, RecordType, ShardId};
use prost::Message as _;

use crate::records::{DAY_MS, FEATURES, START_MS, records};
use crate::shards::{Place, longs, places, rows, shard_io};

/// Ids of a profile that are remembered.
const REMEMBERED_IDS: usize = 1024;

/// What a row of `profile_features` comes after.
const WITH_A_ROW: [&str; 6] = ["view_started", "view_finished", "rating", "list_add", "list_remove", "not_interested"];

/// Runs the records of `data` through a shard in one life and through one that dies, good records between them.
pub fn check_features(data: &[u8]) {
    let Some((mode, data)) = data.split_first() else { return };
    let keeps_store = mode & 2 == 0;
    let mode = if mode & 1 == 0 { FeaturesMode::Live } else { FeaturesMode::Import };
    let mut records: Vec<Record> =
        records(FEATURES, data).into_iter().enumerate().flat_map(|(n, bad)| [good_record(n), bad]).collect();
    records.push(good_record(records.len() / 2));
    for (offset, record) in records.iter_mut().enumerate() {
        record.offset = offset as u64;
    }

    let world = World::new(mode);
    let calm = world.run(None, &records, 1);
    check_events(&records, &calm);

    // Dies in the middle of the second half, with what that has changed in the online store or with the store lost.
    let restarted = World::new(mode);
    let (first, second) = records.split_at(records.len() / 2);
    let before = restarted.run(None, first, 1);
    restarted.process(Some(&before), &second[..second.len() / 2]);
    if !keeps_store {
        restarted.online.clear();
    }
    let after = restarted.run(Some(&before), second, 2);
    let of_both = before.events + after.events;
    assert_eq!((of_both, before.dead_letters + after.dead_letters), (calm.events, calm.dead_letters));
    for table in ["interaction_events", "interactions", "impressions", "profile_features", "dead_letters"] {
        assert_eq!(in_order(&[&before, &after], table), in_order(&[&calm], table), "{table} after a restart");
    }
    assert_eq!(restarted.online, world.online, "what is served after a restart");
}

/// A shard's surroundings in one test.
struct World {
    id: ShardId,
    job: Features,
    online: Arc<Online>,
}

impl World {
    fn new(mode: FeaturesMode) -> Self {
        let online = Arc::new(Online::default());
        let job = Features::new(mode, online.clone(), Arc::new(FixedGenres));
        Self { id: ShardId { job: "features", topic: "interactions".to_owned(), partition: 0 }, job, online }
    }

    /// Begins with an epoch's snapshot or with nothing, and ends with an epoch.
    fn run(&self, kept: Option<&Frozen>, records: &[Record], epoch: u64) -> Frozen {
        let (io, _) = shard_io(&self.job, &self.id, START_MS);
        self.process(kept, records).freeze(epoch, true, &io).expect("nothing is read")
    }

    fn process(&self, kept: Option<&Frozen>, records: &[Record]) -> Box<dyn marquee_stream::ShardState> {
        let (io, _) = shard_io(&self.job, &self.id, START_MS);
        let kept = kept.map(|frozen| Kept { snapshot: &frozen.snapshot, io: &io, fork: None });
        let mut shard = self.job.start_shard(&self.id, kept).expect("nothing, or what a shard has kept");
        // The first half in one call, the others one by one.
        let (together, single) = records.split_at(records.len() / 2);
        shard.process(together).expect("bad input is no defect");
        for record in single {
            shard.process(std::slice::from_ref(record)).expect("bad input is no defect");
            shard.pending_bytes();
        }
        assert_eq!(shard.live(1), None);
        shard
    }
}

/// Every event is a row or a dead letter, and a row counts unless its viewer has sent it before.
fn check_events(records: &[Record], frozen: &Frozen) {
    let sent: u64 = records.iter().map(|record| u64::from(record.header.event_count)).sum();
    assert_eq!(frozen.events + frozen.dead_letters, sent, "events are lost or counted twice");
    let taken = places(frozen, "interaction_events");
    let dead = places(frozen, "dead_letters");
    assert_eq!(taken.len() as u64, frozen.events);
    let mut model = Model::default();
    let mut expected: BTreeMap<&str, BTreeSet<i64>> = BTreeMap::new();
    let types = rows(frozen, "interaction_events").map(|rows| rows.column_by_name("type").expect("it has").as_string());
    for record in records {
        let whole = (record.offset as i64, -1);
        if record.header.record_type == RecordType::EndOfInput {
            assert!(!dead.contains_key(&whole));
            continue;
        }
        let Some(batch) = decoded(record) else {
            assert!(dead.contains_key(&whole), "neither taken nor dead: {:?}", record.header);
            continue;
        };
        model.start_record(&batch.context.profile_id, record.header.received_at_ms);
        for (index, interaction) in batch.interactions.iter().enumerate() {
            let place = (record.offset as i64, index as i64);
            let row = taken.get(&place);
            assert!(row.is_some() != dead.contains_key(&place), "neither or both: {place:?}");
            assert!(row.is_some() || record.offset % 2 == 1, "a good record is a dead letter");
            let Some(row) = row else { continue };
            assert!(interaction.payload.is_some(), "an unknown kind is taken");
            let is_duplicate = model.is_duplicate(&batch.context.profile_id, &interaction.interaction_id);
            assert_eq!(is_marked(frozen, *row), is_duplicate, "{place:?}");
            if is_duplicate {
                continue;
            }
            let kind = types.map(|types: &arrow::array::StringArray| types.value(*row)).unwrap_or_default();
            let table = if kind == "impression" { "impressions" } else { "interactions" };
            let tables = [Some(table), WITH_A_ROW.contains(&kind).then_some("profile_features")];
            for table in tables.into_iter().flatten() {
                assert!(expected.entry(table).or_default().insert(sequence(place)));
            }
        }
    }
    for table in ["interactions", "impressions", "profile_features"] {
        let found = rows(frozen, table).map(|rows| longs(rows, "sequence").to_vec()).unwrap_or_default();
        let expected = expected.remove(table).unwrap_or_default();
        assert_eq!(found.len(), expected.len(), "{table}");
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected, "{table}");
    }
    check_dead_letters(records, frozen, &dead);
}

/// Each has a reason, and the first of a record has its bytes.
fn check_dead_letters(records: &[Record], frozen: &Frozen, dead: &BTreeMap<Place, usize>) {
    let Some(letters) = rows(frozen, "dead_letters") else { return };
    let column = |name| letters.column_by_name(name).expect("the table has it");
    let (reasons, details) = (column("reason").as_string::<i32>(), column("detail").as_string::<i32>());
    let mut bytes: BTreeMap<i64, Vec<u8>> = BTreeMap::new();
    for ((offset, _), number) in dead {
        assert!(!reasons.value(*number).is_empty() && !details.value(*number).is_empty());
        bytes.entry(*offset).or_default().extend(column("bytes").as_binary::<i32>().value(*number));
    }
    for (offset, bytes) in bytes {
        assert_eq!(bytes, records[offset as usize].payload, "the bytes are there, and once");
    }
}

/// What a record of interactions holds, if it is one and came at some time.
fn decoded(record: &Record) -> Option<marquee_events::InteractionBatch> {
    let RecordType::Interactions(content_type) = record.header.record_type else { return None };
    let is_a_time = (0..=MAX_TIME_MS).contains(&record.header.received_at_ms);
    is_a_time.then(|| decode_interactions(content_type, &record.payload).ok())?
}

fn sequence((offset, index): Place) -> i64 {
    offset * MAX_EVENTS_PER_BATCH.next_power_of_two() as i64 + index
}

fn is_marked(frozen: &Frozen, row: usize) -> bool {
    let rows = rows(frozen, "interaction_events").expect("it has rows");
    rows.column_by_name("is_duplicate").expect("the table has it").as_boolean().value(row)
}

/// The rows of a table, of these epochs together, in the order of the log.
fn in_order(epochs: &[&Frozen], table: &str) -> Option<RecordBatch> {
    let batches: Vec<&RecordBatch> = epochs.iter().filter_map(|frozen| rows(frozen, table)).collect();
    let rows = concat_batches(&batches.first()?.schema(), batches).expect("they are of one table");
    let named = ["sequence", "offset", "index"].into_iter().filter_map(|name| rows.column_by_name(name).cloned());
    let by: Vec<SortColumn> = named.map(|values| SortColumn { values, options: None }).collect();
    let order = lexsort_to_indices(&by, None).expect("numbers have an order");
    Some(take_record_batch(&rows, &order).expect("the order is of the rows"))
}

/// Which interactions came before: the last ids of each profile, for a day after its last record.
#[derive(Default)]
struct Model {
    now_ms: i64,
    profiles: HashMap<String, (i64, VecDeque<String>)>,
}

impl Model {
    fn start_record(&mut self, profile_id: &str, received_at_ms: i64) {
        self.now_ms = self.now_ms.max(received_at_ms);
        let (last_ms, ids) = self.profiles.entry(profile_id.to_owned()).or_default();
        if self.now_ms - *last_ms > DAY_MS {
            ids.clear();
        }
        *last_ms = self.now_ms;
    }

    fn is_duplicate(&mut self, profile_id: &str, id: &str) -> bool {
        let (_, ids) = self.profiles.get_mut(profile_id).expect("its record has begun");
        if id.is_empty() || ids.iter().any(|known| known == id) {
            return !id.is_empty();
        }
        if ids.len() == REMEMBERED_IDS {
            ids.pop_front();
        }
        ids.push_back(id.to_owned());
        false
    }
}

/// The parts that the shard has written.
#[derive(Debug, Default)]
struct Online {
    profiles: Mutex<BTreeMap<String, ProfileState>>,
    titles: Mutex<BTreeMap<String, TitleState>>,
}

impl Online {
    fn clear(&self) {
        self.profiles.lock().expect("nobody panics with it").clear();
        self.titles.lock().expect("nobody panics with it").clear();
    }
}

impl PartialEq for Online {
    fn eq(&self, other: &Self) -> bool {
        let [ours, theirs] = [self, other].map(|online| online.profiles.lock().expect("nobody panics with it"));
        let [our_titles, their_titles] =
            [self, other].map(|online| online.titles.lock().expect("nobody panics with it"));
        *ours == *theirs && *our_titles == *their_titles
    }
}

impl OnlineStore for Online {
    fn write(&self, batch: &OnlineBatch) -> Result<(), OnlineError> {
        self.profiles.lock().expect("nobody panics with it").extend(batch.profiles.iter().cloned());
        self.titles.lock().expect("nobody panics with it").extend(batch.titles.iter().cloned());
        Ok(())
    }

    fn profile(&self, profile_id: &str) -> Result<Option<ProfileState>, OnlineError> {
        Ok(self.profiles.lock().expect("nobody panics with it").get(profile_id).cloned())
    }

    fn titles(&self) -> Result<Vec<(String, TitleState)>, OnlineError> {
        Ok(self.titles.lock().expect("nobody panics with it").clone().into_iter().collect())
    }

    fn version(&self) -> u64 {
        0
    }
}

/// Genres that follow from the title; some have none.
struct FixedGenres;

impl TitleGenres for FixedGenres {
    fn genres(&self, title_id: &str) -> Arc<[String]> {
        (0..title_id.len() % 4).map(|number| format!("genre {number}")).collect()
    }
}

/// A record with one interaction that breaks no rule, of a viewer who has sent all good ones.
fn good_record(number: usize) -> Record {
    let received_at_ms = START_MS + number as i64;
    let started = ViewStarted { title_id: format!("t{}", number % 7), ..ViewStarted::default() };
    let interaction = Interaction {
        interaction_id: format!("good {number}"),
        event_time_ms: received_at_ms,
        payload: Some(Payload::ViewStarted(started)),
    };
    let batch = InteractionBatch {
        context: Some(Context { profile_id: "good".to_owned(), ..Context::default() }),
        sent_at_ms: 0,
        interactions: vec![interaction],
    };
    let record_type = RecordType::Interactions(ContentType::Protobuf);
    let header = RecordHeader { record_type, received_at_ms, event_count: 1 };
    Record { offset: 0, header, payload: batch.encode_to_vec().into() }
}
