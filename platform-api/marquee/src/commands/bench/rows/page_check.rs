//! Whether a page is right: told from the world alone, without asking any of the code that makes pages.

use std::collections::{BTreeMap, HashSet};

use marquee_retrieval::DEFAULT_ITEMS;
use marquee_rows_proto::v1::{GetHomePageResponse, RowKind};

use super::world::{View, World};

/// Rows that every page of a profile with a history has, each of them full.
const FULL_ROWS: [RowKind; 4] = [RowKind::TopPicks, RowKind::TrendingNow, RowKind::New, RowKind::Exploration];

/// Rows named after finished titles: at most so many, fewer when others have taken what follows.
const MAX_BECAUSE_ROWS: usize = 2;

impl World {
    /// What is wrong with a page of a profile that has done nothing but its history.
    pub(super) fn problem(&self, profile: usize, page: &GetHomePageResponse) -> Option<String> {
        let history = self.history(profile);
        let titles_of = |views: &dyn Fn(&&View) -> bool| -> HashSet<&str> {
            history.iter().filter(views).map(|view| self.titles[view.title].title_id.as_str()).collect()
        };
        let (begun, watched) = (titles_of(&|view| !view.is_finished()), titles_of(&|_| true));
        let mut rows: BTreeMap<i32, usize> = BTreeMap::new();
        for row in &page.rows {
            *rows.entry(row.kind).or_default() += 1;
            let items = || row.items.iter().map(|item| item.title_id.as_str());
            let is_wrong = if row.kind() == RowKind::ContinueWatching {
                items().collect::<HashSet<_>>() != begun
            } else {
                items().any(|title_id| watched.contains(title_id))
                    || (FULL_ROWS.contains(&row.kind()) && row.items.len() != DEFAULT_ITEMS)
            };
            if is_wrong {
                let items: Vec<&str> = items().collect();
                return Some(format!("row `{}` holds {items:?} for a history of {watched:?}", row.row_id));
            }
        }
        let rows_of = |kind: RowKind| rows.get(&(kind as i32)).copied().unwrap_or_default();
        let expected = (FULL_ROWS.into_iter().map(|kind| (kind, 1)))
            .chain([(RowKind::ContinueWatching, usize::from(!begun.is_empty()))]);
        for (kind, expected) in expected {
            if rows_of(kind) != expected {
                return Some(format!("it has {} rows {} instead of {expected}", rows_of(kind), kind.as_str_name()));
            }
        }
        if rows_of(RowKind::BecauseYouWatched) > MAX_BECAUSE_ROWS {
            return Some(format!("it has {} rows named after titles", rows_of(RowKind::BecauseYouWatched)));
        }
        self.ineligible(profile, page)
    }

    /// What a page holds that this profile may not see, or twice.
    pub(super) fn ineligible(&self, profile: usize, page: &GetHomePageResponse) -> Option<String> {
        let mut shown = HashSet::new();
        for row in &page.rows {
            for item in &row.items {
                let Some(title) = self.number(&item.title_id) else {
                    return Some(format!("title `{}` of row `{}` does not exist", item.title_id, row.row_id));
                };
                if !self.may_see(profile, title) {
                    return Some(format!("title `{}` of row `{}` may not be seen", item.title_id, row.row_id));
                }
                if !shown.insert(title) {
                    return Some(format!("title `{}` stands on it twice", item.title_id));
                }
            }
        }
        None
    }
}
