//! What one test works with: the plugin's file, its configuration, a seed.
//!
//! Inputs: as asked by the parent. Outputs: classes and instances, or the finding that they cannot be had. Must never
//! find fault with a plugin where the test at hand is about something else: then it only says why it could not begin.

use super::Finding;
use super::drive::Driven;
use super::stage::Stage;
use crate::host::load::{self, Loaded};
use crate::host::trust::{self, Trusted};
use cloudsnooze_abi as abi;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::OnceLock;

/// The case of one test.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Case {
    /// Name of the plugin, as its file has it.
    pub plugin: String,
    /// The file.
    pub path: PathBuf,
    /// Its settings, secrets resolved.
    pub config: Value,
    /// What chance begins with.
    pub seed: u64,
    /// A directory of the instance's own.
    pub state_dir: PathBuf,
}

impl Case {
    /// The file, checked.
    ///
    /// # Errors
    /// It may not be loaded.
    pub fn file(&self) -> Result<Trusted, Finding> {
        trust::open(&self.path, None).map_err(|refusal| Finding::Bad(format!("{}: {refusal}", refusal.code())))
    }

    /// The library.
    ///
    /// # Errors
    /// It does not load.
    pub fn library(&self) -> Result<&'static Loaded, Finding> {
        // A process tests one file, and reading a large one takes a while.
        static LIBRARY: OnceLock<&'static Loaded> = OnceLock::new();
        if let Some(library) = LIBRARY.get() {
            return Ok(library);
        }
        let loaded = load::load(self.file()?);
        let loaded = loaded.map_err(|refusal| Finding::Bad(format!("{}: {refusal}", refusal.code())))?;
        Ok(LIBRARY.get_or_init(|| loaded))
    }

    /// The class under test.
    ///
    /// # Errors
    /// It does not load, or has no class of this name.
    pub fn class(&self) -> Result<&'static abi::snooze_class, Finding> {
        let class = self.library()?.class(&self.plugin);
        class.map_err(|refusal| Finding::Bad(format!("{}: {refusal}", refusal.code())))
    }

    /// The configuration as the plugin gets it.
    pub fn config_text(&self) -> String {
        self.config.to_string()
    }

    /// An instance on this host.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create_on(&self, stage: &'static Stage) -> Result<Driven, Finding> {
        let made = Driven::create(self.class()?, stage, self.config_text().as_bytes(), &self.state_dir);
        made.map_err(|not| {
            let text = not.text.unwrap_or_else(|| format!("status {}, without a text", not.status));
            Finding::Bad(format!("create failed: {text}"))
        })
    }

    /// An instance.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(&self) -> Result<Driven, Finding> {
        self.create_on(Stage::leak(false))
    }

    /// An instance, active and warm.
    ///
    /// # Errors
    /// It cannot be made or opened.
    pub fn active(&self) -> Result<Driven, Finding> {
        let driven = self.create()?;
        driven.activate().map_err(|text| Finding::Bad(format!("activate failed: {text}")))?;
        driven.warm_up();
        Ok(driven)
    }
}
