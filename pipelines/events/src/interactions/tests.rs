//! Both formats read what was written, and what breaks a rule is refused by field.

use proptest::prelude::*;
use prost::Message as _;

use super::proto::interaction::Payload;
use super::{decode_interactions, interactions_to_json, proto};
use crate::{ContentType, MAX_EVENTS_PER_BATCH};

fn check(interaction: &str, field: &str, problem: &str) {
    check_batch(&format!(r#"{{"context":{{"profile_id":"p"}},"interactions":[{interaction}]}}"#), field, problem);
}

fn check_batch(input: &str, field: &str, problem: &str) {
    let error = decode_interactions(ContentType::Json, input.as_bytes()).expect_err("is refused");
    assert_eq!(error.field, field, "{error}");
    assert!(error.problem.contains(problem), "{error}");
}

#[test]
fn errors_name_the_field() {
    check_batch("{", "batch", "EOF");
    check_batch("[]", "batch", "");
    check_batch(r#"{"context":{"profile_id":1}}"#, "context.profile_id", "invalid type");
    check_batch(r#"{"context":{"profil_id":"a"}}"#, "context.profil_id", "unknown field");
    check_batch(r#"{"context":{"profile_id":""},"interactions":[]}"#, "context.profile_id", "missing");
    check_batch(r#"{"context":{"profile_id":"a"},"interactions":[]}"#, "interactions", "empty");
    check_batch(r#"{"context":{"profile_id":"a"},"sent_at_ms":-1,"interactions":[]}"#, "sent_at_ms", "between");
    check(r#"{"search":{"query":"x"}}"#, "interactions[0]", "missing field `event_time_ms`");
    check(r#"{"event_time_ms":1}"#, "interactions[0]", "no payload");
    check(
        r#"{"event_time_ms":1,"search":{"query":"x"},"list_add":{"title_id":"t"}}"#,
        "interactions[0]",
        "`list_add` and `search`",
    );
    check(r#"{"event_time_ms":1,"wievs":{}}"#, "interactions[0].wievs", "unknown field");
    check(r#"{"event_time_ms":-1,"list_add":{"title_id":"t"}}"#, "interactions[0].event_time_ms", "between 0");
    check(r#"{"event_time_ms":9e18,"list_add":{"title_id":"t"}}"#, "interactions[0].event_time_ms", "invalid");
    check(r#"{"event_time_ms":1,"list_add":{"title_id":""}}"#, "interactions[0].list_add.title_id", "missing");
    check(r#"{"event_time_ms":1,"list_add":{"title_id":"a\u001fb"}}"#, "interactions[0].list_add.title_id", "control");
    let long = "x".repeat(257);
    check(
        &format!(r#"{{"event_time_ms":1,"list_add":{{"title_id":"{long}"}}}}"#),
        "interactions[0].list_add.title_id",
        "257 bytes",
    );
    check(
        &format!(r#"{{"interaction_id":"{long}","event_time_ms":1,"list_add":{{"title_id":"t"}}}}"#),
        "interactions[0].interaction_id",
        "257 bytes",
    );
    for value in ["7", "0.4", "-1", "5.01"] {
        let rating = format!(r#"{{"event_time_ms":1,"rating":{{"title_id":"t","value":{value}}}}}"#);
        check(&rating, "interactions[0].rating.value", "between 0.5 and 5");
    }
    check(r#"{"event_time_ms":1,"rating":{"title_id":"t","value":"5"}}"#, "interactions[0].rating.value", "invalid");
    check(r#"{"event_time_ms":1,"rating":{"title_id":"t"}}"#, "interactions[0].rating", "missing field `value`");
    check(
        r#"{"event_time_ms":1,"view_finished":{"title_id":"t","watched_fraction":1.5}}"#,
        "interactions[0].view_finished.watched_fraction",
        "between 0 and 1",
    );
    check(
        r#"{"event_time_ms":1,"click":{"title_id":"t","tracking_token":""}}"#,
        "interactions[0].click.tracking_token",
        "missing",
    );
    check(
        r#"{"event_time_ms":1,"impression":{"title_id":"t","tracking_token":"a","row_id":"r","position":-1}}"#,
        "interactions[0].impression.position",
        "invalid",
    );
}

#[test]
fn an_array_is_no_object() {
    check_batch(r#"[{"profile_id":"p"},0,[]]"#, "batch", "expected an object");
    check_batch(r#"{"context":["p"],"interactions":[]}"#, "context", "expected an object");
    check(r#"["i",1]"#, "interactions[0]", "expected an object");
    check(r#"{"event_time_ms":1,"list_add":["t"]}"#, "interactions[0].list_add", "expected an object");
    check(r#"{"event_time_ms":1,"list_add":null}"#, "interactions[0]", "no payload");
}

#[test]
fn numbers_that_are_none_are_refused_in_protobuf() {
    for value in [f64::NAN, f64::INFINITY, 7.0] {
        let rating = Payload::Rating(proto::Rating { title_id: "t".into(), value });
        let error = decode_interactions(ContentType::Protobuf, &encode(vec![rating])).expect_err("is refused");
        assert_eq!(error.field, "interactions[0].rating.value");
    }
}

fn encode(payloads: Vec<Payload>) -> Vec<u8> {
    let interactions = payloads
        .into_iter()
        .map(|payload| proto::Interaction { event_time_ms: 1, payload: Some(payload), ..Default::default() })
        .collect();
    let context = Some(proto::Context { profile_id: "p".into(), ..Default::default() });
    proto::InteractionBatch { context, sent_at_ms: 1, interactions }.encode_to_vec()
}

#[test]
fn a_batch_is_bounded_and_an_unknown_payload_is_kept_for_the_job() {
    let context = Some(proto::Context { profile_id: "p".into(), ..Default::default() });
    let batch = |count| proto::InteractionBatch {
        context: context.clone(),
        sent_at_ms: 0,
        interactions: vec![proto::Interaction::default(); count],
    };
    let error = decode_interactions(ContentType::Protobuf, &batch(MAX_EVENTS_PER_BATCH + 1).encode_to_vec());
    assert_eq!(error.expect_err("is refused").field, "interactions");
    let most = decode_interactions(ContentType::Protobuf, &batch(MAX_EVENTS_PER_BATCH).encode_to_vec());
    assert!(most.expect("is accepted").interactions.iter().all(|interaction| interaction.payload.is_none()));

    let search = Payload::Search(proto::Search { query: "x".into() });
    let one = proto::Interaction { payload: Some(search), ..Default::default() };
    let many = proto::InteractionBatch { interactions: vec![one; MAX_EVENTS_PER_BATCH + 1], ..batch(0) };
    let error = decode_interactions(ContentType::Json, interactions_to_json(&many).as_bytes()).expect_err("too many");
    assert_eq!(error.field, "interactions");
}

fn payload() -> impl Strategy<Value = Payload> {
    let id = || "[a-zé\"\\\\]{1,8}";
    // serde_json reads numbers of many digits to the last bit but one.
    let fraction = || (0_u32..=1000).prop_map(|thousandths| f64::from(thousandths) / 1000.0);
    let stars = (1_u8..=10).prop_map(|halves| f64::from(halves) / 2.0);
    prop_oneof![
        (id(), id(), id(), any::<u32>()).prop_map(|(tracking_token, title_id, row_id, position)| Payload::Impression(
            proto::Impression { tracking_token, title_id, row_id, position }
        )),
        (id(), id()).prop_map(|(tracking_token, title_id)| Payload::Click(proto::Click { tracking_token, title_id })),
        (id(), "[a-z]{0,3}", "[a-z]{0,3}").prop_map(|(title_id, session_id, tracking_token)| Payload::ViewStarted(
            proto::ViewStarted { title_id, session_id, tracking_token }
        )),
        (id(), "[a-z]{0,3}", fraction()).prop_map(|(title_id, session_id, watched_fraction)| Payload::ViewProgress(
            proto::ViewProgress { title_id, session_id, watched_fraction }
        )),
        (id(), "[a-z]{0,3}", fraction()).prop_map(|(title_id, session_id, watched_fraction)| Payload::ViewFinished(
            proto::ViewFinished { title_id, session_id, watched_fraction }
        )),
        id().prop_map(|title_id| Payload::ListAdd(proto::ListAdd { title_id })),
        id().prop_map(|title_id| Payload::ListRemove(proto::ListRemove { title_id })),
        (id(), stars).prop_map(|(title_id, value)| Payload::Rating(proto::Rating { title_id, value })),
        id().prop_map(|query| Payload::Search(proto::Search { query })),
        id().prop_map(|title_id| Payload::NotInterested(proto::NotInterested { title_id })),
    ]
}

proptest! {
    #[test]
    fn both_formats_read_what_was_written(
        payloads in prop::collection::vec(("[a-z]{0,4}", 0_i64..1 << 45, payload()), 1..6),
        profile_id in "[a-z]{1,4}",
        device_type in "[a-z]{0,4}",
        sent_at_ms in 0_i64..1 << 45,
    ) {
        let interactions = payloads
            .into_iter()
            .map(|(interaction_id, event_time_ms, payload)| proto::Interaction {
                interaction_id,
                event_time_ms,
                payload: Some(payload),
            })
            .collect();
        let context = proto::Context { profile_id, device_type, app_version: String::new() };
        let batch = proto::InteractionBatch { context: Some(context.clone()), sent_at_ms, interactions };
        let json = interactions_to_json(&batch);
        for (content_type, bytes) in
            [(ContentType::Protobuf, batch.encode_to_vec()), (ContentType::Json, json.into_bytes())]
        {
            let decoded = decode_interactions(content_type, &bytes).expect("our own output");
            prop_assert_eq!(&decoded.context, &context);
            prop_assert_eq!(decoded.sent_at_ms, sent_at_ms);
            prop_assert_eq!(&decoded.interactions, &batch.interactions);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for content_type in [ContentType::Protobuf, ContentType::Json] {
            let _ = decode_interactions(content_type, &bytes).map_err(|e| assert!(!e.field.is_empty()));
        }
    }
}
