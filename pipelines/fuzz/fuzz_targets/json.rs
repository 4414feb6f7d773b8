//! View events in JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use marquee_events::{ContentType, decode};

fuzz_target!(
    init: marquee_fuzz::write_seeds("json"),
    |data: &[u8]| match decode(ContentType::Json, data) {
        Ok(batch) => marquee_fuzz::check_batch(&batch),
        Err(error) => marquee_fuzz::check_error(&error),
    }
);
