//! The certificate of castoff's own HTTP, read again when its files change. A certificate that cannot be used never
//! takes the place of one that can.
//!
//! Relies on the kubelet's way with a mounted Secret: both files change at once, behind a symbolic link.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::client::verify_server_cert_signed_by_trust_anchor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio_rustls::rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{CertificateError, Error, InconsistentKeys, RootCertStore, ServerConfig};

use crate::model::reading::Gap;
use crate::model::time::Timestamp;

/// Bytes of a file at most; a long chain has a tenth of it.
const LIMIT: u64 = 1 << 20;
/// From one look at the files to the next, at least.
const REST: Duration = Duration::from_secs(1);

/// Where the certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate, then those between it and its authority, in PEM.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It cannot be read.
    #[error("read {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the host said.
        source: io::Error,
    },
    /// It is not in PEM, or not of the kind that is needed.
    #[error("{path} holds no {what} in PEM")]
    Pem {
        /// Which file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// What was found.
        source: pem::Error,
    },
    /// TLS cannot use it.
    #[error("{path} cannot be used for TLS")]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: Error,
    },
    /// One is not the other's.
    #[error("the key {key} is not the one of the certificate {certificate}")]
    Mismatch {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// Its time is over.
    #[error("the certificate {path} has expired on {since}")]
    Expired {
        /// Which file.
        path: PathBuf,
        /// Its last moment.
        since: Timestamp,
    },
    /// Its time has not come.
    #[error("the certificate {path} is not valid yet; is the clock right?")]
    NotYet {
        /// Which file.
        path: PathBuf,
    },
}

/// Makes the server's side of handshakes.
///
/// # Errors
/// The certificate cannot be used now.
pub fn acceptor(files: Files) -> Result<TlsAcceptor, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let unusable = |source| TlsError::Unusable {
        path: files.certificate.clone(),
        source,
    };
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth();
    let mut config = config.with_cert_resolver(Arc::new(Certificate::read(files, provider)?));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
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
    /// Of the files when they were last read, whatever came of it.
    marks: [Option<Mark>; 2],
    looked: Instant,
    /// What was last said to be wrong.
    trouble: Option<String>,
}

/// What tells one version of a file from another.
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
                trouble: None,
            }),
        })
    }

    fn current(&self) -> Arc<CertifiedKey> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.looked.elapsed() >= REST {
            current.looked = Instant::now();
            self.renew(&mut current);
        }
        Arc::clone(&current.pair)
    }

    fn renew(&self, current: &mut Current) {
        let marks = self.files.marks();
        let trouble = if marks == current.marks && current.trouble.is_none() {
            // The one in use may have come to its end.
            self.files.check_time(&current.pair).err()
        } else {
            // Files that were read between the change of one and of the other are read again.
            match self.files.read(&self.provider) {
                Ok(pair) => {
                    tracing::info!(certificate = %self.files.certificate.display(), "the certificate was read anew");
                    current.pair = Arc::new(pair);
                    None
                }
                Err(error) => Some(error),
            }
        };
        current.marks = marks;
        let trouble = trouble.map(|error| Gap::chain(&error));
        if let Some(error) = trouble.as_ref().filter(|_| trouble != current.trouble) {
            tracing::warn!(error, "the certificate that was read last stays in use");
        }
        current.trouble = trouble;
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
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

    /// Who signed it is the clients' question. Here it is asked with no authority to trust, for the answer's other part: its
    /// time is looked at first.
    fn check_time(&self, pair: &CertifiedKey) -> Result<(), TlsError> {
        let path = || self.certificate.clone();
        let unusable = |source| TlsError::Unusable { path: path(), source };
        let certificate = pair.end_entity_cert().map_err(unusable)?;
        let certificate = ParsedCertificate::try_from(certificate).map_err(unusable)?;
        let algorithms = ring::default_provider().signature_verification_algorithms;
        let nobody = RootCertStore::empty();
        let now = UnixTime::now();
        match verify_server_cert_signed_by_trust_anchor(&certificate, &nobody, &[], now, algorithms.all) {
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

/// A FIFO would wait for its writer forever, and a device may never end.
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
