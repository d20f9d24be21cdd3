{{/* The names of the objects. */}}

{{- define "castoff.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Only the release's name, if it contains the chart's. The length leaves room for "-cleanup". */}}
{{- define "castoff.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 54 | trimSuffix "-" }}
{{- else }}
{{- $name := include "castoff.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 54 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 54 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "castoff.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{- define "castoff.selectorLabels" -}}
app.kubernetes.io/name: {{ include "castoff.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: agent
{{- end }}

{{/* Labels of every object. Objects that run something add the component. */}}
{{- define "castoff.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ include "castoff.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: castoff
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "castoff.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "castoff.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "castoff.cleanupName" -}}
{{- printf "%s-cleanup" (include "castoff.fullname" .) }}
{{- end }}

{{- define "castoff.readerName" -}}
{{- printf "%s-reader" (include "castoff.fullname" .) }}
{{- end }}

{{/* The user names of the two accounts in the API server. */}}
{{- define "castoff.agentUser" -}}
{{- printf "system:serviceaccount:%s:%s" (include "castoff.namespace" .) (include "castoff.serviceAccountName" .) }}
{{- end }}
{{- define "castoff.cleanupUser" -}}
{{- printf "system:serviceaccount:%s:%s" (include "castoff.namespace" .) (include "castoff.cleanupName" .) }}
{{- end }}

{{- define "castoff.priorityClassName" -}}
{{- if .Values.priorityClass.create }}
{{- default (include "castoff.fullname" .) .Values.priorityClass.name }}
{{- else }}
{{- .Values.priorityClass.name }}
{{- end }}
{{- end }}
