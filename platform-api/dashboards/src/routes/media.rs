//! `GET /media/demo/…`: the files of the demo's clip. Only plain names below one folder, only what a player asks for.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::{Path as UrlPath, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::Dashboards;
use crate::refusal::Refusal;

/// The clip's multivariant playlist.
pub(super) const MANIFEST: &str = "main.m3u8";

/// The largest file that is served (bytes); a segment of the demo's clip has about 100 KB.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// What players ask for, and as what it is served.
const KINDS: [(&str, &str); 5] = [
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("m4s", "video/iso.segment"),
    ("mp4", "video/mp4"),
    ("ts", "video/mp2t"),
    ("jpg", "image/jpeg"),
];

/// What to do about a missing clip; `None` when it is there.
pub(super) async fn missing_clip(folder: Option<&Path>) -> Option<String> {
    let Some(folder) = folder else {
        return Some("no folder of clips is set: set `media_folder` of the dashboards".to_owned());
    };
    match tokio::fs::metadata(folder.join(MANIFEST)).await {
        Ok(found) if found.is_file() => None,
        _ => Some(format!("there is no clip: run scripts/make-clip.sh {}", folder.display())),
    }
}

pub(super) async fn get_file(
    State(dashboards): State<Arc<Dashboards>>,
    UrlPath(path): UrlPath<String>,
) -> Result<Response, Refusal> {
    let missing = || Refusal::not_found("there is no such file");
    let folder = dashboards.settings.media_folder.as_deref().ok_or_else(missing)?;
    let kind = kind(&path).ok_or_else(missing)?;
    let bytes = read(folder, &path).await.map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            return missing();
        }
        tracing::warn!(%path, %error, "a media file cannot be read");
        Refusal::busy("the file cannot be read")
    })?;
    Ok(([(header::CONTENT_TYPE, kind)], bytes).into_response())
}

/// As what a file is served; `None` for a path that no clip has.
fn kind(path: &str) -> Option<&'static str> {
    let is_plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    if !path.split('/').all(is_plain) {
        return None;
    }
    let (_, extension) = path.rsplit_once('.')?;
    KINDS.iter().find(|(known, _)| *known == extension).map(|(_, kind)| *kind)
}

async fn read(folder: &Path, path: &str) -> io::Result<Vec<u8>> {
    let folder = tokio::fs::canonicalize(folder).await?;
    let file: PathBuf = tokio::fs::canonicalize(folder.join(path)).await?;
    // A link that leads out of the folder is no file of the clip.
    if !file.starts_with(&folder) {
        return Err(io::ErrorKind::NotFound.into());
    }
    let metadata = tokio::fs::metadata(&file).await?;
    if !metadata.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(io::Error::other(format!("it has more than {MAX_FILE_BYTES} bytes")));
    }
    tokio::fs::read(file).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_a_clip_are_served() {
        assert_eq!(kind("v0/segment_001.m4s"), Some("video/iso.segment"));
        for bad in ["../main.m3u8", "a/../main.m3u8", ".hidden.mp4", "a//b.mp4", "a.mp4/", "key.pem", "main", "a\\b.ts"]
        {
            assert_eq!(kind(bad), None, "{bad}");
        }
    }
}
