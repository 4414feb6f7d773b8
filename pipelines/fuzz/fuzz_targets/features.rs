//! Records of every kind through a shard of the features job, good ones between them, and through one that is restarted.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: marquee_fuzz::write_seeds("features"), |data: &[u8]| marquee_fuzz::check_features(data));
