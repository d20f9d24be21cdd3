//! Requests whose first line was sent in more than one piece.

use std::collections::BTreeMap;
use std::mem;

use super::operation::{LINE, Line, judge};
use crate::model::request::Request;

/// The most sockets that can have an unfinished line at once; a new one displaces another one.
const SOCKETS: usize = 256;

/// The starts of unfinished lines, by the sender's socket. Each is kept for at most two looks.
#[derive(Default)]
pub(super) struct Lines {
    young: BTreeMap<u64, Vec<u8>>,
    old: BTreeMap<u64, Vec<u8>>,
}

impl Lines {
    /// Adds the bytes that a socket sent, and returns the request if its line is complete now.
    pub(super) fn add(&mut self, socket: u64, sent: &[u8]) -> Option<Request> {
        let before = self.young.remove(&socket).or_else(|| self.old.remove(&socket));
        let joined = before.map(|before| [&before, sent].concat());
        // Bytes that do not continue the line may begin a new one.
        for line in joined.as_deref().into_iter().chain([sent]) {
            match judge(line) {
                Line::Request(request) => return Some(request),
                Line::Unfinished => {
                    if self.young.len() >= SOCKETS {
                        self.young.pop_first();
                    }
                    self.young.insert(socket, line[..line.len().min(LINE)].to_vec());
                    return None;
                }
                Line::Nothing => {}
            }
        }
        None
    }

    /// Drops the lines that were already unfinished at the previous look.
    pub(super) fn age(&mut self) {
        self.old = mem::take(&mut self.young);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::request::{ApiVersion, Operation};

    fn requests(lines: &mut Lines, sends: &[&[u8]]) -> Vec<Operation> {
        let requests = sends.iter().filter_map(|sent| lines.add(1, sent));
        requests.map(|request| request.operation).collect()
    }

    #[test]
    fn a_line_in_two_pieces_is_one_request_wherever_it_is_cut() {
        let line = b"POST /v1.41/containers/create?name=ci HTTP/1.1\r\n";
        for cut in 1..line.len() {
            let mut lines = Lines::default();
            assert_eq!(lines.add(1, &line[..cut]), None, "{cut}");
            assert_eq!(
                lines.add(2, b"GET /_ping HTTP/1.1\n").map(|r| r.operation),
                Some(Operation::System)
            );
            let whole = lines.add(1, &line[cut..]).map(|r| (r.operation, r.version));
            assert_eq!(whole, Some((Operation::Run, Some(ApiVersion(41)))), "{cut}");
        }
    }

    #[test]
    fn a_line_byte_by_byte_is_one_request() {
        let bytes: Vec<&[u8]> = b"GET /events HTTP/1.1\r\n".chunks(1).collect();
        assert_eq!(requests(&mut Lines::default(), &bytes), [Operation::Events]);
    }

    #[test]
    fn bytes_that_do_not_continue_a_line_begin_a_new_one() {
        let sends: [&[u8]; 3] = [b"PO", b"GET /events HTTP/1.1\r\n", b"ST /build HTTP/1.1\r\n"];
        assert_eq!(requests(&mut Lines::default(), &sends), [Operation::Events]);
    }

    #[test]
    fn unfinished_lines_expire_and_are_bounded() {
        let mut lines = Lines::default();
        lines.add(1, b"GET /ev");
        lines.age();
        assert_eq!(requests(&mut lines, &[b"ents HTTP/1.1\n"]), [Operation::Events]);
        lines.add(1, b"GET /ev");
        lines.age();
        lines.age();
        assert!(requests(&mut lines, &[b"ents HTTP/1.1\n"]).is_empty());
        for socket in 0..10_000 {
            lines.add(socket, b"GET /ev");
        }
        assert_eq!(lines.young.len(), SOCKETS);
    }
}
