//! What must hold of whatever a decoder accepts: written again in either format it decodes to the same.

use marquee_events::interactions::proto as interactions;
use marquee_events::interactions::proto::interaction;
use marquee_events::proto::view_event::Payload;
use marquee_events::proto::{self, Context, Location, ViewEvent, ViewEventBatch};
use marquee_events::{
    BatchView, ContentType, DecodeError, EventView, InteractionBatch, MAX_EVENTS_PER_BATCH, MAX_ID_BYTES, PayloadView,
    decode, decode_interactions, interactions_to_json, to_json,
};
use prost::Message as _;

/// Refused bytes have a field to blame.
pub fn check_error(error: &DecodeError) {
    assert!(!error.field.is_empty() && !error.problem.is_empty(), "{error:?}");
}

/// A batch keeps the bounds that its decoder promises, and decodes to the same when it is written again.
pub fn check_batch(batch: &BatchView<'_>) {
    assert!(!batch.context.session_id.is_empty());
    assert!((1..=MAX_EVENTS_PER_BATCH).contains(&batch.events.len()));
    assert!(batch.context.fields().iter().all(|text| text.len() <= MAX_ID_BYTES));
    let message = message_of(batch);
    let bytes = message.encode_to_vec();
    assert_eq!(decode(ContentType::Protobuf, &bytes).as_ref(), Ok(batch), "as protobuf");
    let text = to_json(&message);
    assert_eq!(decode(ContentType::Json, text.as_bytes()).as_ref(), Ok(batch), "as JSON: {text}");
}

/// The same of interactions.
pub fn check_interactions(batch: &InteractionBatch) {
    assert!(!batch.context.profile_id.is_empty());
    assert!((1..=MAX_EVENTS_PER_BATCH).contains(&batch.interactions.len()));
    let message = interactions::InteractionBatch {
        context: Some(batch.context.clone()),
        sent_at_ms: batch.sent_at_ms,
        interactions: batch.interactions.clone(),
    };
    let again = decode_interactions(ContentType::Protobuf, &message.encode_to_vec());
    assert_eq!(again.as_ref(), Ok(batch), "as protobuf");
    // JSON has no word for a payload that is not known.
    if batch.interactions.iter().all(|interaction| interaction.payload.is_some()) {
        let text = interactions_to_json(&message);
        let again = decode_interactions(ContentType::Json, text.as_bytes()).expect(&text);
        assert_eq!(rounded(again), rounded(batch.clone()), "as JSON: {text}");
    }
}

/// JSON's numbers are read to the last bit but one.
fn rounded(mut batch: InteractionBatch) -> InteractionBatch {
    for interaction in &mut batch.interactions {
        let value = match &mut interaction.payload {
            Some(interaction::Payload::Rating(p)) => &mut p.value,
            Some(interaction::Payload::ViewProgress(p)) => &mut p.watched_fraction,
            Some(interaction::Payload::ViewFinished(p)) => &mut p.watched_fraction,
            _ => continue,
        };
        *value = (*value * 1e9).round();
    }
    batch
}

fn message_of(batch: &BatchView<'_>) -> ViewEventBatch {
    let c = &batch.context;
    let context = Context {
        session_id: c.session_id.to_string(),
        player_instance: c.player_instance.to_string(),
        profile_id: c.profile_id.to_string(),
        title_id: c.title_id.to_string(),
        device_type: c.device_type.to_string(),
        os: c.os.to_string(),
        player: c.player.to_string(),
        player_version: c.player_version.to_string(),
        app_version: c.app_version.to_string(),
        country: c.country.to_string(),
        region: c.region.to_string(),
        isp: c.isp.to_string(),
        cdn: c.cdn.to_string(),
        protocol: c.protocol.to_string(),
        asset_id: c.asset_id.to_string(),
        series_id: c.series_id.to_string(),
        city: c.city.to_string(),
        asn: c.asn.to_string(),
        edge: c.edge.to_string(),
        codec: c.codec.to_string(),
        drm: c.drm.to_string(),
        plan: c.plan.to_string(),
        experiment_arm: c.experiment_arm.to_string(),
        stream_type: c.stream_type.to_string(),
    };
    let location = batch.is_located.then(|| Location {
        country: context.country.clone(),
        region: context.region.clone(),
        city: context.city.clone(),
        isp: context.isp.clone(),
        asn: context.asn.clone(),
    });
    let events = batch.events.iter().map(event_of).collect();
    ViewEventBatch { context: Some(context), sent_at_ms: batch.sent_at_ms, events, location }
}

fn event_of(event: &EventView<'_>) -> ViewEvent {
    ViewEvent {
        event_id: event.event_id.to_string(),
        sequence: event.sequence,
        event_time_ms: event.event_time_ms,
        media_time_ms: event.media_time_ms,
        payload: event.payload.as_ref().map(payload_of),
    }
}

fn payload_of(payload: &PayloadView<'_>) -> Payload {
    match payload {
        PayloadView::PlayRequested { autoplay } => Payload::PlayRequested(proto::PlayRequested { autoplay: *autoplay }),
        PayloadView::FirstFrame => Payload::FirstFrame(proto::FirstFrame {}),
        PayloadView::RebufferStart => Payload::RebufferStart(proto::RebufferStart {}),
        PayloadView::RebufferEnd => Payload::RebufferEnd(proto::RebufferEnd {}),
        PayloadView::Pause => Payload::Pause(proto::Pause {}),
        PayloadView::Resume => Payload::Resume(proto::Resume {}),
        PayloadView::SeekStart => Payload::SeekStart(proto::SeekStart {}),
        PayloadView::SeekEnd => Payload::SeekEnd(proto::SeekEnd {}),
        PayloadView::Rendition { representation_id, bitrate_bps, width, height, codec, cdn } => {
            Payload::Rendition(proto::Rendition {
                representation_id: representation_id.to_string(),
                bitrate_bps: *bitrate_bps,
                width: *width,
                height: *height,
                codec: codec.to_string(),
                cdn: cdn.to_string(),
            })
        }
        PayloadView::AdStart { ad_id } => Payload::AdStart(proto::AdStart { ad_id: ad_id.to_string() }),
        PayloadView::AdEnd => Payload::AdEnd(proto::AdEnd {}),
        PayloadView::Error { code, fatal, business } => {
            Payload::Error(proto::Error { code: code.to_string(), fatal: *fatal, business: *business })
        }
        PayloadView::Heartbeat { buffer_ms, throughput_bps, dropped_frames, bitrate_bps } => {
            Payload::Heartbeat(proto::Heartbeat {
                buffer_ms: *buffer_ms,
                throughput_bps: *throughput_bps,
                dropped_frames: *dropped_frames,
                bitrate_bps: *bitrate_bps,
            })
        }
        PayloadView::Background => Payload::Background(proto::Background {}),
        PayloadView::Foreground => Payload::Foreground(proto::Foreground {}),
        PayloadView::SessionEnd { reason } => Payload::SessionEnd(proto::SessionEnd { reason: reason.to_string() }),
        PayloadView::AdBreakStart => Payload::AdBreakStart(proto::AdBreakStart {}),
        PayloadView::AdBreakEnd => Payload::AdBreakEnd(proto::AdBreakEnd {}),
        PayloadView::PlaybackRate { rate_per_mille } => {
            Payload::PlaybackRate(proto::PlaybackRate { rate_per_mille: *rate_per_mille })
        }
        PayloadView::Viewport { width, height } => {
            Payload::Viewport(proto::Viewport { width: *width, height: *height })
        }
        PayloadView::PlayerState { state, code, bitrate_bps, buffer_ms } => Payload::PlayerState(proto::PlayerState {
            state: state.map(|state| state.name().to_owned()).unwrap_or_default(),
            code: code.to_string(),
            bitrate_bps: *bitrate_bps,
            buffer_ms: *buffer_ms,
        }),
    }
}
