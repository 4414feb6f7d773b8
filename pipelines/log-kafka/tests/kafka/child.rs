//! This binary as another process, which can be killed: it runs the test that started it, which then does the child's part.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use crate::setup::DEADLINE;

/// Set in a child: what it works on.
const CHILD: &str = "MARQUEE_TEST_CHILD";

/// The words for a child, if this is one.
pub fn words_for_child() -> Option<Vec<String>> {
    let words = std::env::var(CHILD).ok()?;
    Some(words.split(' ').map(str::to_owned).collect())
}

/// A running child; killed when it is dropped.
pub struct Process {
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    /// Starts this binary again to run one test.
    pub fn start(test: &str, words: &[&str], fail_points: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture", "--test-threads=1"])
            .env(CHILD, words.join(" "))
            .env("FAILPOINTS", fail_points)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// Waits for a line that begins with a word, and returns what follows.
    pub fn line(&self, word: &str) -> String {
        let until = Instant::now() + DEADLINE;
        loop {
            let line = self.lines.recv_timeout(until.saturating_duration_since(Instant::now()));
            let line = line.unwrap_or_else(|_| panic!("the child did not say {word:?}"));
            // The harness writes the test's name before the first line.
            if let Some((_, rest)) = line.split_once(word) {
                return rest.trim().to_owned();
            }
        }
    }

    /// Sends a signal, such as `STOP`.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
