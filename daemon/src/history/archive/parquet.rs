//! Parquet: one table in one file, for what analyses columns.
//!
//! Inputs: a history; a file. Outputs: a file; rows. Times are timestamps in nanoseconds, UTC. The file's metadata say which table it
//! holds. Must never guess at a column that is missing or of another type.

use super::base::{Cell, Row};
use super::import::{Importer, checked};
use super::tables::{ALL, Column, Exchanged, Kind};
use super::{Archive, ArchiveError, Fault, Result};
use ::parquet::basic::{Compression, ConvertedType, LogicalType, Repetition, TimeUnit, Type as Physical};
use ::parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use ::parquet::record::Field;
use ::parquet::schema::types::Type;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// Rows of a group: they are held in memory until it is written.
const GROUP_ROWS: usize = 100_000;
/// Under this name the metadata say which table it is.
const TABLE: &str = "cloudsnooze.table";

/// Writes one table; gives how many rows.
///
/// # Errors
/// The database's and the file's.
pub fn export(archive: &mut Archive, table: &Exchanged, path: &Path, progress: &mut dyn FnMut(u64)) -> Result<u64> {
    let file = File::create(path).map_err(|error| ArchiveError::file(path, error))?;
    let failed = |error: ParquetError| broken(path, &error);
    let fields: std::result::Result<Vec<_>, _> =
        table.columns.iter().map(|column| field(column).map(Arc::new)).collect();
    let schema =
        fields.and_then(|fields| Type::group_type_builder(table.name).with_fields(fields).build()).map_err(failed)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_key_value_metadata(Some(vec![KeyValue::new(TABLE.to_owned(), table.name.to_owned())]))
        .build();
    let writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties));
    let mut writer = writer.map_err(failed)?;
    let (mut rows, mut written): (Vec<Row>, u64) = (Vec::new(), 0);
    let mut group = |rows: &mut Vec<Row>| {
        let mut group = writer.next_row_group().map_err(failed)?;
        write_group(&mut group, table, rows).map_err(failed)?;
        group.close().map_err(failed)?;
        written += rows.len() as u64;
        rows.clear();
        progress(written);
        Ok(())
    };
    archive.each(table, &mut |row| {
        rows.push(row.to_vec());
        if rows.len() >= GROUP_ROWS { group(&mut rows) } else { Ok(()) }
    })?;
    if !rows.is_empty() {
        group(&mut rows)?;
    }
    writer.close().map_err(failed)?;
    Ok(written)
}

fn field(column: &Column) -> std::result::Result<Type, ParquetError> {
    let (physical, logical) = match column.kind {
        Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Kind::Int | Kind::Flag => (Physical::INT64, None),
        Kind::Time => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::NANOS))),
        Kind::Real => (Physical::DOUBLE, None),
    };
    let repetition = if column.may_lack { Repetition::OPTIONAL } else { Repetition::REQUIRED };
    Type::primitive_type_builder(column.name, physical).with_repetition(repetition).with_logical_type(logical).build()
}

fn write_group(
    group: &mut SerializedRowGroupWriter<'_, File>,
    table: &Exchanged,
    rows: &[Row],
) -> std::result::Result<(), ParquetError> {
    for (number, column) in table.columns.iter().enumerate() {
        let cells = || rows.iter().filter_map(|row| row.get(number));
        // 1: it is there. Not used for a column that always is.
        let levels: Vec<i16> = cells().map(|cell| i16::from(*cell != Cell::Null)).collect();
        let levels = column.may_lack.then_some(levels.as_slice());
        match column.kind {
            Kind::Text => {
                let values: Vec<ByteArray> = cells().filter_map(Cell::as_text).map(ByteArray::from).collect();
                write_column::<ByteArrayType>(group, &values, levels)?;
            }
            Kind::Real => {
                let values: Vec<f64> = cells().filter_map(Cell::as_real).collect();
                write_column::<DoubleType>(group, &values, levels)?;
            }
            Kind::Int | Kind::Flag | Kind::Time => {
                let values: Vec<i64> = cells().filter_map(Cell::as_int).collect();
                write_column::<Int64Type>(group, &values, levels)?;
            }
        }
    }
    Ok(())
}

fn write_column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> std::result::Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else {
        return Err(ParquetError::General("fewer columns than the schema has".to_owned()));
    };
    column.typed::<T>().write_batch(values, levels, None)?;
    column.close()
}

/// Takes all rows of a file.
///
/// # Errors
/// It is no such file, the first row that is wrong, and the database's.
pub fn import(path: &Path, importer: &mut Importer<'_>) -> Result<()> {
    let file = File::open(path).map_err(|error| ArchiveError::file(path, error))?;
    let failed = |error: ParquetError| broken(path, &error);
    let fault = |line: u64, column: &str, found: String, expected: String| Fault {
        file: path.display().to_string(),
        line,
        column: column.to_owned(),
        found,
        expected,
    };
    let reader = SerializedFileReader::new(file).map_err(failed)?;
    let metadata = reader.metadata().file_metadata();
    let named = metadata.key_value_metadata().into_iter().flatten().find(|pair| pair.key == TABLE);
    let named = named.and_then(|pair| pair.value.clone());
    let fields = metadata.schema().get_fields();
    let of = |column: &Column| fields.iter().find(|field| field.name() == column.name);
    let table = match &named {
        Some(name) => Exchanged::of(name),
        None => {
            ALL.into_iter().find(|table| table.columns.iter().all(|column| column.may_lack || of(column).is_some()))
        }
    };
    let Some(table) = table else {
        let there = fields.iter().map(|field| field.name()).collect::<Vec<_>>().join(", ");
        let expected = "the columns of events, deliveries, lives or prices".to_owned();
        return Err(fault(0, "", named.unwrap_or(there), expected).into());
    };
    let mut wanted = Vec::new();
    for column in table.columns {
        match of(column) {
            Some(field) if is_of(field, column.kind) => wanted.push(Arc::clone(field)),
            None if column.may_lack => {}
            found => {
                let found = found.map_or_else(|| "nothing".to_owned(), |field| type_of(field));
                return Err(
                    fault(0, column.name, found, format!("a column of {:?}", column.kind).to_lowercase()).into()
                );
            }
        }
    }
    let name = metadata.schema().name();
    let projection = Type::group_type_builder(name).with_fields(wanted).build().map_err(failed)?;
    for (number, row) in reader.get_row_iter(Some(projection)).map_err(failed)?.enumerate() {
        let row = row.map_err(failed)?;
        let fields: Vec<(&String, &Field)> = row.get_column_iter().collect();
        let cell = |column: &Column| {
            let field = fields.iter().find(|(name, _)| *name == column.name);
            field.map_or(Cell::Null, |(_, field)| cell(field))
        };
        let row: Row = table.columns.iter().map(cell).collect();
        if let Err(wrong) = checked(table, &row) {
            return Err(fault(number as u64 + 1, wrong.column, wrong.found, wrong.expected).into());
        }
        importer.take(table, row)?;
    }
    Ok(())
}

/// Whether a field can be read as what a column holds. The library knows further types; some of them end the program.
fn is_of(field: &Type, kind: Kind) -> bool {
    if !field.is_primitive() || field.get_basic_info().repetition() == Repetition::REPEATED {
        return false;
    }
    let converted = field.get_basic_info().converted_type();
    let is_time = matches!(converted, ConvertedType::TIMESTAMP_MILLIS | ConvertedType::TIMESTAMP_MICROS);
    let is_plain = matches!(converted, ConvertedType::NONE | ConvertedType::INT_64);
    match (kind, field.get_physical_type()) {
        (Kind::Text, Physical::BYTE_ARRAY) => converted == ConvertedType::UTF8,
        (Kind::Real, Physical::DOUBLE) => converted == ConvertedType::NONE,
        (Kind::Time, Physical::INT64) => is_time || is_plain,
        (Kind::Int | Kind::Flag, Physical::INT64) => is_plain,
        _ => false,
    }
}

fn type_of(field: &Type) -> String {
    if field.is_primitive() { format!("{}", field.get_physical_type()) } else { "a group".to_owned() }
}

/// A value of a row, of one of the types that are let through.
fn cell(field: &Field) -> Cell {
    match field {
        Field::Str(text) => Cell::Text(text.clone()),
        Field::Long(number) => Cell::Int(*number),
        Field::TimestampMillis(ms) => Cell::Int(ms.saturating_mul(1_000_000)),
        Field::TimestampMicros(us) => Cell::Int(us.saturating_mul(1_000)),
        Field::Double(number) => Cell::Real(*number),
        _ => Cell::Null,
    }
}

fn broken(path: &Path, error: &ParquetError) -> ArchiveError {
    ArchiveError::File { file: path.display().to_string(), error: std::io::Error::other(error.to_string()) }
}
