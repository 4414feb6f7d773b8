//! What Arroyo's API reads from the posted file, and what the file promises to table `session_revisions`.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use arroyo_udf_common::parse::{ParsedUdf, UdfType};
use arroyo_udf_plugin::arrow::datatypes::DataType;
use marquee_events::{CONTEXT_FIELDS, PayloadKind};
use syn::{FnArg, Item, ItemFn, Pat};

use crate::worked_example;

/// This workspace.
pub fn here() -> PathBuf {
    // Asked when the tests run: clones may share a target folder.
    std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests").into()
}

fn source(path: &str) -> String {
    fs::read_to_string(here().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The only function with `#[udf]`, as `ParsedUdfFile` of `arroyo-udf-host` finds it.
fn function(path: &str) -> ItemFn {
    let is_udf = |item: &ItemFn| item.attrs.iter().any(|attribute| attribute.path().is_ident("udf"));
    let file = syn::parse_file(&source(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut functions = file.items.into_iter().filter_map(|item| match item {
        Item::Fn(function) if is_udf(&function) => Some(function),
        _ => None,
    });
    let function = functions.next().expect("a function with #[udf]");
    assert!(functions.next().is_none(), "Arroyo takes one function a file");
    function
}

/// The columns that `session_row` takes, in order.
pub fn parameters() -> Vec<String> {
    let inputs = function("src/lib.rs").sig.inputs;
    let names = inputs.into_iter().map(|input| match input {
        FnArg::Typed(input) => match *input.pat {
            Pat::Ident(name) => name.ident.to_string(),
            _ => panic!("a parameter without a name"),
        },
        FnArg::Receiver(_) => panic!("a function"),
    });
    names.collect()
}

/// The columns that docs/qoe.md defines: what stands in backquotes in its section 3.
fn vector_columns() -> BTreeSet<String> {
    let text = source("../../docs/qoe.md");
    let section = text.split_once("## 3. ").expect("the vector").1;
    let section = section.split("\n## ").next().unwrap_or_default();
    let outcomes = section.lines().find(|line| line.starts_with("`outcome`")).expect("the outcomes");
    let section = section.replace(outcomes, "`outcome`");
    let is_name = |word: &&str| word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    section.split('`').skip(1).step_by(2).filter(is_name).map(str::to_owned).collect()
}

/// The columns of table `session_revisions`, from the source of its crate, which is too heavy to depend on.
fn table_columns() -> BTreeSet<String> {
    let text = source("../../lakehouse/lake/src/tables.rs");
    let table = text.split_once("pub static SESSION_REVISIONS").expect("the table").1;
    let table = table.split("\n};").next().unwrap_or_default();
    let names = table.split("required(").flat_map(|part| part.split("optional(")).skip(1);
    names.map(|part| part.split('"').nth(1).expect("a name").to_owned()).collect()
}

#[test]
fn arroyo_reads_an_aggregate_function_of_nullable_numbers_that_answers_with_a_text() {
    let parsed = ParsedUdf::try_parse(&function("src/lib.rs")).expect("a UDF");
    assert_eq!(parsed.name, "session_row");
    assert_eq!(parsed.udf_type, UdfType::Sync);
    assert_eq!((parsed.vec_arguments, parsed.args.len()), (parameters().len(), parameters().len()));
    for argument in &parsed.args {
        let DataType::List(field) = &argument.data_type else { panic!("{argument:?}") };
        assert_eq!((field.data_type(), field.is_nullable()), (&DataType::Int64, true));
    }
    assert_eq!((&parsed.ret_type.data_type, parsed.ret_type.nullable), (&DataType::Utf8, false));
}

#[test]
fn arroyo_reads_the_function_of_words() {
    let parsed = ParsedUdf::try_parse(&function("text-word/src/lib.rs")).expect("a UDF");
    let types: Vec<_> = parsed.args.iter().map(|argument| &argument.data_type).collect();
    assert_eq!((parsed.name.as_str(), types), ("text_word", vec![&DataType::Utf8, &DataType::Int64]));
}

/// Arroyo builds the posted file with the dependencies of its comment and nothing else.
#[test]
fn the_comment_names_the_dependencies_of_the_crate() {
    let text = source("src/lib.rs");
    let comments: Vec<_> = text.split("/*\n[dependencies]\n").skip(1).collect();
    let [comment] = comments.as_slice() else { panic!("one comment with dependencies") };
    let posted: toml::Table = comment.split("*/").next().unwrap_or_default().parse().expect("TOML");
    let mut manifest: toml::Table = source("Cargo.toml").parse().expect("TOML");
    let Some(toml::Value::Table(mut built)) = manifest.remove("dependencies") else { panic!("dependencies") };
    built.remove("arroyo-udf-plugin").expect("Arroyo adds it by itself");
    for name in ["marquee-events", "marquee-qoe"] {
        let path = built[name]["path"].as_str().expect("a path").replace("..", "{{ MARQUEE_CHECKOUT }}/pipelines");
        built[name]["path"] = path.into();
    }
    assert_eq!(posted, built);
}

/// `type` comes in two words.
#[test]
fn the_names_of_events_fit_into_their_words() {
    for kind in PayloadKind::ALL {
        assert!(kind.name().len() <= 16, "{kind:?}");
    }
}

/// What only the job or the SQL around the call knows.
const NOT_OF_THE_EVENTS: [&str; 8] =
    ["session_id", "player_instance", "revision", "topic", "partition", "epoch", "late_events", "bronze_epochs"];

/// What became of the rows; the job has tables for it.
const OF_THE_CALL: [&str; 2] = ["refused_events", "refused_reason"];

#[test]
fn the_row_has_the_columns_of_session_revisions_and_of_the_vector() {
    let mut expected = table_columns();
    for name in NOT_OF_THE_EVENTS.iter().chain(&CONTEXT_FIELDS[2..]) {
        expected.remove(*name);
    }
    expected.extend(vector_columns());
    expected.extend(OF_THE_CALL.map(str::to_owned));
    let row = worked_example::row();
    let found: BTreeSet<String> = row.as_object().expect("a row").keys().cloned().collect();
    assert_eq!(found, expected);
}

/// The job's crate cannot be a dependency of a posted file, so the limits stand there and here.
#[test]
fn the_limits_are_those_of_the_playback_job() {
    let limits = |path: &str| -> BTreeSet<(String, String)> {
        let text = source(path);
        let constants = text.lines().filter_map(|line| line.strip_prefix("const MAX_")?.strip_suffix(';'));
        let limit =
            |constant: &str| constant.split_once(" = ").map(|(name, value)| (name.to_owned(), value.to_owned()));
        let name = |(name, value): (String, String)| (name.split(':').next().unwrap_or_default().to_owned(), value);
        constants.filter_map(limit).map(name).collect()
    };
    let mut ours = limits("src/lib.rs");
    ours.retain(|(name, _)| name != "DROPPED_FRAMES");
    let mut theirs = limits("../jobs/src/playback/rules.rs");
    // Sequences beyond it fold without being counted.
    theirs.retain(|(name, _)| name != "SEQUENCE");
    assert_eq!(ours, theirs);
}
