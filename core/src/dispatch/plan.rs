//! Which handlers an event type has, in which order: computed when the configuration is loaded.
//!
//! Inputs: instances with their settings. Outputs: one plan a type. Must never read a clock, call a
//! plugin or depend on the order of the configuration's keys.

use super::budget::{self, Want};
use crate::event::{Action, Event, EventType, Pattern};
use crate::host::Instance;
use crate::host::instance::Abilities;
use cloudsnooze_abi as abi;
use serde::Serialize;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// When a handler starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// When every handler of a higher priority has ended.
    InOrder,
    /// With the first handler; nobody waits for it, and it waits for nobody.
    AtOnce,
}

/// One handler of the configuration: an instance and how it is to be called.
pub struct Handler<I = Arc<Instance>> {
    /// What it is called: the plugin's name, or the `id` that the configuration gives it.
    pub name: String,
    /// The plugin's name.
    pub plugin: String,
    /// "EVENT_TYPE/NAME", the type as the configuration writes it.
    pub instance_name: String,
    /// Which events it takes.
    pub pattern: Pattern,
    /// 0 to 999, higher first.
    pub priority: u32,
    /// Most time it gets, nanoseconds.
    pub timeout_ns: i64,
    /// What it needs to be of any use, nanoseconds.
    pub minimum_ns: i64,
    /// When it starts.
    pub start: Start,
    /// How often a failed attempt is repeated while time allows.
    pub retries: u32,
    /// Whether its effect is verified after it.
    pub verify: bool,
    /// Of the events that it takes, the ones that it is called for.
    pub when: Condition,
    /// Whether handlers of lower priority are not called when it did not do its work.
    pub stops_on_failure: bool,
    /// What its plugin can do beyond handling an event.
    pub abilities: Abilities,
    /// Whether it takes part in drills, if its plugin can.
    pub in_drills: bool,
    /// Made from the instance's name: its part of every call's idempotency key.
    pub key: [u8; 16],
    /// The plugin's token for the subscription that matched, as an address.
    pub token: usize,
    /// Whether several calls of the instance may run at the same time.
    pub reentrant: bool,
    /// Whether it runs on the thread that has the event, without a hand-over: its class promised not to block.
    /// Turned off for good when it breaks the promise.
    pub inline: Inline,
    /// The instance.
    pub instance: I,
}

/// Which of the events that a handler takes it is called for; by default all.
#[derive(Clone, Debug, Default)]
pub struct Condition {
    /// Only these types; empty: any.
    pub types: Vec<Pattern>,
    /// Only when the cloud will do one of these; empty: whatever it does.
    pub actions: Vec<Action>,
}

impl<I> Handler<I> {
    /// A handler called as its plugin, in the middle of the scale, with everything else left at what it is when nobody says.
    pub fn new(plugin: &str, pattern: Pattern, instance: I) -> Self {
        let instance_name = format!("{}/{plugin}", pattern.as_str());
        Self {
            name: plugin.to_owned(),
            plugin: plugin.to_owned(),
            key: instance_key(&instance_name),
            instance_name,
            pattern,
            priority: PRIORITY,
            timeout_ns: TIMEOUT_NS,
            minimum_ns: 0,
            start: Start::InOrder,
            retries: 0,
            verify: true,
            when: Condition::default(),
            stops_on_failure: false,
            abilities: Abilities::default(),
            in_drills: true,
            token: 0,
            reentrant: false,
            inline: Inline::default(),
            instance,
        }
    }

    /// Whether it stands in the plan of this type.
    fn takes(&self, event_type: &EventType) -> bool {
        let types = &self.when.types;
        self.pattern.matches(event_type) && (types.is_empty() || types.iter().any(|p| p.matches(event_type)))
    }

    /// Why handlers behind it are not called, when it did not do its work and `stops_on_failure`.
    pub fn why_nothing_follows(&self) -> String {
        format!("{} did not do its work, and nothing is to follow it then (on_failure)", self.name)
    }

    /// Why it is not to be called for this event, though it stands in the plan of its type.
    #[inline]
    pub fn objection(&self, event: &Event) -> Option<String> {
        if self.when.actions.is_empty() && !event.drill { None } else { self.looked_at(event) }
    }

    /// Apart from the way of a notice, which has nothing to look at.
    #[cold]
    fn looked_at(&self, event: &Event) -> Option<String> {
        if event.drill && !self.in_drills {
            return Some("takes no part in drills, by its setting 'drill'".into());
        }
        if event.drill && !self.abilities.drill {
            return Some("takes no part in drills: its plugin does not say what it may do in one".into());
        }
        let actions = &self.when.actions;
        let is_wanted = actions.is_empty() || event.cancels.is_some() || actions.contains(&event.action);
        (!is_wanted).then(|| {
            let wanted: Vec<&str> = actions.iter().map(|action| action.as_str()).collect();
            format!("is for the action {} only; this is {}", wanted.join(", "), event.action.as_str())
        })
    }
}

/// Priority of a handler when neither configuration nor plugin names one.
pub const PRIORITY: u32 = 50;
/// Time of a handler for which neither names one, nanoseconds.
pub const TIMEOUT_NS: i64 = 30_000_000_000;

/// Time of a self-test, nanoseconds; it needs next to none.
const SELF_TEST_NS: i64 = 1_000_000_000;

/// Calls of an inline handler that may overrun before it gets a thread of its own.
const OVERRUNS_MAX: u32 = 3;

/// Whether a handler runs inline, and how often it kept others waiting by it. Off by default.
#[derive(Debug, Default)]
pub struct Inline {
    on: AtomicBool,
    overruns: AtomicU32,
}

impl Inline {
    /// As the handler's class promised, or not.
    pub fn new(on: bool) -> Self {
        Self { on: AtomicBool::new(on), overruns: AtomicU32::new(0) }
    }

    /// Whether it runs inline now.
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Notes a call that took too long. Gives true when it was one too many: from now on it is off.
    pub fn overran(&self) -> bool {
        let is_last = self.overruns.fetch_add(1, Ordering::Relaxed) + 1 == OVERRUNS_MAX;
        is_last && self.on.swap(false, Ordering::Relaxed)
    }
}

/// Handlers of one priority.
pub struct Tier<I = Arc<Instance>> {
    /// Their priority.
    pub priority: u32,
    /// The handlers, by name.
    pub handlers: Vec<Arc<Handler<I>>>,
}

/// What happens for one event type.
pub struct Plan<I = Arc<Instance>> {
    /// Tiers, highest priority first.
    pub tiers: Vec<Tier<I>>,
    /// Handlers that start with the first tier.
    pub at_once: Vec<Arc<Handler<I>>>,
    /// Time assumed when a notice names none, nanoseconds.
    pub assumed_ns: i64,
    /// The handler that starts before all others.
    first: Option<Arc<Handler<I>>>,
    /// What each tier asks of the budget, ready for when an event is there.
    wants: Vec<Want>,
}

/// The part of an instance in its calls' idempotency keys: a name-based UUID (RFC 9562, 5.5) in a name space
/// of our own.
pub fn instance_key(instance_name: &str) -> [u8; 16] {
    let space = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, b"cloudsnooze.instance");
    *uuid::Uuid::new_v5(&space, instance_name.as_bytes()).as_bytes()
}

impl<I> Plan<I> {
    fn new(tiers: Vec<Tier<I>>, at_once: Vec<Arc<Handler<I>>>, assumed_ns: i64) -> Self {
        let wants = tiers.iter().map(Tier::want).collect();
        let first = at_once.first().or_else(|| tiers.first()?.handlers.first()).cloned();
        Self { tiers, at_once, assumed_ns, first, wants }
    }

    /// Whether nothing would run.
    pub fn is_empty(&self) -> bool {
        self.tiers.is_empty() && self.at_once.is_empty()
    }

    /// Every handler: those that start at once first, then tier by tier.
    pub fn handlers(&self) -> impl Iterator<Item = &Arc<Handler<I>>> {
        self.at_once.iter().chain(self.tiers.iter().flat_map(|t| &t.handlers))
    }

    /// The handler that starts before all others.
    pub fn first(&self) -> Option<&Arc<Handler<I>>> {
        self.first.as_ref()
    }

    /// Most handlers that can run at the same time.
    pub fn width(&self) -> usize {
        self.at_once.len() + self.tiers.iter().map(|t| t.handlers.len()).max().unwrap_or(0)
    }

    /// What each tier from `first` on asks of the budget.
    pub fn wants(&self, first: usize) -> &[Want] {
        self.wants.get(first..).unwrap_or_default()
    }

    /// The time tier `n` gets when it starts with `left_ns` to go.
    pub fn grant(&self, n: usize, left_ns: i64) -> i64 {
        budget::grant(left_ns, self.wants(n))
    }
}

impl Plan {
    /// The plans of the self-test: one of a handler that is called like any other, whose start is what is measured,
    /// and one of the same inline, to keep that way warm too.
    pub fn self_tests(instance: &Arc<Instance>) -> [Arc<Self>; 2] {
        let handler = |inline: bool| Handler {
            instance_name: instance.name.clone(),
            key: instance_key(&instance.name),
            priority: 0,
            timeout_ns: SELF_TEST_NS,
            verify: false,
            inline: Inline::new(inline),
            ..Handler::new(&instance.name, Pattern::any(), Arc::clone(instance))
        };
        [false, true].map(|inline| {
            let tier = Tier { priority: 0, handlers: vec![Arc::new(handler(inline))] };
            Arc::new(Self::new(vec![tier], Vec::new(), SELF_TEST_NS))
        })
    }
}

impl<I> Tier<I> {
    fn want(&self) -> Want {
        let timeout_ns = self.handlers.iter().map(|h| h.timeout_ns).max().unwrap_or(0);
        let minimum_ns = self.handlers.iter().map(|h| h.minimum_ns).max().unwrap_or(0);
        Want { timeout_ns, minimum_ns: minimum_ns.min(timeout_ns) }
    }
}

/// The handlers of a configuration with the plans made from them. Immutable; a reload makes another.
pub struct Plans<I = Arc<Instance>> {
    handlers: Vec<Arc<Handler<I>>>,
    assumed: Vec<(Pattern, i64)>,
    /// The plan of each known type, by its kind, for the way from a notice to its handler: no text is compared.
    known: [Option<Arc<Plan<I>>>; KINDS],
    /// The others that can be foreseen.
    ready: HashMap<EventType, Arc<Plan<I>>>,
}

/// Numbers of kinds, `SNOOZE_KIND_OTHER` included.
const KINDS: usize = abi::SNOOZE_KIND_SYSTEM_SHUTDOWN as usize + 1;

/// Seconds assumed when neither notice nor configuration names a time.
const ASSUMED_NS: i64 = 300_000_000_000;

impl<I> Plans<I> {
    /// Makes the plan of every known type, of its withdrawal, and of every exact type in the
    /// configuration.
    pub fn new(handlers: Vec<Handler<I>>, assumed: Vec<(Pattern, i64)>) -> Self {
        let handlers: Vec<_> = handlers.into_iter().map(Arc::new).collect();
        let mut plans = Self { handlers, assumed, known: std::array::from_fn(|_| None), ready: HashMap::new() };
        let exact = plans.handlers.iter().filter_map(|h| EventType::parse(h.pattern.as_str()).ok());
        let types: Vec<EventType> = EventType::KNOWN.into_iter().chain(exact).collect();
        for event_type in types.into_iter().flat_map(|t| [t.cancelled(), t]) {
            let plan = Arc::new(plans.make(&event_type));
            if let Some(known) = plans.known.get_mut(index(&event_type)) {
                *known = Some(Arc::clone(&plan));
            }
            plans.ready.insert(event_type, plan);
        }
        plans
    }

    /// The plan of a type. Types that nobody could foresee (`custom.*` under a pattern) are planned now.
    pub fn of(&self, event_type: &EventType) -> Arc<Plan<I>> {
        self.ready(event_type).map_or_else(|| Arc::new(self.make(event_type)), Arc::clone)
    }

    /// The plan of a type that could be foreseen.
    pub fn ready(&self, event_type: &EventType) -> Option<&Arc<Plan<I>>> {
        match self.known.get(index(event_type)) {
            Some(Some(plan)) => Some(plan),
            _ => self.ready.get(event_type),
        }
    }

    /// Every handler of the configuration.
    pub fn handlers(&self) -> &[Arc<Handler<I>>] {
        &self.handlers
    }

    /// Most handlers that one event can have running at the same time.
    pub fn width(&self) -> usize {
        let wildcard = self.handlers.iter().filter(|h| h.pattern.as_str().ends_with('*')).count();
        self.ready.values().map(|p| p.width()).max().unwrap_or(0).max(wildcard)
    }

    /// The handlers of a type. The same plugin under several patterns: the most specific one speaks.
    fn chosen(&self, event_type: &EventType) -> Vec<&Arc<Handler<I>>> {
        let mut chosen: Vec<&Arc<Handler<I>>> = Vec::new();
        for handler in self.handlers.iter().filter(|h| h.takes(event_type)) {
            match chosen.iter_mut().find(|c| c.name == handler.name) {
                Some(other) if other.pattern.specificity() < handler.pattern.specificity() => *other = handler,
                Some(_) => {}
                None => chosen.push(handler),
            }
        }
        chosen
    }

    fn make(&self, event_type: &EventType) -> Plan<I> {
        let mut chosen = self.chosen(event_type);
        let withdrawn = event_type.withdrawn();
        // Who had the event has its withdrawal, by the same instance: only that knows what there is to put back.
        let had = withdrawn.iter().flat_map(|withdrawn| self.chosen(withdrawn)).filter(|h| h.abilities.undo);
        for handler in had {
            chosen.retain(|other| other.name != handler.name);
            chosen.push(handler);
        }
        chosen.sort_by(|a, b| {
            // What was done last is put back first.
            let (first, second) = if withdrawn.is_some() { (b, a) } else { (a, b) };
            second.priority.cmp(&first.priority).then_with(|| a.name.cmp(&b.name))
        });
        let (at_once, in_order): (Vec<_>, Vec<_>) = chosen.into_iter().partition(|h| h.start == Start::AtOnce);
        let mut tiers: Vec<Tier<I>> = Vec::new();
        for handler in in_order {
            match tiers.last_mut() {
                Some(tier) if tier.priority == handler.priority => tier.handlers.push(Arc::clone(handler)),
                _ => tiers.push(Tier { priority: handler.priority, handlers: vec![Arc::clone(handler)] }),
            }
        }
        let assumed = self.assumed.iter().filter(|(p, _)| p.matches(event_type)).max_by_key(|(p, _)| p.specificity());
        let at_once = at_once.into_iter().map(Arc::clone).collect();
        Plan::new(tiers, at_once, assumed.map_or(ASSUMED_NS, |(_, ns)| *ns))
    }
}

/// Where the plan of a known type stands; beyond the end for any other.
fn index(event_type: &EventType) -> usize {
    match event_type.kind() {
        abi::SNOOZE_KIND_OTHER => usize::MAX,
        _ if event_type.is_cancelled() => usize::MAX,
        kind => kind as usize,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handler(name: &str, pattern: &str, priority: u32, start: Start) -> Handler<()> {
        let pattern = Pattern::parse(pattern).expect("pattern");
        Handler { priority, timeout_ns: 1, minimum_ns: 1, start, ..Handler::new(name, pattern, ()) }
    }

    fn shape(plans: &Plans<()>, event_type: &str) -> Vec<(u32, Vec<String>)> {
        let plan = plans.of(&EventType::parse(event_type).expect("type"));
        let names = |t: &Tier<()>| t.handlers.iter().map(|h| h.instance_name.clone()).collect();
        plan.tiers.iter().map(|t| (t.priority, names(t))).collect()
    }

    #[test]
    fn a_withdrawal_goes_to_whoever_had_the_event_and_can_undo_last_done_first() {
        let undoes = |name: &str, pattern: &str, priority: u32| Handler {
            abilities: Abilities { undo: true, drill: false },
            ..handler(name, pattern, priority, Start::InOrder)
        };
        let plans = Plans::new(
            vec![
                undoes("stop", "cloud.spot.interrupt", 60),
                // Another instance of the same plugin takes the withdrawal by its pattern, but did not have the event.
                undoes("stop", "cloud.*", 61),
                undoes("flush", "cloud.spot.*", 90),
                handler("save", "cloud.spot.interrupt", 95, Start::InOrder),
                handler("tell", "cloud.*", 10, Start::InOrder),
            ],
            Vec::new(),
        );
        let order = shape(&plans, "cloud.spot.interrupt.cancelled");
        let names: Vec<&str> = order.iter().map(|(_, names)| names[0].as_str()).collect();
        assert_eq!(names, ["cloud.*/tell", "cloud.spot.interrupt/stop", "cloud.spot.*/flush"]);
        assert_eq!(shape(&plans, "cloud.maintenance.stop.cancelled")[1].1, ["cloud.*/stop"]);
    }

    #[test]
    fn a_condition_on_the_type_keeps_a_handler_out_of_the_plan() {
        let types = vec![Pattern::parse("cloud.spot.*").expect("pattern")];
        let when = Condition { types, ..Condition::default() };
        let plans = Plans::new(vec![Handler { when, ..handler("a", "cloud.*", 60, Start::InOrder) }], Vec::new());
        assert!(plans.of(&EventType::parse("cloud.maintenance.stop").expect("type")).is_empty());
        assert!(!plans.of(&EventType::SPOT_INTERRUPT).is_empty());
    }

    #[test]
    fn tiers_go_down_in_priority_and_equal_priorities_share_one() {
        let plans = Plans::new(
            vec![
                handler("c", "cloud.spot.interrupt", 10, Start::InOrder),
                handler("b", "cloud.spot.interrupt", 80, Start::InOrder),
                handler("a", "cloud.spot.*", 80, Start::InOrder),
                handler("n", "*", 5, Start::AtOnce),
            ],
            vec![(Pattern::parse("cloud.spot.*").expect("pattern"), 7)],
        );
        assert_eq!(
            shape(&plans, "cloud.spot.interrupt"),
            [
                (80, vec!["cloud.spot.*/a".into(), "cloud.spot.interrupt/b".into()]),
                (10, vec!["cloud.spot.interrupt/c".into()])
            ]
        );
        let plan = plans.of(&EventType::SPOT_INTERRUPT);
        assert_eq!((plan.at_once.len(), plan.width(), plan.assumed_ns), (1, 3, 7));
        assert!(shape(&plans, "custom.thing").is_empty());
        assert_eq!(plans.of(&EventType::parse("custom.thing").expect("type")).at_once.len(), 1);
    }

    #[test]
    fn every_known_type_has_a_place_of_its_own_and_a_withdrawal_none() {
        let mut places: Vec<usize> = EventType::KNOWN.iter().map(index).collect();
        places.sort_unstable();
        assert_eq!(places, (1..KINDS).collect::<Vec<_>>());
        assert!(EventType::KNOWN.iter().all(|known| index(&known.cancelled()) >= KINDS));
        assert!(index(&EventType::SELF_TEST) >= KINDS);
    }

    #[test]
    fn a_promise_not_to_block_is_broken_with_the_third_overrun_and_not_before() {
        let inline = Inline::new(true);
        assert_eq!((inline.overran(), inline.overran(), inline.is_on()), (false, false, true));
        assert!(inline.overran());
        assert_eq!((inline.is_on(), inline.overran()), (false, false), "told once");
    }

    #[test]
    fn of_one_plugin_under_two_patterns_the_more_specific_speaks() {
        let plans = Plans::new(
            vec![
                handler("a", "*", 1, Start::InOrder),
                handler("a", "cloud.spot.interrupt", 9, Start::InOrder),
                handler("a", "cloud.*", 5, Start::InOrder),
            ],
            Vec::new(),
        );
        assert_eq!(shape(&plans, "cloud.spot.interrupt"), [(9, vec!["cloud.spot.interrupt/a".into()])]);
        assert_eq!(shape(&plans, "cloud.spot.rebalance"), [(5, vec!["cloud.*/a".into()])]);
        assert_eq!(shape(&plans, "system.shutdown"), [(1, vec!["*/a".into()])]);
    }
}
