//! Epochs into a table, each exactly once. A `txn` action alone does not deduplicate: Delta checks it only against
//! commits after the snapshot that the committer passed in. So the shard's version is read on that very snapshot, has
//! to be the epoch before, and every error is taken as "unknown": reload, look, and commit only what is missing.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use deltalake::DeltaTable;
use deltalake::checkpoints::{cleanup_metadata, create_checkpoint};
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties, TableReference};
use deltalake::kernel::{Action, Add, Transaction};
use deltalake::protocol::{DeltaOperation, SaveMode};
use marquee_events::Clock;
use marquee_lake::{DataFile, LakeError, ShardEpoch};
use tracing::{debug, warn};

use crate::open::{CHECKPOINT_EVERY_COMMITS, open_error};
use crate::{Cause, OpenTable, TableState};

/// Attempts of one commit, over about three seconds; Delta itself rebases up to 15 times within each of them. After
/// that the caller's own loop decides, the epoch's manifest remains.
const COMMIT_ATTEMPTS: u32 = 8;

/// Pause before the second attempt, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(25);

/// The last epochs of shards at one version of the table: reading them takes a replay of the log since its checkpoint,
/// for each shard anew.
#[derive(Default)]
pub(crate) struct KnownShards {
    version: Option<u64>,
    epochs: HashMap<String, Option<u64>>,
}

/// Why an attempt ended.
enum Failure {
    /// The table does not hold what the caller says; no retry mends that.
    Final(LakeError),
    /// It may or may not have landed.
    Unknown(Cause),
}

/// What is left to commit of one shard.
struct Missing<'a> {
    shard: &'a str,
    epoch: u64,
    files: Vec<&'a DataFile>,
}

/// Makes the files of these epochs part of the table in one commit, each exactly once.
pub(crate) async fn commit(table: &OpenTable, epochs: &[ShardEpoch], clock: &dyn Clock) -> Result<(), LakeError> {
    let wanted = with_files(epochs);
    if wanted.is_empty() {
        return Ok(());
    }
    let mut state = table.state.lock().await;
    let mut pause = FIRST_PAUSE;
    let mut attempt = 1;
    loop {
        let source = match try_commit(table, &mut state, &wanted, clock).await {
            Ok(checkpoint_due) => {
                let snapshot = checkpoint_due.then(|| state.table.clone());
                drop(state);
                checkpoint(table, snapshot).await;
                return Ok(());
            }
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Unknown(source)) => source,
        };
        if attempt == COMMIT_ATTEMPTS {
            return Err(LakeError::Commit { table: table.spec.name.to_owned(), source });
        }
        warn!(table = table.spec.name, attempt, error = %source, "commit in doubt, looking again");
        attempt += 1;
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

/// The last epoch of a shard in the table.
pub(crate) async fn committed_epoch(table: &OpenTable, shard: &str) -> Result<Option<u64>, LakeError> {
    let mut state = table.state.lock().await;
    let failed = |error| open_error(table.spec, &table.location, error);
    state.table.update_state().await.map_err(failed)?;
    match last_epoch(table, &mut state, shard).await {
        Ok(epoch) => Ok(epoch),
        Err(Failure::Final(error)) => Err(error),
        Err(Failure::Unknown(source)) => {
            Err(LakeError::Open { table: table.spec.name.to_owned(), location: table.location.clone(), source })
        }
    }
}

/// Epochs by shard in order; those without files leave no trace in the table.
fn with_files(epochs: &[ShardEpoch]) -> BTreeMap<&str, Vec<&ShardEpoch>> {
    let mut shards: BTreeMap<&str, Vec<&ShardEpoch>> = BTreeMap::new();
    for epoch in epochs.iter().filter(|epoch| !epoch.files.is_empty()) {
        shards.entry(&epoch.shard).or_default().push(epoch);
    }
    for epochs in shards.values_mut() {
        epochs.sort_by_key(|epoch| epoch.epoch);
    }
    shards
}

/// One attempt; says whether a checkpoint is due.
async fn try_commit(
    table: &OpenTable,
    state: &mut TableState,
    wanted: &BTreeMap<&str, Vec<&ShardEpoch>>,
    clock: &dyn Clock,
) -> Result<bool, Failure> {
    state.table.update_state().await.map_err(unknown)?;
    let mut missing = Vec::new();
    for (shard, epochs) in wanted {
        let last = last_epoch(table, state, shard).await?;
        missing.extend(after(table, shard, last, epochs)?);
    }
    if missing.is_empty() {
        return Ok(false);
    }
    fail::fail_point!("delta-before-commit", |_| Err(unknown("injected: delta-before-commit")));
    let snapshot = state.table.snapshot().map_err(unknown)?;
    let base = snapshot.version();
    // A bare builder would checkpoint and clean up the log after each commit, and report their failure as its own.
    let properties = CommitProperties::default()
        .with_create_checkpoint(false)
        .with_cleanup_expired_logs(Some(false))
        .with_application_transactions(transactions(&missing, clock.now_ms()));
    let operation = DeltaOperation::Write {
        mode: SaveMode::Append,
        partition_by: table.spec.partition_by.map(|column| vec![column.to_owned()]),
        predicate: None,
    };
    let landed = CommitBuilder::from(properties)
        .with_actions(missing.iter().flat_map(|shard| &shard.files).map(|file| Action::Add(add(file))).collect())
        .build(Some(snapshot as &dyn TableReference), table.log.clone(), operation)
        .await
        .map_err(unknown)?;
    fail::fail_point!("delta-commit-reply-lost", |_| Err(unknown("injected: delta-commit-reply-lost")));
    let version = landed.version();
    state.table.state = Some(landed.snapshot);
    state.shards.advance(base, version, &missing);
    fail::fail_point!("delta-after-commit", |_| Err(unknown("injected: delta-after-commit")));
    Ok(version.is_multiple_of(CHECKPOINT_EVERY_COMMITS))
}

fn unknown(source: impl Into<Cause>) -> Failure {
    Failure::Unknown(source.into())
}

fn transactions(missing: &[Missing<'_>], now_ms: i64) -> Vec<Transaction> {
    let transaction =
        |shard: &Missing<'_>| Transaction::new_with_last_update(shard.shard, shard.epoch as i64, Some(now_ms));
    missing.iter().map(transaction).collect()
}

/// What the table lacks of a shard, after a check that it continues where the table ends.
fn after<'a>(
    table: &OpenTable,
    shard: &'a str,
    last: Option<u64>,
    epochs: &[&'a ShardEpoch],
) -> Result<Option<Missing<'a>>, Failure> {
    let mut missing: Option<Missing<'a>> = None;
    for epoch in epochs.iter().filter(|epoch| last.is_none_or(|last| epoch.epoch > last)) {
        let before = missing.as_ref().map_or(last, |missing| Some(missing.epoch));
        if epoch.prev != before {
            let name = |epoch: Option<u64>| epoch.map_or("none".to_owned(), |epoch| epoch.to_string());
            return Err(Failure::Final(LakeError::Damaged {
                table: table.spec.name.to_owned(),
                problem: format!(
                    "epoch {} of `{shard}` follows epoch {}, but the table's last one is {}",
                    epoch.epoch,
                    name(epoch.prev),
                    name(before)
                ),
            }));
        }
        let files = missing.map_or_else(Vec::new, |missing| missing.files);
        missing = Some(Missing { shard, epoch: epoch.epoch, files: files.into_iter().chain(&epoch.files).collect() });
    }
    Ok(missing)
}

/// The last epoch of a shard in the loaded snapshot.
async fn last_epoch(table: &OpenTable, state: &mut TableState, shard: &str) -> Result<Option<u64>, Failure> {
    let snapshot = state.table.snapshot().map_err(unknown)?;
    state.shards.forget_unless(snapshot.version());
    if let Some(epoch) = state.shards.epochs.get(shard) {
        return Ok(*epoch);
    }
    let version = snapshot.transaction_version(table.log.as_ref(), shard).await.map_err(unknown)?;
    let epoch = version.map(u64::try_from).transpose().map_err(|_| {
        let problem = format!("the last epoch of `{shard}` is negative");
        Failure::Final(LakeError::Damaged { table: table.spec.name.to_owned(), problem })
    })?;
    state.shards.epochs.insert(shard.to_owned(), epoch);
    Ok(epoch)
}

impl KnownShards {
    /// Another version of the table may hold other epochs.
    fn forget_unless(&mut self, version: u64) {
        if self.version != Some(version) {
            self.version = Some(version);
            self.epochs.clear();
        }
    }

    /// Takes over an own commit. When others committed in between, their epochs are unknown.
    fn advance(&mut self, base: u64, version: u64, committed: &[Missing<'_>]) {
        if self.version != Some(base) || version != base + 1 {
            self.forget_unless(version);
        }
        self.version = Some(version);
        for shard in committed {
            self.epochs.insert(shard.shard.to_owned(), Some(shard.epoch));
        }
    }
}

fn add(file: &DataFile) -> Add {
    Add {
        path: file.path.clone(),
        partition_values: file.partition_values.iter().map(|(k, v)| (k.clone(), Some(v.clone()))).collect(),
        size: file.size_bytes,
        modification_time: file.written_at_ms,
        data_change: true,
        stats: Some(file.stats.clone()),
        ..Add::default()
    }
}

/// Spares readers the replay of the whole log, then removes the log files that have expired. The table is right without
/// either, so a failure is only told.
async fn checkpoint(table: &OpenTable, snapshot: Option<DeltaTable>) {
    let Some(snapshot) = snapshot else { return };
    if let Err(error) = create_checkpoint(&snapshot, None).await {
        warn!(table = table.spec.name, %error, "no checkpoint was written; the next one is tried in 100 commits");
        return;
    }
    // Removes only files that are past the table's retention and before a checkpoint that is not newer than any file
    // within it. Their age is by the system's clock, as their times are: an injected clock may run faster.
    match cleanup_metadata(&snapshot, None).await {
        Ok(removed) => debug!(table = table.spec.name, removed, "expired log files were removed"),
        Err(error) => {
            warn!(table = table.spec.name, %error, "expired log files remain; they are tried again in 100 commits");
        }
    }
}
