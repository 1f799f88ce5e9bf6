"""What must hold between the objects of one rendered overlay, and between them and its configuration."""

import itertools
import json
import pathlib
import re

from network_rules import allowed, matches, may_talk

GATEWAY = pathlib.Path(__file__).resolve().parents[2] / "gateway"
PORTS = {"gateway": {"http": "port"}, "prefill": {"grpc": "port", "kv": "data_port", "metrics": "metrics_port"},
         "decode": {"grpc": "port", "metrics": "metrics_port"}}


def name(manifest):
    return f"{manifest['kind']} {manifest['metadata']['name']}"


def parse_dump(text):
    return json.loads(re.sub(r"  // (default|file|flag|environment).*$", "", text, flags=re.MULTILINE))


class Overlay:
    def __init__(self, manifests):
        self.manifests = manifests
        self.roles = {d["metadata"]["labels"]["app.kubernetes.io/component"]: d for d in self.of("Deployment")}

    def of(self, kind):
        return [manifest for manifest in self.manifests if manifest["kind"] == kind]

    def has(self, kind, what):
        return any(manifest["metadata"]["name"] == what for manifest in self.of(kind))

    def pods(self, selector):
        """The pod templates that a selector finds."""
        templates = [d["spec"]["template"] for d in self.roles.values()]
        return [t for t in templates if matches(selector, t["metadata"]["labels"])]

    def control_port(self, role):
        return container_ports(self.roles[role]["spec"]["template"])["grpc"]

    def labels(self, role):
        return self.roles[role]["spec"]["template"]["metadata"]["labels"]


def container_ports(template):
    return {p["name"]: p["containerPort"] for p in template["spec"]["containers"][0]["ports"]}


def pod_errors(overlay, role, deployment):
    template = deployment["spec"]["template"]
    spec = template["spec"]
    if overlay.pods(deployment["spec"]["selector"]) != [template]:
        yield "its selector does not find its own pods alone"
    if not overlay.has("ServiceAccount", spec["serviceAccountName"]):
        yield f"no ServiceAccount {spec['serviceAccountName']}"
    if not spec["securityContext"].get("runAsNonRoot"):
        yield "may run as root"
    if [c["name"] for c in spec["containers"]] != [role]:
        yield "a patch's container is not the base's"
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    for container in spec["containers"] + spec.get("initContainers", []):
        context = container["securityContext"]
        if (not context.get("readOnlyRootFilesystem") or context.get("allowPrivilegeEscalation", True)
                or context.get("capabilities") != {"drop": ["ALL"]}):
            yield f"container {container['name']} has more rights than it needs"
        if ":" not in container["image"] or container["image"].endswith(":latest"):
            yield f"container {container['name']}: which version is image {container['image']}?"
        if "memory" not in container.get("resources", {}).get("limits", {}) or "cpu" not in container["resources"]["requests"]:
            yield f"container {container['name']} does not say what it needs"
        for mount in container["volumeMounts"]:
            if mount["name"] not in volumes:
                yield f"no volume {mount['name']}"
    for volume in volumes.values():
        if "configMap" in volume and not overlay.has("ConfigMap", volume["configMap"]["name"]):
            yield f"no ConfigMap {volume['configMap']['name']}"
        claim = volume.get("persistentVolumeClaim")
        if claim and not overlay.has("PersistentVolumeClaim", claim["claimName"]):
            yield f"no PersistentVolumeClaim {claim['claimName']}"


def probe_errors(template):
    container = template["spec"]["containers"][0]
    ports = container_ports(template)
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = container[kind]
        port = probe["grpc"]["port"] if "grpc" in probe else probe["httpGet"]["port"]
        if port not in ports and port not in ports.values():
            yield f"{kind} asks port {port}, which there is not"


def config_errors(role, template, config):
    container = template["spec"]["containers"][0]
    section = config[role]
    if section["listen_address"] != "0.0.0.0":
        yield "listens where no other pod reaches it"
    for port, field in PORTS[role].items():
        if section.get(field, container_ports(template)[port]) != container_ports(template)[port]:
            yield f"port {port} is not {role}.{field}"
    pre_stop = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    if template["spec"]["terminationGracePeriodSeconds"] <= pre_stop + section["drain_timeout_s"]:
        yield "is killed before it has drained"
    if not config["model"].startswith("/models/"):
        yield "the model is not in its volume"
    keys = config["gateway"]["api_keys_file"]
    if role == "gateway" and keys and not any(keys.startswith(mount["mountPath"] + "/") for mount in container["volumeMounts"]):
        yield f"no volume holds {keys}"
    if role != "gateway" and section["device"] == "cuda" and not container["resources"]["limits"].get("nvidia.com/gpu"):
        yield "computes on a GPU and asks for none"


def pool_errors(overlay):
    container = overlay.roles["gateway"]["spec"]["template"]["spec"]["containers"][0]
    addresses = {variable["name"]: variable["value"] for variable in container["env"] if variable["name"].startswith("LYNX_")}
    for role in ("DECODE", "PREFILL"):
        if f"LYNX_POOLS_{role}" not in addresses:
            yield f"gateways do not know where the servers of role {role} are"
    for variable, address in addresses.items():
        host, port = address.rsplit(":", 1)
        services = [s for s in overlay.of("Service") if s["metadata"]["name"] == host]
        if not services or services[0]["spec"].get("clusterIP") != "None":
            yield f"{variable}: no headless Service {host}"
        elif int(port) != overlay.control_port(host.removeprefix("lynx-")):
            yield f"{variable}: {port} is not the control port"


def selector_errors(overlay):
    for kind in ("Service", "PodDisruptionBudget", "InferencePool", "ServiceMonitor", "NetworkPolicy"):
        for manifest in overlay.of(kind):
            spec = manifest["spec"]
            selector = spec.get("podSelector", spec.get("selector"))
            found = overlay.pods({"matchLabels": selector} if kind == "Service" else selector)
            if not found:
                yield f"{name(manifest)} selects no pods"
            elif kind == "Service":
                for port in spec["ports"]:
                    if container_ports(found[0]).get(port["targetPort"]) != port["port"]:
                        yield f"{name(manifest)}: port {port['name']} leads nowhere"
            elif kind == "InferencePool" and [p["number"] for p in spec["targetPorts"]] != [container_ports(found[0])["http"]]:
                yield f"{name(manifest)}: not the gateways' port"
    named = {port["name"] for service in overlay.of("Service") for port in service["spec"]["ports"]}
    for monitor in overlay.of("ServiceMonitor"):
        for endpoint in monitor["spec"]["endpoints"]:
            if endpoint["port"] not in named:
                yield f"{name(monitor)}: no Service has a port {endpoint['port']}"


def scaling_errors(overlay):
    known = "".join(source.read_text() for source in GATEWAY.glob("*.cc"))
    targets = []
    for scaler in overlay.of("ScaledObject") + overlay.of("HorizontalPodAutoscaler"):
        targets.append(scaler["spec"]["scaleTargetRef"]["name"])
        if not overlay.has("Deployment", targets[-1]):
            yield f"{name(scaler)}: no Deployment {targets[-1]}"
        for metric in re.findall(r"lynx_\w+", json.dumps(scaler["spec"])):
            if f'"{metric}"' not in known:
                yield f"{name(scaler)}: gateways have no metric {metric}"
    if len(targets) != len(set(targets)):
        yield "two autoscalers on one Deployment"
    for deployment in overlay.of("Deployment"):
        if deployment["metadata"]["name"] in targets and "replicas" in deployment["spec"]:
            yield f"{name(deployment)}: its replicas would undo the autoscaler's at every apply"


def policy_errors(overlay, config):
    policies = overlay.of("NetworkPolicy")
    ports = {role: container_ports(overlay.roles[role]["spec"]["template"]) for role in PORTS}
    needed = {("gateway", "decode", ports["decode"]["grpc"]), ("gateway", "prefill", ports["prefill"]["grpc"]),
              ("decode", "prefill", ports["prefill"]["grpc"]), ("decode", "prefill", ports["prefill"]["kv"])}
    tried = {port for role in PORTS for port in ports[role].values()} | {22, 40000}
    if config["prefill"]["device"] == "cuda":  # NCCL takes any port, in both directions
        needed |= {(*pair, port) for pair in (("prefill", "decode"), ("decode", "prefill")) for port in tried}
    for source, target, port in itertools.product(PORTS, PORTS, sorted(tried)):
        wanted = (source, target, port) in needed
        if may_talk(policies, overlay.labels(source), overlay.labels(target), port) != wanted:
            yield f"{source} to {target} at {port}: {'closed' if wanted else 'open'}"
    clients = [("gateway", "http")]
    scraped = [("gateway", "http"), ("prefill", "metrics"), ("decode", "metrics")]
    for namespace, wanted in (("elsewhere", clients), ("monitoring", scraped)):
        for role in PORTS:
            for port_name, port in ports[role].items():
                is_open = allowed(policies, "Ingress", overlay.labels(role), {}, port, {"kubernetes.io/metadata.name": namespace})
                if is_open != ((role, port_name) in wanted):
                    yield f"{role} at {port} from namespace {namespace}: {'open' if is_open else 'closed'}"


def errors(manifests, config):
    names = [(m["kind"], m["metadata"]["name"]) for m in manifests]
    yield from (f"{what} comes twice" for what in set(names) if names.count(what) > 1)
    overlay = Overlay(manifests)
    if not overlay.roles:
        return
    yield from selector_errors(overlay)
    yield from scaling_errors(overlay)
    yield from pool_errors(overlay)
    yield from policy_errors(overlay, config)
    for role, deployment in overlay.roles.items():
        template = deployment["spec"]["template"]
        for error in (*pod_errors(overlay, role, deployment), *probe_errors(template), *config_errors(role, template, config)):
            yield f"{name(deployment)}: {error}"
