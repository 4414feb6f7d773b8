//! From watches to a model in service and back, on a small world in which each title has one likely next title.

use std::collections::BTreeSet;
use std::fs;

use marquee_catalogue::{Maturity, Regions, Title};
use marquee_definitions::Watched;
use marquee_events::ManualClock;
use marquee_models::all;
use marquee_retrieval::{ServingModel, TowerInput, VectorFilter};

use super::*;
use crate::{Demand, Measured, evaluate};

const TITLES: u64 = 40;
const COLD_TITLES: u64 = 4;
const PROFILES: u64 = 60;
const DAY_MS: i64 = 86_400_000;

fn title_id(number: u64) -> String {
    format!("t-{number:02}")
}

fn catalogue() -> Arc<CatalogueSnapshot> {
    let title = |number: u64| Title {
        title_id: title_id(number),
        name: format!("Title {number}"),
        year: Some(1990 + (number % 30) as i32),
        genres: vec![format!("genre {}", number % 4)],
        tags: Vec::new(),
        maturity: if number.is_multiple_of(5) { Maturity::Age18 } else { Maturity::AllAges },
        regions: if number.is_multiple_of(7) {
            Regions::Only(BTreeSet::from(["DE".to_owned()]))
        } else {
            Regions::Everywhere
        },
        duration_ms: None,
        added_at_ms: 0,
    };
    Arc::new(CatalogueSnapshot::new(3, (0..TITLES + COLD_TITLES).map(title).collect()))
}

/// Each profile walks through the titles in steps of 3 from a place of its own, one a day, with a slip now and then.
fn watches(days: std::ops::Range<i64>) -> Vec<Watch> {
    let walk = |profile: u64| {
        days.clone().map(move |day| {
            let slip = (profile * 31 + day as u64 * 17).is_multiple_of(9);
            let number = (profile * 7 + day as u64 * 3 + u64::from(slip)) % TITLES;
            Watch {
                profile_id: format!("p-{profile:02}"),
                title_id: title_id(number),
                at_ms: day * DAY_MS + profile as i64,
                watched_fraction: Some(1.0),
            }
        })
    };
    (0..PROFILES).flat_map(walk).collect()
}

fn request(model: &str, watches: Vec<Watch>) -> TrainRequest {
    TrainRequest {
        model: model.to_owned(),
        seed: 11,
        watches,
        catalogue: catalogue(),
        tables: BTreeMap::from([("interactions".to_owned(), 5), ("profile_features".to_owned(), 4)]),
        code_version: "test".to_owned(),
    }
}

fn trained(registry: &Registry, request: &TrainRequest) -> Entry {
    train(registry, request, &ManualClock::new(77), &mut |_| ()).unwrap()
}

fn registry() -> (tempfile::TempDir, Registry) {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::open(&folder.path().join("models")).unwrap();
    (folder, registry)
}

/// The ten best titles for somebody who has just watched `title`.
fn top(model: &ServingModel, title: u64, max_maturity: Maturity, country: &str) -> Vec<String> {
    let history = [Watched { title_id: title_id(title), at_ms: 0, watched_fraction: 1.0 }];
    let viewer = model.tower.embed(&TowerInput { history: &history, at_ms: DAY_MS }).unwrap();
    let filter = VectorFilter { max_maturity, country: country.to_owned(), without: vec![title_id(title)] };
    model.index.search(&viewer, &filter, 10).unwrap().into_iter().map(|hit| hit.title_id).collect()
}

#[test]
fn an_embedding_model_goes_into_service_with_its_index() {
    let (_folder, registry) = registry();
    let mut steps = Vec::new();
    let entry = train(&registry, &request(TwoTower::NAME, watches(0..12)), &ManualClock::new(77), &mut |step| {
        steps.push(match step {
            Step::Measuring { protocol, model, .. } => format!("{} {model}", protocol.name()),
            Step::Fitting { progress } => format!("fitting {}", progress.is_some()),
            Step::Writing => "writing".to_owned(),
        });
    })
    .unwrap();
    steps.dedup();
    assert_eq!(steps, ["leave-one-out two-tower", "time-split two-tower", "fitting false", "fitting true", "writing"]);
    assert_eq!((entry.version.as_str(), entry.created_at_ms), ("two-tower-0001", 77));
    let lineage = &entry.lineage;
    assert_eq!((lineage.events, lineage.profiles, lineage.titles), (720, 60, 40));
    assert_eq!((lineage.trained_through_ms, lineage.catalogue_version), (11 * DAY_MS + 59, 3));
    assert_eq!(entry.reports.len(), 2);
    for report in &entry.reports {
        let names: Vec<&str> =
            report["results"].as_array().unwrap().iter().map(|result| result["model"].as_str().unwrap()).collect();
        assert_eq!(names, all().map(|model| model.name));
    }

    registry.publish(&entry.version, Demand::GoodEnough, 1).unwrap();
    let model = registry.load(&registry.current_version().unwrap().unwrap()).unwrap();
    assert_eq!((model.version.as_str(), model.trained_through_ms), ("two-tower-0001", 11 * DAY_MS + 59));
    assert_eq!(model.index.count().unwrap(), (TITLES + COLD_TITLES) as usize, "cold titles have vectors, too");
    let adult = top(&model, 8, Maturity::Age18, "DE");
    assert!(adult[..3].contains(&title_id(11)), "what follows is near the top: {adult:?}");
    let children = top(&model, 8, Maturity::AllAges, "");
    for title in children {
        let number: u64 = title[2..].parse().unwrap();
        assert!(!number.is_multiple_of(5) && !number.is_multiple_of(7), "{title} may not be shown");
    }
    let next = &model.neighbours.lists[&title_id(8)];
    assert_eq!(next[0].0, title_id(11));
    assert_eq!(model.popular.len(), TITLES as usize);
    // What is loaded lives on without the registry's files.
    fs::remove_dir_all(registry.folder().join("two-tower-0001")).unwrap();
    assert_eq!(top(&model, 8, Maturity::Age18, "DE"), adult);
}

#[test]
fn a_family_without_vectors_serves_through_its_lists() {
    let (_folder, registry) = registry();
    for (number, family) in all().into_iter().map(|model| model.name).filter(|name| *name != TwoTower::NAME).enumerate()
    {
        let entry = trained(&registry, &request(family, watches(0..6)));
        assert_eq!(entry.version, format!("{family}-{:04}", number + 1));
        let model = registry.load(&entry.version).unwrap();
        assert_eq!(model.index.count().unwrap(), 0);
        let history = [Watched { title_id: title_id(1), at_ms: 0, watched_fraction: 1.0 }];
        assert_eq!(model.tower.embed(&TowerInput { history: &history, at_ms: 0 }), None);
        assert_eq!(model.neighbours.lists[&title_id(1)][0].0, title_id(4));
        assert!(!model.popular.is_empty());
    }
}

#[test]
fn the_same_request_gives_the_same_model() {
    let (_folder, registry) = registry();
    let request = request(TwoTower::NAME, watches(0..8));
    let entries = [trained(&registry, &request), trained(&registry, &request)];
    let files = |entry: &Entry| {
        let is_engine = |name: &str| name.starts_with("index/engine/") || name == "index/files.json";
        let files = entry.files.clone().into_iter().filter(|(name, _)| !is_engine(name));
        files.collect::<BTreeMap<_, _>>()
    };
    // The engine names its segments at random; `index/index.json` has the digest of what is in them.
    assert_eq!(files(&entries[0]), files(&entries[1]));
    assert!(files(&entries[0]).contains_key("index/index.json"));
    assert_eq!(entries[0].reports, entries[1].reports);
}

#[test]
fn a_refresh_is_measured_beside_what_is_in_service() {
    let (_folder, registry) = registry();
    let first = trained(&registry, &request(LinearTransition::NAME, watches(0..8)));
    assert_eq!(first.against, None);
    registry.publish(&first.version, Demand::GoodEnough, 1).unwrap();

    // Nothing has happened since: the same recipe on the same data cannot be worse.
    let same = trained(&registry, &request(LinearTransition::NAME, watches(0..8)));
    let against = same.against.as_ref().unwrap();
    assert_eq!((against.version.as_str(), against.measured), (first.version.as_str(), Measured::Recipe));
    assert!((against.comparison.candidate - against.comparison.live).abs() < 1e-12);
    assert!(against.comparison.live > 0.2, "the walk is learnt: {}", against.comparison);
    registry.publish(&same.version, Demand::GoodEnough, 2).unwrap();

    // A popularity list knows nothing of the walk: refused with the numbers.
    let popular = trained(&registry, &request(popular_all_time::NAME, watches(0..8)));
    let error = registry.publish(&popular.version, Demand::GoodEnough, 3).unwrap_err();
    assert!(matches!(error, TrainerError::NotGoodEnough { .. }), "{error}");

    // More has happened: what is in service answers for itself, on what it was not trained on.
    let refresh = trained(&registry, &request(LinearTransition::NAME, watches(0..12)));
    let against = refresh.against.as_ref().unwrap();
    assert_eq!(against.measured, Measured::Artefact);
    assert_eq!(against.comparison.cases, PROFILES as usize);
    assert!(against.comparison.live > 0.2, "what is in service knows the walk: {}", against.comparison);
    registry.publish(&refresh.version, Demand::GoodEnough, 4).unwrap();
    assert_eq!(registry.rollback(5).unwrap(), same.version);
}

#[test]
fn an_embedding_model_in_service_answers_for_itself() {
    let (_folder, registry) = registry();
    let first = trained(&registry, &request(TwoTower::NAME, watches(0..10)));
    registry.publish(&first.version, Demand::GoodEnough, 1).unwrap();
    let other = trained(&registry, &request(popular_all_time::NAME, watches(0..12)));
    let against = other.against.unwrap();
    assert_eq!(against.measured, Measured::Artefact);
    let comparison = against.comparison;
    assert!(comparison.live > comparison.candidate, "the vectors know the walk, popularity does not: {comparison}");
}

#[test]
fn a_damaged_part_is_named() {
    let (_folder, registry) = registry();
    let entry = trained(&registry, &request(TwoTower::NAME, watches(0..6)));
    for name in entry.files.keys() {
        let path = registry.folder().join(&entry.version).join(name);
        let bytes = fs::read(&path).unwrap();
        let mut damaged = bytes.clone();
        match damaged.first_mut() {
            Some(byte) => *byte ^= 1,
            None => damaged.push(1),
        }
        fs::write(&path, damaged).unwrap();
        let error = registry.load(&entry.version).err().expect("it is damaged");
        assert!(matches!(&error, TrainerError::Damaged { path: named, .. } if *named == path), "{name}: {error}");
        let without_index = registry.load_without_index(&entry.version);
        assert_eq!(without_index.is_ok(), name.starts_with("index/"), "{name}");
        fs::write(&path, bytes).unwrap();
    }
    registry.load(&entry.version).unwrap();
}

#[test]
fn what_cannot_be_trained_is_said() {
    let (_folder, registry) = registry();
    let refused = |model: &str, watches| {
        train(&registry, &request(model, watches), &ManualClock::new(0), &mut |_| ()).unwrap_err().to_string()
    };
    assert!(refused("three-tower", watches(0..2)).contains("there is no model `three-tower`"));
    assert!(refused(TwoTower::NAME, Vec::new()).contains("nobody has watched anything"));
    assert_eq!(registry.list().unwrap(), []);
    // Nothing to test on is no reason not to serve.
    let entry = trained(&registry, &request(popular_all_time::NAME, watches(0..1)));
    assert!(entry.reports.iter().all(|report| report["nothing_to_test"].is_string()), "{:?}", entry.reports);
}

#[test]
fn a_file_is_evaluated_and_the_report_has_the_names_that_scripts_read() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, movielens) = (folder.path().join("ours.csv"), folder.path().join("ratings.csv"));
    let rows = watches(0..12);
    let lines = |line: &dyn Fn(&Watch) -> String| rows.iter().map(line).collect::<String>();
    let body = lines(&|watch| format!("{},{},{}\n", watch.profile_id, watch.title_id, watch.at_ms));
    fs::write(&ours, format!("profile_id,title_id,timestamp_ms\n{body}")).unwrap();
    // MovieLens counts seconds.
    let body =
        lines(&|watch| format!("{},{},4.5,{}\n", &watch.profile_id[2..], &watch.title_id[2..], watch.at_ms / 1000));
    fs::write(&movielens, format!("userId,movieId,rating,timestamp\n{body}")).unwrap();
    let names = ["popular-all-time".to_owned(), "linear-transition".to_owned()];
    let report = |path: &std::path::Path, protocol| {
        let catalogue = Arc::new(CatalogueSnapshot::default());
        let clock = ManualClock::new(0);
        let report = evaluate(path, protocol, &names, &catalogue, 1, &clock, &mut |_, _| ()).unwrap();
        serde_json::to_value(report).unwrap()
    };
    let ours_report = report(&ours, Protocol::LeaveOneOut);
    assert_eq!(ours_report, report(&movielens, Protocol::LeaveOneOut));
    assert_eq!(ours_report["protocol"], "leave-one-out");
    assert_eq!(
        (&ours_report["users"], &ours_report["items"], &ours_report["events"]),
        (&json!(60), &json!(40), &json!(720))
    );
    let ndcg = |report: &serde_json::Value, place: usize| report["results"][place]["ndcg@10"].as_f64().unwrap();
    assert!(ndcg(&ours_report, 1) > 2.0 * ndcg(&ours_report, 0), "{ours_report}");
    let split = report(&ours, Protocol::TimeSplit);
    for key in ["model", "hr@10", "ndcg@10", "coverage@10", "fit_s"] {
        assert!(split["results"][0].get(key).is_some(), "{key} is missing in {split}");
    }
    let unknown = ["popular".to_owned()];
    let catalogue = Arc::new(CatalogueSnapshot::default());
    let error = evaluate(&ours, Protocol::TimeSplit, &unknown, &catalogue, 1, &ManualClock::new(0), &mut |_, _| ())
        .unwrap_err();
    assert!(matches!(error, TrainerError::Model(ModelError::Unknown { .. })), "{error}");
}
