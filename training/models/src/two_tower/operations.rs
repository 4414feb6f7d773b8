//! Two operations that candle 0.11 lacks on the CPU: a constant sparse matrix times a dense one, and the loss of a full
//! softmax. candle's own way would be an `index_select` whose gradient copies the whole table on one thread, dense
//! gradients of constants, and five copies of the logits. Results do not depend on the number of threads. A GPU would
//! need a `cuda_fwd` of each.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

/// A sparse matrix, row by row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sparse {
    columns: usize,
    /// Where each row begins in `entries`; one more than there are rows.
    starts: Vec<usize>,
    /// (column, value).
    entries: Vec<(u32, f32)>,
}

impl Sparse {
    /// An empty one with so many columns.
    pub fn new(columns: usize) -> Self {
        Self { columns, starts: vec![0], entries: Vec::new() }
    }

    /// Appends a row.
    pub fn push_row(&mut self, entries: impl IntoIterator<Item = (u32, f32)>) {
        self.entries.extend(entries);
        self.starts.push(self.entries.len());
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    fn row(&self, row: usize) -> &[(u32, f32)] {
        &self.entries[self.starts[row]..self.starts[row + 1]]
    }

    fn transposed(&self) -> Self {
        let mut starts = vec![0; self.columns + 1];
        for (column, _) in &self.entries {
            starts[*column as usize + 1] += 1;
        }
        for column in 0..self.columns {
            starts[column + 1] += starts[column];
        }
        let mut next = starts.clone();
        let mut entries = vec![(0, 0.0); self.entries.len()];
        for row in 0..self.rows() {
            for (column, value) in self.row(row) {
                let place = &mut next[*column as usize];
                entries[*place] = (row as u32, *value);
                *place += 1;
            }
        }
        Self { columns: self.rows(), starts, entries }
    }

    /// This times a dense matrix of `width` columns, row by row.
    pub fn times(&self, dense: &[f32], width: usize) -> Vec<f32> {
        let mut product = vec![0.0; self.rows() * width];
        product.par_chunks_mut(width.max(1)).enumerate().with_min_len(64).for_each(|(row, to)| {
            for (column, value) in self.row(row) {
                let from = &dense[*column as usize * width..][..width];
                for (to, from) in to.iter_mut().zip(from) {
                    *to += value * from;
                }
            }
        });
        product
    }
}

/// A constant sparse matrix times the argument (columns × width).
struct SparseProduct {
    matrix: Arc<Sparse>,
    transposed: Arc<Sparse>,
}

/// `matrix` times `dense`, differentiable by `dense`.
///
/// # Errors
/// When the shapes do not fit.
pub fn sparse_product(matrix: Sparse, dense: &Tensor) -> Result<Tensor> {
    let transposed = Arc::new(matrix.transposed());
    dense.contiguous()?.apply_op1(SparseProduct { matrix: Arc::new(matrix), transposed })
}

impl CustomOp1 for SparseProduct {
    fn name(&self) -> &'static str {
        "sparse-product"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = layout.shape().dims2()?;
        if rows != self.matrix.columns {
            candle_core::bail!("a sparse matrix of {} columns times {rows} rows", self.matrix.columns);
        }
        let product = self.matrix.times(numbers(storage, layout)?, width);
        Ok((CpuStorage::F32(product), (self.matrix.rows(), width).into()))
    }

    fn bwd(&self, _arg: &Tensor, _res: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let back = Self { matrix: Arc::clone(&self.transposed), transposed: Arc::clone(&self.matrix) };
        grad.contiguous()?.apply_op1_no_bwd(&back).map(Some)
    }
}

/// −log softmax(row)[target] of each row of the argument.
struct SoftmaxLoss {
    targets: Arc<[u32]>,
}

/// The loss of each row of `logits` (rows × classes) for its target: −log softmax(row)\[target\], in nats.
///
/// # Errors
/// When the shapes do not fit.
pub fn softmax_loss(logits: &Tensor, targets: Arc<[u32]>) -> Result<Tensor> {
    logits.contiguous()?.apply_op1(SoftmaxLoss { targets })
}

/// The greatest number and Σ exp(number − greatest).
fn exponentials(row: &[f32]) -> (f32, f32) {
    let greatest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    (greatest, row.iter().map(|x| (x - greatest).exp()).sum())
}

impl CustomOp1 for SoftmaxLoss {
    fn name(&self) -> &'static str {
        "softmax-loss"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, classes) = layout.shape().dims2()?;
        if rows != self.targets.len() || self.targets.iter().any(|target| *target as usize >= classes) {
            candle_core::bail!("{} targets for {rows} rows of {classes} classes", self.targets.len());
        }
        let logits = numbers(storage, layout)?;
        let losses: Vec<f32> = logits
            .par_chunks(classes)
            .zip(self.targets.par_iter())
            .map(|(row, target)| {
                let (greatest, sum) = exponentials(row);
                greatest + sum.ln() - row[*target as usize]
            })
            .collect();
        Ok((CpuStorage::F32(losses), rows.into()))
    }

    fn bwd(&self, logits: &Tensor, _res: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let gradient = SoftmaxGradient { targets: Arc::clone(&self.targets), scale: grad.to_vec1()? };
        logits.contiguous()?.apply_op1_no_bwd(&gradient).map(Some)
    }
}

/// (softmax(row) − one-hot(target)) · scale of each row.
struct SoftmaxGradient {
    targets: Arc<[u32]>,
    scale: Vec<f32>,
}

impl CustomOp1 for SoftmaxGradient {
    fn name(&self) -> &'static str {
        "softmax-gradient"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, classes) = layout.shape().dims2()?;
        let logits = numbers(storage, layout)?;
        let mut gradient = vec![0.0; rows * classes];
        let asked = self.targets.par_iter().zip(&self.scale);
        gradient.par_chunks_mut(classes).zip(logits.par_chunks(classes)).zip(asked).for_each(
            |((to, row), (target, scale))| {
                let greatest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let mut sum = 0.0;
                for (to, x) in to.iter_mut().zip(row) {
                    *to = (x - greatest).exp();
                    sum += *to;
                }
                let scale_each = scale / sum;
                for to in to.iter_mut() {
                    *to *= scale_each;
                }
                to[*target as usize] -= scale;
            },
        );
        Ok((CpuStorage::F32(gradient), (rows, classes).into()))
    }
}

/// The numbers of a contiguous tensor.
fn numbers<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let Some((begin, end)) = layout.contiguous_offsets() else { candle_core::bail!("the tensor is not contiguous") };
    Ok(&storage.as_slice::<f32>()?[begin..end])
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    fn var(rows: usize, columns: usize) -> Var {
        let numbers: Vec<f32> = (0..rows * columns).map(|k| ((k * 29 % 17) as f32 - 8.0) / 6.0).collect();
        Var::from_vec(numbers, (rows, columns), &Device::Cpu).unwrap()
    }

    fn matrix() -> Sparse {
        let mut matrix = Sparse::new(3);
        matrix.push_row([(2, 0.5), (0, -1.0)]);
        matrix.push_row([]);
        matrix.push_row([(1, 2.0), (1, 1.0)]);
        matrix.push_row([(0, 0.25)]);
        matrix
    }

    /// The gradient that candle finds, against finite differences of f.
    fn check_gradient(at: &Var, f: impl Fn(&Tensor) -> Tensor) {
        const STEP: f32 = 1e-2;
        let found = f(at).backward().unwrap().get(at).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let numbers = at.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (place, found) in found.iter().enumerate() {
            let value = |step: f32| {
                let mut moved = numbers.clone();
                moved[place] += step;
                f(&Tensor::from_vec(moved, at.shape(), &Device::Cpu).unwrap()).to_scalar::<f32>().unwrap()
            };
            let expected = (value(STEP) - value(-STEP)) / (2.0 * STEP);
            assert!((found - expected).abs() < 2e-3, "at {place}: {found}, by differences {expected}");
        }
    }

    #[test]
    fn a_sparse_product_is_the_dense_one() {
        let dense = [[-1.0_f32, 0.0, 0.5], [0.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.25, 0.0, 0.0]];
        let dense = Tensor::new(&dense, &Device::Cpu).unwrap();
        let at = var(3, 2);
        let expected = dense.matmul(&at).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(sparse_product(matrix(), &at).unwrap().to_vec2::<f32>().unwrap(), expected);
        assert!(sparse_product(matrix(), &var(4, 2)).is_err());
        check_gradient(&at, |x| sparse_product(matrix(), x).unwrap().sqr().unwrap().sum_all().unwrap());
    }

    #[test]
    fn the_loss_is_the_logarithm_of_the_softmax() {
        let at = var(3, 4);
        let targets: Arc<[u32]> = [3, 0, 2].into();
        let losses = softmax_loss(&at, Arc::clone(&targets)).unwrap().to_vec1::<f32>().unwrap();
        for ((row, target), loss) in at.to_vec2::<f32>().unwrap().iter().zip(targets.iter()).zip(losses) {
            let sum: f32 = row.iter().map(|x| x.exp()).sum();
            assert!((loss - (sum / row[*target as usize].exp()).ln()).abs() < 1e-5);
        }
        check_gradient(&at, |x| softmax_loss(x, Arc::clone(&targets)).unwrap().mean_all().unwrap());
        assert!(softmax_loss(&at, [0, 1].into()).is_err());
        assert!(softmax_loss(&at, [0, 1, 4].into()).is_err());
        let huge = Tensor::new(&[[1e4_f32, -1e4]], &Device::Cpu).unwrap();
        assert!(softmax_loss(&huge, [1].into()).unwrap().to_vec1::<f32>().unwrap()[0].is_finite());
    }
}
