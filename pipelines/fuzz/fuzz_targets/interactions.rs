//! Interactions; the first byte chooses the format.
#![no_main]

use libfuzzer_sys::fuzz_target;
use marquee_events::{ContentType, decode_interactions};

fuzz_target!(
    init: marquee_fuzz::write_seeds("interactions"),
    |data: &[u8]| {
        let Some((format, data)) = data.split_first() else { return };
        let content_type = if format % 2 == 0 { ContentType::Json } else { ContentType::Protobuf };
        match decode_interactions(content_type, data) {
            Ok(batch) => marquee_fuzz::check_interactions(&batch),
            Err(error) => marquee_fuzz::check_error(&error),
        }
    }
);
