//! The contract of [`Catalogue`] as a suite that every adapter's tests run, against the real thing.
//!
//! Each check works on a catalogue of its own, known by its name. The suite is part of the library because adapters
//! live in other crates; it only panics, as a test does.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::join;
use marquee_events::{ErrorKind, MAX_ID_BYTES};

use crate::{
    Catalogue, CatalogueError, MAX_DISPLAY_NAME_BYTES, MAX_DURATION_MS, MAX_GENRES, MAX_NAME_BYTES, MAX_TAGS,
    MAX_WORD_BYTES, Maturity, Profile, Regions, Title,
};

/// How often the check of concurrent use writes and reads.
const ROUNDS: i32 = 40;

/// Runs every check. `open` opens the catalogue of a name, with all that was put into it before; the suite drops one
/// handle of a catalogue before it opens the next.
///
/// # Panics
/// When the adapter breaks the contract, with what it did instead.
pub async fn check_catalogue(open: impl AsyncFn(&'static str) -> Arc<dyn Catalogue>) {
    a_new_catalogue_is_empty(&*open("new").await).await;
    titles_come_back_as_they_were_put(&*open("titles").await).await;
    titles_are_replaced_by_id(&*open("replace").await).await;
    the_version_grows_with_changes_of_titles_only(&*open("version").await).await;
    an_invalid_title_stops_all(&*open("invalid-title").await).await;
    an_invalid_profile_stops_all(&*open("invalid-profile").await).await;
    profiles_come_back_and_are_replaced(&*open("profiles").await).await;
    profiles_are_listed_in_order(&*open("listing").await).await;
    profiles_are_found_ignoring_case(&*open("search").await).await;
    many_fit(&*open("many").await).await;
    a_snapshot_is_of_one_version(&*open("concurrent").await).await;

    let before = open("reopen").await;
    fill(&*before).await;
    let (version, snapshot) = (version(&*before).await, titles(&*before).await);
    drop(before);
    let after = open("reopen").await;
    assert_eq!(titles(&*after).await, snapshot, "titles are there after reopening");
    assert_eq!(after.version().await.expect("the version"), version, "the version is kept");
    assert_eq!(after.profile("p-1").await.expect("a read"), Some(profile("p-1", "Ada")), "profiles are there");
}

async fn a_new_catalogue_is_empty(catalogue: &dyn Catalogue) {
    assert_eq!(titles(catalogue).await, []);
    assert_eq!(catalogue.profile("p-1").await.expect("a read"), None);
    assert_eq!(ids(catalogue, "", "", 10).await, [""; 0]);
}

async fn titles_come_back_as_they_were_put(catalogue: &dyn Catalogue) {
    let put = [
        title("a"),
        Title {
            year: None,
            genres: vec![],
            tags: vec![],
            duration_ms: None,
            maturity: Maturity::Age18,
            regions: Regions::Only(BTreeSet::new()),
            added_at_ms: -3_000_000_000_000,
            ..title("b")
        },
        Title {
            name: "Les Misérables \"'`%_\\ 悲惨世界 🎬".to_owned(),
            genres: (0..MAX_GENRES).map(|number| format!("genre, {number}|\"")).collect(),
            tags: (0..MAX_TAGS).map(|number| format!("{number}{}", "é".repeat(MAX_WORD_BYTES / 2 - 2))).collect(),
            duration_ms: Some(MAX_DURATION_MS),
            ..title("Ünïcode/::\"'")
        },
        Title { name: "n".repeat(MAX_NAME_BYTES), ..title(&"i".repeat(MAX_ID_BYTES)) },
    ];
    for maturity in Maturity::ALL {
        put_titles(catalogue, vec![Title { maturity, ..title(&format!("age-{}", maturity.age())) }]).await;
    }
    put_titles(catalogue, put.to_vec()).await;
    let snapshot = catalogue.snapshot().await.expect("a snapshot");
    for expected in &put {
        assert_eq!(snapshot.title(&expected.title_id), Some(expected), "a title comes back as it was put");
    }
    for maturity in Maturity::ALL {
        let id = format!("age-{}", maturity.age());
        assert_eq!(snapshot.title(&id).map(|title| title.maturity), Some(maturity), "maturity comes back");
    }
    assert_eq!(snapshot.titles().len(), put.len() + Maturity::ALL.len());
}

async fn titles_are_replaced_by_id(catalogue: &dyn Catalogue) {
    put_titles(catalogue, vec![title("a"), title("b")]).await;
    let renamed = Title { name: "Renamed".to_owned(), tags: vec![], ..title("b") };
    put_titles(catalogue, vec![renamed.clone(), title("c")]).await;
    assert_eq!(titles(catalogue).await, [title("a"), renamed, title("c")]);

    let last = Title { year: Some(2001), ..title("d") };
    put_titles(catalogue, vec![title("d"), Title { year: Some(2000), ..title("d") }, last.clone()]).await;
    assert_eq!(titles(catalogue).await[3], last, "of several with one id the last counts");
}

async fn the_version_grows_with_changes_of_titles_only(catalogue: &dyn Catalogue) {
    let mut before = version(catalogue).await;
    put_titles(catalogue, vec![title("a"), title("b")]).await;
    let mut grown = async |what: &str| {
        let now = version(catalogue).await;
        let grown = now > before;
        assert!(now >= before, "the version never shrinks: {before} to {now} after {what}");
        before = now;
        grown
    };
    assert!(grown("new titles").await, "new titles grow the version");
    put_titles(catalogue, vec![title("b"), title("a")]).await;
    put_titles(catalogue, vec![]).await;
    put_profiles(catalogue, vec![profile("p-1", "Ada")]).await;
    assert!(!grown("no change").await, "what changes no title keeps the version");

    let changes = [
        Title { name: "other".to_owned(), ..title("a") },
        Title { year: None, ..title("a") },
        Title { genres: vec!["other".to_owned()], ..title("a") },
        Title { tags: vec![], ..title("a") },
        Title { maturity: Maturity::Age18, ..title("a") },
        Title { regions: Regions::Everywhere, ..title("a") },
        Title { duration_ms: None, ..title("a") },
        Title { added_at_ms: 1, ..title("a") },
    ];
    for change in changes {
        put_titles(catalogue, vec![title("b"), title("a")]).await;
        grown("resetting").await;
        put_titles(catalogue, vec![title("b"), change.clone()]).await;
        assert!(grown("a change").await, "a change of one field grows the version: {change:?}");
    }
}

async fn an_invalid_title_stops_all(catalogue: &dyn Catalogue) {
    put_titles(catalogue, vec![title("a")]).await;
    let before = version(catalogue).await;
    let words = |count: usize| (0..count).map(|number| number.to_string()).collect::<Vec<_>>();
    let only = |country: &str| Regions::Only(BTreeSet::from(["GB".to_owned(), country.to_owned()]));
    let cases = [
        ("title_id", title("")),
        ("title_id", title(&"i".repeat(MAX_ID_BYTES + 1))),
        ("title_id", title("a\0b")),
        ("name", Title { name: String::new(), ..title("bad") }),
        ("name", Title { name: "n".repeat(MAX_NAME_BYTES + 1), ..title("bad") }),
        ("name", Title { name: "two\nlines".to_owned(), ..title("bad") }),
        ("year", Title { year: Some(1799), ..title("bad") }),
        ("year", Title { year: Some(2201), ..title("bad") }),
        ("genres", Title { genres: words(MAX_GENRES + 1), ..title("bad") }),
        ("genres", Title { genres: vec![String::new()], ..title("bad") }),
        ("genres", Title { genres: vec!["Drama".to_owned(), "Drama".to_owned()], ..title("bad") }),
        ("tags", Title { tags: words(MAX_TAGS + 1), ..title("bad") }),
        ("tags", Title { tags: vec!["t".repeat(MAX_WORD_BYTES + 1)], ..title("bad") }),
        ("regions", Title { regions: only("us"), ..title("bad") }),
        ("regions", Title { regions: only("USA"), ..title("bad") }),
        ("regions", Title { regions: only(""), ..title("bad") }),
        ("regions", Title { regions: only("É"), ..title("bad") }),
        ("duration_ms", Title { duration_ms: Some(0), ..title("bad") }),
        ("duration_ms", Title { duration_ms: Some(MAX_DURATION_MS + 1), ..title("bad") }),
        ("added_at_ms", Title { added_at_ms: i64::MAX, ..title("bad") }),
        // Microseconds.
        ("added_at_ms", Title { added_at_ms: 1_700_000_000_000_000, ..title("bad") }),
    ];
    for (field, bad) in cases {
        let changed = Title { name: "changed".to_owned(), ..title("a") };
        let bad_id = bad.title_id.clone();
        let put = catalogue.put_titles(vec![changed, bad, title("c")]).await;
        assert_invalid(put, field, &bad_id);
        assert_eq!(titles(catalogue).await, [title("a")], "one invalid title stops all of them ({field})");
        assert_eq!(version(catalogue).await, before, "what is refused keeps the version ({field})");
    }
}

async fn an_invalid_profile_stops_all(catalogue: &dyn Catalogue) {
    put_profiles(catalogue, vec![profile("a", "Ada")]).await;
    let country = |country: &str| Profile { country: country.to_owned(), ..profile("bad", "Bob") };
    let cases = [
        ("profile_id", profile("", "Bob")),
        ("profile_id", profile(&"i".repeat(MAX_ID_BYTES + 1), "Bob")),
        ("profile_id", profile("a\nb", "Bob")),
        ("display_name", profile("bad", "")),
        ("display_name", profile("bad", &"n".repeat(MAX_DISPLAY_NAME_BYTES + 1))),
        ("display_name", profile("bad", "a\tb")),
        ("country", country("de")),
        ("country", country("DEU")),
        ("country", country("D")),
        ("country", country("D1")),
    ];
    for (field, bad) in cases {
        let bad_id = bad.profile_id.clone();
        let put = catalogue.put_profiles(vec![profile("a", "changed"), bad, profile("c", "Cy")]).await;
        assert_invalid(put, field, &bad_id);
        assert_eq!(
            catalogue.profiles("", "", 10).await.expect("a read"),
            [profile("a", "Ada")],
            "one invalid profile stops all of them ({field})"
        );
    }
}

async fn profiles_come_back_and_are_replaced(catalogue: &dyn Catalogue) {
    let nowhere =
        Profile { country: String::new(), max_maturity: Maturity::AllAges, ..profile("p-2", "Zoë 🎈 'x'") };
    let longest = profile(&"i".repeat(MAX_ID_BYTES), &"n".repeat(MAX_DISPLAY_NAME_BYTES));
    let put = [profile("p-1", "Ada"), nowhere, longest];
    put_profiles(catalogue, put.to_vec()).await;
    for expected in &put {
        let read = catalogue.profile(&expected.profile_id).await.expect("a read");
        assert_eq!(read.as_ref(), Some(expected), "a profile comes back as it was put");
    }
    for unknown in ["", "p-3", "P-1", "p-1 ", "p%", &"x".repeat(10_000)] {
        assert_eq!(catalogue.profile(unknown).await.expect("a read"), None, "`{unknown:.20}` is unknown");
    }
    let older = Profile { max_maturity: Maturity::Age16, country: "FR".to_owned(), ..profile("p-1", "Ada L.") };
    put_profiles(catalogue, vec![profile("p-1", "Eve"), older.clone()]).await;
    assert_eq!(catalogue.profile("p-1").await.expect("a read"), Some(older), "the last counts");
    assert_eq!(ids(catalogue, "ada l.", "", 10).await, ["p-1"], "a search sees the new name");
    assert_eq!(ids(catalogue, "eve", "", 10).await, [""; 0], "a search no longer sees the old one");
}

async fn profiles_are_listed_in_order(catalogue: &dyn Catalogue) {
    // In the order of bytes, which is neither that of numbers nor that of a dictionary.
    let expected = ["B", "a", "a-1", "a-10", "a-2", "b", "é"];
    put_profiles(catalogue, ["é", "b", "a-2", "B", "a-10", "a", "a-1"].map(|id| profile(id, "Ada")).to_vec()).await;
    assert_eq!(ids(catalogue, "", "", 10).await, expected);
    assert_eq!(ids(catalogue, "", "", u32::MAX).await, expected);
    assert_eq!(ids(catalogue, "", "", 0).await, [""; 0]);
    assert_eq!(ids(catalogue, "", "", 2).await, expected[..2]);
    assert_eq!(ids(catalogue, "", "a", 2).await, expected[2..4], "`after` itself is left out");
    assert_eq!(ids(catalogue, "", "a-11", 10).await, expected[4..], "`after` need not be there");
    assert_eq!(ids(catalogue, "", "é", 10).await, [""; 0]);
}

async fn profiles_are_found_ignoring_case(catalogue: &dyn Catalogue) {
    let people = [("ml-1", "Ada Lovelace"), ("ml-2", "Éva Ádám"), ("ml-3", "100% o_o \\ 'x'"), ("XY-4", "Иван")];
    put_profiles(catalogue, people.map(|(id, name)| profile(id, name)).to_vec()).await;
    for (search, expected) in [
        ("love", &["ml-1"][..]),
        ("LOVELACE", &["ml-1"]),
        ("ada", &["ml-1"]),
        ("éVA áD", &["ml-2"]),
        ("иВА", &["XY-4"]),
        ("xy", &["XY-4"]),
        ("ML-", &["ml-1", "ml-2", "ml-3"]),
        ("%", &["ml-3"]),
        ("_", &["ml-3"]),
        ("\\", &["ml-3"]),
        ("'X'", &["ml-3"]),
        ("1ada", &[]),
        ("3 1", &[]),
        ("nobody", &[]),
    ] {
        assert_eq!(ids(catalogue, search, "", 10).await, expected, "searching `{search}`");
    }
    assert_eq!(ids(catalogue, "ml", "ml-1", 1).await, ["ml-2"], "search, start and limit together");
}

/// More than any adapter writes at once.
async fn many_fit(catalogue: &dyn Catalogue) {
    let all: Vec<_> = (0..5_000).map(|number| title(&format!("{number:05}"))).collect();
    put_titles(catalogue, all.clone()).await;
    assert!(titles(catalogue).await == all, "5,000 titles in one call come back");
    let people: Vec<_> = (0..5_000).map(|number| profile(&format!("{number:05}"), "Ada")).collect();
    put_profiles(catalogue, people.clone()).await;
    assert!(catalogue.profiles("", "", 6_000).await.expect("a read") == people, "and so do 5,000 profiles");
}

/// One writer gives two titles the same year again and again; no reader sees them differ, or a version twice with
/// different titles.
async fn a_snapshot_is_of_one_version(catalogue: &dyn Catalogue) {
    let pair = |year| vec![Title { year: Some(year), ..title("a") }, Title { year: Some(year), ..title("z") }];
    put_titles(catalogue, pair(1900)).await;
    let writes = async {
        for year in 1901..=1900 + ROUNDS {
            put_titles(catalogue, pair(year)).await;
        }
    };
    let reads = async {
        let mut seen = (0, None);
        for _ in 0..ROUNDS {
            let snapshot = catalogue.snapshot().await.expect("a snapshot while another writes");
            let years: Vec<_> = snapshot.titles().iter().map(|title| title.year).collect();
            assert_eq!(years[0], years[1], "a snapshot never holds half of a write");
            let now = (snapshot.version(), years[0]);
            assert!(now.0 >= seen.0, "versions do not go back");
            assert_eq!(now.0 == seen.0, now.1 == seen.1, "one version has one content: {seen:?}, {now:?}");
            seen = now;
        }
    };
    join(writes, reads).await;
    let snapshot = catalogue.snapshot().await.expect("a snapshot");
    assert_eq!(snapshot.titles()[0].year, Some(1900 + ROUNDS));
    assert_eq!(snapshot.version(), version(catalogue).await, "a snapshot has the version that is asked for");
}

async fn fill(catalogue: &dyn Catalogue) {
    put_titles(catalogue, vec![title("a"), title("b")]).await;
    put_profiles(catalogue, vec![profile("p-1", "Ada")]).await;
}

fn title(title_id: &str) -> Title {
    Title {
        title_id: title_id.to_owned(),
        name: "Toy Story".to_owned(),
        year: Some(1995),
        genres: vec!["Comedy".to_owned(), "Animation".to_owned()],
        tags: vec!["pixar".to_owned(), "fun".to_owned()],
        maturity: Maturity::Age7,
        regions: Regions::Only(BTreeSet::from(["DE".to_owned(), "FR".to_owned()])),
        duration_ms: Some(81 * 60 * 1000),
        added_at_ms: 1_700_000_000_000,
    }
}

fn profile(profile_id: &str, display_name: &str) -> Profile {
    Profile {
        profile_id: profile_id.to_owned(),
        display_name: display_name.to_owned(),
        max_maturity: Maturity::Age12,
        country: "DE".to_owned(),
    }
}

async fn put_titles(catalogue: &dyn Catalogue, titles: Vec<Title>) {
    catalogue.put_titles(titles).await.expect("valid titles are taken");
}

async fn put_profiles(catalogue: &dyn Catalogue, profiles: Vec<Profile>) {
    catalogue.put_profiles(profiles).await.expect("valid profiles are taken");
}

async fn version(catalogue: &dyn Catalogue) -> u64 {
    catalogue.version().await.expect("a catalogue has a version")
}

async fn titles(catalogue: &dyn Catalogue) -> Vec<Title> {
    catalogue.snapshot().await.expect("a snapshot").titles().to_vec()
}

async fn ids(catalogue: &dyn Catalogue, search: &str, after: &str, limit: u32) -> Vec<String> {
    let found = catalogue.profiles(search, after, limit).await.expect("a search is answered");
    found.into_iter().map(|profile| profile.profile_id).collect()
}

fn assert_invalid(put: Result<(), CatalogueError>, expected: &str, id: &str) {
    let error = put.expect_err("what breaks a rule is refused");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let CatalogueError::Invalid { what, field, .. } = error else { panic!("another error: {error}") };
    assert_eq!(field, expected, "{what}");
    // Ids are shortened and escaped in messages.
    let start: String = id.chars().take_while(|c| c.is_alphanumeric()).take(20).collect();
    assert!(what.contains(&start), "`{what}` names `{start}`");
}
