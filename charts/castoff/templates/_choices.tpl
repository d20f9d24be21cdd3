{{/* Decisions that depend on several values. Each returns a word, or nothing for no. */}}

{{/* YAML reads an unquoted off as a boolean. */}}
{{- define "castoff.publish" -}}
{{- $publish := toString .Values.labels.publish }}
{{- if eq $publish "auto" }}
{{- ternary "api" "nfd" (eq (include "castoff.hasAdmissionPolicies" .) "yes") }}
{{- else }}
{{- ternary "off" $publish (eq $publish "false") }}
{{- end }}
{{- end }}

{{- define "castoff.connectEvents" -}}
{{- $method := toString .Values.connectEvents }}
{{- ternary "off" $method (eq $method "false") }}
{{- end }}

{{- define "castoff.requests" -}}
{{- $method := toString .Values.requests }}
{{- ternary "off" $method (eq $method "false") }}
{{- end }}

{{/*
The agent's capabilities. A kernel program needs BPF and PERFMON. SYS_ADMIN includes both, and a runtime that does not know their names
(Docker 19.03) does not start a container that asks for them. Without SYS_PTRACE castoff finds no socket whose connects it could record.
*/}}
{{- define "castoff.capabilities" -}}
{{- $given := .Values.security.capabilities }}
{{- $recorded := and (ne (include "castoff.connectEvents" .) "off") (has "SYS_PTRACE" $given) (not (has "SYS_ADMIN" $given)) }}
{{- ternary (concat $given (list "BPF" "PERFMON")) $given $recorded | toYaml }}
{{- end }}

{{/* Not empty if the agent uses the API server. */}}
{{- define "castoff.asksTheApiServer" -}}
{{- if or (eq (include "castoff.publish" .) "api") .Values.events.enabled (eq .Values.http.auth "kubernetes") }}yes{{ end }}
{{- end }}

{{/* Whether the chart makes an account that may read the agents. */}}
{{- define "castoff.hasReader" -}}
{{- if and .Values.rbac.create (eq .Values.http.auth "kubernetes") }}yes{{ end }}
{{- end }}

{{/* The namespace in which a monitor looks for the reader's token. Nothing if no monitor needs it. */}}
{{- define "castoff.tokenNamespace" -}}
{{- if include "castoff.hasReader" . }}
{{- range list .Values.podMonitor .Values.serviceMonitor }}
{{- if and .enabled (not .authorization) }}{{ .namespace | default (include "castoff.namespace" $) }}{{ end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "castoff.scheme" -}}
{{- ternary "https" "http" (not (empty .Values.http.tls.secretName)) }}
{{- end }}

{{/* Kubernetes has policies in CEL from 1.30 on. Since then tokens name their node, too. */}}
{{- define "castoff.hasAdmissionPolicies" -}}
{{- if semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version }}yes{{ end }}
{{- end }}

{{- define "castoff.admissionPolicy" -}}
{{- if eq (toString .Values.admissionPolicy.enabled) "auto" }}
{{- if and (eq (include "castoff.publish" .) "api") (include "castoff.hasAdmissionPolicies" .) }}yes{{ end }}
{{- else if .Values.admissionPolicy.enabled }}yes{{ end }}
{{- end }}

{{- define "castoff.cleanup" -}}
{{- if and .Values.cleanup.enabled (eq (include "castoff.publish" .) "api") }}yes{{ end }}
{{- end }}

{{- define "castoff.isOpenShift" -}}
{{- if .Capabilities.APIVersions.Has "security.openshift.io/v1" }}yes{{ end }}
{{- end }}

{{- define "castoff.scc" -}}
{{- if eq (toString .Values.openshift.scc) "auto" }}
{{- include "castoff.isOpenShift" . }}
{{- else if .Values.openshift.scc }}yes{{ end }}
{{- end }}
