"""What no schema knows of deploy/kubernetes: selectors meet pods, addresses exist, policies are the arrows, pods are hardened.

Usage: kubernetes.py BUILT.yaml     prints every finding, exits 1 if there is one.
"""

import re
import sys

import yaml

# Who may call whom: the arrows of docs/architecture.md.
ARROWS = {
    "gateway": {"agent", "runtime", "container", "llm", "manifest", "storage"},
    "agent": {"storage", "manifest", "llm", "container", "runtime"},
    "runtime": {"storage", "manifest", "llm", "container", "agent"},
    "container": {"storage", "manifest"},
    "llm": {"storage"},
    "manifest": {"storage"},
    "storage": set(),
}
COMPONENT = "app.kubernetes.io/component"
# Containers that need what everything else must not have, and why.
PRIVILEGED = {"engine": "a Docker engine beside the container service"}


def subset(selector, labels):
    return all(labels.get(key) == value for key, value in (selector or {}).items())


def main(path):
    with open(path, encoding="utf-8") as file:
        objects = [o for o in yaml.safe_load_all(file) if o]
    findings = []
    workloads = [o for o in objects if o["kind"] in ("Deployment", "StatefulSet")]
    pods = {o["metadata"]["name"]: o["spec"]["template"] for o in workloads}
    services = {o["metadata"]["name"]: o for o in objects if o["kind"] == "Service"}
    by_component = {t["metadata"]["labels"][COMPONENT]: t for t in pods.values()}

    if set(by_component) != set(ARROWS):
        findings.append(f"components are {sorted(by_component)}, expected {sorted(ARROWS)}")

    for workload in workloads:
        name, template = workload["metadata"]["name"], workload["spec"]["template"]
        if not subset(workload["spec"]["selector"]["matchLabels"], template["metadata"]["labels"]):
            findings.append(f"{name}: its selector does not meet its own pods")
        check_pod(name, template["spec"], findings)

    for name, service in services.items():
        matched = [t for t in pods.values() if subset(service["spec"]["selector"], t["metadata"]["labels"])]
        if len(matched) != 1:
            findings.append(f"service {name} selects {len(matched)} workloads, expected 1")
            continue
        ports = {p["name"] for c in matched[0]["spec"]["containers"] for p in c.get("ports", [])}
        for port in service["spec"]["ports"]:
            if port["targetPort"] not in ports:
                findings.append(f"service {name}: no container port is named {port['targetPort']}")

    for budget in (o for o in objects if o["kind"] == "PodDisruptionBudget"):
        selector = budget["spec"]["selector"]["matchLabels"]
        if sum(subset(selector, t["metadata"]["labels"]) for t in pods.values()) != 1:
            findings.append(f"budget {budget['metadata']['name']} does not select exactly one workload")

    for config in (o for o in objects if o["kind"] == "ConfigMap"):
        for key, value in config["data"].items():
            if key.endswith("_URL"):
                check_url(key, value, services, findings)

    check_arrows([o for o in objects if o["kind"] == "NetworkPolicy"], findings)
    for finding in findings:
        print(f"{path}: {finding}", file=sys.stderr)
    return 1 if findings else 0


def check_pod(name, spec, findings):
    if spec.get("automountServiceAccountToken") is not False:
        findings.append(f"{name}: mounts a token of the cluster's API")
    if spec.get("enableServiceLinks") is not False:
        findings.append(f"{name}: gets other services' variables into its environment")
    if spec.get("terminationGracePeriodSeconds", 30) <= 30:
        findings.append(f"{name}: is killed before its drain of 30 s can end")
    pod = spec.get("securityContext", {})
    if not pod.get("runAsNonRoot") or pod.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        findings.append(f"{name}: its pod is not hardened")
    for container in spec["containers"] + spec.get("initContainers", []):
        if container["name"] in PRIVILEGED:
            continue
        label = f"{name}/{container['name']}"
        context = container.get("securityContext", {})
        if (
            context.get("allowPrivilegeEscalation") is not False
            or not context.get("readOnlyRootFilesystem")
            or context.get("capabilities", {}).get("drop") != ["ALL"]
            or context.get("privileged")
        ):
            findings.append(f"{label}: is not hardened")
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            if probe not in container:
                findings.append(f"{label}: has no {probe}")
        if "memory" not in container.get("resources", {}).get("limits", {}):
            findings.append(f"{label}: has no memory limit")


def check_url(key, value, services, findings):
    match = re.fullmatch(r"http://([a-z-]+):(\d+)", value)
    service = services.get(match.group(1)) if match else None
    if service is None or int(match.group(2)) not in {p["port"] for p in service["spec"]["ports"]}:
        findings.append(f"config {key}={value}: no such service and port")


def components(peers):
    """The components that `from` or `to` of a policy names; None for a peer that is not a pod of ours."""
    return {p.get("podSelector", {}).get("matchLabels", {}).get(COMPONENT) for p in peers}


def check_arrows(policies, findings):
    def is_default_deny(spec):
        selector = {k: v for k, v in spec["podSelector"].get("matchLabels", {}).items() if k == COMPONENT}
        return not selector and not spec.get("ingress") and not spec.get("egress") and set(spec["policyTypes"]) == {"Ingress", "Egress"}

    if not any(is_default_deny(p["spec"]) for p in policies):
        findings.append("no policy denies by default")
    outgoing = {c: set() for c in ARROWS}
    incoming = {c: set() for c in ARROWS}
    for policy in policies:
        component = policy["spec"]["podSelector"].get("matchLabels", {}).get(COMPONENT)
        if component is None:
            continue
        if component not in ARROWS:
            findings.append(f"policy {policy['metadata']['name']} is for {component}, which is no component")
            continue
        for rule in policy["spec"].get("egress") or []:
            outgoing[component] |= components(rule.get("to", [])) - {None}
        for rule in policy["spec"].get("ingress") or []:
            for caller in components(rule.get("from", [])) - {None}:
                incoming.setdefault(caller, set()).add(component)
    for caller in sorted(set(incoming) - set(ARROWS)):
        findings.append(f"a policy lets {caller} in, which is no component")
    for component, callees in ARROWS.items():
        for name, found in (("egress", outgoing), ("ingress", incoming)):
            if found[component] != callees:
                findings.append(f"{name} policies let {component} call {sorted(found[component])}, the arrows are {sorted(callees)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
