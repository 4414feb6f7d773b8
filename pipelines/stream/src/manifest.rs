//! The manifest of an epoch: what makes it decided. Create-if-absent of this one object is the commit point.

use std::collections::BTreeMap;

use marquee_lake::DataFile;
use serde::{Deserialize, Serialize};

use crate::{StreamError, partition_of};

/// The manifest's own format.
pub const MANIFEST_FORMAT: u32 = 1;

/// What an epoch of a shard consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`MANIFEST_FORMAT`].
    pub format: u32,
    /// The job.
    pub job: String,
    /// Its topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// Counts from 1.
    pub epoch: u64,
    /// Names the process that decided it: a writer can meet its own success.
    pub writer_id: String,
    /// Version of the code that wrote it.
    pub code_version: String,
    /// First offset that is not in it.
    pub next_offset: u64,
    /// Event time that has passed (ms since the epoch).
    pub watermark_ms: Option<i64>,
    /// The state after it.
    pub snapshot: SnapshotRef,
    /// Segments that the snapshot refers to.
    pub segments: Vec<String>,
    /// What it adds to each table.
    pub tables: BTreeMap<String, TableEpoch>,
    /// Records to publish after the tables.
    pub outgoing: Vec<OutgoingRecord>,
    /// When its contents were fixed (ms since the epoch).
    pub frozen_at_ms: i64,
    /// Where the shard began, if not at nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// The shard has ended: these partitions go on with its keys, and no epoch comes after this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heirs: Vec<u32>,
}

/// The partition whose last state a shard began with, and a share of whose keys it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parent {
    /// Of the same topic.
    pub partition: u32,
    /// Its last epoch; the shard's own come after it.
    pub epoch: u64,
    /// Its end; the shard's own offsets begin there.
    pub next_offset: u64,
    /// The shard has the keys that [`partition_of`](crate::partition_of) counts here …
    pub number: u32,
    /// … of so many.
    pub count: u32,
}

impl Parent {
    /// Whether the shard has this key.
    pub fn leaves(&self, key: &[u8]) -> bool {
        partition_of(key, self.count) == self.number
    }
}

/// Where the snapshot is and what it must look like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotRef {
    /// Path below the shard's folder.
    pub path: String,
    /// Its checksum.
    pub crc32c: u32,
    /// Its size.
    pub size_bytes: u64,
    /// The job's snapshot version.
    pub version: u32,
}

/// What an epoch adds to a table.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableEpoch {
    /// The files; empty when the epoch has no rows for the table.
    pub files: Vec<DataFile>,
    /// The table's last epoch with files before this one.
    pub prev: Option<u64>,
}

/// A record that a job sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutgoingRecord {
    /// Where to.
    pub topic: String,
    /// The routing key.
    pub key: Vec<u8>,
    /// The bytes.
    pub payload: Vec<u8>,
}

impl Manifest {
    /// As stored: one line of JSON, one line with its checksum.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("a manifest has string keys only");
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(format!("\ncrc32c {checksum:08x}\n").as_bytes());
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// [`StreamError::Damaged`] with `path` when it is anything else.
    pub fn from_bytes(path: &str, bytes: &[u8]) -> Result<Self, StreamError> {
        let damaged = |problem: &str| StreamError::Damaged { path: path.to_owned(), problem: problem.to_owned() };
        let text = std::str::from_utf8(bytes).map_err(|_| damaged("it is not text"))?;
        let (json, checksum) = text.split_once('\n').ok_or_else(|| damaged("it is cut short"))?;
        let expected = format!("crc32c {:08x}\n", crc32c::crc32c(json.as_bytes()));
        if checksum != expected {
            return Err(damaged("its checksum does not fit its contents"));
        }
        let manifest: Self = serde_json::from_str(json).map_err(|e| damaged(&e.to_string()))?;
        if manifest.format != MANIFEST_FORMAT {
            return Err(damaged(&format!("its format {} is not {MANIFEST_FORMAT}", manifest.format)));
        }
        Ok(manifest)
    }

    /// Whether the shard has ended with this epoch.
    pub fn is_last(&self) -> bool {
        !self.heirs.is_empty()
    }

    /// The last epoch with files of each table, this epoch included.
    pub fn last_epochs(&self) -> BTreeMap<String, u64> {
        let last = |(name, table): (&String, &TableEpoch)| {
            let epoch = if table.files.is_empty() { table.prev } else { Some(self.epoch) };
            epoch.map(|epoch| (name.clone(), epoch))
        };
        self.tables.iter().filter_map(last).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample(epoch: u64, writer_id: &str) -> Manifest {
        Manifest {
            format: MANIFEST_FORMAT,
            job: "playback".into(),
            topic: "playback".into(),
            partition: 3,
            epoch,
            writer_id: writer_id.into(),
            code_version: "0".into(),
            next_offset: 17,
            watermark_ms: Some(5),
            snapshot: SnapshotRef { path: "snapshot/1".into(), crc32c: 1, size_bytes: 2, version: 1 },
            segments: vec![],
            tables: BTreeMap::from([("events".into(), TableEpoch { files: vec![], prev: Some(2) })]),
            outgoing: vec![],
            frozen_at_ms: 9,
            parent: None,
            heirs: vec![],
        }
    }

    #[test]
    fn manifests_of_topics_that_never_grew_are_as_they_were() {
        let text = String::from_utf8(sample(4, "a").to_bytes()).unwrap();
        assert!(!text.contains("parent") && !text.contains("heirs"), "{text}");
        let parent = Some(Parent { partition: 1, epoch: 3, next_offset: 17, number: 3, count: 4 });
        let grown = Manifest { parent, heirs: vec![2, 4], ..sample(4, "a") };
        assert_eq!(Manifest::from_bytes("m", &grown.to_bytes()).unwrap(), grown);
        assert!(grown.is_last() && !sample(4, "a").is_last());
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let bytes = sample(4, "a").to_bytes();
        assert_eq!(Manifest::from_bytes("m", &bytes).unwrap(), sample(4, "a"));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x11;
            assert!(Manifest::from_bytes("m", &damaged).is_err(), "byte {at}");
            assert!(Manifest::from_bytes("m", &bytes[..at]).is_err(), "cut at {at}");
        }
    }
}
