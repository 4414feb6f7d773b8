//! Follows topic `qoe-live` into a [`LiveView`].

use std::sync::Arc;
use std::time::Duration;

use marquee_jobs::{LIVE_TOPIC, LiveRecord, LiveView};
use marquee_stream::{LogError, PartitionLog};

/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;

pub(crate) struct LiveReader {
    log: Arc<dyn PartitionLog>,
    next: u64,
    pub(crate) view: LiveView,
}

impl LiveReader {
    /// Starts behind what is in the topic now.
    pub(crate) fn start(log: Arc<dyn PartitionLog>) -> Result<Self, LogError> {
        let next = log.bounds(LIVE_TOPIC, 0)?.end;
        Ok(Self { log, next, view: LiveView::default() })
    }

    /// Takes in what has come, waiting for `timeout` at most.
    pub(crate) fn follow(&mut self, timeout: Duration) -> Result<(), LogError> {
        self.log.wait(LIVE_TOPIC, 0, self.next, timeout)?;
        loop {
            let records = self.log.read(LIVE_TOPIC, 0, self.next, READ_BYTES)?;
            let Some(last) = records.last() else { return Ok(()) };
            self.next = last.offset + 1;
            for record in &records {
                if let Some(record) = LiveRecord::from_bytes(&record.payload) {
                    self.view.apply(record);
                }
            }
        }
    }
}
