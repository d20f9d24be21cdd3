{{/* The flags of the agent, from the values. */}}
{{- define "castoff.args" -}}
{{- $host := .Values.http.address }}
{{- if contains ":" $host }}{{ $host = printf "[%s]" $host }}{{ end }}
{{- $publish := include "castoff.publish" . }}
- {{ printf "--listen=%s:%d" $host (int .Values.http.port) | quote }}
- {{ printf "--period=%s" .Values.period | quote }}
- {{ printf "--window=%s" .Values.window | quote }}
{{- with .Values.readyFor }}
- {{ printf "--for=%s" (join "," .) | quote }}
{{- end }}
- {{ printf "--grace=%ds" (int .Values.graceSeconds) | quote }}
- {{ printf "--log=%s" .Values.log.filter | quote }}
- {{ printf "--log-format=%s" .Values.log.format | quote }}
{{- if ne .Values.state.keep "none" }}
- "--state=/var/lib/castoff/state.json"
{{- end }}
- {{ printf "--labels=%s" $publish | quote }}
{{- if ne $publish "off" }}
- {{ printf "--label-prefix=%s" .Values.labels.prefix | quote }}
{{- end }}
{{- if eq $publish "nfd" }}
- "--nfd-directory=/features.d"
{{- end }}
{{- if .Values.events.enabled }}
- --events
{{- end }}
{{- if .Values.http.tls.secretName }}
- --tls-cert=/tls/tls.crt
- --tls-key=/tls/tls.key
{{- end }}
- {{ printf "--auth=%s" .Values.http.auth | quote }}
{{- end }}

{{/* The settings of a look. They are variables, so that `kubectl exec … -- /castoff check` in the pod uses them, too. */}}
{{- define "castoff.env" -}}
- name: CASTOFF_CONNECT_EVENTS
  value: {{ include "castoff.connectEvents" . | quote }}
- name: CASTOFF_REQUESTS
  value: {{ include "castoff.requests" . | quote }}
- name: CASTOFF_RUNTIME_TIMEOUT
  value: {{ .Values.runtime.timeout | quote }}
{{- if .Values.scanHostFiles }}
- name: CASTOFF_SCAN_HOST_FILES
  value: "true"
{{- end }}
{{- with .Values.runtime.endpoint }}
- name: CASTOFF_RUNTIME_ENDPOINT
  value: {{ . | quote }}
{{- end }}
{{- end }}
