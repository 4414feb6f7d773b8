//! The built web app (`web/dist`, committed; `scripts/web.sh build` builds it anew), embedded into the binary. A debug build reads
//! the folder at run time, so a new build of the app shows without a new build of the binary.

use std::fmt::Write as _;

use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::refusal::Refusal;

#[derive(RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/web/dist"]
#[allow_missing = true]
struct Dist;

/// The page that starts the app, whatever the path: the app reads it.
const INDEX: &str = "index.html";

const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Marquee</title>\
    <h1>The pages are not built</h1><p>Run <code>scripts/web.sh build</code> in Marquee's folder, then build Marquee again. \
    The data is there already: <a href=\"/api/config\">/api/config</a>.</p></html>";

/// A file of the app; for any other path without an extension the page that starts it.
pub(crate) async fn serve(uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    if let Some(file) = Dist::get(path).filter(|_| !path.is_empty()) {
        return file_response(path, &file, &headers);
    }
    if path.starts_with("api/") || path.rsplit('/').next().is_some_and(|name| name.contains('.')) {
        return Refusal::not_found("there is no such path").into_response();
    }
    match Dist::get(INDEX) {
        Some(index) => file_response(INDEX, &index, &headers),
        None => (StatusCode::SERVICE_UNAVAILABLE, Html(NOT_BUILT)).into_response(),
    }
}

/// Browsers keep the file and ask whether it is still the same: names have no hash, so that a rebuild changes little.
fn file_response(path: &str, file: &EmbeddedFile, request: &HeaderMap) -> Response {
    let mut tag = String::with_capacity(34);
    tag.push('"');
    for byte in &file.metadata.sha256_hash()[..16] {
        let _ = write!(tag, "{byte:02x}"); // a String takes everything
    }
    tag.push('"');
    let mut response = if request.get(header::IF_NONE_MATCH).is_some_and(|known| known == tag.as_str()) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let kind = mime_guess::from_path(path).first_or_octet_stream();
        ([(header::CONTENT_TYPE, kind.as_ref().to_owned())], file.data.clone().into_owned()).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::ETAG, HeaderValue::from_str(&tag).expect("hexadecimal digits in quotes"));
    response
}
