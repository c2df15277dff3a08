//! How many writes a second streams on the disk take when every one is on the disk before it is acknowledged.
//!
//! Inputs: none. Outputs: writes a second, of one stream and of many, with one server and with three; and how often this machine's disk
//! can be told to keep what it has, as the measure of all of it. It must never count a write that was not acknowledged.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::{Context as JetStream, stream};
use serde::Serialize;

use crate::measure::side_by_side;
use crate::servers::Servers;

/// How long each rate is measured.
const LENGTH: Duration = Duration::from_secs(8);
/// As long as a lease on the wire.
const BYTES: usize = 100;

/// One rate.
#[derive(Clone, Debug, Serialize)]
pub struct Rate {
    pub servers: usize,
    pub streams: usize,
    /// Writes that wait for their acknowledgement at the same time, of each stream.
    pub in_flight: usize,
    pub per_second: f64,
    pub mean_ms: f64,
}

/// Measures all of them, and the disk.
///
/// # Errors
/// Servers do not come up, or a write is refused.
pub async fn measure() -> Result<(Vec<Rate>, f64)> {
    let mut rates = Vec::new();
    for count in [1, 3] {
        let servers = Servers::start(count)?;
        let client = async_nats::connect(servers.urls(0)).await.context("a connection")?;
        let context = ContextBuilder::new().timeout(Duration::from_secs(20)).build(client);
        for (streams, in_flight) in [(1, 1), (1, 64), (20, 1), (100, 1)] {
            for number in 0..streams {
                let name = format!("w{streams}-{in_flight}-{number}");
                let config = stream::Config {
                    subjects: vec![format!("{name}.a")],
                    name,
                    // As a bucket with one version of each key.
                    max_messages_per_subject: 1,
                    num_replicas: count,
                    ..stream::Config::default()
                };
                context.create_stream(config).await.context("a stream")?;
            }
            rates.push(rate(&context, count, streams, in_flight).await?);
        }
    }
    Ok((rates, disk()?))
}

async fn rate(context: &JetStream, servers: usize, streams: usize, in_flight: usize) -> Result<Rate> {
    let counted = std::cell::Cell::new(0_u64);
    let begun = Instant::now();
    let writer = |number: usize| {
        let subject = format!("w{streams}-{in_flight}-{}.a", number / in_flight);
        let counted = &counted;
        async move {
            while begun.elapsed() < LENGTH {
                context.publish(subject.clone(), vec![b'x'; BYTES].into()).await?.await.context("a write")?;
                counted.set(counted.get() + 1);
            }
            Ok(())
        }
    };
    let writers = streams * in_flight;
    side_by_side((0..writers).map(writer).collect()).await?;
    let per_second = counted.get() as f64 / begun.elapsed().as_secs_f64();
    Ok(Rate { servers, streams, in_flight, per_second, mean_ms: writers as f64 / per_second * 1000.0 })
}

/// How often a second a short piece can be written and brought to the disk, where the servers had theirs.
fn disk() -> Result<f64> {
    let mut file = tempfile::tempfile()?;
    let (begun, mut count) = (Instant::now(), 0_u32);
    while begun.elapsed() < Duration::from_secs(3) {
        file.write_all(&[b'x'; BYTES])?;
        file.sync_data()?;
        count += 1;
    }
    Ok(f64::from(count) / begun.elapsed().as_secs_f64())
}
