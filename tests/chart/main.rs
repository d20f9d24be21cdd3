//! The Helm chart and the manifests that are rendered from it: what both helms make of it, held against Kubernetes'
//! own schemas, against castoff's command line, and against what the chart promises.

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
