//! grpc-web and deadlines, as bytes over HTTP/1.1: no client in between that would give up by itself.

use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use marquee_rows_proto::v1;

use super::Served;
use crate::RowsSettings;

const PATH: &str = "/marquee.rows.v1.RowsService/GetHomePage";
const ORIGIN: &str = "https://tv.example.com";

fn settings() -> RowsSettings {
    RowsSettings { allowed_origins: vec![ORIGIN.to_owned()], ..RowsSettings::default() }
}

/// Sends bytes and reads until the server closes: head in lower case, and body.
async fn exchange(served: &Served, bytes: &[u8]) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(answer[..end].to_vec()).unwrap().to_lowercase();
    let body = &answer[end + 4..];
    let body = if head.contains("transfer-encoding: chunked") { unchunked(body) } else { body.to_vec() };
    (head, body)
}

fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|window| window == b"\r\n").expect("a chunk's length");
        let length = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        if length == 0 {
            return body;
        }
        body.extend_from_slice(&bytes[end + 2..end + 2 + length]);
        bytes = &bytes[end + 4 + length..];
    }
}

async fn preflight(served: &Served, origin: &str) -> String {
    let request = format!(
        "OPTIONS {PATH} HTTP/1.1\r\nhost: rows\r\norigin: {origin}\r\naccess-control-request-method: POST\r\n\
         access-control-request-headers: authorization,content-type,x-grpc-web\r\nconnection: close\r\n\r\n"
    );
    exchange(served, request.as_bytes()).await.0
}

/// A home page as a browser asks for it: the message, if any, and the trailers.
async fn home_page(served: &Served, headers: &str) -> (Option<v1::GetHomePageResponse>, String, String) {
    let message = v1::GetHomePageRequest { max_rows: 0, max_items: 4 }.encode_to_vec();
    let mut body = vec![0];
    body.extend_from_slice(&(message.len() as u32).to_be_bytes());
    body.extend_from_slice(&message);
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: rows\r\norigin: {ORIGIN}\r\ncontent-type: application/grpc-web+proto\r\n\
         x-grpc-web: 1\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n{headers}connection: close\r\n\r\n",
        served.token("adult"),
        body.len(),
    );
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(&body);
    let (head, body) = exchange(served, &bytes).await;
    let (mut rest, mut page, mut trailers) = (body.as_slice(), None, String::new());
    while rest.len() >= 5 {
        let length = u32::from_be_bytes(rest[1..5].try_into().unwrap()) as usize;
        let frame = &rest[5..5 + length];
        match rest[0] {
            0 => page = Some(v1::GetHomePageResponse::decode(frame).unwrap()),
            0x80 => trailers = String::from_utf8(frame.to_vec()).unwrap().to_lowercase(),
            flag => panic!("frame {flag}"),
        }
        rest = &rest[5 + length..];
    }
    (page, trailers, head)
}

#[tokio::test]
async fn browsers_of_allowed_origins_may_ask() {
    let served = Served::start(settings()).await;
    let head = preflight(&served, ORIGIN).await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains(&format!("access-control-allow-origin: {ORIGIN}")), "{head}");
    for header in ["authorization", "content-type", "x-grpc-web", "grpc-timeout"] {
        let allowed = head.lines().find(|line| line.starts_with("access-control-allow-headers")).unwrap();
        assert!(allowed.contains(header), "{allowed}");
    }
    let head = preflight(&served, "https://evil.example.com").await;
    assert!(!head.contains("access-control-allow-origin"), "{head}");

    let (page, trailers, head) = home_page(&served, "").await;
    assert!(head.contains(&format!("access-control-allow-origin: {ORIGIN}")), "{head}");
    assert!(head.contains("grpc-status-details-bin"), "exposed: {head}");
    assert!(trailers.contains("grpc-status:0") || trailers.contains("grpc-status: 0"), "{trailers}");
    assert!(!page.unwrap().rows.is_empty());
    served.stop().await;
}

#[tokio::test]
async fn no_origin_is_allowed_by_default() {
    let served = Served::start(RowsSettings::default()).await;
    let head = preflight(&served, ORIGIN).await;
    assert!(!head.contains("access-control-allow-origin"), "{head}");
    served.stop().await;
}

/// The answer to a deadline of 1 ms is a page: first what is popular, then the last good one.
#[tokio::test]
async fn a_deadline_of_one_millisecond_gets_a_page() {
    let served = Served::start(settings()).await;
    served.server.rows.recommender.refresh().await.unwrap();
    let reasons = |page: &v1::GetHomePageResponse| page.served.as_ref().unwrap().degraded().collect::<Vec<_>>();
    let (page, trailers, head) = home_page(&served, "grpc-timeout: 1m\r\n").await;
    let page = page.unwrap_or_else(|| panic!("{head} {trailers}"));
    assert_eq!(reasons(&page), [v1::DegradedReason::Deadline]);
    assert_eq!(page.rows.iter().find(|row| row.row_id == "top_picks").unwrap().heading, "Popular");

    let (good, _, _) = home_page(&served, "").await;
    let good = good.unwrap();
    assert_eq!(reasons(&good), []);
    let (kept, trailers, head) = home_page(&served, "grpc-timeout: 1m\r\n").await;
    let kept = kept.unwrap_or_else(|| panic!("{head} {trailers}"));
    assert_eq!(reasons(&kept), [v1::DegradedReason::Deadline]);
    let titles = |page: &v1::GetHomePageResponse| {
        page.rows.iter().flat_map(|row| row.items.iter().map(|item| item.title_id.clone())).collect::<Vec<_>>()
    };
    assert_eq!(titles(&kept), titles(&good));
    served.stop().await;
}
