{{/* The image and its pull settings, for the agent and for the clean-up Job. */}}

{{- define "castoff.image" -}}
{{- $name := .Values.image.repository }}
{{- /* Like Docker's: a first part with a dot or a port is a registry. */}}
{{- if not (regexMatch "^([^/]*[.:][^/]*|localhost)/" $name) }}
{{- with (.Values.global).imageRegistry | default .Values.image.registry }}
{{- $name = printf "%s/%s" . $name }}
{{- end }}
{{- end }}
{{- if .Values.image.digest }}
{{- printf "%s@%s" $name .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" $name (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{- define "castoff.imagePullSecrets" -}}
{{- $names := list }}
{{- range concat (default list (.Values.global).imagePullSecrets) (default list .Values.imagePullSecrets) }}
{{- if kindIs "map" . }}
{{- $names = append $names .name }}
{{- else }}
{{- $names = append $names . }}
{{- end }}
{{- end }}
{{- range $names | uniq }}
- name: {{ . }}
{{- end }}
{{- end }}
