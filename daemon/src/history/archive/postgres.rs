//! The same history in a database of PostgreSQL, for fleets that outgrow a file.
//!
//! Inputs: an address, SQL. Outputs: rows. Everything is in a schema of its own, `cloudsnooze`. Must never tell a password, nor accept
//! a server's certificate that nobody vouches for: where TLS is used, it is checked, also where libpq's `require` would not.

use super::base::BEGIN_TO_READ;
use super::tables::{Exchanged, Kind};
use super::{Access, ArchiveError, Base, Cell, Result, Row};
use crate::history::schema::{Dialect, SCHEMA_VERSION};
use ::postgres::config::{Config, SslMode};
use ::postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use ::postgres::{Client, NoTls, Statement};
use bytes::BytesMut;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::collections::HashMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres_rustls::MakeRustlsConnect;

/// Longest wait for a connection, where the address names none.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Where everything is.
const OWN_SCHEMA: &str = "cloudsnooze";

/// The open database.
pub(super) struct Server {
    client: Client,
    place: String,
    statements: HashMap<String, Statement>,
}

impl Server {
    /// Connects; to write, also makes the tables where there are none.
    pub(super) fn open(address: &str, place: &str, access: Access) -> Result<Self> {
        let told = |text: String| ArchiveError::Database { place: place.to_owned(), text };
        let (config, root) = settings(address).map_err(told)?;
        let is_plain = config.get_ssl_mode() == SslMode::Disable;
        let client = if is_plain { config.connect(NoTls) } else { config.connect(tls(root).map_err(told)?) };
        let client = client.map_err(|error| said(place, &error))?;
        let mut server = Self { client, place: place.to_owned(), statements: HashMap::new() };
        // A plan for values that are not known takes a rare state for a common one, and walks through all rows to find none
        // (postgresql.org/docs/current/runtime-config-query.html#GUC-PLAN-CACHE-MODE).
        server.batch(&format!("SET search_path = {OWN_SCHEMA}; SET plan_cache_mode = force_custom_plan"))?;
        match server.version()? {
            Some(SCHEMA_VERSION) => {}
            Some(found) => {
                let hint = "use the snooze that belongs to who made it";
                return Err(ArchiveError::Version { place: server.place, found, hint });
            }
            None if access == Access::Write => server.make()?,
            None => {
                let text = format!("no history in {place}: snooze history import or merge makes one");
                return Err(ArchiveError::Missing(text));
            }
        }
        Ok(server)
    }

    fn version(&mut self) -> Result<Option<i64>> {
        let there = "SELECT count(*) FROM pg_tables WHERE schemaname = $1 AND tablename = 'cloudsnooze_schema'";
        let there = self.query(there, &[Cell::Text(OWN_SCHEMA.to_owned())])?;
        if there.first().and_then(|row| row.first()) != Some(&Cell::Int(1)) {
            return Ok(None);
        }
        let version = self.query("SELECT version FROM cloudsnooze_schema", &[])?;
        Ok(version.first().and_then(|row| row.first()).and_then(Cell::as_int))
    }

    fn make(&mut self) -> Result<()> {
        let tables = Dialect::Postgres.fresh();
        self.batch(&format!(
            "BEGIN; CREATE SCHEMA IF NOT EXISTS {OWN_SCHEMA}; {tables} \
             CREATE TABLE cloudsnooze_schema (version BIGINT NOT NULL); \
             INSERT INTO cloudsnooze_schema VALUES ({SCHEMA_VERSION}); COMMIT;"
        ))
    }

    fn prepared(&mut self, sql: &str) -> Result<Statement> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).map_err(|error| said(&self.place, &error))?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

/// The client's settings, and the file with the certificates that vouch for the server. The library knows neither `sslrootcert` nor
/// libpq's two words for a certificate that is checked, which it always is here.
fn settings(address: &str) -> std::result::Result<(Config, Option<PathBuf>), String> {
    let (base, parameters) = address.split_once('?').unwrap_or((address, ""));
    let (mut root, mut kept) = (None, Vec::new());
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=') {
            Some(("sslrootcert", file)) => {
                let decoded = url::form_urlencoded::parse(parameter.as_bytes()).next();
                root = Some(PathBuf::from(decoded.map_or_else(|| file.to_owned(), |(_, value)| value.into_owned())));
            }
            Some(("sslmode", "verify-ca" | "verify-full")) => kept.push("sslmode=require"),
            _ => kept.push(parameter),
        }
    }
    let text = if kept.is_empty() { base.to_owned() } else { format!("{base}?{}", kept.join("&")) };
    // Its own words may repeat the address, and with it the password.
    let mut config: Config =
        text.parse().map_err(|_| "the address is not understood: postgres://USER@HOST/DATABASE".to_owned())?;
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    config.application_name("snooze");
    Ok((config, root))
}

fn tls(root: Option<PathBuf>) -> std::result::Result<MakeRustlsConnect, String> {
    let mut roots = rustls::RootCertStore::empty();
    match root {
        Some(file) => {
            let wrong = |error: &dyn std::fmt::Display| format!("sslrootcert {}: {error}", file.display());
            let certificates = CertificateDer::pem_file_iter(&file).map_err(|error| wrong(&error))?;
            for certificate in certificates {
                roots.add(certificate.map_err(|error| wrong(&error))?).map_err(|error| wrong(&error))?;
            }
        }
        // Those that cannot be read vouch for nobody.
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// The server's own words, or why it cannot be reached: the library's outermost words say only what was tried.
fn said(place: &str, error: &::postgres::Error) -> ArchiveError {
    let text = match error.as_db_error() {
        Some(told) => {
            let detail = told.detail().map_or_else(String::new, |detail| format!(" ({detail})"));
            format!("{}{detail}", told.message())
        }
        None => error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}")),
    };
    ArchiveError::Database { place: place.to_owned(), text }
}

impl ToSql for Cell {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> std::result::Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(number) => number.to_sql(kind, out),
            Self::Real(number) => number.to_sql(kind, out),
            Self::Text(text) => text.to_sql(kind, out),
        }
    }

    fn accepts(kind: &Type) -> bool {
        [Type::INT8, Type::FLOAT8, Type::TEXT, Type::VARCHAR, Type::NAME].contains(kind)
    }

    to_sql_checked!();
}

/// A value of a row; all columns of the schema, and all sums that views ask for, are of these types.
fn cell(row: &::postgres::Row, number: usize) -> std::result::Result<Cell, ::postgres::Error> {
    Ok(match *row.columns()[number].type_() {
        Type::INT8 => row.try_get::<_, Option<i64>>(number)?.map_or(Cell::Null, Cell::Int),
        Type::INT4 => row.try_get::<_, Option<i32>>(number)?.map_or(Cell::Null, |n| Cell::Int(n.into())),
        Type::FLOAT8 => row.try_get::<_, Option<f64>>(number)?.map_or(Cell::Null, Cell::Real),
        _ => row.try_get::<_, Option<String>>(number)?.map_or(Cell::Null, Cell::Text),
    })
}

/// The values of one column of many rows, as an array.
enum Array {
    Ints(Vec<Option<i64>>),
    Reals(Vec<Option<f64>>),
    Texts(Vec<Option<String>>),
}

impl Array {
    fn of(kind: Kind, rows: &[Row], number: usize) -> Self {
        let cells = rows.iter().map(|row| row.get(number).unwrap_or(&Cell::Null));
        match kind {
            Kind::Int | Kind::Time | Kind::Flag => Self::Ints(cells.map(Cell::as_int).collect()),
            Kind::Real => Self::Reals(cells.map(Cell::as_real).collect()),
            Kind::Text => Self::Texts(cells.map(|cell| cell.as_text().map(str::to_owned)).collect()),
        }
    }

    fn type_name(&self) -> &'static str {
        match self {
            Self::Ints(_) => "bigint",
            Self::Reals(_) => "double precision",
            Self::Texts(_) => "text",
        }
    }

    fn as_value(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::Ints(values) => values,
            Self::Reals(values) => values,
            Self::Texts(values) => values,
        }
    }
}

impl Base for Server {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    fn query(&mut self, sql: &str, values: &[Cell]) -> Result<Vec<Row>> {
        let statement = self.prepared(sql)?;
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
        let rows = self.client.query(&statement, &values).map_err(|error| said(&self.place, &error))?;
        let row = |row: &::postgres::Row| (0..row.len()).map(|number| cell(row, number)).collect();
        rows.iter().map(row).collect::<std::result::Result<_, _>>().map_err(|error| said(&self.place, &error))
    }

    fn execute(&mut self, sql: &str, values: &[Cell]) -> Result<u64> {
        let statement = self.prepared(sql)?;
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
        self.client.execute(&statement, &values).map_err(|error| said(&self.place, &error))
    }

    fn batch(&mut self, sql: &str) -> Result<()> {
        let sql = if sql == BEGIN_TO_READ { "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" } else { sql };
        self.client.batch_execute(sql).map_err(|error| said(&self.place, &error))
    }

    fn insert(&mut self, table: &Exchanged, rows: &[Row]) -> Result<u64> {
        let stored = table.stored();
        let array = |(number, name): (usize, &&str)| Array::of(table.stored_kind(name), rows, number);
        let arrays: Vec<Array> = stored.iter().enumerate().map(array).collect();
        let from = arrays.iter().enumerate().map(|(n, array)| format!("?{}::{}[]", n + 1, array.type_name()));
        let from =
            format!("SELECT * FROM unnest({}) AS u ({})", from.collect::<Vec<_>>().join(", "), stored.join(", "));
        let statement = self.prepared(&Dialect::Postgres.of(&table.insert(&from)))?;
        let values: Vec<&(dyn ToSql + Sync)> = arrays.iter().map(Array::as_value).collect();
        self.client.execute(&statement, &values).map_err(|error| said(&self.place, &error))
    }

    fn settle(&mut self) -> Result<()> {
        // Each statement wrote the sums anew: what it left behind would be read with each summary.
        for sums in ["pool_events", "pool_lives"] {
            self.batch(&format!("VACUUM (ANALYZE) {sums}"))?;
        }
        self.batch("ANALYZE events, deliveries, lives, prices, pools")
    }

    fn bytes(&mut self) -> Result<u64> {
        let sql = "SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                   WHERE n.nspname = $1 AND c.relkind = 'r'";
        let rows = self.query(sql, &[Cell::Text(OWN_SCHEMA.to_owned())])?;
        Ok(rows.first().and_then(|row| row.first()).and_then(Cell::as_int).map_or(0, |n| u64::try_from(n).unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libpq_calls_a_checked_certificate_is_understood_and_its_root_taken() {
        let (config, root) =
            settings("postgres://u@h/d?sslmode=verify-full&sslrootcert=%2Fa%20b.pem").expect("understood");
        assert_eq!((config.get_ssl_mode(), root), (SslMode::Require, Some(PathBuf::from("/a b.pem"))));
        let (config, root) = settings("postgresql:///d?host=/run/p&user=u").expect("understood");
        assert_eq!((config.get_user(), config.get_connect_timeout(), root), (Some("u"), Some(&CONNECT_TIMEOUT), None));
    }

    #[test]
    fn a_wrong_address_is_not_repeated() {
        let told = settings("postgres://u:Zq9@h/d?port=x").expect_err("no port");
        assert!(!told.contains("Zq9"), "{told}");
    }
}
