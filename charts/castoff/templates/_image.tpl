{{/* Which image, and how it is pulled: for the agent and for the Job that cleans up. */}}

{{- define "castoff.image" -}}
{{- $name := .Values.image.repository }}
{{- with (.Values.global).imageRegistry | default .Values.image.registry }}
{{- $name = printf "%s/%s" . $name }}
{{- end }}
{{- if .Values.image.digest }}
{{- printf "%s@%s" $name .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" $name (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{- define "castoff.imagePullSecrets" -}}
{{- range concat (default list (.Values.global).imagePullSecrets) (default list .Values.imagePullSecrets) | uniq }}
- name: {{ . }}
{{- end }}
{{- end }}
