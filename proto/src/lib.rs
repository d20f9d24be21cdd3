//! The subset of the Kubernetes Container Runtime Interface that castoff uses: the messages, and the calls with their
//! requests and answers.
//!
//! The definitions are in `proto/`, with their origin. The interface's two versions, `runtime.v1` and
//! `runtime.v1alpha2`, have the same messages on the wire and differ in the path of a call, so there is one set of
//! types and one trait, [`Call`], that ties a request to its method and answer. Every string of the interface is
//! `Vec<u8>` here: what a runtime sends need not be UTF-8 (see `build.rs`).
//!
//! The feature `server` adds the server side of both versions, for test doubles of a runtime.

/// Messages, and with the feature `server` the service, of `runtime.v1`.
#[expect(missing_docs, clippy::pedantic, reason = "generated; documented where it is defined")]
#[cfg_attr(
    feature = "server",
    expect(
        unused_qualifications,
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        reason = "generated"
    )
)]
pub mod v1 {
    tonic::include_proto!("runtime.v1");
}

/// The service of `runtime.v1alpha2`, over the messages of [`v1`].
#[cfg(feature = "server")]
#[expect(
    unused_qualifications,
    clippy::pedantic,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
pub mod v1alpha2 {
    tonic::include_proto!("runtime.v1alpha2");
}

/// The packages of the interface, newest first: `/<package>.RuntimeService/<method>` is the path of a call.
pub const PACKAGES: [&str; 2] = ["runtime.v1", "runtime.v1alpha2"];

/// A request of `RuntimeService` that castoff may make. A request without an implementation cannot be made. Therefore
/// castoff never changes anything in a runtime and never takes events from the kubelet (`GetContainerEvents`).
pub trait Call: prost::Message + Default + 'static {
    /// The type of the answer.
    type Answer: prost::Message + Default + 'static;

    /// The method's name.
    const METHOD: &'static str;
}

macro_rules! calls {
    ($($method:ident: $request:ident => $answer:ident;)+) => {
        $(impl Call for v1::$request {
            type Answer = v1::$answer;
            const METHOD: &'static str = stringify!($method);
        })+

        /// The methods that [`Call`] is implemented for.
        pub const METHODS: &[&str] = &[$(stringify!($method)),+];
    };
}

calls! {
    Version: VersionRequest => VersionResponse;
    Status: StatusRequest => StatusResponse;
    RuntimeConfig: RuntimeConfigRequest => RuntimeConfigResponse;
    ListMetricDescriptors: ListMetricDescriptorsRequest => ListMetricDescriptorsResponse;
    ListPodSandbox: ListPodSandboxRequest => ListPodSandboxResponse;
    ListContainers: ListContainersRequest => ListContainersResponse;
    ContainerStatus: ContainerStatusRequest => ContainerStatusResponse;
}

/// Returns the codec for a request and its answer.
pub fn codec<C: Call>() -> tonic_prost::ProstCodec<C, C::Answer> {
    tonic_prost::ProstCodec::default()
}
