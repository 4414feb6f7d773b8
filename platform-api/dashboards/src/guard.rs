//! What every request and every answer passes: the name under which we are asked, where the request comes from, and the
//! headers that keep a page from doing what it should not.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::refusal::Refusal;
use crate::{Dashboards, DashboardsSettings};

/// The names of this machine itself.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Scripts, styles and data come from here only; the player may post to the collector and play what hls.js buffers.
pub(crate) fn content_security_policy(settings: &DashboardsSettings) -> String {
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
         media-src 'self' blob:; connect-src 'self' {}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        settings.collector_url
    )
}

pub(crate) async fn guard(State(dashboards): State<Arc<Dashboards>>, request: Request, next: Next) -> Response {
    let mut response = match check(&dashboards.settings, &request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    let policy = HeaderValue::from_str(&dashboards.content_security_policy).expect("the settings hold an origin");
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=(), payment=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn check(settings: &DashboardsSettings, request: &Request) -> Result<(), Refusal> {
    let host = host(request.headers()).or_else(|| request.uri().authority().map(axum::http::uri::Authority::as_str));
    let name = host.map(without_port).unwrap_or_default();
    let is_ours = |ours: &str| ours.eq_ignore_ascii_case(name);
    // A page of another site that has our address under its own name (DNS rebinding) must read nothing.
    if !LOOPBACK.iter().any(|ours| is_ours(ours)) && !settings.allowed_hosts.iter().any(|ours| is_ours(ours)) {
        let problem = format!("`{name}` is no name of the dashboards: add it to their setting `allowed_hosts`");
        return Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, problem));
    }
    // Nor may it make us work: a picture that it embeds could be a query. Links to pages stay possible.
    let is_data = ["/api/", "/media/"].iter().any(|prefix| request.uri().path().starts_with(prefix));
    if is_data && request.headers().get("sec-fetch-site").is_some_and(|site| site == "cross-site") {
        return Err(Refusal::new(StatusCode::FORBIDDEN, "data is for the dashboards' own pages"));
    }
    Ok(())
}

/// The `Host` header; `None` when it is missing, not readable or there twice.
fn host(headers: &HeaderMap) -> Option<&str> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok(),
        _ => None,
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_cut_off_and_nothing_else() {
        for (host, name) in [
            ("localhost", "localhost"),
            ("localhost:8090", "localhost"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("127.0.0.1:", "127.0.0.1:"),
            ("evil.example:80", "evil.example"),
        ] {
            assert_eq!(without_port(host), name);
        }
    }
}
