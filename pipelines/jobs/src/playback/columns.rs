//! Columns as the tables have them, made from what many rows share: texts are dictionaries, and a run of equal rows costs
//! little more than one.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BooleanArray, DictionaryArray, Int32Array, NullArray, NullBufferBuilder,
    PrimitiveArray, StringArray,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, DataType, Field, Int32Type, Schema};
use arrow::record_batch::RecordBatch;
use arrow::util::bit_util;
use hashbrown::HashMap;
use marquee_lake::TableSpec;

use super::contexts::Symbols;

/// The columns as a batch of the table. Texts may be dictionaries or views, and a column without a value may be of no type:
/// files have plain types.
pub(crate) fn batch_of(table: &TableSpec, columns: Vec<ArrayRef>) -> RecordBatch {
    let fields: Vec<Field> = table
        .columns
        .iter()
        .zip(&columns)
        .map(|(column, array)| Field::new(column.name, array.data_type().clone(), column.nullable))
        .collect();
    debug_assert!(table.columns.iter().zip(&columns).all(|(c, a)| same_kind(&c.data_type(), a.data_type())));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("the columns are those of the spec")
}

fn same_kind(spec: &DataType, array: &DataType) -> bool {
    match array {
        DataType::Null => true,
        DataType::Dictionary(_, values) => spec == values.as_ref(),
        DataType::Utf8View => *spec == DataType::Utf8,
        other => spec == other,
    }
}

/// A text column from numbers into `values`; `None` is NULL.
pub(crate) fn dictionary(keys: Int32Array, values: impl Into<Arc<StringArray>>) -> ArrayRef {
    let values: Arc<StringArray> = values.into();
    Arc::new(DictionaryArray::<Int32Type>::new(keys, values))
}

/// A column of NULLs, which takes no room.
pub(crate) fn no_value(rows: usize) -> ArrayRef {
    Arc::new(NullArray::new(rows))
}

/// One text for all rows.
pub(crate) fn constant_text(rows: usize, text: &str) -> ArrayRef {
    dictionary(Int32Array::from_value(0, rows), StringArray::from_iter_values([text]))
}

/// A text column of few distinct numbers, the text of each made once; negative numbers are NULL.
pub(crate) fn numbered_texts(numbers: impl Iterator<Item = i64>, text: impl Fn(i64) -> String) -> ArrayRef {
    let mut seen: Vec<i64> = Vec::new();
    let mut last = 0;
    let keys: Int32Array = numbers
        .map(|number| {
            if number < 0 {
                return None;
            }
            if seen.get(last) != Some(&number) {
                last = seen.iter().position(|known| *known == number).unwrap_or_else(|| {
                    seen.push(number);
                    seen.len() - 1
                });
            }
            Some(last as i32)
        })
        .collect();
    dictionary(keys, StringArray::from_iter_values(seen.into_iter().map(text)))
}

/// A text column from runs of one text, as (its number among `symbols`, rows). The empty text is NULL unless the column
/// `is_required`. `scratch` is memory that columns share.
pub(crate) fn texts_of_runs(
    symbols: &Symbols,
    runs: impl Iterator<Item = (u32, usize)>,
    rows: usize,
    is_required: bool,
    scratch: &mut Vec<u32>,
) -> ArrayRef {
    const UNSEEN: u32 = u32::MAX;
    if scratch.len() < symbols.len() {
        scratch.resize(symbols.len(), UNSEEN);
    }
    let mut seen: Vec<u32> = Vec::new();
    let mut keys: Vec<i32> = Vec::with_capacity(rows);
    let mut known = NullBufferBuilder::new(rows);
    for (symbol, length) in runs {
        if symbol == 0 && !is_required {
            keys.resize(keys.len() + length, 0);
            known.append_n_nulls(length);
            continue;
        }
        let key = &mut scratch[symbol as usize];
        if *key == UNSEEN {
            *key = seen.len() as u32;
            seen.push(symbol);
        }
        keys.resize(keys.len() + length, *key as i32);
        known.append_n_non_nulls(length);
    }
    if seen.is_empty() {
        return no_value(rows);
    }
    for symbol in &seen {
        scratch[*symbol as usize] = UNSEEN;
    }
    let values = StringArray::from_iter_values(seen.iter().map(|symbol| symbols.text(*symbol)));
    dictionary(Int32Array::new(keys.into(), known.finish()), values)
}

/// A text column whose distinct values are found on the way.
#[derive(Debug, Default)]
pub(crate) struct TextColumn<'a> {
    keys: Vec<Option<i32>>,
    numbers: HashMap<&'a str, i32>,
    values: Vec<&'a str>,
}

impl<'a> TextColumn<'a> {
    pub(crate) fn push(&mut self, text: Option<&'a str>) {
        let key = text.map(|text| match self.keys.last() {
            Some(Some(last)) if self.values[*last as usize] == text => *last,
            _ => *self.numbers.entry(text).or_insert_with(|| {
                self.values.push(text);
                self.values.len() as i32 - 1
            }),
        });
        self.keys.push(key);
    }

    pub(crate) fn finish(self) -> ArrayRef {
        if self.values.is_empty() {
            return no_value(self.keys.len());
        }
        dictionary(Int32Array::from(self.keys), StringArray::from_iter_values(self.values))
    }
}

/// A column of numbers that few rows have.
#[derive(Debug)]
pub(crate) struct Sparse<N> {
    rows: Vec<u32>,
    values: Vec<N>,
}

impl<N> Default for Sparse<N> {
    fn default() -> Self {
        Self { rows: Vec::new(), values: Vec::new() }
    }
}

impl<N: Copy + Default> Sparse<N> {
    #[inline]
    pub(crate) fn set(&mut self, row: usize, value: N) {
        self.rows.push(row as u32);
        self.values.push(value);
    }

    /// The values of all rows and which of them are there.
    fn spread(&self, rows: usize) -> (Vec<N>, NullBuffer) {
        let mut values = vec![N::default(); rows];
        let mut known = vec![0_u8; rows.div_ceil(8)];
        for (row, value) in self.rows.iter().zip(&self.values) {
            values[*row as usize] = *value;
            bit_util::set_bit(&mut known, *row as usize);
        }
        (values, NullBuffer::new(BooleanBuffer::new(known.into(), 0, rows)))
    }

    pub(crate) fn numbers<T: ArrowPrimitiveType<Native = N>>(&self, rows: usize) -> ArrayRef
    where
        N: ArrowNativeType,
    {
        if self.rows.is_empty() {
            return no_value(rows);
        }
        let (values, known) = self.spread(rows);
        Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(values), Some(known)))
    }
}

impl Sparse<i32> {
    /// A text column from numbers into `values`.
    pub(crate) fn texts(&self, rows: usize, values: &Arc<StringArray>) -> ArrayRef {
        if self.rows.is_empty() {
            return no_value(rows);
        }
        let (keys, known) = self.spread(rows);
        dictionary(Int32Array::new(ScalarBuffer::from(keys), Some(known)), Arc::clone(values))
    }
}

impl Sparse<bool> {
    pub(crate) fn flags(&self, rows: usize) -> ArrayRef {
        if self.rows.is_empty() {
            return no_value(rows);
        }
        let (values, known) = self.spread(rows);
        Arc::new(BooleanArray::new(BooleanBuffer::from(values), Some(known)))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array as _, AsArray as _};
    use arrow::datatypes::Int64Type;

    use super::*;

    fn texts(array: &ArrayRef) -> Vec<Option<String>> {
        let plain = arrow::compute::cast(array, &DataType::Utf8).unwrap();
        plain.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
    }

    #[test]
    fn columns_hold_what_was_put_in() {
        let some = |text: &str| Some(text.to_owned());
        let mut column = TextColumn::default();
        for text in [Some("a"), Some("a"), None, Some("b"), Some("a")] {
            column.push(text);
        }
        assert_eq!(texts(&column.finish()), [some("a"), some("a"), None, some("b"), some("a")]);
        assert_eq!(texts(&TextColumn::default().finish()), []);
        let numbered = numbered_texts([2, 2, -1, 0, 2].into_iter(), |number| format!("n{number}"));
        assert_eq!(texts(&numbered), [some("n2"), some("n2"), None, some("n0"), some("n2")]);
        assert_eq!(texts(&constant_text(2, "x")), [some("x"), some("x")]);
    }

    #[test]
    fn sparse_columns_are_null_elsewhere() {
        let mut sparse = Sparse::default();
        sparse.set(1, 7_i64);
        sparse.set(9, 0);
        let array = sparse.numbers::<Int64Type>(10);
        assert_eq!((array.null_count(), array.as_primitive::<Int64Type>().value(1), array.is_valid(9)), (8, 7, true));
        assert_eq!(Sparse::<i64>::default().numbers::<Int64Type>(3).logical_null_count(), 3);
        let mut flags = Sparse::default();
        flags.set(2, true);
        assert_eq!(flags.flags(3).as_boolean().iter().collect::<Vec<_>>(), [None, None, Some(true)]);
        let mut names = Sparse::default();
        names.set(0, 1);
        assert_eq!(texts(&names.texts(2, &Arc::new(StringArray::from(vec!["", "a"])))), [Some("a".to_owned()), None]);
    }
}
