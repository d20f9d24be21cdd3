use super::*;

fn asked(line: &str) -> Option<(Operation, Option<u8>)> {
    match judge(line.as_bytes()) {
        Line::Request(request) => Some((request.operation, request.version.map(|version| version.0))),
        Line::Unfinished | Line::Nothing => None,
    }
}

fn operation(request: &str) -> Operation {
    let line = format!("{request} HTTP/1.1\r\nHost: docker\r\n\r\n");
    asked(&line).unwrap_or_else(|| panic!("{request} is a request")).0
}

/// The paths of the Docker Engine API.
#[test]
fn each_path_of_docker_has_its_class() {
    use Operation::{Build, Events, Exec, Logs, Networks, Other, Pull, Push, Read, Run, Swarm, System, Volumes};
    let cases: &[(Operation, &[&str])] = &[
        (
            Build,
            &[
                "POST /build?t=a",
                "POST /session",
                "POST /grpc",
                "POST /commit?container=a",
                "POST /build/prune",
            ],
        ),
        (
            Run,
            &[
                "POST /containers/create?name=a",
                "POST /containers/a/start",
                "POST /containers/a/stop?t=1",
                "POST /containers/a/attach?stream=1",
                "GET /containers/a/attach/ws",
                "POST /containers/a/wait",
                "PUT /containers/a/archive?path=/",
                "DELETE /containers/a?force=1",
                "POST /containers/prune",
            ],
        ),
        (
            Exec,
            &["POST /containers/a/exec", "POST /exec/a/start", "GET /exec/a/json"],
        ),
        (
            Read,
            &[
                "GET /containers/json?all=1",
                "GET /containers/a/json",
                "GET /containers/a/stats",
                "HEAD /containers/a/archive?path=/",
                "GET /images/json",
                "GET /images/registry.example/team/app/json",
                "GET /images/search?term=a",
                "GET /distribution/a/json",
            ],
        ),
        (Pull, &["POST /images/create?fromImage=a", "POST /images/load"]),
        (
            Push,
            &[
                "POST /images/registry.example/team/app/push?tag=1",
                "POST /images/a/push",
            ],
        ),
        (Events, &["GET /events?since=1"]),
        (Logs, &["GET /containers/a/logs?follow=1"]),
        (
            Swarm,
            &[
                "POST /swarm/init",
                "GET /nodes",
                "POST /services/create",
                "GET /tasks",
                "GET /secrets",
                "GET /configs",
            ],
        ),
        (Volumes, &["GET /volumes", "POST /volumes/create", "DELETE /volumes/a"]),
        (Networks, &["GET /networks", "POST /networks/a/connect"]),
        (
            System,
            &[
                "HEAD /_ping",
                "GET /_ping",
                "GET /version",
                "GET /info",
                "POST /auth",
                "GET /system/df",
            ],
        ),
        (
            Other,
            &[
                "GET /",
                "GET /plugins",
                "DELETE /images/a",
                "POST /images/a/tag?repo=b",
                "GET /v2/_catalog",
            ],
        ),
    ];
    for (expected, requests) in cases {
        for request in *requests {
            assert_eq!(operation(request), *expected, "{request}");
            let versioned = request.replacen(" /", " /v1.43/", 1);
            assert_eq!(operation(&versioned), *expected, "{versioned}");
        }
    }
}

#[test]
fn podmans_own_api_has_the_same_classes_and_no_version_of_docker() {
    use Operation::{Build, Exec, Other, Pull, Push, Read, Run, System};
    for (request, expected) in [
        ("GET /v5.0.0/libpod/containers/json", Read),
        ("POST /v1.40.0/libpod/containers/create", Run),
        ("POST /v5.0.0/libpod/images/pull?reference=a", Pull),
        ("POST /v5.0.0/libpod/images/a/push", Push),
        ("POST /v5.0.0/libpod/manifests/a/registry/b", Push),
        ("POST /v5.0.0/libpod/manifests/a", Other),
        ("POST /v5.0.0/libpod/build", Build),
        ("POST /v5.0.0/libpod/containers/a/exec", Exec),
        ("POST /v5.0.0/libpod/pods/create", Run),
        ("POST /v5.0.0/libpod/kube/play", Run),
        ("GET /libpod/_ping", System),
    ] {
        assert_eq!(
            asked(&format!("{request} HTTP/1.1\r\n")),
            Some((expected, None)),
            "{request}"
        );
    }
}

#[test]
fn a_version_is_a_number_that_docker_could_have() {
    for (version, expected) in [
        ("v1.24", Some(24)),
        ("v1.54", Some(54)),
        ("v1.999999", None),
        ("v1.100", None),
        ("v1.-1", None),
        ("v1.", None),
        ("v2.10", None),
        ("v5.0.0", None),
    ] {
        let asked = asked(&format!("GET /{version}/containers/json HTTP/1.1\r\n"));
        assert_eq!(asked.and_then(|(_, version)| version), expected, "{version}");
    }
    assert_eq!(
        asked("GET /v1.999999/containers/json HTTP/1.1\n"),
        Some((Operation::Read, None))
    );
}

#[test]
fn the_path_is_read_as_the_engine_reads_it() {
    for request in [
        "GET http://docker/v1.41/containers/json",
        "GET http://%2Frun%2Fdocker.sock/containers/json",
        "GET //containers//json",
        "GET /%63ontainers/json",
        "GET /containers%2Fjson",
        "GET /containers/json#a",
    ] {
        assert_eq!(operation(request), Operation::Read, "{request}");
    }
    assert_eq!(operation("GET http://docker"), Operation::Other);
}

#[test]
fn buildkit_over_http_2_is_a_build() {
    assert_eq!(
        asked("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        Some((Operation::Build, None))
    );
    assert_eq!(operation("POST /moby.buildkit.v1.Control/Solve"), Operation::Build);
}

/// A line may be longer than the part that the kernel program reads: it is judged by its first components.
#[test]
fn a_long_line_is_judged_by_its_beginning() {
    let filters = "a".repeat(10_000);
    assert_eq!(
        operation(&format!("GET /v1.41/containers/json?filters={filters}")),
        Operation::Read
    );
    assert_eq!(operation(&format!("GET /images/{filters}/json")), Operation::Read);
    assert_eq!(operation(&format!("POST /images/{filters}/push")), Operation::Other);
    assert_eq!(operation(&format!("POST /{filters}")), Operation::Other);
}

#[test]
fn other_bytes_are_not_a_request() {
    for sent in [
        "",
        "\n",
        "HELLO /containers/json HTTP/1.1\r\n",
        "GET containers/json HTTP/1.1\r\n",
        "GET /containers/json\r\n",
        "GET /containers/json FTP/1.0\r\n",
        "GET\n",
        "get /containers/json HTTP/1.1\r\n",
        "{\"Image\":\"GET /\"}",
        "\u{0}\u{1}GET / HTTP/1.1\n",
    ] {
        assert_eq!(judge(sent.as_bytes()), Line::Nothing, "{sent:?}");
    }
    assert_eq!(judge(&[0xff; 4_096]), Line::Nothing);
}
