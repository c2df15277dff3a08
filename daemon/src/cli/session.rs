//! What every command has: the global options, where output goes, how to reach daemon and configuration.
//!
//! Inputs: parsed options, the process's terminal and environment. Outputs: text on standard output
//! (data) and standard error (talk). Must never mix the two: scripts read the first.

use super::client::{self, Daemon};
use super::fault::Fault;
use super::paint::Paint;
use crate::config::{Config, Loaded};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The configuration that is used when none is named.
pub const CONFIG_DEFAULT: &str = "/etc/cloudsnooze/cloudsnooze.json";
/// Columns when the terminal does not say.
pub const WIDTH_DEFAULT: u16 = 100;

/// When output is coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Colour {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Options that every command takes.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,

    /// Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Print JSON, for programs.
    #[arg(long, global = true)]
    pub json: bool,

    /// When to use colours; the words say everything without them.
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t)]
    pub color: Colour,

    /// Print nothing but results and errors.
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// What of the process's surroundings matters.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `$SNOOZE_SOCKET`.
    pub socket: Option<PathBuf>,
    /// Whether standard output is a terminal that wants colours.
    pub is_colourful: bool,
    /// Columns of the terminal.
    pub width: Option<u16>,
    /// Whether standard error is a terminal that understands control characters.
    pub is_talk_on_terminal: bool,
    /// Directory for what can be made again: `$XDG_CACHE_HOME/cloudsnooze`, or `~/.cache/cloudsnooze`.
    pub cache: Option<PathBuf>,
}

impl Surroundings {
    /// Those of this process. An empty variable counts as not set (no-color.org for NO_COLOR).
    pub fn of_process() -> Self {
        use std::io::IsTerminal;
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let is_terminal = std::io::stdout().is_terminal();
        let is_dumb = variable("TERM").is_some_and(|term| term == "dumb");
        // A path that is not absolute counts as not set (XDG Base Directory Specification 0.8).
        let directory = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let cache = directory("XDG_CACHE_HOME").or_else(|| Some(directory("HOME")?.join(".cache")));
        Self {
            cache: cache.map(|cache| cache.join("cloudsnooze")),
            socket: variable("SNOOZE_SOCKET").map(PathBuf::from),
            is_colourful: is_terminal && !is_dumb && variable("NO_COLOR").is_none(),
            width: comfy_table::Table::new().width().filter(|_| is_terminal),
            is_talk_on_terminal: std::io::stderr().is_terminal() && !is_dumb,
        }
    }
}

/// One run of the command line.
pub struct Session<'o> {
    /// The global options.
    pub global: Global,
    /// Colour.
    pub paint: Paint,
    /// Columns.
    pub width: u16,
    surroundings: Surroundings,
    out: &'o mut dyn Write,
    talk: &'o mut dyn Write,
}

impl<'o> Session<'o> {
    /// A run that writes data to `out` and everything else to `talk`.
    pub fn new(global: Global, surroundings: Surroundings, out: &'o mut dyn Write, talk: &'o mut dyn Write) -> Self {
        let paint = Paint(match global.color {
            Colour::Auto => surroundings.is_colourful,
            Colour::Always => true,
            Colour::Never => false,
        });
        let width = surroundings.width.unwrap_or(WIDTH_DEFAULT).clamp(60, 200);
        Self { global, paint, width, surroundings, out, talk }
    }

    /// Writes data.
    ///
    /// # Errors
    /// Standard output is closed or full.
    pub fn print(&mut self, text: &str) -> Result<(), Fault> {
        self.out.write_all(text.as_bytes())?;
        Ok(self.out.flush()?)
    }

    /// Where data goes, for code that writes by itself.
    pub fn out(&mut self) -> &mut dyn Write {
        self.out
    }

    /// Writes data as JSON.
    ///
    /// # Errors
    /// Standard output is closed or full.
    pub fn print_json(&mut self, value: &impl Serialize) -> Result<(), Fault> {
        let text = serde_json::to_string_pretty(value).map_err(|e| Fault::Broken(format!("cannot write JSON: {e}")))?;
        self.print(&format!("{text}\n"))
    }

    /// Tells the operator something that is no data; not with `--quiet`.
    pub fn note(&mut self, text: &str) {
        if !self.global.quiet {
            // Nobody is left to be told that standard error is gone.
            let _ = writeln!(self.talk, "snooze: {text}");
        }
    }

    /// Shows on standard error what is being done, in one line that the next one overwrites; "" takes it away. Only on
    /// a terminal: elsewhere it would only be noise.
    pub fn progress(&mut self, text: &str) {
        if self.surroundings.is_talk_on_terminal && !self.global.quiet {
            // Nobody is left to be told that standard error is gone. ECMA-48: return, erase in line.
            let _ = write!(self.talk, "\r\x1b[K{text}");
            let _ = self.talk.flush();
        }
    }

    /// Directory for what can be made again, which may not be there yet; None: nobody said where.
    pub fn cache(&self) -> Option<&Path> {
        self.surroundings.cache.as_deref()
    }

    /// Reads a reply of the daemon and shows it: as it came with `--json`, else through `screen`.
    ///
    /// # Errors
    /// The reply is not understood, or standard output is closed.
    pub fn show<T: DeserializeOwned>(
        &mut self,
        reply: &str,
        screen: impl FnOnce(&T, Paint, u16) -> String,
    ) -> Result<T, Fault> {
        let read: T = client::read(reply)?;
        if self.global.json {
            // As it came: a newer daemon may say more than this program knows.
            self.print_json(&client::read::<Value>(reply)?)?;
        } else {
            let text = screen(&read, self.paint, self.width);
            self.print(&text)?;
        }
        Ok(read)
    }

    /// The daemon.
    ///
    /// # Errors
    /// `--config` names a configuration that cannot be used.
    pub fn daemon(&self) -> Result<Daemon, Fault> {
        Daemon::at(&self.socket()?)
    }

    /// The configuration's file.
    pub fn config_path(&self) -> PathBuf {
        self.global.config.clone().unwrap_or_else(|| PathBuf::from(CONFIG_DEFAULT))
    }

    /// The configuration with the files of its directory `conf.d`.
    ///
    /// # Errors
    /// It cannot be read, or is wrong; with everything that is.
    pub fn configuration(&self) -> Result<Loaded, Fault> {
        let path = self.config_path();
        load(&path, conf_d(&path).as_deref())
    }

    /// The configuration, or the built-in one when there is none and none was named.
    ///
    /// # Errors
    /// `--config` names one that cannot be used.
    pub fn configuration_or_default(&self) -> Result<Config, Fault> {
        match self.configuration() {
            Ok(loaded) => Ok(loaded.config),
            Err(fault) if self.global.config.is_some() => Err(fault),
            Err(_) => Ok(Config::default()),
        }
    }

    /// The daemon's socket.
    ///
    /// # Errors
    /// As for [`Self::daemon`].
    pub fn socket(&self) -> Result<PathBuf, Fault> {
        match self.global.socket.as_ref().or(self.surroundings.socket.as_ref()) {
            Some(socket) => Ok(socket.clone()),
            None => Ok(self.configuration_or_default()?.control.socket),
        }
    }
}

/// The directory of further files that belongs to a configuration.
pub fn conf_d(main: &Path) -> Option<PathBuf> {
    Some(main.parent()?.join("conf.d"))
}

/// Loads a configuration.
///
/// # Errors
/// It cannot be read, or is wrong; with everything that is.
pub fn load(main: &Path, conf_d: Option<&Path>) -> Result<Loaded, Fault> {
    if let Err(error) = std::fs::File::open(main) {
        return Err(Fault::reading(main, &error));
    }
    Config::load(main, conf_d).map_err(|errors| wrong(main, &errors))
}

/// A configuration that was refused.
pub fn wrong(main: &Path, errors: &[crate::config::ConfigError]) -> Fault {
    let message = format!("the configuration {} is wrong", main.display());
    Fault::Configuration { message, details: errors.iter().map(ToString::to_string).collect() }
}
