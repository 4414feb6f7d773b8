//! Where events come from when nobody watches: importers of recorded data, the simulator of players, the [`audience`]
//! with tastes, and a generator for benchmarks.
//!
//! Everything here reaches Marquee as a player would, by HTTP to the collector, and knows nothing of what lies behind
//! it. Both simulators also tell the [`Truth`]: what the numbers must be once everything is processed.

pub mod audience;
mod bench_events;
mod cdn_log;
mod collector;
mod csv_table;
mod error;
#[cfg(test)]
mod fake_collector;
mod import;
mod interaction_client;
mod interaction_import;
mod simulator;
mod waterloo;

pub use bench_events::{BenchPlan, generate_bench};
pub use cdn_log::{CdnLogImportReport, check_cdn_log, import_cdn_log};
pub use error::SourceError;
pub use import::{ImportOptions, ImportReport, RefusedLine, import_waterloo, wait_until_committed};
pub use interaction_import::{
    InteractionImportReport, check_interactions, check_movielens, import_interactions, import_movielens,
};
pub use simulator::{
    Behaviour, DeadLetters, Faults, Outcome, Outcomes, PlannedBatch, PlannedEvent, SessionCounts, SessionPlan,
    SessionTruth, SimulatorSettings, Transport, Truth, plan_session, profile_id, simulate, title_id,
};
pub use waterloo::{WATERLOO_BASE_MS, WATERLOO_SESSION_STEP_MS, WaterlooData, read_waterloo};
