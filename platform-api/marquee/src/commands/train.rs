//! `marquee train`, `models`, `publish`, `rollback`: from the lake to a model in service.

use std::sync::Arc;

use marquee_events::{Clock as _, SystemClock};
use marquee_store::SqliteCatalogue;
use marquee_trainer::{Entry, Registry};
use serde::Serialize;

use crate::cli::TrainOptions;
use crate::failure::Failure;
use crate::home::Home;
use crate::services::open_lake;
use crate::settings::Settings;
use crate::tables_output::print_json;
use crate::training::{self, Wanted};

/// Why models need a lake on the local disk.
pub(crate) const READS_FILES: &str = "training reads the lake's files from the local disk";

pub(crate) fn train(
    runtime: &tokio::runtime::Runtime,
    settings: &Settings,
    options: &TrainOptions,
) -> Result<(), Failure> {
    let home = existing(settings)?;
    let clock = Arc::new(SystemClock::default());
    let lake = open_lake(runtime.handle(), &home, settings, clock.clone())?;
    let catalogue = runtime.block_on(SqliteCatalogue::open(&home.catalogue()))?;
    let wanted = Wanted { model: options.model.clone(), seed: options.seed };
    let bar = training::progress_bar();
    let trained = training::train_on_lake(runtime.handle(), &home, &lake, &catalogue, &wanted, clock.as_ref(), &bar);
    bar.finish_and_clear();
    let entry = trained?;
    if options.json {
        print_json(&entry)?;
    } else {
        println!("{} is in the registry.", entry.version);
        print_reports(&entry);
        if !options.publish {
            println!("Put it in service: marquee publish {}", entry.version);
        }
    }
    if options.publish {
        publish(settings, &entry.version, false)?;
    }
    Ok(())
}

#[derive(Serialize)]
struct Listed {
    in_service: bool,
    #[serde(flatten)]
    entry: Entry,
}

pub(crate) fn models(settings: &Settings, json: bool) -> Result<(), Failure> {
    let registry = Registry::open(&existing(settings)?.models())?;
    let current = registry.current_version()?;
    let entries = registry.list()?;
    if json {
        let listed =
            entries.into_iter().map(|entry| Listed { in_service: current.as_ref() == Some(&entry.version), entry });
        return print_json(&listed.collect::<Vec<_>>());
    }
    if entries.is_empty() {
        println!("No model yet. Train one: marquee train --publish");
    }
    for entry in &entries {
        let mark = if current.as_ref() == Some(&entry.version) { "in service" } else { "" };
        println!(
            "{:<22} {:>9} events {:>6} profiles {:>6} titles  {mark}",
            entry.version, entry.lineage.events, entry.lineage.profiles, entry.lineage.titles
        );
        print_reports(entry);
    }
    Ok(())
}

pub(crate) fn publish(settings: &Settings, version: &str, force: bool) -> Result<(), Failure> {
    let published = training::publish(&existing(settings)?, version, force, SystemClock::default().now_ms())?;
    match published.replaced {
        Some(replaced) if replaced == version => eprintln!("{version} is in service already."),
        Some(replaced) => eprintln!("{version} is in service; it replaces {replaced}."),
        None => eprintln!("{version} is in service."),
    }
    Ok(())
}

pub(crate) fn rollback(settings: &Settings) -> Result<(), Failure> {
    let registry = Registry::open(&existing(settings)?.models())?;
    let version = registry.rollback(SystemClock::default().now_ms())?;
    eprintln!("{version} is in service again.");
    Ok(())
}

fn existing(settings: &Settings) -> Result<Home, Failure> {
    settings.lake.must_be_local("train", READS_FILES)?;
    let home = Home::new(&settings.home)?;
    if !home.lake().is_dir() {
        return Err(Failure::settings(format!(
            "there is no lake in {}: run `marquee demo` or an import first, or point --home at another folder",
            home.root().display()
        )));
    }
    Ok(home)
}

fn print_reports(entry: &Entry) {
    for report in &entry.reports {
        println!("  {} ({} cases)", report["protocol"].as_str().unwrap_or("?"), report["cases"]);
        for result in report["results"].as_array().into_iter().flatten() {
            let figure = |name: &str| result[name].as_f64().unwrap_or(f64::NAN);
            println!(
                "    {:<20} NDCG@10 {:.4}   HR@10 {:.4}   coverage@10 {:.3}",
                result["model"].as_str().unwrap_or("?"),
                figure("ndcg@10"),
                figure("hr@10"),
                figure("coverage@10")
            );
        }
    }
}
