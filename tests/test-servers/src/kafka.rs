//! Apache Kafka, whose nodes here are broker and controller both. What it needs comes from scripts/kafka.sh.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use uuid::Uuid;

use crate::certificate::{Certificate, STORE_PASSWORD};
use crate::process::Process;
use crate::small_disk::SmallDisk;

/// A node takes two seconds on an idle machine; three of them beside a compiler far more.
const START_DEADLINE: Duration = Duration::from_secs(120);

/// Small heaps, no warm-up: a test's cluster lives for a minute.
const JVM: [&str; 5] = ["-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"];

/// Who may connect to [`KafkaCluster::sasl_servers`] and [`KafkaCluster::tls_servers`].
pub const SASL_USER: &str = "marquee";

/// That user's password.
pub const SASL_PASSWORD: &str = "not-a-secret";

/// Names the folder with Kafka's jars, where scripts/kafka.sh did not put them at the usual place.
const LIBS: &str = "MARQUEE_KAFKA_LIBS";

/// Whether tests can start Kafka here. When they cannot, says so past the test harness, which hides what passing tests
/// print.
///
/// # Panics
/// When they cannot and this is CI, which leaves out no test.
pub fn kafka_is_here(test: &str) -> bool {
    let Err(missing) = libs() else { return true };
    let ci = std::env::var("CI").unwrap_or_default();
    assert!(["", "0", "false"].contains(&ci.as_str()), "{missing}, and CI leaves out no test");
    writeln!(std::io::stderr(), "{test} is left out: {missing}").expect("stderr can be written to");
    false
}

/// The folder with Kafka's jars, or what is missing.
fn libs() -> Result<PathBuf, String> {
    let java = Command::new("java").arg("-version").output();
    if !java.is_ok_and(|output| output.status.success()) {
        return Err("Java is missing (scripts/system-packages.sh test)".to_owned());
    }
    let folder = std::env::var_os(LIBS).map_or_else(usual_folder, PathBuf::from);
    if !folder.is_dir() {
        return Err(format!("Kafka is not at {} (run scripts/kafka.sh)", folder.display()));
    }
    Ok(folder)
}

/// The rule of scripts/kafka.sh.
fn usual_folder() -> PathBuf {
    let hash = hex::encode(Sha256::digest(include_bytes!("../kafka/pom.xml")));
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
    cache.unwrap_or_default().join("marquee").join(format!("kafka-{}", &hash[..16]))
}

/// A cluster of one or three nodes on 127.0.0.1, numbered from 1. Topics are created by accident here
/// (`auto.create.topics.enable`), so that a test can show that none is.
pub struct KafkaCluster {
    nodes: Vec<Node>,
    libs: PathBuf,
    /// Of the first node. Unmounted after the nodes are gone and before the folder is.
    disk: Option<SmallDisk>,
    tls: Option<Tls>,
    dir: TempDir,
}

/// Of a cluster with TLS.
struct Tls {
    servers: Certificate,
    others: Certificate,
}

struct Node {
    port: u16,
    sasl_port: u16,
    tls_port: u16,
    process: Mutex<Option<Process>>,
}

impl KafkaCluster {
    /// Starts the nodes and waits until they serve.
    ///
    /// # Panics
    /// When Kafka is not here or does not start.
    pub fn start(nodes: u32) -> Self {
        Self::start_in(new_folder(), None, None, nodes)
    }

    /// Starts one node that has all its data on a disk of so many bytes. `None` where this process may not mount one, and
    /// then that is said.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn start_on_small_disk(test: &str, size_bytes: u64) -> Option<Self> {
        let dir = new_folder();
        let folder = data(dir.path(), 1);
        std::fs::create_dir(&folder).expect("a folder");
        match SmallDisk::mount(&folder, size_bytes) {
            Ok(disk) => Some(Self::start_in(dir, Some(disk), None, 1)),
            Err(why) => {
                let mut stderr = std::io::stderr();
                writeln!(stderr, "{test} is left out: no small disk can be mounted here ({why}); it takes root")
                    .expect("stderr can be written to");
                None
            }
        }
    }

    /// Starts one node that also takes connections with TLS, see [`tls_servers`](Self::tls_servers).
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn start_with_tls() -> Self {
        let dir = new_folder();
        let make = |name| Certificate::make(dir.path(), name);
        let tls = Tls { servers: make("marquee-test-server"), others: make("marquee-test-other") };
        Self::start_in(dir, None, Some(tls), 1)
    }

    fn start_in(dir: TempDir, disk: Option<SmallDisk>, tls: Option<Tls>, nodes: u32) -> Self {
        let libs = libs().expect("Kafka is here");
        let ports = free_ports(nodes);
        let voters = (1..).zip(&ports).map(|(id, ports)| format!("{id}@127.0.0.1:{}", ports.controller));
        let voters = voters.collect::<Vec<_>>().join(",");
        for (id, ports) in (1..).zip(&ports) {
            let settings = settings(id, nodes, ports, &voters, &data(dir.path(), id), tls.as_ref());
            std::fs::write(dir.path().join(format!("{id}.properties")), settings).expect("settings can be written");
        }
        let make_node = |ports: &Ports| Node {
            port: ports.broker,
            sasl_port: ports.sasl,
            tls_port: ports.tls,
            process: Mutex::new(None),
        };
        let cluster = Self { nodes: ports.iter().map(make_node).collect(), libs, disk, tls, dir };
        cluster.format();
        for id in cluster.ids() {
            *cluster.process(id) = Some(cluster.start_node(id));
        }
        for id in cluster.ids() {
            cluster.wait_until_it_serves(id);
        }
        cluster
    }

    /// What clients connect to.
    pub fn bootstrap_servers(&self) -> String {
        self.servers(|node| node.port)
    }

    /// What clients connect to that prove who they are, with SASL PLAIN: [`SASL_USER`] and [`SASL_PASSWORD`].
    pub fn sasl_servers(&self) -> String {
        self.servers(|node| node.sasl_port)
    }

    /// What clients connect to with TLS, proving who they are with SASL SCRAM-SHA-512: [`SASL_USER`] and [`SASL_PASSWORD`].
    /// Nobody serves there unless it was [`start_with_tls`](Self::start_with_tls).
    pub fn tls_servers(&self) -> String {
        self.servers(|node| node.tls_port)
    }

    /// The certificate that clients must trust, and one that has nothing to do with it (PEM).
    ///
    /// # Panics
    /// Without TLS.
    pub fn ca_files(&self) -> (PathBuf, PathBuf) {
        let tls = self.tls.as_ref().expect("it was started with TLS");
        (tls.servers.pem.clone(), tls.others.pem.clone())
    }

    fn servers(&self, port: impl Fn(&Node) -> u16) -> String {
        let addresses: Vec<String> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", port(node))).collect();
        addresses.join(",")
    }

    /// The nodes' numbers.
    pub fn ids(&self) -> std::ops::RangeInclusive<u32> {
        1..=self.nodes.len() as u32
    }

    /// Ends a node at once, as a power cut would.
    pub fn kill(&self, id: u32) {
        self.process(id).take().expect("the node runs").kill();
    }

    /// Stops a node as an operator would.
    pub fn stop(&self, id: u32) {
        self.process(id).take().expect("the node runs").stop();
    }

    /// Starts a node again and waits until it serves.
    pub fn restart(&self, id: u32) {
        let mut process = self.process(id);
        assert!(process.is_none(), "the node runs");
        *process = Some(self.start_node(id));
        drop(process);
        self.wait_until_it_serves(id);
    }

    /// Makes the first of `replicas` the leader of partitions 0 to `partitions`; the others are their other replicas. The
    /// controller of these clusters gives a partition to its first replica within a second or two.
    pub fn move_leaders(&self, topic: &str, partitions: u32, replicas: &[u32]) {
        let moves: Vec<String> = (0..partitions)
            .map(|partition| format!(r#"{{"topic":"{topic}","partition":{partition},"replicas":{replicas:?}}}"#))
            .collect();
        let plan = self.dir.path().join(format!("move-{}.json", Uuid::new_v4()));
        std::fs::write(&plan, format!(r#"{{"version":1,"partitions":[{}]}}"#, moves.join(","))).expect("a plan");
        let plan = plan.display().to_string();
        let servers = self.bootstrap_servers();
        self.tool(
            "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
            &["--bootstrap-server", &servers, "--reassignment-json-file", &plan, "--execute"],
        );
    }

    /// The leader of each partition, 0 for one without.
    pub fn leaders(&self, topic: &str) -> Vec<u32> {
        let described = self.topic_tool(&["--describe", "--topic", topic]);
        let leaders = described.lines().filter_map(|line| line.split_once("Leader:"));
        leaders.map(|(_, rest)| rest.split_whitespace().next().and_then(|id| id.parse().ok()).unwrap_or(0)).collect()
    }

    /// Every topic.
    pub fn topics(&self) -> Vec<String> {
        self.topic_tool(&["--list"]).lines().map(str::to_owned).collect()
    }

    /// Deletes a topic and returns when it is gone.
    pub fn delete_topic(&self, topic: &str) {
        self.topic_tool(&["--delete", "--topic", topic]);
        let started = Instant::now();
        while self.topics().iter().any(|name| name == topic) {
            assert!(started.elapsed() < START_DEADLINE, "{topic} does not go");
        }
    }

    /// Makes a topic, as an operator who has lost one.
    pub fn make_topic(&self, topic: &str, partitions: u32) {
        self.topic_tool(&["--create", "--topic", topic, "--partitions", &partitions.to_string()]);
    }

    /// Drops everything that partitions 0 to `partitions` hold now, as retention would.
    pub fn expire(&self, topic: &str, partitions: u32) {
        // -1 is the end.
        let ends: Vec<String> = (0..partitions)
            .map(|partition| format!(r#"{{"topic":"{topic}","partition":{partition},"offset":-1}}"#))
            .collect();
        let plan = self.dir.path().join(format!("expire-{}.json", Uuid::new_v4()));
        std::fs::write(&plan, format!(r#"{{"version":1,"partitions":[{}]}}"#, ends.join(","))).expect("a plan");
        let (plan, servers) = (plan.display().to_string(), self.bootstrap_servers());
        self.tool(
            "org.apache.kafka.tools.DeleteRecordsCommand",
            &["--bootstrap-server", &servers, "--offset-json-file", &plan],
        );
    }

    /// What a node has said since it was started.
    pub fn said(&self, id: u32) -> String {
        self.process(id).as_ref().expect("the node was started").output()
    }

    /// Fills the small disk.
    ///
    /// # Panics
    /// When there is none.
    pub fn fill_disk(&self) {
        self.disk.as_ref().expect("it was started on a small disk").fill();
    }

    /// Gives the small disk's room back.
    ///
    /// # Panics
    /// When it was not filled.
    pub fn free_disk(&self) {
        self.disk.as_ref().expect("it was started on a small disk").free();
    }

    fn topic_tool(&self, arguments: &[&str]) -> String {
        let servers = self.bootstrap_servers();
        let arguments = [&["--bootstrap-server", &servers], arguments].concat();
        self.tool("org.apache.kafka.tools.TopicCommand", &arguments)
    }

    fn process(&self, id: u32) -> MutexGuard<'_, Option<Process>> {
        self.nodes[id as usize - 1].process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_until_it_serves(&self, id: u32) {
        let process = self.process(id);
        process.as_ref().expect("the node was started").wait_for("Kafka Server started", START_DEADLINE);
    }

    fn start_node(&self, id: u32) -> Process {
        let mut arguments = self.jvm_arguments();
        arguments.extend(["kafka.Kafka".to_owned(), self.settings_file(id)]);
        Process::start("java", &arguments, &self.dir.path().join(format!("{id}.log")))
    }

    /// Formats the first node's folder with Kafka's tool and the others' after it: a JVM less for each.
    fn format(&self) {
        let cluster_id = &Uuid::new_v4().simple().to_string()[..22];
        let user = format!("SCRAM-SHA-512=[name={SASL_USER},password={SASL_PASSWORD}]");
        let file = self.settings_file(1);
        self.tool("kafka.tools.StorageTool", &["format", "-t", cluster_id, "-c", &file, "--add-scram", &user]);
        let first = data(self.dir.path(), 1);
        for id in self.ids().skip(1) {
            let folder = data(self.dir.path(), id);
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::copy(first.join("bootstrap.checkpoint"), folder.join("bootstrap.checkpoint")).expect("a copy");
            // A node without a directory id gives itself one.
            let meta = format!("version=1\ncluster.id={cluster_id}\nnode.id={id}\n");
            std::fs::write(folder.join("meta.properties"), meta).expect("a file");
        }
    }

    fn settings_file(&self, id: u32) -> String {
        self.dir.path().join(format!("{id}.properties")).display().to_string()
    }

    fn jvm_arguments(&self) -> Vec<String> {
        let logging = self.dir.path().join("log4j2.properties");
        std::fs::write(&logging, include_str!("../kafka/log4j2.properties")).expect("settings can be written");
        let mut arguments = JVM.map(str::to_owned).to_vec();
        arguments.push(format!("-Dlog4j2.configurationFile={}", logging.display()));
        // A crash of the JVM itself, as on a full disk, says so in a file.
        arguments.push(format!("-XX:ErrorFile={}", self.dir.path().join("jvm-%p.log").display()));
        arguments.extend(["-cp".to_owned(), format!("{}/*", self.libs.display())]);
        arguments
    }

    /// Runs one of Kafka's tools; what it says.
    fn tool(&self, class: &str, arguments: &[&str]) -> String {
        let output = Command::new("java").args(self.jvm_arguments()).arg(class).args(arguments).output();
        let output = output.expect("Java can be started");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{class} failed: {said}");
        said
    }
}

impl Drop for KafkaCluster {
    /// A test that fails shows what the nodes have said.
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (id, node) in (1..).zip(&self.nodes) {
                let process = node.process.lock().unwrap_or_else(PoisonError::into_inner);
                let said = process.as_ref().map_or_else(|| "(it does not run)".to_owned(), Process::output);
                println!("node {id} said:\n{said}");
            }
        }
    }
}

fn new_folder() -> TempDir {
    tempfile::Builder::new().prefix("marquee-kafka-").tempdir().expect("a folder")
}

/// Where a node keeps its data.
fn data(dir: &Path, id: u32) -> PathBuf {
    dir.join(format!("data-{id}"))
}

/// Of one node.
struct Ports {
    broker: u16,
    controller: u16,
    sasl: u16,
    tls: u16,
}

/// Free now; the kernel does not give out a port again soon after it was given back.
fn free_ports(nodes: u32) -> Vec<Ports> {
    let listeners: Vec<TcpListener> =
        (0..4 * nodes).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
    let port = |listener: &TcpListener| listener.local_addr().expect("a bound port").port();
    let of_node = |four: &[TcpListener]| {
        let [broker, controller, sasl, tls] = four else { panic!("a node has four ports") };
        Ports { broker: port(broker), controller: port(controller), sasl: port(sasl), tls: port(tls) }
    };
    listeners.chunks(4).map(of_node).collect()
}

fn settings(id: u32, nodes: u32, ports: &Ports, voters: &str, data: &Path, with_tls: Option<&Tls>) -> String {
    let Ports { broker, controller, sasl, tls } = ports;
    let replicas = nodes.min(3);
    let tls_listener = with_tls.map_or_else(String::new, |_| format!(",TLS://127.0.0.1:{tls}"));
    let mut settings = format!(
        "process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{broker},SASL://127.0.0.1:{sasl}{tls_listener},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker},SASL://127.0.0.1:{sasl}{tls_listener}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SASL_SSL,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
sasl.enabled.mechanisms=PLAIN
listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
  user_{SASL_USER}=\"{SASL_PASSWORD}\";
log.dirs={}
offsets.topic.replication.factor={replicas}
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
",
        data.display()
    );
    if let Some(tls) = with_tls {
        let store = tls.servers.store.display();
        writeln!(
            settings,
            "listener.name.tls.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.tls.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.tls.ssl.keystore.type=PKCS12
listener.name.tls.ssl.keystore.location={store}
listener.name.tls.ssl.keystore.password={STORE_PASSWORD}"
        )
        .expect("a string takes any text");
    }
    // Quick to notice, quick to decide: a test waits for each of these.
    let quick = [
        ("auto.create.topics.enable", "true"),
        ("offsets.topic.num.partitions", "1"),
        ("group.initial.rebalance.delay.ms", "0"),
        ("group.min.session.timeout.ms", "500"),
        ("broker.session.timeout.ms", "3000"),
        ("broker.heartbeat.interval.ms", "500"),
        ("leader.imbalance.check.interval.seconds", "1"),
        ("leader.imbalance.per.broker.percentage", "0"),
        ("log.retention.check.interval.ms", "500"),
        ("log.initial.task.delay.ms", "500"),
        ("file.delete.delay.ms", "500"),
        ("num.network.threads", "2"),
        ("num.io.threads", "4"),
        ("background.threads", "2"),
        ("log.cleaner.dedupe.buffer.size", "2097152"),
    ];
    for (name, value) in quick {
        writeln!(settings, "{name}={value}").expect("a string takes any text");
    }
    settings
}
