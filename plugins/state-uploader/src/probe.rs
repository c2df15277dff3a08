//! A drill: whether an upload would work, without one.
//!
//! Inputs: a place. Outputs: evidence that a small object can be put, seen and deleted. Must never leave the object behind,
//! nor touch another.

use crate::fault::Fault;
use crate::place::Place;
use crate::record::Known;
use crate::upload::seen;
use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin_runtime::Clock;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use sha2::{Digest, Sha256};
use std::time::{Duration, Instant};

/// Time kept back for taking the object away again.
const FOR_THE_END: Duration = Duration::from_secs(1);

/// Puts, looks and deletes.
///
/// # Errors
/// Which of the three does not work.
pub(crate) async fn probe(place: &Place, prefix: &Path, event: &str, clock: &Clock) -> Result<Value, Fault> {
    let key = prefix.clone().join(format!(".cloudsnooze-drill-{event}"));
    let body = format!("a drill: {event}\n").into_bytes();
    let sha256 = Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
    let bytes = u64::try_from(body.len()).unwrap_or(0);
    let began = Instant::now();
    let there = async {
        let put = place.store.put(&key, PutPayload::from(body)).await?;
        let put_ms = began.elapsed().as_millis();
        seen(place.store.as_ref(), &key).await?.must_be(&Known { bytes, sha256, e_tag: put.e_tag, stamp: None })?;
        Ok::<_, Fault>(put_ms)
    };
    let limit = clock.less(FOR_THE_END.min(clock.left() / 2));
    let put_ms = tokio::select! {
        there = there => there,
        () = limit.over() => Err(Fault::Late("the store had not answered")),
    };
    // Also when the answer was lost.
    let deleted = place.store.delete(&key).await;
    let put_ms = put_ms?;
    deleted?;
    Ok(json!({ "object": place.address(&key), "put_ms": put_ms, "all_ms": began.elapsed().as_millis() }))
}
