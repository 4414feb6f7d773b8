//! The list of cubes: choices of at most five dimensions for which minutes are kept. Anything finer is a query over
//! silver. Adding a cube: a variant and a line in [`Cube::ALL`], [`Cube::name`] and [`Cube::dimensions`]; a new
//! dimension is a line in [`DIMENSIONS`] and a column of `qoe_minutes`.

use serde::{Deserialize, Serialize};

/// No cube has more dimensions.
pub(crate) const MAX_DIMENSIONS: usize = 5;

/// A choice of dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Cube {
    /// Who watches, and over what.
    Audience,
    /// What is watched, and by whom.
    Title,
    /// The way from the CDN to the viewer.
    Network,
    /// Where the viewers are.
    Place,
    /// With which player on which device.
    Player,
    /// How the stream is packaged and protected.
    Delivery,
    /// Subscriptions and experiments.
    Plan,
}

impl Cube {
    /// Every cube.
    pub const ALL: [Cube; 7] =
        [Cube::Audience, Cube::Title, Cube::Network, Cube::Place, Cube::Player, Cube::Delivery, Cube::Plan];

    /// The value of column `cube_name`.
    pub fn name(self) -> &'static str {
        match self {
            Cube::Audience => "audience",
            Cube::Title => "title",
            Cube::Network => "network",
            Cube::Place => "place",
            Cube::Player => "player",
            Cube::Delivery => "delivery",
            Cube::Plan => "plan",
        }
    }

    /// The columns that hold its dimensions, in the order of [`CellDimensions::values`].
    ///
    /// [`CellDimensions::values`]: super::CellDimensions::values
    pub fn dimensions(self) -> &'static [&'static str] {
        match self {
            Cube::Audience => &["country", "device_type", "cdn", "protocol", "app_version"],
            Cube::Title => &["series_id", "title_id", "country", "device_type"],
            Cube::Network => &["country", "isp", "asn", "cdn", "edge"],
            Cube::Place => &["country", "region", "city"],
            Cube::Player => &["device_type", "os", "player", "player_version", "app_version"],
            Cube::Delivery => &["protocol", "codec", "drm", "stream_type", "cdn"],
            Cube::Plan => &["plan", "experiment_arm", "country", "device_type"],
        }
    }
}

/// The dimensions in the order of the columns of `qoe_minutes`, each with how many of its values a shard tells apart in
/// a day: about ten times what an operator with 10,000 titles in 200 countries has. A client that makes values up cannot
/// make minutes grow beyond that; the rest is [`OTHER`] there, and itself in silver.
pub(crate) const DIMENSIONS: [(&str, usize); 20] = [
    ("country", 300),
    ("region", 5_000),
    ("city", 20_000),
    ("isp", 5_000),
    ("asn", 5_000),
    ("cdn", 100),
    ("edge", 5_000),
    ("protocol", 20),
    ("stream_type", 10),
    ("codec", 200),
    ("drm", 20),
    ("device_type", 200),
    ("os", 500),
    ("player", 200),
    ("player_version", 1_000),
    ("app_version", 1_000),
    ("plan", 200),
    ("experiment_arm", 1_000),
    ("series_id", 50_000),
    ("title_id", 100_000),
];

/// The names of the dimensions, in the order of the columns of `qoe_minutes`.
pub fn dimension_names() -> [&'static str; DIMENSIONS.len()] {
    DIMENSIONS.map(|(name, _)| name)
}

/// What stands in `qoe_minutes` for values past the bound of their dimension.
pub const OTHER: &str = "other";

#[cfg(test)]
mod tests {
    use marquee_lake::tables;

    use super::*;

    #[test]
    fn cubes_have_at_most_five_dimensions_which_are_columns() {
        let columns: Vec<&str> = tables::QOE_MINUTES.columns.iter().map(|c| c.name).collect();
        let first = columns.iter().position(|c| *c == "country").unwrap();
        let dimensions = dimension_names();
        assert_eq!(columns[first..first + DIMENSIONS.len()], dimensions);
        for cube in Cube::ALL {
            assert!(cube.dimensions().len() <= MAX_DIMENSIONS, "{cube:?}");
            assert!(cube.dimensions().iter().all(|d| dimensions.contains(d)), "{cube:?}");
        }
        for dimension in dimensions {
            assert!(Cube::ALL.iter().any(|cube| cube.dimensions().contains(&dimension)), "{dimension} is in no cube");
        }
    }
}
