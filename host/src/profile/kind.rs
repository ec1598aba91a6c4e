//! kperf's request kinds: each is a spelling of a bundled plugin with these keys as its configuration.
//!
//! Only names are known here, for lines and suggestions; what the values may be is the plugin's business.

/// A request kind of kperf.
#[derive(Debug)]
pub(super) struct Kind {
    /// kperf's word.
    pub(super) key: &'static str,
    /// The bundled plugin.
    pub(super) plugin: &'static str,
    /// Keys whose values are text.
    pub(super) texts: &'static [&'static str],
    /// Keys whose values are numbers.
    pub(super) numbers: &'static [&'static str],
    /// Older names: (then, now).
    pub(super) older: &'static [(&'static str, &'static str)],
}

const LIST: &[&str] = &[
    "group",
    "version",
    "resource",
    "namespace",
    "selector",
    "fieldSelector",
];
const OBJECT: &[&str] = &["group", "version", "resource", "namespace", "name"];
const SELETOR: &[(&str, &str)] = &[("seletor", "selector")];

/// All kinds, in the order in which kperf looks for them.
pub(super) const KINDS: &[Kind] = &[
    Kind {
        key: "staleList",
        plugin: "stale_list",
        texts: LIST,
        numbers: &["limit"],
        older: SELETOR,
    },
    Kind {
        key: "quorumList",
        plugin: "quorum_list",
        texts: LIST,
        numbers: &["limit"],
        older: SELETOR,
    },
    Kind {
        key: "watchList",
        plugin: "watch_list",
        texts: LIST,
        numbers: &[],
        older: SELETOR,
    },
    Kind {
        key: "staleGet",
        plugin: "stale_get",
        texts: OBJECT,
        numbers: &[],
        older: &[],
    },
    Kind {
        key: "quorumGet",
        plugin: "quorum_get",
        texts: OBJECT,
        numbers: &[],
        older: &[],
    },
    Kind {
        key: "put",
        plugin: "put",
        texts: OBJECT,
        numbers: &["keySpaceSize", "payloadSize"],
        older: &[("valueSize", "payloadSize")],
    },
    Kind {
        key: "patch",
        plugin: "patch",
        texts: &[
            "group",
            "version",
            "resource",
            "namespace",
            "name",
            "patchType",
            "body",
        ],
        numbers: &["keySpaceSize"],
        older: &[],
    },
    Kind {
        key: "getPodLog",
        plugin: "get_pod_log",
        texts: &["namespace", "name", "container"],
        numbers: &["tailLines", "limitBytes"],
        older: &[],
    },
    Kind {
        key: "postDel",
        plugin: "post_del",
        texts: &["group", "version", "resource", "namespace"],
        numbers: &["deleteRatio", "payloadSize"],
        older: &[],
    },
];

impl Kind {
    /// Every key it takes.
    pub(super) fn keys(&self) -> Vec<&'static str> {
        let older = self.older.iter().map(|(then, _)| then);
        self.texts
            .iter()
            .chain(self.numbers)
            .chain(older)
            .copied()
            .collect()
    }
}
