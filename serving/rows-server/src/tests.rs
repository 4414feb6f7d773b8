//! The server over a real socket: with the generated client, and with bytes as a browser sends them.

mod refusals;
mod service;
mod web;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use marquee_catalogue::token::TokenKey;
use marquee_catalogue::{Maturity, Profile, Regions, Title};
use marquee_definitions::{Signal, SignalKind};
use marquee_retrieval::rehearsal::Rehearsal;
use marquee_retrieval::{NeighbourLists, Recommender, SealKey};
use marquee_rows_proto::v1;
use marquee_rows_proto::v1::rows_service_client::RowsServiceClient;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::{RowsError, RowsParts, RowsServer, RowsSettings};

/// 2026-01-01.
const NOW_MS: i64 = 1_767_225_600_000;
const TITLES: usize = 20;

/// A running server over parts that can be broken.
struct Served {
    parts: Rehearsal,
    server: Arc<RowsServer>,
    address: SocketAddr,
    tokens: TokenKey,
    seal: SealKey,
    stop: Option<oneshot::Sender<()>>,
    serving: tokio::task::JoinHandle<Result<(), RowsError>>,
}

impl Served {
    /// Twenty titles, the last five for adults; profile `adult`; a model; `t-00` watched to its end.
    async fn start(settings: RowsSettings) -> Self {
        let parts = Rehearsal::new(NOW_MS);
        parts.catalogue.replace_titles((0..TITLES).map(title).collect());
        let profile_id = "adult".to_owned();
        parts.catalogue.put_profile(Profile {
            display_name: profile_id.clone(),
            profile_id,
            max_maturity: Maturity::Age18,
            country: "DE".to_owned(),
        });
        put_model(&parts, "m-1");
        let first = title(0);
        for kind in [SignalKind::ViewStarted, SignalKind::ViewFinished { watched_fraction: 1.0 }] {
            parts.online.signal(&Signal {
                profile_id: "adult",
                title_id: &first.title_id,
                genres: &first.genres,
                kind,
                event_time_ms: NOW_MS - 60_000,
                available_ms: NOW_MS - 60_000,
            });
        }
        let served = Self::over(parts, settings).await;
        // A page may come between the first look at the catalogue and the first at the features, and says so.
        served.server.rows.recommender.refresh().await.unwrap();
        served
    }

    async fn over(parts: Rehearsal, settings: RowsSettings) -> Self {
        let (tokens, seal) = (TokenKey::new(&[1; 32]).unwrap(), SealKey::new(&[2; 32]).unwrap());
        let recommender = Arc::new(Recommender::new(parts.parts()));
        let clock = Arc::clone(&parts.clock) as Arc<dyn marquee_events::Clock>;
        let rows = RowsParts { recommender, tokens: tokens.clone(), seal: seal.clone(), clock, seed: 7 };
        let server = Arc::new(RowsServer::new(rows, settings).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn({
            let server = Arc::clone(&server);
            async move { server.serve(listener, async move { drop(stopped.await) }).await }
        });
        Self { parts, server, address, tokens, seal, stop: Some(stop), serving }
    }

    async fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    async fn client(&self) -> RowsServiceClient<Channel> {
        RowsServiceClient::new(self.channel().await)
    }

    fn token(&self, profile_id: &str) -> String {
        self.tokens.sign(profile_id, NOW_MS + 60_000)
    }

    fn request<T>(&self, message: T) -> Request<T> {
        with_token(message, &self.token("adult"))
    }

    async fn home(&self) -> Result<v1::GetHomePageResponse, Status> {
        let request = self.request(v1::GetHomePageRequest { max_rows: 0, max_items: 6 });
        self.client().await.get_home_page(request).await.map(tonic::Response::into_inner)
    }

    async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(5), &mut self.serving).await.unwrap().unwrap().unwrap();
    }
}

fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

fn title(number: usize) -> Title {
    Title {
        title_id: format!("t-{number:02}"),
        name: format!("Title {number}"),
        year: Some(2000),
        genres: vec!["Drama".to_owned()],
        tags: Vec::new(),
        maturity: if number >= 15 { Maturity::Age18 } else { Maturity::AllAges },
        regions: Regions::Everywhere,
        duration_ms: None,
        added_at_ms: NOW_MS - number as i64,
    }
}

fn put_model(parts: &Rehearsal, version: &str) {
    let id = |number: usize| format!("t-{:02}", number % TITLES);
    let vectors = (0..TITLES).map(|number| (id(number), vec![1.0 + number as f32 / 100.0])).collect();
    let after = |number: usize| (1..10).map(|step| (id(number + step), 1.0 / step as f32)).collect();
    let lists = (0..TITLES).map(|number| (id(number), after(number))).collect();
    let popular = (0..TITLES).map(|number| (id(number), 1.0)).collect();
    parts.put_model(version, vectors, NeighbourLists { lists, decay: 0.8, window: 30 }, popular);
}
