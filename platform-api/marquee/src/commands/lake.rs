//! `marquee lake`: look into the tables. Works beside a running `marquee up`.

use std::sync::Arc;

use marquee_events::SystemClock;
use marquee_lake_delta::DeltaLake;

use crate::cli::Format;
use crate::failure::Failure;
use crate::home::Home;
use crate::services::open_lake;
use crate::settings::Settings;
use crate::tables_output::{print_json, print_rows};

pub(crate) fn tables(runtime: &tokio::runtime::Runtime, settings: &Settings, json: bool) -> Result<(), Failure> {
    let lake = open(runtime, settings)?;
    let tables = runtime.block_on(lake.tables())?;
    if json {
        return print_json(&tables);
    }
    println!("{:<18} {:<8} {:>12} {:>7} {:>10}  what it holds", "table", "layer", "rows", "files", "MB");
    for table in tables {
        let rows = table.rows.map_or_else(|| "?".to_owned(), |rows| rows.to_string());
        let megabytes = table.size_bytes as f64 / 1e6;
        println!(
            "{:<18} {:<8} {rows:>12} {:>7} {megabytes:>10.2}  {}",
            table.name, table.layer, table.files, table.doc
        );
    }
    println!();
    for view in marquee_lake::views::all() {
        println!("{:<18} view     {}", view.name, view.doc);
    }
    Ok(())
}

pub(crate) fn sql(
    runtime: &tokio::runtime::Runtime,
    settings: &Settings,
    query: &str,
    format: Format,
) -> Result<(), Failure> {
    let lake = open(runtime, settings)?;
    let (schema, rows) = runtime.block_on(lake.sql(query))?;
    print_rows(&schema, &rows, format)
}

pub(crate) fn open(runtime: &tokio::runtime::Runtime, settings: &Settings) -> Result<DeltaLake, Failure> {
    let home = Home::new(&settings.home)?;
    if let Some(bucket) = settings.lake.bucket()? {
        if !runtime.block_on(bucket.has_lake())? {
            return Err(Failure::settings(format!(
                "there is no lake in {}: start `marquee jobs` or `marquee up` with it, or set another lake.url",
                bucket.url()
            )));
        }
    } else if !home.lake().is_dir() {
        return Err(Failure::settings(format!(
            "there is no lake in {}: run `marquee demo` first, or point --home at another folder",
            home.root().display()
        )));
    }
    open_lake(runtime.handle(), &home, settings, Arc::new(SystemClock::default()))
}
