//! Where a process under test keeps its log, its lake and its state: in its home, or on servers that all tests share.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use futures::TryStreamExt as _;
use marquee_lake_s3::{Bucket, S3Options};
use marquee_log_kafka::{KafkaLog, KafkaOptions};
use marquee_test_servers::{KafkaCluster, S3_CREDENTIALS, S3Server, kafka_is_here, s3_is_here};
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use tempfile::TempDir;

use crate::child::{self, Up};

/// What is not in the home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Everything is.
    Home,
    /// The log is in Kafka.
    Kafka,
    /// Lake and state are in a bucket.
    Bucket,
    /// Both: nothing has to be in a home.
    KafkaAndBucket,
}

/// A home, and settings that lead to what is elsewhere.
pub struct Site {
    folder: TempDir,
    environment: Vec<(&'static str, String)>,
    kafka: Option<KafkaOptions>,
    bucket: Option<Bucket>,
}

impl Site {
    /// An empty one; `None` where tests cannot start its server, and then that is said.
    pub fn new(place: Place, test: &str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let mut site = Self { folder, environment: Vec::new(), kafka: None, bucket: None };
        match place {
            Place::Home => {}
            Place::Kafka => site.move_log(cluster(test)?, &next_prefix()),
            Place::Bucket => site.move_lake(s3_server(test)?),
            Place::KafkaAndBucket => {
                site.move_log(cluster(test)?, &next_prefix());
                site.move_lake(s3_server(test)?);
            }
        }
        Some(site)
    }

    /// An empty one with its log in a cluster that it has for itself.
    pub fn on(cluster: &KafkaCluster) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut site = Self { folder, environment: Vec::new(), kafka: None, bucket: None };
        site.move_log(cluster, "");
        site
    }

    fn move_log(&mut self, cluster: &KafkaCluster, topic_prefix: &str) {
        let nodes = *cluster.ids().end();
        let topic_prefix = topic_prefix.to_owned();
        let options = KafkaOptions { topic_prefix, ..KafkaOptions::new(cluster.bootstrap_servers()) };
        self.environment.extend([
            ("MARQUEE_LOG__ADAPTER", "kafka".to_owned()),
            ("MARQUEE_LOG__KAFKA__BOOTSTRAP_SERVERS", options.bootstrap_servers.clone()),
            ("MARQUEE_LOG__KAFKA__TOPIC_PREFIX", options.topic_prefix.clone()),
            ("MARQUEE_LOG__KAFKA__REPLICATION_FACTOR", nodes.min(3).to_string()),
            ("MARQUEE_LOG__KAFKA__MIN_INSYNC_REPLICAS", nodes.min(2).to_string()),
        ]);
        self.kafka = Some(options);
    }

    /// A bucket of its own on the server.
    fn move_lake(&mut self, server: &S3Server) {
        let options = S3Options {
            url: format!("s3://{}/marquee", server.new_bucket()),
            endpoint: Some(server.endpoint()),
            region: None,
            allow_http: false,
        };
        self.environment.extend(S3_CREDENTIALS.map(|(name, value)| (name, value.to_owned())));
        self.environment.extend([
            ("MARQUEE_LAKE__URL", options.url.clone()),
            ("MARQUEE_LAKE__S3__ENDPOINT", server.endpoint()),
            // Each shard is some requests an epoch: fewer, on a server that answers one at a time.
            ("MARQUEE_LOG__PARTITIONS", "2".to_owned()),
        ]);
        let given = |name: &str| S3_CREDENTIALS.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        self.bucket = Some(Bucket::open(&options, given).expect("a bucket"));
    }

    /// The folder of everything that is not elsewhere.
    pub fn home(&self) -> PathBuf {
        self.other_home("home")
    }

    /// The home of another machine.
    pub fn other_home(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts `marquee up` with more environment, as [`Up::start`] does.
    pub fn up(&self, environment: &[(&str, &str)]) -> Result<Up, ExitStatus> {
        let settings = self.environment.iter().map(|(name, value)| (*name, value.as_str()));
        Up::start(&self.home(), &settings.chain(environment.iter().copied()).collect::<Vec<_>>())
    }

    /// A command with this site's settings.
    pub fn marquee<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        self.marquee_in("home", arguments)
    }

    /// The same on another machine.
    pub fn marquee_in<S: AsRef<OsStr>>(&self, home: &str, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = child::marquee(&self.other_home(home));
        command.args(arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The number in the only field of the only row.
    pub fn number(&self, query: &str) -> u64 {
        child::number_of(&mut self.marquee(["lake", "sql", query, "--format", "json"]))
    }

    /// Events in a topic, as the records' headers say. Nobody is writing any more.
    pub fn log_events(&self, topic: &str) -> u64 {
        match &self.kafka {
            None => child::log_events(&self.home(), topic),
            Some(options) => {
                let log = KafkaLog::open(options.clone()).expect("the log opens");
                child::events_in(Arc::new(log), topic)
            }
        }
    }

    /// The folder of the lake, or of a copy of it as it is now, for readers of local files.
    pub fn lake(&self) -> PathBuf {
        let Some(bucket) = &self.bucket else { return self.home().join("lake") };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let copy = self.folder.path().join("copy");
        let store = bucket.store();
        runtime.block_on(async {
            let lake = Path::from(bucket.lake_url().path());
            let objects: Vec<_> = store.list(Some(&lake)).try_collect().await.expect("the bucket is listed");
            for object in objects {
                let parts: Vec<_> = object.location.prefix_match(&lake).expect("it is in the lake").collect();
                let file = parts.iter().fold(copy.clone(), |path, part| path.join(part.as_ref()));
                std::fs::create_dir_all(file.parent().expect("it has a folder")).expect("a folder");
                let bytes = store.get(&object.location).await.expect("it is there").bytes().await.expect("it is whole");
                std::fs::write(file, bytes).expect("a file");
            }
        });
        copy
    }
}

/// For topics of its own in a cluster that tests share.
fn next_prefix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("site-{}.", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The S3 endpoint; `None` where tests cannot start it.
fn s3_server(test: &str) -> Option<&'static S3Server> {
    static SERVER: OnceLock<S3Server> = OnceLock::new();
    s3_is_here(test).then(|| SERVER.get_or_init(S3Server::start))
}

/// The cluster of one node; `None` where tests cannot start Kafka.
fn cluster(test: &str) -> Option<&'static KafkaCluster> {
    static CLUSTER: OnceLock<KafkaCluster> = OnceLock::new();
    kafka_is_here(test).then(|| CLUSTER.get_or_init(|| KafkaCluster::start(1)))
}
