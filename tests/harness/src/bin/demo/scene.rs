//! Everything the demo starts, and the configuration that ties it together.
//!
//! Inputs: the built programs, a directory, the cloud to play. Outputs: a [`Scene`]. It must never change more of the example
//! configuration than the addresses, three of handlers' and the cloud's, and the keys at the top that name private places.

use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use fake_metadata::{FakeMetadata, Instance, Options};
use harness::app::{App, Mode};
use harness::daemon::{Daemon, DaemonBuilder, Watch};
use harness::mariadb::{self, MariaDb};
use harness::paths;
use harness::webhook::Webhook;
use harness::writer::{TABLE, Writer};
use serde_json::Value;
use tempfile::TempDir;

use crate::Happening;
use crate::cloud::Cloud;
use crate::narrate::Console;

/// The configuration of the design's first page.
const SEED: &str = include_str!("../../../../fixtures/config/seed.json");

/// The daemon's account in the database, and the database.
const DAEMON_ACCOUNT: (&str, &str, &str) = ("snooze", "snooze-pass", "shop");

/// The account of the client that writes: it may do nothing beyond its own database.
const SHOP_ACCOUNT: (&str, &str, &str) = ("shop", "shop-pass", "shop");

/// Commits are acknowledged before they are durable, as many run it for speed: only a flush saves the last second.
const FAST_BUT_UNSAFE: &str = "--innodb-flush-log-at-trx-commit=0";

/// Pages stay in memory as long as the server can afford it.
const KEEP_DIRTY: &str = "--innodb-max-dirty-pages-pct=99";

/// Rows of 1 KiB written before the writer starts: some hundred dirty pages.
const FIRST_ROWS: u64 = 8_000;

/// How long the application works on a checkpoint.
const CHECKPOINT_TAKES: Duration = Duration::from_millis(1_500);

/// The directory of the demo.
pub enum Place {
    /// Removed afterwards.
    Temporary(TempDir),
    /// Left.
    Kept(PathBuf),
}

impl Place {
    /// Makes it.
    pub fn new(keep: bool) -> Result<Self, String> {
        let directory = tempfile::Builder::new().prefix("snooze-demo-").tempdir();
        let directory = directory.map_err(|error| format!("cannot make a temporary directory: {error}"))?;
        Ok(if keep { Self::Kept(directory.keep()) } else { Self::Temporary(directory) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        match self {
            Self::Temporary(directory) => directory.path(),
            Self::Kept(path) => path,
        }
    }

    fn below(&self, name: &str) -> Result<PathBuf, String> {
        let path = self.path().join(name);
        std::fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }
}

/// Everything that runs. Dropped in this order: those who ask before those who answer.
pub struct Scene {
    _watch: Watch,
    /// `snoozed`.
    pub daemon: Daemon,
    /// The played metadata service.
    pub fake: FakeMetadata,
    writer: Writer,
    /// The webhook receiver.
    pub webhook: Webhook,
    /// The application.
    pub app: App,
    /// The database.
    pub database: MariaDb,
    /// What events call the machine that is played.
    pub machine: String,
}

impl Scene {
    /// Starts everything, the daemon last.
    pub fn set(cloud: Cloud, place: &Place, console: &Console, sender: &Sender<Happening>) -> Result<Self, String> {
        let bin_dir = paths::bin_dir()?;
        if let Some(package) = mariadb::missing() {
            return Err(format!("MariaDB is needed: install the package {package}"));
        }
        console.say("starting a database of its own (MariaDB)");
        let database = MariaDb::start_with(&place.below("database")?, &[FAST_BUT_UNSAFE, KEEP_DIRTY])?;
        let writer = fill(&database, sender.clone())?;
        let port = database.port();
        console.say(&format!("database on 127.0.0.1:{port}; a client writes to it, commits are not yet durable"));
        let app = App::start(&place.below("checkpoints")?, Mode::Takes(CHECKPOINT_TAKES))?;
        console.say(&format!("application on {}; a checkpoint takes it 1.5 s", app.url("")));
        let webhook = Webhook::start()?;
        console.say("webhook receiver, answering as Slack does");
        let (fake, instance) = play(cloud, sender.clone())?;
        let machine = cloud.machine(&instance).to_owned();
        let who = format!("{machine} {} in {}", instance.instance_type, instance.region());
        console.say(&format!("metadata service of {} on {}, playing {who}", cloud.title(), fake.base_url()));

        let mut config = configuration(&database, &app, &webhook)?;
        config["sources"] = cloud.sources(&fake.base_url());
        let root = place.below("daemon")?;
        let daemon = DaemonBuilder::new(bin_dir).root(root).config(config).start()?;
        let lines = sender.clone();
        let watch = daemon.watch(move |line| drop(lines.send(Happening::Line(line))))?;
        console.say(&format!("snoozed runs on the example configuration; it {}", cloud.pace()));
        Ok(Self { _watch: watch, daemon, fake, writer, webhook, app, database, machine })
    }

    /// Rows that the database has acknowledged.
    pub fn rows(&self) -> u64 {
        FIRST_ROWS + self.writer.acknowledged()
    }
}

/// Makes the accounts and the first rows, and starts the client that adds more.
fn fill(database: &MariaDb, sender: Sender<Happening>) -> Result<Writer, String> {
    for (user, password, name) in [DAEMON_ACCOUNT, SHOP_ACCOUNT] {
        database.create_user(user, password, name)?;
    }
    database.grant_flushing(DAEMON_ACCOUNT.0)?;
    let writer = Writer::start(database, SHOP_ACCOUNT, move |reason| {
        drop(sender.send(Happening::WriterEnded(reason.to_owned(), Instant::now())));
    })?;
    let rows = format!("INSERT INTO {TABLE} (payload) SELECT REPEAT('d', 1000) FROM seq_1_to_{FIRST_ROWS}");
    database.query(&format!("USE {}; {rows}", SHOP_ACCOUNT.2))?;
    Ok(writer)
}

/// Plays the metadata service of a spot instance without a notice, and passes on what happens there.
fn play(cloud: Cloud, sender: Sender<Happening>) -> Result<(FakeMetadata, Instance), String> {
    let options = Options::of(cloud.0);
    let instance = options.instance.clone();
    let started = FakeMetadata::start_watched(options);
    let (fake, activity) = started.map_err(|error| format!("cannot play the metadata service: {error}"))?;
    std::thread::spawn(move || {
        // Ends with the service: its channel closes.
        activity.into_iter().for_each(|happened| drop(sender.send(Happening::Metadata(happened))));
    });
    Ok((fake, instance))
}

fn configuration(database: &MariaDb, app: &App, webhook: &Webhook) -> Result<Value, String> {
    let (user, password, name) = DAEMON_ACCOUNT;
    let addresses = [
        ("mysql-flusher", "connection_string", database.connection_string(user, password, name)),
        ("app-checkpointer", "app_endpoint", app.checkpoint_url()),
        ("slack-notifier", "webhook_url", webhook.url()),
    ];
    let mut config: Value =
        serde_json::from_str(SEED).map_err(|error| format!("the example configuration: {error}"))?;
    for (plugin, key, address) in addresses {
        readdress(&mut config, plugin, key, address)?;
    }
    Ok(config)
}

/// Replaces one address, which must be there.
fn readdress(config: &mut Value, plugin: &str, key: &str, address: String) -> Result<(), String> {
    let plugins = config["event_handlers"]["cloud.spot.interrupt"]["plugins"].as_array_mut();
    let handler = plugins.and_then(|plugins| plugins.iter_mut().find(|handler| handler["name"] == plugin));
    let place = handler.and_then(|handler| handler["config"].get_mut(key));
    let place = place.ok_or_else(|| format!("the example configuration has no {key} of {plugin}"))?;
    *place = Value::String(address);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_address_is_replaced() {
        let seed: Value = serde_json::from_str(SEED).expect("JSON");
        let mut config = seed.clone();
        readdress(&mut config, "mysql-flusher", "connection_string", "elsewhere".to_owned()).expect("it is there");
        let handler = &config["event_handlers"]["cloud.spot.interrupt"]["plugins"][0];
        assert_eq!(handler["config"]["connection_string"], "elsewhere");
        let original = "user:pass@tcp(localhost:3306)/db".to_owned();
        readdress(&mut config, "mysql-flusher", "connection_string", original).expect("it is there");
        assert_eq!(config, seed);
    }

    #[test]
    fn an_address_that_is_not_there_is_not_added() {
        let mut config: Value = serde_json::from_str(SEED).expect("JSON");
        for (plugin, key) in [("mysql-flusher", "webhook_url"), ("redis-flusher", "connection_string")] {
            let error = readdress(&mut config, plugin, key, String::new()).expect_err("it is not there");
            assert!(error.contains(plugin) && error.contains(key), "{error}");
        }
    }
}
