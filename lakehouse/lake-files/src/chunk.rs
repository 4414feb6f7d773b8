//! The pages of a column, compressed and described as the library does it: statistics, page index, sizes.

use bytes::Bytes;
use parquet::basic::{BoundaryOrder, Compression, Encoding, PageType, ZstdLevel};
use parquet::bloom_filter::Sbbf;
use parquet::column::page::{CompressedPage, Page, PageWriteSpec, PageWriter as _};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::Result;
use parquet::file::metadata::{
    ColumnChunkMetaData, ColumnIndexBuilder, LevelHistogram, OffsetIndexBuilder, PageEncodingStats,
};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::page_index::offset_index::OffsetIndexMetaData;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use zstd::bulk::Compressor;
use zstd::zstd_safe::compress_bound;

use crate::bounds::{Bound, widen};
use crate::library::ZSTD_LEVEL;

/// Columns of fewer bytes stay as they are: zstd's frame would cost more than it saves.
const SMALLEST_COMPRESSED: usize = 64;

/// So much of a column may be left by zstd for it to be worth a reader's time.
const MOST_LEFT_PERCENT: usize = 98;

/// The compressor of a file.
pub(crate) struct Zstd {
    context: Compressor<'static>,
    /// Kept from page to page: a page's worst case is larger than the page.
    out: Vec<u8>,
}

impl Zstd {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { context: Compressor::new(ZSTD_LEVEL)?, out: Vec::new() })
    }

    fn compress(&mut self, plain: &[u8]) -> Result<Bytes> {
        self.out.clear();
        self.out.reserve(compress_bound(plain.len()));
        self.context.compress_to_buffer(plain, &mut self.out)?;
        Ok(Bytes::copy_from_slice(&self.out))
    }
}

/// A data page; its bytes are in the chunk's.
#[derive(Debug)]
pub(crate) struct DataPage<B> {
    /// Where its bytes end; they begin where those of the page before end.
    pub(crate) end: usize,
    pub(crate) rows: usize,
    pub(crate) nulls: usize,
    pub(crate) bounds: Option<(B, B)>,
    /// Of texts: their length.
    pub(crate) text_bytes: Option<i64>,
}

/// The plain values of a dictionary.
#[derive(Debug)]
pub(crate) struct Dictionary {
    pub(crate) plain: Vec<u8>,
    pub(crate) values: usize,
}

/// A column before it is compressed.
pub(crate) struct Chunk<'a, B> {
    /// The bytes of the data pages.
    pub(crate) bytes: &'a [u8],
    pub(crate) pages: Vec<DataPage<B>>,
    pub(crate) encoding: Encoding,
    pub(crate) dictionary: Option<Dictionary>,
    pub(crate) bloom_filter: Option<Sbbf>,
}

/// A column as it goes into a file.
pub(crate) struct EncodedChunk {
    pub(crate) bytes: Bytes,
    pub(crate) close: ColumnCloseResult,
}

impl<B: Bound> Chunk<'_, B> {
    pub(crate) fn compress(self, column: &ColumnDescPtr, zstd: &mut Zstd) -> Result<EncodedChunk> {
        let (compressed, mut first_page) = self.first_page(zstd)?;
        let mut pack = |plain: &[u8]| if compressed { zstd.compress(plain) } else { Ok(Bytes::copy_from_slice(plain)) };
        let mut sink = TrackedWrite::new(Vec::new());
        let mut writer = SerializedPageWriter::new(&mut sink);
        let mut sizes = Sizes::default();
        let mut encodings = vec![Encoding::RLE, self.encoding];
        let mut page_stats = Vec::new();
        let dictionary_page_offset = self.dictionary.is_some().then_some(0);
        if let Some(Dictionary { plain, values }) = &self.dictionary {
            let (buf, num_values) = (pack(plain)?, *values as u32);
            let page = Page::DictionaryPage { buf, num_values, encoding: Encoding::PLAIN, is_sorted: false };
            sizes.add(&writer.write_page(CompressedPage::new(page, plain.len()))?);
            encodings.push(Encoding::PLAIN);
            page_stats.push(encoding_stats(PageType::DICTIONARY_PAGE, Encoding::PLAIN, 1));
        }
        page_stats.push(encoding_stats(PageType::DATA_PAGE, self.encoding, self.pages.len()));
        let data_page_offset = sizes.compressed as i64;

        let nullable = column.max_def_level() > 0;
        let mut index = Index::new(column);
        let mut start = 0;
        for page in self.pages {
            let plain = &self.bytes[start..page.end];
            start = page.end;
            let data_page = Page::DataPage {
                buf: first_page.take().map_or_else(|| pack(plain), Ok)?,
                num_values: page.rows as u32,
                encoding: self.encoding,
                def_level_encoding: Encoding::RLE,
                rep_level_encoding: Encoding::RLE,
                statistics: None,
            };
            let written = writer.write_page(CompressedPage::new(data_page, plain.len()))?;
            sizes.add(&written);
            index.add(&page, &written, nullable);
        }

        let level = ZstdLevel::try_new(ZSTD_LEVEL)?;
        let metadata = ColumnChunkMetaData::builder(column.clone())
            .set_compression(if compressed { Compression::ZSTD(level) } else { Compression::UNCOMPRESSED })
            .set_encodings(encodings)
            .set_page_encoding_stats(page_stats)
            .set_total_uncompressed_size(sizes.uncompressed as i64)
            .set_total_compressed_size(sizes.compressed as i64)
            .set_num_values(index.rows as i64)
            .set_dictionary_page_offset(dictionary_page_offset)
            .set_data_page_offset(data_page_offset)
            .set_statistics(B::statistics(index.bounds, index.nulls as u64))
            .set_unencoded_byte_array_data_bytes(index.text_bytes)
            .set_definition_level_histogram(nullable.then(|| levels(index.rows, index.nulls)))
            .build()?;
        let rows_written = index.rows as u64;
        let (column_index, offset_index) = index.build()?;
        let close = ColumnCloseResult {
            bytes_written: sizes.compressed as u64,
            rows_written,
            metadata,
            bloom_filter: self.bloom_filter,
            column_index: Some(column_index),
            offset_index: Some(offset_index),
        };
        Ok(EncodedChunk { bytes: sink.into_inner()?.into(), close })
    }

    /// Whether the column is worth compressing; the first data page if it was compressed to find out.
    fn first_page(&self, zstd: &mut Zstd) -> Result<(bool, Option<Bytes>)> {
        let dictionary_size = self.dictionary.as_ref().map_or(0, |dictionary| dictionary.plain.len());
        if self.bytes.len() + dictionary_size < SMALLEST_COMPRESSED {
            return Ok((false, None));
        }
        let Some(first) = self.pages.first().filter(|_| self.dictionary.is_none()) else { return Ok((true, None)) };
        // Numbers without a pattern do not shrink on any page.
        let page = zstd.compress(&self.bytes[..first.end])?;
        let worth_it = page.len() * 100 < first.end * MOST_LEFT_PERCENT;
        Ok((worth_it, worth_it.then_some(page)))
    }
}

fn encoding_stats(page_type: PageType, encoding: Encoding, count: usize) -> PageEncodingStats {
    PageEncodingStats { page_type, encoding, count: count as i32 }
}

fn levels(rows: usize, nulls: usize) -> LevelHistogram {
    LevelHistogram::from(vec![nulls as i64, (rows - nulls) as i64])
}

/// Bytes of pages, their headers too.
#[derive(Debug, Default)]
struct Sizes {
    uncompressed: usize,
    compressed: usize,
}

impl Sizes {
    fn add(&mut self, page: &PageWriteSpec) {
        self.uncompressed += page.uncompressed_size;
        self.compressed += page.compressed_size;
    }
}

/// The page index, and what it sums up to.
struct Index<B> {
    columns: ColumnIndexBuilder,
    offsets: OffsetIndexBuilder,
    order: Order<B>,
    bounds: Option<(B, B)>,
    rows: usize,
    nulls: usize,
    text_bytes: Option<i64>,
}

impl<B: Bound> Index<B> {
    fn new(column: &ColumnDescPtr) -> Self {
        Self {
            columns: ColumnIndexBuilder::new(column.physical_type()),
            offsets: OffsetIndexBuilder::new(),
            order: Order::default(),
            bounds: None,
            rows: 0,
            nulls: 0,
            text_bytes: None,
        }
    }

    fn add(&mut self, page: &DataPage<B>, written: &PageWriteSpec, nullable: bool) {
        if let Some((min, max)) = page.bounds {
            self.columns.append(false, min.lower(), max.upper(), page.nulls as i64);
            self.order.add(min, max);
            widen(&mut self.bounds, min, max);
        } else {
            self.columns.append(true, Vec::new(), Vec::new(), page.nulls as i64);
        }
        self.columns.append_histograms(&None, &nullable.then(|| levels(page.rows, page.nulls)));
        self.offsets.append_offset_and_size(written.offset as i64, written.compressed_size as i32);
        self.offsets.append_row_count(page.rows as i64);
        self.offsets.append_unencoded_byte_array_data_bytes(page.text_bytes);
        self.text_bytes = page.text_bytes.map(|bytes| self.text_bytes.unwrap_or(0) + bytes);
        self.rows += page.rows;
        self.nulls += page.nulls;
    }

    fn build(mut self) -> Result<(ColumnIndexMetaData, OffsetIndexMetaData)> {
        self.columns.set_boundary_order(self.order.of_pages());
        Ok((self.columns.build()?, self.offsets.build()))
    }
}

/// Whether the bounds of the pages rise or fall.
struct Order<B> {
    last: Option<(B, B)>,
    rises: bool,
    falls: bool,
}

impl<B> Default for Order<B> {
    fn default() -> Self {
        Self { last: None, rises: true, falls: true }
    }
}

impl<B: Bound> Order<B> {
    fn add(&mut self, min: B, max: B) {
        if let Some((last_min, last_max)) = self.last {
            self.rises &= last_min <= min && last_max <= max;
            self.falls &= last_min >= min && last_max >= max;
        }
        self.last = Some((min, max));
    }

    fn of_pages(&self) -> BoundaryOrder {
        match (self.rises, self.falls) {
            (true, _) => BoundaryOrder::ASCENDING,
            (false, true) => BoundaryOrder::DESCENDING,
            (false, false) => BoundaryOrder::UNORDERED,
        }
    }
}
