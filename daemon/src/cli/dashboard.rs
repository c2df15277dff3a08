//! `snooze dashboard`: where the dashboard is, and how to have it on a port.
//!
//! Inputs: the daemon's status, the configuration with the token. Outputs: an address for a browser, or what to write. Must never
//! put the token anywhere but into the fragment, which browsers send nobody.

use super::fault::{Exit, Fault, Outcome};
use super::session::Session;
use crate::config::{Loaded, SecretSources};
use crate::control::wire::Status;
use serde_json::json;
use std::path::PathBuf;

/// Where systemd keeps the credentials of the service (systemd.exec(5), `$CREDENTIALS_DIRECTORY`): root may read them there.
const CREDENTIALS_OF_THE_SERVICE: &str = "/run/credentials/snoozed.service";

const EXAMPLES: &str = "\
Examples:
  snooze dashboard                 the address to open, with the token in its fragment
  snooze dashboard --json | jq -r .url
  ssh -L 7070:127.0.0.1:7070 HOST  the same port, from another machine
  ssh -L 7070:/run/cloudsnooze/control.sock HOST
                                   without a port or a token: open http://localhost:7070/ there";

/// What to write into the configuration.
const ADVICE: &str = r#"The dashboard is on no port. To have it on one, write into the configuration:

  "control": {
    "dashboard": {"listen": "127.0.0.1:7070", "token": {"credential": "dashboard"}}
  }

make a token that the daemon can read, and restart it:

  openssl rand -hex 24 |
    install -D -m 640 -g cloudsnooze /dev/stdin /etc/cloudsnooze/credentials/dashboard
  systemctl restart cloudsnooze

Without a port it is on the control socket: ssh -L 7070:SOCKET HOST, then open http://localhost:7070/.
"#;

/// Show where the dashboard is, for a browser.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {}

/// Runs the command.
///
/// # Errors
/// The daemon cannot be asked, or the configuration or its token cannot be read.
pub fn run(_: &Args, session: &mut Session<'_>) -> Outcome {
    let status: Status = super::client::read(&session.daemon()?.get("/v1/status")?)?;
    let Some(address) = status.dashboard else {
        let socket = session.socket()?;
        if session.global.json {
            session.print_json(&json!({ "address": null, "url": null, "socket": socket }))?;
        } else {
            session.print(&ADVICE.replace("SOCKET", &socket.display().to_string()))?;
        }
        return Ok(Exit::Bad);
    };
    let url = format!("http://{address}/#token={}", token(&session.configuration()?)?);
    if session.global.json {
        session.print_json(&json!({ "address": address, "url": url, "socket": session.socket()? }))?;
    } else {
        session.print(&format!("{url}\n"))?;
        session.note("whoever has this address may look and have drills; it is not for chats and tickets");
    }
    Ok(Exit::Ok)
}

/// The token as the daemon was given it.
fn token(loaded: &Loaded) -> Result<String, Fault> {
    let system = SecretSources::system();
    let directory = system.credentials_directory.clone().unwrap_or_else(|| PathBuf::from(CREDENTIALS_OF_THE_SERVICE));
    let secrets = SecretSources { credentials_directory: Some(directory), ..system };
    match loaded.resolve_dashboard(&secrets) {
        Ok(Some((token, _))) => Ok(token),
        Ok(None) => Err(Fault::Missing(
            "the daemon has a dashboard's port that this configuration does not name (is it the right --config?)"
                .into(),
        )),
        Err(errors) => Err(Fault::Forbidden(format!(
            "the token cannot be read (try with sudo): {}",
            errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        ))),
    }
}
