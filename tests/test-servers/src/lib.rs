//! Real servers for tests: started on free ports in a folder of their own, gone when the test's process is, however it
//! ends. They only panic, as a test does.

mod certificate;
mod kafka;
mod process;
mod s3;
mod small_disk;

pub use kafka::{KafkaCluster, SASL_PASSWORD, SASL_USER, kafka_is_here};
pub use s3::{S3_CREDENTIALS, S3Server, s3_is_here};
