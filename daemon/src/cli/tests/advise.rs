//! Tests of `snooze advise` and `snooze simulate-policy`, on files of their own: every answer has its reasons, how sure it is and its data.
//! Must never need the public data sets.

use super::snooze;
use serde_json::Value;
use std::path::PathBuf;
use tempfile::TempDir;

/// A directory with small files of every form.
struct Files {
    directory: TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self { directory: tempfile::tempdir().expect("a directory") };
        // Capacity for five hours of every eight, and nearly always.
        let trace = |is_up: fn(usize) -> bool| {
            let ticks: Vec<u8> = (0..2_000).map(|tick| u8::from(is_up(tick))).collect();
            format!(r#"{{"metadata": {{"gap_seconds": 600}}, "data": {ticks:?}}}"#)
        };
        files.write("a.json", &trace(|tick| tick % 48 < 30));
        files.write("b.json", &trace(|tick| tick % 200 != 7));
        files.write("none.json", &trace(|_| false));
        let mut lives = "zone,instance_type,lived_hours,outcome,spot_usd_per_hour,on_demand_usd_per_hour\n".to_owned();
        for n in 0..40 {
            lives += &format!(
                "us-east-1a,m5.large,{}.5,{},0.03,0.1\n",
                n % 20,
                if n % 2 == 0 { "interrupted" } else { "stopped" }
            );
        }
        files.write("lives.csv", &lives);
        let mut prices = "az,instance_type,timestamp_utc,usd_per_hour\n".to_owned();
        for day in 1..=28 {
            prices +=
                &format!("us-east-1a,m5.large,2026-05-{day:02}T00:00:00Z,{}\n", 0.03 + 0.0001 * f64::from(day % 3));
            prices += &format!("us-east-1b,c5.large,2026-05-{day:02}T00:00:00Z,0.0{}\n", 4 + day % 2);
        }
        files.write("prices.csv", &prices);
        files.write(
            "advisor.csv",
            "region,os,instance_type,savings_pct,interruption_bucket\nus-east-1,Linux,m5.large,70,0\nus-east-1,Linux,c5.large,60,4\n\
             us-east-1,Linux,r5.large,50,1\n",
        );
        files
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.directory.path().join(name), text).expect("written");
    }

    fn path(&self, name: &str) -> String {
        let path: PathBuf = self.directory.path().join(name);
        path.to_str().expect("UTF-8").to_owned()
    }

    /// Runs `snooze` with these words; those that name a file here are its path.
    fn run(&self, words: &str) -> super::Ran {
        let words: Vec<String> = words
            .split_whitespace()
            .map(|word| if self.directory.path().join(word).is_file() { self.path(word) } else { word.to_owned() })
            .collect();
        snooze(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn json(&self, words: &str) -> Value {
        let ran = self.run(&format!("{words} --json"));
        assert_eq!((ran.code, ran.talk.as_str()), (0, ""), "{words}: {}", ran.out);
        serde_json::from_str(&ran.out).expect("JSON")
    }
}

const ADVICE: [(&str, &str); 7] = [
    ("advise cap --prices prices.csv --advisor advisor.csv --on-demand m5.large=0.1", "Set no maximum price"),
    ("advise rank --prices prices.csv --advisor advisor.csv --lives lives.csv", "price-capacity-optimized"),
    ("advise rank --advisor advisor.csv --on-demand r5.large=0.126", "r5.large in us-east-1"),
    ("advise checkpoint --lives lives.csv --save 60s --save 50s --save 55s --notice 30s", "the notice is too short"),
    ("advise checkpoint --save 20s --save 20s --save 20s --between 32h", "Save at the notice"),
    (
        "advise schedule --traces a.json b.json --work-hours 20 --deadline-hours 25 --lives lives.csv --age-hours 3",
        "in b.json",
    ),
    ("advise savings --lives lives.csv", "Saved so far"),
];

#[test]
fn every_advice_says_why_how_sure_it_is_and_what_it_rests_on() {
    let files = Files::new();
    for (words, answer) in ADVICE {
        let ran = files.run(words);
        assert_eq!((ran.code, ran.talk.as_str()), (0, ""), "{words}: {}", ran.out);
        for text in [answer, "\nWHY\n  - ", "\nHOW SURE\n  - ", "\nDATA\n  - "] {
            assert!(ran.out.contains(text), "{words}: {text}: {}", ran.out);
        }
        assert!(!ran.out.contains("NaN") && !ran.out.contains("inf "), "{words}: {}", ran.out);
        let value = files.json(words);
        for member in ["answer", "reasons", "uncertainty", "data", "figures"] {
            assert!(!value[member].is_null(), "{words}: {member}: {value}");
        }
    }
}

#[test]
fn a_bid_is_offered_for_true_auctions_only_and_says_so() {
    let files = Files::new();
    let words = "advise auction --prices prices.csv --type c5.large --work-hours 8";
    let ran = files.run(words);
    assert_eq!((ran.code, ran.talk.as_str()), (0, ""), "{}", ran.out);
    assert!(
        ran.out.contains("Only where there is a true auction")
            && ran.out.contains("AWS, Azure and GCP hold no auction"),
        "{}",
        ran.out
    );
    let figures = &files.json(words)["figures"];
    assert_eq!(figures["persistent"]["usd_per_hour"], 0.04, "the cheap half of the days is enough: {figures}");
    assert_eq!(figures["one_time"]["usd_per_hour"], 0.05, "{figures}");
    let several = files.run("advise auction --prices prices.csv --work-hours 8");
    assert!(several.code == 2 && several.talk.contains("2 of 2 pools are meant"), "{several:?}");
}

#[test]
fn policies_are_replayed_with_the_same_numbers_for_the_same_seed() {
    let files = Files::new();
    let words = "simulate-policy a.json b.json --work-hours 20 --deadline-hours 25 --runs 20";
    let ran = files.run(words);
    assert_eq!((ran.code, ran.talk.as_str()), (0, ""), "{}", ran.out);
    for text in [
        "POLICY",
        "on-demand",
        "greedy",
        "uniform-progress",
        "advised",
        "each of 2 zones alone; 40 runs of each policy",
    ] {
        assert!(ran.out.contains(text), "{text}: {}", ran.out);
    }
    assert_eq!(files.run(words).out, ran.out);
    let other = format!("{words} --seed 2");
    assert_ne!(files.run(&other).out, ran.out);
    let value = files.json(&format!("{words} --policy omniscient --policy on-demand --each-run"));
    let policies = value["policies"].as_array().expect("policies");
    assert_eq!(
        policies.iter().map(|row| row["each_run"].as_array().map(Vec::len)).collect::<Vec<_>>(),
        [Some(40), Some(40)]
    );
    assert!(policies[0]["saved"].as_f64() > Some(0.3) && policies[0]["late"] == 0, "{value}");
    assert!(policies[1]["saved"].as_f64().is_some_and(|saved| saved.abs() < 1e-9), "{value}");
}

#[test]
fn zones_can_be_learned_or_taken_together_and_starts_can_be_named() {
    let files = Files::new();
    files.write("starts.json", "[0, 100,\n200]");
    let of = |zones: &str| {
        let words = format!(
            "simulate-policy a.json b.json --work-hours 20 --deadline-hours 25 --policy uniform-progress --zones {zones}"
        );
        files.json(&words)["policies"][0]["saved"].as_f64().expect("a number")
    };
    assert!(of("each") < of("best") && of("best") <= of("all") + 0.02, "{} {} {}", of("each"), of("best"), of("all"));
    let named = files.json("simulate-policy a.json --work-hours 20 --deadline-hours 25 --starts starts.json");
    assert_eq!((&named["runs_of_each"], named["seed"].is_null()), (&Value::from(3), true));
}

#[test]
fn what_cannot_be_answered_is_met_with_a_sentence_and_a_code() {
    let files = Files::new();
    files.write("few.csv", "zone,instance_type,lived_hours,outcome\na,b,1,interrupted\n");
    files.write("bad.csv", "zone,instance_type,lived_hours,outcome\na,b,-1,interrupted\n");
    files.write("short.csv", "az,instance_type,timestamp_utc,usd_per_hour\na,b,2026-05-01T00:00:00Z,0\n");
    files.write("words.json", "[1, x]");
    for (words, code, reason) in [
        ("simulate-policy a.json --work-hours 48 --deadline-hours 20", 2, "nothing can meet this deadline"),
        ("simulate-policy a.json --work-hours NaN --deadline-hours 20", 2, "the work is NaN h"),
        ("simulate-policy a.json --work-hours 400 --deadline-hours 800", 1, "no run of 800 h fits"),
        ("simulate-policy a.json --work-hours 4 --deadline-hours 8 --policy best", 2, "uniform-progress"),
        ("simulate-policy a.json --work-hours 4 --deadline-hours 8 --starts words.json", 2, "'x' is no tick"),
        ("simulate-policy a.json --work-hours 4 --deadline-hours 8 --on-demand-price 0", 2, "the price on demand is 0"),
        ("simulate-policy lives.csv --work-hours 4 --deadline-hours 8", 1, "lives.csv is no trace"),
        ("simulate-policy nothing.json --work-hours 4 --deadline-hours 8", 66, "no such file"),
        ("advise checkpoint --save 60s", 2, "name --lives FILE, or --between"),
        ("advise checkpoint --save 60s --lives few.csv", 1, "1 interruptions in 1 lives: at least 10"),
        ("advise checkpoint --save 60s --lives bad.csv", 1, "bad.csv, line 2: lived_hours is -1"),
        ("advise cap --prices short.csv", 1, "too little to say how prices move"),
        ("advise rank --lives lives.csv", 1, "no candidate with a price"),
        ("advise rank --prices prices.csv --region nowhere", 2, "none of the 2 pools"),
        ("advise savings --lives few.csv", 1, "none of 1 lives"),
        ("advise schedule --work-hours 4 --deadline-hours 8", 2, "name --traces FILE"),
        ("advise auction --prices short.csv --work-hours 8", 1, "0 slots of prices"),
    ] {
        let ran = files.run(words);
        assert_eq!((ran.code, ran.out.as_str()), (code, ""), "{words}: {}", ran.talk);
        assert!(ran.talk.contains(reason), "{words}: {}", ran.talk);
    }
}

#[test]
fn a_missed_deadline_that_was_promised_is_an_exit_code() {
    let files = Files::new();
    let naive = files.run("simulate-policy none.json --work-hours 20 --deadline-hours 25 --runs 5 --policy naive-spot");
    assert_eq!(naive.code, 0, "it promised nothing: {}", naive.talk);
    let kept = files.run("simulate-policy none.json --work-hours 20 --deadline-hours 25 --runs 5");
    assert_eq!(kept.code, 0, "{}", kept.out);
}
