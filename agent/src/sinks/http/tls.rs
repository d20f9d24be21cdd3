//! The certificate of castoff's own HTTP server, read again when its files change. An unusable certificate never replaces a
//! usable one.
//!
//! Relies on the kubelet's update of a mounted Secret: both files change at once, behind a symbolic link.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::client::verify_server_cert_signed_by_trust_anchor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio_rustls::rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{CertificateError, Error, InconsistentKeys, RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;

use crate::model::reading::Gap;
use crate::model::time::Timestamp;

/// The maximum size of a file in bytes; a long chain has a tenth of it.
const LIMIT: u64 = 1 << 20;
/// The minimum time between two checks of the files.
const REST: Duration = Duration::from_secs(1);

/// The time that a handshake waits for them.
const PATIENCE: Duration = Duration::from_secs(1);
/// The bytes of an answer that are encrypted ahead.
const AHEAD: usize = 16 << 10;

/// The paths of the certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate, followed by the intermediate certificates, in PEM.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

/// The reason why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It cannot be read.
    #[error("read {path}")]
    Read {
        /// The file's path.
        path: PathBuf,
        /// The host's error.
        source: io::Error,
    },
    /// It is not in PEM, or not of the required kind.
    #[error("{path} holds no {what} in PEM")]
    Pem {
        /// The file's path.
        path: PathBuf,
        /// The item that was expected.
        what: &'static str,
        /// The item that was found.
        source: pem::Error,
    },
    /// TLS cannot use it.
    #[error("{path} cannot be used for TLS")]
    Unusable {
        /// The file's path.
        path: PathBuf,
        /// The cause.
        source: Error,
    },
    /// The key does not belong to the certificate.
    #[error("the key {key} is not the one of the certificate {certificate}")]
    Mismatch {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// It has expired.
    #[error("the certificate {path} has expired on {since}")]
    Expired {
        /// The file's path.
        path: PathBuf,
        /// The end of its validity.
        since: Timestamp,
    },
    /// It is not valid yet.
    #[error("the certificate {path} is not valid yet; is the clock right?")]
    NotYet {
        /// The file's path.
        path: PathBuf,
    },
}

/// Performs the server's side of handshakes.
#[derive(Clone)]
pub struct Acceptor {
    tls: TlsAcceptor,
    certificate: Arc<Certificate>,
}

impl Acceptor {
    /// Reads the files; call it off the async runtime.
    ///
    /// # Errors
    /// The certificate cannot be used now.
    pub fn read(files: Files) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let unusable = |source| TlsError::Unusable {
            path: files.certificate.clone(),
            source,
        };
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth();
        let certificate = Arc::new(Certificate::read(files, provider)?);
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(&certificate) as _;
        let mut config = config.with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tls = TlsAcceptor::from(Arc::new(config));
        Ok(Self { tls, certificate })
    }

    /// Performs a handshake with the current files.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.certificate.renew().await;
        let accept = self.tls.accept_with(stream, |connection| {
            // The limit of data that it encrypts ahead for a reader that does not read.
            connection.set_buffer_limit(Some(AHEAD));
        });
        accept.await
    }
}

/// The certificate in use.
#[derive(Debug)]
struct Certificate {
    files: Files,
    provider: Arc<CryptoProvider>,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    pair: Arc<CertifiedKey>,
    /// The marks of the files when they were last read, whatever the result.
    marks: [Option<Mark>; 2],
    looked: Instant,
    /// True while a thread reads them.
    reading: bool,
    /// The last reported error.
    trouble: Option<String>,
}

/// A mark that differs between versions of a file.
type Mark = (u64, u64, SystemTime, u64);

impl Certificate {
    fn read(files: Files, provider: Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let marks = files.marks();
        let pair = Arc::new(files.read(&provider)?);
        Ok(Self {
            files,
            provider,
            current: Mutex::new(Current {
                pair,
                marks,
                looked: Instant::now(),
                reading: false,
                trouble: None,
            }),
        })
    }

    fn with<T>(&self, f: impl FnOnce(&mut Current) -> T) -> T {
        f(&mut self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the files again if it is time. A disk that hangs delays a handshake for a moment and blocks one thread.
    async fn renew(self: &Arc<Self>) {
        let is_due = self.with(|current| {
            let due = !current.reading && current.looked.elapsed() >= REST;
            current.reading |= due;
            due
        });
        if is_due {
            let certificate = Arc::clone(self);
            let _ = timeout(PATIENCE, spawn_blocking(move || certificate.look())).await;
        }
    }

    fn look(&self) {
        let marks = self.files.marks();
        let (same, pair) = self.with(|current| {
            let same = marks == current.marks && current.trouble.is_none();
            (same, Arc::clone(&current.pair))
        });
        // The certificate in use may have expired. Files that were read after only one of them had changed are read
        // again.
        let read = if same {
            self.files.check_time(&pair).map(|()| None)
        } else {
            self.files.read(&self.provider).map(Some)
        };
        self.with(|current| {
            current.marks = marks;
            current.looked = Instant::now();
            current.reading = false;
            let trouble = read.as_ref().err().map(|error| Gap::chain(error));
            if let Ok(Some(pair)) = read {
                tracing::info!(certificate = %self.files.certificate.display(), "the certificate was reloaded");
                current.pair = Arc::new(pair);
            }
            if let Some(error) = trouble.as_ref().filter(|_| trouble != current.trouble) {
                tracing::warn!(error, "the certificate that was read last stays in use");
            }
            current.trouble = trouble;
        });
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.with(|current| Arc::clone(&current.pair)))
    }
}

impl Files {
    fn marks(&self) -> [Option<Mark>; 2] {
        use std::os::unix::fs::MetadataExt as _;
        let mark = |path: &Path| {
            let found = fs::metadata(path).ok()?;
            Some((found.dev(), found.ino(), found.modified().ok()?, found.len()))
        };
        [mark(&self.certificate), mark(&self.key)]
    }

    fn read(&self, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        let no = |path: &Path, what: &'static str| {
            let path = path.to_owned();
            move |source| TlsError::Pem { path, what, source }
        };
        let chain = CertificateDer::pem_slice_iter(&read_file(&self.certificate)?).collect::<Result<Vec<_>, _>>();
        let chain = chain.and_then(|chain| {
            if chain.is_empty() {
                Err(pem::Error::NoItemsFound)
            } else {
                Ok(chain)
            }
        });
        let chain = chain.map_err(no(&self.certificate, "certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(&read_file(&self.key)?).map_err(no(&self.key, "private key"))?;
        let pair = CertifiedKey::from_der(chain, key, provider).map_err(|source| self.refused(source))?;
        self.check_time(&pair)?;
        Ok(pair)
    }

    fn refused(&self, source: Error) -> TlsError {
        match source {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::Mismatch {
                certificate: self.certificate.clone(),
                key: self.key.clone(),
            },
            Error::InvalidCertificate(_) => TlsError::Unusable {
                path: self.certificate.clone(),
                source,
            },
            source => TlsError::Unusable {
                path: self.key.clone(),
                source,
            },
        }
    }

    /// Checks the validity period. Clients check the signer; here the verification runs without any trusted authority, because it
    /// checks the period first.
    fn check_time(&self, pair: &CertifiedKey) -> Result<(), TlsError> {
        let path = || self.certificate.clone();
        let unusable = |source| TlsError::Unusable { path: path(), source };
        let certificate = pair.end_entity_cert().map_err(unusable)?;
        let certificate = ParsedCertificate::try_from(certificate).map_err(unusable)?;
        let algorithms = ring::default_provider().signature_verification_algorithms;
        let no_authority = RootCertStore::empty();
        let now = UnixTime::now();
        match verify_server_cert_signed_by_trust_anchor(&certificate, &no_authority, &[], now, algorithms.all) {
            Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
                Err(TlsError::Expired {
                    path: path(),
                    since: Timestamp::from_unix(not_after.as_secs()),
                })
            }
            Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { .. })) => {
                Err(TlsError::NotYet { path: path() })
            }
            _ => Ok(()),
        }
    }
}

/// Reads regular files only: a FIFO would wait for its writer forever, and a device may never end.
fn read_file(path: &Path) -> Result<Vec<u8>, TlsError> {
    let read = || {
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        let mut bytes = Vec::new();
        fs::File::open(path)?.take(LIMIT + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LIMIT {
            return Err(io::Error::other("it is larger than 1 MiB"));
        }
        Ok(bytes)
    };
    read().map_err(|source| TlsError::Read {
        path: path.to_owned(),
        source,
    })
}
