//! What holds for every model: it is listed, it is a function of its training and seed, it does not see what it must
//! not.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use marquee_catalogue::CatalogueSnapshot;
use marquee_evaluation::{Interactions, Protocol, Recommender, Training};
use marquee_models::{Ingredients, all, by_name};

/// Forty viewers who go round in circles of five titles, each a little differently.
fn rows() -> Vec<(String, String, i64)> {
    (0..40_i64)
        .flat_map(|user| {
            let circle = user % 4;
            (0..20).map(move |k| {
                let title = circle * 5 + (k * (1 + user % 2) + k * k % 3) % 5;
                (format!("u{user}"), format!("t{title}"), k * 86_400_000 + user)
            })
        })
        .collect()
}

fn interactions(rows: &[(String, String, i64)]) -> Interactions {
    Interactions::from_rows(rows.iter().map(|(user, title, time)| (user.as_str(), title.as_str(), *time)))
}

fn scores(model: &mut dyn Recommender, training: &Training) -> Vec<Vec<f32>> {
    model.fit(training, &mut |_| ()).expect("it can be fitted");
    let mut all = Vec::new();
    for history in training.histories.iter().filter(|history| !history.is_empty()) {
        let mut scores = vec![0.0; training.items.len()];
        assert!(model.score(history, 0, &mut scores), "{} knows every history", model.name());
        all.push(scores);
    }
    all
}

#[test]
fn every_model_file_is_listed() {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
    let files = std::fs::read_dir(Path::new(&here).join("src/model")).unwrap();
    let files: BTreeSet<String> =
        files.map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().replace('_', "-")).collect();
    assert_eq!(files, all().map(|model| model.name.to_owned()).into());
    let with = Ingredients::default();
    for model in all() {
        assert_eq!((model.build)(&with).name(), model.name);
    }
    let unknown = by_name("two-towers").unwrap_err().to_string();
    assert!(unknown.starts_with("there is no model `two-towers`; there are: popular-all-time, "), "{unknown}");
}

#[test]
fn the_same_training_gives_the_same_model_again() {
    let training = Training::whole(&interactions(&rows()));
    let with = Ingredients { catalogue: Arc::new(CatalogueSnapshot::default()), seed: 7 };
    for model in all() {
        let mut first = (model.build)(&with);
        let expected = scores(first.as_mut(), &training);
        assert_eq!(scores(first.as_mut(), &training), expected, "{} fitted again", model.name);
        assert_eq!(scores((model.build)(&with).as_mut(), &training), expected, "{} built again", model.name);
    }
}

/// Futures that are planted after the split instant, by anybody, anywhere in the file, change no score of any model.
#[test]
fn planted_futures_change_no_model() {
    let known = rows();
    let split_ms = 15 * 86_400_000;
    let mut all_rows = Vec::new();
    for (k, row) in known.iter().enumerate() {
        all_rows.push(row.clone());
        all_rows.push((row.0.clone(), format!("t{}", k % 20), split_ms + 30 * 86_400_000 + k as i64));
    }
    // Named first, so that items have the same numbers in both.
    let named: Vec<_> = (0..20).map(|title| ("first".to_owned(), format!("t{title}"), -1)).collect();
    let before = interactions(&[named.clone(), known].concat());
    let after = interactions(&[named, all_rows].concat());
    let split = |interactions: &Interactions| marquee_evaluation::Split::at(interactions, split_ms);
    let (before, after) = (split(&before), split(&after));
    assert_eq!(before.cases, after.cases, "the same questions");
    let with = Ingredients::default();
    for model in all() {
        let before = scores((model.build)(&with).as_mut(), &before.training);
        assert_eq!(scores((model.build)(&with).as_mut(), &after.training), before, "{}", model.name);
    }
}

/// A model that can learn the circles ranks better than popularity, for which all titles are alike.
#[test]
fn models_of_sequences_learn_the_circles() {
    let interactions = interactions(&rows());
    let evaluation = marquee_evaluation::Evaluation { protocol: Protocol::LeaveOneOut, min_events_per_item: 1 };
    let with = Ingredients { seed: 1, ..Ingredients::default() };
    let mut models = all().map(|model| (model.build)(&with));
    let clock = marquee_events::ManualClock::new(0);
    let report = evaluation.run(&interactions, &mut models, &clock, &mut |_, _| ()).unwrap();
    let ndcg = |name: &str| report.results.iter().find(|result| result.model == name).unwrap().all.ndcg_at_10;
    for name in ["linear-transition", "two-tower"] {
        assert!(ndcg(name) > ndcg("popular-all-time") + 0.1, "{name}: {report:#?}");
    }
}
