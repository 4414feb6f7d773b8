//! The parts of the model `two-tower`: what is known of a title (`content`), two operations that candle lacks
//! (`operations`), the training loop (`training`), and what is left after it, which serves without candle (`tower`).

pub mod content;
pub mod operations;
pub mod tower;
pub mod training;
