//! Reports that are outdated, of another version, of another node, hostile, or invalid.

use anyhow::Result;
use castoff_tests::fake::api::{FakeApi, Fault, Reply, report_clear, report_in_use};
use serde_json::{Value, json};

use super::{Person, Ran};

/// Returns castoff's output if the agent on `one` answers with `reply`.
async fn answering(reply: Reply) -> Result<Ran> {
    let api = FakeApi::start().await?;
    api.script().fleet.add("one");
    api.script().fleet.answer("one", reply);
    Person::of(&api)?.run(&["-o", "json", "--timeout", "5s"]).await
}

async fn reporting(change: impl FnOnce(&mut Value)) -> Result<Ran> {
    let mut report = report_in_use("one");
    change(&mut report);
    answering(Reply::Report(report)).await
}

#[tokio::test]
async fn another_version_is_read_as_far_as_its_structure_is_the_same() -> Result<()> {
    let ran = reporting(|report| {
        report["castoffVersion"] = json!("7.1.0");
        report["inventedLater"] = json!({ "deep": [[[1]]] });
        report["clients"]["value"][0]["inventedLater"] = json!(true);
        report["clients"]["value"][0]["identity"] = json!({ "kind": "virtual-machine", "name": "vm-7", "host": 3 });
        report["sources"][0]["gaps"] = json!([{ "hides": "invented", "reason": "invented" }]);
    })
    .await?;
    let row = ran.row("one")?;
    assert_eq!(
        (&row["verdict"], &row["agent"]["version"]),
        (&json!("in-use"), &json!("7.1.0"))
    );
    assert!(row["clients"].to_string().contains("virtual-machine vm-7"), "{row}");
    // A part with another structure is unknown, and the rest is used.
    let row = reporting(|report| report["exposures"] = json!({ "state": "known", "value": 7 }))
        .await?
        .row("one")?;
    assert_eq!(
        (&row["verdict"], &row["exposures"]["state"]),
        (&json!("in-use"), &json!("unknown"))
    );
    let row = reporting(|report| report["clients"]["value"][0]["connections"] = json!("many"))
        .await?
        .row("one")?;
    assert_eq!(row["clients"], json!({ "state": "unknown" }));
    Ok(())
}

#[tokio::test]
async fn agents_of_three_versions_are_read_together() -> Result<()> {
    let api = FakeApi::start().await?;
    let mut older = report_in_use("older");
    older["castoffVersion"] = json!("0.0.1");
    if let Some(fields) = older.as_object_mut() {
        fields.remove("shadowContainers");
        fields.remove("kubeletCeiling");
    }
    let mut newer = report_clear("newer");
    newer["castoffVersion"] = json!("7.1.0");
    newer["inventedLater"] = json!([1, 2]);
    for (node, report) in [("older", older), ("this", report_in_use("this")), ("newer", newer)] {
        api.script().fleet.add(node);
        api.script().fleet.answer(node, Reply::Report(report));
    }
    let ran = Person::of(&api)?.run(&["-o", "json"]).await?;
    assert_eq!((ran.code, ran.err.as_str()), (Some(1), ""), "{ran:?}");
    for (node, verdict) in [("older", "in-use"), ("this", "in-use"), ("newer", "clear")] {
        let row = ran.row(node)?;
        assert_eq!(
            (&row["verdict"], &row["doubt"]),
            (&json!(verdict), &json!(null)),
            "{row}"
        );
    }
    assert_eq!(ran.row("older")?["shadowContainers"]["state"], "unknown");
    assert_eq!(ran.row("this")?["shadowContainers"]["state"], "known");
    let versions = &ran.json()?["summary"]["versions"];
    assert_eq!(versions.as_array().map(Vec::len), Some(3), "{versions}");
    Ok(())
}

#[tokio::test]
async fn another_structure_is_reported_and_never_used() -> Result<()> {
    let cases: [(&str, Value, &str, &str); 5] = [
        (
            "/apiVersion",
            json!("castoff.dev/v2"),
            "other-schema",
            "castoff.dev/v2 of castoff",
        ),
        ("/verdict", json!("splendid"), "other-schema", "splendid"),
        ("/kind", json!("PodList"), "not-understood", "PodList"),
        ("/time", json!("yesterday"), "not-understood", "not a report"),
        ("/verdict", json!(null), "not-understood", "not a report"),
    ];
    for (at, value, doubt, words) in cases {
        let ran = reporting(|report| {
            if let Some(field) = report.pointer_mut(at) {
                *field = value;
            }
        })
        .await?;
        let row = ran.row("one")?;
        assert_eq!(
            (&row["verdict"], &row["doubt"]),
            (&json!("unknown"), &json!(doubt)),
            "{at}: {row}"
        );
        assert!(row["reason"].to_string().contains(words), "{at}: {row}");
        assert_eq!(ran.code, Some(2));
    }
    Ok(())
}

#[tokio::test]
async fn an_invalid_report_is_refused() -> Result<()> {
    let faults = [
        Fault::html(200),
        Fault::CutOff,
        Fault::Flood,
        Fault::Answer {
            status: 200,
            headers: vec![("content-type", "application/json".to_owned())],
            body: "[".repeat(100_000),
        },
        Fault::Answer {
            status: 200,
            headers: vec![("content-type", "application/json".to_owned())],
            body: "{}".to_owned(),
        },
        Fault::Answer {
            status: 204,
            headers: Vec::new(),
            body: String::new(),
        },
        Fault::Answer {
            status: 302,
            headers: vec![("location", "http://127.0.0.1:1/".to_owned())],
            body: String::new(),
        },
    ];
    for fault in faults {
        let name = format!("{fault:?}").chars().take(120).collect::<String>();
        let ran = answering(Reply::Fault(fault)).await?;
        let row = ran.row("one")?;
        assert_eq!(
            (&row["verdict"], &row["doubt"]),
            (&json!("unknown"), &json!("not-understood")),
            "{name}: {row}"
        );
        assert!(ran.out.len() < 4000, "bounded: {name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_report_of_another_node_is_not_used() -> Result<()> {
    let row = reporting(|report| report["node"] = json!("two")).await?.row("one")?;
    assert_eq!(
        (&row["verdict"], &row["doubt"]),
        (&json!("unknown"), &json!("other-node"))
    );
    assert_eq!(row["clients"]["state"], "unknown");
    assert!(row["reason"].to_string().contains("reports node two"), "{row}");
    // An agent without a configured node name is accepted.
    let row = reporting(|report| report["node"] = json!(null)).await?.row("one")?;
    assert_eq!(row["verdict"], "in-use");
    Ok(())
}

#[tokio::test]
async fn an_old_look_proves_use_and_never_that_there_is_none() -> Result<()> {
    let old = "2026-01-01T00:00:00Z";
    let row = reporting(|report| report["time"] = json!(old)).await?.row("one")?;
    assert_eq!((&row["verdict"], &row["doubt"]), (&json!("in-use"), &json!("stale")));
    assert_eq!(row["exposures"]["state"], "at-least");
    let mut clear = report_clear("one");
    clear["time"] = json!(old);
    let ran = answering(Reply::Report(clear)).await?;
    let row = ran.row("one")?;
    assert_eq!(
        (&row["verdict"], &row["doubt"], ran.code),
        (&json!("unknown"), &json!("stale"), Some(2))
    );
    assert!(row["reason"].to_string().contains("said clear"), "{row}");
    Ok(())
}

#[tokio::test]
async fn hostile_names_are_escaped_in_terminals_and_pages() -> Result<()> {
    let api = FakeApi::start().await?;
    let evil = "<script>alert(1)</script>\u{1b}[2J\u{202e}\n";
    api.script().fleet.add("one");
    api.script().fleet.add_node(evil, &[("kubernetes.io/os", evil)]);
    api.script().fleet.add_pod("../../secrets", "trap", "1/1", "Running");
    api.script().fleet.add_node("trap", &[]);
    let mut report = report_in_use("one");
    report["verdictReason"] = json!(evil.repeat(1000));
    report["runtime"]["value"]["name"] = json!(evil);
    report["clients"]["value"][0]["identity"] =
        json!({ "kind": "pod", "namespace": evil, "pod": evil.repeat(500), "container": null });
    report["clients"]["value"][1]["identity"] = json!({ "kind": evil, "name": evil });
    api.script().fleet.answer("one", Reply::Report(report));
    let person = Person::of(&api)?;
    for format in ["table", "wide", "json", "html"] {
        let ran = person.run(&["-o", format]).await?;
        assert!(
            ran.out
                .chars()
                .all(|c| c == '\n' || (!c.is_control() && c != '\u{202e}')),
            "{format}: {}",
            ran.out
        );
        assert!(ran.out.len() < 40_000, "{format}: bounded, {}", ran.out.len());
        if format == "html" {
            assert!(!ran.out.contains("<script"), "{}", ran.out);
            assert!(ran.out.contains("&lt;script&gt;"));
        }
    }
    let row = person.run(&["-o", "json"]).await?.row("trap")?;
    assert!(row["reason"].to_string().contains("cannot have this name"), "{row}");
    assert!(
        api.script().seen.iter().all(|seen| !seen.uri.contains("secrets")),
        "nothing was asked in its name"
    );
    Ok(())
}
