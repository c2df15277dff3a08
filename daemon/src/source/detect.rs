//! Which cloud is this?
//!
//! Responsibilities: what the firmware says, and what the metadata services answer, to one finding with its reasons; when
//! to ask again. Inputs: DMI texts, answers. Outputs: [`Findings`]. Pure: `probe` asks. Must never guess: where two clouds
//! are named, or none, it says so.
//!
//! Facts: cloud-init's ds-identify and data sources (EC2, Azure, GCE, AliYun, Oracle), EC2 user guide, "Identify EC2 Linux
//! instances", Go's cloud.google.com/go/compute/metadata (product_name). A virtual machine inside a cloud's machine is
//! mostly silent here; where its questions reach the outer machine's service it ends with that machine, so that answer holds.

pub mod probe;

use crate::sys::dmi::Dmi;
use probe::Answer;

/// What Azure writes into every machine's chassis (cloud-init, DataSourceAzure).
const AZURE_CHASSIS: &str = "7783-7084-3265-9085-8269-3286-77";

/// First pause between two rounds of questions, seconds.
const PAUSE_SECONDS: u64 = 5;

/// Longest pause, seconds.
const PAUSE_SECONDS_MAX: u64 = 300;

/// A cloud that can be told from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Amazon EC2.
    Aws,
    /// Microsoft Azure.
    Azure,
    /// Google Compute Engine, and Yandex Cloud, whose metadata service is made after it.
    Gcp,
    /// Alibaba Cloud ECS.
    Alibaba,
    /// Tencent Cloud CVM.
    Tencent,
    /// Oracle Cloud Infrastructure.
    Oracle,
}

impl Provider {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Aws, Self::Azure, Self::Gcp, Self::Alibaba, Self::Tencent, Self::Oracle];

    /// Those that this version has a source for.
    pub const WATCHED: [Self; 5] = [Self::Aws, Self::Azure, Self::Gcp, Self::Alibaba, Self::Tencent];

    /// Its name in events and in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Azure => "azure",
            Self::Gcp => "gcp",
            Self::Alibaba => "alibaba",
            Self::Tencent => "tencent",
            Self::Oracle => "oracle",
        }
    }

    /// Its name for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Aws => "Amazon EC2",
            Self::Azure => "Microsoft Azure",
            Self::Gcp => "Google Compute Engine",
            Self::Alibaba => "Alibaba Cloud",
            Self::Tencent => "Tencent Cloud",
            Self::Oracle => "Oracle Cloud",
        }
    }

    /// Whether this version has a source for it.
    pub fn is_watched(self) -> bool {
        Self::WATCHED.contains(&self)
    }
}

/// A text of the firmware that only one cloud's machines have.
struct Mark {
    provider: Provider,
    file: &'static str,
    text: fn(&Dmi) -> &str,
    is: &'static str,
}

const fn mark(provider: Provider, file: &'static str, text: fn(&Dmi) -> &str, is: &'static str) -> Mark {
    Mark { provider, file, text, is }
}

const MARKS: [Mark; 9] = [
    mark(Provider::Aws, "sys_vendor", |dmi| &dmi.sys_vendor, "Amazon EC2"),
    mark(Provider::Aws, "bios_vendor", |dmi| &dmi.bios_vendor, "Amazon EC2"),
    mark(Provider::Azure, "chassis_asset_tag", |dmi| &dmi.chassis_asset_tag, AZURE_CHASSIS),
    mark(Provider::Gcp, "product_name", |dmi| &dmi.product_name, "Google Compute Engine"),
    mark(Provider::Gcp, "sys_vendor", |dmi| &dmi.sys_vendor, "Yandex"),
    mark(Provider::Alibaba, "sys_vendor", |dmi| &dmi.sys_vendor, "Alibaba Cloud"),
    mark(Provider::Alibaba, "product_name", |dmi| &dmi.product_name, "Alibaba Cloud ECS"),
    mark(Provider::Tencent, "sys_vendor", |dmi| &dmi.sys_vendor, "Tencent Cloud"),
    mark(Provider::Oracle, "chassis_asset_tag", |dmi| &dmi.chassis_asset_tag, "OracleCloud.com"),
];

/// Vendors whose machines have no notice to read: no such item was found documented. Nobody needs to be asked there.
const WITHOUT_NOTICES: [&str; 4] = ["DigitalOcean", "Hetzner", "Scaleway", "Vultr"];

/// How far the search is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody looks: it is switched off, or the configuration says which cloud this is.
    Off,
    /// The firmware names none; the metadata services are asked.
    Looking,
    /// It is known which cloud this is, or that it is none that gives notices.
    Found,
    /// The services were asked and none answered as its own cloud's does. They are asked again.
    Nothing,
}

impl State {
    /// The name in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Looking => "looking",
            Self::Found => "found",
            Self::Nothing => "nothing",
        }
    }
}

/// The cloud, and why it is that one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The cloud.
    pub provider: Provider,
    /// Why, as the end of a sentence.
    pub because: String,
    /// Where its service answered; None: nobody asked.
    pub endpoint: Option<String>,
}

/// What is known, and how it came to be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// How far the search is.
    pub state: State,
    /// The cloud, once it is known.
    pub found: Option<Found>,
    /// What the firmware says, in words.
    pub firmware: String,
    /// What was answered in the last round of questions.
    pub answers: Vec<Answer>,
    /// How many rounds there were.
    pub rounds: u32,
}

impl Findings {
    /// Nobody looks, for this reason.
    pub fn off(why: &str) -> Self {
        Self { state: State::Off, found: None, firmware: why.to_owned(), answers: Vec::new(), rounds: 0 }
    }

    /// What the firmware alone says.
    pub fn of_firmware(dmi: &Dmi) -> Self {
        let mut marks: Vec<(Provider, String)> = MARKS
            .iter()
            .filter(|mark| (mark.text)(dmi).eq_ignore_ascii_case(mark.is))
            .map(|mark| (mark.provider, format!("{} is '{}'", mark.file, mark.is)))
            .collect();
        // Machines of before Nitro: the version alone is no mark, other vendors' may be called anything.
        if dmi.sys_vendor == "Xen" && dmi.bios_version.to_ascii_lowercase().ends_with(".amazon") {
            marks.push((Provider::Aws, format!("bios_version of Xen is '{}'", dmi.bios_version)));
        }
        // So do the first machines of Google; a Chromebook has the vendor, and a product name of its own.
        if dmi.sys_vendor == "Google" && dmi.product_name == "Google" {
            marks.push((Provider::Gcp, "sys_vendor and product_name are 'Google'".to_owned()));
        }
        let all = marks.iter().map(|(_, because)| because.as_str()).collect::<Vec<_>>().join(", ");
        let looking = |firmware: String| Self { state: State::Looking, firmware, ..Self::off("") };
        match marks.first() {
            Some((first, _)) if marks.iter().any(|(provider, _)| provider != first) => {
                looking(format!("the firmware names two clouds: {all}"))
            }
            Some((provider, _)) => Self {
                state: State::Found,
                found: Some(Found { provider: *provider, because: format!("the firmware's {all}"), endpoint: None }),
                firmware: format!("the firmware's {all}"),
                ..Self::off("")
            },
            None => match WITHOUT_NOTICES.iter().find(|vendor| dmi.sys_vendor.eq_ignore_ascii_case(vendor)) {
                Some(vendor) => Self {
                    state: State::Found,
                    firmware: format!("the firmware's sys_vendor is '{vendor}', which gives machines no notice"),
                    ..Self::off("")
                },
                None => looking(unnamed(dmi)),
            },
        }
    }

    /// The same with what was answered in one more round of questions.
    #[must_use]
    pub fn with_answers(self, answers: Vec<Answer>) -> Self {
        let mut own = answers.iter().filter(|answer| answer.said.is_ok());
        let found = match (own.next(), own.next()) {
            (Some(Answer { provider, endpoint, said: Ok(said) }), None) => Some(Found {
                provider: *provider,
                because: format!("its metadata service answers at {endpoint}: {said}"),
                endpoint: Some(endpoint.clone()),
            }),
            _ => None,
        };
        let state = if found.is_some() { State::Found } else { State::Nothing };
        Self { state, found, answers, rounds: self.rounds.saturating_add(1), ..self }
    }

    /// Whether the services are to be asked, now or again.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Looking | State::Nothing)
    }

    /// Pause before the next round, seconds: a metadata service may be late at boot, and elsewhere there is none.
    pub fn pause_seconds(&self) -> u64 {
        let doublings = self.rounds.saturating_sub(1).min(16);
        (PAUSE_SECONDS << doublings).min(PAUSE_SECONDS_MAX)
    }

    /// One sentence.
    pub fn summary(&self) -> String {
        match (self.state, &self.found) {
            (State::Off, _) => self.firmware.clone(),
            (State::Looking, _) => "looking which cloud this is".to_owned(),
            (_, Some(Found { provider: Provider::Oracle, because, .. })) => format!(
                "this machine is one of {}, whose metadata has no notices, because {because} (see docs/clouds/oracle.md)",
                Provider::Oracle.title()
            ),
            (_, Some(Found { provider, because, .. })) if provider.is_watched() => {
                format!("this machine is one of {}, because {because}", provider.title())
            }
            (_, Some(Found { provider, because, .. })) => {
                let title = provider.title();
                format!("this machine is one of {title}, which this version does not watch, because {because}")
            }
            (State::Found, None) => format!("no notices here: {}", self.firmware),
            (State::Nothing, None) if self.answers.iter().any(|answer| answer.said.is_ok()) => {
                "more than one cloud's metadata service answers: say which one counts (sources.NAME.enabled)".to_owned()
            }
            (State::Nothing, None) => "it is not known which cloud this is; asked again later".to_owned(),
        }
    }

    /// What it rests on: one sentence each.
    pub fn details(&self) -> Vec<String> {
        if self.state == State::Off {
            return Vec::new();
        }
        let answers = self.answers.iter().map(|Answer { provider, endpoint, said }| match said {
            Ok(said) => format!("{} at {endpoint}: {said}", provider.title()),
            Err(why) => format!("{} at {endpoint}: {why}", provider.title()),
        });
        std::iter::once(self.firmware.clone()).chain(answers).collect()
    }
}

/// What a firmware that names no cloud says.
fn unnamed(dmi: &Dmi) -> String {
    let is_ec2 = |uuid: &str| uuid.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("ec2"));
    if is_ec2(&dmi.hypervisor_uuid) || (dmi.sys_vendor == "Xen" && is_ec2(&dmi.product_uuid)) {
        // One of 4096 other machines has such an identifier by chance.
        return "the machine's identifier begins with ec2, as on Amazon EC2 before Nitro and now and then elsewhere"
            .into();
    }
    match (&*dmi.sys_vendor, &*dmi.product_name) {
        ("", "") => "the firmware says nothing (a container without /sys, or a machine without DMI)".into(),
        (vendor, product) => format!("the firmware names no cloud: sys_vendor '{vendor}', product_name '{product}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dmi(vendor: &str, product: &str) -> Dmi {
        Dmi { sys_vendor: vendor.into(), product_name: product.into(), ..Dmi::default() }
    }

    fn provider(dmi: &Dmi) -> Option<Provider> {
        Findings::of_firmware(dmi).found.map(|found| found.provider)
    }

    /// Values as machines of these clouds have been seen to have them.
    #[test]
    fn machines_of_every_cloud_are_known_by_their_firmware() {
        let nitro =
            Dmi { bios_vendor: "Amazon EC2".into(), bios_version: "1.0".into(), ..dmi("Amazon EC2", "m5.large") };
        let xen = Dmi { bios_vendor: "Xen".into(), bios_version: "4.11.amazon".into(), ..dmi("Xen", "HVM domU") };
        let azure = Dmi {
            chassis_asset_tag: AZURE_CHASSIS.into(),
            bios_vendor: "American Megatrends Inc.".into(),
            ..dmi("Microsoft Corporation", "Virtual Machine")
        };
        let oracle =
            Dmi { chassis_asset_tag: "OracleCloud.com".into(), ..dmi("QEMU", "Standard PC (i440FX + PIIX, 1996)") };
        for (machine, expected) in [
            (nitro, Provider::Aws),
            (dmi("Amazon EC2", "c5.metal"), Provider::Aws),
            (xen, Provider::Aws),
            (azure, Provider::Azure),
            (dmi("Google", "Google Compute Engine"), Provider::Gcp),
            (dmi("Google", "Google"), Provider::Gcp),
            (dmi("Yandex", "xeon-gold-6230"), Provider::Gcp),
            (dmi("Alibaba Cloud", "Alibaba Cloud ECS"), Provider::Alibaba),
            (dmi("Tencent Cloud", "CVM"), Provider::Tencent),
            (oracle, Provider::Oracle),
        ] {
            let findings = Findings::of_firmware(&machine);
            let found = findings.found.as_ref().expect("found");
            assert_eq!((found.provider, findings.state), (expected, State::Found), "{machine:?}");
            assert!(!findings.is_open() && findings.summary().contains(expected.title()), "{}", findings.summary());
        }
    }

    #[test]
    fn machines_that_only_look_like_a_clouds_are_not_taken_for_one() {
        let chromebook = Dmi { bios_vendor: "coreboot".into(), ..dmi("Google", "Eve") };
        let hyper_v = Dmi { chassis_asset_tag: "None".into(), ..dmi("Microsoft Corporation", "Virtual Machine") };
        let xen = Dmi { bios_version: "4.17".into(), ..dmi("Xen", "HVM domU") };
        let by_chance = Dmi { hypervisor_uuid: "ec2f0ddc-0000-4000-8000-000000000000".into(), ..xen.clone() };
        let named = Dmi { bios_version: "9.amazon".into(), ..dmi("Dell Inc.", "PowerEdge R740") };
        // A guest inside a cloud's machine.
        let nested = dmi("QEMU", "Standard PC (Q35 + ICH9, 2009)");
        for machine in [chromebook, hyper_v, xen, by_chance.clone(), named, nested, Dmi::default()] {
            let findings = Findings::of_firmware(&machine);
            assert_eq!((findings.found.as_ref(), findings.state), (None, State::Looking), "{machine:?}");
            assert!(findings.is_open());
        }
        assert!(Findings::of_firmware(&by_chance).firmware.contains("begins with ec2"));
        assert!(Findings::of_firmware(&Dmi::default()).firmware.contains("says nothing"));
    }

    #[test]
    fn a_firmware_that_names_two_clouds_is_not_believed() {
        let both = Dmi { bios_vendor: "Amazon EC2".into(), ..dmi("Google", "Google Compute Engine") };
        let findings = Findings::of_firmware(&both);
        assert_eq!((findings.state, provider(&both)), (State::Looking, None));
        assert!(findings.firmware.contains("two clouds"), "{}", findings.firmware);
    }

    #[test]
    fn a_vendor_without_notices_is_named_and_nobody_is_asked() {
        let findings = Findings::of_firmware(&dmi("Hetzner", "vServer"));
        assert_eq!((findings.state, findings.is_open()), (State::Found, false));
        assert!(findings.summary().contains("Hetzner"), "{}", findings.summary());
    }

    fn answer(provider: Provider, said: Result<&str, &str>) -> Answer {
        let said = said.map(str::to_owned).map_err(str::to_owned);
        Answer { provider, endpoint: "http://x".into(), said }
    }

    #[test]
    fn one_service_that_answers_as_its_cloud_does_decides_and_two_do_not() {
        let none = || Findings::of_firmware(&Dmi::default());
        let one = none().with_answers(vec![
            answer(Provider::Aws, Err("no route to the metadata service")),
            answer(Provider::Tencent, Ok("this is ins-1")),
        ]);
        let found = one.found.as_ref().expect("found");
        assert_eq!((found.provider, found.endpoint.as_deref()), (Provider::Tencent, Some("http://x")));
        assert!(one.details().iter().any(|line| line.contains("no route")), "{:?}", one.details());
        let two = none().with_answers(vec![answer(Provider::Aws, Ok("i-1")), answer(Provider::Gcp, Ok("1"))]);
        assert_eq!((two.state, two.found.as_ref(), two.is_open()), (State::Nothing, None, true));
        assert!(two.summary().contains("more than one"), "{}", two.summary());
    }

    #[test]
    fn what_finds_nothing_asks_again_ever_less_often() {
        let mut findings = Findings::of_firmware(&Dmi::default());
        let mut pauses = Vec::new();
        for _ in 0..40 {
            findings = findings.with_answers(vec![answer(Provider::Aws, Err("refused"))]);
            assert!(findings.is_open() && findings.summary().contains("not known"));
            pauses.push(findings.pause_seconds());
        }
        assert_eq!(pauses[..8], [5, 10, 20, 40, 80, 160, 300, 300]);
        assert!(pauses[8..].iter().all(|pause| *pause == 300));
        let found = findings.with_answers(vec![answer(Provider::Aws, Ok("this is i-1"))]);
        assert_eq!((found.state, found.is_open()), (State::Found, false));
    }
}
