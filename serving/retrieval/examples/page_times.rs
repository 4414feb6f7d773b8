//! How long a home page takes, stage by stage, with every part in memory: what this crate itself costs.
//!
//! `cargo run --release -p marquee-retrieval --example page_times -- [titles] [pages]`

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use marquee_catalogue::{Maturity, Profile, Regions, Title};
use marquee_definitions::{Signal, SignalKind};
use marquee_retrieval::rehearsal::Rehearsal;
use marquee_retrieval::{AsOf, HomeRequest, NeighbourLists, Recommender, RequestContext, RequestId, Stage};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

const NOW_MS: i64 = 1_767_225_600_000;
const PROFILES: usize = 1_000;
const VIEWS_EACH: usize = 30;
const DIMENSIONS: usize = 64;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse().expect("a number"));
    let (titles, pages) = (arguments.next().unwrap_or(10_000), arguments.next().unwrap_or(2_000));
    let mut random = StdRng::seed_from_u64(1);
    let parts = Rehearsal::new(NOW_MS);
    fill(&parts, titles, &mut random);
    let recommender = Recommender::new(parts.parts());
    let began = Instant::now();
    recommender.refresh().await.expect("a catalogue");
    println!("{titles} titles, {PROFILES} profiles, {DIMENSIONS} dimensions; refresh {:?}", began.elapsed());

    let (mut took, mut stages) = (Vec::with_capacity(pages), BTreeMap::<(Stage, &str), Duration>::new());
    for number in 0..pages {
        let began = Instant::now();
        let context = RequestContext {
            request_id: RequestId(number as u128),
            profile_id: format!("p-{}", number % PROFILES),
            as_of: AsOf::Data,
            deadline: began + Duration::from_secs(10),
        };
        let page = recommender.home(&HomeRequest { context, max_rows: 8, max_items: 20 }).await.expect("a page");
        took.push(began.elapsed());
        assert!(page.served.degraded.is_empty() && page.rows.len() >= 5, "{:?}", page.served);
        for run in page.trace.stages {
            *stages.entry((run.stage, run.name)).or_default() += run.took;
        }
    }
    took.sort_unstable();
    let at = |share: usize| took[(took.len() - 1) * share / 100];
    println!("{pages} pages, one at a time: p50 {:?}, p99 {:?}", at(50), at(99));
    for ((stage, name), total) in stages {
        println!("{stage:>10?} {name:<24} {:>8.1} µs a page", total.as_secs_f64() * 1e6 / pages as f64);
    }
}

fn fill(parts: &Rehearsal, titles: usize, random: &mut StdRng) {
    let id = |number: usize| format!("t-{number}");
    let genre = |number: usize| format!("Genre {}", number % 18);
    let title = |number: usize| Title {
        title_id: id(number),
        name: format!("Title {number}"),
        year: Some(2000),
        genres: vec![genre(number), genre(number / 18)],
        tags: Vec::new(),
        maturity: Maturity::ALL[number % 5],
        regions: Regions::Everywhere,
        duration_ms: None,
        added_at_ms: NOW_MS - number as i64,
    };
    parts.catalogue.replace_titles((0..titles).map(title).collect());
    for number in 0..PROFILES {
        let profile_id = format!("p-{number}");
        let display_name = profile_id.clone();
        let (max_maturity, country) = (Maturity::Age16, "DE".to_owned());
        parts.catalogue.put_profile(Profile { profile_id: profile_id.clone(), display_name, max_maturity, country });
        for view in 0..VIEWS_EACH {
            let watched = (titles as f64 * random.random::<f64>().powi(3)) as usize;
            let fraction = if view % 5 == 0 { 0.5 } else { 1.0 };
            let at_ms = NOW_MS - ((VIEWS_EACH - view) * 3_600_000) as i64;
            for kind in [SignalKind::ViewStarted, SignalKind::ViewFinished { watched_fraction: fraction }] {
                parts.online.signal(&Signal {
                    profile_id: &profile_id,
                    title_id: &id(watched),
                    genres: &[genre(watched)],
                    kind,
                    event_time_ms: at_ms,
                    available_ms: at_ms,
                });
            }
        }
    }
    let vector = |random: &mut StdRng| (0..DIMENSIONS).map(|_| random.random_range(-1.0..1.0)).collect();
    let vectors: HashMap<String, Vec<f32>> = (0..titles).map(|number| (id(number), vector(random))).collect();
    let mut list = || (0..100).map(|rank| (id(random.random_range(0..titles)), 1.0 / (1.0 + rank as f32))).collect();
    let lists = (0..titles).map(|number| (id(number), list())).collect();
    parts.put_model("m-1", vectors, NeighbourLists { lists, decay: 0.85, window: 30 }, Vec::new());
}
