//! Every part of a page in memory, and each can be broken at any moment: for tests of this crate, of the server around
//! it, and of whatever else serves pages. Nothing here is meant for production: it keeps everything under one lock.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use marquee_catalogue::{Catalogue, CatalogueError, CatalogueSnapshot, Maturity, Profile, Regions, Title};
use marquee_definitions::{
    Changed, FeatureFold, OnlineBatch, OnlineError, OnlineStore, ProfileState, Signal, TitleState,
};
use marquee_events::ManualClock;

use crate::{
    DataStatus, Hit, IndexError, ModelSlot, NeighbourLists, Parts, ServingModel, TowerInput, UserTower, VectorFilter,
    VectorIndex,
};

/// How a part behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    /// As it should.
    #[default]
    None,
    /// Every call is an error.
    Fails,
    /// No call comes back until the fault is lifted.
    Hangs,
    /// Every call panics.
    Panics,
    /// Answers with what it should have left out (index only).
    Lies,
}

/// Parts that can be broken.
pub struct Rehearsal {
    /// Titles and profiles.
    pub catalogue: Arc<RehearsedCatalogue>,
    /// Features.
    pub online: Arc<RehearsedOnline>,
    /// Vectors; part of the model made by [`Rehearsal::put_model`].
    pub index: Arc<RehearsedIndex>,
    /// The model in service.
    pub models: Arc<ModelSlot>,
    /// How current the data is.
    pub status: Arc<DataStatus>,
    /// Stands still until set.
    pub clock: Arc<ManualClock>,
}

impl Rehearsal {
    /// Empty parts at an instant (ms since the epoch).
    pub fn new(now_ms: i64) -> Self {
        Self {
            catalogue: Arc::default(),
            online: Arc::default(),
            index: Arc::default(),
            models: Arc::default(),
            status: Arc::default(),
            clock: Arc::new(ManualClock::new(now_ms)),
        }
    }

    /// As a [`Recommender`](crate::Recommender) takes them.
    pub fn parts(&self) -> Parts {
        Parts {
            catalogue: Arc::clone(&self.catalogue) as Arc<dyn Catalogue>,
            online: Arc::clone(&self.online) as Arc<dyn OnlineStore>,
            models: Arc::clone(&self.models),
            status: Arc::clone(&self.status),
            clock: Arc::clone(&self.clock) as Arc<dyn marquee_events::Clock>,
        }
    }

    /// Puts a model in service: the vectors are indexed, a viewer's vector is the mean of what was watched.
    pub fn put_model(
        &self,
        version: &str,
        vectors: HashMap<String, Vec<f32>>,
        neighbours: NeighbourLists,
        popular: Vec<(String, f32)>,
    ) {
        self.index.put(&vectors, &self.catalogue.titles());
        let tower = Arc::new(MeanTower(vectors));
        let index = Arc::clone(&self.index) as Arc<dyn VectorIndex>;
        let version = version.to_owned();
        let model = ServingModel { version, trained_through_ms: 0, tower, index, neighbours, popular };
        self.models.switch(Some(Arc::new(model)));
    }

    /// Mends every part. Hanging calls come back; a test must not end before.
    pub fn mend(&self) {
        self.catalogue.titles_fault.set(Fault::None);
        self.catalogue.profiles_fault.set(Fault::None);
        self.online.fault.set(Fault::None);
        self.index.fault.set(Fault::None);
    }
}

impl Drop for Rehearsal {
    fn drop(&mut self) {
        self.mend();
    }
}

/// A fault that can be set and lifted while calls are under way.
#[derive(Debug, Default)]
pub struct FaultSwitch {
    fault: Mutex<Fault>,
    changed: Condvar,
}

impl FaultSwitch {
    /// Behaves like this from now on.
    pub fn set(&self, fault: Fault) {
        *locked(&self.fault) = fault;
        self.changed.notify_all();
    }

    /// The fault now.
    pub fn get(&self) -> Fault {
        *locked(&self.fault)
    }

    /// What a blocking call does first: whether it must fail.
    fn strike(&self) -> bool {
        let mut fault = locked(&self.fault);
        while *fault == Fault::Hangs {
            fault = self.changed.wait(fault).unwrap_or_else(PoisonError::into_inner);
        }
        let fault = *fault;
        assert!(fault != Fault::Panics, "broken on purpose");
        fault == Fault::Fails
    }

    /// What an async call does first: whether it must fail. A hanging one is only ever dropped.
    async fn strike_async(&self) -> bool {
        match self.get() {
            Fault::Hangs => std::future::pending().await,
            Fault::Panics => panic!("broken on purpose"),
            fault => fault == Fault::Fails,
        }
    }
}

/// A catalogue in memory.
#[derive(Default)]
pub struct RehearsedCatalogue {
    /// Of everything about titles.
    pub titles_fault: FaultSwitch,
    /// Of reading a profile.
    pub profiles_fault: FaultSwitch,
    kept: Mutex<KeptCatalogue>,
}

#[derive(Default)]
struct KeptCatalogue {
    version: u64,
    titles: BTreeMap<String, Title>,
    profiles: BTreeMap<String, Profile>,
}

impl RehearsedCatalogue {
    /// Replaces every title.
    pub fn replace_titles(&self, titles: Vec<Title>) {
        let mut kept = locked(&self.kept);
        kept.titles = titles.into_iter().map(|title| (title.title_id.clone(), title)).collect();
        kept.version += 1;
    }

    /// Adds a profile or replaces it.
    pub fn put_profile(&self, profile: Profile) {
        locked(&self.kept).profiles.insert(profile.profile_id.clone(), profile);
    }

    /// Every title, whatever is broken.
    pub fn titles(&self) -> Vec<Title> {
        locked(&self.kept).titles.values().cloned().collect()
    }
}

#[async_trait]
impl Catalogue for RehearsedCatalogue {
    async fn put_titles(&self, titles: Vec<Title>) -> Result<(), CatalogueError> {
        failed(self.titles_fault.strike_async().await)?;
        let mut kept = locked(&self.kept);
        kept.titles.extend(titles.into_iter().map(|title| (title.title_id.clone(), title)));
        kept.version += 1;
        Ok(())
    }

    async fn put_profiles(&self, profiles: Vec<Profile>) -> Result<(), CatalogueError> {
        failed(self.profiles_fault.strike_async().await)?;
        for profile in profiles {
            self.put_profile(profile);
        }
        Ok(())
    }

    async fn version(&self) -> Result<u64, CatalogueError> {
        failed(self.titles_fault.strike_async().await)?;
        Ok(locked(&self.kept).version)
    }

    async fn snapshot(&self) -> Result<CatalogueSnapshot, CatalogueError> {
        failed(self.titles_fault.strike_async().await)?;
        let kept = locked(&self.kept);
        Ok(CatalogueSnapshot::new(kept.version, kept.titles.values().cloned().collect()))
    }

    async fn profile(&self, profile_id: &str) -> Result<Option<Profile>, CatalogueError> {
        failed(self.profiles_fault.strike_async().await)?;
        Ok(locked(&self.kept).profiles.get(profile_id).cloned())
    }

    async fn profiles(&self, search: &str, after: &str, limit: u32) -> Result<Vec<Profile>, CatalogueError> {
        failed(self.profiles_fault.strike_async().await)?;
        let search = search.to_lowercase();
        let is_match = |profile: &&Profile| {
            profile.profile_id.as_str() > after
                && (profile.profile_id.to_lowercase().contains(&search)
                    || profile.display_name.to_lowercase().contains(&search))
        };
        Ok(locked(&self.kept).profiles.values().filter(is_match).take(limit as usize).cloned().collect())
    }
}

fn failed(fails: bool) -> Result<(), CatalogueError> {
    if fails {
        Err(CatalogueError::Storage { operation: "rehearsing a failure", source: "broken on purpose".into() })
    } else {
        Ok(())
    }
}

/// An online store in memory.
#[derive(Default)]
pub struct RehearsedOnline {
    /// Of everything.
    pub fault: FaultSwitch,
    kept: Mutex<KeptFeatures>,
}

#[derive(Default)]
struct KeptFeatures {
    version: u64,
    /// By shard.
    parts: BTreeMap<String, FeatureFold>,
}

impl RehearsedOnline {
    /// Takes a signal in, as the features job does.
    pub fn signal(&self, signal: &Signal<'_>) {
        let mut kept = locked(&self.kept);
        kept.parts.entry("rehearsal".to_owned()).or_default().apply(signal, &mut Changed::default());
        kept.version += 1;
    }
}

impl OnlineStore for RehearsedOnline {
    fn write(&self, batch: &OnlineBatch) -> Result<(), OnlineError> {
        closed(self.fault.strike())?;
        let mut kept = locked(&self.kept);
        let part = kept.parts.entry(batch.shard.clone()).or_default();
        part.profiles.extend(batch.profiles.iter().cloned());
        part.titles.extend(batch.titles.iter().cloned());
        kept.version += 1;
        Ok(())
    }

    fn profile(&self, profile_id: &str) -> Result<Option<ProfileState>, OnlineError> {
        closed(self.fault.strike())?;
        let kept = locked(&self.kept);
        let parts = kept.parts.values().filter_map(|part| part.profiles.get(profile_id));
        Ok(parts.cloned().reduce(|mut sum, part| {
            sum.merge(&part);
            sum
        }))
    }

    fn titles(&self) -> Result<Vec<(String, TitleState)>, OnlineError> {
        closed(self.fault.strike())?;
        let mut titles: BTreeMap<String, TitleState> = BTreeMap::new();
        for (title_id, part) in locked(&self.kept).parts.values().flat_map(|part| &part.titles) {
            titles.entry(title_id.clone()).or_default().merge(part);
        }
        Ok(titles.into_iter().collect())
    }

    fn version(&self) -> u64 {
        locked(&self.kept).version
    }
}

fn closed(fails: bool) -> Result<(), OnlineError> {
    if fails {
        Err(OnlineError::Storage { operation: "rehearsing a failure", source: "broken on purpose".into() })
    } else {
        Ok(())
    }
}

/// Vectors in memory, searched one by one.
#[derive(Default)]
pub struct RehearsedIndex {
    /// Of searching.
    pub fault: FaultSwitch,
    points: Mutex<Vec<Point>>,
}

#[derive(Clone)]
struct Point {
    title_id: String,
    vector: Vec<f32>,
    maturity: Maturity,
    regions: Regions,
}

impl RehearsedIndex {
    fn put(&self, vectors: &HashMap<String, Vec<f32>>, titles: &[Title]) {
        let of_title = |title: &Title| {
            let vector = vectors.get(&title.title_id)?.clone();
            let (title_id, regions) = (title.title_id.clone(), title.regions.clone());
            Some(Point { title_id, vector, maturity: title.maturity, regions })
        };
        *locked(&self.points) = titles.iter().filter_map(of_title).collect();
    }
}

impl VectorIndex for RehearsedIndex {
    fn search(&self, vector: &[f32], filter: &VectorFilter, limit: usize) -> Result<Vec<Hit>, IndexError> {
        if self.fault.strike() {
            let source = "broken on purpose".into();
            return Err(IndexError::Engine { operation: "rehearsing a failure", source });
        }
        let lies = self.fault.get() == Fault::Lies;
        let mut hits = Vec::new();
        for point in locked(&self.points).iter() {
            if point.vector.len() != vector.len() {
                return Err(IndexError::Dimension { expected: point.vector.len(), found: vector.len() });
            }
            let may_be_found = point.maturity <= filter.max_maturity
                && point.regions.allow(&filter.country)
                && !filter.without.contains(&point.title_id);
            if may_be_found || lies {
                let score = point.vector.iter().zip(vector).map(|(a, b)| a * b).sum();
                hits.push(Hit { title_id: point.title_id.clone(), score });
            }
        }
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.title_id.cmp(&b.title_id)));
        hits.truncate(limit);
        Ok(hits)
    }

    fn count(&self) -> Result<usize, IndexError> {
        Ok(locked(&self.points).len())
    }
}

/// The mean of the vectors of what was watched.
struct MeanTower(HashMap<String, Vec<f32>>);

impl UserTower for MeanTower {
    fn embed(&self, input: &TowerInput<'_>) -> Option<Vec<f32>> {
        let known: Vec<&Vec<f32>> = input.history.iter().filter_map(|watched| self.0.get(&watched.title_id)).collect();
        let mut mean = vec![0.0; known.first()?.len()];
        for vector in &known {
            for (sum, value) in mean.iter_mut().zip(*vector) {
                *sum += value / known.len() as f32;
            }
        }
        Some(mean)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
