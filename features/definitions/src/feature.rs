//! The list of features, for documentation and for the test that finds one that is not listed.

use crate::{profile, title};

/// What a feature describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entity {
    /// A profile.
    Profile,
    /// A title.
    Title,
}

/// A feature as documentation shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feature {
    /// Its name: that of its file.
    pub name: &'static str,
    /// What it describes.
    pub entity: Entity,
    /// What it is, in a sentence.
    pub doc: &'static str,
    /// The unit of its values.
    pub unit: &'static str,
    /// What holds of signals that come out of order, and where the state is bounded.
    pub limits: &'static str,
}

/// Every feature. Adding one: a file below `profile` or `title`, its field in the state, a line here.
pub fn all() -> [&'static Feature; 8] {
    [
        &profile::GENRE_AFFINITY,
        &profile::RECENT_TITLES,
        &profile::SESSION,
        &profile::VIEWING,
        &profile::LISTS,
        &title::POPULARITY,
        &title::COMPLETION,
        &title::CO_WATCH,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_listed_under_its_name() {
        for (entity, folder) in [(Entity::Profile, "profile"), (Entity::Title, "title")] {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder);
            let mut files: Vec<String> = std::fs::read_dir(path)
                .expect("the folder of features")
                .map(|entry| {
                    entry.expect("an entry").path().file_stem().expect("a name").to_string_lossy().into_owned()
                })
                .filter(|name| name != "tests")
                .collect();
            files.sort();
            let mut listed: Vec<&str> = all().iter().filter(|f| f.entity == entity).map(|f| f.name).collect();
            listed.sort_unstable();
            assert_eq!(files, listed);
        }
    }
}
