//! A client of the host is identified by the path of its program; if its process had ended, by the program's name alone.

use super::*;

const PATH: &str = "/opt/ci/poll";

fn unit(name: &str, executable: &str, uid: u32) -> ClientIdentity {
    ClientIdentity::Host {
        unit: Some(Unit::System { name: name.to_owned() }),
        executable: executable.to_owned(),
        uid: Some(uid),
    }
}

fn client(identity: ClientIdentity) -> OpenClient {
    let client = open(0, &[1]);
    OpenClient {
        key: ClientKey { identity, ..client.key },
        ..client
    }
}

#[test]
fn a_path_takes_over_only_from_the_name_of_the_same_unit_and_user() {
    for (name, path, is_same) in [
        (unit("a.service", "poll", 0), PATH, true),
        (unit("a.service", "poll-3f9a4c21b7de", 0), "/opt/ci/poll-*", true),
        (unit("a.service", "other", 0), PATH, false),
        (unit("a.service", "/usr/bin/poll", 0), PATH, false),
        (unit("b.service", "poll", 0), PATH, false),
        (unit("a.service", "poll", 1000), PATH, false),
    ] {
        let mut history = History::default();
        history.record(Timestamp::from_unix(10), &[client(name.clone())]);
        let of_path = client(unit("a.service", path, 0));
        history.record(Timestamp::from_unix(20), std::slice::from_ref(&of_path));
        let first = history.get(&of_path.key).expect("it is known").first.as_unix();
        let expected = if is_same { (1, 10) } else { (2, 20) };
        assert_eq!((history.clients().count(), first), expected, "{name}");
    }
}
