//! The integration tests: one binary, a module for each thing that must hold.

mod bad_input;
mod bad_input_cmcd;
mod bad_input_rows;
mod bench_rows;
mod child;
mod cluster;
mod definitions;
mod demo;
mod disorder;
mod faults;
mod features;
mod latency;
mod live;
mod lost_log;
mod memory_lake;
mod notebook;
mod oracle;
mod oracle_random;
mod order;
mod recommend;
mod recompute;
mod rows_client;
mod rows_interfaces;
mod serving_faults;
mod tidy;
mod waterloo;
