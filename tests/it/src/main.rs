//! `marquee` with fail points: `KILL_AT=name:pass` makes the process kill itself with SIGKILL when it passes that fail
//! point for the n-th time. `FAIL_WHILE_THERE=FOLDER`: a fail point fails for as long as there is a file of its name in
//! that folder, so parts break and heal while the process runs. Everything else is the real binary.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Between two looks into the folder.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

static PASSES_LEFT: AtomicU32 = AtomicU32::new(0);

fn main() -> std::process::ExitCode {
    // FAILPOINTS=name=action works as the crate documents it; setting it up clears everything else, so it comes first.
    let _scenario = fail::FailScenario::setup();
    if let Ok(kill_at) = std::env::var("KILL_AT") {
        let (name, pass) = kill_at.split_once(':').expect("KILL_AT is name:pass");
        PASSES_LEFT.store(pass.parse().expect("a pass is a number"), Ordering::SeqCst);
        fail::cfg_callback(name, count_down).expect("a fail point takes a callback");
    }
    if let Some(folder) = std::env::var_os("FAIL_WHILE_THERE") {
        std::thread::spawn(move || follow(Path::new(&folder)));
    }
    marquee::main()
}

/// Makes fail points of the files in a folder, again and again.
fn follow(folder: &Path) {
    let mut failing = BTreeSet::new();
    loop {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let named: BTreeSet<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        for name in named.difference(&failing) {
            fail::cfg(name, "return").expect("a fail point can fail");
        }
        for name in failing.difference(&named) {
            fail::remove(name);
        }
        failing = named;
        std::thread::sleep(LOOK_INTERVAL);
    }
}

fn count_down() {
    if PASSES_LEFT.fetch_sub(1, Ordering::SeqCst) == 1 {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        loop {
            std::thread::park(); // nothing after the kill may run on this thread
        }
    }
}
