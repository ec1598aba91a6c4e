//! From JSON text to the few values a plan asks for. Everything else is skipped, never built.
//!
//! A slot gets the text of its value within the input: nothing is copied.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::plan::{Node, PickBy, Plan};

/// The text of each slot; `None` where there is no such field.
pub(crate) type Slots<'de> = Vec<Option<&'de str>>;

/// One event of a watch.
#[derive(Debug)]
pub(crate) struct Event<'de> {
    /// `ADDED`, `MODIFIED`, …
    pub(crate) kind: &'de str,
    pub(crate) slots: Slots<'de>,
}

/// What a page of a list says about itself.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct PageMeta {
    pub(crate) resource_version: String,
    #[serde(rename = "continue")]
    pub(crate) next: String,
}

/// Reads one event.
pub(crate) fn event<'de>(plan: &Plan, line: &'de str) -> Result<Event<'de>, serde_json::Error> {
    let mut slots = vec![None; plan.slots];
    let mut json = serde_json::Deserializer::from_str(line);
    let kind = json.deserialize_map(EventVisitor {
        plan,
        slots: &mut slots,
    })?;
    json.end()?;
    Ok(Event {
        kind: kind.unwrap_or_default(),
        slots,
    })
}

/// Reads a page of a list; `each` gets the slots of each item.
pub(crate) fn page<'de>(
    plan: &Plan,
    text: &'de str,
    each: &mut dyn FnMut(&[Option<&'de str>]),
) -> Result<PageMeta, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    let meta = json.deserialize_map(PageVisitor { plan, each })?;
    json.end()?;
    Ok(meta)
}

struct EventVisitor<'p, 'o, 'de> {
    plan: &'p Plan,
    slots: &'o mut Slots<'de>,
}

impl<'de> Visitor<'de> for EventVisitor<'_, '_, 'de> {
    type Value = Option<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event of a watch")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut kind = None;
        while let Some(key) = map.next_key_seed(OneOf(&["type", "object"]))? {
            match key {
                Some(0) => kind = super::check::plain(map.next_value::<&RawValue>()?.get()),
                Some(_) => map.next_value_seed(At {
                    node: &self.plan.root,
                    slots: &mut *self.slots,
                })?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(kind)
    }
}

struct PageVisitor<'p, 'f, 'de> {
    plan: &'p Plan,
    each: &'f mut dyn FnMut(&[Option<&'de str>]),
}

impl<'de> Visitor<'de> for PageVisitor<'_, '_, 'de> {
    type Value = PageMeta;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PageMeta, A::Error> {
        let mut meta = PageMeta::default();
        while let Some(key) = map.next_key_seed(OneOf(&["metadata", "items"]))? {
            match key {
                Some(0) => meta = map.next_value()?,
                Some(_) => map.next_value_seed(Items {
                    plan: self.plan,
                    each: &mut *self.each,
                })?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(meta)
    }
}

struct Items<'p, 'f, 'de> {
    plan: &'p Plan,
    each: &'f mut dyn FnMut(&[Option<&'de str>]),
}

impl<'de> DeserializeSeed<'de> for Items<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Items<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    // An empty list may say null.
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let mut slots = vec![None; self.plan.slots];
        while items
            .next_element_seed(At {
                node: &self.plan.root,
                slots: &mut slots,
            })?
            .is_some()
        {
            (self.each)(&slots);
            slots.fill(None);
        }
        Ok(())
    }
}

/// A key, as its place among the known ones.
struct OneOf<'k>(&'k [&'k str]);

impl<'de> DeserializeSeed<'de> for OneOf<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Option<usize>, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for OneOf<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Option<usize>, E> {
        Ok(self.0.iter().position(|known| *known == key))
    }
}

/// The same with the fields of a node.
struct FieldOf<'p>(&'p Node);

impl<'de> DeserializeSeed<'de> for FieldOf<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Option<usize>, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for FieldOf<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Option<usize>, E> {
        Ok(self.0.fields.iter().position(|(known, _)| **known == *key))
    }
}

/// The value at a node.
struct At<'p, 'o, 'de> {
    node: &'p Node,
    slots: &'o mut Slots<'de>,
}

impl<'de> DeserializeSeed<'de> for At<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        let Some(slot) = self.node.slot else {
            return json.deserialize_any(self);
        };
        let text = <&RawValue>::deserialize(json)?.get();
        if let Some(place) = self.slots.get_mut(slot) {
            *place = Some(text);
        }
        if self.node.is_leaf() {
            return Ok(());
        }
        // Wanted as a whole and in parts: the parts are read from the whole.
        inside(self.node, text, self.slots).map_err(serde::de::Error::custom)
    }
}

/// Reads the parts of a value, not itself.
fn inside<'de>(
    node: &Node,
    text: &'de str,
    slots: &mut Slots<'de>,
) -> Result<(), serde_json::Error> {
    serde_json::Deserializer::from_str(text).deserialize_any(At { node, slots })
}

impl<'de> Visitor<'de> for At<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(field) = map.next_key_seed(FieldOf(self.node))? {
            match field.and_then(|field| self.node.fields.get(field)) {
                Some((_, node)) => map.next_value_seed(At {
                    node,
                    slots: &mut *self.slots,
                })?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { node, slots } = self;
        if node.picks.is_empty() && node.elements.is_empty() {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        let mut found: Vec<Vec<bool>> = node
            .picks
            .iter()
            .map(|by| vec![false; by.wanted.len()])
            .collect();
        let mut index = 0;
        while let Some(element) = seq.next_element::<&RawValue>()? {
            let text = element.get();
            let numbered = node.elements.iter().find(|(element, _)| *element == index);
            if let Some((_, node)) = numbered.and_then(|(_, field)| node.fields.get(*field)) {
                at(node, text, slots).map_err(serde::de::Error::custom)?;
            }
            for (by, found) in node.picks.iter().zip(&mut found) {
                let picked = pick(by, text).map_err(serde::de::Error::custom)?;
                if let Some((_, node)) = picked.and_then(|i| by.wanted.get(i))
                    && let Some(found) = picked.and_then(|i| found.get_mut(i))
                    && !std::mem::replace(found, true)
                {
                    at(node, text, slots).map_err(serde::de::Error::custom)?;
                }
            }
            index += 1;
        }
        Ok(())
    }

    // Anything else has no parts.
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// An element that was picked: itself if it is wanted, and its parts.
fn at<'de>(node: &Node, text: &'de str, slots: &mut Slots<'de>) -> Result<(), serde_json::Error> {
    if let Some(place) = node.slot.and_then(|slot| slots.get_mut(slot)) {
        *place = Some(text);
    }
    if node.is_leaf() {
        Ok(())
    } else {
        inside(node, text, slots)
    }
}

/// Which of the wanted elements this is. Keys stand in any order, so the element is read for its key first.
fn pick(by: &PickBy, text: &str) -> Result<Option<usize>, serde_json::Error> {
    let Some(value) = serde_json::Deserializer::from_str(text).deserialize_any(KeyOf(&by.key))?
    else {
        return Ok(None);
    };
    let unescaped;
    let value = match super::check::plain(value) {
        Some(plain) => plain,
        None if value.starts_with('"') => {
            unescaped = serde_json::from_str::<String>(value)?;
            &unescaped
        }
        // Numbers and booleans as they are written.
        None => value,
    };
    Ok(by.wanted.iter().position(|(wanted, _)| **wanted == *value))
}

/// The text of one field of an object.
struct KeyOf<'k>(&'k str);

impl<'de> Visitor<'de> for KeyOf<'_> {
    type Value = Option<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut value = None;
        while let Some(key) = map.next_key_seed(OneOf(&[self.0]))? {
            if key.is_some() {
                value = Some(map.next_value::<&RawValue>()?.get());
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}
