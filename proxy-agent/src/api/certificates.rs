//! Certificate rotation: those of the metrics server are read when somebody asks and they have changed since.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{VerifierBuilderError, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use tokio_rustls::TlsAcceptor;

use crate::config::MetricsTls;

/// Why there is no TLS.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CertificatesError {
    /// A file is not there, or not what it has to be.
    #[error("metricsTLS.{setting}: read {}: {cause}", .file.display())]
    Read {
        /// Which.
        setting: &'static str,
        /// Where.
        file: PathBuf,
        /// Why.
        cause: String,
    },
    /// They do not fit together.
    #[error("metricsTLS: {0}")]
    Unfit(String),
}

/// Certificates by their files.
#[derive(Debug)]
pub struct Certificates {
    files: MetricsTls,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The files as they were when they were read last.
    stamps: Option<[Stamp; 3]>,
    /// Made of those that could be used last; an error as long as none could.
    acceptor: Result<Acceptor, CertificatesError>,
    /// What is wrong with those that were read last.
    problem: Option<CertificatesError>,
}

#[derive(Clone)]
struct Acceptor(TlsAcceptor);

/// Keys are not for logs.
impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Acceptor")
    }
}

/// What tells one state of a file from another; none for one that is not there.
type Stamp = Option<(u64, u64, i64, i64)>;

impl Certificates {
    /// Those of these files, none of which is opened yet.
    pub fn new(files: MetricsTls) -> Self {
        let unread = CertificatesError::Unfit("no file was read yet".to_owned());
        Self {
            files,
            state: Mutex::new(State {
                stamps: None,
                acceptor: Err(unread),
                problem: None,
            }),
        }
    }

    /// What takes the next connection: with the files as they are, or were when they last could be used.
    pub fn acceptor(&self) -> Result<TlsAcceptor, CertificatesError> {
        let acceptor = self.renewed().acceptor.clone();
        acceptor.map(|Acceptor(acceptor)| acceptor)
    }

    /// What is wrong with the files as they are.
    pub fn problem(&self) -> Option<String> {
        self.renewed().problem.as_ref().map(ToString::to_string)
    }

    fn renewed(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = self.stamps();
        if state.stamps != Some(stamps) {
            state.stamps = Some(stamps);
            state.take(read(&self.files));
        }
        state
    }

    fn stamps(&self) -> [Stamp; 3] {
        let MetricsTls {
            cert_file,
            private_key_file,
            client_ca_file,
        } = &self.files;
        [cert_file, private_key_file, client_ca_file].map(|file| stamp(file))
    }
}

impl State {
    fn take(&mut self, read: Result<ServerConfig, CertificatesError>) {
        match read {
            Ok(config) => {
                tracing::info!("certificate of the metrics server read");
                self.acceptor = Ok(Acceptor(TlsAcceptor::from(Arc::new(config))));
                self.problem = None;
            }
            Err(error) => {
                tracing::warn!(%error, "certificate of the metrics server not taken");
                self.problem = Some(error.clone());
                if self.acceptor.is_err() {
                    self.acceptor = Err(error);
                }
            }
        }
    }
}

fn stamp(file: &Path) -> Stamp {
    let found = fs::metadata(file).ok()?;
    Some((found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
}

fn read(files: &MetricsTls) -> Result<ServerConfig, CertificatesError> {
    let chain = certificates("certFile", &files.cert_file)?;
    let key = PrivateKeyDer::from_pem_file(&files.private_key_file)
        .map_err(|error| unread("privateKeyFile", &files.private_key_file, &error))?;
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unfit(&error))?;
    let builder = match files.client_authorities() {
        None => builder.with_no_client_auth(),
        Some(file) => builder.with_client_cert_verifier(verifier(file)?),
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| unfit(&error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn verifier(file: &Path) -> Result<Arc<dyn ClientCertVerifier>, CertificatesError> {
    let mut roots = RootCertStore::empty();
    for authority in certificates("clientCAFile", file)? {
        roots
            .add(authority)
            .map_err(|error| unread("clientCAFile", file, &error))?;
    }
    let provider = Arc::new(default_provider());
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error: VerifierBuilderError| unread("clientCAFile", file, &error))
}

fn certificates(
    setting: &'static str,
    file: &Path,
) -> Result<Vec<CertificateDer<'static>>, CertificatesError> {
    let all = CertificateDer::pem_file_iter(file).map_err(|error| unread(setting, file, &error))?;
    let all: Vec<_> = all
        .collect::<Result<_, _>>()
        .map_err(|error| unread(setting, file, &error))?;
    if all.is_empty() {
        let none = io::Error::new(io::ErrorKind::InvalidData, "no certificate in it");
        return Err(unread(setting, file, &none));
    }
    Ok(all)
}

fn unread(setting: &'static str, file: &Path, cause: &impl std::fmt::Display) -> CertificatesError {
    CertificatesError::Read {
        setting,
        file: file.to_owned(),
        cause: cause.to_string(),
    }
}

fn unfit(error: &rustls::Error) -> CertificatesError {
    CertificatesError::Unfit(error.to_string())
}
