//! A client that somebody else wrote and that works against the real service: AWS's own SDK for Python.

use std::process::Command;

use fake_metadata::{Instance, Options};

use crate::client::PATIENCE;

const PROGRAM: &str = r#"
import sys
from botocore.utils import InstanceMetadataFetcher, InstanceMetadataRegionFetcher
settings = dict(timeout=20, num_attempts=1, base_url=sys.argv[1] + "/", user_agent="test")
print(InstanceMetadataFetcher(**settings).retrieve_iam_role_credentials()["role_name"])
print(InstanceMetadataRegionFetcher(**settings).retrieve_region())
"#;

#[test]
fn the_aws_sdk_for_python_finds_its_role_and_region() {
    let present = Command::new("python3").args(["-c", "import botocore"]).output();
    if !present.is_ok_and(|output| output.status.success()) {
        println!("NOT RUN: the AWS SDK for Python against the fake service: python3 with botocore is not installed");
        return;
    }
    let instance = Instance { role: Some("web".to_owned()), zone: "eu-west-1b".to_owned(), ..Instance::default() };
    let options = Options { instance, ..Options::default() };
    let fake = fake_metadata::FakeMetadata::start(options).expect("the service starts");
    let output = Command::new("python3")
        .args(["-c", PROGRAM, &fake.base_url()])
        .env_remove("http_proxy")
        .env_remove("HTTP_PROXY")
        .env_remove("AWS_EC2_METADATA_DISABLED")
        .output()
        .expect("python3 runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said, "web\neu-west-1\n", "{}", String::from_utf8_lossy(&output.stderr));
    let served = fake.wait_for(5, PATIENCE, |request| request.status == Some(200)).expect("its requests");
    assert!(served.iter().any(|request| request.method == "PUT" && request.path == "/latest/api/token"));
}
