//! How a provider's service behaves where the real ones differ among themselves.
//!
//! Responsibilities: the settings, their defaults, and the change of some of them. Inputs: the `settings` object of a script
//! or a control request. Outputs: [`Settings`]. It must never hold what an instance is (`instance`) or what goes wrong
//! (`faults`).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// All settings. Those of a provider that is not played mean nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Azure's.
    pub azure: AzureSettings,
    /// GCP's.
    pub gcp: GcpSettings,
}

/// How Azure's service behaves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AzureSettings {
    /// The first request for scheduled events enables them for the machine, and its reply may take up to two minutes
    /// (Scheduled Events, "Enabling and disabling"). Seconds; default 0.
    pub first_reply_seconds: f64,
    /// Whether api-version 2024-07-09, which adds SpotRebalanceRecommendation, is served. Default: no.
    pub serves_2024_07_09: bool,
    /// What that version is answered with while it is not served: 400 (default) or 404, both seen.
    pub unserved_version_status: u16,
    /// `NotBefore` as ISO 8601, as a well-known mock has it, instead of the documented RFC 1123. Default: no.
    pub iso_times: bool,
    /// More requests in a second than this are 429 (Instance Metadata Service, "Rate limiting": 5). 0 is no limit.
    pub requests_per_second: u32,
    /// How long after an approval (StartRequests) the event is Started. Seconds; default 0.
    pub approved_starts_seconds: f64,
    /// How long after that the event is gone. Seconds; default 10.
    pub approved_ends_seconds: f64,
}

impl Default for AzureSettings {
    fn default() -> Self {
        Self {
            first_reply_seconds: 0.0,
            serves_2024_07_09: false,
            unserved_version_status: 400,
            iso_times: false,
            requests_per_second: 5,
            approved_starts_seconds: 0.0,
            approved_ends_seconds: 10.0,
        }
    }
}

/// How GCP's service behaves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GcpSettings {
    /// What `upcoming-maintenance` answers when there is none; four forms have been seen.
    pub no_upcoming: NoUpcoming,
    /// How an upcoming maintenance is written.
    pub upcoming_form: UpcomingForm,
    /// `maintenance-event` warns ahead only when it was asked for at least once since the last event ("Getting live
    /// migration notices"). Default: yes.
    pub warns_only_when_asked: bool,
}

impl Default for GcpSettings {
    fn default() -> Self {
        Self { no_upcoming: NoUpcoming::default(), upcoming_form: UpcomingForm::default(), warns_only_when_asked: true }
    }
}

/// What stands for "no upcoming maintenance".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoUpcoming {
    /// 503 with `{"error":"no notifications have been received yet, try again later"}`, as recorded.
    #[default]
    Unavailable,
    /// 200 with `NONE`.
    None,
    /// 200 with `{ }`.
    Empty,
    /// 404, as on machine types that lack it.
    NotFound,
}

/// How an upcoming maintenance is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpcomingForm {
    /// `window_start_time`, as the metadata server documents.
    #[default]
    SnakeCase,
    /// `windowStartTime`, as the API has it.
    CamelCase,
    /// Snake case inside `{"Upcoming maintenance": …}`.
    Wrapped,
}

/// Some settings, to be laid over those in force.
#[derive(Clone, Debug, PartialEq)]
pub struct SettingsPatch(Map<String, Value>);

impl SettingsPatch {
    /// Takes an object such as `{"azure": {"iso_times": true}}` that was found to make [`Settings`] when laid over the
    /// default ones.
    pub(crate) fn new(patch: Map<String, Value>) -> Self {
        Self(patch)
    }

    /// These settings over `settings`.
    pub(crate) fn over(&self, settings: &Settings) -> Settings {
        overlaid(settings, &self.0).unwrap_or_else(|_| settings.clone())
    }
}

impl From<Settings> for SettingsPatch {
    fn from(settings: Settings) -> Self {
        match serde_json::to_value(settings) {
            Ok(Value::Object(map)) => Self(map),
            // Settings are an object, always.
            _ => Self(Map::new()),
        }
    }
}

/// `base` as JSON with the fields of `patch` laid over it, objects field by field.
///
/// # Errors
/// What comes out is not a `Whole`; the error names the field.
pub(crate) fn overlaid<Whole: Serialize + serde::de::DeserializeOwned>(
    base: &Whole,
    patch: &Map<String, Value>,
) -> Result<Whole, serde_path_to_error::Error<serde_json::Error>> {
    let mut whole = serde_json::to_value(base).unwrap_or_default();
    lay_over(&mut whole, patch);
    serde_path_to_error::deserialize(whole)
}

fn lay_over(base: &mut Value, patch: &Map<String, Value>) {
    let Value::Object(base) = base else { return };
    for (name, value) in patch {
        match (base.get_mut(name), value) {
            (Some(have @ Value::Object(_)), Value::Object(inner)) => lay_over(have, inner),
            (Some(have), value) => *have = value.clone(),
            (None, value) => {
                base.insert(name.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_changes_what_it_names_and_nothing_else() {
        let before =
            Settings { azure: AzureSettings { iso_times: true, ..AzureSettings::default() }, ..Settings::default() };
        let patch: Value =
            serde_json::from_str(r#"{"gcp": {"no_upcoming": "none"}, "azure": {"requests_per_second": 0}}"#)
                .expect("valid JSON");
        let after = SettingsPatch::new(patch.as_object().cloned().expect("an object")).over(&before);
        assert!(after.azure.iso_times);
        assert_eq!((after.azure.requests_per_second, after.gcp.no_upcoming), (0, NoUpcoming::None));
        assert_eq!(SettingsPatch::from(before.clone()).over(&after), before);
    }
}
