//! castoff in the form that users install, the chart and the image, on a real Kubernetes.
//!
//! Each test has a cluster of its own, whose state it prints when it fails.

mod api_server_away;
mod installed;
mod lab;
mod readers;
mod readme;
mod removed;
mod runbooks;
mod site;
mod stolen_token;
mod typed;
