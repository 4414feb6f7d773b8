//! Files of random rows: read back, searched and compared with those of the library's writer.

#[path = "../../examples/encode/events.rs"]
mod events;
mod random;
mod readers;

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, BooleanArray, Int64Array, StringArray};
use arrow::compute::{cast, concat_batches, filter_record_batch};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use marquee_lake::{Column, ColumnKind, TableSpec};
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector};
use parquet::basic::BoundaryOrder;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::properties::ReaderProperties;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::file::serialized_reader::ReadOptionsBuilder;
use parquet::file::statistics::Statistics;
use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use crate::file::Sizes;
use crate::{FileError, encode, file, library, stats};

/// Every kind of column, required and not.
static TABLE: TableSpec = TableSpec {
    name: "test",
    doc: "every kind of column",
    layer: "bronze",
    columns: &[
        column("id", ColumnKind::Text, false),
        column("text", ColumnKind::Text, true),
        column("date", ColumnKind::DateText, true),
        column("int", ColumnKind::Int, false),
        column("maybe_int", ColumnKind::Int, true),
        column("int32", ColumnKind::Int32, false),
        column("maybe_int32", ColumnKind::Int32, true),
        column("instant", ColumnKind::Timestamp, false),
        column("maybe_instant", ColumnKind::Timestamp, true),
        column("flag", ColumnKind::Bool, false),
        column("maybe_flag", ColumnKind::Bool, true),
        column("float", ColumnKind::Float, true),
        column("bytes", ColumnKind::Bytes, true),
        column("list", ColumnKind::IntList, true),
    ],
    partition_by: None,
    keys: &["id"],
    bloom: &["id", "text"],
    retention_days: None,
    written_by: "tests",
};

const fn column(name: &'static str, kind: ColumnKind, nullable: bool) -> Column {
    Column { name, kind, nullable, doc: "" }
}

/// The rows as a reader sees them: plain types, the table's schema.
fn plain(spec: &TableSpec, rows: &RecordBatch) -> RecordBatch {
    let columns: Vec<&Column> = spec.columns.iter().filter(|column| spec.partition_by != Some(column.name)).collect();
    let arrays = columns.iter().map(|column| cast(&rows[column.name], &column.data_type()).unwrap()).collect();
    let fields = columns.iter().map(|column| Field::new(column.name, column.data_type(), column.nullable));
    RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), arrays).unwrap()
}

fn read(bytes: &[u8], selection: Option<RowSelection>, schema: &RecordBatch) -> RecordBatch {
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    let bytes = Bytes::copy_from_slice(bytes);
    let mut builder = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options).unwrap();
    if let Some(selection) = selection {
        builder = builder.with_row_selection(selection);
    }
    let batches: Vec<RecordBatch> = builder.with_batch_size(777).build().unwrap().map(Result::unwrap).collect();
    let schema = schema.schema();
    let batches = batches.iter().map(|b| RecordBatch::try_new(Arc::clone(&schema), b.columns().to_vec()).unwrap());
    concat_batches(&schema, &batches.collect::<Vec<_>>()).unwrap()
}

/// Everything that a file promises.
fn check(spec: &TableSpec, rows: &RecordBatch, sizes: Sizes, rng: &mut SmallRng) {
    let expected = plain(spec, rows);
    let (bytes, ours) = file::encode(spec, rows, sizes).unwrap();
    assert_equal(&read(&bytes, None, &expected), &expected);
    let (selection, kept) = random_selection(rows.num_rows(), rng);
    assert_equal(&read(&bytes, Some(selection), &expected), &filter_record_batch(&expected, &kept).unwrap());

    // The library takes as many rows into a row group, but knows no arrays without a type.
    if sizes.row_group_rows >= rows.num_rows()
        && rows.columns().iter().all(|array| *array.data_type() != DataType::Null)
    {
        let (_, library) = library::encode(spec, rows).unwrap();
        assert_same_statistics(&ours, &library);
        assert_eq!(stats::from_parquet(spec, &ours), stats::from_parquet(spec, &library));
    }
    check_pages(&bytes, &expected);
    check_bloom_filters(spec, &bytes, &expected, sizes, rng);
}

fn assert_equal(found: &RecordBatch, expected: &RecordBatch) {
    assert_eq!(found.num_rows(), expected.num_rows());
    for (field, (found, expected)) in
        expected.schema().fields().iter().zip(found.columns().iter().zip(expected.columns()))
    {
        let differs = (0..expected.len()).find(|row| found.slice(*row, 1) != expected.slice(*row, 1));
        if let (true, Some(row)) = (found != expected, differs) {
            panic!(
                "column {} row {row}: {:?} instead of {:?}",
                field.name(),
                found.slice(row, 1),
                expected.slice(row, 1)
            );
        }
    }
}

fn random_selection(rows: usize, rng: &mut SmallRng) -> (RowSelection, BooleanArray) {
    let mut kept = Vec::new();
    let mut selectors = Vec::new();
    let mut keep = rng.random_bool(0.5);
    while kept.len() < rows {
        let count = rng.random_range(1..=rows.div_ceil(3).min(300)).min(rows - kept.len());
        selectors.push(if keep { RowSelector::select(count) } else { RowSelector::skip(count) });
        kept.extend(std::iter::repeat_n(keep, count));
        keep = !keep;
    }
    (RowSelection::from(selectors), BooleanArray::from(kept))
}

fn assert_same_statistics(ours: &ParquetMetaData, library: &ParquetMetaData) {
    assert_eq!(ours.file_metadata().schema_descr(), library.file_metadata().schema_descr());
    assert_eq!(ours.num_row_groups(), library.num_row_groups());
    for (ours, library) in ours.row_groups().iter().zip(library.row_groups()) {
        assert_eq!(ours.num_rows(), library.num_rows());
        for (ours, library) in ours.columns().iter().zip(library.columns()) {
            let path = ours.column_path();
            assert_eq!(ours.statistics(), library.statistics(), "{path}");
            assert_eq!(ours.num_values(), library.num_values(), "{path}");
            let texts = (ours.unencoded_byte_array_data_bytes(), library.unencoded_byte_array_data_bytes());
            assert_eq!(texts.0, texts.1, "{path}");
            assert_eq!(ours.definition_level_histogram(), library.definition_level_histogram(), "{path}");
        }
    }
}

/// The page index against the rows of each page.
fn check_pages(bytes: &[u8], expected: &RecordBatch) {
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(Bytes::copy_from_slice(bytes), options).unwrap();
    let metadata = reader.metadata();
    let mut group_start = 0;
    for group in 0..metadata.num_row_groups() {
        let rows = metadata.row_group(group).num_rows() as usize;
        for (leaf, array) in expected.columns().iter().enumerate() {
            let pages = metadata.offset_index().unwrap()[group][leaf].page_locations();
            let starts = pages.iter().map(|page| page.first_row_index as usize).chain([rows]).collect::<Vec<_>>();
            let pages: Vec<ArrayRef> =
                starts.windows(2).map(|page| array.slice(group_start + page[0], page[1] - page[0])).collect();
            let index = &metadata.column_index().unwrap()[group][leaf];
            let order = index.get_boundary_order();
            match index {
                ColumnIndexMetaData::INT64(index) if !matches!(array.data_type(), DataType::List(_)) => {
                    let bounds = pages.iter().map(|page| {
                        let page = cast(page, &DataType::Int64).unwrap();
                        let page = page.as_primitive::<arrow::datatypes::Int64Type>();
                        page.iter().flatten().min().zip(page.iter().flatten().max())
                    });
                    let bounds: Vec<_> = bounds.collect();
                    for (page, bounds) in bounds.iter().enumerate() {
                        assert_eq!(index.min_value(page).copied().zip(index.max_value(page).copied()), *bounds);
                        assert_eq!(index.is_null_page(page), bounds.is_none());
                        assert_eq!(index.null_count(page), Some(pages[page].null_count() as i64));
                    }
                    check_order(order, &bounds.into_iter().flatten().collect::<Vec<_>>());
                }
                ColumnIndexMetaData::BYTE_ARRAY(index) if *array.data_type() == DataType::Utf8 => {
                    let mut all = Vec::new();
                    for (page, texts) in pages.iter().enumerate() {
                        let texts = texts.as_string::<i32>();
                        assert_eq!(index.null_count(page), Some(texts.null_count() as i64));
                        let Some(bounds) = texts.iter().flatten().min().zip(texts.iter().flatten().max()) else {
                            assert!(index.is_null_page(page));
                            continue;
                        };
                        let (min, max) = (index.min_value(page).unwrap(), index.max_value(page).unwrap());
                        assert!(min <= bounds.0.as_bytes() && bounds.1.as_bytes() <= max);
                        assert!(bounds.0.len() > 64 || min == bounds.0.as_bytes());
                        assert!(bounds.1.len() > 64 || max == bounds.1.as_bytes());
                        all.push(bounds);
                    }
                    check_order(order, &all);
                }
                _ => {}
            }
        }
        group_start += rows;
    }
    assert_eq!(group_start, expected.num_rows());
}

fn check_order<T: PartialOrd>(order: Option<BoundaryOrder>, bounds: &[(T, T)]) {
    let rises = bounds.windows(2).all(|pair| pair[0].0 <= pair[1].0 && pair[0].1 <= pair[1].1);
    let falls = bounds.windows(2).all(|pair| pair[0].0 >= pair[1].0 && pair[0].1 >= pair[1].1);
    let expected = match (rises, falls) {
        (true, _) => BoundaryOrder::ASCENDING,
        (false, true) => BoundaryOrder::DESCENDING,
        (false, false) => BoundaryOrder::UNORDERED,
    };
    assert_eq!(order, Some(expected));
}

/// No value is missed, and few others are found.
fn check_bloom_filters(spec: &TableSpec, bytes: &[u8], expected: &RecordBatch, sizes: Sizes, rng: &mut SmallRng) {
    let properties = ReaderProperties::builder().set_read_bloom_filter(true).build();
    let options = ReadOptionsBuilder::new().with_reader_properties(properties).build();
    let reader = SerializedFileReader::new_with_options(Bytes::copy_from_slice(bytes), options).unwrap();
    for group in 0..reader.num_row_groups() {
        let reader = reader.get_row_group(group).unwrap();
        let rows = expected.slice(group * sizes.row_group_rows, reader.metadata().num_rows() as usize);
        for (leaf, field) in expected.schema().fields().iter().enumerate() {
            let filter = reader.get_column_bloom_filter(leaf);
            assert_eq!(filter.is_some(), spec.bloom.contains(&field.name().as_str()), "{}", field.name());
            let Some(filter) = filter else { continue };
            assert!(rows.column(leaf).as_string::<i32>().iter().flatten().all(|text| filter.check(text)));
            let found = (0..1_000).filter(|_| filter.check(format!("absent {}", rng.random::<u64>()).as_str()));
            assert!(found.count() < 60, "{}", field.name());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_rows_come_back(
        seed in any::<u64>(),
        rows in prop_oneof![Just(1_usize), Just(2), 3..70_usize, 60..1_500_usize],
        page_rows in prop_oneof![Just(1_usize), 2..100_usize, 100..3_000_usize],
        row_group_rows in prop_oneof![20..2_000_usize, Just(1 << 20)],
    ) {
        let mut rng = SmallRng::seed_from_u64(seed);
        let batch = random::batch(&TABLE, rows, &mut rng);
        // A file of 2,000 pages a column is nothing that we write.
        let page_rows = page_rows.max(rows / 100);
        check(&TABLE, &batch, Sizes { page_rows, row_group_rows }, &mut rng);
    }
}

#[test]
fn pages_of_the_usual_size_come_back() {
    let mut rng = SmallRng::seed_from_u64(3);
    for rows in [19_999, 20_000, 20_001, 60_500] {
        check(&TABLE, &random::batch(&TABLE, rows, &mut rng), Sizes::default(), &mut rng);
    }
}

#[test]
fn events_come_back() {
    for (ids, rows) in [(events::Ids::None, 25_000), (events::Ids::Counted, 1), (events::Ids::Random, 7_000)] {
        let mut rng = SmallRng::seed_from_u64(rows as u64);
        let batch = events::batch(rows, ids);
        let names = batch.schema().fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>();
        assert_eq!(names[0], "ingest_date");
        let data = batch.project(&(1..names.len()).collect::<Vec<_>>()).unwrap();
        check(&marquee_lake::tables::EVENTS, &data, Sizes::default(), &mut rng);
    }
}

#[test]
fn long_texts_come_back() {
    let mut rng = SmallRng::seed_from_u64(5);
    let long: Vec<String> = (0..40).map(|n| format!("{n}{}", "é".repeat(rng.random_range(0..500_000)))).collect();
    let texts = StringArray::from_iter_values(&long);
    let mut batch = random::batch(&TABLE, 40, &mut rng);
    for repeated in [false, true] {
        let keys = (0..40).map(|row| Some(if repeated { row % 3 } else { row }));
        let keys: arrow::array::Int32Array = keys.collect();
        let dictionary = arrow::array::DictionaryArray::<Int32Type>::new(keys, Arc::new(texts.clone()));
        for array in [Arc::new(dictionary) as ArrayRef, Arc::new(texts.clone())] {
            let mut columns = batch.columns().to_vec();
            columns[0] = array;
            let mut fields = batch.schema().fields().to_vec();
            fields[0] = Arc::new(Field::new("id", columns[0].data_type().clone(), false));
            batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
            check(&TABLE, &batch, Sizes::default(), &mut rng);
        }
    }
}

#[test]
fn what_repeats_costs_next_to_nothing() {
    let batch = events::batch(20_000, events::Ids::None);
    let file = &encode(&marquee_lake::tables::EVENTS, &batch).unwrap()[0];
    let reader = SerializedFileReader::new(Bytes::from(file.bytes.clone())).unwrap();
    for column in reader.metadata().row_group(0).columns() {
        if [
            "topic",
            "partition",
            "clock_shift_ms",
            "player",
            "asset_id",
            "city",
            "fatal",
            "rate_per_mille",
            "player_state",
        ]
        .contains(&column.column_path().string().as_str())
        {
            assert!(column.compressed_size() < 100, "{}: {} bytes", column.column_path(), column.compressed_size());
        }
    }
}

#[test]
fn no_rows_make_no_file() {
    let batch = random::batch(&TABLE, 3, &mut SmallRng::seed_from_u64(1)).slice(0, 0);
    assert_eq!(encode(&TABLE, &batch).unwrap(), []);
}

#[test]
fn a_dictionary_cannot_hide_a_null() {
    let batch = events::batch(3, events::Ids::None);
    let values = StringArray::from(vec![Some("a"), None]);
    let hidden = arrow::array::DictionaryArray::<Int32Type>::new(vec![0, 1, 0].into(), Arc::new(values));
    let place = batch.schema().index_of("topic").unwrap();
    let mut columns = batch.columns().to_vec();
    columns[place] = Arc::new(hidden);
    let batch = RecordBatch::try_new(batch.schema(), columns).unwrap();
    let error = encode(&marquee_lake::tables::EVENTS, &batch).unwrap_err();
    assert!(matches!(&error, FileError::Rows(what) if what == "column `topic` is NULL in 1 rows"), "{error}");
}

#[test]
fn statistics_are_there() {
    let batch = events::batch(500, events::Ids::Counted);
    let file = &encode(&marquee_lake::tables::EVENTS, &batch).unwrap()[0];
    assert_eq!(file.partition.as_deref(), Some("2026-07-25"));
    assert!(file.stats.contains("\"numRecords\":500"), "{}", file.stats);
    let reader = SerializedFileReader::new(Bytes::from(file.bytes.clone())).unwrap();
    let sequences = batch["sequence"].as_primitive::<arrow::datatypes::Int64Type>();
    let column = reader.metadata().row_group(0).columns().iter().find(|c| c.column_path().string() == "sequence");
    let Some(Statistics::Int64(found)) = column.unwrap().statistics() else { panic!("no statistics") };
    let expected = |of: fn(&Int64Array) -> Option<i64>| of(sequences);
    assert_eq!(found.min_opt().copied(), expected(arrow::compute::min));
    assert_eq!(found.max_opt().copied(), expected(arrow::compute::max));
}
