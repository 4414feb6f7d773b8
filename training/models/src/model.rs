//! One file a model. A test compares this folder with [`all`](crate::all).

pub mod linear_transition;
pub mod popular_7d;
pub mod popular_all_time;
pub mod popular_decayed;
pub mod two_tower;
