//! An S3 endpoint: moto, which keeps everything in memory. It comes with the Python environment (scripts/python-env.sh).
//! It looks whether an object is there and then writes, so two creates at the same instant could both win: races belong
//! on a store whose create is atomic.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::process::Process;

/// It takes a second on an idle machine; beside a compiler far more.
const START_DEADLINE: Duration = Duration::from_secs(120);

/// Whoever asks is taken for its owner; clients sign all the same.
pub const S3_CREDENTIALS: [(&str, &str); 3] =
    [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "not-a-secret"), ("AWS_REGION", "us-east-1")];

/// Whether tests can start an S3 endpoint here. When they cannot, says so past the test harness, which hides what passing
/// tests print.
///
/// # Panics
/// When they cannot and this is CI, which leaves out no test.
pub fn s3_is_here(test: &str) -> bool {
    if program().is_file() {
        return true;
    }
    let missing = "the S3 server is missing from .venv (run scripts/python-env.sh)";
    let ci = std::env::var("CI").unwrap_or_default();
    assert!(["", "0", "false"].contains(&ci.as_str()), "{missing}, and CI leaves out no test");
    writeln!(std::io::stderr(), "{test} is left out: {missing}").expect("stderr can be written to");
    false
}

fn program() -> PathBuf {
    // Asked when the tests run: clones that share a target folder share this code, too.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default();
    here.join("../../.venv/bin/moto_server")
}

/// A server on 127.0.0.1.
pub struct S3Server {
    port: u16,
    _process: Process,
    _dir: TempDir,
}

impl S3Server {
    /// Starts it and waits until it serves.
    ///
    /// # Panics
    /// When it is not here or does not start.
    pub fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("marquee-s3-").tempdir().expect("a folder");
        // Free now; the kernel does not give out a port again soon after it was given back.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("a bound port").port();
        drop(listener);
        let arguments = ["-H", "127.0.0.1", "-p", &port.to_string()].map(str::to_owned);
        let program = program().display().to_string();
        let process = Process::start(&program, &arguments, &dir.path().join("s3.log"));
        process.wait_for("Running on", START_DEADLINE);
        Self { port, _process: process, _dir: dir }
    }

    /// What clients connect to.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Makes a bucket and says its name.
    pub fn new_bucket(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("bucket-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let request = format!(
            "PUT /{name} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            self.port
        );
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).expect("the server listens");
        connection.write_all(request.as_bytes()).expect("the server reads");
        let mut answer = String::new();
        connection.read_to_string(&mut answer).expect("the server answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "a bucket is made: {answer}");
        name
    }
}
