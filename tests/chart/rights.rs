//! The agent's rights on the node and in the cluster: what the other values need, and nothing more.

use anyhow::{Context, Result, ensure};
use castoff::sinks::http::RIGHTS;
use castoff_tests::lab::helm::Helm;
use serde_json::{Value, json};

use crate::render::{NEWEST, OLDEST, Rendering, of_kind, read, scenarios, text_at, the};

fn agent(objects: &[Value]) -> Result<&Value> {
    let agents = of_kind(objects, "DaemonSet");
    ensure!(agents.len() == 1, "{} DaemonSets", agents.len());
    Ok(agents[0])
}

fn roles(objects: &[Value]) -> Vec<&Value> {
    let kinds = ["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "Job"];
    objects
        .iter()
        .filter(|object| kinds.iter().any(|kind| object["kind"] == *kind))
        .collect()
}

fn create(group: &str, what: &str) -> Value {
    json!({ "apiGroups": [group], "resources": [what], "verbs": ["create"] })
}

/// The rights to check a reader.
fn reviews() -> [Value; 2] {
    [
        create("authentication.k8s.io", "tokenreviews"),
        create("authorization.k8s.io", "subjectaccessreviews"),
    ]
}

#[test]
fn by_default_the_agent_may_only_patch_nodes_and_check_readers() -> Result<()> {
    for helm in Helm::ALL {
        let objects = Rendering::new().by(helm).objects()?;
        let pod = &agent(&objects)?["spec"]["template"]["spec"];
        assert_eq!(pod["automountServiceAccountToken"], true);
        assert_eq!(pod["serviceAccountName"], "castoff");
        let role = the(&objects, "ClusterRole", "castoff")?;
        let nodes = json!({ "apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "patch"] });
        assert_eq!(role["rules"], json!([&[nodes][..], &reviews()].concat()));
        let binding = the(&objects, "ClusterRoleBinding", "castoff")?;
        assert_eq!(
            binding["subjects"],
            json!([{ "kind": "ServiceAccount", "name": "castoff", "namespace": "castoff" }])
        );
        assert_eq!(
            the(&objects, "ServiceAccount", "castoff")?["automountServiceAccountToken"],
            false
        );
        the(&objects, "ValidatingAdmissionPolicy", "castoff")?;
    }
    Ok(())
}

#[test]
fn without_labels_and_without_access_control_the_agent_has_no_token_and_no_rights() -> Result<()> {
    // YAML makes a boolean of an unquoted off.
    for publish in ["labels.publish=off", "labels.publish=false", "labels.publish=nfd"] {
        let objects = Rendering::new().set(publish).set("http.auth=none").objects()?;
        let agent = agent(&objects)?;
        assert_eq!(
            agent["spec"]["template"]["spec"]["automountServiceAccountToken"], false,
            "{publish}"
        );
        ensure!(roles(&objects).is_empty(), "{publish}: {:?}", roles(&objects));
        ensure!(of_kind(&objects, "ValidatingAdmissionPolicy").is_empty(), "{publish}");
        let flag = json!(format!(
            "--labels={}",
            publish.rsplit('=').next().unwrap_or_default().replace("false", "off")
        ));
        let arguments = agent["spec"]["template"]["spec"]["containers"][0]["args"]
            .as_array()
            .context("arguments")?;
        ensure!(arguments.contains(&flag), "{publish}: {arguments:?}");
    }
    Ok(())
}

/// Each feature adds its own right, and no other.
#[test]
fn events_and_readers_add_their_own_rights() -> Result<()> {
    let cases = [
        (
            "http.auth=none,events.enabled=true",
            vec![create("events.k8s.io", "events")],
        ),
        ("http.auth=kubernetes", reviews().to_vec()),
    ];
    for (values, rules) in cases {
        let objects = Rendering::new().set("labels.publish=off").set(values).objects()?;
        let pod = &agent(&objects)?["spec"]["template"]["spec"];
        assert_eq!(pod["automountServiceAccountToken"], true, "{values}");
        assert_eq!(
            the(&objects, "ClusterRole", "castoff")?["rules"],
            json!(rules),
            "{values}"
        );
        the(&objects, "ClusterRoleBinding", "castoff")?;
        ensure!(of_kind(&objects, "Job").is_empty(), "{values}");
    }
    Ok(())
}

/// The account that `castoff cluster` and Prometheus read with comes with the access control, and goes with it.
#[test]
fn an_account_may_read_the_pages_and_nothing_else() -> Result<()> {
    let own = json!({ "kind": "ServiceAccount", "name": "castoff-reader", "namespace": "castoff" });
    let objects = Rendering::new().objects()?;
    the(&objects, "ServiceAccount", "castoff-reader")?;
    let reader = the(&objects, "ClusterRole", "castoff-reader")?;
    assert_eq!(
        reader["rules"],
        json!([{ "nonResourceURLs": RIGHTS, "verbs": ["get"] }])
    );
    let binding = the(&objects, "ClusterRoleBinding", "castoff-reader")?;
    assert_eq!(binding["subjects"], json!([own]));
    let annotations = &agent(&objects)?["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(annotations["castoff.dev/reader"], "castoff-reader");
    ensure!(
        of_kind(&objects, "Secret").is_empty(),
        "a lasting token that nobody needs"
    );

    let objects = Rendering::new()
        .set("http.tls.secretName=castoff-tls")
        .set("http.readers[0].kind=Group,http.readers[0].name=operators")
        .objects()?;
    let binding = the(&objects, "ClusterRoleBinding", "castoff-reader")?;
    let more = json!({ "kind": "Group", "name": "operators" });
    assert_eq!(binding["subjects"], json!([own, more]));

    for values in ["http.auth=none", "rbac.create=false"] {
        let text = Rendering::new().set(values).text()?;
        ensure!(!text.contains("-reader"), "{values}");
    }
    Ok(())
}

/// The kubelet and Prometheus use the scheme with which the agent serves.
#[test]
fn with_a_certificate_all_requests_use_tls() -> Result<()> {
    for (values, scheme) in [("http.port=9559", "HTTP"), ("http.tls.secretName=castoff-tls", "HTTPS")] {
        let objects = Rendering::new().set(values).set("podMonitor.enabled=true").objects()?;
        let container = &agent(&objects)?["spec"]["template"]["spec"]["containers"][0];
        for probe in ["livenessProbe", "readinessProbe"] {
            assert_eq!(container[probe]["httpGet"]["scheme"], scheme, "{values}");
        }
        let endpoint = &of_kind(&objects, "PodMonitor")[0]["spec"]["podMetricsEndpoints"][0];
        assert_eq!(endpoint["scheme"], scheme.to_lowercase(), "{values}");
        let serves = container["args"].to_string().contains("--tls-cert=/tls/tls.crt");
        assert_eq!(serves, scheme == "HTTPS", "{values}");
    }
    Ok(())
}

#[test]
fn on_the_node_it_is_not_privileged_and_writes_its_state_only() -> Result<()> {
    for scenario in scenarios()? {
        for (kubernetes, field) in [(OLDEST, false), (NEWEST, true)] {
            let rendering = Rendering::new().kubernetes(kubernetes).values(&scenario);
            let rendering = rendering
                .set("admissionPolicy.enabled=auto")
                .set("updateStrategy.rollingUpdate=null");
            let objects = rendering.objects()?;
            let agent = agent(&objects)?;
            let pod = &agent["spec"]["template"]["spec"];
            let container = &pod["containers"][0];
            let security = &container["securityContext"];
            assert_eq!(pod["containers"].as_array().map(Vec::len), Some(1));
            assert_eq!(security["privileged"], false);
            assert_eq!(security["allowPrivilegeEscalation"], false);
            assert_eq!(security["readOnlyRootFilesystem"], true);
            assert_eq!(security["capabilities"]["drop"], json!(["ALL"]));
            assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
            assert_eq!(pod["hostPID"], true);
            for other in ["hostNetwork", "hostIPC"] {
                ensure!(pod.get(other).is_none(), "{other}");
            }
            let annotations = &agent["spec"]["template"]["metadata"]["annotations"];
            let annotated = annotations.get("container.apparmor.security.beta.kubernetes.io/castoff");
            assert_eq!(
                (security.get("appArmorProfile").is_some(), annotated.is_some()),
                (field, !field)
            );
            for path in host_paths(pod) {
                ensure!(
                    [
                        "/var/lib/castoff",
                        "/var/lib/castoff/state",
                        "/etc/kubernetes/node-feature-discovery/features.d"
                    ]
                    .contains(&path.as_str()),
                    "{path}"
                );
            }
        }
    }
    Ok(())
}

fn host_paths(pod: &Value) -> Vec<String> {
    let volumes = pod["volumes"].as_array().into_iter().flatten();
    volumes
        .map(|volume| text_at(volume, "/hostPath/path").to_owned())
        .filter(|path| !path.is_empty())
        .collect()
}

/// For everything of the node that the pod gets, the document gives the purpose and the effect of its absence.
#[test]
fn each_capability_and_each_path_of_the_host_has_its_reason() -> Result<()> {
    let document = read("deploy/privileges.md")?;
    let has_reason = |what: &str| {
        let starts = [format!("| `{what}` | "), format!("- `{what}`: ")];
        document
            .lines()
            .any(|line| starts.iter().any(|start| line.starts_with(start)))
    };
    for values in [
        "labels.publish=api",
        "labels.publish=nfd",
        "security.capabilities={SYS_PTRACE}",
    ] {
        let objects = Rendering::new().set(values).objects()?;
        let pod = &agent(&objects)?["spec"]["template"]["spec"];
        ensure!(has_reason("hostPID"), "hostPID");
        let added = pod["containers"][0]["securityContext"]["capabilities"]["add"]
            .as_array()
            .context("capabilities")?;
        assert_eq!(added.len(), 3);
        for capability in added.iter().filter_map(Value::as_str) {
            ensure!(has_reason(capability), "{capability}");
        }
        for path in host_paths(pod) {
            ensure!(has_reason(&path), "{path}");
        }
    }
    Ok(())
}

/// A kernel program needs `BPF` and `PERFMON`, which `SYS_ADMIN` includes. A runtime that does not know their names
/// starts no container that requests them, so they are added only if they are needed.
#[test]
fn a_kernel_program_adds_its_rights_if_they_are_missing() -> Result<()> {
    let (all, without_admin) = ("DAC_READ_SEARCH,SYS_ADMIN,SYS_PTRACE", "DAC_READ_SEARCH,SYS_PTRACE");
    for (events, given, more) in [
        ("auto", all, [].as_slice()),
        ("auto", without_admin, &["BPF", "PERFMON"]),
        ("tracepoint", without_admin, &["BPF", "PERFMON"]),
        ("off", without_admin, &[]),
        ("auto", "DAC_READ_SEARCH", &[]),
    ] {
        let objects = Rendering::new()
            .set(&format!(
                "connectEvents={events},requests={events},security.capabilities={{{given}}}"
            ))
            .set("openshift.scc=true")
            .objects()?;
        let container = &agent(&objects)?["spec"]["template"]["spec"]["containers"][0];
        let wanted: Vec<&str> = given.split(',').chain(more.iter().copied()).collect();
        let added = &container["securityContext"]["capabilities"]["add"];
        assert_eq!(added, &json!(wanted), "{events}, {given}");
        assert_eq!(
            &the(&objects, "SecurityContextConstraints", "castoff")?["allowedCapabilities"],
            added
        );
        for name in ["CASTOFF_CONNECT_EVENTS", "CASTOFF_REQUESTS"] {
            let variable = json!({ "name": name, "value": events });
            ensure!(
                container["env"].as_array().context("variables")?.contains(&variable),
                "{variable}"
            );
        }
    }
    Ok(())
}

#[test]
fn openshift_gets_its_security_context_constraints() -> Result<()> {
    ensure!(of_kind(&Rendering::new().objects()?, "SecurityContextConstraints").is_empty());
    let objects = Rendering::new()
        .flag("--api-versions=security.openshift.io/v1")
        .objects()?;
    let constraints = the(&objects, "SecurityContextConstraints", "castoff")?;
    assert_eq!(constraints["users"], json!(["system:serviceaccount:castoff:castoff"]));
    assert_eq!(constraints["allowPrivilegedContainer"], false);
    let pod = &agent(&objects)?["spec"]["template"]["spec"];
    let added = &pod["containers"][0]["securityContext"]["capabilities"]["add"];
    assert_eq!(&constraints["allowedCapabilities"], added);
    assert_eq!(
        constraints["seLinuxContext"]["seLinuxOptions"],
        pod["securityContext"]["seLinuxOptions"]
    );
    // There the namespace determines the user.
    let job = the(&objects, "Job", "castoff-cleanup")?;
    ensure!(job.pointer("/spec/template/spec/securityContext/runAsUser").is_none());
    Ok(())
}

/// It runs when no agent is left, has a deadline, and runs as an ordinary user.
#[test]
fn the_clean_up_job_ends_and_has_few_rights() -> Result<()> {
    let objects = Rendering::new().set("cleanup.deadlineSeconds=90").objects()?;
    let job = the(&objects, "Job", "castoff-cleanup")?;
    assert_eq!(job["metadata"]["annotations"]["helm.sh/hook"], "post-delete");
    assert_eq!(job["spec"]["activeDeadlineSeconds"], 90);
    assert_eq!(job["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"], true);
    let role = the(&objects, "ClusterRole", "castoff-cleanup")?;
    assert_eq!(
        role["rules"],
        json!([{ "apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "patch"] }])
    );
    // The policy first, because a policy takes effect only some moments after it was created.
    for (kind, weight) in [
        ("ValidatingAdmissionPolicy", "-2"),
        ("ValidatingAdmissionPolicyBinding", "-2"),
        ("ServiceAccount", "-1"),
        ("ClusterRole", "-1"),
        ("ClusterRoleBinding", "-1"),
    ] {
        let own = the(&objects, kind, "castoff-cleanup")?;
        assert_eq!(own["metadata"]["annotations"]["helm.sh/hook"], "post-delete");
        assert_eq!(own["metadata"]["annotations"]["helm.sh/hook-weight"], weight, "{kind}");
    }
    let without = Rendering::new().set("cleanup.enabled=false").objects()?;
    ensure!(of_kind(&without, "Job").is_empty());
    Ok(())
}

/// CEL policies exist since 1.30. Before, nothing restricts a token to its Node, so there is no token unless that is
/// accepted.
#[test]
fn an_older_cluster_has_labels_from_a_file_unless_a_wide_token_is_accepted() -> Result<()> {
    let old = Rendering::new().kubernetes("1.29.9").set("http.auth=none");
    let objects = old.objects()?;
    let arguments = |objects: &[Value]| -> Result<String> {
        Ok(agent(objects)?["spec"]["template"]["spec"]["containers"][0]["args"].to_string())
    };
    ensure!(arguments(&objects)?.contains("--labels=nfd"));
    for kind in ["ValidatingAdmissionPolicy", "ClusterRole", "Job"] {
        ensure!(of_kind(&objects, kind).is_empty(), "{kind}");
    }
    let asked = old.set("labels.publish=api");
    let said = asked.refusal()?;
    for words in ["labels.publish=api", "1.29.9", "admissionPolicy.enabled=false", "nfd"] {
        ensure!(said.contains(words), "{words}: {said}");
    }
    let objects = asked.set("admissionPolicy.enabled=false").objects()?;
    ensure!(arguments(&objects)?.contains("--labels=api"));
    the(&objects, "ClusterRole", "castoff")?;

    let objects = Rendering::new().kubernetes("1.30.0").objects()?;
    ensure!(arguments(&objects)?.contains("--labels=api"));
    the(&objects, "ValidatingAdmissionPolicy", "castoff")?;
    Ok(())
}

#[test]
fn the_network_policy_allows_the_api_server_only_if_it_is_used() -> Result<()> {
    let egress = |values: &str| -> Result<Value> {
        let objects = Rendering::new()
            .set("networkPolicy.enabled=true")
            .set(values)
            .objects()?;
        Ok(the(&objects, "NetworkPolicy", "castoff")?["spec"]["egress"].clone())
    };
    assert_eq!(egress("labels.publish=off,http.auth=none")?, json!([]));
    let ports = json!([{ "ports": [{ "port": 443, "protocol": "TCP" }, { "port": 6443, "protocol": "TCP" }] }]);
    for values in ["labels.publish=off", "labels.publish=api,http.auth=none"] {
        assert_eq!(egress(values)?, ports, "{values}");
    }
    Ok(())
}

/// Every node that can run an agent gets one, whatever its taints, and however full it is.
#[test]
fn every_node_that_can_run_one_gets_an_agent() -> Result<()> {
    let objects = Rendering::new().objects()?;
    let daemons = the(&objects, "DaemonSet", "castoff")?;
    assert_eq!(
        daemons["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"],
        "castoff"
    );
    let pod = &daemons["spec"]["template"]["spec"];
    assert_eq!(pod["tolerations"], json!([{ "operator": "Exists" }]));
    assert_eq!(pod["nodeSelector"], json!({ "kubernetes.io/os": "linux" }));
    the(&objects, "PriorityClass", text_at(pod, "/priorityClassName"))?;
    let terms = pod
        .pointer("/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms")
        .and_then(Value::as_array)
        .context("terms of affinity")?;
    let [term] = terms.as_slice() else {
        anyhow::bail!("terms are alternatives, and there are {}", terms.len())
    };
    for (node, runs) in [
        (json!({ "kubernetes.io/os": "linux" }), true),
        (
            json!({ "type": "worker", "node.kubernetes.io/instance-type": "m5.large" }),
            true,
        ),
        (json!({ "eks.amazonaws.com/compute-type": "auto" }), true),
        (json!({ "eks.amazonaws.com/compute-type": "fargate" }), false),
        (json!({ "type": "virtual-kubelet" }), false),
        (json!({ "type": "kwok" }), false),
        (json!({ "node-role.kubernetes.io/virtual-node": "" }), false),
        (json!({ "node.kubernetes.io/instance-type": "eklet" }), false),
        (json!({ "liqo.io/type": "virtual-node" }), false),
    ] {
        assert_eq!(is_met(term, &node), runs, "{node}");
    }
    let job = the(&objects, "Job", "castoff-cleanup")?;
    assert_eq!(job["spec"]["template"]["spec"]["affinity"], pod["affinity"]);
    let without = Rendering::new().set("affinity=null").objects()?;
    ensure!(agent(&without)?.pointer("/spec/template/spec/affinity").is_none());
    Ok(())
}

/// True if these labels match a term of node affinity; supports the operators that the chart uses.
fn is_met(term: &Value, labels: &Value) -> bool {
    let mut expressions = term["matchExpressions"].as_array().into_iter().flatten();
    expressions.all(|expression| {
        let value = labels.get(text_at(expression, "/key"));
        match text_at(expression, "/operator") {
            "NotIn" => value.is_none_or(|value| {
                let values = expression["values"].as_array();
                values.is_some_and(|values| !values.contains(value))
            }),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    })
}
