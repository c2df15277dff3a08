//! The settings of sources that are plugins.
//!
//! Inputs: none. Outputs: the types. Must never show the content of a source's `config`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

use super::super::scrub::redacted_config;
use super::{Config, Isolation, empty_object, yes};

/// One plugin that brings notices.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourcePlugin {
    /// Name of the plugin: that of its file without `.so`.
    pub name: String,
    /// What this source is called, where one plugin stands several times; absent: as the plugin. It becomes part of its
    /// events' `source` (`plugin.NAME`), and notices are remembered under it over a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Whether it is run at all.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Where its code runs. Only `none`, in the daemon, is offered for sources: what a source in a process of its own told
    /// would reach the handlers later.
    #[serde(default)]
    pub isolation: Isolation,
    /// SHA-256 of the plugin's file, 64 hexadecimal digits; another file is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The plugin's own settings. An object `{"credential": NAME}`, `{"env": NAME}` or `{"file": PATH}` anywhere inside
    /// stands for a secret kept elsewhere.
    #[serde(default = "empty_object")]
    #[schemars(with = "serde_json::Map<String, Value>")]
    pub config: Value,
}

impl Config {
    /// Name of the plugin of an instance, also of a source; None when there is no such instance.
    pub fn plugin_of(&self, instance_name: &str) -> Option<&str> {
        let source = || self.sources.plugins.iter().find(|source| source.instance_name() == instance_name);
        self.handler_of(instance_name).map(|handler| &*handler.name).or_else(|| Some(&*source()?.name))
    }
}

impl fmt::Debug for SourcePlugin {
    /// Written by hand because `config` may hold passwords: they are shown as `[redacted]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourcePlugin")
            .field("name", &self.name)
            .field("id", &self.id)
            .field("enabled", &self.enabled)
            .field("isolation", &self.isolation)
            .field("sha256", &self.sha256)
            .field("config", &redacted_config(&self.config))
            .finish()
    }
}

impl SourcePlugin {
    /// What it is called: its `id`, else the plugin's name.
    pub fn called(&self) -> &str {
        self.id.as_deref().unwrap_or(&self.name)
    }

    /// The name of its instance: "source/NAME".
    pub fn instance_name(&self) -> String {
        format!("source/{}", self.called())
    }
}
