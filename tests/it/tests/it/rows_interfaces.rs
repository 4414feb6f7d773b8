//! What the port of the rows offers besides rows, on the real binary: health, reflection, and grpc-web for browsers.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use marquee_catalogue::{Catalogue as _, Maturity, Profile, Regions, Title};
use marquee_rows_proto::v1;
use marquee_store::SqliteCatalogue;
use prost::Message as _;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::child::{DEADLINE, Up};
use crate::rows_client::{RowsClient, titles};

const SERVICE: &str = "marquee.rows.v1.RowsService";
const ORIGIN: &str = "https://tv.example.com";
const FOREIGN: &str = "https://elsewhere.example.com";

#[test]
fn health_reflection_and_browsers() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().join("home");
    std::fs::create_dir(&home).expect("a home");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let catalogue = SqliteCatalogue::open(&home.join("catalogue.sqlite")).await.expect("a catalogue");
        catalogue.put_titles((0..8).map(title).collect()).await.expect("titles");
        catalogue.put_profiles(vec![kid()]).await.expect("a profile");
    });
    let origins = format!("[\"{ORIGIN}\"]");
    let up = Up::start(&home, &[("MARQUEE_ROWS__ALLOWED_ORIGINS", &origins)]).expect("up starts");
    let client = RowsClient::of(&up, &home);

    becomes_healthy(&client);
    let services = services(&client);
    for name in [SERVICE, "grpc.health.v1.Health"] {
        assert!(services.iter().any(|service| service == name), "{services:?}");
    }
    assert!(!titles(&client.home_page("kid").expect("a page")).is_empty());

    let address = up.listens("rows");
    let token = client.token("kid");
    let (head, page) = grpc_web(address, ORIGIN, &token);
    assert!(head.contains(&format!("access-control-allow-origin: {ORIGIN}\r\n")), "{head}");
    assert!(!titles(&page.expect("a page")).is_empty());
    // A browser asks first, is not told that the origin may, and sends nothing; and it hides what was sent anyway.
    for (origin, is_allowed) in [(ORIGIN, true), (FOREIGN, false), ("null", false)] {
        assert_eq!(preflight(address, origin).contains("access-control-allow-origin"), is_allowed, "{origin}");
        assert_eq!(grpc_web(address, origin, &token).0.contains("access-control-allow-origin"), is_allowed, "{origin}");
    }
    up.stop();
}

fn title(number: i64) -> Title {
    Title {
        title_id: format!("t-{number}"),
        name: format!("Title {number}"),
        year: None,
        genres: Vec::new(),
        tags: Vec::new(),
        maturity: Maturity::AllAges,
        regions: Regions::Everywhere,
        duration_ms: None,
        added_at_ms: number,
    }
}

fn kid() -> Profile {
    let (profile_id, display_name) = ("kid".to_owned(), "Kid".to_owned());
    Profile { profile_id, display_name, max_maturity: Maturity::AllAges, country: "FR".to_owned() }
}

/// Without any model.
fn becomes_healthy(client: &RowsClient) {
    let mut health = HealthClient::new(client.channel.clone());
    let started = Instant::now();
    for service in [SERVICE, ""] {
        loop {
            let ask = HealthCheckRequest { service: service.to_owned() };
            let answer = client.block_on(health.check(ask)).expect("an answer").into_inner();
            if answer.status() == ServingStatus::Serving {
                break;
            }
            assert!(started.elapsed() < DEADLINE, "it stays {:?}", answer.status());
        }
    }
}

/// The names of all services.
fn services(client: &RowsClient) -> Vec<String> {
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let ask = ServerReflectionRequest { host: String::new(), message_request };
    let mut reflection = ServerReflectionClient::new(client.channel.clone());
    let answer = client.block_on(async {
        let mut answers = reflection.server_reflection_info(futures::stream::iter([ask])).await?.into_inner();
        answers.message().await
    });
    match answer.expect("an answer").and_then(|answer| answer.message_response) {
        Some(MessageResponse::ListServicesResponse(list)) => list.service.into_iter().map(|s| s.name).collect(),
        other => panic!("{other:?}"),
    }
}

/// A home page as a browser asks for it over HTTP/1.1: the head of the answer, and the page if there is one.
fn grpc_web(address: SocketAddr, origin: &str, token: &str) -> (String, Option<v1::GetHomePageResponse>) {
    let message = v1::GetHomePageRequest::default().encode_to_vec();
    let mut body = vec![0];
    body.extend_from_slice(&(message.len() as u32).to_be_bytes());
    body.extend_from_slice(&message);
    let head = format!(
        "POST /{SERVICE}/GetHomePage HTTP/1.0\r\nhost: {address}\r\norigin: {origin}\r\nx-grpc-web: 1\r\n\
         content-type: application/grpc-web+proto\r\nauthorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let (head, body) = exchange(address, &[head.as_bytes(), &body].concat());
    assert!(head.starts_with("http/1.0 200") || head.starts_with("http/1.1 200"), "{head}");
    let page = (body.len() > 5 && body[0] == 0).then(|| {
        let length = u32::from_be_bytes(body[1..5].try_into().expect("four bytes")) as usize;
        v1::GetHomePageResponse::decode(&body[5..5 + length]).expect("a page")
    });
    (head, page)
}

/// The head of the answer to what a browser asks before it sends.
fn preflight(address: SocketAddr, origin: &str) -> String {
    let request = format!(
        "OPTIONS /{SERVICE}/GetHomePage HTTP/1.0\r\nhost: {address}\r\norigin: {origin}\r\n\
         access-control-request-method: POST\r\naccess-control-request-headers: authorization,x-grpc-web\r\n\r\n"
    );
    exchange(address, request.as_bytes()).0
}

/// Sends bytes and reads to the end, which HTTP/1.0 ends without chunks: head in lower case, and body.
fn exchange(address: SocketAddr, bytes: &[u8]) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    stream.write_all(bytes).expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers");
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
    (String::from_utf8_lossy(&answer[..end]).to_lowercase(), answer[end..].to_vec())
}
