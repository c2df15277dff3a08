//! An ordinary client that writes to a database, row by row, and counts what the server acknowledged.
//!
//! Responsibilities: insert rows until refused or stopped. Inputs: a [`MariaDb`], an account. Outputs: the number of
//! acknowledged rows, the reason of the end. It must never count a row that the server did not acknowledge.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::http::lock;
use crate::mariadb::MariaDb;
use crate::program;

/// Between two rows: fast enough that every moment has writes, slow enough to leave the machine to others.
const PAUSE: Duration = Duration::from_millis(5);

/// The table it writes to, made by [`Writer::start`].
pub const TABLE: &str = "ledger";

/// A running writer. Dropping it stops it.
pub struct Writer {
    acknowledged: Arc<AtomicU64>,
    ended: Arc<Mutex<Option<String>>>,
    client: Arc<Mutex<Child>>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Makes the table [`TABLE`] in `database` and inserts rows into it as `user`, on a thread of its own. `on_end` is
    /// called there, once, with the reason, when the writer ends by itself.
    ///
    /// # Errors
    /// When the table cannot be made or the client cannot be started.
    pub fn start(
        server: &MariaDb,
        (user, password, database): (&str, &str, &str),
        on_end: impl FnOnce(&str) + Send + 'static,
    ) -> Result<Self, String> {
        let table = format!(
            "CREATE TABLE IF NOT EXISTS {TABLE} \
             (id BIGINT AUTO_INCREMENT PRIMARY KEY, payload VARCHAR(1024) NOT NULL) ENGINE=InnoDB"
        );
        server.query(&format!("USE {database}; {table}"))?;
        let mut client = server.client_of(user, password)?;
        client.args(["--unbuffered", database]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = client.spawn().map_err(|error| format!("cannot start the mariadb client: {error}"))?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(input), Some(output), Some(errors)) = pipes else {
            program::kill_and_reap(&mut child);
            return Err("the mariadb client has no pipes".to_owned());
        };
        let client = Arc::new(Mutex::new(child));
        let (acknowledged, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(None)));
        let (stop, stopped) = mpsc::channel();
        let (counting, ending) = (Arc::clone(&acknowledged), Arc::clone(&ended));
        let thread = std::thread::spawn(move || {
            write_rows(input, BufReader::new(output), &stopped, &counting);
            let reason = last_words(errors);
            if stopped.try_recv() != Err(TryRecvError::Disconnected) {
                on_end(&reason);
                *lock(&ending) = Some(reason);
            }
        });
        Ok(Self { acknowledged, ended, client, stop: Some(stop), thread: Some(thread) })
    }

    /// Rows that the server has acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Acquire)
    }

    /// Why it ended by itself: what the server said. `None` while it writes.
    pub fn end(&self) -> Option<String> {
        lock(&self.ended).clone()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.stop.take());
        // Killed, because it may be waiting for a server that never answers.
        program::kill_and_reap(&mut lock(&self.client));
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

/// Writes until the client is gone or it is asked to stop. The client ends when its input does.
fn write_rows(
    mut input: ChildStdin,
    mut output: BufReader<ChildStdout>,
    stopped: &Receiver<()>,
    acknowledged: &AtomicU64,
) {
    let row = format!("INSERT INTO {TABLE} (payload) VALUES (REPEAT('w', 512)); SELECT LAST_INSERT_ID();\n");
    let mut line = String::new();
    loop {
        let sent = input.write_all(row.as_bytes()).and_then(|()| input.flush());
        line.clear();
        // The id comes only after the server has acknowledged the INSERT before it.
        if sent.is_err() || !matches!(output.read_line(&mut line), Ok(1..)) {
            return;
        }
        acknowledged.fetch_add(1, Ordering::AcqRel);
        if stopped.recv_timeout(PAUSE) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// What the client said until its end.
fn last_words(mut errors: ChildStderr) -> String {
    let mut text = Vec::new();
    // An error here leaves the text as far as it came.
    let _read = errors.read_to_end(&mut text);
    String::from_utf8_lossy(&text).trim().to_owned()
}
