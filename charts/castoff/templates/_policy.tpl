{{/*
The common part of both admission policies: that of the agents, which is part of the release, and that of the clean-up, which is created
with its Job. A policy of the release would be gone before the Job runs.
*/}}

{{/* castoff's prefixes, as a list of CEL strings. */}}
{{- define "castoff.policy.prefixes" -}}
{{- $prefixes := list }}
{{- range prepend .Values.labels.formerPrefixes .Values.labels.prefix }}
{{- $prefixes = append $prefixes (printf "'%s/'" (trimSuffix "/" .)) }}
{{- end }}
{{- uniq $prefixes | join ", " }}
{{- end }}

{{- define "castoff.policy.constraints" -}}
failurePolicy: Fail
matchConstraints:
  resourceRules:
    - apiGroups: [""]
      apiVersions: [v1]
      resources: [nodes, nodes/*]
      operations: [CREATE, UPDATE, DELETE]
{{- end }}

{{- define "castoff.policy.variables" -}}
- name: prefixes
  expression: "[{{ include "castoff.policy.prefixes" . }}]"
- name: labels
  expression: "has(object.metadata.labels) ? object.metadata.labels : {}"
- name: oldLabels
  expression: "has(oldObject.metadata.labels) ? oldObject.metadata.labels : {}"
- name: annotations
  expression: "has(object.metadata.annotations) ? object.metadata.annotations : {}"
- name: oldAnnotations
  expression: "has(oldObject.metadata.annotations) ? oldObject.metadata.annotations : {}"
- name: managers
  expression: "has(object.metadata.managedFields) ? object.metadata.managedFields : []"
- name: oldManagers
  expression: "has(oldObject.metadata.managedFields) ? oldObject.metadata.managedFields : []"
{{- end }}

{{/* True if `key`, of f:labels or f:annotations, may change its manager. A dot stands for the map itself. */}}
{{- define "castoff.policy.ownKey" -}}
key == '.' || variables.prefixes.exists(prefix, key.startsWith('f:' + prefix))
{{- end }}

{{/* The part below f:metadata of the entry of managedFields with this variable name. */}}
{{- define "castoff.policy.metadata" -}}
('f:metadata' in {{ . }}.fieldsV1 ? {{ . }}.fieldsV1['f:metadata'] : {})
{{- end }}

{{/* True if the entry of managedFields with this variable name has only keys under the prefixes. */}}
{{- define "castoff.policy.ownKeysOnly" -}}
{{ . }}.fieldsV1.all(part, part == 'f:metadata')
&& {{ include "castoff.policy.metadata" . }}.all(kind, kind in ['f:labels', 'f:annotations']
&& {{ include "castoff.policy.metadata" . }}[kind].all(key, {{ include "castoff.policy.ownKey" . }}))
{{- end }}

{{/*
True if the entry `new` equals the entry `old`, except for lost keys under the prefixes: castoff repairs its own keys, whichever manager
changed them.
*/}}
{{- define "castoff.policy.sameManager" -}}
{{- $new := include "castoff.policy.metadata" "new" }}
{{- $old := include "castoff.policy.metadata" "old" -}}
(has(new.manager) ? new.manager : '') == (has(old.manager) ? old.manager : '')
&& (has(new.subresource) ? new.subresource : '') == (has(old.subresource) ? old.subresource : '')
&& new.operation == old.operation
&& new.fieldsV1.all(part, part in old.fieldsV1 && (part == 'f:metadata' || new.fieldsV1[part] == old.fieldsV1[part]))
&& old.fieldsV1.all(part, part in new.fieldsV1 || part == 'f:metadata')
&& {{ $new }}.all(kind, kind in {{ $old }}
&& {{ $new }}[kind].all(key, key in {{ $old }}[kind]))
&& {{ $old }}.all(kind, kind in ['f:labels', 'f:annotations']
? {{ $old }}[kind].all(key, {{ include "castoff.policy.ownKey" . }}
|| (kind in {{ $new }} && key in {{ $new }}[kind]))
: kind in {{ $new }} && {{ $new }}[kind] == {{ $old }}[kind])
{{- end }}

{{- define "castoff.policy.validations" -}}
{{- $prefixes := include "castoff.policy.prefixes" . -}}
- expression: request.operation == 'UPDATE' && (!has(request.subResource) || request.subResource == '')
  message: castoff may only update Nodes. It may not create or delete them, or change their status.
  reason: Forbidden
- expression: >-
    has(object.spec) == has(oldObject.spec) && (!has(object.spec) || object.spec == oldObject.spec)
  message: castoff may not change the spec of a Node, such as its taints.
  reason: Forbidden
- expression: >-
    variables.labels.all(key, variables.prefixes.exists(prefix, key.startsWith(prefix))
    || (key in variables.oldLabels && variables.oldLabels[key] == variables.labels[key]))
    && variables.oldLabels.all(key, variables.prefixes.exists(prefix, key.startsWith(prefix))
    || key in variables.labels)
  message: castoff may only change labels under {{ $prefixes }}.
  reason: Forbidden
- expression: >-
    variables.annotations.all(key, variables.prefixes.exists(prefix, key.startsWith(prefix))
    || (key in variables.oldAnnotations && variables.oldAnnotations[key] == variables.annotations[key]))
    && variables.oldAnnotations.all(key, variables.prefixes.exists(prefix, key.startsWith(prefix))
    || key in variables.annotations)
  message: castoff may only change annotations under {{ $prefixes }}.
  reason: Forbidden
- expression: >-
    has(object.metadata.finalizers) == has(oldObject.metadata.finalizers)
    && (!has(object.metadata.finalizers) || object.metadata.finalizers == oldObject.metadata.finalizers)
    && has(object.metadata.ownerReferences) == has(oldObject.metadata.ownerReferences)
    && (!has(object.metadata.ownerReferences) || object.metadata.ownerReferences == oldObject.metadata.ownerReferences)
  message: castoff may not change finalizers or owner references.
  reason: Forbidden
- expression: >-
    variables.managers.all(new, (has(new.manager) && new.manager == 'castoff')
    || variables.oldManagers.exists(old, {{- include "castoff.policy.sameManager" . | nindent 4 }})
    || (variables.oldManagers.size() == 0 && new.manager == 'before-first-apply' && new.operation == 'Update'))
  message: castoff must write as the field manager castoff, and may not add fields to another manager.
  reason: Forbidden
- expression: >-
    variables.oldManagers.all(old, (has(old.manager) && old.manager == 'castoff')
    || ({{- include "castoff.policy.ownKeysOnly" "old" | nindent 4 }})
    || variables.managers.exists(new, {{- include "castoff.policy.sameManager" . | nindent 4 }}))
  message: castoff may only take keys from other field managers that are under {{ $prefixes }}.
  reason: Forbidden
- expression: >-
    variables.managers.all(new, !has(new.manager) || new.manager != 'castoff'
    || new in variables.oldManagers
    || (!has(new.subresource) && {{- include "castoff.policy.ownKeysOnly" "new" | nindent 4 }}))
  message: The field manager castoff may only own labels and annotations under {{ $prefixes }}.
  reason: Forbidden
{{- end }}
