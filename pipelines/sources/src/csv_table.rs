//! CSV files by named columns, line by line, with the line's number as people count it; and the hash that names an
//! import after its files.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};

use csv::{ByteRecord, ReaderBuilder, StringRecord};
use sha2::{Digest, Sha256};

use crate::SourceError;

pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, SourceError> {
    std::fs::read(path).map_err(|source| SourceError::ReadFile { path: path.to_owned(), source })
}

/// More of a first line than this is no header (bytes).
const MAX_HEADER_BYTES: u64 = 64 << 10;

/// The first line, for a look at the header of a file that may be large.
pub(crate) fn read_first_line(path: &Path) -> Result<Vec<u8>, SourceError> {
    let read = || {
        let mut line = Vec::new();
        BufReader::new(File::open(path)?).take(MAX_HEADER_BYTES).read_until(b'\n', &mut line)?;
        Ok(line)
    };
    read().map_err(|source| SourceError::ReadFile { path: path.to_owned(), source })
}

/// Names and lengths are hashed as well, so that no shift of bytes from one file to the next goes unseen.
#[derive(Default)]
pub(crate) struct FileHasher(Sha256);

impl FileHasher {
    pub(crate) fn add(&mut self, name: &str, contents: &[u8]) {
        for part in [name.as_bytes(), contents] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
    }

    /// `source-` and 32 hexadecimal digits: the same input is the same import.
    pub(crate) fn import_id(self, source: &str) -> String {
        let digest = self.0.finalize();
        digest.iter().take(16).fold(format!("{source}-"), |id, byte| format!("{id}{byte:02x}"))
    }
}

/// Hashes what is read through it: for files that are too large to be held. Files follow each other in one hash, each
/// with its length behind it.
pub(crate) struct HashingReader<R> {
    inner: R,
    hasher: FileHasher,
    length_bytes: u64,
}

impl<R> HashingReader<R> {
    /// Goes on with the hash of the files before.
    pub(crate) fn new(inner: R, before: Option<FileHasher>) -> Self {
        Self { inner, hasher: before.unwrap_or_default(), length_bytes: 0 }
    }

    /// The hash, now that the file has been read to its end.
    pub(crate) fn end_of_file(mut self) -> FileHasher {
        self.hasher.0.update(self.length_bytes.to_le_bytes());
        self.hasher
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.hasher.0.update(&buffer[..length]);
        self.length_bytes += length as u64;
        Ok(length)
    }
}

/// The named columns of a CSV file, line by line.
pub(crate) struct Table<'a, const N: usize> {
    bytes: &'a [u8],
    reader: csv::Reader<&'a [u8]>,
    header_fields: usize,
    columns: [usize; N],
    record: ByteRecord,
}

impl<'a, const N: usize> Table<'a, N> {
    pub(crate) fn new(path: &Path, bytes: &'a [u8], names: [&'static str; N]) -> Result<Self, SourceError> {
        // `flexible`: the number of fields is checked here, where the reason can be told in the file's own terms.
        let mut reader = ReaderBuilder::new().flexible(true).from_reader(bytes);
        let header = reader.byte_headers().map_err(|error| csv_error(path, error))?.clone();
        let mut columns = [0; N];
        for (column, name) in columns.iter_mut().zip(names) {
            *column = header
                .iter()
                .position(|field| field.trim_ascii() == name.as_bytes())
                .ok_or_else(|| SourceError::MissingColumn { path: path.to_owned(), column: name })?;
        }
        Ok(Self { bytes, reader, header_fields: header.len(), columns, record: ByteRecord::new() })
    }

    /// The next line's number in the file and its fields, or the reason why it has none.
    pub(crate) fn next_line(&mut self) -> Option<(u64, Result<[String; N], String>)> {
        // Empty lines are skipped, but the reader's position is before them; people count them.
        let at = self.reader.position().clone();
        let rest = self.bytes.get(at.byte() as usize..).unwrap_or_default();
        let empty_lines = rest.iter().take_while(|b| matches!(b, b'\r' | b'\n')).filter(|b| **b == b'\n').count();
        let line = at.line() + empty_lines as u64;
        match self.reader.read_byte_record(&mut self.record) {
            Ok(false) => None,
            Ok(true) => Some((line, self.fields())),
            Err(error) => Some((line, Err(error.to_string()))),
        }
    }

    fn fields(&self) -> Result<[String; N], String> {
        let (found, wanted) = (self.record.len(), self.header_fields);
        if found != wanted {
            return Err(format!("has {found} fields, the header has {wanted}"));
        }
        let record = StringRecord::from_byte_record(self.record.clone()).map_err(|_| "is not UTF-8".to_owned())?;
        Ok(self.columns.map(|column| record.get(column).unwrap_or_default().trim().to_owned()))
    }
}

/// The names of a file's columns.
pub(crate) fn column_names(path: &Path, bytes: &[u8]) -> Result<Vec<String>, SourceError> {
    let mut reader = ReaderBuilder::new().flexible(true).from_reader(bytes);
    let header = reader.byte_headers().map_err(|error| csv_error(path, error))?;
    Ok(header.iter().map(|field| String::from_utf8_lossy(field.trim_ascii()).into_owned()).collect())
}

fn csv_error(path: &Path, error: csv::Error) -> SourceError {
    let source = std::io::Error::other(error);
    SourceError::ReadFile { path: PathBuf::from(path), source }
}
