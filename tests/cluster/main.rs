//! castoff as its users have it, the chart and the image, on a real Kubernetes.
//!
//! Each test has a cluster of its own, whose state it prints when it fails.

mod api_server_away;
mod installed;
mod removed;
mod site;
mod stolen_token;
mod the_lab;
