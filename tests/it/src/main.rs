//! `marquee` with fail points: `KILL_AT=name:pass` makes the process kill itself with SIGKILL when it passes that fail
//! point for the n-th time. Everything else is the real binary.

use std::sync::atomic::{AtomicU32, Ordering};

static PASSES_LEFT: AtomicU32 = AtomicU32::new(0);

fn main() -> std::process::ExitCode {
    // FAILPOINTS=name=action works as the crate documents it; setting it up clears everything else, so it comes first.
    let _scenario = fail::FailScenario::setup();
    if let Ok(kill_at) = std::env::var("KILL_AT") {
        let (name, pass) = kill_at.split_once(':').expect("KILL_AT is name:pass");
        PASSES_LEFT.store(pass.parse().expect("a pass is a number"), Ordering::SeqCst);
        fail::cfg_callback(name, count_down).expect("a fail point takes a callback");
    }
    marquee::main()
}

fn count_down() {
    if PASSES_LEFT.fetch_sub(1, Ordering::SeqCst) == 1 {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        loop {
            std::thread::park(); // nothing after the kill may run on this thread
        }
    }
}
