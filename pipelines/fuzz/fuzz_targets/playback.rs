//! Records of every kind through a shard of the playback job, good ones between them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: marquee_fuzz::write_seeds("playback"), |data: &[u8]| marquee_fuzz::check_playback(data));
