//! Generated from `proto/marquee.events.v1.proto`; `MARQUEE_UPDATE=1 make test` writes it anew.
#![allow(missing_docs, clippy::pedantic, reason = "generated code")]

include!("generated/marquee.events.v1.rs");
