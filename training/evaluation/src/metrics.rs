//! Ranks and what is made of them. One relevant item a case, so the ideal DCG is 1.

use serde::Serialize;

use crate::Visit;

/// Metrics look at so many items from the top.
pub const CUTOFF: usize = 10;

/// Where a target stands, and what stands at the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranked {
    /// Items above the target; 0 is the best.
    pub rank: usize,
    /// The first [`CUTOFF`] items, best first.
    pub top: Vec<u32>,
}

/// Ranks the target among all items that are not in the context; a target that was watched before stays in. Equal
/// scores rank by number.
///
/// # Errors
/// The first item whose score is not a number.
pub fn rank(scores: &[f32], context: &[Visit], target: u32) -> Result<Ranked, u32> {
    if let Some(item) = scores.iter().position(|score| score.is_nan()) {
        return Err(item as u32);
    }
    let mut seen = vec![false; scores.len()];
    for visit in context {
        seen[visit.item as usize] = true;
    }
    seen[target as usize] = false;
    let target_score = scores[target as usize];
    let mut above = 0;
    let mut top: Vec<(f32, u32)> = Vec::with_capacity(CUTOFF + 1);
    for ((item, &score), seen) in (0..).zip(scores).zip(seen) {
        if seen {
            continue;
        }
        #[expect(clippy::float_cmp, reason = "a tie is exact")]
        if score > target_score || (score == target_score && item < target) {
            above += 1;
        }
        if top.len() < CUTOFF || top.last().is_some_and(|last| score > last.0) {
            // After all that are as good: numbers come in ascending order.
            let place = top.partition_point(|better| better.0 >= score);
            top.insert(place, (score, item));
            top.truncate(CUTOFF);
        }
    }
    Ok(Ranked { rank: above, top: top.into_iter().map(|(_, item)| item).collect() })
}

/// Means over cases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Metrics {
    /// Share of the cases whose target is in the top 10.
    #[serde(rename = "hr@10")]
    pub hr_at_10: f64,
    /// Mean of 1 / log2(rank + 2), rank from 0, 0 beyond the top 10 (Järvelin and Kekäläinen, 2002).
    #[serde(rename = "ndcg@10")]
    pub ndcg_at_10: f64,
}

impl Metrics {
    /// Means over ranks, counted from 0, summed in the order given; zeros for no ranks.
    pub fn of(ranks: impl IntoIterator<Item = usize>) -> Self {
        let (mut cases, mut hits, mut gain) = (0_u64, 0_u64, 0.0);
        for rank in ranks {
            cases += 1;
            if rank < CUTOFF {
                hits += 1;
                gain += 1.0 / (rank as f64 + 2.0).log2();
            }
        }
        let cases = cases.max(1) as f64;
        Self { hr_at_10: hits as f64 / cases, ndcg_at_10: gain / cases }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visits(items: &[u32]) -> Vec<Visit> {
        items.iter().map(|&item| Visit { item, at_ms: 0 }).collect()
    }

    #[test]
    fn ranks_by_hand() {
        let scores = [0.5, 0.9, 0.5, 0.7, 0.5];
        // 1 is seen; 3 is better; 0 is as good as 2 and comes before it; 4 comes after it.
        let ranked = rank(&scores, &visits(&[1]), 2).unwrap();
        assert_eq!(ranked, Ranked { rank: 2, top: vec![3, 0, 2, 4] });
        assert_eq!(rank(&scores, &visits(&[1, 2]), 2).unwrap(), ranked, "a target seen before stays in");
        assert_eq!(rank(&[0.0, f32::NAN], &[], 0), Err(1));
    }

    #[test]
    fn the_top_is_what_sorting_says() {
        let scores: Vec<f32> = (0..100_u32).map(|i| (i * 37 % 23) as f32).collect();
        let mut sorted: Vec<u32> = (0..100).collect();
        sorted.sort_by(|a, b| scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b)));
        for (place, &item) in sorted.iter().enumerate() {
            let ranked = rank(&scores, &[], item).unwrap();
            assert_eq!((ranked.rank, ranked.top.as_slice()), (place, &sorted[..CUTOFF]));
        }
    }

    #[test]
    fn metrics_by_hand() {
        let metrics = Metrics::of([0, 2, 9, 10]);
        assert!((metrics.hr_at_10 - 0.75).abs() < 1e-12);
        let expected = (1.0 + 0.5 + 1.0 / 11_f64.log2()) / 4.0;
        assert!((metrics.ndcg_at_10 - expected).abs() < 1e-12);
        assert_eq!(Metrics::of([]), Metrics::default());
    }
}
