//! `e2e-ours`: the daemon's AWS source on the same service, with its token, its checks and its books, and the daemon's
//! pool behind it, as `supervise` puts them together.
//!
//! The first argument is the parts directory; the second names the plugin, as for `ours`.

use cloudsnooze::config::AwsSource;
use cloudsnooze::event::{Event, EventId, EventType, Moment};
use cloudsnooze::log_ring::LogRing;
use cloudsnooze::normalise::revise::Reviser;
use cloudsnooze::source::aws::Aws;
use cloudsnooze::source::cloud::{Cloud, Pace};
use cloudsnooze::source::poller::Poller;
use cloudsnooze::source::{Control, Health, Sink, Told};
use latency::e2e::{Client, named, participate, service_cpu};
use latency::handler::parts_directory;
use latency::metadata::Service;
use latency::ours::{Ours, Wish};
use std::io;
use std::sync::Arc;

/// Workers the daemon would start for a plan of one handler.
const THREADS: usize = 5;

/// What `supervise` puts between source and pool.
struct ToPool(Ours);

impl Sink for ToPool {
    fn publish(&mut self, event: Arc<Event>) {
        self.0.publish(event);
    }

    fn approach(&mut self, event_type: &EventType) {
        self.0.approach(event_type);
    }

    fn moved(&mut self, _: EventId, _: Moment) {}

    fn self_test(&mut self, event: Arc<Event>) {
        self.0.self_test(event);
    }
}

struct OurClient {
    source: Poller<Aws>,
    sink: ToPool,
    health: Arc<Health>,
    log: LogRing,
}

impl Client for OurClient {
    fn poll(&mut self) -> io::Result<()> {
        self.source.look_once(&mut self.sink, Told { health: &self.health, log: &self.log });
        Ok(())
    }
}

fn main() -> io::Result<()> {
    let is_inline = std::env::args().any(|arg| arg == "stopwatch-inline");
    let (plugin, name) = if is_inline { ("stopwatch-inline", "e2e-ours-inline") } else { ("stopwatch", "e2e-ours") };
    let wish = Wish { plugin, event_type: EventType::SPOT_INTERRUPT, priority: 100, is_isolated: false };
    let ours = Ours::start(&parts_directory()?, &[wish], THREADS)?;
    let slot = ours.slots().at(0);
    let service = Service::start(service_cpu())?;
    ours.join_publishers();
    let control = Control::new(Pace::every(5.0, Aws::ITEMS))?;
    let settings = AwsSource { endpoint: format!("http://{}", service.address()), ..AwsSource::default() };
    let cloud = Aws::new(&settings, Arc::clone(&control.bell)).map_err(io::Error::other)?;
    let source = Poller::new(cloud, Reviser::new(Aws::SOURCE), control, true);
    let (sink, health, log) = (ToPool(ours), Poller::<Aws>::health(), LogRing::new(0));
    let note = format!("the daemon's AWS source and pool, plugin {plugin}");
    participate(&named(name), &note, &service, &mut OurClient { source, sink, health, log }, slot)
}
