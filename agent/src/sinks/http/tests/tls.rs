//! TLS: certificates that are accepted, errors for the others, and the reload after a change of the files.

use std::fs;
use std::io;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tokio::time::timeout;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::super::tls::{Acceptor, Files, TlsError};
use super::*;

/// A certificate for `localhost` that is its own authority.
fn certificate(change: impl FnOnce(&mut CertificateParams)) -> (rcgen::Certificate, KeyPair) {
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    (params.self_signed(&key).expect("signed"), key)
}

fn write(folder: &Path, certificate: &str, key: &str) -> Files {
    let files = Files {
        certificate: folder.join("tls.crt"),
        key: folder.join("tls.key"),
    };
    fs::write(&files.certificate, certificate).expect("written");
    fs::write(&files.key, key).expect("written");
    files
}

fn chain(error: &TlsError) -> String {
    crate::model::reading::Gap::chain(error)
}

#[test]
fn an_unusable_certificate_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let (good, key) = certificate(|_| {});
    let (_, other) = certificate(|_| {});
    let (old, old_key) = certificate(|params| params.not_after = date_time_ymd(2020, 2, 3));
    let (new, new_key) = certificate(|params| {
        params.not_before = date_time_ymd(4000, 1, 1);
        params.not_after = date_time_ymd(4001, 1, 1);
    });
    let broken = good.pem().replace("\nMII", "\nAAA");
    for (certificate, key, said) in [
        (good.pem(), other.serialize_pem(), "is not the one of the certificate"),
        (
            old.pem(),
            old_key.serialize_pem(),
            "has expired on 2020-02-03T00:00:00Z",
        ),
        (new.pem(), new_key.serialize_pem(), "is not valid yet"),
        (
            String::new(),
            key.serialize_pem(),
            "tls.crt holds no certificate in PEM",
        ),
        (good.pem(), String::new(), "tls.key holds no private key in PEM"),
        (
            key.serialize_pem(),
            key.serialize_pem(),
            "tls.crt holds no certificate in PEM",
        ),
        (good.pem(), good.pem(), "tls.key holds no private key in PEM"),
        (broken, key.serialize_pem(), "tls.crt cannot be used for TLS"),
        ("x".repeat(2 << 20), key.serialize_pem(), "larger than 1 MiB"),
    ] {
        let files = write(folder.path(), &certificate, &key);
        let error = Acceptor::read(files).map(drop).expect_err(said);
        assert!(chain(&error).contains(said), "{} is not: {said}", chain(&error));
    }
    for (path, said) in [
        ("/nowhere/tls.crt", "No such file"),
        ("/dev/zero", "not a file"),
        ("/proc", "not a file"),
    ] {
        let files = Files {
            certificate: path.into(),
            ..write(folder.path(), "", "")
        };
        let error = Acceptor::read(files).map(drop).expect_err(said);
        assert!(
            chain(&error).contains(path) && chain(&error).contains(said),
            "{}",
            chain(&error)
        );
    }
}

async fn serving(files: Files, limits: Limits) -> std::net::SocketAddr {
    let (listener, address) = listen().await;
    let server = Server {
        limits,
        tls: Some(Acceptor::read(files).expect("a certificate")),
    };
    let (sender, published) = published(Some(sample::report()));
    tokio::spawn(async move {
        let _sender = sender;
        server
            .serve(
                listener,
                router(published, None),
                std::future::pending(),
                Duration::ZERO,
            )
            .await
    });
    address
}

async fn greet(address: std::net::SocketAddr, trusted: &CertificateDer<'static>) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).expect("a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

#[tokio::test]
async fn the_report_is_served_over_tls_and_a_renewed_certificate_is_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let (first, key) = certificate(|_| {});
    let address = serving(
        write(folder.path(), &first.pem(), &key.serialize_pem()),
        Limits::of_this_process(),
    )
    .await;
    let mut stream = greet(address, first.der()).await.expect("a handshake");
    let ask = b"GET /api/v1/report HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n";
    stream.write_all(ask).await.expect("sent");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await; // a server may close without close_notify
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("\"verdict\":\"in-use\""),
        "{answer}"
    );

    // An unusable one does not replace it …
    let (second, key) = certificate(|_| {});
    fs::write(folder.path().join("tls.crt"), second.pem()).expect("written");
    tokio::time::sleep(Duration::from_millis(1200)).await;
    greet(address, first.der()).await.expect("the first is still in use");
    // … and a usable one does.
    fs::write(folder.path().join("tls.key"), key.serialize_pem()).expect("written");
    let taken = async {
        while greet(address, second.der()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(Duration::from_secs(20), taken).await.expect("it is taken up");
    assert!(greet(address, first.der()).await.is_err());
}

#[tokio::test]
async fn an_unfinished_handshake_is_cut_off_and_plain_http_is_not_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let (good, key) = certificate(|_| {});
    let limits = Limits {
        reading: Duration::from_millis(300),
        ..Limits::of_this_process()
    };
    let address = serving(write(folder.path(), &good.pem(), &key.serialize_pem()), limits).await;
    for sent in [
        &b""[..],
        b"\x16\x03\x01\x02",
        b"GET /api/v1/report HTTP/1.1\r\nHost: n\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream.write_all(sent).await.expect("sent");
        let mut answer = Vec::new();
        let _ = timeout(Duration::from_secs(20), stream.read_to_end(&mut answer))
            .await
            .expect("it closes");
        assert!(!String::from_utf8_lossy(&answer).contains("HTTP"), "{answer:?}");
    }
    greet(address, good.der()).await.expect("others are served");
}
