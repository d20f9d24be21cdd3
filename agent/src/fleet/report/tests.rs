//! `tests/fleet` reads real reports of this version; these are reports of other versions and other programs.

use super::*;
use crate::model::text::is_plain;

fn report(extra: &str) -> String {
    format!(
        r#"{{"apiVersion":"castoff.dev/v1","kind":"NodeReport","castoffVersion":"0.1.0","node":"n","time":"2026-11-24T12:00:00Z",
        "verdict":"in-use","verdictReason":"why"{extra}}}"#
    )
}

fn read(extra: &str) -> Report {
    Report::read(report(extra).as_bytes()).expect("a report")
}

#[test]
fn a_missing_part_is_unknown_and_never_none() {
    let report = read("");
    assert_eq!(report.clients, Reported::Unknown);
    assert_eq!(report.exposures, Reported::Unknown);
    assert_eq!(report.runtime, Reported::Unknown);
    // Without the sources, something may be hidden.
    assert!(report.runtime_is_hidden);
    assert_eq!(
        read(r#","exposures":{"state":"absent"}"#).exposures,
        Reported::AtLeast(0)
    );
}

#[test]
fn a_gap_that_may_hide_more_makes_a_lower_bound() {
    let list = |hides: &str| {
        let gap = format!(r#"{{"hides":"{hides}"}}"#);
        read(&format!(
            r#","exposures":{{"state":"known","value":[{{}},{{}}]}},"sources":[{{"gaps":[{gap}]}}]"#
        ))
        .exposures
    };
    assert_eq!(list("exposure"), Reported::AtLeast(2));
    assert_eq!(list("engine"), Reported::AtLeast(2));
    assert_eq!(list("detail"), Reported::Known(2));
}

#[test]
fn an_invalid_part_does_not_affect_the_others() {
    let report = read(
        r#","clients":{"state":"known","value":[7]},"runtime":{"state":"known","value":{"name":"cri-o","version":"1.34"}},"sources":[]"#,
    );
    assert_eq!(report.clients, Reported::Unknown);
    assert!(matches!(report.runtime, Reported::Known(Some(runtime)) if runtime.name == "cri-o"));
}

#[test]
fn pods_of_a_workload_are_one_user_and_the_runtimes_own_socket_counts_for_nothing() {
    let client = |identity: &str, api: &str| {
        format!(r#"{{"identity":{identity},"api":"{api}","connections":2,"lastSeen":null}}"#)
    };
    let of = |pod: &str| {
        format!(
            r#"{{"kind":"pod","namespace":"ci","pod":"{pod}","workload":{{"kind":"Deployment","name":"builder","certain":true}}}}"#
        )
    };
    let all = [
        client(&of("builder-a"), "docker"),
        client(&of("builder-b"), "docker"),
        client(
            r#"{"kind":"host","unit":{"name":"kubelet.service"},"executable":"/k"}"#,
            "cri",
        ),
    ];
    let report = read(&format!(
        r#","clients":{{"state":"known","value":[{}]}},"sources":[]"#,
        all.join(",")
    ));
    let clients = report.clients.seen().expect("they are reported");
    let users: Vec<_> = clients
        .users
        .iter()
        .map(|used| (used.user.to_string(), used.connections))
        .collect();
    assert_eq!(users, [("ci/Deployment builder".to_owned(), 4)]);
    assert_eq!((clients.now, clients.before), (1, 0));
}

#[test]
fn users_are_bounded_and_the_rest_is_counted() {
    let all: Vec<String> = (0..500)
        .map(|at| {
            format!(
                r#"{{"identity":{{"kind":"engine-container","name":"{at}"}},"connections":{},"lastSeen":null}}"#,
                at % 2
            )
        })
        .collect();
    let report = read(&format!(
        r#","clients":{{"state":"known","value":[{}]}},"sources":[]"#,
        all.join(",")
    ));
    let clients = report.clients.seen().expect("they are reported");
    assert_eq!((clients.now, clients.before), (250, 250));
    assert_eq!((clients.users.len(), clients.more_users), (Clients::USERS, 500 - 64));
}

/// Any input: no panic, and no long text from it.
#[test]
fn truncated_and_altered_reports_are_refused_or_bounded() {
    let whole = report(r#","clients":{"state":"known","value":[]},"sources":[{"gaps":[{"hides":"client"}]}]"#);
    for end in 0..whole.len() {
        assert!(Report::read(&whole.as_bytes()[..end]).is_err());
    }
    let mut random = 0x2545_f491_u32;
    for _ in 0..20_000 {
        let mut bytes = whole.clone().into_bytes();
        for _ in 0..3 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let at = random as usize % bytes.len();
            bytes[at] = (random >> 24) as u8;
        }
        if let Err(error) = Report::read(&bytes) {
            assert!(error.to_string().len() < 400, "{error}");
        }
    }
    let long = "x".repeat(100_000);
    let error = Report::read(whole.replace("in-use", &long).as_bytes()).expect_err("no such verdict");
    assert!(error.to_string().len() < 200 && error.to_string().chars().all(|c| is_plain(c) || c == '…'));
}

#[test]
fn clients_and_exposures_of_an_engine_inside_a_pod_do_not_count_for_the_node() {
    let client = |scope: &str| {
        format!(r#"{{"identity":{{"kind":"unnamed"}},"scope":{{"kind":"{scope}"}},"connections":1,"lastSeen":null}}"#)
    };
    let exposure = |scope: &str| format!(r#"{{"scope":{{"kind":"{scope}"}}}}"#);
    let counts = |scope: &str| {
        let report = read(&format!(
            r#","clients":{{"state":"known","value":[{}]}},"exposures":{{"state":"known","value":[{}]}},"sources":[]"#,
            client(scope),
            exposure(scope)
        ));
        (report.clients.seen().expect("they are reported").now, report.exposures)
    };
    assert_eq!(counts("pod"), (0, Reported::Known(0)));
    for scope in ["host", "user", "container", "another"] {
        assert_eq!(counts(scope), (1, Reported::Known(1)), "{scope}");
    }
}

#[test]
fn the_days_of_a_report_are_those_before_its_look() {
    use crate::fleet::days::DayUse;

    let hours = format!("{}#{}", ".".repeat(150), ".".repeat(17));
    let week = read(&format!(
        r#","timeline":{{"from":"2026-11-17T13:00:00Z","hours":"{hours}"}}"#
    ))
    .week;
    // Used in the hour from 2026-11-23T19:00:00Z.
    assert_eq!(week[..3], [DayUse::Unused, DayUse::Used, DayUse::Unused]);
    assert_eq!(read("").week, [DayUse::Unknown; 7]);
}
