//! Parts of serving pulled out of a running process: pages go on within their deadline, say what is missing, and never
//! hold what their viewer may not see.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use marquee_catalogue::{Catalogue as _, Maturity, Profile, Regions, Title};
use marquee_events::proto::{Context, ViewEvent, ViewEventBatch};
use marquee_rows_proto::v1;
use marquee_rows_proto::v1::DegradedReason;
use marquee_store::SqliteCatalogue;

use crate::child::{self, Up};
use crate::rows_client::{RowsClient, degraded, now_ms, titles};

/// Of each page: a client that gets none within it fails the test.
const DEADLINE: Duration = Duration::from_secs(2);

/// What changes in a home shows on pages within this time; a model that was not whole is tried again after 10 s.
const NOTICED_WITHIN: Duration = Duration::from_secs(30);

const DAY_MS: i64 = 86_400_000;
const TITLES: usize = 60;
const VIEWERS: usize = 40;

fn title_id(number: usize) -> String {
    format!("t-{:02}", number % TITLES)
}

/// Every third is for adults, every fifth for Germany only.
fn title(number: usize, now_ms: i64) -> Title {
    let countries = || BTreeSet::from(["DE".to_owned()]);
    Title {
        title_id: title_id(number),
        name: format!("Title {number}"),
        year: Some(2000),
        genres: vec![["Comedy", "Crime"][number % 2].to_owned()],
        tags: Vec::new(),
        maturity: if number.is_multiple_of(3) { Maturity::Age18 } else { Maturity::AllAges },
        regions: if number.is_multiple_of(5) { Regions::Only(countries()) } else { Regions::Everywhere },
        duration_ms: None,
        added_at_ms: now_ms - 100 * DAY_MS,
    }
}

fn profile(profile_id: &str, max_maturity: Maturity, country: &str) -> Profile {
    let (profile_id, country) = (profile_id.to_owned(), country.to_owned());
    Profile { display_name: profile_id.clone(), profile_id, max_maturity, country }
}

/// Everybody walks through all titles in turn from a place of their own, the kid, too: its taste leads to adult titles.
fn history(now_ms: i64) -> String {
    let mut lines = vec!["profile_id,title_id,timestamp_ms,watched_fraction".to_owned()];
    let viewers = (0..VIEWERS).map(|viewer| format!("v-{viewer}")).chain(["kid".to_owned(), "adult".to_owned()]);
    for (viewer, profile_id) in viewers.enumerate() {
        for step in 0..10 {
            let at_ms = now_ms - (10 - step as i64) * DAY_MS / 4 + viewer as i64;
            lines.push(format!("{profile_id},{},{at_ms},1.0", title_id(viewer * 7 + step)));
        }
    }
    lines.join("\n") + "\n"
}

/// A home with a catalogue, a history and a model in service.
struct Scene {
    folder: tempfile::TempDir,
    titles: Vec<Title>,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let now_ms = now_ms();
        let scene = Self { titles: (0..TITLES).map(|number| title(number, now_ms)).collect(), folder };
        fs::create_dir(scene.home()).expect("a home");
        fs::create_dir(scene.failing()).expect("a folder");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let catalogue = SqliteCatalogue::open(&scene.home().join("catalogue.sqlite")).await.expect("a catalogue");
            catalogue.put_titles(scene.titles.clone()).await.expect("titles");
            let profiles = vec![profile("kid", Maturity::AllAges, "FR"), profile("adult", Maturity::Age18, "DE")];
            catalogue.put_profiles(profiles).await.expect("profiles");
        });
        let file = scene.folder.path().join("history.csv");
        fs::write(&file, history(now_ms)).expect("a file");
        child::stdout(&scene.home(), &["import", "interactions", file.to_str().expect("text")]);
        child::stdout(&scene.home(), &["train", "two-tower", "--publish"]);
        scene
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// A fail point fails for as long as a file of its name is here.
    fn failing(&self) -> PathBuf {
        self.folder.path().join("failing")
    }

    fn models(&self) -> PathBuf {
        self.home().join("models")
    }

    fn index(&self) -> PathBuf {
        self.models().join("two-tower-0001/index")
    }

    fn start(&self) -> Running<'_> {
        let failing = self.failing();
        let environment = [("FAIL_WHILE_THERE", failing.to_str().expect("text"))];
        let up = Up::start(&self.home(), &environment).unwrap_or_else(|status| panic!("up starts: {status}"));
        Running { client: RowsClient::of(&up, &self.home()), up, scene: self }
    }
}

struct Running<'a> {
    up: Up,
    client: RowsClient,
    scene: &'a Scene,
}

impl Running<'_> {
    /// A page within its deadline, with nothing on it that the profile may not see.
    fn page(&self, profile_id: &str) -> v1::GetHomePageResponse {
        let token = self.client.token(profile_id);
        let asked = Instant::now();
        let page = self.client.get_home_page(&token, v1::GetHomePageRequest::default(), Some(DEADLINE));
        let page = page.unwrap_or_else(|status| panic!("no page for {profile_id}: {status}\n{}", self.up.stderr()));
        assert!(asked.elapsed() <= DEADLINE, "{:?}", asked.elapsed());
        let ask = v1::GetRowRequest { row_id: "trending_now".to_owned(), page_size: 60, page_token: String::new() };
        let row = self.client.get_row(&token, ask).unwrap_or_else(|status| panic!("no row for {profile_id}: {status}"));
        let row = row.row.into_iter().flat_map(|row| row.items).map(|item| item.title_id).collect::<Vec<_>>();
        for title_id in titles(&page).into_iter().chain(row.iter().map(String::as_str)) {
            let title = self.scene.titles.iter().find(|title| title.title_id == title_id).expect("of the catalogue");
            let may_see = profile_id == "adult" || (title.maturity == Maturity::AllAges && title.regions.allow("FR"));
            assert!(may_see, "{profile_id} is shown {title:?}");
        }
        assert!(!titles(&page).is_empty(), "{profile_id} gets nothing: {page:?}");
        page
    }

    /// Asks until both profiles' pages have these reasons and no others, and their top picks come from this source.
    fn becomes(&self, reasons: &[DegradedReason], source: &str) {
        let started = Instant::now();
        for profile_id in ["kid", "adult"] {
            loop {
                let page = self.page(profile_id);
                let sources = top_picks_sources(&page);
                if degraded(&page) == reasons && sources == BTreeSet::from([source]) {
                    break;
                }
                let found = degraded(&page);
                let waited = started.elapsed();
                assert!(waited < NOTICED_WITHIN, "{profile_id}: {found:?} {sources:?}\n{}", self.up.stderr());
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// Goes on so for a while.
    fn stays(&self, reasons: &[DegradedReason], source: &str) {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(3) {
            for profile_id in ["kid", "adult"] {
                let page = self.page(profile_id);
                assert_eq!(degraded(&page), reasons, "{}", self.up.stderr());
                assert_eq!(top_picks_sources(&page), BTreeSet::from([source]));
            }
        }
    }

    /// Whether the collector acknowledges a batch.
    fn takes_events(&self) -> bool {
        self.up.post(&ViewEventBatch {
            context: Some(Context { session_id: "s-1".to_owned(), ..Default::default() }),
            sent_at_ms: now_ms(),
            events: vec![ViewEvent { event_time_ms: now_ms(), ..Default::default() }],
            ..Default::default()
        })
    }
}

fn top_picks_sources(page: &v1::GetHomePageResponse) -> BTreeSet<&str> {
    let items = page.rows.iter().filter(|row| row.row_id == "top_picks").flat_map(|row| &row.items);
    items.filter_map(|item| Some(item.reason.as_ref()?.source.as_str())).collect()
}

/// A part that was moved away.
struct Removed {
    from: PathBuf,
    to: PathBuf,
}

impl Removed {
    fn now(path: &Path, to: &Path) -> Self {
        fs::rename(path, to).expect("it is there");
        Self { from: path.to_owned(), to: to.to_owned() }
    }

    fn put_back(self) {
        if self.from.is_file() {
            fs::remove_file(&self.from).expect("a file in its place");
        }
        fs::rename(&self.to, &self.from).expect("it goes back");
    }
}

#[test]
fn the_model_and_the_online_store_go_and_come_back() {
    let scene = Scene::new();
    let running = scene.start();
    running.becomes(&[], "vectors");

    fs::write(scene.failing().join("online-read"), "").expect("a file");
    running.becomes(&[DegradedReason::FeaturesUnavailable], "popular_decayed");
    running.stays(&[DegradedReason::FeaturesUnavailable], "popular_decayed");
    fs::remove_file(scene.failing().join("online-read")).expect("it is there");
    running.becomes(&[], "vectors");

    let away = scene.folder.path().join("models-away");
    let removed = Removed::now(&scene.models(), &away);
    running.becomes(&[DegradedReason::NoModel], "popular_decayed");
    assert_eq!(running.page("kid").served.expect("served").model_version, "");
    removed.put_back();
    running.becomes(&[], "vectors");
    running.up.stop();
}

#[test]
fn an_index_that_cannot_be_read_leaves_the_neighbours() {
    let scene = Scene::new();
    let running = scene.start();
    running.becomes(&[], "vectors");
    // What is in service holds nothing of the folder open.
    let away = scene.folder.path().join("index-away");
    let removed = Removed::now(&scene.index(), &away);
    fs::write(scene.index(), "no folder").expect("a file");
    running.stays(&[], "vectors");
    running.up.stop();

    let running = scene.start();
    running.becomes(&[DegradedReason::IndexUnavailable], "neighbours");
    running.stays(&[DegradedReason::IndexUnavailable], "neighbours");
    removed.put_back();
    running.becomes(&[], "vectors");
    running.up.stop();

    // Bytes that the engine would trust: it once asked for 34 GB because of one of them, which no process survives.
    let mut files = files_below(&scene.index());
    assert!(files.len() > 5, "{files:?}");
    files.sort();
    for file in &files {
        let mut bytes = fs::read(file).expect("a file");
        bytes.iter_mut().take(16).for_each(|byte| *byte ^= 0x55);
        fs::write(file, bytes).expect("a file");
    }
    let running = scene.start();
    running.becomes(&[DegradedReason::IndexUnavailable], "neighbours");
    running.up.stop();
}

#[test]
fn a_log_that_is_down_leaves_the_pages() {
    let scene = Scene::new();
    let running = scene.start();
    running.becomes(&[], "vectors");
    fs::write(scene.failing().join("log-before-commit"), "").expect("a file");
    let started = Instant::now();
    while running.takes_events() {
        assert!(started.elapsed() < NOTICED_WITHIN, "the log never fails");
    }
    running.becomes(&[DegradedReason::EventsUnavailable], "vectors");
    drop(running);
    fs::remove_file(scene.failing().join("log-before-commit")).expect("it is there");
    let running = scene.start();
    running.becomes(&[], "vectors");
    assert!(running.takes_events());
    running.up.stop();
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}
