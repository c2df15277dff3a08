//! The daemon on a machine of GCP: what it says of its three sources, and what it does when it is told to end.

use e2e::scripted::{Scripted, google};
use e2e::simple::{PATIENCE, Plugins, handles, status_when};
use fake_metadata::{Action, FakeMetadata, Options, Provider, When};
use harness::daemon::Daemon;
use serde_json::{Value, json};

const INTERRUPT: &str = "cloud.spot.interrupt";

fn on_gcp(plugins: &Plugins, endpoint: &str, on_terminate: &str) -> Daemon {
    let mut config = handles(INTERRUPT, "first", &plugins.config("first"));
    config["sources"]["gcp"] = json!({"endpoint": endpoint});
    config["sources"]["system"] = json!({"enabled": false, "on_terminate": on_terminate, "terminate_seconds": 5});
    plugins.daemon(config).start().expect("it starts")
}

fn names_and_states(status: &Value) -> Vec<(String, String)> {
    let text = |source: &Value, key: &str| source[key].as_str().unwrap_or_default().to_owned();
    let all = status["sources"].as_array().into_iter().flatten();
    let gcp = all.filter(|source| text(source, "name").starts_with("gcp."));
    gcp.map(|source| (text(source, "name"), text(source, "state"))).collect()
}

#[test]
fn three_sources_see_and_name_the_machine_and_a_preemption_is_handled() {
    let plugins = Plugins::recorders(&["first"]);
    let fake = FakeMetadata::start(Options::of(Provider::Gcp)).expect("a free port");
    let mut daemon = on_gcp(&plugins, &fake.base_url(), "never");
    let status = status_when(&daemon, "three seeing sources", |status| {
        let all = names_and_states(status);
        all.len() == 3 && all.iter().all(|(_, state)| state == "seeing")
    });
    let names: Vec<String> = names_and_states(&status).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["gcp.compute.preempted", "gcp.compute.maintenance-event", "gcp.compute.upcoming-maintenance"]);
    assert_eq!((&status["machine"]["provider"], &status["machine"]["zone"]), (&json!("gcp"), &json!("us-central1-a")));
    assert!(fake.wait_for_held(2, PATIENCE));
    fake.notice(Action::Terminate, When::Usual);
    plugins.journal().wait(1, "first end");
    assert_eq!(daemon.stop().expect("it stops").code(), Some(0), "with two questions held by the server");
}

#[test]
fn told_to_end_it_asks_once_more_whether_the_machine_is_preempted_and_handles_that_before_it_ends() {
    for on_terminate in ["never", "always"] {
        let plugins = Plugins::recorders(&["first"]);
        // A server that does not answer what it holds, so that only another question finds it out.
        let server = Scripted::start(|target| match target {
            _ if target.contains("last_etag=0") && target.contains("/preempted") => Some(google("FALSE", "a")),
            _ if target.contains("/maintenance-event") => Some(google("NONE", "a")),
            _ if target.contains("wait_for_change") => None,
            _ if target.ends_with("/preempted") => Some(google("TRUE", "b")),
            _ => Some(google("1", "c")),
        });
        let mut daemon = on_gcp(&plugins, &server.base_url(), on_terminate);
        server.wait(1, PATIENCE, |target| target.contains("/preempted") && target.contains("last_etag=a"));
        assert_eq!(plugins.journal().all("first begin").len(), 0);
        assert_eq!(daemon.stop().expect("it stops").code(), Some(0), "{on_terminate}");
        let handled = plugins.journal().all("first end");
        assert_eq!(handled.len(), 1, "{on_terminate}: {handled:?}; {}", daemon.log_tail());
        let plain = server.asked().into_iter().filter(|(_, target)| target.ends_with("/preempted")).count();
        assert_eq!(plain, 1, "{on_terminate}: asked once");
    }
}
