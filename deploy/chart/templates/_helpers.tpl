{{/* Labels of every object, for a flow mapping. */}}
{{- define "weir.labels" -}}
app.kubernetes.io/name: weir, app.kubernetes.io/part-of: weir
{{- end }}

{{/* Labels of the pods. The first is ours alone and never changes: it is what the DaemonSet selects by. */}}
{{- define "weir.selector" -}}
weir.dev/component: agent
{{- end }}

{{/* The platform's preset. */}}
{{- define "weir.preset" -}}
{{- $file := printf "presets/%s.yaml" .Values.platform }}
{{- $text := .Files.Get $file }}
{{- if not $text }}{{ fail (printf "platform: there is no %s" $file) }}{{ end }}
{{- $text }}
{{- end }}

{{/* The agent's configuration: what the chart needs, then the platform's, then the values. */}}
{{- define "weir.config" -}}
{{- $base := dict "apiVersion" "weir.dev/v1alpha1" "kind" "AgentConfiguration" "cgroupRoot" "/host/cgroup" "cni" (dict "install" true) }}
{{- if eq .Values.metrics.bind "node" }}{{ $_ := set $base "metricsBindAddress" "0.0.0.0:10249" }}{{ end }}
{{- with .Values.metrics.tls.secretName }}
{{- $tls := dict "certFile" (printf "%s/tls.crt" (include "weir.metricsTLS" $)) "privateKeyFile" (printf "%s/tls.key" (include "weir.metricsTLS" $)) }}
{{- if $.Values.metrics.tls.clientCA }}{{ $_ := set $tls "clientCAFile" (printf "%s/ca.crt" (include "weir.metricsTLS" $)) }}{{ end }}
{{- $_ := set $base "metricsTLS" $tls }}
{{- else }}
{{- if .Values.metrics.tls.clientCA }}{{ fail "metrics.tls.clientCA: name the Secret with the authorities and the agents' certificate in metrics.tls.secretName" }}{{ end }}
{{- end }}
{{- $preset := include "weir.preset" . | fromYaml }}
{{- $config := mergeOverwrite $base ($preset.config | default dict) (deepCopy .Values.config) }}
{{- $client := $config.clientConnection | default dict }}
{{- if not (or $client.apiServers $client.kubeconfig $config.manifests) }}
{{- $servers := include "weir.apiServers" . | fromYamlArray }}
{{- $_ := set $config "clientConnection" (mergeOverwrite (deepCopy $client) (dict "apiServers" $servers)) }}
{{- end }}
{{- if and (eq ($config.ipam | default "node") "cluster") (not $config.clusterPodCIDRs) }}
{{- fail (printf "config.clusterPodCIDRs: nodes claim the ranges of their pods here (platform %s, `ipam: cluster`), so it has to name ranges that nothing else uses" .Values.platform) }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{/* What stands behind the Service `kubernetes`: the agent serves that Service itself and cannot begin with it. */}}
{{- define "weir.apiServers" -}}
{{- $servers := list }}
{{- range $slice := (lookup "discovery.k8s.io/v1" "EndpointSlice" "default" "").items }}
{{- if eq (get ($slice.metadata.labels | default dict) "kubernetes.io/service-name") "kubernetes" }}
{{- range $endpoint := $slice.endpoints }}
{{- range $address := $endpoint.addresses }}
{{- $host := ternary (printf "[%s]" $address) $address (contains ":" $address) }}
{{- $servers = append $servers (printf "https://%s:%d" $host (int (index $slice.ports 0).port)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- if not $servers }}
{{- fail "config.clientConnection.apiServers: name the URLs of API servers that nodes reach without any Service, for example https://192.0.2.1:6443" }}
{{- end }}
{{- toYaml ($servers | uniq | sortAlpha) }}
{{- end }}

{{/* The image. */}}
{{- define "weir.image" -}}
{{ .Values.image.repository }}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}
{{- else if .Values.image.tag }}:{{ .Values.image.tag }}
{{- end }}
{{- end }}

{{/* A folder of the node: of values, the preset, or the usual one. By `at`, name and usual one. */}}
{{- define "weir.hostPath" -}}
{{- $preset := include "weir.preset" .at | fromYaml }}
{{- get .at.Values.hostPaths .name | default (get ($preset.hostPaths | default dict) .name) | default .usual }}
{{- end }}

{{/* Where a bind address is reached from the node itself, for a flow mapping. */}}
{{- define "weir.probe" -}}
{{- $host := regexReplaceAll ":[0-9]+$" . "" | trimPrefix "[" | trimSuffix "]" }}
{{- if has $host (list "0.0.0.0" "::") }}{{ $host = "127.0.0.1" }}{{ end -}}
host: {{ $host | quote }}, port: {{ include "weir.port" . }}
{{- end }}

{{/* The port of a bind address. */}}
{{- define "weir.port" -}}
{{ regexFind "[0-9]+$" . }}
{{- end }}

{{/* Annotations of the pods: new ones when the configuration has changed. */}}
{{- define "weir.podAnnotations" -}}
{{- $all := deepCopy .Values.podAnnotations }}
{{- if .Values.restartOnChange }}{{ $_ := set $all "weir.dev/configuration" (include "weir.config" . | sha256sum) }}{{ end }}
{{- if $all }}{{ toYaml $all }}{{ end }}
{{- end }}

{{/* Where agents have the certificate of their metrics. */}}
{{- define "weir.metricsTLS" -}}
/etc/weir-metrics-tls
{{- end }}

{{/* How Prometheus trusts the metrics' certificate: its tlsConfig. */}}
{{- define "weir.metricsTrust" -}}
{{- $secret := .Values.metrics.tls.secretName }}
{{- $trust := dict "serverName" (printf "weir-metrics.%s.svc" .Release.Namespace) "ca" (dict "secret" (dict "name" $secret "key" "ca.crt")) }}
{{- $trust := mergeOverwrite $trust (deepCopy .Values.metrics.podMonitor.tlsConfig) }}
{{- if and .Values.metrics.tls.clientCA (not (and $trust.cert $trust.keySecret)) }}
{{- fail "metrics.podMonitor.tlsConfig: agents serve only those with a certificate (metrics.tls.clientCA), so name Prometheus' own: `cert` and `keySecret`" }}
{{- end }}
{{- toYaml $trust }}
{{- end }}

{{/* Whether others than the node's own programs reach the metrics. */}}
{{- define "weir.metricsReachable" -}}
{{- $config := include "weir.config" . | fromYaml }}
{{- $address := $config.metricsBindAddress | default "127.0.0.1:10249" }}
{{- if not (or (hasPrefix "127." $address) (hasPrefix "[::1]" $address)) }}true{{ end }}
{{- end }}

{{/* Fails for a way to metrics that nobody could take. */}}
{{- define "weir.wantsMetrics" -}}
{{- if not (include "weir.metricsReachable" .) }}
{{- fail "metrics.bind: agents answer programs of their own node alone, so Prometheus would find nobody; say `node` here, or turn metrics.service and metrics.podMonitor off" }}
{{- end }}
{{- end }}
