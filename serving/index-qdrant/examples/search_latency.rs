//! How long a filtered search takes: `cargo run --profile demo -p marquee-index-qdrant --example search_latency -- \
//! [TITLES] [DIMENSIONS]`. One thread, closed loop: it measures the kernel, not a service under load.

use std::collections::BTreeSet;
use std::time::Instant;

use marquee_catalogue::{Maturity, Regions};
use marquee_index_qdrant::{IndexPoint, QdrantIndex, build};
use marquee_retrieval::{VectorFilter, VectorIndex as _};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

const COUNTRIES: [&str; 4] = ["DE", "FR", "GB", "US"];
const SEARCHES: usize = 2_000;
const LIMIT: usize = 200;
const WITHOUT: usize = 200;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse());
    let (titles, dimensions) = (number(10_000)?, number(64)?);
    let mut random = SmallRng::seed_from_u64(1);
    let mut vector =
        |dimensions: usize| -> Vec<f32> { (0..dimensions).map(|_| random.random_range(-1.0_f32..1.0)).collect() };
    let points = (0..titles).map(|i| IndexPoint {
        title_id: format!("t-{i:06}"),
        vector: vector(dimensions),
        maturity: Maturity::ALL[i % Maturity::ALL.len()],
        // One title in five is licensed in two countries only.
        regions: if i % 5 == 0 {
            let two = [COUNTRIES[i % 4], COUNTRIES[(i / 5) % 4]];
            Regions::Only(two.into_iter().map(str::to_owned).collect::<BTreeSet<_>>())
        } else {
            Regions::Everywhere
        },
    });
    let points: Vec<IndexPoint> = points.collect();
    let folder = tempfile::tempdir()?;
    let built = folder.path().join("index");
    let started = Instant::now();
    build(&built, dimensions, points)?;
    let build_ms = started.elapsed().as_millis();
    let started = Instant::now();
    let index = QdrantIndex::open(&built, &folder.path().join("working"))?;
    let open_ms = started.elapsed().as_millis();
    let mut took_us = Vec::with_capacity(SEARCHES);
    let mut found = 0;
    for i in 0..SEARCHES {
        let query = vector(dimensions);
        let without = (0..WITHOUT).map(|seen| format!("t-{:06}", (i * 31 + seen * 47) % titles)).collect();
        let country = COUNTRIES[i % COUNTRIES.len()].to_owned();
        let filter = VectorFilter { max_maturity: Maturity::ALL[i % Maturity::ALL.len()], country, without };
        let started = Instant::now();
        found += index.search(&query, &filter, LIMIT)?.len();
        took_us.push(started.elapsed().as_micros());
    }
    took_us.sort_unstable();
    let at = |share: f64| took_us[((SEARCHES - 1) as f64 * share) as usize];
    println!(
        "{titles} titles × {dimensions}, {SEARCHES} searches for {LIMIT} with maturity, region and {WITHOUT} titles left \
         out: p50 {} µs, p99 {} µs, max {} µs; {} hits each; built in {build_ms} ms, opened in {open_ms} ms",
        at(0.50),
        at(0.99),
        at(1.0),
        found / SEARCHES,
    );
    Ok(())
}
