//! The dashboards as files: Grafana's own linter accepts them, and everything that they refer to exists.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{deploy, names, parse, read, unknown_metrics};

/// Grafana's current schema version of such files; it upgrades older ones itself.
const SCHEMA_VERSION: u64 = 42;
/// The sum of the widths of the panels in a row.
const COLUMNS: u64 = 24;

/// A target of a panel.
#[derive(Debug)]
pub(crate) struct Target {
    /// The dashboard's file name, without its extension.
    pub(crate) dashboard: String,
    /// The panel's title.
    pub(crate) panel: String,
    /// The target's letter.
    pub(crate) letter: String,
    /// Its expression, with Grafana's variables.
    pub(crate) expression: String,
}

impl Target {
    /// Returns the expression as Grafana would send it.
    pub(crate) fn asked(&self, cluster: &str, node: &str, rate_interval: &str) -> String {
        self.expression
            .replace("$__rate_interval", rate_interval)
            .replace("$cluster", cluster)
            .replace("$node", node)
    }
}

fn dashboards() -> Result<BTreeMap<String, Value>> {
    let folder = deploy().join("dashboards");
    let read_one = |name: String| -> Result<(String, Value)> {
        let dashboard = serde_json::from_str(&read(folder.join(format!("{name}.json")))?)?;
        Ok((name, dashboard))
    };
    names(&folder, ".json")?.into_iter().map(read_one).collect()
}

fn array<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Returns the panels except for rows.
fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    array(dashboard, "/panels")
        .iter()
        .filter(|panel| panel["type"] != "row")
}

/// Returns every target of every dashboard.
pub(crate) fn targets() -> Result<Vec<Target>> {
    let mut found = Vec::new();
    for (name, dashboard) in dashboards()? {
        for panel in panels(&dashboard) {
            for target in array(panel, "/targets") {
                found.push(Target {
                    dashboard: name.clone(),
                    panel: text(panel, "/title").to_owned(),
                    letter: text(target, "/refId").to_owned(),
                    expression: text(target, "/expr").to_owned(),
                });
            }
        }
    }
    Ok(found)
}

#[test]
fn each_dashboard_can_be_provisioned_and_found_again() -> Result<()> {
    let all = dashboards()?;
    assert_eq!(all.keys().collect::<Vec<_>>(), ["fleet", "node"]);
    for (name, dashboard) in &all {
        assert_eq!(
            text(dashboard, "/uid"),
            format!("castoff-{name}"),
            "links and bookmarks rest on it"
        );
        assert_eq!(dashboard["schemaVersion"], SCHEMA_VERSION, "{name}");
        assert_eq!(dashboard["id"], Value::Null, "{name}: each Grafana gives its own");
        assert_eq!(
            dashboard["editable"], false,
            "{name}: a change would be lost with the next version"
        );
        assert_eq!(dashboard["version"], 1, "{name}: Grafana counts by itself");
        ensure!(
            dashboard.get("__inputs").is_none(),
            "{name} asks to be imported by hand"
        );
        ensure!(text(dashboard, "/description").ends_with('.'), "{name}");
        ensure!(array(dashboard, "/tags").contains(&json!("castoff")), "{name}");
    }
    Ok(())
}

#[test]
fn each_dashboard_has_variables_for_data_source_cluster_and_node() -> Result<()> {
    for (name, dashboard) in dashboards()? {
        let variables = array(&dashboard, "/templating/list");
        let named: Vec<&str> = variables.iter().map(|variable| text(variable, "/name")).collect();
        assert_eq!(named, ["datasource", "cluster", "node"], "{name}");
        assert_eq!(
            (text(&variables[0], "/type"), text(&variables[0], "/query")),
            ("datasource", "prometheus")
        );
        for variable in &variables[1..] {
            assert_eq!(text(variable, "/datasource/uid"), "${datasource}", "{name}");
            assert_eq!(variable["refresh"], 2, "{name}: nodes come and go with the time range");
            // Without a cluster label there is nothing to choose, and all series without the label must match.
            let all = variable["includeAll"] != true || text(variable, "/allValue") == ".*";
            ensure!(all, "{name}: {}", variable["name"]);
        }
        assert_eq!(variables[1]["includeAll"], true, "{name}");
    }
    Ok(())
}

#[test]
fn each_panel_has_a_description_and_a_unit() -> Result<()> {
    for (name, dashboard) in dashboards()? {
        for panel in panels(&dashboard) {
            let title = text(panel, "/title");
            ensure!(!title.is_empty(), "{name}: a panel without a title");
            ensure!(
                text(panel, "/description").ends_with('.'),
                "{name}, {title}: no description"
            );
            ensure!(
                !text(panel, "/fieldConfig/defaults/unit").is_empty(),
                "{name}, {title}: no unit"
            );
            ensure!(
                !array(panel, "/targets").is_empty(),
                "{name}, {title}: nothing is asked"
            );
            for source in array(panel, "/targets").iter().chain([panel]) {
                assert_eq!(text(source, "/datasource/uid"), "${datasource}", "{name}, {title}");
            }
            // An empty panel looks the same whether castoff saw nothing or there is nothing.
            let may_be_empty = matches!(text(panel, "/type"), "stat" | "table" | "bargauge");
            let said = !text(panel, "/fieldConfig/defaults/noValue").is_empty();
            ensure!(
                said || !may_be_empty || title == "Nodes",
                "{name}, {title}: what is none?"
            );
        }
    }
    Ok(())
}

#[test]
fn panels_fit_beside_each_other() -> Result<()> {
    for (name, dashboard) in dashboards()? {
        let mut ids = BTreeSet::new();
        let mut taken = BTreeSet::new();
        for panel in array(&dashboard, "/panels") {
            let title = text(panel, "/title");
            ensure!(ids.insert(panel["id"].as_u64()), "{name}, {title}: its id is taken");
            let of = |side: &str| {
                panel["gridPos"][side]
                    .as_u64()
                    .context(format!("{name}, {title}: {side}"))
            };
            let (x, y, w, h) = (of("x")?, of("y")?, of("w")?, of("h")?);
            ensure!(x + w <= COLUMNS, "{name}, {title}: too wide");
            for cell in (y..y + h).flat_map(|row| (x..x + w).map(move |column| (row, column))) {
                ensure!(taken.insert(cell), "{name}, {title}: covers another at {cell:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn each_query_uses_the_variables_and_the_scrape_interval() -> Result<()> {
    for Target {
        dashboard,
        panel,
        expression,
        ..
    } in targets()?
    {
        let at = format!("{dashboard}, {panel}: {expression}");
        ensure!(expression.contains(r#"cluster=~"$cluster""#), "of every cluster: {at}");
        // ALERTS has the labels of each alert, and not every alert is about a node.
        let of_nodes = expression.contains(r#"node=~"$node""#) || expression.contains("ALERTS{");
        ensure!(of_nodes, "of every node: {at}");
        for range in expression.split('[').skip(1) {
            let pattern = range.starts_with(['.', '0']);
            ensure!(pattern || range.starts_with("$__rate_interval]"), "a fixed range: {at}");
        }
        for (place, _) in expression.match_indices("_total{") {
            let call = expression[..place].rsplit(' ').next().unwrap_or_default();
            let rated = ["rate(", "increase("].iter().any(|function| call.contains(function));
            ensure!(rated, "a counter as it stands: {at}");
        }
    }
    Ok(())
}

#[test]
fn each_metric_in_a_query_exists() -> Result<()> {
    for target in targets()? {
        let unknown = unknown_metrics(&target.expression);
        ensure!(unknown.is_empty(), "{target:?}: {unknown:?}");
    }
    Ok(())
}

#[test]
fn promtool_can_read_each_query() -> Result<()> {
    let asked: Vec<String> = targets()?.iter().map(|target| target.asked(".*", ".*", "5m")).collect();
    parse(&asked)
}

#[test]
fn links_lead_to_existing_targets() -> Result<()> {
    let all = dashboards()?;
    let uids: BTreeSet<&str> = all.values().map(|dashboard| text(dashboard, "/uid")).collect();
    for (name, dashboard) in &all {
        let written = dashboard.to_string();
        for link in written.split("\"/d/").skip(1) {
            let uid = link.split('/').next().unwrap_or_default();
            ensure!(uids.contains(uid), "{name} leads to {uid}");
        }
        ensure!(written.contains("/deploy/runbooks"), "{name} leads to no runbook");
    }
    Ok(())
}

#[test]
#[ignore = "needs Grafana's schema, which the tier makes where npm works"]
fn grafanas_own_schema_accepts_the_dashboards() -> Result<()> {
    let file = std::env::var_os("CASTOFF_GRAFANA_SCHEMA").context("CASTOFF_GRAFANA_SCHEMA says where the schema is")?;
    let schema: Value = serde_json::from_str(&read(file)?)?;
    let schema = jsonschema::validator_for(&schema)?;
    for (name, mut dashboard) in dashboards()? {
        let said: Vec<String> = schema
            .iter_errors(&dashboard)
            .map(|e| format!("{}: {e}", e.instance_path()))
            .collect();
        ensure!(said.is_empty(), "{name}: {said:#?}");
        // A schema that accepts everything would pass too.
        dashboard["panels"][1]["gridpos"] = json!({});
        ensure!(
            !schema.is_valid(&dashboard),
            "{name}: the schema takes a misspelt field"
        );
    }
    Ok(())
}
