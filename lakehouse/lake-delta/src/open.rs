//! Opens tables and makes missing ones. The log is checked here first, file by file, because Delta's own errors name
//! neither the table nor the file, and because an empty commit file would pass there as a commit without rows.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::Schema;
use deltalake::kernel::StructType;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel as _;
use deltalake::logstore::{
    LogStore, LogStoreFactory, ObjectStoreRef, StorageConfig, default_logstore, logstore_factories,
};
use deltalake::operations::create::CreateBuilder;
use deltalake::{DeltaResult, DeltaTable, DeltaTableBuilder, DeltaTableError, TableProperty};
use futures::{StreamExt as _, TryStreamExt as _};
use marquee_lake::{DurableLocalStore, LakeError, TableSpec};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt as _};
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use url::Url;

use crate::commit::KnownShards;
use crate::{Cause, OpenTable, TableState, find_cause, one_line};

/// A checkpoint after so many commits: opening a table reads at most that many commit files (delta-rs's default).
pub(crate) const CHECKPOINT_EVERY_COMMITS: u64 = 100;

/// How long log files are kept at least, the same as manifests. Older ones go once a checkpoint stands for them: with a
/// commit every 30 s there are 2,880 a day.
const LOG_RETENTION: &str = "interval 7 days";

/// Commits of a table that are read at the same time: in a bucket each is a round trip.
const COMMITS_AT_ONCE: usize = 8;

/// The folder with the tables, and the store that it is in.
pub(crate) struct Root {
    /// Of the whole file system or bucket.
    store: Arc<dyn ObjectStore>,
    /// Ends with a slash; its path is the folder's in the store.
    url: Url,
}

impl Root {
    /// A folder on the local disk.
    pub(crate) fn local(folder: &Path) -> Result<Self, LakeError> {
        let failed = |source: Cause| LakeError::Open {
            table: "(all)".to_owned(),
            location: folder.display().to_string(),
            source,
        };
        let absolute = std::path::absolute(folder).map_err(|error| failed(error.into()))?;
        let url = Url::from_directory_path(&absolute).map_err(|()| failed("it cannot be written as a URL".into()))?;
        Ok(Self { store: Arc::new(DurableLocalStore::new()), url })
    }

    /// A folder in a store whose [`PutMode::Create`](object_store::PutMode::Create) never replaces anything.
    pub(crate) fn in_store(store: Arc<dyn ObjectStore>, mut url: Url) -> Self {
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        // Delta asks by scheme how commits are written; its own answers are for local files and memory.
        if let Ok(scheme) = Url::parse(&format!("{}://", url.scheme())) {
            logstore_factories().entry(scheme).or_insert_with(|| Arc::new(CreateIfAbsent));
        }
        Self { store, url }
    }

    /// A table's URL, and the same for people.
    fn table(&self, spec: &TableSpec) -> (Url, String) {
        let mut url = self.url.clone();
        url.set_path(&format!("{}{}/", url.path(), spec.name));
        let location = match url.to_file_path() {
            Ok(folder) if url.scheme() == "file" => folder.display().to_string(),
            _ => url.to_string(),
        };
        let location = location.trim_end_matches('/').to_owned();
        (url, location)
    }
}

/// Commits are created under their version's name unless one is there: that is all a Delta log needs.
struct CreateIfAbsent;

impl LogStoreFactory for CreateIfAbsent {
    fn with_options(
        &self,
        prefixed_store: ObjectStoreRef,
        root_store: ObjectStoreRef,
        location: &Url,
        options: &StorageConfig,
    ) -> DeltaResult<Arc<dyn LogStore>> {
        Ok(default_logstore(prefixed_store, root_store, location, options))
    }
}

/// Opens a table below `root`, or makes it.
pub(crate) async fn open_table(root: &Root, spec: &'static TableSpec) -> Result<OpenTable, LakeError> {
    let (url, location) = root.table(spec);
    let mut table = DeltaTableBuilder::from_url(url.clone())
        .and_then(|builder| builder.with_storage_backend(Arc::clone(&root.store), url.clone()).build())
        .map_err(|error| unreachable_table(spec, &location, error))?;
    let store = table.object_store();
    let log = list_log(store.as_ref()).await.map_err(|error| unreachable_table(spec, &location, error))?;
    if log.is_empty() {
        refuse_strays(spec, &location, store.as_ref()).await?;
        create(&table, spec).await.map_err(|error| unreachable_table(spec, &location, error))?;
    } else {
        check_log(spec, &location, store.as_ref(), &log).await?;
    }
    table.load().await.map_err(|error| open_error(spec, &location, error))?;
    check_schema(spec, &table).map_err(|problem| damaged(spec, problem))?;
    let log = table.log_store();
    let state = Mutex::new(TableState { table, shards: KnownShards::default() });
    let folder = url.to_file_path().ok().filter(|_| url.scheme() == "file");
    Ok(OpenTable { spec, location, folder, log, store, state })
}

/// Tells a table out of reach from a damaged one.
pub(crate) fn open_error(spec: &TableSpec, location: &str, error: DeltaTableError) -> LakeError {
    let out_of_reach = match find_cause::<object_store::Error>(&error) {
        Some(object_store::Error::NotFound { .. }) => false,
        Some(_) => true,
        None => find_cause::<std::io::Error>(&error).is_some(),
    };
    if out_of_reach {
        return LakeError::Open { table: spec.name.to_owned(), location: location.to_owned(), source: error.into() };
    }
    damaged(spec, format!("the log in {location}/_delta_log cannot be read ({})", one_line(&error.to_string())))
}

fn unreachable_table(spec: &TableSpec, location: &str, source: impl Into<Cause>) -> LakeError {
    LakeError::Open { table: spec.name.to_owned(), location: location.to_owned(), source: source.into() }
}

fn damaged(spec: &TableSpec, problem: String) -> LakeError {
    LakeError::Damaged { table: spec.name.to_owned(), problem }
}

/// The files of a `_delta_log`.
#[derive(Default)]
struct Log {
    commits: BTreeMap<u64, ObjectMeta>,
    checkpoints: BTreeMap<u64, ObjectMeta>,
}

impl Log {
    fn is_empty(&self) -> bool {
        self.commits.is_empty() && self.checkpoints.is_empty()
    }
}

async fn list_log(store: &dyn ObjectStore) -> Result<Log, object_store::Error> {
    let mut log = Log::default();
    let mut files = store.list(Some(&"_delta_log".into()));
    while let Some(file) = files.try_next().await? {
        let name = file.location.filename().unwrap_or_default();
        let Some((version, kind)) = name.split_once('.') else { continue };
        let Ok(version) = version.parse() else { continue };
        if kind == "json" {
            log.commits.insert(version, file);
        } else if kind.starts_with("checkpoint.") {
            log.checkpoints.insert(version, file);
        }
    }
    Ok(log)
}

/// A folder with data but without a log has lost its log: a new table over it would hide the data.
async fn refuse_strays(spec: &TableSpec, location: &str, store: &dyn ObjectStore) -> Result<(), LakeError> {
    let found = store.list_with_delimiter(None).await.map_err(|error| unreachable_table(spec, location, error))?;
    let folders = found.common_prefixes.iter().filter(|prefix| prefix.filename() != Some("_delta_log"));
    match found.objects.iter().map(|file| &file.location).chain(folders).next() {
        None => Ok(()),
        Some(stray) => Err(damaged(spec, format!("{location} holds {stray} but no log"))),
    }
}

async fn create(table: &DeltaTable, spec: &TableSpec) -> Result<(), Cause> {
    let schema: StructType = spec.schema().as_ref().try_into_kernel()?;
    let created = CreateBuilder::new()
        .with_log_store(table.log_store())
        .with_table_name(spec.name)
        .with_comment(spec.doc)
        .with_columns(schema.fields().cloned())
        .with_partition_columns(spec.partition_by)
        .with_configuration_property(TableProperty::LogRetentionDuration, Some(LOG_RETENTION))
        .with_configuration_property(TableProperty::CheckpointInterval, Some(CHECKPOINT_EVERY_COMMITS.to_string()))
        .await;
    match created {
        Ok(_) => Ok(()),
        // Another process was faster, or the reply was lost.
        Err(error) => {
            let exists = table.log_store().is_delta_table_location().await.unwrap_or(false);
            if exists { Ok(()) } else { Err(error.into()) }
        }
    }
}

/// From the newest checkpoint on, every commit has to be there and whole.
async fn check_log(spec: &TableSpec, location: &str, store: &dyn ObjectStore, log: &Log) -> Result<(), LakeError> {
    let mut next = 0;
    if let Some((version, checkpoint)) = log.checkpoints.last_key_value() {
        check_checkpoint(spec, location, store, checkpoint).await?;
        next = version + 1;
    }
    let mut commits = Vec::new();
    for (version, file) in log.commits.range(next..) {
        if *version != next {
            let lost = format!("{location}/_delta_log/{next:020}.json");
            return Err(damaged(spec, format!("{lost} is missing, though later commits exist")));
        }
        commits.push(check_commit(spec, location, store, file));
        next += 1;
    }
    futures::stream::iter(commits).buffered(COMMITS_AT_ONCE).try_collect().await
}

/// The end of a Parquet file: a copy that was cut off lacks it.
async fn check_checkpoint(
    spec: &TableSpec,
    location: &str,
    store: &dyn ObjectStore,
    file: &ObjectMeta,
) -> Result<(), LakeError> {
    const MAGIC: &[u8; 4] = b"PAR1";
    let is_parquet = file.location.as_ref().ends_with(".parquet");
    let end = file.size.saturating_sub(MAGIC.len() as u64)..file.size;
    let whole = !is_parquet
        || file.size > MAGIC.len() as u64
            && store.get_range(&file.location, end).await.map_err(|error| unreachable_table(spec, location, error))?
                == MAGIC.as_slice();
    if whole { Ok(()) } else { Err(damaged(spec, format!("checkpoint {location}/{} is cut off", file.location))) }
}

async fn check_commit(
    spec: &TableSpec,
    location: &str,
    store: &dyn ObjectStore,
    file: &ObjectMeta,
) -> Result<(), LakeError> {
    let read = async { store.get(&file.location).await?.bytes().await };
    let bytes = read.await.map_err(|error: object_store::Error| unreachable_table(spec, location, error))?;
    check_actions(&bytes).map_err(|problem| damaged(spec, format!("{location}/{} {problem}", file.location)))
}

/// A commit is one JSON object a line, at least one.
fn check_actions(bytes: &[u8]) -> Result<(), String> {
    let lines = bytes.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.trim_ascii().is_empty());
    let mut actions = 0;
    for (index, line) in lines {
        serde_json::from_slice::<Map<String, Value>>(line)
            .map_err(|_| format!("is not valid JSON in line {}", index + 1))?;
        actions += 1;
    }
    if actions == 0 { Err("is empty".to_owned()) } else { Ok(()) }
}

/// The table has to have the columns of its spec.
fn check_schema(spec: &TableSpec, table: &DeltaTable) -> Result<(), String> {
    let snapshot = table.snapshot().map_err(|error| error.to_string())?.snapshot();
    let schema: &Schema = &spec.schema();
    let expected: StructType = schema.try_into_kernel().map_err(|error| error.to_string())?;
    let found = snapshot.schema();
    let problem = |problem: String| format!("its schema does not fit this version of Marquee: {problem}");
    for field in expected.fields() {
        let name = field.name();
        let Some(there) = found.field(name) else { return Err(problem(format!("column `{name}` is missing"))) };
        if there.data_type() != field.data_type() {
            let (is, wanted) = (there.data_type(), field.data_type());
            return Err(problem(format!("column `{name}` is {is} instead of {wanted}")));
        }
        if there.is_nullable() != field.is_nullable() {
            let wanted = if field.is_nullable() { "may" } else { "must not" };
            return Err(problem(format!("column `{name}` {wanted} be NULL, the table says otherwise")));
        }
    }
    if let Some(extra) = found.fields().find(|field| expected.field(field.name()).is_none()) {
        return Err(problem(format!("column `{}` is unknown", extra.name())));
    }
    let partitions = snapshot.metadata().partition_columns();
    if partitions.iter().map(String::as_str).ne(spec.partition_by) {
        return Err(problem(format!("it is partitioned by {partitions:?} instead of {:?}", spec.partition_by)));
    }
    Ok(())
}
