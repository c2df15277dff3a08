//! What a local user can send to the control socket, byte by byte through the real server; the daemon behind it is played.
//!
//! Promises: a caller without the right never reaches the daemon; every answer is HTTP, every refusal says why in JSON; what
//! an operator asks for becomes an event that reads back, or a sentence.

use axum::Router;
use cloudsnooze::control::gate::converse;
use cloudsnooze::control::limits::Limits;
use cloudsnooze::control::operator;
use cloudsnooze::control::rights::{Caller, Holder, Right, Rights};
use cloudsnooze::control::server::{Daemon, router};
use cloudsnooze::control::wire::{Apps, Emit, Events, Failure, PlanView, Plans, Reloaded, Simulate, Status};
use cloudsnooze::event::{EventType, Moment};
use cloudsnooze::fleet::delegate::Delegate;
use cloudsnooze::history::watchers::Happening;
use cloudsnooze::source::reply::{Parsed, parse};
use cloudsnooze::sys::peer::Peer;
use serde_json::Value;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::broadcast;

const NOW: Moment = Moment { boot_ns: 1_000_000_000_000, wall_ns: 1_700_000_000_000_000_000 };

/// Notes the greatest right of what it was asked for.
#[derive(Default)]
struct Played {
    asked: AtomicU8,
}

impl Played {
    fn note(&self, right: Right) {
        self.asked.fetch_max(right as u8 + 1, Ordering::Relaxed);
    }
}

impl Daemon for Played {
    fn status(&self) -> Status {
        self.note(Right::Read);
        let text = r#"{"version":"0","pid":1,"uptime_seconds":0,"health":"ok","problems":[],"config_files":[],
            "machine":{"provider":"","instance_id":"","instance_type":"","zone":"","region":""},"sources":[],"instances":[],
            "dispatch":{"threads":1,"scheduling":"","memory_locked":"off","events_busy":0,"calls_abandoned":0,
            "first_start_us":null},"events":{"published":0,"completed":0,"refused":0,"notes_dropped":0}}"#;
        serde_json::from_str(text).expect("a status")
    }

    fn plan(&self, event_type: &str, left_seconds: &[f64]) -> Result<PlanView, String> {
        self.note(Right::Read);
        assert!(left_seconds.iter().all(|left| left.is_finite()));
        let event_type = EventType::parse(event_type)?.to_string();
        Ok(PlanView { event_type, assumed_seconds: 1.0, finish_before_seconds: 1.0, handlers: vec![], budgets: vec![] })
    }

    fn plans(&self, _: &[f64]) -> Plans {
        Plans::default()
    }
    fn simulate(&self, request: Simulate) -> Result<String, String> {
        self.note(Right::Simulate);
        let event = operator::event(request, NOW)?;
        assert!(event.simulated && event.provider == "operator" && !event.is_self_test());
        let left = event.effective.map_or(0, |effective| effective.boot_ns - NOW.boot_ns);
        assert!((0..=86_400_000_000_000).contains(&left), "{left} ns left");
        crate::cloud::check_event(&event, NOW);
        Ok(event.id.to_string())
    }

    fn emit(&self, request: Emit, uid: u32) -> Result<String, String> {
        let event_type = EventType::parse(&request.event_type)?;
        self.note(operator::right_to_emit(&event_type));
        let event = operator::emitted(request, uid, NOW)?;
        assert!(!event.simulated && event.provider == "local" && !event.is_self_test() && event.cancels.is_none());
        crate::cloud::check_event(&event, NOW);
        Ok(event.id.to_string())
    }

    fn events(&self, limit: usize, _: Option<&str>) -> Result<Events, String> {
        self.note(Right::Read);
        assert!(limit <= 10_000);
        Ok(Events { events: Vec::new() })
    }

    fn report(&self, id: &str) -> Result<Option<Value>, String> {
        self.note(Right::Read);
        Ok((id == "last").then_some(Value::Null))
    }

    fn apps(&self) -> Apps {
        self.note(Right::Read);
        Apps::default()
    }

    fn fleet(&self) -> Option<Arc<Delegate>> {
        None
    }

    fn watch(&self) -> broadcast::Receiver<Arc<Happening>> {
        self.note(Right::Read);
        // Nobody will ever say anything: the stream is over at once.
        broadcast::channel(1).1
    }

    async fn reload(&self) -> Result<Reloaded, Failure> {
        self.note(Right::Administer);
        Ok(Reloaded { changes: Vec::new(), needs_restart: Vec::new(), warnings: Vec::new() })
    }

    fn metrics(&self) -> String {
        self.note(Right::Read);
        String::new()
    }

    fn scrub(&self, text: &str) -> String {
        text.to_owned()
    }
}

/// The first byte says who is calling, the rest is what it sends.
pub fn control(data: &[u8]) {
    let Some((who, sent)) = data.split_first() else { return };
    let rights = Rights::new(900, [10, 15, 20, 30].map(|gid| Holder { gid, name: None }));
    let (uid, gid) = [(1000, 1), (1000, 10), (1000, 20), (1000, 30), (0, 0), (1000, 15)][usize::from(who % 6)];
    let caller = rights.of(&Peer { uid, gids: vec![gid] });
    let daemon = Arc::new(Played::default());
    let answered = answer(sent, router(Arc::clone(&daemon), Arc::new(Limits::default())), caller.clone());
    let asked = daemon.asked.load(Ordering::Relaxed);
    let allowed = caller.right.map_or(0, |right| right as u8 + 1);
    assert!(asked <= allowed, "asked for {asked}, allowed is {allowed}");
    if let Ok(Parsed::Whole { found, .. }) = parse(&answered, true) {
        assert!(allowed > 0 || found.status != 200, "a stranger was served");
        // What the server itself finds wrong with HTTP it says with a status and no body. What follows an answer to HEAD is
        // the next answer, which this reading of one would take for its body.
        if found.status >= 400 && !found.body.is_empty() && !sent.windows(4).any(|word| word == b"HEAD") {
            serde_json::from_slice::<Failure>(&found.body).expect("a refusal in JSON");
        }
    } else {
        assert!(answered.is_empty() || answered.starts_with(b"HTTP/1."), "{answered:?}");
    }
}

fn answer(sent: &[u8], router: Router, caller: Caller) -> Vec<u8> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| Builder::new_current_thread().enable_time().build().expect("a runtime"));
    runtime.block_on(async {
        let (mut here, there) = tokio::io::duplex(1 << 20);
        here.write_all(sent).await.expect("there is room");
        here.shutdown().await.expect("memory");
        converse(there, router, caller).await;
        let mut answered = Vec::new();
        here.read_to_end(&mut answered).await.expect("memory");
        answered
    })
}
