//! What is known of a title without anybody watching it, as a few of [`FEATURES`] numbers. The places are part of every
//! stored model: changing one of these constants makes old models unreadable (`tower::FORMAT`).

use marquee_catalogue::Title;
use xxhash_rust::xxh3::xxh3_64;

/// Genres are hashed into so many places: two of 20 genres share one in a third of all catalogues.
const GENRE_PLACES: usize = 512;

/// Tags likewise; rare ones may well share.
const TAG_PLACES: usize = 512;

/// The first year that has a place of its own; earlier ones share it.
const FIRST_YEAR: i32 = 1900;

/// Years of one place.
const YEARS_PER_PLACE: i32 = 5;

/// To 2039, and one for an unknown year.
const YEAR_PLACES: usize = 29;

/// A title's first genres and tags count; the sources put the most telling first.
const MAX_WORDS: usize = 32;

/// Length of the content side.
pub const FEATURES: usize = GENRE_PLACES + TAG_PLACES + YEAR_PLACES;

/// The places that are not 0, ascending, and what is there: the words of a kind share a weight of length 1.
pub fn features(title: &Title) -> Vec<(u32, f32)> {
    let mut features: Vec<(u32, f32)> = Vec::new();
    for (words, first, places) in [(&title.genres, 0, GENRE_PLACES), (&title.tags, GENRE_PLACES, TAG_PLACES)] {
        let words = &words[..words.len().min(MAX_WORDS)];
        let weight = 1.0 / (words.len() as f32).sqrt();
        features.extend(words.iter().map(|word| {
            let place = xxh3_64(word.trim().to_lowercase().as_bytes()) % places as u64;
            (first as u32 + place as u32, weight)
        }));
    }
    let year = title.year.map_or(YEAR_PLACES - 1, |year| {
        let place = (year - FIRST_YEAR).max(0) / YEARS_PER_PLACE;
        (place as usize).min(YEAR_PLACES - 2)
    });
    features.push(((GENRE_PLACES + TAG_PLACES + year) as u32, 1.0));
    features.sort_by_key(|(place, _)| *place);
    features.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1 += next.1;
        }
        same
    });
    features
}

#[cfg(test)]
mod tests {
    use marquee_catalogue::{Maturity, Regions};

    use super::*;

    fn title(genres: &[&str], tags: &[&str], year: Option<i32>) -> Title {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        Title {
            title_id: "t".into(),
            name: "T".into(),
            year,
            genres: words(genres),
            tags: words(tags),
            maturity: Maturity::AllAges,
            regions: Regions::Everywhere,
            duration_ms: None,
            added_at_ms: 0,
        }
    }

    #[test]
    fn words_share_a_length_of_one_and_case_does_not_matter() {
        let features_of = |genres: &[&str]| features(&title(genres, &[], Some(1995)));
        let squares = |from: &[(u32, f32)]| from.iter().map(|(_, weight)| weight * weight).sum::<f32>();
        assert!((squares(&features_of(&["Comedy", "Drama", "War"])) - 2.0).abs() < 1e-6, "three genres and a year");
        assert_eq!(features_of(&["Comedy"]), features_of(&[" comedy "]));
        assert_ne!(features_of(&["Comedy"]), features(&title(&[], &["Comedy"], Some(1995))));
    }

    #[test]
    fn every_year_has_a_place() {
        let place = |year| features(&title(&[], &[], year))[0].0 as usize - GENRE_PLACES - TAG_PLACES;
        assert_eq!((place(Some(1899)), place(Some(1900)), place(Some(1904)), place(Some(1905))), (0, 0, 0, 1));
        assert_eq!((place(Some(2039)), place(Some(9999)), place(None)), (27, 27, 28));
        assert_eq!(place(Some(i32::MIN + FIRST_YEAR)), 0);
    }

    #[test]
    fn places_are_ascending_and_distinct() {
        let same_word = features(&title(&["War", "war"], &["a", "b", "c"], None));
        assert!(same_word.windows(2).all(|pair| pair[0].0 < pair[1].0), "{same_word:?}");
        assert!(same_word.last().is_some_and(|(place, _)| (*place as usize) < FEATURES));
    }
}
