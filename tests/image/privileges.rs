//! Tests deploy/privileges.md line by line: with the documented rights everything is seen; without any one of them,
//! castoff misses what the document says and reports this, and the verdict does not improve.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use castoff_tests::lab::places::ORDINARY_UID;
use castoff_tests::report::{gaps, list};
use serde_json::{Value, json};

use crate::node::{Node, Way};

const POD: &str = "pod builds/builder-0/build";
const UNIT: &str = "unit castoff-lab-backup.service";
const UNNAMED: &str = "unnamed";

/// Returns the capabilities in the list of deploy/privileges.md.
fn documented() -> Result<Vec<String>> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/privileges.md");
    let text = fs::read_to_string(file).context(file)?;
    let listed = |line: &str| Some(line.strip_prefix("- `")?.strip_suffix('`')?.to_owned());
    Ok(text.lines().filter_map(listed).collect())
}

/// Returns the subjects of the lines of the first table, which has the requirements.
fn lines() -> Result<Vec<String>> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/privileges.md");
    let text = fs::read_to_string(file).context(file)?;
    let needed = |line: &str| Some(line.strip_prefix("| ")?.split(" | ").next()?.replace('`', ""));
    let table = text.lines().skip_while(|line| !line.starts_with('|'));
    // After its head and the rule below it.
    Ok(table
        .map_while(|line| line.starts_with('|').then_some(line))
        .skip(2)
        .filter_map(needed)
        .collect())
}

fn as_documented() -> Result<Way> {
    Ok(Way {
        host_pid: true,
        user: 0,
        capabilities: documented()?,
    })
}

fn without(capability: &str) -> Result<Way> {
    let mut way = as_documented()?;
    way.capabilities.retain(|other| other != capability);
    Ok(way)
}

fn rootless() -> String {
    format!("client of {ORDINARY_UID}")
}

/// True if a gap with this effect contains this text.
fn says(report: &Value, hides: &str, part: &str) -> bool {
    gaps(report).any(|gap| gap["hides"] == hides && gap["answer"].as_str().is_some_and(|answer| answer.contains(part)))
}

/// Returns the gaps that prevent a better verdict than `in-use`.
fn missing_facts(report: &Value) -> Vec<String> {
    let needed = ["runtime", "engine", "client", "exposure", "identity"];
    gaps(report)
        .filter(|gap| needed.iter().any(|hidden| gap["hides"] == *hidden))
        .map(ToString::to_string)
        .collect()
}

#[test]
fn each_right_has_a_line_and_a_test() -> Result<()> {
    assert_eq!(documented()?, ["SYS_PTRACE", "SYS_ADMIN", "DAC_READ_SEARCH"]);
    let tested = ["user 0", "SYS_PTRACE", "SYS_ADMIN", "DAC_READ_SEARCH", "hostPID"];
    assert_eq!(lines()?, tested);
    Ok(())
}

#[test]
fn the_chart_gives_what_is_documented() -> Result<()> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/castoff/values.yaml");
    let values = fs::read_to_string(file).context(file)?;
    let mut lists = values
        .lines()
        .filter_map(|line| line.trim().strip_prefix("capabilities: [")?.strip_suffix(']'));
    let mut given: Vec<&str> = lists.next().context("a list of capabilities")?.split(", ").collect();
    given.sort_unstable();
    let mut documented = documented()?;
    documented.sort_unstable();
    assert_eq!(given, documented);
    Ok(())
}

/// Bits of `include/uapi/linux/capability.h`: 2, 19, 21.
const DOCUMENTED_SET: &str = "0000000000280004";
const MIB: u64 = 1024;

#[test]
fn the_agent_has_these_rights_and_no_others_and_stays_small() -> Result<()> {
    let node = Node::start()?;
    let (_pod, agent) = node.run(&as_documented()?, &["run", "--period", "1s"])?;
    agent.wait_for_line("serving")?;
    let pid = agent.pid()?;
    // Some looks.
    thread::sleep(Duration::from_secs(5));
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let of = |field: &str| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(":\t"));
        line.map(str::trim).with_context(|| format!("{field} in {status}"))
    };
    for set in ["CapEff", "CapPrm", "CapBnd"] {
        assert_eq!(of(set)?, DOCUMENTED_SET, "{set}");
    }
    assert_eq!((of("NoNewPrivs")?, of("Seccomp")?), ("1", "2"));
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo"))?;
    let root = mounts
        .lines()
        .find(|line| line.split(' ').nth(4) == Some("/"))
        .context("a root")?;
    assert!(
        root.split(' ').nth(5).is_some_and(|options| options.starts_with("ro")),
        "{root}"
    );
    let resident: u64 = of("VmRSS")?.trim_end_matches(" kB").parse()?;
    assert!(resident <= 12 * MIB, "{resident} KiB");
    Ok(())
}

/// The kernel program needs these rights. The test machine's kernel attaches it to the exit of system calls.
#[test]
fn the_kernel_program_needs_its_two_capabilities_or_sys_admin() -> Result<()> {
    let node = Node::start()?;
    let least = ["SYS_PTRACE", "DAC_READ_SEARCH"];
    let cases: [(&[&str], bool); 4] = [
        (&["BPF", "PERFMON"], true),
        (&["SYS_ADMIN"], true),
        (&["BPF"], false),
        (&["PERFMON"], false),
    ];
    for (more, runs) in cases {
        let way = Way {
            capabilities: least.iter().chain(more).map(ToString::to_string).collect(),
            ..as_documented()?
        };
        let seen = node.look_with(&way, &["--connect-events", "tracepoint", "--sample", "3s"])?;
        let events = &seen["connectEvents"]["value"];
        let method = if runs { json!("syscall-exit") } else { Value::Null };
        assert_eq!(events["method"], method, "{more:?}: {events:#}");
        if runs {
            assert_eq!(events["selfTest"]["failure"], Value::Null, "{more:?}: {events:#}");
            assert!(events["selfTest"]["at"].is_string(), "{more:?}: {events:#}");
        } else {
            let refused = events["refused"].to_string();
            assert!(refused.contains("needs CAP_BPF and CAP_PERFMON"), "{more:?}: {refused}");
        }
    }
    Ok(())
}

/// One node for all cases, because they only read it.
#[test]
fn the_documented_rights_are_sufficient_and_necessary() -> Result<()> {
    let node = Node::start()?;
    with_all(&node)?;
    without_ptrace(&node)?;
    without_admin(&node)?;
    without_read_search(&node)?;
    without_host_pid(&node)?;
    as_another_user(&node)
}

fn with_all(node: &Node) -> Result<()> {
    let seen = node.look(&as_documented()?)?;
    assert_eq!(node.clients_in(&seen)?, [rootless().as_str(), POD, UNIT], "{seen:#}");
    assert_eq!(seen["verdict"], "in-use");
    assert_eq!(seen["runtime"]["value"]["name"], "containerd");
    assert_eq!(list(&seen, "exposures")?[0]["pod"], "builder-0");
    assert_eq!(missing_facts(&seen), [""; 0]);
    Ok(())
}

fn without_ptrace(node: &Node) -> Result<()> {
    let seen = node.look(&without("SYS_PTRACE")?)?;
    assert_eq!(node.clients_in(&seen)?, [""; 0], "{seen:#}");
    assert_eq!(seen["verdict"], "unknown");
    assert!(says(&seen, "engine", "CAP_SYS_PTRACE"), "{seen:#}");
    Ok(())
}

fn without_admin(node: &Node) -> Result<()> {
    let seen = node.look(&without("SYS_ADMIN")?)?;
    // A namespace of one pod identifies the pod, and not which of its containers. One of the host identifies no
    // process.
    assert_eq!(node.clients_in(&seen)?, ["pod builds/builder-0/?", UNNAMED], "{seen:#}");
    assert_eq!(seen["verdict"], "in-use");
    assert!(says(&seen, "identity", "CAP_SYS_ADMIN"), "{seen:#}");
    Ok(())
}

fn without_read_search(node: &Node) -> Result<()> {
    let seen = node.look(&without("DAC_READ_SEARCH")?)?;
    assert_eq!(node.clients_in(&seen)?, [POD, UNIT, UNNAMED], "{seen:#}");
    assert_eq!(seen["verdict"], "in-use");
    assert!(says(&seen, "identity", "CAP_DAC_READ_SEARCH"), "{seen:#}");
    Ok(())
}

fn without_host_pid(node: &Node) -> Result<()> {
    let seen = node.look(&Way {
        host_pid: false,
        ..as_documented()?
    })?;
    assert_eq!(
        (&seen["verdict"], &seen["engines"]),
        (&json!("unknown"), &json!({ "state": "absent" }))
    );
    for hidden in ["engine", "client"] {
        assert!(says(&seen, hidden, "hostPID"), "{hidden}: {seen:#}");
    }
    assert!(says(&seen, "runtime", "not the root directory of a host"), "{seen:#}");
    Ok(())
}

/// A container of another user has none of the capabilities that it was given: the kernel grants them only to user 0.
fn as_another_user(node: &Node) -> Result<()> {
    let seen = node.look(&Way {
        user: 65532,
        ..as_documented()?
    })?;
    assert_eq!(node.clients_in(&seen)?, [""; 0], "{seen:#}");
    assert_eq!(seen["verdict"], "unknown");
    assert!(says(&seen, "engine", "CAP_SYS_PTRACE"), "{seen:#}");
    Ok(())
}
