//! A small service in memory: twenty-four titles in two tastes, some for adults, some for one country.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use marquee_catalogue::{Maturity, Profile, Regions, Title};
use marquee_definitions::{Signal, SignalKind};
use marquee_retrieval::rehearsal::Rehearsal;
use marquee_retrieval::{
    AsOf, Degraded, HomeRequest, NeighbourLists, Page, Recommender, RequestContext, RequestId, Row, RowRequest,
};

/// 2026-01-01.
pub const NOW_MS: i64 = 1_767_225_600_000;
pub const HOUR_MS: i64 = 3_600_000;
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// Even titles are comedies, odd ones crime; every sixth is for adults, every eighth is licensed in Germany only.
pub const TITLES: usize = 24;

pub fn title(number: usize) -> Title {
    let genre = if number.is_multiple_of(2) { "Comedy" } else { "Crime" };
    Title {
        title_id: format!("t-{number:02}"),
        name: format!("Title {number}"),
        year: Some(2000 + number as i32),
        genres: vec![genre.to_owned(), format!("Genre {}", number % 3)],
        tags: Vec::new(),
        maturity: if number % 6 == 5 { Maturity::Age18 } else { Maturity::AllAges },
        regions: match number % 8 {
            7 => Regions::Only(BTreeSet::from(["DE".to_owned()])),
            _ => Regions::Everywhere,
        },
        duration_ms: Some(90 * 60_000),
        added_at_ms: NOW_MS - number as i64 * DAY_MS,
    }
}

pub fn profile(profile_id: &str, max_maturity: Maturity, country: &str) -> Profile {
    let (profile_id, country) = (profile_id.to_owned(), country.to_owned());
    Profile { display_name: profile_id.clone(), profile_id, max_maturity, country }
}

pub struct Scene {
    pub parts: Rehearsal,
    pub recommender: Recommender,
    requests: std::cell::Cell<u128>,
}

impl Scene {
    /// The catalogue, an adult in Germany (`adult`), a child in France (`child`), a model, and nothing watched.
    pub async fn new() -> Self {
        let scene = Self::without_model().await;
        scene.put_model("m-1");
        scene
    }

    pub async fn without_model() -> Self {
        let parts = Rehearsal::new(NOW_MS);
        parts.catalogue.replace_titles((0..TITLES).map(title).collect());
        parts.catalogue.put_profile(profile("adult", Maturity::Age18, "DE"));
        parts.catalogue.put_profile(profile("child", Maturity::AllAges, "FR"));
        let recommender = Recommender::new(parts.parts());
        recommender.refresh().await.expect("the catalogue is read");
        Self { parts, recommender, requests: std::cell::Cell::new(1) }
    }

    /// Comedies point one way, crime the other; the lower the number, the further. Each title is followed by the next
    /// ones of its taste.
    pub fn put_model(&self, version: &str) {
        let weight = |number: usize| 1.0 - number as f32 / 100.0;
        let vector = |number: usize| match number % 2 {
            0 => vec![weight(number), 0.0],
            _ => vec![0.0, weight(number)],
        };
        let id = |number: usize| format!("t-{:02}", number % TITLES);
        let vectors: HashMap<String, Vec<f32>> = (0..TITLES).map(|number| (id(number), vector(number))).collect();
        let after = |number: usize| (1..12).map(|step| (id(number + 2 * step), 1.0 / step as f32)).collect();
        let lists = (0..TITLES).map(|number| (id(number), after(number))).collect();
        let neighbours = NeighbourLists { lists, decay: 0.8, window: 30 };
        let popular = (0..TITLES).map(|number| (id(number), weight(number))).collect();
        self.parts.put_model(version, vectors, neighbours, popular);
    }

    /// `profile_id` watched a title to this share, a while ago.
    pub fn watched(&self, profile_id: &str, number: usize, watched_fraction: f32, ago_ms: i64) {
        self.signal(profile_id, number, SignalKind::ViewStarted, ago_ms);
        let kind = if watched_fraction >= 0.9 {
            SignalKind::ViewFinished { watched_fraction }
        } else {
            SignalKind::ViewProgress { watched_fraction }
        };
        self.signal(profile_id, number, kind, ago_ms);
    }

    pub fn signal(&self, profile_id: &str, number: usize, kind: SignalKind, ago_ms: i64) {
        let title = title(number);
        let at_ms = NOW_MS - ago_ms;
        self.parts.online.signal(&Signal {
            profile_id,
            title_id: &title.title_id,
            genres: &title.genres,
            kind,
            event_time_ms: at_ms,
            available_ms: at_ms,
        });
    }

    /// Ten strangers watch the titles, the first one most often.
    pub fn crowd(&self, numbers: &[usize], ago_ms: i64) {
        for (rank, &number) in numbers.iter().enumerate() {
            for viewer in 0..numbers.len() - rank {
                self.watched(&format!("stranger-{viewer}"), number, 1.0, ago_ms);
            }
        }
    }

    pub fn request(&self, profile_id: &str, deadline_ms: u64) -> RequestContext {
        self.requests.set(self.requests.get() + 1);
        RequestContext {
            request_id: RequestId(self.requests.get().wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)),
            profile_id: profile_id.to_owned(),
            as_of: AsOf::Data,
            deadline: Instant::now() + Duration::from_millis(deadline_ms),
        }
    }

    pub async fn home(&self, profile_id: &str) -> Page {
        self.home_within(profile_id, 5_000).await
    }

    pub async fn home_within(&self, profile_id: &str, deadline_ms: u64) -> Page {
        let context = self.request(profile_id, deadline_ms);
        self.recommender.home(&HomeRequest { context, max_rows: 8, max_items: 6 }).await.expect("a page")
    }

    pub fn row_request(&self, profile_id: &str, row_id: &str, max_items: usize) -> RowRequest {
        let context = self.request(profile_id, 5_000);
        RowRequest { context, row_id: row_id.to_owned(), offset: 0, max_items, continues: None }
    }
}

pub fn row<'a>(page: &'a Page, row_id: &str) -> &'a Row {
    let ids: Vec<&str> = page.rows.iter().map(|row| row.row_id.as_str()).collect();
    page.rows.iter().find(|row| row.row_id == row_id).unwrap_or_else(|| panic!("no {row_id} among {ids:?}"))
}

pub fn ids(row: &Row) -> Vec<&str> {
    row.items.iter().map(|item| item.title_id.as_str()).collect()
}

pub fn all_ids(page: &Page) -> Vec<&str> {
    page.rows.iter().flat_map(ids).collect()
}

pub fn sources(row: &Row) -> BTreeSet<&str> {
    row.items.iter().map(|item| item.reason.source).collect()
}

pub fn degraded(page: &Page) -> &[Degraded] {
    &page.served.degraded
}
