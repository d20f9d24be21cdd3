//! The CRI calls that create and remove pods, without async, because the lab's users are plain tests.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::runtime::{Builder, Runtime};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::transport::{Channel, Endpoint};

use self::proto::runtime_service_client::RuntimeServiceClient;

/// The messages of `tests/proto/lab.proto`.
pub(crate) mod proto {
    #![expect(
        clippy::pedantic,
        clippy::enum_variant_names,
        clippy::allow_attributes_without_reason,
        unreachable_pub,
        unused_qualifications,
        reason = "generated"
    )]
    tonic::include_proto!("runtime.v1");
}

/// Far longer than any call takes, including the first start of the pause image on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// A version of the interface. The messages are the same on the wire; the names of the calls differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interface {
    /// `runtime.v1`.
    V1,
    /// `runtime.v1alpha2`: containerd before 1.6, dockershim.
    V1alpha2,
}

/// A connection to a runtime. It must not be used from within an async task.
#[derive(Debug, Clone)]
pub(crate) struct Cri {
    runtime: Arc<Runtime>,
    channel: Versioned,
}

impl Cri {
    pub(crate) fn of(socket: &Path, interface: Interface) -> Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .context("make a runtime for CRI calls")?;
        let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display()))
            .with_context(|| format!("make an endpoint of {}", socket.display()))?
            .timeout(DEADLINE);
        let channel = runtime.block_on(async { endpoint.connect_lazy() });
        Ok(Self {
            runtime: Arc::new(runtime),
            channel: Versioned { channel, interface },
        })
    }

    pub(crate) fn version(&self) -> Result<proto::VersionResponse> {
        let request = proto::VersionRequest {
            version: "v1".to_owned(),
        };
        self.call("Version", async |mut client| client.version(request).await)
    }

    /// Fails unless the runtime and its network report that they are ready.
    pub(crate) fn ready(&self) -> Result<()> {
        let request = proto::StatusRequest { verbose: false };
        let answer = self.call("Status", async |mut client| client.status(request).await)?;
        for condition in answer.status.unwrap_or_default().conditions {
            let ready = condition.status || !condition.r#type.ends_with("Ready");
            ensure!(
                ready,
                "{}: {} {}",
                condition.r#type,
                condition.reason,
                condition.message
            );
        }
        Ok(())
    }

    pub(crate) fn run_pod_sandbox(&self, config: proto::PodSandboxConfig) -> Result<String> {
        let request = proto::RunPodSandboxRequest {
            config: Some(config),
            runtime_handler: String::new(),
        };
        let answer = self.call("RunPodSandbox", async |mut client| {
            client.run_pod_sandbox(request).await
        })?;
        Ok(answer.pod_sandbox_id)
    }

    /// Stops and removes a sandbox with the containers in it.
    pub(crate) fn remove_pod_sandbox(&self, id: &str) -> Result<()> {
        let request = proto::StopPodSandboxRequest {
            pod_sandbox_id: id.to_owned(),
        };
        self.call("StopPodSandbox", async |mut client| {
            client.stop_pod_sandbox(request).await
        })?;
        let request = proto::RemovePodSandboxRequest {
            pod_sandbox_id: id.to_owned(),
        };
        self.call("RemovePodSandbox", async |mut client| {
            client.remove_pod_sandbox(request).await
        })?;
        Ok(())
    }

    /// Creates and starts a container.
    pub(crate) fn start_container(&self, request: proto::CreateContainerRequest) -> Result<String> {
        let answer = self.call("CreateContainer", async |mut client| {
            client.create_container(request).await
        })?;
        let request = proto::StartContainerRequest {
            container_id: answer.container_id.clone(),
        };
        self.call("StartContainer", async |mut client| {
            client.start_container(request).await
        })?;
        Ok(answer.container_id)
    }

    pub(crate) fn stop_container(&self, id: &str) -> Result<()> {
        let request = proto::StopContainerRequest {
            container_id: id.to_owned(),
            timeout: 5,
        };
        self.call("StopContainer", async |mut client| client.stop_container(request).await)?;
        Ok(())
    }

    pub(crate) fn container_status(&self, id: &str) -> Result<proto::ContainerStatusResponse> {
        let request = proto::ContainerStatusRequest {
            container_id: id.to_owned(),
            verbose: true,
        };
        self.call("ContainerStatus", async |mut client| {
            client.container_status(request).await
        })
    }

    fn call<T>(
        &self,
        name: &'static str,
        call: impl AsyncFnOnce(RuntimeServiceClient<Versioned>) -> Result<tonic::Response<T>, tonic::Status>,
    ) -> Result<T> {
        let client = RuntimeServiceClient::new(self.channel.clone());
        let answer = self.runtime.block_on(call(client));
        Ok(answer.with_context(|| format!("CRI {name}"))?.into_inner())
    }
}

/// A channel that gives every call its name in one version of the interface.
#[derive(Debug, Clone)]
struct Versioned {
    channel: Channel,
    interface: Interface,
}

impl Service<http::Request<Body>> for Versioned {
    type Response = <Channel as Service<http::Request<Body>>>::Response;
    type Error = <Channel as Service<http::Request<Body>>>::Error;
    type Future = <Channel as Service<http::Request<Body>>>::Future;

    fn poll_ready(&mut self, context: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        if self.interface == Interface::V1alpha2 {
            let path = request.uri().path().replace("/runtime.v1.", "/runtime.v1alpha2.");
            let mut parts = request.uri().clone().into_parts();
            parts.path_and_query = path.parse().ok();
            if let Ok(uri) = http::Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
        }
        self.channel.call(request)
    }
}
