//! Measures the `SQLite` catalogue with 10,000 titles and 100,000 profiles:
//! `cargo run -p marquee-store --example load`.

use std::hint::black_box;
use std::time::Instant;

use marquee_catalogue::{Catalogue, CatalogueError, Maturity, Profile, Regions, Title};
use marquee_store::SqliteCatalogue;

const TITLES: u32 = 10_000;
const PROFILES: u32 = 100_000;

/// Profiles in one call, as an importer does it.
const PROFILES_PER_CALL: u32 = 10_000;

const READS: u32 = 20_000;

#[tokio::main]
async fn main() -> Result<(), CatalogueError> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("catalogue.sqlite");
    let catalogue = SqliteCatalogue::open(&path).await?;

    let start = Instant::now();
    catalogue.put_titles((0..TITLES).map(title).collect()).await?;
    println!("{TITLES} titles written in {:?}", start.elapsed());

    let start = Instant::now();
    for first in (0..PROFILES).step_by(PROFILES_PER_CALL as usize) {
        catalogue.put_profiles((first..first + PROFILES_PER_CALL).map(profile).collect()).await?;
    }
    println!("{PROFILES} profiles written in {:?}", start.elapsed());

    let start = Instant::now();
    black_box(catalogue.snapshot().await?);
    println!("snapshot read in {:?}", start.elapsed());

    let mut reads_us = Vec::new();
    for read in 0..READS {
        // A stride that is coprime to the number of profiles visits them in no order.
        let id = profile(read.wrapping_mul(7919) % PROFILES).profile_id;
        let start = Instant::now();
        black_box(catalogue.profile(&id).await?);
        reads_us.push(start.elapsed().as_micros());
    }
    reads_us.sort_unstable();
    let at = |share: usize| reads_us[reads_us.len() * share / 1000];
    println!("{READS} profiles read, µs: p50 {}, p99 {}, p99.9 {}", at(500), at(990), at(999));

    let start = Instant::now();
    let found = catalogue.profiles("VIEWER 99999", "", 20).await?.len();
    println!("search through all profiles in {:?}, {found} found", start.elapsed());

    drop(catalogue);
    let start = Instant::now();
    SqliteCatalogue::open(&path).await?;
    println!("opened and checked in {:?}", start.elapsed());
    let size_bytes = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
    println!("file: {} MB", size_bytes / 1_000_000);
    Ok(())
}

fn title(number: u32) -> Title {
    Title {
        title_id: format!("title-{number}"),
        name: format!("A title with a usual name, number {number}"),
        year: Some(1990 + (number % 30) as i32),
        genres: ["Drama", "Comedy", "Thriller"].map(str::to_owned).to_vec(),
        tags: (0..20).map(|tag| format!("a usual tag {}", number + tag)).collect(),
        maturity: Maturity::Age16,
        regions: Regions::Only((0..20_u8).map(|n| format!("D{}", char::from(b'A' + n))).collect()),
        duration_ms: Some(6_000_000),
        added_at_ms: i64::from(number),
    }
}

fn profile(number: u32) -> Profile {
    Profile {
        profile_id: format!("profile-{number}"),
        display_name: format!("Viewer {number}"),
        max_maturity: Maturity::Age18,
        country: "DE".to_owned(),
    }
}
