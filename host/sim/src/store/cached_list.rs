//! Encoded list items, kept per namespace until an object in it changes.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bytes::Bytes;

use super::object::Object;

/// Parts below this size are copied together: a DATA frame costs more than the copy.
const SMALL_BYTES: usize = 16 * 1024;

/// The items of a list, comma-separated, in parts that other lists share.
pub(crate) type ListChunks = Vec<Bytes>;

/// Encoded items by namespace.
#[derive(Debug, Default)]
pub(super) struct CachedItems(HashMap<Arc<str>, Bytes>);

impl CachedItems {
    pub(super) fn forget(&mut self, namespace: &str) {
        self.0.remove(namespace);
    }

    pub(super) fn collect<'a>(
        &mut self,
        namespaces: impl Iterator<Item = (&'a Arc<str>, &'a BTreeMap<Arc<str>, Arc<Object>>)>,
    ) -> ListChunks {
        let mut chunks = Vec::new();
        let mut small: Vec<u8> = Vec::new();
        let mut first = true;
        for (namespace, objects) in namespaces.filter(|(_, objects)| !objects.is_empty()) {
            let items = self
                .0
                .entry(Arc::clone(namespace))
                .or_insert_with(|| encode(objects));
            if !first {
                small.push(b',');
            }
            first = false;
            if items.len() < SMALL_BYTES {
                small.extend_from_slice(items);
            } else {
                if !small.is_empty() {
                    chunks.push(Bytes::from(std::mem::take(&mut small)));
                }
                chunks.push(items.clone());
            }
        }
        if !small.is_empty() {
            chunks.push(Bytes::from(small));
        }
        chunks
    }
}

fn encode(objects: &BTreeMap<Arc<str>, Arc<Object>>) -> Bytes {
    let mut out = Vec::with_capacity(objects.values().map(|o| o.json().len() + 1).sum());
    for (i, object) in objects.values().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        object.write_item(&mut out);
    }
    Bytes::from(out)
}
