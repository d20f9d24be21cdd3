//! The Helm chart and the manifests that are rendered from it: the output of both helms, checked against Kubernetes'
//! own schemas, castoff's command line, and the chart's documentation.

mod files;
mod flags;
mod image;
mod lint;
mod manifests;
mod operator;
mod policy;
mod refusals;
mod render;
mod rights;
mod schemas;
mod values;
