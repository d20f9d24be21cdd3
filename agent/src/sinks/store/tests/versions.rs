//! Files of earlier versions.

use super::*;

/// A client from the first release stays known: an upgrade does not forget it, and invents no hours for it.
#[test]
fn a_file_of_the_first_version_is_read() {
    let key = sample::pod_client("p", None, 1).key;
    let client = serde_json::to_string(&key).expect("a key serializes");
    let (first, last) = (sample::ago(100 * 3_600), sample::ago(2 * 3_600));
    let text = format!(
        "{{\"format\":\"castoff-state\",\"version\":1,\"clients\":[{{\"client\":{client},\"firstSeen\":\"{first}\",\
         \"lastSeen\":\"{last}\",\"connects\":3}}]}}"
    );
    let history = decode(text.as_bytes()).expect("it is of an old version, and well");
    let seen = history.get(&key).expect("it was kept");
    assert_eq!((seen.first, seen.last, seen.connects), (first, last, 3));
    assert_eq!(seen.hours.iter().collect::<Vec<_>>(), [first, last]);
    assert!(history.looked().is_empty());
}

/// A release without exposures identified containers by their names alone.
#[test]
fn a_file_of_the_second_version_is_read() {
    let key = serde_json::to_string(&sample::key(ClientIdentity::EngineContainer {
        engine: None,
        name: "portainer".to_owned(),
        image: None,
    }));
    let time = sample::ago(3_600);
    let text = format!(
        "{{\"format\":\"castoff-state\",\"version\":2,\"clients\":[{{\"client\":{},\"firstSeen\":\"{time}\",\
         \"lastSeen\":\"{time}\",\"connects\":3}}]}}",
        key.expect("a key serializes")
    );
    let history = decode(text.as_bytes()).expect("it is of an old version, and well");
    assert_eq!((history.clients().count(), history.exposures().count()), (1, 0));
}

/// A release without requests wrote the same except for them.
#[test]
fn a_file_of_the_fourth_version_is_read() {
    let bytes = encode(&history()).expect("it encodes");
    let mut document: serde_json::Value = serde_json::from_slice(&bytes).expect("it is JSON");
    document["version"] = 4.into();
    for client in document["clients"].as_array_mut().expect("they are listed") {
        client.as_object_mut().expect("an object").remove("requests");
    }
    let read = decode(document.to_string().as_bytes()).expect("it is of an old version, and well");
    assert_eq!(read.clients().count(), history().clients().count());
    assert!(read.clients().all(|(_, seen)| seen.requests.is_empty()));
}

/// A release without the time of the last read-only mount kept exposures, which show it.
#[test]
fn a_file_of_the_seventh_version_is_read() {
    let bytes = encode(&history()).expect("it encodes");
    let mut document: serde_json::Value = serde_json::from_slice(&bytes).expect("it is JSON");
    document["version"] = 7.into();
    let fields = document.as_object_mut().expect("an object");
    fields.remove("readonlyMounted").expect("the sample has it");
    let read = |document: &serde_json::Value| {
        decode(document.to_string().as_bytes()).expect("it is of an old version, and well")
    };
    let mounts = history();
    let readonly = mounts.exposures().filter(|(_, seen)| seen.mount.readonly);
    let last = readonly.map(|(_, seen)| seen.last).max();
    assert!(last.is_some(), "the sample has a read-only mount");
    assert_eq!(read(&document).readonly_mounted(), last);
    document.as_object_mut().expect("an object").remove("exposures");
    assert_eq!(read(&document).readonly_mounted(), None);
}

/// A release without the count of the time without use, or without clocks, wrote the same but for them.
#[test]
fn files_of_the_fifth_and_sixth_version_are_read() {
    let bytes = encode(&history()).expect("it encodes");
    let mut document: serde_json::Value = serde_json::from_slice(&bytes).expect("it is JSON");
    let without_clocks = history().with_clocks(None);
    for (version, field, expected) in [
        (6, "clocks", without_clocks.clone()),
        (5, "dockerFree", without_clocks.with_disuse(None)),
    ] {
        document["version"] = version.into();
        let fields = document.as_object_mut().expect("an object");
        fields.remove(field).expect("the sample has it");
        let read = decode(document.to_string().as_bytes()).expect("it is of an old version, and well");
        assert_eq!(read, expected);
    }
}
