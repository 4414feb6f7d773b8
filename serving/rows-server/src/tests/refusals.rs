//! What is refused, with which code, and what a program can read of it.

use std::time::Duration;

use marquee_catalogue::token::TokenKey;
use marquee_retrieval::rehearsal::{Fault, Rehearsal};
use marquee_rows_proto::v1;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use super::{NOW_MS, Served, put_model, with_token};
use crate::RowsSettings;

fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

#[tokio::test]
async fn only_a_signed_token_says_who_asks() {
    let served = Served::start(RowsSettings::default()).await;
    let mut client = served.client().await;
    let page = v1::GetHomePageRequest::default();
    let bare = client.get_home_page(Request::new(page)).await.unwrap_err();
    assert_eq!((bare.code(), reason(&bare).as_str()), (Code::Unauthenticated, "TOKEN_MISSING"));
    let mut basic = Request::new(page);
    basic.metadata_mut().insert("authorization", "Basic YTpi".parse().unwrap());
    let basic = client.get_home_page(basic).await.unwrap_err();
    assert_eq!((basic.code(), reason(&basic).as_str()), (Code::Unauthenticated, "TOKEN_MISSING"));
    let expired = served.tokens.sign("adult", NOW_MS);
    let forged = TokenKey::new(&[9; 32]).unwrap().sign("adult", NOW_MS + 60_000);
    for (token, expected) in
        [("", "TOKEN_REFUSED"), ("x.y", "TOKEN_REFUSED"), (&forged, "TOKEN_REFUSED"), (&expired, "TOKEN_EXPIRED")]
    {
        let refusal = client.get_home_page(with_token(page, token)).await.unwrap_err();
        assert_eq!((refusal.code(), reason(&refusal).as_str()), (Code::Unauthenticated, expected), "{token}");
    }
    assert_eq!(served.server.stats().refused, 6);
    served.stop().await;
}

#[tokio::test]
async fn unknown_profiles_and_rows_are_not_found() {
    let served = Served::start(RowsSettings::default()).await;
    let mut client = served.client().await;
    let stranger = with_token(v1::GetHomePageRequest::default(), &served.token("nobody"));
    let refusal = client.get_home_page(stranger).await.unwrap_err();
    assert_eq!((refusal.code(), reason(&refusal).as_str()), (Code::NotFound, "UNKNOWN_PROFILE"));
    assert_eq!(refusal.get_details_error_info().unwrap().metadata["profile_id"], "nobody");
    let row = v1::GetRowRequest { row_id: "nonsense".to_owned(), ..v1::GetRowRequest::default() };
    let refusal = client.get_row(served.request(row)).await.unwrap_err();
    assert_eq!((refusal.code(), reason(&refusal).as_str()), (Code::NotFound, "UNKNOWN_ROW"));
    served.stop().await;
}

#[tokio::test]
async fn bad_arguments_name_their_field() {
    let served = Served::start(RowsSettings::default()).await;
    let mut client = served.client().await;
    let check = |refusal: Status, field: &str| {
        assert_eq!(refusal.code(), Code::InvalidArgument, "{refusal}");
        let violations = refusal.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations.len(), 1);
        assert_eq!(violations[0].field, field, "{refusal}");
    };
    for (field, max_rows, max_items) in [("max_rows", 13, 1), ("max_items", 1, 61), ("max_rows", u32::MAX, 0)] {
        let page = v1::GetHomePageRequest { max_rows, max_items };
        check(client.get_home_page(served.request(page)).await.unwrap_err(), field);
    }
    let row = |row_id: &str, page_size, page_token: &str| v1::GetRowRequest {
        row_id: row_id.to_owned(),
        page_size,
        page_token: page_token.to_owned(),
    };
    let part = client.get_row(served.request(row("new", 2, ""))).await.unwrap().into_inner();
    let token = part.next_page_token;
    let cut = &token[..token.len() - 1];
    for (message, field) in [
        (row("", 0, ""), "row_id"),
        (row(&"x".repeat(300), 0, ""), "row_id"),
        (row("new", 61, ""), "page_size"),
        (row("new", 0, "x"), "page_token"),
        (row("new", 0, cut), "page_token"),
        (row("exploration", 0, &token), "page_token"),
    ] {
        check(client.get_row(served.request(message)).await.unwrap_err(), field);
    }
    let other = marquee_catalogue::Profile {
        profile_id: "other".to_owned(),
        display_name: String::new(),
        max_maturity: marquee_catalogue::Maturity::Age18,
        country: String::new(),
    };
    served.parts.catalogue.put_profile(other);
    let stolen = with_token(row("new", 0, &token), &served.token("other"));
    check(client.get_row(stolen).await.unwrap_err(), "page_token");
    assert!(client.get_row(served.request(row("new", 0, &token))).await.is_ok(), "its owner may use it");
    served.stop().await;
}

#[tokio::test]
async fn large_requests_are_not_read() {
    let served = Served::start(RowsSettings::default()).await;
    let row = v1::GetRowRequest { row_id: "x".repeat(20 << 10), ..v1::GetRowRequest::default() };
    let refusal = served.client().await.get_row(served.request(row)).await.unwrap_err();
    assert_eq!(refusal.code(), Code::OutOfRange, "{refusal}");
    served.stop().await;
}

#[tokio::test]
async fn a_catalogue_that_never_answered_is_unavailable() {
    let parts = Rehearsal::new(NOW_MS);
    put_model(&parts, "m-1");
    parts.catalogue.titles_fault.set(Fault::Fails);
    let served = Served::over(parts, RowsSettings::default()).await;
    let refusal = served.home().await.unwrap_err();
    assert_eq!((refusal.code(), reason(&refusal).as_str()), (Code::Unavailable, "CATALOGUE_UNAVAILABLE"));
    assert!(refusal.get_details_retry_info().is_some());
    assert!(!refusal.message().contains("on purpose"), "sources are for the log: {refusal}");
    served.stop().await;
}

#[tokio::test]
async fn more_requests_than_there_are_slots() {
    let settings = RowsSettings { max_concurrent_requests: 1, default_deadline_ms: 10_000, ..RowsSettings::default() };
    let served = Served::start(settings).await;
    served.home().await.unwrap();
    served.parts.index.fault.set(Fault::Hangs);
    let (mut first, mut second) = (served.client().await, served.client().await);
    let page = v1::GetHomePageRequest::default();
    let waiting = tokio::spawn({
        let request = served.request(page);
        async move { first.get_home_page(request).await }
    });
    let refusal = async {
        loop {
            match second.get_home_page(served.request(page)).await {
                Err(refusal) => break refusal,
                Ok(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    };
    // The second may have come first: then it holds the only slot until the index comes back.
    let refusal = tokio::time::timeout(Duration::from_secs(5), refusal).await;
    served.parts.mend();
    match refusal {
        Ok(refusal) => assert_eq!(refusal.code(), Code::ResourceExhausted, "{refusal}"),
        Err(_) => assert_eq!(waiting.await.unwrap().unwrap_err().code(), Code::ResourceExhausted),
    }
    served.stop().await;
}
