//! The AWS instance metadata service (IMDS), as a value that answers requests.
//!
//! Responsibilities: hold what one instance would be told, apply changes to it, answer each request with the status and
//! body the real service gives. Inputs: [`Change`]s, requests, the time. Outputs: replies and what the request's token
//! was worth. It does no I/O and reads no clock. It must never invent a behaviour: what is not documented or recorded is
//! marked so.

mod bodies;

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::change::{Action, Applied, Body, Change, ChangeError, Maintenance};
use crate::cloud::{Answer, Cloud, Moment, Outcome, Provider};
use crate::http::{Incoming, Reply, http_date, reason};
use crate::instance::Instance;
use crate::token::{self, TokenUse};
use crate::tree::{self, Found, Leaves};
use bodies::ScheduledEvent;

const TOKEN_PATH: &str = "/latest/api/token";
const TTL_HEADER: &str = "X-aws-ec2-metadata-token-ttl-seconds";
const TOKEN_HEADER: &str = "X-aws-ec2-metadata-token";

/// The spot notice, and the older form of it that only a termination sets.
pub(crate) const NOTICE_PATHS: [&str; 2] = ["spot/instance-action", "spot/termination-time"];

/// The versions the real service lists at `/` (EC2 user guide, "Instance metadata and user data").
const VERSIONS: [&str; 29] = [
    "1.0",
    "2007-01-19",
    "2007-03-01",
    "2007-08-29",
    "2007-10-10",
    "2007-12-15",
    "2008-02-01",
    "2008-09-01",
    "2009-04-04",
    "2011-01-01",
    "2011-05-01",
    "2012-01-12",
    "2014-02-25",
    "2014-11-05",
    "2015-10-20",
    "2016-04-19",
    "2016-06-30",
    "2016-09-02",
    "2018-03-28",
    "2018-08-17",
    "2018-09-24",
    "2019-10-01",
    "2020-10-27",
    "2021-01-03",
    "2021-03-23",
    "2021-07-15",
    "2022-09-24",
    "2024-04-11",
    "latest",
];

/// The items below `meta-data/` whose presence announces something.
const NEWS_PATHS: [&str; 4] = [
    "spot/instance-action",
    "spot/termination-time",
    "events/recommendations/rebalance",
    "autoscaling/target-lifecycle-state",
];

/// One fake instance's metadata service.
#[derive(Debug)]
pub(crate) struct Aws {
    instance: Instance,
    tokens_required: bool,
    tokens: token::Tokens,
    notice: Option<(Action, Timestamp)>,
    rebalance: Option<Timestamp>,
    scheduled: Vec<ScheduledEvent>,
    history: Vec<ScheduledEvent>,
    lifecycle_state: Option<String>,
    bodies: BTreeMap<String, Body>,
    events_made: u64,
    /// `Last-Modified` of every body.
    changed: Timestamp,
}

impl Aws {
    pub(crate) fn new(instance: Instance, tokens_required: bool, now: Timestamp) -> Self {
        Self {
            instance,
            tokens_required,
            tokens: token::Tokens::default(),
            notice: None,
            rebalance: None,
            scheduled: Vec::new(),
            history: Vec::new(),
            lifecycle_state: None,
            bodies: BTreeMap::new(),
            events_made: 0,
            changed: now,
        }
    }

    /// The scheduled event of that id.
    fn scheduled(&mut self, event_id: &str) -> Result<&mut ScheduledEvent, ChangeError> {
        let found = self.scheduled.iter_mut().find(|have| have.event_id == event_id);
        found.ok_or_else(|| ChangeError::UnknownEvent { event_id: event_id.to_owned() })
    }

    fn schedule(&mut self, event: Maintenance, now: Timestamp) -> Result<String, ChangeError> {
        self.events_made += 1;
        let event_id = event.event_id.unwrap_or_else(|| format!("instance-event-{:017x}", self.events_made));
        if self.scheduled.iter().any(|have| have.event_id == event_id) {
            return Err(ChangeError::DuplicateEvent { event_id });
        }
        self.scheduled.push(ScheduledEvent {
            event_id: event_id.clone(),
            code: event.code,
            description: event.description,
            not_before: event.not_before.resolve(now),
            not_after: event.not_after.map(|when| when.resolve(now)),
            not_before_deadline: event.not_before_deadline.map(|when| when.resolve(now)),
            state: "active",
        });
        self.changed = now;
        Ok(event_id)
    }

    fn finish(&mut self, event_id: &str, state: &'static str, prefix: &str) -> Result<(), ChangeError> {
        let Some(index) = self.scheduled.iter().position(|have| have.event_id == event_id) else {
            return Err(ChangeError::UnknownEvent { event_id: event_id.to_owned() });
        };
        let mut event = self.scheduled.remove(index);
        event.state = state;
        event.description.insert_str(0, prefix);
        self.history.push(event);
        Ok(())
    }

    /// A wrong token is refused even when none is required.
    fn admits(&self, token: TokenUse) -> bool {
        match token {
            TokenUse::Valid => true,
            TokenUse::None => !self.tokens_required,
            TokenUse::Expired | TokenUse::Unknown => false,
        }
    }

    /// Only `PUT /latest/api/token` exists; a dated path, a trailing slash or any other path is 403 with no body
    /// (recorded in 2023), as is a request that came through a proxy.
    fn put(&mut self, request: &Incoming, moment: &Moment) -> Reply {
        if request.path != TOKEN_PATH || request.header("X-Forwarded-For").is_some() {
            return empty(403);
        }
        let Some(ttl_seconds) = token::parse_ttl(request.header(TTL_HEADER)) else { return page(400) };
        let token = self.tokens.issue(ttl_seconds, moment.boot_ns);
        Reply::new(200, "text/plain", token)
            .with_header("Accept-Ranges", "none")
            .with_header(TTL_HEADER, ttl_seconds.to_string())
    }

    fn get(&self, path: &str, moment: &Moment) -> Reply {
        let path = path.trim_start_matches('/');
        let (version, rest) = path.split_once('/').unwrap_or((path, ""));
        if version.is_empty() {
            return self.text(VERSIONS.join("\n"));
        }
        if !VERSIONS.contains(&version) {
            return page(404);
        }
        let (category, item) = rest.split_once('/').unwrap_or((rest, ""));
        match category {
            "" => {
                let user_data = if self.instance.user_data.is_some() { "\nuser-data" } else { "" };
                self.text(format!("dynamic\nmeta-data{user_data}"))
            }
            "meta-data" => self.found(&self.leaves(moment), item),
            "dynamic" => {
                let document = bodies::identity_document(&self.instance);
                self.found(&Leaves::from([("instance-identity/document".to_owned(), document)]), item)
            }
            "user-data" => match &self.instance.user_data {
                Some(user_data) => {
                    Reply { content_type: "application/octet-stream".to_owned(), ..self.text(user_data.clone()) }
                }
                None => page(404),
            },
            _ => page(404),
        }
    }

    fn found(&self, leaves: &Leaves, path: &str) -> Reply {
        match tree::find(leaves, path) {
            Found::Leaf(body) => self.text(body.to_owned()),
            Found::Listing(listing) => self.text(listing),
            Found::Nothing => page(404),
        }
    }

    /// 200 and text/plain, whatever the body is: the real service sends JSON items so too.
    fn text(&self, body: String) -> Reply {
        Reply::new(200, "text/plain", body)
            .with_header("Accept-Ranges", "none")
            .with_header("Last-Modified", http_date(self.changed))
    }

    /// Everything below `meta-data/` at this moment.
    fn leaves(&self, moment: &Moment) -> Leaves {
        let mut leaves = self.standing_leaves(moment.now);
        let mut put = |path: &str, body: String| leaves.insert(path.to_owned(), body);
        if let Some((action, time)) = self.notice {
            let time = moment.drifted(time);
            put("spot/instance-action", bodies::instance_action(&action.to_string(), time));
            // A stop or hibernation does not set the older item.
            if action == Action::Terminate {
                put("spot/termination-time", bodies::rfc3339_seconds(time));
            }
        }
        if let Some(notice_time) = self.rebalance {
            put("events/recommendations/rebalance", bodies::rebalance(notice_time));
        }
        if let Some(state) = &self.lifecycle_state {
            put("autoscaling/target-lifecycle-state", state.clone());
        }
        put("events/maintenance/scheduled", bodies::events(&self.scheduled));
        put("events/maintenance/history", bodies::events(&self.history));
        for (path, body) in &self.bodies {
            match body {
                Body::Text(text) => leaves.insert(path.clone(), text.clone()),
                Body::Absent | Body::Usual => leaves.remove(path),
            };
        }
        leaves
    }

    /// What does not change while an instance runs.
    fn standing_leaves(&self, now: Timestamp) -> Leaves {
        let instance = &self.instance;
        let host = format!("ip-{}.ec2.internal", instance.private_ip.replace('.', "-"));
        let mut leaves: Leaves = [
            ("ami-id", instance.image_id.as_str()),
            ("ami-launch-index", "0"),
            ("hostname", &host),
            ("instance-action", "none"),
            ("instance-id", &instance.id),
            ("instance-type", &instance.instance_type),
            ("local-hostname", &host),
            ("local-ipv4", &instance.private_ip),
            ("placement/availability-zone", &instance.zone),
            ("placement/availability-zone-id", &instance.zone_id),
            ("placement/region", instance.region()),
            ("services/domain", "amazonaws.com"),
            ("services/partition", "aws"),
        ]
        .into_iter()
        .map(|(path, body)| (path.to_owned(), body.to_owned()))
        .collect();
        if let Some(life_cycle) = &instance.life_cycle {
            leaves.insert("instance-life-cycle".to_owned(), life_cycle.clone());
        }
        if let Some(role) = &instance.role {
            leaves.insert("iam/info".to_owned(), bodies::iam_info(instance, role, now));
            leaves.insert(format!("iam/security-credentials/{role}"), bodies::credentials(now));
        }
        for (key, value) in instance.tags.iter().flatten() {
            leaves.insert(format!("tags/instance/{key}"), value.clone());
        }
        leaves
    }
}

impl Cloud for Aws {
    fn instance(&self) -> &Instance {
        &self.instance
    }

    fn apply(&mut self, change: Change, moment: &Moment) -> Result<Applied, ChangeError> {
        let now = moment.now;
        match change {
            Change::Notice { action, time } => {
                let warning = Provider::Aws.usual_warning(action);
                self.notice = Some((action, time.resolve_or(now, warning)));
            }
            Change::Withdraw => {
                self.notice = None;
                for path in NOTICE_PATHS {
                    self.bodies.remove(path);
                }
            }
            Change::Rebalance { time } => self.rebalance = Some(time.resolve(now)),
            Change::ClearRebalance => self.rebalance = None,
            Change::Maintenance(event) => return self.schedule(event, now).map(Applied::Event),
            Change::MoveMaintenance { event_id, time } => {
                let event = self.scheduled(&event_id)?;
                let moved = time.resolve(now);
                event.not_after = event.not_after.map(|end| bodies::moved_with(end, event.not_before, moved));
                event.not_before = moved;
            }
            // The list does not tell that an event has begun: it stays active.
            Change::StartMaintenance { event_id } => drop(self.scheduled(&event_id)?),
            Change::CancelMaintenance { event_id } => self.finish(&event_id, "canceled", "[Canceled] ")?,
            Change::CompleteMaintenance { event_id } => self.finish(&event_id, "completed", "[Completed] ")?,
            Change::LifecycleState { state } => self.lifecycle_state = state,
            Change::Body { path, body: Body::Usual } => drop(self.bodies.remove(&path)),
            Change::Body { path, body } => drop(self.bodies.insert(path, body)),
            Change::Tokens { required } => self.tokens_required = required,
            Change::RevokeTokens => self.tokens.revoke_all(),
            _ => {}
        }
        self.changed = now;
        Ok(Applied::Done)
    }

    fn answer(&mut self, request: &Incoming, moment: &Moment) -> Answer {
        let presented = request.header(TOKEN_HEADER);
        let (token, ttl_left_seconds) = self.tokens.judge(presented, moment.boot_ns);
        let reply = match request.method.as_str() {
            "PUT" => self.put(request, moment),
            "GET" | "HEAD" if request.path == TOKEN_PATH => empty(405).with_header("Allow", "OPTIONS, PUT"),
            "OPTIONS" if request.path == TOKEN_PATH => empty(200).with_header("Allow", "OPTIONS, PUT"),
            "GET" | "HEAD" if moment.token_storm && token != TokenUse::None => {
                self.tokens.revoke(presented.unwrap_or_default());
                page(401)
            }
            "GET" | "HEAD" if !self.admits(token) => page(401),
            "GET" | "HEAD" => {
                let mut reply = self.get(&request.path, moment);
                if token == TokenUse::Valid && reply.status == 200 {
                    reply = reply.with_header(TTL_HEADER, ttl_left_seconds.to_string());
                }
                reply
            }
            // Not documented; the service is read-only, and 405 is what it says elsewhere.
            _ => empty(405).with_header("Allow", "GET, HEAD, OPTIONS"),
        };
        // A HEAD of an absent item was recorded with `Content-Length: 0` and `text/plain`.
        let reply = if request.method == "HEAD" && reply.status == 404 { empty(404) } else { reply };
        let news = reply.status == 200
            && request.path.split_once("/meta-data/").is_some_and(|(_, item)| NEWS_PATHS.contains(&item));
        Answer { outcome: Outcome::Reply(reply), token, news }
    }

    fn server(&self) -> Option<&'static str> {
        Some("EC2ws")
    }

    fn refusal(&self, status: u16) -> Reply {
        page(status)
    }

    fn off(&self) -> Reply {
        empty(403)
    }
}

/// A status without a body, as recorded for 403 (2023), 405 (2020) and a HEAD's 404 (2022).
fn empty(status: u16) -> Reply {
    Reply::new(status, "text/plain", "")
}

/// The XHTML page of an error status. The 404 page is byte for byte the one recorded in 2023 (339 bytes); that the
/// other statuses use the same page with their own name is an assumption.
fn page(status: u16) -> Reply {
    let title = format!("{status} - {}", reason(status));
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>\n\
         <!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Transitional//EN\"\n\
         \t\t \"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd\">\n\
         <html xmlns=\"http://www.w3.org/1999/xhtml\" xml:lang=\"en\" lang=\"en\">\n \
         <head>\n  <title>{title}</title>\n </head>\n \
         <body>\n  <h1>{title}</h1>\n </body>\n</html>\n"
    );
    Reply::new(status, "text/html", body)
}
