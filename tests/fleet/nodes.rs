//! Every Node has its row: with its agent's report, or with the reason why nothing is known of it.

use anyhow::Result;
use castoff_tests::fake::api::{FakeApi, Fault, Reply, report_clear, report_in_use};
use serde_json::json;

use super::{Person, schema};

#[tokio::test]
async fn each_row_has_the_report_of_its_agent() -> Result<()> {
    let api = FakeApi::start().await?;
    for node in ["one", "two", "three"] {
        api.script().fleet.add(node);
    }
    api.script().fleet.answer("two", Reply::Report(report_in_use("two")));
    let ran = Person::of(&api)?.run(&["-o", "json"]).await?;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(ran.err, "");
    let document = ran.json()?;
    let errors: Vec<String> = schema()?
        .iter_errors(&document)
        .map(|e| format!("{}: {e}", e.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
    let two = ran.row("two")?;
    assert_eq!(two["verdict"], "in-use");
    assert_eq!(two["doubt"], json!(null));
    assert_eq!(two["runtime"]["value"]["name"], "containerd");
    assert_eq!(two["kubeletCeiling"], json!({ "state": "known", "value": 37 }));
    assert_eq!(two["exposures"], json!({ "state": "known", "value": 2 }));
    assert_eq!(two["shadowContainers"]["value"], 1);
    assert_eq!(two["agent"]["pod"], "castoff-two");
    assert_eq!(two["clients"]["state"], "known");
    let names: Vec<_> = two["clients"]["value"]["users"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|user| &user["name"])
        .collect();
    assert!(
        names.contains(&&json!("StatefulSet builder")) && names.contains(&&json!("backup.service")),
        "{names:?}"
    );
    assert_eq!(ran.row("one")?["verdict"], "clear");
    let summary = &document["summary"];
    assert_eq!(
        (summary["nodes"].as_u64(), summary["complete"].as_bool()),
        (Some(3), Some(true))
    );
    // Two lists, one pod for the agents' port, three reports.
    assert_eq!(summary["requests"], 6);
    assert_eq!(api.count("GET"), 6);
    Ok(())
}

#[tokio::test]
async fn a_node_without_a_report_is_unknown_with_the_reason() -> Result<()> {
    let api = FakeApi::start().await?;
    {
        let fleet = &mut api.script().fleet;
        fleet.add("good");
        fleet.add_node("windows", &[("kubernetes.io/os", "windows")]);
        fleet.add_node(
            "fargate",
            &[
                ("kubernetes.io/os", "linux"),
                ("eks.amazonaws.com/compute-type", "fargate"),
            ],
        );
        fleet.add_node("kubelet", &[("kubernetes.io/os", "linux"), ("type", "virtual-kubelet")]);
        fleet.add_node("tainted", &[("kubernetes.io/os", "linux")]);
        fleet.add_node("down", &[]);
        if let Some(node) = fleet.nodes.get_mut("down") {
            node.status = "NotReady".to_owned();
        }
        fleet.add_node("pulling", &[]);
        fleet.add_pod("castoff-pulling", "pulling", "0/1", "ImagePullBackOff");
        fleet.add("silent");
        fleet.add("html");
        fleet.add("forbidden");
        fleet.add("starting");
        fleet.add("guarded");
        let body = "a bearer token is needed\n".to_owned();
        let guarded = Fault::Answer {
            status: 401,
            headers: Vec::new(),
            body,
        };
        fleet.answer("guarded", Reply::Fault(guarded));
        fleet.answer("silent", Reply::Fault(Fault::Silence));
        fleet.answer("html", Reply::Fault(Fault::html(200)));
        fleet.answer(
            "forbidden",
            Reply::Fault(Fault::status(403, "cannot get resource \"pods/proxy\"")),
        );
        fleet.answer("starting", Reply::Fault(Fault::status(503, "no endpoints")));
    }
    let ran = Person::of(&api)?.run(&["-o", "json", "--timeout", "1s"]).await?;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    for (node, doubt, words) in [
        ("windows", "not-linux", "windows"),
        ("fargate", "virtual-node", "eks.amazonaws.com/compute-type=fargate"),
        ("kubelet", "virtual-node", "type=virtual-kubelet"),
        ("tainted", "no-agent", "no castoff pod is on it"),
        ("down", "no-agent", "NotReady"),
        ("pulling", "agent-not-ready", "castoff-pulling is ImagePullBackOff"),
        ("silent", "no-answer", "no answer within 1s"),
        ("html", "not-understood", "text/html"),
        ("forbidden", "refused", "pods/proxy"),
        ("starting", "no-answer", "no endpoints"),
        ("guarded", "unauthenticated", "no service account castoff-reader"),
    ] {
        let row = ran.row(node)?;
        assert_eq!(row["verdict"], "unknown", "{row}");
        assert_eq!(row["doubt"], doubt, "{row}");
        assert!(
            row["reason"].as_str().is_some_and(|reason| reason.contains(words)),
            "{row}"
        );
        assert_eq!(row["clients"], json!({ "state": "unknown" }), "{row}");
    }
    assert_eq!(ran.row("good")?["verdict"], "clear");
    assert_eq!(ran.json()?["summary"]["nodes"], 12);
    let notes = ran.json()?["summary"]["notes"].to_string();
    assert!(notes.contains("get pods/proxy in namespace castoff"), "{notes}");
    Ok(())
}

#[tokio::test]
async fn pods_without_a_node_and_two_on_one_are_reported() -> Result<()> {
    let api = FakeApi::start().await?;
    {
        let fleet = &mut api.script().fleet;
        fleet.add("one");
        // A rollout: the old pod ends, the new one is there, and the old one's report is outdated.
        fleet.add_node("two", &[]);
        fleet.add_pod("castoff-a-old", "two", "1/1", "Terminating");
        fleet.add_pod("castoff-b-new", "two", "1/1", "Running");
        fleet.add_node("three", &[]);
        fleet.add_pod("castoff-c", "three", "1/1", "Running");
        fleet.add_pod("castoff-d", "three", "1/1", "Running");
        fleet.add_pod("castoff-e", "gone", "1/1", "Running");
        fleet.add_pod("castoff-f", "<none>", "0/1", "Pending");
        fleet.add_pod("castoff-remove-labels", "one", "0/1", "Completed");
        if let Some(pod) = fleet.pods.get_mut("castoff-a-old") {
            pod.reply = Reply::Report(report_in_use("two"));
        }
    }
    let ran = Person::of(&api)?.run(&["-o", "json"]).await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.row("two")?["agent"]["pod"], "castoff-b-new");
    let summary = &ran.json()?["summary"];
    assert_eq!(
        (&summary["nodes"], &summary["strayPods"], &summary["doubledNodes"]),
        (&json!(3), &json!(1), &json!(1))
    );
    let notes = summary["notes"].to_string();
    assert!(notes.contains("castoff-e on gone"), "{notes}");
    assert!(notes.contains("1 castoff pods are on no node yet"), "{notes}");
    Ok(())
}

#[tokio::test]
async fn a_selector_chooses_nodes_and_pods_of_others_are_ignored() -> Result<()> {
    let api = FakeApi::start().await?;
    api.script().fleet.add("linux");
    api.script()
        .fleet
        .add_node("windows", &[("kubernetes.io/os", "windows")]);
    api.script()
        .fleet
        .add_pod("castoff-windows", "windows", "1/1", "Running");
    let ran = Person::of(&api)?
        .run(&["-o", "json", "-l", "kubernetes.io/os=linux"])
        .await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.json()?["summary"]["nodes"], 1);
    assert_eq!(ran.json()?["summary"]["strayPods"], 0);
    let none = Person::of(&api)?.run(&["-o", "json", "-l", "nothing=here"]).await?;
    assert_eq!(none.code, Some(2), "no node is nothing known: {none:?}");
    Ok(())
}

#[tokio::test]
async fn without_castoff_the_installation_is_explained() -> Result<()> {
    let api = FakeApi::start().await?;
    api.script().fleet.add_node("one", &[]);
    let person = Person::of(&api)?;
    let ran = person.run(&[]).await?;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(
        ran.out.contains("one") && ran.out.contains("helm install castoff"),
        "{}",
        ran.out
    );
    api.script().fleet.namespace = "tools".to_owned();
    api.script().fleet.add_pod("castoff-one", "one", "1/1", "Running");
    let ran = person.run(&[]).await?;
    assert!(ran.out.contains("use -n tools"), "{}", ran.out);
    assert!(!ran.out.contains("helm install"), "{}", ran.out);
    let ran = person.run(&["-n", "tools"]).await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    Ok(())
}

#[tokio::test]
async fn agents_that_serve_elsewhere_or_over_tls_are_found() -> Result<()> {
    let api = FakeApi::start().await?;
    api.script().fleet.add("one");
    let person = Person::of(&api)?;
    for (agent_port, arguments) in [
        ("https:8443", &["-o", "json"][..]),
        ("80", &["-o", "json", "--port", "80"]),
    ] {
        api.script().fleet.agent_port = agent_port.to_owned();
        let ran = person.run(arguments).await?;
        assert_eq!(ran.code, Some(0), "{agent_port}: {ran:?}");
    }
    let proxied: Vec<String> = api
        .script()
        .seen
        .iter()
        .map(|seen| seen.uri.clone())
        .filter(|uri| uri.contains("/proxy/"))
        .collect();
    assert_eq!(
        proxied,
        [
            "/api/v1/namespaces/castoff/pods/https:castoff-one:8443/proxy/api/v1/report",
            "/api/v1/namespaces/castoff/pods/castoff-one:80/proxy/api/v1/report",
        ]
    );
    Ok(())
}

#[tokio::test]
async fn the_exit_code_follows_the_worst_node_and_the_threshold() -> Result<()> {
    let api = FakeApi::start().await?;
    for node in ["clear", "used"] {
        api.script().fleet.add(node);
    }
    api.script().fleet.answer("used", Reply::Report(report_in_use("used")));
    let person = Person::of(&api)?;
    for (bar, code) in [("in-use", 1), ("runtime", 0), ("clear", 1)] {
        assert_eq!(person.run(&["--fail-on", bar]).await?.code, Some(code), "{bar}");
    }
    // A finding counts, whatever else is unknown; a fact that was not found does not.
    api.script().fleet.add_node("bare", &[]);
    for (bar, code) in [("in-use", 1), ("runtime", 2)] {
        assert_eq!(
            person.run(&["--fail-on", bar]).await?.code,
            Some(code),
            "{bar} with an unknown node"
        );
    }
    // An in-use node whose runtime is hidden may be a runtime one.
    api.script().fleet.nodes.remove("bare");
    let mut hidden = report_in_use("used");
    let gap = json!({ "reason": "permission-denied", "asked": "a", "answer": "b", "hides": "runtime", "count": 1 });
    hidden["sources"][2]["gaps"] = json!([gap]);
    api.script().fleet.answer("used", Reply::Report(hidden));
    assert_eq!(person.run(&["--fail-on", "runtime"]).await?.code, Some(2));
    api.script().fleet.answer("used", Reply::Report(report_clear("used")));
    assert_eq!(person.run(&["--fail-on", "runtime"]).await?.code, Some(0));
    Ok(())
}

/// No agent was started with `--for`.
#[tokio::test]
async fn each_node_is_judged_for_the_requested_targets() -> Result<()> {
    let api = FakeApi::start().await?;
    for node in ["ready", "old", "stale", "other"] {
        api.script().fleet.add(node);
    }
    api.script().fleet.add_node("bare", &[]);
    let mut report = report_clear("ready");
    let driver = json!({ "state": "known", "value": "systemd" });
    report["runtime"]["value"]["cgroupDriver"] = driver;
    let mut stale = report.clone();
    (stale["node"], stale["time"]) = (json!("stale"), json!("2026-01-01T00:00:00Z"));
    let mut other = report_clear("other");
    other["kubelet"] = json!({ "state": "known", "value": {} });
    for (node, report) in [("ready", report), ("stale", stale), ("other", other)] {
        api.script().fleet.answer(node, Reply::Report(report));
    }
    let person = Person::of(&api)?;
    let ran = person
        .run(&["--for", "kubelet=1.38,kubelet=1.37", "-o", "json"])
        .await?;
    assert_eq!((ran.code, ran.err.as_str()), (Some(1), ""), "{ran:?}");
    let errors = schema()?.iter_errors(&ran.json()?).count();
    assert_eq!(errors, 0, "{ran:?}");
    for (node, answers, words) in [
        ("ready", ["ready", "ready"], ""),
        ("old", ["not-ready", "ready"], "Kubernetes announces that 1.38"),
        ("stale", ["cannot-tell", "cannot-tell"], "the agent's last look was"),
        (
            "other",
            ["cannot-tell", "cannot-tell"],
            "lacks data that the answer needs",
        ),
        ("bare", ["cannot-tell", "cannot-tell"], "no castoff pod is on it"),
    ] {
        let readiness = ran.row(node)?["readiness"].clone();
        assert_eq!(
            [&readiness[0]["answer"], &readiness[1]["answer"]],
            answers,
            "{node}: {readiness}"
        );
        assert!(
            readiness[0]["reason"]
                .as_str()
                .is_some_and(|reason| reason.contains(words))
        );
    }
    let counts = &ran.json()?["summary"]["readiness"][0];
    let expected = json!({ "target": "kubelet=1.38", "ready": 1, "notReady": 1, "cannotTell": 3,
        "obstacles": [{ "what": "kubelet-ceiling", "nodes": 1 }] });
    assert_eq!(counts, &expected);
    let table = person.run(&["--for", "kubelet=1.38"]).await?;
    assert!(
        table.out.contains("kubelet=1.38 not ready (kubelet-ceiling)"),
        "{}",
        table.out
    );
    assert!(table.out.contains("kubelet-ceiling 1"), "{}", table.out);
    let refused = person.run(&["--for", "kubelet=new"]).await?;
    assert_eq!(refused.code, Some(64), "{refused:?}");
    Ok(())
}
