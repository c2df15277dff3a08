//! The bill of materials: CycloneDX 1.5 in JSON (cyclonedx.org/docs/1.5/json).
//! Inputs: an inventory. Outputs: a text. Must never hold a time, a path or anything else of the machine: it is part of packages
//! that are the same wherever they are built.

use crate::{Crate, Inventory};
use anyhow::Result;
use serde_json::{Value, json};
use uuid::Uuid;

/// The text.
///
/// # Errors
/// None that is known: what cannot be written as JSON.
pub fn text(inventory: &Inventory) -> Result<String> {
    let components: Vec<Value> = inventory.crates.iter().map(component).collect();
    let of = |at: &usize| inventory.crates.get(*at).map(Crate::purl);
    let dependencies = inventory.crates.iter().map(|found| {
        let uses: Vec<String> = found.uses.iter().filter_map(of).collect();
        json!({ "ref": found.purl(), "dependsOn": uses })
    });
    let whole = "cloudsnooze-packages";
    let roots: Vec<String> = inventory.roots.iter().filter_map(of).collect();
    let mut dependencies: Vec<Value> = dependencies.collect();
    dependencies.push(json!({ "ref": whole, "dependsOn": roots }));
    let mut bill = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": {
            "type": "application",
            "bom-ref": whole,
            "name": "cloudsnooze",
            "version": inventory.version,
            "licenses": [{ "expression": "Apache-2.0" }],
        } },
        "components": components,
        "dependencies": dependencies,
    });
    // The same content has the same number: that of the content itself.
    let number = Uuid::new_v5(&Uuid::NAMESPACE_OID, bill.to_string().as_bytes());
    bill["serialNumber"] = format!("urn:uuid:{number}").into();
    Ok(serde_json::to_string_pretty(&bill)? + "\n")
}

fn component(found: &Crate) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": found.purl(),
        "name": found.name,
        "version": found.version,
        "purl": found.purl(),
    });
    if let Some(licence) = &found.licence {
        component["licenses"] = match licence.strip_prefix("LicenseRef-") {
            Some(_) => json!([{ "license": { "name": "see THIRD-PARTY.txt" } }]),
            None => json!([{ "expression": licence }]),
        };
    }
    if let Some(sha256) = &found.sha256 {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": sha256 }]);
    }
    if let Some(repository) = &found.repository {
        component["externalReferences"] = json!([{ "type": "vcs", "url": repository }]);
    }
    component
}
