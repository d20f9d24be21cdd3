{{/*
Reports all contradictions between values at once. values.schema.json checks each value by itself.
*/}}
{{- define "castoff.refusals" -}}
{{- $wrong := list }}
{{- $publish := include "castoff.publish" . }}
{{- $policy := toString .Values.admissionPolicy.enabled }}
{{- if not (include "castoff.hasAdmissionPolicies" .) }}
{{- if eq $policy "true" }}
{{- $wrong = append $wrong (printf "admissionPolicy.enabled=true: Kubernetes %s has none (1.30 has); wants auto or false" .Capabilities.KubeVersion.Version) }}
{{- else if and (eq $publish "api") (ne $policy "false") }}
{{- $wrong = append $wrong (printf "labels.publish=api: Kubernetes %s has no admission policy that holds a token to its own Node (1.30 has), so a stolen token can patch every Node; wants auto, nfd or off, or admissionPolicy.enabled=false to accept this" .Capabilities.KubeVersion.Version) }}
{{- end }}
{{- else if and (eq $policy "true") (ne $publish "api") }}
{{- $wrong = append $wrong (printf "admissionPolicy.enabled=true: with labels.publish=%s the agent writes no Node; wants auto or false" $publish) }}
{{- end }}
{{- if and .Values.podMonitor.enabled .Values.serviceMonitor.enabled }}
{{- $wrong = append $wrong "podMonitor.enabled, serviceMonitor.enabled: each agent would be scraped twice; wants one of them" }}
{{- end }}
{{- if eq .Values.http.auth "kubernetes" }}
{{- $plain := not .Values.http.tls.secretName }}
{{- if and $plain .Values.http.readers }}
{{- $wrong = append $wrong "http.readers: without TLS everybody on the network can read their tokens; wants http.tls.secretName, or empty" }}
{{- end }}
{{- if and .Values.http.readers (not .Values.rbac.create) }}
{{- $wrong = append $wrong "http.readers: with rbac.create=false the chart makes no role for them; wants rbac.create=true, or empty" }}
{{- end }}
{{- range $monitor := list "podMonitor" "serviceMonitor" }}
{{- with index $.Values $monitor }}
{{- if and .enabled .authorization $plain }}
{{- $wrong = append $wrong (printf "%s.authorization: without TLS everybody on the network can read this token; wants http.tls.secretName, or empty, and Prometheus gets a token of its own" $monitor) }}
{{- else if and .enabled (not .authorization) (not $.Values.rbac.create) }}
{{- $wrong = append $wrong (printf "%s.authorization: is empty, and with rbac.create=false the chart makes no account that may read; wants the token of yours, or http.auth=none" $monitor) }}
{{- end }}
{{- end }}
{{- end }}
{{- else if .Values.http.readers }}
{{- $wrong = append $wrong "http.readers: with http.auth=none everybody reads; wants http.auth=kubernetes" }}
{{- end }}
{{- if and (not .Values.serviceAccount.create) (has .Values.serviceAccount.name (list "" "default")) (include "castoff.asksTheApiServer" .) }}
{{- $wrong = append $wrong (printf "serviceAccount.name %q: with serviceAccount.create=false the namespace's default account, so every pod there, would get the agent's rights; wants another account's name" .Values.serviceAccount.name) }}
{{- end }}
{{- range $value, $prefixes := dict "labels.prefix" (list .Values.labels.prefix) "labels.formerPrefixes" .Values.labels.formerPrefixes }}
{{- range $prefixes }}
{{- $domain := trimSuffix "/" . }}
{{- if and (regexMatch "(^|\\.)(kubernetes|k8s)\\.io$" $domain) (not (regexMatch "(^|\\.)node-restriction\\.kubernetes\\.io$" $domain)) }}
{{- $wrong = append $wrong (printf "%s %q: belongs to Kubernetes" $value .) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and (eq .Values.state.keep "node") (eq $publish "nfd") (eq (clean .Values.state.directory) (clean .Values.labels.nfdDirectory)) }}
{{- $wrong = append $wrong "state.directory, labels.nfdDirectory: are the same; Node Feature Discovery would read the state as labels" }}
{{- end }}
{{- range $value, $labels := dict "commonLabels" .Values.commonLabels "podLabels" .Values.podLabels }}
{{- range $key, $_ := $labels }}
{{- if regexMatch "^(app\\.kubernetes\\.io|helm\\.sh)/" $key }}
{{- $wrong = append $wrong (printf "%s: %s is given by the chart already" $value $key) }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.updateStrategy.rollingUpdate }}
{{- $surges := not (has (toString .maxSurge) (list "<nil>" "0" "0%")) }}
{{- if and $surges (semverCompare "<1.22.0-0" $.Capabilities.KubeVersion.Version) }}
{{- $wrong = append $wrong (printf "updateStrategy.rollingUpdate.maxSurge: Kubernetes %s has none for a DaemonSet (1.22 has)" $.Capabilities.KubeVersion.Version) }}
{{- end }}
{{- if and $surges (not (has (toString .maxUnavailable) (list "<nil>" "0" "0%"))) }}
{{- $wrong = append $wrong "updateStrategy.rollingUpdate: a DaemonSet has either maxSurge or maxUnavailable; set the other to 0" }}
{{- end }}
{{- end }}
{{- $own := list }}
{{- range include "castoff.args" . | fromYamlArray }}
{{- $own = append $own (splitList "=" . | first) }}
{{- end }}
{{- range include "castoff.env" . | fromYamlArray }}
{{- $variable := .name }}
{{- $own = append $own (printf "--%s" ($variable | trimPrefix "CASTOFF_" | lower | replace "_" "-")) }}
{{- range $.Values.extraEnv }}
{{- if eq .name $variable }}
{{- $wrong = append $wrong (printf "extraEnv: %s is given by the chart already, from a value of its own" .name) }}
{{- end }}
{{- end }}
{{- end }}
{{- range .Values.extraArgs }}
{{- $flag := splitList "=" . | first }}
{{- if has $flag $own }}
{{- $wrong = append $wrong (printf "extraArgs: %s is given by the chart already, from a value of its own" $flag) }}
{{- end }}
{{- end }}
{{- range .Values.alerts.disabled }}
{{- $alert := . }}
{{- if not (contains (printf "alert: %s\n" $alert) ($.Files.Get "files/castoff.rules.yaml")) }}
{{- $wrong = append $wrong (printf "alerts.disabled: there is no alert %s" $alert) }}
{{- end }}
{{- end }}
{{- with $wrong }}
{{- fail (printf "\n\nThese values contradict each other:\n  %s\n" (join "\n  " .)) }}
{{- end }}
{{- end }}
