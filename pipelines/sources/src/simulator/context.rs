//! Who watches what, with what: the contexts of simulated sessions. Every choice follows from (seed, index) alone.

use marquee_events::proto::Context;
use rand::Rng;
use rand::rngs::StdRng;

use super::SimulatorSettings;
use super::random::{chance, generator, mix, pick, weighted};

/// (device type, operating system, player, weight)
const DEVICES: [((&str, &str, &str), u32); 8] = [
    (("tv", "tizen", "shaka"), 18),
    (("tv", "webos", "shaka"), 12),
    (("tv", "android_tv", "media3"), 14),
    (("phone", "android", "media3"), 20),
    (("phone", "ios", "avplayer"), 16),
    (("tablet", "ipados", "avplayer"), 6),
    (("browser", "windows", "hls.js"), 9),
    (("browser", "macos", "dash.js"), 5),
];

/// Where a viewer lives, and through whom.
#[derive(Debug, Clone, Copy)]
struct Place {
    country: &'static str,
    region: &'static str,
    city: &'static str,
    isp: &'static str,
    /// Of the numbers that are reserved for documentation (RFC 5398).
    asn: &'static str,
}

const PLACES: [(Place, u32); 9] = [
    (Place { country: "DE", region: "BY", city: "Munich", isp: "isar-kabel", asn: "64496" }, 12),
    (Place { country: "DE", region: "BE", city: "Berlin", isp: "spree-net", asn: "64497" }, 10),
    (Place { country: "FR", region: "IDF", city: "Paris", isp: "seine-fibre", asn: "64498" }, 11),
    (Place { country: "GB", region: "LND", city: "London", isp: "thames-broadband", asn: "64499" }, 12),
    (Place { country: "US", region: "CA", city: "San Francisco", isp: "bay-cable", asn: "64500" }, 18),
    (Place { country: "US", region: "NY", city: "New York", isp: "hudson-fiber", asn: "64501" }, 14),
    (Place { country: "BR", region: "SP", city: "São Paulo", isp: "paulista-telecom", asn: "64502" }, 10),
    (Place { country: "IN", region: "MH", city: "Mumbai", isp: "deccan-mobile", asn: "64503" }, 9),
    (Place { country: "JP", region: "13", city: "Tokyo", isp: "sumida-hikari", asn: "64504" }, 4),
];

const CDNS: [(&str, u32); 3] = [("edge-a", 5), ("edge-b", 3), (TROUBLED_CDN, 2)];

/// The CDN on which players stall twice as often: something for a dashboard to find.
const TROUBLED_CDN: &str = "edge-c";

/// The id of title number `number`, from 1.
pub fn title_id(number: u32) -> String {
    format!("title-{number:04}")
}

/// The id of profile number `number`, from 1.
pub fn profile_id(number: u32) -> String {
    format!("profile-{number:04}")
}

/// Whether players on this CDN have more stalls than others.
pub(crate) fn is_troubled(cdn: &str) -> bool {
    cdn == TROUBLED_CDN
}

/// Every country that viewers live in, with its weight.
pub(crate) fn countries() -> Vec<(&'static str, u32)> {
    let mut countries: Vec<(&str, u32)> = Vec::new();
    for (place, weight) in PLACES {
        match countries.iter_mut().find(|(known, _)| *known == place.country) {
            Some((_, sum)) => *sum += weight,
            None => countries.push((place.country, weight)),
        }
    }
    countries
}

/// A device with its player and network somewhere in `country`, one of [`countries`]; ids are left empty.
pub(crate) fn device_context(rng: &mut StdRng, country: &str) -> Context {
    let near: Vec<_> = PLACES.into_iter().filter(|(place, _)| place.country == country).collect();
    let places = if near.is_empty() { PLACES.to_vec() } else { near };
    let device = weighted(rng, &DEVICES);
    let place = weighted(rng, &places);
    equipped(rng, device, place)
}

/// The context of session `index` of the run that began at `run_start_ms`. Some viewers reload their player: an odd
/// session may be the second player instance of the one before it.
pub(super) fn session_context(settings: &SimulatorSettings, run_start_ms: i64, index: u64) -> Context {
    const SECOND_INSTANCE: f64 = 0.06;
    let reloaded = index % 2 == 1 && chance(&mut generator(settings.seed, index, "reload"), SECOND_INSTANCE);
    let viewer = index - u64::from(reloaded);
    let mut rng = generator(settings.seed, viewer, "context");
    let device = weighted(&mut rng, &DEVICES);
    let place = weighted(&mut rng, &PLACES);
    let title = popular(&mut rng, settings.titles);
    let profile = rng.random_range(1..=settings.profiles);
    Context {
        session_id: session_id(settings.seed, run_start_ms, viewer),
        player_instance: u8::from(reloaded).to_string(),
        profile_id: profile_id(profile),
        title_id: title_id(title),
        asset_id: format!("asset-{title:04}"),
        ..equipped(&mut rng, device, place)
    }
}

fn equipped(rng: &mut StdRng, (device_type, os, player): (&str, &str, &str), place: Place) -> Context {
    let hls_only = matches!(player, "avplayer" | "hls.js");
    let player_version = pick(rng, &["1.9.2", "2.0.0", "2.1.3"]);
    let app_version = pick(rng, &["7.3.0", "7.4.0", "7.4.1", "8.0.0-beta"]);
    let cdn = weighted(rng, &CDNS);
    Context {
        device_type: device_type.to_owned(),
        os: os.to_owned(),
        player: player.to_owned(),
        player_version: player_version.to_owned(),
        app_version: app_version.to_owned(),
        country: place.country.to_owned(),
        region: place.region.to_owned(),
        city: place.city.to_owned(),
        isp: place.isp.to_owned(),
        asn: place.asn.to_owned(),
        cdn: cdn.to_owned(),
        edge: format!("{cdn}-{}", place.country.to_lowercase()),
        codec: if device_type == "tv" { "hvc1" } else { "avc1" }.to_owned(),
        drm: match player {
            "avplayer" => "fairplay",
            _ if os == "windows" => "playready",
            _ => "widevine",
        }
        .to_owned(),
        plan: if app_version.ends_with("-beta") { "premium" } else { "standard" }.to_owned(),
        stream_type: "vod".to_owned(),
        protocol: if hls_only { "hls" } else { "dash" }.to_owned(),
        ..Context::default()
    }
}

/// A number from 1 to `titles`; the first tenth gets almost half of the views.
fn popular(rng: &mut StdRng, titles: u32) -> u32 {
    let skewed: f64 = rng.random::<f64>().powi(3);
    1 + ((skewed * f64::from(titles)) as u32).min(titles - 1)
}

/// Looks like a UUID. The run's beginning is part of it: a demo that is started again has new sessions.
pub(crate) fn session_id(seed: u64, run_start_ms: i64, viewer: u64) -> String {
    let high = mix(mix(seed, run_start_ms as u64), viewer);
    let low = mix(high, viewer);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}
