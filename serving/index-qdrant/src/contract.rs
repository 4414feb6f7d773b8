//! The contract of `VectorIndex`, checked against a plain computation over the same points. Generic over the adapter:
//! one for a Qdrant server runs the same suite. Vectors are small whole numbers, so inner products are exact in any
//! order of summing and ties are true ties.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use marquee_catalogue::{Maturity, Regions, Viewer};
use marquee_retrieval::{Hit, IndexError, VectorFilter, VectorIndex};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{BuildError, IndexPoint, QdrantIndex, build};

const DIMENSIONS: usize = 4;

/// Makes an index of points; the folder lives as long as the test.
type Open = dyn Fn(&Path, Vec<IndexPoint>) -> Box<dyn VectorIndex>;

fn qdrant(folder: &Path, points: Vec<IndexPoint>) -> Box<dyn VectorIndex> {
    let built = folder.join("index");
    build(&built, DIMENSIONS, points).unwrap();
    Box::new(QdrantIndex::open(&built, &folder.join("working")).unwrap())
}

const ADAPTERS: [&Open; 1] = [&qdrant];

fn point(title_id: &str, vector: [i8; DIMENSIONS], maturity: Maturity, countries: Option<&[&str]>) -> IndexPoint {
    let regions = countries.map_or(Regions::Everywhere, |countries| {
        Regions::Only(countries.iter().map(|country| (*country).to_owned()).collect())
    });
    let vector = vector.into_iter().map(f32::from).collect();
    IndexPoint { title_id: title_id.to_owned(), vector, maturity, regions }
}

fn filter(max_maturity: Maturity, country: &str, without: &[&str]) -> VectorFilter {
    let without = without.iter().map(|title| (*title).to_owned()).collect();
    VectorFilter { max_maturity, country: country.to_owned(), without }
}

fn plain_search(points: &[IndexPoint], query: &[f32], filter: &VectorFilter, limit: usize) -> Vec<Hit> {
    let allowed = points.iter().filter(|point| {
        point.maturity <= filter.max_maturity
            && point.regions.allow(&filter.country)
            && !filter.without.contains(&point.title_id)
    });
    let score = |point: &IndexPoint| point.vector.iter().zip(query).map(|(a, b)| a * b).sum::<f32>() + 0.0;
    let mut hits: Vec<Hit> =
        allowed.map(|point| Hit { title_id: point.title_id.clone(), score: score(point) }).collect();
    hits.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.title_id.cmp(&b.title_id)));
    hits.truncate(limit);
    hits
}

fn maturities() -> impl Strategy<Value = Maturity> {
    proptest::sample::select(Maturity::ALL.to_vec())
}

fn regions() -> impl Strategy<Value = Regions> {
    let countries = proptest::collection::btree_set(proptest::sample::select(vec!["DE", "FR", "US"]), 0..=3);
    let only = countries.prop_map(|set| Regions::Only(set.into_iter().map(str::to_owned).collect::<BTreeSet<_>>()));
    prop_oneof![Just(Regions::Everywhere), only]
}

fn vectors() -> impl Strategy<Value = Vec<f32>> {
    // Three values in four dimensions: many equal scores.
    vec((-1_i8..=1).prop_map(f32::from), DIMENSIONS)
}

fn points() -> impl Strategy<Value = Vec<IndexPoint>> {
    vec((vectors(), maturities(), regions()), 0..60).prop_map(|points| {
        // The ids' order as text is another one than that of arrival.
        let titled = points.into_iter().enumerate().map(|(i, (vector, maturity, regions))| IndexPoint {
            title_id: format!("t-{}", (i * 37) % 101),
            vector,
            maturity,
            regions,
        });
        titled.collect()
    })
}

fn searches() -> impl Strategy<Value = (Vec<f32>, VectorFilter, usize)> {
    let country = proptest::sample::select(vec!["", "DE", "FR", "JP", "*"]);
    let without = vec((0..101_usize).prop_map(|i| format!("t-{i}")), 0..20);
    let filter = (maturities(), country, without).prop_map(|(max_maturity, country, without)| VectorFilter {
        max_maturity,
        country: country.to_owned(),
        without,
    });
    (vectors(), filter, 0..70_usize)
}

// Few indexes, many searches: building one costs a dozen fsyncs.
proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_search_is_what_a_plain_loop_finds(points in points(), searches in vec(searches(), 40)) {
        for open in ADAPTERS {
            let folder = tempfile::tempdir().unwrap();
            let index = open(folder.path(), points.clone());
            prop_assert_eq!(index.count().unwrap(), points.len());
            for (query, filter, limit) in &searches {
                let found = index.search(query, filter, *limit).unwrap();
                prop_assert_eq!(found, plain_search(&points, query, filter, *limit));
            }
        }
    }
}

#[test]
fn what_a_viewer_may_not_see_is_not_found() {
    let points = vec![
        point("adult", [9, 0, 0, 0], Maturity::Age18, None),
        point("everywhere", [1, 0, 0, 0], Maturity::AllAges, None),
        point("french", [5, 0, 0, 0], Maturity::AllAges, Some(&["FR"])),
        point("nowhere", [7, 0, 0, 0], Maturity::AllAges, Some(&[])),
    ];
    for open in ADAPTERS {
        let folder = tempfile::tempdir().unwrap();
        let index = open(folder.path(), points.clone());
        let titles = |filter: &VectorFilter| -> Vec<String> {
            let found = index.search(&[1.0, 0.0, 0.0, 0.0], filter, 10).unwrap();
            found.into_iter().map(|hit| hit.title_id).collect()
        };
        assert_eq!(titles(&VectorFilter::of(&Viewer::FAIL_CLOSED)), ["everywhere"]);
        assert_eq!(titles(&filter(Maturity::Age16, "FR", &[])), ["french", "everywhere"]);
        assert_eq!(titles(&filter(Maturity::Age18, "DE", &[])), ["adult", "everywhere"]);
        assert_eq!(titles(&filter(Maturity::Age18, "FR", &["adult", "unknown"])), ["french", "everywhere"]);
    }
}

#[test]
fn a_query_that_does_not_fit_is_refused() {
    for open in ADAPTERS {
        let folder = tempfile::tempdir().unwrap();
        let index = open(folder.path(), vec![point("t", [1, 0, 0, 0], Maturity::AllAges, None)]);
        let all = filter(Maturity::Age18, "", &[]);
        let error = index.search(&[1.0], &all, 1).unwrap_err();
        assert!(matches!(error, IndexError::Dimension { expected: DIMENSIONS, found: 1 }), "{error}");
        let error = index.search(&[f32::NAN, 0.0, 0.0, 0.0], &all, 1).unwrap_err();
        assert!(matches!(error, IndexError::Engine { operation: "searching", .. }), "{error}");
        assert_eq!(index.search(&[0.0; DIMENSIONS], &all, usize::MAX).unwrap().len(), 1);
    }
}

#[test]
fn points_that_do_not_fit_are_refused_by_name() {
    let good = point("good", [1, 2, 3, 4], Maturity::AllAges, None);
    let short = IndexPoint { title_id: "bad".to_owned(), vector: vec![1.0], ..good.clone() };
    let infinite = IndexPoint { title_id: "bad".to_owned(), vector: vec![f32::INFINITY; DIMENSIONS], ..good.clone() };
    let star = point("bad", [1, 2, 3, 4], Maturity::AllAges, Some(&["*"]));
    let bad = point("bad", [1, 2, 3, 4], Maturity::AllAges, None);
    for points in [vec![good.clone(), short], vec![infinite, good.clone()], vec![star], vec![bad.clone(), good, bad]] {
        let folder = tempfile::tempdir().unwrap();
        let error = build(&folder.path().join("index"), DIMENSIONS, points).unwrap_err();
        assert!(matches!(&error, BuildError::Point { title_id, .. } if title_id == "bad"), "{error}");
        assert!(!folder.path().join("index").exists());
    }
}

/// An index of 300 titles, more than one update of the engine.
fn built(folder: &Path) -> PathBuf {
    let points = (0..300_u16).map(|i| {
        let vector = [(i % 7) as i8, (i % 11) as i8, (i % 13) as i8, 1];
        point(&format!("t-{i}"), vector, Maturity::ALL[usize::from(i) % 5], (i % 2 == 0).then_some(&["DE"]))
    });
    let built = folder.join("index");
    build(&built, DIMENSIONS, points.collect()).unwrap();
    built
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn opening_changes_nothing_and_two_may_open_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let built = built(folder.path());
    let bytes = || files(&built).into_iter().map(|file| (fs::read(&file).unwrap(), file)).collect::<Vec<_>>();
    let before = bytes();
    let working = folder.path().join("working");
    let first = QdrantIndex::open(&built, &working).unwrap();
    let second = QdrantIndex::open(&built, &working).unwrap();
    assert_eq!((first.count().unwrap(), second.count().unwrap()), (300, 300));
    drop((first, second));
    assert!(before == bytes());
    assert_eq!(fs::read_dir(&working).unwrap().count(), 0, "working copies are removed");
}

#[test]
fn an_index_goes_on_when_its_folder_goes() {
    let folder = tempfile::tempdir().unwrap();
    let built = built(folder.path());
    let index = QdrantIndex::open(&built, &folder.path().join("working")).unwrap();
    let search = || index.search(&[1.0; DIMENSIONS], &filter(Maturity::Age18, "DE", &[]), 5).unwrap();
    let before = search();
    fs::remove_dir_all(&built).unwrap();
    assert_eq!(search(), before);
    // Even its working copy: closing it then fails inside of the engine, which must not take the process down.
    fs::remove_dir_all(folder.path().join("working")).unwrap();
    assert_eq!(search(), before);
    drop(index);
}

#[test]
fn a_folder_that_is_not_there_or_not_whole_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let working = folder.path().join("working");
    let damaged = |path: &Path, what: &str| match QdrantIndex::open(path, &working) {
        Err(IndexError::Damaged { location, .. }) => assert_eq!(location, path.display().to_string()),
        Err(other) => panic!("{what}: {other}"),
        Ok(_) => panic!("{what}: it opened"),
    };
    damaged(&folder.path().join("absent"), "absent");
    let built = built(folder.path());
    let description = fs::read_to_string(built.join("index.json")).unwrap();
    for (name, content) in [
        ("no JSON", String::new()),
        ("a newer format", description.replace("\"format\": 2", "\"format\": 3")),
        ("another length", description.replace("\"dimensions\": 4", "\"dimensions\": 5")),
        ("another count", description.replace("\"titles\": 300", "\"titles\": 299")),
    ] {
        assert_ne!(content, description);
        fs::write(built.join("index.json"), content).unwrap();
        damaged(&built, name);
    }
    fs::write(built.join("index.json"), &description).unwrap();
    QdrantIndex::open(&built, &working).unwrap();
    fs::remove_dir_all(built.join("engine/segments")).unwrap();
    damaged(&built, "no segments");
}

/// Whatever happens to any one file of the engine's is found before the engine sees it: one flipped bit in a length
/// once made it ask for 34 GB, which ended the process. What happens to the files beside is found, or does no harm.
#[test]
fn damage_to_any_file_is_found_or_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let built = built(folder.path());
    let working = folder.path().join("working");
    let all = filter(Maturity::Age12, "DE", &[]);
    let whole = QdrantIndex::open(&built, &working).unwrap().search(&[1.0; DIMENSIONS], &all, 300).unwrap();
    let mut found = 0;
    for file in files(&built) {
        let size_bytes = fs::metadata(&file).unwrap().len();
        let mut damages = vec![Damage::Removed];
        damages.extend([0, size_bytes / 2].into_iter().filter(|&length| length < size_bytes).map(Damage::Cut));
        let places = [0, size_bytes / 3, size_bytes.saturating_sub(1)];
        damages.extend(places.into_iter().filter(|&place| place < size_bytes).map(Damage::Flipped));
        for damage in damages {
            damage.inflict(&file);
            match QdrantIndex::open(&built, &working) {
                Ok(index) => {
                    assert!(!file.starts_with(built.join("engine")), "{} opened", file.display());
                    let hits = index.search(&[1.0; DIMENSIONS], &all, 300);
                    assert_eq!(hits.unwrap(), whole, "{} served something else", file.display());
                }
                Err(IndexError::Damaged { .. }) => found += 1,
                Err(other) => panic!("{}: {other}", file.display()),
            }
            damage.heal(&file);
        }
    }
    assert!(found > 100, "only {found} damages were found");
    QdrantIndex::open(&built, &working).unwrap();
}

/// Done in place: the engine's files are large, and nearly all of it holes.
enum Damage {
    Removed,
    /// To so many bytes.
    Cut(u64),
    /// The byte at this place.
    Flipped(u64),
}

impl Damage {
    fn inflict(&self, file: &Path) {
        match self {
            Damage::Removed => fs::rename(file, aside(file)).unwrap(),
            Damage::Cut(length) => {
                fs::rename(file, aside(file)).unwrap();
                let start = File::open(aside(file)).unwrap().take(*length);
                io::copy(&mut { start }, &mut File::create(file).unwrap()).unwrap();
            }
            Damage::Flipped(place) => {
                let file = File::options().read(true).write(true).open(file).unwrap();
                let mut byte = [0];
                file.read_exact_at(&mut byte, *place).unwrap();
                file.write_all_at(&[byte[0] ^ 0x55], *place).unwrap();
            }
        }
    }

    fn heal(&self, file: &Path) {
        match self {
            Damage::Flipped(_) => self.inflict(file), // twice is not at all
            Damage::Removed | Damage::Cut(_) => fs::rename(aside(file), file).unwrap(),
        }
    }
}

/// Out of the index's folder.
fn aside(file: &Path) -> PathBuf {
    let folder = file.ancestors().find(|folder| folder.ends_with("index")).and_then(Path::parent).unwrap();
    folder.join("aside")
}
