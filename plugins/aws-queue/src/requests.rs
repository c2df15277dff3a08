//! The requests to SQS.
//!
//! Inputs: a client, receipts. Outputs: messages, errors in words. Must never send more than ten of anything at once, which is
//! what SQS takes (Amazon SQS API reference).

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::types::{ChangeMessageVisibilityBatchRequestEntry, Message, MessageSystemAttributeName};
use cloudsnooze_plugin::Error;
use cloudsnooze_plugin_aws::{SdkConfig, failure};
use std::time::Duration;

/// Messages of one request.
const BATCH: usize = 10;
/// What a request may take beyond the time it waits.
const SLACK: Duration = Duration::from_secs(10);

/// The queue, and the clients that reach it.
#[derive(Clone)]
pub(crate) struct Queue {
    client: Client,
    /// For requests that wait.
    patient: Client,
    url: String,
    visibility_seconds: i32,
}

impl Queue {
    /// `wait` is the longest that a request waits for messages.
    pub(crate) fn new(sdk: &SdkConfig, url: &str, visibility_seconds: u32, wait: Duration) -> Self {
        let timeouts = TimeoutConfig::builder().connect_timeout(SLACK).operation_attempt_timeout(wait + SLACK).build();
        let patient = aws_sdk_sqs::config::Builder::from(sdk).timeout_config(timeouts).build();
        Self {
            client: Client::new(sdk),
            patient: Client::from_conf(patient),
            url: url.to_owned(),
            visibility_seconds: i32::try_from(visibility_seconds).unwrap_or(60),
        }
    }

    /// Up to ten messages; waits for the first so many seconds.
    pub(crate) async fn receive(&self, wait_seconds: u32) -> Result<Vec<Message>, Error> {
        let asked = self.patient.receive_message().queue_url(&self.url).max_number_of_messages(BATCH as i32);
        let asked = asked.wait_time_seconds(i32::try_from(wait_seconds).unwrap_or(0));
        let asked = asked.visibility_timeout(self.visibility_seconds);
        let asked = asked.message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount);
        let received =
            asked.send().await.map_err(|error| failure(&error).error("ask the queue", "sqs:ReceiveMessage"))?;
        Ok(received.messages.unwrap_or_default())
    }

    /// The message is not needed any more.
    pub(crate) async fn delete(&self, receipt: &str) -> Result<(), Error> {
        let asked = self.client.delete_message().queue_url(&self.url).receipt_handle(receipt).send().await;
        asked.map(drop).map_err(|error| failure(&error).error("delete a message", "sqs:DeleteMessage"))
    }

    /// Others may see the message after this time.
    pub(crate) async fn hide(&self, receipt: &str, time: Duration) -> Result<(), Error> {
        let seconds = i32::try_from(time.as_secs()).unwrap_or(i32::MAX);
        let asked = self.client.change_message_visibility().queue_url(&self.url).receipt_handle(receipt);
        let asked = asked.visibility_timeout(seconds).send().await;
        asked.map(drop).map_err(|error| failure(&error).error("give a message back", "sqs:ChangeMessageVisibility"))
    }

    /// These stay hidden, as if they had been received now.
    pub(crate) async fn keep(&self, receipts: &[String]) -> Result<(), Error> {
        for some in receipts.chunks(BATCH) {
            let mut asked = self.client.change_message_visibility_batch().queue_url(&self.url);
            for (number, receipt) in some.iter().enumerate() {
                let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(number.to_string());
                let entry = entry.receipt_handle(receipt).visibility_timeout(self.visibility_seconds).build()?;
                asked = asked.entries(entry);
            }
            let kept = asked.send().await;
            kept.map_err(|error| failure(&error).error("keep messages hidden", "sqs:ChangeMessageVisibility"))?;
        }
        Ok(())
    }

    /// Puts a copy of a body into another queue.
    pub(crate) async fn put(&self, url: &str, body: &str) -> Result<(), Error> {
        let asked = self.client.send_message().queue_url(url).message_body(body).send().await;
        asked.map(drop).map_err(|error| failure(&error).error("set a message aside", "sqs:SendMessage"))
    }
}
