//! The daemon's own dispatch, started as `supervise` starts it, with stopwatches for plugins.
//!
//! Inputs: which plugins, at which priorities. Outputs: a running pool, events as the AWS source makes them, publishing as
//! a source does it. This is the one file of the benchmark that knows the daemon's insides. Must never leave out a step
//! that the daemon takes between a parsed notice and the handler.

use crate::slot::Slots;
use crate::stage::{self, RT_PRIORITY};
use arc_swap::{ArcSwap, Cache};
use cloudsnooze::dispatch::engine::Settings;
use cloudsnooze::dispatch::outbox::Outbox;
use cloudsnooze::dispatch::plan::{Handler, Inline, Plan, Plans, instance_key};
use cloudsnooze::dispatch::pool::{Order, Pool, PoolConfig};
use cloudsnooze::event::{Event, EventType, Machine, Pattern};
use cloudsnooze::host::isolate::Isolation;
use cloudsnooze::host::{Instance, InstanceSpec, discover, probe};
use cloudsnooze::log_ring::LogRing;
use cloudsnooze::normalise::revise::{Reviser, Verdict};
use cloudsnooze::normalise::{Reading, aws};
use cloudsnooze::sys::sched::Grant;
use cloudsnooze::sys::{clock, memory};
use serde_json::json;
use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Seconds, in nanoseconds.
const SECOND_NS: i64 = 1_000_000_000;
/// CPU time after which a call loses its real-time priority: the daemon's own figure.
const CPU_BUDGET_NS: i64 = 50_000_000;
/// How often a participant at rest looks whether an event is over; no figure depends on it.
const LOOK: Duration = Duration::from_micros(100);

/// One handler of the plan.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The plugin: `stopwatch` or `stopwatch-inline`.
    pub plugin: &'static str,
    /// Which events it takes.
    pub event_type: EventType,
    /// 0 to 999, higher first.
    pub priority: u32,
    /// Whether it runs in a process of its own.
    pub is_isolated: bool,
}

/// A running pool with its plans.
pub struct Ours {
    pool: Pool,
    plans: RefCell<Cache<Arc<ArcSwap<Plans>>, Arc<Plans>>>,
    self_tests: [Arc<Plan>; 2],
    slots: Slots,
    machine: Arc<Machine>,
}

impl Ours {
    /// Starts the pool with one instance for each wish; slot `n` belongs to wish `n`. `parts` holds the plugins.
    ///
    /// # Errors
    /// A plugin is refused, or a thread cannot be started.
    pub fn start(parts: &Path, wishes: &[Wish], threads: usize) -> io::Result<Self> {
        let _locked = memory::lock_all();
        let slots = Slots::new(wishes.len())?;
        let log = Arc::new(LogRing::new(0));
        let handlers: Result<Vec<_>, _> =
            wishes.iter().enumerate().map(|(index, wish)| handler(parts, wish, index, &slots, &log)).collect();
        let plans = Plans::new(handlers?, Vec::new());
        let outbox = Arc::new(Outbox::default());
        read_notes(&outbox)?;
        let settings = Settings { margin_ns: 2 * SECOND_NS, grace_ns: SECOND_NS, immediate_ns: 30 * SECOND_NS };
        let config = PoolConfig {
            threads,
            rt_priority: RT_PRIORITY,
            home_cpu: Some(stage::home_cpu()),
            cpu_budget_ns: CPU_BUDGET_NS,
            settings,
        };
        let pool = Pool::start(config, outbox)?;
        pool.order(Order::WarmUp(plans.handlers().iter().map(|h| Arc::clone(&h.instance)).collect()));
        let machine = Machine {
            instance_id: "i-0123456789abcdef0".into(),
            instance_type: "m7i.large".into(),
            zone: "eu-west-1a".into(),
            region: "eu-west-1".into(),
        };
        let self_tests = Plan::self_tests(&probe::instance(&log).map_err(io::Error::other)?);
        let plans = RefCell::new(Cache::new(Arc::new(ArcSwap::from_pointee(plans))));
        Ok(Self { pool, plans, self_tests, slots, machine: Arc::new(machine) })
    }

    /// The slots of the handlers.
    pub fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Makes the calling thread one that publishes, as a source's thread becomes one.
    pub fn join_publishers(&self) -> Grant {
        self.pool.join_publishers()
    }

    /// The worst that any worker was granted.
    pub fn granted(&self) -> Grant {
        self.pool.grants().into_iter().max().unwrap_or(Grant::Normal)
    }

    /// What a source does first when it holds a notice.
    pub fn approach(&self, event_type: &EventType) {
        if let Some(plan) = self.plans.borrow_mut().load().ready(event_type) {
            self.pool.approach(plan);
        }
    }

    /// A new interruption, made as the source makes it that has just received the document.
    ///
    /// # Panics
    /// When the document is not understood: the benchmark would measure nothing.
    pub fn interruption(&self) -> Arc<Event> {
        self.approach(&EventType::SPOT_INTERRUPT);
        self.specimen()
    }

    /// The same without anything before it.
    fn specimen(&self) -> Arc<Event> {
        let now = clock::now();
        let body = json!({"action": "terminate", "time": now.plus_ns(120 * SECOND_NS).rfc3339()}).to_string();
        let reading = Reading { machine: &self.machine, now };
        let notice = aws::instance_action(body.as_bytes(), reading).expect("a document").expect("it lies ahead");
        let mut reviser = Reviser::new("aws.ec2.metadata-service");
        match reviser.observe(notice, &self.machine, now) {
            Verdict::New(event) => event,
            other => unreachable!("the first notice of a reviser is new, not {other:?}"),
        }
    }

    /// Publishes as a source's thread does: finds the plan, hands both to the pool.
    pub fn publish(&self, event: Arc<Event>) {
        let plan = self.plans.borrow_mut().load().of(&event.event_type);
        self.pool.publish(event, plan);
    }

    /// A self-test, as the daemon's sources make one while they wait for an answer.
    pub fn self_test(&self, event: Arc<Event>) {
        for plan in &self.self_tests {
            if self.pool.events_busy() == 0 {
                self.pool.publish(Arc::clone(&event), Arc::clone(plan));
            }
        }
        self.plans.borrow_mut().load().handlers().iter().for_each(|handler| handler.instance.touch());
    }

    /// What a source of the daemon does at the beginning of a round of polls: the self-test, which wakes the way; then the
    /// time until an answer comes.
    pub fn begin_round(&self) {
        self.self_test(self.specimen().as_self_test());
        thread::sleep(stage::ROUND_TRIP);
    }

    /// Waits until no event is in progress.
    pub fn settle(&self) {
        while self.pool.events_busy() > 0 {
            thread::sleep(LOOK);
        }
    }
}

fn handler(parts: &Path, wish: &Wish, index: usize, slots: &Slots, log: &Arc<LogRing>) -> io::Result<Handler> {
    let found = discover::find(wish.plugin, &[parts.to_owned()]).map_err(io::Error::other)?;
    let name = format!("{}-{index}", wish.plugin);
    let spec = InstanceSpec {
        name: format!("{}/{name}", wish.event_type),
        config: json!({"slots": slots.path(), "index": index.to_string()}),
        sha256: None,
        state_dir: parts.join("state"),
        isolation: wish.is_isolated.then(|| Isolation { lock_memory: true, ..Isolation::default() }),
    };
    let instance = Instance::make(&found, &spec, log).map_err(io::Error::other)?;
    let pattern = Pattern::parse(wish.event_type.as_str()).map_err(io::Error::other)?;
    Ok(Handler {
        key: instance_key(&spec.name),
        instance_name: spec.name,
        priority: wish.priority,
        minimum_ns: SECOND_NS,
        reentrant: instance.is_reentrant(),
        inline: Inline::new(instance.may_run_inline(true)),
        ..Handler::new(&name, pattern, instance)
    })
}

/// The recorder's part, at normal priority: takes every note and forgets it.
fn read_notes(outbox: &Arc<Outbox>) -> io::Result<()> {
    let outbox = Arc::clone(outbox);
    let reader = thread::Builder::new().name("snooze-record".into());
    reader.spawn(move || {
        outbox.read_here();
        loop {
            while outbox.pop().is_some() {}
            thread::park();
        }
    })?;
    Ok(())
}
