//! [`KafkaLog`](marquee_log_kafka::KafkaLog) against real brokers: its port's contract, and what a cluster does to it.
//! One cluster of one node and one of three serve all tests; each test has topics of its own.
//!
//! Tests that need a process of their own start this binary again, see `child`.

#![allow(clippy::unwrap_used, reason = "clippy takes only functions marked as tests for tests")]

mod child;
mod contract;
mod faults;
mod ledger;
mod membership;
mod setup;
#[cfg(feature = "tls")]
mod tls;
mod topics;
