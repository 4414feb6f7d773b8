//! The integration tests: one binary, a module for each thing that must hold.

mod bad_input;
mod child;
mod demo;
mod faults;
mod live;
mod memory_lake;
mod oracle;
mod order;
mod tidy;
mod waterloo;
