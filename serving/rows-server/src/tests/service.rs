//! What clients get: pages, parts of rows, reasons, health, reflection, an orderly end.

use std::time::Duration;

use marquee_retrieval::rehearsal::{Fault, Rehearsal};
use marquee_retrieval::{Degraded, Stage, Tracking};
use marquee_rows_proto::v1;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::{NOW_MS, Served, put_model};
use crate::RowsSettings;

const SERVICE: &str = "marquee.rows.v1.RowsService";

#[tokio::test]
async fn a_page_says_how_it_came_about_and_tracks_its_items() {
    let served = Served::start(RowsSettings::default()).await;
    let page = served.home().await.unwrap();
    let by = page.served.unwrap();
    assert_eq!((by.profile_id.as_str(), by.model_version.as_str(), by.as_of_ms), ("adult", "m-1", NOW_MS));
    assert_eq!(by.degraded, [0; 0]);
    let picks = page.rows.iter().find(|row| row.row_id == "top_picks").unwrap();
    assert_eq!(picks.kind(), v1::RowKind::TopPicks);
    assert_eq!(picks.items.len(), 6);
    for row in &page.rows {
        for (position, item) in row.items.iter().enumerate() {
            let tracking = Tracking::open(&served.seal, &item.tracking_token).unwrap();
            assert_eq!(tracking.request_id.to_string(), by.request_id);
            assert_eq!((tracking.row_id.as_str(), tracking.position), (row.row_id.as_str(), position as u32));
            assert_eq!((tracking.model_version.as_str(), &tracking.title_id), ("m-1", &item.title_id));
            assert!(tracking.propensity > 0.0 && tracking.propensity <= 1.0);
        }
    }
    let again = served.home().await.unwrap();
    assert_ne!(again.served.unwrap().request_id, by.request_id);
    let stats = served.server.stats();
    assert_eq!((stats.home_pages, stats.rows, stats.refused), (2, 0, 0));
    assert_eq!(stats.stages[&(Stage::Source, "vectors")].runs, 2);
    served.stop().await;
}

#[tokio::test]
async fn a_row_goes_on_where_it_stopped_until_the_model_changes() {
    let served = Served::start(RowsSettings::default()).await;
    let mut client = served.client().await;
    let mut request = v1::GetRowRequest { row_id: "top_picks".to_owned(), page_size: 5, page_token: String::new() };
    let (mut titles, mut tokens) = (Vec::new(), Vec::new());
    loop {
        let part = client.get_row(served.request(request.clone())).await.unwrap().into_inner();
        for (position, item) in (titles.len()..).zip(&part.row.as_ref().unwrap().items) {
            let tracking = Tracking::open(&served.seal, &item.tracking_token).unwrap();
            assert_eq!(tracking.position, position as u32, "counted over all parts");
        }
        titles.extend(part.row.unwrap().items.into_iter().map(|item| item.title_id));
        if part.next_page_token.is_empty() {
            break;
        }
        tokens.push(part.next_page_token.clone());
        request.page_token = part.next_page_token;
    }
    assert_eq!(titles.len(), 19, "all but the one that was seen: {titles:?}");
    assert_eq!(titles[0], "t-19");

    put_model(&served.parts, "m-2");
    request.page_token = tokens.remove(0);
    let refusal = client.get_row(served.request(request.clone())).await.unwrap_err();
    assert_eq!(refusal.code(), Code::Aborted, "{refusal}");
    request.page_token.clear();
    assert!(client.get_row(served.request(request)).await.is_ok());
    served.stop().await;
}

/// Every reason reaches the wire, and pages go on.
#[tokio::test]
async fn broken_parts_are_named() {
    let served = Served::start(RowsSettings::default()).await;
    served.home().await.unwrap();
    let check = async |expected: v1::DegradedReason| {
        let page = served.home().await.unwrap();
        let reasons: Vec<v1::DegradedReason> = page.served.as_ref().unwrap().degraded().collect();
        assert_eq!(reasons, [expected]);
        assert!(page.rows.iter().any(|row| !row.items.is_empty()), "{expected:?}");
    };
    let parts = &served.parts;
    parts.index.fault.set(Fault::Fails);
    check(v1::DegradedReason::IndexUnavailable).await;
    parts.mend();
    parts.online.fault.set(Fault::Fails);
    check(v1::DegradedReason::FeaturesUnavailable).await;
    parts.mend();
    parts.catalogue.profiles_fault.set(Fault::Fails);
    check(v1::DegradedReason::FailedClosed).await;
    parts.mend();
    parts.index.fault.set(Fault::Hangs);
    check(v1::DegradedReason::Deadline).await;
    parts.mend();
    parts.status.set_takes_events(false);
    check(v1::DegradedReason::EventsUnavailable).await;
    parts.status.set_takes_events(true);
    let model = parts.models.current();
    parts.models.switch(None);
    check(v1::DegradedReason::NoModel).await;
    parts.models.switch(model);
    parts.catalogue.titles_fault.set(Fault::Fails);
    served.rows_refreshed().await;
    check(v1::DegradedReason::CatalogueUnavailable).await;
    let stats = served.server.stats();
    assert_eq!(stats.degraded.len(), Degraded::ALL.len(), "{:?}", stats.degraded);
    served.stop().await;
}

#[tokio::test]
async fn health_does_not_ask_for_a_model_but_for_a_catalogue() {
    let parts = Rehearsal::new(NOW_MS);
    parts.catalogue.titles_fault.set(Fault::Fails);
    let served = Served::over(parts, RowsSettings::default()).await;
    let mut health = HealthClient::new(served.channel().await);
    let ask = HealthCheckRequest { service: SERVICE.to_owned() };
    let status = health.check(ask.clone()).await.unwrap().into_inner().status();
    assert_eq!(status, tonic_health::pb::health_check_response::ServingStatus::NotServing);
    served.parts.mend();
    let mut watch = health.watch(ask.clone()).await.unwrap().into_inner();
    let serving = tonic_health::pb::health_check_response::ServingStatus::Serving;
    let became = async { while watch.message().await.unwrap().unwrap().status() != serving {} };
    tokio::time::timeout(Duration::from_secs(20), became).await.expect("it becomes ready by itself");
    assert!(served.parts.models.current().is_none());

    // Draining: those who watch hear it, then the end.
    let (stopping, mut seen) = (served.stop(), Vec::new());
    let watching = async {
        while let Ok(Some(status)) = watch.message().await {
            seen.push(status.status());
        }
    };
    tokio::join!(stopping, watching);
    assert_eq!(seen, [tonic_health::pb::health_check_response::ServingStatus::NotServing]);
}

#[tokio::test]
async fn clients_can_ask_what_there_is() {
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

    let served = Served::start(RowsSettings::default()).await;
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(served.channel().await);
    let mut answers = client.server_reflection_info(stream_of(ask)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
    let names: Vec<&str> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&SERVICE) && names.contains(&"grpc.health.v1.Health"), "{names:?}");
    drop((answers, client));
    served.stop().await;
}

fn stream_of<T>(item: T) -> impl futures::Stream<Item = T> {
    futures::stream::iter([item])
}

impl Served {
    /// Waits until the server has looked at the catalogue again.
    async fn rows_refreshed(&self) {
        self.server.rows.recommender.refresh().await.unwrap();
    }
}
