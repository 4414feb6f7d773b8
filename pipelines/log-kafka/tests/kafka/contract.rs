//! The suite that every log passes.

use std::sync::Arc;

use marquee_stream::contract::check_partition_log;

use crate::setup::{one_node, open, options};

#[test]
fn keeps_the_contract() {
    let Some(cluster) = one_node("keeps_the_contract") else { return };
    check_partition_log(&|| Arc::new(open(options(cluster))));
}
