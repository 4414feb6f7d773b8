//! An entry as serving takes it. A family without an embedding (popularity, `linear-transition`) serves through its
//! lists: it embeds nobody and its index is empty, so rows that need vectors fall back as they do for a new viewer.

use std::path::Path;
use std::sync::Arc;

use marquee_catalogue::CatalogueSnapshot;
use marquee_index_qdrant::{IndexPoint, QdrantIndex, build};
use marquee_models::{Tower, TwoTower};
use marquee_retrieval::{
    Hit, IndexError, NeighbourLists, ServingModel, TowerInput, UserTower, VectorFilter, VectorIndex,
};

use crate::parts::{POPULAR, read_json, read_neighbours, write_json, write_neighbours};
use crate::registry::WORKING;
use crate::{Entry, Registry, TrainerError};

/// The folder of the item vectors in an entry.
const INDEX: &str = "index";
/// The folder of the user tower in an entry.
const TOWER: &str = "tower";

/// Everything of a fitted model that serves, but the index, which is made of the tower's item vectors.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fitted {
    pub(crate) tower: Option<Tower>,
    pub(crate) neighbours: NeighbourLists,
    /// Best first.
    pub(crate) popular: Vec<(String, f32)>,
}

impl Fitted {
    /// Writes the files of an entry. Titles that the catalogue does not have cannot be shown, so they get no vector.
    pub(crate) fn write(&self, folder: &Path, catalogue: &CatalogueSnapshot) -> Result<(), TrainerError> {
        write_neighbours(folder, &self.neighbours)?;
        write_json(&folder.join(POPULAR), &self.popular)?;
        let Some(tower) = &self.tower else { return Ok(()) };
        let path = folder.join(TOWER);
        std::fs::create_dir(&path).map_err(|source| TrainerError::Write { path: path.clone(), source })?;
        tower.save(&path)?;
        let points = tower.item_vectors().filter_map(|(title_id, vector)| {
            let title = catalogue.title(title_id)?;
            Some(IndexPoint {
                title_id: title_id.to_owned(),
                vector: vector.to_vec(),
                maturity: title.maturity,
                regions: title.regions.clone(),
            })
        });
        Ok(build(&folder.join(INDEX), tower.dimension(), points.collect())?)
    }

    /// Reads what [`write`](Self::write) wrote, after its checksums were compared.
    pub(crate) fn read(folder: &Path, entry: &Entry) -> Result<Self, TrainerError> {
        entry.verify(folder)?;
        Self::read_verified(folder, entry)
    }

    /// As [`read`](Self::read), whatever has become of the index.
    fn read_without_index(folder: &Path, entry: &Entry) -> Result<Self, TrainerError> {
        let is_index = |name: &str| name.strip_prefix(INDEX).is_some_and(|rest| rest.starts_with('/'));
        entry.verify_those(folder, |name| !is_index(name))?;
        Self::read_verified(folder, entry)
    }

    fn read_verified(folder: &Path, entry: &Entry) -> Result<Self, TrainerError> {
        let tower = if entry.model == TwoTower::NAME { Some(Tower::load(&folder.join(TOWER))?) } else { None };
        Ok(Self { tower, neighbours: read_neighbours(folder)?, popular: read_json(&folder.join(POPULAR))? })
    }
}

impl Registry {
    /// Loads a version whole, for serving. It holds no file of the entry open: its folder may go.
    ///
    /// # Errors
    /// [`TrainerError::UnknownVersion`]; [`TrainerError::Damaged`], [`TrainerError::Model`] or
    /// [`TrainerError::Index`] naming the part that is missing or not what was written.
    pub fn load(&self, version: &str) -> Result<Arc<ServingModel>, TrainerError> {
        let entry = self.entry(version)?;
        let folder = self.folder().join(version);
        let fitted = Fitted::read(&folder, &entry)?;
        let index: Arc<dyn VectorIndex> = match &fitted.tower {
            Some(_) => Arc::new(QdrantIndex::open(&folder.join(INDEX), &self.folder().join(WORKING))?),
            None => Arc::new(NoIndex),
        };
        Ok(serving(entry, fitted, index))
    }

    /// Loads what is left of a version whose index cannot be read: for a server that has nothing better. Searches fail,
    /// so pages say what is missing and fall back to neighbours.
    ///
    /// # Errors
    /// As [`load`](Self::load), but not of the index.
    pub fn load_without_index(&self, version: &str) -> Result<Arc<ServingModel>, TrainerError> {
        let entry = self.entry(version)?;
        let folder = self.folder().join(version);
        let fitted = Fitted::read_without_index(&folder, &entry)?;
        let location = folder.join(INDEX).display().to_string();
        Ok(serving(entry, fitted, Arc::new(LostIndex { location })))
    }
}

fn serving(entry: Entry, fitted: Fitted, index: Arc<dyn VectorIndex>) -> Arc<ServingModel> {
    let Fitted { tower, neighbours, popular } = fitted;
    let tower: Arc<dyn UserTower> = match tower {
        Some(tower) => Arc::new(tower),
        None => Arc::new(NoTower),
    };
    let trained_through_ms = entry.lineage.trained_through_ms;
    Arc::new(ServingModel { version: entry.version, trained_through_ms, tower, index, neighbours, popular })
}

/// Embeds nobody.
struct NoTower;

impl UserTower for NoTower {
    fn embed(&self, _input: &TowerInput<'_>) -> Option<Vec<f32>> {
        None
    }
}

/// Stands for an index that cannot be read.
struct LostIndex {
    location: String,
}

impl LostIndex {
    fn error(&self) -> IndexError {
        let problem = "it could not be read when its model was put in service".to_owned();
        IndexError::Damaged { location: self.location.clone(), problem }
    }
}

impl VectorIndex for LostIndex {
    fn search(&self, _: &[f32], _: &VectorFilter, _: usize) -> Result<Vec<Hit>, IndexError> {
        Err(self.error())
    }

    fn count(&self) -> Result<usize, IndexError> {
        Err(self.error())
    }
}

/// Has no titles.
struct NoIndex;

impl VectorIndex for NoIndex {
    fn search(&self, _: &[f32], _: &VectorFilter, _: usize) -> Result<Vec<Hit>, IndexError> {
        Ok(Vec::new())
    }

    fn count(&self) -> Result<usize, IndexError> {
        Ok(0)
    }
}
