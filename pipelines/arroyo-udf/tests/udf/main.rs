//! Tests of `session_row` as Arroyo calls it: the built library, loaded at run time, through its C interface.

#![recursion_limit = "256"] // `json!` of a whole row

mod call;
mod contract;
mod fold;
mod host;
mod sql;
mod waterloo;
mod worked_example;
