//! What is left of `two-tower` after training: plain numbers that embed a viewer in microseconds, without candle. The
//! files are safetensors and a JSON of shapes; a change of either, or of `content`, needs a new [`FORMAT`].

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use marquee_catalogue::Title;
use marquee_retrieval::{TowerInput, UserTower};
use serde::{Deserialize, Serialize};

use super::content::{FEATURES, features};
use crate::ModelError;

/// Of the stored files.
const FORMAT: u32 = 1;

/// File of the numbers.
const TENSORS_FILE: &str = "two-tower.safetensors";

/// File of everything else.
const SHAPES_FILE: &str = "two-tower.json";

/// What tells the numbers' meaning: the file `two-tower.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shapes {
    /// [`FORMAT`].
    pub format: u32,
    /// Length of the vectors.
    pub dimension: usize,
    /// Width of the hidden layer.
    pub hidden: usize,
    /// Weights of a history: the one or the other to the power of the age in positions.
    pub decays: [f32; 2],
    /// Only so many of the last items count.
    pub window: usize,
    /// Length of the content side.
    pub features: usize,
    /// Ids of the items, in the order of the rows of `items`.
    pub items: Vec<String>,
}

/// The numbers. With v the items' vectors and m = \[fast mean; slow mean; 1\] of a history's vectors, the viewer's is
/// \[m · direct + relu(m · hidden) · output; 1\].
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// Items × dimension.
    pub items: Vec<f32>,
    /// Features × dimension.
    pub content: Vec<f32>,
    /// (2 · dimension + 1) × (dimension − 1).
    pub direct: Vec<f32>,
    /// (2 · dimension + 1) × hidden.
    pub hidden: Vec<f32>,
    /// Hidden × (dimension − 1).
    pub output: Vec<f32>,
}

/// Both sides of a trained model.
#[derive(Debug, Clone, PartialEq)]
pub struct Tower {
    shapes: Shapes,
    weights: Weights,
    rows: HashMap<String, usize>,
}

impl Shapes {
    /// (name, rows, columns) of each tensor.
    fn tensors(&self) -> [(&'static str, usize, usize); 5] {
        let mixed = 2 * self.dimension + 1;
        [
            ("items", self.items.len(), self.dimension),
            ("content", self.features, self.dimension),
            ("direct", mixed, self.dimension - 1),
            ("hidden", mixed, self.hidden),
            ("output", self.hidden, self.dimension - 1),
        ]
    }
}

impl Weights {
    fn tensors(&self) -> [&Vec<f32>; 5] {
        [&self.items, &self.content, &self.direct, &self.hidden, &self.output]
    }
}

impl Tower {
    /// Puts the parts together.
    ///
    /// # Panics
    /// When their lengths do not fit: they come from training, or were checked by [`load`](Self::load).
    pub(crate) fn new(
        items: Vec<String>,
        dimension: usize,
        hidden: usize,
        decays: [f32; 2],
        window: usize,
        weights: Weights,
    ) -> Self {
        let shapes = Shapes { format: FORMAT, dimension, hidden, decays, window, features: FEATURES, items };
        Self::of(shapes, weights)
    }

    fn of(shapes: Shapes, weights: Weights) -> Self {
        for ((name, rows, columns), numbers) in shapes.tensors().into_iter().zip(weights.tensors()) {
            assert_eq!(numbers.len(), rows * columns, "{name}");
        }
        let rows = shapes.items.iter().cloned().zip(0..).collect();
        Self { shapes, weights, rows }
    }

    /// Length of the vectors.
    pub fn dimension(&self) -> usize {
        self.shapes.dimension
    }

    /// Every title and its vector: the training's items, then the catalogue's other titles.
    pub fn item_vectors(&self) -> impl Iterator<Item = (&str, &[f32])> {
        self.shapes.items.iter().map(String::as_str).zip(self.weights.items.chunks_exact(self.shapes.dimension))
    }

    /// The vector of one title.
    pub fn item_vector(&self, title_id: &str) -> Option<&[f32]> {
        self.rows.get(title_id).map(|row| self.vector(*row))
    }

    /// A vector from content alone: for a title that came into the catalogue after training.
    pub fn embed_title(&self, title: &Title) -> Vec<f32> {
        let mut vector = vec![0.0; self.shapes.dimension];
        for (place, value) in features(title) {
            add(&mut vector, value, &self.weights.content[place as usize * self.shapes.dimension..]);
        }
        vector
    }

    fn vector(&self, row: usize) -> &[f32] {
        &self.weights.items[row * self.shapes.dimension..][..self.shapes.dimension]
    }

    /// A viewer's vector from the rows of a history, newest first; `None` for an empty one.
    pub(crate) fn embed_rows(&self, newest_first: impl Iterator<Item = usize>) -> Option<Vec<f32>> {
        let Shapes { dimension, decays, .. } = self.shapes;
        let mut mixed = vec![0.0; 2 * dimension + 1];
        let (mut weights, mut sums) = ([1.0_f32; 2], [0.0_f32; 2]);
        for row in newest_first.take(self.shapes.window) {
            for side in 0..2 {
                add(&mut mixed[side * dimension..][..dimension], weights[side], self.vector(row));
                sums[side] += weights[side];
                weights[side] *= decays[side];
            }
        }
        if sums[0] == 0.0 {
            return None;
        }
        for side in 0..2 {
            mixed[side * dimension..][..dimension].iter_mut().for_each(|x| *x /= sums[side]);
        }
        mixed[2 * dimension] = 1.0;
        let mut vector = product(&mixed, &self.weights.direct, dimension - 1);
        let mut hidden = product(&mixed, &self.weights.hidden, self.shapes.hidden);
        for x in &mut hidden {
            *x = x.max(0.0);
        }
        let more = product(&hidden, &self.weights.output, dimension - 1);
        vector.iter_mut().zip(more).for_each(|(x, more)| *x += more);
        vector.push(1.0);
        Some(vector)
    }

    /// Inner products with the first items.
    pub(crate) fn score(&self, vector: &[f32], scores: &mut [f32]) {
        for (score, item) in scores.iter_mut().zip(self.weights.items.chunks_exact(self.shapes.dimension)) {
            *score = item.iter().zip(vector).map(|(a, b)| a * b).sum();
        }
    }

    /// Writes both files into a folder that exists; the same model gives the same bytes.
    ///
    /// # Errors
    /// [`ModelError::File`].
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        let failed = |path: &Path, source: Box<dyn std::error::Error + Send + Sync>| ModelError::File {
            operation: "write",
            path: path.display().to_string(),
            source,
        };
        let path = folder.join(TENSORS_FILE);
        let tensors: Result<HashMap<&str, Tensor>, candle_core::Error> = self
            .shapes
            .tensors()
            .into_iter()
            .zip(self.weights.tensors())
            .map(|((name, rows, columns), numbers)| {
                Ok((name, Tensor::from_slice(numbers, (rows, columns), &Device::Cpu)?))
            })
            .collect();
        tensors
            .and_then(|tensors| candle_core::safetensors::save(&tensors, &path))
            .map_err(|problem| failed(&path, problem.into()))?;
        let path = folder.join(SHAPES_FILE);
        let shapes = serde_json::to_vec(&self.shapes).map_err(|problem| failed(&path, problem.into()))?;
        std::fs::write(&path, shapes).map_err(|problem| failed(&path, problem.into()))
    }

    /// Reads what [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// [`ModelError::File`] when a file cannot be read, [`ModelError::Damaged`] when it is not what was written.
    pub fn load(folder: &Path) -> Result<Self, ModelError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|problem| ModelError::File {
                operation: "read",
                path: path.display().to_string(),
                source: problem.into(),
            })
        };
        let damaged = |path: &Path, problem: String| ModelError::Damaged { path: path.display().to_string(), problem };
        let path = folder.join(SHAPES_FILE);
        let shapes: Shapes =
            serde_json::from_slice(&read(&path)?).map_err(|problem| damaged(&path, problem.to_string()))?;
        if shapes.format != FORMAT || shapes.features != FEATURES {
            return Err(damaged(&path, format!("format {} with {} features", shapes.format, shapes.features)));
        }
        if shapes.dimension < 2 {
            return Err(damaged(&path, format!("vectors of {} numbers", shapes.dimension)));
        }
        let path = folder.join(TENSORS_FILE);
        let mut tensors = candle_core::safetensors::load_buffer(&read(&path)?, &Device::Cpu)
            .map_err(|problem| damaged(&path, problem.to_string()))?;
        let mut numbers = shapes.tensors().into_iter().map(|(name, rows, columns)| {
            let tensor = tensors.remove(name).ok_or_else(|| damaged(&path, format!("there is no tensor {name}")))?;
            if tensor.dims() != [rows, columns] {
                let problem = format!("{name} is {:?}, not {rows} × {columns}", tensor.dims());
                return Err(damaged(&path, problem));
            }
            let numbers = tensor.flatten_all().and_then(|flat| flat.to_vec1::<f32>());
            numbers.map_err(|problem| damaged(&path, problem.to_string()))
        });
        let mut next = || numbers.next().expect("there are five tensors");
        let weights = Weights { items: next()?, content: next()?, direct: next()?, hidden: next()?, output: next()? };
        drop(numbers);
        Ok(Self::of(shapes, weights))
    }
}

impl UserTower for Tower {
    fn embed(&self, input: &TowerInput<'_>) -> Option<Vec<f32>> {
        self.embed_rows(input.history.iter().rev().filter_map(|watched| self.rows.get(&watched.title_id).copied()))
    }
}

fn add(to: &mut [f32], weight: f32, from: &[f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += weight * from;
    }
}

/// A row vector times a matrix of `width` columns.
fn product(vector: &[f32], matrix: &[f32], width: usize) -> Vec<f32> {
    let mut product = vec![0.0; width];
    for (x, row) in vector.iter().zip(matrix.chunks_exact(width)) {
        add(&mut product, *x, row);
    }
    product
}
