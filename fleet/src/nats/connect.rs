//! The connection: where to, as whom, how quickly a dead one is noticed.
//!
//! Responsibilities: read secrets that only their owner can read, connect, try again until a server answers. Inputs: settings.
//! Outputs: a connection and what is heard on it. It must never log a secret, nor use one that others can read.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use async_nats::{ConnectOptions, Event, ServerAddr};
use tokio::sync::mpsc;

use super::{CALL, Nats, NatsWatch};
use crate::settings::Settings;
use crate::wire::Names;

/// A server is asked for a sign of life as often; after three without an answer the connection is given up.
const PING: Duration = Duration::from_secs(1);
/// How long a server may take to accept a connection.
const ACCEPT: Duration = Duration::from_secs(2);
/// The most between two tries to connect. Members spread over it, as all of them lose their connections at once.
const MOST_PAUSE: Duration = Duration::from_secs(2);
/// Messages that wait: to be sent, and on each subject to be taken. The library drops what is beyond, and tells.
const TO_SEND: usize = 256;
const TO_TAKE: usize = 2048;
/// What is set aside to read into; it grows where a message is longer.
const READ: u16 = 16 << 10;
/// The most bytes of a secret.
const MOST_SECRET: u64 = 64 << 10;

/// Who this member is to the servers.
#[derive(Clone)]
pub(crate) enum Secret {
    /// Nobody in particular.
    None,
    /// The content of a credentials file.
    Credentials(String),
    /// An NKey seed.
    Seed(String),
}

/// Reads the secret that the settings name.
///
/// # Errors
/// A sentence with the file, when it cannot be read, or others may read it.
pub(crate) fn secret_of(settings: &Settings) -> Result<Secret, String> {
    match (&settings.credentials, &settings.nkey_file) {
        (Some(path), _) => read_secret("credentials", path).map(Secret::Credentials),
        (None, Some(path)) => read_secret("nkey_file", path).map(|seed| Secret::Seed(seed.trim().to_owned())),
        (None, None) => Ok(Secret::None),
    }
}

fn read_secret(field: &str, path: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("`{field}`: {} cannot be read: {error}", path.display());
    let metadata = std::fs::metadata(path).map_err(failed)?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let path = path.display();
        return Err(format!(
            "`{field}`: {path} has mode {mode:03o}, so others may use it; set it to 0600 (chmod 600 {path})"
        ));
    }
    if metadata.len() > MOST_SECRET {
        return Err(format!("`{field}`: {} has {} bytes, which no secret has", path.display(), metadata.len()));
    }
    std::fs::read_to_string(path).map_err(failed)
}

/// How to connect as whom.
///
/// # Errors
/// The credentials are none, as a sentence.
pub(crate) fn options(settings: &Settings, secret: &Secret, name: &str) -> Result<ConnectOptions, String> {
    let options = ConnectOptions::new()
        .name(format!("cloudsnooze {name}"))
        .ping_interval(PING)
        .connection_timeout(ACCEPT)
        .request_timeout(Some(CALL))
        .subscription_capacity(TO_TAKE)
        .client_capacity(TO_SEND)
        .read_buffer_capacity(READ)
        .require_tls(settings.servers.iter().any(|server| server.starts_with("tls://")))
        .reconnect_delay_callback(pause);
    let mut options = match secret {
        Secret::None => options,
        Secret::Seed(seed) => options.nkey(seed.clone()),
        Secret::Credentials(text) => {
            options.credentials(text).map_err(|error| format!("`credentials` holds no credentials: {error}"))?
        }
    };
    if let Some(tls) = &settings.tls {
        if let Some(ca) = &tls.ca {
            options = options.add_root_certificates(ca.clone());
        }
        if let (Some(certificate), Some(key)) = (&tls.certificate, &tls.key) {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
    }
    Ok(options)
}

/// The pause before a try: none before the first of each server, then twice as long each time. Up to as long again is added by chance, or a
/// thousand members would come back in the same millisecond.
fn pause(tries: usize) -> Duration {
    if tries <= 1 {
        return Duration::ZERO;
    }
    let doublings = u32::try_from(tries - 2).unwrap_or(u32::MAX).min(5);
    let least = Duration::from_millis(50).saturating_mul(1 << doublings).min(MOST_PAUSE / 2);
    let chance = uuid::Uuid::now_v7().as_u64_pair().1 as u32;
    least + least.mul_f64(f64::from(chance) / f64::from(u32::MAX))
}

/// Connects, however long it takes. `complain` is called with what is wrong, in sentences.
pub(crate) async fn connect(
    settings: &Settings,
    secret: Secret,
    name: &str,
    mut complain: impl FnMut(String),
) -> (Nats, NatsWatch) {
    let mut tries = 1;
    loop {
        match try_once(settings, &secret, name).await {
            Ok(connected) => return connected,
            Err(error) => complain(format!("no connection to {}: {error}", settings.servers.join(", "))),
        }
        tries += 1;
        tokio::time::sleep(pause(tries)).await;
    }
}

async fn try_once(settings: &Settings, secret: &Secret, name: &str) -> Result<(Nats, NatsWatch), String> {
    let servers: Result<Vec<ServerAddr>, _> = settings.servers.iter().map(|server| server.parse()).collect();
    let (events, heard) = mpsc::channel::<Event>(TO_SEND);
    let options = options(settings, secret, name)?.event_callback(move |event| {
        let events = events.clone();
        async move {
            // Full only when the member stands still; a connection that was lost is noticed again by the next event.
            let _sent = events.send(event).await;
        }
    });
    let client =
        options.connect(servers.map_err(|error| error.to_string())?).await.map_err(|error| error.to_string())?;
    let names = Names::new(&settings.group, name);
    let watch = NatsWatch::new(client.clone(), names.clone(), heard, settings.may_lead)
        .await
        .map_err(|error| error.to_string())?;
    Ok((Nats::new(client, names, settings), watch))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(path: &Path) -> Settings {
        let text = format!(r#"{{"group":"g","role":"r","servers":["nats://h"],"nkey_file":"{}"}}"#, path.display());
        serde_json::from_str(&text).expect("settings")
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused_with_the_way_to_mend_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("seed");
        std::fs::write(&path, "SUA\n").expect("written");
        for (mode, is_fine) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
            match secret_of(&settings(&path)) {
                Ok(Secret::Seed(seed)) => assert!(is_fine && seed == "SUA", "{mode:o}"),
                Ok(_) => unreachable!("a seed was asked for"),
                Err(why) => assert!(!is_fine && why.contains("chmod 600") && !why.contains("SUA"), "{mode:o}: {why}"),
            }
        }
        let missing = secret_of(&settings(&directory.path().join("none"))).err().expect("no file");
        assert!(missing.contains("`nkey_file`"), "{missing}");
    }

    #[test]
    fn pauses_grow_to_two_seconds_and_differ() {
        assert_eq!((pause(0), pause(1)), (Duration::ZERO, Duration::ZERO));
        for tries in 2..100 {
            assert!((Duration::from_millis(50)..=MOST_PAUSE).contains(&pause(tries)), "{tries}");
        }
        let several: std::collections::BTreeSet<Duration> = (0..20).map(|_| pause(9)).collect();
        assert!(several.len() > 1);
    }
}
