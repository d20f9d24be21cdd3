//! Turns the line of an HTTP request into the operation's class and the API version. Pure, and the only code that sees
//! the line.
//!
//! The paths are those of the Docker Engine API and of Podman's own API (`/v5.0.0/libpod/…`). A client that sends a
//! misleading request accuses only itself.

use percent_encoding::percent_decode;

use crate::model::request::{ApiVersion, Operation, Request};

/// The number of bytes of a line that the kernel program records: `LINE` of `bpf/requests.h`.
pub(super) const LINE: usize = 256;

/// The start of HTTP/2. In the Docker API only the gRPC services for builds use it.
const PREFACE: &[u8] = b"PRI * HTTP/2.0";

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];

/// The result of judging a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A request.
    Request(Request),
    /// The start of a request, too short to classify.
    Unfinished,
    /// Something else.
    Nothing,
}

/// Judges the first bytes that a client sent.
pub(super) fn judge(sent: &[u8]) -> Line {
    let line = &sent[..sent.len().min(LINE)];
    let end = line.iter().position(|byte| *byte == b'\n');
    let text = &line[..end.unwrap_or(line.len())];
    if text.starts_with(PREFACE) {
        return Line::Request(Request {
            operation: Operation::Build,
            version: None,
        });
    }
    let is_whole = end.is_some() || sent.len() >= LINE;
    if !is_whole {
        return if begins(text) { Line::Unfinished } else { Line::Nothing };
    }
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    match parse(text, end.is_some()) {
        Some(request) => Line::Request(request),
        None => Line::Nothing,
    }
}

/// True if a request can begin with this text.
fn begins(text: &[u8]) -> bool {
    let mut words = text.split(|byte| *byte == b' ');
    let method = words.next().unwrap_or_default();
    let may_be = |known: &str| match words.clone().next() {
        Some(target) => known.as_bytes() == method && is_target(target, true),
        None => known.as_bytes().starts_with(method),
    };
    !text.is_empty() && (PREFACE.starts_with(text) || METHODS.into_iter().any(may_be))
}

fn is_target(target: &[u8], cut: bool) -> bool {
    let is_absolute = |scheme: &[u8]| target.starts_with(scheme) || cut && scheme.starts_with(target);
    target.first() == Some(&b'/') || is_absolute(b"http://") || is_absolute(b"https://")
}

fn parse(text: &[u8], has_end: bool) -> Option<Request> {
    let mut words = text.split(|byte| *byte == b' ');
    let (method, target, protocol) = (words.next()?, words.next()?, words.next());
    let method = METHODS.into_iter().find(|known| known.as_bytes() == method)?;
    let is_cut = protocol.is_none();
    let ends_well = protocol.is_some_and(|protocol| protocol.starts_with(b"HTTP/1."));
    if has_end && !ends_well || !is_target(target, is_cut) {
        return None;
    }
    let path = target.split(|byte| matches!(byte, b'?' | b'#')).next()?;
    let is_cut = is_cut && path.len() == target.len();
    // Like the engine's router, which decodes the path before it reads its components.
    let path: Vec<u8> = percent_decode(path_of(path)).collect();
    let mut parts: Vec<&[u8]> = path
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty())
        .collect();
    if is_cut {
        parts.pop();
    }
    Some(of_parts(method, &parts, is_cut))
}

/// Returns the path of a target, which may begin with a scheme and a host.
fn path_of(target: &[u8]) -> &[u8] {
    if target.first() == Some(&b'/') {
        return target;
    }
    let mut slashes = target.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    slashes.nth(2).map_or(b"/", |(at, _)| &target[at..])
}

fn of_parts(method: &str, parts: &[&[u8]], is_cut: bool) -> Request {
    let (version, parts) = match parts {
        [first, rest @ ..] if is_version(first) => (api_version(first), rest),
        all => (None, all),
    };
    let (version, parts, is_libpod) = match parts {
        // Podman's own API has its own version numbers.
        [b"libpod", rest @ ..] => (None, rest, true),
        all => (version, all, false),
    };
    let [first, rest @ ..] = parts else {
        return Request {
            operation: Operation::Other,
            version,
        };
    };
    let last = if is_cut { None } else { rest.last().copied() };
    let of_libpod = is_libpod.then(|| of_libpod(method, first, rest, last)).flatten();
    Request {
        operation: of_libpod.unwrap_or_else(|| of_docker(method, first, rest, last)),
        version,
    }
}

/// `v1.41`, or `v5.0.0` for Podman.
fn is_version(part: &[u8]) -> bool {
    let is_part_of_it = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    part.strip_prefix(b"v")
        .is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_digit) && rest.iter().all(is_part_of_it))
}

fn api_version(part: &[u8]) -> Option<ApiVersion> {
    let minor = str::from_utf8(part.strip_prefix(b"v1.")?).ok()?;
    let minor: u8 = minor.parse().ok()?;
    (minor <= ApiVersion::HIGHEST).then_some(ApiVersion(minor))
}

/// Returns the class, from the components of the path without its version: the first one, the rest, and the last of the
/// rest.
fn of_docker(method: &str, first: &[u8], rest: &[&[u8]], last: Option<&[u8]>) -> Operation {
    let reads = matches!(method, "GET" | "HEAD");
    match first {
        b"_ping" | b"version" | b"info" | b"auth" | b"system" => Operation::System,
        b"events" => Operation::Events,
        b"build" | b"session" | b"grpc" | b"commit" => Operation::Build,
        b"exec" => Operation::Exec,
        b"distribution" => Operation::Read,
        b"volumes" => Operation::Volumes,
        b"networks" => Operation::Networks,
        b"swarm" | b"nodes" | b"services" | b"tasks" | b"secrets" | b"configs" => Operation::Swarm,
        b"images" => of_images(reads, rest, last),
        b"containers" => of_containers(reads, rest, last),
        // gRPC services, for clients that speak HTTP/1 to BuildKit's gateway.
        _ if first.starts_with(b"moby.") => Operation::Build,
        _ => Operation::Other,
    }
}

fn of_images(reads: bool, rest: &[&[u8]], last: Option<&[u8]>) -> Operation {
    match (rest, last) {
        ([b"create" | b"load"], Some(_)) if !reads => Operation::Pull,
        // An image name may have any components, also `push`.
        ([_, _, ..], Some(b"push")) if !reads => Operation::Push,
        _ if reads => Operation::Read,
        _ => Operation::Other,
    }
}

fn of_containers(reads: bool, rest: &[&[u8]], last: Option<&[u8]>) -> Operation {
    match (rest, last) {
        ([_, b"exec"], Some(_)) => Operation::Exec,
        ([_, b"logs"], Some(_)) => Operation::Logs,
        ([_, b"attach", ..], Some(_)) => Operation::Run,
        _ if reads => Operation::Read,
        _ => Operation::Run,
    }
}

/// Returns the class where Podman's own API differs from Docker's.
fn of_libpod(method: &str, first: &[u8], rest: &[&[u8]], last: Option<&[u8]>) -> Option<Operation> {
    let reads = matches!(method, "GET" | "HEAD");
    match (first, last) {
        (b"images", Some(b"pull" | b"load" | b"import")) if !reads => Some(Operation::Pull),
        (b"images", Some(b"push")) if !reads => Some(Operation::Push),
        (b"manifests", _) if reads => Some(Operation::Read),
        (b"manifests", Some(_)) if rest.contains(&&b"registry"[..]) || last == Some(b"push") => Some(Operation::Push),
        (b"generate", _) => Some(Operation::Read),
        (b"kube" | b"play", _) => Some(Operation::Run),
        (b"pods", _) => Some(if reads { Operation::Read } else { Operation::Run }),
        (b"secrets" | b"manifests", _) => Some(Operation::Other),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
