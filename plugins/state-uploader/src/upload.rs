//! One file's way into the store, and the look at what arrived.
//!
//! Inputs: a [`Job`]. Outputs: a [`Stored`], or why it is not there. Must never call a file stored whose object was not looked
//! at afterwards, nor leave parts of an upload behind that was given up, as far as the store can be reached.

use crate::fault::Fault;
use crate::read::{Content, Reader, content};
use crate::record::Known;
use crate::tree::FileAt;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, GetOptions, MultipartUpload, ObjectStore, PutMultipartOptions, PutOptions, PutResult,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinSet, spawn_blocking};

/// Most parts that all three kinds of store take; S3 takes 10,000.
const MAX_PARTS: u64 = 9_000;
/// What taking back the parts of an upload that was given up may take.
const ABORT_LIMIT: Duration = Duration::from_secs(1);
/// Under this name the hash stands beside the object, where it was known before the object was made.
const SHA256: &str = "sha256";

/// A file that is to be in the store.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) file: FileAt,
    pub(crate) key: Path,
    /// The store holds an object of this size and tag under that key: it need not be sent if the file's hash is this.
    pub(crate) known: Option<Known>,
}

/// What all files share.
#[derive(Clone)]
pub(crate) struct Way {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) part_bytes: u64,
    /// Requests with a body in memory.
    pub(crate) permits: Arc<Semaphore>,
}

/// A file that is in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) content: Content,
    pub(crate) e_tag: Option<String>,
    /// It was there already.
    pub(crate) is_held: bool,
    /// It had changed while it was read, so it was read again.
    pub(crate) is_retried: bool,
}

/// Uploads a file unless it is there. `through` counts the bytes that the store has taken, `halt` ends it.
///
/// # Errors
/// Why it is not there.
pub(crate) async fn upload(
    way: Way,
    job: Job,
    through: Arc<AtomicU64>,
    halt: watch::Receiver<bool>,
) -> Result<Stored, Fault> {
    if let Some(known) = &job.known {
        let file = job.file.clone();
        let content = spawn_blocking(move || content(&file)).await??;
        if content.sha256 == known.sha256 && !content.is_changed {
            return Ok(Stored { content, e_tag: known.e_tag.clone(), is_held: true, is_retried: false });
        }
    }
    let (content, put) = once(&way, &job, &through, &halt).await?;
    if !content.is_changed {
        return look(&way, &job, content, &put, false).await;
    }
    // Once more: what changes all the time is better there as it was a moment ago than not at all.
    through.store(0, Ordering::Release);
    let (content, put) = once(&way, &job, &through, &halt).await?;
    look(&way, &job, content, &put, true).await
}

async fn once(
    way: &Way,
    job: &Job,
    through: &AtomicU64,
    halt: &watch::Receiver<bool>,
) -> Result<(Content, PutResult), Fault> {
    let file = job.file.clone();
    let reader = spawn_blocking(move || Reader::open(&file)).await??;
    let mut halt = halt.clone();
    if reader.stamp.bytes <= way.part_bytes {
        return tokio::select! {
            biased;
            _ = halt.wait_for(|is_halted| *is_halted) => Err(Fault::Halted),
            done = whole(way, job, reader, through) => done,
        };
    }
    let options = PutMultipartOptions::default();
    let mut parts = way.store.put_multipart_opts(&job.key, options).await?;
    let sent = tokio::select! {
        biased;
        _ = halt.wait_for(|is_halted| *is_halted) => Err(Fault::Halted),
        sent = in_parts(way, reader, parts.as_mut(), through) => sent,
    };
    match sent {
        Ok(content) => Ok((content, parts.complete().await?)),
        Err(fault) => {
            // The store would keep, and charge for, what nobody can read.
            let _aborted = tokio::time::timeout(ABORT_LIMIT, parts.abort()).await;
            Err(fault)
        }
    }
}

/// In one request.
async fn whole(way: &Way, job: &Job, mut reader: Reader, through: &AtomicU64) -> Result<(Content, PutResult), Fault> {
    let _permit = way.permits.acquire().await;
    let read = spawn_blocking(move || {
        let piece = reader.next(u64::MAX)?;
        Ok::<_, std::io::Error>((piece, reader.finish()?))
    });
    let (piece, content) = read.await??;
    let mut attributes = Attributes::new();
    attributes.insert(Attribute::Metadata(SHA256.into()), content.sha256.clone().into());
    let options = PutOptions { attributes, ..PutOptions::default() };
    let put = way.store.put_opts(&job.key, piece.into(), options).await?;
    through.fetch_add(content.bytes, Ordering::AcqRel);
    Ok((content, put))
}

/// In several, of which some are on their way at the same time.
async fn in_parts(
    way: &Way,
    mut reader: Reader,
    upload: &mut dyn MultipartUpload,
    through: &AtomicU64,
) -> Result<Content, Fault> {
    let bytes = way.part_bytes.max(reader.stamp.bytes.div_ceil(MAX_PARTS));
    // Dropping the set ends the requests.
    let mut flying = JoinSet::new();
    loop {
        while let Some(done) = flying.try_join_next() {
            arrived(done, through)?;
        }
        let permit = tokio::select! {
            permit = Arc::clone(&way.permits).acquire_owned() => permit,
            Some(done) = flying.join_next() => {
                arrived(done, through)?;
                continue;
            }
        };
        let (piece, back) = spawn_blocking(move || {
            let piece = reader.next(bytes);
            (piece, reader)
        })
        .await?;
        reader = back;
        let piece = piece?;
        if piece.is_empty() {
            break;
        }
        let length = u64::try_from(piece.len()).unwrap_or(0);
        let part = upload.put_part(piece.into());
        flying.spawn(async move {
            let done = part.await;
            drop(permit);
            done.map(|()| length)
        });
    }
    while let Some(done) = flying.join_next().await {
        arrived(done, through)?;
    }
    Ok(spawn_blocking(move || reader.finish()).await??)
}

fn arrived(done: Result<object_store::Result<u64>, tokio::task::JoinError>, through: &AtomicU64) -> Result<(), Fault> {
    through.fetch_add(done??, Ordering::AcqRel);
    Ok(())
}

/// Compares what is there with what was sent.
async fn look(way: &Way, job: &Job, content: Content, put: &PutResult, is_retried: bool) -> Result<Stored, Fault> {
    let seen = seen(way.store.as_ref(), &job.key).await?;
    seen.must_be(&Known {
        bytes: content.bytes,
        sha256: content.sha256.clone(),
        e_tag: put.e_tag.clone(),
        stamp: None,
    })?;
    Ok(Stored { content, e_tag: put.e_tag.clone().or(seen.e_tag), is_held: false, is_retried })
}

/// An object, as the store shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    bytes: u64,
    e_tag: Option<String>,
    sha256: Option<String>,
}

/// Asks the store for it.
///
/// # Errors
/// It is not there, or the store cannot be asked.
pub(crate) async fn seen(store: &dyn ObjectStore, key: &Path) -> Result<Seen, Fault> {
    let got = store.get_opts(key, GetOptions { head: true, ..GetOptions::default() }).await?;
    let sha256 = got.attributes.get(&Attribute::Metadata(SHA256.into())).map(|value| value.to_string());
    Ok(Seen { bytes: got.meta.size, e_tag: got.meta.e_tag, sha256 })
}

impl Seen {
    /// Whether it is that one, by all that the store shows.
    ///
    /// # Errors
    /// What differs.
    pub(crate) fn must_be(&self, known: &Known) -> Result<(), Fault> {
        if self.bytes != known.bytes {
            let text = format!("the store has {} bytes of it, {} were sent", self.bytes, known.bytes);
            return Err(Fault::Mismatch(text));
        }
        if let (Some(seen), Some(sent)) = (&self.e_tag, &known.e_tag)
            && seen != sent
        {
            return Err(Fault::Mismatch("the store has another version of it".to_owned()));
        }
        if self.sha256.as_ref().is_some_and(|seen| *seen != known.sha256) {
            return Err(Fault::Mismatch("the store has it with another SHA-256".to_owned()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(bytes: u64, sha256: &str, e_tag: Option<&str>) -> Known {
        Known { bytes, sha256: sha256.to_owned(), e_tag: e_tag.map(str::to_owned), stamp: None }
    }

    #[test]
    fn an_object_is_the_one_only_if_nothing_that_is_known_differs() {
        let seen = Seen { bytes: 3, e_tag: Some("e".to_owned()), sha256: Some("s".to_owned()) };
        assert!(seen.must_be(&known(3, "s", Some("e"))).is_ok());
        assert!(seen.must_be(&known(3, "s", None)).is_ok());
        for other in [known(4, "s", Some("e")), known(3, "t", Some("e")), known(3, "s", Some("f"))] {
            assert!(seen.must_be(&other).is_err(), "{other:?}");
        }
        let bare = Seen { bytes: 3, e_tag: None, sha256: None };
        assert!(bare.must_be(&known(3, "t", Some("f"))).is_ok());
    }
}
