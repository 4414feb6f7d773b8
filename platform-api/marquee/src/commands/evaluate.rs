//! `marquee evaluate`: models compared on a file of interactions, without a lake.

use std::sync::Arc;

use marquee_catalogue::CatalogueSnapshot;
use marquee_evaluation::{Protocol, Report};
use marquee_events::SystemClock;
use marquee_trainer::TrainerError;

use crate::cli::{EvaluateOptions, EvaluationProtocol};
use crate::failure::Failure;
use crate::tables_output::print_json;
use crate::training;

pub(crate) fn run(options: &EvaluateOptions) -> Result<(), Failure> {
    let protocol = match options.protocol {
        EvaluationProtocol::LeaveOneOut => Protocol::LeaveOneOut,
        EvaluationProtocol::TimeSplit => Protocol::TimeSplit,
    };
    let names: Vec<String> = if options.models.is_empty() {
        marquee_models::all().iter().map(|model| model.name.to_owned()).collect()
    } else {
        options.models.clone()
    };
    let bar = training::progress_bar();
    let report = marquee_trainer::evaluate(
        &options.interactions,
        protocol,
        &names,
        &Arc::new(CatalogueSnapshot::default()),
        options.seed,
        &SystemClock::default(),
        &mut |model, progress| {
            bar.set_message(model.to_owned());
            training::advance(&bar, progress);
        },
    );
    bar.finish_and_clear();
    // A file that is not there is a slip of the hand, no dependency that is down.
    let report = report.map_err(|error| match error {
        TrainerError::Read { .. } => Failure::bad_input(Failure::from(error).message),
        other => other.into(),
    })?;
    if options.json {
        return print_json(&report);
    }
    print(&report);
    Ok(())
}

fn print(report: &Report) {
    println!(
        "{:?}: {} users, {} items, {} events, {} cases of which {} cold",
        report.protocol, report.users, report.items, report.events, report.cases, report.cold_cases
    );
    println!(
        "{:<20} {:>8} {:>8} {:>12} {:>8} {:>10}",
        "model", "HR@10", "NDCG@10", "coverage@10", "fit s", "fallbacks"
    );
    for result in &report.results {
        println!(
            "{:<20} {:>8.4} {:>8.4} {:>12.3} {:>8.1} {:>10}",
            result.model,
            result.all.hr_at_10,
            result.all.ndcg_at_10,
            result.coverage_at_10,
            result.fit_s,
            result.fallbacks
        );
    }
}
