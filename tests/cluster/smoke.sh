#!/usr/bin/env bash
# The first things that a user would try, on whatever cluster kubectl points at:
# a Deployment behind a Service, found by name, and a NetworkPolicy that cuts a client off.
set -euo pipefail
image=${IMAGE:-registry.k8s.io/e2e-test-images/agnhost:2.63.0}
# One of its own for each run: deleting the last one takes a while.
namespace=weir-smoke-$RANDOM
# What curl ends with when packets are dropped, other than by a refusal or a failing `exec`.
cut_off=28
kubectl() { command kubectl --namespace "$namespace" "$@"; }
ask() { kubectl exec client -- curl -sS --max-time "$1" --write-out '\n' http://web/hostname; }

# Asks until the client's curl ends with this exit code.
until_exit() {
    local got=
    for _ in $(seq 20); do
        got=0
        ask 2 || got=$?
        [ "$got" != "$1" ] || return 0
        sleep 0.2
    done
    echo "error: the client's curl ends with $got, expected $1" >&2
    return 1
}

command kubectl create namespace "$namespace"
trap 'command kubectl delete namespace "$namespace" --wait=false' EXIT

kubectl create deployment web --image "$image" --replicas 3 -- /agnhost netexec --http-port=8080
kubectl expose deployment web --port 80 --target-port 8080
kubectl run client --image "$image" --command -- /agnhost pause
kubectl rollout status deployment/web --timeout 120s
kubectl wait --for=condition=Ready pod/client --timeout 120s

answered=()
for _ in $(seq 30); do
    answered+=("$(ask 5)")
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
until_exit $cut_off
echo "the policy is in force"
kubectl delete networkpolicy nobody
until_exit 0
echo "without the policy the Service answers again"
