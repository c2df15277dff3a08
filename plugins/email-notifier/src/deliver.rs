//! One message to its recipients, within the time there is.
//!
//! Inputs: a message, who has not got it yet, a connection that may be there already. Outputs: who has it, with the server's
//! words. Must never call a message taken for which the server did not answer with a yes after its last byte, nor send it again
//! to somebody for whom it did.

use crate::dialog::{Dialog, Patience, SLICE};
use crate::fault::{Fault, words};
use crate::server::Server;
use cloudsnooze_plugin::keeper::Keeper;
use cloudsnooze_plugin::pause::growing;
use lettre::address::Address;
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::{Extension, MailBodyParameter, MailParameter};
use lettre::transport::smtp::response::Response;
use serde_json::{Map, Value, json};
use std::thread;
use std::time::Duration;

/// Pause after the first attempt that failed; doubled with each. Greylisting servers want minutes at worst.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Attempts at a server that cannot be reached at all.
const MAX_CONNECTS: u32 = 3;

/// What is sent.
pub(crate) struct Mailing<'m> {
    pub(crate) from: &'m Address,
    pub(crate) bytes: &'m [u8],
    pub(crate) attempts: u32,
}

/// What became of it so far.
#[derive(Default)]
pub(crate) struct Progress {
    /// Who has not got it, and may yet.
    pub(crate) waiting: Vec<Address>,
    /// For whom the server took it in this call.
    pub(crate) accepted: Vec<Address>,
    /// Whom the server refused for good, or last for now, and its words.
    pub(crate) refused: Vec<(Address, Fault)>,
    /// The server's words when it took it.
    pub(crate) reply: Option<Response>,
    /// Whether the server that took it runs on this machine.
    pub(crate) is_local: bool,
    pub(crate) is_encrypted: bool,
    pub(crate) attempts: u32,
    /// `kept` when the connection was there before the call.
    pub(crate) connection: &'static str,
}

impl Progress {
    /// For the report.
    pub(crate) fn evidence(&self) -> Value {
        let names = |list: &[Address]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let refused: Map<String, Value> =
            self.refused.iter().map(|(to, fault)| (to.to_string(), json!(fault.to_string()))).collect();
        json!({
            "accepted": names(&self.accepted), "refused": refused, "waiting": names(&self.waiting),
            "status": self.reply.as_ref().map(|reply| u16::from(reply.code())), "reply": self.reply.as_ref().map(words),
            "attempts": self.attempts, "connection": self.connection, "encrypted": self.is_encrypted,
        })
    }
}

/// Sends the message until everybody has it, or nothing more can be done. What it managed is in `progress` in any case.
pub(crate) fn deliver(
    keeper: &Keeper<Server>,
    mailing: &Mailing<'_>,
    progress: &mut Progress,
    patience: Patience<'_>,
) -> Result<(), Fault> {
    let mut lease = keeper.lease();
    let mut dialog = lease.take();
    let mut was_kept = dialog.is_some();
    progress.connection = if was_kept { "kept" } else { "fresh" };
    let mut connects = 0;
    loop {
        patience.left()?;
        progress.attempts += 1;
        let result = match &mut dialog {
            Some(dialog) => transaction(dialog, mailing, progress, patience),
            None => {
                connects += 1;
                let made = keeper.connector().connect(patience);
                made.and_then(|made| transaction(dialog.insert(made), mailing, progress, patience))
            }
        };
        let fault = match result {
            Ok(()) if progress.waiting.is_empty() => {
                if let Some(dialog) = dialog {
                    lease.put(dialog);
                }
                return progress.refused.first().map_or(Ok(()), |(_, fault)| Err(fault.clone()));
            }
            Ok(()) => progress.refused.iter().find(|(_, f)| f.may_pass()).map_or(Fault::OutOfTime, |(_, f)| f.clone()),
            Err(fault) => fault,
        };
        // A kept connection may have been closed at the far end meanwhile, which says nothing about the server.
        if was_kept && matches!(fault, Fault::Broken(_) | Fault::Refused { code: 421, .. }) {
            (dialog, was_kept, progress.connection) = (None, false, "fresh");
            progress.attempts -= 1;
            continue;
        }
        was_kept = false;
        dialog = dialog.take().filter(|_| matches!(fault, Fault::Refused { code, .. } if code != 421));
        if let Some(open) = &mut dialog
            && open.must("RSET", Rset, patience).is_err()
        {
            dialog = None;
        }
        let is_hopeless = !fault.may_pass() || (matches!(fault, Fault::Unreachable(_)) && connects >= MAX_CONNECTS);
        let pause = growing(progress.attempts, FIRST_PAUSE, LONGEST_PAUSE);
        if is_hopeless || progress.attempts >= mailing.attempts || pause >= patience.left()? {
            if let Some(dialog) = dialog {
                lease.put(dialog);
            }
            return Err(fault);
        }
        wait(pause, patience)?;
    }
}

/// One message, to all who wait for it.
fn transaction(
    dialog: &mut Dialog,
    mailing: &Mailing<'_>,
    progress: &mut Progress,
    patience: Patience<'_>,
) -> Result<(), Fault> {
    progress.is_encrypted = dialog.is_encrypted();
    let parameters = parameters(dialog, mailing, &progress.waiting)?;
    dialog.must("MAIL FROM", Mail::new(Some(mailing.from.clone()), parameters), patience)?;
    let (mut taken, mut still_waiting) = (Vec::new(), Vec::new());
    progress.refused.retain(|(_, fault)| !fault.may_pass());
    for to in &progress.waiting {
        let reply = dialog.ask(Rcpt::new(to.clone(), Vec::new()), patience)?;
        if reply.is_positive() {
            taken.push(to.clone());
            continue;
        }
        let fault = Fault::refused("RCPT TO", &reply);
        if fault.may_pass() {
            still_waiting.push(to.clone());
        }
        progress.refused.push((to.clone(), fault));
    }
    if taken.is_empty() {
        progress.waiting = still_waiting;
        // Leaves the connection in order for the next attempt, and for the next call.
        return dialog.must("RSET", Rset, patience).map(drop);
    }
    let ready = dialog.must("DATA", Data, patience)?;
    if !ready.has_code(354) {
        return Err(Fault::Unfit("it does not wait for the message".to_owned()));
    }
    let reply = dialog.message(mailing.bytes, patience)?;
    if !reply.is_positive() {
        return Err(Fault::refused("the message", &reply));
    }
    progress.accepted.append(&mut taken);
    progress.waiting = still_waiting;
    progress.reply = Some(reply);
    progress.is_local = dialog.is_local;
    Ok(())
}

/// What the server has to know of the message, and whether it can take it at all.
fn parameters(dialog: &Dialog, mailing: &Mailing<'_>, to: &[Address]) -> Result<Vec<MailParameter>, Fault> {
    let mut parameters = Vec::new();
    let is_plain = |address: &Address| AsRef::<str>::as_ref(address).is_ascii();
    if !is_plain(mailing.from) || !to.iter().all(is_plain) {
        if !dialog.supports(Extension::SmtpUtfEight) {
            return Err(Fault::Unfit("it takes only addresses of plain ASCII letters".to_owned()));
        }
        parameters.push(MailParameter::SmtpUtfEight);
    }
    if !mailing.bytes.is_ascii() {
        if !dialog.supports(Extension::EightBitMime) {
            return Err(Fault::Unfit("it takes only messages of plain ASCII letters".to_owned()));
        }
        parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    Ok(parameters)
}

fn wait(pause: Duration, patience: Patience<'_>) -> Result<(), Fault> {
    let mut rest = pause;
    while !rest.is_zero() {
        patience.left()?;
        let slice = rest.min(SLICE);
        thread::sleep(slice);
        rest -= slice;
    }
    Ok(())
}
