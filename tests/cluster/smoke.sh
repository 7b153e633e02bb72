#!/usr/bin/env bash
# The first things that a user would try, on whatever cluster kubectl points at:
# a Deployment behind a Service, found by name, and a NetworkPolicy that cuts a client off.
set -euo pipefail
image=${IMAGE:-registry.k8s.io/e2e-test-images/agnhost:2.63.0}
namespace=weir-smoke
kubectl() { command kubectl --namespace "$namespace" "$@"; }

command kubectl create namespace "$namespace"
trap 'command kubectl delete namespace "$namespace" --wait=false' EXIT

kubectl create deployment web --image "$image" --replicas 3 -- /agnhost netexec --http-port=8080
kubectl expose deployment web --port 80 --target-port 8080
kubectl run client --image "$image" --command -- /agnhost pause
kubectl rollout status deployment/web --timeout 120s
kubectl wait --for=condition=Ready pod/client --timeout 120s

answered=()
for _ in $(seq 30); do
    answered+=("$(kubectl exec client -- curl -sS --max-time 5 http://web/hostname)")
done
backends=$(printf '%s\n' "${answered[@]}" | sort -u | wc -l)
echo "30 requests reached $backends of 3 backends"
[ "$backends" = 3 ]

kubectl apply -f - <<'YAML'
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: nobody }
spec: { podSelector: { matchLabels: { app: web } } }
YAML
for _ in $(seq 20); do
    if ! kubectl exec client -- curl -sS --max-time 2 http://web/hostname; then
        echo "the policy is in force"
        exit 0
    fi
done
echo "error: the client still reaches the Service under a policy that allows nobody" >&2
exit 1
