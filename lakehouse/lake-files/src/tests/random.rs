//! Random rows of every shape: constant, in runs, few values, all different, the extremes; with few NULLs, many, in
//! stretches, nothing else; texts plain, as views, as dictionaries with values twice, unused or NULL.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, DictionaryArray, Float64Array, Int32Array, Int64Array, ListBuilder, NullArray,
    PrimitiveBuilder, StringArray, StringViewArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema};
use arrow::record_batch::RecordBatch;
use marquee_lake::{Column, ColumnKind, TableSpec};
use rand::Rng as _;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;

/// Rows of a table; some arrays are slices of longer ones.
pub(super) fn batch(spec: &TableSpec, rows: usize, rng: &mut SmallRng) -> RecordBatch {
    let arrays: Vec<ArrayRef> = spec
        .columns
        .iter()
        .map(|column| {
            let skipped = if rng.random_bool(0.5) { rng.random_range(0..100) } else { 0 };
            array(column, skipped + rows, rng).slice(skipped, rows)
        })
        .collect();
    let fields = spec.columns.iter().zip(&arrays).map(|(c, a)| Field::new(c.name, a.data_type().clone(), c.nullable));
    RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), arrays).unwrap()
}

fn array(column: &Column, rows: usize, rng: &mut SmallRng) -> ArrayRef {
    if column.nullable && rng.random_bool(0.05) {
        return Arc::new(NullArray::new(rows));
    }
    let valid = if column.nullable { validity(rows, rng) } else { vec![true; rows] };
    let numbers = numbers(rows, rng);
    let mut values = numbers.iter().zip(&valid).map(|(number, valid)| valid.then_some(*number));
    match column.kind {
        ColumnKind::Int => Arc::new(values.collect::<Int64Array>()),
        ColumnKind::Int32 => Arc::new(values.map(|v| v.map(|v| v as i32)).collect::<Int32Array>()),
        ColumnKind::Timestamp => Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
        ColumnKind::Bool => Arc::new(values.map(|v| v.map(|v| v & 1 == 1)).collect::<BooleanArray>()),
        ColumnKind::Float => Arc::new(values.map(|v| v.map(|v| v as f64 / 3.0)).collect::<Float64Array>()),
        ColumnKind::Bytes => {
            let bytes: Vec<Option<Vec<u8>>> = values.map(|v| v.map(|v| v.to_le_bytes()[..3].to_vec())).collect();
            Arc::new(bytes.iter().map(Option::as_deref).collect::<BinaryArray>())
        }
        ColumnKind::IntList => {
            let element = Arc::new(Field::new("element", DataType::Int64, false));
            let mut lists = ListBuilder::new(PrimitiveBuilder::<Int64Type>::new()).with_field(element);
            for value in &mut values {
                (0..value.unwrap_or(0).rem_euclid(4)).for_each(|item| lists.values().append_value(item));
                lists.append(value.is_some());
            }
            Arc::new(lists.finish())
        }
        ColumnKind::Text | ColumnKind::DateText => texts(&numbers, &valid, rng),
    }
}

fn texts(numbers: &[i64], valid: &[bool], rng: &mut SmallRng) -> ArrayRef {
    let tail = ["", "x", "é😀", &"long ".repeat(13), &"\u{10ffff}".repeat(20), &"z€".repeat(40)];
    let tail = *tail.choose(rng).unwrap();
    let text = |number: i64| match number {
        0 => String::new(),
        other => format!("{other}{tail}"),
    };
    match rng.random_range(0..3) {
        0 => Arc::new(numbers.iter().zip(valid).map(|(n, valid)| valid.then(|| text(*n))).collect::<StringArray>()),
        1 => Arc::new(numbers.iter().zip(valid).map(|(n, valid)| valid.then(|| text(*n))).collect::<StringViewArray>()),
        _ => {
            // Every value twice, and as many that no row has; what NULL rows point at is anything.
            let mut distinct: Vec<i64> = numbers.to_vec();
            distinct.sort_unstable();
            distinct.dedup();
            let count = distinct.len();
            let mut values: Vec<Option<String>> = distinct.iter().chain(&distinct).map(|n| Some(text(*n))).collect();
            values.extend((0..count).map(|n| Some(format!("unused {n}"))));
            let null_values = rng.random_bool(0.2) && !valid.iter().all(|valid| *valid);
            values.push(if null_values { None } else { Some("also unused".to_owned()) });
            let null = values.len() - 1;
            let keys: Vec<i32> = numbers
                .iter()
                .zip(valid)
                .map(|(n, valid)| {
                    let place = distinct.binary_search(n).unwrap();
                    (if *valid { place + count * rng.random_range(0..2) } else { null }) as i32
                })
                .collect();
            let nulls = (!null_values && valid.iter().any(|valid| !valid)).then(|| valid.to_vec().into());
            let keys = Int32Array::new(keys.into(), nulls);
            Arc::new(DictionaryArray::<Int32Type>::new(keys, Arc::new(values.into_iter().collect::<StringArray>())))
        }
    }
}

fn validity(rows: usize, rng: &mut SmallRng) -> Vec<bool> {
    let share = *[0.0, 0.02, 0.5, 0.97, 1.0].choose(rng).unwrap();
    let longest = *[1, 10, 200].choose(rng).unwrap();
    stretches(rows, longest, rng, |rng| rng.random_bool(share))
}

fn numbers(rows: usize, rng: &mut SmallRng) -> Vec<i64> {
    let longest = *[1, 3, 30, 500].choose(rng).unwrap();
    match rng.random_range(0..6) {
        0 => vec![rng.random(); rows],
        1 => stretches(rows, longest, rng, |rng| rng.random_range(0..4)),
        2 => stretches(rows, longest, rng, |rng| rng.random_range(-500..500)),
        3 => stretches(rows, longest, rng, rand::Rng::random),
        4 => stretches(rows, longest, rng, |rng| *[i64::MIN, i64::MAX, -1, 0, 1 << 31].choose(rng).unwrap()),
        _ => {
            let step = *[-3, 1, 1_000_003].choose(rng).unwrap();
            let mut last = rng.random_range(-1_000..1_000);
            stretches(rows, longest, rng, |_| {
                last += step;
                last
            })
        }
    }
}

/// Stretches of equal values.
fn stretches<T: Copy>(
    rows: usize,
    longest: usize,
    rng: &mut SmallRng,
    mut value: impl FnMut(&mut SmallRng) -> T,
) -> Vec<T> {
    let mut values = Vec::with_capacity(rows);
    while values.len() < rows {
        let next = value(rng);
        let count = rng.random_range(1..=longest).min(rows - values.len());
        values.extend(std::iter::repeat_n(next, count));
    }
    values
}
