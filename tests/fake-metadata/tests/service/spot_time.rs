//! Alibaba and Tencent: one item that tells when a spot instance ends. What is claimed is what Alibaba's "Query the
//! interruption events of preemptible instances" and Tencent's "Querying the repossession status of a spot instance" say.

use std::time::Duration;

use fake_metadata::{Action, Effect, FakeMetadata, Fault, Options, Provider, TokenUse, When};
use jiff::Timestamp;

use crate::client::{get, item, request};

const TTL: &str = "X-aliyun-ecs-metadata-token-ttl-seconds";
const TOKEN: &str = "X-aliyun-ecs-metadata-token";
const ALIBABA_NOTICE: &str = "instance/spot/termination-time";
const TENCENT_NOTICE: &str = "spot/termination-time";

fn start(provider: Provider) -> FakeMetadata {
    FakeMetadata::start(Options::of(provider)).expect("the service starts")
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("a valid time")
}

/// "2015-01-05T18:02:00Z" in UTC; 404 while there is nothing to tell.
#[test]
fn alibaba_tells_the_end_in_utc() {
    let fake = start(Provider::Alibaba);
    assert_eq!(item(&fake, ALIBABA_NOTICE).status, 404);
    fake.notice(Action::Terminate, at("2015-01-05T18:02:00Z"));
    let reply = item(&fake, ALIBABA_NOTICE);
    assert_eq!((reply.status, reply.text()), (200, "2015-01-05T18:02:00Z"));
    assert!(fake.first_notice_write().is_some());
    fake.notice(Action::Terminate, at("2015-01-05T18:03:00Z"));
    assert_eq!(item(&fake, ALIBABA_NOTICE).text(), "2015-01-05T18:03:00Z");
    fake.withdraw();
    assert_eq!(item(&fake, ALIBABA_NOTICE).status, 404);
}

/// "2018-08-18 12:05:33": UTC+8, a space, no zone; 404 while there is nothing to tell.
#[test]
fn tencent_tells_the_end_in_the_time_of_china() {
    let fake = start(Provider::Tencent);
    assert_eq!(item(&fake, TENCENT_NOTICE).status, 404);
    fake.notice(Action::Terminate, at("2018-08-18T04:05:33Z"));
    let reply = item(&fake, TENCENT_NOTICE);
    assert_eq!((reply.status, reply.text()), (200, "2018-08-18 12:05:33"));
    fake.termination_time(Some(""));
    assert_eq!(item(&fake, TENCENT_NOTICE).text(), "");
    fake.withdraw();
    assert_eq!(item(&fake, TENCENT_NOTICE).status, 404);
}

/// About five minutes at Alibaba, two at Tencent.
#[test]
fn the_usual_warning_is_the_providers() {
    for (provider, path, seconds, ahead) in
        [(Provider::Alibaba, ALIBABA_NOTICE, 300, 0), (Provider::Tencent, TENCENT_NOTICE, 120, 8 * 3600)]
    {
        let fake = start(provider);
        let before = Timestamp::now().as_second();
        fake.notice(Action::Terminate, When::Usual);
        let told = item(&fake, path).text().replace(' ', "T").trim_end_matches('Z').to_owned();
        let ends = at(&format!("{told}Z")).as_second() - ahead;
        assert!((before + seconds..=Timestamp::now().as_second() + seconds).contains(&ends), "{provider}: {told}");
    }
}

#[test]
fn the_instances_are_described() {
    for (provider, expected) in [
        (
            Provider::Alibaba,
            [
                ("instance-id", "i-bp145cvd0exyqj80iq5h"),
                ("region-id", "cn-hangzhou"),
                ("zone-id", "cn-hangzhou-i"),
                ("instance/instance-type", "ecs.g7.large"),
            ],
        ),
        (
            Provider::Tencent,
            [
                ("instance-id", "ins-nmczpx4b"),
                ("placement/region", "ap-guangzhou"),
                ("placement/zone", "ap-guangzhou-3"),
                ("instance/instance-type", "S5.MEDIUM4"),
            ],
        ),
    ] {
        let fake = start(provider);
        for (path, text) in expected {
            let reply = item(&fake, path);
            assert_eq!((reply.status, reply.text()), (200, text), "{provider} {path}");
        }
        assert_eq!(get(&fake, "/latest/").text(), "meta-data/");
        assert_eq!(get(&fake, "/metadata/versions").status, 404);
    }
}

/// In hardened mode only requests with a token are served; in the normal mode a token may be used as well.
#[test]
fn alibabas_tokens_are_needed_in_hardened_mode_only() {
    let fake = start(Provider::Alibaba);
    assert_eq!(item(&fake, "instance-id").status, 200);
    fake.require_tokens(true);
    assert_eq!(item(&fake, "instance-id").status, 403);
    let path = "/latest/meta-data/instance-id";
    assert_eq!(request(&fake, "GET", path, &[(TOKEN, "wrong")]).status, 401);
    for ttl in ["0", "21601", "x"] {
        assert_eq!(request(&fake, "PUT", "/latest/api/token", &[(TTL, ttl)]).status, 400, "{ttl}");
    }
    let token = request(&fake, "PUT", "/latest/api/token", &[(TTL, "60")]).text().to_owned();
    assert_eq!(request(&fake, "GET", path, &[(TOKEN, &token)]).status, 200);
    fake.set_fault(Fault::new(Effect::TokenStorm).count(1));
    assert_eq!(request(&fake, "GET", path, &[(TOKEN, &token)]).status, 401);
    let token = request(&fake, "PUT", "/latest/api/token", &[(TTL, "60")]).text().to_owned();
    fake.advance_clock(Duration::from_secs(61));
    assert_eq!(request(&fake, "GET", path, &[(TOKEN, &token)]).status, 401);
    assert_eq!(fake.requests().last().map(|request| request.token), Some(TokenUse::Expired));
    fake.require_tokens(false);
    assert_eq!(item(&fake, "instance-id").status, 200);
}
