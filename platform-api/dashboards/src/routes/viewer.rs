//! `GET /api/profiles?search=&limit=`, `GET /api/profiles/{profile_id}` and `GET /api/profiles/{profile_id}/home`: who
//! watches, and the page that they get.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use marquee_catalogue::Profile;
use serde::{Deserialize, Serialize};

use crate::refusal::Refusal;
use crate::{Dashboards, HomePage};

/// What a list under a search field can show.
const MAX_PROFILES: u32 = 50;

/// The longest text that is searched for (bytes).
const MAX_SEARCH_BYTES: usize = 256;

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Asked {
    search: String,
    limit: u32,
}

impl Default for Asked {
    fn default() -> Self {
        Self { search: String::new(), limit: 20 }
    }
}

#[derive(Serialize)]
pub(super) struct ProfileList {
    profiles: Vec<ProfileJson>,
}

#[derive(Serialize)]
pub(super) struct ProfileJson {
    profile_id: String,
    display_name: String,
    /// Titles for an older age are never shown (years).
    max_age: u8,
    /// ISO 3166-1 alpha-2; empty when unknown.
    country: String,
}

impl From<Profile> for ProfileJson {
    fn from(profile: Profile) -> Self {
        let Profile { profile_id, display_name, max_maturity, country } = profile;
        Self { profile_id, display_name, max_age: max_maturity.age(), country }
    }
}

pub(super) async fn get_profiles(
    State(dashboards): State<Arc<Dashboards>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<ProfileList>, Refusal> {
    let Query(asked) = asked?;
    if asked.search.len() > MAX_SEARCH_BYTES {
        return Err(Refusal::field("search", format!("has more than {MAX_SEARCH_BYTES} bytes")));
    }
    if !(1..=MAX_PROFILES).contains(&asked.limit) {
        return Err(Refusal::field("limit", format!("must be from 1 to {MAX_PROFILES}")));
    }
    let found = dashboards.parts.rows.profiles(&asked.search, asked.limit).await?;
    Ok(Json(ProfileList { profiles: found.into_iter().map(ProfileJson::from).collect() }))
}

pub(super) async fn get_profile(
    State(dashboards): State<Arc<Dashboards>>,
    Path(profile_id): Path<String>,
) -> Result<Json<ProfileJson>, Refusal> {
    let found = dashboards.parts.rows.profile(&profile_id).await?;
    Ok(Json(found.ok_or_else(|| unknown(&profile_id))?.into()))
}

pub(super) async fn get_home(
    State(dashboards): State<Arc<Dashboards>>,
    Path(profile_id): Path<String>,
) -> Result<Json<HomePage>, Refusal> {
    let found = dashboards.parts.rows.home_page(&profile_id).await?;
    Ok(Json(found.ok_or_else(|| unknown(&profile_id))?))
}

fn unknown(profile_id: &str) -> Refusal {
    Refusal::not_found(format!("there is no profile `{profile_id}`"))
}
