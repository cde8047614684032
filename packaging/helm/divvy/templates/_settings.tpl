{{/* SPDX-License-Identifier: Apache-2.0 */}}
{{/*
divvy.one: the value that several names may have. Takes a list of (list NAME VALUE); null, "" and empty
objects are "not set". Two that are set and differ end the rendering. Answers {"value": ...} as JSON.
*/}}
{{- define "divvy.one" -}}
{{- $name := "" }}
{{- $value := dict "value" nil }}
{{- range . }}
  {{- $v := index . 1 }}
  {{- if or (kindIs "bool" $v) $v }}
    {{- if and $name (ne (toJson $v) (toJson $value.value)) }}
      {{- fail (printf "\n\n%s is %s and %s is %s, but they are two names for one thing: set one of them, or both to the same" $name (toJson $value.value) (index . 0) (toJson $v)) }}
    {{- end }}
    {{- if not $name }}
      {{- $name = index . 0 }}
      {{- $_ := set $value "value" $v }}
    {{- end }}
  {{- end }}
{{- end }}
{{- toJson $value }}
{{- end }}

{{/* What the GPU Operator's values can ask for that divvy does not do. */}}
{{- define "divvy.refuse" -}}
{{- $v := .Values }}
{{- if eq (toJson $v.devicePlugin.enabled) "false" }}
  {{- fail "\n\ndevicePlugin.enabled is false, but divvy is the device plugin: leave it out, or uninstall the chart" }}
{{- end }}
{{- if eq (toJson $v.cdi.enabled) "false" }}
  {{- fail "\n\ncdi.enabled is false, but containers get their slices by CDI: leave it out, and have CDI switched on in the container runtime" }}
{{- end }}
{{- range $part, $what := dict "driver" "NVIDIA's driver" "toolkit" "NVIDIA's container toolkit" "dcgm" "DCGM" }}
  {{- if (index $v $part).enabled }}
    {{- fail (printf "\n\n%s.enabled is true, but this chart does not install %s: set it to false, and install that by other means if the nodes need it" $part $what) }}
  {{- end }}
{{- end }}
{{- with $v.migManager.config }}
  {{- if and .name .data (not .create) }}
    {{- fail (printf "\n\nmigManager.config.name is %q and migManager.config.data has configurations: either the ConfigMap is there already or the chart makes it" .name) }}
  {{- end }}
{{- end }}
{{- end }}

{{/* divvy.settings: all values under their one name, as JSON. */}}
{{- define "divvy.settings" -}}
{{- include "divvy.refuse" . }}
{{- $v := .Values }}
{{- $full := include "divvy.fullname" . }}
{{- $rolling := dict }}
{{- with $v.daemonsets }}
  {{- if or .updateStrategy .rollingUpdate.maxUnavailable }}
    {{- $rolling = dict "type" (.updateStrategy | default "RollingUpdate") }}
    {{- with .rollingUpdate.maxUnavailable }}
      {{- $_ := set $rolling "rollingUpdate" (dict "maxUnavailable" .) }}
    {{- end }}
  {{- end }}
{{- end }}
{{- $names := dict
  "migStrategy" (list (list "migStrategy" $v.migStrategy) (list "mig.strategy" $v.mig.strategy))
  "passDeviceSpecs" (list (list "passDeviceSpecs" $v.passDeviceSpecs) (list "compatWithCPUManager" $v.compatWithCPUManager))
  "driverRoot" (list (list "nvidiaDriverRoot" $v.nvidiaDriverRoot) (list "hostPaths.driverInstallDir" $v.hostPaths.driverInstallDir))
  "configName" (list (list "config.name" $v.config.name) (list "devicePlugin.config.name" $v.devicePlugin.config.name))
  "configData" (list (list "config.map" $v.config.map) (list "devicePlugin.config.data" $v.devicePlugin.config.data))
  "configDefault" (list (list "config.default" $v.config.default) (list "devicePlugin.config.default" $v.devicePlugin.config.default))
  "metrics" (list (list "metrics.enabled" $v.metrics.enabled) (list "dcgmExporter.enabled" $v.dcgmExporter.enabled))
  "serviceMonitor" (list (list "metrics.serviceMonitor.enabled" $v.metrics.serviceMonitor.enabled) (list "dcgmExporter.serviceMonitor.enabled" $v.dcgmExporter.serviceMonitor.enabled))
  "monitorInterval" (list (list "metrics.serviceMonitor.interval" $v.metrics.serviceMonitor.interval) (list "dcgmExporter.serviceMonitor.interval" $v.dcgmExporter.serviceMonitor.interval))
  "monitorLabels" (list (list "metrics.serviceMonitor.additionalLabels" $v.metrics.serviceMonitor.additionalLabels) (list "dcgmExporter.serviceMonitor.additionalLabels" $v.dcgmExporter.serviceMonitor.additionalLabels))
  "tolerations" (list (list "tolerations" $v.tolerations) (list "daemonsets.tolerations" $v.daemonsets.tolerations))
  "priorityClassName" (list (list "priorityClassName" $v.priorityClassName) (list "daemonsets.priorityClassName" $v.daemonsets.priorityClassName))
  "podAnnotations" (list (list "podAnnotations" $v.podAnnotations) (list "daemonsets.annotations" $v.daemonsets.annotations))
  "podLabels" (list (list "podLabels" $v.podLabels) (list "daemonsets.labels" $v.daemonsets.labels))
  "updateStrategy" (list (list "updateStrategy" $v.updateStrategy) (list "daemonsets.updateStrategy with daemonsets.rollingUpdate" $rolling))
}}
{{- $s := dict }}
{{- range $key, $candidates := $names }}
  {{- $_ := set $s $key (include "divvy.one" $candidates | fromJson).value }}
{{- end }}
{{- $usual := dict
  "metrics" true
  "serviceMonitor" false
  "priorityClassName" "system-node-critical"
  "tolerations" (list (dict "key" "CriticalAddonsOnly" "operator" "Exists") (dict "key" "nvidia.com/gpu" "operator" "Exists" "effect" "NoSchedule"))
  "updateStrategy" (dict "type" "RollingUpdate" "rollingUpdate" (dict "maxUnavailable" 1))
}}
{{- range $key, $value := $usual }}
  {{- if kindIs "invalid" (index $s $key) }}
    {{- $_ := set $s $key $value }}
  {{- end }}
{{- end }}
{{- /* An empty list is an answer too: no tolerations at all. */}}
{{- if kindIs "slice" $v.tolerations }}
  {{- $_ := set $s "tolerations" $v.tolerations }}
{{- end }}
{{- if and $s.configName $s.configData (not $v.devicePlugin.config.create) }}
  {{- fail (printf "\n\nthe configurations of nodes are in the ConfigMap %q (config.name, devicePlugin.config.name) and in the values (config.map, devicePlugin.config.data): either it is there already or the chart makes it" $s.configName) }}
{{- end }}
{{- $_ := set $s "configMap" ($s.configName | default (ternary (printf "%s-config" $full) "" (not (empty $s.configData)))) }}
{{- if and $s.configDefault (not $s.configMap) }}
  {{- fail (printf "\n\nconfig.default (devicePlugin.config.default) is %q, but there are no configurations: give config.map or config.name" $s.configDefault) }}
{{- end }}
{{- if and $s.configData $s.configDefault (not (hasKey $s.configData $s.configDefault)) }}
  {{- fail (printf "\n\nconfig.default is %q, which config.map does not have; it has %s" $s.configDefault (keys $s.configData | sortAlpha | join ", ")) }}
{{- end }}
{{- $_ := set $s "migManager" (ne (toJson $v.migManager.enabled) "false") }}
{{- $_ := set $s "migConfigMap" ($v.migManager.config.name | default (ternary (printf "%s-mig-config" $full) "" (not (empty $v.migManager.config.data)))) }}
{{- $_ := set $s "gfd" (ne (toJson $v.gfd.enabled) "false") }}
{{- $_ := set $s "nodeFeatures" (and $s.gfd (eq (toJson $v.nfd.enabled) "true") (ne (toJson $v.nfd.enableNodeFeatureApi) "false")) }}
{{- $_ := set $s "featuresFile" (and $s.gfd (eq (toJson $v.nfd.enabled) "true") (not $s.nodeFeatures)) }}
{{- /* Where nobody says, a cluster that has the resource when this is installed. */}}
{{- $_ := set $s "clusterPolicy" (ternary (.Capabilities.APIVersions.Has "nvidia.com/v1/ClusterPolicy") (eq (toJson $v.clusterPolicy.enabled) "true") (kindIs "invalid" $v.clusterPolicy.enabled)) }}
{{- $_ := set $s "remoteMetrics" (and $s.metrics (not (empty $v.metrics.tlsSecret))) }}
{{- if and (or $s.serviceMonitor $v.metrics.podMonitor.enabled) (not $s.remoteMetrics) }}
  {{- fail "\n\nmetrics.serviceMonitor.enabled (dcgmExporter.serviceMonitor.enabled) or metrics.podMonitor.enabled is true, but metrics leave a pod only encrypted: give metrics.tlsSecret, and leave metrics.enabled (dcgmExporter.enabled) true" }}
{{- end }}
{{- if and $s.remoteMetrics (not $v.metrics.tokenSecret) }}
  {{- fail "\n\nmetrics.tlsSecret is given without metrics.tokenSecret: metrics leave a pod only for who sends a token; give a Secret whose key `token` has one of at least 16 characters" }}
{{- end }}
{{- if and $v.metrics.tokenSecret (not $v.metrics.tlsSecret) }}
  {{- fail "\n\nmetrics.tokenSecret is given without metrics.tlsSecret: a token is sent over TLS only" }}
{{- end }}
{{- toJson $s }}
{{- end }}

{{/* Which nodes have a GPU: by Node Feature Discovery (discrete GPU; Tegra), or because somebody said so. */}}
{{- define "divvy.affinity" -}}
{{- if not (kindIs "invalid" .Values.affinity) }}
{{- toJson .Values.affinity }}
{{- else if .Values.simulate }}
{{- toJson dict }}
{{- else }}
{{- $terms := list }}
{{- range $key, $value := dict "feature.node.kubernetes.io/pci-10de.present" "true" "feature.node.kubernetes.io/cpu-model.vendor_id" "NVIDIA" "nvidia.com/gpu.present" "true" }}
  {{- $terms = append $terms (dict "matchExpressions" (list (dict "key" $key "operator" "In" "values" (list $value)))) }}
{{- end }}
{{- toJson (dict "nodeAffinity" (dict "requiredDuringSchedulingIgnoredDuringExecution" (dict "nodeSelectorTerms" $terms))) }}
{{- end }}
{{- end }}

{{/* README.md says of each capability what needs it. */}}
{{- define "divvy.securityContext" -}}
{{- if .Values.securityContext }}
{{- toYaml .Values.securityContext }}
{{- else if or .Values.simulate .Values.runtimeClassName -}}
runAsUser: 0
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
  {{- /* No driver asks for SYS_ADMIN there. */}}
  add: [CHOWN, DAC_OVERRIDE, KILL, SETGID, SETUID,{{ if not .Values.simulate }} SYS_ADMIN,{{ end }} SYS_NICE, SYS_PTRACE]
seccompProfile: {type: RuntimeDefault}
appArmorProfile: {type: Unconfined}
{{- else -}}
# Device nodes of the GPUs reach a container by a container runtime that knows them (runtimeClassName) or
# by being privileged.
privileged: true
runAsUser: 0
readOnlyRootFilesystem: true
{{- end }}
{{- end }}
