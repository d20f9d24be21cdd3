{{/* A text with its links to runbooks replaced by the URL in the values. */}}
{{- define "castoff.withRunbooks" -}}
{{- .text | replace "https://github.com/castoff/castoff/blob/main/deploy/runbooks" .values.runbooks }}
{{- end }}

{{/* The common part of a PodMonitor and a ServiceMonitor. */}}

{{- define "castoff.endpoint" -}}
- port: http
  path: /metrics
  scheme: {{ include "castoff.scheme" .root }}
  # namespace, pod and container name the client, not the agent.
  honorLabels: true
  {{- with .monitor.tlsConfig }}
  tlsConfig:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if .monitor.authorization }}
  authorization:
    {{- toYaml .monitor.authorization | nindent 4 }}
  {{- else if include "castoff.tokenNamespace" .root }}
  authorization:
    credentials:
      name: {{ include "castoff.readerName" .root }}
      key: token
  {{- end }}
  {{- with .monitor.interval }}
  interval: {{ . }}
  {{- end }}
  {{- with .monitor.scrapeTimeout }}
  scrapeTimeout: {{ . }}
  {{- end }}
  relabelings:
    # Where a series names no pod, as those about clients on the host, the agent's own must not stand in for one.
    - action: replace
      sourceLabels: [__meta_kubernetes_pod_name]
      targetLabel: castoff_pod
    - action: replace
      sourceLabels: [__meta_kubernetes_pod_node_name]
      targetLabel: node
    - action: labeldrop
      regex: namespace|pod|container
    {{- with .monitor.relabelings }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .monitor.metricRelabelings }}
  metricRelabelings:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
