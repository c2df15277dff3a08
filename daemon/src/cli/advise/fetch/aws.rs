//! EC2's query interface: `DescribeSpotPriceHistory`, signed, and what it answers.
//!
//! Responsibilities: requests and replies as values. Inputs: what is asked, credentials, a moment; a reply's text. Outputs: a signed
//! request; a page of prices, or why there is none. Must never reach the network itself, nor hold a credential in a text.
//!
//! EC2 API reference, version 2016-11-15: a form in the body, XML in the answer, up to 1,000 prices a page, `nextToken` until it is empty.

use crate::cli::fault::Fault;
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use serde::Deserialize;
use std::time::SystemTime;
use ureq::http::{Request, header};
use url::{Url, form_urlencoded};

/// The interface's version.
const VERSION: &str = "2016-11-15";
/// Most prices a page.
const PAGE: &str = "1000";
/// Codes of EC2 that say: later.
const LATER: [&str; 5] = ["RequestLimitExceeded", "Throttling", "InternalError", "ServiceUnavailable", "Unavailable"];

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Instance types; all where there are none.
    pub types: &'a [String],
    /// What runs on the machines.
    pub product: &'a str,
    /// From when.
    pub from: SystemTime,
    /// Until when.
    pub to: SystemTime,
}

/// What came.
#[derive(Clone, Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub text: String,
}

/// One price.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The zone.
    pub zone: String,
    /// The type.
    pub instance_type: String,
    /// From when, RFC 3339.
    pub timestamp: String,
    /// US dollars an hour.
    pub usd_per_hour: f64,
}

/// A page of prices.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The prices.
    pub prices: Vec<Row>,
    /// What to ask for next; empty at the end.
    pub next: String,
}

/// Why there is no page.
#[derive(Debug)]
pub struct Refusal {
    /// In words.
    pub fault: Fault,
    /// Whether a later attempt may fare better.
    pub may_pass: bool,
}

/// The credentials of an environment.
///
/// # Errors
/// They are not set.
pub fn credentials(variable: impl Fn(&str) -> Option<String>) -> Result<Credentials, Fault> {
    let of = |name: &str| variable(name).filter(|value| !value.is_empty());
    match (of("AWS_ACCESS_KEY_ID"), of("AWS_SECRET_ACCESS_KEY")) {
        (Some(id), Some(secret)) => Ok(Credentials::new(id, secret, of("AWS_SESSION_TOKEN"), None, "environment")),
        _ => Err(Fault::Usage(
            "no credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY have to be set (`aws configure export-credentials --format env` \
             prints them)"
                .to_owned(),
        )),
    }
}

/// A signed request for a page.
///
/// # Errors
/// The request cannot be signed or built.
pub fn request(
    asked: &Asked<'_>,
    token: &str,
    address: &Url,
    region: &str,
    credentials: &Credentials,
    now: SystemTime,
) -> Result<Request<String>, String> {
    let body = form(asked, token);
    let host = match (address.host_str(), address.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => return Err(format!("{address} names no host")),
    };
    let kind = "application/x-www-form-urlencoded; charset=utf-8";
    let identity = credentials.clone().into();
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("ec2")
        .time(now)
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| error.to_string())?
        .into();
    let signed = [("host", host.as_str()), ("content-type", kind)];
    let signable =
        SignableRequest::new("POST", address.as_str(), signed.into_iter(), SignableBody::Bytes(body.as_bytes()))
            .map_err(|error| error.to_string())?;
    let (instructions, _) = sign(signable, &parameters).map_err(|error| error.to_string())?.into_parts();
    let mut request = Request::post(address.as_str()).header(header::HOST, &host).header(header::CONTENT_TYPE, kind);
    for (name, value) in instructions.headers() {
        request = request.header(name, value);
    }
    request.body(body).map_err(|error| error.to_string())
}

fn form(asked: &Asked<'_>, token: &str) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("Action", "DescribeSpotPriceHistory")
        .append_pair("Version", VERSION)
        .append_pair("MaxResults", PAGE);
    form.append_pair("StartTime", &rfc3339(asked.from)).append_pair("EndTime", &rfc3339(asked.to));
    form.append_pair("ProductDescription.1", asked.product);
    for (nth, instance_type) in asked.types.iter().enumerate() {
        form.append_pair(&format!("InstanceType.{}", nth + 1), instance_type);
    }
    if !token.is_empty() {
        form.append_pair("NextToken", token);
    }
    form.finish()
}

fn rfc3339(moment: SystemTime) -> String {
    jiff::Timestamp::try_from(moment).map_or_else(|_| String::new(), |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    spot_price_history_set: Set,
    #[serde(default)]
    next_token: Option<String>,
}

#[derive(Deserialize)]
struct Set {
    #[serde(default)]
    item: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    instance_type: String,
    spot_price: f64,
    timestamp: String,
    availability_zone: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Failed {
    errors: Errors,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Errors {
    error: Told,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Told {
    code: String,
    #[serde(default)]
    message: String,
}

/// Reads a reply.
///
/// # Errors
/// It is no page of prices.
pub fn read(reply: &Reply) -> Result<Page, Refusal> {
    if reply.status != 200 {
        return Err(refusal(reply));
    }
    let broken = |why: String| Refusal {
        fault: Fault::Broken(format!("the provider's answer is not understood: {why}")),
        may_pass: false,
    };
    let written: Written = quick_xml::de::from_str(&reply.text).map_err(|error| broken(error.to_string()))?;
    // What goes into a table must not be able to leave its cell.
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.:+".contains(&byte));
    let mut prices = Vec::with_capacity(written.spot_price_history_set.item.len());
    for item in written.spot_price_history_set.item {
        let Item { instance_type, spot_price, timestamp, availability_zone } = item;
        let is_sound = spot_price.is_finite() && spot_price >= 0.0;
        if !is_sound || ![&instance_type, &timestamp, &availability_zone].into_iter().all(|text| is_plain(text)) {
            return Err(broken(format!("a price of {spot_price} for '{instance_type}'")));
        }
        prices.push(Row { zone: availability_zone, instance_type, timestamp, usd_per_hour: spot_price });
    }
    Ok(Page { prices, next: written.next_token.unwrap_or_default() })
}

fn refusal(reply: &Reply) -> Refusal {
    let told = quick_xml::de::from_str::<Failed>(&reply.text).map(|failed| failed.errors.error);
    let (code, message) = told.map_or_else(|_| (String::new(), String::new()), |told| (told.code, told.message));
    let said = crate::reports::words::plain(&format!("HTTP {} {code} {message}", reply.status));
    let may_pass = reply.status >= 500 || reply.status == 429 || LATER.contains(&code.as_str());
    let fault = match reply.status {
        401 | 403 => Fault::Forbidden(format!("the provider does not permit it: {said}")),
        status => Fault::Refused { status, message: format!("the provider refused: {said}"), details: Vec::new() },
    };
    Refusal { fault, may_pass }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// As the API reference has it, with one field nobody asked for.
    const REPLY: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<DescribeSpotPriceHistoryResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
  <requestId>59dbff89-35bd-4eac-99ed-be587EXAMPLE</requestId>
  <spotPriceHistorySet>
    <item><instanceType>m3.medium</instanceType><productDescription>Linux/UNIX</productDescription><spotPrice>0.287</spotPrice>
      <timestamp>2026-05-01T20:56:05.000Z</timestamp><availabilityZone>us-west-2a</availabilityZone></item>
    <item><instanceType>m3.medium</instanceType><productDescription>Linux/UNIX</productDescription><spotPrice>0.033</spotPrice>
      <timestamp>2026-05-01T22:33:47.000Z</timestamp><availabilityZone>us-west-2b</availabilityZone></item>
  </spotPriceHistorySet>
  <nextToken>abc/+=</nextToken>
</DescribeSpotPriceHistoryResponse>"#;

    fn reply(status: u16, text: &str) -> Reply {
        Reply { status, text: text.to_owned() }
    }

    #[test]
    fn a_page_is_read_and_an_empty_token_is_the_end() {
        let page = read(&reply(200, REPLY)).expect("a page");
        assert_eq!((page.prices.len(), page.next.as_str()), (2, "abc/+="));
        assert_eq!((page.prices[1].zone.as_str(), page.prices[1].usd_per_hour), ("us-west-2b", 0.033));
        for end in ["<nextToken/>", "<nextToken></nextToken>", ""] {
            let last = read(&reply(200, &REPLY.replace("<nextToken>abc/+=</nextToken>", end))).expect("a page");
            assert_eq!(last.next, "", "{end}");
        }
        let none = "<R><spotPriceHistorySet/><nextToken/></R>";
        assert!(read(&reply(200, none)).expect("a page").prices.is_empty());
    }

    #[test]
    fn what_is_no_page_is_told_and_only_what_may_pass_is_tried_again() {
        let error = |code: &str| {
            format!(
                "<Response><Errors><Error><Code>{code}</Code><Message>m\u{1b}[2J</Message></Error></Errors></Response>"
            )
        };
        for (status, text, may_pass, exit) in [
            (503, error("RequestLimitExceeded"), true, 1),
            (500, String::new(), true, 1),
            (400, error("Throttling"), true, 1),
            (401, error("AuthFailure"), false, 77),
            (403, error("UnauthorizedOperation"), false, 77),
            (400, error("InvalidParameterValue"), false, 1),
            (200, "<html>a portal".to_owned(), false, 70),
            (200, REPLY.replace("0.287", "-1"), false, 70),
            (200, REPLY.replace("us-west-2a", "a,b"), false, 70),
        ] {
            let refusal = read(&reply(status, &text)).expect_err("no page");
            assert_eq!((refusal.may_pass, refusal.fault.code()), (may_pass, exit), "{status} {text}");
            assert!(!refusal.fault.to_string().contains('\u{1b}'));
        }
    }

    #[test]
    fn a_request_is_signed_for_the_service_and_shows_no_secret() {
        let credentials = credentials(|name| match name {
            "AWS_SESSION_TOKEN" => Some("session".to_owned()),
            name => Some(name.to_lowercase()),
        })
        .expect("credentials");
        let types = ["m5.large".to_owned()];
        let from = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let asked = Asked { types: &types, product: "Linux/UNIX", from, to: from + Duration::from_secs(86_400) };
        let address = Url::parse("https://ec2.us-east-1.amazonaws.com/").expect("an address");
        let request = request(&asked, "a+b", &address, "us-east-1", &credentials, from).expect("a request");
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert!(
            header("authorization").contains("aws_access_key_id/20231114/us-east-1/ec2/aws4_request"),
            "{request:?}"
        );
        assert!(
            header("authorization").contains("SignedHeaders=content-type;host;x-amz-date;x-amz-security-token"),
            "{request:?}"
        );
        assert!(!format!("{request:?}").contains("aws_secret_access_key"));
        let body = request.body();
        for part in [
            "Action=DescribeSpotPriceHistory",
            "InstanceType.1=m5.large",
            "NextToken=a%2Bb",
            "StartTime=2023-11-14T22%3A13%3A20Z",
        ] {
            assert!(body.contains(part), "{part}: {body}");
        }
        assert!(super::credentials(|_| Some(String::new())).is_err());
    }
}
