//! castoff on a real Kubernetes.

mod the_lab;
