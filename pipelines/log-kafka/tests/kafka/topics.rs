//! What topics may be like, and what is said about those that are gone, expired, or somebody else's.

use std::error::Error as _;
use std::time::{Duration, Instant};

use marquee_events::{ContentType, ErrorKind};
use marquee_log_kafka::{KafkaLog, KafkaOptions, Sasl, SecurityProtocol};
use marquee_stream::{
    LogError, NewRecord, PartitionLog as _, Position, RecordHeader, RecordType, TopicSpec, TraceParent,
};
use marquee_test_servers::{KafkaCluster, SASL_PASSWORD, SASL_USER};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::runtime::Runtime;

use crate::setup::{DEADLINE, RETENTION_MS, one_node, open, options, read_all, record, spec, texts, wait_until};

fn append(log: &KafkaLog, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
    Runtime::new().unwrap().block_on(log.append(topic, records))
}

fn admin(cluster: &KafkaCluster) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", cluster.bootstrap_servers()).create().unwrap()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    Runtime::new().unwrap().block_on(future)
}

fn setting(cluster: &KafkaCluster, topic: &str, name: &str) -> String {
    let admin = admin(cluster);
    let described = block_on(admin.describe_configs([&ResourceSpecifier::Topic(topic)], &AdminOptions::new()));
    described.unwrap().remove(0).unwrap().get(name).unwrap().value.clone().unwrap()
}

#[test]
fn topics_are_made_to_keep_what_is_acknowledged() {
    let Some(cluster) = one_node("topics_are_made_to_keep_what_is_acknowledged") else { return };
    let log = open(options(cluster));
    log.ensure_topic(&spec("topics-made", 2)).unwrap();
    let check = |name: &str, value: &str| assert_eq!(setting(cluster, "topics-made", name), value, "{name}");
    check("min.insync.replicas", "1");
    check("unclean.leader.election.enable", "false");
    check("message.timestamp.type", "LogAppendTime");
    check("cleanup.policy", "delete");
    check("retention.ms", &RETENTION_MS.to_string());

    // More is never taken away; less is raised, and nothing else changes with it.
    let ask = |retention_ms| log.ensure_topic(&TopicSpec { retention_ms, ..spec("topics-made", 2) }).unwrap();
    ask(1000);
    check("retention.ms", &RETENTION_MS.to_string());
    ask(2 * RETENTION_MS);
    check("retention.ms", &(2 * RETENTION_MS).to_string());
    check("message.timestamp.type", "LogAppendTime");
    ask(i64::MAX);
    check("retention.ms", "-1");
    ask(RETENTION_MS);
    check("retention.ms", "-1");
}

/// The headers of each record of a topic with one partition, as any other program reads them.
fn headers(cluster: &KafkaCluster, topic: &str, records: usize) -> Vec<Vec<(String, String)>> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", topic);
    let consumer: BaseConsumer = config.create().unwrap();
    let mut beginning = TopicPartitionList::new();
    beginning.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
    consumer.assign(&beginning).unwrap();
    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
    let read = |_| {
        let message = consumer.poll(DEADLINE).expect("a record").unwrap();
        message.headers().unwrap().iter().map(|header| (header.key.to_owned(), text(header.value))).collect()
    };
    (0..records).map(read).collect()
}

#[test]
fn headers_are_for_other_programs_too() {
    let Some(cluster) = one_node("headers_are_for_other_programs_too") else { return };
    let log = open(options(cluster));
    let topic = "topics-headers";
    log.ensure_topic(&spec(topic, 1)).unwrap();
    let header = RecordHeader {
        record_type: RecordType::ViewEvents(ContentType::Protobuf),
        received_at_ms: 1_700_000_000_000,
        event_count: 3,
    };
    let events = NewRecord { header, ..record(0, "a") };
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let trace_parent = TraceParent::parse(trace.as_bytes()).unwrap();
    append(&log, topic, vec![events.clone()]).unwrap();
    block_on(log.append_traced(topic, vec![events], trace_parent)).unwrap();

    let expected = [
        ("marquee-schema", "1"),
        ("marquee-type", "2"),
        ("marquee-received-at-ms", "1700000000000"),
        ("marquee-event-count", "3"),
        ("content-type", "application/x-protobuf"),
    ];
    let expected: Vec<(String, String)> =
        expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let traced = [expected.clone(), vec![("traceparent".to_owned(), trace.to_owned())]].concat();
    assert_eq!(headers(cluster, topic, 2), [expected, traced]);
    let read = read_all(&log, topic, 0).unwrap();
    assert_eq!(read.iter().map(|record| record.header).collect::<Vec<_>>(), [header, header]);
}

#[test]
fn a_compacted_topic_is_refused() {
    let Some(cluster) = one_node("a_compacted_topic_is_refused") else { return };
    let topic = NewTopic::new("topics-compacted", 1, TopicReplication::Fixed(1)).set("cleanup.policy", "compact");
    block_on(admin(cluster).create_topics([&topic], &AdminOptions::new())).unwrap();
    let error = open(options(cluster)).ensure_topic(&spec("topics-compacted", 1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.source().unwrap().to_string().contains("cleanup.policy"), "{error:?}");
}

#[test]
fn more_replicas_than_brokers_are_refused() {
    let Some(cluster) = one_node("more_replicas_than_brokers_are_refused") else { return };
    let few = KafkaOptions { replication_factor: 3, patience: Duration::from_secs(1), ..options(cluster) };
    let error = open(few).ensure_topic(&spec("topics-replicas", 1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert!(error.source().unwrap().to_string().contains("start more brokers"), "{error:?}");
}

#[test]
fn expired_offsets_are_named() {
    let Some(cluster) = one_node("expired_offsets_are_named") else { return };
    let log = open(options(cluster));
    let topic = "topics-expired";
    log.ensure_topic(&spec(topic, 1)).unwrap();
    append(&log, topic, (0..10).map(|number| record(0, number.to_string())).collect()).unwrap();
    assert_eq!(log.read(topic, 0, 0, 0).unwrap().len(), 1, "a reader stands at offset 1");

    let mut before = TopicPartitionList::new();
    before.add_partition_offset(topic, 0, Offset::Offset(6)).unwrap();
    block_on(admin(cluster).delete_records(&before, &AdminOptions::new())).unwrap();
    assert_eq!(log.bounds(topic, 0).unwrap(), 6..10);
    for from in [0, 5] {
        match log.read(topic, 0, from, 1000) {
            Err(LogError::OffsetExpired { partition: 0, offset, start: 6, .. }) => assert_eq!(offset, from),
            other => panic!("reading {from} returned {other:?}"),
        }
    }
    assert_eq!(texts(&log.read(topic, 0, 6, 1000).unwrap()), ["6", "7", "8", "9"]);
    // Another process, whose readers start here.
    let other = open(options(cluster));
    let error = other.read(topic, 0, 1, 1000).unwrap_err();
    assert!(matches!(error, LogError::OffsetExpired { offset: 1, start: 6, .. }), "{error:?}");
    assert_eq!(texts(&read_all(&other, topic, 0).unwrap()), ["6", "7", "8", "9"]);
}

#[test]
fn a_deleted_topic_is_named_and_not_made_again() {
    let Some(cluster) = one_node("a_deleted_topic_is_named_and_not_made_again") else { return };
    let log = open(options(cluster));
    let topic = "topics-deleted";
    log.ensure_topic(&spec(topic, 1)).unwrap();
    append(&log, topic, vec![record(0, "a")]).unwrap();
    assert_eq!(texts(&read_all(&log, topic, 0).unwrap()), ["a"]);

    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| log.wait(topic, 0, 1, Duration::from_secs(20)));
        block_on(admin(cluster).delete_topics(&[topic], &AdminOptions::new())).unwrap();
        let started = Instant::now();
        let gone = |what, error: LogError| assert!(matches!(error, LogError::UnknownTopic(_)), "{what}: {error:?}");
        gone("a wait", waiting.join().unwrap().unwrap_err());
        gone("an append", append(&log, topic, vec![record(0, "b")]).unwrap_err());
        gone("a read", log.read(topic, 0, 1, 1000).unwrap_err());
        gone("bounds", log.bounds(topic, 0).unwrap_err());
        assert!(started.elapsed() < Duration::from_secs(20), "it took {:?}", started.elapsed());
    });
    // The cluster makes topics that somebody asks about; we did not.
    let there = open(options(cluster)).partitions(topic);
    assert!(matches!(there, Err(LogError::UnknownTopic(_))), "{there:?}");
}

#[test]
fn somebody_elses_record_is_damage() {
    let Some(cluster) = one_node("somebody_elses_record_is_damage") else { return };
    let log = open(options(cluster));
    let topic = "topics-foreign";
    log.ensure_topic(&spec(topic, 1)).unwrap();
    append(&log, topic, vec![record(0, "ours")]).unwrap();
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", cluster.bootstrap_servers()).create().unwrap();
    producer.send(BaseRecord::<(), str>::to(topic).payload("theirs")).map_err(|(error, _)| error).unwrap();
    producer.flush(Duration::from_secs(10)).unwrap();

    assert_eq!(log.bounds(topic, 0).unwrap(), 0..2);
    assert_eq!(texts(&log.read(topic, 0, 0, 1000).unwrap()), ["ours"]);
    let error = log.read(topic, 0, 1, 1000).unwrap_err();
    assert!(matches!(&error, LogError::Damaged(why) if why.contains("offset 1 of topics-foreign/0")), "{error:?}");
}

#[test]
fn a_gap_is_damage() {
    let Some(cluster) = one_node("a_gap_is_damage") else { return };
    let log = open(options(cluster));
    let topic = "topics-gap";
    log.ensure_topic(&spec(topic, 1)).unwrap();
    append(&log, topic, vec![record(0, "a")]).unwrap();
    // A transaction has its end in the topic, too, and no consumer ever gets that.
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap_servers()).set("transactional.id", topic);
    let producer: BaseProducer = config.create().unwrap();
    let timeout = Duration::from_secs(30);
    producer.init_transactions(timeout).unwrap();
    producer.begin_transaction().unwrap();
    producer.send(BaseRecord::<(), str>::to(topic).payload("theirs")).map_err(|(error, _)| error).unwrap();
    producer.flush(timeout).unwrap();
    producer.abort_transaction(timeout).unwrap();
    wait_until("the transaction has its end", || log.bounds(topic, 0).unwrap().end == 3);
    append(&log, topic, vec![record(0, "b")]).unwrap();

    assert_eq!(texts(&log.read(topic, 0, 0, 1000).unwrap()), ["a"], "nothing is skipped");
    let error = log.read(topic, 0, 2, 1000).unwrap_err();
    assert!(
        matches!(&error, LogError::Damaged(why) if why.contains("offset 2 of topics-gap/0 is missing")),
        "{error:?}"
    );
    assert_eq!(texts(&log.read(topic, 0, 3, 1000).unwrap()), ["b"]);
}

#[test]
fn an_append_beyond_the_waiting_bytes_is_refused() {
    let Some(cluster) = one_node("an_append_beyond_the_waiting_bytes_is_refused") else { return };
    let log = open(KafkaOptions { max_waiting_bytes: 10_000, ..options(cluster) });
    let topic = "topics-full";
    log.ensure_topic(&spec(topic, 1)).unwrap();
    let halves = vec![record(0, vec![0; 5_000]), record(0, vec![0; 5_000])];
    let error = append(&log, topic, halves).unwrap_err();
    assert!(matches!(error, LogError::Full { waiting_bytes: 0 }), "{error:?}");
    assert_eq!(log.bounds(topic, 0).unwrap(), 0..0, "not even the first half was appended");
    for offset in 0..3 {
        let positions = append(&log, topic, vec![record(0, vec![0; 9_000])]).unwrap();
        assert_eq!(positions[0].offset, offset, "what was durable is given back");
    }
    let huge = record(0, vec![0; marquee_log_kafka::MAX_RECORD_BYTES + 1]);
    let error = append(&open(options(cluster)), topic, vec![record(0, "small"), huge]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert_eq!(log.bounds(topic, 0).unwrap(), 0..3, "nothing of it was appended");
}

#[test]
fn the_largest_record_comes_back() {
    let Some(cluster) = one_node("the_largest_record_comes_back") else { return };
    let log = open(options(cluster));
    log.ensure_topic(&spec("topics-large", 1)).unwrap();
    let noise: Vec<u8> = (0..marquee_log_kafka::MAX_RECORD_BYTES as u64)
        .map(|index| (index.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8)
        .collect();
    append(&log, "topics-large", vec![record(0, noise.clone()), record(0, "small")]).unwrap();
    let read = read_all(&log, "topics-large", 0).unwrap();
    assert_eq!(read.len(), 2);
    assert!(read[0].payload == noise);
}

#[test]
fn brokers_that_are_away_are_named() {
    // Nobody listens on port 1.
    let away = KafkaOptions { patience: Duration::from_millis(500), ..KafkaOptions::new("127.0.0.1:1") };
    let log = open(away);
    let error = log.partitions("playback").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.source().unwrap().to_string().contains("brokers run"), "{error:?}");
}

#[test]
fn a_wrong_password_is_named() {
    let Some(cluster) = one_node("a_wrong_password_is_named") else { return };
    let with_password = |password: &str| {
        open(KafkaOptions {
            bootstrap_servers: cluster.sasl_servers(),
            security_protocol: SecurityProtocol::SaslPlaintext,
            sasl: Some(Sasl {
                mechanism: "PLAIN".to_owned(),
                username: SASL_USER.to_owned(),
                password: password.to_owned(),
            }),
            ..options(cluster)
        })
    };
    let log = with_password(SASL_PASSWORD);
    log.ensure_topic(&spec("topics-sasl", 1)).unwrap();
    append(&log, "topics-sasl", vec![record(0, "a")]).unwrap();
    assert_eq!(texts(&read_all(&log, "topics-sasl", 0).unwrap()), ["a"]);

    let started = Instant::now();
    let error = with_password("a guess").partitions("topics-sasl").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert!(error.source().unwrap().to_string().contains("check the SASL mechanism"), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(15), "it took {:?}", started.elapsed());
}

#[cfg(not(feature = "tls"))]
#[test]
fn a_build_without_tls_says_what_it_needs() {
    let options = KafkaOptions { security_protocol: SecurityProtocol::Ssl, ..KafkaOptions::new("127.0.0.1:1") };
    let error = KafkaLog::open(options).err().expect("it is refused");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert!(error.source().unwrap().to_string().contains("feature `kafka-tls`"), "{error:?}");
}

/// Topics of the same name, their ledgers included, are others under another prefix; errors name them as the cluster does.
#[test]
fn a_prefix_keeps_logs_of_one_cluster_apart() {
    let Some(cluster) = one_node("a_prefix_keeps_logs_of_one_cluster_apart") else { return };
    let with_prefix =
        |prefix: &str| open(KafkaOptions { topic_prefix: format!("topics-{prefix}."), ..options(cluster) });
    let (live, staging) = (with_prefix("live"), with_prefix("staging"));
    for log in [&live, &staging] {
        log.ensure_topic(&spec("playback", 1)).unwrap();
    }
    append(&live, "playback", vec![record(0, "one"), record(0, "two")]).unwrap();
    let once = |log: &KafkaLog, text: &'static str| {
        block_on(log.append_once("playback", "a file", vec![record(0, text)])).unwrap().is_some()
    };
    assert!(once(&live, "three") && !once(&live, "three again"));
    assert!(live.ledger_contains("playback", "a file").unwrap());
    assert!(!staging.ledger_contains("playback", "a file").unwrap());
    assert!(once(&staging, "another"));
    assert_eq!(texts(&read_all(&live, "playback", 0).unwrap()), ["one", "two", "three"]);
    assert_eq!(texts(&read_all(&staging, "playback", 0).unwrap()), ["another"]);
    assert_eq!(staging.partitions("playback").unwrap(), 1);
    assert!(live.wait("playback", 0, 2, Duration::ZERO).unwrap());
    assert!(!staging.wait("playback", 0, 1, Duration::ZERO).unwrap());
    assert!(!live.cluster_id().unwrap().is_empty());
    assert_eq!(live.cluster_id().unwrap(), staging.cluster_id().unwrap());
    let error = staging.read("playback", 0, 9, 1000).unwrap_err();
    assert!(error.to_string().contains("topics-staging.playback"), "{error}");
}

/// Whoever knows nothing of it is refused by the broker, whatever acknowledgement it asks for.
#[test]
fn a_topic_that_has_ended_takes_nothing_from_anybody() {
    let Some(cluster) = one_node("a_topic_that_has_ended_takes_nothing_from_anybody") else { return };
    let log = open(options(cluster));
    log.ensure_topic(&spec("topics-ended", 1)).unwrap();
    append(&log, "topics-ended", vec![record(0, "a")]).unwrap();
    let before = open(options(cluster));
    append(&before, "topics-ended", vec![record(0, "b")]).unwrap();
    log.seal("topics-ended").unwrap();
    let end = log.bounds("topics-ended", 0).unwrap().end;
    for acks in ["0", "1", "all"] {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .set("acks", acks)
            .create()
            .unwrap();
        let payload = "x".repeat(50);
        producer.send(BaseRecord::<str, str>::to("topics-ended").partition(0).key("k").payload(&payload)).unwrap();
        producer.flush(DEADLINE).unwrap();
    }
    for _ in 0..2 {
        let refused = append(&before, "topics-ended", vec![record(0, "c")]);
        assert!(matches!(refused, Err(LogError::Sealed(_))), "{refused:?}");
    }
    assert_eq!(log.bounds("topics-ended", 0).unwrap().end, end);
    let payloads: Vec<usize> = read_all(&log, "topics-ended", 0).unwrap().iter().map(|r| r.payload.len()).collect();
    assert!(payloads.starts_with(&[1, 1]) && payloads.ends_with(&[0]), "{payloads:?}");
    // Its other settings are as they were.
    assert_eq!(setting(cluster, "topics-ended", "message.timestamp.type"), "LogAppendTime");
    assert_eq!(setting(cluster, "topics-ended", "retention.ms"), RETENTION_MS.to_string());
    log.ensure_topic(&TopicSpec { retention_ms: 2 * RETENTION_MS, ..spec("topics-ended", 1) }).unwrap();
    assert!(matches!(append(&log, "topics-ended", vec![record(0, "d")]), Err(LogError::Sealed(_))));
}
