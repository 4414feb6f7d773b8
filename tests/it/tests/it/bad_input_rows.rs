//! What clients and newcomers get wrong about recommendations: each mistake is told by its field, file or line, costs
//! nobody else anything, and nothing that was accepted is lost.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use marquee_catalogue::token::TokenKey;
use marquee_rows_proto::v1;
use prost::Message as _;
use tempfile::TempDir;
use tonic::Code;

use crate::child::{self, DEADLINE, Up};
use crate::rows_client::{RowsClient, degraded, now_ms, titles};

/// Films and users of the small data set; every user rates a third of the films.
const MOVIES: u32 = 30;
const USERS: u32 = 12;

/// Every third film is for children, too.
fn is_for_all(movie: u32) -> bool {
    movie.is_multiple_of(3)
}

fn movies_csv() -> String {
    (1..=MOVIES).fold("movieId,title,genres\r\n".to_owned(), |mut text, movie| {
        let genres = if is_for_all(movie) { "Animation|Children" } else { "Drama" };
        write!(text, "{movie},Film {movie} (2001),{genres}\r\n").expect("text grows");
        text
    })
}

fn ratings_csv() -> String {
    let mut text = "userId,movieId,rating,timestamp\r\n".to_owned();
    for user in 1..=USERS {
        for step in 0..MOVIES / 3 {
            let (movie, at) = ((user * 5 + step * 2) % MOVIES + 1, 1_500_000_000 + step * 3_600 + user);
            write!(text, "{user},{movie},4.0,{at}\r\n").expect("text grows");
        }
    }
    text
}

/// A folder with a MovieLens data set beside a home.
struct Scene {
    folder: TempDir,
    home: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let home = folder.path().join("home");
        Self { folder, home }
    }

    /// Films and users in the home.
    fn imported() -> Self {
        let scene = Self::new();
        scene.write("data/movies.csv", &movies_csv());
        scene.write("data/ratings.csv", &ratings_csv());
        child::stdout(&scene.home, &["import", "movielens", &scene.path("data")]);
        scene
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("a temporary folder's name is text").to_owned()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    /// The command fails as bad input does, and says these words in one line.
    fn refused(&self, arguments: &[&str], words: &[&str]) {
        let output = child::run(&self.home, arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {stderr}");
        let line = stderr.lines().find(|line| line.starts_with("marquee: ")).unwrap_or_default();
        for word in words {
            assert!(line.contains(word), "no {word:?} in: {stderr}");
        }
        assert!(!stderr.contains("panicked"), "{stderr}");
    }

    /// Imports with `--json`; the report.
    fn report(&self, what: &str, input: &str) -> serde_json::Value {
        let text = child::stdout(&self.home, &["import", what, &self.path(input), "--json"]);
        serde_json::from_str(&text).expect("one JSON document")
    }

    /// Everything in the log of the topic is in bronze or a dead letter; in silver, what did not come twice.
    fn nothing_is_lost(&self, topic: &str, interactions: u64, dead_letters: u64) {
        assert_eq!(child::log_events(&self.home, topic), interactions + dead_letters, "{topic}");
        for (table, count, expected) in [
            ("interaction_events", "count(*)", interactions),
            ("interactions", "count(*)", interactions),
            ("dead_letters", "sum(event_count)", dead_letters),
        ] {
            let query = format!("SELECT {count} FROM {table} WHERE topic = '{topic}'");
            assert_eq!(child::number(&self.home, &query), expected, "{query}");
        }
    }
}

/// Posts JSON as a client does; status and body.
fn post(
    url: &str,
    content_type: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> (u16, reqwest::header::HeaderMap, Vec<u8>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let client = reqwest::Client::builder().timeout(DEADLINE).build().expect("a client");
        let mut request = client.post(url).header("content-type", content_type).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        (status, headers, response.bytes().await.expect("a body").to_vec())
    })
}

#[test]
fn tokens_that_are_not_believed_and_profiles_that_nobody_knows() {
    let scene = Scene::imported();
    let up = Up::start(&scene.home, &[]).expect("up starts");
    let client = RowsClient::of(&up, &scene.home);
    let ask = |token: &str| client.get_home_page(token, v1::GetHomePageRequest::default(), None);
    let good = client.token("ml-1");
    let foreign = TokenKey::new(&[9; 32]).expect("a key").sign("ml-1", now_ms() + 60_000);
    let of_another = {
        let other = client.token("ml-2");
        let (_, signature) = good.rsplit_once('.').expect("a signature");
        format!("{}.{signature}", other.rsplit_once('.').expect("a signature").0)
    };
    for (token, words) in [
        ("", "profile token"),
        ("x", "malformed"),
        ("p1.bWwtMQ.99999999999999.AAAA", "signature"),
        (&"x".repeat(2_000), "malformed"),
        (&good[..good.len() - 3], "token"),
        (&foreign, "signature"),
        (&of_another, "signature"),
        (&client.tokens.sign("ml-1", now_ms() - 1), "expired"),
    ] {
        let refusal = ask(token).expect_err("it is not believed");
        assert_eq!(refusal.code(), Code::Unauthenticated, "{token:.60}: {refusal}");
        assert!(refusal.message().contains(words), "{token:.60}: {refusal}");
    }
    let refusal = client.home_page("ml-999").expect_err("nobody knows it");
    assert_eq!(refusal.code(), Code::NotFound, "{refusal}");
    assert!(refusal.message().contains("ml-999"), "{refusal}");
    assert!(!titles(&ask(&good).expect("a page")).is_empty());
    up.stop();
}

/// As bytes, so that no client in between gives up by itself: what the server says within so short a time is a page or
/// `DEADLINE_EXCEEDED`, at once.
#[test]
fn a_deadline_of_one_millisecond() {
    const REQUESTS: usize = 50;
    let scene = Scene::imported();
    let up = Up::start(&scene.home, &[]).expect("up starts");
    let client = RowsClient::of(&up, &scene.home);
    let url = format!("http://{}/marquee.rows.v1.RowsService/GetHomePage", up.listens("rows"));
    let bearer = format!("Bearer {}", client.token("ml-1"));
    let headers = [("authorization", bearer.as_str()), ("grpc-timeout", "1m"), ("x-grpc-web", "1")];
    let mut pages = 0;
    for request in 0..REQUESTS {
        let began = Instant::now();
        let (status, head, body) = post(&url, "application/grpc-web+proto", &headers, vec![0; 5]);
        assert!(began.elapsed() < Duration::from_secs(10), "it hangs");
        assert_eq!(status, 200);
        let in_head = head.get("grpc-status").and_then(|status| status.to_str().ok()).map(str::to_owned);
        let frames = frames(&body);
        let grpc_status = in_head.or_else(|| frames.iter().find(|frame| frame.0).map(|(_, text)| status_of(text)));
        match grpc_status.as_deref() {
            Some("0") => {
                let (_, message) = frames.iter().find(|frame| !frame.0).expect("a message");
                let page = v1::GetHomePageResponse::decode(message.as_slice()).expect("a page");
                assert!(!titles(&page).is_empty(), "request {request}: {page:?}");
                // Until the profile is known, nobody knows that it is an adult's.
                let movie = |title: &str| title.trim_start_matches("ml-").parse().expect("a film's number");
                let is_open = !degraded(&page).contains(&v1::DegradedReason::FailedClosed);
                assert!(is_open || titles(&page).into_iter().all(|title| is_for_all(movie(title))), "{page:?}");
                pages += 1;
            }
            Some("4") => {}
            other => panic!("request {request} gets status {other:?}"),
        }
        if request == REQUESTS / 2 {
            client.home_page("ml-1").expect("a page for who can wait");
        }
    }
    assert!(pages > 0, "a page that is in memory needs no time");
    up.stop();
}

/// The frames of a grpc-web body: whether it is the trailers, and its bytes.
fn frames(mut body: &[u8]) -> Vec<(bool, Vec<u8>)> {
    let mut frames = Vec::new();
    while let Some((head, rest)) = body.split_at_checked(5) {
        let length = u32::from_be_bytes(head[1..].try_into().expect("four bytes")) as usize;
        frames.push((head[0] & 0x80 != 0, rest[..length].to_vec()));
        body = &rest[length..];
    }
    frames
}

fn status_of(trailers: &[u8]) -> String {
    let text = String::from_utf8_lossy(trailers).to_lowercase();
    text.lines().find_map(|line| line.strip_prefix("grpc-status:")).unwrap_or_default().trim().to_owned()
}

/// Titles that the catalogue does not have, watched to half by the profile whose page is looked at and in full by others.
fn ghosts() -> String {
    let mut text = "profile_id,title_id,timestamp_ms,watched_fraction\n".to_owned();
    for user in 1..=USERS {
        for ghost in 0..8 {
            let fraction = if user == 1 { 0.5 } else { 1.0 };
            let at_ms = 1_500_900_000_000_i64 + i64::from(ghost * 60_000 + user);
            writeln!(text, "ml-{user},ghost-{ghost},{at_ms},{fraction}").expect("text grows");
        }
    }
    text
}

#[test]
fn titles_that_the_catalogue_lacks_are_counted_and_never_shown() {
    let scene = Scene::imported();
    scene.write("ghosts.csv", &ghosts());
    let report = scene.report("interactions", "ghosts.csv");
    assert_eq!((report["interactions"].as_u64(), report["refused_lines"].as_u64()), (Some(96), Some(0)));
    scene.nothing_is_lost("interactions-import", u64::from(2 * USERS * (MOVIES / 3)) + 96, 0);
    child::stdout(&scene.home, &["train", "linear-transition", "--publish"]);
    let ghosts = "SELECT count(DISTINCT title_id) FROM interactions WHERE title_id LIKE 'ghost-%'";
    assert_eq!(child::number(&scene.home, ghosts), 8);

    let mut up = Up::start(&scene.home, &[]).expect("up starts");
    let client = RowsClient::of(&up, &scene.home);
    let known: BTreeSet<String> = (1..=MOVIES).map(|movie| format!("ml-{movie}")).collect();
    let shows_only_what_is_known = || {
        let page = client.home_page("ml-1").expect("a page");
        let shown = titles(&page);
        assert!(shown.len() > 5, "{shown:?}");
        let strangers: Vec<_> = shown.iter().filter(|title| !known.contains(**title)).collect();
        assert!(strangers.is_empty(), "{strangers:?}");
        page.served.expect("a page says how it came about").model_version
    };
    let started = Instant::now();
    while shows_only_what_is_known().is_empty() {
        assert!(started.elapsed() < DEADLINE, "the model does not come into service");
    }
    // The same by the way that players take.
    let watched = |ghost: u32| {
        let (title, at) = (format!("ghost-live-{ghost}"), now_ms());
        format!(
            r#"{{"interaction_id":"s{ghost}","event_time_ms":{at},"view_started":{{"title_id":"{title}"}}}},
            {{"interaction_id":"f{ghost}","event_time_ms":{at},"view_finished":{{"title_id":"{title}","watched_fraction":0.4}}}}"#
        )
    };
    let all: Vec<String> = (0..5).map(watched).collect();
    let body = format!(r#"{{"context":{{"profile_id":"ml-1"}},"interactions":[{}]}}"#, all.join(","));
    let (status, _, answer) = post(&up.url("/v1/interactions"), "application/json", &[], body.into_bytes());
    assert_eq!(status, 202, "{}", String::from_utf8_lossy(&answer));
    assert!(up.drained("interactions"));
    shows_only_what_is_known();
    up.stop();
    scene.nothing_is_lost("interactions", 10, 0);
}

#[test]
fn interactions_that_break_a_rule() {
    let scene = Scene::imported();
    let mut up = Up::start(&scene.home, &[]).expect("up starts");
    let now = now_ms();
    let rating = |id: &str, at: i64, value: f64| {
        format!(r#"{{"interaction_id":"{id}","event_time_ms":{at},"rating":{{"title_id":"ml-1","value":{value}}}}}"#)
    };
    let batch = |profile: &str, interactions: &[String]| {
        format!(
            r#"{{"context":{{"profile_id":"{profile}"}},"sent_at_ms":{now},"interactions":[{}]}}"#,
            interactions.join(",")
        )
    };
    let send = |body: String| {
        let (status, _, answer) = post(&up.url("/v1/interactions"), "application/json", &[], body.into_bytes());
        (status, String::from_utf8_lossy(&answer).into_owned())
    };
    // Refused as a whole, by field: the client still has all of it.
    for (body, field, problem) in [
        (batch("ml-1", &[rating("a", now, 4.0), rating("b", now, 7.0)]), "interactions[1].rating.value", "0.5 and 5"),
        (batch("ml-1", &[rating("a", -1, 4.0)]), "interactions[0].event_time_ms", "-1"),
        (batch("", &[rating("a", now, 4.0)]), "context.profile_id", "missing"),
        (batch("ml-1", &[]), "interactions", "empty"),
    ] {
        let (status, answer) = send(body);
        let error: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
        assert_eq!((status, error["error"]["field"].as_str()), (400, Some(field)), "{answer}");
        assert!(error["error"]["problem"].as_str().is_some_and(|text| text.contains(problem)), "{answer}");
    }
    // Accepted and then found to be from the future: a dead letter, the other one counts.
    let (status, answer) = send(batch("ml-1", &[rating("c", now, 4.0), rating("d", now + 3_600_000, 3.0)]));
    assert_eq!(status, 202, "{answer}");
    assert!(up.drained("interactions"));
    up.stop();
    scene.nothing_is_lost("interactions", 1, 1);
    let reasons = child::sql(&scene.home, "SELECT reason FROM dead_letters WHERE topic = 'interactions'");
    assert_eq!(reasons, [serde_json::json!({"reason": "future_time"})]);
}

#[test]
fn files_with_bad_lines() {
    let scene = Scene::new();
    // User 1's lines come newest first; two lines of one instant keep their order; the last line is cut off.
    let ratings = "userId,movieId,rating,timestamp\r\n1,3,4.0,300\r\n1,2,7,250\r\n1,2,4.0,200\r\n1,4,4.0,-5\r\n1,1,4.0,200\r\n1,5,4.0\r\n";
    scene.write("data/movies.csv", &movies_csv());
    scene.write("data/ratings.csv", ratings);
    let report = scene.report("movielens", "data");
    let refused: Vec<(&str, u64, &str)> = report["refused"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|line| {
            let text = |name: &str| line[name].as_str().expect("text");
            (text("file"), line["line"].as_u64().expect("a number"), text("reason"))
        })
        .collect();
    let expected = [
        ("ratings.csv", 3, "rating `7` is not between 0.5 and 5"),
        ("ratings.csv", 5, "timestamp `-5` is not between 0 and 253402300799"),
        ("ratings.csv", 7, "has 3 fields, the header has 4"),
    ];
    assert_eq!(refused, expected);
    assert_eq!(report["interactions"].as_u64(), Some(6));
    scene.nothing_is_lost("interactions-import", 6, 0);
    let order = "SELECT title_id FROM interactions WHERE type = 'rating' ORDER BY sequence";
    let titles: Vec<_> = child::sql(&scene.home, order).iter().map(|row| row["title_id"].clone()).collect();
    assert_eq!(titles, ["ml-2", "ml-1", "ml-3"], "in the order of time, ties as in the file");

    // The same file again changes nothing; a mended one brings what was refused.
    assert_eq!(scene.report("movielens", "data")["duplicate"], true);
    scene.write("mended.csv", "title_id,timestamp_ms,profile_id\nml-4,400000,ml-1\nml-9,-1,ml-1\n");
    let report = scene.report("interactions", "mended.csv");
    assert_eq!((report["interactions"].as_u64(), report["refused"][0]["line"].as_u64()), (Some(1), Some(3)));
    scene.nothing_is_lost("interactions-import", 7, 0);
    scene.write("all-bad.csv", "profile_id,title_id,timestamp_ms\nml-1,ml-1,-1\n");
    scene.refused(&["import", "interactions", &scene.path("all-bad.csv")], &["all-bad.csv", "no line"]);
    let evaluated = scene.path("all-bad.csv");
    scene.refused(&["evaluate", "--interactions", &evaluated], &["all-bad.csv, line 2", "timestamp_ms", "-1"]);
    scene.refused(&["evaluate", "--interactions", &scene.path("nowhere.csv")], &["nowhere.csv"]);
}

/// A change of a good data set, and what is said about it.
type Broken<'a> = (&'a dyn Fn(&Path), &'a [&'a str]);

#[test]
fn broken_folders_and_files_leave_no_trace() {
    let scene = Scene::new();
    let remove = |name: &'static str| move |dir: &Path| fs::remove_file(dir.join(name)).expect("a file");
    let replace = |name: &'static str, old: &'static str, new: &'static str| {
        move |dir: &Path| {
            let text = fs::read_to_string(dir.join(name)).expect("a file");
            assert!(text.contains(old));
            fs::write(dir.join(name), text.replacen(old, new, 1)).expect("a file");
        }
    };
    let cut = |dir: &Path| {
        let text = movies_csv();
        fs::write(dir.join("movies.csv"), &text[..text.len() - "lm 30 (2001),Animation|Children\r\n".len()])
            .expect("a file");
    };
    let cases: [Broken<'_>; 7] = [
        (&remove("movies.csv"), &["movies.csv", "No such file", "nothing was imported", "ratings.csv"]),
        (&remove("ratings.csv"), &["ratings.csv", "No such file", "nothing was imported"]),
        (&replace("movies.csv", "movieId", "id"), &["movies.csv, line 1", "movieId", "no such column"]),
        (&replace("ratings.csv", "userId", "user"), &["ratings.csv", "column `userId`", "nothing was imported"]),
        (&replace("movies.csv", "\r\n7,", "\r\nseven,"), &["movies.csv, line 8", "movieId", "seven"]),
        (&replace("movies.csv", "\r\n8,", "\r\n7,"), &["movies.csv, line 9", "movieId", "twice"]),
        (&cut, &["movies.csv, line 31", "genres", "missing", "nothing was imported"]),
    ];
    for (number, (break_it, words)) in cases.iter().enumerate() {
        let name = format!("data-{number}");
        scene.write(&format!("{name}/movies.csv"), &movies_csv());
        scene.write(&format!("{name}/ratings.csv"), &ratings_csv());
        break_it(&scene.folder.path().join(&name));
        scene.refused(&["import", "movielens", &scene.path(&name)], words);
    }
    scene.write("header.csv", "profile,title_id,timestamp_ms\n");
    scene.write("misspelt.csv", "profile_id,title_id,timestamp_ms,watched_fractoin\np,t,1,1\n");
    for (file, words) in [
        ("header.csv", ["header.csv", "column `profile_id`", "FILE must begin with"]),
        ("misspelt.csv", ["misspelt.csv", "`watched_fractoin`", "FILE must begin with"]),
        ("nowhere.csv", ["nowhere.csv", "No such file", "nothing was imported"]),
    ] {
        scene.refused(&["import", "interactions", &scene.path(file)], &words);
    }
    assert!(!scene.home.exists(), "bad input is told before a home is made for it");
}
