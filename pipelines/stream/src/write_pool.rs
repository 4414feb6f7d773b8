//! The threads on which epochs are encoded and written, shared by all shards.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::StreamError;

type Task = Box<dyn FnOnce() + Send>;

/// Epochs that may wait for a thread: one a shard is the most there can be, this is a wide limit.
const QUEUE: usize = 1024;

pub(crate) struct WritePool {
    sender: Option<SyncSender<Task>>,
    threads: Vec<JoinHandle<()>>,
}

impl WritePool {
    pub(crate) fn start(threads: usize) -> Result<Self, StreamError> {
        let (sender, receiver) = sync_channel::<Task>(QUEUE);
        let receiver = Arc::new(Mutex::new(receiver));
        let threads = (0..threads.max(1))
            .map(|index| {
                let receiver = receiver.clone();
                std::thread::Builder::new()
                    .name(format!("epoch-write-{index}"))
                    .spawn(move || while take(&receiver) {})
                    .map_err(|e| StreamError::Thread(e.to_string()))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { sender: Some(sender), threads })
    }

    pub(crate) fn run(&self, task: impl FnOnce() + Send + 'static) -> Result<(), StreamError> {
        let gone = || StreamError::Thread("the write pool".to_owned());
        self.sender.as_ref().ok_or_else(gone)?.send(Box::new(task)).map_err(|_| gone())
    }
}

/// Runs one task; false when the pool is shutting down.
fn take(receiver: &Mutex<Receiver<Task>>) -> bool {
    let task = match receiver.lock() {
        Ok(receiver) => receiver.recv(),
        Err(_) => return false,
    };
    task.map(|task| task()).is_ok()
}

impl Drop for WritePool {
    fn drop(&mut self) {
        self.sender = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
