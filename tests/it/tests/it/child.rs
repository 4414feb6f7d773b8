//! A real `marquee` process, its HTTP interface, its lake and its log.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use marquee_events::interactions::proto::InteractionBatch;
use marquee_events::proto::ViewEventBatch;
use marquee_log_embedded::{EmbeddedLog, EmbeddedLogOptions};
use marquee_stream::{GrowingLog, LogError, PartitionLog};
use prost::Message as _;

/// Everything here ends within this time, or it is stuck.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// The command, with a home and nothing of this process's settings.
pub fn marquee(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_marquee-under-test"));
    command.args(["--home", home.to_str().expect("a temporary folder's name is text")]);
    command.current_dir(home.parent().expect("a home lies in a folder"));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("MARQUEE_") || name == "KILL_AT" || name == "RUST_LOG") {
            command.env_remove(name);
        }
    }
    // Tests run side by side: nobody gets a fixed port.
    for section in ["COLLECTOR", "DASHBOARDS", "ROWS"] {
        command.env(format!("MARQUEE_{section}__LISTEN"), "127.0.0.1:0");
    }
    command.stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub fn run(home: &Path, arguments: &[&str]) -> Output {
    marquee(home).args(arguments).output().expect("the binary starts")
}

/// Runs a command that must succeed; its stdout.
pub fn stdout(home: &Path, arguments: &[&str]) -> String {
    stdout_of(marquee(home).args(arguments))
}

fn stdout_of(command: &mut Command) -> String {
    let output = command.output().expect("the binary starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} fails: {stderr}");
    String::from_utf8(output.stdout).expect("text")
}

/// Runs a query; its rows as JSON objects.
pub fn sql(home: &Path, query: &str) -> Vec<serde_json::Value> {
    rows_of(&mut query_command(home, query))
}

/// The number in the only field of the only row.
pub fn number(home: &Path, query: &str) -> u64 {
    number_of(&mut query_command(home, query))
}

fn query_command(home: &Path, query: &str) -> Command {
    let mut command = marquee(home);
    command.args(["lake", "sql", query, "--format", "json"]);
    command
}

fn rows_of(query: &mut Command) -> Vec<serde_json::Value> {
    let text = stdout_of(query);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{query:?}: {e}: {text}"))
}

/// The number in the only field of the only row that a query prints as JSON.
pub fn number_of(query: &mut Command) -> u64 {
    let rows = rows_of(query);
    let value = rows[0].as_object().and_then(|row| row.values().next()).cloned().unwrap_or_default();
    value.as_u64().unwrap_or_default()
}

/// Opens a stopped process's log. A process that was killed holds its locks until its last write to the disk is over.
fn open_log(folder: &Path) -> EmbeddedLog {
    let started = Instant::now();
    loop {
        match EmbeddedLog::open(folder, EmbeddedLogOptions::default()) {
            Err(LogError::InUse(_)) if started.elapsed() < DEADLINE => std::thread::sleep(Duration::from_millis(20)),
            opened => return opened.expect("the log opens"),
        }
    }
}

/// Events in a topic of a stopped process's log, as the records' headers say.
pub fn log_events(home: &Path, topic: &str) -> u64 {
    events_in(Arc::new(open_log(&home.join("log"))), topic)
}

/// Events in a topic and all of its generations, as the records' headers say.
pub fn events_in(log: Arc<dyn PartitionLog>, topic: &str) -> u64 {
    let log = GrowingLog::new(log, &[topic]);
    let mut events = 0;
    for partition in 0..log.partitions(topic).expect("the topic is there") {
        let bounds = log.bounds(topic, partition).expect("the log answers");
        let mut at = bounds.start;
        while at < bounds.end {
            let records = log.read(topic, partition, at, 1 << 20).expect("the log reads");
            at = records.last().map_or(at, |record| record.offset + 1);
            events += records.iter().map(|r| u64::from(r.header.event_count)).sum::<u64>();
        }
    }
    events
}

/// A running `marquee up`.
pub struct Up {
    child: Child,
    /// What it has said so far. A file and no pipe: nobody has to read it for the process to go on.
    stderr: File,
    pub address: String,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

/// Fast epochs, so that every fail point is passed often.
const EPOCH_MS: u32 = 150;

impl Up {
    /// Starts it with extra environment and waits until it listens; `Err` when it died before.
    pub fn start(home: &Path, environment: &[(&str, &str)]) -> Result<Self, ExitStatus> {
        let mut command = marquee(home);
        command.arg("up");
        command.env("MARQUEE_JOBS__EPOCH_INTERVAL_MS", EPOCH_MS.to_string());
        let stderr = tempfile::tempfile().expect("a temporary file");
        let written = stderr.try_clone().expect("a file has a second handle");
        command.envs(environment.iter().copied()).stdout(Stdio::null()).stderr(written);
        let mut child = command.spawn().expect("the binary starts");
        let started = Instant::now();
        loop {
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                if status.code().is_some() {
                    eprintln!("up ended with {status}: {}", text_of(&stderr));
                }
                return Err(status);
            }
            let owner = std::fs::read_to_string(home.join("lock")).unwrap_or_default();
            let mine = owner.strip_prefix(&format!("process {} ", child.id()));
            if let Some(address) = mine.and_then(|text| text.trim().rsplit_once(' ')).map(|(_, address)| address) {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().expect("a client");
                return Ok(Self { address: address.to_owned(), stderr, child, client, runtime });
            }
            assert!(started.elapsed() < DEADLINE, "up does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Where the pages (`pages`) or the rows (`rows`) are, as it says when everything listens.
    pub fn listens(&self, what: &str) -> SocketAddr {
        let started = Instant::now();
        loop {
            let text = self.stderr();
            let line = text.lines().find_map(|line| line.strip_prefix(what)?.trim().strip_prefix("http://"));
            if let Some(address) = line.and_then(|line| line.split_whitespace().next()?.parse().ok()) {
                return address;
            }
            assert!(started.elapsed() < DEADLINE, "up does not say where {what} listens: {text}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What it has said so far.
    pub fn stderr(&self) -> String {
        text_of(&self.stderr)
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Posts one batch of a player; whether it was acknowledged. Anything but an acknowledgement or a lost connection
    /// is a failed test.
    pub fn post(&self, batch: &ViewEventBatch) -> bool {
        self.post_to("/v1/events", batch.encode_to_vec())
    }

    /// Posts one batch of a profile, as [`post`](Self::post).
    pub fn post_interactions(&self, batch: &InteractionBatch) -> bool {
        self.post_to("/v1/interactions", batch.encode_to_vec())
    }

    fn post_to(&self, path: &str, body: Vec<u8>) -> bool {
        let request = self.client.post(self.url(path)).header("content-type", "application/x-protobuf").body(body);
        // Made inside the runtime: a request starts its timer when it is made.
        match self.runtime.block_on(async { request.send().await }) {
            Ok(response) => {
                let status = response.status().as_u16();
                assert!(status == 202 || status == 503, "the collector answers {status}");
                status == 202
            }
            Err(_) => false,
        }
    }

    /// Posts a text and returns the status and the answer's JSON.
    pub fn post_text(&self, path: &str, content_type: &str, body: String) -> (u16, serde_json::Value) {
        let request = self.client.post(self.url(path)).header("content-type", content_type).body(body);
        self.runtime.block_on(async {
            let response = request.send().await.expect("an answer");
            let status = response.status().as_u16();
            (status, response.json().await.expect("JSON"))
        })
    }

    pub fn get(&self, path: &str) -> Option<serde_json::Value> {
        let text =
            self.runtime.block_on(async { self.client.get(self.url(path)).send().await.ok()?.text().await.ok() })?;
        serde_json::from_str(&text).ok()
    }

    /// Waits until all of a topic is in the lake; false when the process died before.
    pub fn drained(&mut self, topic: &str) -> bool {
        let started = Instant::now();
        loop {
            if let Some(progress) = self.get(&format!("/v1/progress?topic={topic}"))
                && progress["committed"].is_array()
                && progress["committed"] == progress["end"]
            {
                return true;
            }
            if self.child.try_wait().expect("a child can be waited for").is_some() {
                return false;
            }
            assert!(started.elapsed() < DEADLINE, "{topic} does not reach the lake");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// How it ended, if it ends within this time.
    pub fn ended(&mut self, within: Duration) -> Option<ExitStatus> {
        let started = Instant::now();
        while started.elapsed() < within {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }

    /// Stops it with SIGTERM: everything is written out.
    pub fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("the child is there");
        let status = self.child.wait().expect("a child can be waited for");
        assert!(status.success(), "a graceful stop ends with {status}: {}", self.stderr());
    }
}

/// From the file's beginning; its offset is the child's.
fn text_of(file: &File) -> String {
    let mut bytes = vec![0; file.metadata().map_or(0, |metadata| metadata.len() as usize)];
    let read = file.read_at(&mut bytes, 0).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..read]).into_owned()
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Up {
    /// Posts a chunk of an import.
    pub fn post_chunk(&self, import: &str, chunk: usize, batches: &[ViewEventBatch]) {
        let body = marquee_events::proto::ViewEventBatches { batches: batches.to_vec() }.encode_to_vec();
        let request = self
            .client
            .post(self.url(&format!("/v1/imports/{import}/chunks/{chunk}")))
            .header("content-type", "application/x-protobuf")
            .body(body);
        let response = self.runtime.block_on(async { request.send().await }).expect("the collector answers");
        assert_eq!(response.status().as_u16(), 202);
    }

    /// Ends an import.
    pub fn finish_import(&self, import: &str, chunks: usize) {
        let request = self
            .client
            .post(self.url(&format!("/v1/imports/{import}/finish")))
            .header("content-type", "application/json")
            .body(format!("{{\"chunks\":{chunks}}}"));
        let response = self.runtime.block_on(async { request.send().await }).expect("the collector answers");
        assert_eq!(response.status().as_u16(), 200);
    }
}
