"""What deploy/kubernetes uses of the custom resources that kubernetes-validate does not know: written from their API
references, no more than is needed, and nothing beside it is allowed."""

TEXT = {"type": "string", "minLength": 1}
COUNT = {"type": "integer", "minimum": 1}


def closed(required, optional=None):
    return {"type": "object", "properties": {**required, **(optional or {})}, "required": list(required), "additionalProperties": False}


def listed(item):
    return {"type": "array", "items": item, "minItems": 1}


LABELS = closed({"matchLabels": {"type": "object", "additionalProperties": TEXT, "minProperties": 1}})
POLICY = closed({"type": {"enum": ["Pods", "Percent"]}, "value": COUNT, "periodSeconds": COUNT})
SCALING = closed({"stabilizationWindowSeconds": {"type": "integer", "minimum": 0, "maximum": 3600}, "policies": listed(POLICY)})
PROMETHEUS = closed({
    "type": {"const": "prometheus"},
    "metricType": {"enum": ["AverageValue", "Value"]},
    "metadata": closed({"serverAddress": {"type": "string", "pattern": "^http"}, "query": TEXT,
                        "threshold": {"type": "string", "pattern": r"^\d+(\.\d+)?$"}}),
})
CPU = closed({"type": {"const": "cpu"}, "metricType": {"const": "Utilization"},
              "metadata": closed({"value": {"type": "string", "pattern": r"^\d+$"}})})

SPECS = {
    ("keda.sh/v1alpha1", "ScaledObject"): closed(
        {"scaleTargetRef": closed({"name": TEXT}), "minReplicaCount": COUNT, "maxReplicaCount": COUNT,
         "triggers": listed({"anyOf": [PROMETHEUS, CPU]})},
        {"pollingInterval": COUNT,
         "advanced": closed({"horizontalPodAutoscalerConfig": closed({"behavior": closed({"scaleUp": SCALING, "scaleDown": SCALING})})})}),
    ("monitoring.coreos.com/v1", "ServiceMonitor"): closed(
        {"selector": LABELS,
         "endpoints": listed(closed({"port": TEXT, "path": {"type": "string", "pattern": "^/"},
                                     "interval": {"type": "string", "pattern": r"^\d+s$"}}))}),
    # One to eight ports; the picker's kind is a Service and its port has to be given for it.
    ("inference.networking.k8s.io/v1", "InferencePool"): closed(
        {"selector": LABELS, "targetPorts": {**listed(closed({"number": COUNT})), "maxItems": 8},
         "endpointPickerRef": closed({"name": TEXT, "port": closed({"number": COUNT})}, {"failureMode": {"enum": ["FailOpen", "FailClose"]}})}),
}


def errors(manifest):
    import jsonschema
    what = f"{manifest['kind']} {manifest['metadata']['name']}"
    spec = SPECS.get((manifest["apiVersion"], manifest["kind"]))
    if spec is None:
        yield f"{what}: no schema for {manifest['apiVersion']}"
        return
    metadata = closed({"name": TEXT}, {"namespace": TEXT})
    schema = closed({"apiVersion": TEXT, "kind": TEXT, "metadata": metadata, "spec": spec})
    for error in jsonschema.Draft202012Validator(schema).iter_errors(manifest):
        yield f"{what}: {'.'.join(str(step) for step in error.path)}: {error.message}"
