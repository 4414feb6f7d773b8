//! `marquee log grow`: a topic goes on in more partitions. What it does is in `marquee_stream::GrowingLog`; this file says
//! who may do it, and tells people what comes next.

use marquee_jobs::{INTERACTIONS_IMPORT_TOPIC, INTERACTIONS_TOPIC, LIVE_TOPIC};
use marquee_stream::{Grown, PartitionLog as _};
use serde::Serialize;

use crate::cli::GrowOptions;
use crate::failure::Failure;
use crate::home::Home;
use crate::services::{CAN_GROW, open_made_log, retention_ms};
use crate::settings::{LogAdapter, Settings};
use crate::tables_output::print_json;

/// What was done.
#[derive(Debug, Serialize)]
struct Report {
    topic: String,
    /// The generation that takes records now, from 1.
    generation: usize,
    /// Its partitions are numbered from here …
    first_partition: u32,
    /// … and are so many.
    partitions: u32,
    /// Whether this call has made it.
    is_new: bool,
}

pub(crate) fn grow(
    runtime: &tokio::runtime::Runtime,
    settings: &Settings,
    options: &GrowOptions,
) -> Result<(), Failure> {
    refuse(&options.topic)?;
    let home = Home::new(&settings.home)?;
    let _lock = match settings.log.adapter {
        LogAdapter::Embedded if !home.log().is_dir() => {
            return Err(Failure::settings(format!(
                "there is no log in {}: start `marquee up` first, or point --home at another folder",
                home.root().display()
            )));
        }
        LogAdapter::Embedded => Some(home.lock()?),
        LogAdapter::Kafka => None,
    };
    let log = open_made_log(runtime.handle(), &home, settings, None)?;
    let before = log.partitions(&options.topic)?;
    let Grown { generation, partitions, is_new } =
        log.grow(&options.topic, options.partitions, retention_ms(settings))?;
    let report = Report {
        topic: options.topic.clone(),
        generation,
        first_partition: partitions.start,
        partitions: partitions.len() as u32,
        is_new,
    };
    if options.json {
        return print_json(&report);
    }
    let Report { topic, first_partition, partitions: count, .. } = &report;
    let last = first_partition + count - 1;
    if !is_new {
        println!("Nothing changed: topic {topic} takes records in {count} partitions, {first_partition} to {last}.");
        return Ok(());
    }
    println!("Topic {topic} takes records in {count} partitions now, {first_partition} to {last}.");
    println!("Partitions 0 to {} take no more and are read to their ends.", before - 1);
    match settings.log.adapter {
        LogAdapter::Embedded => println!("Start `marquee up` again."),
        LogAdapter::Kafka => println!("Start every `marquee jobs` again, one after the other."),
    }
    Ok(())
}

/// What cannot grow, and why.
fn refuse(topic: &str) -> Result<(), Failure> {
    let why = match topic {
        topic if CAN_GROW.contains(&topic) => return Ok(()),
        INTERACTIONS_TOPIC | INTERACTIONS_IMPORT_TOPIC => {
            "what its job knows of titles and of titles watched together is of all profiles of a partition and cannot be \
             split; choose log.partitions before the first start"
        }
        LIVE_TOPIC => "it has one partition, which every reader follows",
        _ => "there is no such topic",
    };
    Err(Failure::bad_input(format!("topic `{topic}` cannot grow: {why}. {} can", CAN_GROW.join(" and "))))
}
