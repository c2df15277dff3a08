//! One source: waits for messages, tells what they say, and deletes them when the work is over.
//!
//! Inputs: a [`Config`], the queue, the ends of events. Outputs: notices to the host. Everything runs on the host's thread for
//! the source, in an asynchronous runtime of that thread alone. Must never let a request that is under way be dropped while
//! it may hold messages, except at the end: what it held would be hidden for a while.

use crate::config::{Config, region_of};
use crate::decision::{Desk, Done, Rules, Step, Then, step};
use crate::message::{Found, read};
use crate::requests::Queue;
use aws_config::imds;
use aws_config::provider_config::ProviderConfig;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use cloudsnooze_plugin::source::{EventId, Heard, Machine, Notice, Over, Source, SourceTable, Watching};
use cloudsnooze_plugin::{Call, Code, Error, Event, Host, Instance, Outcome, Plugin, c_str};
use cloudsnooze_plugin_aws::{Aws, SdkConfig};
use std::collections::{HashSet, VecDeque};
use std::ffi::CStr;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What a sign of life may be late by.
const LATE: Duration = Duration::from_secs(40);
/// Pause after a request that failed; doubled each time, up to the longest.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_LONGEST: Duration = Duration::from_secs(30);
/// The longest that SQS hides a message (Amazon SQS developer guide, "Visibility timeout": twelve hours).
const HIDDEN_LONGEST: Duration = Duration::from_secs(12 * 3600);
/// Messages that are remembered as set aside.
const ASIDE_MAX: usize = 10_000;

/// The plugin.
pub struct AwsQueue {
    host: Host,
    config: Config,
    aws: Aws,
    ends: Mutex<Option<UnboundedSender<EventId>>>,
}

impl Plugin for AwsQueue {
    const ID: &'static CStr = c"io.cloudsnooze.aws-queue";
    const NAME: &'static CStr = c"aws-queue";
    const VERSION: &'static CStr = c_str!(env!("CARGO_PKG_VERSION"));
    const DESCRIPTION: &'static CStr = c"Brings the notices of AWS that EventBridge puts into an SQS queue";
    const SOURCE: Option<SourceTable> = Some(SourceTable::of::<Self>());
    type Config = Config;

    fn new(host: Host, config: Config, _: Instance) -> Result<Self, Error> {
        for (name, url) in
            [("queue_url", Some(&config.queue_url)), ("dead_letter_queue_url", config.dead_letter_queue_url.as_ref())]
        {
            if url.is_some_and(|url| !(url.starts_with("https://") || url.starts_with("http://"))) {
                return Err(Error::new(format!("{name}: write https://HOST/ACCOUNT/NAME")).code(Code::Config));
            }
        }
        let mut access = config.aws.clone();
        access.region = access.region.or_else(|| region_of(&config.queue_url));
        let aws = Aws::new(host, "aws-queue", access)?;
        Ok(Self { host, config, aws, ends: Mutex::new(None) })
    }

    fn on_event(&self, _: &Event<'_>, _: &Call<'_>) -> Result<Outcome, Error> {
        Ok(Outcome::declined("it brings notices, and handles none"))
    }
}

impl Source for AwsQueue {
    fn run(&self, watching: &Watching) -> Result<(), Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (sender, ends) = unbounded_channel();
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        let ended = runtime.block_on(async {
            let stop = AsyncFd::with_interest(watching.stop_raw_fd(), Interest::READABLE)?;
            tokio::select! {
                biased;
                stopped = stop.readable() => Ok(drop(stopped?)),
                done = self.watch(watching, ends) => done,
            }
        });
        // Names are looked up on threads of the runtime: one that hangs there must not hold up the end.
        runtime.shutdown_background();
        ended
    }

    fn over(&self, event: EventId, _: Over) {
        // Whatever came of it: the notice was acted upon, and is of no more use to anybody.
        if let Some(ends) = &*self.ends.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = ends.send(event);
        }
    }
}

impl AwsQueue {
    async fn watch(&self, watching: &Watching, mut ends: UnboundedReceiver<EventId>) -> Result<(), Error> {
        let sdk = self.aws.config().await?;
        let ours = self.machine(&sdk).await?;
        let region = sdk.region().map(ToString::to_string).unwrap_or_default();
        watching.machine(&Machine { provider: "aws", instance_id: &ours, region: &region, ..Machine::default() })?;
        let Config { queue_url, visibility_seconds, wait_seconds, foreign, receives_max, .. } = &self.config;
        let wait = Duration::from_secs((*wait_seconds).into());
        let queue = Queue::new(&sdk, queue_url, *visibility_seconds, wait);
        let rules = Rules { ours, foreign: *foreign, receives_max: *receives_max };
        let mut reader =
            Reader { source: self, watching, queue: &queue, rules, desk: Desk::default(), aside: Aside::default() };
        let mut prolong = tokio::time::interval(Duration::from_secs((*visibility_seconds / 3).max(1).into()));
        prolong.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut pause = PAUSE_FIRST;
        // The first answer comes at once: it shows whether the queue can be seen.
        let mut receiving = Box::pin(queue.receive(0));
        loop {
            tokio::select! {
                biased;
                Some(event) = ends.recv() => reader.over(event).await,
                _ = prolong.tick() => reader.prolong().await,
                received = &mut receiving => match received {
                    Ok(messages) => {
                        pause = PAUSE_FIRST;
                        watching.seeing(wait + LATE)?;
                        receiving.set(queue.receive(*wait_seconds));
                        reader.messages(messages).await;
                    }
                    Err(error) => {
                        watching.blind(pause + LATE, error.message())?;
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(PAUSE_LONGEST);
                        receiving.set(queue.receive(0));
                    }
                },
            }
        }
    }

    /// The machine whose notices are meant.
    async fn machine(&self, sdk: &SdkConfig) -> Result<String, Error> {
        if let Some(given) = &self.config.instance_id {
            return Ok(given.clone());
        }
        let mut provider = ProviderConfig::without_region();
        if let Some(http) = sdk.http_client() {
            provider = provider.with_http_client(http);
        }
        let metadata = imds::Client::builder().configure(&provider).build();
        let asked = metadata.get("/latest/meta-data/instance-id").await;
        let id = asked.map_err(|error| {
            let why = "instance_id: the metadata service does not say which machine this is; set it";
            Error::from(error).context(why)
        })?;
        Ok(id.as_ref().trim().to_owned())
    }
}

/// Messages that nobody understands, by their identity.
#[derive(Default)]
struct Aside {
    known: HashSet<String>,
    order: VecDeque<String>,
    count: u64,
}

impl Aside {
    /// Remembers a message; the oldest makes room. Whether it is new.
    fn add(&mut self, message: &str) -> bool {
        if !self.known.insert(message.to_owned()) {
            return false;
        }
        self.count += 1;
        self.order.push_back(message.to_owned());
        if self.order.len() > ASIDE_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

/// Does with messages what was decided.
struct Reader<'r> {
    source: &'r AwsQueue,
    watching: &'r Watching,
    queue: &'r Queue,
    rules: Rules,
    desk: Desk,
    aside: Aside,
}

impl Reader<'_> {
    /// A request that fails is told once in the log: the message comes back by itself.
    async fn asked(&self, what: impl Future<Output = Result<(), Error>>) {
        if let Err(error) = what.await {
            self.source.host.warn(format_args!("{error}"));
        }
    }

    async fn messages(&mut self, messages: Vec<Message>) {
        // All are told before anything else is asked: handlers wait for the first, not for a deletion.
        let mut then = Vec::new();
        for message in messages {
            let (Some(id), Some(receipt)) = (message.message_id(), message.receipt_handle()) else { continue };
            let body = message.body().unwrap_or_default();
            let step = step(read(body), receives(&message), &self.rules);
            match step {
                Step::Tell(found, after) => {
                    let events = found.iter().filter_map(|found| self.tell(found, body)).collect();
                    then.extend(self.desk.take(id, receipt.to_owned(), events, after));
                }
                Step::Delete => then.push(Done { receipt: receipt.to_owned(), then: Then::Delete }),
                Step::GiveBack(pause) => then.push(Done { receipt: receipt.to_owned(), then: Then::GiveBack(pause) }),
                Step::SetAside(why) => self.set_aside(id, receipt, body, &why).await,
            }
        }
        for done in then {
            self.finish(done).await;
        }
    }

    /// Tells one notice; the event whose end is to be waited for.
    fn tell(&self, found: &Found, body: &str) -> Option<EventId> {
        let notice = Notice {
            notice_id: &found.notice_id,
            instance_id: &found.instance_id,
            action: found.action,
            is_advisory: found.is_advisory,
            when: found.when,
            stated_wall_ns: found.stated_wall_ns,
            raw: body,
            ..Notice::new("aws", found.event_type, found.severity)
        };
        let told = if found.is_withdrawn { self.watching.withdrawn(&notice) } else { self.watching.notice(&notice) };
        match told {
            Ok(Heard::News(event) | Heard::Known(event)) => Some(event),
            Ok(Heard::Past | Heard::Nothing) => None,
            Err(error) => {
                self.source.host.warn(format_args!("{} of {}: {error}", found.event_type, found.instance_id));
                None
            }
        }
    }

    async fn over(&mut self, event: EventId) {
        for done in self.desk.over(event) {
            self.finish(done).await;
        }
    }

    async fn finish(&self, done: Done) {
        match done.then {
            Then::Delete => self.asked(self.queue.delete(&done.receipt)).await,
            Then::GiveBack(pause) => self.asked(self.queue.hide(&done.receipt, pause)).await,
        }
    }

    async fn prolong(&self) {
        let receipts = self.desk.receipts();
        if !receipts.is_empty() {
            self.asked(self.queue.keep(&receipts)).await;
        }
    }

    async fn set_aside(&mut self, id: &str, receipt: &str, body: &str, why: &str) {
        if self.aside.add(id) {
            let count = self.aside.count;
            self.source.host.warn(format_args!("message {id} is set aside, number {count} so far: {why}"));
        }
        match &self.source.config.dead_letter_queue_url {
            None => self.asked(self.queue.hide(receipt, HIDDEN_LONGEST)).await,
            Some(url) => {
                let moved = async {
                    self.queue.put(url, body).await?;
                    self.queue.delete(receipt).await
                };
                self.asked(moved).await;
            }
        }
    }
}

/// How often a message was delivered, this time included.
fn receives(message: &Message) -> u32 {
    let counted = message.attributes().and_then(|all| all.get(&MessageSystemAttributeName::ApproximateReceiveCount));
    counted.and_then(|count| count.parse().ok()).unwrap_or(1)
}
