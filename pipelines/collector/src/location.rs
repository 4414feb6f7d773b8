//! Where a client is: its address looked up in the operator's MMDB files. The address itself is used for this and
//! nothing else: it is in no record, no log line and no metric.
//!
//! What is found rides behind the batch as sent (`location`, see `events.proto`), so that a record still holds every
//! byte of the player's.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use axum::extract::connect_info::Connected;
use axum::http::HeaderMap;
use axum::serve::IncomingStream;
use bytes::Bytes;
use marquee_events::proto::{Location, ViewEventBatch};
use marquee_events::{ContentType, location_to_json};
use maxminddb::{MaxMindDbError, Reader};
use prost::Message as _;
use serde::{Deserialize, Serialize};

use crate::CollectorError;
use crate::connections::Connections;

/// The header in which proxies put the addresses that they saw, each behind the ones before it.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// Where the collector learns where a client is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LocationSettings {
    /// An MMDB file with countries, subdivisions and cities, such as GeoLite2-City; without it contexts keep what the
    /// player says of them.
    pub city_mmdb: Option<PathBuf>,
    /// An MMDB file with internet providers and autonomous systems, such as GeoIP2-ISP or GeoLite2-ASN.
    pub network_mmdb: Option<PathBuf>,
    /// How many proxies of the operator's stand before the collector: so many addresses at the end of
    /// `X-Forwarded-For` are theirs to write, and the client's is the first of these. With 0 the header is not read,
    /// because anybody can send it.
    pub trusted_proxies: usize,
}

/// Looks addresses up; the default knows none.
#[derive(Default)]
pub struct Locator {
    city: Option<Reader<Vec<u8>>>,
    network: Option<Reader<Vec<u8>>>,
    trusted_proxies: usize,
}

impl fmt::Debug for Locator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (city, network) = (self.city.is_some(), self.network.is_some());
        f.debug_struct("Locator").field("city", &city).field("network", &network).finish_non_exhaustive()
    }
}

#[derive(Deserialize, Default)]
struct Place {
    #[serde(default)]
    country: Country,
    #[serde(default)]
    subdivisions: Vec<Subdivision>,
    #[serde(default)]
    city: City,
}

#[derive(Deserialize, Default)]
struct Country {
    #[serde(default)]
    iso_code: String,
}

#[derive(Deserialize)]
struct Subdivision {
    #[serde(default)]
    iso_code: String,
}

#[derive(Deserialize, Default)]
struct City {
    #[serde(default)]
    names: Names,
}

#[derive(Deserialize, Default)]
struct Names {
    #[serde(default)]
    en: String,
}

#[derive(Deserialize, Default)]
struct Network {
    #[serde(default)]
    isp: String,
    #[serde(default)]
    autonomous_system_organization: String,
    #[serde(default)]
    autonomous_system_number: u32,
}

impl Locator {
    /// Opens the files that the settings name, and checks them through: a damaged one is found now, not by a player.
    ///
    /// # Errors
    /// [`CollectorError::Setting`], naming the setting whose file cannot be read.
    pub fn open(settings: &LocationSettings) -> Result<Self, CollectorError> {
        let open = |setting: &'static str, path: &Option<PathBuf>| match path {
            None => Ok(None),
            Some(path) => read(path).map(Some).map_err(|error| CollectorError::Setting {
                setting,
                problem: format!("names {}, which is no readable MMDB file: {error}", path.display()),
            }),
        };
        Ok(Self {
            city: open("location.city_mmdb", &settings.city_mmdb)?,
            network: open("location.network_mmdb", &settings.network_mmdb)?,
            trusted_proxies: settings.trusted_proxies,
        })
    }

    /// Where the client of a request is; `None` when no file knows its address.
    pub(crate) fn locate(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> Option<Location> {
        if self.city.is_none() && self.network.is_none() {
            return None;
        }
        let address = self.client(headers, peer)?;
        let place: Place = look_up(self.city.as_ref(), address);
        let network: Network = look_up(self.network.as_ref(), address);
        let isp = if network.isp.is_empty() { network.autonomous_system_organization } else { network.isp };
        let asn = network.autonomous_system_number;
        let location = Location {
            country: place.country.iso_code,
            region: place.subdivisions.into_iter().next().map(|region| region.iso_code).unwrap_or_default(),
            city: place.city.names.en,
            isp,
            asn: if asn == 0 { String::new() } else { asn.to_string() },
        };
        (location != Location::default()).then_some(location)
    }

    /// The client's address: the peer's, or the one that the outermost trusted proxy saw. `None` when the header lacks
    /// it: a request that came past the proxies says nothing that can be believed.
    fn client(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> Option<IpAddr> {
        if self.trusted_proxies == 0 {
            return peer;
        }
        let values = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let addresses: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
        let at = addresses.len().checked_sub(self.trusted_proxies)?;
        address(addresses[at])
    }
}

fn read(path: &Path) -> Result<Reader<Vec<u8>>, MaxMindDbError> {
    let reader = Reader::open_readfile(path)?;
    reader.verify()?;
    Ok(reader)
}

fn look_up<T: Default + serde::de::DeserializeOwned>(reader: Option<&Reader<Vec<u8>>>, address: IpAddr) -> T {
    let found = reader.and_then(|reader| reader.lookup(address).ok()?.decode::<T>().ok()?);
    found.unwrap_or_default()
}

/// An address as proxies write it: bare, with a port, or with brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip())).map(|ip: IpAddr| ip.to_canonical())
}

/// The fields of a location by their names in the context.
pub(crate) fn fields(location: &Location) -> [(&'static str, &str); 5] {
    [
        ("country", &location.country),
        ("region", &location.region),
        ("city", &location.city),
        ("isp", &location.isp),
        ("asn", &location.asn),
    ]
}

/// The batch as sent, with the location behind it. The bytes have been decoded before: they are a batch.
pub(crate) fn append(content_type: ContentType, batch: &Bytes, location: Location) -> Bytes {
    let mut located = Vec::with_capacity(batch.len() + 128);
    match content_type {
        ContentType::Json => {
            let open = batch.trim_ascii_end();
            located.extend_from_slice(open.strip_suffix(b"}").unwrap_or(open));
            located.extend_from_slice(b",\"location\":");
            located.extend_from_slice(location_to_json(&location).as_bytes());
            located.push(b'}');
        }
        ContentType::Protobuf => {
            located.extend_from_slice(batch);
            located.extend(ViewEventBatch { location: Some(location), ..Default::default() }.encode_to_vec());
        }
        // Its first line has the context, and the location with it.
        ContentType::Cmcd => located.extend_from_slice(batch),
    }
    located.into()
}

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

impl Connected<IncomingStream<'_, Connections>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Connections>) -> Self {
        Self(stream.remote_addr().ip().to_canonical())
    }
}
