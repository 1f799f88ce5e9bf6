"""NetworkPolicies as Kubernetes evaluates them, for what deploy/kubernetes uses: labels and numbered ports."""


def matches(selector, labels):
    return all(labels.get(key) == value for key, value in (selector or {}).get("matchLabels", {}).items())


def peer_allowed(peers, labels, namespace_labels):
    """`peers`: of a rule, none for everybody. `namespace_labels`: of another namespace; None: of the policies' own."""
    if not peers:
        return True
    for peer in peers:
        if "namespaceSelector" in peer:
            if namespace_labels is not None and matches(peer["namespaceSelector"], namespace_labels):
                return True
        elif namespace_labels is None and matches(peer["podSelector"], labels):
            return True
    return False


def allowed(policies, direction, own_labels, other_labels, port, namespace_labels=None):
    """Whether pods of `own_labels` may be talked to (direction Ingress) or talk (Egress) at TCP `port`."""
    side = "from" if direction == "Ingress" else "to"
    selecting = [policy["spec"] for policy in policies
                 if direction in policy["spec"]["policyTypes"] and matches(policy["spec"]["podSelector"], own_labels)]
    if not selecting:
        return True
    for spec in selecting:
        for rule in spec.get(direction.lower(), []):
            ports = rule.get("ports")
            port_ok = not ports or any(p["protocol"] == "TCP" and p["port"] == port for p in ports)
            if port_ok and peer_allowed(rule.get(side), other_labels, namespace_labels):
                return True
    return False


def may_talk(policies, source_labels, target_labels, port):
    return (allowed(policies, "Egress", source_labels, target_labels, port)
            and allowed(policies, "Ingress", target_labels, source_labels, port))
