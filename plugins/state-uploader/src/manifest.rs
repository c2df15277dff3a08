//! The manifest: what an upload left in the store, written when everything else is there.
//!
//! Inputs: files, links, what was left out. Outputs: `manifest.json` below the prefix. Must never be written over one that
//! somebody else wrote since this upload began, where the store can tell.

use crate::fault::Fault;
use crate::wire::Once;
use object_store::path::Path;
use object_store::{ObjectStore, PutMode, PutOptions, UpdateVersion};
use serde::{Deserialize, Serialize};

/// What the document calls itself.
const FORMAT: &str = "cloudsnooze.state/1";
/// A larger one is not read: it is not ours.
const MAX_BYTES: u64 = 64 << 20;

/// The document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) format: String,
    /// The event that it was written for.
    pub(crate) event: String,
    pub(crate) event_type: String,
    pub(crate) instance: String,
    /// RFC 3339.
    pub(crate) written: String,
    /// Whether everything that was to be uploaded is in `files`.
    pub(crate) complete: bool,
    pub(crate) files: Vec<Entry>,
    /// Links inside a source, which have no object.
    #[serde(default)]
    pub(crate) links: Vec<LinkEntry>,
    #[serde(default)]
    pub(crate) left_out: Vec<LeftOut>,
}

/// A file that is in the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Name of the source, and the path below it.
    pub(crate) name: String,
    /// The object.
    pub(crate) key: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
    /// As the store gave it.
    #[serde(default)]
    pub(crate) e_tag: Option<String>,
    /// Nanoseconds since 1970.
    pub(crate) modified_ns: i64,
    /// Permissions, octal.
    pub(crate) mode: String,
    /// It changed twice while it was read: what is there may be of two times.
    #[serde(default)]
    pub(crate) changed_while_read: bool,
}

/// A link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LinkEntry {
    pub(crate) name: String,
    pub(crate) target: String,
}

/// A file that is not in the store as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LeftOut {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) reason: String,
}

/// What was there when the upload began.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one of it is made for each upload")]
pub(crate) enum Earlier {
    /// None.
    None,
    /// This one, or a document that is not one.
    Some(Option<Manifest>, UpdateVersion),
    /// The store would not say.
    Unknown,
}

/// How it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) key: Path,
    /// The store looked whether it was still the one from the beginning.
    pub(crate) is_conditional: bool,
    /// Somebody else had written one: this one has a name of its own.
    pub(crate) is_aside: bool,
}

impl Manifest {
    pub(crate) fn new() -> Self {
        Self { format: FORMAT.to_owned(), written: jiff::Timestamp::now().to_string(), ..Self::default() }
    }
}

/// Where it is.
pub(crate) fn key(prefix: &Path) -> Path {
    prefix.clone().join("manifest.json")
}

/// Reads the one that is there.
///
/// # Errors
/// The store cannot be reached.
pub(crate) async fn read(store: &dyn ObjectStore, key: &Path) -> Result<Earlier, Fault> {
    let got = match store.get_opts(key, Once::look(false)).await {
        Ok(got) => got,
        Err(object_store::Error::NotFound { .. }) => return Ok(Earlier::None),
        // Without the right to list a bucket, a missing object is refused too.
        Err(error) if crate::fault::is_denied(&error) => return Ok(Earlier::Unknown),
        Err(error) => return Err(error.into()),
    };
    let version = UpdateVersion { e_tag: got.meta.e_tag.clone(), version: got.meta.version.clone() };
    if got.meta.size > MAX_BYTES {
        return Ok(Earlier::Some(None, version));
    }
    let bytes = got.bytes().await?;
    let manifest = serde_json::from_slice(&bytes).ok().filter(|manifest: &Manifest| manifest.format == FORMAT);
    Ok(Earlier::Some(manifest, version))
}

/// Writes it, unless somebody else has since `earlier` was read: then beside it.
///
/// # Errors
/// The store would not take it.
pub(crate) async fn write(
    store: &dyn ObjectStore,
    prefix: &Path,
    manifest: &Manifest,
    earlier: &Earlier,
) -> Result<Written, Fault> {
    let body = serde_json::to_vec_pretty(manifest).map_err(std::io::Error::from)?;
    let put = async |key: &Path, mode: PutMode| {
        let options = PutOptions { mode, ..PutOptions::default() };
        store.put_opts(key, body.clone().into(), options).await
    };
    let main = key(prefix);
    let mode = match earlier {
        Earlier::None => PutMode::Create,
        Earlier::Some(_, version) => PutMode::Update(version.clone()),
        Earlier::Unknown => PutMode::Overwrite,
    };
    let is_conditional = mode != PutMode::Overwrite;
    match put(&main, mode).await {
        Ok(_) => Ok(Written { key: main, is_conditional, is_aside: false }),
        Err(object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. }) => {
            put(&main, PutMode::Overwrite).await?;
            Ok(Written { key: main, is_conditional: false, is_aside: false })
        }
        Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
            // An answer that got lost, or an attempt before a crash: then it is this event's own.
            if let Earlier::Some(Some(now), version) = read(store, &main).await?
                && now.event == manifest.event
                && now.instance == manifest.instance
            {
                put(&main, PutMode::Update(version)).await?;
                return Ok(Written { key: main, is_conditional, is_aside: false });
            }
            let aside = aside(prefix, &manifest.event);
            put(&aside, PutMode::Overwrite).await?;
            Ok(Written { key: aside, is_conditional: false, is_aside: true })
        }
        Err(error) => Err(error.into()),
    }
}

/// Where it is when somebody else has written the usual one.
pub(crate) fn aside(prefix: &Path, event: &str) -> Path {
    prefix.clone().join(format!("manifest-{event}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    fn of(event: &str) -> Manifest {
        Manifest { event: event.to_owned(), ..Manifest::new() }
    }

    #[test]
    fn the_first_is_created_and_the_next_replaces_what_was_read() {
        block_on(async {
            let (store, prefix) = (InMemory::new(), Path::from("p"));
            let nothing = read(&store, &key(&prefix)).await.unwrap();
            assert!(matches!(nothing, Earlier::None));
            let written = write(&store, &prefix, &of("1"), &nothing).await.unwrap();
            assert!(written.is_conditional && !written.is_aside && written.key.as_ref() == "p/manifest.json");
            let first = read(&store, &key(&prefix)).await.unwrap();
            let Earlier::Some(Some(manifest), _) = &first else { panic!("{first:?}") };
            assert_eq!(manifest.event, "1");
            assert!(!write(&store, &prefix, &of("2"), &first).await.unwrap().is_aside);
        });
    }

    #[test]
    fn one_that_somebody_else_wrote_meanwhile_is_left_alone() {
        block_on(async {
            let (store, prefix) = (InMemory::new(), Path::from("p"));
            let earlier = read(&store, &key(&prefix)).await.unwrap();
            write(&store, &prefix, &of("theirs"), &earlier).await.unwrap();
            let written = write(&store, &prefix, &of("ours"), &earlier).await.unwrap();
            assert!(written.is_aside && written.key.as_ref() == "p/manifest-ours.json");
            let Earlier::Some(Some(there), _) = read(&store, &key(&prefix)).await.unwrap() else { panic!() };
            assert_eq!(there.event, "theirs");
            // Its own, of an attempt whose answer was lost, is replaced.
            assert!(!write(&store, &prefix, &of("theirs"), &earlier).await.unwrap().is_aside);
        });
    }

    #[test]
    fn a_document_that_is_no_manifest_is_replaced_and_not_believed() {
        block_on(async {
            let (store, prefix) = (InMemory::new(), Path::from("p"));
            store.put(&key(&prefix), "{\"format\":\"other\"}".into()).await.unwrap();
            let earlier = read(&store, &key(&prefix)).await.unwrap();
            assert!(matches!(earlier, Earlier::Some(None, _)));
            assert!(!write(&store, &prefix, &of("1"), &earlier).await.unwrap().is_aside);
        });
    }
}
