//! The integration tests: one binary, a module for each thing that must hold.

mod bad_input;
mod child;
mod demo;
mod faults;
mod latency;
mod live;
mod lost_log;
mod memory_lake;
mod oracle;
mod order;
mod recommend;
mod tidy;
mod waterloo;
