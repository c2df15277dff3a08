//! Members on a real server: the order, events, a server that goes away, comes back, or has lost everything.

mod real;

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use cloudsnooze_fleet::{Cluster, Collector, Known, Member, Part, Settings, Told, Turn};
use real::{Machine, PATIENCE, Server, notice, run, settings};
use uuid::Uuid;

fn step_of(turn: &Turn) -> usize {
    match turn {
        Turn::Go { step, .. } => *step,
        other => panic!("no turn: {other:?}"),
    }
}

#[test]
fn a_group_acts_in_order_and_hears_of_its_end() {
    let Some(server) = Server::start("") else { return };
    let state = tempfile::tempdir().expect("a directory");
    run(async {
        let start = |role: &str, name: &str| Machine::start(settings(&server.address(), role), name, state.path());
        let mut lb = start("lb", "lb.1");
        let (replica1, replica2) = (start("replica", "replica1"), start("replica", "replica2"));
        let primary = start("primary", "primary1");
        lb.leader(0).await;
        for (machine, number) in [(&primary, 1), (&replica1, 2), (&replica2, 3)] {
            machine.member.leaving(notice(number, 60));
        }
        let (steps, first, second, last) = tokio::join!(
            lb.reacts(),
            replica1.acts(Uuid::from_u128(2)),
            replica2.acts(Uuid::from_u128(3)),
            primary.acts(Uuid::from_u128(1))
        );
        assert!(steps.iter().any(|step| *step < step_of(&first)), "{steps:?} {first:?}");
        assert!(step_of(&last) > step_of(&first).max(step_of(&second)), "{first:?} {second:?} {last:?}");
        assert_eq!(lb.completed().await, Vec::<String>::new());
        let members = lb.member.members().await.expect("members");
        assert_eq!(members.len(), 4, "{members:?}");
    });
}

#[test]
fn events_reach_the_others_and_those_that_were_away() {
    let Some(mut server) = Server::start("") else { return };
    let state = tempfile::tempdir().expect("a directory");
    run(async {
        let mut a = Machine::start(settings(&server.address(), "lb"), "a", state.path());
        let mut b = Machine::start(settings(&server.address(), "lb"), "b", state.path());
        a.leader(0).await;
        b.leader(0).await;
        a.member.publish(notice(1, 60));
        let heard = |number: u128| {
            move |told: &Told| match told {
                Told::Event(heard) if heard.event == Uuid::from_u128(number) => Some(heard.clone()),
                _ => None,
            }
        };
        let first = b.until("an event", heard(1)).await;
        assert!(!first.replayed && first.member == "a" && first.details.value()["id"] == "1");
        assert_eq!(first.event_type, "cloud.interruption.spot");
        // `b` leaves; what happens then it hears when it is there again.
        b.member.leave().await;
        a.until("b to leave", |told| matches!(told, Told::Gone { member, .. } if member == "b").then_some(())).await;
        for number in (2..3).chain(100..140) {
            a.member.publish(notice(number, 60));
        }
        a.until_status("the events to be kept", |status| status.counts.kept >= 42).await;
        let mut b = Machine::start(settings(&server.address(), "lb"), "b", state.path());
        for number in (2..3).chain(100..140) {
            assert!(b.until("an event of the time away", heard(number)).await.replayed);
        }
        a.member.publish(notice(3, 60));
        assert!(!b.until("the third event", heard(3)).await.replayed);
        server.kill();
        a.until("the loss", |told| matches!(told, Told::Connected(false)).then_some(())).await;
        a.member.publish(notice(4, 60));
        server.run();
        let fourth = b.until("the event of the time without a server", heard(4)).await;
        assert_eq!(fourth.member, "a");
    });
}

/// What a member of this number says of itself, in the group's bucket.
async fn speaks(bucket: &async_nats::jetstream::kv::Store, number: usize) {
    let presence = serde_json::json!({
        "member": format!("x{number}"), "role": "lb", "may_lead": false, "epoch": 0, "beat_ms": 30_000, "work_ms": 0, "goes": [],
    });
    bucket.put(format!("x{number}"), presence.to_string().into()).await.expect("kept");
}

#[test]
fn a_group_is_read_whole_also_where_it_is_larger_than_a_server_answers_for_at_once() {
    let Some(server) = Server::start("") else { return };
    let state = tempfile::tempdir().expect("a directory");
    run(async {
        let patient = Settings { heartbeat_seconds: 30.0, ..settings(&server.address(), "lb") };
        let mut a = Machine::start(patient, "a", state.path());
        a.leader(0).await;
        a.until_status("itself to be told", |status| !status.members.is_empty()).await;
        let client = async_nats::connect(server.address()).await.expect("connected");
        let bucket = async_nats::jetstream::new(client).get_key_value("cs_members_g").await.expect("the bucket");
        for numbers in [0..1000, 1000..1200] {
            let all = numbers.end + 1;
            for number in numbers {
                speaks(&bucket, number).await;
            }
            assert_eq!(a.member.members().await.expect("members").len(), all);
        }
    });
}

#[test]
fn epochs_grow_over_a_server_that_lost_everything() {
    let Some(mut server) = Server::start("") else { return };
    let state = tempfile::tempdir().expect("a directory");
    run(async {
        let mut primary = Machine::start(settings(&server.address(), "primary"), "p", state.path());
        primary.leader(0).await;
        primary.member.leaving(notice(1, 60));
        assert!(matches!(primary.acts(Uuid::from_u128(1)).await, Turn::Go { .. }));
        primary.completed().await;
        let epoch = primary.member.status().epoch;
        server.lose_everything();
        primary.until("the loss", |told| matches!(told, Told::Connected(false)).then_some(())).await;
        server.run();
        let (_, next) = primary.leader(epoch).await;
        assert!(next > epoch);
        primary.member.leaving(notice(2, 60));
        assert!(matches!(primary.acts(Uuid::from_u128(2)).await, Turn::Go { epoch, .. } if epoch >= next));
    });
}

#[test]
fn a_leader_that_leaves_is_followed_at_once() {
    let Some(server) = Server::start("") else { return };
    let state = tempfile::tempdir().expect("a directory");
    run(async {
        let mut first = Machine::start(settings(&server.address(), "lb"), "first", state.path());
        let (_, epoch) = first.leader(0).await;
        let mut second = Machine::start(settings(&server.address(), "lb"), "second", state.path());
        first
            .until("the other", |told| matches!(told, Told::Joined { member, .. } if member == "second").then_some(()))
            .await;
        second.leader(0).await;
        first.member.leave().await;
        let released = Instant::now();
        let (leader, _) = second.leader(epoch).await;
        assert_eq!(leader, "second");
        assert!(released.elapsed().as_millis() < 1200, "the lease was waited for: {:?}", released.elapsed());
        assert!(matches!(first.member.turn(Uuid::nil()).await, Turn::Alone { .. }), "it does not run any more");
    });
}

#[test]
fn where_no_server_answers_work_begins_alone_and_the_status_says_why() {
    let state = tempfile::tempdir().expect("a directory");
    run(async {
        // A port that nobody listens on.
        let mut alone = Machine::start(settings("nats://127.0.0.1:9", "primary"), "p", state.path());
        alone.member.leaving(notice(1, 5));
        let begun = Instant::now();
        let turn = alone.acts(Uuid::from_u128(1)).await;
        assert!(matches!(&turn, Turn::Alone { why } if why.contains("no leader")), "{turn:?}");
        assert!((900..3000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
        alone.until("the reason", |told| matches!(told, Told::Alone { .. }).then_some(())).await;
        assert!(matches!(alone.member.turn(Uuid::from_u128(1)).await, Turn::Begun { over: Some(_), .. }));
        let status = alone.member.status();
        assert!(
            !status.connected && status.problems.iter().any(|problem| problem.contains("127.0.0.1:9")),
            "{status:?}"
        );
        assert!(alone.member.members().await.is_err());
    });
}

#[test]
fn settings_and_secrets_that_cannot_be_are_refused_at_the_start() {
    let state = tempfile::tempdir().expect("a directory");
    let seed = state.path().join("seed");
    std::fs::write(&seed, "SUA").expect("written");
    std::fs::set_permissions(&seed, std::fs::Permissions::from_mode(0o644)).expect("set");
    struct Deaf;
    impl cloudsnooze_fleet::Local for Deaf {
        fn told(&self, _: Told) {}
    }
    let start = |settings| {
        Member::start(settings, "m".to_owned(), state.path().to_owned(), std::sync::Arc::new(Deaf))
            .err()
            .map(|error| error.to_string())
    };
    let good = settings("nats://127.0.0.1:9", "lb");
    let bad = cloudsnooze_fleet::Settings { group: "a.b".to_owned(), ..good.clone() };
    assert!(start(bad).is_some_and(|why| why.contains("`group`")));
    let open = cloudsnooze_fleet::Settings { nkey_file: Some(seed), ..good.clone() };
    assert!(start(open).is_some_and(|why| why.contains("chmod 600")));
    assert!(start(good).is_some_and(|why| why.contains("tokio runtime")), "{PATIENCE:?}");
}

/// How long a collector waits for more.
const WAIT: Duration = Duration::from_secs(1);

/// A key of its own for a member, and what the servers know of it.
fn key(directory: &std::path::Path, member: &str, part: Part) -> (std::path::PathBuf, Known) {
    let pair = nkeys::KeyPair::new_user();
    let file = directory.join(format!("{member}.nk"));
    std::fs::write(&file, pair.seed().expect("a seed")).expect("written");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("set");
    (file, Known { member: member.to_owned(), nkey: pair.public_key(), part })
}

#[test]
fn with_the_rights_that_are_generated_members_do_all_that_they_do_and_followers_never_lead() {
    let state = tempfile::tempdir().expect("a directory");
    let (leads, leader) = key(state.path(), "primary1", Part::Leader);
    let (follows, follower) = key(state.path(), "lb.1", Part::Follower);
    let (strange, _) = key(state.path(), "stranger", Part::Leader);
    let (reads, collector) = key(state.path(), "history", Part::Collector);
    let cluster = Cluster {
        group: "g".to_owned(),
        servers: vec!["127.0.0.1".to_owned()],
        store: "/nonexistent".into(),
        members: vec![leader, follower, collector],
        tls: None,
    };
    assert_eq!(cluster.problems(), Vec::<String>::new());
    let Some(server) = Server::start(&cluster.rights()) else { return };
    run(async {
        let with = |file: &std::path::Path, role: &str| Settings {
            nkey_file: Some(file.to_owned()),
            ..settings(&server.address(), role)
        };
        // It is asked to lead, and the servers do not let it.
        let mut lb = Machine::start(with(&follows, "lb"), "lb.1", state.path());
        let mut primary = Machine::start(with(&leads, "primary"), "primary1", state.path());
        let stranger = Machine::start(with(&strange, "lb"), "stranger", state.path());
        assert_eq!(lb.leader(0).await.0, "primary1");
        primary.leader(0).await;
        primary.until_status("the follower's presence", |status| status.members.len() == 2).await;
        primary.member.leaving(notice(1, 60));
        let (steps, turn) = tokio::join!(lb.reacts(), primary.acts(Uuid::from_u128(1)));
        assert!(!steps.is_empty() && step_of(&turn) > steps[0], "{steps:?} {turn:?}");
        lb.member.publish(notice(2, 60));
        let heard = |told: &Told| matches!(told, Told::Event(heard) if heard.member == "lb.1").then_some(());
        primary.until("the follower's event", heard).await;
        // Who collects gets what was kept, once, and is no member.
        lb.member.keep(notice(3, 0));
        lb.until_status("it to be kept", |status| status.counts.kept >= 2).await;
        let collector = Collector::connect(&with(&reads, "lb"), "history").await.expect("it may read");
        let batch = collector.next(WAIT).await.expect("it is given");
        let kept: Vec<_> = batch.kept.iter().map(|kept| (kept.event, kept.member.as_str())).collect();
        assert_eq!(kept, [(Uuid::from_u128(3), "lb.1")], "events that are told are not among it");
        batch.written().await.expect("it may say so");
        assert!(collector.next(WAIT).await.expect("it is asked").is_empty(), "it is not given again");
        let another = Collector::connect(&with(&reads, "lb"), "another").await.expect("it may read");
        assert_eq!(another.next(WAIT).await.expect("it is given").kept.len(), 1, "another name begins anew");
        assert!(Collector::connect(&with(&strange, "lb"), "history").await.is_err());
        assert_eq!(primary.member.members().await.expect("members").len(), 2);
        assert!(!stranger.member.status().connected, "the servers do not know it");
        let (own, other) = (lb.member.status(), primary.member.status());
        assert!(!own.leads && other.leads && other.problems.is_empty(), "{own:#?} {other:#?}");
    });
}

/// An authority, and certificates of it for a server and for a member, as files.
struct Authority(tempfile::TempDir);

impl Authority {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).expect("parameters");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("signed");
        std::fs::write(directory.path().join("ca.pem"), certificate.pem()).expect("written");
        let issuer = rcgen::Issuer::new(params, key);
        for name in ["server", "member"] {
            let key = rcgen::KeyPair::generate().expect("a key");
            let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
            let certificate = params.signed_by(&key, &issuer).expect("signed");
            std::fs::write(directory.path().join(format!("{name}.pem")), certificate.pem()).expect("written");
            std::fs::write(directory.path().join(format!("{name}.key")), key.serialize_pem()).expect("written");
        }
        Self(directory)
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }
}

#[test]
fn over_tls_members_find_each_other_and_who_does_not_trust_the_server_or_is_not_trusted_stays_out() {
    let authority = Authority::new();
    let (state, cluster) = (
        tempfile::tempdir().expect("a directory"),
        Cluster {
            group: "g".to_owned(),
            servers: vec!["127.0.0.1".to_owned()],
            store: "/nonexistent".into(),
            members: Vec::new(),
            tls: Some((authority.file("server.pem"), authority.file("server.key"))),
        },
    );
    // The part that is generated, and that members show a certificate, which is up to the operator.
    let text = cluster.configuration(0);
    let generated = text.lines().find(|line| line.starts_with("tls ")).expect("it speaks TLS");
    let verified = format!("ca_file: {:?}, verify: true }}", authority.file("ca.pem"));
    let Some(server) = Server::start(&generated.replace(" }", &format!(", {verified}"))) else { return };
    let address = server.address().replace("nats://", "tls://");
    run(async {
        let with = |ca: Option<&str>, own: Option<&str>| Settings {
            tls: Some(cloudsnooze_fleet::Tls {
                ca: ca.map(|name| authority.file(name)),
                certificate: own.map(|name| authority.file(&format!("{name}.pem"))),
                key: own.map(|name| authority.file(&format!("{name}.key"))),
            }),
            ..settings(&address, "lb")
        };
        let mut a = Machine::start(with(Some("ca.pem"), Some("member")), "a", state.path());
        let mut b = Machine::start(with(Some("ca.pem"), Some("member")), "b", state.path());
        let unknown = Machine::start(with(Some("ca.pem"), None), "unknown", state.path());
        let wary = Machine::start(with(None, Some("member")), "wary", state.path());
        let leader = a.leader(0).await;
        assert_eq!(b.leader(0).await, leader);
        for (outsider, why) in [(&unknown, "no connection"), (&wary, "certificate")] {
            let told = |status: &cloudsnooze_fleet::Status| status.problems.iter().any(|text| text.contains(why));
            outsider.until_status("the reason", told).await;
            assert!(!outsider.member.status().connected, "{:#?}", outsider.member.status());
        }
    });
}
