//! A process with one member of a group, or several, whose work takes a while and is written to standard output, begin and end.
//!
//! Inputs: settings, orders on standard input (lines of JSON, `fleet_faults::lines`). Outputs: lines. What its work came to it keeps in a
//! file, as a daemon keeps its journal, so that it knows after a crash. It must never begin work before its turn.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use cloudsnooze_fleet::{Local, Member, Notice, Outcome, Settings, Told, Turn};
use fleet_faults::lines::{Act, Line, Order, Said};
use harness::clock;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use uuid::Uuid;

/// Longer lines could be torn by others' in the pipe that all share.
const LONGEST: usize = 4000;

/// Members of a group that do pretended work.
#[derive(Parser, Debug)]
struct Args {
    /// Settings of the members (JSON).
    #[arg(long)]
    settings: String,
    /// Name of the member; with a dash and a number where there are several.
    #[arg(long)]
    name: String,
    /// Directory for what members keep.
    #[arg(long)]
    state: PathBuf,
    /// How many members.
    #[arg(long, default_value_t = 1)]
    count: usize,
    /// How long the step of a member that stays takes, milliseconds.
    #[arg(long, default_value_t = 200)]
    reacts_ms: u64,
    /// Leave the fence out.
    #[arg(long)]
    without_fencing: bool,
}

/// What comes in.
enum Input {
    /// A line of standard input.
    Order(Order),
    /// From the member of this number.
    Told(usize, Told),
    /// Standard input is closed.
    End,
}

/// Hands on what a member is told.
struct Ear(usize, UnboundedSender<Input>);

impl Local for Ear {
    fn told(&self, told: Told) {
        // The process is about to end where nobody takes it.
        let _gone = self.1.send(Input::Told(self.0, told));
    }
}

/// One member with its journal.
#[derive(Clone)]
struct Actor {
    name: String,
    member: Member,
    journal: PathBuf,
    dies: Arc<AtomicBool>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(play(args))
}

async fn play(args: Args) -> Result<()> {
    let (sender, inputs) = unbounded_channel();
    let mut settings: Settings = serde_json::from_str(&args.settings).context("the settings")?;
    settings.unfenced = args.without_fencing;
    let mut actors = Vec::new();
    for number in 0..args.count {
        let name = if args.count == 1 { args.name.clone() } else { format!("{}-{number}", args.name) };
        let journal = args.state.join(&name).join("journal");
        std::fs::create_dir_all(&journal)?;
        let ear = Arc::new(Ear(number, sender.clone()));
        let state = args.state.join(&name).join("fleet");
        std::fs::create_dir_all(&state)?;
        let member = Member::start(settings.clone(), name.clone(), state, ear)?;
        actors.push(Actor { name, member, journal, dies: Arc::default() });
    }
    std::thread::spawn(move || read(&sender));
    actors[0].say(Said::Started);
    serve(&actors, inputs, Duration::from_millis(args.reacts_ms), args.count > 1).await;
    Ok(())
}

/// Reads standard input to its end, on a thread of its own.
fn read(inputs: &UnboundedSender<Input>) {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        match serde_json::from_str(&line) {
            Ok(order) => _ = inputs.send(Input::Order(order)),
            Err(error) => eprintln!("not an order: {error}: {line}"),
        }
    }
    let _ended = inputs.send(Input::End);
}

async fn serve(actors: &[Actor], mut inputs: UnboundedReceiver<Input>, reacts: Duration, is_crowd: bool) {
    let first = &actors[0];
    while let Some(input) = inputs.recv().await {
        match input {
            Input::End => return,
            Input::Order(Order::Leave) => {
                for actor in actors {
                    actor.member.leave().await;
                }
                return;
            }
            Input::Order(Order::DieBeforeAck) => first.dies.store(true, Ordering::Relaxed),
            Input::Order(Order::Status) => status(actors),
            Input::Order(Order::Publish { event }) => {
                first.member.publish(notice(event, "cloud.test.note", Duration::from_secs(3600)));
            }
            Input::Order(Order::Leaving { event, left_ms, work_ms }) => {
                let left = Duration::from_millis(left_ms);
                let deadline = clock::boot_ns() + i64::try_from(left.as_nanos()).unwrap_or(i64::MAX / 2);
                first.member.leaving(notice(event, "cloud.interruption.preemption", left));
                first.say(Said::Notice { event, deadline });
                tokio::spawn(first.clone().take_turn(event, Duration::from_millis(work_ms)));
            }
            Input::Told(number, told) => hear(&actors[number], told, reacts, is_crowd),
        }
    }
}

fn notice(event: Uuid, event_type: &str, left: Duration) -> Notice {
    let detected = clock::wall_ns();
    let deadline = Some(detected + i64::try_from(left.as_nanos()).unwrap_or(0));
    let details =
        json!({ "specversion": "1.0", "type": event_type, "id": event, "data": { "filler": "x".repeat(200) } });
    Notice { event, event_type: event_type.to_owned(), detected, deadline, left, details }
}

fn hear(actor: &Actor, told: Told, reacts: Duration, is_crowd: bool) {
    let said = match told {
        Told::Step { operation, step, event, epoch, .. } => {
            let act = Act { operation, step, epoch, alone: false, event, reacts: true };
            tokio::spawn(actor.clone().work(act, reacts));
            return;
        }
        // What each of a thousand hears is more than anybody wants to know.
        Told::Event(_) | Told::Leaving { .. } | Told::Leader { .. } | Told::Completed { .. } if is_crowd => return,
        Told::Event(heard) => Said::Heard { event: heard.event, from: heard.member, replayed: heard.replayed },
        Told::Leaving { event, member, .. } => Said::Leaving { event, from: member },
        Told::Leader { name, epoch } => Said::Leader { name, epoch },
        Told::Completed { operation, epoch, missing, .. } => {
            Said::Completed { operation, epoch, missing: missing.len() }
        }
        Told::Alone { event, why } => Said::Alone { event, why },
        Told::Refused { epoch, highest } => Said::Refused { epoch, highest },
        Told::Lost { member, .. } => Said::Lost { from: member },
        Told::Connected(is_up) if !is_crowd => Said::Connected { is_up },
        _ => return,
    };
    actor.say(said);
}

fn status(actors: &[Actor]) {
    let all: Vec<_> = actors.iter().map(|actor| actor.member.status()).collect();
    let connected = all.iter().filter(|status| status.connected).count();
    let (known, leads) = all.iter().map(|status| (status.members.len(), status.leads)).max().unwrap_or_default();
    let status = json!({
        "leader": all[0].leader, "epoch": all[0].epoch, "server": all[0].server, "counts": all[0].counts,
        "operation": all[0].operation, "problem": all[0].problems.last(),
    });
    actors[0].say(Said::Status { connected, of: all.len(), known, leads, status });
}

impl Actor {
    fn say(&self, said: Said) {
        let mut line = Line { at: clock::boot_ns(), member: self.name.clone(), said };
        if let Said::Status { status, .. } = &mut line.said
            && status.to_string().len() > LONGEST - 300
        {
            *status = Value::Null;
        }
        let mut text = line.text();
        text.truncate(LONGEST);
        text.push('\n');
        // Nobody listens any more: the process is about to end.
        let _lost = std::io::stdout().lock().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush());
    }

    async fn take_turn(self, event: Uuid, work: Duration) {
        match self.member.turn(event).await {
            Turn::Go { operation, step, epoch } => {
                self.work(Act { operation, step, epoch, alone: false, event, reacts: false }, work).await;
            }
            Turn::Alone { why } => {
                self.say(Said::Alone { event, why });
                let act = Act { operation: String::new(), step: 0, epoch: 0, alone: true, event, reacts: false };
                self.work(act, work).await;
            }
            Turn::Begun { over, .. } => {
                let ended = self.ended(event).exists();
                self.say(Said::Again { event, ended });
                if over.is_none() {
                    // A daemon goes on where its journal ends; here nothing is left to do.
                    self.member.done(event, Outcome { ok: ended, seconds: work.as_secs_f64(), error: None });
                }
            }
            Turn::Withdrawn => self.say(Said::Trouble { text: format!("{event}: withdrawn, though nobody did") }),
        }
    }

    /// Pretends to work, and answers.
    async fn work(self, act: Act, work: Duration) {
        let event = act.event;
        self.say(Said::Begin(act.clone()));
        tokio::time::sleep(work).await;
        if let Err(error) = std::fs::write(self.ended(event), "") {
            self.say(Said::Trouble { text: format!("{}: {error}", self.journal.display()) });
        }
        self.say(Said::End(act));
        if self.dies.load(Ordering::Relaxed) {
            // Cannot fail, and nothing comes after it.
            let _killed = kill(Pid::this(), Signal::SIGKILL);
        }
        self.member.done(event, Outcome { ok: true, seconds: work.as_secs_f64(), error: None });
    }

    /// The file that says that the work for an event has ended.
    fn ended(&self, event: Uuid) -> PathBuf {
        self.journal.join(event.to_string())
    }
}
