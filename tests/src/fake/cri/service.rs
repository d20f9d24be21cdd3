//! The services of both versions, which answer with the script.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use castoff_cri::v1::runtime_service_server::{RuntimeService as V1, RuntimeServiceServer as V1Server};
use castoff_cri::v1alpha2::runtime_service_server::{
    RuntimeService as V1alpha2, RuntimeServiceServer as V1alpha2Server,
};
use castoff_cri::{PACKAGES, v1};
use tonic::codegen::{BoxFuture, Service, http};
use tonic::{Request, Response, Status};

use super::script::{Api, Fault, Method, Script};
use super::{Shared, lock};

type HttpRequest = http::Request<tonic::body::Body>;
type HttpResponse = http::Response<tonic::body::Body>;

/// Counts each call and passes it to the service of its version, if the script serves that.
#[derive(Clone)]
pub(super) struct Dispatch {
    shared: Arc<Mutex<Shared>>,
    v1: V1Server<Answers>,
    v1alpha2: V1alpha2Server<Answers>,
}

impl Dispatch {
    pub(super) fn new(shared: Arc<Mutex<Shared>>) -> Self {
        let answers = Answers {
            shared: Arc::clone(&shared),
        };
        Self {
            shared,
            v1: V1Server::new(answers.clone()),
            v1alpha2: V1alpha2Server::new(answers),
        }
    }

    fn count(&self, path: &str) -> Option<Api> {
        let (service, method) = path.strip_prefix('/')?.split_once('/')?;
        let [v1, _] = PACKAGES;
        let api = if service.starts_with(&format!("{v1}.")) {
            Api::V1
        } else {
            Api::V1alpha2
        };
        let mut shared = lock(&self.shared);
        *shared.calls.entry((api, method_of(method))).or_default() += 1;
        shared.script.apis.contains(&api).then_some(api)
    }
}

fn method_of(name: &str) -> Method {
    match name {
        "Version" => Method::Version,
        "Status" => Method::Status,
        "RuntimeConfig" => Method::RuntimeConfig,
        "ListMetricDescriptors" => Method::ListMetricDescriptors,
        "ListPodSandbox" => Method::ListPodSandbox,
        "ListContainers" => Method::ListContainers,
        "ContainerStatus" => Method::ContainerStatus,
        _ => Method::Other,
    }
}

impl Service<HttpRequest> for Dispatch {
    type Response = HttpResponse;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<HttpResponse, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest) -> Self::Future {
        match self.count(request.uri().path()) {
            Some(Api::V1) => self.v1.call(request),
            Some(Api::V1alpha2) => self.v1alpha2.call(request),
            None => {
                // The error of grpc-go, which real runtimes use.
                let service = request.uri().path().split('/').nth(1).unwrap_or_default().to_owned();
                Box::pin(async move { Ok(Status::unimplemented(format!("unknown service {service}")).into_http()) })
            }
        }
    }
}

#[derive(Clone)]
struct Answers {
    shared: Arc<Mutex<Shared>>,
}

type Answer<T> = Result<Response<T>, Status>;

impl Answers {
    async fn answer<T: Default>(&self, method: Method, answer: impl FnOnce(&Script) -> Result<T, Status>) -> Answer<T> {
        let fault = lock(&self.shared).script.faults.get(&method).cloned();
        match fault {
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Error(code, message)) => return Err(Status::new(code, message)),
            Some(Fault::Empty) => return Ok(Response::new(T::default())),
            Some(Fault::Late(time)) => tokio::time::sleep(time).await,
            None => {}
        }
        answer(&lock(&self.shared).script).map(Response::new)
    }

    async fn version(&self, api: &str) -> Answer<v1::VersionResponse> {
        self.answer(Method::Version, |script| {
            Ok(v1::VersionResponse {
                version: "0.1.0".into(),
                runtime_name: script.name.clone().into(),
                runtime_version: script.version.clone().into(),
                runtime_api_version: api.into(),
            })
        })
        .await
    }

    async fn status(&self) -> Answer<v1::StatusResponse> {
        self.answer(Method::Status, |script| {
            Ok(v1::StatusResponse {
                status: Some(v1::RuntimeStatus {
                    conditions: script.conditions.clone(),
                }),
                info: Vec::new(),
            })
        })
        .await
    }

    async fn runtime_config(&self) -> Answer<v1::RuntimeConfigResponse> {
        self.answer(Method::RuntimeConfig, |script| match script.cgroup_driver {
            Some(driver) => Ok(v1::RuntimeConfigResponse {
                linux: Some(v1::LinuxRuntimeConfiguration {
                    cgroup_driver: driver.into(),
                }),
            }),
            None => Err(Status::unimplemented(
                "unknown method RuntimeConfig for service runtime.v1.RuntimeService",
            )),
        })
        .await
    }

    async fn metric_descriptors(&self) -> Answer<v1::ListMetricDescriptorsResponse> {
        self.answer(Method::ListMetricDescriptors, |script| {
            if script.pod_metrics {
                Ok(v1::ListMetricDescriptorsResponse {})
            } else {
                Err(Status::unimplemented("method ListMetricDescriptors not implemented"))
            }
        })
        .await
    }

    async fn pods(&self) -> Answer<v1::ListPodSandboxResponse> {
        self.answer(Method::ListPodSandbox, |script| {
            Ok(v1::ListPodSandboxResponse {
                items: script.pods.clone(),
            })
        })
        .await
    }

    async fn containers(&self, request: v1::ListContainersRequest) -> Answer<v1::ListContainersResponse> {
        self.answer(Method::ListContainers, |script| {
            let wanted = request.filter.and_then(|f| f.state).map(|s| s.state);
            let mut containers = script.containers.clone();
            containers.retain(|c| wanted.is_none_or(|state| state == c.state));
            Ok(v1::ListContainersResponse { containers })
        })
        .await
    }

    async fn container(&self, request: v1::ContainerStatusRequest) -> Answer<v1::ContainerStatusResponse> {
        self.answer(Method::ContainerStatus, |script| {
            let id = String::from_utf8_lossy(&request.container_id);
            match script.mounts.get(&*id) {
                Some(mounts) => Ok(v1::ContainerStatusResponse {
                    status: Some(v1::ContainerStatus {
                        id: request.container_id.clone(),
                        mounts: mounts.clone(),
                    }),
                }),
                None => Err(Status::not_found(format!(
                    "an error occurred when try to find container {id:?}: not found"
                ))),
            }
        })
        .await
    }
}

macro_rules! serve {
    ($service:ident as $api:literal { $($extra:item)* }) => {
        #[tonic::async_trait]
        impl $service for Answers {
            async fn version(&self, _: Request<v1::VersionRequest>) -> Answer<v1::VersionResponse> {
                self.version($api).await
            }

            async fn status(&self, _: Request<v1::StatusRequest>) -> Answer<v1::StatusResponse> {
                self.status().await
            }

            async fn list_pod_sandbox(
                &self,
                _: Request<v1::ListPodSandboxRequest>,
            ) -> Answer<v1::ListPodSandboxResponse> {
                self.pods().await
            }

            async fn list_containers(
                &self,
                request: Request<v1::ListContainersRequest>,
            ) -> Answer<v1::ListContainersResponse> {
                self.containers(request.into_inner()).await
            }

            async fn container_status(
                &self,
                request: Request<v1::ContainerStatusRequest>,
            ) -> Answer<v1::ContainerStatusResponse> {
                self.container(request.into_inner()).await
            }

            $($extra)*
        }
    };
}

serve!(V1alpha2 as "v1alpha2" {});
serve!(V1 as "v1" {
    async fn runtime_config(&self, _: Request<v1::RuntimeConfigRequest>) -> Answer<v1::RuntimeConfigResponse> {
        self.runtime_config().await
    }

    async fn list_metric_descriptors(
        &self,
        _: Request<v1::ListMetricDescriptorsRequest>,
    ) -> Answer<v1::ListMetricDescriptorsResponse> {
        self.metric_descriptors().await
    }
});
