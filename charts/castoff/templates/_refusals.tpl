{{/*
Reports all contradictions between values at once. values.schema.json checks each value by itself.
*/}}
{{- define "castoff.refusals" -}}
{{- $wrong := list }}
{{- $publish := include "castoff.publish" . }}
{{- $policy := toString .Values.admissionPolicy.enabled }}
{{- if not (include "castoff.hasAdmissionPolicies" .) }}
{{- if eq $policy "true" }}
{{- $wrong = append $wrong (printf "admissionPolicy.enabled=true: Kubernetes %s does not have validating admission policies (1.30 and newer do); use auto or false" .Capabilities.KubeVersion.Version) }}
{{- else if and (eq $publish "api") (ne $policy "false") }}
{{- $wrong = append $wrong (printf "labels.publish=api: Kubernetes %s has no admission policies to limit a token to its own Node (1.30 and newer have), so a stolen token can patch every Node; use auto, nfd or off, or set admissionPolicy.enabled=false to accept this" .Capabilities.KubeVersion.Version) }}
{{- end }}
{{- else if and (eq $policy "true") (ne $publish "api") }}
{{- $wrong = append $wrong (printf "admissionPolicy.enabled=true: with labels.publish=%s the agent does not write to Nodes; use auto or false" $publish) }}
{{- end }}
{{- if and .Values.podMonitor.enabled .Values.serviceMonitor.enabled }}
{{- $wrong = append $wrong "podMonitor.enabled, serviceMonitor.enabled: each agent would be scraped twice; enable only one of them" }}
{{- end }}
{{- if eq .Values.http.auth "kubernetes" }}
{{- $plain := not .Values.http.tls.secretName }}
{{- if and $plain .Values.http.readers }}
{{- $wrong = append $wrong "http.readers: without TLS, everyone on the network can read their tokens; set http.tls.secretName, or leave http.readers empty" }}
{{- end }}
{{- if and .Values.http.readers (not .Values.rbac.create) }}
{{- $wrong = append $wrong "http.readers: with rbac.create=false, the chart creates no role for them; set rbac.create=true, or leave http.readers empty" }}
{{- end }}
{{- range $monitor := list "podMonitor" "serviceMonitor" }}
{{- with index $.Values $monitor }}
{{- if and .enabled .authorization $plain }}
{{- $wrong = append $wrong (printf "%s.authorization: without TLS, everyone on the network can read this token; set http.tls.secretName, or leave it empty, and the chart gives Prometheus its own token" $monitor) }}
{{- else if and .enabled (not .authorization) (not $.Values.rbac.create) }}
{{- $wrong = append $wrong (printf "%s.authorization: it is empty, and with rbac.create=false the chart creates no account that may read; set it to your token, or set http.auth=none" $monitor) }}
{{- end }}
{{- end }}
{{- end }}
{{- else if .Values.http.readers }}
{{- $wrong = append $wrong "http.readers: with http.auth=none, everyone can read; set http.auth=kubernetes" }}
{{- end }}
{{- if and (not .Values.serviceAccount.create) (has .Values.serviceAccount.name (list "" "default")) (include "castoff.asksTheApiServer" .) }}
{{- $wrong = append $wrong (printf "serviceAccount.name %q: with serviceAccount.create=false, this is the default account of the namespace, so every pod in the namespace would get the agent's rights; name another account" .Values.serviceAccount.name) }}
{{- end }}
{{- range $value, $prefixes := dict "labels.prefix" (list .Values.labels.prefix) "labels.formerPrefixes" .Values.labels.formerPrefixes }}
{{- range $prefixes }}
{{- $domain := trimSuffix "/" . }}
{{- if and (regexMatch "(^|\\.)(kubernetes|k8s)\\.io$" $domain) (not (regexMatch "(^|\\.)node-restriction\\.kubernetes\\.io$" $domain)) }}
{{- $wrong = append $wrong (printf "%s %q: this domain is reserved for Kubernetes; use another one" $value .) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and (eq .Values.state.keep "node") (eq $publish "nfd") (eq (clean .Values.state.directory) (clean .Values.labels.nfdDirectory)) }}
{{- $wrong = append $wrong "state.directory, labels.nfdDirectory: they are the same directory, and Node Feature Discovery would read the state as labels; use another state.directory" }}
{{- end }}
{{- range $value, $labels := dict "commonLabels" .Values.commonLabels "podLabels" .Values.podLabels }}
{{- range $key, $_ := $labels }}
{{- if regexMatch "^(app\\.kubernetes\\.io|helm\\.sh)/" $key }}
{{- $wrong = append $wrong (printf "%s: the chart sets %s already; remove it" $value $key) }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.updateStrategy.rollingUpdate }}
{{- $surges := not (has (toString .maxSurge) (list "<nil>" "0" "0%")) }}
{{- if and $surges (semverCompare "<1.22.0-0" $.Capabilities.KubeVersion.Version) }}
{{- $wrong = append $wrong (printf "updateStrategy.rollingUpdate.maxSurge: Kubernetes %s does not support it for a DaemonSet (1.22 and newer do); remove it" $.Capabilities.KubeVersion.Version) }}
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
{{- $wrong = append $wrong (printf "extraEnv: the chart sets %s from another value; use that value" .name) }}
{{- end }}
{{- end }}
{{- end }}
{{- range .Values.extraArgs }}
{{- $flag := splitList "=" . | first }}
{{- if has $flag $own }}
{{- $wrong = append $wrong (printf "extraArgs: the chart sets %s from another value; use that value" $flag) }}
{{- end }}
{{- end }}
{{- range .Values.alerts.disabled }}
{{- $alert := . }}
{{- if not (contains (printf "alert: %s\n" $alert) ($.Files.Get "files/castoff.rules.yaml")) }}
{{- $wrong = append $wrong (printf "alerts.disabled: there is no alert %s; see deploy/alerts/castoff.rules.yaml" $alert) }}
{{- end }}
{{- end }}
{{- with $wrong }}
{{- fail (printf "\n\nThese values contradict each other:\n  %s\n" (join "\n  " .)) }}
{{- end }}
{{- end }}
