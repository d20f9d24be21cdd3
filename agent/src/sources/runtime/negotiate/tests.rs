use std::fs;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::model::kubelet::EndpointOrigin;
use crate::sources::runtime::client::Allowance;

const CONTAINERD: &str = "/run/containerd/containerd.sock";
const CRI_DOCKERD: &str = "/run/cri-dockerd.sock";
const DOCKERSHIM: &str = "/run/dockershim.sock";

fn file(nth: u64) -> FileIdentity {
    FileIdentity::from_stat(1, nth)
}

fn candidate(path: &str) -> EndpointCandidate {
    EndpointCandidate {
        path: path.to_owned(),
        origin: EndpointOrigin::WellKnown { of: String::new() },
    }
}

fn answered(name: &str, path: &str, file: FileIdentity) -> Answered {
    let allowance = Allowance::new(Duration::ZERO, Duration::ZERO);
    Answered {
        socket: FoundSocket {
            candidate: candidate(path),
            canonical: PathBuf::from(path),
            connect: PathBuf::from(path),
            identity: file,
            has_other_names: false,
        },
        client: Client::new(PathBuf::from(path), file, allowance),
        api: CriApi::V1,
        name: name.to_owned(),
        version: "1".to_owned(),
    }
}

fn hangs(path: &str) -> Result<Answered, RefusedEndpoint> {
    Err(RefusedEndpoint {
        candidate: candidate(path),
        refusal: Gap::new(Reason::DeadlineExceeded, Hides::Runtime, path, "no answer"),
    })
}

/// Returns the path of the chosen runtime, and the number of gaps.
fn chosen(default: Option<FileIdentity>, answers: Vec<Result<Answered, RefusedEndpoint>>) -> (String, usize) {
    let found = Found {
        default,
        ..Found::default()
    };
    let chosen = decide(found, answers);
    let path = chosen
        .answered
        .known()
        .map(|answered| answered.socket.candidate.path.clone());
    (path.unwrap_or_default(), chosen.gaps.len())
}

#[tokio::test]
async fn the_default_of_a_kubelet_that_uses_it_wins_over_a_runtime_for_docker() {
    let containerd = || Ok(answered("containerd", CONTAINERD, file(1)));
    let docker = |path| Ok(answered("docker", path, file(2)));
    for (what, default, answers, expected) in [
        (
            "the kubelet uses its default",
            Some(file(1)),
            vec![containerd(), docker(CRI_DOCKERD)],
            (CONTAINERD, 0),
        ),
        (
            "a silent one is not the kubelet's",
            Some(file(1)),
            vec![containerd(), hangs("/run/crio/crio.sock")],
            (CONTAINERD, 0),
        ),
        (
            "the kubelet is not known",
            None,
            vec![containerd(), docker(CRI_DOCKERD)],
            (CRI_DOCKERD, 1),
        ),
        (
            "the default does not answer",
            Some(file(1)),
            vec![hangs(CONTAINERD), docker(CRI_DOCKERD)],
            (CRI_DOCKERD, 1),
        ),
        (
            "the default of a kubelet up to 1.23 answers",
            Some(file(1)),
            vec![containerd(), docker(DOCKERSHIM)],
            (DOCKERSHIM, 1),
        ),
        (
            "it may answer later",
            Some(file(1)),
            vec![containerd(), hangs(DOCKERSHIM)],
            (CONTAINERD, 1),
        ),
        (
            "containerd has the name of that one",
            Some(file(1)),
            vec![containerd(), Ok(answered("containerd", DOCKERSHIM, file(3)))],
            (CONTAINERD, 0),
        ),
    ] {
        let (path, gaps) = expected;
        assert_eq!(chosen(default, answers), (path.to_owned(), gaps), "{what}");
    }
}

#[test]
fn the_default_is_the_file_that_its_path_leads_to() {
    let root = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir_all(root.path().join("run/containerd")).expect("a directory");
    let find = |candidates| find_all(root.path(), candidates, None);
    assert_eq!(find(Candidates::Default).default, None, "there is no file");
    let _socket = UnixListener::bind(root.path().join("run/containerd/containerd.sock")).expect("fresh");
    let found = find(Candidates::Default);
    let sockets: Vec<_> = found.sockets.iter().map(|socket| Some(socket.identity)).collect();
    assert_eq!(sockets, [found.default]);
    assert_eq!(find(Candidates::Known(endpoint::well_known())).default, None);
}
