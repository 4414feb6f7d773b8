//! The last good page of a profile, for when everything is late. What comes out is checked against the viewer as known
//! *now*: a page made for an adult never reaches the same profile after it became a child's, or while nobody knows.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use marquee_catalogue::Title;

use crate::context::Context;
use crate::{Item, Row};

/// Pages kept. One takes about 40 KB (160 items), so these are 40 MB; the first in is the first out.
const MAX_PAGES: usize = 1_000;

/// An older page is not worth more than what is popular now (s).
const MAX_AGE_S: u64 = 600;

/// A page is not kept anew before it has this age (s): keeping copies every item.
const RENEW_AFTER_S: u64 = 10;

/// A page as it was served.
pub(crate) struct KeptPage {
    rows: Vec<Row>,
    pub(crate) model_version: String,
    pub(crate) as_of_ms: i64,
    at: Instant,
}

/// The last good pages.
#[derive(Default)]
pub(crate) struct LastPages(Mutex<Pages>);

#[derive(Default)]
struct Pages {
    by_profile: HashMap<String, Arc<KeptPage>>,
    in_order: VecDeque<String>,
}

impl LastPages {
    /// Keeps a page without any degraded reason.
    pub(crate) fn keep(&self, profile_id: &str, rows: &[Row], model_version: &str, as_of_ms: i64) {
        let renew_after = Duration::from_secs(RENEW_AFTER_S);
        if self.pages().by_profile.get(profile_id).is_some_and(|page| page.at.elapsed() < renew_after) {
            return;
        }
        let (rows, model_version) = (rows.to_vec(), model_version.to_owned());
        let page = Arc::new(KeptPage { rows, model_version, as_of_ms, at: Instant::now() });
        let mut pages = self.pages();
        if pages.by_profile.insert(profile_id.to_owned(), page).is_some() {
            return;
        }
        pages.in_order.push_back(profile_id.to_owned());
        if pages.in_order.len() > MAX_PAGES
            && let Some(first) = pages.in_order.pop_front()
        {
            pages.by_profile.remove(&first);
        }
    }

    /// The last good page of a profile, unless it is too old.
    pub(crate) fn of(&self, profile_id: &str) -> Option<Arc<KeptPage>> {
        let page = self.pages().by_profile.get(profile_id).map(Arc::clone)?;
        (page.at.elapsed() < Duration::from_secs(MAX_AGE_S)).then_some(page)
    }

    /// Forgets a profile.
    pub(crate) fn forget(&self, profile_id: &str) {
        let mut pages = self.pages();
        if pages.by_profile.remove(profile_id).is_some() {
            pages.in_order.retain(|kept| kept != profile_id);
        }
    }

    fn pages(&self) -> std::sync::MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner) // every change leaves it whole
    }
}

impl KeptPage {
    /// What of the page this viewer may see now; rows and reasons named after another title only while that one may be
    /// seen too.
    pub(crate) fn rows_for(&self, context: &Context, max_rows: usize, max_items: usize) -> Vec<Row> {
        let title = |title_id: &str| {
            let number = context.shelf.catalogue.number(title_id)?;
            context.may_show(number).then(|| context.title(number))
        };
        let mut taken: HashSet<&str> = HashSet::new();
        let mut rows = Vec::new();
        for row in &self.rows {
            let about = row.row_id.split_once(':').map(|(_, title_id)| title_id);
            if about.is_some_and(|title_id| title(title_id).is_none()) {
                continue;
            }
            let checked = row.items.iter().filter_map(|item| {
                let fresh = title(&item.title_id)?;
                let because = item.reason.because_title_id.as_deref();
                if because.is_some_and(|title_id| title(title_id).is_none()) || !taken.insert(&item.title_id) {
                    return None;
                }
                Some(as_now(item, fresh))
            });
            let items: Vec<Item> = checked.take(max_items).collect();
            if !items.is_empty() {
                rows.push(Row { items, ..row.clone_without_items() });
            }
        }
        rows.truncate(max_rows);
        rows
    }
}

/// The item with what the catalogue says of its title now.
fn as_now(item: &Item, title: &Title) -> Item {
    let (name, year, genres) = (title.name.clone(), title.year, title.genres.clone());
    Item { name, year, genres, ..item.clone() }
}

impl Row {
    fn clone_without_items(&self) -> Self {
        Self { row_id: self.row_id.clone(), kind: self.kind, heading: self.heading.clone(), items: Vec::new() }
    }
}
