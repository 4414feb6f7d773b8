//! [`SqliteCatalogue`] against the contract of its port, against damage, and against those who may not read it.

#![allow(clippy::unwrap_used, reason = "clippy takes only functions marked as tests for tests")]

use std::fs::{self, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use marquee_catalogue::contract::check_catalogue;
use marquee_catalogue::{Catalogue, CatalogueError, Maturity, Profile, Regions, Title};
use marquee_events::ErrorKind;
use marquee_store::SqliteCatalogue;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    check_catalogue(async |name| {
        let catalogue = SqliteCatalogue::open(&dir.path().join(format!("{name}.sqlite"))).await.unwrap();
        Arc::new(catalogue) as Arc<dyn Catalogue>
    })
    .await;
}

#[tokio::test]
async fn its_files_are_for_their_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b/catalogue.sqlite");
    let catalogue = SqliteCatalogue::open(&path).await.unwrap();
    catalogue.put_titles(vec![title("a")]).await.unwrap();
    assert_eq!(catalogue.snapshot().await.unwrap().titles().len(), 1);
    let files: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap()).collect();
    assert!(!files.is_empty());
    for file in files {
        let name = file.file_name().into_string().unwrap();
        let expected = ["catalogue.sqlite", "catalogue.sqlite-wal", "catalogue.sqlite-shm"];
        assert!(expected.contains(&name.as_str()), "{name} was left behind");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn many_openers_make_one_catalogue() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalogue.sqlite");
    let (first, second) = tokio::join!(SqliteCatalogue::open(&path), SqliteCatalogue::open(&path));
    first.unwrap().put_titles(vec![title("a")]).await.unwrap();
    let second = second.unwrap();
    second.put_titles(vec![title("b")]).await.unwrap();
    assert_eq!(second.snapshot().await.unwrap().titles(), [title("a"), title("b")]);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalogue.sqlite");
    for bytes in [&b""[..], b"x", &[b'x'; 10_000]] {
        fs::write(&path, bytes).unwrap();
        assert_damaged(&path, SqliteCatalogue::open(&path).await);
        assert_eq!(fs::read(&path).unwrap(), bytes, "a damaged file is left as it is");
    }
}

#[tokio::test]
async fn a_file_that_was_cut_short_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let path = filled(dir.path()).await;
    let length = fs::metadata(&path).unwrap().len();
    for kept in [length - 4096, length / 2 / 4096 * 4096, 4096, 1000] {
        OpenOptions::new().write(true).open(&path).unwrap().set_len(kept).unwrap();
        assert_damaged(&path, SqliteCatalogue::open(&path).await);
    }
}

#[tokio::test]
async fn a_log_without_its_file_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let path = filled(dir.path()).await;
    let catalogue = SqliteCatalogue::open(&path).await.unwrap();
    catalogue.put_titles(vec![title("a")]).await.unwrap();
    fs::remove_file(&path).unwrap();
    let message = assert_damaged(&path, SqliteCatalogue::open(&path).await);
    assert!(message.contains("catalogue.sqlite-wal"), "{message}");
    assert!(!path.exists());
}

#[tokio::test]
async fn a_page_that_was_overwritten_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let path = filled(dir.path()).await;
    let whole = fs::read(&path).unwrap();
    // Of the first page only its header of 100 bytes can be left out.
    for page in 1..whole.len() as u64 / 4096 {
        let mut file = OpenOptions::new().write(true).open(&path).unwrap();
        file.seek(SeekFrom::Start(page * 4096)).unwrap();
        file.write_all(&[0xa5; 4096]).unwrap();
        drop(file);
        assert_damaged(&path, SqliteCatalogue::open(&path).await);
        fs::write(&path, &whole).unwrap();
    }
    SqliteCatalogue::open(&path).await.unwrap();
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    for (change, column) in [
        ("UPDATE titles SET genres = '{}'", "genres"),
        ("UPDATE titles SET tags = '[1]'", "tags"),
        ("UPDATE titles SET regions = '\"DE\"'", "regions"),
        ("PRAGMA ignore_check_constraints = 1; UPDATE titles SET maturity = 256", "maturity"),
    ] {
        let path = filled(&dir.path().join(column)).await;
        let catalogue = SqliteCatalogue::open(&path).await.unwrap();
        change_behind(&path, change).await;
        let message = assert_damaged(&path, catalogue.snapshot().await);
        assert!(message.contains(column), "{message}");
    }
}

#[tokio::test]
async fn a_lost_version_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let path = filled(dir.path()).await;
    let catalogue = SqliteCatalogue::open(&path).await.unwrap();
    change_behind(&path, "DELETE FROM titles_version").await;
    assert_damaged(&path, catalogue.version().await);
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = filled(dir.path()).await;
    change_behind(
        &path,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'from the future', 1, x'00', 0)",
    )
    .await;
    let message = assert_damaged(&path, SqliteCatalogue::open(&path).await);
    assert!(message.contains("9999"), "{message}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_unavailable() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let error = SqliteCatalogue::open(&dir.path().join("file/catalogue.sqlite")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
}

/// A catalogue of some pages, closed.
async fn filled(dir: &Path) -> PathBuf {
    let path = dir.join("catalogue.sqlite");
    let catalogue = SqliteCatalogue::open(&path).await.unwrap();
    catalogue.put_titles((0..200).map(|number| title(&number.to_string())).collect()).await.unwrap();
    let profile = |number: u32| Profile {
        profile_id: number.to_string(),
        display_name: "Ada".to_owned(),
        max_maturity: Maturity::Age18,
        country: "DE".to_owned(),
    };
    catalogue.put_profiles((0..200).map(profile).collect()).await.unwrap();
    drop(catalogue);
    // Whoever closes last moves the log into the file; and it makes sure that only the file is left.
    change_behind(&path, "PRAGMA wal_checkpoint(TRUNCATE)").await;
    path
}

async fn change_behind(path: &Path, sql: &str) {
    let mut other = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path)).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut other).await.unwrap();
    other.close().await.unwrap();
}

fn title(title_id: &str) -> Title {
    Title {
        title_id: title_id.to_owned(),
        name: "Toy Story".to_owned(),
        year: Some(1995),
        genres: vec!["Comedy".to_owned()],
        tags: vec!["pixar".to_owned()],
        maturity: Maturity::AllAges,
        regions: Regions::Everywhere,
        duration_ms: None,
        added_at_ms: 0,
    }
}

fn assert_damaged<T>(path: &Path, result: Result<T, CatalogueError>) -> String {
    let Err(error) = result else { panic!("the damage was not noticed") };
    assert!(matches!(error, CatalogueError::Damaged { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains(&path.display().to_string()), "`{message}` names the file");
    message
}
