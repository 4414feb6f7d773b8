//! One role a process on a log in Apache Kafka: processes with jobs that share what they write, a collector before them, and what
//! must be in the lake in the end.

use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use marquee_jobs::PLAYBACK_TOPIC;
use marquee_test_servers::KafkaCluster;

use crate::child::DEADLINE;
use crate::oracle;
use crate::players::Sent;
use crate::site::Site;

/// Of each topic that is shared.
pub const PARTITIONS: u32 = 4;

/// How often a condition is looked at that a process says.
const POLL: Duration = Duration::from_millis(50);

/// How often a condition is looked at that takes a query.
const POLL_LAKE: Duration = Duration::from_millis(500);

/// Roles on one log, and what they share beside it.
pub struct Deployment {
    site: Site,
}

impl Deployment {
    /// With a cluster for itself, and one home.
    pub fn new(cluster: &KafkaCluster) -> Self {
        Self::at(Site::on(cluster))
    }

    pub fn at(site: Site) -> Self {
        Self { site }
    }

    /// Starts a process with one role; `name` tells it from others.
    pub fn start(&self, name: &str, role: &'static str) -> Role {
        self.start_with(name, role, &[])
    }

    /// The same with more settings.
    pub fn start_with(&self, name: &str, role: &'static str, environment: &[(&str, &str)]) -> Role {
        self.start_in("home", name, role, environment)
    }

    /// The same on another machine.
    pub fn start_in(&self, home: &str, name: &str, role: &'static str, environment: &[(&str, &str)]) -> Role {
        let stderr = self.site.other_home(name).with_extension("stderr");
        let mut command = self.site.marquee_in(home, [role]);
        command
            .env("MARQUEE_LOG__PARTITIONS", PARTITIONS.to_string())
            .env("MARQUEE_JOBS__EPOCH_INTERVAL_MS", "300")
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(File::create(&stderr).expect("a file"));
        Role { child: command.spawn().expect("the binary starts"), stderr }
    }

    /// Waits until so many events are in sessions that have ended.
    pub fn wait_for_sessions(&self, events: u64) {
        self.wait_for_number("SELECT sum(event_count) FROM sessions WHERE is_final", events);
    }

    /// Waits until so many events are in bronze.
    pub fn wait_for_events(&self, events: u64) {
        self.wait_for_number("SELECT count(*) FROM events", events);
    }

    fn wait_for_number(&self, query: &str, expected: u64) {
        let started = Instant::now();
        loop {
            let found = self.site.number(query);
            if found >= expected {
                return;
            }
            assert!(started.elapsed() < DEADLINE, "{query} is {found} and does not become {expected}");
            std::thread::sleep(POLL_LAKE);
        }
    }

    /// Lets the topic of players grow.
    pub fn grow(&self, partitions: u32) {
        let partitions = partitions.to_string();
        let mut grow = self.site.marquee(["log", "grow", PLAYBACK_TOPIC, "--partitions", &partitions]);
        let output = grow.output().expect("the binary starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Stops the roles and checks the lake: every event that was acknowledged counts once, nothing is in the log twice
    /// but what was refused and sent again, and sessions and minutes are what DuckDB works out from bronze.
    pub fn check(self, collector: Role, jobs: Vec<Role>, sent: &Sent) {
        self.check_grown(collector, jobs, sent, &[]);
    }

    /// The same after the topic of players has grown to these partitions, generation by generation.
    pub fn check_grown(self, collector: Role, jobs: Vec<Role>, sent: &Sent, generations: &[u32]) {
        // Nothing comes after this: what it refused and still had is sent or given up.
        collector.stop();
        let log_events = self.site.log_events(PLAYBACK_TOPIC);
        let allowed = sent.events..=sent.events + sent.refused_events;
        assert!(allowed.contains(&log_events), "the log has {log_events} events of {sent:?}");
        self.wait_for_events(log_events);
        self.wait_for_sessions(sent.events);
        for role in jobs {
            role.stop();
        }
        let found = oracle::recompute_grown(&self.site.lake(), PLAYBACK_TOPIC, log_events, generations);
        assert_eq!(found["sessions"].as_u64(), Some(sent.sessions));
        let distinct = "SELECT count(*) FROM (SELECT DISTINCT session_id, player_instance, sequence FROM events)";
        assert_eq!(self.site.number(distinct), sent.events, "nothing is lost");
        assert_eq!(self.site.number("SELECT count(*) FROM events"), log_events, "nothing twice");
        assert_eq!(self.site.number("SELECT sum(event_count) FROM sessions WHERE is_final"), sent.events);
    }

    /// Every file of the state and of the lake, with its size.
    pub fn stored(&self) -> Vec<(PathBuf, u64)> {
        let mut files = Vec::new();
        let mut folders = vec![self.site.home().join("state"), self.site.home().join("lake")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).expect("a folder") {
                let entry = entry.expect("an entry");
                let metadata = entry.metadata().expect("a file or a folder");
                if metadata.is_dir() {
                    folders.push(entry.path());
                } else {
                    files.push((entry.path(), metadata.len()));
                }
            }
        }
        files.sort();
        files
    }
}

/// A process with one role.
pub struct Role {
    child: Child,
    stderr: PathBuf,
}

impl Role {
    /// What it has said so far.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.stderr).expect("a file")
    }

    /// Waits until `found` sees what it looks for in what the process has said.
    pub fn wait_for<T>(&mut self, what: &str, found: impl Fn(&str) -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            let said = self.said();
            if let Some(found) = found(&said) {
                return found;
            }
            let ended = self.child.try_wait().expect("a child can be waited for");
            assert!(ended.is_none(), "the process ended ({ended:?}) before it said {what}: {said}");
            assert!(started.elapsed() < DEADLINE, "it never said {what}: {said}");
            std::thread::sleep(POLL);
        }
    }

    /// Where a collector listens.
    pub fn address(&mut self) -> String {
        self.wait_for("its address", |said| {
            let line = said.lines().find_map(|line| line.strip_prefix("collector"))?;
            line.split_whitespace().next().map(str::to_owned)
        })
    }

    /// Waits until it works on some of the partitions.
    pub fn wait_for_a_share(&mut self) {
        self.wait_for("a share of the partitions", |said| (partitions(said) > 0).then_some(()));
    }

    /// Waits until it works on all partitions, of the topic of players and of that of imports.
    pub fn wait_for_all_partitions(&mut self) {
        self.wait_for_partitions(2 * PARTITIONS);
    }

    /// Waits until it works on so many partitions.
    pub fn wait_for_partitions(&mut self, count: u32) {
        self.wait_for("so many partitions", |said| (partitions(said) == count as usize).then_some(()));
    }

    /// Ends it at once.
    pub fn kill(mut self) {
        self.child.kill().expect("it lives");
        let status = self.child.wait().expect("it can be waited for");
        assert!(status.signal().is_some(), "it had ended before, {status}: {}", self.said());
    }

    /// Stops it with SIGTERM: everything is written out.
    pub fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("the child is there");
        let status = self.child.wait().expect("it can be waited for");
        assert!(status.success(), "a graceful stop ends with {status}: {}", self.said());
    }

    /// How it ends by itself.
    pub fn end(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(started.elapsed() < DEADLINE, "it does not end: {}", self.said());
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // A test that fails shows it.
        if std::thread::panicking() {
            println!("{} said:\n{}", self.stderr.display(), self.said());
        }
    }
}

/// How many partitions a process works on now.
fn partitions(said: &str) -> usize {
    let last = said.lines().rev().find_map(|line| line.strip_prefix("partitions ")).unwrap_or_default();
    last.split_whitespace().filter(|word| word.contains('/')).count()
}
