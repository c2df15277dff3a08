//! Built-in stories: what each provider's service shows as something happens to a machine, with real times.
//!
//! Responsibilities: name the scenarios; each is a script in `scenarios/`, checked like anybody's. Inputs: a provider, a
//! name. Outputs: [`Scenario`]s. Warnings are those documented or observed. How long things go on afterwards, where
//! nobody says, is a plausible choice. It must never play what no service does.

use crate::cloud::Provider::{self, Alibaba, Aws, Azure, Gcp, Tencent};
use crate::script::{Script, ScriptError};

/// One story.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Whose service tells it.
    pub provider: Provider,
    /// Such as `spot-interruption`, which every provider has.
    pub name: &'static str,
    text: &'static str,
}

macro_rules! scenarios {
    ($($provider:ident $folder:literal: $($name:literal),+;)+) => {
        &[$($(Scenario {
            provider: $provider,
            name: $name,
            text: include_str!(concat!("../scenarios/", $folder, "/", $name, ".json")),
        }),+),+]
    };
}

/// All of them, by provider.
pub const SCENARIOS: &[Scenario] = scenarios! {
    Aws "aws": "spot-interruption", "rebalance-then-interruption", "early-rebalance", "spot-stop", "spot-hibernation",
        "reboot", "cancelled-maintenance", "retirement", "scale-in";
    Azure "azure": "spot-interruption", "rebalance-then-interruption", "live-migration", "host-agent-maintenance", "reboot",
        "user-reboot", "redeploy", "user-redeploy", "cancelled-maintenance", "terminate", "hardware-failure",
        "degraded-hardware", "recorded-sequence";
    Gcp "gcp": "spot-interruption", "spot-interruption-with-notice", "live-migration", "gpu-termination",
        "upcoming-maintenance", "cancelled-maintenance";
    Alibaba "alibaba": "spot-interruption";
    Tencent "tencent": "spot-interruption";
};

/// Those of one provider.
pub fn of(provider: Provider) -> impl Iterator<Item = &'static Scenario> {
    SCENARIOS.iter().filter(move |scenario| scenario.provider == provider)
}

impl Scenario {
    /// The one of that name.
    pub fn find(provider: Provider, name: &str) -> Option<&'static Self> {
        of(provider).find(|scenario| scenario.name == name)
    }

    /// Its script.
    ///
    /// # Errors
    /// [`ScriptError`], which a test excludes for every scenario there is.
    pub fn script(&self) -> Result<Script, ScriptError> {
        Script::parse_for(self.text, self.name, Some(self.provider))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_is_a_good_script_that_says_what_it_plays() {
        for scenario in SCENARIOS {
            let script = scenario.script().expect(scenario.name);
            assert_eq!(script.provider, scenario.provider, "{}", scenario.name);
            assert!((20..=110).contains(&script.about.len()), "{}: {:?}", scenario.name, script.about);
            assert!(!script.steps.is_empty(), "{}", scenario.name);
        }
    }

    #[test]
    fn every_provider_plays_a_spot_interruption() {
        for provider in Provider::ALL {
            assert!(Scenario::find(provider, "spot-interruption").is_some(), "{provider}");
        }
    }
}
