//! One page of a list as the API server prints it: `Table` of meta.k8s.io/v1.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::apiserver::answer::Answer;
use crate::apiserver::refusal::Refusal;
use crate::model::publishing::Outcome;
use crate::model::text::cut_bytes;

/// The maximum size of a cell in bytes: a name has at most 253, and the text of a status is short.
const CELL_LIMIT: usize = 256;

/// A page.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Table {
    kind: String,
    #[serde(default)]
    column_definitions: Vec<Column>,
    #[serde(default)]
    rows: Option<Vec<Line>>,
    #[serde(default)]
    metadata: ListMetadata,
}

#[derive(Debug, Deserialize)]
struct Column {
    name: String,
}

/// One object.
#[derive(Debug, Deserialize)]
pub(super) struct Line {
    cells: Vec<Value>,
    #[serde(default)]
    object: Option<Object>,
}

#[derive(Debug, Deserialize)]
struct Object {
    metadata: Option<Metadata>,
}

/// The fields of an object's metadata that are read.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Metadata {
    /// Its labels.
    pub(super) labels: Option<BTreeMap<String, String>>,
    /// Its namespace.
    pub(super) namespace: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ListMetadata {
    #[serde(rename = "continue")]
    next: Option<String>,
    remaining_item_count: Option<u64>,
}

/// The objects of a page, and the reference to the next one.
#[derive(Debug)]
pub(super) struct Page<T> {
    /// The objects.
    pub(super) items: Vec<T>,
    /// The token of the next page; none for the last page.
    pub(super) next: Option<String>,
    /// The number of objects after it, where the server reports it.
    pub(super) remaining: Option<u64>,
}

impl Table {
    /// Reads the table in `answer`.
    pub(super) fn read(asked: &str, answer: &Answer) -> Result<Self, Refusal> {
        let table: Self = answer.decode()?;
        if table.kind == "Table" {
            return Ok(table);
        }
        let what = format!("the answer is of {:?}, not a Table", table.kind);
        Err(Refusal::new(Outcome::BadAnswer, asked, what))
    }

    /// Converts each line with `of`, which gets its cells under these column names.
    pub(super) fn page<const N: usize, T>(
        self,
        asked: &str,
        names: [&str; N],
        of: impl Fn([String; N], Metadata) -> T,
    ) -> Result<Page<T>, Refusal> {
        let mut places = [0; N];
        for (place, name) in places.iter_mut().zip(names) {
            let at = self.column_definitions.iter().position(|column| column.name == name);
            *place = at.ok_or_else(|| {
                let what = format!("the table has no column {name:?}");
                Refusal::new(Outcome::BadAnswer, asked, what)
            })?;
        }
        let items = self.rows.unwrap_or_default().into_iter().map(|line| {
            let cells = places.map(|at| cell(line.cells.get(at)));
            let metadata = line.object.and_then(|object| object.metadata);
            of(cells, metadata.unwrap_or_default())
        });
        Ok(Page {
            items: items.collect(),
            next: self.metadata.next.filter(|token| !token.is_empty()),
            remaining: self.metadata.remaining_item_count,
        })
    }
}

fn cell(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => cut_bytes(text.into(), CELL_LIMIT).into_owned(),
        Some(Value::Null) | None => String::new(),
        Some(other) => cut_bytes(other.to_string().into(), CELL_LIMIT).into_owned(),
    }
}
