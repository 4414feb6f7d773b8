//! From a request's body on the wire to the bytes that become a record: bounded in size, time and memory, and
//! decompressed.

use std::io::Read;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use futures::StreamExt;
use marquee_events::ContentType;
use tokio::time::timeout;

use crate::Collector;
use crate::budget::{Reservation, Spent};
use crate::refusal::Refusal;

/// Bodies up to this size on the wire are decompressed and decoded where they arrive: some µs, and tens of ms for the
/// worst bomb that the default limit lets through. Larger ones go to a thread that may block.
const MAX_INLINE_BYTES: usize = 32 << 10;

/// How long the rest of a refused body is read and thrown away (ms). Closing a connection with unread bytes resets it,
/// and the client would see the reset instead of the answer.
const DISCARD_TIMEOUT_MS: u64 = 2_000;

/// Decompression goes in steps of this size; so much more than the limit is seen at most.
const INFLATE_STEP_BYTES: usize = 16 << 10;

/// What the headers say about the body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyHead {
    pub content_type: ContentType,
    gzip: bool,
    content_length: Option<usize>,
}

impl BodyHead {
    /// Reads the headers; a content type outside `accepted` is refused.
    pub(crate) fn parse(headers: &HeaderMap, accepted: &[ContentType]) -> Result<BodyHead, Refusal> {
        Self::parse_with(headers, accepted, |_| None)
    }

    /// As [`BodyHead::parse`]; `also` knows further names (in lower case) of what is accepted.
    pub(crate) fn parse_with(
        headers: &HeaderMap,
        accepted: &[ContentType],
        also: impl Fn(&str) -> Option<ContentType>,
    ) -> Result<BodyHead, Refusal> {
        let names = || accepted.iter().map(|accepted| accepted.mime()).collect::<Vec<_>>().join(" or ");
        let refuse = |found: &str| {
            Err(Refusal::Format { problem: format!("the content type is {found}, this takes {}", names()) })
        };
        let content_type = match headers.get(header::CONTENT_TYPE).map(|value| value.to_str()) {
            None => return refuse("missing"),
            Some(Err(_)) => return refuse("not readable"),
            // MIME types know no case (RFC 9110 §8.3.1).
            Some(Ok(mime)) => {
                let name = mime.to_ascii_lowercase();
                match ContentType::from_mime(&name).or_else(|| also(&name)) {
                    Some(content_type) if accepted.contains(&content_type) => content_type,
                    _ => return refuse(&format!("`{mime}`")),
                }
            }
        };
        let gzip = match headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes().to_ascii_lowercase()) {
            None => false,
            Some(encoding) => match encoding.as_slice() {
                b"identity" => false,
                b"gzip" | b"x-gzip" => true,
                _ => {
                    let problem = "the content encoding is unknown, this takes gzip or none".to_owned();
                    return Err(Refusal::Format { problem });
                }
            },
        };
        let content_length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(BodyHead { content_type, gzip, content_length })
    }
}

/// A body as it came, with what it holds of the budget.
#[derive(Debug)]
pub(crate) struct ReceivedBody {
    wire: Bytes,
    gzip: bool,
    limit_bytes: usize,
    reservation: Reservation,
}

/// A body's bytes. The reservation is held for as long as the bytes are.
#[derive(Debug)]
pub(crate) struct UnpackedBody {
    pub bytes: Bytes,
    reservation: Reservation,
}

impl UnpackedBody {
    /// Lets go of the bytes, for what was made of them and is no larger.
    pub(crate) fn into_reservation(self) -> Reservation {
        self.reservation
    }
}

/// Reads a body to its end.
pub(crate) async fn receive(
    collector: &Collector,
    head: &BodyHead,
    headers: &HeaderMap,
    body: Body,
    limit_bytes: usize,
) -> Result<ReceivedBody, Refusal> {
    let mut stream = body.into_data_stream();
    let mut reservation = collector.bytes_in_flight.reservation();
    let reading = read_to_end(&mut stream, head.content_length, limit_bytes, &mut reservation);
    match timeout(Duration::from_millis(collector.settings.body_timeout_ms), reading).await {
        Ok(Ok(wire)) => Ok(ReceivedBody { wire, gzip: head.gzip, limit_bytes, reservation }),
        Ok(Err(refusal)) => {
            drop(reservation); // what is thrown away from here on is not held
            discard(headers, stream).await;
            Err(refusal)
        }
        Err(_) => Err(Refusal::SlowBody),
    }
}

/// Refuses a request whose body nobody has read.
pub(crate) async fn refuse<T>(headers: &HeaderMap, body: Body, refusal: Refusal) -> Result<T, Refusal> {
    discard(headers, body.into_data_stream()).await;
    Err(refusal)
}

async fn read_to_end(
    stream: &mut BodyDataStream,
    content_length: Option<usize>,
    limit_bytes: usize,
    reservation: &mut Reservation,
) -> Result<Bytes, Refusal> {
    if content_length.is_some_and(|length| length > limit_bytes) {
        return Err(Refusal::TooLarge { limit_bytes });
    }
    // No more than this is believed of a length before its bytes are there.
    let mut wire = BytesMut::with_capacity(content_length.unwrap_or_default().min(MAX_INLINE_BYTES));
    while let Some(frame) = stream.next().await {
        let frame = frame.map_err(|_| Refusal::field("body", "broke off"))?;
        if wire.len() + frame.len() > limit_bytes {
            return Err(Refusal::TooLarge { limit_bytes });
        }
        reserve(reservation, frame.len())?;
        wire.extend_from_slice(&frame);
    }
    Ok(wire.freeze())
}

fn reserve(reservation: &mut Reservation, bytes: usize) -> Result<(), Refusal> {
    reservation.grow(bytes).map_err(|Spent| Refusal::Busy { problem: "too many bodies are under way, try again" })
}

async fn discard(headers: &HeaderMap, mut stream: BodyDataStream) {
    // Such a client has not sent the body yet, and will not once it has the answer.
    if headers.contains_key(header::EXPECT) {
        return;
    }
    let rest = async { while let Some(Ok(_)) = stream.next().await {} };
    let _ = timeout(Duration::from_millis(DISCARD_TIMEOUT_MS), rest).await; // the answer follows either way
}

impl ReceivedBody {
    /// Decompresses the body and hands it to `read`, on a thread that may block when there is much to do.
    pub(crate) async fn unpack<T, F>(self, read: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce(UnpackedBody) -> Result<T, Refusal> + Send + 'static,
    {
        if self.wire.len() <= MAX_INLINE_BYTES && self.limit_bytes <= crate::settings::MAX_BODY_BYTES {
            return self.decompress().and_then(read);
        }
        match tokio::task::spawn_blocking(move || self.decompress().and_then(read)).await {
            Ok(read) => read,
            Err(panic) => Err(Refusal::defect(&panic)),
        }
    }

    fn decompress(mut self) -> Result<UnpackedBody, Refusal> {
        if !self.gzip {
            return Ok(UnpackedBody { bytes: self.wire, reservation: self.reservation });
        }
        let mut decoder = MultiGzDecoder::new(self.wire.as_ref());
        let mut bytes = Vec::new();
        let mut step = [0_u8; INFLATE_STEP_BYTES];
        loop {
            let length =
                decoder.read(&mut step).map_err(|error| Refusal::field("body", format!("is no gzip: {error}")))?;
            if length == 0 {
                return Ok(UnpackedBody { bytes: bytes.into(), reservation: self.reservation });
            }
            if bytes.len() + length > self.limit_bytes {
                return Err(Refusal::TooLarge { limit_bytes: self.limit_bytes });
            }
            reserve(&mut self.reservation, length)?;
            bytes.extend_from_slice(&step[..length]);
        }
    }
}
