//! A server as a child that cannot outlive this process: a shell between them kills it when our end of a pipe closes,
//! which the kernel does even for a process that was killed.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// `stop` ends the server as an operator would, `kill` as a power cut would. Without an order this process is gone, and
/// with the server go the folder that would otherwise stay and a small disk that is mounted in it.
const KEEPER: &str = r#"
"$@" </dev/null >>"$SERVER_LOG" 2>&1 &
server=$!
read -r order
if [ "$order" = stop ]; then kill -TERM "$server"; else kill -KILL "$server"; fi
wait "$server"
[ -n "$order" ] || { umount --lazy "${SERVER_LOG%/*}"/data-*; rm -rf "${SERVER_LOG%/*}"; }
"#;

/// How long a server may take to stop when it is asked.
const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(20);

/// A running server.
pub(crate) struct Process {
    keeper: Child,
    log: PathBuf,
    /// Where this run's lines begin in the log (bytes).
    log_start: usize,
}

impl Process {
    /// Starts a program; its output is appended to the file `log`, in the folder with all that is the server's.
    pub(crate) fn start(program: &str, arguments: &[String], log: &Path) -> Self {
        let log_start = std::fs::read(log).map_or(0, |text| text.len());
        File::options().create(true).append(true).open(log).expect("a log file can be made");
        let keeper = Command::new("sh")
            .args(["-c", KEEPER, "sh", program])
            .args(arguments)
            .env("SERVER_LOG", log)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C in a terminal ends this process, and that ends the server; the shell must live to see it.
            .process_group(0)
            .spawn()
            .expect("a shell can be started");
        Self { keeper, log: log.to_owned(), log_start }
    }

    /// What the server has said since it was started.
    pub(crate) fn output(&self) -> String {
        let text = std::fs::read(&self.log).expect("the log is there");
        String::from_utf8_lossy(&text[self.log_start..]).into_owned()
    }

    /// Blocks until the server's output has `words`.
    pub(crate) fn wait_for(&self, words: &str, deadline: Duration) {
        let started = Instant::now();
        while !self.output().contains(words) {
            assert!(started.elapsed() < deadline, "no {words:?} after {deadline:?} in:\n{}", self.output());
            std::thread::sleep(POLL);
        }
    }

    /// Ends the server at once, as a power cut would.
    pub(crate) fn kill(mut self) {
        self.end("kill");
    }

    /// Asks the server to stop and waits until it has.
    pub(crate) fn stop(mut self) {
        self.end("stop");
    }

    fn end(&mut self, order: &str) {
        let Some(mut orders) = self.keeper.stdin.take() else { return };
        // It may be gone already.
        let _ = writeln!(orders, "{order}");
        drop(orders);
        let started = Instant::now();
        while self.keeper.try_wait().expect("a child can be waited for").is_none() {
            assert!(started.elapsed() < STOP_DEADLINE, "it does not stop:\n{}", self.output());
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end("kill");
    }
}
