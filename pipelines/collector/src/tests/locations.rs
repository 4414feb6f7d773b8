//! Where clients are: MMDB files of our own making, real connections, and records that hold no address.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use axum::http::{HeaderMap, HeaderValue};
use marquee_events::{ContentType, decode};
use marquee_stream::RecordType;
use mmdb_writer::{Value as Entry, Writer};

use super::*;
use crate::LocationSettings;

/// An MMDB file that knows one network.
fn file(folder: &Path, name: &str, network: &str, entry: Entry) -> PathBuf {
    let mut writer = Writer::builder("Test").description(&[("en", "made by a test")]).build();
    writer.insert_value(network.parse::<ipnet::IpNet>().unwrap(), entry).unwrap();
    let path = folder.join(name);
    std::fs::write(&path, writer.to_bytes().unwrap()).unwrap();
    path
}

fn munich() -> Entry {
    let names = Entry::map([("en", Entry::from("Munich")), ("de", Entry::from("München"))]);
    Entry::map([
        ("country", Entry::map([("iso_code", Entry::from("DE"))])),
        ("subdivisions", Entry::array([Entry::map([("iso_code", Entry::from("BY"))])])),
        ("city", Entry::map([("names", names)])),
    ])
}

fn provider() -> Entry {
    Entry::map([
        ("autonomous_system_number", Entry::from(64_496_u32)),
        ("autonomous_system_organization", Entry::from("Isar Kabel")),
    ])
}

fn both_files(folder: &Path, network: &str) -> LocationSettings {
    LocationSettings {
        city_mmdb: Some(file(folder, "city.mmdb", network, munich())),
        network_mmdb: Some(file(folder, "asn.mmdb", network, provider())),
        trusted_proxies: 0,
    }
}

/// Country, region, city, provider and AS number of the only record, as the job will read them.
fn place(log: &MemoryLog) -> [String; 5] {
    let records = log.records("playback");
    let [(_, record)] = records.as_slice() else { panic!("{} records", records.len()) };
    assert!(!record.payload.windows(9).any(|bytes| bytes == b"127.0.0.1"), "the address is not kept");
    let of =
        |c: &marquee_events::ContextView<'_>| [&c.country, &c.region, &c.city, &c.isp, &c.asn].map(ToString::to_string);
    match record.header.record_type {
        RecordType::ViewEvents(ContentType::Cmcd) => {
            of(&marquee_cmcd::decode_record(&record.payload, NOW_MS).unwrap().parts[0].batch.context)
        }
        RecordType::ViewEvents(content_type) => of(&decode(content_type, &record.payload).unwrap().context),
        other => panic!("{other:?}"),
    }
}

/// A batch of a player that believes to be elsewhere.
fn lost_batch() -> ViewEventBatch {
    let mut batch = batch("a", 1);
    let context = batch.context.as_mut().unwrap();
    (context.country, context.city) = ("FR".to_owned(), "Paris".to_owned());
    batch
}

const MUNICH: [&str; 5] = ["DE", "BY", "Munich", "Isar Kabel", "64496"];

#[tokio::test]
async fn every_format_gets_the_place_of_its_address() {
    let folder = tempfile::tempdir().unwrap();
    let settings = both_files(folder.path(), "127.0.0.0/8");
    let json = format!("{} \n", to_json(&lost_batch()));
    let cmcd = r#"sid="a",e=ps,sta=s,ts=1700000000000,sn=0,v=2"#.to_owned();
    for (path, content_type, body) in [
        ("/v1/events", JSON, json.into_bytes()),
        ("/v1/events", PROTOBUF, protobuf(&lost_batch())),
        ("/v1/cmcd?country=FR&city=Paris", "application/cmcd", cmcd.into_bytes()),
    ] {
        let log = memory_log();
        let server = Server::start_with(log.clone(), |_| {}, Locator::open(&settings).unwrap()).await;
        let response = server.post(path, content_type, body).send().await.unwrap();
        assert!(response.status().is_success(), "{content_type}: {}", response.text().await.unwrap());
        assert_eq!(place(&log), MUNICH, "{content_type}");
    }
}

#[tokio::test]
async fn an_address_that_no_file_knows_leaves_what_the_player_says() {
    let folder = tempfile::tempdir().unwrap();
    for settings in [both_files(folder.path(), "192.0.2.0/24"), LocationSettings::default()] {
        let log = memory_log();
        let server = Server::start_with(log.clone(), |_| {}, Locator::open(&settings).unwrap()).await;
        check(server.post("/v1/events", PROTOBUF, protobuf(&lost_batch())), 202).await;
        assert_eq!(place(&log), ["FR", "", "Paris", "", ""]);
    }
}

#[tokio::test]
async fn a_client_cannot_say_where_it_is_in_the_collectors_name() {
    let server = Server::start(memory_log(), |_| {}).await;
    let mut batch = batch("a", 1);
    batch.location = Some(marquee_events::proto::Location { country: "FR".to_owned(), ..Default::default() });
    check_field(server.post("/v1/events", PROTOBUF, protobuf(&batch)), 400, Some("location"), "collector").await;
    check_field(server.post("/v1/events", JSON, to_json(&batch)), 400, Some("location"), "collector").await;
}

#[test]
fn only_trusted_proxies_are_believed() {
    let folder = tempfile::tempdir().unwrap();
    let country = |trusted_proxies: usize, peer: &str, forwarded: &[&str]| {
        let settings = LocationSettings { trusted_proxies, ..both_files(folder.path(), "192.0.2.0/24") };
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_str(value).unwrap());
        }
        let peer: IpAddr = peer.parse().unwrap();
        Locator::open(&settings).unwrap().locate(&headers, Some(peer)).map(|location| location.country)
    };
    let germany = Some("DE".to_owned());
    assert_eq!(country(0, "192.0.2.1", &[]), germany);
    assert_eq!(country(0, "198.51.100.1", &["192.0.2.1"]), None, "anybody can send the header");
    assert_eq!(country(1, "198.51.100.1", &["192.0.2.1"]), germany);
    assert_eq!(country(1, "198.51.100.1", &["192.0.2.1, 203.0.113.9"]), None, "what the client wrote before");
    assert_eq!(country(2, "198.51.100.1", &["203.0.113.9, 192.0.2.1", "198.51.100.7"]), germany);
    assert_eq!(country(1, "192.0.2.1", &[]), None, "who came past the proxy");
    assert_eq!(country(1, "198.51.100.1", &["192.0.2.1:4711"]), germany);
    assert_eq!(country(1, "198.51.100.1", &["::ffff:192.0.2.1"]), germany);
    assert_eq!(country(1, "198.51.100.1", &["unknown"]), None);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none.mmdb");
    let damaged = file(folder.path(), "damaged.mmdb", "192.0.2.0/24", munich());
    let bytes = std::fs::read(&damaged).unwrap();
    std::fs::write(&damaged, &bytes[..bytes.len() / 2]).unwrap();
    for path in [missing, damaged] {
        let settings = LocationSettings { network_mmdb: Some(path.clone()), ..Default::default() };
        let error = Locator::open(&settings).expect_err("cannot be read").to_string();
        assert!(error.contains("location.network_mmdb") && error.contains(&path.display().to_string()), "{error}");
    }
}
