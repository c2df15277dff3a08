//! A real application to be checkpointed.
//!
//! Responsibilities: keep a state that grows, write it to a file when asked over HTTP, tell how far that is; misbehave as
//! applications do. Inputs: HTTP requests, a [`Mode`]. Outputs: checkpoint files, replies. It must never say that a
//! checkpoint is done before the file is on the disk.
//!
//! `POST /checkpoint` with a JSON object answers 202 with `checkpoint_id` and `status_url`; `GET /checkpoint/ID` answers
//! `in_progress`, then `done` with the file's size and SHA-256. A POST that repeats an `Idempotency-Key` gets the
//! checkpoint it got before. The same is served below `/api`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::http::{Answer, HttpServer, Received, lock};

/// How often the state grows.
const TICK: Duration = Duration::from_millis(1);

/// Lines in a checkpoint file: about 1 MiB, so that writing it is work.
const FILE_LINES: u64 = 32_768;

/// How the application answers a POST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// 202, and the checkpoint is done so much later.
    Takes(Duration),
    /// 200 when the checkpoint is done.
    Immediate,
    /// 500, and nothing is written.
    Broken,
    /// 202, but the checkpoint never gets done.
    NeverDone,
    /// No answer to any request; the connection stays open.
    Hang,
    /// Connections are refused.
    Refuse,
}

/// A checkpoint that is on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// The file.
    pub file: PathBuf,
    /// Its length, bytes.
    pub size: u64,
    /// SHA-256 of its content, lower-case hexadecimal.
    pub sha256: String,
    /// The state's counter when it was saved.
    pub counter: u64,
}

impl Saved {
    /// Reads the file again and compares it with what was told.
    ///
    /// # Errors
    /// What differs, or why it cannot be read.
    pub fn check_file(&self) -> Result<(), String> {
        let content = std::fs::read(&self.file).map_err(|error| format!("{}: {error}", self.file.display()))?;
        let found = sha256(&content);
        if found != self.sha256 {
            return Err(format!("{}: SHA-256 is {found}, told was {}", self.file.display(), self.sha256));
        }
        let first = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let head: Value = serde_json::from_slice(first).map_err(|error| format!("not a checkpoint: {error}"))?;
        if head["counter"] != json!(self.counter) {
            return Err(format!("the file's state is {head}, told was {}", self.counter));
        }
        Ok(())
    }
}

/// One checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// As told to the client.
    pub id: String,
    /// `None` while it is in progress; why it failed, if it did.
    pub outcome: Option<Result<Saved, String>>,
}

struct State {
    mode: Mode,
    counter: u64,
    checkpoints: Vec<Checkpoint>,
    /// Idempotency key to position in `checkpoints`.
    keys: BTreeMap<String, usize>,
    workers: Vec<JoinHandle<()>>,
    is_stopping: bool,
}

struct Shared {
    directory: PathBuf,
    state: Mutex<State>,
    /// Signalled when the application stops.
    stopping: Condvar,
}

impl Shared {
    /// Waits for `pause`; true when the application stops meanwhile.
    fn stops_within(&self, pause: Duration) -> bool {
        let waited = self.stopping.wait_timeout_while(lock(&self.state), pause, |state| !state.is_stopping);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_stopping
    }
}

/// A running application. Its methods may be called from any thread. Dropping it stops it; its files stay.
pub struct App {
    server: HttpServer,
    shared: Arc<Shared>,
    grower: Option<JoinHandle<()>>,
}

impl App {
    /// Starts on a free port of 127.0.0.1; checkpoints are written into `directory`, which must exist.
    ///
    /// # Errors
    /// When no port or no thread is to be had.
    pub fn start(directory: &Path, mode: Mode) -> Result<Self, String> {
        let state = State {
            mode: Mode::Immediate,
            counter: 0,
            checkpoints: Vec::new(),
            keys: BTreeMap::new(),
            workers: Vec::new(),
            is_stopping: false,
        };
        let (state, stopping) = (Mutex::new(state), Condvar::new());
        let shared = Arc::new(Shared { directory: directory.to_owned(), state, stopping });
        let answering = Arc::clone(&shared);
        let server = HttpServer::start(move |request| answer(&answering, request))?;
        let growing = Arc::clone(&shared);
        let grower = std::thread::Builder::new().name("application".to_owned()).spawn(move || {
            while !growing.stops_within(TICK) {
                lock(&growing.state).counter += 1;
            }
        });
        let grower = Some(grower.map_err(|error| format!("cannot start the application's thread: {error}"))?);
        let app = Self { server, shared, grower };
        app.set_mode(mode)?;
        Ok(app)
    }

    /// Changes how it answers from now on. Checkpoints in progress go on as they began.
    ///
    /// # Errors
    /// When it refused connections and its port was taken by another program meanwhile.
    pub fn set_mode(&self, mode: Mode) -> Result<(), String> {
        lock(&self.shared.state).mode = mode;
        if mode == Mode::Refuse {
            self.server.refuse();
            return Ok(());
        }
        self.server.accept()
    }

    /// Where to POST to.
    pub fn checkpoint_url(&self) -> String {
        self.server.url("/checkpoint")
    }

    /// `http://127.0.0.1:PORT` and `path`.
    pub fn url(&self, path: &str) -> String {
        self.server.url(path)
    }

    /// Everything it was asked so far, oldest first.
    pub fn requests(&self) -> Vec<Received> {
        self.server.requests()
    }

    /// The state's counter.
    pub fn counter(&self) -> u64 {
        lock(&self.shared.state).counter
    }

    /// All checkpoints, oldest first.
    pub fn checkpoints(&self) -> Vec<Checkpoint> {
        lock(&self.shared.state).checkpoints.clone()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.server.refuse();
        let workers = {
            let mut state = lock(&self.shared.state);
            state.is_stopping = true;
            std::mem::take(&mut state.workers)
        };
        self.shared.stopping.notify_all();
        for thread in workers.into_iter().chain(self.grower.take()) {
            let _ended = thread.join();
        }
    }
}

/// The SHA-256 of a text or file content, lower-case hexadecimal.
pub fn sha256(content: impl AsRef<[u8]>) -> String {
    Sha256::digest(content).iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}

fn answer(shared: &Arc<Shared>, request: &Received) -> Answer {
    let mode = lock(&shared.state).mode;
    if mode == Mode::Hang {
        return Answer::Hold;
    }
    let path = request.path.strip_prefix("/api").unwrap_or(&request.path);
    match (request.method.as_str(), path.split_once("/checkpoint")) {
        ("POST", Some(("", ""))) if !request.json().is_some_and(|body| body.is_object()) => {
            Answer::json(400, &json!({"error": "the body must be a JSON object"}))
        }
        ("POST", Some(("", ""))) => begin(shared, mode, request.header("Idempotency-Key")),
        ("GET", Some(("", rest))) => status(shared, rest.trim_start_matches('/')),
        _ => Answer::json(404, &json!({"error": "there is only /checkpoint"})),
    }
}

fn begin(shared: &Arc<Shared>, mode: Mode, key: Option<&str>) -> Answer {
    if mode == Mode::Broken {
        return Answer::json(500, &json!({"error": "disk quota exceeded"}));
    }
    let index = {
        let mut state = lock(&shared.state);
        if let Some(index) = key.and_then(|key| state.keys.get(key)) {
            return told(&state.checkpoints[*index], 200);
        }
        let index = state.checkpoints.len();
        state.checkpoints.push(Checkpoint { id: format!("cp-{}", index + 1), outcome: None });
        if let Some(key) = key {
            state.keys.insert(key.to_owned(), index);
        }
        index
    };
    match mode {
        Mode::Immediate => save(shared, index),
        Mode::Takes(duration) => {
            let working = Arc::clone(shared);
            let worker = std::thread::spawn(move || {
                if !working.stops_within(duration) {
                    save(&working, index);
                }
            });
            lock(&shared.state).workers.push(worker);
        }
        Mode::NeverDone | Mode::Broken | Mode::Hang | Mode::Refuse => {}
    }
    let state = lock(&shared.state);
    let checkpoint = &state.checkpoints[index];
    told(checkpoint, if checkpoint.outcome.is_some() { 200 } else { 202 })
}

fn status(shared: &Shared, id: &str) -> Answer {
    let state = lock(&shared.state);
    match state.checkpoints.iter().find(|checkpoint| checkpoint.id == id) {
        Some(checkpoint) => told(checkpoint, 200),
        None => Answer::json(404, &json!({"error": "no such checkpoint"})),
    }
}

/// What a client is told about a checkpoint.
fn told(checkpoint: &Checkpoint, status: u16) -> Answer {
    let status_url = format!("/checkpoint/{}", checkpoint.id);
    let mut body = json!({"checkpoint_id": checkpoint.id, "status_url": status_url});
    match &checkpoint.outcome {
        None => body["status"] = json!("in_progress"),
        Some(Err(error)) => {
            body["status"] = json!("failed");
            body["error"] = json!(error);
        }
        Some(Ok(saved)) => {
            body["status"] = json!("done");
            body["durable"] = json!(true);
            body["size"] = json!(saved.size);
            body["sha256"] = json!(saved.sha256);
            body["counter"] = json!(saved.counter);
        }
    }
    Answer::json(status, &body).with_header("Location", status_url)
}

/// Writes the state as it is now, and notes the outcome.
fn save(shared: &Shared, index: usize) {
    let (id, counter) = {
        let state = lock(&shared.state);
        (state.checkpoints[index].id.clone(), state.counter)
    };
    let saved =
        write(&shared.directory, &id, counter).map_err(|error| format!("cannot write checkpoint {id}: {error}"));
    lock(&shared.state).checkpoints[index].outcome = Some(saved);
}

fn write(directory: &Path, id: &str, counter: u64) -> std::io::Result<Saved> {
    let mut content = json!({"counter": counter}).to_string();
    for line in 0..FILE_LINES {
        // Writing to a String cannot fail.
        let _written = write!(content, "\n{:016x} {line:014}", counter.wrapping_mul(line + 1));
    }
    let path = directory.join(format!("{id}.state"));
    let mut file = File::create(&path)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    // The file's name is durable only when its directory is.
    File::open(directory)?.sync_all()?;
    Ok(Saved { file: path, size: content.len() as u64, sha256: sha256(&content), counter })
}
