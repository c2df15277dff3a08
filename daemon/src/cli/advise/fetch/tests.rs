//! Tests of fetching prices, against a stand-in for EC2's query interface that pages, refuses and breaks off as the real one does.
//! Must never reach a real provider, or need credentials.

use super::*;
use crate::cli::session::{Global, Surroundings};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

/// What the stand-in does with a request.
#[derive(Clone, Copy)]
enum Act {
    /// A page with these prices and this token.
    Page(&'static [&'static str], &'static str),
    /// An error with this status and code.
    Error(u16, &'static str),
    /// The connection is closed without an answer.
    Close,
    /// Half of a page, then the connection is closed.
    Half,
}

/// Plays `acts`, one a connection; gives its address and what it was asked: head and form of each request.
fn stand_in(acts: &'static [Act]) -> (Url, Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = Url::parse(&format!("http://{}/", listener.local_addr().expect("an address"))).expect("an address");
    let (told, asked) = channel();
    std::thread::spawn(move || {
        for act in acts {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let _gone = told.send(request(&stream));
            let _gone = stream.write_all(&reply(*act));
        }
    });
    (address, asked)
}

fn request(stream: &TcpStream) -> (String, String) {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).expect("a line") == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        head += &line;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    (head, String::from_utf8(body).expect("UTF-8"))
}

fn reply(act: Act) -> Vec<u8> {
    let answer = |status: u16, body: &str| {
        format!(
            "HTTP/1.1 {status} X\r\ncontent-type: text/xml\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
    };
    match act {
        Act::Close => Vec::new(),
        Act::Half => answer(200, &page(&["0.1"], "")).into_bytes().into_iter().take(200).collect(),
        Act::Page(prices, token) => answer(200, &page(prices, token)).into_bytes(),
        Act::Error(status, code) => {
            let body = format!(
                "<Response><Errors><Error><Code>{code}</Code><Message>no</Message></Error></Errors></Response>"
            );
            answer(status, &body).into_bytes()
        }
    }
}

fn page(prices: &[&str], token: &str) -> String {
    let items: String = prices
        .iter()
        .map(|price| {
            format!(
                "<item><instanceType>m5.large</instanceType><productDescription>Linux/UNIX</productDescription>\
                 <spotPrice>{price}</spotPrice>\
                 <timestamp>2026-05-01T00:00:00.000Z</timestamp><availabilityZone>us-east-1a</availabilityZone></item>"
            )
        })
        .collect();
    format!(
        "<DescribeSpotPriceHistoryResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>r</requestId>\
         <spotPriceHistorySet>{items}</spotPriceHistorySet><nextToken>{token}</nextToken></DescribeSpotPriceHistoryResponse>"
    )
}

fn args(output: PathBuf) -> Args {
    Args {
        provider: "aws".to_owned(),
        region: "us-east-1".to_owned(),
        types: vec!["m5.large".to_owned()],
        days: 7,
        product: "Linux/UNIX".to_owned(),
        output,
        endpoint: None,
    }
}

fn fetch(address: &Url) -> Result<Vec<Row>, Fault> {
    let credentials = Credentials::new("key", "hunter2", None, None, "test");
    let (mut out, mut talk) = (Vec::new(), Vec::new());
    let mut session = Session::new(Global::default(), Surroundings::default(), &mut out, &mut talk);
    collect(&args(PathBuf::new()), address, &credentials, &mut session)
}

#[test]
fn every_page_is_fetched_and_what_may_pass_is_asked_for_again() {
    let (address, asked) = stand_in(&[
        Act::Page(&["0.1", "0.2"], "one+1"),
        Act::Error(503, "RequestLimitExceeded"),
        Act::Close,
        Act::Half,
        Act::Page(&["0.3"], "two"),
        Act::Page(&[], ""),
    ]);
    let rows = fetch(&address).expect("prices");
    assert_eq!(rows.iter().map(|row| row.usd_per_hour).collect::<Vec<_>>(), [0.1, 0.2, 0.3]);
    let asked: Vec<(String, String)> = asked.iter().collect();
    assert_eq!(asked.len(), 6);
    assert!(!asked[0].1.contains("NextToken") && asked[5].1.contains("NextToken=two"), "{asked:?}");
    assert!(asked[1..5].iter().all(|(_, form)| form.contains("NextToken=one%2B1")), "{asked:?}");
    for (head, form) in &asked {
        let head = head.to_lowercase();
        assert!(
            head.starts_with("post / ") && head.contains("/us-east-1/ec2/aws4_request") && head.contains("x-amz-date:"),
            "{head}"
        );
        assert!(form.contains("Action=DescribeSpotPriceHistory") && form.contains("InstanceType.1=m5.large"), "{form}");
        assert!(!head.contains("hunter2") && !form.contains("hunter2"));
    }
}

#[test]
fn a_refusal_is_told_at_once_and_what_does_not_end_is_given_up() {
    let (address, asked) = stand_in(&[Act::Error(403, "UnauthorizedOperation"), Act::Page(&["1"], "")]);
    let fault = fetch(&address).expect_err("not permitted");
    assert!(fault.code() == 77 && fault.to_string().contains("UnauthorizedOperation"), "{fault}");
    assert_eq!(asked.try_iter().count(), 1, "asked once");
    let (address, _asked) = stand_in(&[Act::Page(&["1"], "same"), Act::Page(&["1"], "same")]);
    assert_eq!(fetch(&address).expect_err("endless").code(), 70);
}

#[test]
fn the_file_is_whole_and_is_read_as_prices() {
    let directory = tempfile::tempdir().expect("a directory");
    let output = directory.path().join("prices.csv");
    let row = Row {
        zone: "us-east-1a".to_owned(),
        instance_type: "m5.large".to_owned(),
        timestamp: "2026-05-01T00:00:00.000Z".to_owned(),
        usd_per_hour: 0.035,
    };
    let (mut out, mut talk) = (Vec::new(), Vec::new());
    let mut session = Session::new(Global::default(), Surroundings::default(), &mut out, &mut talk);
    write(&args(output.clone()), &[row], &mut session).expect("written");
    let text = std::fs::read_to_string(&output).expect("a file");
    let prices = cloudsnooze_insight::economy::prices::read("p", &text).expect("prices");
    assert_eq!((prices.len(), prices[0].usd_per_hour, prices[0].pool.region.as_str()), (1, 0.035, "us-east-1"));
    assert_eq!(std::fs::read_dir(directory.path()).expect("readable").count(), 1, "nothing is left beside it");
}
