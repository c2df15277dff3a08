//! Azure's instance data: what the machine is.
//!
//! Responsibilities: `/metadata/instance` and what lies below it. Inputs: the instance, a path, the asked format. Outputs:
//! replies. Source: "Azure Instance Metadata Service". Every value is a string, and what is not there is empty. It must
//! never hold anything secret.

use serde_json::{Value, json};

use super::{json_reply, refusal};
use crate::http::Reply;
use crate::instance::Instance;

/// Answers a path such as `instance/compute`.
pub(super) fn answer(instance: &Instance, item: &str, format: Option<&str>) -> Reply {
    let mut parts = item.split('/');
    if parts.next() != Some("instance") {
        return refusal(404, "Not found");
    }
    let whole = document(instance);
    let found = parts.try_fold(&whole, |node, part| match part.parse::<usize>() {
        Ok(index) => node.get(index),
        Err(_) => node.get(part),
    });
    match (found, format) {
        (None, _) => refusal(404, "Not found"),
        (Some(Value::String(text)), Some("text")) => Reply::new(200, "text/plain; charset=utf-8", text.clone()),
        // "format=text needs to be explicitly specified" for a leaf, because JSON is the usual format.
        (Some(Value::String(_)), _) => refusal(400, "Bad request. The requested format is not supported for a leaf."),
        (Some(node), Some("text")) => Reply::new(200, "text/plain; charset=utf-8", listing(node)),
        (Some(node), _) => json_reply(node),
    }
}

/// What a node holds, a line each, nodes with a trailing slash.
fn listing(node: &Value) -> String {
    let mark = |value: &Value| if value.is_string() { "" } else { "/" };
    let lines: Vec<String> = match node {
        Value::Object(fields) => fields.iter().map(|(name, value)| format!("{name}{}", mark(value))).collect(),
        Value::Array(values) => values.iter().enumerate().map(|(at, value)| format!("{at}{}", mark(value))).collect(),
        _ => Vec::new(),
    };
    lines.join("\n")
}

fn document(instance: &Instance) -> Value {
    let set = instance.scale_set.as_deref().unwrap_or_default();
    let group = format!("/subscriptions/{}/resourceGroups/rehearsal/providers/Microsoft.Compute", instance.account_id);
    let number = instance.name.rsplit('_').next().unwrap_or_default();
    let resource_id = match &instance.scale_set {
        Some(set) => format!("{group}/virtualMachineScaleSets/{set}/virtualMachines/{number}"),
        None => format!("{group}/virtualMachines/{}", instance.name),
    };
    let tags: Vec<String> = instance.tags.iter().flatten().map(|(name, value)| format!("{name}:{value}")).collect();
    let tags_list: Vec<Value> =
        instance.tags.iter().flatten().map(|(name, value)| json!({"name": name, "value": value})).collect();
    json!({
        "compute": {
            "azEnvironment": "AzurePublicCloud",
            "evictionPolicy": if instance.is_spot() { "Delete" } else { "" },
            "location": instance.region(),
            "name": instance.name,
            "osProfile": {"adminUsername": "", "computerName": instance.name.replace('_', ""),
                "disablePasswordAuthentication": "true"},
            "osType": "Linux",
            "placementGroupId": if set.is_empty() { "" } else { "7a2c4a6e-3b43-44b5-9f2e-9f8d4b8a8d1c" },
            "platformFaultDomain": "0",
            "platformUpdateDomain": "0",
            "priority": if instance.is_spot() { "Spot" } else { "Regular" },
            "provider": "Microsoft.Compute",
            "resourceGroupName": "rehearsal",
            "resourceId": resource_id,
            "subscriptionId": instance.account_id,
            "tags": tags.join(";"),
            "tagsList": tags_list,
            "vmId": instance.id,
            "vmScaleSetName": set,
            "vmSize": instance.instance_type,
            "zone": instance.zone,
        },
        "network": {"interface": [{
            "ipv4": {"ipAddress": [{"privateIpAddress": instance.private_ip, "publicIpAddress": ""}],
                "subnet": [{"address": "10.0.0.0", "prefix": "24"}]},
            "ipv6": {"ipAddress": []},
            "macAddress": "0011AAFFBB22",
        }]},
    })
}
