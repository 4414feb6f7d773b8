//! The registry without models: entries hold plain files here.

use std::collections::BTreeMap;

use super::*;
use crate::entry::{Lineage, Recipe};
use crate::gate::{Against, Comparison, Measured};
use crate::{Action, Demand};

fn parts(model: &str, against: Option<Against>) -> EntryParts {
    EntryParts {
        model: model.to_owned(),
        recipe: Recipe { parameters: serde_json::json!({"decay": 0.9}), seed: 7, code_version: "test".to_owned() },
        lineage: Lineage {
            tables: BTreeMap::from([("interactions".to_owned(), 3)]),
            catalogue_version: 1,
            events: 10,
            profiles: 2,
            titles: 5,
            trained_through_ms: 1_000,
        },
        reports: Vec::new(),
        against,
    }
}

/// Adds an entry of two files, compared with a version by gains that differ by `difference` everywhere.
fn add(registry: &Registry, model: &str, against: Option<(&str, f64)>) -> String {
    let against = against.map(|(version, difference)| Against {
        version: version.to_owned(),
        measured: Measured::Recipe,
        comparison: Comparison::of(&[0.5 + difference; 50], &[0.5; 50]),
    });
    let write = |folder: &Path| {
        fs::create_dir(folder.join("index")).unwrap();
        fs::write(folder.join("index/vectors"), "vectors").unwrap();
        fs::write(folder.join("popular.json"), "[]").unwrap();
        Ok(())
    };
    registry.add(parts(model, against), 5_000, write).unwrap().version
}

fn registry() -> (tempfile::TempDir, Registry) {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::open(&folder.path().join("models")).unwrap();
    (folder, registry)
}

#[test]
fn entries_come_back_as_they_were_added_in_order() {
    let (_folder, registry) = registry();
    assert_eq!(registry.list().unwrap(), []);
    let versions = [add(&registry, "two-tower", None), add(&registry, "linear-transition", None)];
    assert_eq!(versions, ["two-tower-0001", "linear-transition-0002"]);
    let entries = registry.list().unwrap();
    assert_eq!(entries.iter().map(|entry| entry.version.as_str()).collect::<Vec<_>>(), versions);
    let entry = &entries[0];
    assert_eq!(*entry, registry.entry("two-tower-0001").unwrap());
    assert_eq!((entry.created_at_ms, entry.recipe.seed, entry.lineage.tables["interactions"]), (5_000, 7, 3));
    assert_eq!(entry.files.keys().collect::<Vec<_>>(), ["index/vectors", "popular.json"]);
    assert_eq!(registry.current_version().unwrap(), None);
}

#[test]
fn an_entry_that_fails_or_is_cut_short_is_not_there() {
    let (_folder, registry) = registry();
    let failed = registry.add(parts("two-tower", None), 0, |folder| {
        fs::write(folder.join("half"), "half").unwrap();
        Err(TrainerError::TooLittle("test".to_owned()))
    });
    assert!(failed.is_err());
    assert_eq!(registry.list().unwrap(), []);
    // What was left behind is not in the next one.
    add(&registry, "two-tower", None);
    assert!(!registry.list().unwrap()[0].files.contains_key("half"));
}

#[test]
fn one_writes_at_a_time() {
    let (_folder, registry) = registry();
    let lock = registry.lock().unwrap();
    let busy = registry.add(parts("two-tower", None), 0, |_| Ok(()));
    assert!(matches!(busy, Err(TrainerError::Busy { .. })), "{busy:?}");
    drop(lock);
    add(&registry, "two-tower", None);
}

#[test]
fn versions_that_are_none_are_refused() {
    let (folder, registry) = registry();
    add(&registry, "two-tower", None);
    fs::create_dir(folder.path().join("outside-0001")).unwrap();
    for version in ["", "two-tower", "two-tower-0002", "../outside-0001", "two-tower-0001/", "lock", "-1"] {
        let error = registry.entry(version).unwrap_err();
        let expected = format!("there is no model `{version}`; there are: two-tower-0001");
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn the_first_is_published_without_a_comparison_and_the_next_must_show_itself() {
    let (_folder, registry) = registry();
    let first = add(&registry, "two-tower", None);
    let published = registry.publish(&first, Demand::GoodEnough, 1).unwrap();
    assert_eq!((published.replaced, published.comparison), (None, None));
    assert_eq!(registry.current_version().unwrap(), Some(first.clone()));

    let unknown = add(&registry, "two-tower", None);
    let error = registry.publish(&unknown, Demand::GoodEnough, 2).unwrap_err();
    assert!(matches!(error, TrainerError::NotCompared { .. }), "{error}");

    let worse = add(&registry, "two-tower", Some((&first, -0.1)));
    let error = registry.publish(&worse, Demand::GoodEnough, 3).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`two-tower-0003` is not good enough to replace `two-tower-0001`: NDCG@10 0.4000 against 0.5000 on 50 questions \
         of the newest split, difference at least -0.1000 (95 %); --force publishes it all the same"
    );
    assert_eq!(registry.current_version().unwrap(), Some(first.clone()), "nothing changed");

    let same_refresh = add(&registry, "two-tower", Some((&first, 0.0)));
    let same_other = add(&registry, "linear-transition", Some((&first, 0.0)));
    let error = registry.publish(&same_other, Demand::GoodEnough, 4).unwrap_err();
    assert!(matches!(error, TrainerError::NotGoodEnough { .. }), "a new family must be superior: {error}");
    let published = registry.publish(&same_refresh, Demand::GoodEnough, 5).unwrap();
    assert_eq!(published.replaced, Some(first.clone()));

    // Measured against what is no longer in service.
    let better = add(&registry, "linear-transition", Some((&first, 0.1)));
    let error = registry.publish(&better, Demand::GoodEnough, 6).unwrap_err();
    assert!(matches!(error, TrainerError::NotCompared { .. }), "{error}");
    registry.publish(&better, Demand::Forced, 7).unwrap();
    assert_eq!(registry.current_version().unwrap(), Some(better));
    let actions: Vec<Action> = registry.publications().unwrap().iter().map(|line| line.action).collect();
    assert_eq!(actions, [Action::Publish, Action::Publish, Action::Force]);
}

#[test]
fn rollback_goes_back_step_by_step() {
    let (_folder, registry) = registry();
    let nothing = registry.rollback(0).unwrap_err();
    assert!(matches!(nothing, TrainerError::NothingBefore { current: None }), "{nothing}");
    let versions: Vec<String> = (0..3).map(|_| add(&registry, "two-tower", None)).collect();
    for (version, at_ms) in versions.iter().zip(1..) {
        registry.publish(version, Demand::Forced, at_ms).unwrap();
    }
    // What is in service already is no new publication, so rollback does not go to itself.
    registry.publish(&versions[2], Demand::Forced, 9).unwrap();
    assert_eq!(registry.rollback(10).unwrap(), versions[1]);
    assert_eq!(registry.rollback(11).unwrap(), versions[0]);
    assert!(matches!(registry.rollback(12), Err(TrainerError::NothingBefore { .. })));
    assert_eq!(registry.current_version().unwrap(), Some(versions[0].clone()));
    registry.publish(&versions[2], Demand::Forced, 13).unwrap();
    assert_eq!(registry.rollback(14).unwrap(), versions[0], "back to what was there before, not to what was undone");
}

#[test]
fn a_publication_cut_short_is_finished_by_the_next_writer() {
    let (_folder, registry) = registry();
    let versions: Vec<String> = (0..3).map(|_| add(&registry, "two-tower", None)).collect();
    registry.publish(&versions[0], Demand::Forced, 1).unwrap();
    registry.publish(&versions[1], Demand::Forced, 2).unwrap();
    // As if the process had been killed between the log and the pointer.
    registry.set_current(&versions[0]).unwrap();
    assert_eq!(registry.rollback(3).unwrap(), versions[0]);
    registry.set_current(&versions[2]).unwrap();
    registry.publish(&versions[0], Demand::Forced, 4).unwrap();
    assert_eq!(registry.current_version().unwrap(), Some(versions[0].clone()));
}

#[test]
fn damage_is_named_and_never_published() {
    let (_folder, registry) = registry();
    let whole = add(&registry, "two-tower", None);
    registry.publish(&whole, Demand::Forced, 1).unwrap();
    for (name, damage) in [
        ("index/vectors", Some("vectorz")),
        ("popular.json", Some("[] ")),
        ("popular.json", None),
        ("model.json", Some("{")),
        ("model.json", None),
    ] {
        let version = add(&registry, "two-tower", None);
        let path = registry.folder().join(&version).join(name);
        match damage {
            Some(text) => fs::write(&path, text).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let error = registry.publish(&version, Demand::Forced, 2).unwrap_err();
        assert!(matches!(&error, TrainerError::Damaged { path: named, .. } if *named == path), "{error}");
        assert_eq!(registry.current_version().unwrap(), Some(whole.clone()));
        fs::remove_dir_all(registry.folder().join(&version)).unwrap();
    }
    fs::write(registry.folder().join("published.log"), "{}\n").unwrap();
    let error = registry.rollback(3).unwrap_err();
    assert!(matches!(&error, TrainerError::Damaged { path, .. } if path.ends_with("published.log")), "{error}");
}
