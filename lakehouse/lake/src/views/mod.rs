//! The views over the tables: sessions, and the published definitions of quality of experience at two levels.
//!
//! `qoe_X` has one row a session, `qoe_X_minutes` one row a minute and cell of a cube; both have the numerators and the
//! denominators of definition X as columns that add up, so that `sum(a) / sum(b)` is right over any set of rows, and the
//! ratio of the row itself. Sums over the one are sums over the other; a test asserts it. Adding a definition: a file
//! here, two lines in [`all`], a section in `docs/qoe.md`.
//!
//! An attempt whose outcome is pending is in no denominator of outcomes; its time is counted as it passes.

mod conviva;
mod cta_2066;
mod marquee;
mod mux;
mod sessions;

/// A view.
#[derive(Debug)]
pub struct View {
    /// Its name.
    pub name: &'static str,
    /// One sentence.
    pub doc: &'static str,
    /// Its definition.
    pub sql: &'static str,
}

/// Every view; a view may use those before it.
pub fn all() -> [&'static View; 9] {
    [
        &sessions::SESSIONS,
        &cta_2066::SESSIONS,
        &cta_2066::MINUTES,
        &mux::SESSIONS,
        &mux::MINUTES,
        &conviva::SESSIONS,
        &conviva::MINUTES,
        &marquee::SESSIONS,
        &marquee::MINUTES,
    ]
}

/// The dimensions, in the order of the columns of `qoe_minutes`.
macro_rules! dimensions {
    () => {
        "country, region, city, isp, asn, cdn, edge, protocol, stream_type, codec, drm, device_type, os, player, \
         player_version, app_version, plan, experiment_arm, series_id, title_id"
    };
}

/// A view of one row a session: its key, its dimensions and what the definition adds. `outcome` is `pending` while it is.
macro_rules! of_sessions {
    ($columns:expr) => {
        concat!(
            "SELECT session_id, player_instance, started_at, is_final, outcome, autoplay, ",
            $crate::views::dimensions!(),
            ", ",
            $columns,
            " FROM sessions"
        )
    };
}

/// A view of one row a minute and cell: `sums` are columns that add up, `ratios` are made of them.
macro_rules! of_minutes {
    ($sums:expr, $ratios:expr) => {
        concat!(
            "SELECT *, ",
            $ratios,
            " FROM (SELECT minute, cube_name, ",
            $crate::views::dimensions!(),
            ", ",
            $sums,
            " FROM qoe_minutes GROUP BY minute, cube_name, ",
            $crate::views::dimensions!(),
            ")"
        )
    };
}

/// Watched time of CTA-2066 and Mux: startup, playing, rebuffering and waiting after seeks, seen or not; no pauses, no
/// ads.
macro_rules! watched_ms {
    () => {
        "startup_waiting_ms + playing_ms + rebuffer_ms + seek_waiting_ms + background_startup_waiting_ms + \
         background_playing_ms + background_rebuffer_ms + background_seek_waiting_ms"
    };
}

use {dimensions, of_minutes, of_sessions, watched_ms};

#[cfg(test)]
mod tests {
    use crate::tables::QOE_MINUTES;

    #[test]
    fn the_dimensions_are_those_of_the_minutes() {
        let names: Vec<&str> = QOE_MINUTES.columns.iter().map(|column| column.name).collect();
        let dimensions: Vec<&str> = dimensions!().split(',').map(str::trim).collect();
        let first = names.iter().position(|name| *name == dimensions[0]).expect("a column");
        assert_eq!(names[first..first + dimensions.len()], dimensions);
        assert_eq!(names[first + dimensions.len()], "attempts");
    }
}
