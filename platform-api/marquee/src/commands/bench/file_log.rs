//! A file of JSON records, one a line, as a log that is read once from front to back: what a batch job or another engine
//! would read, so that engines can be compared. Lines go to partitions by their session, as the collector routes them.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read as _;
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use marquee_events::ContentType;
use marquee_stream::{
    LogError, NewRecord, PartitionLog, Position, Record, RecordHeader, RecordType, TopicSpec, partition_of,
};

/// Bytes read from the file at once.
const BLOCK_BYTES: usize = 4 << 20;

/// A log of one topic over a file.
#[derive(Debug)]
pub(super) struct FileLog {
    partitions: u32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    /// The beginning of a line whose end was not read yet.
    rest: Bytes,
    at_end: bool,
    waiting: Vec<VecDeque<Record>>,
    /// The next offset of each partition.
    ends: Vec<u64>,
}

impl FileLog {
    pub(super) fn open(path: &Path, partitions: u32) -> std::io::Result<Self> {
        let state = State {
            file: File::open(path)?,
            rest: Bytes::new(),
            at_end: false,
            waiting: vec![VecDeque::new(); partitions as usize],
            ends: vec![0; partitions as usize],
        };
        Ok(Self { partitions, state: Mutex::new(state) })
    }

    /// Whether all lines have been read by their partitions.
    pub(super) fn is_read(&self) -> bool {
        let state = self.lock();
        state.at_end && state.waiting.iter().all(VecDeque::is_empty)
    }

    /// Records of the file so far.
    pub(super) fn records(&self) -> u64 {
        self.lock().ends.iter().sum()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics while it holds this lock")
    }
}

impl State {
    /// Reads a block and hands its whole lines to their partitions.
    fn read_block(&mut self) -> std::io::Result<()> {
        let mut block = BytesMut::zeroed(self.rest.len() + BLOCK_BYTES);
        block[..self.rest.len()].copy_from_slice(&self.rest);
        let mut length = self.rest.len();
        while length < block.len() {
            match self.file.read(&mut block[length..])? {
                0 => {
                    self.at_end = true;
                    break;
                }
                read => length += read,
            }
        }
        block.truncate(length);
        let mut block = block.freeze();
        let whole = if self.at_end { block.len() } else { memchr::memrchr(b'\n', &block).map_or(0, |at| at + 1) };
        self.rest = block.split_off(whole);
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', &block).chain(std::iter::once(block.len())) {
            if end > start {
                self.push(block.slice(start..end));
            }
            start = end + 1;
        }
        Ok(())
    }

    fn push(&mut self, line: Bytes) {
        let session_id = member(&line, b"\"session_id\":\"").and_then(|rest| rest.split(|byte| *byte == b'"').next());
        let partition = partition_of(session_id.unwrap_or_default(), self.ends.len() as u32) as usize;
        let sent_at_ms = member(&line, b"\"sent_at_ms\":").map_or(0, |digits| {
            let digits = digits.iter().take_while(|byte| byte.is_ascii_digit()).take(18);
            digits.fold(0_i64, |value, digit| 10 * value + i64::from(digit - b'0'))
        });
        let header = RecordHeader {
            record_type: RecordType::ViewEvents(ContentType::Json),
            received_at_ms: sent_at_ms, // as if there were no network
            event_count: 1,
        };
        let offset = self.ends[partition];
        self.ends[partition] += 1;
        self.waiting[partition].push_back(Record { offset, header, payload: line });
    }
}

/// What stands behind the first `name` of a line.
fn member<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    memchr::memmem::find(line, name).map(|at| &line[at + name.len()..])
}

fn unavailable(operation: &'static str) -> impl Fn(std::io::Error) -> LogError {
    move |source| LogError::Storage { operation, source: Box::new(source) }
}

fn read_only<T>() -> Result<T, LogError> {
    let source = std::io::Error::new(std::io::ErrorKind::Unsupported, "a file of records is only read");
    Err(unavailable("writing")(source))
}

#[async_trait]
impl PartitionLog for FileLog {
    fn ensure_topic(&self, _: &TopicSpec) -> Result<(), LogError> {
        Ok(())
    }

    fn partitions(&self, _: &str) -> Result<u32, LogError> {
        Ok(self.partitions)
    }

    async fn append(&self, _: &str, _: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        read_only()
    }

    async fn append_once(&self, _: &str, _: &str, _: Vec<NewRecord>) -> Result<Option<Vec<Position>>, LogError> {
        read_only()
    }

    fn ledger_contains(&self, _: &str, _: &str) -> Result<bool, LogError> {
        Ok(false)
    }

    /// Each record once: `from` is where the last read ended.
    fn read(&self, _: &str, partition: u32, from: u64, max_bytes: usize) -> Result<Vec<Record>, LogError> {
        let mut state = self.lock();
        while state.waiting[partition as usize].is_empty() && !state.at_end {
            state.read_block().map_err(unavailable("reading the file"))?;
        }
        let waiting = &mut state.waiting[partition as usize];
        debug_assert!(waiting.front().is_none_or(|record| record.offset == from));
        let mut bytes = 0;
        let mut within = |record: &Record| {
            bytes += record.payload.len();
            bytes <= max_bytes
        };
        let records = waiting.iter().take_while(|record| within(record)).count().max(1).min(waiting.len());
        Ok(waiting.drain(..records).collect())
    }

    fn bounds(&self, _: &str, partition: u32) -> Result<Range<u64>, LogError> {
        Ok(0..self.lock().ends[partition as usize])
    }

    fn wait(&self, _: &str, _: u32, _: u64, timeout: Duration) -> Result<bool, LogError> {
        std::thread::sleep(timeout);
        Ok(false)
    }

    fn enforce_retention(&self, _: i64) -> Result<u64, LogError> {
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read_once_by_its_sessions_partition() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let line = |n: u32| format!(r#"{{"context":{{"session_id":"s{}"}},"sent_at_ms":{n},"events":[]}}"#, n % 7);
        let lines: Vec<String> = (0..50_000).map(line).collect();
        std::fs::write(&path, lines.join("\n")).unwrap();
        let log = FileLog::open(&path, 3).unwrap();
        let mut found = Vec::new();
        for partition in 0..3 {
            let mut from = 0;
            loop {
                let records = log.read("playback", partition, from, 10_000).unwrap();
                let Some(last) = records.last() else { break };
                from = last.offset + 1;
                for record in records {
                    let text = String::from_utf8(record.payload.to_vec()).unwrap();
                    let session_id = text.split('"').nth(5).unwrap().to_owned();
                    assert_eq!(partition_of(session_id.as_bytes(), 3), partition);
                    found.push((record.header.received_at_ms, text));
                }
            }
        }
        assert!(log.is_read());
        assert_eq!(log.records(), 50_000);
        found.sort_unstable();
        assert_eq!(found.into_iter().map(|(_, text)| text).collect::<Vec<_>>(), lines);
    }
}
