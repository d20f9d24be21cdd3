//! Joins agents with Nodes, in whatever order they are listed.

use super::*;

fn node(name: &str) -> Node {
    Node {
        name: name.to_owned(),
        status: "Ready".to_owned(),
        unsupported: None,
    }
}

fn pod(name: &str, node: &str, ready: bool, status: &str) -> AgentPod {
    AgentPod {
        name: name.to_owned(),
        node: node.to_owned(),
        ready,
        status: status.to_owned(),
    }
}

fn ready(name: &str, node: &str) -> AgentPod {
    pod(name, node, true, "Running")
}

#[test]
fn a_node_is_passed_on_as_soon_as_its_ready_agent_is_known() {
    let mut join = Join::default();
    assert_eq!(join.add_node(node("a")), None);
    let place = join.add_pod(ready("p", "a")).expect("both are known");
    assert_eq!(
        (place.node.name.as_str(), place.pod.map(|p| p.name)),
        ("a", Some("p".to_owned()))
    );
    assert_eq!(join.add_pod(ready("q", "b")), None);
    let place = join.add_node(node("b")).expect("both are known");
    assert_eq!(place.pod.map(|p| p.name), Some("q".to_owned()));
    let left = join.finish(true);
    assert_eq!(left, LeftOver::default());
}

#[test]
fn every_node_is_given_exactly_once() {
    // Every order of two Nodes, their agents, a terminating one and a list that is read again.
    let steps: [fn(&mut Join) -> Option<NodeAndAgent>; 6] = [
        |join| join.add_node(node("a")),
        |join| join.add_node(node("b")),
        |join| join.add_pod(ready("new", "a")),
        |join| join.add_pod(pod("old", "a", false, "Terminating")),
        |join| join.add_node(node("a")),
        |join| join.add_pod(ready("new", "a")),
    ];
    let mut order: Vec<usize> = (0..steps.len()).collect();
    permute(&mut order, 0, &mut |order| {
        let mut join = Join::default();
        let mut given: Vec<NodeAndAgent> = order.iter().filter_map(|step| steps[*step](&mut join)).collect();
        let left = join.finish(true);
        given.extend(left.places);
        given.sort_by(|a, b| a.node.name.cmp(&b.node.name));
        let names: Vec<_> = given
            .iter()
            .map(|place| {
                (
                    place.node.name.as_str(),
                    place.pod.as_ref().map(|pod| pod.name.as_str()),
                )
            })
            .collect();
        assert_eq!(names, [("a", Some("new")), ("b", None)], "{order:?}");
        assert_eq!((left.strays.len(), left.doubled), (0, 0), "{order:?}");
    });
}

fn permute(order: &mut [usize], from: usize, each: &mut impl FnMut(&[usize])) {
    if from == order.len() {
        return each(order);
    }
    for at in from..order.len() {
        order.swap(from, at);
        permute(order, from + 1, each);
        order.swap(from, at);
    }
}

#[test]
fn among_agents_that_are_not_ready_one_that_may_answer_is_kept() {
    let mut join = Join::default();
    join.add_node(node("a"));
    assert_eq!(join.add_pod(pod("pulling", "a", false, "ImagePullBackOff")), None);
    assert_eq!(join.add_pod(pod("leaving", "a", false, "Terminating")), None);
    assert_eq!(join.add_pod(pod("starting", "a", false, "Running")), None);
    let left = join.finish(true);
    assert_eq!(
        left.places[0].pod.as_ref().map(|pod| pod.name.as_str()),
        Some("starting")
    );
}

#[test]
fn stray_pods_are_named_only_if_all_nodes_are_known() {
    for (complete, strays) in [(true, 1), (false, 0)] {
        let mut join = Join::default();
        join.add_pod(ready("stray", "gone"));
        join.add_pod(pod("waiting", "<none>", false, "Pending"));
        join.add_pod(pod("job", "a", false, "Completed"));
        let left = join.finish(complete);
        assert_eq!((left.strays.len(), left.unplaced, left.places.len()), (strays, 1, 0));
    }
}

#[test]
fn two_ready_agents_on_one_node_are_counted() {
    let mut join = Join::default();
    join.add_node(node("a"));
    assert!(join.add_pod(ready("p", "a")).is_some());
    assert!(join.add_pod(ready("q", "a")).is_none());
    // Both come before their Node.
    join.add_pod(ready("r", "b"));
    join.add_pod(ready("s", "b"));
    assert!(join.add_node(node("b")).is_some());
    assert_eq!(join.finish(true).doubled, 2);
}
