//! Texts that are rendered once for all readers. However many readers there are, and however slowly they read, they
//! share a few texts: one report for each look, and one page and one set of metrics for each second, up to [`HELD`]
//! bytes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;

/// The bytes that readers may hold before a text is rendered again. Beyond that limit, all readers get the last text,
/// until the timeout of an answer disconnects the readers of older texts.
const HELD: usize = 16 << 20;

/// Counts the bytes that readers hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Held(Arc<AtomicUsize>);

impl Held {
    /// The number of bytes that are held now.
    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// A text, and the number of its readers.
#[derive(Debug)]
struct Text {
    content: String,
    readers: AtomicUsize,
    held: Held,
}

/// One reader's share of a text. The text counts once, whatever the number of its readers.
struct Share(Arc<Text>);

impl Share {
    fn of(text: &Arc<Text>) -> Self {
        if text.readers.fetch_add(1, Ordering::Relaxed) == 0 {
            text.held.0.fetch_add(text.content.len(), Ordering::Relaxed);
        }
        Self(Arc::clone(text))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.0.readers.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.held.0.fetch_sub(self.0.content.len(), Ordering::Relaxed);
        }
    }
}

impl AsRef<[u8]> for Share {
    fn as_ref(&self) -> &[u8] {
        self.0.content.as_bytes()
    }
}

/// The last text of one kind, and its key.
#[derive(Debug)]
pub(super) struct TextCache<K> {
    last: Mutex<Option<(K, Arc<Text>)>>,
    held: Held,
}

impl<K: PartialEq> TextCache<K> {
    /// Returns an empty cache, whose readers count in `held`.
    pub(super) fn new(held: &Held) -> Self {
        Self {
            last: Mutex::default(),
            held: held.clone(),
        }
    }

    /// Returns the text of `key`; `write` renders it if it is not cached. None if readers hold too much and the cached text does
    /// not `serve` instead.
    pub(super) fn get<E>(
        &self,
        key: K,
        serves: impl FnOnce(&K) -> bool,
        write: impl FnOnce() -> Result<String, E>,
    ) -> Result<Option<Bytes>, E> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let full = self.held.bytes() > HELD;
        match &*last {
            Some((of, text)) if *of == key || (full && serves(of)) => {
                return Ok(Some(Bytes::from_owner(Share::of(text))));
            }
            Some(_) if full => return Ok(None),
            _ => {}
        }
        *last = None; // before the next is rendered: without readers there is one at a time
        let text = Arc::new(Text {
            content: write()?,
            readers: AtomicUsize::new(0),
            held: self.held.clone(),
        });
        let share = Share::of(&text);
        *last = Some((key, text));
        Ok(Some(Bytes::from_owner(share)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: usize = 3 << 20;

    fn text(cache: &TextCache<u32>, key: u32, serves: bool) -> Option<Bytes> {
        let written = cache.get(key, |_| serves, || Ok::<_, ()>(key.to_string().repeat(PART)));
        written.expect("it is written")
    }

    #[test]
    fn a_text_is_written_once_and_counts_once() {
        let held = Held::default();
        let cache = TextCache::new(&held);
        let readers: Vec<_> = (0..1000).map(|_| text(&cache, 1, false)).collect();
        assert_eq!(held.bytes(), PART);
        assert!(readers.iter().flatten().all(|bytes| bytes.len() == PART));
        let again = cache.get(1, |_| false, || Err("written again"));
        assert!(again.is_ok_and(|bytes| bytes.is_some()));
        drop(readers);
        assert_eq!(held.bytes(), 0, "a reader that is done holds nothing");
    }

    #[test]
    fn readers_of_many_looks_hold_no_more_than_the_limit() {
        let held = Held::default();
        let (cache, other) = (TextCache::new(&held), TextCache::new(&held));
        let mut readers: Vec<_> = (0..100).map(|key| text(&cache, key % 10, true)).collect();
        assert!(held.bytes() <= HELD + PART, "{}", held.bytes());
        assert!(readers.iter().all(Option::is_some), "no reader is refused");
        assert_eq!(
            text(&other, 1, false).map(|bytes| bytes.len()),
            Some(PART),
            "the first of its kind"
        );
        assert_eq!(text(&other, 2, false), None, "another kind does not serve");
        readers.clear();
        assert!(text(&other, 2, false).is_some(), "there is room again");
    }
}
