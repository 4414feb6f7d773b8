//! View events in protobuf.
#![no_main]

use libfuzzer_sys::fuzz_target;
use marquee_events::{ContentType, decode};

fuzz_target!(
    init: marquee_fuzz::write_seeds("protobuf"),
    |data: &[u8]| match decode(ContentType::Protobuf, data) {
        Ok(batch) => marquee_fuzz::check_batch(&batch),
        Err(error) => marquee_fuzz::check_error(&error),
    }
);
