//! Where keys stand in a YAML text, and how they are called in messages.
//!
//! A second reading of the text, for positions only. Aliases share their anchor's tree, so that a text of
//! nested aliases takes no more room here than it does on disk.

use std::{collections::HashMap, sync::Arc};

use granit_parser::{Event, Parser, ScalarStyle};

/// Line and column, from 1.
pub(super) type Position = (usize, usize);

/// A node of the text.
#[derive(Debug)]
pub(super) struct Node {
    at: Position,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// The text, if it was written without quotes.
    Scalar(Option<String>),
    List(Vec<Arc<Node>>),
    Map(Vec<(String, Position, Arc<Node>)>),
}

struct Open {
    anchor: usize,
    node: Node,
    /// Key of a map that waits for its value.
    key: Option<(String, Position)>,
}

/// Reads a text that is known to be valid YAML of one document. None if the two parsers disagree: messages
/// then go without lines.
pub(super) fn locate(text: &str) -> Option<Arc<Node>> {
    let mut anchors: HashMap<usize, Arc<Node>> = HashMap::new();
    let mut open: Vec<Open> = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.ok()?;
        let at = (span.start.line(), span.start.col() + 1);
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, _) => {
                let name = text.into_owned();
                // A scalar where a map expects a key is that key.
                if let Some(Open {
                    node:
                        Node {
                            content: Content::Map(_),
                            ..
                        },
                    key: key @ None,
                    ..
                }) = open.last_mut()
                {
                    *key = Some((name, at));
                    continue;
                }
                let plain = (style == ScalarStyle::Plain).then_some(name);
                let content = Content::Scalar(plain);
                (Arc::new(Node { at, content }), anchor)
            }
            Event::Alias(anchor) => (anchors.get(&anchor).cloned()?, 0),
            Event::SequenceStart(_, anchor, _) => {
                open.push(Open::new(anchor, at, Content::List(Vec::new())));
                continue;
            }
            Event::MappingStart(_, anchor, _) => {
                open.push(Open::new(anchor, at, Content::Map(Vec::new())));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let closed = open.pop()?;
                (Arc::new(closed.node), closed.anchor)
            }
            _ => continue,
        };
        if anchor != 0 {
            anchors.insert(anchor, Arc::clone(&node));
        }
        let Some(parent) = open.last_mut() else {
            return Some(node);
        };
        match &mut parent.node.content {
            Content::List(items) => items.push(node),
            Content::Map(entries) => match parent.key.take() {
                Some((key, at)) => entries.push((key, at, node)),
                // A list or map as a key; nothing here has such a name.
                None => parent.key = Some((String::new(), node.at)),
            },
            Content::Scalar(_) => return None,
        }
    }
    None
}

impl Open {
    fn new(anchor: usize, at: Position, content: Content) -> Self {
        Self {
            anchor,
            node: Node { at, content },
            key: None,
        }
    }
}

impl Node {
    /// The node at a path, and the position of the key or list element that leads to it.
    pub(super) fn find(self: &Arc<Self>, path: &str) -> Option<(Position, &Self)> {
        let mut found = (self.at, self.as_ref());
        for step in steps(path)? {
            found = match (&found.1.content, step) {
                (Content::List(items), Step::Item(index)) => {
                    let node = items.get(index)?;
                    (node.at, node.as_ref())
                }
                (Content::Map(_), Step::Key(key)) => found.1.entry(&key)?,
                _ => return None,
            };
        }
        Some(found)
    }

    /// The node under a key of a map.
    pub(super) fn child(&self, key: &str) -> Option<Arc<Self>> {
        let Content::Map(entries) = &self.content else {
            return None;
        };
        let found = entries.iter().find(|(name, ..)| name == key);
        found.map(|(_, _, node)| Arc::clone(node))
    }

    /// An entry of a map, or of what is merged into it with `<<`.
    fn entry(&self, key: &str) -> Option<(Position, &Self)> {
        let Content::Map(entries) = &self.content else {
            return None;
        };
        if let Some((_, at, node)) = entries.iter().find(|(name, ..)| name == key) {
            return Some((*at, node));
        }
        let (_, _, merged) = entries.iter().find(|(name, ..)| name == "<<")?;
        match &merged.content {
            Content::Map(_) => merged.entry(key),
            Content::List(maps) => maps.iter().find_map(|map| map.entry(key)),
            Content::Scalar(_) => None,
        }
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self.content, Content::List(_))
    }

    /// A scalar as it was written, if without quotes.
    pub(super) fn plain_text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(text) => text.as_deref(),
            _ => None,
        }
    }
}

enum Step {
    Key(String),
    Item(usize),
}

/// The path of a key in a map.
pub(super) fn child(path: &str, key: &str) -> String {
    let simple = !key.is_empty()
        && key
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-');
    match (simple, path.is_empty()) {
        (true, true) => key.to_owned(),
        (true, false) => format!("{path}.{key}"),
        (false, _) => format!("{path}[{}]", serde_json::Value::from(key)),
    }
}

/// The path of an element of a list.
pub(super) fn item(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

/// What a path is part of.
pub(super) fn parent(path: &str) -> Option<&str> {
    if path.is_empty() {
        return None;
    }
    // A quoted key may hold dots and brackets: walk from the start.
    let mut rest = path;
    let mut end = 0;
    while !rest.is_empty() {
        end = path.len() - rest.len();
        rest = step(rest)?.1;
    }
    path.get(..end)
}

fn steps(path: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        let (found, after) = step(rest)?;
        steps.push(found);
        rest = after;
    }
    Some(steps)
}

fn step(path: &str) -> Option<(Step, &str)> {
    if let Some(bracket) = path.strip_prefix('[') {
        if bracket.starts_with('"') {
            let mut values = serde_json::Deserializer::from_str(bracket).into_iter::<String>();
            let key = values.next()?.ok()?;
            let after = bracket.get(values.byte_offset()..)?.strip_prefix(']')?;
            return Some((Step::Key(key), after));
        }
        let (index, after) = bracket.split_once(']')?;
        return Some((Step::Item(index.parse().ok()?), after));
    }
    let path = path.strip_prefix('.').unwrap_or(path);
    let end = path.find(['.', '[']).unwrap_or(path.len());
    let (key, after) = path.split_at(end);
    (!key.is_empty()).then(|| (Step::Key(key.to_owned()), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# comment
a: 1
list:
  - x: {y: 'z', \"odd.key[0]\": 2}
  -
    - deep
base: &base {shared: 007}
user:
  <<: *base
  own: true
again: *base
";

    #[test]
    fn paths_lead_to_lines() {
        let root = locate(TEXT).unwrap();
        for (path, expected) in [
            ("", (2, 1)),
            ("a", (2, 1)),
            ("list", (3, 1)),
            ("list[0]", (4, 5)),
            ("list[0].x", (4, 5)),
            ("list[0].x.y", (4, 9)),
            ("list[0].x[\"odd.key[0]\"]", (4, 17)),
            ("list[1][0]", (6, 7)),
            ("user.shared", (7, 14)),
            ("user.own", (10, 3)),
            ("again.shared", (7, 14)),
        ] {
            assert_eq!(
                root.find(path).map(|found| found.0),
                Some(expected),
                "{path}"
            );
        }
        for path in [
            "b",
            "a.b",
            "list[2]",
            "list.x",
            "list[",
            "list[0]x[\"",
            "user..own",
        ] {
            assert!(root.find(path).is_none(), "{path}");
        }
        assert_eq!(
            root.find("base.shared").unwrap().1.plain_text(),
            Some("007")
        );
        assert_eq!(root.find("list[0].x.y").unwrap().1.plain_text(), None);
    }

    #[test]
    fn paths_are_built_and_taken_apart() {
        let path = child(&child(&item(&child("", "specs"), 3), "odd.key]\"["), "end");
        assert_eq!(path, "specs[3][\"odd.key]\\\"[\"].end");
        let mut up = vec![path.as_str()];
        while let Some(next) = parent(up.last().unwrap()) {
            up.push(next);
        }
        assert_eq!(
            up,
            [
                path.as_str(),
                "specs[3][\"odd.key]\\\"[\"]",
                "specs[3]",
                "specs",
                ""
            ]
        );
    }

    #[test]
    fn nested_aliases_share_their_trees() {
        let mut text = String::from("a0: &a0 [x]\n");
        for level in 1..60 {
            text += &format!("a{level}: &a{level} [*a{0}, *a{0}]\n", level - 1);
        }
        let root = locate(&text).unwrap();
        assert_eq!(root.find("a59[1][0][1]").unwrap().0, (57, 11));
    }
}
