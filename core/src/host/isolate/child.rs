//! The life of `snooze-plugin-host`: takes its order, gives up what it does not need, loads the library, serves calls.
//!
//! Inputs: the socket that is its standard input. Outputs: an exit status; everything else goes through the exchange.
//! Threads: the main one makes the instance and handles events; one waits for cancellations and for the daemon's end. The
//! library is loaded by the same code as in the daemon, after the privileges are gone. Must never outlive the daemon.

use super::exchange::{Exchange, Kind, Request};
use super::greeting::{self, Depth, Order, Started};
use crate::host::delivery::{CallCell, approach, stock_up};
use crate::host::load;
use crate::host::native::Native;
use crate::host::refusal::Refusal;
use crate::host::schema;
use crate::host::services::Context;
use crate::host::trust::Trusted;
use crate::log_ring::LogRing;
use crate::sys::{confine, memory, prefetch, process, sched};
use arc_swap::ArcSwapOption;
use cloudsnooze_abi as abi;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Real-time priority of the thread that waits for cancellations: the lowest there is.
const ATTEND_PRIORITY: u8 = 1;

/// What the process was given.
struct Given {
    socket: UnixStream,
    exchange: Exchange,
    /// Counters (eventfd(2)): the daemon is to listen, and this side is to.
    words: File,
    bell: File,
    library: File,
    order: Order,
}

/// What its threads share.
struct Seat {
    exchange: Exchange,
    /// Counters (eventfd(2)): the daemon is to listen, and this side is to.
    words: File,
    bell: File,
    /// The call in progress.
    call: ArcSwapOption<CallCell>,
}

/// Runs the program. Gives its exit status: 0 when it was told to end, 1 when it could not begin.
pub fn main() -> i32 {
    match take_order() {
        Ok(given) => serve(given),
        Err(error) => {
            let _ = writeln!(
                io::stderr(),
                "snooze-plugin-host: {error}. It runs one plugin for snoozed, which starts it; there is nothing to do by hand."
            );
            1
        }
    }
}

fn take_order() -> io::Result<Given> {
    let socket = process::socket_of_stdin()?;
    // Also when nobody reads the socket any more: the daemon may be killed at any time.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    // As on the daemon's own threads that call plugins. The end comes from the daemon, not from a terminal.
    sched::block_all_signals();
    let _ = prctl::set_name(c"snooze-plugin");
    let [memory, words, bell, library] = process::receive_descriptors(&socket)?;
    let order = greeting::receive_order(&socket)?;
    if order.version != env!("CARGO_PKG_VERSION") {
        let text = format!("this is version {}, the daemon's is {}", env!("CARGO_PKG_VERSION"), order.version);
        return Err(io::Error::other(text));
    }
    Ok(Given {
        socket,
        exchange: Exchange::open(memory)?,
        words: File::from(words),
        bell: File::from(bell),
        library: File::from(library),
        order,
    })
}

fn serve(given: Given) -> i32 {
    let Given { socket, exchange, words, bell, library, order } = given;
    let seat: &'static Seat = Box::leak(Box::new(Seat { exchange, words, bell, call: ArcSwapOption::empty() }));
    let made = confine_and_make(&order, library, seat);
    let reply = made.as_ref().map(|(_, _, started)| started.clone()).map_err(Clone::clone);
    let said = greeting::send(&socket, &reply);
    let (Ok((native, context, _)), Ok(())) = (made, said) else { return 1 };
    let Some(native) = native else { return 0 };
    let native: &'static Native = Box::leak(Box::new(native));
    let attendant = std::thread::Builder::new().name("snooze-attend".into());
    if attendant.spawn(move || seat.attend(native, &socket)).is_err() {
        return 1;
    }
    // Nobody subscribes any more; read now, because they stand behind a lock.
    let tokens: Vec<usize> = context.subscriptions().iter().map(|subscribed| subscribed.handler).collect();
    let mut turn = 0;
    loop {
        turn = seat.exchange.wait_turn(turn, || {
            // A round of polls begins: an event may come.
            prefetch::hot_code();
            approach();
            native.approach();
        });
        // Other work had the caches meanwhile.
        approach();
        native.approach();
        let token = |number: u64| {
            let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
            index.and_then(|index| tokens.get(index).copied()).unwrap_or(0)
        };
        let request = seat.exchange.take_request(token);
        if request.kind == Kind::Stop {
            native.deactivate();
            native.destroy();
            return 0;
        }
        seat.handle(native, turn, &request);
    }
}

type Made = (Option<Native>, &'static Context, Started);

/// Nothing of the library runs before the process is confined.
fn confine_and_make(order: &Order, library: File, seat: &'static Seat) -> Result<Made, Refusal> {
    let writable = order.writable.as_ref().map(|directories| {
        let own = [order.state_dir.as_path(), Path::new("/dev")];
        let own = own.into_iter().filter(|place| place.is_dir()).map(PathBuf::from);
        directories.iter().cloned().chain(own).collect::<Vec<_>>()
    });
    if order.account.is_some() {
        // For `attend`: another user may not ask for it without a limit that allows it.
        let priority = u64::from(ATTEND_PRIORITY);
        let _ = setrlimit(Resource::RLIMIT_RTPRIO, priority, priority);
    }
    let confinement = confine::confine(order.account.as_ref(), writable.as_deref()).map_err(Refusal::Process)?;
    if order.lock_memory {
        // As the user that it has become: what was locked by root before would count against that user's limit.
        memory::lock_all();
    }
    memory::touch_stack();
    let loaded = load::load(trusted(order, library)?)?;
    let class = loaded.class(&order.plugin)?;
    if let Some(text) = load::config_schema(class) {
        schema::check(&text, &order.config)?;
    }
    let line = move |level: u32, text: &str| seat.say(|exchange| exchange.say_line(level, text));
    let progress =
        move |call: u64, permille: u32, text: &str| seat.say(|exchange| exchange.say_progress(call, permille, text));
    let log = Arc::new(LogRing::passing_on(order.log_level, Box::new(line)));
    let context = Context::leak_relayed(&order.instance, log, Some(Box::new(progress)));
    let mut started = Started { version: loaded.info(class).version, confinement, ..Started::default() };
    if order.depth == Depth::Check {
        return Ok((None, context, started));
    }
    let native = Native::create(class, context, &order.instance, &order.config.to_string(), &order.state_dir)?;
    if order.depth == Depth::Run
        && let Err(refusal) = native.activate()
    {
        native.destroy();
        return Err(refusal);
    }
    started.verify = native.can_verify();
    started.abilities = native.abilities();
    started.subscriptions = native.subscriptions().into_iter().map(|s| (s.kinds, s.priority, s.budget_us)).collect();
    if order.depth == Depth::Rehearse {
        native.destroy();
        return Ok((None, context, started));
    }
    // On the thread that will handle events, before it is real-time.
    native.warm_up();
    Ok((Some(native), context, started))
}

/// The file as the daemon checked it: the descriptor is the daemon's own.
fn trusted(order: &Order, file: File) -> Result<Trusted, Refusal> {
    let io = |error: io::Error| Refusal::Io(error.to_string());
    let length = file.metadata().map_err(io)?.len();
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    // Not from where the daemon has read to: the position is shared.
    file.read_exact_at(&mut bytes, 0).map_err(io)?;
    let Order { path, sha256, identity, .. } = order.clone();
    Ok(Trusted { path, file, bytes, sha256, identity })
}

impl Seat {
    fn handle(&self, native: &Native, turn: u32, request: &Request) {
        let Request { kind, call, event, grace } = request;
        self.call.store(Some(Arc::clone(call)));
        // Of a cancellation that came before the call was known here.
        self.look_for_cancellation();
        let answer = match kind {
            Kind::Verify => native.verify(event, call),
            _ => Some(native.handle(event, call, *grace)),
        };
        self.call.store(None);
        if !self.exchange.answer(turn, answer.as_ref()) {
            self.say(|exchange| exchange.say_line(abi::SNOOZE_LOG_WARNING, "the result is too long; it is left out"));
        }
        // For the next one.
        stock_up();
    }

    /// The call that was just cancelled, if it is the one in progress.
    fn look_for_cancellation(&self) -> Option<(Arc<CallCell>, u32)> {
        let (id, reason) = self.exchange.cancelled();
        let call = self.call.load_full().filter(|call| call.id() == id && reason != abi::SNOOZE_CANCEL_NONE)?;
        call.cancel(reason).then_some((call, reason))
    }

    fn say(&self, word: impl FnOnce(&Exchange) -> bool) {
        word(&self.exchange);
        // Full only when the daemon has long been called.
        let _ = (&self.words).write(&1u64.to_ne_bytes());
    }

    /// Waits for cancellations; ends the process when the daemon is gone.
    fn attend(&self, native: &'static Native, socket: &UnixStream) {
        // Busy threads of normal priority must not keep a cancellation waiting; what it starts is of normal priority again.
        sched::raise_current_thread(sched::Class::Fifo, ATTEND_PRIORITY);
        loop {
            let mut fds =
                [PollFd::new(self.bell.as_fd(), PollFlags::POLLIN), PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
            let polled = poll(&mut fds, PollTimeout::NONE);
            if polled.is_ok() && fds[1].any().unwrap_or(true) {
                // The daemon says nothing after its order: this is its end.
                crate::sys::leave(1);
            }
            let _ = (&self.bell).read(&mut [0; 8]);
            if let Some((call, reason)) = self.look_for_cancellation() {
                // On a thread of its own, as in the daemon: who hangs in on_cancel must not keep the next from being told.
                let told = std::thread::Builder::new().name("snooze-cancel".into());
                let _ = told.spawn(move || native.cancel(&call, reason));
            }
        }
    }
}
