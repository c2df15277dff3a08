//! Rival `tokio`: the design most services in Rust have. A multi-threaded runtime; one task watches and sends into a tokio
//! channel, one task receives and hands the blocking handler to `spawn_blocking`, as the documentation of tokio asks.
//!
//! Fair because: the runtime has its default number of threads and its default settings, the watcher is a task of the
//! runtime (a publisher outside is slower), the blocking pool's thread is warm after the first event and reused, nothing
//! is logged, and the handler is the same function through the same pointer as everyone's. Normal priority, as designed.

use latency::handler::{Handler, parts_directory};
use latency::protocol::{Ready, Request, serve};
use latency::slot::{Slot, Slots, now_ns};
use latency::stage::Ballast;
use std::time::Duration;
use tokio::sync::mpsc;

/// What the watching task hands over; the last member answers when the handler is done.
struct Notice {
    action: String,
    time: String,
    done: mpsc::Sender<()>,
}

/// The task that receives.
async fn dispatch(mut notices: mpsc::Receiver<Notice>, handler: Handler, slot: &'static Slot) {
    while let Some(notice) = notices.recv().await {
        let handled = tokio::task::spawn_blocking(move || handler.call(slot)).await;
        handled.expect("the handler does not panic");
        drop((notice.action, notice.time));
        let _told = notice.done.send(()).await;
    }
}

/// The task that watches: one slice of events.
async fn watch(request: Request, notices: mpsc::Sender<Notice>, slot: &'static Slot) -> Vec<i64> {
    let mut took = Vec::with_capacity(request.count);
    let mut ballast = Ballast::new(request.thrash_kib);
    let (done, mut ended) = mpsc::channel(1);
    for _ in 0..request.count {
        tokio::time::sleep(Duration::from_micros(request.gap_us)).await;
        let notice = Notice { action: "terminate".into(), time: "2030-01-02T03:04:05Z".into(), done: done.clone() };
        ballast.thrash();
        let published_ns = now_ns();
        notices.send(notice).await.expect("the dispatcher lives as long as this end");
        ended.recv().await;
        took.push(slot.wait() - published_ns);
    }
    took
}

fn main() -> std::io::Result<()> {
    let handler = Handler::load(&parts_directory()?)?;
    let slots = Slots::new(1)?;
    let slot = slots.at(0);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (sender, receiver) = mpsc::channel(64);
    let dispatcher = runtime.spawn(dispatch(receiver, handler, slot));
    let note = "tokio channel, then spawn_blocking".into();
    let ready = Ready { name: "rival-tokio".into(), granted: "normal".into(), note };
    serve(&ready, |request| {
        let watching = runtime.spawn(watch(request, sender.clone(), slot));
        runtime.block_on(watching).map_err(std::io::Error::other)
    })?;
    drop(sender);
    runtime.block_on(dispatcher).map_err(std::io::Error::other)
}
