//! The daemon's source of a provider on a thread as the daemon sets it up: real time where that is granted.
//!
//! Inputs: where the service is, an interval. Outputs: the clock when an interruption was published. Must never do anything in
//! the sink before that reading of the clock.

use super::lane::Watcher;
use crate::stage;
use cloudsnooze::config::{AwsSource, AzureSource, GcpSource, SpotTimeSource};
use cloudsnooze::event::{Event, EventId, EventType, Moment};
use cloudsnooze::log_ring::LogRing;
use cloudsnooze::normalise::revise::Reviser;
use cloudsnooze::source::alibaba::Alibaba;
use cloudsnooze::source::aws::Aws;
use cloudsnooze::source::azure::Azure;
use cloudsnooze::source::cloud::{Cloud, Pace};
use cloudsnooze::source::gcp::Preempted;
use cloudsnooze::source::imds::EndpointError;
use cloudsnooze::source::poller::Poller;
use cloudsnooze::source::tencent::Tencent;
use cloudsnooze::source::{Control, Sink, Told};
use cloudsnooze::sys::bell::Bell;
use cloudsnooze::sys::{clock, sched};
use fake_metadata::Provider;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;

/// Takes the time of each interruption.
struct Stopwatch(Sender<i64>);

impl Sink for Stopwatch {
    fn publish(&mut self, event: Arc<Event>) {
        let now_boot_ns = clock::boot_ns();
        if event.event_type == EventType::SPOT_INTERRUPT {
            let _ = self.0.send(now_boot_ns);
        }
    }

    fn moved(&mut self, _: EventId, _: Moment) {}
}

/// Starts the source of a provider.
///
/// # Errors
/// An endpoint that cannot be used, no descriptor, no thread.
pub fn watch(provider: Provider, endpoint: String, interval_seconds: f64) -> io::Result<Watcher> {
    let seconds = interval_seconds;
    match provider {
        Provider::Aws => {
            let settings = AwsSource { endpoint, ..AwsSource::default() };
            start(Pace::every(seconds, Aws::ITEMS), |bell| Aws::new(&settings, bell))
        }
        Provider::Azure => {
            let settings = AzureSource { endpoint, ..AzureSource::default() };
            start(Pace::every(seconds, Azure::ITEMS), |bell| Azure::new(&settings, bell))
        }
        Provider::Gcp => {
            let settings = GcpSource { endpoint, ..GcpSource::default() };
            start(Pace::every(seconds, Preempted::ITEMS), |bell| Preempted::new(&settings, bell))
        }
        Provider::Alibaba => {
            let settings = SpotTimeSource { endpoint: Some(endpoint), ..SpotTimeSource::default() };
            start(Pace::every(seconds, Alibaba::ITEMS), |bell| Alibaba::new(&settings, bell))
        }
        Provider::Tencent => {
            let settings = SpotTimeSource { endpoint: Some(endpoint), ..SpotTimeSource::default() };
            start(Pace::every(seconds, Tencent::ITEMS), |bell| Tencent::new(&settings, bell))
        }
    }
}

fn start<C: Cloud + 'static>(
    pace: Pace,
    make: impl FnOnce(Arc<Bell>) -> Result<C, EndpointError>,
) -> io::Result<Watcher> {
    let control = Control::new(pace)?;
    let cloud = make(Arc::clone(&control.bell)).map_err(io::Error::other)?;
    let poller = Poller::new(cloud, Reviser::new(C::SOURCE), Arc::clone(&control), true);
    let (sender, seen) = channel();
    let health = Poller::<C>::health();
    let thread = thread::Builder::new().name("ours".into()).spawn(move || {
        stage::raise();
        let log = LogRing::new(0);
        poller.run(&mut Stopwatch(sender), Told { health: &health, log: &log });
        Ok(0)
    })?;
    Ok(Watcher { seen, stop: Some(Box::new(move || control.bell.stop())), thread })
}

/// What a source's thread is granted on this machine, in words.
pub fn granted() -> String {
    let ask = || stage::granted(sched::raise_current_thread(sched::Class::Fifo, stage::RT_PRIORITY));
    thread::spawn(ask).join().unwrap_or_default()
}
