//! TLS and SCRAM: the contract over them, and what is said when they do not fit.

use std::error::Error as _;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use marquee_events::ErrorKind;
use marquee_log_kafka::{KafkaMembership, KafkaOptions, MembershipOptions, Sasl, SecurityProtocol};
use marquee_stream::contract::check_partition_log;
use marquee_stream::{Membership as _, PartitionLog as _};
use marquee_test_servers::{KafkaCluster, SASL_PASSWORD, SASL_USER, kafka_is_here};

use crate::setup::{open, options, spec, wait_until};

fn cluster(test: &str) -> Option<&'static KafkaCluster> {
    static CLUSTER: OnceLock<KafkaCluster> = OnceLock::new();
    kafka_is_here(test).then(|| CLUSTER.get_or_init(KafkaCluster::start_with_tls))
}

fn secure(cluster: &KafkaCluster, ca_file: Option<PathBuf>, password: &str) -> KafkaOptions {
    KafkaOptions {
        bootstrap_servers: cluster.tls_servers(),
        security_protocol: SecurityProtocol::SaslSsl,
        sasl: Some(Sasl {
            mechanism: "SCRAM-SHA-512".to_owned(),
            username: SASL_USER.to_owned(),
            password: password.to_owned(),
        }),
        ca_file,
        ..options(cluster)
    }
}

#[test]
fn keeps_the_contract_over_tls() {
    let Some(cluster) = cluster("keeps_the_contract_over_tls") else { return };
    let options = secure(cluster, Some(cluster.ca_files().0), SASL_PASSWORD);
    check_partition_log(&|| Arc::new(open(options.clone())));
    let topic = "tls-members";
    open(options.clone()).ensure_topic(&spec(topic, 2)).unwrap();
    let group = MembershipOptions::new("tls-group", vec![topic.to_owned()]);
    let member = KafkaMembership::join(&options, &group).unwrap();
    wait_until("it has all partitions", || member.assignment().is_ok_and(|a| a.partitions.len() == 2));
}

/// What opening a topic says, soon, without the password.
fn check_refused(options: KafkaOptions, password: &str, words: &str) {
    let started = Instant::now();
    let error = open(options).partitions("playback").unwrap_err();
    let said = format!("{error} {error:?} {}", error.source().unwrap());
    assert_eq!(error.kind(), ErrorKind::Invalid, "{said}");
    assert!(said.contains(words), "no {words:?} in {said}");
    assert!(!said.contains(password), "{said}");
    assert!(started.elapsed() < Duration::from_secs(15), "it took {:?}", started.elapsed());
}

#[test]
fn a_wrong_password_is_named_and_not_shown() {
    let Some(cluster) = cluster("a_wrong_password_is_named_and_not_shown") else { return };
    let guess = "a-wild-guess";
    check_refused(
        secure(cluster, Some(cluster.ca_files().0), guess),
        guess,
        "check the SASL mechanism, the user and the",
    );
}

#[test]
fn a_certificate_that_is_not_trusted_is_named() {
    let Some(cluster) = cluster("a_certificate_that_is_not_trusted_is_named") else { return };
    // Another one, and those of the system.
    for ca_file in [Some(cluster.ca_files().1), None] {
        check_refused(secure(cluster, ca_file, SASL_PASSWORD), SASL_PASSWORD, "check the CA file");
    }
}

#[test]
fn a_ca_file_that_is_not_there_is_named() {
    let Some(cluster) = cluster("a_ca_file_that_is_not_there_is_named") else { return };
    let options = secure(cluster, Some(PathBuf::from("nowhere.pem")), SASL_PASSWORD);
    let error = marquee_log_kafka::KafkaLog::open(options).err().expect("it is refused");
    let said = format!("{error} {}", error.source().unwrap());
    assert_eq!(error.kind(), ErrorKind::Invalid, "{said}");
    assert!(said.contains("ca_file nowhere.pem cannot be read") && !said.contains(SASL_PASSWORD), "{said}");
}
