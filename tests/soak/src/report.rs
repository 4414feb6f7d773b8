//! What happened in worlds, in numbers.

/// What a seed was like.
#[derive(Debug, Clone, Copy, Default)]
pub struct Report {
    /// Steps of processes.
    pub steps: u64,
    /// Records in the log.
    pub records: u64,
    /// Epochs of all shards.
    pub epochs: u64,
    /// Processes that crashed or failed.
    pub crashes: u64,
    /// Times that partitions were assigned anew.
    pub rebalances: u64,
    /// Epochs that recomputes decided beside the owners.
    pub recomputes_won: u64,
    /// Epochs that somebody else decided before a recompute did.
    pub recomputes_lost: u64,
    /// Recomputes that found the state they had looked at removed, or another recompute's epoch.
    pub recomputes_overtaken: u64,
    /// Recomputes that were killed.
    pub recomputes_killed: u64,
    /// Late events that recomputes beside the owners have put in their sessions.
    pub recomputed_events: u64,
}

impl std::ops::AddAssign for Report {
    fn add_assign(&mut self, other: Self) {
        self.steps += other.steps;
        self.records += other.records;
        self.epochs += other.epochs;
        self.crashes += other.crashes;
        self.rebalances += other.rebalances;
        self.recomputes_won += other.recomputes_won;
        self.recomputes_lost += other.recomputes_lost;
        self.recomputes_overtaken += other.recomputes_overtaken;
        self.recomputes_killed += other.recomputes_killed;
        self.recomputed_events += other.recomputed_events;
    }
}
